//! What the tests share: places, engines, small models, pictures.

use std::fs;
use std::path::{Path, PathBuf};

use candle_core::{DType, Device};
use candle_nn::VarMap;
use peel_engine::{CancelToken, Engine, EngineOptions, Event, RenderOptions, Summary};
use peel_graph::Graph;
use peel_image::{Layer, Pixel, Rect};
use peel_io::{OutputLayer, WriteOptions};
use peel_layerdecomp::{Config, FORMAT, Model, TokenizerConfig, named, save, save_config, seeded_builder};

/// The root of the workspace.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("tests/ lies in the workspace")
        .to_owned()
}

/// Files with this ending under a folder, in order.
pub fn files_under(folder: &Path, ending: &str) -> Vec<PathBuf> {
    let (mut found, mut open) = (Vec::new(), vec![folder.to_owned()]);
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(&folder).expect("a folder").flatten() {
            let path = entry.path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|found| found == ending) {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

/// The suite's model, with random weights and small enough for tests. Its answers are nonsense, but the layers made of them
/// must be exact all the same.
pub fn copy_tiny_model(folder: &Path) {
    fs::create_dir_all(folder).expect("a folder for the model");
    let tiny = root().join("tests/suite/decompose/tiny");
    for file in fs::read_dir(tiny).expect("the suite's model").flatten() {
        fs::copy(file.path(), folder.join(file.file_name())).expect("a copy of the model");
    }
}

/// The seed of the suite's model.
pub const TINY_SEED: u64 = 5;

/// Makes the suite's model, or one like it with other weights. The suite's only where it is gone, since the references go
/// with it.
pub fn make_tiny_model(folder: &Path, seed: u64) {
    let config = Config {
        format: FORMAT,
        name: "tiny".to_owned(),
        width: 16,
        depth: 1,
        heads: 2,
        mlp_ratio: 2,
        condition_cache: true,
        fold_mask: false,
        join: false,
        centre: false,
        tokenizer: TokenizerConfig::Pixels {
            patch: 16,
            stem: [8, 8, 8, 8],
            prefill: Some(1),
            patches: false,
            casts: false,
            fine: 16,
            head: peel_layerdecomp::Head::default(),
        },
        diffusion: peel_layerdecomp::Diffusion::default(),
        tighten: None,
        refine: None,
    };
    let weights = VarMap::new();
    Model::new(&config, seeded_builder(&weights, seed, &Device::Cpu)).expect("a model");
    save(folder, &named(&weights), DType::F32).expect("weights on disk");
    save_config(folder, &config).expect("a configuration on disk");
}

/// A folder of weights with a tiny model under the shipped one's name, so that graphs need not be changed.
pub fn tiny_weights() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    copy_tiny_model(&folder.path().join("layerdecomp-s"));
    folder
}

/// An engine without disk cache that looks for models in `weights` first.
pub fn engine(threads: usize, weights: &[&Path]) -> Engine {
    let weights_dirs = weights.iter().map(|folder| folder.to_path_buf()).collect();
    Engine::new(EngineOptions {
        threads,
        weights_dirs,
        ..EngineOptions::default()
    })
}

/// Reads and checks a graph file.
pub fn load(file: &Path) -> Graph {
    let text = fs::read_to_string(file).expect("a graph file");
    parse(&text, file)
}

/// Reads and checks a graph.
pub fn parse(text: &str, file: &Path) -> Graph {
    Graph::parse(text, file, &peel_nodes::registry()).unwrap_or_else(|mistakes| panic!("{mistakes}"))
}

/// Renders frames; a failure fails the test.
pub fn render(engine: &Engine, graph: &Graph, frames: &[i32]) -> Summary {
    let summary = engine
        .render(
            graph,
            frames,
            &RenderOptions::default(),
            &|_: Event| (),
            &CancelToken::new(),
        )
        .expect("something to render");
    assert!(
        summary.failed.is_empty(),
        "{}: {:#?}",
        graph.file.display(),
        summary.failed
    );
    summary
}

/// Writes a picture as an EXR file.
pub fn write_picture(path: &Path, window: Rect, f: impl FnMut(i32, i32) -> Pixel) {
    let layer = Layer::from_fn(window, window, f);
    peel_io::write_exr(path, &[OutputLayer::base(&layer)], &WriteOptions::default()).expect("an EXR file");
}

/// A small plate with texture and highlights, and a matte on it, as EXR files `plate.exr` and `matte.exr`.
pub fn write_plate_and_matte(folder: &Path) {
    let window = Rect::of_size(64, 48);
    write_picture(&folder.join("plate.exr"), window, |x, y| {
        let light = 0.2 + x as f32 / 50.0 + (x * 7 + y * 13) as f32 % 5.0 * 0.02;
        [light, light * 0.7, 0.3, 1.0]
    });
    write_picture(&folder.join("matte.exr"), window, |x, y| {
        [f32::from((20..40).contains(&x) && (12..32).contains(&y)); 4]
    });
}
