//! Renders a scene twice, with and without the target, from the same light samples: what the target does not touch comes out
//! the same to the last bit.
//!
//! Pixels are sampled 2 x 2. Light is gathered apart from colour: each sample takes one of n x n directions by its place in a
//! tile, and a box of the tile's size over samples of the same surface then holds every direction once. So light is smooth without noise while textures and outlines stay sharp.

use super::super::raster::Raster;
use super::super::rng::Rng;
use super::gather::{disc, gathered, halved, turn};
use super::light::{Light, Softness};
use super::scene::{Found, Scene, Which};
use super::vector::{Ray, V3, v3};

/// How far from a surface rays start.
const LIFT: f32 = 2e-3;
/// No scene has so many things.
const NO_THING: u16 = u16::MAX;
/// Below this roughness a mirror is sharp.
const SHARP: f32 = 0.03;
/// Light above this is cut: one highlight must not fill a pixel's neighbours.
const BRIGHTEST: f32 = 6.0;

/// Linear light with the target and without it, and how much of each pixel is the visible target.
#[derive(Debug, Clone)]
pub struct Rendering {
    pub with: Raster<3>,
    pub without: Raster<3>,
    pub matte: Raster<1>,
}

/// What a camera ray sees.
#[derive(Debug, Clone, Copy)]
struct Point {
    /// Samples of different surfaces are not mixed; 0 is nothing.
    id: u32,
    place: V3,
    normal: V3,
    /// Towards the eye.
    back: V3,
    /// Albedo; where nothing is seen, light.
    colour: V3,
    /// Schlick's F0 and roughness.
    mirror: f32,
    rough: f32,
    /// The thing that light from here passes, or [`NO_THING`].
    skip: u16,
}

impl Point {
    #[inline]
    fn passes(&self) -> Option<usize> {
        (self.skip != NO_THING).then_some(usize::from(self.skip))
    }

    const NOTHING: Self = Self {
        id: 0,
        place: V3::ZERO,
        normal: V3::Z,
        back: V3::Z,
        colour: V3::ZERO,
        mirror: 0.0,
        rough: 0.0,
        skip: NO_THING,
    };
}

/// A world's values beside the other's: `[.., without; .., with]`.
type Pair = [V3; 2];

/// The light on each sample of one picture.
struct Lit {
    /// From everywhere, bounced light included.
    ambient: Vec<[f32; 6]>,
    /// Share of each light's disc that is seen.
    seen: Vec<Vec<[f32; 2]>>,
    /// What is mirrored.
    mirrored: Vec<[f32; 6]>,
}

/// A rectangle of samples.
#[derive(Debug, Clone, Copy)]
struct Window {
    left: usize,
    top: usize,
    width: usize,
    height: usize,
}

/// The samples of a picture in a window.
struct Samples {
    window: Window,
    points: Vec<Point>,
}

impl Samples {
    /// Each sample through `f`, with its column and row in the whole picture.
    fn map<T>(&self, f: impl Fn(usize, usize, &Point) -> T) -> Vec<T> {
        let Window { left, top, width, .. } = self.window;
        let place = |(i, p)| f(left + i % width, top + i / width, p);
        self.points.iter().enumerate().map(place).collect()
    }
}

/// Renders `scene` at `size` pixels; `rng` only turns the sample patterns.
pub fn render(scene: &Scene<'_>, rng: &mut Rng, size: usize) -> Rendering {
    let side = 2 * size;
    let pixel = 2.0 * scene.view.tangent / side as f32;
    let at = |i: usize| (i as f32 + 0.5) / size as f32 - 1.0;
    let mut still = Vec::with_capacity(side * side);
    let mut solid = Vec::with_capacity(side * side);
    for y in 0..side {
        for x in 0..side {
            let ray = scene.view.ray(at(x), at(y));
            let found = scene.nearest(&ray, None);
            let limit = found.map_or(f32::INFINITY, |f| f.hit.distance);
            solid.push(scene.target_hit(&ray, limit).is_some());
            still.push(point(scene, &ray, found, pixel));
        }
    }
    let window = window(&solid, side);
    let inside = |i: usize| (window.left + i % window.width, window.top + i / window.width);
    let front = (0..window.width * window.height).map(|i| {
        let (x, y) = inside(i);
        let ray = scene.view.ray(at(x), at(y));
        match scene
            .target_hit(&ray, f32::INFINITY)
            .filter(|_| solid[y * side + x])
        {
            Some(found) => point(scene, &ray, Some(found), pixel),
            None => Point::NOTHING,
        }
    });
    let front = Samples {
        window,
        points: front.collect(),
    };
    let still = Samples {
        window: Window {
            left: 0,
            top: 0,
            width: side,
            height: side,
        },
        points: still,
    };

    let shift = (rng.unit(), rng.unit());
    let ground = lit(scene, &still, shift);
    let (mut without, mut with): (Vec<_>, Vec<_>) = still
        .points
        .iter()
        .enumerate()
        .map(|(i, p)| shade(scene, p, &ground, i).map(V3::array).into())
        .unzip();
    let shine = lit(scene, &front, shift);
    for (i, p) in front.points.iter().enumerate().filter(|(_, p)| p.id != 0) {
        let (x, y) = inside(i);
        with[y * side + x] = shade(scene, p, &shine, i)[1].array();
    }
    without
        .iter_mut()
        .chain(&mut with)
        .flatten()
        .for_each(|v| *v = v.min(BRIGHTEST));
    let matte: Vec<[f32; 1]> = solid.iter().map(|s| [f32::from(*s)]).collect();
    Rendering {
        with: halved(&with, side),
        without: halved(&without, side),
        matte: halved(&matte, side),
    }
}

/// The samples that see the target.
fn window(solid: &[bool], side: usize) -> Window {
    let (mut left, mut right, mut top, mut bottom) = (side, 0, side, 0);
    for (i, _) in solid.iter().enumerate().filter(|(_, s)| **s) {
        (left, right) = (left.min(i % side), right.max(i % side + 1));
        (top, bottom) = (top.min(i / side), bottom.max(i / side + 1));
    }
    Window {
        left: left.min(right),
        top: top.min(bottom),
        width: right.saturating_sub(left),
        height: bottom.saturating_sub(top),
    }
}

fn point(scene: &Scene<'_>, ray: &Ray, found: Option<Found>, pixel: f32) -> Point {
    let Some(found) = found else {
        return Point {
            colour: scene.beyond(ray.direction),
            ..Point::NOTHING
        };
    };
    let hit = &found.hit;
    let place = ray.at(hit.distance);
    let facing = -hit.normal.dot(ray.direction);
    // Rays meet solids from outside, but a bulging card may turn away.
    let step = pixel * hit.distance / facing.abs().max(0.12);
    let surface = scene.surface(found.which);
    let wet = scene.wetness(&found, place);
    let mut colour = scene.albedo(&found, place, step);
    if surface.puddles.is_some() {
        colour = colour * (1.0 - 0.45 * wet);
    }
    let id = match found.which {
        Which::Plane(i) => 1 + i as u32,
        Which::Thing(number, part) => 16 + ((number as u32) << 10) + ((part as u32) << 3) + hit.face,
    };
    Point {
        id,
        place,
        normal: hit.normal,
        back: -ray.direction,
        colour,
        mirror: surface.mirror * wet,
        rough: surface.rough,
        skip: scene
            .skipped(found.which)
            .map_or(NO_THING, |number| number as u16),
    }
}

fn lit(scene: &Scene<'_>, samples: &Samples, shift: (f32, f32)) -> Lit {
    let ids: Vec<u32> = samples.points.iter().map(|p| p.id).collect();
    let Window { width, height, .. } = samples.window;
    let size = (width, height);
    let seen = scene
        .lights
        .iter()
        .map(|light| match light.softness {
            Softness::Hard => visible(scene, light, samples, &[], 2, shift),
            Softness::Soft => gathered(visible(scene, light, samples, &[], 4, shift), &[], &ids, size, 4),
            Softness::Wide => {
                let skipped = every_other(samples);
                let seen = visible(scene, light, samples, &skipped, 8, shift);
                let seen = gathered(seen, &skipped, &ids, size, 8);
                gathered(seen, &[], &ids, size, 4)
            }
        })
        .collect();
    let skipped = every_other(samples);
    let ambient = gathered(ambient(scene, samples, &skipped, shift), &skipped, &ids, size, 8);
    // The directions are few and their shadows have edges; light from wide sources has none.
    let ambient = gathered(ambient, &[], &ids, size, 4);

    let mut mirror = Vec::new();
    if samples.points.iter().any(|p| p.mirror > 0.0) {
        mirror = mirrored(scene, samples, shift);
        let rough = |p: &Point| {
            if p.mirror > 0.0 && p.rough > SHARP {
                p.id
            } else {
                0
            }
        };
        let rough: Vec<u32> = samples.points.iter().map(rough).collect();
        if rough.iter().any(|id| *id > 0) {
            mirror = gathered(mirror, &[], &rough, size, 4);
        }
    }
    Lit {
        ambient,
        seen,
        mirrored: mirror,
    }
}

/// Every other sample, like the black squares of a chess board, where its left neighbour sees the same surface: wide light takes
/// half of the rays, and the other half of a tile is all it needs.
fn every_other(samples: &Samples) -> Vec<bool> {
    let Window { left, top, width, .. } = samples.window;
    let skips = |i: usize| {
        let (x, y) = (i % width, i / width);
        (left + x + top + y) % 2 == 1 && x > 0 && samples.points[i - 1].id == samples.points[i].id
    };
    (0..samples.points.len()).map(skips).collect()
}

/// Whether each sample sees its point of the light's disc: without the target, with it.
fn visible(
    scene: &Scene<'_>,
    light: &Light,
    samples: &Samples,
    skipped: &[bool],
    tile: usize,
    shift: (f32, f32),
) -> Vec<[f32; 2]> {
    let disc = disc(tile * tile, shift);
    let own = scene.target_number();
    let width = samples.window.width;
    samples.map(|x, y, p| {
        let i = (y - samples.window.top) * width + x - samples.window.left;
        if p.id == 0 || skipped.get(i) == Some(&true) {
            return [0.0; 2];
        }
        let way = light.way(p.place, disc[turn(x, y, tile)]);
        if p.normal.dot(way.direction) <= 0.0 {
            return [0.0; 2];
        }
        let ray = Ray::new(p.place + p.normal * LIFT, way.direction);
        if scene.blocked(&ray, way.distance, p.passes()) {
            return [0.0; 2];
        }
        let shaded = p.passes() != Some(own) && scene.target.blocks(&ray, way.distance);
        [1.0, f32::from(!shaded)]
    })
}

/// Light from everywhere, cosine-weighted, with one bounce: what stands in the way gives back the light that it has.
fn ambient(scene: &Scene<'_>, samples: &Samples, skipped: &[bool], shift: (f32, f32)) -> Vec<[f32; 6]> {
    const TILE: usize = 8;
    let disc = disc(TILE * TILE, shift);
    let own = scene.target_number();
    let width = samples.window.width;
    samples.map(|x, y, p| {
        let i = (y - samples.window.top) * width + x - samples.window.left;
        if p.id == 0 || skipped[i] {
            return [0.0; 6];
        }
        let (a, b) = p.normal.tangents();
        let (u, v) = disc[turn(x, y, TILE)];
        let direction = a * u + b * v + p.normal * (1.0 - u * u - v * v).max(0.0).sqrt();
        let ray = Ray::new(p.place + p.normal * LIFT, direction);
        flat(both(scene, &ray, p.passes(), own, |found, ray| match found {
            Some(found) => scene.glance(found, ray, scene.surface(found.which).mean),
            None => scene.sky.light(ray.direction),
        }))
    })
}

/// What shiny samples mirror, before Fresnel's factor.
fn mirrored(scene: &Scene<'_>, samples: &Samples, shift: (f32, f32)) -> Vec<[f32; 6]> {
    let disc = disc(16, shift);
    let own = scene.target_number();
    samples.map(|x, y, p| {
        if p.mirror <= 0.0 {
            return [0.0; 6];
        }
        let facing = p.normal.dot(p.back);
        let mut direction = p.normal * (2.0 * facing) - p.back;
        if p.rough > SHARP {
            let (a, b) = direction.tangents();
            let (u, v) = disc[turn(x, y, 4)];
            direction = (direction + (a * u + b * v) * p.rough).unit();
        }
        let rise = direction.dot(p.normal);
        if rise <= 0.01 {
            direction = (direction + p.normal * (0.02 - rise)).unit();
        }
        let ray = Ray::new(p.place + p.normal * LIFT, direction);
        let step = 0.02 + 0.5 * p.rough;
        flat(both(scene, &ray, p.passes(), own, |found, ray| match found {
            Some(found) => {
                let at = ray.at(found.hit.distance);
                scene.glance(found, ray, scene.albedo(found, at, step))
            }
            None => scene.beyond(ray.direction),
        }))
    })
}

/// The light along `ray` without the target and with it.
#[inline]
fn both(
    scene: &Scene<'_>,
    ray: &Ray,
    skip: Option<usize>,
    own: usize,
    light: impl Fn(Option<&Found>, &Ray) -> V3,
) -> Pair {
    let found = scene.nearest(ray, skip);
    let without = light(found.as_ref(), ray);
    let limit = found.map_or(f32::INFINITY, |f| f.hit.distance);
    let target = if skip == Some(own) {
        None
    } else {
        scene.target_hit(ray, limit)
    };
    [without, target.map_or(without, |t| light(Some(&t), ray))]
}

fn flat([a, b]: Pair) -> [f32; 6] {
    [a.x, a.y, a.z, b.x, b.y, b.z]
}

/// Light that a sample sends to the eye: without the target, with it.
fn shade(scene: &Scene<'_>, p: &Point, lit: &Lit, i: usize) -> Pair {
    if p.id == 0 {
        return [p.colour; 2];
    }
    let facing = p.normal.dot(p.back).clamp(0.0, 1.0);
    let fresnel = if p.mirror > 0.0 {
        let smooth = (1.0 - 1.4 * p.rough).max(0.1);
        p.mirror + (1.0 - p.mirror) * smooth * (1.0 - facing).powi(5)
    } else {
        0.0
    };
    let ambient = &lit.ambient[i];
    let mirrored = lit.mirrored.get(i).unwrap_or(&[0.0; 6]);
    let half = |v: &[f32; 6], w: usize| v3(v[3 * w], v[3 * w + 1], v[3 * w + 2]);
    let mut light = [half(ambient, 0), half(ambient, 1)];
    let mut shine = [half(mirrored, 0), half(mirrored, 1)];
    for (source, seen) in std::iter::zip(&scene.lights, &lit.seen) {
        let way = source.middle(p.place);
        let falls = p.normal.dot(way.direction);
        let seen = seen[i];
        if falls <= 0.0 || seen[0] + seen[1] == 0.0 {
            continue;
        }
        let colour = way.colour * source.open(p.place);
        let middle = (way.direction + p.back).unit();
        let sharp = 2.0 / (p.rough * p.rough).max(4e-3);
        let spark = if fresnel > 0.0 {
            0.08 * sharp * p.normal.dot(middle).max(0.0).powf(sharp) * falls
        } else {
            0.0
        };
        for world in 0..2 {
            light[world] += colour * (falls * seen[world]);
            shine[world] += colour * (spark * seen[world]);
        }
    }
    [0, 1].map(|w| p.colour.times(light[w]) * (1.0 - fresnel) + shine[w] * fresnel)
}

#[cfg(test)]
mod tests {
    use super::super::light::Sky;
    use super::super::scene::{Plane, View};
    use super::super::shape::{Frame, Shape};
    use super::super::surface::{Cover, Surface};
    use super::super::thing::Thing;
    use super::*;

    /// A ball on a plain ground, seen from above, lit by `lights`.
    fn ball(lights: Vec<Light>, mirror: f32) -> Scene<'static> {
        let grey = |v: f32| Surface::dull(Cover::Plain(V3::splat(v)));
        let model = vec![(Shape::Ball, Frame::new(V3::ZERO, V3::splat(1.0)), 0)];
        let straight = [V3::X, V3::Y, V3::Z];
        let mut floor = grey(0.5);
        floor.mirror = mirror;
        floor.rough = 0.0;
        let ambient = V3::splat(0.3);
        Scene {
            planes: vec![Plane {
                point: V3::ZERO,
                normal: V3::Z,
                axes: (V3::X, V3::Y),
                surface: floor,
            }],
            things: Vec::new(),
            target: Thing::solid(&model, vec![grey(0.2)], &straight, 1.0, (0.0, 0.0), 0.0),
            lights,
            sky: Sky {
                zenith: ambient,
                horizon: ambient,
                ground: ambient,
                towards: V3::Z,
                bright: 0.0,
            },
            backdrop: None,
            view: View::new(v3(0.0, -4.0, 6.0), V3::ZERO, 0.0, 0.35),
        }
    }

    /// Sum of missing light left and right of the middle, outside the target.
    fn shadow(out: &Rendering) -> (f32, f32) {
        let half = out.matte.width / 2;
        let mut sums = (0.0, 0.0);
        for (i, _) in out.matte.pixels.iter().enumerate().filter(|(_, m)| m[0] == 0.0) {
            let missing = out.without.pixels[i][0] - out.with.pixels[i][0];
            if i % out.matte.width < half {
                sums.0 += missing;
            } else {
                sums.1 += missing;
            }
        }
        sums
    }

    #[test]
    fn the_shadow_lies_away_from_the_light_and_elsewhere_nothing_changes() {
        for spread in [0.005, 0.05, 0.3] {
            let from_the_right = Light::far(0.7, 0.0, spread, V3::splat(1.0));
            let out = render(&ball(vec![from_the_right], 0.0), &mut Rng::new(1, 0, 0), 48);
            let (left, right) = shadow(&out);
            assert!(left > 10.0 && left > 4.0 * right, "{spread}: {left} {right}");
        }
        // Without sky a hard light's effect ends at its shadow's edge: all else is the same to the bit.
        let mut scene = ball(vec![Light::far(0.9, 0.0, 0.0, V3::splat(1.0))], 0.0);
        scene.sky.zenith = V3::ZERO;
        scene.sky.horizon = V3::ZERO;
        scene.sky.ground = V3::ZERO;
        scene.target = scene.target.darker(0.0);
        let out = render(&scene, &mut Rng::new(1, 0, 0), 48);
        let same = |i: &usize| out.with.pixels[*i] == out.without.pixels[*i];
        let right_of = |i: &usize| i % 48 > 40;
        assert!((0..48 * 48).filter(right_of).all(|i| same(&i)));
        assert!((0..48 * 48).filter(same).count() > 48 * 48 / 2);
    }

    #[test]
    fn a_mirroring_floor_shows_the_target() {
        let dull = render(&ball(Vec::new(), 0.0), &mut Rng::new(1, 0, 0), 48);
        let shiny = render(&ball(Vec::new(), 0.9), &mut Rng::new(1, 0, 0), 48);
        let changed = |out: &Rendering| {
            let pixels = std::iter::zip(&out.with.pixels, &out.without.pixels).zip(&out.matte.pixels);
            pixels
                .filter(|((c, b), m)| m[0] == 0.0 && (c[0] - b[0]).abs() > 0.1)
                .count()
        };
        assert!(
            changed(&shiny) > 10 + changed(&dull),
            "{} {}",
            changed(&shiny),
            changed(&dull)
        );
    }
}
