//! Between plate and model: encoding of light, crops, the full-resolution solver, exact recomposition.
//!
//! The model works small and display-referred; a plate is large, scene-linear and has highlights. For each
//! masked object, [`peel_one`] crops the plate around the mask, encodes its light ([`Light`]), asks a
//! [`Decomposer`] for background and foreground at model size, and brings both to the plate's resolution so
//! that the plate's own pixels survive wherever they can:
//!
//! 1. where the effect has no alpha, the background *is* the plate, bit for bit;
//! 2. in shadow, the background is the plate divided by the transmittance, so that texture stays;
//! 3. under the object, low frequencies come from the model, joined to the surroundings without a seam;
//! 4. the layers lay back together exactly: see [`settle`], which also takes a whole chain of steps.
//!
//! Nothing here depends on the number of threads: work is split over rows, and within a row the order of
//! arithmetic is fixed.

mod card;
mod cells;
mod crop;
mod decomposer;
mod error;
mod exact;
mod f16;
mod filters;
mod inset;
mod light;
mod network;
mod options;
mod order;
mod peel;
mod plane;
mod pushpull;
mod region;
mod report;
mod separate;
mod settle;
mod solver;

pub mod sequence;

pub use card::PlateCard;
pub use decomposer::{Decomposer, Prediction};
pub use error::{Error, Result};
pub use light::Light;
pub use network::Network;
pub use options::{Options, Quality};
pub use order::{Occlusion, front_most_first, occlusion};
pub use peel::{Step, peel_near, peel_one};
pub use peel_layerdecomp::{Sampler, Sampling, Spacing};
pub use plane::{Plane, Rgb, Rgba};
pub use report::Report;
pub use separate::{Parts, separate};
pub use settle::settle;
