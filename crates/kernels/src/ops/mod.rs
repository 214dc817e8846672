//! The launchers: sizes checked, grids computed. The same code drives a real and an emulated card.

mod attention;
pub mod back;
mod latents;
mod linear;
mod loss;
mod norm;
mod paint;
mod pictures;
mod plate;

pub use attention::{Tokens, attention, attention_kept, qk_norm, qk_norm_kept};
pub use latents::Moments;
pub use linear::{
    Conv, Ending, Gate, Place, Residual, Step, Values, Weight, conv3x3, linear, linear_gated,
    linear_gated_into, linear_into,
};
pub use loss::{Compared, Layer, Terms};
pub use norm::{GroupNorm, Modulation, group_norm, group_norm_kept, less_means, norm_modulate};
pub use paint::{PLANES, Settled, Window, paint, view};
pub use pictures::{
    Layout, REFINER_INPUTS, add_pictures, combine, patchify, planes, refiner_inputs, softmax_rows,
    softmax_rows_back, unpatchify,
};
pub use plate::{Light, decode, encode, over, recompose, unshadow};

use crate::card::{Argument, Card, Error, Launch, Result};

/// Activations that an epilogue applies; the numbers are those of `cu/linear.cu`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activation {
    /// Nothing.
    None = 0,
    /// The tanh form of GELU.
    Gelu = 1,
    /// `x / (1 + e^-x)`
    Silu = 2,
}

fn check(what: &'static str, holds: bool, reason: impl FnOnce() -> String) -> Result<()> {
    if holds {
        Ok(())
    } else {
        Err(Error::Shape {
            what,
            reason: reason(),
        })
    }
}

/// A size as a kernel's `int`.
fn int<M>(what: &'static str, v: usize) -> Result<Argument<'static, M>> {
    match i32::try_from(v) {
        Ok(v) => Ok(Argument::Int(v)),
        Err(_) => Err(Error::Shape {
            what,
            reason: format!("{v} is more than a kernel counts to"),
        }),
    }
}

/// A size as a number of blocks.
fn blocks(what: &'static str, v: usize) -> Result<u32> {
    u32::try_from(v).map_err(|_| Error::Shape {
        what,
        reason: format!("{v} blocks are more than a grid has"),
    })
}

/// Threads of an elementwise kernel, and most blocks: enough to fill any card, after which each thread takes several numbers.
const THREADS: usize = 256;
const MOST_BLOCKS: usize = 1 << 14;

/// Blocks of a kernel that gives each thread a number.
fn elementwise(count: usize) -> [u32; 3] {
    let blocks = count.div_ceil(THREADS).clamp(1, MOST_BLOCKS);
    [blocks as u32, 1, 1]
}

/// Starts an elementwise kernel.
fn each<C: Card>(
    card: &C,
    kernel: &'static str,
    count: usize,
    arguments: &[Argument<'_, C::Memory>],
) -> Result<()> {
    card.launch(&Launch {
        kernel,
        grid: elementwise(count),
        threads: THREADS as u32,
        shared: 0,
        arguments,
    })
}
