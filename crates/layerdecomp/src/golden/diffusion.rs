//! Schedules and samplers against diffusers: `tests/golden/make_diffusion.py`.

use std::cell::RefCell;

use candle_core::{Device, Tensor};

use super::{Golden, read};
use crate::sampler::{sample, walk};
use crate::solvers::{Ddim, DpmSolver, Solver, UniPc};
use crate::{Diffusion, NoisePath, Noisy, Pair, Predicts, Sampler, Sampling, Schedule, Spacing};

const SCHEDULES: [(&str, Schedule); 2] = [
    ("published", Diffusion::PUBLISHED.schedule),
    ("cosine", Schedule::Cosine { steps: 1000 }),
];

/// A pair of equal halves.
fn both(t: &Tensor) -> Pair {
    Pair {
        background: t.clone(),
        foreground: t.clone(),
    }
}

fn line(t: &Tensor) -> Vec<f32> {
    t.flatten_all().unwrap().to_vec1().unwrap()
}

#[test]
fn schedule_tables() {
    let golden = Golden(read("schedules.safetensors"));
    for (name, schedule) in SCHEDULES {
        let alphas: Vec<f32> = schedule.alphas().into_iter().map(|a| a as f32).collect();
        golden.check(
            &format!("{name}.alphas"),
            &Tensor::new(alphas, &Device::Cpu).unwrap(),
        );
    }
}

#[test]
fn noisy_layers_targets_and_what_is_read_in_an_output() {
    let golden = Golden(read("schedules.safetensors"));
    let (x, noise) = (golden.get("x"), golden.get("noise"));
    for (name, schedule) in SCHEDULES {
        let path = schedule.path();
        let times: Vec<f64> = [0.0, 400.0, 900.0].map(|t| path.time(t)).to_vec();
        let mixed = |factors: &dyn Fn(f64) -> (f64, f64)| {
            let rows = times.iter().enumerate().map(|(i, t)| {
                let (p, q) = factors(*t);
                let part = |x: &Tensor| x.narrow(0, i, 1).unwrap();
                ((part(&x) * p).unwrap() + (part(&noise) * q).unwrap()).unwrap()
            });
            Tensor::cat(&rows.collect::<Vec<_>>(), 0).unwrap()
        };
        let z = mixed(&|t| (path.levels(t).signal, path.levels(t).noise));
        golden.check(&format!("{name}.z"), &z);
        golden.check(
            &format!("{name}.v"),
            &mixed(&|t| Predicts::V.target(path.levels(t))),
        );
        let noisy = Noisy {
            background: golden.get(&format!("{name}.z")),
            foreground: golden.get(&format!("{name}.z")),
            time: Tensor::new(times.iter().map(|t| *t as f32).collect::<Vec<_>>(), &Device::Cpu).unwrap(),
        };
        let said = golden.get(&format!("{name}.said"));
        for (kind, predicts) in [("epsilon", Predicts::Epsilon), ("v_prediction", Predicts::V)] {
            let clean = predicts.clean(&noisy, both(&said), &path).unwrap();
            golden.check(&format!("{name}.clean.{kind}"), &clean.foreground);
        }
    }
}

/// The denoiser of the generator, which notes what it is shown.
fn known(path: &NoisePath, seen: &RefCell<Vec<Tensor>>) -> impl Fn(&Noisy) -> crate::Result<Pair> {
    move |z: &Noisy| {
        seen.borrow_mut().push(z.background.clone());
        let signal = path.levels(f64::from(z.time.to_vec1::<f32>()?[0])).signal;
        let say = |z: &Tensor| (z * 1.5)?.tanh()?.affine(0.6, 0.3 * signal - 0.1);
        Ok(Pair {
            background: say(&z.background)?,
            foreground: say(&z.foreground)?,
        })
    }
}

/// Walks from the file's noise; compares every stop and the end.
fn compare(golden: &Golden, name: &str, times: &[f64], path: &NoisePath, solver: &mut dyn Solver) {
    let seen = RefCell::new(Vec::new());
    let out = walk(
        times,
        path,
        solver,
        both(&golden.get("z")),
        &known(path, &seen),
        &|_, _| true,
    )
    .unwrap();
    assert_eq!(line(&out.background), line(&out.foreground));
    let mut stops = seen.into_inner();
    stops.push(out.background);
    golden.check(name, &Tensor::stack(&stops, 0).unwrap());
}

#[test]
fn samplers_over_a_known_denoiser() {
    let golden = Golden(read("samplers.safetensors"));
    for (name, schedule) in SCHEDULES {
        let path = schedule.path();
        let times = Spacing::Leading.times(&path, 50);
        compare(&golden, &format!("{name}.ddim.leading"), &times, &path, &mut Ddim);
        for (spacing, spaced) in [
            (Spacing::Uniform, "uniform"),
            (Spacing::Trailing, "trailing"),
            (Spacing::Karras, "karras"),
        ] {
            let times = spacing.times(&path, 8);
            let solvers: [(&str, Box<dyn Solver>); 2] = [
                ("dpm", Box::<DpmSolver>::default()),
                ("unipc", Box::<UniPc>::default()),
            ];
            for (solver, mut make) in solvers {
                compare(
                    &golden,
                    &format!("{name}.{solver}.{spaced}"),
                    &times,
                    &path,
                    make.as_mut(),
                );
            }
        }
    }
    let times = [0.04, 0.2, 0.45, 0.7, 0.9, 1.0];
    let path = Schedule::Linear.path();
    compare(&golden, "line.dpm", &times, &path, &mut DpmSolver::default());
    compare(&golden, "line.unipc", &times, &path, &mut UniPc::default());
}

#[test]
fn ddim_on_the_straight_line_from_its_own_noise() {
    let golden = Golden(read("ddim.safetensors"));
    let denoise = |z: &Noisy| {
        let s = f64::from(z.time.to_vec1::<f32>()?[0]);
        // Clean layers in 0..1 in the file, in -1..1 here.
        Ok(Pair {
            background: z.background.tanh()?.affine(0.5, 0.2 * s)?,
            foreground: (&z.foreground * 2.0)?.tanh()?.affine(0.25, -0.2 - 0.4 * s)?,
        })
    };
    let opts = Sampling {
        sampler: Sampler::Ddim,
        steps: 5,
        seed: 42,
    };
    let sizes = [(2, 3, 4, 6), (2, 4, 4, 6)];
    let path = Schedule::Linear.path();
    let out = sample(&opts, sizes, &path, &Device::Cpu, &denoise, &|_, _| true).unwrap();
    let picture = |t: Tensor| t.affine(0.5, 0.5).unwrap().clamp(0f32, 1f32).unwrap();
    golden.check("background", &picture(out.background));
    golden.check("foreground", &picture(out.foreground));
}
