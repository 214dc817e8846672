//! Under the object: the model's background, joined to what is around it without a seam.

use super::Effect;
use super::effect::DARKEST;
use crate::filters::gaussian;
use crate::{Light, Options, Plane, Quality, Rgb, pushpull, region};

/// Distance from the hole's edge, in model pixels, over which the model's own level takes over.
const SEAM: f32 = 8.0;

/// The largest correction at a seam, in encoded values.
const LARGEST: f32 = 0.2;

/// Standard deviation, in model pixels, of the smoothing before two pictures are compared at the seam.
const BLUR: f32 = 0.6;

/// The encoded background at the model's size: the model's own, its level inside the hole corrected by what it misses
/// around it.
///
/// The difference between the background that the plate shows (its shadow removed) and the model's is continued into
/// the hole by push-pull, which comes near to solving Laplace's equation (Perez et al., 2003, "Poisson
/// image editing", with the guidance field of the model), and fades with the distance from the edge.
pub(crate) fn base(
    picture: &Rgb,
    background: &Rgb,
    effect: &Effect,
    hole: &Plane,
    light: Light,
    options: &Options,
) -> Rgb {
    if options.quality < Quality::Seam {
        return background.clone();
    }
    // A pixel counts as seen where the object hides nothing of it, and the shadow on it is known well enough.
    let seen = hole.zip(&effect.edge, |h, e| f32::from(h <= 0.0 && e < 0.25));
    let seen = seen.zip(&effect.lost, |seen, lost| if lost < 0.1 { seen } else { 0.0 });
    let deep = region::distance(&seen, 0.5, (4.0 * SEAM) as usize);
    std::array::from_fn(|c| {
        let own = unshadowed(picture, effect, light, c);
        // Smoothing must not draw the object in: compare only what is seen, each side smoothed by the same weights.
        let off = own.zip(&background[c], |own, model| own - model);
        let weighted = gaussian(&off.zip(&seen, |o, s| o * s), BLUR);
        let weight = gaussian(&seen, BLUR);
        let smooth = weighted.zip(&weight, |o, w| if w > 1e-3 { o / w } else { 0.0 });
        let term = pushpull::fill(&smooth, &seen);
        let values = (0..term.values.len()).map(|i| {
            let correction = term.values[i].clamp(-LARGEST, LARGEST) * (-deep.values[i] / SEAM).exp();
            background[c].values[i] + correction
        });
        Plane {
            values: values.collect(),
            ..term
        }
    })
}

/// The background that one channel of the picture shows where the object does not hide it: effects removed, encoded.
fn unshadowed(picture: &Rgb, effect: &Effect, light: Light, c: usize) -> Plane {
    let values = (0..picture[c].values.len()).map(|i| {
        let seen = picture[c].values[i];
        let gate = effect.gate(effect.strength.values[i]);
        if gate <= 0.0 {
            return seen;
        }
        let through = 1.0 - (1.0 - effect.transmittance[c].values[i]).min(1.0 - DARKEST) * gate;
        light.encode((light.decode(seen) - gate * effect.light[c].values[i]).max(0.0) / through)
    });
    Plane {
        values: values.collect(),
        ..picture[c]
    }
}
