//! Colour corrections: grade, ASC CDL, exposure, saturation, hue.
//!
//! All work on straight (un-premultiplied) scene-linear colour; [`crate::colour::map_straight`] brings them
//! to premultiplied pixels, [`Correction`] does it to rows of them. None clamps unless asked to.

mod correction;

pub use correction::Correction;

use crate::math;
use crate::planes::Planes;

/// A grade, channel by channel, as in the public documentation of Nuke's node of that name:
/// `a = multiply (gain - lift) / (white - black)`, `b = offset + lift - a black`,
/// `out = (a in + b)^(1/gamma)`. Below 0 the power is left out.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Grade {
    /// The light that becomes `lift`.
    pub black: [f32; 3],
    /// The light that becomes `gain`.
    pub white: [f32; 3],
    /// What `black` becomes.
    pub lift: [f32; 3],
    /// What `white` becomes.
    pub gain: [f32; 3],
    /// A factor on everything.
    pub multiply: [f32; 3],
    /// Light added to everything.
    pub offset: [f32; 3],
    /// The power's inverse; above 1 brightens the middle.
    pub gamma: [f32; 3],
    /// Cut off below 0, after everything else.
    pub clamp_black: bool,
    /// Cut off above 1, after everything else.
    pub clamp_white: bool,
}

impl Default for Grade {
    fn default() -> Grade {
        Grade {
            black: [0.0; 3],
            white: [1.0; 3],
            lift: [0.0; 3],
            gain: [1.0; 3],
            multiply: [1.0; 3],
            offset: [0.0; 3],
            gamma: [1.0; 3],
            clamp_black: false,
            clamp_white: false,
        }
    }
}

impl Grade {
    /// What is wrong with the numbers, where something is: the sentence for the user.
    pub fn problem(&self) -> Option<String> {
        for (c, name) in ["red", "green", "blue"].into_iter().enumerate() {
            if self.white[c] == self.black[c] {
                return Some(format!(
                    "white equals black ({}) in {name}, which divides by zero",
                    self.white[c]
                ));
            }
            if self.gamma[c].is_nan() || self.gamma[c] <= 0.0 {
                return Some(format!(
                    "gamma is {} in {name}; it must be above 0",
                    self.gamma[c]
                ));
            }
        }
        None
    }

    /// The grade with its sums worked out, for many pixels.
    pub fn curve(&self) -> GradeCurve {
        let slope = [0, 1, 2]
            .map(|c| self.multiply[c] * (self.gain[c] - self.lift[c]) / (self.white[c] - self.black[c]));
        let shift = [0, 1, 2].map(|c| self.offset[c] + self.lift[c] - slope[c] * self.black[c]);
        GradeCurve {
            slope,
            shift,
            gamma: self.gamma,
            exponent: self.gamma.map(|gamma| 1.0 / gamma),
            clamp_black: self.clamp_black,
            clamp_white: self.clamp_white,
        }
    }

    /// Grades a colour.
    pub fn apply(&self, rgb: [f32; 3]) -> [f32; 3] {
        self.curve().apply(rgb)
    }

    /// The colour that [`Grade::apply`] takes to `rgb`, apart from what a clamp cut off. A channel whose
    /// slope is 0 (gain equals lift) forgot its colour and comes out infinite or NaN.
    pub fn invert(&self, rgb: [f32; 3]) -> [f32; 3] {
        self.curve().invert(rgb)
    }
}

/// A [`Grade`] as `out = (slope in + shift)^(1/gamma)`.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct GradeCurve {
    slope: [f32; 3],
    shift: [f32; 3],
    gamma: [f32; 3],
    exponent: [f32; 3],
    clamp_black: bool,
    clamp_white: bool,
}

impl GradeCurve {
    /// Grades a colour.
    #[inline]
    pub fn apply(&self, rgb: [f32; 3]) -> [f32; 3] {
        [0, 1, 2].map(|c| self.cut(power(self.line(c, rgb[c]), self.exponent[c])))
    }

    /// The way back; see [`Grade::invert`].
    #[inline]
    pub fn invert(&self, rgb: [f32; 3]) -> [f32; 3] {
        [0, 1, 2].map(|c| (power(rgb[c], self.gamma[c]) - self.shift[c]) / self.slope[c])
    }

    /// [`GradeCurve::apply`] for many colours; [`GradeCurve::invert`] where it goes back.
    #[inline(always)]
    fn apply_planes(&self, planes: &mut Planes, back: bool) {
        for c in 0..3 {
            if back {
                planes.raise(c, self.gamma[c]);
                planes.each(c, |v| (v - self.shift[c]) / self.slope[c]);
            } else {
                planes.each(c, |v| self.line(c, v));
                planes.raise(c, self.exponent[c]);
                if self.clamp_black || self.clamp_white {
                    planes.each(c, |v| self.cut(v));
                }
            }
        }
    }

    #[inline(always)]
    fn line(&self, c: usize, v: f32) -> f32 {
        self.slope[c] * v + self.shift[c]
    }

    /// Comparisons, not min and max, so that NaN stays NaN.
    #[inline(always)]
    fn cut(&self, v: f32) -> f32 {
        let v = if self.clamp_black && v < 0.0 { 0.0 } else { v };
        if self.clamp_white && v > 1.0 { 1.0 } else { v }
    }
}

/// A power that leaves 0 and less as it is, and rounds nothing where the exponent is 1.
#[inline]
fn power(base: f32, exponent: f32) -> f32 {
    if exponent == 1.0 {
        base
    } else {
        power_above_0(base, exponent)
    }
}

/// The same for an exponent other than 1, without a branch.
#[inline(always)]
pub(crate) fn power_above_0(base: f32, exponent: f32) -> f32 {
    let raised = math::powf(base, exponent);
    if base > 0.0 { raised } else { base }
}

/// The ASC Color Decision List, version 1.2: `v = (in slope + offset)^power`, then
/// `out = L + saturation (v - L)` with Rec.709 luma L, whatever the working space.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Cdl {
    /// Factor.
    pub slope: [f32; 3],
    /// Added after the factor.
    pub offset: [f32; 3],
    /// Exponent; above 0.
    pub power: [f32; 3],
    /// 1: unchanged; 0: grey.
    pub saturation: f32,
    /// Cut to 0..1 before the power and at the end, as the ASC defines it. Without, nothing is cut and the
    /// power is left out below 0.
    pub clamp: bool,
}

impl Default for Cdl {
    fn default() -> Cdl {
        Cdl {
            slope: [1.0; 3],
            offset: [0.0; 3],
            power: [1.0; 3],
            saturation: 1.0,
            clamp: false,
        }
    }
}

impl Cdl {
    /// Rec.709 luma weights, which the ASC names for every space.
    const LUMA: [f32; 3] = [0.2126, 0.7152, 0.0722];

    /// Corrects a colour.
    #[inline]
    pub fn apply(&self, rgb: [f32; 3]) -> [f32; 3] {
        let v = [0, 1, 2].map(|c| power(self.cut(rgb[c] * self.slope[c] + self.offset[c]), self.power[c]));
        saturate(v, self.saturation, Self::LUMA).map(|v| self.cut(v))
    }

    /// [`Cdl::apply`] for many colours.
    #[inline(always)]
    fn apply_planes(&self, planes: &mut Planes) {
        for c in 0..3 {
            planes.each(c, |v| self.cut(v * self.slope[c] + self.offset[c]));
            planes.raise(c, self.power[c]);
        }
        if self.saturation != 1.0 || self.clamp {
            planes.map(|v| saturate(v, self.saturation, Self::LUMA).map(|v| self.cut(v)));
        }
    }

    #[inline(always)]
    fn cut(&self, v: f32) -> f32 {
        if self.clamp { v.clamp(0.0, 1.0) } else { v }
    }
}

/// Light scaled by `2^stops`.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Exposure {
    /// Doublings.
    pub stops: f32,
}

impl Exposure {
    /// The factor.
    pub fn gain(&self) -> f32 {
        math::exp2(self.stops)
    }

    /// Exposes a colour. It is a plain factor, so it may be applied to premultiplied light as well.
    #[inline]
    pub fn apply(&self, rgb: [f32; 3]) -> [f32; 3] {
        let gain = self.gain();
        rgb.map(|c| c * gain)
    }
}

/// Distance from grey scaled about the luminance.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Saturation {
    /// 1: unchanged; 0: grey; above 1: more.
    pub amount: f32,
    /// Luminance weights of the working space, see [`crate::ColourSpace::luminance_weights`].
    pub weights: [f32; 3],
}

impl Saturation {
    /// Saturates a colour.
    #[inline]
    pub fn apply(&self, rgb: [f32; 3]) -> [f32; 3] {
        saturate(rgb, self.amount, self.weights)
    }
}

#[inline]
fn saturate(rgb: [f32; 3], amount: f32, weights: [f32; 3]) -> [f32; 3] {
    if amount == 1.0 {
        return rgb;
    }
    let luminance = luminance(rgb, weights);
    rgb.map(|c| luminance + amount * (c - luminance))
}

/// The weighted sum of a colour.
#[inline]
pub fn luminance(rgb: [f32; 3], weights: [f32; 3]) -> f32 {
    weights[0] * rgb[0] + weights[1] * rgb[1] + weights[2] * rgb[2]
}

/// Hue turned about the grey axis, at constant luminance. A linear map, so negative and bright colours are
/// safe; two turns one after the other are one turn by their sum.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct HueShift {
    rows: [[f32; 3]; 3],
}

impl HueShift {
    /// A turn by `degrees`: 120 takes red to green to blue, before luminance is put back. `weights`:
    /// luminance weights of the working space.
    pub fn new(degrees: f32, weights: [f32; 3]) -> HueShift {
        if degrees.rem_euclid(360.0) == 0.0 {
            return HueShift {
                rows: [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]],
            };
        }
        let (sin, cos) = math::sin_cos_degrees(f64::from(degrees));
        // Rodrigues about (1, 1, 1) / sqrt 3; then grey is added so that the luminance is what it was.
        let (along, side) = ((1.0 - cos) / 3.0, sin / 3f64.sqrt());
        let turn = [
            [cos + along, along - side, along + side],
            [along + side, cos + along, along - side],
            [along - side, along + side, cos + along],
        ];
        let weights = weights.map(f64::from);
        let sum: f64 = weights.iter().sum();
        let lost = [0, 1, 2].map(|c| {
            let turned: f64 = (0..3).map(|r| weights[r] * turn[r][c]).sum();
            (weights[c] - turned) / sum
        });
        HueShift {
            rows: [0, 1, 2].map(|r| [0, 1, 2].map(|c| (turn[r][c] + lost[c]) as f32)),
        }
    }

    /// Turns a colour. A linear map, so it may be applied to premultiplied light as well.
    #[inline]
    pub fn apply(&self, rgb: [f32; 3]) -> [f32; 3] {
        self.rows
            .map(|row| row[0] * rgb[0] + row[1] * rgb[1] + row[2] * rgb[2])
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const WEIGHTS: [f32; 3] = [0.2126, 0.7152, 0.0722];

    fn close(got: [f32; 3], expected: [f32; 3], slack: f32) -> bool {
        got.iter()
            .zip(expected)
            .all(|(g, e)| (g - e).abs() <= slack * (1.0 + e.abs()))
    }

    /// From OpenColorIO 2.6 without optimisations; its default fast powers differ by up to 2e-5.
    #[test]
    fn cdl_vectors() {
        let clamped = Cdl {
            slope: [1.35, 1.1, 0.71],
            offset: [0.05, -0.23, 0.11],
            power: [0.93, 0.81, 1.27],
            saturation: 1.239,
            clamp: true,
        };
        let free = Cdl {
            clamp: false,
            ..clamped
        };
        for cdl in [clamped, free] {
            assert!(close(
                cdl.apply([0.18, 0.5, 0.9]),
                [0.299_504, 0.396_217, 0.762_250],
                1e-6
            ));
        }
        assert!(close(clamped.apply([-0.1, 0.02, 1.5]), [0.0, 0.0, 1.0], 0.0));
        assert!(close(
            free.apply([-0.1, 0.02, 1.5]),
            [-0.086_620, -0.239_017, 1.539_31],
            1e-6
        ));
    }

    #[test]
    fn grade_vector() {
        let grade = Grade {
            black: [0.1; 3],
            white: [0.9; 3],
            lift: [0.2; 3],
            gain: [1.0, 2.0, 0.5],
            multiply: [1.5; 3],
            offset: [0.05; 3],
            gamma: [1.0, 2.0, 0.5],
            ..Grade::default()
        };
        // a = 1.5 (gain - 0.2) / 0.8; b = 0.25 - 0.1 a; at 0.5: 0.25 + 0.4 a, then the power.
        assert!(close(
            grade.apply([0.5; 3]),
            [0.85, 1.6f32.sqrt(), 0.475 * 0.475],
            1e-6
        ));
    }

    #[test]
    fn negatives_pass_the_power_and_clamps_are_asked_for() {
        let grade = Grade {
            gamma: [2.2; 3],
            gain: [2.0; 3],
            ..Grade::default()
        };
        assert_eq!(grade.apply([-0.25; 3]), [-0.5; 3]);
        let clamped = Grade {
            clamp_black: true,
            clamp_white: true,
            ..grade
        };
        assert_eq!(clamped.apply([-0.25, 3.0, 0.0]), [0.0, 1.0, 0.0]);
        assert!(clamped.apply([f32::NAN; 3])[0].is_nan());
    }

    #[test]
    fn problems_are_named() {
        assert_eq!(Grade::default().problem(), None);
        let flat = Grade {
            white: [1.0, 0.0, 1.0],
            ..Grade::default()
        };
        assert!(flat.problem().unwrap().contains("green"));
        assert!(
            Grade {
                gamma: [0.0; 3],
                ..Grade::default()
            }
            .problem()
            .unwrap()
            .contains("gamma")
        );
    }

    #[test]
    fn full_turns_and_thirds() {
        assert_eq!(
            HueShift::new(-720.0, WEIGHTS).apply([0.1, 2.0, -0.3]),
            [0.1, 2.0, -0.3]
        );
        let third = HueShift::new(120.0, WEIGHTS).apply([1.0, 0.0, 0.0]);
        // Green, moved along the grey axis to red's luminance.
        let lift = 0.2126 - 0.7152;
        assert!(close(third, [lift, 1.0 + lift, lift], 1e-5), "{third:?}");
    }

    fn colour() -> impl Strategy<Value = [f32; 3]> {
        prop::array::uniform3(-2.0f32..16.0)
    }

    proptest! {
        #[test]
        fn defaults_change_nothing(rgb in colour()) {
            prop_assert_eq!(Grade::default().apply(rgb), rgb);
            prop_assert_eq!(Cdl::default().apply(rgb), rgb);
            prop_assert_eq!(Exposure::default().apply(rgb), rgb);
            prop_assert_eq!(Saturation { amount: 1.0, weights: WEIGHTS }.apply(rgb), rgb);
            prop_assert_eq!(HueShift::new(0.0, WEIGHTS).apply(rgb), rgb);
        }

        #[test]
        fn grade_comes_back(
            rgb in colour(),
            gain in prop::array::uniform3(0.5f32..4.0),
            lift in prop::array::uniform3(-0.2f32..0.2),
            gamma in prop::array::uniform3(0.5f32..2.5),
            offset in prop::array::uniform3(-0.2f32..0.2),
        ) {
            let grade = Grade { gain, lift, gamma, offset, ..Grade::default() };
            let back = grade.invert(grade.apply(rgb));
            prop_assert!(close(back, rgb, 2e-4), "{:?} -> {:?}", rgb, back);
        }

        #[test]
        fn saturation_and_hue_keep_luminance(rgb in colour(), amount in 0.0f32..3.0, degrees in -360.0f32..360.0) {
            let before = luminance(rgb, WEIGHTS);
            let saturated = Saturation { amount, weights: WEIGHTS }.apply(rgb);
            prop_assert!((luminance(saturated, WEIGHTS) - before).abs() < 1e-4);
            let turned = HueShift::new(degrees, WEIGHTS).apply(rgb);
            prop_assert!((luminance(turned, WEIGHTS) - before).abs() < 1e-4);
        }

        #[test]
        fn turns_add_up(rgb in colour(), a in -180.0f32..180.0, b in -180.0f32..180.0) {
            let twice = HueShift::new(b, WEIGHTS).apply(HueShift::new(a, WEIGHTS).apply(rgb));
            prop_assert!(close(twice, HueShift::new(a + b, WEIGHTS).apply(rgb), 1e-4));
        }
    }
}
