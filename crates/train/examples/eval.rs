//! Measures a model and what it must beat.
//!
//!     cargo run --release -p peel-train --example eval -- FOLDER_OR_POOL [--model WEIGHTS] [--steps 0,1,2,4,10,50] [--count N]
//!         [--size PX] [--model-size PX] [--files NAME=FOLDER].. [--sheet FILE.png] [--json FILE.json]
//!
//! A folder with `pool.bin` is a pool, of which the held-out split is measured; any other one holds triplets. Steps 0 is the one
//! call on zero noise, N is DDIM.

use std::path::PathBuf;

use peel_layerdecomp::{Sampler, Sampling};
use peel_train::eval::{Request, Source, eval, table};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let at = PathBuf::from(arguments.next().ok_or("usage: eval FOLDER [options]")?);
    let (mut count, mut size, mut steps) = (96, 128, "0".to_owned());
    let mut request = Request {
        source: Source::Folder(at.clone()),
        model: None,
        samplings: Vec::new(),
        model_size: None,
        files: Vec::new(),
        sheet: None,
        json: None,
    };
    while let Some(argument) = arguments.next() {
        let value = arguments
            .next()
            .ok_or_else(|| format!("{argument} wants a value"))?;
        match argument.as_str() {
            "--model" => request.model = Some(value.into()),
            "--steps" => steps = value,
            "--count" => count = value.parse()?,
            "--size" => size = value.parse()?,
            "--model-size" => request.model_size = Some(value.parse()?),
            "--files" => {
                let (name, dir) = value.split_once('=').ok_or("--files wants NAME=FOLDER")?;
                request.files.push((name.into(), dir.into()));
            }
            "--sheet" => request.sheet = Some(value.into()),
            "--json" => request.json = Some(value.into()),
            other => return Err(format!("unknown option {other}").into()),
        }
    }
    if at.join("pool.bin").exists() {
        request.source = Source::Pool { dir: at, count, size };
    }
    for number in steps.split(',') {
        let steps: usize = number.trim().parse()?;
        let sampler = if steps == 0 {
            Sampler::OneCall
        } else {
            Sampler::Ddim
        };
        request.samplings.push(Sampling {
            sampler,
            steps: steps.max(1),
            seed: 1,
        });
    }
    let lines = eval(&request, &mut |what| eprintln!("{what}"))?;
    eprint!("{}", table(&lines));
    for line in lines.iter().filter(|l| l.method.starts_with("network")) {
        eprintln!("{}, {}: {:.3} s a case", line.set, line.method, line.seconds);
    }
    Ok(())
}
