//! Loading takes the memory of the weights, not twice that.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)]

use std::borrow::Cow;
use std::cell::Cell;

use candle_core::Device;
use peel_layerdecomp::weights::{Loading, list, shapes};
use peel_layerdecomp::{Config, Model, SMALL, save_config};
use safetensors::tensor::{Dtype, View};

/// A tensor of zeros that exists only while it is written.
struct Zeros(Vec<usize>);

impl View for Zeros {
    fn dtype(&self) -> Dtype {
        Dtype::BF16
    }
    fn shape(&self) -> &[usize] {
        &self.0
    }
    fn data(&self) -> Cow<'_, [u8]> {
        Cow::Owned(vec![0; self.data_len()])
    }
    fn data_len(&self) -> usize {
        2 * self.0.iter().product::<usize>()
    }
}

/// Bytes of this process that are not files in memory.
fn anonymous() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|l| l.starts_with("RssAnon")).unwrap();
    1024 * line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap()
}

#[test]
fn loading_does_not_double_memory() {
    let config = Config {
        width: 768,
        depth: 12,
        heads: 12,
        ..Config::from_ron(SMALL).unwrap()
    };
    let dir = tempfile::tempdir().unwrap();
    save_config(dir.path(), &config).unwrap();
    let shapes = shapes(&config).unwrap();
    let names: String = shapes
        .iter()
        .map(|(name, dims)| {
            let dims: Vec<String> = dims.iter().map(ToString::to_string).collect();
            format!("{name} {}\n", dims.join("x"))
        })
        .collect();
    std::fs::write(dir.path().join("names.txt"), names).unwrap();
    let zeros = shapes.into_iter().map(|(name, dims)| (name, Zeros(dims)));
    safetensors::serialize_to_file(zeros, None, &dir.path().join("model.safetensors")).unwrap();

    let stored = list(dir.path()).unwrap().bytes();
    assert!(stored > 150_000_000, "{stored}");
    let (before, most) = (anonymous(), Cell::new(0));
    let watch = |_, _| {
        most.set(most.get().max(anonymous()));
        true
    };
    let model = Model::load_with(
        dir.path(),
        &Device::Cpu,
        &Loading {
            precision: None,
            progress: &watch,
        },
    )
    .unwrap();
    let peak = most.get().max(anonymous()) - before;
    assert!(
        peak < stored + stored / 10,
        "{peak} bytes for {stored} of weights"
    );
    drop(model);
}
