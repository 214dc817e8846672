//! The choices of Write: the words of `peel-io`, with their help texts.

use std::path::Path;

use peel_node::Choice;

/// The kinds of files that are written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    Exr,
    Png,
    Jpeg,
}

impl Kind {
    /// By the path's ending; case does not matter.
    pub fn of(path: &Path) -> Option<Kind> {
        let ending = path.extension()?.to_str()?.to_ascii_lowercase();
        match ending.as_str() {
            "exr" => Some(Kind::Exr),
            "png" => Some(Kind::Png),
            "jpg" | "jpeg" => Some(Kind::Jpeg),
            _ => None,
        }
    }
}

/// How the layers of a stack share an EXR file.
#[derive(Choice, Clone, Copy, PartialEq, Eq, Debug)]
pub enum Layout {
    /// One part with channels `NAME.R` and so on, in a data window around all layers: what every tool reads.
    Spec,
    /// One part a layer, each with its own tight data window: smaller and faster.
    Multipart,
    /// One part with channels `NAME.red` and so on: what Nuke reads as exactly these layers.
    Nuke,
}

impl From<Layout> for peel_io::Layout {
    fn from(layout: Layout) -> peel_io::Layout {
        match layout {
            Layout::Spec => peel_io::Layout::Spec,
            Layout::Multipart => peel_io::Layout::Multipart,
            Layout::Nuke => peel_io::Layout::Nuke,
        }
    }
}

/// How an EXR file is compressed.
#[derive(Choice, Clone, Copy, PartialEq, Eq, Debug)]
pub enum Compression {
    /// Not at all.
    None,
    /// Runs of bytes; for flat pictures.
    Rle,
    /// Deflate, row by row.
    Zips,
    /// Deflate, 16 rows at a time: lossless, small and fast enough for everything.
    Zip,
    /// Wavelets, lossless; smaller for grain.
    Piz,
    /// Lossless for half, 24 bits for float.
    Pxr24,
    /// Lossy, of fixed size.
    B44,
    /// Lossy, smaller in flat areas.
    B44a,
    /// Lossy, 32 rows at a time; for review.
    Dwaa,
    /// Lossy, 256 rows at a time.
    Dwab,
}

impl From<Compression> for peel_io::Compression {
    fn from(compression: Compression) -> peel_io::Compression {
        match compression {
            Compression::None => peel_io::Compression::None,
            Compression::Rle => peel_io::Compression::Rle,
            Compression::Zips => peel_io::Compression::Zips,
            Compression::Zip => peel_io::Compression::Zip,
            Compression::Piz => peel_io::Compression::Piz,
            Compression::Pxr24 => peel_io::Compression::Pxr24,
            Compression::B44 => peel_io::Compression::B44,
            Compression::B44a => peel_io::Compression::B44a,
            Compression::Dwaa => peel_io::Compression::Dwaa,
            Compression::Dwab => peel_io::Compression::Dwab,
        }
    }
}

/// The numbers of an EXR file.
#[derive(Choice, Clone, Copy, PartialEq, Eq, Debug)]
pub enum Pixels {
    /// 16-bit floats.
    Half,
    /// 32-bit floats.
    Float,
}

impl From<Pixels> for peel_io::PixelType {
    fn from(pixels: Pixels) -> peel_io::PixelType {
        match pixels {
            Pixels::Half => peel_io::PixelType::Half,
            Pixels::Float => peel_io::PixelType::Float,
        }
    }
}

/// Bits of a PNG's channel.
#[derive(Choice, Clone, Copy, PartialEq, Eq, Debug)]
pub enum Bits {
    /// 8 bits.
    Eight,
    /// 16 bits.
    Sixteen,
}

impl From<Bits> for peel_io::Depth {
    fn from(bits: Bits) -> peel_io::Depth {
        match bits {
            Bits::Eight => peel_io::Depth::Eight,
            Bits::Sixteen => peel_io::Depth::Sixteen,
        }
    }
}
