//! Weights of source pixels along one axis.

use std::f64::consts::PI;
use std::ops::Range;

use crate::math::{ROUNDER, hypot, sin_cos_small};
use crate::{Filter, Matrix};

/// The filter on both axes of the source.
pub(super) struct Kernel {
    pub x: Axis,
    pub y: Axis,
}

impl Kernel {
    pub fn new(inverse: &Matrix, filter: Filter) -> Kernel {
        Kernel {
            x: Axis::new(filter, hypot(inverse.xx, inverse.xy)),
            y: Axis::new(filter, hypot(inverse.yx, inverse.yy)),
        }
    }

    /// Whether the kernel is the filter itself on both axes.
    pub fn is_unscaled(&self) -> bool {
        self.x.scale == 1.0 && self.y.scale == 1.0
    }
}

/// The filter along one axis, widened by `scale` (1 or more).
pub(super) struct Axis {
    filter: Filter,
    scale: f64,
}

/// Weights of the consecutive source pixels that start at `first`; their sum is 1.
#[derive(Default)]
pub(super) struct Taps {
    pub first: i32,
    pub weights: Vec<f32>,
}

impl Axis {
    /// `footprint`: half the side of the box around the source image of an output pixel's unit circle.
    fn new(filter: Filter, footprint: f64) -> Axis {
        // Rotations come out as 1.0000000000000002; that must not count as shrinking.
        let shrinks = footprint > 1.0 + 1e-9 && filter != Filter::Nearest;
        Axis {
            filter,
            scale: if shrinks { footprint } else { 1.0 },
        }
    }

    /// Source pixels from the centre that can have weight.
    pub fn reach(&self) -> f64 {
        self.filter.radius() * self.scale
    }

    /// The taps of the output pixel whose centre maps to `centre`; those outside the source's pixels `data`
    /// may be left out, since they weigh nothing but transparent black.
    pub fn fill(&self, centre: f64, data: Range<i32>, taps: &mut Taps) {
        taps.weights.clear();
        if self.filter == Filter::Nearest {
            taps.first = centre.floor() as i32;
            taps.weights.push(1.0);
            return;
        }
        // Pixel i has its centre at i + 0.5.
        let mut first = (centre - 0.5 - self.reach()).ceil();
        let mut last = (centre - 0.5 + self.reach()).floor();
        let mut sum = 0.0;
        if last - first > MANY_TAPS {
            // A picture shrunk to a point: only weigh the pixels that there are. With so many taps their
            // sum is the kernel's integral.
            first = first.max(f64::from(data.start));
            last = last.min(f64::from(data.end) - 1.0);
            sum = self.scale;
        }
        let count = (last - first + 1.0).max(0.0) as usize;
        let given = sum;
        taps.first = first as i32;
        for i in 0..count {
            let weight = self.filter.weight((first + i as f64 + 0.5 - centre) / self.scale);
            taps.weights.push(weight as f32);
            sum += weight;
        }
        let norm = (1.0 / if given > 0.0 { given } else { sum }) as f32;
        for weight in &mut taps.weights {
            *weight *= norm;
        }
    }
}

/// Taps along one axis beyond which only those inside the data window are computed.
const MANY_TAPS: f64 = 4096.0;

/// Output pixels whose taps are computed together.
pub(super) const RUN: usize = 16;

/// Taps of a run of output pixels along one axis: the first source pixel of each, and the first weights of all, the
/// second weights of all, and so on.
pub(super) struct RunTaps<const N: usize> {
    firsts: [i32; RUN],
    weights: [[f32; RUN]; N],
}

impl<const N: usize> RunTaps<N> {
    /// The taps of a filter that is not widened, for output pixels whose centres map to `centres`. `N` must be twice
    /// the filter's radius.
    #[inline(always)]
    pub fn new(filter: Filter, centres: &[f64; RUN]) -> RunTaps<N> {
        let mut out = RunTaps {
            firsts: [0; RUN],
            weights: [[0.0; RUN]; N],
        };
        let mut parts = [0.0; RUN];
        for ((first, part), centre) in out.firsts.iter_mut().zip(&mut parts).zip(centres) {
            // Pixel i has its centre at i + 0.5. Rounded down without a call or a conversion.
            let position = centre - 0.5;
            let rounded = position + ROUNDER;
            let nearest = rounded - ROUNDER;
            let above = nearest > position;
            let base = if above { nearest - 1.0 } else { nearest };
            *part = (position - base) as f32;
            *first = (rounded.to_bits() as i32)
                .wrapping_sub(i32::from(above))
                .wrapping_add(1 - N as i32 / 2);
        }
        match filter {
            Filter::Bilinear => out.weigh(&parts, |t| [1.0 - t, t]),
            Filter::Cubic => out.weigh(&parts, catmull_rom),
            Filter::Mitchell => out.weigh(&parts, mitchell),
            Filter::Lanczos3 => out.weigh(&parts, lanczos3),
            Filter::Nearest => out.weigh(&parts, |_| [1.0]),
        }
        out
    }

    #[inline(always)]
    fn weigh<const M: usize>(&mut self, parts: &[f32; RUN], weights: impl Fn(f32) -> [f32; M]) {
        for (i, &t) in parts.iter().enumerate() {
            for (all, weight) in self.weights.iter_mut().zip(weights(t)) {
                all[i] = weight;
            }
        }
    }

    /// Those of pixel `i` of the run.
    #[inline(always)]
    pub fn of(&self, i: usize) -> (i32, [f32; N]) {
        (self.firsts[i], std::array::from_fn(|n| self.weights[n][i]))
    }
}

/// Catmull-Rom at the distances t + 1, t, 1 - t, 2 - t.
#[inline(always)]
fn catmull_rom(t: f32) -> [f32; 4] {
    let (t2, t3) = (t * t, t * t * t);
    [
        -0.5 * t3 + t2 - 0.5 * t,
        1.5 * t3 - 2.5 * t2 + 1.0,
        -1.5 * t3 + 2.0 * t2 + 0.5 * t,
        0.5 * t3 - 0.5 * t2,
    ]
}

/// Mitchell-Netravali at the distances t + 1, t, 1 - t, 2 - t, for B = C = 1/3.
#[inline(always)]
fn mitchell(t: f32) -> [f32; 4] {
    let (t2, t3) = (t * t, t * t * t);
    [
        (-7.0 * t3 + 15.0 * t2 - 9.0 * t + 1.0) / 18.0,
        (21.0 * t3 - 36.0 * t2 + 16.0) / 18.0,
        (-21.0 * t3 + 27.0 * t2 + 9.0 * t + 1.0) / 18.0,
        (7.0 * t3 - 6.0 * t2) / 18.0,
    ]
}

/// Three-lobed Lanczos at the distances t + 2, t + 1, t, 1 - t, 2 - t, 3 - t, divided by its sum. Along the taps
/// sin(pi x) only changes its sign, and sin(pi x / 3) follows from one sine and cosine.
#[inline(always)]
fn lanczos3(t: f32) -> [f32; 6] {
    const HALF_ROOT: f32 = 0.866_025_4;
    let exact = f64::from(t);
    // By halves, so that all angles are small: sin 2x = 2 sin x cos x, cos 2x = 1 - 2 sin^2 x.
    let from_end = if exact > 0.5 { 1.0 - exact } else { exact };
    let (sin, cos) = sin_cos_small(PI / 2.0 * from_end);
    let outer = (2.0 * sin * cos) as f32;
    let (sin, cos) = sin_cos_small(PI / 6.0 * exact);
    let (sin, cos) = ((2.0 * sin * cos) as f32, (1.0 - 2.0 * sin * sin) as f32);
    // sin(pi (t + n) / 3) for n = 2, 1, 0, -1, -2, -3.
    let inner = [
        HALF_ROOT * cos - 0.5 * sin,
        HALF_ROOT * cos + 0.5 * sin,
        sin,
        0.5 * sin - HALF_ROOT * cos,
        -0.5 * sin - HALF_ROOT * cos,
        -sin,
    ];
    let mut weights = [0.0; 6];
    let mut sum = 0.0;
    for (i, weight) in weights.iter_mut().enumerate() {
        let x = t + 2.0 - i as f32;
        let sign = if i % 2 == 0 { outer } else { -outer };
        *weight = sign * inner[i] / (x * x);
        sum += *weight;
    }
    // At the ends, where the filter is flat, the quotients above would be 0 / 0.
    let at_end = |i: usize, weight: f32| match t {
        t if t < 1e-4 => f32::from(i == 2),
        t if t > 1.0 - 1e-4 => f32::from(i == 3),
        _ => weight / sum,
    };
    std::array::from_fn(|i| at_end(i, weights[i]))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn agree<const N: usize>(filter: Filter, centre: f64) -> bool {
        let axis = Axis { filter, scale: 1.0 };
        let mut taps = Taps::default();
        axis.fill(centre, -1000..1000, &mut taps);
        let general = |i: i32| {
            let at = usize::try_from(i - taps.first).ok();
            at.and_then(|at| taps.weights.get(at)).copied().unwrap_or(0.0)
        };
        let (first, weights) = RunTaps::<N>::new(filter, &[centre; RUN]).of(RUN - 1);
        let close = |(i, &weight): (i32, &f32)| (weight - general(i)).abs() < 2e-6;
        (first..).zip(&weights).all(close)
    }

    #[test]
    fn taps_just_below_a_whole_pixel_are_numbers() {
        for centre in [0.5f64, -3.5, 40.5] {
            let (first, weights) = RunTaps::<6>::new(Filter::Lanczos3, &[centre - 1e-12; RUN]).of(0);
            assert_eq!(
                (first, weights.iter().sum::<f32>()),
                ((centre - 0.5) as i32 - 3, 1.0)
            );
        }
    }

    proptest! {
        #[test]
        fn the_quick_taps_are_the_general_ones(centre in -99.0f64..99.0, whole in any::<bool>()) {
            let centre = if whole { centre.floor() + 0.5 } else { centre };
            prop_assert!(agree::<2>(Filter::Bilinear, centre));
            prop_assert!(agree::<4>(Filter::Cubic, centre));
            prop_assert!(agree::<4>(Filter::Mitchell, centre));
            // Near a whole pixel the sums of f32 sines lose digits; 1e-4 of a pixel is rounded away.
            let t = (centre - 0.5).rem_euclid(1.0);
            prop_assert!(agree::<6>(Filter::Lanczos3, centre) || !(2e-3..1.0 - 2e-3).contains(&t));
        }
    }
}
