//! Stem and head: convolutions with group norms, with what the backward pass wants of them.

use half::bf16;
use peel_kernels::ops::back;
use peel_kernels::ops::{self, Activation, Ending, Step};
use peel_kernels::{Buffer, Card};

use super::layers::{Normed, Sight, Wanted};
use super::network::Learning;
use crate::card::weights::{ConvBlock, PixelHead};
use crate::{Error, Result};

/// The decoder of a pixel model.
pub(super) struct Drawn<C: Card> {
    /// (N, rows, columns, channels)
    tokens: Buffer<C, bf16>,
    levels: Vec<(Normed<C>, Normed<C>)>,
    /// Of the last hidden layer, before its activation and behind it.
    fine: [Buffer<C, bf16>; 2],
    /// (N, H, W, outputs)
    pub said: Buffer<C, f32>,
}

/// Slopes of what the decoder took: output tokens, and the stem's stages but the last.
pub(super) struct ByDrawn<C: Card> {
    pub tokens: Buffer<C, f32>,
    /// None without skips.
    pub stages: Vec<Buffer<C, f32>>,
}

impl<C: Card> Learning<'_, C> {
    /// The stem's stages, from the picture on.
    pub(super) fn stem(&self, size: [usize; 3]) -> Result<Vec<Normed<C>>> {
        let mut stages: Vec<Normed<C>> = Vec::new();
        for (i, stage) in self.network.weights.stem.iter().enumerate() {
            let sight = self.sight_of_stage(i, &stages, size);
            let next = self.layers().normed(stage, &sight)?;
            stages.push(next);
        }
        Ok(stages)
    }

    fn sight_of_stage<'b>(
        &'b self,
        i: usize,
        stages: &'b [Normed<C>],
        [n, h, w]: [usize; 3],
    ) -> Sight<'b, C> {
        let below = i.checked_sub(1);
        Sight {
            x: below.map_or(&self.inputs.picture, |below| &stages[below].y),
            skip: None,
            size: [
                n,
                h >> i,
                w >> i,
                below.map_or(self.network.picture_channels(), |below| {
                    self.network.weights.stem[below].channels()
                }),
            ],
            step: Step::Half,
        }
    }

    /// The stem backward, from slopes of each of its stages' results.
    pub(super) fn stem_back(
        &self,
        stages: &[Normed<C>],
        slopes: &[Buffer<C, f32>],
        size: [usize; 3],
    ) -> Result<()> {
        for (i, stage) in self.network.weights.stem.iter().enumerate().rev() {
            let wanted = Wanted {
                x: i.checked_sub(1).map(|below| (&slopes[below], true)),
                skip: None,
            };
            let sight = self.sight_of_stage(i, stages, size);
            self.layers().normed_conv_back(
                (&format!("stem.{i}"), stage),
                &sight,
                &stages[i],
                &slopes[i],
                &wanted,
            )?;
        }
        Ok(())
    }

    /// Output tokens (N, T, 2 width) to what is said of both layers.
    pub(super) fn drawn(
        &self,
        head: &PixelHead<C>,
        tokens: &Buffer<C, bf16>,
        stages: &[Normed<C>],
        size: [usize; 3],
    ) -> Result<Drawn<C>> {
        let card = &self.network.card;
        let stride = self.network.config.stride();
        let [n, h, w] = size;
        let rows = n * (h / stride) * (w / stride);
        let tokens = ops::linear(card, tokens, rows, &head.tokens, Activation::None)?;
        let mut levels: Vec<(Normed<C>, Normed<C>)> = Vec::new();
        for (i, (up, refine)) in head.levels.iter().enumerate() {
            let raised = self
                .layers()
                .normed(up, &self.sight_of_level(head, i, &tokens, &levels, stages, size))?;
            let refined = self
                .layers()
                .normed(refine, &self.sight_of_refining(i, up, &raised, size))?;
            levels.push((raised, refined));
        }
        let fine = self
            .layers()
            .convolved(&self.sight_of_fine(head, &levels, size).by(&head.fine))?;
        let shown = back::activate(card, &fine, Activation::Silu)?;
        let out = self.sight_of_out(head, &shown, size).by(&head.out);
        let Ending::F32(said) = ops::conv3x3(card, &out, Activation::None, true)? else {
            return Err(Error::NotOnCard(
                "a convolution that ends in bf16 where f32 was asked for",
            ));
        };
        Ok(Drawn {
            tokens,
            levels,
            fine: [fine, shown],
            said,
        })
    }

    fn sight_of_level<'b>(
        &'b self,
        head: &'b PixelHead<C>,
        i: usize,
        tokens: &'b Buffer<C, bf16>,
        levels: &'b [(Normed<C>, Normed<C>)],
        stages: &'b [Normed<C>],
        [n, h, w]: [usize; 3],
    ) -> Sight<'b, C> {
        let below = i.checked_sub(1);
        let skip = 2 - i;
        Sight {
            x: below.map_or(tokens, |below| &levels[below].1.y),
            skip: (head.skips).then(|| (&stages[skip].y, self.network.weights.stem[skip].channels())),
            size: [
                n,
                h >> (4 - i),
                w >> (4 - i),
                below.map_or(head.tokens.bias.len(), |below| head.levels[below].1.channels()),
            ],
            step: Step::Double,
        }
    }

    fn sight_of_refining<'b>(
        &self,
        i: usize,
        up: &ConvBlock<C>,
        raised: &'b Normed<C>,
        [n, h, w]: [usize; 3],
    ) -> Sight<'b, C> {
        Sight {
            x: &raised.y,
            skip: None,
            size: [n, h >> (3 - i), w >> (3 - i), up.channels()],
            step: Step::Same,
        }
    }

    fn sight_of_fine<'b>(
        &'b self,
        head: &'b PixelHead<C>,
        levels: &'b [(Normed<C>, Normed<C>)],
        [n, h, w]: [usize; 3],
    ) -> Sight<'b, C> {
        let last = levels.len() - 1;
        Sight {
            x: &levels[last].1.y,
            skip: head
                .skips
                .then_some((&self.inputs.picture, self.network.picture_channels())),
            size: [n, h / 2, w / 2, head.levels[last].1.channels()],
            step: Step::Double,
        }
    }

    fn sight_of_out<'b>(
        &self,
        head: &PixelHead<C>,
        shown: &'b Buffer<C, bf16>,
        [n, h, w]: [usize; 3],
    ) -> Sight<'b, C> {
        Sight {
            x: shown,
            skip: None,
            size: [n, h, w, head.fine.bias.len()],
            step: Step::Same,
        }
    }

    /// From slopes of both layers in planes to those of what the decoder took.
    pub(super) fn drawn_back(
        &self,
        head: &PixelHead<C>,
        said: &Buffer<C, bf16>,
        kept: &Drawn<C>,
        stages: &[Normed<C>],
        size: [usize; 3],
    ) -> Result<ByDrawn<C>> {
        let card = &self.network.card;
        let [n, h, w] = size;
        let [by_background, by_foreground] = &self.inputs.slopes;
        let slopes = back::planes_back(
            card,
            [by_background, by_foreground],
            (n, h * w, head.out.bias.len()),
        )?;
        let out = self.sight_of_out(head, &kept.fine[1], size).by(&head.out);
        let by_shown = card.buffer(kept.fine[1].len())?;
        let wanted = Wanted {
            x: Some((&by_shown, false)),
            skip: None,
        };
        self.layers()
            .conv_back("head.out", (&out, head.out_channels.real), &slopes, &wanted)?;
        let slopes = back::activate_back(card, &kept.fine[0], &by_shown, Activation::Silu)?;
        let fine = self.sight_of_fine(head, &kept.levels, size).by(&head.fine);
        let mut above = card.buffer(fine.x.len())?;
        let wanted = Wanted {
            x: Some((&above, false)),
            skip: None,
        };
        self.layers()
            .conv_back("head.fine", (&fine, head.fine_channels.real), &slopes, &wanted)?;
        let mut by_stages = Vec::with_capacity(head.levels.len());
        for (i, (up, refine)) in head.levels.iter().enumerate().rev() {
            let (raised, refined) = &kept.levels[i];
            let sight = self.sight_of_refining(i, up, raised, size);
            let by_raised = card.buffer(raised.y.len())?;
            let wanted = Wanted {
                x: Some((&by_raised, false)),
                skip: None,
            };
            let name = format!("head.levels.{i}.refine");
            self.layers()
                .normed_conv_back((&name, refine), &sight, refined, &above, &wanted)?;
            let sight = self.sight_of_level(head, i, &kept.tokens, &kept.levels, stages, size);
            let by_skip = (head.skips)
                .then(|| card.buffer(stages[2 - i].y.len()))
                .transpose()?;
            above = card.buffer(sight.x.len())?;
            let wanted = Wanted {
                x: Some((&above, false)),
                skip: by_skip.as_ref(),
            };
            let name = format!("head.levels.{i}.up");
            self.layers()
                .normed_conv_back((&name, up), &sight, raised, &by_raised, &wanted)?;
            // The last level has the first stage's.
            by_stages.extend(by_skip);
        }
        let narrowed = card.buffer(above.len())?;
        back::narrow(card, above.all(), &narrowed)?;
        Ok(ByDrawn {
            tokens: self
                .layers()
                .linear_back("head.tokens", &head.tokens, said, &narrowed)?,
            stages: by_stages,
        })
    }
}
