//! The training loss and its slopes.

use peel_kernels::ops::{Compared, Layer, Terms};
use peel_kernels::{Card, twin};

use super::back::{worst_of, zeros};
use super::{Noise, cards, report, worst};

/// Samples of every kind: the second's layer is not known, the third's has no weight on alpha.
fn terms(noise: &mut Noise, count: usize) -> Vec<Terms> {
    let one = |i: usize| Terms {
        clean: (noise.one(), 0.5 + noise.one().abs()),
        scale: 0.5,
        mse: 4.0 * noise.one().abs(),
        l1: 0.05,
        alpha_l1: if i == 2 { 0.0 } else { 0.3 },
        consistency: 0.3,
        compared: i != 1,
        effect: 4.0,
        shadow: 2.0,
        threshold: 0.02,
    };
    (0..count).map(one).collect()
}

#[test]
fn weights_of_pixels() {
    let (mut error, mut cases) = (0f32, 0);
    for card in cards() {
        let mut noise = Noise(17);
        for (n, h, w, stride) in [(1, 1, 1, 1), (2, 7, 9, 1), (3, 8, 12, 4)] {
            let terms = terms(&mut noise, n);
            let (alpha, mask) = (noise.many(n * h * w), noise.many(n * h * w));
            let flat: Vec<f32> = terms.iter().flat_map(Terms::numbers).collect();
            let compared = Compared {
                terms: &card.put(&flat).unwrap(),
                pictures: n,
                pixels: h * w / stride / stride,
                shown: (1.0, 0.0),
            };
            let there = [&alpha, &mask].map(|v| card.put(v).unwrap());
            let found = compared
                .pixel_weights(&card, there.each_ref(), (h, w), stride)
                .unwrap();
            let want = twin::pixel_weights(&alpha, &mask, &terms, (h, w), stride);
            error = error.max(worst(&card.get(&found).unwrap(), &want));
            cases += 1;
        }
    }
    report("pixel_weights", cases, error, 1e-6);
}

#[test]
fn errors_of_layers_and_their_recomposition() {
    let (mut error, mut cases) = (0f32, 0);
    for card in cards() {
        let mut noise = Noise(10);
        for (n, pixels, shown) in [(1, 1, (0.5, 0.5)), (3, 100, (0.5, 0.5)), (2, 333, (1.0, 0.0))] {
            let all = n * pixels;
            let terms = terms(&mut noise, n);
            let flat: Vec<f32> = terms.iter().flat_map(Terms::numbers).collect();
            let table = card.put(&flat).unwrap();
            let compared = Compared {
                terms: &table,
                pictures: n,
                pixels,
                shown,
            };
            let weights = noise.many(all);
            let plate = noise.many(3 * all);
            let there = card.put(&weights).unwrap();
            let mut layers = Vec::new();
            for (channels, effects) in [(3, false), (4, true)] {
                let [said, noisy, mut truth] = [0; 3].map(|_| noise.many(channels * all));
                // Where nothing is wrong there is no slope.
                let t = terms[0].clean;
                truth[0] = shown.0 * (t.0 * noisy[0] + t.1 * said[0]) + shown.1;
                let buffers = [&said, &noisy, &truth].map(|v| card.put(v).unwrap());
                let (slopes, sum) = (zeros(&card, channels * all), zeros(&card, 1));
                let layer = Layer {
                    said: &buffers[0],
                    noisy: &buffers[1],
                    slopes: &slopes,
                };
                compared
                    .errors(&card, &layer, &buffers[2], &there, effects, sum.all())
                    .unwrap();
                let given = [&said, &noisy, &truth, &weights].map(Vec::as_slice);
                let (want, want_slopes) = twin::layer_errors(given, &terms, pixels, effects, shown);
                let found = card.get(&slopes).unwrap();
                error = error
                    .max((card.get(&sum).unwrap()[0] - want as f32).abs() / (1.0 + want.abs() as f32))
                    .max(worst_of(&found[1..], &want_slopes[1..]));
                layers.push((said, noisy, buffers, slopes, found));
                cases += 1;
            }
            let there = card.put(&plate).unwrap();
            let sum = zeros(&card, 1);
            let of = |i: usize| Layer {
                said: &layers[i].2[0],
                noisy: &layers[i].2[1],
                slopes: &layers[i].3,
            };
            compared
                .consistency(&card, [&of(0), &of(1)], &there, sum.all())
                .unwrap();
            let given = [0, 1].map(|i| [layers[i].0.as_slice(), layers[i].1.as_slice()]);
            let (want, want_b, want_f) = twin::consistency(given, &plate, &terms, pixels, shown);
            error = error.max((card.get(&sum).unwrap()[0] - want as f32).abs() / (1.0 + want as f32));
            for (i, mut want) in [want_b, want_f].into_iter().enumerate() {
                // They are added to those of the errors.
                want.iter_mut().zip(&layers[i].4).for_each(|(w, was)| *w += was);
                error = error.max(worst_of(&card.get(&layers[i].3).unwrap(), &want));
            }
            cases += 1;
        }
    }
    report("layer_errors, consistency", cases, error, 2e-6);
}
