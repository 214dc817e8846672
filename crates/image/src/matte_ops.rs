//! What is done to mattes: grow, shrink, feather, invert, combine.
//!
//! A matte is known within the smallest box around its display and data windows: there it is 0 outside the
//! data window. Beyond that box nothing is known, and nothing is assumed: shrinking or feathering a matte that
//! runs out of the frame leaves it whole at the frame's edge. Values that are NaN count as 0.

use crate::morphology::dilate;
use crate::{Matte, Rect, math};

/// How two mattes become one.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Combine {
    /// The larger: where either is.
    #[default]
    Union,
    /// The smaller: where both are.
    Intersect,
    /// `max(a - b, 0)`: where the first is and the second is not. A matte less itself is nothing, without an
    /// outline at soft edges.
    Subtract,
}

impl Combine {
    /// Every way, in the order of the manual.
    pub const ALL: [Combine; 3] = [Combine::Union, Combine::Intersect, Combine::Subtract];

    /// The name in graphs.
    pub fn name(self) -> &'static str {
        match self {
            Combine::Union => "Union",
            Combine::Intersect => "Intersect",
            Combine::Subtract => "Subtract",
        }
    }

    /// The way of this name; case does not matter.
    pub fn parse(name: &str) -> Option<Combine> {
        let wanted = crate::name::plain(name);
        Self::ALL
            .into_iter()
            .find(|way| crate::name::plain(way.name()) == wanted)
    }

    /// The window outside which the result is 0.
    pub fn window(self, a: Rect, b: Rect) -> Rect {
        match self {
            Combine::Union => a.union(b),
            Combine::Intersect => a.intersect(b),
            Combine::Subtract => a,
        }
    }
}

/// Both mattes in one, under `a`'s display window.
pub fn combine(a: &Matte, b: &Matte, way: Combine) -> Matte {
    let mut out = a.crop(way.window(a.data(), b.data()));
    let window = out.data();
    // Outside b's data window b is 0, which changes nothing: not the larger, not the difference, and the
    // smaller ends with b's window.
    let common = window.intersect(b.data());
    for y in common.y0..common.y1 {
        let at = (common.x0 - window.x0) as usize;
        let from = (common.x0 - b.data().x0) as usize;
        let row = &mut out.row_mut(y)[at..at + common.width()];
        for (out, &b) in row.iter_mut().zip(&b.row(y)[from..]) {
            *out = match way {
                Combine::Union => out.max(b),
                Combine::Intersect => out.min(b),
                Combine::Subtract => (*out - b).max(0.0),
            };
        }
    }
    out
}

/// `1 - matte` over the display window; what lay outside it is gone, since its complement has no end.
pub fn invert(matte: &Matte) -> Matte {
    let mut out = matte.crop(matte.display());
    for value in out.values_mut() {
        *value = 1.0 - *value;
    }
    out
}

/// The matte `radius` pixels larger (smaller where negative): the maximum (minimum) under a disc, so corners
/// get round and soft edges stay soft. Fractions of a pixel count; 0 changes nothing, bit for bit.
pub fn grow(matte: &Matte, radius: f64) -> Matte {
    // Past the size of any picture a radius changes nothing more; this also keeps sums of columns in range.
    let radius = radius.clamp(-1e6, 1e6);
    if radius > 0.0 {
        let known = known_window(matte);
        dilate(
            matte,
            radius,
            matte.data().grow(radius.ceil() as i32).intersect(known),
        )
    } else if radius < 0.0 {
        shrink(matte, -radius)
    } else {
        matte.clone()
    }
}

/// The complement grown, and its complement.
fn shrink(matte: &Matte, radius: f64) -> Matte {
    let data = matte.data();
    let window = data.grow(radius.ceil() as i32).intersect(known_window(matte));
    let mut outside = Matte::new(matte.display(), window);
    for y in window.y0..window.y1 {
        for (x, value) in (window.x0..).zip(outside.row_mut(y)) {
            let covered = matte.get(x, y);
            *value = if covered.is_nan() { 1.0 } else { 1.0 - covered };
        }
    }
    let mut out = dilate(&outside, radius, data);
    for value in out.values_mut() {
        *value = 1.0 - *value;
    }
    out
}

/// The matte with soft edges: a Gaussian blur with a standard deviation of half of `size`, cut off at three
/// deviations, so that a hard edge becomes a ramp of about `size` pixels on either side (95 % of it). Flat parts
/// stay exactly as they are; 0 changes nothing, bit for bit.
pub fn feather(matte: &Matte, size: f64) -> Matte {
    if size.is_nan() || size <= 0.0 || matte.data().is_empty() {
        return matte.clone();
    }
    let sigma = size.min(1e5) / 2.0;
    let reach = (3.0 * sigma).ceil() as i32;
    let weights: Vec<f32> = (0..=reach)
        .map(|n| f64::from(n) / sigma)
        .map(|deviations| math::exp(-0.5 * deviations * deviations) as f32)
        .collect();
    let known = known_window(matte);
    let covered = matte.tight_window(0.0);
    let window = covered.grow(reach).intersect(known);
    // Rows first, over the rows that have anything in them; then columns.
    let mut across = Matte::new(
        matte.display(),
        Rect {
            y0: covered.y0,
            y1: covered.y1,
            ..window
        },
    );
    let mut clean = vec![0.0; known.width().min(window.width() + 2 * reach as usize)];
    let source = window.grow(reach).intersect(known);
    for y in covered.y0..covered.y1 {
        for (x, value) in (source.x0..source.x1).zip(&mut clean) {
            let v = matte.get(x, y);
            *value = if v.is_finite() { v } else { 0.0 };
        }
        let first = (window.x0 - source.x0) as usize;
        blur_row(&clean[..source.width()], first, across.row_mut(y), &weights);
    }
    let mut out = Matte::new(matte.display(), window);
    let zeros = vec![0.0; window.width()];
    let row_of = |y: i32| {
        if y >= covered.y0 && y < covered.y1 {
            across.row(y)
        } else {
            &zeros
        }
    };
    for y in window.y0..window.y1 {
        let centre = row_of(y);
        let out_row = out.row_mut(y);
        let mut total = weights[0];
        for (dy, &weight) in (1..).zip(&weights[1..]) {
            for neighbour in [y.saturating_sub(dy), y.saturating_add(dy)] {
                if neighbour < known.y0 || neighbour >= known.y1 {
                    continue;
                }
                total += weight;
                for ((out, &value), &here) in out_row.iter_mut().zip(row_of(neighbour)).zip(centre) {
                    *out += weight * (value - here);
                }
            }
        }
        for (out, &here) in out_row.iter_mut().zip(centre) {
            *out = here + *out / total;
        }
    }
    out
}

/// Blurs `source` into `out`, whose first value belongs to position `first` of `source`. Differences to the
/// middle are summed, not values, so that a flat row stays flat to the last bit.
fn blur_row(source: &[f32], first: usize, out: &mut [f32], weights: &[f32]) {
    for (i, out) in out.iter_mut().enumerate() {
        let centre = first + i;
        let here = source[centre];
        let (mut sum, mut total) = (0.0, weights[0]);
        for (n, &weight) in weights.iter().enumerate().skip(1) {
            if let Some(&value) = centre.checked_sub(n).and_then(|left| source.get(left)) {
                sum += weight * (value - here);
                total += weight;
            }
            if let Some(&value) = source.get(centre + n) {
                sum += weight * (value - here);
                total += weight;
            }
        }
        *out = here + sum / total;
    }
}

/// Where the matte's values are known; see the module's documentation.
fn known_window(matte: &Matte) -> Rect {
    matte.display().union(matte.data())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn block(frame: Rect, part: Rect) -> Matte {
        Matte::from_fn(frame, frame, |x, y| f32::from(part.contains(x, y)))
    }

    #[test]
    fn growing_moves_an_edge_by_the_radius() {
        let frame = Rect::of_size(20, 9);
        let half = block(frame, Rect::new(0, 0, 8, 9));
        let row = |radius| grow(&half, radius).row(4).to_vec();
        assert_eq!(row(3.0)[7..13], [1.0, 1.0, 1.0, 1.0, 0.0, 0.0]);
        assert_eq!(row(2.5)[7..13], [1.0, 1.0, 1.0, 0.5, 0.0, 0.0]);
        assert_eq!(row(-2.0)[4..9], [1.0, 1.0, 0.0, 0.0, 0.0]);
        assert_eq!(row(-2.25)[4..9], [1.0, 0.75, 0.0, 0.0, 0.0]);
    }

    #[test]
    fn a_matte_over_everything_stays_whole() {
        let frame = Rect::of_size(7, 5);
        let full = block(frame, frame);
        for matte in [grow(&full, -3.0), grow(&full, 3.0), feather(&full, 4.0)] {
            assert_eq!(matte.crop(frame), full);
        }
        assert_eq!(invert(&full), Matte::new(frame, frame));
        assert_eq!(invert(&Matte::new(frame, Rect::EMPTY)), full);
    }

    #[test]
    fn an_empty_matte_stays_empty() {
        let empty = Matte::new(Rect::of_size(7, 5), Rect::EMPTY);
        for matte in [grow(&empty, -3.0), grow(&empty, 3.0), feather(&empty, 4.0)] {
            assert!(matte.values().iter().all(|&v| v == 0.0));
        }
    }

    #[test]
    fn shrinking_inside_the_frame_takes_the_matte_from_its_data_window() {
        let tight = Matte::from_fn(Rect::of_size(20, 20), Rect::new(5, 5, 12, 12), |_, _| 1.0);
        let small = grow(&tight, -2.0);
        assert_eq!(small.tight_window(0.5), Rect::new(7, 7, 10, 10));
        assert_eq!(feather(&tight, 2.0).data(), Rect::new(2, 2, 15, 15));
    }

    #[test]
    fn feathering_is_a_gaussian_ramp() {
        let frame = Rect::of_size(40, 3);
        let soft = feather(&block(frame, Rect::new(0, 0, 20, 3)), 6.0);
        let row = soft.row(1);
        // Half way between pixels 19 and 20 lies the edge; one deviation (3 pixels) outside 15.9 % are left.
        assert!((row[19] + row[20] - 1.0).abs() < 1e-5);
        let outside = f64::from(row[22] + row[23]) / 2.0;
        assert!((outside - 0.1587).abs() < 0.005, "{outside}");
        assert_eq!((row[5], soft.get(35, 1)), (1.0, 0.0));
    }

    #[test]
    fn nan_does_not_spread() {
        let frame = Rect::of_size(9, 9);
        let mut matte = block(frame, Rect::new(2, 2, 7, 7));
        matte.row_mut(4)[4] = f32::NAN;
        for out in [grow(&matte, 1.5), grow(&matte, -1.5), feather(&matte, 2.0)] {
            assert!(out.values().iter().all(|v| v.is_finite()));
        }
    }

    #[test]
    fn combining() {
        let frame = Rect::of_size(4, 1);
        let a = Matte::from_fn(frame, Rect::new(0, 0, 3, 1), |x, _| [1.0, 0.5, 0.25][x as usize]);
        let b = Matte::from_fn(frame, Rect::new(1, 0, 4, 1), |x, _| {
            [0.75, 0.1, 1.0][x as usize - 1]
        });
        assert_eq!(
            combine(&a, &b, Combine::Union).crop(frame).values(),
            [1.0, 0.75, 0.25, 1.0]
        );
        assert_eq!(
            combine(&a, &b, Combine::Intersect).crop(frame).values(),
            [0.0, 0.5, 0.1, 0.0]
        );
        assert_eq!(
            combine(&a, &b, Combine::Subtract).crop(frame).values(),
            [1.0, 0.0, 0.15, 0.0]
        );
        assert!(
            combine(&a, &a, Combine::Subtract)
                .values()
                .iter()
                .all(|&v| v == 0.0)
        );
    }

    fn any_matte() -> impl Strategy<Value = Matte> {
        prop::collection::vec(prop_oneof![Just(0.0f32), 0.0f32..=1.0, Just(1.0)], 80).prop_map(|values| {
            Matte::from_values(Rect::of_size(12, 10), Rect::new(1, 1, 11, 9), values).unwrap()
        })
    }

    proptest! {
        #[test]
        fn nothing_to_do_is_nothing_done(matte in any_matte()) {
            prop_assert_eq!(&grow(&matte, 0.0), &matte);
            prop_assert_eq!(&feather(&matte, 0.0), &matte);
        }

        #[test]
        fn grown_covers_and_shrunk_is_covered(matte in any_matte(), radius in 0.0f64..4.0) {
            let (large, small) = (grow(&matte, radius), grow(&matte, -radius));
            for y in 0..10 {
                for x in 0..12 {
                    prop_assert!(large.get(x, y) >= matte.get(x, y));
                    prop_assert!(small.get(x, y) <= matte.get(x, y) + 1e-7);
                }
            }
        }

        #[test]
        fn a_larger_radius_covers_more(matte in any_matte(), radius in 0.0f64..4.0, more in 0.0f64..2.0) {
            let (a, b) = (grow(&matte, radius), grow(&matte, radius + more));
            for y in 0..10 {
                for x in 0..12 {
                    prop_assert!(b.get(x, y) >= a.get(x, y));
                }
            }
        }

        #[test]
        fn feathering_stays_between_the_extremes(matte in any_matte(), size in 0.1f64..8.0) {
            let soft = feather(&matte, size);
            prop_assert!(soft.values().iter().all(|&v| (-1e-6..=1.0 + 1e-6).contains(&v)));
        }

        #[test]
        fn union_and_intersection_are_each_others_complement(a in any_matte(), b in any_matte()) {
            let union = combine(&a, &b, Combine::Union);
            let other = invert(&combine(&invert(&a), &invert(&b), Combine::Intersect));
            for y in 0..10 {
                for x in 0..12 {
                    prop_assert!((union.get(x, y) - other.get(x, y)).abs() < 1e-6);
                }
            }
        }
    }
}
