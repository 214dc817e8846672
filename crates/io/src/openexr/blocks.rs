//! Blocks of pixels, read and decompressed where they are wanted: a few rows of a part, or a tile.
//!
//! ZIP, ZIPS and what is not compressed are taken apart here, the rest by [`codec`](super::codec). A block is kept as it comes
//! out of deflate, low bytes before high bytes: half the size of numbers that one can calculate with, and as quickly
//! turned into them. Of a part with many channels only those that are wanted are kept.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::fs::File;
use std::mem;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};

use half::f16;
use peel_image::{Pixel, Rect};
use rayon::prelude::*;

use super::codec::{Codec, Understood};
use super::grid::{Grid, Place};
use super::header::Header;
use super::planes::Bytes;
use super::{Compression, planes, zip};
use crate::info::{PartInfo, SampleType, Storage};
use crate::place::read_at;
use crate::{Error, Result};

/// Bytes of blocks that are kept at first, for whoever reads from top to bottom.
const KEPT: usize = 8 << 20;

/// Most bytes that blocks on their way may hold at one time, where a part is read whole; at least one block is.
pub(crate) const IN_FLIGHT: u64 = 64 << 20;

/// Blocks whose memory waits for the next ones; about as many as there are threads that decode.
const SPARE: usize = 8;

thread_local! {
    /// What stands in a file, on its way into a block; used again by the thread for its next block.
    static STORED: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// A part of a file. Must have passed [`super::decode::check`].
pub(crate) struct Blocks {
    path: PathBuf,
    file: File,
    length: u64,
    /// Its number, in files of several parts.
    part: Option<usize>,
    data: Rect,
    grid: Grid,
    tiled: bool,
    /// `None` where blocks are taken apart here.
    codec: Option<Codec>,
    /// Where each channel of the part begins in a row, in bytes a column, and its type.
    stored: Vec<(usize, SampleType)>,
    /// The same of the wanted channels, in the rows of a [`Block`]; and their numbers in the part.
    channels: Vec<(usize, SampleType)>,
    wanted: Vec<usize>,
    offsets: Vec<u64>,
    blocks: Vec<Mutex<Slot>>,
    kept: Mutex<Kept>,
    /// Memory of blocks that are gone.
    spare: Mutex<Vec<Vec<u8>>>,
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

/// The wanted channels of a block: rows from top to bottom, in each row its channels; even bytes first.
pub(crate) struct Block {
    /// Where it lies in the data window.
    pub place: Place,
    sorted: Vec<u8>,
}

impl Block {
    fn planes(&self) -> (&[u8], &[u8]) {
        self.sorted.split_at(self.sorted.len().div_ceil(2))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What is locked here is whole between any two statements.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// [`lock`], unless somebody else has it.
fn try_lock<T>(mutex: &Mutex<T>) -> Option<MutexGuard<'_, T>> {
    match mutex.try_lock() {
        Ok(guard) => Some(guard),
        Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
        Err(TryLockError::WouldBlock) => None,
    }
}

/// Whether a part's blocks are taken apart here.
fn is_simple(part: &PartInfo) -> bool {
    let simple = [Compression::None, Compression::Zips, Compression::Zip];
    Compression::parse(&part.compression).is_some_and(|found| simple.contains(&found))
}

impl Blocks {
    /// Opens a part for the channels of these numbers, each of which it has.
    pub fn open(path: &Path, header: &Header, part: usize, wanted: &[usize]) -> Result<Blocks> {
        let described = &header.parts[part];
        let grid = Grid::of(described);
        let before = &header.parts[..part];
        let is_tiled = |part: &PartInfo| matches!(part.storage, Storage::Tiles(..));
        // How many levels a tiled part has, only the crate's reader of headers tells.
        let understood = match before.iter().any(is_tiled) || !is_simple(described) {
            true => Some(Understood::read(path, header)?),
            false => None,
        };
        // The table of places stands behind those of the parts before. A tiled part's largest level comes first.
        let entries = before.iter().enumerate().map(|(index, part)| match &understood {
            Some(understood) => understood.entries(index),
            None => Grid::of(part).count(),
        });
        let entries = entries.fold(0, u64::saturating_add);
        let table = header.length.saturating_add(entries.saturating_mul(8));
        let file = File::open(path).map_err(|error| Error::reading(path, error))?;
        let length = file
            .metadata()
            .map_err(|error| Error::reading(path, error))?
            .len();
        let size = grid.count().saturating_mul(8);
        if table.saturating_add(size) > length {
            return Err(Error::damaged(path, "it ends within its table of blocks"));
        }
        let mut bytes = vec![0; size as usize];
        read_at(&file, &mut bytes, table).map_err(|error| Error::reading(path, error))?;
        let stored = columns(described.channels.iter().map(|channel| channel.sample));
        let channels = columns(wanted.iter().map(|&channel| described.channels[channel].sample));
        let kept: usize = channels.iter().map(|(_, kind)| kind.bytes() as usize).sum();
        let most_pixels = grid.block_width.min(grid.width) * grid.block_height.min(grid.height);
        let kept_bytes = (most_pixels * kept).max(1);
        let count = grid.count() as usize;
        Ok(Blocks {
            path: path.to_owned(),
            length,
            file,
            part: (header.parts.len() > 1).then_some(part),
            data: described.data,
            tiled: is_tiled(described),
            codec: understood
                .filter(|_| !is_simple(described))
                .and_then(|understood| understood.codec(part)),
            stored,
            channels,
            wanted: wanted.to_vec(),
            offsets: bytes
                .as_chunks::<8>()
                .0
                .iter()
                .map(|word| u64::from_le_bytes(*word))
                .collect(),
            blocks: (0..count).map(|_| Mutex::default()).collect(),
            kept: Mutex::new(Kept {
                order: VecDeque::new(),
                // Bands of rows come back to a row of tiles.
                most: (KEPT / kept_bytes).max(4).max(2 * grid.across()),
            }),
            spare: Mutex::default(),
            grid,
        })
    }

    /// Hands out all blocks with pixels in a region of the data window, in no certain order. Those that others are at
    /// work on come last, so that readers of the same blocks share the work.
    pub fn each_in(&self, region: Rect, mut take: impl FnMut(&Block)) -> Result<()> {
        let relative = region.translate(-self.data.x0, -self.data.y0);
        let mut wanted: Vec<usize> = self.grid.meeting(relative).collect();
        while !wanted.is_empty() {
            let before = wanted.len();
            let mut busy = Vec::new();
            for &index in &wanted {
                match try_lock(&self.blocks[index]) {
                    Some(slot) => take(&*self.in_slot(index, slot)?),
                    None => busy.push(index),
                }
            }
            if let (Some(&first), true) = (busy.first(), busy.len() == before) {
                if let Some(last) = wanted.last() {
                    self.work_ahead(*last);
                }
                take(&*self.in_slot(first, lock(&self.blocks[first]))?);
                busy.remove(0);
            }
            wanted = busy;
        }
        Ok(())
    }

    /// Decodes a block below those that are wanted, instead of waiting: where blocks are taller than the bands in which
    /// a picture is asked for, all threads would wait for one.
    fn work_ahead(&self, after: usize) {
        let reach = lock(&self.kept).most - 1;
        let next = (after + 1..self.blocks.len()).take(reach);
        let free = next.filter_map(|index| Some((index, try_lock(&self.blocks[index])?)));
        let mut untouched = free.filter(|(_, slot)| slot.block.is_none() && !slot.seen);
        if let Some((index, slot)) = untouched.next() {
            // If it is damaged, whoever wants it will be told.
            let _ = self.in_slot(index, slot);
        }
    }

    /// A block that others will want too, from memory where it is there.
    fn in_slot(&self, index: usize, mut slot: MutexGuard<'_, Slot>) -> Result<Arc<Block>> {
        if let Some(block) = &slot.block {
            return Ok(Arc::clone(block));
        }
        let block = Arc::new(self.decode(index)?);
        slot.block = Some(Arc::clone(&block));
        let again = mem::replace(&mut slot.seen, true);
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
            let block = lock(&self.blocks[index]).block.take();
            if let Some(block) = block.and_then(Arc::into_inner) {
                self.let_go(block);
            }
        }
        Ok(block)
    }

    /// Decodes everything, some blocks at a time on all threads of the pool, and hands out one after the other.
    pub fn each(&self, mut take: impl FnMut(&Block)) -> Result<()> {
        let all: Vec<usize> = (0..self.blocks.len()).collect();
        for some in all.chunks(self.in_flight().min(4 * rayon::current_num_threads())) {
            let blocks = some.par_iter().map(|&index| self.decode(index));
            for block in blocks.collect::<Result<Vec<Block>>>()? {
                take(&block);
                self.let_go(block);
            }
        }
        Ok(())
    }

    /// How many blocks may be decoded at one time.
    fn in_flight(&self) -> usize {
        (IN_FLIGHT / (3 * self.grid.block_bytes()).max(1)).max(1) as usize
    }

    /// Decodes everything, on all threads of the pool, into a picture of the part's size: `fill` gets a block, one of its
    /// rows, and the row's place in the picture.
    pub fn fill_all<T: Send>(
        &self,
        picture: &mut [T],
        fill: impl Fn(&Block, usize, &mut [T]) + Sync,
    ) -> Result<()> {
        let Grid {
            width, block_height, ..
        } = self.grid;
        let across = self.grid.across();
        // Blocks of a row, and rows of blocks, that are decoded at one time.
        let most = self.in_flight();
        let (columns, rows) = (most.min(across.max(1)), (most / across.max(1)).max(1));
        let band = (block_height.min(self.grid.height) * width).max(1);
        let one_row = |row: usize, band: &mut [T]| -> Result<()> {
            let all: Vec<usize> = (row * across..(row + 1) * across).collect();
            for some in all.chunks(columns) {
                let blocks = some.par_iter().map(|&index| self.decode(index));
                for block in blocks.collect::<Result<Vec<Block>>>()? {
                    let place = block.place;
                    for (row, target) in band.chunks_mut(width).enumerate().take(place.height) {
                        fill(&block, row, &mut target[place.x..place.x + place.width]);
                    }
                    self.let_go(block);
                }
            }
            Ok(())
        };
        for (group, bands) in picture.chunks_mut(band.saturating_mul(rows)).enumerate() {
            let bands = bands.par_chunks_mut(band).enumerate();
            bands.try_for_each(|(row, band)| one_row(group * rows + row, band))?;
        }
        Ok(())
    }

    /// A block for one reader.
    fn decode(&self, index: usize) -> Result<Block> {
        STORED.with_borrow_mut(|stored| {
            let block = self.decode_with(index, stored);
            if stored.capacity() > KEPT {
                // Threads live long, and few blocks are as large.
                *stored = Vec::new();
            }
            block
        })
    }

    /// The same; `stored` is a buffer for what stands in the file.
    fn decode_with(&self, index: usize, stored: &mut Vec<u8>) -> Result<Block> {
        let place = self.grid.place(index);
        let whole = place.width * place.height * self.grid.pixel;
        self.read(index, place, whole, stored)?;
        let mut sorted = lock(&self.spare).pop().unwrap_or_default();
        // Whatever a buffer held is overwritten.
        sorted.resize(whole, 0);
        if stored.len() == whole {
            zip::sort_stored(stored, &mut sorted);
        } else if let Some(codec) = &self.codec {
            let samples = codec.decompress(&self.path, mem::take(stored), place, &self.stored)?;
            zip::sort_stored(&samples, &mut sorted);
        } else {
            zip::decompress(stored, &mut sorted)
                .map_err(|zip::Damaged| self.damaged(index, "cannot be decompressed"))?;
        }
        let is_all = self.wanted.iter().copied().eq(0..self.stored.len());
        let mut block = Block { place, sorted };
        if !is_all {
            let wanted = self.wanted_of(&block.sorted, place);
            self.let_go(mem::replace(
                &mut block,
                Block {
                    place,
                    sorted: wanted,
                },
            ));
        }
        Ok(block)
    }

    /// Keeps the memory of a block for the next one.
    fn let_go(&self, block: Block) {
        let mut spare = lock(&self.spare);
        if spare.len() < SPARE {
            spare.push(block.sorted);
        }
    }

    /// The bytes of a block as they stand in the file.
    fn read(&self, index: usize, place: Place, whole: usize, stored: &mut Vec<u8>) -> Result<()> {
        let damaged = |reason: &str| self.damaged(index, reason);
        let reading = |error| Error::reading(&self.path, error);
        // Number of the part, where there are several; first row, or column and row of the tile and its levels; size.
        let mut head = [0; 24];
        let words = 2 + usize::from(self.part.is_some()) + if self.tiled { 3 } else { 0 };
        let head = &mut head[..4 * words];
        let offset = self.offsets[index];
        let room = self.length.saturating_sub(head.len() as u64);
        if offset > room {
            return Err(damaged("lies beyond the end of the file"));
        }
        read_at(&self.file, head, offset).map_err(reading)?;
        let mut words = head
            .as_chunks::<4>()
            .0
            .iter()
            .map(|word| i32::from_le_bytes(*word));
        let mut next = || i64::from(words.next().unwrap_or_default());
        if self.part.is_some_and(|part| next() != part as i64) {
            return Err(damaged("belongs to another part"));
        }
        if self.tiled {
            let across = self.grid.across();
            let tile = ((index % across) as i64, (index / across) as i64);
            if (next(), next()) != tile || (next(), next()) != (0, 0) {
                return Err(damaged("is for another tile"));
            }
        } else if next() != i64::from(self.data.y0) + place.y as i64 {
            return Err(damaged("is for other rows"));
        }
        let size = usize::try_from(next()).unwrap_or(usize::MAX);
        // The crate's codecs may need more than the block has where it is cut off at an edge.
        let most = match &self.codec {
            Some(_) => self.grid.block_bytes() as usize,
            None => whole,
        };
        if size > most || size as u64 > room - offset {
            return Err(damaged("claims more bytes than it can have"));
        }
        stored.resize(size, 0);
        read_at(&self.file, stored, offset + head.len() as u64).map_err(reading)
    }

    /// What a sorted block holds of the wanted channels.
    fn wanted_of(&self, sorted: &[u8], place: Place) -> Vec<u8> {
        let pixel: usize = self.channels.iter().map(|(_, kind)| kind.bytes() as usize).sum();
        let rows = place.height;
        let mut out = Vec::with_capacity(place.width * rows * pixel);
        // Types have two bytes or four, so every sample begins with an even byte.
        for plane in sorted.chunks(sorted.len().div_ceil(2).max(1)) {
            for row in plane.chunks((place.width * self.grid.pixel / 2).max(1)) {
                for &channel in &self.wanted {
                    let (start, kind) = self.stored[channel];
                    let first = start * place.width / 2;
                    out.extend_from_slice(&row[first..first + place.width * kind.bytes() as usize / 2]);
                }
            }
        }
        out
    }

    fn damaged(&self, index: usize, reason: &str) -> Error {
        Error::damaged(&self.path, format!("block {index} of its pixels {reason}"))
    }

    /// Even and odd bytes of a wanted channel in row `row` of a block.
    fn bytes<'b>(&self, block: &'b Block, row: usize, channel: usize, columns: Range<usize>) -> Bytes<'b> {
        let (start, kind) = self.channels[channel];
        let pixel = self
            .channels
            .last()
            .map_or(0, |(start, kind)| start + kind.bytes() as usize);
        let width = block.place.width;
        let size = kind.bytes() as usize;
        let from = (row * width * pixel + start * width + columns.start * size) / 2;
        let range = from..from + columns.len() * size / 2;
        let (even, odd) = block.planes();
        (&even[range.clone()], &odd[range])
    }

    /// Samples of a wanted channel in row `row` of a block, as numbers.
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

    /// Pixels of a row of a block, from a column of it on. `channels` are red, green, blue and alpha, by their places among
    /// the wanted ones, or the number that stands for one that is missing.
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

/// Where each of some channels begins in a row, in bytes a column, and its type.
fn columns(kinds: impl Iterator<Item = SampleType>) -> Vec<(usize, SampleType)> {
    let mut next = 0;
    let place = |kind: SampleType| {
        let start = next;
        next += kind.bytes() as usize;
        (start, kind)
    };
    kinds.map(place).collect()
}
