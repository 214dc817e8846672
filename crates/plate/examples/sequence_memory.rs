//! Memory and time of one step of a frame with the help of its neighbours, without the model: a 4096 x 2160 shot, the camera locked
//! off, one object filling a tenth of the frame and moving through it.
//!
//! `cargo run --release -p peel-plate --example sequence_memory [FRAMES ON EITHER SIDE]...`, by default for 2, 4 and 8.
//!
//! Frames are made when they are looked at and forgotten afterwards, as the Decompose node does when its caches are full.
#![allow(clippy::print_stdout)] // Printing is what it is for.

#[path = "../tests/common/mod.rs"]
mod common;
mod usage;

use common::Guess;
use peel_image::{Layer, Matte, Rect};
use peel_plate::sequence::{Homography, RealPixels, Taken, reach, visibility};
use peel_plate::{Decomposer, Light, Options, Result, peel_one};

const FRAME: Rect = Rect {
    x0: 0,
    y0: 0,
    x1: 4096,
    y1: 2160,
};

/// Pixels that the object moves from one frame to the next.
const SPEED: f32 = 180.0;

fn radius() -> f32 {
    (0.1 * 4096.0 * 2160.0 / std::f32::consts::PI).sqrt()
}

/// Distance from the object's edge, outside above 0.
fn outside(frame: i32, x: i32, y: i32) -> f32 {
    (x as f32 - 2048.0 - SPEED * frame as f32).hypot(y as f32 - 1080.0) - radius()
}

fn plate(frame: i32) -> Layer {
    Layer::from_fn(FRAME, FRAME, |x, y| {
        let noise = x.wrapping_mul(7919) ^ y.wrapping_mul(104_729) ^ frame.wrapping_mul(31_337);
        let grain = (noise & 1023) as f32 / 1023.0;
        let v = 0.15 + 0.2 * x as f32 / 4096.0 + 0.05 * grain;
        if outside(frame, x, y) < 0.0 {
            [0.6, 0.1, 0.05, 1.0]
        } else {
            [v, 0.9 * v, 0.7 * v, 1.0]
        }
    })
}

fn matte(frame: i32) -> Matte {
    Matte::from_fn(FRAME, FRAME, |x, y| (0.5 - outside(frame, x, y)).clamp(0.0, 1.0))
}

fn main() -> Result<()> {
    let mut windows: Vec<i32> = std::env::args().skip(1).filter_map(|a| a.parse().ok()).collect();
    if windows.is_empty() {
        windows = vec![2, 4, 8];
    }
    println!("| frames looked at | s | CPU-s | peak memory so far, GB |\n|---|---|---|---|");
    for window in windows {
        let start = (std::time::Instant::now(), usage::cpu_seconds());
        let affected = together(window)?;
        println!(
            "| {} | {:.1} | {:.1} | {:.2} |",
            2 * window,
            start.0.elapsed().as_secs_f32(),
            usage::cpu_seconds() - start.1,
            usage::peak_gigabytes()
        );
        assert!(affected > 0, "nothing was painted");
    }
    Ok(())
}

/// One frame with so many on either side; how many pixels its foreground has an effect on.
fn together(window: i32) -> Result<u64> {
    let options = Options::default();
    let (own, mask) = (plate(0), matte(0));
    let alone = peel_one(&own, &mask, &Guess, &options, &|_| true)?;
    let hole = reach(&mask, FRAME, &options, Guess.working_size());
    let shows = |mask: &Matte, front: &Layer| visibility(FRAME, FRAME, &[mask], &[front], hole);
    let object = alone.foreground.data();
    let region = object.grow(object.width().max(object.height()) as i32 / 3);
    let light = Light::of_plate(&own);
    let mut real = RealPixels::new(&own, &shows(&mask, &alone.foreground)?, region, light, hole);
    for frame in (1..=window).flat_map(|n| [-n, n]) {
        let (there, mask) = (plate(frame), matte(frame));
        let step = peel_one(&there, &mask, &Guess, &options, &|_| true)?;
        real.look(&there, &shows(&mask, &step.foreground)?, &Homography::IDENTITY);
    }
    let taken = Taken {
        plate: &own,
        mask: &mask,
        reach: hole,
        effect_threshold: options.effect_threshold,
    };
    let step = real.paint(&taken, (alone.background, alone.foreground), None);
    Ok(step.report.affected)
}
