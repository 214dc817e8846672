//! Attention and the norms of its queries and keys, backward.

use peel_kernels::ops::back::{Found, attention_back, qk_norm_back};
use peel_kernels::ops::{Tokens, attention_kept, qk_norm_kept};
use peel_kernels::{Card, twin};

use super::super::attention::SIZES;
use super::super::{BF16, EPSILON, Noise, cards, report, wide, worst};
use super::{worst_of, zeros};

#[test]
fn attention_with_and_without_other_tokens() {
    let (mut error, mut cases) = (0f32, 0);
    for card in cards() {
        let mut noise = Noise(23);
        for (samples, t, s, heads, f) in SIZES {
            let packed = 3 * heads * f;
            let (own, other) = (
                noise.halves(samples * t * packed),
                noise.halves(samples * s * packed),
            );
            let dy = noise.halves(samples * t * heads * f);
            let [own_there, other_there, dy_there] = [&own, &other, &dy].map(|v| card.put(v).unwrap());
            let tokens = |values, tokens| Tokens {
                values,
                samples,
                tokens,
            };
            let (mine, seen) = (tokens(&own_there, t), tokens(&other_there, s));
            let (found, log_sums) = attention_kept(&card, &mine, (s > 0).then_some(&seen), heads, f).unwrap();
            let (by_own, by_other) = (zeros(&card, own.len()), zeros(&card, other.len()));
            let kept = Found {
                values: &found,
                log_sums: &log_sums,
                slopes: &dy_there,
            };
            // Twice: slopes are added to what is there.
            for _ in 0..2 {
                let seen = (s > 0).then_some((&seen, &by_other));
                attention_back(&card, (&mine, &by_own), seen, (heads, f), &kept).unwrap();
            }
            let (mut want_own, mut want_other) = (Vec::new(), Vec::new());
            for i in 0..samples {
                let [by_own, by_other] = twin::attention_back(
                    &wide(&own[i * t * packed..][..t * packed]),
                    &wide(&other[i * s * packed..][..s * packed]),
                    &wide(&dy[i * t * heads * f..][..t * heads * f]),
                    heads,
                    f,
                );
                want_own.extend(by_own.iter().map(|v| 2.0 * v));
                want_other.extend(by_other.iter().map(|v| 2.0 * v));
            }
            error = error.max(worst_of(&card.get(&by_own).unwrap(), &want_own));
            if s > 0 {
                error = error.max(worst_of(&card.get(&by_other).unwrap(), &want_other));
            }
            cases += 2;
        }
    }
    // Weights and slopes of scores travel as bf16 between products.
    report(
        "attention_queries, attention_keys, attention_deltas",
        cases,
        error,
        2.0 * BF16,
    );
}

#[test]
fn norms_of_queries_and_keys() {
    let (mut error, mut cases) = (0f32, 0);
    for card in cards() {
        let mut noise = Noise(24);
        for (rows, heads, f) in [(1, 1, 32), (5, 3, 64), (3, 5, 96), (2, 2, 128)] {
            let x = noise.halves(rows * 3 * heads * f);
            let dy = noise.many(x.len());
            let there = card.put(&x).unwrap();
            let rates = qk_norm_kept(&card, &there, heads, f, EPSILON).unwrap();
            let found = qk_norm_back(&card, (&there, &rates), &card.put(&dy).unwrap(), (heads, f)).unwrap();
            let want = twin::qk_norm_back(&wide(&x), &dy, heads, f, f64::from(EPSILON));
            error = error.max(worst(&wide(&card.get(&found).unwrap()), &want));
            cases += 1;
        }
    }
    report("qk_norm_back", cases, error, BF16);
}
