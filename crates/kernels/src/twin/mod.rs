//! What each kernel has to give, in plain Rust on slices: sums in f64, one formula a function, no attention to speed.
//!
//! `view` and `paint` have no twin here: what they have to give is the plate's own solver, and its tests compare the two.
//!
//! Numbers that a kernel reads as bf16 are given here as the f32 that they stand for.

mod back;
mod latents;
mod loss;
mod network;
mod plate;

pub use back::{
    attention_back, conv3x3_back, group_norm_back, linear_back, norm_modulate_back, qk_norm_back, slope,
    softmax_rows_back,
};
pub use latents::{draw_latents, draw_latents_back};
pub use loss::{consistency, layer_errors, pixel_weights};
pub use network::{
    Conv, attention, combine, conv3x3, gelu, group_norm, less_means, linear, norm_modulate, patchify, planes,
    qk_norm, refiner_inputs, silu, softmax_rows,
};
pub use plate::{decode, encode, over, recompose, unshadow};
