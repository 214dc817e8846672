//! A stack: named layers, bottom to top.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::{Layer, Rect};

/// One layer of a stack under its name.
#[derive(Clone, PartialEq, Debug)]
pub struct NamedLayer {
    /// What the layer is called in a file's channel names; unique in its stack.
    pub name: String,
    /// The picture; shared, since stacks are passed about freely.
    pub layer: Arc<Layer>,
}

/// Named layers, bottom to top.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Stack {
    /// Bottom first.
    pub layers: Vec<NamedLayer>,
    /// What was found out while it was made, under the names that it has in a file's metadata.
    pub facts: BTreeMap<String, String>,
}

impl Stack {
    /// The layer of this name.
    pub fn get(&self, name: &str) -> Option<&Arc<Layer>> {
        self.layers
            .iter()
            .find(|named| named.name == name)
            .map(|named| &named.layer)
    }

    /// The display window of the bottom layer: the frame of the whole.
    pub fn display(&self) -> Rect {
        self.layers
            .first()
            .map_or(Rect::EMPTY, |bottom| bottom.layer.display())
    }

    /// The smallest window around all data windows.
    pub fn data(&self) -> Rect {
        self.layers
            .iter()
            .fold(Rect::EMPTY, |all, named| all.union(named.layer.data()))
    }

    /// Bytes held by all pixels.
    pub fn bytes(&self) -> u64 {
        self.layers.iter().map(|named| named.layer.bytes()).sum()
    }
}
