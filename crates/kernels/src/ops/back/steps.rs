//! What training does number by number: activations, gates, changes of layout, the optimiser.

use half::bf16;

use super::super::linear::{Gate, Values, Weight};
use super::super::{Activation, check, each, int};
use super::Told;
use super::sums::{Rows, column_sums, sum_parts};
use crate::card::{Argument, Buffer, Card, Result, Span};

/// `activation(x)`, where the backward pass wants x as well.
///
/// # Errors
/// If the card fails.
pub fn activate<C: Card>(card: &C, x: &Buffer<C, bf16>, activation: Activation) -> Result<Buffer<C, bf16>> {
    const WHAT: &str = "activate";
    let y = card.buffer(x.len())?;
    let arguments = [
        x.argument(),
        y.argument(),
        int(WHAT, x.len())?,
        Argument::Int(activation as i32),
    ];
    each(card, WHAT, x.len(), &arguments)?;
    Ok(y)
}

/// Slopes of `x`, in bf16, from those of `activation(x)`.
///
/// # Errors
/// If sizes disagree, or the card fails.
pub fn activate_back<C: Card>(
    card: &C,
    x: &Buffer<C, bf16>,
    slopes: &Buffer<C, f32>,
    activation: Activation,
) -> Result<Buffer<C, bf16>> {
    const WHAT: &str = "activate_back";
    check(WHAT, x.len() == slopes.len(), || {
        format!("{} slopes of {} values", slopes.len(), x.len())
    })?;
    let dx = card.buffer(x.len())?;
    let arguments = [
        x.argument(),
        slopes.argument(),
        dx.argument(),
        int(WHAT, x.len())?,
        Argument::Int(activation as i32),
    ];
    each(card, WHAT, x.len(), &arguments)?;
    Ok(dx)
}

/// `x + gate u` over rows as long as the gate.
///
/// # Errors
/// If sizes disagree, or the card fails.
pub fn gated_add<C: Card>(
    card: &C,
    x: &Buffer<C, f32>,
    u: &Buffer<C, bf16>,
    gate: &Gate<'_, C>,
) -> Result<Buffer<C, f32>> {
    const WHAT: &str = "gated_add";
    let rows = gated_rows(WHAT, x, u.len(), gate)?;
    let (time, stride) = gate.times(WHAT, rows)?;
    let y = card.buffer(x.len())?;
    let mut arguments = vec![
        x.argument(),
        u.argument(),
        gate.base.argument(),
        time,
        y.argument(),
    ];
    for v in [rows, gate.base.len(), gate.rows_of_sample, stride] {
        arguments.push(int(WHAT, v)?);
    }
    each(card, WHAT, x.len(), &arguments)?;
    Ok(y)
}

fn gated_rows<C: Card>(
    what: &'static str,
    x: &Buffer<C, f32>,
    u: usize,
    gate: &Gate<'_, C>,
) -> Result<usize> {
    let n = gate.base.len();
    let rows = x.len() / n.max(1);
    let fits = rows > 0 && x.len() == rows * n && u == x.len();
    check(what, fits && rows.is_multiple_of(gate.rows_of_sample), || {
        format!("{} and {u} values in rows of {n}", x.len())
    })?;
    Ok(rows)
}

/// Slopes of `u`, in bf16, from those of [`gated_add`]'s result, which are those of `x` as they are. What is said of the gate is added to
/// what is `told`.
///
/// # Errors
/// If sizes disagree, or the card fails.
pub fn gated_add_back<C: Card>(
    card: &C,
    slopes: &Buffer<C, f32>,
    u: &Buffer<C, bf16>,
    gate: &Gate<'_, C>,
    told: &Told<'_, C>,
) -> Result<Buffer<C, bf16>> {
    const WHAT: &str = "gated_add_back";
    let rows = gated_rows(WHAT, slopes, u.len(), gate)?;
    let n = gate.base.len();
    let (time, stride) = gate.times(WHAT, rows)?;
    let du = card.buffer(u.len())?;
    let mut arguments = vec![slopes.argument(), gate.base.argument(), time, du.argument()];
    for v in [rows, n, gate.rows_of_sample, stride] {
        arguments.push(int(WHAT, v)?);
    }
    each(card, WHAT, u.len(), &arguments)?;
    let of = Rows {
        samples: rows / gate.rows_of_sample,
        rows_of_sample: gate.rows_of_sample,
        columns: n,
        quantities: 1,
    };
    let behind = vec![int(WHAT, gate.rows_of_sample)?, int(WHAT, n)?];
    let sums = column_sums(
        card,
        "gate_sums",
        &of,
        vec![slopes.argument(), u.argument()],
        behind,
    )?;
    if let Some(by_base) = told.base {
        sums.add_all(card, 0, by_base)?;
    }
    if let (Some(by_time), Some((_, from, stride))) = (told.time, gate.time) {
        let room = by_time.len().saturating_sub(from);
        sums.add_each(card, by_time.span(from, room)?, stride)?;
    }
    Ok(du)
}

/// Rows of one of several streams, in bf16: `rows` of them from `first` on, `run` together and `gap` of other streams after each run.
///
/// # Errors
/// If sizes disagree, or the card fails.
pub fn narrow_rows<C: Card>(
    card: &C,
    x: &Buffer<C, f32>,
    (rows, n): (usize, usize),
    (first, run, gap): (usize, usize, usize),
) -> Result<Buffer<C, bf16>> {
    const WHAT: &str = "narrow_rows";
    let last = rows.saturating_sub(1);
    let fits = rows > 0 && run > 0 && (first + last + last / run.max(1) * gap + 1) * n <= x.len();
    check(WHAT, fits, || {
        format!("{rows} rows of {n} from {first} on in {} values", x.len())
    })?;
    let y = card.buffer(rows * n)?;
    let mut arguments = vec![x.from(first * n)?, y.argument()];
    for v in [rows, n, run, gap, n] {
        arguments.push(int(WHAT, v)?);
    }
    each(card, WHAT, rows * n, &arguments)?;
    Ok(y)
}

/// Values in bf16, into a buffer of as many.
///
/// # Errors
/// If sizes disagree, or the card fails.
pub fn narrow<C: Card>(card: &C, x: Span<'_, C, f32>, into: &Buffer<C, bf16>) -> Result<()> {
    narrow_into(card, x, into, (x.len(), x.len(), 0))
}

/// Rows of `n` values in bf16, into the columns from `first` on of rows of `stride`.
///
/// # Errors
/// If sizes disagree, or the card fails.
pub fn narrow_into<C: Card>(
    card: &C,
    x: Span<'_, C, f32>,
    into: &Buffer<C, bf16>,
    (n, stride, first): (usize, usize, usize),
) -> Result<()> {
    const WHAT: &str = "narrow_rows";
    let rows = x.len() / n.max(1);
    let fits = rows > 0 && x.len() == rows * n && first + n <= stride && into.len() == rows * stride;
    check(WHAT, fits, || {
        format!("{} values in rows of {n} into {}", x.len(), into.len())
    })?;
    let mut arguments = vec![x.argument(), into.from(first)?];
    for v in [rows, n, rows, 0, stride] {
        arguments.push(int(WHAT, v)?);
    }
    each(card, WHAT, x.len(), &arguments)
}

/// Values into the first of a buffer's.
///
/// # Errors
/// If there is no room, or the card fails.
pub fn copy<C: Card>(card: &C, x: Span<'_, C, f32>, into: &Buffer<C, f32>) -> Result<()> {
    const WHAT: &str = "combine";
    check(WHAT, x.len() <= into.len(), || {
        format!("{} values into {}", x.len(), into.len())
    })?;
    let mut arguments = vec![x.argument(), Argument::Null, Argument::Null, Argument::Null];
    arguments.extend([into.argument(), int(WHAT, x.len())?]);
    arguments.extend([1.0, 0.0, 0.0, 0.0].map(Argument::Float));
    each(card, WHAT, x.len(), &arguments)
}

/// Adds columns `first..first + n` of rows of `width` to rows of `n`.
///
/// # Errors
/// If sizes disagree, or the card fails.
pub fn add_columns<C: Card>(
    card: &C,
    x: &Buffer<C, f32>,
    (width, first): (usize, usize),
    (into, n): (Span<'_, C, f32>, usize),
) -> Result<()> {
    let rows = x.len() / width.max(1);
    check("sum_parts", first + n <= width && into.len() == rows * n, || {
        format!("columns of rows of {width} into {} values", into.len())
    })?;
    sum_parts(card, x.all(), (1, rows, width), first, into, n)
}

/// What is added to tokens: their places, (rows, features), and one or two of the learned types, each with the places again.
///
/// # Errors
/// If sizes disagree, or the card fails.
pub fn mark<C: Card>(
    card: &C,
    places: &Buffer<C, f32>,
    first: Span<'_, C, f32>,
    second: Option<Span<'_, C, f32>>,
    into: &Buffer<C, f32>,
) -> Result<()> {
    const WHAT: &str = "mark";
    let n = first.len();
    let fits = n > 0 && places.len().is_multiple_of(n) && into.len() == places.len();
    check(WHAT, fits && second.is_none_or(|s| s.len() == n), || {
        format!("{} places in rows of {n} into {}", places.len(), into.len())
    })?;
    let arguments = [
        places.argument(),
        first.argument(),
        second.map_or(Argument::Null, |s| s.argument()),
        into.argument(),
        int(WHAT, places.len() / n)?,
        int(WHAT, n)?,
    ];
    each(card, WHAT, places.len(), &arguments)
}

/// Slopes of two layers in planes to channels last, (pictures, pixels, stride) in bf16; channels behind those of the layers are zero.
///
/// # Errors
/// If sizes disagree, or the card fails.
pub fn planes_back<C: Card>(
    card: &C,
    layers: [&Buffer<C, f32>; 2],
    (pictures, pixels, stride): (usize, usize, usize),
) -> Result<Buffer<C, bf16>> {
    const WHAT: &str = "planes_back";
    let all = (pictures * pixels).max(1);
    let [a, b] = layers.map(|layer| layer.len() / all);
    let fits = a + b <= stride && layers[0].len() == a * all && layers[1].len() == b * all;
    check(WHAT, fits, || {
        format!("{a} and {b} channels of {all} pixels into rows of {stride}")
    })?;
    let y = card.buffer(all * stride)?;
    let mut arguments = vec![layers[0].argument(), layers[1].argument(), y.argument()];
    for v in [pictures, pixels, a, b, stride] {
        arguments.push(int(WHAT, v)?);
    }
    each(card, WHAT, y.len(), &arguments)?;
    Ok(y)
}

/// Channels of a convolution's x, its skip and its result, and what they are filled up to on a card.
#[derive(Debug, Clone, Copy)]
pub struct Padded {
    /// As training keeps them.
    pub real: [usize; 3],
    /// Multiples of 8.
    pub padded: [usize; 3],
}

/// A kernel as training keeps it, (3, 3, channels of x and skip, outputs), into the weight that products take, filled up with zeros.
///
/// # Errors
/// If sizes disagree, or the card fails.
pub fn kernel_rows<C: Card>(card: &C, kernel: Span<'_, C, f32>, of: Padded, into: &Weight<C>) -> Result<()> {
    const WHAT: &str = "kernel_rows";
    let ([c, s, n], [padded_c, padded_s, padded_n]) = (of.real, of.padded);
    let Values::Bf16(rows) = &into.values else {
        return check(WHAT, false, || "the weight is in bf16".into());
    };
    let fits = kernel.len() == 9 * (c + s) * n && rows.len() == padded_n * 9 * (padded_c + padded_s);
    check(
        WHAT,
        fits && c <= padded_c && s <= padded_s && n <= padded_n,
        || format!("{} weights of {of:?} into {}", kernel.len(), rows.len()),
    )?;
    let mut arguments = vec![kernel.argument(), rows.argument()];
    for v in of.real.into_iter().chain(of.padded) {
        arguments.push(int(WHAT, v)?);
    }
    each(card, WHAT, rows.len(), &arguments)
}

/// Overwrites values.
///
/// # Errors
/// If the card fails.
pub fn fill<C: Card>(card: &C, x: Span<'_, C, f32>, value: f32) -> Result<()> {
    const WHAT: &str = "fill";
    let arguments = [x.argument(), int(WHAT, x.len())?, Argument::Float(value)];
    each(card, WHAT, x.len(), &arguments)
}

/// What an update of AdamW with an average is told, in the trainer's terms.
#[derive(Debug, Clone, Copy)]
pub struct Update {
    /// Gradients are multiplied by this first.
    pub scale: f32,
    /// Learning rate.
    pub rate: f32,
    /// What a value loses of itself.
    pub decay: f32,
    /// Decay of the first and second moment.
    pub betas: (f32, f32),
    /// 1 - the power of either that the step has.
    pub corrections: (f32, f32),
    /// Decay of the average.
    pub keep: f32,
}

/// Updates `[value, first moment, second moment, average]` with a gradient, which is zero afterwards.
///
/// # Errors
/// If sizes disagree, or the card fails.
pub fn adamw<C: Card>(
    card: &C,
    state: [Span<'_, C, f32>; 4],
    gradient: Span<'_, C, f32>,
    update: &Update,
) -> Result<()> {
    const WHAT: &str = "adamw";
    let count = gradient.len();
    check(WHAT, state.iter().all(|part| part.len() == count), || {
        format!(
            "a state of {:?} for {count} gradients",
            state.map(|part| part.len())
        )
    })?;
    let mut arguments: Vec<_> = state.iter().map(Span::argument).collect();
    arguments.extend([gradient.argument(), int(WHAT, count)?]);
    let ((beta1, beta2), (correct1, correct2)) = (update.betas, update.corrections);
    let numbers = [
        update.scale,
        update.rate,
        update.decay,
        beta1,
        beta2,
        correct1,
        correct2,
        update.keep,
    ];
    arguments.extend(numbers.map(Argument::Float));
    each(card, WHAT, count, &arguments)
}
