//! What every network that ships has to show besides its scores.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;

use candle_core::{Device, Tensor};
use peel_layerdecomp::{Conditions, Config, Model};

const SIZE: usize = 128;

/// A disc on a checkered floor, its shadow to the right of it.
fn disc() -> Conditions {
    let inside = |x: usize, y: usize, at: (f32, f32), radii: (f32, f32)| {
        ((x as f32 - at.0) / radii.0).hypot((y as f32 - at.1) / radii.1) < 1.0
    };
    let object = |x, y| inside(x, y, (50.0, 60.0), (18.0, 18.0));
    let shadow = |x, y| inside(x, y, (74.0, 78.0), (26.0, 6.0));
    let places = || (0..SIZE).flat_map(|y| (0..SIZE).map(move |x| (x, y)));
    let colour = |channel: usize, x: usize, y: usize| match (object(x, y), shadow(x, y)) {
        (true, _) => [0.8, 0.3, 0.2][channel],
        (_, dark) => {
            let floor = if (x / 16 + y / 16).is_multiple_of(2) {
                0.55
            } else {
                0.7
            };
            floor * if dark { 0.45 } else { 1.0 }
        }
    };
    let plate: Vec<f32> = (0..3)
        .flat_map(|channel| places().map(move |(x, y)| colour(channel, x, y)))
        .collect();
    let mask: Vec<f32> = places().map(|(x, y)| f32::from(object(x, y))).collect();
    Conditions {
        plate: Tensor::from_vec(plate, (1, 3, SIZE, SIZE), &Device::Cpu).unwrap(),
        mask: Tensor::from_vec(mask, (1, 1, SIZE, SIZE), &Device::Cpu).unwrap(),
    }
}

/// A transformer that says the same everywhere leaves all work to the convolutions, and losses do not show it.
#[test]
fn the_transformer_of_every_model_that_ships_tells_places_apart() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../weights");
    let mut models = 0;
    for entry in std::fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        if !path.join("config.ron").exists() {
            continue;
        }
        let model = Model::load(&path, &Device::Cpu).unwrap();
        let spread = model.spread(&disc()).unwrap();
        eprintln!("{}: {spread:.4}", path.display());
        assert!(spread > 0.2, "{}: {spread}", path.display());
        models += 1;
    }
    assert!(models > 0, "no model in {}", folder.display());
}

/// A run over the weights that ship can only start where its network is theirs; what it adds is a refiner or another use.
#[test]
fn runs_over_the_model_that_ships_have_its_network() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let network = |path: &Path| Config {
        name: String::new(),
        refine: None,
        tighten: None,
        ..Config::load(path).unwrap()
    };
    let ships = network(&root.join("../../weights/layerdecomp-s/config.ron"));
    let mut runs = 0;
    for run in std::fs::read_dir(root.join("runs")).unwrap() {
        let path = run.unwrap().path().join("config.ron");
        assert_eq!(network(&path), ships, "{}", path.display());
        runs += 1;
    }
    assert!(runs >= 2);
}
