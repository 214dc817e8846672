//! The cache in memory: least recently used out first.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex};

use peel_image::Layer;
use peel_node::{Key, Value};

use crate::sync::lock;

/// The outputs of a node at a frame; cheap to clone.
pub(crate) type Values = Arc<[Value]>;

/// Results by content key, up to a number of bytes. What somebody still works with stays alive beside the
/// budget; the cache only decides what is kept for later.
pub(crate) struct MemoryCache {
    budget: u64,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    entries: HashMap<Key, Entry>,
    /// Key by time of last use.
    order: BTreeMap<u64, Key>,
    bytes: u64,
    clock: u64,
}

struct Entry {
    values: Values,
    bytes: u64,
    used: u64,
}

impl MemoryCache {
    pub fn new(budget: u64) -> MemoryCache {
        MemoryCache {
            budget,
            state: Mutex::default(),
        }
    }

    pub fn get(&self, key: &Key) -> Option<Values> {
        let mut guard = lock(&self.state);
        let state = &mut *guard;
        let entry = state.entries.get_mut(key)?;
        state.clock += 1;
        state.order.remove(&entry.used);
        entry.used = state.clock;
        state.order.insert(entry.used, *key);
        Some(Arc::clone(&entry.values))
    }

    /// Keeps a result, unless it alone is larger than the budget.
    pub fn put(&self, key: Key, values: &Values) {
        let bytes = unique_bytes(values);
        if bytes > self.budget {
            return;
        }
        let mut guard = lock(&self.state);
        let state = &mut *guard;
        state.remove(&key);
        while state.bytes + bytes > self.budget
            && let Some((_, &oldest)) = state.order.first_key_value()
        {
            state.remove(&oldest);
        }
        state.clock += 1;
        let used = state.clock;
        state.order.insert(used, key);
        state.entries.insert(
            key,
            Entry {
                values: Arc::clone(values),
                bytes,
                used,
            },
        );
        state.bytes += bytes;
    }

    /// Bytes kept.
    pub fn bytes(&self) -> u64 {
        lock(&self.state).bytes
    }
}

impl State {
    fn remove(&mut self, key: &Key) {
        if let Some(entry) = self.entries.remove(key) {
            self.order.remove(&entry.used);
            self.bytes -= entry.bytes;
        }
    }
}

/// Bytes of the pictures in these values, each counted once: a stack shares its layers with the outputs
/// beside it.
pub(crate) fn unique_bytes(values: &[Value]) -> u64 {
    let mut seen: HashSet<*const Layer> = HashSet::new();
    let mut once = |layer: &Arc<Layer>| {
        if seen.insert(Arc::as_ptr(layer)) {
            layer.bytes()
        } else {
            0
        }
    };
    values
        .iter()
        .map(|value| match value {
            Value::Layer(layer) => once(layer),
            Value::Stack(stack) => stack.layers.iter().map(|named| once(&named.layer)).sum(),
            Value::Matte(matte) => matte.bytes(),
        })
        .sum()
}

#[cfg(test)]
mod tests {
    use peel_image::{Matte, NamedLayer, Rect, Stack};

    use super::*;

    fn key(n: u8) -> Key {
        Key([n; 32])
    }

    /// 400 bytes.
    fn values() -> Values {
        Arc::from(vec![Value::from(Matte::new(
            Rect::of_size(10, 10),
            Rect::of_size(10, 10),
        ))])
    }

    #[test]
    fn the_least_recently_used_goes_first() {
        let cache = MemoryCache::new(1000);
        cache.put(key(1), &values());
        cache.put(key(2), &values());
        assert!(cache.get(&key(1)).is_some());
        cache.put(key(3), &values());
        assert!(cache.get(&key(2)).is_none());
        assert!(cache.get(&key(1)).is_some() && cache.get(&key(3)).is_some());
        assert_eq!(cache.bytes(), 800);
        cache.put(key(1), &values());
        assert_eq!(cache.bytes(), 800);
    }

    #[test]
    fn what_is_larger_than_the_budget_is_not_kept() {
        let cache = MemoryCache::new(300);
        cache.put(key(1), &values());
        assert!(cache.get(&key(1)).is_none());
        assert_eq!(cache.bytes(), 0);
    }

    #[test]
    fn shared_layers_count_once() {
        let layer = Arc::new(Layer::new(Rect::of_size(4, 4), Rect::of_size(4, 4)));
        let stack = Stack {
            layers: vec![NamedLayer {
                name: "a".into(),
                layer: Arc::clone(&layer),
            }],
        };
        assert_eq!(unique_bytes(&[Value::Layer(layer), stack.into()]), 256);
    }
}
