//! Pictures with a known background: folders of triplets, and the sample shot.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use peel_image::{ColourSpace, Layer, Matte, Rect};
use peel_io::{Budget, ReadOptions};
use peel_plate::{Decomposer, Light, Plane, Prediction, Result, Rgb, Sampling};

use crate::AnyResult;

/// A picture, what it looks like without its object, and where that is.
pub struct Case {
    pub name: String,
    /// The picture with the object.
    pub plate: Arc<Layer>,
    /// The same without object and effects.
    pub clean: Arc<Layer>,
    /// The object's coverage.
    pub matte: Matte,
    /// Display-referred and premultiplied, as the model's foreground is; made up from the others where no file holds it.
    layer: Layer,
}

/// All cases of a folder: `ID_C`, `ID_B`, `ID_M` and maybe `ID_L` (true layer, straight alpha, display-referred) in any format
/// that Peel reads, or the sample shot, whose ball is taken off frame by frame, and then the bear.
pub fn load(folder: &Path) -> AnyResult<Vec<Case>> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder)?
        .filter_map(|entry| entry.ok().map(|e| e.path()))
        .collect();
    files.sort();
    let clean = folder.join("noball.1001.exr");
    let cases: AnyResult<Vec<Case>> = files
        .iter()
        .filter_map(|path| {
            let stem = path.file_stem()?.to_str()?;
            if let Some(frame) = stem.strip_prefix("plate.") {
                return Some(shot_case("ball", path, frame, &clean));
            }
            if *path == clean {
                return Some(shot_case("bear", path, "1001", &folder.join("clean.1001.exr")));
            }
            Some(triplet(path, stem.strip_suffix("_C")?))
        })
        .collect();
    let cases = cases?;
    if cases.is_empty() {
        return Err(format!("{}: no ID_C and no plate.####", folder.display()).into());
    }
    Ok(cases)
}

fn read(path: &Path, options: &ReadOptions) -> AnyResult<Arc<Layer>> {
    let picture = peel_io::read(path, options, &Budget::default())?;
    Ok(picture.into_first().ok_or("there is no picture in it")?)
}

fn triplet(plate: &Path, name: &str) -> AnyResult<Case> {
    let extension = plate.extension().unwrap_or_default().to_string_lossy();
    let part = |letter: &str| plate.with_file_name(format!("{name}_{letter}.{extension}"));
    let matte = peel_io::read_channel(&part("M"), None, &Budget::default())?;
    // Display-referred values are what the model works with: read them without taking the curve off.
    let as_stored = ReadOptions {
        source: Some(ColourSpace::LinearRec709),
        ..ReadOptions::default()
    };
    let (plate, clean) = (
        read(plate, &ReadOptions::default())?,
        read(&part("B"), &ReadOptions::default())?,
    );
    let layer = if part("L").exists() {
        read(&part("L"), &as_stored)?.as_ref().clone()
    } else {
        least_layer(&plate, &clean, &matte)
    };
    Ok(Case {
        name: name.to_owned(),
        plate,
        clean,
        matte,
        layer,
    })
}

fn shot_case(object: &str, plate: &Path, frame: &str, clean: &Path) -> AnyResult<Case> {
    let matte = plate.with_file_name(format!("matte_{object}.{frame}.exr"));
    let matte = peel_io::read_channel(&matte, Some("A"), &Budget::default())?;
    let (plate, clean) = (
        read(plate, &ReadOptions::default())?,
        read(clean, &ReadOptions::default())?,
    );
    Ok(Case {
        name: format!("{object} {frame}"),
        layer: least_layer(&plate, &clean, &matte),
        plate,
        clean,
        matte,
    })
}

/// The layer with the smallest alpha that makes `layer over clean` the plate, display-referred, at least as opaque as the matte.
fn least_layer(plate: &Layer, clean: &Layer, matte: &Matte) -> Layer {
    let light = Light::default();
    let shown = |v: f32| light.encode(v).clamp(0.0, 1.0);
    Layer::from_fn(plate.display(), plate.data(), |x, y| {
        let (seen, behind) = (plate.get(x, y), clean.get(x, y));
        let pairs: [(f32, f32); 3] = std::array::from_fn(|c| (shown(seen[c]), shown(behind[c])));
        let needed = pairs.map(|(c, b)| {
            if c < b {
                1.0 - c / b
            } else {
                (c - b) / (1.0 - b).max(1e-6)
            }
        });
        let alpha = needed.into_iter().fold(matte.get(x, y), f32::max).clamp(0.0, 1.0);
        let [r, g, b] = pairs.map(|(c, b)| (c - (1.0 - alpha) * b).max(0.0));
        [r, g, b, alpha]
    })
}

/// A model that knows the true layers. It must be shown the whole picture.
pub struct Truth<'a>(pub &'a Case);

impl Decomposer for Truth<'_> {
    fn decompose(
        &self,
        picture: &Rgb,
        _: &Plane,
        _: &Sampling,
        _: &dyn Fn(f32) -> bool,
    ) -> Result<Prediction> {
        let (width, height) = picture[0].size();
        let frame: Rect = self.0.clean.data();
        let factor = frame.width().div_ceil(width);
        let mirror = |v: usize, n: usize| (v % (2 * n)).min(2 * n - 1 - v % (2 * n)) as i32;
        let shrink = |f: &(dyn Fn(i32, i32) -> f32 + Sync)| {
            Plane::from_fn(width, height, |x, y| {
                let cells = (0..factor * factor).map(|i| (x * factor + i % factor, y * factor + i / factor));
                cells
                    .map(|(x, y)| f(mirror(x, frame.width()), mirror(y, frame.height())))
                    .sum::<f32>()
                    / (factor * factor) as f32
            })
        };
        let light = Light::default();
        Ok(Prediction {
            background: std::array::from_fn(|c| {
                shrink(&|x, y| light.encode(self.0.clean.get(x, y)[c]).clamp(0.0, 1.0))
            }),
            foreground: std::array::from_fn(|c| shrink(&|x, y| self.0.layer.get(x, y)[c])),
        })
    }

    fn working_size(&self) -> usize {
        128
    }

    fn digest(&self) -> String {
        "truth".to_owned()
    }
}
