//! `peel nodes`: the catalogue and the manual, from the source.

use std::path::Path;

use peel_node::nearest;

use crate::exit::{Exit, Result, Stop};
use crate::{graph_file, manual, output};

/// List the kinds of nodes, or print the manual of one
#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  peel nodes\n  peel nodes Transform\n  peel nodes Mask --example > mask.ron\n  peel nodes gizmos/glow.ron          what a group file declares"
)]
pub struct Args {
    /// The kind, or a group file; all kinds where it is left out.
    kind: Option<String>,

    /// Print the kind's example graph alone.
    #[arg(long, requires = "kind")]
    example: bool,
}

pub fn run(args: Args) -> Result {
    let registry = peel_nodes::registry();
    let Some(name) = args.kind else {
        output::line(manual::catalogue(&registry))?;
        return Ok(Exit::Done);
    };
    let file = Path::new(&name);
    if file.extension().is_some() {
        let text = graph_file::read_text(file)?;
        let group = graph_file::parse_group(&text, file).map_err(|mistakes| {
            output::message(&mistakes);
            Stop::Error(Exit::Graph, graph_file::verdict(&mistakes, file))
        })?;
        output::line(manual::group(file, &group))?;
        return Ok(Exit::Done);
    }
    let found = registry
        .kinds()
        .iter()
        .find(|kind| kind.name.eq_ignore_ascii_case(&name));
    let Some(kind) = found else {
        let names = registry.kinds().iter().map(|kind| kind.name);
        let help = match nearest(&name, names.clone()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("there are {}", names.collect::<Vec<_>>().join(", ")),
        };
        return Err(Stop::usage(format!("there is no kind of node `{name}`; {help}")));
    };
    match args.example {
        true => output::line(kind.example.trim_end())?,
        false => output::line(manual::manual(kind))?,
    }
    Ok(Exit::Done)
}
