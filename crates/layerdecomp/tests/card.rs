//! The network on the emulated card against the network on the CPU.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use candle_core::{DType, Device, Tensor};
use peel_emulate::Emulated;
use peel_layerdecomp::weights::{Loading, Precision, convert};
use peel_layerdecomp::{
    CardModel, CardQueue, Conditions, Config, Diffusion, Head, Model, Noise, Prediction, Predicts,
    RefineConfig, Sampler, Sampling, Schedule, TokenizerConfig, VaeConfig, named, save, save_config,
};

use common::{autoencoder, latent, pixels, small, stirred};

fn config(diffusion: Diffusion) -> Config {
    Config {
        diffusion,
        ..small(true, true)
    }
}

fn random(shape: (usize, usize, usize, usize), seed: u64) -> Tensor {
    let (n, c, h, w) = shape;
    Tensor::from_vec(
        Noise::new(seed, 9).uniform(n * c * h * w, 0.0, 1.0),
        shape,
        &Device::Cpu,
    )
    .unwrap()
}

fn largest_difference(a: &Tensor, b: &Tensor) -> f32 {
    let d = (a - b)
        .unwrap()
        .abs()
        .unwrap()
        .flatten_all()
        .unwrap()
        .max(0)
        .unwrap();
    d.to_scalar().unwrap()
}

/// Two pictures of two different shapes of token grid, two steps: bf16 between products costs a hundredth at most.
#[test]
fn the_card_says_what_the_cpu_says() {
    let plain = Diffusion::default();
    let v = Diffusion {
        predicts: Predicts::V,
        schedule: Schedule::Cosine { steps: 1000 },
        weighed: false,
    };
    for (diffusion, n, h, w, sampler) in [
        (plain, 1, 32, 16, Sampler::OneCall),
        (plain, 2, 16, 32, Sampler::Ddim),
        (v, 1, 16, 16, Sampler::Ddim),
    ] {
        let config = config(diffusion);
        let (map, model) = stirred(&config);
        let card = CardModel::new(Emulated::open(4).unwrap(), &config, &named(&map)).unwrap();
        let mask = random((n, 1, h, w), 2)
            .ge(0.6)
            .unwrap()
            .to_dtype(DType::F32)
            .unwrap();
        let conditions = Conditions {
            plate: random((n, 3, h, w), 1),
            mask,
        };
        let sampling = Sampling {
            sampler,
            steps: 2,
            seed: 7,
        };
        let want = model.sample(&conditions, &sampling, &|_, _| true).unwrap();
        let found = card.sample(&conditions, &sampling, &|_, _| true).unwrap();
        let error = largest_difference(&found.background, &want.background)
            .max(largest_difference(&found.foreground, &want.foreground));
        eprintln!("{n} of {h}x{w}, {sampler:?}: largest difference {error:.4}");
        assert!(error < 0.03, "{error}");
    }
}

/// A latent model whose autoencoders have a bypass.
fn straight() -> Config {
    Config {
        tokenizer: TokenizerConfig::Latent {
            patch: 2,
            vae: VaeConfig {
                bypass: true,
                channels: vec![8, 16],
                ..autoencoder()
            },
        },
        ..latent()
    }
}

/// The mask as a stream of its own, conditions that see the noise, latents as published: what differs from the shipped model.
#[test]
fn other_arrangements_say_what_the_cpu_says() {
    let mut odd = config(Diffusion::default());
    odd.fold_mask = false;
    odd.tighten = Some(0.5);
    let mut carried = odd.clone();
    carried.condition_cache = false;
    carried.tighten = None;
    let headed = |head, predicts: Diffusion| Config {
        tokenizer: pixels(head),
        ..config(predicts)
    };
    let flow = Diffusion {
        predicts: Predicts::Flow,
        schedule: Schedule::Linear,
        weighed: false,
    };
    let plain = headed(Head::NoSkips, Diffusion::default());
    let mut joined = config(Diffusion {
        weighed: true,
        ..Diffusion::default()
    });
    (joined.join, joined.centre) = (true, true);
    if let TokenizerConfig::Pixels { patches, .. } = &mut joined.tokenizer {
        *patches = true;
    }
    let mut joined_streams = latent();
    (joined_streams.join, joined_streams.centre) = (true, true);
    let linear = [Diffusion::default(), flow].map(|said| headed(Head::Linear, said));
    let arranged = [odd, carried, latent(), straight(), plain, joined, joined_streams];
    for config in arranged.into_iter().chain(linear) {
        let (map, model) = stirred(&config);
        let card = CardModel::new(Emulated::open(4).unwrap(), &config, &named(&map)).unwrap();
        let c = conditions(2, 3);
        let want = model.sample(&c, &TWO_STEPS, &|_, _| true).unwrap();
        let found = card.sample(&c, &TWO_STEPS, &|_, _| true).unwrap();
        let error = largest_difference(&found.background, &want.background)
            .max(largest_difference(&found.foreground, &want.foreground));
        eprintln!(
            "cache {}, folded {}, {:?}: largest difference {error:.4}",
            config.condition_cache, config.fold_mask, config.tokenizer
        );
        assert!(error < 0.03, "{error}");
    }
}

#[test]
fn models_that_cards_do_not_run_are_refused_by_name() {
    let mut config = config(Diffusion::default());
    config.width = 80;
    let (map, _) = stirred(&config);
    let refused = CardModel::new(Emulated::open(4).unwrap(), &config, &named(&map))
        .unwrap_err()
        .to_string();
    assert!(
        refused.contains("heads have features other than") && refused.contains("--device cpu"),
        "{refused}"
    );
    let mut config = small(true, true);
    config.refine = Some(RefineConfig { width: 12, scale: 2 });
    let (map, _) = stirred(&config);
    let refused = CardModel::new(Emulated::open(4).unwrap(), &config, &named(&map)).unwrap_err();
    assert!(refused.to_string().contains("a refiner whose width"), "{refused}");
}

/// Alpha at two and three times the size, of pictures as the network might say them.
#[test]
fn the_card_refines_as_the_cpu_does() {
    for scale in [2, 4] {
        let mut config = small(true, true);
        config.refine = Some(RefineConfig { width: 16, scale });
        let (map, model) = stirred(&config);
        let card = CardModel::new(Emulated::open(4).unwrap(), &config, &named(&map)).unwrap();
        let (h, w) = (10 * scale, 6 * scale);
        let fine = Conditions {
            plate: random((2, 3, h, w), 1),
            mask: random((2, 1, h, w), 2).round().unwrap(),
        };
        let said = Prediction {
            background: random((2, 3, 10, 6), 3),
            foreground: random((2, 4, 10, 6), 4),
        };
        let want = model.refine(&fine, &said).unwrap();
        let found = card.refine(&fine, &said).unwrap();
        let error = largest_difference(&found, &want);
        eprintln!("refined by {scale}: largest difference {error:.4}");
        assert!(error < 0.03, "{error}");
        assert!(card.refine(&said_as_conditions(&said), &said).is_err());
    }
}

/// Pictures of the wrong size.
fn said_as_conditions(said: &Prediction) -> Conditions {
    Conditions {
        plate: said.background.clone(),
        mask: said.foreground.narrow(1, 3, 1).unwrap(),
    }
}

/// Plates of noise with masks, (N, ., 16, 16).
fn conditions(n: usize, seed: u64) -> Conditions {
    let mask = random((n, 1, 16, 16), seed + 1).ge(0.6).unwrap();
    Conditions {
        plate: random((n, 3, 16, 16), seed),
        mask: mask.to_dtype(DType::F32).unwrap(),
    }
}

const TWO_STEPS: Sampling = Sampling {
    sampler: Sampler::Ddim,
    steps: 2,
    seed: 3,
};

fn bits(prediction: &Prediction, sample: usize) -> Vec<u32> {
    [&prediction.background, &prediction.foreground]
        .into_iter()
        .flat_map(|t| {
            let own = t.narrow(0, sample, 1).unwrap().flatten_all().unwrap();
            own.to_vec1::<f32>().unwrap()
        })
        .map(f32::to_bits)
        .collect()
}

#[test]
fn a_batch_that_does_not_fit_is_divided_and_says_so() {
    let config = config(Diffusion::default());
    let (map, _) = stirred(&config);
    let open = |card| CardModel::new(card, &config, &named(&map)).unwrap();
    let c = conditions(4, 1);
    let go_on = |_: usize, _: usize| true;
    let roomy = open(Emulated::open(1).unwrap());
    let weights = roomy.card().taken();
    let want = roomy.sample(&c, &TWO_STEPS, &go_on).unwrap();
    roomy.sample(&conditions(2, 1), &TWO_STEPS, &go_on).unwrap();
    let with_two = roomy.card().taken();
    assert!(roomy.remarks().is_empty());
    let room = |bytes| open(Emulated::open(1).unwrap().with_memory(bytes));
    let small = room(with_two);
    let calls = std::cell::RefCell::new(Vec::new());
    let note = |done: usize, all: usize| {
        calls.borrow_mut().push((done, all));
        true
    };
    let found = small.sample(&c, &TWO_STEPS, &note).unwrap();
    for sample in 0..4 {
        assert_eq!(bits(&found, sample), bits(&want, sample));
    }
    let remarks = small.remarks();
    assert!(
        remarks[0].contains("no room for 4 pictures of 16x16 at once; it takes 2"),
        "{remarks:?}"
    );
    let calls = calls.into_inner();
    assert!(calls.is_sorted() && calls.last() == Some(&(2, 2)), "{calls:?}");
    // What fits is remembered.
    small.sample(&c, &TWO_STEPS, &go_on).unwrap();
    assert!(small.remarks().is_empty());
    let tiny = room(weights + 1000).sample(&c, &TWO_STEPS, &go_on);
    assert!(matches!(
        tiny,
        Err(peel_layerdecomp::Error::Card(
            peel_kernels::Error::OutOfMemory { .. }
        ))
    ));
}

#[test]
fn pictures_that_wait_together_share_a_batch_and_keep_their_bits() {
    let config = config(Diffusion::default());
    let (map, _) = stirred(&config);
    let (own, tensors) = (config.clone(), named(&map));
    let queue = CardQueue::start(move || CardModel::new(Emulated::open(1).unwrap(), &own, &tensors)).unwrap();
    let pictures = [1, 5, 9].map(|seed| conditions(1, seed));
    let together = queue.sample_each(&pictures, &TWO_STEPS, &|_, _| true).unwrap();
    // The first may be on its way before the others have come.
    assert!((1..=2).contains(&queue.batches()), "{}", queue.batches());
    let alone = CardModel::new(Emulated::open(2).unwrap(), &config, &named(&map)).unwrap();
    for (picture, found) in pictures.iter().zip(&together) {
        let want = alone.sample(picture, &TWO_STEPS, &|_, _| true).unwrap();
        assert_eq!(bits(found, 0), bits(&want, 0));
    }
    let stopped = queue.sample_each(&pictures, &TWO_STEPS, &|done, _| done == 0);
    assert!(matches!(stopped, Err(peel_layerdecomp::Error::Cancelled)));
    // Each picture has its own error, and the queue goes on.
    let odd = Conditions {
        plate: random((1, 3, 16, 24), 1),
        mask: random((1, 1, 16, 24), 2),
    };
    let odd = queue.sample_each(&[odd], &TWO_STEPS, &|_, _| true);
    assert!(odd.unwrap_err().to_string().contains("multiples of 16"));
    assert_eq!(
        queue
            .sample_each(&pictures[..1], &TWO_STEPS, &|_, _| true)
            .unwrap()
            .len(),
        1
    );
}

/// A known background takes the place of what the first call believes, on the card as on the CPU, in a batch as alone; one call takes
/// nothing from it.
#[test]
fn a_known_background_is_started_from() {
    let (go_on, one) = (|_: usize, _: usize| true, Sampling::default());
    for config in [config(Diffusion::default()), straight()] {
        let (map, model) = stirred(&config);
        let card = CardModel::new(Emulated::open(4).unwrap(), &config, &named(&map)).unwrap();
        let (c, near) = (conditions(2, 3), random((2, 3, 16, 16), 5));
        let want = model.sample_near(&c, Some(&near), &TWO_STEPS, &go_on).unwrap();
        let found = card.sample_near(&c, Some(&near), &TWO_STEPS, &go_on).unwrap();
        let error = largest_difference(&found.background, &want.background)
            .max(largest_difference(&found.foreground, &want.foreground));
        eprintln!("near a background: largest difference {error:.4}");
        assert!(error < 0.03, "{error}");
        let plain = card.sample(&c, &TWO_STEPS, &go_on).unwrap();
        assert_ne!(bits(&found, 0), bits(&plain, 0));
        if !config.is_latent() {
            assert_eq!(one.calls(), 1);
            let same = card.sample_near(&c, Some(&near), &one, &go_on).unwrap();
            assert_eq!(bits(&same, 1), bits(&card.sample(&c, &one, &go_on).unwrap(), 1));
        }
        let part = near.narrow(0, 0, 1).unwrap();
        assert!(card.sample_near(&c, Some(&part), &TWO_STEPS, &go_on).is_err());

        let (own, tensors) = (config.clone(), named(&map));
        let open = move || CardModel::new(Emulated::open(1).unwrap(), &own, &tensors);
        let queue = CardQueue::start(open).unwrap();
        let of = |t: &Tensor, i: usize| t.narrow(0, i, 1).unwrap();
        let pictures = [0, 1].map(|i| Conditions {
            plate: of(&c.plate, i),
            mask: of(&c.mask, i),
        });
        let known = [0, 1].map(|i| of(&near, i));
        let each = queue
            .sample_each_near(&pictures, &known, &TWO_STEPS, &go_on)
            .unwrap();
        assert_eq!(bits(&each[0], 0), bits(&found, 0));
        let mixed = queue
            .sample_each_near(&pictures, &known[..1], &TWO_STEPS, &go_on)
            .unwrap();
        assert_eq!(bits(&mixed[0], 0), bits(&found, 0));
        assert_ne!(bits(&mixed[1], 0), bits(&each[1], 0));
    }
}

#[test]
fn a_thread_whose_card_does_not_open_says_why() {
    let refused =
        CardQueue::start::<Emulated>(|| Err(peel_kernels::Error::NoDevice("no driver".into()).into()));
    assert!(refused.unwrap_err().to_string().contains("no driver"));
}

/// Weights of 16 bits whose linear layers are asked for as whole numbers: the card makes the numbers that the CPU makes of them, and those
/// of a folder that was converted.
#[test]
fn whole_numbers_are_made_of_other_weights_where_they_are_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let (plain, whole) = (dir.path().join("plain"), dir.path().join("whole"));
    let int8 = Some(Precision::Int8);
    for config in [small(true, true), latent()] {
        let (map, _) = stirred(&config);
        save(&plain, &named(&map), DType::F16).unwrap();
        save_config(&plain, &config).unwrap();
        convert(&plain, &whole, Precision::Int8, &|_, _| true).unwrap();
        let card = || Emulated::open(4).unwrap();
        let made = CardModel::load_in(card(), &plain, int8).unwrap();
        let wide = CardModel::load_in(card(), &plain, Some(Precision::F16)).unwrap();
        assert!(made.card().taken() < wide.card().taken());
        let (c, go_on) = (conditions(1, 3), |_: usize, _: usize| true);
        let loading = Loading {
            precision: int8,
            ..Loading::default()
        };
        let model = Model::load_with(&plain, &Device::Cpu, &loading).unwrap();
        let want = model.sample(&c, &TWO_STEPS, &go_on).unwrap();
        let found = made.sample(&c, &TWO_STEPS, &go_on).unwrap();
        let error = largest_difference(&found.background, &want.background)
            .max(largest_difference(&found.foreground, &want.foreground));
        eprintln!("whole numbers of f16: largest difference {error:.4}");
        assert!(error < 0.03, "{error}");
        let stored = CardModel::load(card(), &whole).unwrap();
        let stored = stored.sample(&c, &TWO_STEPS, &go_on).unwrap();
        assert_eq!(bits(&found, 0), bits(&stored, 0));
        let wide = wide.sample(&c, &TWO_STEPS, &go_on).unwrap();
        assert_ne!(bits(&found, 0), bits(&wide, 0));
    }
}

/// Linear layers stored as whole numbers are multiplied as such, and say what the CPU says of the same file.
#[test]
fn whole_numbers_stay_whole_numbers_on_the_card() {
    let dir = tempfile::tempdir().unwrap();
    let (plain, whole) = (dir.path().join("plain"), dir.path().join("whole"));
    for config in [small(true, true), latent()] {
        let (map, _) = stirred(&config);
        save(&plain, &named(&map), DType::F32).unwrap();
        save_config(&plain, &config).unwrap();
        convert(&plain, &whole, Precision::Int8, &|_, _| true).unwrap();
        let open = |dir| CardModel::load(Emulated::open(4).unwrap(), dir).unwrap();
        let (card, wide) = (open(&whole), open(&plain));
        let [few, many] = [&card, &wide].map(|model| model.card().taken());
        let (c, go_on) = (conditions(1, 3), |_: usize, _: usize| true);
        let model = Model::load(&whole, &Device::Cpu).unwrap();
        let want = model.sample(&c, &TWO_STEPS, &go_on).unwrap();
        let found = card.sample(&c, &TWO_STEPS, &go_on).unwrap();
        let error = largest_difference(&found.background, &want.background)
            .max(largest_difference(&found.foreground, &want.foreground));
        eprintln!("whole numbers: largest difference {error:.4}; {few} bytes in place of {many}");
        assert!(error < 0.03, "{error}");
        assert!(few < many, "{few} {many}");
    }
}
