//! `y = x Wᵀ + b` over weights kept in fewer bits: widened a block of rows at a time, multiplied in f32.

use std::sync::Arc;

use candle_core::backend::BackendStorage;
use candle_core::{CpuStorage, CustomOp3, Layout, Result, Shape, Tensor, bail};
use half::slice::HalfFloatSliceExt;

use super::gemm::{View, gemm};
use super::kernel::Start;
use super::scratch::with_scratch;
use super::values;
use crate::weights::restore;

/// Rows of the weight that are widened at a time: with 3072 inputs, 1.5 MB of f32.
const ROWS: usize = 128;

/// `x` (.., k) in f32, `weight` (n, k) in f16, bf16, or u8 with a scale for each of its n rows, `bias` (n) in f32. The result is
/// that of [`super::linear::linear`] over the widened weight, to the bit. No gradients: such weights do not learn.
///
/// # Errors
/// If shapes or number formats disagree.
pub(crate) fn linear_stored(
    x: &Tensor,
    weight: &Tensor,
    scale: Option<&Arc<[f32]>>,
    bias: &Tensor,
) -> Result<Tensor> {
    let scale = scale.cloned();
    x.contiguous()?
        .apply_op3_no_bwd(weight, bias, &LinearStored { scale })
}

/// Fills whole rows, from the given one on, with widened weights.
type Widen<'a> = Box<dyn Fn(usize, &mut [f32]) + 'a>;

struct LinearStored {
    scale: Option<Arc<[f32]>>,
}

/// The contiguous part of a buffer.
fn part<'a, T>(all: &'a [T], layout: &Layout) -> Result<&'a [T]> {
    match layout.contiguous_offsets() {
        Some((start, end)) => Ok(&all[start..end]),
        None => bail!("stored weights are contiguous, got {layout:?}"),
    }
}

impl CustomOp3 for LinearStored {
    fn name(&self) -> &'static str {
        "linear-stored"
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
        let (&[n, k], [lead @ .., inputs]) = (wl.dims(), xl.dims()) else {
            bail!("linear: x {:?}, weight {:?}", xl.dims(), wl.dims());
        };
        if *inputs != k || bl.dims() != [n] {
            bail!(
                "linear: x {:?}, weight {:?}, bias {:?}",
                xl.dims(),
                wl.dims(),
                bl.dims()
            );
        }
        let widen: Widen<'_> = match (w, &self.scale) {
            (CpuStorage::F16(w), None) => {
                let w = part(w, wl)?;
                Box::new(|row, to| w[row * k..][..to.len()].convert_to_f32_slice(to))
            }
            (CpuStorage::BF16(w), None) => {
                let w = part(w, wl)?;
                Box::new(|row, to| w[row * k..][..to.len()].convert_to_f32_slice(to))
            }
            (CpuStorage::U8(w), Some(scale)) if scale.len() == n => {
                let w = part(w, wl)?;
                Box::new(move |row, to| {
                    let rows = w[row * k..].chunks_exact(k).zip(&scale[row..]);
                    for (to, (from, scale)) in to.chunks_exact_mut(k).zip(rows) {
                        to.iter_mut()
                            .zip(from)
                            .for_each(|(to, q)| *to = restore(*q, *scale));
                    }
                })
            }
            (other, scale) => bail!("linear: {:?} weights, scaled: {}", other.dtype(), scale.is_some()),
        };
        let m: usize = lead.iter().product();
        let (x, b) = (values(x, xl)?, values(b, bl)?);
        let mut y = vec![0.0; m * n];
        if m > 0 {
            with_scratch(ROWS.min(n) * k, |wide| {
                for row in (0..n).step_by(ROWS) {
                    let count = ROWS.min(n - row);
                    let wide = &mut wide[..count * k];
                    widen(row, wide);
                    let start = Start::Row(&b[row..row + count]);
                    let (x, wide) = (View::rows(x, k), View::transposed(wide, k));
                    gemm((m, count, k), x, wide, start, &mut y[row..], n);
                }
            });
        }
        let shape: Vec<usize> = lead.iter().copied().chain([n]).collect();
        Ok((CpuStorage::F32(y), shape.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::super::linear::linear;
    use super::super::testing::noise;
    use super::*;
    use candle_core::{DType, Device};

    fn flat(t: &Tensor) -> Vec<f32> {
        t.flatten_all().unwrap().to_vec1().unwrap()
    }

    #[test]
    fn equals_the_widened_product_to_the_bit() {
        let (x, w, b) = (noise(&[2, 5, 20], 1), noise(&[300, 20], 2), noise(&[300], 3));
        for dtype in [DType::F16, DType::BF16] {
            let w = w.to_dtype(dtype).unwrap();
            let want = linear(&x, &w.to_dtype(DType::F32).unwrap(), &b).unwrap();
            let found = linear_stored(&x, &w, None, &b).unwrap();
            assert_eq!(found.dims(), want.dims());
            assert_eq!(flat(&found), flat(&want));
        }
        let numbers = Tensor::from_vec(
            (0..6000).map(|i| (i % 251) as u8).collect(),
            (300, 20),
            &Device::Cpu,
        )
        .unwrap();
        let scale: Arc<[f32]> = (0..300).map(|i| 0.01 + i as f32 / 1000.0).collect();
        let wide: Vec<f32> = (0..6000)
            .map(|i| restore((i % 251) as u8, scale[i / 20]))
            .collect();
        let want = linear(&x, &Tensor::from_vec(wide, (300, 20), &Device::Cpu).unwrap(), &b).unwrap();
        assert_eq!(
            flat(&linear_stored(&x, &numbers, Some(&scale), &b).unwrap()),
            flat(&want)
        );
        assert!(linear_stored(&x, &numbers, None, &b).is_err());
        assert!(linear_stored(&noise(&[2, 3], 1), &numbers, Some(&scale), &b).is_err());
    }
}
