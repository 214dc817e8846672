//! Where a run computes: on the processor, or with what it trains and the optimiser on a card.
//!
//! Data, metrics, evaluation and checkpoints are the processor's, and a run may change its machine whenever it is taken up again. On a
//! card products are bf16, so its losses are close to the processor's and not equal. The losses themselves are on the card, too.

use std::collections::BTreeMap;

use candle_core::Tensor;
use peel_layerdecomp::{
    CardError as Card, CardLearner, CardState, Config, Error as Model, Trainee, train_on_cuda,
};

use crate::config::{Device, Pictures, Task};
use crate::data::loader::Batch;
use crate::learner::Learner;
use crate::loss::LossParts;
use crate::optimizer::Optimizer;
use crate::start::Weights;
use crate::{Error, Result};

/// What puts a model, as its tensors are, on a card, where a part of it will learn.
pub type Opener<'a> = dyn Fn(Trainee, &Config, &BTreeMap<String, Tensor>) -> Result<CardLearner> + 'a;

/// The machine of a run.
#[derive(Clone, Copy, Default)]
pub enum Machine<'a> {
    /// This one's processor.
    #[default]
    Processor,
    /// The card that this opens.
    Card(&'a Opener<'a>),
    /// The card that this opens, or the processor where there is none.
    Auto(&'a Opener<'a>),
}

impl Machine<'_> {
    /// That of a device's name; cards are NVIDIA's first.
    ///
    /// # Errors
    /// When a run opens a card that it must have, and there is none.
    #[must_use]
    pub fn of(device: Device) -> Machine<'static> {
        match device {
            Device::Cpu => Machine::Processor,
            Device::Cuda => Machine::Card(&cuda),
            Device::Auto => Machine::Auto(&cuda),
        }
    }
}

fn cuda(trainee: Trainee, config: &Config, tensors: &BTreeMap<String, Tensor>) -> Result<CardLearner> {
    Ok(train_on_cuda(trainee, config, tensors)?)
}

/// The same, for a run that is under way.
#[derive(Default)]
pub(crate) struct Work {
    /// With what learns on it; none where the processor works.
    card: Option<CardLearner>,
    remarks: Vec<String>,
}

/// What a task trains.
fn trainee(task: &Task) -> Trainee {
    match task {
        Task::Layers | Task::Distil { .. } => Trainee::Network,
        Task::Refine { .. } => Trainee::Refiner,
        Task::Autoencoder {
            pictures: Pictures::Rgb,
            ..
        } => Trainee::RgbAutoencoder,
        Task::Autoencoder {
            pictures: Pictures::Rgba,
            ..
        } => Trainee::RgbaAutoencoder,
    }
}

impl Work {
    /// Takes an optimiser's variables and what it remembers of them to the machine. A model that cards do not run stays on the processor.
    pub fn begin(
        machine: Machine<'_>,
        (task, config): (&Task, &Config),
        weights: &Weights,
        optimizer: &Optimizer,
    ) -> Result<Self> {
        let (open, wanted) = match machine {
            Machine::Processor => return Ok(Self::default()),
            Machine::Card(open) => (open, true),
            Machine::Auto(open) => (open, false),
        };
        let here = |remark: String| {
            Ok(Self {
                card: None,
                remarks: vec![remark],
            })
        };
        let mut tensors = weights.frozen();
        let learning = weights.variables().into_iter();
        tensors.extend(learning.map(|(name, var)| (name, var.as_tensor().clone())));
        let mut card = match open(trainee(task), config, &tensors) {
            Ok(card) => card,
            Err(Error::Model(Model::NotOnCard(what))) => {
                return here(format!(
                    "{what} does not run on a card; it is trained on the processor"
                ));
            }
            Err(Error::Model(Model::Card(Card::NoDevice(reason)))) if !wanted => {
                return here(format!("{reason}; training runs on the processor"));
            }
            Err(Error::Model(Model::Card(Card::OutOfMemory { .. }))) => {
                return here(NO_ROOM.into());
            }
            Err(error) => return Err(error),
        };
        let slots = optimizer.slots.iter();
        let state: BTreeMap<String, CardState> = slots
            .map(|slot| {
                let parts = [&slot.value, &slot.first, &slot.second, &slot.average];
                (slot.name.clone(), parts.map(Clone::clone))
            })
            .collect();
        card.any_mut().restore(&state)?;
        Ok(Self {
            card: Some(card),
            remarks: Vec::new(),
        })
    }

    /// What a user should know of the work so far; each is told once.
    pub fn remarks(&mut self) -> Vec<String> {
        let mut remarks = std::mem::take(&mut self.remarks);
        if let Some(card) = &mut self.card {
            remarks.extend(card.any_mut().remarks());
        }
        remarks
    }

    /// Forward, loss, backward of a batch; `scale` times its gradients are added to those of the next update. Where not even one sample fits
    /// into the card, the processor takes over.
    pub fn learn(
        &mut self,
        learner: &dyn Learner,
        optimizer: &mut Optimizer,
        batch: &Batch,
        scale: f64,
    ) -> Result<LossParts> {
        if let Some(card) = &mut self.card {
            match learner.learn_on(card, batch, scale) {
                Err(Error::Model(Model::Card(Card::OutOfMemory { .. }))) => {}
                learnt => return learnt,
            }
            self.remarks.extend(card.any_mut().remarks());
            self.remarks.push(NO_ROOM.into());
            optimizer.gather_named(&card.any().gradients()?);
            self.settle(optimizer)?;
            self.card = None;
        }
        let (parts, gradients) = learner.learn(batch, scale)?;
        optimizer.gather(&gradients)?;
        Ok(parts)
    }

    /// Makes an update; the norm of the gradient before clipping.
    pub fn update(&mut self, optimizer: &mut Optimizer, rate: f32) -> Result<f32> {
        let Some(card) = &mut self.card else {
            return optimizer.update(rate);
        };
        let card = card.any_mut();
        let norm = card.norm()?;
        let update = optimizer.begin(norm, rate);
        card.update(&update)?;
        Ok(norm)
    }

    /// Brings the optimiser up to what the machine has learnt, before it is read.
    pub fn settle(&self, optimizer: &mut Optimizer) -> Result<()> {
        let Some(card) = &self.card else {
            return Ok(());
        };
        let mut state = card.any().state()?;
        for slot in &mut optimizer.slots {
            if let Some([value, first, second, average]) = state.remove(&slot.name) {
                (slot.value, slot.first, slot.second, slot.average) = (value, first, second, average);
                slot.set(&slot.value)?;
            }
        }
        Ok(())
    }
}

const NO_ROOM: &str = "the card has no room for this; training goes on on the processor";
