//! Which texture around the hole belongs where in it: patch correspondence at the model's size.
//!
//! The search alternates between finding, for every patch that touches the hole, the most similar one that does not
//! ([`matching`](super::matching)), and letting all patches that cover a pixel vote for it (Wexler et al., 2007), from small
//! pictures to large ones. It either follows a guess, the model's background, or fills the hole from its surroundings alone. Offsets and
//! their costs leave here; the pixels are fetched at the plate's resolution.

use super::noise::Noise;
use super::patches::{Level, RADIUS};
use crate::{Plane, Rgb};

/// Rounds of search and vote at each level, the coarsest first, where the guess is to be followed.
const ROUNDS: [usize; 3] = [4, 3, 2];

/// The same where the hole is filled from what is around it alone; all levels after the last have as many as it.
const FILLING: [usize; 3] = [12, 5, 1];

/// With fewer patches than this to choose from, there is no texture to be found.
const FEWEST: usize = 60;

/// The same at a coarse level of filling, where shapes are settled and not texture.
const FEWEST_COARSE: usize = 20;

/// Targets times sources up to which all are compared.
const FEW: usize = 200_000;

/// For each pixel at the model's size, where its texture comes from.
pub(crate) struct Matches {
    /// Columns and rows to go to the matching pixel; (0, 0) outside the hole.
    pub offsets: Vec<(i32, i32)>,
    /// Mean squared difference of the two patches' encoded values; infinite outside the hole.
    pub costs: Plane,
}

/// A picture with a hole, at the model's size.
#[derive(Clone, Copy)]
pub(crate) struct Holed<'a> {
    /// Encoded values: what is seen outside the hole, a first guess inside.
    pub picture: &'a Rgb,
    /// The amount of detail around each pixel and finer than it, of which two patches that look alike may have very different amounts.
    pub grain: &'a Plane,
    /// The share of each pixel that is hidden: above 0 in the hole.
    pub hole: &'a Plane,
    /// Pixels that texture may come from.
    pub usable: &'a [bool],
}

impl Holed<'_> {
    /// At up to `most` sizes, the smallest first: halved as long as their shorter side keeps more than `least` pixels.
    fn levels(&self, most: usize, least: usize) -> Vec<Level> {
        let size = self.hole.size();
        let hole = self.hole.values.iter().map(|&h| h > 0.0).collect();
        let mut levels = vec![Level::new(
            self.picture,
            self.grain,
            size,
            hole,
            self.usable.to_vec(),
        )];
        while levels.len() < most && size.0.min(size.1) >> levels.len() > least {
            let half = levels[levels.len() - 1].halved();
            levels.push(half);
        }
        levels.reverse();
        levels
    }

    /// Finds texture for the hole that goes with the guess. The result depends on the seed, and on nothing else that changes.
    /// `None` where there is too little to choose from.
    pub fn follow(&self, seed: u64) -> Option<Matches> {
        let mut previous: Option<Level> = None;
        for (number, mut level) in self.levels(ROUNDS.len(), 8 * RADIUS).into_iter().enumerate() {
            let mut noise = noise(seed, number);
            let sources = level.sources();
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

    /// Fills the hole with patches from around it. The guess decides how the search starts, and is
    /// forgotten: what is known at the hole's border grows inwards, from small pictures to large ones.
    pub fn fill(&self, seed: u64) -> Option<Rgb> {
        let mut previous: Option<Level> = None;
        let levels = self.levels(usize::MAX, 2 * RADIUS + 1);
        let (last, mut settled) = (levels.len() - 1, 0);
        for (number, mut level) in levels.into_iter().enumerate() {
            let mut noise = noise(seed, number);
            let sources = level.sources();
            let fewest = if number == last { FEWEST } else { FEWEST_COARSE };
            if sources.len() >= fewest {
                level.doubt();
                level.start(&sources, previous.as_ref(), &mut noise);
                if settled > 0 {
                    level.vote();
                }
                for _ in 0..FILLING[settled.min(FILLING.len() - 1)] {
                    if level.targets.len() * sources.len() <= FEW {
                        level.search_all(&sources);
                    } else {
                        level.search(&mut noise);
                    }
                    level.agree();
                    level.vote();
                }
                settled += 1;
            }
            previous = Some(level);
        }
        previous
            .filter(|level| !level.targets.is_empty())
            .map(|level| level.picture())
    }
}

fn noise(seed: u64, level: usize) -> Noise {
    Noise::new(seed ^ ((level as u64 + 1) << 56))
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
        let usable = vec![true; 64 * 64];
        let holed = Holed {
            picture: &guess,
            grain: &even,
            hole: &hole,
            usable: &usable,
        };
        let matches = holed.follow(3).unwrap();
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
        assert_eq!(matches.offsets, holed.follow(3).unwrap().offsets);
    }

    #[test]
    fn nothing_to_choose_from() {
        let picture = stripes(32, 32);
        let hole = Plane::filled(32, 32, 1.0);
        let nothing = |hole: &Plane, usable: &[bool]| {
            let holed = Holed {
                picture: &picture,
                grain: hole,
                hole,
                usable,
            };
            assert!(holed.follow(0).is_none());
            assert!(holed.fill(0).is_none());
        };
        nothing(&hole, &[true; 1024]);
        let hole = Plane::from_fn(32, 32, |x, _| f32::from(x == 8));
        nothing(&hole, &[false; 1024]);
    }

    #[test]
    fn a_border_goes_on_through_a_hole_whatever_the_guess() {
        // Ground below, wall above, a hole over both, and a guess that is neither.
        let truth: Rgb = std::array::from_fn(|c| {
            Plane::from_fn(96, 64, |x, y| {
                if y < 30 {
                    0.6
                } else {
                    0.3 + 0.1 * (x / 4 % 2) as f32 + 0.02 * c as f32
                }
            })
        });
        let hole = Plane::from_fn(96, 64, |x, y| {
            f32::from((36..60).contains(&x) && (14..48).contains(&y))
        });
        let guess = truth
            .clone()
            .map(|p| p.zip(&hole, |v, h| if h > 0.0 { 0.45 } else { v }));
        let (even, usable) = (Plane::filled(96, 64, 0.1), vec![true; 96 * 64]);
        let holed = Holed {
            picture: &guess,
            grain: &even,
            hole: &hole,
            usable: &usable,
        };
        for seed in 0..3 {
            let filled = holed.fill(seed).unwrap();
            let (mut off, mut all) = (0.0, 0.0);
            for (i, &h) in hole.values.iter().enumerate() {
                if h > 0.0 {
                    off += (filled[1].values[i] - truth[1].values[i]).powi(2);
                    all += 1.0f32;
                } else {
                    assert_eq!(filled[1].values[i], truth[1].values[i]);
                }
            }
            let off = (off / all).sqrt();
            assert!(off < 0.03, "seed {seed}: off by {off}");
            assert_eq!(filled, holed.fill(seed).unwrap());
        }
    }
}
