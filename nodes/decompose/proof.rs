//! The promise of Decompose, checked on every frame: the stack laid back together is the plate.

use peel_image::quantise::{half, half_pixel};
use peel_image::{Layer, MergeOp, Pixel, Stack, TRANSPARENT};
use peel_node::{Error, Result};
use rayon::prelude::*;

/// An error unless over of the layers, all rounded to half, is the plate rounded to half, at every pixel.
pub fn prove(plate: &Layer, stack: &Stack) -> Result<()> {
    let window = stack
        .layers
        .iter()
        .fold(plate.data(), |all, named| all.union(named.layer.data()));
    let wrong: Option<(i32, i32)> = (window.y0..window.y1).into_par_iter().find_map_first(|y| {
        let x = (window.x0..window.x1).find(|&x| !same(laid(stack, x, y), half_pixel(plate.get(x, y))))?;
        Some((x, y))
    });
    match wrong {
        None => Ok(()),
        Some((x, y)) => {
            let (got, wanted) = (laid(stack, x, y), plate.get(x, y));
            Err(Error::message(format!(
                "the layers laid together are not the plate at ({x}, {y}): {got:?}, not {wanted:?}; this is a \
                 fault in Peel, please report it"
            )))
        }
    }
}

/// The stack at a pixel as a reader of its file sees it: layers in half, laid bottom to top, rounded to half.
fn laid(stack: &Stack, x: i32, y: i32) -> Pixel {
    let over = |below: Pixel, named: &peel_image::NamedLayer| {
        MergeOp::Over.pixel(half_pixel(named.layer.get(x, y)), below)
    };
    let mut layers = stack.layers.iter();
    // The bottom layer is not laid over anything: with a NaN in its alpha, that would spoil its light.
    let bottom = layers
        .next()
        .map_or(TRANSPARENT, |named| half_pixel(named.layer.get(x, y)));
    layers.fold(bottom, over).map(half)
}

/// Equal as numbers; a value that is no number equals any other such value.
fn same(a: Pixel, b: Pixel) -> bool {
    a.iter().zip(b).all(|(&a, b)| a == b || a.is_nan() && b.is_nan())
}
