//! Training and evaluation of LayerDecomp: synthetic and rendered data, losses, trainer, metrics.
//!
//! One config, `weights/NAME/train.ron`, says everything: [`train`] runs it, a kill at any moment loses at most the time since
//! the last checkpoint, and [`eval`] measures what came out against held-out cases.
//!
//! # Tasks
//!
//! The loop is one; what a step teaches is the config's [`config::Task`]:
//!
//! | task | teaches | loss |
//! |---|---|---|
//! | `Layers` | the network: x, ε, v or flow, over pixels or over the latents of frozen autoencoders | [`loss`] |
//! | `Autoencoder(pictures: Rgb)`, then `(pictures: Rgba)` | a latent model's autoencoders, the second from the first | errors of pictures, divergence of latents |
//! | `Distil(teacher: .., steps: ..)` | the network, to say in one call what a teacher says in several | distance from the teacher, beside the true layers |
//! | `Refine(steps: ..)` | the refiner, over a network that stays as it is | errors of alpha at the finer size |
//!
//! [`train`] works where its config says; [`train_on`] on a [`Machine`] of choice. Each task's network, refiner or autoencoder can learn on a card.
//!
//! The latent model in three runs: an `rgb/train.ron` and an `rgba/train.ron` with the two autoencoders, whose `best/config.ron`
//! has the measured scale of the latents, and a `layers/train.ron` with `start: [".../rgba/best"]`. `examples/latent.rs` does just that,
//! and compares with pixels at equal CPU; [`ablation`] and its example train variants alike and print what each part is worth.

pub mod ablation;
pub mod checkpoint;
pub mod config;
pub mod curve;
pub mod data;
pub mod dataset;
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
mod grow;
mod learner;
mod log;
mod machine;
mod noising;
mod on_card;
mod principal;
mod progress;
mod refining;
mod ship;
mod start;
mod student;

pub use decomposer::running;
pub use error::{Error, Result};
pub use export::{export, measure};
pub use machine::{Machine, Opener};
pub use progress::Progress;
pub use ship::ship;
pub use trainer::{Event, Options, Summary, train, train_on};
