//! The latent model as published, small, against PyTorch and diffusers: `tests/golden/make_latent.py`.

use std::collections::HashMap;

use candle_core::{DType, Device, Tensor};
use candle_nn::VarBuilder;

use super::{Golden, config, read};
use crate::{Config, Diffusion, Model, TokenizerConfig, VaeConfig};

/// The shape of the golden autoencoders.
pub(super) fn autoencoder() -> VaeConfig {
    VaeConfig {
        channels: vec![8, 8, 16],
        blocks: 1,
        latent: 4,
        groups: 4,
        scale: 0.3611,
        shift: 0.1159,
        bypass: false,
    }
}

/// The golden latent model: its configuration and its weights.
pub(super) fn latent_config(golden: &Golden) -> (Config, HashMap<String, Tensor>) {
    let config = Config {
        condition_cache: false,
        fold_mask: false,
        join: false,
        centre: false,
        tokenizer: TokenizerConfig::Latent {
            patch: 2,
            vae: autoencoder(),
        },
        diffusion: Diffusion::PUBLISHED,
        ..config()
    };
    let autoencoders = read("vae.safetensors")
        .into_iter()
        .map(|(name, t)| (format!("vae.{name}"), t));
    let mut weights = read("weights.safetensors");
    weights.extend(autoencoders);
    // Embeddings and heads of the pixel model under the same names give way.
    weights.extend(golden.0.clone());
    (config, weights)
}

#[test]
fn full_latent_model_with_noise_prediction() {
    let golden = Golden(read("latent.safetensors"));
    let (config, weights) = latent_config(&golden);
    let vb = VarBuilder::from_tensors(weights, DType::F32, &Device::Cpu);
    let model = Model::new(&config, vb).unwrap();
    let conditioned = model.condition(&golden.conditions()).unwrap();
    let said = model.output(&conditioned, &golden.noisy()).unwrap();
    golden.check("said.background", &said.background);
    golden.check("said.foreground", &said.foreground);
    let out = model.denoise(&conditioned, &golden.noisy()).unwrap();
    golden.check("background", &out.background);
    golden.check("foreground", &out.foreground);
}
