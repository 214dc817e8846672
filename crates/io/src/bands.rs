//! EXR files whose picture is made while it is written.

use std::path::Path;
use std::sync::{Mutex, PoisonError};

use peel_image::{Layer, Rect};

use crate::atomic::AtomicWriter;
use crate::openexr::encode::{self, ChannelOut, ChunkFile, PartOut, Plan, Shared};
use crate::write::{attributes, check_windows, representable};
use crate::{Error, Result, WriteOptions, write_atomically};

/// Pixels of a band: few enough for the outer caches, with the pictures that it is made of.
const BAND_PIXELS: usize = 1 << 17;

/// What a picture looks like before there is a pixel.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Shape {
    /// The frame that it is seen through.
    pub display: Rect,
    /// The pixels that exist. They all go into the file, transparent ones too.
    pub data: Rect,
    /// Width of a pixel over its height.
    pub pixel_aspect: f32,
}

/// A file that takes its picture in bands, in any order, from many threads.
pub struct Bands<'a> {
    path: &'a Path,
    plan: Plan<'a>,
    data: Rect,
    file: Mutex<ChunkFile<&'a mut AtomicWriter>>,
}

/// Writes a layer as `R G B A` of an EXR file without ever holding the whole of it: `make` gets the [`Bands`] and
/// puts all of them. The file appears whole or not at all; its bytes depend on the pixels and the options, not on
/// threads or on who came first. Unlike [`write_exr`](crate::write_exr) this cannot know which pixels are transparent
/// before it begins, so the data window is that of `shape`.
pub fn write_exr_in_bands<E: From<Error>>(
    path: &Path,
    shape: &Shape,
    options: &WriteOptions,
    make: impl FnOnce(&Bands<'_>) -> Result<(), E>,
) -> Result<(), E> {
    check_windows(path, "", shape.display, shape.data)?;
    let attributes = attributes(path, options)?;
    let data = representable(shape.data, shape.display);
    let blank = Layer::new(shape.display, Rect::EMPTY);
    let channel = |(component, name): (usize, &&str)| ChannelOut {
        name: (*name).to_owned(),
        layer: &blank,
        component,
        sample: options.pixel_type.sample(),
    };
    let part = PartOut {
        name: None,
        data,
        channels: ["R", "G", "B", "A"].iter().enumerate().map(channel).collect(),
    };
    let shared = Shared {
        display: shape.display,
        pixel_aspect: shape.pixel_aspect,
        compression: options.compression,
        attributes: &attributes,
    };
    // What `make` failed with, which is not for the writer to know.
    let mut failure = None;
    let written = write_atomically(path, |writer| {
        let failed = |source| Error::Write {
            path: path.to_owned(),
            source,
        };
        let (file, plan) = encode::begin(writer, vec![part], &shared).map_err(failed)?;
        let bands = Bands {
            path,
            plan,
            data,
            file: Mutex::new(file),
        };
        if let Err(error) = make(&bands) {
            failure = Some(error);
            return Err(Error::unwritable(path, "its picture could not be made"));
        }
        let mut file = bands.file.into_inner().unwrap_or_else(PoisonError::into_inner);
        file.finish().map_err(failed)
    });
    match failure {
        Some(error) => Err(error),
        None => Ok(written?),
    }
}

impl Bands<'_> {
    /// The regions in which the picture is wanted, top to bottom.
    pub fn regions(&self) -> Vec<Rect> {
        let block = self.plan.rows;
        let rows = (BAND_PIXELS / self.data.width().max(1) / block).max(1) * block;
        self.data.bands(rows).collect()
    }

    /// Puts one of the regions; what `layer` does not hold of it is transparent. How many bytes it became.
    pub fn put(&self, region: Rect, layer: &Layer) -> Result<u64> {
        let failed = |source| Error::Write {
            path: self.path.to_owned(),
            source,
        };
        let (template, rows) = (&self.plan.parts[0], self.plan.rows);
        let channels = template.channels.iter().map(|channel| ChannelOut {
            name: channel.name.clone(),
            layer,
            ..*channel
        });
        let part = PartOut {
            name: None,
            data: template.data,
            channels: channels.collect(),
        };
        let mut bytes = 0;
        let first = (region.y0 - self.data.y0) as usize / rows;
        for block in first..first + region.height().div_ceil(rows) {
            let chunk = self.plan.chunk(&part, 0, block).map_err(failed)?;
            bytes += chunk.len() as u64;
            let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
            file.put(block, chunk).map_err(failed)?;
        }
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Compression, OutputLayer, write_exr};

    fn picture(data: Rect) -> Layer {
        let grain = |x: i32, y: i32| ((x * 7919 + y * 104_729) % 97) as f32 / 97.0;
        Layer::from_fn(Rect::of_size(90, 70), data, |x, y| {
            [grain(x, y), 0.5, grain(y, x), 1.0]
        })
    }

    #[test]
    fn bands_in_any_order_are_the_whole_picture() {
        let folder = tempfile::tempdir().unwrap();
        let (whole, banded) = (folder.path().join("whole.exr"), folder.path().join("banded.exr"));
        let layer = picture(Rect::new(-3, 5, 80, 72));
        let shape = Shape {
            display: layer.display(),
            data: layer.data(),
            pixel_aspect: layer.pixel_aspect(),
        };
        for compression in Compression::ALL {
            let options = WriteOptions {
                compression,
                ..WriteOptions::default()
            };
            write_exr(&whole, &[OutputLayer::base(&layer)], &options).unwrap();
            write_exr_in_bands(&banded, &shape, &options, |bands| {
                for region in bands.regions().into_iter().rev() {
                    bands.put(region, &layer.crop(region))?;
                }
                Ok::<(), Error>(())
            })
            .unwrap();
            let bytes = |path| std::fs::read(path).unwrap();
            assert!(bytes(&whole) == bytes(&banded), "{compression}");
        }
    }

    #[test]
    fn a_failure_leaves_no_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out.exr");
        let layer = picture(Rect::of_size(90, 70));
        let shape = Shape {
            display: layer.display(),
            data: layer.data(),
            pixel_aspect: 1.0,
        };
        let gone = write_exr_in_bands(&path, &shape, &WriteOptions::default(), |_| {
            Err(Error::unwritable(Path::new("elsewhere"), "no light"))
        });
        assert!(gone.unwrap_err().to_string().contains("no light"));
        let missing = write_exr_in_bands(&path, &shape, &WriteOptions::default(), |_| Ok::<(), Error>(()));
        assert!(missing.unwrap_err().to_string().contains("missing"));
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
