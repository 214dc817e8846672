//! Convolutions backward.

use half::bf16;

use super::super::linear::{Conv, SHARED, Step, THREADS, Values, grid};
use super::super::{check, int};
use super::linear::parted;
use super::sums::sum_parts;
use crate::card::{Argument, Buffer, Card, Launch, Result, Span};

/// Slopes of a convolution's x, (pictures, h, w, channels), from those of its result, (pictures, H, W, outputs), outputs a multiple
/// of 8; added to what is there where `add`.
///
/// # Errors
/// If sizes disagree, or the card fails.
pub fn conv3x3_back_input<C: Card>(
    card: &C,
    conv: &Conv<'_, C>,
    slopes: &Buffer<C, bf16>,
    into: &Buffer<C, f32>,
    add: bool,
) -> Result<()> {
    let [_, h, w, c] = conv.size;
    let channels = c + conv.skip.map_or(0, |(_, s)| s);
    let of = Seen {
        size: (h, w),
        channels: (0, c),
        all: channels,
        step: conv.step,
    };
    spread(card, conv, slopes, &of, into, add)
}

/// The same of its skip, (pictures, H, W, channels).
///
/// # Errors
/// As [`conv3x3_back_input`], or if there is no skip.
pub fn conv3x3_back_skip<C: Card>(
    card: &C,
    conv: &Conv<'_, C>,
    slopes: &Buffer<C, bf16>,
    into: &Buffer<C, f32>,
    add: bool,
) -> Result<()> {
    let [_, h, w, c] = conv.size;
    let s = conv.skip.map_or(0, |(_, s)| s);
    let of = Seen {
        size: conv.step.result((h, w)),
        channels: (c, s),
        all: c + s,
        step: Step::Same,
    };
    spread(card, conv, slopes, &of, into, add)
}

/// Which of its two inputs.
struct Seen {
    size: (usize, usize),
    /// The first channel and their number.
    channels: (usize, usize),
    /// Channels of both.
    all: usize,
    step: Step,
}

fn spread<C: Card>(
    card: &C,
    conv: &Conv<'_, C>,
    slopes: &Buffer<C, bf16>,
    of: &Seen,
    into: &Buffer<C, f32>,
    add: bool,
) -> Result<()> {
    const WHAT: &str = "conv3x3_back_input";
    let pictures = conv.size[0];
    let ((h, w), (first, c)) = (of.size, of.channels);
    let (out_h, out_w) = of.step.result((h, w));
    let n = conv.weight.bias.len();
    let rows = pictures * h * w;
    let fits = n.is_multiple_of(8) && slopes.len() == pictures * out_h * out_w * n && into.len() == rows * c;
    check(WHAT, c > 0 && fits, || {
        format!(
            "{} slopes of {n} outputs into {} values",
            slopes.len(),
            into.len()
        )
    })?;
    let Values::Bf16(weight) = &conv.weight.values else {
        return check(WHAT, false, || "the weight is in bf16".into());
    };
    check(WHAT, weight.len() == n * 9 * of.all, || {
        format!("{} weights for {n} outputs of {} channels", weight.len(), of.all)
    })?;
    let mut arguments = vec![slopes.argument(), weight.argument(), into.argument()];
    for v in [pictures, h, w, c, out_h, out_w, n, first, of.all] {
        arguments.push(int(WHAT, v)?);
    }
    arguments.extend([Argument::Int(of.step as i32), Argument::Int(i32::from(add))]);
    card.launch(&Launch {
        kernel: WHAT,
        grid: grid(WHAT, rows, c)?,
        threads: THREADS,
        shared: SHARED,
        arguments: &arguments,
    })
}

/// Adds to `into` what slopes of the result, (pictures, H, W, outputs), say of the kernel as training keeps it: (3, 3, channels of x and
/// skip, outputs), which may be `real` ones of each: x's, the skip's, outputs; the others only fill up.
///
/// # Errors
/// If sizes disagree, or the card fails.
pub fn conv3x3_back_weight<C: Card>(
    card: &C,
    conv: &Conv<'_, C>,
    slopes: &Buffer<C, bf16>,
    real: [usize; 3],
    into: Span<'_, C, f32>,
) -> Result<()> {
    const WHAT: &str = "conv3x3_back_weight";
    let [pictures, h, w, c] = conv.size;
    let (out_h, out_w) = conv.step.result((h, w));
    let (skip, s) = match conv.skip {
        None => (Argument::Null, 0),
        Some((skip, s)) => (skip.argument(), s),
    };
    let n = conv.weight.bias.len();
    let [real_c, real_s, real_n] = real;
    let rows = pictures * out_h * out_w;
    let all = 9 * (real_c + real_s) * real_n;
    let fits = real_c <= c && real_s <= s && real_n <= n && into.len() == all && slopes.len() == rows * n;
    check(WHAT, rows > 0 && all > 0 && fits, || {
        format!(
            "{} slopes of {n} outputs into {} values",
            slopes.len(),
            into.len()
        )
    })?;
    let grid = parted(WHAT, 9 * (c + s), real_n, rows)?;
    let parts = grid[2] as usize;
    let mut sizes = Vec::new();
    for v in [pictures, h, w, c, out_h, out_w, s, n] {
        sizes.push(int(WHAT, v)?);
    }
    sizes.push(Argument::Int(conv.step as i32));
    for v in real {
        sizes.push(int(WHAT, v)?);
    }
    let launch = |y: Argument<'_, C::Memory>, add: bool| {
        let mut arguments = vec![conv.x.argument(), skip, slopes.argument(), y];
        arguments.extend(&sizes);
        arguments.push(Argument::Int(i32::from(add)));
        card.launch(&Launch {
            kernel: WHAT,
            grid,
            threads: THREADS,
            shared: SHARED,
            arguments: &arguments,
        })
    };
    if parts == 1 {
        return launch(into.argument(), true);
    }
    let partial = card.buffer(parts * all)?;
    launch(partial.argument(), false)?;
    sum_parts(card, partial.all(), (parts, 1, all), 0, into, all)
}
