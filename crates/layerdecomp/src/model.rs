//! The model: conditions and noisy layers in, predicted layers out.

use std::path::Path;
use std::sync::Arc;

use candle_core::{DType, Device, Tensor};
use candle_nn::VarBuilder;

use crate::dit::{Context, Dit};
use crate::latent::Latent;
use crate::pixels::{Channels, Hints, Pixels};
use crate::refine::Refiner;
use crate::sampler::{self, Sampler, Sampling};
use crate::schedule::Path as NoisePath;
use crate::tighten::looking_twice;
use crate::tokenizer::{Encoded, Streams, Tokenizer};
use crate::{Config, Error, Pair, Predicts, Result, TokenizerConfig, weights};

/// What the decomposition is asked about.
#[derive(Debug, Clone)]
pub struct Conditions {
    /// The plate, `(N, 3, H, W)`, display-referred, 0..1.
    pub plate: Tensor,
    /// The object's mask, `(N, 1, H, W)`, 0..1, 1 on the object.
    pub mask: Tensor,
}

/// The noisy layers of a denoising step: `z = a x + b noise`, with the levels a and b of the [`crate::Schedule`] at the
/// time; `z = s x + (1 - s) noise` over the straight line. In the space of [`Pair`]: the sizes below are a pixel model's, see
/// [`Model::encode`] for a latent one's.
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
    refiner: Option<Refiner>,
    path: NoisePath,
}

impl Model {
    /// Builds the network over the variables of `vb`: trainable if they are, as with [`crate::seeded_builder`] or
    /// [`VarBuilder::from_varmap`].
    ///
    /// # Errors
    /// If the configuration contradicts itself or a variable is missing or has another shape.
    pub fn new(config: &Config, vb: VarBuilder) -> Result<Self> {
        config.check()?;
        let tokenizer: Arc<dyn Tokenizer> = match &config.tokenizer {
            TokenizerConfig::Pixels {
                patch,
                stem,
                fine,
                head,
                ..
            } => {
                let (stem, fine) = (*stem, *fine);
                let hints = Hints::of(&config.tokenizer);
                let channels = Channels { stem, fine };
                Arc::new(Pixels::new(config.width, *patch, channels, hints, *head, &vb)?)
            }
            TokenizerConfig::Latent { patch, vae } => Arc::new(Latent::new(config.width, *patch, vae, &vb)?),
        };
        Ok(Self {
            config: config.clone(),
            digest: String::new(),
            device: vb.device().clone(),
            tokenizer,
            streams: Streams::new(config, &vb)?,
            dit: Dit::new(config, &vb)?,
            refiner: (config.refine.as_ref())
                .map(|refine| Refiner::new(refine, &vb.pp("refine")))
                .transpose()?,
            path: config.diffusion.schedule.path(),
        })
    }

    /// Loads a weights folder: `config.ron`, `names.txt` and `model.safetensors` (f32, f16, bf16, or whole numbers for linear
    /// layers; computed in f32).
    ///
    /// # Errors
    /// If a file is missing, damaged, or does not fit the others; every tensor that is missing, unknown or of another shape
    /// is listed.
    pub fn load(dir: &Path, device: &Device) -> Result<Self> {
        weights::load(dir, device, &weights::Loading::default())
    }

    /// As [`Model::load`], with a choice of what linear layers keep, and progress.
    ///
    /// # Errors
    /// As [`Model::load`], or [`Error::Cancelled`].
    pub fn load_with(dir: &Path, device: &Device, loading: &weights::Loading<'_>) -> Result<Self> {
        weights::load(dir, device, loading)
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

    /// What the network says of noisy layers, in the terms of [`crate::Diffusion::predicts`]; differentiable. Train on this
    /// with [`Predicts::target`].
    ///
    /// # Errors
    /// If shapes disagree.
    pub fn output(&self, c: &Conditioned, z: &Noisy) -> Result<Pair> {
        let (n, h, w) = c.size;
        let [b, f] = self.tokenizer.sizes(h, w);
        expect("noisy background", &z.background, &[n, b.0, b.1, b.2])?;
        expect("noisy foreground", &z.foreground, &[n, f.0, f.1, f.2])?;
        expect("time", &z.time, &[n])?;
        let tokens = self.entering(c, z)?;
        let tokens = self.dit.forward(&c.context, tokens, &z.time)?;
        let split = tokens.dim(1)? / 2;
        let (background, foreground) = (tokens.narrow(1, 0, split)?, tokens.narrow(1, split, split)?);
        let said = self.tokenizer.decode(&background, &foreground, &c.encoded)?;
        match &c.encoded.base {
            Some(base) if self.config.diffusion.predicts == Predicts::X => Ok(Pair {
                background: base.background.add(&said.background)?,
                foreground: base.foreground.add(&said.foreground)?,
            }),
            _ => Ok(said),
        }
    }

    /// Noisy tokens as they enter the transformer: those of the background, then those of the foreground.
    fn entering(&self, c: &Conditioned, z: &Noisy) -> Result<Tensor> {
        let entering = self.config.diffusion.entering(z, &self.path)?;
        let (background, foreground) = self.tokenizer.noisy(&entering)?;
        Ok(self.streams.noisy(&background, &foreground, &c.encoded)?)
    }

    /// How much of the size of the transformer's tokens, behind its last block, is difference between places: 0 to 1, for these
    /// conditions in one call. Near 0 it says the same everywhere, and the network is no more than its convolutions: it is ill,
    /// however well it scores.
    ///
    /// # Errors
    /// If shapes disagree.
    pub fn spread(&self, conditions: &Conditions) -> Result<f32> {
        let c = self.condition(conditions)?;
        let (n, h, w) = c.size;
        let [b, f] = self.tokenizer.sizes(h, w);
        let nothing = |(channels, h, w)| Tensor::zeros((n, channels, h, w), DType::F32, &self.device);
        let z = Noisy {
            background: nothing(b)?,
            foreground: nothing(f)?,
            time: Tensor::zeros(n, DType::F32, &self.device)?,
        };
        Ok(self.dit.spread(&c.context, self.entering(&c, &z)?, &z.time)?)
    }

    /// The clean layers behind noisy ones, in the same space; differentiable.
    ///
    /// # Errors
    /// If shapes disagree.
    pub fn clean(&self, c: &Conditioned, z: &Noisy) -> Result<Pair> {
        let said = self.output(c, z)?;
        self.config.diffusion.predicts.clean(z, said, &self.path)
    }

    /// Layers as pictures in 0..1, `(N, 3, H, W)` and `(N, 4, H, W)`, to the space in which the model diffuses.
    ///
    /// # Errors
    /// If shapes do not fit.
    pub fn encode(&self, pictures: &Prediction) -> Result<Pair> {
        self.tokenizer.encode_layers(pictures)
    }

    /// From the space in which the model diffuses to pictures, 0..1 nominally; differentiable.
    ///
    /// # Errors
    /// If shapes do not fit.
    pub fn decode(&self, layers: &Pair) -> Result<Prediction> {
        self.tokenizer.decode_layers(layers)
    }

    /// One network call on digested conditions; differentiable.
    ///
    /// # Errors
    /// If shapes disagree.
    pub fn denoise(&self, c: &Conditioned, z: &Noisy) -> Result<Prediction> {
        self.decode(&self.clean(c, z)?)
    }

    /// One network call; differentiable.
    ///
    /// # Errors
    /// If shapes disagree.
    pub fn predict(&self, c: &Conditions, z: &Noisy) -> Result<Prediction> {
        self.denoise(&self.condition(c)?, z)
    }

    /// How much finer than the model its refiner works, if it has one.
    #[must_use]
    pub fn refines(&self) -> Option<usize> {
        self.refiner.as_ref().map(Refiner::scale)
    }

    /// Alpha of the foreground, `(N, 1, s H, s W)` and not clamped, corrected at [`Model::refines`] `s` times the resolution of
    /// the `prediction`, `(N, _, H, W)`; `c` holds plate and mask at the finer size. Deterministic and differentiable, in the
    /// prediction too: detach that to train the refiner alone.
    ///
    /// # Errors
    /// If the model has no refiner, shapes disagree, or the finer sides are not multiples of 4.
    pub fn refine(&self, c: &Conditions, prediction: &Prediction) -> Result<Tensor> {
        let Some(refiner) = &self.refiner else {
            return Err(Error::Config(format!(
                "{} has no refiner: its configuration says nothing of `refine`, or its weights hold none",
                self.config.name
            )));
        };
        let (n, _, h, w) = prediction.background.dims4()?;
        let (h, w) = (h * refiner.scale(), w * refiner.scale());
        if h % 4 != 0 || w % 4 != 0 {
            return Err(Error::Shape {
                what: "picture to refine",
                expected: "sides that are multiples of 4".into(),
                found: vec![h, w],
            });
        }
        expect("plate to refine", &c.plate, &[n, 3, h, w])?;
        expect("mask to refine", &c.mask, &[n, 1, h, w])?;
        Ok(refiner.forward(c, prediction)?)
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
        self.sample_near(c, None, opts, progress)
    }

    /// As [`Model::sample`], started from a background that is known: what the first call believes of the background, the known one
    /// takes the place of, so that the noise of the calls after it lies around that. `near` is (N, 3, H, W), 0 to 1. One call has
    /// none after it, and takes nothing from it.
    ///
    /// # Errors
    /// As [`Model::sample`].
    pub fn sample_near(
        &self,
        c: &Conditions,
        near: Option<&Tensor>,
        opts: &Sampling,
        progress: &dyn Fn(usize, usize) -> bool,
    ) -> Result<Prediction> {
        if opts.sampler == Sampler::OneCall && self.config.diffusion.predicts == Predicts::Epsilon {
            return Err(Error::Config(
                "one call on zero noise says nothing of a model that predicts the noise; use DDIM, DPM-Solver++ or UniPC".into(),
            ));
        }
        looking_twice(self.config.tighten, c, opts, progress, &|c, opts, progress| {
            let conditioned = self.condition(c)?;
            let (n, h, w) = conditioned.size;
            let sizes = self.tokenizer.sizes(h, w).map(|(c, h, w)| (n, c, h, w));
            let near = match near.filter(|_| opts.calls() > 1) {
                Some(background) => {
                    expect("background to start from", background, &[n, 3, h, w])?;
                    let alpha = Tensor::zeros((n, 4, h, w), background.dtype(), background.device())?;
                    let pictures = Prediction {
                        background: background.clone(),
                        foreground: alpha,
                    };
                    Some(self.encode(&pictures)?.background)
                }
                None => None,
            };
            let near = std::cell::Cell::new(near);
            let denoise = |z: &Noisy| {
                let mut believed = self.clean(&conditioned, z)?;
                if let Some(background) = near.take() {
                    believed.background = background;
                }
                Ok(believed)
            };
            let layers = sampler::sample(opts, sizes, &self.path, &self.device, &denoise, progress)?;
            let pictures = self.decode(&layers)?;
            Ok(Prediction {
                background: pictures.background.clamp(0f32, 1f32)?,
                foreground: pictures.foreground.clamp(0f32, 1f32)?,
            })
        })
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

#[cfg(test)]
mod tests {
    use candle_nn::VarMap;

    use super::*;
    use crate::{Noise, Spacing, TINY, seeded_builder};

    /// A model that heeds what it is given, and conditions for it.
    fn stirred() -> (Model, Conditions) {
        let config = Config {
            width: 24,
            depth: 2,
            heads: 2,
            ..Config::from_ron(TINY).unwrap()
        };
        let map = VarMap::new();
        let model = Model::new(&config, seeded_builder(&map, 5, &Device::Cpu)).unwrap();
        for (i, var) in map.all_vars().iter().enumerate() {
            // Layers that start at zero would hide what they are given.
            let stirred = Noise::new(i as u64, 1).normal_tensor(var.shape().clone(), &Device::Cpu);
            let stirred = (var.as_tensor() + (stirred.unwrap() * 0.05).unwrap()).unwrap();
            var.set(&stirred).unwrap();
        }
        let c = Conditions {
            plate: picture(3, 1),
            mask: picture(1, 2).round().unwrap(),
        };
        (model, c)
    }

    fn picture(c: usize, seed: u64) -> Tensor {
        let values = Noise::new(seed, 0).uniform(c * 32 * 48, 0.0, 1.0);
        Tensor::from_vec(values, (1, c, 32, 48), &Device::Cpu).unwrap()
    }

    /// Sampling digests the conditions once; digesting them again before every call gives the same bytes.
    #[test]
    fn the_condition_cache_changes_nothing() {
        let (model, c) = stirred();
        for sampler in [
            Sampler::OneCall,
            Sampler::Ddim,
            Sampler::DpmSolver(Spacing::Karras),
            Sampler::UniPc(Spacing::Uniform),
        ] {
            let opts = Sampling {
                sampler,
                steps: 5,
                seed: 3,
            };
            let cached = model.sample(&c, &opts, &|_, _| true).unwrap();
            let anew = |z: &Noisy| model.clean(&model.condition(&c)?, z);
            let sizes = [(1, 3, 32, 48), (1, 4, 32, 48)];
            let layers =
                sampler::sample(&opts, sizes, &model.path, &Device::Cpu, &anew, &|_, _| true).unwrap();
            let recomputed = model.decode(&layers).unwrap();
            let flat = |t: &Tensor| {
                let t = t.clamp(0f32, 1f32).unwrap().flatten_all().unwrap();
                t.to_vec1::<f32>().unwrap()
            };
            assert_eq!(
                flat(&cached.background),
                flat(&recomputed.background),
                "{sampler}"
            );
            assert_eq!(
                flat(&cached.foreground),
                flat(&recomputed.foreground),
                "{sampler}"
            );
        }
    }

    #[test]
    fn sampling_near_a_background_takes_it_from_there() {
        let (model, c) = stirred();
        let opts = |sampler, steps| Sampling {
            sampler,
            steps,
            seed: 3,
        };
        let flat = |p: &Prediction| p.background.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        let near = |background: Option<&Tensor>, opts: &Sampling| {
            flat(&model.sample_near(&c, background, opts, &|_, _| true).unwrap())
        };
        let two = opts(Sampler::Ddim, 2);
        let (one, other) = (picture(3, 7), picture(3, 8));
        assert_eq!(
            near(None, &two),
            flat(&model.sample(&c, &two, &|_, _| true).unwrap())
        );
        assert_eq!(near(Some(&one), &two), near(Some(&one), &two));
        assert_ne!(near(Some(&one), &two), near(None, &two));
        assert_ne!(near(Some(&one), &two), near(Some(&other), &two));
        // What the first call itself believes, taken for the known background, changes nothing.
        let conditioned = model.condition(&c).unwrap();
        let sizes = model.tokenizer.sizes(32, 48).map(|(c, h, w)| (1, c, h, w));
        let start = sampler::begin(&two, sizes, &model.path, &Device::Cpu).unwrap();
        let first = Noisy {
            background: start.background,
            foreground: start.foreground,
            time: Tensor::zeros(1, DType::F32, &Device::Cpu).unwrap(),
        };
        let believed = model.decode(&model.clean(&conditioned, &first).unwrap()).unwrap();
        let apart = near(Some(&believed.background), &two)
            .iter()
            .zip(near(None, &two))
            .fold(0f32, |most, (a, b)| most.max((a - b).abs()));
        assert!(apart < 1e-5, "{apart}");
        // One call has none after it.
        let once = opts(Sampler::OneCall, 1);
        assert_eq!(near(Some(&one), &once), near(None, &once));
        let wide = Tensor::zeros((1, 3, 32, 32), DType::F32, &Device::Cpu).unwrap();
        assert!(model.sample_near(&c, Some(&wide), &two, &|_, _| true).is_err());
    }
}
