//! Attention and the norms of its queries and keys, backward.

use half::bf16;

use super::super::attention::Tokens;
use super::super::{blocks, check, int};
use crate::card::{Argument, Buffer, Card, Launch, Result};

const THREADS: u32 = 128;
const WARPS: usize = 4;
const OWN: usize = 64;

/// What [`attention_kept`](super::super::attention_kept) left, and the slopes of what was found.
#[derive(Debug)]
pub struct Found<'a, C: Card> {
    /// (samples, tokens, heads features)
    pub values: &'a Buffer<C, bf16>,
    /// (samples, heads, tokens)
    pub log_sums: &'a Buffer<C, f32>,
    /// As `values`.
    pub slopes: &'a Buffer<C, bf16>,
}

/// Adds slopes of queries, keys and values, packed as they are, to those of `own` tokens and, where there are any, of the `other` ones.
///
/// # Errors
/// If sizes disagree, a head has features other than 32, 64, 96 or 128, or the card fails.
pub fn attention_back<C: Card>(
    card: &C,
    (own, by_own): (&Tokens<'_, C>, &Buffer<C, f32>),
    other: Option<(&Tokens<'_, C>, &Buffer<C, f32>)>,
    (heads, features): (usize, usize),
    found: &Found<'_, C>,
) -> Result<()> {
    const WHAT: &str = "attention_back";
    let packed = 3 * heads * features;
    let fits = |t: &Tokens<'_, C>, by: &Buffer<C, f32>| {
        let all = t.samples * t.tokens * packed;
        t.samples == own.samples && t.values.len() == all && by.len() == all
    };
    let rows = own.samples * own.tokens;
    let of_found = [found.values, found.slopes].map(|b| b.len() == rows * heads * features);
    check(
        WHAT,
        rows > 0
            && fits(own, by_own)
            && other.is_none_or(|(t, by)| fits(t, by))
            && of_found == [true; 2]
            && found.log_sums.len() == rows * heads,
        || format!("{} values of {rows} tokens", own.values.len()),
    )?;
    let (of_queries, of_keys, step) = match features {
        32 => ("attention_queries_32", "attention_keys_32", 32),
        64 => ("attention_queries_64", "attention_keys_64", 32),
        96 => ("attention_queries_96", "attention_keys_96", 16),
        128 => ("attention_queries_128", "attention_keys_128", 16),
        _ => {
            return check(WHAT, false, || {
                format!("{features} features of a head; 32, 64, 96 or 128")
            });
        }
    };
    let deltas = card.buffer::<f32>(rows * heads)?;
    card.launch(&Launch {
        kernel: "attention_deltas",
        grid: [blocks(WHAT, rows)?, blocks(WHAT, heads.div_ceil(WARPS))?, 1],
        threads: THREADS,
        shared: 0,
        arguments: &[
            found.values.argument(),
            found.slopes.argument(),
            deltas.argument(),
            int(WHAT, own.tokens)?,
            int(WHAT, heads)?,
            int(WHAT, features)?,
        ],
    })?;
    let s = other.map_or(0, |(t, _)| t.tokens);
    let (seen, by_seen) = other.map_or((own.values.argument(), by_own.argument()), |(t, by)| {
        (t.values.argument(), by.argument())
    });
    let shared = 2 * step * (features + 8) * 2;
    let given = [
        own.values.argument(),
        seen,
        found.slopes.argument(),
        found.log_sums.argument(),
        deltas.argument(),
        by_own.argument(),
    ];
    let sizes = [int(WHAT, own.tokens)?, int(WHAT, s)?, int(WHAT, heads)?];
    let grid = |tokens: usize| -> Result<[u32; 3]> {
        Ok([
            blocks(WHAT, tokens.div_ceil(OWN))?,
            blocks(WHAT, heads)?,
            blocks(WHAT, own.samples)?,
        ])
    };
    let launch = |kernel, grid, arguments: &[Argument<'_, C::Memory>]| {
        card.launch(&Launch {
            kernel,
            grid,
            threads: THREADS,
            shared,
            arguments,
        })
    };
    let arguments: Vec<_> = given.iter().chain(&sizes).copied().collect();
    launch(of_queries, grid(own.tokens)?, &arguments)?;
    let arguments: Vec<_> = given.iter().chain([&by_seen]).chain(&sizes).copied().collect();
    launch(of_keys, grid(own.tokens + s)?, &arguments)
}

/// Slopes of `tokens` before [`qk_norm_kept`](super::super::qk_norm_kept), in bf16, from those of what it left.
///
/// # Errors
/// If sizes disagree, or the card fails.
pub fn qk_norm_back<C: Card>(
    card: &C,
    (tokens, rates): (&Buffer<C, bf16>, &Buffer<C, f32>),
    slopes: &Buffer<C, f32>,
    (heads, features): (usize, usize),
) -> Result<Buffer<C, bf16>> {
    const WHAT: &str = "qk_norm_back";
    let packed = 3 * heads * features;
    let rows = tokens.len() / packed.max(1);
    let fits = rows > 0 && tokens.len() == rows * packed && slopes.len() == tokens.len();
    check(WHAT, fits && rates.len() == rows * 2 * heads, || {
        format!("{} slopes are no rows of {packed}", slopes.len())
    })?;
    let out = card.buffer(tokens.len())?;
    card.launch(&Launch {
        kernel: WHAT,
        grid: [blocks(WHAT, rows)?, blocks(WHAT, (3 * heads).div_ceil(WARPS))?, 1],
        threads: THREADS,
        shared: 0,
        arguments: &[
            tokens.argument(),
            rates.argument(),
            slopes.argument(),
            out.argument(),
            int(WHAT, rows)?,
            int(WHAT, heads)?,
            int(WHAT, features)?,
        ],
    })?;
    Ok(out)
}
