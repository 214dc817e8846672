//! The one door to the outside: files, device, weights, cache, messages.

use std::any::Any;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use peel_image::ColourSpace;

use crate::{Key, Result, Value};

/// Where the model runs.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Device {
    /// The processor.
    #[default]
    Cpu,
    /// The first NVIDIA card.
    Cuda,
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Device::Cpu => "cpu",
            Device::Cuda => "cuda",
        })
    }
}

/// What makes a file the same file as before, without reading it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FileIdentity {
    /// Resolved path.
    pub path: PathBuf,
    /// Bytes.
    pub size: u64,
    /// Modification time, nanoseconds since 1970.
    pub modified: i128,
}

/// Something to tell the user that is not an error.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Note {
    /// A fact, such as a recomposition residual.
    Info(String),
    /// Something that the user may want to change.
    Warning(String),
}

/// A part of a node's work; see [`World::stretch`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stretch {
    /// A file's bytes become pixels.
    Decode,
    /// Pixels become a file's bytes.
    Encode,
}

/// Everything outside a node's parameters and inputs. Nodes reach files, the device, the weights and the
/// cache through here alone, so that hot reload and tests use the same door.
pub trait World: Send + Sync {
    /// A path of the graph file, made absolute from the graph file's folder.
    fn resolve(&self, path: &str) -> PathBuf;

    /// The identity of a file; an error where it is missing or unreadable.
    fn identity(&self, path: &Path) -> Result<FileIdentity>;

    /// How much memory a file may ask for.
    fn budget(&self) -> peel_io::Budget;

    /// The colour space that every edge carries; the graph's `working_space`.
    fn working_space(&self) -> ColourSpace;

    /// Hash of the graph's text, for metadata.
    fn fingerprint(&self) -> Key;

    /// The device that Decompose should use unless its parameters say otherwise.
    fn device(&self) -> Device;

    /// The folder of a model: a name (looked up in the weights folders) or a path.
    fn model_folder(&self, model: &str) -> Result<PathBuf>;

    /// A long-lived thing shared by all nodes and frames, such as a loaded model; made once per key.
    fn resource(&self, key: Key, make: &mut dyn FnMut() -> Result<Resource>) -> Result<Resource>;

    /// Results cached in memory and on disk under their content key; made where they are missing.
    fn cached(&self, key: Key, make: &mut dyn FnMut() -> Result<Vec<Value>>) -> Result<Vec<Value>>;

    /// Does a stretch of work that a trace shows on its own; `work` says how many bytes came out of it.
    fn stretch(&self, _stretch: Stretch, work: &mut dyn FnMut() -> Result<u64>) -> Result<()> {
        work().map(drop)
    }

    /// Progress within the node at work, 0 to 1. False asks the node to stop with [`crate::Error::Cancelled`].
    fn progress(&self, share: f32) -> bool;

    /// Whether to stop.
    fn cancelled(&self) -> bool;

    /// Tells the user something.
    fn note(&self, note: Note);
}

/// A shared thing of a type that only its maker knows.
pub type Resource = Arc<dyn Any + Send + Sync>;
