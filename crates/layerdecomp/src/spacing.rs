//! At which times a sampler calls the network.

use serde::{Deserialize, Serialize};

use crate::schedule::Path;

/// How a sampler's calls are spread. The four are the usual ones; over [`crate::Schedule::Linear`] the first three are the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub enum Spacing {
    /// Evenly over the discrete steps, from the noisiest on (diffusers calls it linspace).
    #[default]
    Uniform,
    /// Multiples of a whole step, down to step 0: what the DDIM paper does. The noisiest steps are left out.
    Leading,
    /// Evenly, counted back from the noisiest step (Lin et al. 2023).
    Trailing,
    /// Even steps of σ^(1/7), σ being noise / signal (Karras et al. 2022); over a straight line σ is the noise, from 1 to 1/1000.
    Karras,
}

/// The exponent of Karras et al.
const RHO: f64 = 7.0;
/// The last noise level of a straight line under [`Spacing::Karras`].
const LEAST: f64 = 1e-3;

impl Spacing {
    /// `calls` rising times, then 1.
    pub(crate) fn times(self, path: &Path, calls: usize) -> Vec<f64> {
        let (n, steps) = (calls as f64, path.steps());
        let last = steps.saturating_sub(1) as f64;
        let time = |i: usize| -> f64 {
            let at = i as f64;
            match (self, steps) {
                (Self::Karras, 0) => 1.0 - ramp(1.0, LEAST, i, calls),
                (Self::Karras, _) => {
                    let ratio = |t: f64| {
                        let levels = path.levels(path.time(t));
                        levels.noise / levels.signal
                    };
                    path.time_of(ramp(ratio(last), ratio(0.0), i, calls))
                }
                (_, 0) => at / n,
                (Self::Uniform, _) => path.time((last * (1.0 - at / n)).round_ties_even()),
                (Self::Leading, _) => path.time(((calls - 1 - i) * (steps / calls)) as f64),
                (Self::Trailing, _) => path.time((steps as f64 * (1.0 - at / n)).round_ties_even() - 1.0),
            }
        };
        (0..calls).map(time).chain([1.0]).collect()
    }
}

/// Level `i` of `calls` from `most` to `least`, evenly in the ρ-th root.
fn ramp(most: f64, least: f64, i: usize, calls: usize) -> f64 {
    let part = if calls > 1 {
        i as f64 / (calls - 1) as f64
    } else {
        0.0
    };
    let (from, to) = (most.powf(1.0 / RHO), least.powf(1.0 / RHO));
    (from + part * (to - from)).powf(RHO)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Diffusion, Schedule};

    #[test]
    fn times_rise_to_one() {
        for schedule in [
            Schedule::Linear,
            Diffusion::PUBLISHED.schedule,
            Schedule::Cosine { steps: 1000 },
        ] {
            let path = schedule.path();
            for spacing in [
                Spacing::Uniform,
                Spacing::Leading,
                Spacing::Trailing,
                Spacing::Karras,
            ] {
                for calls in [1, 2, 4, 7, 50] {
                    let times = spacing.times(&path, calls);
                    assert_eq!(times.len(), calls + 1);
                    assert_eq!(times[calls], 1.0);
                    assert!(
                        times.windows(2).all(|t| t[0] < t[1]),
                        "{spacing:?} {schedule:?} {times:?}"
                    );
                }
            }
        }
    }

    #[test]
    fn the_usual_steps_of_a_thousand() {
        let path = Diffusion::PUBLISHED.schedule.path();
        let steps = |spacing: Spacing, calls: usize| -> Vec<i64> {
            let times = spacing.times(&path, calls);
            times[..calls]
                .iter()
                .map(|s| ((1.0 - s) * 1000.0).round() as i64 - 1)
                .collect()
        };
        assert_eq!(steps(Spacing::Uniform, 4), [999, 749, 500, 250]);
        assert_eq!(steps(Spacing::Trailing, 4), [999, 749, 499, 249]);
        assert_eq!(steps(Spacing::Leading, 4), [750, 500, 250, 0]);
        assert_eq!(steps(Spacing::Leading, 50)[..2], [980, 960]);
    }
}
