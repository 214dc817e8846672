//! Between pixels and channels, four at a time.

use crate::Pixel;

/// Four pixels to the four values of each channel, and back: rows become columns. On x86-64 in registers, since compilers
/// move the values one by one.
#[inline(always)]
pub fn transposed(rows: [Pixel; 4]) -> [[f32; 4]; 4] {
    #[cfg(target_arch = "x86_64")]
    return sse::transposed(rows);
    #[cfg(not(target_arch = "x86_64"))]
    return std::array::from_fn(|column| rows.map(|row| row[column]));
}

#[cfg(target_arch = "x86_64")]
#[allow(unsafe_code, reason = "vectors of SSE, which every x86-64 has")]
mod sse {
    use std::arch::x86_64::*;
    use std::mem::transmute;

    use super::Pixel;

    #[inline(always)]
    pub fn transposed(rows: [Pixel; 4]) -> [[f32; 4]; 4] {
        // SAFETY: both are 64 bytes in which every bit pattern is a number.
        let [a, b, c, d] = unsafe { transmute::<[Pixel; 4], [__m128; 4]>(rows) };
        // SAFETY: every x86-64 has SSE.
        let columns = unsafe {
            let (ab_low, ab_high) = (_mm_unpacklo_ps(a, b), _mm_unpackhi_ps(a, b));
            let (cd_low, cd_high) = (_mm_unpacklo_ps(c, d), _mm_unpackhi_ps(c, d));
            [
                _mm_movelh_ps(ab_low, cd_low),
                _mm_movehl_ps(cd_low, ab_low),
                _mm_movelh_ps(ab_high, cd_high),
                _mm_movehl_ps(cd_high, ab_high),
            ]
        };
        // SAFETY: as above.
        unsafe { transmute::<[__m128; 4], [[f32; 4]; 4]>(columns) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_become_columns_bit_for_bit() {
        let odd = [
            f32::NAN,
            -0.0,
            f32::from_bits(0x7f80_0001),
            f32::MIN_POSITIVE / 2.0,
        ];
        let rows = [
            odd,
            [4.0, 5.0, 6.0, 7.0],
            [8.0, 9.0, 10.0, 11.0],
            [12.0, 13.0, 14.0, 15.0],
        ];
        let bits = |four: [[f32; 4]; 4]| four.map(|row| row.map(f32::to_bits));
        let columns = bits(transposed(rows));
        for (column, values) in columns.into_iter().enumerate() {
            assert_eq!(values, bits(rows).map(|row| row[column]));
        }
        assert_eq!(bits(transposed(transposed(rows))), bits(rows));
    }
}
