//! The model: conditions and noisy layers in, predicted layers out.

use std::path::Path;
use std::sync::Arc;

use candle_core::{Device, Tensor};
use candle_nn::VarBuilder;

use crate::dit::{Context, Dit};
use crate::pixels::Pixels;
use crate::sampler::{self, Sampling};
use crate::tokenizer::{Encoded, Streams, Tokenizer};
use crate::{Config, Error, Result, TokenizerConfig, weights};

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

/// Conditions that the network has digested, to be reused over steps and samples.
#[derive(Debug, Clone)]
pub struct Conditioned {
    encoded: Encoded,
    context: Context,
    /// N, H, W
    size: (usize, usize, usize),
}

/// LayerDecomp: the network with its configuration.
#[derive(Debug, Clone)]
pub struct Model {
    config: Config,
    digest: String,
    device: Device,
    tokenizer: Arc<dyn Tokenizer>,
    streams: Streams,
    dit: Dit,
}

impl Model {
    /// Builds the network over the variables of `vb`: trainable if they are, as with [`crate::seeded_builder`] or
    /// [`VarBuilder::from_varmap`].
    ///
    /// # Errors
    /// If the configuration contradicts itself or a variable is missing or has another shape.
    pub fn new(config: &Config, vb: VarBuilder) -> Result<Self> {
        config.check()?;
        let tokenizer = match config.tokenizer {
            TokenizerConfig::Pixels { patch, stem, prefill } => {
                Arc::new(Pixels::new(config.width, patch, stem, prefill, &vb)?)
            }
        };
        Ok(Self {
            config: config.clone(),
            digest: String::new(),
            device: vb.device().clone(),
            tokenizer,
            streams: Streams::new(config, &vb)?,
            dit: Dit::new(config, &vb)?,
        })
    }

    /// Loads a weights folder: `config.ron`, `names.txt` and `model.safetensors` (f32, f16 or bf16; computed in f32).
    ///
    /// # Errors
    /// If a file is missing, damaged, or does not fit the others; every tensor that is missing, unknown or of another shape
    /// is listed.
    pub fn load(dir: &Path, device: &Device) -> Result<Self> {
        weights::load(dir, device)
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

    pub(crate) fn with_digest(self, digest: String) -> Self {
        Self { digest, ..self }
    }

    /// Digests a plate and its mask. With `condition_cache` this holds the keys and values of all blocks.
    ///
    /// # Errors
    /// If shapes disagree or are not multiples of [`Config::stride`].
    pub fn condition(&self, c: &Conditions) -> Result<Conditioned> {
        let stride = self.config.stride();
        let size = match *c.plate.dims() {
            [n, 3, h, w] if n > 0 && h > 0 && w > 0 && h % stride == 0 && w % stride == 0 => (n, h, w),
            _ => {
                return Err(Error::Shape {
                    what: "plate",
                    expected: format!("(N, 3, H, W) with H and W multiples of {stride}"),
                    found: c.plate.dims().to_vec(),
                });
            }
        };
        expect("mask", &c.mask, &[size.0, 1, size.1, size.2])?;
        let encoded = self.tokenizer.conditions(c)?;
        let context = self.dit.context(self.streams.conditions(&encoded)?)?;
        Ok(Conditioned {
            encoded,
            context,
            size,
        })
    }

    /// One network call on digested conditions; differentiable.
    ///
    /// # Errors
    /// If shapes disagree.
    pub fn denoise(&self, c: &Conditioned, z: &Noisy) -> Result<Prediction> {
        let (n, h, w) = c.size;
        expect("noisy background", &z.background, &[n, 3, h, w])?;
        expect("noisy foreground", &z.foreground, &[n, 4, h, w])?;
        expect("time", &z.time, &[n])?;
        let (background, foreground) = self.tokenizer.noisy(z)?;
        let tokens = self.streams.noisy(&background, &foreground, &c.encoded)?;
        let tokens = self.dit.forward(&c.context, tokens, &z.time)?;
        let split = background.dim(1)?;
        let (background, foreground) = (tokens.narrow(1, 0, split)?, tokens.narrow(1, split, split)?);
        Ok(self.tokenizer.decode(&background, &foreground, &c.encoded)?)
    }

    /// One network call; differentiable.
    ///
    /// # Errors
    /// If shapes disagree.
    pub fn predict(&self, c: &Conditions, z: &Noisy) -> Result<Prediction> {
        self.denoise(&self.condition(c)?, z)
    }

    /// Draws layers. `progress(done, calls)` is told of every network call and cancels by returning false. The same input,
    /// settings and weights give the same bytes, whatever the number of threads and the batch.
    ///
    /// # Errors
    /// If shapes disagree, or [`Error::Cancelled`].
    pub fn sample(
        &self,
        c: &Conditions,
        opts: &Sampling,
        progress: &dyn Fn(usize, usize) -> bool,
    ) -> Result<Prediction> {
        let conditioned = self.condition(c)?;
        let denoise = |z: &Noisy| self.denoise(&conditioned, z);
        sampler::sample(opts, conditioned.size, &self.device, &denoise, progress)
    }
}

fn expect(what: &'static str, tensor: &Tensor, dims: &[usize]) -> Result<()> {
    if tensor.dims() == dims {
        return Ok(());
    }
    Err(Error::Shape {
        what,
        expected: format!("{dims:?}"),
        found: tensor.dims().to_vec(),
    })
}
