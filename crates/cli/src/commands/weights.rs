//! `peel weights`: what a weights folder holds, whether it is whole, the same in another number format, and the mean of several.

use std::path::{Path, PathBuf};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use peel_layerdecomp::Error;
use peel_layerdecomp::weights::{Listing, Precision, average, convert, list, verify};
use serde_json::json;

use crate::exit::{Exit, Result, Stop};
use crate::output;
use crate::settings::cancel_on_signal;

const EXAMPLES: &str = "\
Examples:
  peel weights list layerdecomp-s                          names, shapes, number formats, sizes
  peel weights verify layerdecomp-s                        exits with 1 and every problem where it is not whole
  peel weights convert layerdecomp-s small/ --to int8      linear layers as whole numbers, a scale for each row
  peel weights average a/ b/ --into mean/                  of runs that went on from the same weights

A weights folder holds `config.ron`, `model.safetensors`, `names.txt` (every tensor with its shape) and, where one was
recorded, the `digest` (BLAKE3) of `model.safetensors`. Files are mapped, and one tensor at a time is worked on: a file of
10 GB needs no more memory than its largest tensor.";

/// List, verify, convert or average a model's weights
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(clap::Subcommand)]
enum What {
    List(ListArgs),
    Verify(VerifyArgs),
    Convert(ConvertArgs),
    Average(AverageArgs),
}

/// Where a model's weights are.
#[derive(clap::Args)]
struct Place {
    /// The model: a folder, or a name in a `weights` folder.
    #[arg(value_name = "MODEL")]
    model: String,

    /// A folder of models, looked into before the `weights` folders around.
    #[arg(long, value_name = "DIR")]
    weights: Vec<PathBuf>,
}

impl Place {
    fn folder(&self) -> Result<PathBuf> {
        peel_engine::find_model(&self.model, &self.weights, Path::new("")).map_err(Stop::usage)
    }
}

/// Every tensor: name, shape, number format, bytes
#[derive(clap::Args)]
struct ListArgs {
    #[command(flatten)]
    place: Place,

    /// Print a JSON object.
    #[arg(long)]
    json: bool,
}

/// Check names and shapes against configuration and names.txt, that all numbers are finite, and the digest
#[derive(clap::Args)]
struct VerifyArgs {
    #[command(flatten)]
    place: Place,
}

/// Write the weights in another number format into another folder
#[derive(clap::Args)]
struct ConvertArgs {
    #[command(flatten)]
    from: Place,

    /// The folder to write, made where it is missing. What it holds of weights is replaced.
    #[arg(value_name = "FOLDER")]
    into: PathBuf,

    /// The number format: f32, f16, bf16, or int8 (linear layers as whole numbers, the rest as f16).
    #[arg(long, value_name = "FORMAT")]
    to: Precision,
}

/// Write the mean of several networks' weights: of runs that went on from the same weights, each in its own way
#[derive(clap::Args)]
struct AverageArgs {
    /// The models: folders, or names in a `weights` folder. The first one's configuration is taken.
    #[arg(value_name = "MODEL", num_args = 2.., required = true)]
    models: Vec<String>,

    /// A folder of models, looked into before the `weights` folders around.
    #[arg(long, value_name = "DIR")]
    weights: Vec<PathBuf>,

    /// The folder to write, made where it is missing. What it holds of weights is replaced.
    #[arg(long, value_name = "FOLDER")]
    into: PathBuf,

    /// The number format: f32, f16, bf16, or int8.
    #[arg(long, value_name = "FORMAT", default_value = "f16")]
    to: Precision,
}

pub fn run(args: Args) -> Result {
    match args.what {
        What::List(args) => {
            let listing = list(&args.place.folder()?).map_err(stop)?;
            let text = if args.json {
                json_of(&listing).to_string()
            } else {
                text_of(&listing)
            };
            output::line(text.trim_end())?;
        }
        What::Verify(args) => {
            let folder = args.place.folder()?;
            let digest = watched("verifying", |progress| verify(&folder, progress))?;
            let recorded = if folder.join("digest").is_file() {
                "as recorded"
            } else {
                "none was recorded"
            };
            let listing = list(&folder).map_err(stop)?;
            output::line(format_args!(
                "{}: whole. {}, {} numbers, all finite; digest {digest} ({recorded})",
                listing.name,
                output::count(listing.entries.len(), "tensor"),
                listing.numbers()
            ))?;
        }
        What::Convert(args) => {
            let from = args.from.folder()?;
            apart(&from, &args.into, "converted")?;
            let before = list(&from).map_err(stop)?.bytes();
            let digest = watched("converting", |progress| {
                convert(&from, &args.into, args.to, progress)
            })?;
            let after = list(&args.into).map_err(stop)?.bytes();
            output::line(format_args!(
                "{}: {} in {}, {} before; digest {digest}",
                args.into.display(),
                output::human_bytes(after),
                args.to,
                output::human_bytes(before)
            ))?;
        }
        What::Average(args) => {
            let place = |model: &String| {
                let (model, weights) = (model.clone(), args.weights.clone());
                Place { model, weights }.folder()
            };
            let from = args.models.iter().map(place).collect::<Result<Vec<_>>>()?;
            for from in &from {
                apart(from, &args.into, "averaged")?;
            }
            let from: Vec<&Path> = from.iter().map(PathBuf::as_path).collect();
            let digest = watched("averaging", |progress| {
                average(&from, &args.into, args.to, progress)
            })?;
            output::line(format_args!(
                "{}: the mean of {} in {}; digest {digest}",
                args.into.display(),
                from.len(),
                args.to
            ))?;
        }
    }
    Ok(Exit::Done)
}

/// That `into` is not the folder that is read.
fn apart(from: &Path, into: &Path, done: &str) -> std::result::Result<(), Stop> {
    if same(from, into) {
        let text = format!("{}: weights are not {done} in place", into.display());
        return Err(Stop::usage(text + "; name another folder"));
    }
    Ok(())
}

/// Whether two paths name one folder.
fn same(a: &Path, b: &Path) -> bool {
    match (a.canonicalize(), b.canonicalize()) {
        (Ok(a), Ok(b)) => a == b,
        _ => false,
    }
}

/// Runs long work with a bar on standard error where that is a terminal; Ctrl-C stops it.
fn watched<T>(
    what: &'static str,
    work: impl FnOnce(&dyn Fn(u64, u64) -> bool) -> peel_layerdecomp::Result<T>,
) -> Result<T> {
    let cancel = cancel_on_signal()?;
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
    if let Ok(style) = ProgressStyle::with_template("{prefix} {bar:30} {bytes} of {total_bytes}, {eta} left")
    {
        bar.set_style(style);
    }
    bar.set_prefix(what);
    bar.enable_steady_tick(Duration::from_millis(200));
    let progress = |done: u64, of: u64| {
        bar.set_length(of);
        bar.set_position(done);
        !cancel.is_cancelled()
    };
    let result = work(&progress);
    bar.finish_and_clear();
    result.map_err(stop)
}

fn stop(error: Error) -> Stop {
    match error {
        Error::Cancelled => Stop::Error(Exit::Cancelled, "cancelled; nothing was replaced".to_owned()),
        other => Stop::failed(other),
    }
}

fn text_of(listing: &Listing) -> String {
    let rows: Vec<[String; 4]> = listing
        .entries
        .iter()
        .map(|e| {
            [
                e.name.clone(),
                dims(&e.shape),
                e.dtype.clone(),
                e.bytes.to_string(),
            ]
        })
        .collect();
    let width = |column: usize| rows.iter().map(|row| row[column].len()).max().unwrap_or(0);
    let (name, shape, dtype, bytes) = (width(0), width(1), width(2), width(3));
    let mut text: String = rows
        .iter()
        .map(|[n, s, d, b]| format!("{n:name$}  {s:>shape$}  {d:dtype$}  {b:>bytes$}\n"))
        .collect();
    text += &format!(
        "{}: {}, {} numbers, {}",
        listing.name,
        output::count(listing.entries.len(), "tensor"),
        listing.numbers(),
        output::human_bytes(listing.bytes())
    );
    text
}

fn dims(shape: &[usize]) -> String {
    let sides: Vec<String> = shape.iter().map(ToString::to_string).collect();
    sides.join("x")
}

fn json_of(listing: &Listing) -> serde_json::Value {
    let tensors = listing
        .entries
        .iter()
        .map(|e| json!({ "name": e.name, "shape": e.shape, "dtype": e.dtype, "bytes": e.bytes }));
    json!({
        "name": listing.name,
        "numbers": listing.numbers(),
        "bytes": listing.bytes(),
        "tensors": tensors.collect::<Vec<_>>(),
    })
}
