//! A chain of steps laid into one stack, exact as a whole.

use std::borrow::Cow;
use std::sync::Arc;

use peel_image::{Layer, NamedLayer, Pixel, Rect, Stack, TRANSPARENT};
use rayon::prelude::*;

use crate::exact::{self, Laid};
use crate::{Error, Result};

/// The name of a stack's bottom layer.
const BACKGROUND: &str = "background";

/// Lays a chain of steps into a stack, bottom to top: `background`, then the deepest foreground, up to the
/// front-most one.
///
/// `foregrounds` come front-most first, as masks are listed. Evaluating the stack bottom to top as
/// `a + b * (1 - a.alpha)`, with every value rounded to half and the result rounded to half, gives the plate
/// rounded to half: for any number of layers, in `f32` with or without fused operations, and in `f64`.
///
/// Each step of a chain is exact by itself ([`peel_one`](crate::peel_one)), but only after rounding to half,
/// which the stack does once, at its top. So the layers are solved again, bottom to top, against what really lies
/// below them. The partial stacks hold too: leaving out the front-most layers gives the background of
/// that step, in half. Alpha moves by a few units of half at most where the layers come from a chain.
///
/// Layers that are no chain are made one: the front-most layer that has any effect at a pixel takes the difference. Where
/// the plate is not finite in half, or not opaque and without solution, its pixel goes into the background as it is.
/// With no foreground at all, the background is the plate. Layers that nothing has to change are shared, not copied.
pub fn settle(plate: &Layer, background: &Arc<Layer>, foregrounds: &[(String, Arc<Layer>)]) -> Result<Stack> {
    for layer in foregrounds.iter().map(|(_, layer)| layer).chain([background]) {
        if layer.display() != plate.display() {
            return Err(Error::SizeMismatch {
                plate: plate.display(),
                matte: layer.display(),
            });
        }
    }
    let window = foregrounds
        .iter()
        .fold(plate.data().union(background.data()), |all, (_, l)| {
            all.union(l.data())
        });
    let deepest_first: Vec<&Layer> = foregrounds
        .iter()
        .rev()
        .map(|(_, layer)| layer.as_ref())
        .collect();
    let mut changes = vec![Vec::new(); foregrounds.len() + 1];
    let rows: Vec<Vec<Change>> = (window.y0..window.y1)
        .into_par_iter()
        .map(|y| changes_of_row(plate, background, &deepest_first, window, y))
        .collect();
    for change in rows.into_iter().flatten() {
        changes[change.layer].push(change);
    }
    let names = foregrounds.iter().rev().map(|(name, _)| name.as_str());
    let names = std::iter::once(BACKGROUND).chain(names);
    let sources = std::iter::once(background).chain(foregrounds.iter().rev().map(|(_, layer)| layer));
    let layers = names
        .zip(sources)
        .zip(&changes)
        .enumerate()
        .map(|(index, ((name, source), changes))| {
            let mut layer = changed(source, changes, plate.pixel_aspect());
            let window = if index == 0 { window } else { layer.tight_window() };
            if layer.data() != window {
                layer = Arc::new(layer.crop(window));
            }
            NamedLayer {
                name: name.to_owned(),
                layer,
            }
        })
        .collect();
    Ok(Stack {
        layers,
        ..Stack::default()
    })
}

/// A pixel that is not what its layer has.
#[derive(Clone)]
struct Change {
    /// 0 for the background, 1 for the deepest foreground, and so on.
    layer: usize,
    x: i32,
    y: i32,
    pixel: Pixel,
}

/// A layer with other pixels; its window grows where they lie outside, which happens only where the layers are no chain.
fn changed(source: &Arc<Layer>, changes: &[Change], pixel_aspect: f32) -> Arc<Layer> {
    if changes.is_empty() && source.pixel_aspect() == pixel_aspect {
        return Arc::clone(source);
    }
    let around = changes.iter().fold(source.data(), |all, change| {
        all.union(Rect::new(change.x, change.y, change.x + 1, change.y + 1))
    });
    let mut layer = if around == source.data() {
        source.as_ref().clone()
    } else {
        source.crop(around)
    };
    for change in changes {
        layer.row_mut(change.y)[(change.x - around.x0) as usize] = change.pixel;
    }
    Arc::new(layer.with_pixel_aspect(pixel_aspect))
}

/// Pixels of a row that are looked at together.
const RUN: usize = 64;

fn changes_of_row(
    plate: &Layer,
    background: &Layer,
    deepest_first: &[&Layer],
    window: Rect,
    y: i32,
) -> Vec<Change> {
    let mut changes = Vec::new();
    let (seen, clean) = (whole_row(plate, y, window), whole_row(background, y, window));
    let covered = deepest_first
        .iter()
        .filter(|layer| layer.data().y0 <= y && y < layer.data().y1);
    let (first, last) = covered.fold((window.x1, window.x0), |(first, last), layer| {
        (first.min(layer.data().x0), last.max(layer.data().x1))
    });
    let mut column = vec![TRANSPARENT; deepest_first.len()];
    let mut before = column.clone();
    for start in (window.x0..window.x1).step_by(RUN) {
        let run = start..(start + RUN as i32).min(window.x1);
        let at = (start - window.x0) as usize..(run.end - window.x0) as usize;
        let (seen, clean) = (&seen[at.clone()], &clean[at]);
        // Nearly all pixels of a large plate: nothing lies over them.
        if (run.end <= first || run.start >= last) && same_bits(seen, clean) {
            continue;
        }
        for ((x, &seen), &clean) in run.zip(seen).zip(clean) {
            for (pixel, layer) in before.iter_mut().zip(deepest_first) {
                *pixel = layer.get(x, y);
            }
            // And most of those within the layers' windows.
            if before.iter().all(|&pixel| pixel == TRANSPARENT) && same_bits(&[seen], &[clean]) {
                continue;
            }
            column.copy_from_slice(&before);
            let bottom = settle_pixel(seen, clean, &mut column);
            let pairs = std::iter::once((&clean, &bottom)).chain(before.iter().zip(&column));
            for (layer, (before, &pixel)) in pairs.enumerate() {
                if !same_bits(&[*before], &[pixel]) {
                    changes.push(Change { layer, x, y, pixel });
                }
            }
        }
    }
    changes
}

/// A row of a layer over the columns of a window, transparent where the layer does not reach.
fn whole_row(layer: &Layer, y: i32, window: Rect) -> Cow<'_, [Pixel]> {
    let (x0, own) = layer.span(y, window.x0, window.x1);
    if own.len() == window.width() {
        return Cow::Borrowed(own);
    }
    let mut row = vec![TRANSPARENT; window.width()];
    let start = (x0 - window.x0) as usize;
    row[start..start + own.len()].copy_from_slice(own);
    Cow::Owned(row)
}

fn same_bits(a: &[Pixel], b: &[Pixel]) -> bool {
    let pairs = a.as_flattened().iter().zip(b.as_flattened());
    pairs.fold(0, |off, (a, b)| off | (a.to_bits() ^ b.to_bits())) == 0
}

/// Solves one pixel of all layers, deepest first; returns the background's pixel.
///
/// A pixel that nothing touches keeps its `f32` bits; the others come back as halves.
fn settle_pixel(plate: Pixel, background: Pixel, layers: &mut [Pixel]) -> Pixel {
    for layer in layers.iter_mut() {
        *layer = exact::round(*layer);
        layer[3] = layer[3].clamp(0.0, 1.0);
        if !layer.iter().all(|c| c.is_finite()) {
            *layer = TRANSPARENT;
        }
    }
    let target = exact::round(plate);
    let halves = exact::round(background);
    let top = layers.iter().rposition(|&layer| layer != TRANSPARENT);
    if top.is_none() && halves.map(f32::to_bits) == target.map(f32::to_bits) {
        return background;
    }
    let keep_plate = |layers: &mut [Pixel]| {
        layers.fill(TRANSPARENT);
        plate
    };
    // Nothing has an effect, yet background and plate differ: the front-most layer has to take it.
    let Some(top) = top.or(layers.len().checked_sub(1)) else {
        return plate;
    };
    if !exact::is_finite(target) || !exact::is_finite(halves) {
        return keep_plate(layers);
    }

    let mut laid = Laid::bottom(halves);
    // What this step was given to peel: exact chains give it back when they are rounded at each step.
    let mut step = halves;
    for (k, layer) in layers.iter_mut().enumerate().take(top + 1) {
        if k < top && *layer == TRANSPARENT {
            continue;
        }
        step = if k == top {
            target
        } else {
            exact::round(Laid::bottom(step).over(*layer).value)
        };
        let over = laid.over(*layer);
        if over.rounds_to(step) {
            laid = over;
            continue;
        }
        match exact::is_finite(step)
            .then(|| exact::solve(step, &laid, layer[3]))
            .flatten()
        {
            Some((solved, over)) => (*layer, laid) = (solved, over),
            None => return keep_plate(layers),
        }
    }
    halves
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exact;
    use crate::f16;
    use crate::solver::noise::Noise;

    const SIDE: u32 = 24;

    /// Over, bottom to top, of halves, in three kinds of arithmetic; all rounded to half.
    fn flatten(stack: &Stack, x: i32, y: i32) -> [Pixel; 3] {
        let mut plain = TRANSPARENT;
        let mut fused = TRANSPARENT;
        let mut double = [0f64; 4];
        for named in &stack.layers {
            let layer = exact::round(named.layer.get(x, y));
            let q = 1.0 - layer[3];
            for c in 0..4 {
                plain[c] = layer[c] + plain[c] * q;
                fused[c] = fused[c].mul_add(q, layer[c]);
                double[c] = f64::from(layer[c]) + double[c] * (1.0 - f64::from(layer[3]));
            }
        }
        [
            exact::round(plain),
            exact::round(fused),
            double.map(|v| half::f16::from_f64(v).to_f32()),
        ]
    }

    fn assert_exact(plate: &Layer, stack: &Stack) {
        for y in plate.data().y0..plate.data().y1 {
            for x in plate.data().x0..plate.data().x1 {
                let target = exact::round(plate.get(x, y));
                for got in flatten(stack, x, y) {
                    let same = (0..4).all(|c| got[c] == target[c] || got[c].is_nan() && target[c].is_nan());
                    assert!(same, "({x}, {y}): {got:?} for {target:?}");
                }
            }
        }
    }

    fn wild(noise: &mut Noise) -> f32 {
        let size = match noise.below(8) {
            0 => 0.0,
            1 => 2f32.powi(noise.below(39) as i32 - 24),
            2 => noise.unit() * 6e-5,
            3 => noise.unit() * 60_000.0,
            _ => noise.unit(),
        };
        if noise.below(8) == 0 { -size } else { size }
    }

    fn wild_plate(noise: &mut Noise) -> Layer {
        let frame = Rect::of_size(SIDE, SIDE);
        Layer::from_fn(frame, frame, |_, _| [wild(noise), wild(noise), wild(noise), 1.0])
    }

    /// A chain of `n` steps of random backgrounds and alphas, each exact by itself.
    fn chain(plate: &Layer, n: usize, noise: &mut Noise) -> (Arc<Layer>, Vec<(String, Arc<Layer>)>) {
        let mut input = plate.clone();
        let mut foregrounds = Vec::new();
        for k in 0..n {
            let mut background = input.clone();
            let mut foreground = Layer::new(plate.display(), plate.data());
            for (b, f) in background.pixels_mut().iter_mut().zip(foreground.pixels_mut()) {
                if noise.below(3) > 0 {
                    let clean = std::array::from_fn(|c| {
                        if noise.below(2) == 0 {
                            b[c] * 1.3
                        } else {
                            wild(noise)
                        }
                    });
                    (*b, *f) = exact::split(*b, clean, noise.unit());
                }
            }
            foregrounds.push((format!("m{k}"), Arc::new(foreground)));
            input = background;
        }
        (Arc::new(input), foregrounds)
    }

    #[test]
    fn chains_of_up_to_eight_masks_are_exact() {
        let mut noise = Noise::new(11);
        for n in 1..=8 {
            for _ in 0..12 {
                let plate = wild_plate(&mut noise);
                let (background, foregrounds) = chain(&plate, n, &mut noise);
                let stack = settle(&plate, &background, &foregrounds).unwrap();
                assert_exact(&plate, &stack);
                assert_eq!(stack.layers.len(), n + 1);
                assert_eq!(stack.layers[n].name, "m0");
            }
        }
    }

    #[test]
    fn leaving_out_the_front_gives_the_steps_background() {
        let mut noise = Noise::new(12);
        let plate = wild_plate(&mut noise);
        let (background, foregrounds) = chain(&plate, 4, &mut noise);
        let mut stack = settle(&plate, &background, &foregrounds).unwrap();
        // The background that the first step left is the second step's plate.
        let (first, rest) = (&foregrounds[0].1, &foregrounds[1..]);
        let whole = settle(&plate, &background, rest).map(|_| ()).is_ok();
        assert!(whole);
        stack.layers.pop();
        let mut under = background.as_ref().clone();
        for (_, layer) in rest.iter().rev() {
            for (below, above) in under.pixels_mut().iter_mut().zip(layer.pixels()) {
                *below = exact::round(Laid::bottom(exact::round(*below)).over(*above).value);
            }
        }
        assert_exact(&under, &stack);
        assert_eq!(first.data(), plate.data());
    }

    #[test]
    fn layers_that_are_no_chain_are_made_exact() {
        let mut noise = Noise::new(13);
        let plate = wild_plate(&mut noise);
        let small = Rect::new(3, 4, 9, 11);
        let junk: Vec<_> = (0..3)
            .map(|k| {
                let layer = Layer::from_fn(plate.display(), small, |_, _| {
                    std::array::from_fn(|_| wild(&mut noise))
                });
                (format!("m{k}"), Arc::new(layer))
            })
            .collect();
        let background = Arc::new(wild_plate(&mut noise));
        assert_exact(&plate, &settle(&plate, &background, &junk).unwrap());
        assert_exact(&plate, &settle(&plate, &background, &[]).unwrap());
    }

    #[test]
    fn untouched_pixels_keep_their_bits_and_windows_are_tight() {
        let frame = Rect::of_size(6, 5);
        let plate = Layer::from_fn(frame, frame, |x, y| {
            [0.1 * x as f32, 1.0 / 3.0, f32::NAN * y as f32, 1.0]
        });
        let (empty, same) = (Arc::new(Layer::new(frame, frame)), Arc::new(plate.clone()));
        let stack = settle(&plate, &same, &[("m".to_owned(), empty)]).unwrap();
        assert!(Arc::ptr_eq(&same, &stack.layers[0].layer), "it is shared");
        let bits = |layer: &Layer| {
            layer
                .pixels()
                .iter()
                .map(|p| p.map(f32::to_bits))
                .collect::<Vec<_>>()
        };
        assert_eq!(bits(&stack.layers[0].layer), bits(&plate));
        assert!(stack.layers[1].layer.data().is_empty());
    }

    #[test]
    fn transparent_plates_are_exact_too() {
        let mut noise = Noise::new(14);
        let frame = Rect::of_size(SIDE, SIDE);
        let plate = Layer::from_fn(frame, frame, |_, _| {
            let a = if noise.below(4) == 0 { 1.0 } else { noise.unit() };
            [noise.unit() * a, noise.unit() * a, noise.unit() * a, a]
        });
        let (background, foregrounds) = chain(&plate, 5, &mut noise);
        let stack = settle(&plate, &background, &foregrounds).unwrap();
        assert_exact(&plate, &stack);
        assert_eq!(
            f16::round(stack.layers[0].layer.get(0, 0)[3]),
            stack.layers[0].layer.get(0, 0)[3]
        );
    }
}
