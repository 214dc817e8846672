//! Small models that the tests share.

#![allow(dead_code, reason = "each test uses its part")]

use std::collections::BTreeMap;

use candle_core::backprop::GradStore;
use candle_core::{Device, Tensor};
use candle_nn::VarMap;
use peel_layerdecomp::{
    Config, Diffusion, FORMAT, Head, Model, Noise, TokenizerConfig, Update, VaeConfig, seeded_builder,
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
        patches: false,
        casts: false,
        fine: 16,
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

pub fn noise(shape: (usize, usize, usize, usize), seed: u64) -> Tensor {
    Noise::new(seed, 0).normal_tensor(shape, &Device::Cpu).unwrap()
}

pub fn flat(t: &Tensor) -> Vec<f32> {
    t.flatten_all().unwrap().to_vec1().unwrap()
}

pub fn size(x: &[f32]) -> f64 {
    x.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>().sqrt()
}

pub fn off(a: &[f32], b: &[f32]) -> f64 {
    let apart: Vec<f32> = a.iter().zip(b).map(|(a, b)| a - b).collect();
    size(&apart)
}

/// How far a card's gradients are from the processor's, as shares of their lengths.
#[derive(Debug)]
pub struct Apart {
    /// All of them together.
    pub all: f64,
    /// The worst parameter's, and its name.
    pub worst: f64,
    pub of: String,
    /// The largest of those that are nothing but rounding: a bias of keys adds the same to all scores that a softmax compares, and
    /// what is added to all last tokens of a layer is taken off with their mean.
    pub rounding: f64,
    /// The processor's norm.
    pub length: f64,
    pub count: usize,
}

impl Apart {
    /// Of parameters that learn; no other has a gradient on the card.
    pub fn of(
        found: &BTreeMap<String, Vec<f32>>,
        map: &VarMap,
        want: &GradStore,
        learns: impl Fn(&str) -> bool,
    ) -> Self {
        let mut apart = Self {
            all: 0.0,
            worst: 0.0,
            of: String::new(),
            rounding: 0.0,
            length: 0.0,
            count: found.len(),
        };
        let mut each = Vec::new();
        for (name, var) in map.data().lock().unwrap().iter() {
            assert_eq!(found.contains_key(name), learns(name), "{name}");
            if !learns(name) {
                continue;
            }
            let want = flat(want.get(var).unwrap());
            let (off, length) = (off(&found[name], &want), size(&want));
            apart.length += length.powi(2);
            apart.all += off.powi(2);
            each.push((name.clone(), off, length));
        }
        apart.all = (apart.all / apart.length).sqrt();
        apart.length = apart.length.sqrt();
        for (name, off, length) in each {
            if length < 1e-6 * apart.length {
                apart.rounding = apart.rounding.max(off);
            } else if off / length > apart.worst {
                (apart.worst, apart.of) = (off / length, name);
            }
        }
        apart.rounding /= apart.length;
        apart
    }
}

impl std::fmt::Display for Apart {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            all,
            worst,
            of,
            rounding,
            length,
            count,
        } = self;
        write!(
            f,
            "{count} gradients of norm {length:.4}, all {all:.4} apart, worst {worst:.4} ({of}), rounding {rounding:.1e}"
        )
    }
}

/// Update `t` of a run.
pub fn update(t: i32) -> Update {
    Update {
        scale: 1.0,
        rate: 3e-3,
        decay: 1e-4,
        betas: (0.9, 0.95),
        corrections: (1.0 - 0.9f32.powi(t), 1.0 - 0.95f32.powi(t)),
        keep: 0.5,
    }
}
