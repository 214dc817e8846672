//! `y = x Wᵀ + b`, whatever the number format in which the weight is kept.

use std::sync::Arc;

use candle_core::{CpuStorage, CustomOp3, DType, Layout, Result, Shape, Tensor, bail};

use super::composed;
use super::gemm::{View, gemm};
use super::kernel::Start;
use super::scratch::with_scratch;
use super::simd::dispatched;
use super::stored::Rows;
use super::{slices, values};

/// Rows of a weight in fewer bits that are widened at a time: with 3072 inputs, 1.5 MB of f32.
const ROWS: usize = 128;

/// `x` (.., k) in f32, `weight` (n, k) in f32, f16, bf16, or u8 with a `scale` for each row, `bias` (n) in f32, to (.., n). The
/// result is that of the weight widened to f32, to the bit. A weight learns only if it is f32.
///
/// # Errors
/// If shapes or number formats disagree.
pub(crate) fn linear(
    x: &Tensor,
    weight: &Tensor,
    scale: Option<&Arc<[f32]>>,
    bias: &Tensor,
) -> Result<Tensor> {
    if composed::is_wanted(x) {
        return composed::linear(x, weight, scale, bias);
    }
    let scale = scale.cloned();
    x.contiguous()?.apply_op3(weight, bias, Linear { scale })
}

struct Linear {
    scale: Option<Arc<[f32]>>,
}

/// Rows, inputs and outputs of a product.
fn sizes(x: &[usize], weight: &[usize], bias: &[usize]) -> Result<(usize, usize, usize)> {
    match (x, weight, bias) {
        ([lead @ .., k], &[n, wk], &[bn]) if *k == wk && n == bn => Ok((lead.iter().product(), *k, n)),
        _ => bail!("linear: x {x:?}, weight {weight:?} and bias {bias:?} do not fit"),
    }
}

impl CustomOp3 for Linear {
    fn name(&self) -> &'static str {
        "linear"
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
        let (m, k, n) = sizes(xl.dims(), wl.dims(), bl.dims())?;
        let weight = Rows::of(w, wl, self.scale.as_ref())?;
        let (x, b) = (values(x, xl)?, values(b, bl)?);
        let mut y = vec![0.0; m * n];
        let x = View::rows(x, k);
        match weight {
            Rows::F32(w) => gemm((m, n, k), x, View::transposed(w, k), Start::Row(b), &mut y, n),
            weight if m > 0 => with_scratch(ROWS.min(n) * k, |wide| {
                for row in (0..n).step_by(ROWS) {
                    let count = ROWS.min(n - row);
                    let wide = &mut wide[..count * k];
                    weight.widen(row, k, wide);
                    let start = Start::Row(&b[row..row + count]);
                    gemm(
                        (m, count, k),
                        x,
                        View::transposed(wide, k),
                        start,
                        &mut y[row..],
                        n,
                    );
                }
            }),
            _ => {}
        }
        let mut dims = xl.dims().to_vec();
        if let Some(last) = dims.last_mut() {
            *last = n;
        }
        Ok((CpuStorage::F32(y), dims.into()))
    }

    fn bwd(
        &self,
        x: &Tensor,
        w: &Tensor,
        b: &Tensor,
        _y: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let (m, k, n) = sizes(x.dims(), w.dims(), b.dims())?;
        if w.dtype() != DType::F32 {
            bail!(
                "gradients go through linear layers in f32 only, this one is kept as {:?}",
                w.dtype()
            );
        }
        slices!(xv = x, wv = w, dy = grad);
        let device = x.device();
        let dx = if x.track_op() {
            let mut dx = vec![0.0; m * k];
            let (dy, w) = (View::rows(dy, n), View::rows(wv, k));
            gemm((m, k, n), dy, w, Start::Zero, &mut dx, k);
            Some(Tensor::from_vec(dx, x.shape(), device)?)
        } else {
            None
        };
        let dw = if w.track_op() {
            let mut dw = vec![0.0; n * k];
            let (dy, x) = (View::transposed(dy, n), View::rows(xv, k));
            gemm((n, k, m), dy, x, Start::Zero, &mut dw, k);
            Some(Tensor::from_vec(dw, w.shape(), device)?)
        } else {
            None
        };
        let db = if b.track_op() {
            let mut db = vec![0.0; n];
            add_rows(dy, &mut db);
            Some(Tensor::from_vec(db, n, device)?)
        } else {
            None
        };
        Ok((dx, dw, db))
    }
}

dispatched! {
    /// Adds every row of `rows` to `sums`.
    pub(super) fn add_rows(rows: &[f32], sums: &mut [f32]) {
        for row in rows.chunks_exact(sums.len()) {
            for (sum, v) in sums.iter_mut().zip(row) {
                *sum += v;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{check_gradients, noise};
    use super::*;
    use crate::weights::restore;
    use candle_core::{Device, Var};

    #[test]
    fn equals_candle_and_its_gradients() {
        let (x, w, b) = (noise(&[3, 5, 20], 1), noise(&[33, 20], 2), noise(&[33], 3));
        check_gradients(
            &[x, w, b],
            |t| linear(&t[0], &t[1], None, &t[2]),
            |t| composed::linear(&t[0], &t[1], None, &t[2]),
            2e-5,
        );
        assert!(linear(&noise(&[2, 3], 1), &noise(&[4, 5], 1), None, &noise(&[4], 1)).is_err());
    }

    fn flat(t: &Tensor) -> Vec<f32> {
        t.flatten_all().unwrap().to_vec1().unwrap()
    }

    #[test]
    fn fewer_bits_equal_the_widened_weight_to_the_bit() {
        let (x, w, b) = (noise(&[2, 5, 20], 1), noise(&[300, 20], 2), noise(&[300], 3));
        for dtype in [DType::F16, DType::BF16] {
            let w = w.to_dtype(dtype).unwrap();
            let want = linear(&x, &w.to_dtype(DType::F32).unwrap(), None, &b).unwrap();
            let found = linear(&x, &w, None, &b).unwrap();
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
        let wide = Tensor::from_vec(wide, (300, 20), &Device::Cpu).unwrap();
        let want = linear(&x, &wide, None, &b).unwrap();
        assert_eq!(
            flat(&linear(&x, &numbers, Some(&scale), &b).unwrap()),
            flat(&want)
        );
        let apart = (composed::linear(&x, &numbers, Some(&scale), &b).unwrap() - want).unwrap();
        assert!(flat(&apart).iter().all(|v| v.abs() < 1e-4));
        assert!(linear(&x, &numbers, None, &b).is_err());
        assert!(linear(&noise(&[2, 3], 1), &numbers, Some(&scale), &b).is_err());
    }

    #[test]
    fn a_weight_in_fewer_bits_refuses_to_learn() {
        let x = Var::from_tensor(&noise(&[2, 4], 1)).unwrap();
        let w = noise(&[3, 4], 2).to_dtype(DType::BF16).unwrap();
        let y = linear(&x, &w, None, &noise(&[3], 3)).unwrap();
        let error = y.sum_all().unwrap().backward().unwrap_err().to_string();
        assert!(error.contains("BF16"), "{error}");
    }
}
