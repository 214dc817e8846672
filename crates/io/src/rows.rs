//! A layer that is read where it is wanted: of the file, the blocks that a region meets.

use std::path::Path;

use peel_image::colour::Conversion;
use peel_image::{Layer, Matte, Pixel, Rect};

use crate::info::PartInfo;
use crate::layers::{LayerPlace, Role};
use crate::openexr::blocks::{Block, Blocks};
use crate::openexr::decode::Wanted;
use crate::openexr::header::Header;
use crate::picture;
use crate::{Budget, ReadOptions, Result};

/// A layer of an EXR file, open for reading: any part of it, in any order, from many threads. Whoever reads rows from
/// top to bottom causes every block (or tile) to be decompressed once and kept for a moment, as halves where the file has
/// halves. For whoever comes back to blocks that are gone, as a turned picture does, more and more are kept.
pub struct Rows {
    blocks: Blocks,
    /// Red, green, blue, alpha; a number where the layer lacks the channel.
    channels: [std::result::Result<usize, f32>; 4],
    conversion: Conversion,
    display: Rect,
    data: Rect,
    pixel_aspect: f32,
}

impl Rows {
    /// Opens the layer that [`crate::read`] would read with these options. `None` where the file is no EXR, or all layers
    /// are wanted.
    pub fn open(path: &Path, options: &ReadOptions, budget: &Budget) -> Result<Option<Rows>> {
        picture::open_rows(path, options, budget)
    }

    /// The same, once the header is read and the budget checked.
    pub(crate) fn of(
        path: &Path,
        header: &Header,
        layer: &LayerPlace,
        conversion: Conversion,
    ) -> Result<Rows> {
        // Colours that a layer lacks are 0, an alpha that it lacks is 1: it is opaque.
        let mut channels = [Err(0.0), Err(0.0), Err(0.0), Err(1.0)];
        for (place, &(_, role)) in layer.channels.iter().enumerate() {
            for &component in Role::components(role) {
                channels[component] = Ok(place);
            }
        }
        let wanted: Vec<usize> = layer.channels.iter().map(|&(channel, _)| channel).collect();
        let PartInfo { data, .. } = &header.parts[layer.part];
        Ok(Rows {
            blocks: Blocks::open(path, header, layer.part, &wanted)?,
            channels,
            conversion,
            display: header.display,
            data: *data,
            pixel_aspect: header.pixel_aspect,
        })
    }

    /// The pixels that exist.
    pub fn data(&self) -> Rect {
        self.data
    }

    /// The pixels inside `region`, as far as the data window reaches, which becomes that of the layer.
    pub fn read(&self, region: Rect) -> Result<Layer> {
        let region = region.intersect(self.data);
        // Blocks leave no gaps.
        let mut layer = Layer::to_overwrite(self.display, region).with_pixel_aspect(self.pixel_aspect);
        self.blocks.each_in(region, |block| {
            // The block's pixels in the picture, and those of them that are wanted.
            let (x0, y0) = (
                self.data.x0 + block.place.x as i32,
                self.data.y0 + block.place.y as i32,
            );
            let whole = Rect::new(
                x0,
                y0,
                x0 + block.place.width as i32,
                y0 + block.place.height as i32,
            );
            let part = whole.intersect(region);
            let columns = (part.x0 - region.x0) as usize..(part.x1 - region.x0) as usize;
            for y in part.y0..part.y1 {
                let row = &mut layer.row_mut(y)[columns.clone()];
                self.fill(block, (y - y0) as usize, (part.x0 - x0) as usize, row);
            }
        })?;
        Ok(layer)
    }

    /// The whole layer, on all threads of the pool.
    pub(crate) fn read_all(&self) -> Result<Layer> {
        let mut layer = Layer::new(self.display, self.data).with_pixel_aspect(self.pixel_aspect);
        self.blocks.fill_all(layer.pixels_mut(), |block, row, pixels| {
            self.fill(block, row, 0, pixels)
        })?;
        Ok(layer)
    }

    fn fill(&self, block: &Block, row: usize, first: usize, pixels: &mut [Pixel]) {
        self.blocks.pixels(block, row, &self.channels, first, pixels);
        self.conversion.apply_row(pixels);
    }
}

/// A single channel, whole. Must have passed [`crate::openexr::decode::check`].
pub(crate) fn read_plane(path: &Path, header: &Header, (part, channel): Wanted) -> Result<Matte> {
    let blocks = Blocks::open(path, header, part, &[channel])?;
    let mut matte = Matte::new(header.display, header.parts[part].data);
    blocks.fill_all(matte.values_mut(), |block, row, values| {
        blocks.samples(block, row, 0, 0..values.len(), values);
    })?;
    Ok(matte)
}
