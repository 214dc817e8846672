//! A graph that has been read and checked.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use peel_image::ColourSpace;
use peel_io::FrameRange;
use peel_node::{Diagnostic, HashParams, Key, KeyBuilder, Node, Output, Registry, SocketType, Span};
use petgraph::graph::{DiGraph, NodeIndex};

use crate::group::GroupFile;
use crate::read::{Loader, Reading};
use crate::source::{Places, Sources};
use crate::{Diagnostics, Location, connect};

/// A graph that has been read and checked: names are known, edges fit, nothing feeds itself.
pub struct Graph {
    /// The nodes, in the order of the file; edges go from where a picture is made to where it is used.
    pub nodes: DiGraph<NodeInstance, EdgeInfo>,
    /// The frames to render.
    pub frames: FrameRange,
    /// The colour space of every edge; a linear one.
    pub working_space: ColourSpace,
    /// What its groups offer.
    pub groups: Vec<GroupInstance>,
    /// Hash of the text, and of those of the files that it includes.
    pub fingerprint: Key,
    /// Where relative paths start.
    pub folder: PathBuf,
    /// The graph file, as it was named.
    pub file: PathBuf,
    /// Its text.
    pub text: Arc<str>,
    /// The files that it includes; when one of them changes, so does the graph.
    pub included: Vec<PathBuf>,
    /// What is odd about it, but no error.
    pub warnings: Diagnostics,
    pub(crate) sources: Sources,
}

/// A group of a graph. Its nodes are among those of the graph, as `group/node`.
#[derive(Clone, PartialEq, Debug)]
pub struct GroupInstance {
    /// Its name in the graph.
    pub name: String,
    /// The output of one of its nodes behind each of its own, the first one first.
    pub outputs: Vec<(String, NodeIndex, usize)>,
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
    /// paths start; it is not opened, but the files that it includes are.
    pub fn parse(text: &str, file: &Path, registry: &Registry) -> Result<Graph, Diagnostics> {
        Graph::parse_with(text, file, registry, &read_file)
    }

    /// The same, with included files read by `load`.
    pub fn parse_with(
        text: &str,
        file: &Path,
        registry: &Registry,
        load: Loader<'_>,
    ) -> Result<Graph, Diagnostics> {
        let text: Arc<str> = Arc::from(text);
        let mut reading = Reading::new(file, Arc::clone(&text), registry, load);
        let header = reading.graph();
        let connected = connect::connect(&mut reading, &header);
        let wrong = reading
            .diagnostics
            .iter()
            .any(|diagnostic| diagnostic.severity == peel_node::Severity::Error);
        let Reading {
            sources,
            included,
            diagnostics,
            ..
        } = reading;
        let mut fingerprint = KeyBuilder::new("graph");
        for source in sources.iter() {
            fingerprint.str(&source.text);
        }
        let findings = Diagnostics::of(sources.clone(), included.clone(), diagnostics);
        // Where something is missing, that has been told: without errors all three are there.
        let (Some((nodes, groups)), Some(frames), Some(working_space), false) =
            (connected, header.frames, header.working_space, wrong)
        else {
            return Err(findings);
        };
        Ok(Graph {
            nodes,
            frames,
            working_space,
            groups,
            fingerprint: fingerprint.finish(),
            folder: file.parent().map(Path::to_owned).unwrap_or_default(),
            file: file.to_owned(),
            text,
            included,
            warnings: findings,
            sources,
        })
    }

    /// What a group file says of itself, or everything that is wrong with it: its nodes are checked too, with its
    /// parameters at their defaults.
    pub fn parse_group(text: &str, file: &Path, registry: &Registry) -> Result<GroupFile, Diagnostics> {
        let mut reading = Reading::new(file, Arc::from(text), registry, &read_file);
        let doc = reading.group();
        connect::check(&mut reading);
        let Reading {
            sources,
            included,
            diagnostics,
            ..
        } = reading;
        doc.filter(|_| diagnostics.is_empty())
            .ok_or_else(|| Diagnostics::of(sources, included, diagnostics))
    }

    /// The node of this name.
    pub fn find(&self, name: &str) -> Option<NodeIndex> {
        self.nodes
            .node_indices()
            .find(|&index| self.nodes[index].name == name)
    }

    /// The line and column where a span begins, in the file of [`Graph::file_of`].
    pub fn location(&self, span: Span) -> Location {
        Places::of(&self.sources).locate(span)
    }

    /// The file that a span is in: the graph's own, or one that it includes.
    pub fn file_of(&self, span: Span) -> &Path {
        &self.sources.holding(span).file
    }

    /// A message about a place in this graph, to be shown with its line: for what goes wrong while it is
    /// rendered.
    pub fn diagnose(&self, diagnostic: Diagnostic) -> Diagnostics {
        Diagnostics::of(self.sources.clone(), self.included.clone(), vec![diagnostic])
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

/// Reads an included file, as far as a graph may be long.
fn read_file(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    let limit = crate::ron::LARGEST as u64 + 1;
    File::open(path)?.take(limit).read_to_string(&mut text)?;
    Ok(text)
}
