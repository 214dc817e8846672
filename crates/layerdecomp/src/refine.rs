//! The refiner: alpha of object and effects at a multiple of the model's resolution.
//!
//! The transformer works small; edges of objects and of hard shadows are sharper than its pixels. The refiner sees the plate
//! and the mask at 2 to 4 times that size beside what the model said, up-sampled, and corrects alpha there: deterministic, one
//! pass, no attention, so that its cost is that of a few convolutions.
//!
//! ```text
//!  plate, mask ─────────────────────────┐
//!  background, foreground ── bilinear ──┼─► half ─► half ─► same ─► double ─► double ─► + up-sampled alpha
//!  what is left of the plate ───────────┘      └────── skip ───────────┘        ▲
//!      C - F - (1 - α) B                └──────────────────── skip ─────────────┘
//! ```
//!
//! What is left says where the layers do not lay back to the plate, which is where alpha is wrong. The last layer starts at
//! zero: untrained, the refiner up-samples.

use candle_core::{Result, Tensor};
use candle_nn::VarBuilder;
use serde::{Deserialize, Serialize};

use crate::layers::{Conv, ConvBlock, Start};
use crate::ops::activation::silu;
use crate::ops::conv::Step;
use crate::ops::upsample::upsample;
use crate::{Conditions, Prediction};

/// Plate, mask, background, foreground, and what is left of the plate.
pub(crate) const INPUTS: usize = 14;

/// The refiner's part of the configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RefineConfig {
    /// Channels of its first level; the second has twice as many.
    pub width: usize,
    /// How much finer than the model it works: 2, 3 or 4.
    pub scale: usize,
}

impl RefineConfig {
    /// What contradicts itself, if anything does.
    pub(crate) fn fault(&self) -> Option<String> {
        if self.width == 0 {
            return Some("refine: width 0, but a layer has channels".into());
        }
        if !(2..=4).contains(&self.scale) {
            return Some(format!("refine: scale {} is not 2, 3 or 4", self.scale));
        }
        None
    }
}

/// See the module.
#[derive(Debug, Clone)]
pub(crate) struct Refiner {
    scale: usize,
    enter: ConvBlock,
    down: ConvBlock,
    middle: ConvBlock,
    up: ConvBlock,
    fine: Conv,
    out: Conv,
}

impl Refiner {
    pub fn new(config: &RefineConfig, vb: &VarBuilder) -> Result<Self> {
        let w = config.width;
        let block = |inputs, outputs, step, name: &str| ConvBlock::new(inputs, outputs, step, &vb.pp(name));
        let conv =
            |inputs, outputs, step, start, name: &str| Conv::new(inputs, outputs, step, start, &vb.pp(name));
        Ok(Self {
            scale: config.scale,
            enter: block(INPUTS, w, Step::Half, "enter")?,
            down: block(w, 2 * w, Step::Half, "down")?,
            middle: block(2 * w, 2 * w, Step::Same, "middle")?,
            up: block(3 * w, w, Step::Double, "up")?,
            fine: conv(w + INPUTS, w, Step::Double, Start::Scaled(1.0), "fine")?,
            out: conv(w, 1, Step::Same, Start::Zero, "out")?,
        })
    }

    pub fn scale(&self) -> usize {
        self.scale
    }

    /// Alpha (N, 1, H, W) from conditions of that size and a prediction that is `scale` times smaller; not clamped.
    pub fn forward(&self, c: &Conditions, p: &Prediction) -> Result<Tensor> {
        let last = |x: &Tensor| x.permute((0, 2, 3, 1));
        let plate = last(&c.plate)?;
        let small = last(&Tensor::cat(&[&p.background, &p.foreground], 1)?)?;
        let said = upsample(&small, self.scale)?;
        let (background, front, alpha) = (
            said.narrow(3, 0, 3)?,
            said.narrow(3, 3, 3)?,
            said.narrow(3, 6, 1)?,
        );
        let through = alpha.affine(-1.0, 1.0)?;
        let left = ((&plate - &front)? - background.broadcast_mul(&through)?)?;
        let inputs = Tensor::cat(&[&plate, &last(&c.mask)?, &said, &left], 3)?.contiguous()?;
        let half = self.enter.forward(&inputs, None)?;
        let quarter = self.middle.forward(&self.down.forward(&half, None)?, None)?;
        let half = self.up.forward(&quarter, Some(&half))?;
        let fine = silu(&self.fine.forward(&half, Some(&inputs))?)?;
        let alpha = (alpha + self.out.forward(&fine, None)?)?;
        alpha.permute((0, 3, 1, 2))?.contiguous()
    }
}
