//! AdamW (Loshchilov and Hutter 2019) with gradient clipping and an exponential moving average, one pass over each variable; and Muon
//! (Jordan et al. 2024) for the matrices and kernels that are named.
//!
//! AdamW moves every entry by about the learning rate; where the gradients of a batch have one direction in common, that one gets nearly
//! all of the step. Muon replaces the momentum `U S V'` of a matrix by `U V'` ([`orthogonal`]): all directions move alike. Times
//! `0.2 sqrt(max(rows, columns))` its entries are as large as those of an AdamW step (Liu et al. 2025, "Muon is scalable for LLM
//! training"), and learning rate and weight decay are AdamW's.

use std::collections::BTreeMap;

use candle_core::backprop::GradStore;
use candle_core::{Device, Tensor, Var};
use peel_layerdecomp::{Update, learning_share, orthogonal};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// Decay of Muon's momentum.
const MOMENTUM: f32 = 0.95;

/// Settings of the optimiser.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
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
    /// Beginnings of the field paths whose matrices and kernels move by Muon instead, at the whole learning rate.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub muon: Vec<String>,
}

impl Default for AdamW {
    fn default() -> Self {
        Self {
            learning_rate: 1e-3,
            betas: (0.9, 0.95),
            weight_decay: 0.01,
            clip: 1.0,
            ema: 0.999,
            muon: Vec::new(),
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

    /// A step of AdamW.
    fn adam(&mut self, update: &Update, gradient: &[f32]) {
        let share = learning_share(&self.name);
        let (rate, keep) = (update.rate * share, update.keep);
        let decay = if self.shape.len() > 1 {
            update.decay * share
        } else {
            0.0
        };
        let ((b1, b2), (correct1, correct2)) = (update.betas, update.corrections);
        let moments = self.first.iter_mut().zip(&mut self.second);
        let values = self.value.iter_mut().zip(&mut self.average);
        for ((g, (m, v)), (x, average)) in gradient.iter().zip(moments).zip(values) {
            let grad = *g * update.scale;
            *m = b1 * *m + (1.0 - b1) * grad;
            *v = b2 * *v + (1.0 - b2) * grad * grad;
            let step = (*m / correct1) / ((*v / correct2).sqrt() + 1e-8);
            *x -= rate * step + decay * *x;
            *average += (1.0 - keep) * (*x - *average);
        }
    }

    /// A step of Muon, with Nesterov's momentum; the last axis of a kernel against all others. How long the gradient is does not matter.
    /// Both moments stay AdamW's in kind, for a run that goes on without Muon, on a card for instance.
    fn muon(&mut self, update: &Update, gradient: &[f32]) {
        let columns = self.shape.last().copied().unwrap_or(1);
        let longer = columns.max(gradient.len() / columns.max(1));
        let rate = update.rate * 0.2 * (longer as f32).sqrt();
        let b2 = update.betas.1;
        let moments = self.first.iter_mut().zip(&mut self.second);
        let ahead: Vec<f32> = (gradient.iter().zip(moments))
            .map(|(g, (m, v))| {
                let grad = g * update.scale;
                *m = MOMENTUM * *m + (1.0 - MOMENTUM) * grad;
                *v = b2 * *v + (1.0 - b2) * grad * grad;
                MOMENTUM * *m + (1.0 - MOMENTUM) * grad
            })
            .collect();
        let values = self.value.iter_mut().zip(&mut self.average);
        for (step, (x, average)) in orthogonal(&ahead, columns).iter().zip(values) {
            *x -= rate * step + update.decay * *x;
            *average += (1.0 - update.keep) * (*x - *average);
        }
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
    /// If a variable cannot be read, or there is nothing of a name that Muon is to move.
    pub fn new(settings: AdamW, variables: Vec<(String, Var)>) -> Result<Self> {
        for of in &settings.muon {
            if !variables.iter().any(|(name, _)| name.starts_with(of)) {
                return Err(Error::Config(format!(
                    "optimizer: muon: no field path begins with `{of}`"
                )));
            }
        }
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
            ..
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
        let muon = &self.settings.muon;
        let slots = self.slots.par_iter_mut().zip(&mut self.gradients);
        slots.try_for_each(|(slot, gradient)| {
            let by_muon = muon.iter().any(|of| slot.name.starts_with(of));
            if by_muon && slot.shape.len() > 1 {
                slot.muon(&update, gradient);
            } else {
                slot.adam(&update, gradient);
            }
            gradient.fill(0.0);
            slot.set(&slot.value)
        })?;
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
    fn muon_moves_all_directions_of_the_named_matrices_alike() {
        let normal = peel_layerdecomp::Noise::new(3, 0)
            .normal_tensor((12, 20), &Device::Cpu)
            .unwrap();
        let var =
            || Var::from_tensor(&Tensor::zeros((12, 20), candle_core::DType::F32, &Device::Cpu).unwrap());
        let bias =
            Var::from_tensor(&Tensor::zeros(20, candle_core::DType::F32, &Device::Cpu).unwrap()).unwrap();
        let (named, other) = (var().unwrap(), var().unwrap());
        let settings = AdamW {
            weight_decay: 0.0,
            muon: vec!["blocks.".into()],
            ..AdamW::default()
        };
        let variables = [("blocks.up", &named), ("blocks.bias", &bias), ("other", &other)];
        let variables = variables.map(|(name, var)| (name.to_owned(), var.clone()));
        let mut optimizer = Optimizer::new(settings, variables.to_vec()).unwrap();
        // A slope that all rows have in common, many times as steep as what tells them apart.
        let row = normal.narrow(0, 0, 1).unwrap();
        let slopes = (normal.clone() + row.broadcast_as((12, 20)).unwrap() * 30.0).unwrap();
        let mut cost = (bias.as_tensor() * &row.squeeze(0).unwrap())
            .unwrap()
            .sum_all()
            .unwrap();
        for var in [&named, &other] {
            cost = (cost + (var.as_tensor() * &slopes).unwrap().sum_all().unwrap()).unwrap();
        }
        optimizer.gather(&cost.backward().unwrap()).unwrap();
        optimizer.update(1.0).unwrap();
        let moved = |var: &Var| var.as_tensor().flatten_all().unwrap().to_vec1::<f32>().unwrap();
        let size = |values: &[f32]| (values.iter().map(|v| v * v).sum::<f32>() / values.len() as f32).sqrt();
        // Of what moved, the share that is not the same in every row.
        let apart = |var: &Var| {
            let (all, mean) = (var.as_tensor(), var.as_tensor().mean_keepdim(0).unwrap());
            let rest = all.broadcast_sub(&mean).unwrap();
            size(&rest.flatten_all().unwrap().to_vec1::<f32>().unwrap()) / size(&moved(var))
        };
        assert!(
            apart(&named) > 0.8 && apart(&other) < 0.2,
            "{} {}",
            apart(&named),
            apart(&other)
        );
        // 0.2 sqrt(20) of a matrix whose twelve singular values are about 1: 0.2 a value at the rate of 1e-3.
        assert!(
            (size(&moved(&named)) / 2e-4 - 1.0).abs() < 0.25,
            "{}",
            size(&moved(&named))
        );
        // What is no matrix moves by AdamW: by the rate, whatever its gradient, times the share of its name.
        assert!(
            (size(&moved(&bias)) / 5e-4 - 1.0).abs() < 1e-2,
            "{}",
            size(&moved(&bias))
        );
    }

    #[test]
    fn a_name_of_nothing_is_told() {
        let var = Var::from_tensor(&Tensor::new(&[[0.0f32]], &Device::Cpu).unwrap()).unwrap();
        let settings = AdamW {
            muon: vec!["blokcs.".into()],
            ..AdamW::default()
        };
        let error = Optimizer::new(settings, vec![("blocks.0.up".into(), var)]).unwrap_err();
        assert!(error.to_string().contains("`blokcs.`"), "{error}");
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
