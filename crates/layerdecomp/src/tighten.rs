//! A second look: the mask drawn tighter by what a first call says of it.
//!
//! A loose mask hides more of the plate than its object does: the hole is filled from farther away, and the layer starts as more than
//! the object. One call finds the object inside the mask; asked again with that, the network stands where a tight mask would have put
//! it. With a first answer α inside the mask M the second call sees `M clamp((a - t) / 2w + 1/2, 0, 1)`, t the configured
//! [`Config::tighten`](crate::Config::tighten), w half the width of the ramp, and a the mean of α, 0 outside M, over what is near in place
//! and in colour (a bilateral filter guided by the plate): what a network says of an object's edge is blurred, what the plate shows of it is not.

use candle_core::{DType, Tensor};
use rayon::prelude::*;

use crate::{Conditions, Prediction, Result, Sampling};

/// Half the width of the ramp from what is dropped to what is kept.
const RAMP: f32 = 0.1;
/// Pixels on either side that the mean of an alpha is taken over.
const REACH: usize = 3;
/// Distance in colour, of display values from 0 to 1, from where on two pixels have nothing to do with each other.
const ALIKE: f32 = 0.1;

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
    let (n, _, height, width) = c.mask.dims4()?;
    let values = |t: &Tensor| -> Result<Vec<f32>> { Ok(t.to_dtype(DType::F32)?.flatten_all()?.to_vec1()?) };
    let (plates, masks, alphas) = (values(&c.plate)?, values(&c.mask)?, values(alpha)?);
    let area = height * width;
    let mut kept = Vec::with_capacity(masks.len());
    for i in 0..n {
        let mask = &masks[i * area..][..area];
        let inside: Vec<f32> = std::iter::zip(mask, &alphas[i * area..])
            .map(|(m, a)| if *m > 0.0 { *a } else { 0.0 })
            .collect();
        let near = near_in_place_and_colour(&inside, &plates[3 * i * area..][..3 * area], mask, width);
        kept.extend(
            std::iter::zip(mask, near)
                .map(|(m, a)| m * ((a - threshold) / (2.0 * RAMP) + 0.5).clamp(0.0, 1.0)),
        );
    }
    Ok(Conditions {
        plate: c.plate.clone(),
        mask: Tensor::from_vec(kept, (n, 1, height, width), c.mask.device())?.to_dtype(c.mask.dtype())?,
    })
}

/// Each value's mean with those near it in place and in colour, where there is a mask; 0 elsewhere. Weights fall off as a tent in
/// either direction and as `(1 - d²)²` in the distance of colours, so there is nothing in them that machines round differently.
fn near_in_place_and_colour(values: &[f32], plate: &[f32], mask: &[f32], width: usize) -> Vec<f32> {
    let (area, height) = (values.len(), values.len() / width);
    let span = |at: usize, end: usize| at.saturating_sub(REACH)..(at + REACH + 1).min(end);
    let tent = |a: usize, b: usize| (REACH + 1 - a.abs_diff(b)) as f32;
    let mean = |x: usize, y: usize| {
        let at = y * width + x;
        let (mut sum, mut weights) = (0.0, 0.0);
        for v in span(y, height) {
            for u in span(x, width) {
                let other = v * width + u;
                let distance: f32 = (0..3)
                    .map(|c| (plate[c * area + at] - plate[c * area + other]).powi(2))
                    .sum();
                let alike = (1.0 - distance / (ALIKE * ALIKE)).max(0.0);
                let weight = tent(x, u) * tent(y, v) * alike * alike;
                sum += weight * values[other];
                weights += weight;
            }
        }
        sum / weights
    };
    let mut out = vec![0.0; area];
    out.par_chunks_mut(width).enumerate().for_each(|(y, row)| {
        for (x, out) in row.iter_mut().enumerate() {
            if mask[y * width + x] > 0.0 {
                *out = mean(x, y);
            }
        }
    });
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;

    fn conditions(plate: Vec<f32>, mask: &[f32]) -> Conditions {
        let row = (1, 3, 1, mask.len());
        Conditions {
            plate: Tensor::from_vec(plate, row, &Device::Cpu).unwrap(),
            mask: Tensor::from_slice(mask, (1, 1, 1, mask.len()), &Device::Cpu).unwrap(),
        }
    }

    fn mask_left(c: &Conditions, alpha: &[f32], threshold: f32) -> Vec<f32> {
        let alpha = Tensor::from_slice(alpha, (1, 1, 1, alpha.len()), &Device::Cpu).unwrap();
        let mask = tightened(c, &alpha, threshold).unwrap().mask;
        mask.flatten_all().unwrap().to_vec1().unwrap()
    }

    #[test]
    fn what_the_first_answer_leaves_out_is_no_mask() {
        // Four colours that have nothing to do with each other.
        let c = conditions([0.0, 0.3, 0.6, 0.9].repeat(3), &[1.0, 1.0, 0.0, 0.5]);
        let mask = mask_left(&c, &[0.2, 0.6, 1.0, 1.0], 0.6);
        for (found, expected) in std::iter::zip(mask, [0.0, 0.5, 0.0, 0.5]) {
            assert!((found - expected).abs() < 1e-5, "{found} {expected}");
        }
    }

    #[test]
    fn a_blurred_alpha_ends_where_the_colours_do() {
        // An object of six pixels on a ground of another colour; the alpha ends too late.
        let plate: Vec<f32> = (0..14).map(|x| if x < 6 { 0.2 } else { 0.7 }).collect();
        let alpha: Vec<f32> = (0..14).map(|x| (1.15 - 0.1 * x as f32).clamp(0.0, 1.0)).collect();
        let mut outside = vec![1.0; 14];
        outside[9..].fill(0.0);
        let mask = mask_left(&conditions(plate.repeat(3), &outside), &alpha, 0.55);
        assert!(mask[..6].iter().all(|m| *m > 0.9), "{mask:?}");
        assert!(mask[6..].iter().all(|m| *m < 0.1), "{mask:?}");
    }

    #[test]
    fn an_even_plate_and_a_sure_answer_keep_the_mask() {
        let c = conditions(vec![0.5; 30], &[1.0; 10]);
        assert_eq!(mask_left(&c, &[1.0; 10], 0.5), vec![1.0; 10]);
    }
}
