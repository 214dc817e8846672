//! The network on the emulated card against the network on the CPU.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use candle_core::{Device, Tensor};
use candle_nn::VarMap;
use peel_emulate::Emulated;
use peel_layerdecomp::{
    CardModel, Conditions, Config, Diffusion, Head, Model, Noise, Predicts, Sampler, Sampling, Schedule,
    TokenizerConfig, named, seeded_builder,
};

fn config(diffusion: Diffusion) -> Config {
    Config {
        format: 1,
        name: "test".into(),
        width: 64,
        depth: 2,
        heads: 2,
        mlp_ratio: 2,
        condition_cache: true,
        fold_mask: true,
        tokenizer: TokenizerConfig::Pixels {
            patch: 16,
            stem: [8, 16, 24, 32],
            prefill: Some(2),
            head: Head::default(),
        },
        diffusion,
        tighten: None,
        refine: None,
    }
}

fn random(shape: (usize, usize, usize, usize), seed: u64) -> Tensor {
    let (n, c, h, w) = shape;
    Tensor::from_vec(
        Noise::new(seed, 9).uniform(n * c * h * w, 0.0, 1.0),
        shape,
        &Device::Cpu,
    )
    .unwrap()
}

/// Weights stirred, so that every part shows.
fn stirred(config: &Config) -> (VarMap, Model) {
    let map = VarMap::new();
    let model = Model::new(config, seeded_builder(&map, 5, &Device::Cpu)).unwrap();
    let variables: std::collections::BTreeMap<_, _> =
        map.data().lock().unwrap().clone().into_iter().collect();
    for (i, var) in variables.values().enumerate() {
        let extra = Noise::new(i as u64, 1)
            .normal_tensor(var.shape().clone(), &Device::Cpu)
            .unwrap();
        var.set(&(var.as_tensor() + (extra * 0.05).unwrap()).unwrap())
            .unwrap();
    }
    (map, model)
}

fn largest_difference(a: &Tensor, b: &Tensor) -> f32 {
    let d = (a - b)
        .unwrap()
        .abs()
        .unwrap()
        .flatten_all()
        .unwrap()
        .max(0)
        .unwrap();
    d.to_scalar().unwrap()
}

/// Two pictures of two different shapes of token grid, two steps: bf16 between products costs a hundredth at most.
#[test]
fn the_card_says_what_the_cpu_says() {
    let plain = Diffusion::default();
    let v = Diffusion {
        predicts: Predicts::V,
        schedule: Schedule::Cosine { steps: 1000 },
    };
    for (diffusion, n, h, w, sampler) in [
        (plain, 1, 32, 16, Sampler::OneCall),
        (plain, 2, 16, 32, Sampler::Ddim),
        (v, 1, 16, 16, Sampler::Ddim),
    ] {
        let config = config(diffusion);
        let (map, model) = stirred(&config);
        let card = CardModel::new(Emulated::open(4).unwrap(), &config, &named(&map)).unwrap();
        let mask = random((n, 1, h, w), 2)
            .ge(0.6)
            .unwrap()
            .to_dtype(candle_core::DType::F32)
            .unwrap();
        let conditions = Conditions {
            plate: random((n, 3, h, w), 1),
            mask,
        };
        let sampling = Sampling {
            sampler,
            steps: 2,
            seed: 7,
        };
        let want = model.sample(&conditions, &sampling, &|_, _| true).unwrap();
        let found = card.sample(&conditions, &sampling, &|_, _| true).unwrap();
        let error = largest_difference(&found.background, &want.background)
            .max(largest_difference(&found.foreground, &want.foreground));
        eprintln!("{n} of {h}x{w}, {sampler:?}: largest difference {error:.4}");
        assert!(error < 0.03, "{error}");
    }
}

#[test]
fn models_that_cards_do_not_run_are_refused_by_name() {
    let mut config = config(Diffusion::default());
    config.fold_mask = false;
    let (map, _) = stirred(&config);
    let refused = CardModel::new(Emulated::open(4).unwrap(), &config, &named(&map))
        .unwrap_err()
        .to_string();
    assert!(
        refused.contains("fold_mask") && refused.contains("--device cpu"),
        "{refused}"
    );
}
