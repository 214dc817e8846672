//! From a checked graph to a program.

use std::collections::HashMap;
use std::sync::Mutex;

use peel_graph::{Graph, Location, NodeIndex, Plan, UnknownName};
use peel_node::{Result, Temperament, Value};

use crate::Failure;
use crate::cancel::CancelToken;
use crate::engine::Engine;
use crate::eval::Evaluation;
use crate::event::{Event, Summary};
use crate::program::{Program, Source, Unit};
use crate::render::{RenderOptions, failure_of};

/// Why there is nothing to render.
#[derive(Clone, Debug, thiserror::Error)]
pub enum TargetError {
    /// The graph has no node or output of this name.
    #[error(transparent)]
    Unknown(#[from] UnknownName),
    /// The node writes no file.
    #[error("`{0}` writes no file; name a Write node")]
    NotASink(String),
    /// The engine could not do its work.
    #[error(transparent)]
    Engine(peel_node::Error),
    /// No node writes a file.
    #[error("nothing in the graph writes a file; add a Write node")]
    NoSink,
}

/// Why a picture could not be made.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ValueError {
    /// The graph has no output of this name.
    #[error(transparent)]
    Unknown(#[from] UnknownName),
    /// A node could not do its work.
    #[error("{0}")]
    Failed(Failure),
    /// The engine could not do its work.
    #[error(transparent)]
    Other(#[from] peel_node::Error),
}

impl Engine {
    /// Renders frames of a graph: everything that its sinks write, or those of them that `options` names.
    /// One frame's failure does not stop the others. `events` is called from many threads.
    pub fn render(
        &self,
        graph: &Graph,
        frames: &[i32],
        options: &RenderOptions,
        events: &(dyn Fn(Event) + Sync),
        cancel: &CancelToken,
    ) -> std::result::Result<Summary, TargetError> {
        let plan = sinks_of(graph, options.targets.as_deref())?;
        let program = lower(graph, &plan.order, &plan.targets);
        let files = Mutex::default();
        let eval = Evaluation {
            engine: &self.shared,
            program: &program,
            events,
            cancel,
            files: &files,
        };
        Ok(eval.render(frames, options))
    }

    /// The picture of `"node"` or `"node.output"` at a frame, inside a region, for previews and tests.
    pub fn value(
        &self,
        graph: &Graph,
        output: &str,
        frame: i32,
        region: peel_image::Rect,
        cancel: &CancelToken,
    ) -> std::result::Result<Value, ValueError> {
        let (node, number) = graph.output(output)?;
        let plan = graph.plan(Some(&[graph.nodes[node].name.as_str()]))?;
        let program = lower(graph, &plan.order, &[]);
        // Inputs come before the nodes that use them, so the node itself is the last.
        let source = Source {
            unit: plan.order.len() - 1,
            output: number,
        };
        let files = Mutex::default();
        let eval = Evaluation {
            engine: &self.shared,
            program: &program,
            events: &|_| (),
            cancel,
            files: &files,
        };
        let pulled: Result<Value> = self.shared.crew.on_own_thread(|| {
            let frame = eval.frame(frame);
            eval.note_changes(&frame);
            eval.pull(&frame, source, region, None, 0)
        })?;
        pulled.map_err(|error| match failure_of(&error) {
            Some(failure) => ValueError::Failed(failure),
            None => ValueError::Other(error),
        })
    }
}

/// The plan for these sinks, or for all of them.
pub(crate) fn sinks_of(graph: &Graph, names: Option<&[String]>) -> std::result::Result<Plan, TargetError> {
    let names: Option<Vec<&str>> = names.map(|names| names.iter().map(String::as_str).collect());
    let plan = graph.plan(names.as_deref())?;
    if plan.targets.is_empty() {
        return Err(TargetError::NoSink);
    }
    let is_sink = |index: NodeIndex| matches!(graph.nodes[index].node.temperament(), Temperament::Sink(_));
    if let Some(&other) = plan.targets.iter().find(|&&index| !is_sink(index)) {
        return Err(TargetError::NotASink(graph.nodes[other].name.clone()));
    }
    Ok(plan)
}

/// The nodes of `order` as units, those of `targets` as sinks.
pub(crate) fn lower<'g>(graph: &'g Graph, order: &[NodeIndex], targets: &[NodeIndex]) -> Program<'g> {
    let number: HashMap<NodeIndex, usize> = order
        .iter()
        .enumerate()
        .map(|(unit, &index)| (index, unit))
        .collect();
    let unit = |&index: &NodeIndex| {
        let node = &graph.nodes[index];
        let mut inputs = vec![None; node.edges.iter().map(|edge| edge.slot + 1).max().unwrap_or(0)];
        for edge in &node.edges {
            inputs[edge.slot] = number.get(&edge.source).map(|&unit| Source {
                unit,
                output: edge.output,
            });
        }
        let outputs = node.outputs.clone();
        Unit {
            name: &node.name,
            span: node.span,
            node: &*node.node,
            hash: &*node.hash,
            consumers: vec![0; outputs.len()],
            outputs,
            inputs,
        }
    };
    let mut program = Program {
        units: order.iter().map(unit).collect(),
        sinks: targets
            .iter()
            .filter_map(|index| number.get(index).copied())
            .collect(),
        folder: &graph.folder,
        working_space: graph.working_space,
        fingerprint: graph.fingerprint,
        place: Box::new(|span| {
            let Location { line, column } = graph.location(span);
            let file = graph.file_of(span);
            (!file.as_os_str().is_empty()).then(|| format!("{}:{line}:{column}", file.display()))
        }),
    };
    program.count_consumers();
    program
}
