//! The plate's passes on the emulated card against the processor's.
#![allow(clippy::unwrap_used)] // Helpers of tests unwrap as tests do.

mod common;

use std::path::Path;

use common::{Blurred, Known, Scene, assert_exact};
use peel_emulate::Emulated;
use peel_image::{Layer, Matte, Rect};
use peel_layerdecomp::{CardModel, CardQueue, Model};
use peel_plate::{
    Decomposer, Light, Network, Options, Plane, PlateCard, Prediction, Quality, Result, Rgb, Sampling, Step,
    peel_one,
};

/// Columns and rows of the scene, which the model sees at half of it.
const SIDE: u32 = 128;

/// Enough context that the model sees the whole frame, as [`Known`] needs it.
fn whole() -> Options {
    Options {
        margin: 10.0,
        working_size: Some(64),
        ..Options::default()
    }
}

/// A model whose plates go over a card.
struct OnCard<M>(M, PlateCard);

impl<M: Decomposer> Decomposer for OnCard<M> {
    fn decompose(
        &self,
        picture: &Rgb,
        mask: &Plane,
        sampling: &Sampling,
        progress: &dyn Fn(f32) -> bool,
    ) -> Result<Prediction> {
        self.0.decompose(picture, mask, sampling, progress)
    }

    fn card(&self) -> Option<&PlateCard> {
        Some(&self.1)
    }

    fn working_size(&self) -> usize {
        self.0.working_size()
    }

    fn digest(&self) -> String {
        self.0.digest()
    }
}

fn emulated() -> PlateCard {
    PlateCard::new(Emulated::open(5).unwrap())
}

fn peel(plate: &Layer, matte: &Matte, model: &dyn Decomposer, options: &Options) -> Step {
    let step = peel_one(plate, matte, model, options, &|_| true).unwrap();
    assert_exact(plate, &step.background, &step.foreground);
    assert_eq!(step.report.recomposition_max, 0.0);
    step
}

/// Both devices peel alike: backgrounds as they are seen, and alphas, differ by less than a fifth of an 8-bit level (the curve's last bits,
/// and what halves make of them), and where there is no foreground the background has the plate's bits on both. One pixel in 100 may
/// be another: beside a hard matte the last bit of an alpha near 0 decides whether a pixel is filled.
fn assert_alike(plate: &Layer, cpu: &Step, card: &Step) {
    let light = Light::default();
    let mut apart = 0u64;
    for y in plate.data().y0..plate.data().y1 {
        for x in plate.data().x0..plate.data().x1 {
            let (a, b) = (cpu.background.get(x, y), card.background.get(x, y));
            let (f, g) = (cpu.foreground.get(x, y), card.foreground.get(x, y));
            if g[3] == 0.0 {
                let bits = |pixel: [f32; 4]| pixel.map(f32::to_bits);
                assert_eq!(bits(b), bits(plate.get(x, y)), "at {x}, {y}");
            }
            if a.iter().chain(&b).any(|v| !v.is_finite()) {
                continue;
            }
            let colour = (0..3).map(|c| (light.encode(a[c]) - light.encode(b[c])).abs());
            let off = colour.fold((f[3] - g[3]).abs(), f32::max);
            apart += u64::from(off > 8e-4);
        }
    }
    let (here, there) = (cpu.report.affected, card.report.affected);
    eprintln!("{apart} of {here} pixels differ; {there} affected on the card");
    assert!(apart <= here / 100, "{apart} of {here} pixels differ");
    assert!(
        here > 0 && here.abs_diff(there) <= here / 100,
        "{here} and {there}"
    );
}

#[test]
fn every_stage_of_the_solver_is_the_same_on_a_card() {
    let scene = Scene::new(SIDE, SIDE);
    let (plate, matte) = (scene.plate(), scene.matte());
    for quality in [Quality::Plain, Quality::Gate, Quality::Unshadow, Quality::Detail] {
        let options = Options { quality, ..whole() };
        let oracle = || Known::scene(Scene::new(SIDE, SIDE));
        let cpu = peel(&plate, &matte, &oracle(), &options);
        let card = peel(&plate, &matte, &OnCard(oracle(), emulated()), &options);
        // Without a gate the last bit of a transmittance decides whether there is an effect at all: exact on both, not alike.
        if quality != Quality::Plain {
            assert_alike(&plate, &cpu, &card);
        }
        // Texture needs a model that leaves it out.
        if quality == Quality::Detail {
            let cpu = peel(&plate, &matte, &Blurred(oracle()), &options);
            let card = peel(&plate, &matte, &OnCard(Blurred(oracle()), emulated()), &options);
            assert_alike(&plate, &cpu, &card);
        }
    }
}

/// Sides that are no multiples of anything, so that the window is mirrored; transparent, broken and bright pixels.
#[test]
fn odd_plates_are_the_same_on_a_card() {
    let frame = Rect::new(-7, 3, 134, 80);
    let plate = Layer::from_fn(frame, frame, |x, y| match (x, y) {
        (20, 20) => [f32::NAN, 0.2, 0.2, 1.0],
        (60, 40) => [0.3, f32::INFINITY, 0.2, 1.0],
        (30, _) => [50.0, 40.0, 30.0, 1.0],
        _ => {
            let alpha = if x > 100 { 0.5 } else { 1.0 };
            let v = alpha * (0.2 + 0.1 * ((x * 7 + y * 3) % 11) as f32 / 11.0);
            [v, 0.8 * v, 0.5 * v, alpha]
        }
    });
    let matte = Matte::from_fn(frame, frame, |x, y| {
        let d = f32::hypot((x - 70) as f32, (y - 40) as f32);
        (20.0 - d).clamp(0.0, 1.0)
    });
    let options = Options {
        working_size: Some(32),
        ..Options::default()
    };
    let model = || common::Guess;
    let cpu = peel(&plate, &matte, &model(), &options);
    let card = peel(&plate, &matte, &OnCard(model(), emulated()), &options);
    assert_alike(&plate, &cpu, &card);
}

#[test]
fn a_card_starts_from_a_neighbours_background() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../weights/layerdecomp-s");
    let load = || Model::load(&folder, &candle_core::Device::Cpu).unwrap();
    let own = folder.clone();
    let queue = CardQueue::start(move || CardModel::load(Emulated::open(1)?, &own));
    let network = Network::on_card(load(), queue, emulated()).unwrap();
    let picture: Rgb =
        std::array::from_fn(|c| Plane::from_fn(32, 32, |x, y| ((x * 3 + y * 5 + c) % 7) as f32 / 7.0));
    let mask = Plane::from_fn(32, 32, |x, y| {
        f32::from((10..24).contains(&x) && (8..20).contains(&y))
    });
    let neighbours: Rgb = std::array::from_fn(|c| Plane::from_fn(32, 32, |_, y| (y + c) as f32 / 40.0));
    let sampling = Sampling {
        sampler: peel_layerdecomp::Sampler::Ddim,
        steps: 2,
        seed: 3,
    };
    let of = |network: &Network, near: &[Rgb]| {
        let mut found = network
            .decompose_near(&[(&picture, &mask)], near, &sampling, &|_| true)
            .unwrap();
        found.remove(0).background
    };
    let near = std::slice::from_ref(&neighbours);
    let cpu = Network::new(load(), candle_core::Device::Cpu);
    let (found, want, alone) = (of(&network, near), of(&cpu, near), of(&cpu, &[]));
    let apart = |a: &Rgb, b: &Rgb| {
        let values = a.iter().zip(b).flat_map(|(a, b)| a.values.iter().zip(&b.values));
        values.map(|(a, b)| (a - b).abs()).fold(0.0f32, f32::max)
    };
    assert!(apart(&found, &want) < 0.03, "{}", apart(&found, &want));
    assert!(apart(&want, &alone) > 0.03, "{}", apart(&want, &alone));
    assert_eq!(network.remarks(), Vec::<String>::new());
}

#[test]
fn a_card_without_room_leaves_the_plate_to_the_processor_and_says_so() {
    let scene = Scene::new(SIDE, SIDE);
    let (plate, matte) = (scene.plate(), scene.matte());
    let options = whole();
    let oracle = || Known::scene(Scene::new(SIDE, SIDE));
    let cpu = peel(&plate, &matte, &oracle(), &options);
    // No room for the plate; room for the plate, but not for its layers.
    for room in [1000, (SIDE * SIDE * 16 + 100_000) as usize] {
        let small = PlateCard::new(Emulated::open(1).unwrap().with_memory(room));
        let step = peel(&plate, &matte, &OnCard(oracle(), small), &options);
        let remarks = &step.report.remarks;
        assert!(
            remarks.len() == 1 && remarks[0].contains("the processor painted it"),
            "{remarks:?}"
        );
        assert_eq!(step.report.affected, cpu.report.affected);
    }
}

#[test]
fn a_card_without_room_leaves_the_model_to_the_processor_and_says_so() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../weights/layerdecomp-s");
    let load = || Model::load(&folder, &candle_core::Device::Cpu).unwrap();
    let weights = CardModel::load(Emulated::open(1).unwrap(), &folder).unwrap();
    let room = weights.card().taken() + 1000;
    let own = folder.clone();
    let queue = CardQueue::start(move || {
        let card = Emulated::open(1)?.with_memory(room);
        CardModel::load(card, &own)
    });
    let network = Network::on_card(load(), queue, emulated()).unwrap();
    let picture: Rgb =
        std::array::from_fn(|c| Plane::from_fn(32, 16, |x, y| ((x * 3 + y * 5 + c) % 7) as f32 / 7.0));
    let mask = Plane::from_fn(32, 16, |x, _| f32::from(x > 20));
    let sampling = Sampling::default();
    let found = network.decompose(&picture, &mask, &sampling, &|_| true).unwrap();
    let cpu = Network::new(load(), candle_core::Device::Cpu);
    let want = cpu.decompose(&picture, &mask, &sampling, &|_| true).unwrap();
    assert_eq!(
        (found.background, found.foreground),
        (want.background, want.foreground)
    );
    let remarks = network.remarks();
    assert!(remarks[0].contains("the processor ran the model"), "{remarks:?}");
    assert!(network.remarks().is_empty());
}

#[test]
fn a_model_that_a_card_cannot_take_is_the_processors() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../weights/layerdecomp-s");
    let network = |queue| {
        let model = Model::load(&folder, &candle_core::Device::Cpu).unwrap();
        Network::on_card(model, queue, emulated())
    };
    let own = folder.clone();
    let no_room = CardQueue::start(move || CardModel::load(Emulated::open(1)?.with_memory(1000), &own));
    let kind = "a stem or head whose channels are no multiples of 8";
    for (queue, why) in [
        (no_room, "no room for the model's weights"),
        (Err(peel_layerdecomp::Error::NotOnCard(kind)), kind),
    ] {
        let network = network(queue).unwrap();
        assert!(network.card().is_none());
        let remarks = network.remarks();
        assert!(remarks.len() == 1 && remarks[0].contains(why), "{remarks:?}");
        assert!(remarks[0].contains("the processor runs"), "{remarks:?}");
    }
    assert!(network(Err(peel_layerdecomp::Error::Cancelled)).is_err());
}
