//! Seeing one frame from another: a single resampling through a homography.

use peel_image::{Filter, Layer, Matte, Pixel, Rect};
use rayon::prelude::*;

use super::Homography;
use crate::exact;

/// Taps of the filter on either side of a position.
const TAPS: usize = 6;

/// What shows at each pixel of `region` (row-major) when `layer` is seen through `to_layer`, which takes positions
/// of the region to positions of the layer; `None` where the layer does not reach, or half does not hold what it has.
///
/// Whole-pixel moves copy. Otherwise a three-lobed Lanczos kernel, the sharpest of the interpolating ones, kept between the
/// least and the largest of the four pixels around and theirs next to them, so that highlights do not ring.
pub(super) fn look(layer: &Layer, to_layer: &Homography, region: Rect) -> Vec<Option<Pixel>> {
    let width = region.width();
    let mut out = vec![None; region.area() as usize];
    if width == 0 {
        return out;
    }
    let whole = whole_pixels(to_layer);
    out.par_chunks_mut(width)
        .zip(region.y0..region.y1)
        .for_each(|(row, y)| {
            for (pixel, x) in row.iter_mut().zip(region.x0..) {
                *pixel = match whole {
                    Some((dx, dy)) => copied(layer, x.saturating_add(dx), y.saturating_add(dy)),
                    None => {
                        let (x, y) = to_layer.point(f64::from(x) + 0.5, f64::from(y) + 0.5);
                        between(layer, x, y)
                    }
                };
            }
        });
    out
}

/// A frame `there` as the camera of the frame `here` sees it, through `to_there`; where it does not reach, what is here.
pub fn seen_from(there: &Layer, to_there: &Homography, here: &Layer) -> Layer {
    let mut seen = here.clone();
    let pixels = look(there, to_there, here.data());
    for (own, pixel) in seen.pixels_mut().iter_mut().zip(pixels) {
        if let Some(pixel) = pixel {
            *own = pixel;
        }
    }
    seen
}

/// A matte seen in the same way, between pixels by bilinear interpolation; `outside` where it does not reach.
pub(super) fn look_at_matte(matte: &Matte, to_matte: &Homography, region: Rect, outside: f32) -> Vec<f32> {
    let width = region.width();
    let mut out = vec![outside; region.area() as usize];
    if width == 0 {
        return out;
    }
    let data = matte.data();
    let at = |x: i32, y: i32| {
        if data.contains(x, y) {
            matte.get(x, y)
        } else {
            outside
        }
    };
    let whole = whole_pixels(to_matte);
    out.par_chunks_mut(width)
        .zip(region.y0..region.y1)
        .for_each(|(row, y)| {
            for (value, x) in row.iter_mut().zip(region.x0..) {
                *value = match whole {
                    Some((dx, dy)) => at(x.saturating_add(dx), y.saturating_add(dy)),
                    None => {
                        let (x, y) = to_matte.point(f64::from(x) + 0.5, f64::from(y) + 0.5);
                        let Some((x, u)) = split(x) else { continue };
                        let Some((y, v)) = split(y) else { continue };
                        let line = |y| at(x, y) + (at(x + 1, y) - at(x, y)) * u;
                        line(y) + (line(y + 1) - line(y)) * v
                    }
                };
            }
        });
    out
}

/// The shift, where a map is one by whole pixels.
fn whole_pixels(map: &Homography) -> Option<(i32, i32)> {
    let [[.., dx], [.., dy], _] = map.0;
    let shift = *map == Homography::translate(dx, dy) && dx.fract() == 0.0 && dy.fract() == 0.0;
    (shift && dx.abs() < 1e9 && dy.abs() < 1e9).then_some((dx as i32, dy as i32))
}

/// The pixel whose centre is at or before a position, and how far past it the position is.
fn split(position: f64) -> Option<(i32, f32)> {
    let at = position - 0.5;
    let first = at.floor();
    (first.abs() < 1e9).then_some((first as i32, (at - first) as f32))
}

fn copied(layer: &Layer, x: i32, y: i32) -> Option<Pixel> {
    (layer.data().contains(x, y))
        .then(|| layer.get(x, y))
        .filter(|&pixel| exact::is_finite(pixel))
}

fn between(layer: &Layer, x: f64, y: f64) -> Option<Pixel> {
    let data = layer.data();
    let inside = f64::from(data.x0) <= x
        && x <= f64::from(data.x1)
        && f64::from(data.y0) <= y
        && y <= f64::from(data.y1);
    if !inside || data.is_empty() {
        return None;
    }
    let ((x, u), (y, v)) = (split(x)?, split(y)?);
    let taps = |t: f32| -> [f32; TAPS] {
        let weights: [f64; TAPS] =
            std::array::from_fn(|k| Filter::Lanczos3.weight(k as f64 - 2.0 - f64::from(t)));
        let sum: f64 = weights.iter().sum();
        weights.map(|w| (w / sum) as f32)
    };
    let (across, down) = (taps(u), taps(v));
    let (mut sum, mut low, mut high) = ([0f32; 4], [f32::INFINITY; 4], [f32::NEG_INFINITY; 4]);
    for (j, &wy) in down.iter().enumerate() {
        // The frame's edge is repeated.
        let line = layer.row((y - 2 + j as i32).clamp(data.y0, data.y1 - 1));
        for (i, &wx) in across.iter().enumerate() {
            let column = (x - 2 + i as i32).clamp(data.x0, data.x1 - 1);
            let pixel = line[(column - data.x0) as usize];
            if !exact::is_finite(pixel) {
                return None;
            }
            let near = (1..5).contains(&i) && (1..5).contains(&j);
            for c in 0..4 {
                sum[c] += wx * wy * pixel[c];
                if near {
                    (low[c], high[c]) = (low[c].min(pixel[c]), high[c].max(pixel[c]));
                }
            }
        }
    }
    Some(std::array::from_fn(|c| sum[c].clamp(low[c], high[c])))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_moves_copy_and_broken_ones_interpolate() {
        let frame = Rect::of_size(32, 24);
        let wave = |x: f64, y: f64| 0.5 + 0.3 * (0.6 * x).sin() * (0.5 * y).cos();
        let layer = Layer::from_fn(frame, frame, |x, y| {
            let v = wave(f64::from(x) + 0.5, f64::from(y) + 0.5) as f32;
            [v, v, v, 1.0]
        });
        let region = Rect::new(8, 8, 20, 16);
        let moved = look(&layer, &Homography::translate(3.0, -2.0), region);
        assert_eq!(moved[0], Some(layer.get(11, 6)));
        let moved = look(&layer, &Homography::translate(0.4, 0.7), region);
        for (i, pixel) in moved.iter().enumerate() {
            let (x, y) = (8 + i % 12, 8 + i / 12);
            let expected = wave(x as f64 + 0.9, y as f64 + 1.2) as f32;
            assert!((pixel.unwrap()[1] - expected).abs() < 4e-3);
        }
    }

    #[test]
    fn nothing_is_seen_outside_or_where_pixels_are_no_numbers() {
        let frame = Rect::of_size(16, 16);
        let layer = Layer::from_fn(frame, frame, |x, y| {
            if (x, y) == (4, 4) { [f32::NAN; 4] } else { [1.0; 4] }
        });
        for map in [Homography::IDENTITY, Homography::translate(-0.5, -0.5)] {
            let seen = look(&layer, &map, frame.grow(1));
            assert_eq!((seen[0], seen[4 + 1 + 18 * 5]), (None, None), "{map:?}");
            assert_eq!(seen[13 + 18 * 12], Some([1.0; 4]), "{map:?}");
        }
        let matte = Matte::from_fn(frame, frame, |x, _| x as f32);
        let seen = look_at_matte(
            &matte,
            &Homography::translate(0.5, 0.0),
            Rect::new(0, 3, 16, 4),
            -1.0,
        );
        assert!((seen[3] - 3.5).abs() < 1e-6 && seen[15] < 15.0);
        let behind = Homography([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, -1.0]]);
        assert!(look(&layer, &behind, frame).iter().all(Option::is_none));
    }
}
