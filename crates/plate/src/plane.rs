//! One channel of a picture in memory; the solver's small pictures are made of these.

use rayon::prelude::*;

/// A channel: `values[y * width + x]`.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Plane {
    /// Columns.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// Row-major, `width * height` of them.
    pub values: Vec<f32>,
}

/// Red, green and blue.
pub type Rgb = [Plane; 3];

/// Red, green, blue and alpha.
pub type Rgba = [Plane; 4];

impl Plane {
    /// A plane of one value.
    pub fn filled(width: usize, height: usize, value: f32) -> Plane {
        Plane {
            width,
            height,
            values: vec![value; width * height],
        }
    }

    /// A plane whose value at (x, y) is `f(x, y)`; rows are computed in parallel.
    pub fn from_fn(width: usize, height: usize, f: impl Fn(usize, usize) -> f32 + Sync) -> Plane {
        let mut plane = Plane::filled(width, height, 0.0);
        plane.for_rows(|y, row| row.iter_mut().enumerate().for_each(|(x, v)| *v = f(x, y)));
        plane
    }

    /// Width and height.
    pub fn size(&self) -> (usize, usize) {
        (self.width, self.height)
    }

    /// The value at (x, y), which must lie inside.
    pub fn at(&self, x: usize, y: usize) -> f32 {
        self.values[y * self.width + x]
    }

    /// The value at (x, y), the border repeated outside.
    pub(crate) fn clamped(&self, x: isize, y: isize) -> f32 {
        let inside = |v: isize, n: usize| v.clamp(0, n as isize - 1) as usize;
        self.at(inside(x, self.width), inside(y, self.height))
    }

    /// One row.
    pub(crate) fn row(&self, y: usize) -> &[f32] {
        &self.values[y * self.width..(y + 1) * self.width]
    }

    /// Each row in turn, in parallel.
    pub(crate) fn for_rows(&mut self, f: impl Fn(usize, &mut [f32]) + Sync) {
        if self.width > 0 {
            self.values
                .par_chunks_mut(self.width)
                .enumerate()
                .for_each(|(y, row)| f(y, row));
        }
    }

    /// With `f` applied to every value.
    pub(crate) fn map(&self, f: impl Fn(f32) -> f32) -> Plane {
        Plane {
            values: self.values.iter().map(|&v| f(v)).collect(),
            ..*self
        }
    }

    /// With `f` applied to every pair of values of two planes of one size.
    pub(crate) fn zip(&self, other: &Plane, f: impl Fn(f32, f32) -> f32) -> Plane {
        debug_assert_eq!(self.size(), other.size());
        let values = self
            .values
            .iter()
            .zip(&other.values)
            .map(|(&a, &b)| f(a, b))
            .collect();
        Plane { values, ..*self }
    }
}

/// A place between four values of a plane, for bilinear interpolation.
#[derive(Clone, Copy)]
pub(crate) struct Between {
    /// The upper left one, and how far the place lies from it.
    x: (isize, f32),
    y: (isize, f32),
}

impl Between {
    /// The middle of a pixel, for planes each of whose values stands for a square of `cell` pixels.
    pub fn cells(cell: usize, x: usize, y: usize) -> Between {
        let place = |v: usize| {
            let at = (v as f32 + 0.5) / cell as f32 - 0.5;
            let first = at.floor();
            (first as isize, at - first)
        };
        Between {
            x: place(x),
            y: place(y),
        }
    }

    /// The value of a plane there, its border repeated outside.
    pub fn of(&self, plane: &Plane) -> f32 {
        let ((x, u), (y, v)) = (self.x, self.y);
        let line = |y: isize| {
            let (a, b) = (plane.clamped(x, y), plane.clamped(x + 1, y));
            a + (b - a) * u
        };
        line(y) + (line(y + 1) - line(y)) * v
    }
}
