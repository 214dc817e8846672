//! The samples of a picture on disk: nothing is lost, but what is not there is not stored.
//!
//! ```text
//! u8 depth (0 float, 1 half), i32 window [4], samples row-major over the window
//! ```
//! Outside the window all samples are 0: an object's layer is mostly that. Samples are stored as halves where
//! every single one is a half; the layers of a decomposition are, since they recompose the plate in a file
//! of halves.

use std::io::{self, Read, Write};

use half::f16;
use half::slice::HalfFloatSliceExt;
use peel_image::Rect;

use crate::codec::{damaged, get, get_rect, put_rect};

/// Samples that are converted in one go.
const CHUNK: usize = 1 << 14;

/// Writes samples that lie row-major over `data`, `channels` to a pixel.
pub(crate) fn write(out: &mut impl Write, data: Rect, channels: usize, samples: &[f32]) -> io::Result<()> {
    let picture = Rows { data, channels };
    let window = picture.lit(samples);
    let rows = || (window.y0..window.y1).map(|y| &samples[picture.row(window, y)]);
    let halves = rows().all(|row| row.chunks(CHUNK).all(are_halves));
    out.write_all(&[u8::from(halves)])?;
    put_rect(out, window)?;
    let mut bytes = Vec::with_capacity(4 * CHUNK);
    for chunk in rows().flat_map(|row| row.chunks(CHUNK)) {
        bytes.clear();
        if halves {
            let mut half = [f16::ZERO; CHUNK];
            half[..chunk.len()].convert_from_f32_slice(chunk);
            bytes.extend(half[..chunk.len()].iter().flat_map(|v| v.to_le_bytes()));
        } else {
            bytes.extend(chunk.iter().flat_map(|v| v.to_le_bytes()));
        }
        out.write_all(&bytes)?;
    }
    Ok(())
}

/// Reads what [`write`] wrote for the same window and channels.
pub(crate) fn read(input: &mut impl Read, data: Rect, channels: usize) -> io::Result<Vec<f32>> {
    let [depth] = get(input)?;
    let window = get_rect(input)?;
    if depth > 1 || !data.encloses(window) {
        return Err(damaged("samples outside their picture"));
    }
    let picture = Rows { data, channels };
    let mut samples = vec![0.0; data.area() as usize * channels];
    let mut bytes = vec![0; CHUNK * if depth == 1 { 2 } else { 4 }];
    for y in window.y0..window.y1 {
        for chunk in samples[picture.row(window, y)].chunks_mut(CHUNK) {
            let bytes = &mut bytes[..chunk.len() * if depth == 1 { 2 } else { 4 }];
            input.read_exact(bytes)?;
            if depth == 1 {
                let mut half = [f16::ZERO; CHUNK];
                let half = &mut half[..chunk.len()];
                for (half, bytes) in half.iter_mut().zip(bytes.as_chunks::<2>().0) {
                    *half = f16::from_le_bytes(*bytes);
                }
                half.convert_to_f32_slice(chunk);
            } else {
                for (sample, bytes) in chunk.iter_mut().zip(bytes.as_chunks::<4>().0) {
                    *sample = f32::from_le_bytes(*bytes);
                }
            }
        }
    }
    Ok(samples)
}

/// Whether every one of at most [`CHUNK`] samples comes back from a half with the same bits.
fn are_halves(samples: &[f32]) -> bool {
    let mut half = [f16::ZERO; CHUNK];
    let mut back = [0.0; CHUNK];
    let (half, back) = (&mut half[..samples.len()], &mut back[..samples.len()]);
    half.convert_from_f32_slice(samples);
    half.convert_to_f32_slice(back);
    samples.iter().zip(back).all(|(a, b)| a.to_bits() == b.to_bits())
}

/// How samples lie in memory.
struct Rows {
    data: Rect,
    channels: usize,
}

impl Rows {
    /// Where the samples of row `y` inside `window` lie.
    fn row(&self, window: Rect, y: i32) -> std::ops::Range<usize> {
        let start = (y - self.data.y0) as usize * self.data.width() + (window.x0 - self.data.x0) as usize;
        start * self.channels..(start + window.width()) * self.channels
    }

    /// The smallest window outside which all bits are 0; -0 is something.
    fn lit(&self, samples: &[f32]) -> Rect {
        let Rect { x0, y0, .. } = self.data;
        let mut lit = Rect::EMPTY;
        for (y, row) in (y0..).zip(samples.chunks((self.data.width() * self.channels).max(1))) {
            let is_lit = |sample: &f32| sample.to_bits() != 0;
            if let (Some(first), Some(last)) = (row.iter().position(is_lit), row.iter().rposition(is_lit)) {
                let (first, last) = ((first / self.channels) as i32, (last / self.channels) as i32);
                lit = lit.union(Rect::new(x0 + first, y, x0 + last + 1, y + 1));
            }
        }
        lit
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Writes and reads; how many bytes it took.
    fn there_and_back(data: Rect, channels: usize, samples: &[f32]) -> usize {
        let mut bytes = Vec::new();
        write(&mut bytes, data, channels, samples).unwrap();
        let back = read(&mut bytes.as_slice(), data, channels).unwrap();
        let bits = |samples: &[f32]| samples.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
        assert_eq!(bits(&back), bits(samples));
        bytes.len()
    }

    #[test]
    fn every_bit_comes_back_in_as_few_bytes_as_it_needs() {
        const HEAD: usize = 1 + 16;
        let data = Rect::new(-2, 3, 8, 9);
        let count = data.area() as usize;
        assert_eq!(there_and_back(data, 4, &vec![0.0; 4 * count]), HEAD);
        assert_eq!(there_and_back(Rect::EMPTY, 4, &[]), HEAD);
        assert_eq!(there_and_back(data, 1, &vec![0.5; count]), HEAD + 2 * count);
        assert_eq!(there_and_back(data, 1, &vec![0.1; count]), HEAD + 4 * count);
        let mut spot = vec![0.0; 4 * count];
        spot[4 * 23 + 1] = 65504.0;
        spot[4 * 25] = -0.0;
        assert_eq!(there_and_back(data, 4, &spot), HEAD + 3 * 4 * 2);
        let odd = [
            f32::NAN,
            f32::from_bits(0x7f80_0001),
            f32::INFINITY,
            1e-8,
            f32::MAX,
            70000.0,
        ];
        let odd: Vec<f32> = odd.into_iter().cycle().take(count).collect();
        there_and_back(data, 1, &odd);
    }

    #[test]
    fn rows_longer_than_a_chunk() {
        let data = Rect::of_size(2 * CHUNK as u32 + 3, 2);
        let samples: Vec<f32> = (0..data.area()).map(|i| (i % 2000) as f32).collect();
        there_and_back(data, 1, &samples);
        there_and_back(data, 1, &samples.iter().map(|v| v + 0.1).collect::<Vec<_>>());
    }
}
