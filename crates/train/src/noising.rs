//! Where a training step starts: a time for each sample, and noise on its clean layers.

use candle_core::{Device, Tensor};
use peel_layerdecomp::{NoisePath, Noisy, Pair};

use crate::Result;
use crate::config::TrainConfig;
use crate::data::loader::Order;
use crate::data::rng::Rng;

/// Random stream of times and noise; the samples have another.
const NOISE_STREAM: u64 = 2;

/// Draws times and noise. They depend on the seed and on a sample's position in the run alone.
#[derive(Debug, Clone)]
pub struct Noising {
    seed: u64,
    pure_noise: f32,
    time_mean: f32,
    time_spread: f32,
    path: NoisePath,
}

impl Noising {
    /// As a configuration says, along a model's path from noise to layers.
    #[must_use]
    pub fn new(config: &TrainConfig, path: NoisePath) -> Self {
        Self {
            seed: config.seed,
            pure_noise: config.pure_noise,
            time_mean: config.time_mean,
            time_spread: config.time_spread,
            path,
        }
    }

    /// The noisy layers `z = a x + b noise` of clean ones x, in the space of [`Pair`], each sample at a time of its own.
    ///
    /// # Errors
    /// If the layers cannot be read.
    pub fn draw(&self, order: Order, clean: &Pair) -> Result<Noisy> {
        let mut background = clean.background.flatten_all()?.to_vec1::<f32>()?;
        let mut foreground = clean.foreground.flatten_all()?.to_vec1::<f32>()?;
        let (of_background, of_foreground) = (background.len() / order.count, foreground.len() / order.count);
        let mut times = Vec::with_capacity(order.count);
        let samples = background
            .chunks_mut(of_background)
            .zip(foreground.chunks_mut(of_foreground));
        for (i, (background, foreground)) in samples.enumerate() {
            let mut rng = Rng::new(self.seed, NOISE_STREAM, (order.index << 16) | i as u64);
            let time = self.time(&mut rng);
            let levels = self.path.levels(f64::from(time));
            let (signal, noise) = (levels.signal as f32, levels.noise as f32);
            add_noise(&mut rng, signal, noise, background);
            add_noise(&mut rng, signal, noise, foreground);
            times.push(time);
        }
        Ok(Noisy {
            background: Tensor::from_vec(background, clean.background.shape(), &Device::Cpu)?,
            foreground: Tensor::from_vec(foreground, clean.foreground.shape(), &Device::Cpu)?,
            time: Tensor::from_vec(times, order.count, &Device::Cpu)?,
        })
    }

    fn time(&self, rng: &mut Rng) -> f32 {
        if rng.chance(self.pure_noise) {
            0.0
        } else {
            1.0 / (1.0 + (-(self.time_spread * rng.normal() + self.time_mean)).exp())
        }
    }
}

/// Clean values to noisy ones, in place.
fn add_noise(rng: &mut Rng, signal: f32, noise: f32, values: &mut [f32]) {
    let mut drawn = vec![0.0; values.len()];
    rng.fill_normal(&mut drawn);
    for (x, n) in values.iter_mut().zip(drawn) {
        *x = signal * *x + noise * n;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use peel_layerdecomp::Schedule;

    fn noising(pure_noise: f32, schedule: Schedule) -> Noising {
        Noising {
            seed: 3,
            pure_noise,
            time_mean: -0.4,
            time_spread: 1.0,
            path: schedule.path(),
        }
    }

    fn order(count: usize) -> Order {
        Order {
            index: 7,
            size: 8,
            count,
        }
    }

    fn pair(count: usize, value: f32) -> Pair {
        let full = |channels| Tensor::full(value, (count, channels, 8, 8), &Device::Cpu).unwrap();
        Pair {
            background: full(3),
            foreground: full(4),
        }
    }

    fn flat(t: &Tensor) -> Vec<f32> {
        t.flatten_all().unwrap().to_vec1().unwrap()
    }

    #[test]
    fn levels_are_those_of_the_path_and_samples_do_not_depend_on_the_batch() {
        for schedule in [Schedule::Linear, Schedule::Cosine { steps: 100 }] {
            let noising = noising(0.2, schedule);
            let (none, some) = (
                noising.draw(order(40), &pair(40, 0.0)).unwrap(),
                noising.draw(order(40), &pair(40, 0.5)).unwrap(),
            );
            let times = flat(&some.time);
            assert!(times.contains(&0.0) && times.iter().any(|t| *t > 0.5));
            let (none_b, some_b) = (flat(&none.background), flat(&some.background));
            for (i, time) in times.iter().enumerate() {
                let signal = schedule.path().levels(f64::from(*time)).signal as f32;
                let at = i * 3 * 64;
                assert!((some_b[at] - none_b[at] - 0.5 * signal).abs() < 1e-5);
            }
            let fewer = noising.draw(order(3), &pair(3, 0.5)).unwrap();
            assert_eq!(flat(&fewer.foreground), flat(&some.foreground)[..3 * 4 * 64]);
        }
    }

    #[test]
    fn pure_noise_is_standard_normal() {
        let z = noising(1.0, Schedule::Linear)
            .draw(order(60), &pair(60, 0.7))
            .unwrap();
        let values = flat(&z.foreground);
        let n = values.len() as f32;
        let mean = values.iter().sum::<f32>() / n;
        let variance = values.iter().map(|v| v * v).sum::<f32>() / n;
        assert!(
            mean.abs() < 0.03 && (variance - 1.0).abs() < 0.04,
            "{mean} {variance}"
        );
    }
}
