//! Pixels out of EXR files.
//!
//! The `exr` crate decompresses; what it is given is checked first, since it trusts some sizes in a file so
//! far that a damaged one can ask for hundreds of gigabytes and abort the process.

use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use ::exr::block::UncompressedBlock;
use ::exr::block::chunk::{Chunk, CompressedBlock};
use ::exr::block::reader::ChunksReader;
use ::exr::meta::MetaData;
use ::exr::prelude::SampleType as ExrSample;
use half::f16;
use half::slice::HalfFloatSliceExt;
use rayon::prelude::*;

use super::Compression;
use super::header::{self, Header};
use crate::info::{PartInfo, Storage};
use crate::{Error, Result};

/// A channel to decode: its part and its index in that part.
pub(crate) type Wanted = (usize, usize);

/// A run of decoded samples of one channel.
pub(crate) struct Samples<'a> {
    /// Where the channel stands in the list that was asked for.
    pub wanted: usize,
    /// Column of the first sample, relative to the data window.
    pub x: usize,
    /// Row, relative to the data window.
    pub y: usize,
    /// The values; integers as numbers.
    pub values: &'a [f32],
}

/// Most bytes that decoded blocks may hold at one time, beside the picture they go into.
const IN_FLIGHT: u64 = 64 << 20;

/// What decoding needs beside the pixels' destination: blocks on their way and the table of their places.
pub(crate) fn working_bytes(header: &Header, wanted: &[Wanted]) -> u64 {
    let parts: HashSet<usize> = wanted.iter().map(|&(part, _)| part).collect();
    let in_flight = |part: &usize| {
        let blocks = Blocks::of(&header.parts[*part]);
        // Compressed, decompressed, and in between.
        let whole = blocks.part_bytes.saturating_mul(3);
        blocks.bytes.saturating_mul(3).max(IN_FLIGHT.min(whole))
    };
    let table: u64 = header
        .parts
        .iter()
        .map(|part| Blocks::of(part).count.saturating_mul(64))
        .sum();
    parts
        .iter()
        .map(in_flight)
        .max()
        .unwrap_or(0)
        .saturating_add(table)
}

/// Whether the part can be decoded at all, and whether the file is long enough to hold what it claims.
pub(crate) fn check(path: &Path, length: u64, header: &Header, wanted: &[Wanted]) -> Result<()> {
    for (index, part) in header.parts.iter().enumerate() {
        let here = || {
            part.name
                .clone()
                .or_else(|| (index > 0).then(|| format!("number {}", index + 1)))
        };
        let unsupported = |feature: String, advice: &str| Error::Unsupported {
            path: path.to_owned(),
            part: here(),
            feature,
            advice: advice.into(),
        };
        if matches!(part.storage, Storage::DeepScanLines | Storage::DeepTiles) {
            return Err(unsupported("deep data is".into(), "flatten it before reading it"));
        }
        if let Some(channel) = part.channels.iter().find(|channel| channel.sampling != (1, 1)) {
            let (x, y) = channel.sampling;
            return Err(unsupported(
                format!(
                    "chroma subsampling (channel {:?}, every {x}x{y} pixels) is",
                    channel.name
                ),
                "convert it to RGB channels of full size",
            ));
        }
        let damaged = |reason| Error::Damaged {
            path: path.to_owned(),
            part: here(),
            reason,
        };
        if let Storage::Tiles(x, y) = part.storage
            && (x == 0 || y == 0 || x > i32::MAX as u32 / 2 || y > i32::MAX as u32 / 2)
        {
            return Err(damaged(format!("its tiles are {x}x{y} pixels")));
        }
        let Some(compression) = Compression::parse(&part.compression) else {
            return Err(unsupported(
                format!("{} compression is", part.compression),
                "write it with ZIP, PIZ or DWAA compression",
            ));
        };
        if !wanted.iter().any(|&(wanted, _)| wanted == index) {
            continue;
        }
        // Each block has an entry of 8 bytes in the table, and at least 9 bytes of its own; the first level of
        // a tiled part is one of several, so this is the least that a sound file has.
        let blocks = Blocks::of(part);
        let pixels = blocks.part_bytes / compression.most_dense().unwrap_or(u64::MAX);
        let least = blocks
            .count
            .saturating_mul(17)
            .max(pixels)
            .saturating_add(header.length);
        if length < least {
            return Err(damaged(format!(
                "it claims {} pixels and ends after {length} bytes, where at least {least} are needed",
                part.data
            )));
        }
    }
    Ok(())
}

/// How a part is cut up, counting its first level alone.
struct Blocks {
    count: u64,
    /// Bytes of the largest block, decompressed.
    bytes: u64,
    /// Bytes of the whole part, decompressed.
    part_bytes: u64,
}

impl Blocks {
    fn of(part: &PartInfo) -> Blocks {
        let pixel: u64 = part.channels.iter().map(|channel| channel.sample.bytes()).sum();
        let (width, height) = (part.data.width() as u64, part.data.height() as u64);
        let (block_width, block_height) = match part.storage {
            Storage::Tiles(x, y) => (u64::from(x), u64::from(y)),
            _ => {
                let rows =
                    Compression::parse(&part.compression).map_or(1, |c| c.codec().scan_lines_per_block());
                (width, rows as u64)
            }
        };
        let (across, down) = (
            width.div_ceil(block_width.max(1)),
            height.div_ceil(block_height.max(1)),
        );
        Blocks {
            count: across.saturating_mul(down),
            bytes: block_width
                .min(width)
                .saturating_mul(block_height.min(height))
                .saturating_mul(pixel),
            part_bytes: width.saturating_mul(height).saturating_mul(pixel),
        }
    }
}

/// Decodes the `wanted` channels and hands every run of samples to `sink`. The order of the runs is the file's.
/// `header` must have passed [`check`], and the budget must allow [`working_bytes`].
pub(crate) fn decode(
    path: &Path,
    header: &Header,
    wanted: &[Wanted],
    mut sink: impl FnMut(Samples),
) -> Result<()> {
    // The last line of defence: a panic in the codec is damage in the file.
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        decode_checked(path, header, wanted, &mut sink)
    }));
    outcome.unwrap_or_else(|_| Err(Error::damaged(path, "its compressed pixels make no sense")))
}

fn decode_checked(
    path: &Path,
    header: &Header,
    wanted: &[Wanted],
    sink: &mut impl FnMut(Samples),
) -> Result<()> {
    let failed = |error| of_codec(path, error);
    let (_, input) = header::open(path)?;
    let reader = ::exr::block::read(input, false).map_err(failed)?;
    let targets = targets(path, header, reader.meta_data(), wanted)?;
    let parts: HashSet<usize> = wanted.iter().map(|&(part, _)| part).collect();
    let mut chunks = reader
        .filter_chunks(false, |_, tile, block| {
            tile.is_largest_resolution_level() && parts.contains(&block.layer)
        })
        .map_err(failed)?;
    let meta = chunks.meta_data().clone();
    let block_bytes = parts
        .iter()
        .map(|&part| Blocks::of(&header.parts[part]).bytes)
        .max()
        .unwrap_or(1);
    let batch = (IN_FLIGHT / (3 * block_bytes).max(1)).clamp(1, 4 * rayon::current_num_threads() as u64);
    let mut seen = HashSet::new();
    let mut values = Vec::new();
    loop {
        let compressed: Vec<Chunk> = chunks
            .by_ref()
            .take(batch as usize)
            .collect::<Result<_, _>>()
            .map_err(failed)?;
        if compressed.is_empty() {
            return Ok(());
        }
        for chunk in &compressed {
            check_chunk(path, header, &meta, chunk)?;
        }
        let blocks: Vec<UncompressedBlock> = compressed
            .into_par_iter()
            .map(|chunk| UncompressedBlock::decompress_chunk(chunk, &meta, false))
            .collect::<Result<_, _>>()
            .map_err(failed)?;
        for block in blocks {
            let place = block.index.pixel_position;
            if !seen.insert((block.index.layer, place.0, place.1)) {
                return Err(Error::damaged(
                    path,
                    "two entries of its offset table lead to the same pixels",
                ));
            }
            let (Some(exr_part), Some(by_channel)) = (
                meta.headers.get(block.index.layer),
                targets.get(block.index.layer),
            ) else {
                continue;
            };
            for line in block.lines(&exr_part.channels) {
                let Some(Some(wanted)) = by_channel.get(line.location.channel) else {
                    continue;
                };
                let Some(channel) = exr_part.channels.list.get(line.location.channel) else {
                    continue;
                };
                to_f32(line.value, channel.sample_type, &mut values);
                let (x, y) = (line.location.position.0, line.location.position.1);
                sink(Samples {
                    wanted: *wanted,
                    x,
                    y,
                    values: &values,
                });
            }
        }
    }
}

/// For each part and channel in the codec's order: where it stands in `wanted`.
fn targets(
    path: &Path,
    header: &Header,
    meta: &MetaData,
    wanted: &[Wanted],
) -> Result<Vec<Vec<Option<usize>>>> {
    let differ = || Error::damaged(path, "its header can be read in two ways");
    if meta.headers.len() != header.parts.len() {
        return Err(differ());
    }
    let mut out = Vec::with_capacity(header.parts.len());
    for (index, (theirs, ours)) in meta.headers.iter().zip(&header.parts).enumerate() {
        let size = (theirs.layer_size.0, theirs.layer_size.1);
        if size != (ours.data.width(), ours.data.height())
            || theirs.channels.list.len() != ours.channels.len()
        {
            return Err(differ());
        }
        let place = |name: &str| {
            let channel = ours.channels.iter().position(|channel| channel.name == name)?;
            wanted.iter().position(|&asked| asked == (index, channel))
        };
        let names = theirs
            .channels
            .list
            .iter()
            .map(|c| String::from_utf8_lossy(c.name.as_slice()).into_owned());
        out.push(names.map(|name| place(&name)).collect());
    }
    Ok(out)
}

/// The sizes that a DWA block claims for its sections, which the codec would allocate without a look.
fn check_chunk(path: &Path, header: &Header, meta: &MetaData, chunk: &Chunk) -> Result<()> {
    let (Some(part), Some(exr_part)) = (
        header.parts.get(chunk.layer_index),
        meta.headers.get(chunk.layer_index),
    ) else {
        return Err(Error::damaged(path, "a block of pixels belongs to no part"));
    };
    let bytes = match &chunk.compressed_block {
        CompressedBlock::ScanLine(block) => &block.compressed_pixels_le,
        CompressedBlock::Tile(block) => &block.compressed_pixels_le,
        _ => return Err(Error::damaged(path, "a block of deep pixels in a flat part")),
    };
    if !matches!(
        exr_part.compression,
        ::exr::prelude::Compression::DWAA(_) | ::exr::prelude::Compression::DWAB(_)
    ) {
        return Ok(());
    }
    // A block that would not get smaller is stored as it is.
    let place = exr_part
        .get_block_data_indices(&chunk.compressed_block)
        .and_then(|tile| exr_part.get_absolute_block_pixel_coordinates(tile))
        .map_err(|error| of_codec(path, error))?;
    if bytes.len() == place.size.area() * exr_part.channels.bytes_per_pixel {
        return Ok(());
    }
    // Eleven 64-bit counters: version; sizes of the sections; counts of coefficients (see OpenEXR's
    // internal_dwa_compressor.h). None can sensibly pass a few times the block's own size.
    let (counters, _) = bytes.as_chunks::<8>();
    let most = 4 * Blocks::of(part).bytes + (1 << 16);
    let claims = counters
        .iter()
        .take(10)
        .skip(1)
        .map(|&counter| u64::from_le_bytes(counter));
    if claims.max().unwrap_or(0) > most {
        return Err(Error::damaged(
            path,
            "a DWA block claims more data than its pixels can have",
        ));
    }
    Ok(())
}

/// Native-endian samples to numbers.
fn to_f32(bytes: &[u8], kind: ExrSample, out: &mut Vec<f32>) {
    out.clear();
    match kind {
        ExrSample::F16 => {
            let (words, _) = bytes.as_chunks::<2>();
            let mut block = [f16::ZERO; 256];
            for words in words.chunks(block.len()) {
                for (half, &word) in block.iter_mut().zip(words) {
                    *half = f16::from_ne_bytes(word);
                }
                let start = out.len();
                out.resize(start + words.len(), 0.0);
                block[..words.len()].convert_to_f32_slice(&mut out[start..]);
            }
        }
        ExrSample::F32 => out.extend(
            bytes
                .as_chunks::<4>()
                .0
                .iter()
                .map(|&word| f32::from_ne_bytes(word)),
        ),
        ExrSample::U32 => out.extend(
            bytes
                .as_chunks::<4>()
                .0
                .iter()
                .map(|&word| u32::from_ne_bytes(word) as f32),
        ),
    }
}

/// The codec's error in our words.
fn of_codec(path: &Path, error: ::exr::error::Error) -> Error {
    match error {
        ::exr::error::Error::Io(source) => Error::reading(path, source),
        ::exr::error::Error::NotSupported(what) => Error::Unsupported {
            path: path.to_owned(),
            part: None,
            feature: format!("something in it ({what}) is"),
            advice: "write it with ZIP or PIZ compression".into(),
        },
        other => Error::damaged(path, other.to_string()),
    }
}
