//! Composites: a background, things that stay, an object with its effects, a camera.

use super::background;
use super::camera::Camera;
use super::light::{Light, visible_on};
use super::object::{self, Role};
use super::pool::Pool;
use super::raster::Raster;
use super::rng::Rng;
use super::{Sample, mask, stays};

/// Least share of the picture that the visible object covers.
const LEAST_COVERAGE: f32 = 0.012;

/// Draws a composite of `size` pixels. Scenes in which the object is hardly visible are drawn again.
#[must_use]
pub fn draw(rng: &mut Rng, pool: &Pool, size: usize) -> Sample {
    loop {
        if let Some(sample) = attempt(rng, pool, size) {
            return sample;
        }
    }
}

fn attempt(rng: &mut Rng, pool: &Pool, size: usize) -> Option<Sample> {
    let mut scene = background::draw(rng, pool, size);
    let light = Light::draw(rng, size);
    let target = object::draw(rng, pool, &scene, Role::Target)?;
    if target.coverage() < LEAST_COVERAGE {
        return None;
    }
    stays::populate(rng, pool, &mut scene, &light, &target);

    let effects = visible_on(&light.effects(rng, &target, scene.horizon), &scene.picture);
    let mut foreground = target.picture.over(&effects);
    let mut object = target.picture.alpha();
    let mut background = scene.picture.clone();

    // Something in front of the object belongs to the background, and the layer ends at it.
    if rng.chance(0.1)
        && let Some(front) = object::draw(rng, pool, &scene, Role::Bystander)
    {
        let cover = front.picture.alpha();
        background = front.picture.over_picture(&background);
        foreground = foreground.zip(&cover, |f, o| f.map(|v| v * (1.0 - o[0])));
        object = object.zip(&cover, |a, o| [a[0] * (1.0 - o[0])]);
        let visible = object.pixels.iter().map(|p| p[0]).sum::<f32>() / object.pixels.len() as f32;
        if visible < LEAST_COVERAGE {
            return None;
        }
    }

    let camera = Camera::draw(rng, size);
    let object = camera.focus(object);
    let mut background = camera.focus(background);
    let mut foreground = camera.focus(foreground);
    camera.expose_background(rng, &mut background);
    camera.expose_layer(rng, &mut foreground, &object);
    Some(finish(rng, &camera, background, foreground, object))
}

/// Lays the layers together, compresses, and draws a mask.
pub(super) fn finish(
    rng: &mut Rng,
    camera: &Camera,
    background: Raster<3>,
    foreground: Raster<4>,
    object: Raster<1>,
) -> Sample {
    let plate = camera.compress(foreground.over_picture(&background));
    let background = camera.compress(background);
    // Resampling weights sum to 1 but for rounding; a mask of 1.000001 would be a known-ness below zero in the hole filling.
    let object = object.map(|a| [a[0].clamp(0.0, 1.0)]);
    let mask = mask::degrade(rng, &object).map(|m| [m[0].clamp(0.0, 1.0)]);
    Sample {
        plate,
        mask,
        background,
        foreground,
        object,
        has_foreground: true,
    }
}
