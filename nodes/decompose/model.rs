//! Models on disk to models in memory, once each.

use std::path::Path;
use std::sync::Arc;

use candle_core::Device as Place;
use peel_layerdecomp::Model;
use peel_layerdecomp::weights::{Loading, Precision};
use peel_node::{At, Device, Error, Key, KeyBuilder, Resource, Result};
use peel_plate::{Decomposer, Network};

/// The files that make up a model.
const FILES: [&str; 3] = ["config.ron", "names.txt", "model.safetensors"];

/// A model in memory.
pub struct Loaded {
    /// What runs.
    pub network: Box<dyn Decomposer>,
    /// Its configuration, weights and precision by content: the same on every machine and under every path.
    pub key: Key,
}

/// The model of this name or path on this device, its linear layers in this precision. Loaded once; loaded again when one of
/// its files changes.
pub fn load(at: &At<'_>, name: &str, device: Device, precision: Precision) -> Result<Arc<Loaded>> {
    let folder = at.world.model_folder(name)?;
    let mut key = KeyBuilder::new("model in memory");
    key.str(&device.to_string()).str(&precision.to_string());
    for file in FILES {
        let identity = at.world.identity(&folder.join(file))?;
        key.str(&identity.path.to_string_lossy())
            .int(identity.size.into())
            .int(identity.modified);
    }
    let mut make = || Ok(Arc::new(read(&folder, name, device, precision)?) as Resource);
    let loaded = at.world.resource(key.finish(), &mut make)?;
    loaded
        .downcast()
        .map_err(|_| Error::message(format!("model `{name}`: another resource has its key")))
}

fn read(folder: &Path, name: &str, device: Device, precision: Precision) -> Result<Loaded> {
    let failed = |error: &dyn std::fmt::Display| Error::message(format!("model `{name}`: {error}"));
    let place = match device {
        Device::Cpu => Place::Cpu,
        Device::Cuda => Place::new_cuda(0).map_err(|error| failed(&format!("no CUDA device: {error}")))?,
    };
    let loading = Loading {
        precision: Some(precision),
        ..Loading::default()
    };
    let model = Model::load_with(folder, &place, &loading).map_err(|error| failed(&error))?;
    let config = model.config().to_ron().map_err(|error| failed(&error))?;
    let key = KeyBuilder::new("model")
        .str(&config)
        .str(model.digest())
        .str(&precision.to_string())
        .finish();
    Ok(Loaded {
        network: Box::new(Network::new(model, place)),
        key,
    })
}
