//! A second look: the mask drawn tighter by what a first call says of it.
//!
//! A loose mask hides more of the plate than its object does: the hole is filled from farther away, and the layer starts as more than
//! the object. One call finds the object inside the mask; asked again with that, the network stands where a tight mask would have put
//! it. With a first answer α inside the mask M the second call sees `M clamp((α - t) / 2w + 1/2, 0, 1)`, t the configured
//! [`Config::tighten`](crate::Config::tighten) and w half the width of the ramp.

use candle_core::Tensor;

use crate::{Conditions, Prediction, Result, Sampling};

/// Half the width of the ramp from what is dropped to what is kept.
const RAMP: f64 = 0.1;

/// Told of calls that are done and of all calls; false cancels.
pub(crate) type Progress<'a> = &'a dyn Fn(usize, usize) -> bool;

/// What `draw` makes of conditions; where there is a `threshold`, of conditions that a first call has tightened.
///
/// # Errors
/// What `draw` reports.
pub(crate) fn looking_twice(
    threshold: Option<f32>,
    c: &Conditions,
    opts: &Sampling,
    progress: Progress<'_>,
    draw: &dyn Fn(&Conditions, &Sampling, Progress<'_>) -> Result<Prediction>,
) -> Result<Prediction> {
    let Some(threshold) = threshold else {
        return draw(c, opts, progress);
    };
    let calls = opts.calls() + 1;
    let first = draw(c, &Sampling::default(), &|_, _| progress(0, calls))?;
    let alpha = first.foreground.narrow(1, 3, 1)?;
    draw(&tightened(c, &alpha, threshold)?, opts, &|done, _| {
        progress(done + 1, calls)
    })
}

/// The same plate with the mask that a first answer's `alpha`, (N, 1, H, W), leaves of it.
fn tightened(c: &Conditions, alpha: &Tensor, threshold: f32) -> Result<Conditions> {
    let slope = 0.5 / RAMP;
    let keep = alpha
        .affine(slope, 0.5 - slope * f64::from(threshold))?
        .clamp(0f32, 1f32)?;
    Ok(Conditions {
        plate: c.plate.clone(),
        mask: (&c.mask * keep)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;

    #[test]
    fn what_the_first_answer_leaves_out_is_no_mask() {
        let row = |v: [f32; 4]| Tensor::from_slice(&v, (1, 1, 1, 4), &Device::Cpu).unwrap();
        let c = Conditions {
            plate: Tensor::zeros((1, 3, 1, 4), candle_core::DType::F32, &Device::Cpu).unwrap(),
            mask: row([1.0, 1.0, 0.0, 0.5]),
        };
        let mask = tightened(&c, &row([0.2, 0.6, 1.0, 0.9]), 0.6).unwrap().mask;
        let mask = mask.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        for (found, expected) in std::iter::zip(mask, [0.0, 0.5, 0.0, 0.5]) {
            assert!((found - expected).abs() < 1e-5, "{found} {expected}");
        }
    }
}
