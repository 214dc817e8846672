//! Samplers: from noise to layers, given something that predicts clean layers.

use candle_core::{Device, Tensor};

use crate::noise::Noise;
use crate::{Error, Noisy, Prediction, Result};

/// How layers are drawn from noise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub enum Sampler {
    /// One network call at time 0 on zero noise: deterministic, close to the mean of what could be there.
    OneCall,
    /// DDIM without added noise (eta 0). With `z = s x + (1 - s) noise` and the network's `x`, the noise that explains `z`
    /// is `(z - s x) / (1 - s)`; putting it back at the next time `s'` gives `z' = z + (s' - s) (x - z) / (1 - s)`.
    Ddim,
}

/// A sampler with its settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub struct Sampling {
    /// Which sampler.
    pub sampler: Sampler,
    /// Network calls, at least 1, evenly spaced in time; ignored by [`Sampler::OneCall`].
    pub steps: usize,
    /// Seed of the noise; ignored by [`Sampler::OneCall`].
    pub seed: u64,
}

impl Default for Sampling {
    /// One call: the best background for its cost (RECIPE: more steps sharpen alpha a little and cost shadow).
    fn default() -> Self {
        Self {
            sampler: Sampler::OneCall,
            steps: 1,
            seed: 0,
        }
    }
}

impl Sampling {
    /// Network calls that these settings lead to.
    #[must_use]
    pub fn calls(&self) -> usize {
        match self.sampler {
            Sampler::OneCall => 1,
            Sampler::Ddim => self.steps,
        }
    }
}

/// Noise that sampling starts from, (N, channels, H, W). Each sample has its own sequence, so its result does not depend on
/// what else is in the batch.
fn start(
    seed: u64,
    layer: u64,
    (n, channels, h, w): (usize, usize, usize, usize),
    device: &Device,
) -> Result<Tensor> {
    let mut values = Vec::with_capacity(n * channels * h * w);
    for sample in 0..n as u64 {
        values.extend(Noise::new(seed, 2 * sample + layer).normal(channels * h * w));
    }
    Ok(Tensor::from_vec(values, (n, channels, h, w), device)?)
}

/// Draws layers of (N, H, W) with `denoise`. `progress(done, calls)` is asked before the first call and after each one
/// whether to go on. The result is clamped to 0..1.
///
/// # Errors
/// What `denoise` reports, or [`Error::Cancelled`].
pub(crate) fn sample(
    opts: &Sampling,
    (n, h, w): (usize, usize, usize),
    device: &Device,
    denoise: &dyn Fn(&Noisy) -> Result<Prediction>,
    progress: &dyn Fn(usize, usize) -> bool,
) -> Result<Prediction> {
    let calls = opts.calls();
    if calls == 0 {
        return Err(Error::Config("a sampler takes at least one step".into()));
    }
    let go_on = |done: usize| {
        if progress(done, calls) {
            Ok(())
        } else {
            Err(Error::Cancelled)
        }
    };
    go_on(0)?;
    let (mut background, mut foreground) = match opts.sampler {
        Sampler::OneCall => {
            let zeros = |c: usize| Tensor::zeros((n, c, h, w), candle_core::DType::F32, device);
            (zeros(3)?, zeros(4)?)
        }
        Sampler::Ddim => (
            start(opts.seed, 0, (n, 3, h, w), device)?,
            start(opts.seed, 1, (n, 4, h, w), device)?,
        ),
    };
    for step in 0..calls {
        let time = step as f64 / calls as f64;
        let z = Noisy {
            background: background.clone(),
            foreground: foreground.clone(),
            time: Tensor::full(time as f32, n, device)?,
        };
        let x = denoise(&z)?;
        go_on(step + 1)?;
        if step + 1 == calls {
            return Ok(Prediction {
                background: x.background.clamp(0f32, 1f32)?,
                foreground: x.foreground.clamp(0f32, 1f32)?,
            });
        }
        // The next time is 1 / calls later: z' = z (1 - r) + r x, r = (s' - s) / (1 - s), with x from 0..1 to -1..1.
        let r = 1.0 / (calls - step) as f64;
        let towards = |z: &Tensor, x: &Tensor| z.affine(1.0 - r, 0.0)?.add(&x.affine(2.0 * r, -r)?);
        background = towards(&background, &x.background)?;
        foreground = towards(&foreground, &x.foreground)?;
    }
    Err(Error::Cancelled)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;

    fn constant(n: usize, b: f32, f: f32) -> Prediction {
        let full = |v: f32, c: usize| Tensor::full(v, (n, c, 2, 2), &Device::Cpu).unwrap();
        Prediction {
            background: full(b, 3),
            foreground: full(f, 4),
        }
    }

    #[test]
    fn a_sure_denoiser_is_approached_on_a_straight_line() {
        let seen = RefCell::new(Vec::new());
        let denoise = |z: &Noisy| {
            let time = z.time.to_vec1::<f32>().unwrap()[0];
            seen.borrow_mut().push((time, z.background.clone()));
            Ok(constant(1, 0.75, 2.0))
        };
        let opts = Sampling {
            sampler: Sampler::Ddim,
            steps: 4,
            seed: 3,
        };
        let out = sample(&opts, (1, 2, 2), &Device::Cpu, &denoise, &|_, _| true).unwrap();
        assert_eq!(
            out.foreground.flatten_all().unwrap().to_vec1::<f32>().unwrap(),
            [1.0; 16]
        );
        let seen = seen.into_inner();
        let first = seen[0].1.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        for (step, (time, z)) in seen.iter().enumerate() {
            let s = step as f32 / 4.0;
            assert_eq!(*time, s);
            let z = z.flatten_all().unwrap().to_vec1::<f32>().unwrap();
            for (z, noise) in z.iter().zip(&first) {
                assert!((z - (s * 0.5 + (1.0 - s) * noise)).abs() < 1e-6);
            }
        }
    }

    #[test]
    fn one_call_starts_from_nothing_and_can_be_cancelled() {
        let denoise = |z: &Noisy| {
            assert_eq!(
                z.background
                    .abs()
                    .unwrap()
                    .sum_all()
                    .unwrap()
                    .to_scalar::<f32>()
                    .unwrap(),
                0.0
            );
            assert_eq!(z.time.to_vec1::<f32>().unwrap(), [0.0, 0.0]);
            Ok(constant(2, 0.5, 0.5))
        };
        let opts = Sampling {
            steps: 9,
            ..Sampling::default()
        };
        let calls = RefCell::new(Vec::new());
        let progress = |done, all| {
            calls.borrow_mut().push((done, all));
            true
        };
        sample(&opts, (2, 2, 2), &Device::Cpu, &denoise, &progress).unwrap();
        assert_eq!(*calls.borrow(), [(0, 1), (1, 1)]);
        let stopped = sample(&opts, (2, 2, 2), &Device::Cpu, &denoise, &|done, _| done < 1);
        assert!(matches!(stopped, Err(Error::Cancelled)));
        let none = Sampling {
            sampler: Sampler::Ddim,
            steps: 0,
            seed: 0,
        };
        assert!(sample(&none, (2, 2, 2), &Device::Cpu, &denoise, &|_, _| true).is_err());
    }

    #[test]
    fn a_sample_does_not_depend_on_its_batch() {
        let one = start(5, 1, (1, 4, 3, 2), &Device::Cpu).unwrap();
        let many = start(5, 1, (3, 4, 3, 2), &Device::Cpu).unwrap();
        let flat = |t: &Tensor| t.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        assert_eq!(flat(&one), flat(&many)[..24]);
    }
}
