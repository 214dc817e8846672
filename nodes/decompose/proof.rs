//! The promise of Decompose, checked on every frame: the stack laid back together is the plate.

use std::ops::Range;

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
        let free = untouched(plate, stack, y);
        let mut columns = (window.x0..window.x1).filter(|x| !free.iter().any(|range| range.contains(x)));
        let x = columns.find(|&x| !same(laid(stack, x, y), half_pixel(plate.get(x, y))))?;
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

/// Columns of a row, in at most two ranges, in which the bottom layer has the plate's bits and no other layer has a pixel.
fn untouched(plate: &Layer, stack: &Stack, y: i32) -> [Range<i32>; 2] {
    let data = plate.data();
    let Some((bottom, above)) = stack.layers.split_first() else {
        return [0..0, 0..0];
    };
    let (first, last) = above
        .iter()
        .map(|named| named.layer.data())
        .filter(|over| over.y0 <= y && y < over.y1)
        .fold((data.x1, data.x0), |(first, last), over| {
            (first.min(over.x0), last.max(over.x1))
        });
    let same_bits = |range: &Range<i32>| {
        let spans = [plate, &bottom.layer].map(|layer| layer.span(y, range.start, range.end));
        let pairs = spans[0].1.as_flattened().iter().zip(spans[1].1.as_flattened());
        spans[0].0 == spans[1].0
            && spans[0].1.len() == range.len()
            && spans[1].1.len() == range.len()
            && pairs.fold(0, |off, (a, b)| off | (a.to_bits() ^ b.to_bits())) == 0
    };
    let left = data.x0..first.clamp(data.x0, data.x1);
    let right = last.max(left.end)..data.x1;
    [left, right].map(|range| {
        if !range.is_empty() && same_bits(&range) {
            range
        } else {
            0..0
        }
    })
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
