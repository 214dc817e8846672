//! The whole way from nothing to a weights folder.

use std::path::Path;
use std::time::{Duration, Instant};

use crate::checkpoint::Checkpoint;
use crate::config::TrainConfig;
use crate::{Event, Machine, Options, Result, export, train_on};

/// Trains the constant phase up to step `until`, runs the decay branch from there, and writes its average to `out`. What an
/// earlier call did is not done again: a call that was killed is made anew. Returns the step that the weights are from, or
/// nothing where the `time` of this call ran out before.
///
/// # Errors
/// As [`train_on`] and [`export()`].
pub fn ship(
    machine: Machine<'_>,
    config_path: &Path,
    until: u64,
    time: Option<Duration>,
    out: &Path,
    progress: &mut dyn FnMut(&Event) -> bool,
) -> Result<Option<u64>> {
    let begun = Instant::now();
    let part = |until, decay| Options {
        until,
        time: time.map(|time| time.saturating_sub(begun.elapsed())),
        decay,
    };
    let constant = train_on(machine, config_path, &part(Some(until), false), progress)?;
    if constant.step < until {
        return Ok(None);
    }
    let config = TrainConfig::load(config_path)?;
    if !has_decayed(&config, constant.step)? {
        let branch = train_on(machine, config_path, &part(None, true), progress)?;
        if !branch.decayed {
            return Ok(None);
        }
    }
    export(config_path, false, out).map(Some)
}

/// Whether the last branch left the constant phase at this step and came to its end.
fn has_decayed(config: &TrainConfig, from: u64) -> Result<bool> {
    let path = config.state.join("decay.safetensors");
    if !path.exists() {
        return Ok(false);
    }
    let at = Checkpoint::read(&path)?.at;
    Ok(at.decay_from == Some(from) && at.step >= from + config.decay.steps)
}
