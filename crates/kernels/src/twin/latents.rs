//! Twins of what lies between the halves of an autoencoder.

/// Mean, logarithm of the variance, and whether that lies between its limits, of a latent channel of a row.
fn of(
    moments: &[f32],
    straight: Option<&[f32]>,
    (row, channel): (usize, usize),
    latent: usize,
) -> (f64, f64, bool) {
    let own = straight.map_or(0.0, |s| f64::from(s[row * latent + channel]));
    let said = f64::from(moments[latent + channel]);
    let limited = said.clamp(-30.0, 20.0);
    (f64::from(moments[channel]) + own, limited, limited == said)
}

/// `mean + deviation noise`, (rows, latent), and `Σ ½ (mean² + variance - 1 - ln variance)`. Moments are (rows, stride).
#[must_use]
pub fn draw_latents(
    moments: &[f32],
    straight: Option<&[f32]>,
    noise: &[f32],
    (latent, stride): (usize, usize),
) -> (Vec<f32>, f64) {
    let (mut z, mut sum) = (Vec::with_capacity(noise.len()), 0.0);
    for (row, moments) in moments.chunks_exact(stride).enumerate() {
        for channel in 0..latent {
            let (mean, log, _) = of(moments, straight, (row, channel), latent);
            z.push((mean + (0.5 * log).exp() * f64::from(noise[row * latent + channel])) as f32);
            sum += 0.5 * (mean * mean + log.exp() - 1.0 - log);
        }
    }
    (z, sum)
}

/// Slopes of moments and of what was added to the mean, from those of [`draw_latents`]'s z, (rows, latent), and `weight` times those of its
/// sum.
#[must_use]
pub fn draw_latents_back(
    moments: &[f32],
    straight: Option<&[f32]>,
    (noise, dz): (&[f32], &[f32]),
    weight: f32,
    (latent, stride): (usize, usize),
) -> [Vec<f32>; 2] {
    let (mut by_moments, mut by_mean) = (vec![0.0; moments.len()], Vec::with_capacity(dz.len()));
    for (row, moments) in moments.chunks_exact(stride).enumerate() {
        for channel in 0..latent {
            let (mean, log, free) = of(moments, straight, (row, channel), latent);
            let (weight, at) = (f64::from(weight), row * latent + channel);
            let (slope, noise) = (f64::from(dz[at]), f64::from(noise[at]));
            by_mean.push((slope + weight * mean) as f32);
            by_moments[row * stride + channel] = by_mean[at];
            if free {
                let by_log = slope * noise * 0.5 * (0.5 * log).exp() + weight * 0.5 * (log.exp() - 1.0);
                by_moments[row * stride + latent + channel] = by_log as f32;
            }
        }
    }
    [by_moments, by_mean]
}
