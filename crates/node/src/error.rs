//! Why a node could not do its work. The engine adds node, frame and place in the graph file.

/// A node's result.
pub type Result<T> = std::result::Result<T, Error>;

/// Why a node could not do its work.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// A file could not be read or written.
    #[error(transparent)]
    Io(#[from] std::sync::Arc<peel_io::Error>),
    /// Anything else: what is wrong, and what to do about it.
    #[error("{0}")]
    Message(String),
    /// The user, or a newer version of the graph, asked to stop.
    #[error("cancelled")]
    Cancelled,
    /// An input failed; its own error has been reported where it arose.
    #[error("{0}")]
    Upstream(std::sync::Arc<dyn std::error::Error + Send + Sync>),
}

impl From<peel_io::Error> for Error {
    fn from(error: peel_io::Error) -> Error {
        Error::Io(std::sync::Arc::new(error))
    }
}

impl Error {
    /// An error from a message that says what is wrong and what to do.
    pub fn message(text: impl Into<String>) -> Error {
        Error::Message(text.into())
    }
}
