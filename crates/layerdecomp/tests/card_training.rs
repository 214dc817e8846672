//! Training on the emulated card against training on the CPU: what the network says, its loss, the gradient of every parameter, and
//! updates.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use candle_core::{DType, Device, Tensor};
use peel_emulate::Emulated;
use peel_layerdecomp::{
    CardLearning, CardTrainer, CardTraining, Comparison, Conditions, Config, Diffusion, Head, LossTerms,
    Noisy, Pair, named,
};

use common::{Apart, flat, latent, noise, off, pixels, size, small, stirred, update};

/// A batch of `n` pictures of 32 by 16.
fn batch(config: &Config, n: usize) -> (Conditions, Noisy) {
    let c = Conditions {
        plate: noise((n, 3, 32, 16), 1).clamp(0f32, 1f32).unwrap(),
        mask: noise((n, 1, 32, 16), 2)
            .ge(0.5)
            .unwrap()
            .to_dtype(DType::F32)
            .unwrap(),
    };
    let streams = if config.is_latent() {
        [(4, 8, 4); 2]
    } else {
        [(3, 32, 16), (4, 32, 16)]
    };
    let [background, foreground] = [0, 1].map(|i| {
        let (c, h, w) = streams[i];
        noise((n, c, h, w), 3 + i as u64)
    });
    let times: Vec<f32> = (0..n).map(|i| 0.3 + 0.5 * i as f32).collect();
    let time = Tensor::from_vec(times, n, &Device::Cpu).unwrap();
    let z = Noisy {
        background,
        foreground,
        time,
    };
    (c, z)
}

/// The mean square of what is said, and its slopes.
fn loss(said: &Pair) -> (f64, Pair) {
    let slopes = |t: &Tensor| t.affine(2.0 / t.elem_count() as f64, 0.0).unwrap();
    let square = |t: &Tensor| size(&flat(t)).powi(2) / t.elem_count() as f64;
    (
        square(&said.background) + square(&said.foreground),
        Pair {
            background: slopes(&said.background),
            foreground: slopes(&said.foreground),
        },
    )
}

/// Products are bf16: what is said differs by a hundredth, and a gradient, a sum over them all, by a few hundredths of its size.
#[test]
fn gradients_are_those_of_the_cpu() {
    let headed = |head| Config {
        tokenizer: pixels(head),
        ..small(true, true)
    };
    let joined = |config| Config {
        join: true,
        centre: true,
        ..config
    };
    let weighed = Diffusion {
        weighed: true,
        ..Diffusion::default()
    };
    for config in [
        small(true, true),
        small(false, false),
        latent(),
        joined(Config {
            diffusion: weighed,
            ..small(true, true)
        }),
        joined(latent()),
        headed(Head::NoSkips),
        headed(Head::Linear),
    ] {
        let (map, model) = stirred(&config);
        let (c, z) = batch(&config, 2);
        let said = model.output(&model.condition(&c).unwrap(), &z).unwrap();
        let square = |t: &Tensor| t.sqr().unwrap().mean_all().unwrap();
        let sum = (square(&said.background) + square(&said.foreground)).unwrap();
        let want = sum.backward().unwrap();
        let want_loss = f64::from(sum.to_scalar::<f32>().unwrap());

        let mut trainer = CardTrainer::new(Emulated::open(4).unwrap(), &config, &named(&map)).unwrap();
        trainer.show(&c, &z).unwrap();
        let found = trainer.said().unwrap();
        let (found_loss, slopes) = loss(&found);
        // Twice, of half the slopes each: passes are summed up.
        let half = Pair {
            background: (slopes.background * 0.5).unwrap(),
            foreground: (slopes.foreground * 0.5).unwrap(),
        };
        trainer.backward(&half).unwrap();
        trainer.show(&c, &z).unwrap();
        trainer.backward(&half).unwrap();
        let gradients = trainer.gradients().unwrap();
        let apart = Apart::of(&gradients, &map, &want, |name| !name.starts_with("vae."));
        let norm = f64::from(trainer.norm().unwrap());
        eprintln!(
            "cache {}, folded {}, {:?}: loss {found_loss:.5} and {want_loss:.5}; {apart}; norm {norm:.4}",
            config.condition_cache, config.fold_mask, config.tokenizer,
        );
        assert!(
            (found_loss / want_loss - 1.0).abs() < 0.01,
            "{found_loss} and {want_loss}"
        );
        assert!(
            apart.all < 0.02 && apart.worst < 0.1 && apart.rounding < 1e-3,
            "{apart}"
        );
        assert!((norm / apart.length - 1.0).abs() < 0.02);
    }
}

/// The loss of one batch falls over updates; what is restored goes on with the same bits.
#[test]
fn updates_lower_the_loss_and_a_restored_state_goes_on() {
    let config = small(true, true);
    let (map, _) = stirred(&config);
    let (c, z) = batch(&config, 1);
    let open = |seed| CardTrainer::new(Emulated::open(seed).unwrap(), &config, &named(&map)).unwrap();
    let step = |trainer: &mut CardTrainer<Emulated>, t: i32| {
        trainer.show(&c, &z).unwrap();
        let said = trainer.said().unwrap();
        let (value, slopes) = loss(&said);
        trainer.backward(&slopes).unwrap();
        trainer.update(&update(t)).unwrap();
        value
    };
    let mut trainer = open(9);
    let losses: Vec<f64> = (1..=3).map(|t| step(&mut trainer, t)).collect();
    let state = trainer.state().unwrap();
    let last = step(&mut trainer, 4);
    assert!(
        losses.is_sorted_by(|a, b| a > b) && last < 0.9 * losses[0],
        "{losses:?}, {last}"
    );
    // Threads run in another order, and nothing comes of it.
    let mut other = open(10);
    other.restore(&state).unwrap();
    assert_eq!(step(&mut other, 4), last);
    assert_eq!(other.state().unwrap(), trainer.state().unwrap());
    let mut short = state;
    short.remove("time.in.bias");
    let refused = other.restore(&short).unwrap_err().to_string();
    assert!(refused.contains("time.in.bias"), "{refused}");
}

#[test]
fn what_does_not_fit_is_refused() {
    let config = small(true, true);
    let (map, _) = stirred(&config);
    let (c, z) = batch(&config, 1);
    let mut roomy = CardTrainer::new(Emulated::open(1).unwrap(), &config, &named(&map)).unwrap();
    let nothing = Pair {
        background: z.background.clone(),
        foreground: z.foreground.clone(),
    };
    assert!(roomy.backward(&nothing).is_err());
    let odd = Conditions {
        plate: c.plate.narrow(2, 0, 24).unwrap(),
        mask: c.mask.narrow(2, 0, 24).unwrap(),
    };
    let refused = roomy.show(&odd, &z).unwrap_err().to_string();
    assert!(refused.contains("multiples of 16"), "{refused}");
    let taken = roomy.card().taken();
    let tiny = Emulated::open(1).unwrap().with_memory(taken + 1000);
    let mut tiny = CardTrainer::new(tiny, &config, &named(&map)).unwrap();
    let refused = tiny.show(&c, &z).unwrap_err();
    assert!(matches!(
        refused,
        peel_layerdecomp::Error::Card(peel_kernels::Error::OutOfMemory { .. })
    ));
}

/// A comparison with noise, of `n` pictures of 32 by 16.
fn comparison(n: usize, seed: u64) -> Comparison {
    let terms = LossTerms {
        scale: 0.5,
        mse: 4.0,
        l1: 0.05,
        alpha_l1: 0.3,
        consistency: 0.3,
        compared: true,
        effect: 4.0,
        shadow: 4.0,
        threshold: 0.02,
        ..LossTerms::default()
    };
    Comparison {
        background: noise((n, 3, 32, 16), seed),
        foreground: noise((n, 4, 32, 16), seed + 1),
        alpha: noise((n, 1, 32, 16), seed + 2),
        terms: vec![terms; n],
    }
}

/// Halves of a batch that does not fit have the loss and the gradients of the whole, but for the order of the last sums.
#[test]
fn a_batch_that_does_not_fit_is_learnt_in_parts() {
    let config = small(true, true);
    let (map, _) = stirred(&config);
    let open = |card| CardTrainer::new(card, &config, &named(&map)).unwrap();
    let against = [comparison(3, 7), comparison(3, 20)];
    let (c, z) = batch(&config, 3);
    let mut roomy = open(Emulated::open(2).unwrap());
    let want = roomy.learn(&c, &z, &against).unwrap();
    assert!(roomy.remarks().is_empty());
    let mut one = open(Emulated::open(2).unwrap());
    let (c1, z1) = batch(&config, 1);
    one.learn(&c1, &z1, &[comparison(1, 7)]).unwrap();
    let taken = one.card().taken();
    let mut tight = open(Emulated::open(2).unwrap().with_memory(taken + 4096));
    let found = tight.learn(&c, &z, &against).unwrap();
    let remarks = tight.remarks();
    assert!(
        remarks[0].contains("no room to learn 3 pictures of 16x32 at once; it takes 1"),
        "{remarks:?}"
    );
    for (found, want) in found.iter().zip(&want) {
        for (found, want) in [
            (found.background, want.background),
            (found.foreground, want.foreground),
            (found.consistency, want.consistency),
        ] {
            assert!((found / want - 1.0).abs() < 1e-5 && want > 0.0, "{found} {want}");
        }
    }
    let (found, want) = (tight.gradients().unwrap(), roomy.gradients().unwrap());
    for (name, want) in &want {
        let apart = off(&found[name], want) / size(want).max(1e-9);
        assert!(apart < 2e-3, "{name}: {apart}");
    }
    // What fits is remembered, and the next batch goes on as well.
    tight.learn(&c, &z, &against).unwrap();
    assert!(tight.remarks().is_empty());
    let short = Comparison {
        terms: Vec::new(),
        ..comparison(3, 7)
    };
    assert!(tight.learn(&c, &z, &[short]).is_err());
}
