//! A graph that has been read and checked.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use peel_image::ColourSpace;
use peel_io::FrameRange;
use peel_node::{Diagnostic, HashParams, Key, KeyBuilder, Node, Output, Registry, SocketType, Span};
use petgraph::graph::{DiGraph, NodeIndex};

use crate::source::Lines;
use crate::{Diagnostics, Location, connect, read};

/// A graph that has been read and checked: names are known, edges fit, nothing feeds itself.
pub struct Graph {
    /// The nodes, in the order of the file; edges go from where a picture is made to where it is used.
    pub nodes: DiGraph<NodeInstance, EdgeInfo>,
    /// The frames to render.
    pub frames: FrameRange,
    /// The colour space of every edge; a linear one.
    pub working_space: ColourSpace,
    /// Hash of the text.
    pub fingerprint: Key,
    /// Where relative paths start.
    pub folder: PathBuf,
    /// The graph file, as it was named.
    pub file: PathBuf,
    /// Its text.
    pub text: Arc<str>,
    /// What is odd about it, but no error.
    pub warnings: Diagnostics,
}

/// A node of a graph.
pub struct NodeInstance {
    /// Its name in the graph.
    pub name: String,
    /// The name of its kind.
    pub kind: &'static str,
    /// The version of its kind.
    pub version: u32,
    /// Where its name stands.
    pub span: Span,
    /// Its parameters and what it does.
    pub node: Arc<dyn Node>,
    /// Hashes kind, version and parameters at a frame.
    pub hash: HashParams,
    /// The sockets that it offers, with the types that they have here.
    pub outputs: Vec<Output>,
    /// Its inputs, by slot.
    pub edges: Vec<InputEdge>,
}

/// What an input slot is connected to.
#[derive(Clone, PartialEq, Debug)]
pub struct InputEdge {
    /// The slot, which is also its place in [`NodeInstance::edges`].
    pub slot: usize,
    /// The parameter that says so, for instance `layers[1]`.
    pub param: String,
    /// The node that the picture comes from.
    pub source: NodeIndex,
    /// Which of its outputs.
    pub output: usize,
    /// What flows.
    pub socket: SocketType,
    /// Where the connection is written.
    pub span: Span,
}

/// An edge, seen from outside.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct EdgeInfo {
    /// Which output of the node that it leaves.
    pub output: usize,
    /// Which slot of the node that it enters.
    pub slot: usize,
}

impl Graph {
    /// Reads and checks a graph file's text. `file` is for messages and for its folder, from which relative
    /// paths start; it is not opened.
    pub fn parse(text: &str, file: &Path, registry: &Registry) -> Result<Graph, Diagnostics> {
        let text: Arc<str> = Arc::from(text);
        let mut diagnostics = Vec::new();
        let outline = read::outline(&text, registry, &mut diagnostics);
        let nodes = connect::connect(outline.nodes, outline.nodes_span, &mut diagnostics);
        let wrong = diagnostics
            .iter()
            .any(|diagnostic| diagnostic.severity == peel_node::Severity::Error);
        let findings = Diagnostics::new(file, Arc::clone(&text), diagnostics);
        // Where something is missing, that has been told: without errors all three are there.
        let (Some(nodes), Some(frames), Some(working_space), false) =
            (nodes, outline.frames, outline.working_space, wrong)
        else {
            return Err(findings);
        };
        Ok(Graph {
            nodes,
            frames,
            working_space,
            fingerprint: KeyBuilder::new("graph").str(&text).finish(),
            folder: file.parent().map(Path::to_owned).unwrap_or_default(),
            file: file.to_owned(),
            text,
            warnings: findings,
        })
    }

    /// The node of this name.
    pub fn find(&self, name: &str) -> Option<NodeIndex> {
        self.nodes
            .node_indices()
            .find(|&index| self.nodes[index].name == name)
    }

    /// The line and column where a span begins.
    pub fn location(&self, span: Span) -> Location {
        Lines::new(&self.text).locate(span.start)
    }

    /// A message about a place in this graph, to be shown with its line: for what goes wrong while it is
    /// rendered.
    pub fn diagnose(&self, diagnostic: Diagnostic) -> Diagnostics {
        Diagnostics::new(&self.file, Arc::clone(&self.text), vec![diagnostic])
    }
}

impl std::fmt::Debug for Graph {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names: Vec<&str> = self.nodes.node_weights().map(|node| node.name.as_str()).collect();
        f.debug_struct("Graph")
            .field("file", &self.file)
            .field("nodes", &names)
            .finish_non_exhaustive()
    }
}
