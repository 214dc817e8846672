//! The loss on the card: the layers that the network's answer leads to against the true ones, and laid over each other against the
//! plate. Only three sums leave the card; slopes stay where the backward pass takes them.

use candle_core::Tensor;
use peel_kernels::ops::back;
use peel_kernels::ops::{Compared, Layer, Terms};
use peel_kernels::{Buffer, Card};

use super::network::Learning;
use super::pass::Kept;
use crate::card::forward::Network;
use crate::card::session::{Sizes, values};
use crate::schedule::Path;
use crate::{Conditions, Error, Predicts, Result, TokenizerConfig};

/// What a batch's layers are compared with. The trainer's loss says what the numbers mean.
#[derive(Debug, Clone)]
pub struct Comparison {
    /// True background: a picture in 0..1, `(N, 3, H, W)`; of a latent model its latents.
    pub background: Tensor,
    /// True layer: `(N, 4, H, W)`, premultiplied; of a latent model its latents.
    pub foreground: Tensor,
    /// Alpha by which pixels weigh, `(N, 1, H, W)`.
    pub alpha: Tensor,
    /// Weights of each sample. Its [`Terms::clean`] is the trainer's own business: how a clean layer comes of what was said is put in here.
    pub terms: Vec<Terms>,
}

/// The sums of a comparison, weights of the samples and pixels included. Divide by the numbers that were compared for means.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Sums {
    /// Of the errors of the background.
    pub background: f32,
    /// Of the errors of the layer.
    pub foreground: f32,
    /// Of what is left of the plate; 0 of a latent model.
    pub consistency: f32,
}

impl Comparison {
    /// That of some samples of a batch of `all`; its slopes are a share of the whole's.
    pub(super) fn part(&self, first: usize, count: usize, all: usize) -> Result<Self> {
        let of = |t: &Tensor| t.narrow(0, first, count);
        let share = count as f32 / all as f32;
        let terms = self.terms.get(first..first + count).ok_or_else(|| Error::Shape {
            what: "terms of the loss",
            expected: format!("{all} samples"),
            found: vec![self.terms.len()],
        })?;
        let shared = |terms: &Terms| Terms {
            scale: terms.scale * share,
            ..*terms
        };
        Ok(Self {
            background: of(&self.background)?,
            foreground: of(&self.foreground)?,
            alpha: of(&self.alpha)?,
            terms: terms.iter().map(shared).collect(),
        })
    }
}

impl Sums {
    pub(super) fn add(&mut self, more: &Self) {
        self.background += more.background;
        self.foreground += more.foreground;
        self.consistency += more.consistency;
    }
}

/// A comparison as the card has it.
#[derive(Debug)]
pub(super) struct Judged<C: Card> {
    truth: [Buffer<C, f32>; 2],
    /// (N, H, W) each.
    alpha: Buffer<C, f32>,
    mask: Buffer<C, f32>,
    /// (N, 3, H, W), of a pixel model.
    plate: Option<Buffer<C, f32>>,
    terms: Buffer<C, f32>,
    sums: Buffer<C, f32>,
}

impl<C: Card> Judged<C> {
    pub fn new(network: &Network<C>, size: [usize; 3]) -> Result<Self> {
        let (card, layers) = (&network.card, Sizes::of(network, size).layers);
        let [n, h, w] = size;
        let plate = match network.config.tokenizer {
            TokenizerConfig::Pixels { .. } => Some(card.buffer(3 * n * h * w)?),
            TokenizerConfig::Latent { .. } => None,
        };
        Ok(Self {
            truth: [card.buffer(layers[0])?, card.buffer(layers[1])?],
            alpha: card.buffer(n * h * w)?,
            mask: card.buffer(n * h * w)?,
            plate,
            terms: card.buffer(n * Terms::NUMBERS)?,
            sums: card.buffer(3)?,
        })
    }

    /// Takes over plate and mask, which every comparison of a batch shares.
    pub fn show(&self, card: &C, c: &Conditions) -> Result<()> {
        self.mask.set(card, &values(&c.mask)?)?;
        if let Some(plate) = &self.plate {
            plate.set(card, &values(&c.plate)?)?;
        }
        Ok(())
    }

    /// Takes over what the layers at `times` are compared with.
    pub fn set(
        &self,
        card: &C,
        against: &Comparison,
        times: &[f32],
        (predicts, path): (Predicts, &Path),
    ) -> Result<()> {
        let parts = [
            (&against.background, &self.truth[0], "true background"),
            (&against.foreground, &self.truth[1], "true layer"),
            (&against.alpha, &self.alpha, "alpha that weighs pixels"),
        ];
        for (from, into, what) in parts {
            if from.elem_count() != into.len() {
                return Err(Error::Shape {
                    what,
                    expected: format!("{} values", into.len()),
                    found: from.dims().to_vec(),
                });
            }
            into.set(card, &values(from)?)?;
        }
        if against.terms.len() != times.len() {
            return Err(Error::Shape {
                what: "terms of the loss",
                expected: format!("{} samples", times.len()),
                found: vec![against.terms.len()],
            });
        }
        let numbers = |(terms, time): (&Terms, &f32)| {
            let (p, q) = predicts.recover(path.levels(f64::from(*time)));
            let clean = (p as f32, q as f32);
            Terms { clean, ..*terms }.numbers()
        };
        let table: Vec<f32> = against.terms.iter().zip(times).flat_map(numbers).collect();
        Ok(self.terms.set(card, &table)?)
    }

    /// The sums of the last comparison: all that training asks of the card in a step.
    pub fn sums(&self, card: &C) -> Result<Sums> {
        let [background, foreground, consistency] = card.get(&self.sums)?[..] else {
            return Err(Error::NotOnCard("a loss of other than three sums"));
        };
        Ok(Sums {
            background,
            foreground,
            consistency,
        })
    }
}

impl<C: Card> Learning<'_, C> {
    /// Sums and slopes of what was said.
    pub(super) fn loss(&self, kept: &Kept<C>) -> Result<()> {
        let (network, inputs, judged) = (self.network, self.inputs, &self.inputs.judged);
        let card = &network.card;
        let [n, h, w] = self.size;
        let (stride, shown) = match &network.config.tokenizer {
            TokenizerConfig::Pixels { .. } => (1, (0.5, 0.5)),
            TokenizerConfig::Latent { vae, .. } => (vae.stride(), (1.0, 0.0)),
        };
        let compared = Compared {
            terms: &judged.terms,
            pictures: n,
            pixels: h * w / (stride * stride),
            shown,
        };
        let [background, foreground] = [0, 1].map(|i| Layer {
            said: &kept.layers[i],
            noisy: &inputs.noisy[i],
            slopes: &inputs.slopes[i],
        });
        back::fill(card, judged.sums.all(), 0.0)?;
        let weights = compared.pixel_weights(card, [&judged.alpha, &judged.mask], (h, w), stride)?;
        let sum = |i: usize| judged.sums.span(i, 1);
        let [of_background, of_foreground] = &judged.truth;
        compared.errors(card, &background, of_background, &weights, false, sum(0)?)?;
        compared.errors(card, &foreground, of_foreground, &weights, true, sum(1)?)?;
        if let Some(plate) = &judged.plate {
            compared.consistency(card, [&background, &foreground], plate, sum(2)?)?;
        }
        Ok(())
    }
}
