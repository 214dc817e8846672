//! Photographs that come changed, so that a few hundred of them cannot be learnt by heart: turned and stretched, in another tone, two of
//! them in one. What a shadow does to a background does not depend on which background it is.

use super::background::noise;
use super::pool::{Photo, Pool};
use super::raster::Raster;
use super::rng::Rng;

/// How many of the changed photographs are turned and stretched, have another tone, and share the picture with a second one.
const TURNED: f32 = 0.6;
const TONED: f32 = 0.6;
const SHARED: f32 = 0.45;

/// A piece of a photograph, `side` pixels of it wide, as a picture of `size` pixels, changed in one way or several. `draw` gives the photograph
/// and the side, twice where two share the picture.
pub(super) fn piece<'a>(
    rng: &mut Rng,
    pool: &'a Pool,
    size: usize,
    draw: fn(&mut Rng, &'a Pool, usize) -> (&'a Photo, f32),
) -> Raster<3> {
    let mut picture = turned(rng, pool, size, draw);
    if rng.chance(SHARED) {
        let other = turned(rng, pool, size, draw);
        picture = shared(rng, picture, &other);
    }
    if rng.chance(TONED) {
        toned(rng, &mut picture);
    }
    picture
}

fn turned<'a>(
    rng: &mut Rng,
    pool: &'a Pool,
    size: usize,
    draw: fn(&mut Rng, &'a Pool, usize) -> (&'a Photo, f32),
) -> Raster<3> {
    let (photo, side) = draw(rng, pool, size);
    let step = side / size as f32;
    let (mut angle, mut stretch) = (0.0, 1.0);
    if rng.chance(TURNED) {
        angle = if rng.chance(0.25) {
            rng.range(0.0, std::f32::consts::TAU)
        } else {
            0.3 * rng.normal()
        };
        stretch = rng.log_range(0.7, 1.43);
    }
    let (sin, cos) = angle.sin_cos();
    let mirror = if rng.chance(0.5) { -1.0 } else { 1.0 };
    let (w, h) = photo.size();
    let centre = (
        rng.range(0.0, (w as f32 - side).max(0.0)) + 0.5 * side,
        rng.range(0.0, (h as f32 - side).max(0.0)) + 0.5 * side,
    );
    Raster::from_fn(size, size, |x, y| {
        let from_middle = |i: usize| (i as f32 + 0.5) * step - 0.5 * side;
        let (x, y) = (mirror * stretch * from_middle(x), from_middle(y) / stretch);
        photo.mirrored(centre.0 + x * cos - y * sin, centre.1 + x * sin + y * cos, step)
    })
}

/// Two pictures in one: mixed all over, or each in its part along a wavy border.
fn shared(rng: &mut Rng, picture: Raster<3>, other: &Raster<3>) -> Raster<3> {
    let mix = |weight: &dyn Fn(usize, usize) -> f32| {
        Raster::from_fn(picture.width, picture.height, |x, y| {
            let (a, b, t) = (picture.at(x, y), other.at(x, y), weight(x, y));
            std::array::from_fn(|c| a[c] + (b[c] - a[c]) * t)
        })
    };
    if rng.chance(0.4) {
        let share = rng.range(0.25, 0.75);
        return mix(&|_, _| share);
    }
    let octaves = 1 + rng.below(3);
    let (border, level) = (noise(rng, picture.width, octaves, 0.5), rng.range(-0.5, 0.5));
    let sharp = rng.log_range(3.0, 60.0);
    mix(&|x, y| ((border.at(x, y)[0] - level) * sharp + 0.5).clamp(0.0, 1.0))
}

/// Another gamma for each channel, another contrast and saturation.
fn toned(rng: &mut Rng, picture: &mut Raster<3>) {
    let gamma = rng.log_range(0.6, 1.7);
    let gammas: [f32; 3] = std::array::from_fn(|_| gamma * rng.log_range(0.8, 1.25));
    let (contrast, saturation) = (rng.range(0.5, 1.3), rng.range(0.2, 1.5));
    let middle = rng.range(0.3, 0.6);
    for pixel in &mut picture.pixels {
        let toned: [f32; 3] =
            std::array::from_fn(|c| middle + contrast * (pixel[c].max(0.0).powf(gammas[c]) - middle));
        let grey = toned.iter().sum::<f32>() / 3.0;
        *pixel = toned.map(|v| (grey + saturation * (v - grey)).clamp(0.0, 1.0));
    }
}
