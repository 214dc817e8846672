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

/// Channels that a loop over pixels takes at a time: a loop over the channels of one pixel would end before it fills its vectors.
const CHANNELS: usize = 16;

dispatched! {
    /// Adds the sums of `u` and of `u v` over pixels to `first` and `second`, channel by channel.
    fn add_moments(u: &[f32], v: &[f32], first: &mut [f32], second: &mut [f32]) {
        let c = first.len();
        let (firsts, first) = first.as_chunks_mut::<CHANNELS>();
        let (seconds, second) = second.as_chunks_mut::<CHANNELS>();
        let whole = firsts.len() * CHANNELS;
        for (at, (first, second)) in firsts.iter_mut().zip(seconds).enumerate() {
            let (mut sums, mut products) = (*first, *second);
            for (u, v) in u.chunks_exact(c).zip(v.chunks_exact(c)) {
                let (u, v) = (&u[at * CHANNELS..][..CHANNELS], &v[at * CHANNELS..][..CHANNELS]);
                for i in 0..CHANNELS {
                    sums[i] += u[i];
                    products[i] = u[i].mul_add(v[i], products[i]);
                }
            }
            (*first, *second) = (sums, products);
        }
        for (u, v) in u.chunks_exact(c).zip(v.chunks_exact(c)) {
            for (i, (u, v)) in u[whole..].iter().zip(&v[whole..]).enumerate() {
                first[i] += u;
                second[i] = u.mul_add(*v, second[i]);
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

/// Pixels that a loop over channels takes at a time, for the same reason: what it multiplies by is repeated as often.
const STRIP: usize = 16;

/// Repeats the first `c` values of a strip in the rest of it.
fn repeat(strip: &mut [f32], c: usize) {
    let (first, others) = strip.split_at_mut(c);
    for other in others.chunks_exact_mut(c) {
        other.copy_from_slice(first);
    }
}

dispatched! {
    /// `silu(x gain + offset)` per channel, of a strip.
    fn apply(x: &[f32], gain: &[f32], offset: &[f32], y: &mut [f32]) {
        for (x, y) in x.chunks(gain.len()).zip(y.chunks_mut(gain.len())) {
            for (y, ((x, gain), offset)) in y.iter_mut().zip(x.iter().zip(gain).zip(offset)) {
                *y = silu_at(x.mul_add(*gain, *offset));
            }
        }
    }
}

dispatched! {
    /// The gradient before the SiLU, of a strip.
    fn unsilu(x: &[f32], gain: &[f32], offset: &[f32], dy: &[f32], du: &mut [f32]) {
        let strip = gain.len();
        for ((x, dy), du) in x.chunks(strip).zip(dy.chunks(strip)).zip(du.chunks_mut(strip)) {
            for ((du, dy), ((x, gain), offset)) in du.iter_mut().zip(dy).zip(x.iter().zip(gain).zip(offset)) {
                *du = dy * silu_slope(x.mul_add(*gain, *offset));
            }
        }
    }
}

dispatched! {
    /// `d = d a + x b + e` per channel, of a strip.
    fn combine(x: &[f32], a: &[f32], b: &[f32], e: &[f32], d: &mut [f32]) {
        for (x, d) in x.chunks(a.len()).zip(d.chunks_mut(a.len())) {
            for ((d, x), ((a, b), e)) in d.iter_mut().zip(x).zip(a.iter().zip(b).zip(e)) {
                *d = d.mul_add(*a, x.mul_add(*b, *e));
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
            with_scratch(2 * STRIP * c, |scratch| {
                let (gain, offset) = scratch.split_at_mut(STRIP * c);
                affine(&self.statistics(x, c), w, b, gain, offset);
                repeat(gain, c);
                repeat(offset, c);
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
        with_scratch(3 * STRIP * c, |scratch| {
            let (gain, rest) = scratch.split_at_mut(STRIP * c);
            let (second, third) = rest.split_at_mut(STRIP * c);
            affine(&statistics, w, b, gain, second);
            repeat(gain, c);
            repeat(second, c);
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
            repeat(second, c);
            repeat(third, c);
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
