//! The model, and what it must beat.

use std::path::PathBuf;

use candle_core::{Device, Tensor};
use peel_layerdecomp::{Conditions, Model, Prediction, Sampler, Sampling};

use super::{Case, Method, patchmatch};
use crate::data::loader::planes;
use crate::data::mask::dilated;
use crate::data::raster::Raster;
use crate::metrics::Answer;
use crate::{Error, Result, files};

/// Cases that go through the network together.
const TOGETHER: usize = 8;

/// The plate as it is, as background.
#[derive(Debug, Clone, Copy)]
pub struct Identity;

impl Method for Identity {
    fn name(&self) -> String {
        "identity".into()
    }

    fn answer(&self, cases: &[Case]) -> Result<Vec<Answer>> {
        Ok(cases
            .iter()
            .map(|c| Answer::display(c.truth.plate.clone(), None))
            .collect())
    }
}

/// How a hole is filled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Filling {
    /// Smoothly, from coarse to fine.
    PushPull,
    /// With patches of what is around it ([`patchmatch`]).
    PatchMatch,
}

/// Classical filling of the mask, dilated by a share of the picture's width. Outside the hole the plate is the answer, to the bit.
#[derive(Debug, Clone, Copy)]
pub struct Fill {
    /// How.
    pub filling: Filling,
    /// Pixels of dilation in a picture of 128.
    pub dilate: f32,
}

impl Method for Fill {
    fn name(&self) -> String {
        let name = match self.filling {
            Filling::PushPull => "push-pull",
            Filling::PatchMatch => "PatchMatch",
        };
        format!("{name}, mask +{}", self.dilate)
    }

    fn answer(&self, cases: &[Case]) -> Result<Vec<Answer>> {
        let fill = |case: &Case| {
            let truth = &case.truth;
            let radius = self.dilate * truth.plate.width as f32 / 128.0;
            let hole = dilated(&truth.mask.map(|m| [f32::from(m[0] > 0.5)]), radius);
            let background = match self.filling {
                Filling::PushPull => patchmatch::push_pull(&truth.plate, &hole)?,
                Filling::PatchMatch => patchmatch::fill(&truth.plate, &hole)?,
            };
            Ok(Answer::display(background, None))
        };
        cases.iter().map(fill).collect()
    }
}

/// The network, without the full-resolution solver: raw layers.
#[derive(Debug, Clone, Copy)]
pub struct Network<'a> {
    /// The model.
    pub model: &'a Model,
    /// How layers are drawn.
    pub sampling: Sampling,
    /// Long side that it works at: cases are brought to it (and to multiples of the model's stride), the answer back. Without one
    /// it works at the cases' own size, which must then be a multiple of the stride.
    pub size: Option<usize>,
}

impl Method for Network<'_> {
    fn name(&self) -> String {
        match self.sampling.sampler {
            Sampler::OneCall => "network, one call".into(),
            sampler => format!("network, {sampler} {}", self.sampling.steps),
        }
    }

    fn answer(&self, cases: &[Case]) -> Result<Vec<Answer>> {
        let own_size = |c: &Case| (c.truth.plate.width, c.truth.plate.height);
        let mut answers = Vec::with_capacity(cases.len());
        for equal in cases.chunk_by(|a, b| own_size(a) == own_size(b)) {
            for together in equal.chunks(TOGETHER) {
                answers.extend(self.answer_together(together)?);
            }
        }
        Ok(answers)
    }

    fn spread(&self, case: &Case) -> Result<Option<f32>> {
        let conditions = self.conditions(std::slice::from_ref(case))?;
        Ok(Some(self.model.spread(&conditions)?))
    }
}

impl Network<'_> {
    fn working_size(&self, width: usize, height: usize) -> (usize, usize) {
        let Some(size) = self.size else {
            return (width, height);
        };
        let stride = self.model.config().stride();
        let scale = size as f64 / width.max(height) as f64;
        let side = |n: usize| ((n as f64 * scale / stride as f64).round() as usize).max(1) * stride;
        (side(width), side(height))
    }

    /// Cases of one size as the model is shown them.
    fn conditions(&self, cases: &[Case]) -> Result<Conditions> {
        let (width, height) = (cases[0].truth.plate.width, cases[0].truth.plate.height);
        let (w, h) = self.working_size(width, height);
        let small = |c: &Case| {
            (
                c.truth.plate.resized(w, h),
                c.truth.mask.resized(w, h).map(|m| [m[0].clamp(0.0, 1.0)]),
            )
        };
        let (plates, masks): (Vec<_>, Vec<_>) = cases.iter().map(small).unzip();
        Ok(Conditions {
            plate: tensor(&plates)?,
            mask: tensor(&masks)?,
        })
    }

    fn answer_together(&self, cases: &[Case]) -> Result<Vec<Answer>> {
        let (width, height) = (cases[0].truth.plate.width, cases[0].truth.plate.height);
        let conditions = self.conditions(cases)?;
        let out = self.model.sample(&conditions, &self.sampling, &|_, _| true)?;
        let layers = rasters::<4>(&out.foreground)?;
        let backgrounds = rasters::<3>(&out.background)?;
        Ok(std::iter::zip(backgrounds, layers)
            .map(|(background, layer)| {
                Answer::display(
                    background.resized(width, height),
                    Some(layer.resized(width, height)),
                )
            })
            .collect())
    }
}

/// Layers of a picture of the refiner's size, at the network's own: it is shown the means over `scale` x `scale` pixels. Nothing of it
/// can be differentiated.
///
/// # Errors
/// If the model has no refiner, or sides are not multiples of stride and scale.
pub(crate) fn at_own_size(model: &Model, fine: &Conditions, sampling: &Sampling) -> Result<Prediction> {
    let scale = model.refines().unwrap_or(1);
    let conditions = Conditions {
        plate: fine.plate.avg_pool2d(scale)?,
        mask: fine.mask.avg_pool2d(scale)?,
    };
    let said = model.sample(&conditions, sampling, &|_, _| true)?;
    Ok(Prediction {
        background: said.background.detach(),
        foreground: said.foreground.detach(),
    })
}

/// The network at a part of the cases' size, and its refiner's alpha over what it said. Colours are the network's.
#[derive(Debug, Clone, Copy)]
pub struct Refined<'a> {
    /// The model.
    pub model: &'a Model,
    /// How the network's layers are drawn.
    pub sampling: Sampling,
}

impl Method for Refined<'_> {
    fn name(&self) -> String {
        format!("refined, {} {}", self.sampling.sampler, self.sampling.calls())
    }

    fn answer(&self, cases: &[Case]) -> Result<Vec<Answer>> {
        let mut answers = Vec::with_capacity(cases.len());
        for case in cases {
            let (width, height) = (case.truth.plate.width, case.truth.plate.height);
            let fine = Conditions {
                plate: tensor(std::slice::from_ref(&case.truth.plate))?,
                mask: tensor(std::slice::from_ref(&case.truth.mask))?,
            };
            let said = at_own_size(self.model, &fine, &self.sampling)?;
            let alpha = self.model.refine(&fine, &said)?.clamp(0f32, 1f32)?;
            let (backgrounds, layers) = (rasters::<3>(&said.background)?, rasters::<4>(&said.foreground)?);
            for ((background, layer), alpha) in backgrounds.iter().zip(&layers).zip(rasters::<1>(&alpha)?) {
                let layer = layer.resized(width, height);
                let layer = layer.zip(&alpha, |l, a| [l[0], l[1], l[2], a[0]]);
                answers.push(Answer::display(background.resized(width, height), Some(layer)));
            }
        }
        Ok(answers)
    }
}

/// Backgrounds that another program made, one file a case: `DIR/NAME.exr` (its layer `background`, scene-linear) or
/// `DIR/NAME.png`.
#[derive(Debug, Clone)]
pub struct Files {
    /// Name in tables.
    pub name: String,
    /// Where they are.
    pub dir: PathBuf,
}

impl Method for Files {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn answer(&self, cases: &[Case]) -> Result<Vec<Answer>> {
        cases
            .iter()
            .map(|case| {
                let exr = self.dir.join(format!("{}.exr", case.name));
                let path = if exr.exists() {
                    exr
                } else {
                    exr.with_extension("png")
                };
                let background = files::read_opaque(&path)?;
                files::same_size(&path, &background, &case.truth.plate)?;
                Ok(Answer::display(background, None))
            })
            .collect()
    }
}

/// Pictures of one size as `(N, C, H, W)`.
pub(crate) fn tensor<const C: usize>(pictures: &[Raster<C>]) -> Result<Tensor> {
    let (width, height) = pictures.first().map_or((0, 0), |p| (p.width, p.height));
    if pictures.iter().any(|p| (p.width, p.height) != (width, height)) {
        return Err(Error::Evaluation("the cases of a set must have one size".into()));
    }
    let mut values = Vec::with_capacity(pictures.len() * C * width * height);
    for picture in pictures {
        planes(&picture.pixels, &mut values);
    }
    Ok(Tensor::from_vec(
        values,
        (pictures.len(), C, height, width),
        &Device::Cpu,
    )?)
}

/// The pictures of a `(N, C, H, W)` tensor.
pub(crate) fn rasters<const C: usize>(tensor: &Tensor) -> Result<Vec<Raster<C>>> {
    let (count, _, height, width) = tensor.dims4()?;
    let values = tensor.flatten_all()?.to_vec1::<f32>()?;
    let plane = width * height;
    let picture = |n: usize| {
        let pixels = (0..plane)
            .map(|i| std::array::from_fn(|c| values[(n * C + c) * plane + i]))
            .collect();
        Raster {
            width,
            height,
            pixels,
        }
    };
    Ok((0..count).map(picture).collect())
}
