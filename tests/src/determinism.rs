//! The same graph gives the same bytes: on any number of threads, in bands of any height, with frames together or
//! one at a time.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use peel_engine::{Engine, EngineOptions};

use crate::support::{files_under, parse, render, root, tiny_weights, write_picture, write_plate_and_matte};

/// A graph with every kind of node in it, over two frames.
const GRAPH: &str = r#"Graph(format: 1, frames: "1-2", nodes: {
    "plate": Read(path: "plate.exr"),
    "matte": Mask(from: File("matte.exr"), grow: 1.5, feather: 2),
    "back": Mask(from: Polygon(points: [(40, 8), (60, 10), (55, 30)]), like: "plate", combine: Subtract("matte")),
    "peel": Decompose(plate: "plate", masks: ["matte", "back"], working_size: 32, steps: 2, seed: 3),
    "turned": Transform(input: "peel.matte", rotate: Keys([(1, 10), (2, 20)]), scale: (0.7, 1.2), filter: Lanczos3),
    "slid": Transform(input: "turned", translate: (3.25, -1)),
    "warm": Recolor(input: "slid", cdl: (power: (1.1, 1, 0.9)), hue: 20, mask: "back", mix: 0.5),
    "tint": Constant(colour: (0.1, 0.2, 0.9), alpha: 0.25, like: "plate"),
    "comp": AlphaOver(layers: ["peel.background", "warm", (input: "tint", operation: Screen, opacity: 0.5)]),
    "out": Write(input: "comp", path: "out/comp.####.exr"),
    "layers": Write(input: "peel.stack", path: "out/layers.####.exr", layout: Multipart, compression: Piz),
    "look": Write(input: "comp", path: "out/look.####.jpg"),
})"#;

fn bytes(
    folder: &Path,
    weights: &Path,
    threads: usize,
    band_rows: Option<usize>,
    runs: &[&[i32]],
    cache_dir: Option<&Path>,
) -> BTreeMap<String, Vec<u8>> {
    let weights_dirs = vec![weights.to_owned()];
    let _ = fs::remove_dir_all(folder.join("out"));
    for frames in runs {
        // An engine of its own for each run: nothing is left over from the one before.
        let weights_dirs = weights_dirs.clone();
        let engine = Engine::new(EngineOptions {
            threads,
            band_rows,
            weights_dirs,
            cache_dir: cache_dir.map(Path::to_owned),
            ..EngineOptions::default()
        });
        render(&engine, &parse(GRAPH, &folder.join("graph.ron")), frames);
    }
    let files = ["exr", "jpg"]
        .into_iter()
        .flat_map(|ending| files_under(&folder.join("out"), ending));
    files
        .map(|file| {
            (
                file.display().to_string(),
                fs::read(&file).expect("a rendered file"),
            )
        })
        .collect()
}

/// Plates in blocks and tiles of every kind, turned, so that bands come back to blocks.
#[test]
fn blocks_and_tiles_change_no_byte() {
    let fixtures = root().join("crates/io/tests/fixtures");
    for name in [
        "rows_piz",
        "rows_rle",
        "rows_dwab",
        "tiles_piz",
        "tiles_b44",
        "tiles_zip",
        "mipmap",
    ] {
        let folder = tempfile::tempdir().expect("a folder");
        fs::copy(
            fixtures.join(format!("{name}.exr")),
            folder.path().join("plate.exr"),
        )
        .expect("a plate");
        let graph = r#"Graph(format: 1, frames: "1", nodes: {
            "plate": Read(path: "plate.exr"),
            "turned": Transform(input: "plate", rotate: 30, scale: (1.5, 1.5)),
            "out": Write(input: "turned", path: "out.exr"),
            "straight": Recolor(input: "plate", exposure: 1),
            "lit": Write(input: "straight", path: "lit.exr"),
        })"#;
        let run = |threads, band_rows, again: bool| {
            let engine = Engine::new(EngineOptions {
                threads,
                band_rows,
                ..EngineOptions::default()
            });
            let graph = parse(graph, &folder.path().join("graph.ron"));
            for _ in 0..1 + usize::from(again) {
                render(&engine, &graph, &[1]);
            }
            ["out.exr", "lit.exr"].map(|file| fs::read(folder.path().join(file)).expect("a picture"))
        };
        let expected = run(1, None, false);
        for (threads, rows, again) in [
            (1, Some(1), false),
            (2, Some(3), true),
            (8, Some(5), false),
            (8, None, true),
        ] {
            assert!(
                run(threads, rows, again) == expected,
                "{name}: {threads} threads, bands of {rows:?}"
            );
        }
    }
}

#[test]
fn threads_bands_and_chunks_change_no_byte() {
    let (folder, weights) = (tempfile::tempdir().expect("a folder"), tiny_weights());
    write_plate_and_matte(folder.path());
    // A plate of another texture, so that bands cut through something.
    write_picture(
        &folder.path().join("plate.exr"),
        peel_image::Rect::of_size(64, 48),
        |x, y| {
            let wave = (x as f32 * 0.7).sin() * (y as f32 * 0.4).cos();
            [0.5 + 0.4 * wave, 0.4 - 0.2 * wave, 1.5 + wave, 1.0]
        },
    );
    let cache = tempfile::tempdir().expect("a folder");
    let run = |threads, rows, runs: &[&[i32]], cache| {
        bytes(folder.path(), weights.path(), threads, rows, runs, cache)
    };
    let expected = run(1, None, &[&[1, 2]], None);
    assert_eq!(expected.len(), 6);
    // The cache is cold the first time and warm from then on.
    let cache = Some(cache.path());
    for (threads, rows, runs, cache) in [
        (2, None, &[&[1, 2][..]][..], None),
        (2, Some(3), &[&[2, 1]], cache),
        (1, Some(1), &[&[1], &[2]], cache),
        (8, Some(7), &[&[2], &[1]], cache),
        (8, None, &[&[1, 2]], None),
        (2, Some(1000), &[&[1], &[2]], None),
    ] {
        let found = run(threads, rows, runs, cache);
        assert_eq!(found.len(), expected.len());
        for (name, content) in &expected {
            assert!(
                found[name] == *content,
                "{name} differs: {threads} threads, bands of {rows:?}, {runs:?}, cache {cache:?}"
            );
        }
    }
}
