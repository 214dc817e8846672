//! Origins, chains, keys, formats and pixels.

use std::sync::Arc;

use peel_image::{Layer, Rect};
use peel_node::Error;

use super::nodes::*;
use super::{Net, engine};
use crate::engine::{Engine, EngineOptions};
use crate::render::failure_of;

const WINDOW: Rect = Rect {
    x0: -3,
    y0: 2,
    x1: 70,
    y1: 95,
};

fn ramp() -> Ramp {
    Ramp {
        window: WINDOW,
        ..Ramp::default()
    }
}

fn shift(dx: i32, dy: i32) -> Shift {
    Shift {
        by: (dx, dy),
        filled: Count::default(),
    }
}

fn whole(net: &Net, engine: &Engine, name: &str) -> Arc<Layer> {
    layer_of(
        net.value(engine, name, 5, Rect::new(-500, -500, 500, 500))
            .unwrap(),
    )
}

#[test]
fn a_region_is_cut_to_the_data_window() {
    let net = Net::default().add("ramp", ramp(), &[]);
    let part = layer_of(
        net.value(&engine(2), "ramp", 5, Rect::new(60, 90, 200, 200))
            .unwrap(),
    );
    assert_eq!(part.data(), Rect::new(60, 90, 70, 95));
    assert_eq!(part.get(61, 92), [61.0, 92.0, 5.0, 1.0]);
    let nothing = layer_of(
        net.value(&engine(2), "ramp", 5, Rect::new(200, 0, 300, 50))
            .unwrap(),
    );
    assert!(nothing.data().is_empty() && nothing.display() == WINDOW);
}

#[test]
fn the_same_pixels_for_any_band_and_any_thread_count() {
    let net = Net::default()
        .add("ramp", ramp(), &[])
        .add("soft", Blur { radius: 3 }, &["ramp"])
        .add("moved", shift(4, -7), &["soft"])
        .add("softer", Blur { radius: 2 }, &["moved"])
        .add("sum", Sum { inputs: 3 }, &["softer", "soft", "softer"]);
    let reference = whole(&net, &engine(1), "sum");
    for (threads, rows) in [(1, 1), (2, 1), (3, 7), (8, 16), (4, 1000)] {
        let options = EngineOptions {
            threads,
            band_rows: Some(rows),
            ..EngineOptions::default()
        };
        assert!(
            whole(&net, &Engine::new(options), "sum") == reference,
            "{threads} threads, {rows} rows"
        );
    }
}

#[test]
fn a_chain_of_motions_is_filled_by_its_last_node() {
    let (first, last) = (shift(10, 0), shift(-4, 3));
    let filled = (Arc::clone(&first.filled), Arc::clone(&last.filled));
    let net = Net::default()
        .add("ramp", ramp(), &[])
        .add("first", first, &["ramp"])
        .add("still", shift(0, 0), &["first"])
        .add("last", last, &["still"]);
    let picture = whole(&net, &engine(2), "last");
    assert_eq!(picture.data(), WINDOW.translate(6, 3));
    assert_eq!(picture.get(20, 40), [14.0, 37.0, 5.0, 1.0]);
    assert_eq!(count(&filled.0), 0);
    assert!(count(&filled.1) > 0);
}

#[test]
fn passing_through_keeps_the_key() {
    let net = Net::default()
        .add("ramp", ramp(), &[])
        .add("still", shift(0, 0), &["ramp"])
        .add("moved", shift(1, 0), &["still"]);
    let engine = engine(1);
    assert_eq!(net.key(&engine, "still", 1), net.key(&engine, "ramp", 1));
    assert_ne!(net.key(&engine, "moved", 1), net.key(&engine, "ramp", 1));
}

#[test]
fn what_several_nodes_want_is_made_once() {
    let source = ramp();
    let made = Arc::clone(&source.pixels);
    let mut net = Net::default()
        .add("ramp", source, &[])
        .add("0", Sum { inputs: 2 }, &["ramp", "ramp"]);
    for level in 1..24 {
        let (name, below) = (level.to_string(), (level - 1).to_string());
        net = net.add(&name, Sum { inputs: 2 }, &[&below, &below]);
    }
    assert_eq!(whole(&net, &engine(2), "23").get(1, 10)[3], 2f32.powi(24));
    assert_eq!(count(&made) as u64, WINDOW.area());
}

#[test]
fn overlapping_requests_do_not_make_pixels_over_and_over() {
    let source = ramp();
    let made = Arc::clone(&source.pixels);
    let net = Net::default()
        .add("ramp", source, &[])
        .add("soft", Blur { radius: 30 }, &["ramp"]);
    let options = EngineOptions {
        threads: 2,
        band_rows: Some(1),
        ..EngineOptions::default()
    };
    whole(&net, &Engine::new(options), "soft");
    assert!(
        count(&made) as u64 <= 3 * WINDOW.area(),
        "{} of {}",
        count(&made),
        WINDOW.area()
    );
}

#[test]
fn a_long_chain_does_not_overflow_the_stack() {
    let mut net = Net::default().add(
        "n0",
        Ramp {
            window: Rect::of_size(4, 40),
            ..Ramp::default()
        },
        &[],
    );
    for n in 1..5000 {
        let (name, below) = (format!("n{n}"), format!("n{}", n - 1));
        net = match n % 2 {
            0 => net.add(&name, Blur { radius: 0 }, &[&below]),
            _ => net.add(&name, Sum { inputs: 1 }, &[&below]),
        };
    }
    let options = EngineOptions {
        threads: 2,
        band_rows: Some(8),
        ..EngineOptions::default()
    };
    assert_eq!(
        whole(&net, &Engine::new(options), "n4999").get(2, 30),
        [2.0, 30.0, 5.0, 1.0]
    );
}

#[test]
fn a_long_chain_of_motions_does_not_overflow_the_stack() {
    let mut net = Net::default().add(
        "n0",
        Ramp {
            window: Rect::of_size(4, 4),
            ..Ramp::default()
        },
        &[],
    );
    for n in 1..2000 {
        net = net.add(
            &format!("n{n}"),
            shift(1 - 2 * (n % 2), 1),
            &[&format!("n{}", n - 1)],
        );
    }
    let moved = layer_of(
        net.value(&engine(1), "n1999", 5, Rect::new(-9, 0, 9, 5000))
            .unwrap(),
    );
    assert_eq!(moved.data(), Rect::new(-1, 1999, 3, 2003));
    assert_eq!(moved.get(0, 2000), [1.0, 1.0, 5.0, 1.0]);
}

#[test]
fn errors_and_panics_name_the_node_in_which_they_arose() {
    for (slow, words) in [
        (
            Slow {
                fails: Some("no film in the camera"),
                ..Slow::default()
            },
            "no film in the camera",
        ),
        (
            Slow {
                panics: true,
                ..Slow::default()
            },
            "on purpose",
        ),
    ] {
        let net = Net::default()
            .add("camera", slow, &[])
            .add("soft", Blur { radius: 1 }, &["camera"]);
        let error = net.value(&engine(2), "soft", 7, Rect::of_size(9, 9)).unwrap_err();
        let failure = failure_of(&error).unwrap();
        assert_eq!((failure.node.as_str(), failure.frame), ("camera", 7));
        assert!(error.to_string().contains(words), "{error}");
        assert!(matches!(error, Error::Upstream(_)));
    }
}

#[test]
fn a_picture_larger_than_memory_is_refused() {
    let net = Net::default().add(
        "wide",
        Ramp {
            window: Rect::of_size(1 << 20, 1 << 20),
            ..Ramp::default()
        },
        &[],
    );
    let error = net
        .value(&engine(2), "wide", 1, Rect::of_size(1 << 20, 1 << 20))
        .unwrap_err();
    assert!(error.to_string().contains("--memory"), "{error}");
    assert!(net.value(&engine(2), "wide", 1, Rect::of_size(10, 10)).is_ok());
}
