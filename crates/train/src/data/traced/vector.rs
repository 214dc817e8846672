//! Three numbers: a point, a direction, or linear RGB light.

use std::ops::{Add, AddAssign, Mul, Neg, Sub};

/// A point or direction (x right, y away from the viewer, z up), or red, green and blue of linear light.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct V3 {
    pub x: f32,
    pub y: f32,
    pub z: f32,
}

/// Shorthand for [`V3`].
#[inline]
pub const fn v3(x: f32, y: f32, z: f32) -> V3 {
    V3 { x, y, z }
}

impl V3 {
    pub const ZERO: Self = v3(0.0, 0.0, 0.0);
    pub const X: Self = v3(1.0, 0.0, 0.0);
    pub const Y: Self = v3(0.0, 1.0, 0.0);
    pub const Z: Self = v3(0.0, 0.0, 1.0);

    /// The same number three times.
    #[inline]
    pub const fn splat(v: f32) -> Self {
        v3(v, v, v)
    }

    #[inline]
    pub fn dot(self, o: Self) -> f32 {
        self.x * o.x + self.y * o.y + self.z * o.z
    }

    #[inline]
    pub fn cross(self, o: Self) -> Self {
        v3(
            self.y * o.z - self.z * o.y,
            self.z * o.x - self.x * o.z,
            self.x * o.y - self.y * o.x,
        )
    }

    /// Component by component.
    #[inline]
    pub fn times(self, o: Self) -> Self {
        v3(self.x * o.x, self.y * o.y, self.z * o.z)
    }

    #[inline]
    pub fn length(self) -> f32 {
        self.dot(self).sqrt()
    }

    /// Of length 1; the zero vector stays what it is.
    #[inline]
    pub fn unit(self) -> Self {
        let length = self.length();
        if length > 0.0 { self * (1.0 / length) } else { self }
    }

    #[inline]
    pub fn map(self, f: impl Fn(f32) -> f32) -> Self {
        v3(f(self.x), f(self.y), f(self.z))
    }

    /// Component by component.
    #[inline]
    pub fn min(self, o: Self) -> Self {
        v3(self.x.min(o.x), self.y.min(o.y), self.z.min(o.z))
    }

    /// Component by component.
    #[inline]
    pub fn max(self, o: Self) -> Self {
        v3(self.x.max(o.x), self.y.max(o.y), self.z.max(o.z))
    }

    #[inline]
    pub fn largest(self) -> f32 {
        self.x.max(self.y).max(self.z)
    }

    #[inline]
    pub fn array(self) -> [f32; 3] {
        [self.x, self.y, self.z]
    }

    /// From `self` (t = 0) to `o` (t = 1).
    #[inline]
    pub fn lerp(self, o: Self, t: f32) -> Self {
        self * (1.0 - t) + o * t
    }

    /// Two directions at right angles to this unit vector and to each other (Duff et al. 2017).
    #[inline]
    pub fn tangents(self) -> (Self, Self) {
        let sign = 1f32.copysign(self.z);
        let a = -1.0 / (sign + self.z);
        let b = self.x * self.y * a;
        (
            v3(1.0 + sign * self.x * self.x * a, sign * b, -sign * self.x),
            v3(b, sign + self.y * self.y * a, -self.y),
        )
    }
}

impl Add for V3 {
    type Output = Self;
    #[inline]
    fn add(self, o: Self) -> Self {
        v3(self.x + o.x, self.y + o.y, self.z + o.z)
    }
}

impl AddAssign for V3 {
    #[inline]
    fn add_assign(&mut self, o: Self) {
        *self = *self + o;
    }
}

impl Sub for V3 {
    type Output = Self;
    #[inline]
    fn sub(self, o: Self) -> Self {
        v3(self.x - o.x, self.y - o.y, self.z - o.z)
    }
}

impl Mul<f32> for V3 {
    type Output = Self;
    #[inline]
    fn mul(self, k: f32) -> Self {
        v3(self.x * k, self.y * k, self.z * k)
    }
}

impl Neg for V3 {
    type Output = Self;
    #[inline]
    fn neg(self) -> Self {
        v3(-self.x, -self.y, -self.z)
    }
}

impl From<[f32; 3]> for V3 {
    #[inline]
    fn from([x, y, z]: [f32; 3]) -> Self {
        v3(x, y, z)
    }
}

/// A half line; `direction` is of length 1.
#[derive(Debug, Clone, Copy)]
pub struct Ray {
    pub origin: V3,
    pub direction: V3,
    /// 1 / direction, component by component: for box tests.
    inverse: V3,
}

impl Ray {
    #[inline]
    pub fn new(origin: V3, direction: V3) -> Self {
        Self {
            origin,
            direction,
            inverse: direction.map(|d| 1.0 / d),
        }
    }

    #[inline]
    pub fn at(&self, t: f32) -> V3 {
        self.origin + self.direction * t
    }
}

/// A box along the axes.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    pub low: V3,
    pub high: V3,
}

impl Bounds {
    /// Holds nothing.
    pub const EMPTY: Self = Self {
        low: V3::splat(f32::INFINITY),
        high: V3::splat(f32::NEG_INFINITY),
    };

    pub fn with(self, o: Self) -> Self {
        Self {
            low: self.low.min(o.low),
            high: self.high.max(o.high),
        }
    }

    pub fn size(&self) -> V3 {
        self.high - self.low
    }

    pub fn centre(&self) -> V3 {
        (self.low + self.high) * 0.5
    }

    /// Whether the ray meets the box before `limit`. `min` and `max` drop the NaN of 0 * infinity.
    #[inline]
    pub fn meets(&self, ray: &Ray, limit: f32) -> bool {
        let a = (self.low - ray.origin).times(ray.inverse);
        let b = (self.high - ray.origin).times(ray.inverse);
        let (near, far) = (a.min(b), a.max(b));
        let enter = near.x.max(near.y).max(near.z).max(0.0);
        let leave = far.x.min(far.y).min(far.z).min(limit);
        enter <= leave
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tangents_are_a_frame() {
        for n in [
            V3::Z,
            -V3::Z,
            v3(0.3, -0.5, 0.2).unit(),
            v3(-0.9, 0.1, -0.8).unit(),
        ] {
            let (a, b) = n.tangents();
            for (x, y, want) in [(a, a, 1.0), (b, b, 1.0), (a, b, 0.0), (a, n, 0.0), (b, n, 0.0)] {
                assert!((x.dot(y) - want).abs() < 1e-5);
            }
        }
    }

    #[test]
    fn a_box_is_met_where_it_is() {
        let bounds = Bounds {
            low: v3(-1.0, -1.0, 0.0),
            high: v3(1.0, 1.0, 2.0),
        };
        let down = Ray::new(v3(0.5, 0.5, 5.0), -V3::Z);
        assert!(bounds.meets(&down, f32::INFINITY));
        assert!(!bounds.meets(&down, 2.5));
        assert!(!bounds.meets(&Ray::new(v3(1.5, 0.0, 5.0), -V3::Z), f32::INFINITY));
        assert!(!bounds.meets(&Ray::new(v3(0.0, 0.0, 5.0), V3::Z), f32::INFINITY));
        assert!(bounds.meets(&Ray::new(v3(0.0, 0.0, 1.0), V3::X), 0.1));
    }
}
