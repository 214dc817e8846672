//! Affine maps of the picture plane.

use crate::Rect;
use crate::math::sin_cos_degrees;

/// An affine map `(x, y) -> (xx x + xy y + x0, yx x + yy y + y0)` of continuous pixel coordinates: pixel
/// (i, j) covers `[i, i+1) x [j, j+1)` and its centre is (i + 0.5, j + 0.5); x is to the right, y down.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Matrix {
    /// How far x moves per unit of x.
    pub xx: f64,
    /// How far x moves per unit of y.
    pub xy: f64,
    /// Where the origin goes, x.
    pub x0: f64,
    /// How far y moves per unit of x.
    pub yx: f64,
    /// How far y moves per unit of y.
    pub yy: f64,
    /// Where the origin goes, y.
    pub y0: f64,
}

impl Default for Matrix {
    fn default() -> Matrix {
        Matrix::IDENTITY
    }
}

impl Matrix {
    /// The map that moves nothing.
    pub const IDENTITY: Matrix = Matrix {
        xx: 1.0,
        xy: 0.0,
        x0: 0.0,
        yx: 0.0,
        yy: 1.0,
        y0: 0.0,
    };

    /// Moves by (dx, dy) pixels.
    pub fn translate(dx: f64, dy: f64) -> Matrix {
        Matrix {
            x0: dx,
            y0: dy,
            ..Matrix::IDENTITY
        }
    }

    /// Turns about the origin, clockwise on the screen (y is down) for positive degrees. Quarter turns are
    /// exact.
    pub fn rotate(degrees: f64) -> Matrix {
        let (sin, cos) = sin_cos_degrees(degrees);
        Matrix {
            xx: cos,
            xy: -sin,
            yx: sin,
            yy: cos,
            ..Matrix::IDENTITY
        }
    }

    /// Scales about the origin.
    pub fn scale(sx: f64, sy: f64) -> Matrix {
        Matrix {
            xx: sx,
            yy: sy,
            ..Matrix::IDENTITY
        }
    }

    /// Slants: x moves by `kx` per pixel of y, y by `ky` per pixel of x.
    pub fn skew(kx: f64, ky: f64) -> Matrix {
        Matrix {
            xy: kx,
            yx: ky,
            ..Matrix::IDENTITY
        }
    }

    /// The map of a Transform: `T(translate) T(centre) R(rotate) Skew S(scale) T(-centre)`, so scale acts
    /// first and the centre stays where it is, up to the translation.
    pub fn compose(
        translate: (f64, f64),
        rotate: f64,
        scale: (f64, f64),
        skew: (f64, f64),
        centre: (f64, f64),
    ) -> Matrix {
        let about_origin = Matrix::rotate(rotate)
            .after(Matrix::skew(skew.0, skew.1))
            .after(Matrix::scale(scale.0, scale.1));
        if about_origin == Matrix::IDENTITY {
            // Without this the two movements of the centre could leave a rounding error in a plain move.
            return Matrix::translate(translate.0, translate.1);
        }
        Matrix::translate(translate.0, translate.1)
            .after(Matrix::translate(centre.0, centre.1))
            .after(about_origin)
            .after(Matrix::translate(-centre.0, -centre.1))
    }

    /// The map that does `first`, then `self`: the matrix product `self * first`.
    pub fn after(self, first: Matrix) -> Matrix {
        Matrix {
            xx: self.xx * first.xx + self.xy * first.yx,
            xy: self.xx * first.xy + self.xy * first.yy,
            x0: self.xx * first.x0 + self.xy * first.y0 + self.x0,
            yx: self.yx * first.xx + self.yy * first.yx,
            yy: self.yx * first.xy + self.yy * first.yy,
            y0: self.yx * first.x0 + self.yy * first.y0 + self.y0,
        }
    }

    /// How much areas grow; negative where the picture is mirrored.
    pub fn determinant(self) -> f64 {
        self.xx * self.yy - self.xy * self.yx
    }

    /// The way back, where there is one: `None` where the map squashes the plane to a line (a scale of 0) or
    /// is not finite.
    pub fn inverse(self) -> Option<Matrix> {
        let det = self.determinant();
        let (xx, xy, yx, yy) = (self.yy / det, -self.xy / det, -self.yx / det, self.xx / det);
        let back = Matrix {
            xx,
            xy,
            x0: -(xx * self.x0 + xy * self.y0),
            yx,
            yy,
            y0: -(yx * self.x0 + yy * self.y0),
        };
        (det != 0.0 && back.is_finite()).then_some(back)
    }

    /// Whether every number in it is finite.
    pub fn is_finite(self) -> bool {
        [self.xx, self.xy, self.x0, self.yx, self.yy, self.y0]
            .into_iter()
            .all(f64::is_finite)
    }

    /// Where the point (x, y) goes.
    #[inline]
    pub fn point(self, x: f64, y: f64) -> (f64, f64) {
        (
            self.xx * x + self.xy * y + self.x0,
            self.yx * x + self.yy * y + self.y0,
        )
    }

    /// The smallest box of whole pixels around the image of `rect`; empty where the map is not finite. Far
    /// images are cut off at the ends of `i32`.
    pub fn bounds(self, rect: Rect) -> Rect {
        if rect.is_empty() || !self.is_finite() {
            return Rect::EMPTY;
        }
        let edges = [rect.x0, rect.y0, rect.x1, rect.y1].map(f64::from);
        let [x0, y0, x1, y1] = self.real_bounds(edges);
        // `as` saturates, which is the cut-off wanted here.
        Rect::new(
            x0.floor() as i32,
            y0.floor() as i32,
            x1.ceil() as i32,
            y1.ceil() as i32,
        )
    }

    /// The box around the image of the box `[x0, y0, x1, y1]`.
    pub(crate) fn real_bounds(self, [x0, y0, x1, y1]: [f64; 4]) -> [f64; 4] {
        let corners = [
            self.point(x0, y0),
            self.point(x1, y0),
            self.point(x0, y1),
            self.point(x1, y1),
        ];
        let mut out = [f64::INFINITY, f64::INFINITY, f64::NEG_INFINITY, f64::NEG_INFINITY];
        for (x, y) in corners {
            out = [out[0].min(x), out[1].min(y), out[2].max(x), out[3].max(y)];
        }
        out
    }

    /// The movement (dx, dy), where the map is nothing but a movement by whole pixels.
    pub fn whole_pixels(self) -> Option<(i32, i32)> {
        let whole = |d: f64| (d.fract() == 0.0 && d.abs() < f64::from(i32::MAX)).then_some(d as i32);
        let still = Matrix {
            x0: 0.0,
            y0: 0.0,
            ..self
        } == Matrix::IDENTITY;
        if still {
            whole(self.x0).zip(whole(self.y0))
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn positive_rotation_is_clockwise_on_the_screen() {
        // The right end of a horizontal bar goes down.
        assert_eq!(Matrix::rotate(90.0).point(1.0, 0.0), (0.0, 1.0));
        assert_eq!(Matrix::rotate(-90.0), Matrix::rotate(270.0));
    }

    #[test]
    fn the_centre_stays() {
        let matrix = Matrix::compose((3.0, -2.0), 30.0, (2.0, 0.5), (0.1, 0.2), (10.0, 20.0));
        let (x, y) = matrix.point(10.0, 20.0);
        assert!((x - 13.0).abs() < 1e-12 && (y - 18.0).abs() < 1e-12);
    }

    #[test]
    fn a_plain_move_is_exact_whatever_the_centre() {
        let matrix = Matrix::compose((3.0, -2.0), 360.0, (1.0, 1.0), (0.0, 0.0), (0.1, 1e9 / 3.0));
        assert_eq!(matrix.whole_pixels(), Some((3, -2)));
    }

    #[test]
    fn degenerate_maps_have_no_way_back() {
        assert_eq!(Matrix::scale(0.0, 1.0).inverse(), None);
        assert_eq!(Matrix::scale(f64::NAN, 1.0).inverse(), None);
        assert_eq!(
            Matrix::scale(f64::NAN, 1.0).bounds(Rect::of_size(4, 4)),
            Rect::EMPTY
        );
    }

    #[test]
    fn bounds_are_tight_and_saturate() {
        let rect = Rect::new(1, 2, 5, 4);
        assert_eq!(Matrix::IDENTITY.bounds(rect), rect);
        assert_eq!(Matrix::rotate(90.0).bounds(rect), Rect::new(-4, 1, -2, 5));
        assert_eq!(
            Matrix::scale(1e300, 1.0).bounds(rect),
            Rect::new(i32::MAX, 2, i32::MAX, 4)
        );
    }

    fn any_matrix() -> impl Strategy<Value = Matrix> {
        let pair = |r: std::ops::Range<f64>| (r.clone(), r);
        (
            pair(-50.0..50.0),
            -360.0f64..360.0,
            pair(0.1..8.0),
            pair(-0.3..0.3),
            pair(-99.0..99.0),
        )
            .prop_map(|(t, r, s, k, c)| Matrix::compose(t, r, s, k, c))
    }

    proptest! {
        #[test]
        fn inverse_comes_back(m in any_matrix(), x in -500.0f64..500.0, y in -500.0f64..500.0) {
            let (u, v) = m.point(x, y);
            let (x2, y2) = m.inverse().unwrap().point(u, v);
            prop_assert!((x - x2).abs() < 1e-6 && (y - y2).abs() < 1e-6);
        }

        #[test]
        fn product_is_one_after_the_other(m in any_matrix(), n in any_matrix(), x in -9.0f64..9.0) {
            let (u, v) = n.point(x, 3.0);
            let (expected, got) = (m.point(u, v), m.after(n).point(x, 3.0));
            prop_assert!((expected.0 - got.0).abs() < 1e-7 && (expected.1 - got.1).abs() < 1e-7);
        }

        #[test]
        fn bounds_hold_the_image(m in any_matrix(), x in 0.0f64..16.0, y in 0.0f64..9.0) {
            let bounds = m.bounds(Rect::of_size(16, 9));
            let (u, v) = m.point(x, y);
            prop_assert!(bounds.grow(1).contains(u.floor() as i32, v.floor() as i32));
        }
    }
}
