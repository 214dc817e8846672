//! Small filters over planes: smoothing, halving and doubling, and cubic up-sampling by a whole factor.

use crate::Plane;

/// The cubic step from 0 at `low` to 1 at `high`.
#[inline]
pub(crate) fn smoothstep(x: f32, low: f32, high: f32) -> f32 {
    let t = ((x - low) / (high - low)).clamp(0.0, 1.0);
    t * t * (3.0 - 2.0 * t)
}

/// The mean over (2r + 1) x (2r + 1) pixels, the border repeated.
pub(crate) fn box_blur(plane: &Plane, radius: usize) -> Plane {
    let r = radius as isize;
    let weight = 1.0 / (2 * radius + 1) as f32;
    let sum = |f: &dyn Fn(isize) -> f32| (-r..=r).map(f).sum::<f32>() * weight;
    let (w, h) = plane.size();
    let across = Plane::from_fn(w, h, |x, y| sum(&|d| plane.clamped(x as isize + d, y as isize)));
    Plane::from_fn(w, h, |x, y| sum(&|d| across.clamped(x as isize, y as isize + d)))
}

/// A Gaussian of standard deviation `sigma` pixels, cut off at three of them, the border repeated.
pub(crate) fn gaussian(plane: &Plane, sigma: f32) -> Plane {
    if sigma <= 0.0 || plane.values.is_empty() {
        return plane.clone();
    }
    let radius = (3.0 * sigma).ceil() as isize;
    let mut kernel: Vec<f32> = (-radius..=radius)
        .map(|d| (-((d * d) as f32) / (2.0 * sigma * sigma)).exp())
        .collect();
    let total: f32 = kernel.iter().sum();
    kernel.iter_mut().for_each(|k| *k /= total);
    let (w, h) = plane.size();
    let mut across = Plane::filled(w, h, 0.0);
    across.for_rows(|y, out| {
        let row = plane.row(y);
        for (d, &k) in (-radius..).zip(&kernel) {
            for (x, v) in out.iter_mut().enumerate() {
                *v += k * row[(x as isize + d).clamp(0, w as isize - 1) as usize];
            }
        }
    });
    let mut down = Plane::filled(w, h, 0.0);
    down.for_rows(|y, out| {
        for (d, &k) in (-radius..).zip(&kernel) {
            let row = across.row((y as isize + d).clamp(0, h as isize - 1) as usize);
            out.iter_mut().zip(row).for_each(|(v, &a)| *v += k * a);
        }
    });
    down
}

/// Cubic (Catmull-Rom) up-sampling of planes by a whole factor, row by row and only where it is asked for.
///
/// Pixel `x` of the large picture has its centre at `(x + 0.5) / factor - 0.5` of the small one. The border is
/// repeated. The large planes never exist as a whole.
pub(crate) struct Upsampler {
    factor: usize,
    /// For each phase `x % factor`: the four weights, and whether the first tap lies 2 or 1 pixels before `x / factor`.
    phases: Vec<([f32; 4], isize)>,
    /// The same weights tap by tap, and the first phase whose taps begin one pixel before.
    taps: [Vec<f32>; 4],
    later: usize,
}

impl Upsampler {
    /// For this ratio of large to small.
    pub fn new(factor: usize) -> Upsampler {
        let phases: Vec<([f32; 4], isize)> = (0..factor)
            .map(|phase| {
                let centre = (phase as f32 + 0.5) / factor as f32 - 0.5;
                let first = centre.floor();
                (catmull_rom(centre - first), first as isize - 1)
            })
            .collect();
        Upsampler {
            factor,
            taps: std::array::from_fn(|tap| phases.iter().map(|(weights, _)| weights[tap]).collect()),
            later: phases.iter().take_while(|(_, first)| *first == -2).count(),
            phases,
        }
    }

    /// Values of row `y` from column `x0` on, as many as `out` holds.
    pub fn row(&self, small: &Plane, y: usize, x0: usize, out: &mut [f32]) {
        let factor = self.factor;
        if factor == 1 {
            out.copy_from_slice(&small.row(y)[x0..x0 + out.len()]);
            return;
        }
        let (weights, first) = self.phases[y % factor];
        let rows: [&[f32]; 4] = std::array::from_fn(|tap| {
            let row = (y / factor) as isize + first + tap as isize;
            small.row(row.clamp(0, small.height as isize - 1) as usize)
        });
        // The small columns needed, blended over the four rows, two repeated pixels on either side.
        let (from, to) = (x0 / factor, (x0 + out.len() - 1) / factor + 1);
        let column = |x: isize| {
            let x = x.clamp(0, small.width as isize - 1) as usize;
            (0..4).map(|tap| weights[tap] * rows[tap][x]).sum::<f32>()
        };
        let blended: Vec<f32> = (from as isize - 2..to as isize + 2).map(column).collect();
        // Most planes are even in most places.
        if blended.iter().all(|&v| v == blended[0]) {
            out.fill(blended[0]);
            return;
        }
        // Half a cell at a time: there all pixels have the same four taps.
        let (mut rest, mut cell, mut phase) = (out, 0, x0 % factor);
        while !rest.is_empty() {
            let (end, before) = if phase < self.later {
                (self.later, 2)
            } else {
                (factor, 1)
            };
            let count = (end - phase).min(rest.len());
            let (own, after) = rest.split_at_mut(count);
            let taps = &blended[cell + 2 - before..][..4];
            let weights = self.taps.each_ref().map(|weights| &weights[phase..phase + count]);
            for (i, v) in own.iter_mut().enumerate() {
                *v = weights[0][i] * taps[0]
                    + weights[1][i] * taps[1]
                    + weights[2][i] * taps[2]
                    + weights[3][i] * taps[3];
            }
            (rest, phase) = (after, phase + count);
            if phase == factor {
                (cell, phase) = (cell + 1, 0);
            }
        }
    }
}

/// Weights of the four pixels around a position `t` (0 to 1) past the second.
pub(crate) fn catmull_rom(t: f32) -> [f32; 4] {
    let (t2, t3) = (t * t, t * t * t);
    [
        -0.5 * t3 + t2 - 0.5 * t,
        1.5 * t3 - 2.5 * t2 + 1.0,
        -1.5 * t3 + 2.0 * t2 + 0.5 * t,
        0.5 * t3 - 0.5 * t2,
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn smoothing_keeps_a_constant() {
        let plane = Plane::filled(9, 7, 0.3);
        for smooth in [box_blur(&plane, 2), gaussian(&plane, 1.7)] {
            assert!(smooth.values.iter().all(|v| (v - 0.3).abs() < 1e-6));
        }
    }

    #[test]
    fn up_sampling_keeps_lines_straight_and_centres_in_place() {
        let small = Plane::from_fn(12, 10, |x, y| 2.0 * x as f32 - 3.0 * y as f32);
        for factor in 1..=7 {
            let upsampler = Upsampler::new(factor);
            let position = |v: usize| (v as f32 + 0.5) / factor as f32 - 0.5;
            for y in 2 * factor..8 * factor {
                let mut out = vec![0.0; 7 * factor];
                upsampler.row(&small, y, 3 * factor - 1, &mut out);
                for (i, v) in out.iter().enumerate() {
                    let expected = 2.0 * position(3 * factor - 1 + i) - 3.0 * position(y);
                    assert!((v - expected).abs() < 1e-4, "factor {factor}: {v} for {expected}");
                }
            }
        }
    }

    #[test]
    fn up_sampling_reaches_the_borders() {
        let small = Plane::filled(3, 2, 0.7);
        let upsampler = Upsampler::new(5);
        let mut out = vec![0.0; 15];
        for y in 0..10 {
            upsampler.row(&small, y, 0, &mut out);
            assert!(out.iter().all(|v| (v - 0.7).abs() < 1e-6));
        }
    }
}
