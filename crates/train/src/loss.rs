//! The loss and its gradient, in one pass over the pictures.
//!
//! Diffusion on both layers plus pixel-space consistency. With a the true alpha, and primes on what the network's answer leads to
//! as clean pictures (whatever quantity it says, see [`peel_layerdecomp::Predicts`]):
//!
//! `w = 1 + effect [a > t] + shadow [a > t and outside the mask]`
//! `L = λ mse (mean w (B' - B)^2 + mean w (F' - F)^2)
//!      + √λ (l1 (mean w |B' - B| + mean w |F'rgb - Frgb|) + alpha_l1 mean w |F'a - a|)
//!      + min(√λ, 1) consistency mean |F'rgb + (1 - F'a) B' - C|`
//!
//! λ is the importance of a sample's time, see [`TimeWeight`]. It is 1 for a network that says clean layers. The recomposition is
//! asked for at every time, but counts less where converting to clean pictures magnifies errors (ε near pure noise).
//!
//! The squared error's best answer to "a shadow of .3 with a chance of one in ten" is an alpha of .03 everywhere: the faint false
//! alpha that spoils what should not change. The absolute error's best answer is the median, 0; so alpha may have a heavier one.
//!
//! Where the true layer is not known (real pairs), its terms are left out and the mask stands for the true alpha.

use std::borrow::Cow;

use candle_core::{Device, Tensor};
use peel_layerdecomp::{NoisePath, Prediction, Predicts};
use serde::{Deserialize, Serialize};

use crate::Result;
use crate::data::loader::Batch;

/// Weights of the loss.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LossWeights {
    /// Of the squared errors.
    pub mse: f32,
    /// Of the absolute errors.
    pub l1: f32,
    /// Of the absolute error of the layer's alpha; `l1` where it is not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alpha_l1: Option<f32>,
    /// Of the recomposition.
    pub consistency: f32,
    /// Added to a pixel's weight where the true layer is not empty.
    pub effect: f32,
    /// Added once more where that lies outside the mask: shadow and reflection.
    pub shadow: f32,
    /// Alpha above which the true layer counts as not empty.
    pub threshold: f32,
    /// How much the times between noise and layers count.
    #[serde(default)]
    pub time: TimeWeight,
    /// What the layer is compared with.
    #[serde(default)]
    pub layer: LayerTruth,
}

/// The importance λ of a time, as a weight of the squared error of clean layers. With `x = p z + q y`, y what the network says,
/// an error of y is an error of x through q: the squared error of y is that of x at λ = 1 / q².
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub enum TimeWeight {
    /// λ = 1 / q²: every error of what the network says counts the same. 1 for x, SNR for ε, 1 + SNR for v on a
    /// variance-preserving path, 1 / (1 - t)² for flow.
    #[default]
    Said,
    /// λ = 1: every error of the clean layers counts the same.
    Clean,
    /// λ = min(SNR, the number), as in Hang et al. 2023 ("Min-SNR"; they use 5).
    MinSnr(f32),
}

impl TimeWeight {
    /// λ at a time of a path.
    #[must_use]
    pub fn importance(self, predicts: Predicts, path: &NoisePath, time: f32) -> f32 {
        let levels = path.levels(f64::from(time));
        match self {
            Self::Clean => 1.0,
            Self::Said => {
                let (_, q) = predicts.recover(levels);
                (1.0 / (q * q).max(1e-6)) as f32
            }
            Self::MinSnr(most) => ((levels.signal / levels.noise).powi(2) as f32).min(most),
        }
    }
}

/// What the layer is compared with. Anything but the whole layer is for ablations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum LayerTruth {
    /// The object with its shadow and reflection.
    #[default]
    Effects,
    /// The object alone.
    Object,
    /// Nothing: only the background is learnt.
    None,
}

impl Default for LossWeights {
    fn default() -> Self {
        Self {
            mse: 4.0,
            l1: 0.05,
            alpha_l1: None,
            consistency: 0.3,
            effect: 4.0,
            shadow: 4.0,
            threshold: 0.02,
            time: TimeWeight::default(),
            layer: LayerTruth::default(),
        }
    }
}

impl LossWeights {
    /// The weight w of each pixel of a batch, `(N, H, W)` flat.
    #[must_use]
    pub fn pixels(&self, batch: &Batch) -> Vec<f32> {
        let plane = batch.order.size * batch.order.size;
        (0..batch.order.count * plane)
            .map(|i| {
                let n = i / plane;
                let mask = batch.mask[i];
                let alpha = if batch.has_foreground[n] {
                    batch.foreground[(4 * n + 3) * plane + i % plane]
                } else {
                    mask
                };
                let mut w = 1.0;
                if alpha > self.threshold {
                    w += self.effect;
                    if mask < 0.5 {
                        w += self.shadow;
                    }
                }
                w
            })
            .collect()
    }
}

/// The parts of a loss, as they enter the sum, weights included.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct LossParts {
    /// Everything.
    pub total: f32,
    /// Squared and absolute errors of the background.
    pub background: f32,
    /// The same of the layer.
    pub foreground: f32,
    /// Recomposition.
    pub consistency: f32,
    /// What else a task adds: an autoencoder's divergence from the normal distribution, a student's distance from its teacher.
    #[serde(default)]
    pub other: f32,
}

impl LossParts {
    /// These parts plus `scale` times the others.
    #[must_use]
    pub fn plus(&self, more: &Self, scale: f32) -> Self {
        Self {
            total: self.total + scale * more.total,
            background: self.background + scale * more.background,
            foreground: self.foreground + scale * more.foreground,
            consistency: self.consistency + scale * more.consistency,
            other: self.other + scale * more.other,
        }
    }
}

/// What the predictions of a batch are compared with.
#[derive(Debug, Clone, PartialEq)]
pub struct Truth<'a> {
    /// Background, `(N, 3, H, W)` flat.
    pub background: &'a [f32],
    /// Layer, `(N, 4, H, W)` flat.
    pub foreground: Cow<'a, [f32]>,
    /// Whether a sample's layer is compared, `(N,)`.
    pub compared: Vec<bool>,
    /// Importance λ of each sample, `(N,)`.
    pub importance: Vec<f32>,
}

impl<'a> Truth<'a> {
    /// The truth of a batch, every sample as important as the next.
    #[must_use]
    pub fn of(batch: &'a Batch, layer: LayerTruth) -> Self {
        let foreground = match layer {
            LayerTruth::Object => Cow::Owned(objects(batch)),
            LayerTruth::Effects | LayerTruth::None => Cow::Borrowed(batch.foreground.as_slice()),
        };
        Self {
            background: &batch.background,
            foreground,
            compared: batch
                .has_foreground
                .iter()
                .map(|known| *known && layer != LayerTruth::None)
                .collect(),
            importance: vec![1.0; batch.order.count],
        }
    }
}

/// The layers without effects: the object's own alpha, and the layer's light at the object's share of its alpha.
fn objects(batch: &Batch) -> Vec<f32> {
    let plane = batch.order.size * batch.order.size;
    let mut out = batch.foreground.clone();
    for (n, layer) in out.chunks_mut(4 * plane).enumerate() {
        for i in 0..plane {
            let own = batch.object[n * plane + i];
            let share = (own / layer[3 * plane + i].max(1e-6)).min(1.0);
            for c in 0..3 {
                layer[c * plane + i] *= share;
            }
            layer[3 * plane + i] = own;
        }
    }
    out
}

/// A loss with its gradient by the predictions.
#[derive(Debug, Clone, PartialEq)]
pub struct Loss {
    /// Values.
    pub parts: LossParts,
    /// Gradient by the background, `(N, 3, H, W)` flat.
    pub by_background: Vec<f32>,
    /// Gradient by the layer, `(N, 4, H, W)` flat.
    pub by_foreground: Vec<f32>,
}

/// The loss of flat predictions `(N, 3, H, W)` and `(N, 4, H, W)` on a batch.
#[must_use]
pub fn loss(
    weights: &LossWeights,
    batch: &Batch,
    truth: &Truth<'_>,
    background: &[f32],
    foreground: &[f32],
) -> Loss {
    let plane = batch.order.size * batch.order.size;
    let count = batch.order.count;
    let mut by_background = vec![0.0; background.len()];
    let mut by_foreground = vec![0.0; foreground.len()];
    let (mean_b, mean_f) = (1.0 / (3 * count * plane) as f32, 1.0 / (4 * count * plane) as f32);
    let pixels = weights.pixels(batch);
    let mut sums = [0.0f64; 3];

    for n in 0..count {
        let compared = truth.compared[n];
        let (b0, f0, m0) = (3 * n * plane, 4 * n * plane, n * plane);
        let importance = truth.importance[n];
        let root = importance.sqrt();
        let mse = importance * weights.mse;
        let l1 = root * weights.l1;
        let alpha_l1 = root * weights.alpha_l1.unwrap_or(weights.l1);
        let consistency = root.min(1.0) * weights.consistency;
        for i in 0..plane {
            let at_b = |c: usize| b0 + c * plane + i;
            let at_f = |c: usize| f0 + c * plane + i;
            let w = pixels[m0 + i];
            let mut sum = [0.0f32; 3];
            for c in 0..3 {
                let e = background[at_b(c)] - truth.background[at_b(c)];
                sum[0] += w * (mse * e * e + l1 * e.abs());
                by_background[at_b(c)] = mean_b * w * (2.0 * mse * e + l1 * sign(e));
            }
            if compared {
                for c in 0..4 {
                    let l1 = if c == 3 { alpha_l1 } else { l1 };
                    let e = foreground[at_f(c)] - truth.foreground[at_f(c)];
                    sum[1] += w * (mse * e * e + l1 * e.abs());
                    by_foreground[at_f(c)] = mean_f * w * (2.0 * mse * e + l1 * sign(e));
                }
            }
            let a = foreground[at_f(3)];
            for c in 0..3 {
                let (f, b) = (foreground[at_f(c)], background[at_b(c)]);
                let e = f + (1.0 - a) * b - batch.plate[at_b(c)];
                sum[2] += consistency * e.abs();
                let g = mean_b * consistency * sign(e);
                by_foreground[at_f(c)] += g;
                by_foreground[at_f(3)] -= g * b;
                by_background[at_b(c)] += g * (1.0 - a);
            }
            for (total, s) in sums.iter_mut().zip(sum) {
                *total += f64::from(s);
            }
        }
    }
    let background = (sums[0] * f64::from(mean_b)) as f32;
    let foreground = (sums[1] * f64::from(mean_f)) as f32;
    let consistency = (sums[2] * f64::from(mean_b)) as f32;
    let parts = LossParts {
        total: background + foreground + consistency,
        background,
        foreground,
        consistency,
        other: 0.0,
    };
    Loss {
        parts,
        by_background,
        by_foreground,
    }
}

/// `signum` with 0 at 0, so that a perfect prediction has no gradient.
fn sign(x: f32) -> f32 {
    if x == 0.0 { 0.0 } else { x.signum() }
}

impl Loss {
    /// A scalar whose gradient by the predictions is this loss's, for candle's backward pass.
    ///
    /// # Errors
    /// If shapes disagree.
    pub fn surrogate(&self, prediction: &Prediction) -> Result<Tensor> {
        let (b, f) = (&prediction.background, &prediction.foreground);
        let by_background = Tensor::from_slice(&self.by_background, b.shape(), &Device::Cpu)?;
        let by_foreground = Tensor::from_slice(&self.by_foreground, f.shape(), &Device::Cpu)?;
        Ok(((b * by_background)?.sum_all()? + (f * by_foreground)?.sum_all()?)?)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::data::loader::Order;
    use crate::data::rng::Rng;

    fn random(rng: &mut Rng, n: usize) -> Vec<f32> {
        (0..n).map(|_| rng.unit()).collect()
    }

    /// Pictures of noise, with a mask of zeros and ones.
    pub fn batch(rng: &mut Rng, size: usize, has_foreground: Vec<bool>) -> Batch {
        let (count, plane) = (has_foreground.len(), size * size);
        Batch {
            order: Order {
                index: 0,
                size,
                count,
            },
            plate: random(rng, count * 3 * plane),
            mask: random(rng, count * plane).into_iter().map(f32::round).collect(),
            background: random(rng, count * 3 * plane),
            foreground: random(rng, count * 4 * plane),
            object: random(rng, count * plane),
            has_foreground,
        }
    }

    #[test]
    fn gradient_is_the_slope_of_the_loss() {
        let mut rng = Rng::new(5, 0, 0);
        let batch = batch(&mut rng, 3, vec![true, false]);
        let weights = LossWeights {
            alpha_l1: Some(0.5),
            ..LossWeights::default()
        };
        let (b, f) = (random(&mut rng, 54), random(&mut rng, 72));
        let truth = Truth {
            importance: vec![0.3, 2.0],
            ..Truth::of(&batch, LayerTruth::Effects)
        };
        let at = loss(&weights, &batch, &truth, &b, &f);
        let step = 1e-3;
        let slope = |which: usize, i: usize| {
            let value = |by: f32| {
                let (mut b, mut f) = (b.clone(), f.clone());
                if which == 0 {
                    b[i] += by
                } else {
                    f[i] += by
                }
                loss(&weights, &batch, &truth, &b, &f).parts.total
            };
            (value(step) - value(-step)) / (2.0 * step)
        };
        for i in 0..54 {
            assert!((slope(0, i) - at.by_background[i]).abs() < 2e-3, "B {i}");
        }
        for i in 0..72 {
            assert!((slope(1, i) - at.by_foreground[i]).abs() < 2e-3, "F {i}");
        }
    }

    #[test]
    fn the_absolute_error_of_alpha_has_a_weight_of_its_own() {
        let mut rng = Rng::new(7, 0, 0);
        let batch = batch(&mut rng, 3, vec![true]);
        let (b, f) = (random(&mut rng, 27), random(&mut rng, 36));
        let at = |alpha_l1| {
            let weights = LossWeights {
                alpha_l1,
                consistency: 0.0,
                ..LossWeights::default()
            };
            loss(&weights, &batch, &Truth::of(&batch, LayerTruth::Effects), &b, &f)
        };
        // Not given, it is that of the other channels.
        let (without, same, heavy) = (at(None), at(Some(0.05)), at(Some(0.3)));
        assert_eq!(without, same);
        assert!(heavy.parts.foreground > same.parts.foreground);
        assert_eq!(heavy.by_foreground[..27], same.by_foreground[..27]);
        assert!((27..36).all(|i| heavy.by_foreground[i].abs() != same.by_foreground[i].abs()));
    }

    #[test]
    fn an_unknown_layer_is_held_by_consistency_alone() {
        let mut rng = Rng::new(6, 0, 0);
        let batch = batch(&mut rng, 3, vec![false]);
        let (b, f) = (random(&mut rng, 27), random(&mut rng, 36));
        let weights = LossWeights {
            consistency: 0.0,
            ..LossWeights::default()
        };
        let out = loss(&weights, &batch, &Truth::of(&batch, LayerTruth::Effects), &b, &f);
        assert_eq!(out.parts.foreground, 0.0);
        assert!(out.by_foreground.iter().all(|g| *g == 0.0));
        assert!(out.parts.background > 0.0);
    }

    #[test]
    fn every_error_of_what_is_said_counts_the_same() {
        use peel_layerdecomp::Schedule;

        for schedule in [Schedule::Linear, Schedule::Cosine { steps: 100 }] {
            let path = schedule.path();
            for predicts in [Predicts::X, Predicts::Epsilon, Predicts::V, Predicts::Flow] {
                for time in [0.1, 0.4, 0.8] {
                    // An error of .1 in y moves x by .1 q.
                    let (_, q) = predicts.recover(path.levels(f64::from(time)));
                    let error = 0.1 * q as f32;
                    let weighed = TimeWeight::Said.importance(predicts, &path, time) * error * error;
                    assert!(
                        (weighed - 0.01).abs() < 1e-6,
                        "{predicts:?} {schedule:?} {time}: {weighed}"
                    );
                }
            }
            let few = TimeWeight::MinSnr(5.0);
            assert_eq!(few.importance(Predicts::X, &path, 0.999), 5.0);
            assert!(few.importance(Predicts::X, &path, 0.01) < 0.01);
        }
    }

    #[test]
    fn the_layer_may_be_the_object_alone_or_nothing() {
        let mut rng = Rng::new(8, 0, 0);
        let mut batch = batch(&mut rng, 3, vec![true]);
        batch.object = vec![0.0, 1.0, 0.25, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0];
        batch.foreground[27..].copy_from_slice(&[0.5, 1.0, 0.5, 0.0, 0.3, 0.3, 0.3, 0.3, 0.3]);
        let red = batch.foreground[..3].to_vec();
        let truth = Truth::of(&batch, LayerTruth::Object);
        assert_eq!(truth.foreground[27..], batch.object[..]);
        // A shadow is gone, the object is whole, and where both are it is the object's share.
        assert_eq!(truth.foreground[..3], [0.0, red[1], 0.5 * red[2]]);
        assert_eq!(Truth::of(&batch, LayerTruth::None).compared, [false]);
    }
}
