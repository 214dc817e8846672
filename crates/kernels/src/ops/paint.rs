//! The plate before and after the model. What these kernels have to give is the plate's own solver (`crates/plate`), whose tests compare
//! the two.

use super::{Light, blocks, check, each, int};
use crate::card::{Argument, Buffer, Card, Launch, Result};

/// A plate's window on a card and the size at which the model sees it. It has `model.0 factor` by `model.1 factor` pixels, of which the
/// first `width` by `height` exist; past them the plate is mirrored.
#[derive(Debug)]
pub struct Window<'a, C: Card> {
    /// The pixels that exist, (height, width, 4), premultiplied scene-linear.
    pub plate: &'a Buffer<C, f32>,
    /// Columns that exist.
    pub width: usize,
    /// Rows that exist.
    pub height: usize,
    /// Columns and rows at the model's size.
    pub model: (usize, usize),
    /// Pixels to a model pixel, along either axis.
    pub factor: usize,
    /// How light is shown to the model.
    pub light: Light,
}

impl<C: Card> Window<'_, C> {
    fn check(&self, what: &'static str) -> Result<()> {
        let (w, h) = (self.model.0 * self.factor, self.model.1 * self.factor);
        let fits = self.plate.len() == 4 * self.width * self.height
            && (1..=w).contains(&self.width)
            && (1..=h).contains(&self.height);
        check(what, fits, || {
            format!(
                "{} values, {}x{} pixels of a window of {w}x{h}",
                self.plate.len(),
                self.width,
                self.height
            )
        })
    }

    /// Pixels at the model's size.
    fn cells(&self) -> usize {
        self.model.0 * self.model.1
    }

    fn sizes<M>(&self, what: &'static str) -> Result<Vec<Argument<'static, M>>> {
        [self.width, self.height, self.model.0, self.model.1, self.factor]
            .into_iter()
            .map(|v| int(what, v))
            .collect()
    }
}

/// For each model pixel the sums of red, green and blue as the model is shown them, of green squared, and of the pixels that
/// count: those that half can hold. (cells, 5).
///
/// # Errors
/// If sizes disagree, or the card fails.
pub fn view<C: Card>(card: &C, window: &Window<'_, C>) -> Result<Buffer<C, f32>> {
    const WHAT: &str = "view";
    const THREADS: usize = 128;
    window.check(WHAT)?;
    let sums = card.buffer(5 * window.cells())?;
    let mut arguments = vec![window.plate.argument(), sums.argument()];
    arguments.extend(window.sizes(WHAT)?);
    arguments.extend([
        Argument::Float(window.light.exposure),
        Argument::Float(window.light.white),
    ]);
    card.launch(&Launch {
        kernel: WHAT,
        grid: [blocks(WHAT, window.cells().div_ceil(THREADS / 32))?, 1, 1],
        threads: THREADS as u32,
        shared: 0,
        arguments: &arguments,
    })?;
    Ok(sums)
}

/// Planes at the model's size that [`paint`] takes, in this order: strength, transmittance (3), added light (3), base (3), the object's alpha,
/// trust, edge, the object's colour (3), lost, and of the texture weight, gain and what is below it (3).
pub const PLANES: usize = 22;

/// What was settled at the model's size, and where the matte is.
#[derive(Debug)]
pub struct Settled<'a, C: Card> {
    /// See [`PLANES`], (PLANES, cells).
    pub planes: &'a Buffer<C, f32>,
    /// Columns and rows to the texture of each model pixel, (cells, 2).
    pub offsets: Option<&'a Buffer<C, i32>>,
    /// Distance to the matte, over the whole window.
    pub near: &'a Buffer<C, f32>,
    /// The matte, 0 to 1, over the whole window.
    pub matte: &'a Buffer<C, f32>,
    /// How far the solver goes: 0 plain, 1 gate, 2 unshadow, 3 seam, 4 detail.
    pub quality: usize,
    /// Distance that the hole reaches from the matte, in pixels.
    pub reach: f32,
    /// Width of the hole's soft edge, in pixels.
    pub fade: f32,
    /// Strength at which an effect begins to count; entirely at three times that.
    pub threshold: f32,
    /// How hard the matte's edge is, 0 to 1.
    pub hardness: f32,
}

/// Background and foreground of the window's existing pixels, (height, width, 4) each, in halves wherever the foreground is not 0;
/// foreground over background rounds to the plate's half.
///
/// # Errors
/// If sizes disagree, or the card fails.
pub fn paint<C: Card>(
    card: &C,
    window: &Window<'_, C>,
    settled: &Settled<'_, C>,
) -> Result<[Buffer<C, f32>; 2]> {
    const WHAT: &str = "paint";
    window.check(WHAT)?;
    let cells = window.cells();
    let pixels = cells * window.factor * window.factor;
    let fits = settled.planes.len() == PLANES * cells
        && settled.offsets.is_none_or(|offsets| offsets.len() == 2 * cells)
        && [settled.near, settled.matte]
            .iter()
            .all(|plane| plane.len() == pixels);
    check(WHAT, fits, || {
        format!(
            "{} values of planes for {cells} model pixels",
            settled.planes.len()
        )
    })?;
    let all = window.width * window.height;
    let layers = [card.buffer(4 * all)?, card.buffer(4 * all)?];
    let mut arguments = vec![
        window.plate.argument(),
        settled.planes.argument(),
        settled.offsets.map_or(Argument::Null, Buffer::argument),
        settled.near.argument(),
        settled.matte.argument(),
        layers[0].argument(),
        layers[1].argument(),
    ];
    arguments.extend(window.sizes(WHAT)?);
    arguments.push(int(WHAT, settled.quality)?);
    let floats = [
        settled.reach,
        settled.fade,
        settled.threshold,
        settled.hardness,
        window.light.exposure,
        window.light.white,
    ];
    arguments.extend(floats.map(Argument::Float));
    each(card, WHAT, all, &arguments)?;
    Ok(layers)
}
