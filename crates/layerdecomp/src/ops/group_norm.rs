//! Group norm followed by SiLU, on channels-last pictures.

use candle_core::{CpuStorage, CustomOp3, Layout, Result, Shape, Tensor, bail};

use super::activation::{silu_at, silu_slope};
use super::composed;
use super::simd::dispatched;
use super::{for_each_chunk, scratch::with_scratch, slices, values};

/// `silu(groupnorm(x) weight + bias)`: `x` is (N, H, W, C), `weight` and `bias` are (C).
///
/// # Errors
/// If shapes disagree.
pub(crate) fn group_norm_silu(
    x: &Tensor,
    groups: usize,
    weight: &Tensor,
    bias: &Tensor,
    epsilon: f32,
) -> Result<Tensor> {
    if composed::is_wanted(x) {
        return composed::group_norm_silu(x, groups, weight, bias, epsilon);
    }
    x.contiguous()?
        .apply_op3(weight, bias, GroupNormSilu { groups, epsilon })
}

struct GroupNormSilu {
    groups: usize,
    /// Added to the variance.
    epsilon: f32,
}

/// Pixels whose sums are taken in f32 before they are added up in f64.
const BLOCK: usize = 64;

dispatched! {
    /// Adds the sums of `u` and of `u v` over pixels to `first` and `second`, channel by channel.
    fn add_moments(u: &[f32], v: &[f32], first: &mut [f32], second: &mut [f32]) {
        let c = first.len();
        for (u, v) in u.chunks_exact(c).zip(v.chunks_exact(c)) {
            for i in 0..c {
                first[i] += u[i];
                second[i] = u[i].mul_add(v[i], second[i]);
            }
        }
    }
}

/// Per channel, the sums of `u` and `u v` over all pixels.
fn moments(u: &[f32], v: &[f32], c: usize) -> Vec<(f64, f64)> {
    let mut totals = vec![(0.0, 0.0); c];
    with_scratch(2 * c, |sums| {
        for (u, v) in u.chunks(BLOCK * c).zip(v.chunks(BLOCK * c)) {
            sums.fill(0.0);
            let (first, second) = sums.split_at_mut(c);
            add_moments(u, v, first, second);
            for (total, (a, b)) in totals.iter_mut().zip(first.iter().zip(&*second)) {
                total.0 += f64::from(*a);
                total.1 += f64::from(*b);
            }
        }
    });
    totals
}

dispatched! {
    /// `silu(x gain + offset)` per channel.
    fn apply(x: &[f32], gain: &[f32], offset: &[f32], y: &mut [f32]) {
        let c = gain.len();
        for (x, y) in x.chunks_exact(c).zip(y.chunks_exact_mut(c)) {
            for i in 0..c {
                y[i] = silu_at(x[i].mul_add(gain[i], offset[i]));
            }
        }
    }
}

dispatched! {
    /// The gradient before the SiLU.
    fn unsilu(x: &[f32], gain: &[f32], offset: &[f32], dy: &[f32], du: &mut [f32]) {
        let c = gain.len();
        for ((x, dy), du) in x.chunks_exact(c).zip(dy.chunks_exact(c)).zip(du.chunks_exact_mut(c)) {
            for i in 0..c {
                du[i] = dy[i] * silu_slope(x[i].mul_add(gain[i], offset[i]));
            }
        }
    }
}

dispatched! {
    /// `d = d a + x b + e` per channel.
    fn combine(x: &[f32], a: &[f32], b: &[f32], e: &[f32], d: &mut [f32]) {
        let c = a.len();
        for (x, d) in x.chunks_exact(c).zip(d.chunks_exact_mut(c)) {
            for i in 0..c {
                d[i] = d[i].mul_add(a[i], x[i].mul_add(b[i], e[i]));
            }
        }
    }
}

impl GroupNormSilu {
    /// Samples, pixels and channels.
    fn sizes(&self, x: &[usize], weight: &[usize], bias: &[usize]) -> Result<(usize, usize, usize)> {
        match *x {
            [n, h, w, c] if weight == [c] && bias == [c] && c.is_multiple_of(self.groups) => {
                Ok((n, h * w, c))
            }
            _ => bail!(
                "group norm ({}): x {x:?}, weight {weight:?}, bias {bias:?}",
                self.groups
            ),
        }
    }

    /// Mean and 1 / standard deviation of each group of one sample.
    fn statistics(&self, x: &[f32], c: usize) -> Vec<(f64, f64)> {
        let each = c / self.groups;
        let count = (x.len() / self.groups) as f64;
        moments(x, x, c)
            .chunks_exact(each)
            .map(|channels| {
                let (sum, square) = channels.iter().fold((0.0, 0.0), |t, m| (t.0 + m.0, t.1 + m.1));
                let mean = sum / count;
                let variance = (square / count - mean * mean).max(0.0);
                (mean, 1.0 / (variance + f64::from(self.epsilon)).sqrt())
            })
            .collect()
    }
}

/// Per channel, the gain and offset that normalise, scale and shift at once.
fn affine(statistics: &[(f64, f64)], weight: &[f32], bias: &[f32], gain: &mut [f32], offset: &mut [f32]) {
    let each = weight.len() / statistics.len();
    for i in 0..weight.len() {
        let (mean, rate) = statistics[i / each];
        let g = rate * f64::from(weight[i]);
        gain[i] = g as f32;
        offset[i] = (f64::from(bias[i]) - mean * g) as f32;
    }
}

impl CustomOp3 for GroupNormSilu {
    fn name(&self) -> &'static str {
        "group-norm-silu"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        xl: &Layout,
        w: &CpuStorage,
        wl: &Layout,
        b: &CpuStorage,
        bl: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (_, pixels, c) = self.sizes(xl.dims(), wl.dims(), bl.dims())?;
        let (x, w, b) = (values(x, xl)?, values(w, wl)?, values(b, bl)?);
        let mut y = vec![0.0; x.len()];
        for_each_chunk(&mut y, pixels * c, |n, y| {
            let x = &x[n * pixels * c..][..pixels * c];
            with_scratch(2 * c, |scratch| {
                let (gain, offset) = scratch.split_at_mut(c);
                affine(&self.statistics(x, c), w, b, gain, offset);
                apply(x, gain, offset, y);
            });
        });
        Ok((CpuStorage::F32(y), xl.shape().clone()))
    }

    fn bwd(
        &self,
        x: &Tensor,
        w: &Tensor,
        b: &Tensor,
        _y: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let (n, pixels, c) = self.sizes(x.dims(), w.dims(), b.dims())?;
        slices!(xv = x, wv = w, bv = b, dy = grad);
        let size = pixels * c;
        // The parameters' gradients of each sample ride behind the picture's, so that one pass fills both.
        let mut dx = vec![0.0; n * size];
        let parameters = std::sync::Mutex::new(vec![0.0; n * 2 * c]);
        for_each_chunk(&mut dx, size, |n, dx| {
            let range = n * size..(n + 1) * size;
            let found = self.slopes(&xv[range.clone()], wv, bv, &dy[range], dx);
            let mut all = parameters
                .lock()
                .unwrap_or_else(std::sync::PoisonError::into_inner);
            all[n * 2 * c..][..2 * c].copy_from_slice(&found);
        });
        let parameters = parameters
            .into_inner()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        let mut total = vec![0.0; 2 * c];
        super::linear::add_rows(&parameters, &mut total);
        let db = total.split_off(c);
        Ok((
            Some(Tensor::from_vec(dx, x.shape(), x.device())?),
            Some(Tensor::from_vec(total, c, x.device())?),
            Some(Tensor::from_vec(db, c, x.device())?),
        ))
    }
}

impl GroupNormSilu {
    /// Fills one sample's `dx`; returns the gradients of weight and bias, one behind the other.
    fn slopes(&self, x: &[f32], w: &[f32], b: &[f32], dy: &[f32], dx: &mut [f32]) -> Vec<f32> {
        let c = w.len();
        let each = c / self.groups;
        let count = (x.len() / self.groups) as f64;
        let statistics = self.statistics(x, c);
        let mut parameters = vec![0.0; 2 * c];
        with_scratch(3 * c, |scratch| {
            let (gain, rest) = scratch.split_at_mut(c);
            let (second, third) = rest.split_at_mut(c);
            affine(&statistics, w, b, gain, second);
            unsilu(x, gain, second, dy, dx);
            let sums = moments(dx, x, c);
            for (g, &(mean, rate)) in statistics.iter().enumerate() {
                // With d the gradient before the affine part and n the normalised value:
                // dx = rate (d w - mean(d w) - n mean(d w n)), means over the group.
                let (mut plain, mut along) = (0.0, 0.0);
                for i in g * each..(g + 1) * each {
                    let normal = (sums[i].1 - sums[i].0 * mean) * rate;
                    parameters[i] = normal as f32;
                    parameters[c + i] = sums[i].0 as f32;
                    plain += f64::from(w[i]) * sums[i].0;
                    along += f64::from(w[i]) * normal;
                }
                let (plain, along) = (plain / count, along / count);
                let slope = -rate * rate * along;
                second[g * each..(g + 1) * each].fill(slope as f32);
                third[g * each..(g + 1) * each].fill((-slope * mean - rate * plain) as f32);
            }
            combine(x, gain, second, third, dx);
        });
        parameters
    }
}

#[cfg(test)]
mod tests {
    use super::super::norm::EPSILON;
    use super::super::testing::{check_gradients, noise};
    use super::*;

    #[test]
    fn equals_composed_operations_and_their_gradients() {
        for (groups, c) in [(1, 24), (3, 48), (4, 20)] {
            let x = noise(&[2, 5, 7, c], 1).affine(3.0, 1.0).unwrap();
            check_gradients(
                &[x, noise(&[c], 2), noise(&[c], 3)],
                |t| group_norm_silu(&t[0], groups, &t[1], &t[2], EPSILON),
                |t| composed::group_norm_silu(&t[0], groups, &t[1], &t[2], EPSILON),
                2e-5,
            );
        }
    }
}
