//! The parts of a picture that are measured apart.

use crate::data::raster::Raster;
use crate::eval::Case;

/// Alpha of an object's own pixels.
const OBJECT: f32 = 0.5;
/// An object's alpha from which a pixel's neighbours count as touched by it.
const OBJECT_EDGE: f32 = 0.02;
/// Layer alpha from which a pixel outside the object counts as shadow or reflection.
const EFFECT: f32 = 0.05;
/// Layer alpha from which a pixel and its neighbours do not count as outside.
const LAYER_EDGE: f32 = 0.01;
/// Difference of plate and true background, in the channel where it is largest, that counts as effect where the true layer is not known.
const DIFFERENCE: f32 = 0.03;

/// The regions of a case, one flag a pixel, row by row.
///
/// - `object`: the object's own alpha above one half;
/// - `effect`: no object within a pixel, and shadow or reflection: where the case names the region (`ID_E`) that above one half,
///   else true layer alpha above .05, else (no true layer) plate and true background .03 apart;
/// - `outside`: neither object nor any effect within a pixel.
///
/// Where the true background is known in part only, everything else belongs to no region.
#[derive(Debug, Clone, PartialEq)]
pub struct Regions {
    /// Where the true background is known.
    pub known: Vec<bool>,
    /// Inside the object.
    pub object: Vec<bool>,
    /// In its shadow and reflection.
    pub effect: Vec<bool>,
    /// Where nothing should change.
    pub outside: Vec<bool>,
}

impl Regions {
    /// The regions of a case.
    #[must_use]
    pub fn of(case: &Case) -> Self {
        let truth = &case.truth;
        let alpha = truth.foreground.alpha();
        let (width, count) = (alpha.width, alpha.pixels.len());
        let known: Vec<bool> = match &case.known {
            Some(known) => above(known, 0.5),
            None => vec![true; count],
        };
        let near_object = spread(&above(&truth.object, OBJECT_EDGE), width);
        let any_effect = match &case.effect {
            Some(effect) => above(effect, 0.5),
            None if truth.has_foreground => above(&alpha, EFFECT),
            None => std::iter::zip(&truth.plate.pixels, &truth.background.pixels)
                .map(|(c, b)| (0..3).any(|i| (c[i] - b[i]).abs() > DIFFERENCE))
                .collect(),
        };
        let touched = if case.effect.is_none() && truth.has_foreground {
            above(&alpha, LAYER_EDGE)
        } else {
            any_effect.clone()
        };
        let near_layer = spread(&touched, width);
        let each = |f: &dyn Fn(usize) -> bool| (0..count).map(|i| known[i] && f(i)).collect();
        Self {
            object: each(&|i| truth.object.pixels[i][0] > OBJECT),
            effect: each(&|i| any_effect[i] && !near_object[i]),
            outside: each(&|i| !near_layer[i] && !near_object[i]),
            known,
        }
    }

    /// Object or effect.
    #[must_use]
    pub fn both(&self, i: usize) -> bool {
        self.object[i] || self.effect[i]
    }
}

fn above(values: &Raster<1>, threshold: f32) -> Vec<bool> {
    values.pixels.iter().map(|v| v[0] > threshold).collect()
}

/// Whether one of the 3x3 pixels around each pixel is set.
fn spread(set: &[bool], width: usize) -> Vec<bool> {
    let height = set.len().checked_div(width).unwrap_or(0);
    let mut out = vec![false; set.len()];
    for y in 0..height {
        for x in (0..width).filter(|x| set[y * width + x]) {
            for ny in y.saturating_sub(1)..(y + 2).min(height) {
                out[ny * width + x.saturating_sub(1)..ny * width + (x + 2).min(width)].fill(true);
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::test_case;

    #[test]
    fn object_effect_and_outside_do_not_overlap() {
        // Object in columns 0-3, effect in 4-8, nothing from 9 on.
        let case = test_case();
        let regions = Regions::of(&case);
        let row = |set: &[bool]| -> String { set[..16].iter().map(|&b| if b { '#' } else { '.' }).collect() };
        assert_eq!(row(&regions.object), "####............");
        assert_eq!(row(&regions.effect), ".....####.......");
        assert_eq!(row(&regions.outside), "..........######");
    }

    #[test]
    fn without_a_layer_the_difference_is_the_effect() {
        let mut case = test_case();
        case.truth.has_foreground = false;
        let by_difference = Regions::of(&case);
        assert_eq!(by_difference.effect, Regions::of(&test_case()).effect);
        case.effect = Some(Raster::from_fn(16, 16, |x, _| [f32::from((6..8).contains(&x))]));
        assert_eq!(Regions::of(&case).effect.iter().filter(|e| **e).count(), 2 * 16);
    }

    #[test]
    fn what_is_not_known_is_in_no_region() {
        let mut case = test_case();
        case.known = Some(Raster::from_fn(16, 16, |x, _| [f32::from(x >= 4)]));
        let regions = Regions::of(&case);
        assert!(!regions.object.contains(&true));
        assert!(regions.effect.contains(&true) && regions.outside.contains(&true));
    }
}
