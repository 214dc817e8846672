//! Norms of tokens and of pictures, backward.

use peel_kernels::ops::back::{Told, group_norm_back, norm_modulate_back};
use peel_kernels::ops::{Activation, group_norm_kept};
use peel_kernels::{Card, twin};

use super::super::norms::{grouped, modulated};
use super::super::{BF16, EPSILON, Noise, cards, report, wide, worst};
use super::{worst_of, zeros};

#[test]
fn modulated_norms() {
    let (mut error, mut cases) = (0f32, 0);
    for card in cards() {
        let mut noise = Noise(25);
        for (samples, rows, d) in [(1, 2, 4), (2, 6, 33), (3, 300, 8)] {
            let count = samples * rows * d;
            let (x, dy, before) = (noise.many(count), noise.many(count), noise.many(count));
            let (base, time) = (noise.many(2 * d), noise.many(samples * 6 * d));
            let [x_there, dy_there, base_there, time_there] =
                [&x, &dy, &base, &time].map(|v| card.put(v).unwrap());
            for (timed, beside) in [(false, false), (true, false), (false, true)] {
                let modulation = modulated(&base_there, timed.then_some(&time_there), rows);
                let into = card.put(&before).unwrap();
                let (by_base, by_time) = (zeros(&card, 2 * d), zeros(&card, samples * 6 * d));
                norm_modulate_back(
                    &card,
                    &x_there,
                    &modulation,
                    (beside.then_some(rows / 2), EPSILON),
                    &dy_there,
                    &into,
                    &Told {
                        base: Some(by_base.all()),
                        time: timed.then_some(&by_time),
                    },
                )
                .unwrap();
                // Slopes lie where the norm put its rows.
                let half = rows / 2;
                let placed: Vec<f32> = (0..count)
                    .map(|i| {
                        let (row, sample) = (i / d % rows, i / d / rows);
                        let there = (sample * half + row % half) * 2 + row / half;
                        if beside { dy[there * d + i % d] } else { dy[i] }
                    })
                    .collect();
                let [dx, shift, scale] =
                    twin::norm_modulate_back(&x, &placed, d, f64::from(EPSILON), |row| {
                        let own = |i: usize| {
                            if timed {
                                time[(row / rows) * 6 * d + 4 * d + i]
                            } else {
                                0.0
                            }
                        };
                        (0..d).map(|i| base[d + i] + own(i)).collect()
                    });
                let want: Vec<f32> = dx.iter().zip(&before).map(|(a, b)| a + b).collect();
                error = error.max(worst(&card.get(&into).unwrap(), &want));
                let mut want_base = vec![0.0; 2 * d];
                let mut want_time = vec![0.0; samples * 6 * d];
                for (i, (shift, scale)) in shift.iter().zip(&scale).enumerate() {
                    want_base[i % d] += shift;
                    want_base[d + i % d] += scale;
                    if timed {
                        let at = i / d / rows * 6 * d + 3 * d + i % d;
                        want_time[at] += shift;
                        want_time[at + d] += scale;
                    }
                }
                error = error
                    .max(worst_of(&card.get(&by_base).unwrap(), &want_base))
                    .max(worst_of(&card.get(&by_time).unwrap(), &want_time));
                cases += 3;
            }
        }
    }
    report("norm_modulate_back, modulation_sums", cases, error, 1e-5);
}

#[test]
fn group_norms() {
    let (mut error, mut cases) = (0f32, 0);
    for card in cards() {
        let mut noise = Noise(26);
        for (samples, pixels, c, groups) in [(1, 2, 8, 1), (2, 35, 24, 3), (1, 2500, 16, 2)] {
            let x = noise.halves(samples * pixels * c);
            let dy = noise.many(x.len());
            let (w, b) = (noise.many(c), noise.many(c));
            let there = card.put(&x).unwrap();
            let [w_there, b_there, dy_there] = [&w, &b, &dy].map(|v| card.put(v).unwrap());
            for activation in [Activation::None, Activation::Silu] {
                let norm = grouped((samples, groups), (&w_there, &b_there), activation);
                let (y, moments) = group_norm_kept(&card, &there, &norm).unwrap();
                let (by_weight, by_bias) = (zeros(&card, c), zeros(&card, c));
                let dx = group_norm_back(
                    &card,
                    (&there, &moments),
                    &norm,
                    &dy_there,
                    (by_weight.all(), by_bias.all()),
                )
                .unwrap();
                let (mut want, mut want_x) = (Vec::new(), Vec::new());
                let (mut want_w, mut want_b) = (vec![0.0; c], vec![0.0; c]);
                for (x, dy) in wide(&x).chunks_exact(pixels * c).zip(dy.chunks_exact(pixels * c)) {
                    want.extend(twin::group_norm(
                        x,
                        groups,
                        &w,
                        &b,
                        f64::from(EPSILON),
                        activation,
                    ));
                    let [dx, dw, db] =
                        twin::group_norm_back((x, dy), groups, (&w, &b), f64::from(EPSILON), activation);
                    want_x.extend(dx);
                    want_w.iter_mut().zip(dw).for_each(|(sum, v)| *sum += v);
                    want_b.iter_mut().zip(db).for_each(|(sum, v)| *sum += v);
                }
                error = error
                    .max(worst(&wide(&card.get(&y).unwrap()), &want))
                    .max(worst(&wide(&card.get(&dx).unwrap()), &want_x))
                    .max(worst_of(&card.get(&by_weight).unwrap(), &want_w))
                    .max(worst_of(&card.get(&by_bias).unwrap(), &want_b));
                cases += 3;
            }
        }
    }
    report("group_sums, group_norm_back", cases, error, BF16);
}
