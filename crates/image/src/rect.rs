//! Integer boxes in pixel space: x to the right, y down, as in OpenEXR, but half-open.

use std::fmt;

/// A half-open box of pixels: `x0 <= x < x1`, `y0 <= y < y1`.
///
/// OpenEXR's windows are inclusive; `peel-io` converts. Any box with `x1 <= x0` or `y1 <= y0` is empty,
/// and all empty boxes made by this type's operations equal [`Rect::EMPTY`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Rect {
    /// First column.
    pub x0: i32,
    /// First row.
    pub y0: i32,
    /// One past the last column.
    pub x1: i32,
    /// One past the last row.
    pub y1: i32,
}

impl Rect {
    /// The box that holds nothing.
    pub const EMPTY: Rect = Rect {
        x0: 0,
        y0: 0,
        x1: 0,
        y1: 0,
    };

    /// A box from its corners; [`Rect::EMPTY`] where they are in the wrong order.
    pub fn new(x0: i32, y0: i32, x1: i32, y1: i32) -> Rect {
        if x1 <= x0 || y1 <= y0 {
            Rect::EMPTY
        } else {
            Rect { x0, y0, x1, y1 }
        }
    }

    /// The box of this size with its corner at the origin. Sizes past `i32::MAX` are cut off there.
    pub fn of_size(width: u32, height: u32) -> Rect {
        let edge = |n: u32| i32::try_from(n).unwrap_or(i32::MAX);
        Rect::new(0, 0, edge(width), edge(height))
    }

    /// Columns.
    pub fn width(&self) -> usize {
        if self.is_empty() {
            0
        } else {
            (i64::from(self.x1) - i64::from(self.x0)) as usize
        }
    }

    /// Rows.
    pub fn height(&self) -> usize {
        if self.is_empty() {
            0
        } else {
            (i64::from(self.y1) - i64::from(self.y0)) as usize
        }
    }

    /// Pixels; never overflows, since both sides fit in 32 bits.
    pub fn area(&self) -> u64 {
        self.width() as u64 * self.height() as u64
    }

    /// Whether it holds no pixel.
    pub fn is_empty(&self) -> bool {
        self.x1 <= self.x0 || self.y1 <= self.y0
    }

    /// Whether the pixel (x, y) lies inside.
    pub fn contains(&self, x: i32, y: i32) -> bool {
        x >= self.x0 && x < self.x1 && y >= self.y0 && y < self.y1
    }

    /// Whether every pixel of `other` lies inside.
    pub fn encloses(&self, other: Rect) -> bool {
        other.is_empty() || self.intersect(other) == other
    }

    /// The pixels in both.
    pub fn intersect(&self, other: Rect) -> Rect {
        Rect::new(
            self.x0.max(other.x0),
            self.y0.max(other.y0),
            self.x1.min(other.x1),
            self.y1.min(other.y1),
        )
    }

    /// The smallest box around both.
    pub fn union(&self, other: Rect) -> Rect {
        if self.is_empty() {
            return if other.is_empty() { Rect::EMPTY } else { other };
        }
        if other.is_empty() {
            return *self;
        }
        Rect::new(
            self.x0.min(other.x0),
            self.y0.min(other.y0),
            self.x1.max(other.x1),
            self.y1.max(other.y1),
        )
    }

    /// Grown (or shrunk, where negative) by `by` pixels on every side; an empty box stays empty.
    pub fn grow(&self, by: i32) -> Rect {
        if self.is_empty() {
            return Rect::EMPTY;
        }
        Rect::new(
            self.x0.saturating_sub(by),
            self.y0.saturating_sub(by),
            self.x1.saturating_add(by),
            self.y1.saturating_add(by),
        )
    }

    /// Moved by (dx, dy).
    pub fn translate(&self, dx: i32, dy: i32) -> Rect {
        if self.is_empty() {
            return Rect::EMPTY;
        }
        Rect::new(
            self.x0.saturating_add(dx),
            self.y0.saturating_add(dy),
            self.x1.saturating_add(dx),
            self.y1.saturating_add(dy),
        )
    }

    /// The rows `[y0, y1)` of this box.
    pub fn rows(&self, y0: i32, y1: i32) -> Rect {
        self.intersect(Rect {
            x0: self.x0,
            y0,
            x1: self.x1,
            y1,
        })
    }

    /// Cut into bands of at most `rows` rows, top to bottom.
    pub fn bands(&self, rows: usize) -> impl Iterator<Item = Rect> + use<> {
        let whole = *self;
        let step = rows.clamp(1, i32::MAX as usize);
        (0..whole.height()).step_by(step).map(move |offset| {
            let y0 = i64::from(whole.y0) + offset as i64;
            let y1 = (y0 + step as i64).min(i64::from(whole.y1));
            Rect {
                x0: whole.x0,
                y0: y0 as i32,
                x1: whole.x1,
                y1: y1 as i32,
            }
        })
    }
}

impl fmt::Display for Rect {
    /// `1920x1080` at the origin, `1920x1080+16-8` elsewhere.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}x{}", self.width(), self.height())?;
        if (self.x0, self.y0) != (0, 0) {
            write!(f, "{:+}{:+}", self.x0, self.y0)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intersection_and_union_of_separate_boxes() {
        let a = Rect::new(0, 0, 4, 4);
        let b = Rect::new(6, 2, 9, 5);
        assert!(a.intersect(b).is_empty());
        assert_eq!(a.union(b), Rect::new(0, 0, 9, 5));
        assert_eq!(a.union(Rect::EMPTY), a);
    }

    #[test]
    fn bands_cover_every_row_once() {
        let r = Rect::new(-3, -5, 4, 12);
        let bands: Vec<_> = r.bands(6).collect();
        assert_eq!(bands.iter().map(Rect::area).sum::<u64>(), r.area());
        assert_eq!(bands.last(), Some(&Rect::new(-3, 7, 4, 12)));
        assert_eq!(Rect::EMPTY.bands(6).count(), 0);
    }

    #[test]
    fn extreme_boxes_do_not_overflow() {
        let r = Rect::new(i32::MIN, i32::MIN, i32::MAX, i32::MAX);
        assert_eq!(r.width(), u32::MAX as usize);
        assert_eq!(r.grow(5), r);
        assert!(r.encloses(Rect::new(0, 0, 1, 1)));
    }

    #[test]
    fn display_names_the_offset_only_where_there_is_one() {
        assert_eq!(Rect::of_size(640, 360).to_string(), "640x360");
        assert_eq!(Rect::new(-2, 3, 8, 13).to_string(), "10x10-2+3");
    }
}
