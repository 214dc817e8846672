//! What a user can say about how an object is removed.

use peel_layerdecomp::{Sampler, Sampling};

use crate::{Error, Light, Result};

/// Controls of [`peel_one`](crate::peel_one). The defaults suit most plates.
#[derive(Clone, PartialEq, Debug)]
pub struct Options {
    /// Sampling steps of the model; 0 and 1 both mean one call, which suits the shipped weights.
    pub steps: usize,
    /// How the steps are taken, where there is more than one.
    pub sampler: Sampler,
    /// Seed of the model's noise and of the texture search. The same seed gives the same bytes.
    pub seed: u64,
    /// Pixels by which the hole behind the object reaches past the matte, beyond the one model pixel that it
    /// always does; 0 to 1000. For mattes tighter than their object.
    pub grow: f32,
    /// Width in pixels over which the fill under the object fades into the plate's own pixels; 0 for
    /// four tenths of a model pixel. 0 to 1000.
    pub feather: f32,
    /// The weakest effect (shadow, reflection) that is taken from the plate, as the model's alpha. Below it the background is the
    /// plate, bit for bit; above it the effect is faded in up to three times this value. Above 0, up to 0.33.
    pub effect_threshold: f32,
    /// Whether the background in a shadow is the plate relit, with its grain and texture; otherwise it is
    /// the model's picture there, free of grain, and the grain goes into the foreground.
    pub keep_grain: bool,
    /// Whether the fill under the object gets shapes and detail from matching texture around it.
    pub texture_fill: bool,
    /// Context around the object that the model sees, in parts of the object's longer side; 0 to 10.
    pub margin: f32,
    /// How light is shown to the model; `None` chooses from the plate. Set it to hold a sequence together.
    pub light: Option<Light>,
    /// Pixels on the long side of what the model sees; `None` for the size that it was trained at.
    pub working_size: Option<usize>,
    /// How far the solver goes; anything but the last is there to measure what each stage is worth.
    pub quality: Quality,
}

/// The solver's stages, each on top of those before it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Quality {
    /// The model's layers, up-sampled.
    Plain,
    /// The plate itself wherever there is no effect.
    Gate,
    /// In shadow, the plate divided by the transmittance.
    Unshadow,
    /// Under the object, the model's picture joined to its surroundings without a seam.
    Seam,
    /// Under the object, detail from matching texture.
    Detail,
}

impl Options {
    /// How far the last pass goes: without grain to keep, the background is the model's picture wherever there is an effect.
    pub(crate) fn painted_quality(&self) -> Quality {
        if self.keep_grain {
            self.quality
        } else {
            self.quality.min(Quality::Gate)
        }
    }
}

impl Default for Options {
    fn default() -> Options {
        Options {
            steps: 1,
            sampler: Sampler::Ddim,
            seed: 0,
            grow: 0.0,
            feather: 0.0,
            effect_threshold: 0.02,
            keep_grain: true,
            texture_fill: true,
            margin: 3.0,
            light: None,
            working_size: None,
            quality: Quality::Detail,
        }
    }
}

impl Options {
    /// How layers are drawn from the model.
    pub(crate) fn sampling(&self) -> Sampling {
        Sampling {
            sampler: if self.steps <= 1 {
                Sampler::OneCall
            } else {
                self.sampler
            },
            steps: self.steps.max(1),
            seed: self.seed,
        }
    }

    /// Whether every option lies in its range.
    pub(crate) fn check(&self) -> Result<()> {
        let check = |option, value: f32, expected, fits: bool| {
            if fits {
                Ok(())
            } else {
                Err(Error::Option {
                    option,
                    value,
                    expected,
                })
            }
        };
        let pixels = 0.0..=1000.0;
        check("grow", self.grow, "0 to 1000 pixels", pixels.contains(&self.grow))?;
        check(
            "feather",
            self.feather,
            "0 to 1000 pixels",
            pixels.contains(&self.feather),
        )?;
        let threshold = self.effect_threshold;
        check(
            "effect_threshold",
            threshold,
            "above 0, up to 0.33",
            threshold > 0.0 && threshold <= 0.33,
        )?;
        check(
            "margin",
            self.margin,
            "0 to 10",
            (0.0..=10.0).contains(&self.margin),
        )?;
        let size = self.working_size.unwrap_or(128);
        check(
            "working_size",
            size as f32,
            "16 to 1024 pixels",
            (16..=1024).contains(&size),
        )
    }
}
