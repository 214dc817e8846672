//! Models on disk to models in memory, once each, and not before somebody runs them: a content key needs only the
//! digest of the weights, and a result that is cached needs no model at all.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use candle_core::Device as Place;
use peel_layerdecomp::weights::{Loading, Precision};
#[cfg(feature = "cuda")]
use peel_layerdecomp::{CardQueue, Cuda};
use peel_layerdecomp::{Config, Model};
use peel_node::{At, Device, Error, Key, KeyBuilder, Resource, Result};
#[cfg(feature = "cuda")]
use peel_plate::PlateCard;
use peel_plate::{Decomposer, Network};

const WEIGHTS: &str = "model.safetensors";
const CONFIG: &str = "config.ron";
/// How much of a frame's work reading the weights counts for: ten gigabytes take as long as a few steps of the network.
const LOADING: f32 = 0.1;
/// The digest of the weights, as it was recorded when they were written; it need not be there.
const DIGEST: &str = "digest";

/// A model, in memory as soon as somebody runs it.
pub struct Loaded {
    /// Its configuration, weights and precision by content: the same on every machine and under every path.
    pub key: Key,
    /// BLAKE3 of the weights file, in hexadecimal.
    pub digest: String,
    name: String,
    folder: PathBuf,
    device: Device,
    precision: Precision,
    network: OnceLock<Box<dyn Decomposer>>,
    loading: Mutex<()>,
}

/// The model of this name or path on this device, its linear layers in this precision. The same one until one of its files
/// changes.
pub fn load(at: &At<'_>, name: &str, device: Device, precision: Precision) -> Result<Arc<Loaded>> {
    let folder = at.world.model_folder(name)?;
    let mut key = KeyBuilder::new("model in memory");
    key.str(&device.to_string()).str(&precision.to_string());
    for file in [CONFIG, "names.txt", WEIGHTS, DIGEST] {
        match at.world.identity(&folder.join(file)) {
            Ok(identity) => key
                .str(&identity.path.to_string_lossy())
                .int(identity.size.into())
                .int(identity.modified),
            Err(_) if file == DIGEST => key.str("not recorded"),
            Err(error) => return Err(error),
        };
    }
    let mut make = || Ok(Arc::new(Loaded::of(&folder, name, device, precision)?) as Resource);
    let loaded = at.world.resource(key.finish(), &mut make)?;
    loaded
        .downcast()
        .map_err(|_| Error::message(format!("model `{name}`: another resource has its key")))
}

impl Loaded {
    fn of(folder: &Path, name: &str, device: Device, precision: Precision) -> Result<Loaded> {
        let failed = |error: &dyn std::fmt::Display| failed(name, error);
        let config = Config::load(&folder.join(CONFIG)).map_err(|error| failed(&error))?;
        let config = config.to_ron().map_err(|error| failed(&error))?;
        let digest = match recorded(folder) {
            Some(digest) => digest,
            None => digest_of(&folder.join(WEIGHTS)).map_err(|error| failed(&error))?,
        };
        let key = KeyBuilder::new("model")
            .str(&config)
            .str(&digest)
            .str(&precision.to_string())
            .finish();
        Ok(Loaded {
            key,
            digest,
            name: name.to_owned(),
            folder: folder.to_owned(),
            device,
            precision,
            network: OnceLock::new(),
            loading: Mutex::new(()),
        })
    }

    /// What runs; read from disk where nobody has asked before, which `at` is told of as the first part of the node's work.
    pub fn network(&self, at: &At<'_>) -> Result<&dyn Decomposer> {
        let _alone = self.loading.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(network) = self.network.get() {
            return Ok(network.as_ref());
        }
        let network = self.read(&|share| at.world.progress(LOADING * share))?;
        Ok(self.network.get_or_init(|| network).as_ref())
    }

    /// Reads the weights; `progress` gets the part done, 0 to 1, and cancels by returning false.
    fn read(&self, progress: &dyn Fn(f32) -> bool) -> Result<Box<dyn Decomposer>> {
        let failed = |error: &dyn std::fmt::Display| failed(&self.name, error);
        let loading = Loading {
            precision: Some(self.precision),
            progress: &|done, all| progress(done as f32 / all.max(1) as f32),
        };
        let model = match Model::load_with(&self.folder, &Place::Cpu, &loading) {
            Err(peel_layerdecomp::Error::Cancelled) => return Err(Error::Cancelled),
            model => model.map_err(|error| failed(&error))?,
        };
        if model.digest() != self.digest {
            let place = self.folder.join(DIGEST);
            return Err(failed(&format!(
                "the weights are not those that {} records; write the digest {} there, or remove that file",
                place.display(),
                model.digest()
            )));
        }
        let network = match self.device {
            Device::Cpu => Network::new(model, Place::Cpu),
            #[cfg(feature = "cuda")]
            Device::Cuda => self.on_cuda(model).map_err(|error| failed(&error))?,
            #[cfg(not(feature = "cuda"))]
            Device::Cuda => return Err(failed(&"this build has no CUDA in it; take the device cpu")),
        };
        Ok(Box::new(network))
    }

    /// The model drawn by the first NVIDIA card, whose linear layers are whole numbers where this one's are.
    #[cfg(feature = "cuda")]
    fn on_cuda(&self, model: Model) -> peel_plate::Result<Network> {
        // The plate has its own stream, so that one frame is painted while the model looks at the next.
        let card = Cuda::open(0).map_err(|error| peel_plate::Error::Model(error.to_string()))?;
        let queue = CardQueue::on_cuda(&self.folder, Some(self.precision));
        Network::on_card(model, queue, PlateCard::new(card))
    }
}

fn failed(name: &str, error: &dyn std::fmt::Display) -> Error {
    Error::message(format!("model `{name}`: {error}"))
}

/// The digest that was recorded for these weights; none where they are newer than the record. Believed until the model
/// is loaded, which looks at the weights themselves.
fn recorded(folder: &Path) -> Option<String> {
    let modified = |file: &str| fs::metadata(folder.join(file)).ok()?.modified().ok();
    if modified(DIGEST)? < modified(WEIGHTS)? {
        return None;
    }
    let text = fs::read_to_string(folder.join(DIGEST)).ok()?;
    let digest = text.split_whitespace().next()?;
    let is_digest = digest.len() == 64 && digest.bytes().all(|digit| digit.is_ascii_hexdigit());
    is_digest.then(|| digest.to_owned())
}

fn digest_of(file: &Path) -> std::io::Result<String> {
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(File::open(file)?)?;
    Ok(hasher.finalize().to_hex().to_string())
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::*;

    #[test]
    fn a_record_is_believed_unless_the_weights_are_newer() {
        let folder = tempfile::tempdir().unwrap();
        let put = |name: &str, text: &str, age: u64| {
            fs::write(folder.path().join(name), text).unwrap();
            let file = File::options()
                .write(true)
                .open(folder.path().join(name))
                .unwrap();
            file.set_modified(SystemTime::now() - Duration::from_secs(age))
                .unwrap();
        };
        put(WEIGHTS, "weights", 10);
        assert_eq!(recorded(folder.path()), None);
        let digest = digest_of(&folder.path().join(WEIGHTS)).unwrap();
        put(DIGEST, &format!("{digest}  {WEIGHTS}\n"), 5);
        assert_eq!(recorded(folder.path()), Some(digest.clone()));
        put(DIGEST, &format!("{digest}  {WEIGHTS}\n"), 20);
        assert_eq!(recorded(folder.path()), None);
        put(DIGEST, "none", 5);
        assert_eq!(recorded(folder.path()), None);
    }
}
