//! `peel nodes`: the catalogue and the manual, from the source.

use peel_node::nearest;

use crate::exit::{Exit, Result, Stop};
use crate::{manual, output};

/// List the kinds of nodes, or print the manual of one
#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  peel nodes\n  peel nodes Transform\n  peel nodes Mask --example > mask.ron"
)]
pub struct Args {
    /// The kind; all kinds where it is left out.
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
