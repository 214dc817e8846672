//! Transfer functions, extended beyond 0 to 1 as OpenColorIO does: straight on below 0, the same power or
//! logarithm above 1.

use crate::math;

/// sRGB's exponent and offset (IEC 61966-2-1). The toe's slope and end follow from them so that the curve is
/// smooth there, as in OpenColorIO's `ExponentWithLinearTransform`; the standard's rounded 12.92 and 0.04045
/// differ by less than a tenth of an 8-bit step.
const GAMMA: f64 = 2.4;
const OFFSET: f64 = 0.055;
/// Where the toe ends, encoded: `offset / (gamma - 1)`.
const TOE_ENCODED: f64 = OFFSET / (GAMMA - 1.0);
/// Encoded over linear within the toe: `(1 + offset)^g (g - 1)^(g - 1) / (offset^(g - 1) g^g)` for gamma g.
const TOE_SLOPE: f64 = 12.923_210_180_787_853;

/// Encoded sRGB to linear light.
#[inline(always)]
pub fn srgb_decode(encoded: f32) -> f32 {
    if encoded <= TOE_ENCODED as f32 {
        encoded * (1.0 / TOE_SLOPE) as f32
    } else {
        math::powf(
            (encoded + OFFSET as f32) * (1.0 / (1.0 + OFFSET)) as f32,
            GAMMA as f32,
        )
    }
}

/// Linear light to encoded sRGB.
#[inline(always)]
pub fn srgb_encode(linear: f32) -> f32 {
    if linear <= (TOE_ENCODED / TOE_SLOPE) as f32 {
        linear * TOE_SLOPE as f32
    } else {
        (1.0 + OFFSET) as f32 * math::powf(linear, (1.0 / GAMMA) as f32) - OFFSET as f32
    }
}

/// ACEScct, S-2016-001: the toe's slope and offset, and where it ends.
const CCT_SLOPE: f32 = 10.540_237;
const CCT_OFFSET: f32 = 0.072_905_53;
const CCT_BREAK_LINEAR: f32 = 0.007_812_5;
const CCT_BREAK_ENCODED: f32 = 0.155_251_14;

/// Encoded ACEScct to linear light in AP1.
#[inline(always)]
pub fn acescct_decode(encoded: f32) -> f32 {
    if encoded <= CCT_BREAK_ENCODED {
        (encoded - CCT_OFFSET) / CCT_SLOPE
    } else {
        math::exp2(encoded * 17.52 - 9.72)
    }
}

/// Linear light in AP1 to encoded ACEScct.
#[inline(always)]
pub fn acescct_encode(linear: f32) -> f32 {
    if linear <= CCT_BREAK_LINEAR {
        CCT_SLOPE * linear + CCT_OFFSET
    } else {
        (math::log2(linear) + 9.72) / 17.52
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_toe_meets_the_power() {
        let slope = (1.0 + OFFSET).powf(GAMMA) * (GAMMA - 1.0).powf(GAMMA - 1.0)
            / (OFFSET.powf(GAMMA - 1.0) * GAMMA.powf(GAMMA));
        assert!((slope - TOE_SLOPE).abs() < 1e-9, "{slope}");
        let at = (TOE_ENCODED / TOE_SLOPE) as f32;
        assert!((srgb_encode(at) - srgb_encode(at * 1.0001)).abs() < 1e-5);
        assert!((acescct_encode(CCT_BREAK_LINEAR) - CCT_BREAK_ENCODED).abs() < 1e-6);
    }

    #[test]
    fn white_and_black_stay() {
        assert_eq!(srgb_decode(0.0), 0.0);
        assert!((srgb_decode(1.0) - 1.0).abs() < 1e-6);
        assert!((srgb_encode(1.0) - 1.0).abs() < 1e-6);
    }

    #[test]
    fn every_8_bit_code_comes_back() {
        for code in 0..=255u8 {
            let light = srgb_decode(f32::from(code) / 255.0);
            assert_eq!((srgb_encode(light) * 255.0).round() as u8, code);
        }
    }

    #[test]
    fn nan_stays_nan() {
        for f in [srgb_decode, srgb_encode, acescct_decode, acescct_encode] {
            assert!(f(f32::NAN).is_nan());
        }
    }
}
