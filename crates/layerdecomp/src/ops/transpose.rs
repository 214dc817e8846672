//! A matrix turned over, tile by tile: a value at a time, each store would touch another line of the cache.

use super::simd::{Simd, simd};

/// `to[i to_row + j] = from[j from_row + i]` for `rows` values of `j` and `columns` of `i`.
///
/// # Panics
/// If a matrix does not lie inside its slice: this is what makes the unchecked accesses inside sound.
#[allow(unsafe_code)]
pub(super) fn transpose(
    (rows, columns): (usize, usize),
    from: &[f32],
    from_row: usize,
    to: &mut [f32],
    to_row: usize,
) {
    if rows == 0 || columns == 0 {
        return;
    }
    assert!((rows - 1) * from_row + columns <= from.len());
    assert!((columns - 1) * to_row + rows <= to.len());
    let wide = if simd() >= Simd::Avx2 {
        (rows / 8 * 8, columns / 8 * 8)
    } else {
        (0, 0)
    };
    #[cfg(target_arch = "x86_64")]
    for j in (0..wide.0).step_by(8) {
        for i in (0..wide.1).step_by(8) {
            // SAFETY: the machine has the instructions; 8 rows of 8 values from here on lie inside both matrices, as was checked.
            unsafe {
                eight(
                    from.as_ptr().add(j * from_row + i),
                    from_row,
                    to.as_mut_ptr().add(i * to_row + j),
                    to_row,
                );
            }
        }
    }
    for j in 0..rows {
        let first = if j < wide.0 { wide.1 } else { 0 };
        for i in first..columns {
            to[i * to_row + j] = from[j * from_row + i];
        }
    }
}

/// Eight rows of eight values. Halves of rows four apart are joined as they are loaded, so that no value crosses a vector's middle after.
///
/// # Safety
/// The machine must have AVX2, and eight rows of eight values must lie behind both pointers.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
#[allow(unsafe_code)]
unsafe fn eight(from: *const f32, from_row: usize, to: *mut f32, to_row: usize) {
    use std::arch::x86_64::{
        _mm_loadu_ps, _mm256_castps128_ps256, _mm256_insertf128_ps, _mm256_shuffle_ps, _mm256_storeu_ps,
        _mm256_unpackhi_ps, _mm256_unpacklo_ps,
    };
    // SAFETY: as the caller promises.
    unsafe {
        let pair = |row: usize, half: usize| {
            let low = _mm256_castps128_ps256(_mm_loadu_ps(from.add(row * from_row + half)));
            _mm256_insertf128_ps::<1>(low, _mm_loadu_ps(from.add((row + 4) * from_row + half)))
        };
        for half in [0, 4] {
            let rows = [pair(0, half), pair(1, half), pair(2, half), pair(3, half)];
            let (a, b) = (
                _mm256_unpacklo_ps(rows[0], rows[1]),
                _mm256_unpackhi_ps(rows[0], rows[1]),
            );
            let (c, d) = (
                _mm256_unpacklo_ps(rows[2], rows[3]),
                _mm256_unpackhi_ps(rows[2], rows[3]),
            );
            let turned = [
                _mm256_shuffle_ps::<0x44>(a, c),
                _mm256_shuffle_ps::<0xee>(a, c),
                _mm256_shuffle_ps::<0x44>(b, d),
                _mm256_shuffle_ps::<0xee>(b, d),
            ];
            for (i, line) in turned.into_iter().enumerate() {
                _mm256_storeu_ps(to.add((half + i) * to_row), line);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::simd::AT_MOST;
    use super::*;

    #[test]
    fn every_value_finds_its_place_and_no_other_is_touched() {
        for (rows, columns) in [(0, 3), (1, 1), (8, 8), (7, 20), (20, 7), (48, 33), (17, 64)] {
            let (from_row, to_row) = (columns + 3, rows + 2);
            let from: Vec<f32> = (0..(rows.max(1) - 1) * from_row + columns)
                .map(|i| i as f32)
                .collect();
            for most in [Simd::Portable, Simd::Avx2] {
                AT_MOST.set(most);
                let mut to = vec![-1.0; columns * to_row];
                transpose((rows, columns), &from, from_row, &mut to, to_row);
                for (place, value) in to.iter().enumerate() {
                    let (i, j) = (place / to_row, place % to_row);
                    let want = if j < rows { (j * from_row + i) as f32 } else { -1.0 };
                    assert_eq!(*value, want, "{most:?}: {rows} rows, {columns} columns, {i} {j}");
                }
            }
        }
    }

    #[test]
    #[should_panic(expected = "assertion failed")]
    fn a_short_slice_is_refused() {
        transpose((8, 8), &[0.0; 63], 8, &mut [0.0; 64], 8);
    }
}
