//! The refiner: a switch that changes nothing else, starts as up-sampling, learns, and may be missing from a weights file.

#![allow(clippy::unwrap_used)]

use candle_core::{DType, Device, Tensor};
use candle_nn::{Optimizer, VarMap};
use peel_layerdecomp::weights::verify;
use peel_layerdecomp::{
    Conditions, Config, Model, Noise, Prediction, RefineConfig, Sampling, TINY, named, save, save_config,
    seeded_builder,
};

fn config(refine: Option<RefineConfig>) -> Config {
    Config {
        width: 24,
        depth: 1,
        heads: 2,
        refine,
        ..Config::from_ron(TINY).unwrap()
    }
}

const ON: Option<RefineConfig> = Some(RefineConfig { width: 8, scale: 4 });

fn picture(c: usize, (h, w): (usize, usize), seed: u64) -> Tensor {
    let values = Noise::new(seed, 3).uniform(2 * c * h * w, 0.0, 1.0);
    Tensor::from_vec(values, (2, c, h, w), &Device::Cpu).unwrap()
}

/// Two discs of different size on noise.
fn conditions(size: (usize, usize)) -> Conditions {
    let disc = (0..2 * size.0 * size.1).map(|i| {
        let (n, y, x) = (i / (size.0 * size.1), i / size.1 % size.0, i % size.1);
        let (y, x) = (y as f32 - size.0 as f32 / 2.0, x as f32 - size.1 as f32 / 2.0);
        f32::from(y.hypot(x) < size.0 as f32 * (0.25 + 0.1 * n as f32))
    });
    let mask = Tensor::from_vec(disc.collect::<Vec<_>>(), (2, 1, size.0, size.1), &Device::Cpu).unwrap();
    Conditions {
        plate: picture(3, size, 1),
        mask,
    }
}

fn flat(t: &Tensor) -> Vec<f32> {
    t.flatten_all().unwrap().to_vec1().unwrap()
}

#[test]
fn it_changes_nothing_else_and_starts_as_up_sampling() {
    let build =
        |refine| Model::new(&config(refine), seeded_builder(&VarMap::new(), 3, &Device::Cpu)).unwrap();
    let (with, without) = (build(ON), build(None));
    assert_eq!((with.refines(), without.refines()), (Some(4), None));
    let sampled = |model: &Model| {
        let layers = model
            .sample(&conditions((32, 48)), &Sampling::default(), &|_, _| true)
            .unwrap();
        (layers.clone(), flat(&layers.foreground))
    };
    assert_eq!(sampled(&with).1, sampled(&without).1);

    let fine = conditions((128, 192));
    let constant = |v: f64, c: usize| Tensor::full(v as f32, (2, c, 32, 48), &Device::Cpu).unwrap();
    let said = Prediction {
        background: constant(0.5, 3),
        foreground: constant(0.25, 4),
    };
    let alpha = with.refine(&fine, &said).unwrap();
    assert_eq!(alpha.dims(), [2, 1, 128, 192]);
    assert!(flat(&alpha).iter().all(|v| *v == 0.25));
    let message = without.refine(&fine, &said).unwrap_err().to_string();
    assert!(message.contains("no refiner"), "{message}");
    assert!(with.refine(&conditions((64, 96)), &said).is_err());
}

#[test]
fn it_learns_an_edge_finer_than_the_model() {
    let map = VarMap::new();
    let model = Model::new(&config(ON), seeded_builder(&map, 3, &Device::Cpu)).unwrap();
    let fine = conditions((64, 64));
    // What a model of a quarter of the size can know: the mask's mean over its pixels.
    let coarse = fine.mask.avg_pool2d(4).unwrap();
    let said = Prediction {
        background: fine.plate.avg_pool2d(4).unwrap(),
        foreground: Tensor::cat(&[&coarse, &coarse, &coarse, &coarse], 1).unwrap(),
    };
    let own: Vec<_> = map
        .data()
        .lock()
        .unwrap()
        .iter()
        .filter(|(name, _)| name.starts_with("refine."))
        .map(|(_, var)| var.clone())
        .collect();
    let mut adam = candle_nn::AdamW::new_lr(own.clone(), 1e-2).unwrap();
    let mut losses = Vec::new();
    for step in 0..120 {
        let error = (model.refine(&fine, &said).unwrap() - &fine.mask).unwrap();
        let loss = error.sqr().unwrap().mean_all().unwrap();
        losses.push(loss.to_scalar::<f32>().unwrap());
        let grads = loss.backward().unwrap();
        // The last layer starts at zero, so the others learn from the second step on.
        assert!(step == 0 || own.iter().all(|var| grads.get(var.as_tensor()).is_some()));
        adam.step(&grads).unwrap();
    }
    assert!(losses[119] < 0.4 * losses[0], "{} -> {}", losses[0], losses[119]);
}

#[test]
fn its_weights_are_optional() {
    let dir = tempfile::tempdir().unwrap();
    let save_as = |built: &Config| {
        let map = VarMap::new();
        Model::new(built, seeded_builder(&map, 3, &Device::Cpu)).unwrap();
        save(dir.path(), &named(&map), DType::F32).unwrap();
    };
    save_as(&config(None));
    save_config(dir.path(), &config(ON)).unwrap();
    let model = Model::load(dir.path(), &Device::Cpu).unwrap();
    assert_eq!((model.refines(), &model.config().refine), (None, &None));
    verify(dir.path(), &|_, _| true).unwrap();

    save_as(&config(ON));
    assert_eq!(Model::load(dir.path(), &Device::Cpu).unwrap().refines(), Some(4));
    verify(dir.path(), &|_, _| true).unwrap();
    save_config(dir.path(), &config(None)).unwrap();
    let message = Model::load(dir.path(), &Device::Cpu).unwrap_err().to_string();
    assert!(
        message.contains("refine.out.bias: not a weight of this configuration"),
        "{message}"
    );
}
