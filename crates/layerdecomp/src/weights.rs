//! Weights folders: `config.ron`, `names.txt` and `model.safetensors`.
//!
//! A tensor's name is its field path. `names.txt` lists every name with its shape, so that a change of the network shows in
//! a diff of text.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use candle_core::{DType, Device, Shape, Tensor, Var};
use candle_nn::var_builder::SimpleBackend;
use candle_nn::{Init, VarBuilder, VarMap};

use crate::noise::Noise;
use crate::{Config, Error, Model, Result};

const CONFIG: &str = "config.ron";
const NAMES: &str = "names.txt";
const WEIGHTS: &str = "model.safetensors";

/// The tensors of a variable map by name.
#[must_use]
pub fn named(map: &VarMap) -> BTreeMap<String, Tensor> {
    let vars = map.data().lock().unwrap_or_else(PoisonError::into_inner);
    vars.iter()
        .map(|(name, var)| (name.clone(), var.as_tensor().clone()))
        .collect()
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

/// Loads a weights folder, see [`Model::load`].
pub(crate) fn load(dir: &Path, device: &Device) -> Result<Model> {
    let config = Config::load(&dir.join(CONFIG))?;
    let names_path = dir.join(NAMES);
    let listed = std::fs::read_to_string(&names_path).map_err(Error::file(&names_path))?;
    let path = dir.join(WEIGHTS);
    let bytes = std::fs::read(&path).map_err(Error::file(&path))?;
    let damaged = |reason: String| Error::Weights {
        path: path.clone(),
        reason,
    };
    let tensors: BTreeMap<String, Tensor> = candle_core::safetensors::load_buffer(&bytes, &Device::Cpu)
        .map_err(|e| damaged(e.to_string()))?
        .into_iter()
        .collect();
    let digest = blake3::hash(&bytes).to_hex().to_string();
    drop(bytes);
    let found = names(&tensors);
    if listed != found {
        let (listed, found): (BTreeSet<&str>, BTreeSet<&str>) =
            (listed.lines().collect(), found.lines().collect());
        let missing = listed
            .difference(&found)
            .map(|l| format!("{l}: listed in {NAMES}, not in the file"));
        let extra = found
            .difference(&listed)
            .map(|l| format!("{l}: in the file, not listed in {NAMES}"));
        let lines = missing.chain(extra).collect::<Vec<_>>();
        // Sets that agree leave only order and line ends to differ in, which is no harm.
        if !lines.is_empty() {
            return Err(damaged(lines.join("\n")));
        }
    }
    let checks = Checks::default();
    let unused = tensors.keys().cloned().collect();
    let backend = Stored {
        tensors,
        state: checks.clone(),
    };
    checks.lock().unused = unused;
    let vb = VarBuilder::from_backend(Box::new(backend), DType::F32, device.clone());
    let model = Model::new(&config, vb)?;
    let state = checks.lock();
    let unknown = state
        .unused
        .iter()
        .map(|name| format!("{name}: not a weight of this configuration"));
    let problems = state.problems.iter().cloned().chain(unknown).collect::<Vec<_>>();
    if problems.is_empty() {
        Ok(model.with_digest(digest))
    } else {
        Err(damaged(problems.join("\n")))
    }
}

/// What building a model over stored tensors brings to light.
#[derive(Debug, Default)]
struct State {
    unused: BTreeSet<String>,
    problems: Vec<String>,
}

#[derive(Debug, Clone, Default)]
struct Checks(Arc<Mutex<State>>);

impl Checks {
    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Serves stored tensors; notes every misfit and goes on with zeros, so that all are reported at once.
struct Stored {
    tensors: BTreeMap<String, Tensor>,
    state: Checks,
}

impl SimpleBackend for Stored {
    fn get(
        &self,
        shape: Shape,
        name: &str,
        _: Init,
        dtype: DType,
        device: &Device,
    ) -> candle_core::Result<Tensor> {
        let mut state = self.state.lock();
        state.unused.remove(name);
        match self.tensors.get(name) {
            Some(tensor) if tensor.shape() == &shape => tensor.to_device(device)?.to_dtype(dtype),
            found => {
                let found = found.map_or("nothing".into(), |t| dims(t.dims()));
                state
                    .problems
                    .push(format!("{name}: wanted {}, found {found}", dims(shape.dims())));
                Tensor::zeros(shape, dtype, device)
            }
        }
    }

    fn get_unchecked(&self, name: &str, _: DType, _: &Device) -> candle_core::Result<Tensor> {
        candle_core::bail!("{name}: asked for without a shape")
    }

    fn contains_tensor(&self, name: &str) -> bool {
        self.tensors.contains_key(name)
    }
}

/// A builder that puts variables into `map`, started from `seed`: the same seed gives the same weights everywhere. Variables
/// that the map has already are used as they are.
#[must_use]
pub fn seeded_builder(map: &VarMap, seed: u64, device: &Device) -> VarBuilder<'static> {
    let backend = Seeded {
        map: map.clone(),
        seed,
    };
    VarBuilder::from_backend(Box::new(backend), DType::F32, device.clone())
}

struct Seeded {
    map: VarMap,
    seed: u64,
}

impl SimpleBackend for Seeded {
    fn get(
        &self,
        shape: Shape,
        name: &str,
        init: Init,
        dtype: DType,
        device: &Device,
    ) -> candle_core::Result<Tensor> {
        let mut vars = self.map.data().lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(var) = vars.get(name) {
            if var.shape() != &shape {
                candle_core::bail!(
                    "{name}: wanted {}, found {}",
                    dims(shape.dims()),
                    dims(var.dims())
                );
            }
            return Ok(var.as_tensor().clone());
        }
        // Each variable its own sequence, by name: adding one does not change the others.
        let digest = blake3::hash(name.as_bytes());
        let stream = u64::from_le_bytes(std::array::from_fn(|i| digest.as_bytes()[i]));
        let (noise, count) = (Noise::new(self.seed, stream), shape.elem_count());
        let values = match init {
            Init::Const(value) => vec![value as f32; count],
            Init::Uniform { lo, up } => noise.uniform(count, lo as f32, up as f32),
            Init::Randn { mean, stdev } => noise
                .normal(count)
                .into_iter()
                .map(|v| (stdev as f32).mul_add(v, mean as f32))
                .collect(),
            Init::Kaiming { .. } => candle_core::bail!("{name}: Kaiming starts are not used here"),
        };
        let var = Var::from_tensor(&Tensor::from_vec(values, shape, device)?.to_dtype(dtype)?)?;
        let tensor = var.as_tensor().clone();
        vars.insert(name.to_string(), var);
        Ok(tensor)
    }

    fn get_unchecked(&self, name: &str, _: DType, _: &Device) -> candle_core::Result<Tensor> {
        candle_core::bail!("{name}: asked for without a shape")
    }

    fn contains_tensor(&self, name: &str) -> bool {
        self.map
            .data()
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .contains_key(name)
    }
}
