//! What stays on the CPU on either side of the card: plates as the network takes them, and layers as pictures.

use std::collections::{BTreeMap, HashMap};

use candle_core::{DType, Device, Tensor};
use candle_nn::VarBuilder;

use super::PICTURE;
use super::session::Shown;
use crate::pixels::picture_inputs;
use crate::tokenizer::patches;
use crate::{Conditions, Config, Pair, Prediction, Result, TokenizerConfig, Vae};

/// From conditions to a network's inputs, and from its layers to pictures.
#[derive(Debug)]
pub(super) enum Ends {
    Pixels {
        patch: usize,
        prefill: Option<usize>,
    },
    /// The autoencoders run twice a picture, the network in each of 50 steps.
    Latents {
        patch: usize,
        rgb: Box<Vae>,
        rgba: Box<Vae>,
    },
}

impl Ends {
    pub fn new(config: &Config, tensors: &BTreeMap<String, Tensor>) -> Result<Self> {
        Ok(match &config.tokenizer {
            TokenizerConfig::Pixels { patch, prefill, .. } => Self::Pixels {
                patch: *patch,
                prefill: *prefill,
            },
            TokenizerConfig::Latent { patch, vae } => {
                let own: HashMap<String, Tensor> = tensors
                    .iter()
                    .filter(|(name, _)| name.starts_with("vae."))
                    .map(|(name, tensor)| (name.clone(), tensor.clone()))
                    .collect();
                let vb = VarBuilder::from_tensors(own, DType::F32, &Device::Cpu);
                Self::Latents {
                    patch: *patch,
                    rgb: Box::new(Vae::new(vae, 3, &vb.pp("vae.rgb"))?),
                    rgba: Box::new(Vae::new(vae, 4, &vb.pp("vae.rgba"))?),
                }
            }
        })
    }

    pub fn show(&self, c: &Conditions) -> Result<Shown> {
        match self {
            Self::Pixels { patch, prefill } => {
                let (full, base) = picture_inputs(c, *prefill)?;
                let empty = PICTURE - full.dim(3)?;
                Ok(Shown {
                    picture: full.pad_with_zeros(3, 0, empty)?,
                    mask: patches(&c.mask.affine(2.0, -1.0)?, *patch)?,
                    base: Some(base),
                })
            }
            Self::Latents { patch, rgb, .. } => {
                let latents = |x: &Tensor| -> Result<Tensor> {
                    Ok(patches(&rgb.encode(&x.affine(2.0, -1.0)?)?, *patch)?)
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

    /// Layers as pictures in 0..1.
    pub fn pictures(&self, layers: &Pair) -> Result<Prediction> {
        let picture = |t: &Tensor| t.affine(0.5, 0.5)?.clamp(0f32, 1f32);
        Ok(match self {
            Self::Pixels { .. } => Prediction {
                background: picture(&layers.background)?,
                foreground: picture(&layers.foreground)?,
            },
            Self::Latents { rgb, rgba, .. } => Prediction {
                background: picture(&rgb.decode(&layers.background)?)?,
                foreground: picture(&rgba.decode(&layers.foreground)?)?,
            },
        })
    }
}
