//! Sums of what a plate shows over cells of pixels: the one pass that sees every pixel of a crop.

use peel_image::Pixel;

use crate::exact;
use crate::light::Table;

/// What is summed over a cell: red, green and blue as shown (0 to 1), the square of green, and the pixels that count.
pub(crate) type Sums = [f32; 5];

/// Adds one row of a plate to the sums of the cells that it crosses: `columns` are the row's pixels, `factor` of them a cell.
/// Pixels that half cannot hold do not count.
pub(crate) fn add_row(row: &[Pixel], columns: &[usize], factor: usize, table: &Table, sums: &mut [Sums]) {
    #[cfg(target_arch = "x86_64")]
    if wide::is_there() {
        #[allow(unsafe_code, reason = "vectors of AVX and F16C")]
        // SAFETY: the processor has AVX and F16C.
        unsafe {
            wide::add_row(row, columns, factor, table, sums);
        }
        return;
    }
    add_row_plain(row, columns, factor, table, sums);
}

fn add_row_plain(row: &[Pixel], columns: &[usize], factor: usize, table: &Table, sums: &mut [Sums]) {
    for (sum, columns) in sums.iter_mut().zip(columns.chunks(factor)) {
        for &column in columns {
            let pixel = row[column];
            if exact::is_finite(pixel) {
                let seen: [f32; 3] = std::array::from_fn(|c| table.encode(pixel[c]).clamp(0.0, 1.0));
                (0..3).for_each(|c| sum[c] += seen[c]);
                sum[3] += seen[1] * seen[1];
                sum[4] += 1.0;
            }
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod wide {
    use std::arch::x86_64::*;

    use super::{Pixel, Sums, Table};

    /// Exponent of a half that is no number or infinite.
    const NOT_FINITE: i16 = 0x7c00;

    pub fn is_there() -> bool {
        is_x86_feature_detected!("avx") && is_x86_feature_detected!("f16c")
    }

    /// A pixel a vector, in the same operations and the same order as without.
    #[target_feature(enable = "avx,f16c")]
    pub fn add_row(row: &[Pixel], columns: &[usize], factor: usize, table: &Table, sums: &mut [Sums]) {
        let exponents = _mm_set1_epi16(NOT_FINITE);
        for (sum, columns) in sums.iter_mut().zip(columns.chunks(factor)) {
            let mut total = _mm_setr_ps(sum[0], sum[1], sum[2], sum[3]);
            let mut count = 0u32;
            for &column in columns {
                let [r, g, b, a] = row[column];
                let halves = _mm_cvtps_ph::<_MM_FROUND_TO_NEAREST_INT>(_mm_setr_ps(r, g, b, a));
                let odd = _mm_cmpeq_epi16(_mm_and_si128(halves, exponents), exponents);
                if _mm_cvtsi128_si64(odd) != 0 {
                    continue;
                }
                let bits = _mm_cvtsi128_si64(halves) as usize;
                let seen = |channel: usize| table.of_bits((bits >> (16 * channel)) & 0xffff);
                let green = seen(1);
                let shown = _mm_setr_ps(seen(0), green, seen(2), green);
                let shown = _mm_min_ps(_mm_max_ps(shown, _mm_setzero_ps()), _mm_set1_ps(1.0));
                let factors = _mm_blend_ps::<0b1000>(_mm_set1_ps(1.0), shown);
                total = _mm_add_ps(total, _mm_mul_ps(shown, factors));
                count += 1;
            }
            sum[0] = f32::from_bits(_mm_extract_ps::<0>(total) as u32);
            sum[1] = f32::from_bits(_mm_extract_ps::<1>(total) as u32);
            sum[2] = f32::from_bits(_mm_extract_ps::<2>(total) as u32);
            sum[3] = f32::from_bits(_mm_extract_ps::<3>(total) as u32);
            sum[4] += count as f32;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Light;
    use crate::exact::tests::wild;
    use crate::solver::noise::Noise;

    #[test]
    fn vectors_give_the_same_bits() {
        let mut noise = Noise::new(5);
        let odd = [
            f32::NAN,
            f32::INFINITY,
            f32::NEG_INFINITY,
            65519.9,
            65520.0,
            -65520.0,
            1e9,
            -0.0,
            1e-9,
        ];
        let row: Vec<Pixel> = (0..4000)
            .map(|_| {
                std::array::from_fn(|_| match noise.below(12) {
                    0 => odd[noise.below(odd.len())],
                    1..5 => noise.unit(),
                    _ => wild(&mut noise),
                })
            })
            .collect();
        let columns: Vec<usize> = (0..4000).map(|_| noise.below(row.len())).collect();
        for light in [
            Light::default(),
            Light {
                exposure: 0.25,
                white: 0.85,
            },
        ] {
            let table = light.table();
            for factor in [1, 3, 7, 32] {
                let mut plain = vec![[0.1, 0.2, 0.3, 0.4, 0.0]; columns.len().div_ceil(factor)];
                let mut either = plain.clone();
                add_row_plain(&row, &columns, factor, &table, &mut plain);
                add_row(&row, &columns, factor, &table, &mut either);
                assert_eq!(plain, either, "factor {factor}");
            }
            assert!(row.iter().any(|&pixel| !exact::is_finite(pixel)));
        }
    }
}
