//! A tensor for each of the two noisy streams.

use candle_core::Tensor;

use crate::Result;

/// Background and foreground in the space in which the model diffuses: pictures in -1..1 for a pixel model, scaled latents
/// for a latent one. (N, C, H, W) each; C may differ.
#[derive(Debug, Clone)]
pub struct Pair {
    /// Of the background.
    pub background: Tensor,
    /// Of the foreground.
    pub foreground: Tensor,
}

impl Pair {
    /// The weighted sum of pairs, from left to right; terms of weight 0 are left out.
    ///
    /// # Errors
    /// If shapes disagree or there is nothing to add.
    pub(crate) fn sum(terms: &[(f64, &Self)]) -> Result<Self> {
        let add = |of: fn(&Self) -> &Tensor| -> Result<Tensor> {
            let mut total: Option<Tensor> = None;
            for (weight, pair) in terms.iter().filter(|t| t.0 != 0.0) {
                let term = of(pair).affine(*weight, 0.0)?;
                total = Some(match total {
                    None => term,
                    Some(total) => total.add(&term)?,
                });
            }
            match (total, terms.first()) {
                (Some(total), _) => Ok(total),
                (None, Some(first)) => Ok(of(first.1).zeros_like()?),
                (None, None) => Err(candle_core::Error::Msg("a sum of nothing".into()).into()),
            }
        };
        Ok(Self {
            background: add(|p| &p.background)?,
            foreground: add(|p| &p.foreground)?,
        })
    }
}
