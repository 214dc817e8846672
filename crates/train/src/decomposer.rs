//! Teaching the network that decomposes: diffusion on both layers, and their recomposition.
//!
//! Whatever the network says (x, ε, v, a flow) is converted to clean layers, and those are compared, each time at its importance λ
//! ([`crate::loss::TimeWeight`]). A pixel model is compared as pictures. A latent one is compared as latents,
//! `λ mse / 4 (mean w (b' - b)^2 + mean w (f' - f)^2)` with w averaged over the pixels of a latent, and its recomposition is asked
//! for through the decoders; its autoencoders stay as they are.

use candle_core::backprop::GradStore;
use candle_core::{Device, Tensor};
use candle_nn::VarBuilder;
use peel_layerdecomp::{
    CardLearner, Config, Model, NoisePath, Noisy, Pair, Prediction, Predicts, Sampler, Sampling,
    TokenizerConfig,
};

use crate::Result;
use crate::config::TrainConfig;
use crate::data::loader::Batch;
use crate::data::pool::Pool;
use crate::eval::{Method, methods::Network};
use crate::learner::Learner;
use crate::loss::{LossParts, LossWeights, Truth, loss};
use crate::noising::Noising;
use crate::on_card;

/// A model under training.
pub(crate) struct Decomposer {
    pub model: Model,
    /// As given: the refiner of it is trained by a task of its own.
    config: Config,
    weights: LossWeights,
    noising: Noising,
    path: NoisePath,
}

impl Decomposer {
    pub fn new(config: &TrainConfig, model: &Config, vb: VarBuilder) -> Result<Self> {
        let path = model.diffusion.schedule.path();
        let alone = Config {
            refine: None,
            ..model.clone()
        };
        Ok(Self {
            model: Model::new(&alone, vb)?,
            config: model.clone(),
            weights: config.loss,
            noising: Noising::new(config, path.clone()),
            path,
        })
    }

    /// Comparing with clean latents: values of the background's and the layer's terms, and their sum as a differentiable scalar.
    fn latents(
        &self,
        said: &Pair,
        clean: &Pair,
        batch: &Batch,
        truth: &Truth<'_>,
    ) -> Result<(LossParts, Tensor)> {
        let (n, _, h, _) = clean.background.dims4()?;
        let stride = batch.order.size / h;
        let pixels = Tensor::from_vec(
            self.weights.pixels(batch),
            (n, 1, batch.order.size, batch.order.size),
            &Device::Cpu,
        )?;
        let importance = Tensor::from_slice(&truth.importance, (n, 1, 1, 1), &Device::Cpu)?;
        let weight = pixels.avg_pool2d(stride)?.broadcast_mul(&importance)?;
        let compared: Vec<f32> = truth.compared.iter().map(|c| f32::from(*c)).collect();
        let compared = Tensor::from_vec(compared, (n, 1, 1, 1), &Device::Cpu)?;
        // Latents stand for pictures in -1..1, whose errors are twice those in 0..1.
        let scale = f64::from(self.weights.mse) / 4.0;
        let term = |said: &Tensor, clean: &Tensor, weight: &Tensor| -> Result<Tensor> {
            Ok(((said - clean)?.sqr()?.broadcast_mul(weight)?.mean_all()? * scale)?)
        };
        let background = term(&said.background, &clean.background, &weight)?;
        let foreground = term(
            &said.foreground,
            &clean.foreground,
            &weight.broadcast_mul(&compared)?,
        )?;
        let parts = LossParts {
            background: background.to_scalar()?,
            foreground: foreground.to_scalar()?,
            ..LossParts::default()
        };
        Ok((parts, (background + foreground)?))
    }

    /// The loss of the clean layers that the network came to, and a scalar with its gradient.
    fn compare(
        &self,
        said: &Pair,
        clean: &Pair,
        batch: &Batch,
        truth: &Truth<'_>,
    ) -> Result<(LossParts, Tensor)> {
        if matches!(self.model.config().tokenizer, TokenizerConfig::Pixels { .. }) {
            return pictures(&self.weights, &self.model.decode(said)?, batch, truth);
        }
        let (mut parts, mut sum) = self.latents(said, clean, batch, truth)?;
        if self.weights.consistency > 0.0 {
            let recomposition = LossWeights {
                mse: 0.0,
                l1: 0.0,
                alpha_l1: None,
                ..self.weights
            };
            let (found, scalar) = pictures(&recomposition, &self.model.decode(said)?, batch, truth)?;
            parts.consistency = found.consistency;
            sum = (sum + scalar)?;
        }
        parts.total = parts.background + parts.foreground + parts.consistency;
        Ok((parts, sum))
    }
}

/// The loss of pictures, and a scalar with its gradient.
pub(crate) fn pictures(
    weights: &LossWeights,
    said: &Prediction,
    batch: &Batch,
    truth: &Truth<'_>,
) -> Result<(LossParts, Tensor)> {
    let background = said.background.flatten_all()?.to_vec1::<f32>()?;
    let foreground = said.foreground.flatten_all()?.to_vec1::<f32>()?;
    let loss = loss(weights, batch, truth, &background, &foreground);
    Ok((loss.parts, loss.surrogate(said)?))
}

/// The true layers as tensors.
pub(crate) fn tensors(batch: &Batch, truth: &Truth<'_>) -> Result<Prediction> {
    let (n, size) = (batch.order.count, batch.order.size);
    Ok(Prediction {
        background: Tensor::from_slice(truth.background, (n, 3, size, size), &Device::Cpu)?,
        foreground: Tensor::from_slice(&truth.foreground, (n, 4, size, size), &Device::Cpu)?,
    })
}

impl Decomposer {
    /// The true layers in the model's space.
    fn clean(&self, batch: &Batch) -> Result<Pair> {
        let truth = Truth::of(batch, self.weights.layer);
        let clean = self.model.encode(&tensors(batch, &truth)?)?;
        Ok(Pair {
            background: clean.background.detach(),
            foreground: clean.foreground.detach(),
        })
    }

    /// What a batch's layers are compared with, each sample as important as its time.
    fn truth<'a>(&self, batch: &'a Batch, z: &Noisy) -> Result<Truth<'a>> {
        let mut truth = Truth::of(batch, self.weights.layer);
        let predicts = self.model.config().diffusion.predicts;
        truth.importance = z
            .time
            .to_vec1::<f32>()?
            .into_iter()
            .map(|time| self.weights.time.importance(predicts, &self.path, time))
            .collect();
        Ok(truth)
    }

    /// The loss of what the network makes of noisy layers, and its gradients at `scale`.
    fn gradients(
        &self,
        batch: &Batch,
        clean: &Pair,
        z: &Noisy,
        scale: f64,
    ) -> Result<(LossParts, GradStore)> {
        let truth = self.truth(batch, z)?;
        let conditioned = self.model.condition(&batch.conditions(&Device::Cpu)?)?;
        let said = self.model.clean(&conditioned, z)?;
        let (parts, sum) = self.compare(&said, clean, batch, &truth)?;
        Ok((parts, (sum * scale)?.backward()?))
    }
}

impl Learner for Decomposer {
    fn learn(&self, batch: &Batch, scale: f64) -> Result<(LossParts, GradStore)> {
        let clean = self.clean(batch)?;
        let z = self.noising.draw(batch.order, &clean)?;
        self.gradients(batch, &clean, &z, scale)
    }

    fn learn_on(&self, card: &mut CardLearner, batch: &Batch, scale: f64) -> Result<LossParts> {
        let card = on_card::network(card)?;
        let clean = self.clean(batch)?;
        let z = self.noising.draw(batch.order, &clean)?;
        let truth = self.truth(batch, &z)?;
        let shown = (&batch.conditions(&Device::Cpu)?, &z);
        let latent = self.model.config().is_latent();
        if latent && self.weights.consistency > 0.0 {
            let diffusion = self.model.config().diffusion;
            let recover = |said| Ok(diffusion.predicts.clean(&z, said, &self.path)?);
            let of = |said: &Pair| self.compare(said, &clean, batch, &truth);
            return on_card::beside(card, shown, recover, of, scale);
        }
        let against = if latent {
            on_card::of_latents(&self.weights, batch, &truth, &clean, scale)?
        } else {
            let pictures = tensors(batch, &truth)?;
            on_card::of_pictures(&self.weights, batch, &truth, pictures, scale)?
        };
        let parts = on_card::learn(card, shown, &[against])?;
        Ok(parts.into_iter().next().unwrap_or_default())
    }

    fn method(&self) -> Box<dyn Method + '_> {
        Box::new(Network {
            model: &self.model,
            sampling: running(self.model.config()),
            size: None,
        })
    }

    fn config(&self, _: &Pool) -> Result<Config> {
        Ok(self.config.clone())
    }
}

/// How layers are drawn for running tables: in one call where that can be, in ten otherwise.
#[must_use]
pub fn running(config: &Config) -> Sampling {
    if config.diffusion.predicts == Predicts::X {
        return Sampling::default();
    }
    Sampling {
        sampler: Sampler::Ddim,
        steps: 10,
        seed: 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tests::config;
    use crate::data::loader::Order;
    use crate::data::rng::Rng;
    use crate::loss::tests::batch;
    use crate::loss::{LayerTruth, TimeWeight};
    use candle_nn::VarMap;
    use peel_emulate::Emulated;
    use peel_layerdecomp::{Diffusion, Noise, Schedule, Trainee, named, seeded_builder};
    use std::collections::BTreeMap;

    fn model(diffusion: Diffusion) -> Config {
        let text = r#"Config(format: 1, name: "test", width: 16, depth: 1, heads: 2, fold_mask: true,
            tokenizer: Pixels(patch: 16, stem: (4, 4, 8, 8), prefill: 2))"#;
        Config {
            diffusion,
            ..Config::from_ron(text).unwrap()
        }
    }

    /// A network whose weights are all at work: a new one ends in zeros.
    fn decomposer(map: &VarMap, train: &TrainConfig, model: &Config) -> Decomposer {
        let decomposer = Decomposer::new(train, model, seeded_builder(map, 5, &Device::Cpu)).unwrap();
        let mut rng = Rng::new(9, 0, 0);
        for (name, var) in map.data().lock().unwrap().iter() {
            if name.starts_with("head.out") {
                let values = (0..var.elem_count())
                    .map(|_| 0.2 * rng.normal())
                    .collect::<Vec<_>>();
                var.set(&Tensor::from_vec(values, var.shape(), &Device::Cpu).unwrap())
                    .unwrap();
            }
        }
        decomposer
    }

    fn flat(t: &Tensor) -> Vec<f32> {
        t.flatten_all().unwrap().to_vec1().unwrap()
    }

    #[test]
    fn the_loss_is_the_squared_error_of_what_is_said() {
        let cosine = Schedule::Cosine { steps: 100 };
        for (predicts, schedule) in [
            (Predicts::X, Schedule::Linear),
            (Predicts::Flow, Schedule::Linear),
            (Predicts::V, cosine),
            (Predicts::Epsilon, cosine),
        ] {
            let mut train = config();
            (train.pure_noise, train.time_spread) = (0.0, 0.7);
            // Picture errors are half of those in -1..1, and the factor of squares makes up for it.
            train.loss = LossWeights {
                mse: 4.0,
                l1: 0.0,
                consistency: 0.0,
                effect: 0.0,
                shadow: 0.0,
                ..LossWeights::default()
            };
            let map = VarMap::new();
            let decomposer = decomposer(
                &map,
                &train,
                &model(Diffusion {
                    predicts,
                    schedule,
                    weighed: false,
                }),
            );
            let batch = batch(&mut Rng::new(3, 0, 0), 32, vec![true, true, true]);
            let clean = decomposer.clean(&batch).unwrap();
            let z = decomposer.noising.draw(batch.order, &clean).unwrap();
            let (parts, _) = decomposer.gradients(&batch, &clean, &z, 1.0).unwrap();

            let conditioned = decomposer
                .model
                .condition(&batch.conditions(&Device::Cpu).unwrap())
                .unwrap();
            let said = flat(&decomposer.model.output(&conditioned, &z).unwrap().background);
            let (x, noisy) = (flat(&clean.background), flat(&z.background));
            let (mut sum, each) = (0.0, x.len() / 3);
            for (n, time) in flat(&z.time).into_iter().enumerate() {
                let levels = decomposer.path.levels(f64::from(time));
                let (p, q) = predicts.target(levels);
                for i in n * each..(n + 1) * each {
                    let x = f64::from(x[i]);
                    let noise = (f64::from(noisy[i]) - levels.signal * x) / levels.noise;
                    sum += (f64::from(said[i]) - p * x - q * noise).powi(2);
                }
            }
            let expected = sum / x.len() as f64;
            let found = f64::from(parts.background);
            assert!(
                (found / expected - 1.0).abs() < 1e-3,
                "{predicts:?}: {found} {expected}"
            );
        }
    }

    #[test]
    fn two_passes_of_half_a_batch_make_the_gradient_of_the_whole() {
        let map = VarMap::new();
        let decomposer = decomposer(&map, &config(), &model(Diffusion::default()));
        let whole = batch(&mut Rng::new(4, 0, 0), 32, (0..16).map(|i| i % 5 != 0).collect());
        let clean = decomposer.clean(&whole).unwrap();
        let z = decomposer.noising.draw(whole.order, &clean).unwrap();
        let (loss, all) = decomposer.gradients(&whole, &clean, &z, 1.0).unwrap();

        let mut sums: BTreeMap<String, Vec<f32>> = BTreeMap::new();
        let mut total = 0.0;
        for at in [0, 8] {
            let planes = |v: &[f32], c: usize| v[at * c * 1024..(at + 8) * c * 1024].to_vec();
            let half = Batch {
                order: Order {
                    count: 8,
                    ..whole.order
                },
                plate: planes(&whole.plate, 3),
                mask: planes(&whole.mask, 1),
                background: planes(&whole.background, 3),
                foreground: planes(&whole.foreground, 4),
                object: planes(&whole.object, 1),
                has_foreground: whole.has_foreground[at..at + 8].to_vec(),
            };
            let part = |t: &Tensor| t.narrow(0, at, 8).unwrap().contiguous().unwrap();
            let (clean, z) = (
                Pair {
                    background: part(&clean.background),
                    foreground: part(&clean.foreground),
                },
                Noisy {
                    background: part(&z.background),
                    foreground: part(&z.foreground),
                    time: part(&z.time),
                },
            );
            let (parts, gradients) = decomposer.gradients(&half, &clean, &z, 0.5).unwrap();
            total += 0.5 * parts.total;
            for (name, var) in map.data().lock().unwrap().iter() {
                let found = gradients.get(var).map(flat).unwrap_or_default();
                let sum = sums.entry(name.clone()).or_insert_with(|| vec![0.0; found.len()]);
                sum.iter_mut().zip(found).for_each(|(s, g)| *s += g);
            }
        }
        assert!((total / loss.total - 1.0).abs() < 1e-5);
        for (name, var) in map.data().lock().unwrap().iter() {
            let expected = all.get(var).map(flat).unwrap_or_default();
            assert_eq!(expected.len(), sums[name].len(), "{name}");
            let norm = |v: &mut dyn Iterator<Item = f32>| v.map(|x| x * x).sum::<f32>().sqrt();
            let off = norm(&mut expected.iter().zip(&sums[name]).map(|(a, b)| a - b));
            let size = norm(&mut expected.iter().copied());
            // A bias is a sum over all pixels of all samples, in f32 and in another order: the output's is off by 1.3e-5, the most.
            assert!(off <= 2e-5 * size.max(1e-6), "{name}: {off} of {size}");
        }
    }
    /// The card's loss of what it said, and the gradients that come of it, against this module's loss of the same.
    #[test]
    fn the_loss_on_a_card_is_this_one() {
        let cosine = Schedule::Cosine { steps: 100 };
        let pixels = "Pixels(patch: 16, stem: (8, 8, 16, 16), prefill: 2)";
        let latents =
            "Latent(patch: 2, vae: (channels: [8, 16], blocks: 1, latent: 4, groups: 4, scale: 1, shift: 0))";
        for (tokenizer, predicts, schedule, layer) in [
            (pixels, Predicts::X, Schedule::Linear, LayerTruth::Effects),
            (pixels, Predicts::Flow, Schedule::Linear, LayerTruth::Object),
            (pixels, Predicts::V, cosine, LayerTruth::None),
            (pixels, Predicts::Epsilon, cosine, LayerTruth::Effects),
            (latents, Predicts::Epsilon, cosine, LayerTruth::Effects),
            (latents, Predicts::V, cosine, LayerTruth::None),
        ] {
            let text = format!(
                r#"Config(format: 1, name: "test", width: 32, depth: 1, heads: 1, mlp_ratio: 2, fold_mask: true, tokenizer: {tokenizer})"#
            );
            let model = Config {
                diffusion: Diffusion {
                    predicts,
                    schedule,
                    weighed: false,
                },
                ..Config::from_ron(&text).unwrap()
            };
            let mut train = config();
            train.pure_noise = 0.0;
            train.loss = LossWeights {
                alpha_l1: Some(0.3),
                consistency: if model.is_latent() { 0.0 } else { 0.3 },
                time: TimeWeight::MinSnr(5.0),
                layer,
                ..LossWeights::default()
            };
            let map = VarMap::new();
            let decomposer = decomposer(&map, &train, &model);
            // As after some steps: layers that start as nothing would keep the slopes from all others.
            let variables: BTreeMap<_, _> = map.data().lock().unwrap().clone().into_iter().collect();
            for (i, var) in variables.values().enumerate() {
                let extra = Noise::new(i as u64, 1).normal_tensor(var.shape().clone(), &Device::Cpu);
                let moved = var.as_tensor() + (extra.unwrap() * 0.05).unwrap();
                var.set(&moved.unwrap()).unwrap();
            }
            let batch = batch(&mut Rng::new(3, 0, 0), 32, vec![true, false]);
            let open = || {
                let card = Emulated::open(3).unwrap();
                CardLearner::open(card, Trainee::Network, &model, &named(&map)).unwrap()
            };
            let mut card = open();
            let found = decomposer.learn_on(&mut card, &batch, 0.5).unwrap();

            let mut other = open();
            let clean = decomposer.clean(&batch).unwrap();
            let z = decomposer.noising.draw(batch.order, &clean).unwrap();
            let truth = decomposer.truth(&batch, &z).unwrap();
            let shown = (&batch.conditions(&Device::Cpu).unwrap(), &z);
            let recover = |said| Ok(predicts.clean(&z, said, &decomposer.path)?);
            let of = |said: &Pair| decomposer.compare(said, &clean, &batch, &truth);
            let network = on_card::network(&mut other).unwrap();
            let want = on_card::beside(network, shown, recover, of, 0.5).unwrap();

            let close = |found: f32, want: f32| (found - want).abs() <= 2e-5 * want.abs();
            assert!(close(found.total, want.total), "{found:?} {want:?}");
            assert!(close(found.background, want.background), "{found:?} {want:?}");
            assert!(close(found.foreground, want.foreground), "{found:?} {want:?}");
            assert!(close(found.consistency, want.consistency), "{found:?} {want:?}");
            let [found, want] = [&card, &other].map(|card| card.any().gradients().unwrap());
            let norm = |v: &mut dyn Iterator<Item = f32>| v.map(|x| f64::from(x * x)).sum::<f64>().sqrt();
            let flat = |all: &BTreeMap<String, Vec<f32>>| all.values().flatten().copied().collect::<Vec<_>>();
            let (found, want) = (flat(&found), flat(&want));
            let off =
                norm(&mut found.iter().zip(&want).map(|(f, w)| f - w)) / norm(&mut want.iter().copied());
            eprintln!(
                "{predicts:?}, latent {}: gradients {off:.1e} apart",
                model.is_latent()
            );
            // Where a slope is rounded to bf16 the other way.
            assert!(off < 1e-3, "{off}");
        }
    }
}
