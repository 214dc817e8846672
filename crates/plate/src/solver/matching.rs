//! Searching for the most similar patches: PatchMatch (Barnes et al., 2009), agreement of neighbours, votes.

use super::noise::Noise;
use super::patches::{Level, RADIUS};

/// Sweeps of PatchMatch in a round.
const SWEEPS: usize = 4;

/// Passes in which neighbours come to agree on where to look, and how much an agreeing neighbour is worth, in parts of
/// the usual cost.
const PASSES: usize = 6;
const AGREEMENT: f32 = 0.3;

impl Level {
    /// Compares every target with every source.
    pub fn search_all(&mut self, sources: &[usize]) {
        for i in 0..self.targets.len() {
            let at = self.targets[i];
            let mut best = (f32::INFINITY, self.matched[at]);
            for &source in sources {
                let cost = self.difference(at, source, best.0);
                if cost < best.0 {
                    best = (cost, source);
                }
            }
            (self.costs[at], self.matched[at]) = best;
        }
    }

    /// PatchMatch: matches spread to neighbours, and are sought at random in ever smaller windows.
    pub fn search(&mut self, noise: &mut Noise) {
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
    pub fn agree(&mut self) {
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

    /// Takes `source` as the match of `at` where it is a better one.
    fn consider(&mut self, at: usize, source: Option<usize>, is_source: &[bool]) {
        let Some(source) = source.filter(|&s| is_source[s] && s != self.matched[at]) else {
            return;
        };
        let cost = self.difference(at, source, self.costs[at]);
        if cost < self.costs[at] {
            (self.matched[at], self.costs[at]) = (source, cost);
        }
    }

    /// Every pixel of the hole becomes the mean of what the patches over it say, better matches counting more, and those that are
    /// believed.
    pub fn vote(&mut self) {
        let usual = self.usual_cost();
        let (reach, width) = (RADIUS as isize, self.width as isize);
        let mut sums = vec![[0.0f32; 4]; self.hole.len()];
        for &at in &self.targets {
            let likely = (-self.costs[at] / (2.0 * usual)).exp() + 1e-4;
            let weight = likely * self.belief[self.padded(at)];
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
}
