//! `peel explain`: what a render would do, and what a change would do again.

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};

use peel_engine::{Engine, Explained, Hit, TargetError};
use peel_graph::Graph;
use peel_image::Rect;
use peel_io::FrameRange;
use peel_node::{KeptStep, Key};
use serde_json::{Value, json};

use crate::change;
use crate::exit::{Exit, Result, Stop};
use crate::settings::EngineArgs;
use crate::{graph_file, output};

/// Show the plan of a frame: windows, keys, what is cached, what a change would make again
#[derive(clap::Args)]
#[command(after_help = "Examples:
  peel explain shot.ron                                      the plan of the first frame
  peel explain shot.ron --frame 1005 --only comp
  peel explain shot.ron --against yesterday.ron              what differs from another version
  peel explain shot.ron --change grade.exposure=0.5          what an edit would make again
  peel explain shot.ron --change 'peel.masks=[\"mug\", \"cup\"]' --json

Reads headers of files and walks over blank pictures to see which regions are asked for; renders and writes nothing. An edit is told for the frame at hand, node by node and mask by mask, then for which of the graph's frames there are files to write again. Nodes of a group are called `group/node`.")]
pub struct Args {
    /// The graph file.
    graph: PathBuf,

    /// The frame; the graph's first one by default.
    #[arg(long, short, value_name = "FRAME", allow_hyphen_values = true)]
    frame: Option<i32>,

    /// Explain this sink only (may be given several times).
    #[arg(long, value_name = "NODE")]
    only: Vec<String>,

    /// Compare with another version of the graph: what it made that still holds.
    #[arg(long, value_name = "GRAPH", conflicts_with = "change")]
    against: Option<PathBuf>,

    /// Show what an edit would make again: NODE.PARAMETER=VALUE, written as in a graph (may be given several times).
    #[arg(long, value_name = "EDIT")]
    change: Vec<String>,

    /// Print one JSON object on standard output.
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    engine: EngineArgs,
}

/// What an edit makes again.
struct Edit {
    /// Keys that were there before: of nodes, and of steps of frame nodes.
    known: HashSet<Key>,
    /// The frames at which there is something to write again, of so many.
    frames: FrameRange,
    of: usize,
}

impl Edit {
    /// By key: what had the same key before is there already, whatever it was called.
    fn again(&self, key: Option<&Key>) -> bool {
        key.is_none_or(|key| !self.known.contains(key))
    }
}

pub fn run(args: Args) -> Result {
    let text = graph_file::read_text(&args.graph)?;
    let graph = graph_file::checked(graph_file::parse(&text, &args.graph), &args.graph)?;
    let frame = args.frame.or_else(|| graph.frames.frames().first().copied());
    let frame = frame.ok_or_else(|| Stop::usage("the graph names no frames; name one with `--frame`"))?;
    let engine = args.engine.engine()?;
    let targets = (!args.only.is_empty()).then_some(args.only.as_slice());
    let explain = |graph: &Graph| explained(&engine, graph, targets, frame);
    let compare = |now: &Graph, before: &Graph| edit(&engine, targets, frame, now, before);
    let (nodes, edit) = if let Some(old) = &args.against {
        (explain(&graph)?, Some(compare(&graph, &graph_file::load(old)?)?))
    } else if args.change.is_empty() {
        (explain(&graph)?, None)
    } else {
        let edited = args
            .change
            .iter()
            .try_fold(text, |text, edit| change::apply(&text, edit));
        let edited = edited.map_err(Stop::usage)?;
        let after = graph_file::checked(graph_file::parse(&edited, &args.graph), &args.graph)?;
        (explain(&after)?, Some(compare(&after, &graph)?))
    };
    match args.json {
        true => output::line(json(&args.graph, frame, &nodes, edit.as_ref()))?,
        false => tell(frame, &nodes, edit.as_ref())?,
    }
    Ok(Exit::Done)
}

fn explained(
    engine: &Engine,
    graph: &Graph,
    targets: Option<&[String]>,
    frame: i32,
) -> Result<Vec<Explained>> {
    engine.explain(graph, targets, frame).map_err(of_target)
}

fn of_target(error: TargetError) -> Stop {
    match error {
        TargetError::NoSink => Stop::Error(Exit::Graph, error.to_string()),
        error => Stop::usage(error),
    }
}

/// What one version of a graph would make again after another.
fn edit(
    engine: &Engine,
    targets: Option<&[String]>,
    frame: i32,
    now: &Graph,
    before: &Graph,
) -> Result<Edit> {
    let mut known = HashSet::new();
    for node in explained(engine, before, targets, frame)? {
        known.extend(node.key.ok());
        known.extend(node.steps.into_iter().map(|(step, _)| step.key));
    }
    let frames = now.frames.frames();
    let keys = |graph| engine.sink_keys(graph, targets, frames).map_err(of_target);
    let changed = keys(now)?.into_iter().zip(keys(before)?);
    let changed = changed.filter(|((_, now), (_, before))| !now.iter().all(|key| before.contains(key)));
    Ok(Edit {
        known,
        frames: FrameRange::from_frames(changed.map(|((frame, _), _)| frame)),
        of: frames.len(),
    })
}

fn tell(frame: i32, nodes: &[Explained], edit: Option<&Edit>) -> Result<()> {
    output::line(format_args!(
        "frame {frame}: {}",
        output::count(nodes.len(), "node")
    ))?;
    for node in nodes {
        let mark = match edit.map(|edit| edit.again(node.key.as_ref().ok())) {
            Some(true) => "again  ",
            Some(false) => "kept   ",
            None => "",
        };
        let inputs = match node.inputs.as_slice() {
            [] => String::new(),
            inputs => format!(" <- {}", inputs.join(", ")),
        };
        output::line(format_args!("\n{mark}{}: {}{inputs}", node.node, node.kind))?;
        for fact in facts(node, frame, edit) {
            output::line(format_args!("    {fact}"))?;
        }
    }
    let Some(edit) = edit else { return Ok(()) };
    let again: Vec<&str> = nodes
        .iter()
        .filter(|node| edit.again(node.key.as_ref().ok()))
        .map(|node| node.node.as_str())
        .collect();
    let made = match again.as_slice() {
        [] => "nothing".to_owned(),
        names => names.join(", "),
    };
    output::line(format_args!("\nmade again: {made}"))?;
    let which = match edit.frames.len() {
        0 => "none".to_owned(),
        some => format!("{some} ({})", edit.frames),
    };
    output::line(format_args!(
        "frames to write again: {which} of {}",
        output::count(edit.of, "frame")
    ))
}

/// What there is to say of a node, a line each.
fn facts(node: &Explained, frame: i32, edit: Option<&Edit>) -> Vec<String> {
    let mut facts = Vec::new();
    match &node.key {
        Ok(key) => facts.push(format!("key      {}", &key.hex()[..16])),
        Err(error) => facts.push(format!("key      none: {error}")),
    }
    if let Some((display, data)) = &node.windows {
        facts.push(format!("window   {data} in {display}"));
    }
    let mut asked: Vec<(Rect, Vec<i32>)> = Vec::new();
    for (&frame, &region) in &node.asked {
        match asked.iter_mut().find(|(known, _)| *known == region) {
            Some((_, frames)) => frames.push(frame),
            None => asked.push((region, vec![frame])),
        }
    }
    for (region, frames) in asked {
        let noun = if frames.len() == 1 { "frame" } else { "frames" };
        facts.push(format!(
            "asked    {region} at {noun} {}",
            FrameRange::from_frames(frames)
        ));
    }
    let called = match (node.called, &node.passes, &node.moves) {
        (_, Some(passes), _) => format!("passes `{passes}` on, untouched"),
        (_, _, Some(moves)) => format!("moves `{moves}`, resampled once, in regions on demand"),
        ("regions", ..) if node.kept => "in regions; kept whole, since several want it".to_owned(),
        ("regions", ..) => "in regions on demand".to_owned(),
        ("frame", ..) => "once a frame".to_owned(),
        _ => "writes a file".to_owned(),
    };
    facts.push(format!("made     {called}"));
    if let Some(hit) = node.cached {
        facts.push(format!("cached   {}", place(hit)));
    }
    facts.extend(steps(node, frame, edit));
    if let Some((path, current)) = &node.file {
        let state = if *current {
            "as it should be"
        } else {
            "to be written"
        };
        facts.push(format!("file     {} ({state})", path.display()));
    }
    facts
}

/// A line for each step of the frame at hand, and for those that look at others; the rest is counted.
fn steps(node: &Explained, frame: i32, edit: Option<&Edit>) -> Vec<String> {
    let again = |step: &KeptStep| edit.is_some_and(|edit| edit.again(Some(&step.key)));
    let mut lines = Vec::new();
    let mut others: BTreeMap<&str, Vec<&(KeptStep, Option<Hit>)>> = BTreeMap::new();
    for known in &node.steps {
        let (step, hit) = known;
        if step.frame != frame && step.looks_at.is_empty() {
            others.entry(&step.name).or_default().push(known);
            continue;
        }
        let mut line = format!("step     {}", step.name);
        if step.frame != frame {
            line += &format!(" at key frame {}", step.frame);
        }
        line += &format!(
            ": {}, {}",
            &step.key.hex()[..16],
            hit.map_or("nowhere yet", place)
        );
        if !step.looks_at.is_empty() {
            let frames = FrameRange::from_frames(step.looks_at.iter().copied());
            line += &format!("; looks at frames {frames}");
        }
        if again(step) {
            line += "; made again";
        }
        lines.push(line);
    }
    for (name, steps) in others {
        let frames = FrameRange::from_frames(steps.iter().map(|(step, _)| step.frame));
        let there = steps.iter().filter(|(_, hit)| hit.is_some()).count();
        let mut line = format!(
            "step     {name} at frames {frames}: {there} of {} there",
            steps.len()
        );
        let made = steps.iter().filter(|(step, _)| again(step)).count();
        if made > 0 {
            line += &format!(", {made} made again");
        }
        lines.push(line);
    }
    lines
}

fn place(hit: Hit) -> &'static str {
    match hit {
        Hit::Memory => "memory",
        Hit::Disk => "disk",
        Hit::Made => "nowhere",
    }
}

fn json(graph: &Path, frame: i32, nodes: &[Explained], edit: Option<&Edit>) -> Value {
    let step = |(step, hit): &(KeptStep, Option<Hit>)| {
        json!({
            "name": step.name,
            "frame": step.frame,
            "key": step.key.hex(),
            "looks_at": step.looks_at,
            "cached": hit.map(place),
            "again": edit.map(|edit| edit.again(Some(&step.key))),
        })
    };
    let node = |node: &Explained| {
        json!({
            "node": node.node,
            "kind": node.kind,
            "called": node.called,
            "inputs": node.inputs,
            "key": node.key.as_ref().ok().map(|key| key.hex()),
            "error": node.key.as_ref().err(),
            "display": node.windows.map(|(display, _)| [display.x0, display.y0, display.x1, display.y1]),
            "data": node.windows.map(|(_, data)| [data.x0, data.y0, data.x1, data.y1]),
            "asked": node.asked.iter().map(|(frame, region)| {
                json!({ "frame": frame, "region": [region.x0, region.y0, region.x1, region.y1] })
            }).collect::<Vec<_>>(),
            "passes": node.passes,
            "moves": node.moves,
            "kept": node.kept,
            "cached": node.cached.map(place),
            "steps": node.steps.iter().map(step).collect::<Vec<_>>(),
            "file": node.file.as_ref().map(|(path, _)| path),
            "current": node.file.as_ref().map(|(_, current)| current),
            "again": edit.map(|edit| edit.again(node.key.as_ref().ok())),
        })
    };
    json!({
        "graph": graph,
        "frame": frame,
        "nodes": nodes.iter().map(node).collect::<Vec<_>>(),
        "frames_again": edit.map(|edit| edit.frames.frames()),
    })
}
