//! Objects: a cut-out, fitted into the scene by size and position, with its own colour and shading.

use super::background::{Scene, noise};
use super::pool::Pool;
use super::raster::{Affine, Raster};
use super::rng::Rng;

/// An object standing in the scene, without its effects.
#[derive(Debug, Clone)]
pub struct Placed {
    /// Premultiplied RGBA.
    pub picture: Raster<4>,
    /// Lowest row with alpha above a half: where it stands.
    pub foot: f32,
    /// Highest such row.
    pub top: f32,
    /// Columns of the foot, first and last.
    pub stance: (f32, f32),
}

/// What an object is for, which decides its size.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Role {
    /// The one to be peeled off.
    Target,
    /// One that stays, anywhere.
    Bystander,
    /// One that stays, close to the column and row of the target's foot.
    Neighbour(f32, f32),
}

/// Draws an object and sets it into the scene; `None` where too little of it is visible.
#[must_use]
pub fn draw(rng: &mut Rng, pool: &Pool, scene: &Scene, role: Role) -> Option<Placed> {
    let size = scene.picture.width;
    let s = size as f32;
    let cutout = if rng.chance(0.12) {
        blob(rng, pool)
    } else {
        let weights = [
            ("stamp", 0.34),
            ("furniture", 0.34),
            ("clip", 0.16),
            ("emoji", 0.16),
            ("instance", 0.5),
        ];
        pool.cutouts.draw(rng, &weights).picture.clone()
    };
    let (w, h) = (cutout.width as f32, cutout.height as f32);

    // Foot position first, then a size that goes with its depth where there is a floor.
    let mut foot_y = rng.range(0.35, 0.98) * s;
    let mut depth_scale = 1.0;
    if let Some(horizon) = scene.horizon {
        foot_y = rng.range((horizon + 0.12 * s).max(0.3 * s), s).min(0.98 * s);
        depth_scale = ((foot_y - horizon) / (0.8 * s - horizon)).clamp(0.45, 1.3);
    }
    let extent = match role {
        Role::Target => rng.range(0.2, 0.62),
        Role::Bystander | Role::Neighbour(..) => rng.range(0.1, 0.42),
    };
    let scale = extent * s * depth_scale / w.max(h);
    let angle = match rng.unit() {
        u if u < 0.6 => rng.normal() * 0.04,
        u if u < 0.85 => rng.normal() * 0.25,
        _ => rng.range(-3.1, 3.1),
    };
    let mut centre_x = rng.range(0.12, 0.88) * s;
    if let Role::Neighbour(x, y) = role {
        // Beside, in front or behind, often touching.
        centre_x = x + rng.sign() * rng.range(0.3, 1.4) * extent * s;
        foot_y = y + rng.range(-0.06, 0.06) * s;
    }
    let centre_y = foot_y - 0.5 * scale * h;
    let picture = place(&cutout, scale, angle, rng.chance(0.5), (centre_x, centre_y), size);
    let mut placed = Placed::measure(shade(rng, picture, role))?;
    let dark = match role {
        Role::Target => 0.08,
        Role::Bystander => 0.25,
        Role::Neighbour(..) => 0.7,
    };
    if rng.chance(dark) {
        // Dark things that stay are what a network would like to take for a shadow, and a dark target has a shadow too.
        let level = rng.range(0.03, 0.4);
        placed
            .picture
            .pixels
            .iter_mut()
            .for_each(|p| p[..3].iter_mut().for_each(|v| *v *= level));
    }
    Some(placed)
}

/// Scaled, turned and moved: area average to the scale first, then one bilinear resampling.
fn place(
    cutout: &Raster<4>,
    scale: f32,
    angle: f32,
    flip: bool,
    centre: (f32, f32),
    size: usize,
) -> Raster<4> {
    let (w, h) = (cutout.width as f32, cutout.height as f32);
    let small = if scale < 0.8 {
        let side = |n: f32| ((n * scale * 1.15).round() as usize).max(2);
        cutout.resized(side(w), side(h))
    } else {
        cutout.clone()
    };
    let (kx, ky) = (
        small.width as f32 / (w * scale),
        small.height as f32 / (h * scale),
    );
    let (sin, cos) = angle.sin_cos();
    let mirror = if flip { -1.0 } else { 1.0 };
    let (cx, cy) = (small.width as f32 / 2.0 - 0.5, small.height as f32 / 2.0 - 0.5);
    let (a, b) = (kx * mirror * cos, kx * mirror * sin);
    let (d, e) = (-ky * sin, ky * cos);
    let from = Affine([
        a,
        b,
        cx - a * centre.0 - b * centre.1,
        d,
        e,
        cy - d * centre.0 - e * centre.1,
    ]);
    small.warped(&from, size, size)
}

/// Colour and light of its own: gain, a gradient, faint texture.
fn shade(rng: &mut Rng, mut picture: Raster<4>, role: Role) -> Raster<4> {
    let size = picture.width;
    let s = size as f32;
    let level = rng.range(0.55, 1.15);
    let gain: [f32; 3] = std::array::from_fn(|_| level * rng.range(0.8, 1.2));
    let (sin, cos) = rng.range(0.0, std::f32::consts::TAU).sin_cos();
    let slope = if rng.chance(0.6) { rng.range(0.0, 0.8) } else { 0.0 };
    let texture = (role == Role::Target && rng.chance(0.15)).then(|| noise(rng, size, 6, 0.9));
    let rough = rng.range(0.05, 0.25);
    for (i, pixel) in picture.pixels.iter_mut().enumerate() {
        if pixel[3] <= 0.0 {
            continue;
        }
        let (x, y) = ((i % size) as f32 / s - 0.5, (i / size) as f32 / s - 0.5);
        let mut light = 1.0 + slope * (x * cos + y * sin);
        if let Some(texture) = &texture {
            light *= 1.0 + rough * texture.pixels[i][0];
        }
        for c in 0..3 {
            pixel[c] = (pixel[c] * gain[c] * light).clamp(0.0, pixel[3]);
        }
    }
    picture
}

impl Placed {
    /// Finds the foot of the object; `None` where less than a few rows of it are in the picture.
    #[must_use]
    pub fn measure(picture: Raster<4>) -> Option<Self> {
        let (w, h) = (picture.width, picture.height);
        let solid = |x: usize, y: usize| picture.at(x, y)[3] > 0.5;
        let row_full = |y: &usize| (0..w).any(|x| solid(x, *y));
        let top = (0..h).find(row_full)?;
        let foot = (0..h).rev().find(row_full)?;
        if foot < top + h / 32 {
            return None;
        }
        let from = foot.saturating_sub(h / 40);
        let stands = |x: &usize| (from..=foot).any(|y| solid(*x, y));
        let first = (0..w).find(stands)?;
        let last = (0..w).rev().find(stands)?;
        let stance = (first as f32, last as f32);
        Some(Self {
            foot: foot as f32,
            top: top as f32,
            stance,
            picture,
        })
    }

    /// Share of the picture that it covers.
    #[must_use]
    pub fn coverage(&self) -> f32 {
        self.picture.pixels.iter().map(|p| p[3]).sum::<f32>() / self.picture.pixels.len() as f32
    }
}

/// A lump of no known shape with the texture of a photograph, lit from one side.
fn blob(rng: &mut Rng, pool: &Pool) -> Raster<4> {
    const SIZE: usize = 96;
    let octaves = 2 + rng.below(3);
    let bumps = noise(rng, SIZE, octaves, 0.5);
    let round = rng.chance(0.5);
    let (rough, fat) = (rng.range(0.0, 0.35), rng.range(0.45, 0.8));
    let (px, py) = (rng.range(0.6, 1.0), rng.range(0.6, 1.0));
    let photo = pool
        .photos
        .draw(rng, &[("photo", 1.0), ("texture", 1.0), ("abstract", 0.2)]);
    let (w, h) = photo.size();
    let side = rng.log_range(60.0, w.min(h) as f32) as usize;
    let texture = photo.square(rng.below(w - side + 1), rng.below(h - side + 1), side, SIZE);
    let (sin, cos) = rng.range(0.0, std::f32::consts::TAU).sin_cos();
    let relief = rng.range(0.0, 0.8);
    Raster::from_fn(SIZE, SIZE, |x, y| {
        let u = (x as f32 / SIZE as f32 * 2.0 - 1.0) / px;
        let v = (y as f32 / SIZE as f32 * 2.0 - 1.0) / py;
        let distance = if round { u.hypot(v) } else { u.abs().max(v.abs()) };
        let inside = fat - distance + rough * bumps.at(x, y)[0] * 0.5;
        let alpha = (inside * SIZE as f32 / 3.0 + 0.5).clamp(0.0, 1.0);
        let light = 1.0 + relief * (u * cos + v * sin) * distance;
        let colour = texture.at(x, y).map(|c| (c * light).clamp(0.0, 1.0) * alpha);
        [colour[0], colour[1], colour[2], alpha]
    })
}
