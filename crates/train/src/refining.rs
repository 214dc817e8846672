//! Teaching the refiner: alpha of object and effects at a multiple of the network's resolution.
//!
//! The pictures of a batch have the finer size. The network, which stays as it is, takes them apart at its own: plate and mask as the
//! means over `scale` x `scale` pixels, drawn as `sampler` and `steps` say. What the refiner makes of its layers is compared with the
//! true alpha: `mse mean w (a' - a)^2 + alpha_l1 mean w |a' - a|`, w as in [`crate::loss`], over samples whose true layer is known.

use candle_core::backprop::GradStore;
use candle_core::{Device, Tensor};
use candle_nn::VarBuilder;
use peel_layerdecomp::{CardLearner, Config, Model, Sampling};

use crate::config::{Task, TrainConfig};
use crate::data::loader::Batch;
use crate::data::pool::Pool;
use crate::data::rng::Rng;
use crate::eval::Method;
use crate::eval::methods::{Refined, at_own_size};
use crate::learner::Learner;
use crate::loss::{LossParts, LossWeights};
use crate::metrics::Scores;
use crate::on_card;
use crate::{Error, Result};

/// Random stream of the seeds by which the network's layers are drawn.
const SEEDS_STREAM: u64 = 6;

/// A refiner under training, over a network that stays as it is.
pub(crate) struct Refining {
    model: Model,
    /// How the network is sampled; its seed is another for each batch.
    sampling: Sampling,
    weights: LossWeights,
    seed: u64,
}

impl Refining {
    pub fn new(config: &TrainConfig, model: &Config, vb: VarBuilder) -> Result<Self> {
        let Task::Refine { sampler, steps } = &config.task else {
            return Err(Error::Config("task: a refiner wants Refine".into()));
        };
        let Some(refine) = &model.refine else {
            return Err(Error::Config(
                "task: config.ron has no `refine`; write for example refine: (width: 16, scale: 2)".into(),
            ));
        };
        let stride = model.stride() * refine.scale;
        let sizes = config.stages.iter().map(|stage| stage.size);
        if let Some(size) = sizes.chain(config.decay.size).find(|size| size % stride != 0) {
            return Err(Error::Config(format!(
                "stages: a refiner of scale {} wants sizes that are multiples of {stride}, not {size}",
                refine.scale
            )));
        }
        Ok(Self {
            model: Model::new(model, vb)?,
            sampling: Sampling {
                sampler: *sampler,
                steps: *steps,
                seed: 0,
            },
            weights: config.loss,
            seed: config.seed,
        })
    }

    /// How the network is sampled for a batch.
    fn sampling(&self, batch: &Batch) -> Sampling {
        let mut rng = Rng::new(self.seed, SEEDS_STREAM, batch.order.index);
        Sampling {
            seed: rng.bits(),
            ..self.sampling
        }
    }

    /// True alpha and the weight of each pixel, 0 where it is not known; `(N, 1, H, W)` each.
    fn truth(&self, batch: &Batch) -> Result<(Tensor, Tensor)> {
        let (count, size) = (batch.order.count, batch.order.size);
        let plane = size * size;
        let alpha = batch
            .foreground
            .chunks(4 * plane)
            .flat_map(|layer| &layer[3 * plane..]);
        let alpha: Vec<f32> = alpha.copied().collect();
        let mut weight = self.weights.pixels(batch);
        for (weight, known) in weight.chunks_mut(plane).zip(&batch.has_foreground) {
            if !known {
                weight.fill(0.0);
            }
        }
        let tensor = |values| Tensor::from_vec(values, (count, 1, size, size), &Device::Cpu);
        Ok((tensor(alpha)?, tensor(weight)?))
    }
}

/// A loss that is alpha's alone.
fn parts(total: f32) -> LossParts {
    LossParts {
        total,
        foreground: total,
        ..LossParts::default()
    }
}

impl Learner for Refining {
    fn learn(&self, batch: &Batch, scale: f64) -> Result<(LossParts, GradStore)> {
        let fine = batch.conditions(&Device::Cpu)?;
        let said = at_own_size(&self.model, &fine, &self.sampling(batch))?;
        let (alpha, weight) = self.truth(batch)?;
        let error = (self.model.refine(&fine, &said)? - alpha)?;
        let mean = |term: Tensor| (term * &weight)?.mean_all();
        let squares = (mean(error.sqr()?)? * f64::from(self.weights.mse))?;
        let l1 = self.weights.alpha_l1.unwrap_or(self.weights.l1);
        let loss = (squares + (mean(error.abs()?)? * f64::from(l1))?)?;
        let parts = parts(loss.to_scalar()?);
        Ok((parts, (loss * scale)?.backward()?))
    }

    fn learn_on(&self, card: &mut CardLearner, batch: &Batch, scale: f64) -> Result<LossParts> {
        let against = on_card::of_alpha(&self.weights, batch, scale)?;
        let fine = batch.conditions(&Device::Cpu)?;
        let sum = on_card::refiner(card)?.learn(&fine, &self.sampling(batch), &against)?;
        Ok(parts(sum / against.alpha.elem_count() as f32))
    }

    fn method(&self) -> Box<dyn Method + '_> {
        Box::new(Refined {
            model: &self.model,
            sampling: self.sampling,
        })
    }

    fn score(&self, scores: &Scores) -> Option<f64> {
        scores.alpha.map(|error| -error)
    }

    fn config(&self, _: &Pool) -> Result<Config> {
        Ok(self.model.config().clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tests::config;
    use crate::loss::tests::batch;
    use candle_nn::{Optimizer, ParamsAdamW, VarMap};
    use peel_layerdecomp::seeded_builder;

    #[test]
    fn it_learns_alpha_at_the_finer_size_and_nothing_else_learns() {
        let text = r#"Config(format: 1, name: "test", width: 16, depth: 1, heads: 2, fold_mask: true,
            refine: (width: 8, scale: 2), tokenizer: Pixels(patch: 16, stem: (4, 4, 8, 8), prefill: 2))"#;
        let mut train = config();
        train.task = Task::Refine {
            sampler: peel_layerdecomp::Sampler::Ddim,
            steps: 1,
        };
        train.stages[0].size = 32;
        let map = VarMap::new();
        let model = Config::from_ron(text).unwrap();
        let refining = Refining::new(&train, &model, seeded_builder(&map, 5, &Device::Cpu)).unwrap();
        // The last layer's true layer is not known, and must not be missed.
        let batch = batch(&mut Rng::new(3, 0, 0), 32, vec![true, true, false]);
        let all = map.data().lock().unwrap().clone();
        let own: Vec<_> = all
            .iter()
            .filter(|(name, _)| name.starts_with("refine."))
            .collect();
        let rate = ParamsAdamW {
            lr: 1e-2,
            ..ParamsAdamW::default()
        };
        let mut adam =
            candle_nn::AdamW::new(own.iter().map(|(_, var)| (*var).clone()).collect(), rate).unwrap();
        let mut losses = Vec::new();
        for _ in 0..60 {
            let (parts, gradients) = refining.learn(&batch, 1.0).unwrap();
            losses.push(parts.total);
            let learning = all
                .iter()
                .filter(|(_, var)| gradients.get(var.as_tensor()).is_some());
            assert!(learning.clone().count() > 0);
            assert!(learning.clone().all(|(name, _)| name.starts_with("refine.")));
            adam.step(&gradients).unwrap();
        }
        assert!(losses[59] < 0.8 * losses[0], "{} {}", losses[0], losses[59]);

        let mut unknown = batch;
        unknown.has_foreground.fill(false);
        assert_eq!(refining.learn(&unknown, 1.0).unwrap().0.total, 0.0);
    }
}
