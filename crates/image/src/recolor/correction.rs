//! Several corrections in one go.

use super::{Cdl, Exposure, GradeCurve, HueShift, Saturation};
use crate::Pixel;
use crate::colour::Conversion;
use crate::planes::{Planes, map_straight_row};

/// Corrections in the order in which they are made. What is `None` is left out, so that it rounds nothing.
#[derive(Clone, Copy, Debug)]
pub struct Correction {
    /// From the working space to that of the correction.
    pub there: Conversion,
    /// Exposure, first of all.
    pub exposure: Option<Exposure>,
    /// A grade.
    pub grade: Option<GradeCurve>,
    /// Whether the grade is taken back.
    pub reverse: bool,
    /// An ASC CDL.
    pub cdl: Option<Cdl>,
    /// A turn of hue.
    pub hue: Option<HueShift>,
    /// Saturation.
    pub saturation: Option<Saturation>,
    /// Back to the working space.
    pub back: Conversion,
}

impl Correction {
    /// Corrects a row of premultiplied pixels as far as `amounts` says of each (wholly where it is `None`). Transparent
    /// black stays: an offset must not fill a data window with light.
    pub fn apply_row(&self, row: &mut [Pixel], amounts: Option<&[f32]>) {
        #[cfg(target_arch = "x86_64")]
        if std::arch::is_x86_feature_detected!("avx2") {
            #[allow(unsafe_code, reason = "the same code, compiled for wider vectors")]
            // SAFETY: the processor has AVX2.
            unsafe {
                self.apply_row_avx2(row, amounts);
            }
            return;
        }
        self.apply_row_inline(row, amounts);
    }

    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2")]
    fn apply_row_avx2(&self, row: &mut [Pixel], amounts: Option<&[f32]>) {
        self.apply_row_inline(row, amounts);
    }

    #[inline(always)]
    fn apply_row_inline(&self, row: &mut [Pixel], amounts: Option<&[f32]>) {
        map_straight_row(row, amounts, true, |planes| self.apply_planes(planes));
    }

    #[inline(always)]
    fn apply_planes(&self, planes: &mut Planes) {
        self.there.apply_planes(planes);
        if let Some(exposure) = &self.exposure {
            let gain = exposure.gain();
            (0..3).for_each(|c| planes.each(c, |v| v * gain));
        }
        if let Some(curve) = &self.grade {
            curve.apply_planes(planes, self.reverse);
        }
        if let Some(cdl) = &self.cdl {
            cdl.apply_planes(planes);
        }
        if let Some(hue) = &self.hue {
            planes.map(|rgb| hue.apply(rgb));
        }
        if let Some(saturation) = &self.saturation {
            planes.map(|rgb| saturation.apply(rgb));
        }
        self.back.apply_planes(planes);
    }
}

#[cfg(test)]
mod tests {
    use super::super::Grade;
    use super::*;
    use crate::ColourSpace;
    use crate::colour::map_straight;

    /// The wide vectors, the narrow ones and the single colours agree to the last bit.
    #[test]
    fn a_row_is_its_pixels_on_every_processor() {
        let grade = Grade {
            gain: [1.1, 0.9, 1.3],
            gamma: [1.2, 1.0, 0.7],
            clamp_white: true,
            ..Grade::default()
        };
        let correction = Correction {
            there: ColourSpace::LinearRec709.to(ColourSpace::AcesCct),
            exposure: Some(Exposure { stops: 0.3 }),
            grade: Some(grade.curve()),
            reverse: false,
            cdl: Some(Cdl {
                offset: [0.02, 0.0, -0.1],
                power: [0.9, 1.0, 1.4],
                saturation: 1.2,
                ..Cdl::default()
            }),
            hue: Some(HueShift::new(20.0, [0.2, 0.7, 0.1])),
            saturation: Some(Saturation {
                amount: 0.8,
                weights: [0.2, 0.7, 0.1],
            }),
            back: ColourSpace::AcesCct.to(ColourSpace::LinearRec709),
        };
        let row: Vec<Pixel> = (0..200)
            .map(|i| {
                let v = i as f32;
                [
                    v * v * 1e-3 - 0.1,
                    3.0 / (v + 1.0),
                    v * 0.01,
                    [1.0, 0.4, 0.0][i % 3],
                ]
            })
            .collect();
        let one = |rgb| {
            let rgb = correction.there.apply(rgb);
            let rgb = Exposure { stops: 0.3 }.apply(rgb);
            let rgb = grade.apply(rgb);
            let rgb = correction.cdl.map_or(rgb, |cdl| cdl.apply(rgb));
            let rgb = correction.hue.map_or(rgb, |hue| hue.apply(rgb));
            let rgb = correction
                .saturation
                .map_or(rgb, |saturation| saturation.apply(rgb));
            correction.back.apply(rgb)
        };
        let bits = |row: &[Pixel]| {
            row.iter()
                .map(|pixel| pixel.map(f32::to_bits))
                .collect::<Vec<_>>()
        };
        let single: Vec<Pixel> = row.iter().map(|&pixel| map_straight(pixel, one)).collect();
        let (mut wide, mut narrow) = (row.clone(), row);
        correction.apply_row(&mut wide, None);
        correction.apply_row_inline(&mut narrow, None);
        assert_eq!(bits(&wide), bits(&narrow));
        assert_eq!(bits(&wide), bits(&single));
    }
}
