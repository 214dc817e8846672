//! How far from a pixel is what hides the background in a frame.
//!
//! A shadow ends in a penumbra that no model sees to its end. A frame that shows a pixel beside the shadow it has found shows it a
//! little too dark; one in which the shadow is far away does not. So among frames that show a pixel the clear ones are preferred, in
//! [`LEVELS`] of a few reaches each.

use crate::plane::Between;
use crate::{Plane, region};

/// Levels above the lowest, which asks for nothing.
pub(super) const LEVELS: usize = 3;

/// The clearance of the first level, in reaches; of each next it is twice that of the one before.
const FIRST: f32 = 2.0;

/// The least width in pixels over which a level begins.
const FADE: f32 = 4.0;

/// The clearance in pixels at which a level begins.
fn begins(level: usize, reach: f32) -> f32 {
    match level {
        0 => 0.0,
        _ => FIRST * reach * (1 << (level - 1)) as f32,
    }
}

/// How far a clearance has come into a level, 0 to 1; wholly into the lowest.
pub(super) fn share(clear: f32, level: usize, reach: f32) -> f32 {
    if level == 0 {
        return 1.0;
    }
    ((clear - begins(level, reach)) / reach.max(FADE)).clamp(0.0, 1.0)
}

/// The highest level that a clearance has come into.
pub(super) fn level(clear: f32, reach: f32) -> usize {
    (1..=LEVELS)
        .rev()
        .find(|&level| clear > begins(level, reach))
        .unwrap_or(0)
}

/// Distance from what hides the background over a region, on cells of half a reach.
pub(super) struct Clearance {
    cell: usize,
    cells: Plane,
}

impl Clearance {
    /// Of a region `width` wide in which the background is visible as far as `shows` says.
    pub fn new(width: usize, shows: &[f32], reach: f32) -> Clearance {
        let cell = ((reach / 2.0) as usize).max(1);
        let height = shows.len().checked_div(width).unwrap_or(0);
        let mut hidden = Plane::filled(width.div_ceil(cell), height.div_ceil(cell), 0.0);
        let columns = hidden.width;
        for (y, row) in shows.chunks_exact(width.max(1)).enumerate() {
            for (x, _) in row.iter().enumerate().filter(|&(_, &shows)| shows < 1.0) {
                hidden.values[y / cell * columns + x / cell] = 1.0;
            }
        }
        // As far as the highest level is begun.
        let most = begins(LEVELS, reach) + reach.max(FADE);
        let radius = (most / cell as f32).ceil() as usize + 1;
        let cells = region::distance(&hidden, 0.5, radius).map(|d| d * cell as f32);
        Clearance { cell, cells }
    }

    /// In pixels, at a column and row; cut off above the highest level.
    pub fn at(&self, x: usize, y: usize) -> f32 {
        Between::cells(self.cell, x, y).of(&self.cells)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clearance_grows_away_from_what_hides() {
        let (width, height, reach) = (120, 60, 5.0);
        let shows: Vec<f32> = (0..width * height).map(|i| f32::from(i % width >= 10)).collect();
        let clearance = Clearance::new(width, &shows, reach);
        let mut before = -1.0;
        for x in 10..45 {
            let clear = clearance.at(x, 30);
            let truth = (x - 9) as f32;
            assert!((clear - truth).abs() <= 2.5, "{clear} for {truth}");
            assert!(clear >= before);
            before = clear;
        }
        assert_eq!(level(clearance.at(5, 30), reach), 0);
        assert_eq!(level(clearance.at(119, 30), reach), LEVELS);
        let levels = [0.0, 11.0, 21.0, 41.0].map(|clear| level(clear, reach));
        assert_eq!(levels, [0, 1, 2, 3]);
        // The highest level can be come into wholly.
        assert_eq!(share(clearance.at(119, 30), LEVELS, reach), 1.0);
    }
}
