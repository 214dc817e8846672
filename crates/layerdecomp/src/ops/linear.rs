//! `y = x Wᵀ + b`.

use candle_core::{CpuStorage, CustomOp3, Layout, Result, Shape, Tensor, bail};

use super::gemm::{View, gemm};
use super::kernel::{Start, dispatched};
use super::{slices, values};

/// `x` (.., k), `weight` (n, k), `bias` (n) to (.., n).
///
/// # Errors
/// If shapes disagree.
pub(crate) fn linear(x: &Tensor, weight: &Tensor, bias: &Tensor) -> Result<Tensor> {
    x.contiguous()?.apply_op3(weight, bias, Linear)
}

struct Linear;

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
        let (x, w, b) = (values(x, xl)?, values(w, wl)?, values(b, bl)?);
        let mut y = vec![0.0; m * n];
        gemm(
            (m, n, k),
            View::rows(x, k),
            View::transposed(w, k),
            Start::Row(b),
            &mut y,
            n,
        );
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
        slices!(xv = x, wv = w, dy = grad);
        let device = x.device();
        let dx = if x.track_op() {
            let mut dx = vec![0.0; m * k];
            gemm(
                (m, k, n),
                View::rows(dy, n),
                View::rows(wv, k),
                Start::Zero,
                &mut dx,
                k,
            );
            Some(Tensor::from_vec(dx, x.shape(), device)?)
        } else {
            None
        };
        let dw = if w.track_op() {
            let mut dw = vec![0.0; n * k];
            gemm(
                (n, k, m),
                View::transposed(dy, n),
                View::rows(xv, k),
                Start::Zero,
                &mut dw,
                k,
            );
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

    #[test]
    fn equals_candle_and_its_gradients() {
        let (x, w, b) = (noise(&[3, 5, 20], 1), noise(&[33, 20], 2), noise(&[33], 3));
        check_gradients(
            &[x, w, b],
            |t| linear(&t[0], &t[1], &t[2]),
            |t| t[0].broadcast_matmul(&t[1].t()?)?.broadcast_add(&t[2]),
            2e-5,
        );
        assert!(linear(&noise(&[2, 3], 1), &noise(&[4, 5], 1), &noise(&[4], 1)).is_err());
    }
}
