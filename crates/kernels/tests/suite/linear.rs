//! Matrix products: linear layers and convolutions.

use peel_kernels::ops::{self, Activation, Conv, Ending, Gate, Residual, Step, Values, Weight};
use peel_kernels::{Card, twin};

use super::{BF16, Noise, cards, report, wide, worst};

pub fn weight<C: Card>(
    card: &C,
    noise: &mut Noise,
    n: usize,
    k: usize,
    whole: bool,
) -> (Weight<C>, Vec<f32>, Vec<f32>) {
    let bias = noise.many(n);
    let (values, plain) = if whole {
        let numbers: Vec<u8> = (0..n * k).map(|_| noise.next() as u8).collect();
        let scale: Vec<f32> = (0..n).map(|_| 0.004 + 0.004 * noise.one().abs()).collect();
        let plain = numbers
            .iter()
            .enumerate()
            .map(|(i, q)| (f32::from(*q) - 128.0) * scale[i / k]);
        let plain = plain.collect();
        (
            Values::Int8(card.put(&numbers).unwrap(), card.put(&scale).unwrap()),
            plain,
        )
    } else {
        let numbers = noise.halves(n * k);
        (Values::Bf16(card.put(&numbers).unwrap()), wide(&numbers))
    };
    let bias_there = card.put(&bias).unwrap();
    (
        Weight {
            values,
            bias: bias_there,
        },
        plain,
        bias,
    )
}

#[test]
fn linear_layers() {
    let (mut error, mut cases) = (0f32, 0);
    for card in cards() {
        let mut noise = Noise(1);
        for (m, n, k) in [(1, 1, 8), (5, 7, 40), (65, 63, 72), (130, 70, 128)] {
            for whole in [false, true] {
                for activation in [Activation::None, Activation::Gelu, Activation::Silu] {
                    let (w, plain, bias) = weight(&card, &mut noise, n, k, whole);
                    let x = noise.halves(m * k);
                    let y = ops::linear(&card, &card.put(&x).unwrap(), m, &w, activation).unwrap();
                    let want = twin::linear(&wide(&x), &plain, &bias, activation);
                    error = error.max(worst(&wide(&card.get(&y).unwrap()), &want));
                    cases += 1;
                }
            }
        }
    }
    report("linear_bf16, linear_int8", cases, error, BF16);
}

#[test]
fn linear_layers_upon_a_residual() {
    let (mut error, mut cases) = (0f32, 0);
    for card in cards() {
        let mut noise = Noise(2);
        for (samples, rows, n, k, period) in [(1, 3, 8, 8, 3), (2, 33, 65, 40, 66), (3, 7, 20, 72, 7)] {
            for whole in [false, true] {
                let m = samples * rows;
                let (w, plain, bias) = weight(&card, &mut noise, n, k, whole);
                let x = noise.halves(m * k);
                let residual = noise.many(period * n);
                let (base, time) = (noise.many(n), noise.many(samples * (2 * n + 3) + n));
                let x_there = card.put(&x).unwrap();
                let (residual_there, base_there, time_there) = (
                    card.put(&residual).unwrap(),
                    card.put(&base).unwrap(),
                    card.put(&time).unwrap(),
                );
                let y = ops::linear_gated(
                    &card,
                    &x_there,
                    m,
                    &w,
                    Some(Residual {
                        values: &residual_there,
                        period,
                    }),
                    Some(Gate {
                        base: &base_there,
                        time: Some((&time_there, 2, 2 * n + 3)),
                        rows_of_sample: rows,
                    }),
                )
                .unwrap();
                let product = twin::linear(&wide(&x), &plain, &bias, Activation::None);
                let want: Vec<f32> = (0..m * n)
                    .map(|i| {
                        let (row, column) = (i / n, i % n);
                        let gate = base[column] + time[2 + row / rows * (2 * n + 3) + column];
                        residual[row % period * n + column] + gate * product[i]
                    })
                    .collect();
                error = error.max(worst(&card.get(&y).unwrap(), &want));
                let y = ops::linear_gated(&card, &x_there, m, &w, None, None).unwrap();
                error = error.max(worst(&card.get(&y).unwrap(), &product));
                cases += 2;
            }
        }
    }
    report("linear_gated_bf16, linear_gated_int8", cases, error, 1e-5);
}

#[test]
fn convolutions() {
    let (mut error, mut cases) = (0f32, 0);
    for card in cards() {
        let mut noise = Noise(3);
        for (size, s, n) in [
            ([1, 4, 6, 8], 0, 7),
            ([2, 6, 4, 16], 8, 24),
            ([1, 2, 2, 24], 8, 65),
        ] {
            for step in [Step::Same, Step::Half, Step::Double, Step::HalfBehind] {
                let [pictures, h, w, c] = size;
                let (out_h, out_w) = step.result((h, w));
                let (weights, plain, bias) = weight(&card, &mut noise, n, 9 * (c + s), false);
                let (x, skip) = (
                    noise.halves(pictures * h * w * c),
                    noise.halves(pictures * out_h * out_w * s),
                );
                let (x_there, skip_there) = (card.put(&x).unwrap(), card.put(&skip).unwrap());
                let conv = Conv {
                    x: &x_there,
                    skip: (s > 0).then_some((&skip_there, s)),
                    size,
                    weight: &weights,
                    step,
                };
                for full in [false, true] {
                    let activation = if full { Activation::None } else { Activation::Silu };
                    let found = match ops::conv3x3(&card, &conv, activation, full).unwrap() {
                        Ending::Bf16(y) => wide(&card.get(&y).unwrap()),
                        Ending::F32(y) => card.get(&y).unwrap(),
                    };
                    let plan = twin::Conv { size, skip: s, step };
                    let want = twin::conv3x3(plan, &wide(&x), &wide(&skip), &plain, &bias, activation);
                    error = error.max(worst(&found, &want));
                    cases += 1;
                }
            }
        }
    }
    report("conv3x3_bf16, conv3x3_f32", cases, error, BF16);
}
