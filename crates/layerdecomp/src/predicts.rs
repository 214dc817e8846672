//! What the network says: clean layers, the noise in them, or a velocity between the two.

use std::borrow::Cow;

use candle_core::{Device, Tensor};
use serde::{Deserialize, Serialize};

use crate::schedule::{Levels, Path};
use crate::{Error, Noisy, Pair, Result, Schedule};

/// The quantity that the network is trained to say of `z = a x + b n` (a signal, b noise).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Predicts {
    /// The clean layers x.
    #[default]
    X,
    /// The noise n (Ho et al. 2020; the published configuration).
    Epsilon,
    /// `v = a n - b x` (Salimans and Ho 2022).
    V,
    /// `x - n`: the direction from noise to layers (flow matching, rectified flow).
    Flow,
}

/// What the network says, and the path from noise to layers.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Diffusion {
    /// The network's quantity.
    #[serde(default)]
    pub predicts: Predicts,
    /// The path.
    #[serde(default)]
    pub schedule: Schedule,
    /// Noisy layers enter the network as the best linear guess of the clean ones, `z a / (a² + b²)` for layers of unit variance:
    /// as nothing at pure noise. Without it, tokens of pure noise carry values that can only disturb, and a network that predicts x
    /// learns to drown them, and with them whatever else its transformer has found.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub weighed: bool,
}

impl Diffusion {
    /// What the published model uses: ε over latent diffusion's scaled-linear schedule of 1000 steps.
    pub const PUBLISHED: Self = Self {
        predicts: Predicts::Epsilon,
        schedule: Schedule::ScaledLinear {
            first: 0.00085,
            last: 0.012,
            steps: 1000,
        },
        weighed: false,
    };

    /// Noisy layers as they enter the network.
    ///
    /// # Errors
    /// If shapes disagree.
    pub(crate) fn entering<'a>(&self, z: &'a Noisy, path: &Path) -> Result<Cow<'a, Noisy>> {
        if !self.weighed {
            return Ok(Cow::Borrowed(z));
        }
        let guess = |Levels { signal: a, noise: b }: Levels| (a / (a * a + b * b), 0.0);
        let (weight, _) = factors(&z.time, path, guess)?;
        Ok(Cow::Owned(Noisy {
            background: z.background.broadcast_mul(&weight)?,
            foreground: z.foreground.broadcast_mul(&weight)?,
            time: z.time.clone(),
        }))
    }

    pub(crate) fn check(&self) -> Result<()> {
        if self.predicts == Predicts::Epsilon && self.schedule == Schedule::Linear {
            return Err(Error::Config(
                "predicts Epsilon: at the noisy end of the Linear schedule the noise says nothing about the layers; use a \
                 variance-preserving schedule, or V or Flow"
                    .into(),
            ));
        }
        if self.weighed && self.predicts != Predicts::X {
            return Err(Error::Config(format!(
                "weighed: what is {:?} cannot be said of noise that is not seen; it is for a network that predicts X",
                self.predicts
            )));
        }
        self.schedule.fault().map_or(Ok(()), |f| Err(Error::Config(f)))
    }
}

impl Predicts {
    /// `(p, q)` of `x = p z + q y` where y is what the network said.
    #[must_use]
    pub fn recover(self, Levels { signal: a, noise: b }: Levels) -> (f64, f64) {
        match self {
            Self::X => (0.0, 1.0),
            Self::Epsilon => (1.0 / a, -b / a),
            Self::V => (a / (a * a + b * b), -b / (a * a + b * b)),
            Self::Flow => (1.0 / (a + b), b / (a + b)),
        }
    }

    /// `(p, q)` of `y = p x + q n`: what the network should have said.
    #[must_use]
    pub fn target(self, Levels { signal: a, noise: b }: Levels) -> (f64, f64) {
        match self {
            Self::X => (1.0, 0.0),
            Self::Epsilon => (0.0, 1.0),
            Self::V => (-b, a),
            Self::Flow => (1.0, -1.0),
        }
    }

    /// The clean layers behind what the network said of `z`; differentiable in both.
    ///
    /// # Errors
    /// If shapes disagree.
    pub fn clean(self, z: &Noisy, said: Pair, path: &Path) -> Result<Pair> {
        if self == Self::X {
            return Ok(said);
        }
        let (of_z, of_said) = factors(&z.time, path, |levels| self.recover(levels))?;
        let mix = |z: &Tensor, y: &Tensor| -> Result<Tensor> {
            Ok(z.broadcast_mul(&of_z)?.add(&y.broadcast_mul(&of_said)?)?)
        };
        Ok(Pair {
            background: mix(&z.background, &said.background)?,
            foreground: mix(&z.foreground, &said.foreground)?,
        })
    }
}

/// Two factors for each sample, (N, 1, 1, 1) each.
fn factors(time: &Tensor, path: &Path, of: impl Fn(Levels) -> (f64, f64)) -> Result<(Tensor, Tensor)> {
    let device: &Device = time.device();
    let (first, second): (Vec<f32>, Vec<f32>) = time
        .to_vec1::<f32>()?
        .into_iter()
        .map(|t| of(path.levels(f64::from(t))))
        .map(|(p, q)| (p as f32, q as f32))
        .unzip();
    let shape = (first.len(), 1, 1, 1);
    Ok((
        Tensor::from_vec(first, shape, device)?,
        Tensor::from_vec(second, shape, device)?,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_should_have_been_said_leads_back_to_the_layers() {
        for schedule in [
            Schedule::Linear,
            Diffusion::PUBLISHED.schedule,
            Schedule::Cosine { steps: 10 },
        ] {
            for predicts in [Predicts::X, Predicts::Epsilon, Predicts::V, Predicts::Flow] {
                let levels = schedule.path().levels(0.3);
                let (x, n) = (0.7, -1.3);
                let z = levels.signal * x + levels.noise * n;
                let (p, q) = predicts.target(levels);
                let said = p * x + q * n;
                let (p, q) = predicts.recover(levels);
                assert!((p * z + q * said - x).abs() < 1e-12, "{predicts:?} {schedule:?}");
            }
        }
    }

    #[test]
    fn pure_noise_enters_as_nothing_and_clean_layers_as_they_are() {
        let z = |time: f32| Noisy {
            background: Tensor::full(0.5f32, (1, 3, 2, 2), &Device::Cpu).unwrap(),
            foreground: Tensor::full(0.5f32, (1, 4, 2, 2), &Device::Cpu).unwrap(),
            time: Tensor::new(&[time], &Device::Cpu).unwrap(),
        };
        let path = Schedule::Linear.path();
        let entering = |weighed, time| {
            let diffusion = Diffusion {
                weighed,
                ..Diffusion::default()
            };
            let z = z(time);
            let entering = diffusion.entering(&z, &path).unwrap();
            entering
                .background
                .flatten_all()
                .unwrap()
                .to_vec1::<f32>()
                .unwrap()[0]
        };
        assert_eq!([0.0, 0.5, 1.0].map(|t| entering(true, t)), [0.0, 0.5, 0.5]);
        assert_eq!(entering(false, 0.0), 0.5);
    }

    #[test]
    fn noise_prediction_wants_a_signal_everywhere() {
        let wrong = Diffusion {
            predicts: Predicts::Epsilon,
            schedule: Schedule::Linear,
            weighed: false,
        };
        assert!(wrong.check().is_err_and(|e| e.to_string().contains("Epsilon")));
        Diffusion::PUBLISHED.check().unwrap();
    }
}
