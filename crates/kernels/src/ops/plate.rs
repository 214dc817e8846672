//! The plate's full-resolution passes.

use super::{check, each, int};
use crate::card::{Argument, Buffer, Card, Result};

/// How a plate's light is shown to the model: see the plate's own description of the curve.
#[derive(Debug, Clone, Copy)]
pub struct Light {
    /// Factor on linear values.
    pub exposure: f32,
    /// Encoded value of exposed linear 1.
    pub white: f32,
}

fn curve<C: Card>(
    card: &C,
    kernel: &'static str,
    x: &Buffer<C, f32>,
    light: Light,
) -> Result<Buffer<C, f32>> {
    let y = card.buffer(x.len())?;
    each(
        card,
        kernel,
        x.len(),
        &[
            x.argument(),
            y.argument(),
            int(kernel, x.len())?,
            Argument::Float(light.exposure),
            Argument::Float(light.white),
        ],
    )?;
    Ok(y)
}

/// Linear light to the model's.
///
/// # Errors
/// If the card fails.
pub fn encode<C: Card>(card: &C, linear: &Buffer<C, f32>, light: Light) -> Result<Buffer<C, f32>> {
    curve(card, "light_encode", linear, light)
}

/// The model's light to linear.
///
/// # Errors
/// If the card fails.
pub fn decode<C: Card>(card: &C, encoded: &Buffer<C, f32>, light: Light) -> Result<Buffer<C, f32>> {
    curve(card, "light_decode", encoded, light)
}

/// The background that a plate shows under an effect: encoded plate, transmittance, the effect's own light (linear) and its gate, each
/// one number a channel; the transmittance counts as `1 - most` at least.
///
/// # Errors
/// If sizes disagree, or the card fails.
pub fn unshadow<C: Card>(
    card: &C,
    [plate, transmittance, own, gate]: [&Buffer<C, f32>; 4],
    most: f32,
    light: Light,
) -> Result<Buffer<C, f32>> {
    const WHAT: &str = "unshadow";
    let count = plate.len();
    let fits = [transmittance, own, gate].iter().all(|b| b.len() == count);
    check(WHAT, fits, || "channels of different sizes".into())?;
    let y = card.buffer(count)?;
    each(
        card,
        WHAT,
        count,
        &[
            plate.argument(),
            transmittance.argument(),
            own.argument(),
            gate.argument(),
            y.argument(),
            int(WHAT, count)?,
            Argument::Float(most),
            Argument::Float(light.exposure),
            Argument::Float(light.white),
        ],
    )?;
    Ok(y)
}

/// `top + (1 - top alpha) bottom` over premultiplied RGBA pixels.
///
/// # Errors
/// If sizes disagree, or the card fails.
pub fn over<C: Card>(card: &C, top: &Buffer<C, f32>, bottom: &Buffer<C, f32>) -> Result<Buffer<C, f32>> {
    const WHAT: &str = "over";
    let fits = top.len() == bottom.len() && top.len().is_multiple_of(4);
    check(WHAT, fits, || {
        format!("{} values over {}", top.len(), bottom.len())
    })?;
    let y = card.buffer(top.len())?;
    each(
        card,
        WHAT,
        top.len(),
        &[
            top.argument(),
            bottom.argument(),
            y.argument(),
            int(WHAT, top.len() / 4)?,
        ],
    )?;
    Ok(y)
}

/// Background and foreground in halves such that foreground over background rounds to the plate's half. `plate` is RGBA, `clean` RGB,
/// `alpha` one a pixel.
///
/// # Errors
/// If sizes disagree, or the card fails.
#[allow(clippy::type_complexity, reason = "two layers")]
pub fn recompose<C: Card>(
    card: &C,
    plate: &Buffer<C, f32>,
    clean: &Buffer<C, f32>,
    alpha: &Buffer<C, f32>,
) -> Result<(Buffer<C, f32>, Buffer<C, f32>)> {
    const WHAT: &str = "recompose";
    let pixels = alpha.len();
    let fits = plate.len() == 4 * pixels && clean.len() == 3 * pixels;
    check(WHAT, fits, || {
        format!("{} and {} values for {pixels} pixels", plate.len(), clean.len())
    })?;
    let (background, foreground) = (card.buffer(4 * pixels)?, card.buffer(4 * pixels)?);
    each(
        card,
        WHAT,
        pixels,
        &[
            plate.argument(),
            clean.argument(),
            alpha.argument(),
            background.argument(),
            foreground.argument(),
            int(WHAT, pixels)?,
        ],
    )?;
    Ok((background, foreground))
}
