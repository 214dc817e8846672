//! Peel's pixels: windows, layers, mattes and stacks, and the maths on them.
//!
//! Everything inside Peel is scene-linear, premultiplied (associated) RGBA in `f32`. This crate knows
//! nothing of files, graphs or models.

mod layer;
mod matte;
mod rect;
mod stack;

pub use layer::{Layer, Pixel, TRANSPARENT};
pub use matte::Matte;
pub use rect::Rect;
pub use stack::{NamedLayer, Stack};
