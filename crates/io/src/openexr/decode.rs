//! What may be decoded, and many channels at once.

use std::collections::HashSet;
use std::path::Path;

use super::Compression;
use super::blocks::{Blocks, IN_FLIGHT};
use super::grid::Grid;
use super::header::Header;
use crate::info::Storage;
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

/// What decoding needs beside the pixels' destination: blocks on their way and the table of their places.
pub(crate) fn working_bytes(header: &Header, wanted: &[Wanted]) -> u64 {
    let parts: HashSet<usize> = wanted.iter().map(|&(part, _)| part).collect();
    let in_flight = |part: &usize| {
        let grid = Grid::of(&header.parts[*part]);
        // Compressed, decompressed, and in between.
        let whole = grid.part_bytes().saturating_mul(3);
        grid.block_bytes().saturating_mul(3).max(IN_FLIGHT.min(whole))
    };
    let table: u64 = header
        .parts
        .iter()
        .map(|part| Grid::of(part).count().saturating_mul(64))
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
        let grid = Grid::of(part);
        let pixels = grid.part_bytes() / compression.most_dense().unwrap_or(u64::MAX);
        let least = grid
            .count()
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

/// Decodes the `wanted` channels and hands every run of samples to `sink`, part by part, each from top to bottom.
/// `header` must have passed [`check`], and the budget must allow [`working_bytes`].
pub(crate) fn decode(
    path: &Path,
    header: &Header,
    wanted: &[Wanted],
    mut sink: impl FnMut(Samples),
) -> Result<()> {
    let mut values = Vec::new();
    for part in 0..header.parts.len() {
        let here: Vec<(usize, usize)> = wanted
            .iter()
            .enumerate()
            .filter(|(_, (of, _))| *of == part)
            .map(|(place, &(_, channel))| (place, channel))
            .collect();
        if here.is_empty() {
            continue;
        }
        let channels: Vec<usize> = here.iter().map(|&(_, channel)| channel).collect();
        let blocks = Blocks::open(path, header, part, &channels)?;
        blocks.each(|block| {
            let place = block.place;
            values.resize(place.width, 0.0);
            for row in 0..place.height {
                for (channel, &(wanted, _)) in here.iter().enumerate() {
                    blocks.samples(block, row, channel, 0..place.width, &mut values);
                    sink(Samples {
                        wanted,
                        x: place.x,
                        y: place.y + row,
                        values: &values,
                    });
                }
            }
        })?;
    }
    Ok(())
}
