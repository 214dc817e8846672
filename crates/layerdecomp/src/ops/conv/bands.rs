//! Convolutions over padded bands of channels-last pictures.

use super::pattern::{Kernel, Pattern, spread_phase};
use crate::ops::gemm::{View, pack_panels};
use crate::ops::kernel::{Start, Walk, column, panel_columns};
use crate::ops::{for_each_chunk, scratch::with_scratch};

/// Band buffers are kept near this many values (a quarter of a megabyte), so that they stay in cache.
const BAND: usize = 1 << 16;
/// Weight gradients are summed in this many partial sums, whatever the number of threads.
const PARTIAL_SUMS: usize = 4;

/// Pictures, (n, h, w, channels).
#[derive(Debug, Clone, Copy)]
pub(super) struct Pictures<'a> {
    pub values: &'a [f32],
    pub n: usize,
    pub h: usize,
    pub w: usize,
    pub channels: usize,
}

impl Pictures<'_> {
    /// Values of a padded row.
    fn row(&self) -> usize {
        (self.w + 2) * self.channels
    }

    /// Copies rows `y0 - 1 ..` of picture `n`, with one pixel of zeros on the left and the right (and zeros for rows
    /// outside), into `band`.
    fn gather(&self, n: usize, y0: usize, band: &mut [f32]) {
        let c = self.channels;
        for (r, row) in band.chunks_exact_mut(self.row()).enumerate() {
            match (y0 + r).checked_sub(1).filter(|y| *y < self.h) {
                None => row.fill(0.0),
                Some(y) => {
                    let inside = self.w * c;
                    row[..c].fill(0.0);
                    row[c + inside..].fill(0.0);
                    row[c..c + inside].copy_from_slice(&self.values[(n * self.h + y) * inside..][..inside]);
                }
            }
        }
    }
}

/// Rows of a band such that its buffers stay near [`BAND`] values: a divisor of `rows`, at least 1.
pub(super) fn band_rows(rows: usize, row_values: usize) -> usize {
    let most = (BAND / row_values.max(1)).clamp(1, rows.max(1));
    (1..=most).rev().find(|r| rows.is_multiple_of(*r)).unwrap_or(1)
}

/// Convolves pictures: `y`, (n, h step / stride, w step / stride, outputs), starts from `start`. With `exchanged`, inputs
/// and outputs of the kernel change places.
pub(super) fn convolve(
    x: Pictures<'_>,
    pattern: Pattern,
    kernel: Kernel<'_>,
    exchanged: bool,
    start: Start<'_>,
    y: &mut [f32],
) {
    let (c, outputs) = if exchanged {
        (kernel.outputs, kernel.count)
    } else {
        (kernel.count, kernel.outputs)
    };
    debug_assert_eq!(c, x.channels);
    let columns = panel_columns(outputs);
    let padded = outputs.next_multiple_of(columns);
    let taps: usize = pattern
        .phases()
        .map(|(_, (ay, ax))| ay.taps.len() * ax.taps.len())
        .sum();
    with_scratch(taps * c * padded, |packed| {
        let mut rest = &mut *packed;
        for (_, axes) in pattern.phases() {
            let k = axes.0.taps.len() * axes.1.taps.len() * c;
            let (mine, others) = rest.split_at_mut(k * padded);
            pack_panels(
                View::rows(&kernel.phase(axes, exchanged), outputs),
                k,
                outputs,
                columns,
                mine,
            );
            rest = others;
        }
        convolve_packed(x, pattern, packed, start, outputs, y);
    });
}

/// `packed` holds `[phase][panel][tap][channels][columns]`.
fn convolve_packed(
    x: Pictures<'_>,
    pattern: Pattern,
    packed: &[f32],
    start: Start<'_>,
    outputs: usize,
    y: &mut [f32],
) {
    let (stride, step, c, row) = (pattern.stride, pattern.step(), x.channels, x.row());
    let (h, w) = (x.h / stride, x.w / stride);
    debug_assert_eq!(y.len(), x.n * h * w * step * step * outputs);
    let columns = panel_columns(outputs);
    let rows = band_rows(h, row * stride);
    let line_len = w * step * outputs;
    for_each_chunk(y, rows * step * line_len, |index, y| {
        let (picture, y0) = (index / (h / rows), index % (h / rows) * rows);
        with_scratch(((rows - 1) * stride + pattern.reach()) * row, |band| {
            x.gather(picture, y0 * stride, band);
            let mut rest = packed;
            for ((py, px), (ay, ax)) in pattern.phases() {
                let (k1, k2) = (ay.taps.len(), ax.taps.len() * c);
                let walk = Walk {
                    k1,
                    k2,
                    am: stride * c,
                    a1: row,
                    a2: 1,
                    b1: k2 * columns,
                    b2: columns,
                };
                let panel_len = k1 * k2 * columns;
                let (mine, others) = rest.split_at(panel_len * outputs.div_ceil(columns));
                rest = others;
                for (panel, j) in mine.chunks_exact(panel_len).zip((0..outputs).step_by(columns)) {
                    let count = columns.min(outputs - j);
                    let start = match start {
                        Start::Row(row) => Start::Row(&row[j..j + count]),
                        other => other,
                    };
                    for line in 0..rows {
                        let from = &band[(line * stride + ay.offset) * row + ax.offset * c..];
                        let to = &mut y[(line * step + py) * line_len + px * outputs + j..];
                        column(&walk, columns, w, count, from, panel, start, to, step * outputs);
                    }
                }
            }
        });
    });
}

/// Adds the gradient of a kernel's inputs `first..first + x.channels` to `total`, `[tap][inputs][outputs]`: for each phase and
/// kernel row a product of the padded picture, transposed, with `dy`, summed over the pixels band by band.
pub(super) fn kernel_slopes(
    x: Pictures<'_>,
    pattern: Pattern,
    dy: &[f32],
    first: usize,
    (inputs, outputs): (usize, usize),
    total: &mut [f32],
) {
    let (stride, step, c, row) = (pattern.stride, pattern.step(), x.channels, x.row());
    let (h, w) = (x.h / stride, x.w / stride);
    let columns = panel_columns(outputs);
    let padded = outputs.next_multiple_of(columns);
    let line_len = w * step * padded;
    // Not from `line_len`: where a partial sum begins may not depend on how wide this machine's panels are.
    let rows = band_rows(h, row * stride + step * step * w * outputs.next_multiple_of(8));
    let bands = x.n * (h / rows);
    let sums = PARTIAL_SUMS.min(bands);
    let taps: usize = pattern
        .phases()
        .map(|(_, (ay, ax))| ay.taps.len() * ax.taps.len())
        .sum();
    let size = taps * c * outputs;
    let mut partial = vec![0.0; sums * size];
    for_each_chunk(&mut partial, size, |part, dw| {
        let band_len = ((rows - 1) * stride + pattern.reach()) * row;
        let dy_len = rows * step * line_len;
        with_scratch(band_len + if padded == outputs { 0 } else { dy_len }, |scratch| {
            let (band, wide) = scratch.split_at_mut(band_len);
            for index in part * bands / sums..(part + 1) * bands / sums {
                let (picture, y0) = (index / (h / rows), index % (h / rows) * rows);
                x.gather(picture, y0 * stride, band);
                let pixels = rows * w * step * step;
                let mut dy = &dy[index * pixels * outputs..][..pixels * outputs];
                if padded != outputs {
                    for (wide, pixel) in wide.chunks_exact_mut(padded).zip(dy.chunks_exact(outputs)) {
                        wide[..outputs].copy_from_slice(pixel);
                        wide[outputs..].fill(0.0);
                    }
                    dy = wide;
                }
                let mut rest = &mut *dw;
                for ((py, px), (ay, ax)) in pattern.phases() {
                    let walk = Walk {
                        k1: rows,
                        k2: w,
                        am: 1,
                        a1: stride * row,
                        a2: stride * c,
                        b1: step * line_len,
                        b2: step * padded,
                    };
                    let wide = ax.taps.len() * c;
                    let dy = &dy[py * line_len + px * padded..];
                    let (mine, others) = rest.split_at_mut(ay.taps.len() * wide * outputs);
                    rest = others;
                    for (ky, dw) in mine.chunks_exact_mut(wide * outputs).enumerate() {
                        let band = &band[(ky + ay.offset) * row + ax.offset * c..];
                        for j in (0..outputs).step_by(columns) {
                            let count = columns.min(outputs - j);
                            let (dy, dw) = (&dy[j..], &mut dw[j..]);
                            column(&walk, columns, wide, count, band, dy, Start::Keep, dw, outputs);
                        }
                    }
                }
            }
        });
    });
    for partial in partial.chunks_exact(size) {
        let mut rest = partial;
        for (_, axes) in pattern.phases() {
            let (mine, others) = rest.split_at(axes.0.taps.len() * axes.1.taps.len() * c * outputs);
            rest = others;
            spread_phase(mine, axes, (first, c), (inputs, outputs), total);
        }
    }
}
