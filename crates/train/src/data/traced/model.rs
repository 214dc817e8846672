//! Models of things: primitives, stacks, furniture, turned vessels, figures, plants, carts. Each stands on z = 0, roughly one
//! unit large; materials are the numbers 0, 1 and 2.

use super::super::rng::Rng;
use super::shape::{Frame, Shape};
use super::thing::Model;
use super::vector::{V3, v3};

const CYLINDER: Shape<'static> = Shape::Frustum { top: 1.0 };

/// A random model.
pub fn draw(rng: &mut Rng) -> Model {
    match rng.below(14) {
        0 => vec![(Shape::Ball, Frame::new(V3::ZERO, V3::splat(1.0)), 0)],
        1 => one(rng, Shape::Ball),
        2 | 3 => one(rng, Shape::Block),
        4 => {
            let top = if rng.chance(0.5) { 1.0 } else { rng.range(0.0, 0.9) };
            one(rng, Shape::Frustum { top })
        }
        5 => vec![(
            Shape::Torus {
                minor: rng.range(0.12, 0.45),
            },
            Frame::new(V3::ZERO, V3::splat(1.0)),
            0,
        )],
        6 => stack(rng),
        7 => table(rng),
        8 => chair(rng),
        9 | 10 => vessel(rng),
        11 => figure(rng),
        12 => plant(rng),
        _ => cart(rng),
    }
}

fn one(rng: &mut Rng, shape: Shape<'static>) -> Model {
    let scale = v3(rng.range(0.35, 1.0), rng.range(0.35, 1.0), rng.range(0.2, 1.3));
    vec![(shape, Frame::new(V3::ZERO, scale), 0)]
}

/// Two to four solids on each other.
fn stack(rng: &mut Rng) -> Model {
    let mut z = 0.0;
    (0..2 + rng.below(3))
        .map(|i| {
            let shape = match rng.below(3) {
                0 => Shape::Block,
                1 => CYLINDER,
                _ => Shape::Ball,
            };
            let scale = v3(rng.range(0.25, 0.7), rng.range(0.25, 0.7), rng.range(0.12, 0.45));
            let middle = v3(rng.range(-0.12, 0.12), rng.range(-0.12, 0.12), z + scale.z);
            z += 2.0 * scale.z;
            (shape, Frame::new(middle, scale), i % 3)
        })
        .collect()
}

fn legs(model: &mut Model, (w, d, h): (f32, f32, f32), thick: f32, round: bool) {
    let shape = if round { CYLINDER } else { Shape::Block };
    for (sx, sy) in [(-1.0, -1.0), (-1.0, 1.0), (1.0, -1.0), (1.0, 1.0)] {
        let middle = v3(sx * (w - thick), sy * (d - thick), 0.5 * h);
        model.push((shape, Frame::new(middle, v3(thick, thick, 0.5 * h)), 1));
    }
}

fn table(rng: &mut Rng) -> Model {
    let (w, d, h) = (rng.range(0.5, 1.0), rng.range(0.4, 0.8), rng.range(0.3, 1.1));
    let (thick, top) = (rng.range(0.025, 0.09), rng.range(0.02, 0.08));
    let mut model = vec![(Shape::Block, Frame::new(v3(0.0, 0.0, h + top), v3(w, d, top)), 0)];
    legs(&mut model, (w, d, h), thick, rng.chance(0.5));
    if rng.chance(0.3) {
        let low = rng.range(0.15, 0.5) * h;
        model.push((
            Shape::Block,
            Frame::new(v3(0.0, 0.0, low), v3(w - thick, d - thick, 0.02)),
            0,
        ));
    }
    model
}

fn chair(rng: &mut Rng) -> Model {
    let (w, d, h) = (rng.range(0.3, 0.45), rng.range(0.3, 0.45), rng.range(0.45, 0.75));
    let thick = rng.range(0.02, 0.06);
    let mut model = vec![(Shape::Block, Frame::new(v3(0.0, 0.0, h), v3(w, d, 0.04)), 0)];
    legs(&mut model, (w, d, h), thick, rng.chance(0.5));
    let back = rng.range(0.25, 0.5);
    if rng.chance(0.5) {
        let middle = v3(0.0, d - thick, h + back);
        model.push((Shape::Block, Frame::new(middle, v3(w, thick, back)), 2));
    } else {
        for i in 0..3 {
            let z = h + back * (0.4 + 0.7 * i as f32);
            model.push((
                Shape::Block,
                Frame::new(v3(0.0, d - thick, z), v3(w, thick, 0.07)),
                2,
            ));
        }
        for side in [-1.0, 1.0] {
            let middle = v3(side * (w - thick), d - thick, h + back);
            model.push((Shape::Block, Frame::new(middle, v3(thick, thick, back)), 1));
        }
    }
    model
}

/// Turned on a lathe: bottles, vases, lamps, pawns; sometimes with a handle.
fn vessel(rng: &mut Rng) -> Model {
    let rings = 3 + rng.below(4);
    let height = rng.range(1.0, 2.6);
    let mut model = Model::new();
    let mut radius = rng.range(0.25, 0.6);
    let mut z = 0.0;
    for i in 0..rings {
        let next = (radius * rng.range(0.55, 1.5)).clamp(0.06, 0.7);
        let tall = height / rings as f32 * rng.range(0.5, 1.5);
        let half = 0.5 * tall;
        let surface = if rng.chance(0.25) { 1 } else { 0 };
        // A frustum's radius at its foot is that of its frame; a widening one is turned over.
        let (wide, top, up) = if next <= radius {
            (radius, next / radius, V3::Z)
        } else {
            (next, radius / next, -V3::Z)
        };
        let frame = Frame::turned(v3(0.0, 0.0, z + half), [V3::X, V3::Y, up], v3(wide, wide, half));
        model.push((Shape::Frustum { top }, frame, surface));
        z += tall;
        radius = if rng.chance(0.8) || i + 1 == rings {
            next
        } else {
            rng.range(0.1, 0.6)
        };
    }
    if rng.chance(0.3) {
        let ball = radius * rng.range(1.0, 1.8);
        model.push((
            Shape::Ball,
            Frame::new(v3(0.0, 0.0, z + 0.6 * ball), V3::splat(ball)),
            2,
        ));
    }
    if rng.chance(0.3) {
        let size = rng.range(0.15, 0.3) * z;
        let frame = Frame::turned(v3(0.45, 0.0, 0.5 * z), [V3::X, V3::Z, -V3::Y], V3::splat(size));
        model.push((
            Shape::Torus {
                minor: rng.range(0.12, 0.25),
            },
            frame,
            1,
        ));
    }
    model
}

/// A standing or walking figure.
fn figure(rng: &mut Rng) -> Model {
    let stride = rng.range(-0.25, 0.25);
    let (hip, shoulder) = (rng.range(0.75, 1.0), rng.range(1.4, 1.6));
    let broad = rng.range(0.16, 0.26);
    let limb = |a: V3, b: V3, r: f32, surface: usize| (CYLINDER, Frame::between(a, b, r), surface);
    let mut model = vec![
        (
            Shape::Ball,
            Frame::new(
                v3(0.0, 0.0, 0.5 * (hip + shoulder)),
                v3(broad + 0.05, 0.15, 0.5 * (shoulder - hip) + 0.14),
            ),
            0,
        ),
        (
            Shape::Ball,
            Frame::new(v3(0.0, 0.0, shoulder + 0.26), v3(0.11, 0.13, 0.15)),
            2,
        ),
    ];
    for side in [-1.0, 1.0] {
        let swing = stride * side;
        let knee = v3(side * 0.1, 0.6 * swing + 0.03, 0.5 * hip);
        model.push(limb(v3(side * 0.1, 0.0, hip), knee, 0.085, 1));
        model.push(limb(knee, v3(side * 0.1, swing, 0.0), 0.065, 1));
        let hand = v3(side * (broad + rng.range(0.05, 0.5)), -swing, rng.range(0.7, 1.7));
        model.push(limb(
            v3(side * broad, 0.0, shoulder),
            hand,
            0.05,
            if rng.chance(0.5) { 0 } else { 2 },
        ));
    }
    model
}

/// A stem and a crown of leaves, or a pot with a plant.
fn plant(rng: &mut Rng) -> Model {
    let height = rng.range(0.4, 1.4);
    let stem = rng.range(0.03, 0.12);
    let mut model = vec![(
        CYLINDER,
        Frame::new(v3(0.0, 0.0, 0.5 * height), v3(stem, stem, 0.5 * height)),
        1,
    )];
    for _ in 0..4 + rng.below(5) {
        let r = rng.range(0.15, 0.42);
        let middle = v3(
            rng.range(-0.45, 0.45),
            rng.range(-0.45, 0.45),
            height + rng.range(-0.2, 0.5),
        );
        model.push((
            Shape::Ball,
            Frame::new(middle, v3(r, r, r * rng.range(0.4, 1.0))),
            0,
        ));
    }
    if rng.chance(0.5) {
        let pot = Frame::turned(v3(0.0, 0.0, 0.15), [V3::X, V3::Y, -V3::Z], v3(0.28, 0.28, 0.15));
        model.push((Shape::Frustum { top: 0.7 }, pot, 2));
    }
    model
}

/// A box or two on wheels.
fn cart(rng: &mut Rng) -> Model {
    let (l, w, r) = (rng.range(0.7, 1.1), rng.range(0.3, 0.5), rng.range(0.12, 0.24));
    let body = rng.range(0.1, 0.25);
    let mut model = vec![(
        Shape::Block,
        Frame::new(v3(0.0, 0.0, r + body), v3(l, w, body)),
        0,
    )];
    if rng.chance(0.8) {
        let cabin = rng.range(0.1, 0.35);
        let middle = v3(rng.range(-0.25, 0.1), 0.0, r + 2.0 * body + cabin);
        let scale = v3(l * rng.range(0.35, 0.6), w * 0.9, cabin);
        model.push((Shape::Block, Frame::new(middle, scale), 2));
    }
    for (sx, sy) in [(-1.0, -1.0), (-1.0, 1.0), (1.0, -1.0), (1.0, 1.0)] {
        let middle = v3(sx * l * 0.62, sy * w, r);
        let frame = Frame::turned(middle, [V3::X, V3::Z, -V3::Y], v3(r, r, 0.06));
        model.push((CYLINDER, frame, 1));
    }
    model
}

/// A turn around the vertical, then, where `tilt`, any small or large lean.
pub fn rotation(rng: &mut Rng, tilt: bool) -> [V3; 3] {
    let (sin, cos) = rng.range(0.0, std::f32::consts::TAU).sin_cos();
    let yaw = [v3(cos, sin, 0.0), v3(-sin, cos, 0.0), V3::Z];
    if !tilt {
        return yaw;
    }
    let lean = if rng.chance(0.5) {
        rng.range(0.1, 0.7)
    } else {
        std::f32::consts::FRAC_PI_2
    };
    let (s, c) = lean.sin_cos();
    yaw.map(|v| v3(v.x, v.y * c - v.z * s, v.y * s + v.z * c))
}
