//! 3x3 convolutions over channels-last pictures, with the decoder's up-sampling and skip folded in.
//!
//! Pictures are padded band by band into a buffer that stays in the second-level cache, and the micro-kernel walks
//! over that: kernel columns times channels are contiguous there, so no im2col matrix is ever built. A doubled
//! (nearest-neighbour) picture is never built either, see [`pattern`], nor the concatenation with a skip: both parts
//! are convolved with their part of the kernel and added.

mod bands;
mod pattern;

use candle_core::{CpuStorage, CustomOp2, CustomOp3, Layout, Result, Shape, Tensor, bail};

use self::bands::{Pictures, convolve, kernel_slopes};
use self::pattern::{Kernel, Pattern};
use super::composed;
use super::kernel::Start;
use super::linear::add_rows;
use super::{slices, values};

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

/// Convolves with zero padding. `x` is (N, H, W, A); `skip`, if any, is (N, H', W', B) at the output's size and is
/// concatenated behind `x`'s channels; `weight` is (3, 3, A + B, C) and `bias` (C). The result is (N, H', W', C).
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
    if composed::is_wanted(x) {
        return composed::conv3x3(x, skip, weight, bias, step);
    }
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

/// Sizes of one convolution.
#[derive(Debug, Clone, Copy)]
struct Plan {
    pattern: Pattern,
    n: usize,
    /// The first input's size.
    h: usize,
    w: usize,
    /// The result's size.
    out_h: usize,
    out_w: usize,
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
        let (pattern, out_h, out_w) = match step {
            Step::Same => (Pattern::SAME, h, w),
            Step::Half => (Pattern::HALF, h / 2, w / 2),
            Step::Double => (Pattern::DOUBLE, 2 * h, 2 * w),
        };
        let behind = match skip {
            None => 0,
            Some(&[sn, sh, sw, c]) if (sn, sh, sw) == (n, out_h, out_w) => c,
            Some(other) => bail!("convolution: skip {other:?} beside {n} results of {out_h}x{out_w}"),
        };
        let inputs = first + behind;
        let odd = step == Step::Half && (h % 2 != 0 || w % 2 != 0);
        if rows != 9 * inputs + 1 || odd || x.contains(&0) || outputs == 0 {
            bail!("convolution: x {x:?}, skip {skip:?}, {rows} rows of parameters, {step:?}");
        }
        Ok(Self {
            pattern,
            n,
            h,
            w,
            out_h,
            out_w,
            first,
            inputs,
            outputs,
        })
    }

    fn x<'a>(&self, values: &'a [f32]) -> Pictures<'a> {
        Pictures {
            values,
            n: self.n,
            h: self.h,
            w: self.w,
            channels: self.first,
        }
    }

    /// Pictures of the result's size.
    fn out<'a>(&self, values: &'a [f32], channels: usize) -> Pictures<'a> {
        Pictures {
            values,
            n: self.n,
            h: self.out_h,
            w: self.out_w,
            channels,
        }
    }

    fn skip<'a>(&self, values: &'a [f32]) -> Pictures<'a> {
        self.out(values, self.inputs - self.first)
    }

    /// The parts of the kernel for the first input and for the skip.
    fn kernels<'a>(&self, weight: &'a [f32]) -> (Kernel<'a>, Kernel<'a>) {
        let (inputs, outputs) = (self.inputs, self.outputs);
        let part = |first, count| Kernel {
            weight,
            inputs,
            outputs,
            first,
            count,
        };
        (part(0, self.first), part(self.first, inputs - self.first))
    }

    fn result_shape(&self) -> Shape {
        (self.n, self.out_h, self.out_w, self.outputs).into()
    }

    fn run(&self, x: &[f32], skip: Option<&[f32]>, parameters: &[f32]) -> Vec<f32> {
        let (weight, bias) = parameters.split_at(9 * self.inputs * self.outputs);
        let (kernel, behind) = self.kernels(weight);
        let mut y = vec![0.0; self.n * self.out_h * self.out_w * self.outputs];
        let mut start = Start::Row(bias);
        if let Some(skip) = skip {
            convolve(self.skip(skip), Pattern::SAME, behind, false, start, &mut y);
            start = Start::Keep;
        }
        convolve(self.x(x), self.pattern, kernel, false, start, &mut y);
        y
    }

    /// Gradient of the parameters.
    fn parameter_slopes(&self, x: &[f32], skip: Option<&[f32]>, dy: &[f32]) -> Vec<f32> {
        let size = 9 * self.inputs * self.outputs;
        let channels = (self.inputs, self.outputs);
        let mut d = vec![0.0; size + self.outputs];
        let (weight, bias) = d.split_at_mut(size);
        kernel_slopes(self.x(x), self.pattern, dy, 0, channels, weight);
        if let Some(skip) = skip {
            kernel_slopes(self.skip(skip), Pattern::SAME, dy, self.first, channels, weight);
        }
        add_rows(dy, bias);
        d
    }

    /// Gradient of the first input.
    fn x_slopes(&self, parameters: &[f32], dy: &[f32]) -> Vec<f32> {
        let mut d = vec![0.0; self.n * self.h * self.w * self.first];
        let (kernel, _) = self.kernels(parameters);
        convolve(
            self.out(dy, self.outputs),
            self.pattern.gradient(),
            kernel,
            true,
            Start::Zero,
            &mut d,
        );
        d
    }

    /// Gradient of the skip.
    fn skip_slopes(&self, parameters: &[f32], dy: &[f32]) -> Vec<f32> {
        let mut d = vec![0.0; self.n * self.out_h * self.out_w * (self.inputs - self.first)];
        let (_, kernel) = self.kernels(parameters);
        convolve(
            self.out(dy, self.outputs),
            Pattern::SAME.gradient(),
            kernel,
            true,
            Start::Zero,
            &mut d,
        );
        d
    }
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
        let y = plan.run(values(x, xl)?, None, values(p, pl)?);
        Ok((CpuStorage::F32(y), plan.result_shape()))
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
        let dx = x
            .track_op()
            .then(|| Tensor::from_vec(plan.x_slopes(pv, dy), x.shape(), x.device()));
        let dp = Tensor::from_vec(plan.parameter_slopes(xv, None, dy), p.shape(), p.device())?;
        Ok((dx.transpose()?, Some(dp)))
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
        let y = plan.run(values(x, xl)?, Some(values(s, sl)?), values(p, pl)?);
        Ok((CpuStorage::F32(y), plan.result_shape()))
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
        // A picture that leads to no variable, such as the network's input, needs no gradient.
        let dx = x
            .track_op()
            .then(|| Tensor::from_vec(plan.x_slopes(pv, dy), x.shape(), x.device()));
        let ds = s
            .track_op()
            .then(|| Tensor::from_vec(plan.skip_slopes(pv, dy), s.shape(), s.device()));
        let dp = Tensor::from_vec(plan.parameter_slopes(xv, Some(sv), dy), p.shape(), p.device())?;
        Ok((dx.transpose()?, ds.transpose()?, Some(dp)))
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{check_gradients, noise};
    use super::*;

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
                |t| composed::conv3x3(&t[0], t.get(3), &t[1], &t[2], step),
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
        assert!(bands::band_rows(96, 92 * 16) < 96);
        check_gradients(
            &inputs,
            |t| conv3x3(&t[0], None, &t[1], &t[2], Step::Same),
            |t| composed::conv3x3(&t[0], None, &t[1], &t[2], Step::Same),
            2e-5,
        );
    }

    #[test]
    fn constants_get_no_gradient() {
        let var = |t: Tensor| candle_core::Var::from_tensor(&t).unwrap();
        let (x, w, b) = (
            var(noise(&[1, 2, 2, 3], 1)),
            var(noise(&[3, 3, 5, 4], 2)),
            var(noise(&[4], 3)),
        );
        let skip = noise(&[1, 4, 4, 2], 4);
        let y = conv3x3(&x, Some(&skip), &w, &b, Step::Double).unwrap();
        let grads = y.sum_all().unwrap().backward().unwrap();
        assert!(grads.get(&skip).is_none() && grads.get(&x).is_some() && grads.get(&w).is_some());
    }

    #[test]
    fn misfits_are_errors() {
        let (x, w, b) = (noise(&[1, 4, 4, 3], 1), noise(&[3, 3, 4, 8], 1), noise(&[8], 1));
        assert!(conv3x3(&x, None, &w, &b, Step::Same).is_err());
        assert!(conv3x3(&x, Some(&noise(&[1, 4, 4, 1], 1)), &w, &b, Step::Double).is_err());
    }
}
