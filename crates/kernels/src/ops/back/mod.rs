//! The backward pass: slopes of a loss by what a layer gave, to slopes by what it took.
//!
//! What goes into a matrix product is bf16; what comes out of one is f32. Slopes of parameters are added to what is there, since passes
//! are summed up and parameters serve twice; they are f32 in the order in which training keeps them.

mod attention;
mod conv;
mod linear;
mod norm;
mod steps;
mod sums;

pub use attention::{Found, attention_back, qk_norm_back};
pub use conv::{conv3x3_back_input, conv3x3_back_skip, conv3x3_back_weight};
pub use linear::{linear_back_input, linear_back_weight};
pub use norm::{group_norm_back, norm_modulate_back};
pub use steps::{
    Padded, Update, activate, activate_back, adamw, add_columns, copy, fill, gated_add, gated_add_back,
    kernel_rows, mark, narrow, narrow_into, narrow_rows, planes_back,
};
pub(super) use sums::sum_into;
pub use sums::{bias_back, norm_of};

use crate::card::{Buffer, Card, Span};

/// Where what is said of a modulation, or of a gate, is added.
#[derive(Debug)]
pub struct Told<'a, C: Card> {
    /// As its base; none where that does not learn.
    pub base: Option<Span<'a, C, f32>>,
    /// As the values of its time, each sample's where they lie.
    pub time: Option<&'a Buffer<C, f32>>,
}
