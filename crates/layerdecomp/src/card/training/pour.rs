//! From what learns, in f32, to the weights that products take.

use peel_kernels::ops::back::{self, Padded};
use peel_kernels::ops::{Values, Weight};
use peel_kernels::{Buffer, Card};

use super::parameters::Parameters;
use crate::card::refine::Refiner;
use crate::card::vae::{CardVae, Half, Norm, Residual};
use crate::card::weights::{Block, ConvBlock, Head, Kernel, Weights, heads_of};
use crate::{Error, Result};

/// Pours parameters into weights.
pub(super) struct Pour<'a, C: Card> {
    pub card: &'a C,
    pub from: &'a Parameters<C>,
}

impl<C: Card> Pour<'_, C> {
    fn plain(&self, name: &str, into: &Buffer<C, f32>) -> Result<()> {
        Ok(back::copy(self.card, self.from.value(name)?, into)?)
    }

    fn linear(&self, name: &str, into: &Weight<C>) -> Result<()> {
        let Values::Bf16(rows) = &into.values else {
            return Err(Error::NotOnCard("training of whole numbers"));
        };
        back::narrow(self.card, self.from.value(&format!("{name}.weight"))?, rows)?;
        self.plain(&format!("{name}.bias"), &into.bias)
    }

    fn conv(&self, name: &str, of: Padded, into: &Weight<C>) -> Result<()> {
        let kernel = self.from.value(&format!("{name}.weight"))?;
        back::kernel_rows(self.card, kernel, of, into)?;
        self.plain(&format!("{name}.bias"), &into.bias)
    }

    fn conv_block(&self, name: &str, into: &ConvBlock<C>) -> Result<()> {
        self.conv(&format!("{name}.conv"), into.channels_of, &into.conv)?;
        self.plain(&format!("{name}.norm.weight"), &into.norm_weight)?;
        self.plain(&format!("{name}.norm.bias"), &into.norm_bias)
    }

    fn block(&self, i: usize, into: &Block<C>) -> Result<()> {
        let name = |part: &str| format!("blocks.{i}.{part}");
        for (part, into) in [
            ("qkv", &into.qkv),
            ("out", &into.out),
            ("up", &into.up),
            ("down", &into.down),
        ] {
            self.linear(&name(part), into)?;
        }
        let mut plain = vec![
            ("noisy.attention.shift_scale", &into.noisy_attention.0),
            ("noisy.attention.gate", &into.noisy_attention.1),
            ("noisy.feed.shift_scale", &into.noisy_feed.0),
            ("noisy.feed.gate", &into.noisy_feed.1),
            ("condition.attention.shift_scale", &into.condition_attention),
        ];
        if let Some(rest) = &into.condition_rest {
            plain.extend([
                ("condition.attention.gate", &rest.attention_gate),
                ("condition.feed.shift_scale", &rest.feed),
                ("condition.feed.gate", &rest.feed_gate),
            ]);
        }
        plain
            .into_iter()
            .try_for_each(|(part, into)| self.plain(&name(part), into))
    }

    /// A refiner.
    pub fn refiner(&self, into: &Refiner<C>) -> Result<()> {
        for (name, block) in [
            ("refine.enter", &into.enter),
            ("refine.down", &into.down),
            ("refine.middle", &into.middle),
            ("refine.up", &into.up),
        ] {
            self.conv_block(name, block)?;
        }
        self.kernel("refine.fine", &into.fine)?;
        self.kernel("refine.out", &into.out)
    }

    fn kernel(&self, name: &str, into: &Kernel<C>) -> Result<()> {
        self.conv(name, into.channels_of, &into.weight)
    }

    fn norm(&self, name: &str, into: &Norm<C>) -> Result<()> {
        self.plain(&format!("{name}.weight"), &into.weight)?;
        self.plain(&format!("{name}.bias"), &into.bias)
    }

    /// A linear layer whose inputs are filled up.
    fn filled(&self, name: &str, into: &Weight<C>) -> Result<()> {
        let (Values::Bf16(rows), outputs) = (&into.values, into.bias.len()) else {
            return Err(Error::NotOnCard("training of whole numbers"));
        };
        let weight = self.from.value(&format!("{name}.weight"))?;
        let (own, all) = (weight.len() / outputs, rows.len() / outputs);
        back::narrow_into(self.card, weight, rows, (own, all, 0))?;
        self.plain(&format!("{name}.bias"), &into.bias)
    }

    fn residual(&self, name: &str, into: &Residual<C>) -> Result<()> {
        let at = |part: &str| format!("{name}.{part}");
        for (i, (norm, kernel)) in into.norms.iter().zip(&into.convs).enumerate() {
            self.norm(&at(&format!("norm{}", i + 1)), norm)?;
            self.kernel(&at(&format!("conv{}", i + 1)), kernel)?;
        }
        match &into.shortcut {
            Some(shortcut) => self.linear(&at("shortcut"), shortcut),
            None => Ok(()),
        }
    }

    fn half(&self, name: &str, into: &Half<C>, resize: &str) -> Result<()> {
        let at = |part: &str| format!("{name}.{part}");
        self.kernel(&at("conv_in"), &into.enter)?;
        for (i, level) in into.levels.iter().enumerate() {
            for (b, block) in level.blocks.iter().enumerate() {
                self.residual(&at(&format!("levels.{i}.blocks.{b}")), block)?;
            }
            if let Some(kernel) = &level.resize {
                self.kernel(&at(&format!("levels.{i}.{resize}")), kernel)?;
            }
        }
        let attention = &into.middle.attention;
        self.residual(&at("middle.first"), &into.middle.first)?;
        self.norm(&at("middle.attention.norm"), &attention.norm)?;
        for (part, weight) in [
            ("q", &attention.q),
            ("k", &attention.k),
            ("v", &attention.v),
            ("out", &attention.out),
        ] {
            self.linear(&at(&format!("middle.attention.{part}")), weight)?;
        }
        self.residual(&at("middle.second"), &into.middle.second)?;
        self.norm(&at("norm"), &into.norm)?;
        self.kernel(&at("conv_out"), &into.leave)?;
        match &into.bypass {
            Some(bypass) => self.filled(&at("bypass"), bypass),
            None => Ok(()),
        }
    }

    /// An autoencoder.
    pub fn autoencoder(&self, name: &str, into: &CardVae<C>) -> Result<()> {
        self.half(&format!("{name}.encoder"), &into.encoder, "down")?;
        self.half(&format!("{name}.decoder"), &into.decoder, "up")
    }

    /// The network.
    pub fn all(&self, weights: &Weights<C>) -> Result<()> {
        for (i, stage) in weights.stem.iter().enumerate() {
            self.conv_block(&format!("stem.{i}"), stage)?;
        }
        for (name, into) in [
            ("embed.plate", &weights.plate),
            ("embed.mask", &weights.mask),
            ("embed.background", &weights.background),
            ("embed.foreground", &weights.foreground),
            ("time.in", &weights.time_in),
            ("time.out", &weights.time_out),
        ] {
            self.linear(name, into)?;
        }
        for (i, block) in weights.blocks.iter().enumerate() {
            self.block(i, block)?;
        }
        match &weights.head {
            Head::Pixels(head) => {
                self.linear("head.tokens", &head.tokens)?;
                for (i, (up, refine)) in head.levels.iter().enumerate() {
                    self.conv_block(&format!("head.levels.{i}.up"), up)?;
                    self.conv_block(&format!("head.levels.{i}.refine"), refine)?;
                }
                self.conv("head.fine", head.fine_channels, &head.fine)?;
                self.conv("head.out", head.out_channels, &head.out)
            }
            Head::Patches(heads) => heads_of(heads).try_for_each(|(name, weight, first)| {
                let (Values::Bf16(rows), outputs) = (&weight.values, weight.bias.len()) else {
                    return Err(Error::NotOnCard("training of whole numbers"));
                };
                let half = self.from.value(&format!("{name}.weight"))?;
                let width = half.len() / outputs;
                back::narrow_into(self.card, half, rows, (width, 2 * width, first * width))?;
                self.plain(&format!("{name}.bias"), &weight.bias)
            }),
        }
    }
}
