//! The fused operations once more, composed of candle's own: for tensors on other devices, where the fused ones do not exist, and as what
//! their tests compare with. Candle differentiates them by itself.
//!
//! On a CUDA device products take bf16 and give f32 (mixed precision): parameters, sums, norms and the residual stream stay f32,
//! and a product's gradient comes back in f32.

use std::cell::Cell;
use std::sync::Arc;

use candle_core::{D, DType, Device, Result, Tensor};

use super::conv::Step;
use super::norm::EPSILON;

thread_local! {
    static ASKED_FOR: Cell<bool> = const { Cell::new(false) };
}

/// Runs `work` on this thread with composed operations in place of the fused ones, also on the CPU: how training on another device
/// is tested without one.
pub fn with_composed_operations<T>(work: impl FnOnce() -> T) -> T {
    let before = ASKED_FOR.replace(true);
    let result = work();
    ASKED_FOR.set(before);
    result
}

/// Whether an operation on `x` is to be composed.
pub(super) fn is_wanted(x: &Tensor) -> bool {
    !x.device().is_cpu() || ASKED_FOR.get()
}

/// `a b` in f32, of bf16 where the device has units for it.
fn product(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    if a.device().is_cuda() {
        let half = |t: &Tensor| t.to_dtype(DType::BF16);
        return half(a)?.matmul(&half(b)?)?.to_dtype(DType::F32);
    }
    a.matmul(b)
}

/// As [`super::linear::linear`].
pub(super) fn linear(
    x: &Tensor,
    weight: &Tensor,
    scale: Option<&Arc<[f32]>>,
    bias: &Tensor,
) -> Result<Tensor> {
    let mut weight = weight.to_dtype(DType::F32)?;
    if let Some(scale) = scale {
        let scale = Tensor::from_slice(scale, (scale.len(), 1), weight.device())?;
        weight = (weight - f64::from(crate::weights::ZERO))?.broadcast_mul(&scale)?;
    }
    let (outputs, inputs) = weight.dims2()?;
    let mut dims = x.dims().to_vec();
    if let Some(last) = dims.last_mut() {
        *last = outputs;
    }
    let y = product(&x.reshape(((), inputs))?, &weight.t()?.contiguous()?)?;
    y.broadcast_add(bias)?.reshape(dims)
}

/// `(x - mean) / sd` over the last axis.
fn normal(x: &Tensor) -> Result<Tensor> {
    let centred = x.broadcast_sub(&x.mean_keepdim(D::Minus1)?)?;
    let variance = (centred.sqr()?.mean_keepdim(D::Minus1)? + f64::from(EPSILON))?;
    centred.broadcast_div(&variance.sqrt()?)
}

/// As [`super::attention::attention`].
pub(super) fn attention(own: &Tensor, other: Option<&Tensor>, heads: usize) -> Result<Tensor> {
    let (n, t, width) = own.dims3()?;
    let f = width / 3 / heads;
    let part = |x: &Tensor, i: usize| {
        x.narrow(2, i * heads * f, heads * f)?
            .reshape((n, (), heads, f))?
            .transpose(1, 2)?
            .contiguous()
    };
    let both = |i| match other {
        None => part(own, i),
        Some(other) => Tensor::cat(&[part(other, i)?, part(own, i)?], 2),
    };
    let (q, k, v) = (normal(&part(own, 0)?)?, normal(&both(1)?)?, both(2)?);
    let scores = (product(&q, &k.t()?.contiguous()?)? / (f as f64).sqrt())?;
    let shares = candle_nn::ops::softmax(&scores, 3)?;
    product(&shares, &v)?.transpose(1, 2)?.reshape((n, t, heads * f))
}

/// As [`super::norm::norm_modulate`].
pub(super) fn norm_modulate(x: &Tensor, shift_scale: &Tensor) -> Result<Tensor> {
    let (shift, scale) = (shift_scale.narrow(1, 0, 1)?, shift_scale.narrow(1, 1, 1)?);
    normal(x)?.broadcast_mul(&(scale + 1.0)?)?.broadcast_add(&shift)
}

/// As [`super::norm::gated_add`].
pub(super) fn gated_add(x: &Tensor, y: &Tensor, gate: &Tensor) -> Result<Tensor> {
    x.add(&y.broadcast_mul(&gate.unsqueeze(1)?)?)
}

/// As [`super::conv::conv3x3`]: candle's convolution over channels-first pictures.
pub(super) fn conv3x3(
    x: &Tensor,
    skip: Option<&Tensor>,
    weight: &Tensor,
    bias: &Tensor,
    step: Step,
) -> Result<Tensor> {
    let mut x = x.permute((0, 3, 1, 2))?.contiguous()?;
    if step == Step::Double {
        let (_, _, h, w) = x.dims4()?;
        x = x.upsample_nearest2d(2 * h, 2 * w)?;
    }
    if let Some(skip) = skip {
        x = Tensor::cat(&[x, skip.permute((0, 3, 1, 2))?], 1)?;
    }
    let stride = if step == Step::Half { 2 } else { 1 };
    let weight = weight.permute((3, 2, 0, 1))?.contiguous()?;
    x.conv2d(&weight, 1, stride, 1, 1)?
        .permute((0, 2, 3, 1))?
        .broadcast_add(bias)
}

/// As [`super::group_norm::group_norm_silu`].
pub(super) fn group_norm_silu(
    x: &Tensor,
    groups: usize,
    weight: &Tensor,
    bias: &Tensor,
    epsilon: f32,
) -> Result<Tensor> {
    let (n, h, w, c) = x.dims4()?;
    let x = x.reshape((n, h * w, groups, c / groups))?;
    let centred = x.broadcast_sub(&x.mean_keepdim((1, 3))?)?;
    let variance = (centred.sqr()?.mean_keepdim((1, 3))? + f64::from(epsilon))?;
    let normal = centred.broadcast_div(&variance.sqrt()?)?.reshape((n, h, w, c))?;
    normal.broadcast_mul(weight)?.broadcast_add(bias)?.silu()
}

/// As [`super::upsample::upsample`]: a product with the matrix of weights along either axis.
pub(super) fn upsample(x: &Tensor, scale: usize) -> Result<Tensor> {
    let (_, h, w, _) = x.dims4()?;
    let x = x.permute((0, 3, 1, 2))?.contiguous()?;
    let rows = interpolation(h, scale, x.device())?.broadcast_matmul(&x)?;
    let columns = interpolation(w, scale, x.device())?.t()?.contiguous()?;
    rows.broadcast_matmul(&columns)?.permute((0, 2, 3, 1))
}

/// (scale size, size)
fn interpolation(size: usize, scale: usize, device: &Device) -> Result<Tensor> {
    let mut values = vec![0f32; size * scale * size];
    for (i, tap) in super::upsample::taps(size, scale).into_iter().enumerate() {
        values[i * size + tap.near] += 1.0 - tap.part;
        values[i * size + tap.far] += tap.part;
    }
    Tensor::from_vec(values, (size * scale, size), device)
}
