//! Time and memory of the solver, without the model: a 4096 x 2160 plate with one object that fills a tenth of it, stage by stage, and
//! the same object, as small as it gets, in ever larger plates.
//!
//! `cargo run --release -p peel-plate --example speed`
//!
//! CPU seconds are of all threads together. The last stage is the default; `settle` lays the layers into a stack.
#![allow(clippy::print_stdout)] // Printing is what it is for.

#[path = "../tests/common/mod.rs"]
mod common;
mod usage;

use std::sync::Arc;
use std::time::Instant;

use common::Guess;
use peel_image::{Layer, Matte, Rect};
use peel_plate::{Options, Quality, Result, peel_one, settle};

/// A grainy ramp, and a disc of this radius in its middle.
fn scene(frame: Rect, radius: f32) -> (Layer, Matte) {
    let plate = Layer::from_fn(frame, frame, |x, y| {
        let grain = ((x.wrapping_mul(7919) ^ y.wrapping_mul(104_729)) & 1023) as f32 / 1023.0;
        let v = 0.15 + 0.2 * x as f32 / frame.x1 as f32 + 0.05 * grain;
        [v, 0.9 * v, 0.7 * v, 1.0]
    });
    let (x0, y0) = (frame.x1 as f32 * 0.44, frame.y1 as f32 * 0.5);
    let matte = Matte::from_fn(frame, frame, |x, y| {
        (radius + 0.5 - (x as f32 - x0).hypot(y as f32 - y0)).clamp(0.0, 1.0)
    });
    (plate, matte)
}

/// What it takes to peel and to settle, in CPU seconds, and how long both take.
fn measure(plate: &Layer, matte: &Matte, options: &Options) -> Result<([f32; 2], f32, u64)> {
    let (start, before) = (Instant::now(), usage::cpu_seconds());
    let step = peel_one(plate, matte, &Guess, options, &|_| true)?;
    let peeled = usage::cpu_seconds();
    let (background, foreground) = (Arc::new(step.background), Arc::new(step.foreground));
    settle(plate, &background, &[("disc".to_owned(), foreground)])?;
    let took = [peeled - before, usage::cpu_seconds() - peeled];
    Ok((took, start.elapsed().as_secs_f32(), step.report.affected))
}

fn main() -> Result<()> {
    let frame = Rect::of_size(4096, 2160);
    let (plate, matte) = scene(frame, (0.1 * frame.area() as f32 / std::f32::consts::PI).sqrt());
    let share = 8e6 / frame.area() as f32;
    println!("{} threads\n", rayon::current_num_threads());
    println!(
        "| stage | peel, CPU-s | settle, CPU-s | both for 8 megapixels, CPU-s | both, s |\n|---|---|---|---|---|"
    );
    // The first run finds memory that nobody has touched yet.
    measure(&plate, &matte, &Options::default())?;
    for quality in [Quality::Plain, Quality::Unshadow, Quality::Seam, Quality::Detail] {
        let options = Options {
            quality,
            ..Options::default()
        };
        let ([peel, settle], seconds, _) = measure(&plate, &matte, &options)?;
        let both = (peel + settle) * share;
        println!("| {quality:?} | {peel:.2} | {settle:.2} | {both:.2} | {seconds:.2} |");
    }
    println!(
        "\npeak memory {:.2} GB, plate and matte included",
        usage::peak_gigabytes()
    );
    drop((plate, matte));

    println!(
        "\n| plate, a disc of radius 80 | both, CPU-s | of it for copying the plate | pixels affected |\n|---|---|---|---|"
    );
    for (width, height) in [(1920, 1080), (4096, 2160), (8192, 4320)] {
        let (plate, matte) = scene(Rect::of_size(width, height), 80.0);
        let before = usage::cpu_seconds();
        drop(plate.clone());
        let copy = usage::cpu_seconds() - before;
        let ([peel, settle], _, affected) = measure(&plate, &matte, &Options::default())?;
        println!(
            "| {width}x{height} | {:.2} | {copy:.2} | {affected} |",
            peel + settle
        );
    }
    Ok(())
}
