//! A run whose network and optimiser are on the emulated card: the losses of one on the processor, and its own bits when resumed.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use candle_core::Tensor;
use peel_emulate::Emulated;
use peel_layerdecomp::{CardTrainer, CardTraining, Config};
use peel_train::{Error, Event, Machine, Options, Result, train_on};

use common::write_pool;

fn open(config: &Config, tensors: &BTreeMap<String, Tensor>) -> Result<Box<dyn CardTraining>> {
    let card = Emulated::open(6).map_err(peel_layerdecomp::Error::from)?;
    Ok(Box::new(CardTrainer::new(card, config, tensors)?))
}

const CARD: Machine<'static> = Machine::Card(&open);

fn write_config(dir: &Path, state: &str, more: &str) -> PathBuf {
    let folder = dir.join(state);
    std::fs::create_dir_all(&folder).unwrap();
    let model = r#"Config(format: 1, name: "test", width: 32, depth: 1, heads: 1, mlp_ratio: 2, fold_mask: true,
        tokenizer: Pixels(patch: 16, stem: (8, 8, 16, 16), prefill: 2))"#;
    std::fs::write(folder.join("config.ron"), model).unwrap();
    let train = format!(
        r#"Train(format: 1, seed: 3, {more} pool: {dir:?}, state: {:?}, rendered: 0.0, pure_noise: 0.5, time_mean: -0.4,
        stages: [(until: 2, size: 32, batch: 1, accumulate: 1), (until: 99, size: 16, batch: 2, accumulate: 2)],
        optimizer: (learning_rate: 1e-3, betas: (0.9, 0.95), weight_decay: 0.01, clip: 1.0, ema: 0.9),
        warm_up: 3, decay: (steps: 3, to: 0.02),
        loss: (mse: 4.0, l1: 0.05, consistency: 0.3, effect: 4.0, shadow: 4.0, threshold: 0.02),
        held_out: 1, evaluate_every: 3, checkpoint_every: 2, data_threads: 1)"#,
        folder.join("state"),
    );
    let path = folder.join("train.ron");
    std::fs::write(&path, train).unwrap();
    path
}

fn until(step: u64) -> Options {
    Options {
        until: Some(step),
        ..Options::default()
    }
}

fn checkpoint(config: &Path) -> Vec<u8> {
    std::fs::read(config.parent().unwrap().join("state/run.safetensors")).unwrap()
}

/// Sums of the metrics since the last line: their number, the loss and its parts.
fn losses(config: &Path) -> Vec<f32> {
    let bytes = checkpoint(config);
    let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let window = file.tensor("window").unwrap();
    let four = window.data().chunks_exact(4);
    four.map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]))
        .take(4)
        .collect()
}

#[test]
fn a_run_on_a_card_has_the_processors_losses_and_resumes_to_the_bit() {
    let dir = tempfile::tempdir().unwrap();
    write_pool(dir.path());
    let here = write_config(dir.path(), "here", "");
    train_on(Machine::Processor, &here, &until(4), &mut |_| true).unwrap();

    let whole = write_config(dir.path(), "whole", "");
    let mut tables = 0;
    train_on(CARD, &whole, &until(4), &mut |event| {
        tables += usize::from(matches!(event, Event::Table { .. }));
        true
    })
    .unwrap();
    assert_eq!(tables, 2);
    let (of_card, of_processor) = (losses(&whole), losses(&here));
    eprintln!("steps, loss, background, layer: {of_card:?} on the card, {of_processor:?} on the processor");
    assert_eq!(of_card[0], 4.0);
    for (found, want) in of_card.iter().zip(&of_processor) {
        assert!((found / want - 1.0).abs() < 0.01, "{of_card:?} {of_processor:?}");
    }

    let parts = write_config(dir.path(), "parts", "");
    for step in [1, 3, 4] {
        train_on(CARD, &parts, &until(step), &mut |_| true).unwrap();
    }
    assert!(checkpoint(&whole) == checkpoint(&parts));
    // A run may change its machine.
    train_on(Machine::Processor, &parts, &until(5), &mut |_| true).unwrap();
    assert_eq!(losses(&parts)[0], 5.0);
}

#[test]
fn what_cards_do_not_train_is_refused_before_anything_is_opened() {
    let dir = tempfile::tempdir().unwrap();
    write_pool(dir.path());
    let none = |_: &Config, _: &BTreeMap<String, Tensor>| -> Result<Box<dyn CardTraining>> {
        Err(Error::Config("opened".into()))
    };
    let run = |config: &Path| {
        let refused = train_on(Machine::Card(&none), config, &until(1), &mut |_| true);
        refused.unwrap_err().to_string()
    };
    let teacher = write_config(dir.path(), "teacher", "");
    train_on(Machine::Processor, &teacher, &until(1), &mut |_| true).unwrap();
    let best = teacher.parent().unwrap().join("state/best");
    let student = format!("task: Distil(teacher: {best:?}, steps: 1),");
    let message = run(&write_config(dir.path(), "student", &student));
    assert!(message.contains("only Layers trains on a card"), "{message}");
    let message = run(&write_config(dir.path(), "layers", ""));
    assert!(message.contains("opened"), "{message}");
}
