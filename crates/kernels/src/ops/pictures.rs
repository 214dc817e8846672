//! Pictures to tokens and back, the samplers' updates.

use bytemuck::Pod;
use half::bf16;

use super::{blocks, check, each, int};
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
}

/// Planes to tokens (pictures, rows columns, channels patch patch), times `scale` plus `offset`.
///
/// # Errors
/// If sizes disagree, or the card fails.
pub fn patchify<C: Card>(
    card: &C,
    x: &Buffer<C, f32>,
    layout: Layout,
    scale_offset: (f32, f32),
) -> Result<Buffer<C, bf16>> {
    rearranged(card, "patchify", x, layout, scale_offset)
}

/// The inverse of [`patchify`], from f32.
///
/// # Errors
/// If sizes disagree, or the card fails.
pub fn unpatchify<C: Card>(
    card: &C,
    tokens: &Buffer<C, f32>,
    layout: Layout,
    scale_offset: (f32, f32),
) -> Result<Buffer<C, f32>> {
    rearranged(card, "unpatchify", tokens, layout, scale_offset)
}

fn rearranged<C: Card, T: Pod>(
    card: &C,
    kernel: &'static str,
    from: &Buffer<C, f32>,
    layout: Layout,
    (scale, offset): (f32, f32),
) -> Result<Buffer<C, T>> {
    let count = layout.count(kernel)?;
    check(kernel, from.len() == count, || {
        format!("{} values are not {count}", from.len())
    })?;
    let to = card.buffer(count)?;
    let (h, w) = layout.size;
    let mut arguments = vec![from.argument(), to.argument()];
    for v in [layout.pictures, layout.channels, h, w, layout.patch] {
        arguments.push(int(kernel, v)?);
    }
    arguments.extend([Argument::Float(scale), Argument::Float(offset)]);
    each(card, kernel, count, &arguments)?;
    Ok(to)
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
    each(card, WHAT, count, &arguments)?;
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
    each(card, WHAT, count, &arguments)?;
    Ok(y)
}

/// `a + b`, in bf16.
///
/// # Errors
/// If sizes disagree, or the card fails.
pub fn add_pictures<C: Card>(card: &C, a: &Buffer<C, bf16>, b: &Buffer<C, bf16>) -> Result<Buffer<C, bf16>> {
    const WHAT: &str = "add_pictures";
    check(WHAT, a.len() == b.len(), || {
        format!("{} and {} values", a.len(), b.len())
    })?;
    let y = card.buffer(a.len())?;
    let arguments = [a.argument(), b.argument(), y.argument(), int(WHAT, a.len())?];
    each(card, WHAT, a.len(), &arguments)?;
    Ok(y)
}

/// Rows of a softmax over `n` numbers: how many there are, each filled up to a multiple of 8, and how long they are then.
fn softmax_sizes(what: &'static str, len: usize, n: usize) -> Result<(usize, usize)> {
    let stride = n.next_multiple_of(8);
    check(what, n > 0 && len > 0 && len.is_multiple_of(stride), || {
        format!("{len} values are no rows of {n}, filled up to {stride}")
    })?;
    Ok((len / stride, stride))
}

/// Starts a kernel with a block a row.
fn each_row<C: Card>(
    card: &C,
    kernel: &'static str,
    rows: usize,
    arguments: &[Argument<'_, C::Memory>],
) -> Result<()> {
    const BLOCK: usize = 128;
    card.launch(&Launch {
        kernel,
        grid: [blocks(kernel, rows)?, 1, 1],
        threads: BLOCK as u32,
        shared: BLOCK / 32 * 4,
        arguments,
    })
}

/// `softmax(x scale)` over rows of `n`, in bf16. Rows are filled up to a multiple of 8: what `x` has there does not count, the result has
/// zeros.
///
/// # Errors
/// If sizes disagree, or the card fails.
pub fn softmax_rows<C: Card>(card: &C, x: &Buffer<C, f32>, n: usize, scale: f32) -> Result<Buffer<C, bf16>> {
    const WHAT: &str = "softmax_rows";
    let (rows, stride) = softmax_sizes(WHAT, x.len(), n)?;
    let y = card.buffer(x.len())?;
    let arguments = [
        x.argument(),
        y.argument(),
        int(WHAT, n)?,
        int(WHAT, stride)?,
        Argument::Float(scale),
    ];
    each_row(card, WHAT, rows, &arguments)?;
    Ok(y)
}

/// Slopes of [`softmax_rows`]'s `x`, in bf16, from those of its result `y`.
///
/// # Errors
/// If sizes disagree, or the card fails.
pub fn softmax_rows_back<C: Card>(
    card: &C,
    y: &Buffer<C, bf16>,
    slopes: &Buffer<C, f32>,
    n: usize,
    scale: f32,
) -> Result<Buffer<C, bf16>> {
    const WHAT: &str = "softmax_rows_back";
    let (rows, stride) = softmax_sizes(WHAT, y.len(), n)?;
    check(WHAT, slopes.len() == y.len(), || {
        format!("{} slopes of {} values", slopes.len(), y.len())
    })?;
    let dx = card.buffer(y.len())?;
    let arguments = [
        y.argument(),
        slopes.argument(),
        dx.argument(),
        int(WHAT, stride)?,
        Argument::Float(scale),
    ];
    each_row(card, WHAT, rows, &arguments)?;
    Ok(dx)
}

/// Channels of what a refiner sees, filled up to what a card's convolution takes.
pub const REFINER_INPUTS: usize = 16;

/// What a refiner sees, (pictures, H, W, [`REFINER_INPUTS`]), and the up-sampled alpha, (pictures, H, W): plate and mask have planes of
/// `scale` times the size of background and foreground.
///
/// # Errors
/// If sizes disagree, or the card fails.
#[allow(clippy::type_complexity, reason = "two buffers")]
pub fn refiner_inputs<C: Card>(
    card: &C,
    [plate, mask]: [&Buffer<C, f32>; 2],
    [background, foreground]: [&Buffer<C, f32>; 2],
    (pictures, h, w): (usize, usize, usize),
    scale: usize,
) -> Result<(Buffer<C, bf16>, Buffer<C, f32>)> {
    const WHAT: &str = "refiner_inputs";
    let (small, all) = (pictures * h * w, pictures * h * w * scale * scale);
    let fits = all > 0 && plate.len() == 3 * all && mask.len() == all;
    let fits = fits && background.len() == 3 * small && foreground.len() == 4 * small;
    check(WHAT, fits, || {
        format!(
            "{} and {} values for {pictures} pictures of {h}x{w} by {scale}",
            plate.len(),
            background.len()
        )
    })?;
    let (inputs, alpha) = (card.buffer(all * REFINER_INPUTS)?, card.buffer(all)?);
    let mut arguments = vec![
        plate.argument(),
        mask.argument(),
        background.argument(),
        foreground.argument(),
        inputs.argument(),
        alpha.argument(),
    ];
    for v in [pictures, h, w, scale, REFINER_INPUTS] {
        arguments.push(int(WHAT, v)?);
    }
    each(card, WHAT, all, &arguments)?;
    Ok((inputs, alpha))
}
