//! How fast files are read and written: `cargo test --release -p peel-io --test speed -- --ignored --nocapture`.

#![allow(clippy::unwrap_used)]

use std::time::Instant;

use peel_image::{Layer, Rect};
use peel_io::{Budget, Compression, OutputLayer, ReadOptions, WriteOptions, read, write_exr};

#[test]
#[ignore = "a measurement, not a check"]
fn one_layer_at_1920_by_1080() {
    let folder = tempfile::tempdir().unwrap();
    let frame = Rect::of_size(1920, 1080);
    let layer = Layer::from_fn(frame, frame, |x, y| {
        let grain = ((x * 7919 + y * 104_729) % 97).unsigned_abs() as f32 / 970.0;
        [
            x as f32 / 1920.0 + grain,
            y as f32 / 1080.0 + grain,
            0.5 + grain,
            1.0,
        ]
    });
    for compression in Compression::ALL {
        let path = folder.path().join(format!("{compression}.exr"));
        let start = Instant::now();
        write_exr(
            &path,
            &[OutputLayer::base(&layer)],
            &WriteOptions {
                compression,
                ..WriteOptions::default()
            },
        )
        .unwrap();
        let written = start.elapsed();
        let start = Instant::now();
        read(&path, &ReadOptions::default(), &Budget::default()).unwrap();
        let bytes = std::fs::metadata(&path).unwrap().len();
        println!(
            "{compression:6} write {written:?}, read {:?}, {bytes} bytes",
            start.elapsed()
        );
    }
}
