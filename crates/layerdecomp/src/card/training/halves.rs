//! Encoder and decoder of an autoencoder over one picture: with what the backward pass wants of them, and backward.

use half::bf16;
use peel_kernels::ops::back;
use peel_kernels::ops::{self, Activation, Ending, Gate, Step, Weight};
use peel_kernels::{Buffer, Card};

use super::layers::{Layers, Sight, Wanted};
use crate::card::vae::{Attended, Attention, Half, Middle, Norm, Residual, Seen};
use crate::card::weights::Kernel;
use crate::{Error, Result};

/// A picture on its way, channels last.
#[derive(Debug)]
pub(super) struct Picture<C: Card> {
    pub values: Buffer<C, bf16>,
    pub h: usize,
    pub w: usize,
}

impl<C: Card> Picture<C> {
    fn pixels(&self) -> usize {
        self.h * self.w
    }

    fn channels(&self) -> usize {
        self.values.len() / self.pixels()
    }

    /// As a convolution sees it.
    fn sight(&self, step: Step) -> Sight<'_, C> {
        Sight {
            x: &self.values,
            skip: None,
            size: [1, self.h, self.w, self.channels()],
            step,
        }
    }
}

/// A group norm with what follows it: moments of its groups, and the result.
struct InNorm<C: Card> {
    moments: Buffer<C, f32>,
    y: Picture<C>,
}

struct InResidual<C: Card> {
    x: Picture<C>,
    first: InNorm<C>,
    /// Between the convolutions.
    middle: Picture<C>,
    second: InNorm<C>,
}

struct InMiddle<C: Card> {
    first: InResidual<C>,
    /// What attention took.
    x: Picture<C>,
    tokens: InNorm<C>,
    attended: Attended<C>,
    second: InResidual<C>,
}

struct InLevel<C: Card> {
    blocks: Vec<InResidual<C>>,
    /// What changed its size.
    resized: Option<Picture<C>>,
}

/// What a half leaves.
pub(super) struct InHalf<C: Card> {
    levels: Vec<InLevel<C>>,
    middle: InMiddle<C>,
    /// What the last norm took.
    last: Picture<C>,
    norm: InNorm<C>,
    /// What it says, (pixels, channels filled up to a multiple of 8).
    pub said: Buffer<C, f32>,
}

/// A half under training.
pub(super) struct Halves<'a, C: Card> {
    pub layers: Layers<'a, C>,
    pub half: &'a Half<C>,
    /// Where it lies among the weights.
    pub name: String,
    /// Room for keys and values of its attention.
    pub seen: &'a Seen<C>,
    /// One number, 1.
    pub one: &'a Buffer<C, f32>,
    pub decodes: bool,
}

impl<C: Card> Halves<'_, C> {
    fn at(&self, part: &str) -> String {
        format!("{}.{part}", self.name)
    }

    fn step(&self) -> Step {
        if self.decodes {
            Step::Double
        } else {
            Step::HalfBehind
        }
    }

    fn resize(&self, level: usize) -> String {
        let part = if self.decodes { "up" } else { "down" };
        self.at(&format!("levels.{level}.{part}"))
    }

    fn convolved(&self, kernel: &Kernel<C>, x: &Picture<C>, step: Step) -> Result<Picture<C>> {
        let values = self.layers.convolved(&x.sight(step).by(&kernel.weight))?;
        let (h, w) = step.result((x.h, x.w));
        Ok(Picture { values, h, w })
    }

    fn normed(&self, norm: &Norm<C>, x: &Picture<C>, activation: Activation) -> Result<InNorm<C>> {
        let of = norm.of_picture(activation);
        let (values, moments) = ops::group_norm_kept(self.layers.card, &x.values, &of)?;
        let y = Picture { values, ..*x };
        Ok(InNorm { moments, y })
    }

    fn residual(&self, block: &Residual<C>, x: Picture<C>) -> Result<(InResidual<C>, Picture<C>)> {
        let card = self.layers.card;
        let first = self.normed(&block.norms[0], &x, Activation::Silu)?;
        let middle = self.convolved(&block.convs[0], &first.y, Step::Same)?;
        let second = self.normed(&block.norms[1], &middle, Activation::Silu)?;
        let more = self.convolved(&block.convs[1], &second.y, Step::Same)?;
        let values = match &block.shortcut {
            Some(shortcut) => {
                let own = ops::linear(card, &x.values, x.pixels(), shortcut, Activation::None)?;
                ops::add_pictures(card, &own, &more.values)?
            }
            None => ops::add_pictures(card, &x.values, &more.values)?,
        };
        let y = Picture { values, ..more };
        let kept = InResidual {
            x,
            first,
            middle,
            second,
        };
        Ok((kept, y))
    }

    fn middle(&self, middle: &Middle<C>, x: Picture<C>) -> Result<(InMiddle<C>, Picture<C>)> {
        let card = self.layers.card;
        let (first, x) = self.residual(&middle.first, x)?;
        let tokens = self.normed(&middle.attention.norm, &x, Activation::None)?;
        let attended = middle
            .attention
            .attend(card, &tokens.y.values, x.pixels(), self.seen)?;
        let values = ops::add_pictures(card, &x.values, &attended.said)?;
        let (second, y) = self.residual(&middle.second, Picture { values, ..x })?;
        let kept = InMiddle {
            first,
            x,
            tokens,
            attended,
            second,
        };
        Ok((kept, y))
    }

    fn levels(&self, mut x: Picture<C>) -> Result<(Vec<InLevel<C>>, Picture<C>)> {
        let mut levels = Vec::with_capacity(self.half.levels.len());
        for level in &self.half.levels {
            let mut blocks = Vec::with_capacity(level.blocks.len());
            for block in &level.blocks {
                let (kept, next) = self.residual(block, x)?;
                blocks.push(kept);
                x = next;
            }
            let mut resized = None;
            if let Some(kernel) = &level.resize {
                let next = self.convolved(kernel, &x, self.step())?;
                resized = Some(std::mem::replace(&mut x, next));
            }
            levels.push(InLevel { blocks, resized });
        }
        Ok((levels, x))
    }

    /// From what it takes, its channels filled up to a multiple of 8, to what it says.
    pub fn forward(&self, x: &Picture<C>) -> Result<InHalf<C>> {
        let half = self.half;
        let entered = self.convolved(&half.enter, x, Step::Same)?;
        let (levels, middle, last) = if self.decodes {
            let (middle, x) = self.middle(&half.middle, entered)?;
            let (levels, x) = self.levels(x)?;
            (levels, middle, x)
        } else {
            let (levels, x) = self.levels(entered)?;
            let (middle, x) = self.middle(&half.middle, x)?;
            (levels, middle, x)
        };
        let norm = self.normed(&half.norm, &last, Activation::Silu)?;
        let leave = norm.y.sight(Step::Same).by(&half.leave.weight);
        let Ending::F32(said) = ops::conv3x3(self.layers.card, &leave, Activation::None, true)? else {
            return Err(Error::NotOnCard(
                "a convolution that ends in bf16 where f32 was asked for",
            ));
        };
        Ok(InHalf {
            levels,
            middle,
            last,
            norm,
            said,
        })
    }

    /// Slopes of a convolution's picture, from those of its result.
    fn convolved_back(
        &self,
        (name, kernel): (&str, &Kernel<C>),
        (x, step): (&Picture<C>, Step),
        slopes: &Buffer<C, bf16>,
    ) -> Result<Buffer<C, f32>> {
        let into = self.layers.card.buffer(x.values.len())?;
        let wanted = Wanted {
            x: Some((&into, false)),
            skip: None,
        };
        let conv = x.sight(step).by(&kernel.weight);
        let real = kernel.channels_of.real;
        self.layers.conv_back(name, (&conv, real), slopes, &wanted)?;
        Ok(into)
    }

    /// Slopes of what a norm took, from those of its result.
    fn normed_back(
        &self,
        (name, norm): (&str, &Norm<C>),
        (x, kept): (&Picture<C>, &InNorm<C>),
        slopes: &Buffer<C, f32>,
        activation: Activation,
    ) -> Result<Buffer<C, bf16>> {
        let told = |part: &str| self.layers.parameters.gradient(&format!("{name}.{part}"));
        Ok(back::group_norm_back(
            self.layers.card,
            (&x.values, &kept.moments),
            &norm.of_picture(activation),
            slopes,
            (told("weight")?, told("bias")?),
        )?)
    }

    /// Slopes in f32, and others in bf16 added to them.
    fn sum(&self, slopes: &Buffer<C, f32>, more: &Buffer<C, bf16>) -> Result<Buffer<C, f32>> {
        let whole = Gate {
            base: self.one,
            time: None,
            rows_of_sample: slopes.len(),
        };
        Ok(back::gated_add(self.layers.card, slopes, more, &whole)?)
    }

    fn narrowed(&self, slopes: &Buffer<C, f32>, count: usize) -> Result<Buffer<C, bf16>> {
        let narrow = self.layers.card.buffer(count)?;
        back::narrow(self.layers.card, slopes.span(0, count)?, &narrow)?;
        Ok(narrow)
    }

    fn residual_back(
        &self,
        (name, block): (&str, &Residual<C>),
        kept: &InResidual<C>,
        slopes: Buffer<C, f32>,
    ) -> Result<Buffer<C, f32>> {
        let at = |part: &str| format!("{name}.{part}");
        let own = self.narrowed(&slopes, slopes.len())?;
        let [first, second] = &block.convs;
        let by = self.convolved_back((&at("conv2"), second), (&kept.second.y, Step::Same), &own)?;
        let by = self.normed_back(
            (&at("norm2"), &block.norms[1]),
            (&kept.middle, &kept.second),
            &by,
            Activation::Silu,
        )?;
        let by = self.convolved_back((&at("conv1"), first), (&kept.first.y, Step::Same), &by)?;
        let by = self.normed_back(
            (&at("norm1"), &block.norms[0]),
            (&kept.x, &kept.first),
            &by,
            Activation::Silu,
        )?;
        let straight = match &block.shortcut {
            Some(shortcut) => {
                let x = &kept.x.values;
                self.layers.linear_back(&at("shortcut"), shortcut, x, &own)?
            }
            None => slopes,
        };
        self.sum(&straight, &by)
    }

    fn middle_back(
        &self,
        middle: &Middle<C>,
        kept: &InMiddle<C>,
        slopes: Buffer<C, f32>,
    ) -> Result<Buffer<C, f32>> {
        let name = |part: &str| self.at(&format!("middle.{part}"));
        let by = self.residual_back((&name("second"), &middle.second), &kept.second, slopes)?;
        let by_tokens = self.attended_back((&name("attention"), &middle.attention), kept, &by)?;
        let of_norm = (name("attention.norm"), &middle.attention.norm);
        let more = self.normed_back(
            (&of_norm.0, of_norm.1),
            (&kept.x, &kept.tokens),
            &by_tokens,
            Activation::None,
        )?;
        let by = self.sum(&by, &more)?;
        self.residual_back((&name("first"), &middle.first), &kept.first, by)
    }

    /// Slopes of the tokens that attended, from those of what was added to the picture.
    fn attended_back(
        &self,
        (name, attention): (&str, &Attention<C>),
        kept: &InMiddle<C>,
        slopes: &Buffer<C, f32>,
    ) -> Result<Buffer<C, f32>> {
        let (card, layers, attended) = (self.layers.card, &self.layers, &kept.attended);
        let (pixels, tokens) = (kept.x.pixels(), &kept.tokens.y.values);
        let at = |part: &str| format!("{name}.{part}");
        let slopes = self.narrowed(slopes, slopes.len())?;
        let slopes = layers.linear_back(&at("out"), &attention.out, &attended.found, &slopes)?;
        let slopes = self.narrowed(&slopes, slopes.len())?;
        // Keys and values have rows that only fill up; their slopes are left out.
        let rows = self.seen.keys.bias.len();
        let of_all = |slopes: &Buffer<C, bf16>, x: &Buffer<C, bf16>| -> Result<Buffer<C, bf16>> {
            let all = layers.nothing(x.len() / pixels * rows)?;
            back::linear_back_weight(card, slopes, x, pixels, all.all())?;
            self.narrowed(&all, x.len())
        };
        let by_values = of_all(&attended.weights, &slopes)?;
        let by_weights = ops::linear_gated(card, &slopes, pixels, &self.seen.values, None, None)?;
        let scale = attention.scale();
        let by_scores = ops::softmax_rows_back(card, &attended.weights, &by_weights, pixels, scale)?;
        let by_queries = card.buffer(attended.queries.len())?;
        back::linear_back_input(card, &by_scores, pixels, &self.seen.keys, &by_queries, false)?;
        let by_queries = self.narrowed(&by_queries, by_queries.len())?;
        let by_keys = of_all(&by_scores, &attended.queries)?;
        let by_tokens = card.buffer(tokens.len())?;
        let of: [(&str, &Weight<C>, _); 3] = [
            ("q", &attention.q, by_queries),
            ("k", &attention.k, by_keys),
            ("v", &attention.v, by_values),
        ];
        for (i, (part, weight, slopes)) in of.into_iter().enumerate() {
            back::linear_back_input(card, &slopes, pixels, weight, &by_tokens, i > 0)?;
            layers.linear_told(&at(part), tokens, &slopes, pixels)?;
        }
        Ok(by_tokens)
    }

    fn levels_back(&self, kept: &[InLevel<C>], mut slopes: Buffer<C, f32>) -> Result<Buffer<C, f32>> {
        for (i, (level, kept)) in self.half.levels.iter().zip(kept).enumerate().rev() {
            if let (Some(kernel), Some(x)) = (&level.resize, &kept.resized) {
                let narrow = self.narrowed(&slopes, slopes.len())?;
                slopes = self.convolved_back((&self.resize(i), kernel), (x, self.step()), &narrow)?;
            }
            for (b, (block, kept)) in level.blocks.iter().zip(&kept.blocks).enumerate().rev() {
                let name = self.at(&format!("levels.{i}.blocks.{b}"));
                slopes = self.residual_back((&name, block), kept, slopes)?;
            }
        }
        Ok(slopes)
    }

    /// From slopes of what it said; into those of what it took, channels filled up, if they are asked for.
    pub fn backward(
        &self,
        x: &Picture<C>,
        kept: &InHalf<C>,
        slopes: &Buffer<C, bf16>,
        into: Option<&Buffer<C, f32>>,
    ) -> Result<()> {
        let half = self.half;
        let leave = (self.at("conv_out"), &half.leave);
        let by = self.convolved_back((&leave.0, leave.1), (&kept.norm.y, Step::Same), slopes)?;
        let by = self.normed_back(
            (&self.at("norm"), &half.norm),
            (&kept.last, &kept.norm),
            &by,
            Activation::Silu,
        )?;
        // In f32, to which branches add.
        let nothing = self.layers.nothing(by.len())?;
        let by = self.sum(&nothing, &by)?;
        let by = if self.decodes {
            let by = self.levels_back(&kept.levels, by)?;
            self.middle_back(&half.middle, &kept.middle, by)?
        } else {
            let by = self.middle_back(&half.middle, &kept.middle, by)?;
            self.levels_back(&kept.levels, by)?
        };
        let by = self.narrowed(&by, by.len())?;
        let wanted = Wanted {
            x: into.map(|into| (into, false)),
            skip: None,
        };
        let conv = x.sight(Step::Same).by(&half.enter.weight);
        let real = half.enter.channels_of.real;
        self.layers
            .conv_back(&self.at("conv_in"), (&conv, real), &by, &wanted)
    }
}
