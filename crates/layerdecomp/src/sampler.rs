//! Samplers: from noise to layers, given something that says what the clean layers are.

use candle_core::{DType, Device, Tensor};
use serde::{Deserialize, Serialize};

use crate::noise::Noise;
use crate::schedule::Path;
use crate::solvers::{Ddim, DpmSolver, Solver, Step, UniPc};
use crate::{Error, Noisy, Pair, Result, Spacing};

/// How layers are drawn from noise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Sampler {
    /// One network call at time 0 on zero noise: deterministic, close to the mean of what could be there.
    OneCall,
    /// DDIM without added noise (eta 0). Its steps are the usual ones of each schedule: even over the straight line, leading
    /// over the published one.
    Ddim,
    /// DPM-Solver++ (2M): second order, for 4 to 20 steps.
    DpmSolver(Spacing),
    /// UniPC of second order with its corrector: for 4 to 20 steps.
    UniPc(Spacing),
}

/// Every sampler under its name.
const NAMES: [(&str, Sampler); 10] = [
    ("one-call", Sampler::OneCall),
    ("ddim", Sampler::Ddim),
    ("dpm++2m", Sampler::DpmSolver(Spacing::Uniform)),
    ("dpm++2m-leading", Sampler::DpmSolver(Spacing::Leading)),
    ("dpm++2m-trailing", Sampler::DpmSolver(Spacing::Trailing)),
    ("dpm++2m-karras", Sampler::DpmSolver(Spacing::Karras)),
    ("unipc", Sampler::UniPc(Spacing::Uniform)),
    ("unipc-leading", Sampler::UniPc(Spacing::Leading)),
    ("unipc-trailing", Sampler::UniPc(Spacing::Trailing)),
    ("unipc-karras", Sampler::UniPc(Spacing::Karras)),
];

impl Sampler {
    /// The names that [`Sampler::from_str`](std::str::FromStr::from_str) knows: `one-call`, `ddim`, and `dpm++2m` and `unipc`
    /// alone or with `-leading`, `-trailing` or `-karras` behind them.
    pub fn names() -> impl Iterator<Item = &'static str> + Clone {
        NAMES.iter().map(|(name, _)| *name)
    }
}

/// The sampler's name, as [`Sampler::names`] lists it.
impl std::fmt::Display for Sampler {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let found = NAMES.iter().find(|(_, sampler)| sampler == self);
        f.pad(found.map_or("", |(name, _)| name))
    }
}

/// A name that is no sampler's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no sampler `{0}`; there are {names}", names = Sampler::names().collect::<Vec<_>>().join(", "))]
pub struct UnknownSampler(pub String);

impl std::str::FromStr for Sampler {
    type Err = UnknownSampler;

    fn from_str(text: &str) -> Result<Self, UnknownSampler> {
        let found = NAMES.iter().find(|(name, _)| *name == text);
        found
            .map(|(_, sampler)| *sampler)
            .ok_or_else(|| UnknownSampler(text.to_owned()))
    }
}

/// A sampler with its settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Sampling {
    /// Which sampler.
    pub sampler: Sampler,
    /// Network calls, at least 1; ignored by [`Sampler::OneCall`].
    pub steps: usize,
    /// Seed of the noise; ignored by [`Sampler::OneCall`].
    pub seed: u64,
}

impl Default for Sampling {
    /// One call: the best background for its cost (RECIPE: more steps sharpen alpha a little and cost shadow).
    fn default() -> Self {
        Self {
            sampler: Sampler::OneCall,
            steps: 1,
            seed: 0,
        }
    }
}

impl Sampling {
    /// What the published model is sampled with: DDIM with 50 steps.
    #[must_use]
    pub fn published(seed: u64) -> Self {
        Self {
            sampler: Sampler::Ddim,
            steps: 50,
            seed,
        }
    }

    /// Network calls that these settings lead to.
    #[must_use]
    pub fn calls(&self) -> usize {
        match self.sampler {
            Sampler::OneCall => 1,
            _ => self.steps,
        }
    }

    /// Rising times of the network calls, and 1 behind them.
    fn times(&self, path: &Path) -> Vec<f64> {
        let spacing = match self.sampler {
            Sampler::OneCall => return vec![0.0, 1.0],
            Sampler::Ddim => Spacing::Leading,
            Sampler::DpmSolver(spacing) | Sampler::UniPc(spacing) => spacing,
        };
        spacing.times(path, self.steps)
    }

    fn solver(&self) -> Box<dyn Solver> {
        match self.sampler {
            // Its only step is the last one, which any solver takes alike.
            Sampler::OneCall | Sampler::Ddim => Box::new(Ddim),
            Sampler::DpmSolver(_) => Box::<DpmSolver>::default(),
            Sampler::UniPc(_) => Box::<UniPc>::default(),
        }
    }
}

/// Noise that sampling starts from, (N, channels, H, W). Each sample has its own sequence, so its result does not depend on
/// what else is in the batch.
fn start(
    seed: u64,
    layer: u64,
    (n, channels, h, w): (usize, usize, usize, usize),
    device: &Device,
) -> Result<Tensor> {
    let mut values = Vec::with_capacity(n * channels * h * w);
    for sample in 0..n as u64 {
        values.extend(Noise::new(seed, 2 * sample + layer).normal(channels * h * w));
    }
    Ok(Tensor::from_vec(values, (n, channels, h, w), device)?)
}

/// Sizes of one noisy stream: (N, channels, H, W).
type Size = (usize, usize, usize, usize);

/// Draws clean layers of the `sizes` of background and foreground. `denoise` says what the clean layers are.
/// `progress(done, calls)` is asked before the first call and after each one whether to go on.
///
/// # Errors
/// What `denoise` reports, or [`Error::Cancelled`].
pub(crate) fn sample(
    opts: &Sampling,
    sizes: [Size; 2],
    path: &Path,
    device: &Device,
    denoise: &dyn Fn(&Noisy) -> Result<Pair>,
    progress: &dyn Fn(usize, usize) -> bool,
) -> Result<Pair> {
    let start = begin(opts, sizes, path, device)?;
    draw(opts, start, path, denoise, progress)
}

/// What sampling starts from.
///
/// # Errors
/// If the steps are none, or more than the schedule has.
pub(crate) fn begin(opts: &Sampling, sizes: [Size; 2], path: &Path, device: &Device) -> Result<Pair> {
    if opts.calls() == 0 {
        return Err(Error::Config("a sampler takes at least one step".into()));
    }
    if path.steps() > 0 && opts.calls() > path.steps() {
        return Err(Error::Config(format!(
            "{} steps of a schedule that has {}",
            opts.calls(),
            path.steps()
        )));
    }
    Ok(match opts.sampler {
        Sampler::OneCall => Pair {
            background: Tensor::zeros(sizes[0], DType::F32, device)?,
            foreground: Tensor::zeros(sizes[1], DType::F32, device)?,
        },
        _ => Pair {
            background: start(opts.seed, 0, sizes[0], device)?,
            foreground: start(opts.seed, 1, sizes[1], device)?,
        },
    })
}

/// As [`sample`], from what [`begin`] gave.
///
/// # Errors
/// As [`sample`].
pub(crate) fn draw(
    opts: &Sampling,
    start: Pair,
    path: &Path,
    denoise: &dyn Fn(&Noisy) -> Result<Pair>,
    progress: &dyn Fn(usize, usize) -> bool,
) -> Result<Pair> {
    walk(
        &opts.times(path),
        path,
        opts.solver().as_mut(),
        start,
        denoise,
        progress,
    )
}

/// Walks from `z` over `times`, the last of which is 1, to the clean layers that the last call saw.
pub(crate) fn walk(
    times: &[f64],
    path: &Path,
    solver: &mut dyn Solver,
    mut z: Pair,
    denoise: &dyn Fn(&Noisy) -> Result<Pair>,
    progress: &dyn Fn(usize, usize) -> bool,
) -> Result<Pair> {
    let calls = times.len().saturating_sub(1);
    let go_on = |done: usize| {
        if progress(done, calls) {
            Ok(())
        } else {
            Err(Error::Cancelled)
        }
    };
    go_on(0)?;
    for (i, ends) in times.windows(2).enumerate() {
        let n = z.background.dim(0)?;
        let time = Tensor::full(ends[0] as f32, n, z.background.device())?;
        let x = denoise(&Noisy {
            background: z.background.clone(),
            foreground: z.foreground.clone(),
            time,
        })?;
        go_on(i + 1)?;
        let step = Step {
            from: path.levels(ends[0]),
            to: path.levels(ends[1]),
        };
        // Where the noise ends, every solver arrives at the belief itself.
        z = if i + 1 == calls {
            x
        } else {
            solver.advance(step, &z, &x)?
        };
    }
    Ok(z)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;

    const ONE: [Size; 2] = [(1, 3, 2, 2), (1, 4, 2, 2)];
    const TWO: [Size; 2] = [(2, 3, 2, 2), (2, 4, 2, 2)];

    fn line() -> Path {
        crate::Schedule::Linear.path()
    }

    fn constant(n: usize, b: f32, f: f32) -> Pair {
        let full = |v: f32, c: usize| Tensor::full(v, (n, c, 2, 2), &Device::Cpu).unwrap();
        Pair {
            background: full(b, 3),
            foreground: full(f, 4),
        }
    }

    #[test]
    fn a_sure_denoiser_is_approached_on_a_straight_line() {
        let seen = RefCell::new(Vec::new());
        let denoise = |z: &Noisy| {
            let time = z.time.to_vec1::<f32>().unwrap()[0];
            seen.borrow_mut().push((time, z.background.clone()));
            Ok(constant(1, 0.5, 2.0))
        };
        let opts = Sampling {
            sampler: Sampler::Ddim,
            steps: 4,
            seed: 3,
        };
        let out = sample(&opts, ONE, &line(), &Device::Cpu, &denoise, &|_, _| true).unwrap();
        assert_eq!(
            out.foreground.flatten_all().unwrap().to_vec1::<f32>().unwrap(),
            [2.0; 16]
        );
        let seen = seen.into_inner();
        let first = seen[0].1.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        for (step, (time, z)) in seen.iter().enumerate() {
            let s = step as f32 / 4.0;
            assert_eq!(*time, s);
            let z = z.flatten_all().unwrap().to_vec1::<f32>().unwrap();
            for (z, noise) in z.iter().zip(&first) {
                assert!((z - (s * 0.5 + (1.0 - s) * noise)).abs() < 1e-6);
            }
        }
    }

    #[test]
    fn one_call_starts_from_nothing_and_can_be_cancelled() {
        let denoise = |z: &Noisy| {
            assert_eq!(
                z.background
                    .abs()
                    .unwrap()
                    .sum_all()
                    .unwrap()
                    .to_scalar::<f32>()
                    .unwrap(),
                0.0
            );
            assert_eq!(z.time.to_vec1::<f32>().unwrap(), [0.0, 0.0]);
            Ok(constant(2, 0.5, 0.5))
        };
        let opts = Sampling {
            steps: 9,
            ..Sampling::default()
        };
        let calls = RefCell::new(Vec::new());
        let progress = |done, all| {
            calls.borrow_mut().push((done, all));
            true
        };
        sample(&opts, TWO, &line(), &Device::Cpu, &denoise, &progress).unwrap();
        assert_eq!(*calls.borrow(), [(0, 1), (1, 1)]);
        let stopped = sample(&opts, TWO, &line(), &Device::Cpu, &denoise, &|done, _| done < 1);
        assert!(matches!(stopped, Err(Error::Cancelled)));
        let none = Sampling {
            sampler: Sampler::Ddim,
            steps: 0,
            seed: 0,
        };
        assert!(sample(&none, TWO, &line(), &Device::Cpu, &denoise, &|_, _| true).is_err());
    }

    #[test]
    fn every_solver_ends_where_a_sure_denoiser_points() {
        for schedule in [crate::Schedule::Linear, crate::Diffusion::PUBLISHED.schedule] {
            for sampler in [
                Sampler::Ddim,
                Sampler::DpmSolver(Spacing::Uniform),
                Sampler::DpmSolver(Spacing::Karras),
                Sampler::UniPc(Spacing::Trailing),
                Sampler::UniPc(Spacing::Karras),
            ] {
                let path = schedule.path();
                let last = RefCell::new(None);
                let denoise = |z: &Noisy| {
                    last.replace(Some(z.clone()));
                    Ok(constant(1, 0.5, -0.25))
                };
                let opts = Sampling {
                    sampler,
                    steps: 6,
                    seed: 3,
                };
                sample(&opts, ONE, &path, &Device::Cpu, &denoise, &|_, _| true).unwrap();
                // With x constant every order is exact: z = a x + b n with the noise of the start.
                let z = last.into_inner().unwrap();
                let levels = path.levels(f64::from(z.time.to_vec1::<f32>().unwrap()[0]));
                let first = path.levels(opts.times(&path)[0]);
                let noise = start(3, 0, ONE[0], &Device::Cpu).unwrap();
                let flat = |t: &Tensor| t.flatten_all().unwrap().to_vec1::<f32>().unwrap();
                for (z, n) in flat(&z.background).into_iter().zip(flat(&noise)) {
                    let n = (f64::from(n) - first.signal * 0.5) / first.noise;
                    let want = levels.signal * 0.5 + levels.noise * n;
                    assert!(
                        (f64::from(z) - want).abs() < 1e-5,
                        "{sampler} {schedule:?}: {z} {want}"
                    );
                }
            }
        }
    }

    #[test]
    fn every_sampler_has_a_name_that_reads_back() {
        for spacing in [
            Spacing::Uniform,
            Spacing::Leading,
            Spacing::Trailing,
            Spacing::Karras,
        ] {
            for sampler in [
                Sampler::OneCall,
                Sampler::Ddim,
                Sampler::DpmSolver(spacing),
                Sampler::UniPc(spacing),
            ] {
                assert_eq!(sampler.to_string().parse(), Ok(sampler));
            }
        }
        assert_eq!(Sampler::names().count(), 10);
        let message = "euler".parse::<Sampler>().unwrap_err().to_string();
        assert!(
            message.contains("`euler`") && message.contains("dpm++2m-karras"),
            "{message}"
        );
    }

    #[test]
    fn a_sample_does_not_depend_on_its_batch() {
        let one = start(5, 1, (1, 4, 3, 2), &Device::Cpu).unwrap();
        let many = start(5, 1, (3, 4, 3, 2), &Device::Cpu).unwrap();
        let flat = |t: &Tensor| t.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        assert_eq!(flat(&one), flat(&many)[..24]);
    }
}
