//! `peel_one` with models of all kinds, good and bad, and with odd input.
#![allow(clippy::unwrap_used)] // Helpers of tests unwrap as tests do.

mod common;

use std::sync::Arc;

use common::{Blurred, Garbage, Known, Scene, assert_exact, half};
use peel_image::{Layer, Matte, Rect};
use peel_plate::{Decomposer, Error, Options, Quality, Step, peel_one, separate, settle};

fn on(_: f32) -> bool {
    true
}

/// Enough context that the model sees the whole frame, as [`Known`] needs it.
fn whole() -> Options {
    Options {
        margin: 10.0,
        ..Options::default()
    }
}

fn peel(plate: &Layer, matte: &Matte, model: &dyn Decomposer) -> Step {
    peel_one(plate, matte, model, &Options::default(), &on).unwrap()
}

#[test]
fn each_stage_brings_the_background_nearer_to_the_truth() {
    let scene = Scene::new(512, 512);
    let (plate, matte) = (scene.plate(), scene.matte());
    let oracle = Known::scene(Scene::new(512, 512));
    let mut shadow = Vec::new();
    for quality in [Quality::Plain, Quality::Gate, Quality::Unshadow, Quality::Seam] {
        let step = peel_one(&plate, &matte, &oracle, &Options { quality, ..whole() }, &on).unwrap();
        assert_exact(&plate, &step.background, &step.foreground);
        assert_eq!(step.report.recomposition_max, 0.0);
        shadow.push(scene.psnr(&step.background, |x, y| scene.in_shadow(x, y)));
    }
    println!("shadow {shadow:?}");
    assert!(shadow[2] > shadow[0] + 6.0 && shadow[2] > 38.0, "{shadow:?}");
}

#[test]
fn outside_the_effect_the_plate_stays_bit_for_bit() {
    let scene = Scene::new(512, 512);
    let step = peel_one(
        &scene.plate(),
        &scene.matte(),
        &Known::scene(Scene::new(512, 512)),
        &whole(),
        &on,
    )
    .unwrap();
    assert_exact(&scene.plate(), &step.background, &step.foreground);
    let clean = scene.psnr(&step.background, |x, y| {
        scene.through(x, y) == 1.0 && scene.coverage(x, y) == 0.0
    });
    assert!(clean > 60.0, "{clean}");
    let window = step.foreground.data();
    assert!(window.width() < 400 && window.height() < 300, "tight: {window}");
    assert!(step.report.raw_model_psnr > 40.0);
}

#[test]
fn garbage_is_exact_and_finite() {
    let scene = Scene::new(200, 150);
    for broken in [false, true] {
        let step = peel(&scene.plate(), &scene.matte(), &Garbage { broken });
        assert_exact(&scene.plate(), &step.background, &step.foreground);
        assert!(step.background.pixels().iter().flatten().all(|v| v.is_finite()));
        assert_eq!(step.report.model_non_finite > 0, broken);
        assert_eq!(step.report.recomposition_max, 0.0);
    }
}

#[test]
fn highlights_negatives_and_odd_pixels_survive() {
    let scene = Scene::new(96, 80);
    let mut plate = scene.plate();
    for (i, pixel) in plate.pixels_mut().iter_mut().enumerate() {
        match i % 17 {
            3 => pixel[0] = 60_000.0,
            5 => pixel[1] = -0.4,
            7 => *pixel = [3e-8, 0.0, 2f32.powi(-24), 1.0],
            9 => pixel[2] = 100.0,
            11 if i % 3 == 0 => pixel[0] = f32::NAN,
            13 if i % 3 == 0 => pixel[1] = f32::INFINITY,
            15 if i % 3 == 0 => pixel[2] = 1e7,
            _ => {}
        }
    }
    let everything = Matte::from_fn(scene.frame, scene.frame, |_, _| 0.7);
    for matte in [scene.matte(), everything] {
        let step = peel(&plate, &matte, &Garbage { broken: true });
        for (c, b) in plate.pixels().iter().zip(step.background.pixels()) {
            if !half(*c).iter().all(|v| v.is_finite()) {
                assert_eq!(c.map(f32::to_bits), b.map(f32::to_bits));
            }
        }
        assert!(step.report.non_finite > 0 && step.report.beyond_half > 0);
        assert_eq!(step.report.recomposition_max, 0.0);
        let mut finite = plate.clone();
        finite
            .pixels_mut()
            .iter_mut()
            .filter(|p| !half(**p).iter().all(|v| v.is_finite()))
            .for_each(|p| *p = [0.0; 4]);
        let mut background = step.background.clone();
        for (b, c) in background.pixels_mut().iter_mut().zip(plate.pixels()) {
            if !half(*c).iter().all(|v| v.is_finite()) {
                *b = [0.0; 4];
            }
        }
        assert_exact(&finite, &background, &step.foreground);
    }
}

#[test]
fn an_empty_matte_changes_nothing_and_runs_no_model() {
    struct Unused;
    impl Decomposer for Unused {
        fn decompose(
            &self,
            _: &peel_plate::Rgb,
            _: &peel_plate::Plane,
            _: &peel_plate::Sampling,
            _: &dyn Fn(f32) -> bool,
        ) -> peel_plate::Result<peel_plate::Prediction> {
            panic!("the model was run")
        }
        fn working_size(&self) -> usize {
            128
        }
        fn digest(&self) -> String {
            String::new()
        }
    }
    let scene = Scene::new(64, 48);
    let outside = Rect::new(100, 100, 120, 120);
    for matte in [
        Matte::new(scene.frame, Rect::EMPTY),
        Matte::new(scene.frame, scene.frame),
        Matte::from_fn(scene.frame, outside, |_, _| 1.0),
        Matte::from_fn(scene.frame, scene.frame, |_, _| f32::NAN),
        Matte::from_fn(scene.frame, scene.frame, |_, _| -3.0),
    ] {
        let step = peel(&scene.plate(), &matte, &Unused);
        assert_eq!(step.background, scene.plate());
        assert!(step.foreground.data().is_empty());
    }
    let nan = Matte::from_fn(scene.frame, scene.frame, |_, _| f32::NAN);
    assert_eq!(peel(&scene.plate(), &nan, &Unused).report.matte_nan, 64 * 48);
}

#[test]
fn odd_sizes_give_a_right_result() {
    for (w, h) in [(1, 1), (1, 300), (300, 1), (17, 5), (130, 129)] {
        let frame = Rect::of_size(w, h);
        let plate = Layer::from_fn(frame, frame, |x, y| [0.1, 0.01 * x as f32, 0.02 * y as f32, 1.0]);
        let all = Matte::from_fn(frame, frame, |_, _| 1.0);
        let step = peel(&plate, &all, &Garbage { broken: true });
        assert_exact(&plate, &step.background, &step.foreground);
        assert!(
            step.foreground.pixels().iter().all(|p| p[3] == 1.0),
            "a full matte takes everything"
        );
        let corner = Matte::from_fn(frame, frame, |x, y| f32::from(x == 0 && y == 0));
        let step = peel(&plate, &corner, &Garbage { broken: false });
        assert_exact(&plate, &step.background, &step.foreground);
    }
}

#[test]
fn windows_that_do_not_start_at_zero() {
    let display = Rect::new(0, 0, 200, 100);
    let data = Rect::new(-20, 10, 150, 120);
    let plate = Layer::from_fn(display, data, |x, y| {
        [0.2, 0.001 * (x + 50) as f32, 0.001 * y as f32, 1.0]
    })
    .with_pixel_aspect(2.0);
    let matte = Matte::from_fn(display, Rect::new(-30, 90, 30, 130), |_, _| 1.0);
    let step = peel(&plate, &matte, &Garbage { broken: false });
    assert_exact(&plate, &step.background, &step.foreground);
    assert_eq!(step.background.pixel_aspect(), 2.0);
    assert_eq!(step.foreground.pixel_aspect(), 2.0);
    assert!(step.foreground.get(0, 100)[3] > 0.5);
}

#[test]
fn a_matte_of_another_size_is_refused_with_both_sizes() {
    let scene = Scene::new(64, 48);
    let other = Rect::of_size(32, 32);
    let error = peel_one(
        &scene.plate(),
        &Matte::new(other, other),
        &Garbage { broken: false },
        &Options::default(),
        &on,
    );
    let text = error.unwrap_err().to_string();
    assert!(text.contains("64x48") && text.contains("32x32"), "{text}");
}

#[test]
fn options_out_of_range_are_named() {
    let scene = Scene::new(64, 48);
    for options in [
        Options {
            grow: -1.0,
            ..Options::default()
        },
        Options {
            margin: f32::NAN,
            ..Options::default()
        },
        Options {
            effect_threshold: 0.0,
            ..Options::default()
        },
        Options {
            working_size: Some(0),
            ..Options::default()
        },
    ] {
        let error = peel_one(
            &scene.plate(),
            &scene.matte(),
            &Garbage { broken: false },
            &options,
            &on,
        )
        .unwrap_err();
        assert!(matches!(error, Error::Option { .. }), "{error}");
    }
}

#[test]
fn controls_do_what_they_say() {
    let scene = Scene::new(512, 512);
    let (plate, matte) = (scene.plate(), scene.matte());
    let oracle = Known::scene(Scene::new(512, 512));
    let run = |options: Options| {
        let step = peel_one(&plate, &matte, &oracle, &options, &on).unwrap();
        assert_exact(&plate, &step.background, &step.foreground);
        step
    };
    let usual = run(whole());
    // Fine texture of the floor: mean step from one pixel to the next, where `wanted` says so.
    let roughness = |layer: &Layer, wanted: &dyn Fn(i32, i32) -> bool| {
        let pairs = (0..512)
            .flat_map(|y| (0..511).map(move |x| (x, y)))
            .filter(|&(x, y)| wanted(x, y));
        let steps: Vec<f32> = pairs
            .map(|(x, y)| (layer.get(x, y)[0] - layer.get(x + 1, y)[0]).abs())
            .collect();
        steps.iter().sum::<f32>() / steps.len() as f32
    };
    let shadow = |x: i32, y: i32| scene.coverage(x, y) == 0.0 && scene.through(x, y) < 0.6;
    let smooth = run(Options {
        keep_grain: false,
        ..whole()
    });
    assert!(roughness(&smooth.background, &shadow) < 0.5 * roughness(&usual.background, &shadow));
    let object = |x: i32, y: i32| scene.coverage(x, y) == 1.0;
    // A model that paints sharp detail needs none; a blurred one gets some.
    let fill = |texture_fill| {
        let options = Options {
            texture_fill,
            ..whole()
        };
        let step = peel_one(
            &plate,
            &matte,
            &Blurred(Known::scene(Scene::new(512, 512))),
            &options,
            &on,
        )
        .unwrap();
        roughness(&step.background, &object)
    };
    assert!(fill(false) < 0.5 * fill(true));
    let bold = run(Options {
        effect_threshold: 0.3,
        ..whole()
    });
    assert!(bold.report.affected < usual.report.affected);
    let wide = run(Options {
        grow: 20.0,
        feather: 10.0,
        ..whole()
    });
    assert_ne!(wide.background, usual.background);
}

#[test]
fn islands_far_apart_are_peeled_apart() {
    let frame = Rect::of_size(1200, 400);
    let plate = Layer::from_fn(frame, frame, |x, y| {
        [0.2 + 0.0001 * x as f32, 0.3, 0.0005 * y as f32, 1.0]
    });
    let matte = Matte::from_fn(frame, frame, |x, y| {
        f32::from(
            (20..60).contains(&x) && (20..60).contains(&y)
                || (1100..1150).contains(&x) && (300..330).contains(&y),
        )
    });
    let step = peel(&plate, &matte, &Garbage { broken: false });
    assert_eq!(step.report.crops, 2);
    assert_exact(&plate, &step.background, &step.foreground);
    assert!(step.foreground.get(30, 30)[3] > 0.5 && step.foreground.get(1120, 310)[3] > 0.5);
    assert_eq!(step.foreground.get(600, 200), [0.0; 4]);
}

#[test]
fn plates_with_alpha_share_it_out() {
    let scene = Scene::new(160, 120);
    let mut plate = scene.plate();
    for (i, pixel) in plate.pixels_mut().iter_mut().enumerate() {
        let alpha = half::f16::from_f32((i % 160) as f32 / 159.0).to_f32();
        *pixel = pixel.map(|v| v * alpha);
    }
    let step = peel(&plate, &scene.matte(), &Garbage { broken: false });
    assert_exact(&plate, &step.background, &step.foreground);
    assert!(step.foreground.pixels().iter().any(|p| p[3] > 0.2 && p[3] < 0.8));
}

#[test]
fn any_number_of_threads_gives_the_same_bytes() {
    let scene = Scene::new(300, 220);
    let run = |threads| {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .unwrap();
        pool.install(|| peel(&scene.plate(), &scene.matte(), &Garbage { broken: true }))
    };
    let one = run(1);
    for threads in [2, 5] {
        let many = run(threads);
        assert_eq!(one.background, many.background);
        assert_eq!(one.foreground, many.foreground);
        assert_eq!(one.report, many.report);
    }
}

#[test]
fn cancelling_stops() {
    let scene = Scene::new(64, 48);
    let result = peel_one(
        &scene.plate(),
        &scene.matte(),
        &Garbage { broken: false },
        &Options::default(),
        &|_| false,
    );
    assert!(matches!(result, Err(Error::Cancelled)));
}

#[test]
fn a_chain_of_masks_settles_into_an_exact_stack() {
    let scene = Scene::new(240, 180);
    let plate = scene.plate();
    let mut input = plate.clone();
    let mut foregrounds = Vec::new();
    for k in 0..8 {
        let matte = Matte::from_fn(scene.frame, scene.frame, |x, y| {
            let d = (x as f32 - 60.0 - 15.0 * k as f32).hypot(y as f32 - 90.0);
            (30.5 - d).clamp(0.0, 1.0)
        });
        let options = Options {
            seed: k,
            ..Options::default()
        };
        let step = peel_one(&input, &matte, &Garbage { broken: true }, &options, &on).unwrap();
        foregrounds.push((format!("ball{k}"), Arc::new(step.foreground)));
        input = step.background;
    }
    let stack = settle(&plate, &Arc::new(input), &foregrounds).unwrap();
    assert_eq!(stack.layers[0].name, "background");
    assert_eq!(stack.layers[1].name, "ball7");
    for y in 0..180 {
        for x in 0..240 {
            let mut laid = [0.0f32; 4];
            for named in &stack.layers {
                let a = half(named.layer.get(x, y));
                laid = std::array::from_fn(|c| a[c] + laid[c] * (1.0 - a[3]));
            }
            assert_eq!(half(laid), half(plate.get(x, y)), "({x}, {y})");
        }
    }
}

#[test]
fn object_and_effect_come_apart_exactly() {
    let scene = Scene::new(512, 512);
    let (plate, matte) = (scene.plate(), scene.matte());
    let step = peel_one(&plate, &matte, &Known::scene(Scene::new(512, 512)), &whole(), &on).unwrap();
    let parts = separate(&plate, &step, &matte).unwrap();
    let (mut object_off, mut effect_off, mut hidden) = (0.0f32, 0.0f32, 0);
    for (x, y) in (0..512).flat_map(|y| (0..512).map(move |x| (x, y))) {
        let (object, effect) = (parts.object.get(x, y), parts.effect.get(x, y));
        let laid = [effect, object]
            .iter()
            .fold(step.background.get(x, y), |below, above| {
                std::array::from_fn(|c| above[c] + below[c] * (1.0 - above[3]))
            });
        assert_eq!(half(laid), half(plate.get(x, y)), "({x}, {y})");
        let (covered, through) = (scene.coverage(x, y), scene.through(x, y));
        if covered == 0.0 && object[3] > 0.0 {
            object_off = object_off.max(object[3]);
        }
        if covered == 1.0 {
            assert_eq!(object[3], 1.0, "({x}, {y}) is all object");
            effect_off = effect_off.max((effect[3] - (1.0 - through)).abs());
            hidden += i32::from(effect[3] > 0.1);
        }
    }
    assert!(hidden > 500, "the shadow goes on under the ball: {hidden} pixels");
    assert!(
        effect_off < 0.35 && object_off < 0.35,
        "{effect_off} {object_off}"
    );
}

/// Two objects side by side, the first one's shadow over the second: the shadow is the caster's, and lies over the other layer.
#[test]
fn a_shadow_on_another_masked_object_stays_with_its_caster() {
    let frame = Rect::of_size(256, 256);
    let disc = |x: i32, y: i32, cx: f32| (40.5 - (x as f32 - cx).hypot(y as f32 - 128.0)).clamp(0.0, 1.0);
    let caster = move |x: i32, y: i32| disc(x, y, 80.0);
    let other = move |x: i32, y: i32| disc(x, y, 190.0);
    // A band of shadow from the caster across the other object.
    let shade = |x: i32, y: i32| {
        if (80..230).contains(&x) && (108..148).contains(&y) {
            0.4
        } else {
            1.0
        }
    };
    let floor = [0.3, 0.28, 0.2];
    let lit_other = [0.5, 0.2, 0.1];
    let behind = move |x: i32, y: i32| -> [f32; 3] {
        let m = other(x, y);
        std::array::from_fn(|c| m * lit_other[c] + (1.0 - m) * floor[c])
    };
    let plate = Layer::from_fn(frame, frame, |x, y| {
        let m = caster(x, y);
        let c: [f32; 3] = std::array::from_fn(|c| m * 0.05 + (1.0 - m) * shade(x, y) * behind(x, y)[c]);
        [c[0], c[1], c[2], 1.0]
    });
    let matte = |f: &dyn Fn(i32, i32) -> f32| Matte::from_fn(frame, frame, f);
    let (first, second) = (
        Known::new(frame, move |x, y| (behind(x, y), caster(x, y), shade(x, y))),
        Known::new(frame, move |x, y| (floor, other(x, y), 1.0)),
    );
    let front = peel_one(&plate, &matte(&caster), &first, &whole(), &on).unwrap();
    let back = peel_one(&front.background, &matte(&other), &second, &whole(), &on).unwrap();
    assert_exact(&plate, &front.background, &front.foreground);
    assert_exact(&front.background, &back.background, &back.foreground);
    // On the other object, in the shadow's middle: the shadow lies in the caster's layer, and the other layer is lit.
    for (x, y) in [(190, 128), (200, 120), (180, 136)] {
        let shadow = front.foreground.get(x, y);
        assert!((shadow[3] - 0.6).abs() < 0.06, "({x}, {y}): {shadow:?}");
        let lit = back.foreground.get(x, y);
        assert!(
            lit[3] > 0.99 && (lit[0] - 0.5).abs() < 0.06,
            "({x}, {y}): {lit:?}"
        );
    }
    let stack = settle(
        &plate,
        &Arc::new(back.background),
        &[
            ("caster".to_owned(), Arc::new(front.foreground)),
            ("other".to_owned(), Arc::new(back.foreground)),
        ],
    )
    .unwrap();
    for (x, y) in (0..256).flat_map(|y| (0..256).map(move |x| (x, y))) {
        let laid = stack.layers.iter().fold([0.0f32; 4], |below, named| {
            let above = half(named.layer.get(x, y));
            std::array::from_fn(|c| above[c] + below[c] * (1.0 - above[3]))
        });
        assert_eq!(half(laid), half(plate.get(x, y)), "({x}, {y})");
    }
}

/// A crop of a large plate costs what it costs in a small one: nothing but the copy of the plate grows with the frame.
#[test]
fn the_cost_grows_with_the_crop() {
    let affected = |width, height| {
        let frame = Rect::of_size(width, height);
        let plate = Layer::from_fn(frame, frame, |x, y| {
            [0.2, 0.001 * (x % 300) as f32, 0.3 * (y % 2) as f32, 1.0]
        });
        let matte = Matte::from_fn(frame, frame, |x, y| {
            let near = |cx: i32, cy: i32| (x - cx).pow(2) + (y - cy).pow(2) < 400;
            f32::from(near(60, 60) || near(700, 300))
        });
        let options = Options {
            margin: 1.0,
            ..Options::default()
        };
        let step = peel_one(&plate, &matte, &Garbage { broken: false }, &options, &on).unwrap();
        assert_eq!(step.report.crops, 2);
        (step.report.affected, step.foreground.data())
    };
    assert_eq!(affected(800, 400), affected(3840, 2160));
}
