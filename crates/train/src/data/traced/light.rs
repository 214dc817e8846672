//! Lights: sun, lamps of any size, sky; and what stands in their way outside the picture.

use super::super::raster::smoothstep;
use super::super::rng::Rng;
use super::surface::Field;
use super::vector::{V3, v3};

/// A source of direct light: a disc, near or infinitely far.
#[derive(Debug, Clone)]
pub struct Light {
    place: Place,
    /// Light on a surface that faces it, at the scene's middle.
    pub colour: V3,
    /// How its samples are spread.
    pub softness: Softness,
    gobo: Option<Gobo>,
}

#[derive(Debug, Clone, Copy)]
enum Place {
    /// A direction to it and the tangent of its angular radius.
    Far(V3, f32),
    /// Its middle and radius.
    Near(V3, f32),
}

/// How wide the edge of a shadow is, which decides how many samples it takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Softness {
    /// Narrower than a pixel or two.
    Hard,
    /// A few pixels.
    Soft,
    /// Many pixels.
    Wide,
}

/// A way to a light.
#[derive(Debug, Clone, Copy)]
pub struct Way {
    /// Of length 1.
    pub direction: V3,
    pub distance: f32,
    /// Light at a surface that faces it.
    pub colour: V3,
}

impl Light {
    /// A far light: `elevation` and `azimuth` in radians, `spread` the tangent of its angular radius.
    pub fn far(elevation: f32, azimuth: f32, spread: f32, colour: V3) -> Self {
        let (up, across) = elevation.sin_cos();
        let direction = v3(across * azimuth.cos(), across * azimuth.sin(), up);
        Self {
            place: Place::Far(direction, spread),
            colour,
            softness: Softness::of(spread),
            gobo: None,
        }
    }

    /// A lamp of `radius` at `middle`.
    pub fn near(middle: V3, radius: f32, colour: V3) -> Self {
        Self {
            place: Place::Near(middle, radius),
            colour,
            softness: Softness::of(radius / middle.length()),
            gobo: None,
        }
    }

    /// With something in its way.
    pub fn behind(mut self, gobo: Gobo) -> Self {
        self.gobo = Some(gobo);
        self
    }

    /// From the scene's middle to it.
    pub fn direction(&self) -> V3 {
        match self.place {
            Place::Far(direction, _) => direction,
            Place::Near(middle, _) => middle.unit(),
        }
    }

    /// The way from `p` to its middle.
    #[inline]
    pub fn middle(&self, p: V3) -> Way {
        match self.place {
            Place::Far(direction, _) => Way {
                direction,
                distance: f32::INFINITY,
                colour: self.colour,
            },
            Place::Near(middle, _) => self.to(middle, middle, p),
        }
    }

    /// The way from `p` to the point `(x, y)` of its disc, whose radius is 1.
    #[inline]
    pub fn way(&self, p: V3, (x, y): (f32, f32)) -> Way {
        match self.place {
            Place::Far(direction, spread) => {
                let (a, b) = direction.tangents();
                Way {
                    direction: (direction + (a * x + b * y) * spread).unit(),
                    distance: f32::INFINITY,
                    colour: self.colour,
                }
            }
            Place::Near(middle, size) => {
                let (a, b) = middle.unit().tangents();
                self.to(middle + (a * x + b * y) * size, middle, p)
            }
        }
    }

    /// From `p` to `point` of a lamp at `middle`: its light falls with the square of the distance.
    #[inline]
    fn to(&self, point: V3, middle: V3, p: V3) -> Way {
        let to = point - p;
        let distance = to.length().max(1e-3);
        let fall = middle.dot(middle) / (distance * distance);
        Way {
            direction: to * (1.0 / distance),
            distance,
            colour: self.colour * fall.min(4.0),
        }
    }

    /// Share of its light that what stands outside the picture lets through to `p`.
    #[inline]
    pub fn open(&self, p: V3) -> f32 {
        match &self.gobo {
            None => 1.0,
            Some(gobo) => {
                let direction = match self.place {
                    Place::Far(direction, _) => direction,
                    Place::Near(middle, _) => (middle - p).unit(),
                };
                let drop = p.z / direction.z.max(0.05);
                gobo.open(p.x - direction.x * drop, p.y - direction.y * drop)
            }
        }
    }
}

impl Softness {
    fn of(spread: f32) -> Self {
        match spread {
            s if s < 0.012 => Self::Hard,
            s if s < 0.12 => Self::Soft,
            _ => Self::Wide,
        }
    }
}

/// A pattern of light and shadow on the ground, from something outside the picture.
#[derive(Debug, Clone)]
pub struct Gobo {
    kind: Kind,
    turn: (f32, f32),
    shift: (f32, f32),
    /// Width of its edges.
    soft: f32,
    /// Light that comes through where it is closed.
    least: f32,
}

#[derive(Debug, Clone)]
enum Kind {
    /// Half of the ground is in the shade.
    Edge,
    /// Bars of `width` every `pitch`.
    Bars { pitch: f32, width: f32 },
    /// One window of `size` with panes; all else is dark.
    Window { size: (f32, f32), bar: f32 },
    /// Foliage.
    Leaves { field: Field, at: f32, gain: f32 },
}

impl Gobo {
    /// A random one, with edges as soft as the light makes them.
    pub fn draw(rng: &mut Rng, softness: Softness) -> Self {
        let kind = match rng.below(4) {
            0 => Kind::Edge,
            1 => {
                let pitch = rng.log_range(0.15, 1.6);
                Kind::Bars {
                    pitch,
                    width: pitch * rng.range(0.15, 0.7),
                }
            }
            2 => Kind::Window {
                size: (rng.log_range(0.5, 2.0), rng.log_range(0.5, 2.5)),
                bar: rng.range(0.02, 0.1),
            },
            _ => Kind::Leaves {
                field: {
                    let length = rng.log_range(0.4, 2.5);
                    Field::draw(rng, length, 5, 0.8)
                },
                at: rng.range(-0.4, 0.5),
                gain: rng.log_range(1.5, 8.0),
            },
        };
        let angle = rng.range(0.0, std::f32::consts::TAU);
        let reach = match kind {
            Kind::Leaves { .. } => 20.0,
            _ => 0.9,
        };
        Self {
            kind,
            turn: (angle.cos(), angle.sin()),
            shift: (rng.range(-reach, reach), rng.range(-reach, reach)),
            soft: match softness {
                Softness::Hard => rng.log_range(0.01, 0.06),
                Softness::Soft => rng.log_range(0.05, 0.25),
                Softness::Wide => rng.log_range(0.25, 0.8),
            },
            least: rng.range(0.0, 0.15),
        }
    }

    fn open(&self, x: f32, y: f32) -> f32 {
        let u = x * self.turn.0 - y * self.turn.1 + self.shift.0;
        let v = x * self.turn.1 + y * self.turn.0 + self.shift.1;
        // 1 inside an interval of half width `h`, edges of width `soft`.
        let within = |t: f32, h: f32| smoothstep(-0.5 * self.soft, 0.5 * self.soft, h - t.abs());
        let open = match &self.kind {
            Kind::Edge => smoothstep(-0.5 * self.soft, 0.5 * self.soft, u),
            Kind::Bars { pitch, width } => {
                let t = (u / pitch).rem_euclid(1.0) - 0.5;
                1.0 - within(t * pitch, 0.5 * width)
            }
            Kind::Window { size: (w, h), bar } => {
                within(u, *w) * within(v, *h) * (1.0 - within(u, *bar)) * (1.0 - within(v, *bar))
            }
            Kind::Leaves { field, at, gain } => (0.5 + gain * (field.at(u, v) - at)).clamp(0.0, 1.0),
        };
        self.least + (1.0 - self.least) * open
    }
}

/// Light from everywhere: a dome brighter in one direction.
#[derive(Debug, Clone)]
pub struct Sky {
    pub zenith: V3,
    pub horizon: V3,
    /// What comes from below where there is no floor.
    pub ground: V3,
    /// A soft bright side.
    pub towards: V3,
    /// How much brighter it is.
    pub bright: f32,
}

impl Sky {
    /// Light from the direction `d`.
    #[inline]
    pub fn light(&self, d: V3) -> V3 {
        let base = if d.z >= 0.0 {
            self.horizon.lerp(self.zenith, d.z)
        } else {
            self.horizon.lerp(self.ground, -d.z)
        };
        let lobe = d.dot(self.towards).max(0.0);
        base * (1.0 + self.bright * lobe * lobe)
    }

    /// About its mean over the upper half.
    pub fn mean(&self) -> V3 {
        self.horizon.lerp(self.zenith, 0.6) * (1.0 + 0.2 * self.bright)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ways_lead_to_the_light() {
        let sun = Light::far(0.7, 1.0, 0.005, V3::splat(1.0));
        let lamp = Light::near(v3(1.0, 2.0, 3.0), 0.2, V3::splat(1.0));
        for i in 0..16 {
            let (y, x) = (i as f32).sin_cos();
            assert!(sun.way(V3::ZERO, (x, y)).direction.dot(sun.direction()) > 0.9999);
            let p = v3(0.1, 0.2, 0.0);
            let way = lamp.way(p, (x, y));
            let end = p + way.direction * way.distance;
            assert!((end - v3(1.0, 2.0, 3.0)).length() < 0.2001);
        }
        assert_eq!(sun.softness, Softness::Hard);
        assert_eq!(lamp.softness, Softness::Soft);
    }

    #[test]
    fn light_falls_with_the_square_of_the_distance() {
        let lamp = Light::near(v3(0.0, 0.0, 4.0), 0.01, V3::splat(1.0));
        let at = |z: f32| lamp.way(v3(0.0, 0.0, z), (0.0, 0.0)).colour.x;
        assert!((at(0.0) - 1.0).abs() < 1e-3);
        assert!((at(-4.0) - 0.25).abs() < 1e-3);
    }

    #[test]
    fn gobos_let_some_light_through_and_hold_some_back() {
        for i in 0..40 {
            let gobo = Gobo::draw(&mut Rng::new(1, 0, i), Softness::Hard);
            let values: Vec<f32> = (0..4000)
                .map(|i| gobo.open((i % 63) as f32 * 0.1 - 3.0, (i / 63) as f32 * 0.1 - 3.0))
                .collect();
            assert!(values.iter().all(|v| (0.0..=1.0).contains(v)));
        }
    }
}
