//! EXR files whose picture is made while it is written.

use std::cell::RefCell;
use std::fs::File;
use std::io::{self, Write};
use std::ops::Range;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use peel_image::{Layer, Rect};

use crate::atomic::AtomicWriter;
use crate::openexr::encode::{self, ChannelOut, ChunkFile, PartOut, Plan, Shared};
use crate::place::write_at;
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

/// Rows that a band has a multiple of, where it has as many: blocks of the commonest compression, which pictures that are
/// read have too. So bands do not share blocks, neither those that they become nor those that they come from.
const BLOCK: usize = 16;

thread_local! {
    /// Bytes on their way into a file, used again by the thread for its next band.
    static ROWS: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// A file that takes its picture in bands, in any order, from many threads.
pub struct Bands<'a> {
    path: &'a Path,
    plan: Plan<'a>,
    data: Rect,
    way: Way<'a>,
}

/// How bands get into the file.
enum Way<'a> {
    /// One block after the other, since where one begins is known when those before it are there.
    InOrder(Mutex<ChunkFile<&'a mut AtomicWriter>>),
    /// Each to its place: blocks are rows that are not compressed.
    InPlace(Rows<'a>),
}

/// Rows that are written where they belong.
struct Rows<'a> {
    file: &'a File,
    /// Where the first one begins, and how long each of them is.
    first: u64,
    bytes: usize,
    /// Whether each of them came.
    came: Vec<AtomicBool>,
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
        let (mut file, plan) = encode::begin(&mut *writer, vec![part], &shared).map_err(failed)?;
        let way = match plan.chunk_bytes() {
            None => Way::InOrder(Mutex::new(file)),
            Some(bytes) => {
                let first = file.all_of_size(bytes);
                file.finish().and_then(|()| writer.flush()).map_err(failed)?;
                Way::InPlace(Rows {
                    file: writer.get_ref(),
                    first,
                    bytes,
                    came: (0..data.height()).map(|_| AtomicBool::new(false)).collect(),
                })
            }
        };
        let bands = Bands {
            path,
            plan,
            data,
            way,
        };
        if let Err(error) = make(&bands) {
            failure = Some(error);
            return Err(Error::unwritable(path, "its picture could not be made"));
        }
        match bands.way {
            Way::InOrder(file) => {
                let mut file = file.into_inner().unwrap_or_else(PoisonError::into_inner);
                file.finish().map_err(failed)
            }
            Way::InPlace(rows) => {
                let came = rows
                    .came
                    .into_iter()
                    .filter_map(|came| came.into_inner().then_some(()));
                encode::check_complete(came.count(), data.height()).map_err(failed)
            }
        }
    });
    match failure {
        Some(error) => Err(error),
        None => Ok(written?),
    }
}

impl Bands<'_> {
    /// The regions in which the picture is wanted, top to bottom.
    pub fn regions(&self) -> Vec<Rect> {
        let rows = (BAND_PIXELS / self.data.width().max(1)).max(1);
        let block = self.plan.rows.max(BLOCK.min(rows));
        self.data.bands((rows / block).max(1) * block).collect()
    }

    /// Puts one of the regions; what `layer` does not hold of it is transparent. How many bytes it became.
    pub fn put(&self, region: Rect, layer: &Layer) -> Result<u64> {
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
        let first = (region.y0 - self.data.y0) as usize / rows;
        let blocks = first..first + region.height().div_ceil(rows);
        let put = match &self.way {
            Way::InOrder(file) => self.put_in_order(file, &part, blocks),
            Way::InPlace(rows) => ROWS.with_borrow_mut(|bytes| self.put_in_place(rows, &part, blocks, bytes)),
        };
        put.map_err(|source| Error::Write {
            path: self.path.to_owned(),
            source,
        })
    }

    fn put_in_order(
        &self,
        file: &Mutex<ChunkFile<&mut AtomicWriter>>,
        part: &PartOut,
        blocks: Range<usize>,
    ) -> io::Result<u64> {
        let mut bytes = 0;
        for block in blocks {
            let chunk = self.plan.chunk(part, 0, block)?;
            bytes += chunk.len() as u64;
            let mut file = file.lock().unwrap_or_else(PoisonError::into_inner);
            file.put(block, chunk)?;
        }
        Ok(bytes)
    }

    /// All rows of a region at once, from a buffer that is used again.
    fn put_in_place(
        &self,
        to: &Rows,
        part: &PartOut,
        rows: Range<usize>,
        bytes: &mut Vec<u8>,
    ) -> io::Result<u64> {
        bytes.resize(rows.len() * to.bytes, 0);
        for (row, chunk) in rows.clone().zip(bytes.chunks_mut(to.bytes)) {
            self.plan.put_plain(part, 0, row..row + 1, chunk);
        }
        write_at(to.file, bytes, to.first + (rows.start * to.bytes) as u64)?;
        for came in &to.came[rows] {
            came.store(true, Ordering::Relaxed);
        }
        Ok(bytes.len() as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Compression, OutputLayer, PixelType, write_exr};

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
        let kinds = [PixelType::Half, PixelType::Float];
        for (compression, pixel_type) in Compression::ALL
            .into_iter()
            .flat_map(|c| kinds.map(|kind| (c, kind)))
        {
            let options = WriteOptions {
                compression,
                pixel_type,
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
            assert!(bytes(&whole) == bytes(&banded), "{compression}, {pixel_type:?}");
        }
    }

    /// Rows that are put in place could be forgotten without anybody noticing.
    #[test]
    fn every_row_must_come_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out.exr");
        let layer = picture(Rect::of_size(90, 70));
        let shape = Shape {
            display: layer.display(),
            data: layer.data(),
            pixel_aspect: 1.0,
        };
        for compression in [Compression::None, Compression::Zips] {
            let options = WriteOptions {
                compression,
                ..WriteOptions::default()
            };
            let failed = write_exr_in_bands(&path, &shape, &options, |bands| {
                let rows: Vec<Rect> = layer.data().bands(1).collect();
                for row in rows.iter().take(69).chain(&rows[..1]) {
                    bands.put(*row, &layer.crop(*row))?;
                }
                Ok::<(), Error>(())
            });
            assert!(failed.unwrap_err().to_string().contains("missing: 69 of 70"));
        }
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
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
