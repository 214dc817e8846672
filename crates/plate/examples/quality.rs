//! What each stage of the solver is worth, on triplets with a true background.
//!
//! ```text
//! cargo run --release -p peel-plate --example quality -- MODEL DIR [SIZE [MARGIN [SHEETS]]]
//! ```
//!
//! DIR holds `ID_C`, `ID_B`, `ID_M` (plate, clean plate, matte) in any format that Peel reads, and `ID_L` (the true layer,
//! straight alpha, display-referred) for MODEL `truth`, which shows the solver's ceiling. Otherwise MODEL is a weights folder.
//! SIZE is the model's working size, MARGIN the context around the object, SHEETS a folder for one PNG a picture: plate,
//! background, true background, foreground over a checkerboard.
#![allow(clippy::print_stdout)] // Printing is what it is for.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use candle_core::Device;
use peel_image::{ColourSpace, Layer, Matte, Rect};
use peel_io::{Budget, PngOptions, ReadOptions};
use peel_plate::{
    Decomposer, Light, Network, Options, Plane, Prediction, Quality, Result, Rgb, Step, peel_one,
};

type AnyResult<T> = std::result::Result<T, Box<dyn Error>>;

/// Difference of plate and background in encoded values from which a pixel counts as effect.
const EFFECT: f32 = 0.03;

struct Triplet {
    name: String,
    plate: Arc<Layer>,
    clean: Arc<Layer>,
    matte: Matte,
    /// Display-referred and premultiplied, as the model's foreground is.
    layer: Option<Arc<Layer>>,
}

/// A model that knows the true layers. It must be shown the whole picture.
struct Truth<'a>(&'a Triplet);

impl Decomposer for Truth<'_> {
    fn decompose(
        &self,
        picture: &Rgb,
        _: &Plane,
        _: u64,
        _: usize,
        _: &dyn Fn(f32) -> bool,
    ) -> Result<Prediction> {
        let (width, height) = picture[0].size();
        let frame = self.0.clean.data();
        let factor = frame.width().div_ceil(width);
        let mirror = |v: usize, n: usize| (v % (2 * n)).min(2 * n - 1 - v % (2 * n)) as i32;
        let shrink = |f: &(dyn Fn(i32, i32) -> f32 + Sync)| {
            Plane::from_fn(width, height, |x, y| {
                let cells = (0..factor * factor).map(|i| (x * factor + i % factor, y * factor + i / factor));
                cells
                    .map(|(x, y)| f(mirror(x, frame.width()), mirror(y, frame.height())))
                    .sum::<f32>()
                    / (factor * factor) as f32
            })
        };
        let light = Light::default();
        let missing = peel_plate::Error::Model(format!("{}_L is missing", self.0.name));
        let layer = self.0.layer.as_ref().ok_or(missing)?;
        Ok(Prediction {
            background: std::array::from_fn(|c| {
                shrink(&|x, y| light.encode(self.0.clean.get(x, y)[c]).clamp(0.0, 1.0))
            }),
            foreground: std::array::from_fn(|c| shrink(&|x, y| layer.get(x, y)[c])),
        })
    }

    fn working_size(&self) -> usize {
        128
    }

    fn digest(&self) -> String {
        "truth".to_owned()
    }
}

/// Squared error and pixels: everywhere, under the object, in its effect, elsewhere.
#[derive(Default)]
struct Errors([(f64, u64); 4]);

impl Errors {
    fn add(&mut self, triplet: &Triplet, background: &Layer) {
        let light = Light::default();
        let shown = |v: f32| light.encode(v).clamp(0.0, 1.0);
        let frame = triplet.plate.data();
        for (x, y) in (frame.y0..frame.y1).flat_map(|y| (frame.x0..frame.x1).map(move |x| (x, y))) {
            let (plate, clean, got) = (
                triplet.plate.get(x, y),
                triplet.clean.get(x, y),
                background.get(x, y),
            );
            let off = |c: usize| f64::from(shown(got[c]) - shown(clean[c])).powi(2);
            let error = (off(0) + off(1) + off(2)) / 3.0;
            let effect = (0..3).any(|c| (shown(plate[c]) - shown(clean[c])).abs() > EFFECT);
            let region = if triplet.matte.get(x, y) > 0.02 {
                1
            } else if effect {
                2
            } else {
                3
            };
            for at in [0, region] {
                self.0[at].0 += error;
                self.0[at].1 += 1;
            }
        }
    }

    fn decibels(&self) -> [f64; 4] {
        self.0.map(|(sum, n)| -10.0 * (sum / n.max(1) as f64).log10())
    }
}

fn main() -> AnyResult<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [model, folder, rest @ ..] = &arguments[..] else {
        return Err("MODEL and DIR are needed".into());
    };
    let size = rest.first().map(|s| s.parse()).transpose()?;
    let sheets = rest.get(2).map(PathBuf::from);
    let network = match model.as_str() {
        "truth" => None,
        weights => Some(Network::new(
            peel_layerdecomp::Model::load(weights.as_ref(), &Device::Cpu)?,
            Device::Cpu,
        )),
    };
    // The truth has to see the whole picture.
    let margin = rest.get(1).map_or(
        Ok(if network.is_none() {
            10.0
        } else {
            Options::default().margin
        }),
        |s| s.parse(),
    )?;
    let triplets = triplets(folder.as_ref())?;

    let mut untouched = Errors::default();
    triplets.iter().for_each(|t| untouched.add(t, &t.plate));
    println!(
        "{} pictures, dB       whole  object  effect  outside   raw model   seconds",
        triplets.len()
    );
    print(&untouched, "the plate", "");
    for quality in [
        Quality::Plain,
        Quality::Gate,
        Quality::Unshadow,
        Quality::Seam,
        Quality::Detail,
    ] {
        let (mut errors, mut raw, mut seconds) = (Errors::default(), 0.0, 0.0);
        let mut options = Options {
            quality,
            margin,
            working_size: size,
            ..Options::default()
        };
        for triplet in &triplets {
            let truth = Truth(triplet);
            let decomposer: &dyn Decomposer = network.as_ref().map_or(&truth, |n| n);
            options.light = network.is_none().then(Light::default);
            let start = Instant::now();
            let step = peel_one(&triplet.plate, &triplet.matte, decomposer, &options, &|_| true)?;
            seconds += start.elapsed().as_secs_f32() / triplets.len() as f32;
            raw += step.report.raw_model_psnr / triplets.len() as f32;
            if step.report.recomposition_max != 0.0 {
                return Err(format!("{}: {}", triplet.name, step.report).into());
            }
            errors.add(triplet, &step.background);
            if let (Some(folder), Quality::Detail) = (&sheets, quality) {
                let path = folder.join(format!("{}.png", triplet.name));
                peel_io::write_png(&path, &sheet(triplet, &step), &PngOptions::default())?;
            }
        }
        print(
            &errors,
            &format!("{quality:?}"),
            &format!("   {raw:9.1} {seconds:9.2}"),
        );
    }
    Ok(())
}

fn print(errors: &Errors, name: &str, rest: &str) {
    let [whole, object, effect, outside] = errors.decibels();
    println!("{name:>18}  {whole:7.2} {object:7.2} {effect:7.2}  {outside:7.2}{rest}");
}

/// All triplets of a folder, by name.
fn triplets(folder: &Path) -> AnyResult<Vec<Triplet>> {
    let mut plates: Vec<PathBuf> = std::fs::read_dir(folder)?
        .filter_map(|entry| entry.ok().map(|e| e.path()))
        .collect();
    plates.retain(|path| {
        path.file_stem()
            .is_some_and(|stem| stem.to_string_lossy().ends_with("_C"))
    });
    plates.sort();
    plates.iter().map(|plate| triplet(plate)).collect()
}

fn triplet(plate: &Path) -> AnyResult<Triplet> {
    let stem = plate.file_stem().unwrap_or_default().to_string_lossy();
    let name = stem.trim_end_matches("_C").to_owned();
    let part = |letter: &str| {
        let extension = plate.extension().unwrap_or_default().to_string_lossy();
        plate.with_file_name(format!("{name}_{letter}.{extension}"))
    };
    let read = |path: &Path, options: ReadOptions| -> AnyResult<Arc<Layer>> {
        let picture = peel_io::read(path, &options, &Budget::default())?;
        Ok(picture.into_first().ok_or("there is no picture in it")?)
    };
    let matte = peel_io::read_channel(&part("M"), None, &Budget::default())?;
    // Display-referred values are what the model works with: read them without taking the curve off.
    let as_stored = ReadOptions {
        source: Some(ColourSpace::LinearRec709),
        ..ReadOptions::default()
    };
    let layer = part("L")
        .exists()
        .then(|| read(&part("L"), as_stored))
        .transpose()?;
    Ok(Triplet {
        plate: read(plate, ReadOptions::default())?,
        clean: read(&part("B"), ReadOptions::default())?,
        matte,
        layer,
        name,
    })
}

/// Plate, background, true background and foreground, side by side.
fn sheet(triplet: &Triplet, step: &Step) -> Layer {
    let frame = triplet.plate.data();
    let (width, height) = (frame.width() as i32, frame.height() as i32);
    let window = Rect::new(0, 0, 4 * width, height);
    Layer::from_fn(window, window, |column, y| {
        let (x, y) = (column % width + frame.x0, y + frame.y0);
        match column / width {
            0 => triplet.plate.get(x, y),
            1 => step.background.get(x, y),
            2 => triplet.clean.get(x, y),
            _ => {
                let front = step.foreground.get(x, y);
                let board = if (x / 8 + y / 8) % 2 == 0 { 0.3 } else { 0.6 };
                std::array::from_fn(|c| front[c] + (1.0 - front[3]) * if c < 3 { board } else { 1.0 })
            }
        }
    })
}
