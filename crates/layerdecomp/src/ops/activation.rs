//! GELU (tanh form) and SiLU.

use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor};

use super::composed;
use super::math::sigmoid;
use super::simd::dispatched;
use super::{ELEMENTS_PER_TASK, for_each_chunk, slices, values};

/// `x (1 + tanh(√(2/π) (x + 0.044715 x³))) / 2`.
///
/// # Errors
/// If the tensor is not f32 on the CPU.
pub(crate) fn gelu(x: &Tensor) -> Result<Tensor> {
    if composed::is_wanted(x) {
        return x.gelu();
    }
    x.contiguous()?.apply_op1(Activation::Gelu)
}

/// `x / (1 + e^-x)`.
///
/// # Errors
/// If the tensor is not f32 on the CPU.
pub(crate) fn silu(x: &Tensor) -> Result<Tensor> {
    if composed::is_wanted(x) {
        return x.silu();
    }
    x.contiguous()?.apply_op1(Activation::Silu)
}

#[derive(Clone, Copy)]
enum Activation {
    Gelu,
    Silu,
}

/// 2 √(2/π): `(1 + tanh u) / 2` is `sigmoid(2 u)`.
const SLOPE: f32 = 1.595_769;
const CUBIC: f32 = 0.044_715;

/// SiLU's value at `x`.
#[inline(always)]
pub(super) fn silu_at(x: f32) -> f32 {
    x * sigmoid(x)
}

/// SiLU's derivative at `x`.
#[inline(always)]
pub(super) fn silu_slope(x: f32) -> f32 {
    let s = sigmoid(x);
    (x * (1.0 - s)).mul_add(s, s)
}

dispatched! {
    fn gelu_values(x: &[f32], y: &mut [f32]) {
        for (x, y) in x.iter().zip(y) {
            *y = x * sigmoid(SLOPE * (CUBIC * x * x).mul_add(*x, *x));
        }
    }
}

dispatched! {
    /// `dx` holds the result's gradient on entry and the argument's on return.
    fn gelu_slopes(x: &[f32], dx: &mut [f32]) {
        for (x, dx) in x.iter().zip(dx) {
            let square = x * x;
            let s = sigmoid(SLOPE * (CUBIC * square).mul_add(*x, *x));
            let inner = SLOPE * (3.0 * CUBIC).mul_add(square, 1.0);
            *dx *= (x * inner * (1.0 - s)).mul_add(s, s);
        }
    }
}

dispatched! {
    fn silu_values(x: &[f32], y: &mut [f32]) {
        for (x, y) in x.iter().zip(y) {
            *y = silu_at(*x);
        }
    }
}

dispatched! {
    /// As [`gelu_slopes`].
    fn silu_slopes(x: &[f32], dx: &mut [f32]) {
        for (x, dx) in x.iter().zip(dx) {
            *dx *= silu_slope(*x);
        }
    }
}

impl CustomOp1 for Activation {
    fn name(&self) -> &'static str {
        match self {
            Self::Gelu => "gelu",
            Self::Silu => "silu",
        }
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let x = values(x, layout)?;
        let mut y = vec![0.0; x.len()];
        for_each_chunk(&mut y, ELEMENTS_PER_TASK, |i, y| {
            let x = &x[i * ELEMENTS_PER_TASK..][..y.len()];
            match self {
                Self::Gelu => gelu_values(x, y),
                Self::Silu => silu_values(x, y),
            }
        });
        Ok((CpuStorage::F32(y), layout.shape().clone()))
    }

    fn bwd(&self, x: &Tensor, _y: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        slices!(xv = x, dy = grad);
        let mut dx = dy.to_vec();
        for_each_chunk(&mut dx, ELEMENTS_PER_TASK, |i, dx| {
            let x = &xv[i * ELEMENTS_PER_TASK..][..dx.len()];
            match self {
                Self::Gelu => gelu_slopes(x, dx),
                Self::Silu => silu_slopes(x, dx),
            }
        });
        Ok(Some(Tensor::from_vec(dx, x.shape(), x.device())?))
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{check_gradients, noise};
    use super::*;

    #[test]
    fn equal_candle_and_its_gradients() {
        let x = (noise(&[7, 1000], 1) * 6.0).unwrap();
        check_gradients(std::slice::from_ref(&x), |t| gelu(&t[0]), |t| t[0].gelu(), 2e-6);
        check_gradients(&[x], |t| silu(&t[0]), |t| t[0].silu(), 2e-6);
    }

    #[test]
    fn far_arguments_stay_finite() {
        let x = Tensor::new(&[-1e4f32, -90.0, 90.0, 1e4], &candle_core::Device::Cpu).unwrap();
        for y in [gelu(&x).unwrap(), silu(&x).unwrap()] {
            let y = y.to_vec1::<f32>().unwrap();
            assert!(
                y[..2].iter().all(|v| v.abs() < 1e-30) && y[2..] == [90.0, 1e4],
                "{y:?}"
            );
        }
    }
}
