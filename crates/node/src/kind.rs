//! Kinds of nodes, and the explicit list of them.

use std::sync::Arc;

use crate::params::{ParamDoc, Params, Reader};
use crate::syntax::Syntax;
use crate::{KeyBuilder, Node};

/// A node as read from a graph, with what every kind can do without its author's help.
pub struct ReadNode {
    /// The node itself.
    pub node: Arc<dyn Node>,
    /// Hashes kind, version and parameters at a frame into a key.
    pub hash: HashParams,
}

/// Hashes a node's kind, version and parameters at a frame into a key.
pub type HashParams = Arc<dyn Fn(i32, &mut KeyBuilder) + Send + Sync>;

/// One kind of node: its manual, its parameters, and how to read one. Made by [`NodeKind::of`] from the
/// parameter struct.
pub struct NodeKind {
    /// The stable name in graph files.
    pub name: &'static str,
    /// Raised whenever the same parameters give other pixels.
    pub version: u32,
    /// What it is, in one line: the struct's doc comment.
    pub title: &'static str,
    /// The manual: the doc comment of the node's module.
    pub manual: String,
    /// The text of its example graph.
    pub example: &'static str,
    /// Its parameters, from the struct's fields.
    pub params: fn() -> Vec<ParamDoc>,
    /// `None` for the kind that includes a file of nodes, which the graph reads itself.
    read: Option<ReadFn>,
}

type ReadFn = fn(&NodeKind, &Syntax, &mut Reader) -> Option<ReadNode>;

impl NodeKind {
    /// The kind whose nodes are `T`s.
    pub fn of<T: Params + Node + 'static>(
        name: &'static str,
        version: u32,
        manual: impl Into<String>,
        example: &'static str,
    ) -> NodeKind {
        NodeKind {
            name,
            version,
            title: T::TITLE,
            manual: manual.into(),
            example,
            params: T::docs,
            read: Some(read_node::<T>),
        }
    }

    /// The kind that stands for the nodes of another file. `T` documents what every such node has; what else it
    /// takes, its file declares.
    pub fn group<T: Params>(
        name: &'static str,
        version: u32,
        manual: impl Into<String>,
        example: &'static str,
    ) -> NodeKind {
        NodeKind {
            name,
            version,
            title: T::TITLE,
            manual: manual.into(),
            example,
            params: T::docs,
            read: None,
        }
    }

    /// Whether it stands for the nodes of another file.
    pub fn is_group(&self) -> bool {
        self.read.is_none()
    }

    /// Reads a node from its parameters' syntax, `Kind(name: value, ..)`; what is wrong goes to the reader.
    /// A group is no node.
    pub fn read(&self, syntax: &Syntax, reader: &mut Reader) -> Option<ReadNode> {
        (self.read?)(self, syntax, reader)
    }
}

fn read_node<T: Params + Node + 'static>(
    kind: &NodeKind,
    syntax: &Syntax,
    reader: &mut Reader,
) -> Option<ReadNode> {
    let node = Arc::new(T::read(syntax, reader)?);
    let params = Arc::clone(&node);
    let (name, version) = (kind.name, kind.version);
    let hash = move |frame: i32, key: &mut KeyBuilder| {
        key.str(name).int(version.into());
        params.hash(frame, key);
    };
    Some(ReadNode {
        node,
        hash: Arc::new(hash),
    })
}

/// The doc comment (`//!`) at the head of a module's source: a node's manual.
pub fn module_doc(source: &str) -> String {
    let lines = source
        .lines()
        .map_while(|line| line.trim_start().strip_prefix("//!"));
    lines
        .map(|line| line.strip_prefix(' ').unwrap_or(line))
        .collect::<Vec<_>>()
        .join("\n")
}

/// The kind of a node that lives in a folder beside the calling file: parameter struct, name in graphs,
/// version, folder. The folder holds `mod.rs`, whose doc comment is the manual, and `example.ron`.
#[macro_export]
macro_rules! kind {
    ($node:ty, $name:literal, $version:literal, $folder:literal) => {
        $crate::NodeKind::of::<$node>(
            $name,
            $version,
            $crate::module_doc(include_str!(concat!($folder, "/mod.rs"))),
            include_str!(concat!($folder, "/example.ron")),
        )
    };
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_module_doc_ends_with_the_first_other_line() {
        let source = "//! Move: a test.\n//!\n//!   indented\nuse x;\n//! not this\n";
        assert_eq!(module_doc(source), "Move: a test.\n\n  indented");
        assert_eq!(module_doc("fn main() {}"), "");
    }
}
