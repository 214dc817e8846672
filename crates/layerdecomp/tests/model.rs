//! The whole model: it learns, it is deterministic, it survives its weights folder.

#![allow(clippy::unwrap_used)]

mod common;

use candle_core::{DType, Device, Tensor};
use candle_nn::{Optimizer, VarMap};
use peel_layerdecomp::{
    Conditions, Config, Diffusion, Error, Head, Model, Noise, Noisy, Prediction, Predicts, Sampler, Sampling,
    Schedule, Spacing, TokenizerConfig, named, save, save_config, seeded_builder,
};

use common::stirred;

fn config() -> Config {
    Config {
        format: 1,
        name: "test".into(),
        width: 24,
        depth: 2,
        heads: 2,
        mlp_ratio: 2,
        condition_cache: true,
        fold_mask: true,
        join: false,
        centre: false,
        tokenizer: TokenizerConfig::Pixels {
            patch: 16,
            stem: [8, 8, 16, 24],
            prefill: Some(2),
            patches: false,
            casts: false,
            fine: 24,
            head: Head::default(),
        },
        diffusion: Diffusion::default(),
        tighten: None,
        refine: None,
    }
}

fn picture(n: usize, c: usize, h: usize, w: usize, seed: u64) -> Tensor {
    let noise = Noise::new(seed, 9).uniform(n * c * h * w, 0.0, 1.0);
    Tensor::from_vec(noise, (n, c, h, w), &Device::Cpu).unwrap()
}

fn conditions(n: usize, h: usize, w: usize) -> Conditions {
    let mask: Vec<f32> = (0..n * h * w)
        .map(|i| f32::from(i % w > w / 2 && i / w % h > h / 3))
        .collect();
    let mask = Tensor::from_vec(mask, (n, 1, h, w), &Device::Cpu).unwrap();
    Conditions {
        plate: picture(n, 3, h, w, 1),
        mask,
    }
}

fn noisy(n: usize, h: usize, w: usize) -> Noisy {
    Noisy {
        background: picture(n, 3, h, w, 2).affine(2.0, -1.0).unwrap(),
        foreground: picture(n, 4, h, w, 3).affine(2.0, -1.0).unwrap(),
        time: Tensor::from_vec((0..n).map(|i| i as f32 / n as f32).collect(), n, &Device::Cpu).unwrap(),
    }
}

fn flat(p: &Prediction) -> Vec<f32> {
    let mut all = p.background.flatten_all().unwrap().to_vec1::<f32>().unwrap();
    all.extend(p.foreground.flatten_all().unwrap().to_vec1::<f32>().unwrap());
    all
}

#[test]
fn a_random_triplet_is_overfitted() {
    for (cache, fold) in [(true, true), (false, false)] {
        let config = Config {
            condition_cache: cache,
            fold_mask: fold,
            join: cache,
            centre: cache,
            ..config()
        };
        let map = VarMap::new();
        let model = Model::new(&config, seeded_builder(&map, 1, &Device::Cpu)).unwrap();
        let (c, z) = (conditions(2, 32, 48), noisy(2, 32, 48));
        let (b, f) = (picture(2, 3, 32, 48, 4), picture(2, 4, 32, 48, 5));
        let params = candle_nn::ParamsAdamW {
            lr: 3e-3,
            ..Default::default()
        };
        let mut adam = candle_nn::AdamW::new(map.all_vars(), params).unwrap();
        let mut losses = Vec::new();
        for _ in 0..60 {
            let p = model.predict(&c, &z).unwrap();
            let error = |x: &Tensor, y: &Tensor| (x - y).unwrap().sqr().unwrap().mean_all().unwrap();
            let loss = (error(&p.background, &b) + error(&p.foreground, &f)).unwrap();
            losses.push(loss.to_scalar::<f32>().unwrap());
            let grads = loss.backward().unwrap();
            if losses.len() == 2 {
                let without: Vec<String> = map
                    .data()
                    .lock()
                    .unwrap()
                    .iter()
                    .filter(|(_, v)| grads.get(v.as_tensor()).is_none())
                    .map(|(name, _)| name.clone())
                    .collect();
                assert!(without.is_empty(), "no gradient: {without:?}");
            }
            adam.step(&grads).unwrap();
        }
        let (first, last) = (losses[0], losses[59]);
        assert!(last < 0.6 * first, "{first} -> {last}");
    }
}

#[test]
fn the_same_bytes_come_out_of_one_thread_and_of_two() {
    let (map, model) = stirred(&config());
    let (c, z) = (conditions(3, 64, 48), noisy(3, 64, 48));
    let vars = map.all_vars();
    let run = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .unwrap();
        pool.install(|| {
            let out = model.predict(&c, &z).unwrap();
            let loss = (out.background.sqr().unwrap().mean_all().unwrap()
                + out.foreground.sqr().unwrap().mean_all().unwrap())
            .unwrap();
            let grads = loss.backward().unwrap();
            let mut all = flat(&out);
            for var in &vars {
                all.extend(
                    grads
                        .get(var.as_tensor())
                        .unwrap()
                        .flatten_all()
                        .unwrap()
                        .to_vec1::<f32>()
                        .unwrap(),
                );
            }
            all
        })
    };
    let one = run(1);
    assert!(one.iter().all(|v| v.is_finite()));
    assert!(one == run(2) && one == run(3));
}

#[test]
fn a_sample_does_not_depend_on_its_batch_and_the_cache_changes_nothing() {
    let (_, model) = stirred(&config());
    let (c, z) = (conditions(3, 32, 48), noisy(3, 32, 48));
    let all = model.predict(&c, &z).unwrap();
    let take = |t: &Tensor| t.narrow(0, 1, 1).unwrap();
    let c1 = Conditions {
        plate: take(&c.plate),
        mask: take(&c.mask),
    };
    let z1 = Noisy {
        background: take(&z.background),
        foreground: take(&z.foreground),
        time: take(&z.time),
    };
    let one = model.predict(&c1, &z1).unwrap();
    let again = model.denoise(&model.condition(&c1).unwrap(), &z1).unwrap();
    let want = Prediction {
        background: take(&all.background),
        foreground: take(&all.foreground),
    };
    assert_eq!(flat(&one), flat(&want));
    assert_eq!(flat(&one), flat(&again));
}

#[test]
fn sampling_repeats_itself_and_can_be_cancelled() {
    let (_, model) = stirred(&config());
    let c = conditions(1, 32, 32);
    let opts = Sampling {
        sampler: Sampler::Ddim,
        steps: 3,
        seed: 11,
    };
    let go = |opts: &Sampling| flat(&model.sample(&c, opts, &|_, _| true).unwrap());
    assert_eq!(go(&opts), go(&opts));
    assert_ne!(go(&opts), go(&Sampling { seed: 12, ..opts }));
    assert!(matches!(
        model.sample(&c, &opts, &|done, _| done < 2),
        Err(Error::Cancelled)
    ));
    assert!(
        model
            .sample(&conditions(1, 24, 32), &opts, &|_, _| true)
            .unwrap_err()
            .to_string()
            .contains("16")
    );
}

#[test]
fn every_kind_and_schedule_draws_layers() {
    let published = Diffusion::PUBLISHED.schedule;
    for (predicts, schedule) in [
        (Predicts::X, published),
        (Predicts::Epsilon, published),
        (Predicts::V, Schedule::Cosine { steps: 100 }),
        (Predicts::Flow, Schedule::Linear),
    ] {
        let diffusion = Diffusion {
            predicts,
            schedule,
            weighed: false,
        };
        let (_, model) = stirred(&Config {
            diffusion,
            ..config()
        });
        let c = conditions(1, 32, 32);
        for sampler in [
            Sampler::Ddim,
            Sampler::DpmSolver(Spacing::Trailing),
            Sampler::UniPc(Spacing::Karras),
        ] {
            let opts = Sampling {
                sampler,
                steps: 4,
                seed: 1,
            };
            let out = model.sample(&c, &opts, &|_, _| true).unwrap();
            assert!(
                flat(&out).iter().all(|v| (0.0..=1.0).contains(v)),
                "{sampler} {diffusion:?}"
            );
        }
        let one = model.sample(&c, &Sampling::default(), &|_, _| true);
        assert_eq!(one.is_err(), predicts == Predicts::Epsilon);
    }
}

#[test]
fn every_head_learns() {
    // Inputs of the head's last hidden layer: 8 of the level before, and with skips the 7 of plate, mask and filled plate.
    for (head, fine) in [
        (Head::Skips, Some(15)),
        (Head::NoSkips, Some(8)),
        (Head::Linear, None),
    ] {
        let mut config = config();
        let TokenizerConfig::Pixels { head: own, .. } = &mut config.tokenizer else {
            panic!("not pixels");
        };
        *own = head;
        let (map, model) = stirred(&config);
        let said = model.predict(&conditions(1, 32, 48), &noisy(1, 32, 48)).unwrap();
        assert_eq!(said.foreground.dims(), [1, 4, 32, 48]);
        let both = (said.background.sqr().unwrap().mean_all().unwrap()
            + said.foreground.sqr().unwrap().mean_all().unwrap())
        .unwrap();
        let gradients = both.backward().unwrap();
        let vars = map.data().lock().unwrap();
        for (name, var) in vars.iter().filter(|(name, _)| name.starts_with("head.")) {
            assert!(gradients.get(var).is_some(), "{head:?}: {name}");
        }
        let inputs = vars.get("head.fine.weight").map(|var| var.dims()[2]);
        assert_eq!(inputs, fine, "{head:?}");
    }
}

#[test]
fn a_second_look_asks_about_a_tighter_mask() {
    let plain = config();
    let tight = |threshold| Config {
        tighten: Some(threshold),
        ..config()
    };
    let c = conditions(1, 32, 32);
    let draw = |config: &Config| {
        let calls = std::cell::RefCell::new(Vec::new());
        let count = |done: usize, all: usize| {
            calls.borrow_mut().push((done, all));
            true
        };
        let out = stirred(config)
            .1
            .sample(&c, &Sampling::default(), &count)
            .unwrap();
        (flat(&out), calls.into_inner())
    };
    let (once, calls) = draw(&plain);
    assert_eq!(calls, [(0, 1), (1, 1)]);
    let (twice, calls) = draw(&tight(0.75));
    assert_eq!(calls.first(), Some(&(0, 2)));
    assert_eq!(calls.last(), Some(&(2, 2)));
    assert_ne!(once, twice);
    let stops = stirred(&tight(0.75))
        .1
        .sample(&c, &Sampling::default(), &|done, _| done < 1);
    assert!(matches!(stops, Err(Error::Cancelled)));
}

#[test]
fn an_unwritable_folder_is_an_error_with_its_path() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    std::fs::write(&file, "").unwrap();
    let (map, _) = stirred(&config());
    let message = save(&file.join("weights"), &named(&map), DType::F16)
        .unwrap_err()
        .to_string();
    assert!(message.contains("weights"), "{message}");
    std::fs::create_dir(dir.path().join("model.safetensors")).unwrap();
    assert!(
        save(dir.path(), &named(&map), DType::F16)
            .unwrap_err()
            .to_string()
            .contains("model.safetensors")
    );
    assert!(!dir.path().join("model.safetensors.part").exists());
}

#[test]
fn a_weights_folder_round_trips_and_misfits_are_listed() {
    let (map, model) = stirred(&config());
    let dir = tempfile::tempdir().unwrap();
    save_config(dir.path(), &config()).unwrap();
    save(dir.path(), &named(&map), DType::F32).unwrap();
    let loaded = Model::load(dir.path(), &Device::Cpu).unwrap();
    let (c, z) = (conditions(1, 32, 32), noisy(1, 32, 32));
    assert_eq!(
        flat(&loaded.predict(&c, &z).unwrap()),
        flat(&model.predict(&c, &z).unwrap())
    );
    assert_eq!(loaded.digest().len(), 64);

    save(dir.path(), &named(&map), DType::F16).unwrap();
    let half = flat(
        &Model::load(dir.path(), &Device::Cpu)
            .unwrap()
            .predict(&c, &z)
            .unwrap(),
    );
    let worst = half
        .iter()
        .zip(flat(&model.predict(&c, &z).unwrap()))
        .map(|(a, b)| (a - b).abs())
        .fold(0.0, f32::max);
    assert!(worst > 0.0 && worst < 0.01, "{worst}");

    save_config(
        dir.path(),
        &Config {
            width: 48,
            ..config()
        },
    )
    .unwrap();
    let message = Model::load(dir.path(), &Device::Cpu).unwrap_err().to_string();
    assert!(
        message.contains("blocks.0.qkv.weight: wanted 144x48, found 72x24"),
        "{message}"
    );
    assert!(
        message.contains("stream_types: wanted 4x48, found 4x24"),
        "{message}"
    );

    save_config(dir.path(), &Config { depth: 1, ..config() }).unwrap();
    let message = Model::load(dir.path(), &Device::Cpu).unwrap_err().to_string();
    assert!(message.contains("blocks.1.qkv.weight: not a weight"), "{message}");

    save_config(dir.path(), &config()).unwrap();
    let names = std::fs::read_to_string(dir.path().join("names.txt")).unwrap();
    std::fs::write(
        dir.path().join("names.txt"),
        names.replace("head.out.bias 7", "head.out.bias 8"),
    )
    .unwrap();
    let message = Model::load(dir.path(), &Device::Cpu).unwrap_err().to_string();
    assert!(message.contains("head.out.bias 8: listed"), "{message}");

    std::fs::write(dir.path().join("names.txt"), names).unwrap();
    let weights = dir.path().join("model.safetensors");
    let bytes = std::fs::read(&weights).unwrap();
    std::fs::write(&weights, &bytes[..bytes.len() / 2]).unwrap();
    assert!(matches!(
        Model::load(dir.path(), &Device::Cpu),
        Err(Error::Weights { .. })
    ));
    std::fs::write(&weights, b"").unwrap();
    assert!(matches!(
        Model::load(dir.path(), &Device::Cpu),
        Err(Error::Weights { .. })
    ));
    assert!(matches!(
        Model::load(&dir.path().join("none"), &Device::Cpu),
        Err(Error::File { .. })
    ));
}

#[test]
fn the_transformers_tokens_tell_places_apart() {
    let mut found = Vec::new();
    for join in [false, true] {
        let config = Config { join, ..config() };
        let model = Model::new(&config, seeded_builder(&VarMap::new(), 1, &Device::Cpu)).unwrap();
        found.push(model.spread(&conditions(2, 32, 48)).unwrap());
    }
    assert!(
        found.iter().all(|spread| (0.1..=1.0).contains(spread)),
        "{found:?}"
    );
    assert!(found[0] != found[1], "{found:?}");
}
