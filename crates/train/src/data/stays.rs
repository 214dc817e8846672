//! What stays in the background and must not be peeled off: other objects with their shadows, dark ones beside the target above
//! all, shadows of things that are not in the picture (also by the very light that makes the target's), dappled light, dark stains.
//!
//! False alpha on such things is the worst failing of a network that has not seen enough of them.

use super::background::{Scene, noise};
use super::light::Light;
use super::object::{self, Placed, Role};
use super::pool::Pool;
use super::raster::{Affine, Raster};
use super::rng::Rng;

/// Puts things that stay into the scene, around `target`.
pub fn populate(rng: &mut Rng, pool: &Pool, scene: &mut Scene, light: &Light, target: &Placed) {
    if rng.chance(0.45) {
        let map = foreign_shadow(rng, pool, scene.picture.width, target);
        let strength = if rng.chance(0.6) {
            light.strength()
        } else {
            rng.range(0.15, 0.8)
        };
        let shadow = map.map(|p| [(p[0] * strength).clamp(0.0, 1.0)]);
        scene.picture = light.coloured(&shadow).over_picture(&scene.picture);
    }
    if rng.chance(0.3)
        && let Some(map) = sibling_shadow(rng, pool, light, scene.picture.width, target)
    {
        let shadow = map.map(|p| [(p[0] * light.strength()).clamp(0.0, 1.0)]);
        scene.picture = light.coloured(&shadow).over_picture(&scene.picture);
    }
    if rng.chance(0.25) {
        stain(rng, &mut scene.picture);
    }
    if rng.chance(0.5) {
        for _ in 0..1 + rng.below(3) {
            bystander(rng, pool, scene, light, Role::Bystander);
        }
    }
    if rng.chance(0.3) {
        let column = 0.5 * (target.stance.0 + target.stance.1);
        bystander(rng, pool, scene, light, Role::Neighbour(column, target.foot));
    }
}

fn bystander(rng: &mut Rng, pool: &Pool, scene: &mut Scene, light: &Light, role: Role) {
    if let Some(other) = object::draw(rng, pool, scene, role) {
        if rng.chance(0.85) {
            let effects = light.effects(rng, &other, scene.horizon);
            scene.picture = effects.over_picture(&scene.picture);
        }
        scene.picture = other.picture.over_picture(&scene.picture);
    }
}

/// The shadow of something that stands outside the picture in the target's own light: same direction, same softness. None where
/// it would fall on the target's foot, or not into the picture.
fn sibling_shadow(
    rng: &mut Rng,
    pool: &Pool,
    light: &Light,
    size: usize,
    target: &Placed,
) -> Option<Raster<1>> {
    let s = size as f32;
    let cutout = pool.cutouts.draw(rng, &[("emoji", 0.3)]).picture.alpha();
    let tall = rng.log_range(0.4, 2.0) * s;
    let scale = tall / cutout.width.max(cutout.height) as f32;
    let side = |rng: &mut Rng| {
        if rng.chance(0.5) {
            rng.range(-0.4, 0.0)
        } else {
            rng.range(1.0, 1.4)
        }
    };
    let foot = match rng.below(3) {
        0 => (side(rng) * s, rng.range(0.3, 1.1) * s),
        1 => (rng.range(0.0, 1.0) * s, rng.range(1.02, 1.5) * s),
        _ => (side(rng) * s, rng.range(1.0, 1.4) * s),
    };
    let map = light.cast_of(&cutout, scale, foot, size)?;
    let column = (0.5 * (target.stance.0 + target.stance.1)) as usize;
    let at_foot = map.at(column.min(size - 1), (target.foot as usize).min(size - 1))[0];
    let share = map.pixels.iter().filter(|p| p[0] > 0.5).count() as f32 / (s * s);
    (at_foot < 0.1 && (0.01..0.7).contains(&share)).then_some(map)
}

/// A map of shadow, 1 where it is full, of something outside the picture.
fn foreign_shadow(rng: &mut Rng, pool: &Pool, size: usize, target: &Placed) -> Raster<1> {
    let s = size as f32;
    let k = s / 128.0;
    let blur = if rng.chance(0.5) {
        rng.range(0.2, 0.8)
    } else {
        rng.range(0.8, 6.0)
    } * k;
    let (sin, cos) = rng.range(0.0, std::f32::consts::TAU).sin_cos();
    let along = move |x: usize, y: usize| (x as f32 - s / 2.0) * cos + (y as f32 - s / 2.0) * sin;
    let map = match rng.below(5) {
        // The edge of a building.
        0 => {
            let at = rng.range(-0.35, 0.35) * s;
            Raster::from_fn(size, size, |x, y| [(along(x, y) - at + 0.5).clamp(0.0, 1.0)])
        }
        // Poles, rails, blinds.
        1 => {
            let pitch = rng.log_range(0.12, 0.8) * s;
            let width = rng.range(0.1, 0.5) * pitch;
            let start = rng.range(0.0, pitch);
            Raster::from_fn(size, size, |x, y| {
                let t = (along(x, y) + start).rem_euclid(pitch);
                [(width - (t - width).abs() + 0.5).clamp(0.0, 1.0)]
            })
        }
        // Leaves: dappled light.
        2 => {
            let octaves = 3 + rng.below(4);
            let field = noise(rng, size, octaves, 0.8);
            let (at, gain) = (rng.range(-0.5, 0.5), rng.range(2.0, 8.0));
            field.map(|p| [((p[0] - at) * gain + 0.5).clamp(0.0, 1.0)])
        }
        // Something cast from outside the picture or from what was cut off, stretched and turned.
        _ => {
            let cutout = &pool.cutouts.draw(rng, &[("emoji", 0.3)]).picture;
            let scale = rng.range(0.3, 1.3) * s / cutout.width.max(cutout.height) as f32;
            let small = cutout.alpha().resized(
                ((cutout.width as f32 * scale) as usize).max(2),
                ((cutout.height as f32 * scale * rng.range(0.3, 1.0)) as usize).max(2),
            );
            let shear = rng.range(-1.5, 1.5);
            let turn = if rng.chance(0.5) { 1.0 } else { -1.0 };
            let (cx, cy) = away_from(rng, s, target);
            let (mx, my) = (small.width as f32 / 2.0, small.height as f32 / 2.0);
            let from = Affine([1.0, shear, mx - cx - shear * cy, 0.0, turn, my - turn * cy]);
            small.warped(&from, size, size)
        }
    };
    map.blurred(blur)
}

/// A place some way from the target's foot: a lone shadow right at it would have to be taken for its own.
fn away_from(rng: &mut Rng, s: f32, target: &Placed) -> (f32, f32) {
    let foot = (0.5 * (target.stance.0 + target.stance.1), target.foot);
    let mut place = (0.0, 0.0);
    for _ in 0..6 {
        place = (rng.range(-0.1, 1.1) * s, rng.range(-0.1, 1.1) * s);
        if (place.0 - foot.0).hypot(place.1 - foot.1) > 0.45 * s {
            break;
        }
    }
    place
}

/// A dark spot that is no shadow: oil, earth, a hole.
fn stain(rng: &mut Rng, picture: &mut Raster<3>) {
    let size = picture.width;
    let s = size as f32;
    let edge = noise(rng, size, 5, 0.7);
    let (cx, cy) = (rng.unit() * s, rng.unit() * s);
    let (rx, ry) = (rng.range(0.05, 0.3) * s, rng.range(0.03, 0.2) * s);
    let soft = rng.log_range(0.03, 0.5);
    let dark = rng.range(0.0, 0.18);
    let colour: [f32; 3] = std::array::from_fn(|_| dark * rng.range(0.7, 1.3));
    let opacity = rng.range(0.3, 1.0);
    let rough = rng.range(0.0, 0.4);
    for (i, pixel) in picture.pixels.iter_mut().enumerate() {
        let (x, y) = ((i % size) as f32, (i / size) as f32);
        let r = ((x - cx) / rx).hypot((y - cy) / ry) + rough * edge.pixels[i][0];
        let a = opacity * ((1.0 - r) / soft + 0.5).clamp(0.0, 1.0);
        for c in 0..3 {
            pixel[c] = pixel[c] * (1.0 - a) + colour[c] * a;
        }
    }
}
