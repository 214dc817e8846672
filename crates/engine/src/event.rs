//! What a render tells while it runs, and what it leaves behind.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use peel_node::{Error, FileIdentity, Note, Span};

/// News of a render, told from any of its threads.
#[derive(Clone, Debug)]
pub enum Event {
    /// A frame has begun.
    FrameStarted {
        /// The frame.
        frame: i32,
    },
    /// A frame has come further.
    Progress {
        /// The frame.
        frame: i32,
        /// The node at work.
        node: String,
        /// How much of the frame is done, 0 to 1; never goes back.
        share: f32,
    },
    /// A file is complete.
    Written {
        /// The frame.
        frame: i32,
        /// The node that wrote it.
        node: String,
        /// The file.
        path: PathBuf,
        /// Its size.
        bytes: u64,
    },
    /// A file was left as it is.
    Skipped {
        /// The frame.
        frame: i32,
        /// The node that would have written it.
        node: String,
        /// The file.
        path: PathBuf,
    },
    /// A node has something to say.
    Note {
        /// The frame.
        frame: i32,
        /// The node.
        node: String,
        /// What it says.
        note: Note,
    },
    /// A node could not do its work; told once, where it arose, however many others wanted its picture.
    Failed(Failure),
    /// A frame is over.
    FrameFinished {
        /// The frame.
        frame: i32,
        /// Whether all its files are there.
        complete: bool,
        /// How long it took.
        took: Duration,
    },
}

/// A node that could not do its work at a frame.
#[derive(Clone, Debug)]
pub struct Failure {
    /// The node.
    pub node: String,
    /// The frame.
    pub frame: i32,
    /// Where the node stands in the graph file's text.
    pub span: Span,
    /// The same for people: `file:line:column`; `None` where no node is to blame, or the graph has no file.
    pub place: Option<String>,
    /// Why.
    pub error: Error,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "frame {}: node `{}`: {}", self.frame, self.node, self.error)
    }
}

/// How a render ended.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    /// The files written, by frame, then in the order of the graph.
    pub written: Vec<PathBuf>,
    /// The files left as they were.
    pub skipped: Vec<PathBuf>,
    /// What failed, by frame.
    pub failed: Vec<Failure>,
    /// The frames of which all files are there.
    pub complete_frames: BTreeSet<i32>,
    /// The frames of which a file is missing because something failed.
    pub failed_frames: BTreeSet<i32>,
    /// Whether it was stopped.
    pub cancelled: bool,
    /// The files that nodes looked at, as they were when first looked at; `None` for those that were not
    /// there. When one of them changes, another render would give something else.
    pub files: BTreeMap<PathBuf, Option<FileIdentity>>,
}

/// A node's error on its way down to the sinks that want its picture.
#[derive(Debug)]
pub(crate) struct NodeError {
    pub failure: Failure,
}

impl fmt::Display for NodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.failure.fmt(f)
    }
}

impl std::error::Error for NodeError {}
