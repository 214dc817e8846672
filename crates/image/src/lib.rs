//! Peel's pixels: windows, layers, mattes and stacks, and the maths on them.
//!
//! Everything inside Peel is scene-linear, premultiplied (associated) RGBA in `f32`. This crate knows
//! nothing of files, graphs or models.

pub mod colour;
pub mod diff;
pub mod math;
pub mod matte_ops;
pub mod quantise;
pub mod recolor;
pub mod shape;

mod filter;
mod layer;
mod matrix;
mod matte;
mod merge;
mod morphology;
mod name;
mod pixels;
mod planes;
mod rect;
mod resample;
mod stack;
mod transpose;

pub use colour::ColourSpace;
pub use filter::Filter;
pub use layer::{Layer, Pixel, TRANSPARENT};
pub use matrix::Matrix;
pub use matte::Matte;
pub use merge::MergeOp;
pub use rect::Rect;
pub use resample::{resample, resample_into, resampled_window, source_region};
pub use stack::{NamedLayer, Stack};
pub use transpose::transposed;
