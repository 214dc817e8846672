//! Attention over packed queries, keys and values.

use half::bf16;

use super::{blocks, check, int};
use crate::card::{Argument, Buffer, Card, Launch, Result};

const THREADS: u32 = 128;
const QUERIES: usize = 64;
const KEYS: usize = 64;

/// Packed queries, keys and values (samples, tokens, 3 heads features).
#[derive(Debug)]
pub struct Tokens<'a, C: Card> {
    /// Normalised by [`qk_norm`].
    pub values: &'a Buffer<C, bf16>,
    /// Samples; 1 beside more serves all of them.
    pub samples: usize,
    /// Tokens of a sample.
    pub tokens: usize,
}

/// `softmax(q kᵀ) v`: `own` asks and is seen, `other` is only seen (the condition cache). The result is (samples, tokens, heads
/// features).
///
/// # Errors
/// If sizes disagree, a head has features other than 32, 64, 96 or 128, or the card fails.
pub fn attention<C: Card>(
    card: &C,
    own: &Tokens<'_, C>,
    other: Option<&Tokens<'_, C>>,
    heads: usize,
    features: usize,
) -> Result<Buffer<C, bf16>> {
    attend(card, own, other, heads, features, None)
}

/// As [`attention`], with the logarithm of each query's sum of weights, (samples, heads, tokens), for the backward pass.
///
/// # Errors
/// As [`attention`].
pub fn attention_kept<C: Card>(
    card: &C,
    own: &Tokens<'_, C>,
    other: Option<&Tokens<'_, C>>,
    heads: usize,
    features: usize,
) -> Result<(Buffer<C, bf16>, Buffer<C, f32>)> {
    let log_sums = card.buffer(own.samples * heads * own.tokens)?;
    let found = attend(card, own, other, heads, features, Some(&log_sums))?;
    Ok((found, log_sums))
}

fn attend<C: Card>(
    card: &C,
    own: &Tokens<'_, C>,
    other: Option<&Tokens<'_, C>>,
    heads: usize,
    features: usize,
    log_sums: Option<&Buffer<C, f32>>,
) -> Result<Buffer<C, bf16>> {
    const WHAT: &str = "attention";
    let packed = 3 * heads * features;
    let fits = |t: &Tokens<'_, C>| t.values.len() == t.samples * t.tokens * packed;
    check(WHAT, own.tokens > 0 && own.samples > 0 && fits(own), || {
        format!(
            "{} values are not {}x{}x{packed}",
            own.values.len(),
            own.samples,
            own.tokens
        )
    })?;
    let kernel = match features {
        32 => "attention_32",
        64 => "attention_64",
        96 => "attention_96",
        128 => "attention_128",
        _ => {
            return check(WHAT, false, || {
                format!("{features} features of a head; 32, 64, 96 or 128")
            })
            .and_then(|()| card.buffer(0));
        }
    };
    let (seen, s, stride) = match other {
        None => (own.values.argument(), 0, 0),
        Some(t) => {
            let stride = if t.samples == 1 { 0 } else { t.tokens * packed };
            check(
                WHAT,
                fits(t) && (t.samples == 1 || t.samples == own.samples),
                || {
                    format!(
                        "{} values of {} samples beside {}",
                        t.values.len(),
                        t.samples,
                        own.samples
                    )
                },
            )?;
            (t.values.argument(), t.tokens, stride)
        }
    };
    let y = card.buffer(own.samples * own.tokens * heads * features)?;
    card.launch(&Launch {
        kernel,
        grid: [
            blocks(WHAT, own.tokens.div_ceil(QUERIES))?,
            blocks(WHAT, heads)?,
            blocks(WHAT, own.samples)?,
        ],
        threads: THREADS,
        shared: 2 * KEYS * (features + 8) * 2,
        arguments: &[
            own.values.argument(),
            seen,
            y.argument(),
            log_sums.map_or(Argument::Null, Buffer::argument),
            int(WHAT, own.tokens)?,
            int(WHAT, s)?,
            int(WHAT, heads)?,
            int(WHAT, stride)?,
        ],
    })?;
    Ok(y)
}

/// Layer norm of the queries and keys of each head, in place, queries by 1 / √features besides; `tokens` is (rows, 3 heads features).
///
/// # Errors
/// If sizes disagree, or the card fails.
pub fn qk_norm<C: Card>(
    card: &C,
    tokens: &Buffer<C, bf16>,
    heads: usize,
    features: usize,
    epsilon: f32,
) -> Result<()> {
    normalise(card, tokens, (heads, features), epsilon, None)
}

/// As [`qk_norm`], with 1 / sd of each query and key, (rows, 2 heads), for the backward pass.
///
/// # Errors
/// As [`qk_norm`].
pub fn qk_norm_kept<C: Card>(
    card: &C,
    tokens: &Buffer<C, bf16>,
    heads: usize,
    features: usize,
    epsilon: f32,
) -> Result<Buffer<C, f32>> {
    let rates = card.buffer(tokens.len() / (3 * heads * features).max(1) * 2 * heads)?;
    normalise(card, tokens, (heads, features), epsilon, Some(&rates))?;
    Ok(rates)
}

fn normalise<C: Card>(
    card: &C,
    tokens: &Buffer<C, bf16>,
    (heads, features): (usize, usize),
    epsilon: f32,
    rates: Option<&Buffer<C, f32>>,
) -> Result<()> {
    const WHAT: &str = "qk_norm";
    let packed = 3 * heads * features;
    check(WHAT, packed > 0 && tokens.len().is_multiple_of(packed), || {
        format!("{} values are no rows of {packed}", tokens.len())
    })?;
    let rows = tokens.len() / packed;
    card.launch(&Launch {
        kernel: "qk_norm",
        grid: [
            blocks(WHAT, rows.max(1))?,
            blocks(WHAT, (2 * heads).div_ceil(THREADS as usize / 32))?,
            1,
        ],
        threads: THREADS,
        shared: 0,
        arguments: &[
            tokens.argument(),
            rates.map_or(Argument::Null, Buffer::argument),
            int(WHAT, rows)?,
            int(WHAT, heads)?,
            int(WHAT, features)?,
            Argument::Float(epsilon),
        ],
    })
}
