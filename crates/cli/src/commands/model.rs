//! `peel model`: what a model costs, from its configuration alone.

use std::path::{Path, PathBuf};

use peel_layerdecomp::weights::Precision;
use peel_layerdecomp::{Config, ModelInfo, Predicts, info};
use serde_json::json;

use crate::exit::{Exit, Result, Stop};
use crate::output;

const EXAMPLES: &str = "\
Examples:
  peel model info                                   the model that ships
  peel model info layerdecomp-5b --size 512x512     the published scale; no weights are needed
  peel model info runs/mine --size 256x256 --steps 10 --condition-cache off --json

A model is a folder with a `config.ron`, a name in a `weights` folder, or a preset: layerdecomp-s, layerdecomp-xs,
layerdecomp-5b. Nothing is allocated, so a model that does not fit into this machine can be asked about too.

Work is counted in floating point operations (a multiplication with its addition is two) for one picture. The condition
streams are the plate and the mask: with a condition cache their keys and values are computed once a picture, without one
in every step. Memory is that of the loaded weights, with linear layers in the given precision and all else in f32.";

/// Tell what a model costs: parameters, memory, work
#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(clap::Subcommand)]
enum What {
    Info(InfoArgs),
}

/// Parameters, memory by precision, tokens, and work a step and a picture
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
struct InfoArgs {
    /// The model: a folder, a name in `weights`, or a preset.
    #[arg(default_value = "layerdecomp-s", value_name = "FOLDER|PRESET")]
    model: String,

    /// The picture that the model is shown, width by height in pixels [default: 128x128, or 512x512 for a latent model].
    #[arg(long, value_name = "WxH", value_parser = size)]
    size: Option<(usize, usize)>,

    /// Sampling steps [default: 2, or 50 for a model that predicts noise].
    #[arg(long)]
    steps: Option<u64>,

    /// Whether the condition streams are computed once a picture [default: as the model is configured].
    #[arg(long, value_enum)]
    condition_cache: Option<Switch>,

    /// Print a JSON object.
    #[arg(long)]
    json: bool,

    /// A folder of models, looked into before the `weights` folders around.
    #[arg(long, value_name = "DIR")]
    weights: Vec<PathBuf>,
}

#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Switch {
    On,
    Off,
}

pub fn run(args: Args) -> Result {
    let What::Info(args) = args.what;
    let config = config(&args.model, &args.weights)?;
    let asked = Asked::of(&args, &config);
    let info = info(&config, asked.size).map_err(Stop::usage)?;
    if args.json {
        output::line(json_of(&config, &info, &asked))?;
    } else {
        output::line(text_of(&config, &info, &asked).trim_end())?;
    }
    Ok(Exit::Done)
}

/// What a model is asked about, defaults filled in.
struct Asked {
    /// Height and width.
    size: (usize, usize),
    steps: u64,
    cached: bool,
}

impl Asked {
    fn of(args: &InfoArgs, config: &Config) -> Self {
        let side = if config.is_latent() { 512 } else { 128 };
        let steps = if config.diffusion.predicts == Predicts::Epsilon {
            50
        } else {
            2
        };
        let (width, height) = args.size.unwrap_or((side, side));
        Self {
            size: (height, width),
            steps: args.steps.unwrap_or(steps).max(1),
            cached: args
                .condition_cache
                .map_or(config.condition_cache, |s| s == Switch::On),
        }
    }
}

/// The configuration of a folder, or of a preset where there is no such folder.
pub fn config(model: &str, weights: &[PathBuf]) -> Result<Config> {
    let missing = match peel_engine::find_model(model, weights, Path::new("")) {
        Ok(folder) => return Config::load(&folder.join("config.ron")).map_err(Stop::failed),
        Err(missing) => missing,
    };
    let presets = Config::presets().map_err(Stop::failed)?;
    let names: Vec<String> = presets.iter().map(|preset| preset.name.clone()).collect();
    let found = presets.into_iter().find(|preset| preset.name == model);
    found.ok_or_else(|| Stop::usage(format!("{missing}; presets are {}", names.join(", "))))
}

/// `512x256`: width and height in pixels.
pub fn size(text: &str) -> std::result::Result<(usize, usize), String> {
    let sides = text
        .split_once(['x', 'X'])
        .and_then(|(w, h)| Some((w.trim().parse().ok()?, h.trim().parse().ok()?)));
    sides.ok_or_else(|| "write width and height as 512x512".to_owned())
}

/// How far the parameters are from the published model's, in percent; for its preset only.
fn off_paper(info: &ModelInfo) -> Option<f64> {
    let paper = ModelInfo::PAPER_PARAMETERS as f64;
    (info.name == "layerdecomp-5b").then(|| 100.0 * (info.parameters as f64 / paper - 1.0))
}

fn text_of(config: &Config, info: &ModelInfo, asked: &Asked) -> String {
    let mut text = info.to_string();
    let tokens = &info.tokens;
    text += &format!(
        "  tokens       {} a stream ({} streams): {} noisy, {} of conditions\n",
        tokens.stream,
        tokens.streams(),
        tokens.noisy,
        tokens.condition
    );
    let total = |cached| {
        let flop = info.work.total(asked.steps, cached) as f64;
        match flop {
            f if f < 1e12 => format!("{:.2} GFLOP", f / 1e9),
            f => format!("{:.2} TFLOP", f / 1e12),
        }
    };
    let words = ["without", "with"];
    text += &format!(
        "  a picture in {}: {} {} condition cache, {} {}\n",
        output::count(asked.steps as usize, "step"),
        total(asked.cached),
        words[usize::from(asked.cached)],
        total(!asked.cached),
        words[usize::from(!asked.cached)]
    );
    if asked.cached != config.condition_cache {
        text += "  The model is configured otherwise: it would have to be trained so.\n";
    }
    if let Some(off) = off_paper(info) {
        text += &format!("  The paper speaks of 5.0 G parameters: {off:+.2} %\n");
    }
    text
}

fn json_of(config: &Config, info: &ModelInfo, asked: &Asked) -> serde_json::Value {
    let memory: serde_json::Map<String, serde_json::Value> = info
        .memory
        .iter()
        .map(|(precision, bytes): &(Precision, u64)| (precision.to_string(), (*bytes).into()))
        .collect();
    let (work, tokens) = (&info.work, &info.tokens);
    json!({
        "name": info.name,
        "parameters": info.parameters,
        "autoencoder_parameters": info.autoencoders,
        "tensors": info.tensors,
        "off_paper_percent": off_paper(info),
        "memory_bytes": memory,
        "width": info.size.1,
        "height": info.size.0,
        "tokens": { "stream": tokens.stream, "noisy": tokens.noisy, "condition": tokens.condition },
        "configured_condition_cache": config.condition_cache,
        "condition_cache": asked.cached,
        "steps": asked.steps,
        "flop": {
            "encode": work.encode,
            "condition": work.condition,
            "step_cached": work.step_cached(),
            "step_uncached": work.step_uncached(),
            "decode": work.decode,
            "refine": work.refine,
            "total": work.total(asked.steps, asked.cached),
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_width_by_height() {
        assert_eq!(size("640x360"), Ok((640, 360)));
        assert!(size("640").is_err() && size("640xx360").is_err() && size("-1x2").is_err());
    }

    #[test]
    fn presets_have_names() {
        assert_eq!(config("layerdecomp-5b", &[]).unwrap().depth, 44);
        let Err(Stop::Error(Exit::Usage, text)) = config("layerdecomp-6b", &[]) else {
            panic!("there is no such preset");
        };
        assert!(text.contains("layerdecomp-5b"), "{text}");
    }
}
