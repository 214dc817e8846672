//! One frame's pixels in the light of another.

use peel_image::Pixel;

use crate::filters::gaussian;
use crate::plane::Between;
use crate::{Plane, pushpull};

/// Cells along the longer side of the region over which gains are measured.
const CELLS: usize = 48;

/// The least side of a cell, in pixels: in smaller ones grain counts.
const LEAST_CELL: usize = 6;

/// The share of a cell that must be known in both pictures.
const KNOWN: f32 = 0.3;

/// Linear light added on both sides of a ratio, so that black against black is 1.
const DIM: f32 = 0.004;

/// How far, in stops, a cell's gain may be from the median of all: past it something else has changed there than light.
const OFF: f32 = 0.3;

/// Standard deviation, in cells, of the smoothing of gains.
const SMOOTH: f32 = 2.0;

/// The most that light is raised or lowered, in stops.
const MOST: f32 = 2.0;

/// Gains in stops, per channel, over the cells of a region.
pub(super) struct Gains {
    cell: usize,
    stops: [Plane; 3],
}

impl Gains {
    /// What `seen` has to be multiplied with to be in the light of `known`, slowly varying, from where both are there.
    ///
    /// Both are pixels of one region `width` wide; `both` is above 0 where they show the same things. Gains are medians
    /// over all of the region within reason: a cell whose own gain is far off has a moving shadow in it, not other light.
    pub fn fit(width: usize, known: &[Pixel], seen: &[Option<Pixel>], both: impl Fn(usize) -> f32) -> Gains {
        let height = known.len().checked_div(width).unwrap_or(0);
        let cell = width.max(height).div_ceil(CELLS).max(LEAST_CELL);
        let (columns, rows) = (width.div_ceil(cell), height.div_ceil(cell));
        // Per cell: light known, light seen, pixels.
        let mut sums = vec![([0f64; 3], [0f64; 3], 0f32); columns * rows];
        for (i, (known, seen)) in known.iter().zip(seen).enumerate() {
            let Some(seen) = seen.filter(|_| both(i) >= 1.0) else {
                continue;
            };
            let sum = &mut sums[i / width / cell * columns + i % width / cell];
            for c in 0..3 {
                // What lies below black is grain.
                sum.0[c] += f64::from(known[c]);
                sum.1[c] += f64::from(seen[c]);
            }
            sum.2 += 1.0;
        }
        let area = (cell * cell) as f32;
        let enough: Vec<bool> = sums.iter().map(|sum| sum.2 >= KNOWN * area).collect();
        let ratio = |i: usize, c: usize| {
            let (known, seen, count) = &sums[i];
            let mean = |sum: f64| (sum / f64::from(*count)).max(0.0) as f32 + DIM;
            (mean(known[c]) / mean(seen[c])).log2()
        };
        let stops = std::array::from_fn(|c| {
            let mut all: Vec<f32> = (0..sums.len())
                .filter(|&i| enough[i])
                .map(|i| ratio(i, c))
                .collect();
            if all.is_empty() {
                return Plane::filled(columns, rows, 0.0);
            }
            let middle = all.len() / 2;
            let middle = *all.select_nth_unstable_by(middle, f32::total_cmp).1;
            let own = |x: usize, y: usize| {
                let i = y * columns + x;
                enough[i]
                    .then(|| ratio(i, c))
                    .filter(|r| (r - middle).abs() < OFF)
            };
            let weight = Plane::from_fn(columns, rows, |x, y| f32::from(own(x, y).is_some()));
            let values = Plane::from_fn(columns, rows, |x, y| own(x, y).unwrap_or(0.0));
            let spread = gaussian(&weight, SMOOTH);
            let smooth = gaussian(&values, SMOOTH).zip(&spread, |v, w| if w > 1e-3 { v / w } else { 0.0 });
            // Whatever lies beyond the smoothing's reach continues what is around it.
            let filled = pushpull::fill(&smooth, &spread.map(|w| f32::from(w > 0.05)));
            filled.map(|stops| stops.clamp(-MOST, MOST))
        });
        Gains { cell, stops }
    }

    /// The gain of each channel at a column and row of the region.
    pub fn at(&self, x: usize, y: usize) -> [f32; 3] {
        let between = Between::cells(self.cell, x, y);
        std::array::from_fn(|c| between.of(&self.stops[c]).exp2())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slow_changes_of_light_are_found_past_a_hole_and_a_moving_shadow() {
        let (width, height) = (200usize, 120usize);
        let texture = |x: usize, y: usize| 0.3 + 0.1 * (0.9 * x as f32).sin() * (0.7 * y as f32).cos();
        let light = |x: usize| 1.1 + 0.1 * x as f32 / 200.0;
        let hidden = |x: usize, y: usize| (60..120).contains(&x) && (30..80).contains(&y);
        let shadow = |x: usize| if x > 180 { 0.4 } else { 1.0 };
        let at = |i: usize| (i % width, i / width);
        let known: Vec<Pixel> = (0..width * height)
            .map(|i| {
                let (x, y) = at(i);
                let v = texture(x, y) * light(x) * shadow(x);
                [v, 1.2 * v, v, 1.0]
            })
            .collect();
        let seen: Vec<Option<Pixel>> = (0..width * height)
            .map(|i| {
                let (x, y) = at(i);
                Some([texture(x, y); 4])
            })
            .collect();
        let gains = Gains::fit(width, &known, &seen, |i| f32::from(!hidden(at(i).0, at(i).1)));
        for (x, y) in [(30, 60), (90, 55), (140, 20)] {
            let [r, g, _] = gains.at(x, y);
            assert!((r / light(x) - 1.0).abs() < 0.02, "{r} for {} at {x}", light(x));
            assert!((g / r / 1.2 - 1.0).abs() < 0.02);
        }
        let none = Gains::fit(width, &known, &seen, |_| 0.0);
        assert_eq!(none.at(50, 50), [1.0; 3]);
    }
}
