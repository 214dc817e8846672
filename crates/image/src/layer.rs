//! A layer: premultiplied RGBA pixels over a data window, seen through a display window.

use crate::Rect;
use crate::pixels::Pixels;

/// Premultiplied, scene-linear red, green, blue and alpha.
pub type Pixel = [f32; 4];

/// What lies outside a data window: nothing.
pub const TRANSPARENT: Pixel = [0.0; 4];

/// A picture with alpha. Pixels outside the data window read as transparent black; pixels inside the
/// data window but outside the display window are kept.
#[derive(Clone, PartialEq, Debug)]
pub struct Layer {
    display: Rect,
    data: Rect,
    /// Row-major over `data`.
    pixels: Pixels,
    pixel_aspect: f32,
}

impl Layer {
    /// A transparent layer.
    pub fn new(display: Rect, data: Rect) -> Layer {
        Layer::of(display, data, Pixels::transparent)
    }

    /// A layer for whoever overwrites every pixel: until then they mean nothing, for they may be left over from another.
    pub fn to_overwrite(display: Rect, data: Rect) -> Layer {
        Layer::of(display, data, Pixels::stale)
    }

    fn of(display: Rect, data: Rect, make: impl FnOnce(usize) -> Pixels) -> Layer {
        let data = Rect::new(data.x0, data.y0, data.x1, data.y1);
        Layer {
            display,
            data,
            pixels: make(data.area() as usize),
            pixel_aspect: 1.0,
        }
    }

    /// A layer from its pixels, row-major over `data`; `None` where their count is not `data.area()`.
    pub fn from_pixels(display: Rect, data: Rect, pixels: Vec<Pixel>) -> Option<Layer> {
        (pixels.len() as u64 == data.area()).then_some(Layer {
            display,
            data,
            pixels: pixels.into(),
            pixel_aspect: 1.0,
        })
    }

    /// A layer whose pixel at (x, y) is `f(x, y)`.
    pub fn from_fn(display: Rect, data: Rect, mut f: impl FnMut(i32, i32) -> Pixel) -> Layer {
        let mut layer = Layer::to_overwrite(display, data);
        for y in data.y0..data.y1 {
            for (x, pixel) in (data.x0..).zip(layer.row_mut(y)) {
                *pixel = f(x, y);
            }
        }
        layer
    }

    /// With another width-to-height ratio of its pixels.
    pub fn with_pixel_aspect(mut self, aspect: f32) -> Layer {
        self.pixel_aspect = aspect;
        self
    }

    /// With another display window.
    pub fn with_display(mut self, display: Rect) -> Layer {
        self.display = display;
        self
    }

    /// The frame that the picture is seen through.
    pub fn display(&self) -> Rect {
        self.display
    }

    /// The pixels that exist.
    pub fn data(&self) -> Rect {
        self.data
    }

    /// Width of a pixel over its height.
    pub fn pixel_aspect(&self) -> f32 {
        self.pixel_aspect
    }

    /// All pixels, row-major over the data window.
    pub fn pixels(&self) -> &[Pixel] {
        &self.pixels
    }

    /// All pixels, row-major over the data window.
    pub fn pixels_mut(&mut self) -> &mut [Pixel] {
        &mut self.pixels
    }

    /// The pixel at (x, y); transparent black outside the data window.
    pub fn get(&self, x: i32, y: i32) -> Pixel {
        if self.data.contains(x, y) {
            self.pixels[self.index(x, y)]
        } else {
            TRANSPARENT
        }
    }

    /// The pixels of row `y`, `data().x0` first; empty outside the data window.
    pub fn row(&self, y: i32) -> &[Pixel] {
        if y < self.data.y0 || y >= self.data.y1 {
            return &[];
        }
        let start = self.index(self.data.x0, y);
        &self.pixels[start..start + self.data.width()]
    }

    /// The pixels of row `y`, `data().x0` first; empty outside the data window.
    pub fn row_mut(&mut self, y: i32) -> &mut [Pixel] {
        if y < self.data.y0 || y >= self.data.y1 {
            return &mut [];
        }
        let start = self.index(self.data.x0, y);
        let width = self.data.width();
        &mut self.pixels[start..start + width]
    }

    /// The pixels of row `y` between columns `x0` and `x1`, as far as the data window reaches, and the
    /// column of the first one.
    pub fn span(&self, y: i32, x0: i32, x1: i32) -> (i32, &[Pixel]) {
        let part = Rect::new(x0, y, x1, y.saturating_add(1)).intersect(self.data);
        if part.is_empty() {
            return (x0, &[]);
        }
        let start = self.index(part.x0, y);
        (part.x0, &self.pixels[start..start + part.width()])
    }

    /// A copy whose data window is exactly `window`: cut off or padded with transparent black.
    pub fn crop(&self, window: Rect) -> Layer {
        let make = if self.data.encloses(window) {
            Layer::to_overwrite
        } else {
            Layer::new
        };
        let mut out = make(self.display, window).with_pixel_aspect(self.pixel_aspect);
        let common = window.intersect(self.data);
        for y in common.y0..common.y1 {
            let (x0, source) = self.span(y, common.x0, common.x1);
            let at = (x0 - window.x0) as usize;
            out.row_mut(y)[at..at + source.len()].copy_from_slice(source);
        }
        out
    }

    /// The smallest window that holds every pixel in which any channel is not zero (NaN counts).
    pub fn tight_window(&self) -> Rect {
        let mut tight = Rect::EMPTY;
        for y in self.data.y0..self.data.y1 {
            let row = self.row(y);
            let lit = |p: &Pixel| p.iter().any(|&c| c != 0.0);
            if let (Some(first), Some(last)) = (row.iter().position(lit), row.iter().rposition(lit)) {
                let x0 = self.data.x0;
                tight = tight.union(Rect::new(x0 + first as i32, y, x0 + last as i32 + 1, y + 1));
            }
        }
        tight
    }

    /// Bytes held by the pixels.
    pub fn bytes(&self) -> u64 {
        self.data.area() * size_of::<Pixel>() as u64
    }

    fn index(&self, x: i32, y: i32) -> usize {
        (y - self.data.y0) as usize * self.data.width() + (x - self.data.x0) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbered(data: Rect) -> Layer {
        Layer::from_fn(Rect::of_size(8, 8), data, |x, y| [x as f32, y as f32, 0.0, 1.0])
    }

    #[test]
    fn outside_the_data_window_is_transparent() {
        let layer = numbered(Rect::new(2, 2, 5, 4));
        assert_eq!(layer.get(1, 2), TRANSPARENT);
        assert_eq!(layer.get(4, 3), [4.0, 3.0, 0.0, 1.0]);
        assert!(layer.row(4).is_empty());
    }

    #[test]
    fn crop_pads_and_cuts() {
        let layer = numbered(Rect::new(2, 2, 5, 4)).crop(Rect::new(0, 3, 4, 6));
        assert_eq!(layer.data(), Rect::new(0, 3, 4, 6));
        assert_eq!(layer.get(3, 3), [3.0, 3.0, 0.0, 1.0]);
        assert_eq!(layer.get(0, 3), TRANSPARENT);
        assert_eq!(layer.get(3, 4), TRANSPARENT);
    }

    #[test]
    fn tight_window_keeps_light_without_alpha() {
        let mut layer = Layer::new(Rect::of_size(8, 8), Rect::of_size(8, 8));
        assert!(layer.tight_window().is_empty());
        layer.row_mut(3)[5] = [0.1, 0.0, 0.0, 0.0];
        layer.row_mut(6)[2] = [0.0, 0.0, 0.0, 0.5];
        assert_eq!(layer.tight_window(), Rect::new(2, 3, 6, 7));
    }
}
