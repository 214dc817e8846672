//! The network composed of candle's operations, as another device has it, against the fused ones: what it says, its loss and the
//! gradient of every parameter.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::collections::BTreeMap;

use candle_core::{DType, Device, Tensor};
use candle_nn::VarMap;
use peel_layerdecomp::{Conditions, Model, Noise, Noisy, with_composed_operations};

use common::{small, stirred};

fn noise(channels: usize, seed: u64) -> Tensor {
    Noise::new(seed, 0)
        .normal_tensor((2, channels, 32, 48), &Device::Cpu)
        .unwrap()
}

/// The mean square of what the network says, and its gradients.
fn learn(model: &Model, map: &VarMap) -> (f32, BTreeMap<String, Tensor>) {
    let conditions = Conditions {
        plate: noise(3, 1).clamp(0f32, 1f32).unwrap(),
        mask: noise(1, 2).ge(0.5).unwrap().to_dtype(DType::F32).unwrap(),
    };
    let z = Noisy {
        background: noise(3, 3),
        foreground: noise(4, 4),
        time: Tensor::new(&[0.3f32, 0.8], &Device::Cpu).unwrap(),
    };
    let said = model.clean(&model.condition(&conditions).unwrap(), &z).unwrap();
    let square = |t: &Tensor| t.sqr().unwrap().mean_all().unwrap();
    let loss = (square(&said.background) + square(&said.foreground)).unwrap();
    let grads = loss.backward().unwrap();
    let variables = map.data().lock().unwrap().clone();
    let own = variables
        .iter()
        .filter_map(|(name, var)| Some((name.clone(), grads.get(var)?.clone())));
    (loss.to_scalar().unwrap(), own.collect())
}

#[test]
fn a_step_of_training_is_the_same_without_the_fused_operations() {
    for (condition_cache, fold_mask) in [(true, true), (false, false)] {
        let (map, model) = stirred(&small(condition_cache, fold_mask));
        let (loss, fused) = learn(&model, &map);
        let (same_loss, composed) = with_composed_operations(|| learn(&model, &map));
        assert!((loss - same_loss).abs() <= 1e-5 * loss, "{loss} and {same_loss}");
        assert_eq!(
            fused.keys().collect::<Vec<_>>(),
            composed.keys().collect::<Vec<_>>()
        );
        let largest = |t: &Tensor| {
            t.abs()
                .unwrap()
                .flatten_all()
                .unwrap()
                .max(0)
                .unwrap()
                .to_scalar::<f32>()
                .unwrap()
        };
        let mut worst = 0f32;
        for (name, gradient) in &fused {
            let off = largest(&(gradient - &composed[name]).unwrap());
            let share = off / largest(gradient).max(1e-4);
            assert!(share < 2e-3, "{name}: {share}");
            worst = worst.max(share);
        }
        eprintln!(
            "{} parameters, worst gradient {worst:.1e}; losses {loss} and {same_loss}",
            fused.len()
        );
    }
}
