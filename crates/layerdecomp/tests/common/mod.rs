//! Small models that the tests share.

#![allow(dead_code, reason = "each test uses its part")]

use std::collections::BTreeMap;

use candle_core::Device;
use candle_nn::VarMap;
use peel_layerdecomp::{
    Config, Diffusion, FORMAT, Head, Model, Noise, TokenizerConfig, VaeConfig, seeded_builder,
};

/// A pixel model of two blocks with two heads of 32.
pub fn small(condition_cache: bool, fold_mask: bool) -> Config {
    Config {
        format: FORMAT,
        name: "test".into(),
        width: 64,
        depth: 2,
        heads: 2,
        mlp_ratio: 2,
        condition_cache,
        fold_mask,
        join: false,
        centre: false,
        tokenizer: pixels(Head::default()),
        diffusion: Diffusion::default(),
        tighten: None,
        refine: None,
    }
}

/// Stem and head of [`small`].
pub fn pixels(head: Head) -> TokenizerConfig {
    TokenizerConfig::Pixels {
        patch: 16,
        stem: [8, 16, 24, 32],
        prefill: Some(2),
        head,
    }
}

/// A latent model as published, small.
pub fn latent() -> Config {
    Config {
        diffusion: Diffusion::PUBLISHED,
        tokenizer: TokenizerConfig::Latent {
            patch: 2,
            vae: autoencoder(),
        },
        ..small(false, false)
    }
}

/// An autoencoder of stride 4.
pub fn autoencoder() -> VaeConfig {
    VaeConfig {
        channels: vec![8, 16, 16],
        blocks: 1,
        latent: 4,
        groups: 4,
        scale: 1.0,
        shift: 0.0,
        bypass: false,
    }
}

/// Weights stirred, so that nothing is zero and every part shows.
pub fn stirred(config: &Config) -> (VarMap, Model) {
    let map = VarMap::new();
    let model = Model::new(config, seeded_builder(&map, 5, &Device::Cpu)).unwrap();
    let variables: BTreeMap<_, _> = map.data().lock().unwrap().clone().into_iter().collect();
    for (i, var) in variables.values().enumerate() {
        let extra = Noise::new(i as u64, 1)
            .normal_tensor(var.shape().clone(), &Device::Cpu)
            .unwrap();
        var.set(&(var.as_tensor() + (extra * 0.05).unwrap()).unwrap())
            .unwrap();
    }
    (map, model)
}
