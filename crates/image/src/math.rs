//! Powers, logarithms and angles that have the same bits on every machine.
//!
//! The standard library leaves these to the platform's C library, and no two of those agree on the last bit; the bytes of
//! a rendered file must not depend on that. Here they are sums, products and quotients of `f64`, which IEEE 754 fixes, in
//! a fixed order. Errors stay below 1e-13 of the value, so that a result rounded to `f32` is nearly always the nearest one.
//! Nothing branches, so loops over them become vectors.

use std::f64::consts::{FRAC_PI_4, LN_2, LOG2_E};

/// `2^x`.
#[inline(always)]
pub fn exp2(x: f32) -> f32 {
    exp2_wide(f64::from(x)) as f32
}

/// The logarithm to base 2; NaN below 0.
#[inline(always)]
pub fn log2(x: f32) -> f32 {
    log2_wide(f64::from(x)) as f32
}

/// `base^exponent` for a `base` of 0 or more; NaN below.
#[inline(always)]
pub fn powf(base: f32, exponent: f32) -> f32 {
    let power = exp2_wide(f64::from(exponent) * log2_wide(f64::from(base))) as f32;
    // 0^0 and infinity^0, where the product above is no number.
    if exponent == 0.0 { 1.0 } else { power }
}

/// `e^x`, for `x` between -100 and 100.
pub fn exp(x: f64) -> f64 {
    exp2_wide(x * LOG2_E)
}

/// Length of (x, y). Not careful about numbers whose squares overflow.
#[inline]
pub fn hypot(x: f64, y: f64) -> f64 {
    (x * x + y * y).sqrt()
}

/// Sine and cosine of an angle in degrees; exact at quarter turns.
pub fn sin_cos_degrees(degrees: f64) -> (f64, f64) {
    // The remainder is exact.
    let turn = degrees.rem_euclid(360.0);
    let quarters = (turn / 90.0).round();
    let (sin, cos) = sin_cos_small((turn - 90.0 * quarters) * (FRAC_PI_4 / 45.0));
    match quarters as i32 % 4 {
        0 => (sin, cos),
        1 => (cos, -sin),
        2 => (-sin, -cos),
        _ => (-cos, sin),
    }
}

/// Sine and cosine of an angle in radians between -pi/4 and pi/4: Taylor's series.
#[inline(always)]
pub(crate) fn sin_cos_small(x: f64) -> (f64, f64) {
    const SIN: [f64; 9] = series(1);
    const COS: [f64; 10] = series(0);
    let square = x * x;
    (x * horner(square, &SIN), horner(square, &COS))
}

/// `(-1)^k / (2 k + first)!`.
const fn series<const COUNT: usize>(first: u32) -> [f64; COUNT] {
    let mut out = [1.0; COUNT];
    let mut k = 1;
    while k < COUNT {
        let n = (2 * k as u32 + first) as f64;
        out[k] = -out[k - 1] / (n * (n - 1.0));
        k += 1;
    }
    out
}

#[inline(always)]
fn horner<const COUNT: usize>(x: f64, coefficients: &[f64; COUNT]) -> f64 {
    let mut sum = coefficients[COUNT - 1];
    let mut k = COUNT - 1;
    while k > 0 {
        k -= 1;
        sum = sum * x + coefficients[k];
    }
    sum
}

/// Added and taken away again it rounds to a whole number, which then stands in the lowest bits of the sum.
pub(crate) const ROUNDER: f64 = 6_755_399_441_055_744.0;

/// `2^x`; 0 far below and infinity far above what `f32` holds.
#[inline(always)]
fn exp2_wide(x: f64) -> f64 {
    // e^z up to z^11 / 11!, for |z| <= ln 2 / 2.
    const EXP: [f64; 12] = {
        let mut out = [1.0; 12];
        let mut k = 1;
        while k < 12 {
            out[k] = out[k - 1] / k as f64;
            k += 1;
        }
        out
    };
    // Comparisons, which NaN passes through.
    let low = if x < -200.0 { -200.0 } else { x };
    let x = if low > 200.0 { 200.0 } else { low };
    let rounded = x + ROUNDER;
    let fraction = x - (rounded - ROUNDER);
    let power = horner(fraction * LN_2, &EXP);
    let scaled = f64::from_bits(power.to_bits().wrapping_add(rounded.to_bits() << 52));
    if x.is_nan() { x } else { scaled }
}

/// The logarithm to base 2 of a number that came from an `f32`, so is normal, 0, infinite or NaN.
#[inline(always)]
fn log2_wide(x: f64) -> f64 {
    // atanh s = s + s^3/3 + ..., times 2 / ln 2, for |s| <= 0.1716.
    const ATANH: [f64; 10] = {
        let mut out = [0.0; 10];
        let mut k = 0;
        while k < 10 {
            out[k] = 2.0 * LOG2_E / (2 * k + 1) as f64;
            k += 1;
        }
        out
    };
    /// Bits of sqrt(1/2): where a mantissa between 0.7071 and 1.4142 begins.
    const HALF_ROOT: u64 = 0x3fe6_a09e_667f_3bcd;
    /// 2^52 with this below it is a number that is larger by so much.
    const WHOLE: u64 = 0x4330_0000_0000_0000;
    let bits = x.to_bits().wrapping_sub(HALF_ROOT);
    // The exponent plus 1024, to keep it above 0.
    let exponent = (bits >> 52).wrapping_add(1024) & 0xfff;
    let whole = f64::from_bits(WHOLE | exponent) - (4_503_599_627_370_496.0 + 1024.0);
    let mantissa = f64::from_bits((bits & 0x000f_ffff_ffff_ffff).wrapping_add(HALF_ROOT));
    let s = (mantissa - 1.0) / (mantissa + 1.0);
    let log = whole + s * horner(s * s, &ATANH);
    let log = if x == 0.0 { f64::NEG_INFINITY } else { log };
    // Infinity and NaN as they are, NaN below 0.
    let log = if x < f64::INFINITY { log } else { x };
    if x < 0.0 { f64::NAN } else { log }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// In units of the last place of `f32`.
    fn error(got: f32, exact: f64) -> f64 {
        let nearest = exact as f32;
        if got.to_bits() == nearest.to_bits() {
            return 0.0;
        }
        let step = (f64::from(nearest.next_up()) - f64::from(nearest)).abs();
        (f64::from(got) - exact).abs() / step
    }

    #[test]
    fn known_bits() {
        // From a run on x86-64; every other machine must agree.
        let known = [
            (powf(0.18, 1.0 / 2.2), 0x3eea_d505_u32),
            (powf(0.5, 2.4), 0x3e42_02ff),
            (powf(16.0, 0.454), 0x4061_58a7),
            (exp2(0.2), 0x3f93_088c),
            (log2(0.18), 0xc01e_54e3),
        ];
        let got: Vec<String> = known
            .iter()
            .map(|(value, _)| format!("{:08x}", value.to_bits()))
            .collect();
        assert!(
            known.iter().all(|(value, bits)| value.to_bits() == *bits),
            "{got:?}"
        );
    }

    #[test]
    fn edges() {
        assert_eq!((exp2(0.0), exp2(3.0), exp2(-1.0)), (1.0, 8.0, 0.5));
        assert_eq!(
            (exp2(128.0), exp2(-200.0), exp2(1e30)),
            (f32::INFINITY, 0.0, f32::INFINITY)
        );
        assert_eq!(exp2(-149.0), f32::from_bits(1));
        assert_eq!((log2(1.0), log2(8.0), log2(0.0)), (0.0, 3.0, f32::NEG_INFINITY));
        assert_eq!(log2(f32::from_bits(1)), -149.0);
        assert!(log2(-1.0).is_nan() && log2(f32::NAN).is_nan() && exp2(f32::NAN).is_nan());
        assert_eq!(log2(f32::INFINITY), f32::INFINITY);
        assert_eq!(
            (powf(0.0, 0.5), powf(0.0, -0.1), powf(0.0, 0.0)),
            (0.0, f32::INFINITY, 1.0)
        );
        assert_eq!(
            (powf(f32::INFINITY, 0.1), powf(f32::INFINITY, -2.0)),
            (f32::INFINITY, 0.0)
        );
        assert_eq!((powf(1.0, 7.0), powf(4.0, 0.5), powf(3.0, 2.0)), (1.0, 2.0, 9.0));
        assert!(powf(-1.0, 2.0).is_nan() && powf(f32::NAN, 2.0).is_nan());
        assert_eq!(
            [0.0, 90.0, 180.0, 270.0, -90.0].map(sin_cos_degrees),
            [(0.0, 1.0), (1.0, -0.0), (-0.0, -1.0), (-1.0, 0.0), (-1.0, 0.0)]
        );
    }

    proptest! {
        #[test]
        fn powers_are_the_nearest(base in 1e-6f32..1e5, exponent in -4.0f32..4.0) {
            let exact = f64::from(base).powf(f64::from(exponent));
            prop_assert!(error(powf(base, exponent), exact) < 0.5001);
        }

        #[test]
        fn exponentials_and_logarithms_are_the_nearest(x in -120.0f32..120.0, y in prop::num::f32::POSITIVE) {
            prop_assert!(error(exp2(x), f64::from(x).exp2()) < 0.5001);
            // Near 1 the logarithm is small, its error is not.
            let exact = f64::from(y).log2();
            prop_assert!((f64::from(log2(y)) - exact).abs() <= 6.1e-8 * exact.abs() + 1e-14);
        }

        #[test]
        fn angles(degrees in -2000.0f64..2000.0) {
            let (sin, cos) = sin_cos_degrees(degrees);
            let exact = degrees.rem_euclid(360.0).to_radians().sin_cos();
            prop_assert!((sin - exact.0).abs() < 1e-15 && (cos - exact.1).abs() < 1e-15);
        }

        #[test]
        fn natural_exponentials(x in -50.0f64..50.0) {
            prop_assert!((exp(x) / x.exp() - 1.0).abs() < 1e-12);
        }
    }
}
