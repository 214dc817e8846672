//! Half-precision arithmetic on `f32`: rounding, spacing, and the interval that rounds to a value.
//!
//! Everything stays in `f32`, whose 24 bits hold every half and every midpoint between two of them.

/// The largest finite half.
pub(crate) const MAX: f32 = 65504.0;

/// The smallest normal half, 2^-14.
const MIN_NORMAL: f32 = 6.103_515_6e-5;

const SIGN: u32 = 0x8000_0000;

/// The half nearest to `x`, ties to even, as `f32`: what a write in half and a read make of a value.
#[inline]
pub(crate) fn round(x: f32) -> f32 {
    let bits = x.to_bits();
    let (sign, magnitude) = (bits & SIGN, bits & !SIGN);
    // From the midpoint between 65504 and 65536 on, half has only infinity; NaN stays NaN.
    if magnitude >= 65520f32.to_bits() {
        return if x.is_nan() { x } else { f32::INFINITY.copysign(x) };
    }
    if magnitude < MIN_NORMAL.to_bits() {
        // Subnormal halves are multiples of 2^-24, which is the spacing of f32 in [0.5, 1).
        let rounded = (f32::from_bits(magnitude) + 0.5) - 0.5;
        return f32::from_bits(rounded.to_bits() | sign);
    }
    // f32 has 13 bits of mantissa more: add just under half a unit, and one where the last kept bit is odd.
    let rounded = (magnitude + 0x0fff + ((magnitude >> 13) & 1)) & !0x1fff;
    f32::from_bits(rounded | sign)
}

/// Distance from a half of magnitude `|t|` to the next larger one.
#[inline]
pub(crate) fn ulp(t: f32) -> f32 {
    let magnitude = t.abs().max(MIN_NORMAL);
    // Keep the exponent, drop the mantissa: 2^e. Then 2^(e-10).
    f32::from_bits(magnitude.to_bits() & 0x7f80_0000) * (1.0 / 1024.0)
}

/// The open interval of values that round to the half `t`, whichever way ties go.
#[inline]
pub(crate) fn interval(t: f32) -> (f32, f32) {
    let step = ulp(t);
    let magnitude = t.abs();
    // Below a power of two the halves lie twice as close (but not below the smallest normal one).
    let below = if magnitude > MIN_NORMAL && magnitude.to_bits() & 0x007f_ffff == 0 {
        step / 4.0
    } else {
        step / 2.0
    };
    if t >= 0.0 {
        (magnitude - below, magnitude + step / 2.0)
    } else {
        (-magnitude - step / 2.0, below - magnitude)
    }
}

/// The smallest half that is not below `x`, for `x` in the finite range of half.
#[inline]
pub(crate) fn round_up(x: f32) -> f32 {
    let nearest = round(x);
    if nearest >= x {
        nearest
    } else {
        round(nearest + ulp(nearest))
    }
}

#[cfg(test)]
mod tests {
    use half::f16;

    use super::*;

    /// Every half, and what lies around every midpoint, against the `half` crate.
    #[test]
    fn rounds_as_the_half_crate_does() {
        for bits in 0..=u16::MAX {
            let t = f16::from_bits(bits).to_f32();
            if !t.is_finite() {
                continue;
            }
            let (low, high) = interval(t);
            for edge in [t, low, high] {
                for x in [
                    edge,
                    f32::from_bits(edge.to_bits().wrapping_sub(1)),
                    f32::from_bits(edge.to_bits() + 1),
                ] {
                    let (ours, theirs) = (round(x), f16::from_f32(x).to_f32());
                    assert!(
                        ours == theirs || ours.is_nan() && theirs.is_nan(),
                        "{x:e}: {ours:e} for {theirs:e}"
                    );
                    if x.is_finite() {
                        assert_eq!(
                            x > low && x < high,
                            theirs == t && x != low && x != high,
                            "{x:e} near {t:e}"
                        );
                    }
                }
            }
        }
        assert!(round(f32::NAN).is_nan());
        assert_eq!(round(1e9), f32::INFINITY);
        assert_eq!(round(-1e9), f32::NEG_INFINITY);
    }

    #[test]
    fn rounding_up_never_goes_below() {
        for i in 0..100_000 {
            let x = i as f32 / 99_999.0;
            let up = round_up(x);
            assert!(up >= x && up - x <= ulp(x), "{x}");
            assert_eq!(round(up), up);
        }
    }
}
