//! The ZIP compressions: bytes sorted by their place in the sample, differences, zlib.
//!
//! A block holds its rows from top to bottom, in each row its channels, in each channel its samples, little-endian. ZIP
//! puts all even bytes before all odd ones, replaces each byte by its difference from the one before, plus 128, and
//! hands that to zlib. For 16-bit samples the first half of a block so holds the low bytes, the second half the
//! high ones. Layout: OpenEXR's `internal_zip.c`.

use libdeflater::Decompressor;

use super::deflate::Encoder;

/// Appends a block, compressed, to `out`; as it is where it would not get smaller.
pub(crate) fn compress(block: &[u8], out: &mut Vec<u8>) {
    let mut sorted = Vec::with_capacity(block.len());
    sort(block, &mut sorted);
    let start = out.len();
    // Deflate, window of 32 KiB, made by something fast.
    out.extend([0x78, 0x01]);
    Encoder::new().deflate(&sorted, &[block.len().div_ceil(2)], out);
    out.extend(simd_adler32::adler32(&sorted.as_slice()).to_be_bytes());
    if out.len() - start >= block.len() {
        out.truncate(start);
        out.extend_from_slice(block);
    }
}

/// Even bytes, then odd ones, as differences.
fn sort(block: &[u8], sorted: &mut Vec<u8>) {
    sorted.clear();
    let Some(&first) = block.first() else { return };
    sorted.push(first);
    let difference = |before: u8, byte: u8| byte.wrapping_sub(before).wrapping_add(128);
    let odd = block.get(1..).unwrap_or_default();
    let last_even = block[(block.len() - 1) & !1];
    let stride = |bytes: &mut Vec<u8>, from: &[u8]| {
        let (pairs, next) = (from.as_chunks::<2>().0, from.get(2..).unwrap_or_default());
        let next_pairs = next.as_chunks::<2>().0;
        bytes.extend(
            pairs
                .iter()
                .zip(next_pairs)
                .map(|(before, after)| difference(before[0], after[0])),
        );
        // A last byte without a partner.
        if let (true, [byte]) = (next.len() % 2 == 1, &next[next.len() & !1..]) {
            bytes.push(difference(from[from.len() - 3], *byte));
        }
    };
    stride(sorted, block);
    if let Some(&first_odd) = odd.first() {
        sorted.push(difference(last_even, first_odd));
        stride(sorted, odd);
    }
}

/// Why a block cannot be decompressed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Damaged;

/// A block of `out.len()` bytes, sorted as it was compressed: all even bytes, then all odd ones. `compressed` must be
/// shorter than the block; one of the same size is stored as it is.
pub(crate) fn decompress(compressed: &[u8], out: &mut [u8]) -> Result<(), Damaged> {
    let size = Decompressor::new()
        .zlib_decompress(compressed, out)
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

/// Differences back to bytes: each is the sum of all up to it. Eight at a time, in the lanes of a word.
fn add_up(bytes: &mut [u8]) {
    let Some((first, rest)) = bytes.split_first_mut() else {
        return;
    };
    let mut sum = *first;
    let (words, tail) = rest.as_chunks_mut::<8>();
    for word in words {
        // Adding 128 and taking it away again is the same, modulo 256.
        let mut lanes = u64::from_le_bytes(*word) ^ 0x8080_8080_8080_8080;
        for shift in [8, 16, 32] {
            lanes = add_lanes(lanes, lanes << shift);
        }
        lanes = add_lanes(lanes, u64::from(sum) * 0x0101_0101_0101_0101);
        *word = lanes.to_le_bytes();
        sum = word[7];
    }
    for byte in tail {
        sum = sum.wrapping_add(*byte).wrapping_sub(128);
        *byte = sum;
    }
}

/// Eight sums, none of which carries into the next.
#[inline]
fn add_lanes(a: u64, b: u64) -> u64 {
    const TOP: u64 = 0x8080_8080_8080_8080;
    ((a & !TOP) + (b & !TOP)) ^ ((a ^ b) & TOP)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// As the format describes it, byte by byte.
    fn sorted_plainly(block: &[u8]) -> Vec<u8> {
        let mut out: Vec<u8> = block
            .iter()
            .step_by(2)
            .chain(block.iter().skip(1).step_by(2))
            .copied()
            .collect();
        for i in (1..out.len()).rev() {
            out[i] = out[i].wrapping_sub(out[i - 1]).wrapping_add(128);
        }
        out
    }

    proptest! {
        #[test]
        fn blocks_come_back(block in prop::collection::vec(any::<u8>(), 0..300)) {
            let mut sorted = Vec::new();
            sort(&block, &mut sorted);
            prop_assert_eq!(&sorted, &sorted_plainly(&block));
            let mut back = sorted.clone();
            add_up(&mut back);
            let mut stored = vec![0; block.len()];
            sort_stored(&block, &mut stored);
            prop_assert_eq!(back, stored);
        }
    }

    #[test]
    fn compressed_and_stored_blocks() {
        let flat: Vec<u8> = (0..10_000u32)
            .flat_map(|i| (i / 7) as u8..(i / 7) as u8 + 1)
            .collect();
        let mut out = Vec::new();
        compress(&flat, &mut out);
        assert!(out.len() < 3000);
        let (mut back, mut stored) = (vec![0; flat.len()], vec![0; flat.len()]);
        decompress(&out, &mut back).unwrap();
        sort_stored(&flat, &mut stored);
        assert_eq!(back, stored);
        let mut short = vec![0; flat.len() + 1];
        assert_eq!(decompress(&out, &mut short), Err(Damaged));
        out.clear();
        compress(&[1, 2, 3], &mut out);
        assert_eq!(out, [1, 2, 3], "never larger than it was");
    }
}
