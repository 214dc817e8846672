//! The network on a card: the same forward pass over `peel_kernels`, with weights uploaded once and the condition tokens' keys and
//! values kept over the steps.
//!
//! The samplers stay on the CPU: they see a denoiser, noise comes from the same counter, and what travels each step is two
//! small pictures. Activations between products are bf16, so results differ from the CPU's by about a hundredth of full scale
//! at most; [`CardModel`]'s test states the tolerance.

mod weights;

use candle_core::{DType, Device, Tensor};
use half::bf16;
use peel_kernels::ops::{
    self, Activation, Conv, Ending, Gate, Layout, Modulation, Place, Residual, Step, Tokens, Weight,
};
use peel_kernels::{Buffer, Card};

use self::weights::{Block, ConvBlock, Weights};
use crate::embed::{TIME_FEATURES, positions};
use crate::ops::norm::EPSILON;
use crate::pixels::{OUTPUTS, picture_inputs};
use crate::schedule::Path as NoisePath;
use crate::tighten::looking_twice;
use crate::tokenizer::{Stream, patches};
use crate::{
    Conditions, Config, Error, Head, Noisy, Pair, Prediction, Predicts, Result, Sampler, Sampling,
    TokenizerConfig,
};
use crate::{embed, sampler};

/// Channels of the picture that the stem takes, rounded up to what a card's convolution takes.
const PICTURE: usize = 8;

/// A pixel model on a card. Made from the same weights folder as [`crate::Model`].
#[derive(Debug)]
pub struct CardModel<C: Card> {
    card: C,
    config: Config,
    prefill: Option<usize>,
    path: NoisePath,
    weights: Weights<C>,
}

/// A plate that the card has digested.
struct Digested<C: Card> {
    /// The picture and the stem's features at 1/2, 1/4 and 1/8, channels last.
    skips: Vec<Buffer<C, bf16>>,
    /// Normalised keys and values of the condition tokens in each block.
    keys: Vec<Buffer<C, bf16>>,
    base: [Buffer<C, f32>; 2],
    /// Place and type of background and foreground tokens, (T, width).
    marks: [Buffer<C, f32>; 2],
    /// N, H, W
    size: (usize, usize, usize),
}

impl<C: Card> Digested<C> {
    /// Tokens of a stream.
    fn tokens(&self, patch: usize) -> usize {
        self.size.1 / patch * (self.size.2 / patch)
    }
}

fn values(t: &Tensor) -> Result<Vec<f32>> {
    Ok(t.flatten_all()?.to_dtype(DType::F32)?.to_vec1()?)
}

fn halves(t: &Tensor) -> Result<Vec<bf16>> {
    Ok(values(t)?.into_iter().map(bf16::from_f32).collect())
}

impl<C: Card> CardModel<C> {
    /// Uploads the weights of a folder.
    ///
    /// # Errors
    /// As [`crate::Model::load`]; [`Error::Card`] if the card fails, or the model is one that cards do not run: latents, all tokens
    /// attending to all, or the mask as a stream of its own.
    pub fn load(card: C, dir: &std::path::Path) -> Result<Self> {
        let (config, tensors) = crate::weights::tensors(dir)?;
        Self::new(card, &config, &tensors)
    }

    /// As [`CardModel::load`], from tensors by name.
    ///
    /// # Errors
    /// As [`CardModel::load`].
    pub fn new(
        card: C,
        config: &Config,
        tensors: &std::collections::BTreeMap<String, Tensor>,
    ) -> Result<Self> {
        let TokenizerConfig::Pixels {
            stem,
            prefill,
            head: Head::Skips,
            ..
        } = &config.tokenizer
        else {
            return Err(Error::NotOnCard("a latent model, or a head without skips"));
        };
        if !config.condition_cache {
            return Err(Error::NotOnCard("a model without condition_cache"));
        }
        if config.refine.is_some() {
            return Err(Error::NotOnCard("a model with refine"));
        }
        if !config.fold_mask {
            return Err(Error::NotOnCard("a model without fold_mask"));
        }
        let weights = Weights::upload(&card, config, *stem, tensors)?;
        Ok(Self {
            card,
            config: config.clone(),
            prefill: *prefill,
            path: config.diffusion.schedule.path(),
            weights,
        })
    }

    /// The configuration.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// As [`crate::Model::sample`]; tensors live on the CPU.
    ///
    /// # Errors
    /// As [`crate::Model::sample`], or if the card fails.
    pub fn sample(
        &self,
        c: &Conditions,
        opts: &Sampling,
        progress: &dyn Fn(usize, usize) -> bool,
    ) -> Result<Prediction> {
        if opts.sampler == Sampler::OneCall && self.config.diffusion.predicts == Predicts::Epsilon {
            return Err(Error::Config(
                "one call on zero noise says nothing of a model that predicts the noise".into(),
            ));
        }
        looking_twice(self.config.tighten, c, opts, progress, &|c, opts, progress| {
            let digested = self.digest(c)?;
            let (n, h, w) = digested.size;
            let sizes = [(n, 3, h, w), (n, 4, h, w)];
            let denoise = |z: &Noisy| self.clean(&digested, z);
            let layers = sampler::sample(opts, sizes, &self.path, &Device::Cpu, &denoise, progress)?;
            let picture = |t: &Tensor| t.affine(0.5, 0.5)?.clamp(0f32, 1f32);
            Ok(Prediction {
                background: picture(&layers.background)?,
                foreground: picture(&layers.foreground)?,
            })
        })
    }

    /// The stem and the condition pass of every block.
    fn digest(&self, c: &Conditions) -> Result<Digested<C>> {
        let (card, weights, d) = (&self.card, &self.weights, self.config.width);
        let stride = self.config.stride();
        let (n, _, h, w) = c.plate.dims4()?;
        if h == 0 || w == 0 || h % stride != 0 || w % stride != 0 {
            return Err(Error::Shape {
                what: "plate",
                expected: format!("(N, 3, H, W) with H and W multiples of {stride}"),
                found: c.plate.dims().to_vec(),
            });
        }
        let (full, base) = picture_inputs(c, self.prefill)?;
        let channels = full.dim(3)?;
        let full = full.pad_with_zeros(3, 0, PICTURE - channels)?;
        let mut skips = vec![card.put(&halves(&full)?)?];
        let mut size = [n, h, w, PICTURE];
        for stage in &weights.stem {
            let next = self.block(stage, &skips[skips.len() - 1], None, size, Step::Half)?;
            size = [n, size[1] / 2, size[2] / 2, stage.channels()];
            skips.push(next);
        }
        let deepest = skips.pop().ok_or(Error::NotOnCard("a stem without stages"))?;

        let grid = (h / stride, w / stride);
        let tokens = grid.0 * grid.1;
        let places = positions(grid.0, grid.1, d, &Device::Cpu)?;
        let mark = |streams: &[Stream]| -> Result<Buffer<C, f32>> {
            let mut sum: Option<Tensor> = None;
            for stream in streams {
                let own = places.broadcast_add(&weights.types.narrow(0, *stream as usize, 1)?)?;
                sum = Some(match sum {
                    None => own,
                    Some(sum) => sum.add(&own)?,
                });
            }
            match sum {
                Some(sum) => Ok(card.put(&values(&sum)?)?),
                None => Err(Error::NotOnCard("a stream without a mark")),
            }
        };
        let signed = c.mask.affine(2.0, -1.0)?;
        let mask = card.put(&halves(&patches(&signed, stride)?)?)?;
        let marks = mark(&[Stream::Plate, Stream::Mask])?;
        let rows = n * tokens;
        let of_marks = Residual {
            values: &marks,
            period: tokens,
        };
        let mask = ops::linear_gated(card, &mask, rows, &weights.mask, Some(of_marks), None)?;
        let of_mask = Residual {
            values: &mask,
            period: rows,
        };
        let mut c = ops::linear_gated(card, &deepest, rows, &weights.plate, Some(of_mask), None)?;

        let mut keys = Vec::with_capacity(weights.blocks.len());
        for block in &weights.blocks {
            let qkv = self.project(block, &c, &block.condition_attention, None, tokens)?;
            if let Some(rest) = &block.condition_rest {
                let own = Tokens {
                    values: &qkv,
                    samples: n,
                    tokens,
                };
                let found = self.attend(&own, None)?;
                let gate = |base| {
                    Some(Gate {
                        base,
                        time: None,
                        rows_of_sample: tokens,
                    })
                };
                c = self.add(&found, &block.out, c, gate(&rest.attention_gate))?;
                let plain = Modulation {
                    base: &rest.feed,
                    time: None,
                    rows_of_sample: tokens,
                };
                c = self.feed(block, c, &plain, gate(&rest.feed_gate))?;
            }
            keys.push(qkv);
        }
        Ok(Digested {
            skips,
            keys,
            base: [
                card.put(&values(&base.background)?)?,
                card.put(&values(&base.foreground)?)?,
            ],
            marks: [mark(&[Stream::Background])?, mark(&[Stream::Foreground])?],
            size: (n, h, w),
        })
    }

    /// The clean layers behind noisy ones.
    fn clean(&self, digested: &Digested<C>, z: &Noisy) -> Result<Pair> {
        let (card, weights, d) = (&self.card, &self.weights, self.config.width);
        let patch = self.config.stride();
        let (n, h, w) = digested.size;
        let tokens = digested.tokens(patch);

        let time = embed::times(&z.time, &Device::Cpu)?;
        debug_assert_eq!(time.dim(1)?, TIME_FEATURES);
        let time = ops::linear(
            card,
            &card.put(&halves(&time)?)?,
            n,
            &weights.time_in,
            Activation::Silu,
        )?;
        // (N, 2 halves, 3: shift, scale, gate, width)
        let time = ops::linear_gated(card, &time, n, &weights.time_out, None, None)?;

        let mut x = card.buffer(n * 2 * tokens * d)?;
        let streams = [
            (&z.background, 3, &weights.background),
            (&z.foreground, 4, &weights.foreground),
        ];
        for (stream, (noisy, channels, weight)) in streams.into_iter().enumerate() {
            let layout = Layout {
                pictures: n,
                channels,
                size: (h, w),
                patch,
            };
            let noisy = card.put(&values(noisy)?)?;
            let cut = ops::patchify(card, &noisy, layout, (1.0, 0.0))?;
            let place = Place {
                into: &x,
                first: stream * tokens,
                run: tokens,
                gap: tokens,
            };
            let marks = Residual {
                values: &digested.marks[stream],
                period: tokens,
            };
            ops::linear_gated_into(card, &cut, n * tokens, weight, Some(marks), None, &place)?;
        }

        let rows_of_sample = 2 * tokens;
        for (block, keys) in weights.blocks.iter().zip(&digested.keys) {
            let attention = Some((&time, 0, 6 * d));
            let qkv = self.project(block, &x, &block.noisy_attention.0, attention, rows_of_sample)?;
            let own = Tokens {
                values: &qkv,
                samples: n,
                tokens: rows_of_sample,
            };
            let seen = Tokens {
                values: keys,
                samples: n,
                tokens,
            };
            let found = self.attend(&own, Some(&seen))?;
            let gate = |base, at| {
                Some(Gate {
                    base,
                    time: Some((&time, at, 6 * d)),
                    rows_of_sample,
                })
            };
            x = self.add(&found, &block.out, x, gate(&block.noisy_attention.1, 2 * d))?;
            let modulation = Modulation {
                base: &block.noisy_feed.0,
                time: Some((&time, 3 * d, 6 * d)),
                rows_of_sample,
            };
            x = self.feed(block, x, &modulation, gate(&block.noisy_feed.1, 5 * d))?;
        }
        let plain = Modulation {
            base: &weights.no_modulation,
            time: None,
            rows_of_sample,
        };
        let said = ops::norm_modulate(card, &x, &plain, Some(tokens), EPSILON)?;
        let said = self.head(digested, &said)?;

        let of = (n, h * w, OUTPUTS);
        let with_base = self.config.diffusion.predicts == Predicts::X;
        let layer = |first: usize, channels: usize, base: &Buffer<C, f32>| -> Result<Tensor> {
            let y = ops::planes(card, &said, of, (first, channels), with_base.then_some(base))?;
            Ok(Tensor::from_vec(
                card.get(&y)?,
                (n, channels, h, w),
                &Device::Cpu,
            )?)
        };
        let said = Pair {
            background: layer(0, 3, &digested.base[0])?,
            foreground: layer(3, 4, &digested.base[1])?,
        };
        self.config.diffusion.predicts.clean(z, said, &self.path)
    }

    /// Queries, keys and values, the first two normalised.
    fn project(
        &self,
        block: &Block<C>,
        x: &Buffer<C, f32>,
        base: &Buffer<C, f32>,
        time: Option<(&Buffer<C, f32>, usize, usize)>,
        rows_of_sample: usize,
    ) -> Result<Buffer<C, bf16>> {
        let modulation = Modulation {
            base,
            time,
            rows_of_sample,
        };
        let normal = ops::norm_modulate(&self.card, x, &modulation, None, EPSILON)?;
        let rows = x.len() / self.config.width;
        let qkv = ops::linear(&self.card, &normal, rows, &block.qkv, Activation::None)?;
        ops::qk_norm(&self.card, &qkv, self.config.heads, self.features(), EPSILON)?;
        Ok(qkv)
    }

    /// Features of a head.
    fn features(&self) -> usize {
        self.config.width / self.config.heads
    }

    fn attend(&self, own: &Tokens<'_, C>, other: Option<&Tokens<'_, C>>) -> Result<Buffer<C, bf16>> {
        let found = ops::attention(&self.card, own, other, self.config.heads, self.features())?;
        Ok(found)
    }

    /// `x + gate (y Wᵀ + b)`
    fn add(
        &self,
        y: &Buffer<C, bf16>,
        weight: &Weight<C>,
        x: Buffer<C, f32>,
        gate: Option<Gate<'_, C>>,
    ) -> Result<Buffer<C, f32>> {
        let rows = x.len() / self.config.width;
        let residual = Residual {
            values: &x,
            period: rows,
        };
        Ok(ops::linear_gated(
            &self.card,
            y,
            rows,
            weight,
            Some(residual),
            gate,
        )?)
    }

    /// The feed-forward half of a block.
    fn feed(
        &self,
        block: &Block<C>,
        x: Buffer<C, f32>,
        modulation: &Modulation<'_, C>,
        gate: Option<Gate<'_, C>>,
    ) -> Result<Buffer<C, f32>> {
        let rows = x.len() / self.config.width;
        let normal = ops::norm_modulate(&self.card, &x, modulation, None, EPSILON)?;
        let hidden = ops::linear(&self.card, &normal, rows, &block.up, Activation::Gelu)?;
        self.add(&hidden, &block.down, x, gate)
    }

    /// Convolution, group norm, SiLU.
    fn block(
        &self,
        block: &ConvBlock<C>,
        x: &Buffer<C, bf16>,
        skip: Option<(&Buffer<C, bf16>, usize)>,
        size: [usize; 4],
        step: Step,
    ) -> Result<Buffer<C, bf16>> {
        let conv = Conv {
            x,
            skip,
            size,
            weight: &block.conv,
            step,
        };
        let Ending::Bf16(y) = ops::conv3x3(&self.card, &conv, Activation::None, false)? else {
            return Err(Error::NotOnCard(
                "a convolution that ends in f32 where bf16 was asked for",
            ));
        };
        let affine = (&block.norm_weight, &block.norm_bias);
        ops::group_norm(
            &self.card,
            &y,
            (size[0], block.groups),
            affine,
            EPSILON,
            Activation::Silu,
        )?;
        Ok(y)
    }

    /// Output tokens (N, T, 2 width) to (N, H, W, [`OUTPUTS`]).
    fn head(&self, digested: &Digested<C>, tokens: &Buffer<C, bf16>) -> Result<Buffer<C, f32>> {
        let (card, head) = (&self.card, &self.weights.head);
        let patch = self.config.stride();
        let (n, h, w) = digested.size;
        let rows = n * digested.tokens(patch);
        let mut x = ops::linear(card, tokens, rows, &head.tokens, Activation::None)?;
        let mut size = [n, h / patch, w / patch, head.tokens.bias.len()];
        for ((up, refine), skip) in head.levels.iter().zip(digested.skips[1..].iter().rev()) {
            let beside = skip.len() / (n * size[1] * size[2] * 4);
            x = self.block(up, &x, Some((skip, beside)), size, Step::Double)?;
            size = [n, 2 * size[1], 2 * size[2], up.channels()];
            x = self.block(refine, &x, None, size, Step::Same)?;
        }
        let fine = Conv {
            x: &x,
            skip: Some((&digested.skips[0], PICTURE)),
            size,
            weight: &head.fine,
            step: Step::Double,
        };
        let Ending::Bf16(x) = ops::conv3x3(card, &fine, Activation::Silu, false)? else {
            return Err(Error::NotOnCard(
                "a convolution that ends in f32 where bf16 was asked for",
            ));
        };
        let size = [n, h, w, head.fine.bias.len()];
        let out = Conv {
            x: &x,
            skip: None,
            size,
            weight: &head.out,
            step: Step::Same,
        };
        match ops::conv3x3(card, &out, Activation::None, true)? {
            Ending::F32(y) => Ok(y),
            Ending::Bf16(_) => Err(Error::NotOnCard(
                "a convolution that ends in bf16 where f32 was asked for",
            )),
        }
    }
}

#[cfg(feature = "cuda")]
impl CardModel<peel_kernels::Cuda> {
    /// Opens the first NVIDIA card and uploads the weights of a folder.
    ///
    /// # Errors
    /// As [`CardModel::load`], or if there is no card.
    pub fn on_cuda(dir: &std::path::Path) -> Result<Self> {
        Self::load(peel_kernels::Cuda::open(0)?, dir)
    }
}
