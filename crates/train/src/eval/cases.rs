//! Held-out cases: composites and traced scenes of held-out sources, and held-out renderings.

use std::cell::RefCell;

use super::{Case, Series, Set};
use crate::data::pool::Pool;
use crate::data::rng::Rng;
use crate::data::{Sample, rendered, synthetic, traced};
use crate::{Error, Result};

/// Seed of held-out composites; training never uses it.
const HELD_OUT_SEED: u64 = 0x4845_4C44;
const HELD_OUT_STREAM: u64 = 3;

/// Held-out composite `i` of `size` pixels.
fn composite(pool: &Pool, i: usize, size: usize) -> Case {
    let mut rng = Rng::new(HELD_OUT_SEED, HELD_OUT_STREAM, i as u64);
    Case::new(composite_name(i), synthetic::draw(&mut rng, pool, size))
}

fn composite_name(i: usize) -> String {
    format!("synthetic_{i:04}")
}

/// `count` synthetic composites of held-out sources, and every held-out rendered triplet, at `size` pixels, made when they are needed.
#[must_use]
pub fn held_out_series(pool: &Pool, count: usize, size: usize) -> Vec<Series<'_>> {
    let mut series = Vec::new();
    if count > 0 {
        let names = (0..count).map(composite_name).collect();
        series.push(Series::new("synthetic", names, move |i| {
            Ok(composite(pool, i, size))
        }));
    }
    if !pool.triplets.is_empty() {
        let names: Vec<String> = pool
            .triplets
            .iter()
            .map(|t| format!("rendered_{}", t.name))
            .collect();
        let load = {
            let names = names.clone();
            move |i: usize| {
                Ok(Case::new(
                    names[i].clone(),
                    rendered::plain(&pool.triplets[i], size),
                ))
            }
        };
        series.push(Series::new("rendered", names, load));
    }
    series
}

/// `count` traced scenes of held-out pictures at `size` pixels, rendered when they are needed.
#[must_use]
pub fn traced_series(pool: &Pool, count: usize, size: usize) -> Series<'_> {
    type Scenes<'a> = Box<dyn Iterator<Item = Sample> + 'a>;
    let names: Vec<String> = (0..count).map(|i| format!("traced_{i:04}")).collect();
    // Scenes come one after the other; only a second pass starts over.
    let scenes: RefCell<Option<(usize, Scenes<'_>)>> = RefCell::new(None);
    let load = {
        let names = names.clone();
        move |i: usize| {
            let mut at = scenes.borrow_mut();
            let (next, mut rest) = match at.take() {
                Some((next, rest)) if next <= i => (next, rest),
                _ => (0, Box::new(traced::held_out(pool, count, size)) as Scenes<'_>),
            };
            let sample = rest.nth(i - next).ok_or(Error::Data)?;
            *at = Some((i + 1, rest));
            Ok(Case::new(names[i].clone(), sample))
        }
    };
    Series::new("traced", names, load)
}

/// Synthetic and rendered cases, all in memory.
#[must_use]
pub fn held_out(pool: &Pool, count: usize, size: usize) -> Vec<Set> {
    let whole = |series: Series<'_>| -> Result<Set> {
        let cases = (0..series.names.len())
            .map(|i| series.case(i))
            .collect::<Result<_>>()?;
        Ok(Set {
            name: series.name.clone(),
            cases,
        })
    };
    // Cases of a pool are drawn, not read: none fails.
    held_out_series(pool, count, size)
        .into_iter()
        .filter_map(|s| whole(s).ok())
        .collect()
}
