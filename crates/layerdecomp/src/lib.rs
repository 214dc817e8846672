//! LayerDecomp: a diffusion transformer that splits a picture into background and foreground.

mod config;
mod dit;
mod embed;
mod error;
mod fill;
mod layers;
mod model;
mod noise;
mod ops;
mod pixels;
mod sampler;
mod tokenizer;
mod weights;

pub use config::{Config, FORMAT, SMALL, TINY, TokenizerConfig};
pub use error::{Error, Result};
pub use fill::push_pull;
pub use model::{Conditioned, Conditions, Model, Noisy, Prediction};
pub use noise::{Noise, philox};
pub use sampler::{Sampler, Sampling};
pub use weights::{named, names, save, save_config, seeded_builder};
