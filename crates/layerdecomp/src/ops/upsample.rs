//! Bilinear up-sampling of channels-last pictures by a whole factor.

use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor, bail};

use super::composed;
use super::{for_each_chunk, slices, values};

/// (N, H, W, C) to (N, s H, s W, C): pixel areas aligned (`align_corners = false`), edges repeated.
///
/// # Errors
/// If the tensor is not f32 on the CPU.
pub(crate) fn upsample(x: &Tensor, scale: usize) -> Result<Tensor> {
    if composed::is_wanted(x) {
        return composed::upsample(x, scale);
    }
    x.contiguous()?.apply_op1(Upsample { scale })
}

struct Upsample {
    scale: usize,
}

/// Where an output pixel lies between two input pixels along one axis.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tap {
    pub near: usize,
    pub far: usize,
    /// Weight of `far`.
    pub part: f32,
}

/// For each output pixel along an axis of `size` input pixels.
pub(super) fn taps(size: usize, scale: usize) -> Vec<Tap> {
    let tap = |i: usize| {
        // The centre of output pixel i, in input pixels, counted from the first one's centre.
        let at = ((i as f32 + 0.5) / scale as f32 - 0.5).max(0.0);
        let near = (at as usize).min(size - 1);
        Tap {
            near,
            far: (near + 1).min(size - 1),
            part: at - near as f32,
        }
    };
    (0..size * scale).map(tap).collect()
}

impl Upsample {
    fn sizes(&self, x: &[usize]) -> Result<[usize; 4]> {
        match *x {
            [n, h, w, c] if n * h * w * c > 0 && self.scale > 0 => Ok([n, h, w, c]),
            _ => bail!("up-sampling by {}: {x:?}", self.scale),
        }
    }
}

impl CustomOp1 for Upsample {
    fn name(&self) -> &'static str {
        "upsample"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let [n, h, w, c] = self.sizes(layout.dims())?;
        let x = values(x, layout)?;
        let (rows, columns) = (taps(h, self.scale), taps(w, self.scale));
        let line = columns.len() * c;
        let mut y = vec![0.0; n * rows.len() * line];
        for_each_chunk(&mut y, line, |index, line| {
            let picture = &x[index / rows.len() * h * w * c..][..h * w * c];
            let row = rows[index % rows.len()];
            let (upper, lower) = (&picture[row.near * w * c..], &picture[row.far * w * c..]);
            for (pixel, column) in line.chunks_exact_mut(c).zip(&columns) {
                for (i, value) in pixel.iter_mut().enumerate() {
                    let across = |line: &[f32]| {
                        let (a, b) = (line[column.near * c + i], line[column.far * c + i]);
                        (b - a).mul_add(column.part, a)
                    };
                    let (a, b) = (across(upper), across(lower));
                    *value = (b - a).mul_add(row.part, a);
                }
            }
        });
        let shape = (n, rows.len(), columns.len(), c);
        Ok((CpuStorage::F32(y), shape.into()))
    }

    fn bwd(&self, x: &Tensor, _y: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        let [_, h, w, c] = self.sizes(x.dims())?;
        slices!(dy = grad);
        let (rows, columns) = (taps(h, self.scale), taps(w, self.scale));
        let line = columns.len() * c;
        let mut dx = vec![0.0; x.elem_count()];
        for_each_chunk(&mut dx, h * w * c, |n, dx| {
            for (y, row) in rows.iter().enumerate() {
                let dy = &dy[(n * rows.len() + y) * line..][..line];
                for (to, share) in [(row.near, 1.0 - row.part), (row.far, row.part)] {
                    let dx = &mut dx[to * w * c..][..w * c];
                    for (pixel, column) in dy.chunks_exact(c).zip(&columns) {
                        for (i, value) in pixel.iter().enumerate() {
                            dx[column.near * c + i] += share * (1.0 - column.part) * value;
                            dx[column.far * c + i] += share * column.part * value;
                        }
                    }
                }
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
    fn equals_a_product_with_the_interpolation_matrix_and_its_gradient() {
        for (scale, h, w, c) in [(2, 3, 5, 4), (4, 2, 1, 3), (3, 4, 3, 1)] {
            check_gradients(
                &[noise(&[2, h, w, c], 1)],
                |t| upsample(&t[0], scale),
                |t| composed::upsample(&t[0], scale),
                1e-5,
            );
        }
        assert!(upsample(&noise(&[2, 3], 1), 2).is_err());
    }
}
