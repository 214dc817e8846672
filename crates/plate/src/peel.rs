//! Removing one object from a plate.

use peel_image::{Layer, Matte, Rect};

use crate::crop::{self, Crop};
use crate::solver::{self, Active, Object, Painted};
use crate::{Decomposer, Error, Light, Options, Report, Result, region};

/// The most crops that one matte is divided into.
pub(crate) const MOST_CROPS: usize = 8;

/// Plate and object apart.
#[derive(Clone, Debug)]
pub struct Step {
    /// The plate without the object and its effects: bit-identical to it where the foreground is nothing.
    pub background: Layer,
    /// The object with its effects; its data window is tight.
    pub foreground: Layer,
    /// What happened.
    pub report: Report,
}

/// Removes one masked object: the plate is `foreground` over `background`, exactly, after rounding to half.
///
/// Both layers are premultiplied and scene-linear, as the plate is, in its windows. Where the foreground has any effect, both
/// layers hold halves; everywhere else the foreground is zero and the background has the plate's bits.
///
/// * A matte that is empty within the plate: the background is the plate, the foreground has an empty
///   window, and the model is not run.
/// * A matte that covers everything: the foreground is the whole plate, the background the model's picture alone, since
///   nothing of the true one is seen.
/// * NaN in the matte counts as 0, in the plate as a pixel that stays where it is; so does what half cannot hold.
/// * A plate with alpha shares it out: an object of coverage `m` takes `m` of a pixel's alpha, the background keeps the rest.
/// * Islands of the matte that are far apart are peeled in crops of their own.
///
/// `progress` gets the part done, 0 to 1; returning `false` cancels.
pub fn peel_one(
    plate: &Layer,
    mask: &Matte,
    model: &dyn Decomposer,
    options: &Options,
    progress: &dyn Fn(f32) -> bool,
) -> Result<Step> {
    peel_near(plate, mask, None, model, options, progress)
}

/// As [`peel_one`], the model's sampling started from a background that is known, such as a neighbouring frame's, seen through the
/// camera's motion; it has the plate's frame.
pub fn peel_near(
    plate: &Layer,
    mask: &Matte,
    near: Option<&Layer>,
    model: &dyn Decomposer,
    options: &Options,
    progress: &dyn Fn(f32) -> bool,
) -> Result<Step> {
    options.check()?;
    if plate.display() != mask.display() {
        return Err(Error::SizeMismatch {
            plate: plate.display(),
            matte: mask.display(),
        });
    }
    let islands = region::islands(mask, plate.data());
    let mut report = Report::new(options.light.unwrap_or_default());
    report.matte_nan = mask.values().iter().filter(|v| v.is_nan()).count() as u64;
    if islands.is_empty() {
        let foreground = Layer::new(plate.display(), Rect::EMPTY).with_pixel_aspect(plate.pixel_aspect());
        return Ok(Step {
            background: plate.clone(),
            foreground,
            report,
        });
    }
    report.light = options.light.unwrap_or_else(|| Light::of_plate(plate));
    let table = report.light.table();
    let reach = |island: Rect| crop::context(island, options.margin);
    let islands = region::join(islands, MOST_CROPS, reach);
    let size = options.working_size.unwrap_or_else(|| model.working_size());
    let crops: Vec<Crop> = islands
        .iter()
        .map(|&island| Crop::around(island, plate.data(), options.margin, size))
        .collect();

    let card = model.card();
    let own = |island: Rect| {
        if crops.len() == 1 {
            plate.data()
        } else {
            island.grow(reach(island))
        }
    };
    // What has the model's size is kept for all crops at once, so that they can share a batch; what has the plate's size is not.
    let mut cut = Vec::with_capacity(crops.len());
    for (crop, &island) in crops.iter().zip(&islands) {
        if !progress(0.0) {
            return Err(Error::Cancelled);
        }
        // The plate itself, not what an earlier crop made of it: the object of each crop is seen as it is.
        let shown = match card {
            Some(card) => card.show(plate, crop, report.light)?,
            None => None,
        };
        let view = match &shown {
            Some(shown) => crop.view_of(&shown.sums),
            None => crop.view(plate, &table),
        };
        cut.push((view, crop.mask(mask, plate.data(), own(island)), shown));
    }
    let pictures: Vec<_> = cut.iter().map(|(view, mask, _)| (&view.picture, mask)).collect();
    let near: Vec<_> = near
        .iter()
        .flat_map(|near| crops.iter().map(|crop| crop.view(near, &table).picture))
        .collect();
    let answers = model.decompose_near(&pictures, &near, &options.sampling(), &|part| {
        progress(0.9 * part)
    })?;
    let mut background = plate.clone();
    let mut foreground = Layer::new(plate.display(), Rect::EMPTY).with_pixel_aspect(plate.pixel_aspect());
    let (mut squares, mut count) = (0.0, 0);
    let mut painted = Painted::default();
    for (((crop, &island), (view, small, shown)), raw) in crops.iter().zip(&islands).zip(cut).zip(answers) {
        if !progress(0.9) {
            return Err(Error::Cancelled);
        }
        let reach = Object::reach(crop, options).ceil() as usize + 1;
        let matte = crop.matte(mask, plate.data(), own(island), island, reach);
        let solution = solver::solve(crop, &view, matte, &small, raw, report.light, options)?;
        let layers = match &shown {
            Some(shown) => shown.paint(crop, &solution, report.light, options)?,
            None => None,
        };
        if card.is_some() && layers.is_none() {
            let size = crop.inner;
            report.remarks.push(format!(
                "the card has no room for {size} of the plate; the processor painted it"
            ));
        }
        painted = painted.with(solver::odd_pixels(crop, &view, plate));
        painted = painted.with(match layers {
            Some(layers) => {
                grow(&mut foreground, crop.inner);
                solver::place(crop, &layers, &mut background, &mut foreground)
            }
            None => {
                let active = Active::new(crop, &solution, options);
                grow(&mut foreground, active.area);
                let light = (report.light, &table);
                let layers = (&mut background, &mut foreground);
                solver::paint((crop, &active), &solution, plate, light, options, layers)
            }
        });
        squares += solution.residual.0;
        count += solution.residual.1;
        report.model_non_finite += solution.non_finite;
        report.reach = report.reach.max(solution.object.reach);
    }
    report.affected = painted.affected;
    report.recomposition_max = painted.recomposition_max;
    report.non_finite = painted.non_finite;
    report.beyond_half = painted.beyond_half;
    report.remarks.extend(model.remarks());
    report.crop = crops.iter().fold(Rect::EMPTY, |all, crop| all.union(crop.inner));
    report.crops = crops.len();
    report.raw_model_psnr = (-10.0 * (squares / count.max(1) as f64).log10()) as f32;
    if foreground.data() != painted.window {
        foreground = foreground.crop(painted.window);
    }
    if !progress(1.0) {
        return Err(Error::Cancelled);
    }
    Ok(Step {
        background,
        foreground,
        report,
    })
}

/// Makes room in a layer for `area`.
fn grow(layer: &mut Layer, area: Rect) {
    if !layer.data().encloses(area) {
        *layer = layer.crop(layer.data().union(area));
    }
}
