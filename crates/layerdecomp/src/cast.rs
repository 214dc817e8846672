//! Where the object may throw its shadow: its outline laid on the ground or moved over a wall in a few hundred ways, each
//! asked whether the plate gets darker along its rim.
//!
//! A shadow on even ground is the outline sheared and squeezed about the line where the object stands; on a wall behind it, the
//! outline moved. Along the rim of the right one the plate's logarithm falls by the same amount everywhere, whatever the ground looks
//! like. So with a picture's gradients `g`, the outline's `m` and weights `w` that count less where the ground is busy, the fall is
//! `-Σ w g m / Σ w m²` (least squares) and `-Σ w g m / √Σ w m²` says how sure of it one can be. Hundreds are asked at a low resolution, the
//! surest again at twice that one.

use std::ops::Range;

use candle_core::Tensor;

use crate::fill::dilated;
use crate::{Error, Result};

/// Channels of [`cast_guesses`].
pub const CAST_CHANNELS: usize = 6;
/// Short side of the resolution at which all are asked is at least this, unless the picture is smaller.
const COARSEST: usize = 32;
/// So many are asked again at twice the resolution.
const AGAIN: usize = 24;
/// Widths of the rim, as blurs in pixels of the resolution at hand, coarse and fine.
const COARSE_RIMS: [f32; 2] = [0.6, 1.2];
const FINE_RIMS: [f32; 2] = [0.8, 2.0];
/// Gradient of a logarithm below which ground counts as even.
const EVEN: f32 = 0.02;
/// Radius of the neighbourhood, as a blur, in which busy ground is told.
const BUSY: f32 = 2.0;
/// Light that is added before a logarithm is taken.
const DARK: f32 = 0.03;
/// The deepest fall of a shadow, as a logarithm.
const DEEPEST: f32 = 2.0;
/// Outlines of which less than this is in common, of all that is in either, are different guesses.
const SAME: f32 = 0.5;
/// An outline as sure as this counts in full: about a quarter of the surest ones are surer.
const SURE: f32 = 8.0;
/// Fewest pixels of an object.
const FEWEST: usize = 8;

/// From target to source: `(x + y b + c, y d + e)`.
#[derive(Debug, Clone, Copy)]
struct Throw {
    b: f32,
    c: f32,
    d: f32,
    e: f32,
}

impl Throw {
    /// Onto ground that the object stands on at the row `stands`: what is `r` above it falls `r shear` to the right of it and `r squeeze` below.
    fn ground(stands: f32, shear: f32, squeeze: f32) -> Self {
        let up = -1.0 / squeeze;
        Self {
            b: -shear / squeeze,
            c: shear * stands / squeeze,
            d: up,
            e: stands - up * stands,
        }
    }

    /// Onto a wall, moved by `(x, y)`.
    fn wall(x: f32, y: f32) -> Self {
        Self {
            b: 0.0,
            c: -x,
            d: 1.0,
            e: -y,
        }
    }

    fn scaled(self, by: f32) -> Self {
        Self {
            c: self.c * by,
            e: self.e * by,
            ..self
        }
    }
}

/// All that are asked, in pixels, for an outline within `left..right` and `top..bottom`.
fn throws([left, right, top, bottom]: [f32; 4]) -> Vec<Throw> {
    const SQUEEZES: [f32; 10] = [-0.9, -0.6, -0.4, -0.25, -0.12, 0.12, 0.25, 0.4, 0.6, 0.9];
    let mut all = Vec::new();
    for part in [0.0, 0.12] {
        let stands = bottom - part * (bottom - top);
        for squeeze in SQUEEZES {
            for shear in -10..=10 {
                all.push(Throw::ground(stands, 0.25 * shear as f32, squeeze));
            }
        }
    }
    let size = ((bottom - top) * (right - left)).sqrt();
    for far in [0.12, 0.25, 0.45] {
        for turn in 0..16 {
            let (sin, cos) = (std::f32::consts::PI / 8.0 * turn as f32).sin_cos();
            all.push(Throw::wall(far * size * cos, far * size * sin));
        }
    }
    all
}

/// A plane of values, row by row.
#[derive(Clone)]
struct Plane {
    width: usize,
    height: usize,
    values: Vec<f32>,
}

impl Plane {
    fn map(&self, f: impl Fn(f32) -> f32) -> Self {
        Self {
            values: self.values.iter().map(|v| f(*v)).collect(),
            ..*self
        }
    }

    fn halved(&self) -> Self {
        let (width, height) = (self.width / 2, self.height / 2);
        let mut values = Vec::with_capacity(width * height);
        for y in 0..height {
            for x in 0..width {
                let at = 2 * y * self.width + 2 * x;
                let below = at + self.width;
                values.push(
                    0.25 * (self.values[at]
                        + self.values[at + 1]
                        + self.values[below]
                        + self.values[below + 1]),
                );
            }
        }
        Self {
            width,
            height,
            values,
        }
    }

    /// Gaussian; what is outside is as at the edge.
    fn blurred(&self, sigma: f32) -> Self {
        let radius = (3.0 * sigma).ceil() as isize;
        let mut taps: Vec<f32> = (-radius..=radius)
            .map(|i| (-0.5 * (i as f32 / sigma).powi(2)).exp())
            .collect();
        let sum: f32 = taps.iter().sum();
        taps.iter_mut().for_each(|t| *t /= sum);
        let pass = |from: &[f32], stride: usize, length: usize, at: usize, i: usize| -> f32 {
            taps.iter()
                .zip(-radius..)
                .map(|(t, o)| t * from[at + (i as isize + o).clamp(0, length as isize - 1) as usize * stride])
                .sum()
        };
        let (w, h) = (self.width, self.height);
        let across: Vec<f32> = (0..w * h)
            .map(|at| pass(&self.values, 1, w, at / w * w, at % w))
            .collect();
        let values = (0..w * h).map(|at| pass(&across, w, h, at % w, at / w)).collect();
        Self { values, ..*self }
    }

    /// Half the difference of neighbours, across and down; nothing at the edge.
    fn gradients(&self) -> (Vec<f32>, Vec<f32>) {
        let (w, h) = (self.width, self.height);
        let mut across = vec![0.0; w * h];
        let mut down = vec![0.0; w * h];
        for y in 0..h {
            for x in 0..w {
                let at = y * w + x;
                if x > 0 && x + 1 < w {
                    across[at] = 0.5 * (self.values[at + 1] - self.values[at - 1]);
                }
                if y > 0 && y + 1 < h {
                    down[at] = 0.5 * (self.values[at + w] - self.values[at - w]);
                }
            }
        }
        (across, down)
    }

    /// Bilinear at a place in pixels, centres at halves; nothing outside.
    #[inline]
    fn at(&self, x: f32, y: f32) -> f32 {
        let (x, y) = (x - 0.5, y - 0.5);
        let (w, h) = (self.width as f32, self.height as f32);
        if !(x > -1.0 && y > -1.0 && x < w && y < h) {
            return 0.0;
        }
        let (left, top) = (x.floor(), y.floor());
        let (fx, fy) = (x - left, y - top);
        let (left, top) = (left as isize, top as isize);
        let value = |x: isize, y: isize| {
            if x < 0 || y < 0 || x >= self.width as isize || y >= self.height as isize {
                0.0
            } else {
                self.values[y as usize * self.width + x as usize]
            }
        };
        let upper = value(left, top) * (1.0 - fx) + value(left + 1, top) * fx;
        let lower = value(left, top + 1) * (1.0 - fx) + value(left + 1, top + 1) * fx;
        upper * (1.0 - fy) + lower * fy
    }

    /// As it is thrown, of a plane that is nothing but between `edges` (left, right, top, bottom); and the rows that it reaches.
    ///
    /// A row of the result is a mixture of two rows, moved: how far, and with what fractions, is the same for all of it.
    fn thrown(&self, by: Throw, [left, right, top, bottom]: [f32; 4]) -> (Self, Range<usize>) {
        let (w, h) = (self.width as isize, self.height as isize);
        let mut values = vec![0.0; self.values.len()];
        let within = |from: f32, to: f32, end: usize| {
            let (from, to) = (from.min(to), from.max(to));
            (from - 1.5).max(0.0) as usize..((to + 1.5).max(0.0) as usize).min(end)
        };
        let [first, last] = [top, bottom].map(|row| (row - by.e) / by.d);
        let rows = within(first, last, self.height);
        // With a pixel of nothing on either side.
        let mut mixed = vec![0.0; self.width + 2];
        let nothing = vec![0.0; self.width];
        for row in rows.clone() {
            let (above, fy) = split((row as f32 + 0.5) * by.d + by.e - 0.5);
            let moved = (row as f32 + 0.5) * by.b + by.c;
            let (far, fx) = split(moved);
            let line = |y: isize| match usize::try_from(y) {
                Ok(y) if y < self.height => &self.values[y * self.width..][..self.width],
                _ => &nothing[..],
            };
            if !(-1..h).contains(&above) {
                continue;
            }
            for (mixed, (above, below)) in mixed[1..].iter_mut().zip(line(above).iter().zip(line(above + 1)))
            {
                *mixed = above * (1.0 - fy) + below * fy;
            }
            let columns = within(left - moved, right - moved, self.width);
            let first = (-1 - far).max(columns.start as isize);
            let end = (w - far).min(columns.end as isize);
            if first >= end {
                continue;
            }
            let to = &mut values[row * self.width..][first as usize..end as usize];
            let from = &mixed[(first + far + 1) as usize..];
            for (to, (a, b)) in to.iter_mut().zip(from.iter().zip(&from[1..])) {
                *to = a * (1.0 - fx) + b * fx;
            }
        }
        (Self { values, ..*self }, rows)
    }

    /// Left, right, top and bottom of what is more than `least`.
    fn edges(&self, least: f32) -> [f32; 4] {
        let mut edges = [f32::MAX, 0.0, f32::MAX, 0.0];
        for at in (0..self.values.len()).filter(|at| self.values[*at] > least) {
            let (x, y) = ((at % self.width) as f32, (at / self.width) as f32);
            edges = [
                edges[0].min(x),
                edges[1].max(x + 1.0),
                edges[2].min(y),
                edges[3].max(y + 1.0),
            ];
        }
        edges
    }
}

/// The whole number below a place, and how far behind it the place lies.
fn split(place: f32) -> (isize, f32) {
    // So far outside of any picture that farther makes no difference.
    let place = place.clamp(-1e6, 1e6);
    let whole = place.floor();
    (whole as isize, place - whole)
}

/// An outline and what the plate says to it.
struct Guess {
    throw: Throw,
    outline: Plane,
    sure: f32,
    fall: f32,
}

/// Asks the plate of `logarithm`s whether the outline of `mask` lies on it as each of `throws`, in pixels of this resolution.
fn ask(logarithm: &Plane, mask: &Plane, rims: [f32; 2], throws: &[Throw]) -> Vec<Guess> {
    let (w, h) = (mask.width, mask.height);
    let apart = (w.min(h) / COARSEST).max(1);
    let hole = dilated(&mask.values, h, w, apart);
    let mut guesses = Vec::with_capacity(2 * throws.len());
    for rim in rims {
        let (across, down) = logarithm.blurred(0.6 * rim).gradients();
        let energy = Plane {
            values: across.iter().zip(&down).map(|(x, y)| x * x + y * y).collect(),
            ..*mask
        };
        let around = energy.blurred(BUSY);
        let weights: Vec<f32> = (energy.values.iter().zip(&around.values).zip(&hole))
            .map(|((e, around), hole)| {
                if *hole > 0.1 {
                    0.0
                } else {
                    1.0 / (EVEN * EVEN + 0.5 * (e + around))
                }
            })
            .collect();
        let soft = mask.blurred(rim);
        let edges = soft.edges(0.0);
        let (mut fits, mut all) = (vec![0.0f32; w.max(2) - 2], vec![0.0f32; w.max(2) - 2]);
        for &throw in throws {
            let (outline, rows) = soft.thrown(throw, edges);
            // Column by column, so that no sum waits for its neighbour.
            fits.fill(0.0);
            all.fill(0.0);
            let inner_rows = rows.start.max(2) - 1..(rows.end + 1).min(h.saturating_sub(1));
            for y in inner_rows.filter(|_| w > 2) {
                let [above, here, below] = [y - 1, y, y + 1].map(|y| &outline.values[y * w..][..w]);
                let inner = y * w + 1..(y + 1) * w - 1;
                let slopes = std::iter::zip(&here[2..], here).zip(std::iter::zip(&below[1..], &above[1..]));
                let plate = std::iter::zip(&weights[inner.clone()], &across[inner.clone()]).zip(&down[inner]);
                for ((fits, all), (((right, left), (low, high)), ((weight, across), down))) in
                    std::iter::zip(&mut fits, &mut all).zip(slopes.zip(plate))
                {
                    let (mx, my) = (0.5 * (right - left), 0.5 * (low - high));
                    *fits -= weight * (across * mx + down * my);
                    *all += weight * (mx * mx + my * my);
                }
            }
            let (fits, all) = (fits.iter().sum::<f32>(), 1e-6 + all.iter().sum::<f32>());
            guesses.push(Guess {
                throw,
                outline,
                sure: fits / all.sqrt(),
                fall: (fits / all).clamp(0.0, DEEPEST),
            });
        }
    }
    guesses.sort_by(|a, b| b.sure.total_cmp(&a.sure));
    guesses
}

/// For one picture, at the fine resolution: how deep a shadow is thought to be, as a logarithm, and the two surest outlines, each as strong as it is sure.
fn guess(logarithm: &Plane, mask: &Plane) -> Option<[Plane; 3]> {
    let edges = mask.edges(0.5);
    let count = mask.values.iter().filter(|m| **m > 0.5).count();
    if count < FEWEST {
        return None;
    }
    let mut levels = vec![(logarithm.clone(), mask.clone())];
    while let Some((l, m)) = levels.last()
        && l.width.min(l.height) >= 2 * COARSEST
    {
        levels.push((l.halved(), m.halved()));
    }
    let scale = |level: usize| 1.0 / (1 << level) as f32;
    let coarse = levels.len() - 1;
    let mut throws: Vec<Throw> = throws(edges)
        .into_iter()
        .map(|t| t.scaled(scale(coarse)))
        .collect();
    let mut guesses = ask(&levels[coarse].0, &levels[coarse].1, COARSE_RIMS, &throws);
    let mut fine = coarse;
    if coarse > 0 {
        fine = coarse - 1;
        throws = guesses.iter().take(AGAIN).map(|g| g.throw.scaled(2.0)).collect();
        guesses = ask(&levels[fine].0, &levels[fine].1, FINE_RIMS, &throws);
    }
    let mask = &levels[fine].1;
    let surest = guesses.first()?.sure;
    let mut depth = mask.map(|_| 0.0);
    let mut sum = 0.0;
    for g in &guesses {
        let weight = (g.sure - surest).exp();
        sum += weight;
        for (d, m) in depth.values.iter_mut().zip(&g.outline.values) {
            *d += weight * g.fall * m;
        }
    }
    for (d, m) in depth.values.iter_mut().zip(&mask.values) {
        *d *= (1.0 - m) / sum;
    }
    let first = guesses.first()?;
    let alike = |other: &Guess| {
        let (mut common, mut either) = (0.0, 1e-6);
        for (a, b) in first.outline.values.iter().zip(&other.outline.values) {
            common += a.min(*b);
            either += a.max(*b);
        }
        common / either
    };
    let second = guesses.iter().find(|g| alike(g) < SAME);
    let told = |guess: &Guess| guess.outline.map(|m| m * guess.sure / SURE);
    Some([depth, told(first), second.map_or_else(|| mask.map(|_| 0.0), told)])
}

/// Shadows of the object that `mask` (N, 1, H, W; 0..1) outlines on `plate` (N, 3, H, W; display light), (N, 6, H, W): how deep one is thought to
/// be at each pixel (a logarithm; the guesses weighed by how sure they are), by how much the plate would be lighter without it, and the two
/// surest outlines that differ, each as strong as it is sure. All nothing without an object.
///
/// # Errors
/// If shapes disagree.
pub fn cast_guesses(plate: &Tensor, mask: &Tensor) -> Result<Tensor> {
    let (n, channels, h, w) = plate.dims4()?;
    if mask.dims() != [n, 1, h, w] || channels != 3 {
        return Err(Error::Shape {
            what: "picture and mask of the shadow guesses",
            expected: format!("[{n}, 3, {h}, {w}] and {:?}", [n, 1, h, w]),
            found: [plate.dims(), mask.dims()].concat(),
        });
    }
    let area = h * w;
    let plates = plate.detach().flatten_all()?.to_vec1::<f32>()?;
    let masks = mask.detach().flatten_all()?.to_vec1::<f32>()?;
    let mut out = vec![0.0; n * CAST_CHANNELS * area];
    for (i, out) in out.chunks_exact_mut((CAST_CHANNELS * area).max(1)).enumerate() {
        let plate = &plates[3 * i * area..][..3 * area];
        let plane = |values: Vec<f32>| Plane {
            width: w,
            height: h,
            values,
        };
        let logarithm = plane(
            (0..area)
                .map(|at| {
                    (0..3)
                        .map(|c| (plate[c * area + at].max(0.0) + DARK).ln())
                        .sum::<f32>()
                        / 3.0
                })
                .collect(),
        );
        let Some(guesses) = guess(&logarithm, &plane(masks[i * area..][..area].to_vec())) else {
            continue;
        };
        let (sx, sy) = (
            guesses[0].width as f32 / w as f32,
            guesses[0].height as f32 / h as f32,
        );
        for at in 0..area {
            let (x, y) = ((at % w) as f32 + 0.5, (at / w) as f32 + 0.5);
            let [depth, first, second] = [0, 1, 2].map(|g: usize| guesses[g].at(x * sx, y * sy));
            out[at] = depth;
            for c in 0..3 {
                out[(1 + c) * area + at] = plate[c * area + at] * (depth.exp() - 1.0);
            }
            out[4 * area + at] = first;
            out[5 * area + at] = second;
        }
    }
    Ok(Tensor::from_vec(out, (n, CAST_CHANNELS, h, w), plate.device())?)
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;

    const W: usize = 128;
    const H: usize = 96;
    /// How much of the light a shadow lets through in these tests.
    const LEFT: f32 = 0.45;

    /// Busy ground: boards with a grain.
    fn ground(x: usize, y: usize) -> f32 {
        let board = if ((x + y / 2) / 9).is_multiple_of(2) {
            0.75
        } else {
            0.6
        };
        board + 0.06 * (x as f32 * 1.7).sin() * (y as f32 * 2.3).cos()
    }

    fn plane(at: impl Fn(usize, usize) -> f32) -> Vec<f32> {
        (0..W * H).map(|i| at(i % W, i / W)).collect()
    }

    fn tensor(channels: usize, values: &[f32]) -> Tensor {
        let all: Vec<f32> = (0..channels).flat_map(|_| values.iter().copied()).collect();
        Tensor::from_vec(all, (1, channels, H, W), &Device::Cpu).unwrap()
    }

    fn in_object(x: usize, y: usize) -> bool {
        (50..66).contains(&x) && (20..60).contains(&y)
    }

    /// A shadow that `shear` throws aside and `squeeze` down (up where negative): share of the light that is taken.
    fn shadow(shear: f32, squeeze: f32) -> Vec<f32> {
        plane(|x, y| {
            let up = (y as f32 + 0.5 - 60.0) / -squeeze;
            let source = (x as f32 + 0.5 - shear * -up, 60.0 + up);
            let within = (50.0..66.0).contains(&source.0) && (20.0..60.0).contains(&source.1);
            f32::from(within && !in_object(x, y)) * (1.0 - LEFT)
        })
    }

    fn guesses(plate: &[f32], mask: &[f32]) -> Vec<Vec<f32>> {
        let found = cast_guesses(&tensor(3, plate), &tensor(1, mask)).unwrap();
        let flat = found.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        flat.chunks(W * H).map(<[f32]>::to_vec).collect()
    }

    fn mask() -> Vec<f32> {
        plane(|x, y| f32::from(in_object(x, y)))
    }

    fn shadowed(shadow: &[f32]) -> Vec<f32> {
        let ground = plane(ground);
        (0..W * H)
            .map(|i| {
                if in_object(i % W, i / W) {
                    0.1
                } else {
                    ground[i] * (1.0 - shadow[i])
                }
            })
            .collect()
    }

    #[test]
    fn a_shadow_is_found_wherever_it_falls() {
        for (shear, squeeze) in [(1.0, 0.5), (-1.1, 0.3), (0.9, -0.4), (0.1, 0.7)] {
            let shadow = shadow(shear, squeeze);
            let plate = shadowed(&shadow);
            let found = guesses(&plate, &mask());
            let mean = |inside: bool| {
                let (mut sum, mut count) = (0.0, 0.0);
                for i in (0..W * H).filter(|i| !in_object(i % W, i / W) && (shadow[*i] > 0.0) == inside) {
                    sum += found[0][i];
                    count += 1.0;
                }
                sum / count
            };
            // Where it is counts. Its depth is said too small rather than too large: on its own rim a shadow makes the ground look busy, and
            // the nearest throw that is asked lies some pixels off.
            let (inside, outside, deep) = (mean(true), mean(false), -LEFT.ln());
            assert!(
                (0.1 * deep..deep).contains(&inside) && outside < 0.2 * inside,
                "{shear} {squeeze}: {inside} in the shadow, {outside} outside"
            );
            // Where it was found the plate is made lighter.
            for i in 0..W * H {
                let lighter = plate[i] * (found[0][i].exp() - 1.0);
                assert!((found[1][i] - lighter).abs() < 1e-5 && found[1][i] == found[3][i]);
            }
        }
    }

    #[test]
    fn even_ground_throws_nothing_and_no_object_throws_nothing() {
        let even = plane(|_, _| 0.5);
        assert!(guesses(&even, &mask())[0].iter().all(|d| d.abs() < 1e-3));
        let nothing = guesses(&shadowed(&shadow(1.0, 0.5)), &plane(|_, _| 0.0));
        assert!(nothing.iter().flatten().all(|v| *v == 0.0));
        let all = guesses(&even, &plane(|_, _| 1.0));
        assert!(all.iter().flatten().all(|v| v.is_finite()) && all[0].iter().all(|d| d.abs() < 1e-3));
    }

    #[test]
    fn neighbours_in_a_batch_and_small_pictures_change_nothing() {
        let (plate, mask) = (tensor(3, &shadowed(&shadow(1.0, 0.5))), tensor(1, &mask()));
        let other = tensor(3, &plane(|x, _| x as f32 / W as f32));
        let alone = cast_guesses(&plate, &mask).unwrap();
        let both = cast_guesses(
            &Tensor::cat(&[&other, &plate], 0).unwrap(),
            &Tensor::cat(&[&mask, &mask], 0).unwrap(),
        )
        .unwrap();
        let flat = |t: Tensor| t.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        assert_eq!(flat(both.narrow(0, 1, 1).unwrap()), flat(alone));
        for (h, w) in [(1, 1), (2, 40), (33, 17)] {
            let grey = Tensor::full(0.5f32, (1, 3, h, w), &Device::Cpu).unwrap();
            let mask = Tensor::ones((1, 1, h, w), candle_core::DType::F32, &Device::Cpu).unwrap();
            assert!(
                flat(cast_guesses(&grey, &mask).unwrap())
                    .iter()
                    .all(|v| v.is_finite())
            );
        }
        assert!(
            cast_guesses(&mask, &mask)
                .unwrap_err()
                .to_string()
                .contains("shadow guesses")
        );
    }
}
