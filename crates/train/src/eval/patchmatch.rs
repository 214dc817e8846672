//! Filling a hole with patches of what is around it: the classical baseline that keeps texture.
//!
//! The algorithm of Wexler, Shechtman and Irani (2007), which image editors ship, with the nearest patches found by PatchMatch (Barnes
//! et al. 2009): from coarse to fine, every 7 x 7 patch that overlaps the hole looks for the most similar patch that does not, then each
//! pixel of the hole becomes the weighted mean of what the patches over it propose, several times a level. The start is push-pull filling.

use candle_core::{Device, Tensor};

use crate::Result;
use crate::data::loader::planes;
use crate::data::raster::Raster;
use crate::data::rng::Rng;

/// Patches reach so far around their centre.
const RADIUS: usize = 3;
/// Short side of the coarsest level, at least.
const COARSEST: usize = 20;
/// Rounds of search and vote on the coarsest level; each finer one has two less, down to the least.
const MOST_ROUNDS: usize = 10;
const LEAST_ROUNDS: usize = 3;
/// Passes of PatchMatch a round.
const PASSES: usize = 2;
/// Squared difference a value at which a patch's vote weighs 1/e.
const SOFTNESS: f32 = 0.004;

/// The picture with its hole (mask above one half) filled. Without a single whole patch outside the hole: push-pull.
///
/// # Errors
/// If a tensor operation fails.
pub fn fill(picture: &Raster<3>, hole: &Raster<1>) -> Result<Raster<3>> {
    let mut levels = vec![(picture.clone(), binary(hole))];
    while let Some((picture, hole)) = levels.last()
        && picture.width.min(picture.height) >= 2 * COARSEST
    {
        let (width, height) = (picture.width.div_ceil(2), picture.height.div_ceil(2));
        let known = hole.map(|h| [1.0 - h[0]]);
        // Only what is known is averaged: light from under the hole must not leak into its rim.
        let light = picture
            .zip(&known, |p, k| p.map(|v| v * k[0]))
            .resized(width, height);
        let share = known.resized(width, height);
        let smaller = light.zip(&share, |p, k| p.map(|v| v / k[0].max(1e-3)));
        let hole = share.map(|k| [f32::from(k[0] < 0.5)]);
        levels.push((smaller, hole));
    }
    let mut filled: Option<Raster<3>> = None;
    let mut matches: Option<Matches> = None;
    let mut rounds = MOST_ROUNDS;
    while let Some((picture, hole)) = levels.pop() {
        let start = match &filled {
            Some(coarse) => coarse.resized(picture.width, picture.height),
            None => push_pull(&picture, &hole)?,
        };
        let mut current = picture.zip(&hole, |p, _| *p);
        for (i, pixel) in current.pixels.iter_mut().enumerate() {
            if hole.pixels[i][0] > 0.5 {
                *pixel = start.pixels[i];
            }
        }
        let mut level = Level::new(current, &hole);
        if !level.sources.is_empty() && !level.targets.is_empty() {
            let mut found = level.start(matches.as_ref());
            for round in 0..rounds {
                level.search(&mut found, round);
                level.vote(&found);
            }
            matches = Some(found);
        }
        filled = Some(level.picture);
        rounds = rounds.saturating_sub(2).max(LEAST_ROUNDS);
    }
    Ok(filled.unwrap_or_else(|| picture.clone()))
}

fn binary(mask: &Raster<1>) -> Raster<1> {
    mask.map(|m| [f32::from(m[0] > 0.5)])
}

/// Push-pull filling of the hole, with the plate where there is none.
///
/// # Errors
/// If a tensor operation fails.
pub fn push_pull(picture: &Raster<3>, hole: &Raster<1>) -> Result<Raster<3>> {
    let (width, height) = (picture.width, picture.height);
    let mut values = Vec::with_capacity(3 * width * height);
    planes(&picture.pixels, &mut values);
    let plate = Tensor::from_vec(values, (1, 3, height, width), &Device::Cpu)?;
    let mask: Vec<f32> = hole.pixels.iter().map(|m| m[0]).collect();
    let mask = Tensor::from_vec(mask, (1, 1, height, width), &Device::Cpu)?;
    let filled = peel_layerdecomp::push_pull(&plate, &mask, 0)?
        .flatten_all()?
        .to_vec1::<f32>()?;
    let mut out = picture.clone();
    for (i, pixel) in out.pixels.iter_mut().enumerate() {
        if hole.pixels[i][0] > 0.5 {
            *pixel = std::array::from_fn(|c| filled[c * width * height + i]);
        }
    }
    Ok(out)
}

/// The best source found for each target, as centres.
struct Matches {
    width: usize,
    height: usize,
    /// One entry a pixel; only those of targets mean something.
    source: Vec<usize>,
    cost: Vec<f32>,
}

/// One resolution.
struct Level {
    picture: Raster<3>,
    hole: Vec<bool>,
    /// Centres of patches that overlap the hole, row by row.
    targets: Vec<usize>,
    is_target: Vec<bool>,
    /// Centres of patches that do not.
    sources: Vec<usize>,
    is_source: Vec<bool>,
}

impl Level {
    fn new(picture: Raster<3>, hole: &Raster<1>) -> Self {
        let (width, height) = (picture.width, picture.height);
        let hole: Vec<bool> = hole.pixels.iter().map(|h| h[0] > 0.5).collect();
        let mut level = Self {
            targets: Vec::new(),
            is_target: vec![false; hole.len()],
            sources: Vec::new(),
            is_source: vec![false; hole.len()],
            picture,
            hole,
        };
        for y in RADIUS..height.saturating_sub(RADIUS) {
            for x in RADIUS..width.saturating_sub(RADIUS) {
                let at = y * width + x;
                let overlaps = (y - RADIUS..=y + RADIUS)
                    .any(|y| level.hole[y * width + x - RADIUS..=y * width + x + RADIUS].contains(&true));
                if overlaps {
                    level.targets.push(at);
                    level.is_target[at] = true;
                } else {
                    level.sources.push(at);
                    level.is_source[at] = true;
                }
            }
        }
        level
    }

    /// Offsets of the coarser level, doubled, where there is one; otherwise anything.
    fn start(&self, coarse: Option<&Matches>) -> Matches {
        let (width, height) = (self.picture.width, self.picture.height);
        let mut rng = Rng::new(1, 0, width as u64);
        let mut source = vec![0; width * height];
        for &target in &self.targets {
            let (x, y) = (target % width, target / width);
            let from_coarse = coarse.and_then(|c| {
                let at = (y / 2).min(c.height - 1) * c.width + (x / 2).min(c.width - 1);
                let found = c.source[at];
                let at = (2 * (found / c.width) + y % 2) * width + 2 * (found % c.width) + x % 2;
                (found > 0 && self.is_source.get(at) == Some(&true)).then_some(at)
            });
            source[target] = from_coarse.unwrap_or_else(|| self.sources[rng.below(self.sources.len())]);
        }
        Matches {
            width,
            height,
            source,
            cost: vec![0.0; width * height],
        }
    }

    /// Sum of squared differences of two patches; at least `limit` once it is reached.
    fn cost(&self, a: usize, b: usize, limit: f32) -> f32 {
        let width = self.picture.width;
        let mut sum = 0.0;
        for dy in 0..=2 * RADIUS {
            let row = |centre: usize| {
                let start = centre + dy * width - RADIUS * width - RADIUS;
                self.picture.pixels[start..=start + 2 * RADIUS].as_flattened()
            };
            sum += row(a)
                .iter()
                .zip(row(b))
                .map(|(a, b)| (a - b) * (a - b))
                .sum::<f32>();
            if sum >= limit {
                break;
            }
        }
        sum
    }

    /// PatchMatch: sources of neighbours, shifted, and random ones at shrinking distances.
    fn search(&self, found: &mut Matches, round: usize) {
        let (width, height) = (self.picture.width, self.picture.height);
        let mut rng = Rng::new(2, round as u64, width as u64);
        for &target in &self.targets {
            found.cost[target] = self.cost(target, found.source[target], f32::INFINITY);
        }
        for pass in 0..PASSES {
            let forward = (round * PASSES + pass).is_multiple_of(2);
            for n in 0..self.targets.len() {
                let target = self.targets[if forward { n } else { self.targets.len() - 1 - n }];
                let mut best = (found.cost[target], found.source[target]);
                let mut consider = |source: usize| {
                    if self.is_source.get(source) == Some(&true) && source != best.1 {
                        let cost = self.cost(target, source, best.0);
                        if cost < best.0 {
                            best = (cost, source);
                        }
                    }
                    best.1
                };
                for step in [1, width] {
                    let neighbour = if forward { target - step } else { target + step };
                    if self.is_target[neighbour] {
                        let of_neighbour = found.source[neighbour];
                        consider(if forward {
                            of_neighbour + step
                        } else {
                            of_neighbour.saturating_sub(step)
                        });
                    }
                }
                let mut reach = width.max(height) as f32;
                let mut around = found.source[target];
                while reach >= 1.0 {
                    let near = |at: usize, n: usize, u: f32| {
                        (at as f32 + reach * (2.0 * u - 1.0)).clamp(0.0, (n - 1) as f32) as usize
                    };
                    let x = near(around % width, width, rng.unit());
                    let y = near(around / width, height, rng.unit());
                    around = consider(y * width + x);
                    reach *= 0.5;
                }
                (found.cost[target], found.source[target]) = best;
            }
        }
    }

    /// Each pixel of the hole becomes the mean of what the patches over it propose.
    fn vote(&mut self, found: &Matches) {
        let width = self.picture.width;
        let mut sums = vec![[0f32; 4]; self.hole.len()];
        let values = (3 * (2 * RADIUS + 1) * (2 * RADIUS + 1)) as f32;
        for &target in &self.targets {
            let source = found.source[target];
            let weight = (-self.cost(target, source, f32::INFINITY) / values / SOFTNESS)
                .exp()
                .max(1e-6);
            for dy in 0..=2 * RADIUS {
                for dx in 0..=2 * RADIUS {
                    let at = |centre: usize| centre + dy * width + dx - RADIUS * width - RADIUS;
                    if self.hole[at(target)] {
                        let [r, g, b] = self.picture.pixels[at(source)];
                        let sum = &mut sums[at(target)];
                        *sum = [
                            sum[0] + weight * r,
                            sum[1] + weight * g,
                            sum[2] + weight * b,
                            sum[3] + weight,
                        ];
                    }
                }
            }
        }
        for (pixel, [r, g, b, weight]) in self.picture.pixels.iter_mut().zip(sums) {
            if weight > 0.0 {
                *pixel = [r / weight, g / weight, b / weight];
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Stripes of eight pixels with a smooth tint.
    fn stripes(x: usize, y: usize) -> [f32; 3] {
        let stripe = if (x + 2 * y) % 8 < 4 { 0.7 } else { 0.3 };
        [stripe, stripe * 0.9, 0.4 + 0.001 * x as f32]
    }

    #[test]
    fn texture_goes_on_through_the_hole() {
        let truth = Raster::from_fn(96, 80, stripes);
        let hole = Raster::from_fn(96, 80, |x, y| {
            [f32::from((38..60).contains(&x) && (30..50).contains(&y))]
        });
        let broken = truth.zip(&hole, |p, h| if h[0] > 0.5 { [1.0, 0.0, 0.0] } else { *p });
        let error = |filled: &Raster<3>| {
            let squares = std::iter::zip(&filled.pixels, &truth.pixels).map(|(a, b)| (a[0] - b[0]).powi(2));
            squares.sum::<f32>() / 440.0
        };
        let filled = fill(&broken, &hole).unwrap();
        let smooth = push_pull(&broken, &hole).unwrap();
        assert!(
            error(&filled) < 0.25 * error(&smooth),
            "{} {}",
            error(&filled),
            error(&smooth)
        );
        for (i, pixel) in filled.pixels.iter().enumerate() {
            assert!(hole.pixels[i][0] > 0.5 || *pixel == truth.pixels[i]);
        }
        assert_eq!(fill(&broken, &hole).unwrap(), filled);
    }

    #[test]
    fn holes_without_surroundings_and_pictures_without_holes() {
        let picture = Raster::from_fn(24, 24, stripes);
        let none = Raster::filled(24, 24, [0.0]);
        assert_eq!(fill(&picture, &none).unwrap(), picture);
        let all = Raster::filled(24, 24, [1.0]);
        assert!(
            fill(&picture, &all)
                .unwrap()
                .pixels
                .iter()
                .flatten()
                .all(|v| v.is_finite())
        );
        let edge = Raster::from_fn(24, 24, |x, _| [f32::from(x < 9)]);
        let filled = fill(&picture, &edge).unwrap();
        assert!(filled.pixels.iter().flatten().all(|v| (0.0..=1.0).contains(v)));
    }
}
