//! Layer norm with modulation, and the gated residual: a transformer block's two seams.

use candle_core::{CpuStorage, CustomOp2, CustomOp3, Layout, Result, Shape, Tensor, bail};

use super::composed;
use super::math::{dot, sum};
use super::simd::dispatched;
use super::{for_each_chunk, slices, values};

/// Added to the variance.
pub(crate) const EPSILON: f32 = 1e-5;

/// `(x - mean) / sd (1 + scale) + shift` over the last dimension. `x` is (N, T, d); `shift_scale` is (N, 2, d), or
/// (1, 2, d) for all samples.
///
/// # Errors
/// If shapes disagree.
pub(crate) fn norm_modulate(x: &Tensor, shift_scale: &Tensor) -> Result<Tensor> {
    if composed::is_wanted(x) {
        return composed::norm_modulate(x, shift_scale);
    }
    x.contiguous()?
        .apply_op2(&shift_scale.contiguous()?, NormModulate)
}

/// `x + gate y` with `x`, `y` (N, T, d) and `gate` (N, d), or (1, d) for all samples.
///
/// # Errors
/// If shapes disagree.
pub(crate) fn gated_add(x: &Tensor, y: &Tensor, gate: &Tensor) -> Result<Tensor> {
    if composed::is_wanted(x) {
        return composed::gated_add(x, y, gate);
    }
    x.contiguous()?
        .apply_op3(&y.contiguous()?, &gate.contiguous()?, GatedAdd)
}

struct NormModulate;
struct GatedAdd;

dispatched! {
    fn norm_rows(x: &[f32], modulation: &[f32], y: &mut [f32]) {
        let d = modulation.len() / 2;
        let (shift, scale) = modulation.split_at(d);
        for (x, y) in x.chunks_exact(d).zip(y.chunks_exact_mut(d)) {
            let (mean, rate) = moments(x);
            for ((y, x), (shift, scale)) in y.iter_mut().zip(x).zip(shift.iter().zip(scale)) {
                let normal = (x - mean) * rate;
                *y = normal.mul_add(*scale, normal) + shift;
            }
        }
    }
}

/// Mean and 1 / standard deviation. Two passes: the differences keep their digits.
#[inline(always)]
pub(super) fn moments(x: &[f32]) -> (f32, f32) {
    let n = x.len() as f32;
    let mean = sum(x) / n;
    let (body, tail) = x.as_chunks::<8>();
    let mut lanes = [0.0f32; 8];
    for chunk in body {
        for (lane, v) in lanes.iter_mut().zip(chunk) {
            let d = v - mean;
            *lane = d.mul_add(d, *lane);
        }
    }
    let rest: f32 = tail.iter().map(|v| (v - mean) * (v - mean)).sum();
    let variance = (sum(&lanes) + rest) / n;
    (mean, 1.0 / (variance + EPSILON).sqrt())
}

dispatched! {
    /// `dx` of some rows; adds to `dm`, the modulation's gradient.
    fn norm_slopes(x: &[f32], modulation: &[f32], dy: &[f32], dx: &mut [f32], dm: &mut [f32]) {
        let d = modulation.len() / 2;
        let scale = &modulation[d..];
        let (d_shift, d_scale) = dm.split_at_mut(d);
        let rows = x.chunks_exact(d).zip(dy.chunks_exact(d)).zip(dx.chunks_exact_mut(d));
        for ((x, dy), dx) in rows {
            let (mean, rate) = moments(x);
            for (i, dx) in dx.iter_mut().enumerate() {
                let normal = (x[i] - mean) * rate;
                d_shift[i] += dy[i];
                d_scale[i] = dy[i].mul_add(normal, d_scale[i]);
                *dx = dy[i].mul_add(scale[i], dy[i]);
            }
            norm_row_slope(x, mean, rate, dx);
        }
    }
}

/// Turns the gradient of a normalised row into that of the row.
#[inline(always)]
pub(super) fn norm_row_slope(x: &[f32], mean: f32, rate: f32, d: &mut [f32]) {
    let n = x.len() as f32;
    let total = sum(d);
    let along = (dot(d, x) - total * mean) * rate / n;
    let middle = total / n;
    for (d, x) in d.iter_mut().zip(x) {
        *d = rate * (*d - middle - (x - mean) * rate * along);
    }
}

/// Checks `(N, T, d)` against per-sample parameters with `lead` leading 1 or N; `(N, T, d, shared)`.
fn sizes(x: &[usize], parameter: &[usize], middle: &[usize]) -> Result<(usize, usize, usize, bool)> {
    match *x {
        [n, t, d]
            if (parameter[0] == n || parameter[0] == 1)
                && parameter[1..parameter.len() - 1] == *middle
                && parameter.last() == Some(&d) =>
        {
            Ok((n, t, d, parameter[0] == 1))
        }
        _ => bail!("tokens {x:?} and modulation {parameter:?} do not fit"),
    }
}

/// The gradient of a parameter from that of each sample.
fn reduce(per_sample: Vec<f32>, len: usize, shape: &Shape, device: &candle_core::Device) -> Result<Tensor> {
    if shape.elem_count() == per_sample.len() {
        return Tensor::from_vec(per_sample, shape, device);
    }
    let mut total = vec![0.0; len];
    super::linear::add_rows(&per_sample, &mut total);
    Tensor::from_vec(total, shape, device)
}

impl CustomOp2 for NormModulate {
    fn name(&self) -> &'static str {
        "norm-modulate"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        xl: &Layout,
        m: &CpuStorage,
        ml: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (_, t, d, shared) = sizes(xl.dims(), ml.dims(), &[2])?;
        let (x, m) = (values(x, xl)?, values(m, ml)?);
        let mut y = vec![0.0; x.len()];
        for_each_chunk(&mut y, t * d, |n, y| {
            let m = if shared { m } else { &m[n * 2 * d..][..2 * d] };
            norm_rows(&x[n * t * d..][..t * d], m, y);
        });
        Ok((CpuStorage::F32(y), xl.shape().clone()))
    }

    fn bwd(
        &self,
        x: &Tensor,
        m: &Tensor,
        _y: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let (n, t, d, shared) = sizes(x.dims(), m.dims(), &[2])?;
        slices!(xv = x, mv = m, dy = grad);
        // Of each sample: the tokens' gradient, then the modulation's.
        let piece = (t + 2) * d;
        let mut both = vec![0.0; n * piece];
        for_each_chunk(&mut both, piece, |n, out| {
            let (dx, dm) = out.split_at_mut(t * d);
            let m = if shared { mv } else { &mv[n * 2 * d..][..2 * d] };
            let range = n * t * d..(n + 1) * t * d;
            norm_slopes(&xv[range.clone()], m, &dy[range], dx, dm);
        });
        let (dx, dm) = split(&both, piece, t * d);
        Ok((
            Some(Tensor::from_vec(dx, x.shape(), x.device())?),
            Some(reduce(dm, 2 * d, m.shape(), m.device())?),
        ))
    }
}

/// Splits pieces of `piece` values at `at` and gathers the two halves.
fn split(both: &[f32], piece: usize, at: usize) -> (Vec<f32>, Vec<f32>) {
    let pieces = both.len() / piece;
    let (mut first, mut second) = (
        Vec::with_capacity(pieces * at),
        Vec::with_capacity(pieces * (piece - at)),
    );
    for one in both.chunks_exact(piece) {
        first.extend_from_slice(&one[..at]);
        second.extend_from_slice(&one[at..]);
    }
    (first, second)
}

dispatched! {
    fn gate_rows(x: &[f32], y: &[f32], gate: &[f32], out: &mut [f32]) {
        let d = gate.len();
        let rows = x.chunks_exact(d).zip(y.chunks_exact(d)).zip(out.chunks_exact_mut(d));
        for ((x, y), out) in rows {
            for ((out, gate), (x, y)) in out.iter_mut().zip(gate).zip(x.iter().zip(y)) {
                *out = gate.mul_add(*y, *x);
            }
        }
    }
}

dispatched! {
    fn gate_slopes(y: &[f32], gate: &[f32], grad: &[f32], dy: &mut [f32], d_gate: &mut [f32]) {
        let d = gate.len();
        let rows = y.chunks_exact(d).zip(grad.chunks_exact(d)).zip(dy.chunks_exact_mut(d));
        for ((y, grad), dy) in rows {
            for i in 0..d {
                dy[i] = gate[i] * grad[i];
                d_gate[i] = grad[i].mul_add(y[i], d_gate[i]);
            }
        }
    }
}

impl CustomOp3 for GatedAdd {
    fn name(&self) -> &'static str {
        "gated-add"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        xl: &Layout,
        y: &CpuStorage,
        yl: &Layout,
        g: &CpuStorage,
        gl: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (_, t, d, shared) = sizes(xl.dims(), gl.dims(), &[])?;
        if xl.dims() != yl.dims() {
            bail!("gated add: {:?} and {:?}", xl.dims(), yl.dims());
        }
        let (x, y, g) = (values(x, xl)?, values(y, yl)?, values(g, gl)?);
        let mut out = vec![0.0; x.len()];
        for_each_chunk(&mut out, t * d, |n, out| {
            let range = n * t * d..(n + 1) * t * d;
            let gate = if shared { g } else { &g[n * d..][..d] };
            gate_rows(&x[range.clone()], &y[range], gate, out);
        });
        Ok((CpuStorage::F32(out), xl.shape().clone()))
    }

    fn bwd(
        &self,
        x: &Tensor,
        y: &Tensor,
        g: &Tensor,
        _out: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let (n, t, d, shared) = sizes(x.dims(), g.dims(), &[])?;
        slices!(yv = y, gv = g, dout = grad);
        let piece = (t + 1) * d;
        let mut both = vec![0.0; n * piece];
        for_each_chunk(&mut both, piece, |n, out| {
            let (dy, dg) = out.split_at_mut(t * d);
            let range = n * t * d..(n + 1) * t * d;
            let gate = if shared { gv } else { &gv[n * d..][..d] };
            gate_slopes(&yv[range.clone()], gate, &dout[range], dy, dg);
        });
        let (dy, dg) = split(&both, piece, t * d);
        Ok((
            Some(grad.clone()),
            Some(Tensor::from_vec(dy, y.shape(), y.device())?),
            Some(reduce(dg, d, g.shape(), g.device())?),
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{check_gradients, noise};
    use super::*;

    #[test]
    fn equal_composed_operations_and_their_gradients() {
        for lead in [1, 3] {
            let (x, y) = (noise(&[3, 5, 20], 1), noise(&[3, 5, 20], 2));
            let x = x.affine(2.0, 0.5).unwrap();
            check_gradients(
                &[x.clone(), noise(&[lead, 2, 20], 3)],
                |t| norm_modulate(&t[0], &t[1]),
                |t| composed::norm_modulate(&t[0], &t[1]),
                2e-5,
            );
            check_gradients(
                &[x, y, noise(&[lead, 20], 4)],
                |t| gated_add(&t[0], &t[1], &t[2]),
                |t| composed::gated_add(&t[0], &t[1], &t[2]),
                2e-6,
            );
        }
    }
}
