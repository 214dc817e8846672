//! The move-and-resize test: a layer is only good if it can be put elsewhere.

use super::{Answer, Compositing};
use crate::data::raster::Raster;
use crate::data::rng::Rng;
use crate::eval::Case;

/// Stream of the random sizes.
const STREAM: u64 = 0x4D4F_5645;
/// How far the layer goes, in parts of the picture's width.
const SHIFT: f64 = 0.3;
/// Smallest and largest scale.
const SCALES: (f32, f32) = (0.5, 1.5);

/// Where a layer goes: scaled about its centre, then shifted along the picture.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Move {
    /// Centre of the layer's alpha, in pixels.
    centre: (f64, f64),
    /// Pixels to the right.
    shift: f64,
    /// Size afterwards, in parts of the size before.
    scale: f64,
}

impl Move {
    /// The move of a case: 30 % of the width towards the side where there is more room, scaled by 0.5 to 1.5 (even in the logarithm),
    /// which depends on `seed` and the case's name alone. `None` where the true layer is not known or is nothing.
    #[must_use]
    pub fn of(case: &Case, seed: u64) -> Option<Self> {
        let layer = &case.truth.foreground;
        if !case.truth.has_foreground {
            return None;
        }
        let (mut weight, mut x, mut y) = (0f64, 0f64, 0f64);
        for (i, pixel) in layer.pixels.iter().enumerate() {
            let alpha = f64::from(pixel[3].clamp(0.0, 1.0));
            weight += alpha;
            x += alpha * ((i % layer.width) as f64 + 0.5);
            y += alpha * ((i / layer.width) as f64 + 0.5);
        }
        if weight < 1.0 {
            return None;
        }
        let name = blake3::hash(case.name.as_bytes());
        let index = name.as_bytes()[..8]
            .iter()
            .fold(0u64, |all, &byte| all << 8 | u64::from(byte));
        let scale = Rng::new(seed, STREAM, index).log_range(SCALES.0, SCALES.1);
        let centre = (x / weight, y / weight);
        let side = if centre.0 < layer.width as f64 / 2.0 {
            1.0
        } else {
            -1.0
        };
        Some(Self {
            centre,
            shift: side * SHIFT * layer.width as f64,
            scale: f64::from(scale),
        })
    }

    /// The layer there. It is resized by area average or bilinearly and lands on whole pixels; what leaves the picture is cut off.
    #[must_use]
    pub fn apply(&self, layer: &Raster<4>) -> Raster<4> {
        let side = |n: usize| ((n as f64 * self.scale).round() as usize).max(1);
        let resized = layer.resized(side(layer.width), side(layer.height));
        let offset = |centre: f64, shift: f64| (centre * (1.0 - self.scale) + shift).round() as isize;
        let (left, top) = (offset(self.centre.0, self.shift), offset(self.centre.1, 0.0));
        Raster::from_fn(layer.width, layer.height, |x, y| {
            let (x, y) = (x as isize - left, y as isize - top);
            let inside =
                (0..resized.width as isize).contains(&x) && (0..resized.height as isize).contains(&y);
            if inside {
                *resized.at(x as usize, y as usize)
            } else {
                [0.0; 4]
            }
        })
    }

    /// The found layer moved over the found background, and the true one over the true one, display-referred. Each is laid in the light
    /// in which it was taken apart.
    #[must_use]
    pub fn pictures(&self, case: &Case, answer: &Answer) -> Option<(Raster<3>, Raster<3>)> {
        let found = answer
            .compositing
            .lay(&self.apply(answer.foreground.as_ref()?), &answer.background);
        let truth = &case.truth;
        let should = match &case.linear_layer {
            Some(layer) => Compositing::Linear.lay(&self.apply(layer), &truth.background),
            None => Compositing::Display.lay(&self.apply(&truth.foreground), &truth.background),
        };
        Some((found, should))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::test_case;

    #[test]
    fn a_perfect_answer_moves_perfectly() {
        let case = test_case();
        let moved = Move::of(&case, 1).unwrap();
        assert_eq!(moved, Move::of(&case, 1).unwrap());
        assert_ne!(moved, Move::of(&case, 2).unwrap());
        assert!(moved.shift > 4.0 && (0.5..=1.5).contains(&moved.scale));
        let answer = Answer::display(case.truth.background.clone(), Some(case.truth.foreground.clone()));
        let (found, should) = moved.pictures(&case, &answer).unwrap();
        assert_eq!(found, should);
        // The object, black, has left the left edge.
        assert!(found.at(0, 8)[0] > 0.49 && found.pixels.iter().any(|p| p[0] < 0.1));
    }

    #[test]
    fn a_move_keeps_the_centre_but_for_the_shift() {
        let layer = Raster::from_fn(40, 30, |x, y| {
            [f32::from((8..14).contains(&x) && (10..20).contains(&y)); 4]
        });
        for scale in [0.5, 1.0, 1.5] {
            let moved = Move {
                centre: (11.0, 15.0),
                shift: 12.0,
                scale,
            };
            let out = moved.apply(&layer);
            let sum: f32 = out.pixels.iter().map(|p| p[3]).sum();
            let x: f32 = out
                .pixels
                .iter()
                .enumerate()
                .map(|(i, p)| p[3] * ((i % 40) as f32 + 0.5))
                .sum();
            assert!((x / sum - 23.0).abs() < 0.6, "{scale}: {}", x / sum);
            assert!((sum - 60.0 * (scale * scale) as f32).abs() < 6.0);
        }
    }
}
