//! Every stage with weights in fewer bits, against PyTorch's f32: what the number formats cost.

use std::collections::HashMap;

use candle_core::{DType, Device, Tensor};
use candle_nn::VarBuilder;

use super::latent::{autoencoder, latent_config};
use super::{CHANNELS, Golden, HINTS, config, read, second};
use crate::dit::Dit;
use crate::layers::{Linear, Start};
use crate::ops::testing::relative_error;
use crate::pixels::Pixels;
use crate::tokenizer::Tokenizer;
use crate::weights::{is_product, quantised};
use crate::{Config, Head, Model, RefineConfig, Vae};

/// Relative to the largest value of a tensor.
const BF16: f32 = 2e-2;
/// The same of a linear layer, and of a whole model, in whole numbers.
const INT8: f32 = 2e-2;

/// All weights rounded to bf16: what layers over stored bf16 compute with, see `ops::linear`.
fn rounded(weights: HashMap<String, Tensor>) -> VarBuilder<'static> {
    let round = |(name, t): (String, Tensor)| {
        let t = t.to_dtype(DType::BF16).unwrap().to_dtype(DType::F32).unwrap();
        (name, t)
    };
    let weights = weights.into_iter().map(round).collect();
    VarBuilder::from_tensors(weights, DType::F32, &Device::Cpu)
}

/// Linear layers as whole numbers, all else in f32.
fn whole(weights: HashMap<String, Tensor>) -> VarBuilder<'static> {
    let mut stored = HashMap::new();
    for (name, t) in weights {
        if is_product(&name, t.dims()) {
            let (numbers, scales) = quantised(&t.flatten_all().unwrap().to_vec1().unwrap(), t.dims()[1]);
            let scale = format!("{}.scale", name.trim_end_matches(".weight"));
            let rows = scales.len();
            stored.insert(scale, Tensor::from_vec(scales, rows, &Device::Cpu).unwrap());
            stored.insert(name, Tensor::from_vec(numbers, t.shape(), &Device::Cpu).unwrap());
        } else {
            stored.insert(name, t);
        }
    }
    VarBuilder::from_tensors(stored, DType::F32, &Device::Cpu)
}

/// Fails unless the result is another than in f32, and near it.
fn near(golden: &Golden, name: &str, found: &Tensor, most: f32) {
    let error = relative_error(found, &golden.get(name));
    println!("{name}: {error:.1e}");
    assert!(error > 0.0 && error < most, "{name} differs by {error}");
}

#[test]
fn patches_blocks_and_head_in_bf16() {
    let golden = Golden::load();
    let vb = rounded(read("weights.safetensors"));
    let pixels = Pixels::new(16, 16, CHANNELS, HINTS, Head::Skips, &vb).unwrap();
    let encoded = pixels.conditions(&golden.conditions()).unwrap();
    near(&golden, "patches.plate", &encoded.plate, BF16);
    near(&golden, "patches.mask", &encoded.mask, BF16);
    let (background, foreground) = pixels.noisy(&golden.noisy()).unwrap();
    near(&golden, "patches.background", &background, BF16);
    near(&golden, "patches.foreground", &foreground, BF16);
    for (depth, name) in [(1, "block.output"), (2, "transformer.output")] {
        let dit = Dit::new(&Config { depth, ..config() }, &vb).unwrap();
        let context = dit.context(golden.get("tokens.condition")).unwrap();
        let out = dit
            .forward(&context, golden.get("tokens.noisy"), &golden.get("input.time"))
            .unwrap();
        near(&golden, name, &out, BF16);
    }
    let tokens = golden.get("transformer.output");
    let half = tokens.dim(1).unwrap() / 2;
    let part = |i: usize| tokens.narrow(1, i * half, half).unwrap();
    let said = pixels.decode(&part(0), &part(1), &encoded).unwrap();
    let base = encoded.base.unwrap();
    let background = (base.background + said.background).unwrap();
    let background = background.affine(0.5, 0.5).unwrap();
    near(&golden, "background", &second(&background), BF16);
}

#[test]
fn both_autoencoders_in_bf16() {
    let golden = Golden(read("vae.safetensors"));
    let vb = rounded(golden.0.clone());
    for (name, pictures) in [("rgb", 3), ("rgba", 4)] {
        let vae = Vae::new(&autoencoder(), pictures, &vb.pp(name)).unwrap();
        let x = golden.get(&format!("{name}.input"));
        near(
            &golden,
            &format!("{name}.mean"),
            &vae.moments(&x).unwrap().0,
            BF16,
        );
        let out = vae.decode(&vae.encode(&x).unwrap()).unwrap();
        near(&golden, &format!("{name}.output"), &out, BF16);
    }
}

#[test]
fn the_refiner_in_bf16() {
    let golden = Golden(read("refine.safetensors"));
    let mut weights = read("weights.safetensors");
    weights.extend(golden.0.clone());
    let config = Config {
        refine: Some(RefineConfig { width: 4, scale: 4 }),
        ..config()
    };
    let model = Model::new(&config, rounded(weights)).unwrap();
    let said = crate::Prediction {
        background: golden.get("background"),
        foreground: golden.get("foreground"),
    };
    let alpha = model.refine(&Golden::load().conditions(), &said).unwrap();
    near(&golden, "alpha", &alpha, BF16);
}

#[test]
fn full_models_in_fewer_bits() {
    let golden = Golden::load();
    for (vb, most) in [
        (rounded(read("weights.safetensors")), BF16),
        (whole(read("weights.safetensors")), INT8),
    ] {
        let out = Model::new(&config(), vb)
            .unwrap()
            .predict(&golden.conditions(), &golden.noisy())
            .unwrap();
        near(&golden, "background", &second(&out.background), most);
        near(&golden, "foreground", &second(&out.foreground), most);
    }
    let golden = Golden(read("latent.safetensors"));
    let (config, weights) = latent_config(&golden);
    for (vb, most) in [(rounded(weights.clone()), BF16), (whole(weights), INT8)] {
        let model = Model::new(&config, vb).unwrap();
        let conditioned = model.condition(&golden.conditions()).unwrap();
        let said = model.output(&conditioned, &golden.noisy()).unwrap();
        near(&golden, "said.background", &said.background, most);
        near(&golden, "said.foreground", &said.foreground, most);
    }
}

/// The error that whole numbers bring into one linear layer, over all linear layers that read pictures.
#[test]
fn linear_layers_in_whole_numbers() {
    let golden = Golden::load();
    let vb = whole(read("weights.safetensors"));
    let z = golden.noisy();
    for (name, pictures) in [("background", z.background), ("foreground", z.foreground)] {
        let patches = crate::tokenizer::patches(&pictures, 16).unwrap();
        let inputs = patches.dim(2).unwrap();
        let vb = vb.pp(format!("embed.{name}"));
        let layer = Linear::new(inputs, 16, Start::Scaled(1.0), &vb).unwrap();
        let found = layer.forward(&patches).unwrap();
        near(&golden, &format!("patches.{name}"), &found, INT8);
    }
}
