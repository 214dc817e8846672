//! Scene-linear light to the model's display-referred values, and back.
//!
//! # The curve
//!
//! With `x` the linear value times `exposure`:
//!
//! ```text
//! y = white * S(x)                               for x <= 1, S being the sRGB curve (IEC 61966-2-1)
//! y = white + roll * ln(1 + slope/roll (x - 1))  for x > 1, with the slope of white * S at 1
//! ```
//!
//! Below 0 the linear foot of the sRGB curve goes on, so that negatives survive. Above white the curve
//! is logarithmic, joined with equal slope. It grows for all `x`, so it has an inverse everywhere. The model sees `y`
//! clipped to 0..1; nothing else is clipped, since the plate's own pixels never go through the curve and back.
//!
//! `white` is 1 for plates without highlights, which the model then sees just as it was trained (display-referred
//! pictures), and 0.85 for plates with them; then `roll` puts a linear 100 at 1.

use peel_image::Layer;

use crate::f16;

/// The sRGB curve's slope where it reaches white: 1.055 / 2.4.
const SLOPE_AT_WHITE: f32 = 1.055 / 2.4;

/// `roll` such that linear 100 lands at 1 for `white` = 0.85: solves 0.15 = roll ln(1 + 99 * 0.85 SLOPE / roll).
const ROLL: f32 = 0.019_929;

/// How far, in stops, a plate's mean may lie from middle grey before its exposure is changed.
const TOLERANCE: f32 = 1.75;

/// How a plate's light is shown to the model.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Light {
    /// Factor on linear values.
    pub exposure: f32,
    /// Encoded value of exposed linear 1.
    pub white: f32,
}

impl Default for Light {
    /// For display-referred pictures: the plain sRGB curve up to white.
    fn default() -> Light {
        Light {
            exposure: 1.0,
            white: 1.0,
        }
    }
}

impl Light {
    /// Chosen from a plate: whole stops that bring its log-average to middle grey (0.18), but none where it lies
    /// within 1.75 stops of it; and room for highlights where more than one pixel in a thousand is above white.
    ///
    /// Steps this coarse keep all frames of a shot at the same setting, nearly always. A sequence that must
    /// be sure of it chooses once and passes the choice on in [`Options::light`](crate::Options::light).
    pub fn of_plate(plate: &Layer) -> Light {
        // Some hundred thousand pixels are plenty; a fixed stride keeps the choice repeatable.
        let stride = (plate.pixels().len() / 200_000).max(1);
        let lights: Vec<f32> = plate
            .pixels()
            .iter()
            .step_by(stride)
            .filter(|p| p[3] > 0.0)
            .map(|p| 0.2126 * p[0] + 0.7152 * p[1] + 0.0722 * p[2])
            .filter(|v| v.is_finite())
            .collect();
        if lights.is_empty() {
            return Light::default();
        }
        let sum: f64 = lights
            .iter()
            .map(|&v| f64::from(v.max(1.0 / 1024.0)).log2())
            .sum();
        let mean = sum / lights.len() as f64;
        let off = (0.18f64.log2() - mean) as f32;
        let stops = if off.abs() <= TOLERANCE {
            0.0
        } else {
            (off - TOLERANCE.copysign(off)).round()
        };
        let exposure = stops.exp2();
        let bright = lights.iter().filter(|&&v| v * exposure > 1.05).count();
        Light {
            exposure,
            white: if bright * 1000 > lights.len() { 0.85 } else { 1.0 },
        }
    }

    /// Linear to encoded.
    pub fn encode(&self, linear: f32) -> f32 {
        let x = linear * self.exposure;
        if x <= 1.0 {
            let s = if x <= 0.003_130_8 {
                12.92 * x
            } else {
                1.055 * x.powf(1.0 / 2.4) - 0.055
            };
            self.white * s
        } else {
            self.white + ROLL * (self.white * SLOPE_AT_WHITE / ROLL * (x - 1.0)).ln_1p()
        }
    }

    /// Encoded to linear.
    pub fn decode(&self, encoded: f32) -> f32 {
        let s = encoded / self.white;
        let x = if s <= 0.003_130_8 * 12.92 {
            s / 12.92
        } else if s <= 1.0 {
            ((s + 0.055) / 1.055).powf(2.4)
        } else {
            1.0 + ROLL / (self.white * SLOPE_AT_WHITE) * ((encoded - self.white) / ROLL).exp_m1()
        };
        x / self.exposure
    }

    /// The curve as a table over all halves, for millions of pixels: see [`Table::encode`].
    pub(crate) fn table(&self) -> Table {
        // The index is the half's bits, which its f32 form gives after undoing the exponent's bias.
        let entry = |bits: u32| {
            let sign = if bits & 0x8000 == 0 { 1.0 } else { -1.0 };
            let (exponent, mantissa) = (bits >> 10 & 31, (bits & 1023) as f32);
            let magnitude = match exponent {
                0 => mantissa * 2f32.powi(-24),
                31 => f16::MAX,
                e => (1.0 + mantissa / 1024.0) * 2f32.powi(e as i32 - 15),
            };
            self.encode(sign * magnitude)
        };
        Table((0..1 << 16).map(entry).collect())
    }
}

/// [`Light::encode`] for values of half precision.
pub(crate) struct Table(Vec<f32>);

impl Table {
    /// Encodes `linear` rounded to half; anything beyond half counts as its largest value, NaN as 0.
    #[inline]
    pub fn encode(&self, linear: f32) -> f32 {
        self.0[half_bits(linear)]
    }

    /// The same from the bits of a finite half.
    #[inline]
    pub fn of_bits(&self, bits: usize) -> f32 {
        self.0[bits]
    }
}

/// The bits of the half nearest to `x`, cut off at the largest finite one; 0 for NaN.
#[inline]
fn half_bits(x: f32) -> usize {
    const LEAST: u32 = 0x3880_0000; // 2^-14, the smallest normal half
    const MOST: u32 = 0x477f_e000; // 65504
    let bits = x.to_bits();
    let (sign, magnitude) = ((bits >> 16) & 0x8000, bits & 0x7fff_ffff);
    if (LEAST..=MOST).contains(&magnitude) {
        // Nearest, ties to even, and then the other bias of the exponent: what the general way below comes to.
        let rounded = magnitude + 0x0fff + ((magnitude >> 13) & 1);
        return (sign | ((rounded - (112 << 23)) >> 13)) as usize;
    }
    let rounded = f16::round(if x.is_nan() {
        0.0
    } else {
        x.clamp(-f16::MAX, f16::MAX)
    });
    let sign = (rounded.to_bits() >> 16) & 0x8000;
    // Scaling by 2^-112 turns f32's exponent bias into half's; halves below the normal ones become subnormal f32,
    // whose mantissa is then the half's, exactly.
    let scaled = f32::from_bits(rounded.abs().to_bits()) * f32::from_bits(0x0780_0000);
    (sign | (scaled.to_bits() >> 13)) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::solver::noise::Noise;
    use peel_image::Rect;

    const BOTH: [Light; 2] = [
        Light {
            exposure: 1.0,
            white: 1.0,
        },
        Light {
            exposure: 4.0,
            white: 0.85,
        },
    ];

    #[test]
    fn the_curve_has_an_inverse() {
        for light in BOTH {
            for i in -2000..60_000 {
                let x = if i < 0 {
                    i as f32 / 1000.0
                } else {
                    (i as f32 / 6000.0).exp() - 1.0
                };
                let back = light.decode(light.encode(x));
                assert!(
                    (back - x).abs() <= 2e-5 * x.abs().max(0.05),
                    "{x} came back as {back}"
                );
                assert!(light.encode(x) < light.encode(x + 0.001 * x.abs().max(0.01)));
            }
        }
    }

    #[test]
    fn known_points() {
        let display = Light::default();
        assert!((display.encode(0.18) - 0.461_356).abs() < 1e-5);
        assert!((display.encode(1.0) - 1.0).abs() < 1e-6);
        assert!((display.encode(-0.01) + 0.1292).abs() < 1e-6);
        let scene = Light {
            exposure: 1.0,
            white: 0.85,
        };
        assert!(
            (scene.encode(100.0) - 1.0).abs() < 2e-3,
            "{}",
            scene.encode(100.0)
        );
    }

    #[test]
    fn the_table_agrees_with_the_formula() {
        let light = BOTH[1];
        let table = light.table();
        for bits in 0..=u16::MAX {
            let x = half::f16::from_bits(bits).to_f32();
            if x.is_finite() {
                assert_eq!(half_bits(x) as u16, bits, "{x:e}");
                assert_eq!(table.encode(x), light.encode(x), "{x:e}");
            }
        }
        // Between halves as well: towards the nearest, ties to even.
        let mut noise = Noise::new(4);
        for _ in 0..1_000_000 {
            let x = f32::from_bits(noise.next() as u32);
            if x.is_finite() && x.abs() <= 65504.0 {
                assert_eq!(half_bits(x) as u16, half::f16::from_f32(x).to_bits(), "{x:e}");
            }
        }
        assert_eq!(table.encode(f32::NAN), 0.0);
        assert_eq!(table.encode(f32::INFINITY), light.encode(f16::MAX));
    }

    #[test]
    fn exposure_comes_in_whole_stops_and_leaves_ordinary_plates_alone() {
        let frame = Rect::of_size(16, 16);
        let grey = |v: f32| Layer::from_fn(frame, frame, |_, _| [v, v, v, 1.0]);
        assert_eq!(Light::of_plate(&grey(0.18)), Light::default());
        assert_eq!(Light::of_plate(&grey(0.5)), Light::default());
        assert_eq!(Light::of_plate(&grey(18.0)).exposure, 2f32.powi(-5));
        assert_eq!(Light::of_plate(&grey(f32::NAN)), Light::default());
        assert_eq!(Light::of_plate(&Layer::new(frame, Rect::EMPTY)), Light::default());
        let sunny = Layer::from_fn(frame, frame, |x, _| [if x == 3 { 20.0 } else { 0.2 }; 4]);
        assert_eq!(Light::of_plate(&sunny).white, 0.85);
    }
}
