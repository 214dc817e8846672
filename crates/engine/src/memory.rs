//! The cache in memory: what is cheapest to make again, for the room that it takes, goes first.
//!
//! GreedyDual-Size (Cao and Irani, "Cost-aware WWW proxy caching algorithms", 1997): a result's rank is its cost a byte on
//! top of the rank of whatever went last. So a decomposition outlives many plates, but not for ever; of results that cost
//! the same the least recently used one goes.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

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
    /// Key by rank; the first one goes first.
    order: BTreeMap<Rank, Key>,
    bytes: u64,
    clock: u64,
    /// What the last one that went had counted for.
    floor: u64,
}

/// What a result counts for, and when it was last used.
type Rank = (u64, u64);

struct Entry {
    values: Values,
    bytes: u64,
    /// Nanoseconds a kilobyte that it took to make.
    cost: u64,
    rank: Rank,
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
        state.order.remove(&entry.rank);
        entry.rank = (state.floor.saturating_add(entry.cost), state.clock);
        state.order.insert(entry.rank, *key);
        Some(Arc::clone(&entry.values))
    }

    /// Keeps a result that took so long to make, unless it alone is larger than the budget.
    pub fn put(&self, key: Key, values: &Values, took: Duration) {
        let bytes = unique_bytes(values);
        if bytes > self.budget {
            return;
        }
        let mut guard = lock(&self.state);
        let state = &mut *guard;
        state.remove(&key);
        while state.bytes + bytes > self.budget
            && let Some((&(rank, _), &cheapest)) = state.order.first_key_value()
        {
            state.floor = rank;
            state.remove(&cheapest);
        }
        state.clock += 1;
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        let cost = nanos / (bytes / 1024).max(1);
        let rank = (state.floor.saturating_add(cost), state.clock);
        state.order.insert(rank, key);
        state.entries.insert(
            key,
            Entry {
                values: Arc::clone(values),
                bytes,
                cost,
                rank,
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
            self.order.remove(&entry.rank);
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

    const QUICK: Duration = Duration::from_millis(1);

    #[test]
    fn of_equals_the_least_recently_used_goes_first() {
        let cache = MemoryCache::new(1000);
        cache.put(key(1), &values(), QUICK);
        cache.put(key(2), &values(), QUICK);
        assert!(cache.get(&key(1)).is_some());
        cache.put(key(3), &values(), QUICK);
        assert!(cache.get(&key(2)).is_none());
        assert!(cache.get(&key(1)).is_some() && cache.get(&key(3)).is_some());
        assert_eq!(cache.bytes(), 800);
        cache.put(key(1), &values(), QUICK);
        assert_eq!(cache.bytes(), 800);
    }

    #[test]
    fn what_is_dear_outlives_what_is_cheap_but_not_for_ever() {
        let cache = MemoryCache::new(1000);
        cache.put(key(0), &values(), 20 * QUICK);
        for other in 1..=10 {
            cache.put(key(other), &values(), QUICK);
        }
        assert!(cache.get(&key(0)).is_some());
        for other in 11..=80 {
            cache.put(key(other), &values(), QUICK);
        }
        assert!(cache.get(&key(0)).is_none(), "nobody has asked for it");
    }

    #[test]
    fn what_is_larger_than_the_budget_is_not_kept() {
        let cache = MemoryCache::new(300);
        cache.put(key(1), &values(), QUICK);
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
            ..Stack::default()
        };
        assert_eq!(unique_bytes(&[Value::Layer(layer), stack.into()]), 256);
    }
}
