//! Pictures to tokens and back, the samplers' sums.

use peel_kernels::ops::{self, Layout};
use peel_kernels::{Card, twin};

use super::{BF16, Noise, cards, report, wide, worst};

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
fn sums_of_pictures_and_softmax_of_rows() {
    let (mut error, mut cases) = (0f32, 0);
    for card in cards() {
        let mut noise = Noise(16);
        for (rows, n) in [(1, 1), (3, 40), (2, 700)] {
            let (a, b) = (noise.halves(rows * n), noise.halves(rows * n));
            let y = ops::add_pictures(&card, &card.put(&a).unwrap(), &card.put(&b).unwrap()).unwrap();
            let want: Vec<f32> = a.iter().zip(&b).map(|(a, b)| a.to_f32() + b.to_f32()).collect();
            error = error.max(worst(&wide(&card.get(&y).unwrap()), &want));
            let x: Vec<f32> = noise.many(rows * n).iter().map(|v| 40.0 * v).collect();
            let stride = n.next_multiple_of(8);
            // What only fills up is larger than all, and must not count.
            let there = card.put(&filled(&x, n, 100.0)).unwrap();
            let y = ops::softmax_rows(&card, &there, n, 0.25).unwrap();
            let want = filled(&twin::softmax_rows(&x, n, 0.25), n, 0.0);
            let found = wide(&card.get(&y).unwrap());
            error = error.max(worst(&found, &want));
            let slopes = noise.many(rows * stride);
            let back = ops::softmax_rows_back(&card, &y, &card.put(&slopes).unwrap(), n, 0.25).unwrap();
            let want = twin::softmax_rows_back(&found, &slopes, stride, 0.25);
            error = error.max(worst(&wide(&card.get(&back).unwrap()), &want));
            cases += 3;
        }
    }
    report(
        "add_pictures, softmax_rows, softmax_rows_back",
        cases,
        error,
        BF16,
    );
}

/// Rows of `n` filled up to a multiple of 8.
fn filled(x: &[f32], n: usize, with: f32) -> Vec<f32> {
    let more = vec![with; n.next_multiple_of(8) - n];
    x.chunks_exact(n).flat_map(|row| [row, &more].concat()).collect()
}

#[test]
fn what_a_refiner_sees() {
    let (mut error, mut cases) = (0f32, 0);
    for card in cards() {
        let mut noise = Noise(18);
        for (n, h, w, scale) in [(1, 1, 1, 2), (2, 5, 3, 3), (1, 6, 9, 4)] {
            let (small, all) = (n * h * w, n * h * w * scale * scale);
            let values = [3 * all, all, 3 * small, 4 * small].map(|count| noise.many(count));
            let [plate, mask, background, foreground] = values.each_ref().map(|v| card.put(v).unwrap());
            let (found, alpha) = ops::refiner_inputs(
                &card,
                [&plate, &mask],
                [&background, &foreground],
                (n, h, w),
                scale,
            )
            .unwrap();
            let want = twin::refiner_inputs(values.each_ref().map(Vec::as_slice), (h, w), scale);
            error = error.max(worst(&wide(&card.get(&found).unwrap()), &want));
            let want: Vec<f32> = want.chunks(16).map(|pixel| pixel[10]).collect();
            assert!(worst(&card.get(&alpha).unwrap(), &want) < 1e-6);
            cases += 1;
        }
    }
    report("refiner_inputs", cases, error, BF16);
}
