//! Linear layers and convolutions: the matrix product of `cu/gemm.cuh` with what comes before and after it.

use half::bf16;

use super::{Activation, blocks, check, int};
use crate::card::{Argument, Buffer, Card, Launch, Result};

pub(super) const THREADS: u32 = 128;
const TILE: usize = 64;
/// Two tiles of 64 rows, 32 numbers and 8 of padding each, two bytes a number.
pub(super) const SHARED: usize = 2 * TILE * (32 + 8) * 2;

/// A layer's weight `(outputs, inputs)` with its bias `(outputs)`.
#[derive(Debug)]
pub struct Weight<C: Card> {
    /// In bf16, or whole numbers with 128 as zero and a scale for each output.
    pub values: Values<C>,
    /// One for each output.
    pub bias: Buffer<C, f32>,
}

/// See [`Weight`].
#[derive(Debug)]
pub enum Values<C: Card> {
    /// Half the bits of f32.
    Bf16(Buffer<C, bf16>),
    /// A quarter.
    Int8(Buffer<C, u8>, Buffer<C, f32>),
}

impl<C: Card> Weight<C> {
    /// Numbers of an output row.
    pub(super) fn inputs(&self) -> usize {
        let all = match &self.values {
            Values::Bf16(w) => w.len(),
            Values::Int8(w, _) => w.len(),
        };
        all / self.bias.len().max(1)
    }

    fn check(&self, what: &'static str, x: usize, rows: usize) -> Result<(usize, usize)> {
        let (n, k) = (self.bias.len(), self.inputs());
        let (all, scales) = match &self.values {
            Values::Bf16(w) => (w.len(), n),
            Values::Int8(w, scale) => (w.len(), scale.len()),
        };
        check(what, n > 0 && k > 0 && all == n * k && scales == n, || {
            format!("{all} weights and {scales} scales for {n} outputs")
        })?;
        check(what, k.is_multiple_of(8), || {
            format!("{k} inputs; a card takes a multiple of 8")
        })?;
        check(what, x == rows * k, || {
            format!("{x} values are not {rows} rows of {k}")
        })?;
        Ok((n, k))
    }
}

pub(super) fn grid(what: &'static str, m: usize, n: usize) -> Result<[u32; 3]> {
    let rows = m.div_ceil(TILE);
    check(what, rows <= 65535, || {
        format!("{m} rows are more than one launch takes")
    })?;
    Ok([blocks(what, n.div_ceil(TILE))?, rows as u32, 1])
}

/// `activation(x Wᵀ + b)`: `x` is (rows, inputs), the result (rows, outputs).
///
/// # Errors
/// If sizes disagree, or the card fails.
pub fn linear<C: Card>(
    card: &C,
    x: &Buffer<C, bf16>,
    rows: usize,
    weight: &Weight<C>,
    activation: Activation,
) -> Result<Buffer<C, bf16>> {
    let y = card.buffer(rows * weight.bias.len())?;
    linear_into(card, x, rows, weight, activation, &y)?;
    Ok(y)
}

/// As [`linear`], into the first rows of a buffer.
///
/// # Errors
/// If sizes disagree, or the card fails.
pub fn linear_into<C: Card>(
    card: &C,
    x: &Buffer<C, bf16>,
    rows: usize,
    weight: &Weight<C>,
    activation: Activation,
    y: &Buffer<C, bf16>,
) -> Result<()> {
    const WHAT: &str = "linear";
    let (n, k) = weight.check(WHAT, x.len(), rows)?;
    check(WHAT, rows * n <= y.len(), || {
        format!("{rows} rows of {n} into {} values", y.len())
    })?;
    let (kernel, mut arguments) = match &weight.values {
        Values::Bf16(w) => ("linear_bf16", vec![x.argument(), w.argument()]),
        Values::Int8(w, scale) => ("linear_int8", vec![x.argument(), w.argument(), scale.argument()]),
    };
    arguments.extend([
        weight.bias.argument(),
        y.argument(),
        int(WHAT, rows)?,
        int(WHAT, n)?,
        int(WHAT, k)?,
        Argument::Int(activation as i32),
    ]);
    card.launch(&Launch {
        kernel,
        grid: grid(WHAT, rows, n)?,
        threads: THREADS,
        shared: SHARED,
        arguments: &arguments,
    })
}

/// What a linear layer's result is added to: row `r` to row `r % period`.
#[derive(Debug)]
pub struct Residual<'a, C: Card> {
    /// (period, outputs)
    pub values: &'a Buffer<C, f32>,
    /// Rows after which it repeats.
    pub period: usize,
}

/// By what a linear layer's result is multiplied first: a learned gate, and a time's, sample by sample.
#[derive(Debug)]
pub struct Gate<'a, C: Card> {
    /// (outputs)
    pub base: &'a Buffer<C, f32>,
    /// Values, where the first sample's gate begins, and how far the next one's is from it.
    pub time: Option<(&'a Buffer<C, f32>, usize, usize)>,
    /// Rows of a sample.
    pub rows_of_sample: usize,
}

impl<C: Card> Gate<'_, C> {
    /// The time's argument, and its stride, after looking at the sizes.
    pub(super) fn times(&self, what: &'static str, rows: usize) -> Result<(Argument<'_, C::Memory>, usize)> {
        let n = self.base.len();
        let Some((values, from, step)) = self.time else {
            return Ok((Argument::Null, 0));
        };
        let samples = rows.div_ceil(self.rows_of_sample).max(1);
        check(what, from + (samples - 1) * step + n <= values.len(), || {
            format!("times of {} for {samples} samples", values.len())
        })?;
        Ok((values.from(from)?, step))
    }
}

/// Where a linear layer's rows go: one stream of several in a buffer.
#[derive(Debug)]
pub struct Place<'a, C: Card> {
    /// (rows of all streams, outputs)
    pub into: &'a Buffer<C, f32>,
    /// Its first row.
    pub first: usize,
    /// Rows that lie together.
    pub run: usize,
    /// Rows of other streams after each run.
    pub gap: usize,
}

/// `residual + gate (x Wᵀ + b)` in f32; no residual is 0, no gate 1.
///
/// # Errors
/// If sizes disagree, or the card fails.
pub fn linear_gated<C: Card>(
    card: &C,
    x: &Buffer<C, bf16>,
    rows: usize,
    weight: &Weight<C>,
    residual: Option<Residual<'_, C>>,
    gate: Option<Gate<'_, C>>,
) -> Result<Buffer<C, f32>> {
    let y = card.buffer(rows * weight.bias.len())?;
    let place = Place {
        into: &y,
        first: 0,
        run: rows.max(1),
        gap: 0,
    };
    linear_gated_into(card, x, rows, weight, residual, gate, &place)?;
    Ok(y)
}

/// As [`linear_gated`], into part of a buffer.
///
/// # Errors
/// If sizes disagree, or the card fails.
pub fn linear_gated_into<C: Card>(
    card: &C,
    x: &Buffer<C, bf16>,
    rows: usize,
    weight: &Weight<C>,
    residual: Option<Residual<'_, C>>,
    gate: Option<Gate<'_, C>>,
    place: &Place<'_, C>,
) -> Result<()> {
    const WHAT: &str = "linear_gated";
    let (n, k) = weight.check(WHAT, x.len(), rows)?;
    let last = rows.saturating_sub(1);
    check(
        WHAT,
        rows > 0
            && place.run > 0
            && (place.first + last + last / place.run * place.gap + 1) * n <= place.into.len(),
        || {
            format!(
                "{rows} rows from {} on do not fit into {} values",
                place.first,
                place.into.len()
            )
        },
    )?;
    let mut period = 1;
    if let Some(residual) = &residual {
        period = residual.period;
        check(WHAT, period > 0 && residual.values.len() == period * n, || {
            format!("a residual of {} for {period} rows of {n}", residual.values.len())
        })?;
    }
    let (mut rows_of_sample, mut stride) = (1, 0);
    let (mut base, mut time) = (Argument::Null, Argument::Null);
    if let Some(gate) = &gate {
        rows_of_sample = gate.rows_of_sample;
        check(WHAT, gate.base.len() == n && rows_of_sample > 0, || {
            format!("a gate of {} for {n} outputs", gate.base.len())
        })?;
        base = gate.base.argument();
        (time, stride) = gate.times(WHAT, rows)?;
    }
    let (kernel, mut arguments) = match &weight.values {
        Values::Bf16(w) => ("linear_gated_bf16", vec![x.argument(), w.argument()]),
        Values::Int8(w, scale) => (
            "linear_gated_int8",
            vec![x.argument(), w.argument(), scale.argument()],
        ),
    };
    arguments.extend([
        weight.bias.argument(),
        residual.as_ref().map_or(Argument::Null, |r| r.values.argument()),
        base,
        time,
        place.into.from(place.first * n)?,
        int(WHAT, rows)?,
        int(WHAT, n)?,
        int(WHAT, k)?,
        int(WHAT, period)?,
        int(WHAT, rows_of_sample)?,
        int(WHAT, stride)?,
        int(WHAT, place.run)?,
        int(WHAT, place.gap)?,
    ]);
    card.launch(&Launch {
        kernel,
        grid: grid(WHAT, rows, n)?,
        threads: THREADS,
        shared: SHARED,
        arguments: &arguments,
    })
}

/// What a convolution does with its input first, and how far it steps; the numbers are those of `cu/conv.cu`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Output as large as the input.
    Same = 0,
    /// Half as large: every other pixel.
    Half = 1,
    /// The input is doubled (nearest neighbour) first; a skip is not.
    Double = 2,
    /// As `Half`, but pixel i sees 2 i, 2 i + 1 and 2 i + 2: the autoencoders of latent diffusion pad on one side only.
    HalfBehind = 3,
}

impl Step {
    /// Height and width of the result.
    #[must_use]
    pub fn result(self, (h, w): (usize, usize)) -> (usize, usize) {
        match self {
            Self::Same => (h, w),
            Self::Half | Self::HalfBehind => (h / 2, w / 2),
            Self::Double => (2 * h, 2 * w),
        }
    }
}

/// A 3x3 convolution with zero padding over channels-last pictures.
#[derive(Debug)]
pub struct Conv<'a, C: Card> {
    /// (pictures, h, w, channels)
    pub x: &'a Buffer<C, bf16>,
    /// (pictures, H, W, channels) at the result's size, behind x's channels.
    pub skip: Option<(&'a Buffer<C, bf16>, usize)>,
    /// Pictures, height, width, channels of x; channels are multiples of 8.
    pub size: [usize; 4],
    /// (outputs, 3, 3, channels of both), bf16.
    pub weight: &'a Weight<C>,
    /// See [`Step`].
    pub step: Step,
}

/// A result's number format.
#[derive(Debug)]
pub enum Ending<C: Card> {
    /// For the next layer.
    Bf16(Buffer<C, bf16>),
    /// For the samplers.
    F32(Buffer<C, f32>),
}

/// Convolves to (pictures, H, W, outputs), in f32 where `full`.
///
/// # Errors
/// If sizes disagree, or the card fails.
pub fn conv3x3<C: Card>(
    card: &C,
    conv: &Conv<'_, C>,
    activation: Activation,
    full: bool,
) -> Result<Ending<C>> {
    const WHAT: &str = "conv3x3";
    let [pictures, h, w, c] = conv.size;
    let (out_h, out_w) = conv.step.result((h, w));
    let (skip, s) = match conv.skip {
        None => (Argument::Null, 0),
        Some((skip, s)) => {
            check(WHAT, skip.len() == pictures * out_h * out_w * s, || {
                format!(
                    "a skip of {} beside {pictures} results of {out_h}x{out_w}",
                    skip.len()
                )
            })?;
            (skip.argument(), s)
        }
    };
    check(WHAT, c > 0 && c.is_multiple_of(8) && s.is_multiple_of(8), || {
        format!("{c} and {s} channels; a card takes multiples of 8")
    })?;
    check(WHAT, conv.x.len() == pictures * h * w * c, || {
        format!(
            "{} values are not {pictures} pictures of {h}x{w}x{c}",
            conv.x.len()
        )
    })?;
    let rows = pictures * out_h * out_w;
    let (n, _) = conv.weight.check(WHAT, rows * 9 * (c + s), rows)?;
    let Values::Bf16(weight) = &conv.weight.values else {
        return check(WHAT, false, || "the weight is in bf16".into()).and(Ok(Ending::F32(card.buffer(0)?)));
    };
    let ending = if full {
        Ending::F32(card.buffer(rows * n)?)
    } else {
        Ending::Bf16(card.buffer(rows * n)?)
    };
    let (kernel, y) = match &ending {
        Ending::Bf16(y) => ("conv3x3_bf16", y.argument()),
        Ending::F32(y) => ("conv3x3_f32", y.argument()),
    };
    let mut arguments = vec![
        conv.x.argument(),
        skip,
        weight.argument(),
        conv.weight.bias.argument(),
        y,
    ];
    for v in [pictures, h, w, c, out_h, out_w, s, n] {
        arguments.push(int(WHAT, v)?);
    }
    arguments.extend([Argument::Int(conv.step as i32), Argument::Int(activation as i32)]);
    card.launch(&Launch {
        kernel,
        grid: grid(WHAT, rows, n)?,
        threads: THREADS,
        shared: SHARED,
        arguments: &arguments,
    })?;
    Ok(ending)
}
