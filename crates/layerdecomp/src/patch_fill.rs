//! Filling a hole with patches of what is around it: keeps texture, and goes on with lines, where push-pull blurs.
//!
//! The algorithm of Wexler, Shechtman and Irani (2007), which image editors ship, with the nearest patches found by PatchMatch (Barnes
//! et al. 2009): from coarse to fine, every 7 x 7 patch that overlaps the hole looks for the most similar patch that does not, then each
//! pixel of the hole becomes the weighted mean of what the patches over it propose, several times a level. The start is push-pull filling.

use candle_core::Tensor;

use crate::fill::{dilated, taps};
use crate::{Error, Result, push_pull};

const COLOURS: usize = 3;
type Colour = [f32; COLOURS];

/// Patches reach so far around their centre.
const RADIUS: usize = 3;
const SIDE: usize = 2 * RADIUS + 1;
/// Short side of the coarsest level, at least.
const COARSEST: usize = 20;
/// Rounds of search and vote on the coarsest level; each finer one has one less, down to the least. Of held-out pictures at 128 pixels no more
/// rounds and no second pass came nearer to the truth, for four times the time.
const MOST_ROUNDS: usize = 4;
const LEAST_ROUNDS: usize = 2;
/// Squared difference a value at which a patch's vote weighs 1/e.
const SOFTNESS: f32 = 0.01;

/// Fills `values` (N, 3, H, W; display light) where `mask` (N, 1, H, W; 0..1) is above one half, by patches of the same picture. The hole
/// is widened by `dilate` pixels (a square) first; outside it values stay, to the bit. Where no whole patch lies outside the hole, the
/// filling is push-pull's. The same picture is filled the same way in any batch.
///
/// # Errors
/// If shapes disagree.
pub fn patch_fill(values: &Tensor, mask: &Tensor, dilate: usize) -> Result<Tensor> {
    let (n, channels, h, w) = values.dims4()?;
    if mask.dims() != [n, 1, h, w] || channels != COLOURS {
        return Err(Error::Shape {
            what: "picture and mask of the patch filling",
            expected: format!("[{n}, {COLOURS}, {h}, {w}] and {:?}", [n, 1, h, w]),
            found: [values.dims(), mask.dims()].concat(),
        });
    }
    if n * h * w == 0 {
        return Ok(values.clone());
    }
    let interleaved = values
        .detach()
        .permute((0, 2, 3, 1))?
        .flatten_all()?
        .to_vec1::<f32>()?;
    let masks = mask.detach().flatten_all()?.to_vec1::<f32>()?;
    let mut out = Vec::with_capacity(interleaved.len());
    for (pixels, mask) in std::iter::zip(
        interleaved.chunks_exact(h * w * COLOURS),
        masks.chunks_exact(h * w),
    ) {
        let hole = dilated(mask, h, w, dilate).iter().map(|m| *m > 0.5).collect();
        let picture = Picture {
            width: w,
            height: h,
            pixels: pixels.as_chunks().0.to_vec(),
            hole,
        };
        out.extend(picture.filled(values)?.into_iter().flatten());
    }
    let out = Tensor::from_vec(out, (n, h, w, COLOURS), values.device())?;
    Ok(out.permute((0, 3, 1, 2))?.contiguous()?)
}

/// A picture with a hole at one resolution.
struct Picture {
    width: usize,
    height: usize,
    pixels: Vec<Colour>,
    hole: Vec<bool>,
}

impl Picture {
    /// `like` says where tensors live.
    fn filled(self, like: &Tensor) -> Result<Vec<Colour>> {
        if !self.hole.contains(&true) {
            return Ok(self.pixels);
        }
        let mut levels = vec![self];
        while let Some(last) = levels.last()
            && last.width.min(last.height) >= 2 * COARSEST
        {
            levels.push(last.halved());
        }
        let mut coarser: Option<(Picture, Matches)> = None;
        let mut rounds = MOST_ROUNDS;
        while let Some(mut picture) = levels.pop() {
            let start = match &coarser {
                Some((coarse, _)) => coarse.doubled(picture.width, picture.height),
                None => picture.smooth(like)?,
            };
            for (pixel, start) in std::iter::zip(&mut picture.pixels, start)
                .zip(&picture.hole)
                .filter_map(|(pair, hole)| hole.then_some(pair))
            {
                *pixel = start;
            }
            let mut level = Level::new(picture);
            let matches = level.fill(coarser.as_ref().map(|(_, m)| m), rounds);
            coarser = Some((level.picture, matches));
            rounds = rounds.saturating_sub(1).max(LEAST_ROUNDS);
        }
        Ok(coarser.map_or_else(Vec::new, |(picture, _)| picture.pixels))
    }

    /// Half as large. Only what is known is averaged: light from under the hole must not leak into its rim.
    fn halved(&self) -> Self {
        let (width, height) = (self.width.div_ceil(2), self.height.div_ceil(2));
        let mut pixels = Vec::with_capacity(width * height);
        let mut hole = Vec::with_capacity(width * height);
        for y in 0..height {
            for x in 0..width {
                let rows = 2 * y..(2 * y + 2).min(self.height);
                let block =
                    rows.flat_map(|y| (2 * x..(2 * x + 2).min(self.width)).map(move |x| y * self.width + x));
                let (mut sum, mut known, mut all) = ([0f32; COLOURS], 0, 0);
                for at in block {
                    all += 1;
                    if !self.hole[at] {
                        known += 1;
                        sum = std::array::from_fn(|c| sum[c] + self.pixels[at][c]);
                    }
                }
                pixels.push(sum.map(|v| v / (known.max(1) as f32)));
                hole.push(2 * known < all);
            }
        }
        Self {
            width,
            height,
            pixels,
            hole,
        }
    }

    /// Bilinear, twice as large, or one less where this is half of an odd size.
    fn doubled(&self, width: usize, height: usize) -> Vec<Colour> {
        let mut out = Vec::with_capacity(width * height);
        for y in 0..height {
            let (near, far) = taps(y, self.height);
            for x in 0..width {
                let (a, b) = taps(x, self.width);
                let at = |y: usize, x: usize| self.pixels[y * self.width + x];
                let (na, nb, fa, fb) = (at(near, a), at(near, b), at(far, a), at(far, b));
                out.push(std::array::from_fn(|c| {
                    0.75 * (0.75 * na[c] + 0.25 * nb[c]) + 0.25 * (0.75 * fa[c] + 0.25 * fb[c])
                }));
            }
        }
        out
    }

    /// Push-pull over the hole.
    fn smooth(&self, like: &Tensor) -> Result<Vec<Colour>> {
        let shape = (1, self.height, self.width, COLOURS);
        let picture = Tensor::from_vec(self.pixels.as_flattened().to_vec(), shape, like.device())?;
        let mask: Vec<f32> = self.hole.iter().map(|h| f32::from(*h)).collect();
        let mask = Tensor::from_vec(mask, (1, 1, self.height, self.width), like.device())?;
        let filled = push_pull(&picture.permute((0, 3, 1, 2))?, &mask, 0)?;
        let values = filled.permute((0, 2, 3, 1))?.flatten_all()?.to_vec1::<f32>()?;
        Ok(values.as_chunks().0.to_vec())
    }
}

/// The best source found for each target, as centres.
struct Matches {
    width: usize,
    height: usize,
    /// One entry a pixel; only those of targets mean something, and none is 0.
    source: Vec<usize>,
    cost: Vec<f32>,
}

/// One resolution.
struct Level {
    picture: Picture,
    /// Centres of patches that overlap the hole, row by row.
    targets: Vec<usize>,
    is_target: Vec<bool>,
    /// Centres of patches that do not.
    sources: Vec<usize>,
    is_source: Vec<bool>,
}

impl Level {
    fn new(picture: Picture) -> Self {
        let (width, height, count) = (picture.width, picture.height, picture.pixels.len());
        let mut level = Self {
            targets: Vec::new(),
            is_target: vec![false; count],
            sources: Vec::new(),
            is_source: vec![false; count],
            picture,
        };
        for y in RADIUS..height.saturating_sub(RADIUS) {
            for x in RADIUS..width.saturating_sub(RADIUS) {
                let at = y * width + x;
                let overlaps =
                    (0..SIDE).any(|dy| level.picture.hole[patch_row(at, width, dy)].contains(&true));
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

    /// Searches and votes.
    fn fill(&mut self, coarse: Option<&Matches>, rounds: usize) -> Matches {
        let (width, height, count) = (self.picture.width, self.picture.height, self.picture.pixels.len());
        let mut found = Matches {
            width,
            height,
            source: vec![0; count],
            cost: vec![0.0; count],
        };
        if self.sources.is_empty() {
            return found;
        }
        self.start(coarse, &mut found);
        for round in 0..rounds {
            self.search(&mut found, round);
            self.vote(&found);
        }
        found
    }

    /// Offsets of the coarser level, doubled, where there is one; otherwise anything.
    fn start(&self, coarse: Option<&Matches>, found: &mut Matches) {
        let width = self.picture.width;
        let mut random = Random::new(width as u64);
        for &target in &self.targets {
            let (x, y) = (target % width, target / width);
            let from_coarse = coarse.and_then(|c| {
                let at = (y / 2).min(c.height - 1) * c.width + (x / 2).min(c.width - 1);
                let found = c.source[at];
                let at = (2 * (found / c.width) + y % 2) * width + 2 * (found % c.width) + x % 2;
                (found > 0 && self.is_source.get(at) == Some(&true)).then_some(at)
            });
            found.source[target] =
                from_coarse.unwrap_or_else(|| self.sources[random.below(self.sources.len())]);
        }
    }

    /// Sum of squared differences of two patches; at least `limit` once it is reached.
    fn cost(&self, a: usize, b: usize, limit: f32) -> f32 {
        let width = self.picture.width;
        let mut sum = 0.0;
        for dy in 0..SIDE {
            let row = |centre: usize| self.picture.pixels[patch_row(centre, width, dy)].as_flattened();
            let squares = std::iter::zip(row(a), row(b)).map(|(a, b)| (a - b) * (a - b));
            sum += squares.sum::<f32>();
            if sum >= limit {
                break;
            }
        }
        sum
    }

    /// A pass of PatchMatch, after which `found` has the costs as the picture is: sources of neighbours, shifted, and random ones at shrinking distances.
    fn search(&self, found: &mut Matches, round: usize) {
        let (width, height) = (self.picture.width, self.picture.height);
        let mut random = Random::new(((round as u64 + 1) << 32) | width as u64);
        for &target in &self.targets {
            found.cost[target] = self.cost(target, found.source[target], f32::INFINITY);
        }
        let forward = round.is_multiple_of(2);
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
                let mut near = |at: usize, n: usize| {
                    (at as f32 + reach * (2.0 * random.unit() - 1.0)).clamp(0.0, (n - 1) as f32) as usize
                };
                let (x, y) = (near(around % width, width), near(around / width, height));
                around = consider(y * width + x);
                reach *= 0.5;
            }
            (found.cost[target], found.source[target]) = best;
        }
    }

    /// Each pixel of the hole becomes the mean of what the patches over it propose.
    fn vote(&mut self, found: &Matches) {
        let width = self.picture.width;
        let mut sums = vec![[0f32; COLOURS + 1]; self.picture.pixels.len()];
        for &target in &self.targets {
            let source = found.source[target];
            let values = (COLOURS * SIDE * SIDE) as f32;
            let weight = (-found.cost[target] / values / SOFTNESS).exp().max(1e-6);
            for dy in 0..SIDE {
                let to = &mut sums[patch_row(target, width, dy)];
                for (sum, [r, g, b]) in to
                    .iter_mut()
                    .zip(&self.picture.pixels[patch_row(source, width, dy)])
                {
                    *sum = [
                        sum[0] + weight * r,
                        sum[1] + weight * g,
                        sum[2] + weight * b,
                        sum[3] + weight,
                    ];
                }
            }
        }
        let hole = self.picture.hole.iter();
        for ((pixel, hole), [r, g, b, weight]) in self.picture.pixels.iter_mut().zip(hole).zip(sums) {
            if *hole && weight > 0.0 {
                *pixel = [r / weight, g / weight, b / weight];
            }
        }
    }
}

/// Where row `dy` of the patch around `centre` lies.
fn patch_row(centre: usize, width: usize, dy: usize) -> std::ops::Range<usize> {
    let start = centre + dy * width - RADIUS * width - RADIUS;
    start..start + SIDE
}

/// Numbers that follow from a key alone (SplitMix64 over a counter; Steele et al. 2014).
struct Random(u64);

impl Random {
    fn new(key: u64) -> Self {
        Self(key.wrapping_mul(0xD134_2543_DE82_EF95))
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// 0..1
    fn unit(&mut self) -> f32 {
        (self.next() >> 40) as f32 / (1u64 << 24) as f32
    }

    /// 0..`n`, which is not 0.
    fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;

    fn tensor(c: usize, h: usize, w: usize, at: impl Fn(usize, usize, usize) -> f32) -> Tensor {
        let mut values = Vec::with_capacity(c * h * w);
        for c in 0..c {
            for y in 0..h {
                values.extend((0..w).map(|x| at(c, x, y)));
            }
        }
        Tensor::from_vec(values, (1, c, h, w), &Device::Cpu).unwrap()
    }

    fn flat(t: &Tensor) -> Vec<f32> {
        t.flatten_all().unwrap().to_vec1().unwrap()
    }

    /// Stripes of eight pixels with a smooth tint.
    fn stripes(c: usize, x: usize, y: usize) -> f32 {
        let stripe = if (x + 2 * y) % 8 < 4 { 0.7 } else { 0.3 };
        [stripe, stripe * 0.9, 0.4 + 0.001 * x as f32][c]
    }

    #[test]
    fn texture_goes_on_through_the_hole() {
        let in_hole = |x: usize, y: usize| (38..60).contains(&x) && (30..50).contains(&y);
        let truth = tensor(3, 80, 96, stripes);
        let mask = tensor(1, 80, 96, |_, x, y| f32::from(in_hole(x, y)));
        let broken = tensor(3, 80, 96, |c, x, y| {
            if in_hole(x, y) {
                [1.0, 0.0, 0.0][c]
            } else {
                stripes(c, x, y)
            }
        });
        let error = |filled: &Tensor| {
            let squares = (filled - &truth).unwrap().sqr().unwrap();
            squares.sum_all().unwrap().to_scalar::<f32>().unwrap()
        };
        let filled = patch_fill(&broken, &mask, 0).unwrap();
        let smooth = push_pull(&broken, &mask, 0).unwrap();
        assert!(
            error(&filled) < 0.25 * error(&smooth),
            "{} {}",
            error(&filled),
            error(&smooth)
        );
        for (i, (a, b)) in std::iter::zip(flat(&filled), flat(&truth)).enumerate() {
            let (x, y) = (i % 96, i / 96 % 80);
            assert!(in_hole(x, y) || a.to_bits() == b.to_bits());
        }
        // Beside another picture it is filled the same.
        let other = tensor(3, 80, 96, |c, x, y| stripes(2 - c, y, x));
        let both = patch_fill(
            &Tensor::cat(&[&other, &broken], 0).unwrap(),
            &Tensor::cat(&[&mask, &mask], 0).unwrap(),
            0,
        )
        .unwrap();
        assert_eq!(flat(&both.narrow(0, 1, 1).unwrap()), flat(&filled));
    }

    #[test]
    fn a_widened_hole_hides_its_rim() {
        let plain = tensor(3, 40, 40, |c, _, _| 0.2 * (c + 1) as f32);
        let mask = tensor(1, 40, 40, |_, x, y| {
            f32::from((15..25).contains(&x) && (15..25).contains(&y))
        });
        let rimmed = tensor(3, 40, 40, |c, x, y| {
            let rim = (13..27).contains(&x) && (13..27).contains(&y);
            if rim { 0.0 } else { 0.2 * (c + 1) as f32 }
        });
        let filled = flat(&patch_fill(&rimmed, &mask, 2).unwrap());
        assert!(std::iter::zip(filled, flat(&plain)).all(|(a, b)| (a - b).abs() < 1e-5));
    }

    #[test]
    fn holes_without_surroundings_pictures_without_holes_and_small_ones() {
        for (h, w) in [(24, 24), (1, 1), (3, 50), (41, 17), (128, 96)] {
            let picture = tensor(3, h, w, stripes);
            let none = tensor(1, h, w, |_, _, _| 0.5);
            assert_eq!(flat(&patch_fill(&picture, &none, 2).unwrap()), flat(&picture));
            for mask in [
                tensor(1, h, w, |_, _, _| 1.0),
                tensor(1, h, w, |_, x, _| f32::from(3 * x < w)),
            ] {
                let filled = flat(&patch_fill(&picture, &mask, 0).unwrap());
                assert!(filled.iter().all(|v| (-1e-4..=1.0).contains(v)), "{h}x{w}");
            }
        }
        let grey = tensor(1, 8, 8, |_, _, _| 0.5);
        assert!(
            patch_fill(&grey, &grey, 0)
                .unwrap_err()
                .to_string()
                .contains("patch filling")
        );
    }
}
