//! Classical fillings of a hole, over pictures: smooth, and with patches of what is around it.

use candle_core::{Device, Tensor};
use peel_layerdecomp::patch_fill;

use super::methods::{rasters, tensor};
use crate::Result;
use crate::data::raster::Raster;

/// The picture with its hole (mask above one half) filled by [`patch_fill`].
///
/// # Errors
/// If a tensor operation fails.
pub fn fill(picture: &Raster<3>, hole: &Raster<1>) -> Result<Raster<3>> {
    let filled = patch_fill(
        &tensor(std::slice::from_ref(picture))?,
        &tensor(std::slice::from_ref(hole))?,
        0,
    )?;
    Ok(rasters::<3>(&filled)?.swap_remove(0))
}

/// Push-pull filling of the hole, with the plate where there is none.
///
/// # Errors
/// If a tensor operation fails.
pub fn push_pull(picture: &Raster<3>, hole: &Raster<1>) -> Result<Raster<3>> {
    let (width, height) = (picture.width, picture.height);
    let plate = tensor(std::slice::from_ref(picture))?;
    let mask: Vec<f32> = hole.pixels.iter().map(|m| m[0]).collect();
    let mask = Tensor::from_vec(mask, (1, 1, height, width), &Device::Cpu)?;
    let filled = peel_layerdecomp::push_pull(&plate, &mask, 0)?
        .flatten_all()?
        .to_vec1::<f32>()?;
    let mut out = picture.clone();
    for (i, pixel) in out.pixels.iter_mut().enumerate() {
        if hole.pixels[i][0] > 0.5 {
            *pixel = std::array::from_fn(|c| filled[c * width * height + i]);
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Stripes of eight pixels with a smooth tint.
    fn stripes(x: usize, y: usize) -> [f32; 3] {
        let stripe = if (x + 2 * y) % 8 < 4 { 0.7 } else { 0.3 };
        [stripe, stripe * 0.9, 0.4 + 0.001 * x as f32]
    }

    #[test]
    fn texture_goes_on_through_the_hole() {
        let truth = Raster::from_fn(96, 80, stripes);
        let hole = Raster::from_fn(96, 80, |x, y| {
            [f32::from((38..60).contains(&x) && (30..50).contains(&y))]
        });
        let broken = truth.zip(&hole, |p, h| if h[0] > 0.5 { [1.0, 0.0, 0.0] } else { *p });
        let error = |filled: &Raster<3>| {
            let squares = std::iter::zip(&filled.pixels, &truth.pixels).map(|(a, b)| (a[0] - b[0]).powi(2));
            squares.sum::<f32>() / 440.0
        };
        let filled = fill(&broken, &hole).unwrap();
        let smooth = push_pull(&broken, &hole).unwrap();
        assert!(
            error(&filled) < 0.25 * error(&smooth),
            "{} {}",
            error(&filled),
            error(&smooth)
        );
        for (i, pixel) in filled.pixels.iter().enumerate() {
            assert!(hole.pixels[i][0] > 0.5 || *pixel == truth.pixels[i]);
        }
        assert_eq!(fill(&broken, &hole).unwrap(), filled);
    }
}
