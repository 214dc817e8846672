//! A small latent model: shapes, learning, sampling, its weights folder.

#![allow(clippy::unwrap_used)]

mod common;

use candle_core::{DType, Device, Tensor};
use candle_nn::{Optimizer, VarMap};
use peel_layerdecomp::{
    Conditions, Config, Diffusion, Model, Noise, Noisy, PUBLISHED, Prediction, Sampling, named,
    rgba_from_rgb, save, save_config, seeded_builder,
};

/// The published arrangement, smaller still.
fn config() -> Config {
    Config {
        name: "latent".into(),
        width: 32,
        ..common::latent()
    }
}

fn picture(c: usize, seed: u64) -> Tensor {
    Tensor::from_vec(
        Noise::new(seed, 0).uniform(c * 16 * 24, 0.0, 1.0),
        (1, c, 16, 24),
        &Device::Cpu,
    )
    .unwrap()
}

fn conditions() -> Conditions {
    let mask: Vec<f32> = (0..16 * 24).map(|i| f32::from(i % 24 > 14)).collect();
    Conditions {
        plate: picture(3, 1),
        mask: Tensor::from_vec(mask, (1, 1, 16, 24), &Device::Cpu).unwrap(),
    }
}

fn flat(p: &Prediction) -> Vec<f32> {
    let values = |t: &Tensor| t.flatten_all().unwrap().to_vec1::<f32>().unwrap();
    [values(&p.background), values(&p.foreground)].concat()
}

#[test]
fn it_is_conditioned_learns_and_draws() {
    let map = VarMap::new();
    let model = Model::new(&config(), seeded_builder(&map, 1, &Device::Cpu)).unwrap();
    assert_eq!(model.config().stride(), 8);
    let c = conditions();
    let clean = model
        .encode(&Prediction {
            background: picture(3, 2),
            foreground: picture(4, 3),
        })
        .unwrap();
    assert_eq!(
        (clean.background.dims(), clean.foreground.dims()),
        (&[1, 4, 4, 6][..], &[1, 4, 4, 6][..])
    );
    let path = config().diffusion.schedule.path();
    let levels = path.levels(0.5);
    let noise = Noise::new(5, 0)
        .normal_tensor((1, 4, 4, 6), &Device::Cpu)
        .unwrap();
    let z = |x: &Tensor| ((x.detach() * levels.signal).unwrap() + (&noise * levels.noise).unwrap()).unwrap();
    let z = Noisy {
        background: z(&clean.background),
        foreground: z(&clean.foreground),
        time: Tensor::new(&[0.5f32], &Device::Cpu).unwrap(),
    };
    // The autoencoders are frozen: the rest learns to say the noise.
    let vars: Vec<_> = {
        let data = map.data().lock().unwrap();
        data.iter()
            .filter(|(name, _)| !name.starts_with("vae."))
            .map(|(_, v)| v.clone())
            .collect()
    };
    let mut adam = candle_nn::AdamW::new(
        vars.clone(),
        candle_nn::ParamsAdamW {
            lr: 3e-3,
            ..Default::default()
        },
    )
    .unwrap();
    let mut losses = Vec::new();
    for _ in 0..40 {
        let said = model.output(&model.condition(&c).unwrap(), &z).unwrap();
        let error = |x: &Tensor| (x - &noise).unwrap().sqr().unwrap().mean_all().unwrap();
        let loss = (error(&said.background) + error(&said.foreground)).unwrap();
        losses.push(loss.to_scalar::<f32>().unwrap());
        let grads = loss.backward().unwrap();
        if losses.len() > 1 {
            assert!(vars.iter().all(|v| grads.get(v.as_tensor()).is_some()));
        }
        adam.step(&grads).unwrap();
    }
    assert!(losses[39] < 0.3 * losses[0], "{losses:?}");

    let opts = Sampling {
        steps: 4,
        ..Sampling::published(3)
    };
    let drawn = model.sample(&c, &opts, &|_, _| true).unwrap();
    assert_eq!(drawn.background.dims(), [1, 3, 16, 24]);
    assert_eq!(drawn.foreground.dims(), [1, 4, 16, 24]);
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
    let alone = pool.install(|| model.sample(&c, &opts, &|_, _| true).unwrap());
    assert_eq!(flat(&drawn), flat(&alone));
    assert!(flat(&drawn).iter().all(|v| (0.0..=1.0).contains(v)));

    let dir = tempfile::tempdir().unwrap();
    save_config(dir.path(), &config()).unwrap();
    save(dir.path(), &named(&map), DType::F32).unwrap();
    let loaded = Model::load(dir.path(), &Device::Cpu).unwrap();
    assert_eq!(
        flat(&drawn),
        flat(&loaded.sample(&c, &opts, &|_, _| true).unwrap())
    );
}

#[test]
fn the_foregrounds_autoencoder_starts_from_the_backgrounds() {
    let map = VarMap::new();
    let model = Model::new(&config(), seeded_builder(&map, 1, &Device::Cpu)).unwrap();
    let rgb = named(&map)
        .into_iter()
        .filter_map(|(name, t)| {
            name.strip_prefix("vae.rgb.")
                .map(|n| (n.to_string(), t.copy().unwrap()))
        })
        .collect();
    for (name, tensor) in rgba_from_rgb(&rgb).unwrap() {
        map.data().lock().unwrap()[&format!("vae.rgba.{name}")]
            .set(&tensor)
            .unwrap();
    }
    let (colour, alpha) = (picture(3, 2), picture(4, 3).narrow(1, 3, 1).unwrap());
    let layers = Prediction {
        background: colour.clone(),
        foreground: Tensor::cat(&[colour, alpha], 1).unwrap(),
    };
    let out = model.decode(&model.encode(&layers).unwrap()).unwrap();
    let values = |t: &Tensor| t.flatten_all().unwrap().to_vec1::<f32>().unwrap();
    assert_eq!(
        values(&out.background),
        values(&out.foreground.narrow(1, 0, 3).unwrap())
    );
    assert!(
        values(&out.foreground.narrow(1, 3, 1).unwrap())
            .iter()
            .all(|a| *a == 1.0)
    );
}

#[test]
fn the_published_preset_is_the_papers() {
    let config = Config::from_ron(PUBLISHED).unwrap();
    assert_eq!(
        (config.width, config.depth, config.heads, config.stride()),
        (3072, 44, 24, 16)
    );
    assert_eq!(config.diffusion, Diffusion::PUBLISHED);
}
