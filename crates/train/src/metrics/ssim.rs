//! Structural similarity.

use crate::data::raster::Raster;

/// Half the side of the window: 11 x 11 pixels.
const RADIUS: usize = 5;
const SIGMA: f64 = 1.5;
/// `(K1 L)^2` and `(K2 L)^2` with the paper's K and values from 0 to 1.
const C1: f64 = 0.01 * 0.01;
const C2: f64 = 0.03 * 0.03;

/// Structural similarity at every pixel (Wang, Bovik, Sheikh and Simoncelli 2004): in a Gaussian window of 11 x 11 pixels and
/// standard deviation 1.5,
///
/// `(2 m_a m_b + C1) (2 s_ab + C2) / ((m_a^2 + m_b^2 + C1) (s_a^2 + s_b^2 + C2))`,
///
/// averaged over the channels; `K1 = .01`, `K2 = .03`, values clipped to 0..1, population covariance, borders mirrored with the
/// edge repeated. The same as scikit-image's `structural_similarity(a, b, gaussian_weights=True, sigma=1.5,
/// use_sample_covariance=False, data_range=1, channel_axis=-1, full=True)[1]`, averaged over channels.
#[must_use]
pub fn ssim(a: &Raster<3>, b: &Raster<3>) -> Vec<f32> {
    debug_assert_eq!((a.width, a.height), (b.width, b.height));
    let (width, height) = (a.width, a.height);
    let mut out = vec![0f32; width * height];
    for channel in 0..3 {
        let plane = |r: &Raster<3>| -> Vec<f64> {
            r.pixels
                .iter()
                .map(|p| f64::from(p[channel].clamp(0.0, 1.0)))
                .collect()
        };
        let (a, b) = (plane(a), plane(b));
        let product = |x: &[f64], y: &[f64]| -> Vec<f64> { x.iter().zip(y).map(|(x, y)| x * y).collect() };
        let [ma, mb, aa, bb, ab] = [
            a.clone(),
            b.clone(),
            product(&a, &a),
            product(&b, &b),
            product(&a, &b),
        ]
        .map(|p| windowed(&p, width, height));
        for (i, out) in out.iter_mut().enumerate() {
            let (va, vb, vab) = (
                aa[i] - ma[i] * ma[i],
                bb[i] - mb[i] * mb[i],
                ab[i] - ma[i] * mb[i],
            );
            let above = (2.0 * ma[i] * mb[i] + C1) * (2.0 * vab + C2);
            let below = (ma[i] * ma[i] + mb[i] * mb[i] + C1) * (va + vb + C2);
            *out += (above / below / 3.0) as f32;
        }
    }
    out
}

/// The mean under the Gaussian window around each pixel.
fn windowed(plane: &[f64], width: usize, height: usize) -> Vec<f64> {
    let mut kernel: [f64; 2 * RADIUS + 1] =
        std::array::from_fn(|i| (-0.5 * ((i as f64 - RADIUS as f64) / SIGMA).powi(2)).exp());
    let sum: f64 = kernel.iter().sum();
    kernel.iter_mut().for_each(|k| *k /= sum);

    let mut across = Vec::with_capacity(plane.len());
    let mut padded = vec![0.0; width + 2 * RADIUS];
    for row in plane.chunks(width) {
        for (i, v) in padded.iter_mut().enumerate() {
            *v = row[mirrored(i, width)];
        }
        across.extend(
            padded
                .windows(kernel.len())
                .map(|w| w.iter().zip(&kernel).map(|(v, k)| v * k).sum::<f64>()),
        );
    }
    let mut out = vec![0.0; plane.len()];
    for (y, out) in out.chunks_mut(width).enumerate() {
        for (i, k) in kernel.iter().enumerate() {
            let from = mirrored(y + i, height) * width;
            for (o, v) in out.iter_mut().zip(&across[from..from + width]) {
                *o += k * v;
            }
        }
    }
    out
}

/// Position `padded - RADIUS` in `n` pixels whose borders are mirrored (`c b a | a b c | c b a`).
fn mirrored(padded: usize, n: usize) -> usize {
    let at = (padded + 2 * n * RADIUS - RADIUS) % (2 * n);
    at.min(2 * n - 1 - at)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pictures() -> (Raster<3>, Raster<3>) {
        // The same integers as in scripts/ssim_reference.py.
        let value = |x: usize, y: usize, c: usize| ((x * x * 3 + y * 7 + x * y * (c + 1)) % 97) as f32 / 96.0;
        let a = Raster::from_fn(20, 17, |x, y| std::array::from_fn(|c| value(x, y, c)));
        let b = Raster::from_fn(20, 17, |x, y| {
            std::array::from_fn(|c| 0.75 * value(x, y, c) + 0.25 * value(y, x, 2 - c))
        });
        (a, b)
    }

    #[test]
    fn equal_to_scikit_image() {
        let (a, b) = pictures();
        let map = ssim(&a, &b);
        // crates/train/scripts/ssim_reference.py, scikit-image 0.26.0.
        let mean = map.iter().map(|v| f64::from(*v)).sum::<f64>() / map.len() as f64;
        assert!((mean - REFERENCE_MEAN).abs() < 1e-6, "{mean}");
        for (i, want) in REFERENCE {
            assert!((f64::from(map[i]) - want).abs() < 1e-6, "{i}: {} {want}", map[i]);
        }
        let same = ssim(&a, &a);
        assert!(same.iter().all(|v| (v - 1.0).abs() < 1e-6));
    }

    const REFERENCE_MEAN: f64 = 0.919_859_084_456_133_8;
    const REFERENCE: [(usize, f64); 5] = [
        (0, 0.993_791_653_162_236_2),
        (19, 0.940_669_001_423_714_1),
        (87, 0.916_373_974_925_591_5),
        (170, 0.915_385_396_248_219_8),
        (339, 0.970_798_470_334_316_1),
    ];
}
