//! A scene with a known background, and models that know, guess or lie.
#![allow(dead_code)] // Each test file uses its part.

use peel_image::{Layer, Matte, Pixel, Rect};
use peel_plate::{Decomposer, Light, Plane, Prediction, Result, Rgb, Sampling};

/// A ball with a soft shadow on a textured floor, in linear light.
pub struct Scene {
    pub frame: Rect,
    pub light: Light,
}

impl Scene {
    pub fn new(width: u32, height: u32) -> Scene {
        Scene {
            frame: Rect::of_size(width, height),
            light: Light::default(),
        }
    }

    fn at(&self, x: i32, y: i32) -> (f32, f32) {
        let side = self.frame.height() as f32;
        ((x as f32 + 0.5) / side, (y as f32 + 0.5) / side)
    }

    /// The floor: a gradient with fine texture.
    pub fn clean(&self, x: i32, y: i32) -> [f32; 3] {
        let (u, v) = self.at(x, y);
        let fine = 1.0 + 0.15 * ((0.9 * x as f32).sin() * (0.7 * y as f32 + 0.2 * x as f32).cos());
        [0.30, 0.24, 0.15].map(|c| c * (0.7 + 0.4 * u + 0.2 * v) * fine)
    }

    /// Share of light that the shadow lets through.
    pub fn through(&self, x: i32, y: i32) -> f32 {
        let (u, v) = self.at(x, y);
        let d = ((u - 0.66) / 0.22).hypot((v - 0.62) / 0.1);
        1.0 - 0.6 * (1.0 - ((d - 0.6) / 0.6).clamp(0.0, 1.0)).powi(2)
    }

    pub fn coverage(&self, x: i32, y: i32) -> f32 {
        let (u, v) = self.at(x, y);
        let d = (u - 0.5).hypot(v - 0.48);
        ((0.16 - d) * self.frame.height() as f32 + 0.5).clamp(0.0, 1.0)
    }

    pub fn seen(&self, x: i32, y: i32) -> Pixel {
        let (m, s) = (self.coverage(x, y), self.through(x, y));
        let object = [0.6, 0.05, 0.04];
        let clean = self.clean(x, y);
        let c: [f32; 3] = std::array::from_fn(|c| m * object[c] + (1.0 - m) * s * clean[c]);
        [c[0], c[1], c[2], 1.0]
    }

    pub fn plate(&self) -> Layer {
        Layer::from_fn(self.frame, self.frame, |x, y| self.seen(x, y))
    }

    pub fn matte(&self) -> Matte {
        Matte::from_fn(self.frame, self.frame, |x, y| self.coverage(x, y))
    }

    /// PSNR in dB of encoded values against the true background, where `wanted` says so.
    pub fn psnr(&self, background: &Layer, wanted: impl Fn(i32, i32) -> bool) -> f32 {
        let (mut sum, mut n) = (0f64, 0u32);
        for y in self.frame.y0..self.frame.y1 {
            for x in (self.frame.x0..self.frame.x1).filter(|&x| wanted(x, y)) {
                let (got, clean) = (background.get(x, y), self.clean(x, y));
                for c in 0..3 {
                    let off = self.light.encode(got[c]) - self.light.encode(clean[c]);
                    sum += f64::from(off * off);
                    n += 1;
                }
            }
        }
        (-10.0 * (sum / f64::from(n)).log10()) as f32
    }

    pub fn in_shadow(&self, x: i32, y: i32) -> bool {
        self.coverage(x, y) == 0.0 && self.through(x, y) < 0.97
    }
}

/// A model whose background is one colour: right on average, and without any detail.
pub struct Blurred(pub Known);

impl Decomposer for Blurred {
    fn decompose(
        &self,
        picture: &Rgb,
        mask: &Plane,
        sampling: &Sampling,
        progress: &dyn Fn(f32) -> bool,
    ) -> Result<Prediction> {
        let mut answer = self.0.decompose(picture, mask, sampling, progress)?;
        for plane in &mut answer.background {
            let mean = plane.values.iter().sum::<f32>() / plane.values.len() as f32;
            plane.values.fill(mean);
        }
        Ok(answer)
    }

    fn working_size(&self) -> usize {
        128
    }

    fn digest(&self) -> String {
        "blurred".to_owned()
    }
}

/// No model, but what one is like: an even fill under the object, a soft shadow beside it, faint alpha where there is nothing.
pub struct Guess;

impl Decomposer for Guess {
    fn decompose(
        &self,
        picture: &Rgb,
        mask: &Plane,
        _: &Sampling,
        _: &dyn Fn(f32) -> bool,
    ) -> Result<Prediction> {
        let (w, h) = picture[0].size();
        let shadow = |x: usize, y: usize| {
            let beside = (8..16).map(|i| mask.at(x.saturating_sub(i), y.saturating_sub(i / 4)));
            0.05 * beside.sum::<f32>() + 0.015 * f32::from(x.is_multiple_of(7))
        };
        let alpha = Plane::from_fn(w, h, |x, y| mask.at(x, y).max(shadow(x, y)));
        let clean = |c: usize| {
            Plane::from_fn(w, h, |x, y| {
                picture[c].at(x, y) * (1.0 - mask.at(x, y)) / (1.0 - shadow(x, y)) + 0.5 * mask.at(x, y)
            })
        };
        let front = |c: usize| Plane::from_fn(w, h, |x, y| picture[c].at(x, y) * mask.at(x, y));
        Ok(Prediction {
            background: [clean(0), clean(1), clean(2)],
            foreground: [front(0), front(1), front(2), alpha],
        })
    }

    fn working_size(&self) -> usize {
        128
    }

    fn digest(&self) -> String {
        "guess".to_owned()
    }
}

/// A model that answers with anything: noise, NaN, infinity, values far out of range.
pub struct Garbage {
    pub broken: bool,
}

impl Decomposer for Garbage {
    fn decompose(
        &self,
        picture: &Rgb,
        _: &Plane,
        sampling: &Sampling,
        _: &dyn Fn(f32) -> bool,
    ) -> Result<Prediction> {
        let (w, h) = picture[0].size();
        let noise = |salt: u64| {
            Plane::from_fn(w, h, |x, y| {
                let mut z =
                    (sampling.seed + salt * 7919 + (y * w + x) as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
                z = (z ^ (z >> 31)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
                match z >> 60 {
                    0 if self.broken => f32::NAN,
                    1 if self.broken => f32::INFINITY,
                    2 if self.broken => -1e30,
                    _ => (z >> 40 & 0xffff) as f32 / 65535.0,
                }
            })
        };
        Ok(Prediction {
            background: std::array::from_fn(|c| noise(c as u64)),
            foreground: std::array::from_fn(|c| noise(10 + c as u64)),
        })
    }

    fn working_size(&self) -> usize {
        64
    }

    fn digest(&self) -> String {
        "garbage".to_owned()
    }
}

/// Rounded to half, by the `half` crate.
pub fn half(pixel: Pixel) -> Pixel {
    pixel.map(|v| half::f16::from_f32(v).to_f32())
}

/// Asserts that over of the layers is the plate, in half, and that the background has the plate's bits where the
/// foreground is nothing.
pub fn assert_exact(plate: &Layer, background: &Layer, foreground: &Layer) {
    assert_eq!(plate.data(), background.data());
    for y in plate.data().y0..plate.data().y1 {
        for x in plate.data().x0..plate.data().x1 {
            let (c, b, f) = (plate.get(x, y), background.get(x, y), foreground.get(x, y));
            if f == [0.0; 4] {
                assert_eq!(
                    b.map(f32::to_bits),
                    c.map(f32::to_bits),
                    "({x}, {y}) changed without effect"
                );
                continue;
            }
            assert_eq!((half(b), half(f)), (b, f), "({x}, {y}) is not in half");
            let over: Pixel = std::array::from_fn(|i| f[i] + (1.0 - f[3]) * b[i]);
            assert_eq!(half(over), half(c), "({x}, {y}): {f:?} over {b:?}");
            assert!(
                (0..3).all(|i| f[i] >= 0.0 || c[i] < 0.0),
                "({x}, {y}): negative light {f:?}"
            );
        }
    }
}

/// What is seen behind the object (linear), its coverage, and the share of light that its shadow lets through, at a pixel.
pub type Truth = dyn Fn(i32, i32) -> ([f32; 3], f32, f32) + Send + Sync;

/// A model that is shown a whole frame and knows what it shows.
pub struct Known {
    pub frame: Rect,
    pub truth: Box<Truth>,
}

impl Known {
    pub fn new(
        frame: Rect,
        truth: impl Fn(i32, i32) -> ([f32; 3], f32, f32) + Send + Sync + 'static,
    ) -> Known {
        let truth = Box::new(truth);
        Known { frame, truth }
    }

    /// What a scene shows.
    pub fn scene(scene: Scene) -> Known {
        Known::new(scene.frame, move |x, y| {
            (scene.clean(x, y), scene.coverage(x, y), scene.through(x, y))
        })
    }
}

impl Decomposer for Known {
    fn decompose(
        &self,
        picture: &Rgb,
        _: &Plane,
        _: &Sampling,
        progress: &dyn Fn(f32) -> bool,
    ) -> Result<Prediction> {
        assert!(progress(1.0));
        let (w, h) = picture[0].size();
        let factor = self.frame.width() / w;
        assert_eq!(
            (factor * w, factor * h),
            (self.frame.width(), self.frame.height()),
            "the whole frame is shown"
        );
        let light = Light::default();
        let mean = |f: &(dyn Fn(i32, i32) -> f32 + Sync)| {
            Plane::from_fn(w, h, |x, y| {
                let cells = (0..factor * factor)
                    .map(|i| f((x * factor + i % factor) as i32, (y * factor + i / factor) as i32));
                cells.sum::<f32>() / (factor * factor) as f32
            })
        };
        let background: Rgb = std::array::from_fn(|c| mean(&|x, y| light.encode((self.truth)(x, y).0[c])));
        let alpha = mean(&|x, y| {
            let (clean, coverage, through) = (self.truth)(x, y);
            let shadow = 1.0 - light.encode(through * clean[1]) / light.encode(clean[1]);
            1.0 - (1.0 - coverage) * (1.0 - shadow)
        });
        let front = |c: usize| {
            Plane::from_fn(w, h, |x, y| {
                (picture[c].at(x, y) - (1.0 - alpha.at(x, y)) * background[c].at(x, y)).max(0.0)
            })
        };
        Ok(Prediction {
            foreground: [front(0), front(1), front(2), alpha.clone()],
            background,
        })
    }

    fn working_size(&self) -> usize {
        128
    }

    fn digest(&self) -> String {
        "known".to_owned()
    }
}
