//! Frames that help each other out.

use peel_image::TRANSPARENT;

use super::*;

/// A floor with texture, nothing on it.
fn clean(x: i32, y: i32) -> [f32; 4] {
    let v = 0.3 + 0.1 * (0.9 * x as f32).sin() * (0.7 * y as f32).cos() + 0.002 * x as f32;
    [v, 0.8 * v, 0.5 * v, 1.0]
}

fn object(frame: i32, moves: i32) -> Rect {
    let x = 6 + moves * frame;
    Rect::new(x, 16, x + 12, 28)
}

/// The floor with a box on it that moves this many pixels a frame.
fn frame(number: i32, moves: i32) -> TestInputs {
    let object = object(number, moves);
    let plate = Layer::from_fn(FRAME, FRAME, |x, y| {
        if object.contains(x, y) {
            [0.9, 0.1, 0.1, 1.0]
        } else {
            clean(x, y)
        }
    });
    TestInputs::new()
        .with(plate)
        .with(Matte::from_fn(FRAME, object, |_, _| 1.0))
}

/// Frames 0 to 6; there is nothing before and after.
fn shot(moves: i32) -> TestInputs {
    let beyond = (-40..0)
        .chain(7..40)
        .fold(TestInputs::new(), |shot, number| shot.at_frame(number, None));
    (0..7).fold(beyond, |shot, number| shot.at_frame(number, frame(number, moves)))
}

fn sequence(motion: Motion, key_every: u32) -> Decompose {
    Decompose {
        motion,
        key_every,
        window: 4,
        ..node(&["box"])
    }
}

fn background(values: &[Value]) -> Arc<Layer> {
    let Some(Value::Layer(background)) = values.first() else {
        panic!("the first output is the background")
    };
    Arc::clone(background)
}

/// The largest difference from the true background inside the box, less a pixel around its border.
fn off(background: &Layer, number: i32) -> f32 {
    let hole = object(number, 5).grow(-1);
    let pixels = (hole.y0..hole.y1).flat_map(|y| (hole.x0..hole.x1).map(move |x| (x, y)));
    pixels.fold(0.0, |most, (x, y)| {
        (0..3).fold(most, |most: f32, c| {
            most.max((background.get(x, y)[c] - clean(x, y)[c]).abs())
        })
    })
}

#[test]
fn what_a_frame_hides_comes_from_those_that_show_it() {
    let folder = tempfile::tempdir().unwrap();
    let world = world(folder.path());
    let shot = shot(5);
    let node = sequence(Motion::Locked, 0);
    for number in [0, 3, 6] {
        let values = node.render(&world.at(&shot, number)).unwrap();
        let found = background(&values);
        let off = off(&found, number);
        assert!(off < 2e-3, "frame {number}: off by {off}");
        // Nothing but what the layer covers has changed.
        let stack = stack(&values);
        let layer = &stack.layers[1].layer;
        for (x, y) in (0..48).flat_map(|y| (0..64).map(move |x| (x, y))) {
            if layer.get(x, y) == TRANSPARENT {
                assert_eq!(found.get(x, y), frame_pixel(number, x, y), "({x}, {y})");
            }
        }
    }
}

fn frame_pixel(number: i32, x: i32, y: i32) -> [f32; 4] {
    if object(number, 5).contains(x, y) {
        [0.9, 0.1, 0.1, 1.0]
    } else {
        clean(x, y)
    }
}

#[test]
fn what_no_frame_shows_comes_from_the_key_frame() {
    let folder = tempfile::tempdir().unwrap();
    let world = world(folder.path());
    // The box stands still, so that nobody sees behind it. Beside it stands something that changes, and with it what is made
    // up behind the box.
    let still = (0..7).fold(shot(0), |shot, number| {
        let plate = Layer::from_fn(FRAME, FRAME, |x, y| {
            if object(0, 0).contains(x, y) {
                [0.8, 0.1, 0.3, 1.0]
            } else if Rect::new(18, 12, 26, 32).contains(x, y) {
                let level = 0.1 + 0.2 * (number % 4) as f32;
                [level, level, level, 1.0]
            } else {
                clean(x, y)
            }
        });
        shot.at_frame(
            number,
            TestInputs::new()
                .with(plate)
                .with(Matte::from_fn(FRAME, object(0, 0), |_, _| 1.0)),
        )
    });
    let render = |node: &Decompose, number| {
        background(&node.render(&world.at(&still, number)).unwrap()).crop(object(0, 0).grow(-2))
    };
    let apart = |a: &Layer, b: &Layer| {
        let values = |layer: &Layer| layer.pixels().iter().flatten().copied().collect::<Vec<f32>>();
        let sum: f32 = values(a).iter().zip(values(b)).map(|(a, b)| (a - b).abs()).sum();
        sum / a.pixels().len() as f32
    };
    let (keyed, own) = (sequence(Motion::Locked, 4), sequence(Motion::Locked, 0));
    let (with, without) = (
        apart(&render(&keyed, 5), &render(&keyed, 6)),
        apart(&render(&own, 5), &render(&own, 6)),
    );
    assert!(with < 0.25 * without, "{with} with key frames, {without} without");
    // A key frame stands on its own.
    assert_eq!(render(&keyed, 4), render(&own, 4));
}

#[test]
fn a_frame_does_not_depend_on_which_were_rendered_before() {
    let folder = tempfile::tempdir().unwrap();
    let together = world(folder.path());
    let shot = shot(5);
    let ways = [
        (Motion::Locked, MadeUp::KeyFrame, 2),
        (Motion::Homography, MadeUp::KeyFrame, 2),
        (Motion::Off, MadeUp::Neighbour, 4),
        (Motion::Locked, MadeUp::Neighbour, 4),
        (Motion::Homography, MadeUp::Neighbour, 4),
    ];
    for (motion, made_up, key_every) in ways {
        let node = Decompose {
            made_up,
            steps: 2,
            ..sequence(motion, key_every)
        };
        let in_order: Vec<_> = (0..7)
            .map(|number| format!("{:?}", node.render(&together.at(&shot, number)).unwrap()))
            .collect();
        for number in [6, 1, 3] {
            let alone = world(folder.path());
            let found = format!("{:?}", node.render(&alone.at(&shot, number)).unwrap());
            assert!(
                found == in_order[number as usize],
                "frame {number}, {motion:?}, {made_up:?}"
            );
        }
    }
}

#[test]
fn a_neighbour_that_is_missing_or_misfit_is_passed_over_with_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let world = world(folder.path());
    let node = sequence(Motion::Locked, 0);
    let small = Rect::of_size(32, 24);
    let plate = Layer::from_fn(FRAME, FRAME, clean);
    let misfit = TestInputs::new()
        .with(plate)
        .with(Matte::from_fn(small, small, |_, _| 1.0));
    let gap = shot(5).at_frame(2, None).at_frame(4, misfit);
    let values = node.render(&world.at(&gap, 3)).unwrap();
    assert!(off(&background(&values), 3) < 2e-3);
    let lines: Vec<_> = world
        .notes()
        .into_iter()
        .filter(|note| format!("{note:?}").contains("does without"))
        .collect();
    assert_eq!(lines.len(), 1, "{lines:?}");
    let line = format!("{:?}", lines[0]);
    // Where the shot begins and ends is no gap.
    assert!(line.contains("frame 3 does without 2, 4:"), "{line}");
    // The frame itself has to be there, and fit.
    let error = node.render(&world.at(&gap, 2)).unwrap_err().to_string();
    assert!(error.contains("there is no frame 2"), "{error}");
    let error = node.render(&world.at(&gap, 4)).unwrap_err().to_string();
    assert!(
        error.contains("`box`") && error.contains("32x24") && error.contains("64x48"),
        "{error}"
    );
}

#[test]
fn a_frame_looks_no_further_than_it_says() {
    let node = |window, window_step, key_every| Decompose {
        window,
        window_step,
        ..sequence(Motion::Locked, key_every)
    };
    assert_eq!(node(2, 1, 0).neighbour_frames(0, 10), [8, 9, 11, 12]);
    assert_eq!(node(2, 5, 0).neighbour_frames(0, 10), [0, 5, 15, 20]);
    assert_eq!(node(1, 1, 8).neighbour_frames(0, 8), [7, 9]);
    assert_eq!(node(1, 1, 8).neighbour_frames(0, 10), [7, 8, 9, 11, 15, 16, 17]);
    assert_eq!(
        node(1, 1, 8).neighbour_frames(0, -3),
        [-9, -8, -7, -4, -2, -1, 0, 1]
    );
    assert!(node(0, 1, 0).neighbour_frames(0, 10).is_empty());
    assert_eq!(node(1, 1, 0).neighbour_frames(0, i32::MAX), [i32::MAX - 1]);
    let off = Decompose {
        motion: Motion::Off,
        ..node(4, 1, 8)
    };
    assert!(off.neighbour_frames(0, 10).is_empty());
    let chained = |motion| Decompose {
        made_up: MadeUp::Neighbour,
        motion,
        ..node(1, 1, 8)
    };
    assert_eq!(
        chained(Motion::Off).neighbour_frames(0, 10),
        [8, 9, 11, 12, 13, 14, 15, 16]
    );
    assert!(chained(Motion::Off).neighbour_frames(0, 8).is_empty());
    assert_eq!(
        chained(Motion::Locked).neighbour_frames(0, 8),
        [0, 1, 2, 3, 4, 5, 6, 7, 9, 10, 11, 12, 13, 14, 15, 16]
    );
}

fn chained(motion: Motion, key_every: u32) -> Decompose {
    Decompose {
        made_up: MadeUp::Neighbour,
        steps: 2,
        ..sequence(motion, key_every)
    }
}

#[test]
fn sampling_may_start_from_the_neighbours_result() {
    let folder = tempfile::tempdir().unwrap();
    let world = world(folder.path());
    let node = chained(Motion::Off, 3);
    let whole = shot(5);
    let starts = |shot: &TestInputs| {
        (0..7)
            .map(|number| node.starts_from(&world.at(shot, number)).unwrap())
            .collect::<Vec<_>>()
    };
    assert_eq!(
        starts(&whole),
        [None, Some(0), Some(1), None, Some(3), Some(4), None]
    );
    // Frames that are missing are passed over; without its key frame a frame goes to the next one.
    let start = |shot: &TestInputs, number| node.starts_from(&world.at(shot, number)).unwrap();
    let gap = shot(5).at_frame(3, None).at_frame(4, None);
    assert_eq!((start(&gap, 5), start(&gap, 2)), (Some(6), Some(1)));
    assert_eq!(start(&shot(5).at_frame(4, None), 5), Some(3));
    // Key frames start anew.
    let own = Decompose {
        made_up: MadeUp::KeyFrame,
        ..chained(Motion::Off, 3)
    };
    let render = |node: &Decompose, number| background(&node.render(&world.at(&whole, number)).unwrap());
    assert_eq!(render(&node, 3), render(&own, 3));
    // The suite's model heeds no noise, so that the others are other pictures is seen by their keys.
    let key = |node: &Decompose, number| {
        let at = world.at(&whole, number);
        node.chain(&at, &node.model(&at).unwrap(), 1).unwrap()
    };
    assert_eq!(key(&node, 3), key(&own, 3));
    assert_ne!(key(&node, 5), key(&own, 5));
}

#[test]
fn a_chain_costs_one_sampling_a_frame_and_alone_the_way_from_its_key_frame() {
    let folder = tempfile::tempdir().unwrap();
    let (shot, node) = (shot(5), chained(Motion::Off, 4));
    let world_of = || world(folder.path());
    let alone = world_of();
    node.render(&alone.at(&shot, 6)).unwrap();
    assert_eq!(alone.cached_keys().len(), 3, "frames 4, 5 and 6");
    let all = world_of();
    (0..7).for_each(|number| drop(node.render(&all.at(&shot, number)).unwrap()));
    assert_eq!(all.cached_keys().len(), 7);
    // The plan says so, too.
    let plan: Vec<_> = node
        .steps(&all.at(&shot, 6))
        .unwrap()
        .into_iter()
        .map(|step| (step.frame, step.looks_at, all.cached_keys().contains(&step.key)))
        .collect();
    assert_eq!(
        plan,
        [(6, vec![5], true), (5, vec![4], true), (4, Vec::new(), true)]
    );
}

#[test]
fn a_change_before_a_key_frame_does_not_reach_past_it() {
    let folder = tempfile::tempdir().unwrap();
    let world = world(folder.path());
    for motion in [Motion::Off, Motion::Locked] {
        let node = Decompose {
            window: 1,
            ..chained(motion, 3)
        };
        let changed = |number: i32| shot(5).at_frame(number, frame(number, 4));
        let key = |shot: &TestInputs, number| {
            let at = world.at(shot, number);
            let steps = node.steps(&at).unwrap();
            steps.first().map(|step| step.key)
        };
        let whole = shot(5);
        assert_ne!(key(&whole, 5), key(&changed(4), 5), "{motion:?}");
        assert_ne!(key(&whole, 5), key(&changed(3), 5), "{motion:?}");
        assert_eq!(key(&whole, 5), key(&changed(2), 5), "{motion:?}");
        assert_eq!(key(&whole, 4), key(&changed(1), 4), "{motion:?}");
    }
}

#[test]
fn one_frame_may_say_how_light_is_shown_on_all() {
    let folder = tempfile::tempdir().unwrap();
    let world = world(folder.path());
    // The light goes up by five stops over the shot.
    let lit = |number: i32| {
        let gain = (number as f32).exp2();
        let plate = Layer::from_fn(FRAME, FRAME, |x, y| {
            let [r, g, b, a] = clean(x, y);
            [r * gain, g * gain, b * gain, a]
        });
        let box_ = Matte::from_fn(FRAME, object(0, 0), |_, _| 1.0);
        TestInputs::new().with(plate).with(box_)
    };
    let shot = (0..6).fold(shot(0), |shot, number| shot.at_frame(number, lit(number)));
    let mut node = sequence(Motion::Off, 0);
    let light = |node: &Decompose, number| node.options_at(&world.at(&shot, number), 0).unwrap().light;
    assert_eq!((light(&node, 0), light(&node, 5)), (None, None));
    node.light_frame = Some(5);
    let chosen = light(&node, 5).unwrap();
    assert!(chosen.exposure < 1.0, "{chosen:?}");
    assert_eq!(
        (0..6).map(|number| light(&node, number)).collect::<Vec<_>>(),
        [Some(chosen); 6]
    );
    assert_eq!(node.neighbour_frames(0, 2), [5]);
    assert!(node.neighbour_frames(0, 5).is_empty() && node.neighbour_frames(1, 2).is_empty());
    let key = |frame| {
        let node = Decompose {
            light_frame: Some(frame),
            ..sequence(Motion::Off, 0)
        };
        let at = world.at(&shot, 2);
        node.chain(&at, &node.model(&at).unwrap(), 1).unwrap()
    };
    assert_ne!(key(5), key(0), "another light is another result");
    node.light_frame = Some(60);
    let error = node.render(&world.at(&shot, 2)).unwrap_err().to_string();
    assert!(error.contains("`light_frame: 60`"), "{error}");
}

#[test]
fn a_plate_with_odd_pixels_comes_out_whole() {
    let folder = tempfile::tempdir().unwrap();
    let world = world(folder.path());
    let odd = (0..7).fold(shot(5), |shot, number| {
        shot.at_frame(number, TestInputs::new().with(plate()).with(blob(5 * number, 8)))
    });
    for motion in [Motion::Locked, Motion::Homography] {
        let mut node = sequence(motion, 4);
        node.parts = true;
        // `render` proves that the layers are the plate.
        node.render(&world.at(&odd, 3)).unwrap();
    }
}
