//! What Decompose's parameters choose between.

use peel_layerdecomp::weights::Precision;
use peel_node::{Choice, Params};
use peel_plate::Light;

/// Which object stands before which.
#[derive(Choice, Clone, Copy, PartialEq, Eq, Debug)]
pub enum Order {
    /// As masks are listed.
    AsListed,
    /// As the plate shows it, frame by frame; as listed where it shows nothing of it.
    Auto,
}

/// Where what no frame shows comes from.
#[derive(Choice, Clone, Copy, PartialEq, Eq, Debug)]
pub enum MadeUp {
    /// From the key frame: it is the same until the next.
    KeyFrame,
    /// Sampled on each frame, starting from its neighbour's result; key frames start anew. A frame rendered alone costs
    /// the frames from its key frame on. Takes two `steps` at least: one call starts from nothing.
    Neighbour,
}

/// How the camera moves.
#[derive(Choice, Clone, Copy, PartialEq, Eq, Debug)]
pub enum Motion {
    /// Unknown: each frame is on its own.
    Off,
    /// Not at all.
    Locked,
    /// It pans, turns or zooms, or moves before something flat.
    Homography,
}

/// How light is shown to the model.
#[derive(Params, Clone, Debug)]
pub struct LightShown {
    /// More or less light.
    #[param(default = 0.0, unit = "stops", soft = -5.0..=5.0, hard = -20.0..=20.0)]
    exposure: f32,
    /// Where a linear 1 lies on the model's scale; below 1 leaves room for highlights.
    #[param(default = 1.0, hard = 0.5..=1.0)]
    white: f32,
}

impl LightShown {
    pub(super) fn light(&self) -> Light {
        Light {
            exposure: self.exposure.exp2(),
            white: self.white,
        }
    }
}

/// Where the model runs.
#[derive(Choice, Clone, Copy, Debug)]
pub enum Where {
    /// The processor.
    Cpu,
    /// The first NVIDIA card.
    Cuda,
}

/// How the weights of linear layers are kept in memory; sums are f32.
#[derive(Choice, Clone, Copy, Debug)]
pub enum Weights {
    /// 32 bits.
    F32,
    /// 16 bits with 11 bits of precision.
    F16,
    /// 16 bits with 8 bits of precision and the range of f32.
    Bf16,
    /// 8 bits, with a scale for each row.
    Int8,
}

impl Weights {
    pub(super) fn precision(self) -> Precision {
        match self {
            Weights::F32 => Precision::F32,
            Weights::F16 => Precision::F16,
            Weights::Bf16 => Precision::Bf16,
            Weights::Int8 => Precision::Int8,
        }
    }
}
