//! What each kernel has to give, in plain Rust on slices: sums in f64, one formula a function, no attention to speed.
//!
//! `view` and `paint` have no twin here: what they have to give is the plate's own solver, and its tests compare the two.
//!
//! Numbers that a kernel reads as bf16 are given here as the f32 that they stand for.

mod network;
mod plate;

pub use network::{
    Conv, attention, combine, consistency, conv3x3, gelu, group_norm, linear, norm_modulate, patchify,
    planes, qk_norm, silu,
};
pub use plate::{decode, encode, over, recompose, unshadow};
