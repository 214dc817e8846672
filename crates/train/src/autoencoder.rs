//! Teaching the autoencoders of a latent model.
//!
//! First the RGB one, on plates, backgrounds and masks as pictures; then the RGBA one on premultiplied layers, which starts as the
//! RGB one. With e the error of the reconstruction in 0..1 and w the weight of a pixel ([`LossWeights::pixels`]; 1 for RGB):
//!
//! `L = mse mean w e^2 + l1 mean w |e| + kl mean ½ (μ² + σ² - 1 - ln σ²)`, the last over latents.
//!
//! A network over latents wants them to vary about as much as its noise: the RGB autoencoder's weights are written with a
//! `config.ron` whose `scale` and `shift` were measured on held-out pictures. The later runs take that `vae` over.

use candle_core::backprop::GradStore;
use candle_core::{Device, Tensor};
use candle_nn::VarBuilder;
use peel_layerdecomp::{
    CardLearner, Config, Noise, Rebuilt, Reconstruction, TokenizerConfig, Vae, VaeConfig,
};

use crate::config::{Pictures, TrainConfig};
use crate::data::loader::Batch;
use crate::data::pool::Pool;
use crate::data::raster::Raster;
use crate::data::rng::Rng;
use crate::eval::methods::{rasters, tensor};
use crate::eval::{Case, Method, cases};
use crate::learner::Learner;
use crate::loss::{LossParts, LossWeights};
use crate::metrics::{Answer, Scores};
use crate::on_card;
use crate::start::{RGB, RGBA};
use crate::{Error, Result};

/// Random stream of the noise on latents.
const LATENT_STREAM: u64 = 5;
/// Cases that go through an autoencoder together, and held-out pictures that its latents are measured on.
const TOGETHER: usize = 8;
const MEASURED: usize = 32;
/// Side of those pictures.
const MEASURED_SIZE: usize = 128;

/// One autoencoder under training, with the RGB one beside it where that is the other.
pub(crate) struct Autoencoder {
    config: Config,
    vae: VaeConfig,
    rgb: Vae,
    rgba: Option<Vae>,
    kl: f64,
    weights: LossWeights,
    seed: u64,
}

impl Autoencoder {
    pub fn new(
        config: &TrainConfig,
        model: &Config,
        pictures: Pictures,
        kl: f32,
        vb: &VarBuilder,
    ) -> Result<Self> {
        let TokenizerConfig::Latent { vae, .. } = &model.tokenizer else {
            return Err(Error::Config(
                "task: only a Latent model of config.ron has autoencoders".into(),
            ));
        };
        let rgba = match pictures {
            Pictures::Rgb => None,
            Pictures::Rgba => Some(Vae::new(vae, 4, &vb.pp(RGBA))?),
        };
        Ok(Self {
            config: model.clone(),
            vae: vae.clone(),
            rgb: Vae::new(vae, 3, &vb.pp(RGB))?,
            rgba,
            kl: f64::from(kl),
            weights: config.loss,
            seed: config.seed,
        })
    }

    /// What a batch has to bring back, in 0..1.
    fn pictures(&self, batch: &Batch) -> Result<Tensor> {
        if self.rgba.is_none() {
            return opaque(batch);
        }
        let (n, size) = (batch.order.count, batch.order.size);
        Ok(Tensor::from_slice(
            &batch.foreground,
            (n, 4, size, size),
            &Device::Cpu,
        )?)
    }

    /// The loss, by what it is made of.
    fn parts(&self, error: f32, divergence: f32) -> LossParts {
        let (background, foreground) = match &self.rgba {
            None => (error, 0.0),
            Some(_) => (0.0, error),
        };
        LossParts {
            total: error + divergence,
            background,
            foreground,
            other: divergence,
            ..LossParts::default()
        }
    }

    /// Mean of the loss's terms over a batch: error of the pictures, divergence of the latents.
    fn terms(
        &self,
        vae: &Vae,
        x: &Tensor,
        weight: Option<&Tensor>,
        noise: &mut Rng,
    ) -> Result<(Tensor, Tensor)> {
        let (mean, log_variance) = vae.moments(&x.affine(2.0, -1.0)?)?;
        let drawn = Noise::new(noise.bits(), 0).normal_tensor(mean.shape(), &Device::Cpu)?;
        let z = (&mean + (log_variance.affine(0.5, 0.0)?.exp()? * drawn)?)?;
        let VaeConfig { scale, shift, .. } = self.vae;
        let y = vae.decode(&z.affine(scale, -shift * scale)?)?.affine(0.5, 0.5)?;

        let error = (y - x)?;
        let weighed = |term: Tensor| -> Result<Tensor> {
            Ok(match weight {
                Some(w) => term.broadcast_mul(w)?.mean_all()?,
                None => term.mean_all()?,
            })
        };
        let squares = (weighed(error.sqr()?)? * f64::from(self.weights.mse))?;
        let absolute = (weighed(error.abs()?)? * f64::from(self.weights.l1))?;
        let divergence = ((mean.sqr()? + log_variance.exp()?)? - log_variance)?.affine(0.5, -0.5)?;
        Ok(((squares + absolute)?, (divergence.mean_all()? * self.kl)?))
    }
}

/// Plates, backgrounds, plates, masks in turn, (N, 3, H, W) in 0..1.
fn opaque(batch: &Batch) -> Result<Tensor> {
    let (n, size) = (batch.order.count, batch.order.size);
    let plane = size * size;
    let mut values = Vec::with_capacity(3 * n * plane);
    for i in 0..n {
        let colour = 3 * i * plane..3 * (i + 1) * plane;
        match i % 4 {
            1 => values.extend_from_slice(&batch.background[colour]),
            3 => (0..3).for_each(|_| values.extend_from_slice(&batch.mask[i * plane..(i + 1) * plane])),
            _ => values.extend_from_slice(&batch.plate[colour]),
        }
    }
    Ok(Tensor::from_vec(values, (n, 3, size, size), &Device::Cpu)?)
}

impl Learner for Autoencoder {
    fn learn(&self, batch: &Batch, scale: f64) -> Result<(LossParts, GradStore)> {
        let (n, size) = (batch.order.count, batch.order.size);
        let mut noise = Rng::new(self.seed, LATENT_STREAM, batch.order.index);
        let pictures = self.pictures(batch)?;
        let (error, divergence) = match &self.rgba {
            None => self.terms(&self.rgb, &pictures, None, &mut noise)?,
            Some(rgba) => {
                let weight = Tensor::from_vec(self.weights.pixels(batch), (n, 1, size, size), &Device::Cpu)?;
                self.terms(rgba, &pictures, Some(&weight), &mut noise)?
            }
        };
        let parts = self.parts(error.to_scalar()?, divergence.to_scalar()?);
        Ok((parts, ((error + divergence)? * scale)?.backward()?))
    }

    fn learn_on(&self, card: &mut CardLearner, batch: &Batch, scale: f64) -> Result<LossParts> {
        let mut noise = Rng::new(self.seed, LATENT_STREAM, batch.order.index);
        let (n, side) = (batch.order.count, batch.order.size / self.vae.stride());
        let noise =
            Noise::new(noise.bits(), 0).normal_tensor((n, self.vae.latent, side, side), &Device::Cpu)?;
        let mut terms = on_card::plain(&self.weights, scale);
        if self.rgba.is_none() {
            (terms.effect, terms.shadow) = (0.0, 0.0);
        }
        let batch = Reconstruction {
            pictures: self.pictures(batch)?,
            noise,
            weigh: [on_card::alpha(batch)?, batch.conditions(&Device::Cpu)?.mask],
            terms,
            divergence: self.kl as f32,
        };
        let Rebuilt { error, divergence } = on_card::autoencoder(card)?.learn(&batch)?;
        Ok(self.parts(error, divergence))
    }

    fn method(&self) -> Box<dyn Method + '_> {
        Box::new(Through {
            rgb: &self.rgb,
            rgba: self.rgba.as_ref(),
        })
    }

    fn score(&self, scores: &Scores) -> Option<f64> {
        // The background does not change while the RGBA autoencoder is trained.
        match self.rgba {
            None => scores.whole,
            Some(_) => scores.recomposition,
        }
    }

    fn config(&self, held_out: &Pool) -> Result<Config> {
        let mut config = self.config.clone();
        if let (None, TokenizerConfig::Latent { vae, .. }) = (&self.rgba, &mut config.tokenizer) {
            let sets = cases::held_out(held_out, MEASURED, MEASURED_SIZE);
            let plates = sets.iter().flat_map(|s| &s.cases).take(MEASURED);
            let plates: Vec<Raster<3>> = plates.map(|c| c.truth.plate.clone()).collect();
            let (mut sum, mut squares, mut count) = (0.0, 0.0, 0.0);
            for together in plates.chunks(TOGETHER) {
                let (mean, _) = self.rgb.moments(&tensor(together)?.affine(2.0, -1.0)?)?;
                for v in mean.flatten_all()?.to_vec1::<f32>()? {
                    sum += f64::from(v);
                    squares += f64::from(v).powi(2);
                    count += 1.0;
                }
            }
            let mean = sum / f64::max(count, 1.0);
            let deviation = (squares / f64::max(count, 1.0) - mean * mean).max(1e-12).sqrt();
            // Four digits: enough, and readable.
            let short = |v: f64| format!("{v:.3e}").parse::<f64>().unwrap_or(v);
            (vae.scale, vae.shift) = (short(1.0 / deviation), short(mean));
        }
        Ok(config)
    }
}

/// True layers through the autoencoders and back: the best that a latent model can do.
struct Through<'a> {
    rgb: &'a Vae,
    rgba: Option<&'a Vae>,
}

impl Through<'_> {
    fn there_and_back<const C: usize>(vae: &Vae, pictures: &[Raster<C>]) -> Result<Vec<Raster<C>>> {
        let z = vae.encode(&tensor(pictures)?.affine(2.0, -1.0)?)?;
        rasters(&vae.decode(&z)?.affine(0.5, 0.5)?.clamp(0f32, 1f32)?)
    }
}

impl Method for Through<'_> {
    fn name(&self) -> String {
        "autoencoders".into()
    }

    fn answer(&self, cases: &[Case]) -> Result<Vec<Answer>> {
        let mut answers = Vec::with_capacity(cases.len());
        for together in cases.chunks(TOGETHER) {
            let of = |c: &Case| (c.truth.background.clone(), c.truth.foreground.clone());
            let (backgrounds, layers): (Vec<_>, Vec<_>) = together.iter().map(of).unzip();
            let backgrounds = Self::there_and_back(self.rgb, &backgrounds)?;
            let layers = match self.rgba {
                None => vec![None; backgrounds.len()],
                Some(rgba) => Self::there_and_back(rgba, &layers)?
                    .into_iter()
                    .map(Some)
                    .collect(),
            };
            answers.extend(
                std::iter::zip(backgrounds, layers)
                    .map(|(background, layer)| Answer::display(background, layer)),
            );
        }
        Ok(answers)
    }
}
