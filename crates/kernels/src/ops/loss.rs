//! The training loss: weights of pixels, errors of both layers, recomposition, each with its slopes.
//!
//! The formula is that of the trainer's loss. The network may say clean layers, noise or a velocity, y; compared is the clean layer that it
//! leads to, `x = gain (p z + q y) + offset`, z being the noisy layer.

use super::{blocks, check, each, int};
use crate::card::{Argument, Buffer, Card, Launch, Result, Span};
use crate::ops::back::sum_into;

/// What a sample's loss is made of.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Terms {
    /// Of the clean layer: `p z + q y`.
    pub clean: (f32, f32),
    /// Factor of the slopes alone.
    pub scale: f32,
    /// Weight of squared errors; the importance of the sample's time is in this and the next three.
    pub mse: f32,
    /// Weight of absolute errors.
    pub l1: f32,
    /// The same of the layer's alpha.
    pub alpha_l1: f32,
    /// Weight of the recomposition.
    pub consistency: f32,
    /// Whether the true layer is known and compared.
    pub compared: bool,
    /// Added to a pixel's weight where the true layer is not empty.
    pub effect: f32,
    /// Added once more where that lies outside the mask.
    pub shadow: f32,
    /// Alpha above which a layer counts as not empty.
    pub threshold: f32,
}

impl Terms {
    /// Numbers that a sample's terms take on a card.
    pub const NUMBERS: usize = 11;

    /// As `cu/loss.cu` reads them.
    #[must_use]
    pub fn numbers(&self) -> [f32; Self::NUMBERS] {
        [
            self.clean.0,
            self.clean.1,
            self.scale,
            self.mse,
            self.l1,
            self.alpha_l1,
            self.consistency,
            f32::from(u8::from(self.compared)),
            self.effect,
            self.shadow,
            self.threshold,
        ]
    }
}

/// A batch whose layers are compared.
#[derive(Debug)]
pub struct Compared<'a, C: Card> {
    /// [`Terms::numbers`] of each sample.
    pub terms: &'a Buffer<C, f32>,
    /// Samples, and pixels of each.
    pub pictures: usize,
    /// See `pictures`; of a latent model the numbers of a channel.
    pub pixels: usize,
    /// Gain and offset of clean layers: (1/2, 1/2) where they stand in -1..1 and are compared in 0..1, (1, 0) of latents.
    pub shown: (f32, f32),
}

/// A layer that is compared. What was said, noisy and slopes are (samples, channels, pixels).
#[derive(Debug)]
pub struct Layer<'a, C: Card> {
    /// What the network said.
    pub said: &'a Buffer<C, f32>,
    /// What it saw.
    pub noisy: &'a Buffer<C, f32>,
    /// Slopes of the loss by what it said.
    pub slopes: &'a Buffer<C, f32>,
}

impl<C: Card> Layer<'_, C> {
    fn channels(&self, what: &'static str, all: usize) -> Result<usize> {
        let (all, len) = (all.max(1), self.said.len());
        let fits = len > 0 && len.is_multiple_of(all) && self.noisy.len() == len && self.slopes.len() == len;
        check(what, fits, || {
            format!("{len}, {} and {} values", self.noisy.len(), self.slopes.len())
        })?;
        Ok(len / all)
    }
}

impl<C: Card> Compared<'_, C> {
    fn check(&self, what: &'static str) -> Result<()> {
        let fits = self.pictures > 0 && self.terms.len() == self.pictures * Terms::NUMBERS;
        check(what, fits, || {
            format!("{} numbers for {} samples", self.terms.len(), self.pictures)
        })
    }

    /// Weights of pixels, (samples, height / stride, width / stride): `alpha` and `mask` are (samples, height, width), whose weights are
    /// meaned over squares of `stride`.
    ///
    /// # Errors
    /// If sizes disagree, or the card fails.
    pub fn pixel_weights(
        &self,
        card: &C,
        [alpha, mask]: [&Buffer<C, f32>; 2],
        (h, w): (usize, usize),
        stride: usize,
    ) -> Result<Buffer<C, f32>> {
        const WHAT: &str = "pixel_weights";
        self.check(WHAT)?;
        let all = self.pictures * h * w;
        let fits = stride > 0 && h.is_multiple_of(stride) && w.is_multiple_of(stride);
        let count = self.pictures * self.pixels;
        let fits = fits && alpha.len() == all && mask.len() == all && count * stride * stride == all;
        check(WHAT, fits, || {
            format!("alpha and mask of {h}x{w} in squares of {stride}")
        })?;
        let weights = card.buffer(count)?;
        let mut arguments = vec![
            alpha.argument(),
            mask.argument(),
            self.terms.argument(),
            weights.argument(),
        ];
        for v in [self.pictures, h, w, stride] {
            arguments.push(int(WHAT, v)?);
        }
        each(card, WHAT, count, &arguments)?;
        Ok(weights)
    }

    /// Adds `Σ w (mse e² + l1 |e|)` to `sum` and writes the slopes of its mean. `effects` says which of the two layers it is: the one whose
    /// fourth channel is alpha, and which may be unknown.
    ///
    /// # Errors
    /// If sizes disagree, or the card fails.
    pub fn errors(
        &self,
        card: &C,
        layer: &Layer<'_, C>,
        truth: &Buffer<C, f32>,
        weights: &Buffer<C, f32>,
        effects: bool,
        sum: Span<'_, C, f32>,
    ) -> Result<()> {
        const WHAT: &str = "layer_errors";
        self.check(WHAT)?;
        let all = self.pictures * self.pixels;
        let channels = layer.channels(WHAT, all)?;
        let count = layer.said.len();
        check(WHAT, truth.len() == count && weights.len() == all, || {
            format!("{} values against {count}", truth.len())
        })?;
        let before = vec![
            layer.said.argument(),
            layer.noisy.argument(),
            truth.argument(),
            weights.argument(),
            self.terms.argument(),
            layer.slopes.argument(),
        ];
        let mut behind = Vec::new();
        for v in [self.pictures, channels, self.pixels, usize::from(effects)] {
            behind.push(int(WHAT, v)?);
        }
        self.summed(card, WHAT, before, behind, (count, count), sum)
    }

    /// Adds `Σ consistency |F rgb + (1 - F a) B - C|` to `sum`, and the slopes of its mean to those that are there. The layers are
    /// (samples, 3, pixels) and (samples, 4, pixels), the latter premultiplied; the plate is (samples, 3, pixels).
    ///
    /// # Errors
    /// If sizes disagree, or the card fails.
    pub fn consistency(
        &self,
        card: &C,
        [background, foreground]: [&Layer<'_, C>; 2],
        plate: &Buffer<C, f32>,
        sum: Span<'_, C, f32>,
    ) -> Result<()> {
        const WHAT: &str = "consistency";
        self.check(WHAT)?;
        let all = self.pictures * self.pixels;
        let channels = [background.channels(WHAT, all)?, foreground.channels(WHAT, all)?];
        check(WHAT, channels == [3, 4] && plate.len() == 3 * all, || {
            format!("layers of {channels:?} channels, and {} values", plate.len())
        })?;
        let before = vec![
            background.said.argument(),
            foreground.said.argument(),
            background.noisy.argument(),
            foreground.noisy.argument(),
            plate.argument(),
            self.terms.argument(),
            background.slopes.argument(),
            foreground.slopes.argument(),
        ];
        let behind = vec![int(WHAT, self.pictures)?, int(WHAT, self.pixels)?];
        self.summed(card, WHAT, before, behind, (all, 3 * all), sum)
    }

    /// Starts a kernel over `count` numbers whose blocks leave a sum each, and adds them up. The slopes are of a mean over `mean` numbers.
    fn summed(
        &self,
        card: &C,
        kernel: &'static str,
        before: Vec<Argument<'_, C::Memory>>,
        behind: Vec<Argument<'_, C::Memory>>,
        (count, mean): (usize, usize),
        sum: Span<'_, C, f32>,
    ) -> Result<()> {
        let (gain, offset) = self.shown;
        let numbers = [gain, offset, 1.0 / mean as f32].map(Argument::Float);
        let behind = behind.into_iter().chain(numbers).collect();
        let sums = block_sums(card, kernel, count, before, behind)?;
        sum_into(card, &sums, sum)
    }
}

/// Threads of a block of `cu/block_sum.cuh`, and most blocks.
const BLOCK: usize = 128;
const MOST: usize = 1024;

/// Starts a kernel whose blocks leave a sum each. Arguments are those before and behind the sums.
pub(super) fn block_sums<C: Card>(
    card: &C,
    kernel: &'static str,
    count: usize,
    before: Vec<Argument<'_, C::Memory>>,
    behind: Vec<Argument<'_, C::Memory>>,
) -> Result<Buffer<C, f32>> {
    let grid = count.div_ceil(BLOCK).clamp(1, MOST);
    let sums = card.buffer(grid)?;
    let mut arguments = before;
    arguments.push(sums.argument());
    arguments.extend(behind);
    card.launch(&Launch {
        kernel,
        grid: [blocks(kernel, grid)?, 1, 1],
        threads: BLOCK as u32,
        shared: BLOCK / 32 * 4,
        arguments: &arguments,
    })?;
    Ok(sums)
}
