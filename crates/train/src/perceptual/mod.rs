//! A learned perceptual distance whose weights can be had without a web site, and a Fréchet distance over its features.
//!
//! ST-LPIPS is the shift-tolerant variant of LPIPS (Ghildyal and Liu 2022) over an AlexNet backbone; the wheel `stlpips_pytorch` 0.0.2
//! (BSD-2-Clause) carries backbone and calibration. `crates/train/scripts/stlpips.py` makes `local/perceptual/stlpips.safetensors` of it.
//! It is not LPIPS, and the Fréchet distance over its features is not FID: figures compare only with figures of the same name.

mod eigen;
mod frechet;
mod network;

pub use frechet::{Cloud, frechet};
pub use network::{Features, StLpips};
