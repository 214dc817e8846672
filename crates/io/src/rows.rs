//! A layer that is read where it is wanted.

use std::path::Path;

use peel_image::colour::Conversion;
use peel_image::{Layer, Matte, Pixel, Rect};
use rayon::prelude::*;

use crate::info::PartInfo;
use crate::layers::{LayerPlace, Role};
use crate::openexr::decode::Wanted;
use crate::openexr::header::Header;
use crate::openexr::scan::{Block, Scan};
use crate::picture;
use crate::{Budget, ReadOptions, Result};

/// A layer of an EXR file, open for reading: any part of it, in any order, from many threads. Whoever reads rows from
/// top to bottom causes every block to be decompressed once and kept for a moment, as halves where the file has halves.
/// For whoever comes back to blocks that are gone, as a turned picture does, more and more are kept.
pub struct Rows {
    scan: Scan,
    /// Red, green, blue, alpha; a number where the layer lacks the channel.
    channels: [std::result::Result<usize, f32>; 4],
    conversion: Conversion,
    display: Rect,
    data: Rect,
    pixel_aspect: f32,
}

impl Rows {
    /// Opens the layer that [`crate::read`] would read with these options. `None` where the file is of a kind that
    /// can only be read whole, or all layers are wanted.
    pub fn open(path: &Path, options: &ReadOptions, budget: &Budget) -> Result<Option<Rows>> {
        picture::open_rows(path, options, budget)
    }

    /// The same, once the header is read and the budget checked.
    pub(crate) fn of(
        path: &Path,
        header: &Header,
        layer: &LayerPlace,
        conversion: Conversion,
    ) -> Result<Option<Rows>> {
        let Some(scan) = Scan::open(path, header, layer.part)? else {
            return Ok(None);
        };
        // Colours that a layer lacks are 0, an alpha that it lacks is 1: it is opaque.
        let mut channels = [Err(0.0), Err(0.0), Err(0.0), Err(1.0)];
        for &(channel, role) in &layer.channels {
            for &component in Role::components(role) {
                channels[component] = Ok(channel);
            }
        }
        let PartInfo { data, .. } = &header.parts[layer.part];
        Ok(Some(Rows {
            scan,
            channels,
            conversion,
            display: header.display,
            data: *data,
            pixel_aspect: header.pixel_aspect,
        }))
    }

    /// The pixels that exist.
    pub fn data(&self) -> Rect {
        self.data
    }

    /// The pixels inside `region`, as far as the data window reaches, which becomes that of the layer.
    pub fn read(&self, region: Rect) -> Result<Layer> {
        let region = region.intersect(self.data);
        let mut layer = Layer::new(self.display, region).with_pixel_aspect(self.pixel_aspect);
        let rows = self.scan.block_rows();
        let mut y = region.y0;
        while y < region.y1 {
            let index = (y - self.data.y0) as usize / rows;
            let block = self.scan.block(index)?;
            let end =
                (i64::from(self.data.y0) + ((index + 1) * rows) as i64).min(i64::from(region.y1)) as i32;
            for y in y..end {
                self.fill(
                    &block,
                    index,
                    y,
                    (region.x0 - self.data.x0) as usize,
                    layer.row_mut(y),
                );
            }
            y = end;
        }
        Ok(layer)
    }

    /// The whole layer, on all threads of the pool.
    pub(crate) fn read_all(&self) -> Result<Layer> {
        let mut layer = Layer::new(self.display, self.data).with_pixel_aspect(self.pixel_aspect);
        let rows = self.scan.block_rows();
        let width = self.data.width();
        let bands = layer
            .pixels_mut()
            .par_chunks_mut((rows * width).max(1))
            .enumerate();
        bands.try_for_each(|(index, pixels)| -> Result<()> {
            let block = self.scan.decode(index)?;
            let first = self.data.y0 + (index * rows) as i32;
            for (y, row) in (first..).zip(pixels.chunks_mut(width)) {
                self.fill(&block, index, y, 0, row);
            }
            Ok(())
        })?;
        Ok(layer)
    }

    fn fill(&self, block: &Block, index: usize, y: i32, first: usize, row: &mut [Pixel]) {
        let in_block = (y - self.data.y0) as usize - index * self.scan.block_rows();
        self.scan.pixels(block, in_block, &self.channels, first, row);
        self.conversion.apply_row(row);
    }
}

/// A single channel, whole; `None` where only the codec can read it. Must have passed [`crate::openexr::decode::check`].
pub(crate) fn read_plane(path: &Path, header: &Header, (part, channel): Wanted) -> Result<Option<Matte>> {
    let Some(scan) = Scan::open(path, header, part)? else {
        return Ok(None);
    };
    let data = header.parts[part].data;
    let mut matte = Matte::new(header.display, data);
    let (rows, width) = (scan.block_rows(), data.width());
    let bands = matte
        .values_mut()
        .par_chunks_mut((rows * width).max(1))
        .enumerate();
    bands.try_for_each(|(index, values)| -> Result<()> {
        let block = scan.decode(index)?;
        for (row, values) in values.chunks_mut(width).enumerate() {
            scan.samples(&block, row, channel, 0..width, values);
        }
        Ok(())
    })?;
    Ok(Some(matte))
}
