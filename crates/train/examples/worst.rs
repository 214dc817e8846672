//! Where a model's error in the effect sits: the cases that carry most of it, and what is wrong there.
//!
//!     cargo run --release -p peel-train --example worst -- [WEIGHTS] [POOL or FOLDER] [CASES] [SHEETS]
//!
//! By default `weights/layerdecomp-s`, `local/pool`, 300 composites of 128 pixels with a third as many traced scenes and every rendering;
//! the network in one call, at 128 pixels. A line for each of the worst: its share of its set's squared error in the effect, its share
//! of what identity leaves there, how much of the effect was removed (1: all of it; the factor that fits `answer - plate` to
//! `truth - plate` best) and what of the effect's energy would be left with the best factor; how alike (correlation of logarithms outside of the
//! mask) the true change of the plate is to the model's, and to the guess of the shadow that `casts` tells it. Last, the same over the whole set, with
//! the PSNR that is had without the worst cases. SHEETS (a folder) gets a picture of the worst cases of each set.

use std::io::Write as _;
use std::path::Path;

use candle_core::{Device, Tensor};
use peel_layerdecomp::{Model, Sampling, cast_guesses};
use peel_train::data::pool::{Pool, Split};
use peel_train::data::raster::Raster;
use peel_train::eval::methods::Network;
use peel_train::eval::{Case, Layout, Method, Series, Watch, cases, measure};
use peel_train::metrics::{Answer, Regions};
use peel_train::{files, sheet};

const SHOWN: usize = 16;

/// Sums over the effect's pixels of a case: `d` is truth minus plate, `a` answer minus plate.
#[derive(Clone, Copy, Default)]
struct Sums {
    pixels: f64,
    dd: f64,
    ad: f64,
    aa: f64,
}

impl Sums {
    fn of(case: &Case, answer: &Answer) -> Self {
        let regions = Regions::of(case);
        let mut sums = Self::default();
        let truth = &case.truth;
        for (i, _) in regions.effect.iter().enumerate().filter(|(_, e)| **e) {
            sums.pixels += 1.0;
            for c in 0..3 {
                let plate = f64::from(truth.plate.pixels[i][c]);
                let d = f64::from(truth.background.pixels[i][c]) - plate;
                let a = f64::from(answer.background.pixels[i][c].clamp(0.0, 1.0)) - plate;
                sums.dd += d * d;
                sums.ad += a * d;
                sums.aa += a * a;
            }
        }
        sums
    }

    fn add(&mut self, other: &Self) {
        self.pixels += other.pixels;
        self.dd += other.dd;
        self.ad += other.ad;
        self.aa += other.aa;
    }

    fn error(&self) -> f64 {
        self.dd - 2.0 * self.ad + self.aa
    }

    fn removed(&self) -> f64 {
        self.ad / self.dd.max(1e-9)
    }

    /// What part of the effect's energy is left when the answer's change is scaled as fits best.
    fn unlike(&self) -> f64 {
        1.0 - self.ad * self.ad / (self.dd * self.aa).max(1e-9)
    }

    fn gain(&self) -> f64 {
        10.0 * (self.dd / self.error().max(1e-9)).log10()
    }
}

/// Correlation of the true change of the plate's logarithm with the answer's and with the guess of the shadow, where neither mask nor object is.
fn alike(case: &Case, answer: &Answer) -> candle_core::Result<[f64; 2]> {
    let truth = &case.truth;
    let (w, h) = (truth.plate.width, truth.plate.height);
    let planes: Vec<f32> = (0..3)
        .flat_map(|c| truth.plate.pixels.iter().map(move |p| p[c]))
        .collect();
    let plate = Tensor::from_vec(planes, (1, 3, h, w), &Device::Cpu)?;
    let mask: Vec<f32> = truth.mask.pixels.iter().map(|p| p[0]).collect();
    let mask = Tensor::from_vec(mask, (1, 1, h, w), &Device::Cpu)?;
    let guess = cast_guesses(&plate, &mask).map_err(candle_core::Error::wrap)?;
    let guess = guess.narrow(1, 0, 1)?.flatten_all()?.to_vec1::<f32>()?;
    let light = |p: &[f32; 3]| f64::from(p.iter().map(|v| v.max(0.0)).sum::<f32>() / 3.0 + 0.03).ln();
    let seen: Vec<usize> = (0..w * h)
        .filter(|i| truth.mask.pixels[*i][0] <= 0.5 && truth.object.pixels[*i][0] <= 0.02)
        .collect();
    let change = |to: &Raster<3>| -> Vec<f64> {
        (seen.iter())
            .map(|i| light(&to.pixels[*i]) - light(&truth.plate.pixels[*i]))
            .collect()
    };
    let wanted = change(&truth.background);
    let guessed: Vec<f64> = seen.iter().map(|i| f64::from(guess[*i])).collect();
    Ok([change(&answer.background), guessed].map(|found| correlation(&wanted, &found)))
}

fn correlation(a: &[f64], b: &[f64]) -> f64 {
    let n = a.len().max(1) as f64;
    let (ma, mb) = (a.iter().sum::<f64>() / n, b.iter().sum::<f64>() / n);
    let (mut ab, mut aa, mut bb) = (0.0, 0.0, 0.0);
    for (a, b) in a.iter().zip(b) {
        ab += (a - ma) * (b - mb);
        aa += (a - ma) * (a - ma);
        bb += (b - mb) * (b - mb);
    }
    ab / (aa * bb).sqrt().max(1e-9)
}

struct Kept {
    alike: [f64; 2],
    series: usize,
    name: String,
    sums: Sums,
    row: Vec<Raster<3>>,
}

#[derive(Default)]
struct All(Vec<Kept>);

impl Watch for All {
    fn look(&mut self, series: usize, _: usize, cases: &[Case], answers: &[Answer]) {
        for (case, answer) in cases.iter().zip(answers) {
            self.0.push(Kept {
                series,
                name: case.name.clone(),
                sums: Sums::of(case, answer),
                // Shapes agree, or the case would not have been measured.
                alike: alike(case, answer).unwrap_or([f64::NAN; 2]),
                row: sheet::row(case, answer),
            });
        }
    }

    fn progress(&mut self, series: &str, done: usize, all: usize) {
        eprintln!("{series}: {done} of {all} cases");
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let text = |i: usize, default: &'static str| arguments.get(i).map_or(default, String::as_str);
    let count: usize = text(2, "300").parse()?;
    let model = Model::load(Path::new(text(0, "weights/layerdecomp-s")), &Device::Cpu)?;
    let network = Network {
        model: &model,
        sampling: Sampling::default(),
        size: Some(128),
    };
    let methods: [&dyn Method; 1] = [&network];
    let source = Path::new(text(1, "local/pool"));
    let pool;
    let series: Vec<Series<'_>> = if source.join("pool.bin").exists() {
        pool = Pool::load(source, Split::HeldOut)?;
        let mut series = cases::held_out_series(&pool, count, 128);
        series.push(cases::traced_series(&pool, count / 3, 128));
        series
    } else {
        vec![Layout::Triplets.series(source)?]
    };
    let mut all = All::default();
    measure(&series, &methods, None, &mut all)?;

    let mut out = std::io::stdout().lock();
    for (s, set) in series.iter().enumerate() {
        let mut kept: Vec<&Kept> = all.0.iter().filter(|k| k.series == s).collect();
        kept.sort_by(|a, b| b.sums.error().total_cmp(&a.sums.error()));
        let mut whole = Sums::default();
        kept.iter().for_each(|k| whole.add(&k.sums));
        writeln!(out, "{}: {} cases", set.name, kept.len())?;
        writeln!(
            out,
            "| case | error | identity | pixels | gain dB | removed | unlike | answer | guess |\n| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |"
        )?;
        let share = |part: f64, of: f64| 100.0 * part / of.max(1e-9);
        for k in kept.iter().take(SHOWN) {
            let sums = &k.sums;
            writeln!(
                out,
                "| {} | {:.1} % | {:.1} % | {:.1} % | {:+.1} | {:.2} | {:.2} | {:.2} | {:.2} |",
                k.name,
                share(sums.error(), whole.error()),
                share(sums.dd, whole.dd),
                share(sums.pixels, whole.pixels),
                sums.gain(),
                sums.removed(),
                sums.unlike(),
                k.alike[0],
                k.alike[1]
            )?;
        }
        for part in [0, 1, 5, 10, 25] {
            let mut rest = Sums::default();
            kept.iter()
                .skip(kept.len() * part / 100)
                .for_each(|k| rest.add(&k.sums));
            writeln!(
                out,
                "without the worst {part} %: gain {:+.2} dB, removed {:.2}, unlike {:.2}",
                rest.gain(),
                rest.removed(),
                rest.unlike()
            )?;
        }
        if let Some(dir) = arguments.get(3) {
            let rows: Vec<_> = kept.iter().take(SHOWN).map(|k| k.row.clone()).collect();
            std::fs::create_dir_all(dir)?;
            files::write(
                &Path::new(dir).join(format!("worst-{s}.png")),
                &sheet::grid(&rows),
            )?;
        }
    }
    Ok(())
}
