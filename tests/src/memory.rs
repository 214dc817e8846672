//! What a whole render holds: `peel`, the model that ships, and a plate of 4096x2160 with one object on a tenth of it.
//!
//! `cargo nextest run --release -p peel-tests memory --no-capture` prints it.
#![cfg(target_os = "linux")]

use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use peel_image::Rect;

use crate::program::command;
use crate::support::{root, write_picture};

/// The most that a render may hold, in kB: 1.2 GB.
const MOST: u64 = 1_200_000;

/// The most resident memory of a run, in kB; looked at until it ends.
fn peak(folder: &Path, arguments: &[&str]) -> u64 {
    let mut child = command(folder, arguments)
        .stdout(Stdio::null())
        .stderr(Stdio::inherit())
        .spawn()
        .expect("peel");
    let status = Path::new("/proc").join(child.id().to_string()).join("status");
    let mut most = 0;
    let ended = loop {
        // A process that has ended but was not waited for has no such line.
        let text = fs::read_to_string(&status).unwrap_or_default();
        if let Some(line) = text.lines().find(|line| line.starts_with("VmHWM:")) {
            let digits: String = line.chars().filter(char::is_ascii_digit).collect();
            most = most.max(digits.parse().expect("a number"));
        }
        if let Some(ended) = child.try_wait().expect("its state") {
            break ended;
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    assert!(ended.success(), "{ended}");
    most
}

#[test]
fn a_render_of_a_4k_plate_holds_at_most_1_2_gigabytes() {
    let folder = tempfile::tempdir().expect("a folder");
    let here = folder.path();
    let window = Rect::of_size(4096, 2160);
    let radius = (0.1 * window.area() as f32 / std::f32::consts::PI).sqrt();
    let outside = |x: i32, y: i32| (x as f32 - 1800.0).hypot(y as f32 - 1080.0) - radius;
    write_picture(&here.join("plate.exr"), window, |x, y| {
        let grain = ((x.wrapping_mul(7919) ^ y.wrapping_mul(104_729)) & 1023) as f32 / 1023.0;
        let shadow = 1.0 - 0.5 * (1.0 - (outside(x - 300, y - 200) / 120.0).clamp(0.0, 1.0));
        let v = shadow * (0.15 + 0.2 * x as f32 / 4096.0 + 0.05 * grain);
        if outside(x, y) < 0.0 {
            [0.6, 0.1, 0.05, 1.0]
        } else {
            [v, 0.9 * v, 0.7 * v, 1.0]
        }
    });
    write_picture(&here.join("disc.exr"), window, |x, y| {
        [(0.5 - outside(x, y)).clamp(0.0, 1.0); 4]
    });
    let weights = root().join("weights");
    let weights = weights.to_str().expect("a path");
    let always = [
        "decompose",
        "plate.exr",
        "--mask",
        "disc.exr",
        "-o",
        "layers.exr",
        "--progress",
        "none",
    ];
    let cache = here.join("cache");
    let cache = ["--cache", cache.to_str().expect("a path")];
    let runs: [(&str, &[&str]); 3] = [
        ("no cache on disk", &["--no-cache"]),
        ("a cache on disk that fills", &cache),
        ("with parts, from the cache", &[cache[0], cache[1], "--parts"]),
    ];
    for (name, more) in runs {
        let arguments = [&always, &["--weights", weights, "--device", "cpu"][..], more].concat();
        let found = peak(here, &arguments);
        println!("{name}: {:.2} GB", found as f64 / 1e6);
        assert!(found > 100_000 && found <= MOST, "{name}: {found} kB");
    }
}
