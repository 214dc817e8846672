//! LayerDecomp: a diffusion transformer that splits a picture into background and foreground.

mod config;
mod error;
mod model;

pub use config::{Config, FORMAT, SMALL, TINY, TokenizerConfig};
pub use error::{Error, Result};
pub use model::{
    Conditions, Model, Noisy, Prediction, Sampler, Sampling, push_pull, save, seeded_builder,
};
