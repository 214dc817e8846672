//! Colour spaces and the way between them.
//!
//! Matrices are derived in `f64` from the primaries, with Bradford adaptation where the white points differ;
//! transfer functions go on below 0 and above 1 as in OpenColorIO's built-in transforms, against which the
//! vectors in the tests were computed.

use std::fmt;

use crate::planes::{Planes, map_straight_row};
use crate::{Pixel, TRANSPARENT};

mod chromaticities;
mod transfer;

pub use chromaticities::{Chromaticities, Matrix3};
pub use transfer::{acescct_decode, acescct_encode, srgb_decode, srgb_encode};

/// A colour space that pictures come in or are worked in.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum ColourSpace {
    /// Scene-linear light, Rec.709 primaries, D65: the default working space.
    #[default]
    LinearRec709,
    /// Rec.709 primaries with the sRGB curve: PNG and JPEG pictures.
    Srgb,
    /// Scene-linear light, AP1 primaries, ACES white.
    AcesCg,
    /// AP1 primaries with ACES's log curve with a toe: for grading.
    AcesCct,
    /// Scene-linear light, AP0 primaries, ACES white: for interchange.
    Aces2065_1,
}

/// How a space writes light down.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Curve {
    Linear,
    Srgb,
    AcesCct,
}

impl ColourSpace {
    /// Every colour space.
    pub const ALL: [ColourSpace; 5] = [
        ColourSpace::LinearRec709,
        ColourSpace::Srgb,
        ColourSpace::AcesCg,
        ColourSpace::AcesCct,
        ColourSpace::Aces2065_1,
    ];

    /// The space's name in graphs.
    pub fn name(self) -> &'static str {
        match self {
            ColourSpace::LinearRec709 => "LinearRec709",
            ColourSpace::Srgb => "Srgb",
            ColourSpace::AcesCg => "AcesCg",
            ColourSpace::AcesCct => "AcesCct",
            ColourSpace::Aces2065_1 => "Aces2065_1",
        }
    }

    /// The space of this name; case, `-`, `_`, `.` and spaces do not matter, so `ACES2065-1` is known too.
    pub fn parse(name: &str) -> Option<ColourSpace> {
        let wanted = crate::name::plain(name);
        Self::ALL
            .into_iter()
            .find(|space| crate::name::plain(space.name()) == wanted)
    }

    /// Whether numbers are proportional to light.
    pub fn is_linear(self) -> bool {
        self.curve() == Curve::Linear
    }

    /// Primaries and white point.
    pub fn chromaticities(self) -> Chromaticities {
        match self {
            ColourSpace::LinearRec709 | ColourSpace::Srgb => Chromaticities::REC709,
            ColourSpace::AcesCg | ColourSpace::AcesCct => Chromaticities::AP1,
            ColourSpace::Aces2065_1 => Chromaticities::AP0,
        }
    }

    /// Weights of red, green and blue in the luminance Y of linear light with these primaries.
    pub fn luminance_weights(self) -> [f32; 3] {
        if self.chromaticities() == Chromaticities::REC709 {
            // The rounded weights that ASC CDL and ITU-R BT.709 name.
            return [0.2126, 0.7152, 0.0722];
        }
        self.chromaticities()
            .to_xyz()
            .map_or([0.2126, 0.7152, 0.0722], |xyz| xyz[1].map(|w| w as f32))
    }

    /// The way from this space to another.
    pub fn to(self, target: ColourSpace) -> Conversion {
        if self == target {
            return Conversion::NONE;
        }
        Conversion {
            decode: self.curve(),
            matrix: self
                .chromaticities()
                .matrix_to(&target.chromaticities())
                .map(single),
            encode: target.curve(),
        }
    }

    /// The way from linear light with a file's primaries to this space; nothing but this space's curve where
    /// the primaries are the same, or are not a triangle.
    pub fn from_linear(self, source: &Chromaticities) -> Conversion {
        Conversion {
            decode: Curve::Linear,
            matrix: source.matrix_to(&self.chromaticities()).map(single),
            encode: self.curve(),
        }
    }

    fn curve(self) -> Curve {
        match self {
            ColourSpace::Srgb => Curve::Srgb,
            ColourSpace::AcesCct => Curve::AcesCct,
            _ => Curve::Linear,
        }
    }
}

impl fmt::Display for ColourSpace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A conversion between colour spaces.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Conversion {
    decode: Curve,
    /// `None`: the primaries are the same.
    matrix: Option<[[f32; 3]; 3]>,
    encode: Curve,
}

impl Conversion {
    /// The conversion that changes nothing.
    pub const NONE: Conversion = Conversion {
        decode: Curve::Linear,
        matrix: None,
        encode: Curve::Linear,
    };

    /// Whether pixels come through bit for bit.
    pub fn is_none(&self) -> bool {
        *self == Conversion::NONE
    }

    /// Converts a colour without alpha.
    #[inline]
    pub fn apply(&self, rgb: [f32; 3]) -> [f32; 3] {
        let light = match self.decode {
            Curve::Linear => rgb,
            Curve::Srgb => rgb.map(srgb_decode),
            Curve::AcesCct => rgb.map(acescct_decode),
        };
        let light = match &self.matrix {
            None => light,
            Some(rows) => rows.map(|row| row[0] * light[0] + row[1] * light[1] + row[2] * light[2]),
        };
        match self.encode {
            Curve::Linear => light,
            Curve::Srgb => light.map(srgb_encode),
            Curve::AcesCct => light.map(acescct_encode),
        }
    }

    /// Converts a premultiplied pixel: curves work on the colour divided by alpha, a matrix alone needs no
    /// division. Light without alpha is converted as it is.
    #[inline]
    pub fn apply_pixel(&self, pixel: Pixel) -> Pixel {
        if self.decode == Curve::Linear && self.encode == Curve::Linear {
            let [r, g, b] = self.apply([pixel[0], pixel[1], pixel[2]]);
            return [r, g, b, pixel[3]];
        }
        map_straight(pixel, |rgb| self.apply(rgb))
    }

    /// [`Conversion::apply_pixel`] over a row.
    pub fn apply_row(&self, row: &mut [Pixel]) {
        if self.is_none() {
            return;
        }
        if self.decode == Curve::Linear && self.encode == Curve::Linear {
            for pixel in row {
                *pixel = self.apply_pixel(*pixel);
            }
            return;
        }
        #[cfg(target_arch = "x86_64")]
        if std::arch::is_x86_feature_detected!("avx2") {
            #[allow(unsafe_code, reason = "the same code, compiled for wider vectors")]
            // SAFETY: the processor has AVX2.
            unsafe {
                self.apply_curves_avx2(row);
            }
            return;
        }
        self.apply_curves(row);
    }

    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2")]
    fn apply_curves_avx2(&self, row: &mut [Pixel]) {
        self.apply_curves(row);
    }

    #[inline(always)]
    fn apply_curves(&self, row: &mut [Pixel]) {
        map_straight_row(row, None, false, |planes| self.apply_planes(planes));
    }

    /// [`Conversion::apply`] for many colours.
    #[inline(always)]
    pub(crate) fn apply_planes(&self, planes: &mut Planes) {
        let channels = 0..3;
        match self.decode {
            Curve::Linear => {}
            Curve::Srgb => channels.clone().for_each(|c| planes.each(c, srgb_decode)),
            Curve::AcesCct => channels.clone().for_each(|c| planes.each(c, acescct_decode)),
        }
        if let Some(rows) = &self.matrix {
            planes.map(|light| rows.map(|row| row[0] * light[0] + row[1] * light[1] + row[2] * light[2]));
        }
        match self.encode {
            Curve::Linear => {}
            Curve::Srgb => channels.for_each(|c| planes.each(c, srgb_encode)),
            Curve::AcesCct => channels.for_each(|c| planes.each(c, acescct_encode)),
        }
    }
}

/// `f` of a premultiplied pixel's straight (un-premultiplied) colour, premultiplied again. A pixel without
/// alpha may carry light: it is neither divided nor dropped, `f` gets it as it is. An opaque pixel is not
/// divided either, so that nothing is rounded twice.
#[inline]
pub fn map_straight(pixel: Pixel, f: impl Fn([f32; 3]) -> [f32; 3]) -> Pixel {
    let [r, g, b, alpha] = pixel;
    // Below the smallest normal number the quotient would overflow.
    if alpha == 1.0 || alpha.abs() < f32::MIN_POSITIVE {
        let [r, g, b] = f([r, g, b]);
        return [r, g, b, alpha];
    }
    let [r, g, b] = f([r / alpha, g / alpha, b / alpha]);
    [r * alpha, g * alpha, b * alpha, alpha]
}

/// A pixel with straight alpha, as PNG holds it, premultiplied.
#[inline]
pub fn premultiply([r, g, b, alpha]: Pixel) -> Pixel {
    [r * alpha, g * alpha, b * alpha, alpha]
}

/// A premultiplied pixel with straight alpha, as PNG holds it. PNG cannot hold light without alpha: that is
/// the one place where it is lost.
#[inline]
pub fn unpremultiply(pixel: Pixel) -> Pixel {
    let [r, g, b, alpha] = pixel;
    if alpha.abs() < f32::MIN_POSITIVE {
        TRANSPARENT
    } else {
        [r / alpha, g / alpha, b / alpha, alpha]
    }
}

fn single(matrix: Matrix3) -> [[f32; 3]; 3] {
    matrix.map(|row| row.map(|value| value as f32))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn assert_close(got: [f32; 3], expected: [f32; 3], slack: f32) {
        for (g, e) in got.iter().zip(expected) {
            assert!(
                (g - e).abs() <= slack * (1.0 + e.abs()),
                "{got:?}, expected {expected:?}"
            );
        }
    }

    /// From OpenColorIO 2.6 without optimisations; its default fast powers differ by up to 2e-6.
    #[test]
    fn known_vectors() {
        use ColourSpace::{Aces2065_1, AcesCct, AcesCg, Srgb};
        assert_close(AcesCg.to(Srgb).apply([0.18; 3]), [0.461355; 3], 1e-6);
        assert_close(AcesCg.to(AcesCct).apply([0.18; 3]), [0.413588; 3], 1e-6);
        let colour = [1.0, 0.5, 0.1];
        assert_close(
            AcesCg.to(Srgb).apply(colour),
            [1.153_643, 0.693_716, 0.178_546],
            1e-6,
        );
        assert_close(
            AcesCg.to(AcesCct).apply(colour),
            [0.554795, 0.497718, 0.365187],
            1e-6,
        );
        assert_close(
            AcesCg.to(Aces2065_1).apply(colour),
            [0.782178, 0.484184, 0.096637],
            1e-6,
        );
    }

    #[test]
    fn the_same_space_is_untouched() {
        for space in ColourSpace::ALL {
            assert!(space.to(space).is_none());
            assert_eq!(ColourSpace::parse(space.name()), Some(space));
        }
        assert_eq!(ColourSpace::parse("ACES2065-1"), Some(ColourSpace::Aces2065_1));
        assert!(
            ColourSpace::LinearRec709
                .from_linear(&Chromaticities::REC709)
                .is_none()
        );
    }

    #[test]
    fn light_without_alpha_is_kept() {
        let pixel = [0.5, 0.25, 0.0, 0.0];
        let converted = ColourSpace::LinearRec709.to(ColourSpace::Srgb).apply_pixel(pixel);
        assert!(converted[0] > 0.7 && converted[3] == 0.0);
        assert_eq!(
            map_straight([0.5, 0.25, 0.0, 1e-41], |rgb| rgb),
            [0.5, 0.25, 0.0, 1e-41]
        );
    }

    #[test]
    fn luminance_weights_are_of_the_primaries() {
        let sum: f32 = ColourSpace::AcesCg.luminance_weights().iter().sum();
        assert!((sum - 1.0).abs() < 1e-6);
        assert!((ColourSpace::AcesCg.luminance_weights()[0] - 0.272_228_7).abs() < 1e-6);
    }

    proptest! {
        #[test]
        fn conversions_come_back(rgb in prop::array::uniform3(-0.5f32..20.0)) {
            for from in ColourSpace::ALL {
                for to in ColourSpace::ALL {
                    let there = ColourSpace::LinearRec709.to(from).apply(rgb);
                    let back = to.to(from).apply(from.to(to).apply(there));
                    for (a, b) in there.iter().zip(back) {
                        prop_assert!((a - b).abs() < 2e-4 * (1.0 + a.abs()), "{} {} {:?} {:?}", from, to, there, back);
                    }
                }
            }
        }

        #[test]
        fn grey_stays_grey(value in 0.0f32..16.0) {
            for to in [ColourSpace::AcesCg, ColourSpace::Aces2065_1] {
                let grey = ColourSpace::LinearRec709.to(to).apply([value; 3]);
                prop_assert!(grey.iter().all(|c| (c - value).abs() <= 1e-6 * (1.0 + value)));
            }
        }

        #[test]
        fn alpha_scales_what_a_conversion_gives(
            rgb in prop::array::uniform3(0.0f32..4.0), alpha in 0.05f32..1.0,
        ) {
            let conversion = ColourSpace::LinearRec709.to(ColourSpace::AcesCct);
            let straight = conversion.apply(rgb);
            let converted = conversion.apply_pixel(premultiply([rgb[0], rgb[1], rgb[2], alpha]));
            for (c, s) in converted.iter().zip(straight) {
                prop_assert!((c - s * alpha).abs() < 1e-5);
            }
        }
    }
}
