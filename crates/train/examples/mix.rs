//! What a mixture of the network's fill and a filling with patches is worth: PSNR of the background inside the object, in dB, for shares of
//! the patches from 0 to 1. Patches are taken from the plate as it is, or from the background that the network has freed of effects.
//!
//!     cargo run --release -p peel-train --example mix -- [WEIGHTS] [POOL] [CASES]
//!
//! By default `weights/layerdecomp-s`, `local/pool`, 60 composites of 128 pixels with a third as many traced scenes, and every held-out
//! rendering; the network in one call.

use std::io::Write as _;
use std::path::Path;

use candle_core::Device;
use peel_layerdecomp::{Model, Sampling};
use peel_train::data::mask::dilated;
use peel_train::data::pool::{Pool, Split};
use peel_train::eval::methods::Network;
use peel_train::eval::{Method, cases, patchmatch};

const SHARES: [f32; 6] = [0.0, 0.2, 0.35, 0.5, 0.65, 1.0];
const SIZE: usize = 128;
/// Pixels by which the hole is widened before the network's background is filled: its rim is blurred.
const RIM: f32 = 3.0;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let text = |i: usize, default: &'static str| arguments.get(i).map_or(default, String::as_str);
    let count: usize = text(2, "60").parse()?;
    let model = Model::load(Path::new(text(0, "weights/layerdecomp-s")), &Device::Cpu)?;
    let pool = Pool::load(Path::new(text(1, "local/pool")), Split::HeldOut)?;
    let network = Network {
        model: &model,
        sampling: Sampling::default(),
        size: None,
    };
    let mut series = cases::held_out_series(&pool, count, SIZE);
    series.push(cases::traced_series(&pool, count / 3, SIZE));

    let mut out = std::io::stdout().lock();
    let shares = SHARES.map(|s| s.to_string()).join(" | ");
    writeln!(out, "| set | patches of | {shares} |")?;
    writeln!(out, "| --- | --- |{}", " ---: |".repeat(SHARES.len()))?;
    for set in &series {
        let (mut sums, mut values) = ([[0.0f64; SHARES.len()]; 2], 0.0);
        for i in 0..set.names.len() {
            let case = set.case(i)?;
            let said = network.answer(std::slice::from_ref(&case))?.remove(0).background;
            let hole = case.truth.mask.map(|m| [f32::from(m[0] > 0.5)]);
            let fills = [
                patchmatch::fill(&case.truth.plate, &hole)?,
                patchmatch::fill(&said, &dilated(&hole, RIM))?,
            ];
            for (at, truth) in case.truth.background.pixels.iter().enumerate() {
                if case.truth.object.pixels[at][0] <= 0.5 {
                    continue;
                }
                values += 3.0;
                for (sums, fill) in sums.iter_mut().zip(&fills) {
                    for (sum, share) in sums.iter_mut().zip(SHARES) {
                        for ((said, fill), truth) in said.pixels[at].iter().zip(fill.pixels[at]).zip(truth) {
                            let mixed = (1.0 - share) * said + share * fill;
                            *sum += f64::from(mixed - truth).powi(2);
                        }
                    }
                }
            }
        }
        for (sums, of) in sums.iter().zip(["plate", "network's background"]) {
            let row = sums.map(|sum| format!("{:.2}", -10.0 * (sum / f64::max(values, 1.0)).log10()));
            writeln!(out, "| {} | {of} | {} |", set.name, row.join(" | "))?;
        }
    }
    Ok(())
}
