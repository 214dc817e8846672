//! Whether bf16 pays while training on this CPU: prints a Markdown table of times.
//!
//!     RAYON_NUM_THREADS=1 cargo run --release -p peel-train --example bf16 -- [REPETITIONS]
//!
//! A processor with bf16 products (AVX-512 BF16, AMX) does two to four of them in the time of one in f32; one without has to widen
//! every operand first. And activations kept in bf16 for the backward pass halve the memory that they take, at the price of rounding
//! each as it is made and widening it as it is used. The shapes are those of a training step of layerdecomp-s: 16 pictures of 64
//! pixels, tokens and features through a feed-forward layer, and pixels through a convolution as a product.

use std::hint::black_box;
use std::io::Write as _;
use std::time::Instant;

use candle_core::{DType, Device, Tensor};

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

fn main() -> Outcome<()> {
    let repeat: usize = std::env::args().nth(1).map_or(Ok(100), |a| a.parse())?;
    let mut out = String::from(
        "| product | f32 | bf16 operands, widened | candle's own bf16 | rounding and widening the input | copying it in f32 |\n\
         | --- | --- | --- | --- | --- | --- |\n",
    );
    for (rows, inputs, outputs) in [(2048, 128, 512), (2048, 512, 128), (16_384, 216, 24)] {
        let x = Tensor::randn(0f32, 1.0, (rows, inputs), &Device::Cpu)?;
        let w = Tensor::randn(0f32, 0.1, (inputs, outputs), &Device::Cpu)?;
        let (x16, w16) = (x.to_dtype(DType::BF16)?, w.to_dtype(DType::BF16)?);
        let plain = mean(repeat, || x.matmul(&w))?;
        let widened = mean(repeat, || {
            x16.to_dtype(DType::F32)?.matmul(&w16.to_dtype(DType::F32)?)
        })?;
        let own =
            mean(repeat, || x16.matmul(&w16)).map_or_else(|_| "not there".into(), |ms| format!("{ms:.2} ms"));

        let values = x.flatten_all()?.to_vec1::<f32>()?;
        let mut kept = vec![0u16; values.len()];
        let mut back = vec![0f32; values.len()];
        let store = mean(repeat, || {
            round(&values, &mut kept);
            widen(black_box(&kept), &mut back);
            Ok(black_box(&mut back)[0])
        })?;
        let copy = mean(repeat, || {
            back.copy_from_slice(black_box(&values));
            Ok(black_box(&mut back)[0])
        })?;
        out += &format!(
            "| {rows} x {inputs} x {outputs} | {plain:.2} ms | {widened:.2} ms | {own} | {store:.2} ms | {copy:.2} ms |\n"
        );
    }
    std::io::stdout().write_all(out.as_bytes())?;
    Ok(())
}

/// To the nearest bf16, ties to even; not a number is not looked for.
fn round(from: &[f32], to: &mut [u16]) {
    for (x, y) in from.iter().zip(to) {
        let bits = x.to_bits();
        *y = ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16) as u16;
    }
}

fn widen(from: &[u16], to: &mut [f32]) {
    for (x, y) in from.iter().zip(to) {
        *y = f32::from_bits(u32::from(*x) << 16);
    }
}

/// The mean of some runs, in milliseconds of this thread's CPU time where the system tells it (in steps of a few milliseconds).
fn mean<T>(repeat: usize, mut work: impl FnMut() -> candle_core::Result<T>) -> candle_core::Result<f64> {
    work()?;
    let (start, busy) = (Instant::now(), cpu_ms());
    for _ in 0..repeat.max(1) {
        black_box(work()?);
    }
    let wall = start.elapsed().as_secs_f64() * 1e3;
    let spent = cpu_ms().zip(busy).map_or(wall, |(now, before)| now - before);
    Ok(spent / repeat.max(1) as f64)
}

fn cpu_ms() -> Option<f64> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    text.split_whitespace()
        .next()?
        .parse::<f64>()
        .ok()
        .map(|ns| ns / 1e6)
}
