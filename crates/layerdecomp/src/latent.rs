//! The latent tokenizer, as published: the background through an RGB autoencoder, the foreground through an RGBA one, plate
//! and mask (as a picture) through the RGB one.

use candle_core::{Result, Tensor};
use candle_nn::VarBuilder;

use crate::layers::{Linear, Start};
use crate::tokenizer::{Encoded, Tokenizer, patches, pictures};
use crate::vae::{Vae, VaeConfig};
use crate::{Conditions, Noisy, Pair, Prediction};

/// Linear patches of latents in, linear patches of latents out.
#[derive(Debug, Clone)]
pub(crate) struct Latent {
    patch: usize,
    vae: VaeConfig,
    rgb: Vae,
    rgba: Vae,
    plate: Linear,
    mask: Linear,
    background: Linear,
    foreground: Linear,
    head_background: Linear,
    head_foreground: Linear,
}

impl Latent {
    pub fn new(width: usize, patch: usize, vae: &VaeConfig, vb: &VarBuilder) -> crate::Result<Self> {
        let features = vae.latent * patch * patch;
        let embed = |name: &str| Linear::new(features, width, Start::Scaled(1.0), &vb.pp(name));
        let head = |name: &str| Linear::new(width, features, Start::Zero, &vb.pp(name));
        Ok(Self {
            patch,
            vae: vae.clone(),
            rgb: Vae::new(vae, 3, &vb.pp("vae.rgb"))?,
            rgba: Vae::new(vae, 4, &vb.pp("vae.rgba"))?,
            plate: embed("embed.plate")?,
            mask: embed("embed.mask")?,
            background: embed("embed.background")?,
            foreground: embed("embed.foreground")?,
            head_background: head("head.background")?,
            head_foreground: head("head.foreground")?,
        })
    }

    /// Patches of the latents of a picture (N, 3, H, W) in 0..1. The autoencoders are trained beforehand: no gradient.
    fn picture(&self, x: &Tensor) -> Result<Tensor> {
        let z = self
            .rgb
            .encode(&x.affine(2.0, -1.0)?)
            .map_err(candle_core::Error::wrap)?;
        patches(&z.detach(), self.patch)
    }
}

impl Tokenizer for Latent {
    fn conditions(&self, c: &Conditions) -> Result<Encoded> {
        let (n, _, h, w) = c.plate.dims4()?;
        let mask = c.mask.broadcast_as((n, 3, h, w))?.contiguous()?;
        let side = self.vae.stride() * self.patch;
        Ok(Encoded {
            plate: self.plate.forward(&self.picture(&c.plate)?)?,
            mask: self.mask.forward(&self.picture(&mask)?)?,
            grid: (h / side, w / side),
            skips: Vec::new(),
            base: None,
        })
    }

    fn noisy(&self, z: &Noisy) -> Result<(Tensor, Tensor)> {
        Ok((
            self.background.forward(&patches(&z.background, self.patch)?)?,
            self.foreground.forward(&patches(&z.foreground, self.patch)?)?,
        ))
    }

    fn decode(&self, background: &Tensor, foreground: &Tensor, encoded: &Encoded) -> Result<Pair> {
        let latents =
            |head: &Linear, tokens: &Tensor| pictures(&head.forward(tokens)?, self.patch, encoded.grid);
        Ok(Pair {
            background: latents(&self.head_background, background)?,
            foreground: latents(&self.head_foreground, foreground)?,
        })
    }

    fn sizes(&self, h: usize, w: usize) -> [(usize, usize, usize); 2] {
        let stride = self.vae.stride();
        [(self.vae.latent, h / stride, w / stride); 2]
    }

    fn encode_layers(&self, pictures: &Prediction) -> crate::Result<Pair> {
        Ok(Pair {
            background: self.rgb.encode(&pictures.background.affine(2.0, -1.0)?)?,
            foreground: self.rgba.encode(&pictures.foreground.affine(2.0, -1.0)?)?,
        })
    }

    fn decode_layers(&self, layers: &Pair) -> crate::Result<Prediction> {
        Ok(Prediction {
            background: self.rgb.decode(&layers.background)?.affine(0.5, 0.5)?,
            foreground: self.rgba.decode(&layers.foreground)?.affine(0.5, 0.5)?,
        })
    }
}
