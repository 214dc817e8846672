//! A step's two passes over a card: launches only, so that either can be recorded.

use half::bf16;
use peel_kernels::ops::back::{self, Told};
use peel_kernels::ops::{self, Activation, Modulation};
use peel_kernels::{Buffer, Card};

use super::blocks::{Kind, Place, Projected, Rest};
use super::layers::Normed;
use super::network::Learning;
use super::pictures::Drawn;
use crate::card::forward::{Network, beside};
use crate::card::weights::{Head, heads_of};
use crate::ops::norm::EPSILON;
use crate::tokenizer::Stream;
use crate::{Error, Result};

/// What the forward pass leaves.
pub(super) struct Kept<C: Card> {
    stages: Vec<Normed<C>>,
    /// Noisy streams in patches.
    patches: [Buffer<C, bf16>; 2],
    /// The time's hidden layer, before its activation and behind it, and what it says to all blocks.
    hidden: [Buffer<C, bf16>; 2],
    time: Buffer<C, f32>,
    blocks: Vec<InBlock<C>>,
    /// Noisy tokens behind the last block, and normalised, background and foreground side by side.
    last: Buffer<C, f32>,
    said: Buffer<C, bf16>,
    drawn: Option<Drawn<C>>,
    /// What the network says of background and foreground.
    pub layers: [Buffer<C, f32>; 2],
}

/// Tokens of both kinds in a block.
struct InBlock<C: Card> {
    noisy: Buffer<C, f32>,
    condition: Buffer<C, f32>,
    of_noisy: Projected<C>,
    of_condition: Projected<C>,
    rest_of_noisy: Rest<C>,
    rest_of_condition: Option<Rest<C>>,
}

impl<C: Card> Learning<'_, C> {
    fn place<'b>(
        &'b self,
        index: usize,
        kind: Kind,
        time: &'b Buffer<C, f32>,
        by_time: Option<&'b Buffer<C, f32>>,
    ) -> Place<'b, C> {
        let [n, h, w] = self.size;
        let tokens = match kind {
            Kind::Noisy => 2 * self.network.tokens((h, w)),
            Kind::Condition => self.network.condition_tokens((h, w)),
        };
        Place {
            block: &self.network.weights.blocks[index],
            index,
            kind,
            samples: n,
            tokens,
            time,
            by_time,
        }
    }

    /// Place and type of every stream, as the types are now.
    fn marks(&self) -> Result<()> {
        let card = &self.network.card;
        let width = self.network.config.width;
        let types = self.parameters.value("stream_types")?;
        let kind = |stream: Stream| types.span(stream as usize * width, width);
        let marks = &self.inputs.marks;
        let mut all = vec![
            (kind(Stream::Background)?, None, &marks[2]),
            (kind(Stream::Foreground)?, None, &marks[3]),
        ];
        if self.network.config.fold_mask {
            all.push((kind(Stream::Plate)?, Some(kind(Stream::Mask)?), &marks[1]));
        } else {
            all.push((kind(Stream::Plate)?, None, &marks[0]));
            all.push((kind(Stream::Mask)?, None, &marks[1]));
        }
        for (first, second, into) in all {
            back::mark(card, &self.inputs.places, first, second, into)?;
        }
        Ok(())
    }

    /// What the network says of the inputs.
    pub(super) fn forward(&self) -> Result<Kept<C>> {
        let (network, inputs) = (self.network, &self.inputs);
        let (card, weights, d) = (&network.card, &network.weights, network.config.width);
        let [n, h, w] = self.size;
        let tokens = network.tokens((h, w));
        self.marks()?;
        let stages = self.stem(self.size)?;
        let plate = stages.last().map_or(&inputs.picture, |stage| &stage.y);
        let joined = network.joined(plate, &inputs.mask, &inputs.marks, self.size)?;
        let mut condition = Some(network.conditions(plate, &inputs.mask, &inputs.marks, self.size)?);

        let hidden = ops::linear(card, &inputs.time, n, &weights.time_in, Activation::None)?;
        let awake = back::activate(card, &hidden, Activation::Silu)?;
        let time = ops::linear_gated(card, &awake, n, &weights.time_out, None, None)?;

        let mut noisy = card.buffer(n * 2 * tokens * d)?;
        let cut = |stream: usize| -> Result<Buffer<C, bf16>> {
            let layout = network.layout(n, network.streams((h, w))[stream]);
            Ok(ops::patchify(card, &inputs.noisy[stream], layout, (1.0, 0.0))?)
        };
        let patches = [cut(0)?, cut(1)?];
        for (stream, weight) in [&weights.background, &weights.foreground].into_iter().enumerate() {
            let begun = Network::beginning(joined.as_ref(), &inputs.marks, stream, (n, tokens));
            let place = beside(&noisy, stream, tokens);
            let rows = n * tokens;
            ops::linear_gated_into(card, &patches[stream], rows, weight, Some(begun), None, &place)?;
        }

        let mut blocks = Vec::with_capacity(weights.blocks.len());
        for i in 0..weights.blocks.len() {
            let (at, below) = (
                self.place(i, Kind::Noisy, &time, None),
                self.place(i, Kind::Condition, &time, None),
            );
            let Some(seen_tokens) = condition.take() else {
                return Err(Error::NotOnCard(
                    "a block behind the last of the condition tokens",
                ));
            };
            let of_noisy = self.projected(&at, &noisy)?;
            let of_condition = self.projected(&below, &seen_tokens)?;
            let seen = below.as_tokens(&of_condition.qkv);
            let (rest_of_noisy, next_noisy) = self.rest(&at, &noisy, &of_noisy, Some(&seen))?;
            let mut rest_of_condition = None;
            if below.block.condition_rest.is_some() {
                // Conditions that may be cached do not see the noise.
                let seen = at.as_tokens(&of_noisy.qkv);
                let seen = (!network.config.condition_cache).then_some(&seen);
                let (kept, next) = self.rest(&below, &seen_tokens, &of_condition, seen)?;
                rest_of_condition = Some(kept);
                condition = Some(next);
            }
            blocks.push(InBlock {
                noisy: std::mem::replace(&mut noisy, next_noisy),
                condition: seen_tokens,
                of_noisy,
                of_condition,
                rest_of_noisy,
                rest_of_condition,
            });
        }

        if network.config.centre {
            ops::less_means(card, &noisy, (2 * n, tokens, d))?;
        }
        let said = ops::norm_modulate(card, &noisy, &self.plain(2 * tokens), Some(tokens), EPSILON)?;
        let (drawn, layers) = match &weights.head {
            Head::Pixels(head) => {
                let drawn = self.drawn(head, &said, &stages, self.size)?;
                let layers = network.layers(head, &drawn.said, inputs.base.as_ref(), self.size)?;
                (Some(drawn), layers)
            }
            Head::Patches(heads) => {
                let layers = network.patches(heads, &said, inputs.base.as_ref(), self.size)?;
                (None, layers)
            }
        };
        Ok(Kept {
            stages,
            patches,
            hidden: [hidden, awake],
            time,
            blocks,
            last: noisy,
            said,
            drawn,
            layers,
        })
    }

    /// No shift, no scale.
    fn plain(&self, rows_of_sample: usize) -> Modulation<'_, C> {
        Modulation {
            base: &self.network.weights.no_modulation,
            time: None,
            rows_of_sample,
        }
    }

    /// Adds to the gradients what the slopes of both layers say.
    pub(super) fn backward(&self, kept: &Kept<C>) -> Result<()> {
        let (network, inputs) = (self.network, &self.inputs);
        let (card, weights, d) = (&network.card, &network.weights, network.config.width);
        let [n, h, w] = self.size;
        let tokens = network.tokens((h, w));

        let mut by_stages = Vec::new();
        let by_said = match &weights.head {
            Head::Patches(heads) => self.patches_back(heads, &kept.said)?,
            Head::Pixels(head) => {
                let nothing = || Error::NotOnCard("a decoder that has drawn nothing");
                let drawn = kept.drawn.as_ref().ok_or_else(nothing)?;
                let by = self.drawn_back(head, &kept.said, drawn, &kept.stages, self.size)?;
                by_stages = by.stages;
                by.tokens
            }
        };
        let by_noisy = self.layers().nothing(kept.last.len())?;
        let nobody = Told {
            base: None,
            time: None,
        };
        let plain = self.plain(2 * tokens);
        let beside_each_other = (Some(tokens), EPSILON);
        back::norm_modulate_back(
            card,
            &kept.last,
            &plain,
            beside_each_other,
            &by_said,
            &by_noisy,
            &nobody,
        )?;
        drop(by_said);
        if network.config.centre {
            ops::less_means(card, &by_noisy, (2 * n, tokens, d))?;
        }

        let by_time = self.layers().nothing(kept.time.len())?;
        let condition_rows = n * network.condition_tokens((h, w));
        let by_condition = self.layers().nothing(condition_rows * d)?;
        for (i, block) in kept.blocks.iter().enumerate().rev() {
            let (at, below) = (
                self.place(i, Kind::Noisy, &kept.time, Some(&by_time)),
                self.place(i, Kind::Condition, &kept.time, Some(&by_time)),
            );
            let by_own = self.layers().nothing(block.of_noisy.qkv.len())?;
            let by_seen = self.layers().nothing(block.of_condition.qkv.len())?;
            let slopes = self.rest_back(&at, &block.rest_of_noisy, &by_noisy)?;
            let seen = below.as_tokens(&block.of_condition.qkv);
            let own = (&block.of_noisy, &by_own);
            self.attended_back(&at, &block.rest_of_noisy, &slopes, own, Some((&seen, &by_seen)))?;
            if let Some(rest) = &block.rest_of_condition {
                let slopes = self.rest_back(&below, rest, &by_condition)?;
                let seen = at.as_tokens(&block.of_noisy.qkv);
                let seen = (!network.config.condition_cache).then_some((&seen, &by_own));
                let own = (&block.of_condition, &by_seen);
                self.attended_back(&below, rest, &slopes, own, seen)?;
            }
            self.projected_back(&at, &block.noisy, &block.of_noisy, &by_own, &by_noisy)?;
            self.projected_back(
                &below,
                &block.condition,
                &block.of_condition,
                &by_seen,
                &by_condition,
            )?;
        }
        self.embedded_back(kept, &by_noisy, &by_condition, by_stages)?;

        let slopes = card.buffer(by_time.len())?;
        back::narrow(card, by_time.all(), &slopes)?;
        let slopes = self
            .layers()
            .linear_back("time.out", &weights.time_out, &kept.hidden[1], &slopes)?;
        let slopes = back::activate_back(card, &kept.hidden[0], &slopes, Activation::Silu)?;
        self.layers().linear_told("time.in", &inputs.time, &slopes, n)
    }

    /// Slopes of the normalised output tokens, (N, T, 2 width), where the head is linear.
    fn patches_back(&self, heads: &[ops::Weight<C>; 2], said: &Buffer<C, bf16>) -> Result<Buffer<C, f32>> {
        let (network, d) = (self.network, self.network.config.width);
        let card = &network.card;
        let [n, h, w] = self.size;
        let rows = n * network.tokens((h, w));
        let by_said = card.buffer(said.len())?;
        for (stream, (name, weight, half)) in heads_of(heads).enumerate() {
            let layout = network.layout(n, network.streams((h, w))[stream]);
            let slopes = ops::patchify(card, &self.inputs.slopes[stream], layout, (1.0, 0.0))?;
            back::linear_back_input(card, &slopes, rows, weight, &by_said, stream > 0)?;
            let outputs = weight.bias.len();
            let both = self.layers().nothing(outputs * 2 * d)?;
            back::linear_back_weight(card, &slopes, said, rows, both.all())?;
            let into = self.parameters.gradient(&format!("{name}.weight"))?;
            back::add_columns(card, &both, (2 * d, half * d), (into, d))?;
            let into = self.parameters.gradient(&format!("{name}.bias"))?;
            back::bias_back(card, &slopes, rows, into)?;
        }
        Ok(by_said)
    }

    /// Embeddings, types and stem.
    fn embedded_back(
        &self,
        kept: &Kept<C>,
        by_noisy: &Buffer<C, f32>,
        by_condition: &Buffer<C, f32>,
        mut by_stages: Vec<Buffer<C, f32>>,
    ) -> Result<()> {
        let (network, inputs) = (self.network, &self.inputs);
        let (card, weights, d) = (&network.card, &network.weights, network.config.width);
        let [n, h, w] = self.size;
        let tokens = network.tokens((h, w));
        let rows = n * tokens;
        let types = self.parameters.gradient("stream_types")?;
        let marked = |slopes: &Buffer<C, bf16>, stream: Stream| -> Result<()> {
            let into = types.span(stream as usize * d, d)?;
            Ok(back::bias_back(card, slopes, rows, into)?)
        };
        let of_stream = |all: &Buffer<C, f32>, stream: usize| {
            back::narrow_rows(card, all, (rows, d), (stream * tokens, tokens, tokens))
        };
        // Slopes of what plate and mask are embedded as, besides those of the condition tokens.
        let mut by_join = Vec::new();
        for (i, (name, stream)) in [
            ("embed.background", Stream::Background),
            ("embed.foreground", Stream::Foreground),
        ]
        .into_iter()
        .enumerate()
        {
            let slopes = of_stream(by_noisy, i)?;
            self.layers().linear_told(name, &kept.patches[i], &slopes, rows)?;
            marked(&slopes, stream)?;
            if network.config.join {
                by_join.push(slopes);
            }
        }
        let folded = network.config.fold_mask;
        let of_condition = |stream: usize| {
            if folded {
                back::narrow_rows(card, by_condition, (rows, d), (0, rows, 0))
            } else {
                of_stream(by_condition, stream)
            }
        };
        let (of_plate, of_mask) = (of_condition(0)?, of_condition(1)?);
        marked(&of_mask, Stream::Mask)?;
        marked(&of_plate, Stream::Plate)?;
        for slopes in std::iter::once(&of_mask).chain(&by_join) {
            self.layers()
                .linear_told("embed.mask", &inputs.mask, slopes, rows)?;
        }
        let of_plates = std::iter::once(&of_plate).chain(&by_join);
        match kept.stages.last() {
            None => {
                for slopes in of_plates {
                    self.layers()
                        .linear_told("embed.plate", &inputs.picture, slopes, rows)?;
                }
                Ok(())
            }
            Some(deepest) => {
                // What the head does not see of the stem has no slopes yet.
                for stage in &kept.stages[by_stages.len()..kept.stages.len() - 1] {
                    by_stages.push(self.layers().nothing(stage.y.len())?);
                }
                let back = |slopes| {
                    self.layers()
                        .linear_back("embed.plate", &weights.plate, &deepest.y, slopes)
                };
                let parts = of_plates.map(back).collect::<Result<Vec<_>>>()?;
                let parts: Vec<_> = parts.iter().map(|part| (1.0, part)).collect();
                by_stages.push(ops::combine(card, &parts)?);
                self.stem_back(&kept.stages, &by_stages, self.size)
            }
        }
    }
}
