//! Norms backward.

use half::bf16;

use super::super::norm::{GroupNorm, Modulation, modulated, parts};
use super::super::{blocks, check, elementwise, int};
use super::Told;
use super::sums::{Rows, column_sums};
use crate::card::{Argument, Buffer, Card, Launch, Result, Span};

const THREADS: u32 = 128;

/// Adds to `into`, (rows, features), the slopes of `x` from those of [`norm_modulate`](super::super::norm_modulate)'s result (f32, where
/// that lies); and what is said of shift and scale, (2, features), to what is `told`.
///
/// # Errors
/// If sizes disagree, or the card fails.
pub fn norm_modulate_back<C: Card>(
    card: &C,
    x: &Buffer<C, f32>,
    modulation: &Modulation<'_, C>,
    (beside, epsilon): (Option<usize>, f32),
    slopes: &Buffer<C, f32>,
    into: &Buffer<C, f32>,
    told: &Told<'_, C>,
) -> Result<()> {
    const WHAT: &str = "norm_modulate_back";
    let d = modulation.base.len() / 2;
    let rows = x.len() / d.max(1);
    let fits = d > 0 && rows > 0 && [x.len(), slopes.len(), into.len()] == [rows * d; 3];
    check(
        WHAT,
        fits && rows.is_multiple_of(modulation.rows_of_sample),
        || format!("{} slopes of {} values in rows of {d}", slopes.len(), x.len()),
    )?;
    let moments = card.buffer::<f32>(2 * rows)?;
    let behind = vec![slopes.argument(), into.argument(), moments.argument()];
    modulated(card, WHAT, (x, modulation, beside), behind, epsilon)?;
    if told.base.is_none() && told.time.is_none() {
        return Ok(());
    }
    let of = Rows {
        samples: rows / modulation.rows_of_sample,
        rows_of_sample: modulation.rows_of_sample,
        columns: d,
        quantities: 2,
    };
    let before = vec![x.argument(), slopes.argument(), moments.argument()];
    let mut behind = Vec::new();
    for v in [modulation.rows_of_sample, d, beside.unwrap_or(0)] {
        behind.push(int(WHAT, v)?);
    }
    let sums = column_sums(card, "modulation_sums", &of, before, behind)?;
    if let Some(by_base) = told.base {
        sums.add_all(card, 0, by_base)?;
    }
    if let (Some(by_time), Some((_, from, stride))) = (told.time, modulation.time) {
        let room = by_time.len().saturating_sub(from);
        sums.add_each(card, by_time.span(from, room)?, stride)?;
    }
    Ok(())
}

/// Slopes of what a [`group_norm_kept`](super::super::group_norm_kept) took, in bf16, from those of its result; what is said of bias and weight is
/// added to `by_bias` and `by_weight`.
///
/// # Errors
/// If sizes disagree, or the card fails.
pub fn group_norm_back<C: Card>(
    card: &C,
    (x, moments): (&Buffer<C, bf16>, &Buffer<C, f32>),
    norm: &GroupNorm<'_, C>,
    slopes: &Buffer<C, f32>,
    (by_weight, by_bias): (Span<'_, C, f32>, Span<'_, C, f32>),
) -> Result<Buffer<C, bf16>> {
    const WHAT: &str = "group_norm_back";
    let pixels = norm.pixels(WHAT, x)?;
    let (samples, groups, c) = (norm.samples, norm.groups, norm.weight.len());
    let parts = parts(pixels);
    let fits = slopes.len() == x.len() && moments.len() == samples * groups * parts * 2;
    check(WHAT, fits && by_weight.len() == c && by_bias.len() == c, || {
        format!("{} slopes of {} values", slopes.len(), x.len())
    })?;
    let given = || {
        vec![
            x.argument(),
            moments.argument(),
            norm.weight.argument(),
            norm.bias.argument(),
            slopes.argument(),
        ]
    };
    let mut sizes = Vec::new();
    for v in [pixels, c, groups, parts] {
        sizes.push(int(WHAT, v)?);
    }
    sizes.extend([
        Argument::Float(norm.epsilon),
        Argument::Int(norm.activation as i32),
    ]);
    let of = Rows {
        samples,
        rows_of_sample: pixels,
        columns: c,
        quantities: 2,
    };
    let partial = column_sums(card, "group_sums", &of, given(), sizes.clone())?;
    // (samples, 2: bias and weight, channels)
    let sums = card.buffer::<f32>(samples * 2 * c)?;
    super::fill(card, sums.all(), 0.0)?;
    partial.add_each(card, sums.all(), 2 * c)?;
    let dx = card.buffer(x.len())?;
    let mut arguments = given();
    arguments.extend([sums.argument(), dx.argument()]);
    arguments.extend(sizes);
    card.launch(&Launch {
        kernel: WHAT,
        grid: [
            elementwise(pixels * c / groups)[0].min(256),
            blocks(WHAT, groups)?,
            blocks(WHAT, samples)?,
        ],
        threads: THREADS,
        shared: 0,
        arguments: &arguments,
    })?;
    partial.add_all(card, 0, by_bias)?;
    partial.add_all(card, 1, by_weight)?;
    Ok(dx)
}
