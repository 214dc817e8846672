//! A run whose network and optimiser are on the emulated card: the losses of one on the processor, and its own bits when resumed.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use candle_core::Tensor;
use peel_emulate::Emulated;
use peel_layerdecomp::{CardError, CardLearner, CardTrainer, Config, TokenizerConfig, Trainee};
use peel_train::{Event, Machine, Options, Result, train_on};

use common::{write_pool, write_run};

fn open(trainee: Trainee, config: &Config, tensors: &BTreeMap<String, Tensor>) -> Result<CardLearner> {
    let card = Emulated::open(6).map_err(peel_layerdecomp::Error::from)?;
    Ok(CardLearner::open(card, trainee, config, tensors)?)
}

const CARD: Machine<'static> = Machine::Card(&open);

const PIXELS: &str = "width: 32, heads: 1, mlp_ratio: 2, fold_mask: true,
    tokenizer: Pixels(patch: 16, stem: (8, 8, 16, 16), prefill: 2, patches: true, casts: true, fine: 24)";

fn write_config(dir: &Path, name: &str, more: &str) -> PathBuf {
    write_model(dir, name, PIXELS, more)
}

fn write_model(dir: &Path, name: &str, model: &str, more: &str) -> PathBuf {
    let run = "stages: [(until: 2, size: 32, batch: 1, accumulate: 1), (until: 99, size: 16, batch: 2, accumulate: 2)],
        held_out: 1, evaluate_every: 3, checkpoint_every: 2, data_threads: 1,";
    write_run(dir, name, model, &format!("{run} {more}"))
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

/// Trains until a step; what was remarked on the way.
fn remarks(machine: Machine<'_>, config: &Path, step: u64) -> Result<Vec<String>> {
    let mut remarks = Vec::new();
    train_on(machine, config, &until(step), &mut |event| {
        if let Event::Remark { text } = event {
            remarks.push(text.clone());
        }
        true
    })?;
    Ok(remarks)
}

#[test]
fn a_student_on_a_card_has_the_processors_losses() {
    let dir = tempfile::tempdir().unwrap();
    write_pool(dir.path());
    let teacher = write_config(dir.path(), "teacher", "");
    train_on(Machine::Processor, &teacher, &until(1), &mut |_| true).unwrap();
    let best = teacher.parent().unwrap().join("state/best");
    let student = format!("task: Distil(teacher: {best:?}, steps: 1)");
    let here = write_config(dir.path(), "here", &student);
    let there = write_config(dir.path(), "there", &student);
    train_on(Machine::Processor, &here, &until(2), &mut |_| true).unwrap();
    assert!(remarks(CARD, &there, 2).unwrap().is_empty());
    // Teacher and student both work in bf16 there.
    for (found, want) in losses(&there).iter().zip(&losses(&here)) {
        assert!((found / want - 1.0).abs() < 0.02, "{found} {want}");
    }
}

/// A latent model whose recomposition is asked for: its loss goes through the decoders, on the processor.
#[test]
fn a_latent_model_on_a_card_has_the_processors_losses() {
    let dir = tempfile::tempdir().unwrap();
    write_pool(dir.path());
    let best = |config: &Path| config.parent().unwrap().join("state/best");
    // Of a model whose autoencoders are those of a run, which has settled their scale.
    let latent = |start: Option<&Path>| {
        let (scale, shift) = start.map_or((1.0, 0.0), |start| {
            let config = Config::load(&best(start).join("config.ron")).unwrap();
            let TokenizerConfig::Latent { vae, .. } = config.tokenizer else {
                panic!("{start:?} has no autoencoders");
            };
            (vae.scale, vae.shift)
        });
        format!(
            "width: 32, heads: 1, mlp_ratio: 2, fold_mask: true, diffusion: (predicts: V, schedule: Cosine(steps: 100)),
            tokenizer: Latent(patch: 2, vae: (channels: [8, 16], blocks: 1, latent: 4, groups: 4, scale: {scale:?}, shift: {shift:?}))"
        )
    };
    let run = |name: &str, task: &str, start: Option<&Path>, machine, steps| {
        let from = start.map_or(String::new(), |start| format!("start: [{:?}]", best(start)));
        let config = write_model(dir.path(), name, &latent(start), &format!("task: {task}, {from}"));
        let remarks = remarks(machine, &config, steps).unwrap();
        (config, remarks)
    };
    let of_pictures = |pictures: &str| format!("Autoencoder(pictures: {pictures}, kl: 1e-4)");
    let (rgb, said) = run("rgb", &of_pictures("Rgb"), None, CARD, 1);
    assert!(said.is_empty(), "{said:?}");
    let (rgba, said) = run("rgba", &of_pictures("Rgba"), Some(&rgb), CARD, 1);
    assert!(said.is_empty(), "{said:?}");
    let (here, _) = run("here", "Layers", Some(&rgba), Machine::Processor, 2);
    let (there, said) = run("there", "Layers", Some(&rgba), CARD, 2);
    assert!(said.is_empty());
    for (found, want) in losses(&there).iter().zip(&losses(&here)) {
        assert!((found / want - 1.0).abs() < 0.02, "{found} {want}");
    }
}

/// Losses of both machines are within a share of each other, and a run in parts has the bits of a whole one.
fn both_machines_learn(dir: &Path, write: &dyn Fn(&str) -> PathBuf, steps: u64, within: f32) {
    let here = write("here");
    train_on(Machine::Processor, &here, &until(steps), &mut |_| true).unwrap();
    let whole = write("whole");
    assert!(remarks(CARD, &whole, steps).unwrap().is_empty());
    let (of_card, of_processor) = (losses(&whole), losses(&here));
    eprintln!(
        "{}: steps, loss, background, layer: {of_card:?} on the card, {of_processor:?} on the processor",
        dir.display()
    );
    assert_eq!(of_card[0], steps as f32);
    for (found, want) in of_card.iter().zip(&of_processor) {
        assert!(
            found == want || (found / want - 1.0).abs() < within,
            "{of_card:?} {of_processor:?}"
        );
    }
    let parts = write("parts");
    for step in 1..=steps {
        train_on(CARD, &parts, &until(step), &mut |_| true).unwrap();
    }
    assert!(checkpoint(&whole) == checkpoint(&parts));
    // A run may change its machine.
    train_on(Machine::Processor, &parts, &until(steps + 1), &mut |_| true).unwrap();
    assert_eq!(losses(&parts)[0], steps as f32 + 1.0);
}

#[test]
fn a_refiner_on_a_card_has_the_processors_losses_and_resumes_to_the_bit() {
    let dir = tempfile::tempdir().unwrap();
    write_pool(dir.path());
    let network = write_config(dir.path(), "network", "");
    train_on(Machine::Processor, &network, &until(1), &mut |_| true).unwrap();
    let best = network.parent().unwrap().join("state/best");
    let model = format!("{PIXELS}, refine: (width: 8, scale: 2)");
    let write = |name: &str| {
        let run = "stages: [(until: 1, size: 32, batch: 2, accumulate: 1), (until: 99, size: 64, batch: 1, accumulate: 2)],
            held_out: 1, evaluate_every: 2, checkpoint_every: 2, data_threads: 1,";
        write_run(
            dir.path(),
            name,
            &model,
            &format!("{run} task: Refine(steps: 1), start: [{best:?}]"),
        )
    };
    both_machines_learn(dir.path(), &write, 3, 0.01);
}

#[test]
fn an_autoencoder_on_a_card_has_the_processors_losses_and_resumes_to_the_bit() {
    let dir = tempfile::tempdir().unwrap();
    write_pool(dir.path());
    let model = "width: 32, heads: 1, mlp_ratio: 2, fold_mask: true, diffusion: (predicts: V, schedule: Cosine(steps: 100)),
        tokenizer: Latent(patch: 1, vae: (channels: [8, 16, 16], blocks: 1, latent: 4, groups: 4, scale: 1.0, bypass: true))";
    let write = |name: &str| {
        let task = "task: Autoencoder(pictures: Rgb, kl: 1e-3)";
        write_model(dir.path(), name, model, task)
    };
    both_machines_learn(dir.path(), &write, 3, 0.01);
}

#[test]
fn without_a_card_it_is_an_error_or_the_processor_as_was_asked() {
    let dir = tempfile::tempdir().unwrap();
    write_pool(dir.path());
    let none = |_: Trainee, _: &Config, _: &BTreeMap<String, Tensor>| -> Result<CardLearner> {
        let reason = "no NVIDIA driver".into();
        Err(peel_layerdecomp::Error::from(CardError::NoDevice(reason)).into())
    };
    let config = write_config(dir.path(), "config", "");
    let refused = remarks(Machine::Card(&none), &config, 1).unwrap_err().to_string();
    assert!(refused.contains("no CUDA device: no NVIDIA driver"), "{refused}");
    let said = remarks(Machine::Auto(&none), &config, 1).unwrap();
    assert_eq!(said, ["no NVIDIA driver; training runs on the processor"]);
    // As the config says, on a machine without a card.
    if let peel_kernels::Found::None(reason) = peel_kernels::probe(0) {
        let auto = write_config(dir.path(), "auto", "device: auto");
        let mut said = Vec::new();
        peel_train::train(&auto, &until(1), &mut |event| {
            if let Event::Remark { text } = event {
                said.push(text.clone());
            }
            true
        })
        .unwrap();
        assert!(
            said.len() == 1 && said[0].contains("training runs on the processor"),
            "{said:?}"
        );
        let cuda = write_config(dir.path(), "cuda", "device: cuda");
        let refused = peel_train::train(&cuda, &until(1), &mut |_| true).unwrap_err();
        assert!(refused.to_string().contains(&reason), "{refused}");
    }
}

#[test]
fn what_does_not_fit_goes_on_on_the_processor_and_says_so() {
    let dir = tempfile::tempdir().unwrap();
    write_pool(dir.path());
    // A model that no card runs.
    let odd = PIXELS.replace("width: 32, heads: 1", "width: 40, heads: 2");
    let odd = write_model(dir.path(), "odd", &odd, "");
    let said = remarks(CARD, &odd, 1).unwrap();
    assert!(
        said[0].contains("heads have features other than") && said[0].contains("on the processor"),
        "{said:?}"
    );
    // One that does, on cards with hardly any memory beside the weights, or none.
    let config = write_config(dir.path(), "tight", "");
    for (spare, name) in [(None, "none"), (Some(20_000), "little")] {
        let open = |trainee, config: &Config, tensors: &BTreeMap<String, Tensor>| -> Result<CardLearner> {
            let room = match spare {
                None => 1000,
                Some(spare) => {
                    let roomy = Emulated::open(6).map_err(peel_layerdecomp::Error::from)?;
                    CardTrainer::new(roomy, config, tensors)?.card().taken() + spare
                }
            };
            let card = Emulated::open(6).map_err(peel_layerdecomp::Error::from)?;
            let card = card.with_memory(room);
            Ok(CardLearner::open(card, trainee, config, tensors)?)
        };
        let config = write_config(dir.path(), name, "");
        let said = remarks(Machine::Card(&open), &config, 2).unwrap();
        assert_eq!(
            said,
            ["the card has no room for this; training goes on on the processor"]
        );
        assert_eq!(losses(&config)[0], 2.0);
    }
    // The same steps as the processor's own.
    train_on(Machine::Processor, &config, &until(2), &mut |_| true).unwrap();
    assert_eq!(losses(&config), losses(&dir.path().join("little/train.ron")));
}
