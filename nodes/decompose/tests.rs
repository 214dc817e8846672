use std::path::Path;

use peel_image::{Matte, Rect};
use peel_node::testing::{TestInputs, TestWorld};
use peel_node::{Edge, Input};

use super::*;

/// The suite's model, with random weights and small enough for tests: what it answers is nonsense, but it answers.
fn copy_tiny_model(folder: &Path) {
    let tiny = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/suite/decompose/tiny");
    std::fs::create_dir_all(folder).unwrap();
    for file in std::fs::read_dir(tiny).unwrap().flatten() {
        std::fs::copy(file.path(), folder.join(file.file_name())).unwrap();
    }
}

fn world(folder: &Path) -> TestWorld {
    copy_tiny_model(&folder.join("tiny"));
    TestWorld::new(folder)
}

const FRAME: Rect = Rect {
    x0: 0,
    y0: 0,
    x1: 64,
    y1: 48,
};

/// Not a flat picture: a ramp with highlights, negative values, and a pixel that is no number.
fn plate() -> Layer {
    Layer::from_fn(FRAME, FRAME, |x, y| {
        let light = x as f32 / 40.0 + (y % 7) as f32 * 0.01;
        match (x, y) {
            (3, 3) => [f32::NAN, 0.2, 0.1, 1.0],
            (5, 5) => [-0.1, 0.2, 70_000.0, 1.0],
            _ => [light, light * 0.8, 0.3, 1.0],
        }
    })
}

fn blob(x0: i32, y0: i32) -> Matte {
    Matte::from_fn(FRAME, Rect::new(x0, y0, x0 + 14, y0 + 12), |_, _| 1.0)
}

fn node(masks: &[&str]) -> Decompose {
    let input = |(slot, name): (usize, &&str)| {
        Input::new(
            slot + 1,
            Edge {
                node: (*name).to_owned(),
                ..Edge::default()
            },
        )
    };
    Decompose {
        plate: Input::on_slot(0),
        masks: masks.iter().enumerate().map(input).collect(),
        model: "tiny".to_owned(),
        steps: 1,
        sampler: "ddim".to_owned(),
        seed: 0,
        device: None,
        precision: Weights::F32,
        grow: 0.0,
        feather: 0.0,
        effect_threshold: 0.02,
        keep_grain: true,
        texture_fill: true,
        margin: 0.6,
        working_size: Some(32),
        light: None,
        light_frame: None,
        margins: None,
        parts: false,
        motion: Motion::Off,
        window: 3,
        window_step: 1,
        key_every: 0,
        made_up: MadeUp::KeyFrame,
        order: Order::AsListed,
    }
}

fn stack(values: &[Value]) -> Stack {
    let Some(Value::Stack(stack)) = values.last() else {
        panic!("the last output is the stack")
    };
    stack.as_ref().clone()
}

#[test]
fn outputs_are_background_masks_and_stack() {
    let names: Vec<_> = node(&["ball", "bear"])
        .outputs()
        .into_iter()
        .map(|output| output.name)
        .collect();
    assert_eq!(names, ["background", "ball", "bear", "stack"]);
}

#[test]
fn a_stack_of_two_lies_bottom_to_top_and_says_how_it_was_made() {
    let folder = tempfile::tempdir().unwrap();
    let world = world(folder.path());
    let inputs = TestInputs::new()
        .with(plate())
        .with(blob(10, 8))
        .with(blob(36, 22));
    let node = node(&["front", "back"]);
    let at = world.at(&inputs, 1);
    // `render` proves the recomposition itself, on a plate with numbers that are hard to hold.
    let values = node.render(&at).unwrap();
    let stack = stack(&values);
    let names: Vec<_> = stack.layers.iter().map(|named| named.name.as_str()).collect();
    assert_eq!(names, ["background", "back", "front"]);
    assert!(!stack.layers[2].layer.data().is_empty());
    let Value::Layer(front) = &values[1] else {
        panic!("a layer")
    };
    assert_eq!(front, &stack.layers[2].layer);

    let format = node.format(&at, 3).unwrap();
    assert_eq!(
        format
            .layers
            .iter()
            .map(|layer| layer.name.as_str())
            .collect::<Vec<_>>(),
        names
    );
    for name in [
        "peel:model",
        "peel:weights",
        "peel:seed",
        "peel:steps",
        "peel:device",
        "peel:dtype",
    ] {
        assert!(format.attributes.contains_key(name), "{name}");
    }
    let told = world.notes();
    assert_eq!(told.len(), 2, "a report a mask: {told:?}");
    // What is known with the pixels only goes into the file with them, from the cache as well.
    let facts = &stack.facts;
    assert_eq!(facts["peel:recomposition"], "front: 0; back: 0");
    assert!(
        facts["peel:light"].starts_with("front: exposure 1, white 0.85; back: "),
        "{facts:?}"
    );
    assert!(facts["peel:raw_model"].ends_with(" dB"), "{facts:?}");
    let again = self::stack(&node.render(&at).unwrap());
    assert_eq!(&again.facts, facts);
}

#[test]
fn changing_the_last_mask_runs_the_last_step_only() {
    let folder = tempfile::tempdir().unwrap();
    let world = world(folder.path());
    let inputs = TestInputs::new()
        .with(plate())
        .with(blob(10, 8))
        .with(blob(36, 22));
    let whole = node(&["a", "b"]).render(&world.at(&inputs, 1)).unwrap();
    assert_eq!(world.cached_keys().len(), 2);
    let again = node(&["a", "b"]).render(&world.at(&inputs, 1)).unwrap();
    // A word for "different" only: the pixels fill screens, and NaN is not itself.
    assert!(
        format!("{again:?}") == format!("{whole:?}"),
        "the cached steps give another stack"
    );
    assert_eq!(world.cached_keys().len(), 2);
    let changed = TestInputs::new()
        .with(plate())
        .with(blob(10, 8))
        .with(blob(30, 30));
    node(&["a", "b"]).render(&world.at(&changed, 1)).unwrap();
    assert_eq!(world.cached_keys().len(), 3);
    // Another name for the same matte is another layer's name, but the same step.
    node(&["a", "c"]).render(&world.at(&inputs, 1)).unwrap();
    assert_eq!(world.cached_keys().len(), 3);
    let mut reseeded = node(&["a", "b"]);
    reseeded.seed = 1;
    reseeded.render(&world.at(&inputs, 1)).unwrap();
    assert_eq!(world.cached_keys().len(), 5);
}

#[test]
fn an_empty_mask_leaves_the_plate() {
    let folder = tempfile::tempdir().unwrap();
    let world = world(folder.path());
    let inputs = TestInputs::new()
        .with(plate())
        .with(Matte::new(FRAME, Rect::EMPTY));
    let stack = stack(&node(&["none"]).render(&world.at(&inputs, 1)).unwrap());
    let bits = |layer: &Layer| {
        layer
            .pixels()
            .iter()
            .map(|p| p.map(f32::to_bits))
            .collect::<Vec<_>>()
    };
    assert_eq!(bits(&stack.layers[0].layer), bits(&plate()));
    assert!(stack.layers[1].layer.data().is_empty());
}

#[test]
fn odd_plates_and_masks_come_out_whole() {
    let folder = tempfile::tempdir().unwrap();
    let world = world(folder.path());
    let one = Rect::of_size(1, 1);
    let dot = Layer::from_fn(one, one, |_, _| [0.25, 0.5, 2.0, 1.0]);
    let cases = [
        (dot, Matte::from_fn(one, one, |_, _| 1.0)),
        (plate(), Matte::from_fn(FRAME, FRAME, |_, _| 1.0)),
        (plate(), Matte::from_fn(FRAME, FRAME.grow(20), |_, _| 0.5)),
        (Layer::from_fn(FRAME, FRAME, |_, _| [f32::NAN; 4]), blob(10, 8)),
    ];
    for (plate, mask) in cases {
        let inputs = TestInputs::new().with(plate).with(mask);
        node(&["mask"]).render(&world.at(&inputs, 1)).unwrap();
    }
}

#[test]
fn a_matte_of_another_size_is_told_with_both_sizes() {
    let folder = tempfile::tempdir().unwrap();
    let world = world(folder.path());
    let small = Rect::of_size(32, 24);
    let inputs = TestInputs::new()
        .with(plate())
        .with(Matte::from_fn(small, small, |_, _| 1.0));
    let error = node(&["ball"])
        .render(&world.at(&inputs, 1))
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("`ball`") && error.contains("32x24") && error.contains("64x48"),
        "{error}"
    );
}

#[test]
fn weights_that_do_not_fit_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let world = world(folder.path());
    let config = folder.path().join("tiny/config.ron");
    let wider = std::fs::read_to_string(&config)
        .unwrap()
        .replace("width: 16", "width: 32");
    std::fs::write(&config, wider).unwrap();
    let inputs = TestInputs::new().with(plate()).with(blob(10, 8));
    let error = node(&["ball"])
        .render(&world.at(&inputs, 1))
        .unwrap_err()
        .to_string();
    assert!(error.contains("tiny") && error.contains("wanted"), "{error}");
}

#[test]
fn reading_the_weights_is_the_first_part_of_the_work() {
    let folder = tempfile::tempdir().unwrap();
    let world = world(folder.path());
    let inputs = TestInputs::new().with(plate()).with(blob(10, 8));
    node(&["ball"]).render(&world.at(&inputs, 1)).unwrap();
    let told = world.progress_told();
    let reading = told
        .iter()
        .filter(|share| **share > 0.0 && **share <= 0.1)
        .count();
    assert!(reading > 1 && told.contains(&0.1), "{told:?}");
    assert!(told.iter().any(|share| *share > 0.9), "{told:?}");
}

#[test]
fn asking_to_stop_stops() {
    let folder = tempfile::tempdir().unwrap();
    let world = world(folder.path());
    world.cancelled.store(true, std::sync::atomic::Ordering::Relaxed);
    let inputs = TestInputs::new().with(plate()).with(blob(10, 8));
    assert!(matches!(
        node(&["ball"]).render(&world.at(&inputs, 1)),
        Err(Error::Cancelled)
    ));
    assert!(world.cached_keys().is_empty());
}

#[test]
fn objects_and_effects_come_apart_when_asked() {
    let folder = tempfile::tempdir().unwrap();
    let world = world(folder.path());
    let inputs = TestInputs::new()
        .with(plate())
        .with(blob(10, 8))
        .with(blob(36, 22));
    let mut node = node(&["a", "b"]);
    node.parts = true;
    let names: Vec<_> = node.outputs().into_iter().map(|output| output.name).collect();
    assert_eq!(
        names,
        [
            "background",
            "a",
            "b",
            "a.object",
            "a.effect",
            "b.object",
            "b.effect",
            "stack"
        ]
    );
    // `render` proves both stacks, with and without parts.
    let at = world.at(&inputs, 1);
    let values = node.render(&at).unwrap();
    assert_eq!(values.len(), names.len());
    let stack = stack(&values);
    let names: Vec<_> = stack.layers.iter().map(|named| named.name.as_str()).collect();
    assert_eq!(
        names,
        ["background", "b.effect", "b.object", "a.effect", "a.object"]
    );
    let format = node.format(&at, values.len() - 1).unwrap();
    assert!(format.layers.iter().map(|layer| layer.name.as_str()).eq(names));
}

#[test]
fn each_mask_may_have_its_own_margin() {
    let folder = tempfile::tempdir().unwrap();
    let world = world(folder.path());
    let inputs = TestInputs::new()
        .with(plate())
        .with(blob(10, 8))
        .with(blob(36, 22));
    let mut changed = node(&["a", "b"]);
    changed.render(&world.at(&inputs, 1)).unwrap();
    changed.margins = Some(vec![0.6, 0.2]);
    changed.render(&world.at(&inputs, 1)).unwrap();
    assert_eq!(world.cached_keys().len(), 3, "the first step is as it was");
}

mod order;
mod shot;
