//! Peel's files: pictures in and out, frame ranges and file patterns, writes that appear whole or not at all.
//!
//! The only crate that names `exr` and `image`. It knows nothing of graphs. Pixels come out premultiplied and in
//! the working space; what a file claims is checked against a [`Budget`] before memory is asked for.

mod atomic;
mod attribute;
mod bands;
mod budget;
mod error;
mod info;
mod layers;
mod openexr;
mod picture;
mod place;
mod raster;
mod rows;
mod write;

pub mod frames;

pub use atomic::{AtomicWriter, meant_by, sweep, temporary, write_atomically};
pub use attribute::Attribute;
pub use bands::{Bands, Shape, write_exr_in_bands};
pub use budget::Budget;
pub use error::{Error, Result};
pub use frames::{FramePattern, FrameRange};
pub use info::{Channel, Format, Info, PartInfo, SampleType, Storage};
pub use openexr::Compression;
pub use picture::{Picture, ReadOptions, Selection, probe, read, read_channel};
pub use raster::Depth;
pub use rows::Rows;
pub use write::{
    JpegOptions, Layout, OutputLayer, PixelType, PngOptions, WriteOptions, write_exr, write_jpeg, write_png,
    write_stack,
};
