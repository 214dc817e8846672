//! Where cases come from on disk: triplets of this project, and the folders that public data sets come in.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::path::{Path, PathBuf};

use super::{Case, Series};
use crate::data::Sample;
use crate::data::raster::Raster;
use crate::metrics::frame_of;
use crate::{Error, Result, files};

/// Mistakes of one kind that an error names before it only counts.
const NAMED: usize = 6;

/// How a folder holds its cases. Pictures may be EXR, PNG, WebP, JPEG or TIFF everywhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// `ID_C` plate, `ID_B` background, `ID_M` mask, maybe `ID_E` where shadow and reflection are, maybe `ID_L` the true layer (premultiplied
    /// in EXR, straight in PNG). An ID that ends in a dot and a number is a frame of a shot: `ball.1001_C.exr`.
    Triplets,
    /// `ID_C` and `ID_M` alone: nothing to measure backgrounds against, but sheets and recomposition.
    Photographs,
    /// RORD (Sagong et al. 2022): `img/NAME`, the same without the object as `gt/NAME`, its mask as `mask/NAME`, anything but 0 in it. The
    /// folders may also be called `images` and `masks`.
    Rord,
    /// MuLAn (Tudosiu et al. 2024) as its `dataset_decomposition.py` unpacks it: one folder a picture with `layer_0` (background) and RGBA
    /// instances `layer_1` and so on, back to front. Each instance is a case: what lies up to it is the plate, what lies under it the
    /// background. Its layers have no shadows.
    Mulan,
    /// DESOBAv2 (Liu et al. 2023): `shadow_imgs/NAME`, the same without the object's shadow as `shadowfree_imgs/NAME`,
    /// `object_masks/NAME`, `shadow_masks/NAME`; `test.txt` lists the names, if it is there. The object stays in both, so backgrounds are
    /// known outside it alone: only the effect and what is outside are measured.
    Desobav2,
}

impl Layout {
    /// The layouts by name.
    pub const ALL: [(&'static str, Self); 5] = [
        ("triplets", Self::Triplets),
        ("photographs", Self::Photographs),
        ("rord", Self::Rord),
        ("mulan", Self::Mulan),
        ("desobav2", Self::Desobav2),
    ];

    /// The cases of a folder, each read when it is needed. That every case has its files is checked at once.
    ///
    /// # Errors
    /// If the folder cannot be read, holds no case, or files of a case are missing.
    pub fn series(self, dir: &Path) -> Result<Series<'static>> {
        let cases = match self {
            Self::Triplets => triplets(dir, &["B", "M"])?,
            Self::Photographs => triplets(dir, &["M"])?,
            Self::Rord => folders(
                dir,
                &[
                    ("img", &["img", "images"]),
                    ("gt", &["gt"]),
                    ("mask", &["mask", "masks"]),
                ],
            )?,
            Self::Mulan => mulan(dir)?,
            Self::Desobav2 => desobav2(dir)?,
        };
        let name = dir
            .file_name()
            .map_or_else(|| "folder".into(), |n| n.to_string_lossy().into_owned());
        let names = cases.iter().map(|(name, _)| name.clone()).collect();
        Ok(Series::new(name, names, move |i| {
            let (name, paths) = &cases[i];
            match self {
                Self::Triplets => files::read_case(name, paths),
                Self::Photographs => read_photograph(name, paths),
                Self::Rord => read_pair(name, paths),
                Self::Mulan => read_instance(name, paths),
                Self::Desobav2 => read_shadow(name, paths),
            }
        }))
    }
}

/// The files of a case by what they are.
pub type Paths = BTreeMap<String, PathBuf>;
type Found = Vec<(String, Paths)>;

/// Files of a folder by their stems; of several with one stem the first by name.
fn by_stem(dir: &Path) -> Result<BTreeMap<String, PathBuf>> {
    let mut found = BTreeMap::new();
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(Error::file(dir))? {
        paths.push(entry.map_err(Error::file(dir))?.path());
    }
    paths.sort();
    for path in paths.into_iter().filter(|p| is_picture(p)) {
        let stem = path
            .file_stem()
            .map(|s| s.to_string_lossy().into_owned())
            .unwrap_or_default();
        found.entry(stem).or_insert(path);
    }
    Ok(found)
}

fn is_picture(path: &Path) -> bool {
    let ending = path
        .extension()
        .map(|e| e.to_string_lossy().to_ascii_lowercase())
        .unwrap_or_default();
    ["exr", "png", "webp", "jpg", "jpeg", "tif", "tiff"].contains(&ending.as_str())
}

/// An error that names the first few mistakes.
fn mistakes(dir: &Path, what: impl Display, of: &[String]) -> Error {
    let more = match of.len().saturating_sub(NAMED) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let named = of[..of.len().min(NAMED)].join(", ");
    Error::content(dir, format!("{what}: {named}{more}"))
}

/// Cases `ID_C` with their partners; those in `needed` must be there.
fn triplets(dir: &Path, needed: &[&str]) -> Result<Found> {
    let files = by_stem(dir)?;
    let mut cases = Vec::new();
    let mut missing = Vec::new();
    for stem in files.keys() {
        let Some(id) = stem.strip_suffix("_C") else {
            continue;
        };
        let mut paths = Paths::new();
        for part in ["C", "B", "M", "E", "L"] {
            match files.get(&format!("{id}_{part}")) {
                Some(path) => {
                    paths.insert(part.to_owned(), path.clone());
                }
                None if needed.contains(&part) => missing.push(format!("{id}_{part}")),
                None => {}
            }
        }
        cases.push((id.to_owned(), paths));
    }
    if cases.is_empty() {
        return Err(Error::content(dir, "it holds no case: no picture is called ID_C"));
    }
    if !missing.is_empty() {
        return Err(mistakes(dir, "pictures are missing beside their ID_C", &missing));
    }
    // Frames by number, so that 9 comes before 10.
    cases.sort_by(|(a, _), (b, _)| {
        let key = |name: &str| frame_of(name).map_or((name.to_owned(), 0), |(shot, n)| (shot.to_owned(), n));
        key(a).cmp(&key(b))
    });
    Ok(cases)
}

/// Cases whose files have the same stem in several folders, each of which has one of some names.
fn folders(dir: &Path, parts: &[(&str, &[&str])]) -> Result<Found> {
    let mut found = Vec::new();
    for (part, names) in parts {
        let folder = names.iter().map(|name| dir.join(name)).find(|path| path.is_dir());
        let folder = folder.ok_or_else(|| Error::content(dir, format!("it has no folder `{}`", names[0])))?;
        found.push((*part, by_stem(&folder)?));
    }
    let (first, rest) = found.split_at(1);
    let mut cases = Vec::new();
    let mut missing = Vec::new();
    for (name, path) in &first[0].1 {
        let mut paths = Paths::from([(first[0].0.to_owned(), path.clone())]);
        for (part, files) in rest {
            match files.get(name) {
                Some(path) => {
                    paths.insert((*part).to_owned(), path.clone());
                }
                None => missing.push(format!("{part}/{name}")),
            }
        }
        cases.push((name.clone(), paths));
    }
    if cases.is_empty() {
        return Err(Error::content(
            dir,
            format!("its folder `{}` holds no picture", parts[0].1[0]),
        ));
    }
    if !missing.is_empty() {
        return Err(mistakes(dir, "pictures are missing", &missing));
    }
    Ok(cases)
}

fn desobav2(dir: &Path) -> Result<Found> {
    let parts: [(&str, &[&str]); 4] = [
        ("shadow", &["shadow_imgs"]),
        ("shadowfree", &["shadowfree_imgs"]),
        ("object", &["object_masks"]),
        ("effect", &["shadow_masks"]),
    ];
    let mut cases = folders(dir, &parts)?;
    let list = dir.join("test.txt");
    if list.exists() {
        let text = std::fs::read_to_string(&list).map_err(Error::file(&list))?;
        let stem = |line: &str| {
            Path::new(line.trim())
                .file_stem()
                .map(|s| s.to_string_lossy().into_owned())
        };
        let listed: Vec<String> = text.lines().filter_map(stem).collect();
        let missing: Vec<String> = listed
            .iter()
            .filter(|name| !cases.iter().any(|(have, _)| have == *name))
            .cloned()
            .collect();
        if !missing.is_empty() {
            return Err(mistakes(&list, "it lists names that have no picture", &missing));
        }
        cases.retain(|(name, _)| listed.contains(name));
    }
    Ok(cases)
}

fn mulan(dir: &Path) -> Result<Found> {
    let mut pictures: Vec<PathBuf> = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(Error::file(dir))? {
        pictures.push(entry.map_err(Error::file(dir))?.path());
    }
    pictures.retain(|p| p.is_dir());
    pictures.sort();
    let mut cases = Vec::new();
    for picture in &pictures {
        let number = |stem: &str| stem.strip_prefix("layer_").and_then(|n| n.parse::<usize>().ok());
        let layers: BTreeMap<usize, PathBuf> = by_stem(picture)?
            .into_iter()
            .filter_map(|(stem, path)| Some((number(&stem)?, path)))
            .collect();
        if layers.is_empty() {
            continue;
        }
        if let Some(gap) = (0..layers.len()).find(|n| !layers.contains_key(n)) {
            return Err(Error::content(picture, format!("layer_{gap} is missing")));
        }
        let id = picture
            .file_name()
            .map(|n| n.to_string_lossy().into_owned())
            .unwrap_or_default();
        for top in 1..layers.len() {
            // Numbers with leading zeros keep their order as texts.
            let up_to = layers
                .range(..=top)
                .map(|(n, path)| (format!("{n:06}"), path.clone()))
                .collect();
            cases.push((format!("{id}_{top}"), up_to));
        }
    }
    if cases.is_empty() {
        return Err(Error::content(dir, "it holds no folder with layer_0 and layer_1"));
    }
    Ok(cases)
}

fn path<'a>(paths: &'a Paths, part: &str) -> Result<&'a Path> {
    let found = paths.get(part).map(PathBuf::as_path);
    found.ok_or_else(|| Error::Evaluation(format!("a case has no `{part}`")))
}

/// A sample without a true layer: the masked plate stands for it.
fn without_layer(plate: Raster<3>, background: Raster<3>, mask: Raster<1>) -> Sample {
    let foreground = mask.zip(&plate, |m, c| [m[0] * c[0], m[0] * c[1], m[0] * c[2], m[0]]);
    Sample {
        plate,
        background,
        foreground,
        object: mask.clone(),
        mask,
        has_foreground: false,
    }
}

fn read_photograph(name: &str, paths: &Paths) -> Result<Case> {
    let plate = files::read_opaque(path(paths, "C")?)?;
    let mask = files::read_matte(path(paths, "M")?)?;
    files::same_size(path(paths, "M")?, &mask, &plate)?;
    let known = mask.map(|_| [0.0]);
    let mut case = Case::new(name, without_layer(plate.clone(), plate, mask));
    case.known = Some(known);
    Ok(case)
}

fn read_pair(name: &str, paths: &Paths) -> Result<Case> {
    let plate = files::read_opaque(path(paths, "img")?)?;
    let background = files::read_opaque(path(paths, "gt")?)?;
    let mask = files::read_matte(path(paths, "mask")?)?.map(|m| [f32::from(m[0] > 0.5 / 255.0)]);
    files::same_size(path(paths, "gt")?, &background, &plate)?;
    files::same_size(path(paths, "mask")?, &mask, &plate)?;
    Ok(Case::new(name, without_layer(plate, background, mask)))
}

fn read_shadow(name: &str, paths: &Paths) -> Result<Case> {
    let plate = files::read_opaque(path(paths, "shadow")?)?;
    let background = files::read_opaque(path(paths, "shadowfree")?)?;
    let mask = files::read_matte(path(paths, "object")?)?;
    let effect = files::read_matte(path(paths, "effect")?)?;
    files::same_size(path(paths, "shadowfree")?, &background, &plate)?;
    files::same_size(path(paths, "object")?, &mask, &plate)?;
    files::same_size(path(paths, "effect")?, &effect, &plate)?;
    let known = mask.map(|m| [1.0 - m[0]]);
    let mut case = Case::new(name, without_layer(plate, background, mask));
    case.effect = Some(effect);
    case.known = Some(known);
    Ok(case)
}

fn read_instance(name: &str, paths: &Paths) -> Result<Case> {
    let mut layers = paths.values();
    let bottom = layers
        .next()
        .ok_or_else(|| Error::Evaluation(format!("{name} has no layer")))?;
    let mut background = files::read_opaque(bottom)?;
    let mut plate = background.clone();
    let mut foreground = background.map(|_| [0.0; 4]);
    for path in layers {
        foreground = files::read(path)?;
        files::same_size(path, &foreground, &plate)?;
        background = plate;
        plate = foreground.over_picture(&background);
    }
    let mask = foreground.map(|p| [f32::from(p[3] > 0.5)]);
    let sample = Sample {
        plate,
        background,
        object: foreground.alpha(),
        foreground,
        mask,
        has_foreground: true,
    };
    Ok(Case::new(name, sample))
}

#[cfg(test)]
mod tests;
