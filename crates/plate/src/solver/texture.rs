//! Which texture around the hole belongs where in it: patch correspondence at the model's size.
//!
//! The fill alternates between finding, for every patch that touches the hole, the most similar one that does not
//! ([`matching`](super::matching)), and letting all patches that cover a pixel vote for it (Wexler et al., 2007), from a
//! quarter of the model's size up. It starts from the model's background, so structure follows the model. What
//! leaves here are offsets and their cost; the pixels are fetched at the plate's resolution.

use super::noise::Noise;
use super::patches::{Level, RADIUS};
use crate::{Plane, Rgb};

/// Rounds of search and vote at each level, the coarsest first.
const ROUNDS: [usize; 3] = [4, 3, 2];

/// With fewer patches than this to choose from, there is no texture to be found.
const FEWEST: usize = 60;
/// For each pixel at the model's size, where its texture comes from.
pub(crate) struct Matches {
    /// Columns and rows to go to the matching pixel; (0, 0) outside the hole.
    pub offsets: Vec<(i32, i32)>,
    /// Mean squared difference of the two patches' encoded values; infinite outside the hole.
    pub costs: Plane,
}

/// Finds texture for the pixels in `hole` (share hidden, above 0) among the `usable` ones.
///
/// `picture` holds encoded values: what is seen outside the hole, a first guess inside; `grain` the amount of detail
/// around each pixel and finer than it, of which two patches that look alike may have very different amounts. The result depends on the
/// seed, and on nothing else that changes. `None` where there is too little to choose from.
pub(crate) fn find(
    picture: &Rgb,
    grain: &Plane,
    hole: &Plane,
    usable: &[bool],
    seed: u64,
) -> Option<Matches> {
    let size = hole.size();
    let mut levels = vec![Level::new(
        picture,
        grain,
        size,
        hole.values.iter().map(|&h| h > 0.0).collect(),
        usable.to_vec(),
    )];
    while levels.len() < ROUNDS.len() && size.0.min(size.1) >> levels.len() > 8 * RADIUS {
        let half = levels[levels.len() - 1].halved();
        levels.push(half);
    }
    levels.reverse();
    let mut previous: Option<Level> = None;
    for (number, mut level) in levels.into_iter().enumerate() {
        let mut noise = Noise::new(seed ^ ((number as u64 + 1) << 56));
        let sources: Vec<usize> = (0..level.usable.len())
            .filter(|&at| level.is_source(at))
            .collect();
        if sources.len() >= FEWEST {
            level.start(&sources, previous.as_ref(), &mut noise);
            for _ in 0..ROUNDS[number.min(ROUNDS.len() - 1)] {
                level.search(&mut noise);
                level.agree();
                level.vote();
            }
        }
        previous = Some(level);
    }
    previous
        .filter(|level| !level.targets.is_empty())
        .map(|level| level.matches())
}
#[cfg(test)]
mod tests {
    use super::*;

    fn stripes(width: usize, height: usize) -> Rgb {
        std::array::from_fn(|c| {
            Plane::from_fn(width, height, |x, y| {
                0.5 + 0.3 * ((x + c) % 6 / 3) as f32 + 0.001 * y as f32
            })
        })
    }

    #[test]
    fn a_pattern_is_continued_in_step() {
        let truth = stripes(64, 64);
        let hole = Plane::from_fn(64, 64, |x, y| {
            f32::from((24..40).contains(&x) && (24..40).contains(&y))
        });
        let even = Plane::filled(64, 64, 0.1);
        let guess = truth
            .clone()
            .map(|p| p.zip(&hole, |v, h| if h > 0.0 { 0.65 } else { v }));
        let matches = find(&guess, &even, &hole, &vec![true; 64 * 64], 3).unwrap();
        let (mut right, mut all) = (0, 0);
        for y in 24..40i32 {
            for x in 24..40i32 {
                let (dx, dy) = matches.offsets[(y * 64 + x) as usize];
                let (sx, sy) = ((x + dx) as usize, (y + dy) as usize);
                assert_eq!(hole.at(sx, sy), 0.0, "texture comes from outside the hole");
                right += i32::from((truth[0].at(sx, sy) - truth[0].at(x as usize, y as usize)).abs() < 0.1);
                all += 1;
            }
        }
        assert!(right * 10 > all * 9, "{right} of {all} pixels are in step");
        let again = find(&guess, &even, &hole, &vec![true; 64 * 64], 3).unwrap();
        assert_eq!(matches.offsets, again.offsets);
    }

    #[test]
    fn nothing_to_choose_from() {
        let hole = Plane::filled(32, 32, 1.0);
        assert!(find(&stripes(32, 32), &hole, &hole, &vec![true; 1024], 0).is_none());
        let hole = Plane::from_fn(16, 16, |x, _| f32::from(x == 8));
        assert!(find(&stripes(16, 16), &hole, &hole, &vec![false; 256], 0).is_none());
    }
}
