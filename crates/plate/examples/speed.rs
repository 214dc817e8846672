//! Time and memory of the solver, without the model, on a 4096 x 2160 plate with one object filling a tenth of it.
//!
//! `cargo run --release -p peel-plate --example speed`
#![allow(clippy::print_stdout)] // Printing is what it is for.

#[path = "../tests/common/mod.rs"]
mod common;

use std::time::Instant;

use common::Guess;
use peel_image::{Layer, Matte, Rect};
use peel_plate::{Options, Quality, Result, peel_one, settle};

fn main() -> Result<()> {
    let frame = Rect::of_size(4096, 2160);
    let plate = Layer::from_fn(frame, frame, |x, y| {
        let grain = ((x.wrapping_mul(7919) ^ y.wrapping_mul(104_729)) & 1023) as f32 / 1023.0;
        let v = 0.15 + 0.2 * x as f32 / 4096.0 + 0.05 * grain;
        [v, 0.9 * v, 0.7 * v, 1.0]
    });
    // A disc of a tenth of the frame's area.
    let radius = (0.1 * 4096.0 * 2160.0 / std::f32::consts::PI).sqrt();
    let matte = Matte::from_fn(frame, frame, |x, y| {
        (radius + 0.5 - (x as f32 - 1800.0).hypot(y as f32 - 1080.0)).clamp(0.0, 1.0)
    });
    println!(
        "{} threads",
        std::thread::available_parallelism().map_or(1, usize::from)
    );
    for quality in [Quality::Plain, Quality::Unshadow, Quality::Seam, Quality::Detail] {
        let options = Options {
            quality,
            ..Options::default()
        };
        let (start, cpu) = (Instant::now(), cpu_seconds());
        let step = peel_one(&plate, &matte, &Guess, &options, &|_| true)?;
        let (solved, solver) = (start.elapsed().as_secs_f32(), cpu_seconds() - cpu);
        println!("{quality:?}: {solved:.2} s, {solver:.2} CPU-s; {}", step.report);
        settle(&plate, &step.background, &[("disc".to_owned(), step.foreground)])?;
        let (both, settled) = (start.elapsed().as_secs_f32(), cpu_seconds() - cpu - solver);
        println!("    settle: {:.2} s, {settled:.2} CPU-s", both - solved);
        let share = 8e6 / (4096.0 * 2160.0);
        println!(
            "    together {:.2} CPU-s for 8 megapixels",
            (solver + settled) * share
        );
    }
    println!("peak memory {:.2} GB", peak_gigabytes());
    Ok(())
}

/// User and system time of this process, from /proc; 0 where there is none.
fn cpu_seconds() -> f32 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // Fields 14 and 15, in hundredths of a second; the second field may hold blanks but ends with a bracket.
    let fields = stat
        .rsplit(')')
        .next()
        .unwrap_or_default()
        .split_whitespace()
        .skip(11)
        .take(2);
    fields.filter_map(|f| f.parse::<f32>().ok()).sum::<f32>() / 100.0
}

/// The largest resident memory so far, from /proc; 0 where there is none.
fn peak_gigabytes() -> f32 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status
        .lines()
        .find(|l| l.starts_with("VmHWM"))
        .unwrap_or_default();
    line.split_whitespace()
        .nth(1)
        .and_then(|kb| kb.parse::<f32>().ok())
        .unwrap_or(0.0)
        / 1e6
}
