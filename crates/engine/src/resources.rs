//! Long-lived things that nodes share, such as loaded models.

use std::sync::Mutex;

use peel_node::{Key, Resource, Result};

use crate::cancel::CancelToken;
use crate::crew::Crew;
use crate::flight::Flights;
use crate::sync::lock;

/// Things kept at most; a watch session that reloads weights again and again must not grow.
const KEPT: usize = 4;

/// The most recently used things, by key.
pub(crate) struct Resources {
    /// Most recently used last.
    kept: Mutex<Vec<(Key, Resource)>>,
    flights: Flights<Resource>,
}

impl Resources {
    pub fn new() -> Resources {
        Resources {
            kept: Mutex::default(),
            flights: Flights::new(),
        }
    }

    /// The thing of this key, made by one thread alone where it is missing.
    pub fn get(
        &self,
        key: Key,
        crew: &Crew,
        cancel: &CancelToken,
        make: &mut dyn FnMut() -> Result<Resource>,
    ) -> Result<Resource> {
        if let Some(known) = self.known(&key) {
            return Ok(known);
        }
        self.flights.join(key, crew, cancel, &mut || {
            if let Some(known) = self.known(&key) {
                return Ok(known);
            }
            let made = make()?;
            let mut kept = lock(&self.kept);
            if kept.len() == KEPT {
                kept.remove(0);
            }
            kept.push((key, Resource::clone(&made)));
            Ok(made)
        })
    }

    fn known(&self, key: &Key) -> Option<Resource> {
        let mut kept = lock(&self.kept);
        let at = kept.iter().position(|(known, _)| known == key)?;
        let entry = kept.remove(at);
        let resource = Resource::clone(&entry.1);
        kept.push(entry);
        Some(resource)
    }
}
