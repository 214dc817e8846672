//! Principal components of patches of pictures: where an autoencoder with a bypass starts.
//!
//! With m the mean of the training pictures' patches and V their first principal components, one a row, the encoder's bypass starts as
//! `z = V (x - m) / s` and the decoder's as `x = m + s Vᵀ z`; s makes latents vary by 1 on average. It is the best linear autoencoder there is (Baldi and
//! Hornik, Neural Networks 2, 1989); everything else in the autoencoder starts as nothing and learns what it lacks.

use std::collections::HashMap;

use candle_core::{Device, Tensor};
use peel_layerdecomp::{Noise, VaeConfig};

use crate::config::TrainConfig;
use crate::data::pool::{Pool, Split};
use crate::data::raster::Raster;
use crate::data::{self, Shares};
use crate::{Error, Result};

/// Training samples whose plates, backgrounds and masks are looked at, and their side.
const SAMPLES: u64 = 128;
const SIZE: usize = 64;
/// Rounds of the iteration that finds the components.
const ROUNDS: usize = 100;
/// Logarithm of the variance with which latents start.
const LOG_VARIANCE: f32 = -8.0;
/// Stream of the iteration's start.
const START_STREAM: u64 = 0x5052_494E;

/// Initial weights of the RGB autoencoder (names from `encoder.` and `decoder.` on) that its bypass makes, from a run's training pictures.
///
/// # Errors
/// If the pool cannot be read, or a latent has more numbers than its pixels.
pub(crate) fn bypass(config: &TrainConfig, vae: &VaeConfig) -> Result<HashMap<String, Tensor>> {
    let (side, latent) = (vae.stride(), vae.latent);
    let pixels = 3 * side * side;
    if latent > pixels || !SIZE.is_multiple_of(side) {
        return Err(Error::Config(format!(
            "vae: a bypass wants latents of at most {pixels} numbers, as many as {side} x {side} pixels have, and {SIZE} pixels to be whole latents"
        )));
    }
    let pool = Pool::load(&config.pool, Split::Train)?;
    let mut sums = Sums::new(pixels);
    for index in 0..SAMPLES {
        let sample = data::sample(&pool, config.seed, index, SIZE, Shares::default());
        sums.add(&sample.plate, side);
        sums.add(&sample.background, side);
        sums.add(&sample.mask.map(|m| [m[0]; 3]), side);
    }
    let (mean, covariance) = sums.moments();
    let (components, variances) = principal(&covariance, pixels, latent);
    let scale = (variances.iter().sum::<f64>() / latent as f64).sqrt().max(1e-6);

    let mut encode = Vec::with_capacity(latent * pixels);
    let mut shift = Vec::with_capacity(latent);
    for row in &components {
        encode.extend(row.iter().map(|v| (v / scale) as f32));
        shift.push((-dot(row, &mean) / scale) as f32);
    }
    let decode: Vec<f32> = (0..pixels)
        .flat_map(|i| components.iter().map(move |row| (row[i] * scale) as f32))
        .collect();
    let mean: Vec<f32> = mean.iter().map(|v| *v as f32).collect();
    let mut moments = vec![0.0; latent];
    moments.resize(2 * latent, LOG_VARIANCE);
    let tensor = |values: Vec<f32>, shape: &[usize]| Tensor::from_vec(values, shape, &Device::Cpu);
    Ok(HashMap::from([
        (
            "encoder.bypass.weight".to_owned(),
            tensor(encode, &[latent, pixels])?,
        ),
        ("encoder.bypass.bias".to_owned(), tensor(shift, &[latent])?),
        (
            "encoder.conv_out.bias".to_owned(),
            tensor(moments, &[2 * latent])?,
        ),
        (
            "decoder.bypass.weight".to_owned(),
            tensor(decode, &[pixels, latent])?,
        ),
        ("decoder.bypass.bias".to_owned(), tensor(mean, &[pixels])?),
    ]))
}

/// Sums over patches and their products.
struct Sums {
    count: f64,
    first: Vec<f64>,
    /// The lower triangle, row by row, in a square.
    second: Vec<f64>,
}

impl Sums {
    fn new(numbers: usize) -> Self {
        Self {
            count: 0.0,
            first: vec![0.0; numbers],
            second: vec![0.0; numbers * numbers],
        }
    }

    /// Adds the patches of a picture in 0..1, as the autoencoder sees them: in -1..1, channel by channel.
    fn add(&mut self, picture: &Raster<3>, side: usize) {
        let (columns, rows) = (picture.width / side, picture.height / side);
        let mut patch = Vec::with_capacity(self.first.len());
        for at in 0..rows * columns {
            let (y, x) = (at / columns * side, at % columns * side);
            patch.clear();
            for channel in 0..3 {
                for row in y..y + side {
                    let from = row * picture.width + x;
                    patch.extend(
                        picture.pixels[from..from + side]
                            .iter()
                            .map(|p| f64::from(p[channel]) * 2.0 - 1.0),
                    );
                }
            }
            self.add_one(&patch);
        }
    }

    fn add_one(&mut self, values: &[f64]) {
        let n = values.len();
        self.count += 1.0;
        for (i, (sum, value)) in self.first.iter_mut().zip(values).enumerate() {
            *sum += value;
            for (sum, other) in self.second[i * n..=i * n + i].iter_mut().zip(values) {
                *sum += value * other;
            }
        }
    }

    /// Mean and covariance, a square, row by row.
    fn moments(&self) -> (Vec<f64>, Vec<f64>) {
        let (n, count) = (self.first.len(), self.count.max(1.0));
        let mean: Vec<f64> = self.first.iter().map(|s| s / count).collect();
        let mut covariance = vec![0.0; n * n];
        for i in 0..n {
            for j in 0..=i {
                let value = self.second[i * n + j] / count - mean[i] * mean[j];
                covariance[i * n + j] = value;
                covariance[j * n + i] = value;
            }
        }
        (mean, covariance)
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// The first principal components of a covariance, orthonormal, the strongest first, with their variances: orthogonal iteration (Golub and
/// Van Loan, Matrix Computations, 8.2.4). Where variances are nearly alike any basis of their space will do.
fn principal(covariance: &[f64], n: usize, wanted: usize) -> (Vec<Vec<f64>>, Vec<f64>) {
    // A little of every direction, so that there are enough of them.
    let floor = 1e-9 * (0..n).map(|i| covariance[i * n + i]).sum::<f64>().max(1e-9);
    let noise = Noise::new(START_STREAM, 0).uniform(n * wanted, -1.0, 1.0);
    let mut basis: Vec<Vec<f64>> = noise
        .chunks(n)
        .map(|row| row.iter().map(|v| f64::from(*v)).collect())
        .collect();
    orthonormal(&mut basis);
    let through = |v: &[f64]| -> Vec<f64> {
        (0..n)
            .map(|i| dot(&covariance[i * n..(i + 1) * n], v) + floor * v[i])
            .collect()
    };
    for _ in 0..ROUNDS {
        basis = basis.iter().map(|v| through(v)).collect();
        orthonormal(&mut basis);
    }
    let variances = basis.iter().map(|v| dot(v, &through(v))).collect();
    (basis, variances)
}

/// Gram and Schmidt's, twice for rounding.
fn orthonormal(basis: &mut [Vec<f64>]) {
    for _ in 0..2 {
        for i in 0..basis.len() {
            let (before, rest) = basis.split_at_mut(i);
            let v = &mut rest[0];
            for other in before {
                let along = dot(v, other);
                v.iter_mut().zip(other).for_each(|(v, o)| *v -= along * *o);
            }
            let length = dot(v, v).sqrt().max(f64::MIN_POSITIVE);
            v.iter_mut().for_each(|v| *v /= length);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vectors_of_a_plane_are_told_by_two_components() {
        let (a, b) = ([0.6, 0.0, 0.8, 0.0], [0.0, 1.0, 0.0, 0.0]);
        let mut sums = Sums::new(4);
        let noise = Noise::new(1, 2).uniform(200, -1.0, 1.0);
        let vectors: Vec<[f64; 4]> = noise
            .chunks(2)
            .map(|p| {
                std::array::from_fn(|i| 0.3 + 2.0 * f64::from(p[0]) * a[i] + 0.5 * f64::from(p[1]) * b[i])
            })
            .collect();
        for v in &vectors {
            sums.add_one(v);
        }
        let (mean, covariance) = sums.moments();
        let (components, variances) = principal(&covariance, 4, 3);
        assert!(variances[0] > variances[1] && variances[1] > 1e3 * variances[2]);
        for (i, c) in components.iter().enumerate() {
            for (j, d) in components.iter().enumerate() {
                assert!((dot(c, d) - f64::from(u8::from(i == j))).abs() < 1e-12);
            }
        }
        for v in &vectors {
            let off: Vec<f64> = v.iter().zip(&mean).map(|(v, m)| v - m).collect();
            let told: Vec<f64> = (0..4)
                .map(|i| components[..2].iter().map(|c| c[i] * dot(c, &off)).sum::<f64>())
                .collect();
            for (a, b) in told.iter().zip(&off) {
                assert!((a - b).abs() < 1e-6, "{a} {b}");
            }
        }
    }
}
