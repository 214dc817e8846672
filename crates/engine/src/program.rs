//! What is to be evaluated: the nodes that some targets need, inputs before consumers.

use std::path::Path;

use peel_image::ColourSpace;
use peel_node::{Error, Key, KeyBuilder, Node, Output, Span, Temperament};

use crate::event::Failure;

/// The graph as the engine walks it.
pub(crate) struct Program<'g> {
    /// Inputs before consumers.
    pub units: Vec<Unit<'g>>,
    /// The sinks among the units, in the order of the graph file.
    pub sinks: Vec<usize>,
    /// Where relative paths start.
    pub folder: &'g Path,
    /// What every edge carries.
    pub working_space: ColourSpace,
    /// Hash of the graph's text.
    pub fingerprint: Key,
    /// `file:line:column` of a span, where the graph has a file.
    pub place: Box<dyn Fn(Span) -> Option<String> + Sync + 'g>,
}

/// A node with its edges.
pub(crate) struct Unit<'g> {
    pub name: &'g str,
    pub span: Span,
    pub node: &'g dyn Node,
    /// Hashes kind, version and parameters at a frame.
    pub hash: &'g HashParams,
    pub outputs: Vec<Output>,
    /// By slot.
    pub inputs: Vec<Option<Source>>,
    /// How many inputs each output feeds.
    pub consumers: Vec<u32>,
}

/// Hashes what a node is, its parameters at a frame included.
pub(crate) type HashParams = dyn Fn(i32, &mut KeyBuilder) + Send + Sync;

/// An output of a unit.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Source {
    pub unit: usize,
    pub output: usize,
}

/// How much a node counts in the progress of a frame, beside a sink or a reader with 1.
const DEAR: u32 = 16;

impl<'g> Program<'g> {
    /// Counts the consumers of every output, from the units' inputs.
    pub fn count_consumers(&mut self) {
        let sources: Vec<Source> = self
            .units
            .iter()
            .flat_map(|unit| unit.inputs.iter().flatten())
            .copied()
            .collect();
        for source in sources {
            if let Some(count) = self.units[source.unit].consumers.get_mut(source.output) {
                *count += 1;
            }
        }
    }

    /// That a unit failed at a frame.
    pub fn failure(&self, unit: usize, frame: i32, error: Error) -> Failure {
        let Unit { name, span, .. } = &self.units[unit];
        let place = (self.place)(*span);
        Failure {
            node: (*name).to_owned(),
            frame,
            span: *span,
            place,
            error,
        }
    }

    /// The weights of all nodes in a frame's progress, added up.
    pub fn effort(&self) -> u32 {
        self.units.iter().map(Unit::effort).sum()
    }
}

impl Unit<'_> {
    /// This node's weight in a frame's progress.
    pub fn effort(&self) -> u32 {
        match self.node.temperament() {
            Temperament::Region(_) => 0,
            Temperament::Frame(node) if node.is_dear() => DEAR,
            Temperament::Frame(_) | Temperament::Sink(_) => 1,
        }
    }

    /// Whether it takes in whole pictures, where region nodes take bands.
    pub fn takes_whole_pictures(&self) -> bool {
        !matches!(self.node.temperament(), Temperament::Region(_))
    }
}
