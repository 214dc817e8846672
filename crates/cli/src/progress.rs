//! How a render tells what it does: a bar, plain lines, JSON lines, OpenJD lines, or nothing.

mod bar;
mod json;
mod lines;
mod openjd;

use std::collections::HashMap;
use std::io::IsTerminal;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use clap::ValueEnum;
use peel_engine::{Event, Failure, Summary};
use peel_node::Note;

use crate::output;

/// How to tell of progress.
#[derive(Clone, Copy, ValueEnum, PartialEq, Eq, Debug)]
pub enum Mode {
    /// A bar with the time left on a terminal, plain lines elsewhere; on standard error.
    Bar,
    /// One JSON object a line on standard output.
    Json,
    /// `openjd_progress: 0..100` and `openjd_status: ..` lines on standard output.
    Openjd,
    /// Errors only.
    None,
}

/// A listener to a render. Failures and notes are told on standard error by everyone, see [`tell`].
pub trait Listener: Sync {
    /// News.
    fn hear(&self, event: &Event);
    /// The end.
    fn finish(&self, summary: &Summary, took: Duration);
}

/// The listener for a mode; `frames` is how many frames there are to render.
pub fn listener(mode: Mode, frames: usize) -> Box<dyn Listener> {
    match mode {
        Mode::Bar if std::io::stderr().is_terminal() => Box::new(bar::Bar::new(frames)),
        Mode::Bar => Box::new(lines::Lines::new(frames)),
        Mode::Json => Box::new(json::Json),
        Mode::Openjd => Box::new(openjd::OpenJd::new(frames)),
        Mode::None => Box::new(Silent),
    }
}

struct Silent;

impl Listener for Silent {
    fn hear(&self, event: &Event) {
        if let Some(text) = tell(event) {
            output::message(text);
        }
    }

    fn finish(&self, _: &Summary, _: Duration) {}
}

/// What of an event has to be said whatever the mode: failures and warnings.
fn tell(event: &Event) -> Option<String> {
    match event {
        Event::Failed(failure) => Some(told_failure(failure)),
        Event::Note {
            frame,
            node,
            note: Note::Warning(text),
        } => Some(format!("warning: frame {frame}: node `{node}`: {text}")),
        _ => None,
    }
}

/// A failure with its place in the graph file, as the checker tells mistakes.
fn told_failure(failure: &Failure) -> String {
    match &failure.place {
        Some(place) => format!("error: {failure}\n  --> {place}"),
        None => format!("error: {failure}"),
    }
}

/// The last line of a render: what came out of it.
fn verdict(summary: &Summary, took: Duration) -> String {
    let mut text = format!("{} written", output::count(summary.written.len(), "file"));
    if !summary.skipped.is_empty() {
        text += &format!(", {} left as they were", summary.skipped.len());
    }
    if !summary.failed_frames.is_empty() {
        text += &format!(", {} failed", output::count(summary.failed_frames.len(), "frame"));
    }
    if summary.cancelled {
        text += ", stopped before the end";
    }
    format!("{text} in {}", output::human_time(took))
}

/// How far a whole render is, from how far its frames are.
struct Overall {
    frames: usize,
    begun: Instant,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Shares of the frames at work.
    working: HashMap<i32, f32>,
    finished: usize,
}

impl Overall {
    fn new(frames: usize) -> Overall {
        Overall {
            frames,
            begun: Instant::now(),
            state: Mutex::default(),
        }
    }

    /// Takes note of an event.
    fn hear(&self, event: &Event) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match event {
            Event::Progress { frame, share, .. } => {
                state.working.insert(*frame, *share);
            }
            Event::FrameFinished { frame, .. } => {
                state.working.remove(frame);
                state.finished += 1;
            }
            _ => {}
        }
    }

    /// Finished frames, and the share of all frames that is done.
    fn share(&self) -> (usize, f32) {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let done = state.finished as f32 + state.working.values().sum::<f32>();
        (state.finished, (done / self.frames.max(1) as f32).min(1.0))
    }

    /// The time left at the pace so far, once there is a pace.
    fn left(&self) -> Option<Duration> {
        let (_, share) = self.share();
        (share > 0.005).then(|| self.begun.elapsed().mul_f32((1.0 - share) / share))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overall_progress_counts_finished_and_working_frames() {
        let overall = Overall::new(4);
        overall.hear(&Event::Progress {
            frame: 7,
            node: "a".into(),
            share: 0.5,
        });
        overall.hear(&Event::FrameFinished {
            frame: 6,
            complete: true,
            took: Duration::ZERO,
        });
        assert_eq!(overall.share(), (1, 0.375));
        overall.hear(&Event::FrameFinished {
            frame: 7,
            complete: false,
            took: Duration::ZERO,
        });
        assert_eq!(overall.share(), (2, 0.5));
    }

    #[test]
    fn harmless_lines_never_say_error() {
        let summary = Summary {
            cancelled: true,
            ..Summary::default()
        };
        assert!(
            !verdict(&summary, Duration::ZERO)
                .to_lowercase()
                .contains("error:")
        );
    }
}
