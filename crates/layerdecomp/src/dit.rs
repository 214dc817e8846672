//! The transformer: blocks over the tokens of all streams, modulated by time.
//!
//! Condition tokens (plate, mask) and noisy tokens (background, foreground) share the weights of a block but not its
//! modulation: noisy tokens are shifted, scaled and gated by the time, condition tokens by learned constants. Where the
//! configuration says `condition_cache`, condition tokens attend to themselves alone; all that the noisy ones ever need of
//! them, their keys and values in each block, is computed once for a plate.

use candle_core::{Result, Tensor};
use candle_nn::{Init, VarBuilder};

use crate::Config;
use crate::embed::{TIME_FEATURES, times};
use crate::layers::{Linear, Start};
use crate::ops::activation::{gelu, silu};
use crate::ops::attention::attention;
use crate::ops::norm::{gated_add, norm_modulate};

/// A block's gates start small but open, so that gradients flow from the first step.
const GATE: f64 = 0.3;

/// Shift, scale and gate of one half of a block.
#[derive(Debug, Clone)]
struct Modulation {
    /// (2, width)
    shift_scale: Tensor,
    /// (width)
    gate: Option<Tensor>,
}

impl Modulation {
    fn new(width: usize, gated: bool, vb: &VarBuilder) -> Result<Self> {
        let gate = gated
            .then(|| vb.get_with_hints(width, "gate", Init::Const(GATE)))
            .transpose()?;
        Ok(Self {
            shift_scale: vb.get_with_hints((2, width), "shift_scale", Init::Const(0.0))?,
            gate,
        })
    }

    /// Shift and scale (N, 2, width) and gate (N, width): with the time's (N, 3, width) added, or alone as N = 1.
    fn at(&self, time: Option<&Tensor>) -> Result<(Tensor, Option<Tensor>)> {
        match time {
            None => {
                let gate = self.gate.as_ref().map(|g| g.unsqueeze(0)).transpose()?;
                Ok((self.shift_scale.unsqueeze(0)?, gate))
            }
            Some(time) => {
                let add = |g: &Tensor| time.narrow(1, 2, 1)?.squeeze(1)?.broadcast_add(g);
                let gate = self.gate.as_ref().map(add).transpose()?;
                Ok((time.narrow(1, 0, 2)?.broadcast_add(&self.shift_scale)?, gate))
            }
        }
    }
}

/// One transformer block.
#[derive(Debug, Clone)]
struct Block {
    qkv: Linear,
    out: Linear,
    up: Linear,
    down: Linear,
    noisy_attention: Modulation,
    noisy_feed: Modulation,
    condition_attention: Modulation,
    /// The last block's condition tokens are asked for keys and values only.
    condition_feed: Option<Modulation>,
    heads: usize,
}

impl Block {
    fn new(config: &Config, last: bool, vb: &VarBuilder) -> Result<Self> {
        let (d, hidden) = (config.width, config.width * config.mlp_ratio);
        let feed = || Modulation::new(d, true, &vb.pp("condition.feed"));
        Ok(Self {
            qkv: Linear::new(d, 3 * d, Start::Scaled(1.0), &vb.pp("qkv"))?,
            out: Linear::new(d, d, Start::Scaled(0.5), &vb.pp("out"))?,
            up: Linear::new(d, hidden, Start::Scaled(1.0), &vb.pp("up"))?,
            down: Linear::new(hidden, d, Start::Scaled(0.5), &vb.pp("down"))?,
            noisy_attention: Modulation::new(d, true, &vb.pp("noisy.attention"))?,
            noisy_feed: Modulation::new(d, true, &vb.pp("noisy.feed"))?,
            condition_attention: Modulation::new(d, !last, &vb.pp("condition.attention"))?,
            condition_feed: (!last).then(feed).transpose()?,
            heads: config.heads,
        })
    }

    /// Queries, keys and values (N, T, 3 width) of tokens.
    fn project(&self, x: &Tensor, shift_scale: &Tensor) -> Result<Tensor> {
        self.qkv.forward(&norm_modulate(x, shift_scale)?)
    }

    /// Adds what attention found.
    fn attended(&self, x: &Tensor, found: &Tensor, gate: Option<&Tensor>) -> Result<Tensor> {
        let y = self.out.forward(found)?;
        match gate {
            Some(gate) => gated_add(x, &y, gate),
            None => x.add(&y),
        }
    }

    /// The feed-forward half.
    fn fed(&self, x: &Tensor, modulation: &Modulation, time: Option<&Tensor>) -> Result<Tensor> {
        let (shift_scale, gate) = modulation.at(time)?;
        let y = self.up.forward(&norm_modulate(x, &shift_scale)?)?;
        let y = self.down.forward(&gelu(&y)?)?;
        match gate {
            Some(gate) => gated_add(x, &y, &gate),
            None => x.add(&y),
        }
    }
}

/// What the noisy tokens need of the condition tokens.
#[derive(Debug, Clone)]
pub(crate) enum Context {
    /// Queries, keys and values of the condition tokens in each block, (N, S, 3 width).
    Cached(Vec<Tensor>),
    /// The condition tokens, (N, S, width), to be carried through the blocks beside the noisy ones.
    Tokens(Tensor),
}

/// Tokens of two layers, (N, 2 T, width), less the mean token of their layer.
fn layers_less_means(x: &Tensor) -> Result<Tensor> {
    let (n, both, width) = x.dims3()?;
    let layers = x.reshape((2 * n, both / 2, width))?;
    let mean = layers.mean_keepdim(1)?;
    layers.broadcast_sub(&mean)?.reshape((n, both, width))
}

/// The stack of blocks with its time input.
#[derive(Debug, Clone)]
pub(crate) struct Dit {
    time_in: Linear,
    time_out: Linear,
    blocks: Vec<Block>,
    cache: bool,
    centre: bool,
    width: usize,
    /// No shift, no scale: (1, 2, width).
    plain: Tensor,
}

impl Dit {
    pub fn new(config: &Config, vb: &VarBuilder) -> Result<Self> {
        let d = config.width;
        Ok(Self {
            time_in: Linear::new(TIME_FEATURES, d, Start::Scaled(1.0), &vb.pp("time.in"))?,
            time_out: Linear::new(d, 6 * d, Start::Zero, &vb.pp("time.out"))?,
            blocks: (0..config.depth)
                .map(|i| Block::new(config, i + 1 == config.depth, &vb.pp(format!("blocks.{i}"))))
                .collect::<Result<_>>()?,
            cache: config.condition_cache,
            centre: config.centre,
            width: d,
            plain: Tensor::zeros((1, 2, d), vb.dtype(), vb.device())?,
        })
    }

    /// Prepares condition tokens (N, S, width).
    pub fn context(&self, mut c: Tensor) -> Result<Context> {
        if !self.cache {
            return Ok(Context::Tokens(c));
        }
        let mut cached = Vec::with_capacity(self.blocks.len());
        for block in &self.blocks {
            let (shift_scale, gate) = block.condition_attention.at(None)?;
            let qkv = block.project(&c, &shift_scale)?;
            if let Some(feed) = &block.condition_feed {
                let found = attention(&qkv, None, block.heads)?;
                c = block.attended(&c, &found, gate.as_ref())?;
                c = block.fed(&c, feed, None)?;
            }
            cached.push(qkv);
        }
        Ok(Context::Cached(cached))
    }

    /// Noisy tokens (N, T, width) at times (N,) to normalised output tokens of the same shape.
    pub fn forward(&self, context: &Context, x: Tensor, time: &Tensor) -> Result<Tensor> {
        let x = self.through(context, x, time)?;
        if self.centre {
            norm_modulate(&layers_less_means(&x)?, &self.plain)
        } else {
            norm_modulate(&x, &self.plain)
        }
    }

    /// How much of noisy tokens' size behind the last block is difference between places: the root mean square of their
    /// difference from their layer's mean token, over their own.
    pub fn spread(&self, context: &Context, x: Tensor, time: &Tensor) -> Result<f32> {
        let x = self.through(context, x, time)?;
        let size = |x: &Tensor| -> Result<f32> { Ok(x.sqr()?.mean_all()?.to_scalar::<f32>()?.sqrt()) };
        Ok(size(&layers_less_means(&x)?)? / size(&x)?.max(f32::MIN_POSITIVE))
    }

    /// Noisy tokens through all blocks.
    fn through(&self, context: &Context, mut x: Tensor, time: &Tensor) -> Result<Tensor> {
        let time = silu(&self.time_in.forward(&times(time, x.device())?)?)?;
        // (N, 2 halves, 3: shift, scale, gate, width)
        let time = self
            .time_out
            .forward(&time)?
            .reshape((x.dim(0)?, 2, 3, self.width))?;
        let half = |i: usize| time.narrow(1, i, 1)?.squeeze(1);
        let (attention_time, feed_time) = (half(0)?, half(1)?);
        let mut tokens = match context {
            Context::Tokens(c) => Some(c.clone()),
            Context::Cached(_) => None,
        };
        for (i, block) in self.blocks.iter().enumerate() {
            let (shift_scale, gate) = block.noisy_attention.at(Some(&attention_time))?;
            let qkv = block.project(&x, &shift_scale)?;
            let found = match context {
                Context::Cached(cached) => attention(&qkv, Some(&cached[i]), block.heads)?,
                Context::Tokens(_) => match tokens.take() {
                    None => attention(&qkv, None, block.heads)?,
                    Some(c) => {
                        let (found, next) = self.joint(block, c, &qkv)?;
                        tokens = next;
                        found
                    }
                },
            };
            x = block.attended(&x, &found, gate.as_ref())?;
            x = block.fed(&x, &block.noisy_feed, Some(&feed_time))?;
        }
        Ok(x)
    }

    /// Attention of all tokens over all tokens: what the noisy ones found, and the condition tokens of the next block.
    fn joint(&self, block: &Block, c: Tensor, noisy: &Tensor) -> Result<(Tensor, Option<Tensor>)> {
        let (shift_scale, gate) = block.condition_attention.at(None)?;
        let qkv = block.project(&c, &shift_scale)?;
        let Some(feed) = &block.condition_feed else {
            return Ok((attention(noisy, Some(&qkv), block.heads)?, None));
        };
        let split = c.dim(1)?;
        let found = attention(&Tensor::cat(&[&qkv, noisy], 1)?, None, block.heads)?;
        let c = block.attended(&c, &found.narrow(1, 0, split)?, gate.as_ref())?;
        let c = block.fed(&c, feed, None)?;
        Ok((found.narrow(1, split, found.dim(1)? - split)?, Some(c)))
    }
}
