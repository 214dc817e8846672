//! Gauss-Newton alignment of one level of a pyramid.
//!
//! The residual is `r = T(H x) - I(x) - b`, with `b` for a change of exposure. Steps are compositional, `H <- H (1 + D)`,
//! with the gradient averaged over both pictures (efficient second-order minimisation: Benhimane and Malis, 2004), which
//! converges in few steps and is not biased towards either picture's noise. Weights are Tukey's biweight with the scale
//! from the median absolute residual, so that what moves on its own drops out.

use rayon::prelude::*;

use super::Homography;
use super::register::{Level, Sums};
use crate::Plane;

/// The most steps on one level.
const STEPS: usize = 20;

/// Pixels of movement at the corners below which a level is done.
const STILL: f64 = 0.002;

/// Tukey's constant: residuals past this many standard deviations have no weight.
const TUKEY: f32 = 4.685;

/// The least standard deviation of residuals, in stops: pictures without any noise.
const QUIET: f32 = 2e-3;

/// Unknowns: eight of the map, one for exposure.
const UNKNOWNS: usize = 9;

/// Which maps are looked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Freedom {
    /// Shift, turn, zoom, skew.
    Affine,
    /// All of a homography.
    Projective,
}

/// How well two pictures are aligned.
pub(super) struct Fit {
    /// From positions here to positions there, in pixels of the level.
    pub map: Homography,
    /// How many stops brighter the picture there is.
    pub exposure: f32,
    /// Over what both show, outliers weighted down.
    pub correlation: f64,
    /// The share of the level that both show.
    pub overlap: f64,
}

/// Aligns two levels, starting from `map`; `None` where there is nothing to go by.
pub(super) fn descend(here: &Level, there: &Level, map: Homography, freedom: Freedom) -> Option<Fit> {
    let (width, height) = here.light.size();
    if width < 8 || height < 8 {
        return None;
    }
    // Coordinates from about -1 to 1 keep the equations balanced.
    let scale = 0.5 * width.max(height) as f64;
    let centre = (0.5 * width as f64, 0.5 * height as f64);
    let from_unit = Homography([[scale, 0.0, centre.0], [0.0, scale, centre.1], [0.0, 0.0, 1.0]]);
    let to_unit = from_unit.inverse()?;
    let window = peel_image::Rect::of_size(width as u32, height as u32);
    let mut map = map;
    let mut exposure = 0f32;
    for _ in 0..STEPS {
        let view = View::new(here, there, &map);
        let (offset, sigma) = view.spread(exposure)?;
        exposure = offset;
        let step = view
            .equations(exposure, sigma, scale, centre, freedom)
            .solve(freedom)?;
        let [a, b, c, d, e, f, g, h, o] = step;
        exposure += o as f32;
        let moved = Homography([[1.0 + a, b, c], [d, 1.0 + e, f], [g, h, 1.0]]);
        let next = map.after(&from_unit.after(&moved).after(&to_unit));
        let by = next.distance(&map, window);
        if !by.is_finite() {
            return None;
        }
        map = next;
        if by < STILL {
            break;
        }
    }
    let view = View::new(here, there, &map);
    let (offset, sigma) = view.spread(exposure)?;
    Some(view.fit(map, offset, sigma))
}

/// The picture there as seen from here.
struct View<'a> {
    here: &'a Level,
    seen: Plane,
    /// Whether both frames show the background at a pixel, whose neighbours are seen too.
    both: Vec<bool>,
}

impl View<'_> {
    fn new<'a>(here: &'a Level, there: &Level, map: &Homography) -> View<'a> {
        let (width, height) = here.light.size();
        let mut seen = Plane::filled(width, height, f32::NAN);
        seen.for_rows(|y, row| {
            for (x, value) in row.iter_mut().enumerate() {
                let (x, y) = map.point(x as f64 + 0.5, y as f64 + 0.5);
                if let Some(light) = cubic(there, x - 0.5, y - 0.5) {
                    *value = light;
                }
            }
        });
        let known = |x: usize, y: usize| !seen.at(x, y).is_nan() && here.shows.at(x, y) > 0.0;
        let both = (0..width * height)
            .into_par_iter()
            .map(|i| {
                let (x, y) = (i % width, i / width);
                let inside = x > 0 && y > 0 && x + 1 < width && y + 1 < height;
                inside
                    && known(x, y)
                    && known(x - 1, y)
                    && known(x + 1, y)
                    && known(x, y - 1)
                    && known(x, y + 1)
            })
            .collect();
        View { here, seen, both }
    }

    fn residual(&self, i: usize, exposure: f32) -> f32 {
        self.seen.values[i] - self.here.light.values[i] - exposure
    }

    /// Median residual and standard deviation, both robust.
    fn spread(&self, exposure: f32) -> Option<(f32, f32)> {
        let mut residuals: Vec<f32> = (0..self.both.len())
            .filter(|&i| self.both[i])
            .map(|i| self.residual(i, exposure))
            .collect();
        if residuals.len() < 64 {
            return None;
        }
        let middle = residuals.len() / 2;
        let median = |values: &mut [f32]| *values.select_nth_unstable_by(middle, f32::total_cmp).1;
        let centre = median(&mut residuals);
        residuals.iter_mut().for_each(|r| *r = (*r - centre).abs());
        Some((exposure + centre, (1.4826 * median(&mut residuals)).max(QUIET)))
    }

    /// The normal equations, summed row by row in a fixed order.
    fn equations(
        &self,
        exposure: f32,
        sigma: f32,
        scale: f64,
        centre: (f64, f64),
        freedom: Freedom,
    ) -> Equations {
        let (width, height) = self.here.light.size();
        let row = |y: usize| {
            let mut sums = Equations::default();
            for x in 1..width.saturating_sub(1) {
                let i = y * width + x;
                let weight = if self.both[i] {
                    tukey(self.residual(i, exposure), sigma)
                } else {
                    0.0
                };
                if weight <= 0.0 {
                    continue;
                }
                let slope = |plane: &Plane, step: usize| plane.values[i + step] - plane.values[i - step];
                let mean = |step: usize| {
                    let both = slope(&self.seen, step) + slope(&self.here.light, step);
                    f64::from(0.25 * both) * scale
                };
                let (gx, gy) = (mean(1), mean(width));
                let (u, v) = (
                    (x as f64 + 0.5 - centre.0) / scale,
                    (y as f64 + 0.5 - centre.1) / scale,
                );
                let radial = if freedom == Freedom::Projective {
                    -(gx * u + gy * v)
                } else {
                    0.0
                };
                let slopes = [
                    gx * u,
                    gx * v,
                    gx,
                    gy * u,
                    gy * v,
                    gy,
                    radial * u,
                    radial * v,
                    -1.0,
                ];
                sums.add(f64::from(weight), &slopes, f64::from(self.residual(i, exposure)));
            }
            sums
        };
        let rows: Vec<Equations> = (1..height.saturating_sub(1)).into_par_iter().map(row).collect();
        rows.iter().fold(Equations::default(), Equations::with)
    }

    fn fit(&self, map: Homography, exposure: f32, sigma: f32) -> Fit {
        let mut sums = Sums::default();
        let mut both = 0usize;
        for i in (0..self.both.len()).filter(|&i| self.both[i]) {
            both += 1;
            let weight = tukey(self.residual(i, exposure), sigma);
            if weight > 0.0 {
                sums.add(
                    weight.into(),
                    self.here.light.values[i].into(),
                    self.seen.values[i].into(),
                );
            }
        }
        // What is weighted away must not make the rest look better than it is.
        let kept = sums.weight / both.max(1) as f64;
        let correlation = if kept < 0.3 { 0.0 } else { sums.correlation() };
        Fit {
            map,
            exposure,
            correlation,
            overlap: both as f64 / self.both.len() as f64,
        }
    }
}

fn tukey(residual: f32, sigma: f32) -> f32 {
    let t = residual / (TUKEY * sigma);
    if t.abs() < 1.0 {
        (1.0 - t * t) * (1.0 - t * t)
    } else {
        0.0
    }
}

/// Catmull-Rom interpolation of a level at a position measured from the first pixel's centre; `None` outside, or where
/// any of the sixteen pixels is hidden.
fn cubic(level: &Level, x: f64, y: f64) -> Option<f32> {
    let (width, height) = level.light.size();
    let first = |v: f64, n: usize| {
        let at = v.floor();
        (at >= 1.0 && at + 2.0 < n as f64).then_some((at as usize - 1, (v - at) as f32))
    };
    let ((x, u), (y, v)) = (first(x, width)?, first(y, height)?);
    let (across, down) = (crate::filters::catmull_rom(u), crate::filters::catmull_rom(v));
    let mut sum = 0.0;
    for (j, &wy) in down.iter().enumerate() {
        let light = &level.light.row(y + j)[x..x + 4];
        let shows = &level.shows.row(y + j)[x..x + 4];
        if shows.iter().any(|&s| s <= 0.0) {
            return None;
        }
        sum += wy * light.iter().zip(&across).map(|(&v, &wx)| v * wx).sum::<f32>();
    }
    Some(sum)
}

/// Sums of `w j j'` (upper half) and `w j r`.
#[derive(Clone, Copy)]
struct Equations {
    left: [[f64; UNKNOWNS]; UNKNOWNS],
    right: [f64; UNKNOWNS],
}

impl Default for Equations {
    fn default() -> Equations {
        Equations {
            left: [[0.0; UNKNOWNS]; UNKNOWNS],
            right: [0.0; UNKNOWNS],
        }
    }
}

impl Equations {
    fn add(&mut self, weight: f64, slopes: &[f64; UNKNOWNS], residual: f64) {
        for i in 0..UNKNOWNS {
            let weighted = weight * slopes[i];
            for (left, slope) in self.left[i][i..].iter_mut().zip(&slopes[i..]) {
                *left += weighted * slope;
            }
            self.right[i] += weighted * residual;
        }
    }

    fn with(mut self, other: &Equations) -> Equations {
        for i in 0..UNKNOWNS {
            for j in i..UNKNOWNS {
                self.left[i][j] += other.left[i][j];
            }
            self.right[i] += other.right[i];
        }
        self
    }

    /// The step that lowers the residual, by Cholesky decomposition; `None` where the picture does not determine it.
    fn solve(mut self, freedom: Freedom) -> Option<[f64; UNKNOWNS]> {
        if freedom == Freedom::Affine {
            // Unknowns that nothing depends on stay where they are.
            (self.left[6][6], self.left[7][7]) = (1.0, 1.0);
        }
        let mut lower = [[0f64; UNKNOWNS]; UNKNOWNS];
        for i in 0..UNKNOWNS {
            for j in 0..=i {
                let dot: f64 = (0..j).map(|k| lower[i][k] * lower[j][k]).sum();
                let rest = self.left[j][i] - dot;
                if i == j {
                    // What is left of the diagonal tells how well an unknown is told apart from those before it.
                    if rest <= 1e-9 * self.left[i][i] || rest <= 0.0 {
                        return None;
                    }
                    lower[i][i] = rest.sqrt();
                } else {
                    lower[i][j] = rest / lower[j][j];
                }
            }
        }
        let mut half = [0.0; UNKNOWNS];
        for i in 0..UNKNOWNS {
            let dot: f64 = (0..i).map(|k| lower[i][k] * half[k]).sum();
            half[i] = (-self.right[i] - dot) / lower[i][i];
        }
        let mut step = [0.0; UNKNOWNS];
        for i in (0..UNKNOWNS).rev() {
            let dot: f64 = (i + 1..UNKNOWNS).map(|k| lower[k][i] * step[k]).sum();
            step[i] = (half[i] - dot) / lower[i][i];
        }
        step.iter().all(|v| v.is_finite()).then_some(step)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equations_are_solved() {
        let mut equations = Equations::default();
        let truth: [f64; UNKNOWNS] = std::array::from_fn(|i| i as f64 - 3.5);
        for n in 0..40 {
            let slopes: [f64; UNKNOWNS] = std::array::from_fn(|i| {
                ((n * 7 + i * i * 3) as f64 * 0.37).sin() + f64::from(u8::from(n % 9 == i))
            });
            let residual = -slopes.iter().zip(&truth).map(|(s, t)| s * t).sum::<f64>();
            equations.add(1.0 + n as f64, &slopes, residual);
        }
        let step = equations.solve(Freedom::Projective).unwrap();
        assert!(
            step.iter().zip(&truth).all(|(a, b)| (a - b).abs() < 1e-8),
            "{step:?}"
        );
        assert_eq!(Equations::default().solve(Freedom::Projective), None);
    }
}
