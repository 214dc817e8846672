//! The autoencoder of latent models: the `AutoencoderKL` of latent diffusion (Rombach et al. 2022), without quantisation
//! layers. One architecture for pictures of three channels (plate, background, mask) and of four (foreground). A linear projection
//! of patches may stand beside encoder and decoder (`bypass`).

mod blocks;

use std::collections::BTreeMap;

use candle_core::{Tensor, bail};
use candle_nn::VarBuilder;
use serde::{Deserialize, Serialize};

pub(crate) use self::blocks::EPSILON;
use self::blocks::{Down, Middle, NormSilu, Residual};
use crate::layers::{Conv, Linear, Start};
use crate::ops::conv::Step;
use crate::tokenizer::{patches, pictures};
use crate::{Error, Result};

/// The shape of an autoencoder.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VaeConfig {
    /// Channels of the levels, from the finest; each but the last is followed by a halving.
    pub channels: Vec<usize>,
    /// Residual blocks of a level of the encoder; the decoder has one more.
    pub blocks: usize,
    /// Channels of a latent.
    pub latent: usize,
    /// Groups of a group norm; divides all channels.
    pub groups: usize,
    /// Latents are `(mean - shift) scale`, so that they vary about as much as noise.
    pub scale: f64,
    /// See `scale`.
    #[serde(default)]
    pub shift: f64,
    /// Whether a linear projection of the pixels of a latent is added to what the encoder says, and its like to the decoder's. Not
    /// of the published autoencoder: started from principal components, it makes useful latents from the first step.
    #[serde(default)]
    pub bypass: bool,
}

impl VaeConfig {
    /// How many pixels of a side one latent stands for.
    #[must_use]
    pub fn stride(&self) -> usize {
        1 << self.channels.len().saturating_sub(1)
    }

    pub(crate) fn check(&self) -> Result<()> {
        let divided = self.groups > 0
            && self
                .channels
                .iter()
                .all(|c| *c > 0 && c.is_multiple_of(self.groups));
        let levels = (1..=6).contains(&self.channels.len());
        if levels
            && divided
            && self.blocks > 0
            && self.latent > 0
            && self.scale.is_normal()
            && self.shift.is_finite()
        {
            return Ok(());
        }
        Err(Error::Config(format!(
            "vae {self:?}: wants 1 to 6 levels, channels that groups divide, at least one block and latent channel, and a scale"
        )))
    }
}

/// One level: residual blocks, then a change of size.
#[derive(Debug, Clone)]
struct Level<S> {
    blocks: Vec<Residual>,
    resize: Option<S>,
}

impl<S> Level<S> {
    fn new(
        (inputs, outputs, blocks): (usize, usize, usize),
        groups: usize,
        resize: Option<S>,
        vb: &VarBuilder,
    ) -> candle_core::Result<Self> {
        let block = |i: usize| {
            let inputs = if i == 0 { inputs } else { outputs };
            Residual::new(inputs, outputs, groups, &vb.pp(format!("blocks.{i}")))
        };
        Ok(Self {
            blocks: (0..blocks).map(block).collect::<candle_core::Result<_>>()?,
            resize,
        })
    }

    fn forward(&self, x: Tensor) -> candle_core::Result<Tensor> {
        self.blocks.iter().try_fold(x, |x, block| block.forward(&x))
    }
}

/// Pictures to latents and back.
#[derive(Debug, Clone)]
pub struct Vae {
    config: VaeConfig,
    encoder: Encoder,
    decoder: Decoder,
}

#[derive(Debug, Clone)]
struct Encoder {
    conv_in: Conv,
    levels: Vec<Level<Down>>,
    middle: Middle,
    norm: NormSilu,
    conv_out: Conv,
    /// Pixels of a latent, channel by channel, to its mean.
    bypass: Option<Linear>,
}

#[derive(Debug, Clone)]
struct Decoder {
    conv_in: Conv,
    middle: Middle,
    levels: Vec<Level<Conv>>,
    norm: NormSilu,
    conv_out: Conv,
    /// A latent to its pixels, channel by channel.
    bypass: Option<Linear>,
}

/// How the last convolution starts: as nothing beside a bypass.
fn last(config: &VaeConfig) -> Start {
    if config.bypass {
        Start::Zero
    } else {
        Start::Scaled(1.0)
    }
}

fn conv(from: usize, to: usize, step: Step, vb: &VarBuilder) -> candle_core::Result<Conv> {
    Conv::new(from, to, step, Start::Scaled(1.0), vb)
}

impl Encoder {
    fn new(config: &VaeConfig, colours: usize, vb: &VarBuilder) -> candle_core::Result<Self> {
        let VaeConfig {
            channels,
            blocks,
            latent,
            groups,
            ..
        } = config;
        let deepest = channels[channels.len() - 1];
        let level = |i: usize| {
            let vb = vb.pp(format!("levels.{i}"));
            let down = (i + 1 < channels.len())
                .then(|| Down::new(channels[i], &vb.pp("down")))
                .transpose()?;
            Level::new(
                (channels[i.saturating_sub(1)], channels[i], *blocks),
                *groups,
                down,
                &vb,
            )
        };
        Ok(Self {
            conv_in: conv(colours, channels[0], Step::Same, &vb.pp("conv_in"))?,
            levels: (0..channels.len())
                .map(level)
                .collect::<candle_core::Result<_>>()?,
            middle: Middle::new(deepest, *groups, &vb.pp("middle"))?,
            norm: NormSilu::new(deepest, *groups, &vb.pp("norm"))?,
            conv_out: Conv::new(deepest, 2 * latent, Step::Same, last(config), &vb.pp("conv_out"))?,
            bypass: config
                .bypass
                .then(|| {
                    let pixels = colours * config.stride().pow(2);
                    Linear::new(pixels, *latent, Start::Scaled(1.0), &vb.pp("bypass"))
                })
                .transpose()?,
        })
    }

    /// Mean and logarithm of the variance, (N, 2 latent, H / stride, W / stride), of pictures (N, C, H, W).
    fn forward(&self, picture: &Tensor, stride: usize) -> candle_core::Result<Tensor> {
        let x = picture.permute((0, 2, 3, 1))?.contiguous()?;
        let mut x = self.conv_in.forward(&x, None)?;
        for level in &self.levels {
            x = level.forward(x)?;
            if let Some(down) = &level.resize {
                x = down.forward(&x)?;
            }
        }
        let x = self.norm.forward(&self.middle.forward(&x)?)?;
        let moments = self.conv_out.forward(&x, None)?.permute((0, 3, 1, 2))?;
        let Some(bypass) = &self.bypass else {
            return Ok(moments);
        };
        let (_, channels, rows, columns) = moments.dims4()?;
        let straight = bypass.forward(&patches(picture, stride)?)?;
        let straight = pictures(&straight, 1, (rows, columns))?;
        let mean = (moments.narrow(1, 0, channels / 2)? + straight)?;
        Tensor::cat(&[mean, moments.narrow(1, channels / 2, channels / 2)?], 1)
    }
}

impl Decoder {
    fn new(config: &VaeConfig, colours: usize, vb: &VarBuilder) -> candle_core::Result<Self> {
        let VaeConfig {
            channels,
            blocks,
            latent,
            groups,
            ..
        } = config;
        let deepest = channels[channels.len() - 1];
        let from_coarse: Vec<usize> = channels.iter().rev().copied().collect();
        let level = |i: usize| {
            let vb = vb.pp(format!("levels.{i}"));
            let (from, to) = (from_coarse[i.saturating_sub(1)], from_coarse[i]);
            let up = (i + 1 < from_coarse.len())
                .then(|| conv(to, to, Step::Double, &vb.pp("up")))
                .transpose()?;
            Level::new((from, to, blocks + 1), *groups, up, &vb)
        };
        Ok(Self {
            conv_in: conv(*latent, deepest, Step::Same, &vb.pp("conv_in"))?,
            middle: Middle::new(deepest, *groups, &vb.pp("middle"))?,
            levels: (0..from_coarse.len())
                .map(level)
                .collect::<candle_core::Result<_>>()?,
            norm: NormSilu::new(channels[0], *groups, &vb.pp("norm"))?,
            conv_out: Conv::new(channels[0], colours, Step::Same, last(config), &vb.pp("conv_out"))?,
            bypass: config
                .bypass
                .then(|| {
                    let pixels = colours * config.stride().pow(2);
                    Linear::new(*latent, pixels, Start::Scaled(1.0), &vb.pp("bypass"))
                })
                .transpose()?,
        })
    }

    /// Pictures (N, C, H, W) of latents (N, latent, H / stride, W / stride).
    fn forward(&self, latents: &Tensor, stride: usize) -> candle_core::Result<Tensor> {
        let x = latents.permute((0, 2, 3, 1))?.contiguous()?;
        let mut x = self.middle.forward(&self.conv_in.forward(&x, None)?)?;
        for level in &self.levels {
            x = level.forward(x)?;
            if let Some(up) = &level.resize {
                x = up.forward(&x, None)?;
            }
        }
        let x = self.conv_out.forward(&self.norm.forward(&x)?, None)?;
        let x = x.permute((0, 3, 1, 2))?;
        let Some(bypass) = &self.bypass else {
            return Ok(x);
        };
        let (_, _, rows, columns) = latents.dims4()?;
        x + pictures(&bypass.forward(&patches(latents, 1)?)?, stride, (rows, columns))?
    }
}

impl Vae {
    /// Builds an autoencoder for pictures of so many channels over the variables of `vb`.
    ///
    /// # Errors
    /// If the configuration contradicts itself, or a variable is missing or has another shape.
    pub fn new(config: &VaeConfig, pictures: usize, vb: &VarBuilder) -> Result<Self> {
        config.check()?;
        Ok(Self {
            config: config.clone(),
            encoder: Encoder::new(config, pictures, &vb.pp("encoder"))?,
            decoder: Decoder::new(config, pictures, &vb.pp("decoder"))?,
        })
    }

    /// Mean and logarithm of the variance, (N, latent, H / stride, W / stride) each and unscaled, of pictures (N, C, H, W) in
    /// -1..1: what training an autoencoder asks for. Differentiable.
    ///
    /// # Errors
    /// If shapes do not fit.
    pub fn moments(&self, x: &Tensor) -> Result<(Tensor, Tensor)> {
        let moments = self.encoder.forward(x, self.config.stride())?;
        let latent = self.config.latent;
        Ok((
            moments.narrow(1, 0, latent)?,
            moments.narrow(1, latent, latent)?.clamp(-30f32, 20f32)?,
        ))
    }

    /// Scaled latents, (N, latent, H / stride, W / stride), of pictures (N, C, H, W) in -1..1: the mean, without noise.
    ///
    /// # Errors
    /// If shapes do not fit.
    pub fn encode(&self, x: &Tensor) -> Result<Tensor> {
        let VaeConfig { scale, shift, .. } = self.config;
        Ok(self.moments(x)?.0.affine(scale, -shift * scale)?)
    }

    /// Pictures (N, C, H, W), -1..1 nominally, of scaled latents. Differentiable.
    ///
    /// # Errors
    /// If shapes do not fit.
    pub fn decode(&self, z: &Tensor) -> Result<Tensor> {
        let VaeConfig { scale, shift, .. } = self.config;
        let z = z.affine(1.0 / scale, shift)?;
        Ok(self.decoder.forward(&z, self.config.stride())?)
    }
}

/// The weights of an RGBA autoencoder that starts as the RGB one whose weights these are (names from `encoder.` and `decoder.`
/// on): it does not see alpha, and answers with opaque pictures.
///
/// # Errors
/// If the weights are not those of an RGB autoencoder.
pub fn rgba_from_rgb(rgb: &BTreeMap<String, Tensor>) -> Result<BTreeMap<String, Tensor>> {
    let mut rgba = rgb.clone();
    let bypass = rgb.contains_key("encoder.bypass.weight");
    let mut widen = |name: &str, axis: usize, value: f64| -> candle_core::Result<()> {
        let Some(tensor) = rgba.get(name) else {
            bail!("{name}: missing")
        };
        // One channel's share: one number, or the pixels of a latent.
        let Some(channel) = tensor
            .dims()
            .get(axis)
            .filter(|n| **n > 0 && n.is_multiple_of(3))
            .map(|n| n / 3)
        else {
            bail!(
                "{name}: {:?} has not three channels on axis {axis}",
                tensor.dims()
            );
        };
        let alpha = tensor
            .narrow(axis, 0, channel)?
            .zeros_like()?
            .affine(1.0, value)?;
        let widened = Tensor::cat(&[tensor, &alpha], axis)?;
        rgba.insert(name.to_string(), widened);
        Ok(())
    };
    // (3, 3, inputs, outputs)
    widen("encoder.conv_in.weight", 2, 0.0)?;
    widen("decoder.conv_out.weight", 3, 0.0)?;
    widen("decoder.conv_out.bias", 0, 1.0)?;
    if bypass {
        widen("encoder.bypass.weight", 1, 0.0)?;
        widen("decoder.bypass.weight", 0, 0.0)?;
        widen("decoder.bypass.bias", 0, 0.0)?;
    }
    Ok(rgba)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Noise, named, seeded_builder};
    use candle_core::{DType, Device};
    use candle_nn::VarMap;

    fn small() -> VaeConfig {
        VaeConfig {
            channels: vec![8, 16],
            blocks: 1,
            latent: 4,
            groups: 4,
            scale: 0.5,
            shift: 0.1,
            bypass: false,
        }
    }

    /// The same, with and without a bypass.
    fn both() -> [VaeConfig; 2] {
        [false, true].map(|bypass| VaeConfig { bypass, ..small() })
    }

    fn picture(channels: usize, seed: u64) -> Tensor {
        let values = Noise::new(seed, 0).uniform(channels * 8 * 12, -1.0, 1.0);
        Tensor::from_vec(values, (1, channels, 8, 12), &Device::Cpu).unwrap()
    }

    fn flat(t: &Tensor) -> Vec<f32> {
        t.flatten_all().unwrap().to_vec1().unwrap()
    }

    #[test]
    fn an_rgba_autoencoder_starts_as_the_rgb_one() {
        for config in both() {
            let map = VarMap::new();
            let rgb = Vae::new(&config, 3, &seeded_builder(&map, 3, &Device::Cpu)).unwrap();
            let weights = rgba_from_rgb(&named(&map)).unwrap();
            let vb = VarBuilder::from_tensors(weights.into_iter().collect(), DType::F32, &Device::Cpu);
            let rgba = Vae::new(&config, 4, &vb).unwrap();
            let (colour, alpha) = (picture(3, 1), picture(4, 2).narrow(1, 3, 1).unwrap());
            let z = rgb.encode(&colour).unwrap();
            assert_eq!(z.dims(), [1, 4, 4, 6]);
            let layer = Tensor::cat(&[&colour, &alpha], 1).unwrap();
            assert_eq!(flat(&z), flat(&rgba.encode(&layer).unwrap()));
            let (three, four) = (rgb.decode(&z).unwrap(), rgba.decode(&z).unwrap());
            assert_eq!(flat(&three), flat(&four.narrow(1, 0, 3).unwrap()));
            assert!(flat(&four.narrow(1, 3, 1).unwrap()).iter().all(|v| *v == 1.0));
        }
        assert!(rgba_from_rgb(&BTreeMap::new()).is_err());
    }

    #[test]
    fn every_weight_learns() {
        for config in both() {
            let map = VarMap::new();
            let vae = Vae::new(&config, 3, &seeded_builder(&map, 4, &Device::Cpu)).unwrap();
            let x = picture(3, 5);
            let (mean, log_variance) = vae.moments(&x).unwrap();
            let out = vae.decode(&mean).unwrap();
            let loss = ((out - x).unwrap().sqr().unwrap().mean_all().unwrap()
                + log_variance.sqr().unwrap().mean_all().unwrap())
            .unwrap();
            let grads = loss.backward().unwrap();
            for (name, tensor) in named(&map) {
                assert!(
                    grads
                        .get(&tensor)
                        .is_some_and(|g| flat(g).iter().all(|v| v.is_finite())),
                    "{name}"
                );
            }
        }
    }

    #[test]
    fn a_bypass_that_keeps_every_pixel_brings_the_picture_back() {
        // Latents of 12 numbers hold 2 x 2 pixels of three channels.
        let config = VaeConfig {
            bypass: true,
            latent: 12,
            ..small()
        };
        let map = VarMap::new();
        drop(Vae::new(&config, 3, &seeded_builder(&map, 7, &Device::Cpu)).unwrap());
        let mut weights = named(&map);
        for side in ["encoder", "decoder"] {
            let eye = Tensor::eye(12, DType::F32, &Device::Cpu).unwrap();
            weights.insert(format!("{side}.bypass.weight"), eye);
            let zero = Tensor::zeros(12, DType::F32, &Device::Cpu).unwrap();
            weights.insert(format!("{side}.bypass.bias"), zero);
        }
        let vb = VarBuilder::from_tensors(weights.into_iter().collect(), DType::F32, &Device::Cpu);
        let vae = Vae::new(&config, 3, &vb).unwrap();
        let x = picture(3, 6);
        for (a, b) in flat(&vae.decode(&vae.encode(&x).unwrap()).unwrap())
            .iter()
            .zip(flat(&x))
        {
            assert!((a - b).abs() < 1e-6, "{a} {b}");
        }
    }

    #[test]
    fn impossible_shapes_are_named() {
        let wrong = VaeConfig { groups: 3, ..small() };
        assert!(wrong.check().is_err_and(|e| e.to_string().contains("groups")));
        assert_eq!(small().stride(), 2);
    }
}
