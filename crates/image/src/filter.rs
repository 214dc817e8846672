//! Reconstruction filters: how pixels are interpolated.

use std::f64::consts::PI;
use std::fmt;

use crate::math::sin_cos_degrees;

/// A resampling kernel. All but [`Filter::Nearest`] widen with the footprint where a picture is made smaller.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Filter {
    /// The nearest pixel, never a mixture, not even where the picture shrinks: for ids and hard data.
    Nearest,
    /// Linear between neighbours (a triangle); soft, never rings.
    Bilinear,
    /// Catmull-Rom: sharp, passes through the pixels, rings a little.
    #[default]
    Cubic,
    /// Mitchell-Netravali (1/3, 1/3): between soft and ringing; softens even without movement.
    Mitchell,
    /// Three-lobed Lanczos: the sharpest, rings the most.
    Lanczos3,
}

impl Filter {
    /// Every filter, from plain to sharp.
    pub const ALL: [Filter; 5] = [
        Filter::Nearest,
        Filter::Bilinear,
        Filter::Cubic,
        Filter::Mitchell,
        Filter::Lanczos3,
    ];

    /// The filter's name in graphs.
    pub fn name(self) -> &'static str {
        match self {
            Filter::Nearest => "Nearest",
            Filter::Bilinear => "Bilinear",
            Filter::Cubic => "Cubic",
            Filter::Mitchell => "Mitchell",
            Filter::Lanczos3 => "Lanczos3",
        }
    }

    /// The filter of this name; case, `-` and `_` do not matter.
    pub fn parse(name: &str) -> Option<Filter> {
        let wanted = crate::name::plain(name);
        Self::ALL
            .into_iter()
            .find(|filter| crate::name::plain(filter.name()) == wanted)
    }

    /// Pixels from the centre beyond which the weight is 0.
    pub fn radius(self) -> f64 {
        match self {
            Filter::Nearest => 0.5,
            Filter::Bilinear => 1.0,
            Filter::Cubic | Filter::Mitchell => 2.0,
            Filter::Lanczos3 => 3.0,
        }
    }

    /// The weight of a sample `x` pixels from the centre. Over all samples the weights add up to 1 (Lanczos:
    /// nearly, which is why whoever uses it divides by the sum).
    pub fn weight(self, x: f64) -> f64 {
        let x = x.abs();
        if x >= self.radius() {
            return 0.0;
        }
        match self {
            Filter::Nearest => 1.0,
            Filter::Bilinear => 1.0 - x,
            Filter::Cubic => cubic(x, 0.0, 0.5),
            Filter::Mitchell => cubic(x, 1.0 / 3.0, 1.0 / 3.0),
            Filter::Lanczos3 => sinc(x) * sinc(x / 3.0),
        }
    }
}

impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The (B, C) family of Mitchell and Netravali, "Reconstruction filters in computer graphics", 1988.
fn cubic(x: f64, b: f64, c: f64) -> f64 {
    if x < 1.0 {
        ((12.0 - 9.0 * b - 6.0 * c) * x * x * x + (-18.0 + 12.0 * b + 6.0 * c) * x * x + (6.0 - 2.0 * b))
            / 6.0
    } else {
        ((-b - 6.0 * c) * x * x * x
            + (6.0 * b + 30.0 * c) * x * x
            + (-12.0 * b - 48.0 * c) * x
            + (8.0 * b + 24.0 * c))
            / 6.0
    }
}

fn sinc(x: f64) -> f64 {
    if x < 1e-9 {
        1.0
    } else {
        sin_cos_degrees(180.0 * x).0 / (PI * x)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn interpolating_filters_are_one_at_the_pixel_and_zero_at_its_neighbours() {
        for filter in [Filter::Bilinear, Filter::Cubic, Filter::Lanczos3] {
            assert_eq!(filter.weight(0.0), 1.0);
            for n in 1..4 {
                assert!(filter.weight(f64::from(n)).abs() < 1e-15, "{filter} at {n}");
            }
        }
        assert!((Filter::Mitchell.weight(0.0) - 8.0 / 9.0).abs() < 1e-15);
    }

    #[test]
    fn names_come_back() {
        for filter in Filter::ALL {
            assert_eq!(Filter::parse(filter.name()), Some(filter));
        }
        assert_eq!(Filter::parse("lanczos-3"), Some(Filter::Lanczos3));
    }

    proptest! {
        #[test]
        fn weights_add_up_to_one(offset in 0.0f64..1.0) {
            for filter in [Filter::Bilinear, Filter::Cubic, Filter::Mitchell, Filter::Lanczos3] {
                let sum: f64 = (-4..5).map(|n| filter.weight(f64::from(n) + offset)).sum();
                let slack = if filter == Filter::Lanczos3 { 0.01 } else { 1e-12 };
                prop_assert!((sum - 1.0).abs() < slack, "{}: {}", filter, sum);
            }
        }

        #[test]
        fn kernels_are_even(x in 0.0f64..4.0) {
            for filter in Filter::ALL {
                prop_assert_eq!(filter.weight(x), filter.weight(-x));
            }
        }
    }
}
