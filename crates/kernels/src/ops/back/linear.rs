//! Linear layers backward.

use half::bf16;

use super::super::linear::{SHARED, THREADS, Values, Weight, grid};
use super::super::{blocks, check, int};
use super::sums::sum_parts;
use crate::card::{Argument, Buffer, Card, Launch, Result, Span};

/// Blocks that fill a large card twice over: products with fewer are divided along their sums.
const FILLED: usize = 264;
/// Rows that are worth a part.
const ROWS_OF_PART: usize = 256;

/// Parts of `rows` that a product of so many blocks is summed up in; a matter of sizes alone, so that sums have one order.
pub(super) fn parts(blocks: usize, rows: usize) -> usize {
    FILLED
        .div_ceil(blocks.max(1))
        .clamp(1, rows.div_ceil(ROWS_OF_PART).max(1))
}

/// The grid of a product (n, k) that is summed up in parts.
pub(super) fn parted(what: &'static str, n: usize, k: usize, rows: usize) -> Result<[u32; 3]> {
    let [x, y, _] = grid(what, n, k)?;
    Ok([x, y, blocks(what, parts(x as usize * y as usize, rows))?])
}

/// Slopes of `x` (rows, inputs) from slopes of `x Wᵀ + b` (rows, outputs), outputs a multiple of 8; added to what is there where `add`.
///
/// # Errors
/// If sizes disagree, the weight is in whole numbers, or the card fails.
pub fn linear_back_input<C: Card>(
    card: &C,
    slopes: &Buffer<C, bf16>,
    rows: usize,
    weight: &Weight<C>,
    into: &Buffer<C, f32>,
    add: bool,
) -> Result<()> {
    const WHAT: &str = "linear_back_input";
    let (n, k) = (weight.bias.len(), weight.inputs());
    let fits = n.is_multiple_of(8) && slopes.len() == rows * n && into.len() == rows * k;
    check(WHAT, rows > 0 && fits, || {
        format!(
            "{} slopes of {rows} rows of {n} into {}",
            slopes.len(),
            into.len()
        )
    })?;
    let Values::Bf16(values) = &weight.values else {
        return check(WHAT, false, || "the weight is in bf16".into());
    };
    card.launch(&Launch {
        kernel: WHAT,
        grid: grid(WHAT, rows, k)?,
        threads: THREADS,
        shared: SHARED,
        arguments: &[
            slopes.argument(),
            values.argument(),
            into.argument(),
            int(WHAT, rows)?,
            int(WHAT, n)?,
            int(WHAT, k)?,
            Argument::Int(i32::from(add)),
        ],
    })
}

/// Adds to `into` (outputs, inputs) what slopes (rows, outputs) say of the weight over `x` (rows, inputs).
///
/// # Errors
/// If sizes disagree, or the card fails.
pub fn linear_back_weight<C: Card>(
    card: &C,
    slopes: &Buffer<C, bf16>,
    x: &Buffer<C, bf16>,
    rows: usize,
    into: Span<'_, C, f32>,
) -> Result<()> {
    const WHAT: &str = "linear_back_weight";
    let (n, k) = (slopes.len() / rows.max(1), x.len() / rows.max(1));
    let fits = slopes.len() == rows * n && x.len() == rows * k && into.len() == n * k;
    check(WHAT, rows > 0 && n > 0 && fits, || {
        format!(
            "{} slopes and {} values of {rows} rows into {}",
            slopes.len(),
            x.len(),
            into.len()
        )
    })?;
    let grid = parted(WHAT, n, k, rows)?;
    let parts = grid[2] as usize;
    let launch = |y: Argument<'_, C::Memory>, add: bool| {
        card.launch(&Launch {
            kernel: WHAT,
            grid,
            threads: THREADS,
            shared: SHARED,
            arguments: &[
                slopes.argument(),
                x.argument(),
                y,
                int(WHAT, rows)?,
                int(WHAT, n)?,
                int(WHAT, k)?,
                Argument::Int(i32::from(add)),
            ],
        })
    };
    if parts == 1 {
        return launch(into.argument(), true);
    }
    let partial = card.buffer(parts * n * k)?;
    launch(partial.argument(), false)?;
    sum_parts(card, partial.all(), (parts, 1, n * k), 0, into, n * k)
}
