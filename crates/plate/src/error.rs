//! What can go wrong between plate and model.

use peel_image::Rect;

/// This crate's result.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a plate could not be peeled.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A matte was made for another frame size.
    #[error(
        "the matte is made for a frame of {matte}, the plate for one of {plate}: give both the same size"
    )]
    SizeMismatch {
        /// The plate's display window.
        plate: Rect,
        /// The matte's display window.
        matte: Rect,
    },
    /// An option lies outside its range.
    #[error("{option} is {value}, but must be {expected}")]
    Option {
        /// The option's name.
        option: &'static str,
        /// What was asked for.
        value: f32,
        /// The range.
        expected: &'static str,
    },
    /// The model could not be run.
    #[error("the model failed: {0}")]
    Model(String),
    /// The model answered with a picture of another size.
    #[error("the model was given {wanted:?} pixels (width, height) and answered with {got:?}")]
    Prediction {
        /// Width and height asked for.
        wanted: (usize, usize),
        /// Width and height returned.
        got: (usize, usize),
    },
    /// The caller's progress function asked to stop.
    #[error("cancelled")]
    Cancelled,
}
