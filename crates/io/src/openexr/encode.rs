//! Pixels into EXR files: scan lines, one or more parts, the same bytes for the same pixels whatever the
//! number of threads.

use std::collections::BTreeMap;
use std::io::{self, Seek, SeekFrom, Write};
use std::mem;
use std::ops::Range;

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

use super::header::{self, HeaderOut};
use super::planes::BytesMut;
use super::{Compression, codec, planes, zip};
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
pub(crate) fn encode(out: &mut (impl Write + Seek), parts: Vec<PartOut>, shared: &Shared) -> io::Result<()> {
    let (mut file, plan) = begin(out, parts, shared)?;
    // A few blocks a thread at a time; compressed together, written in order.
    for batch in plan.blocks().chunks(4 * rayon::current_num_threads()) {
        let chunks: Vec<io::Result<Vec<u8>>> = batch
            .par_iter()
            .map(|&(part, block)| plan.chunk(&plan.parts[part], part, block))
            .collect();
        for chunk in chunks {
            file.put(file.next, chunk?)?;
        }
    }
    file.finish()
}

/// Writes the header of a file, and room for the places of its chunks. The layers of the parts need not hold the
/// pixels yet.
pub(crate) fn begin<'a, W: Write + Seek>(
    out: W,
    mut parts: Vec<PartOut<'a>>,
    shared: &Shared,
) -> io::Result<(ChunkFile<W>, Plan<'a>)> {
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
    let plan = Plan {
        rows,
        compression: shared.compression,
        headers: parts.iter().map(|part| codec_header(part, shared)).collect(),
        parts,
    };
    let file = ChunkFile::begin(out, &header::write(&headers), plan.blocks().len())?;
    Ok((file, plan))
}

/// How pixels become chunks.
pub(crate) struct Plan<'a> {
    pub parts: Vec<PartOut<'a>>,
    /// Rows of a block.
    pub rows: usize,
    compression: Compression,
    headers: Vec<ExrHeader>,
}

/// A file that gets its chunks in any order and holds them in the order of the picture.
pub(crate) struct ChunkFile<W> {
    out: W,
    table: u64,
    position: u64,
    offsets: Vec<u64>,
    /// The chunk that the file goes on with.
    pub next: usize,
    /// Chunks that came before their time.
    early: BTreeMap<usize, Vec<u8>>,
}

impl<W: Write + Seek> ChunkFile<W> {
    fn begin(mut out: W, header: &[u8], chunks: usize) -> io::Result<ChunkFile<W>> {
        out.write_all(header)?;
        let table = out.stream_position()?;
        let offsets = vec![0; chunks];
        out.write_all(&bytes_of(&offsets))?;
        Ok(ChunkFile {
            position: out.stream_position()?,
            out,
            table,
            offsets,
            next: 0,
            early: BTreeMap::new(),
        })
    }

    /// Chunk number `index`, once.
    pub fn put(&mut self, index: usize, chunk: Vec<u8>) -> io::Result<()> {
        self.early.insert(index, chunk);
        while let Some(chunk) = self.early.remove(&self.next) {
            self.offsets[self.next] = self.position;
            self.position += chunk.len() as u64;
            self.out.write_all(&chunk)?;
            self.next += 1;
        }
        Ok(())
    }

    /// Where each chunk will stand when all have this many bytes: for whoever writes them there without this one. Returns
    /// the place of the first; the others follow on it.
    pub fn all_of_size(&mut self, bytes: usize) -> u64 {
        let first = self.position;
        for offset in &mut self.offsets {
            *offset = self.position;
            self.position += bytes as u64;
        }
        self.next = self.offsets.len();
        first
    }

    /// Says where the chunks are, once all are there.
    pub fn finish(&mut self) -> io::Result<()> {
        check_complete(self.next, self.offsets.len())?;
        self.out.seek(SeekFrom::Start(self.table))?;
        self.out.write_all(&bytes_of(&self.offsets))?;
        self.out.seek(SeekFrom::Start(self.position))?;
        Ok(())
    }
}

/// An error unless as many blocks came as there must be.
pub(crate) fn check_complete(came: usize, blocks: usize) -> io::Result<()> {
    if came < blocks {
        let text = format!("rows are missing: {came} of {blocks} blocks came");
        return Err(io::Error::other(text));
    }
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

impl Plan<'_> {
    /// Part and number of every block, in the order of the file.
    pub fn blocks(&self) -> Vec<(usize, usize)> {
        let of_part = |(part, described): (usize, &PartOut)| {
            let count = described.data.height().div_ceil(self.rows);
            (0..count).map(move |block| (part, block))
        };
        self.parts.iter().enumerate().flat_map(of_part).collect()
    }

    /// Block number `block` of part number `index`, compressed, as it stands in the file. `part` is that part, with
    /// layers that hold at least the block's rows.
    pub fn chunk(&self, part: &PartOut, index: usize, block: usize) -> io::Result<Vec<u8>> {
        let first = block * self.rows;
        let count = self.rows.min(part.data.height() - first);
        let width = part.data.width();
        let pixel: usize = part
            .channels
            .iter()
            .map(|channel| channel.sample.bytes() as usize)
            .sum();
        let length = count * width * pixel;
        match self.compression {
            Compression::Zip | Compression::Zips => {
                return Ok(self.zip_chunk(part, index, first..first + count, length));
            }
            Compression::None => {
                let mut bytes = vec![0; self.head_bytes() + length];
                self.put_plain(part, index, first..first + count, &mut bytes);
                return Ok(bytes);
            }
            _ => {}
        }
        let mut data = vec![0; length];
        put_rows(part, first..first + count, &mut data);
        if cfg!(target_endian = "big") {
            // The codec takes numbers as this machine has them.
            codec::to_native_endian(
                &mut data,
                width,
                part.channels.iter().map(|channel| channel.sample),
            );
        }
        let place = BlockIndex {
            layer: index,
            pixel_position: Vec2(0, first),
            pixel_size: Vec2(width, count),
            level: Vec2(0, 0),
        };
        let other = |error: ::exr::error::Error| io::Error::other(error.to_string());
        let chunk: Chunk = UncompressedBlock { index: place, data }
            .compress_to_chunk(&self.headers)
            .map_err(other)?;
        let mut bytes = Vec::new();
        chunk.write(&mut bytes, self.headers.len()).map_err(other)?;
        Ok(bytes)
    }

    /// Bytes of each chunk of the only part, where they all have as many and that is known without their pixels.
    pub fn chunk_bytes(&self) -> Option<usize> {
        let [part] = self.parts.as_slice() else {
            return None;
        };
        let pixel: u64 = part.channels.iter().map(|channel| channel.sample.bytes()).sum();
        (self.compression == Compression::None && self.rows == 1)
            .then(|| self.head_bytes() + part.data.width() * pixel as usize)
    }

    /// Bytes before the pixels of a chunk: number of the part, where there are several; first row; size.
    fn head_bytes(&self) -> usize {
        4 * if self.parts.len() > 1 { 3 } else { 2 }
    }

    /// Some rows as they are, into a chunk that is as long as head and rows together; whatever it held is overwritten.
    pub fn put_plain(&self, part: &PartOut, index: usize, rows: Range<usize>, chunk: &mut [u8]) {
        let (head, pixels) = chunk.split_at_mut(self.head_bytes());
        let words = [
            index as i32,
            part.data.y0 + rows.start as i32,
            pixels.len() as i32,
        ];
        let words = &words[words.len() - head.len() / 4..];
        for (to, word) in head.as_chunks_mut::<4>().0.iter_mut().zip(words) {
            *to = word.to_le_bytes();
        }
        put_rows(part, rows, pixels);
    }

    /// Number of the part, where there are several; first row; size; `length` bytes of the rows, compressed.
    fn zip_chunk(&self, part: &PartOut, index: usize, rows: Range<usize>, length: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(length / 2);
        if self.parts.len() > 1 {
            bytes.extend((index as i32).to_le_bytes());
        }
        let row = |row: usize| part.data.y0 + row as i32;
        bytes.extend(row(rows.start).to_le_bytes());
        let start = bytes.len() + 4;
        bytes.extend([0; 4]);
        zip::compress(length, &mut bytes, |even, odd| {
            let mut rest = (even, odd);
            rows.for_each(|number| split_row(part, row(number), &mut rest));
        });
        let size = (bytes.len() - start) as i32;
        bytes[start - 4..start].copy_from_slice(&size.to_le_bytes());
        bytes
    }
}

/// Row `y` of all channels of a part, their low bytes apart from the high ones, at the beginning of `rest`, which loses
/// them and is 0.
fn split_row(part: &PartOut, y: i32, rest: &mut BytesMut) {
    let (window, width) = (part.data, part.data.width());
    let mut channels = part.channels.as_slice();
    while let Some((channel, others)) = channels.split_first() {
        let (x0, pixels) = channel.layer.span(y, window.x0, window.x1);
        let left = if pixels.is_empty() {
            0
        } else {
            (x0 - window.x0) as usize
        };
        let columns = left..left + pixels.len();
        if let Some(after) = after_colour(channels, SampleType::Half) {
            // In the order of their names.
            let [a, b, g, r] = [(); 4].map(|()| columns_of(take(rest, width), columns.clone()));
            planes::from_pixels(pixels, [r, g, b, a]);
            channels = after;
            continue;
        }
        channels = others;
        if channel.sample == SampleType::Float {
            let (low, high) = columns_of(take(rest, 2 * width), 2 * columns.start..2 * columns.end);
            let pairs = low
                .as_chunks_mut::<2>()
                .0
                .iter_mut()
                .zip(high.as_chunks_mut::<2>().0);
            for ((low, high), pixel) in pairs.zip(pixels) {
                [low[0], high[0], low[1], high[1]] = pixel[channel.component].to_le_bytes();
            }
        } else {
            planes::from_component(pixels, channel.component, columns_of(take(rest, width), columns));
        }
    }
}

/// The channels after the first four, where these are alpha, blue, green and red of one layer, in this type.
fn after_colour<'c, 'a>(channels: &'c [ChannelOut<'a>], sample: SampleType) -> Option<&'c [ChannelOut<'a>]> {
    let (colour, after) = channels.split_first_chunk::<4>()?;
    let components = colour.iter().map(|channel| channel.component);
    let fits = components.eq([3, 2, 1, 0])
        && colour.iter().all(|channel| channel.sample == sample)
        && colour
            .iter()
            .all(|channel| std::ptr::eq(channel.layer, colour[0].layer));
    fits.then_some(after)
}

/// The first bytes of each of two slices, which lose them.
fn take<'a>(rest: &mut BytesMut<'a>, count: usize) -> BytesMut<'a> {
    let (low, low_rest) = mem::take(&mut rest.0).split_at_mut(count);
    let (high, high_rest) = mem::take(&mut rest.1).split_at_mut(count);
    *rest = (low_rest, high_rest);
    (low, high)
}

fn columns_of((low, high): BytesMut, columns: Range<usize>) -> BytesMut {
    (&mut low[columns.clone()], &mut high[columns])
}

/// Rows of a part, in each its channels, little-endian. `out` is as long as that.
fn put_rows(part: &PartOut, rows: Range<usize>, out: &mut [u8]) {
    let width = part.data.width();
    let mut rest = out;
    for row in rows {
        let y = part.data.y0 + row as i32;
        let mut channels = part.channels.as_slice();
        while let Some((channel, others)) = channels.split_first() {
            if let Some(after) = after_colour(channels, SampleType::Float)
                && let (_, pixels) = channel.layer.span(y, part.data.x0, part.data.x1)
                && pixels.len() == width
            {
                let (samples, behind) = rest.split_at_mut(16 * width);
                // In the order of their names.
                let mut each = samples.chunks_mut(4 * width);
                let [a, b, g, r] = std::array::from_fn(|_| each.next().unwrap_or_default());
                planes::floats_from_pixels(pixels, [r, g, b, a]);
                (channels, rest) = (after, behind);
                continue;
            }
            let (samples, behind) = rest.split_at_mut(width * channel.sample.bytes() as usize);
            put_row(channel, part.data, y, samples);
            (channels, rest) = (others, behind);
        }
    }
}

/// Row `y` of a channel over the columns of `window`, 0 where its layer has no pixels. `out` is as long as the row.
fn put_row(channel: &ChannelOut, window: Rect, y: i32, out: &mut [u8]) {
    let (x0, pixels) = channel.layer.span(y, window.x0, window.x1);
    let component = channel.component;
    let size = channel.sample.bytes() as usize;
    let left = if pixels.is_empty() {
        0
    } else {
        (x0 - window.x0) as usize
    };
    let (before, out) = out.split_at_mut(left * size);
    let (out, behind) = out.split_at_mut(pixels.len() * size);
    before.fill(0);
    behind.fill(0);
    if channel.sample == SampleType::Float {
        for (to, pixel) in out.as_chunks_mut::<4>().0.iter_mut().zip(pixels) {
            *to = pixel[component].to_le_bytes();
        }
        return;
    }
    let (mut values, mut halves) = ([0.0; 256], [f16::ZERO; 256]);
    let out = out.as_chunks_mut::<2>().0;
    for (pixels, out) in pixels.chunks(values.len()).zip(out.chunks_mut(values.len())) {
        for (value, pixel) in values.iter_mut().zip(pixels) {
            *value = pixel[component];
        }
        let halves = &mut halves[..pixels.len()];
        halves.convert_from_f32_slice(&values[..pixels.len()]);
        for (to, half) in out.iter_mut().zip(halves) {
            *to = half.to_le_bytes();
        }
    }
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
