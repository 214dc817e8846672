//! Where and how far a decomposition is off.
//!
//! [`Regions`] says what is measured apart. PSNR pools the squared error over all pixels and channels of all cases (peak 1), as one long
//! picture; so do SSIM, alpha errors and flicker with theirs. A few cases that went wrong weigh most in it. Papers mostly print the mean of
//! the cases' own PSNR, in which a case that went right counts as much as one that went wrong; it stands beside. Everything is
//! display-referred, clipped to 0..1.

mod flicker;
mod moved;
mod regions;
mod ssim;
mod text;

pub use flicker::{Flicker, frame_of};
pub use moved::Move;
pub use regions::Regions;
pub use ssim::ssim;
pub use text::{HEADINGS, heading, row};

use peel_image::ColourSpace;
use serde::{Deserialize, Serialize};

use crate::data::raster::Raster;
use crate::eval::Case;

/// Seed of the sizes of the move-and-resize test.
const MOVE_SEED: u64 = 1;

/// In which light a layer lies over its background.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compositing {
    /// `F + (1 - a) B` of display-referred (sRGB) values, as the network and 8-bit layers have it.
    Display,
    /// The same of scene-linear values, as compositors and EXR files have it.
    Linear,
}

impl Compositing {
    /// The layer, in this light, over a display-referred background; display-referred.
    #[must_use]
    pub fn lay(self, layer: &Raster<4>, background: &Raster<3>) -> Raster<3> {
        match self {
            Self::Display => layer.over_picture(background),
            Self::Linear => to_display(&layer.over_picture(&to_linear(background))),
        }
    }

    /// The layer as it lies in display-referred light, so that layers of both kinds compare.
    ///
    /// What multiplies linear light by `t` multiplies display values by the encoding of `t` (exactly so for a power law), so alpha
    /// becomes `1 - encode(1 - a)`; colour is what then lays back to the same picture.
    #[must_use]
    pub fn as_display(self, layer: &Raster<4>, background: &Raster<3>) -> Raster<4> {
        match self {
            Self::Display => layer.clone(),
            Self::Linear => {
                let picture = self.lay(layer, background);
                let encode = ColourSpace::LinearRec709.to(ColourSpace::Srgb);
                let mut out = layer.clone();
                for (i, out) in out.pixels.iter_mut().enumerate() {
                    let [t, ..] = encode.apply([1.0 - out[3]; 3]);
                    let (laid, below) = (&picture.pixels[i], &background.pixels[i]);
                    *out = [
                        laid[0] - t * below[0],
                        laid[1] - t * below[1],
                        laid[2] - t * below[2],
                        1.0 - t,
                    ];
                }
                out
            }
        }
    }
}

/// Display-referred sRGB to scene-linear light.
#[must_use]
pub fn to_linear(picture: &Raster<3>) -> Raster<3> {
    let decode = ColourSpace::Srgb.to(ColourSpace::LinearRec709);
    picture.map(|p| decode.apply(*p))
}

/// Scene-linear light to display-referred sRGB.
#[must_use]
pub fn to_display(picture: &Raster<3>) -> Raster<3> {
    let encode = ColourSpace::LinearRec709.to(ColourSpace::Srgb);
    picture.map(|p| encode.apply(*p))
}

/// A decomposition to be measured: background, and the premultiplied layer where the method makes one.
#[derive(Debug, Clone)]
pub struct Answer {
    /// Background, display-referred.
    pub background: Raster<3>,
    /// Layer, in the light of `compositing`.
    pub foreground: Option<Raster<4>>,
    /// How the two lie over each other.
    pub compositing: Compositing,
    /// Largest difference of plate and layers laid together, all in half, where the method promises that there is none.
    pub exact: Option<f32>,
}

impl Answer {
    /// An answer in display-referred light.
    #[must_use]
    pub fn display(background: Raster<3>, foreground: Option<Raster<4>>) -> Self {
        Self {
            background,
            foreground,
            compositing: Compositing::Display,
            exact: None,
        }
    }

    /// The layer in display-referred light.
    #[must_use]
    pub fn display_layer(&self) -> Option<Raster<4>> {
        let layer = self.foreground.as_ref()?;
        Some(self.compositing.as_display(layer, &self.background))
    }
}

/// Squared error and how many values it was summed over.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Error2 {
    sum: f64,
    count: f64,
}

impl Error2 {
    fn add(&mut self, a: &[f32; 3], b: &[f32; 3]) {
        for (a, b) in a.iter().zip(b) {
            self.sum += f64::from(a.clamp(0.0, 1.0) - b.clamp(0.0, 1.0)).powi(2);
        }
        self.count += 3.0;
    }

    fn pool(&mut self, other: &Self) {
        self.sum += other.sum;
        self.count += other.count;
    }

    /// Peak signal-to-noise ratio in dB, at most 120; `None` without pixels.
    #[must_use]
    pub fn psnr(&self) -> Option<f64> {
        (self.count > 0.0).then(|| -10.0 * (self.sum / self.count).max(1e-12).log10())
    }
}

#[derive(Debug, Clone, Copy, Default)]
struct Mean {
    sum: f64,
    count: f64,
}

impl Mean {
    fn add(&mut self, value: f64) {
        self.sum += value;
        self.count += 1.0;
    }

    fn get(self) -> Option<f64> {
        (self.count > 0.0).then(|| self.sum / self.count)
    }
}

/// One value a region: the whole picture, object, effect, both, outside.
#[derive(Debug, Clone, Copy, Default)]
struct ByRegion<T>([T; 5]);

impl<T> ByRegion<T> {
    /// Hands the parts that pixel `i` belongs to to `add`.
    fn at(&mut self, regions: &Regions, i: usize, mut add: impl FnMut(&mut T)) {
        let belongs = [
            regions.known[i],
            regions.object[i],
            regions.effect[i],
            regions.both(i),
            regions.outside[i],
        ];
        self.0
            .iter_mut()
            .zip(belongs)
            .filter(|(_, belongs)| *belongs)
            .for_each(|(part, _)| add(part));
    }
}

/// Sums over the cases seen so far.
#[derive(Debug, Clone, Default)]
pub struct Tally {
    background: ByRegion<Error2>,
    /// PSNR of each case.
    by_case: ByRegion<Mean>,
    similarity: ByRegion<Mean>,
    alpha: ByRegion<Mean>,
    recomposition: Error2,
    exact: Option<f32>,
    moved: Error2,
    flicker: Flicker,
}

/// A row of a table. PSNR in dB, alpha errors as mean absolute differences; `None` where there was nothing to measure.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Scores {
    /// Background, whole picture.
    pub whole: Option<f64>,
    /// Background, inside the object.
    pub object: Option<f64>,
    /// Background, in shadow and reflection.
    pub effect: Option<f64>,
    /// Background, in object and effect together.
    pub both: Option<f64>,
    /// Background, where nothing should change.
    pub outside: Option<f64>,
    /// Mean of the cases' own PSNR of the background, inside the object, over the cases that have one.
    #[serde(default)]
    pub object_by_case: Option<f64>,
    /// The same in shadow and reflection.
    #[serde(default)]
    pub effect_by_case: Option<f64>,
    /// The same in object and effect together.
    #[serde(default)]
    pub both_by_case: Option<f64>,
    /// Layer over background against the plate.
    pub recomposition: Option<f64>,
    /// The same as the largest difference in half, where the method promises exactness: 0.
    pub exact: Option<f64>,
    /// Alpha, whole picture.
    pub alpha: Option<f64>,
    /// Alpha, in shadow and reflection.
    pub alpha_effect: Option<f64>,
    /// Alpha, where there should be none: false alpha.
    pub alpha_outside: Option<f64>,
    /// SSIM of the background, whole picture.
    pub ssim_whole: Option<f64>,
    /// SSIM of the background, inside the object.
    pub ssim_object: Option<f64>,
    /// SSIM of the background, in shadow and reflection.
    pub ssim_effect: Option<f64>,
    /// SSIM of the background, in object and effect together.
    pub ssim_both: Option<f64>,
    /// SSIM of the background, where nothing should change.
    pub ssim_outside: Option<f64>,
    /// The layer moved and resized over the background, against the same of the true ones ([`Move`]).
    pub moved: Option<f64>,
    /// Flicker in 8-bit levels ([`Flicker`]).
    pub flicker: Option<f64>,
    /// How much the true backgrounds change between neighbouring frames, in 8-bit levels.
    pub moving: Option<f64>,
    /// ST-LPIPS of the background, mean over the cases ([`StLpips`](crate::perceptual::StLpips)).
    pub st_lpips: Option<f64>,
    /// ST-LPIPS Fréchet distance of found and true backgrounds.
    pub frechet: Option<f64>,
}

impl Tally {
    /// Adds a case.
    pub fn add(&mut self, case: &Case, regions: &Regions, answer: &Answer) {
        let truth = &case.truth;
        let similarity = ssim(&answer.background, &truth.background);
        let layers = truth.has_foreground.then(|| answer.display_layer()).flatten();
        let laid = answer
            .foreground
            .as_ref()
            .map(|f| answer.compositing.lay(f, &answer.background));
        let mut background = ByRegion::<Error2>::default();
        for (i, similar) in similarity.iter().enumerate() {
            let (is, should) = (&answer.background.pixels[i], &truth.background.pixels[i]);
            background.at(regions, i, |e| e.add(is, should));
            self.similarity.at(regions, i, |m| m.add(f64::from(*similar)));
            if let Some(layer) = &layers {
                let error = (layer.pixels[i][3] - truth.foreground.pixels[i][3]).abs();
                self.alpha.at(regions, i, |m| m.add(f64::from(error)));
            }
            if let Some(laid) = &laid {
                self.recomposition.add(&laid.pixels[i], &truth.plate.pixels[i]);
            }
        }
        for (region, error) in background.0.iter().enumerate() {
            self.background.0[region].pool(error);
            if let Some(psnr) = error.psnr() {
                self.by_case.0[region].add(psnr);
            }
        }
        if let Some((found, should)) = Move::of(case, MOVE_SEED).and_then(|m| m.pictures(case, answer)) {
            std::iter::zip(&found.pixels, &should.pixels).for_each(|(a, b)| self.moved.add(a, b));
        }
        self.exact = match (self.exact, answer.exact) {
            (Some(a), Some(b)) => Some(a.max(b)),
            (a, b) => a.or(b),
        };
        self.flicker
            .add(&case.name, &truth.background, &answer.background, regions);
    }

    /// The scores over all cases, without the perceptual ones.
    #[must_use]
    pub fn scores(&self) -> Scores {
        let [whole, object, effect, both, outside] = self.background.0.map(|e| e.psnr());
        let [_, object_by_case, effect_by_case, both_by_case, _] = self.by_case.0.map(Mean::get);
        let [ssim_whole, ssim_object, ssim_effect, ssim_both, ssim_outside] =
            self.similarity.0.map(Mean::get);
        let [alpha, _, alpha_effect, _, alpha_outside] = self.alpha.0.map(Mean::get);
        let (flicker, moving) = self.flicker.scores();
        Scores {
            whole,
            object,
            effect,
            both,
            outside,
            object_by_case,
            effect_by_case,
            both_by_case,
            recomposition: self.recomposition.psnr(),
            exact: self.exact.map(f64::from),
            alpha,
            alpha_effect,
            alpha_outside,
            ssim_whole,
            ssim_object,
            ssim_effect,
            ssim_both,
            ssim_outside,
            moved: self.moved.psnr(),
            flicker,
            moving,
            st_lpips: None,
            frechet: None,
        }
    }
}

/// A black object in columns 0-3 with an effect of alpha .5 in columns 4-8, over grey, 16 pixels on a side.
#[cfg(test)]
pub(crate) fn test_case() -> Case {
    use crate::data::Sample;
    let size = 16;
    let object = Raster::from_fn(size, size, |x, _| [f32::from(x < 4)]);
    let alpha = |x: usize| match x {
        0..4 => 1.0,
        4..9 => 0.5,
        _ => 0.0,
    };
    let foreground = Raster::from_fn(size, size, |x, _| [0.0, 0.0, 0.0, alpha(x)]);
    let background = Raster::filled(size, size, [0.5; 3]);
    Case::new(
        "case",
        Sample {
            plate: foreground.over_picture(&background),
            mask: object.clone(),
            background,
            foreground,
            object,
            has_foreground: true,
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_region_takes_its_own_errors() {
        let case = test_case();
        // Off by .1 in the object, .01 in the effect, nothing outside.
        let wrong = Raster::from_fn(16, 16, |x, _| match x {
            0..4 => [0.6; 3],
            4..9 => [0.51; 3],
            _ => [0.5; 3],
        });
        let answer = Answer::display(wrong, Some(case.truth.foreground.clone()));
        let mut tally = Tally::default();
        tally.add(&case, &Regions::of(&case), &answer);
        let scores = tally.scores();
        assert!((scores.object.unwrap() - 20.0).abs() < 1e-3);
        assert!((scores.effect.unwrap() - 40.0).abs() < 1e-2);
        assert!(scores.outside.unwrap() > 100.0);
        assert_eq!(scores.alpha, Some(0.0));
        assert_eq!(scores.alpha_outside, Some(0.0));
        assert_eq!((scores.exact, scores.flicker), (None, None));
        assert!(scores.ssim_outside > scores.ssim_object);
        assert!(scores.moved.unwrap() < 60.0);
    }

    #[test]
    fn cases_pool_their_errors_and_average_their_own_figures() {
        let case = test_case();
        let off = |by: f32| Answer::display(case.truth.background.map(|p| p.map(|v| v + by)), None);
        let mut tally = Tally::default();
        tally.add(&case, &Regions::of(&case), &off(0.1));
        tally.add(&case, &Regions::of(&case), &off(0.001));
        let scores = tally.scores();
        assert!((scores.effect.unwrap() - 23.01).abs() < 0.01);
        assert!((scores.effect_by_case.unwrap() - 40.0).abs() < 0.01);
        assert!((scores.both_by_case.unwrap() - scores.object_by_case.unwrap()).abs() < 0.01);
    }

    #[test]
    fn a_linear_shadow_is_a_display_shadow() {
        let background = Raster::from_fn(8, 1, |x, _| [0.2 + 0.1 * x as f32; 3]);
        let shadow = Raster::filled(8, 1, [0.0, 0.0, 0.0, 0.6]);
        let display = Compositing::Linear.as_display(&shadow, &background);
        let laid = Compositing::Display.lay(&display, &background);
        let should = Compositing::Linear.lay(&shadow, &background);
        for (a, b) in laid.pixels.iter().zip(&should.pixels) {
            assert!((a[0] - b[0]).abs() < 1e-5);
        }
        // Nearly no light of its own: the encoding is close to a power law.
        assert!(
            display
                .pixels
                .iter()
                .all(|p| p[0].abs() < 0.04 && (p[3] - 0.335).abs() < 0.01),
            "{display:?}"
        );
        let opaque = Raster::filled(8, 1, [0.3, 0.2, 0.1, 1.0]);
        assert!(
            Compositing::Linear
                .as_display(&opaque, &background)
                .pixels
                .iter()
                .all(|p| p[3] == 1.0)
        );
    }
}
