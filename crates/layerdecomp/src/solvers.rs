//! Steps from one noise level to the next, given what the clean layers are believed to be.
//!
//! All three solve the same differential equation in `λ = ln(signal / noise)`: with a and b the signal and noise at the next
//! time, a' and b' at the present one and `h = λ - λ'`, a first-order step is
//! `z = (b / b') z' - a (e^-h - 1) x`. At the ends of a path λ is infinite; the formulas are arranged so that their limits
//! come out.

use crate::schedule::Levels;
use crate::{Pair, Result};

/// One step of a walk.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Step {
    /// Where the walk stands.
    pub from: Levels,
    /// Where it goes.
    pub to: Levels,
}

impl Step {
    /// The growth of ln(signal / noise).
    fn h(&self) -> f64 {
        self.to.log_snr() - self.from.log_snr()
    }

    /// The factors of z and of x in a first-order step, and `a (e^-h - 1)`.
    fn first_order(&self) -> (f64, f64, f64) {
        let rest = (-self.h()).exp_m1() * self.to.signal;
        (self.to.noise / self.from.noise, -rest, rest)
    }
}

/// Takes all steps but the last, which ends without noise and so at the belief itself; remembers what it needs of them.
pub(crate) trait Solver {
    /// The noisy layers at `step.to`, from `z` at `step.from` and the clean layers `x` that the network saw in it.
    fn advance(&mut self, step: Step, z: &Pair, x: &Pair) -> Result<Pair>;
}

/// First order, without added noise (Song et al. 2021, η = 0): the noise that explains z with x is kept.
#[derive(Debug, Default)]
pub(crate) struct Ddim;

impl Solver for Ddim {
    fn advance(&mut self, step: Step, z: &Pair, x: &Pair) -> Result<Pair> {
        let keep = step.to.noise / step.from.noise;
        Pair::sum(&[(keep, z), (step.to.signal - keep * step.from.signal, x)])
    }
}

/// What a multistep solver remembers of a step.
#[derive(Debug)]
struct Past {
    /// ln(signal / noise)
    log_snr: f64,
    x: Pair,
}

/// DPM-Solver++ (2M), midpoint (Lu et al. 2022): the last two beliefs extrapolated; first order at the start.
#[derive(Debug, Default)]
pub(crate) struct DpmSolver {
    before: Option<Past>,
}

impl Solver for DpmSolver {
    fn advance(&mut self, step: Step, z: &Pair, x: &Pair) -> Result<Pair> {
        let (keep, gain, rest) = step.first_order();
        let now = step.from.log_snr();
        let next = match &self.before {
            Some(before) => {
                // D1 = (x - x before) / r0, r0 = (λ' - λ before) / h; half of it joins x.
                let part = -0.5 * rest * step.h() / (now - before.log_snr);
                Pair::sum(&[(keep, z), (gain + part, x), (-part, &before.x)])?
            }
            None => Pair::sum(&[(keep, z), (gain, x)])?,
        };
        self.before = Some(Past {
            log_snr: now,
            x: x.clone(),
        });
        Ok(next)
    }
}

/// UniPC of second order with B₂(h) (Zhao et al. 2023): each belief first corrects the step that led to it.
#[derive(Debug, Default)]
pub(crate) struct UniPc {
    before: Option<Arrival>,
}

/// The step by which [`UniPc`] came to where it stands.
#[derive(Debug)]
struct Arrival {
    step: Step,
    /// Where that step began, corrected.
    z: Pair,
    /// The belief there.
    x: Pair,
    /// The belief before, if that step used it.
    earlier: Option<Past>,
}

impl Arrival {
    /// Where the step should have led, now that `x` is believed there.
    fn corrected(&self, x: &Pair) -> Result<Pair> {
        let (keep, gain, rest) = self.step.first_order();
        let first = [(keep, &self.z), (gain, &self.x)];
        let Some(earlier) = &self.earlier else {
            let part = -0.5 * rest;
            return Pair::sum(&[first[0], (gain - part, &self.x), (part, x)]);
        };
        // Weights ρ of the two differences solve ρ1 + ρ2 = b1, r ρ1 + ρ2 = b2.
        let h = self.step.h();
        let r = (earlier.log_snr - self.step.from.log_snr()) / h;
        let phi1 = (-h).exp_m1();
        let phi2 = phi1 / -h - 1.0;
        let phi3 = phi2 / -h - 0.5;
        let (b1, b2) = (phi2 / phi1, 2.0 * phi3 / phi1);
        let rho1 = (b2 - b1) / (r - 1.0);
        let (old, new) = (-rest * rho1 / r, -rest * (b1 - rho1));
        Pair::sum(&[first[0], (gain - old - new, &self.x), (old, &earlier.x), (new, x)])
    }
}

impl Solver for UniPc {
    fn advance(&mut self, step: Step, z: &Pair, x: &Pair) -> Result<Pair> {
        let (keep, gain, rest) = step.first_order();
        let now = step.from.log_snr();
        let (z, earlier) = match self.before.take() {
            None => (z.clone(), None),
            Some(before) => {
                let past = Past {
                    log_snr: before.step.from.log_snr(),
                    x: before.x.clone(),
                };
                (before.corrected(x)?, Some(past))
            }
        };
        let next = match &earlier {
            None => Pair::sum(&[(keep, &z), (gain, x)])?,
            Some(past) => {
                // D1 = (x before - x) / r with r = (λ before - λ') / h, weighed by 1/2.
                let part = -0.5 * rest * step.h() / (past.log_snr - now);
                Pair::sum(&[(keep, &z), (gain - part, x), (part, &past.x)])?
            }
        };
        self.before = Some(Arrival {
            step,
            z,
            x: x.clone(),
            earlier,
        });
        Ok(next)
    }
}
