//! Rendering: frames in parallel as memory allows, each frame's sinks, and what becomes of failures.

use std::collections::{HashMap, HashSet};
use std::panic::{self, AssertUnwindSafe};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;

use peel_node::{At, Error, Key, Result, SinkNode, Temperament, Written};

use crate::crew::Crew;
use crate::cut::pixel_bytes;
use crate::eval::{Evaluation, panicked};
use crate::event::{Event, Failure, NodeError, Summary};
use crate::frame::FrameState;
use crate::program::Source;
use crate::sync::lock;
use crate::trace::Work;

/// How to render.
#[derive(Clone, Debug, Default)]
pub struct RenderOptions {
    /// Leave files that are whole and that say of themselves that they are what would be written.
    pub skip_existing: bool,
    /// Leave files that this engine has written under the same key and that nobody has touched since.
    pub skip_current: bool,
    /// Names of the sinks to render; all where `None`.
    pub targets: Option<Vec<String>>,
}

/// What became of a sink at a frame.
enum Outcome {
    Written(Written),
    Skipped(PathBuf),
    Failed,
    Cancelled,
}

/// What became of a frame. There is one for every frame of a run, however long: no more than what must be known in the end.
#[derive(Default)]
struct Report {
    /// By sink, in the order in which they came to an end.
    outcomes: Vec<(usize, Outcome)>,
    failures: Vec<Failure>,
}

/// A sink's file at a frame.
type Claim = Result<PathBuf>;

impl Evaluation<'_> {
    /// Renders frames.
    pub fn render(&self, frames: &[i32], options: &RenderOptions) -> Summary {
        if options.skip_current {
            // Only somebody who renders again and again asks for that.
            self.engine.passing.expect_all_again();
        }
        let mut seen = HashSet::new();
        let frames: Vec<i32> = frames
            .iter()
            .copied()
            .filter(|frame| seen.insert(*frame))
            .collect();
        let paths = self.engine.crew.seated(|| self.claim_paths(&frames));
        let reports: Vec<Mutex<Report>> = frames.iter().map(|_| Mutex::default()).collect();
        let next = AtomicUsize::new(0);
        let work = || {
            loop {
                let index = next.fetch_add(1, Ordering::Relaxed);
                if index >= frames.len() || self.cancel.is_cancelled() {
                    break;
                }
                let frame = || self.render_frame(frames[index], &paths[index], options, &reports[index]);
                self.engine.crew.seated(frame);
            }
        };
        let parallel = self.engine.crew.seated(|| self.frames_at_once(&frames));
        sweep(paths.iter().flatten().flatten());
        thread::scope(|scope| {
            // Node code runs on the crew's own threads, even where one would do: the caller's may be a
            // rayon worker, or have a small stack.
            let spawned = (0..parallel).filter(|_| Crew::spawn(scope, work).is_ok()).count();
            if spawned == 0 {
                work();
            }
        });
        let mut summary = self.summary(&frames, reports);
        // What a sink looks at after it has written it is no input.
        for path in paths.iter().flatten().flatten() {
            summary.files.remove(path);
        }
        summary
    }

    /// The file of every sink at every frame. A file that two would write goes to the first; the others
    /// fail before anything is overwritten.
    fn claim_paths(&self, frames: &[i32]) -> Vec<Vec<Claim>> {
        let mut owners: HashMap<PathBuf, (usize, i32)> = HashMap::new();
        let mut claim = |number: i32, frame: &FrameState, sink: usize| -> Claim {
            let Some(node) = self.sink(sink) else {
                return Err(Error::message("not a sink"));
            };
            let path = self.call(frame, sink, 0, None, |at| node.path(at))?;
            let owner = *owners.entry(path.clone()).or_insert((sink, number));
            if owner == (sink, number) {
                return Ok(path);
            }
            let (other, at) = (self.program.units[owner.0].name, owner.1);
            let advice = if owner.0 == sink {
                "; give the path a frame number, such as `####`"
            } else {
                ""
            };
            let text = format!(
                "{}: `{other}` writes this file at frame {at}{advice}",
                path.display()
            );
            Err(self.named(frame, sink, Error::message(text)))
        };
        let of_frame = |number: &i32| {
            let frame = FrameState::new(self.program, *number);
            self.program
                .sinks
                .iter()
                .map(|&sink| claim(*number, &frame, sink))
                .collect()
        };
        frames.iter().map(of_frame).collect()
    }

    fn render_frame(&self, number: i32, paths: &[Claim], options: &RenderOptions, report: &Mutex<Report>) {
        let begun = Instant::now();
        (self.events)(Event::FrameStarted { frame: number });
        let work = || {
            let sinks: Vec<_> = self.program.sinks.iter().copied().zip(paths).collect();
            lock(report).outcomes.reserve_exact(sinks.len());
            let frame = self.frame(number);
            self.note_changes(&frame);
            // Every sink is tried, whatever becomes of the others.
            let _ = self.engine.crew.each(sinks, |(sink, path)| {
                let outcome = match self.render_sink(&frame, sink, path, options) {
                    Ok(outcome) => outcome,
                    Err(Error::Cancelled) => Outcome::Cancelled,
                    Err(error) => {
                        self.report_failure(&frame, sink, error, report);
                        Outcome::Failed
                    }
                };
                lock(report).outcomes.push((sink, outcome));
                Ok::<(), ()>(())
            });
        };
        if let Err(panic) = panic::catch_unwind(AssertUnwindSafe(work)) {
            // Not in a node, for those are guarded: in the engine itself.
            let error = panicked(&*panic);
            let failure = Failure {
                node: "engine".to_owned(),
                frame: number,
                span: Default::default(),
                place: None,
                error,
            };
            (self.events)(Event::Failed(failure.clone()));
            let mut report = lock(report);
            report.failures.push(failure);
            report.outcomes = self
                .program
                .sinks
                .iter()
                .map(|&sink| (sink, Outcome::Failed))
                .collect();
        }
        let complete = lock(report).is_complete(self.program.sinks.len());
        (self.events)(Event::FrameFinished {
            frame: number,
            complete,
            took: begun.elapsed(),
        });
    }

    fn render_sink(
        &self,
        frame: &FrameState,
        sink: usize,
        path: &Claim,
        options: &RenderOptions,
    ) -> Result<Outcome> {
        if self.cancel.is_cancelled() {
            return Err(Error::Cancelled);
        }
        let path = path.as_ref().map_err(Error::clone)?;
        let key: Key = self.key(frame, sink, 0)?;
        if options.skip_current && self.engine.is_current(path, key) {
            return Ok(self.skip(frame.number, sink, path));
        }
        let Some(node) = self.sink(sink) else {
            return Err(Error::message("not a sink"));
        };
        if options.skip_existing && path.is_file() {
            let current = |at: &At<'_>| node.is_current(at, path);
            if self.call(frame, sink, 0, Some((key, None)), current)? {
                return Ok(self.skip(frame.number, sink, path));
            }
        }
        let mut going = self.begin(frame, sink, Work::Write);
        let written = self.call(frame, sink, 0, Some((key, None)), |at| node.write(at))?;
        if let Some(going) = &mut going {
            going.made(written.bytes);
        }
        drop(going);
        self.engine.remember_written(&written.path, key);
        let effort = self.program.units[sink].effort();
        frame.finish(effort);
        self.tell_progress(frame, sink, 0.0, 0);
        (self.events)(Event::Written {
            frame: frame.number,
            node: self.program.units[sink].name.to_owned(),
            path: written.path.clone(),
            bytes: written.bytes,
        });
        Ok(Outcome::Written(written))
    }

    /// Leaves a file as it is.
    fn skip(&self, frame: i32, sink: usize, path: &Path) -> Outcome {
        let (node, path) = (self.program.units[sink].name.to_owned(), path.to_owned());
        (self.events)(Event::Skipped {
            frame,
            node,
            path: path.clone(),
        });
        Outcome::Skipped(path)
    }

    /// Tells of a failure under the name of the node in which it arose, once a node and frame.
    fn report_failure(&self, frame: &FrameState, sink: usize, error: Error, report: &Mutex<Report>) {
        let failure = match failure_of(&error) {
            Some(failure) => failure,
            None => self.program.failure(sink, frame.number, error),
        };
        let mut report = lock(report);
        if report.failures.iter().all(|told| told.node != failure.node) {
            report.failures.push(failure.clone());
            drop(report);
            (self.events)(Event::Failed(failure));
        }
    }

    /// How many frames may be at work at once, by what one of them holds.
    fn frames_at_once(&self, frames: &[i32]) -> usize {
        let Some(&first) = frames.first() else {
            return 1;
        };
        let frame = self.frame(first);
        let mut held: u64 = 0;
        let whole_pictures = self
            .program
            .units
            .iter()
            .filter(|unit| unit.takes_whole_pictures());
        let consumed: HashSet<Source> = whole_pictures
            .flat_map(|unit| unit.inputs.iter().flatten())
            .copied()
            .collect();
        for (unit, node) in self.program.units.iter().enumerate() {
            for (output, consumers) in node.consumers.iter().enumerate() {
                let source = Source { unit, output };
                let whole = node.takes_whole_pictures() || *consumers > 1 || consumed.contains(&source);
                if *consumers == 0 || !whole {
                    continue;
                }
                // A format that fails, fails again, and is told, when the frame is rendered.
                if let Ok(format) = self.format(&frame, source, 0) {
                    let pixels = match format.layers.as_slice() {
                        [] => format.data.area(),
                        layers => layers.iter().map(|layer| layer.data.area()).sum(),
                    };
                    held =
                        held.saturating_add(pixels.saturating_mul(pixel_bytes(node.outputs[output].socket)));
                }
            }
        }
        let room = self.engine.options.memory_bytes / 2;
        let fit = usize::try_from(room / held.max(1)).unwrap_or(usize::MAX);
        fit.clamp(1, self.engine.options.threads.max(1)).min(frames.len())
    }

    fn sink(&self, unit: usize) -> Option<&dyn SinkNode> {
        match self.program.units[unit].node.temperament() {
            Temperament::Sink(node) => Some(node),
            _ => None,
        }
    }

    fn summary(&self, frames: &[i32], reports: Vec<Mutex<Report>>) -> Summary {
        let mut summary = Summary {
            files: lock(self.files).clone(),
            ..Summary::default()
        };
        for (&frame, report) in frames.iter().zip(&reports) {
            let mut report = lock(report);
            if report.is_complete(self.program.sinks.len()) {
                summary.complete_frames.insert(frame);
            } else if report
                .outcomes
                .iter()
                .any(|(_, outcome)| matches!(outcome, Outcome::Failed))
            {
                summary.failed_frames.insert(frame);
            } else {
                summary.cancelled = true;
            }
            // In the order of the graph, whichever thread came first.
            report
                .failures
                .sort_by_key(|failure| (failure.span, failure.node.clone()));
            summary.failed.append(&mut report.failures);
            report.outcomes.sort_by_key(|(sink, _)| *sink);
            for (_, outcome) in std::mem::take(&mut report.outcomes) {
                match outcome {
                    Outcome::Written(written) => summary.written.push(written.path),
                    Outcome::Skipped(path) => summary.skipped.push(path),
                    Outcome::Failed => {}
                    Outcome::Cancelled => summary.cancelled = true,
                }
            }
        }
        summary
    }
}

impl Report {
    fn is_complete(&self, sinks: usize) -> bool {
        let there =
            |(_, outcome): &&(usize, Outcome)| matches!(outcome, Outcome::Written(_) | Outcome::Skipped(_));
        self.outcomes.iter().filter(there).count() == sinks
    }
}

/// Removes what killed renders of the same files have left.
fn sweep<'p>(paths: impl Iterator<Item = &'p PathBuf>) {
    let mut folders: HashMap<&Path, HashSet<String>> = HashMap::new();
    for path in paths {
        if let (Some(folder), Some(name)) = (path.parent(), path.file_name()) {
            let names = folders.entry(folder).or_default();
            names.insert(name.to_string_lossy().into_owned());
        }
    }
    for (folder, names) in folders {
        peel_io::sweep(folder, |name| {
            peel_io::meant_by(name).is_some_and(|name| names.contains(name))
        });
    }
}

/// The failure that an error carries down from the node in which it arose.
pub(crate) fn failure_of(error: &Error) -> Option<Failure> {
    let Error::Upstream(source) = error else {
        return None;
    };
    source
        .downcast_ref::<NodeError>()
        .map(|error| error.failure.clone())
}
