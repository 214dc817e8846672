//! Sums down columns, in two stages: parts of the rows first, then the parts. Each has one order.

use half::bf16;

use super::super::loss::block_sums;
use super::super::{blocks, check, each, int};
use crate::card::{Argument, Buffer, Card, Launch, Result, Span};

/// Columns and lanes of a block of `cu/columns.cuh`.
const COLUMNS: usize = 32;
const THREADS: usize = 256;
/// Rows that a part sums up, about; and most parts.
const ROWS_OF_PART: usize = 256;
const MOST_PARTS: usize = 64;

/// Sums of `quantities` down each sample's columns, (samples, quantities, columns), not yet put together.
#[derive(Debug)]
pub(super) struct Partial<C: Card> {
    values: Buffer<C, f32>,
    parts: usize,
    samples: usize,
    quantities: usize,
    /// Quantities times columns.
    width: usize,
}

/// What sums run over.
pub(super) struct Rows {
    pub samples: usize,
    pub rows_of_sample: usize,
    pub columns: usize,
    pub quantities: usize,
}

/// Starts a kernel of column sums. `arguments` are those before and behind the result.
pub(super) fn column_sums<C: Card>(
    card: &C,
    kernel: &'static str,
    of: &Rows,
    before: Vec<Argument<'_, C::Memory>>,
    behind: Vec<Argument<'_, C::Memory>>,
) -> Result<Partial<C>> {
    let parts = of.rows_of_sample.div_ceil(ROWS_OF_PART).clamp(1, MOST_PARTS);
    let width = of.quantities * of.columns;
    let values = card.buffer(parts * of.samples * width)?;
    let mut arguments = before;
    arguments.push(values.argument());
    arguments.extend(behind);
    card.launch(&Launch {
        kernel,
        grid: [
            blocks(kernel, of.columns.div_ceil(COLUMNS))?,
            blocks(kernel, parts)?,
            blocks(kernel, of.samples)?,
        ],
        threads: THREADS as u32,
        shared: of.quantities * THREADS * 4,
        arguments: &arguments,
    })?;
    Ok(Partial {
        values,
        parts,
        samples: of.samples,
        quantities: of.quantities,
        width,
    })
}

impl<C: Card> Partial<C> {
    /// Adds the sums over everything, from a quantity on, to `into`.
    pub fn add_all(&self, card: &C, quantity: usize, into: Span<'_, C, f32>) -> Result<()> {
        let rows = self.parts * self.samples;
        let first = quantity * (self.width / self.quantities);
        sum_parts(
            card,
            self.values.all(),
            (rows, 1, self.width),
            first,
            into,
            self.width,
        )
    }

    /// Adds each sample's sums, (quantities, columns), to `into`, a sample being `stride` from the next.
    pub fn add_each(&self, card: &C, into: Span<'_, C, f32>, stride: usize) -> Result<()> {
        let layout = (self.parts, self.samples, self.width);
        let last = self.samples.saturating_sub(1) * stride;
        check("sum_parts", into.len() >= last + self.width, || {
            format!("sums of {} samples into {} values", self.samples, into.len())
        })?;
        let each = into.span(0, last + self.width)?;
        sum_parts(card, self.values.all(), layout, 0, each, stride)
    }
}

/// Adds the sum over parts of `partial` (parts, samples, width), from a column on, to `into`, a sample being `stride` from the next.
pub(super) fn sum_parts<C: Card>(
    card: &C,
    partial: Span<'_, C, f32>,
    (parts, samples, width): (usize, usize, usize),
    first: usize,
    into: Span<'_, C, f32>,
    stride: usize,
) -> Result<()> {
    const WHAT: &str = "sum_parts";
    let n = into.len().saturating_sub(samples.saturating_sub(1) * stride);
    let fits = n > 0 && first + n <= width && partial.len() == parts * samples * width;
    check(WHAT, fits, || {
        format!(
            "{} sums of {width} by {samples} into {} values",
            partial.len(),
            into.len()
        )
    })?;
    let from = partial.span(first, partial.len() - first)?;
    let mut arguments = vec![from.argument(), into.argument()];
    for v in [parts, samples, n, width, stride] {
        arguments.push(int(WHAT, v)?);
    }
    each(card, WHAT, samples * n, &arguments)
}

/// Adds to `into` what slopes (rows, outputs) say of a bias. Rows may be longer than the bias by what only fills up.
///
/// # Errors
/// If sizes disagree, or the card fails.
pub fn bias_back<C: Card>(
    card: &C,
    slopes: &Buffer<C, bf16>,
    rows: usize,
    into: Span<'_, C, f32>,
) -> Result<()> {
    const WHAT: &str = "bias_sums";
    let n = into.len();
    let stride = slopes.len() / rows.max(1);
    check(
        WHAT,
        rows > 0 && n > 0 && stride >= n && slopes.len() == rows * stride,
        || format!("{} slopes are not {rows} rows of {n}", slopes.len()),
    )?;
    let of = Rows {
        samples: 1,
        rows_of_sample: rows,
        columns: n,
        quantities: 1,
    };
    let behind = vec![int(WHAT, rows)?, int(WHAT, n)?, int(WHAT, stride)?];
    column_sums(card, WHAT, &of, vec![slopes.argument()], behind)?.add_all(card, 0, into)
}

/// √Σ x²: the norm of all gradients. Waits for the card.
///
/// # Errors
/// If the card fails.
pub fn norm_of<C: Card>(card: &C, x: &Buffer<C, f32>) -> Result<f32> {
    const WHAT: &str = "squares";
    let count = int(WHAT, x.len())?;
    let sums = block_sums(card, WHAT, x.len(), vec![x.argument()], vec![count])?;
    let total: f64 = card.get(&sums)?.into_iter().map(f64::from).sum();
    Ok(total.sqrt() as f32)
}

/// Adds up blocks' sums into one number.
pub(in crate::ops) fn sum_into<C: Card>(
    card: &C,
    sums: &Buffer<C, f32>,
    into: Span<'_, C, f32>,
) -> Result<()> {
    check("sum_parts", into.len() == 1, || {
        format!("a sum into {} values", into.len())
    })?;
    sum_parts(card, sums.all(), (sums.len(), 1, 1), 0, into, 1)
}
