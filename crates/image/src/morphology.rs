//! Grey dilation by a disc, the engine of growing and shrinking mattes.

use std::ops::Range;

use crate::math::hypot;
use crate::{Matte, Rect};

/// A disc with a soft rim: height `clamp(radius + 1 - distance, 0, 1)`. At radius 0 it is a single pixel, at
/// whole radii an axis-aligned edge moves by exactly that many pixels, in between by a part of one.
struct Disc {
    radius: f64,
    /// Rows and columns from the centre that are touched.
    reach: i32,
}

/// One row of the disc: a flat part of height 1 up to `core` columns from the centre (-1: none), and the
/// rim's heights at the columns after it.
struct DiscRow {
    core: i32,
    rim: Vec<f32>,
}

impl Disc {
    fn new(radius: f64) -> Disc {
        // The rim is open at radius + 1: a whole radius does not reach the pixel there.
        Disc {
            radius,
            reach: (radius + 1.0).ceil() as i32 - 1,
        }
    }

    fn row(&self, dy: i32) -> DiscRow {
        let height =
            |dx: i32| (self.radius + 1.0 - hypot(f64::from(dx), f64::from(dy))).clamp(0.0, 1.0) as f32;
        let core = (0..=self.reach).take_while(|&dx| height(dx) == 1.0).count() as i32 - 1;
        let rim = (core + 1..=self.reach)
            .map(height)
            .take_while(|&h| h > 0.0)
            .collect();
        DiscRow { core, rim }
    }
}

/// For each pixel p of `window`: the maximum over all q of `matte(q) * disc(|p - q|)`. NaN counts as 0.
/// Cost: about ten passes over the matte a pixel of radius.
pub(crate) fn dilate(matte: &Matte, radius: f64, window: Rect) -> Matte {
    let disc = Disc::new(radius);
    let mut out = Matte::new(matte.display(), window);
    let covered = matte.tight_window(0.0);
    if covered.is_empty() || window.is_empty() {
        return out;
    }
    let rows: Vec<DiscRow> = (0..=disc.reach).map(|dy| disc.row(dy)).collect();
    let mut runs = Runs::new(disc.reach);
    for y in covered.y0..covered.y1 {
        let from = (covered.x0 - matte.data().x0) as usize;
        let row = &matte.row(y)[from..from + covered.width()];
        if !runs.load(row, covered.x0) {
            continue;
        }
        for dy in -disc.reach..=disc.reach {
            let target = y.saturating_add(dy);
            if target < window.y0 || target >= window.y1 {
                continue;
            }
            let disc_row = &rows[dy.unsigned_abs() as usize];
            let out_row = out.row_mut(target);
            if disc_row.core >= 0 {
                runs.raise_by_run(disc_row.core, window.x0, out_row);
            }
            for (dx, &height) in (disc_row.core + 1..).zip(&disc_row.rim) {
                runs.raise_shifted(dx, height, window.x0, out_row);
                if dx > 0 {
                    runs.raise_shifted(-dx, height, window.x0, out_row);
                }
            }
        }
    }
    out
}

/// A row of values and, above it, the maxima of its runs of 2, 4, 8.. pixels, so that the maximum of a run
/// of any length is the larger of two table entries.
struct Runs {
    /// `tables[j][i]`: the maximum of the `2^j` values that start at padded position i.
    tables: Vec<Vec<f32>>,
    /// Zeros on both sides of the row, so that runs may hang over its ends.
    padding: i32,
    /// The column of padded position 0.
    x0: i32,
}

impl Runs {
    fn new(reach: i32) -> Runs {
        let longest = 2 * reach as u32 + 1;
        Runs {
            tables: vec![Vec::new(); longest.ilog2() as usize + 1],
            padding: 2 * reach + 1,
            x0: 0,
        }
    }

    /// Takes a row that starts at column `x0`; whether there is anything in it.
    fn load(&mut self, row: &[f32], x0: i32) -> bool {
        if row.iter().all(|&v| v.is_nan() || v <= 0.0) {
            return false;
        }
        let padding = self.padding as usize;
        self.x0 = x0.saturating_sub(self.padding);
        let base = &mut self.tables[0];
        base.clear();
        base.resize(row.len() + 2 * padding, 0.0);
        for (to, &value) in base[padding..].iter_mut().zip(row) {
            *to = value.max(0.0);
        }
        for level in 1..self.tables.len() {
            let (below, above) = self.tables.split_at_mut(level);
            let (below, above) = (&below[level - 1], &mut above[0]);
            let step = 1 << (level - 1);
            above.clear();
            above.extend(below.iter().zip(&below[step..]).map(|(a, b)| a.max(*b)));
        }
        true
    }

    /// Raises `out` to the maximum of the values at most `core` columns away.
    fn raise_by_run(&self, core: i32, out_x0: i32, out: &mut [f32]) {
        let length = 2 * core as u32 + 1;
        let level = length.ilog2();
        let table = &self.tables[level as usize];
        // Position i of the table is the run [i, i + 2^level); the run around column x is [x - core, x + core].
        let second = &table[length as usize - (1 << level)..];
        let (from, to) = overlap(self.x0 + core, second.len(), out_x0, out.len());
        for ((out, a), b) in out[to].iter_mut().zip(&table[from.clone()]).zip(&second[from]) {
            *out = out.max(a.max(*b));
        }
    }

    /// Raises `out` to the row moved by `dx` and scaled by `height`.
    fn raise_shifted(&self, dx: i32, height: f32, out_x0: i32, out: &mut [f32]) {
        let values = &self.tables[0];
        let (from, to) = overlap(self.x0 + dx, values.len(), out_x0, out.len());
        for (out, value) in out[to].iter_mut().zip(&values[from]) {
            *out = out.max(value * height);
        }
    }
}

/// Where a row of `len` values from column `x0` on meets another: the same columns as positions in either.
fn overlap(x0: i32, len: usize, other_x0: i32, other_len: usize) -> (Range<usize>, Range<usize>) {
    let ahead = i64::from(other_x0) - i64::from(x0);
    let from = ahead.clamp(0, len as i64);
    let to = (-ahead).clamp(0, other_len as i64);
    let n = (len as i64 - from).min(other_len as i64 - to) as usize;
    (from as usize..from as usize + n, to as usize..to as usize + n)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn by_definition(matte: &Matte, radius: f64, window: Rect) -> Matte {
        Matte::from_fn(matte.display(), window, |x, y| {
            let mut best = 0.0f32;
            for v in matte.data().y0..matte.data().y1 {
                for u in matte.data().x0..matte.data().x1 {
                    let distance = hypot(f64::from(x - u), f64::from(y - v));
                    best = best.max(matte.get(u, v) * (radius + 1.0 - distance).clamp(0.0, 1.0) as f32);
                }
            }
            best
        })
    }

    proptest! {
        #[test]
        fn is_the_definition(
            values in prop::collection::vec(prop_oneof![2 => Just(0.0f32), 1 => 0.0f32..1.0, 1 => Just(1.0)], 35),
            radius in 0.0f64..5.0,
            whole in any::<bool>(),
        ) {
            let radius = if whole { radius.floor() } else { radius };
            let data = Rect::new(-2, 1, 5, 6);
            let matte = Matte::from_values(Rect::of_size(8, 8), data, values).unwrap();
            let window = data.grow(6).intersect(Rect::new(-7, -9, 9, 8));
            prop_assert_eq!(dilate(&matte, radius, window), by_definition(&matte, radius, window));
        }
    }
}
