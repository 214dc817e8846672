//! The network's weights as a card keeps them: products in bf16, or in whole numbers where they are stored so, outputs by inputs;
//! everything else in f32.

use std::collections::BTreeMap;

use candle_core::{DType, Tensor};
use peel_kernels::ops::back::Padded;
use peel_kernels::ops::{Activation, GroupNorm, Values, Weight};
use peel_kernels::{Buffer, Card};

use super::session::{halves, values};
use crate::layers::groups;
use crate::ops::norm::EPSILON;
use crate::pixels::Channels;
use crate::weights::ZERO;
use crate::{Config, Error, Result, TokenizerConfig};

/// A convolution with its group norm.
#[derive(Debug)]
pub(super) struct ConvBlock<C: Card> {
    pub conv: Weight<C>,
    pub channels_of: Padded,
    pub groups: usize,
    pub norm_weight: Buffer<C, f32>,
    pub norm_bias: Buffer<C, f32>,
}

impl<C: Card> ConvBlock<C> {
    /// Channels of its result.
    pub fn channels(&self) -> usize {
        self.conv.bias.len()
    }

    /// What follows the convolution of so many pictures.
    pub fn norm(&self, samples: usize) -> GroupNorm<'_, C> {
        GroupNorm {
            samples,
            groups: self.groups,
            weight: &self.norm_weight,
            bias: &self.norm_bias,
            epsilon: EPSILON,
            activation: Activation::Silu,
        }
    }
}

/// A convolution's weight alone, and what of its channels only fills up.
#[derive(Debug)]
pub(super) struct Kernel<C: Card> {
    pub weight: Weight<C>,
    pub channels_of: Padded,
}

/// A transformer block. Pairs are shift and scale (2, width), and gate (width).
#[derive(Debug)]
pub(super) struct Block<C: Card> {
    pub qkv: Weight<C>,
    pub out: Weight<C>,
    pub up: Weight<C>,
    pub down: Weight<C>,
    pub noisy_attention: (Buffer<C, f32>, Buffer<C, f32>),
    pub noisy_feed: (Buffer<C, f32>, Buffer<C, f32>),
    pub condition_attention: Buffer<C, f32>,
    /// The last block's condition tokens are asked for keys and values only.
    pub condition_rest: Option<ConditionRest<C>>,
}

/// What condition tokens need to go on to the next block.
#[derive(Debug)]
pub(super) struct ConditionRest<C: Card> {
    pub attention_gate: Buffer<C, f32>,
    pub feed: Buffer<C, f32>,
    pub feed_gate: Buffer<C, f32>,
}

/// From output tokens, background and foreground side by side, to what is said.
#[derive(Debug)]
pub(super) enum Head<C: Card> {
    Pixels(PixelHead<C>),
    /// Linear patches of background and foreground: latents, or pixels.
    Patches([Weight<C>; 2]),
}

/// The pixel model's decoder.
#[derive(Debug)]
pub(super) struct PixelHead<C: Card> {
    pub tokens: Weight<C>,
    pub levels: Vec<(ConvBlock<C>, ConvBlock<C>)>,
    pub fine: Weight<C>,
    pub fine_channels: Padded,
    /// Outputs are a multiple of 8: behind the layers' they are zero.
    pub out: Weight<C>,
    pub out_channels: Padded,
    /// Whether the stem's features, and the picture, join.
    pub skips: bool,
}

/// Heads of linear patches by name, each with the half of the tokens that it sees.
pub(super) fn heads_of<C: Card>(
    [background, foreground]: &[Weight<C>; 2],
) -> std::array::IntoIter<(&'static str, &Weight<C>, usize), 2> {
    [
        ("head.background", background, 0),
        ("head.foreground", foreground, 1),
    ]
    .into_iter()
}

/// Everything.
#[derive(Debug)]
pub(super) struct Weights<C: Card> {
    /// Of a latent model none.
    pub stem: Vec<ConvBlock<C>>,
    pub plate: Weight<C>,
    pub mask: Weight<C>,
    pub background: Weight<C>,
    pub foreground: Weight<C>,
    pub time_in: Weight<C>,
    pub time_out: Weight<C>,
    pub blocks: Vec<Block<C>>,
    pub head: Head<C>,
    /// (2, width) of zeros.
    pub no_modulation: Buffer<C, f32>,
    /// (4, width), on the CPU: added to positions there.
    pub types: Tensor,
}

/// Tensors on their way.
pub(super) struct Upload<'a, C: Card> {
    pub card: &'a C,
    pub tensors: &'a BTreeMap<String, Tensor>,
}

impl<C: Card> Upload<'_, C> {
    /// Whether there is such a tensor.
    pub fn has(&self, name: &str) -> bool {
        self.tensors.contains_key(name)
    }

    fn stored(&self, name: &str) -> Result<&Tensor> {
        let tensor = self.tensors.get(name);
        tensor.ok_or_else(|| Error::Config(format!("the weights have no {name}")))
    }

    fn tensor(&self, name: &str) -> Result<Tensor> {
        Ok(self.stored(name)?.to_dtype(DType::F32)?)
    }

    pub fn plain(&self, name: &str) -> Result<Buffer<C, f32>> {
        Ok(self.card.put(&values(&self.tensor(name)?)?)?)
    }

    /// A linear layer.
    pub fn linear(&self, name: &str) -> Result<Weight<C>> {
        self.beside(name, (0, 0))
    }

    /// The same with inputs filled up to a multiple of 8.
    pub fn filled(&self, name: &str) -> Result<Weight<C>> {
        let inputs = self.stored(&format!("{name}.weight"))?.dim(1)?;
        self.beside(name, (0, inputs.next_multiple_of(8) - inputs))
    }

    /// The same with so many inputs of weight zero before and behind its own.
    fn beside(&self, name: &str, (before, behind): (usize, usize)) -> Result<Weight<C>> {
        let rows = self.stored(&format!("{name}.weight"))?;
        let values = if rows.dtype() == DType::U8 {
            let zeros = |inputs| Tensor::full(ZERO, (rows.dim(0)?, inputs), rows.device());
            let rows = Tensor::cat(&[&zeros(before)?, rows, &zeros(behind)?], 1)?;
            let numbers = rows.flatten_all()?.to_vec1::<u8>()?;
            Values::Int8(self.card.put(&numbers)?, self.plain(&format!("{name}.scale"))?)
        } else {
            let rows = rows.pad_with_zeros(1, before, behind)?;
            Values::Bf16(self.card.put(&halves(&rows)?)?)
        };
        Ok(Weight {
            values,
            bias: self.plain(&format!("{name}.bias"))?,
        })
    }

    /// (3, 3, inputs, outputs) to (outputs, 3, 3, inputs), the last `skip` of which come from a skip; each filled up to a multiple of 8.
    pub fn conv(&self, name: &str, skip: usize) -> Result<(Weight<C>, Padded)> {
        let kernel = self.tensor(&format!("{name}.weight"))?;
        let (_, _, both, outputs) = kernel.dims4()?;
        let real = [both - skip, skip, outputs];
        let padded = real.map(|channels| channels.next_multiple_of(8));
        let more: Vec<usize> = (0..3).map(|i| padded[i] - real[i]).collect();
        let of_x = kernel.narrow(2, 0, real[0])?.pad_with_zeros(2, 0, more[0])?;
        let rows = if skip > 0 {
            let of_skip = kernel.narrow(2, real[0], skip)?.pad_with_zeros(2, 0, more[1])?;
            Tensor::cat(&[of_x, of_skip], 2)?
        } else {
            of_x
        };
        let rows = rows.pad_with_zeros(3, 0, more[2])?;
        let bias = self
            .tensor(&format!("{name}.bias"))?
            .pad_with_zeros(0, 0, more[2])?;
        let weight = Weight {
            values: Values::Bf16(
                self.card
                    .put(&halves(&rows.permute((3, 0, 1, 2))?.contiguous()?)?)?,
            ),
            bias: self.card.put(&values(&bias)?)?,
        };
        Ok((weight, Padded { real, padded }))
    }

    /// As [`Upload::conv`], in one piece.
    pub fn kernel(&self, name: &str, skip: usize) -> Result<Kernel<C>> {
        let (weight, channels_of) = self.conv(name, skip)?;
        Ok(Kernel { weight, channels_of })
    }

    pub fn conv_block(&self, name: &str, skip: usize) -> Result<ConvBlock<C>> {
        let (conv, channels_of) = self.conv(&format!("{name}.conv"), skip)?;
        Ok(ConvBlock {
            groups: groups(conv.bias.len()),
            conv,
            channels_of,
            norm_weight: self.plain(&format!("{name}.norm.weight"))?,
            norm_bias: self.plain(&format!("{name}.norm.bias"))?,
        })
    }

    /// Stem and head of a pixel model.
    fn pixels(
        &self,
        Channels { stem, fine }: Channels,
        head: crate::Head,
        width: usize,
    ) -> Result<(Vec<ConvBlock<C>>, Head<C>)> {
        if stem.iter().chain([&fine]).any(|c| c % 8 != 0) {
            return Err(Error::NotOnCard(
                "a stem or head whose channels are no multiples of 8",
            ));
        }
        let stages = (0..4)
            .map(|i| self.conv_block(&format!("stem.{i}"), 0))
            .collect::<Result<_>>()?;
        let skips = match head {
            crate::Head::Linear => return Ok((stages, self.patches(width)?)),
            crate::Head::Skips => true,
            crate::Head::NoSkips => false,
        };
        // The picture has fewer channels than a card's convolution takes; it is given empty ones.
        let picture = self.tensor("stem.0.conv.weight")?.dim(2)?;
        let joins = |channels: usize| if skips { channels } else { 0 };
        let level = |i: usize| -> Result<_> {
            Ok((
                self.conv_block(&format!("head.levels.{i}.up"), joins(stem[2 - i]))?,
                self.conv_block(&format!("head.levels.{i}.refine"), 0)?,
            ))
        };
        let (fine, fine_channels) = self.conv("head.fine", joins(picture))?;
        let (out, out_channels) = self.conv("head.out", 0)?;
        let head = PixelHead {
            tokens: self.linear("head.tokens")?,
            levels: (0..3).map(level).collect::<Result<_>>()?,
            fine,
            fine_channels,
            out,
            out_channels,
            skips,
        };
        Ok((stages, Head::Pixels(head)))
    }

    /// Heads of linear patches. Either sees both streams of a token, the other one's by weights of zero: so their tokens need not be taken
    /// apart first.
    fn patches(&self, width: usize) -> Result<Head<C>> {
        Ok(Head::Patches([
            self.beside("head.background", (0, width))?,
            self.beside("head.foreground", (width, 0))?,
        ]))
    }

    fn block(&self, i: usize, last: bool) -> Result<Block<C>> {
        let name = |part: &str| format!("blocks.{i}.{part}");
        let pair = |part: &str| -> Result<_> {
            let shift_scale = self.plain(&name(&format!("{part}.shift_scale")))?;
            Ok((shift_scale, self.plain(&name(&format!("{part}.gate")))?))
        };
        let condition_rest = if last {
            None
        } else {
            let (feed, feed_gate) = pair("condition.feed")?;
            Some(ConditionRest {
                attention_gate: self.plain(&name("condition.attention.gate"))?,
                feed,
                feed_gate,
            })
        };
        Ok(Block {
            qkv: self.linear(&name("qkv"))?,
            out: self.linear(&name("out"))?,
            up: self.linear(&name("up"))?,
            down: self.linear(&name("down"))?,
            noisy_attention: pair("noisy.attention")?,
            noisy_feed: pair("noisy.feed")?,
            condition_attention: self.plain(&name("condition.attention.shift_scale"))?,
            condition_rest,
        })
    }
}

impl<C: Card> Weights<C> {
    pub fn upload(card: &C, config: &Config, tensors: &BTreeMap<String, Tensor>) -> Result<Self> {
        if !matches!(config.width / config.heads, 32 | 64 | 96 | 128) {
            return Err(Error::NotOnCard(
                "a model whose heads have features other than 32, 64, 96 or 128",
            ));
        }
        let up = Upload { card, tensors };
        let (stem, head) = match &config.tokenizer {
            TokenizerConfig::Pixels { stem, fine, head, .. } => {
                let channels = Channels {
                    stem: *stem,
                    fine: *fine,
                };
                up.pixels(channels, *head, config.width)?
            }
            TokenizerConfig::Latent { .. } => (Vec::new(), up.patches(config.width)?),
        };
        Ok(Self {
            stem,
            plate: up.linear("embed.plate")?,
            mask: up.linear("embed.mask")?,
            background: up.linear("embed.background")?,
            foreground: up.linear("embed.foreground")?,
            time_in: up.linear("time.in")?,
            time_out: up.linear("time.out")?,
            blocks: (0..config.depth)
                .map(|i| up.block(i, i + 1 == config.depth))
                .collect::<Result<_>>()?,
            head,
            no_modulation: card.put(&vec![0.0f32; 2 * config.width])?,
            types: up.tensor("stream_types")?,
        })
    }
}
