//! From two renderings to the true layer: display-referred, with the smallest alpha that explains the difference.

use super::super::light::visibility;
use super::super::raster::Raster;
use super::super::rng::Rng;
use super::render::Rendering;

/// Plate, background and layer before the camera's effects.
#[derive(Debug, Clone)]
pub struct Layers {
    pub background: Raster<3>,
    pub foreground: Raster<4>,
    pub object: Raster<1>,
}

/// Exposes both renderings alike and takes the layer from them.
///
/// In display-referred values C (with) and B (without): outside the object the layer's alpha is the least that
/// `C = F + (1 - a) B` allows with `0 <= F <= a`, per channel `(B - C) / B` where light is missing and `(C - B) / (1 - B)` where
/// some is added; inside it is the object's coverage, where that is more. F follows exactly.
pub fn layers(rng: &mut Rng, rendering: &Rendering) -> Layers {
    let (gain, power) = exposure(rng, &rendering.without);
    let display = |picture: &Raster<3>| picture.map(|p| p.map(|v| (v * gain).clamp(0.0, 1.0).powf(power)));
    let background = display(&rendering.without);
    let with = display(&rendering.with);
    let mut foreground = Raster::filled(background.width, background.height, [0.0; 4]);
    for (i, out) in foreground.pixels.iter_mut().enumerate() {
        let (b, c) = (background.pixels[i], with.pixels[i]);
        *out = layer(b, c, rendering.matte.pixels[i][0].clamp(0.0, 1.0));
    }
    Layers {
        background,
        foreground,
        object: rendering.matte.map(|m| [m[0].clamp(0.0, 1.0)]),
    }
}

fn layer(b: [f32; 3], c: [f32; 3], matte: f32) -> [f32; 4] {
    let difference = std::iter::zip(b, c)
        .map(|(b, c)| (b - c).abs())
        .fold(0.0, f32::max);
    let seen = if matte > 0.0 { 1.0 } else { visibility(difference) };
    if seen <= 0.0 {
        return [0.0; 4];
    }
    let c: [f32; 3] = std::array::from_fn(|k| b[k] + seen * (c[k] - b[k]));
    let least = std::iter::zip(b, c)
        .map(|(b, c)| {
            if c < b {
                (b - c) / b.max(1e-4)
            } else {
                (c - b) / (1.0 - b).max(1e-4)
            }
        })
        .fold(0.0, f32::max);
    let alpha = matte.max(least).min(1.0);
    let [r, g, b] = std::array::from_fn(|k| (c[k] - (1.0 - alpha) * b[k]).clamp(0.0, alpha));
    [r, g, b, alpha]
}

/// A gain that puts the background's mean where photographs have it, and the display's power.
fn exposure(rng: &mut Rng, without: &Raster<3>) -> (f32, f32) {
    let luminance = |p: &[f32; 3]| 0.2126 * p[0] + 0.7152 * p[1] + 0.0722 * p[2];
    let mut values: Vec<f32> = without.pixels.iter().map(luminance).collect();
    let mean = values.iter().sum::<f32>() / values.len() as f32;
    values.sort_unstable_by(f32::total_cmp);
    let bright = values[values.len() * 97 / 100];
    let gain = (rng.log_range(0.09, 0.34) / mean.max(1e-4)).min(1.05 / bright.max(1e-4));
    (gain, 1.0 / rng.range(2.0, 2.4))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_layer_explains_the_difference_and_is_as_thin_as_can_be() {
        let mut rng = Rng::new(3, 0, 0);
        for i in 0..2000 {
            let b: [f32; 3] = std::array::from_fn(|_| rng.unit());
            let c: [f32; 3] = std::array::from_fn(|_| rng.unit());
            let matte = if i % 3 == 0 { rng.unit() } else { 0.0 };
            let f = layer(b, c, matte);
            for k in 0..3 {
                assert!((f[k] + (1.0 - f[3]) * b[k] - c[k]).abs() < 1e-5 || matte == 0.0 && f[3] == 0.0);
                assert!(f[k] >= 0.0 && f[k] <= f[3]);
            }
            assert!(f[3] >= matte);
        }
        // A shadow of four fifths on any colour is the same alpha, without colour.
        let f = layer([0.5, 0.25, 0.75], [0.4, 0.2, 0.6], 0.0);
        assert!((f[3] - 0.2).abs() < 1e-5 && f[..3].iter().all(|v| *v < 1e-5));
        // No difference, no layer.
        assert_eq!(layer([0.3; 3], [0.3; 3], 0.0), [0.0; 4]);
        assert_eq!(layer([0.3; 3], [0.302; 3], 0.0), [0.0; 4]);
    }
}
