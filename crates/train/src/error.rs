//! What can go wrong while training and measuring.

use std::path::PathBuf;

/// Result of everything in this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error of training or evaluation.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A tensor operation failed.
    #[error(transparent)]
    Tensor(#[from] candle_core::Error),

    /// The model refused its configuration, weights or input.
    #[error(transparent)]
    Model(#[from] peel_layerdecomp::Error),

    /// A picture could not be read or written.
    #[error("{}: {reason}", path.display())]
    Picture {
        /// The file.
        path: PathBuf,
        /// What the reader or writer said.
        reason: String,
    },

    /// A file or folder could not be read or written.
    #[error("{}: {source}", path.display())]
    File {
        /// The file or folder.
        path: PathBuf,
        /// The reason the system gave.
        source: std::io::Error,
    },

    /// A file does not hold what it should.
    #[error("{}: {reason}", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },

    /// The training configuration contradicts itself.
    #[error("training configuration: {0}")]
    Config(String),

    /// Something cannot be measured as asked.
    #[error("{0}")]
    Evaluation(String),

    /// The loss stopped being a number.
    #[error("step {step}: the loss is {loss}; the last checkpoint is intact")]
    Diverged {
        /// The optimiser step.
        step: u64,
        /// Its loss.
        loss: f32,
    },

    /// A data thread ended early.
    #[error("the data threads ended before training did")]
    Data,

    /// The progress callback asked to stop; the state was saved.
    #[error("cancelled")]
    Cancelled,
}

impl Error {
    /// Attaches a path to an I/O error.
    pub(crate) fn file(path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { path, source }
    }

    /// A file whose content is not right.
    pub(crate) fn content(path: impl Into<PathBuf>, reason: impl ToString) -> Self {
        Self::Content {
            path: path.into(),
            reason: reason.to_string(),
        }
    }
}
