//! Draws scenes: who stands where, what light falls on it, and from where it is seen. A unit is the size of the target, which
//! stands at the origin.

use super::super::pool::Pool;
use super::super::rng::Rng;
use super::light::{Gobo, Light, Sky};
use super::model;
use super::scene::{Backdrop, Plane, Scene, View};
use super::shape::{Frame, Shape};
use super::surface::{Cover, Field, Surface, colour};
use super::thing::Thing;
use super::vector::{V3, v3};
use std::f32::consts::{PI, TAU};

/// Draws a scene.
pub fn draw<'a>(rng: &mut Rng, pool: &'a Pool) -> Scene<'a> {
    let view = view(rng);
    // Towards the viewer on the ground.
    let near = v3(view.eye.x, view.eye.y, 0.0).unit();
    let mut planes = Vec::new();
    let mut things = Vec::new();
    let floor = floor(rng, pool);
    let level = if rng.chance(0.12) {
        // On a table: its edge is near, the floor far below.
        let half = v3(rng.range(0.6, 2.2), rng.range(0.6, 2.2), rng.range(0.03, 0.15));
        let place = (rng.range(-0.4, 0.4) * half.x, rng.range(-0.4, 0.4) * half.y);
        let top = vec![(Shape::Block, Frame::new(V3::ZERO, half), 0)];
        let straight = [V3::X, V3::Y, V3::Z];
        things.push(Thing::solid(
            &top,
            vec![floor],
            &straight,
            2.0 * half.largest(),
            place,
            -2.0 * half.z,
        ));
        let below = rng.range(0.8, 2.5);
        planes.push(ground(Surface::ground(rng, pool, 0.3), -below));
        -below
    } else {
        planes.push(ground(floor, 0.0));
        0.0
    };
    let walled = rng.chance(0.5);
    if walled {
        let distance = rng.log_range(0.55, 4.0);
        let angle = rng.range(-0.6, 0.6);
        let (sin, cos) = angle.sin_cos();
        let normal = v3(near.x * cos - near.y * sin, near.x * sin + near.y * cos, 0.0);
        planes.push(wall(rng, pool, normal, distance, level));
        if rng.chance(0.3) {
            let side = normal.cross(V3::Z) * rng.sign();
            let distance = rng.log_range(0.8, 4.0);
            planes.push(wall(rng, pool, side, distance, level));
        }
    }
    let (sky, lights) = lighting(rng, &planes, near);
    let right = near.cross(-V3::Z).unit();
    let target = target(rng, pool, near, right);
    populate(rng, pool, &mut things, &target, &lights, (near, right));
    let backdrop = rng.chance(0.7).then(|| backdrop(rng, pool, &sky));
    Scene {
        planes,
        things,
        target,
        lights,
        sky,
        backdrop,
        view,
    }
}

/// A camera that looks at the target from anywhere above the ground.
fn view(rng: &mut Rng) -> View {
    let elevation = match rng.unit() {
        u if u < 0.2 => rng.range(0.06, 0.26),
        u if u < 0.85 => rng.range(0.26, 0.95),
        _ => rng.range(0.95, 1.5),
    };
    let tangent = (0.5 * rng.range(0.35, 1.15)).tan();
    let extent = rng.range(0.2, 0.6);
    let distance = 0.5 / (tangent * extent);
    let azimuth = rng.range(0.0, TAU);
    let (up, across) = elevation.sin_cos();
    let middle = v3(0.0, 0.0, 0.4 * across);
    let eye = middle + v3(across * azimuth.cos(), across * azimuth.sin(), up) * distance;
    // The target is anywhere in the picture, but not cut off much.
    let reach = (1.0 - extent).max(0.2) * 0.75 * tangent * distance;
    let straight = View::new(eye, middle, 0.0, tangent);
    let [right, above, _] = straight.axes;
    let aim = middle + right * (rng.range(-1.0, 1.0) * reach) + above * (rng.range(-1.0, 1.0) * reach);
    View::new(eye, aim, rng.normal() * 0.03, tangent)
}

fn ground(surface: Surface<'_>, level: f32) -> Plane<'_> {
    Plane {
        point: v3(0.0, 0.0, level),
        normal: V3::Z,
        axes: (V3::X, V3::Y),
        surface,
    }
}

fn wall<'a>(rng: &mut Rng, pool: &'a Pool, normal: V3, distance: f32, level: f32) -> Plane<'a> {
    let mut surface = Surface::ground(rng, pool, 0.45);
    if rng.chance(0.1) {
        surface.mirror = rng.range(0.03, 0.08);
        surface.rough = rng.range(0.0, 0.3);
    }
    Plane {
        point: v3(0.0, 0.0, level) - normal * distance,
        normal,
        axes: (normal.cross(V3::Z), V3::Z),
        surface,
    }
}

/// Dull, polished, mirroring or wet; sometimes very dark.
fn floor<'a>(rng: &mut Rng, pool: &'a Pool) -> Surface<'a> {
    let mut surface = Surface::ground(rng, pool, 0.18);
    if rng.chance(0.15) {
        surface = surface.scaled(rng.range(0.08, 0.4));
    }
    if rng.chance(0.3) {
        surface.mirror = if rng.chance(0.25) {
            rng.range(0.1, 0.5)
        } else {
            rng.range(0.025, 0.08)
        };
        surface.rough = if rng.chance(0.4) {
            0.0
        } else {
            rng.log_range(0.03, 0.35)
        };
        if rng.chance(0.2) {
            let length = rng.range(0.6, 2.5);
            surface.puddles = Some(Field::draw(rng, length, 4, 0.5));
            surface.rough = 0.0;
        }
    }
    surface
}

/// The thing to be peeled off: a solid model, or a cut-out as a card.
fn target<'a>(rng: &mut Rng, pool: &'a Pool, near: V3, right: V3) -> Thing<'a> {
    if rng.chance(0.5) {
        let level = if rng.chance(0.08) {
            rng.range(0.05, 0.6)
        } else {
            0.0
        };
        solid(rng, pool, 1.0, (0.0, 0.0), level)
    } else {
        card(rng, pool, 1.0, V3::ZERO, (near, right))
    }
}

fn solid<'a>(rng: &mut Rng, pool: &'a Pool, size: f32, place: (f32, f32), level: f32) -> Thing<'a> {
    let model = model::draw(rng);
    let tilt = rng.chance(0.2);
    let rotation = model::rotation(rng, tilt);
    let surfaces = (0..3).map(|_| Surface::thing(rng, pool)).collect();
    Thing::solid(&model, surfaces, &rotation, size, place, level)
}

/// A cut-out that stands up towards the viewer, or lies on the ground, flat or curled up.
fn card<'a>(rng: &mut Rng, pool: &'a Pool, size: f32, foot: V3, (near, right): (V3, V3)) -> Thing<'a> {
    let weights = [
        ("stamp", 0.4),
        ("furniture", 0.3),
        ("clip", 0.15),
        ("emoji", 0.15),
        ("instance", 0.5),
    ];
    let cutout = pool.cutouts.draw(rng, &weights);
    let level = rng.log_range(0.5, 1.1);
    let gain = v3(
        rng.range(0.85, 1.15),
        rng.range(0.85, 1.15),
        rng.range(0.85, 1.15),
    ) * level;
    let mut surface = Surface::dull(Cover::Plain(gain));
    surface.mean = gain * 0.3;
    let (sin, cos) = rng.range(-0.45, 0.45).sin_cos();
    let across = right * cos + near * sin;
    let away = V3::Z.cross(across);
    let mirror = rng.sign();
    if rng.chance(0.15) {
        let (rise, run) = if rng.chance(0.5) {
            (0.0, 1.0)
        } else {
            rng.range(0.05, 0.45).sin_cos()
        };
        let up = away * run + V3::Z * rise;
        let axes = [across * mirror, up.cross(across), up];
        return Thing::card(cutout, surface, axes, size, foot + V3::Z * 0.006, 0.0);
    }
    let depth = rng.range(0.03, 0.2) * size;
    Thing::card(cutout, surface, [across * mirror, away, V3::Z], size, foot, depth)
}

/// Things that stay: near and far, lit and dark, in the picture and outside it.
fn populate<'a>(
    rng: &mut Rng,
    pool: &'a Pool,
    things: &mut Vec<Thing<'a>>,
    target: &Thing<'a>,
    lights: &[Light],
    directions: (V3, V3),
) {
    let wide = 0.5 * target.bounds().size().x.hypot(target.bounds().size().y);
    for _ in 0..[0, 1, 1, 2, 2, 3, 4][rng.below(7)] {
        let size = rng.log_range(0.25, 1.6);
        let distance = wide + size * rng.range(0.3, 0.6) + rng.log_range(0.02, 2.2);
        let (sin, cos) = rng.range(0.0, TAU).sin_cos();
        let place = (distance * cos, distance * sin);
        let thing = if rng.chance(0.55) {
            solid(rng, pool, size, place, 0.0)
        } else {
            card(rng, pool, size, v3(place.0, place.1, 0.0), directions)
        };
        let thing = if rng.chance(0.3) {
            thing.darker(rng.range(0.04, 0.3))
        } else {
            thing
        };
        things.push(thing);
    }
    // Something large towards the light, mostly out of sight: its shadow falls across the picture.
    if rng.chance(0.15)
        && let Some(light) = lights.first()
    {
        let to = light.direction();
        let away = v3(to.x, to.y, 0.0).unit();
        let distance = rng.range(2.0, 4.5);
        let side = away.cross(V3::Z) * rng.range(-1.5, 1.5);
        let place = away * distance + side;
        let size = rng.range(1.5, 4.0);
        things.push(solid(rng, pool, size, (place.x, place.y), 0.0));
    }
}

/// Sky and lights. No light is behind a wall.
fn lighting(rng: &mut Rng, planes: &[Plane<'_>], near: V3) -> (Sky, Vec<Light>) {
    let warm = |rng: &mut Rng| v3(1.0, rng.range(0.8, 1.0), rng.range(0.55, 1.0));
    let cool = |rng: &mut Rng| v3(rng.range(0.6, 1.0), rng.range(0.8, 1.0), 1.0);
    let free = |direction: V3| planes.iter().all(|p| p.normal.dot(direction) > 0.12);
    // A direction from which light can come.
    let azimuth = |rng: &mut Rng, elevation: f32| {
        let (up, across) = elevation.sin_cos();
        let mut angle = rng.range(0.0, TAU);
        for _ in 0..24 {
            if free(v3(across * angle.cos(), across * angle.sin(), up)) {
                return angle;
            }
            angle = rng.range(0.0, TAU);
        }
        near.y.atan2(near.x)
    };
    let mut lights = Vec::new();
    let ambient = match rng.unit() {
        // Sun and sky.
        u if u < 0.4 => {
            let elevation = rng.range(0.25, 1.35);
            let at = azimuth(rng, elevation);
            let spread = if rng.chance(0.75) {
                0.0047
            } else {
                rng.log_range(0.01, 0.06)
            };
            lights.push(Light::far(elevation, at, spread, warm(rng)));
            cool(rng) * rng.log_range(0.06, 0.6)
        }
        // A lamp, or two, or three.
        u if u < 0.78 => {
            let count = [1, 1, 1, 2, 2, 3][rng.below(6)];
            let tinted = rng.chance(0.2);
            for i in 0..count {
                let elevation = rng.range(0.35, 1.4);
                let at = azimuth(rng, elevation);
                let distance = rng.log_range(1.6, 7.0);
                let (up, across) = elevation.sin_cos();
                let middle = v3(across * at.cos(), across * at.sin(), up) * distance;
                // In front of every wall.
                let inside = |p: &Plane<'_>| p.normal.dot(middle - p.point) > 0.1;
                let middle = if planes.iter().all(inside) {
                    middle
                } else {
                    middle * 0.3 + V3::Z * 1.2
                };
                let radius = rng.log_range(0.01, 0.5) * middle.length();
                let tint = if tinted { colour(rng) * 1.5 } else { warm(rng) };
                let level = if i == 0 { 1.0 } else { rng.range(0.2, 0.9) };
                lights.push(Light::near(middle, radius, tint * level));
            }
            warm(rng).lerp(V3::splat(1.0), 0.5) * rng.log_range(0.08, 0.7)
        }
        // A flash beside the camera.
        u if u < 0.83 => {
            let side = near.cross(V3::Z) * rng.range(-0.35, 0.35);
            let middle = (near + side) * rng.range(2.5, 4.0) + V3::Z * rng.range(1.0, 3.0);
            lights.push(Light::near(middle, rng.range(0.02, 0.15), V3::splat(1.0)));
            warm(rng) * rng.log_range(0.05, 0.4)
        }
        // Overcast: no direct light.
        _ => cool(rng) * 0.8,
    };
    if let Some(first) = lights.first_mut()
        && rng.chance(0.22)
    {
        let gobo = Gobo::draw(rng, first.softness);
        *first = first.clone().behind(gobo);
    }
    let (sin, cos) = rng.range(0.0, TAU).sin_cos();
    let sky = Sky {
        zenith: ambient * rng.range(0.8, 1.3),
        horizon: ambient * rng.range(0.5, 1.1),
        ground: ambient * 0.3,
        towards: v3(cos, sin, rng.range(0.1, 1.0)).unit(),
        bright: if rng.chance(0.6) { rng.range(0.0, 4.0) } else { 0.0 },
    };
    (sky, lights)
}

fn backdrop<'a>(rng: &mut Rng, pool: &'a Pool, sky: &Sky) -> Backdrop<'a> {
    let photo = pool
        .photos
        .draw(rng, &[("photo", 1.0), ("texture", 0.1), ("abstract", 0.1)]);
    Backdrop {
        photo,
        scale: photo.size().1 as f32 / rng.range(0.8, PI),
        blur: rng.log_range(1.0, 12.0),
        gain: sky.mean().largest() * rng.range(0.8, 2.5) + 0.15,
        shift: rng.range(0.0, 1000.0),
    }
}
