//! Fused CPU operations with hand-written gradients.
//!
//! Candle's composed layers pass over memory once for every broadcast and reduction, and its convolution gradient
//! is an order of magnitude behind its matrix product. Each operation here is a [`candle_core::CustomOp1`] (or 2,
//! 3) that does the whole layer at once, forward and backward. Pictures are channels-last, `(N, H, W, C)`.
//!
//! The same bytes come out whatever the number of threads and whether or not the machine has AVX2 or AVX-512: work is
//! cut into pieces by its shape alone, every sum has one order, and all code paths use fused multiply-add.

pub(crate) mod activation;
pub(crate) mod attention;
pub(crate) mod composed;
pub(crate) mod conv;
pub(crate) mod gemm;
pub(crate) mod group_norm;
pub(crate) mod kernel;
pub(crate) mod linear;
mod math;
pub(crate) mod norm;
pub(crate) mod orthogonal;
mod scratch;
pub(crate) mod simd;
mod stored;
#[cfg(test)]
pub(crate) mod testing;
mod transpose;
pub(crate) mod upsample;

use candle_core::{CpuStorage, Layout, Result, Storage, bail};
use rayon::prelude::*;

/// The values behind a contiguous f32 argument of a custom op.
fn values<'a>(storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [f32]> {
    match layout.contiguous_offsets() {
        Some((start, end)) => Ok(&storage.as_slice::<f32>()?[start..end]),
        None => bail!("fused operations want contiguous arguments, got {layout:?}"),
    }
}

/// The values behind a contiguous f32 tensor on the CPU.
fn tensor_values<'a>(storage: &'a Storage, layout: &Layout) -> Result<&'a [f32]> {
    match storage {
        Storage::Cpu(cpu) => values(cpu, layout),
        _ => bail!("fused gradients exist on the CPU only"),
    }
}

/// Binds contiguous f32 slices of tensors to names: `slices!(x = &tensor, ..)`.
macro_rules! slices {
    ($($name:ident = $tensor:expr),+ $(,)?) => {
        $(
            let contiguous = $tensor.contiguous()?;
            let (storage, layout) = contiguous.storage_and_layout();
            let $name = $crate::ops::tensor_values(&storage, layout)?;
        )+
    };
}
pub(crate) use slices;

/// Runs `work(index, chunk)` over `data` cut into pieces of `size`, in parallel where there are threads.
/// The pieces do not depend on the number of threads.
fn for_each_chunk<T: Send>(data: &mut [T], size: usize, work: impl Fn(usize, &mut [T]) + Sync + Send) {
    let size = size.max(1);
    if data.len() <= size || rayon::current_num_threads() == 1 {
        data.chunks_mut(size)
            .enumerate()
            .for_each(|(i, chunk)| work(i, chunk));
    } else {
        data.par_chunks_mut(size)
            .enumerate()
            .for_each(|(i, chunk)| work(i, chunk));
    }
}

/// Elements of an element-wise operation that one task handles.
const ELEMENTS_PER_TASK: usize = 1 << 14;
