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

use crate::{Filter, Layer, Matrix, Rect};

mod gather;
mod taps;

use gather::{gather, gather_square};
use taps::{Kernel, RUN, RunTaps, Taps};

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
    let mut out = Layer::new(source.display(), window).with_pixel_aspect(source.pixel_aspect());
    resample_into(&mut out, source, inverse, filter, window);
    out
}

/// [`resample`] into the pixels `window` of a layer that is transparent there; tile by tile, say.
pub fn resample_into(out: &mut Layer, source: &Layer, inverse: &Matrix, filter: Filter, window: Rect) {
    let window = window.intersect(out.data());
    if let Some((dx, dy)) = inverse.whole_pixels() {
        moved(out, source, dx, dy, window);
        return;
    }
    if !inverse.is_finite() {
        return;
    }
    let kernel = Kernel::new(inverse, filter);
    let touched = window.intersect(resampled_window(source.data(), inverse, filter));
    let sampler = Sampler {
        source,
        inverse,
        filter,
        kernel,
        touched,
    };
    let straight = inverse.xy == 0.0 && inverse.yx == 0.0;
    match filter {
        Filter::Bilinear if !straight && sampler.kernel.is_unscaled() => sampler.turn::<2>(out),
        Filter::Cubic | Filter::Mitchell if !straight && sampler.kernel.is_unscaled() => {
            sampler.turn::<4>(out)
        }
        Filter::Lanczos3 if !straight && sampler.kernel.is_unscaled() => sampler.turn::<6>(out),
        _ => sampler.widened(out),
    }
}

/// What one resampling works with.
struct Sampler<'a> {
    source: &'a Layer,
    inverse: &'a Matrix,
    filter: Filter,
    kernel: Kernel,
    /// The output pixels that can be anything but transparent.
    touched: Rect,
}

impl Sampler<'_> {
    /// Rotations and skews that do not shrink: the kernel has `N` taps on either axis, always.
    fn turn<const N: usize>(&self, out: &mut Layer) {
        #[cfg(target_arch = "x86_64")]
        if std::arch::is_x86_feature_detected!("avx2") {
            #[allow(unsafe_code, reason = "the same code, compiled for wider vectors")]
            // SAFETY: the processor has AVX2.
            unsafe {
                self.turn_avx2::<N>(out);
            }
            return;
        }
        self.turn_inline::<N>(out);
    }

    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2")]
    fn turn_avx2<const N: usize>(&self, out: &mut Layer) {
        self.turn_inline::<N>(out);
    }

    #[inline(always)]
    fn turn_inline<const N: usize>(&self, out: &mut Layer) {
        let data = self.source.data();
        let reach = N as f64 / 2.0;
        let inside = |v: f64, from: i32, to: i32| v > f64::from(from) - reach && v < f64::from(to) + reach;
        for y in self.touched.y0..self.touched.y1 {
            let start = (self.touched.x0 - out.data().x0) as usize;
            let row = &mut out.row_mut(y)[start..start + self.touched.width()];
            let centre_y = f64::from(y) + 0.5;
            for (x0, run) in (self.touched.x0..).step_by(RUN).zip(row.chunks_mut(RUN)) {
                let (mut us, mut vs) = ([0.0; RUN], [0.0; RUN]);
                for (i, (u, v)) in us.iter_mut().zip(&mut vs).enumerate() {
                    (*u, *v) = self.inverse.point(f64::from(x0) + (i as f64 + 0.5), centre_y);
                }
                let across = RunTaps::<N>::new(self.filter, &us);
                let down = RunTaps::<N>::new(self.filter, &vs);
                for (i, pixel) in run.iter_mut().enumerate() {
                    if inside(us[i], data.x0, data.x1) && inside(vs[i], data.y0, data.y1) {
                        *pixel = gather_square(self.source, across.of(i), down.of(i));
                    }
                }
            }
        }
    }

    /// Everything else: kernels of any width, and maps that keep rows rows and columns columns, whose taps are
    /// then computed once a row and once a column.
    fn widened(&self, out: &mut Layer) {
        let (data, inverse) = (self.source.data(), self.inverse);
        let across_at = |u: f64, taps: &mut Taps| self.kernel.x.fill(u, data.x0..data.x1, taps);
        let down_at = |v: f64, taps: &mut Taps| self.kernel.y.fill(v, data.y0..data.y1, taps);
        let columns: Vec<Taps> = (self.touched.x0..self.touched.x1)
            .map(|x| {
                let mut taps = Taps::default();
                if inverse.xy == 0.0 {
                    across_at(inverse.point(f64::from(x) + 0.5, 0.0).0, &mut taps);
                }
                taps
            })
            .collect();
        let (mut own, mut down) = (Taps::default(), Taps::default());
        for y in self.touched.y0..self.touched.y1 {
            let centre_y = f64::from(y) + 0.5;
            if inverse.yx == 0.0 {
                down_at(inverse.point(0.0, centre_y).1, &mut down);
            }
            let start = (self.touched.x0 - out.data().x0) as usize;
            let row = &mut out.row_mut(y)[start..start + self.touched.width()];
            for ((x, pixel), column) in (self.touched.x0..).zip(row).zip(&columns) {
                let (u, v) = inverse.point(f64::from(x) + 0.5, centre_y);
                if inverse.yx != 0.0 {
                    down_at(v, &mut down);
                }
                let across = if inverse.xy == 0.0 {
                    column
                } else {
                    across_at(u, &mut own);
                    &own
                };
                *pixel = gather(
                    self.source,
                    (across.first, &across.weights),
                    (down.first, &down.weights),
                );
            }
        }
    }
}

/// `source` moved by (-dx, -dy) and cut to `window`, without arithmetic on its pixels.
fn moved(out: &mut Layer, source: &Layer, dx: i32, dy: i32, window: Rect) {
    let left = out.data().x0;
    let common = source.data().translate(-dx, -dy).intersect(window);
    for y in common.y0..common.y1 {
        let (_, from) = source.span(y + dy, common.x0 + dx, common.x1 + dx);
        let start = (common.x0 - left) as usize;
        out.row_mut(y)[start..start + from.len()].copy_from_slice(from);
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
