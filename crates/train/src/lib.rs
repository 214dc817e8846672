//! Training and evaluation of LayerDecomp: synthetic and rendered data, losses, trainer, metrics.
//!
//! One config, `weights/NAME/train.ron`, says everything: [`train`] runs it, a kill at any moment loses at most the time since
//! the last checkpoint, and [`eval`] measures what came out against held-out cases.

pub mod ablation;
pub mod checkpoint;
pub mod config;
pub mod curve;
pub mod data;
pub mod eval;
pub mod files;
pub mod loss;
pub mod metrics;
pub mod optimizer;
pub mod perceptual;
pub mod sheet;
pub mod trainer;

mod autoencoder;
mod decomposer;
mod error;
mod export;
mod learner;
mod log;
mod noising;
mod progress;
mod start;
mod student;

pub use decomposer::running;
pub use error::{Error, Result};
pub use export::{export, measure};
pub use progress::Progress;
pub use trainer::{Event, Options, Summary, train};
