//! What things are covered with: photographs, patterns, colours; dull or shiny.

use super::super::background::noise;
use super::super::pool::{Photo, Pool};
use super::super::raster::Raster;
use super::super::rng::Rng;
use super::vector::{V3, v3};

/// A smooth random field over the plane, endlessly mirrored, about -1..1.
#[derive(Debug, Clone)]
pub struct Field {
    raster: Raster<1>,
    /// Pixels of it for a unit of length.
    scale: f32,
}

impl Field {
    /// A field whose largest waves are `length` long.
    pub fn draw(rng: &mut Rng, length: f32, octaves: usize, persistence: f32) -> Self {
        const SIZE: usize = 64;
        Self {
            raster: noise(rng, SIZE, octaves, persistence),
            scale: 0.5 * SIZE as f32 / length,
        }
    }

    /// The value at `(x, y)`.
    pub fn at(&self, x: f32, y: f32) -> f32 {
        let n = self.raster.width as f32 - 1.0;
        let fold = |v: f32| {
            let t = (v * self.scale).rem_euclid(2.0 * n);
            if t < n { t } else { 2.0 * n - t }
        };
        self.raster.bilinear_or_zero(fold(x), fold(y))[0]
    }
}

/// Where a surface takes its colour from.
#[derive(Debug, Clone)]
pub enum Cover<'a> {
    Plain(V3),
    /// A photograph, `scale` of its pixels for a unit of length.
    Photo {
        photo: &'a Photo,
        scale: f32,
        turn: (f32, f32),
        shift: (f32, f32),
        gain: V3,
    },
    /// Squares or stripes of two colours.
    Check {
        a: V3,
        b: V3,
        pitch: f32,
        stripes: bool,
        turn: (f32, f32),
    },
    /// Two colours mixed by a field.
    Marbled {
        a: V3,
        b: V3,
        field: Field,
        hard: f32,
    },
}

/// A material: diffuse cover under a clear coat.
#[derive(Debug, Clone)]
pub struct Surface<'a> {
    pub cover: Cover<'a>,
    /// Mean albedo: what light that bounces off it is coloured by.
    pub mean: V3,
    /// Share of light mirrored head-on (Schlick's F0); 0 is dull.
    pub mirror: f32,
    /// 0 mirrors sharply, 0.5 hardly.
    pub rough: f32,
    /// Where it is wet: mirrors there only, and is darker.
    pub puddles: Option<Field>,
}

/// sRGB to linear light, a cubic close to the standard's curve.
#[inline]
pub fn linear(v: f32) -> f32 {
    v * (v * (v * 0.305_306_01 + 0.682_171_1) + 0.012_522_878)
}

/// A random albedo, often near grey.
pub fn colour(rng: &mut Rng) -> V3 {
    let raw = v3(rng.unit(), rng.unit(), rng.unit());
    let grey = (raw.x + raw.y + raw.z) / 3.0;
    let saturation = rng.unit().powi(2);
    raw.map(|v| linear(0.08 + 0.84 * (grey + (v - grey) * saturation).clamp(0.0, 1.0)))
}

impl<'a> Surface<'a> {
    /// A material for a floor or wall. `weights` chooses among the groups of photographs.
    pub fn ground(rng: &mut Rng, pool: &'a Pool, plain: f32) -> Self {
        let kind = rng.unit();
        let cover = if kind < plain {
            Cover::Plain(colour(rng))
        } else if kind < plain + 0.08 {
            checks(rng, 0.1, 0.6)
        } else if kind < plain + 0.14 {
            Cover::Marbled {
                a: colour(rng),
                b: colour(rng),
                field: Field::draw(rng, 1.2, 5, 0.7),
                hard: rng.log_range(0.6, 6.0),
            }
        } else {
            let weights = [("photo", 0.3), ("texture", 1.0), ("abstract", 0.02)];
            photo(rng, pool, &weights, (60.0, 350.0))
        };
        Self::dull(cover)
    }

    /// A material for a thing.
    pub fn thing(rng: &mut Rng, pool: &'a Pool) -> Self {
        let cover = match rng.unit() {
            u if u < 0.45 => Cover::Plain(colour(rng)),
            u if u < 0.55 => checks(rng, 0.04, 0.25),
            u if u < 0.62 => Cover::Marbled {
                a: colour(rng),
                b: colour(rng),
                field: Field::draw(rng, 0.4, 4, 0.6),
                hard: rng.log_range(0.6, 6.0),
            },
            _ => {
                let weights = [("photo", 0.6), ("texture", 1.0), ("abstract", 0.2)];
                photo(rng, pool, &weights, (150.0, 500.0))
            }
        };
        let mut surface = Self::dull(cover);
        if rng.chance(0.4) {
            surface.mirror = if rng.chance(0.15) {
                rng.range(0.3, 0.8) // metal
            } else {
                rng.range(0.03, 0.08)
            };
            surface.rough = rng.range(0.0, 0.35);
        }
        surface
    }

    /// Without any mirroring.
    pub fn dull(cover: Cover<'a>) -> Self {
        let mean = cover.mean();
        Self {
            cover,
            mean,
            mirror: 0.0,
            rough: 0.5,
            puddles: None,
        }
    }

    /// Darker or lighter by `gain`.
    pub fn scaled(mut self, gain: f32) -> Self {
        match &mut self.cover {
            Cover::Plain(colour) => *colour = *colour * gain,
            Cover::Photo { gain: own, .. } => *own = *own * gain,
            Cover::Check { a, b, .. } | Cover::Marbled { a, b, .. } => {
                *a = *a * gain;
                *b = *b * gain;
            }
        }
        self.mean = self.mean * gain;
        self
    }
}

impl Cover<'_> {
    /// Albedo at `(u, v)` in units of length; `step` is about the width of a pixel there.
    pub fn albedo(&self, u: f32, v: f32, step: f32) -> V3 {
        let turned = |turn: &(f32, f32)| (u * turn.0 - v * turn.1, u * turn.1 + v * turn.0);
        match self {
            Self::Plain(colour) => *colour,
            Self::Photo {
                photo,
                scale,
                turn,
                shift,
                gain,
            } => {
                let (u, v) = turned(turn);
                let value = photo.mirrored(u * scale + shift.0, v * scale + shift.1, step * scale);
                V3::from(value).map(linear).times(*gain).map(|v| v.min(0.92))
            }
            Self::Check {
                a,
                b,
                pitch,
                stripes,
                turn,
            } => {
                let (u, v) = turned(turn);
                // Edges as wide as a pixel: a far floor does not flicker.
                let soft = (step / pitch).clamp(0.01, 1.0);
                let wave =
                    |t: f32| ((((t / pitch).rem_euclid(2.0) - 1.0).abs() - 0.5) / soft + 0.5).clamp(0.0, 1.0);
                let (p, q) = (wave(u), if *stripes { 0.0 } else { wave(v) });
                a.lerp(*b, p + q - 2.0 * p * q)
            }
            Self::Marbled { a, b, field, hard } => {
                let t = (0.5 + hard * 0.5 * field.at(u, v)).clamp(0.0, 1.0);
                a.lerp(*b, t)
            }
        }
    }

    fn mean(&self) -> V3 {
        match self {
            Self::Plain(colour) => *colour,
            Self::Check { a, b, .. } | Self::Marbled { a, b, .. } => a.lerp(*b, 0.5),
            Self::Photo { scale, .. } => {
                let coarse = 1e4 / scale; // the smallest copy of the picture
                let mut sum = V3::ZERO;
                for i in 0..16 {
                    let (x, y) = ((i % 4) as f32, (i / 4) as f32);
                    sum += self.albedo(x * 90.0 / scale, y * 90.0 / scale, coarse);
                }
                sum * (1.0 / 16.0)
            }
        }
    }
}

fn checks<'a>(rng: &mut Rng, least: f32, most: f32) -> Cover<'a> {
    let angle = rng.range(0.0, std::f32::consts::TAU);
    Cover::Check {
        a: colour(rng),
        b: colour(rng),
        pitch: rng.log_range(least, most),
        stripes: rng.chance(0.4),
        turn: (angle.cos(), angle.sin()),
    }
}

/// A photograph of the pool with `density` of its pixels for a unit of length.
fn photo<'a>(rng: &mut Rng, pool: &'a Pool, weights: &[(&str, f32)], density: (f32, f32)) -> Cover<'a> {
    let photo = pool.photos.draw(rng, weights);
    let angle = if rng.chance(0.4) {
        0.0
    } else {
        rng.range(0.0, std::f32::consts::TAU)
    };
    let level = rng.log_range(0.5, 1.3);
    let gain = v3(rng.range(0.9, 1.1), rng.range(0.9, 1.1), rng.range(0.9, 1.1)) * level;
    Cover::Photo {
        photo,
        scale: rng.log_range(density.0, density.1),
        turn: (angle.cos(), angle.sin()),
        shift: (rng.range(0.0, 900.0), rng.range(0.0, 900.0)),
        gain,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cubic_is_close_to_srgb() {
        for i in 0..=100 {
            let v = i as f32 / 100.0;
            let standard = if v <= 0.04045 {
                v / 12.92
            } else {
                ((v + 0.055) / 1.055).powf(2.4)
            };
            assert!((linear(v) - standard).abs() < 0.003, "{v}");
        }
    }

    #[test]
    fn checks_alternate_and_blur_with_distance() {
        let check = Cover::Check {
            a: V3::ZERO,
            b: V3::splat(1.0),
            pitch: 1.0,
            stripes: false,
            turn: (1.0, 0.0),
        };
        let near = |u: f32, v: f32| check.albedo(u, v, 0.001).x;
        assert_ne!(near(0.0, 0.0), near(1.0, 0.0));
        assert_eq!(near(0.0, 0.0), near(1.0, 1.0));
        let far = check.albedo(0.2, 0.2, 50.0).x;
        assert!((0.2..0.8).contains(&far), "{far}");
    }
}
