//! Things: one or more solids with their materials, that stand in the scene and cast shadows as a whole.

use super::super::pool::Cutout;
use super::shape::{Frame, Hit, Shape, Solid, card_pixel};
use super::surface::{Surface, linear};
use super::vector::{Bounds, Ray, V3, v3};

/// One solid of a thing.
#[derive(Debug, Clone)]
struct Part<'a> {
    solid: Solid<'a>,
    /// Index of its material.
    surface: usize,
    /// False for what only casts a shadow: the thickness of a card.
    seen: bool,
}

/// A thing in the world.
#[derive(Debug, Clone)]
pub struct Thing<'a> {
    parts: Vec<Part<'a>>,
    surfaces: Vec<Surface<'a>>,
    bounds: Bounds,
    /// Cards do not shade themselves: their pictures have their own shading.
    pub flat: bool,
}

/// Solids in a space of their own, before they are placed: shape, frame, material.
pub type Model = Vec<(Shape<'static>, Frame, usize)>;

impl<'a> Thing<'a> {
    /// A model made `size` large (its longest side), turned by `rotation`, set down at `(x, y)` so that its lowest point
    /// is at the height `level`.
    pub fn solid(
        model: &Model,
        surfaces: Vec<Surface<'a>>,
        rotation: &[V3; 3],
        size: f32,
        (x, y): (f32, f32),
        level: f32,
    ) -> Self {
        let whole = |size: f32, shift: V3| {
            let placed = |(shape, frame, _): &(Shape<'a>, Frame, usize)| Solid {
                shape: *shape,
                frame: frame.moved(rotation, size, shift),
            };
            model.iter().map(placed).collect::<Vec<_>>()
        };
        let around = |solids: &[Solid<'_>]| {
            let boxes = solids.iter().map(Solid::bounds);
            boxes.fold(Bounds::EMPTY, Bounds::with)
        };
        let raw = around(&whole(1.0, V3::ZERO));
        let size = size / raw.size().largest().max(1e-3);
        let (low, middle) = (raw.low * size, raw.centre() * size);
        let solids = whole(size, v3(x - middle.x, y - middle.y, level - low.z));
        let bounds = around(&solids);
        let part = |(solid, (_, _, surface)): (Solid<'a>, &(Shape<'_>, Frame, usize))| Part {
            solid,
            surface: (*surface).min(surfaces.len() - 1),
            seen: true,
        };
        let parts = std::iter::zip(solids, model).map(part).collect();
        Self {
            parts,
            surfaces,
            bounds,
            flat: false,
        }
    }

    /// A cut-out as a card `size` large. `right`, `back` and `up` are its picture's directions in the world, `foot` the
    /// middle of its lower edge; `depth` is how thick the thing is taken to be by light.
    pub fn card(
        cutout: &'a Cutout,
        surface: Surface<'a>,
        [right, back, up]: [V3; 3],
        size: f32,
        foot: V3,
        depth: f32,
    ) -> Self {
        let picture = &cutout.picture;
        let (w, h) = (picture.width as f32, picture.height as f32);
        let k = 0.5 * size / w.max(h);
        let (half_w, half_h) = (w * k, h * k);
        let layers: &[f32] = if depth > 0.0 { &[0.0, 0.5, 1.0] } else { &[0.0] };
        let part = |layer: &f32| Part {
            solid: Solid {
                shape: Shape::Card(picture),
                frame: Frame::turned(
                    foot + up * half_h + back * (layer * depth),
                    [right, back, up],
                    v3(half_w, 1.0, half_h),
                ),
            },
            surface: 0,
            seen: *layer == 0.0,
        };
        let parts: Vec<_> = layers.iter().map(part).collect();
        let boxes = parts.iter().map(|p| p.solid.bounds());
        let thin = V3::splat(1e-3);
        let bounds = boxes.fold(Bounds::EMPTY, Bounds::with);
        Self {
            bounds: Bounds {
                low: bounds.low - thin,
                high: bounds.high + thin,
            },
            parts,
            surfaces: vec![surface],
            flat: true,
        }
    }

    /// Of darker materials.
    pub fn darker(mut self, gain: f32) -> Self {
        self.surfaces = self.surfaces.into_iter().map(|s| s.scaled(gain)).collect();
        self
    }

    /// The box around it.
    pub fn bounds(&self) -> &Bounds {
        &self.bounds
    }

    /// Whether it stops the ray before `limit`.
    #[inline]
    pub fn blocks(&self, ray: &Ray, limit: f32) -> bool {
        self.bounds.meets(ray, limit) && self.parts.iter().any(|p| p.solid.blocks(ray, limit))
    }

    /// The first hit before `limit`, and the part that is hit.
    #[inline]
    pub fn hit(&self, ray: &Ray, limit: f32) -> Option<(Hit, usize)> {
        if !self.bounds.meets(ray, limit) {
            return None;
        }
        let mut best: Option<(Hit, usize)> = None;
        for (i, part) in self.parts.iter().enumerate().filter(|(_, p)| p.seen) {
            let limit = best.map_or(limit, |(h, _)| h.distance);
            if let Some(hit) = part.solid.hit(ray, limit) {
                best = Some((hit, i));
            }
        }
        best
    }

    /// The material of a part.
    pub fn surface(&self, part: usize) -> &Surface<'a> {
        &self.surfaces[self.parts[part].surface]
    }

    /// Albedo where `hit` is; `step` is about the width of a pixel there.
    pub fn albedo(&self, part: usize, hit: &Hit, step: f32) -> V3 {
        let solid = &self.parts[part].solid;
        let cover = &self.surface(part).cover;
        let p = hit.local;
        let (u, v) = match (solid.shape, hit.face) {
            (Shape::Card(picture), _) => {
                // A texel beside the cut-out's edge may be nearly transparent; its colour is that of what there is of it.
                let [r, g, b, a] = card_pixel(picture, p.x / solid.half().x, p.z / solid.half().z);
                let own = v3(r, g, b) * (1.0 / a.max(0.05));
                return own.map(|v| linear(v.min(1.0))).times(cover.albedo(0.0, 0.0, 1.0));
            }
            (Shape::Block, 0 | 1) => (p.y, p.z),
            (Shape::Block, 2 | 3) => (p.x, p.z),
            (Shape::Block, _) | (Shape::Frustum { .. }, 1 | 2) => (p.x, p.y),
            (Shape::Torus { .. }, _) => (p.x + 0.3 * p.z, p.y),
            _ => (p.y.atan2(p.x) * solid.half().x, p.z),
        };
        cover.albedo(u, v, step)
    }
}

#[cfg(test)]
mod tests {
    use super::super::surface::Cover;
    use super::*;

    #[test]
    fn a_tilted_thing_stands_on_the_ground() {
        let model = vec![
            (Shape::Block, Frame::new(v3(0.0, 0.0, 1.0), v3(0.2, 0.3, 1.0)), 0),
            (
                Shape::Frustum { top: 0.0 },
                Frame::new(v3(0.5, 0.0, 0.5), V3::splat(0.4)),
                0,
            ),
        ];
        let (sin, cos) = 0.4f32.sin_cos();
        let rotation = [v3(cos, 0.0, sin), V3::Y, v3(-sin, 0.0, cos)];
        let grey = Surface::dull(Cover::Plain(V3::splat(0.5)));
        let thing = Thing::solid(&model, vec![grey], &rotation, 1.5, (2.0, 3.0), 0.25);
        let bounds = thing.bounds();
        assert!((bounds.low.z - 0.25).abs() < 1e-4);
        assert!((bounds.size().largest() - 1.5).abs() < 1e-3);
        assert!((bounds.centre().x - 2.0).abs() < 1e-3 && (bounds.centre().y - 3.0).abs() < 1e-3);
        let down = Ray::new(v3(2.0, 3.0, 9.0), -V3::Z);
        let (hit, _) = thing.hit(&down, f32::INFINITY).unwrap();
        assert!(hit.normal.z > 0.0 && thing.blocks(&down, f32::INFINITY));
    }
}
