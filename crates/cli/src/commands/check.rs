//! `peel check`: everything that is wrong with a graph, without rendering it.

use std::path::PathBuf;

use crate::exit::{Exit, Result, Stop};
use crate::{graph_file, output};

/// Check a graph: all mistakes at once, with line, column and what was probably meant
#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  peel check shot.ron\n  peel check shot.ron --json\n  cat shot.ron | peel check -\n\nExits with 0 for a sound graph, with 3 for one with mistakes. Groups that the graph includes are checked with it; a group file can be checked by itself. Pictures that the graph reads are not opened."
)]
pub struct Args {
    /// The graph file; `-` for standard input.
    graph: PathBuf,

    /// Print one JSON object on standard output, for editors.
    #[arg(long)]
    json: bool,
}

pub fn run(args: Args) -> Result {
    let text = graph_file::read_text(&args.graph)?;
    if graph_file::is_group(&text) {
        return group(&args, &text);
    }
    let parsed = graph_file::parse(&text, &args.graph);
    if args.json {
        let (diagnostics, exit) = match &parsed {
            Ok(graph) => (&graph.warnings, Exit::Done),
            Err(mistakes) => (mistakes, Exit::Graph),
        };
        output::line(diagnostics.to_json())?;
        return Ok(exit);
    }
    let graph = graph_file::checked(parsed, &args.graph)?;
    let nodes = output::count(graph.nodes.node_count(), "node");
    output::line(format_args!("{}: {nodes}, no mistakes", args.graph.display()))?;
    Ok(Exit::Done)
}

/// Checks a group file by itself.
fn group(args: &Args, text: &str) -> Result {
    let parsed = graph_file::parse_group(text, &args.graph);
    if args.json {
        let sound = peel_graph::Diagnostics::new(&args.graph, text, Vec::new());
        let (diagnostics, exit) = match &parsed {
            Ok(_) => (&sound, Exit::Done),
            Err(mistakes) => (mistakes, Exit::Graph),
        };
        output::line(diagnostics.to_json())?;
        return Ok(exit);
    }
    let group = parsed.map_err(|mistakes| {
        output::message(&mistakes);
        Stop::Error(Exit::Graph, graph_file::verdict(&mistakes, &args.graph))
    })?;
    let (inputs, parameters) = (group.inputs.len(), group.parameters.len());
    output::line(format_args!(
        "{}: a group of {} and {}, no mistakes",
        args.graph.display(),
        output::count(inputs, "input"),
        output::count(parameters, "parameter")
    ))?;
    Ok(Exit::Done)
}
