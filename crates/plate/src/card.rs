//! The plate's own pixels on a card: shrunk for the model before it runs, painted after it, and kept there in between.
//!
//! What varies slowly is settled on the CPU, at the model's size; what has the plate's size never is. So a crop of the plate travels to the
//! card once, and its two layers back. Colours may differ from the CPU's in the last bits, since the curves do; that the layers lay back
//! together to the plate is solved on the card in the same operations, and looked at again on the CPU.

use std::fmt;
use std::sync::{Mutex, PoisonError};

use peel_image::{Layer, Pixel, Rect};
use peel_kernels::ops::{self, PLANES, Settled, Window};
use peel_kernels::{Buffer, Card, Error as CardError};
use rayon::prelude::*;

use crate::crop::Crop;
use crate::inset::Inset;
use crate::solver::Solution;
use crate::{Error, Light, Options, Plane, Result, Rgb};

/// A card that takes the plate's passes; one crop's pass at a time.
pub struct PlateCard {
    passes: Mutex<Box<dyn Passes + Send>>,
}

impl fmt::Debug for PlateCard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PlateCard")
    }
}

/// A crop of a plate that lies on a card, until it is dropped.
pub(crate) struct Shown<'a> {
    card: &'a PlateCard,
    /// Its place among the plates on the card.
    slot: usize,
    /// What the model is to be shown: see [`Crop::view_of`].
    pub sums: Vec<[f32; 5]>,
}

impl PlateCard {
    /// Over a card.
    pub fn new<C: Card + Send>(card: C) -> PlateCard
    where
        C::Memory: Send,
    {
        PlateCard {
            passes: Mutex::new(Box::new(OnCard {
                card,
                plates: Vec::new(),
            })),
        }
    }

    fn with<T>(&self, work: impl FnOnce(&mut (dyn Passes + Send)) -> T) -> T {
        work(
            self.passes
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .as_mut(),
        )
    }

    /// Brings the crop's pixels onto the card; `None` where it has no room for them.
    pub(crate) fn show(&self, plate: &Layer, crop: &Crop, light: Light) -> Result<Option<Shown<'_>>> {
        let pixels = pixels(plate, crop.inner);
        let (slot, sums) = match self.with(|card| card.show(&pixels, crop, light)) {
            Ok(found) => found,
            Err(CardError::OutOfMemory { .. }) => return Ok(None),
            Err(error) => return Err(failed(&error)),
        };
        Ok(Some(Shown {
            card: self,
            slot,
            sums,
        }))
    }
}

impl Shown<'_> {
    /// Background and foreground of the crop's `inner` pixels, row by row; `None` where the card has no room for them.
    pub(crate) fn paint(
        &self,
        crop: &Crop,
        solution: &Solution,
        light: Light,
        options: &Options,
    ) -> Result<Option<[Vec<Pixel>; 2]>> {
        match self
            .card
            .with(|card| card.paint(self.slot, crop, solution, light, options))
        {
            Ok(layers) => Ok(Some(layers)),
            Err(CardError::OutOfMemory { .. }) => Ok(None),
            Err(error) => Err(failed(&error)),
        }
    }
}

impl Drop for Shown<'_> {
    fn drop(&mut self) {
        self.card.with(|card| card.forget(self.slot));
    }
}

fn failed(error: &CardError) -> Error {
    Error::Model(format!("on the card: {error}"))
}

/// The pixels of a window within the layer, row by row.
fn pixels(layer: &Layer, window: Rect) -> Vec<Pixel> {
    let (left, width) = ((window.x0 - layer.data().x0) as usize, window.width());
    (window.y0..window.y1)
        .into_par_iter()
        .flat_map_iter(|y| layer.row(y)[left..left + width].iter().copied())
        .collect()
}

/// What [`PlateCard`] asks of a card, whatever its kind.
trait Passes {
    fn show(&mut self, pixels: &[Pixel], crop: &Crop, light: Light) -> Outcome<(usize, Vec<[f32; 5]>)>;

    fn paint(
        &mut self,
        slot: usize,
        crop: &Crop,
        solution: &Solution,
        light: Light,
        options: &Options,
    ) -> Outcome<[Vec<Pixel>; 2]>;

    fn forget(&mut self, slot: usize);
}

type Outcome<T> = peel_kernels::Result<T>;

struct OnCard<C: Card> {
    card: C,
    /// Crops on the card; none where one was forgotten.
    plates: Vec<Option<Buffer<C, f32>>>,
}

impl<C: Card> OnCard<C> {
    fn window<'a>(plate: &'a Buffer<C, f32>, crop: &Crop, light: Light) -> Window<'a, C> {
        Window {
            plate,
            width: crop.inner.width(),
            height: crop.inner.height(),
            model: (crop.width, crop.height),
            factor: crop.factor,
            light: ops::Light {
                exposure: light.exposure,
                white: light.white,
            },
        }
    }
}

impl<C: Card> Passes for OnCard<C> {
    fn show(&mut self, pixels: &[Pixel], crop: &Crop, light: Light) -> Outcome<(usize, Vec<[f32; 5]>)> {
        let plate = self.card.put(pixels.as_flattened())?;
        let sums = ops::view(&self.card, &Self::window(&plate, crop, light))?;
        let sums = self.card.get(&sums)?.as_chunks().0.to_vec();
        let free = self.plates.iter().position(Option::is_none);
        let slot = free.unwrap_or_else(|| {
            self.plates.push(None);
            self.plates.len() - 1
        });
        self.plates[slot] = Some(plate);
        Ok((slot, sums))
    }

    fn paint(
        &mut self,
        slot: usize,
        crop: &Crop,
        solution: &Solution,
        light: Light,
        options: &Options,
    ) -> Outcome<[Vec<Pixel>; 2]> {
        let card = &self.card;
        let plate = self.plates.get(slot).and_then(Option::as_ref);
        let plate = plate.ok_or_else(|| CardError::Failed {
            what: "paint".into(),
            reason: "the plate is no longer on the card".into(),
        })?;
        let Solution { effect, object, .. } = solution;
        let offsets = solution.detail.as_ref().map(|detail| detail.offsets());
        let offsets = offsets.map(|offsets| card.put(&offsets)).transpose()?;
        let whole = |plane: &Inset| plane.whole(crop.window.width(), crop.window.height()).values;
        let layers = ops::paint(
            card,
            &Self::window(plate, crop, light),
            &Settled {
                planes: &card.put(&planes(solution))?,
                offsets: offsets.as_ref(),
                near: &card.put(&whole(&object.near))?,
                matte: &card.put(&whole(&object.matte))?,
                quality: options.painted_quality() as usize,
                reach: object.reach,
                fade: object.fade,
                threshold: effect.threshold(),
                hardness: object.hardness,
            },
        )?;
        let pixels = |layer| Ok(card.get::<f32>(layer)?.as_chunks().0.to_vec());
        Ok([pixels(&layers[0])?, pixels(&layers[1])?])
    }

    fn forget(&mut self, slot: usize) {
        if let Some(plate) = self.plates.get_mut(slot) {
            *plate = None;
        }
    }
}

/// All planes at the model's size, in the order of [`PLANES`].
fn planes(solution: &Solution) -> Vec<f32> {
    let Solution {
        effect,
        object,
        base,
        detail,
        ..
    } = solution;
    let one = |plane| std::slice::from_ref::<Plane>(plane);
    let three = Rgb::as_slice;
    let mut values = Vec::with_capacity(PLANES * effect.strength.values.len());
    let always = [
        one(&effect.strength),
        three(&effect.transmittance),
        three(&effect.light),
        three(base),
        one(&object.alpha),
        one(&object.trust),
        one(&effect.edge),
        three(&object.colour),
        one(&effect.lost),
    ];
    let textured = detail.as_ref().map(|detail| detail.planes());
    for plane in always.into_iter().chain(textured.into_iter().flatten()).flatten() {
        values.extend_from_slice(&plane.values);
    }
    values.resize(PLANES * effect.strength.values.len(), 0.0);
    values
}
