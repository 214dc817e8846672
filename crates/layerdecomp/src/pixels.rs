//! The pixel tokenizer: a convolutional stem and head around the transformer.

use candle_core::{Result, Tensor};
use candle_nn::VarBuilder;

use crate::cast::{CAST_CHANNELS, cast_guesses};
use crate::layers::{Conv, ConvBlock, Linear, Start};
use crate::ops::activation::silu;
use crate::ops::conv::Step;
use crate::tokenizer::{Encoded, Tokenizer, patches, pictures};
use crate::{Conditions, Head, Noisy, Pair, Prediction, TokenizerConfig, patch_fill, push_pull};

/// Background RGB, then foreground RGBA.
pub(crate) const OUTPUTS: usize = 7;

/// Plate and mask through four stride-2 convolutions; noisy layers as linear patches; output tokens through a decoder with
/// skips from the stem. The result is a difference from a base: the plate with its hole filled for the background, the masked
/// plate for the foreground.
#[derive(Debug, Clone)]
pub(crate) struct Pixels {
    patch: usize,
    hints: Hints,
    stem: [ConvBlock; 4],
    plate: Linear,
    mask: Linear,
    background: Linear,
    foreground: Linear,
    head: Decoder,
}

impl Pixels {
    pub fn new(
        width: usize,
        patch: usize,
        channels: Channels,
        hints: Hints,
        head: Head,
        vb: &VarBuilder,
    ) -> Result<Self> {
        let stem = channels.stem;
        let inputs = hints.channels();
        let area = patch * patch;
        let stage = |i: usize| {
            let from = if i == 0 { inputs } else { stem[i - 1] };
            ConvBlock::new(from, stem[i], Step::Half, &vb.pp(format!("stem.{i}")))
        };
        let linear = |inputs: usize, name: &str| Linear::new(inputs, width, Start::Scaled(1.0), &vb.pp(name));
        Ok(Self {
            patch,
            hints,
            stem: [stage(0)?, stage(1)?, stage(2)?, stage(3)?],
            plate: linear(stem[3], "embed.plate")?,
            mask: linear(area, "embed.mask")?,
            background: linear(3 * area, "embed.background")?,
            foreground: linear(4 * area, "embed.foreground")?,
            head: match head {
                Head::Skips => Decoder::convolutions(2 * width, Some(inputs), channels, &vb.pp("head"))?,
                Head::NoSkips => Decoder::convolutions(2 * width, None, channels, &vb.pp("head"))?,
                Head::Linear => Decoder::linear(width, area, &vb.pp("head"))?,
            },
        })
    }
}

/// Channels of the convolutions.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Channels {
    /// After each stage of the stem, and at each level of the head.
    pub stem: [usize; 4],
    /// Of the head's last hidden layer, at full resolution.
    pub fine: usize,
}

/// What the stem is told beside the plate and the mask.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Hints {
    /// The plate with its hole filled smoothly, the mask being widened by so many pixels first.
    pub prefill: Option<usize>,
    /// The same filled with patches; the mask as it is, and widened as much.
    pub patches: bool,
    /// Where the object may cast its shadow.
    pub casts: bool,
}

impl Hints {
    /// Of a pixel model; a latent one has none.
    pub fn of(config: &TokenizerConfig) -> Self {
        match config {
            TokenizerConfig::Pixels {
                prefill,
                patches,
                casts,
                ..
            } => Self {
                prefill: *prefill,
                patches: *patches,
                casts: *casts,
            },
            TokenizerConfig::Latent { .. } => Self::default(),
        }
    }

    /// Channels that the stem sees: plate, mask, and three a filling, of which there are two with patches; and those of shadows.
    pub fn channels(self) -> usize {
        let smooth = if self.prefill.is_some() { 3 } else { 0 };
        let patches = if self.patches { 6 } else { 0 };
        let casts = if self.casts { CAST_CHANNELS } else { 0 };
        4 + smooth + patches + casts
    }

    /// The same, rounded up to what a card's convolution takes.
    pub fn card_channels(self) -> usize {
        self.channels().next_multiple_of(8)
    }
}

/// What the stem sees, channels last, (N, H, W, [`Hints::channels`]): plate, mask, and the plate with its hole filled, all in
/// -1..1; by how much the fillings with patches differ from that, in -2..2; and [`cast_guesses`]. And what layers are predicted as a difference from.
pub(crate) fn picture_inputs(c: &Conditions, hints: Hints) -> Result<(Tensor, Pair)> {
    let mut inputs = vec![c.plate.affine(2.0, -1.0)?, c.mask.affine(2.0, -1.0)?];
    let mut background = c.plate.clone();
    if let Some(dilate) = hints.prefill {
        background = push_pull(&c.plate, &c.mask, dilate).map_err(candle_core::Error::wrap)?;
        inputs.push(background.affine(2.0, -1.0)?);
        if hints.patches {
            // The mask as it is lets the rim of the object into the patches; a wider one closes the gaps of a thin object.
            for dilate in [0, dilate] {
                let patches = patch_fill(&c.plate, &c.mask, dilate).map_err(candle_core::Error::wrap)?;
                inputs.push((patches - &background)?.affine(2.0, 0.0)?);
            }
        }
    }
    if hints.casts {
        inputs.push(cast_guesses(&c.plate, &c.mask).map_err(candle_core::Error::wrap)?);
    }
    let foreground = Tensor::cat(&[c.plate.broadcast_mul(&c.mask)?, c.mask.clone()], 1)?;
    let base = Pair {
        background: background.affine(2.0, -1.0)?,
        foreground: foreground.affine(2.0, -1.0)?,
    };
    Ok((
        Tensor::cat(&inputs, 1)?.permute((0, 2, 3, 1))?.contiguous()?,
        base,
    ))
}

impl Tokenizer for Pixels {
    fn conditions(&self, c: &Conditions) -> Result<Encoded> {
        let (n, _, h, w) = c.plate.dims4()?;
        // (N, H, W, 7), then 1/2, 1/4, 1/8, 1/16 of it.
        let (full, base) = picture_inputs(c, self.hints)?;
        let mut skips = vec![full];
        for (i, stage) in self.stem.iter().enumerate() {
            skips.push(stage.forward(&skips[i], None)?);
        }
        let grid = (h / self.patch, w / self.patch);
        let deepest = skips.pop().map(|x| x.reshape((n, grid.0 * grid.1, ())));
        let plate = match deepest {
            Some(x) => self.plate.forward(&x?)?,
            None => candle_core::bail!("the stem has no stages"),
        };
        let signed_mask = c.mask.affine(2.0, -1.0)?;
        Ok(Encoded {
            plate,
            mask: self.mask.forward(&patches(&signed_mask, self.patch)?)?,
            grid,
            skips,
            base: Some(base),
        })
    }

    fn noisy(&self, z: &Noisy) -> Result<(Tensor, Tensor)> {
        Ok((
            self.background.forward(&patches(&z.background, self.patch)?)?,
            self.foreground.forward(&patches(&z.foreground, self.patch)?)?,
        ))
    }

    fn decode(&self, background: &Tensor, foreground: &Tensor, encoded: &Encoded) -> Result<Pair> {
        self.head.forward(background, foreground, encoded, self.patch)
    }

    fn sizes(&self, h: usize, w: usize) -> [(usize, usize, usize); 2] {
        [(3, h, w), (4, h, w)]
    }

    fn encode_layers(&self, pictures: &Prediction) -> crate::Result<Pair> {
        Ok(Pair {
            background: pictures.background.affine(2.0, -1.0)?,
            foreground: pictures.foreground.affine(2.0, -1.0)?,
        })
    }

    fn decode_layers(&self, layers: &Pair) -> crate::Result<Prediction> {
        Ok(Prediction {
            background: layers.background.affine(0.5, 0.5)?,
            foreground: layers.foreground.affine(0.5, 0.5)?,
        })
    }
}

/// Makes pictures of output tokens.
#[derive(Debug, Clone)]
enum Decoder {
    /// Linear patches.
    Linear { background: Linear, foreground: Linear },
    /// At each level twice as fine, and joined by the stem's features of that size where it has skips.
    Convolutions {
        tokens: Linear,
        /// At 1/8, 1/4 and 1/2: one block that doubles, one that refines.
        levels: Box<[(ConvBlock, ConvBlock); 3]>,
        fine: Conv,
        out: Conv,
        skips: bool,
    },
}

impl Decoder {
    fn linear(width: usize, area: usize, vb: &VarBuilder) -> Result<Self> {
        let patches =
            |channels: usize, name: &str| Linear::new(width, channels * area, Start::Zero, &vb.pp(name));
        Ok(Self::Linear {
            background: patches(3, "background")?,
            foreground: patches(4, "foreground")?,
        })
    }

    /// `inputs`: channels of the full-resolution skip, with which come the stem's; none without skips.
    fn convolutions(
        width: usize,
        inputs: Option<usize>,
        channels: Channels,
        vb: &VarBuilder,
    ) -> Result<Self> {
        let Channels { stem, fine } = channels;
        let skips = inputs.is_some();
        let level = |i: usize| -> Result<(ConvBlock, ConvBlock)> {
            let (from, to) = (stem[3 - i], stem[2 - i]);
            let skip = if skips { to } else { 0 };
            let vb = vb.pp(format!("levels.{i}"));
            Ok((
                ConvBlock::new(from + skip, to, Step::Double, &vb.pp("up"))?,
                ConvBlock::new(to, to, Step::Same, &vb.pp("refine"))?,
            ))
        };
        let joined = stem[0] + inputs.unwrap_or(0);
        Ok(Self::Convolutions {
            // From nothing: else what the transformer says at first is noise to the convolutions, and the quickest way to less loss is
            // to silence it for good behind its last norm.
            tokens: Linear::new(width, stem[3], Start::Zero, &vb.pp("tokens"))?,
            levels: Box::new([level(0)?, level(1)?, level(2)?]),
            fine: Conv::new(joined, fine, Step::Double, Start::Scaled(1.0), &vb.pp("fine"))?,
            out: Conv::new(fine, OUTPUTS, Step::Same, Start::Zero, &vb.pp("out"))?,
            skips,
        })
    }

    /// Tokens (N, rows columns, width) of both layers to their pictures, (N, 3, H, W) and (N, 4, H, W).
    fn forward(
        &self,
        background: &Tensor,
        foreground: &Tensor,
        encoded: &Encoded,
        patch: usize,
    ) -> Result<Pair> {
        match self {
            Self::Linear {
                background: of_background,
                foreground: of_foreground,
            } => Ok(Pair {
                background: pictures(&of_background.forward(background)?, patch, encoded.grid)?,
                foreground: pictures(&of_foreground.forward(foreground)?, patch, encoded.grid)?,
            }),
            Self::Convolutions {
                tokens,
                levels,
                fine,
                out,
                skips,
            } => {
                let both = Tensor::cat(&[background, foreground], 2)?;
                let (n, _, d) = both.dims3()?;
                let both = both.reshape((n, encoded.grid.0, encoded.grid.1, d))?;
                let skip = |i: usize| skips.then(|| &encoded.skips[i]);
                let mut x = tokens.forward(&both)?;
                for (i, (up, refine)) in levels.iter().enumerate() {
                    x = refine.forward(&up.forward(&x, skip(3 - i))?, None)?;
                }
                // (N, H, W, 7) to (N, 7, H, W).
                let said = out.forward(&silu(&fine.forward(&x, skip(0))?)?, None)?;
                let said = said.permute((0, 3, 1, 2))?;
                Ok(Pair {
                    background: said.narrow(1, 0, 3)?,
                    foreground: said.narrow(1, 3, 4)?,
                })
            }
        }
    }
}
