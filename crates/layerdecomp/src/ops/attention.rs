//! Attention over normalised queries and keys, one pass over packed `q k v`.

use candle_core::{CpuStorage, CustomOp1, CustomOp2, Layout, Result, Shape, Tensor, bail};

use super::composed;
use super::gemm::{View, gemm};
use super::kernel::Start;
use super::math::{dot, exp, sum};
use super::norm::{moments, norm_row_slope};
use super::simd::dispatched;
use super::{for_each_chunk, scratch::with_scratch, slices, values};

/// `softmax(q kᵀ / √h) v` with layer-normalised `q` and `k` (no affine part), h being features of a head.
///
/// `own` is (N, T, 3 d): queries, keys and values of the tokens that ask. `other`, if any, is (N, S, 3 d): tokens whose keys
/// and values are seen too, and whose queries are ignored. The result is (N, T, d).
///
/// # Errors
/// If shapes disagree.
pub(crate) fn attention(own: &Tensor, other: Option<&Tensor>, heads: usize) -> Result<Tensor> {
    if composed::is_wanted(own) {
        return composed::attention(own, other, heads);
    }
    let own = own.contiguous()?;
    match other {
        None => own.apply_op1(Attention { heads }),
        Some(other) => own.apply_op2(&other.contiguous()?, Attention { heads }),
    }
}

struct Attention {
    heads: usize,
}

#[derive(Debug, Clone, Copy)]
struct Plan {
    n: usize,
    /// Own tokens, other tokens, and both.
    t: usize,
    s: usize,
    keys: usize,
    heads: usize,
    /// Features of a head.
    f: usize,
}

/// One head of one sample: normalised queries, normalised keys, values, each contiguous, plus their norms' moments.
struct Head<'a> {
    q: &'a mut [f32],
    k: &'a mut [f32],
    v: &'a mut [f32],
    p: &'a mut [f32],
}

impl Plan {
    fn new(heads: usize, own: &[usize], other: Option<&[usize]>) -> Result<Self> {
        let &[n, t, width] = own else {
            bail!("attention: {own:?}")
        };
        let s = match other {
            None => 0,
            Some(&[on, s, w]) if on == n && w == width => s,
            Some(other) => bail!("attention: {own:?} beside {other:?}"),
        };
        if heads == 0 || !width.is_multiple_of(3 * heads) || t == 0 || width == 0 {
            bail!("attention: {heads} heads over {own:?}");
        }
        Ok(Self {
            n,
            t,
            s,
            keys: t + s,
            heads,
            f: width / 3 / heads,
        })
    }

    fn width(&self) -> usize {
        self.heads * self.f
    }

    /// Values of scratch that a [`Head`] takes.
    fn head_len(&self) -> usize {
        (self.t + 2 * self.keys) * self.f + self.t * self.keys
    }

    fn head<'a>(&self, scratch: &'a mut [f32]) -> Head<'a> {
        let (q, rest) = scratch.split_at_mut(self.t * self.f);
        let (k, rest) = rest.split_at_mut(self.keys * self.f);
        let (v, rest) = rest.split_at_mut(self.keys * self.f);
        Head {
            q,
            k,
            v,
            p: &mut rest[..self.t * self.keys],
        }
    }

    /// The row of part `part` (0 q, 1 k, 2 v) of key `i` (others first), head `h` of sample `n`.
    fn row<'a>(
        &self,
        own: &'a [f32],
        other: &'a [f32],
        (n, h): (usize, usize),
        i: usize,
        part: usize,
    ) -> &'a [f32] {
        let (from, tokens, i) = if i < self.s {
            (other, self.s, i)
        } else {
            (own, self.t, i - self.s)
        };
        &from[((n * tokens + i) * 3 + part) * self.width() + h * self.f..][..self.f]
    }

    /// Gathers and normalises one head, and computes its attention weights.
    fn load(&self, own: &[f32], other: &[f32], at: (usize, usize), head: &mut Head<'_>) {
        let f = self.f;
        for i in 0..self.keys {
            let range = i * f..(i + 1) * f;
            normalise(self.row(own, other, at, i, 1), 1.0, &mut head.k[range.clone()]);
            head.v[range].copy_from_slice(self.row(own, other, at, i, 2));
        }
        for i in 0..self.t {
            let row = self.row(own, other, at, self.s + i, 0);
            normalise(row, 1.0 / (f as f32).sqrt(), &mut head.q[i * f..(i + 1) * f]);
        }
        let (q, k) = (View::rows(head.q, f), View::transposed(head.k, f));
        gemm((self.t, self.keys, f), q, k, Start::Zero, head.p, self.keys);
        softmax(head.p, self.keys);
    }
}

dispatched! {
    fn normalise(x: &[f32], by: f32, y: &mut [f32]) {
        let (mean, rate) = moments(x);
        let rate = rate * by;
        for (y, x) in y.iter_mut().zip(x) {
            *y = (x - mean) * rate;
        }
    }
}

dispatched! {
    /// Through [`normalise`]: `d` from gradient of the result to gradient of `x`.
    fn unnormalise(x: &[f32], by: f32, d: &mut [f32]) {
        let (mean, rate) = moments(x);
        for d in d.iter_mut() {
            *d *= by;
        }
        norm_row_slope(x, mean, rate, d);
    }
}

dispatched! {
    fn softmax(rows: &mut [f32], width: usize) {
        for row in rows.chunks_exact_mut(width) {
            let largest = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            for v in row.iter_mut() {
                *v = exp(*v - largest);
            }
            let scale = 1.0 / sum(row);
            for v in row.iter_mut() {
                *v *= scale;
            }
        }
    }
}

dispatched! {
    /// Gradient before the softmax from that after it, in place.
    fn unsoftmax(p: &[f32], width: usize, d: &mut [f32]) {
        for (p, d) in p.chunks_exact(width).zip(d.chunks_exact_mut(width)) {
            let along = dot(p, d);
            for (d, p) in d.iter_mut().zip(p) {
                *d = p * (*d - along);
            }
        }
    }
}

impl Attention {
    fn run(plan: &Plan, own: &[f32], other: &[f32]) -> Vec<f32> {
        let (t, f) = (plan.t, plan.f);
        let mut heads = vec![0.0; plan.n * plan.heads * t * f];
        for_each_chunk(&mut heads, t * f, |index, out| {
            with_scratch(plan.head_len(), |scratch| {
                let mut head = plan.head(scratch);
                plan.load(own, other, (index / plan.heads, index % plan.heads), &mut head);
                gemm(
                    (t, f, plan.keys),
                    View::rows(head.p, plan.keys),
                    View::rows(head.v, f),
                    Start::Zero,
                    out,
                    f,
                );
            });
        });
        // (N, heads, T, f) to (N, T, heads f)
        let mut y = vec![0.0; heads.len()];
        for (index, head) in heads.chunks_exact(t * f).enumerate() {
            let (n, h) = (index / plan.heads, index % plan.heads);
            for (i, row) in head.chunks_exact(f).enumerate() {
                y[(n * t + i) * plan.width() + h * f..][..f].copy_from_slice(row);
            }
        }
        y
    }

    /// Gradients of `own` and `other`.
    fn slopes(plan: &Plan, own: &[f32], other: &[f32], dy: &[f32]) -> (Vec<f32>, Vec<f32>) {
        let (t, keys, f) = (plan.t, plan.keys, plan.f);
        let piece = (t + 2 * keys) * f;
        let mut pieces = vec![0.0; plan.n * plan.heads * piece];
        for_each_chunk(&mut pieces, piece, |index, out| {
            let at = (index / plan.heads, index % plan.heads);
            let (dq, rest) = out.split_at_mut(t * f);
            let (dk, dv) = rest.split_at_mut(keys * f);
            with_scratch(plan.head_len() + t * keys + t * f, |scratch| {
                let (ds, rest) = scratch.split_at_mut(t * keys);
                let (mine, rest) = rest.split_at_mut(t * f);
                let mut head = plan.head(rest);
                plan.load(own, other, at, &mut head);
                for (i, row) in mine.chunks_exact_mut(f).enumerate() {
                    row.copy_from_slice(&dy[(at.0 * t + i) * plan.width() + at.1 * f..][..f]);
                }
                let dout = View::rows(mine, f);
                gemm(
                    (keys, f, t),
                    View::transposed(head.p, keys),
                    dout,
                    Start::Zero,
                    dv,
                    f,
                );
                gemm(
                    (t, keys, f),
                    dout,
                    View::transposed(head.v, f),
                    Start::Zero,
                    ds,
                    keys,
                );
                unsoftmax(head.p, keys, ds);
                gemm(
                    (t, f, keys),
                    View::rows(ds, keys),
                    View::rows(head.k, f),
                    Start::Zero,
                    dq,
                    f,
                );
                gemm(
                    (keys, f, t),
                    View::transposed(ds, keys),
                    View::rows(head.q, f),
                    Start::Zero,
                    dk,
                    f,
                );
            });
            for (i, dq) in dq.chunks_exact_mut(f).enumerate() {
                unnormalise(
                    plan.row(own, other, at, plan.s + i, 0),
                    1.0 / (f as f32).sqrt(),
                    dq,
                );
            }
            for (i, dk) in dk.chunks_exact_mut(f).enumerate() {
                unnormalise(plan.row(own, other, at, i, 1), 1.0, dk);
            }
        });
        let (mut d_own, mut d_other) = (vec![0.0; own.len()], vec![0.0; other.len()]);
        for (index, piece) in pieces.chunks_exact(piece).enumerate() {
            let (n, h) = (index / plan.heads, index % plan.heads);
            let (dq, rest) = piece.split_at(t * f);
            let parts = [dq, &rest[..keys * f], &rest[keys * f..]];
            for (part, values) in parts.into_iter().enumerate() {
                let skip = if part == 0 { plan.s } else { 0 };
                for (i, row) in values.chunks_exact(f).enumerate() {
                    let i = i + skip;
                    let (to, tokens, i) = if i < plan.s {
                        (&mut d_other, plan.s, i)
                    } else {
                        (&mut d_own, t, i - plan.s)
                    };
                    to[((n * tokens + i) * 3 + part) * plan.width() + h * f..][..f].copy_from_slice(row);
                }
            }
        }
        (d_own, d_other)
    }
}

impl CustomOp1 for Attention {
    fn name(&self) -> &'static str {
        "attention"
    }

    fn cpu_fwd(&self, own: &CpuStorage, ol: &Layout) -> Result<(CpuStorage, Shape)> {
        let plan = Plan::new(self.heads, ol.dims(), None)?;
        let y = Self::run(&plan, values(own, ol)?, &[]);
        Ok((CpuStorage::F32(y), (plan.n, plan.t, plan.width()).into()))
    }

    fn bwd(&self, own: &Tensor, _y: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        let plan = Plan::new(self.heads, own.dims(), None)?;
        slices!(ov = own, dy = grad);
        let (d, _) = Self::slopes(&plan, ov, &[], dy);
        Ok(Some(Tensor::from_vec(d, own.shape(), own.device())?))
    }
}

impl CustomOp2 for Attention {
    fn name(&self) -> &'static str {
        "cross-attention"
    }

    fn cpu_fwd(
        &self,
        own: &CpuStorage,
        ol: &Layout,
        other: &CpuStorage,
        tl: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let plan = Plan::new(self.heads, ol.dims(), Some(tl.dims()))?;
        let y = Self::run(&plan, values(own, ol)?, values(other, tl)?);
        Ok((CpuStorage::F32(y), (plan.n, plan.t, plan.width()).into()))
    }

    fn bwd(
        &self,
        own: &Tensor,
        other: &Tensor,
        _y: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let plan = Plan::new(self.heads, own.dims(), Some(other.dims()))?;
        slices!(ov = own, tv = other, dy = grad);
        let (d_own, d_other) = Self::slopes(&plan, ov, tv, dy);
        Ok((
            Some(Tensor::from_vec(d_own, own.shape(), own.device())?),
            Some(Tensor::from_vec(d_other, other.shape(), other.device())?),
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{check_gradients, noise};
    use super::*;

    #[test]
    fn equals_composed_operations_and_their_gradients() {
        let own = noise(&[2, 7, 3 * 24], 1);
        check_gradients(
            std::slice::from_ref(&own),
            |t| attention(&t[0], None, 3),
            |t| composed::attention(&t[0], None, 3),
            3e-5,
        );
        let other = noise(&[2, 5, 3 * 24], 2);
        check_gradients(
            &[own, other],
            |t| attention(&t[0], Some(&t[1]), 3),
            |t| composed::attention(&t[0], Some(&t[1]), 3),
            3e-5,
        );
    }

    #[test]
    fn misfits_are_errors() {
        assert!(attention(&noise(&[1, 2, 10], 1), None, 2).is_err());
        assert!(attention(&noise(&[1, 2, 12], 1), Some(&noise(&[2, 2, 12], 1)), 2).is_err());
    }
}
