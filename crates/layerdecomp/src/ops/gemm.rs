//! Matrix products over strided views, cut for the caches.

use super::kernel::{Start, Walk, column, panel_columns, tile_rows};
use super::transpose::transpose;
use super::{for_each_chunk, scratch::with_scratch};

/// Inner dimension of a packed block: a panel of it (16 to 48 KiB) stays near the first-level cache.
const DEPTH: usize = 256;
/// Most rows that one task handles: with `DEPTH` columns they stay in the second-level cache.
const ROWS: usize = 96;

/// Rows that one task handles, such that small products too can be shared. No sum depends on it.
fn task_rows(m: usize, panel: usize) -> usize {
    m.div_ceil(4).next_multiple_of(tile_rows(panel)).clamp(24, ROWS)
}

/// A matrix inside a slice: element `(i, j)` is `data[i row + j column]`. One of the two is 1.
#[derive(Debug, Clone, Copy)]
pub(super) struct View<'a> {
    pub data: &'a [f32],
    pub row: usize,
    pub column: usize,
}

impl<'a> View<'a> {
    /// Rows of `width` values behind each other.
    pub fn rows(data: &'a [f32], width: usize) -> Self {
        Self {
            data,
            row: width,
            column: 1,
        }
    }

    /// The transpose of [`View::rows`].
    pub fn transposed(data: &'a [f32], width: usize) -> Self {
        Self {
            data,
            row: 1,
            column: width,
        }
    }
}

/// `c = start + a b` with `a` (m, k), `b` (k, n) and `c`'s rows `ldc` apart, in parallel over blocks of rows.
/// The order of each sum depends on `k` alone.
pub(super) fn gemm(
    (m, n, k): (usize, usize, usize),
    a: View<'_>,
    b: View<'_>,
    start: Start<'_>,
    c: &mut [f32],
    ldc: usize,
) {
    if m == 0 || n == 0 {
        return;
    }
    assert!(k > 0 && n <= ldc);
    let c = &mut c[..(m - 1) * ldc + n];
    let panel = panel_columns(n);
    let (padded, task) = (n.next_multiple_of(panel), task_rows(m, panel));
    with_scratch(padded * DEPTH.min(k), |packed| {
        for k0 in (0..k).step_by(DEPTH) {
            let depth = DEPTH.min(k - k0);
            let packed = &mut packed[..padded * depth];
            pack_panels(
                View {
                    data: &b.data[k0 * b.row..],
                    ..b
                },
                depth,
                n,
                panel,
                packed,
            );
            let packed = &*packed;
            let start = if k0 == 0 { start } else { Start::Keep };
            for_each_chunk(c, task * ldc, |index, c| {
                let rows = c.len().div_ceil(ldc);
                block(
                    (index * task, rows),
                    (k0, depth),
                    (n, panel),
                    a,
                    packed,
                    start,
                    c,
                    ldc,
                );
            });
        }
    });
}

/// One block of rows against all panels, `columns` wide, of one block of the inner dimension.
#[allow(clippy::too_many_arguments)]
fn block(
    (i0, rows): (usize, usize),
    (k0, depth): (usize, usize),
    (n, columns): (usize, usize),
    a: View<'_>,
    packed: &[f32],
    start: Start<'_>,
    c: &mut [f32],
    ldc: usize,
) {
    let mut run = |a: &[f32], am: usize, a2: usize| {
        let walk = Walk {
            k1: 1,
            k2: depth,
            am,
            a1: 0,
            a2,
            b1: 0,
            b2: columns,
        };
        for (panel, j) in packed.chunks_exact(columns * depth).zip((0..n).step_by(columns)) {
            let count = columns.min(n - j);
            let start = match start {
                Start::Row(row) => Start::Row(&row[j..j + count]),
                other => other,
            };
            column(&walk, columns, rows, count, a, panel, start, &mut c[j..], ldc);
        }
    };
    if a.column == 1 {
        run(&a.data[i0 * a.row + k0..], a.row, 1);
    } else {
        // Columns of `a` lie far apart; gathered, the kernel stays within a few pages.
        with_scratch(rows * depth, |gathered| {
            for (k, line) in gathered.chunks_exact_mut(rows).enumerate() {
                let first = i0 + (k0 + k) * a.column;
                line.copy_from_slice(&a.data[first..first + rows]);
            }
            run(gathered, 1, rows);
        });
    }
}

/// Packs `k` rows and `n` columns of `b` as panels of `columns`: `[panel][row][column]`, the last one padded with zeros.
pub(super) fn pack_panels(b: View<'_>, k: usize, n: usize, columns: usize, packed: &mut [f32]) {
    for (panel, j) in packed.chunks_exact_mut(columns * k).zip((0..n).step_by(columns)) {
        let count = columns.min(n - j);
        if b.column == 1 {
            for (i, line) in panel.chunks_exact_mut(columns).enumerate() {
                let first = i * b.row + j;
                line[..count].copy_from_slice(&b.data[first..first + count]);
                line[count..].fill(0.0);
            }
        } else {
            if count < columns {
                panel.fill(0.0);
            }
            transpose((count, k), &b.data[j * b.column..], b.column, panel, columns);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(n: usize, salt: usize) -> Vec<f32> {
        (0..n)
            .map(|i| (((i + salt) * 2_654_435_761) % 1000) as f32 / 500.0 - 1.0)
            .collect()
    }

    #[test]
    fn products_equal_f64_sums() {
        for (m, n, k) in [(1, 1, 1), (7, 5, 3), (100, 40, 300), (200, 33, 600), (6, 16, 257)] {
            let (a, b, bias) = (numbers(m * k, 1), numbers(k * n, 2), numbers(n, 3));
            for (ta, tb) in [(false, false), (true, false), (false, true), (true, true)] {
                let va = if ta {
                    View::transposed(&a, m)
                } else {
                    View::rows(&a, k)
                };
                let vb = if tb {
                    View::transposed(&b, k)
                } else {
                    View::rows(&b, n)
                };
                let ldc = n + 3;
                let mut c = vec![9.0; m * ldc];
                gemm((m, n, k), va, vb, Start::Row(&bias), &mut c, ldc);
                gemm((m, n, k), va, vb, Start::Keep, &mut c, ldc);
                for i in 0..m {
                    for j in 0..n {
                        let at =
                            |v: View<'_>, i: usize, j: usize| f64::from(v.data[i * v.row + j * v.column]);
                        let sum: f64 = (0..k).map(|l| at(va, i, l) * at(vb, l, j)).sum();
                        let want = 2.0 * sum + f64::from(bias[j]);
                        let error = (f64::from(c[i * ldc + j]) - want).abs();
                        assert!(error < 2e-6 * k as f64, "{m} {n} {k} {ta} {tb}: {error}");
                    }
                    assert!(i + 1 == m || c[i * ldc + n..(i + 1) * ldc].iter().all(|v| *v == 9.0));
                }
            }
        }
    }
}
