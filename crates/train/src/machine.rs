//! Where a run computes: on the processor, or with what it trains and the optimiser on a card.
//!
//! Data, metrics, evaluation and checkpoints are the processor's, and a run may change its machine whenever it is taken up again. On a
//! card products are bf16, so its losses are close to the processor's and not equal. The losses themselves are on the card, too.

use std::collections::BTreeMap;

use candle_core::Tensor;
use peel_layerdecomp::{
    CardError as Card, CardLearner, CardState, Config, Error as Model, Trainee, train_on_cuda,
};
use rayon::{ThreadPool, ThreadPoolBuilder};

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
    /// Threads of passes that run side by side; see [`Work::at_once`].
    lanes: Vec<ThreadPool>,
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
                ..Self::default()
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
        let remark = "on a card all weights move by AdamW: Muon is the processor's".to_owned();
        let remarks = [remark]
            .into_iter()
            .filter(|_| !optimizer.settings.muon.is_empty());
        Ok(Self {
            card: Some(card),
            remarks: remarks.collect(),
            ..Self::default()
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

    /// How many of so many passes [`Self::learn`] makes at once.
    ///
    /// # Errors
    /// If the system refuses a thread.
    pub fn at_once(&mut self, passes: usize) -> Result<usize> {
        if self.card.is_some() {
            return Ok(1);
        }
        let threads = rayon::current_num_threads();
        let wanted = passes.clamp(1, threads);
        if wanted != self.lanes.len().max(1) {
            // A pass on a thread of its own waits for nobody: two side by side take four fifths of the time of threads that share operations.
            let lane = || ThreadPoolBuilder::new().num_threads(threads / wanted).build();
            let lanes = if wanted == 1 { 0 } else { wanted };
            self.lanes = (0..lanes)
                .map(|_| lane())
                .collect::<std::result::Result<_, _>>()
                .map_err(|e| Error::file("training thread")(std::io::Error::other(e)))?;
        }
        Ok(wanted)
    }

    /// Forward, loss, backward of at most [`Self::at_once`] batches; `scale` times their gradients are added to those of the next update, in
    /// the batches' order. Where not even one sample fits into the card, the processor takes over.
    pub fn learn(
        &mut self,
        learner: &dyn Learner,
        optimizer: &mut Optimizer,
        batches: &[Batch],
        scale: f64,
    ) -> Result<Vec<LossParts>> {
        let mut parts = Vec::with_capacity(batches.len());
        if let Some(card) = &mut self.card {
            for batch in batches {
                match learner.learn_on(card, batch, scale) {
                    Err(Error::Model(Model::Card(Card::OutOfMemory { .. }))) => break,
                    learnt => parts.push(learnt?),
                }
            }
            if parts.len() == batches.len() {
                return Ok(parts);
            }
            self.remarks.extend(card.any_mut().remarks());
            self.remarks.push(NO_ROOM.into());
            optimizer.gather_named(&card.any().gradients()?);
            self.settle(optimizer)?;
            self.card = None;
        }
        for learnt in side_by_side(&self.lanes, &batches[parts.len()..], |batch| {
            learner.learn(batch, scale)
        }) {
            let (part, gradients) = learnt?;
            optimizer.gather(&gradients)?;
            parts.push(part);
        }
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

/// What `work` makes of each batch, each in a lane of its own where there is one.
fn side_by_side<T: Send>(
    lanes: &[ThreadPool],
    batches: &[Batch],
    work: impl Fn(&Batch) -> T + Sync,
) -> Vec<T> {
    if batches.len() > lanes.len() || batches.len() < 2 {
        return batches.iter().map(work).collect();
    }
    let work = &work;
    std::thread::scope(|scope| {
        let in_lane = |(lane, batch): (&'_ ThreadPool, &'_ Batch)| lane.install(|| work(batch));
        let passes = lanes.iter().zip(batches);
        let passes: Vec<_> = passes.map(|pass| scope.spawn(move || in_lane(pass))).collect();
        // A pass that panics panics here as it would in this thread.
        let found = passes.into_iter().map(|pass| pass.join());
        found
            .map(|found| found.unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            .collect()
    })
}

const NO_ROOM: &str = "the card has no room for this; training goes on on the processor";
