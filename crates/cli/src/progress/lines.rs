//! Plain lines, for logs.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use peel_engine::{Event, Summary};
use peel_node::Note;

use super::{Listener, Overall, tell, verdict};
use crate::output::{self, human_bytes, human_time};

/// A line for each file, each note, and the end of each frame that something was written of.
pub struct Lines {
    overall: Overall,
    /// Frames with a file. Held while a line is written, so that lines come in the order of what they tell.
    wrote: Mutex<HashSet<i32>>,
}

impl Lines {
    /// Lines about this many frames.
    pub fn new(frames: usize) -> Lines {
        Lines {
            overall: Overall::new(frames),
            wrote: Mutex::default(),
        }
    }
}

impl Listener for Lines {
    fn hear(&self, event: &Event) {
        let mut wrote = self.wrote.lock().unwrap_or_else(PoisonError::into_inner);
        self.overall.hear(event);
        let text = match event {
            Event::Written {
                frame, path, bytes, ..
            } => {
                wrote.insert(*frame);
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
            } if wrote.contains(frame) => {
                let (finished, _) = self.overall.share();
                let frames = self.overall.frames;
                let left = self.overall.told_pace();
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
