//! `peel bench`: how long a model takes on this machine, beside the least that the machine could take.

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use candle_core::{DType, Device as Place, Tensor};
use peel_kernels::{Found, probe};
use peel_layerdecomp::{
    Conditions, Config, Demands, Machine, Model, Noise, Prediction, Sampler, Sampling, demands,
};
use peel_node::Device;
use serde_json::json;

use crate::commands::model::{config, size};
use crate::exit::{Exit, Result, Stop};
use crate::output;
use crate::settings::{DeviceArg, device};

const EXAMPLES: &str = "\
Examples:
  peel bench model                                       the model that ships, where `peel render` would run it
  peel bench model --device cuda --size 512x512 --steps 10 --batch 4
  peel bench roofline                                    on paper: both models on H100, L40S and 4090
  peel bench roofline runs/mine --size 256x256

A floor is the least time that a machine can take: operations at its peak rate for bf16, or compulsory bytes (weights once a
step, cached keys and values, pictures in and out) at its memory's bandwidth, whichever takes longer. A processor's peak is
that of a large matrix product in f32 and of a large copy, both measured first, so its floor is what the same program could
reach and not the chip's.";

/// Time a model beside the least time that the machine could take
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(clap::Subcommand)]
enum What {
    Model(ModelArgs),
    Roofline(RooflineArgs),
}

/// Measure a model's steps, and print the floor beside
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
struct ModelArgs {
    /// The model: a folder, or a name in a `weights` folder.
    #[arg(default_value = "layerdecomp-s", value_name = "MODEL")]
    model: String,

    /// Where it runs [default: an NVIDIA card if this build knows CUDA and there is one, else the processor].
    #[arg(long, value_enum)]
    device: Option<DeviceArg>,

    /// The picture, width by height in pixels.
    #[arg(long, value_name = "WxH", value_parser = size, default_value = "128x128")]
    size: (usize, usize),

    /// Pictures at once.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=1024))]
    batch: u64,

    /// Sampling steps.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=1000))]
    steps: u64,

    /// How often; the fastest counts.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=1000))]
    repeat: u64,

    /// Print a JSON object.
    #[arg(long)]
    json: bool,

    /// A folder of models, looked into before the `weights` folders around.
    #[arg(long, value_name = "DIR")]
    weights: Vec<PathBuf>,
}

/// Print the floors of models on cards, as a table; no weights and no card are needed
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
struct RooflineArgs {
    /// Models: folders, names in a `weights` folder, or presets.
    #[arg(value_name = "FOLDER|PRESET", default_values = ["layerdecomp-s", "layerdecomp-5b"])]
    models: Vec<String>,

    /// Pictures, width by height in pixels (may be given several times).
    #[arg(long, value_name = "WxH", value_parser = size, default_values = ["512x512", "1024x1024"])]
    size: Vec<(usize, usize)>,

    /// A folder of models, looked into before the `weights` folders around.
    #[arg(long, value_name = "DIR")]
    weights: Vec<PathBuf>,
}

pub fn run(args: Args) -> Result {
    match args.what {
        What::Model(args) => measure(&args),
        What::Roofline(args) => roofline(&args),
    }
}

fn roofline(args: &RooflineArgs) -> Result {
    let machines = Machine::cards();
    let mut head =
        "| model | picture | condition cache | GFLOP a step | MB a step | between kernels, MB |".to_owned();
    for machine in &machines {
        let name = &machine.name;
        head += &format!(" {name}: a step | 50 steps | 10 steps |");
    }
    output::line(&head)?;
    output::line("|---".repeat(head.matches('|').count() - 1) + "|")?;
    for name in &args.models {
        let config = config(name, &args.weights)?;
        for &(width, height) in &args.size {
            let demands = demands(&config, (height, width), 1).map_err(Stop::usage)?;
            for cached in [true, false] {
                let step = demands.step(cached);
                let mut row = format!(
                    "| {} | {width}x{height} | {} | {} | {} | {} |",
                    config.name,
                    if cached { "with" } else { "without" },
                    digits(step.flop as f64 / 1e9),
                    digits(step.bytes as f64 / 1e6),
                    digits(step.between as f64 / 1e6),
                );
                for machine in &machines {
                    let bound = if step.is_bound_by_arithmetic(machine) {
                        ""
                    } else {
                        " (memory)"
                    };
                    row += &format!(" {}{bound} |", time(step.floor(machine)));
                    for steps in [50, 10] {
                        row += &format!(" {} |", time(demands.floor(machine, steps, cached)));
                    }
                }
                output::line(row)?;
            }
        }
    }
    Ok(Exit::Done)
}

/// Draws layers for conditions, where a model runs.
type Sample<'a> = dyn Fn(&Conditions, &Sampling, &dyn Fn(usize, usize) -> bool) -> peel_layerdecomp::Result<Prediction>
    + 'a;

fn measure(args: &ModelArgs) -> Result {
    let folder = peel_engine::find_model(&args.model, &args.weights, Path::new("")).map_err(|missing| {
        Stop::usage(format!(
            "{missing}; what a model without weights would take at least is in `peel bench roofline {}`",
            args.model
        ))
    })?;
    let config = Config::load(&folder.join("config.ron")).map_err(Stop::failed)?;
    let (width, height) = args.size;
    let demands = demands(&config, (height, width), args.batch).map_err(Stop::usage)?;
    let inputs = conditions(args.batch as usize, (height, width)).map_err(Stop::failed)?;
    match device(args.device)? {
        Device::Cpu => {
            let model = Model::load(&folder, &Place::Cpu).map_err(Stop::failed)?;
            let machine = this_processor().map_err(Stop::failed)?;
            let sample: &Sample<'_> = &|c, sampling, progress| model.sample(c, sampling, progress);
            report(args, &config, Some(&machine), &demands, &inputs, sample)
        }
        Device::Cuda => on_card(args, &folder, &config, &demands, &inputs),
    }
}

#[cfg(feature = "cuda")]
fn on_card(
    args: &ModelArgs,
    folder: &Path,
    config: &Config,
    demands: &Demands,
    inputs: &Conditions,
) -> Result {
    let Found::Device { name, .. } = probe(0) else {
        return Err(Stop::usage("--device cuda: there is no card"));
    };
    let machine = Machine::of_device(&name);
    if machine.is_none() {
        output::message(format_args!(
            "{name} is not in the table of cards: times without a floor"
        ));
    }
    let model = peel_layerdecomp::CudaModel::on_cuda(folder).map_err(Stop::failed)?;
    let sample: &Sample<'_> = &|c, sampling, progress| model.sample(c, sampling, progress);
    let done = report(args, config, machine.as_ref(), demands, inputs, sample);
    for remark in model.remarks() {
        output::message(remark);
    }
    done
}

#[cfg(not(feature = "cuda"))]
fn on_card(_: &ModelArgs, _: &Path, _: &Config, _: &Demands, _: &Conditions) -> Result {
    match probe(0) {
        Found::None(reason) => Err(Stop::usage(format!("--device cuda: {reason}"))),
        Found::Device { .. } => Err(Stop::usage("--device cuda: this build has no CUDA in it")),
    }
}

/// Times of a run, in seconds.
struct Times {
    /// From nothing to layers.
    all: f64,
    /// The median step but the first, if there are several.
    step: f64,
}

fn run_once(inputs: &Conditions, sampling: &Sampling, sample: &Sample<'_>) -> Result<Times> {
    let (start, marks) = (Instant::now(), RefCell::new(Vec::new()));
    let progress = |_, _| {
        marks.borrow_mut().push(Instant::now());
        true
    };
    sample(inputs, sampling, &progress).map_err(Stop::failed)?;
    Ok(Times::of(start, &marks.into_inner(), Instant::now()))
}

impl Times {
    /// Of a run whose steps ended at these marks.
    fn of(start: Instant, marks: &[Instant], end: Instant) -> Times {
        let all = (end - start).as_secs_f64();
        let mut steps: Vec<f64> = marks
            .windows(2)
            .map(|ends| (ends[1] - ends[0]).as_secs_f64())
            .collect();
        if steps.len() > 1 {
            steps.remove(0);
        }
        steps.sort_by(f64::total_cmp);
        let step = steps.get(steps.len() / 2).copied().unwrap_or(all);
        Times { all, step }
    }
}

fn report(
    args: &ModelArgs,
    config: &Config,
    machine: Option<&Machine>,
    demands: &Demands,
    inputs: &Conditions,
    sample: &Sample<'_>,
) -> Result {
    let sampling = Sampling {
        sampler: Sampler::Ddim,
        steps: args.steps as usize,
        seed: 0,
    };
    let mut best = Times {
        all: f64::INFINITY,
        step: f64::INFINITY,
    };
    // Once more than asked for: the first run reserves memory and records launches.
    for round in 0..=args.repeat {
        let times = run_once(inputs, &sampling, sample)?;
        if round > 0 {
            best = Times {
                all: best.all.min(times.all),
                step: best.step.min(times.step),
            };
        }
    }
    let step = demands.step(config.condition_cache);
    let floors = machine.map(|machine| {
        (
            step.floor(machine),
            demands.floor(machine, args.steps, config.condition_cache),
        )
    });
    let (width, height) = args.size;
    if args.json {
        let text = json!({
            "model": config.name, "width": width, "height": height, "batch": args.batch, "steps": args.steps,
            "machine": machine.map(|m| json!({"name": m.name, "flops": m.flops, "bandwidth": m.bandwidth})),
            "step_flop": step.flop, "step_bytes": step.bytes,
            "step_s": best.step, "step_floor_s": floors.map(|f| f.0),
            "all_s": best.all, "all_floor_s": floors.map(|f| f.1),
        });
        output::line(text)?;
        return Ok(Exit::Done);
    }
    output::line(format_args!(
        "{}, {} of {width}x{height}, {}",
        config.name,
        output::count(args.batch as usize, "picture"),
        machine.map_or("a card without a data sheet here".to_owned(), |m| format!(
            "{}: {} TFLOP/s, {} GB/s",
            m.name,
            digits(m.flops / 1e12),
            digits(m.bandwidth / 1e9)
        ))
    ))?;
    let row = |what: &str, found: f64, floor: Option<f64>| {
        let beside = floor.map_or(String::new(), |floor| {
            format!(
                "   floor {:>9}   {:>5.1} times the floor",
                time(floor),
                found / floor
            )
        });
        output::line(format_args!("  {what:<24} {:>9}{beside}", time(found)))
    };
    row("a step", best.step, floors.map(|f| f.0))?;
    let all = format!("all, in {}", output::count(args.steps as usize, "step"));
    row(&all, best.all, floors.map(|f| f.1))?;
    Ok(Exit::Done)
}

/// Noise as plates, and as masks of half the pixels.
fn conditions(batch: usize, (height, width): (usize, usize)) -> candle_core::Result<Conditions> {
    let noise = |channels: usize, seed: u64| {
        let values = Noise::new(seed, 0).uniform(batch * channels * height * width, 0.0, 1.0);
        Tensor::from_vec(values, (batch, channels, height, width), &Place::Cpu)
    };
    Ok(Conditions {
        plate: noise(3, 1)?,
        mask: noise(1, 2)?.ge(0.5)?.to_dtype(DType::F32)?,
    })
}

/// The rates of a large product and of a large copy, the best of three each.
fn this_processor() -> candle_core::Result<Machine> {
    const SIDE: usize = 1024;
    const BYTES: usize = 256 << 20;
    let fastest = |work: &mut dyn FnMut() -> candle_core::Result<()>| -> candle_core::Result<Duration> {
        let mut best = Duration::MAX;
        for _ in 0..3 {
            let start = Instant::now();
            work()?;
            best = best.min(start.elapsed());
        }
        Ok(best)
    };
    let square = Tensor::ones((SIDE, SIDE), DType::F32, &Place::Cpu)?;
    let product = fastest(&mut || square.matmul(&square).map(drop))?;
    let from = vec![1u8; BYTES];
    let mut to = vec![0u8; BYTES];
    let copy = fastest(&mut || {
        to.copy_from_slice(std::hint::black_box(&from));
        std::hint::black_box(&to);
        Ok(())
    })?;
    Ok(Machine {
        name: "this processor, as measured".into(),
        flops: 2.0 * (SIDE as f64).powi(3) / product.as_secs_f64(),
        // A copy reads and writes.
        bandwidth: 2.0 * BYTES as f64 / copy.as_secs_f64(),
    })
}

/// Three digits.
fn digits(value: f64) -> String {
    let decimals = match value {
        v if v < 9.995 => 2,
        v if v < 99.95 => 1,
        _ => 0,
    };
    format!("{value:.decimals$}")
}

/// Seconds as a person says them, from microseconds on.
fn time(seconds: f64) -> String {
    match seconds {
        s if s < 1e-3 => format!("{} µs", digits(s * 1e6)),
        s if s < 1.0 => format!("{} ms", digits(s * 1e3)),
        s => format!("{} s", digits(s)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_three_digits() {
        let found = [0.000_012_34, 0.012_34, 1.234, 123.4].map(time);
        assert_eq!(found, ["12.3 µs", "12.3 ms", "1.23 s", "123 s"]);
    }

    #[test]
    fn the_median_step_leaves_the_first_one_out() {
        let start = Instant::now();
        let after = |millis: &[u64]| {
            millis
                .iter()
                .map(|&m| start + Duration::from_millis(m))
                .collect::<Vec<_>>()
        };
        let end = start + Duration::from_millis(500);
        let times = Times::of(start, &after(&[10, 110, 140, 160, 200]), end);
        assert_eq!((times.all, times.step), (0.5, 0.03));
        assert_eq!(Times::of(start, &after(&[10, 110]), end).step, 0.1);
        assert_eq!(Times::of(start, &[], end).step, 0.5);
    }

    #[test]
    fn every_step_of_a_run_is_marked() {
        let inputs = conditions(1, (16, 16)).unwrap();
        let sample: &Sample<'_> = &|c, sampling, progress| {
            for done in 0..=sampling.steps {
                progress(done, sampling.steps);
            }
            Ok(Prediction {
                background: c.plate.clone(),
                foreground: c.plate.clone(),
            })
        };
        let times = run_once(&inputs, &Sampling::published(0), sample).unwrap();
        assert!(times.step < times.all, "a step is less than all of them");
    }
}
