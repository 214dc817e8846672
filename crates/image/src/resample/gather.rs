//! Weighted sums of source pixels.

use std::ops::Range;

use crate::{Layer, Pixel, TRANSPARENT};

/// The taps that fall on `[from, to)`: their range, and the position of the first.
fn within(first: i32, count: usize, from: i32, to: i32) -> (Range<usize>, i32) {
    let count = count as i64;
    let start = (i64::from(from) - i64::from(first)).clamp(0, count);
    let end = (i64::from(to) - i64::from(first)).clamp(start, count);
    (start as usize..end as usize, (i64::from(first) + start) as i32)
}

/// The weighted sum of the source pixels under the taps, given on either axis as the first pixel and the weights.
pub(super) fn gather(source: &Layer, across: (i32, &[f32]), down: (i32, &[f32])) -> Pixel {
    let data = source.data();
    let (columns, x0) = within(across.0, across.1.len(), data.x0, data.x1);
    let (rows, y0) = within(down.0, down.1.len(), data.y0, data.y1);
    if columns.is_empty() || rows.is_empty() {
        return TRANSPARENT;
    }
    let (weights_x, weights_y) = (&across.1[columns], &down.1[rows]);
    let start = (x0 - data.x0) as usize;
    let mut sum = TRANSPARENT;
    for (y, wy) in (y0..).zip(weights_y) {
        let mut line = TRANSPARENT;
        for (pixel, wx) in source.row(y)[start..start + weights_x.len()]
            .iter()
            .zip(weights_x)
        {
            add(&mut line, *wx, pixel);
        }
        add(&mut sum, *wy, &line);
    }
    finish(sum, source, weights_x, weights_y, x0, y0)
}

/// [`gather`] with `N` taps on both axes; the same sums in the same order.
#[inline(always)]
pub(super) fn gather_square<const N: usize>(
    source: &Layer,
    across: (i32, [f32; N]),
    down: (i32, [f32; N]),
) -> Pixel {
    let data = source.data();
    let (x, y) = (
        i64::from(across.0) - i64::from(data.x0),
        i64::from(down.0) - i64::from(data.y0),
    );
    let (width, height) = (data.width(), data.height());
    let fits = |at: i64, size: usize| at >= 0 && at + N as i64 <= size as i64;
    if !fits(x, width) || !fits(y, height) {
        return gather(source, (across.0, &across.1), (down.0, &down.1));
    }
    let mut sum = TRANSPARENT;
    let mut start = y as usize * width + x as usize;
    for wy in down.1 {
        let mut line = TRANSPARENT;
        if let Some(pixels) = source.pixels()[start..].first_chunk::<N>() {
            for (pixel, wx) in pixels.iter().zip(across.1) {
                add(&mut line, wx, pixel);
            }
        }
        add(&mut sum, wy, &line);
        start += width;
    }
    finish(sum, source, &across.1, &down.1, across.0, down.0)
}

#[inline(always)]
fn add(sum: &mut Pixel, weight: f32, pixel: &Pixel) {
    for (sum, value) in sum.iter_mut().zip(pixel) {
        *sum += weight * value;
    }
}

/// A finite sum has only finite terms; otherwise something under the kernel is missing.
#[inline(always)]
fn finish(sum: Pixel, source: &Layer, weights_x: &[f32], weights_y: &[f32], x0: i32, y0: i32) -> Pixel {
    // All four looked at at once, without a branch for each.
    if sum.iter().fold(true, |finite, c| finite & c.is_finite()) {
        sum
    } else {
        gather_finite(source, weights_x, weights_y, x0, y0)
    }
}

/// [`gather`] where some pixels are not finite; see the module's documentation.
fn gather_finite(source: &Layer, weights_x: &[f32], weights_y: &[f32], x0: i32, y0: i32) -> Pixel {
    let mut sum = TRANSPARENT;
    let mut missing = 0.0;
    let mut worst = (f32::NEG_INFINITY, TRANSPARENT);
    for (y, wy) in (y0..).zip(weights_y) {
        for (x, wx) in (x0..).zip(weights_x) {
            let (pixel, weight) = (source.get(x, y), wx * wy);
            if pixel.iter().all(|c| c.is_finite()) {
                add(&mut sum, weight, &pixel);
            } else {
                missing += weight;
                if weight > worst.0 {
                    worst = (weight, pixel);
                }
            }
        }
    }
    // All taps, those outside the data window too, add up to 1.
    let present = 1.0 - missing;
    if present > 0.5 {
        sum.map(|c| c / present)
    } else {
        worst.1
    }
}
