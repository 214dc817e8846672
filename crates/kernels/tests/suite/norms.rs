//! Norms of tokens and of pictures.

use peel_kernels::ops::{self, Activation, GroupNorm, Modulation};
use peel_kernels::{Buffer, Card, twin};

use super::linear::weight;
use super::{BF16, EPSILON, Noise, cards, report, wide, worst};

/// Modulation by a base, and by the second half of what a time says, samples of `rows`.
pub fn modulated<'a, C: Card>(
    base: &'a Buffer<C, f32>,
    time: Option<&'a Buffer<C, f32>>,
    rows: usize,
) -> Modulation<'a, C> {
    let d = base.len() / 2;
    Modulation {
        base,
        time: time.map(|time| (time, 3 * d, 6 * d)),
        rows_of_sample: rows,
    }
}

/// A group norm over samples.
pub fn grouped<'a, C: Card>(
    (samples, groups): (usize, usize),
    (weight, bias): (&'a Buffer<C, f32>, &'a Buffer<C, f32>),
    activation: Activation,
) -> GroupNorm<'a, C> {
    GroupNorm {
        samples,
        groups,
        weight,
        bias,
        epsilon: EPSILON,
        activation,
    }
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
                let modulation = modulated(&base_there, timed.then_some(&time_there), rows);
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

#[test]
fn rows_less_their_mean() {
    let (mut error, mut cases) = (0f32, 0);
    for card in cards() {
        let mut noise = Noise(16);
        for (segments, rows, d) in [(1, 1, 3), (2, 7, 33), (6, 64, 130)] {
            // What rows share is much larger than what tells them apart.
            let x: Vec<f32> = noise.many(segments * rows * d).iter().map(|v| v + 20.0).collect();
            let there = card.put(&x).unwrap();
            ops::less_means(&card, &there, (segments, rows, d)).unwrap();
            let want = twin::less_means(&x, rows, d);
            error = error.max(worst(&card.get(&there).unwrap(), &want));
            cases += 1;
            assert!(ops::less_means(&card, &there, (segments, rows, d + 1)).is_err());
        }
    }
    report("less_means", cases, error, 1e-4);
}

/// Two streams of a sample: each product goes to its own rows, and the last norm lays them side by side.
#[test]
fn streams_are_interleaved_and_parted_again() {
    for card in cards() {
        let mut noise = Noise(15);
        let (samples, rows, k, d) = (3, 5, 16, 24);
        let tokens: Buffer<_, f32> = card.buffer(samples * 2 * rows * d).unwrap();
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
                let norm = grouped((samples, groups), (&w_there, &b_there), activation);
                ops::group_norm(&card, &there, &norm).unwrap();
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
