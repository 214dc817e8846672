//! Training of an autoencoder on the emulated card against the processor: its loss, the gradient of every parameter, and updates.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use candle_core::{DType, Device, Tensor};
use candle_nn::{VarBuilder, VarMap};
use peel_emulate::Emulated;
use peel_layerdecomp::{
    CardAutoencoder, CardEncoding, CardLearning, Config, LossTerms, Reconstruction, TokenizerConfig, Vae,
    VaeConfig, named,
};

use common::{Apart, autoencoder, flat, latent, noise, stirred, update};

fn with(vae: VaeConfig) -> Config {
    Config {
        tokenizer: TokenizerConfig::Latent { patch: 1, vae },
        ..latent()
    }
}

/// Pictures, or layers, of 12 by 20 pixels: 15 latents of stride 4, which is no multiple of 8.
fn batch(vae: &VaeConfig, layers: bool, n: usize) -> Reconstruction {
    let (h, w, stride) = (12, 20, vae.stride());
    let mask = noise((n, 1, h, w), 4).ge(0.5).unwrap();
    let (effect, shadow) = if layers { (4.0, 2.0) } else { (0.0, 0.0) };
    Reconstruction {
        pictures: noise((n, if layers { 4 } else { 3 }, h, w), 1)
            .clamp(0f32, 1f32)
            .unwrap(),
        noise: noise((n, vae.latent, h / stride, w / stride), 2),
        weigh: [noise((n, 1, h, w), 3), mask.to_dtype(DType::F32).unwrap()],
        terms: LossTerms {
            clean: (0.0, 1.0),
            scale: 0.5,
            mse: 4.0,
            l1: 0.3,
            compared: true,
            effect,
            shadow,
            threshold: 0.02,
            ..LossTerms::default()
        },
        divergence: 0.1,
    }
}

/// Error of the pictures and divergence of the latents, as the trainer has them.
fn loss(vae: &VaeConfig, map: &VarMap, layers: bool, batch: &Reconstruction) -> [Tensor; 2] {
    let vb = VarBuilder::from_varmap(map, DType::F32, &Device::Cpu);
    let (name, channels) = if layers { ("vae.rgba", 4) } else { ("vae.rgb", 3) };
    let model = Vae::new(vae, channels, &vb.pp(name)).unwrap();
    let (mean, log) = model.moments(&batch.pictures.affine(2.0, -1.0).unwrap()).unwrap();
    let deviation = log.affine(0.5, 0.0).unwrap().exp().unwrap();
    let z = (&mean + (deviation * &batch.noise).unwrap()).unwrap();
    let y = model.decode(&z.affine(vae.scale, -vae.shift * vae.scale).unwrap());
    let error = (y.unwrap().affine(0.5, 0.5).unwrap() - &batch.pictures).unwrap();
    let t = &batch.terms;
    let (alpha, mask) = (flat(&batch.weigh[0]), flat(&batch.weigh[1]));
    let weight = |(alpha, mask): (&f32, &f32)| {
        let there = *alpha > t.threshold;
        1.0 + if there { t.effect } else { 0.0 } + if there && *mask < 0.5 { t.shadow } else { 0.0 }
    };
    let weights: Vec<f32> = alpha.iter().zip(&mask).map(weight).collect();
    let weights = Tensor::from_vec(weights, batch.weigh[0].shape(), &Device::Cpu).unwrap();
    let of = |errors: Tensor, factor: f32| {
        let mean = errors.broadcast_mul(&weights).unwrap().mean_all().unwrap();
        (mean * f64::from(factor)).unwrap()
    };
    let error = (of(error.sqr().unwrap(), t.mse) + of(error.abs().unwrap(), t.l1)).unwrap();
    let divergence = ((mean.sqr().unwrap() + log.exp().unwrap()).unwrap() - log).unwrap();
    let divergence = divergence.affine(0.5, -0.5).unwrap().mean_all().unwrap();
    [error, (divergence * f64::from(batch.divergence)).unwrap()]
}

#[test]
fn gradients_are_those_of_the_cpu() {
    let straight = VaeConfig {
        bypass: true,
        scale: 0.7,
        shift: 0.1,
        ..autoencoder()
    };
    let shallow = VaeConfig {
        channels: vec![8, 16],
        blocks: 2,
        latent: 12,
        bypass: true,
        ..autoencoder()
    };
    for (vae, layers, n) in [(autoencoder(), false, 2), (straight, true, 1), (shallow, true, 1)] {
        let config = with(vae.clone());
        let (map, _) = stirred(&config);
        let batch = batch(&vae, layers, n);
        let [error, divergence] = loss(&vae, &map, layers, &batch);
        let sum = (&error + &divergence).unwrap();
        let want = (sum * 0.5).unwrap().backward().unwrap();
        let card = Emulated::open(4).unwrap();
        let mut card = CardAutoencoder::new(card, &config, &named(&map), layers).unwrap();
        let found = card.learn(&batch).unwrap();
        let name = if layers { "vae.rgba." } else { "vae.rgb." };
        let apart = Apart::of(&card.gradients().unwrap(), &map, &want, |path| {
            path.starts_with(name)
        });
        let norm = f64::from(card.norm().unwrap());
        let [error, divergence] = [error, divergence].map(|t| t.to_scalar::<f32>().unwrap());
        eprintln!(
            "{name} stride {}, bypass {}: error {:.5} and {error:.5}, divergence {:.5} and {divergence:.5}; {apart}; norm {norm:.4}",
            vae.stride(),
            vae.bypass,
            found.error,
            found.divergence
        );
        assert!((found.error / error - 1.0).abs() < 0.01);
        assert!((found.divergence / divergence - 1.0).abs() < 0.01);
        assert!(
            apart.all < 0.02 && apart.worst < 0.1 && apart.rounding < 1e-3,
            "{apart}"
        );
        assert!((norm / apart.length - 1.0).abs() < 0.02);
    }
}

#[test]
fn updates_lower_the_loss_and_a_restored_state_goes_on() {
    let vae = VaeConfig {
        bypass: true,
        ..autoencoder()
    };
    let config = with(vae.clone());
    let (map, _) = stirred(&config);
    let batch = batch(&vae, true, 1);
    let open =
        |seed| CardAutoencoder::new(Emulated::open(seed).unwrap(), &config, &named(&map), true).unwrap();
    let step = |card: &mut CardAutoencoder<Emulated>, t: i32| {
        let found = card.learn(&batch).unwrap();
        card.update(&update(t)).unwrap();
        found.error + found.divergence
    };
    let mut card = open(9);
    let losses: Vec<f32> = (1..=2).map(|t| step(&mut card, t)).collect();
    assert!(losses.is_sorted_by(|a, b| a > b), "{losses:?}");
    let state = card.state().unwrap();
    let last = step(&mut card, 3);
    // Threads run in another order, and nothing comes of it.
    let mut other = open(10);
    other.restore(&state).unwrap();
    assert_eq!(step(&mut other, 3), last);
    assert_eq!(other.state().unwrap(), card.state().unwrap());
}

#[test]
fn what_cards_do_not_train_is_refused_by_name() {
    let open = |vae: VaeConfig, layers| {
        let config = with(vae);
        let (map, _) = stirred(&config);
        CardAutoencoder::new(Emulated::open(1).unwrap(), &config, &named(&map), layers)
    };
    // Patches of 2 by 2 pixels of three channels.
    let odd = VaeConfig {
        channels: vec![8, 16],
        bypass: true,
        ..autoencoder()
    };
    let refused = open(odd.clone(), false).unwrap_err().to_string();
    assert!(refused.contains("a bypass whose patches"), "{refused}");
    assert!(open(odd, true).is_ok());
    let mut card = open(autoencoder(), false).unwrap();
    let whole = batch(&autoencoder(), false, 1);
    let odd = Reconstruction {
        pictures: whole.pictures.narrow(2, 0, 10).unwrap(),
        ..whole.clone()
    };
    assert!(
        card.learn(&odd)
            .unwrap_err()
            .to_string()
            .contains("multiples of 4")
    );
    let short = Reconstruction {
        noise: whole.noise.narrow(1, 0, 2).unwrap(),
        ..whole
    };
    assert!(card.learn(&short).unwrap_err().to_string().contains("noise"));
    let tiny = Emulated::open(1).unwrap().with_memory(card.card().taken());
    let config = with(autoencoder());
    let (map, _) = stirred(&config);
    let mut tiny = CardAutoencoder::new(tiny, &config, &named(&map), false).unwrap();
    let larger = Reconstruction {
        pictures: noise((1, 3, 24, 40), 1),
        ..batch(&autoencoder(), false, 1)
    };
    assert!(matches!(
        tiny.learn(&larger),
        Err(peel_layerdecomp::Error::Card(
            peel_kernels::Error::OutOfMemory { .. }
        ))
    ));
}
