//! LayerDecomp as a [`Decomposer`]: planes to tensors and back.

use std::sync::{Arc, Mutex, PoisonError};

use peel_kernels::Error as CardError;
use peel_layerdecomp::{CardQueue, Conditions, Error as ModelError, Model, Sampling};

use candle_core::{DType, Device, Tensor};

use crate::{Decomposer, Error, Plane, PlateCard, Prediction, Result, Rgb};

/// Pixels on the long side of the pictures that the shipped weights were trained on.
const TRAINED_AT: usize = 128;

/// A loaded LayerDecomp and where it runs.
#[derive(Clone, Debug)]
pub struct Network {
    model: Model,
    device: Device,
    cards: Option<Arc<Cards>>,
    remarks: Arc<Mutex<Vec<String>>>,
}

/// The same model on a card, and the card for the plate's own pixels.
#[derive(Debug)]
struct Cards {
    model: CardQueue,
    plate: PlateCard,
}

impl Network {
    /// A model and the device that its weights are on.
    pub fn new(model: Model, device: Device) -> Network {
        Network {
            model,
            device,
            cards: None,
            remarks: Arc::default(),
        }
    }

    /// A model on the CPU, whose layers are drawn by the same weights on a card: `queue` is what came of giving them to it. Where
    /// it has no room for them or for a picture, or cards do not run such a model, the CPU draws, and [`Decomposer::remarks`] tell.
    ///
    /// # Errors
    /// If the card failed otherwise.
    pub fn on_card(
        model: Model,
        queue: peel_layerdecomp::Result<CardQueue>,
        plate: PlateCard,
    ) -> Result<Network> {
        let mut network = Network::new(model, Device::Cpu);
        match queue {
            Ok(model) => network.cards = Some(Arc::new(Cards { model, plate })),
            Err(ModelError::Card(CardError::OutOfMemory { .. })) => {
                network.remark("the card has no room for the model's weights; the processor runs it");
            }
            Err(ModelError::NotOnCard(what)) => {
                network.remark(format!(
                    "{what} does not run on a card; the processor runs the model"
                ));
            }
            Err(error) => return Err(Error::Model(error.to_string())),
        }
        Ok(network)
    }

    /// The model.
    pub fn model(&self) -> &Model {
        &self.model
    }

    fn remark(&self, text: impl Into<String>) {
        let mut remarks = self.remarks.lock().unwrap_or_else(PoisonError::into_inner);
        remarks.push(text.into());
    }

    /// Planes of one size as a tensor `(1, planes, height, width)`.
    fn tensor(&self, planes: &[Plane]) -> candle_core::Result<Tensor> {
        let (width, height) = planes.first().map_or((0, 0), Plane::size);
        let values: Vec<f32> = planes.iter().flat_map(|p| &p.values).copied().collect();
        Tensor::from_vec(values, (1, planes.len(), height, width), &self.device)
    }

    /// On the card, or where it has no room on the CPU.
    fn draw(
        &self,
        pictures: &[Conditions],
        near: &[Tensor],
        sampling: &Sampling,
        step: &dyn Fn(usize, usize) -> bool,
    ) -> peel_layerdecomp::Result<Vec<peel_layerdecomp::Prediction>> {
        if let Some(cards) = &self.cards {
            match cards.model.sample_each_near(pictures, near, sampling, step) {
                Err(ModelError::Card(CardError::OutOfMemory { .. })) => {
                    self.remark(
                        "the card has no room for a picture of this size; the processor ran the model",
                    );
                }
                answer => return answer,
            }
        }
        let count = pictures.len();
        let one = |(i, picture)| {
            let own = |done, calls| step((i * calls + done) / count, calls);
            self.model.sample_near(picture, near.get(i), sampling, &own)
        };
        pictures.iter().enumerate().map(one).collect()
    }
}

/// The planes of a tensor `(1, N, height, width)`.
fn planes<const N: usize>(tensor: &Tensor) -> candle_core::Result<[Plane; N]> {
    let (_, _, height, width) = tensor.dims4()?;
    let values = tensor
        .to_dtype(DType::F32)?
        .reshape((N, height * width))?
        .to_vec2::<f32>()?;
    let mut values = values.into_iter();
    Ok(std::array::from_fn(|_| Plane {
        width,
        height,
        values: values.next().unwrap_or_default(),
    }))
}

impl Decomposer for Network {
    fn decompose(
        &self,
        picture: &Rgb,
        mask: &Plane,
        sampling: &Sampling,
        progress: &dyn Fn(f32) -> bool,
    ) -> Result<Prediction> {
        let mut answers = self.decompose_each(&[(picture, mask)], sampling, progress)?;
        answers
            .pop()
            .ok_or_else(|| Error::Model("it gave no answer".into()))
    }

    fn decompose_each(
        &self,
        pictures: &[(&Rgb, &Plane)],
        sampling: &Sampling,
        progress: &dyn Fn(f32) -> bool,
    ) -> Result<Vec<Prediction>> {
        self.decompose_near(pictures, &[], sampling, progress)
    }

    fn decompose_near(
        &self,
        pictures: &[(&Rgb, &Plane)],
        near: &[Rgb],
        sampling: &Sampling,
        progress: &dyn Fn(f32) -> bool,
    ) -> Result<Vec<Prediction>> {
        let failed = |error: candle_core::Error| Error::Model(error.to_string());
        let conditions = pictures
            .iter()
            .map(|&(picture, mask)| {
                Ok(Conditions {
                    plate: self.tensor(picture)?,
                    mask: self.tensor(std::slice::from_ref(mask))?,
                })
            })
            .collect::<candle_core::Result<Vec<_>>>()
            .map_err(failed)?;
        let near = near
            .iter()
            .map(|near| self.tensor(near))
            .collect::<candle_core::Result<Vec<_>>>()
            .map_err(failed)?;
        let step = |done: usize, of: usize| progress(done as f32 / of.max(1) as f32);
        let answers = self.draw(&conditions, &near, sampling, &step);
        let answers = answers.map_err(|error| match error {
            ModelError::Cancelled => Error::Cancelled,
            other => Error::Model(other.to_string()),
        })?;
        answers
            .iter()
            .map(|answer| {
                Ok(Prediction {
                    background: planes(&answer.background)?,
                    foreground: planes(&answer.foreground)?,
                })
            })
            .collect::<candle_core::Result<_>>()
            .map_err(failed)
    }

    fn card(&self) -> Option<&PlateCard> {
        self.cards.as_ref().map(|cards| &cards.plate)
    }

    fn remarks(&self) -> Vec<String> {
        let mut remarks = self.remarks.lock().unwrap_or_else(PoisonError::into_inner);
        let mut told = std::mem::take(&mut *remarks);
        told.extend(self.cards.iter().flat_map(|cards| cards.model.remarks()));
        told
    }

    fn working_size(&self) -> usize {
        TRAINED_AT
    }

    fn digest(&self) -> String {
        self.model.digest().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn planes_keep_their_order_through_a_tensor() {
        let picture: Rgb =
            std::array::from_fn(|c| Plane::from_fn(4, 3, |x, y| (100 * c + 10 * y + x) as f32));
        let values: Vec<f32> = picture.iter().flat_map(|p| &p.values).copied().collect();
        let tensor = Tensor::from_vec(values, (1, 3, 3, 4), &Device::Cpu).unwrap();
        assert_eq!(planes::<3>(&tensor).unwrap(), picture);
        assert!(planes::<4>(&tensor).is_err());
    }
}
