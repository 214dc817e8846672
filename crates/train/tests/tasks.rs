//! The tasks besides the usual one: other quantities, autoencoders and a network over their latents, a student, a refiner.

#![allow(clippy::unwrap_used)]

mod common;

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use candle_core::{DType, Device, Tensor};
use peel_layerdecomp::{Conditions, Config, Model, TokenizerConfig};
use peel_train::{Options, running};

const PIXELS: &str = "Pixels(patch: 16, stem: (4, 4, 8, 8), prefill: 2)";

/// Writes a run over the pool in `dir` and returns its `train.ron`.
fn write(dir: &Path, name: &str, model: &str, task: &str) -> PathBuf {
    let folder = dir.join(name);
    std::fs::create_dir_all(&folder).unwrap();
    let model = format!(
        r#"Config(format: 1, name: "{name}", width: 16, depth: 1, heads: 2, fold_mask: true, {model})"#
    );
    std::fs::write(folder.join("config.ron"), model).unwrap();
    let train = format!(
        r#"Train(format: 1, seed: 3, {task} pool: {dir:?}, state: {:?}, rendered: 0.0, pure_noise: 0.3, time_mean: -0.4,
        stages: [(until: 99, size: 32, batch: 4, accumulate: 1)],
        optimizer: (learning_rate: 3e-3, betas: (0.9, 0.95), weight_decay: 0.01, clip: 1.0, ema: 0.9),
        warm_up: 3, decay: (steps: 3, to: 0.02),
        loss: (mse: 4.0, l1: 0.05, alpha_l1: 0.1, consistency: 0.3, effect: 4.0, shadow: 4.0, threshold: 0.02),
        held_out: 2, evaluate_every: 50, checkpoint_every: 50, data_threads: 1)"#,
        folder.join("state"),
    );
    let path = folder.join("train.ron");
    std::fs::write(&path, train).unwrap();
    path
}

/// Trains for 50 steps; the mean losses of the first and the second half, and the best weights' folder.
fn train(path: &Path) -> (f64, f64, PathBuf) {
    let options = Options {
        until: Some(50),
        ..Options::default()
    };
    let best = peel_train::train(path, &options, &mut |_| true).unwrap().best;
    let log = path.with_file_name("state").join("metrics.jsonl");
    let losses: Vec<f64> = std::fs::read_to_string(log)
        .unwrap()
        .lines()
        .filter_map(|l| serde_json::from_str::<serde_json::Value>(l).unwrap()["loss"]["total"].as_f64())
        .collect();
    assert_eq!(losses.len(), 2);
    assert!(path.with_file_name("state").join("curve.png").exists());
    (losses[0], losses[1], best)
}

fn tensors(folder: &Path) -> HashMap<String, Tensor> {
    candle_core::safetensors::load(folder.join("model.safetensors"), &Device::Cpu).unwrap()
}

fn flat(t: &Tensor) -> Vec<f32> {
    t.to_dtype(DType::F32)
        .unwrap()
        .flatten_all()
        .unwrap()
        .to_vec1()
        .unwrap()
}

/// The weights load and draw layers of numbers.
fn draws(folder: &Path) {
    let model = Model::load(folder, &Device::Cpu).unwrap();
    let plate = Tensor::full(0.5f32, (1, 3, 32, 32), &Device::Cpu).unwrap();
    let mask = Tensor::zeros((1, 1, 32, 32), DType::F32, &Device::Cpu).unwrap();
    let sampling = running(model.config());
    let layers = model
        .sample(&Conditions { plate, mask }, &sampling, &|_, _| true)
        .unwrap();
    assert!(flat(&layers.foreground).iter().all(|v| (0.0..=1.0).contains(v)));
}

#[test]
fn other_quantities_and_paths_are_learnt() {
    let dir = tempfile::tempdir().unwrap();
    common::write_pool(dir.path());
    for (name, diffusion) in [
        ("v", "(predicts: V, schedule: Cosine(steps: 100))"),
        ("flow", "(predicts: Flow)"),
        (
            "epsilon",
            "(predicts: Epsilon, schedule: ScaledLinear(first: 0.00085, last: 0.012, steps: 1000))",
        ),
    ] {
        let model = format!("tokenizer: {PIXELS}, diffusion: {diffusion}");
        let (first, second, best) = train(&write(dir.path(), name, &model, ""));
        // That it is the right loss is tested beside it; a network this small says little of noise.
        assert!(second < 1.1 * first, "{name}: {first} {second}");
        draws(&best);
    }
}

#[test]
fn autoencoders_then_a_network_over_their_latents() {
    let dir = tempfile::tempdir().unwrap();
    common::write_pool(dir.path());
    let latent = |scale: f64, shift: f64| {
        format!(
            "tokenizer: Latent(patch: 1, vae: (channels: [8, 8, 16], blocks: 1, latent: 4, groups: 4, scale: {scale:?}, shift: {shift:?})),
            diffusion: (predicts: V, schedule: Cosine(steps: 100))"
        )
    };
    let rgb = write(
        dir.path(),
        "rgb",
        &latent(1.0, 0.0),
        "task: Autoencoder(pictures: Rgb, kl: 1e-4),",
    );
    let (first, second, rgb) = train(&rgb);
    assert!(second < first, "{first} {second}");
    // Beside principal components it starts where the plain one has not come to.
    let straight = latent(1.0, 0.0).replace("shift: 0.0", "shift: 0.0, bypass: true");
    let straight = write(
        dir.path(),
        "straight",
        &straight,
        "task: Autoencoder(pictures: Rgb, kl: 1e-4),",
    );
    let (first, ahead, _) = train(&straight);
    assert!(
        ahead < first && first < second,
        "{first} {ahead}, without {second}"
    );
    assert!(tensors(&rgb).keys().all(|name| name.starts_with("vae.rgb.")));

    // Its latents were measured; the runs after it take that over.
    let settled = Config::load(&rgb.join("config.ron")).unwrap();
    let TokenizerConfig::Latent { vae, .. } = settled.tokenizer else {
        panic!("no latent model");
    };
    assert!(vae.scale != 1.0 && vae.scale > 0.0);
    let task = format!("task: Autoencoder(pictures: Rgba, kl: 1e-4), start: [{rgb:?}],");
    let stale = write(dir.path(), "stale", &latent(1.0, 0.0), &task);
    let refused = peel_train::train(&stale, &Options::default(), &mut |_| true).unwrap_err();
    assert!(refused.to_string().contains("take over its `vae`"), "{refused}");

    let rgba = write(dir.path(), "rgba", &latent(vae.scale, vae.shift), &task);
    let (first, second, rgba) = train(&rgba);
    assert!(second < first, "{first} {second}");
    let (before, after) = (tensors(&rgb), tensors(&rgba));
    for (name, tensor) in &before {
        assert_eq!(flat(tensor), flat(&after[name]), "{name}");
    }
    assert_eq!(after.len(), 2 * before.len());

    let latents = latent(vae.scale, vae.shift);
    let bare = write(dir.path(), "bare", &latents, "");
    let refused = peel_train::train(&bare, &Options::default(), &mut |_| true).unwrap_err();
    assert!(
        refused.to_string().contains("train the autoencoders first"),
        "{refused}"
    );
    let layers = write(dir.path(), "layers", &latents, &format!("start: [{rgba:?}],"));
    let (first, second, layers) = train(&layers);
    assert!(second < first, "{first} {second}");
    let trained = tensors(&layers);
    for (name, tensor) in &after {
        assert_eq!(flat(tensor), flat(&trained[name]), "{name}");
    }
    draws(&layers);
}

#[test]
fn a_student_comes_closer_to_its_teacher() {
    let dir = tempfile::tempdir().unwrap();
    common::write_pool(dir.path());
    let model = format!("tokenizer: {PIXELS}");
    let (.., teacher) = train(&write(dir.path(), "teacher", &model, ""));
    let task = format!("task: Distil(teacher: {teacher:?}, steps: 4, data: 0.1),");
    // Of another shape than its teacher, so that it does not start as it.
    let other = model.replace("prefill: 2", "prefill: 3");
    let (first, second, student) = train(&write(dir.path(), "student", &other, &task));
    assert!(second < first, "{first} {second}");
    draws(&student);
}

#[test]
fn a_refiner_learns_over_a_network_that_stays() {
    let dir = tempfile::tempdir().unwrap();
    common::write_pool(dir.path());
    let plain = format!("tokenizer: {PIXELS}");
    let model = format!("{plain}, refine: (width: 4, scale: 2)");
    // The network's own run leaves the refiner out, and its configuration tells of it all the same.
    let (.., network) = train(&write(dir.path(), "network", &model, ""));
    let before = tensors(&network);
    assert!(before.keys().all(|name| !name.starts_with("refine.")));
    assert!(
        Config::load(&network.join("config.ron"))
            .unwrap()
            .refine
            .is_some()
    );
    assert_eq!(Model::load(&network, &Device::Cpu).unwrap().refines(), None);

    let task = format!("task: Refine(steps: 1), start: [{network:?}],");
    // That it learns is tested beside it: what this network says is hardly worth refining.
    let (.., refined) = train(&write(dir.path(), "refined", &model, &task));
    let after = tensors(&refined);
    for (name, tensor) in &before {
        assert_eq!(flat(tensor), flat(&after[name]), "{name}");
    }
    assert!(flat(&after["refine.out.weight"]).iter().any(|v| *v != 0.0));
    assert_eq!(Model::load(&refined, &Device::Cpu).unwrap().refines(), Some(2));
    draws(&refined);

    let bare = write(dir.path(), "bare", &model, "task: Refine(steps: 1),");
    let refused = peel_train::train(&bare, &Options::default(), &mut |_| true).unwrap_err();
    assert!(
        refused.to_string().contains("train the network first"),
        "{refused}"
    );
    let none = write(dir.path(), "none", &plain, &task);
    let refused = peel_train::train(&none, &Options::default(), &mut |_| true).unwrap_err();
    assert!(
        refused.to_string().contains("config.ron has no `refine`"),
        "{refused}"
    );
    // The network sees half of 48 pixels, which no patch of 16 divides.
    let odd = write(dir.path(), "odd", &model, &task);
    let text = std::fs::read_to_string(&odd)
        .unwrap()
        .replace("size: 32", "size: 48");
    std::fs::write(&odd, text).unwrap();
    let refused = peel_train::train(&odd, &Options::default(), &mut |_| true).unwrap_err();
    assert!(refused.to_string().contains("multiples of 32"), "{refused}");
}

#[test]
fn what_is_fresh_starts_anew_in_another_shape() {
    let dir = tempfile::tempdir().unwrap();
    common::write_pool(dir.path());
    let model = format!("tokenizer: {PIXELS}");
    let (.., first) = train(&write(dir.path(), "first", &model, ""));
    let wide = write(dir.path(), "wide", &model, &format!("start: [{first:?}],"));
    let config = wide.with_file_name("config.ron");
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, text.replace("width: 16", "width: 32")).unwrap();
    let none = Options {
        until: Some(0),
        ..Options::default()
    };
    let refused = peel_train::train(&wide, &none, &mut |_| true).unwrap_err();
    assert!(refused.to_string().contains("`start` has"), "{refused}");

    let text = std::fs::read_to_string(&wide).unwrap();
    let fresh = r#"fresh: ["blocks.", "time.", "embed.", "stream_types", "head.tokens"], start:"#;
    std::fs::write(&wide, text.replace("start:", fresh)).unwrap();
    let (.., second) = train(&wide);
    let (first, second) = (tensors(&first), tensors(&second));
    assert_eq!(
        first.keys().collect::<std::collections::BTreeSet<_>>(),
        second.keys().collect()
    );
    assert_eq!(second["stream_types"].dims(), [4, 32]);
}
