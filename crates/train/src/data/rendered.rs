//! Rendered triplets as training samples: a random square around the object, any scale, mirrored, turned and sheared a little, on ground of
//! another pattern, re-exposed, its effect deeper or fainter. They are few (hundreds), and a network that sees the same ones again and again learns them by heart: without the turning
//! and the patterns it gained 6.3 dB in the effect on the triplets it was trained on and 1.8 on others.

use super::camera::Camera;
use super::pool::{Pool, Triplet};
use super::raster::{Affine, Raster};
use super::rng::Rng;
use super::{Sample, synthetic};

/// Draws a triplet of the pool and a square of it. The pool must have triplets.
#[must_use]
pub fn draw(rng: &mut Rng, pool: &Pool, size: usize) -> Sample {
    let triplet = &pool.triplets[rng.below(pool.triplets.len())];
    let window = window(rng, &triplet.mask, size);
    let flip = rng.chance(0.5);
    let camera = Camera::draw(rng, size);
    let turn = rng.chance(0.7).then(|| turn(rng, window.2));
    let (mut background, mut foreground, object) = cut(triplet, window, size, flip, turn.as_ref());
    if rng.chance(0.6) {
        pattern(rng, pool, &mut background);
    }
    if rng.chance(0.6) {
        foreground = deeper(&foreground, &object, rng.log_range(0.55, 1.8));
    }
    camera.expose_background(rng, &mut background);
    camera.expose_layer(rng, &mut foreground, &object);
    synthetic::finish(rng, &camera, background, foreground, object)
}

/// A random square, at least `size` pixels or all of a smaller picture, that holds nearly all of the object of `mask`: column, row, side.
/// After some tries it is one of the greatest squares, as near to the object as it can be.
pub(super) fn window(rng: &mut Rng, mask: &Raster<1>, size: usize) -> (usize, usize, usize) {
    let whole = mask.width.min(mask.height);
    for _ in 0..8 {
        let side = rng.log_range(0.65, 1.0);
        let side = ((whole as f32 * side) as usize).clamp(size.min(whole), whole);
        let (x, y) = (
            rng.below(mask.width - side + 1),
            rng.below(mask.height - side + 1),
        );
        if keeps_object(mask, x, y, side) {
            return (x, y, side);
        }
    }
    let (mut columns, mut rows, mut count) = (0, 0, 0);
    for (i, _) in mask.pixels.iter().enumerate().filter(|(_, m)| m[0] > 0.5) {
        columns += i % mask.width;
        rows += i / mask.width;
        count += 1;
    }
    let start = |sum: usize, length: usize| {
        let middle = sum.checked_div(count).unwrap_or(length / 2);
        middle.saturating_sub(whole / 2).min(length - whole)
    };
    (start(columns, mask.width), start(rows, mask.height), whole)
}

/// The whole triplet at `size`, with its own mask and nothing random.
#[must_use]
pub fn plain(triplet: &Triplet, size: usize) -> Sample {
    let whole = triplet.plate.width.min(triplet.plate.height);
    let (background, foreground, object) = cut(triplet, (0, 0, whole), size, false, None);
    let plate = foreground.over_picture(&background);
    let mask = object.map(|a| [f32::from(a[0] > 0.5)]);
    Sample {
        plate,
        mask,
        background,
        foreground,
        object,
        has_foreground: true,
    }
}

fn cut(
    triplet: &Triplet,
    (x, y, side): (usize, usize, usize),
    size: usize,
    flip: bool,
    turn: Option<&Affine>,
) -> (Raster<3>, Raster<4>, Raster<1>) {
    fn piece<const C: usize>(cut: Raster<C>, size: usize, flip: bool, turn: Option<&Affine>) -> Raster<C> {
        let turned = match turn {
            Some(from) => cut.warped(from, cut.width, cut.height),
            None => cut,
        };
        let small = turned.resized(size, size);
        if flip { small.mirrored() } else { small }
    }
    let background = piece(window_of(&triplet.background, x, y, side), size, flip, turn);
    let foreground = piece(window_of(&triplet.layer, x, y, side), size, flip, turn);
    let object = piece(window_of(&triplet.mask, x, y, side), size, flip, turn);
    (background, foreground, object.map(|a| [a[0].clamp(0.0, 1.0)]))
}

/// Where the pixels of a turned, sheared and stretched square of `side` pixels come from: a parallelogram within the square, so
/// that nothing beyond its edge is asked for.
fn turn(rng: &mut Rng, side: usize) -> Affine {
    let (sin, cos) = (rng.normal() * 0.12).clamp(-0.3, 0.3).sin_cos();
    let shear = rng.range(-0.2, 0.2);
    let stretch = rng.log_range(0.75, 1.33);
    let [a, b, d, e] = [cos * stretch, cos * shear - sin, sin * stretch, sin * shear + cos];
    let reach = (a.abs() + b.abs()).max(d.abs() + e.abs());
    let [a, b, d, e] = [a, b, d, e].map(|v| v / reach);
    let centre = (side as f32 - 1.0) / 2.0;
    Affine([a, b, centre * (1.0 - a - b), d, e, centre * (1.0 - d - e)])
}

/// The layer with its effect as if the light behind it were `times` as strong beside all other light: its transmittance to that power. The object,
/// and as much of a pixel as it covers, stays.
fn deeper(layer: &Raster<4>, object: &Raster<1>, times: f32) -> Raster<4> {
    layer.zip(object, |pixel, covered| {
        if pixel[3] <= 0.0 {
            return *pixel;
        }
        let effect = (1.0 - (1.0 - pixel[3]).max(0.0).powf(times)) / pixel[3];
        pixel.map(|v| v * (covered[0] + (1.0 - covered[0]) * effect))
    })
}

/// Gives what is behind the object another pattern, by the ratio of a photograph to its mean colour: what light does to a surface is
/// multiplied by the surface's colour, so shadow and reflection in the layer stay right.
fn pattern(rng: &mut Rng, pool: &Pool, background: &mut Raster<3>) {
    let photo = super::background::photo_crop(rng, pool, background.width);
    let contrast = rng.range(0.2, 0.9);
    let count = photo.pixels.len() as f32;
    let mean: [f32; 3] =
        std::array::from_fn(|c| (photo.pixels.iter().map(|p| p[c]).sum::<f32>() / count).max(0.02));
    for (pixel, photo) in background.pixels.iter_mut().zip(&photo.pixels) {
        for c in 0..3 {
            pixel[c] = (pixel[c] * (1.0 + contrast * (photo[c] / mean[c] - 1.0))).clamp(0.0, 1.0);
        }
    }
}

fn window_of<const C: usize>(from: &Raster<C>, x: usize, y: usize, side: usize) -> Raster<C> {
    Raster::from_fn(side, side, |i, j| *from.at(x + i, y + j))
}

/// The square at `(x, y)` at `size` pixels, mirrored where `flip`.
pub(super) fn square<const C: usize>(
    from: &Raster<C>,
    x: usize,
    y: usize,
    side: usize,
    size: usize,
    flip: bool,
) -> Raster<C> {
    let cut = window_of(from, x, y, side).resized(size, size);
    if flip { cut.mirrored() } else { cut }
}

/// Whether a square holds nearly all of the object, and enough of it to be seen.
fn keeps_object(mask: &Raster<1>, x: usize, y: usize, side: usize) -> bool {
    let all = mask.pixels.iter().filter(|p| p[0] > 0.5).count();
    let inside = (y..y + side).flat_map(|j| (x..x + side).map(move |i| (i, j)));
    let kept = inside.filter(|&(i, j)| mask.at(i, j)[0] > 0.5).count();
    kept * 10 >= all * 9 && kept * 80 >= side * side
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_effect_gets_deeper_and_the_object_stays() {
        let layer = Raster::from_fn(3, 1, |x, _| {
            [[0.2, 0.1, 0.0, 0.5], [0.6, 0.5, 0.4, 1.0], [0.0; 4]][x]
        });
        let object = Raster::from_fn(3, 1, |x, _| [[0.0], [1.0], [0.0]][x]);
        let deep = deeper(&layer, &object, 2.0);
        assert_eq!(deep.pixels[1..], layer.pixels[1..]);
        for (deep, wanted) in deep.pixels[0].iter().zip([0.3, 0.15, 0.0, 0.75]) {
            assert!((deep - wanted).abs() < 1e-6, "{:?}", deep);
        }
    }

    #[test]
    fn a_turn_stays_within_the_square_and_changes_the_picture() {
        let mut changed = 0;
        for seed in 0..64 {
            let mut rng = Rng::new(seed, 0, 0);
            let side = 40;
            let from = turn(&mut rng, side);
            let last = (side - 1) as f32;
            for (x, y) in [(0.0, 0.0), (last, 0.0), (0.0, last), (last, last)] {
                let (sx, sy) = from.at(x, y);
                assert!(
                    (-1e-3..=last + 1e-3).contains(&sx) && (-1e-3..=last + 1e-3).contains(&sy),
                    "{from:?}"
                );
            }
            let (sx, sy) = from.at(last / 2.0, last / 2.0);
            assert!((sx - last / 2.0).abs() < 1e-3 && (sy - last / 2.0).abs() < 1e-3);
            let (sx, sy) = from.at(last, 0.0);
            changed += usize::from((sx - last).hypot(sy) > 1.0);
        }
        assert!(changed > 50, "{changed}");
    }
}
