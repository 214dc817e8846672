//! Solids and cards, each in a space of its own where it is a unit ball, block or frustum.

use super::super::raster::Raster;
use super::vector::{Bounds, Ray, V3, v3};

/// Nearer hits are the surface that the ray starts from.
const NEAR: f32 = 1e-4;

/// Where and how a shape lies: local = scale^-1 rotation^-1 (world - origin).
#[derive(Debug, Clone, Copy)]
pub struct Frame {
    origin: V3,
    /// Local axes in the world, of length 1.
    axes: [V3; 3],
    /// Half sizes along them.
    scale: V3,
    /// Axes divided by the half sizes: rows of the map to local space.
    inverse: [V3; 3],
}

impl Frame {
    /// Centred at `origin`, with half sizes `scale` along the axes of the world.
    pub fn new(origin: V3, scale: V3) -> Self {
        Self::turned(origin, [V3::X, V3::Y, V3::Z], scale)
    }

    /// The same along `axes`, which are at right angles and of length 1.
    pub fn turned(origin: V3, axes: [V3; 3], scale: V3) -> Self {
        let inverse = [
            axes[0] * (1.0 / scale.x),
            axes[1] * (1.0 / scale.y),
            axes[2] * (1.0 / scale.z),
        ];
        Self {
            origin,
            axes,
            scale,
            inverse,
        }
    }

    /// From `foot` to `tip` along the local z, with half sizes `radius` across.
    pub fn between(foot: V3, tip: V3, radius: f32) -> Self {
        let along = tip - foot;
        let z = along.unit();
        let (x, y) = z.tangents();
        Self::turned(
            (foot + tip) * 0.5,
            [x, y, z],
            v3(radius, radius, (along.length() * 0.5).max(1e-3)),
        )
    }

    /// Turned by `rotation` (its rows are the images of x, y, z), made `size` times as large, then moved by `shift`.
    pub fn moved(&self, rotation: &[V3; 3], size: f32, shift: V3) -> Self {
        let turn = |v: V3| rotation[0] * v.x + rotation[1] * v.y + rotation[2] * v.z;
        Self::turned(
            turn(self.origin) * size + shift,
            self.axes.map(turn),
            self.scale * size,
        )
    }

    #[inline]
    fn direction(&self, d: V3) -> V3 {
        v3(
            self.inverse[0].dot(d),
            self.inverse[1].dot(d),
            self.inverse[2].dot(d),
        )
    }

    #[inline]
    fn point(&self, p: V3) -> V3 {
        self.direction(p - self.origin)
    }

    /// A local normal in the world, of length 1: normals go by the inverse transpose.
    #[inline]
    fn normal(&self, n: V3) -> V3 {
        (self.inverse[0] * n.x + self.inverse[1] * n.y + self.inverse[2] * n.z).unit()
    }
}

/// What a shape is in its own space.
#[derive(Debug, Clone, Copy)]
pub enum Shape<'a> {
    /// |p| <= 1.
    Ball,
    /// |x|, |y|, |z| <= 1.
    Block,
    /// Around z from -1, where the radius is 1, to 1, where it is `top`: cylinder (1), cone (0).
    Frustum { top: f32 },
    /// Ring around z of radius 1 and thickness `minor`; the frame must scale evenly.
    Torus { minor: f32 },
    /// A cut-out on the plane y = 0 over |x|, |z| <= 1, top row at z = 1; there where its alpha is above a half.
    Card(&'a Raster<4>),
}

/// Where a ray meets a shape.
#[derive(Debug, Clone, Copy)]
pub struct Hit {
    pub distance: f32,
    /// Outwards, of length 1. A card's looks to its front (-y).
    pub normal: V3,
    /// In the shape's own space, in units of the world: what textures are laid out by.
    pub local: V3,
    /// Which side of a shape with edges: pixels of different faces are not mixed.
    pub face: u32,
}

/// A shape in the world.
#[derive(Debug, Clone, Copy)]
pub struct Solid<'a> {
    pub shape: Shape<'a>,
    pub frame: Frame,
}

impl Solid<'_> {
    /// Smallest distance along the ray, in local terms also the point.
    #[inline]
    fn meet(&self, ray: &Ray, limit: f32) -> Option<(f32, V3)> {
        let (o, d) = (self.frame.point(ray.origin), self.frame.direction(ray.direction));
        let t = match self.shape {
            Shape::Ball => ball(o, d),
            Shape::Block => block(o, d),
            Shape::Frustum { top } => frustum(o, d, top),
            Shape::Torus { minor } => torus(o, d, minor),
            Shape::Card(picture) => card(o, d, picture),
        }?;
        (t < limit).then(|| (t, o + d * t))
    }

    /// Whether the ray is stopped before `limit`.
    #[inline]
    pub fn blocks(&self, ray: &Ray, limit: f32) -> bool {
        self.meet(ray, limit).is_some()
    }

    /// The first hit before `limit`.
    #[inline]
    pub fn hit(&self, ray: &Ray, limit: f32) -> Option<Hit> {
        let (distance, p) = self.meet(ray, limit)?;
        let (normal, face) = match self.shape {
            Shape::Ball => (p, 0),
            Shape::Block => {
                let a = p.map(f32::abs);
                if a.x >= a.y && a.x >= a.z {
                    (v3(p.x, 0.0, 0.0), if p.x > 0.0 { 0 } else { 1 })
                } else if a.y >= a.z {
                    (v3(0.0, p.y, 0.0), if p.y > 0.0 { 2 } else { 3 })
                } else {
                    (v3(0.0, 0.0, p.z), if p.z > 0.0 { 4 } else { 5 })
                }
            }
            Shape::Frustum { top } => {
                if p.z.abs() > 0.9995 {
                    (v3(0.0, 0.0, p.z), if p.z > 0.0 { 1 } else { 2 })
                } else {
                    let slope = 0.5 * (1.0 - top);
                    (v3(p.x, p.y, slope * (p.x * p.x + p.y * p.y).sqrt()), 0)
                }
            }
            Shape::Torus { .. } => {
                let around = (p.x * p.x + p.y * p.y).sqrt().max(1e-6);
                let inner = 1.0 - 1.0 / around;
                (v3(p.x * inner, p.y * inner, p.z), 0)
            }
            // Bulging, as the thing in the picture does: light from the side falls on one side of it.
            Shape::Card(_) => (v3(0.7 * p.x, -1.0, 0.3 * p.z), 0),
        };
        let normal = match self.shape {
            // The frame is flat; the bulge is meant in the world.
            Shape::Card(_) => {
                let [x, y, z] = self.frame.axes;
                (x * normal.x + y * normal.y + z * normal.z).unit()
            }
            _ => self.frame.normal(normal),
        };
        Some(Hit {
            distance,
            normal,
            local: p.times(self.frame.scale),
            face,
        })
    }

    /// How far the shape reaches along the direction `d`.
    fn reach(&self, d: V3) -> f32 {
        let [x, y, z] = self.frame.axes;
        let s = self.frame.scale;
        let (a, b, c) = (d.dot(x) * s.x, d.dot(y) * s.y, d.dot(z) * s.z);
        let own = match self.shape {
            Shape::Ball => (a * a + b * b + c * c).sqrt(),
            Shape::Block => a.abs() + b.abs() + c.abs(),
            Shape::Frustum { top } => {
                let across = a.hypot(b);
                (across - c).max(across * top + c)
            }
            Shape::Torus { minor } => a.hypot(b) + minor * (a * a + b * b + c * c).sqrt(),
            Shape::Card(_) => a.abs() + c.abs(),
        };
        d.dot(self.frame.origin) + own
    }

    /// Half sizes along its own axes.
    #[inline]
    pub fn half(&self) -> V3 {
        self.frame.scale
    }

    /// The box around it.
    pub fn bounds(&self) -> Bounds {
        Bounds {
            low: -v3(self.reach(-V3::X), self.reach(-V3::Y), self.reach(-V3::Z)),
            high: v3(self.reach(V3::X), self.reach(V3::Y), self.reach(V3::Z)),
        }
    }
}

#[inline]
fn ball(o: V3, d: V3) -> Option<f32> {
    let (a, b, c) = (d.dot(d), o.dot(d), o.dot(o) - 1.0);
    let root = b * b - a * c;
    if root < 0.0 {
        return None;
    }
    let root = root.sqrt();
    first((-b - root) / a, (-b + root) / a)
}

#[inline]
fn block(o: V3, d: V3) -> Option<f32> {
    let inverse = d.map(|d| 1.0 / d);
    let (a, b) = (
        (V3::splat(-1.0) - o).times(inverse),
        (V3::splat(1.0) - o).times(inverse),
    );
    let (near, far) = (a.min(b), a.max(b));
    let (enter, leave) = (near.x.max(near.y).max(near.z), far.x.min(far.y).min(far.z));
    if enter <= leave { first(enter, leave) } else { None }
}

/// The side solves x^2 + y^2 = (m + k z)^2.
#[inline]
fn frustum(o: V3, d: V3, top: f32) -> Option<f32> {
    let (m, k) = (0.5 * (1.0 + top), 0.5 * (top - 1.0));
    let mut best = f32::INFINITY;
    let mut take = |t: f32, inside: bool| {
        if inside && t > NEAR && t < best {
            best = t;
        }
    };
    let r0 = m + k * o.z;
    let a = d.x * d.x + d.y * d.y - k * k * d.z * d.z;
    let b = o.x * d.x + o.y * d.y - k * d.z * r0;
    let c = o.x * o.x + o.y * o.y - r0 * r0;
    let mut side = |t: f32| {
        let z = o.z + t * d.z;
        take(t, z.abs() <= 1.0 && m + k * z >= 0.0);
    };
    if a.abs() > 1e-7 {
        let root = b * b - a * c;
        if root >= 0.0 {
            let root = root.sqrt();
            side((-b - root) / a);
            side((-b + root) / a);
        }
    } else if b != 0.0 {
        side(-c / (2.0 * b));
    }
    for (z, radius) in [(-1.0, 1.0), (1.0, top)] {
        let t = (z - o.z) / d.z;
        let (x, y) = (o.x + t * d.x, o.y + t * d.y);
        take(t, x * x + y * y <= radius * radius);
    }
    best.is_finite().then_some(best)
}

/// Marched by the distance to the ring, which is exact.
fn torus(o: V3, d: V3, minor: f32) -> Option<f32> {
    let length = d.length();
    let d = d * (1.0 / length);
    let outer = 1.0 + minor;
    let b = o.dot(d);
    let root = b * b - (o.dot(o) - outer * outer);
    if root < 0.0 {
        return None;
    }
    let root = root.sqrt();
    let (mut t, end) = ((-b - root).max(NEAR), -b + root);
    for _ in 0..48 {
        if t >= end {
            return None;
        }
        let p = o + d * t;
        let ring = (p.x * p.x + p.y * p.y).sqrt() - 1.0;
        let distance = (ring * ring + p.z * p.z).sqrt() - minor;
        if distance < 4e-4 {
            return Some(t / length);
        }
        t += distance;
    }
    None
}

#[inline]
fn card(o: V3, d: V3, picture: &Raster<4>) -> Option<f32> {
    let t = -o.y / d.y;
    if !(t > NEAR && t.is_finite()) {
        return None;
    }
    let (x, z) = (o.x + t * d.x, o.z + t * d.z);
    (x.abs() <= 1.0 && z.abs() <= 1.0 && card_pixel(picture, x, z)[3] > 0.5).then_some(t)
}

/// The premultiplied value of a card's picture at the local `(x, z)`.
#[inline]
pub fn card_pixel(picture: &Raster<4>, x: f32, z: f32) -> [f32; 4] {
    let column = (0.5 + 0.5 * x) * picture.width as f32 - 0.5;
    let row = (0.5 - 0.5 * z) * picture.height as f32 - 0.5;
    picture.bilinear_or_zero(column, row)
}

#[inline]
fn first(near: f32, far: f32) -> Option<f32> {
    if near > NEAR {
        Some(near)
    } else if far > NEAR {
        Some(far)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shapes() -> [Shape<'static>; 5] {
        [
            Shape::Ball,
            Shape::Block,
            Shape::Frustum { top: 1.0 },
            Shape::Frustum { top: 0.3 },
            Shape::Torus { minor: 0.3 },
        ]
    }

    /// Rays against a dense walk along them with the definition of each solid.
    #[test]
    fn hits_agree_with_the_definitions() {
        let mut rng = crate::data::rng::Rng::new(5, 0, 0);
        let inside = |shape: &Shape, p: V3| match shape {
            Shape::Ball => p.length() <= 1.0,
            Shape::Block => p.map(f32::abs).largest() <= 1.0,
            Shape::Frustum { top } => {
                p.z.abs() <= 1.0 && p.x.hypot(p.y) <= 1.0 + (top - 1.0) * 0.5 * (p.z + 1.0)
            }
            Shape::Torus { minor } => (p.x.hypot(p.y) - 1.0).hypot(p.z) <= *minor,
            Shape::Card(_) => false,
        };
        let mut hits = 0;
        for i in 0..600 {
            let shape = shapes()[i % 5];
            let axes = {
                let z = v3(rng.normal(), rng.normal(), rng.normal()).unit();
                let (x, y) = z.tangents();
                [x, y, z]
            };
            let even = rng.range(0.5, 1.5);
            let scale = if matches!(shape, Shape::Torus { .. }) {
                V3::splat(even)
            } else {
                v3(rng.range(0.4, 1.4), rng.range(0.4, 1.4), rng.range(0.4, 1.4))
            };
            let solid = Solid {
                shape,
                frame: Frame::turned(v3(0.3, -0.2, 0.5), axes, scale),
            };
            let from = v3(rng.normal(), rng.normal(), rng.normal()).unit() * 6.0;
            let at = v3(rng.range(-0.7, 0.7), rng.range(-0.7, 0.7), rng.range(-0.7, 0.7));
            let ray = Ray::new(from, (at - from).unit());
            let walked = (0..24_000)
                .map(|i| i as f32 * 5e-4)
                .find(|t| inside(&shape, solid.frame.point(ray.at(*t))));
            match (walked, solid.hit(&ray, f32::INFINITY)) {
                (Some(t), Some(hit)) => {
                    hits += 1;
                    assert!((t - hit.distance).abs() < 0.02, "{shape:?} {t} {}", hit.distance);
                    assert!(hit.normal.dot(ray.direction) < 0.05, "{shape:?} looks away");
                    let bounds = solid.bounds();
                    assert!(bounds.meets(&ray, f32::INFINITY), "{shape:?} outside its box");
                }
                (None, None) => {}
                // A ray that only grazes may go either way.
                (Some(t), None) => {
                    let inner =
                        (0..100).filter(|i| inside(&shape, solid.frame.point(ray.at(t + *i as f32 * 2e-3))));
                    assert!(inner.count() < 30, "{shape:?} missed");
                }
                (None, Some(hit)) => panic!("{shape:?} hit at {} where nothing is", hit.distance),
            }
        }
        assert!(hits > 200, "{hits}");
    }

    #[test]
    fn a_card_stops_light_where_its_picture_is() {
        let picture = Raster::from_fn(8, 8, |x, _| [0.0, 0.0, 0.0, f32::from(x < 4)]);
        let solid = Solid {
            shape: Shape::Card(&picture),
            frame: Frame::new(v3(0.0, 0.0, 1.0), v3(1.0, 1.0, 1.0)),
        };
        let ray = |x: f32| Ray::new(v3(x, -3.0, 1.0), V3::Y);
        assert!(solid.blocks(&ray(-0.5), f32::INFINITY));
        assert!(!solid.blocks(&ray(0.5), f32::INFINITY));
        assert!(!solid.blocks(&ray(-0.5), 2.0));
    }
}
