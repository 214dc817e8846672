//! The autoencoder of latent models on a card, one picture after the other: [`crate::Vae`] with bf16 between products.

use candle_core::{Device, Tensor};
use half::bf16;
use peel_kernels::ops::back::planes_back;
use peel_kernels::ops::{self, Activation, Conv, Ending, GroupNorm, Layout, Step, Values, Weight};
use peel_kernels::{Buffer, Card};

use super::session::{halves, values};
use super::weights::{Kernel, Upload};
use crate::tokenizer::patches;
use crate::vae::EPSILON;
use crate::{Error, Result, VaeConfig};

/// See the module.
#[derive(Debug)]
pub(super) struct CardVae<C: Card> {
    pub config: VaeConfig,
    /// Channels of its pictures.
    pub pictures: usize,
    pub encoder: Half<C>,
    pub decoder: Half<C>,
}

/// Encoder or decoder.
#[derive(Debug)]
pub(super) struct Half<C: Card> {
    pub enter: Kernel<C>,
    pub levels: Vec<Level<C>>,
    pub middle: Middle<C>,
    pub norm: Norm<C>,
    pub leave: Kernel<C>,
    /// A linear projection of patches beside all that; inputs are filled up to a multiple of 8.
    pub bypass: Option<Weight<C>>,
}

/// Residual blocks, and a convolution that changes the size where another level follows.
#[derive(Debug)]
pub(super) struct Level<C: Card> {
    pub blocks: Vec<Residual<C>>,
    pub resize: Option<Kernel<C>>,
}

#[derive(Debug)]
pub(super) struct Norm<C: Card> {
    pub groups: usize,
    pub weight: Buffer<C, f32>,
    pub bias: Buffer<C, f32>,
}

impl<C: Card> Norm<C> {
    /// That of one picture, and what follows it.
    pub fn of_picture(&self, activation: Activation) -> GroupNorm<'_, C> {
        GroupNorm {
            samples: 1,
            groups: self.groups,
            weight: &self.weight,
            bias: &self.bias,
            epsilon: EPSILON,
            activation,
        }
    }
}

#[derive(Debug)]
pub(super) struct Residual<C: Card> {
    pub norms: [Norm<C>; 2],
    pub convs: [Kernel<C>; 2],
    pub shortcut: Option<Weight<C>>,
}

#[derive(Debug)]
pub(super) struct Middle<C: Card> {
    pub first: Residual<C>,
    pub attention: Attention<C>,
    pub second: Residual<C>,
}

/// One head of attention over all pixels.
#[derive(Debug)]
pub(super) struct Attention<C: Card> {
    pub norm: Norm<C>,
    pub q: Weight<C>,
    pub k: Weight<C>,
    pub v: Weight<C>,
    pub out: Weight<C>,
}

/// Keys and values of all pixels, as products take weights: outputs are pixels, filled up to a multiple of 8 with zeros.
#[derive(Debug)]
pub(super) struct Seen<C: Card> {
    pub keys: Weight<C>,
    pub values: Weight<C>,
}

impl<C: Card> Seen<C> {
    /// Of so many pixels with so many channels, of which nothing is known yet.
    pub fn nothing(card: &C, pixels: usize, channels: usize) -> Result<Self> {
        let all = pixels.next_multiple_of(8);
        let nothing = || -> Result<Weight<C>> {
            Ok(Weight {
                values: Values::Bf16(card.put(&vec![bf16::ZERO; all * channels])?),
                bias: card.put(&vec![0.0f32; all])?,
            })
        };
        Ok(Self {
            keys: nothing()?,
            values: nothing()?,
        })
    }
}

/// What attention came to, with what its backward pass wants.
pub(super) struct Attended<C: Card> {
    /// (pixels, channels)
    pub queries: Buffer<C, bf16>,
    /// Rows of all pixels' weights, (pixels, pixels filled up).
    pub weights: Buffer<C, bf16>,
    /// (pixels, channels), before and behind the last product.
    pub found: Buffer<C, bf16>,
    pub said: Buffer<C, bf16>,
}

impl<C: Card> Attention<C> {
    /// Attends tokens (pixels, channels) to all of themselves; their keys and values are put into what is seen.
    pub fn attend(
        &self,
        card: &C,
        tokens: &Buffer<C, bf16>,
        pixels: usize,
        seen: &Seen<C>,
    ) -> Result<Attended<C>> {
        for (weight, into) in [(&self.k, &seen.keys), (&self.v, &seen.values)] {
            let Values::Bf16(into) = &into.values else {
                return Err(Error::NotOnCard("keys in whole numbers"));
            };
            ops::linear_into(card, tokens, pixels, weight, Activation::None, into)?;
        }
        let queries = ops::linear(card, tokens, pixels, &self.q, Activation::None)?;
        let scores = ops::linear_gated(card, &queries, pixels, &seen.keys, None, None)?;
        let weights = ops::softmax_rows(card, &scores, pixels, self.scale())?;
        let wide = card.buffer(queries.len())?;
        ops::back::linear_back_input(card, &weights, pixels, &seen.values, &wide, false)?;
        let found = card.buffer(wide.len())?;
        ops::back::narrow(card, wide.all(), &found)?;
        let said = ops::linear(card, &found, pixels, &self.out, Activation::None)?;
        Ok(Attended {
            queries,
            weights,
            found,
            said,
        })
    }

    /// What scores are multiplied by.
    pub fn scale(&self) -> f32 {
        1.0 / (self.q.bias.len() as f32).sqrt()
    }
}

/// A picture on its way, channels last.
struct Picture<C: Card> {
    values: Buffer<C, bf16>,
    h: usize,
    w: usize,
    c: usize,
}

impl<C: Card> Upload<'_, C> {
    fn norm(&self, name: &str, groups: usize) -> Result<Norm<C>> {
        Ok(Norm {
            groups,
            weight: self.plain(&format!("{name}.weight"))?,
            bias: self.plain(&format!("{name}.bias"))?,
        })
    }

    fn residual(&self, name: &str, groups: usize) -> Result<Residual<C>> {
        let at = |part: &str| format!("{name}.{part}");
        let shortcut = at("shortcut");
        Ok(Residual {
            norms: [self.norm(&at("norm1"), groups)?, self.norm(&at("norm2"), groups)?],
            convs: [self.kernel(&at("conv1"), 0)?, self.kernel(&at("conv2"), 0)?],
            shortcut: (self.has(&format!("{shortcut}.weight")))
                .then(|| self.linear(&shortcut))
                .transpose()?,
        })
    }

    fn half(&self, name: &str, levels: usize, blocks: usize, groups: usize, resize: &str) -> Result<Half<C>> {
        let at = |part: &str| format!("{name}.{part}");
        let level = |i: usize| -> Result<Level<C>> {
            let resize = at(&format!("levels.{i}.{resize}"));
            Ok(Level {
                blocks: (0..blocks)
                    .map(|b| self.residual(&at(&format!("levels.{i}.blocks.{b}")), groups))
                    .collect::<Result<_>>()?,
                resize: (i + 1 < levels).then(|| self.kernel(&resize, 0)).transpose()?,
            })
        };
        let of_middle = |part: &str| self.linear(&at(&format!("middle.attention.{part}")));
        Ok(Half {
            enter: self.kernel(&at("conv_in"), 0)?,
            levels: (0..levels).map(level).collect::<Result<_>>()?,
            middle: Middle {
                first: self.residual(&at("middle.first"), groups)?,
                attention: Attention {
                    norm: self.norm(&at("middle.attention.norm"), groups)?,
                    q: of_middle("q")?,
                    k: of_middle("k")?,
                    v: of_middle("v")?,
                    out: of_middle("out")?,
                },
                second: self.residual(&at("middle.second"), groups)?,
            },
            norm: self.norm(&at("norm"), groups)?,
            leave: self.kernel(&at("conv_out"), 0)?,
            bypass: (self.has(&at("bypass.weight")))
                .then(|| self.filled(&at("bypass")))
                .transpose()?,
        })
    }
}

impl<C: Card> CardVae<C> {
    /// Uploads the autoencoder of pictures of so many channels that lies at `name`.
    pub fn new(up: &Upload<'_, C>, config: &VaeConfig, pictures: usize, name: &str) -> Result<Self> {
        if config.channels.iter().any(|c| c % 8 != 0) {
            return Err(Error::NotOnCard(
                "an autoencoder whose channels are no multiples of 8",
            ));
        }
        let (levels, groups) = (config.channels.len(), config.groups);
        let half = |part: &str, blocks: usize, resize: &str| {
            up.half(&format!("{name}.{part}"), levels, blocks, groups, resize)
        };
        Ok(Self {
            config: config.clone(),
            pictures,
            encoder: half("encoder", config.blocks, "down")?,
            decoder: half("decoder", config.blocks + 1, "up")?,
        })
    }

    /// As [`crate::Vae::encode`]; tensors live on the CPU.
    pub fn encode(&self, card: &C, x: &Tensor) -> Result<Tensor> {
        let VaeConfig {
            scale, shift, latent, ..
        } = self.config;
        let latents = each(x, |x| {
            let (_, _, h, w) = x.dims4()?;
            let at = self.enter(card, &self.encoder, x)?;
            let at = self.levels(card, &self.encoder, at, Step::HalfBehind)?;
            let at = self.middle(card, &self.encoder.middle, at)?;
            let stride = self.config.stride();
            let straight = self.straight(card, &self.encoder, (x, stride), (latent, 1))?;
            let size = (latent, h / stride, w / stride);
            self.leave(card, &self.encoder, &at, size, straight.as_ref())
        })?;
        Ok(latents.affine(scale, -shift * scale)?)
    }

    /// As [`crate::Vae::decode`]; tensors live on the CPU.
    pub fn decode(&self, card: &C, z: &Tensor) -> Result<Tensor> {
        let VaeConfig { scale, shift, .. } = self.config;
        each(&z.affine(1.0 / scale, shift)?, |z| {
            let (_, _, h, w) = z.dims4()?;
            let at = self.enter(card, &self.decoder, z)?;
            let at = self.middle(card, &self.decoder.middle, at)?;
            let at = self.levels(card, &self.decoder, at, Step::Double)?;
            let stride = self.config.stride();
            let straight = self.straight(card, &self.decoder, (z, 1), (self.pictures, stride))?;
            let size = (self.pictures, h * stride, w * stride);
            self.leave(card, &self.decoder, &at, size, straight.as_ref())
        })
    }

    fn enter(&self, card: &C, half: &Half<C>, x: &Tensor) -> Result<Picture<C>> {
        let (_, channels, h, w) = x.dims4()?;
        let c = channels.next_multiple_of(8);
        let planes = card.put(&values(x)?)?;
        let nothing = card.put(&[0.0f32; 0])?;
        let values = planes_back(card, [&planes, &nothing], (1, h * w, c))?;
        let picture = Picture { values, h, w, c };
        self.conv(card, &half.enter.weight, &picture, Step::Same)
    }

    /// What the bypass says of a picture in patches of `patch`, in planes: `channels` of them, whose patches are `larger`.
    fn straight(
        &self,
        card: &C,
        half: &Half<C>,
        (x, patch): (&Tensor, usize),
        (channels, larger): (usize, usize),
    ) -> Result<Option<Buffer<C, f32>>> {
        let Some(bypass) = &half.bypass else {
            return Ok(None);
        };
        let (_, _, h, w) = x.dims4()?;
        let tokens = patches(x, patch)?;
        let inputs = tokens.dim(2)?;
        let tokens = tokens.pad_with_zeros(2, 0, inputs.next_multiple_of(8) - inputs)?;
        let rows = h / patch * (w / patch);
        let said = ops::linear_gated(card, &card.put(&halves(&tokens)?)?, rows, bypass, None, None)?;
        let layout = Layout {
            pictures: 1,
            channels,
            size: (h / patch * larger, w / patch * larger),
            patch: larger,
        };
        Ok(Some(ops::unpatchify(card, &said, layout, (1.0, 0.0))?))
    }

    fn leave(
        &self,
        card: &C,
        half: &Half<C>,
        at: &Picture<C>,
        (channels, h, w): (usize, usize, usize),
        straight: Option<&Buffer<C, f32>>,
    ) -> Result<Tensor> {
        let at = self.normed(card, &half.norm, at, Activation::Silu)?;
        let conv = Conv {
            x: &at.values,
            skip: None,
            size: [1, at.h, at.w, at.c],
            weight: &half.leave.weight,
            step: Step::Same,
        };
        let Ending::F32(said) = ops::conv3x3(card, &conv, Activation::None, true)? else {
            return Err(Error::NotOnCard(
                "a convolution that ends in bf16 where f32 was asked for",
            ));
        };
        let stride = half.leave.weight.bias.len();
        let planes = ops::planes(card, &said, (1, h * w, stride), (0, channels), straight)?;
        Ok(Tensor::from_vec(
            card.get(&planes)?,
            (1, channels, h, w),
            &Device::Cpu,
        )?)
    }

    fn levels(&self, card: &C, half: &Half<C>, mut at: Picture<C>, step: Step) -> Result<Picture<C>> {
        for level in &half.levels {
            for block in &level.blocks {
                at = self.residual(card, block, &at)?;
            }
            if let Some(resize) = &level.resize {
                at = self.conv(card, &resize.weight, &at, step)?;
            }
        }
        Ok(at)
    }

    fn conv(&self, card: &C, weight: &Weight<C>, at: &Picture<C>, step: Step) -> Result<Picture<C>> {
        let conv = Conv {
            x: &at.values,
            skip: None,
            size: [1, at.h, at.w, at.c],
            weight,
            step,
        };
        let (h, w) = step.result((at.h, at.w));
        match ops::conv3x3(card, &conv, Activation::None, false)? {
            Ending::Bf16(values) => Ok(Picture {
                values,
                h,
                w,
                c: weight.bias.len(),
            }),
            Ending::F32(_) => Err(Error::NotOnCard(
                "a convolution that ends in f32 where bf16 was asked for",
            )),
        }
    }

    fn normed(
        &self,
        card: &C,
        norm: &Norm<C>,
        at: &Picture<C>,
        activation: Activation,
    ) -> Result<Picture<C>> {
        let (values, _) = ops::group_norm_kept(card, &at.values, &norm.of_picture(activation))?;
        Ok(Picture { values, ..*at })
    }

    fn residual(&self, card: &C, block: &Residual<C>, at: &Picture<C>) -> Result<Picture<C>> {
        let mut y = self.normed(card, &block.norms[0], at, Activation::Silu)?;
        y = self.conv(card, &block.convs[0].weight, &y, Step::Same)?;
        y = self.normed(card, &block.norms[1], &y, Activation::Silu)?;
        y = self.conv(card, &block.convs[1].weight, &y, Step::Same)?;
        let values = match &block.shortcut {
            Some(shortcut) => {
                let own = ops::linear(card, &at.values, at.h * at.w, shortcut, Activation::None)?;
                ops::add_pictures(card, &own, &y.values)?
            }
            None => ops::add_pictures(card, &at.values, &y.values)?,
        };
        Ok(Picture { values, ..y })
    }

    /// Residual, one head of attention over all pixels, residual.
    fn middle(&self, card: &C, middle: &Middle<C>, at: Picture<C>) -> Result<Picture<C>> {
        let at = self.residual(card, &middle.first, &at)?;
        let (pixels, attention) = (at.h * at.w, &middle.attention);
        let tokens = self.normed(card, &attention.norm, &at, Activation::None)?.values;
        let seen = Seen::nothing(card, pixels, at.c)?;
        let found = attention.attend(card, &tokens, pixels, &seen)?.said;
        let values = ops::add_pictures(card, &at.values, &found)?;
        self.residual(card, &middle.second, &Picture { values, ..at })
    }
}

/// Picture by picture, so that the largest fit.
fn each(x: &Tensor, of: impl Fn(&Tensor) -> Result<Tensor>) -> Result<Tensor> {
    let parts = (0..x.dim(0)?)
        .map(|i| of(&x.narrow(0, i, 1)?))
        .collect::<Result<Vec<_>>>()?;
    Ok(Tensor::cat(&parts, 0)?)
}
