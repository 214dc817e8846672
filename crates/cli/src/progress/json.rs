//! One JSON object a line, for programs.

use std::time::Duration;

use peel_engine::{Event, Summary};
use peel_node::Note;
use serde_json::{Value, json};

use super::{Listener, tell};
use crate::output;

/// Objects on standard output, each with an `event`: `frame_started`, `progress` (`share` of the frame, 0 to
/// 1), `written`, `skipped`, `note`, `failed`, `frame_finished`, and at the end `finished`.
pub struct Json;

impl Listener for Json {
    fn hear(&self, event: &Event) {
        if let Some(text) = tell(event) {
            output::message(text);
        }
        // A reader that went away does not stop the render.
        let _ = output::line(object(event));
    }

    fn finish(&self, summary: &Summary, took: Duration) {
        let _ = output::line(json!({
            "event": "finished",
            "written": summary.written.len(),
            "skipped": summary.skipped.len(),
            "complete_frames": summary.complete_frames,
            "failed_frames": summary.failed_frames,
            "cancelled": summary.cancelled,
            "seconds": took.as_secs_f64(),
            "frames_per_second": summary.complete_frames.len() as f64 / took.as_secs_f64().max(1e-9),
        }));
    }
}

fn object(event: &Event) -> Value {
    match event {
        Event::FrameStarted { frame } => json!({ "event": "frame_started", "frame": frame }),
        Event::Progress { frame, node, share } => {
            json!({ "event": "progress", "frame": frame, "node": node, "share": share })
        }
        Event::Written {
            frame,
            node,
            path,
            bytes,
        } => {
            json!({ "event": "written", "frame": frame, "node": node, "path": path, "bytes": bytes })
        }
        Event::Skipped { frame, node, path } => {
            json!({ "event": "skipped", "frame": frame, "node": node, "path": path })
        }
        Event::Note { frame, node, note } => {
            let (level, text) = match note {
                Note::Info(text) => ("info", text),
                Note::Warning(text) => ("warning", text),
            };
            json!({ "event": "note", "frame": frame, "node": node, "level": level, "text": text })
        }
        Event::Failed(failure) => json!({
            "event": "failed",
            "frame": failure.frame,
            "node": failure.node,
            "place": failure.place,
            "message": failure.error.to_string(),
        }),
        Event::FrameFinished {
            frame,
            complete,
            took,
        } => json!({
            "event": "frame_finished",
            "frame": frame,
            "complete": complete,
            "seconds": took.as_secs_f64(),
        }),
    }
}
