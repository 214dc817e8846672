//! OpenEXR files: their headers and their pixels, some compressions of which the `exr` crate knows.

use std::fmt;

pub(crate) mod blocks;
mod codec;
pub(crate) mod decode;
mod deflate;
pub(crate) mod encode;
mod grid;
pub(crate) mod header;
mod huffman;
mod planes;
mod zip;

/// How pixels are compressed in an EXR file.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Compression {
    /// Not at all.
    None,
    /// Runs of bytes; for flat pictures.
    Rle,
    /// Deflate, row by row.
    Zips,
    /// Deflate, 16 rows at a time: lossless, small and fast enough for everything.
    #[default]
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

impl Compression {
    /// Every compression that can be written.
    pub const ALL: [Compression; 10] = [
        Compression::None,
        Compression::Rle,
        Compression::Zips,
        Compression::Zip,
        Compression::Piz,
        Compression::Pxr24,
        Compression::B44,
        Compression::B44a,
        Compression::Dwaa,
        Compression::Dwab,
    ];

    /// The name, as EXR tools spell it.
    pub fn name(self) -> &'static str {
        NAMES[self.code() as usize]
    }

    /// The compression of this name; case does not matter.
    pub fn parse(name: &str) -> Option<Compression> {
        Self::ALL
            .into_iter()
            .find(|compression| compression.name().eq_ignore_ascii_case(name))
    }

    /// Whether every half comes back as it was.
    pub fn is_lossless_for_half(self) -> bool {
        !matches!(
            self,
            Compression::B44 | Compression::B44a | Compression::Dwaa | Compression::Dwab
        )
    }

    /// The number in the file.
    pub(crate) fn code(self) -> u8 {
        Self::ALL.iter().position(|&other| other == self).unwrap_or(0) as u8
    }

    /// Most bytes of pixels that one byte in the file can stand for; `None` where that is unknown.
    pub(crate) fn most_dense(self) -> Option<u64> {
        match self {
            Compression::None => Some(1),
            // Two bytes make a run of at most 128.
            Compression::Rle => Some(64),
            // Deflate's limit is 1032.
            Compression::Zips | Compression::Zip | Compression::Pxr24 => Some(1100),
            _ => None,
        }
    }

    /// The same in the `exr` crate's terms.
    pub(crate) fn codec(self) -> ::exr::prelude::Compression {
        use ::exr::prelude::Compression as Codec;
        match self {
            Compression::None => Codec::Uncompressed,
            Compression::Rle => Codec::RLE,
            Compression::Zips => Codec::ZIP1,
            Compression::Zip => Codec::ZIP16,
            Compression::Piz => Codec::PIZ,
            Compression::Pxr24 => Codec::PXR24,
            Compression::B44 => Codec::B44,
            Compression::B44a => Codec::B44A,
            Compression::Dwaa => Codec::DWAA(None),
            Compression::Dwab => Codec::DWAB(None),
        }
    }
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// By number in the file; the last two are known by name alone.
const NAMES: [&str; 12] = [
    "none", "RLE", "ZIPS", "ZIP", "PIZ", "PXR24", "B44", "B44A", "DWAA", "DWAB", "HTJ2K256", "HTJ2K32",
];

pub(crate) fn compression_name(code: u8) -> String {
    NAMES
        .get(usize::from(code))
        .map_or_else(|| format!("unknown ({code})"), |&name| name.into())
}
