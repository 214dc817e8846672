//! Plain lines, for logs.

use std::time::Duration;

use peel_engine::{Event, Summary};
use peel_node::Note;

use super::{Listener, Overall, tell, verdict};
use crate::output::{self, human_bytes, human_time};

/// A line for each file, each note, and the end of each frame.
pub struct Lines {
    overall: Overall,
}

impl Lines {
    /// Lines about this many frames.
    pub fn new(frames: usize) -> Lines {
        Lines {
            overall: Overall::new(frames),
        }
    }
}

impl Listener for Lines {
    fn hear(&self, event: &Event) {
        self.overall.hear(event);
        let text = match event {
            Event::Written {
                frame, path, bytes, ..
            } => {
                format!(
                    "frame {frame}: wrote {} ({})",
                    path.display(),
                    human_bytes(*bytes)
                )
            }
            Event::Skipped { frame, path, .. } => {
                format!("frame {frame}: {} is there already", path.display())
            }
            Event::Note {
                frame,
                node,
                note: Note::Info(text),
            } => format!("frame {frame}: node `{node}`: {text}"),
            Event::FrameFinished {
                frame,
                complete: true,
                took,
            } => {
                let (finished, _) = self.overall.share();
                let frames = self.overall.frames;
                let left = match self.overall.left() {
                    Some(left) if finished < frames => format!(", about {} left", human_time(left)),
                    _ => String::new(),
                };
                format!(
                    "frame {frame}: done in {}, {finished} of {frames}{left}",
                    human_time(*took)
                )
            }
            _ => match tell(event) {
                Some(text) => text,
                None => return,
            },
        };
        output::message(text);
    }

    fn finish(&self, summary: &Summary, took: Duration) {
        output::message(verdict(summary, took));
    }
}
