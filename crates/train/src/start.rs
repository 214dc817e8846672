//! The weights of a run: those that learn, those that stay as they are, and where they start.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use candle_core::{DType, Device, Shape, Tensor, Var};
use candle_nn::var_builder::SimpleBackend;
use candle_nn::{Init, VarBuilder, VarMap};
use peel_layerdecomp::{Config, TokenizerConfig, rgba_from_rgb, seeded_builder};

use crate::config::{Pictures, Task, TrainConfig};
use crate::{Error, Result, grow, principal};

/// Seed of the initial weights is the run's seed under this mark, so that it never meets the data's.
const WEIGHTS_MARK: u64 = 0x5745_4947_4854;
/// Path of the RGB autoencoder.
pub(crate) const RGB: &str = "vae.rgb";
/// Path of the RGBA autoencoder.
pub(crate) const RGBA: &str = "vae.rgba";

/// The weights of a run, by name.
#[derive(Clone)]
pub(crate) struct Weights {
    /// Those that learn.
    map: VarMap,
    /// Those that do not, as far as the network has asked for them.
    frozen: Arc<Mutex<BTreeMap<String, Tensor>>>,
    /// What `start` has.
    given: Arc<HashMap<String, Tensor>>,
    /// Whether a name is of a weight that does not learn.
    keeps: fn(&str) -> bool,
    seed: u64,
}

impl Weights {
    /// Reads the folders of `start`; a network of fewer blocks than the model's grows, and so does one that sees less of the plate. New weights come from the seed.
    pub fn open(config: &TrainConfig, model: &Config) -> Result<Self> {
        let mut given = HashMap::new();
        let teacher = match &config.task {
            Task::Distil { teacher, .. } if same_network(teacher, model)? => Some(teacher),
            _ => None,
        };
        // What comes first here stays: later folders of `start` win, a teacher is the last resort.
        for dir in config.start.iter().rev().chain(teacher) {
            fits(dir, model)?;
            let path = dir.join("model.safetensors");
            let mut tensors = candle_core::safetensors::load(&path, &Device::Cpu)
                .map_err(|e| Error::content(&path, format!("start: {e}")))?;
            tensors.retain(|name, _| !config.fresh.iter().any(|fresh| name.starts_with(fresh)));
            if grow::depth(tensors.keys().map(String::as_str)).is_some_and(|blocks| blocks < model.depth) {
                tensors = grow::grown(&tensors, model.depth)?;
            }
            grow::see_more(&mut tensors, &model.tokenizer)?;
            for (name, tensor) in tensors {
                given.entry(name).or_insert(tensor.to_dtype(DType::F32)?);
            }
        }
        let keeps: fn(&str) -> bool = match config.task {
            Task::Layers | Task::Distil { .. } => |name| name.starts_with("vae."),
            Task::Refine { .. } => |name| !name.starts_with("refine."),
            Task::Autoencoder {
                pictures: Pictures::Rgba,
                ..
            } => {
                widen(&mut given)?;
                |name| name.starts_with("vae.rgb.")
            }
            Task::Autoencoder { .. } => {
                if let TokenizerConfig::Latent { vae, .. } = &model.tokenizer
                    && vae.bypass
                    && !given.contains_key(&format!("{RGB}.encoder.bypass.weight"))
                {
                    let first = principal::bypass(config, vae)?;
                    given.extend(first.into_iter().map(|(name, t)| (format!("{RGB}.{name}"), t)));
                }
                |_| false
            }
        };
        Ok(Self {
            map: VarMap::new(),
            frozen: Arc::default(),
            given: Arc::new(given),
            keeps,
            seed: config.seed ^ WEIGHTS_MARK,
        })
    }

    /// A builder over these weights.
    pub fn builder(&self, device: &Device) -> VarBuilder<'static> {
        let backend = Backend {
            new: seeded_builder(&self.map, self.seed, device),
            weights: self.clone(),
        };
        VarBuilder::from_backend(Box::new(backend), DType::F32, device.clone())
    }

    /// What learns.
    pub fn variables(&self) -> Vec<(String, Var)> {
        let vars = self.map.data().lock().unwrap_or_else(PoisonError::into_inner);
        vars.iter()
            .map(|(name, var)| (name.clone(), var.clone()))
            .collect()
    }

    /// What stays as it is.
    pub fn frozen(&self) -> BTreeMap<String, Tensor> {
        self.frozen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Gives the RGBA autoencoder the weights of the RGB one, where it has none.
fn widen(given: &mut HashMap<String, Tensor>) -> Result<()> {
    let under = |path: &str, name: &str| -> Option<String> {
        Some(name.strip_prefix(path)?.strip_prefix('.')?.to_owned())
    };
    if given.keys().any(|name| under(RGBA, name).is_some()) {
        return Ok(());
    }
    let rgb: BTreeMap<String, Tensor> = given
        .iter()
        .filter_map(|(name, tensor)| Some((under(RGB, name)?, tensor.clone())))
        .collect();
    if rgb.is_empty() {
        return Err(Error::Config(
            "task: an Rgba autoencoder starts as the Rgb one; name the folder of that in `start`".into(),
        ));
    }
    for (name, tensor) in rgba_from_rgb(&rgb)? {
        given.insert(format!("{RGBA}.{name}"), tensor);
    }
    Ok(())
}

/// Whether a folder's network has the very shape of the model: a student then starts as its teacher.
fn same_network(dir: &Path, model: &Config) -> Result<bool> {
    let theirs = Config::load(&dir.join("config.ron"))?;
    Ok(Config {
        name: model.name.clone(),
        diffusion: model.diffusion,
        ..theirs
    } == *model)
}

/// Fails where a folder's autoencoders make other latents than the model expects.
fn fits(dir: &Path, model: &Config) -> Result<()> {
    let path = dir.join("config.ron");
    let theirs = Config::load(&path)?;
    match (&theirs.tokenizer, &model.tokenizer) {
        (TokenizerConfig::Latent { vae: theirs, .. }, TokenizerConfig::Latent { vae: ours, .. })
            if theirs != ours =>
        {
            Err(Error::content(
                path,
                format!(
                    "start: its autoencoders are {theirs:?}, this model's are {ours:?}; take over its `vae`"
                ),
            ))
        }
        _ => Ok(()),
    }
}

struct Backend {
    new: VarBuilder<'static>,
    weights: Weights,
}

impl SimpleBackend for Backend {
    fn get(
        &self,
        shape: Shape,
        name: &str,
        init: Init,
        dtype: DType,
        _: &Device,
    ) -> candle_core::Result<Tensor> {
        let Weights {
            map,
            frozen,
            given,
            keeps,
            ..
        } = &self.weights;
        let stays = keeps(name);
        let Some(tensor) = given.get(name) else {
            if stays {
                let what = if name.starts_with("vae.") {
                    "the autoencoders"
                } else {
                    "the network"
                };
                candle_core::bail!(
                    "{name}: it is not trained here, and no folder of `start` has it; train {what} first"
                );
            }
            return self.new.get_with_hints_dtype(shape, name, init, dtype);
        };
        if tensor.shape() != &shape {
            candle_core::bail!(
                "{name}: the model wants {shape:?}, `start` has {:?}",
                tensor.shape()
            );
        }
        if stays {
            let mut frozen = frozen.lock().unwrap_or_else(PoisonError::into_inner);
            return Ok(frozen.entry(name.to_owned()).or_insert(tensor.clone()).clone());
        }
        let mut vars = map.data().lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(var) = vars.get(name) {
            return Ok(var.as_tensor().clone());
        }
        // A copy: training writes into it.
        let var = Var::from_tensor(&tensor.copy()?)?;
        let tensor = var.as_tensor().clone();
        vars.insert(name.to_owned(), var);
        Ok(tensor)
    }

    fn get_unchecked(&self, name: &str, _: DType, _: &Device) -> candle_core::Result<Tensor> {
        candle_core::bail!("{name}: asked for without a shape")
    }

    fn contains_tensor(&self, name: &str) -> bool {
        // Of new weights there is none before it is asked for, as with `seeded_builder`.
        self.weights.given.contains_key(name) || self.new.contains_tensor(name)
    }
}
