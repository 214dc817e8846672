//! Whether there is a card, without starting anything.

/// What [`probe`] found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// A card that the kernels run on.
    Device {
        /// Its name, such as `NVIDIA H100 80GB HBM3`.
        name: String,
        /// Compute capability, such as (9, 0).
        capability: (i32, i32),
        /// Bytes of its memory.
        memory: usize,
    },
    /// None, and why, in words for a user.
    None(String),
}

/// Least compute capability: bf16 matrix units came with 8.0.
#[cfg(feature = "cuda")]
pub(crate) const LEAST_CAPABILITY: (i32, i32) = (8, 0);

/// Looks for card `ordinal`. Never fails: a missing driver is an answer.
#[must_use]
pub fn probe(ordinal: usize) -> Found {
    #[cfg(feature = "cuda")]
    {
        match crate::cuda::look(ordinal) {
            Ok(found) => found,
            Err(e) => Found::None(e.to_string()),
        }
    }
    #[cfg(not(feature = "cuda"))]
    {
        let _ = ordinal;
        Found::None("this build has no CUDA in it; build it with --features cuda".into())
    }
}
