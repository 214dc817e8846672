//! CUDA kernels of the decomposer and the plate.
//!
//! The kernels in `cu/` have one source for two machines: nvcc compiles them for cards (feature `cuda`), and a C++ compiler for
//! the CPU, where `emulate/` plays the card and looks for races. The launchers in [`ops`] know
//! neither: they compute grids and arguments and hand them to a [`Card`]. What a kernel has to give is written down once more in
//! plain Rust, its twin in [`twin`]; the suite compares the two.
//!
//! # Numbers and memory
//!
//! Activations between matrix products are bf16; sums, norms, softmax and the residual stream are f32. Tokens are (samples, tokens,
//! features); queries, keys and values lie packed in one row of 3 heads features, so that a condition pass's rows serve as a
//! cache without being copied. Pictures are channels-last between convolutions and in planes at the network's ends. Weights are (outputs,
//! inputs), a multiple of 8 inputs, so that rows are read in 16 bytes at a time. The plate is premultiplied RGBA in f32.
//!
//! # Tolerances
//!
//! Held by the suite, in units of `1 + |wanted|`: 1/256 where a result is bf16 (half a unit of its 8 bits), twice that for
//! attention, whose weights pass through bf16 as well; 1e-5 for f32 results of bf16 products; 1e-4 for the plate's curves. The
//! samplers' sums, `over` and `recompose` are equal to the bit. A whole network is within 0.03 of full scale of the CPU's.
//!
//! The backward pass ([`ops::back`]) takes slopes in bf16 into products and gives f32, and is held to the same limits in units of the largest
//! number wanted.
//!
//! # Why cudarc, and not candle's CUDA
//!
//! candle links CUDA's libraries when it is built with CUDA, so such a program does not start without a driver; and its kernels,
//! most of which the network does not use, take an hour of nvcc. cudarc alone loads the driver when it is asked to: one
//! program starts with and without a card.
//!
//! # Execution
//!
//! [`Arena`] gives work over one size its memory in one piece; [`Card::record`] writes its launches down (a CUDA graph) and
//! [`Card::replay`] starts them all. Copies go through two pieces of pinned memory.

mod arena;
pub mod card;
#[cfg(feature = "cuda")]
mod cuda;
pub mod ops;
mod probe;
/// Which kernels there are.
pub mod names {
    include!("names.rs");
}
pub mod twin;

pub use arena::{Arena, Piece};
pub use card::{Argument, Buffer, Card, Error, Launch, Result, Span, within};
#[cfg(feature = "cuda")]
pub use cuda::Cuda;
pub use probe::{Found, probe};
