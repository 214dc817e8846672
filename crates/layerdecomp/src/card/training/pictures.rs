//! Stem and head: convolutions with group norms, with what the backward pass wants of them.

use half::bf16;
use peel_kernels::ops::back;
use peel_kernels::ops::{self, Activation, Conv, Ending, Step};
use peel_kernels::{Buffer, Card};

use super::Learning;
use crate::card::PICTURE;
use crate::card::weights::{ConvBlock, PixelHead};
use crate::{Error, Result};

/// A convolution with its norm.
pub(super) struct Normed<C: Card> {
    before: Buffer<C, bf16>,
    moments: Buffer<C, f32>,
    pub y: Buffer<C, bf16>,
}

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

/// What a convolution of the network sees.
pub(super) struct Sight<'a, C: Card> {
    pub x: &'a Buffer<C, bf16>,
    pub skip: Option<(&'a Buffer<C, bf16>, usize)>,
    /// Pictures, height, width, channels of x.
    pub size: [usize; 4],
    pub step: Step,
}

impl<'a, C: Card> Sight<'a, C> {
    fn by(&self, weight: &'a ops::Weight<C>) -> Conv<'a, C> {
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

impl<C: Card> Learning<'_, C> {
    fn convolved(&self, conv: &Conv<'_, C>) -> Result<Buffer<C, bf16>> {
        match ops::conv3x3(&self.network.card, conv, Activation::None, false)? {
            Ending::Bf16(y) => Ok(y),
            Ending::F32(_) => Err(Error::NotOnCard(
                "a convolution that ends in f32 where bf16 was asked for",
            )),
        }
    }

    /// Convolution, group norm, SiLU.
    pub(super) fn normed(&self, block: &ConvBlock<C>, sight: &Sight<'_, C>) -> Result<Normed<C>> {
        let before = self.convolved(&sight.by(&block.conv))?;
        let norm = block.norm(sight.size[0]);
        let (y, moments) = ops::group_norm_kept(&self.network.card, &before, &norm)?;
        Ok(Normed { before, moments, y })
    }

    /// The same backward, from slopes of its result.
    pub(super) fn normed_conv_back(
        &self,
        (name, block): (&str, &ConvBlock<C>),
        sight: &Sight<'_, C>,
        kept: &Normed<C>,
        slopes: &Buffer<C, f32>,
        wanted: &Wanted<'_, C>,
    ) -> Result<()> {
        let told = |part: &str| self.parameters.gradient(&format!("{name}.norm.{part}"));
        let slopes = back::group_norm_back(
            &self.network.card,
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

    fn conv_back(
        &self,
        name: &str,
        (conv, real): (&Conv<'_, C>, [usize; 3]),
        slopes: &Buffer<C, bf16>,
        wanted: &Wanted<'_, C>,
    ) -> Result<()> {
        let card = &self.network.card;
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

    /// The stem's stages, from the picture on.
    pub(super) fn stem(&self, size: [usize; 3]) -> Result<Vec<Normed<C>>> {
        let mut stages: Vec<Normed<C>> = Vec::new();
        for (i, stage) in self.network.weights.stem.iter().enumerate() {
            let sight = self.sight_of_stage(i, &stages, size);
            let next = self.normed(stage, &sight)?;
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
                below.map_or(PICTURE, |below| self.network.weights.stem[below].channels()),
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
            self.normed_conv_back(
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
            let raised = self.normed(up, &self.sight_of_level(head, i, &tokens, &levels, stages, size))?;
            let refined = self.normed(refine, &self.sight_of_refining(i, up, &raised, size))?;
            levels.push((raised, refined));
        }
        let fine = self.convolved(&self.sight_of_fine(head, &levels, size).by(&head.fine))?;
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
            skip: head.skips.then_some((&self.inputs.picture, PICTURE)),
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
        self.conv_back("head.out", (&out, head.out_channels.real), &slopes, &wanted)?;
        let slopes = back::activate_back(card, &kept.fine[0], &by_shown, Activation::Silu)?;
        let fine = self.sight_of_fine(head, &kept.levels, size).by(&head.fine);
        let mut above = card.buffer(fine.x.len())?;
        let wanted = Wanted {
            x: Some((&above, false)),
            skip: None,
        };
        self.conv_back("head.fine", (&fine, head.fine_channels.real), &slopes, &wanted)?;
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
            self.normed_conv_back((&name, refine), &sight, refined, &above, &wanted)?;
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
            self.normed_conv_back((&name, up), &sight, raised, &by_raised, &wanted)?;
            // The last level has the first stage's.
            by_stages.extend(by_skip);
        }
        let narrowed = card.buffer(above.len())?;
        back::narrow(card, above.all(), &narrowed)?;
        Ok(ByDrawn {
            tokens: self.linear_back("head.tokens", &head.tokens, said, &narrowed)?,
            stages: by_stages,
        })
    }
}
