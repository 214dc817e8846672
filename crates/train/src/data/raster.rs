//! Small pictures of training samples: interleaved f32 pixels, display-referred, y down.

/// A picture of `C` channels.
#[derive(Debug, Clone, PartialEq)]
pub struct Raster<const C: usize> {
    /// Pixels in a row.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// Row by row.
    pub pixels: Vec<[f32; C]>,
}

/// Where a destination pixel comes from: `source = (a x + b y + c, d x + e y + f)`, in pixel centres.
#[derive(Debug, Clone, Copy)]
pub struct Affine(pub [f32; 6]);

impl Affine {
    /// The source position of destination `(x, y)`.
    #[inline]
    #[must_use]
    pub fn at(&self, x: f32, y: f32) -> (f32, f32) {
        let [a, b, c, d, e, f] = self.0;
        (a * x + b * y + c, d * x + e * y + f)
    }
}

impl<const C: usize> Raster<C> {
    /// A picture of one value.
    #[must_use]
    pub fn filled(width: usize, height: usize, value: [f32; C]) -> Self {
        Self {
            width,
            height,
            pixels: vec![value; width * height],
        }
    }

    /// A picture from a function of column and row.
    #[must_use]
    pub fn from_fn(width: usize, height: usize, mut f: impl FnMut(usize, usize) -> [f32; C]) -> Self {
        let mut pixels = Vec::with_capacity(width * height);
        for y in 0..height {
            for x in 0..width {
                pixels.push(f(x, y));
            }
        }
        Self {
            width,
            height,
            pixels,
        }
    }

    /// The pixel at `(x, y)`.
    #[inline]
    #[must_use]
    pub fn at(&self, x: usize, y: usize) -> &[f32; C] {
        &self.pixels[y * self.width + x]
    }

    /// Each pixel through `f`.
    #[must_use]
    pub fn map<const D: usize>(&self, f: impl FnMut(&[f32; C]) -> [f32; D]) -> Raster<D> {
        Raster {
            width: self.width,
            height: self.height,
            pixels: self.pixels.iter().map(f).collect(),
        }
    }

    /// Pixels of this and another picture of the same size through `f`.
    #[must_use]
    pub fn zip<const D: usize, const E: usize>(
        &self,
        other: &Raster<D>,
        f: impl Fn(&[f32; C], &[f32; D]) -> [f32; E],
    ) -> Raster<E> {
        debug_assert_eq!((self.width, self.height), (other.width, other.height));
        let pixels = self
            .pixels
            .iter()
            .zip(&other.pixels)
            .map(|(a, b)| f(a, b))
            .collect();
        Raster {
            width: self.width,
            height: self.height,
            pixels,
        }
    }

    /// Mirrored left to right.
    #[must_use]
    pub fn mirrored(&self) -> Self {
        let mut out = self.clone();
        out.pixels.chunks_mut(out.width).for_each(<[_]>::reverse);
        out
    }

    /// Bilinear value at a position in pixel centres; 0 outside.
    #[inline]
    #[must_use]
    pub fn bilinear_or_zero(&self, x: f32, y: f32) -> [f32; C] {
        let (w, h) = (self.width as f32, self.height as f32);
        if !(x > -1.0 && y > -1.0 && x < w && y < h) {
            return [0.0; C];
        }
        let (fx, fy) = (x.floor(), y.floor());
        let (tx, ty) = (x - fx, y - fy);
        let (ix, iy) = (fx as isize, fy as isize);
        let mut out = [0.0; C];
        for (dy, wy) in [(0, 1.0 - ty), (1, ty)] {
            let row = iy + dy;
            if row < 0 || row >= self.height as isize {
                continue;
            }
            for (dx, wx) in [(0, 1.0 - tx), (1, tx)] {
                let column = ix + dx;
                if column < 0 || column >= self.width as isize {
                    continue;
                }
                let weight = wx * wy;
                for (o, v) in out.iter_mut().zip(self.at(column as usize, row as usize)) {
                    *o += weight * v;
                }
            }
        }
        out
    }

    /// Resampled bilinearly through `from`, 0 outside. The caller keeps the scale near or above 1.
    #[must_use]
    pub fn warped(&self, from: &Affine, width: usize, height: usize) -> Self {
        Self::from_fn(width, height, |x, y| {
            let (sx, sy) = from.at(x as f32, y as f32);
            self.bilinear_or_zero(sx, sy)
        })
    }

    /// Area average to a smaller size, each destination pixel over its exact footprint; bilinear-like upwards.
    #[must_use]
    pub fn resized(&self, width: usize, height: usize) -> Self {
        if (width, height) == (self.width, self.height) {
            return self.clone();
        }
        let columns = footprints(self.width, width);
        let rows = footprints(self.height, height);
        let mut across = Vec::with_capacity(width * self.height);
        for line in self.pixels.chunks(self.width) {
            across.extend(columns.iter().map(|f| f.sum(|i| line[i])));
        }
        let mut pixels = Vec::with_capacity(width * height);
        for f in &rows {
            pixels.extend((0..width).map(|x| f.sum(|i| across[i * width + x])));
        }
        Self {
            width,
            height,
            pixels,
        }
    }

    /// Gaussian blur of standard deviation `sigma` in pixels, the border repeated. Below 0.2 nothing is done.
    #[must_use]
    pub fn blurred(&self, sigma: f32) -> Self {
        if sigma < 0.2 {
            return self.clone();
        }
        let radius = (3.0 * sigma).ceil() as usize;
        let mut kernel: Vec<f32> = (0..=2 * radius)
            .map(|i| (-0.5 * ((i as f32 - radius as f32) / sigma).powi(2)).exp())
            .collect();
        let sum: f32 = kernel.iter().sum();
        kernel.iter_mut().for_each(|k| *k /= sum);

        let (w, h) = (self.width, self.height);
        let mut across = Vec::with_capacity(w * h);
        let mut padded = Vec::with_capacity(w + 2 * radius);
        for line in self.pixels.chunks(w) {
            padded.clear();
            padded.extend(std::iter::repeat_n(line[0], radius));
            padded.extend_from_slice(line);
            padded.extend(std::iter::repeat_n(line[w - 1], radius));
            for window in padded.windows(kernel.len()) {
                let mut sum = [0.0; C];
                for (k, v) in kernel.iter().zip(window) {
                    for (s, v) in sum.iter_mut().zip(v) {
                        *s += k * v;
                    }
                }
                across.push(sum);
            }
        }
        let mut pixels = vec![[0.0; C]; w * h];
        for (y, out) in pixels.chunks_mut(w).enumerate() {
            for (i, k) in kernel.iter().enumerate() {
                let row = (y + i).saturating_sub(radius).min(h - 1);
                for (o, v) in out.iter_mut().zip(&across[row * w..(row + 1) * w]) {
                    for (o, v) in o.iter_mut().zip(v) {
                        *o += k * v;
                    }
                }
            }
        }
        Self {
            width: w,
            height: h,
            pixels,
        }
    }
}

impl Raster<4> {
    /// The alpha channel.
    #[must_use]
    pub fn alpha(&self) -> Raster<1> {
        self.map(|p| [p[3]])
    }

    /// This premultiplied layer over an opaque picture: `F + (1 - a) B`.
    #[must_use]
    pub fn over_picture(&self, below: &Raster<3>) -> Raster<3> {
        self.zip(below, |f, b| std::array::from_fn(|c| f[c] + (1.0 - f[3]) * b[c]))
    }

    /// This premultiplied layer over another one.
    #[must_use]
    pub fn over(&self, below: &Self) -> Self {
        self.zip(below, |f, b| std::array::from_fn(|c| f[c] + (1.0 - f[3]) * b[c]))
    }
}

/// The source pixels that one destination pixel covers.
struct Footprint {
    start: usize,
    weights: Vec<f32>,
}

impl Footprint {
    #[inline]
    fn sum<const C: usize>(&self, value: impl Fn(usize) -> [f32; C]) -> [f32; C] {
        let mut out = [0.0; C];
        for (i, weight) in self.weights.iter().enumerate() {
            for (o, v) in out.iter_mut().zip(value(self.start + i)) {
                *o += weight * v;
            }
        }
        out
    }
}

/// Tent of the destination's pitch going up, box of the footprint going down.
fn footprints(source: usize, target: usize) -> Vec<Footprint> {
    let scale = source as f32 / target as f32;
    (0..target)
        .map(|i| {
            if scale <= 1.0 {
                let x = ((i as f32 + 0.5) * scale - 0.5).clamp(0.0, (source - 1) as f32);
                let start = (x.floor() as usize).min(source - 1);
                let t = x - start as f32;
                let weights = if start + 1 < source {
                    vec![1.0 - t, t]
                } else {
                    vec![1.0]
                };
                return Footprint { start, weights };
            }
            let (low, high) = (i as f32 * scale, (i + 1) as f32 * scale);
            let start = low.floor() as usize;
            let end = (high.ceil() as usize).min(source).max(start + 1);
            let weights = (start..end)
                .map(|j| ((high.min((j + 1) as f32) - low.max(j as f32)).max(0.0)) / scale)
                .collect();
            Footprint { start, weights }
        })
        .collect()
}

/// 0 below `low`, 1 above `high`, smooth between.
#[inline]
#[must_use]
pub fn smoothstep(low: f32, high: f32, x: f32) -> f32 {
    let t = ((x - low) / (high - low)).clamp(0.0, 1.0);
    t * t * (3.0 - 2.0 * t)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blur_and_resize_keep_the_mean_of_a_flat_picture() {
        let flat = Raster::filled(13, 9, [0.25, 0.5]);
        for out in [flat.blurred(1.7), flat.resized(5, 4), flat.resized(31, 20)] {
            assert!(
                out.pixels
                    .iter()
                    .all(|p| (p[0] - 0.25).abs() < 1e-5 && (p[1] - 0.5).abs() < 1e-5)
            );
        }
    }

    #[test]
    fn area_average_keeps_the_sum() {
        let ramp = Raster::from_fn(10, 6, |x, y| [(x * y) as f32]);
        let small = ramp.resized(4, 3);
        let mean = |r: &Raster<1>| r.pixels.iter().map(|p| p[0]).sum::<f32>() / r.pixels.len() as f32;
        assert!((mean(&ramp) - mean(&small)).abs() < 1e-4);
    }

    #[test]
    fn identity_warp_changes_nothing() {
        let ramp = Raster::from_fn(7, 5, |x, y| [x as f32, y as f32]);
        assert_eq!(ramp.warped(&Affine([1.0, 0.0, 0.0, 0.0, 1.0, 0.0]), 7, 5), ramp);
    }
}
