//! The graphs of the suite give the same bytes in every way to render them: threads, bands, chunks, cold and warm caches.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use peel_engine::{Engine, EngineOptions};
use peel_graph::Graph;

use crate::support::{files_under, parse, render, root};

/// What its sinks wrote.
fn written(engine: &Engine, graph: &Graph, chunks: &[&[i32]]) -> BTreeMap<PathBuf, Vec<u8>> {
    let files = chunks
        .iter()
        .flat_map(|frames| render(engine, graph, frames).written);
    files
        .map(|file| {
            let bytes = fs::read(&file).expect("a rendered file");
            (file, bytes)
        })
        .collect()
}

fn differences(case: &Path) -> Vec<String> {
    // With a place for a second frame, and out of the way of the suite's own renders.
    let text = fs::read_to_string(case).expect("a case");
    let text = text.replace("\"renders/", "\"renders/ways.####.");
    let graph = parse(&text, case);
    let first = graph.frames.frames()[0];
    let frames = if text.contains("Keys(") {
        vec![first, first + 1]
    } else {
        vec![first]
    };
    let cache = tempfile::tempdir().expect("a folder");
    let engine = |threads, band_rows, cached: bool| {
        Engine::new(EngineOptions {
            threads,
            band_rows,
            cache_dir: cached.then(|| cache.path().to_owned()),
            weights_dirs: vec![root().join("weights")],
            ..EngineOptions::default()
        })
    };
    let one_by_one: Vec<&[i32]> = frames.chunks(1).rev().collect();
    let together: [&[i32]; 1] = [&frames];
    let expected = written(&engine(1, None, false), &graph, &together);
    let mut found = Vec::new();
    let mut compare = |how: &str, other: BTreeMap<PathBuf, Vec<u8>>| {
        if other != expected {
            found.push(format!("{}: {how}", case.display()));
        }
    };
    compare(
        "2 threads, bands of 3 rows",
        written(&engine(2, Some(3), false), &graph, &together),
    );
    compare(
        "8 threads, rows one by one",
        written(&engine(8, Some(1), false), &graph, &together),
    );
    compare(
        "8 threads, one band",
        written(&engine(8, Some(100_000), false), &graph, &one_by_one),
    );
    let warm = engine(2, Some(7), true);
    compare("a cold cache on disk", written(&warm, &graph, &one_by_one));
    compare("a warm memory", written(&warm, &graph, &together));
    compare(
        "a warm cache on disk",
        written(&engine(1, None, true), &graph, &together),
    );
    found
}

#[test]
fn the_suite_gives_the_same_bytes_in_every_way() {
    let nodes = fs::read_dir(root().join("tests/suite"))
        .expect("the suite")
        .flatten();
    let mut cases: Vec<PathBuf> = nodes
        .flat_map(|node| fs::read_dir(node.path()).expect("a folder of cases").flatten())
        .map(|case| case.path())
        .filter(|case| case.extension().is_some_and(|ending| ending == "ron"))
        .collect();
    cases.extend(
        files_under(&root().join("nodes"), "ron")
            .into_iter()
            .filter(|case| case.ends_with("example.ron")),
    );
    cases.sort();
    assert!(cases.len() > 50, "{} cases", cases.len());
    let found: Vec<String> = cases.iter().flat_map(|case| differences(case)).collect();
    assert!(found.is_empty(), "{}", found.join("\n"));
}
