//! Objects wherever they may be: over each other, at the frame's edge, larger than the model's view, few and small in a large
//! plate, many in a stack.
#![allow(clippy::unwrap_used)] // Helpers of tests unwrap as tests do.

mod common;

use std::sync::Arc;

use common::{Garbage, Guess, Known, assert_exact, half};
use peel_image::{Layer, Matte, Rect, Stack};
use peel_plate::{Decomposer, Options, Step, peel_one, settle};

fn peel(plate: &Layer, matte: &Matte, model: &dyn Decomposer, options: &Options) -> Step {
    let step = peel_one(plate, matte, model, options, &|_| true).unwrap();
    assert_exact(plate, &step.background, &step.foreground);
    assert_eq!(step.report.recomposition_max, 0.0);
    step
}

/// A floor with some texture.
fn floor(frame: Rect) -> Layer {
    Layer::from_fn(frame, frame, |x, y| {
        let fine = 1.0 + 0.1 * (0.8 * x as f32).sin() * (0.6 * y as f32).cos();
        [0.3 * fine, 0.26 * fine, (0.18 + 0.0001 * x as f32) * fine, 1.0]
    })
}

fn disc(frame: Rect, (cx, cy): (f32, f32), radius: f32) -> Matte {
    Matte::from_fn(frame, frame, |x, y| {
        (radius + 0.5 - (x as f32 - cx).hypot(y as f32 - cy)).clamp(0.0, 1.0)
    })
}

/// `colour` over the plate where the matte is.
fn put(plate: &mut Layer, matte: &Matte, colour: [f32; 3]) {
    let frame = plate.data();
    for y in frame.y0..frame.y1 {
        for (x, pixel) in (frame.x0..).zip(plate.row_mut(y)) {
            let m = matte.get(x, y);
            (0..3).for_each(|c| pixel[c] = m * colour[c] + (1.0 - m) * pixel[c]);
        }
    }
}

/// Fails unless the stack laid together, in half, is the plate.
fn assert_lays_back(plate: &Layer, stack: &Stack) {
    let frame = plate.data();
    for (x, y) in (frame.y0..frame.y1).flat_map(|y| (frame.x0..frame.x1).map(move |x| (x, y))) {
        let laid = stack.layers.iter().fold([0.0f32; 4], |below, named| {
            let above = half(named.layer.get(x, y));
            std::array::from_fn(|c| above[c] + below[c] * (1.0 - above[3]))
        });
        assert_eq!(half(laid), half(plate.get(x, y)), "({x}, {y})");
    }
}

/// Peels the masks off one after the other, and lays them together.
fn chain(plate: &Layer, mattes: &[Matte], models: &[&dyn Decomposer], options: &Options) -> Stack {
    let mut below = plate.clone();
    let mut fronts = Vec::new();
    for (number, matte) in mattes.iter().enumerate() {
        let step = peel(&below, matte, models[number % models.len()], options);
        fronts.push((format!("mask{number}"), Arc::new(step.foreground)));
        below = step.background;
    }
    let stack = settle(plate, &Arc::new(below), &fronts).unwrap();
    assert_eq!(stack.layers.len(), mattes.len() + 1);
    assert_lays_back(plate, &stack);
    stack
}

#[test]
fn masks_that_overlap_give_each_pixel_to_the_front_most() {
    let frame = Rect::of_size(256, 256);
    let (front, back) = (
        disc(frame, (110.0, 128.0), 40.0),
        disc(frame, (160.0, 128.0), 40.0),
    );
    let mut plate = floor(frame);
    put(&mut plate, &back, [0.1, 0.2, 0.6]);
    let behind = plate.clone();
    put(&mut plate, &front, [0.7, 0.1, 0.05]);
    let clean = floor(frame);
    let colour = |layer: &Layer, x: i32, y: i32| {
        let [r, g, b, _] = layer.get(x, y);
        [r, g, b]
    };
    let (covers_front, covers_back) = (front.clone(), back.clone());
    let first = Known::new(frame, move |x, y| {
        (colour(&behind, x, y), covers_front.get(x, y), 1.0)
    });
    let second = Known::new(frame, move |x, y| {
        (colour(&clean, x, y), covers_back.get(x, y), 1.0)
    });
    let options = Options {
        margin: 10.0,
        ..Options::default()
    };
    let stack = chain(&plate, &[front, back], &[&first, &second], &options);
    let [_, back, front] = &stack.layers[..] else {
        panic!("three layers")
    };
    // Where both masks are: the front object's colour in its layer, the other's, which nobody saw, in the other.
    for (x, y) in [(135, 128), (130, 118), (138, 140)] {
        let (front, back) = (front.layer.get(x, y), back.layer.get(x, y));
        assert!(front[3] == 1.0 && (front[0] - 0.7).abs() < 0.01, "{front:?}");
        assert!(back[3] > 0.99 && (back[2] - 0.6).abs() < 0.1, "{back:?}");
    }
}

#[test]
fn six_overlapping_objects_make_a_stack_of_seven() {
    let frame = Rect::of_size(320, 200);
    let mut plate = floor(frame);
    let mattes: Vec<Matte> = (0..6)
        .map(|k| {
            let at = (60.0 + 38.0 * k as f32, 100.0 + 18.0 * (k % 2) as f32);
            disc(frame, at, 34.0)
        })
        .collect();
    for (k, matte) in mattes.iter().enumerate().rev() {
        put(
            &mut plate,
            matte,
            [0.1 + 0.1 * k as f32, 0.5 - 0.08 * k as f32, 0.2],
        );
    }
    for model in [&Guess as &dyn Decomposer, &Garbage { broken: true }] {
        let stack = chain(&plate, &mattes, &[model], &Options::default());
        let names: Vec<_> = stack.layers.iter().map(|named| named.name.as_str()).collect();
        assert_eq!(
            names,
            ["background", "mask5", "mask4", "mask3", "mask2", "mask1", "mask0"]
        );
    }
    // With a model that follows the masks, each object is opaque in the middle of its own layer.
    let stack = chain(&plate, &mattes, &[&Guess], &Options::default());
    for k in 0..6 {
        let (x, y) = (60 + 38 * k, 100 + 18 * (k % 2));
        let layer = &stack.layers[6 - k as usize].layer;
        assert!(layer.get(x, y)[3] > 0.99, "{k}: {:?}", layer.get(x, y));
    }
}

#[test]
fn objects_at_the_frames_edges_and_corners() {
    let frame = Rect::of_size(300, 200);
    for at in [
        (0.0, 100.0),
        (299.0, 90.0),
        (150.0, 0.0),
        (140.0, 199.0),
        (0.0, 0.0),
        (299.0, 199.0),
        (-20.0, 60.0),
    ] {
        let matte = disc(frame, at, 30.0);
        let mut plate = floor(frame);
        put(&mut plate, &matte, [0.9, 0.1, 0.1]);
        let step = peel(&plate, &matte, &Guess, &Options::default());
        for y in 0..200 {
            for x in 0..300 {
                let (covered, front) = (matte.get(x, y), step.foreground.get(x, y)[3]);
                assert!(
                    covered < 1.0 || front == 1.0,
                    "{at:?}: alpha {front} at ({x}, {y})"
                );
            }
        }
        assert!(step.background.pixels().iter().flatten().all(|v| v.is_finite()));
    }
}

#[test]
fn objects_larger_than_the_models_view() {
    let frame = Rect::of_size(900, 700);
    // Larger than the frame, as large as it, and nearly so, at a view of 64 pixels.
    for radius in [2000.0, 460.0, 340.0] {
        let matte = disc(frame, (450.0, 350.0), radius);
        let mut plate = floor(frame);
        put(&mut plate, &matte, [0.5, 0.4, 0.1]);
        for model in [&Guess as &dyn Decomposer, &Garbage { broken: true }] {
            let options = Options {
                working_size: Some(64),
                ..Options::default()
            };
            let step = peel(&plate, &matte, model, &options);
            assert!(step.report.crop.encloses(matte.tight_window(0.05)));
        }
        let step = peel(&plate, &matte, &Guess, &Options::default());
        assert!((300..600).all(|x| step.foreground.get(x, 350)[3] == 1.0));
    }
}

#[test]
fn small_objects_in_an_8k_plate_have_crops_of_their_own() {
    let frame = Rect::of_size(7680, 4320);
    let places = [(120, 90), (7560, 200), (3900, 2100), (300, 4200), (7500, 4250)];
    let plate = Layer::from_fn(frame, frame, |x, y| {
        [0.2 + 1e-5 * x as f32, 0.25, 0.15 + 1e-5 * y as f32, 1.0]
    });
    let matte = Matte::from_fn(frame, frame, |x, y| {
        f32::from(
            places
                .iter()
                .any(|&(cx, cy)| (x - cx).pow(2) + (y - cy).pow(2) < 400),
        )
    });
    let step = peel_one(&plate, &matte, &Guess, &Options::default(), &|_| true).unwrap();
    assert_eq!(step.report.crops, places.len());
    assert_eq!(step.report.recomposition_max, 0.0);
    for (x, y) in places {
        assert_eq!(step.foreground.get(x, y)[3], 1.0);
    }
    // Far from all of them nothing is touched: at most a crop of the model's size each.
    assert!(
        step.report.affected < 5 * 128 * 128,
        "{} pixels",
        step.report.affected
    );
}

#[test]
fn random_plates_and_masks_lay_back_whatever_they_hold() {
    let mut state = 0x2545_f491_4f6c_dd1du64;
    let mut random = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1u64 << 24) as f32
    };
    for masks in 1..=8 {
        let frame = Rect::of_size(96, 72);
        // Highlights up to 60 000, negatives, values that half can hardly hold, and pixels that are no numbers.
        let plate = Layer::from_fn(frame, frame, |_, _| {
            let mut value = || {
                let size = match (random() * 8.0) as u32 {
                    0 => 60_000.0 * random(),
                    1 => 6e-5 * random(),
                    2 => 0.0,
                    3 => 60_000.0,
                    _ => random(),
                };
                if random() < 0.15 { -size } else { size }
            };
            [value(), value(), value(), 1.0]
        });
        let mattes: Vec<Matte> = (0..masks)
            .map(|_| {
                let (centre, radius) = ((96.0 * random(), 72.0 * random()), 5.0 + 30.0 * random());
                let (soft, hole) = (random(), random());
                Matte::from_fn(frame, frame, |x, y| {
                    let d = (x as f32 - centre.0).hypot(y as f32 - centre.1) - radius;
                    let covered = (0.5 - d / (1.0 + 20.0 * soft)).clamp(0.0, 1.0);
                    if d < -radius * hole {
                        0.3 * covered
                    } else {
                        covered
                    }
                })
            })
            .collect();
        chain(
            &plate,
            &mattes,
            &[&Garbage { broken: true }, &Guess],
            &Options::default(),
        );
    }
}
