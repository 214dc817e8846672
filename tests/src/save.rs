//! From a save to the picture: how long one changed colour takes in a graph of ten nodes at 4K.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use peel_engine::{CancelToken, Engine, RenderOptions};
use peel_image::Rect;

use crate::support::{engine, parse, write_picture};

const FRAME: Rect = Rect {
    x0: 0,
    y0: 0,
    x1: 3840,
    y1: 2160,
};

/// The graph of `crates/cli/benches/peers/save.py`, which measures the same through `peel watch`.
const GRAPH: &str = include_str!("../../crates/cli/benches/peers/save.ron");

fn write_plates(folder: &Path) {
    let grain = |x: i32, y: i32| ((x.wrapping_mul(7919) ^ y.wrapping_mul(104_729)) & 63) as f32 / 1024.0;
    let folder = &folder.join("in");
    fs::create_dir(folder).expect("a folder");
    write_picture(&folder.join("plate.exr"), FRAME, |x, y| {
        let light = 0.1 + x as f32 / 3840.0 + grain(x, y);
        [light, 0.8 * light, 0.6 * light, 1.0]
    });
    write_picture(&folder.join("ball.exr"), FRAME, |x, y| {
        let far = ((x - 2200) as f32 / 1250.0).hypot((y - 1100) as f32 / 880.0);
        let alpha = ((1.0 - far) * 40.0).clamp(0.0, 1.0);
        [0.5 + grain(y, x), 0.3, 0.2, 1.0].map(|c| c * alpha)
    });
    write_picture(&folder.join("haze.exr"), FRAME, |x, y| {
        let alpha = 0.3 + 0.3 * (x as f32 / 700.0).sin() * (y as f32 / 500.0).cos();
        [0.5 + grain(x, y), 0.55, 0.6, 1.0].map(|c| c * alpha)
    });
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

/// A measurement, which needs a machine with nothing else to do.
#[test]
#[ignore = "a measurement: cargo nextest run --release -p peel-tests --run-ignored only --no-capture save"]
fn one_changed_colour_at_4k() {
    let folder = tempfile::tempdir().expect("a folder");
    write_plates(folder.path());
    let engine: Engine = engine(2, &[]);
    let graph = |gain: usize| {
        let text = GRAPH.replace("GAIN", &format!("1.{gain:02}"));
        parse(&text, &folder.path().join("graph.ron"))
    };
    let options = RenderOptions {
        skip_current: true,
        ..RenderOptions::default()
    };
    let render = |gain: usize| {
        let begun = Instant::now();
        let rendered = engine.render(&graph(gain), &[1], &options, &|_| (), &CancelToken::new());
        assert!(rendered.expect("something to render").failed.is_empty());
        begun.elapsed()
    };
    // The second one finds somebody at work on `warm` and keeps what lies around it.
    render(0);
    render(1);
    let mut pixels = Vec::new();
    for gain in 2..12 {
        let begun = Instant::now();
        let value = engine.value(&graph(gain), "comp", 1, FRAME, &CancelToken::new());
        assert!(value.is_ok());
        pixels.push(begun.elapsed());
    }
    let files = (20..30).map(render).collect();
    let (pixels, files) = (median(pixels), median(files));
    println!("median to all pixels {pixels:?}, to the written EXR {files:?}");
    let size = fs::metadata(folder.path().join("out/save.exr"))
        .expect("a file")
        .len();
    assert!(size > 1_000_000 && pixels < Duration::from_millis(150) && files < Duration::from_millis(500));
}
