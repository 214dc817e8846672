//! A large plane that has one value nearly everywhere.

use crate::Plane;

/// A plane of which only a part is kept: everywhere else it has one value. What it costs grows with the part.
pub(crate) struct Inset {
    /// The part.
    pub part: Plane,
    /// Column of the whole at which the part begins.
    pub left: usize,
    /// Row of the whole at which the part begins.
    pub top: usize,
    /// The value outside the part.
    pub rest: f32,
}

impl Inset {
    /// Values of row `y` of the whole from column `x0` on, as many as `out` holds.
    pub fn row(&self, y: usize, x0: usize, out: &mut [f32]) {
        out.fill(self.rest);
        if y < self.top || y >= self.top + self.part.height {
            return;
        }
        let (first, last) = (
            x0.max(self.left),
            (x0 + out.len()).min(self.left + self.part.width),
        );
        if first < last {
            let own = &self.part.row(y - self.top)[first - self.left..last - self.left];
            out[first - x0..last - x0].copy_from_slice(own);
        }
    }

    /// The whole plane, at this size.
    pub fn whole(&self, width: usize, height: usize) -> Plane {
        let mut whole = Plane::filled(width, height, self.rest);
        whole.for_rows(|y, row| self.row(y, 0, row));
        whole
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_part_lies_in_its_place() {
        let inset = Inset {
            part: Plane::from_fn(3, 2, |x, y| (10 * y + x) as f32),
            left: 2,
            top: 1,
            rest: -1.0,
        };
        let whole = inset.whole(6, 4);
        let rows: Vec<&[f32]> = (0..4).map(|y| whole.row(y)).collect();
        assert_eq!(rows[0], [-1.0; 6]);
        assert_eq!(rows[1], [-1.0, -1.0, 0.0, 1.0, 2.0, -1.0]);
        assert_eq!(rows[2], [-1.0, -1.0, 10.0, 11.0, 12.0, -1.0]);
        assert_eq!(rows[3], [-1.0; 6]);
        for (x0, wanted) in [(3, [11.0, 12.0]), (1, [-1.0, 10.0]), (0, [-1.0, -1.0])] {
            let mut out = [0.0; 2];
            inset.row(2, x0, &mut out);
            assert_eq!(out, wanted);
        }
    }
}
