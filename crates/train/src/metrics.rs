//! Where and how far a decomposition is off.
//!
//! Regions, as in the recipe: *object*: the object's own alpha above a half; *effect*: true layer alpha above .05 and no object
//! within a pixel; *both*: their union; *outside*: no layer alpha above .01 within a pixel. PSNR pools the squared error over all
//! pixels and channels of all cases (peak 1), as one long picture.

use serde::{Deserialize, Serialize};

use crate::data::Sample;
use crate::data::raster::Raster;

/// A decomposition to be measured: background, and the premultiplied layer where the method makes one.
#[derive(Debug, Clone)]
pub struct Answer {
    /// Background.
    pub background: Raster<3>,
    /// Layer.
    pub foreground: Option<Raster<4>>,
}

/// Squared error and how many values it was summed over.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Error2 {
    sum: f64,
    count: f64,
}

impl Error2 {
    fn add<const C: usize>(&mut self, a: &[f32; C], b: &[f32; C]) {
        self.sum += a
            .iter()
            .zip(b)
            .map(|(a, b)| f64::from(a - b).powi(2))
            .sum::<f64>();
        self.count += C as f64;
    }

    /// Peak signal-to-noise ratio in dB; `None` without pixels.
    #[must_use]
    pub fn psnr(&self) -> Option<f64> {
        (self.count > 0.0).then(|| -10.0 * (self.sum / self.count).max(1e-12).log10())
    }
}

/// Sums over the cases seen so far.
#[derive(Debug, Clone, Copy, Default)]
pub struct Tally {
    whole: Error2,
    object: Error2,
    effect: Error2,
    both: Error2,
    outside: Error2,
    recomposition: Error2,
    alpha: Mean,
    alpha_effect: Mean,
    alpha_outside: Mean,
}

#[derive(Debug, Clone, Copy, Default)]
struct Mean {
    sum: f64,
    count: f64,
}

impl Mean {
    fn add(&mut self, value: f32) {
        self.sum += f64::from(value);
        self.count += 1.0;
    }

    fn get(self) -> Option<f64> {
        (self.count > 0.0).then(|| self.sum / self.count)
    }
}

/// A row of a table. PSNR in dB, alpha errors as mean absolute differences; `None` where there was nothing to measure.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Scores {
    /// Background, whole picture.
    pub whole: Option<f64>,
    /// Background, inside the object.
    pub object: Option<f64>,
    /// Background, in shadow and reflection.
    pub effect: Option<f64>,
    /// Background, in object and effect together.
    pub both: Option<f64>,
    /// Background, where nothing should change.
    pub outside: Option<f64>,
    /// Layer over background against the plate.
    pub recomposition: Option<f64>,
    /// Alpha, whole picture.
    pub alpha: Option<f64>,
    /// Alpha, in shadow and reflection.
    pub alpha_effect: Option<f64>,
    /// Alpha, where there should be none: false alpha.
    pub alpha_outside: Option<f64>,
}

impl Tally {
    /// Adds a case.
    pub fn add(&mut self, truth: &Sample, answer: &Answer) {
        let alpha = truth.foreground.alpha();
        let near_object = spread(&truth.object, 0.02);
        let near_layer = spread(&alpha, 0.01);
        for i in 0..alpha.pixels.len() {
            let (is, should) = (&answer.background.pixels[i], &truth.background.pixels[i]);
            let object = truth.object.pixels[i][0] > 0.5;
            let effect = alpha.pixels[i][0] > 0.05 && !near_object[i];
            let outside = !near_layer[i];
            self.whole.add(is, should);
            if object {
                self.object.add(is, should);
            }
            if effect {
                self.effect.add(is, should);
            }
            if object || effect {
                self.both.add(is, should);
            }
            if outside {
                self.outside.add(is, should);
            }
            if let Some(layer) = &answer.foreground {
                let f = layer.pixels[i];
                let laid: [f32; 3] = std::array::from_fn(|c| f[c] + (1.0 - f[3]) * is[c]);
                self.recomposition.add(&laid, &truth.plate.pixels[i]);
                let error = (f[3] - alpha.pixels[i][0]).abs();
                self.alpha.add(error);
                if effect {
                    self.alpha_effect.add(error);
                }
                if outside {
                    self.alpha_outside.add(f[3].abs());
                }
            }
        }
    }

    /// The scores over all cases.
    #[must_use]
    pub fn scores(&self) -> Scores {
        Scores {
            whole: self.whole.psnr(),
            object: self.object.psnr(),
            effect: self.effect.psnr(),
            both: self.both.psnr(),
            outside: self.outside.psnr(),
            recomposition: self.recomposition.psnr(),
            alpha: self.alpha.get(),
            alpha_effect: self.alpha_effect.get(),
            alpha_outside: self.alpha_outside.get(),
        }
    }
}

/// Whether a value above `threshold` lies in the 3x3 pixels around each pixel.
fn spread(values: &Raster<1>, threshold: f32) -> Vec<bool> {
    let (w, h) = (values.width, values.height);
    let mut out = vec![false; w * h];
    for y in 0..h {
        for x in 0..w {
            if values.at(x, y)[0] > threshold {
                for ny in y.saturating_sub(1)..(y + 2).min(h) {
                    out[ny * w + x.saturating_sub(1)..ny * w + (x + 2).min(w)].fill(true);
                }
            }
        }
    }
    out
}

/// Heading of the rows of [`row`].
#[must_use]
pub fn heading() -> String {
    format!(
        "{:<24} {:>6} {:>6} {:>6} {:>6} {:>7} {:>6} {:>6} {:>8} {:>9}",
        "method", "whole", "object", "effect", "both", "outside", "recomp", "alpha", "a.effect", "a.outside"
    )
}

/// One row of a table: dB with two places, alpha errors with four.
#[must_use]
pub fn row(name: &str, scores: &Scores) -> String {
    let db = |v: Option<f64>| v.map_or_else(|| "-".to_owned(), |v| format!("{v:.2}"));
    let share = |v: Option<f64>| v.map_or_else(|| "-".to_owned(), |v| format!("{v:.4}"));
    format!(
        "{name:<24} {:>6} {:>6} {:>6} {:>6} {:>7} {:>6} {:>6} {:>8} {:>9}",
        db(scores.whole),
        db(scores.object),
        db(scores.effect),
        db(scores.both),
        db(scores.outside),
        db(scores.recomposition),
        share(scores.alpha),
        share(scores.alpha_effect),
        share(scores.alpha_outside)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_region_takes_its_own_errors() {
        let size = 16;
        let object = Raster::from_fn(size, size, |x, _| [f32::from(x < 4)]);
        let alpha = |x: usize| {
            if x < 4 {
                1.0
            } else if x < 9 {
                0.5
            } else {
                0.0
            }
        };
        let foreground = Raster::from_fn(size, size, |x, _| [0.0, 0.0, 0.0, alpha(x)]);
        let background = Raster::filled(size, size, [0.5; 3]);
        let truth = Sample {
            plate: foreground.over_picture(&background),
            mask: object.clone(),
            background,
            foreground,
            object,
            has_foreground: true,
        };
        // Off by .1 in the object, .01 in the effect, nothing outside.
        let wrong = Raster::from_fn(size, size, |x, _| {
            [0.5 + if x < 4 {
                0.1
            } else if x < 9 {
                0.01
            } else {
                0.0
            }; 3]
        });
        let answer = Answer {
            background: wrong,
            foreground: Some(truth.foreground.clone()),
        };
        let mut tally = Tally::default();
        tally.add(&truth, &answer);
        let scores = tally.scores();
        assert!((scores.object.unwrap() - 20.0).abs() < 1e-3);
        assert!((scores.effect.unwrap() - 40.0).abs() < 1e-2);
        assert!(scores.outside.unwrap() > 100.0);
        assert_eq!(scores.alpha, Some(0.0));
        assert_eq!(scores.alpha_outside, Some(0.0));
    }
}
