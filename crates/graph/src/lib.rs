//! Graph files: RON text to a checked graph, with everything that is wrong reported at once.
//!
//! ```text
//! text --ron--> Syntax --read, include--> nodes with their parameters --connect--> Graph --plan--> order of work
//! ```
//!
//! Reading goes on after each mistake, so that one look at the diagnoses is enough. This crate knows no
//! pixels: what a node's parameters mean is the node's to say, through [`peel_node::Registry`].

mod connect;
mod diagnostics;
mod graph;
mod group;
mod include;
mod json;
mod plan;
mod read;
mod ron;
mod source;
mod substitute;

pub use diagnostics::Diagnostics;
pub use graph::{EdgeInfo, Graph, GroupInstance, InputEdge, NodeInstance};
pub use group::GroupFile;
pub use peel_io::FrameRange;
pub use petgraph::graph::NodeIndex;
pub use plan::{Plan, UnknownName};
pub use read::Loader;
pub use source::Location;

use peel_node::Diagnostic;
use peel_node::syntax::Syntax;

/// Reads RON text that holds one value, such as a node's parameters; what is wrong with its form comes
/// beside it, and the tree then has [`Broken`](peel_node::syntax::Form::Broken) parts.
pub fn parse_syntax(text: &str) -> (Syntax, Vec<Diagnostic>) {
    ron::parse(text)
}
