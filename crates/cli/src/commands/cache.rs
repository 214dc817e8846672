//! `peel cache`: what is kept on disk for the next run.

use std::path::PathBuf;
use std::time::SystemTime;

use clap::ValueEnum;
use peel_engine::{CacheFolder, default_cache_dir};

use crate::exit::{Exit, Result, Stop};
use crate::output::{self, count, human_bytes, human_time};
use crate::settings::parse_bytes;

/// Show, verify or clear what is kept on disk for the next run
#[derive(clap::Args)]
#[command(after_help = "Examples:
  peel cache                        how much there is
  peel cache list                   every result, longest unused first
  peel cache verify                 read everything; damaged results are removed
  peel cache trim --limit 4GiB      remove what was not used for longest, down to a size
  peel cache clear

Renders keep the cache below their `--cache-limit` by themselves, and a damaged result is noticed when it is read and
made again. Processes may share a cache; clearing it harms none of them.")]
pub struct Args {
    /// What to do.
    #[arg(value_enum, default_value_t = Action::Show)]
    action: Action,

    /// The size to trim to, such as 4GiB.
    #[arg(long, value_name = "SIZE", value_parser = parse_bytes)]
    limit: Option<u64>,

    /// The folder [default: $PEEL_CACHE, $XDG_CACHE_HOME/peel or ~/.cache/peel].
    #[arg(long, value_name = "DIR")]
    cache: Option<PathBuf>,
}

/// What to do with the cache.
#[derive(Clone, Copy, ValueEnum, PartialEq, Eq, Debug)]
enum Action {
    /// Print the folder, the number of results and their size.
    Show,
    /// Print every result: size, time since its last use, file.
    List,
    /// Read every result to its end and remove the damaged ones.
    Verify,
    /// Remove what was not used for longest, down to `--limit`.
    Trim,
    /// Remove everything.
    Clear,
}

pub fn run(args: Args) -> Result {
    let folder = args.cache.or_else(default_cache_dir).ok_or_else(|| {
        Stop::usage("there is no cache folder: name one with `--cache`, or set $PEEL_CACHE or $HOME")
    })?;
    let cache = CacheFolder::new(&folder);
    let removed = |(results, bytes): (usize, u64)| {
        output::line(format_args!(
            "{}: {} removed, {}",
            folder.display(),
            count(results, "result"),
            human_bytes(bytes)
        ))
    };
    match args.action {
        Action::Show => {
            let entries = cache.entries();
            let bytes = entries.iter().map(|entry| entry.bytes).sum();
            let results = count(entries.len(), "result");
            output::line(format_args!(
                "{}: {results}, {}",
                folder.display(),
                human_bytes(bytes)
            ))?;
        }
        Action::List => {
            let now = SystemTime::now();
            for entry in cache.entries() {
                let unused = now.duration_since(entry.used).unwrap_or_default();
                let (bytes, unused) = (human_bytes(entry.bytes), human_time(unused));
                output::line(format_args!(
                    "{bytes:>10}  {unused:>12}  {}",
                    entry.path.display()
                ))?;
            }
        }
        Action::Verify => {
            let entries = cache.entries();
            let mut damaged = 0;
            for entry in &entries {
                if let Err(reason) = cache.verify(entry) {
                    damaged += 1;
                    output::message(format_args!("{}: {reason}; removed", entry.path.display()));
                }
            }
            let good = count(entries.len() - damaged, "result");
            output::line(format_args!(
                "{}: {good} whole, {damaged} damaged",
                folder.display()
            ))?;
            if damaged > 0 {
                return Ok(Exit::Failed);
            }
        }
        Action::Trim => {
            let limit = args
                .limit
                .ok_or_else(|| Stop::usage("name the size to trim to with `--limit`"))?;
            removed(cache.trim(limit))?;
        }
        Action::Clear => removed(cache.trim(0))?,
    }
    Ok(Exit::Done)
}
