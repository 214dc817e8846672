//! Arguments that every rendering command takes.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use peel_engine::{CancelToken, Engine, EngineOptions, default_cache_dir};
use peel_kernels::{Found, probe};
use peel_node::Device;

use crate::exit::{Exit, Result, Stop};
use crate::output;

/// What the engine works with.
#[derive(Args, Debug)]
#[command(next_help_heading = "Resources")]
pub struct EngineArgs {
    /// Nodes that work at once; all processors by default. The pixels do not depend on it.
    #[arg(long, short = 't', value_name = "N")]
    threads: Option<NonZeroUsize>,

    /// Memory to aim for, such as 4GiB, 800MB or 2G. Half of it keeps results for later use.
    #[arg(long, value_name = "SIZE", default_value = "4GiB", value_parser = parse_bytes)]
    memory: u64,

    /// Where models run, unless a node says otherwise [default: an NVIDIA card if this build knows CUDA and there
    /// is one, else the processor].
    #[arg(long, value_enum)]
    device: Option<DeviceArg>,

    /// A folder of models, looked into before the `weights` folders beside or above the graph, the program
    /// and the current folder. $PEEL_WEIGHTS is looked into as well.
    #[arg(long, value_name = "DIR")]
    weights: Vec<PathBuf>,

    /// Where decompositions are kept for the next run [default: $PEEL_CACHE, $XDG_CACHE_HOME/peel or
    /// ~/.cache/peel].
    #[arg(long, value_name = "DIR", conflicts_with = "no_cache")]
    cache: Option<PathBuf>,

    /// What the cache on disk may hold; what was not used for longest goes first.
    #[arg(long, value_name = "SIZE", default_value = "16GiB", value_parser = parse_bytes, conflicts_with = "no_cache")]
    cache_limit: u64,

    /// Keep nothing on disk for the next run.
    #[arg(long)]
    no_cache: bool,
}

/// A device by name.
#[derive(Clone, Copy, ValueEnum, Debug)]
pub enum DeviceArg {
    /// The processor.
    Cpu,
    /// The first NVIDIA card; it is an error if there is none.
    Cuda,
    /// An NVIDIA card if this build knows CUDA and there is one, else the processor.
    Auto,
}

impl EngineArgs {
    /// The engine that these arguments describe.
    pub fn engine(&self) -> Result<Engine> {
        self.engine_with(false)
    }

    /// The same, with a record of what every node does.
    pub fn engine_with(&self, trace: bool) -> Result<Engine> {
        let threads = self
            .threads
            .or_else(|| std::thread::available_parallelism().ok())
            .map_or(1, NonZeroUsize::get);
        // Nodes loop over their own pixels with rayon. The pool can be set only once, which is here.
        let _ = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build_global();
        let mut weights_dirs = self.weights.clone();
        weights_dirs.extend(
            std::env::var_os("PEEL_WEIGHTS")
                .filter(|path| !path.is_empty())
                .map(PathBuf::from),
        );
        if let Some(missing) = weights_dirs.iter().find(|folder| !folder.is_dir()) {
            return Err(Stop::usage(format!(
                "{}: there is no such folder of weights",
                missing.display()
            )));
        }
        let cache_dir = if self.no_cache {
            None
        } else {
            self.cache.clone().or_else(default_cache_dir)
        };
        Ok(Engine::new(EngineOptions {
            threads,
            memory_bytes: self.memory,
            cache_dir,
            cache_bytes: self.cache_limit,
            trace,
            device: device(self.device)?,
            weights_dirs,
            band_rows: None,
        }))
    }
}

/// The device that was asked for, if it is there; or the best that is.
pub fn device(asked: Option<DeviceArg>) -> Result<Device> {
    match asked {
        Some(DeviceArg::Cpu) => Ok(Device::Cpu),
        Some(DeviceArg::Cuda) => card("--device cuda").map(|()| Device::Cuda),
        Some(DeviceArg::Auto) | None if cfg!(not(feature = "cuda")) => Ok(Device::Cpu),
        Some(DeviceArg::Auto) | None => match probe(0) {
            Found::Device { .. } => Ok(Device::Cuda),
            Found::None(reason) => {
                output::message(format_args!("{reason}; models run on the processor"));
                Ok(Device::Cpu)
            }
        },
    }
}

/// Fails where there is no card, which was asked for in the words `said`.
pub fn card(said: &str) -> Result<()> {
    match probe(0) {
        Found::Device { .. } => Ok(()),
        Found::None(reason) => Err(Stop::usage(format!("{said}: {reason}"))),
    }
}

/// A token that Ctrl-C or a termination signal cancels; the second signal ends the process at once.
pub fn cancel_on_signal() -> Result<CancelToken> {
    let token = CancelToken::new();
    let signalled = token.clone();
    let handler = move || {
        if signalled.is_cancelled() {
            std::process::exit(Exit::Cancelled as i32);
        }
        signalled.cancel();
        output::message("stopping; once more to stop at once");
    };
    ctrlc::set_handler(handler).map_err(Stop::failed)?;
    Ok(token)
}

/// A number of bytes: `4GiB`, `800MB`, `2G` (decimal), `1073741824`.
pub fn parse_bytes(text: &str) -> std::result::Result<u64, String> {
    let text = text.trim();
    let digits = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let factor = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" | "kb" => 1000,
        "m" | "mb" => 1_000_000,
        "g" | "gb" => 1_000_000_000,
        "t" | "tb" => 1_000_000_000_000,
        "kib" => 1 << 10,
        "mib" => 1 << 20,
        "gib" => 1 << 30,
        "tib" => 1u64 << 40,
        _ => {
            return Err(format!(
                "`{unit}` is no unit of memory; write for example 4GiB or 800MB"
            ));
        }
    };
    let number: f64 = number
        .parse()
        .map_err(|_| "write a number and a unit, for example 4GiB or 800MB".to_owned())?;
    let bytes = (number * factor as f64) as u64;
    if bytes == 0 {
        Err("some memory is needed".to_owned())
    } else {
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_sizes() {
        assert_eq!(parse_bytes("4GiB"), Ok(4 << 30));
        assert_eq!(parse_bytes("1.5 gb"), Ok(1_500_000_000));
        assert_eq!(parse_bytes("4096"), Ok(4096));
        assert!(
            parse_bytes("lots").is_err() && parse_bytes("4parsecs").is_err() && parse_bytes("0").is_err()
        );
    }
}
