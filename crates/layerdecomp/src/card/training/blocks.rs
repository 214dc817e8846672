//! A transformer block over one of its two kinds of tokens, with what the backward pass wants of it.

use half::bf16;
use peel_kernels::ops::back::{self, Told};
use peel_kernels::ops::{self, Activation, Gate, Modulation, Tokens};
use peel_kernels::{Buffer, Card, Span};

use super::network::Learning;
use crate::card::weights::Block;
use crate::ops::norm::EPSILON;
use crate::{Error, Result};

/// Noisy tokens, modulated by time, or condition tokens, modulated by constants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Noisy,
    Condition,
}

/// The half of a block that attends, and the one that feeds forward.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Half {
    Attention,
    Feed,
}

/// Tokens of a kind in a block.
pub(super) struct Place<'a, C: Card> {
    pub block: &'a Block<C>,
    /// Which block.
    pub index: usize,
    pub kind: Kind,
    /// Samples, and tokens of a sample.
    pub samples: usize,
    pub tokens: usize,
    /// What the time says to all blocks, (samples, 2 halves, 3, width), and where its slopes are summed up.
    pub time: &'a Buffer<C, f32>,
    pub by_time: Option<&'a Buffer<C, f32>>,
}

/// Queries, keys and values, the first two normalised.
pub(super) struct Projected<C: Card> {
    /// What was projected, (rows, width).
    normal: Buffer<C, bf16>,
    pub qkv: Buffer<C, bf16>,
    rates: Buffer<C, f32>,
}

/// What follows attention.
pub(super) struct Rest<C: Card> {
    found: Buffer<C, bf16>,
    log_sums: Buffer<C, f32>,
    /// Of the attending half, before its gate.
    attended: Buffer<C, bf16>,
    /// Tokens between the halves.
    middle: Buffer<C, f32>,
    normal: Buffer<C, bf16>,
    before: Buffer<C, bf16>,
    hidden: Buffer<C, bf16>,
    /// Of the feeding half, before its gate.
    fed: Buffer<C, bf16>,
}

impl<'a, C: Card> Place<'a, C> {
    fn name(&self, part: &str) -> String {
        format!("blocks.{}.{part}", self.index)
    }

    fn of(&self, half: Half, what: &str) -> String {
        let kind = match self.kind {
            Kind::Noisy => "noisy",
            Kind::Condition => "condition",
        };
        let half = match half {
            Half::Attention => "attention",
            Half::Feed => "feed",
        };
        self.name(&format!("{kind}.{half}.{what}"))
    }

    /// Where the time's numbers for a half begin, and how far those of the next sample are.
    fn time(&self, half: Half, width: usize) -> Option<(&'a Buffer<C, f32>, usize, usize)> {
        let at = if half == Half::Feed { 3 * width } else { 0 };
        (self.kind == Kind::Noisy).then_some((self.time, at, 6 * width))
    }

    fn modulation(&self, half: Half) -> Result<Modulation<'a, C>> {
        let block = self.block;
        let rest = || block.condition_rest.as_ref().ok_or_else(no_rest);
        let base = match (self.kind, half) {
            (Kind::Noisy, Half::Attention) => &block.noisy_attention.0,
            (Kind::Noisy, Half::Feed) => &block.noisy_feed.0,
            (Kind::Condition, Half::Attention) => &block.condition_attention,
            (Kind::Condition, Half::Feed) => &rest()?.feed,
        };
        Ok(Modulation {
            base,
            time: self.time(half, base.len() / 2),
            rows_of_sample: self.tokens,
        })
    }

    fn gate(&self, half: Half) -> Result<Gate<'a, C>> {
        let block = self.block;
        let rest = || block.condition_rest.as_ref().ok_or_else(no_rest);
        let base = match (self.kind, half) {
            (Kind::Noisy, Half::Attention) => &block.noisy_attention.1,
            (Kind::Noisy, Half::Feed) => &block.noisy_feed.1,
            (Kind::Condition, Half::Attention) => &rest()?.attention_gate,
            (Kind::Condition, Half::Feed) => &rest()?.feed_gate,
        };
        let time = self.time(half, base.len());
        Ok(Gate {
            base,
            time: time.map(|(values, at, stride)| (values, at + 2 * base.len(), stride)),
            rows_of_sample: self.tokens,
        })
    }

    fn told<'b>(&'b self, base: Span<'b, C, f32>) -> Told<'b, C> {
        Told {
            base: Some(base),
            time: self.by_time.filter(|_| self.kind == Kind::Noisy),
        }
    }

    pub fn as_tokens<'b>(&self, values: &'b Buffer<C, bf16>) -> Tokens<'b, C> {
        Tokens {
            values,
            samples: self.samples,
            tokens: self.tokens,
        }
    }
}

fn no_rest() -> Error {
    Error::NotOnCard("a last block whose condition tokens go on")
}

impl<C: Card> Learning<'_, C> {
    fn heads(&self) -> (usize, usize) {
        let config = &self.network.config;
        (config.heads, config.width / config.heads)
    }

    /// Queries, keys and values of tokens (rows, width).
    pub(super) fn projected(&self, at: &Place<'_, C>, x: &Buffer<C, f32>) -> Result<Projected<C>> {
        let card = &self.network.card;
        let modulation = at.modulation(Half::Attention)?;
        let normal = ops::norm_modulate(card, x, &modulation, None, EPSILON)?;
        let rows = at.samples * at.tokens;
        let qkv = ops::linear(card, &normal, rows, &at.block.qkv, Activation::None)?;
        let (heads, features) = self.heads();
        let rates = ops::qk_norm_kept(card, &qkv, heads, features, EPSILON)?;
        Ok(Projected { normal, qkv, rates })
    }

    /// Attention of tokens over themselves and others, and the feed-forward half: what is kept, and the next block's tokens.
    pub(super) fn rest(
        &self,
        at: &Place<'_, C>,
        x: &Buffer<C, f32>,
        own: &Projected<C>,
        other: Option<&Tokens<'_, C>>,
    ) -> Result<(Rest<C>, Buffer<C, f32>)> {
        let card = &self.network.card;
        let (block, rows) = (at.block, at.samples * at.tokens);
        let (heads, features) = self.heads();
        let (found, log_sums) = ops::attention_kept(card, &at.as_tokens(&own.qkv), other, heads, features)?;
        let attended = ops::linear(card, &found, rows, &block.out, Activation::None)?;
        let middle = back::gated_add(card, x, &attended, &at.gate(Half::Attention)?)?;
        let modulation = at.modulation(Half::Feed)?;
        let normal = ops::norm_modulate(card, &middle, &modulation, None, EPSILON)?;
        let before = ops::linear(card, &normal, rows, &block.up, Activation::None)?;
        let hidden = back::activate(card, &before, Activation::Gelu)?;
        let fed = ops::linear(card, &hidden, rows, &block.down, Activation::None)?;
        let next = back::gated_add(card, &middle, &fed, &at.gate(Half::Feed)?)?;
        let kept = Rest {
            found,
            log_sums,
            attended,
            middle,
            normal,
            before,
            hidden,
            fed,
        };
        Ok((kept, next))
    }

    /// Turns `dx`, slopes of the next block's tokens, into those of this one's as far as they do not go through queries, keys and
    /// values; gives the slopes of what attention found.
    pub(super) fn rest_back(
        &self,
        at: &Place<'_, C>,
        kept: &Rest<C>,
        dx: &Buffer<C, f32>,
    ) -> Result<Buffer<C, bf16>> {
        let (card, parameters) = (&self.network.card, self.parameters);
        let gate = parameters.gradient(&at.of(Half::Feed, "gate"))?;
        let slopes = back::gated_add_back(card, dx, &kept.fed, &at.gate(Half::Feed)?, &at.told(gate))?;
        let slopes = self
            .layers()
            .linear_back(&at.name("down"), &at.block.down, &kept.hidden, &slopes)?;
        let slopes = back::activate_back(card, &kept.before, &slopes, Activation::Gelu)?;
        let slopes = self
            .layers()
            .linear_back(&at.name("up"), &at.block.up, &kept.normal, &slopes)?;
        self.normed_back(at, Half::Feed, &kept.middle, &slopes, dx)?;
        let gate = parameters.gradient(&at.of(Half::Attention, "gate"))?;
        let told = at.told(gate);
        let slopes = back::gated_add_back(card, dx, &kept.attended, &at.gate(Half::Attention)?, &told)?;
        let slopes = self
            .layers()
            .linear_back(&at.name("out"), &at.block.out, &kept.found, &slopes)?;
        let narrowed = card.buffer(slopes.len())?;
        back::narrow(card, slopes.all(), &narrowed)?;
        Ok(narrowed)
    }

    /// Adds to slopes of queries, keys and values what attention says of them.
    pub(super) fn attended_back(
        &self,
        at: &Place<'_, C>,
        kept: &Rest<C>,
        slopes: &Buffer<C, bf16>,
        (own, by_own): (&Projected<C>, &Buffer<C, f32>),
        other: Option<(&Tokens<'_, C>, &Buffer<C, f32>)>,
    ) -> Result<()> {
        let found = back::Found {
            values: &kept.found,
            log_sums: &kept.log_sums,
            slopes,
        };
        let own = at.as_tokens(&own.qkv);
        let card = &self.network.card;
        Ok(back::attention_back(
            card,
            (&own, by_own),
            other,
            self.heads(),
            &found,
        )?)
    }

    /// Adds to `dx` what slopes of queries, keys and values say of the tokens `x`.
    pub(super) fn projected_back(
        &self,
        at: &Place<'_, C>,
        x: &Buffer<C, f32>,
        kept: &Projected<C>,
        slopes: &Buffer<C, f32>,
        dx: &Buffer<C, f32>,
    ) -> Result<()> {
        let card = &self.network.card;
        let slopes = back::qk_norm_back(card, (&kept.qkv, &kept.rates), slopes, self.heads())?;
        let slopes = self
            .layers()
            .linear_back(&at.name("qkv"), &at.block.qkv, &kept.normal, &slopes)?;
        self.normed_back(at, Half::Attention, x, &slopes, dx)
    }

    fn normed_back(
        &self,
        at: &Place<'_, C>,
        half: Half,
        x: &Buffer<C, f32>,
        slopes: &Buffer<C, f32>,
        dx: &Buffer<C, f32>,
    ) -> Result<()> {
        let told = at.told(self.parameters.gradient(&at.of(half, "shift_scale"))?);
        let modulation = at.modulation(half)?;
        let card = &self.network.card;
        Ok(back::norm_modulate_back(
            card,
            x,
            &modulation,
            (None, EPSILON),
            slopes,
            dx,
            &told,
        )?)
    }
}
