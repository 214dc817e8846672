//! The suite: each small graph under `suite/`, and each node's `example.ron`, writes one picture, which is compared
//! with the EXR file of the same name beside the graph.
//!
//! Where they differ, a picture of the expected, the found, and ten times their difference is left in
//! `tests/differences/`. `PEEL_UPDATE=1` takes what was found as what is expected.

use std::fs;
use std::path::{Path, PathBuf};

use peel_image::diff::{Difference, Thresholds};
use peel_image::{Layer, Rect, Stack};
use peel_io::{Budget, Picture, PngOptions, ReadOptions, Selection};

use crate::support::{TINY_SEED, engine, load, make_tiny_model, render, root};

/// Two machines may differ in the last bits of sines and powers, and so by a step of half here and there.
const ALIKE: Thresholds = Thresholds {
    fail: 1e-3,
    share: 1e-3,
    hard: 1e-2,
};

/// What a model makes differs more from machine to machine: each has its own fast way of adding.
const ALIKE_BY_A_MODEL: Thresholds = Thresholds {
    fail: 1e-2,
    share: 1e-2,
    hard: 0.25,
};

fn read(path: &Path) -> Picture {
    let options = ReadOptions {
        selection: Selection::All,
        ..ReadOptions::default()
    };
    peel_io::read(path, &options, &Budget::default()).unwrap_or_else(|error| panic!("{error}"))
}

fn stack(picture: &Picture) -> Stack {
    Stack {
        layers: picture.layers.clone(),
        ..Stack::default()
    }
}

/// Renders a case and says in which way it is not as expected. `compared` chooses the layers whose pixels count.
fn run(case: &Path, thresholds: Thresholds, compared: fn(&str) -> bool) -> Result<(), String> {
    let graph = load(case);
    let frame = graph.frames.frames()[0];
    let summary = render(&engine(2, &[&root().join("weights")]), &graph, &[frame]);
    let [written] = summary.written.as_slice() else {
        return Err(format!(
            "a case writes one file, this one {}",
            summary.written.len()
        ));
    };
    let reference = case.with_extension("exr");
    if std::env::var_os("PEEL_UPDATE").is_some() {
        fs::copy(written, &reference).map_err(|error| error.to_string())?;
    }
    if !reference.is_file() {
        return Err(format!(
            "{} is missing; PEEL_UPDATE=1 makes it",
            reference.display()
        ));
    }
    let (expected, found) = (read(&reference), read(written));
    if (expected.display, expected.pixel_aspect) != (found.display, found.pixel_aspect) {
        return Err(format!(
            "display {} expected, {} found",
            expected.display, found.display
        ));
    }
    let differences = peel_image::diff::stacks(&stack(&expected), &stack(&found), thresholds)?;
    for (name, difference) in differences {
        if compared(&name) && !difference.passes() {
            let picture = three_up(case, &name, &expected, &found);
            return Err(format!("layer {name:?}: {difference}; see {}", picture.display()));
        }
    }
    Ok(())
}

/// Expected, found, and ten times their difference, side by side.
fn three_up(case: &Path, name: &str, expected: &Picture, found: &Picture) -> PathBuf {
    let nothing = Layer::new(expected.display, Rect::EMPTY);
    let layer = |picture: &Picture| {
        picture
            .layer(name)
            .map_or(nothing.clone(), |layer| Layer::clone(layer))
    };
    let (expected, found) = (layer(expected), layer(found));
    let window = expected.data().union(found.data()).union(expected.display());
    let (width, height) = (window.width() as i32, window.height() as i32);
    let wide = Rect::new(0, 0, 3 * width + 8, height);
    let picture = Layer::from_fn(wide, wide, |x, y| {
        let (column, x) = (x / (width + 4), x % (width + 4));
        let (x, y) = (x + window.x0, y + window.y0);
        if x >= window.x1 {
            return [1.0; 4];
        }
        let (a, b) = (expected.get(x, y), found.get(x, y));
        let shown = match column {
            0 => a,
            1 => b,
            _ => std::array::from_fn(|i| 10.0 * (a[i] - b[i]).abs()),
        };
        [shown[0], shown[1], shown[2], 1.0]
    });
    let stem = |path: &Path| {
        path.file_stem()
            .map(|stem| stem.to_string_lossy().into_owned())
            .unwrap_or_default()
    };
    let group = case.parent().map(stem).unwrap_or_default();
    let path = root()
        .join("tests/differences")
        .join(format!("{group}-{}-{name}.png", stem(case)));
    peel_io::write_png(&path, &picture, &PngOptions::default()).expect("a picture of the difference");
    path
}

fn run_all(cases: Vec<PathBuf>, thresholds: Thresholds, compared: fn(&str) -> bool) {
    let failures: Vec<String> = cases
        .iter()
        .filter_map(|case| {
            run(case, thresholds, compared)
                .err()
                .map(|reason| format!("{}: {reason}", case.display()))
        })
        .collect();
    assert!(
        failures.is_empty(),
        "{} of {} fail:\n{}",
        failures.len(),
        cases.len(),
        failures.join("\n")
    );
}

/// The graphs of a node's folder in the suite.
fn suite(node: &str) -> Vec<PathBuf> {
    let folder = root().join("tests/suite").join(node);
    let mut cases: Vec<PathBuf> = fs::read_dir(folder)
        .expect("a folder of cases")
        .flatten()
        .map(|e| e.path())
        .collect();
    cases.retain(|path| path.extension().is_some_and(|ending| ending == "ron"));
    cases.sort();
    assert!(!cases.is_empty(), "there are no cases for {node}");
    cases
}

fn example(node: &str) -> PathBuf {
    root().join("nodes").join(node).join("example.ron")
}

fn cases(node: &str) -> Vec<PathBuf> {
    suite(node).into_iter().chain([example(node)]).collect()
}

#[test]
fn read_gives_its_references() {
    run_all(cases("read"), ALIKE, |_| true);
}

#[test]
fn constant_gives_its_references() {
    run_all(cases("constant"), ALIKE, |_| true);
}

#[test]
fn mask_gives_its_references() {
    run_all(cases("mask"), ALIKE, |_| true);
}

#[test]
fn transform_gives_its_references() {
    run_all(cases("transform"), ALIKE, |_| true);
}

#[test]
fn recolor_gives_its_references() {
    run_all(cases("recolor"), ALIKE, |_| true);
}

#[test]
fn alpha_over_gives_its_references() {
    run_all(cases("alpha_over"), ALIKE, |_| true);
}

#[test]
fn time_offset_gives_its_references() {
    run_all(cases("time_offset"), ALIKE, |_| true);
}

#[test]
fn frame_hold_gives_its_references() {
    run_all(cases("frame_hold"), ALIKE, |_| true);
}

#[test]
fn group_gives_its_references() {
    run_all(cases("group"), ALIKE, |_| true);
}

#[test]
fn write_gives_its_references() {
    run_all(cases("write"), ALIKE, |_| true);
}

/// The suite's own model is small and stays as it is; its weights are random.
#[test]
fn decompose_gives_its_references() {
    let model = root().join("tests/suite/decompose/tiny");
    if std::env::var_os("PEEL_UPDATE").is_some() && !model.is_dir() {
        make_tiny_model(&model, TINY_SEED);
    }
    run_all(suite("decompose"), ALIKE_BY_A_MODEL, |_| true);
    // The example runs the shipped model, which is trained again and again. What stays is what it is laid
    // together to: the plate.
    run_all(vec![example("decompose")], ALIKE, str::is_empty);
}

#[test]
fn every_folder_of_the_suite_is_a_node() {
    let nodes: Vec<String> = peel_nodes::registry()
        .kinds()
        .iter()
        .map(|kind| folder_of(kind.name))
        .collect();
    let mut folders: Vec<String> = fs::read_dir(root().join("tests/suite"))
        .expect("the suite")
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    folders.sort();
    let mut expected = nodes.clone();
    expected.sort();
    assert_eq!(
        folders, expected,
        "each node has a folder of cases, and nothing else has one"
    );
}

/// `AlphaOver` lives in `alpha_over`.
pub fn folder_of(kind: &str) -> String {
    let mut folder = String::new();
    for c in kind.chars() {
        if c.is_ascii_uppercase() && !folder.is_empty() {
            folder.push('_');
        }
        folder.push(c.to_ascii_lowercase());
    }
    folder
}

#[test]
fn the_comparison_sees_a_difference() {
    let window = Rect::of_size(4, 4);
    let (a, b) = (
        Layer::new(window, window),
        Layer::from_fn(window, window, |x, _| [0.02 * x as f32; 4]),
    );
    assert!(Difference::of(&a, &a, ALIKE).passes() && !Difference::of(&a, &b, ALIKE).passes());
}
