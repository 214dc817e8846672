//! Push-pull: a smooth fill of holes through a pyramid (Gortler et al., 1996; Burt, 1988).

use crate::Plane;

/// How many passes of 3x3 smoothing each level gets, so that the pyramid's blocks do not show.
const SMOOTHING: usize = 8;

/// The values where `weight` is 1, a smooth continuation of them where it is 0, a blend between.
///
/// `weight` is in 0 to 1. Where nothing at all is known, the result is 0.
pub(crate) fn fill(values: &Plane, weight: &Plane) -> Plane {
    // Values are premultiplied with their weights on the way down.
    let mut levels = vec![(
        values.zip(weight, |v, w| if w > 0.0 { v * w } else { 0.0 }),
        weight.clone(),
    )];
    while let Some((v, w)) = levels.last()
        && v.width.max(v.height) > 1
    {
        let (sum_v, sum_w) = (halve(v), halve(w));
        // A pixel that a quarter of its children knows is known: weights saturate.
        let gain = |mean: f32| {
            if mean > 0.0 {
                (4.0 * mean).min(1.0) / mean
            } else {
                0.0
            }
        };
        levels.push((
            sum_v.zip(&sum_w, |v, w| v * gain(w)),
            sum_w.map(|w| (4.0 * w).min(1.0)),
        ));
    }
    let Some((top, weight)) = levels.pop() else {
        return values.clone();
    };
    let mut out = top.zip(&weight, |v, w| if w > 0.0 { v / w } else { 0.0 });
    while let Some((values, weight)) = levels.pop() {
        let coarse = double(&out, values.width, values.height);
        let mut mixed = values;
        mixed.for_rows(|y, row| {
            for ((v, &w), &c) in row.iter_mut().zip(weight.row(y)).zip(coarse.row(y)) {
                *v += (1.0 - w) * c;
            }
        });
        for _ in 0..SMOOTHING {
            smooth_unknown(&mut mixed, &weight);
        }
        out = mixed;
    }
    out
}

/// Replaces what is not fully known by the mean of its 3x3 neighbours.
fn smooth_unknown(plane: &mut Plane, weight: &Plane) {
    if weight.values.iter().all(|&w| w >= 1.0) {
        return;
    }
    let before = plane.clone();
    plane.for_rows(|y, row| {
        for (x, v) in row.iter_mut().enumerate() {
            if weight.at(x, y) < 1.0 {
                let (x, y) = (x as isize, y as isize);
                let line = |dy| {
                    before.clamped(x - 1, y + dy) + before.clamped(x, y + dy) + before.clamped(x + 1, y + dy)
                };
                *v = (line(-1) + line(0) + line(1)) / 9.0;
            }
        }
    });
}

/// Means of 2x2 pixels; an odd border counts itself twice.
fn halve(plane: &Plane) -> Plane {
    Plane::from_fn(plane.width.div_ceil(2), plane.height.div_ceil(2), |x, y| {
        let (x, y) = (2 * x as isize, 2 * y as isize);
        let top = plane.clamped(x, y) + plane.clamped(x + 1, y);
        0.25 * (top + plane.clamped(x, y + 1) + plane.clamped(x + 1, y + 1))
    })
}

/// Bilinear doubling to a given size.
fn double(plane: &Plane, width: usize, height: usize) -> Plane {
    Plane::from_fn(width, height, |x, y| {
        let near = |v: usize| {
            (
                (v / 2) as isize,
                (v / 2) as isize + if v.is_multiple_of(2) { -1 } else { 1 },
            )
        };
        let ((x0, x1), (y0, y1)) = (near(x), near(y));
        let line = |y| 0.75 * plane.clamped(x0, y) + 0.25 * plane.clamped(x1, y);
        0.75 * line(y0) + 0.25 * line(y1)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holed(width: usize, height: usize) -> Plane {
        Plane::from_fn(width, height, |x, y| {
            let inside = x > width / 4 && x < 3 * width / 4 && y > height / 4 && y < 3 * height / 4;
            f32::from(!inside)
        })
    }

    #[test]
    fn known_values_stay_and_a_constant_is_continued() {
        let weight = holed(37, 22);
        let values = Plane::from_fn(37, 22, |x, y| if weight.at(x, y) > 0.0 { 0.4 } else { f32::NAN });
        let filled = fill(&values, &weight);
        assert!(filled.values.iter().all(|v| (v - 0.4).abs() < 1e-5));
    }

    #[test]
    fn a_ramp_is_continued_roughly() {
        let weight = holed(64, 64);
        let filled = fill(&Plane::from_fn(64, 64, |x, _| x as f32 / 64.0), &weight);
        for x in 16..48 {
            assert!((filled.at(x, 32) - x as f32 / 64.0).abs() < 0.12);
        }
    }

    #[test]
    fn nothing_known_is_zero() {
        let filled = fill(&Plane::filled(5, 1, f32::NAN), &Plane::filled(5, 1, 0.0));
        assert_eq!(filled.values, vec![0.0; 5]);
        assert_eq!(fill(&Plane::default(), &Plane::default()), Plane::default());
    }
}
