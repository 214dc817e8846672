//! AdamW (Loshchilov and Hutter 2019) with gradient clipping and an exponential moving average, one pass over each variable.

use std::collections::BTreeMap;

use candle_core::backprop::GradStore;
use candle_core::{Device, Tensor, Var};
use peel_layerdecomp::{Update, learning_share};
use serde::{Deserialize, Serialize};

use crate::Result;

/// Settings of the optimiser.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AdamW {
    /// Peak learning rate; the schedule scales it, and so does [`learning_share`] for some weights.
    pub learning_rate: f32,
    /// Decay of the first and second moment.
    pub betas: (f32, f32),
    /// Weight decay, on matrices and kernels only (not on biases, norms, gates and embeddings of rank 1).
    pub weight_decay: f32,
    /// Gradients are scaled down to this norm.
    pub clip: f32,
    /// Decay of the average that is evaluated and shipped.
    pub ema: f32,
}

impl Default for AdamW {
    fn default() -> Self {
        Self {
            learning_rate: 1e-3,
            betas: (0.9, 0.95),
            weight_decay: 0.01,
            clip: 1.0,
            ema: 0.999,
        }
    }
}

/// A variable with everything that is remembered about it; flat, in the variable's own order.
#[derive(Debug, Clone)]
pub struct Slot {
    /// Field path of the variable.
    pub name: String,
    /// The variable that the model computes with.
    pub var: Var,
    /// Its shape.
    pub shape: Vec<usize>,
    /// The values, the same as in `var`.
    pub value: Vec<f32>,
    /// First moment.
    pub first: Vec<f32>,
    /// Second moment.
    pub second: Vec<f32>,
    /// Moving average of the values.
    pub average: Vec<f32>,
}

impl Slot {
    /// A slot for a variable at its present value.
    ///
    /// # Errors
    /// If the variable cannot be read.
    pub fn new(name: String, var: Var) -> Result<Self> {
        let value = var.flatten_all()?.to_vec1::<f32>()?;
        let zeros = vec![0.0; value.len()];
        let shape = var.dims().to_vec();
        Ok(Self {
            name,
            shape,
            first: zeros.clone(),
            second: zeros,
            average: value.clone(),
            value,
            var,
        })
    }

    /// Writes values into the variable.
    ///
    /// # Errors
    /// If their number is wrong.
    pub fn set(&self, values: &[f32]) -> Result<()> {
        Ok(self
            .var
            .set(&Tensor::from_slice(values, self.shape.as_slice(), &Device::Cpu)?)?)
    }
}

/// All variables of a model under optimisation.
#[derive(Debug, Clone)]
pub struct Optimizer {
    /// Settings.
    pub settings: AdamW,
    /// Variables, sorted by name.
    pub slots: Vec<Slot>,
    /// Updates made so far.
    pub step: u64,
    gradients: Vec<Vec<f32>>,
}

impl Optimizer {
    /// An optimiser for these variables.
    ///
    /// # Errors
    /// If a variable cannot be read.
    pub fn new(settings: AdamW, variables: Vec<(String, Var)>) -> Result<Self> {
        let mut slots = variables
            .into_iter()
            .map(|(name, var)| Slot::new(name, var))
            .collect::<Result<Vec<_>>>()?;
        slots.sort_by(|a, b| a.name.cmp(&b.name));
        let gradients = slots.iter().map(|s| vec![0.0; s.value.len()]).collect();
        Ok(Self {
            settings,
            slots,
            step: 0,
            gradients,
        })
    }

    /// Adds the gradients of a backward pass to those gathered for the next update.
    ///
    /// # Errors
    /// If a gradient cannot be read.
    pub fn gather(&mut self, store: &GradStore) -> Result<()> {
        for (slot, sum) in self.slots.iter().zip(&mut self.gradients) {
            let Some(gradient) = store.get(&slot.var) else {
                continue;
            };
            let values = gradient.flatten_all()?.to_vec1::<f32>()?;
            sum.iter_mut().zip(values).for_each(|(s, g)| *s += g);
        }
        Ok(())
    }

    /// Adds gradients by name to those gathered for the next update.
    pub fn gather_named(&mut self, gradients: &BTreeMap<String, Vec<f32>>) {
        for (slot, sum) in self.slots.iter().zip(&mut self.gradients) {
            for (s, g) in sum
                .iter_mut()
                .zip(gradients.get(&slot.name).into_iter().flatten())
            {
                *s += g;
            }
        }
    }

    /// Begins the next update, at `rate` times the learning rate, of gradients with this norm: what every value is told.
    pub fn begin(&mut self, norm: f32, rate: f32) -> Update {
        let AdamW {
            learning_rate,
            betas,
            weight_decay,
            clip,
            ema,
        } = self.settings;
        self.step += 1;
        let t = self.step as f64;
        let correction = |beta: f32| (1.0 - f64::from(beta).powf(t)) as f32;
        let rate = learning_rate * rate;
        Update {
            scale: if norm > clip { clip / norm } else { 1.0 },
            rate,
            decay: rate * weight_decay,
            betas,
            corrections: (correction(betas.0), correction(betas.1)),
            // The average starts short, so that the first weights are soon forgotten.
            keep: ema.min(((t + 1.0) / (t + 10.0)) as f32),
        }
    }

    /// Makes one update with what was gathered, at `rate` times the learning rate; the norm of the gradient before clipping.
    ///
    /// # Errors
    /// If a variable cannot be written.
    pub fn update(&mut self, rate: f32) -> Result<f32> {
        let squares: f64 = self
            .gradients
            .iter()
            .flatten()
            .map(|g| f64::from(*g) * f64::from(*g))
            .sum();
        let norm = squares.sqrt() as f32;
        let update = self.begin(norm, rate);
        let (scale, lr, keep) = (update.scale, update.rate, update.keep);
        let ((b1, b2), (correct1, correct2)) = (update.betas, update.corrections);
        for (slot, gradient) in self.slots.iter_mut().zip(&mut self.gradients) {
            let share = learning_share(&slot.name);
            let lr = lr * share;
            let decay = if slot.shape.len() > 1 {
                update.decay * share
            } else {
                0.0
            };
            let moments = slot.first.iter_mut().zip(&mut slot.second);
            let values = slot.value.iter_mut().zip(&mut slot.average);
            for ((g, (m, v)), (x, average)) in gradient.iter_mut().zip(moments).zip(values) {
                let grad = *g * scale;
                *g = 0.0;
                *m = b1 * *m + (1.0 - b1) * grad;
                *v = b2 * *v + (1.0 - b2) * grad * grad;
                let step = (*m / correct1) / ((*v / correct2).sqrt() + 1e-8);
                *x -= lr * step + decay * *x;
                *average += (1.0 - keep) * (*x - *average);
            }
            slot.set(&slot.value)?;
        }
        Ok(norm)
    }

    /// Runs `work` with the averaged weights in the variables, and puts the trained ones back.
    ///
    /// # Errors
    /// If a variable cannot be written, or `work` fails.
    pub fn with_average<T>(&self, work: impl FnOnce() -> Result<T>) -> Result<T> {
        for slot in &self.slots {
            slot.set(&slot.average)?;
        }
        let out = work();
        for slot in &self.slots {
            slot.set(&slot.value)?;
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matches_candle_and_finds_a_minimum() {
        use candle_nn::{Optimizer as _, ParamsAdamW};

        let start = Tensor::new(&[[1.5f32, -2.0], [0.3, 4.0]], &Device::Cpu).unwrap();
        let ours = Var::from_tensor(&start).unwrap();
        let theirs = Var::from_tensor(&start).unwrap();
        let settings = AdamW {
            learning_rate: 0.05,
            clip: f32::INFINITY,
            ..AdamW::default()
        };
        let mut optimizer = Optimizer::new(settings, vec![("w".into(), ours.clone())]).unwrap();
        let params = ParamsAdamW {
            lr: 0.05,
            beta1: 0.9,
            beta2: 0.95,
            eps: 1e-8,
            weight_decay: 0.01,
        };
        let mut reference = candle_nn::AdamW::new(vec![theirs.clone()], params).unwrap();
        for _ in 0..200 {
            let cost = |v: &Var| v.affine(1.0, -0.7).unwrap().sqr().unwrap().sum_all().unwrap();
            optimizer.gather(&cost(&ours).backward().unwrap()).unwrap();
            optimizer.update(1.0).unwrap();
            reference.step(&cost(&theirs).backward().unwrap()).unwrap();
        }
        let flat = |v: &Var| v.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        for (a, b) in flat(&ours).iter().zip(flat(&theirs)) {
            assert!((a - b).abs() < 1e-4 && (a - 0.7).abs() < 0.02, "{a} {b}");
        }
    }

    #[test]
    fn what_a_time_goes_through_learns_slowly() {
        let var = || Var::from_tensor(&Tensor::new(&[0.0f32, 0.0], &Device::Cpu).unwrap()).unwrap();
        let names = ["head.out.bias", "time.in.bias"];
        let (a, b) = (var(), var());
        let variables = vec![(names[0].to_owned(), a.clone()), (names[1].to_owned(), b.clone())];
        let mut optimizer = Optimizer::new(AdamW::default(), variables).unwrap();
        let cost = a.affine(1.0, -1.0).unwrap().add(&b.affine(1.0, -1.0).unwrap());
        let cost = cost.unwrap().sqr().unwrap().sum_all().unwrap();
        optimizer.gather(&cost.backward().unwrap()).unwrap();
        optimizer.update(1.0).unwrap();
        let moved = |v: &Var| v.to_vec1::<f32>().unwrap()[0];
        assert!(
            (moved(&a) / moved(&b) - 16.0).abs() < 1e-3,
            "{} {}",
            moved(&a),
            moved(&b)
        );
    }
}
