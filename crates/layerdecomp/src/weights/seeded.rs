//! New weights, started from a seed.

use std::sync::PoisonError;

use candle_core::{DType, Device, Shape, Tensor, Var};
use candle_nn::var_builder::SimpleBackend;
use candle_nn::{Init, VarBuilder, VarMap};

use super::dims;
use crate::noise::Noise;

/// A builder that puts variables into `map`, started from `seed`: the same seed gives the same weights everywhere. Variables
/// that the map has already are used as they are.
#[must_use]
pub fn seeded_builder(map: &VarMap, seed: u64, device: &Device) -> VarBuilder<'static> {
    let backend = Seeded {
        map: map.clone(),
        seed,
    };
    VarBuilder::from_backend(Box::new(backend), DType::F32, device.clone())
}

struct Seeded {
    map: VarMap,
    seed: u64,
}

impl SimpleBackend for Seeded {
    fn get(
        &self,
        shape: Shape,
        name: &str,
        init: Init,
        dtype: DType,
        device: &Device,
    ) -> candle_core::Result<Tensor> {
        let mut vars = self.map.data().lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(var) = vars.get(name) {
            if var.shape() != &shape {
                candle_core::bail!(
                    "{name}: wanted {}, found {}",
                    dims(shape.dims()),
                    dims(var.dims())
                );
            }
            return Ok(var.as_tensor().clone());
        }
        // Each variable its own sequence, by name: adding one does not change the others.
        let digest = blake3::hash(name.as_bytes());
        let stream = u64::from_le_bytes(std::array::from_fn(|i| digest.as_bytes()[i]));
        let (noise, count) = (Noise::new(self.seed, stream), shape.elem_count());
        let values = match init {
            Init::Const(value) => vec![value as f32; count],
            Init::Uniform { lo, up } => noise.uniform(count, lo as f32, up as f32),
            Init::Randn { mean, stdev } => noise
                .normal(count)
                .into_iter()
                .map(|v| (stdev as f32).mul_add(v, mean as f32))
                .collect(),
            Init::Kaiming { .. } => candle_core::bail!("{name}: Kaiming starts are not used here"),
        };
        let var = Var::from_tensor(&Tensor::from_vec(values, shape, device)?.to_dtype(dtype)?)?;
        let tensor = var.as_tensor().clone();
        vars.insert(name.to_string(), var);
        Ok(tensor)
    }

    fn get_unchecked(&self, name: &str, _: DType, _: &Device) -> candle_core::Result<Tensor> {
        candle_core::bail!("{name}: asked for without a shape")
    }

    fn contains_tensor(&self, name: &str) -> bool {
        self.map
            .data()
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .contains_key(name)
    }
}
