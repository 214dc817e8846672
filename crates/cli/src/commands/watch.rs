//! `peel watch`: the picture beside the editor.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::{Scope, ScopedJoinHandle};
use std::time::{Duration, Instant, SystemTime};

use peel_engine::{CancelToken, Engine, Event, RenderOptions, Summary};
use peel_graph::Graph;
use peel_io::FrameRange;

use crate::exit::{Exit, Result, Stop};
use crate::files::{Change, Stamp, Watch, stamp};
use crate::progress::{self, Mode};
use crate::settings::{EngineArgs, cancel_on_signal};
use crate::{graph_file, output};

/// Render a graph again whenever it, or a file that it reads, changes
#[derive(clap::Args)]
#[command(after_help = "Examples:
  peel watch shot.ron --frames 1001        one frame, at once after each save
  peel watch shot.ron --only comp

Renders, then waits for the graph, the groups that it includes, its plates, mattes and weights to change. Only files whose content would change
are written again; what did not change is not computed again. A save with mistakes in it prints them and leaves
the last good pictures. Ctrl-C ends it, with exit code 130.")]
pub struct Args {
    /// The graph file.
    graph: PathBuf,

    /// Frames such as 1001 or 1001-1008; those that the graph names by default.
    #[arg(long, short, value_name = "RANGE", allow_hyphen_values = true)]
    frames: Option<FrameRange>,

    /// Render this sink only (may be given several times).
    #[arg(long, value_name = "NODE")]
    only: Vec<String>,

    /// How to tell of progress.
    #[arg(long, value_enum, default_value_t = Mode::Bar)]
    progress: Mode,

    #[command(flatten)]
    engine: EngineArgs,
}

/// A render in the background.
struct Running<'scope> {
    cancel: CancelToken,
    thread: ScopedJoinHandle<'scope, Option<Summary>>,
}

/// What is known between two looks.
struct Session<'a> {
    args: &'a Args,
    watch: Watch,
    /// The text last read, right or wrong.
    text: Option<String>,
    /// The files that it includes.
    included: BTreeSet<PathBuf>,
    /// The last graph without mistakes, if its text is the one last read.
    graph: Option<Arc<Graph>>,
    /// Whether there was ever a graph without mistakes.
    rendered: bool,
}

pub fn run(args: Args) -> Result {
    let engine = args.engine.engine()?;
    let quit = cancel_on_signal()?;
    let mut session = Session {
        args: &args,
        watch: Watch::new(),
        text: None,
        included: BTreeSet::new(),
        graph: None,
        rendered: false,
    };
    session
        .watch
        .add([(args.graph.clone(), stamp(&args.graph))].into());
    std::thread::scope(|scope| {
        let mut change = Some(Change {
            files: vec![args.graph.clone()],
            saved: SystemTime::now(),
        });
        let mut running: Option<Running<'_>> = None;
        while !quit.is_cancelled() {
            if running
                .as_ref()
                .is_some_and(|running| running.thread.is_finished())
            {
                session.finish(running.take());
            }
            if let Some(change) = change.take()
                && let Some(graph) = session.look(&change)
            {
                // A newer state makes the render in progress worthless.
                if let Some(old) = &running {
                    old.cancel.cancel();
                }
                session.finish(running.take());
                running = Some(start(scope, &args, &engine, graph, change.saved));
            }
            change = session.watch.wait();
        }
        if let Some(last) = &running {
            last.cancel.cancel();
        }
    });
    Ok(Exit::Cancelled)
}

impl Session<'_> {
    /// Takes note of a change; gives the graph where there is something to render. A graph with mistakes has
    /// them printed, and nothing is rendered until it is right again: the pictures of the last right one stay.
    fn look(&mut self, change: &Change) -> Option<Arc<Graph>> {
        let file = &self.args.graph;
        let waiting = if self.rendered {
            "the last good pictures stay"
        } else {
            "waiting for it to be mended"
        };
        let text = match graph_file::read_text(file) {
            Ok(text) => text,
            Err(stop) => {
                self.text = None;
                if let Stop::Error(_, error) = stop {
                    output::message(format_args!("error: {error}; {waiting}"));
                }
                return None;
            }
        };
        let includes = change.files.iter().any(|changed| self.included.contains(changed));
        if self.text.as_ref() == Some(&text) && !includes {
            // Something that the graph reads; if the graph has mistakes, they have been told.
            return self.graph.clone();
        }
        let (parsed, included) = graph_file::parse_watched(&text, file);
        self.included = included.keys().cloned().collect();
        self.watch.add(included);
        let parsed = graph_file::checked(parsed, file);
        self.text = Some(text);
        self.graph = None;
        match parsed {
            Ok(graph) => {
                self.rendered = true;
                self.graph = Some(Arc::new(graph));
                self.graph.clone()
            }
            Err(Stop::Error(_, verdict)) => {
                let files: Vec<_> = change
                    .files
                    .iter()
                    .map(|file| file.display().to_string())
                    .collect();
                output::message(format_args!(
                    "{verdict}; {waiting} ({} changed)",
                    files.join(", ")
                ));
                None
            }
            Err(Stop::NobodyListens) => None,
        }
    }

    /// Waits for a render to end, and watches the files that it looked at.
    fn finish(&mut self, running: Option<Running<'_>>) {
        let Some(Ok(Some(summary))) = running.map(|running| running.thread.join()) else {
            return;
        };
        let cancelled = summary.cancelled;
        let files = summary.files.into_iter().map(|(path, identity)| {
            let stamp: Stamp = identity.map(|identity| (identity.size, identity.modified));
            (path, stamp)
        });
        // A render that was stopped may not have come to all of its files.
        if !cancelled {
            let included = &self.included;
            self.watch
                .keep(|path| *path == self.args.graph || included.contains(path));
        }
        self.watch.add(files.collect());
    }
}

/// Renders a graph in the background.
fn start<'scope, 'env>(
    scope: &'scope Scope<'scope, 'env>,
    args: &'env Args,
    engine: &'env Engine,
    graph: Arc<Graph>,
    saved: SystemTime,
) -> Running<'scope> {
    let cancel = CancelToken::new();
    let token = cancel.clone();
    let thread = scope.spawn(move || {
        let options = RenderOptions {
            skip_current: true,
            targets: (!args.only.is_empty()).then(|| args.only.clone()),
            ..RenderOptions::default()
        };
        let frames = args.frames.as_ref().unwrap_or(&graph.frames).frames();
        let begun = Instant::now();
        let listener = progress::listener(args.progress, frames.len());
        let hear = |event: Event| {
            // Files that are as they should be are no news.
            if !matches!(event, Event::Skipped { .. }) {
                listener.hear(&event);
            }
        };
        match engine.render(&graph, frames, &options, &hear, &token) {
            Ok(summary) => {
                if !summary.cancelled {
                    listener.finish(&summary, begun.elapsed());
                    let since = saved.elapsed().unwrap_or(Duration::ZERO);
                    output::message(format_args!("{} after the save", output::human_time(since)));
                }
                Some(summary)
            }
            Err(error) => {
                output::message(format_args!("error: {error}"));
                None
            }
        }
    });
    Running { cancel, thread }
}
