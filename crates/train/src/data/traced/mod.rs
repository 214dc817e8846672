//! Physically lit triplets: a small ray tracer renders a scene of solids and cut-outs with and without the target.
//!
//! Composites with planar shadows teach a network what shadows look like on flat cards. These scenes add what they lack: shadows
//! that bend over walls, steps and other things, penumbrae that widen with distance, contact shadow and bounced light by
//! geometry, mirroring with Fresnel's law on polished and wet floors, and things that stay lit by the very same light.
//!
//! The rooms: [`vector`] and [`shape`] intersect, [`surface`] colours, [`light`] lights, [`thing`] and [`model`] build, [`scene`]
//! finds, [`compose`] draws scenes, [`render`] renders both worlds from samples that [`gather`] spreads, [`layer`] takes the layer from them.

mod compose;
mod gather;
mod layer;
mod light;
mod model;
mod render;
mod scene;
mod shape;
mod surface;
mod thing;
mod vector;

use super::camera::Camera;
use super::pool::Pool;
use super::rng::Rng;
use super::{Sample, synthetic};
use scene::Scene;

/// Least and largest share of the picture that the visible target covers.
const COVERAGE: (f32, f32) = (0.015, 0.5);
/// Rays on a side that estimate it.
const PROBES: usize = 20;
/// Seed and stream of held-out scenes; training never uses them.
const HELD_OUT: (u64, u64) = (0x4845_4C44, 4);

/// Draws a scene of the pool's pictures and renders it at `size` pixels.
#[must_use]
pub fn draw(rng: &mut Rng, pool: &Pool, size: usize) -> Sample {
    let scene = loop {
        let scene = compose::draw(rng, pool);
        if (COVERAGE.0..COVERAGE.1).contains(&coverage(&scene)) {
            break scene;
        }
    };
    let rendering = render::render(&scene, rng, size);
    let layers = layer::layers(rng, &rendering);
    let camera = Camera::draw(rng, size);
    let object = camera.focus(layers.object);
    let mut background = camera.focus(layers.background);
    let mut foreground = camera.focus(layers.foreground);
    camera.expose_background(rng, &mut background);
    camera.expose_layer(rng, &mut foreground, &object);
    synthetic::finish(rng, &camera, background, foreground, object)
}

/// Scene `index` of those for measuring, the same for every run over the same pool. Give it the held-out split.
#[must_use]
pub fn held_out_scene(pool: &Pool, index: u64, size: usize) -> Sample {
    let (seed, stream) = HELD_OUT;
    draw(&mut Rng::new(seed, stream, index), pool, size)
}

/// The first `count` of them.
pub fn held_out(pool: &Pool, count: usize, size: usize) -> impl Iterator<Item = Sample> + '_ {
    (0..count as u64).map(move |i| held_out_scene(pool, i, size))
}

/// Share of the picture that the visible target covers, from a few rays.
fn coverage(scene: &Scene<'_>) -> f32 {
    let at = |i: usize| (i as f32 + 0.5) / PROBES as f32 * 2.0 - 1.0;
    let sees = |i: &usize| {
        let ray = scene.view.ray(at(i % PROBES), at(i / PROBES));
        scene.target_hit(&ray, f32::INFINITY).is_some_and(|target| {
            let still = scene.nearest(&ray, None);
            still.is_none_or(|s| s.hit.distance > target.hit.distance)
        })
    };
    let seen = (0..PROBES * PROBES).filter(sees).count();
    seen as f32 / (PROBES * PROBES) as f32
}
