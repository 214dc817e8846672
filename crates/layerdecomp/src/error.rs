//! What can go wrong between a weights folder and a prediction.

use std::path::PathBuf;

/// Result of everything in this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error of the model.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A tensor operation failed.
    #[error(transparent)]
    Tensor(#[from] candle_core::Error),

    /// The configuration contradicts itself.
    #[error("model configuration: {0}")]
    Config(String),

    /// `config.ron` is not what this version reads.
    #[error("{}:{line}:{column}: {reason}", path.display())]
    ConfigSyntax {
        /// The file.
        path: PathBuf,
        /// 1-based line.
        line: usize,
        /// 1-based column.
        column: usize,
        /// What the parser said.
        reason: String,
    },

    /// A file of the weights folder could not be read or written.
    #[error("{}: {source}", path.display())]
    File {
        /// The file or folder.
        path: PathBuf,
        /// The reason the system gave.
        source: std::io::Error,
    },

    /// The weights file is damaged or does not fit the configuration.
    #[error("{}: {reason}", path.display())]
    Weights {
        /// The weights file.
        path: PathBuf,
        /// Every mismatch, one to a line.
        reason: String,
    },

    /// An input has the wrong shape.
    #[error("{what}: expected {expected}, got {found:?}")]
    Shape {
        /// Which input.
        what: &'static str,
        /// The rule that it breaks.
        expected: String,
        /// Its shape.
        found: Vec<usize>,
    },

    /// A card failed.
    #[error(transparent)]
    Card(#[from] peel_kernels::Error),

    /// The model is of a kind that runs on the CPU only.
    #[error("{0} does not run on a card; use --device cpu")]
    NotOnCard(&'static str),

    /// The progress callback asked to stop.
    #[error("cancelled")]
    Cancelled,
}

impl Error {
    /// Attaches a path to an I/O error.
    pub(crate) fn file(path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { path, source }
    }
}
