//! Blocks of scan lines, read and decompressed where they are wanted.
//!
//! For the compressions that plates come in (none, ZIPS, ZIP). A block is kept as it comes out of deflate, low bytes
//! before high bytes: half the size of numbers that one can calculate with, and as quickly turned into them.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use half::f16;
use peel_image::{Pixel, Rect};

use super::header::Header;
use super::planes::Bytes;
use super::{Compression, planes, zip};
use crate::info::{SampleType, Storage};
use crate::{Error, Result};

/// Bytes of blocks that are kept at first, for whoever reads from top to bottom.
const KEPT: usize = 8 << 20;

/// A part of a file. Must have passed [`super::decode::check`].
pub(crate) struct Scan {
    path: PathBuf,
    file: File,
    length: u64,
    /// Its number, in files of several parts.
    part: Option<usize>,
    data: Rect,
    /// Rows of a block.
    rows: usize,
    /// Where a channel begins in a row, in bytes a column, and its type.
    channels: Vec<(usize, SampleType)>,
    /// Bytes of a pixel.
    pixel: usize,
    offsets: Vec<u64>,
    blocks: Vec<Mutex<Slot>>,
    kept: Mutex<Kept>,
}

/// A block's place in memory.
#[derive(Default)]
struct Slot {
    block: Option<Arc<Block>>,
    /// Whether it was there before.
    seen: bool,
}

/// Which blocks are in memory, oldest first.
struct Kept {
    order: VecDeque<usize>,
    most: usize,
}

/// The bytes of a block, even ones first.
pub(crate) struct Block {
    even: Vec<u8>,
    half: usize,
}

impl Block {
    fn planes(&self) -> (&[u8], &[u8]) {
        self.even.split_at(self.half)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What is locked here is whole between any two statements.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Scan {
    /// Opens a part; `None` where it is stored in a way that only the codec knows.
    pub fn open(path: &Path, header: &Header, part: usize) -> Result<Option<Scan>> {
        let rows_of =
            |compression: &str| Compression::parse(compression).map(|c| c.codec().scan_lines_per_block());
        let described = &header.parts[part];
        let simple = [Compression::None, Compression::Zips, Compression::Zip];
        if !Compression::parse(&described.compression).is_some_and(|found| simple.contains(&found)) {
            return Ok(None);
        }
        // The table of places stands behind those of the parts before.
        let mut table = header.length;
        for before in &header.parts[..part] {
            let (Storage::ScanLines, Some(rows)) = (before.storage, rows_of(&before.compression)) else {
                return Ok(None);
            };
            table += 8 * before.data.height().div_ceil(rows) as u64;
        }
        let (Storage::ScanLines, Some(rows)) = (described.storage, rows_of(&described.compression)) else {
            return Ok(None);
        };
        let file = File::open(path).map_err(|error| Error::reading(path, error))?;
        let count = described.data.height().div_ceil(rows);
        let mut bytes = vec![0; 8 * count];
        read_at(&file, &mut bytes, table).map_err(|error| Error::reading(path, error))?;
        let mut pixel = 0;
        let mut channels = Vec::with_capacity(described.channels.len());
        for channel in &described.channels {
            channels.push((pixel, channel.sample));
            pixel += channel.sample.bytes() as usize;
        }
        let block_bytes = (rows.min(described.data.height()) * described.data.width() * pixel).max(1);
        Ok(Some(Scan {
            path: path.to_owned(),
            length: file
                .metadata()
                .map_err(|error| Error::reading(path, error))?
                .len(),
            file,
            part: (header.parts.len() > 1).then_some(part),
            data: described.data,
            rows,
            channels,
            pixel,
            offsets: bytes
                .as_chunks::<8>()
                .0
                .iter()
                .map(|word| u64::from_le_bytes(*word))
                .collect(),
            blocks: (0..count).map(|_| Mutex::default()).collect(),
            kept: Mutex::new(Kept {
                order: VecDeque::new(),
                most: (KEPT / block_bytes).max(4),
            }),
        }))
    }

    /// Rows of a block.
    pub fn block_rows(&self) -> usize {
        self.rows
    }

    /// A block that others will want too, from memory where it is there.
    pub fn block(&self, index: usize) -> Result<Arc<Block>> {
        let mut slot = lock(&self.blocks[index]);
        if let Some(block) = &slot.block {
            return Ok(Arc::clone(block));
        }
        let block = Arc::new(self.decode(index)?);
        slot.block = Some(Arc::clone(&block));
        let again = std::mem::replace(&mut slot.seen, true);
        drop(slot);
        let mut kept = lock(&self.kept);
        if again {
            // Let go too early.
            kept.most = (2 * kept.most).min(self.blocks.len());
        }
        kept.order.push_back(index);
        let mut gone = Vec::new();
        while kept.order.len() > kept.most {
            gone.extend(kept.order.pop_front());
        }
        drop(kept);
        for index in gone {
            lock(&self.blocks[index]).block = None;
        }
        Ok(block)
    }

    /// A block for one reader.
    pub fn decode(&self, index: usize) -> Result<Block> {
        let damaged =
            |reason: &str| Error::damaged(&self.path, format!("block {index} of its pixels {reason}"));
        let reading = |error| Error::reading(&self.path, error);
        let height = self.rows.min(self.data.height() - index * self.rows);
        let whole = height * self.data.width() * self.pixel;
        // Number of the part, where there are several; first row; size.
        let mut head = [0; 12];
        let head = &mut head[if self.part.is_some() { 0 } else { 4 }..];
        let offset = self.offsets[index];
        let room = self.length.saturating_sub(head.len() as u64);
        if offset > room {
            return Err(damaged("lies beyond the end of the file"));
        }
        read_at(&self.file, head, offset).map_err(reading)?;
        let word = |at: usize| i32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
        let (y, size) = (word(head.len() - 8), word(head.len() - 4));
        if self.part.is_some_and(|part| word(0) != part as i32) {
            return Err(damaged("belongs to another part"));
        }
        if i64::from(y) != i64::from(self.data.y0) + (index * self.rows) as i64 {
            return Err(damaged("is for other rows"));
        }
        let size = usize::try_from(size).unwrap_or(usize::MAX);
        if size > whole || size as u64 > room - offset {
            return Err(damaged("claims more bytes than it can have"));
        }
        let mut stored = vec![0; size];
        read_at(&self.file, &mut stored, offset + head.len() as u64).map_err(reading)?;
        let mut even = vec![0; whole];
        if size == whole {
            zip::sort_stored(&stored, &mut even);
        } else {
            zip::decompress(&stored, &mut even).map_err(|zip::Damaged| damaged("cannot be decompressed"))?;
        }
        Ok(Block {
            even,
            half: whole.div_ceil(2),
        })
    }

    /// Even and odd bytes of a channel in row `row` of a block.
    fn bytes<'b>(&self, block: &'b Block, row: usize, channel: usize, columns: Range<usize>) -> Bytes<'b> {
        let (start, kind) = self.channels[channel];
        let width = self.data.width();
        // Types have two bytes or four, so every sample begins with an even byte.
        let size = kind.bytes() as usize;
        let from = (row * width * self.pixel + start * width + columns.start * size) / 2;
        let range = from..from + columns.len() * size / 2;
        let (even, odd) = block.planes();
        (&even[range.clone()], &odd[range])
    }

    /// Samples of a channel in row `row` of a block, as numbers.
    pub fn samples(&self, block: &Block, row: usize, channel: usize, columns: Range<usize>, out: &mut [f32]) {
        let kind = self.channels[channel].1;
        let (even, odd) = self.bytes(block, row, channel, columns);
        if kind == SampleType::Half {
            return planes::to_samples((even, odd), out);
        }
        let pairs = even.as_chunks::<2>().0.iter().zip(odd.as_chunks::<2>().0);
        for (out, (even, odd)) in out.iter_mut().zip(pairs) {
            let bytes = [even[0], odd[0], even[1], odd[1]];
            *out = match kind {
                SampleType::U32 => u32::from_le_bytes(bytes) as f32,
                _ => f32::from_le_bytes(bytes),
            };
        }
    }

    /// Pixels of a row of a block. `channels` are red, green, blue and alpha, or the number that stands for one that
    /// is missing.
    pub fn pixels(
        &self,
        block: &Block,
        row: usize,
        channels: &[std::result::Result<usize, f32>; 4],
        first: usize,
        out: &mut [Pixel],
    ) {
        let is_half = |channel: &std::result::Result<usize, f32>| match *channel {
            Ok(channel) => self.channels[channel].1 == SampleType::Half,
            Err(value) => f16::from_f32(value).to_f32() == value,
        };
        let all_half = channels.iter().all(is_half);
        // Halves of what stands for a missing channel.
        let constants = channels.map(|channel| {
            let [low, high] = f16::from_f32(channel.err().unwrap_or_default()).to_le_bytes();
            ([low; 256], [high; 256])
        });
        let mut planes = [[0.0; 256]; 4];
        for (index, out) in out.chunks_mut(256).enumerate() {
            let start = first + 256 * index;
            if all_half {
                let columns = start..start + out.len();
                let bytes: [Bytes; 4] = std::array::from_fn(|c| match channels[c] {
                    Ok(channel) => self.bytes(block, row, channel, columns.clone()),
                    Err(_) => (&constants[c].0[..out.len()], &constants[c].1[..out.len()]),
                });
                planes::to_pixels(bytes, out);
                continue;
            }
            for (plane, channel) in planes.iter_mut().zip(channels) {
                match *channel {
                    Ok(channel) => {
                        let columns = start..start + out.len();
                        self.samples(block, row, channel, columns, &mut plane[..out.len()]);
                    }
                    Err(value) => plane.fill(value),
                }
            }
            let [red, green, blue, alpha] = &planes;
            let colours = red.iter().zip(green).zip(blue).zip(alpha);
            for (pixel, (((&r, &g), &b), &a)) in out.iter_mut().zip(colours) {
                *pixel = [r, g, b, a];
            }
        }
    }
}

/// Reads bytes at a place, from many threads at once.
#[cfg(unix)]
fn read_at(file: &File, bytes: &mut [u8], offset: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, bytes, offset)
}

/// Reads bytes at a place, from many threads at once.
#[cfg(windows)]
fn read_at(file: &File, bytes: &mut [u8], offset: u64) -> io::Result<()> {
    let (mut rest, mut offset) = (bytes, offset);
    while !rest.is_empty() {
        match std::os::windows::fs::FileExt::seek_read(file, rest, offset)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            read => {
                rest = &mut rest[read..];
                offset += read as u64;
            }
        }
    }
    Ok(())
}
