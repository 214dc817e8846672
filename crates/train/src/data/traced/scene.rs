//! A scene: ground, walls, things, lights, sky and camera, and where rays go in it.

use super::super::pool::Photo;
use super::light::{Light, Sky};
use super::shape::Hit;
use super::surface::{Surface, linear};
use super::thing::Thing;
use super::vector::{Ray, V3};

/// An endless flat surface that light does not pass.
#[derive(Debug, Clone)]
pub struct Plane<'a> {
    pub point: V3,
    /// Towards the viewer's side.
    pub normal: V3,
    /// Directions that its cover is laid out by.
    pub axes: (V3, V3),
    pub surface: Surface<'a>,
}

/// What is seen where nothing stands.
#[derive(Debug, Clone)]
pub struct Backdrop<'a> {
    pub photo: &'a Photo,
    /// Its pixels for a radian.
    pub scale: f32,
    /// How blurred it is, in its pixels.
    pub blur: f32,
    pub gain: f32,
    pub shift: f32,
}

/// A pinhole camera.
#[derive(Debug, Clone)]
pub struct View {
    pub eye: V3,
    /// Right, up and forward, of length 1.
    pub axes: [V3; 3],
    /// Tangent of half the field of view.
    pub tangent: f32,
}

impl View {
    /// From `eye` to `aim`, leaning by `roll` radians.
    pub fn new(eye: V3, aim: V3, roll: f32, tangent: f32) -> Self {
        let forward = (aim - eye).unit();
        // Straight down there is no natural right: any will do.
        let across = if forward.z.abs() > 0.999 { V3::Y } else { V3::Z };
        let level = forward.cross(across).unit();
        let above = level.cross(forward);
        let (sin, cos) = roll.sin_cos();
        let right = level * cos + above * sin;
        Self {
            eye,
            axes: [right, right.cross(forward), forward],
            tangent,
        }
    }

    /// The ray through `(x, y)`, -1..1 each, y down.
    #[inline]
    pub fn ray(&self, x: f32, y: f32) -> Ray {
        let [right, up, forward] = self.axes;
        let direction = forward + right * (x * self.tangent) - up * (y * self.tangent);
        Ray::new(self.eye, direction.unit())
    }
}

/// Which surface a ray has found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    Plane(usize),
    /// Thing and part; the target is the last thing.
    Thing(usize, usize),
}

/// Where a ray ends.
#[derive(Debug, Clone, Copy)]
pub struct Found {
    pub which: Which,
    pub hit: Hit,
}

/// Everything.
#[derive(Debug, Clone)]
pub struct Scene<'a> {
    pub planes: Vec<Plane<'a>>,
    pub things: Vec<Thing<'a>>,
    pub target: Thing<'a>,
    pub lights: Vec<Light>,
    pub sky: Sky,
    pub backdrop: Option<Backdrop<'a>>,
    pub view: View,
}

impl<'a> Scene<'a> {
    /// The nearest surface without the target. `skip` is a thing that is passed through.
    #[inline]
    pub fn nearest(&self, ray: &Ray, skip: Option<usize>) -> Option<Found> {
        let mut limit = f32::INFINITY;
        let mut best = None;
        for (i, plane) in self.planes.iter().enumerate() {
            let facing = plane.normal.dot(ray.direction);
            let distance = plane.normal.dot(plane.point - ray.origin) / facing;
            if facing < 0.0 && distance > 1e-4 && distance < limit {
                limit = distance;
                best = Some(Found {
                    which: Which::Plane(i),
                    hit: Hit {
                        distance,
                        normal: plane.normal,
                        local: V3::ZERO,
                        face: 0,
                    },
                });
            }
        }
        for (i, thing) in self.things.iter().enumerate().filter(|(i, _)| Some(*i) != skip) {
            if let Some((hit, part)) = thing.hit(ray, limit) {
                limit = hit.distance;
                best = Some(Found {
                    which: Which::Thing(i, part),
                    hit,
                });
            }
        }
        best
    }

    /// The number of the target among the things.
    pub fn target_number(&self) -> usize {
        self.things.len()
    }

    /// The target where the ray meets it before `limit`.
    #[inline]
    pub fn target_hit(&self, ray: &Ray, limit: f32) -> Option<Found> {
        let (hit, part) = self.target.hit(ray, limit)?;
        Some(Found {
            which: Which::Thing(self.target_number(), part),
            hit,
        })
    }

    /// Whether a thing other than the target stops light before `limit`. Planes do not: no light is behind one.
    #[inline]
    pub fn blocked(&self, ray: &Ray, limit: f32, skip: Option<usize>) -> bool {
        let mut others = self.things.iter().enumerate().filter(|(i, _)| Some(*i) != skip);
        others.any(|(_, thing)| thing.blocks(ray, limit))
    }

    fn thing(&self, number: usize) -> &Thing<'a> {
        self.things.get(number).unwrap_or(&self.target)
    }

    /// The thing that must not shade itself, where `which` is one.
    pub fn skipped(&self, which: Which) -> Option<usize> {
        match which {
            Which::Thing(number, _) if self.thing(number).flat => Some(number),
            _ => None,
        }
    }

    /// The material found.
    pub fn surface(&self, which: Which) -> &Surface<'a> {
        match which {
            Which::Plane(i) => &self.planes[i].surface,
            Which::Thing(number, part) => self.thing(number).surface(part),
        }
    }

    /// Position on a plane, in its cover's units.
    fn laid_out(&self, plane: usize, p: V3) -> (f32, f32) {
        let plane = &self.planes[plane];
        let from = p - plane.point;
        (from.dot(plane.axes.0), from.dot(plane.axes.1))
    }

    /// Albedo of what is found at `p`; `step` is about the width of a pixel there.
    pub fn albedo(&self, found: &Found, p: V3, step: f32) -> V3 {
        match found.which {
            Which::Plane(i) => {
                let (u, v) = self.laid_out(i, p);
                self.planes[i].surface.cover.albedo(u, v, step)
            }
            Which::Thing(number, part) => self.thing(number).albedo(part, &found.hit, step),
        }
    }

    /// How wet it is there, 0..1; surfaces without puddles are the same all over: 1.
    pub fn wetness(&self, found: &Found, p: V3) -> f32 {
        match found.which {
            Which::Plane(i) => match &self.planes[i].surface.puddles {
                Some(field) => {
                    let (u, v) = self.laid_out(i, p);
                    (0.5 + 4.0 * field.at(u, v)).clamp(0.0, 1.0)
                }
                None => 1.0,
            },
            Which::Thing(..) => 1.0,
        }
    }

    /// What is seen in the direction `d` where nothing stands.
    pub fn beyond(&self, d: V3) -> V3 {
        match &self.backdrop {
            None => self.sky.light(d),
            Some(b) => {
                let u = d.x.atan2(d.y) * b.scale + b.shift;
                let v = 0.6 * b.photo.size().1 as f32 - d.z.clamp(-1.0, 1.0).asin() * b.scale;
                V3::from(b.photo.mirrored(u, v, b.blur)).map(linear) * b.gain
            }
        }
    }

    /// Light that comes back along `ray` from what it has found, without looking for shadows there: good enough for what
    /// is mirrored or bounces once.
    pub fn glance(&self, found: &Found, ray: &Ray, albedo: V3) -> V3 {
        let p = ray.at(found.hit.distance);
        let normal = found.hit.normal;
        let mut light = self.sky.mean() * (0.55 + 0.35 * normal.z);
        for source in &self.lights {
            let way = source.middle(p);
            let facing = normal.dot(way.direction);
            if facing > 0.0 {
                light += way.colour * (facing * source.open(p));
            }
        }
        albedo.times(light)
    }
}
