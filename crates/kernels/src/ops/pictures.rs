//! Pictures to tokens and back, the samplers' updates, the consistency loss.

use half::bf16;

use super::{check, elementwise, int};
use crate::card::{Argument, Buffer, Card, Launch, Result};

/// Sizes of a set of pictures in planes, cut into patches.
#[derive(Debug, Clone, Copy)]
pub struct Layout {
    /// Pictures.
    pub pictures: usize,
    /// Channels.
    pub channels: usize,
    /// Height and width: multiples of the patch.
    pub size: (usize, usize),
    /// Side of a patch.
    pub patch: usize,
}

impl Layout {
    fn count(&self, what: &'static str) -> Result<usize> {
        let (h, w) = self.size;
        let fits = self.patch > 0 && h.is_multiple_of(self.patch) && w.is_multiple_of(self.patch);
        check(what, fits, || format!("{h}x{w} in patches of {}", self.patch))?;
        Ok(self.pictures * self.channels * h * w)
    }

    fn arguments<M>(&self, what: &'static str, scale: f32, offset: f32) -> Result<Vec<Argument<'static, M>>> {
        let (h, w) = self.size;
        let mut arguments = Vec::new();
        for v in [self.pictures, self.channels, h, w, self.patch] {
            arguments.push(int(what, v)?);
        }
        arguments.extend([Argument::Float(scale), Argument::Float(offset)]);
        Ok(arguments)
    }
}

/// Threads of an elementwise launch.
const THREADS: u32 = super::THREADS as u32;

/// Planes to tokens (pictures, rows columns, channels patch patch), times `scale` plus `offset`.
///
/// # Errors
/// If sizes disagree, or the card fails.
pub fn patchify<C: Card>(
    card: &C,
    x: &Buffer<C, f32>,
    layout: Layout,
    (scale, offset): (f32, f32),
) -> Result<Buffer<C, bf16>> {
    const WHAT: &str = "patchify";
    let count = layout.count(WHAT)?;
    check(WHAT, x.len() == count, || {
        format!("{} values are not {count}", x.len())
    })?;
    let tokens = card.buffer(count)?;
    let mut arguments = vec![x.argument(), tokens.argument()];
    arguments.extend(layout.arguments(WHAT, scale, offset)?);
    card.launch(&Launch {
        kernel: WHAT,
        grid: elementwise(count),
        threads: THREADS,
        shared: 0,
        arguments: &arguments,
    })?;
    Ok(tokens)
}

/// The inverse of [`patchify`], from f32.
///
/// # Errors
/// If sizes disagree, or the card fails.
pub fn unpatchify<C: Card>(
    card: &C,
    tokens: &Buffer<C, f32>,
    layout: Layout,
    (scale, offset): (f32, f32),
) -> Result<Buffer<C, f32>> {
    const WHAT: &str = "unpatchify";
    let count = layout.count(WHAT)?;
    check(WHAT, tokens.len() == count, || {
        format!("{} values are not {count}", tokens.len())
    })?;
    let x = card.buffer(count)?;
    let mut arguments = vec![tokens.argument(), x.argument()];
    arguments.extend(layout.arguments(WHAT, scale, offset)?);
    card.launch(&Launch {
        kernel: WHAT,
        grid: elementwise(count),
        threads: THREADS,
        shared: 0,
        arguments: &arguments,
    })?;
    Ok(x)
}

/// Channels `first..first + channels` of channels-last `x` (pictures, pixels, stride) as planes (pictures, channels, pixels), with
/// `base` added.
///
/// # Errors
/// If sizes disagree, or the card fails.
pub fn planes<C: Card>(
    card: &C,
    x: &Buffer<C, f32>,
    (pictures, pixels, stride): (usize, usize, usize),
    (first, channels): (usize, usize),
    base: Option<&Buffer<C, f32>>,
) -> Result<Buffer<C, f32>> {
    const WHAT: &str = "planes";
    let count = pictures * channels * pixels;
    let fits = x.len() == pictures * pixels * stride && first + channels <= stride;
    check(WHAT, fits && base.is_none_or(|b| b.len() == count), || {
        format!("{} values, base of {:?}", x.len(), base.map(Buffer::len))
    })?;
    let y = card.buffer(count)?;
    let mut arguments = vec![
        x.argument(),
        base.map_or(Argument::Null, Buffer::argument),
        y.argument(),
    ];
    for v in [pictures, pixels, stride, first, channels] {
        arguments.push(int(WHAT, v)?);
    }
    card.launch(&Launch {
        kernel: WHAT,
        grid: elementwise(count),
        threads: THREADS,
        shared: 0,
        arguments: &arguments,
    })?;
    Ok(y)
}

/// The sum of one to four buffers, each times a factor, from left to right: any update of the samplers.
///
/// # Errors
/// If sizes or the number of terms do not fit, or the card fails.
pub fn combine<C: Card>(card: &C, terms: &[(f32, &Buffer<C, f32>)]) -> Result<Buffer<C, f32>> {
    const WHAT: &str = "combine";
    let count = terms.first().map_or(0, |(_, x)| x.len());
    let fits = (1..=4).contains(&terms.len()) && terms.iter().all(|(_, x)| x.len() == count);
    check(WHAT, fits, || {
        format!("{} terms, or of different sizes", terms.len())
    })?;
    let y = card.buffer(count)?;
    let mut arguments: Vec<Argument<'_, C::Memory>> = (0..4)
        .map(|i| terms.get(i).map_or(Argument::Null, |(_, x)| x.argument()))
        .collect();
    arguments.extend([y.argument(), int(WHAT, count)?]);
    arguments.extend((0..4).map(|i| Argument::Float(terms.get(i).map_or(0.0, |t| t.0))));
    card.launch(&Launch {
        kernel: WHAT,
        grid: elementwise(count),
        threads: THREADS,
        shared: 0,
        arguments: &arguments,
    })?;
    Ok(y)
}

/// `Σ |F rgb + (1 - F a) B - C|`, and its gradients by B and F times `scale`. `background` and `plate` are (pictures, 3, pixels),
/// `foreground` (pictures, 4, pixels), premultiplied.
///
/// # Errors
/// If sizes disagree, or the card fails.
#[allow(clippy::type_complexity, reason = "a sum and two gradients")]
pub fn consistency<C: Card>(
    card: &C,
    [background, foreground, plate]: [&Buffer<C, f32>; 3],
    (pictures, pixels): (usize, usize),
    scale: f32,
) -> Result<(f32, Buffer<C, f32>, Buffer<C, f32>)> {
    const WHAT: &str = "consistency";
    const BLOCK: usize = 128;
    let all = pictures * pixels;
    let fits = background.len() == 3 * all && plate.len() == 3 * all && foreground.len() == 4 * all;
    check(WHAT, fits, || {
        format!(
            "{} and {} values for {all} pixels",
            background.len(),
            foreground.len()
        )
    })?;
    let (by_background, by_foreground) = (card.buffer(3 * all)?, card.buffer(4 * all)?);
    let grid = [all.div_ceil(BLOCK).clamp(1, 1024) as u32, 1, 1];
    let sums = card.buffer::<f32>(grid[0] as usize)?;
    card.launch(&Launch {
        kernel: WHAT,
        grid,
        threads: BLOCK as u32,
        shared: BLOCK / 32 * 4,
        arguments: &[
            background.argument(),
            foreground.argument(),
            plate.argument(),
            by_background.argument(),
            by_foreground.argument(),
            sums.argument(),
            int(WHAT, pictures)?,
            int(WHAT, pixels)?,
            Argument::Float(scale),
        ],
    })?;
    let sum = card.get(&sums)?.iter().map(|v| f64::from(*v)).sum::<f64>();
    Ok((sum as f32, by_background, by_foreground))
}
