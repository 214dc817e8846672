//! Training samples keep their promises, over many draws.

#![allow(clippy::unwrap_used)]

mod common;

use peel_train::data::pool::{Pool, Split};
use peel_train::data::{Sample, Shares, sample};

fn drawn(count: u64, size: usize, shares: Shares, varied: f32) -> Vec<Sample> {
    let dir = tempfile::tempdir().unwrap();
    common::write_pool(dir.path());
    let mut pool = Pool::load(dir.path(), Split::Train).unwrap();
    assert_eq!(
        pool.varied, 0.0,
        "photographs are changed where nobody asks for it"
    );
    pool.varied = varied;
    (0..count).map(|i| sample(&pool, 11, i, size, shares)).collect()
}

/// Composites, of photographs as they are and changed ones.
fn samples(count: u64, size: usize) -> Vec<Sample> {
    drawn(count, size, Shares::default(), 0.5)
}

/// Traced scenes alone.
fn traced(count: u64, size: usize) -> Vec<Sample> {
    drawn(
        count,
        size,
        Shares {
            traced: 1.0,
            ..Shares::default()
        },
        0.0,
    )
}

#[test]
fn traced_scenes_are_exact_repeatable_and_whole_where_the_layer_is_empty() {
    let all = traced(40, 48);
    assert!(all == traced(40, 48), "the same seed, another sample");
    let (mut exact, mut effects, mut empty) = (0, 0, 0);
    for s in &all {
        let laid = s.foreground.over_picture(&s.background);
        let pairs = std::iter::zip(laid.pixels.as_flattened(), s.plate.pixels.as_flattened());
        let worst = pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        exact += usize::from(worst == 0.0);
        let layer = || std::iter::zip(&s.foreground.pixels, &s.object.pixels);
        effects += usize::from(layer().filter(|(f, o)| f[3] > 0.1 && o[0] < 0.01).count() > 20);
        empty += layer().filter(|(f, _)| **f == [0.0; 4]).count();
        for (f, o) in layer() {
            assert!(
                f.iter().all(|v| v.is_finite()) && f[3] >= o[0] - 1e-4,
                "{f:?} {o:?}"
            );
        }
        // Where the layer is empty, the two pictures are one; JPEG parts them a little.
        if worst == 0.0 {
            let same = std::iter::zip(&s.plate.pixels, &s.background.pixels).zip(&s.foreground.pixels);
            assert!(same.filter(|(_, f)| f[3] == 0.0).all(|((c, b), _)| c == b));
        }
    }
    assert!(exact * 10 >= all.len() * 7, "{exact}");
    assert!(effects * 10 >= all.len() * 4, "only {effects} have an effect");
    assert!(empty > 40 * 48 * 48 / 3, "{empty} pixels without a layer");
}

#[test]
fn the_layers_laid_together_are_the_plate() {
    let mut exact = 0;
    let all = samples(120, 48);
    for s in &all {
        let laid = s.foreground.over_picture(&s.background);
        let pairs = std::iter::zip(laid.pixels.as_flattened(), s.plate.pixels.as_flattened());
        let errors: Vec<f32> = pairs.map(|(a, b)| (a - b).abs()).collect();
        exact += usize::from(errors.iter().all(|e| *e == 0.0));
        // JPEG is the one thing that may part them, and not by much on average.
        let mean = errors.iter().sum::<f32>() / errors.len() as f32;
        assert!(mean < 0.1, "{mean}");
    }
    assert!(exact * 100 > all.len() * 80, "{exact} of {}", all.len());
}

#[test]
fn values_are_light_and_shares_of_light() {
    for s in samples(120, 32) {
        let unit = |v: &f32| (0.0..=1.0).contains(v);
        assert!(s.plate.pixels.as_flattened().iter().all(unit));
        assert!(s.background.pixels.as_flattened().iter().all(unit));
        assert!(s.mask.pixels.as_flattened().iter().all(unit));
        assert!(s.object.pixels.as_flattened().iter().all(unit));
        assert!(
            s.foreground
                .pixels
                .iter()
                .all(|f| unit(&f[3]) && f[..3].iter().all(|v| *v >= 0.0 && *v <= f[3]))
        );
    }
}

#[test]
fn effects_and_things_that_stay_are_common() {
    let all = samples(200, 48);
    let outside_mask = |s: &Sample| {
        s.foreground
            .pixels
            .iter()
            .zip(&s.object.pixels)
            .filter(|(f, o)| f[3] > 0.05 && o[0] < 0.02)
            .count()
    };
    let with_effect = all.iter().filter(|s| outside_mask(s) > 20).count();
    assert!((90..190).contains(&with_effect), "{with_effect}");
    let masked: Vec<usize> = all
        .iter()
        .map(|s| s.mask.pixels.iter().filter(|m| m[0] > 0.5).count())
        .collect();
    assert!(masked.iter().all(|m| *m > 0 && *m < 48 * 48));
}

#[test]
fn a_changed_photograph_is_another_background() {
    let changed = || drawn(40, 32, Shares::default(), 1.0);
    let same = std::iter::zip(drawn(40, 32, Shares::default(), 0.0), changed())
        .filter(|(a, b)| a.background == b.background)
        .count();
    // Patterns and floors are as they were.
    assert!((5..35).contains(&same), "{same}");
    assert!(changed() == changed(), "the same seed, another sample");
}
