//! The model: conditions and noisy layers in, predicted layers out.

use std::path::Path;

use candle_core::{DType, Device, Tensor};
use candle_nn::VarBuilder;

use crate::{Config, Error, Result};

/// What the decomposition is asked about.
#[derive(Debug, Clone)]
pub struct Conditions {
    /// The plate, `(N, 3, H, W)`, display-referred, 0..1.
    pub plate: Tensor,
    /// The object's mask, `(N, 1, H, W)`, 0..1, 1 on the object.
    pub mask: Tensor,
}

/// The noisy layers of a denoising step: `z = s x + (1 - s) noise`, `s` being the time.
#[derive(Debug, Clone)]
pub struct Noisy {
    /// Background, `(N, 3, H, W)`, -1..1 where clean.
    pub background: Tensor,
    /// Foreground, `(N, 4, H, W)`, premultiplied RGBA, -1..1 where clean.
    pub foreground: Tensor,
    /// Time of each sample, `(N,)`, f32: 0 is pure noise, 1 is clean.
    pub time: Tensor,
}

/// The clean layers that the network believes in.
#[derive(Debug, Clone)]
pub struct Prediction {
    /// Background, `(N, 3, H, W)`, display-referred, 0..1 nominally.
    pub background: Tensor,
    /// Foreground, `(N, 4, H, W)`, premultiplied RGBA, 0..1 nominally.
    pub foreground: Tensor,
}

/// How layers are drawn from noise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sampler {
    /// One network call on zero noise: deterministic, the mean of what could be there.
    OneCall,
    /// DDIM without added noise (eta 0).
    Ddim,
}

/// A sampler with its settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sampling {
    /// Which sampler.
    pub sampler: Sampler,
    /// Network calls; ignored by [`Sampler::OneCall`].
    pub steps: usize,
    /// Seed of the noise.
    pub seed: u64,
}

/// LayerDecomp.
#[derive(Debug, Clone)]
pub struct Model {
    config: Config,
    digest: String,
}

impl Model {
    /// Builds the network over the variables of `vb`.
    ///
    /// # Errors
    /// If the configuration is inconsistent or a variable is missing or has the wrong shape.
    pub fn new(config: &Config, _vb: VarBuilder) -> Result<Self> {
        config.check()?;
        Ok(Self { config: config.clone(), digest: String::new() })
    }

    /// Loads a weights folder.
    ///
    /// # Errors
    /// If a file is missing, damaged, or does not fit the configuration.
    pub fn load(dir: &Path, _device: &Device) -> Result<Self> {
        Err(Error::Config(format!("{}: being written", dir.display())))
    }

    /// The configuration.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// BLAKE3 of the weights file in hexadecimal; empty for a model that was built, not loaded.
    #[must_use]
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// One network call.
    ///
    /// # Errors
    /// If shapes disagree.
    pub fn predict(&self, _c: &Conditions, _z: &Noisy) -> Result<Prediction> {
        Err(Error::Config("being written".into()))
    }

    /// Draws layers.
    ///
    /// # Errors
    /// If shapes disagree, or [`Error::Cancelled`].
    pub fn sample(
        &self,
        _c: &Conditions,
        _opts: &Sampling,
        _progress: &dyn Fn(usize, usize) -> bool,
    ) -> Result<Prediction> {
        Err(Error::Config("being written".into()))
    }
}

/// Writes weights.
///
/// # Errors
/// If a file cannot be written.
pub fn save(_dir: &Path, _vars: &candle_nn::VarMap, _dtype: DType) -> Result<()> {
    Err(Error::Config("being written".into()))
}

/// Fills the masked hole.
///
/// # Errors
/// If shapes disagree.
pub fn push_pull(_values: &Tensor, _mask: &Tensor, _dilate: usize) -> Result<Tensor> {
    Err(Error::Config("being written".into()))
}

/// Deterministic initial weights: a builder over `map`.
#[must_use]
pub fn seeded_builder(map: &candle_nn::VarMap, seed: u64, device: &Device) -> VarBuilder<'static> {
    let _ = seed;
    VarBuilder::from_varmap(map, DType::F32, device)
}
