//! What a render would do, without doing it: keys, windows, and what the caches have.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Mutex;

use peel_graph::Graph;
use peel_image::Rect;
use peel_node::{KeptStep, Key, Temperament};

use crate::cancel::CancelToken;
use crate::engine::Engine;
use crate::eval::Evaluation;
use crate::lower::{TargetError, lower, sinks_of};
use crate::program::Source;
use crate::store::Hit;

/// A node in the plan of a frame.
#[derive(Clone, Debug)]
pub struct Explained {
    /// Its name.
    pub node: String,
    /// Its kind.
    pub kind: String,
    /// How it is called: in regions, once a frame, or to write a file.
    pub called: &'static str,
    /// The nodes that it takes its pictures from.
    pub inputs: Vec<String>,
    /// Content key; an error where there is none, such as a missing file.
    pub key: Result<Key, String>,
    /// The frame of its first output, and the pixels that exist.
    pub windows: Option<(Rect, Rect)>,
    /// The node whose picture it passes on untouched.
    pub passes: Option<String>,
    /// The node whose picture it moves, in one go with all motions between them.
    pub moves: Option<String>,
    /// What it is asked for, by frame: the region around all that others pull.
    pub asked: BTreeMap<i32, Rect>,
    /// Whether it is made whole and kept, since several want it or it is made once a frame.
    pub kept: bool,
    /// Where its result is already.
    pub cached: Option<Hit>,
    /// The results that a frame node keeps under keys of their own, and where they are already.
    pub steps: Vec<(KeptStep, Option<Hit>)>,
    /// For a sink: its file, and whether it already is what would be written.
    pub file: Option<(PathBuf, bool)>,
}

impl Engine {
    /// The plan of a frame: the nodes that the targets need (all sinks where none is named), inputs first. Reads
    /// headers, and walks over blank pictures to see which regions are asked for; renders nothing.
    pub fn explain(
        &self,
        graph: &Graph,
        targets: Option<&[String]>,
        frame: i32,
    ) -> Result<Vec<Explained>, TargetError> {
        let plan = sinks_of(graph, targets)?;
        let program = lower(graph, &plan.order, &plan.targets);
        let (files, cancel) = (Mutex::default(), CancelToken::new());
        let eval = Evaluation {
            engine: &self.shared,
            program: &program,
            events: &|_| (),
            cancel: &cancel,
            files: &files,
        };
        let explained = self.shared.crew.on_own_thread(|| {
            let state = eval.frame(frame);
            let asked = eval.asked_regions(&state).into_iter().enumerate();
            asked
                .map(|(unit, asked)| eval.explain(graph, &plan.order, &state, unit, asked))
                .collect()
        });
        explained.map_err(TargetError::Engine)
    }
}

/// A frame, and the content keys of what is written there by sink; `None` where there is none, such as for a missing file.
pub type SinkKeys = (i32, Vec<Option<Key>>);

impl Engine {
    /// What is written at each of these frames, told by keys: where they differ from those of another version of a graph,
    /// there is something to make again. Reads headers; renders nothing.
    pub fn sink_keys(
        &self,
        graph: &Graph,
        targets: Option<&[String]>,
        frames: &[i32],
    ) -> Result<Vec<SinkKeys>, TargetError> {
        let plan = sinks_of(graph, targets)?;
        let program = lower(graph, &plan.order, &plan.targets);
        let (files, cancel) = (Mutex::default(), CancelToken::new());
        let eval = Evaluation {
            engine: &self.shared,
            program: &program,
            events: &|_| (),
            cancel: &cancel,
            files: &files,
        };
        let of_frame = |&number: &i32| {
            let frame = eval.frame(number);
            let keys = program.sinks.iter().map(|&sink| eval.key(&frame, sink, 0).ok());
            (number, keys.collect())
        };
        let keys = self
            .shared
            .crew
            .on_own_thread(|| frames.iter().map(of_frame).collect());
        keys.map_err(TargetError::Engine)
    }
}

impl Evaluation<'_> {
    fn explain(
        &self,
        graph: &Graph,
        order: &[peel_graph::NodeIndex],
        frame: &crate::frame::FrameState,
        number: usize,
        asked: BTreeMap<i32, Rect>,
    ) -> Explained {
        let unit = &self.program.units[number];
        let source = Source {
            unit: number,
            output: 0,
        };
        let name = |unit: usize| self.program.units[unit].name.to_owned();
        let key = self.key(frame, number, 0);
        let has_outputs = !unit.outputs.is_empty();
        let format = has_outputs.then(|| self.format(frame, source, 0).ok()).flatten();
        let origin = has_outputs.then(|| self.origin(frame, source, 0).ok()).flatten();
        let passes = origin
            .filter(|origin| origin.unit != number)
            .map(|origin| name(origin.unit));
        let chain = self.chain(frame, number, 0).ok().flatten();
        let is_region = matches!(unit.node.temperament(), Temperament::Region(_));
        let result_key = match is_region {
            true => self.output_key(frame, source, 0).ok(),
            false => key.as_ref().ok().copied(),
        };
        let file = match (unit.node.temperament(), &key) {
            (Temperament::Sink(sink), Ok(key)) => self
                .call(frame, number, 0, Some((*key, None)), |at| {
                    let path = sink.path(at)?;
                    let current = path.is_file() && sink.is_current(at, &path)?;
                    Ok((path, current))
                })
                .ok(),
            _ => None,
        };
        let steps = match (unit.node.temperament(), &key) {
            (Temperament::Frame(node), Ok(key)) => {
                self.call(frame, number, 0, Some((*key, None)), |at| node.steps(at))
            }
            _ => Ok(Vec::new()),
        };
        let held = |step: KeptStep| {
            let hit = self.engine.store.holds(&step.key);
            (step, hit)
        };
        let inputs = unit.inputs.iter().flatten().map(|source| name(source.unit));
        Explained {
            node: unit.name.to_owned(),
            kind: graph.nodes[order[number]].kind.to_owned(),
            called: match unit.node.temperament() {
                Temperament::Region(_) => "regions",
                Temperament::Frame(_) => "frame",
                Temperament::Sink(_) => "sink",
            },
            inputs: inputs.collect(),
            key: key.map_err(|error| error.to_string()),
            windows: format.map(|format| (format.display, format.data)),
            kept: passes.is_none()
                && has_outputs
                && (!is_region || unit.consumers.iter().any(|&count| count > 1)),
            passes,
            asked,
            moves: chain.map(|chain| name(chain.source.unit)),
            cached: result_key.and_then(|key| self.engine.store.holds(&key)),
            steps: steps.unwrap_or_default().into_iter().map(held).collect(),
            file,
        }
    }
}
