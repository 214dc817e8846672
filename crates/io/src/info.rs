//! What a file holds, without its pixels.

use std::fmt;
use std::path::PathBuf;

use peel_image::Rect;

use crate::Attribute;

/// The formats that are read.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Format {
    /// OpenEXR.
    Exr,
    /// Portable Network Graphics.
    Png,
    /// JPEG.
    Jpeg,
    /// Tagged Image File Format.
    Tiff,
    /// WebP.
    WebP,
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Format::Exr => "OpenEXR",
            Format::Png => "PNG",
            Format::Jpeg => "JPEG",
            Format::Tiff => "TIFF",
            Format::WebP => "WebP",
        })
    }
}

/// How a number is stored.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum SampleType {
    /// 8-bit integer, 0 to 255 for 0 to 1.
    U8,
    /// 16-bit integer, 0 to 65535 for 0 to 1.
    U16,
    /// 32-bit integer, for ids; read as a number, not as a share.
    U32,
    /// 16-bit float.
    Half,
    /// 32-bit float.
    Float,
}

impl SampleType {
    /// Bytes of one sample.
    pub fn bytes(self) -> u64 {
        match self {
            SampleType::U8 => 1,
            SampleType::U16 | SampleType::Half => 2,
            SampleType::U32 | SampleType::Float => 4,
        }
    }
}

impl fmt::Display for SampleType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            SampleType::U8 => "uint8",
            SampleType::U16 => "uint16",
            SampleType::U32 => "uint32",
            SampleType::Half => "half",
            SampleType::Float => "float",
        })
    }
}

/// A channel of a part.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Channel {
    /// The full name, such as `mug.R`.
    pub name: String,
    /// How its numbers are stored.
    pub sample: SampleType,
    /// One sample every so many columns and rows; (1, 1) but for subsampled chroma.
    pub sampling: (u32, u32),
}

/// How a part's pixels are cut up.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Storage {
    /// Whole rows.
    ScanLines,
    /// Tiles of this width and height; further levels (mip maps) are ignored.
    Tiles(u32, u32),
    /// Any number of samples a pixel, in rows.
    DeepScanLines,
    /// Any number of samples a pixel, in tiles.
    DeepTiles,
}

impl fmt::Display for Storage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Storage::ScanLines => f.write_str("scan lines"),
            Storage::Tiles(width, height) => write!(f, "tiles {width}x{height}"),
            Storage::DeepScanLines => f.write_str("deep scan lines"),
            Storage::DeepTiles => f.write_str("deep tiles"),
        }
    }
}

/// One part of a file; only EXR files have more than one.
#[derive(Clone, PartialEq, Debug)]
pub struct PartInfo {
    /// The part's name, where it has one.
    pub name: Option<String>,
    /// The pixels that exist.
    pub data: Rect,
    /// The channels, in the file's order.
    pub channels: Vec<Channel>,
    /// How the pixels are compressed, as EXR calls it: `ZIP`, `PIZ`.
    pub compression: String,
    /// How the pixels are cut up.
    pub storage: Storage,
    /// What else the header says, in the file's order; none that describe the pixels' storage.
    pub attributes: Vec<Attribute>,
}

/// What a file holds, from its header alone.
#[derive(Clone, PartialEq, Debug)]
pub struct Info {
    /// The file.
    pub path: PathBuf,
    /// What kind of file it is.
    pub format: Format,
    /// The file's length.
    pub bytes: u64,
    /// The frame that the picture is seen through.
    pub display: Rect,
    /// Width of a pixel over its height.
    pub pixel_aspect: f32,
    /// The parts; one but for multi-part EXR files.
    pub parts: Vec<PartInfo>,
}

impl Info {
    /// The names of all layers, in the file's order; the unprefixed one is `""`. A single channel outside any
    /// colour layer, such as `Z`, is none.
    pub fn layers(&self) -> Vec<String> {
        crate::layers::group(&self.parts)
            .into_iter()
            .map(|layer| layer.name)
            .collect()
    }

    /// The full names of all channels, in the file's order.
    pub fn channels(&self) -> Vec<String> {
        self.parts
            .iter()
            .flat_map(|part| &part.channels)
            .map(|channel| channel.name.clone())
            .collect()
    }
}

impl fmt::Display for Info {
    /// Several lines for a person to read.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}: {}, {}",
            self.path.display(),
            self.format,
            crate::error::human(self.bytes)
        )?;
        write!(f, "\n  display {}", self.display)?;
        if self.pixel_aspect != 1.0 {
            write!(f, ", pixel aspect {}", self.pixel_aspect)?;
        }
        for part in &self.parts {
            let name = part
                .name
                .as_deref()
                .map_or("part".into(), |name| format!("part {name:?}"));
            write!(
                f,
                "\n  {name}: data {}, {}, {}",
                part.data, part.compression, part.storage
            )?;
            for channel in &part.channels {
                write!(f, "\n    {} {}", channel.name, channel.sample)?;
                if channel.sampling != (1, 1) {
                    write!(f, ", every {}x{} pixels", channel.sampling.0, channel.sampling.1)?;
                }
            }
            for attribute in &part.attributes {
                write!(f, "\n    {} = {attribute}", attribute.name)?;
            }
        }
        Ok(())
    }
}
