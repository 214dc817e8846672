//! What can go wrong with files, told so that the reader knows which file, where in it, and what to do.

use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

/// A result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a file could not be read or written.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Error {
    /// There is nothing at the path.
    #[error("{}: no such file", path.display())]
    Missing {
        /// The file.
        path: PathBuf,
    },
    /// The system would not let the file be read.
    #[error("{}: cannot be read: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// The system would not let the file be written; nothing was left behind.
    #[error("{}: cannot be written: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// The file is none of the formats that are read.
    #[error("{}: not a picture ({reason}); Peel reads EXR, PNG, JPEG, TIFF and WebP", path.display())]
    NotAPicture {
        /// The file.
        path: PathBuf,
        /// What it looks like instead.
        reason: String,
    },
    /// The file breaks the rules of its format, or ends too early.
    #[error("{}{}: damaged: {reason}; copy or render it again", path.display(), in_part(part))]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The part of a multi-part EXR, where the damage is in one.
        part: Option<String>,
        /// What is wrong.
        reason: String,
    },
    /// The file is sound, but uses something that is not supported.
    #[error("{}{}: {feature} not supported; {advice}", path.display(), in_part(part))]
    Unsupported {
        /// The file.
        path: PathBuf,
        /// The part of a multi-part EXR, where only one is concerned.
        part: Option<String>,
        /// The feature, with its verb: "deep data is".
        feature: String,
        /// What the user can do about it.
        advice: String,
    },
    /// The pixels would not fit into the memory that may be used.
    #[error(
        "{}: {what} needs {}, more than the {} that may be used; raise the memory limit or read less of it",
        path.display(), human(*needed), human(*allowed)
    )]
    OverBudget {
        /// The file.
        path: PathBuf,
        /// What asks for the memory, with its size in pixels.
        what: String,
        /// Bytes asked for.
        needed: u64,
        /// Bytes allowed.
        allowed: u64,
    },
    /// The file has no layer of this name.
    #[error("{}: no layer {layer:?}; it has {}", path.display(), list(have))]
    NoLayer {
        /// The file.
        path: PathBuf,
        /// The layer asked for.
        layer: String,
        /// The layers that there are.
        have: Vec<String>,
    },
    /// The file has no channel of this name.
    #[error("{}: no channel {channel:?}; it has {}", path.display(), list(have))]
    NoChannel {
        /// The file.
        path: PathBuf,
        /// The channel asked for.
        channel: String,
        /// The channels that there are.
        have: Vec<String>,
    },
    /// What was to be written cannot be expressed in the file's format.
    #[error("{}: cannot be written: {reason}", path.display())]
    Unwritable {
        /// The file.
        path: PathBuf,
        /// What is in the way, and what to do.
        reason: String,
    },
    /// A frame range that cannot be read.
    #[error("frame range {text:?}: {reason}; write for example 1001-1100, 1001-1100x2, 1,3,7-9")]
    Range {
        /// The text.
        text: String,
        /// What is wrong.
        reason: String,
    },
    /// A file pattern that cannot be read.
    #[error("file pattern {text:?}: {reason}; write for example plate.####.exr or plate.%04d.exr")]
    Pattern {
        /// The text.
        text: String,
        /// What is wrong.
        reason: String,
    },
}

impl Error {
    /// Whether the file is not there at all, as opposed to broken: what a policy for missing frames asks.
    pub fn is_missing(&self) -> bool {
        matches!(self, Error::Missing { .. })
    }

    pub(crate) fn reading(path: &Path, source: io::Error) -> Error {
        match source.kind() {
            io::ErrorKind::NotFound => Error::Missing {
                path: path.to_owned(),
            },
            io::ErrorKind::UnexpectedEof => Error::Damaged {
                path: path.to_owned(),
                part: None,
                reason: "it ends too early".into(),
            },
            _ => Error::Read {
                path: path.to_owned(),
                source,
            },
        }
    }

    pub(crate) fn damaged(path: &Path, reason: impl Into<String>) -> Error {
        Error::Damaged {
            path: path.to_owned(),
            part: None,
            reason: reason.into(),
        }
    }

    pub(crate) fn unwritable(path: &Path, reason: impl Into<String>) -> Error {
        Error::Unwritable {
            path: path.to_owned(),
            reason: reason.into(),
        }
    }
}

fn in_part(part: &Option<String>) -> String {
    part.as_ref()
        .map_or(String::new(), |name| format!(", part {name:?}"))
}

/// `"R", "G" and "B"`, or "none"; long lists are cut.
fn list(names: &[String]) -> String {
    const MOST: usize = 24;
    let mut shown: Vec<String> = names.iter().take(MOST).map(|name| format!("{name:?}")).collect();
    if names.len() > MOST {
        shown.push(format!("{} more", names.len() - MOST));
    }
    match shown.split_last() {
        None => "none".into(),
        Some((only, [])) => only.clone(),
        Some((last, others)) => format!("{} and {last}", others.join(", ")),
    }
}

/// Bytes as a person says them.
pub(crate) fn human(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["kB", "MB", "GB", "TB", "PB"];
    if bytes < 1000 {
        return format!("{bytes} bytes");
    }
    let mut value = bytes as f64 / 1000.0;
    let mut unit = 0;
    while value >= 1000.0 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_say_what_to_do() {
        let error = Error::NoLayer {
            path: "a.exr".into(),
            layer: "mgu".into(),
            have: vec!["background".into(), "mug".into()],
        };
        assert_eq!(
            error.to_string(),
            "a.exr: no layer \"mgu\"; it has \"background\" and \"mug\""
        );
        let error = Error::Damaged {
            path: "a.exr".into(),
            part: Some("left".into()),
            reason: "no end".into(),
        };
        assert_eq!(
            error.to_string(),
            "a.exr, part \"left\": damaged: no end; copy or render it again"
        );
    }

    #[test]
    fn sizes() {
        assert_eq!(human(999), "999 bytes");
        assert_eq!(human(590_000_000_000), "590.0 GB");
    }
}
