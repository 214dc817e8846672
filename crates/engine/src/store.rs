//! Results by content key: in memory, on disk, or being made.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use peel_node::{Key, Note, Result};

use crate::cancel::CancelToken;
use crate::crew::Crew;
use crate::disk::{DiskCache, Lookup};
use crate::flight::Flights;
use crate::memory::{MemoryCache, Values, unique_bytes};

/// How often the caches helped.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct CacheStats {
    /// Results found in memory.
    pub memory_hits: u64,
    /// Results read from disk.
    pub disk_hits: u64,
    /// Results that had to be made.
    pub made: u64,
}

/// Both caches, and what is being made.
pub(crate) struct Store {
    memory: MemoryCache,
    disk: Option<DiskCache>,
    flights: Flights<Values>,
    memory_hits: AtomicU64,
    disk_hits: AtomicU64,
    made: AtomicU64,
}

/// Where a result is kept once it is made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Keep {
    /// By whoever asked, and by nobody else.
    No,
    /// In memory.
    Memory,
    /// In memory and on disk.
    Disk,
}

/// Where a result was found.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Hit {
    /// In memory, or in the hands of somebody who was making it.
    Memory,
    /// On disk.
    Disk,
    /// Nowhere: it had to be made.
    Made,
}

/// Who asks: its seat, its wish to stop, its ear for notes.
pub(crate) struct Asker<'a> {
    pub crew: &'a Crew,
    pub cancel: &'a CancelToken,
    pub note: &'a dyn Fn(Note),
    /// Told of where the result was found, with its size, before it is made where it was nowhere.
    pub found: &'a dyn Fn(Hit, u64),
}

impl Store {
    pub fn new(memory_bytes: u64, disk: Option<DiskCache>) -> Store {
        Store {
            memory: MemoryCache::new(memory_bytes),
            disk,
            flights: Flights::new(),
            memory_hits: AtomicU64::new(0),
            disk_hits: AtomicU64::new(0),
            made: AtomicU64::new(0),
        }
    }

    /// The result of this key, made where no cache has it.
    pub fn get(
        &self,
        key: Key,
        keep: Keep,
        asker: &Asker<'_>,
        make: &mut dyn FnMut() -> Result<Values>,
    ) -> Result<Values> {
        let in_memory = || {
            let values = self.in_memory(&key)?;
            (asker.found)(Hit::Memory, unique_bytes(&values));
            Some(values)
        };
        if let Some(values) = in_memory() {
            return Ok(values);
        }
        self.flights.join(key, asker.crew, asker.cancel, &mut || {
            // Somebody may have landed between the look above and the start of this flight.
            if let Some(values) = in_memory() {
                return Ok(values);
            }
            let disk = self.disk.as_ref().filter(|_| keep == Keep::Disk);
            let begun = Instant::now();
            if let Some(values) = disk.and_then(|disk| self.on_disk(disk, &key, asker)) {
                self.memory.put(key, &values, begun.elapsed());
                (asker.found)(Hit::Disk, unique_bytes(&values));
                return Ok(values);
            }
            (asker.found)(Hit::Made, 0);
            let begun = Instant::now();
            let values = make()?;
            let took = begun.elapsed();
            self.made.fetch_add(1, Ordering::Relaxed);
            if keep != Keep::No {
                self.memory.put(key, &values, took);
            }
            if let Some(Err(error)) = disk.map(|disk| disk.put(&key, &values)) {
                (asker.note)(Note::Warning(format!(
                    "a result could not be kept in the cache folder: {error}"
                )));
            }
            Ok(values)
        })
    }

    /// Where the result of this key is; looks only.
    pub fn holds(&self, key: &Key) -> Option<Hit> {
        let on_disk = || self.disk.as_ref().is_some_and(|disk| disk.holds(key));
        match self.memory.get(key) {
            Some(_) => Some(Hit::Memory),
            None => on_disk().then_some(Hit::Disk),
        }
    }

    pub fn stats(&self) -> CacheStats {
        CacheStats {
            memory_hits: self.memory_hits.load(Ordering::Relaxed),
            disk_hits: self.disk_hits.load(Ordering::Relaxed),
            made: self.made.load(Ordering::Relaxed),
        }
    }

    pub fn memory_bytes(&self) -> u64 {
        self.memory.bytes()
    }

    /// A result that is in memory.
    pub fn in_memory(&self, key: &Key) -> Option<Values> {
        let values = self.memory.get(key)?;
        self.memory_hits.fetch_add(1, Ordering::Relaxed);
        Some(values)
    }

    fn on_disk(&self, disk: &DiskCache, key: &Key, asker: &Asker<'_>) -> Option<Values> {
        match disk.get(key) {
            Lookup::Found(values) => {
                self.disk_hits.fetch_add(1, Ordering::Relaxed);
                Some(values)
            }
            Lookup::Missing => None,
            Lookup::Damaged(path, reason) => {
                let text = format!(
                    "{}: damaged cache entry ({reason}); it is made again",
                    path.display()
                );
                (asker.note)(Note::Warning(text));
                None
            }
        }
    }
}
