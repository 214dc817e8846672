//! Which texture around the hole belongs where in it: patch correspondence at the model's size.
//!
//! The fill alternates between finding, for every patch that touches the hole, the most similar one that does not
//! (PatchMatch: Barnes et al., 2009), and letting all patches that cover a pixel vote for it (Wexler et al., 2007), from
//! a quarter of the model's size up. It starts from the model's background, so structure follows the model. What
//! leaves here are offsets and their cost; the pixels are fetched at the plate's resolution.

use super::noise::Noise;
use crate::{Plane, Rgb};

/// Patches are `2 RADIUS + 1` pixels on a side.
const RADIUS: usize = 3;

/// Rounds of search and vote at each level, the coarsest first.
const ROUNDS: [usize; 3] = [4, 3, 2];

/// Sweeps of PatchMatch in a round.
const SWEEPS: usize = 4;

/// How much a difference in the amount of detail counts against one in colour.
const GRAIN: f32 = 3.0;

/// What a match costs more for every pixel (at its level, relative to the picture's longer side) that it lies away: what is
/// near is more likely to be the same thing.
const FAR: f32 = 0.1;

/// Passes in which neighbours come to agree on where to look, and how much an agreeing neighbour is worth, in parts of
/// the usual cost.
const PASSES: usize = 6;
const AGREEMENT: f32 = 0.3;

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

/// A picture at one scale, and where each patch that touches the hole has its match.
struct Level {
    width: usize,
    height: usize,
    /// Encoded RGB and the amount of detail times [`GRAIN`], with a border of [`RADIUS`] repeated pixels.
    pixels: Vec<[f32; 4]>,
    hole: Vec<bool>,
    usable: Vec<bool>,
    /// Pixels whose patch touches the hole, in reading order; empty until the search starts.
    targets: Vec<usize>,
    /// For each pixel, its match; only those of targets count.
    matched: Vec<usize>,
    /// Squared difference of the two patches.
    costs: Vec<f32>,
}

impl Level {
    fn new(
        picture: &Rgb,
        grain: &Plane,
        (width, height): (usize, usize),
        hole: Vec<bool>,
        usable: Vec<bool>,
    ) -> Level {
        let stride = width + 2 * RADIUS;
        let inside = |v: usize, n: usize| v.saturating_sub(RADIUS).min(n - 1);
        let pixels = (0..stride * (height + 2 * RADIUS))
            .map(|i| (inside(i % stride, width), inside(i / stride, height)))
            .map(|(x, y)| {
                [
                    picture[0].at(x, y),
                    picture[1].at(x, y),
                    picture[2].at(x, y),
                    GRAIN * grain.at(x, y),
                ]
            })
            .collect();
        let n = width * height;
        Level {
            width,
            height,
            pixels,
            hole,
            usable,
            targets: Vec::new(),
            matched: vec![0; n],
            costs: vec![0.0; n],
        }
    }

    /// At half the size: means of 2 x 2 pixels; in the hole where any of them is.
    fn halved(&self) -> Level {
        let (width, height) = (self.width / 2, self.height / 2);
        let four = |at: usize| {
            let first = at / width * 2 * self.width + at % width * 2;
            [first, first + 1, first + self.width, first + self.width + 1]
        };
        let mean = |c: usize, scale: f32| Plane {
            width,
            height,
            values: (0..width * height)
                .map(|at| {
                    0.25 * scale
                        * four(at)
                            .iter()
                            .map(|&i| self.pixels[self.padded(i)][c])
                            .sum::<f32>()
                })
                .collect(),
        };
        let (picture, grain) = ([mean(0, 1.0), mean(1, 1.0), mean(2, 1.0)], mean(3, 1.0 / GRAIN));
        let hole = (0..width * height)
            .map(|at| four(at).iter().any(|&i| self.hole[i]))
            .collect();
        let usable = (0..width * height)
            .map(|at| four(at).iter().all(|&i| self.usable[i]))
            .collect();
        Level::new(&picture, &grain, (width, height), hole, usable)
    }

    /// Where a pixel lies in `pixels`.
    fn padded(&self, at: usize) -> usize {
        (at / self.width + RADIUS) * (self.width + 2 * RADIUS) + at % self.width + RADIUS
    }

    /// Whether every pixel of the patch around `at` satisfies `test`; patches that leave the picture do not.
    fn patch_all(&self, at: usize, test: impl Fn(usize) -> bool) -> bool {
        let (x, y) = (at % self.width, at / self.width);
        let fits = x >= RADIUS && y >= RADIUS && x + RADIUS < self.width && y + RADIUS < self.height;
        fits && (y - RADIUS..=y + RADIUS).all(|y| (x - RADIUS..=x + RADIUS).all(|x| test(y * self.width + x)))
    }

    fn is_source(&self, at: usize) -> bool {
        self.usable[at] && self.patch_all(at, |i| self.usable[i] && !self.hole[i])
    }

    /// Lists the targets and gives each a first match: the coarser level's, or a random one.
    fn start(&mut self, sources: &[usize], coarser: Option<&Level>, noise: &mut Noise) {
        let touches = |at: usize| {
            let (x, y) = (at % self.width, at / self.width);
            (y.saturating_sub(RADIUS)..(y + RADIUS + 1).min(self.height)).any(|y| {
                let row = y * self.width;
                self.hole[row + x.saturating_sub(RADIUS)..row + (x + RADIUS + 1).min(self.width)]
                    .contains(&true)
            })
        };
        self.targets = (0..self.hole.len()).filter(|&at| touches(at)).collect();
        for &at in &self.targets {
            let (x, y) = (at % self.width, at / self.width);
            let inherited = coarser.filter(|c| !c.targets.is_empty()).and_then(|c| {
                let (cx, cy) = ((x / 2).min(c.width - 1), (y / 2).min(c.height - 1));
                let from = c.matched[cy * c.width + cx];
                let (sx, sy) = (2 * (from % c.width) + x % 2, 2 * (from / c.width) + y % 2);
                let source = sy * self.width + sx;
                (c.costs[cy * c.width + cx] > 0.0
                    && sx < self.width
                    && sy < self.height
                    && self.is_source(source))
                .then_some(source)
            });
            self.matched[at] = inherited.unwrap_or_else(|| sources[noise.below(sources.len())]);
        }
    }

    fn remoteness(&self, from: usize, to: usize) -> f32 {
        let place = |at: usize| ((at % self.width) as f32, (at / self.width) as f32);
        let ((x, y), (u, v)) = (place(from), place(to));
        FAR * (x - u).hypot(y - v) / self.width.max(self.height) as f32
    }

    /// Squared difference of the patches around two pixels, and what their distance costs; stops early past `limit`.
    fn difference(&self, from: usize, to: usize, limit: f32) -> f32 {
        let stride = self.width + 2 * RADIUS;
        let corner = |at: usize| self.padded(at) - RADIUS * stride - RADIUS;
        let (a, b) = (corner(from), corner(to));
        let mut total = self.remoteness(from, to);
        for dy in 0..=2 * RADIUS {
            let row = |start: usize| &self.pixels[start + dy * stride..][..2 * RADIUS + 1];
            let mut sum = [0.0f32; 4];
            for (p, q) in row(a).iter().zip(row(b)) {
                for c in 0..4 {
                    let off = p[c] - q[c];
                    sum[c] += off * off;
                }
            }
            total += sum[0] + sum[1] + sum[2] + sum[3];
            if total > limit {
                return f32::INFINITY;
            }
        }
        total
    }

    /// PatchMatch: matches spread to neighbours, and are sought at random in ever smaller windows.
    fn search(&mut self, noise: &mut Noise) {
        for i in 0..self.targets.len() {
            let at = self.targets[i];
            self.costs[at] = self.difference(at, self.matched[at], f32::MAX);
        }
        let is_source: Vec<bool> = (0..self.usable.len()).map(|at| self.is_source(at)).collect();
        let mut is_target = vec![false; self.hole.len()];
        self.targets.iter().for_each(|&at| is_target[at] = true);
        for sweep in 0..SWEEPS {
            let forward = sweep % 2 == 0;
            for i in 0..self.targets.len() {
                let at = self.targets[if forward { i } else { self.targets.len() - 1 - i }];
                let (x, y) = ((at % self.width) as isize, (at / self.width) as isize);
                let back = if forward { -1 } else { 1 };
                for (dx, dy) in [(back, 0), (0, back)] {
                    let Some(neighbour) = self.index(x + dx, y + dy).filter(|&n| is_target[n]) else {
                        continue;
                    };
                    let from = self.matched[neighbour];
                    let shifted = self.index(
                        (from % self.width) as isize - dx,
                        (from / self.width) as isize - dy,
                    );
                    self.consider(at, shifted, &is_source);
                }
                let mut window = self.width.max(self.height) as isize / 2;
                while window >= 1 {
                    let from = self.matched[at];
                    let mut jump = || noise.below(2 * window as usize + 1) as isize - window;
                    let (dx, dy) = (jump(), jump());
                    let to = self.index(
                        (from % self.width) as isize + dx,
                        (from / self.width) as isize + dy,
                    );
                    self.consider(at, to, &is_source);
                    window /= 2;
                }
            }
        }
    }

    /// Lets neighbouring targets take over each other's offset where that costs little.
    ///
    /// Where a guess is smooth, the best match of all its patches is the same few pixels, again and again; texture
    /// lies in patches that were neighbours at their source as well.
    fn agree(&mut self) {
        let worth = AGREEMENT * self.usual_cost();
        let is_source: Vec<bool> = (0..self.usable.len()).map(|at| self.is_source(at)).collect();
        let mut is_target = vec![false; self.hole.len()];
        self.targets.iter().for_each(|&at| is_target[at] = true);
        for pass in 0..PASSES {
            for i in 0..self.targets.len() {
                let at = self.targets[if pass % 2 == 0 {
                    i
                } else {
                    self.targets.len() - 1 - i
                }];
                let (x, y) = ((at % self.width) as isize, (at / self.width) as isize);
                // Where each neighbour's offset leads from here.
                let shifted = [(-1, 0), (0, -1), (1, 0), (0, 1)].map(|(dx, dy)| {
                    let neighbour = self.index(x + dx, y + dy).filter(|&n| is_target[n])?;
                    let from = self.matched[neighbour];
                    self.index(
                        (from % self.width) as isize - dx,
                        (from / self.width) as isize - dy,
                    )
                });
                let votes = |to: usize| shifted.iter().filter(|&&s| s == Some(to)).count() as f32 * worth;
                for to in shifted.into_iter().flatten() {
                    let own = self.matched[at];
                    if to == own || !is_source[to] || votes(to) <= votes(own) {
                        continue;
                    }
                    let limit = self.costs[at] + votes(to) - votes(own);
                    let cost = self.difference(at, to, limit);
                    if cost < limit {
                        (self.matched[at], self.costs[at]) = (to, cost);
                    }
                }
            }
        }
    }

    /// A cost that three in five matches keep below.
    fn usual_cost(&self) -> f32 {
        let mut costs: Vec<f32> = self.targets.iter().map(|&at| self.costs[at]).collect();
        costs.sort_by(f32::total_cmp);
        costs.get(costs.len() * 3 / 5).copied().unwrap_or(0.0) + 1e-4
    }

    fn index(&self, x: isize, y: isize) -> Option<usize> {
        let inside = x >= 0 && y >= 0 && x < self.width as isize && y < self.height as isize;
        inside.then_some(y as usize * self.width + x as usize)
    }

    fn consider(&mut self, at: usize, source: Option<usize>, is_source: &[bool]) {
        let Some(source) = source.filter(|&s| is_source[s] && s != self.matched[at]) else {
            return;
        };
        let cost = self.difference(at, source, self.costs[at]);
        if cost < self.costs[at] {
            (self.matched[at], self.costs[at]) = (source, cost);
        }
    }

    /// Every pixel of the hole becomes the mean of what the patches over it say, better matches counting more.
    fn vote(&mut self) {
        let usual = self.usual_cost();
        let (reach, width) = (RADIUS as isize, self.width as isize);
        let mut sums = vec![[0.0f32; 4]; self.hole.len()];
        for &at in &self.targets {
            let weight = (-self.costs[at] / (2.0 * usual)).exp() + 1e-4;
            let (x, y) = (at as isize % width, at as isize / width);
            for dy in -reach..=reach {
                for dx in -reach..=reach {
                    let Some(to) = self.index(x + dx, y + dy).filter(|&to| self.hole[to]) else {
                        continue;
                    };
                    // A source's whole patch lies inside the picture.
                    let pixel =
                        self.pixels[self.padded((self.matched[at] as isize + dy * width + dx) as usize)];
                    for c in 0..3 {
                        sums[to][c] += weight * pixel[c];
                    }
                    sums[to][3] += weight;
                }
            }
        }
        for (at, sum) in sums.into_iter().enumerate().filter(|(_, sum)| sum[3] > 0.0) {
            let padded = self.padded(at);
            let grain = self.pixels[padded][3];
            self.pixels[padded] = [sum[0] / sum[3], sum[1] / sum[3], sum[2] / sum[3], grain];
        }
    }

    fn matches(&self) -> Matches {
        let mut offsets = vec![(0, 0); self.hole.len()];
        let mut costs = Plane::filled(self.width, self.height, f32::INFINITY);
        let samples = (3 * (2 * RADIUS + 1) * (2 * RADIUS + 1)) as f32;
        let column = |at: usize| (at % self.width) as i32;
        let row = |at: usize| (at / self.width) as i32;
        for &at in self.targets.iter().filter(|&&at| self.hole[at]) {
            let to = self.matched[at];
            offsets[at] = (column(to) - column(at), row(to) - row(at));
            costs.values[at] = self.costs[at] / samples;
        }
        Matches { offsets, costs }
    }
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
