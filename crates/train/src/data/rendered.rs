//! Rendered triplets as training samples: a random square around the object, any scale, mirrored, re-exposed.

use super::camera::Camera;
use super::pool::{Pool, Triplet};
use super::raster::Raster;
use super::rng::Rng;
use super::{Sample, synthetic};

/// Draws a triplet of the pool and a square of it. The pool must have triplets.
#[must_use]
pub fn draw(rng: &mut Rng, pool: &Pool, size: usize) -> Sample {
    let triplet = &pool.triplets[rng.below(pool.triplets.len())];
    let window = window(rng, &triplet.mask, size);
    let flip = rng.chance(0.5);
    let camera = Camera::draw(rng, size);
    let (mut background, mut foreground, object) = cut(triplet, window, size, flip);
    camera.expose_background(rng, &mut background);
    camera.expose_layer(rng, &mut foreground, &object);
    synthetic::finish(rng, &camera, background, foreground, object)
}

/// A random square, at least `size` pixels or all of a smaller picture, that holds most of the object of `mask`: column, row, side.
/// After some tries it is one of the greatest squares, as near to the object as it can be.
pub(super) fn window(rng: &mut Rng, mask: &Raster<1>, size: usize) -> (usize, usize, usize) {
    let whole = mask.width.min(mask.height);
    for _ in 0..8 {
        let side = rng.log_range(0.5, 1.0);
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
    let (background, foreground, object) = cut(triplet, (0, 0, whole), size, false);
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
) -> (Raster<3>, Raster<4>, Raster<1>) {
    let background = square(&triplet.background, x, y, side, size, flip);
    let foreground = square(&triplet.layer, x, y, side, size, flip);
    let object = square(&triplet.mask, x, y, side, size, flip).map(|a| [a[0].clamp(0.0, 1.0)]);
    (background, foreground, object)
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
    let cut = Raster::from_fn(side, side, |i, j| *from.at(x + i, y + j)).resized(size, size);
    if flip { cut.mirrored() } else { cut }
}

/// Whether a square holds most of the object, and enough of it to be seen.
fn keeps_object(mask: &Raster<1>, x: usize, y: usize, side: usize) -> bool {
    let all = mask.pixels.iter().filter(|p| p[0] > 0.5).count();
    let inside = (y..y + side).flat_map(|j| (x..x + side).map(move |i| (i, j)));
    let kept = inside.filter(|&(i, j)| mask.at(i, j)[0] > 0.5).count();
    kept * 10 >= all * 7 && kept * 80 >= side * side
}
