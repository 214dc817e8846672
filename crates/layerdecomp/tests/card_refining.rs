//! Training of a refiner on the emulated card against the processor: its loss, the gradient of every parameter, updates, and parts of a batch.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use candle_core::Tensor;
use peel_emulate::Emulated;
use peel_layerdecomp::{
    AlphaComparison, CardLearning, CardRefiner, CardRefining, Conditions, Config, LossTerms, Model,
    RefineConfig, Sampler, Sampling, named,
};

use common::{Apart, flat, noise, off, size, small, stirred, update};

const SAMPLING: Sampling = Sampling {
    sampler: Sampler::Ddim,
    steps: 1,
    seed: 5,
};

fn refined(scale: usize) -> Config {
    Config {
        refine: Some(RefineConfig { width: 8, scale }),
        ..small(true, true)
    }
}

/// `n` plates that the network sees at 16 by 32, with alpha to compare with; the second's is not known.
fn batch(n: usize, scale: usize) -> (Conditions, AlphaComparison) {
    let (h, w) = (16 * scale, 32 * scale);
    let mask = noise((n, 1, h, w), 2).ge(0.5).unwrap();
    let fine = Conditions {
        plate: noise((n, 3, h, w), 1).clamp(0f32, 1f32).unwrap(),
        mask: mask.to_dtype(candle_core::DType::F32).unwrap(),
    };
    let terms = |i: usize| LossTerms {
        clean: (0.0, 1.0),
        scale: 0.5,
        mse: 4.0,
        l1: 0.3,
        compared: i != 1,
        effect: 4.0,
        shadow: 2.0,
        threshold: 0.02,
        ..LossTerms::default()
    };
    let against = AlphaComparison {
        alpha: noise((n, 1, h, w), 3).clamp(0f32, 1f32).unwrap(),
        terms: (0..n).map(terms).collect(),
    };
    (fine, against)
}

/// The loss as the trainer has it.
fn loss(model: &Model, fine: &Conditions, against: &AlphaComparison) -> Tensor {
    let scale = model.refines().unwrap();
    let small = Conditions {
        plate: fine.plate.avg_pool2d(scale).unwrap(),
        mask: fine.mask.avg_pool2d(scale).unwrap(),
    };
    let mut said = model.sample(&small, &SAMPLING, &|_, _| true).unwrap();
    said.background = said.background.detach();
    said.foreground = said.foreground.detach();
    let (alpha, mask) = (flat(&against.alpha), flat(&fine.mask));
    let each = alpha.len() / against.terms.len();
    let weight = |i: usize| {
        let t = &against.terms[i / each];
        let there = alpha[i] > t.threshold;
        let effect = if there { t.effect } else { 0.0 };
        let shadow = if there && mask[i] < 0.5 { t.shadow } else { 0.0 };
        if t.compared { 1.0 + effect + shadow } else { 0.0 }
    };
    let weights: Vec<f32> = (0..alpha.len()).map(weight).collect();
    let weights = Tensor::from_vec(weights, against.alpha.shape(), against.alpha.device()).unwrap();
    let error = (model.refine(fine, &said).unwrap() - &against.alpha).unwrap();
    let terms = &against.terms[0];
    let of = |errors: Tensor, factor: f32| {
        (((errors * &weights).unwrap()).mean_all().unwrap() * f64::from(factor)).unwrap()
    };
    (of(error.sqr().unwrap(), terms.mse) + of(error.abs().unwrap(), terms.l1)).unwrap()
}

fn mean(sum: f32, against: &AlphaComparison) -> f32 {
    sum / against.alpha.elem_count() as f32
}

/// The network's layers differ by a hundredth, and so does what the refiner makes of them; gradients by a few hundredths at most.
#[test]
fn gradients_are_those_of_the_cpu() {
    for scale in [2, 3] {
        let config = refined(scale);
        let (map, model) = stirred(&config);
        let (fine, against) = batch(3, scale);
        let sum = loss(&model, &fine, &against);
        let want = (&sum * 0.5).unwrap().backward().unwrap();
        let want_loss = sum.to_scalar::<f32>().unwrap();
        let mut card = CardRefiner::new(Emulated::open(4).unwrap(), &config, &named(&map)).unwrap();
        let found_loss = mean(card.learn(&fine, &SAMPLING, &against).unwrap(), &against);
        let apart = Apart::of(&card.gradients().unwrap(), &map, &want, |name| {
            name.starts_with("refine.")
        });
        let norm = f64::from(card.norm().unwrap());
        eprintln!("refined by {scale}: loss {found_loss:.5} and {want_loss:.5}; {apart}; norm {norm:.4}");
        assert!((found_loss / want_loss - 1.0).abs() < 0.01);
        assert!(apart.all < 0.02 && apart.worst < 0.1, "{apart}");
        assert!((norm / apart.length - 1.0).abs() < 0.02);
    }
}

#[test]
fn updates_lower_the_loss_and_a_restored_state_goes_on() {
    let config = refined(2);
    let (map, _) = stirred(&config);
    let (fine, against) = batch(1, 2);
    let open = |seed| CardRefiner::new(Emulated::open(seed).unwrap(), &config, &named(&map)).unwrap();
    let step = |card: &mut CardRefiner<Emulated>, t: i32| {
        let sum = card.learn(&fine, &SAMPLING, &against).unwrap();
        card.update(&update(t)).unwrap();
        sum
    };
    let mut card = open(9);
    let losses: Vec<f32> = (1..=4).map(|t| step(&mut card, t)).collect();
    assert!(losses.is_sorted_by(|a, b| a > b), "{losses:?}");
    let state = card.state().unwrap();
    let last = step(&mut card, 5);
    // Threads run in another order, and nothing comes of it.
    let mut other = open(10);
    other.restore(&state).unwrap();
    assert_eq!(step(&mut other, 5), last);
    assert_eq!(other.state().unwrap(), card.state().unwrap());
}

/// Halves of a batch that does not fit have the loss and the gradients of the whole, but for the order of the last sums.
#[test]
fn a_batch_that_does_not_fit_is_learnt_in_parts() {
    let config = refined(2);
    let (map, _) = stirred(&config);
    let open = |card| CardRefiner::new(card, &config, &named(&map)).unwrap();
    let (fine, against) = batch(3, 2);
    let mut roomy = open(Emulated::open(2).unwrap());
    let want = roomy.learn(&fine, &SAMPLING, &against).unwrap();
    let taken = roomy.card().taken();
    let mut tight = open(Emulated::open(2).unwrap().with_memory(taken - 4096));
    let found = tight.learn(&fine, &SAMPLING, &against).unwrap();
    let remarks = tight.remarks();
    assert!(
        remarks[0].contains("no room to learn 3 pictures of 64x32 at once; it takes 1"),
        "{remarks:?}"
    );
    assert!((found / want - 1.0).abs() < 1e-5 && want > 0.0, "{found} {want}");
    let (found, want) = (tight.gradients().unwrap(), roomy.gradients().unwrap());
    for (name, want) in &want {
        let apart = off(&found[name], want) / size(want).max(1e-9);
        assert!(apart < 2e-3, "{name}: {apart}");
    }
}

#[test]
fn what_does_not_fit_is_refused() {
    let (map, _) = stirred(&small(true, true));
    let none = CardRefiner::new(Emulated::open(1).unwrap(), &refined(2), &named(&map)).unwrap_err();
    assert!(none.to_string().contains("no refiner"), "{none}");
    let config = refined(2);
    let (map, _) = stirred(&config);
    let mut card = CardRefiner::new(Emulated::open(1).unwrap(), &config, &named(&map)).unwrap();
    let (fine, against) = batch(1, 2);
    let short = AlphaComparison {
        terms: Vec::new(),
        ..against.clone()
    };
    assert!(card.learn(&fine, &SAMPLING, &short).is_err());
    let (larger, _) = batch(1, 4);
    assert!(card.learn(&larger, &SAMPLING, &against).is_err());
}
