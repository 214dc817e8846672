//! A picture as patches, at one scale.

use super::noise::Noise;
use super::texture::Matches;
use crate::{Plane, Rgb, region};

/// Patches are `2 RADIUS + 1` pixels on a side.
pub(super) const RADIUS: usize = 3;

/// How much a difference in the amount of detail counts against one in colour.
const GRAIN: f32 = 3.0;

/// What a match costs more for every pixel (at its level, relative to the picture's longer side) that it lies away: what is
/// near is more likely to be the same thing.
const FAR: f32 = 0.1;

/// How fast belief in what is guessed fades with every pixel from the hole's border: `exp(-DOUBT)` is 1 / 1.7.
const DOUBT: f32 = 0.53;

/// Pixels past which nothing is deeper.
const DEEPEST: usize = 24;

/// The row or column of a picture with `n` of them that one of its padded form shows.
fn inside(padded: usize, n: usize) -> usize {
    padded.saturating_sub(RADIUS).min(n - 1)
}

/// A picture at one scale, and where each patch that touches the hole has its match.
pub(super) struct Level {
    /// Columns.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// Encoded RGB and the amount of detail times [`GRAIN`], with a border of [`RADIUS`] repeated pixels.
    pub pixels: Vec<[f32; 4]>,
    /// Pixels to be filled.
    pub hole: Vec<bool>,
    /// Pixels that texture may come from.
    pub usable: Vec<bool>,
    /// How far each pixel is to be believed when patches are compared, 0 to 1; laid out as `pixels` are.
    pub belief: Vec<f32>,
    /// What a target's difference is multiplied with, so that little belief does not make it small.
    scales: Vec<f32>,
    /// Pixels whose patch touches the hole, in reading order; empty until the search starts.
    pub targets: Vec<usize>,
    /// For each pixel, its match; only those of targets count.
    pub matched: Vec<usize>,
    /// Squared difference of the two patches.
    pub costs: Vec<f32>,
}

impl Level {
    /// From planes of one size; nothing is matched yet.
    pub fn new(
        picture: &Rgb,
        grain: &Plane,
        (width, height): (usize, usize),
        hole: Vec<bool>,
        usable: Vec<bool>,
    ) -> Level {
        let stride = width + 2 * RADIUS;
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
            belief: vec![1.0; stride * (height + 2 * RADIUS)],
            targets: Vec::new(),
            matched: vec![0; n],
            costs: vec![0.0; n],
            scales: vec![1.0; n],
        }
    }

    /// At half the size: means of 2 x 2 pixels; in the hole where any of them is.
    pub fn halved(&self) -> Level {
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

    /// Believes what lies in the hole the less the further it is from the hole's border: what is seen there has to spread inwards,
    /// and what is only guessed must not hold it up.
    pub fn doubt(&mut self) {
        let known = Plane {
            width: self.width,
            height: self.height,
            values: self.hole.iter().map(|&hole| f32::from(!hole)).collect(),
        };
        let depth = region::distance(&known, 0.5, DEEPEST);
        let stride = self.width + 2 * RADIUS;
        for (i, belief) in self.belief.iter_mut().enumerate() {
            let (x, y) = (i % stride, i / stride);
            let (column, row) = (inside(x, self.width), inside(y, self.height));
            let at = row * self.width + column;
            let repeated = (column + RADIUS, row + RADIUS) != (x, y);
            *belief = if repeated && self.hole[at] {
                // The border repeats what was guessed first, for good.
                0.0
            } else {
                (-DOUBT * depth.values[at]).exp()
            };
        }
        let side = 2 * RADIUS + 1;
        for at in 0..self.hole.len() {
            let corner = self.padded(at) - RADIUS * stride - RADIUS;
            let rows = (0..side).map(|dy| &self.belief[corner + dy * stride..][..side]);
            self.scales[at] = (side * side) as f32 / rows.flatten().sum::<f32>();
        }
    }

    /// Colours of the level.
    pub fn picture(&self) -> Rgb {
        std::array::from_fn(|c| Plane {
            width: self.width,
            height: self.height,
            values: (0..self.hole.len())
                .map(|at| self.pixels[self.padded(at)][c])
                .collect(),
        })
    }

    /// Where a pixel lies in `pixels`.
    pub fn padded(&self, at: usize) -> usize {
        (at / self.width + RADIUS) * (self.width + 2 * RADIUS) + at % self.width + RADIUS
    }

    /// Whether every pixel of the patch around `at` satisfies `test`; patches that leave the picture do not.
    fn patch_all(&self, at: usize, test: impl Fn(usize) -> bool) -> bool {
        let (x, y) = (at % self.width, at / self.width);
        let fits = x >= RADIUS && y >= RADIUS && x + RADIUS < self.width && y + RADIUS < self.height;
        fits && (y - RADIUS..=y + RADIUS).all(|y| (x - RADIUS..=x + RADIUS).all(|x| test(y * self.width + x)))
    }

    /// Whether a patch may be copied: all of it exists, is usable, and none of it is hole.
    pub fn is_source(&self, at: usize) -> bool {
        self.usable[at] && self.patch_all(at, |i| self.usable[i] && !self.hole[i])
    }

    /// The patches that may be copied, in reading order.
    pub fn sources(&self) -> Vec<usize> {
        (0..self.usable.len()).filter(|&at| self.is_source(at)).collect()
    }

    /// Lists the targets and gives each a first match: the coarser level's, or a random one.
    pub fn start(&mut self, sources: &[usize], coarser: Option<&Level>, noise: &mut Noise) {
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

    /// What a match costs for its distance.
    fn remoteness(&self, from: usize, to: usize) -> f32 {
        let place = |at: usize| ((at % self.width) as f32, (at / self.width) as f32);
        let ((x, y), (u, v)) = (place(from), place(to));
        FAR * (x - u).hypot(y - v) / self.width.max(self.height) as f32
    }

    /// Squared difference of the patches around two pixels, as if all of it was believed, and what their distance costs; stops early
    /// past `limit`.
    pub fn difference(&self, from: usize, to: usize, limit: f32) -> f32 {
        let stride = self.width + 2 * RADIUS;
        let corner = |at: usize| self.padded(at) - RADIUS * stride - RADIUS;
        let (a, b) = (corner(from), corner(to));
        let row = |start: usize, dy: usize| start + dy * stride..start + dy * stride + 2 * RADIUS + 1;
        let mut total = self.remoteness(from, to);
        for dy in 0..=2 * RADIUS {
            let (p, q) = (&self.pixels[row(a, dy)], &self.pixels[row(b, dy)]);
            let mut sum = [0.0f32; 4];
            for ((p, q), belief) in p.iter().zip(q).zip(&self.belief[row(a, dy)]) {
                for c in 0..4 {
                    let off = p[c] - q[c];
                    sum[c] += belief * (off * off);
                }
            }
            total += self.scales[from] * (sum[0] + sum[1] + sum[2] + sum[3]);
            if total > limit {
                return f32::INFINITY;
            }
        }
        total
    }

    /// The pixel at (x, y), where there is one.
    pub fn index(&self, x: isize, y: isize) -> Option<usize> {
        let inside = x >= 0 && y >= 0 && x < self.width as isize && y < self.height as isize;
        inside.then_some(y as usize * self.width + x as usize)
    }

    /// Offsets and costs of the hole's pixels.
    pub fn matches(&self) -> Matches {
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
