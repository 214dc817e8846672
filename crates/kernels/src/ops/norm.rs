//! Norms.

use half::bf16;

use super::{Activation, blocks, check, elementwise, int};
use crate::card::{Argument, Buffer, Card, Launch, Result};

const THREADS: u32 = 128;
/// Pixels that one block sums up, about; and most parts that every block then puts together.
const PIXELS_OF_PART: usize = 1024;
const MOST_PARTS: usize = 64;

/// Shift and scale of a norm: learned ones, and a time's, sample by sample.
#[derive(Debug)]
pub struct Modulation<'a, C: Card> {
    /// (2, features): shift, scale.
    pub base: &'a Buffer<C, f32>,
    /// Values, where the first sample's shift begins (its scale follows), and how far the next one's is from it.
    pub time: Option<(&'a Buffer<C, f32>, usize, usize)>,
    /// Rows of a sample.
    pub rows_of_sample: usize,
}

/// `(x - mean) / sd (1 + scale) + shift` over rows of `x`, which is (rows, features). With `beside`, a sample has two streams of that
/// many rows, and the result has them side by side: (samples, beside, 2 features).
///
/// # Errors
/// If sizes disagree, or the card fails.
pub fn norm_modulate<C: Card>(
    card: &C,
    x: &Buffer<C, f32>,
    modulation: &Modulation<'_, C>,
    beside: Option<usize>,
    epsilon: f32,
) -> Result<Buffer<C, bf16>> {
    const WHAT: &str = "norm_modulate";
    let d = modulation.base.len() / 2;
    check(
        WHAT,
        d > 0 && x.len().is_multiple_of(d) && modulation.rows_of_sample > 0,
        || format!("{} values are no rows of {d}", x.len()),
    )?;
    let rows = x.len() / d;
    check(
        WHAT,
        beside.is_none_or(|b| b > 0 && rows.is_multiple_of(2 * b)),
        || format!("{rows} rows are not two streams of {beside:?}"),
    )?;
    let (mut time, mut stride) = (Argument::Null, 0);
    if let Some((values, from, step)) = modulation.time {
        let samples = rows.div_ceil(modulation.rows_of_sample).max(1);
        check(WHAT, from + (samples - 1) * step + 2 * d <= values.len(), || {
            format!("times of {} for {samples} samples", values.len())
        })?;
        time = values.from(from)?;
        stride = step;
    }
    let y = card.buffer(x.len())?;
    card.launch(&Launch {
        kernel: "norm_modulate",
        grid: [blocks(WHAT, rows.div_ceil(THREADS as usize / 32).max(1))?, 1, 1],
        threads: THREADS,
        shared: 0,
        arguments: &[
            x.argument(),
            modulation.base.argument(),
            time,
            y.argument(),
            int(WHAT, rows)?,
            int(WHAT, d)?,
            int(WHAT, modulation.rows_of_sample)?,
            int(WHAT, stride)?,
            int(WHAT, beside.unwrap_or(0))?,
            Argument::Float(epsilon),
        ],
    })?;
    Ok(y)
}

/// `activation(groupnorm(x) weight + bias)` in place; `x` is (samples, pixels, channels). Channels of `weight` are those of `x`.
///
/// # Errors
/// If sizes disagree, or the card fails.
pub fn group_norm<C: Card>(
    card: &C,
    x: &Buffer<C, bf16>,
    (samples, groups): (usize, usize),
    (weight, bias): (&Buffer<C, f32>, &Buffer<C, f32>),
    epsilon: f32,
    activation: Activation,
) -> Result<()> {
    const WHAT: &str = "group_norm";
    let c = weight.len();
    let fits = samples > 0 && c > 0 && x.len().is_multiple_of(samples * c) && bias.len() == c;
    check(WHAT, fits, || {
        format!("{} values are not {samples} pictures of {c} channels", x.len())
    })?;
    check(WHAT, groups > 0 && c.is_multiple_of(groups), || {
        format!("{c} channels in {groups} groups")
    })?;
    let pixels = x.len() / samples / c;
    let parts = pixels.div_ceil(PIXELS_OF_PART).clamp(1, MOST_PARTS);
    let moments = card.buffer::<f32>(samples * groups * parts * 2)?;
    let (groups_z, samples_z) = (blocks(WHAT, groups)?, blocks(WHAT, samples)?);
    card.launch(&Launch {
        kernel: "group_moments",
        grid: [blocks(WHAT, parts)?, groups_z, samples_z],
        threads: THREADS,
        shared: THREADS as usize / 32 * 4,
        arguments: &[
            x.argument(),
            moments.argument(),
            int(WHAT, pixels)?,
            int(WHAT, c)?,
            int(WHAT, groups)?,
        ],
    })?;
    card.launch(&Launch {
        kernel: "group_norm_silu",
        grid: [elementwise(pixels * c / groups)[0].min(256), groups_z, samples_z],
        threads: THREADS,
        shared: 0,
        arguments: &[
            x.argument(),
            moments.argument(),
            weight.argument(),
            bias.argument(),
            int(WHAT, pixels)?,
            int(WHAT, c)?,
            int(WHAT, groups)?,
            int(WHAT, parts)?,
            Argument::Float(epsilon),
            Argument::Int(activation as i32),
        ],
    })
}
