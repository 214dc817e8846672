//! LayerDecomp: a diffusion transformer that splits a picture into a clean background and a foreground with its shadow
//! and reflection in the alpha channel (after arXiv 2411.17864). Tensors in, tensors out: no files but weights, no graph.
//!
//! ```text
//!  plate, mask ──► stem ──► plate + mask tokens ──► condition pass of each block ──► keys and values (once a plate)
//!                   │ skips                                                               │
//!  noisy background ──► patches ─┐                                                        ▼
//!  noisy foreground ──► patches ─┴─► noisy tokens ──────► blocks, modulated by time ──► head ──► background, RGBA foreground
//! ```
//!
//! - [`Model`] is the network; [`Model::sample`] draws layers, [`Model::predict`] is one differentiable call for training,
//!   [`Model::condition`] and [`Model::denoise`] are its two halves.
//! - The network predicts clean layers `x` from `z = s x + (1 - s) noise` at time `s` (or another quantity over another path:
//!   [`Diffusion`]); [`Sampler`] says how to walk from 0 to 1. The background is predicted as a difference from the plate with its hole filled ([`push_pull`]), the foreground
//!   as one from the masked plate: an untrained model already gives those.
//! - [`Config`] is `config.ron`. Presets: [`SMALL`] (4.0 M parameters, for many hours of training) and [`TINY`] (1.8 M, about
//!   half the time a step); what ships says so in its own `config.ron`.
//!   [`PUBLISHED`] is the paper's scale: latents of two autoencoders ([`Vae`]), ε, DDIM with 50 steps. [`info`] says what a
//!   configuration costs.
//! - A weights folder holds `config.ron`, `names.txt`, `model.safetensors` and its `digest`; a tensor's name is its field path.
//!   [`weights`] lists, verifies and converts it.
//!
//! ```no_run
//! # fn main() -> peel_layerdecomp::Result<()> {
//! use candle_core::{Device, Tensor};
//! use peel_layerdecomp::{Conditions, Model, Sampling};
//!
//! let model = Model::load("weights/layerdecomp-s".as_ref(), &Device::Cpu)?;
//! let plate = Tensor::full(0.5f32, (1, 3, 128, 192), &Device::Cpu)?;
//! let mask = Tensor::zeros((1, 1, 128, 192), plate.dtype(), &Device::Cpu)?;
//! let layers = model.sample(&Conditions { plate, mask }, &Sampling::default(), &|_, _| true)?;
//! assert_eq!(layers.foreground.dims(), [1, 4, 128, 192]);
//! # Ok(())
//! # }
//! ```
//!
//! # Seams
//!
//! | where | now | to come |
//! |---|---|---|
//! | `tokenizer::Tokenizer` | pixels: stem, patches, head with skips; latents of an RGB and an RGBA autoencoder | |
//! | `tokenizer::Streams` | four streams with type embeddings, mask folded into the plate or beside it | |
//! | `dit::Context` | condition keys and values cached, or all tokens attending to all | |
//! | `Diffusion` | x, ε, v or flow, over a straight line or a variance-preserving schedule | |
//! | `solvers::Solver` over any denoiser | DDIM, DPM-Solver++ 2M, UniPC; four spacings | |
//! | `layers::Linear` | f32; f16, bf16 and int8 stored, computed in f32 | bf16 and int8 products |
//! | [`Head`] | convolutions with skips from stem and plate, without them, or linear patches | |
//! | `pixels::Hints` | the hole filled smoothly ([`push_pull`]), by patches, too ([`patch_fill`]), or not; where the object may cast its shadow ([`cast_guesses`]) or not | |
//! | `Config::tighten` | a first call draws a loose mask tighter, or not | |
//! | `Config::refine` | alpha at 2 to 4 times the model's resolution ([`Model::refine`]), or none | |
//! | `ops` | CPU; [`CardModel`] runs the same forward pass on a card, [`CardTrainer`] the backward one as well | |
//!
//! # Repeatability
//!
//! The same input, settings and weights give the same bytes whatever the number of threads, the rest of the batch, and
//! whether the machine has AVX2, AVX-512 or neither: pieces of work depend on shapes alone, every sum has one order, all code paths
//! use fused multiply-add, and noise comes from a counter-based generator ([`Noise`]).
//!
//! # Speed
//!
//! All layers are fused operations with hand-written gradients over one micro-kernel (`ops`), which takes the widest vectors
//! that it finds; `examples/step_time.rs` measures them, `benches/against_torch.py` beside PyTorch. On one core of a Zen 5
//! server the shipped network takes 11 ms for one picture of 128 px, and 8 ms (64 px) or 31 ms (128 px) for a sample of a
//! training step. What is left beside products is memory traffic: allocators give large buffers back to the system at once and
//! fetch them again page by page, a tenth of a training step. `peel train` keeps them (`MIMALLOC_PURGE_DELAY=-1`); a program
//! over glibc's allocator should set `MALLOC_MMAP_THRESHOLD_=1000000000 MALLOC_TRIM_THRESHOLD_=4000000000
//! MALLOC_TOP_PAD_=268435456`.

mod card;
mod cast;
mod config;
mod dit;
mod embed;
mod error;
mod fill;
#[cfg(test)]
mod golden;
mod info;
mod latent;
mod layers;
mod model;
mod noise;
mod ops;
mod pair;
mod patch_fill;
mod pixels;
mod predicts;
mod refine;
mod roofline;
mod sampler;
mod schedule;
mod solvers;
mod spacing;
mod tighten;
mod tokenizer;
mod vae;
pub mod weights;

pub use card::{
    AlphaComparison, CardAutoencoder, CardEncoding, CardLearner, CardLearning, CardModel, CardQueue,
    CardRefiner, CardRefining, CardState, CardTrainer, CardTraining, Comparison, LossSums, LossTerms,
    Rebuilt, Reconstruction, Trainee, Update, train_on_cuda,
};
/// The first NVIDIA card with a model on it.
#[cfg(feature = "cuda")]
pub type CudaModel = CardModel<Cuda>;
pub use cast::{CAST_CHANNELS, cast_guesses};
pub use config::{Config, FORMAT, Head, PUBLISHED, SMALL, TINY, TokenizerConfig};
pub use embed::learning_share;
pub use error::{Error, Result};
pub use fill::push_pull;
pub use info::{ModelInfo, Tokens, Work, info};
pub use model::{Conditioned, Conditions, Model, Noisy, Prediction};
pub use noise::{Noise, philox};
pub use ops::composed::with_composed_operations;
pub use ops::orthogonal::orthogonal;
pub use pair::Pair;
pub use patch_fill::patch_fill;
#[cfg(feature = "cuda")]
pub use peel_kernels::Cuda;
pub use peel_kernels::Error as CardError;
pub use predicts::{Diffusion, Predicts};
pub use refine::RefineConfig;
pub use roofline::{Demand, Demands, Machine, demands};
pub use sampler::{Sampler, Sampling, UnknownSampler};
pub use schedule::{Levels, Path as NoisePath, Schedule};
pub use spacing::Spacing;
pub use vae::{Vae, VaeConfig, rgba_from_rgb};
pub use weights::{named, names, save, save_config, seeded_builder};
