//! Times of a forward call and of a training step: `cargo run --release -p peel-layerdecomp --example step_time`.
//!
//! Run it with `RAYON_NUM_THREADS=1` for one core: the times are then CPU time where the system tells it, so that other
//! work on the machine disturbs them less. Arguments: repetitions (default 3), then preset names (`small`, `tiny`, or `shipped`: the network
//! of `weights/layerdecomp-s` without what it is told of the plate beforehand, patches and shadows, which are no layers of a network).

mod shared;

use std::path::Path;

use candle_core::Device;
use candle_nn::VarMap;
use peel_layerdecomp::{Config, Model, Result, SMALL, Sampling, TINY, TokenizerConfig, seeded_builder};
use shared::{best, inputs, report};

/// The allocator of `peel`, whose times these are to be.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let repeat = arguments.first().and_then(|a| a.parse().ok()).unwrap_or(3);
    let wanted = |name: &str| arguments.len() < 2 || arguments[1..].iter().any(|a| a == name);
    let mut shipped =
        Config::load(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../../weights/layerdecomp-s/config.ron"))?;
    if let TokenizerConfig::Pixels { patches, casts, .. } = &mut shipped.tokenizer {
        (*patches, *casts) = (false, false);
    }
    let presets = [
        ("small", Config::from_ron(SMALL)?),
        ("tiny", Config::from_ron(TINY)?),
        ("shipped", shipped),
    ];
    for (name, config) in presets {
        if wanted(name) {
            time(name, &config, repeat)?;
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
        let (conditions, z) = inputs(batch, size)?;
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
