//! The ZIP compressions: bytes sorted by their place in the sample, differences, zlib.
//!
//! A block holds its rows from top to bottom, in each row its channels, in each channel its samples, little-endian. ZIP
//! puts all even bytes before all odd ones, replaces each byte by its difference from the one before, plus 128, and
//! hands that to zlib. For 16-bit samples the first half of a block so holds the low bytes, the second half the
//! high ones. Layout: OpenEXR's `internal_zip.c`.

use std::cell::RefCell;

use libdeflater::Decompressor;

use super::deflate::Encoder;

/// What a thread needs to compress, used again for each of its blocks.
struct Compressor {
    /// All even bytes of a block, then all odd ones.
    sorted: Vec<u8>,
    differences: Vec<u8>,
    encoder: Encoder,
}

thread_local! {
    static COMPRESSOR: RefCell<Compressor> = RefCell::new(Compressor {
        sorted: Vec::new(),
        differences: Vec::new(),
        encoder: Encoder::new(),
    });
    static DECOMPRESSOR: RefCell<Decompressor> = RefCell::new(Decompressor::new());
}

/// Appends a block of `length` bytes, compressed, to `out`; as it is where it would not get smaller. `fill` gets the
/// places of its even and odd bytes, all 0.
pub(crate) fn compress(length: usize, out: &mut Vec<u8>, fill: impl FnOnce(&mut [u8], &mut [u8])) {
    COMPRESSOR.with_borrow_mut(|compressor| compressor.compress(length, out, fill));
}

impl Compressor {
    fn compress(&mut self, length: usize, out: &mut Vec<u8>, fill: impl FnOnce(&mut [u8], &mut [u8])) {
        let half = length.div_ceil(2);
        self.sorted.clear();
        self.sorted.resize(length, 0);
        let (even, odd) = self.sorted.split_at_mut(half);
        fill(even, odd);
        self.differences.clear();
        self.differences.extend(self.sorted.first());
        let pairs = self.sorted.iter().zip(self.sorted.iter().skip(1));
        self.differences
            .extend(pairs.map(|(before, byte)| byte.wrapping_sub(*before).wrapping_add(128)));
        let start = out.len();
        // Deflate, window of 32 KiB, made by something fast.
        out.extend([0x78, 0x01]);
        self.encoder.deflate(&self.differences, &[half], out);
        out.extend(simd_adler32::adler32(&self.differences.as_slice()).to_be_bytes());
        if out.len() - start >= length {
            out.truncate(start);
            let (even, odd) = self.sorted.split_at(half);
            out.extend(even.iter().zip(odd).flat_map(|(even, odd)| [*even, *odd]));
            out.extend(&even[odd.len()..]);
        }
    }
}

/// Why a block cannot be decompressed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Damaged;

/// A block of `out.len()` bytes, sorted as it was compressed: all even bytes, then all odd ones. `compressed` must be
/// shorter than the block; one of the same size is stored as it is.
pub(crate) fn decompress(compressed: &[u8], out: &mut [u8]) -> Result<(), Damaged> {
    let size = DECOMPRESSOR
        .with_borrow_mut(|decompressor| decompressor.zlib_decompress(compressed, out))
        .map_err(|_| Damaged)?;
    if size != out.len() {
        return Err(Damaged);
    }
    add_up(out);
    Ok(())
}

/// A block that is stored as it is, sorted.
pub(crate) fn sort_stored(block: &[u8], out: &mut [u8]) {
    let (even, odd) = out.split_at_mut(block.len().div_ceil(2));
    for (to, from) in even.iter_mut().zip(block.iter().step_by(2)) {
        *to = *from;
    }
    for (to, from) in odd.iter_mut().zip(block.iter().skip(1).step_by(2)) {
        *to = *from;
    }
}

/// Differences back to bytes: each is the sum of all up to it. Adding 128 and taking it away again is the same, modulo 256.
fn add_up(bytes: &mut [u8]) {
    let Some((first, rest)) = bytes.split_first_mut() else {
        return;
    };
    let (done, mut sum) = wide::add_up(*first, rest);
    for byte in &mut rest[done..] {
        sum = sum.wrapping_add(*byte ^ 128);
        *byte = sum;
    }
}

#[cfg(not(target_arch = "x86_64"))]
mod wide {
    /// Eight bytes at a time, in the lanes of a word: how many of them, and the last sum.
    pub fn add_up(mut sum: u8, bytes: &mut [u8]) -> (usize, u8) {
        let words = bytes.as_chunks_mut::<8>().0;
        for word in words.iter_mut() {
            let mut lanes = u64::from_le_bytes(*word) ^ 0x8080_8080_8080_8080;
            for shift in [8, 16, 32] {
                lanes = add_lanes(lanes, lanes << shift);
            }
            lanes = add_lanes(lanes, u64::from(sum) * 0x0101_0101_0101_0101);
            *word = lanes.to_le_bytes();
            sum = word[7];
        }
        (8 * words.len(), sum)
    }

    /// Eight sums, none of which carries into the next.
    #[inline]
    fn add_lanes(a: u64, b: u64) -> u64 {
        const TOP: u64 = 0x8080_8080_8080_8080;
        ((a & !TOP) + (b & !TOP)) ^ ((a ^ b) & TOP)
    }
}

#[cfg(target_arch = "x86_64")]
#[allow(unsafe_code, reason = "vectors of SSE2, which every x86-64 has")]
mod wide {
    use std::arch::x86_64::*;
    use std::mem::transmute;

    /// Sixteen bytes at a time: how many of them, and the last sum.
    pub fn add_up(before: u8, bytes: &mut [u8]) -> (usize, u8) {
        // SAFETY: every x86-64 has SSE2.
        unsafe { add_up_wide(before, bytes) }
    }

    /// What was summed before is added last, so that one vector need not wait for the one before it but for a single addition.
    #[target_feature(enable = "sse2")]
    fn add_up_wide(before: u8, bytes: &mut [u8]) -> (usize, u8) {
        let vectors = bytes.as_chunks_mut::<16>().0;
        let top = _mm_set1_epi8(i8::MIN);
        let mut sum = _mm_set1_epi8(before as i8);
        for vector in vectors.iter_mut() {
            // SAFETY: both are 16 bytes in which every bit pattern is a number.
            let mut lanes = unsafe { transmute::<[u8; 16], __m128i>(*vector) };
            lanes = _mm_xor_si128(lanes, top);
            lanes = _mm_add_epi8(lanes, _mm_slli_si128::<1>(lanes));
            lanes = _mm_add_epi8(lanes, _mm_slli_si128::<2>(lanes));
            lanes = _mm_add_epi8(lanes, _mm_slli_si128::<4>(lanes));
            lanes = _mm_add_epi8(lanes, _mm_slli_si128::<8>(lanes));
            // SAFETY: as above.
            *vector = unsafe { transmute::<__m128i, [u8; 16]>(_mm_add_epi8(lanes, sum)) };
            let last = _mm_unpackhi_epi8(lanes, lanes);
            let last = _mm_shufflehi_epi16::<0xff>(last);
            sum = _mm_add_epi8(sum, _mm_unpackhi_epi64(last, last));
        }
        (16 * vectors.len(), _mm_cvtsi128_si32(sum) as u8)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn compressed(block: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        compress(block.len(), &mut out, |even, odd| {
            even.iter_mut()
                .zip(block.iter().step_by(2))
                .for_each(|(to, byte)| *to = *byte);
            odd.iter_mut()
                .zip(block.iter().skip(1).step_by(2))
                .for_each(|(to, byte)| *to = *byte);
        });
        out
    }

    proptest! {
        #[test]
        fn blocks_come_back(seed in prop::collection::vec(0u8..4, 1..400), again in 1usize..5) {
            let block = seed.repeat(again);
            let out = compressed(&block);
            let (mut back, mut stored) = (vec![0; block.len()], vec![0; block.len()]);
            sort_stored(&block, &mut stored);
            if out.len() < block.len() {
                decompress(&out, &mut back).unwrap();
                prop_assert_eq!(back, stored);
            } else {
                prop_assert_eq!(out, block, "stored as it is");
            }
        }

        #[test]
        fn sums_are_of_all_up_to_each(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let mut summed = bytes.clone();
            add_up(&mut summed);
            let mut sum = 128u8;
            for (byte, summed) in bytes.into_iter().zip(summed) {
                sum = sum.wrapping_add(byte).wrapping_sub(128);
                prop_assert_eq!(summed, sum);
            }
        }
    }

    #[test]
    fn compressed_and_stored_blocks() {
        let flat: Vec<u8> = (0..10_000u32)
            .flat_map(|i| (i / 7) as u8..(i / 7) as u8 + 1)
            .collect();
        let out = compressed(&flat);
        assert!(out.len() < 3000);
        let (mut back, mut stored) = (vec![0; flat.len()], vec![0; flat.len()]);
        decompress(&out, &mut back).unwrap();
        sort_stored(&flat, &mut stored);
        assert_eq!(back, stored);
        let mut short = vec![0; flat.len() + 1];
        assert_eq!(decompress(&out, &mut short), Err(Damaged));
        assert_eq!(compressed(&[1, 2, 3]), [1, 2, 3], "never larger than it was");
        assert_eq!(compressed(&[]), [0; 0]);
    }
}
