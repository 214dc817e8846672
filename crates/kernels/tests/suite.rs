//! Every kernel on the emulated card against its twin: odd sizes, random numbers, several orders of the threads; and faults
//! planted on purpose, which have to be found.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use half::bf16;
use peel_kernels::ops::{
    self, Activation, Conv, Ending, Gate, Layout, Light, Modulation, Residual, Step, Tokens, Values, Weight,
};
use peel_kernels::{Argument, Buffer, Card, Emulated, Launch, twin};

const EPSILON: f32 = 1e-5;

/// Numbers from a counter: SplitMix64.
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Of -1..1.
    fn one(&mut self) -> f32 {
        (self.next() >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    }

    fn many(&mut self, count: usize) -> Vec<f32> {
        (0..count).map(|_| self.one()).collect()
    }

    /// Numbers that bf16 holds.
    fn halves(&mut self, count: usize) -> Vec<bf16> {
        (0..count).map(|_| bf16::from_f32(self.one())).collect()
    }
}

fn wide(values: &[bf16]) -> Vec<f32> {
    values.iter().map(|v| v.to_f32()).collect()
}

fn cards() -> Vec<Emulated> {
    [1, 77].map(|seed| Emulated::open(seed).unwrap()).into()
}

/// Largest difference in units of `1 + |want|`; NaN where something was not written.
fn worst(found: &[f32], want: &[f32]) -> f32 {
    assert_eq!(found.len(), want.len());
    found
        .iter()
        .zip(want)
        .map(|(f, w)| {
            if f == w {
                0.0
            } else {
                (f - w).abs() / (1.0 + w.abs())
            }
        })
        .fold(0.0, |a, e| {
            if e.is_nan() || a.is_nan() {
                f32::NAN
            } else {
                a.max(e)
            }
        })
}

/// Prints what the table of the architecture notes says, and holds it to a limit.
fn report(kernel: &str, cases: usize, error: f32, limit: f32) {
    println!("{kernel}: {cases} cases, worst error {error:.1e}");
    assert!(error <= limit, "{kernel}: {error:e} is more than {limit:e}");
}

/// A result in bf16 is right within half a unit of its eight bits.
const BF16: f32 = 1.0 / 256.0;

fn weight(
    card: &Emulated,
    noise: &mut Noise,
    n: usize,
    k: usize,
    whole: bool,
) -> (Weight<Emulated>, Vec<f32>, Vec<f32>) {
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
            for step in [Step::Same, Step::Half, Step::Double] {
                let [pictures, h, w, c] = size;
                let (out_h, out_w) = match step {
                    Step::Same => (h, w),
                    Step::Half => (h / 2, w / 2),
                    Step::Double => (2 * h, 2 * w),
                };
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

#[test]
fn attention_with_and_without_a_condition_cache() {
    let (mut error, mut cases) = (0f32, 0);
    for card in cards() {
        let mut noise = Noise(4);
        for (samples, t, s, heads, f) in [
            (1, 1, 0, 1, 32),
            (2, 65, 0, 2, 32),
            (2, 16, 70, 2, 64),
            (1, 70, 3, 1, 96),
            (2, 5, 129, 1, 128),
        ] {
            for shared in [false, true] {
                let packed = 3 * heads * f;
                let others = if shared { 1 } else { samples };
                let (own, other) = (
                    noise.halves(samples * t * packed),
                    noise.halves(others * s * packed),
                );
                let (own_there, other_there) = (card.put(&own).unwrap(), card.put(&other).unwrap());
                let tokens = |values, samples, tokens| Tokens {
                    values,
                    samples,
                    tokens,
                };
                let y = ops::attention(
                    &card,
                    &tokens(&own_there, samples, t),
                    (s > 0).then_some(&tokens(&other_there, others, s)),
                    heads,
                    f,
                )
                .unwrap();
                let want: Vec<f32> = (0..samples)
                    .flat_map(|i| {
                        let at = if shared { 0 } else { i };
                        twin::attention(
                            &wide(&own[i * t * packed..][..t * packed]),
                            &wide(&other[at * s * packed..][..s * packed]),
                            heads,
                            f,
                        )
                    })
                    .collect();
                error = error.max(worst(&wide(&card.get(&y).unwrap()), &want));
                cases += 1;
            }
        }
    }
    // Weights travel as bf16 between the two products.
    report("attention_32, _64, _96, _128", cases, error, 2.0 * BF16);
}

#[test]
fn norms_of_queries_and_keys() {
    let (mut error, mut cases) = (0f32, 0);
    for card in cards() {
        let mut noise = Noise(5);
        for (rows, heads, f) in [(1, 1, 32), (5, 3, 64), (3, 5, 96), (2, 2, 128)] {
            let x = noise.halves(rows * 3 * heads * f);
            let there = card.put(&x).unwrap();
            ops::qk_norm(&card, &there, heads, f, EPSILON).unwrap();
            let mut want = wide(&x);
            twin::qk_norm(&mut want, heads, f, f64::from(EPSILON));
            error = error.max(worst(&wide(&card.get(&there).unwrap()), &want));
            cases += 1;
        }
    }
    report("qk_norm", cases, error, BF16);
}

#[test]
fn modulated_norms() {
    let (mut error, mut cases) = (0f32, 0);
    for card in cards() {
        let mut noise = Noise(6);
        for (samples, rows, d) in [(1, 1, 4), (2, 5, 33), (3, 4, 128)] {
            let x = noise.many(samples * rows * d);
            let (base, time) = (noise.many(2 * d), noise.many(samples * 6 * d));
            let (x_there, base_there, time_there) = (
                card.put(&x).unwrap(),
                card.put(&base).unwrap(),
                card.put(&time).unwrap(),
            );
            for timed in [false, true] {
                let modulation = Modulation {
                    base: &base_there,
                    time: timed.then_some((&time_there, 3 * d, 6 * d)),
                    rows_of_sample: rows,
                };
                let y = ops::norm_modulate(&card, &x_there, &modulation, None, EPSILON).unwrap();
                let want = twin::norm_modulate(&x, d, f64::from(EPSILON), |row| {
                    let at = |i: usize| {
                        let own = if timed {
                            time[(row / rows) * 6 * d + 3 * d + i]
                        } else {
                            0.0
                        };
                        base[i] + own
                    };
                    ((0..d).map(at).collect(), (d..2 * d).map(at).collect())
                });
                error = error.max(worst(&wide(&card.get(&y).unwrap()), &want));
                cases += 1;
            }
        }
    }
    report("norm_modulate", cases, error, BF16);
}

/// Two streams of a sample: each product goes to its own rows, and the last norm lays them side by side.
#[test]
fn streams_are_interleaved_and_parted_again() {
    for card in cards() {
        let mut noise = Noise(15);
        let (samples, rows, k, d) = (3, 5, 16, 24);
        let tokens: Buffer<Emulated, f32> = card.buffer(samples * 2 * rows * d).unwrap();
        let mut want = vec![0.0; samples * 2 * rows * d];
        for stream in 0..2 {
            let (w, plain, bias) = weight(&card, &mut noise, d, k, false);
            let x = noise.halves(samples * rows * k);
            let place = ops::Place {
                into: &tokens,
                first: stream * rows,
                run: rows,
                gap: rows,
            };
            ops::linear_gated_into(
                &card,
                &card.put(&x).unwrap(),
                samples * rows,
                &w,
                None,
                None,
                &place,
            )
            .unwrap();
            let product = twin::linear(&wide(&x), &plain, &bias, Activation::None);
            for (row, values) in product.chunks_exact(d).enumerate() {
                let at = (row / rows * 2 + stream) * rows + row % rows;
                want[at * d..][..d].copy_from_slice(values);
            }
        }
        assert!(worst(&card.get(&tokens).unwrap(), &want) < 1e-5);
        let plain = card.put(&vec![0.0f32; 2 * d]).unwrap();
        let modulation = Modulation {
            base: &plain,
            time: None,
            rows_of_sample: 2 * rows,
        };
        let y = ops::norm_modulate(&card, &tokens, &modulation, Some(rows), EPSILON).unwrap();
        let normal = twin::norm_modulate(&want, d, f64::from(EPSILON), |_| (vec![0.0; d], vec![0.0; d]));
        let mut beside = vec![0.0; normal.len()];
        for (row, values) in normal.chunks_exact(d).enumerate() {
            let (sample, stream, token) = (row / (2 * rows), row / rows % 2, row % rows);
            beside[((sample * rows + token) * 2 + stream) * d..][..d].copy_from_slice(values);
        }
        assert!(worst(&wide(&card.get(&y).unwrap()), &beside) < BF16);
    }
}

#[test]
fn group_norms() {
    let (mut error, mut cases) = (0f32, 0);
    for card in cards() {
        let mut noise = Noise(7);
        for (samples, pixels, c, groups) in [(1, 1, 8, 1), (2, 35, 24, 3), (1, 2500, 16, 2)] {
            let x = noise.halves(samples * pixels * c);
            let (w, b) = (noise.many(c), noise.many(c));
            let (w_there, b_there) = (card.put(&w).unwrap(), card.put(&b).unwrap());
            for activation in [Activation::None, Activation::Silu] {
                let there = card.put(&x).unwrap();
                ops::group_norm(
                    &card,
                    &there,
                    (samples, groups),
                    (&w_there, &b_there),
                    EPSILON,
                    activation,
                )
                .unwrap();
                let want: Vec<f32> = wide(&x)
                    .chunks_exact(pixels * c)
                    .flat_map(|x| twin::group_norm(x, groups, &w, &b, f64::from(EPSILON), activation))
                    .collect();
                error = error.max(worst(&wide(&card.get(&there).unwrap()), &want));
                cases += 1;
            }
        }
    }
    report("group_moments, group_norm_silu", cases, error, BF16);
}

#[test]
fn pictures_to_tokens_and_back() {
    let (mut error, mut cases) = (0f32, 0);
    for card in cards() {
        let mut noise = Noise(8);
        for (pictures, channels, size, patch) in [(1, 1, (2, 2), 2), (2, 3, (6, 9), 3), (1, 4, (32, 16), 16)]
        {
            let layout = Layout {
                pictures,
                channels,
                size,
                patch,
            };
            let x = noise.many(pictures * channels * size.0 * size.1);
            let tokens = ops::patchify(&card, &card.put(&x).unwrap(), layout, (2.0, -1.0)).unwrap();
            let want = twin::patchify(&x, layout, (2.0, -1.0));
            error = error.max(worst(&wide(&card.get(&tokens).unwrap()), &want));
            let back = ops::unpatchify(&card, &card.put(&want).unwrap(), layout, (0.5, 0.5)).unwrap();
            error = error.max(worst(&card.get(&back).unwrap(), &x));
            let pixels = size.0 * size.1;
            let base = noise.many(pictures * channels * pixels);
            let last = noise.many(pictures * pixels * (channels + 2));
            let of = (pictures, pixels, channels + 2);
            let y = ops::planes(
                &card,
                &card.put(&last).unwrap(),
                of,
                (1, channels),
                Some(&card.put(&base).unwrap()),
            )
            .unwrap();
            error = error.max(worst(
                &card.get(&y).unwrap(),
                &twin::planes(&last, of, (1, channels), &base),
            ));
            cases += 3;
        }
    }
    report("patchify, unpatchify, planes", cases, error, BF16);
}

#[test]
fn sums_of_the_samplers_to_the_bit() {
    let mut cases = 0;
    for card in cards() {
        let mut noise = Noise(9);
        for count in [1, 257, 1000] {
            let x: Vec<Vec<f32>> = (0..4).map(|_| noise.many(count)).collect();
            let k = noise.many(4);
            let there: Vec<_> = x.iter().map(|x| card.put(x).unwrap()).collect();
            for terms in 1..=4 {
                let given: Vec<_> = k.iter().copied().zip(&there).take(terms).collect();
                let y = ops::combine(&card, &given).unwrap();
                let plain: Vec<_> = k
                    .iter()
                    .copied()
                    .zip(x.iter().map(Vec::as_slice))
                    .take(terms)
                    .collect();
                assert_eq!(card.get(&y).unwrap(), twin::combine(&plain));
                cases += 1;
            }
        }
    }
    report("combine", cases, 0.0, 0.0);
}

#[test]
fn the_consistency_loss_and_its_gradients() {
    let (mut error, mut cases) = (0f32, 0);
    for card in cards() {
        let mut noise = Noise(10);
        for (pictures, pixels) in [(1, 1), (3, 100), (2, 333)] {
            let all = pictures * pixels;
            let values = [noise.many(3 * all), noise.many(4 * all), noise.many(3 * all)];
            let there = values.each_ref().map(|v| card.put(v).unwrap());
            let (sum, by_b, by_f) =
                ops::consistency(&card, there.each_ref(), (pictures, pixels), 0.25).unwrap();
            let (want, want_b, want_f) =
                twin::consistency(values.each_ref().map(Vec::as_slice), pixels, 0.25);
            error = error
                .max((sum - want as f32).abs() / (1.0 + want as f32))
                .max(worst(&card.get(&by_b).unwrap(), &want_b))
                .max(worst(&card.get(&by_f).unwrap(), &want_f));
            cases += 1;
        }
    }
    report("consistency", cases, error, 1e-6);
}

const LIGHTS: [Light; 2] = [
    Light {
        exposure: 1.0,
        white: 1.0,
    },
    Light {
        exposure: 4.0,
        white: 0.85,
    },
];

#[test]
fn the_plates_light() {
    let (mut error, mut cases) = (0f32, 0);
    for card in cards() {
        let mut noise = Noise(11);
        for light in LIGHTS {
            let x: Vec<f32> = (0..500)
                .map(|i| noise.one() * [0.01, 1.0, 100.0][i % 3])
                .collect();
            let encoded = card
                .get(&ops::encode(&card, &card.put(&x).unwrap(), light).unwrap())
                .unwrap();
            let want: Vec<f32> = x.iter().map(|v| twin::encode(*v, light)).collect();
            error = error.max(worst(&encoded, &want));
            let back = card
                .get(&ops::decode(&card, &card.put(&want).unwrap(), light).unwrap())
                .unwrap();
            let want: Vec<f32> = want.iter().map(|v| twin::decode(*v, light)).collect();
            error = error.max(worst(&back, &want));
            cases += 2;
        }
    }
    report("light_encode, light_decode", cases, error, 1e-5);
}

#[test]
fn the_background_under_an_effect() {
    let (mut error, mut cases) = (0f32, 0);
    for card in cards() {
        let mut noise = Noise(12);
        for light in LIGHTS {
            let count = 700;
            let mut unit = |least: f32| -> Vec<f32> {
                noise
                    .many(count)
                    .iter()
                    .map(|v| least + (1.0 - least) * (0.5 + 0.5 * v))
                    .collect()
            };
            let values = [unit(0.0), unit(0.05), unit(0.0), unit(-1.0)];
            let there = values.each_ref().map(|v| card.put(v).unwrap());
            let found = card
                .get(&ops::unshadow(&card, there.each_ref(), 0.92, light).unwrap())
                .unwrap();
            let want: Vec<f32> = (0..count)
                .map(|i| {
                    twin::unshadow(
                        values[0][i],
                        values[1][i],
                        values[2][i],
                        values[3][i],
                        0.92,
                        light,
                    )
                })
                .collect();
            for i in (0..count).filter(|i| values[3][*i] <= 0.0) {
                assert_eq!(found[i].to_bits(), values[0][i].to_bits());
            }
            error = error.max(worst(&found, &want));
            cases += 1;
        }
    }
    report("unshadow", cases, error, 1e-4);
}

/// Halves of every kind: powers of two, subnormals, zero, highlights, negatives, round decimals.
fn wild(noise: &mut Noise) -> f32 {
    let size = match noise.next() % 8 {
        0 => 0.0,
        1 => 2f32.powi((noise.next() % 39) as i32 - 24),
        2 => noise.one().abs() * 6e-5,
        3 => noise.one().abs() * 60_000.0,
        4 => (noise.next() % 64) as f32 / 64.0,
        5 if noise.next().is_multiple_of(16) => f32::INFINITY,
        _ => noise.one().abs(),
    };
    if noise.next().is_multiple_of(8) {
        -size
    } else {
        size
    }
}

#[test]
fn exact_layers_to_the_bit() {
    const PIXELS: usize = 20_000;
    for card in cards() {
        let mut noise = Noise(13);
        let mut plate = Vec::new();
        for i in 0..PIXELS {
            plate.extend((0..3).map(|_| wild(&mut noise)));
            plate.push(if i % 16 == 0 { 0.5 } else { 1.0 });
        }
        let clean: Vec<f32> = (0..3 * PIXELS).map(|_| wild(&mut noise)).collect();
        let alpha: Vec<f32> = (0..PIXELS)
            .map(|i| match i % 5 {
                0 => 0.0,
                1 => 1.0,
                2 => f32::NAN,
                _ => noise.one().abs(),
            })
            .collect();
        let put = |v: &[f32]| card.put(v).unwrap();
        let (background, foreground) =
            ops::recompose(&card, &put(&plate), &put(&clean), &put(&alpha)).unwrap();
        let together = card
            .get(&ops::over(&card, &foreground, &background).unwrap())
            .unwrap();
        let (background, foreground) = (card.get(&background).unwrap(), card.get(&foreground).unwrap());
        let bits = |v: &[f32]| -> Vec<u32> { v.iter().map(|v| v.to_bits()).collect() };
        for i in 0..PIXELS {
            let four = |v: &[f32]| -> [f32; 4] { v[4 * i..][..4].try_into().unwrap() };
            let (b, f) = twin::recompose(four(&plate), clean[3 * i..][..3].try_into().unwrap(), alpha[i]);
            assert_eq!(bits(&four(&background)), bits(&b), "background of pixel {i}");
            assert_eq!(bits(&four(&foreground)), bits(&f), "foreground of pixel {i}");
            if f[3] > 0.0 {
                let over = twin::over(f, b);
                assert_eq!(bits(&four(&together)), bits(&over));
                for c in 0..4 {
                    let half = |v: f32| half::f16::from_f32(v);
                    assert_eq!(
                        half(over[c]),
                        half(plate[4 * i + c]),
                        "recomposition of pixel {i}"
                    );
                }
            }
        }
    }
    report("recompose, over", 2 * PIXELS, 0.0, 0.0);
}

fn planted(
    kernel: &'static str,
    grid: u32,
    threads: u32,
    shared: usize,
    with_input: bool,
    count: Option<i32>,
) -> String {
    let card = Emulated::open(3).unwrap();
    let x = card.put(&vec![0.5f32; 64]).unwrap();
    let y: Buffer<Emulated, f32> = card.buffer(64).unwrap();
    let mut arguments = Vec::new();
    if with_input {
        arguments.push(x.argument());
    }
    arguments.push(y.argument());
    arguments.extend(count.map(Argument::Int));
    let launch = Launch {
        kernel,
        grid: [grid, 1, 1],
        threads,
        shared,
        arguments: &arguments,
    };
    match card.launch(&launch) {
        Ok(()) => panic!("{kernel}: not found"),
        Err(e) => e.to_string(),
    }
}

#[test]
fn planted_faults_are_found() {
    let message = planted("planted_missing_barrier", 1, 64, 256, true, None);
    assert!(message.contains("race"), "{message}");
    let message = planted("planted_off_by_one", 1, 128, 0, true, Some(64));
    assert!(message.contains("outside of a buffer"), "{message}");
    let message = planted("planted_divergent_barrier", 1, 64, 0, false, None);
    assert!(message.contains("__syncthreads"), "{message}");
    let message = planted("planted_shared_overrun", 1, 64, 256, false, None);
    assert!(message.contains("shared memory"), "{message}");
}

#[test]
fn wrong_sizes_are_refused_before_the_card_sees_them() {
    let card = Emulated::open(1).unwrap();
    let mut noise = Noise(14);
    let (w, ..) = weight(&card, &mut noise, 4, 12, false);
    let x = card.put(&noise.halves(24)).unwrap();
    let message = ops::linear(&card, &x, 2, &w, Activation::None)
        .unwrap_err()
        .to_string();
    assert!(message.contains("multiple of 8"), "{message}");
    let own = card.put(&noise.halves(3 * 40)).unwrap();
    let tokens = Tokens {
        values: &own,
        samples: 1,
        tokens: 1,
    };
    let message = ops::attention(&card, &tokens, None, 1, 40)
        .unwrap_err()
        .to_string();
    assert!(message.contains("40 features"), "{message}");
    assert_eq!(card.launches(), 0);
}
