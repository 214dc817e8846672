//! The micro-kernel under every matrix product and convolution: a few rows times a panel of columns, the sums held
//! in registers over the whole inner dimension.
//!
//! The inner dimension has two levels, each with its own strides. A matrix product uses one; a convolution over a
//! padded channels-last picture uses both (`k1` = kernel rows, `k2` = kernel columns times channels, contiguous in
//! memory), so that no im2col copy is needed; its weight gradient uses them as picture rows and columns.

use super::simd::{Simd, simd};

/// Widest panel, in columns.
const MAX_COLUMNS: usize = 48;
/// Most sums that a tile holds.
const MAX_SUMS: usize = 384;

/// How a tile walks over its operands. Element `(i, p, q)` of the left operand is `a[i am + p a1 + q a2]`; of the
/// right one, column `j`, `b[p b1 + q b2 + j]`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Walk {
    pub k1: usize,
    pub k2: usize,
    pub am: usize,
    pub a1: usize,
    pub a2: usize,
    pub b1: usize,
    pub b2: usize,
}

/// What the sums start from.
#[derive(Debug, Clone, Copy)]
pub(super) enum Start<'a> {
    Zero,
    /// The same values for each row, for instance a bias; at least as many as the panel has columns.
    Row(&'a [f32]),
    /// What the output holds.
    Keep,
}

/// Columns of a panel for `n` output columns: what this machine is fast with, and of those what wastes least. No sum depends on it.
pub(super) fn panel_columns(n: usize) -> usize {
    if n <= 8 {
        8
    } else if simd() == Simd::Avx512 && n > 16 {
        // Two or three vectors; with one, loads of the left operand are the limit.
        if n.next_multiple_of(48) <= n.next_multiple_of(32) {
            48
        } else {
            32
        }
    } else if simd() <= Simd::Avx2 && n.is_multiple_of(24) && !n.is_multiple_of(16) {
        24
    } else {
        16
    }
}

/// Rows of a tile beside a panel of `columns`. Up to 24 columns, sixteen vector registers hold the sums, the panel's columns and one
/// more; 4 rows of 24 columns would fill them to the last, and the compiler then spills a sum in each turn of the loop, at
/// half the speed. Wider panels have the 32 registers of AVX-512.
pub(super) fn tile_rows(columns: usize) -> usize {
    match columns {
        8 | 48 => 8,
        16 => 6,
        24 => 3,
        _ => 12,
    }
}

/// Rows `0..rows` cut into tiles of at most `most`, sizes as even as possible: `(first, count)`.
fn even_tiles(rows: usize, most: usize) -> impl Iterator<Item = (usize, usize)> {
    let tiles = rows.div_ceil(most);
    (0..tiles).map(move |t| {
        let first = t * rows / tiles;
        (first, (t + 1) * rows / tiles - first)
    })
}

/// `c[i cm + j] = start + sum a b` for `rows` rows and `columns` columns of a panel that is `panel` wide.
///
/// # Panics
/// If an operand is too short for the walk: this is what makes the unchecked loads inside sound.
#[allow(clippy::too_many_arguments)]
pub(super) fn column(
    walk: &Walk,
    panel: usize,
    rows: usize,
    columns: usize,
    a: &[f32],
    b: &[f32],
    start: Start<'_>,
    c: &mut [f32],
    cm: usize,
) {
    assert!(rows >= 1 && columns >= 1 && columns <= panel && panel <= MAX_COLUMNS);
    if walk.k1 > 0 && walk.k2 > 0 {
        assert!((rows - 1) * walk.am + (walk.k1 - 1) * walk.a1 + (walk.k2 - 1) * walk.a2 < a.len());
        assert!((walk.k1 - 1) * walk.b1 + (walk.k2 - 1) * walk.b2 + panel <= b.len());
    }
    assert!((rows - 1) * cm + columns <= c.len());
    let (init, im): (Option<&[f32]>, usize) = match start {
        Start::Zero => (None, 0),
        Start::Row(row) => (Some(&row[..columns]), 0),
        Start::Keep => (None, cm),
    };
    for (i, count) in even_tiles(rows, tile_rows(panel)) {
        let (a, c) = (&a[i * walk.am..], &mut c[i * cm..]);
        if columns == panel {
            dispatch(walk, panel, count, a, b, init, im, c, cm);
            continue;
        }
        // A narrow last panel: through a full-width copy, so that the kernel has no edges.
        let mut full = [0.0; MAX_SUMS];
        for (i, line) in full.chunks_exact_mut(panel).enumerate().take(count) {
            match start {
                Start::Zero => {}
                Start::Row(row) => line[..columns].copy_from_slice(&row[..columns]),
                Start::Keep => line[..columns].copy_from_slice(&c[i * cm..i * cm + columns]),
            }
        }
        dispatch(walk, panel, count, a, b, None, panel, &mut full, panel);
        for (i, line) in full.chunks_exact(panel).enumerate().take(count) {
            c[i * cm..i * cm + columns].copy_from_slice(&line[..columns]);
        }
    }
}

/// `init` with stride 0 is a start row; without it, stride 0 starts from zero and any other from `c` itself.
#[allow(clippy::too_many_arguments, unsafe_code)]
fn dispatch(
    walk: &Walk,
    panel: usize,
    rows: usize,
    a: &[f32],
    b: &[f32],
    init: Option<&[f32]>,
    im: usize,
    c: &mut [f32],
    cm: usize,
) {
    let from = match init {
        Some(row) => row.as_ptr(),
        None if im == 0 => std::ptr::null(),
        None => c.as_ptr(),
    };
    let (a, b, c) = (a.as_ptr(), b.as_ptr(), c.as_mut_ptr());
    #[cfg(target_arch = "x86_64")]
    let simd = simd();
    // A panel of `$vectors` vectors of eight columns.
    macro_rules! run {
        ($rows:literal, $vectors:literal) => {{
            // SAFETY: `column` checked that the farthest element of each operand lies inside it, and `simd` that the
            // instructions exist.
            unsafe {
                #[cfg(target_arch = "x86_64")]
                match simd {
                    Simd::Avx512 if $vectors % 2 == 0 => {
                        return avx512::<$rows, { $vectors / 2 }>(walk, a, b, from, im, c, cm);
                    }
                    Simd::Avx2 | Simd::Avx512 => {
                        return avx2::<$rows, $vectors>(walk, a, b, from, im, c, cm);
                    }
                    Simd::Portable => {}
                }
                portable::<$rows, $vectors>(walk, a, b, from, im, c, cm)
            }
        }};
    }
    macro_rules! tiles {
        ($vectors:literal: $($rows:literal)*) => {
            match rows {
                $($rows => run!($rows, $vectors),)*
                _ => unreachable!("no tile of {rows} rows and {panel} columns"),
            }
        };
    }
    match panel {
        8 => tiles!(1: 1 2 3 4 5 6 7 8),
        16 => tiles!(2: 1 2 3 4 5 6),
        24 => tiles!(3: 1 2 3),
        32 => tiles!(4: 1 2 3 4 5 6 7 8 9 10 11 12),
        48 => tiles!(6: 1 2 3 4 5 6 7 8),
        _ => unreachable!("no panel of {panel} columns"),
    }
}

/// A tile of `R` rows and `V` vectors, with the instructions of one kind; `$lanes` columns make a vector.
macro_rules! vector_tile {
    ($name:ident, $features:literal, $lanes:literal, $zero:ident, $load:ident, $spread:ident, $multiply_add:ident, $store:ident) => {
        /// # Safety
        /// The machine must have the instructions, and the farthest elements that `walk`, `R` rows and `V` vectors of columns reach
        /// must lie inside the operands.
        #[cfg(target_arch = "x86_64")]
        #[target_feature(enable = $features)]
        #[allow(unsafe_code)]
        unsafe fn $name<const R: usize, const V: usize>(
            walk: &Walk,
            a: *const f32,
            b: *const f32,
            from: *const f32,
            im: usize,
            c: *mut f32,
            cm: usize,
        ) {
            use std::arch::x86_64::{$load, $multiply_add, $spread, $store, $zero};
            // SAFETY: as the caller promises.
            unsafe {
                let mut sums = [[$zero(); V]; R];
                if !from.is_null() {
                    for (i, row) in sums.iter_mut().enumerate() {
                        for (v, sum) in row.iter_mut().enumerate() {
                            *sum = $load(from.add(i * im + $lanes * v));
                        }
                    }
                }
                for p in 0..walk.k1 {
                    let mut left = a.add(p * walk.a1);
                    let mut right = b.add(p * walk.b1);
                    for _ in 0..walk.k2 {
                        let mut columns = [$zero(); V];
                        for (v, column) in columns.iter_mut().enumerate() {
                            *column = $load(right.add($lanes * v));
                        }
                        for (i, row) in sums.iter_mut().enumerate() {
                            let x = $spread(*left.add(i * walk.am));
                            for (sum, column) in row.iter_mut().zip(columns) {
                                *sum = $multiply_add(x, column, *sum);
                            }
                        }
                        left = left.wrapping_add(walk.a2);
                        right = right.wrapping_add(walk.b2);
                    }
                }
                for (i, row) in sums.iter().enumerate() {
                    for (v, sum) in row.iter().enumerate() {
                        $store(c.add(i * cm + $lanes * v), *sum);
                    }
                }
            }
        }
    };
}

vector_tile!(
    avx2,
    "avx2,fma",
    8,
    _mm256_setzero_ps,
    _mm256_loadu_ps,
    _mm256_set1_ps,
    _mm256_fmadd_ps,
    _mm256_storeu_ps
);
vector_tile!(
    avx512,
    "avx512f",
    16,
    _mm512_setzero_ps,
    _mm512_loadu_ps,
    _mm512_set1_ps,
    _mm512_fmadd_ps,
    _mm512_storeu_ps
);

/// The same sums in the same order, one at a time.
///
/// # Safety
/// The farthest elements that `walk`, `R` rows and `8 V` columns reach must lie inside the operands.
#[allow(unsafe_code)]
unsafe fn portable<const R: usize, const V: usize>(
    walk: &Walk,
    a: *const f32,
    b: *const f32,
    from: *const f32,
    im: usize,
    c: *mut f32,
    cm: usize,
) {
    // SAFETY: as the caller promises.
    unsafe {
        let mut sums = [[[0.0f32; 8]; V]; R];
        if !from.is_null() {
            for (i, row) in sums.iter_mut().enumerate() {
                for (j, sum) in row.as_flattened_mut().iter_mut().enumerate() {
                    *sum = *from.add(i * im + j);
                }
            }
        }
        for p in 0..walk.k1 {
            for q in 0..walk.k2 {
                let left = a.add(p * walk.a1 + q * walk.a2);
                let right = b.add(p * walk.b1 + q * walk.b2);
                for (i, row) in sums.iter_mut().enumerate() {
                    let x = *left.add(i * walk.am);
                    for (j, sum) in row.as_flattened_mut().iter_mut().enumerate() {
                        *sum = x.mul_add(*right.add(j), *sum);
                    }
                }
            }
        }
        for (i, row) in sums.iter().enumerate() {
            for (j, sum) in row.as_flattened().iter().enumerate() {
                *c.add(i * cm + j) = *sum;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::simd::AT_MOST;
    use super::*;

    /// Every kind of instructions must give the bytes of a plain loop, with every tile shape, start and edge.
    #[test]
    fn tiles_equal_a_plain_loop() {
        const APART: usize = MAX_COLUMNS + 6;
        let number = |i: usize| ((i * 2_654_435_761) % 1000) as f32 / 500.0 - 1.0;
        let a: Vec<f32> = (0..600).map(number).collect();
        let b: Vec<f32> = (0..3 * 7 * MAX_COLUMNS).map(|i| number(i + 77)).collect();
        for panel in [8, 16, 24, 32, 48] {
            let walk = Walk {
                k1: 3,
                k2: 7,
                am: 5,
                a1: 40,
                a2: 2,
                b1: 7 * panel,
                b2: panel,
            };
            let bias: Vec<f32> = (0..panel).map(number).collect();
            // One tile, and several.
            for rows in 1..=2 * tile_rows(panel) + 1 {
                for (columns, keep) in [panel, panel - 3, 1]
                    .into_iter()
                    .flat_map(|columns| [(columns, false), (columns, true)])
                {
                    let before: Vec<f32> = (0..rows * APART).map(|i| number(i + 5)).collect();
                    let mut want = before.clone();
                    for (i, line) in want.chunks_exact_mut(APART).enumerate() {
                        for (j, want) in line[..columns].iter_mut().enumerate() {
                            *want = if keep { *want } else { bias[j] };
                            for (p, q) in (0..3).flat_map(|p| (0..7).map(move |q| (p, q))) {
                                let x = a[i * 5 + p * 40 + q * 2];
                                *want = x.mul_add(b[p * walk.b1 + q * walk.b2 + j], *want);
                            }
                        }
                    }
                    for most in [Simd::Portable, Simd::Avx2, Simd::Avx512] {
                        AT_MOST.set(most);
                        let start = if keep { Start::Keep } else { Start::Row(&bias) };
                        let mut c = before.clone();
                        column(&walk, panel, rows, columns, &a, &b, start, &mut c, APART);
                        let same = c.iter().zip(&want).all(|(c, want)| c.to_bits() == want.to_bits());
                        assert!(
                            same,
                            "{most:?}, {rows} rows, {columns} of {panel} columns, {keep}"
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn panels_waste_little() {
        for most in [Simd::Portable, Simd::Avx2, Simd::Avx512] {
            AT_MOST.set(most);
            for n in 1..200 {
                let columns = panel_columns(n);
                assert!(columns <= MAX_COLUMNS && tile_rows(columns) * columns <= MAX_SUMS);
                assert!(n.next_multiple_of(columns) < n + 32);
            }
        }
    }

    #[test]
    #[should_panic(expected = "assertion failed")]
    fn a_short_operand_is_refused() {
        let walk = Walk {
            k1: 1,
            k2: 9,
            am: 9,
            a1: 0,
            a2: 1,
            b1: 0,
            b2: 8,
        };
        column(
            &walk,
            8,
            2,
            8,
            &[0.0; 17],
            &[0.0; 72],
            Start::Zero,
            &mut [0.0; 16],
            8,
        );
    }

    #[test]
    fn tiles_are_even() {
        assert_eq!(even_tiles(16, 6).collect::<Vec<_>>(), [(0, 5), (5, 5), (10, 6)]);
        assert_eq!(even_tiles(4, 6).collect::<Vec<_>>(), [(0, 4)]);
        assert_eq!(even_tiles(0, 6).count(), 0);
    }
}
