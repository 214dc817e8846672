//! The model as the solver sees it: small display-referred pictures in, two layers out.

use peel_layerdecomp::Sampling;

use crate::{Plane, PlateCard, Result, Rgb, Rgba};

/// What a model makes of a picture and a mask; all planes have the picture's size.
#[derive(Clone, Debug)]
pub struct Prediction {
    /// The picture without the object and its effects, display-referred, 0 to 1.
    pub background: Rgb,
    /// The object with its effects: premultiplied display-referred RGB, then alpha, 0 to 1.
    pub foreground: Rgba,
}

/// Splits a small picture into background and foreground.
///
/// `foreground over background` should come near the picture, in display-referred values. Nothing depends on
/// it: the solver clips, repairs and reports what a model gets wrong.
pub trait Decomposer: Send + Sync {
    /// Decomposes one picture.
    ///
    /// `picture` holds display-referred RGB from 0 to 1, `mask` coverage of the object from 0 to 1; both have
    /// sides that are multiples of 16. `sampling` says how layers are drawn from the model.
    /// `progress` gets the part done, 0 to 1, and says whether to go on.
    fn decompose(
        &self,
        picture: &Rgb,
        mask: &Plane,
        sampling: &Sampling,
        progress: &dyn Fn(f32) -> bool,
    ) -> Result<Prediction>;

    /// Decomposes several pictures, which need not have the same size: the objects of a frame. On a card they share a batch.
    fn decompose_each(
        &self,
        pictures: &[(&Rgb, &Plane)],
        sampling: &Sampling,
        progress: &dyn Fn(f32) -> bool,
    ) -> Result<Vec<Prediction>> {
        let count = pictures.len() as f32;
        let one = |(i, &(picture, mask)): (usize, &(&Rgb, &Plane))| {
            self.decompose(picture, mask, sampling, &|part| {
                progress((i as f32 + part) / count)
            })
        };
        pictures.iter().enumerate().map(one).collect()
    }

    /// As [`Decomposer::decompose_each`], each started from the background that stands beside it: display-referred, of the
    /// picture's size. A model that draws nothing from noise takes no notice of it.
    fn decompose_near(
        &self,
        pictures: &[(&Rgb, &Plane)],
        near: &[Rgb],
        sampling: &Sampling,
        progress: &dyn Fn(f32) -> bool,
    ) -> Result<Vec<Prediction>> {
        let _ = near;
        self.decompose_each(pictures, sampling, progress)
    }

    /// The card that takes the plate's own pixels as well; none: the processor does.
    fn card(&self) -> Option<&PlateCard> {
        None
    }

    /// What a user should know of the device's work since this was last asked, such as that it ran out of memory.
    fn remarks(&self) -> Vec<String> {
        Vec::new()
    }

    /// Pixels on the long side of the pictures that the model was trained on.
    fn working_size(&self) -> usize;

    /// What identifies the model and its weights, for content keys and metadata.
    fn digest(&self) -> String;
}
