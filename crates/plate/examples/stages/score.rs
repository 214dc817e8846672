//! How near a background comes to the true one, by region.

use peel_image::{Layer, Rect};
use peel_plate::{Light, Step};

use crate::cases::Case;

/// Difference of plate and background in encoded values from which a pixel counts as effect.
const EFFECT: f32 = 0.03;

/// Squared error and pixels: everywhere, under the object, in its effect, elsewhere; and fine detail under the object.
#[derive(Clone, Default)]
pub struct Errors {
    squares: [(f64, u64); 4],
    /// Sums of absolute differences of neighbours under the object: of the answer, of the truth.
    roughness: (f64, f64),
}

impl Errors {
    /// Counts one background.
    pub fn add(&mut self, case: &Case, background: &Layer) {
        let light = Light::default();
        let shown = |v: f32| light.encode(v).clamp(0.0, 1.0);
        let frame = case.plate.data();
        for (x, y) in (frame.y0..frame.y1).flat_map(|y| (frame.x0..frame.x1).map(move |x| (x, y))) {
            let (plate, clean, got) = (case.plate.get(x, y), case.clean.get(x, y), background.get(x, y));
            let off = |c: usize| f64::from(shown(got[c]) - shown(clean[c])).powi(2);
            let error = (off(0) + off(1) + off(2)) / 3.0;
            let effect = (0..3).any(|c| (shown(plate[c]) - shown(clean[c])).abs() > EFFECT);
            let region = if case.matte.get(x, y) > 0.02 {
                1
            } else if effect {
                2
            } else {
                3
            };
            if region == 1 && x + 1 < frame.x1 {
                let step = |layer: &Layer| {
                    f64::from((shown(layer.get(x, y)[1]) - shown(layer.get(x + 1, y)[1])).abs())
                };
                self.roughness.0 += step(background);
                self.roughness.1 += step(&case.clean);
            }
            for at in [0, region] {
                self.squares[at].0 += error;
                self.squares[at].1 += 1;
            }
        }
    }

    /// PSNR in dB: everywhere, under the object, in its effect, elsewhere. Pooled over all pixels.
    pub fn decibels(&self) -> [f64; 4] {
        self.squares
            .map(|(sum, n)| -10.0 * (sum / n.max(1) as f64).log10())
    }

    /// Detail under the object as a share of the truth's.
    pub fn sharpness(&self) -> f64 {
        self.roughness.0 / self.roughness.1.max(1e-9)
    }
}

/// Plate, background, true background and foreground over a checkerboard, side by side.
pub fn sheet(case: &Case, step: &Step) -> Layer {
    let frame = case.plate.data();
    let (width, height) = (frame.width() as i32, frame.height() as i32);
    let window = Rect::new(0, 0, 4 * width, height);
    Layer::from_fn(window, window, |column, y| {
        let (x, y) = (column % width + frame.x0, y + frame.y0);
        match column / width {
            0 => case.plate.get(x, y),
            1 => step.background.get(x, y),
            2 => case.clean.get(x, y),
            _ => {
                let front = step.foreground.get(x, y);
                let board = if (x / 8 + y / 8) % 2 == 0 { 0.3 } else { 0.6 };
                std::array::from_fn(|c| front[c] + (1.0 - front[3]) * if c < 3 { board } else { 1.0 })
            }
        }
    })
}
