//! Times of a forward call and of a training step: `cargo run --release -p peel-layerdecomp --example step_time`.
//!
//! Run it with `RAYON_NUM_THREADS=1` for one core: the times are then CPU time where the system tells it, so that other
//! work on the machine disturbs them less. Arguments: repetitions (default 3), then preset names (`small`, `tiny`, or `shipped`: the network
//! of `weights/layerdecomp-s` without what it is told of the plate beforehand, patches and shadows, which are no layers of a network; `hints`: those).

mod shared;

use std::path::Path;

use candle_core::{DType, Device, Tensor};
use candle_nn::VarMap;
use peel_layerdecomp::{
    Config, Model, Noise, Result, SMALL, Sampling, TINY, TokenizerConfig, cast_guesses, patch_fill,
    push_pull, seeded_builder,
};
use shared::{best, inputs, report};

/// The allocator of `peel`, whose times these are to be.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Blotches of the plate for `hints` are so many pixels wide.
const BLOTCH: usize = 8;

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
    if wanted("hints") {
        hints(repeat)?;
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

/// What the shipped network is told of a plate beforehand: of blotches with a grain, and a disc on a tenth of it.
fn hints(repeat: usize) -> Result<()> {
    for size in [128, 256] {
        let (plate, mask) = scene(size)?;
        let smooth = best(repeat, || push_pull(&plate, &mask, 2).map(drop))?;
        let patches = best(repeat, || patch_fill(&plate, &mask, 2).map(drop))?;
        let casts = best(repeat, || cast_guesses(&plate, &mask).map(drop))?;
        report(&format!(
            "hints, {size} px: smooth filling {smooth:.2} ms, filling with patches {patches:.2} ms (a look takes two), shadow guesses {casts:.2} ms"
        ));
    }
    Ok(())
}

/// A plate and the mask of its object.
fn scene(size: usize) -> Result<(Tensor, Tensor)> {
    let device = Device::Cpu;
    let noise = |side: usize, seed: u64| Noise::new(seed, 0).normal_tensor((1, 3, side, side), &device);
    let blotches = noise(size / BLOTCH, 1)?.upsample_nearest2d(size, size)?;
    let plate = (blotches.affine(0.15, 0.5)? + noise(size, 2)?.affine(0.02, 0.0)?)?.clamp(0f32, 1f32)?;
    let across = Tensor::arange(0u32, size as u32, &device)?
        .to_dtype(DType::F32)?
        .affine(1.0 / size as f64, -0.5)?
        .sqr()?;
    let square = across
        .reshape((1, 1, size, 1))?
        .broadcast_add(&across.reshape((1, 1, 1, size))?)?;
    let radius = (0.1 / std::f64::consts::PI).sqrt();
    Ok((plate, square.le(radius * radius)?.to_dtype(DType::F32)?))
}
