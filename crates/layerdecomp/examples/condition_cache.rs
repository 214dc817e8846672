//! What the condition cache is worth: `cargo run --release -p peel-layerdecomp --example condition_cache [REPEAT] [STEPS]`.
//!
//! One picture, 10 steps, three ways: keys and values of the condition streams computed once (as sampling does); the same
//! network with the condition pass repeated in every step, which gives the same bytes; and a network in which the condition
//! tokens see the noisy ones, so that nothing can be kept. Run it with `RAYON_NUM_THREADS=1` for CPU time.

mod shared;

use candle_core::Device;
use candle_nn::VarMap;
use peel_layerdecomp::{Config, Model, Result, SMALL, seeded_builder};
use shared::{best, inputs, report};

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1).map(|a| a.parse::<usize>().ok());
    let repeat = arguments.next().flatten().unwrap_or(5);
    let steps = arguments.next().flatten().unwrap_or(10);
    let small = Config::from_ron(SMALL)?;
    let apart = Config {
        fold_mask: false,
        join: false,
        centre: false,
        ..small.clone()
    };
    report(&format!(
        "{steps} steps, {} threads, ms a step",
        rayon::current_num_threads()
    ));
    report("px   streams  cached  repeated  seeing noise  repeated/cached  seeing/cached");
    for size in [128, 256, 512] {
        for config in [&small, &apart] {
            time(config, size, repeat, steps)?;
        }
    }
    Ok(())
}

fn time(config: &Config, size: usize, repeat: usize, steps: usize) -> Result<()> {
    let joint = Config {
        condition_cache: false,
        ..config.clone()
    };
    let build = |config: &Config| Model::new(config, seeded_builder(&VarMap::new(), 1, &Device::Cpu));
    let (cached, joint) = (build(config)?, build(&joint)?);
    let (conditions, z) = inputs(1, size)?;
    let (mut once, mut repeated, mut seeing) = (f64::INFINITY, f64::INFINITY, f64::INFINITY);
    // One after the other in each round: whatever else the machine does falls on all three.
    for _ in 0..repeat {
        let kept = |model: &Model| -> Result<()> {
            let conditioned = model.condition(&conditions)?;
            (0..steps).try_for_each(|_| model.clean(&conditioned, &z).map(drop))
        };
        once = once.min(best(1, || kept(&cached))?);
        repeated = repeated.min(best(1, || {
            (0..steps).try_for_each(|_| {
                let conditioned = cached.condition(&conditions)?;
                cached.clean(&conditioned, &z).map(drop)
            })
        })?);
        seeing = seeing.min(best(1, || kept(&joint))?);
    }
    let each = |ms: f64| ms / steps as f64;
    report(&format!(
        "{size:<4} {:>7} {:>7.1} {:>9.1} {:>13.1} {:>16.2} {:>14.2}",
        if config.fold_mask { 3 } else { 4 },
        each(once),
        each(repeated),
        each(seeing),
        repeated / once,
        seeing / once
    ));
    Ok(())
}
