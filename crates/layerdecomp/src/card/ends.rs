//! Either side of the network: plates as it takes them, and layers as pictures. Of a latent model the autoencoders do that, on the card;
//! they run twice a picture, the network in every step.

use std::collections::BTreeMap;

use candle_core::Tensor;
use peel_kernels::Card;

use super::session::Shown;
use super::vae::CardVae;
use super::weights::Upload;
use crate::pixels::{Hints, picture_inputs};
use crate::tokenizer::patches;
use crate::{Conditions, Config, Pair, Prediction, Result, TokenizerConfig};

/// From conditions to a network's inputs, and from its layers to pictures.
#[derive(Debug)]
pub(super) enum Ends<C: Card> {
    Pixels {
        patch: usize,
        hints: Hints,
    },
    Latents {
        patch: usize,
        rgb: Box<CardVae<C>>,
        rgba: Box<CardVae<C>>,
    },
}

impl<C: Card> Ends<C> {
    pub fn new(card: &C, config: &Config, tensors: &BTreeMap<String, Tensor>) -> Result<Self> {
        Ok(match &config.tokenizer {
            TokenizerConfig::Pixels { patch, .. } => Self::Pixels {
                patch: *patch,
                hints: Hints::of(&config.tokenizer),
            },
            TokenizerConfig::Latent { patch, vae } => {
                let up = Upload { card, tensors };
                Self::Latents {
                    patch: *patch,
                    rgb: Box::new(CardVae::new(&up, vae, 3, "vae.rgb")?),
                    rgba: Box::new(CardVae::new(&up, vae, 4, "vae.rgba")?),
                }
            }
        })
    }

    pub fn show(&self, card: &C, c: &Conditions) -> Result<Shown> {
        match self {
            Self::Pixels { patch, hints } => {
                let (full, base) = picture_inputs(c, *hints)?;
                let empty = hints.card_channels() - full.dim(3)?;
                Ok(Shown {
                    picture: full.pad_with_zeros(3, 0, empty)?,
                    mask: patches(&c.mask.affine(2.0, -1.0)?, *patch)?,
                    base: Some(base),
                })
            }
            Self::Latents { patch, rgb, .. } => {
                let latents = |x: &Tensor| -> Result<Tensor> {
                    Ok(patches(&rgb.encode(card, &x.affine(2.0, -1.0)?)?, *patch)?)
                };
                let (n, _, h, w) = c.plate.dims4()?;
                let mask = c.mask.broadcast_as((n, 3, h, w))?.contiguous()?;
                Ok(Shown {
                    picture: latents(&c.plate)?,
                    mask: latents(&mask)?,
                    base: None,
                })
            }
        }
    }

    /// A background in 0..1 as the network says it.
    pub fn background(&self, card: &C, picture: &Tensor) -> Result<Tensor> {
        let picture = picture.affine(2.0, -1.0)?;
        match self {
            Self::Pixels { .. } => Ok(picture),
            Self::Latents { rgb, .. } => rgb.encode(card, &picture),
        }
    }

    /// Layers as pictures in 0..1.
    pub fn pictures(&self, card: &C, layers: &Pair) -> Result<Prediction> {
        let picture = |t: &Tensor| t.affine(0.5, 0.5)?.clamp(0f32, 1f32);
        Ok(match self {
            Self::Pixels { .. } => Prediction {
                background: picture(&layers.background)?,
                foreground: picture(&layers.foreground)?,
            },
            Self::Latents { rgb, rgba, .. } => Prediction {
                background: picture(&rgb.decode(card, &layers.background)?)?,
                foreground: picture(&rgba.decode(card, &layers.foreground)?)?,
            },
        })
    }
}
