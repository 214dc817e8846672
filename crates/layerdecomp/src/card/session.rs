//! What a card keeps for pictures of one size: one piece of memory, and the launches over it, written down once.

use candle_core::{DType, Device, Tensor};
use half::bf16;
use peel_kernels::{Arena, Buffer, Card};

use super::forward::{Digested, Inputs, Network};
use crate::embed::{self, TIME_FEATURES, positions};
use crate::tokenizer::Stream;
use crate::{Error, Noisy, Pair, Predicts, Result, TokenizerConfig};

/// Everything that a batch of pictures of one size needs on a card, reused for the next batch of that size.
#[derive(Debug)]
pub(super) struct Session<C: Card> {
    /// N, H, W
    pub size: [usize; 3],
    inputs: Inputs<Arena<C>>,
    /// Keys, values and skips are read by the steps.
    _digested: Digested<Arena<C>>,
    said: [Buffer<Arena<C>, f32>; 2],
    digest: <Arena<C> as Card>::Recording,
    step: <Arena<C> as Card>::Recording,
}

/// Conditions as [`Inputs`] has them.
pub(super) struct Shown {
    pub picture: Tensor,
    pub mask: Tensor,
    pub base: Option<Pair>,
}

/// Values that a batch is handed over in.
pub(super) struct Sizes {
    /// Of what the stem sees, or of the plate's latents.
    pub picture: usize,
    pub mask: usize,
    /// Of noisy background and foreground.
    pub layers: [usize; 2],
}

impl Sizes {
    /// Of a batch (N, H, W).
    pub fn of<C: Card>(network: &Network<C>, [n, h, w]: [usize; 3]) -> Self {
        let layers = network.streams((h, w)).map(|[c, h, w]| n * c * h * w);
        let (picture, mask) = match &network.config.tokenizer {
            TokenizerConfig::Pixels { .. } => (n * h * w * network.picture_channels(), n * h * w),
            TokenizerConfig::Latent { .. } => (layers[0], layers[0]),
        };
        Self {
            picture,
            mask,
            layers,
        }
    }
}

pub(super) fn values(t: &Tensor) -> Result<Vec<f32>> {
    Ok(t.flatten_all()?.to_dtype(DType::F32)?.to_vec1()?)
}

pub(super) fn halves(t: &Tensor) -> Result<Vec<bf16>> {
    Ok(values(t)?.into_iter().map(bf16::from_f32).collect())
}

impl<C: Card> Session<C> {
    /// Reserves memory for a batch and writes down what will be launched.
    ///
    /// # Errors
    /// [`peel_kernels::Error::OutOfMemory`] before anything is computed, or if the card fails.
    pub fn open(network: &Network<Arena<C>>, size: [usize; 3]) -> Result<Self> {
        let arena = &network.card;
        let bytes = arena.plan(|| Self::record(network, size))?;
        arena.within(bytes, || Self::record(network, size))
    }

    fn record(network: &Network<Arena<C>>, size: [usize; 3]) -> Result<Self> {
        let (card, config) = (&network.card, &network.config);
        let [n, h, w] = size;
        let stride = config.stride();
        let (rows, columns) = (h / stride, w / stride);
        let places = positions(rows, columns, config.width, &Device::Cpu)?;
        let mark = |streams: &[Stream]| -> Result<Buffer<_, f32>> {
            let mut sum = places.zeros_like()?;
            for stream in streams {
                let kind = network.weights.types.narrow(0, *stream as usize, 1)?;
                sum = sum.add(&places.broadcast_add(&kind)?)?;
            }
            Ok(card.put(&values(&sum)?)?)
        };
        let conditions: [&[Stream]; 2] = if config.fold_mask {
            [&[], &[Stream::Plate, Stream::Mask]]
        } else {
            [&[Stream::Plate], &[Stream::Mask]]
        };
        let sizes = Sizes::of(network, size);
        let layers = || -> Result<_> { Ok([card.buffer(sizes.layers[0])?, card.buffer(sizes.layers[1])?]) };
        let with_base = config.diffusion.predicts == Predicts::X && !config.is_latent();
        let inputs = Inputs {
            picture: card.buffer(sizes.picture)?,
            mask: card.buffer(sizes.mask)?,
            base: with_base.then(layers).transpose()?,
            marks: [
                mark(conditions[0])?,
                mark(conditions[1])?,
                mark(&[Stream::Background])?,
                mark(&[Stream::Foreground])?,
            ],
            noisy: layers()?,
            time: card.buffer(n * TIME_FEATURES)?,
        };
        let nothing = || Error::NotOnCard("a network that launches nothing");
        let mut digested = None;
        let digest = card.record(|| {
            digested = Some(network.digest(&inputs, size)?);
            Ok::<_, Error>(())
        })?;
        let digested = digested.ok_or_else(nothing)?;
        let mut said = None;
        let step = card.record(|| {
            said = Some(network.step(&inputs, &digested, size)?);
            Ok::<_, Error>(())
        })?;
        Ok(Self {
            size,
            inputs,
            _digested: digested,
            said: said.ok_or_else(nothing)?,
            digest,
            step,
        })
    }

    /// Shows the card plates and masks of the session's size.
    pub fn digest(&self, card: &Arena<C>, shown: &Shown) -> Result<()> {
        self.inputs.picture.set(card, &halves(&shown.picture)?)?;
        self.inputs.mask.set(card, &halves(&shown.mask)?)?;
        if let (Some(into), Some(base)) = (&self.inputs.base, &shown.base) {
            into[0].set(card, &values(&base.background)?)?;
            into[1].set(card, &values(&base.foreground)?)?;
        }
        Ok(card.replay(&self.digest)?)
    }

    /// What the network says of noisy layers.
    pub fn step(&self, card: &Arena<C>, z: &Noisy) -> Result<Pair> {
        self.inputs.noisy[0].set(card, &values(&z.background)?)?;
        self.inputs.noisy[1].set(card, &values(&z.foreground)?)?;
        let time = embed::times(&z.time, &Device::Cpu)?;
        self.inputs.time.set(card, &halves(&time)?)?;
        card.replay(&self.step)?;
        let layer = |said: &Buffer<_, f32>, like: &Tensor| -> Result<Tensor> {
            Ok(Tensor::from_vec(card.get(said)?, like.shape(), &Device::Cpu)?)
        };
        Ok(Pair {
            background: layer(&self.said[0], &z.background)?,
            foreground: layer(&self.said[1], &z.foreground)?,
        })
    }
}
