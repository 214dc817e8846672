//! Lines of the Open Job Description, for farms.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use peel_engine::{Event, Summary};
use peel_node::Note;

use super::{Listener, Overall, tell, verdict};
use crate::output;

/// `openjd_progress: 0..100` over all frames and `openjd_status: ..` on standard output, flushed line by line.
pub struct OpenJd {
    overall: Overall,
    /// The last progress told, in tenths of a percent.
    told: AtomicU32,
}

impl OpenJd {
    /// Lines about this many frames.
    pub fn new(frames: usize) -> OpenJd {
        OpenJd {
            overall: Overall::new(frames),
            told: AtomicU32::new(0),
        }
    }
}

impl Listener for OpenJd {
    fn hear(&self, event: &Event) {
        self.overall.hear(event);
        if let Some(text) = tell(event) {
            output::message(text);
        }
        let status = match event {
            Event::FrameStarted { frame } => Some(format!("frame {frame}: started")),
            Event::Written { frame, path, .. } => Some(format!("frame {frame}: wrote {}", path.display())),
            Event::Note {
                frame,
                node,
                note: Note::Info(text),
            } => Some(format!("frame {frame}: {node}: {text}")),
            Event::FrameFinished {
                frame,
                complete: false,
                ..
            } => Some(format!("frame {frame}: not complete")),
            _ => None,
        };
        if let Some(status) = status {
            let _ = output::line(format_args!("openjd_status: {}", status.replace('\n', " ")));
        }
        let now = (self.overall.share().1 * 1000.0) as u32;
        if self.told.fetch_max(now, Ordering::Relaxed) < now {
            let _ = output::line(format_args!("openjd_progress: {:.1}", now as f32 / 10.0));
        }
    }

    fn finish(&self, summary: &Summary, took: Duration) {
        let _ = output::line(format_args!("openjd_status: {}", verdict(summary, took)));
    }
}
