//! Layers under training, whatever they belong to: with what the backward pass wants of them, and where gradients go.

use half::bf16;
use peel_kernels::ops::back;
use peel_kernels::ops::{self, Activation, Conv, Ending, Step, Weight};
use peel_kernels::{Buffer, Card};

use super::parameters::Parameters;
use crate::card::weights::ConvBlock;
use crate::{Error, Result};

/// A convolution with its norm.
pub(super) struct Normed<C: Card> {
    before: Buffer<C, bf16>,
    moments: Buffer<C, f32>,
    pub y: Buffer<C, bf16>,
}

/// What a convolution of the network sees.
pub(super) struct Sight<'a, C: Card> {
    pub x: &'a Buffer<C, bf16>,
    pub skip: Option<(&'a Buffer<C, bf16>, usize)>,
    /// Pictures, height, width, channels of x.
    pub size: [usize; 4],
    pub step: Step,
}

impl<'a, C: Card> Sight<'a, C> {
    pub fn by(&self, weight: &'a Weight<C>) -> Conv<'a, C> {
        Conv {
            x: self.x,
            skip: self.skip,
            size: self.size,
            weight,
            step: self.step,
        }
    }
}

/// What a convolution's slopes are asked for, besides its parameters'.
pub(super) struct Wanted<'a, C: Card> {
    /// Of x, and whether they are added to what is there.
    pub x: Option<(&'a Buffer<C, f32>, bool)>,
    /// Of the skip; they are what is there.
    pub skip: Option<&'a Buffer<C, f32>>,
}

/// What layers compute with, and where what is said of their parameters is added.
pub(super) struct Layers<'a, C: Card> {
    pub card: &'a C,
    pub parameters: &'a Parameters<C>,
}

impl<C: Card> Layers<'_, C> {
    /// Slopes of what a linear layer took, f32; what is said of its weight and bias is added to the gradients.
    pub fn linear_back(
        &self,
        name: &str,
        weight: &Weight<C>,
        x: &Buffer<C, bf16>,
        slopes: &Buffer<C, bf16>,
    ) -> Result<Buffer<C, f32>> {
        let card = self.card;
        let rows = slopes.len() / weight.bias.len();
        let into = card.buffer(x.len())?;
        back::linear_back_input(card, slopes, rows, weight, &into, false)?;
        self.linear_told(name, x, slopes, rows)?;
        Ok(into)
    }

    /// What is said of a linear layer's weight and bias alone.
    pub fn linear_told(
        &self,
        name: &str,
        x: &Buffer<C, bf16>,
        slopes: &Buffer<C, bf16>,
        rows: usize,
    ) -> Result<()> {
        let card = self.card;
        let into = self.parameters.gradient(&format!("{name}.weight"))?;
        back::linear_back_weight(card, slopes, x, rows, into)?;
        let into = self.parameters.gradient(&format!("{name}.bias"))?;
        Ok(back::bias_back(card, slopes, rows, into)?)
    }

    /// A convolution, without anything behind it.
    pub fn convolved(&self, conv: &Conv<'_, C>) -> Result<Buffer<C, bf16>> {
        match ops::conv3x3(self.card, conv, Activation::None, false)? {
            Ending::Bf16(y) => Ok(y),
            Ending::F32(_) => Err(Error::NotOnCard(
                "a convolution that ends in f32 where bf16 was asked for",
            )),
        }
    }

    /// Convolution, group norm, SiLU.
    pub fn normed(&self, block: &ConvBlock<C>, sight: &Sight<'_, C>) -> Result<Normed<C>> {
        let before = self.convolved(&sight.by(&block.conv))?;
        let norm = block.norm(sight.size[0]);
        let (y, moments) = ops::group_norm_kept(self.card, &before, &norm)?;
        Ok(Normed { before, moments, y })
    }

    /// The same backward, from slopes of its result.
    pub fn normed_conv_back(
        &self,
        (name, block): (&str, &ConvBlock<C>),
        sight: &Sight<'_, C>,
        kept: &Normed<C>,
        slopes: &Buffer<C, f32>,
        wanted: &Wanted<'_, C>,
    ) -> Result<()> {
        let told = |part: &str| self.parameters.gradient(&format!("{name}.norm.{part}"));
        let slopes = back::group_norm_back(
            self.card,
            (&kept.before, &kept.moments),
            &block.norm(sight.size[0]),
            slopes,
            (told("weight")?, told("bias")?),
        )?;
        let conv = sight.by(&block.conv);
        self.conv_back(
            &format!("{name}.conv"),
            (&conv, block.channels_of.real),
            &slopes,
            wanted,
        )
    }

    /// A convolution backward, from slopes of its result; `real` are the channels that it has besides those that only fill up.
    pub fn conv_back(
        &self,
        name: &str,
        (conv, real): (&Conv<'_, C>, [usize; 3]),
        slopes: &Buffer<C, bf16>,
        wanted: &Wanted<'_, C>,
    ) -> Result<()> {
        let card = self.card;
        let into = self.parameters.gradient(&format!("{name}.weight"))?;
        back::conv3x3_back_weight(card, conv, slopes, real, into)?;
        let rows = slopes.len() / conv.weight.bias.len();
        let into = self.parameters.gradient(&format!("{name}.bias"))?;
        back::bias_back(card, slopes, rows, into)?;
        if let Some((into, add)) = wanted.x {
            back::conv3x3_back_input(card, conv, slopes, into, add)?;
        }
        if let Some(into) = wanted.skip {
            back::conv3x3_back_skip(card, conv, slopes, into, false)?;
        }
        Ok(())
    }

    /// Zeros, to which slopes are added.
    pub fn nothing(&self, len: usize) -> Result<Buffer<C, f32>> {
        let zeros = self.card.buffer(len)?;
        back::fill(self.card, zeros.all(), 0.0)?;
        Ok(zeros)
    }
}
