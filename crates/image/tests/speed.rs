//! How fast the inner loops are: `cargo test --release -p peel-image --test speed -- --ignored --nocapture`.

#![allow(clippy::print_stdout)]

use std::hint::black_box;
use std::time::Instant;

use peel_image::{
    Filter, Layer, Matrix, Matte, MergeOp, Rect, matte_ops, quantise, resample, resampled_window,
};

const FRAME: Rect = Rect {
    x0: 0,
    y0: 0,
    x1: 1920,
    y1: 1080,
};

fn time(what: &str, mut work: impl FnMut()) {
    work();
    let start = Instant::now();
    let mut rounds = 0;
    while start.elapsed().as_millis() < 400 {
        work();
        rounds += 1;
    }
    println!(
        "{what:32} {:8.2} ms",
        start.elapsed().as_secs_f64() * 1e3 / f64::from(rounds)
    );
}

#[test]
#[ignore = "a measurement, not a check"]
fn one_thread_at_1920_by_1080() {
    let source = Layer::from_fn(FRAME, FRAME, |x, y| {
        [x as f32 / 1920.0, y as f32 / 1080.0, 0.5, 0.5]
    });
    let mut below = source.clone();
    for op in [MergeOp::Over, MergeOp::Screen, MergeOp::ConjointOver] {
        time(op.name(), || {
            op.row(black_box(source.pixels()), black_box(below.pixels_mut()))
        });
    }
    time("round to half", || quantise::half_layer(black_box(&mut below)));
    let turn = Matrix::compose((3.5, 0.0), 10.0, (1.0, 1.0), (0.0, 0.0), (960.0, 540.0));
    let small = Matrix::scale(0.25, 0.25);
    let move_by = Matrix::translate(0.5, 0.25);
    for (name, forward) in [("turn", turn), ("quarter", small), ("move", move_by)] {
        let Some(inverse) = forward.inverse() else { return };
        for filter in [Filter::Bilinear, Filter::Cubic, Filter::Lanczos3] {
            let window = resampled_window(FRAME, &inverse, filter);
            time(&format!("{name} {filter}"), || {
                black_box(resample(&source, &inverse, filter, window));
            });
        }
    }
    let blob = |x: i32, y: i32| {
        (1.5 - (f64::from(x - 960).hypot(f64::from(y - 540)) / 300.0)).clamp(0.0, 1.0) as f32
    };
    let matte = Matte::from_fn(FRAME, FRAME, blob);
    for radius in [2.0, 20.0, -20.0, 100.0] {
        time(&format!("grow {radius}"), || {
            black_box(matte_ops::grow(&matte, radius));
        });
    }
    for size in [1.5, 20.0] {
        time(&format!("feather {size}"), || {
            black_box(matte_ops::feather(&matte, size));
        });
    }
}
