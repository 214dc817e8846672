//! Norms.

use half::bf16;

use super::{Activation, blocks, check, each, elementwise, int};
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

impl<C: Card> Modulation<'_, C> {
    /// The time's argument, and its stride, after looking at the sizes.
    pub(super) fn times(&self, what: &'static str, rows: usize) -> Result<(Argument<'_, C::Memory>, usize)> {
        let d = self.base.len() / 2;
        let Some((values, from, step)) = self.time else {
            return Ok((Argument::Null, 0));
        };
        let samples = rows.div_ceil(self.rows_of_sample).max(1);
        check(what, from + (samples - 1) * step + 2 * d <= values.len(), || {
            format!("times of {} for {samples} samples", values.len())
        })?;
        Ok((values.from(from)?, step))
    }
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
    let y = card.buffer(x.len())?;
    modulated(card, WHAT, (x, modulation, beside), vec![y.argument()], epsilon)?;
    Ok(y)
}

/// Starts a kernel that gives each warp a row of x. `behind` are the arguments behind x and what modulates it.
pub(super) fn modulated<C: Card>(
    card: &C,
    kernel: &'static str,
    (x, modulation, beside): (&Buffer<C, f32>, &Modulation<'_, C>, Option<usize>),
    behind: Vec<Argument<'_, C::Memory>>,
    epsilon: f32,
) -> Result<()> {
    let d = modulation.base.len() / 2;
    let rows = x.len() / d.max(1);
    let streams = beside.is_none_or(|b| b > 0 && rows.is_multiple_of(2 * b));
    check(kernel, streams, || {
        format!("{rows} rows are not two streams of {beside:?}")
    })?;
    let (time, stride) = modulation.times(kernel, rows)?;
    let mut arguments = vec![x.argument(), modulation.base.argument(), time];
    arguments.extend(behind);
    for v in [rows, d, modulation.rows_of_sample, stride, beside.unwrap_or(0)] {
        arguments.push(int(kernel, v)?);
    }
    arguments.push(Argument::Float(epsilon));
    card.launch(&Launch {
        kernel,
        grid: [blocks(kernel, rows.div_ceil(THREADS as usize / 32).max(1))?, 1, 1],
        threads: THREADS,
        shared: 0,
        arguments: &arguments,
    })
}

/// Takes the mean row off each segment of x, which is (segments, rows, features). It is its own backward pass.
///
/// # Errors
/// If sizes disagree, or the card fails.
pub fn less_means<C: Card>(
    card: &C,
    x: &Buffer<C, f32>,
    (segments, rows, features): (usize, usize, usize),
) -> Result<()> {
    const WHAT: &str = "less_means";
    check(
        WHAT,
        rows > 0 && features > 0 && x.len() == segments * rows * features,
        || {
            format!(
                "{} values are not {segments} segments of {rows} rows of {features}",
                x.len()
            )
        },
    )?;
    let mut arguments = vec![x.argument()];
    for v in [segments, rows, features] {
        arguments.push(int(WHAT, v)?);
    }
    each(card, WHAT, segments * features, &arguments)
}

/// A group norm with its affine part and what follows it.
#[derive(Debug)]
pub struct GroupNorm<'a, C: Card> {
    /// Pictures.
    pub samples: usize,
    /// Groups of channels.
    pub groups: usize,
    /// (channels)
    pub weight: &'a Buffer<C, f32>,
    /// (channels)
    pub bias: &'a Buffer<C, f32>,
    /// Added to the variance.
    pub epsilon: f32,
    /// What follows.
    pub activation: Activation,
}

impl<C: Card> GroupNorm<'_, C> {
    /// Pixels of a picture, after looking at the sizes.
    pub(super) fn pixels(&self, what: &'static str, x: &Buffer<C, bf16>) -> Result<usize> {
        let (samples, groups, c) = (self.samples, self.groups, self.weight.len());
        let fits = samples > 0 && c > 0 && x.len().is_multiple_of(samples * c) && self.bias.len() == c;
        check(what, fits, || {
            format!("{} values are not {samples} pictures of {c} channels", x.len())
        })?;
        check(what, groups > 0 && c.is_multiple_of(groups), || {
            format!("{c} channels in {groups} groups")
        })?;
        Ok(x.len() / samples / c)
    }
}

/// Parts of a group's pixels whose moments are taken on their own.
pub(super) fn parts(pixels: usize) -> usize {
    pixels.div_ceil(PIXELS_OF_PART).clamp(1, MOST_PARTS)
}

/// `activation(groupnorm(x) weight + bias)` in place; `x` is (samples, pixels, channels).
///
/// # Errors
/// If sizes disagree, or the card fails.
pub fn group_norm<C: Card>(card: &C, x: &Buffer<C, bf16>, norm: &GroupNorm<'_, C>) -> Result<()> {
    grouped(card, x, x, norm).map(drop)
}

/// As [`group_norm`], beside `x`, with the moments of its groups, for the backward pass.
///
/// # Errors
/// As [`group_norm`].
pub fn group_norm_kept<C: Card>(
    card: &C,
    x: &Buffer<C, bf16>,
    norm: &GroupNorm<'_, C>,
) -> Result<(Buffer<C, bf16>, Buffer<C, f32>)> {
    let y = card.buffer(x.len())?;
    let moments = grouped(card, x, &y, norm)?;
    Ok((y, moments))
}

fn grouped<C: Card>(
    card: &C,
    x: &Buffer<C, bf16>,
    y: &Buffer<C, bf16>,
    norm: &GroupNorm<'_, C>,
) -> Result<Buffer<C, f32>> {
    const WHAT: &str = "group_norm";
    let pixels = norm.pixels(WHAT, x)?;
    let (samples, groups, c) = (norm.samples, norm.groups, norm.weight.len());
    let parts = parts(pixels);
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
            y.argument(),
            moments.argument(),
            norm.weight.argument(),
            norm.bias.argument(),
            int(WHAT, pixels)?,
            int(WHAT, c)?,
            int(WHAT, groups)?,
            int(WHAT, parts)?,
            Argument::Float(norm.epsilon),
            Argument::Int(norm.activation as i32),
        ],
    })?;
    Ok(moments)
}
