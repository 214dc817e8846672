//! COCO instance annotations: the JSON file, checked as far as extraction goes by it.

use std::collections::HashMap;
use std::fmt;
use std::io::BufReader;
use std::path::{Component, Path};

use serde::Deserialize;
use serde::de::{self, Deserializer, MapAccess, SeqAccess, Visitor};

use super::rle;
use crate::data::raster::Raster;
use crate::{Error, Result};

/// Largest annotation file that is read; the instances of COCO's training set are half a gigabyte.
const MOST_BYTES: u64 = 4 << 30;

/// A file of instances.
#[derive(Debug, Deserialize)]
pub struct Instances {
    pub images: Vec<Image>,
    pub annotations: Vec<Annotation>,
    #[serde(default)]
    pub categories: Vec<Category>,
    #[serde(default)]
    pub licenses: Vec<Licence>,
}

#[derive(Debug, Deserialize)]
pub struct Image {
    pub id: u64,
    pub file_name: String,
    pub width: u64,
    pub height: u64,
    #[serde(default)]
    pub license: Option<i64>,
}

#[derive(Debug, Deserialize)]
pub struct Annotation {
    pub id: u64,
    pub image_id: u64,
    #[serde(default)]
    pub category_id: i64,
    pub segmentation: Segmentation,
    #[serde(default)]
    pub iscrowd: u8,
}

#[derive(Debug, Deserialize)]
pub struct Category {
    pub id: i64,
    pub name: String,
}

#[derive(Debug, Deserialize)]
pub struct Licence {
    pub id: i64,
    #[serde(default)]
    pub name: String,
    #[serde(default)]
    pub url: String,
}

/// The outline of an instance.
#[derive(Debug, PartialEq)]
pub enum Segmentation {
    /// Corners `x0, y0, x1, y1, ..` of each polygon.
    Polygons(Vec<Vec<f64>>),
    /// Runs and the size, height first.
    Runs { counts: Counts, size: [u64; 2] },
}

/// Runs as numbers, or packed.
#[derive(Debug, PartialEq)]
pub enum Counts {
    Plain(Vec<u32>),
    Packed(String),
}

impl Instances {
    /// Reads a file and checks that ids are unique and names stay inside the folder of pictures.
    ///
    /// # Errors
    /// If the file cannot be read, is no such JSON (with line and column), or is not consistent.
    pub fn load(path: &Path) -> Result<Self> {
        let file = std::fs::File::open(path).map_err(Error::file(path))?;
        let length = file.metadata().map_err(Error::file(path))?.len();
        if length > MOST_BYTES {
            return Err(Error::content(
                path,
                format!("{length} bytes are more than the {MOST_BYTES} that are read"),
            ));
        }
        let read: Self = serde_json::from_reader(BufReader::with_capacity(1 << 20, file))
            .map_err(|e| Error::content(path, format!("no COCO instances: {e}")))?;
        read.check().map_err(|reason| Error::content(path, reason))?;
        Ok(read)
    }

    fn check(&self) -> Result<(), String> {
        let mut images = HashMap::new();
        for image in &self.images {
            if images.insert(image.id, ()).is_some() {
                return Err(format!("the image id {} is there twice", image.id));
            }
            let name = Path::new(&image.file_name);
            let plain = name.components().all(|c| matches!(c, Component::Normal(_)));
            if !plain || image.file_name.is_empty() {
                return Err(format!(
                    "image {}: {:?} is no name of a file in a folder",
                    image.id, image.file_name
                ));
            }
            let pixels = image.width.checked_mul(image.height);
            if !pixels.is_some_and(|p| (1..=rle::MOST_PIXELS).contains(&p)) {
                return Err(format!(
                    "image {}: {} x {} pixels; from 1 to {} in all are read",
                    image.id,
                    image.width,
                    image.height,
                    rle::MOST_PIXELS
                ));
            }
        }
        let mut seen = HashMap::new();
        for annotation in &self.annotations {
            if seen.insert(annotation.id, ()).is_some() {
                return Err(format!("the annotation id {} is there twice", annotation.id));
            }
            if !images.contains_key(&annotation.image_id) {
                return Err(format!(
                    "annotation {} is of image {}, which is not in the file",
                    annotation.id, annotation.image_id
                ));
            }
        }
        Ok(())
    }
}

impl Annotation {
    /// Its mask, 0 or 1, at its picture's size.
    ///
    /// # Errors
    /// With what is wrong with its outline.
    pub fn mask(&self, image: &Image) -> Result<Raster<1>, String> {
        let (width, height) = (image.width as usize, image.height as usize);
        match &self.segmentation {
            Segmentation::Polygons(polygons) => rle::from_polygons(polygons, width, height),
            Segmentation::Runs { size, .. } if *size != [image.height, image.width] => Err(format!(
                "its runs are of {} x {} pixels, the picture is {width} x {height}",
                size[1], size[0]
            )),
            Segmentation::Runs { counts, .. } => match counts {
                Counts::Plain(runs) => rle::from_runs(runs, width, height),
                Counts::Packed(text) => rle::from_runs(&rle::unpack(text)?, width, height),
            },
        }
    }
}

impl<'de> Deserialize<'de> for Segmentation {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Outline;

        impl<'de> Visitor<'de> for Outline {
            type Value = Segmentation;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("polygons [[x, y, ..], ..] or runs {\"counts\": .., \"size\": [height, width]}")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Segmentation, A::Error> {
                let mut polygons = Vec::new();
                while let Some(polygon) = seq.next_element()? {
                    polygons.push(polygon);
                }
                Ok(Segmentation::Polygons(polygons))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Segmentation, A::Error> {
                let (mut counts, mut size) = (None, None);
                while let Some(key) = map.next_key::<String>()? {
                    match key.as_str() {
                        "counts" => counts = Some(map.next_value()?),
                        "size" => size = Some(map.next_value()?),
                        _ => {
                            map.next_value::<de::IgnoredAny>()?;
                        }
                    }
                }
                let counts = counts.ok_or_else(|| de::Error::missing_field("counts"))?;
                let size = size.ok_or_else(|| de::Error::missing_field("size"))?;
                Ok(Segmentation::Runs { counts, size })
            }
        }

        deserializer.deserialize_any(Outline)
    }
}

impl<'de> Deserialize<'de> for Counts {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Runs;

        impl<'de> Visitor<'de> for Runs {
            type Value = Counts;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("runs as numbers or as packed text")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Counts, E> {
                Ok(Counts::Packed(text.to_owned()))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Counts, A::Error> {
                let mut runs = Vec::new();
                while let Some(run) = seq.next_element()? {
                    runs.push(run);
                }
                Ok(Counts::Plain(runs))
            }
        }

        deserializer.deserialize_any(Runs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(text: &str) -> Result<Instances> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("instances.json");
        std::fs::write(&path, text).unwrap();
        Instances::load(&path)
    }

    fn with(image: &str, annotation: &str) -> Result<Instances> {
        load(&format!(
            r#"{{"info": {{}}, "images": [{{"id": 1, "file_name": "a.png", "width": 12, "height": 9{image}}}],
                "annotations": [{{"id": 5, "image_id": 1, "category_id": 2{annotation}}}]}}"#
        ))
    }

    #[test]
    fn every_notation_of_an_outline_is_read() {
        let polygon = with(
            "",
            r#", "segmentation": [[1.2,1.7,9.6,0.4,10.8,6.9,5.1,8.3,0.6,5.2]]"#,
        )
        .unwrap();
        let plain = with(
            "",
            r#", "segmentation": {"size": [9, 12], "counts": [11,4,5,4,4,6,3,7,2,7,2,7,2,7,2,7,1,7,7,2,11]}, "iscrowd": 1"#,
        )
        .unwrap();
        let packed = with(
            "",
            r#", "segmentation": {"counts": ";450O2O1O0000000O06K4", "size": [9, 12], "more": [1]}"#,
        )
        .unwrap();
        let mask = |file: &Instances| file.annotations[0].mask(&file.images[0]).unwrap();
        assert_eq!(mask(&polygon), mask(&plain));
        assert_eq!(mask(&plain), mask(&packed));
        assert_eq!(
            (plain.annotations[0].iscrowd, packed.annotations[0].iscrowd),
            (1, 0)
        );
    }

    #[test]
    fn what_is_wrong_is_said_with_its_place() {
        let says = |result: Result<Instances>, what: &str| {
            let text = result.unwrap_err().to_string();
            assert!(text.contains(what) && text.contains("instances.json"), "{text}");
        };
        let outline = r#", "segmentation": [[0,0,4,0,4,4]]"#;
        says(load("{"), "line 1");
        says(load("[]"), "no COCO instances");
        says(
            with("", r#", "segmentation": 3"#),
            "polygons [[x, y, ..], ..] or runs",
        );
        says(
            with("", r#", "segmentation": {"counts": [-1], "size": [9, 12]}"#),
            "-1",
        );
        says(with("", r#", "segmentation": {"counts": [1]}"#), "size");
        says(with(r#", "license": "x""#, outline), "invalid type");
        says(load(&format!("{{\"info\": {}", "[".repeat(100_000))), "line 1");
        let other = |file: &str, size: &str| {
            load(&format!(
                r#"{{"images": [{{"id": 1, "file_name": "{file}", "width": {size}, "height": 9}}], "annotations": []}}"#
            ))
        };
        says(other("../../etc/passwd", "9"), "no name of a file");
        says(other("/etc/passwd", "9"), "no name of a file");
        says(other("a.png", "0"), "0 x 9 pixels");
        says(other("a.png", "18446744073709551615"), "pixels; from 1");
        let twice = r#"{"images": [{"id": 1, "file_name": "a", "width": 1, "height": 1}, {"id": 1, "file_name": "b", "width": 1, "height": 1}],
            "annotations": []}"#;
        says(load(twice), "there twice");
        let lost = r#"{"images": [], "annotations": [{"id": 1, "image_id": 7, "segmentation": []}]}"#;
        says(load(lost), "image 7, which is not in the file");
    }

    #[test]
    fn an_outline_of_another_size_is_no_mask() {
        let file = with("", r#", "segmentation": {"size": [12, 9], "counts": [108]}"#).unwrap();
        let error = file.annotations[0].mask(&file.images[0]).unwrap_err();
        assert!(error.contains("9 x 12") && error.contains("12 x 9"), "{error}");
    }
}
