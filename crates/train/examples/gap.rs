//! Whether a model lacks data or strength: its scores on the sources that it learns from beside those on held-out ones. A wide gap
//! wants more sources, a narrow one a larger network or a longer run. What its transformer is worth: its scores with nothing of the tokens'
//! reaching the head's convolutions. And how far its transformer's tokens tell places apart, on average over
//! sixteen held-out composites ([`Model::spread`]): near 0 it is ill.
//!
//!     cargo run --release -p peel-train --example gap -- [WEIGHTS] [POOL] [CASES] [SIZE]
//!
//! By default `weights/layerdecomp-s`, `local/pool`, 120 composites of 128 pixels with a third as many traced scenes, and every rendering;
//! the network in one call. Composites and traced scenes of training sources are drawn with the held-out seed, which no training uses.

use std::io::Write as _;
use std::path::Path;

use candle_core::{DType, Device};
use candle_nn::VarBuilder;
use peel_layerdecomp::{Config, Model, Sampling};
use peel_train::data::pool::{Pool, Split};
use peel_train::eval::methods::{Identity, Network};
use peel_train::eval::{Case, Line, Method, Series, Watch, cases, markdown, measure};
use peel_train::metrics::Answer;

const SPREAD_CASES: usize = 16;
const WEIGHTS: &str = "weights/layerdecomp-s";

/// A network whose transformer says nothing.
struct Silenced<'a>(Network<'a>);

impl Method for Silenced<'_> {
    fn name(&self) -> String {
        "without its transformer".into()
    }

    fn answer(&self, cases: &[Case]) -> peel_train::Result<Vec<Answer>> {
        self.0.answer(cases)
    }
}

fn without_transformer(weights: &Path) -> Result<Model, Box<dyn std::error::Error>> {
    let config = Config::load(&weights.join("config.ron"))?;
    let mut tensors = candle_core::safetensors::load(weights.join("model.safetensors"), &Device::Cpu)?;
    let tokens = tensors
        .get_mut("head.tokens.weight")
        .ok_or("a model without a convolutional head is all transformer")?;
    *tokens = tokens.zeros_like()?;
    Ok(Model::new(
        &config,
        VarBuilder::from_tensors(tensors, DType::F32, &Device::Cpu),
    )?)
}

struct Silent;

impl Watch for Silent {
    fn look(&mut self, _: usize, _: usize, _: &[Case], _: &[Answer]) {}
    fn progress(&mut self, series: &str, done: usize, all: usize) {
        eprintln!("{series}: {done} of {all} cases");
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let text = |i: usize, default: &'static str| arguments.get(i).map_or(default, String::as_str);
    let (count, size): (usize, usize) = (text(2, "120").parse()?, text(3, "128").parse()?);
    let model = Model::load(Path::new(text(0, WEIGHTS)), &Device::Cpu)?;
    let network = Network {
        model: &model,
        sampling: Sampling::default(),
        size: None,
    };
    let silenced = without_transformer(Path::new(text(0, WEIGHTS)))?;
    let silenced = Silenced(Network {
        model: &silenced,
        ..network
    });
    let methods: [&dyn Method; 3] = [&Identity, &network, &silenced];

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
