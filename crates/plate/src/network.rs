//! LayerDecomp as a [`Decomposer`]: planes to tensors and back.

use peel_layerdecomp::{Conditions, Error as ModelError, Model, Sampling};

use candle_core::{DType, Device, Tensor};

use crate::{Decomposer, Error, Plane, Prediction, Result, Rgb};

/// Pixels on the long side of the pictures that the shipped weights were trained on.
const TRAINED_AT: usize = 128;

/// A loaded LayerDecomp and where it runs.
#[derive(Clone, Debug)]
pub struct Network {
    model: Model,
    device: Device,
    #[cfg(feature = "cuda")]
    card: Option<std::sync::Arc<peel_layerdecomp::CudaModel>>,
}

impl Network {
    /// A model and the device that its weights are on.
    pub fn new(model: Model, device: Device) -> Network {
        Network {
            model,
            device,
            #[cfg(feature = "cuda")]
            card: None,
        }
    }

    /// A model on the CPU, whose layers are drawn by the same weights, from their folder, on the first NVIDIA card.
    ///
    /// # Errors
    /// If there is no card, it has no room, or it does not run this kind of model.
    #[cfg(feature = "cuda")]
    pub fn on_cuda(model: Model, folder: &std::path::Path) -> Result<Network> {
        let card = peel_layerdecomp::CudaModel::on_cuda(folder).map_err(|e| Error::Model(e.to_string()))?;
        Ok(Network {
            card: Some(std::sync::Arc::new(card)),
            ..Network::new(model, Device::Cpu)
        })
    }

    /// The model.
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// Planes of one size as a tensor `(1, planes, height, width)`.
    fn tensor(&self, planes: &[Plane]) -> candle_core::Result<Tensor> {
        let (width, height) = planes.first().map_or((0, 0), Plane::size);
        let values: Vec<f32> = planes.iter().flat_map(|p| &p.values).copied().collect();
        Tensor::from_vec(values, (1, planes.len(), height, width), &self.device)
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
        let failed = |error: candle_core::Error| Error::Model(error.to_string());
        let conditions = Conditions {
            plate: self.tensor(picture).map_err(failed)?,
            mask: self.tensor(std::slice::from_ref(mask)).map_err(failed)?,
        };
        let step = |done: usize, of: usize| progress(done as f32 / of.max(1) as f32);
        #[cfg(feature = "cuda")]
        let answer = match &self.card {
            Some(card) => card.sample(&conditions, sampling, &step),
            None => self.model.sample(&conditions, sampling, &step),
        };
        #[cfg(not(feature = "cuda"))]
        let answer = self.model.sample(&conditions, sampling, &step);
        let answer = answer.map_err(|error| match error {
            ModelError::Cancelled => Error::Cancelled,
            other => Error::Model(other.to_string()),
        })?;
        Ok(Prediction {
            background: planes(&answer.background).map_err(failed)?,
            foreground: planes(&answer.foreground).map_err(failed)?,
        })
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
