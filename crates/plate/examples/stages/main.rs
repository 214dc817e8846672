//! What each stage of the solver is worth, on pictures with a true background: tables in Markdown.
//!
//! ```text
//! cargo run --release -p peel-plate --example stages -- WEIGHTS FOLDER... [--only model|truth] [--margin M] [--last] [--each] [--sheets OUT]
//! ```
//!
//! For every FOLDER (see [`cases::load`]) two tables: with the model in the folder WEIGHTS, and with the true layers, shrunk to the
//! model's size, in its place, which shows the solver's ceiling. `--margin` is [`Options::margin`], `--last` leaves out all stages but the last, `--each` prints the
//! last stage of every picture as well, `--sheets` writes one PNG a picture: plate, background, true background, foreground over a checkerboard.
#![allow(clippy::print_stdout)] // Printing is what it is for.

mod cases;
mod score;

use std::error::Error;
use std::path::{Path, PathBuf};
use std::time::Instant;

use candle_core::Device;
use cases::{Case, Truth};
use peel_io::PngOptions;
use peel_plate::{Decomposer, Light, Network, Options, Quality, peel_one};
use score::Errors;

type AnyResult<T> = Result<T, Box<dyn Error>>;

const STAGES: [(Quality, &str); 5] = [
    (Quality::Plain, "the model's layers, up-sampled"),
    (Quality::Gate, "+ gate"),
    (Quality::Unshadow, "+ unshadow"),
    (Quality::Seam, "+ seam"),
    (Quality::Detail, "+ texture"),
];

#[derive(Default)]
struct Arguments {
    weights: PathBuf,
    folders: Vec<PathBuf>,
    only: Option<String>,
    last: bool,
    each: bool,
    sheets: Option<PathBuf>,
    margin: Option<f32>,
}

fn main() -> AnyResult<()> {
    let arguments = arguments()?;
    let model = peel_layerdecomp::Model::load(&arguments.weights, &Device::Cpu)?;
    let network = Network::new(model, Device::Cpu);
    for folder in &arguments.folders {
        let cases = cases::load(folder)?;
        let name = folder.file_name().unwrap_or_default().to_string_lossy();
        for (wanted, network) in [("model", Some(&network)), ("truth", None)] {
            if arguments.only.as_deref().is_none_or(|only| only == wanted) {
                let input = if network.is_some() {
                    "the model's layers"
                } else {
                    "the true layers, shrunk"
                };
                println!("\n{name}, {} pictures, from {input}; dB\n", cases.len());
                table(&cases, network, &arguments)?;
            }
        }
    }
    Ok(())
}

fn arguments() -> AnyResult<Arguments> {
    let mut found = Arguments::default();
    let mut plain = Vec::new();
    let mut all = std::env::args().skip(1);
    while let Some(argument) = all.next() {
        match argument.as_str() {
            "--last" => found.last = true,
            "--each" => found.each = true,
            "--only" => found.only = Some(all.next().ok_or("--only needs model or truth")?),
            "--margin" => found.margin = Some(all.next().ok_or("--margin needs a number")?.parse()?),
            "--sheets" => found.sheets = Some(all.next().ok_or("--sheets needs a folder")?.into()),
            _ => plain.push(PathBuf::from(argument)),
        }
    }
    let mut plain = plain.into_iter();
    found.weights = plain.next().ok_or("WEIGHTS and FOLDER are needed")?;
    found.folders = plain.collect();
    Ok(found)
}

/// One row a stage; every stage contains those before it.
fn table(cases: &[Case], network: Option<&Network>, arguments: &Arguments) -> AnyResult<()> {
    println!("| stage | whole | object | effect | outside | detail | raw model | s |");
    println!("|---|---|---|---|---|---|---|---|");
    let mut untouched = Errors::default();
    cases.iter().for_each(|case| untouched.add(case, &case.plate));
    row("the plate", &untouched, "| |");
    let first = if arguments.last { STAGES.len() - 1 } else { 0 };
    for (quality, name) in &STAGES[first..] {
        let quality = *quality;
        let (mut errors, mut raw, mut seconds) = (Errors::default(), 0.0, 0.0);
        let mut each = Vec::new();
        for case in cases {
            let truth = Truth(case);
            let decomposer: &dyn Decomposer = network.map_or(&truth, |n| n);
            let mut options = Options {
                quality,
                ..Options::default()
            };
            if let Some(margin) = arguments.margin {
                options.margin = margin;
            }
            if network.is_none() {
                // The truth has to see the whole picture, as it is.
                (options.margin, options.light) = (10.0, Some(Light::default()));
            }
            let start = Instant::now();
            let step = peel_one(&case.plate, &case.matte, decomposer, &options, &|_| true)?;
            seconds += start.elapsed().as_secs_f32() / cases.len() as f32;
            raw += step.report.raw_model_psnr / cases.len() as f32;
            if step.report.recomposition_max != 0.0 {
                return Err(format!("{}: {}", case.name, step.report).into());
            }
            let mut own = Errors::default();
            own.add(case, &step.background);
            errors.add(case, &step.background);
            each.push((&case.name, own));
            if let (Some(folder), Quality::Detail) = (&arguments.sheets, quality) {
                write_sheet(folder, case, &step)?;
            }
        }
        row(name, &errors, &format!("{raw:.1} | {seconds:.2} |"));
        if arguments.each && quality == Quality::Detail {
            each.iter()
                .for_each(|(name, errors)| row(&format!("- {name}"), errors, "| |"));
        }
    }
    Ok(())
}

fn row(name: &str, errors: &Errors, rest: &str) {
    let [whole, object, effect, outside] = errors.decibels();
    let detail = errors.sharpness();
    println!("| {name} | {whole:.2} | {object:.2} | {effect:.2} | {outside:.2} | {detail:.2} | {rest}");
}

fn write_sheet(folder: &Path, case: &Case, step: &peel_plate::Step) -> AnyResult<()> {
    std::fs::create_dir_all(folder)?;
    let path = folder.join(format!("{}.png", case.name.replace(' ', "_")));
    peel_io::write_png(&path, &score::sheet(case, step), &PngOptions::default())?;
    Ok(())
}
