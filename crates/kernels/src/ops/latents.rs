//! Latents of an autoencoder under training: drawn around what its encoder said, and compared with normal ones.

use half::bf16;

use super::back::sum_into;
use super::loss::block_sums;
use super::{check, each, int};
use crate::card::{Argument, Buffer, Card, Result, Span};

/// What an encoder said of latents: their mean and the logarithm of their variance, which counts between -30 and 20.
#[derive(Debug)]
pub struct Moments<'a, C: Card> {
    /// (pixels, channels): the mean of each latent channel, the logarithms of their variances, and what only fills up.
    pub said: &'a Buffer<C, f32>,
    /// Added to the mean, if there is any, (pixels, latent channels).
    pub straight: Option<&'a Buffer<C, f32>>,
    /// Latent channels.
    pub latent: usize,
}

/// Pixels, channels of the moments, and latent channels filled up.
struct Sizes {
    rows: usize,
    stride: usize,
    padded: usize,
}

impl<C: Card> Moments<'_, C> {
    fn sizes(&self, what: &'static str, noise: &Buffer<C, f32>) -> Result<Sizes> {
        let latent = self.latent.max(1);
        let rows = noise.len() / latent;
        let stride = self.said.len() / rows.max(1);
        let fits = rows > 0 && noise.len() == rows * latent && self.said.len() == rows * stride;
        let fits = fits && stride >= 2 * latent;
        let straight = self.straight.is_none_or(|s| s.len() == noise.len());
        check(what, self.latent > 0 && fits && straight, || {
            format!(
                "moments of {} and noise of {} for {latent} channels",
                self.said.len(),
                noise.len()
            )
        })?;
        Ok(Sizes {
            rows,
            stride,
            padded: latent.next_multiple_of(8),
        })
    }

    fn given<'b>(&'b self, noise: &'b Buffer<C, f32>) -> Vec<Argument<'b, C::Memory>> {
        let straight = self.straight.map_or(Argument::Null, Buffer::argument);
        vec![self.said.argument(), straight, noise.argument()]
    }

    /// `mean + deviation noise`, (pixels, latent channels filled up to a multiple of 8); `Σ ½ (mean² + variance - 1 - ln variance)` is added
    /// to `sum`.
    ///
    /// # Errors
    /// If sizes disagree, or the card fails.
    pub fn draw(&self, card: &C, noise: &Buffer<C, f32>, sum: Span<'_, C, f32>) -> Result<Buffer<C, bf16>> {
        const WHAT: &str = "draw_latents";
        let Sizes { rows, stride, padded } = self.sizes(WHAT, noise)?;
        let z = card.buffer(rows * padded)?;
        let mut before = self.given(noise);
        before.push(z.argument());
        let mut behind = Vec::new();
        for v in [rows, self.latent, stride, padded] {
            behind.push(int(WHAT, v)?);
        }
        let sums = block_sums(card, WHAT, z.len(), before, behind)?;
        sum_into(card, &sums, sum)?;
        Ok(z)
    }

    /// Slopes of what was said and of what was added to the mean, in bf16, from those of what [`Moments::draw`] gave, (pixels, latent channels
    /// filled up), and `weight`, one number, times those of its sum.
    ///
    /// # Errors
    /// If sizes disagree, or the card fails.
    #[allow(clippy::type_complexity, reason = "two buffers")]
    pub fn draw_back(
        &self,
        card: &C,
        noise: &Buffer<C, f32>,
        slopes: &Buffer<C, f32>,
        weight: &Buffer<C, f32>,
    ) -> Result<(Buffer<C, bf16>, Option<Buffer<C, bf16>>)> {
        const WHAT: &str = "draw_latents_back";
        let Sizes { rows, stride, padded } = self.sizes(WHAT, noise)?;
        check(WHAT, slopes.len() == rows * padded && weight.len() == 1, || {
            format!("{} slopes of {rows} rows of {padded}", slopes.len())
        })?;
        let by_said = card.buffer(self.said.len())?;
        let by_straight = (self.straight)
            .map(|straight| card.buffer::<bf16>(straight.len()))
            .transpose()?;
        let mut arguments = self.given(noise);
        arguments.extend([slopes.argument(), weight.argument(), by_said.argument()]);
        arguments.push(by_straight.as_ref().map_or(Argument::Null, Buffer::argument));
        for v in [rows, self.latent, stride, padded] {
            arguments.push(int(WHAT, v)?);
        }
        each(card, WHAT, by_said.len(), &arguments)?;
        Ok((by_said, by_straight))
    }
}
