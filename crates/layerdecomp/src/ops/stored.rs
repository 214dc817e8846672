//! Weights of linear layers as they are kept: in f32, or in fewer bits and widened as they are needed.

use std::sync::Arc;

use candle_core::backend::BackendStorage;
use candle_core::{CpuStorage, Layout, Result, bail};
use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};

use super::simd::dispatched;
use crate::weights::restore;

/// Rows of a weight, each of `inputs` numbers.
pub(super) enum Rows<'a> {
    F32(&'a [f32]),
    F16(&'a [f16]),
    Bf16(&'a [bf16]),
    /// Whole numbers, and a scale for each row.
    Whole(&'a [u8], &'a [f32]),
}

impl<'a> Rows<'a> {
    /// The rows behind an argument of a custom op: f32, f16, bf16, or u8 with a scale for each row.
    pub fn of(storage: &'a CpuStorage, layout: &Layout, scale: Option<&'a Arc<[f32]>>) -> Result<Self> {
        let rows = layout.dims().first().copied().unwrap_or(0);
        Ok(match (storage, scale) {
            (CpuStorage::F32(w), None) => Self::F32(part(w, layout)?),
            (CpuStorage::F16(w), None) => Self::F16(part(w, layout)?),
            (CpuStorage::BF16(w), None) => Self::Bf16(part(w, layout)?),
            (CpuStorage::U8(w), Some(scale)) if scale.len() == rows => Self::Whole(part(w, layout)?, scale),
            (other, scale) => bail!(
                "a linear layer's weight cannot be {rows} rows of {:?} {} scales",
                other.dtype(),
                if scale.is_some() { "with other" } else { "without" }
            ),
        })
    }

    /// Fills `to` with whole rows from `row` on.
    pub fn widen(&self, row: usize, inputs: usize, to: &mut [f32]) {
        let range = row * inputs..row * inputs + to.len();
        match self {
            Self::F32(w) => to.copy_from_slice(&w[range]),
            Self::F16(w) => w[range].convert_to_f32_slice(to),
            Self::Bf16(w) => w[range].convert_to_f32_slice(to),
            Self::Whole(w, scale) => {
                let rows = w[range].chunks_exact(inputs).zip(&scale[row..]);
                for (to, (from, scale)) in to.chunks_exact_mut(inputs).zip(rows) {
                    restore_row(from, *scale, to);
                }
            }
        }
    }
}

dispatched! {
    fn restore_row(numbers: &[u8], scale: f32, to: &mut [f32]) {
        for (to, number) in to.iter_mut().zip(numbers) {
            *to = restore(*number, scale);
        }
    }
}

/// The contiguous part of a buffer.
fn part<'a, T>(all: &'a [T], layout: &Layout) -> Result<&'a [T]> {
    match layout.contiguous_offsets() {
        Some((start, end)) => Ok(&all[start..end]),
        None => bail!("weights are contiguous, got {layout:?}"),
    }
}
