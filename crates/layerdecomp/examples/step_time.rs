//! Times of a forward call and of a training step: `cargo run --release -p peel-layerdecomp --example step_time`.
//!
//! Run it with `RAYON_NUM_THREADS=1` for one core: the times are then CPU time where the system tells it, so that other
//! work on the machine disturbs them less. Arguments: repetitions (default 3), then preset names (`small`, `tiny`).

use std::time::Instant;

use candle_core::{Device, Tensor};
use candle_nn::VarMap;
use peel_layerdecomp::{
    Conditions, Config, Model, Noise, Noisy, Result, SMALL, Sampling, TINY, seeded_builder,
};

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let repeat = arguments.first().and_then(|a| a.parse().ok()).unwrap_or(3);
    let wanted = |name: &str| arguments.len() < 2 || arguments[1..].iter().any(|a| a == name);
    for (name, preset) in [("small", SMALL), ("tiny", TINY)] {
        if wanted(name) {
            time(name, &Config::from_ron(preset)?, repeat)?;
        }
    }
    Ok(())
}

fn time(name: &str, config: &Config, repeat: usize) -> Result<()> {
    let device = Device::Cpu;
    let map = VarMap::new();
    let model = Model::new(config, seeded_builder(&map, 1, &device))?;
    let parameters: usize = map.all_vars().iter().map(|v| v.elem_count()).sum();
    report(&format!(
        "{name}: {:.2} M parameters, {} threads",
        parameters as f64 / 1e6,
        rayon::current_num_threads()
    ));
    for (size, batch) in [(64, 16), (128, 16), (128, 1), (256, 1)] {
        let noise = |channels: usize, seed: u64| {
            Noise::new(seed, 0).normal_tensor((batch, channels, size, size), &device)
        };
        let conditions = Conditions {
            plate: noise(3, 1)?.clamp(0f32, 1f32)?,
            mask: noise(1, 2)?.ge(0f32)?.to_dtype(candle_core::DType::F32)?,
        };
        let z = Noisy {
            background: noise(3, 3)?,
            foreground: noise(4, 4)?,
            time: Tensor::full(0.3f32, batch, &device)?,
        };
        let forward = best(repeat, || model.predict(&conditions, &z).map(drop))?;
        let mut line = format!(
            "  {size} px, batch {batch:2}: forward {forward:8.1} ms, {:7.2} a sample",
            forward / batch as f64
        );
        if batch > 1 {
            let step = best(repeat, || {
                let p = model.predict(&conditions, &z)?;
                let loss = (p.background.sqr()?.mean_all()? + p.foreground.sqr()?.mean_all()?)?;
                loss.backward()?;
                Ok(())
            })?;
            line += &format!(
                ", with backward {step:8.1} ms, {:7.2} a sample",
                step / batch as f64
            );
        } else {
            let opts = Sampling::default();
            let sample = best(repeat, || {
                model.sample(&conditions, &opts, &|_, _| true).map(drop)
            })?;
            line += &format!(", sampled in one call {sample:8.1} ms");
        }
        report(&line);
    }
    Ok(())
}

/// The shortest of some runs, in milliseconds.
fn best(repeat: usize, mut work: impl FnMut() -> Result<()>) -> Result<f64> {
    let mut shortest = f64::INFINITY;
    for _ in 0..repeat {
        let (start, busy) = (Instant::now(), cpu_ms());
        work()?;
        let wall = start.elapsed().as_secs_f64() * 1e3;
        shortest = shortest.min(cpu_ms().zip(busy).map_or(wall, |(now, before)| now - before));
    }
    Ok(shortest)
}

/// CPU time of this thread so far, if it is the only one that computes and the system tells.
fn cpu_ms() -> Option<f64> {
    if rayon::current_num_threads() > 1 {
        return None;
    }
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    text.split_whitespace()
        .next()?
        .parse::<f64>()
        .ok()
        .map(|ns| ns / 1e6)
}

#[allow(clippy::print_stdout)]
fn report(line: &str) {
    println!("{line}");
}
