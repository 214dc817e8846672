//! The plate's passes.

use peel_kernels::ops::{self, Light};
use peel_kernels::{Card, twin};

use super::{Noise, cards, report, worst};

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
