//! Compares every stage with PyTorch: `tests/golden/make_golden.py` writes the files, this reads them.

mod bits;
mod diffusion;
mod latent;
mod vae;

use std::collections::HashMap;
use std::path::Path;

use candle_core::{DType, Device, Tensor, Var};
use candle_nn::VarBuilder;

use crate::dit::{Context, Dit};
use crate::ops::simd::{AT_MOST, Simd};
use crate::ops::testing::relative_error;
use crate::pixels::{Channels, Hints, Pixels};
use crate::tokenizer::{Streams, Tokenizer};
use crate::{Conditions, Config, Head, Model, Noisy, Pair, Prediction, TokenizerConfig, push_pull};

/// Relative to the largest value of a tensor, in f32.
const TOLERANCE: f32 = 1e-5;
const CHANNELS: Channels = Channels {
    stem: [8, 8, 16, 24],
    fine: 16,
};
const HINTS: Hints = Hints {
    prefill: Some(2),
    patches: false,
    casts: false,
};

fn config() -> Config {
    Config {
        format: 1,
        name: "golden".into(),
        width: 16,
        depth: 2,
        heads: 2,
        mlp_ratio: 2,
        condition_cache: true,
        fold_mask: true,
        join: false,
        centre: false,
        tokenizer: TokenizerConfig::Pixels {
            patch: 16,
            stem: CHANNELS.stem,
            prefill: Some(2),
            patches: false,
            casts: false,
            fine: CHANNELS.fine,
            head: Head::default(),
        },
        diffusion: crate::Diffusion::default(),
        tighten: None,
        refine: None,
    }
}

pub(super) fn read(name: &str) -> HashMap<String, Tensor> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden")
        .join(name);
    candle_core::safetensors::load(path, &Device::Cpu)
        .unwrap()
        .into_iter()
        .map(|(name, tensor)| (name, tensor.to_dtype(DType::F32).unwrap()))
        .collect()
}

fn builder() -> VarBuilder<'static> {
    VarBuilder::from_tensors(read("weights.safetensors"), DType::F32, &Device::Cpu)
}

/// Inputs and expected values.
pub(super) struct Golden(pub HashMap<String, Tensor>);

impl Golden {
    fn load() -> Self {
        Self(read("model.safetensors"))
    }

    pub fn get(&self, name: &str) -> Tensor {
        self.0[name].clone()
    }

    fn conditions(&self) -> Conditions {
        Conditions {
            plate: self.get("input.plate"),
            mask: self.get("input.mask"),
        }
    }

    fn noisy(&self) -> Noisy {
        Noisy {
            background: self.get("input.background"),
            foreground: self.get("input.foreground"),
            time: self.get("input.time"),
        }
    }

    pub fn check(&self, name: &str, found: &Tensor) {
        let error = relative_error(found, &self.0[name]);
        println!("{name}: {error:.1e}");
        assert!(error < TOLERANCE, "{name} differs by {error}");
    }
}

/// The sample whose pictures the file holds.
fn second(batch: &Tensor) -> Tensor {
    batch.narrow(0, 1, 1).unwrap()
}

fn pixels() -> Pixels {
    Pixels::new(16, 16, CHANNELS, HINTS, Head::Skips, &builder()).unwrap()
}

#[test]
fn stem_and_patch_embedding() {
    let golden = Golden::load();
    let encoded = pixels().conditions(&golden.conditions()).unwrap();
    golden.check("patches.plate", &encoded.plate);
    golden.check("patches.mask", &encoded.mask);
    let (background, foreground) = pixels().noisy(&golden.noisy()).unwrap();
    golden.check("patches.background", &background);
    golden.check("patches.foreground", &foreground);
    let streams = Streams::new(&config(), &builder()).unwrap();
    golden.check("tokens.condition", &streams.conditions(&encoded).unwrap());
    golden.check(
        "tokens.noisy",
        &streams.noisy(&background, &foreground, &encoded).unwrap(),
    );
}

#[test]
fn one_block_and_the_transformer() {
    let golden = Golden::load();
    let run = |depth: usize| {
        let dit = Dit::new(&Config { depth, ..config() }, &builder()).unwrap();
        let context = dit.context(golden.get("tokens.condition")).unwrap();
        let output = dit
            .forward(&context, golden.get("tokens.noisy"), &golden.get("input.time"))
            .unwrap();
        (context, output)
    };
    // A single block is a last one: its condition tokens go no further, its noisy ones all the way.
    golden.check("block.output", &run(1).1);
    let (context, output) = run(2);
    let Context::Cached(projections) = context else {
        panic!("condition_cache is on")
    };
    golden.check("block.projection", &projections[1]);
    golden.check("transformer.output", &output);
}

#[test]
fn head() {
    let golden = Golden::load();
    let encoded = pixels().conditions(&golden.conditions()).unwrap();
    let tokens = golden.get("transformer.output");
    let half = tokens.dim(1).unwrap() / 2;
    let part = |i: usize| tokens.narrow(1, i * half, half).unwrap();
    let said = pixels().decode(&part(0), &part(1), &encoded).unwrap();
    let clean = Pair::sum(&[(1.0, &encoded.base.unwrap()), (1.0, &said)]).unwrap();
    let out = pixels().decode_layers(&clean).unwrap();
    golden.check("background", &second(&out.background));
    golden.check("foreground", &second(&out.foreground));
}

#[test]
fn refined_alpha() {
    let inputs = Golden::load();
    let golden = Golden(read("refine.safetensors"));
    let mut weights = read("weights.safetensors");
    weights.extend(golden.0.clone());
    let config = Config {
        refine: Some(crate::RefineConfig { width: 4, scale: 4 }),
        ..config()
    };
    let model = Model::new(
        &config,
        VarBuilder::from_tensors(weights, DType::F32, &Device::Cpu),
    )
    .unwrap();
    let said = Prediction {
        background: golden.get("background"),
        foreground: golden.get("foreground"),
    };
    golden.check("alpha", &model.refine(&inputs.conditions(), &said).unwrap());
}

#[test]
fn full_model_with_and_without_the_condition_cache() {
    let golden = Golden::load();
    let run = |on: bool| {
        let config = Config {
            condition_cache: on,
            fold_mask: on,
            join: false,
            centre: false,
            ..config()
        };
        Model::new(&config, builder())
            .unwrap()
            .predict(&golden.conditions(), &golden.noisy())
            .unwrap()
    };
    let out = run(true);
    golden.check("background", &second(&out.background));
    golden.check("foreground", &second(&out.foreground));
    golden.check("joint.background", &second(&run(false).background));
}

/// The result and all gradients of a call, from one thread that uses `most` at most.
fn bytes(most: Simd) -> Vec<(String, Vec<f32>)> {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
    pool.install(|| {
        AT_MOST.set(most);
        let golden = Golden::load();
        let vars: HashMap<String, Var> = read("weights.safetensors")
            .into_iter()
            .map(|(name, tensor)| (name, Var::from_tensor(&tensor).unwrap()))
            .collect();
        let tensors = vars
            .iter()
            .map(|(name, var)| (name.clone(), var.as_tensor().clone()))
            .collect();
        let vb = VarBuilder::from_tensors(tensors, DType::F32, &Device::Cpu);
        let out = Model::new(&config(), vb)
            .unwrap()
            .predict(&golden.conditions(), &golden.noisy())
            .unwrap();
        let both = Tensor::cat(&[&out.background, &out.foreground], 1).unwrap();
        let grads = both.sqr().unwrap().mean_all().unwrap().backward().unwrap();
        let flat = |t: &Tensor| t.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        let mut all: Vec<_> = vars
            .iter()
            .map(|(name, var)| (name.clone(), flat(grads.get(var.as_tensor()).unwrap())))
            .collect();
        all.push(("result".into(), flat(&both)));
        all.sort_by(|a, b| a.0.cmp(&b.0));
        all
    })
}

#[test]
fn the_same_bytes_come_out_whatever_the_instructions() {
    let portable = bytes(Simd::Portable);
    for most in [Simd::Avx2, Simd::Avx512] {
        for ((name, fast), (_, portable)) in bytes(most).iter().zip(&portable) {
            assert!(fast == portable, "{name} differs with {most:?}");
        }
    }
}

#[test]
fn push_pull_of_odd_sizes() {
    let golden = Golden(read("push_pull.safetensors"));
    for (size, dilate) in [("16x16", 2), ("13x30", 0), ("1x7", 1)] {
        let (values, mask) = (
            golden.get(&format!("{size}.values")),
            golden.get(&format!("{size}.mask")),
        );
        golden.check(
            &format!("{size}.filled"),
            &push_pull(&values, &mask, dilate).unwrap(),
        );
    }
}
