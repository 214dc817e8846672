//! `peel eval`: how good a model is, against what it must beat.

use std::path::{Path, PathBuf};

use peel_layerdecomp::{Sampler, Sampling};
use peel_train::eval::{Request, Source, eval, table};

use crate::exit::{Exit, Result, Stop};
use crate::output;

/// Measure a model on held-out pictures, beside identity and classical fillings
#[derive(clap::Args)]
#[command(after_help = "Examples:
  peel eval triplets/ --model layerdecomp-s
  peel eval triplets/ --model layerdecomp-s --steps 0,4,50 --sheet sheet.png --json table.json
  peel eval local/pool --model layerdecomp-s --count 200 --size 128

A folder of triplets holds, for every ID, ID_C (the picture), ID_B (the same without the object), ID_M (the object's
mask) and, where there is one, ID_L (the object's layer). A folder with a pool.bin is a pool of training data, of
which the held-out part is measured. Background errors are PSNR in dB: higher is better.")]
pub struct Args {
    /// A folder of triplets, or a pool.
    cases: PathBuf,

    /// The model: a folder in `weights`, or a path. Without one only the other methods are measured.
    #[arg(long)]
    model: Option<String>,

    /// Sampling steps, one row each: 0 is one call on zero noise, N is DDIM with N steps.
    #[arg(long, value_name = "N,..", value_delimiter = ',', default_value = "0")]
    steps: Vec<usize>,

    /// Seed of the noise.
    #[arg(long, default_value_t = 1)]
    seed: u64,

    /// Pixels on a side that the model works at; the cases' own size by default.
    #[arg(long, value_name = "PX")]
    model_size: Option<usize>,

    /// Backgrounds that another program made, as files called ID (may be given several times).
    #[arg(long, value_name = "NAME=DIR")]
    files: Vec<String>,

    /// Composites drawn from a pool.
    #[arg(long, default_value_t = 96)]
    count: usize,

    /// Pixels on a side of composites drawn from a pool.
    #[arg(long, value_name = "PX", default_value_t = 128)]
    size: usize,

    /// Where a sheet of pictures goes.
    #[arg(long, value_name = "FILE.png")]
    sheet: Option<PathBuf>,

    /// Where the table goes as JSON.
    #[arg(long, value_name = "FILE.json")]
    json: Option<PathBuf>,

    /// A folder of models, looked into before the `weights` folders around.
    #[arg(long, value_name = "DIR")]
    weights: Vec<PathBuf>,
}

pub fn run(args: Args) -> Result {
    let model = match &args.model {
        Some(name) => Some(peel_engine::find_model(name, &args.weights, Path::new("")).map_err(Stop::usage)?),
        None => None,
    };
    let sampling = |&steps: &usize| Sampling {
        sampler: if steps == 0 {
            Sampler::OneCall
        } else {
            Sampler::Ddim
        },
        steps: steps.max(1),
        seed: args.seed,
    };
    let files = args.files.iter().map(|text| {
        let (name, folder) = text
            .split_once('=')
            .ok_or_else(|| Stop::usage(format!("--files {text}: write NAME=DIR")))?;
        Ok((name.to_owned(), PathBuf::from(folder)))
    });
    let source = if args.cases.join("pool.bin").exists() {
        Source::Pool {
            dir: args.cases.clone(),
            count: args.count,
            size: args.size,
        }
    } else {
        Source::Folder(args.cases.clone())
    };
    let request = Request {
        source,
        model,
        samplings: args.steps.iter().map(sampling).collect(),
        model_size: args.model_size,
        files: files.collect::<Result<_>>()?,
        sheet: args.sheet,
        json: args.json,
    };
    let lines = eval(&request, &mut |what| output::message(what)).map_err(Stop::failed)?;
    output::line(table(&lines).trim_end())?;
    Ok(Exit::Done)
}
