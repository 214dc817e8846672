//! What OpenColorIO and OpenImageIO compute (tests/oracle/make_vectors.py), computed here.

#![allow(clippy::unwrap_used)]

use std::path::Path;

use peel_image::diff::{Difference, Thresholds};
use peel_image::recolor::Cdl;
use peel_image::{ColourSpace, Filter, Layer, Matrix, Rect, resample};

/// The cases of a file: the words before the first number, and the numbers.
fn cases(name: &str) -> Vec<(Vec<String>, Vec<f64>)> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/vectors")
        .join(name);
    let text = std::fs::read_to_string(path).unwrap();
    let case = |line: &str| {
        let (numbers, words): (Vec<&str>, Vec<&str>) = line
            .split_whitespace()
            .partition(|word| word.parse::<f64>().is_ok());
        (
            words.into_iter().map(str::to_owned).collect(),
            numbers.into_iter().map(|n| n.parse().unwrap()).collect(),
        )
    };
    text.lines()
        .filter(|line| !line.starts_with('#'))
        .map(case)
        .collect()
}

fn three(numbers: &[f64]) -> [f32; 3] {
    [0, 1, 2].map(|i| numbers[i] as f32)
}

fn assert_close(got: [f32; 3], expected: [f32; 3], slack: f32, what: &str) {
    for (g, e) in got.iter().zip(expected) {
        assert!(
            (g - e).abs() <= slack * (1.0 + e.abs()),
            "{what}: {got:?}, expected {expected:?}"
        );
    }
}

#[test]
fn colour_spaces() {
    for (words, numbers) in cases("colour.txt") {
        let [from, to] = [0, 1].map(|i| ColourSpace::parse(&words[i]).unwrap());
        let (got, expected) = (from.to(to).apply(three(&numbers)), three(&numbers[3..]));
        if expected.iter().any(|v| !v.is_finite()) {
            // An ACEScct code of 16 stands for 2^270, beyond f32 on both sides.
            continue;
        }
        // OpenColorIO goes through ACES2065-1 in f32, where a bright channel leaves its rounding in the others.
        let largest = expected.iter().fold(1.0f32, |most, v| most.max(v.abs()));
        for (g, e) in got.iter().zip(expected) {
            assert!(
                (g - e).abs() <= 2e-6 * largest,
                "{from} to {to}: {got:?}, expected {expected:?}"
            );
        }
    }
}

#[test]
fn asc_cdl() {
    for (_, n) in cases("cdl.txt") {
        let cdl = Cdl {
            clamp: n[0] == 1.0,
            slope: three(&n[1..]),
            offset: three(&n[4..]),
            power: three(&n[7..]),
            saturation: n[10] as f32,
        };
        assert_close(
            cdl.apply(three(&n[11..])),
            three(&n[14..]),
            2e-6,
            &format!("{cdl:?}"),
        );
    }
}

#[test]
fn resampling() {
    let frame = Rect::of_size(12, 10);
    let source = Layer::from_fn(frame, frame, |x, y| [((x * 7 + y * 13) % 17) as f32 / 16.0; 4]);
    for (words, n) in cases("warp.txt") {
        let filter = Filter::parse(&words[0]).unwrap();
        let forward = Matrix {
            xx: n[0],
            xy: n[1],
            x0: n[2],
            yx: n[3],
            yy: n[4],
            y0: n[5],
        };
        let window = Rect::new(-4, -4, 16, 14);
        let got = resample(&source, &forward.inverse().unwrap(), filter, window);
        for (i, (pixel, expected)) in got.pixels().iter().zip(&n[6..]).enumerate() {
            let (x, y) = (i % 20, i / 20);
            let error = (f64::from(pixel[0]) - expected).abs();
            assert!(
                error < 2e-4,
                "{filter} {forward:?} at {x}, {y}: {} against {expected}",
                pixel[0]
            );
        }
    }
}

#[test]
fn differences() {
    let frame = Rect::of_size(12, 10);
    let a = Layer::from_fn(frame, frame, |x, y| [((x * 7 + y * 13) % 17) as f32 / 16.0; 4]);
    let mut b = a.clone();
    b.row_mut(3)[5][1] += 0.5;
    b.row_mut(7)[2][2] -= 0.01;
    b.row_mut(9)[11][0] += 0.001;
    for (_, n) in cases("compare.txt") {
        let found = Difference::of(&a, &b, Thresholds::within(n[0] as f32));
        let close = |got: f64, expected: f64| (got - expected).abs() <= 1e-6 * (1.0 + expected);
        assert!(
            close(found.max, n[1]) && close(found.mean, n[2]) && close(found.rms, n[3]),
            "{found}"
        );
        assert_eq!(found.failing as f64, n[4], "{found}");
    }
}
