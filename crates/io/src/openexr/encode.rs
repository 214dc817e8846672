//! Pixels into EXR files: scan lines, one or more parts, the same bytes for the same pixels whatever the
//! number of threads.

use std::io::{self, Seek, SeekFrom, Write};

use ::exr::block::chunk::Chunk;
use ::exr::block::{BlockIndex, UncompressedBlock};
use ::exr::meta::BlockDescription;
use ::exr::meta::attribute::{ChannelDescription, LineOrder, SampleType as ExrSample, Text};
use ::exr::meta::header::Header as ExrHeader;
use ::exr::prelude::{SmallVec, Vec2};
use half::f16;
use half::slice::HalfFloatSliceExt;
use peel_image::{Layer, Rect};
use rayon::prelude::*;

use super::Compression;
use super::header::{self, HeaderOut};
use crate::Attribute;
use crate::info::{Channel, SampleType};

/// A channel to be written: one component of a layer.
pub(crate) struct ChannelOut<'a> {
    pub name: String,
    pub layer: &'a Layer,
    /// 0 to 3 for red, green, blue, alpha.
    pub component: usize,
    pub sample: SampleType,
}

/// A part to be written. Channels may come in any order; `data` must not be empty.
pub(crate) struct PartOut<'a> {
    pub name: Option<String>,
    pub data: Rect,
    pub channels: Vec<ChannelOut<'a>>,
}

/// What all parts share.
pub(crate) struct Shared<'a> {
    pub display: Rect,
    pub pixel_aspect: f32,
    pub compression: Compression,
    pub attributes: &'a [Attribute],
}

/// Writes a whole file.
pub(crate) fn encode(
    out: &mut (impl Write + Seek),
    mut parts: Vec<PartOut>,
    shared: &Shared,
) -> io::Result<()> {
    for part in &mut parts {
        // The format demands this order.
        part.channels.sort_by(|a, b| a.name.cmp(&b.name));
    }
    let rows = shared.compression.codec().scan_lines_per_block();
    let many = parts.len() > 1;
    let headers: Vec<HeaderOut> = parts
        .iter()
        .map(|part| header_of(part, shared, rows, many))
        .collect();
    out.write_all(&header::write(&headers))?;

    let table_start = out.stream_position()?;
    let counts: Vec<usize> = parts
        .iter()
        .map(|part| part.data.height().div_ceil(rows))
        .collect();
    let mut offsets: Vec<u64> = vec![0; counts.iter().sum()];
    out.write_all(bytes_of(&offsets).as_slice())?;

    let codec_headers: Vec<ExrHeader> = parts.iter().map(|part| codec_header(part, shared)).collect();
    let blocks: Vec<(usize, usize)> = counts
        .iter()
        .enumerate()
        .flat_map(|(part, &count)| (0..count).map(move |block| (part, block)))
        .collect();
    let mut position = out.stream_position()?;
    // A few blocks a thread at a time; compressed together, written in order.
    let batch = 4 * rayon::current_num_threads();
    for (first, batch) in (0..).step_by(batch).zip(blocks.chunks(batch)) {
        let chunks: Vec<io::Result<Vec<u8>>> = batch
            .par_iter()
            .map(|&(part, block)| chunk_bytes(&parts[part], part, block, rows, &codec_headers))
            .collect();
        for (index, chunk) in (first..).zip(chunks) {
            let chunk = chunk?;
            offsets[index] = position;
            position += chunk.len() as u64;
            out.write_all(&chunk)?;
        }
    }
    out.seek(SeekFrom::Start(table_start))?;
    out.write_all(bytes_of(&offsets).as_slice())?;
    out.seek(SeekFrom::Start(position))?;
    Ok(())
}

fn bytes_of(offsets: &[u64]) -> Vec<u8> {
    offsets.iter().flat_map(|offset| offset.to_le_bytes()).collect()
}

fn header_of(part: &PartOut, shared: &Shared, rows: usize, many: bool) -> HeaderOut {
    let one_byte = |name: &str, kind: &str, value| Attribute {
        name: name.into(),
        kind: kind.into(),
        bytes: vec![value],
    };
    let described: Vec<Channel> = part
        .channels
        .iter()
        .map(|channel| Channel {
            name: channel.name.clone(),
            sample: channel.sample,
            sampling: (1, 1),
        })
        .collect();
    let mut required = vec![
        header::channel_list(&described),
        one_byte("compression", "compression", shared.compression.code()),
        header::window("dataWindow", part.data),
        header::window("displayWindow", shared.display),
        one_byte("lineOrder", "lineOrder", 0),
        Attribute::float("pixelAspectRatio", shared.pixel_aspect),
        Attribute {
            name: "screenWindowCenter".into(),
            kind: "v2f".into(),
            bytes: vec![0; 8],
        },
        Attribute::float("screenWindowWidth", 1.0),
    ];
    if let Some(name) = &part.name {
        required.push(Attribute::text("name", name.as_str()));
    }
    if many {
        required.push(Attribute::text("type", "scanlineimage"));
        required.push(Attribute::int(
            "chunkCount",
            part.data.height().div_ceil(rows) as i32,
        ));
    }
    HeaderOut::new(required, shared.attributes)
}

/// The header as far as the codec asks for it.
fn codec_header(part: &PartOut, shared: &Shared) -> ExrHeader {
    let channels: SmallVec<[ChannelDescription; 5]> = part
        .channels
        .iter()
        .map(|channel| {
            let kind = if channel.sample == SampleType::Float {
                ExrSample::F32
            } else {
                ExrSample::F16
            };
            // Names matter to DWA, which treats R, G and B as a colour.
            ChannelDescription::new(Text::from_slice_unchecked(channel.name.as_bytes()), kind, false)
        })
        .collect();
    ExrHeader::new(
        Text::from("part"),
        (part.data.width(), part.data.height()),
        channels,
    )
    .with_encoding(
        shared.compression.codec(),
        BlockDescription::ScanLines,
        LineOrder::Increasing,
    )
    .with_position(Vec2(part.data.x0, part.data.y0))
}

/// Block number `block` of a part, compressed, as it stands in the file.
fn chunk_bytes(
    part: &PartOut,
    index: usize,
    block: usize,
    rows: usize,
    headers: &[ExrHeader],
) -> io::Result<Vec<u8>> {
    let first = block * rows;
    let count = rows.min(part.data.height() - first);
    let width = part.data.width();
    let mut data = Vec::new();
    for row in first..first + count {
        let y = part.data.y0 + row as i32;
        for channel in &part.channels {
            append_row(channel, part.data, y, &mut data);
        }
    }
    let place = BlockIndex {
        layer: index,
        pixel_position: Vec2(0, first),
        pixel_size: Vec2(width, count),
        level: Vec2(0, 0),
    };
    let other = |error: ::exr::error::Error| io::Error::other(error.to_string());
    let chunk: Chunk = UncompressedBlock { index: place, data }
        .compress_to_chunk(headers)
        .map_err(other)?;
    let mut bytes = Vec::new();
    chunk.write(&mut bytes, headers.len()).map_err(other)?;
    Ok(bytes)
}

/// Row `y` of a channel over the columns of `window`, in the machine's byte order.
fn append_row(channel: &ChannelOut, window: Rect, y: i32, out: &mut Vec<u8>) {
    let (x0, pixels) = channel.layer.span(y, window.x0, window.x1);
    let left = if pixels.is_empty() {
        window.width()
    } else {
        (x0 - window.x0) as usize
    };
    let right = window.width() - left - pixels.len();
    let size = channel.sample.bytes() as usize;
    out.resize(out.len() + left * size, 0);
    let component = channel.component;
    if channel.sample == SampleType::Float {
        out.extend(pixels.iter().flat_map(|pixel| pixel[component].to_ne_bytes()));
    } else {
        let (mut values, mut halves) = ([0.0; 256], [f16::ZERO; 256]);
        for pixels in pixels.chunks(values.len()) {
            for (value, pixel) in values.iter_mut().zip(pixels) {
                *value = pixel[component];
            }
            let halves = &mut halves[..pixels.len()];
            halves.convert_from_f32_slice(&values[..pixels.len()]);
            out.extend(halves.iter().flat_map(|half| half.to_ne_bytes()));
        }
    }
    out.resize(out.len() + right * size, 0);
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    /// A disk with room for so many bytes.
    struct Full {
        file: Cursor<Vec<u8>>,
        room: usize,
    }

    impl Write for Full {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if self.file.position() as usize + bytes.len() > self.room {
                return Err(io::ErrorKind::StorageFull.into());
            }
            self.file.write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Seek for Full {
        fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
            self.file.seek(to)
        }
    }

    #[test]
    fn a_full_disk_is_an_error_wherever_it_fills_up() {
        let frame = Rect::of_size(40, 40);
        let layer = Layer::from_fn(frame, frame, |x, y| [x as f32, y as f32, (x * y) as f32, 1.0]);
        let write = |room| {
            let channel = |(component, name): (usize, &&str)| ChannelOut {
                name: (*name).into(),
                layer: &layer,
                component,
                sample: SampleType::Half,
            };
            let channels = ["R", "G", "B", "A"].iter().enumerate().map(channel).collect();
            let shared = Shared {
                display: frame,
                pixel_aspect: 1.0,
                compression: Compression::Zip,
                attributes: &[],
            };
            let mut disk = Full {
                file: Cursor::default(),
                room,
            };
            encode(
                &mut disk,
                vec![PartOut {
                    name: None,
                    data: frame,
                    channels,
                }],
                &shared,
            )
            .map(|()| disk.file.into_inner().len())
        };
        let whole = write(usize::MAX).unwrap();
        assert_eq!(write(whole).unwrap(), whole);
        for room in (0..whole).step_by(7) {
            assert_eq!(
                write(room).unwrap_err().kind(),
                io::ErrorKind::StorageFull,
                "{room} of {whole}"
            );
        }
    }
}
