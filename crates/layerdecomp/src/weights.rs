//! Weights folders: `config.ron`, `names.txt`, `model.safetensors`, and a `digest` of the last.
//!
//! A tensor's name is its field path. `names.txt` lists every name with its shape, so that a change of the network shows in
//! a diff of text.

mod load;
mod precision;
mod seeded;
mod shapes;
mod tools;
mod write;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::PoisonError;

use candle_core::{DType, Tensor};
use candle_nn::VarMap;

pub use self::load::Loading;
pub(crate) use self::load::load;
pub use self::precision::Precision;
#[cfg(test)]
pub(crate) use self::precision::quantised;
pub(crate) use self::precision::{ZERO, is_product, restore};
pub use self::seeded::seeded_builder;
pub use self::shapes::shapes;
pub use self::tools::{Entry, Listing, average, convert, list, verify};
use crate::{Config, Error, Result};

const CONFIG: &str = "config.ron";
const NAMES: &str = "names.txt";
const WEIGHTS: &str = "model.safetensors";
const DIGEST: &str = "digest";

/// Bytes handled so far, told to whoever watches.
struct Tally<'a> {
    done: std::cell::Cell<u64>,
    all: u64,
    tell: &'a dyn Fn(u64, u64) -> bool,
}

impl<'a> Tally<'a> {
    fn new(all: u64, tell: &'a dyn Fn(u64, u64) -> bool) -> Self {
        let done = std::cell::Cell::new(0);
        Self { done, all, tell }
    }

    /// Adds bytes, up to `most` in this stage: files have headers, which do not count.
    fn step(&self, bytes: u64, most: u64) -> Result<()> {
        self.done.set((self.done.get() + bytes).min(most));
        if (self.tell)(self.done.get(), self.all) {
            Ok(())
        } else {
            Err(Error::Cancelled)
        }
    }
}

/// The tensors of a variable map by name.
#[must_use]
pub fn named(map: &VarMap) -> BTreeMap<String, Tensor> {
    let vars = map.data().lock().unwrap_or_else(PoisonError::into_inner);
    vars.iter()
        .map(|(name, var)| (name.clone(), var.as_tensor().clone()))
        .collect()
}

/// The configuration of a weights folder and its tensors by name, in f32, on the CPU. Linear layers of whole numbers stay what they are, with
/// their scales beside them; where `precision` asks for whole numbers they are made, by the same rounding as in [`Loading`]. Other
/// formats are the card's own business, which multiplies bf16.
///
/// # Errors
/// As [`Model::load`](crate::Model::load).
pub(crate) fn tensors(
    dir: &Path,
    precision: Option<Precision>,
) -> Result<(Config, BTreeMap<String, Tensor>)> {
    let file = load::File::open(dir)?;
    let config = load::configured(dir, &file)?;
    let misnamed = file.misnamed(dir)?;
    if !misnamed.is_empty() {
        return Err(file.damaged(misnamed.join("\n")));
    }
    let mut tensors = BTreeMap::new();
    for (name, (shape, ..)) in file.entries() {
        let damaged = |e: candle_core::Error| file.damaged(format!("{name}: {e}"));
        let tensor = file.tensor(&name).map_err(damaged)?;
        let product = is_product(&name, &shape);
        if product && tensor.dtype() == DType::U8 {
            tensors.insert(name, tensor);
        } else if product && precision == Some(Precision::Int8) {
            let (numbers, scales) = file.product(&name, &shape, Precision::Int8).map_err(damaged)?;
            tensors.extend(scales.map(|scales| (precision::scale_name(&name), scales)));
            tensors.insert(name, numbers);
        } else {
            tensors.insert(name, tensor.to_dtype(DType::F32)?);
        }
    }
    Ok((config, tensors))
}

/// Writes `model.safetensors` and `names.txt` into `dir`, creating it. Each file appears whole or not at all. Tensors are
/// stored as `dtype`: [`DType::F16`] halves the size and costs nothing that can be seen.
///
/// # Errors
/// If a file cannot be written.
pub fn save(dir: &Path, tensors: &BTreeMap<String, Tensor>, dtype: DType) -> Result<()> {
    std::fs::create_dir_all(dir).map_err(Error::file(dir))?;
    let stored = tensors
        .iter()
        .map(|(name, tensor)| Ok((name.clone(), tensor.detach().to_dtype(dtype)?.contiguous()?)))
        .collect::<Result<std::collections::HashMap<_, _>>>()?;
    let target = dir.join(WEIGHTS);
    replace(&target, |part| {
        let written = candle_core::safetensors::save(&stored, part);
        written.map_err(|e| Error::Weights {
            path: target.clone(),
            reason: e.to_string(),
        })
    })?;
    replace_text(&dir.join(NAMES), &names(tensors))
}

/// Writes `config.ron` into a weights folder, creating it.
///
/// # Errors
/// If the file cannot be written.
pub fn save_config(dir: &Path, config: &Config) -> Result<()> {
    std::fs::create_dir_all(dir).map_err(Error::file(dir))?;
    replace_text(&dir.join(CONFIG), &config.to_ron()?)
}

/// Lets `write` fill a file beside `target`, which then takes its place: whole, or not at all.
fn replace(target: &Path, write: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    let mut part = target.as_os_str().to_owned();
    part.push(".part");
    let part = std::path::PathBuf::from(part);
    let replaced = write(&part).and_then(|()| {
        // On the disk before it gets its name.
        std::fs::File::open(&part)
            .and_then(|file| file.sync_all())
            .map_err(Error::file(&part))?;
        std::fs::rename(&part, target).map_err(Error::file(target))
    });
    if replaced.is_err() {
        // Nothing partial stays; if even this fails, the first reason is the one to report.
        let _ = std::fs::remove_file(&part);
    }
    replaced
}

fn replace_text(target: &Path, text: &str) -> Result<()> {
    replace(target, |part| {
        std::fs::write(part, text).map_err(Error::file(part))
    })
}

/// The text of `names.txt`: one `name 2x3x4` a line, sorted by name.
#[must_use]
pub fn names(tensors: &BTreeMap<String, Tensor>) -> String {
    tensors
        .iter()
        .map(|(name, tensor)| format!("{name} {}\n", dims(tensor.dims())))
        .collect()
}

fn dims(dims: &[usize]) -> String {
    dims.iter().map(ToString::to_string).collect::<Vec<_>>().join("x")
}
