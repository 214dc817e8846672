//! `peel explain`: what a render would do, and what a change would do again.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use peel_engine::{Engine, Explained, Hit, TargetError};
use peel_graph::Graph;
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

Reads headers of files and walks over blank pictures to see which regions are asked for; renders and writes nothing. Nodes of a group are called `group/node`.")]
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

/// A node beside what it was before.
struct Compared {
    now: Explained,
    /// Whether it has to be made again; `None` where there is nothing to compare with.
    again: Option<bool>,
}

pub fn run(args: Args) -> Result {
    let text = graph_file::read_text(&args.graph)?;
    let graph = graph_file::checked(graph_file::parse(&text, &args.graph), &args.graph)?;
    let frame = args.frame.or_else(|| graph.frames.frames().first().copied());
    let frame = frame.ok_or_else(|| Stop::usage("the graph names no frames; name one with `--frame`"))?;
    let engine = args.engine.engine()?;
    let targets = (!args.only.is_empty()).then_some(args.only.as_slice());
    let explain = |graph: &Graph| explained(&engine, graph, targets, frame);
    let nodes = if let Some(old) = &args.against {
        compared(explain(&graph)?, &explain(&graph_file::load(old)?)?)
    } else if args.change.is_empty() {
        let alone = |now| Compared { now, again: None };
        explain(&graph)?.into_iter().map(alone).collect()
    } else {
        let edited = args
            .change
            .iter()
            .try_fold(text, |text, edit| change::apply(&text, edit));
        let edited = edited.map_err(Stop::usage)?;
        let after = graph_file::checked(graph_file::parse(&edited, &args.graph), &args.graph)?;
        compared(explain(&after)?, &explain(&graph)?)
    };
    match args.json {
        true => output::line(json(&args.graph, frame, &nodes))?,
        false => tell(frame, &nodes)?,
    }
    Ok(Exit::Done)
}

fn explained(
    engine: &Engine,
    graph: &Graph,
    targets: Option<&[String]>,
    frame: i32,
) -> Result<Vec<Explained>> {
    engine
        .explain(graph, targets, frame)
        .map_err(|error| match error {
            TargetError::NoSink => Stop::Error(Exit::Graph, error.to_string()),
            error => Stop::usage(error),
        })
}

/// By key: what had the same key before is there already, whatever it was called.
fn compared(now: Vec<Explained>, before: &[Explained]) -> Vec<Compared> {
    let known: HashMap<_, _> = before
        .iter()
        .filter_map(|node| Some((*node.key.as_ref().ok()?, &node.node)))
        .collect();
    let again = |node: &Explained| !node.key.as_ref().is_ok_and(|key| known.contains_key(key));
    now.into_iter()
        .map(|now| Compared {
            again: Some(again(&now)),
            now,
        })
        .collect()
}

fn tell(frame: i32, nodes: &[Compared]) -> Result<()> {
    output::line(format_args!(
        "frame {frame}: {}",
        output::count(nodes.len(), "node")
    ))?;
    for Compared { now, again } in nodes {
        let mark = match again {
            Some(true) => "again  ",
            Some(false) => "kept   ",
            None => "",
        };
        let inputs = match now.inputs.as_slice() {
            [] => String::new(),
            inputs => format!(" <- {}", inputs.join(", ")),
        };
        output::line(format_args!("\n{mark}{}: {}{inputs}", now.node, now.kind))?;
        for fact in facts(now) {
            output::line(format_args!("    {fact}"))?;
        }
    }
    if nodes.iter().any(|node| node.again.is_some()) {
        let again: Vec<&str> = nodes
            .iter()
            .filter(|node| node.again == Some(true))
            .map(|node| node.now.node.as_str())
            .collect();
        let made = match again.as_slice() {
            [] => "nothing".to_owned(),
            names => names.join(", "),
        };
        output::line(format_args!("\nmade again: {made}"))?;
    }
    Ok(())
}

/// What there is to say of a node, a line each.
fn facts(node: &Explained) -> Vec<String> {
    let mut facts = Vec::new();
    match &node.key {
        Ok(key) => facts.push(format!("key      {}", &key.hex()[..16])),
        Err(error) => facts.push(format!("key      none: {error}")),
    }
    if let Some((display, data)) = &node.windows {
        facts.push(format!("window   {data} in {display}"));
    }
    for (frame, region) in &node.asked {
        facts.push(format!("asked    {region} at frame {frame}"));
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
    for (name, key, hit) in &node.steps {
        let place = hit.map_or("nowhere yet", place);
        facts.push(format!("step     {name}: {}, {place}", &key.hex()[..16]));
    }
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

fn place(hit: Hit) -> &'static str {
    match hit {
        Hit::Memory => "memory",
        Hit::Disk => "disk",
        Hit::Made => "nowhere",
    }
}

fn json(graph: &Path, frame: i32, nodes: &[Compared]) -> Value {
    let node = |Compared { now, again }: &Compared| {
        json!({
            "node": now.node,
            "kind": now.kind,
            "called": now.called,
            "inputs": now.inputs,
            "key": now.key.as_ref().ok().map(|key| key.hex()),
            "error": now.key.as_ref().err(),
            "display": now.windows.map(|(display, _)| [display.x0, display.y0, display.x1, display.y1]),
            "data": now.windows.map(|(_, data)| [data.x0, data.y0, data.x1, data.y1]),
            "asked": now.asked.iter().map(|(frame, region)| {
                json!({ "frame": frame, "region": [region.x0, region.y0, region.x1, region.y1] })
            }).collect::<Vec<_>>(),
            "passes": now.passes,
            "moves": now.moves,
            "kept": now.kept,
            "cached": now.cached.map(place),
            "steps": now.steps.iter().map(|(name, key, hit)| {
                json!({ "name": name, "key": key.hex(), "cached": hit.map(place) })
            }).collect::<Vec<_>>(),
            "file": now.file.as_ref().map(|(path, _)| path),
            "current": now.file.as_ref().map(|(_, current)| current),
            "again": again,
        })
    };
    json!({ "graph": graph, "frame": frame, "nodes": nodes.iter().map(node).collect::<Vec<_>>() })
}
