//! A run that is stopped and resumed goes on with the same losses, and its data does not depend on threads.

#![allow(clippy::unwrap_used)]

mod common;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use peel_train::data::Shares;
use peel_train::data::loader::{Batch, Loader, Order, Recipe};
use peel_train::data::pool::{Pool, Split};
use peel_train::{Event, Machine, Options, train_on};

use common::{write_pool, write_run};

fn recipe(dir: &Path) -> Recipe {
    let pool = Arc::new(Pool::load(dir, Split::Train).unwrap());
    Recipe {
        pool,
        seed: 4,
        shares: Shares {
            rendered: 0.1,
            ..Shares::default()
        },
    }
}

#[test]
fn data_does_not_depend_on_the_number_of_threads() {
    let dir = tempfile::tempdir().unwrap();
    write_pool(dir.path());
    let recipe = recipe(dir.path());
    let orders = (0..5).map(|index| Order {
        index,
        size: 32,
        count: 2,
    });
    let alone: Vec<Batch> = orders.clone().map(|o| Batch::make(&recipe, o)).collect();
    let mut loader = Loader::start(&recipe, 3, orders).unwrap();
    for batch in &alone {
        assert!(loader.batch().unwrap() == *batch);
        let finite = |v: &[f32]| v.iter().all(|x| x.is_finite());
        assert!(finite(&batch.plate) && finite(&batch.foreground) && finite(&batch.object));
        assert!(batch.mask.iter().all(|m| (0.0..=1.0).contains(m)));
    }
    assert!(loader.batch().is_err());
}

fn write_config(dir: &Path, state: &str) -> std::path::PathBuf {
    let folder = dir.join(state);
    std::fs::create_dir_all(&folder).unwrap();
    let model = r#"Config(format: 1, name: "test", width: 16, depth: 1, heads: 2, fold_mask: true,
        tokenizer: Pixels(patch: 16, stem: (4, 4, 8, 8), prefill: 2))"#;
    std::fs::write(folder.join("config.ron"), model).unwrap();
    let train = format!(
        r#"Train(format: 1, seed: 3, pool: {:?}, state: {:?}, rendered: 0.0, pure_noise: 0.5, time_mean: -0.4,
        stages: [(until: 4, size: 32, batch: 2, accumulate: 1), (until: 99, size: 48, batch: 1, accumulate: 2)],
        optimizer: (learning_rate: 1e-3, betas: (0.9, 0.95), weight_decay: 0.01, clip: 1.0, ema: 0.9),
        warm_up: 3, decay: (steps: 3, to: 0.02),
        loss: (mse: 4.0, l1: 0.05, consistency: 0.3, effect: 4.0, shadow: 4.0, threshold: 0.02),
        held_out: 2, evaluate_every: 4, checkpoint_every: 2, data_threads: 1)"#,
        dir,
        folder.join("state"),
    );
    let path = folder.join("train.ron");
    std::fs::write(&path, train).unwrap();
    path
}

/// Passes of an update run side by side where there are threads, and Muon's steps do.
#[test]
fn what_is_learnt_does_not_depend_on_the_number_of_threads() {
    let dir = tempfile::tempdir().unwrap();
    write_pool(dir.path());
    let learnt = |threads: usize| {
        let run = r#"stages: [(until: 99, size: 32, batch: 1, accumulate: 3)],
            optimizer: (learning_rate: 1e-3, betas: (0.9, 0.95), weight_decay: 0.01, clip: 1.0, ema: 0.9, muon: ["blocks.", "head."]),
            held_out: 2, evaluate_every: 4, checkpoint_every: 2, data_threads: 1"#;
        let model = r#"width: 16, heads: 2, fold_mask: true, tokenizer: Pixels(patch: 16, stem: (4, 4, 8, 8), prefill: 2)"#;
        let config = write_run(dir.path(), &format!("with-{threads}"), model, run);
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
        let until = Options {
            until: Some(3),
            ..Options::default()
        };
        pool.unwrap()
            .install(|| train_on(Machine::Processor, &config, &until, &mut |_| true))
            .unwrap();
        weights(&config, "run.safetensors")
    };
    let alone = learnt(1);
    // One more pass than there are threads, as many, and more threads than passes.
    for threads in [2, 3, 7] {
        assert!(learnt(threads) == alone, "{threads} threads");
    }
}

/// The values of the moving average after a run.
fn weights(config: &Path, name: &str) -> Vec<u8> {
    std::fs::read(config.parent().unwrap().join("state").join(name)).unwrap()
}

#[test]
fn a_run_resumes_as_if_it_had_not_stopped() {
    let dir = tempfile::tempdir().unwrap();
    write_pool(dir.path());
    let until = |until| Options {
        until: Some(until),
        ..Options::default()
    };

    let whole = write_config(dir.path(), "whole");
    peel_train::train(&whole, &until(8), &mut |_| true).unwrap();

    // Killed without a word between two checkpoints: what was done after the last one is done again.
    let parts = write_config(dir.path(), "parts");
    peel_train::train(&parts, &until(2), &mut |_| true).unwrap();
    let kept = weights(&parts, "run.safetensors");
    peel_train::train(&parts, &until(3), &mut |_| true).unwrap();
    std::fs::write(parts.parent().unwrap().join("state/run.safetensors"), kept).unwrap();
    let stopped = peel_train::train(&parts, &until(8), &mut |event| {
        !matches!(event, Event::Saved { step: 6 })
    });
    assert!(matches!(stopped, Err(peel_train::Error::Cancelled)));
    peel_train::train(&parts, &until(8), &mut |_| true).unwrap();
    assert!(weights(&whole, "run.safetensors") == weights(&parts, "run.safetensors"));

    // A branch falls off and ends; the constant phase is still where it was.
    let before = weights(&whole, "run.safetensors");
    let decay = Options {
        decay: true,
        ..Options::default()
    };
    let summary = peel_train::train(&whole, &decay, &mut |_| true).unwrap();
    assert!(summary.decayed && summary.step == 11);
    assert!(before == weights(&whole, "run.safetensors"));

    // What is exported loads.
    let out = dir.path().join("out");
    assert_eq!(peel_train::export(&whole, false, &out).unwrap(), 11);
    let model = peel_layerdecomp::Model::load(&out, &candle_core::Device::Cpu).unwrap();
    let digest = std::fs::read_to_string(out.join("digest")).unwrap();
    assert!(digest.starts_with(model.digest()));
}

#[test]
fn one_call_goes_the_whole_way_and_nothing_is_done_twice() {
    let dir = tempfile::tempdir().unwrap();
    write_pool(dir.path());
    let parts = write_config(dir.path(), "parts");
    let until = Options {
        until: Some(4),
        ..Options::default()
    };
    let decay = Options {
        decay: true,
        ..Options::default()
    };
    peel_train::train(&parts, &until, &mut |_| true).unwrap();
    peel_train::train(&parts, &decay, &mut |_| true).unwrap();
    peel_train::export(&parts, false, &dir.path().join("by-parts")).unwrap();

    let whole = write_config(dir.path(), "whole");
    let out = dir.path().join("at-once");
    let ship = |time, hear: &mut dyn FnMut(&Event) -> bool| {
        peel_train::ship(Machine::Processor, &whole, 4, time, &out, hear)
    };
    assert_eq!(ship(Some(Duration::ZERO), &mut |_| true).unwrap(), None);
    // Stopped within the branch.
    let stopped = ship(None, &mut |event| !matches!(event, Event::Saved { step: 6 }));
    assert!(matches!(stopped, Err(peel_train::Error::Cancelled)));
    assert!(!out.exists());
    let mut ends = Vec::new();
    let shipped = ship(None, &mut |event| {
        if let Event::Started { end, .. } = event {
            ends.push(*end);
        }
        true
    });
    assert_eq!(shipped.unwrap(), Some(7));
    assert_eq!(ends, [Some(4), Some(7)]);
    let written = |folder: &str| std::fs::read(dir.path().join(folder).join("model.safetensors")).unwrap();
    assert!(written("by-parts") == written("at-once"));

    let mut told = Vec::new();
    let again = ship(None, &mut |event| {
        told.push(event.clone());
        true
    });
    assert_eq!(again.unwrap(), Some(7));
    assert!(
        !told
            .iter()
            .any(|event| matches!(event, Event::Progress(_) | Event::Table { .. })),
        "{told:?}"
    );
}

#[test]
fn a_run_grows_where_a_stage_asks_for_more_blocks() {
    let dir = tempfile::tempdir().unwrap();
    write_pool(dir.path());
    let growing = |state: &str| {
        let path = write_config(dir.path(), state);
        let text = std::fs::read_to_string(&path).unwrap();
        let text = text.replace("batch: 2, accumulate: 1", "batch: 2, accumulate: 1, depth: 2");
        let text = text.replace("batch: 1, accumulate: 2", "batch: 1, accumulate: 2, depth: 4");
        std::fs::write(&path, text).unwrap();
        path
    };
    let options = |until, decay| Options {
        until: Some(until),
        decay,
        ..Options::default()
    };
    let sizes = |config: &Path, options: &Options| {
        let mut sizes = Vec::new();
        peel_train::train(config, options, &mut |event| {
            if let Event::Started { parameters, .. } = event {
                sizes.push(*parameters);
            }
            true
        })
        .unwrap();
        sizes
    };

    let whole = growing("whole");
    let grown = sizes(&whole, &options(6, false));
    assert!(grown.len() == 2 && grown[0] < grown[1], "{grown:?}");

    // Stopped at the very step at which it grows.
    let parts = growing("parts");
    assert_eq!(sizes(&parts, &options(4, false)), grown[..1]);
    // A decay branch from there keeps its blocks, and its weights come with a configuration that fits them.
    assert_eq!(sizes(&parts, &options(6, true)), grown[..1]);
    let out = dir.path().join("out");
    peel_train::export(&parts, false, &out).unwrap();
    let model = peel_layerdecomp::Model::load(&out, &candle_core::Device::Cpu).unwrap();
    assert_eq!(model.config().depth, 2);

    assert_eq!(sizes(&parts, &options(6, false)), grown[1..]);
    assert_eq!(
        weights(&whole, "run.safetensors"),
        weights(&parts, "run.safetensors")
    );
}
