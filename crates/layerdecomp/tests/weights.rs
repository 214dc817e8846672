//! Weights folders: listed, verified, converted, loaded in fewer bits.

#![allow(clippy::unwrap_used)]

use std::cell::Cell;
use std::path::Path;

use candle_core::{DType, Device, Tensor};
use candle_nn::VarMap;
use peel_layerdecomp::weights::{Loading, Precision, average, convert, list, verify};
use peel_layerdecomp::{
    Conditions, Config, Error, Model, Noise, Noisy, TINY, named, save, save_config, seeded_builder,
};

fn config() -> Config {
    Config {
        width: 48,
        depth: 2,
        heads: 2,
        ..Config::from_ron(TINY).unwrap()
    }
}

/// A folder with random weights, in f32.
fn written(dir: &Path) {
    written_of(dir, &config(), 1);
}

fn written_of(dir: &Path, config: &Config, seed: u64) {
    let map = VarMap::new();
    Model::new(config, seeded_builder(&map, 5, &Device::Cpu)).unwrap();
    let tensors = named(&map)
        .into_iter()
        .enumerate()
        .map(|(i, (name, t))| {
            let noise = Noise::new(i as u64, seed)
                .normal_tensor(t.shape().clone(), &Device::Cpu)
                .unwrap();
            (name, (t + (noise * 0.05).unwrap()).unwrap())
        })
        .collect();
    save_config(dir, config).unwrap();
    save(dir, &tensors, DType::F32).unwrap();
}

#[test]
fn the_mean_of_weights_is_that_of_each_number() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    for (name, seed) in [("a", 1), ("b", 2)] {
        written_of(&at(name), &config(), seed);
    }
    let (a, b, mean) = (at("a"), at("b"), at("mean"));
    let digest = average(&[&a, &b], &mean, Precision::F32, &|_, _| true).unwrap();
    assert_eq!(verify(&mean, &|_, _| true).unwrap(), digest);
    let tensors =
        |dir: &Path| candle_core::safetensors::load(dir.join("model.safetensors"), &Device::Cpu).unwrap();
    let values = |t: &Tensor| t.flatten_all().unwrap().to_vec1::<f32>().unwrap();
    let (a_s, b_s, means) = (tensors(&a), tensors(&b), tensors(&mean));
    assert_eq!(means.len(), a_s.len());
    for (name, mean) in &means {
        let pairs = values(&a_s[name]).into_iter().zip(values(&b_s[name]));
        for (mean, (a, b)) in values(mean).into_iter().zip(pairs) {
            assert_eq!(mean, ((f64::from(a) + f64::from(b)) / 2.0) as f32, "{name}");
        }
    }
    // Of one, its very numbers; of none, an error; of another network, an error that names a tensor and both shapes.
    average(&[&a], &at("same"), Precision::F32, &|_, _| true).unwrap();
    assert_eq!(list(&at("same")).unwrap(), list(&a).unwrap());
    assert!(average(&[], &at("none"), Precision::F32, &|_, _| true).is_err());
    let wider = Config {
        width: 96,
        ..config()
    };
    written_of(&at("wider"), &wider, 1);
    let error = average(&[&a, &at("wider")], &at("no"), Precision::F32, &|_, _| true);
    let error = error.unwrap_err().to_string();
    assert!(
        error.contains("blocks.0.") && error.contains("96") && error.contains("48"),
        "{error}"
    );
    assert!(!at("no").join("model.safetensors").exists());
}

fn answer(dir: &Path, loading: &Loading<'_>) -> Vec<f32> {
    let picture = |c: usize, seed| {
        Tensor::from_vec(
            Noise::new(seed, 0).uniform(c * 32 * 32, 0.0, 1.0),
            (1, c, 32, 32),
            &Device::Cpu,
        )
        .unwrap()
    };
    let c = Conditions {
        plate: picture(3, 1),
        mask: picture(1, 2).round().unwrap(),
    };
    let time = Tensor::new(&[0.4f32], &Device::Cpu).unwrap();
    let z = Noisy {
        background: picture(3, 3),
        foreground: picture(4, 4),
        time,
    };
    let out = Model::load_with(dir, &Device::Cpu, loading)
        .unwrap()
        .predict(&c, &z)
        .unwrap();
    let values = |t: &Tensor| t.flatten_all().unwrap().to_vec1::<f32>().unwrap();
    [values(&out.background), values(&out.foreground)].concat()
}

/// The largest difference.
fn worst_of(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0f32, f32::max)
}

#[test]
fn fewer_bits_give_nearly_the_same_and_are_smaller() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    written(&at("f32"));
    let full = answer(&at("f32"), &Loading::default());
    let largest = full.iter().fold(0f32, |m, v| m.max(v.abs()));
    let (kept, converted) = (
        Loading {
            precision: None,
            ..Loading::default()
        },
        Loading::default(),
    );
    for (precision, tolerance, share) in [
        (Precision::F16, 2e-3, 0.501),
        (Precision::Bf16, 2e-2, 0.501),
        (Precision::Int8, 2e-2, 0.45),
    ] {
        let folder = at(&precision.to_string());
        let digest = convert(&at("f32"), &folder, precision, &|_, _| true).unwrap();
        assert_eq!(verify(&folder, &|_, _| true).unwrap(), digest);
        let (found, before) = (list(&folder).unwrap(), list(&at("f32")).unwrap());
        assert!(
            (found.bytes() as f64) < share * before.bytes() as f64,
            "{precision}: {} of {}",
            found.bytes(),
            before.bytes()
        );
        let stored = answer(&folder, &kept);
        // Widened while loading or while multiplying: the same numbers, the same order of sums.
        assert_eq!(stored, answer(&folder, &converted));
        // Narrowed while loading: only what stands beside the linear layers keeps more digits than in the converted file.
        let narrowed = Loading {
            precision: Some(precision),
            ..Loading::default()
        };
        let narrowed = answer(&at("f32"), &narrowed);
        assert!(narrowed != full && worst_of(&narrowed, &full) < tolerance * largest);
        let worst = worst_of(&stored, &full);
        assert!(
            worst > 0.0 && worst < tolerance * largest,
            "{precision}: {}",
            worst / largest
        );
    }
    // Back from whole numbers: what the scales say, to the bit of f32.
    convert(&at("int8"), &at("back"), Precision::F32, &|_, _| true).unwrap();
    verify(&at("back"), &|_, _| true).unwrap();
    assert_eq!(answer(&at("back"), &converted), answer(&at("int8"), &converted));
    assert_eq!(
        list(&at("back")).unwrap().entries.len(),
        list(&at("f32")).unwrap().entries.len()
    );
}

/// Notes progress from nothing on.
fn watch_anew(last: &Cell<(u64, u64)>) -> impl Fn(u64, u64) -> bool {
    last.set((0, 0));
    |done, of| {
        assert!(last.get().0 <= done && done <= of);
        last.set((done, of));
        true
    }
}

#[test]
fn loading_tells_its_progress_and_can_be_cancelled() {
    let dir = tempfile::tempdir().unwrap();
    written(dir.path());
    let last = Cell::new((0, 0));
    let watch = |done, of| {
        assert!(last.get().0 <= done && done <= of);
        last.set((done, of));
        true
    };
    Model::load_with(
        dir.path(),
        &Device::Cpu,
        &Loading {
            precision: None,
            progress: &watch,
        },
    )
    .unwrap();
    assert_eq!(last.get().0, last.get().1);
    assert_eq!(last.get().1, 2 * list(dir.path()).unwrap().bytes());
    let stop = Loading {
        precision: Some(Precision::F32),
        progress: &|done, of| done < of / 2,
    };
    assert!(matches!(
        Model::load_with(dir.path(), &Device::Cpu, &stop),
        Err(Error::Cancelled)
    ));
    let cancelled = convert(dir.path(), &dir.path().join("to"), Precision::F16, &|done, _| {
        done < 3
    });
    assert!(matches!(cancelled, Err(Error::Cancelled)));
    assert!(!dir.path().join("to/model.safetensors").exists());
    assert!(!dir.path().join("to/model.safetensors.part").exists());
    let last = Cell::new((0, 0));
    let watch = |done, of| {
        assert!(last.get().0 <= done && done <= of);
        last.set((done, of));
        true
    };
    convert(dir.path(), &dir.path().join("to"), Precision::Int8, &watch).unwrap();
    assert_eq!(last.get().0, last.get().1);
    verify(&dir.path().join("to"), &watch_anew(&last)).unwrap();
    assert_eq!(last.get().0, last.get().1);
}

#[test]
fn verification_lists_every_problem() {
    let dir = tempfile::tempdir().unwrap();
    written(dir.path());
    verify(dir.path(), &|_, _| true).unwrap();
    let broken = dir.path().join("digest");
    std::fs::write(&broken, "0000  model.safetensors\n").unwrap();
    save_config(dir.path(), &Config { depth: 3, ..config() }).unwrap();
    let message = verify(dir.path(), &|_, _| true).unwrap_err().to_string();
    assert!(
        message.contains("digest") && message.contains("blocks.2.qkv.weight: wanted 144x48, found nothing"),
        "{message}"
    );

    let map = VarMap::new();
    Model::new(&config(), seeded_builder(&map, 5, &Device::Cpu)).unwrap();
    let mut tensors = named(&map);
    let bad = Tensor::full(f32::NAN, 48, &Device::Cpu).unwrap();
    tensors.insert("blocks.0.out.bias".into(), bad);
    save_config(dir.path(), &config()).unwrap();
    save(dir.path(), &tensors, DType::F32).unwrap();
    std::fs::remove_file(broken).unwrap();
    let message = verify(dir.path(), &|_, _| true).unwrap_err().to_string();
    assert!(
        message.contains("blocks.0.out.bias: 48 numbers are not finite"),
        "{message}"
    );
    assert!(list(&dir.path().join("none")).is_err());
}

#[test]
fn the_shipped_weights_verify() {
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../weights/layerdecomp-s");
    let digest = verify(&shipped, &|_, _| true).unwrap();
    assert_eq!(Model::load(&shipped, &Device::Cpu).unwrap().digest(), digest);
}
