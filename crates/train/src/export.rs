//! What a run came to: its moving average as a weights folder, and its scores.

use std::path::Path;

use candle_core::{DType, Device, Tensor};
use peel_layerdecomp::Config;

use crate::checkpoint::Checkpoint;
use crate::config::TrainConfig;
use crate::data::pool::{Pool, Split};
use crate::eval::{self, Line, Set};
use crate::learner::{Learner, learner};
use crate::optimizer::Optimizer;
use crate::start::Weights;
use crate::{Error, Result, checkpoint};

/// Writes the moving average in the state's newest checkpoint (of the decay branch where there is one, unless `constant`) as a
/// weights folder: f16 weights, names, configuration.
///
/// # Errors
/// If there is no checkpoint or the folder cannot be written.
pub fn export(config_path: &Path, constant: bool, out: &Path) -> Result<u64> {
    let newest = Newest::load(config_path, constant)?;
    let held_out = Pool::load(&newest.config.pool, Split::HeldOut)?;
    let settled = newest
        .optimizer
        .with_average(|| newest.learner.config(&held_out))?;
    write_weights(&newest.weights, &newest.optimizer, &settled, out)?;
    Ok(newest.optimizer.step)
}

/// Scores of the same average on some sets, whatever the run's task is.
///
/// # Errors
/// If there is no checkpoint or the network fails.
pub fn measure(config_path: &Path, constant: bool, sets: &[Set]) -> Result<Vec<Line>> {
    let newest = Newest::load(config_path, constant)?;
    let method = newest.learner.method();
    newest
        .optimizer
        .with_average(|| eval::compare(sets, &[method.as_ref()], |_, _, _| ()))
}

/// A run as its newest checkpoint has it.
struct Newest {
    config: TrainConfig,
    learner: Box<dyn Learner>,
    weights: Weights,
    optimizer: Optimizer,
}

impl Newest {
    fn load(config_path: &Path, constant: bool) -> Result<Self> {
        let config = TrainConfig::load(config_path)?;
        let folder = config_path.parent().unwrap_or(Path::new("."));
        let model_config = Config::load(&folder.join("config.ron"))?;
        let decay = config.state.join("decay.safetensors");
        let path = if decay.exists() && !constant {
            decay
        } else {
            config.state.join("run.safetensors")
        };
        let checkpoint = Checkpoint::read(&path)?;
        let depth = checkpoint.depth.unwrap_or(model_config.depth);
        let model_config = Config {
            depth,
            ..model_config
        };
        let (learner, weights) = learner(&config, &model_config)?;
        let mut optimizer = Optimizer::new(config.optimizer.clone(), weights.variables())?;
        checkpoint.restore(&mut optimizer, depth)?;
        Ok(Self {
            config,
            learner,
            weights,
            optimizer,
        })
    }
}

/// Writes the average of the variables and what is frozen beside them.
pub(crate) fn write_weights(
    weights: &Weights,
    optimizer: &Optimizer,
    config: &Config,
    out: &Path,
) -> Result<()> {
    let mut tensors = weights.frozen();
    for slot in &optimizer.slots {
        let average = Tensor::from_slice(&slot.average, slot.shape.as_slice(), &Device::Cpu)?;
        tensors.insert(slot.name.clone(), average);
    }
    peel_layerdecomp::save(out, &tensors, DType::F16)?;
    peel_layerdecomp::save_config(out, config)?;
    let weights = out.join("model.safetensors");
    let bytes = std::fs::read(&weights).map_err(Error::file(&weights))?;
    let digest = format!("{}  model.safetensors\n", blake3::hash(&bytes).to_hex());
    checkpoint::write_whole(&out.join("digest"), digest.as_bytes())
}
