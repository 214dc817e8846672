//! Merge: two premultiplied pixels into one, and rows of them.
//!
//! `A` is the layer on top, `B` the picture under it; `a` and `b` are their alphas. One formula holds for
//! red, green, blue and alpha alike. Formulas: the public documentation of the OpenFX Merge family.

use std::fmt;

use crate::{Pixel, Rect, TRANSPARENT};

/// How a pixel `A` is put together with the pixel `B` under it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum MergeOp {
    /// `A + B(1-a)`: A in front of B; A where it is opaque, whatever B is.
    #[default]
    Over,
    /// `A(1-b) + B`: A behind B.
    Under,
    /// `Ab`: A where B is.
    In,
    /// `A(1-b)`: A where B is not.
    Out,
    /// `Ba`: B where A is.
    Mask,
    /// `B(1-a)`: B where A is not.
    Stencil,
    /// `Ab + B(1-a)`: A over B, within B's shape.
    Atop,
    /// `A(1-b) + B(1-a)`: either, but not both.
    Xor,
    /// `A + B`: light added to light.
    Plus,
    /// `A + B - AB` where A or B is at most 1, else the larger.
    Screen,
    /// `AB`; 0 where both are negative.
    Multiply,
    /// `A + B` while both fit (`a + b < 1`), else `A + B(1-a)/b`: the edges of A and B never overlap.
    DisjointOver,
    /// `A` where `a > b`, else `A + B(1 - a/b)`: the edges of A and B always overlap.
    ConjointOver,
}

impl MergeOp {
    /// Every operation, in the order of the manual.
    pub const ALL: [MergeOp; 13] = [
        MergeOp::Over,
        MergeOp::Under,
        MergeOp::In,
        MergeOp::Out,
        MergeOp::Mask,
        MergeOp::Stencil,
        MergeOp::Atop,
        MergeOp::Xor,
        MergeOp::Plus,
        MergeOp::Screen,
        MergeOp::Multiply,
        MergeOp::DisjointOver,
        MergeOp::ConjointOver,
    ];

    /// The operation's name in graphs.
    pub fn name(self) -> &'static str {
        match self {
            MergeOp::Over => "Over",
            MergeOp::Under => "Under",
            MergeOp::In => "In",
            MergeOp::Out => "Out",
            MergeOp::Mask => "Mask",
            MergeOp::Stencil => "Stencil",
            MergeOp::Atop => "Atop",
            MergeOp::Xor => "Xor",
            MergeOp::Plus => "Plus",
            MergeOp::Screen => "Screen",
            MergeOp::Multiply => "Multiply",
            MergeOp::DisjointOver => "DisjointOver",
            MergeOp::ConjointOver => "ConjointOver",
        }
    }

    /// The operation of this name; case, `-` and `_` do not matter.
    pub fn parse(name: &str) -> Option<MergeOp> {
        let wanted = crate::name::plain(name);
        Self::ALL
            .into_iter()
            .find(|op| crate::name::plain(op.name()) == wanted)
    }

    /// `A` put together with `B`.
    ///
    /// `Over` is exactly `A + B * (1 - a)` in `f32`, one rounding an operation and never fused: recomposition
    /// is proven against that formula. Where A is opaque (`a` is 1) the result is A bit for bit, so that nobody need
    /// ask for a B that is hidden, infinite or not.
    #[inline]
    pub fn pixel(self, a: Pixel, b: Pixel) -> Pixel {
        let (aa, ba) = (a[3], b[3]);
        match self {
            MergeOp::Over => over(a, b),
            MergeOp::Under => zip(a, b, |a, b| a * (1.0 - ba) + b),
            MergeOp::In => a.map(|a| a * ba),
            MergeOp::Out => a.map(|a| a * (1.0 - ba)),
            MergeOp::Mask => b.map(|b| b * aa),
            MergeOp::Stencil => b.map(|b| b * (1.0 - aa)),
            MergeOp::Atop => zip(a, b, |a, b| a * ba + b * (1.0 - aa)),
            MergeOp::Xor => zip(a, b, |a, b| a * (1.0 - ba) + b * (1.0 - aa)),
            MergeOp::Plus => zip(a, b, |a, b| a + b),
            MergeOp::Screen => zip(a, b, |a, b| {
                if a <= 1.0 || b <= 1.0 {
                    a + b - a * b
                } else {
                    a.max(b)
                }
            }),
            MergeOp::Multiply => zip(a, b, |a, b| if a < 0.0 && b < 0.0 { 0.0 } else { a * b }),
            MergeOp::DisjointOver if aa >= 1.0 => a,
            // A transparent A changes nothing, not even where B's alpha is above 1.
            MergeOp::DisjointOver if aa + ba < 1.0 || aa == 0.0 => zip(a, b, |a, b| a + b),
            MergeOp::DisjointOver => zip(a, b, |a, b| a + b * (1.0 - aa) / ba),
            MergeOp::ConjointOver if aa > ba => a,
            MergeOp::ConjointOver if ba <= 0.0 => zip(a, b, |a, b| a + b),
            MergeOp::ConjointOver => zip(a, b, |a, b| a + b * (1.0 - aa / ba)),
        }
    }

    /// [`MergeOp::pixel`] over a row: `b = A op b`, for as many pixels as the shorter row has.
    pub fn row(self, a: &[Pixel], b: &mut [Pixel]) {
        // One loop an operation: with the operation fixed outside it, the loop vectorises.
        match self {
            MergeOp::Over => each(a, b, over),
            MergeOp::Under => each(a, b, |a, b| MergeOp::Under.pixel(a, b)),
            MergeOp::In => each(a, b, |a, b| MergeOp::In.pixel(a, b)),
            MergeOp::Out => each(a, b, |a, b| MergeOp::Out.pixel(a, b)),
            MergeOp::Mask => each(a, b, |a, b| MergeOp::Mask.pixel(a, b)),
            MergeOp::Stencil => each(a, b, |a, b| MergeOp::Stencil.pixel(a, b)),
            MergeOp::Atop => each(a, b, |a, b| MergeOp::Atop.pixel(a, b)),
            MergeOp::Xor => each(a, b, |a, b| MergeOp::Xor.pixel(a, b)),
            MergeOp::Plus => each(a, b, |a, b| MergeOp::Plus.pixel(a, b)),
            MergeOp::Screen => each(a, b, |a, b| MergeOp::Screen.pixel(a, b)),
            MergeOp::Multiply => each(a, b, |a, b| MergeOp::Multiply.pixel(a, b)),
            MergeOp::DisjointOver => each(a, b, |a, b| MergeOp::DisjointOver.pixel(a, b)),
            MergeOp::ConjointOver => each(a, b, |a, b| MergeOp::ConjointOver.pixel(a, b)),
        }
    }

    /// [`MergeOp::pixel`] with the effect of A scaled by `opacity` (0: B untouched, bit for bit; 1: the
    /// operation itself, bit for bit). `Over` scales A, which is the same as mixing and rounds less; all
    /// others mix the result with B.
    #[inline]
    pub fn mixed(self, a: Pixel, b: Pixel, opacity: f32) -> Pixel {
        if opacity == 1.0 {
            self.pixel(a, b)
        } else if opacity == 0.0 {
            b
        } else if self == MergeOp::Over {
            over(a.map(|c| c * opacity), b)
        } else {
            zip(self.pixel(a, b), b, |merged, b| b + (merged - b) * opacity)
        }
    }

    /// [`MergeOp::mixed`] over a row.
    pub fn mixed_row(self, a: &[Pixel], b: &mut [Pixel], opacity: f32) {
        if opacity == 1.0 {
            self.row(a, b);
        } else if opacity != 0.0 {
            each(a, b, |a, b| self.mixed(a, b, opacity));
        }
    }

    /// Whether the operation changes B where A is transparent black, that is also outside A's data window.
    pub fn covers(self) -> bool {
        matches!(
            self,
            MergeOp::In | MergeOp::Out | MergeOp::Mask | MergeOp::Multiply
        )
    }

    /// The window outside which the result is transparent black, from the data windows of A and B.
    pub fn window(self, a: Rect, b: Rect) -> Rect {
        match self {
            MergeOp::In | MergeOp::Mask | MergeOp::Multiply => a.intersect(b),
            MergeOp::Out => a,
            MergeOp::Stencil | MergeOp::Atop => b,
            _ => a.union(b),
        }
    }
}

impl fmt::Display for MergeOp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[inline]
fn over(a: Pixel, b: Pixel) -> Pixel {
    let through = 1.0 - a[3];
    // Selected, not branched around: the loop over a row stays one of vectors.
    let hides = through == 0.0;
    zip(a, b, |a, b| if hides { a } else { a + b * through })
}

#[inline]
fn zip(a: Pixel, b: Pixel, f: impl Fn(f32, f32) -> f32) -> Pixel {
    let mut out = TRANSPARENT;
    for ((out, a), b) in out.iter_mut().zip(a).zip(b) {
        *out = f(a, b);
    }
    out
}

#[inline]
fn each(a: &[Pixel], b: &mut [Pixel], f: impl Fn(Pixel, Pixel) -> Pixel) {
    for (a, b) in a.iter().zip(b) {
        *b = f(*a, *b);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const A: Pixel = [0.2, 0.1, 0.0, 0.5];
    const B: Pixel = [0.3, 0.4, 0.5, 0.75];

    fn close(a: Pixel, b: Pixel) -> bool {
        a.iter().zip(b).all(|(a, b)| (a - b).abs() <= 1e-6)
    }

    #[test]
    fn known_vectors() {
        let expected = [
            (MergeOp::Over, [0.35, 0.30, 0.25, 0.875]),
            (MergeOp::Under, [0.35, 0.425, 0.5, 0.875]),
            (MergeOp::In, [0.15, 0.075, 0.0, 0.375]),
            (MergeOp::Out, [0.05, 0.025, 0.0, 0.125]),
            (MergeOp::Mask, [0.15, 0.2, 0.25, 0.375]),
            (MergeOp::Stencil, [0.15, 0.2, 0.25, 0.375]),
            (MergeOp::Atop, [0.3, 0.275, 0.25, 0.75]),
            (MergeOp::Xor, [0.2, 0.225, 0.25, 0.5]),
            (MergeOp::Plus, [0.5, 0.5, 0.5, 1.25]),
            (MergeOp::Screen, [0.44, 0.46, 0.5, 0.875]),
            (MergeOp::Multiply, [0.06, 0.04, 0.0, 0.375]),
            (MergeOp::DisjointOver, [0.4, 0.36666667, 0.33333334, 1.0]),
            (MergeOp::ConjointOver, [0.3, 0.23333333, 0.16666667, 0.75]),
        ];
        for (op, pixel) in expected {
            assert!(
                close(op.pixel(A, B), pixel),
                "{op}: {:?}, expected {pixel:?}",
                op.pixel(A, B)
            );
        }
    }

    #[test]
    fn screen_and_multiply_beyond_the_unit_range() {
        assert_eq!(
            MergeOp::Screen.pixel([3.0, 3.0, 0.5, 1.0], [2.0, 0.5, 2.0, 1.0])[..3],
            [3.0, 2.0, 1.5]
        );
        assert_eq!(
            MergeOp::Multiply.pixel([-1.0, -1.0, 2.0, 1.0], [-2.0, 2.0, 3.0, 1.0])[..3],
            [0.0, -2.0, 6.0]
        );
    }

    #[test]
    fn disjoint_over_never_divides_by_zero() {
        let clear = [1.0, 1.0, 1.0, 0.0];
        assert_eq!(
            MergeOp::DisjointOver.pixel([0.5, 0.0, 0.0, 1.0], clear),
            [0.5, 0.0, 0.0, 1.0]
        );
        assert_eq!(MergeOp::ConjointOver.pixel(TRANSPARENT, clear), clear);
    }

    #[test]
    fn what_is_opaque_hides_whatever_is_below() {
        let above = [0.5, -0.0, 2.0, 1.0];
        let below = [f32::INFINITY, 0.0, f32::NAN, 1.0];
        let bits = |pixel: Pixel| pixel.map(f32::to_bits);
        assert_eq!(bits(MergeOp::Over.pixel(above, below)), bits(above));
    }

    #[test]
    fn names_come_back() {
        for op in MergeOp::ALL {
            assert_eq!(MergeOp::parse(op.name()), Some(op));
        }
        assert_eq!(MergeOp::parse("disjoint-over"), Some(MergeOp::DisjointOver));
        assert_eq!(MergeOp::parse("overs"), None);
    }

    fn any_pixel() -> impl Strategy<Value = Pixel> {
        (prop::array::uniform3(-4.0f32..16.0), 0.0f32..=1.0).prop_map(|([r, g, b], a)| [r, g, b, a])
    }

    proptest! {
        #[test]
        fn row_is_pixel_bit_for_bit(
            a in prop::collection::vec(any_pixel(), 0..9),
            b in prop::collection::vec(any_pixel(), 0..9),
        ) {
            for op in MergeOp::ALL {
                let mut row = b.clone();
                op.row(&a, &mut row);
                for (i, b) in b.iter().enumerate() {
                    prop_assert_eq!(row[i], a.get(i).map_or(*b, |a| op.pixel(*a, *b)));
                }
            }
        }

        #[test]
        fn transparent_a_leaves_b_unless_the_operation_covers(b in any_pixel()) {
            for op in MergeOp::ALL {
                let merged = op.pixel(TRANSPARENT, b);
                prop_assert_eq!(merged == b, !op.covers() || b == TRANSPARENT, "{}", op);
            }
        }

        #[test]
        fn outside_the_window_there_is_nothing(a in any_pixel(), b in any_pixel()) {
            let (left, right) = (Rect::new(0, 0, 2, 1), Rect::new(1, 0, 3, 1));
            for op in MergeOp::ALL {
                for x in 0..3 {
                    let a = if left.contains(x, 0) { a } else { TRANSPARENT };
                    let b = if right.contains(x, 0) { b } else { TRANSPARENT };
                    if !op.window(left, right).contains(x, 0) {
                        prop_assert_eq!(op.pixel(a, b), TRANSPARENT);
                    }
                }
            }
        }

        #[test]
        fn over_is_associative(a in any_pixel(), b in any_pixel(), c in any_pixel()) {
            let left = MergeOp::Over.pixel(MergeOp::Over.pixel(a, b), c);
            let right = MergeOp::Over.pixel(a, MergeOp::Over.pixel(b, c));
            for (l, r) in left.iter().zip(right) {
                prop_assert!((l - r).abs() <= 1e-5 * (1.0 + l.abs()));
            }
        }

        #[test]
        fn opacity_runs_from_b_to_the_operation(a in any_pixel(), b in any_pixel(), t in 0.01f32..0.99) {
            for op in MergeOp::ALL {
                prop_assert_eq!(op.mixed(a, b, 0.0), b);
                prop_assert_eq!(op.mixed(a, b, 1.0), op.pixel(a, b));
                let merged = op.pixel(a, b);
                for (c, mixed) in op.mixed(a, b, t).into_iter().enumerate() {
                    let expected = b[c] * (1.0 - t) + merged[c] * t;
                    prop_assert!((mixed - expected).abs() <= 1e-4 * (1.0 + expected.abs()));
                }
            }
        }
    }
}
