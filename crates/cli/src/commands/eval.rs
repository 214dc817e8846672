//! `peel eval`: how good a model is, against what it must beat.

use std::path::{Path, PathBuf};

use clap::ValueEnum;
use peel_layerdecomp::{Sampler, Sampling};
use peel_plate::Options;
use peel_train::eval::{Layout, Masks, Request, Source, eval};

use crate::exit::{Exit, Result, Stop};
use crate::output;

const MORE: &str = "\
Examples:
  peel eval triplets/ --model layerdecomp-s
  peel eval triplets/ --model layerdecomp-s --steps 50,10,4,1 --sampler ddim,unipc --methods network
  peel eval shot/ --model layerdecomp-s --sheet sheet.png --json table.json --markdown table.md
  peel eval local/pool --model layerdecomp-s --count 200 --masks tight,loose,hull
  peel eval RORD/val --layout rord --model layerdecomp-s --files telea=telea/

Cases:
  A folder of triplets holds, for every ID, ID_C (the plate), ID_B (the same without the object), ID_M (the object's
  mask) and, where there is one, ID_E (where shadow and reflection are) and ID_L (the true layer: premultiplied in EXR).
  EXR is scene-linear, everything else sRGB. IDs that end in a dot and a number are frames of a shot, as
  ball.1001_C.exr: for these flicker is measured. A folder with a pool.bin is a pool of training data, of which the
  held-out part is measured.

Columns:
  Background errors are PSNR in dB (higher is better) over the whole picture, inside the object, in its effect (shadow,
  reflection), in both, and outside, where nothing should change. recomp: layer over background against the plate;
  exact: the same as the largest difference in half, after the solver (0). alpha: mean absolute error, also in the effect
  and outside. moved: the layer shifted by 30 % of the width and scaled by 0.5 to 1.5 over the background, against the
  same of the true ones. SSIM and S.*: structural similarity of the background. flicker: change from frame to frame
  beyond that of the true background (moving), in 8-bit levels. ST-LPIPS and Fréchet: perceptual distance and the
  Fréchet distance over its features (lower is better).";

/// Measure a model on held-out pictures, beside identity and classical fillings
#[derive(clap::Args)]
#[command(after_help = MORE)]
pub struct Args {
    /// A folder of cases, or a pool.
    cases: PathBuf,

    /// How the folder holds its cases: triplets, photographs (ID_C and ID_M alone: for sheets), rord (img, gt, mask), mulan
    /// (ID/layer_0, layer_1 ..) or desobav2 (shadow_imgs, shadowfree_imgs, object_masks, shadow_masks).
    #[arg(long, value_parser = layout, default_value = "triplets")]
    layout: Layout,

    /// The model: a folder in `weights`, or a path. Without one only the other methods are measured.
    #[arg(long)]
    model: Option<String>,

    /// What to measure, beside --files: the network alone, the network at a half (or what its refiner says) of the cases' size
    /// with the refiner's alpha, peel (network and solver, as Decompose has it), identity and push-pull filling, filling with
    /// patches.
    #[arg(
        long,
        value_enum,
        value_delimiter = ',',
        default_value = "network,peel,classical"
    )]
    methods: Vec<MethodName>,

    /// Sampling steps of the network alone, one row each; 0 is one call on zero noise.
    #[arg(long, value_name = "N,..", value_delimiter = ',', default_value = "0,2")]
    steps: Vec<usize>,

    /// How the steps are taken, one row each: ddim, dpm++2m, unipc, the latter two with -leading, -trailing or -karras.
    #[arg(long, value_name = "NAME,..", value_delimiter = ',', default_value = "ddim")]
    sampler: Vec<Sampler>,

    /// Sampling steps with the solver, one row each; Decompose's default if not given.
    #[arg(long, value_name = "N,..", value_delimiter = ',')]
    peel_steps: Vec<usize>,

    /// Seed of the noise.
    #[arg(long, default_value_t = 1)]
    seed: u64,

    /// Long side that the network alone works at; the cases' own size by default.
    #[arg(long, value_name = "PX")]
    model_size: Option<usize>,

    /// Masks that the methods get, one set each: given, tight, loose (dilated by 4 to 12 pixels of a picture of 128) or hull.
    /// With tight ones among several, what the others cost is printed too.
    #[arg(long, value_name = "KIND,..", value_delimiter = ',', value_parser = masks, default_value = "given")]
    masks: Vec<Masks>,

    /// Backgrounds that another program made, as files called ID (may be given several times).
    #[arg(long, value_name = "NAME=DIR")]
    files: Vec<String>,

    /// Composites drawn from a pool.
    #[arg(long, default_value_t = 96)]
    count: usize,

    /// Traced scenes made of a pool.
    #[arg(long, default_value_t = 0)]
    traced: usize,

    /// Pixels on a side of composites drawn from a pool.
    #[arg(long, value_name = "PX", default_value_t = 128)]
    size: usize,

    /// Weights of the perceptual distance, which `crates/train/scripts/stlpips.py` makes.
    #[arg(long, value_name = "FILE.safetensors")]
    perceptual: Option<PathBuf>,

    /// Where a sheet of pictures goes, PNG or JPEG.
    #[arg(long, value_name = "FILE")]
    sheet: Option<PathBuf>,

    /// Longest side of the sheet's pictures.
    #[arg(long, value_name = "PX", default_value_t = 192)]
    sheet_size: usize,

    /// Where the table goes as JSON.
    #[arg(long, value_name = "FILE.json")]
    json: Option<PathBuf>,

    /// Where it goes as Markdown.
    #[arg(long, value_name = "FILE.md")]
    markdown: Option<PathBuf>,

    /// A folder of models, looked into before the `weights` folders around.
    #[arg(long, value_name = "DIR")]
    weights: Vec<PathBuf>,
}

/// A group of methods.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum, Debug)]
enum MethodName {
    /// The network alone.
    Network,
    /// The network at a part of the cases' size, with its refiner's alpha.
    Refined,
    /// Network and solver.
    Peel,
    /// Identity and push-pull filling.
    Classical,
    /// Filling with patches.
    Patchmatch,
    /// Only those of --files.
    None,
}

fn layout(text: &str) -> std::result::Result<Layout, String> {
    named(text, &Layout::ALL)
}

fn masks(text: &str) -> std::result::Result<Masks, String> {
    named(text, &Masks::ALL)
}

fn named<T: Copy>(text: &str, all: &[(&str, T)]) -> std::result::Result<T, String> {
    let found = all.iter().find(|(name, _)| *name == text);
    found.map(|(_, value)| *value).ok_or_else(|| {
        let names: Vec<&str> = all.iter().map(|(name, _)| *name).collect();
        format!("there are {}", names.join(", "))
    })
}

pub fn run(args: Args) -> Result {
    let model = match &args.model {
        Some(name) => Some(peel_engine::find_model(name, &args.weights, Path::new("")).map_err(Stop::usage)?),
        None => None,
    };
    let wants = |name: MethodName| args.methods.contains(&name);
    let files = args.files.iter().map(|text| {
        let (name, folder) = text
            .split_once('=')
            .ok_or_else(|| Stop::usage(format!("--files {text}: write NAME=DIR")))?;
        Ok((name.to_owned(), PathBuf::from(folder)))
    });
    let is_pool = args.cases.join("pool.bin").exists();
    if !is_pool && !args.cases.is_dir() {
        return Err(Stop::usage(format!(
            "{}: there is no such folder",
            args.cases.display()
        )));
    }
    let source = if is_pool {
        Source::Pool {
            dir: args.cases.clone(),
            count: args.count,
            traced: args.traced,
            size: args.size,
        }
    } else {
        Source::Folder(args.cases.clone(), args.layout)
    };
    let sampled = |name: MethodName| if wants(name) { samplings(&args) } else { Vec::new() };
    let solver = if wants(MethodName::Peel) {
        solver(&args)
    } else {
        Vec::new()
    };
    let request = Request {
        masks: args.masks.clone(),
        model,
        samplings: sampled(MethodName::Network),
        refined: sampled(MethodName::Refined),
        model_size: args.model_size,
        solver,
        classical: wants(MethodName::Classical),
        patchmatch: wants(MethodName::Patchmatch),
        files: files.collect::<Result<_>>()?,
        perceptual: args.perceptual,
        sheet: args.sheet,
        sheet_size: args.sheet_size.clamp(16, 4096),
        json: args.json,
        markdown: args.markdown,
        ..Request::new(source)
    };
    let evaluation = eval(&request, &mut |what| output::message(what)).map_err(Stop::failed)?;
    output::line(evaluation.text().trim_end())?;
    Ok(Exit::Done)
}

/// Every sampler with every number of steps; one call once.
fn samplings(args: &Args) -> Vec<Sampling> {
    let mut all: Vec<Sampling> = Vec::new();
    for &sampler in &args.sampler {
        for &steps in &args.steps {
            let sampling = Sampling {
                sampler: if steps == 0 { Sampler::OneCall } else { sampler },
                steps: steps.max(1),
                seed: args.seed,
            };
            if !all.contains(&sampling) {
                all.push(sampling);
            }
        }
    }
    all
}

/// The solver as Decompose has it, once for each number of steps.
fn solver(args: &Args) -> Vec<Options> {
    let defaults = Options {
        seed: args.seed,
        ..Options::default()
    };
    if args.peel_steps.is_empty() {
        return vec![defaults];
    }
    let with = |&steps: &usize| Options {
        steps,
        ..defaults.clone()
    };
    args.peel_steps.iter().map(with).collect()
}
