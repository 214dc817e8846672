//! 3x3 convolutions over channels-last pictures, with the decoder's up-sampling and skip folded in.
//!
//! Pictures are padded band by band into a buffer that stays in the second-level cache, and the micro-kernel walks
//! over that: kernel columns times channels are contiguous there, so no im2col matrix is ever built. Up-sampling
//! (nearest, twice) and the concatenation with a skip happen while the band is gathered.

use candle_core::{CpuStorage, CustomOp2, CustomOp3, Layout, Result, Shape, Tensor, bail};

use super::gemm::{View, pack_panels};
use super::kernel::{Start, Walk, even_tiles, panel_columns, tile, tile_rows};
use super::linear::add_rows;
use super::{for_each_chunk, scratch::with_scratch, slices, values};

/// What a convolution does with its input first, and how far it steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// Output as large as the input.
    Same,
    /// Output half as large: every other pixel.
    Half,
    /// The input is doubled (nearest neighbour) first; a skip is not.
    Double,
}

/// Convolves with zero padding. `x` is (N, H, W, A); `skip`, if any, is (N, H', W', B) at the size after doubling and is
/// concatenated behind `x`'s channels; `weight` is (3, 3, A + B, C) and `bias` (C). The result is (N, H'', W'', C).
///
/// # Errors
/// If shapes disagree.
pub(crate) fn conv3x3(
    x: &Tensor,
    skip: Option<&Tensor>,
    weight: &Tensor,
    bias: &Tensor,
    step: Step,
) -> Result<Tensor> {
    // One tensor for both parameters: custom ops take three arguments at most.
    let c = bias.dim(0)?;
    let rows = weight.elem_count() / c.max(1);
    let parameters = Tensor::cat(&[weight.reshape((rows, c))?, bias.reshape((1, c))?], 0)?;
    let x = x.contiguous()?;
    match skip {
        None => x.apply_op2(&parameters, Conv(step)),
        Some(skip) => x.apply_op3(&skip.contiguous()?, &parameters, Conv(step)),
    }
}

struct Conv(Step);

/// Band buffers are kept near this many values (a quarter of a megabyte), so that they stay in cache.
const BAND: usize = 1 << 16;
/// Weight gradients are summed in this many partial sums, whatever the number of threads.
const PARTIAL_SUMS: usize = 4;

/// Sizes of one convolution.
#[derive(Debug, Clone, Copy)]
struct Plan {
    step: Step,
    n: usize,
    /// The padded picture's inside: after doubling, before striding.
    h: usize,
    w: usize,
    /// Channels of the first input, of both, and of the output.
    first: usize,
    inputs: usize,
    outputs: usize,
}

impl Plan {
    fn new(step: Step, x: &[usize], skip: Option<&[usize]>, parameters: &[usize]) -> Result<Self> {
        let (&[n, h, w, first], &[rows, outputs]) = (x, parameters) else {
            bail!("convolution: x {x:?}, parameters {parameters:?}");
        };
        let by = if step == Step::Double { 2 } else { 1 };
        let (h, w) = (h * by, w * by);
        let behind = match skip {
            None => 0,
            Some(&[sn, sh, sw, c]) if (sn, sh, sw) == (n, h, w) && step != Step::Half => c,
            Some(other) => bail!("convolution: skip {other:?} beside {n} pictures of {h}x{w}"),
        };
        let inputs = first + behind;
        if rows != 9 * inputs + 1 || (step == Step::Half && (h % 2 != 0 || w % 2 != 0)) || h * w == 0 {
            bail!("convolution: x {x:?}, skip {skip:?}, {rows} rows of parameters, {step:?}");
        }
        Ok(Self {
            step,
            n,
            h,
            w,
            first,
            inputs,
            outputs,
        })
    }

    fn stride(&self) -> usize {
        if self.step == Step::Half { 2 } else { 1 }
    }

    fn out_h(&self) -> usize {
        self.h / self.stride()
    }

    fn out_w(&self) -> usize {
        self.w / self.stride()
    }
}

/// Where a band's pixels come from.
#[derive(Clone, Copy)]
struct Source<'a> {
    x: &'a [f32],
    channels: usize,
    doubled: bool,
    skip: Option<(&'a [f32], usize)>,
    h: usize,
    w: usize,
}

impl Source<'_> {
    fn total(&self) -> usize {
        self.channels + self.skip.map_or(0, |s| s.1)
    }

    /// Copies rows `y0 - 1 ..` of picture `n`, with one pixel of zeros on the left and the right (and zeros for rows
    /// outside), into `band`: rows of `(w + 2) total` values.
    fn gather(&self, n: usize, y0: usize, band: &mut [f32]) {
        let total = self.total();
        for (r, row) in band.chunks_exact_mut((self.w + 2) * total).enumerate() {
            let Some(y) = (y0 + r).checked_sub(1).filter(|y| *y < self.h) else {
                row.fill(0.0);
                continue;
            };
            let inside = self.w * total;
            row[..total].fill(0.0);
            row[total + inside..].fill(0.0);
            let row = &mut row[total..total + inside];
            let c = self.channels;
            if self.doubled {
                let line = &self.x[(n * self.h / 2 + y / 2) * (self.w / 2) * c..][..self.w / 2 * c];
                for (pair, source) in row.chunks_exact_mut(2 * total).zip(line.chunks_exact(c)) {
                    pair[..c].copy_from_slice(source);
                    pair[total..total + c].copy_from_slice(source);
                }
            } else {
                let line = &self.x[(n * self.h + y) * self.w * c..][..self.w * c];
                if total == c {
                    row.copy_from_slice(line);
                } else {
                    for (pixel, source) in row.chunks_exact_mut(total).zip(line.chunks_exact(c)) {
                        pixel[..c].copy_from_slice(source);
                    }
                }
            }
            if let Some((skip, behind)) = self.skip {
                let line = &skip[(n * self.h + y) * self.w * behind..][..self.w * behind];
                for (pixel, source) in row.chunks_exact_mut(total).zip(line.chunks_exact(behind)) {
                    pixel[c..].copy_from_slice(source);
                }
            }
        }
    }
}

/// Rows of a band such that its padded input stays near [`BAND`] values: a divisor of `rows`, at least 1.
fn band_rows(rows: usize, row_values: usize) -> usize {
    let most = (BAND / row_values.max(1)).clamp(1, rows);
    (1..=most).rev().find(|r| rows.is_multiple_of(*r)).unwrap_or(1)
}

/// Convolves `source` with packed panels (`[panel][3][3 total][columns]`): fills `y`, (n, h / stride, w / stride, outputs).
fn forward(
    source: Source<'_>,
    n: usize,
    stride: usize,
    packed: &[f32],
    bias: Start<'_>,
    outputs: usize,
    y: &mut [f32],
) {
    let (h, w, total) = (source.h / stride, source.w / stride, source.total());
    debug_assert_eq!(y.len(), n * h * w * outputs);
    let columns = panel_columns(outputs);
    let row = (source.w + 2) * total;
    let rows = band_rows(h, row * stride);
    let walk = Walk {
        k1: 3,
        k2: 3 * total,
        am: stride * total,
        a1: row,
        a2: 1,
        b1: 3 * total * columns,
        b2: columns,
    };
    for_each_chunk(y, rows * w * outputs, |index, y| {
        let (picture, y0) = (index / (h / rows), index % (h / rows) * rows);
        with_scratch(((rows - 1) * stride + 3) * row, |band| {
            source.gather(picture, y0 * stride, band);
            for (panel, j) in packed
                .chunks_exact(9 * total * columns)
                .zip((0..outputs).step_by(columns))
            {
                let count = columns.min(outputs - j);
                let start = match bias {
                    Start::Row(row) => Start::Row(&row[j..j + count]),
                    other => other,
                };
                for (line, y) in y.chunks_exact_mut(w * outputs).enumerate() {
                    let band = &band[line * stride * row..];
                    for (x, width) in even_tiles(w, tile_rows(columns)) {
                        let to = &mut y[x * outputs + j..];
                        tile(
                            &walk,
                            columns,
                            width,
                            count,
                            &band[x * stride * total..],
                            panel,
                            start,
                            to,
                            outputs,
                        );
                    }
                }
            }
        });
    });
}

/// Packs `weight` rows `[tap][inputs]` of `outputs` columns and runs `work` on the panels.
fn with_packed<R>(weight: &[f32], k: usize, outputs: usize, work: impl FnOnce(&[f32]) -> R) -> R {
    let columns = panel_columns(outputs);
    with_scratch(outputs.next_multiple_of(columns) * k, |packed| {
        pack_panels(View::rows(weight, outputs), k, outputs, columns, packed);
        work(packed)
    })
}

impl Conv {
    fn run(&self, plan: &Plan, x: &[f32], skip: Option<&[f32]>, parameters: &[f32]) -> Vec<f32> {
        let k = 9 * plan.inputs;
        let (weight, bias) = parameters.split_at(k * plan.outputs);
        let mut y = vec![0.0; plan.n * plan.out_h() * plan.out_w() * plan.outputs];
        with_packed(weight, k, plan.outputs, |packed| {
            let source = source(plan, x, skip);
            forward(
                source,
                plan.n,
                plan.stride(),
                packed,
                Start::Row(bias),
                plan.outputs,
                &mut y,
            );
        });
        y
    }

    /// Gradients of both inputs (where asked for) and of the parameters.
    fn slopes(
        &self,
        plan: &Plan,
        x: &[f32],
        skip: Option<&[f32]>,
        parameters: &[f32],
        dy: &[f32],
        (want_x, want_skip): (bool, bool),
    ) -> (Option<Vec<f32>>, Option<Vec<f32>>, Vec<f32>) {
        let mut d_parameters = weight_slopes(source(plan, x, skip), plan, dy);
        let mut d_bias = vec![0.0; plan.outputs];
        add_rows(dy, &mut d_bias);
        d_parameters.extend_from_slice(&d_bias);
        // Only the channels that lead to a variable.
        let wanted = match (want_x, want_skip) {
            (_, true) => plan.inputs,
            (true, false) => plan.first,
            (false, false) => return (None, None, d_parameters),
        };
        let mut d = match plan.step {
            Step::Half => half_slopes(plan, parameters, dy),
            Step::Same | Step::Double => same_slopes(plan, parameters, dy, wanted),
        };
        if plan.step != Step::Double && plan.first == wanted {
            return (Some(d), None, d_parameters);
        }
        let d_skip = want_skip.then(|| channels(&d, wanted, plan.first));
        if plan.step == Step::Double {
            d = halved(&d, plan, wanted);
        } else {
            d = d
                .chunks_exact(wanted)
                .flat_map(|p| &p[..plan.first])
                .copied()
                .collect();
        }
        (Some(d), d_skip, d_parameters)
    }
}

/// Channels `from..` of every pixel.
fn channels(pixels: &[f32], total: usize, from: usize) -> Vec<f32> {
    let mut out = Vec::with_capacity(pixels.len() / total * (total - from));
    for pixel in pixels.chunks_exact(total) {
        out.extend_from_slice(&pixel[from..]);
    }
    out
}

/// Sums the four pixels that one was doubled into; the first `plan.first` channels of `total`.
fn halved(d: &[f32], plan: &Plan, total: usize) -> Vec<f32> {
    let (w, c) = (plan.w / 2, plan.first);
    let mut out = vec![0.0; plan.n * plan.h / 2 * w * c];
    for_each_chunk(&mut out, w * c, |line, out| {
        let (upper, lower) = d[line * 4 * w * total..][..4 * w * total].split_at(2 * w * total);
        let rows = upper.chunks_exact(2 * total).zip(lower.chunks_exact(2 * total));
        for (out, (upper, lower)) in out.chunks_exact_mut(c).zip(rows) {
            for (i, out) in out.iter_mut().enumerate() {
                *out = (upper[i] + upper[total + i]) + (lower[i] + lower[total + i]);
            }
        }
    });
    out
}

fn source<'a>(plan: &Plan, x: &'a [f32], skip: Option<&'a [f32]>) -> Source<'a> {
    Source {
        x,
        channels: plan.first,
        doubled: plan.step == Step::Double,
        skip: skip.map(|s| (s, plan.inputs - plan.first)),
        h: plan.h,
        w: plan.w,
    }
}

fn gradient_source<'a>(plan: &Plan, dy: &'a [f32]) -> Source<'a> {
    let (h, w) = (plan.out_h(), plan.out_w());
    Source {
        x: dy,
        channels: plan.outputs,
        doubled: false,
        skip: None,
        h,
        w,
    }
}

/// Gradient of the padded picture's inside at stride 1, first `wanted` channels: a convolution with the kernel turned
/// by half a turn and its channels exchanged.
fn same_slopes(plan: &Plan, parameters: &[f32], dy: &[f32], wanted: usize) -> Vec<f32> {
    let (inputs, outputs) = (plan.inputs, plan.outputs);
    let mut turned = vec![0.0; 9 * outputs * wanted];
    for (tap, block) in turned.chunks_exact_mut(outputs * wanted).enumerate() {
        let kernel = &parameters[(8 - tap) * inputs * outputs..][..wanted * outputs];
        for (i, column) in kernel.chunks_exact(outputs).enumerate() {
            for (value, row) in column.iter().zip(block.chunks_exact_mut(wanted)) {
                row[i] = *value;
            }
        }
    }
    let mut d = vec![0.0; plan.n * plan.h * plan.w * wanted];
    with_packed(&turned, 9 * outputs, wanted, |packed| {
        forward(
            gradient_source(plan, dy),
            plan.n,
            1,
            packed,
            Start::Zero,
            wanted,
            &mut d,
        );
    });
    d
}

/// Gradient of the input at stride 2. Even rows were seen by the kernel's middle row alone, odd rows by its last row from
/// above and its first from below; columns alike. So four small convolutions, one for each parity.
fn half_slopes(plan: &Plan, parameters: &[f32], dy: &[f32]) -> Vec<f32> {
    let (inputs, outputs) = (plan.inputs, plan.outputs);
    let columns = panel_columns(inputs);
    let source = gradient_source(plan, dy);
    let (h, w) = (plan.out_h(), plan.out_w());
    let taps = |odd: bool| -> &'static [usize] { if odd { &[2, 0] } else { &[1] } };
    let padded = inputs.next_multiple_of(columns);
    let row = (w + 2) * outputs;
    let mut d = vec![0.0; plan.n * plan.h * plan.w * inputs];
    // All four kernels behind each other: 1 + 2 + 2 + 4 taps.
    with_scratch(9 * outputs * padded, |packed| {
        let mut phases = Vec::with_capacity(4);
        let mut rest = &mut *packed;
        for (odd_y, odd_x) in [(false, false), (false, true), (true, false), (true, true)] {
            let (ty, tx) = (taps(odd_y), taps(odd_x));
            let k = ty.len() * tx.len() * outputs;
            let mut turned = vec![0.0; k * inputs];
            let kernels = ty.iter().flat_map(|ky| tx.iter().map(move |kx| ky * 3 + kx));
            for (tap, block) in kernels.zip(turned.chunks_exact_mut(outputs * inputs)) {
                let kernel = &parameters[tap * inputs * outputs..][..inputs * outputs];
                for (i, column) in kernel.chunks_exact(outputs).enumerate() {
                    for (value, row) in column.iter().zip(block.chunks_exact_mut(inputs)) {
                        row[i] = *value;
                    }
                }
            }
            let (mine, others) = rest.split_at_mut(padded * k);
            pack_panels(View::rows(&turned, inputs), k, inputs, columns, mine);
            rest = others;
            let k2 = tx.len() * outputs;
            let walk = Walk {
                k1: ty.len(),
                k2,
                am: outputs,
                a1: row,
                a2: 1,
                b1: k2 * columns,
                b2: columns,
            };
            phases.push((usize::from(odd_y), usize::from(odd_x), &*mine, walk));
        }
        let rows = band_rows(h, row);
        for_each_chunk(&mut d, rows * 4 * w * inputs, |index, d| {
            let (picture, y0) = (index / (h / rows), index % (h / rows) * rows);
            with_scratch((rows + 2) * row, |band| {
                source.gather(picture, y0, band);
                for &(odd_y, odd_x, packed, walk) in &phases {
                    let size = walk.k1 * walk.k2 * columns;
                    for (panel, j) in packed.chunks_exact(size).zip((0..inputs).step_by(columns)) {
                        let count = columns.min(inputs - j);
                        for line in 0..rows {
                            // The band starts one row and one column before the picture.
                            let from = &band[(line + 1) * row + outputs..];
                            let to = &mut d[(2 * line + odd_y) * 2 * w * inputs + odd_x * inputs + j..];
                            for (x, width) in even_tiles(w, tile_rows(columns)) {
                                let to = &mut to[2 * x * inputs..];
                                let from = &from[x * outputs..];
                                tile(
                                    &walk,
                                    columns,
                                    width,
                                    count,
                                    from,
                                    panel,
                                    Start::Zero,
                                    to,
                                    2 * inputs,
                                );
                            }
                        }
                    }
                }
            });
        });
    });
    d
}

/// Gradient of the kernel, `[tap][inputs][outputs]`: for each kernel row a product of the padded picture, transposed, with `dy`,
/// summed over the pixels band by band.
fn weight_slopes(source: Source<'_>, plan: &Plan, dy: &[f32]) -> Vec<f32> {
    let (inputs, outputs, stride) = (plan.inputs, plan.outputs, plan.stride());
    let (h, w) = (plan.out_h(), plan.out_w());
    let columns = panel_columns(outputs);
    let padded = outputs.next_multiple_of(columns);
    let row = (plan.w + 2) * inputs;
    let rows = band_rows(h, row * stride + w * padded);
    let bands = plan.n * (h / rows);
    let sums = PARTIAL_SUMS.min(bands);
    let size = 9 * inputs * outputs;
    let walk = Walk {
        k1: rows,
        k2: w,
        am: 1,
        a1: stride * row,
        a2: stride * inputs,
        b1: w * padded,
        b2: padded,
    };
    let mut partial = vec![0.0; sums * size];
    for_each_chunk(&mut partial, size, |part, dw| {
        let band_len = ((rows - 1) * stride + 3) * row;
        with_scratch(band_len + rows * w * padded, |scratch| {
            let (band, wide) = scratch.split_at_mut(band_len);
            for index in part * bands / sums..(part + 1) * bands / sums {
                let (picture, y0) = (index / (h / rows), index % (h / rows) * rows);
                source.gather(picture, y0 * stride, band);
                let mut dy = &dy[(picture * h + y0) * w * outputs..][..rows * w * outputs];
                if padded != outputs {
                    for (wide, pixel) in wide.chunks_exact_mut(padded).zip(dy.chunks_exact(outputs)) {
                        wide[..outputs].copy_from_slice(pixel);
                        wide[outputs..].fill(0.0);
                    }
                    dy = wide;
                }
                for (ky, dw) in dw.chunks_exact_mut(3 * inputs * outputs).enumerate() {
                    let band = &band[ky * row..];
                    for j in (0..outputs).step_by(columns) {
                        let count = columns.min(outputs - j);
                        for (i, height) in even_tiles(3 * inputs, tile_rows(columns)) {
                            let to = &mut dw[i * outputs + j..];
                            tile(
                                &walk,
                                columns,
                                height,
                                count,
                                &band[i..],
                                &dy[j..],
                                Start::Keep,
                                to,
                                outputs,
                            );
                        }
                    }
                }
            }
        });
    });
    let mut total = partial;
    let rest = total.split_off(size);
    add_rows(&rest, &mut total);
    total
}

impl CustomOp2 for Conv {
    fn name(&self) -> &'static str {
        "conv3x3"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        xl: &Layout,
        p: &CpuStorage,
        pl: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let plan = Plan::new(self.0, xl.dims(), None, pl.dims())?;
        let y = self.run(&plan, values(x, xl)?, None, values(p, pl)?);
        Ok((
            CpuStorage::F32(y),
            (plan.n, plan.out_h(), plan.out_w(), plan.outputs).into(),
        ))
    }

    fn bwd(
        &self,
        x: &Tensor,
        p: &Tensor,
        _y: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let plan = Plan::new(self.0, x.dims(), None, p.dims())?;
        slices!(xv = x, pv = p, dy = grad);
        let (dx, _, dp) = self.slopes(&plan, xv, None, pv, dy, (x.track_op(), false));
        let dx = dx
            .map(|d| Tensor::from_vec(d, x.shape(), x.device()))
            .transpose()?;
        Ok((dx, Some(Tensor::from_vec(dp, p.shape(), p.device())?)))
    }
}

impl CustomOp3 for Conv {
    fn name(&self) -> &'static str {
        "conv3x3-skip"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        xl: &Layout,
        s: &CpuStorage,
        sl: &Layout,
        p: &CpuStorage,
        pl: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let plan = Plan::new(self.0, xl.dims(), Some(sl.dims()), pl.dims())?;
        let y = self.run(&plan, values(x, xl)?, Some(values(s, sl)?), values(p, pl)?);
        Ok((
            CpuStorage::F32(y),
            (plan.n, plan.out_h(), plan.out_w(), plan.outputs).into(),
        ))
    }

    fn bwd(
        &self,
        x: &Tensor,
        s: &Tensor,
        p: &Tensor,
        _y: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let plan = Plan::new(self.0, x.dims(), Some(s.dims()), p.dims())?;
        slices!(xv = x, sv = s, pv = p, dy = grad);
        let wanted = (x.track_op(), s.track_op());
        let (dx, ds, dp) = self.slopes(&plan, xv, Some(sv), pv, dy, wanted);
        let dx = dx
            .map(|d| Tensor::from_vec(d, x.shape(), x.device()))
            .transpose()?;
        let ds = ds
            .map(|d| Tensor::from_vec(d, s.shape(), s.device()))
            .transpose()?;
        Ok((dx, ds, Some(Tensor::from_vec(dp, p.shape(), p.device())?)))
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{check_gradients, noise};
    use super::*;

    /// Candle's convolution over channels-first pictures.
    fn composed(
        x: &Tensor,
        skip: Option<&Tensor>,
        weight: &Tensor,
        bias: &Tensor,
        step: Step,
    ) -> Result<Tensor> {
        let mut x = x.permute((0, 3, 1, 2))?.contiguous()?;
        if step == Step::Double {
            let (_, _, h, w) = x.dims4()?;
            x = x.upsample_nearest2d(2 * h, 2 * w)?;
        }
        if let Some(skip) = skip {
            x = Tensor::cat(&[x, skip.permute((0, 3, 1, 2))?], 1)?;
        }
        let stride = if step == Step::Half { 2 } else { 1 };
        let weight = weight.permute((3, 2, 0, 1))?.contiguous()?;
        x.conv2d(&weight, 1, stride, 1, 1)?
            .permute((0, 2, 3, 1))?
            .broadcast_add(bias)
    }

    #[test]
    fn equals_candle_and_its_gradients() {
        let cases = [
            (Step::Same, 4, 6, 5, 0, 24),
            (Step::Same, 5, 7, 3, 2, 7),
            (Step::Half, 8, 6, 7, 0, 16),
            (Step::Half, 4, 20, 24, 0, 40),
            (Step::Double, 2, 3, 4, 3, 17),
            (Step::Double, 3, 2, 6, 0, 48),
        ];
        for (step, h, w, a, b, c) in cases {
            let by = if step == Step::Double { 2 } else { 1 };
            let mut inputs = vec![
                noise(&[2, h, w, a], 1),
                noise(&[3, 3, a + b, c], 2),
                noise(&[c], 3),
            ];
            if b > 0 {
                inputs.push(noise(&[2, by * h, by * w, b], 4));
            }
            check_gradients(
                &inputs,
                |t| conv3x3(&t[0], t.get(3), &t[1], &t[2], step),
                |t| composed(&t[0], t.get(3), &t[1], &t[2], step),
                2e-5,
            );
        }
    }

    #[test]
    fn large_pictures_are_cut_into_bands() {
        let inputs = [
            noise(&[1, 96, 90, 16], 1),
            noise(&[3, 3, 16, 8], 2),
            noise(&[8], 3),
        ];
        assert!(band_rows(96, 92 * 16) < 96);
        check_gradients(
            &inputs,
            |t| conv3x3(&t[0], None, &t[1], &t[2], Step::Same),
            |t| composed(&t[0], None, &t[1], &t[2], Step::Same),
            2e-5,
        );
    }

    #[test]
    fn gradients_of_constants_are_skipped() {
        let plan = Plan::new(Step::Same, &[1, 2, 2, 3], Some(&[1, 2, 2, 2]), &[46, 4]).unwrap();
        let (x, s) = (vec![0.0; 12], vec![0.0; 8]);
        let run = |want| Conv(Step::Same).slopes(&plan, &x, Some(&s), &[0.0; 184], &[0.0; 16], want);
        assert!(run((false, false)).0.is_none());
        let (dx, ds, dp) = run((true, false));
        assert_eq!(
            (dx.map(|d| d.len()), ds.is_none(), dp.len()),
            (Some(12), true, 184)
        );
        let (dx, ds, _) = run((true, true));
        assert_eq!((dx.map(|d| d.len()), ds.map(|d| d.len())), (Some(12), Some(8)));
    }

    #[test]
    fn misfits_are_errors() {
        let (x, w, b) = (noise(&[1, 4, 4, 3], 1), noise(&[3, 3, 4, 8], 1), noise(&[8], 1));
        assert!(conv3x3(&x, None, &w, &b, Step::Same).is_err());
        assert!(conv3x3(&x, Some(&noise(&[1, 4, 4, 1], 1)), &w, &b, Step::Double).is_err());
    }
}
