//! Checkpoints: one safetensors file that appears whole or not at all.
//!
//! It holds, for each variable, `value.NAME`, `average.NAME`, `first.NAME`, `second.NAME`; the sums of the metrics' unfinished line as
//! `window`; and the step in its metadata. Samples and noise depend on seed and step alone, so there is no other state: a run resumed from it
//! goes on with the same losses, and writes the same lines.

use std::borrow::Cow;
use std::collections::HashMap;
use std::io::Write;
use std::path::Path;

use safetensors::tensor::{Dtype, SafeTensors, View};

use crate::optimizer::{Optimizer, Slot};
use crate::{Error, Result};

const STEP: &str = "step";
const DECAY_FROM: &str = "decay_from";
const WINDOW: &str = "window";
const PARTS: [&str; 4] = ["value", "average", "first", "second"];

/// Where a run stands besides its tensors.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Position {
    /// Updates made.
    pub step: u64,
    /// First step of the decay branch, on that branch.
    pub decay_from: Option<u64>,
    /// Sums of the metrics' unfinished line, in the trainer's own order; empty where there are none.
    pub window: Vec<f32>,
}

struct Values<'a> {
    shape: &'a [usize],
    values: &'a [f32],
}

impl View for Values<'_> {
    fn dtype(&self) -> Dtype {
        Dtype::F32
    }
    fn shape(&self) -> &[usize] {
        self.shape
    }
    fn data(&self) -> Cow<'_, [u8]> {
        self.values
            .iter()
            .flat_map(|v| v.to_le_bytes())
            .collect::<Vec<u8>>()
            .into()
    }
    fn data_len(&self) -> usize {
        self.values.len() * 4
    }
}

fn part<'a>(slot: &'a Slot, name: &str) -> &'a [f32] {
    match name {
        "value" => &slot.value,
        "average" => &slot.average,
        "first" => &slot.first,
        _ => &slot.second,
    }
}

/// Writes the optimiser's whole state, its step, and what else `at` says; the file at `path` is the old or the new one, never half of one.
///
/// # Errors
/// If the file cannot be written.
pub fn save(path: &Path, optimizer: &Optimizer, at: &Position) -> Result<()> {
    let length = [at.window.len()];
    let window = Values {
        shape: &length,
        values: &at.window,
    };
    let tensors = optimizer.slots.iter().flat_map(|slot| {
        PARTS.map(|name| {
            let view = Values {
                shape: &slot.shape,
                values: part(slot, name),
            };
            (format!("{name}.{}", slot.name), view)
        })
    });
    let tensors = tensors.chain([(WINDOW.to_owned(), window)]);
    let mut about = HashMap::from([(STEP.to_owned(), optimizer.step.to_string())]);
    if let Some(from) = at.decay_from {
        about.insert(DECAY_FROM.to_owned(), from.to_string());
    }
    let bytes = safetensors::serialize(tensors, Some(about)).map_err(|e| Error::content(path, e))?;
    write_whole(path, &bytes)
}

/// Writes a file beside `path` and moves it there.
///
/// # Errors
/// If the file cannot be written.
pub fn write_whole(path: &Path, bytes: &[u8]) -> Result<()> {
    let part = path.with_extension("part");
    let mut file = std::fs::File::create(&part).map_err(Error::file(&part))?;
    file.write_all(bytes)
        .and_then(|()| file.sync_all())
        .map_err(Error::file(&part))?;
    std::fs::rename(&part, path).map_err(Error::file(path))
}

fn floats(bytes: &[u8]) -> Vec<f32> {
    let four = bytes.chunks_exact(4);
    four.map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]))
        .collect()
}

/// Reads a checkpoint into an optimiser over the same variables.
///
/// # Errors
/// If the file is missing, damaged, or of another model.
pub fn load(path: &Path, optimizer: &mut Optimizer) -> Result<Position> {
    let bytes = std::fs::read(path).map_err(Error::file(path))?;
    let file = SafeTensors::deserialize(&bytes).map_err(|e| Error::content(path, e))?;
    let (_, header) = SafeTensors::read_metadata(&bytes).map_err(|e| Error::content(path, e))?;
    let about = header.metadata().clone().unwrap_or_default();
    let number = |key: &str| about.get(key).and_then(|v| v.parse::<u64>().ok());
    let step = number(STEP).ok_or_else(|| Error::content(path, "it does not say its step"))?;

    for slot in &mut optimizer.slots {
        for name in PARTS {
            let key = format!("{name}.{}", slot.name);
            let view = file.tensor(&key).map_err(|e| Error::content(path, e))?;
            if view.shape() != slot.shape || view.dtype() != Dtype::F32 {
                let found = format!("{key} is {:?}, the model wants {:?}", view.shape(), slot.shape);
                return Err(Error::content(path, found));
            }
            let values = floats(view.data());
            match name {
                "value" => slot.value = values,
                "average" => slot.average = values,
                "first" => slot.first = values,
                _ => slot.second = values,
            }
        }
        slot.set(&slot.value)?;
    }
    optimizer.step = step;
    // Checkpoints of older versions have none.
    let window = file
        .tensor(WINDOW)
        .map_or_else(|_| Vec::new(), |view| floats(view.data()));
    Ok(Position {
        step,
        decay_from: number(DECAY_FROM),
        window,
    })
}
