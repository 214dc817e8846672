//! Push-pull: fills a masked hole smoothly from its surroundings, through a pyramid.

use candle_core::Tensor;

use crate::{Error, Result};

/// Fills `values` (N, C, H, W) where `mask` (N, 1, H, W; 0..1) is set, from where it is not. Any size; unmasked pixels keep
/// their values, partly masked ones are mixed. The mask is dilated by `dilate` pixels (a square) first.
///
/// On the way up each level averages the known pixels of 2x2 blocks; a block counts as known as soon as the equivalent of
/// one whole pixel in it is. On the way down what is unknown is interpolated (bilinear) from the level above. The result is
/// close to the harmonic fill and linear in the values. A picture that is masked altogether becomes its mean.
///
/// # Errors
/// If shapes disagree.
pub fn push_pull(values: &Tensor, mask: &Tensor, dilate: usize) -> Result<Tensor> {
    let (n, channels, h, w) = values.dims4()?;
    if mask.dims() != [n, 1, h, w] {
        return Err(Error::Shape {
            what: "mask of push-pull",
            expected: format!("{:?}", [n, 1, h, w]),
            found: mask.dims().to_vec(),
        });
    }
    if h * w * channels == 0 {
        return Ok(values.clone());
    }
    let device = values.device();
    let pixels = values.detach().flatten_all()?.to_vec1::<f32>()?;
    let masks = mask.detach().flatten_all()?.to_vec1::<f32>()?;
    let mut out = Vec::with_capacity(pixels.len());
    for (pixels, mask) in pixels
        .chunks_exact(channels * h * w)
        .zip(masks.chunks_exact(h * w))
    {
        let known: Vec<f32> = dilated(mask, h, w, dilate)
            .iter()
            .map(|m| (1.0 - m).clamp(0.0, 1.0))
            .collect();
        let weights = Pyramid::new(known, h, w);
        for plane in pixels.chunks_exact(h * w) {
            out.extend(weights.fill(plane));
        }
    }
    Ok(Tensor::from_vec(out, (n, channels, h, w), device)?)
}

/// Largest value within `by` pixels along both axes.
pub(crate) fn dilated(mask: &[f32], h: usize, w: usize, by: usize) -> Vec<f32> {
    if by == 0 {
        return mask.to_vec();
    }
    let largest = |values: &mut dyn Iterator<Item = f32>| values.fold(f32::NEG_INFINITY, f32::max);
    let mut wide = Vec::with_capacity(mask.len());
    for row in mask.chunks_exact(w) {
        for x in 0..w {
            wide.push(largest(
                &mut row[x.saturating_sub(by)..(x + by + 1).min(w)].iter().copied(),
            ));
        }
    }
    let mut out = Vec::with_capacity(mask.len());
    for y in 0..h {
        let rows = y.saturating_sub(by)..(y + by + 1).min(h);
        for x in 0..w {
            out.push(largest(&mut rows.clone().map(|y| wide[y * w + x])));
        }
    }
    out
}

/// The known-ness of every level, finest first, and by what each block's average is scaled to saturate it.
struct Pyramid {
    levels: Vec<Level>,
}

struct Level {
    h: usize,
    w: usize,
    /// How well each pixel is known, 0..1.
    weight: Vec<f32>,
    /// `weight / average of the four weights below` (finest level: unused).
    gain: Vec<f32>,
}

impl Pyramid {
    fn new(weight: Vec<f32>, h: usize, w: usize) -> Self {
        let mut levels = vec![Level {
            h,
            w,
            weight,
            gain: Vec::new(),
        }];
        while let Some(below) = levels.last().filter(|l| l.h > 1 || l.w > 1) {
            let (h, w) = (below.h.div_ceil(2), below.w.div_ceil(2));
            let mut weight = reduce(&below.weight, below.h, below.w);
            let mut gain = Vec::with_capacity(weight.len());
            for (i, value) in weight.iter_mut().enumerate() {
                let count = block(i / w, below.h) * block(i % w, below.w);
                let saturated = (*value * count as f32).min(1.0);
                gain.push(saturated / value.max(1e-8));
                *value = saturated;
            }
            levels.push(Level { h, w, weight, gain });
        }
        Self { levels }
    }

    fn fill(&self, plane: &[f32]) -> Vec<f32> {
        let finest = &self.levels[0];
        let mut pushed = vec![
            plane
                .iter()
                .zip(&finest.weight)
                .map(|(v, k)| v * k)
                .collect::<Vec<f32>>(),
        ];
        for pair in self.levels.windows(2) {
            let mut up = reduce(&pushed[pushed.len() - 1], pair[0].h, pair[0].w);
            for (value, gain) in up.iter_mut().zip(&pair[1].gain) {
                *value *= gain;
            }
            pushed.push(up);
        }
        let top = self.levels[self.levels.len() - 1].weight[0];
        let known = pushed.pop().map_or(0.0, |v| v[0]);
        let mut filled = if top > 1e-6 {
            vec![known / top]
        } else {
            vec![(plane.iter().map(|v| f64::from(*v)).sum::<f64>() / plane.len() as f64) as f32]
        };
        for (pair, pushed) in self.levels.windows(2).zip(&pushed).rev() {
            let mut finer = doubled(&filled, (pair[1].h, pair[1].w), (pair[0].h, pair[0].w));
            for ((value, known), weight) in finer.iter_mut().zip(pushed).zip(&pair[0].weight) {
                *value = known + (1.0 - weight) * *value;
            }
            filled = finer;
        }
        filled
    }
}

/// Pixels of a block along one axis: 2, or 1 where an odd side ends.
fn block(index: usize, size: usize) -> usize {
    if 2 * index + 1 < size { 2 } else { 1 }
}

/// Averages of 2x2 blocks.
fn reduce(plane: &[f32], h: usize, w: usize) -> Vec<f32> {
    let (rows, columns) = (h.div_ceil(2), w.div_ceil(2));
    let mut out = Vec::with_capacity(rows * columns);
    for y in 0..rows {
        let (upper, lower) = (2 * y * w, (2 * y + block(y, h) - 1) * w);
        for x in 0..columns {
            let (left, right) = (2 * x, 2 * x + block(x, w) - 1);
            let sum = plane[upper + left] + plane[upper + right] + plane[lower + left] + plane[lower + right];
            out.push(0.25 * sum);
        }
    }
    out
}

/// The two of `size` pixels, the nearer one first, between which pixel `i` of twice as many lies: its centre is a quarter before or after
/// one of theirs.
pub(crate) fn taps(i: usize, size: usize) -> (usize, usize) {
    let near = i / 2;
    let far = if i.is_multiple_of(2) {
        near.saturating_sub(1)
    } else {
        (near + 1).min(size - 1)
    };
    (near, far)
}

/// Bilinear, twice as fine, pixel centres aligned as the blocks were (`align_corners = false`), edges repeated.
fn doubled(plane: &[f32], (h, w): (usize, usize), (to_h, to_w): (usize, usize)) -> Vec<f32> {
    let mut out = Vec::with_capacity(to_h * to_w);
    for y in 0..to_h {
        let (near, far) = taps(y, h);
        let (near, far) = (&plane[near * w..][..w], &plane[far * w..][..w]);
        for x in 0..to_w {
            let (a, b) = taps(x, w);
            let upper = 0.75 * near[a] + 0.25 * near[b];
            let lower = 0.75 * far[a] + 0.25 * far[b];
            out.push(0.75 * upper + 0.25 * lower);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;

    fn filled(values: Vec<f32>, mask: Vec<f32>, h: usize, w: usize, dilate: usize) -> Vec<f32> {
        let c = values.len() / (h * w);
        let values = Tensor::from_vec(values, (1, c, h, w), &Device::Cpu).unwrap();
        let mask = Tensor::from_vec(mask, (1, 1, h, w), &Device::Cpu).unwrap();
        push_pull(&values, &mask, dilate)
            .unwrap()
            .flatten_all()
            .unwrap()
            .to_vec1()
            .unwrap()
    }

    #[test]
    fn known_pixels_stay_and_constants_continue() {
        for (h, w) in [(1, 1), (1, 7), (5, 3), (16, 16), (13, 30), (64, 48)] {
            let mask: Vec<f32> = (0..h * w)
                .map(|i| f32::from(i % 5 == 2 || i > h * w / 2))
                .collect();
            let constant = filled(vec![0.7; 2 * h * w], mask.clone(), h, w, 0);
            assert!(constant.iter().all(|v| (v - 0.7).abs() < 1e-5), "{h}x{w}");
            let values: Vec<f32> = (0..h * w).map(|i| (i % 11) as f32).collect();
            let out = filled(values.clone(), mask.clone(), h, w, 0);
            for i in 0..h * w {
                assert!(mask[i] > 0.0 || out[i] == values[i]);
                assert!((-1e-4..10.001).contains(&out[i]));
            }
        }
    }

    #[test]
    fn a_full_mask_gives_the_mean_and_dilation_hides_the_rim() {
        let out = filled((0..12).map(|i| i as f32).collect(), vec![1.0; 12], 3, 4, 0);
        assert!(out.iter().all(|v| (v - 5.5).abs() < 1e-5));
        let mut values = vec![0.2; 81];
        let mut mask = vec![0.0; 81];
        (values[40], values[41], mask[40]) = (9.0, 5.0, 1.0);
        let out = filled(values, mask, 9, 9, 1);
        assert!(out.iter().all(|v| (v - 0.2).abs() < 1e-5), "{out:?}");
    }

    #[test]
    fn a_mask_a_little_past_one_or_zero_fills_no_wilder() {
        let values: Vec<f32> = (0..64).map(|i| (i % 8) as f32 / 8.0).collect();
        // The known weights of neighbours cancel out where they may be negative.
        let mask = (0..64)
            .map(|i| if i % 2 == 0 { 0.999_999 } else { 1.000_001 })
            .collect();
        let out = filled(values, mask, 8, 8, 0);
        assert!(out.iter().all(|v| (-1e-4..1.0).contains(v)), "{out:?}");
    }

    #[test]
    fn a_mask_of_another_size_is_an_error() {
        let values = Tensor::zeros((1, 3, 4, 4), candle_core::DType::F32, &Device::Cpu).unwrap();
        let mask = Tensor::zeros((1, 1, 4, 5), candle_core::DType::F32, &Device::Cpu).unwrap();
        assert!(
            push_pull(&values, &mask, 1)
                .unwrap_err()
                .to_string()
                .contains("mask")
        );
    }
}
