//! The same shot gives the same background on every frame.
//!
//! A frame of a sequence is not alone: what it hides, another frame may show. So, before anything is made up, real
//! pixels are looked for:
//!
//! 1. [`visibility`] says where a frame shows the background: outside the grown masks, and outside everything that a
//!    decomposition of that frame on its own has found an effect in.
//! 2. [`register`] finds the camera's motion between two frames on what both show ([`Homography`]).
//! 3. [`RealPixels`] looks at each neighbour through that motion, relights what it sees ([`relight`]), and trusts a pixel
//!    where most of the frames that show it agree.
//! 4. What no frame shows comes from the background of a key frame, seen through the same motion: the key frame is as one
//!    more neighbour that shows everything, after all others.
//!
//! Key frames are fixed frame numbers, so that a frame's pixels depend on the shot and not on which frames were rendered
//! before. Nothing is averaged over frames, since averaging would take the grain away: each pixel comes from one frame,
//! of those that are trusted the nearest one in which no object or effect is near it ([`clear`]), with soft borders between them.

mod blend;
mod clear;
mod descent;
mod homography;
mod register;
mod relight;
mod sample;
mod seen;
mod visible;

pub use blend::Taken;
pub use homography::Homography;
pub use register::register;
pub use sample::seen_from;
pub use seen::{KeyFrame, RealPixels};
pub use visible::{SeenMask, reach, visibility};
