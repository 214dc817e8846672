//! The object's own coverage, and the hole that it leaves.

use rayon::prelude::*;

use crate::crop::Crop;
use crate::filters::{box_blur, smoothstep};
use crate::inset::Inset;
use crate::region::{self, SOLID};
use crate::{Options, Plane, Rgb, pushpull};

/// Mean difference of matte and model's alpha up to which the matte is taken as it is, and from which on it is not.
const AGREE: (f32, f32) = (0.5, 0.85);

/// Coverage of a model pixel, in parts of the largest, from which on it shows the object's own colour.
const WHOLE: f32 = 0.98;

/// Where the object is, at both sizes.
pub(crate) struct Object {
    /// The matte as given, at the plate's size: 0 to 1. What lies further from its solid part than `reach` is left out.
    pub matte: Inset,
    /// Distance in plate pixels from the matte's solid part, cut off just past `reach`.
    pub near: Inset,
    /// How far the hole reaches past the matte, in plate pixels: one model pixel, and what the user adds.
    pub reach: f32,
    /// Width in plate pixels of the fade from fill to plate, at the hole's edge.
    pub fade: f32,
    /// Share of each model pixel that lies in the hole.
    pub hole: Plane,
    /// The model's alpha, contrast raised; model's size.
    pub alpha: Plane,
    /// How far the matte is to be trusted against `alpha`, 0 to 1; model's size. Zero where a mask is loose.
    pub trust: Plane,
    /// How hard the matte's edge is: 1 where it has no pixel between covered and not, 0 where it is shaded all along. A shaded
    /// edge knows what it covers; a hard one cannot say what focus and motion have smeared.
    pub hardness: f32,
    /// Encoded colour of the object: as it is where the matte covers whole model pixels, continued from there; model's size.
    pub colour: Rgb,
}

impl Object {
    /// From the matte at the plate's size, as far as it reaches, and [`reach`](Object::reach) pixels around.
    pub fn new(
        crop: &Crop,
        matte: Inset,
        mask: &Plane,
        alpha: &Plane,
        picture: &Rgb,
        options: &Options,
    ) -> Object {
        let reach = Object::reach(crop, options);
        let radius = reach.ceil() as usize;
        let near = Inset {
            part: region::distance(&matte.part, SOLID, radius),
            rest: (radius + 1) as f32,
            ..matte
        };
        let hole = crop.share(&near, |d| d <= reach);
        let fade = if options.feather > 0.0 {
            options.feather
        } else {
            0.4 * crop.factor as f32
        };
        // Thin objects cover no model pixel entirely.
        let most = mask.values.iter().fold(0f32, |most, &m| most.max(m));
        let solid = mask.map(|m| f32::from(m > 0.0 && m >= WHOLE * most));
        Object {
            hardness: hardness(&matte.part),
            matte,
            near,
            reach,
            fade: fade.max(1.0),
            hole,
            alpha: alpha.clone(),
            trust: Plane::filled(mask.width, mask.height, 1.0),
            colour: std::array::from_fn(|c| pushpull::fill(&picture[c], &solid)),
        }
    }

    /// How far the hole reaches past the matte, in plate pixels.
    pub fn reach(crop: &Crop, options: &Options) -> f32 {
        crop.factor as f32 + options.grow
    }

    /// Weighs the matte (`mask`, at the model's size) against the model's `alpha` (finite, 0 to 1).
    ///
    /// A matte drawn along the object knows its edges better than a small model: where the two agree, on average over a
    /// few pixels, the matte's alpha is the object's. A loose mask covers what the model says is no
    /// object; there the model is believed, unless the mask covers all that it was shown: then it cannot know.
    pub fn trust_matte(&mut self, mask: &Plane, alpha: &Plane) {
        // The half-transparent middle is where the model's blur is, not the object's: steepen it.
        self.alpha = alpha.map(|a| smoothstep(a, 0.03, 0.97));
        if self.hole.values.iter().any(|&h| h <= 0.0) {
            // The mean over what the mask covers, so that a loose mask's border is as loose as its inside.
            let beyond = box_blur(&mask.zip(alpha, |m, a| m * (m - a).max(0.0)), 1);
            let off = beyond.zip(&box_blur(mask, 1), |off, m| off / m.max(1e-3));
            self.trust = off.map(|d| 1.0 - smoothstep(d, AGREE.0, AGREE.1));
        }
    }

    /// Weight of the fill against the plate's own pixels at a distance from the matte: 1 up close, 0 at the hole's edge.
    #[inline]
    pub fn fill_weight(&self, near: f32) -> f32 {
        // Pixels at the very edge still count by half a pixel: distances are between pixel centres.
        ((self.reach + 0.5 - near) / self.fade).clamp(0.0, 1.0)
    }
}

/// [`Object::hardness`]: pixels of partial coverage against places where a row enters or leaves the object.
fn hardness(matte: &Plane) -> f32 {
    let count = |row: &[f32]| {
        let shaded = row.iter().filter(|&&m| m > SOLID && m < 1.0 - SOLID).count();
        let borders = row
            .windows(2)
            .filter(|two| (two[0] > 0.5) != (two[1] > 0.5))
            .count();
        (shaded, borders)
    };
    let rows = matte.values.par_chunks(matte.width.max(1)).map(count);
    let (shaded, borders) = rows.reduce(|| (0, 0), |a, b| (a.0 + b.0, a.1 + b.1));
    1.0 - (shaded as f32 / borders.max(1) as f32).min(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hard_edges_are_told_from_shaded_ones() {
        let disc = |fade: f32| {
            Plane::from_fn(64, 48, |x, y| {
                let inside = 16.3 - (x as f32 - 30.0).hypot(y as f32 - 24.0);
                (inside / fade + 0.5).clamp(0.0, 1.0)
            })
        };
        assert_eq!(hardness(&disc(1e-6)), 1.0);
        assert_eq!(hardness(&disc(2.0)), 0.0);
        assert!(hardness(&disc(1.0)) < 0.3);
        assert_eq!(hardness(&Plane::default()), 1.0);
    }
}
