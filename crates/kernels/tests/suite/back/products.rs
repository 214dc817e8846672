//! Matrix products backward: linear layers and convolutions.

use peel_kernels::ops::back::{
    bias_back, conv3x3_back_input, conv3x3_back_skip, conv3x3_back_weight, linear_back_input,
    linear_back_weight,
};
use peel_kernels::ops::{Conv, Step, Weight};
use peel_kernels::{Card, twin};

use super::super::linear::weight;
use super::super::{BF16, Noise, cards, report, wide};
use super::{worst_of, zeros};

#[test]
fn linear_layers() {
    let (mut error, mut cases) = (0f32, 0);
    for card in cards() {
        let mut noise = Noise(21);
        // The last has parts that are summed up, of which one is cut short.
        for (m, n, k) in [(1, 8, 8), (5, 16, 40), (65, 72, 24), (130, 64, 72), (600, 8, 16)] {
            let (w, plain, _) = weight(&card, &mut noise, n, k, false);
            let (x, dy) = (noise.halves(m * k), noise.halves(m * n));
            let (x_there, dy_there) = (card.put(&x).unwrap(), card.put(&dy).unwrap());
            let (dx, dw, db) = (zeros(&card, m * k), zeros(&card, n * k), zeros(&card, n));
            // Twice: products are added to what is there.
            for add in [false, true] {
                linear_back_input(&card, &dy_there, m, &w, &dx, add).unwrap();
                linear_back_weight(&card, &dy_there, &x_there, m, dw.all()).unwrap();
                bias_back(&card, &dy_there, m, db.all()).unwrap();
            }
            let want = twin::linear_back(&wide(&x), &plain, &wide(&dy), n);
            for (found, want) in [dx, dw, db].iter().zip(want) {
                let twice: Vec<f32> = want.iter().map(|v| 2.0 * v).collect();
                error = error.max(worst_of(&card.get(found).unwrap(), &twice));
                cases += 1;
            }
        }
    }
    report(
        "linear_back_input, linear_back_weight, bias_sums, sum_parts",
        cases,
        error,
        1e-5,
    );
}

#[test]
fn convolutions() {
    let (mut error, mut cases) = (0f32, 0);
    for card in cards() {
        let mut noise = Noise(22);
        // The last has a skip of which one channel only fills up, and an output that does.
        for (size, s, n, real_s, real_n) in [
            ([1, 4, 6, 8], 0, 8, 0, 8),
            ([2, 6, 4, 16], 8, 24, 8, 24),
            ([1, 2, 2, 24], 8, 72, 8, 72),
            ([2, 12, 14, 8], 8, 8, 7, 7),
        ] {
            for step in [Step::Same, Step::Half, Step::Double, Step::HalfBehind] {
                let [pictures, h, w, c] = size;
                let (out_h, out_w) = step.result((h, w));
                let (weights, plain, _): (Weight<_>, _, _) = weight(&card, &mut noise, n, 9 * (c + s), false);
                let out = pictures * out_h * out_w;
                let x = noise.halves(pictures * h * w * c);
                let (skip, dy) = (noise.halves(out * s), noise.halves(out * n));
                let there = [&x, &skip, &dy].map(|v| card.put(v).unwrap());
                let conv = Conv {
                    x: &there[0],
                    skip: (s > 0).then_some((&there[1], s)),
                    size,
                    weight: &weights,
                    step,
                };
                let both = c + real_s;
                let (dx, ds) = (zeros(&card, x.len()), zeros(&card, skip.len()));
                let (dw, db) = (zeros(&card, 9 * both * real_n), zeros(&card, real_n));
                for add in [false, true] {
                    conv3x3_back_input(&card, &conv, &there[2], &dx, add).unwrap();
                    if s > 0 {
                        conv3x3_back_skip(&card, &conv, &there[2], &ds, add).unwrap();
                    }
                    conv3x3_back_weight(&card, &conv, &there[2], [c, real_s, real_n], dw.all()).unwrap();
                    bias_back(&card, &there[2], out, db.all()).unwrap();
                }
                let plan = twin::Conv { size, skip: s, step };
                let [want_x, want_s, all] =
                    twin::conv3x3_back(plan, &wide(&x), &wide(&skip), &plain, &wide(&dy), n);
                let real = (0..9 * (c + s) * n).filter(|i| i % n < real_n && i / n % (c + s) < both);
                let want_w: Vec<f32> = real.map(|i| all[i]).collect();
                let want_b: Vec<f32> = (0..real_n)
                    .map(|j| dy.iter().skip(j).step_by(n).map(|v| v.to_f32()).sum())
                    .collect();
                for (found, want) in [(dx, want_x), (ds, want_s), (dw, want_w), (db, want_b)] {
                    let twice: Vec<f32> = want.iter().map(|v| 2.0 * v).collect();
                    let found = if twice.is_empty() {
                        vec![]
                    } else {
                        card.get(&found).unwrap()
                    };
                    error = error.max(worst_of(&found, &twice));
                    cases += 1;
                }
            }
        }
    }
    // Slopes of a doubled picture's pixel are four, summed in bf16.
    report("conv3x3_back_input, conv3x3_back_weight", cases, error, BF16);
}
