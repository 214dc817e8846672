//! The engine and its settings.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::SystemTime;

use peel_node::{Device, Key};

use crate::crew::Crew;
use crate::disk::DiskCache;
use crate::pieces::Passing;
use crate::resources::Resources;
use crate::store::{CacheStats, Store};
use crate::sync::lock;
use crate::trace::Trace;

/// What an engine works with.
#[derive(Clone, Debug)]
pub struct EngineOptions {
    /// Nodes that work at once. The pixels do not depend on it.
    pub threads: usize,
    /// Memory to aim for, in bytes: half of it for results that are kept for later, the rest for the frames
    /// at work. A single picture larger than this is refused.
    pub memory_bytes: u64,
    /// Where dear results are kept for the next run; `None` keeps none.
    pub cache_dir: Option<PathBuf>,
    /// Bytes that the disk cache is kept below.
    pub cache_bytes: u64,
    /// Whether to record what every node does; see [`Engine::trace`].
    pub trace: bool,
    /// Where models run unless a node says otherwise.
    pub device: Device,
    /// Folders in which models are looked up first, before the `weights` folders beside or above the graph,
    /// the program and the current folder.
    pub weights_dirs: Vec<PathBuf>,
    /// Rows of a band; chosen by the width of the picture where `None`. The pixels do not depend on it.
    pub band_rows: Option<usize>,
}

impl Default for EngineOptions {
    /// All processors, 4 GiB, no disk cache, the processor for models.
    fn default() -> EngineOptions {
        EngineOptions {
            threads: std::thread::available_parallelism().map_or(1, usize::from),
            memory_bytes: 4 << 30,
            cache_dir: None,
            cache_bytes: 16 << 30,
            trace: false,
            device: Device::Cpu,
            weights_dirs: Vec::new(),
            band_rows: None,
        }
    }
}

/// Renders graphs. Long-lived: caches and loaded models stay from one graph, or one version of a graph, to
/// the next; content keys decide what still holds.
pub struct Engine {
    pub(crate) shared: Shared,
}

/// What every evaluation of an engine shares.
pub(crate) struct Shared {
    pub options: EngineOptions,
    pub crew: Crew,
    pub store: Store,
    pub resources: Resources,
    pub trace: Option<Trace>,
    pub passing: Passing,
    written: Mutex<HashMap<PathBuf, Stamp>>,
}

/// A file as this engine left it.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Stamp {
    key: Key,
    bytes: u64,
    modified: SystemTime,
}

impl Engine {
    /// An engine with empty memory.
    pub fn new(options: EngineOptions) -> Engine {
        let disk = |folder| DiskCache::new(folder, options.cache_bytes);
        let disk = options.cache_dir.as_deref().map(disk);
        Engine {
            shared: Shared {
                crew: Crew::new(options.threads),
                store: Store::new(options.memory_bytes / 2, disk),
                resources: Resources::new(),
                trace: options.trace.then(Trace::new),
                passing: Passing::default(),
                written: Mutex::default(),
                options,
            },
        }
    }

    /// What every node does, where [`EngineOptions::trace`] asks for it.
    pub fn trace(&self) -> Option<&Trace> {
        self.shared.trace.as_ref()
    }

    /// How often the caches helped so far.
    pub fn cache_stats(&self) -> CacheStats {
        self.shared.store.stats()
    }

    /// Bytes of the results in memory.
    pub fn cached_bytes(&self) -> u64 {
        self.shared.store.memory_bytes()
    }
}

impl Shared {
    /// What a single file may ask for.
    pub fn budget(&self) -> peel_io::Budget {
        peel_io::Budget::bytes(self.options.memory_bytes)
    }

    /// Remembers that a sink of this key has left this file.
    pub fn remember_written(&self, path: &Path, key: Key) {
        if let Some(stamp) = stamp(path, key) {
            lock(&self.written).insert(path.to_owned(), stamp);
        }
    }

    /// Whether a file still is what a sink of this key would write.
    pub fn is_current(&self, path: &Path, key: Key) -> bool {
        stamp(path, key).is_some_and(|now| lock(&self.written).get(path) == Some(&now))
    }
}

fn stamp(path: &Path, key: Key) -> Option<Stamp> {
    let meta = std::fs::metadata(path).ok()?;
    Some(Stamp {
        key,
        bytes: meta.len(),
        modified: meta.modified().ok()?,
    })
}

/// The folder for results that are kept on disk unless another is named: `$PEEL_CACHE`, else
/// `$XDG_CACHE_HOME/peel`, else `~/.cache/peel`. `None` where none of these is set.
pub fn default_cache_dir() -> Option<PathBuf> {
    let folder = |name: &str| {
        std::env::var_os(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    folder("PEEL_CACHE")
        .or_else(|| {
            folder("XDG_CACHE_HOME")
                .filter(|path| path.is_absolute())
                .map(|path| path.join("peel"))
        })
        .or_else(|| folder("HOME").map(|home| home.join(".cache").join("peel")))
}
