//! The full-resolution solver: from the model's small layers to layers of the plate's size.
//!
//! Everything that varies slowly is settled at the model's size: which effects belong to the object
//! ([`effect`]), what lies under it ([`fill`]), how far its matte can be trusted ([`object`]). Only the last
//! pass ([`paint`]) visits the plate's pixels, row by row, and only where there is something to do.

mod detail;
mod effect;
mod exemplar;
mod fill;
mod matching;
pub(crate) mod noise;
mod object;
mod paint;
mod patches;
mod texture;

use crate::crop::{Crop, View};
use crate::inset::Inset;
use crate::{Error, Light, Options, Plane, Prediction, Quality, Result, Rgb, Rgba, pushpull};

pub(crate) use detail::Detail;
pub(crate) use effect::Effect;
pub(crate) use object::Object;
pub(crate) use paint::{Active, Painted, odd_pixels, paint, place};

/// What the last pass needs; all planes but `object`'s large ones have the model's size.
pub(crate) struct Solution {
    /// Shadow and reflection.
    pub effect: Effect,
    /// The object's own coverage.
    pub object: Object,
    /// Encoded background under the object.
    pub base: Rgb,
    /// Texture to lay over the base.
    pub detail: Option<Detail>,
    /// How near the raw model's layers come to its picture: sum of squared differences, and their number.
    pub residual: (f64, u64),
    /// Values of the model's answer that were not finite.
    pub non_finite: u64,
}

/// Settles everything at the model's size.
///
/// `view` is the plate as the model sees it, `matte` the object's coverage at the plate's size, `mask` the same at the
/// model's, `raw` the model's answer.
pub(crate) fn solve(
    crop: &Crop,
    view: &View,
    matte: Inset,
    mask: &Plane,
    raw: Prediction,
    light: Light,
    options: &Options,
) -> Result<Solution> {
    let picture = &view.picture;
    let size = picture[0].size();
    for plane in raw.background.iter().chain(&raw.foreground) {
        if plane.size() != size || plane.values.len() != size.0 * size.1 {
            return Err(Error::Prediction {
                wanted: size,
                got: plane.size(),
            });
        }
    }
    let residual = residual(picture, &raw);
    let mut object = Object::new(crop, matte, mask, &raw.foreground[3], picture, options);
    let (prediction, non_finite) = repaired(raw, picture, &object.hole);
    object.trust_matte(mask, &prediction.foreground[3]);
    let effect = Effect::new(&prediction, mask, &object.hole, light, options.effect_threshold);
    let mut base = fill::base(
        picture,
        &prediction.background,
        &effect,
        &object.hole,
        light,
        options,
    );
    let detail = if options.texture_fill && options.quality >= Quality::Detail {
        let affected: Vec<bool> = effect
            .strength
            .values
            .iter()
            .map(|&s| effect.gate(s) > 0.0)
            .collect();
        let filled = object
            .hole
            .zip(&effect.lost, |h, lost| f32::from(h > 0.0 || lost > 0.1));
        let border = exemplar::Border::of(picture, &prediction.background, &filled, &affected);
        Detail::find(crop, view, &mut base, &filled, &affected, border, options.seed)
    } else {
        None
    };
    Ok(Solution {
        effect,
        object,
        base,
        detail,
        residual,
        non_finite,
    })
}

/// Squared error of the model's own layers laid back over each other, clipped to what a picture can hold.
fn residual(picture: &Rgb, raw: &Prediction) -> (f64, u64) {
    let alpha = &raw.foreground[3].values;
    let mut sum = 0.0;
    for ((seen, front), clean) in picture.iter().zip(&raw.foreground).zip(&raw.background) {
        for (i, &value) in seen.values.iter().enumerate() {
            let over = front.values[i] + (1.0 - alpha[i]) * clean.values[i];
            // An answer that is no number is as wrong as can be.
            let off = if over.is_finite() {
                over.clamp(0.0, 1.0) - value
            } else {
                1.0
            };
            sum += f64::from(off * off);
        }
    }
    (sum, 3 * alpha.len() as u64)
}

/// The model's answer with everything finite and within 0 to 1, and the number of values that were not finite.
///
/// Broken background is filled from around, or, under the object, from the plate around it; broken foreground
/// is nothing outside the hole, and opaque in it.
fn repaired(raw: Prediction, picture: &Rgb, hole: &Plane) -> (Prediction, u64) {
    let planes = || raw.background.iter().chain(&raw.foreground);
    let broken = planes()
        .flat_map(|p| &p.values)
        .filter(|v| !v.is_finite())
        .count() as u64;
    let clip = |p: &Plane| p.map(|v| v.clamp(0.0, 1.0));
    if broken == 0 {
        let Prediction {
            background,
            foreground,
        } = raw;
        return (
            Prediction {
                background: background.map(|p| clip(&p)),
                foreground: foreground.map(|p| clip(&p)),
            },
            0,
        );
    }
    let background: Rgb = std::array::from_fn(|c| {
        let plane = &raw.background[c];
        // Where the answer is no number, what is seen outside the hole is as good as known.
        let seen = Plane {
            values: (0..plane.values.len())
                .map(|i| {
                    if plane.values[i].is_finite() {
                        plane.values[i]
                    } else {
                        picture[c].values[i]
                    }
                })
                .collect(),
            ..*plane
        };
        let known = plane.zip(hole, |v, h| f32::from(v.is_finite() || h <= 0.0));
        clip(&pushpull::fill(&seen, &known))
    });
    let foreground: Rgba = std::array::from_fn(|c| {
        let spare = |h: f32, seen: f32| if h > 0.0 { seen } else { 0.0 };
        let plane = &raw.foreground[c];
        let values = (0..plane.values.len()).map(|i| match plane.values[i] {
            v if v.is_finite() => v.clamp(0.0, 1.0),
            _ => spare(hole.values[i], if c < 3 { picture[c].values[i] } else { 1.0 }),
        });
        Plane {
            values: values.collect(),
            ..*plane
        }
    });
    (
        Prediction {
            background,
            foreground,
        },
        broken,
    )
}
