//! The layers that both parts of the forward pass are made of.

use half::bf16;
use peel_kernels::ops::{self, Activation, Conv, Ending, Gate, Modulation, Residual, Step, Tokens, Weight};
use peel_kernels::{Buffer, Card};

use super::forward::{Digested, Inputs, Network};
use super::weights::{Block, ConvBlock, PixelHead};
use crate::ops::norm::EPSILON;
use crate::{Error, Result};

impl<C: Card> Network<C> {
    /// Queries, keys and values, the first two normalised.
    pub(super) fn project(
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
    pub(super) fn features(&self) -> usize {
        self.config.width / self.config.heads
    }

    pub(super) fn attend(
        &self,
        own: &Tokens<'_, C>,
        other: Option<&Tokens<'_, C>>,
    ) -> Result<Buffer<C, bf16>> {
        let found = ops::attention(&self.card, own, other, self.config.heads, self.features())?;
        Ok(found)
    }

    /// `x + gate (y Wᵀ + b)`
    pub(super) fn add(
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
    pub(super) fn feed(
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

    /// Output tokens (N, T, 2 width) to (N, H, W, outputs).
    pub(super) fn head(
        &self,
        head: &PixelHead<C>,
        inputs: &Inputs<C>,
        digested: &Digested<C>,
        size: [usize; 3],
        tokens: &Buffer<C, bf16>,
    ) -> Result<Buffer<C, f32>> {
        let card = &self.card;
        let patch = self.config.stride();
        let [n, h, w] = size;
        let rows = n * (h / patch) * (w / patch);
        let mut x = ops::linear(card, tokens, rows, &head.tokens, Activation::None)?;
        let mut size = [n, h / patch, w / patch, head.tokens.bias.len()];
        for ((up, refine), skip) in head.levels.iter().zip(digested.skips.iter().rev()) {
            let beside = skip.len() / (n * size[1] * size[2] * 4);
            let skip = head.skips.then_some((skip, beside));
            x = conv_block(card, up, &x, skip, size, Step::Double)?;
            size = [n, 2 * size[1], 2 * size[2], up.channels()];
            x = conv_block(card, refine, &x, None, size, Step::Same)?;
        }
        let fine = Conv {
            x: &x,
            skip: head.skips.then_some((&inputs.picture, self.picture_channels())),
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

/// Convolution, group norm, SiLU.
pub(super) fn conv_block<C: Card>(
    card: &C,
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
    let Ending::Bf16(y) = ops::conv3x3(card, &conv, Activation::None, false)? else {
        return Err(Error::NotOnCard(
            "a convolution that ends in f32 where bf16 was asked for",
        ));
    };
    ops::group_norm(card, &y, &block.norm(size[0]))?;
    Ok(y)
}
