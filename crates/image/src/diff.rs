//! How far apart two pictures are, judged as OpenImageIO's `idiff` does: a soft threshold that a share of the
//! pixels may pass, and a hard one that none may.

use std::fmt;

use crate::{Layer, Matte, Pixel, Rect, Stack};

/// What counts as a failure. A pixel's difference is that of its worst channel.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Thresholds {
    /// A pixel fails where it differs by more than this.
    pub fail: f32,
    /// Share of the pixels that may fail, 0 to 1.
    pub share: f64,
    /// No pixel may differ by more than this; never less strict than `fail` where no pixel may fail.
    pub hard: f32,
}

impl Thresholds {
    /// Not one bit of difference (but 0 equals -0).
    pub const EXACT: Thresholds = Thresholds {
        fail: 0.0,
        share: 0.0,
        hard: 0.0,
    };

    /// No pixel may differ by more than `limit`.
    pub fn within(limit: f32) -> Thresholds {
        Thresholds {
            fail: limit,
            share: 0.0,
            hard: limit,
        }
    }
}

/// One place at which two pictures differ.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Place {
    /// Column.
    pub x: i32,
    /// Row.
    pub y: i32,
    /// Channel: 0 to 3 for red, green, blue, alpha.
    pub channel: usize,
    /// The first picture's value.
    pub a: f32,
    /// The second picture's value.
    pub b: f32,
}

/// What a comparison found, over the box around both data windows.
#[derive(Clone, PartialEq, Debug)]
pub struct Difference {
    /// Pixels compared.
    pub pixels: u64,
    /// Pixels that differ by more than the soft threshold, NaN and infinity in one picture only included.
    pub failing: u64,
    /// Values that are NaN or infinite in one picture and something else in the other.
    pub not_finite: u64,
    /// Largest difference of a value; infinite where `not_finite` is not 0.
    pub max: f64,
    /// Mean over all values of all channels (those that are not finite left out).
    pub mean: f64,
    /// Root of the mean square over all values (those that are not finite left out).
    pub rms: f64,
    /// Where the largest difference is; `None` where there is no difference at all.
    pub worst: Option<Place>,
    /// What was allowed.
    pub thresholds: Thresholds,
}

impl Difference {
    /// Compares two layers pixel by pixel; outside its data window each is transparent black.
    pub fn of(a: &Layer, b: &Layer, thresholds: Thresholds) -> Difference {
        Difference::over(a.data().union(b.data()), 4, thresholds, |x, y| {
            (a.get(x, y), b.get(x, y))
        })
    }

    /// Compares two mattes; the value is in channel 0.
    pub fn of_mattes(a: &Matte, b: &Matte, thresholds: Thresholds) -> Difference {
        let pixel = |matte: &Matte, x, y| -> Pixel { [matte.get(x, y), 0.0, 0.0, 0.0] };
        Difference::over(a.data().union(b.data()), 1, thresholds, |x, y| {
            (pixel(a, x, y), pixel(b, x, y))
        })
    }

    fn over(
        window: Rect,
        channels: usize,
        thresholds: Thresholds,
        pair: impl Fn(i32, i32) -> (Pixel, Pixel),
    ) -> Difference {
        let mut out = Difference {
            pixels: window.area(),
            failing: 0,
            not_finite: 0,
            max: 0.0,
            mean: 0.0,
            rms: 0.0,
            worst: None,
            thresholds,
        };
        let mut finite = 0u64;
        for y in window.y0..window.y1 {
            for x in window.x0..window.x1 {
                let (a, b) = pair(x, y);
                let mut largest = 0.0f64;
                for (channel, (&a, &b)) in a.iter().zip(&b).take(channels).enumerate() {
                    let difference = distance(a, b);
                    if difference.is_finite() {
                        finite += 1;
                        out.mean += difference;
                        out.rms += difference * difference;
                    } else {
                        out.not_finite += 1;
                    }
                    if difference > out.max {
                        out.max = difference;
                        out.worst = Some(Place { x, y, channel, a, b });
                    }
                    largest = largest.max(difference);
                }
                out.failing += u64::from(largest > f64::from(thresholds.fail));
            }
        }
        if finite > 0 {
            out.mean /= finite as f64;
            out.rms = (out.rms / finite as f64).sqrt();
        }
        out
    }

    /// Whether the difference is within the thresholds.
    pub fn passes(&self) -> bool {
        let hard = self.thresholds.hard.max(self.thresholds.fail);
        self.failing_share() <= self.thresholds.share && self.max <= f64::from(hard)
    }

    /// Share of the pixels that fail the soft threshold.
    pub fn failing_share(&self) -> f64 {
        if self.pixels == 0 {
            0.0
        } else {
            self.failing as f64 / self.pixels as f64
        }
    }

    /// Peak signal-to-noise ratio in decibels for a peak of 1; infinite where nothing differs.
    pub fn psnr(&self) -> f64 {
        -20.0 * self.rms.log10()
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(worst) = self.worst else {
            return write!(f, "no difference in {} pixels", self.pixels);
        };
        let channel = ["red", "green", "blue", "alpha"][worst.channel.min(3)];
        write!(
            f,
            "max {:.3e} ({channel} at ({}, {}): {} against {}), mean {:.3e}, rms {:.3e}; {} of {} pixels \
             ({:.3} %) beyond {}",
            self.max,
            worst.x,
            worst.y,
            worst.a,
            worst.b,
            self.mean,
            self.rms,
            self.failing,
            self.pixels,
            100.0 * self.failing_share(),
            self.thresholds.fail,
        )?;
        if self.not_finite > 0 {
            write!(
                f,
                "; {} values NaN or infinite in one of them only",
                self.not_finite
            )?;
        }
        Ok(())
    }
}

/// Equal values, infinities of the same sign and two NaNs are 0 apart; NaN or infinity against anything
/// else is infinitely far.
fn distance(a: f32, b: f32) -> f64 {
    if a == b || (a.is_nan() && b.is_nan()) {
        0.0
    } else if a.is_finite() && b.is_finite() {
        (f64::from(a) - f64::from(b)).abs()
    } else {
        f64::INFINITY
    }
}

/// Compares two stacks layer by layer. The error says which layers only one of them has, or that their order
/// differs.
pub fn stacks(a: &Stack, b: &Stack, thresholds: Thresholds) -> Result<Vec<(String, Difference)>, String> {
    let names = |stack: &Stack| {
        stack
            .layers
            .iter()
            .map(|named| named.name.clone())
            .collect::<Vec<_>>()
    };
    let (names_a, names_b) = (names(a), names(b));
    if names_a != names_b {
        return Err(format!(
            "layers [{}] against [{}]",
            names_a.join(", "),
            names_b.join(", ")
        ));
    }
    let pairs = a.layers.iter().zip(&b.layers);
    Ok(pairs
        .map(|(a, b)| (a.name.clone(), Difference::of(&a.layer, &b.layer, thresholds)))
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grey(values: &[f32]) -> Layer {
        let frame = Rect::of_size(values.len() as u32, 1);
        Layer::from_fn(frame, frame, |x, _| [values[x as usize], 0.0, 0.0, 1.0])
    }

    #[test]
    fn the_worst_pixel_is_named() {
        let found = Difference::of(
            &grey(&[0.0, 0.5, 1.0]),
            &grey(&[0.0, 0.25, 1.125]),
            Thresholds::EXACT,
        );
        assert!(!found.passes());
        assert_eq!((found.max, found.failing, found.pixels), (0.25, 2, 3));
        assert_eq!(found.worst.map(|place| (place.x, place.channel)), Some((1, 0)));
        assert!((found.mean - 0.375 / 12.0).abs() < 1e-12);
        assert!(
            found.to_string().contains("red at (1, 0): 0.5 against 0.25"),
            "{found}"
        );
    }

    #[test]
    fn soft_share_and_hard_threshold() {
        let (a, b) = (
            grey(&[0.0; 10]),
            grey(&[0.0, 0.2, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.01]),
        );
        let allowed = |fail, share, hard| Difference::of(&a, &b, Thresholds { fail, share, hard }).passes();
        assert!(allowed(0.05, 0.1, 0.5));
        assert!(!allowed(0.05, 0.1, 0.1), "the hard limit");
        assert!(!allowed(0.005, 0.1, 0.5), "two of ten");
        assert!(Difference::of(&a, &b, Thresholds::within(0.25)).passes());
    }

    #[test]
    fn nan_equals_nan_alone() {
        let of = |a: f32, b: f32| Difference::of(&grey(&[a]), &grey(&[b]), Thresholds::within(1e30));
        assert!(of(f32::NAN, f32::NAN).passes());
        assert!(of(f32::INFINITY, f32::INFINITY).passes());
        for (a, b) in [
            (f32::NAN, 0.0),
            (f32::INFINITY, 1.0),
            (f32::INFINITY, f32::NEG_INFINITY),
        ] {
            let found = of(a, b);
            assert!(!found.passes() && found.not_finite == 1, "{a} {b}");
        }
    }

    #[test]
    fn windows_differ_only_where_pixels_do() {
        let small = grey(&[0.5]);
        let mut large = small.crop(Rect::of_size(3, 3));
        assert!(Difference::of(&small, &large, Thresholds::EXACT).passes());
        large.row_mut(2)[2][3] = 1.0;
        assert_eq!(Difference::of(&small, &large, Thresholds::EXACT).failing, 1);
    }
}
