//! Scratch: does the mean of the network's fill and a patch fill come nearer to the truth?
use candle_core::Device;
use peel_layerdecomp::{Model, Sampling};
use peel_train::data::mask::dilated;
use peel_train::data::pool::{Pool, Split};
use peel_train::eval::{Method, cases, methods::Network, patchmatch};
use std::path::Path;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let n: usize = std::env::args().nth(1).map_or(60, |a| a.parse().unwrap());
    let pool = Pool::load(Path::new("local/pool"), Split::HeldOut)?;
    let model = Model::load(Path::new("local/run/start"), &Device::Cpu)?;
    let network = Network {
        model: &model,
        sampling: Sampling::default(),
        size: None,
    };
    let mut series = cases::held_out_series(&pool, n, 128);
    series.push(cases::traced_series(&pool, n / 3, 128));
    for set in &series {
        let ws = [0.0f64, 0.2, 0.35, 0.5, 0.65, 1.0];
        let mut sums = [[0.0f64; 6]; 3];
        let mut count = 0.0;
        for i in 0..set.names.len() {
            let case = set.case(i)?;
            let said = network.answer(std::slice::from_ref(&case))?.remove(0).background;
            let mask = case.truth.mask.map(|m| [f32::from(m[0] > 0.5)]);
            let plate_fill = patchmatch::fill(&case.truth.plate, &mask)?;
            let wide = dilated(&mask, 1.0);
            let own_fill = patchmatch::fill(&said, &wide)?;
            let wider = dilated(&mask, 3.0);
            let own_fill3 = patchmatch::fill(&said, &wider)?;
            for (p, truth) in case.truth.background.pixels.iter().enumerate() {
                if case.truth.object.pixels[p][0] <= 0.5 {
                    continue;
                }
                count += 3.0;
                for (k, fill) in [&plate_fill, &own_fill, &own_fill3].iter().enumerate() {
                    for (j, w) in ws.iter().enumerate() {
                        for c in 0..3 {
                            let v =
                                (1.0 - w) * f64::from(said.pixels[p][c]) + w * f64::from(fill.pixels[p][c]);
                            sums[k][j] += (v - f64::from(truth[c])).powi(2);
                        }
                    }
                }
            }
        }
        for (k, name) in ["plate", "own+1", "own+3"].iter().enumerate() {
            let row: Vec<String> = ws
                .iter()
                .zip(sums[k])
                .map(|(w, s)| format!("{w}: {:.2}", -10.0 * (s / count).log10()))
                .collect();
            println!("{} {name}: {}", set.name, row.join("  "));
        }
    }
    Ok(())
}
