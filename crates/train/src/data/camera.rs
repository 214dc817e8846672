//! What the camera does: exposure and white balance, defocus, grain, JPEG.
//!
//! Exposure, defocus and grain act on the layers before they are laid over each other, so that `C = F + (1 - a) B` stays true to
//! the last bit. JPEG acts on plate and background alike, as it would on two photographs.

use super::raster::Raster;
use super::rng::Rng;

/// One camera, the same for plate, background and layer.
#[derive(Debug, Clone)]
pub struct Camera {
    gain: [f32; 3],
    /// Standard deviation in pixels.
    defocus: f32,
    /// Standard deviation of the grain, and how much of it is the same in all channels.
    grain: (f32, f32),
    /// JPEG quality, 1..100.
    jpeg: Option<f32>,
}

impl Camera {
    /// Draws a camera for a picture of `size` pixels.
    #[must_use]
    pub fn draw(rng: &mut Rng, size: usize) -> Self {
        let k = size as f32 / 128.0;
        let exposure = if rng.chance(0.7) {
            rng.log_range(0.6, 1.25)
        } else {
            1.0
        };
        let balance = if rng.chance(0.5) { 0.12 } else { 0.0 };
        let gain = std::array::from_fn(|_| exposure * rng.range(1.0 - balance, 1.0 + balance));
        let defocus = if rng.chance(0.3) {
            rng.range(0.3, 1.3) * k
        } else {
            0.0
        };
        let grain = if rng.chance(0.5) {
            rng.log_range(0.003, 0.035)
        } else {
            0.0
        };
        let jpeg = rng.chance(0.12).then(|| rng.range(50.0, 95.0));
        Self {
            gain,
            defocus,
            grain: (grain, rng.unit()),
            jpeg,
        }
    }

    /// The same camera for pictures that have grain of their own.
    #[must_use]
    pub fn without_grain(self) -> Self {
        Self {
            grain: (0.0, 0.0),
            ..self
        }
    }

    /// Defocus of a layer that is not yet put together with others.
    #[must_use]
    pub fn focus<const C: usize>(&self, layer: Raster<C>) -> Raster<C> {
        if self.defocus > 0.0 {
            layer.blurred(self.defocus)
        } else {
            layer
        }
    }

    /// Exposure, white balance and grain of the background; clipped to 0..1.
    pub fn expose_background(&self, rng: &mut Rng, background: &mut Raster<3>) {
        for pixel in &mut background.pixels {
            let noise = self.noise(rng);
            for c in 0..3 {
                pixel[c] = (pixel[c] * self.gain[c] + noise[c]).clamp(0.0, 1.0);
            }
        }
    }

    /// The same for a premultiplied layer: grain in proportion to `solid`, how much of a pixel is the object itself.
    pub fn expose_layer(&self, rng: &mut Rng, layer: &mut Raster<4>, solid: &Raster<1>) {
        for (pixel, solid) in layer.pixels.iter_mut().zip(&solid.pixels) {
            pixel[3] = pixel[3].clamp(0.0, 1.0); // products of rounded factors may leave it by an ulp
            let noise = if solid[0] > 0.0 { self.noise(rng) } else { [0.0; 3] };
            for c in 0..3 {
                pixel[c] = (pixel[c] * self.gain[c] + solid[0] * noise[c]).clamp(0.0, pixel[3]);
            }
        }
    }

    /// JPEG compression, where this camera has it.
    #[must_use]
    pub fn compress(&self, picture: Raster<3>) -> Raster<3> {
        match self.jpeg {
            Some(quality) => jpeg(&picture, quality),
            None => picture,
        }
    }

    fn noise(&self, rng: &mut Rng) -> [f32; 3] {
        let (sigma, shared) = self.grain;
        if sigma == 0.0 {
            return [0.0; 3];
        }
        let common = rng.normal() * shared;
        let own = (1.0 - shared * shared).max(0.0).sqrt();
        std::array::from_fn(|_| sigma * (common + own * rng.normal()))
    }
}

/// Luma quantisation table of ITU-T T.81, table K.1.
const LUMA: [f32; 64] = [
    16., 11., 10., 16., 24., 40., 51., 61., 12., 12., 14., 19., 26., 58., 60., 55., 14., 13., 16., 24., 40.,
    57., 69., 56., 14., 17., 22., 29., 51., 87., 80., 62., 18., 22., 37., 56., 68., 109., 103., 77., 24.,
    35., 55., 64., 81., 104., 113., 92., 49., 64., 78., 87., 103., 121., 120., 101., 72., 92., 95., 98.,
    112., 100., 103., 99.,
];

/// Chroma quantisation table of ITU-T T.81, table K.2: its upper left corner, 99 elsewhere.
fn chroma(u: usize, v: usize) -> f32 {
    const CORNER: [[f32; 4]; 4] = [
        [17., 18., 24., 47.],
        [18., 21., 26., 66.],
        [24., 26., 56., 99.],
        [47., 66., 99., 99.],
    ];
    if u < 4 && v < 4 { CORNER[v][u] } else { 99.0 }
}

/// The loss of JPEG without the file: 8x8 DCT of Y'CbCr, quantised at `quality` as libjpeg scales its tables.
fn jpeg(picture: &Raster<3>, quality: f32) -> Raster<3> {
    let scale = if quality < 50.0 {
        50.0 / quality
    } else {
        2.0 - quality / 50.0
    };
    let basis: [[f32; 8]; 8] = std::array::from_fn(|u| {
        let norm = if u == 0 { (1.0f32 / 8.0).sqrt() } else { 0.5 };
        std::array::from_fn(|x| norm * ((2 * x + 1) as f32 * u as f32 * std::f32::consts::PI / 16.0).cos())
    });
    let mut out = picture.map(|&[r, g, b]| {
        let y = 0.299 * r + 0.587 * g + 0.114 * b;
        [y - 0.5, 0.564 * (b - y), 0.713 * (r - y)]
    });
    let (w, h) = (out.width, out.height);
    for by in (0..h).step_by(8) {
        for bx in (0..w).step_by(8) {
            for c in 0..3 {
                let at = |x: usize, y: usize| (by + y).min(h - 1) * w + (bx + x).min(w - 1);
                let mut block = [[0.0f32; 8]; 8];
                for (y, row) in block.iter_mut().enumerate() {
                    for (x, value) in row.iter_mut().enumerate() {
                        *value = out.pixels[at(x, y)][c];
                    }
                }
                let mut spectrum = product(&basis, &transposed(&product(&basis, &transposed(&block))));
                for (v, row) in spectrum.iter_mut().enumerate() {
                    for (u, value) in row.iter_mut().enumerate() {
                        let table = if c == 0 { LUMA[v * 8 + u] } else { chroma(u, v) };
                        let step = (table * scale).max(1.0) / 255.0;
                        *value = (*value / step).round() * step;
                    }
                }
                let inverse = transposed(&basis);
                let block = product(&inverse, &transposed(&product(&inverse, &transposed(&spectrum))));
                for (y, row) in block.iter().enumerate().take(h - by) {
                    for (x, value) in row.iter().enumerate().take(w - bx) {
                        out.pixels[at(x, y)][c] = *value;
                    }
                }
            }
        }
    }
    out.map(|&[y, cb, cr]| {
        let y = y + 0.5;
        let (r, b) = (y + cr / 0.713, y + cb / 0.564);
        [r, (y - 0.299 * r - 0.114 * b) / 0.587, b].map(|v| v.clamp(0.0, 1.0))
    })
}

fn product(a: &[[f32; 8]; 8], b: &[[f32; 8]; 8]) -> [[f32; 8]; 8] {
    let mut out = [[0.0; 8]; 8];
    for (row, out) in a.iter().zip(&mut out) {
        for (k, line) in row.iter().zip(b) {
            for (o, v) in out.iter_mut().zip(line) {
                *o += k * v;
            }
        }
    }
    out
}

fn transposed(a: &[[f32; 8]; 8]) -> [[f32; 8]; 8] {
    std::array::from_fn(|y| std::array::from_fn(|x| a[x][y]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jpeg_at_high_quality_is_close_and_at_low_quality_is_not() {
        let mut rng = Rng::new(1, 0, 0);
        let picture = Raster::from_fn(20, 12, |x, y| {
            [x as f32 / 20.0, y as f32 / 12.0, rng.unit() * 0.2]
        });
        let error = |q: f32| {
            let out = jpeg(&picture, q);
            let sum: f32 = out
                .pixels
                .iter()
                .flatten()
                .zip(picture.pixels.iter().flatten())
                .map(|(a, b)| (a - b).powi(2))
                .sum();
            (sum / 720.0).sqrt()
        };
        assert!(error(99.0) < 0.01, "{}", error(99.0));
        assert!(error(50.0) > error(95.0));
    }
}
