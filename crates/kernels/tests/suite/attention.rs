//! Attention and the norms of its queries and keys.

use peel_kernels::ops::{self, Tokens};
use peel_kernels::{Card, twin};

use super::{BF16, EPSILON, Noise, cards, report, wide, worst};

/// Samples, own tokens, others, heads, features.
pub const SIZES: [(usize, usize, usize, usize, usize); 5] = [
    (1, 1, 0, 1, 32),
    (2, 65, 0, 2, 32),
    (2, 16, 70, 2, 64),
    (1, 70, 3, 1, 96),
    (2, 5, 129, 1, 128),
];

#[test]
fn attention_with_and_without_a_condition_cache() {
    let (mut error, mut cases) = (0f32, 0);
    for card in cards() {
        let mut noise = Noise(4);
        for (samples, t, s, heads, f) in SIZES {
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
