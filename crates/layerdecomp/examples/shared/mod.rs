//! What the timing examples share: inputs, clocks, a line on standard output.

use std::time::Instant;

use candle_core::{DType, Device, Tensor};
use peel_layerdecomp::{Conditions, Noise, Noisy, Result};

/// Noise as plates, masks and noisy layers: a batch of square pictures.
pub fn inputs(batch: usize, size: usize) -> Result<(Conditions, Noisy)> {
    let device = Device::Cpu;
    let noise = |channels: usize, seed: u64| {
        Noise::new(seed, 0).normal_tensor((batch, channels, size, size), &device)
    };
    let conditions = Conditions {
        plate: noise(3, 1)?.clamp(0f32, 1f32)?,
        mask: noise(1, 2)?.ge(0f32)?.to_dtype(DType::F32)?,
    };
    let noisy = Noisy {
        background: noise(3, 3)?,
        foreground: noise(4, 4)?,
        time: Tensor::full(0.3f32, batch, &device)?,
    };
    Ok((conditions, noisy))
}

/// A measurement lasts so long at least, in milliseconds: the system adds up a thread's time by ticks of a few.
const LEAST_MS: f64 = 200.0;

/// The shortest of some measurements, in milliseconds: of CPU time on one thread, so that other work on the machine disturbs less. What
/// takes less than [`LEAST_MS`] is run so many times in each that it does not, and the mean counts.
pub fn best(repeat: usize, mut work: impl FnMut() -> Result<()>) -> Result<f64> {
    let start = Instant::now();
    work()?;
    let runs = (LEAST_MS / (start.elapsed().as_secs_f64() * 1e3))
        .clamp(1.0, 1000.0)
        .ceil();
    let mut shortest = f64::INFINITY;
    for _ in 0..repeat {
        let (start, busy) = (Instant::now(), cpu_ms());
        for _ in 0..runs as usize {
            work()?;
        }
        let wall = start.elapsed().as_secs_f64() * 1e3;
        shortest = shortest.min(cpu_ms().zip(busy).map_or(wall, |(now, before)| now - before) / runs);
    }
    Ok(shortest)
}

/// CPU time of this thread so far, if it is the only one that computes and the system tells.
fn cpu_ms() -> Option<f64> {
    if rayon::current_num_threads() > 1 {
        return None;
    }
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    let nanoseconds: f64 = text.split_whitespace().next()?.parse().ok()?;
    Some(nanoseconds / 1e6)
}

#[allow(clippy::print_stdout)] // Printing is what it is for.
pub fn report(line: &str) {
    println!("{line}");
}
