//! Where a run computes: on the processor, or with its network and optimiser on a card.
//!
//! Data, loss, metrics, evaluation and checkpoints are the same, and a run may change its machine whenever it is taken up again. On a
//! card products are bf16, so its losses are close to the processor's and not equal.

use std::collections::BTreeMap;

use candle_core::Tensor;
use peel_layerdecomp::{CardState, CardTraining, Config, train_on_cuda};

use crate::Result;
use crate::config::Task;
use crate::data::loader::Batch;
use crate::learner::{Learner, not_on_card};
use crate::loss::LossParts;
use crate::optimizer::Optimizer;
use crate::start::Weights;

/// What puts a network, as its tensors are, on a card.
pub type Opener<'a> = dyn Fn(&Config, &BTreeMap<String, Tensor>) -> Result<Box<dyn CardTraining>> + 'a;

/// The machine of a run.
#[derive(Clone, Copy, Default)]
pub enum Machine<'a> {
    /// This one's processor.
    #[default]
    Processor,
    /// The card that this opens.
    Card(&'a Opener<'a>),
}

impl Machine<'_> {
    /// The first NVIDIA card.
    ///
    /// # Errors
    /// When a run opens it and there is none.
    pub const CUDA: Machine<'static> = Machine::Card(&cuda);
}

fn cuda(config: &Config, tensors: &BTreeMap<String, Tensor>) -> Result<Box<dyn CardTraining>> {
    Ok(train_on_cuda(config, tensors)?)
}

/// The same, for a network that is under way.
pub(crate) enum Work {
    Here,
    There(Box<dyn CardTraining>),
}

impl Work {
    /// Takes an optimiser's variables and what it remembers of them to the machine.
    pub fn begin(
        machine: Machine<'_>,
        (task, config): (&Task, &Config),
        weights: &Weights,
        optimizer: &Optimizer,
    ) -> Result<Self> {
        let Machine::Card(open) = machine else {
            return Ok(Self::Here);
        };
        if *task != Task::Layers {
            return Err(not_on_card());
        }
        let mut tensors = weights.frozen();
        let learning = weights.variables().into_iter();
        tensors.extend(learning.map(|(name, var)| (name, var.as_tensor().clone())));
        let mut card = open(config, &tensors)?;
        let slots = optimizer.slots.iter();
        let state: BTreeMap<String, CardState> = slots
            .map(|slot| {
                let parts = [&slot.value, &slot.first, &slot.second, &slot.average];
                (slot.name.clone(), parts.map(Clone::clone))
            })
            .collect();
        card.restore(&state)?;
        Ok(Self::There(card))
    }

    /// Forward, loss, backward of a batch; `scale` times its gradients are added to those of the next update.
    pub fn learn(
        &mut self,
        learner: &dyn Learner,
        optimizer: &mut Optimizer,
        batch: &Batch,
        scale: f64,
    ) -> Result<LossParts> {
        match self {
            Self::There(card) => learner.learn_on(card.as_mut(), batch, scale),
            Self::Here => {
                let (parts, gradients) = learner.learn(batch, scale)?;
                optimizer.gather(&gradients)?;
                Ok(parts)
            }
        }
    }

    /// Makes an update; the norm of the gradient before clipping.
    pub fn update(&mut self, optimizer: &mut Optimizer, rate: f32) -> Result<f32> {
        match self {
            Self::Here => optimizer.update(rate),
            Self::There(card) => {
                let norm = card.norm()?;
                let update = optimizer.begin(norm, rate);
                card.update(&update)?;
                Ok(norm)
            }
        }
    }

    /// Brings the optimiser up to what the machine has learnt, before it is read.
    pub fn settle(&self, optimizer: &mut Optimizer) -> Result<()> {
        let Self::There(card) = self else {
            return Ok(());
        };
        let mut state = card.state()?;
        for slot in &mut optimizer.slots {
            if let Some([value, first, second, average]) = state.remove(&slot.name) {
                (slot.value, slot.first, slot.second, slot.average) = (value, first, second, average);
                slot.set(&slot.value)?;
            }
        }
        Ok(())
    }
}
