//! How a part of a file is cut up into blocks.

use std::ops::Range;

use peel_image::Rect;

use super::Compression;
use crate::info::{PartInfo, Storage};

/// The blocks of a part's largest level, row by row; smaller levels are ignored. Positions are relative to the data
/// window.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Grid {
    /// The part's size in pixels.
    pub width: usize,
    pub height: usize,
    /// A block's size in pixels, but for those at the right and lower edges; at least 1.
    pub block_width: usize,
    pub block_height: usize,
    /// Bytes of a pixel, all channels together.
    pub pixel: usize,
}

/// A block's place: its corner, and its size.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Place {
    pub x: usize,
    pub y: usize,
    pub width: usize,
    pub height: usize,
}

impl Grid {
    pub fn of(part: &PartInfo) -> Grid {
        let (width, height) = (part.data.width(), part.data.height());
        let (block_width, block_height) = match part.storage {
            Storage::Tiles(x, y) => (x as usize, y as usize),
            _ => {
                let rows =
                    Compression::parse(&part.compression).map_or(1, |c| c.codec().scan_lines_per_block());
                (width, rows)
            }
        };
        let pixel: u64 = part.channels.iter().map(|channel| channel.sample.bytes()).sum();
        Grid {
            width,
            height,
            block_width: block_width.max(1),
            block_height: block_height.max(1),
            pixel: pixel as usize,
        }
    }

    /// Blocks in a row.
    pub fn across(&self) -> usize {
        self.width.div_ceil(self.block_width)
    }

    /// Rows of blocks.
    pub fn down(&self) -> usize {
        self.height.div_ceil(self.block_height)
    }

    /// All blocks; as many as a file claims, so it may be too many.
    pub fn count(&self) -> u64 {
        (self.across() as u64).saturating_mul(self.down() as u64)
    }

    /// Bytes of the largest block, decompressed.
    pub fn block_bytes(&self) -> u64 {
        let (width, height) = (
            self.block_width.min(self.width),
            self.block_height.min(self.height),
        );
        bytes(width, height, self.pixel)
    }

    /// Bytes of the whole part, decompressed.
    pub fn part_bytes(&self) -> u64 {
        bytes(self.width, self.height, self.pixel)
    }

    /// Where a block lies, for an index below [`Grid::count`].
    pub fn place(&self, index: usize) -> Place {
        let across = self.across().max(1);
        let (x, y) = (
            index % across * self.block_width,
            index / across * self.block_height,
        );
        Place {
            x,
            y,
            width: self.block_width.min(self.width.saturating_sub(x)),
            height: self.block_height.min(self.height.saturating_sub(y)),
        }
    }

    /// The blocks with pixels in a region of the data window, row by row.
    pub fn meeting(&self, region: Rect) -> impl Iterator<Item = usize> + use<> {
        let (columns, rows) = match region.is_empty() {
            true => (0..0, 0..0),
            false => (
                span(region.x0, region.x1, self.block_width),
                span(region.y0, region.y1, self.block_height),
            ),
        };
        let across = self.across();
        rows.flat_map(move |row| columns.clone().map(move |column| row * across + column))
    }
}

/// The cells of `size` that a stretch of pixels touches.
fn span(first: i32, end: i32, size: usize) -> Range<usize> {
    let (first, end) = (first.max(0) as usize, end.max(0) as usize);
    first / size..end.div_ceil(size)
}

fn bytes(width: usize, height: usize, pixel: usize) -> u64 {
    (width as u64)
        .saturating_mul(height as u64)
        .saturating_mul(pixel as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GRID: Grid = Grid {
        width: 70,
        height: 33,
        block_width: 32,
        block_height: 16,
        pixel: 8,
    };

    #[test]
    fn blocks_at_the_edges_are_smaller() {
        assert_eq!((GRID.across(), GRID.down(), GRID.count()), (3, 3, 9));
        let place = |index| {
            let Place { x, y, width, height } = GRID.place(index);
            (x, y, width, height)
        };
        assert_eq!(place(0), (0, 0, 32, 16));
        assert_eq!(place(5), (64, 16, 6, 16));
        assert_eq!(place(8), (64, 32, 6, 1));
        assert_eq!(
            (GRID.block_bytes(), GRID.part_bytes()),
            (32 * 16 * 8, 70 * 33 * 8)
        );
        let wide = Grid {
            block_width: 1 << 30,
            block_height: 1 << 30,
            ..GRID
        };
        assert_eq!((wide.count(), wide.block_bytes()), (1, wide.part_bytes()));
    }

    #[test]
    fn a_region_meets_the_blocks_that_it_touches() {
        let meeting = |x0, y0, x1, y1| GRID.meeting(Rect::new(x0, y0, x1, y1)).collect::<Vec<_>>();
        assert_eq!(meeting(0, 0, 70, 33), (0..9).collect::<Vec<_>>());
        assert_eq!(meeting(31, 15, 33, 17), [0, 1, 3, 4]);
        assert_eq!(meeting(32, 16, 64, 32), [4]);
        assert_eq!(meeting(69, 32, 70, 33), [8]);
        assert!(GRID.meeting(Rect::EMPTY).next().is_none());
    }
}
