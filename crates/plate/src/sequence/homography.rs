//! What a turning, zooming camera, or a camera moving before a plane, does to a picture.

use peel_image::Rect;

/// A projective map between two frames, row by row; positions are in pixels, y down, the centre of the first pixel
/// at (0.5, 0.5).
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Homography(pub [[f64; 3]; 3]);

impl Homography {
    /// A camera that does not move.
    pub const IDENTITY: Homography = Homography([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]);

    /// A shift by whole or broken pixels.
    pub fn translate(dx: f64, dy: f64) -> Homography {
        Homography([[1.0, 0.0, dx], [0.0, 1.0, dy], [0.0, 0.0, 1.0]])
    }

    /// Where a point goes. A point on the horizon goes to infinity or becomes NaN.
    pub fn point(&self, x: f64, y: f64) -> (f64, f64) {
        let [u, v, w] = self.0.map(|row| row[0] * x + row[1] * y + row[2]);
        // Behind the camera there is no picture.
        if w <= 0.0 {
            return (f64::NAN, f64::NAN);
        }
        (u / w, v / w)
    }

    /// `first`, then this map.
    pub fn after(&self, first: &Homography) -> Homography {
        let row = |row: [f64; 3]| {
            std::array::from_fn(|column| (0..3).map(|k| row[k] * first.0[k][column]).sum::<f64>())
        };
        Homography(self.0.map(row)).normalised()
    }

    /// The way back; `None` for a map that flattens the picture.
    pub fn inverse(&self) -> Option<Homography> {
        let m = &self.0;
        // The cofactor of a 3x3 matrix, with cyclic indices, has its sign already.
        let cofactor = |i: usize, j: usize| {
            let (a, b, c, d) = ((i + 1) % 3, (i + 2) % 3, (j + 1) % 3, (j + 2) % 3);
            m[a][c] * m[b][d] - m[a][d] * m[b][c]
        };
        let determinant: f64 = (0..3).map(|j| m[0][j] * cofactor(0, j)).sum();
        let sound = determinant.is_finite() && determinant.abs() > 1e-12;
        sound.then(|| {
            Homography(std::array::from_fn(|i| {
                std::array::from_fn(|j| cofactor(j, i) / determinant)
            }))
            .normalised()
        })
    }

    /// The same map between pictures `factor` times as large.
    pub(crate) fn scaled(&self, factor: f64) -> Homography {
        let m = &self.0;
        Homography([
            [m[0][0], m[0][1], m[0][2] * factor],
            [m[1][0], m[1][1], m[1][2] * factor],
            [m[2][0] / factor, m[2][1] / factor, m[2][2]],
        ])
    }

    /// The most that any corner of `window` lies from where `other` puts it, in pixels.
    pub fn distance(&self, other: &Homography, window: Rect) -> f64 {
        let (x0, y0) = (f64::from(window.x0), f64::from(window.y0));
        let (x1, y1) = (f64::from(window.x1), f64::from(window.y1));
        let corners = [(x0, y0), (x1, y0), (x0, y1), (x1, y1)];
        corners.into_iter().fold(0.0, |most, (x, y)| {
            let ((ax, ay), (bx, by)) = (self.point(x, y), other.point(x, y));
            let off = (ax - bx).hypot(ay - by);
            // NaN is as far as can be.
            if off <= most {
                most
            } else if off.is_nan() {
                f64::INFINITY
            } else {
                off
            }
        })
    }

    /// Scaled so that the last entry is 1, as far as it can be.
    fn normalised(self) -> Homography {
        let last = self.0[2][2];
        if last.abs() < 1e-12 {
            return self;
        }
        Homography(self.0.map(|row| row.map(|v| v / last)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_and_back() {
        let map = Homography([[1.02, 0.05, -7.0], [-0.04, 0.98, 3.5], [1e-4, -5e-5, 1.0]]);
        let back = map.inverse().unwrap();
        let window = Rect::of_size(640, 360);
        assert!(back.after(&map).distance(&Homography::IDENTITY, window) < 1e-9);
        let (x, y) = map.point(100.0, 50.0);
        let (x, y) = back.point(x, y);
        assert!((x - 100.0).abs() < 1e-9 && (y - 50.0).abs() < 1e-9);
        let (x, y) = map.scaled(2.0).point(200.0, 100.0);
        let half = map.point(100.0, 50.0);
        assert!((x - 2.0 * half.0).abs() < 1e-9 && (y - 2.0 * half.1).abs() < 1e-9);
    }

    #[test]
    fn flat_maps_have_no_inverse() {
        let flat = Homography([[1.0, 0.0, 0.0], [2.0, 0.0, 0.0], [0.0, 0.0, 1.0]]);
        assert_eq!(flat.inverse(), None);
        assert!(flat.distance(&Homography::IDENTITY, Rect::of_size(9, 9)) > 0.0);
    }
}
