//! Layers that lay back together exactly.
//!
//! # The problem
//!
//! A file holds halves, and its reader evaluates `X' = P + (1 - a) X`, bottom to top, in `f32`, perhaps with
//! a fused multiply-add, perhaps in `f64`, and rounds the last `X'` to half. That must be the plate's half.
//!
//! # The solution
//!
//! Every value below is a half: the target `T`, the alpha `a`, the foreground `P`. Then
//!
//! * `q = 1 - a` is exact in `f32`: `a` is a multiple of 2^-24 in [0, 1], so `q` is one too and has at most
//!   24 bits. An opaque picture stays opaque for the same reason: `a + q * 1` is exactly 1.
//! * Take `P = round(T - q X)`. With `0 <= q X <= T` it lies between 0 and `T`, where halves are no further
//!   apart than at `T`, so `P + q X` misses `T` by half a unit at most, and rounds to `T` but for ties.
//! * Whatever the evaluation, it differs from ours by at most `e' = q e + 2^-22 (|P| + |q X|)`, `e` being the
//!   same bound for `X`: two roundings of 2^-24 each, on either side, with a margin of two. (The smallest
//!   normal `f32` is added, for readers that flush subnormals.) A solution counts only where the whole of
//!   `[X' - e', X' + e']` rounds to `T`: [`verify`].
//! * Where it does not (a tie, or an `X` that dwarfs `T`), the next halves of `P` are tried, and then a larger
//!   alpha. The last one tried is `a = 1`, where `q = 0` and `P = T` are exact for any finite `X`.
//!
//! So each pixel that leaves [`solve`] has been checked, and an opaque pixel always has a solution. Where the
//! plate is not opaque, `a = 1` would change the flattened alpha; then there may be none, and the caller
//! leaves the pixel in the background, which is exact as well.

use peel_image::{Pixel, TRANSPARENT};

use crate::f16;

/// What has been laid so far at one pixel, and how far another evaluation may be from it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Laid {
    /// `X` as evaluated in `f32` with separate multiplication and addition.
    pub value: Pixel,
    /// Bound on the distance to any other faithful evaluation.
    error: Pixel,
}

impl Laid {
    /// The bottom of a stack: halves, known exactly.
    pub fn bottom(value: Pixel) -> Laid {
        Laid {
            value,
            error: TRANSPARENT,
        }
    }

    /// With `layer` (halves, alpha in 0 to 1) over it.
    pub fn over(&self, layer: Pixel) -> Laid {
        let q = 1.0 - layer[3];
        let mut next = *self;
        for (c, &p) in layer.iter().enumerate() {
            let rest = q * self.value[c];
            next.value[c] = p + rest;
            next.error[c] = bound(p, rest, q * self.error[c]);
        }
        next
    }

    /// Whether every evaluation rounds to the halves of `target`.
    pub fn rounds_to(&self, target: Pixel) -> bool {
        (0..4).all(|c| inside(self.value[c], self.error[c], target[c]))
    }
}

fn bound(p: f32, rest: f32, carried: f32) -> f32 {
    const EPSILON: f32 = 1.0 / 4_194_304.0; // 2^-22
    carried + EPSILON * (p.abs() + rest.abs()) + f32::MIN_POSITIVE
}

fn inside(value: f32, error: f32, target: f32) -> bool {
    let (low, high) = f16::interval(target);
    value - error > low && value + error < high
}

/// The foreground pixel that makes `below` the `target` (finite halves) when laid over it, with an alpha
/// as little above `alpha` as possible; `None` where the target is not opaque and there is no solution.
///
/// Colour stays non-negative where the target is, as long as what is below has the target's sign.
pub(crate) fn solve(target: Pixel, below: &Laid, alpha: f32) -> Option<(Pixel, Laid)> {
    let mut a = f16::round_up(lowest_alpha(target, below, f16::round(alpha.clamp(0.0, 1.0)))).min(1.0);
    // A tie is broken by moving q X a fraction of the target's unit, hence no smaller steps than 2^-13; an X
    // that dwarfs the target wants more, hence their growth. About 25 tries from the finest step to alpha 1.
    let mut step = f16::ulp(a).max(1.0 / 8192.0);
    loop {
        if let Some(layer) = attempt(target, below, a) {
            return Some((layer, below.over(layer)));
        }
        if a >= 1.0 {
            return None;
        }
        a = f16::round_up((a + step).min(1.0));
        step *= 1.5;
    }
}

/// `alpha`, raised until `(1 - alpha) X` is nowhere past a target of the same sign.
fn lowest_alpha(target: Pixel, below: &Laid, alpha: f32) -> f32 {
    let mut q = 1.0 - alpha;
    for (&x, &t) in below.value.iter().zip(&target).take(3) {
        let same_sign = x > 0.0 && t >= 0.0 || x < 0.0 && t <= 0.0;
        if same_sign && (q * x).abs() > t.abs() {
            q = t / x;
        }
    }
    1.0 - q
}

fn attempt(target: Pixel, below: &Laid, a: f32) -> Option<Pixel> {
    let q = 1.0 - a;
    let mut layer = [0.0, 0.0, 0.0, a];
    for c in 0..3 {
        layer[c] = colour(target[c], q * below.value[c], q * below.error[c])?;
    }
    verify(a, q * below.value[3], q * below.error[3], target[3]).then_some(layer)
}

/// The half that, added to `rest`, rounds safely to `target`.
fn colour(target: f32, rest: f32, carried: f32) -> Option<f32> {
    let wanted = target - rest;
    let nearest = f16::round(wanted);
    let unit = f16::ulp(nearest);
    let neighbours = [
        nearest,
        nearest + unit.copysign(wanted - nearest),
        nearest - unit.copysign(wanted - nearest),
    ];
    neighbours.into_iter().find_map(|p| {
        let p = f16::round(if target >= 0.0 && rest <= target {
            p.max(0.0)
        } else {
            p
        });
        verify(p, rest, carried, target).then_some(p)
    })
}

fn verify(p: f32, rest: f32, carried: f32, target: f32) -> bool {
    p.is_finite() && inside(p + rest, bound(p, rest, carried), target)
}

/// Every channel rounded to half.
pub(crate) fn round(pixel: Pixel) -> Pixel {
    pixel.map(f16::round)
}

/// Whether every channel is finite as a half.
#[inline]
pub(crate) fn is_finite(pixel: Pixel) -> bool {
    // One sum tells that all is well, which is nearly always.
    pixel.iter().map(|c| c.abs()).sum::<f32>() < f16::MAX || round(pixel).iter().all(|c| c.is_finite())
}

/// Divides one plate pixel into background and foreground, so that over of the two rounds to the plate's half.
///
/// `clean` is the solver's background in the plate's premultiplied light, `alpha` the foreground's share of
/// the pixel. Where the plate is opaque, so is the background. Where it is not, the foreground takes its share of the
/// plate's alpha `A`: `a = alpha A`, and the background keeps `(A - a) / (1 - a)`, its light in proportion and no more
/// than shows through the foreground.
///
/// Returns the plate's own pixel and a transparent one where there is no effect or no solution.
pub(crate) fn split(plate: Pixel, clean: [f32; 3], alpha: f32) -> (Pixel, Pixel) {
    let untouched = (plate, TRANSPARENT);
    let target = round(plate);
    let a = f16::round(alpha.clamp(0.0, 1.0) * target[3].clamp(0.0, 1.0));
    if a.is_nan() || a <= 0.0 || !is_finite(target) || !clean.iter().all(|c| c.is_finite()) {
        return untouched;
    }
    let (cover, share) = if target[3] == 1.0 {
        (1.0, 1.0)
    } else {
        let cover = f16::round((target[3] - a).max(0.0) / (1.0 - a).max(f32::MIN_POSITIVE)).min(1.0);
        (cover, cover / target[3])
    };
    let mut colour = clean.map(|c| f16::round((c * share).clamp(-f16::MAX, f16::MAX)));
    if target[3] != 1.0 {
        // Here alpha cannot be raised for the foreground's sake, so the background gives way: (1 - a) B stays
        // within the target, less the half unit that rounding B may add.
        for (b, &t) in colour.iter_mut().zip(&target) {
            let most = t / (1.0 - a).max(f32::MIN_POSITIVE) * (1.0 - 1.0 / 2048.0);
            *b = f16::round(b.clamp(most.min(0.0), most.max(0.0)));
        }
    }
    let background = [colour[0], colour[1], colour[2], cover];
    match solve(target, &Laid::bottom(background), a) {
        Some((foreground, _)) => (background, foreground),
        None => untouched,
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::solver::noise::Noise;

    /// Half values of every kind: powers of two, subnormals, zero, highlights, negatives, round decimals.
    pub(crate) fn wild(noise: &mut Noise) -> f32 {
        let size = match noise.below(8) {
            0 => 0.0,
            1 => 2f32.powi(noise.below(39) as i32 - 24),
            2 => noise.unit() * 6e-5,
            3 => noise.unit() * 60_000.0,
            4 => noise.below(64) as f32 / 64.0,
            _ => noise.unit(),
        };
        f16::round(if noise.below(8) == 0 { -size } else { size })
    }

    fn check(plate: Pixel, clean: [f32; 3], alpha: f32) -> (Pixel, Pixel) {
        let (background, foreground) = split(plate, clean, alpha);
        let target = round(plate);
        let q = 1.0 - foreground[3];
        for c in 0..4 {
            let (p, x) = (foreground[c], background[c]);
            let plain = p + q * x;
            let fused = q.mul_add(x, p);
            let double = f64::from(p) + f64::from(q) * f64::from(x);
            assert_eq!(f16::round(plain), target[c], "{plate:?} {clean:?} {alpha}");
            assert_eq!(f16::round(fused), target[c], "fused {plate:?} {clean:?} {alpha}");
            assert_eq!(
                half::f16::from_f64(double).to_f32(),
                target[c],
                "double {plate:?} {clean:?} {alpha}"
            );
        }
        (background, foreground)
    }

    #[test]
    fn any_opaque_pixel_splits_exactly() {
        let mut noise = Noise::new(1);
        for _ in 0..400_000 {
            let plate = [wild(&mut noise), wild(&mut noise), wild(&mut noise), 1.0];
            let clean = [wild(&mut noise), wild(&mut noise), wild(&mut noise)];
            let alpha = if noise.below(2) == 0 {
                noise.unit()
            } else {
                wild(&mut noise).abs().min(1.0)
            };
            let (background, foreground) = check(plate, clean, alpha);
            assert!(foreground[3] > 0.0 || alpha < 6e-8, "an effect was dropped");
            for c in 0..3 {
                assert!(
                    foreground[c] >= 0.0 || plate[c] < 0.0,
                    "{plate:?} {clean:?} {alpha}: {foreground:?}"
                );
                assert_eq!(f16::round(background[c]), background[c]);
            }
        }
    }

    #[test]
    fn any_transparent_pixel_splits_exactly() {
        let mut noise = Noise::new(2);
        let mut peeled = 0;
        for _ in 0..100_000 {
            let alpha = f16::round(noise.unit());
            let plate = [
                noise.unit() * alpha,
                noise.unit() * alpha,
                noise.unit() * alpha,
                alpha,
            ];
            let clean = [noise.unit() * alpha, noise.unit() * alpha, noise.unit() * alpha];
            let (_, foreground) = check(plate, clean, noise.unit());
            peeled += usize::from(foreground[3] > 0.0);
        }
        assert!(peeled > 90_000, "only {peeled} of 100000 pixels were peeled");
    }

    #[test]
    fn alpha_moves_little_where_the_background_fits() {
        let mut noise = Noise::new(3);
        for _ in 0..100_000 {
            let alpha = 0.05 + 0.9 * noise.unit();
            let clean = [0.1 + noise.unit(), 0.1 + noise.unit(), 0.1 + noise.unit()];
            let plate = clean.map(|b| (1.0 - alpha) * b + 0.01 + 0.5 * noise.unit());
            let (_, foreground) = check([plate[0], plate[1], plate[2], 1.0], clean, alpha);
            assert!(
                (foreground[3] - alpha).abs() < 2e-3,
                "{} for {alpha}",
                foreground[3]
            );
        }
    }

    #[test]
    fn what_half_cannot_hold_stays_in_the_background() {
        for bad in [f32::NAN, f32::INFINITY, 1e6, -7e4] {
            let plate = [0.2, bad, 0.1, 1.0];
            let (background, foreground) = split(plate, [0.1; 3], 0.5);
            assert_eq!(background.map(f32::to_bits), plate.map(f32::to_bits));
            assert_eq!(foreground, TRANSPARENT);
        }
        let (background, foreground) = split([0.2, 0.3, 0.1, 1.0], [f32::NAN, 0.0, 0.0], 0.5);
        assert_eq!((background, foreground), ([0.2, 0.3, 0.1, 1.0], TRANSPARENT));
    }
}
