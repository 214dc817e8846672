//! Kinds of nodes, and the explicit list of them.

use crate::params::{ParamDoc, Reader};
use crate::{Key, KeyBuilder, Node};
use crate::syntax::Syntax;

/// A node as read from a graph, with what every kind can do without its author's help.
pub struct ReadNode {
    /// The node itself.
    pub node: Box<dyn Node>,
    /// Hashes kind, version and parameters at a frame into a key.
    pub hash: Box<dyn Fn(i32, &mut KeyBuilder) + Send + Sync>,
}

/// One kind of node: its manual, its parameters, and how to read one. Made by [`NodeKind::of`] from the
/// parameter struct.
pub struct NodeKind {
    /// The stable name in graph files.
    pub name: &'static str,
    /// Raised whenever the same parameters give other pixels.
    pub version: u32,
    /// The node's doc comment.
    pub manual: &'static str,
    /// The text of its example graph.
    pub example: &'static str,
    /// Its parameters, from the struct's fields.
    pub params: fn() -> Vec<ParamDoc>,
    /// Reads a node from its parameters' syntax; what is wrong goes to the reader.
    pub read: fn(&Syntax, &mut Reader<'_>) -> Option<ReadNode>,
}

/// The kinds of nodes that a graph may use: an explicit list, so that none vanishes silently.
#[derive(Default)]
pub struct Registry {
    kinds: Vec<NodeKind>,
}

impl Registry {
    /// A registry of these kinds, in the order of the catalogue.
    pub fn new(kinds: Vec<NodeKind>) -> Registry {
        Registry { kinds }
    }

    /// All kinds.
    pub fn kinds(&self) -> &[NodeKind] {
        &self.kinds
    }

    /// The kind of this name.
    pub fn get(&self, name: &str) -> Option<&NodeKind> {
        self.kinds.iter().find(|kind| kind.name == name)
    }
}

/// The part of a content key that every node shares: kind and version.
pub(crate) fn key_of_kind(name: &str, version: u32) -> KeyBuilder {
    let mut key = KeyBuilder::new(name);
    key.int(version.into());
    key
}

const _: fn(Key) = |_| ();
