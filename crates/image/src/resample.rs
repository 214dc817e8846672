//! Resampling: a layer seen through an affine map.
//!
//! Every output pixel gathers the source pixels under its footprint, weighted by a separable kernel laid
//! along the source's axes. Where the map makes the picture smaller, the kernel is widened on each axis to
//! the box around the footprint of one output pixel (after Heckbert, "Fundamentals of texture mapping",
//! 1989, with the ellipse's bounding box for the ellipse), so that no source pixel is skipped. Light is
//! premultiplied, so that transparent pixels do not bleed, and what lies outside the data window is
//! transparent black.
//!
//! A pixel of the result depends on nothing but its own position, so bands and tiles give the same bytes as
//! the whole. Moves by whole pixels copy, bit for bit, with every filter.
//!
//! # NaN and infinity
//!
//! A source pixel with any channel that is not finite counts as missing: the other weights are scaled up to
//! make 1. Where half of the weight or more is missing, the missing pixel with the largest weight comes through
//! as it is. So a defect keeps its place and about its size, and does not spread through the filter.

use std::ops::Range;

use crate::{Filter, Layer, Matrix, Pixel, Rect, TRANSPARENT};

/// The source pixels that [`resample`] reads for the output region `out`. `inverse` takes output positions to
/// source positions.
pub fn source_region(out: Rect, inverse: &Matrix, filter: Filter) -> Rect {
    if out.is_empty() || !inverse.is_finite() {
        return Rect::EMPTY;
    }
    if let Some((dx, dy)) = inverse.whole_pixels() {
        return out.translate(dx, dy);
    }
    let kernel = Kernel::new(inverse, filter);
    let centres = [
        f64::from(out.x0) + 0.5,
        f64::from(out.y0) + 0.5,
        f64::from(out.x1) - 0.5,
        f64::from(out.y1) - 0.5,
    ];
    let [x0, y0, x1, y1] = inverse.real_bounds(centres);
    let (rx, ry) = (kernel.x.reach(), kernel.y.reach());
    Rect::new(
        (x0 - rx).floor() as i32,
        (y0 - ry).floor() as i32,
        ((x1 + rx).ceil() as i32).saturating_add(1),
        ((y1 + ry).ceil() as i32).saturating_add(1),
    )
}

/// The window outside which [`resample`] gives transparent black, for a source with data window `data`:
/// the image of `data` grown by the filter's reach. Empty where `inverse` has no inverse.
pub fn resampled_window(data: Rect, inverse: &Matrix, filter: Filter) -> Rect {
    if let Some((dx, dy)) = inverse.whole_pixels() {
        return data.translate(-dx, -dy);
    }
    let Some(forward) = inverse.inverse() else {
        return Rect::EMPTY;
    };
    if data.is_empty() {
        return Rect::EMPTY;
    }
    let kernel = Kernel::new(inverse, filter);
    let (rx, ry) = (kernel.x.reach() - 0.5, kernel.y.reach() - 0.5);
    let [x0, y0, x1, y1] = forward.real_bounds([
        f64::from(data.x0) - rx,
        f64::from(data.y0) - ry,
        f64::from(data.x1) + rx,
        f64::from(data.y1) + ry,
    ]);
    // Output pixels whose centre lies in the box, not on its border, where all filters are 0: a movement by
    // half a pixel must not gain an empty row to a rounding error.
    let slack = -1e-9;
    Rect::new(
        (x0 - 0.5 - slack).ceil() as i32,
        (y0 - 0.5 - slack).ceil() as i32,
        ((x1 - 0.5 + slack).floor() as i32).saturating_add(1),
        ((y1 - 0.5 + slack).floor() as i32).saturating_add(1),
    )
}

/// The pixels `window` of `source` seen through a map, whose `inverse` takes output positions to source
/// positions. The result has exactly the data window `window` and the source's display window.
pub fn resample(source: &Layer, inverse: &Matrix, filter: Filter, window: Rect) -> Layer {
    if let Some((dx, dy)) = inverse.whole_pixels() {
        return moved(source, dx, dy, window);
    }
    let mut out = Layer::new(source.display(), window).with_pixel_aspect(source.pixel_aspect());
    if !inverse.is_finite() {
        return out;
    }
    let kernel = Kernel::new(inverse, filter);
    let touched = window.intersect(resampled_window(source.data(), inverse, filter));
    if touched.is_empty() {
        return out;
    }
    let data = source.data();
    let (across_data, down_data) = (data.x0..data.x1, data.y0..data.y1);
    // Without rotation or skew a column's taps are the same in every row, and a row's in every column.
    let columns: Vec<Taps> = (touched.x0..touched.x1)
        .map(|x| {
            let mut taps = Taps::default();
            if inverse.xy == 0.0 {
                kernel.x.fill(
                    inverse.point(f64::from(x) + 0.5, 0.0).0,
                    across_data.clone(),
                    &mut taps,
                );
            }
            taps
        })
        .collect();
    let mut free = (Taps::default(), Taps::default());
    for y in touched.y0..touched.y1 {
        let centre_y = f64::from(y) + 0.5;
        if inverse.yx == 0.0 {
            kernel
                .y
                .fill(inverse.point(0.0, centre_y).1, down_data.clone(), &mut free.1);
        }
        let start = (touched.x0 - window.x0) as usize;
        let row = &mut out.row_mut(y)[start..start + touched.width()];
        for ((x, pixel), column) in (touched.x0..).zip(row).zip(&columns) {
            let (u, v) = inverse.point(f64::from(x) + 0.5, centre_y);
            if inverse.yx != 0.0 {
                kernel.y.fill(v, down_data.clone(), &mut free.1);
            }
            let across = if inverse.xy == 0.0 {
                column
            } else {
                kernel.x.fill(u, across_data.clone(), &mut free.0);
                &free.0
            };
            *pixel = gather(source, across, &free.1);
        }
    }
    out
}

/// `source` moved by (-dx, -dy) and cut to `window`, without arithmetic on its pixels.
fn moved(source: &Layer, dx: i32, dy: i32, window: Rect) -> Layer {
    let mut out = Layer::new(source.display(), window).with_pixel_aspect(source.pixel_aspect());
    let common = source.data().translate(-dx, -dy).intersect(window);
    for y in common.y0..common.y1 {
        let (_, from) = source.span(y + dy, common.x0 + dx, common.x1 + dx);
        let start = (common.x0 - window.x0) as usize;
        out.row_mut(y)[start..start + from.len()].copy_from_slice(from);
    }
    out
}

/// The filter on both axes of the source.
struct Kernel {
    x: Axis,
    y: Axis,
}

impl Kernel {
    fn new(inverse: &Matrix, filter: Filter) -> Kernel {
        Kernel {
            x: Axis::new(filter, inverse.xx.hypot(inverse.xy)),
            y: Axis::new(filter, inverse.yx.hypot(inverse.yy)),
        }
    }
}

/// The filter along one axis, widened by `scale` (1 or more).
struct Axis {
    filter: Filter,
    scale: f64,
}

/// Weights of the consecutive source pixels that start at `first`; their sum is 1.
#[derive(Default)]
struct Taps {
    first: i32,
    weights: Vec<f32>,
}

impl Axis {
    /// `footprint`: half the side of the box around the source image of an output pixel's unit circle.
    fn new(filter: Filter, footprint: f64) -> Axis {
        // Rotations come out as 1.0000000000000002; that must not count as shrinking.
        let shrinks = footprint > 1.0 + 1e-9 && filter != Filter::Nearest;
        Axis {
            filter,
            scale: if shrinks { footprint } else { 1.0 },
        }
    }

    /// Source pixels from the centre that can have weight.
    fn reach(&self) -> f64 {
        self.filter.radius() * self.scale
    }

    /// The taps of the output pixel whose centre maps to `centre`; those outside the source's pixels `data`
    /// may be left out, since they weigh nothing but transparent black.
    fn fill(&self, centre: f64, data: Range<i32>, taps: &mut Taps) {
        taps.weights.clear();
        if self.filter == Filter::Nearest {
            taps.first = centre.floor() as i32;
            taps.weights.push(1.0);
            return;
        }
        // Pixel i has its centre at i + 0.5.
        let mut first = (centre - 0.5 - self.reach()).ceil();
        let mut last = (centre - 0.5 + self.reach()).floor();
        let mut sum = 0.0;
        if last - first > MANY_TAPS {
            // A picture shrunk to a point: only weigh the pixels that there are. With so many taps their
            // sum is the kernel's integral.
            first = first.max(f64::from(data.start));
            last = last.min(f64::from(data.end) - 1.0);
            sum = self.scale;
        }
        let count = (last - first + 1.0).max(0.0) as usize;
        let given = sum;
        taps.first = first as i32;
        for i in 0..count {
            let weight = self.filter.weight((first + i as f64 + 0.5 - centre) / self.scale);
            taps.weights.push(weight as f32);
            sum += weight;
        }
        let norm = (1.0 / if given > 0.0 { given } else { sum }) as f32;
        for weight in &mut taps.weights {
            *weight *= norm;
        }
    }
}

/// Taps along one axis beyond which only those inside the data window are computed.
const MANY_TAPS: f64 = 4096.0;

impl Taps {
    /// The taps that fall on `[from, to)`: their range, and the position of the first.
    fn within(&self, from: i32, to: i32) -> (Range<usize>, i32) {
        let start = i64::from(from) - i64::from(self.first);
        let start = start.clamp(0, self.weights.len() as i64);
        let end = (i64::from(to) - i64::from(self.first)).clamp(start, self.weights.len() as i64);
        (
            start as usize..end as usize,
            (i64::from(self.first) + start) as i32,
        )
    }
}

/// The weighted sum of the source pixels under the taps.
fn gather(source: &Layer, across: &Taps, down: &Taps) -> Pixel {
    let data = source.data();
    let (columns, x0) = across.within(data.x0, data.x1);
    let (rows, y0) = down.within(data.y0, data.y1);
    if columns.is_empty() || rows.is_empty() {
        return TRANSPARENT;
    }
    let weights_x = &across.weights[columns];
    let start = (x0 - data.x0) as usize;
    let mut sum = TRANSPARENT;
    for (y, wy) in (y0..).zip(&down.weights[rows.clone()]) {
        let mut line = TRANSPARENT;
        for (pixel, wx) in source.row(y)[start..start + weights_x.len()]
            .iter()
            .zip(weights_x)
        {
            for (sum, value) in line.iter_mut().zip(pixel) {
                *sum += wx * value;
            }
        }
        for (sum, value) in sum.iter_mut().zip(line) {
            *sum += wy * value;
        }
    }
    if sum.iter().all(|c| c.is_finite()) {
        return sum;
    }
    // A finite sum has only finite terms, so this is rare: something under the kernel is missing.
    gather_finite(source, weights_x, &down.weights[rows], x0, y0)
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
                for (sum, value) in sum.iter_mut().zip(pixel) {
                    *sum += weight * value;
                }
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pattern(data: Rect) -> Layer {
        Layer::from_fn(Rect::of_size(32, 24), data, |x, y| {
            let v = (x * 7 + y * 13).rem_euclid(17) as f32 / 16.0;
            [v, 1.0 - v, v * v * 3.0, 1.0]
        })
    }

    fn render(source: &Layer, forward: Matrix, filter: Filter) -> Layer {
        let inverse = forward.inverse().unwrap();
        resample(
            source,
            &inverse,
            filter,
            resampled_window(source.data(), &inverse, filter),
        )
    }

    #[test]
    fn whole_pixels_are_moved_bit_for_bit() {
        let mut source = pattern(Rect::new(-3, 2, 9, 8));
        source.row_mut(4)[2] = [f32::NAN, f32::INFINITY, -0.0, 1.0];
        for filter in Filter::ALL {
            let out = render(&source, Matrix::translate(5.0, -7.0), filter);
            assert_eq!(out.data(), source.data().translate(5, -7));
            let bits = |layer: &Layer| {
                layer
                    .pixels()
                    .iter()
                    .map(|p| p.map(f32::to_bits))
                    .collect::<Vec<_>>()
            };
            assert_eq!(bits(&out), bits(&source));
        }
    }

    #[test]
    fn quarter_turns_are_exact_for_interpolating_filters() {
        let source = pattern(Rect::of_size(6, 4));
        for filter in [Filter::Nearest, Filter::Bilinear, Filter::Cubic] {
            let out = render(&source, Matrix::rotate(90.0), filter);
            for (x, y) in [(0, 0), (3, 2), (5, 3)] {
                assert_eq!(out.get(-1 - y, x), source.get(x, y), "{filter}");
            }
        }
    }

    #[test]
    fn bilinear_half_a_pixel_is_the_mean() {
        let source = pattern(Rect::of_size(8, 8));
        let out = render(&source, Matrix::translate(0.5, 0.0), Filter::Bilinear);
        assert_eq!(out.data(), Rect::new(0, 0, 9, 8));
        assert_eq!(
            out.get(3, 2)[0],
            (source.get(2, 2)[0] + source.get(3, 2)[0]) / 2.0
        );
        assert_eq!(out.get(0, 2)[3], 0.5, "the edge is half transparent");
    }

    #[test]
    fn shrinking_weighs_every_pixel() {
        let frame = Rect::of_size(64, 64);
        let mut source = Layer::new(frame, frame);
        source.row_mut(33)[30] = [1.0; 4];
        for filter in [
            Filter::Bilinear,
            Filter::Cubic,
            Filter::Mitchell,
            Filter::Lanczos3,
        ] {
            for turn in [0.0, 30.0] {
                let forward = Matrix::compose((0.0, 0.0), turn, (0.125, 0.125), (0.0, 0.0), (32.0, 32.0));
                let out = render(&source, forward, filter);
                let sum: f32 = out.pixels().iter().map(|p| p[0]).sum();
                assert!((sum * 64.0 - 1.0).abs() < 0.08, "{filter} {turn}: {sum}");
            }
        }
    }

    #[test]
    fn to_a_point_takes_bounded_work() {
        let source = pattern(Rect::of_size(32, 24));
        let inverse = Matrix::scale(1e-8, 1e-8).inverse().unwrap();
        let out = resample(&source, &inverse, Filter::Cubic, Rect::new(-2, -2, 2, 2));
        assert!(out.pixels().iter().flatten().all(|c| c.abs() < 1e-6));
    }

    #[test]
    fn a_missing_pixel_keeps_its_place() {
        let frame = Rect::of_size(16, 16);
        let mut source = Layer::from_fn(frame, frame, |_, _| [0.5, 0.25, 2.0, 1.0]);
        source.row_mut(8)[8] = [f32::NAN, 0.25, 2.0, 1.0];
        for filter in Filter::ALL {
            let out = render(&source, Matrix::translate(0.25, 0.1), filter);
            for y in 4..12 {
                for x in 4..12 {
                    let pixel = out.get(x, y);
                    if (x, y) == (8, 8) {
                        assert!(
                            pixel[0].is_nan(),
                            "{filter}: the defect comes through at its place"
                        );
                    } else {
                        assert!((pixel[0] - 0.5).abs() < 1e-5, "{filter} at {x}, {y}: {pixel:?}");
                    }
                }
            }
        }
    }

    fn any_map() -> impl Strategy<Value = Matrix> {
        (
            -9.0f64..9.0,
            -180.0f64..180.0,
            0.2f64..3.0,
            0.2f64..3.0,
            -0.5f64..0.5,
        )
            .prop_map(|(t, r, sx, sy, k)| Matrix::compose((t, -t / 3.0), r, (sx, sy), (k, 0.0), (16.0, 12.0)))
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn bands_and_regions_give_the_same_bytes(forward in any_map(), rows in 1usize..7) {
            let source = pattern(Rect::new(-2, 3, 26, 20));
            let inverse = forward.inverse().unwrap();
            for filter in Filter::ALL {
                let window = Rect::new(-4, -4, 40, 30);
                let whole = resample(&source, &inverse, filter, window);
                for band in window.bands(rows) {
                    let needed = source_region(band, &inverse, filter);
                    let part = resample(&source.crop(needed.intersect(source.data())), &inverse, filter, band);
                    prop_assert_eq!(part, whole.crop(band), "{}", filter);
                }
            }
        }

        #[test]
        fn the_window_holds_everything(forward in any_map()) {
            let source = pattern(Rect::new(-2, 3, 26, 20));
            let inverse = forward.inverse().unwrap();
            for filter in Filter::ALL {
                let window = resampled_window(source.data(), &inverse, filter);
                // A far larger source window cannot hide pixels behind the window's edge.
                let framed = source.crop(source.data().grow(64));
                let all = resample(&framed, &inverse, filter, window.grow(20));
                prop_assert!(window.encloses(all.tight_window()), "{} {} {}", filter, window, all.tight_window());
            }
        }

        #[test]
        fn flat_colour_stays_flat_inside(forward in any_map()) {
            let frame = Rect::new(-200, -200, 232, 224);
            let source = Layer::from_fn(frame, frame, |_, _| [0.25, 4.0, 0.5, 1.0]);
            let inverse = forward.inverse().unwrap();
            for filter in Filter::ALL {
                let out = resample(&source, &inverse, filter, Rect::new(10, 8, 20, 16));
                for pixel in out.pixels() {
                    for (got, expected) in pixel.iter().zip([0.25, 4.0, 0.5, 1.0]) {
                        prop_assert!((got - expected).abs() < 1e-4 * expected, "{} {}", filter, got);
                    }
                }
            }
        }
    }
}
