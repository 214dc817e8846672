//! Weights of source pixels along one axis.

use std::f32::consts::PI;
use std::ops::Range;

use crate::{Filter, Matrix};

/// The filter on both axes of the source.
pub(super) struct Kernel {
    pub x: Axis,
    pub y: Axis,
}

impl Kernel {
    pub fn new(inverse: &Matrix, filter: Filter) -> Kernel {
        Kernel {
            x: Axis::new(filter, inverse.xx.hypot(inverse.xy)),
            y: Axis::new(filter, inverse.yx.hypot(inverse.yy)),
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

/// The `N` taps of a filter that is not widened, for an output pixel whose centre maps to `centre`: the first
/// source pixel and the weights. `N` must be twice the filter's radius.
#[inline(always)]
pub(super) fn unit_taps<const N: usize>(filter: Filter, centre: f64) -> (i32, [f32; N]) {
    // Pixel i has its centre at i + 0.5.
    // Rounded down without the call that `floor` is on older processors.
    let position = centre - 0.5;
    let towards_zero = position as i32;
    let base = f64::from(towards_zero - i32::from(f64::from(towards_zero) > position));
    let t = (position - base) as f32;
    let mut weights = [0.0; N];
    match filter {
        Filter::Bilinear => fill(&mut weights, [1.0 - t, t]),
        Filter::Cubic => fill(&mut weights, catmull_rom(t)),
        Filter::Mitchell => fill(&mut weights, mitchell(t)),
        Filter::Lanczos3 => fill(&mut weights, lanczos3(t)),
        Filter::Nearest => fill(&mut weights, [1.0]),
    }
    (base as i32 + 1 - N as i32 / 2, weights)
}

#[inline]
fn fill<const M: usize>(out: &mut [f32], weights: [f32; M]) {
    for (out, weight) in out.iter_mut().zip(weights) {
        *out = weight;
    }
}

/// Catmull-Rom at the distances t + 1, t, 1 - t, 2 - t.
#[inline]
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
#[inline]
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
#[inline]
fn lanczos3(t: f32) -> [f32; 6] {
    if t < 1e-4 {
        // The quotient below would be 0 / 0; here the filter is flat.
        return [0.0, 0.0, 1.0, 0.0, 0.0, 0.0];
    }
    if t > 1.0 - 1e-4 {
        return [0.0, 0.0, 0.0, 1.0, 0.0, 0.0];
    }
    let outer = (PI * t).sin();
    let (sin, cos) = (PI / 3.0 * t).sin_cos();
    const HALF_ROOT: f32 = 0.866_025_4;
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
    weights.map(|weight| weight / sum)
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
        let (first, weights) = unit_taps::<N>(filter, centre);
        let close = |(i, &weight): (i32, &f32)| (weight - general(i)).abs() < 2e-6;
        (first..).zip(&weights).all(close)
    }

    #[test]
    fn taps_just_below_a_whole_pixel_are_numbers() {
        for centre in [0.5f64, -3.5, 40.5] {
            let (first, weights) = unit_taps::<6>(Filter::Lanczos3, centre - 1e-12);
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
