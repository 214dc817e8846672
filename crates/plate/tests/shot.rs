//! The sample shot: two masks, a chain of two steps, written and read back.
#![allow(clippy::unwrap_used)] // Helpers of tests unwrap as tests do.

mod common;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use common::{Garbage, Guess, assert_exact, half};
use peel_image::{Layer, Matte};
use peel_io::{Budget, ReadOptions, WriteOptions};
use peel_plate::{Decomposer, Options, occlusion, peel_one, settle};

fn graphs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../graphs")
}

fn plate(frame: u32) -> Layer {
    let path = graphs().join(format!("plates/floor.{frame}.exr"));
    let picture = peel_io::read(&path, &ReadOptions::default(), &Budget::default()).unwrap();
    picture.into_first().unwrap().as_ref().clone()
}

fn matte(name: &str, frame: u32) -> Matte {
    let path = graphs().join(format!("mattes/{name}.{frame}.exr"));
    peel_io::read_channel(&path, Some("A"), &Budget::default()).unwrap()
}

#[test]
fn the_stack_laid_back_together_is_the_plate_even_after_a_file() {
    for frame in [1001, 1008] {
        for model in [&Guess as &dyn Decomposer, &Garbage { broken: true }] {
            let plate = plate(frame);
            let mut input = plate.clone();
            let mut foregrounds = Vec::new();
            for name in ["ball", "bear"] {
                let options = Options {
                    seed: 7,
                    ..Options::default()
                };
                let step = peel_one(&input, &matte(name, frame), model, &options, &|_| true).unwrap();
                assert_exact(&input, &step.background, &step.foreground);
                assert_eq!(step.report.recomposition_max, 0.0, "{}", step.report);
                foregrounds.push((name.to_owned(), Arc::new(step.foreground)));
                input = step.background;
            }
            let stack = settle(&plate, &Arc::new(input), &foregrounds).unwrap();
            let file = tempfile::tempdir().unwrap().path().join("stack.exr");
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            peel_io::write_stack(&file, &stack, &WriteOptions::default()).unwrap();
            let all = ReadOptions {
                selection: peel_io::Selection::All,
                ..ReadOptions::default()
            };
            let back = peel_io::read(&file, &all, &Budget::default()).unwrap();
            let layers: Vec<_> = ["background", "bear", "ball"]
                .map(|name| back.layer(name).unwrap().clone())
                .into();
            for y in 0..plate.data().y1 {
                for x in 0..plate.data().x1 {
                    let mut laid = [0.0f32; 4];
                    for layer in &layers {
                        let a = layer.get(x, y);
                        laid = std::array::from_fn(|c| a[c] + laid[c] * (1.0 - a[3]));
                    }
                    assert_eq!(half(laid), half(plate.get(x, y)), "frame {frame} at ({x}, {y})");
                }
            }
        }
    }
}

#[test]
fn far_from_the_object_nothing_changes() {
    let plate = plate(1001);
    let step = peel_one(&plate, &matte("ball", 1001), &Guess, &Options::default(), &|_| {
        true
    })
    .unwrap();
    let bits = |layer: &Layer, x: i32, y: i32| layer.get(x, y).map(f32::to_bits);
    for y in 0..40 {
        for x in 0..plate.data().x1 {
            assert_eq!(bits(&plate, x, y), bits(&step.background, x, y));
        }
    }
}

#[test]
fn masks_of_what_is_seen_do_not_overlap_and_tell_no_order() {
    for frame in 1001..=1008 {
        let (ball, bear) = (matte("ball", frame), matte("bear", frame));
        assert_eq!(occlusion(&plate(frame), &ball, &bear), None, "frame {frame}");
        assert_eq!(occlusion(&plate(frame), &bear, &ball), None, "frame {frame}");
    }
}
