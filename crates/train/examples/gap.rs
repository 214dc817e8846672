//! Whether a model lacks data or strength: its scores on the sources that it learns from beside those on held-out ones. A wide gap
//! wants more sources, a narrow one a larger network or a longer run. And how far its transformer's tokens tell places apart, on average over
//! sixteen held-out composites ([`Model::spread`]): near 0 it is ill.
//!
//!     cargo run --release -p peel-train --example gap -- [WEIGHTS] [POOL] [CASES] [SIZE]
//!
//! By default `weights/layerdecomp-s`, `local/pool`, 120 composites of 128 pixels with a third as many traced scenes, and every rendering;
//! the network in one call. Composites and traced scenes of training sources are drawn with the held-out seed, which no training uses.

use std::io::Write as _;
use std::path::Path;

use candle_core::Device;
use peel_layerdecomp::{Model, Sampling};
use peel_train::data::pool::{Pool, Split};
use peel_train::eval::methods::{Identity, Network};
use peel_train::eval::{Line, Method, Series, Watch, cases, markdown, measure};

const SPREAD_CASES: usize = 16;

struct Silent;

impl Watch for Silent {
    fn look(&mut self, _: usize, _: usize, _: &[peel_train::eval::Case], _: &[peel_train::metrics::Answer]) {}
    fn progress(&mut self, series: &str, done: usize, all: usize) {
        eprintln!("{series}: {done} of {all} cases");
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let text = |i: usize, default: &'static str| arguments.get(i).map_or(default, String::as_str);
    let (count, size): (usize, usize) = (text(2, "120").parse()?, text(3, "128").parse()?);
    let model = Model::load(Path::new(text(0, "weights/layerdecomp-s")), &Device::Cpu)?;
    let network = Network {
        model: &model,
        sampling: Sampling::default(),
        size: None,
    };
    let methods: [&dyn Method; 2] = [&Identity, &network];

    let mut lines: Vec<Line> = Vec::new();
    for (split, name) in [(Split::Train, "learnt from"), (Split::HeldOut, "held out")] {
        let pool = Pool::load(Path::new(text(1, "local/pool")), split)?;
        let mut series: Vec<Series<'_>> = cases::held_out_series(&pool, count, size);
        series.push(cases::traced_series(&pool, count / 3, size));
        for line in measure(&series, &methods, None, &mut Silent)? {
            lines.push(Line {
                set: format!("{}, {name}", line.set),
                ..line
            });
        }
    }
    lines.sort_by(|a, b| a.set.cmp(&b.set));
    let mut out = std::io::stdout().lock();
    out.write_all(markdown(&lines).as_bytes())?;

    let pool = Pool::load(Path::new(text(1, "local/pool")), Split::HeldOut)?;
    let composites = cases::held_out_series(&pool, SPREAD_CASES, size);
    let mut sum = 0.0;
    for i in 0..SPREAD_CASES {
        sum += network.spread(&composites[0].case(i)?)?.unwrap_or(0.0);
    }
    writeln!(out, "spread of the tokens: {:.5}", sum / SPREAD_CASES as f32)?;
    Ok(())
}
