//! Peel's engine: from a graph and a frame to pixels and files.
//!
//! Evaluation is by pull. A sink asks for the pictures that it writes, and each node, while it works, asks
//! for regions of its inputs. The engine stands between them:
//!
//! ```text
//! graph ─> program ─> evaluation ─┬─ origin     behind nodes that pass a picture through
//!                                 ├─ chain      motions multiplied out, so that only the last one resamples
//!                                 ├─ key        content keys: same key, same bytes
//!                                 ├─ format     windows, before pixels
//!                                 └─ pull       bands in parallel, frames once, caches in memory and on disk
//! ```
//!
//! The bytes of a result depend on the graph, the frame and the files that it reads, never on the number of
//! threads, the size of bands, what is cached, or which other frames are rendered.

mod cancel;
mod codec;
mod crew;
mod cut;
mod desk;
mod disk;
mod engine;
mod eval;
mod event;
mod explain;
mod fill;
mod flight;
mod frame;
mod lower;
mod memory;
mod pieces;
mod program;
mod regions;
mod render;
mod resources;
mod samples;
mod store;
mod sync;
mod trace;
mod weights;

#[cfg(test)]
mod tests;

pub use cancel::CancelToken;
pub use disk::{CacheEntry, CacheFolder};
pub use engine::{Engine, EngineOptions, default_cache_dir};
pub use event::{Event, Failure, Summary};
pub use explain::{Explained, SinkKeys};
pub use lower::{TargetError, ValueError};
pub use render::RenderOptions;
pub use store::{CacheStats, Hit};
pub use trace::{NodeStats, Record, Trace, Work, stats};
pub use weights::find_model;
