//! Teaching a student to say in one call what its teacher says in several.
//!
//! The teacher walks from noise to layers; the student is shown the noise that the walk began with (or, with the probability `zero`,
//! none, as the one-call sampler does it), says its layers at time 0, and is compared with where the teacher arrived: the loss of
//! [`crate::loss`] without recomposition, entered as `other`. The true layers, with recomposition, stay in the sum at the weight
//! `data`: the teacher's faults are not worth learning.

use candle_core::backprop::GradStore;
use candle_core::{DType, Device, Tensor};
use candle_nn::VarBuilder;
use peel_layerdecomp::{
    CardLearner, Config, Model, Noise, Noisy, Pair, Prediction, Sampling, TokenizerConfig,
};

use crate::config::{Task, TrainConfig};
use crate::data::loader::{Batch, Order};
use crate::data::pool::Pool;
use crate::data::rng::Rng;
use crate::decomposer::{pictures, tensors};
use crate::eval::{Method, methods::Network};
use crate::learner::Learner;
use crate::loss::{LossParts, LossWeights, Truth};
use crate::on_card;
use crate::{Error, Result};

/// Random stream of the teacher's seeds and of who starts from zero.
const TEACHER_STREAM: u64 = 4;

/// A student beside its teacher.
pub(crate) struct Student {
    model: Model,
    teacher: Model,
    /// How the teacher is sampled; its seed is another for each batch.
    sampling: Sampling,
    data: f32,
    zero: f32,
    seed: u64,
    weights: LossWeights,
}

impl Student {
    pub fn new(config: &TrainConfig, model: &Config, vb: VarBuilder) -> Result<Self> {
        let Task::Distil {
            teacher,
            sampler,
            steps,
            data,
            zero,
        } = &config.task
        else {
            return Err(Error::Config("task: a student wants Distil".into()));
        };
        Ok(Self {
            model: Model::new(model, vb)?,
            teacher: Model::load(teacher, &Device::Cpu)?,
            sampling: Sampling {
                sampler: *sampler,
                steps: *steps,
                seed: 0,
            },
            data: *data,
            zero: *zero,
            seed: config.seed,
            weights: config.loss,
        })
    }

    /// What the student sees: the noise of the walk that starts from `seed`, or zero, at time 0.
    fn start(&self, order: Order, seed: u64, rng: &mut Rng) -> Result<Noisy> {
        let sizes = match &self.model.config().tokenizer {
            TokenizerConfig::Pixels { .. } => [(3, order.size), (4, order.size)],
            TokenizerConfig::Latent { vae, .. } => [(vae.latent, order.size / vae.stride()); 2],
        };
        let from_zero: Vec<bool> = (0..order.count).map(|_| rng.chance(self.zero)).collect();
        let layer = |layer: u64| -> Result<Tensor> {
            let (channels, side) = sizes[layer as usize];
            let mut values = Vec::with_capacity(order.count * channels * side * side);
            for (n, zero) in from_zero.iter().enumerate() {
                let count = channels * side * side;
                if *zero {
                    values.resize(values.len() + count, 0.0);
                } else {
                    // The samplers' own sequences: see `Model::sample`.
                    values.extend(Noise::new(seed, 2 * n as u64 + layer).normal(count));
                }
            }
            Ok(Tensor::from_vec(
                values,
                (order.count, channels, side, side),
                &Device::Cpu,
            )?)
        };
        Ok(Noisy {
            background: layer(0)?,
            foreground: layer(1)?,
            time: Tensor::zeros(order.count, DType::F32, &Device::Cpu)?,
        })
    }

    /// Where the teacher arrives from the noise of `seed`.
    fn taught(&self, batch: &Batch, seed: u64) -> Result<Prediction> {
        let sampling = Sampling {
            seed,
            ..self.sampling
        };
        let conditions = batch.conditions(&Device::Cpu)?;
        Ok(self.teacher.sample(&conditions, &sampling, &|_, _| true)?)
    }
}

/// What the student is asked, and where its teacher arrived.
struct Lesson {
    z: Noisy,
    taught: Prediction,
    background: Vec<f32>,
    foreground: Vec<f32>,
}

impl Lesson {
    /// The teacher has a layer for every sample, also where the true one is not known.
    fn truth(&self, count: usize) -> Truth<'_> {
        Truth {
            background: &self.background,
            foreground: self.foreground.as_slice().into(),
            compared: vec![true; count],
            importance: vec![1.0; count],
        }
    }
}

impl Student {
    fn lesson(&self, batch: &Batch) -> Result<Lesson> {
        let mut rng = Rng::new(self.seed, TEACHER_STREAM, batch.order.index);
        let seed = rng.bits();
        let taught = self.taught(batch, seed)?;
        Ok(Lesson {
            background: taught.background.flatten_all()?.to_vec1::<f32>()?,
            foreground: taught.foreground.flatten_all()?.to_vec1::<f32>()?,
            taught,
            z: self.start(batch.order, seed, &mut rng)?,
        })
    }

    /// Weights of the distance from the teacher.
    fn alone(&self) -> LossWeights {
        LossWeights {
            consistency: 0.0,
            ..self.weights
        }
    }

    /// The parts of both losses.
    fn parts(&self, distance: &LossParts, data: Option<&LossParts>) -> LossParts {
        let parts = LossParts {
            total: distance.total,
            other: distance.total,
            ..LossParts::default()
        };
        data.map_or(parts, |data| parts.plus(data, self.data))
    }

    /// The loss of what the student said, and a scalar with its gradient.
    fn judge(&self, said: &Prediction, batch: &Batch, lesson: &Lesson) -> Result<(LossParts, Tensor)> {
        let teacher = lesson.truth(batch.order.count);
        let (distance, sum) = pictures(&self.alone(), said, batch, &teacher)?;
        if self.data <= 0.0 {
            return Ok((self.parts(&distance, None), sum));
        }
        let truth = Truth::of(batch, self.weights.layer);
        let (found, scalar) = pictures(&self.weights, said, batch, &truth)?;
        let sum = (sum + (scalar * f64::from(self.data))?)?;
        Ok((self.parts(&distance, Some(&found)), sum))
    }
}

impl Learner for Student {
    fn learn(&self, batch: &Batch, scale: f64) -> Result<(LossParts, GradStore)> {
        let lesson = self.lesson(batch)?;
        let conditioned = self.model.condition(&batch.conditions(&Device::Cpu)?)?;
        let said = self.model.denoise(&conditioned, &lesson.z)?;
        let (parts, sum) = self.judge(&said, batch, &lesson)?;
        Ok((parts, (sum * scale)?.backward()?))
    }

    fn learn_on(&self, card: &mut CardLearner, batch: &Batch, scale: f64) -> Result<LossParts> {
        let card = on_card::network(card)?;
        let lesson = self.lesson(batch)?;
        let shown = (&batch.conditions(&Device::Cpu)?, &lesson.z);
        let config = self.model.config();
        if config.is_latent() {
            let path = config.diffusion.schedule.path();
            let recover = |said| Ok(config.diffusion.predicts.clean(&lesson.z, said, &path)?);
            let of = |said: &Pair| self.judge(&self.model.decode(said)?, batch, &lesson);
            return on_card::beside(card, shown, recover, of, scale);
        }
        let teacher = lesson.truth(batch.order.count);
        let taught = lesson.taught.clone();
        let mut against = vec![on_card::of_pictures(
            &self.alone(),
            batch,
            &teacher,
            taught,
            scale,
        )?];
        if self.data > 0.0 {
            let truth = Truth::of(batch, self.weights.layer);
            let scale = scale * f64::from(self.data);
            let pictures = tensors(batch, &truth)?;
            against.push(on_card::of_pictures(
                &self.weights,
                batch,
                &truth,
                pictures,
                scale,
            )?);
        }
        let parts = on_card::learn(card, shown, &against)?;
        Ok(self.parts(&parts[0], parts.get(1)))
    }

    fn method(&self) -> Box<dyn Method + '_> {
        Box::new(Network {
            model: &self.model,
            sampling: crate::decomposer::running(self.model.config()),
            size: None,
        })
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
    use candle_nn::VarMap;
    use peel_layerdecomp::{Sampler, named, save, save_config, seeded_builder};

    #[test]
    fn a_student_like_its_teacher_says_what_one_step_of_it_says() {
        let dir = tempfile::tempdir().unwrap();
        let text = r#"Config(format: 1, name: "test", width: 16, depth: 1, heads: 2, fold_mask: true,
            tokenizer: Pixels(patch: 16, stem: (4, 4, 8, 8), prefill: 2))"#;
        let model = Config::from_ron(text).unwrap();
        let map = VarMap::new();
        let _ = Model::new(&model, seeded_builder(&map, 5, &Device::Cpu)).unwrap();
        // A new head says nothing, whatever it sees.
        for (name, var) in map.data().lock().unwrap().iter() {
            if name.starts_with("head.out") {
                let small = Tensor::full(0.02f32, var.shape(), &Device::Cpu).unwrap();
                var.set(&small).unwrap();
            }
        }
        save(dir.path(), &named(&map), DType::F32).unwrap();
        save_config(dir.path(), &model).unwrap();

        let mut train = config();
        train.task = Task::Distil {
            teacher: dir.path().into(),
            sampler: Sampler::Ddim,
            steps: 1,
            data: 0.0,
            zero: 0.0,
        };
        let student = Student::new(&train, &model, seeded_builder(&map, 5, &Device::Cpu)).unwrap();
        let batch = batch(&mut Rng::new(3, 0, 0), 32, vec![true, false, true]);
        let taught = student.taught(&batch, 77).unwrap();
        let conditioned = student
            .model
            .condition(&batch.conditions(&Device::Cpu).unwrap())
            .unwrap();
        let said = |student: &Student| {
            let z = student.start(batch.order, 77, &mut Rng::new(0, 0, 0)).unwrap();
            let said = student.model.denoise(&conditioned, &z).unwrap();
            said.foreground.clamp(0f32, 1f32).unwrap()
        };
        let flat = |t: &Tensor| t.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        assert_eq!(flat(&said(&student)), flat(&taught.foreground));

        // From zero it is what the one-call sampler makes.
        let zero = Student { zero: 1.0, ..student };
        let one_call = Sampling::default();
        let drawn = zero
            .model
            .sample(&batch.conditions(&Device::Cpu).unwrap(), &one_call, &|_, _| true);
        assert_eq!(flat(&said(&zero)), flat(&drawn.unwrap().foreground));
        let (parts, _) = zero.learn(&batch, 1.0).unwrap();
        assert!(parts.other > 0.0 && parts.total == parts.other && parts.foreground == 0.0);
    }
}
