//! Pictures of frame nodes that need never be there as a whole.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use peel_node::{FrameNode, Key, Pieces, Result};

use crate::eval::Evaluation;
use crate::frame::FrameState;
use crate::sync::lock;

/// Keys remembered at most; a render of a long sequence must not grow.
const REMEMBERED: usize = 4096;

/// Which results were wanted before. A plate of a sequence is wanted once and passes through in pieces; what is wanted
/// a second time (a still in a sequence, the neighbour of a frame, everything in a watch session) is made whole
/// and kept in memory.
#[derive(Default)]
pub(crate) struct Passing {
    seen: Mutex<HashSet<Key>>,
    returning: AtomicBool,
}

impl Passing {
    /// From now on everything is expected to be wanted again.
    pub fn expect_all_again(&self) {
        self.returning.store(true, Ordering::Relaxed);
    }

    /// Whether everything is expected to be wanted again.
    pub fn expects_all_again(&self) -> bool {
        self.returning.load(Ordering::Relaxed)
    }

    /// Marks the nodes of a frame whose content this engine has not seen, where it expects to see it again.
    pub fn mark_changed(&self, keys: impl Iterator<Item = Option<Key>>) -> Vec<bool> {
        if !self.expects_all_again() {
            return Vec::new();
        }
        let mut seen = lock(&self.seen);
        if seen.len() > REMEMBERED {
            seen.clear();
        }
        keys.map(|key| key.is_some_and(|key| seen.insert(key))).collect()
    }

    /// Whether this is the first time that anybody asks, and nothing says that it is not the last.
    fn is_first(&self, key: Key) -> bool {
        if self.expects_all_again() {
            return false;
        }
        let mut seen = lock(&self.seen);
        if seen.len() == REMEMBERED {
            seen.clear();
        }
        seen.insert(key)
    }
}

impl Evaluation<'_> {
    /// Notes which nodes of a frame have changed since they were last rendered.
    pub fn note_changes(&self, frame: &FrameState) {
        let keys = frame
            .units
            .iter()
            .map(|unit| unit.key.get().and_then(|key| key.clone().ok()));
        let changed = self.engine.passing.mark_changed(keys);
        let _ = frame.changed.set(changed);
    }

    /// Whether a node's picture stayed the same while the node that wants it changed: somebody is at work on that one
    /// and will change it again, so its input is worth keeping.
    pub fn is_worked_on(&self, frame: &FrameState, source: usize, consumer: usize) -> bool {
        let Some(changed) = frame.changed.get() else {
            return false;
        };
        changed.get(consumer) == Some(&true) && changed.get(source) == Some(&false)
    }

    /// The picture of a frame node in pieces; `None` where it has to be rendered whole, or had better be.
    pub fn pieces(
        &self,
        frame: &FrameState,
        unit: usize,
        node: &dyn FrameNode,
        depth: usize,
    ) -> Result<Option<Arc<dyn Pieces>>> {
        let key = self.key(frame, unit, depth)?;
        // Decided once a frame: a picture half in pieces would be made twice. Opening asks for no inputs, so
        // whoever waits here waits for no other node.
        let decide = || {
            if self.program.units[unit].outputs.len() != 1 || !self.engine.passing.is_first(key) {
                return Ok(None);
            }
            let opened = self.call(frame, unit, depth, Some((key, None)), |at| node.pieces(at))?;
            if opened.is_some() {
                frame.finish(self.program.units[unit].effort());
            }
            Ok(opened.map(Arc::from))
        };
        frame.units[unit].pieces.get_or_init(decide).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_back_is_no_longer_passing() {
        let passing = Passing::default();
        let key = |byte: u8| Key([byte; 32]);
        assert!(passing.is_first(key(1)) && passing.is_first(key(2)));
        assert!(!passing.is_first(key(1)));
        passing.expect_all_again();
        assert!(!passing.is_first(key(3)));
    }

    #[test]
    fn changes_are_told_where_pictures_come_back() {
        let passing = Passing::default();
        let keys = |bytes: [u8; 2]| bytes.map(|byte| Some(Key([byte; 32]))).into_iter();
        assert!(passing.mark_changed(keys([1, 2])).is_empty());
        passing.expect_all_again();
        assert_eq!(passing.mark_changed(keys([1, 2])), [true, true]);
        assert_eq!(passing.mark_changed(keys([1, 3])), [false, true]);
    }

    #[test]
    fn a_long_sequence_does_not_grow() {
        let passing = Passing::default();
        for number in 0..3 * REMEMBERED {
            let mut key = [0; 32];
            key[..8].copy_from_slice(&number.to_le_bytes());
            assert!(passing.is_first(Key(key)));
        }
        assert!(lock(&passing.seen).len() <= REMEMBERED);
    }
}
