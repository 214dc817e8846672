//! EXR headers, read with nothing believed and written with nothing left to chance.
//!
//! The `exr` crate's own header reader keeps unknown attributes in hash maps, whose order changes from run to
//! run, and trusts sizes more than a stranger's file deserves. So headers are read and written here, and the
//! crate gets to see only files whose header was found sound. Layout: "OpenEXR File Layout", openexr.com.

use std::io::{self, Read};
use std::path::Path;

use peel_image::Rect;

use crate::info::{Channel, PartInfo, SampleType, Storage};
use crate::{Attribute, Error, Result};

/// The first four bytes of every EXR file.
pub(crate) const MAGIC: [u8; 4] = [0x76, 0x2f, 0x31, 0x01];

const FLAG_TILED: u32 = 1 << 9;
const FLAG_LONG_NAMES: u32 = 1 << 10;
const FLAG_DEEP: u32 = 1 << 11;
const FLAG_MULTIPART: u32 = 1 << 12;

/// Attributes that describe how pixels are stored, not what they show; they do not pass through.
const STRUCTURAL: [&str; 18] = [
    "channels",
    "chunkCount",
    "compression",
    "dataWindow",
    "deepImageState",
    "displayWindow",
    "dwaCompressionLevel",
    "lineOrder",
    "maxSamplesPerPixel",
    "multiView",
    "name",
    "pixelAspectRatio",
    "preview",
    "screenWindowCenter",
    "screenWindowWidth",
    "tiles",
    "type",
    "version",
];

/// Whether an attribute of this name is written by the writer itself.
pub(crate) fn is_structural(name: &str) -> bool {
    STRUCTURAL.contains(&name)
}

/// What a file's header says.
pub(crate) struct Header {
    pub display: Rect,
    pub pixel_aspect: f32,
    pub parts: Vec<PartInfo>,
    /// Bytes before the offset tables.
    pub length: u64,
}

/// Reads and checks the header of the file at `path`, `length` bytes long.
pub(crate) fn read(path: &Path, length: u64, input: &mut impl Read) -> Result<Header> {
    let mut input = Input {
        path,
        input,
        left: length,
    };
    if input.bytes(4)? != MAGIC {
        return Err(Error::NotAPicture {
            path: path.to_owned(),
            reason: "it does not begin like an EXR".into(),
        });
    }
    let version = input.u32()?;
    if version & 0xff != 2 {
        return Err(input.unsupported(
            format!("EXR version {} is", version & 0xff),
            "write it as version 2",
        ));
    }
    let known = 0xff | FLAG_TILED | FLAG_LONG_NAMES | FLAG_DEEP | FLAG_MULTIPART;
    if version & !known != 0 {
        return Err(input.unsupported(
            "a newer EXR feature is".into(),
            "write it with OpenEXR 2 features only",
        ));
    }
    let multipart = version & FLAG_MULTIPART != 0;
    let mut raw_parts = Vec::new();
    loop {
        let attributes = input.attributes()?;
        if attributes.is_empty() && multipart && !raw_parts.is_empty() {
            break;
        }
        raw_parts.push(attributes);
        if !multipart {
            break;
        }
    }
    let mut frame = None;
    let mut parts = Vec::with_capacity(raw_parts.len());
    for (index, attributes) in raw_parts.into_iter().enumerate() {
        let raw = RawPart {
            path,
            label: index,
            attributes,
        };
        // The parts share a display window by the rules; where they do not, the first one's counts.
        let display = raw.window("displayWindow")?;
        let aspect = raw.f32("pixelAspectRatio").unwrap_or(1.0);
        frame.get_or_insert((
            display,
            if aspect.is_normal() && aspect > 0.0 {
                aspect
            } else {
                1.0
            },
        ));
        parts.push(raw.into_info(version)?);
    }
    let (display, pixel_aspect) = frame.ok_or_else(|| Error::damaged(path, "it has no parts"))?;
    Ok(Header {
        display,
        pixel_aspect,
        parts,
        length: length - input.left,
    })
}

/// The file up to here, with the bytes that can still come: no length in it is believed beyond them.
struct Input<'a, R> {
    path: &'a Path,
    input: &'a mut R,
    left: u64,
}

impl<R: Read> Input<'_, R> {
    fn bytes(&mut self, count: u64) -> Result<Vec<u8>> {
        if count > self.left {
            return Err(Error::damaged(self.path, "it ends within its header"));
        }
        let mut bytes = vec![0; count as usize];
        self.input
            .read_exact(&mut bytes)
            .map_err(|error| Error::reading(self.path, error))?;
        self.left -= count;
        Ok(bytes)
    }

    fn u32(&mut self) -> Result<u32> {
        let bytes = self.bytes(4)?;
        Ok(bytes.first_chunk().map_or(0, |&word| u32::from_le_bytes(word)))
    }

    /// A text that ends with a zero byte.
    fn name(&mut self) -> Result<String> {
        let mut name = Vec::new();
        loop {
            match self.bytes(1)?[0] {
                0 => return Ok(String::from_utf8_lossy(&name).into_owned()),
                _ if name.len() == 255 => {
                    return Err(Error::damaged(self.path, "a name in its header has no end"));
                }
                byte => name.push(byte),
            }
        }
    }

    /// One header: attributes up to an empty name.
    fn attributes(&mut self) -> Result<Vec<Attribute>> {
        let mut attributes = Vec::new();
        loop {
            let name = self.name()?;
            if name.is_empty() {
                return Ok(attributes);
            }
            let kind = self.name()?;
            let size = self.u32()?;
            let bytes = self.bytes(u64::from(size)).map_err(|_| {
                Error::damaged(
                    self.path,
                    format!("attribute {name:?} claims {size} bytes, more than follow"),
                )
            })?;
            attributes.push(Attribute { name, kind, bytes });
        }
    }

    fn unsupported(&self, feature: String, advice: &str) -> Error {
        Error::Unsupported {
            path: self.path.to_owned(),
            part: None,
            feature,
            advice: advice.into(),
        }
    }
}

/// One header as it stands in the file.
struct RawPart<'a> {
    path: &'a Path,
    label: usize,
    attributes: Vec<Attribute>,
}

impl RawPart<'_> {
    fn get(&self, name: &str, kind: &str) -> Option<&[u8]> {
        let found = self
            .attributes
            .iter()
            .find(|attribute| attribute.name == name && attribute.kind == kind);
        found.map(|attribute| attribute.bytes.as_slice())
    }

    fn need(&self, name: &str, kind: &str) -> Result<&[u8]> {
        self.get(name, kind)
            .ok_or_else(|| self.damaged(format!("attribute {name:?} is missing")))
    }

    fn f32(&self, name: &str) -> Option<f32> {
        self.get(name, "float")?.try_into().ok().map(f32::from_le_bytes)
    }

    fn name(&self) -> Option<String> {
        self.get("name", "string")
            .map(|bytes| String::from_utf8_lossy(bytes).into_owned())
    }

    fn window(&self, name: &str) -> Result<Rect> {
        let bytes = self.need(name, "box2i")?;
        let (words, _) = bytes.as_chunks::<4>();
        let &[x0, y0, x1, y1] = words else {
            return Err(self.damaged(format!("{name} has {} bytes, not 16", bytes.len())));
        };
        let [x0, y0, x1, y1] = [x0, y0, x1, y1].map(i32::from_le_bytes);
        let shown = format!("({x0}, {y0}) to ({x1}, {y1})");
        if x1 < x0 || y1 < y0 {
            return Err(self.damaged(format!("{name} {shown} is empty or inverted")));
        }
        // OpenEXR's own limit; half of the number range is beyond any picture.
        if [x0, y0, x1, y1]
            .iter()
            .any(|v| v.unsigned_abs() > i32::MAX as u32 / 2)
        {
            return Err(self.damaged(format!("{name} {shown} is impossibly far out")));
        }
        Ok(Rect::new(x0, y0, x1 + 1, y1 + 1))
    }

    fn channels(&self) -> Result<Vec<Channel>> {
        let mut rest = self.need("channels", "chlist")?;
        let mut channels: Vec<Channel> = Vec::new();
        loop {
            let end = rest.iter().position(|&byte| byte == 0);
            let (name, after) = match end {
                Some(end) => (&rest[..end], &rest[end + 1..]),
                None => return Err(self.damaged("the channel list has no end")),
            };
            if name.is_empty() {
                break;
            }
            let name = String::from_utf8_lossy(name).into_owned();
            let (words, _) = after.as_chunks::<4>();
            let &[kind, _linear, x, y] = words
                .first_chunk::<4>()
                .ok_or_else(|| self.damaged(format!("the channel list ends within channel {name:?}")))?;
            let sample = match i32::from_le_bytes(kind) {
                0 => SampleType::U32,
                1 => SampleType::Half,
                2 => SampleType::Float,
                other => return Err(self.damaged(format!("channel {name:?} has the unknown type {other}"))),
            };
            let sampling = (u32::from_le_bytes(x), u32::from_le_bytes(y));
            if channels.iter().any(|channel| channel.name == name) {
                return Err(self.damaged(format!("channel {name:?} is there twice")));
            }
            channels.push(Channel {
                name,
                sample,
                sampling,
            });
            rest = &after[16..];
        }
        if channels.is_empty() {
            return Err(self.damaged("it has no channels"));
        }
        Ok(channels)
    }

    fn storage(&self, version: u32) -> Result<Storage> {
        let tiled = || -> Result<(u32, u32)> {
            let (words, _) = self.need("tiles", "tiledesc")?.as_chunks::<4>();
            match words {
                [x, y, ..] => Ok((u32::from_le_bytes(*x), u32::from_le_bytes(*y))),
                _ => Err(self.damaged("attribute \"tiles\" is too short")),
            }
        };
        let kind = self.get("type", "string").map(String::from_utf8_lossy);
        match kind.as_deref() {
            Some("deepscanline") => Ok(Storage::DeepScanLines),
            Some("deeptile") => Ok(Storage::DeepTiles),
            // Single-part files say it in the version field, and that is what counts there.
            _ if version & FLAG_DEEP != 0 && version & FLAG_MULTIPART == 0 => Ok(Storage::DeepScanLines),
            _ if version & FLAG_TILED != 0 => tiled().map(|(x, y)| Storage::Tiles(x, y)),
            Some("tiledimage") => tiled().map(|(x, y)| Storage::Tiles(x, y)),
            Some("scanlineimage") | None => Ok(Storage::ScanLines),
            Some(other) => Err(self.damaged(format!("its type {other:?} is unknown"))),
        }
    }

    fn into_info(self, version: u32) -> Result<PartInfo> {
        let compression = match self.need("compression", "compression")? {
            [code] => super::compression_name(*code),
            _ => return Err(self.damaged("attribute \"compression\" is not one byte")),
        };
        Ok(PartInfo {
            name: self.name(),
            data: self.window("dataWindow")?,
            channels: self.channels()?,
            compression,
            storage: self.storage(version)?,
            attributes: self
                .attributes
                .into_iter()
                .filter(|a| !is_structural(&a.name))
                .collect(),
        })
    }

    fn damaged(&self, reason: impl Into<String>) -> Error {
        let part = self
            .name()
            .or_else(|| (self.label > 0).then(|| format!("number {}", self.label + 1)));
        Error::Damaged {
            path: self.path.to_owned(),
            part,
            reason: reason.into(),
        }
    }
}

/// A header to be written.
pub(crate) struct HeaderOut {
    /// In the order in which they are written.
    pub attributes: Vec<Attribute>,
}

impl HeaderOut {
    /// The attributes that every part needs, then `passed` ones; sorted by name, so that the bytes do not depend
    /// on who added what first. The first of several with one name counts.
    pub fn new(mut required: Vec<Attribute>, passed: &[Attribute]) -> HeaderOut {
        for attribute in passed {
            let taken = required.iter().any(|other| other.name == attribute.name);
            if !taken && !is_structural(&attribute.name) {
                required.push(attribute.clone());
            }
        }
        required.sort_by(|a, b| a.name.cmp(&b.name));
        HeaderOut { attributes: required }
    }
}

/// The bytes of a file up to its offset tables.
pub(crate) fn write(headers: &[HeaderOut]) -> Vec<u8> {
    let attributes = || headers.iter().flat_map(|header| &header.attributes);
    let long = |name: &str| name.len() > 31;
    // Channel names count too; they stand in the channel list.
    let long_channel = |a: &Attribute| a.name == "channels" && longest_channel(&a.bytes) > 31;
    let long_names = attributes().any(|a| long(&a.name) || long(&a.kind) || long_channel(a));
    let mut version = 2;
    version |= if long_names { FLAG_LONG_NAMES } else { 0 };
    version |= if headers.len() > 1 { FLAG_MULTIPART } else { 0 };

    let mut out = Vec::from(MAGIC);
    out.extend(version.to_le_bytes());
    for header in headers {
        for attribute in &header.attributes {
            out.extend(attribute.name.as_bytes());
            out.push(0);
            out.extend(attribute.kind.as_bytes());
            out.push(0);
            out.extend((attribute.bytes.len() as u32).to_le_bytes());
            out.extend(&attribute.bytes);
        }
        out.push(0);
    }
    if headers.len() > 1 {
        out.push(0);
    }
    out
}

/// Length of the longest name in a channel list made by [`channel_list`].
fn longest_channel(list: &[u8]) -> usize {
    let (mut rest, mut longest) = (list, 0);
    while let Some(end) = rest.iter().position(|&byte| byte == 0) {
        longest = longest.max(end);
        rest = rest.get(end + 17..).unwrap_or_default();
    }
    longest
}

/// The `channels` attribute of unsubsampled channels, which must be sorted by name.
pub(crate) fn channel_list(channels: &[Channel]) -> Attribute {
    let mut bytes = Vec::new();
    for channel in channels {
        bytes.extend(channel.name.as_bytes());
        bytes.push(0);
        let kind: i32 = match channel.sample {
            SampleType::Float => 2,
            SampleType::U32 => 0,
            _ => 1,
        };
        for word in [kind, 0, 1, 1] {
            bytes.extend(word.to_le_bytes());
        }
    }
    bytes.push(0);
    Attribute {
        name: "channels".into(),
        kind: "chlist".into(),
        bytes,
    }
}

/// A window attribute, in EXR's inclusive form. `window` must not be empty.
pub(crate) fn window(name: &str, window: Rect) -> Attribute {
    let corners = [window.x0, window.y0, window.x1 - 1, window.y1 - 1];
    let bytes = corners.iter().flat_map(|v| v.to_le_bytes()).collect();
    Attribute {
        name: name.into(),
        kind: "box2i".into(),
        bytes,
    }
}

/// The file's length, and a buffered reader at its start.
pub(crate) fn open(path: &Path) -> Result<(u64, io::BufReader<std::fs::File>)> {
    let reading = |error| Error::reading(path, error);
    let file = std::fs::File::open(path).map_err(reading)?;
    let described = file.metadata().map_err(reading)?;
    if described.is_dir() {
        return Err(Error::NotAPicture {
            path: path.to_owned(),
            reason: "it is a folder".into(),
        });
    }
    Ok((described.len(), io::BufReader::with_capacity(1 << 16, file)))
}
