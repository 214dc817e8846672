//! What a run teaches: how a batch becomes gradients, and how the result is measured.

use candle_core::Device;
use candle_core::backprop::GradStore;
use peel_layerdecomp::{CardLearner, Config};

use crate::Result;
use crate::autoencoder::Autoencoder;
use crate::config::{Task, TrainConfig};
use crate::data::loader::Batch;
use crate::data::pool::Pool;
use crate::decomposer::Decomposer;
use crate::eval::Method;
use crate::loss::LossParts;
use crate::metrics::Scores;
use crate::refining::Refining;
use crate::start::Weights;
use crate::student::Student;

/// The differentiable part of a run, over the variables of its [`Weights`].
pub(crate) trait Learner: Sync {
    /// Forward, loss, backward of a batch; the gradients are `scale` times the loss's.
    fn learn(&self, batch: &Batch, scale: f64) -> Result<(LossParts, GradStore)>;

    /// The same where what learns is on a card. The gradients stay there.
    fn learn_on(&self, card: &mut CardLearner, batch: &Batch, scale: f64) -> Result<LossParts>;

    /// What takes held-out cases apart with the weights as they are.
    fn method(&self) -> Box<dyn Method + '_>;

    /// The score of a set by which averages are compared: PSNR over whole backgrounds unless told otherwise.
    fn score(&self, scores: &Scores) -> Option<f64> {
        scores.whole
    }

    /// The configuration that is written beside the weights as they are; held-out pictures may settle numbers of it.
    fn config(&self, held_out: &Pool) -> Result<Config>;
}

/// The learner of a configuration and its weights, new or as `start` has them.
pub(crate) fn learner(config: &TrainConfig, model: &Config) -> Result<(Box<dyn Learner>, Weights)> {
    let weights = Weights::open(config, model)?;
    let vb = || weights.builder(&Device::Cpu);
    let learner: Box<dyn Learner> = match &config.task {
        Task::Layers => Box::new(Decomposer::new(config, model, vb())?),
        Task::Distil { .. } => Box::new(Student::new(config, model, vb())?),
        Task::Refine { .. } => Box::new(Refining::new(config, model, vb())?),
        Task::Autoencoder { pictures, kl } => {
            Box::new(Autoencoder::new(config, model, *pictures, *kl, &vb())?)
        }
    };
    Ok((learner, weights))
}
