//! The forward pass over a card, in two parts: what is done once for plates, and a step. Launches only: nothing is copied to the
//! card or from it, so that either part can be recorded.

use half::bf16;
use peel_kernels::ops::{self, Activation, Gate, Layout, Modulation, Place, Residual, Step, Tokens, Weight};
use peel_kernels::{Buffer, Card};

use super::layers::conv_block;
use super::weights::{Block, Head, PixelHead, Weights};
use crate::ops::norm::EPSILON;
use crate::pixels::Hints;
use crate::{Config, Result, TokenizerConfig};

/// The network with its weights on a card.
#[derive(Debug)]
pub(super) struct Network<C: Card> {
    pub card: C,
    pub config: Config,
    pub weights: Weights<C>,
}

/// Channels, height and width of a noisy stream.
pub(super) type Stream = [usize; 3];

/// What the CPU hands over. T is the number of tokens of a stream.
#[derive(Debug)]
pub(super) struct Inputs<C: Card> {
    /// What the stem sees, (N, H, W, [`Hints::card_channels`]); of a latent model the plate's latents in patches, (N, T, features).
    pub picture: Buffer<C, bf16>,
    /// The mask in patches, -1..1, (N, T, patch patch); of a latent model its latents in patches, (N, T, features).
    pub mask: Buffer<C, bf16>,
    /// What background and foreground are predicted as differences from, as large as the noisy streams, if they are.
    pub base: Option<[Buffer<C, f32>; 2]>,
    /// Place and type of plate, mask, background and foreground tokens, (T, width); of folded conditions the sum of both for the
    /// mask, and nothing for the plate.
    pub marks: [Buffer<C, f32>; 4],
    /// Noisy background and foreground, (N, channels, height, width).
    pub noisy: [Buffer<C, f32>; 2],
    /// The features of the time, (N, features).
    pub time: Buffer<C, bf16>,
}

/// Plates that the card has digested.
#[derive(Debug)]
pub(super) struct Digested<C: Card> {
    /// The stem's features at 1/2, 1/4 and 1/8, channels last.
    pub skips: Vec<Buffer<C, bf16>>,
    conditions: Conditions<C>,
    /// See [`Network::joined`].
    joined: Option<[Buffer<C, f32>; 2]>,
}

/// What the noisy tokens need of the condition tokens.
#[derive(Debug)]
enum Conditions<C: Card> {
    /// Normalised keys and values in each block.
    Cached(Vec<Buffer<C, bf16>>),
    /// The tokens, (N, tokens, width), to be carried through the blocks in each step.
    Tokens(Buffer<C, f32>),
}

/// Queries, keys and values of condition tokens in a block, and the tokens of the next block, if there is one.
type Conditioned<C> = (Buffer<C, bf16>, Option<Buffer<C, f32>>);

impl<C: Card> Network<C> {
    /// Noisy background and foreground for pictures of (height, width).
    pub fn streams(&self, (h, w): (usize, usize)) -> [Stream; 2] {
        match &self.config.tokenizer {
            TokenizerConfig::Pixels { .. } => [[3, h, w], [4, h, w]],
            TokenizerConfig::Latent { vae, .. } => {
                let stride = vae.stride();
                [[vae.latent, h / stride, w / stride]; 2]
            }
        }
    }

    /// Side of a patch of the noisy streams.
    pub fn patch(&self) -> usize {
        match &self.config.tokenizer {
            TokenizerConfig::Pixels { patch, .. } | TokenizerConfig::Latent { patch, .. } => *patch,
        }
    }

    /// Tokens of a stream.
    pub fn tokens(&self, (h, w): (usize, usize)) -> usize {
        let stride = self.config.stride();
        h / stride * (w / stride)
    }

    /// Channels of what the stem sees.
    pub fn picture_channels(&self) -> usize {
        Hints::of(&self.config.tokenizer).card_channels()
    }

    /// Condition tokens.
    pub fn condition_tokens(&self, size: (usize, usize)) -> usize {
        self.tokens(size) * if self.config.fold_mask { 1 } else { 2 }
    }

    /// The stem and, with the condition cache, the condition pass of every block. `size` is N, H, W.
    pub fn digest(&self, inputs: &Inputs<C>, size: [usize; 3]) -> Result<Digested<C>> {
        let weights = &self.weights;
        let [n, h, w] = size;
        let mut skips: Vec<Buffer<C, bf16>> = Vec::with_capacity(weights.stem.len());
        let mut size = [n, h, w, self.picture_channels()];
        for stage in &weights.stem {
            let below = skips.last().unwrap_or(&inputs.picture);
            let next = conv_block(&self.card, stage, below, None, size, Step::Half)?;
            size = [n, size[1] / 2, size[2] / 2, stage.channels()];
            skips.push(next);
        }
        let deepest = skips.pop();
        let plate = deepest.as_ref().unwrap_or(&inputs.picture);

        let joined = self.joined(plate, &inputs.mask, &inputs.marks, [n, h, w])?;
        let mut c = self.conditions(plate, &inputs.mask, &inputs.marks, [n, h, w])?;
        if !self.config.condition_cache {
            return Ok(Digested {
                skips,
                conditions: Conditions::Tokens(c),
                joined,
            });
        }
        let mut keys = Vec::with_capacity(weights.blocks.len());
        for block in &weights.blocks {
            let (qkv, next) = self.condition(block, c, n, None)?;
            keys.push(qkv);
            match next {
                Some(next) => c = next,
                None => break,
            }
        }
        Ok(Digested {
            skips,
            conditions: Conditions::Cached(keys),
            joined,
        })
    }

    /// What noisy background and foreground tokens begin with, (N T, width) each, where they are joined to the conditions' tokens of
    /// their place: those, and their own marks.
    pub fn joined(
        &self,
        plate: &Buffer<C, bf16>,
        mask: &Buffer<C, bf16>,
        marks: &[Buffer<C, f32>; 4],
        size: [usize; 3],
    ) -> Result<Option<[Buffer<C, f32>; 2]>> {
        if !self.config.join {
            return Ok(None);
        }
        let of = |stream: usize| self.summed(plate, mask, &marks[2 + stream], size);
        Ok(Some([of(0)?, of(1)?]))
    }

    /// What is added to the tokens of a noisy stream, (N T, width) or repeated every T.
    pub fn beginning<'a>(
        joined: Option<&'a [Buffer<C, f32>; 2]>,
        marks: &'a [Buffer<C, f32>; 4],
        stream: usize,
        (n, tokens): (usize, usize),
    ) -> Residual<'a, C> {
        match joined {
            Some(joined) => Residual {
                values: &joined[stream],
                period: n * tokens,
            },
            None => Residual {
                values: &marks[2 + stream],
                period: tokens,
            },
        }
    }

    /// The tokens of plate and mask, summed and marked.
    fn summed(
        &self,
        plate: &Buffer<C, bf16>,
        mask: &Buffer<C, bf16>,
        marks: &Buffer<C, f32>,
        [n, h, w]: [usize; 3],
    ) -> Result<Buffer<C, f32>> {
        let (card, weights) = (&self.card, &self.weights);
        let tokens = self.tokens((h, w));
        let rows = n * tokens;
        let marks = Residual {
            values: marks,
            period: tokens,
        };
        let of_mask = ops::linear_gated(card, mask, rows, &weights.mask, Some(marks), None)?;
        let of_mask = Residual {
            values: &of_mask,
            period: rows,
        };
        Ok(ops::linear_gated(
            card,
            plate,
            rows,
            &weights.plate,
            Some(of_mask),
            None,
        )?)
    }

    /// Condition tokens, embedded and marked: see [`Inputs`] for what they are made from.
    pub fn conditions(
        &self,
        plate: &Buffer<C, bf16>,
        mask: &Buffer<C, bf16>,
        marks: &[Buffer<C, f32>; 4],
        [n, h, w]: [usize; 3],
    ) -> Result<Buffer<C, f32>> {
        let (card, weights) = (&self.card, &self.weights);
        let tokens = self.tokens((h, w));
        let rows = n * tokens;
        let mark = |values| {
            Some(Residual {
                values,
                period: tokens,
            })
        };
        if self.config.fold_mask {
            self.summed(plate, mask, &marks[1], [n, h, w])
        } else {
            let c = card.buffer(2 * rows * self.config.width)?;
            let streams = [(plate, &weights.plate), (mask, &weights.mask)];
            for (stream, (features, weight)) in streams.into_iter().enumerate() {
                let place = beside(&c, stream, tokens);
                let marks = mark(&marks[stream]);
                ops::linear_gated_into(card, features, rows, weight, marks, None, &place)?;
            }
            Ok(c)
        }
    }

    /// A block's work on the condition tokens of `n` samples. They see each other, and `noisy` tokens if there are any.
    fn condition(
        &self,
        block: &Block<C>,
        c: Buffer<C, f32>,
        n: usize,
        noisy: Option<&Tokens<'_, C>>,
    ) -> Result<Conditioned<C>> {
        let tokens = c.len() / self.config.width / n;
        let qkv = self.project(block, &c, &block.condition_attention, None, tokens)?;
        let Some(rest) = &block.condition_rest else {
            return Ok((qkv, None));
        };
        let own = Tokens {
            values: &qkv,
            samples: n,
            tokens,
        };
        let found = self.attend(&own, noisy)?;
        let gate = |base| {
            Some(Gate {
                base,
                time: None,
                rows_of_sample: tokens,
            })
        };
        let c = self.add(&found, &block.out, c, gate(&rest.attention_gate))?;
        let plain = Modulation {
            base: &rest.feed,
            time: None,
            rows_of_sample: tokens,
        };
        let c = self.feed(block, c, &plain, gate(&rest.feed_gate))?;
        Ok((qkv, Some(c)))
    }

    /// What the network says of the noisy streams, as large as they are.
    pub fn step(
        &self,
        inputs: &Inputs<C>,
        digested: &Digested<C>,
        size: [usize; 3],
    ) -> Result<[Buffer<C, f32>; 2]> {
        let (card, weights, d) = (&self.card, &self.weights, self.config.width);
        let [n, h, w] = size;
        let tokens = self.tokens((h, w));

        let time = ops::linear(card, &inputs.time, n, &weights.time_in, Activation::Silu)?;
        // (N, 2 halves, 3: shift, scale, gate, width)
        let time = ops::linear_gated(card, &time, n, &weights.time_out, None, None)?;

        let mut x = card.buffer(n * 2 * tokens * d)?;
        let embeddings = [&weights.background, &weights.foreground];
        for (stream, channels) in self.streams((h, w)).into_iter().enumerate() {
            let cut = ops::patchify(card, &inputs.noisy[stream], self.layout(n, channels), (1.0, 0.0))?;
            let begun = Self::beginning(digested.joined.as_ref(), &inputs.marks, stream, (n, tokens));
            let place = beside(&x, stream, tokens);
            ops::linear_gated_into(
                card,
                &cut,
                n * tokens,
                embeddings[stream],
                Some(begun),
                None,
                &place,
            )?;
        }

        let rows_of_sample = 2 * tokens;
        // Those that are carried along; the first block has them from the digest.
        let mut carried: Option<Buffer<C, f32>> = match &digested.conditions {
            Conditions::Cached(_) => None,
            Conditions::Tokens(c) => Some(ops::combine(card, &[(1.0, c)])?),
        };
        for (i, block) in weights.blocks.iter().enumerate() {
            let attention = Some((&time, 0, 6 * d));
            let qkv = self.project(block, &x, &block.noisy_attention.0, attention, rows_of_sample)?;
            let own = Tokens {
                values: &qkv,
                samples: n,
                tokens: rows_of_sample,
            };
            let mut made = None;
            if let Some(c) = carried.take() {
                let (keys, next) = self.condition(block, c, n, Some(&own))?;
                made = Some(keys);
                carried = next;
            }
            let cached = match &digested.conditions {
                Conditions::Cached(keys) => keys.get(i),
                Conditions::Tokens(_) => made.as_ref(),
            };
            let seen = cached.map(|values| Tokens {
                values,
                samples: n,
                tokens: self.condition_tokens((h, w)),
            });
            let found = self.attend(&own, seen.as_ref())?;
            let gate = |base, at| {
                Some(Gate {
                    base,
                    time: Some((&time, at, 6 * d)),
                    rows_of_sample,
                })
            };
            x = self.add(&found, &block.out, x, gate(&block.noisy_attention.1, 2 * d))?;
            let modulation = Modulation {
                base: &block.noisy_feed.0,
                time: Some((&time, 3 * d, 6 * d)),
                rows_of_sample,
            };
            x = self.feed(block, x, &modulation, gate(&block.noisy_feed.1, 5 * d))?;
        }
        if self.config.centre {
            ops::less_means(card, &x, (2 * n, tokens, d))?;
        }
        let plain = Modulation {
            base: &weights.no_modulation,
            time: None,
            rows_of_sample,
        };
        // Background and foreground of a token side by side, (N, T, 2 width).
        let said = ops::norm_modulate(card, &x, &plain, Some(tokens), EPSILON)?;
        match &weights.head {
            Head::Pixels(head) => self.pictures(head, inputs, digested, size, &said),
            Head::Patches(heads) => self.patches(heads, &said, inputs.base.as_ref(), size),
        }
    }

    /// What heads of linear patches say: those of a latent model, and of a pixel model without a decoder.
    pub fn patches(
        &self,
        heads: &[Weight<C>; 2],
        said: &Buffer<C, bf16>,
        base: Option<&[Buffer<C, f32>; 2]>,
        [n, h, w]: [usize; 3],
    ) -> Result<[Buffer<C, f32>; 2]> {
        let streams = self.streams((h, w));
        let rows = n * self.tokens((h, w));
        let layer = |stream: usize| -> Result<Buffer<C, f32>> {
            let patches = ops::linear_gated(&self.card, said, rows, &heads[stream], None, None)?;
            let layout = self.layout(n, streams[stream]);
            let layer = ops::unpatchify(&self.card, &patches, layout, (1.0, 0.0))?;
            match base {
                Some(base) => Ok(ops::combine(&self.card, &[(1.0, &base[stream]), (1.0, &layer)])?),
                None => Ok(layer),
            }
        };
        Ok([layer(0)?, layer(1)?])
    }

    /// Pictures of a noisy stream in patches.
    pub fn layout(&self, pictures: usize, [channels, h, w]: Stream) -> Layout {
        Layout {
            pictures,
            channels,
            size: (h, w),
            patch: self.patch(),
        }
    }

    /// The pixel model's decoder, to background and foreground.
    fn pictures(
        &self,
        head: &PixelHead<C>,
        inputs: &Inputs<C>,
        digested: &Digested<C>,
        size: [usize; 3],
        tokens: &Buffer<C, bf16>,
    ) -> Result<[Buffer<C, f32>; 2]> {
        let said = self.head(head, inputs, digested, size, tokens)?;
        self.layers(head, &said, inputs.base.as_ref(), size)
    }

    /// What the decoder said, (N, H, W, outputs), as background and foreground in planes.
    pub fn layers(
        &self,
        head: &PixelHead<C>,
        said: &Buffer<C, f32>,
        base: Option<&[Buffer<C, f32>; 2]>,
        [n, h, w]: [usize; 3],
    ) -> Result<[Buffer<C, f32>; 2]> {
        let stride = head.out.bias.len();
        let layer = |stream: usize, first: usize, channels: usize| {
            let base = base.map(|base| &base[stream]);
            ops::planes(&self.card, said, (n, h * w, stride), (first, channels), base)
        };
        Ok([layer(0, 0, 3)?, layer(1, 3, 4)?])
    }
}

/// Where the rows of one of two streams go: behind the other's in each sample.
pub(super) fn beside<C: Card>(into: &Buffer<C, f32>, stream: usize, tokens: usize) -> Place<'_, C> {
    Place {
        into,
        first: stream * tokens,
        run: tokens,
        gap: tokens,
    }
}
