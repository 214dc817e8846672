//! `peel info`: what a picture file holds, from its header.

use std::path::PathBuf;

use crate::exit::{Exit, Result, Stop};
use crate::output;

/// Show what a picture file holds: windows, parts, layers, channels, metadata
#[derive(clap::Args)]
#[command(after_help = "Example:\n  peel info graphs/renders/mug_layers.1001.exr")]
pub struct Args {
    /// EXR, PNG, JPEG, TIFF or WebP files.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
}

pub fn run(args: Args) -> Result {
    let mut exit = Exit::Done;
    for file in &args.files {
        match peel_io::probe(file) {
            Ok(info) => {
                // Names and metadata come from a file that may be hostile to terminals.
                let text = info
                    .to_string()
                    .replace(|c: char| c.is_control() && c != '\n', "\u{fffd}");
                output::line(text)?;
                let layers = info.layers();
                if layers.len() > 1 {
                    let names = layers
                        .iter()
                        .map(|name| if name.is_empty() { "(unnamed)" } else { name });
                    output::line(format_args!("  layers {}", names.collect::<Vec<_>>().join(", ")))?;
                }
            }
            Err(error) if args.files.len() == 1 => return Err(Stop::failed(error)),
            Err(error) => {
                output::message(format_args!("error: {error}"));
                exit = Exit::Failed;
            }
        }
    }
    Ok(exit)
}
