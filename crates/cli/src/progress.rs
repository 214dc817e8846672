//! How a render tells what it does: a bar, plain lines, JSON lines, OpenJD lines, or nothing.

mod bar;
mod json;
mod lines;
mod openjd;

use std::collections::{HashMap, HashSet};
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
    /// Frames at work of which a file was written.
    wrote: HashSet<i32>,
    finished: usize,
    /// Finished frames of which a file was written: those that took time.
    made: usize,
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
            Event::Written { frame, .. } => _ = state.wrote.insert(*frame),
            Event::FrameFinished { frame, .. } => {
                state.working.remove(frame);
                state.finished += 1;
                state.made += usize::from(state.wrote.remove(frame));
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

    /// Frames a second and the time left at that pace, once there is a pace. Frames that were there already, and so
    /// took no time, say nothing of it.
    fn pace(&self) -> Option<(f32, Duration)> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let working: f32 = state.working.values().sum();
        let made = state.made as f32 + working;
        let left = (self.frames - state.finished.min(self.frames)) as f32 - working;
        (made > 0.05).then(|| {
            let elapsed = self.begun.elapsed();
            let pace = made / elapsed.as_secs_f32().max(1e-3);
            (pace, elapsed.mul_f32((left / made).max(0.0)))
        })
    }

    /// ", 2.4 frames/s, about 30 s left"; empty as long as there is no pace.
    fn told_pace(&self) -> String {
        match self.pace() {
            Some((pace, left)) if left.as_secs() > 0 => {
                format!(", {}, about {} left", told_rate(pace), output::human_time(left))
            }
            Some((pace, _)) => format!(", {}", told_rate(pace)),
            None => String::new(),
        }
    }
}

/// "2.4 frames/s", or "12 s a frame".
fn told_rate(pace: f32) -> String {
    if pace < 1.0 {
        format!(
            "{} a frame",
            output::human_time(Duration::from_secs_f32(1.0 / pace.max(1e-6)))
        )
    } else {
        format!("{pace:.1} frames/s")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pace_counts_what_took_time() {
        let overall = Overall::new(100);
        for frame in 0..90 {
            overall.hear(&Event::FrameFinished {
                frame,
                complete: true,
                took: Duration::ZERO,
            });
        }
        assert!(overall.pace().is_none(), "nothing was made yet");
        std::thread::sleep(Duration::from_millis(50));
        overall.hear(&Event::Written {
            frame: 90,
            node: "out".into(),
            path: "a.exr".into(),
            bytes: 1,
        });
        overall.hear(&Event::FrameFinished {
            frame: 90,
            complete: true,
            took: Duration::ZERO,
        });
        let (pace, left) = overall.pace().unwrap();
        assert!(
            pace <= 20.0 && left >= Duration::from_millis(400),
            "{pace} {left:?}"
        );
        assert_eq!(told_rate(0.5), "2.0 s a frame");
    }

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
