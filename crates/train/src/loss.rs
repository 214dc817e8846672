//! The loss and its gradient, in one pass over the pictures.
//!
//! Diffusion (x-prediction) on both layers plus pixel-space consistency, with the weights of the recipe:
//!
//! `w = 1 + effect [a > t] + shadow [a > t and outside the mask]`, a being the true alpha;
//! `L = mse (mean w (B' - B)^2 + mean w (F' - F)^2) + l1 (mean w |B' - B| + mean w |F'rgb - Frgb|) + alpha_l1 mean w |F'a - a|
//!      + consistency mean |F'rgb + (1 - F'a) B' - C|`
//!
//! The squared error's best answer to "a shadow of .3 with a chance of one in ten" is an alpha of .03 everywhere: the faint false
//! alpha that spoils what should not change. The absolute error's best answer is the median, 0; so alpha may have a heavier one.
//!
//! Where the true layer is not known (real pairs), its two terms are left out and the mask stands for the true alpha.

use candle_core::{Device, Tensor};
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
        }
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
}

impl LossParts {
    /// These parts plus `scale` times the others.
    #[must_use]
    pub fn plus(&self, other: &Self, scale: f32) -> Self {
        Self {
            total: self.total + scale * other.total,
            background: self.background + scale * other.background,
            foreground: self.foreground + scale * other.foreground,
            consistency: self.consistency + scale * other.consistency,
        }
    }
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
pub fn loss(weights: &LossWeights, batch: &Batch, background: &[f32], foreground: &[f32]) -> Loss {
    let plane = batch.order.size * batch.order.size;
    let count = batch.order.count;
    let mut by_background = vec![0.0; background.len()];
    let mut by_foreground = vec![0.0; foreground.len()];
    let (mean_b, mean_f) = (1.0 / (3 * count * plane) as f32, 1.0 / (4 * count * plane) as f32);
    let k = weights;
    let alpha_l1 = k.alpha_l1.unwrap_or(k.l1);
    let mut sums = [0.0f64; 3];

    for n in 0..count {
        let known = batch.has_foreground[n];
        let (b0, f0, m0) = (3 * n * plane, 4 * n * plane, n * plane);
        for i in 0..plane {
            let at_b = |c: usize| b0 + c * plane + i;
            let at_f = |c: usize| f0 + c * plane + i;
            let mask = batch.mask[m0 + i];
            let alpha = if known { batch.foreground[at_f(3)] } else { mask };
            let present = alpha > k.threshold;
            let mut w = 1.0;
            if present {
                w += k.effect;
                if mask < 0.5 {
                    w += k.shadow;
                }
            }
            let mut sum = [0.0f32; 3];
            for c in 0..3 {
                let e = background[at_b(c)] - batch.background[at_b(c)];
                sum[0] += w * (k.mse * e * e + k.l1 * e.abs());
                by_background[at_b(c)] = mean_b * w * (2.0 * k.mse * e + k.l1 * sign(e));
            }
            if known {
                for c in 0..4 {
                    let l1 = if c == 3 { alpha_l1 } else { k.l1 };
                    let e = foreground[at_f(c)] - batch.foreground[at_f(c)];
                    sum[1] += w * (k.mse * e * e + l1 * e.abs());
                    by_foreground[at_f(c)] = mean_f * w * (2.0 * k.mse * e + l1 * sign(e));
                }
            }
            let a = foreground[at_f(3)];
            for c in 0..3 {
                let (f, b) = (foreground[at_f(c)], background[at_b(c)]);
                let e = f + (1.0 - a) * b - batch.plate[at_b(c)];
                sum[2] += k.consistency * e.abs();
                let g = mean_b * k.consistency * sign(e);
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
    let total = background + foreground + consistency;
    let parts = LossParts {
        total,
        background,
        foreground,
        consistency,
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
    pub fn surrogate(&self, prediction: &peel_layerdecomp::Prediction, scale: f64) -> Result<Tensor> {
        let (b, f) = (&prediction.background, &prediction.foreground);
        let by_background = Tensor::from_slice(&self.by_background, b.shape(), &Device::Cpu)?;
        let by_foreground = Tensor::from_slice(&self.by_foreground, f.shape(), &Device::Cpu)?;
        let sum = ((b * by_background)?.sum_all()? + (f * by_foreground)?.sum_all()?)?;
        Ok((sum * scale)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::loader::Order;
    use crate::data::rng::Rng;

    fn random(rng: &mut Rng, n: usize) -> Vec<f32> {
        (0..n).map(|_| rng.unit()).collect()
    }

    fn batch(rng: &mut Rng, has_foreground: Vec<bool>) -> Batch {
        let (count, plane) = (has_foreground.len(), 9);
        Batch {
            order: Order {
                index: 0,
                size: 3,
                count,
            },
            plate: random(rng, count * 3 * plane),
            mask: random(rng, count * plane).into_iter().map(f32::round).collect(),
            background: random(rng, count * 3 * plane),
            foreground: random(rng, count * 4 * plane),
            has_foreground,
            noisy_background: Vec::new(),
            noisy_foreground: Vec::new(),
            time: Vec::new(),
        }
    }

    #[test]
    fn gradient_is_the_slope_of_the_loss() {
        let mut rng = Rng::new(5, 0, 0);
        let batch = batch(&mut rng, vec![true, false]);
        let weights = LossWeights {
            alpha_l1: Some(0.5),
            ..LossWeights::default()
        };
        let (b, f) = (random(&mut rng, 54), random(&mut rng, 72));
        let at = loss(&weights, &batch, &b, &f);
        let step = 1e-3;
        let slope = |which: usize, i: usize| {
            let value = |by: f32| {
                let (mut b, mut f) = (b.clone(), f.clone());
                if which == 0 {
                    b[i] += by
                } else {
                    f[i] += by
                }
                loss(&weights, &batch, &b, &f).parts.total
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
        let batch = batch(&mut rng, vec![true]);
        let (b, f) = (random(&mut rng, 27), random(&mut rng, 36));
        let at = |alpha_l1| {
            let weights = LossWeights {
                alpha_l1,
                consistency: 0.0,
                ..LossWeights::default()
            };
            loss(&weights, &batch, &b, &f)
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
        let batch = batch(&mut rng, vec![false]);
        let (b, f) = (random(&mut rng, 27), random(&mut rng, 36));
        let weights = LossWeights {
            consistency: 0.0,
            ..LossWeights::default()
        };
        let out = loss(&weights, &batch, &b, &f);
        assert_eq!(out.parts.foreground, 0.0);
        assert!(out.by_foreground.iter().all(|g| *g == 0.0));
        assert!(out.parts.background > 0.0);
    }
}
