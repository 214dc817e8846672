//! Loading: memory-mapped, a tensor at a time, every misfit reported.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use candle_core::safetensors::{Load, MmapedSafetensors};
use candle_core::{DType, Device, Shape, Tensor};
use candle_nn::var_builder::SimpleBackend;
use candle_nn::{Init, VarBuilder};

use super::precision::{self, Precision};
use super::{CONFIG, NAMES, Tally, WEIGHTS, dims, is_product};
use crate::{Config, Error, Model, Result};

/// How a weights folder is loaded.
#[derive(Clone, Copy)]
pub struct Loading<'a> {
    /// What the weights of linear layers become in memory; where it is `None` they stay as they are stored. In fewer bits than
    /// f32 they are widened as they are multiplied: less memory, a little slower, the result of the widened weights to the bit.
    pub precision: Option<Precision>,
    /// Told of the bytes read so far and in all; cancels by returning false. The file is read twice: for its digest, then for
    /// its tensors.
    pub progress: &'a dyn Fn(u64, u64) -> bool,
}

impl std::fmt::Debug for Loading<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Loading")
            .field("precision", &self.precision)
            .finish_non_exhaustive()
    }
}

impl Default for Loading<'_> {
    fn default() -> Self {
        Self {
            precision: Some(Precision::F32),
            progress: &|_, _| true,
        }
    }
}

/// An open weights file.
pub(super) struct File {
    pub path: PathBuf,
    map: MmapedSafetensors,
}

impl File {
    /// Maps the weights file of a folder and reads its header.
    #[allow(unsafe_code)]
    pub fn open(dir: &Path) -> Result<Self> {
        let path = dir.join(WEIGHTS);
        std::fs::File::open(&path).map_err(Error::file(&path))?;
        // SAFETY: the map is only read. Weights files are never written in place, by this crate or by `peel train`: a new one
        // takes the old one's name while the old one lives on under the map.
        let map = unsafe { MmapedSafetensors::new(&path) };
        let map = map.map_err(|e| Error::Weights {
            path: path.clone(),
            reason: e.to_string(),
        })?;
        Ok(Self { path, map })
    }

    /// An error about this file.
    pub fn damaged(&self, reason: impl Into<String>) -> Error {
        Error::Weights {
            path: self.path.clone(),
            reason: reason.into(),
        }
    }

    /// Shape, number format (as safetensors names it) and bytes of every tensor.
    pub fn entries(&self) -> BTreeMap<String, (Vec<usize>, String, u64)> {
        let describe = |(name, view): (String, safetensors::tensor::TensorView<'_>)| {
            let found = (
                view.shape().to_vec(),
                format!("{:?}", view.dtype()),
                view.data().len() as u64,
            );
            (name, found)
        };
        self.map.tensors().into_iter().map(describe).collect()
    }

    /// One tensor, copied out of the map.
    pub fn tensor(&self, name: &str) -> candle_core::Result<Tensor> {
        self.map.get(name)?.load(&Device::Cpu)
    }

    /// The values of a tensor, whole numbers as what their scales say.
    pub fn values(&self, name: &str) -> candle_core::Result<Vec<f32>> {
        let tensor = self.tensor(name)?;
        if tensor.dtype() != DType::U8 {
            return precision::values(&tensor);
        }
        let scales = precision::values(&self.tensor(&precision::scale_name(name))?)?;
        let inputs = tensor.dim(candle_core::D::Minus1)?;
        Ok(precision::restored(
            &tensor.flatten_all()?.to_vec1()?,
            &scales,
            inputs,
        ))
    }

    /// A linear layer's weight in a number format, and its scales if these are whole numbers.
    pub fn product(
        &self,
        name: &str,
        shape: &[usize],
        to: Precision,
    ) -> candle_core::Result<(Tensor, Option<Tensor>)> {
        let device = &Device::Cpu;
        let float = |dtype| Tensor::from_vec(self.values(name)?, shape, device)?.to_dtype(dtype);
        Ok(match to {
            Precision::F32 => (float(DType::F32)?, None),
            Precision::F16 => (float(DType::F16)?, None),
            Precision::Bf16 => (float(DType::BF16)?, None),
            Precision::Int8 => {
                let (numbers, scales) = precision::quantised(&self.values(name)?, shape[1]);
                (
                    Tensor::from_vec(numbers, shape, device)?,
                    Some(Tensor::from_vec(scales, shape[0], device)?),
                )
            }
        })
    }

    /// BLAKE3 of the file in hexadecimal. `step(bytes)` is told of each piece.
    pub fn digest(&self, step: &dyn Fn(u64) -> Result<()>) -> Result<String> {
        let mut file = std::fs::File::open(&self.path).map_err(Error::file(&self.path))?;
        let (mut hasher, mut piece) = (blake3::Hasher::new(), vec![0; 1 << 22]);
        loop {
            let count = file.read(&mut piece).map_err(Error::file(&self.path))?;
            if count == 0 {
                return Ok(hasher.finalize().to_hex().to_string());
            }
            hasher.update(&piece[..count]);
            step(count as u64)?;
        }
    }

    /// What `names.txt` and the file's own names disagree on, one a line.
    pub fn misnamed(&self, dir: &Path) -> Result<Vec<String>> {
        let names_path = dir.join(NAMES);
        let listed = std::fs::read_to_string(&names_path).map_err(Error::file(&names_path))?;
        let listed: BTreeSet<String> = listed.lines().map(str::to_string).collect();
        let line =
            |(name, (shape, ..)): (&String, &(Vec<usize>, String, u64))| format!("{name} {}", dims(shape));
        let found: BTreeSet<String> = self.entries().iter().map(line).collect();
        let missing = listed
            .difference(&found)
            .map(|l| format!("{l}: listed in {NAMES}, not in the file"));
        let extra = found
            .difference(&listed)
            .map(|l| format!("{l}: in the file, not listed in {NAMES}"));
        Ok(missing.chain(extra).collect())
    }
}

/// Loads a weights folder, see [`Model::load`].
pub(crate) fn load(dir: &Path, device: &Device, loading: &Loading<'_>) -> Result<Model> {
    let file = File::open(dir)?;
    let config = configured(dir, &file)?;
    let misnamed = file.misnamed(dir)?;
    if !misnamed.is_empty() {
        return Err(file.damaged(misnamed.join("\n")));
    }
    let entries = file.entries();
    let total: u64 = entries.values().map(|e| e.2).sum();
    let tally = Tally::new(2 * total, loading.progress);
    let digest = file.digest(&|bytes| tally.step(bytes, total))?;
    let mut tensors = BTreeMap::new();
    for (name, (shape, stored, bytes)) in &entries {
        // One at a time: beside the tensors themselves only this one is in memory twice, and the map's pages can be given back.
        let damaged = |e: candle_core::Error| file.damaged(format!("{name}: {e}"));
        let as_stored = loading
            .precision
            .is_none_or(|to| precision::stored_as(to) == stored.as_str());
        if is_product(name, shape) && !as_stored {
            let to = loading.precision.unwrap_or(Precision::F32);
            let (weight, scale) = file.product(name, shape, to).map_err(damaged)?;
            tensors.insert(name.clone(), weight.to_device(device)?);
            if let Some(scale) = scale {
                tensors.insert(precision::scale_name(name), scale.to_device(device)?);
            }
        } else if !is_dropped_scale(name, &entries, loading.precision) {
            let mut tensor = file.tensor(name).map_err(damaged)?;
            if !is_product(name, shape) {
                tensor = tensor.to_dtype(DType::F32)?;
            }
            tensors.insert(name.clone(), tensor.to_device(device)?);
        }
        tally.step(*bytes, 2 * total)?;
    }
    let checks = Checks::default();
    checks.lock().unused = tensors.keys().cloned().collect();
    let backend = Stored {
        tensors,
        state: checks.clone(),
    };
    let model = {
        let vb = VarBuilder::from_backend(Box::new(backend), DType::F32, device.clone());
        Model::new(&config, vb)?
    };
    let state = checks.lock();
    let unknown = state
        .unused
        .iter()
        .map(|name| format!("{name}: not a weight of this configuration"));
    let problems = state.problems.iter().cloned().chain(unknown).collect::<Vec<_>>();
    if problems.is_empty() {
        Ok(model.with_digest(digest))
    } else {
        Err(file.damaged(problems.join("\n")))
    }
}

/// The configuration of a folder, without a refiner if the file holds no weights of one: it can be switched on before it is
/// trained.
pub(super) fn configured(dir: &Path, file: &File) -> Result<Config> {
    let mut config = Config::load(&dir.join(CONFIG))?;
    if !file.entries().keys().any(|name| name.starts_with("refine.")) {
        config.refine = None;
    }
    Ok(config)
}

/// Whether a tensor holds the scales of whole numbers that do not stay whole numbers.
fn is_dropped_scale(
    name: &str,
    entries: &BTreeMap<String, (Vec<usize>, String, u64)>,
    to: Option<Precision>,
) -> bool {
    let weight = name.strip_suffix(".scale").map(|layer| format!("{layer}.weight"));
    let whole = weight.is_some_and(|weight| entries.get(&weight).is_some_and(|e| e.1 == "U8"));
    whole && to.is_some_and(|to| to != Precision::Int8)
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
    /// Weights in fewer bits are served as they are, whatever the asked format: only linear layers meet them.
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
        let problem = match self.tensors.get(name) {
            Some(tensor) if tensor.shape() != &shape => dims(tensor.dims()),
            Some(tensor) if (tensor.dtype() == DType::U8) != (dtype == DType::U8) => {
                format!("{:?} numbers where {dtype:?} are wanted", tensor.dtype())
            }
            Some(tensor) => return Ok(tensor.clone()),
            None => "nothing".into(),
        };
        state
            .problems
            .push(format!("{name}: wanted {}, found {problem}", dims(shape.dims())));
        Tensor::zeros(shape, dtype, device)
    }

    fn get_unchecked(&self, name: &str, _: DType, _: &Device) -> candle_core::Result<Tensor> {
        candle_core::bail!("{name}: asked for without a shape")
    }

    fn contains_tensor(&self, name: &str) -> bool {
        self.tensors.contains_key(name)
    }
}
