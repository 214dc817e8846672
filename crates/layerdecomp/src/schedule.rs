//! Noise schedules: how much of the signal and how much noise a time has.
//!
//! Time runs from 0, pure noise, to 1, clean. A schedule of T discrete steps, as in the literature (t = 0 nearly clean,
//! t = T - 1 nearly noise), has step t at time `1 - (t + 1) / T`.

use serde::{Deserialize, Serialize};

/// The path from noise to layers, `z = signal x + noise n`.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub enum Schedule {
    /// A straight line: signal = time, noise = 1 - time (rectified flow, flow matching).
    #[default]
    Linear,
    /// Variance preserving, √β linear from √`first` to √`last` over `steps` (latent diffusion; the published configuration).
    ScaledLinear {
        /// β of step 0.
        first: f64,
        /// β of the last step.
        last: f64,
        /// Discrete steps T.
        steps: usize,
    },
    /// Variance preserving, `ᾱ(t) = cos²((t / T + 0.008) / 1.008 · π / 2)`, each β at most 0.999 (Nichol and Dhariwal 2021).
    Cosine {
        /// Discrete steps T.
        steps: usize,
    },
}

/// Shares of signal and noise at one time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Levels {
    /// Factor of the clean layers.
    pub signal: f64,
    /// Factor of the standard normal noise.
    pub noise: f64,
}

impl Levels {
    /// `ln(signal / noise)`: infinite at both ends of a path.
    pub(crate) fn log_snr(self) -> f64 {
        self.signal.ln() - self.noise.ln()
    }
}

impl Schedule {
    /// Why the numbers of this schedule cannot be, if they cannot.
    pub(crate) fn fault(&self) -> Option<String> {
        match *self {
            Self::ScaledLinear { first, last, steps } => {
                let ordered = first > 0.0 && first <= last && last < 1.0;
                (!ordered || steps < 2)
                    .then(|| format!("schedule {self:?}: wants 0 < first <= last < 1 and 2 steps"))
            }
            Self::Cosine { steps } => (steps < 2).then(|| format!("schedule {self:?}: wants 2 steps")),
            Self::Linear => None,
        }
    }

    /// ᾱ of the steps t = 0, 1, ..: the share of the signal's variance. Empty for [`Schedule::Linear`].
    #[must_use]
    pub fn alphas(&self) -> Vec<f64> {
        let product = |betas: &mut dyn Iterator<Item = f64>| {
            betas
                .scan(1.0, |all, beta| {
                    *all *= 1.0 - beta;
                    Some(*all)
                })
                .collect()
        };
        match *self {
            Self::Linear => Vec::new(),
            Self::ScaledLinear { first, last, steps } => {
                let rise = (last.sqrt() - first.sqrt()) / (steps.max(2) - 1) as f64;
                product(&mut (0..steps).map(|t| (first.sqrt() + rise * t as f64).powi(2)))
            }
            Self::Cosine { steps } => {
                let bar = |t: usize| {
                    let angle = (t as f64 / steps as f64 + 0.008) / 1.008 * std::f64::consts::FRAC_PI_2;
                    angle.cos().powi(2)
                };
                product(&mut (0..steps).map(|t| (1.0 - bar(t + 1) / bar(t)).min(0.999)))
            }
        }
    }

    /// The schedule with its table, to be asked many times.
    #[must_use]
    pub fn path(&self) -> Path {
        Path {
            log_alphas: self.alphas().into_iter().map(f64::ln).collect(),
        }
    }
}

/// A schedule at every time between its steps: ln ᾱ is interpolated linearly, and is 0 at time 1.
#[derive(Debug, Clone)]
pub struct Path {
    /// ln ᾱ of each discrete step; empty for the straight line.
    log_alphas: Vec<f64>,
}

impl Path {
    /// Discrete steps; 0 for the straight line.
    pub(crate) fn steps(&self) -> usize {
        self.log_alphas.len()
    }

    /// The time of the discrete step `t`.
    pub(crate) fn time(&self, t: f64) -> f64 {
        1.0 - (t + 1.0) / self.steps() as f64
    }

    /// Signal and noise at `time`; times outside 0..1 are taken as its ends.
    #[must_use]
    pub fn levels(&self, time: f64) -> Levels {
        let time = time.clamp(0.0, 1.0);
        if self.log_alphas.is_empty() {
            return Levels {
                signal: time,
                noise: 1.0 - time,
            };
        }
        // Steps from the clean end: 0 is clean, 1 is t = 0, and so on.
        let place = (1.0 - time) * self.steps() as f64;
        let below = (place.floor() as usize).min(self.steps() - 1);
        let part = place - below as f64;
        let log = self.at(below) * (1.0 - part) + self.at(below + 1) * part;
        Levels {
            signal: (0.5 * log).exp(),
            noise: (-log.exp_m1()).max(0.0).sqrt(),
        }
    }

    /// ln ᾱ, counted from the clean end.
    fn at(&self, step: usize) -> f64 {
        if step == 0 { 0.0 } else { self.log_alphas[step - 1] }
    }

    /// The time at which noise / signal is `ratio`: the inverse of [`Path::levels`].
    pub(crate) fn time_of(&self, ratio: f64) -> f64 {
        if self.log_alphas.is_empty() {
            return 1.0 / (1.0 + ratio);
        }
        // ᾱ = 1 / (1 + ratio²)
        let log = -(ratio * ratio).ln_1p();
        let above = self
            .log_alphas
            .partition_point(|l| *l > log)
            .min(self.steps() - 1);
        let (from, to) = (self.at(above), self.log_alphas[above]);
        let place = above as f64 + ((log - from) / (to - from)).clamp(0.0, 1.0);
        1.0 - place / self.steps() as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PUBLISHED: Schedule = Schedule::ScaledLinear {
        first: 0.00085,
        last: 0.012,
        steps: 1000,
    };

    #[test]
    fn the_ends_are_noise_and_layers() {
        for schedule in [Schedule::Linear, PUBLISHED, Schedule::Cosine { steps: 1000 }] {
            let path = schedule.path();
            assert_eq!(
                path.levels(1.0),
                Levels {
                    signal: 1.0,
                    noise: 0.0
                }
            );
            assert!(path.levels(0.0).signal < 0.07, "{schedule:?}");
            let signals: Vec<f64> = (0..=100)
                .map(|i| path.levels(f64::from(i) / 100.0).signal)
                .collect();
            assert!(signals.is_sorted(), "{schedule:?}");
        }
    }

    #[test]
    fn steps_have_the_levels_of_the_table_and_ratios_lead_back() {
        for schedule in [PUBLISHED, Schedule::Cosine { steps: 50 }] {
            let (path, alphas) = (schedule.path(), schedule.alphas());
            for (t, alpha) in alphas.iter().enumerate() {
                let levels = path.levels(path.time(t as f64));
                assert!((levels.signal.powi(2) / alpha - 1.0).abs() < 1e-9);
                assert!((levels.signal.hypot(levels.noise) - 1.0).abs() < 1e-12);
                let back = path.time_of(levels.noise / levels.signal);
                assert!((back - path.time(t as f64)).abs() < 1e-9, "{t}");
            }
        }
        assert!((Schedule::Linear.path().time_of(3.0) - 0.25).abs() < 1e-12);
    }

    #[test]
    fn impossible_numbers_are_named() {
        let wrong = Schedule::ScaledLinear {
            first: 0.1,
            last: 0.01,
            steps: 10,
        };
        assert!(wrong.fault().is_some_and(|f| f.contains("first")));
        assert!(Schedule::Cosine { steps: 0 }.fault().is_some() && PUBLISHED.fault().is_none());
    }
}
