//! Backgrounds: crops of photographs, floors and walls in perspective, procedural patterns.

use super::pool::{Photo, Pool};
use super::raster::Raster;
use super::rng::Rng;
use super::varied;

/// A background and what is known about its space.
#[derive(Debug, Clone)]
pub struct Scene {
    /// The empty picture.
    pub picture: Raster<3>,
    /// Row where the floor meets the wall, where there is a floor in perspective.
    pub horizon: Option<f32>,
}

/// Draws a background of `size` pixels.
#[must_use]
pub fn draw(rng: &mut Rng, pool: &Pool, size: usize) -> Scene {
    let kind = rng.unit();
    let (mut picture, horizon) = if kind < 0.5 {
        (photo_crop(rng, pool, size), None)
    } else if kind < 0.86 {
        let (picture, horizon) = floor_and_wall(rng, pool, size);
        (picture, Some(horizon))
    } else {
        (pattern(rng, size), None)
    };
    light_gradient(rng, &mut picture);
    if rng.chance(0.14) {
        darken(rng, &mut picture);
    }
    Scene { picture, horizon }
}

/// A square of a photograph, a third of them of a texture, at any scale from 110 pixels (of a detailed pool, its own size) to the whole.
/// Where the pool's photographs are varied, changed as often as it says.
pub(super) fn photo_crop(rng: &mut Rng, pool: &Pool, size: usize) -> Raster<3> {
    // Nothing is drawn for a share of 0, so that what is held out stays what it was.
    if pool.varied > 0.0 && rng.chance(pool.varied) {
        return varied::piece(rng, pool, size, photo_and_side);
    }
    let (photo, side) = photo_and_side(rng, pool, size);
    let (w, h) = photo.size();
    let side = side as usize;
    let (x, y) = (rng.below(w - side + 1), rng.below(h - side + 1));
    let crop = photo.square(x, y, side, size);
    if rng.chance(0.5) { crop.mirrored() } else { crop }
}

fn photo_and_side<'a>(rng: &mut Rng, pool: &'a Pool, size: usize) -> (&'a Photo, f32) {
    let photo = pool
        .photos
        .draw(rng, &[("photo", 1.0), ("texture", 0.45), ("abstract", 0.08)]);
    let (w, h) = photo.size();
    let most = w.min(h) as f32;
    let least = if pool.detailed { size as f32 } else { 110.0 };
    (photo, rng.log_range(least.min(most), most))
}

/// How a plane takes its colour.
enum Cover<'a> {
    Texture {
        photo: &'a Photo,
        scale: f32,
        angle: f32,
        gain: [f32; 3],
    },
    Colour([f32; 3]),
}

impl<'a> Cover<'a> {
    fn draw(rng: &mut Rng, pool: &'a Pool, plain: f32) -> Self {
        if rng.chance(plain) {
            return Self::Colour(colour(rng));
        }
        let photo = pool
            .photos
            .draw(rng, &[("photo", 0.35), ("texture", 1.0), ("abstract", 0.03)]);
        let angle = if rng.chance(0.5) {
            0.0
        } else {
            rng.range(0.0, std::f32::consts::TAU)
        };
        let level = rng.range(0.6, 1.25);
        let gain = std::array::from_fn(|_| level * rng.range(0.9, 1.1));
        Self::Texture {
            photo,
            scale: rng.log_range(0.5, 2.5),
            angle,
            gain,
        }
    }

    /// Colour at `(u, v)`, in units where 1 is about a picture's width; `step` is the distance to the next pixel.
    fn at(&self, u: f32, v: f32, step: f32) -> [f32; 3] {
        match self {
            Self::Colour(colour) => *colour,
            Self::Texture {
                photo,
                scale,
                angle,
                gain,
            } => {
                let (sin, cos) = angle.sin_cos();
                let unit = photo.size().0 as f32 * scale;
                let (u, v) = ((u * cos - v * sin) * unit, (u * sin + v * cos) * unit);
                let value = photo.mirrored(u, v, step * unit);
                std::array::from_fn(|c| value[c] * gain[c])
            }
        }
    }
}

/// A floor running away from the viewer, and a wall behind it.
fn floor_and_wall(rng: &mut Rng, pool: &Pool, size: usize) -> (Raster<3>, f32) {
    let s = size as f32;
    // Above the picture: only floor is seen, steeply from above.
    let horizon = if rng.chance(0.35) {
        -rng.range(0.2, 1.5) * s
    } else {
        rng.range(0.12, 0.55) * s
    };
    let tilt = rng.range(-0.03, 0.03);
    let floor = Cover::draw(rng, pool, 0.2);
    let wall = Cover::draw(rng, pool, 0.4);
    let near = s - horizon; // the depth of the lowest row is 1
    let edge = if rng.chance(0.5) {
        rng.range(0.6, 0.95)
    } else {
        1.0
    }; // dark line along the foot of the wall
    let fall = rng.range(-0.25, 0.25); // floor light with depth
    let offset = (rng.range(-3.0, 3.0), rng.range(-3.0, 3.0));
    let picture = Raster::from_fn(size, size, |x, y| {
        let (x, y) = (x as f32 + 0.5, y as f32 + 0.5);
        let below = y - horizon - tilt * (x - s / 2.0);
        if below > 0.5 {
            let depth = near / below;
            let step = (depth * depth / near).max(depth / s);
            let u = (x / s - 0.5) * depth;
            let colour = floor.at(u + offset.0, depth + offset.1, step);
            let shade =
                (1.0 + fall * (1.0 / depth - 0.5)) * (1.0 - (1.0 - edge) * (-below / (0.02 * s)).exp());
            colour.map(|v| v * shade)
        } else {
            let colour = wall.at(x / s + offset.1, below / s + offset.0, 1.0 / s);
            let shade = 1.0 - (1.0 - edge) * 0.6 * (below / (0.02 * s)).exp();
            colour.map(|v| v * shade)
        }
    });
    // The texture's own scale may alias a little towards the horizon.
    (
        if rng.chance(0.5) {
            picture.blurred(0.4 * s / 128.0)
        } else {
            picture
        },
        horizon,
    )
}

/// A random colour, often near grey.
fn colour(rng: &mut Rng) -> [f32; 3] {
    let raw: [f32; 3] = std::array::from_fn(|_| rng.unit());
    let grey = raw.iter().sum::<f32>() / 3.0;
    let saturation = rng.unit().powi(2);
    raw.map(|v| 0.04 + 0.92 * (grey + (v - grey) * saturation))
}

/// Smooth noise of several octaves, about -1..1.
#[must_use]
pub fn noise(rng: &mut Rng, size: usize, octaves: usize, persistence: f32) -> Raster<1> {
    let mut sum = Raster::filled(size, size, [0.0]);
    let mut amplitude = 1.0;
    let mut total = 0.0;
    for octave in 0..octaves {
        let cells = (2usize << octave) + 1;
        let coarse = Raster::from_fn(cells, cells, |_, _| [rng.normal()]);
        let fine = coarse.resized(size, size);
        sum.pixels
            .iter_mut()
            .zip(&fine.pixels)
            .for_each(|(s, f)| s[0] += amplitude * f[0]);
        total += amplitude * amplitude;
        amplitude *= persistence;
    }
    let scale = 1.0 / total.sqrt();
    sum.pixels.iter_mut().for_each(|p| p[0] *= scale);
    sum
}

/// Clouds, stripes, checks and tiles of two colours, with fine noise.
fn pattern(rng: &mut Rng, size: usize) -> Raster<3> {
    let (a, b) = (colour(rng), colour(rng));
    let s = size as f32;
    let warp = noise(rng, size, 4, 0.55);
    let kind = rng.below(4);
    let (frequency, angle) = (rng.log_range(3.0, 14.0), rng.range(0.0, std::f32::consts::PI));
    let (sin, cos) = angle.sin_cos();
    let strength = rng.range(0.1, 1.0);
    let bend = if rng.chance(0.5) {
        rng.range(0.0, 0.08)
    } else {
        0.0
    };
    let joint = rng.range(0.04, 0.12);
    let soft = 1.5 * frequency / s;
    let edge = |t: f32, at: f32| ((t - at) / soft + 0.5).clamp(0.0, 1.0);
    let fine = rng.range(0.0, 0.05);
    let mut out = Raster::from_fn(size, size, |x, y| {
        let n = warp.at(x, y)[0];
        let (x, y) = (x as f32 / s + bend * n, y as f32 / s + bend * n);
        let (u, v) = ((x * cos + y * sin) * frequency, (y * cos - x * sin) * frequency);
        let t = match kind {
            0 => 1.0 / (1.0 + (-2.0 * n).exp()),
            1 => 0.5 + 0.5 * (u * std::f32::consts::TAU).sin(),
            2 => {
                let wave = |t: f32| edge((t.rem_euclid(2.0) - 1.0).abs(), 0.5);
                let (p, q) = (wave(u), wave(v));
                p + q - 2.0 * p * q
            }
            _ => {
                let row = (v * 2.0).floor();
                let shift = if row.rem_euclid(2.0) < 1.0 { 0.0 } else { 0.5 };
                let across = ((u + shift).rem_euclid(1.0) - 0.5).abs();
                let down = ((v * 2.0).rem_euclid(1.0) - 0.5).abs();
                edge(across, 0.5 - joint).max(edge(down, 0.5 - 2.0 * joint))
            }
        };
        let t = t * strength;
        std::array::from_fn(|c| a[c] * (1.0 - t) + b[c] * t)
    });
    out.pixels.iter_mut().for_each(|p| {
        let n = fine * rng.normal();
        p.iter_mut().for_each(|v| *v = (*v + n).clamp(0.0, 1.0));
    });
    out
}

/// Night, dark floors: little light with all the texture, sometimes with its contrast kept.
fn darken(rng: &mut Rng, picture: &mut Raster<3>) {
    let level = rng.range(0.06, 0.45);
    let contrast = if rng.chance(0.5) { 1.0 } else { rng.range(1.0, 2.5) };
    let mean: [f32; 3] = std::array::from_fn(|c| {
        picture.pixels.iter().map(|p| p[c]).sum::<f32>() / picture.pixels.len() as f32
    });
    for pixel in &mut picture.pixels {
        for c in 0..3 {
            pixel[c] = (level * (mean[c] + contrast * (pixel[c] - mean[c]))).clamp(0.0, 1.0);
        }
    }
}

/// Uneven lighting over the whole picture.
fn light_gradient(rng: &mut Rng, picture: &mut Raster<3>) {
    if rng.chance(0.4) {
        let (sin, cos) = rng.range(0.0, std::f32::consts::TAU).sin_cos();
        let amount = rng.range(0.0, 0.35);
        let (width, s) = (picture.width, picture.width as f32);
        for (i, pixel) in picture.pixels.iter_mut().enumerate() {
            let (x, y) = (
                (i % width) as f32 / s * 2.0 - 1.0,
                (i / width) as f32 / s * 2.0 - 1.0,
            );
            let gain = 1.0 + amount * (x * cos + y * sin);
            pixel.iter_mut().for_each(|v| *v = (*v * gain).clamp(0.0, 1.0));
        }
    }
    picture
        .pixels
        .iter_mut()
        .flatten()
        .for_each(|v| *v = v.clamp(0.0, 1.0));
}
