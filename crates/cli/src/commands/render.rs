//! `peel render`: frames of a graph to files.

use std::path::PathBuf;
use std::time::Instant;

use peel_engine::{CancelToken, Engine, RenderOptions, Summary, TargetError};
use peel_graph::Graph;
use peel_io::FrameRange;

use crate::exit::{EXIT_CODES, Exit, Result, Stop};
use crate::graph_file;
use crate::progress::{self, Mode};
use crate::settings::{EngineArgs, cancel_on_signal};
use crate::trace::TraceArgs;

const EXAMPLES: &str = "\
Examples:
  peel render shot.ron                                every frame that the graph names
  peel render shot.ron --frames 1001-1100x10          every tenth
  peel render shot.ron --frames 1,3,7-9 --only comp   one Write of several
  peel render shot.ron --skip-existing                go on after an interruption
  peel render shot.ron --stats --trace trace.json     where the time goes
  peel render shot.ron --progress openjd              on a farm

Files appear whole or not at all. A frame that fails does not stop the others. The same graph gives the
same bytes on any number of threads and in any chunks of frames.";

/// Render frames of a graph
#[derive(clap::Args)]
#[command(after_help = format!("{EXAMPLES}\n\n{EXIT_CODES}"))]
pub struct Args {
    /// The graph file.
    graph: PathBuf,

    /// Frames such as 1001-1100, 1001-1100x2 or 1,3,7-9; those that the graph names by default.
    #[arg(long, short, value_name = "RANGE", allow_hyphen_values = true)]
    frames: Option<FrameRange>,

    /// Render this sink only (may be given several times).
    #[arg(long, value_name = "NODE")]
    only: Vec<String>,

    /// Leave EXR files that can be read to their end and carry the key of what would be written: goes on after an
    /// interruption, and renders again what has changed since. PNG and JPEG files are written again.
    #[arg(long)]
    skip_existing: bool,

    /// How to tell of progress.
    #[arg(long, value_enum, default_value_t = Mode::Bar)]
    progress: Mode,

    #[command(flatten)]
    trace: TraceArgs,

    #[command(flatten)]
    engine: EngineArgs,
}

pub fn run(args: Args) -> Result {
    let graph = graph_file::load(&args.graph)?;
    let engine = args.engine.engine_with(args.trace.wanted())?;
    let cancel = cancel_on_signal()?;
    let options = RenderOptions {
        skip_existing: args.skip_existing,
        targets: (!args.only.is_empty()).then_some(args.only),
        ..RenderOptions::default()
    };
    let frames = args.frames.as_ref().unwrap_or(&graph.frames).frames();
    let exit = render(&engine, &graph, frames, &options, args.progress, &cancel)?;
    args.trace.tell(&engine)?;
    Ok(exit)
}

/// Renders, tells of it, and says with which exit code.
pub fn render(
    engine: &Engine,
    graph: &Graph,
    frames: &[i32],
    options: &RenderOptions,
    mode: Mode,
    cancel: &CancelToken,
) -> Result {
    let begun = Instant::now();
    let listener = progress::listener(mode, frames.len());
    let summary = engine.render(graph, frames, options, &|event| listener.hear(&event), cancel);
    let summary = summary.map_err(|error| match error {
        TargetError::NoSink => Stop::Error(Exit::Graph, error.to_string()),
        error => Stop::usage(error),
    })?;
    listener.finish(&summary, begun.elapsed());
    Ok(exit_of(&summary))
}

/// The exit code of a render that ended so.
pub fn exit_of(summary: &Summary) -> Exit {
    match (
        summary.cancelled,
        summary.failed_frames.is_empty(),
        summary.complete_frames.is_empty(),
    ) {
        (true, _, _) => Exit::Cancelled,
        (false, true, _) => Exit::Done,
        (false, false, false) => Exit::SomeFrames,
        (false, false, true) => Exit::AllFrames,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_codes_tell_how_a_render_ended() {
        let summary = |complete: &[i32], failed: &[i32], cancelled| Summary {
            complete_frames: complete.iter().copied().collect(),
            failed_frames: failed.iter().copied().collect(),
            cancelled,
            ..Summary::default()
        };
        assert_eq!(exit_of(&summary(&[1, 2], &[], false)), Exit::Done);
        assert_eq!(exit_of(&summary(&[1], &[2], false)), Exit::SomeFrames);
        assert_eq!(exit_of(&summary(&[], &[1, 2], false)), Exit::AllFrames);
        assert_eq!(exit_of(&summary(&[1], &[2], true)), Exit::Cancelled);
    }
}
