//! Polygons and ellipses as mattes, with the exact share of each pixel that they cover.

use std::f64::consts::TAU;

use crate::math::sin_cos_degrees;
use crate::{Matte, Rect};

/// The polygon through `points` (continuous coordinates, closed by itself), within the display window. Each
/// value is the covered area of its pixel. Outlines that cross themselves are filled by winding: parts that the
/// outline goes around twice count once, and a loop turned the other way cuts a hole. A point that is not
/// finite gives an empty matte.
pub fn polygon(points: &[(f64, f64)], display: Rect) -> Matte {
    let finite = points.iter().all(|(x, y)| x.is_finite() && y.is_finite());
    let window = bounds(points).intersect(display);
    if points.len() < 3 || !finite || window.is_empty() {
        return Matte::new(display, Rect::EMPTY);
    }
    let mut area = SignedArea::new(window);
    for (i, &from) in points.iter().enumerate() {
        area.edge(from, points[(i + 1) % points.len()]);
    }
    area.into_matte(display)
}

/// The ellipse around `centre` with half axes `radii`, turned by `rotation` degrees (clockwise on the screen),
/// within the display window; to within a hundredth of a pixel.
pub fn ellipse(centre: (f64, f64), radii: (f64, f64), rotation: f64, display: Rect) -> Matte {
    let (rx, ry) = (radii.0.abs(), radii.1.abs());
    // Chords of a circle of radius r in n steps stay within r (1 - cos(pi / n)) of it.
    let largest = rx.max(ry);
    let steps = (TAU * (largest / 0.08).sqrt()).ceil().clamp(24.0, 16384.0) as usize;
    let (sin, cos) = sin_cos_degrees(rotation);
    let points: Vec<(f64, f64)> = (0..steps)
        .map(|i| {
            let (s, c) = sin_cos_degrees(360.0 * i as f64 / steps as f64);
            let (x, y) = (rx * c, ry * s);
            (centre.0 + x * cos - y * sin, centre.1 + x * sin + y * cos)
        })
        .collect();
    polygon(&points, display)
}

fn bounds(points: &[(f64, f64)]) -> Rect {
    let mut out = [f64::INFINITY, f64::INFINITY, f64::NEG_INFINITY, f64::NEG_INFINITY];
    for &(x, y) in points {
        out = [out[0].min(x), out[1].min(y), out[2].max(x), out[3].max(y)];
    }
    // `as` saturates.
    Rect::new(
        out[0].floor() as i32,
        out[1].floor() as i32,
        out[2].ceil() as i32,
        out[3].ceil() as i32,
    )
}

/// Signed areas to the right of edges, collected as differences along each row; running sums give the
/// winding number times coverage. (The method of the font rasterisers libart and font-rs.)
struct SignedArea {
    window: Rect,
    /// Row-major, one column more than the window.
    differences: Vec<f64>,
}

impl SignedArea {
    fn new(window: Rect) -> SignedArea {
        SignedArea {
            window,
            differences: vec![0.0; (window.width() + 1) * window.height()],
        }
    }

    /// Adds an edge, in continuous coordinates.
    fn edge(&mut self, from: (f64, f64), to: (f64, f64)) {
        let origin = (f64::from(self.window.x0), f64::from(self.window.y0));
        let (from, to) = (
            (from.0 - origin.0, from.1 - origin.1),
            (to.0 - origin.0, to.1 - origin.1),
        );
        let (direction, top, bottom) = if from.1 < to.1 {
            (1.0, from, to)
        } else {
            (-1.0, to, from)
        };
        let height = self.window.height() as f64;
        let (y0, y1) = (top.1.clamp(0.0, height), bottom.1.clamp(0.0, height));
        if y0 >= y1 {
            return;
        }
        let slope = (bottom.0 - top.0) / (bottom.1 - top.1);
        let x_at = |y: f64| top.0 + (y - top.1) * slope;
        for row in y0.floor() as usize..y1.ceil() as usize {
            let (ya, yb) = (y0.max(row as f64), y1.min(row as f64 + 1.0));
            if ya < yb {
                self.part(row, (x_at(ya), ya), (x_at(yb), yb), direction);
            }
        }
    }

    /// A part of an edge within one row. What runs left of the window counts at its left side, what runs right
    /// of it has nothing to its right.
    fn part(&mut self, row: usize, (xa, ya): (f64, f64), (xb, yb): (f64, f64), direction: f64) {
        let width = self.window.width() as f64;
        let rise = yb - ya;
        let (left, right) = if xa < xb { (xa, xb) } else { (xb, xa) };
        let run = right - left;
        // The height of the part whose x lies in [from, to].
        let share = |from: f64, to: f64| {
            if run > 0.0 {
                rise * (to - from).max(0.0) / run
            } else {
                0.0
            }
        };
        if right <= 0.0 {
            self.add(row, 0, direction * rise);
            return;
        }
        if left >= width {
            return;
        }
        if left < 0.0 {
            self.add(row, 0, direction * share(left, 0.0));
        }
        let (inner_left, inner_right) = (left.max(0.0), right.min(width));
        if inner_left >= inner_right {
            // Upright.
            self.cell(row, inner_left, inner_right, direction * rise);
            return;
        }
        for column in inner_left.floor() as usize..inner_right.ceil() as usize {
            let (a, b) = (
                inner_left.max(column as f64),
                inner_right.min(column as f64 + 1.0),
            );
            if a < b {
                self.cell(row, a, b, direction * share(a, b));
            }
        }
    }

    /// A part within one pixel, from x = a to x = b, of the signed height `rise`.
    fn cell(&mut self, row: usize, a: f64, b: f64, rise: f64) {
        let column = a.floor();
        // The share of the pixel to the right of the part's middle.
        let covered = 1.0 - ((a + b) / 2.0 - column);
        self.add(row, column as usize, rise * covered);
        self.add(row, column as usize + 1, rise * (1.0 - covered));
    }

    fn add(&mut self, row: usize, column: usize, value: f64) {
        let stride = self.window.width() + 1;
        if column < stride {
            self.differences[row * stride + column] += value;
        }
    }

    fn into_matte(self, display: Rect) -> Matte {
        let mut out = Matte::new(display, self.window);
        let stride = self.window.width() + 1;
        for (y, differences) in (self.window.y0..).zip(self.differences.chunks(stride)) {
            let mut winding = 0.0;
            for (out, difference) in out.row_mut(y).iter_mut().zip(differences) {
                winding += difference;
                // Sums that should be 0 or 1 are so but for their last bits.
                let covered = winding.abs().min(1.0);
                let covered = if covered < 1e-9 { 0.0 } else { covered };
                *out = covered as f32;
            }
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sum(matte: &Matte) -> f64 {
        matte.values().iter().map(|&v| f64::from(v)).sum()
    }

    #[test]
    fn whole_and_part_pixels() {
        let matte = polygon(
            &[(1.0, 1.0), (3.5, 1.0), (3.5, 2.25), (1.0, 2.25)],
            Rect::of_size(8, 8),
        );
        assert_eq!(matte.data(), Rect::new(1, 1, 4, 3));
        assert_eq!(matte.row(1), [1.0, 1.0, 0.5]);
        assert_eq!(matte.row(2), [0.25, 0.25, 0.125]);
    }

    #[test]
    fn direction_does_not_matter_and_holes_cut() {
        let frame = Rect::of_size(16, 16);
        let square = [(2.0, 2.0), (12.0, 2.0), (12.0, 12.0), (2.0, 12.0)];
        let mut turned = square;
        turned.reverse();
        assert_eq!(polygon(&square, frame), polygon(&turned, frame));
        let bow_tie = [(0.0, 0.0), (8.0, 8.0), (8.0, 0.0), (0.0, 8.0)];
        assert!((sum(&polygon(&bow_tie, frame)) - 32.0).abs() < 1e-6);
    }

    #[test]
    fn outside_the_frame_is_cut_off() {
        let frame = Rect::of_size(4, 4);
        let huge = polygon(&[(-1e6, -1e6), (1e6, -1e6), (1e6, 1e6), (-1e6, 1e6)], frame);
        assert!(huge.values().iter().all(|&v| v == 1.0) && huge.data() == frame);
        assert!(
            polygon(&[(9.0, 9.0), (12.0, 9.0), (9.0, 12.0)], frame)
                .data()
                .is_empty()
        );
        assert!(
            polygon(&[(f64::NAN, 0.0), (4.0, 0.0), (0.0, 4.0)], frame)
                .data()
                .is_empty()
        );
        assert!(polygon(&[(0.0, 0.0), (4.0, 4.0)], frame).data().is_empty());
    }

    #[test]
    fn ellipse_area() {
        let frame = Rect::of_size(200, 200);
        for (rx, ry, turn) in [(60.0, 30.0, 30.0), (0.4, 0.4, 0.0), (90.0, 90.0, 45.0)] {
            let area = std::f64::consts::PI * rx * ry;
            let got = sum(&ellipse((100.3, 99.2), (rx, ry), turn, frame));
            assert!((got - area).abs() < 0.012 * area.max(1.0), "{got} {area}");
        }
        assert!(
            ellipse((100.0, 100.0), (0.0, 5.0), 0.0, frame)
                .values()
                .iter()
                .all(|&v| v == 0.0)
        );
    }

    proptest! {
        #[test]
        fn area_is_the_shoelace_formula(points in prop::array::uniform3((0.0f64..20.0, 0.0f64..20.0))) {
            let [a, b, c] = points;
            let area = ((b.0 - a.0) * (c.1 - a.1) - (c.0 - a.0) * (b.1 - a.1)).abs() / 2.0;
            let matte = polygon(&points, Rect::of_size(20, 20));
            prop_assert!((sum(&matte) - area).abs() < 1e-4 * (1.0 + area), "{} {}", sum(&matte), area);
        }

        #[test]
        fn clipping_changes_no_pixel(points in prop::array::uniform4((-20.0f64..20.0, -20.0f64..20.0))) {
            let whole = polygon(&points, Rect::new(-20, -20, 20, 20));
            let part = polygon(&points, Rect::new(-7, -3, 5, 11));
            for y in -3..11 {
                for x in -7..5 {
                    prop_assert!((whole.get(x, y) - part.get(x, y)).abs() < 1e-6);
                }
            }
        }
    }
}
