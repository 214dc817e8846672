//! RGBA objects out of photographs: instances that COCO annotations outline, cut out with soft edges, without those that something
//! stands in front of, as the depth along their borders tells.
//!
//! Out come PNG files with straight alpha, and `index.json` beside them: what each is, of which picture, under which licence.

mod coco;
mod depth;
mod rle;

use std::collections::{BTreeMap, HashMap};
use std::io::Write;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::data::raster::{Raster, smoothstep};
use crate::{Error, Result, files};
use coco::{Annotation, Image, Instances};
pub use depth::Nearer;
use depth::occluded_share;

/// Endings under which a picture's depth map is looked for, beside its own name without ending.
const DEPTH_ENDINGS: [&str; 6] = ["png", "exr", "tif", "tiff", "PNG", "EXR"];
/// Faults that are told one by one; all are counted.
const MOST_FAULTS: usize = 20;

/// What is extracted, from where to where.
#[derive(Debug, Clone)]
pub struct Options {
    /// Folder of the pictures that the annotations name.
    pub images: PathBuf,
    /// COCO instances, JSON.
    pub annotations: PathBuf,
    /// Folder of depth maps, one a picture, under the picture's name: 16-bit PNG, TIFF or EXR. Without one nothing is tested.
    pub depth: Option<PathBuf>,
    /// What is nearer in a depth map.
    pub nearer: Nearer,
    /// Share of the border along which something may be nearer.
    pub occluded: f32,
    /// Least area of an object in pixels of its picture.
    pub area: usize,
    /// Whether objects that the picture's edge cuts off are taken.
    pub cut_off: bool,
    /// Width of the soft edge in pixels.
    pub feather: f32,
    /// Objects after which to stop.
    pub most: Option<usize>,
    /// Folder for the cut-outs and the index; made where it is missing.
    pub out: PathBuf,
}

/// How far extraction has come.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Progress {
    /// Pictures done.
    pub pictures: usize,
    /// Pictures that have annotations.
    pub of: usize,
    /// Objects written.
    pub objects: usize,
}

/// Why an annotation became no object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Dropped {
    /// It outlines a crowd.
    Crowd,
    /// It has too few pixels.
    Small,
    /// The picture's edge cuts it off.
    CutOff,
    /// Something stands in front of it.
    Occluded,
    /// Its outline, its picture or its depth map is faulty.
    Faulty,
}

/// An object in the index.
#[derive(Debug, Clone, Serialize)]
pub struct Object {
    /// Its file, beside the index.
    pub file: String,
    /// The picture's file as the annotations name it.
    pub image: String,
    /// The annotation's id.
    pub annotation: u64,
    /// Name of its category, or the number where the file has no name for it.
    pub category: String,
    /// Name of the picture's licence; empty where the file says none.
    pub licence: String,
    /// Its address.
    pub licence_url: String,
    /// Column and row of its upper left corner in the picture, width, height.
    pub area: [usize; 4],
    /// Pixels.
    pub pixels: usize,
    /// Share of its border along which something is nearer; none without a depth map.
    pub occluded: Option<f32>,
}

/// What extraction came to.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Report {
    /// Objects, in the order of pictures and annotations.
    pub objects: Vec<Object>,
    /// How many annotations were dropped, and why.
    pub dropped: BTreeMap<Dropped, usize>,
    /// The first faults, in words.
    pub faults: Vec<String>,
}

/// Extracts objects. `progress` is told after every picture and says whether to go on.
///
/// A faulty annotation, picture or depth map costs its objects and is counted; only what concerns the whole run is an error.
///
/// # Errors
/// If the annotations cannot be read or are inconsistent, the folder cannot be written, no object is found because every one is faulty,
/// or `progress` says stop ([`Error::Cancelled`]; what was written is indexed).
pub fn extract(options: &Options, progress: &mut dyn FnMut(&Progress) -> bool) -> Result<Report> {
    for dir in [Some(&options.images), options.depth.as_ref()]
        .into_iter()
        .flatten()
    {
        std::fs::read_dir(dir).map_err(Error::file(dir))?;
    }
    let instances = Instances::load(&options.annotations)?;
    let mut of_image: HashMap<u64, Vec<&Annotation>> = HashMap::new();
    for annotation in &instances.annotations {
        of_image.entry(annotation.image_id).or_default().push(annotation);
    }
    std::fs::create_dir_all(&options.out).map_err(Error::file(&options.out))?;

    let mut run = Run {
        options,
        instances: &instances,
        report: Report::default(),
    };
    let (mut done, of) = (0, of_image.len());
    let mut go_on = true;
    for image in &instances.images {
        let Some(annotations) = of_image.get(&image.id) else {
            continue;
        };
        if !go_on || run.full() {
            break;
        }
        run.picture(image, annotations)?;
        done += 1;
        go_on = progress(&Progress {
            pictures: done,
            of,
            objects: run.report.objects.len(),
        });
    }
    let report = run.report;
    write_index(&options.out, &report)?;
    if !go_on {
        return Err(Error::Cancelled);
    }
    let faulty = report.dropped.get(&Dropped::Faulty).copied().unwrap_or(0);
    if report.objects.is_empty() && faulty > 0 && faulty == report.dropped.values().sum::<usize>() {
        let first = report.faults.first().map_or("", String::as_str);
        return Err(Error::content(
            &options.annotations,
            format!("all {faulty} annotations are faulty; the first: {first}"),
        ));
    }
    Ok(report)
}

fn write_index(dir: &Path, report: &Report) -> Result<()> {
    let path = dir.join("index.json");
    let text = serde_json::to_string_pretty(report).map_err(|e| Error::content(&path, e))?;
    let written = peel_io::write_atomically(&path, |file| {
        file.write_all(text.as_bytes())
            .map_err(|source| peel_io::Error::Write {
                path: path.clone(),
                source,
            })
    });
    written.map_err(|e| Error::Picture {
        path: path.clone(),
        reason: e.to_string(),
    })
}

struct Run<'a> {
    options: &'a Options,
    instances: &'a Instances,
    report: Report,
}

/// A picture's pixels, read when the first of its annotations wants them.
struct Pixels {
    colour: Raster<3>,
    depth: Option<Raster<1>>,
}

impl Run<'_> {
    fn full(&self) -> bool {
        self.options
            .most
            .is_some_and(|most| self.report.objects.len() >= most)
    }

    fn drop(&mut self, why: Dropped) {
        *self.report.dropped.entry(why).or_default() += 1;
    }

    fn fault(&mut self, what: String) {
        self.drop(Dropped::Faulty);
        if self.report.faults.len() < MOST_FAULTS {
            self.report.faults.push(what);
        }
    }

    fn picture(&mut self, image: &Image, annotations: &[&Annotation]) -> Result<()> {
        let mut pixels = None;
        for annotation in annotations {
            if self.full() {
                break;
            }
            if annotation.iscrowd != 0 {
                self.drop(Dropped::Crowd);
                continue;
            }
            let mask = match annotation.mask(image) {
                Ok(mask) => mask,
                Err(reason) => {
                    self.fault(format!("annotation {}: {reason}", annotation.id));
                    continue;
                }
            };
            let found = Found::in_mask(&mask);
            if found.pixels < self.options.area.max(1) {
                self.drop(Dropped::Small);
                continue;
            }
            if !self.options.cut_off && found.touches(&mask) {
                self.drop(Dropped::CutOff);
                continue;
            }
            let pixels = match pixels.get_or_insert_with(|| self.read(image)) {
                Ok(pixels) => pixels,
                Err(reason) => {
                    let reason = format!("annotation {}: {reason}", annotation.id);
                    self.fault(reason);
                    continue;
                }
            };
            let occluded = pixels
                .depth
                .as_ref()
                .map(|depth| occluded_share(&mask, depth, self.options.nearer));
            if occluded.is_some_and(|share| share > self.options.occluded) {
                self.drop(Dropped::Occluded);
                continue;
            }
            let object = self.describe(image, annotation, &found, occluded);
            let cut = cut_out(&pixels.colour, &mask, &found, self.options.feather);
            files::write_layer(&self.options.out.join(&object.file), &cut)?;
            self.report.objects.push(object);
        }
        Ok(())
    }

    fn describe(
        &self,
        image: &Image,
        annotation: &Annotation,
        found: &Found,
        occluded: Option<f32>,
    ) -> Object {
        let category = self
            .instances
            .categories
            .iter()
            .find(|c| c.id == annotation.category_id);
        let licence = self
            .instances
            .licenses
            .iter()
            .find(|l| Some(l.id) == image.license);
        Object {
            file: format!("{:012}_{}.png", image.id, annotation.id),
            image: image.file_name.clone(),
            annotation: annotation.id,
            category: category.map_or_else(|| annotation.category_id.to_string(), |c| c.name.clone()),
            licence: licence.map_or_else(String::new, |l| l.name.clone()),
            licence_url: licence.map_or_else(String::new, |l| l.url.clone()),
            area: [
                found.left,
                found.top,
                found.right - found.left,
                found.bottom - found.top,
            ],
            pixels: found.pixels,
            occluded,
        }
    }

    fn read(&self, image: &Image) -> Result<Pixels, String> {
        let path = self.options.images.join(&image.file_name);
        let colour = files::read_opaque(&path).map_err(|e| e.to_string())?;
        let (w, h) = (image.width as usize, image.height as usize);
        if (colour.width, colour.height) != (w, h) {
            return Err(format!(
                "{}: it is {} x {} pixels, the annotations say {w} x {h}",
                path.display(),
                colour.width,
                colour.height
            ));
        }
        let depth = match &self.options.depth {
            Some(dir) => Some(read_depth(dir, image)?),
            None => None,
        };
        Ok(Pixels { colour, depth })
    }
}

/// The depth map of a picture at the picture's size; a smaller one is repeated, not interpolated: depth has edges.
fn read_depth(dir: &Path, image: &Image) -> Result<Raster<1>, String> {
    let stem = Path::new(&image.file_name).with_extension("");
    let at = |ending: &&str| dir.join(format!("{}.{ending}", stem.display()));
    let path = DEPTH_ENDINGS.iter().map(at).find(|p| p.exists()).ok_or_else(|| {
        format!(
            "{}: no depth map of that name (png, exr or tif)",
            dir.join(&stem).display()
        )
    })?;
    let matte = peel_io::read_channel(&path, None, &peel_io::Budget::default()).map_err(|e| e.to_string())?;
    let display = matte.display();
    let (w, h) = (display.width() as usize, display.height() as usize);
    if w == 0 || h == 0 {
        return Err(format!("{}: it is empty", path.display()));
    }
    let (width, height) = (image.width as usize, image.height as usize);
    Ok(Raster::from_fn(width, height, |x, y| {
        let (i, j) = (x * w / width, y * h / height);
        [matte.get(display.x0 + i as i32, display.y0 + j as i32)]
    }))
}

/// Where a mask is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Found {
    left: usize,
    top: usize,
    right: usize,
    bottom: usize,
    pixels: usize,
}

impl Found {
    fn in_mask(mask: &Raster<1>) -> Self {
        let mut found = Self {
            left: mask.width,
            top: mask.height,
            right: 0,
            bottom: 0,
            pixels: 0,
        };
        for (i, _) in mask.pixels.iter().enumerate().filter(|(_, p)| p[0] > 0.5) {
            let (x, y) = (i % mask.width, i / mask.width);
            found.left = found.left.min(x);
            found.top = found.top.min(y);
            found.right = found.right.max(x + 1);
            found.bottom = found.bottom.max(y + 1);
            found.pixels += 1;
        }
        found
    }

    fn touches(&self, mask: &Raster<1>) -> bool {
        self.left == 0 || self.top == 0 || self.right == mask.width || self.bottom == mask.height
    }
}

/// The object alone, premultiplied. Its edge is soft inwards: what is outside the outline would bring the old background along.
fn cut_out(picture: &Raster<3>, mask: &Raster<1>, found: &Found, feather: f32) -> Raster<4> {
    // A margin, so that the mask is seen to end where it does, but none beyond the picture: an object that is cut off stays so.
    let margin = (3.0 * feather).ceil() as usize + 1;
    let (left, top) = (
        found.left.saturating_sub(margin),
        found.top.saturating_sub(margin),
    );
    let right = (found.right + margin).min(mask.width);
    let bottom = (found.bottom + margin).min(mask.height);
    let cut = Raster::from_fn(right - left, bottom - top, |x, y| *mask.at(left + x, top + y));
    let soft = cut.blurred(0.5 * feather);
    let (dx, dy) = (found.left - left, found.top - top);
    Raster::from_fn(found.right - found.left, found.bottom - found.top, |x, y| {
        let inside = cut.at(x + dx, y + dy)[0];
        let alpha = if feather > 0.0 {
            inside * smoothstep(0.35, 0.95, soft.at(x + dx, y + dy)[0])
        } else {
            inside
        };
        let [r, g, b] = picture.at(found.left + x, found.top + y).map(|v| v * alpha);
        [r, g, b, alpha]
    })
}

#[cfg(test)]
mod tests;
