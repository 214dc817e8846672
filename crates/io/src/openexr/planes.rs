//! Between pixels and the bytes of half channels, low bytes apart from high ones, as ZIP keeps them.
//!
//! A row of RGBA goes through memory once: eight pixels are turned into four channels of halves, or back, in registers.
//! Where the processor lacks F16C and AVX2 the same is done by the `half` crate, channel by channel.

use half::f16;
use half::slice::HalfFloatSliceExt;
use peel_image::{Pixel, transposed};

/// Samples converted in one go.
const RUN: usize = 256;

/// Low and high bytes of a channel's samples.
pub(super) type Bytes<'a> = (&'a [u8], &'a [u8]);

/// Low and high bytes of a channel's samples, to be written.
pub(super) type BytesMut<'a> = (&'a mut [u8], &'a mut [u8]);

/// Halves to numbers. All slices are of one length.
pub(super) fn to_samples((low, high): Bytes, out: &mut [f32]) {
    let mut halves = [f16::ZERO; RUN];
    for ((low, high), out) in low.chunks(RUN).zip(high.chunks(RUN)).zip(out.chunks_mut(RUN)) {
        let halves = &mut halves[..out.len()];
        for ((half, &low), &high) in halves.iter_mut().zip(low).zip(high) {
            *half = f16::from_le_bytes([low, high]);
        }
        halves.convert_to_f32_slice(out);
    }
}

/// One component of every pixel to halves. All slices are of one length.
pub(super) fn from_component(pixels: &[Pixel], component: usize, (low, high): BytesMut) {
    let (mut values, mut halves) = ([0.0; RUN], [f16::ZERO; RUN]);
    let bytes = low.chunks_mut(RUN).zip(high.chunks_mut(RUN));
    for (pixels, (low, high)) in pixels.chunks(RUN).zip(bytes) {
        for (value, pixel) in values.iter_mut().zip(pixels) {
            *value = pixel[component];
        }
        let halves = &mut halves[..pixels.len()];
        halves.convert_from_f32_slice(&values[..pixels.len()]);
        for ((low, high), half) in low.iter_mut().zip(high).zip(halves) {
            [*low, *high] = half.to_le_bytes();
        }
    }
}

/// Four channels of halves, red first, to pixels. All slices are of one length.
pub(super) fn to_pixels(channels: [Bytes; 4], out: &mut [Pixel]) {
    let done = wide::to_pixels(channels, out);
    let mut planes = [[0.0; RUN]; 4];
    for (index, out) in out[done..].chunks_mut(RUN).enumerate() {
        let start = done + index * RUN;
        let range = start..start + out.len();
        for (plane, (low, high)) in planes.iter_mut().zip(channels) {
            to_samples(
                (&low[range.clone()], &high[range.clone()]),
                &mut plane[..out.len()],
            );
        }
        for (i, pixel) in out.iter_mut().enumerate() {
            *pixel = [0, 1, 2, 3].map(|c| planes[c][i]);
        }
    }
}

/// Pixels to four channels of halves, red first. All slices are of one length.
pub(super) fn from_pixels(pixels: &[Pixel], mut channels: [BytesMut; 4]) {
    let done = wide::from_pixels(pixels, &mut channels);
    for (component, (low, high)) in channels.into_iter().enumerate() {
        from_component(&pixels[done..], component, (&mut low[done..], &mut high[done..]));
    }
}

/// Pixels to four channels of little-endian floats, red first. Each slice has 4 bytes a pixel.
pub(super) fn floats_from_pixels(pixels: &[Pixel], [r, g, b, a]: [&mut [u8]; 4]) {
    let (fours, tail) = pixels.as_chunks::<4>();
    let bytes = |values: [f32; 4]| values.map(f32::to_le_bytes);
    let ([r, g, b, a], done) = ([r, g, b, a].map(|c| c.as_chunks_mut::<4>().0), 4 * fours.len());
    let colours = r.as_chunks_mut::<4>().0.iter_mut().zip(g.as_chunks_mut::<4>().0);
    let rest = b.as_chunks_mut::<4>().0.iter_mut().zip(a.as_chunks_mut::<4>().0);
    for (four, ((r, g), (b, a))) in fours.iter().zip(colours.zip(rest)) {
        [*r, *g, *b, *a] = transposed(*four).map(bytes);
    }
    for (i, pixel) in (done..).zip(tail) {
        [r[i], g[i], b[i], a[i]] = bytes(*pixel);
    }
}

#[cfg(not(target_arch = "x86_64"))]
mod wide {
    use super::{Bytes, BytesMut, Pixel};

    /// How many pixels it did: none.
    pub fn to_pixels(_: [Bytes; 4], _: &mut [Pixel]) -> usize {
        0
    }

    /// How many pixels it did: none.
    pub fn from_pixels(_: &[Pixel], _: &mut [BytesMut; 4]) -> usize {
        0
    }
}

#[cfg(target_arch = "x86_64")]
#[allow(unsafe_code, reason = "vectors of AVX2 and F16C")]
mod wide {
    use std::arch::x86_64::*;

    use super::{Bytes, BytesMut, Pixel};

    /// Pixels at a time.
    const WIDE: usize = 8;

    fn is_there() -> bool {
        is_x86_feature_detected!("avx2") && is_x86_feature_detected!("f16c")
    }

    /// How many pixels it did; the rest is left.
    pub fn to_pixels(channels: [Bytes; 4], out: &mut [Pixel]) -> usize {
        if is_there() {
            // SAFETY: the processor has AVX2 and F16C.
            unsafe { to_pixels_wide(channels, out) }
        } else {
            0
        }
    }

    /// How many pixels it did; the rest is left.
    pub fn from_pixels(pixels: &[Pixel], channels: &mut [BytesMut; 4]) -> usize {
        if is_there() {
            // SAFETY: the processor has AVX2 and F16C.
            unsafe { from_pixels_wide(pixels, channels) }
        } else {
            0
        }
    }

    #[target_feature(enable = "avx2,f16c")]
    fn to_pixels_wide(channels: [Bytes; 4], out: &mut [Pixel]) -> usize {
        let eights = channels.map(|(low, high)| (low.as_chunks::<WIDE>().0, high.as_chunks::<WIDE>().0));
        let out = out.as_chunks_mut::<WIDE>().0;
        for (index, out) in out.iter_mut().enumerate() {
            let word = |bytes: &[u8; WIDE]| _mm_cvtsi64_si128(i64::from_le_bytes(*bytes));
            let [r, g, b, a] = eights
                .map(|(low, high)| _mm256_cvtph_ps(_mm_unpacklo_epi8(word(&low[index]), word(&high[index]))));
            let (rg, rg_high) = (_mm256_unpacklo_ps(r, g), _mm256_unpackhi_ps(r, g));
            let (ba, ba_high) = (_mm256_unpacklo_ps(b, a), _mm256_unpackhi_ps(b, a));
            let pair = |rg, ba| {
                let (rg, ba) = (_mm256_castps_pd(rg), _mm256_castps_pd(ba));
                let (even, odd) = (_mm256_unpacklo_pd(rg, ba), _mm256_unpackhi_pd(rg, ba));
                (_mm256_castpd_ps(even), _mm256_castpd_ps(odd))
            };
            // Each holds a pixel of the first four and one of the last four.
            let ((p04, p15), (p26, p37)) = (pair(rg, ba), pair(rg_high, ba_high));
            let pixels = [
                _mm256_permute2f128_ps::<0x20>(p04, p15),
                _mm256_permute2f128_ps::<0x20>(p26, p37),
                _mm256_permute2f128_ps::<0x31>(p04, p15),
                _mm256_permute2f128_ps::<0x31>(p26, p37),
            ];
            // SAFETY: both are 128 bytes in which every bit pattern is a number.
            *out = unsafe { std::mem::transmute::<[__m256; 4], [Pixel; WIDE]>(pixels) };
        }
        out.len() * WIDE
    }

    #[target_feature(enable = "avx2,f16c")]
    fn from_pixels_wide(pixels: &[Pixel], channels: &mut [BytesMut; 4]) -> usize {
        let eights = pixels.as_chunks::<WIDE>().0;
        let low_bytes = _mm_set1_epi16(0xff);
        for (index, eight) in eights.iter().enumerate() {
            // SAFETY: both are 128 bytes in which every bit pattern is a number.
            let [p01, p23, p45, p67] = unsafe { std::mem::transmute::<[Pixel; WIDE], [__m256; 4]>(*eight) };
            let (p04, p15) = (
                _mm256_permute2f128_ps::<0x20>(p01, p45),
                _mm256_permute2f128_ps::<0x31>(p01, p45),
            );
            let (p26, p37) = (
                _mm256_permute2f128_ps::<0x20>(p23, p67),
                _mm256_permute2f128_ps::<0x31>(p23, p67),
            );
            let pair = |one, two| {
                let (one, two) = (_mm256_castps_pd(one), _mm256_castps_pd(two));
                let (low, high) = (_mm256_unpacklo_pd(one, two), _mm256_unpackhi_pd(one, two));
                (_mm256_castpd_ps(low), _mm256_castpd_ps(high))
            };
            let (r, g) = pair(_mm256_unpacklo_ps(p04, p15), _mm256_unpacklo_ps(p26, p37));
            let (b, a) = pair(_mm256_unpackhi_ps(p04, p15), _mm256_unpackhi_ps(p26, p37));
            let range = index * WIDE..(index + 1) * WIDE;
            for (values, (low, high)) in [r, g, b, a].into_iter().zip(channels.iter_mut()) {
                let halves = _mm256_cvtps_ph::<_MM_FROUND_TO_NEAREST_INT>(values);
                let both = _mm_packus_epi16(_mm_and_si128(halves, low_bytes), _mm_srli_epi16::<8>(halves));
                let high_half = _mm_unpackhi_epi64(both, both);
                low[range.clone()].copy_from_slice(&_mm_cvtsi128_si64(both).to_le_bytes());
                high[range.clone()].copy_from_slice(&_mm_cvtsi128_si64(high_half).to_le_bytes());
            }
        }
        eights.len() * WIDE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every half there is, and numbers between them.
    fn numbers() -> Vec<f32> {
        let halves = (0..=u16::MAX).map(|bits| f16::from_bits(bits).to_f32());
        let odd = [
            1e-9,
            65519.9,
            65520.0,
            1e9,
            0.1,
            -0.3,
            5.96e-8,
            2.98e-8,
            f32::MIN_POSITIVE,
        ];
        halves
            .chain(odd)
            .chain((0..1000).map(|i| (i as f32 * 0.37).sin()))
            .collect()
    }

    #[test]
    fn floats_are_those_of_the_pixels() {
        let pixels: Vec<Pixel> = numbers()[70_000 / 4..]
            .chunks_exact(4)
            .take(23)
            .map(|four| [four[0], four[1], four[2], f32::NAN])
            .collect();
        let mut bytes = vec![vec![0u8; 4 * pixels.len()]; 4];
        let [r, g, b, a] = &mut bytes[..] else {
            panic!("four")
        };
        floats_from_pixels(&pixels, [r, g, b, a]);
        for (component, bytes) in bytes.iter().enumerate() {
            let expected: Vec<u8> = pixels.iter().flat_map(|p| p[component].to_le_bytes()).collect();
            assert_eq!(*bytes, expected);
        }
    }

    #[test]
    fn eight_at_a_time_are_one_at_a_time() {
        let numbers = numbers();
        let count = numbers.len() / 4;
        let pixels: Vec<Pixel> = (0..count)
            .map(|i| [0, 1, 2, 3].map(|c| numbers[4 * i + c]))
            .collect();
        let mut bytes = vec![vec![0u8; count]; 8];
        let [a, b, c, d, e, f, g, h] = &mut bytes[..] else {
            panic!("eight")
        };
        from_pixels(&pixels, [(a, b), (c, d), (e, f), (g, h)]);
        for component in 0..4 {
            let (mut low, mut high) = (vec![0; count], vec![0; count]);
            from_component(&pixels, component, (&mut low, &mut high));
            assert!(
                bytes[2 * component] == low && bytes[2 * component + 1] == high,
                "{component}"
            );
        }
        let channel = |c: usize| (bytes[2 * c].as_slice(), bytes[2 * c + 1].as_slice());
        let mut back = vec![[0.0; 4]; count];
        to_pixels([0, 1, 2, 3].map(channel), &mut back);
        for component in 0..4 {
            let mut samples = vec![0.0; count];
            to_samples(channel(component), &mut samples);
            let bits = |value: f32| value.to_bits();
            let same = back
                .iter()
                .zip(&samples)
                .all(|(pixel, &sample)| bits(pixel[component]) == bits(sample));
            assert!(same, "{component}");
        }
        let exact = |(got, pixel): (&Pixel, &Pixel)| {
            (0..4).all(|c| got[c].to_bits() == f16::from_f32(pixel[c]).to_f32().to_bits())
        };
        assert!(back.iter().zip(&pixels).all(exact));
    }
}
