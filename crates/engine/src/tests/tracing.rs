//! What a trace tells, and that a plan is what is rendered.

use std::fs;

use peel_image::Rect;

use super::nodes::*;
use super::{Net, engine};
use crate::engine::{Engine, EngineOptions};
use crate::store::Hit;
use crate::trace::{Work, stats};

const WINDOW: Rect = Rect {
    x0: 0,
    y0: 0,
    x1: 40,
    y1: 300,
};

fn net(folder: &std::path::Path) -> Net {
    let ramp = Ramp {
        window: WINDOW,
        ..Ramp::default()
    };
    let save = Save {
        folder: folder.to_owned(),
        name: "out",
        numbered: true,
    };
    Net::default()
        .add("ramp", ramp, &[])
        .add("sum", Sum { inputs: 2 }, &["ramp", "ramp"])
        .add("out", save, &["sum"])
}

#[test]
fn every_band_file_and_look_into_the_cache_is_recorded_with_its_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let engine = Engine::new(EngineOptions {
        threads: 2,
        band_rows: Some(50),
        trace: true,
        ..EngineOptions::default()
    });
    net(folder.path()).render(&engine, &[1]);
    let records = engine.trace().unwrap().take();
    let of = |node: &str, work: Work| {
        records
            .iter()
            .filter(|record| record.node == node && record.work == work)
            .collect::<Vec<_>>()
    };
    let bytes = |node: &str, work| of(node, work).iter().map(|record| record.bytes).sum::<u64>();
    assert_eq!(bytes("sum", Work::Fill), WINDOW.area() * 16);
    assert_eq!(bytes("ramp", Work::Fill), WINDOW.area() * 16, "made once for two");
    assert_eq!(
        bytes("out", Work::Write),
        fs::metadata(folder.path().join("out1.bin")).unwrap().len()
    );
    assert!(
        of("ramp", Work::Cache)
            .iter()
            .any(|record| record.hit == Some(Hit::Made))
    );
    let out = of("out", Work::Write)[0];
    assert!(records.iter().all(
        |record| record.start + record.took <= out.start + out.took + std::time::Duration::from_millis(5)
    ));
    assert_eq!(
        stats(&records)
            .iter()
            .find(|stats| stats.node == "sum")
            .unwrap()
            .calls,
        6
    );
    assert!(engine.trace().unwrap().take().is_empty());
}

#[test]
fn nothing_is_recorded_unasked() {
    let folder = tempfile::tempdir().unwrap();
    let engine = engine(2);
    net(folder.path()).render(&engine, &[1]);
    assert!(engine.trace().is_none());
}
