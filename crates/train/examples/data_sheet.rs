//! Draws training samples, for looking at, and times the generator.
//!
//!     cargo run --release -p peel-train --example data_sheet -- local/pool sheet.png [SEED] [SIZE] [train|held-out] [SOURCE] [VARIED] [TIGHTENED]
//!
//! SOURCE is mixed (the default: 15 in 100 rendered, 35 traced), synthetic, rendered or traced; VARIED the share of photographs that come
//! changed (0), TIGHTENED the share of masks that come as a first call draws them tighter (0). Two samples a row: plate, mask, background,
//! layer, alpha.

use std::path::Path;
use std::time::Instant;

use peel_train::data::pool::{Pool, Split};
use peel_train::data::{Sample, Shares, sample};
use peel_train::{files, sheet};

const SAMPLES: u64 = 20;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [pool, out, ..] = arguments.as_slice() else {
        return Err(
            "usage: data_sheet POOL OUT [SEED] [SIZE] [train|held-out] [SOURCE] [VARIED] [TIGHTENED]".into(),
        );
    };
    let number = |i: usize, default: u64| arguments.get(i).map_or(Ok(default), |a| a.parse());
    let (seed, size) = (number(2, 1)?, number(3, 128)? as usize);
    let split = if arguments.get(4).is_some_and(|s| s == "held-out") {
        Split::HeldOut
    } else {
        Split::Train
    };
    let (rendered, traced) = match arguments.get(5).map_or("mixed", String::as_str) {
        "mixed" => (0.15, 0.35),
        "synthetic" => (0.0, 0.0),
        "rendered" => (1.0, 0.0),
        "traced" => (0.0, 1.0),
        other => return Err(format!("SOURCE {other} is none of mixed, synthetic, rendered, traced").into()),
    };
    let shares = Shares {
        rendered,
        traced,
        pairs: 0.0,
    };
    let mut pool = Pool::load(Path::new(pool), split)?;
    let share = |i: usize| arguments.get(i).map_or(Ok(0.0), |a| a.parse());
    (pool.varied, pool.tightened) = (share(6)?, share(7)?);

    let start = Instant::now();
    let samples: Vec<Sample> = (0..SAMPLES)
        .map(|i| sample(&pool, seed, i, size, shares))
        .collect();
    let time = start.elapsed().as_secs_f64() * 1e3 / SAMPLES as f64;
    eprintln!(
        "{} photographs, {} cut-outs, {} triplets",
        pool.photos.len(),
        pool.cutouts.len(),
        pool.triplets.len()
    );
    eprintln!("{time:.2} ms a sample of {size} pixels");

    let row = |s: &Sample| {
        vec![
            s.plate.clone(),
            sheet::grey(&s.mask),
            s.background.clone(),
            sheet::checkered(&s.foreground),
            sheet::grey(&s.foreground.alpha()),
        ]
    };
    let rows: Vec<_> = samples
        .chunks(2)
        .map(|pair| pair.iter().flat_map(row).collect::<Vec<_>>())
        .collect();
    files::write(Path::new(out), &sheet::grid(&rows))?;
    Ok(())
}
