//! Frame numbers: ranges of them, and the files that bear them.

mod pattern;
mod range;

pub use pattern::{FramePattern, nearest_earlier};
pub use range::FrameRange;
