//! How alike the errors of two networks are: what a third would learn by being like either, or by being trained for longer.
//!
//!     cargo run --release -p peel-train --example alike -- WEIGHTS WEIGHTS [POOL] [CASES]
//!
//! Held-out composites of 128 pixels (200 unless told otherwise) and renderings of the pool, one call each. A line for each set and region: PSNR of the background of the
//! first, of the second, and of the mean of both in dB, and how alike the two errors are (their correlation about zero). Where errors are
//! alike, the mean is no better than either, and what both miss is not chance.

use std::io::Write as _;
use std::path::Path;

use candle_core::Device;
use peel_layerdecomp::{Model, Sampling};
use peel_train::data::pool::{Pool, Split};
use peel_train::eval::methods::Network;
use peel_train::eval::{Method, cases};
use peel_train::metrics::Regions;

const SIZE: usize = 128;

/// Sums over the pixels of a region: squared errors of two answers and of their mean, and the product of the first two.
#[derive(Clone, Copy, Default)]
struct Sums {
    values: f64,
    first: f64,
    second: f64,
    product: f64,
}

impl Sums {
    fn add(&mut self, truth: [f32; 3], answers: [[f32; 3]; 2]) {
        for (c, truth) in truth.iter().enumerate() {
            let [a, b] = answers.map(|answer| f64::from(answer[c].clamp(0.0, 1.0) - truth));
            self.values += 1.0;
            self.first += a * a;
            self.second += b * b;
            self.product += a * b;
        }
    }

    fn row(&self, set: &str, region: &str) -> String {
        let psnr = |square: f64| -10.0 * (square / self.values).log10();
        let mean = (self.first + self.second + 2.0 * self.product) / 4.0;
        format!(
            "| {set} | {region} | {:.2} | {:.2} | {:.2} | {:.2} |",
            psnr(self.first),
            psnr(self.second),
            psnr(mean),
            self.product / (self.first * self.second).sqrt()
        )
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (Some(first), Some(second)) = (arguments.first(), arguments.get(1)) else {
        return Err("two folders of weights are needed".into());
    };
    let pool = Path::new(arguments.get(2).map_or("local/pool", String::as_str));
    let count = arguments.get(3).map_or(Ok(200), |n| n.parse())?;
    let load = |dir: &str| Model::load(Path::new(dir), &Device::Cpu);
    let models = [load(first)?, load(second)?];
    let mut out = std::io::stdout();
    writeln!(out, "| set | region | first | second | mean of both | alike |")?;
    writeln!(out, "| --- | --- | ---: | ---: | ---: | ---: |")?;
    for set in cases::held_out(&Pool::load(pool, Split::HeldOut)?, count, SIZE) {
        let answer = |model| {
            Network {
                model,
                sampling: Sampling::default(),
                size: None,
            }
            .answer(&set.cases)
        };
        let (ours, theirs) = (answer(&models[0])?, answer(&models[1])?);
        let (mut object, mut effect, mut both) = (Sums::default(), Sums::default(), Sums::default());
        for (case, (a, b)) in set.cases.iter().zip(ours.iter().zip(&theirs)) {
            let regions = Regions::of(case);
            for (i, truth) in case.truth.background.pixels.iter().enumerate() {
                let answers = [a.background.pixels[i], b.background.pixels[i]];
                for (sums, inside) in [
                    (&mut object, regions.object[i]),
                    (&mut effect, regions.effect[i]),
                    (&mut both, regions.object[i] || regions.effect[i]),
                ] {
                    if inside {
                        sums.add(*truth, answers);
                    }
                }
            }
        }
        for (region, sums) in [("object", object), ("effect", effect), ("both", both)] {
            writeln!(out, "{}", sums.row(&set.name, region))?;
        }
    }
    Ok(())
}
