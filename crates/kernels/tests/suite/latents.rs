//! Latents drawn around what an encoder said, and their slopes.

use peel_kernels::ops::Moments;
use peel_kernels::{Card, twin};

use super::back::{worst_of, zeros};
use super::{BF16, Noise, cards, report, wide, worst};

#[test]
fn latents_are_drawn_and_told() {
    let (mut error, mut sums, mut cases) = (0f32, 0f32, 0);
    for card in cards() {
        let mut noise = Noise(31);
        for (rows, latent, stride) in [(1, 1, 8), (7, 4, 8), (300, 16, 32), (5, 12, 24)] {
            let mut moments = noise.many(rows * stride);
            // Beyond either limit, where only the mean is told anything; a deviation of e^10 is more than bf16 slopes are compared at.
            moments[latent] = -40.0;
            let (z, dz) = (noise.many(rows * latent), noise.many(rows * latent));
            let own = noise.many(rows * latent);
            let padded = latent.next_multiple_of(8);
            let fill = |x: &[f32]| -> Vec<f32> {
                let more = vec![0.0; padded - latent];
                x.chunks_exact(latent)
                    .flat_map(|row| [row, &more].concat())
                    .collect()
            };
            let [said, noises, slopes, beside] =
                [&moments, &z, &fill(&dz), &own].map(|values| card.put(values).unwrap());
            let weight = card.put(&[0.3f32]).unwrap();
            for straight in [None, Some(&beside)] {
                let of = Moments {
                    said: &said,
                    straight,
                    latent,
                };
                let sum = zeros(&card, 1);
                let found = of.draw(&card, &noises, sum.all()).unwrap();
                let own = straight.map(|_| own.as_slice());
                let (want, total) = twin::draw_latents(&moments, own, &z, (latent, stride));
                error = error.max(worst(&wide(&card.get(&found).unwrap()), &fill(&want)));
                sums = sums.max((card.get(&sum).unwrap()[0] / total as f32 - 1.0).abs());
                let (by_said, by_straight) = of.draw_back(&card, &noises, &slopes, &weight).unwrap();
                let [want, by_mean] =
                    twin::draw_latents_back(&moments, own, (&z, &dz), 0.3, (latent, stride));
                error = error.max(worst_of(&wide(&card.get(&by_said).unwrap()), &want));
                assert_eq!(by_straight.is_some(), straight.is_some());
                if let Some(by_straight) = by_straight {
                    error = error.max(worst_of(&wide(&card.get(&by_straight).unwrap()), &by_mean));
                }
                cases += 2;
            }
            // No room for variances.
            let short = Moments {
                said: &noises,
                straight: None,
                latent,
            };
            assert!(short.draw(&card, &noises, zeros(&card, 1).all()).is_err());
        }
        // The upper limit.
        let said = card.put(&[0.5f32, 30.0, 0.0, 0.0]).unwrap();
        let of = Moments {
            said: &said,
            straight: None,
            latent: 1,
        };
        let (one, slopes) = (card.put(&[1.0f32]).unwrap(), zeros(&card, 8));
        let z = wide(
            &card
                .get(&of.draw(&card, &one, zeros(&card, 1).all()).unwrap())
                .unwrap(),
        );
        assert!((z[0] / 10f32.exp() - 1.0).abs() < BF16, "{}", z[0]);
        let (by_said, _) = of.draw_back(&card, &one, &slopes, &one).unwrap();
        assert_eq!(wide(&card.get(&by_said).unwrap()), [0.5, 0.0, 0.0, 0.0]);
    }
    assert!(sums < 1e-5, "{sums}");
    report("draw_latents, draw_latents_back", cases, error, BF16);
}
