//! Activations, gates, changes of layout, the optimiser.

use peel_kernels::ops::back::{
    Padded, Told, Update, activate, activate_back, adamw, add_columns, copy, fill, gated_add, gated_add_back,
    kernel_rows, mark, narrow, narrow_into, narrow_rows, norm_of, planes_back,
};
use peel_kernels::ops::{Activation, Gate, Values};
use peel_kernels::{Card, twin};

use super::super::linear::weight;
use super::super::{BF16, Noise, cards, report, wide, worst};
use super::{worst_of, zeros};

#[test]
fn activations() {
    let (mut error, mut cases) = (0f32, 0);
    for card in cards() {
        let mut noise = Noise(27);
        for count in [1, 1000] {
            let x: Vec<half::bf16> = noise
                .halves(count)
                .iter()
                .map(|v| half::bf16::from_f32(v.to_f32() * 6.0))
                .collect();
            let dy = noise.many(count);
            let there = card.put(&x).unwrap();
            for activation in [Activation::None, Activation::Gelu, Activation::Silu] {
                let y = activate(&card, &there, activation).unwrap();
                let dx = activate_back(&card, &there, &card.put(&dy).unwrap(), activation).unwrap();
                let of = |v: &half::bf16| match activation {
                    Activation::None => v.to_f64(),
                    Activation::Gelu => twin::gelu(v.to_f64()),
                    Activation::Silu => twin::silu(v.to_f64()),
                };
                let want: Vec<f32> = x.iter().map(|v| of(v) as f32).collect();
                let want_x: Vec<f32> = (x.iter().zip(&dy))
                    .map(|(v, dy)| (f64::from(*dy) * twin::slope(activation, v.to_f64())) as f32)
                    .collect();
                error = error
                    .max(worst(&wide(&card.get(&y).unwrap()), &want))
                    .max(worst(&wide(&card.get(&dx).unwrap()), &want_x));
                cases += 2;
            }
        }
    }
    report("activate, activate_back", cases, error, BF16);
}

/// The slopes of activations are those of the activations' twins.
#[test]
fn slopes_of_activations_are_slopes() {
    for activation in [Activation::Gelu, Activation::Silu] {
        let of = |v: f64| {
            if activation == Activation::Gelu {
                twin::gelu(v)
            } else {
                twin::silu(v)
            }
        };
        for v in [-3.0, -0.7, 0.0, 0.4, 2.5] {
            let found = (of(v + 1e-5) - of(v - 1e-5)) / 2e-5;
            assert!(
                (found - twin::slope(activation, v)).abs() < 1e-8,
                "{activation:?} {v}"
            );
        }
    }
}

#[test]
fn gates() {
    let (mut error, mut cases) = (0f32, 0);
    for card in cards() {
        let mut noise = Noise(28);
        for (samples, rows, n) in [(1, 1, 3), (3, 7, 40), (2, 600, 8)] {
            let count = samples * rows * n;
            let (x, dy, u) = (noise.many(count), noise.many(count), noise.halves(count));
            let (base, time) = (noise.many(n), noise.many(samples * (2 * n + 3) + n));
            let [x_there, dy_there, base_there, time_there] =
                [&x, &dy, &base, &time].map(|v| card.put(v).unwrap());
            let u_there = card.put(&u).unwrap();
            let gate = Gate {
                base: &base_there,
                time: Some((&time_there, 2, 2 * n + 3)),
                rows_of_sample: rows,
            };
            let y = gated_add(&card, &x_there, &u_there, &gate).unwrap();
            let (by_base, by_time) = (zeros(&card, n), zeros(&card, time.len()));
            let told = Told {
                base: Some(by_base.all()),
                time: Some(&by_time),
            };
            let du = gated_add_back(&card, &dy_there, &u_there, &gate, &told).unwrap();
            let at = |i: usize| 2 + i / n / rows * (2 * n + 3) + i % n;
            let open = |i: usize| base[i % n] + time[at(i)];
            let want: Vec<f32> = (0..count).map(|i| x[i] + open(i) * u[i].to_f32()).collect();
            let want_u: Vec<f32> = (0..count).map(|i| open(i) * dy[i]).collect();
            let (mut want_base, mut want_time) = (vec![0.0; n], vec![0.0; time.len()]);
            for i in 0..count {
                want_base[i % n] += dy[i] * u[i].to_f32();
                want_time[at(i)] += dy[i] * u[i].to_f32();
            }
            error = error
                .max(worst(&card.get(&y).unwrap(), &want))
                .max(worst(&wide(&card.get(&du).unwrap()), &want_u))
                .max(worst_of(&card.get(&by_base).unwrap(), &want_base))
                .max(worst_of(&card.get(&by_time).unwrap(), &want_time));
            cases += 4;
        }
    }
    report("gated_add, gated_add_back, gate_sums", cases, error, BF16);
}

#[test]
fn layouts() {
    let (mut error, mut cases) = (0f32, 0);
    for card in cards() {
        let mut noise = Noise(29);
        // The second of two streams of 5 rows in each of 3 samples.
        let x = noise.many(3 * 10 * 7);
        let x_there = card.put(&x).unwrap();
        let rows = narrow_rows(&card, &x_there, (15, 7), (5, 5, 5)).unwrap();
        let want: Vec<f32> = x.chunks_exact(35).skip(1).step_by(2).flatten().copied().collect();
        error = error.max(worst(&wide(&card.get(&rows).unwrap()), &want));

        let parameter = card.put(&noise.halves(40)).unwrap();
        narrow(&card, x_there.span(100, 40).unwrap(), &parameter).unwrap();
        error = error.max(worst(&wide(&card.get(&parameter).unwrap()), &x[100..140]));

        let both = card.put(&[half::bf16::ZERO; 80]).unwrap();
        narrow_into(&card, x_there.span(100, 40).unwrap(), &both, (10, 20, 10)).unwrap();
        let want: Vec<f32> = (0..80)
            .map(|i| {
                if i % 20 < 10 {
                    0.0
                } else {
                    x[100 + i / 20 * 10 + i % 10]
                }
            })
            .collect();
        error = error.max(worst(&wide(&card.get(&both).unwrap()), &want));
        let right = zeros(&card, 30 * 3);
        add_columns(&card, &x_there, (7, 4), (right.all(), 3)).unwrap();
        let want: Vec<f32> = (0..90).map(|i| x[i / 3 * 7 + 4 + i % 3]).collect();
        error = error.max(worst(&card.get(&right).unwrap(), &want));
        let copied = zeros(&card, 50);
        copy(&card, x_there.span(3, 40).unwrap(), &copied).unwrap();
        let want: Vec<f32> = x[3..43].iter().copied().chain([0.0; 10]).collect();
        error = error.max(worst(&card.get(&copied).unwrap(), &want));

        let (places, types) = (noise.many(6 * 4), noise.many(4 * 4));
        let [places_there, types_there] = [&places, &types].map(|v| card.put(v).unwrap());
        let kind = |i: usize| types_there.span(4 * i, 4).unwrap();
        let into = zeros(&card, 24);
        mark(&card, &places_there, kind(2), None, &into).unwrap();
        let want: Vec<f32> = (0..24).map(|i| places[i] + types[8 + i % 4]).collect();
        error = error.max(worst(&card.get(&into).unwrap(), &want));
        mark(&card, &places_there, kind(0), Some(kind(1)), &into).unwrap();
        let want: Vec<f32> = (0..24)
            .map(|i| 2.0 * places[i] + types[i % 4] + types[4 + i % 4])
            .collect();
        error = error.max(worst(&card.get(&into).unwrap(), &want));

        let (a, b) = (noise.many(2 * 3 * 10), noise.many(2 * 4 * 10));
        let layers = [&a, &b].map(|v| card.put(v).unwrap());
        let last = planes_back(&card, layers.each_ref(), (2, 10, 8)).unwrap();
        let want: Vec<f32> = (0..160)
            .map(|i| {
                let (channel, pixel, picture) = (i % 8, i / 8 % 10, i / 80);
                match channel {
                    0..3 => a[(picture * 3 + channel) * 10 + pixel],
                    3..7 => b[(picture * 4 + channel - 3) * 10 + pixel],
                    _ => 0.0,
                }
            })
            .collect();
        error = error.max(worst(&wide(&card.get(&last).unwrap()), &want));

        let of = Padded {
            real: [8, 7, 7],
            padded: [8, 8, 8],
        };
        let kernel = noise.many(9 * 15 * 7);
        let (rows, ..) = weight(&card, &mut noise, 8, 9 * 16, false);
        kernel_rows(&card, card.put(&kernel).unwrap().all(), of, &rows).unwrap();
        let want: Vec<f32> = (0..8 * 9 * 16)
            .map(|i| {
                let (channel, tap, output) = (i % 16, i / 16 % 9, i / 16 / 9);
                if channel < 15 && output < 7 {
                    kernel[(tap * 15 + channel) * 7 + output]
                } else {
                    0.0
                }
            })
            .collect();
        let Values::Bf16(rows) = &rows.values else {
            panic!("not bf16");
        };
        error = error.max(worst(&wide(&card.get(rows).unwrap()), &want));
        cases += 9;
    }
    report("narrow_rows, mark, planes_back, kernel_rows", cases, error, BF16);
}

#[test]
fn an_update_of_the_optimiser() {
    let (mut error, mut cases) = (0f32, 0);
    for card in cards() {
        let mut noise = Noise(30);
        for count in [1, 700] {
            let state: [Vec<f32>; 4] = [0, 1, 2, 3].map(|i| {
                let values = noise.many(count);
                // Second moments are squares.
                if i == 2 {
                    values.iter().map(|v| v * v).collect()
                } else {
                    values
                }
            });
            let gradient = noise.many(count);
            let there = state.each_ref().map(|v| card.put(v).unwrap());
            let gradient_there = card.put(&gradient).unwrap();
            let norm = norm_of(&card, &gradient_there).unwrap();
            let want: f64 = gradient.iter().map(|g| f64::from(*g).powi(2)).sum();
            error = error.max(worst(&[norm], &[want.sqrt() as f32]));
            let update = Update {
                scale: 0.5,
                rate: 0.01,
                decay: 0.001,
                betas: (0.9, 0.95),
                corrections: (0.19, 0.0975),
                keep: 0.8,
            };
            adamw(
                &card,
                there.each_ref().map(|b| b.all()),
                gradient_there.all(),
                &update,
            )
            .unwrap();
            assert!(card.get(&gradient_there).unwrap().iter().all(|g| *g == 0.0));
            let mut want = state.clone();
            for i in 0..count {
                let g = f64::from(gradient[i]) * 0.5;
                let [x, m, v, average] = [0, 1, 2, 3].map(|part| f64::from(state[part][i]));
                let (m, v) = (0.9 * m + 0.1 * g, 0.95 * v + 0.05 * g * g);
                let x = x - 0.01 * (m / 0.19) / ((v / 0.0975).sqrt() + 1e-8) - 0.001 * x;
                let average = average + 0.2 * (x - average);
                for (want, value) in want.iter_mut().zip([x, m, v, average]) {
                    want[i] = value as f32;
                }
            }
            for (found, want) in there.iter().zip(&want) {
                error = error.max(worst(&card.get(found).unwrap(), want));
            }
            fill(&card, there[0].all(), 0.25).unwrap();
            assert_eq!(card.get(&there[0]).unwrap(), vec![0.25; count]);
            cases += 3;
        }
    }
    report("squares, adamw, fill", cases, error, 2e-6);
}
