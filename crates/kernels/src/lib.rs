//! CUDA kernels of the decomposer and the plate.
//!
//! The kernels in `cu/` have one source for two machines: nvcc compiles them for cards (feature `cuda`), and a C++ compiler for
//! the CPU, where `emulate/` plays the card and looks for races. The launchers in [`ops`] know
//! neither: they compute grids and arguments and hand them to a [`Card`]. What a kernel has to give is written down once more in
//! plain Rust, its twin in [`twin`]; the suite compares the two.
//!
//! Numbers: activations between matrix products are bf16, sums, norms and the residual stream f32.

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

pub use card::{Argument, Buffer, Card, Error, Launch, Result};
#[cfg(feature = "cuda")]
pub use cuda::Cuda;
pub use probe::{Found, probe};
