//! A bar on a terminal.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use peel_engine::{Event, Summary};
use peel_node::Note;

use super::{Listener, Overall, tell, verdict};
use crate::output;

/// Steps of the bar.
const STEPS: u64 = 1000;

/// A bar with frames done, the node at work and the time left; what has to be said scrolls above it.
pub struct Bar {
    bar: ProgressBar,
    overall: Overall,
}

impl Bar {
    /// A bar over this many frames.
    pub fn new(frames: usize) -> Bar {
        let bar = ProgressBar::new(STEPS);
        if let Ok(style) = ProgressStyle::with_template("{bar:30.cyan/dim} {prefix} {wide_msg}") {
            bar.set_style(style);
        }
        bar.set_prefix(format!("0/{frames}"));
        bar.enable_steady_tick(Duration::from_millis(200));
        Bar {
            bar,
            overall: Overall::new(frames),
        }
    }
}

impl Listener for Bar {
    fn hear(&self, event: &Event) {
        self.overall.hear(event);
        if let Some(text) = tell(event) {
            self.bar.suspend(|| output::message(text));
        }
        let (finished, share) = self.overall.share();
        self.bar.set_position((share * STEPS as f32) as u64);
        self.bar.set_prefix(format!("{finished}/{}", self.overall.frames));
        let left = self.overall.told_pace();
        match event {
            Event::Progress { frame, node, .. } => {
                self.bar.set_message(format!("frame {frame} {node}{left}"))
            }
            Event::Note {
                frame,
                node,
                note: Note::Info(text),
            } => {
                self.bar.set_message(format!("frame {frame} {node}: {text}"));
            }
            _ => {}
        }
    }

    fn finish(&self, summary: &Summary, took: Duration) {
        self.bar.finish_and_clear();
        output::message(verdict(summary, took));
    }
}
