//! A matte: one channel of coverage over a data window.

use crate::Rect;

/// Coverage, nominally 0 to 1. Outside the data window it is 0.
#[derive(Clone, PartialEq, Debug)]
pub struct Matte {
    display: Rect,
    data: Rect,
    /// Row-major over `data`.
    values: Vec<f32>,
}

impl Matte {
    /// An empty matte.
    pub fn new(display: Rect, data: Rect) -> Matte {
        let data = Rect::new(data.x0, data.y0, data.x1, data.y1);
        Matte {
            display,
            data,
            values: vec![0.0; data.area() as usize],
        }
    }

    /// A matte from its values, row-major over `data`; `None` where their count is not `data.area()`.
    pub fn from_values(display: Rect, data: Rect, values: Vec<f32>) -> Option<Matte> {
        (values.len() as u64 == data.area()).then_some(Matte {
            display,
            data,
            values,
        })
    }

    /// A matte whose value at (x, y) is `f(x, y)`.
    pub fn from_fn(display: Rect, data: Rect, mut f: impl FnMut(i32, i32) -> f32) -> Matte {
        let mut matte = Matte::new(display, data);
        for y in data.y0..data.y1 {
            for (x, value) in (data.x0..).zip(matte.row_mut(y)) {
                *value = f(x, y);
            }
        }
        matte
    }

    /// The frame that the matte is seen through.
    pub fn display(&self) -> Rect {
        self.display
    }

    /// The values that exist.
    pub fn data(&self) -> Rect {
        self.data
    }

    /// All values, row-major over the data window.
    pub fn values(&self) -> &[f32] {
        &self.values
    }

    /// All values, row-major over the data window.
    pub fn values_mut(&mut self) -> &mut [f32] {
        &mut self.values
    }

    /// The value at (x, y); 0 outside the data window.
    pub fn get(&self, x: i32, y: i32) -> f32 {
        if self.data.contains(x, y) {
            self.values[self.index(x, y)]
        } else {
            0.0
        }
    }

    /// The values of row `y`, `data().x0` first; empty outside the data window.
    pub fn row(&self, y: i32) -> &[f32] {
        if y < self.data.y0 || y >= self.data.y1 {
            return &[];
        }
        let start = self.index(self.data.x0, y);
        &self.values[start..start + self.data.width()]
    }

    /// The values of row `y`, `data().x0` first; empty outside the data window.
    pub fn row_mut(&mut self, y: i32) -> &mut [f32] {
        if y < self.data.y0 || y >= self.data.y1 {
            return &mut [];
        }
        let start = self.index(self.data.x0, y);
        let width = self.data.width();
        &mut self.values[start..start + width]
    }

    /// A copy whose data window is exactly `window`: cut off or padded with 0.
    pub fn crop(&self, window: Rect) -> Matte {
        let mut out = Matte::new(self.display, window);
        let common = window.intersect(self.data);
        for y in common.y0..common.y1 {
            let from = (common.x0 - self.data.x0) as usize;
            let to = (common.x0 - window.x0) as usize;
            let n = common.width();
            out.row_mut(y)[to..to + n].copy_from_slice(&self.row(y)[from..from + n]);
        }
        out
    }

    /// The smallest window that holds every value above `threshold` (NaN does not count).
    pub fn tight_window(&self, threshold: f32) -> Rect {
        let mut tight = Rect::EMPTY;
        for y in self.data.y0..self.data.y1 {
            let row = self.row(y);
            let covered = |&v: &f32| v > threshold;
            if let (Some(first), Some(last)) = (row.iter().position(covered), row.iter().rposition(covered)) {
                let x0 = self.data.x0;
                tight = tight.union(Rect::new(x0 + first as i32, y, x0 + last as i32 + 1, y + 1));
            }
        }
        tight
    }

    /// Bytes held by the values.
    pub fn bytes(&self) -> u64 {
        self.data.area() * size_of::<f32>() as u64
    }

    fn index(&self, x: i32, y: i32) -> usize {
        (y - self.data.y0) as usize * self.data.width() + (x - self.data.x0) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crop_and_tight_window() {
        let frame = Rect::of_size(6, 6);
        let matte = Matte::from_fn(frame, Rect::new(1, 1, 5, 5), |x, y| f32::from(x == 3 && y == 2));
        assert_eq!(matte.tight_window(0.0), Rect::new(3, 2, 4, 3));
        assert_eq!(matte.crop(frame).get(3, 2), 1.0);
        assert_eq!(matte.get(0, 0), 0.0);
    }
}
