//! Colours of a run of pixels, channel by channel, so that what is done to each of them becomes vectors.

use crate::recolor::power_above_0;
use crate::transpose::transposed;
use crate::{Pixel, TRANSPARENT};

/// Pixels of a run.
const RUN: usize = 64;

/// Red, green and blue of a run.
pub(crate) struct Planes([[f32; RUN]; 3]);

impl Planes {
    /// Does something to every value of a channel.
    #[inline(always)]
    pub fn each(&mut self, channel: usize, f: impl Fn(f32) -> f32) {
        for value in &mut self.0[channel] {
            *value = f(*value);
        }
    }

    /// Does something to every colour.
    #[inline(always)]
    pub fn map(&mut self, f: impl Fn([f32; 3]) -> [f32; 3]) {
        let [red, green, blue] = &mut self.0;
        for ((r, g), b) in red.iter_mut().zip(green).zip(blue) {
            [*r, *g, *b] = f([*r, *g, *b]);
        }
    }

    /// Raises a channel to a power; what is 0 or less stays as it is, and everything does where the exponent is 1.
    #[inline(always)]
    pub fn raise(&mut self, channel: usize, exponent: f32) {
        if exponent != 1.0 {
            self.each(channel, |value| power_above_0(value, exponent));
        }
    }
}

/// [`crate::colour::map_straight`] over a row, many pixels at a time. `amounts` says of each pixel how much of the
/// change to make: 0 leaves it as it is, bit for bit. `keep_empty` leaves transparent black as it is, whatever `f`
/// makes of black.
///
/// Meant to be called from a function with wide vectors: everything in it is inlined there.
#[inline(always)]
pub(crate) fn map_straight_row(
    row: &mut [Pixel],
    amounts: Option<&[f32]>,
    keep_empty: bool,
    f: impl Fn(&mut Planes),
) {
    for (index, run) in row.chunks_mut(RUN).enumerate() {
        let (mut planes, alphas) = split(run);
        // What colours are divided by: alpha, but 1 where the quotient would overflow.
        let divisors = alphas.map(|alpha: f32| {
            if alpha.abs() < f32::MIN_POSITIVE {
                1.0
            } else {
                alpha
            }
        });
        for plane in &mut planes.0 {
            for (value, divisor) in plane.iter_mut().zip(&divisors) {
                *value /= divisor;
            }
        }
        f(&mut planes);
        for plane in &mut planes.0 {
            for (value, divisor) in plane.iter_mut().zip(&divisors) {
                *value *= divisor;
            }
        }
        let amounts = amounts.map(|amounts| &amounts[index * RUN..]);
        if amounts.is_none() && !(keep_empty && run.contains(&TRANSPARENT)) {
            join(&planes, &alphas, run);
            continue;
        }
        for (i, pixel) in run.iter_mut().enumerate() {
            if keep_empty && *pixel == TRANSPARENT {
                continue;
            }
            let changed = [planes.0[0][i], planes.0[1][i], planes.0[2][i], alphas[i]];
            *pixel = amounts.map_or(changed, |amounts| mixed(*pixel, changed, amounts[i]));
        }
    }
}

/// Colours and alphas of at most [`RUN`] pixels; 0 behind them.
#[inline(always)]
fn split(run: &[Pixel]) -> (Planes, [f32; RUN]) {
    let [mut reds, mut greens, mut blues, mut alphas] = [[0.0; RUN]; 4];
    let (fours, tail) = run.as_chunks::<4>();
    for (index, four) in fours.iter().enumerate() {
        let at = 4 * index..4 * index + 4;
        let [r, g, b, a] = transposed(*four);
        reds[at.clone()].copy_from_slice(&r);
        greens[at.clone()].copy_from_slice(&g);
        blues[at.clone()].copy_from_slice(&b);
        alphas[at].copy_from_slice(&a);
    }
    for (i, pixel) in (4 * fours.len()..).zip(tail) {
        [reds[i], greens[i], blues[i], alphas[i]] = *pixel;
    }
    (Planes([reds, greens, blues]), alphas)
}

/// The way back.
#[inline(always)]
fn join(Planes([reds, greens, blues]): &Planes, alphas: &[f32; RUN], run: &mut [Pixel]) {
    let planes = [reds, greens, blues, alphas];
    let (fours, tail) = run.as_chunks_mut::<4>();
    let done = 4 * fours.len();
    for (index, four) in fours.iter_mut().enumerate() {
        *four = transposed(planes.map(|plane| std::array::from_fn(|i| plane[4 * index + i])));
    }
    for (i, pixel) in (done..).zip(tail) {
        *pixel = planes.map(|plane| plane[i]);
    }
}

/// `from + (to - from) * amount`, exact at 0 and 1.
#[inline(always)]
fn mixed(from: Pixel, to: Pixel, amount: f32) -> Pixel {
    if amount == 1.0 {
        to
    } else if amount == 0.0 {
        from
    } else {
        std::array::from_fn(|c| from[c] + (to[c] - from[c]) * amount)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::colour::map_straight;

    #[test]
    fn a_row_is_its_pixels() {
        let row: Vec<Pixel> = (0..150)
            .map(|i| {
                let v = i as f32;
                [
                    v * 0.1 - 2.0,
                    1.0 / (v + 1.0),
                    v,
                    [1.0, 0.0, 0.3, 1e-41, 2.0][i % 5],
                ]
            })
            .chain([TRANSPARENT, [f32::NAN, f32::INFINITY, 1.0, 0.5]])
            .collect();
        let f = |rgb: [f32; 3]| rgb.map(|v| v * 1.3 + 0.25);
        let mut whole = row.clone();
        map_straight_row(&mut whole, None, false, |planes| planes.map(f));
        let bits = |pixel: Pixel| pixel.map(f32::to_bits);
        for (got, &pixel) in whole.iter().zip(&row) {
            assert_eq!(bits(*got), bits(map_straight(pixel, f)), "{pixel:?}");
        }
        let amounts: Vec<f32> = (0..row.len()).map(|i| [0.0, 1.0, 0.5][i % 3]).collect();
        let mut some = row.clone();
        map_straight_row(&mut some, Some(&amounts), true, |planes| planes.map(f));
        assert_eq!(bits(some[0]), bits(row[0]));
        assert_eq!(bits(some[70]), bits(whole[70]));
        assert_eq!(some[150], TRANSPARENT);
    }
}
