//! How a command ends.

use std::fmt;
use std::process::ExitCode;

/// The command's exit codes; farms act on them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Exit {
    /// Everything was done.
    Done = 0,
    /// Something else went wrong: a file cannot be read, a folder cannot be written.
    Failed = 1,
    /// The arguments make no sense.
    Usage = 2,
    /// The graph file has mistakes; nothing was rendered.
    Graph = 3,
    /// Some frames failed, the others are complete.
    SomeFrames = 4,
    /// Every frame failed.
    AllFrames = 5,
    /// Stopped by Ctrl-C or a termination signal; what was finished is complete.
    Cancelled = 130,
}

/// The table of exit codes for `--help`.
pub const EXIT_CODES: &str = "\
Exit codes:
  0    done
  1    something else failed (a file cannot be read, a folder cannot be written)
  2    the arguments make no sense
  3    the graph file has mistakes; nothing was rendered
  4    some frames failed; the others are complete
  5    all frames failed
  130  stopped by Ctrl-C or a termination signal; finished files are complete, others absent";

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit as u8)
    }
}

/// Why a command stops before its end.
#[derive(Debug)]
pub enum Stop {
    /// Nobody reads the output any more (`peel nodes | head`).
    NobodyListens,
    /// An error, and the exit code that tells its sort.
    Error(Exit, String),
}

impl Stop {
    /// An error of no special sort.
    pub fn failed(error: impl fmt::Display) -> Stop {
        Stop::Error(Exit::Failed, error.to_string())
    }

    /// Arguments that make no sense.
    pub fn usage(error: impl fmt::Display) -> Stop {
        Stop::Error(Exit::Usage, error.to_string())
    }
}

/// What a command returns.
pub type Result<T = Exit> = std::result::Result<T, Stop>;
