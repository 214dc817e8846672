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

use crate::grow::{self, Growth, Source};
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

fn part_mut<'a>(slot: &'a mut Slot, name: &str) -> &'a mut Vec<f32> {
    match name {
        "value" => &mut slot.value,
        "average" => &mut slot.average,
        "first" => &mut slot.first,
        _ => &mut slot.second,
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

/// A checkpoint that has been read, of a network that may be shallower than the one that goes on with it.
pub struct Checkpoint<'a> {
    path: &'a Path,
    bytes: Vec<u8>,
    /// Where the run stood.
    pub at: Position,
    /// Blocks of its network; autoencoders have none.
    pub depth: Option<usize>,
}

impl<'a> Checkpoint<'a> {
    /// Reads a file.
    ///
    /// # Errors
    /// If it is missing or damaged.
    pub fn read(path: &'a Path) -> Result<Self> {
        let bytes = std::fs::read(path).map_err(Error::file(path))?;
        let file = SafeTensors::deserialize(&bytes).map_err(|e| Error::content(path, e))?;
        let (_, header) = SafeTensors::read_metadata(&bytes).map_err(|e| Error::content(path, e))?;
        let about = header.metadata().clone().unwrap_or_default();
        let number = |key: &str| about.get(key).and_then(|v| v.parse::<u64>().ok());
        let step = number(STEP).ok_or_else(|| Error::content(path, "it does not say its step"))?;
        // Checkpoints of older versions have none.
        let window = file
            .tensor(WINDOW)
            .map_or_else(|_| Vec::new(), |view| floats(view.data()));
        let names = file.names();
        let values = names.iter().filter_map(|name| name.strip_prefix("value."));
        let (depth, at) = (
            grow::depth(values),
            Position {
                step,
                decay_from: number(DECAY_FROM),
                window,
            },
        );
        Ok(Self {
            path,
            bytes,
            at,
            depth,
        })
    }

    /// Puts the checkpoint into an optimiser over the variables of a network of `depth` blocks.
    ///
    /// # Errors
    /// If it is of another model, or of a deeper one.
    pub fn restore(self, optimizer: &mut Optimizer, depth: usize) -> Result<Position> {
        let path = self.path;
        let file = SafeTensors::deserialize(&self.bytes).map_err(|e| Error::content(path, e))?;
        let growth = Growth::new(self.depth.unwrap_or(depth), depth)?;
        for slot in &mut optimizer.slots {
            let source = growth.source(&slot.name);
            for name in PARTS {
                let from = match (&source, name) {
                    (Source::Whole(from), _) | (Source::Values(from), "value" | "average") => from,
                    (Source::Values(_) | Source::Nothing, _) => {
                        part_mut(slot, name).fill(0.0);
                        continue;
                    }
                };
                let key = format!("{name}.{from}");
                let view = file.tensor(&key).map_err(|e| Error::content(path, e))?;
                if view.shape() != slot.shape || view.dtype() != Dtype::F32 {
                    let found = format!("{key} is {:?}, the model wants {:?}", view.shape(), slot.shape);
                    return Err(Error::content(path, found));
                }
                *part_mut(slot, name) = floats(view.data());
            }
            slot.set(&slot.value)?;
        }
        optimizer.step = self.at.step;
        Ok(self.at)
    }
}
