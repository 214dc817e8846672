//! Where held-out cases come from: the pool's held-out split.

use super::{Case, Set};
use crate::data::pool::Pool;
use crate::data::rng::Rng;
use crate::data::{Sample, rendered, synthetic};

/// Seed of held-out composites; training never uses it.
const HELD_OUT_SEED: u64 = 0x4845_4C44;
const HELD_OUT_STREAM: u64 = 3;

/// `count` synthetic composites of held-out sources, and every held-out rendered triplet, at `size` pixels.
#[must_use]
pub fn held_out(pool: &Pool, count: usize, size: usize) -> Vec<Set> {
    let composite = |i: u64| {
        let mut rng = Rng::new(HELD_OUT_SEED, HELD_OUT_STREAM, i);
        case(format!("synthetic_{i:04}"), synthetic::draw(&mut rng, pool, size))
    };
    let synthetic = (0..count as u64).map(composite).collect();
    let rendered: Vec<Case> = pool
        .triplets
        .iter()
        .map(|t| case(format!("rendered_{}", t.name), rendered::plain(t, size)))
        .collect();
    let mut sets = vec![Set {
        name: "synthetic".into(),
        cases: synthetic,
    }];
    if !rendered.is_empty() {
        sets.push(Set {
            name: "rendered".into(),
            cases: rendered,
        });
    }
    sets
}

fn case(name: String, truth: Sample) -> Case {
    Case { name, truth }
}
