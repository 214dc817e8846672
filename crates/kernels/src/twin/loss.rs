//! Twins of the training loss.

use crate::ops::Terms;

/// Weights of pixels, meaned over squares of `stride`.
#[must_use]
pub fn pixel_weights(
    alpha: &[f32],
    mask: &[f32],
    terms: &[Terms],
    (h, w): (usize, usize),
    stride: usize,
) -> Vec<f32> {
    let (rows, columns) = (h / stride, w / stride);
    let mut sums = vec![0.0f64; terms.len() * rows * columns];
    for (at, (alpha, mask)) in alpha.iter().zip(mask).enumerate() {
        let (sample, y, x) = (at / (h * w), at / w % h, at % w);
        let t = &terms[sample];
        let mut weight = 1.0;
        if *alpha > t.threshold {
            weight += t.effect;
            if *mask < 0.5 {
                weight += t.shadow;
            }
        }
        sums[(sample * rows + y / stride) * columns + x / stride] += f64::from(weight);
    }
    sums.iter()
        .map(|s| (s / (stride * stride) as f64) as f32)
        .collect()
}

fn sign(v: f64) -> f64 {
    if v == 0.0 { 0.0 } else { v.signum() }
}

/// A clean layer as it is compared.
fn clean(t: &Terms, (gain, offset): (f32, f32), noisy: f32, said: f32) -> f64 {
    let mix = f64::from(t.clean.0) * f64::from(noisy) + f64::from(t.clean.1) * f64::from(said);
    f64::from(gain) * mix + f64::from(offset)
}

/// `Σ w (mse e² + l1 |e|)` of a layer (samples, channels, pixels), and the slopes of its mean by what was said.
#[must_use]
pub fn layer_errors(
    [said, noisy, truth, weights]: [&[f32]; 4],
    terms: &[Terms],
    pixels: usize,
    effects: bool,
    shown: (f32, f32),
) -> (f64, Vec<f32>) {
    let channels = said.len() / (terms.len() * pixels);
    let mut sum = 0.0;
    let slope = |i: usize| {
        let (sample, channel) = (i / (channels * pixels), i / pixels % channels);
        let t = &terms[sample];
        let w = if effects && !t.compared {
            0.0
        } else {
            f64::from(weights[sample * pixels + i % pixels])
        };
        let l1 = f64::from(if effects && channel == 3 { t.alpha_l1 } else { t.l1 });
        let mse = f64::from(t.mse);
        let e = clean(t, shown, noisy[i], said[i]) - f64::from(truth[i]);
        sum += w * (mse * e * e + l1 * e.abs());
        let by_said = f64::from(t.scale) * f64::from(shown.0) * f64::from(t.clean.1);
        (by_said * w * (2.0 * mse * e + l1 * sign(e)) / said.len() as f64) as f32
    };
    let slopes = (0..said.len()).map(slope).collect();
    (sum, slopes)
}

/// `Σ consistency |F rgb + (1 - F a) B - C|`, and the slopes of its mean by what was said of B and F. Layers are what was said and what
/// was seen.
#[must_use]
pub fn consistency(
    [background, foreground]: [[&[f32]; 2]; 2],
    plate: &[f32],
    terms: &[Terms],
    pixels: usize,
    shown: (f32, f32),
) -> (f64, Vec<f32>, Vec<f32>) {
    let mut sum = 0.0;
    let (mut by_b, mut by_f) = (vec![0.0; background[0].len()], vec![0.0; foreground[0].len()]);
    for (n, t) in terms.iter().enumerate() {
        let at = |[said, noisy]: [&[f32]; 2], i: usize| clean(t, shown, noisy[i], said[i]);
        let step = f64::from(t.scale * t.consistency * shown.0 * t.clean.1) / plate.len() as f64;
        for i in 0..pixels {
            let alpha_at = (4 * n + 3) * pixels + i;
            let alpha = at(foreground, alpha_at);
            let mut by_alpha = 0.0;
            for c in 0..3 {
                let (b, f) = ((3 * n + c) * pixels + i, (4 * n + c) * pixels + i);
                let below = at(background, b);
                let error = at(foreground, f) + (1.0 - alpha) * below - f64::from(plate[b]);
                sum += f64::from(t.consistency) * error.abs();
                let slope = step * sign(error);
                by_f[f] = slope as f32;
                by_b[b] = (slope * (1.0 - alpha)) as f32;
                by_alpha -= slope * below;
            }
            by_f[alpha_at] = by_alpha as f32;
        }
    }
    (sum, by_b, by_f)
}
