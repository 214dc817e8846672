//! What happened to a plate, for the log and the file's metadata.

use std::fmt;

use peel_image::Rect;

use crate::Light;

/// Figures of one [`peel_one`](crate::peel_one).
#[derive(Clone, PartialEq, Debug)]
pub struct Report {
    /// Largest difference between plate and over of the two layers, all rounded to half: 0, or there is a bug.
    pub recomposition_max: f32,
    /// How near the raw model's own layers come to the picture it was shown, in dB; the solver cannot hide a
    /// bad model behind its exactness. Infinite where they match or no model was run.
    pub raw_model_psnr: f32,
    /// Pixels of the plate, within the crops, with NaN or infinity; they stay in the background as they are.
    pub non_finite: u64,
    /// Pixels within the crops with values beyond half's 65504; they too stay in the background.
    pub beyond_half: u64,
    /// Values of the matte that were NaN and count as 0.
    pub matte_nan: u64,
    /// Values of the model's answer that were not finite and were replaced.
    pub model_non_finite: u64,
    /// Pixels in which the foreground has any effect.
    pub affected: u64,
    /// The window around all crops that the model was shown.
    pub crop: Rect,
    /// How many crops: islands far apart are peeled each on its own.
    pub crops: usize,
    /// Plate pixels by which the hole reaches past the matte, the largest of all crops: a model pixel, and what was asked for.
    pub reach: f32,
    /// How light was shown to the model.
    pub light: Light,
    /// What a user should know of the device's work, such as that it ran out of memory.
    pub remarks: Vec<String>,
}

impl Report {
    /// Of a step that has not touched anything yet.
    pub(crate) fn new(light: Light) -> Report {
        Report {
            recomposition_max: 0.0,
            raw_model_psnr: f32::INFINITY,
            non_finite: 0,
            beyond_half: 0,
            matte_nan: 0,
            model_non_finite: 0,
            affected: 0,
            crop: Rect::EMPTY,
            crops: 0,
            reach: 0.0,
            light,
            remarks: Vec::new(),
        }
    }
}

impl Default for Report {
    /// Of a step that has not touched anything yet, in ordinary light.
    fn default() -> Report {
        Report::new(Light::default())
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.crops == 0 {
            write!(f, "nothing to remove: the matte is empty within the plate")?;
        } else {
            write!(
                f,
                "recomposition max {}, raw model {:.1} dB",
                self.recomposition_max, self.raw_model_psnr
            )?;
            write!(f, ", crop {}", self.crop)?;
            if self.crops > 1 {
                write!(f, " in {} parts", self.crops)?;
            }
            write!(f, ", {} pixels affected", self.affected)?;
            if self.light != Light::default() {
                write!(
                    f,
                    ", shown at {:+} stops, white {}",
                    self.light.exposure.log2(),
                    self.light.white
                )?;
            }
        }
        let odd = [
            (self.non_finite, "non-finite plate pixels kept"),
            (self.beyond_half, "plate pixels beyond half kept"),
            (self.matte_nan, "NaN matte values taken as 0"),
            (self.model_non_finite, "non-finite model values replaced"),
        ];
        for (count, what) in odd.into_iter().filter(|(count, _)| *count > 0) {
            write!(f, ", {count} {what}")?;
        }
        Ok(())
    }
}
