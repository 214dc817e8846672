//! Memory of one step, as the operating system counts it. This test has its file, and so its process, to itself.
#![allow(clippy::unwrap_used)] // Helpers of tests unwrap as tests do.

mod common;

use std::sync::Arc;

use common::{Guess, assert_exact};
use peel_image::{Layer, Matte, Rect};
use peel_plate::{Options, peel_one, settle};

const FRAME: Rect = Rect {
    x0: 0,
    y0: 0,
    x1: 2560,
    y1: 1440,
};

/// A number of /proc/self/status, in bytes.
fn status(name: &str) -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with(name))?;
    Some(line.split_whitespace().nth(1)?.parse::<u64>().ok()? * 1024)
}

/// Bytes by which resident memory rose at most while `work` ran; `None` where the system does not tell.
fn rise(work: impl FnOnce()) -> Option<u64> {
    // Sets the peak back to what is resident now.
    std::fs::write("/proc/self/clear_refs", "5").ok()?;
    let before = status("VmRSS")?;
    work();
    Some(status("VmHWM")?.saturating_sub(before))
}

/// So many squares of a few pixels, evenly strewn.
fn islands(count: i32) -> Matte {
    let across = (f64::from(count) * 16.0 / 9.0).sqrt().ceil() as i32;
    let down = (count + across - 1) / across;
    let (width, height) = (FRAME.x1 / across, FRAME.y1 / down);
    let side = 12.min(width / 3);
    Matte::from_fn(FRAME, FRAME, |x, y| {
        let (column, row) = (x / width, y / height);
        let is_one = column < across && row * across + column < count;
        let (x, y) = (x % width - width / 2, y % height - height / 2);
        f32::from(is_one && (0..side).contains(&x) && (0..side).contains(&y))
    })
}

#[test]
fn any_number_of_islands_takes_a_bounded_multiple_of_the_plate() {
    let plate = Layer::from_fn(FRAME, FRAME, |x, y| {
        let grain = ((x.wrapping_mul(7919) ^ y.wrapping_mul(104_729)) & 1023) as f32 / 1023.0;
        let v = 0.2 + 0.1 * x as f32 / 2560.0 + 0.05 * grain;
        [v, 0.9 * v, 0.7 * v, 1.0]
    });
    let options = Options {
        margin: 2.0,
        ..Options::default()
    };
    for count in [1, 6, 60, 400, 4000] {
        let matte = islands(count);
        let mut step = None;
        let peeled = rise(|| step = peel_one(&plate, &matte, &Guess, &options, &|_| true).ok());
        let step = step.unwrap();
        assert_exact(&plate, &step.background, &step.foreground);
        assert_eq!(step.report.crops, if count <= 8 { count as usize } else { 1 });
        let background = Arc::new(step.background);
        let layers = [("specks".to_owned(), Arc::new(step.foreground))];
        let settled = rise(|| drop(settle(&plate, &background, &layers).unwrap()));
        let (Some(peeled), Some(settled)) = (peeled, settled) else {
            eprintln!("this system does not tell how much memory a process has");
            return;
        };
        let plates = |bytes: u64| bytes as f64 / plate.bytes() as f64;
        println!(
            "{count} islands: peeling takes {:.2} times the plate, settling {:.2}",
            plates(peeled),
            plates(settled)
        );
        // One is the background, which has to be. Another is the foreground, where islands lie all over the frame.
        assert!(plates(peeled) < 4.0 && plates(settled) < 3.5, "{count} islands");
    }
}
