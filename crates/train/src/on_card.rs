//! The loss of a batch that is learnt on a card.
//!
//! The card has the loss of [`crate::loss`] and that of latents ([`crate::decomposer`]): what leaves it in a step are three sums and the
//! gradient's norm. A recomposition of latents, or a distance of pictures that latents stand for, goes back through decoders that stay as
//! they are: that loss is the processor's, and what the network says travels.

use candle_core::{Device, Tensor, Var};
use peel_layerdecomp::{
    AlphaComparison, CardEncoding, CardLearner, CardRefining, CardTraining, Comparison, Conditions, LossSums,
    LossTerms, Noisy, Pair, Prediction,
};

use crate::data::loader::Batch;
use crate::loss::{LossParts, LossWeights, Truth};
use crate::{Error, Result};

fn another() -> Error {
    Error::Config("task: the card was given something else to learn".into())
}

/// The network on a card.
///
/// # Errors
/// If something else learns there.
pub(crate) fn network(card: &mut CardLearner) -> Result<&mut dyn CardTraining> {
    match card {
        CardLearner::Network(network) => Ok(network.as_mut()),
        _ => Err(another()),
    }
}

/// The refiner on a card.
///
/// # Errors
/// As [`network`].
pub(crate) fn refiner(card: &mut CardLearner) -> Result<&mut dyn CardRefining> {
    match card {
        CardLearner::Refiner(refiner) => Ok(refiner.as_mut()),
        _ => Err(another()),
    }
}

/// The autoencoder on a card.
///
/// # Errors
/// As [`network`].
pub(crate) fn autoencoder(card: &mut CardLearner) -> Result<&mut dyn CardEncoding> {
    match card {
        CardLearner::Autoencoder(autoencoder) => Ok(autoencoder.as_mut()),
        _ => Err(another()),
    }
}

/// Weights that are the same in every sample, all of whose pictures are compared.
pub(crate) fn plain(weights: &LossWeights, scale: f64) -> LossTerms {
    LossTerms {
        clean: (0.0, 1.0),
        scale: scale as f32,
        mse: weights.mse,
        l1: weights.l1,
        alpha_l1: weights.alpha_l1.unwrap_or(weights.l1),
        consistency: 0.0,
        compared: true,
        effect: weights.effect,
        shadow: weights.shadow,
        threshold: weights.threshold,
    }
}

/// The comparison of refined alpha, of the samples whose layer is known.
pub(crate) fn of_alpha(weights: &LossWeights, batch: &Batch, scale: f64) -> Result<AlphaComparison> {
    let plain = plain(weights, scale);
    let known = |compared: &bool| LossTerms {
        // Alpha is all that there is.
        l1: plain.alpha_l1,
        compared: *compared,
        ..plain
    };
    Ok(AlphaComparison {
        alpha: alpha(batch)?,
        terms: batch.has_foreground.iter().map(known).collect(),
    })
}

/// How much the parts of a sample's loss weigh, and by what its slopes are multiplied.
fn terms(weights: &LossWeights, truth: &Truth<'_>, scale: f64) -> impl Iterator<Item = LossTerms> {
    let plain = plain(weights, scale);
    let consistency = weights.consistency;
    let samples = truth.importance.clone().into_iter().zip(truth.compared.clone());
    samples.map(move |(importance, compared)| {
        let root = importance.sqrt();
        LossTerms {
            mse: importance * plain.mse,
            l1: root * plain.l1,
            alpha_l1: root * plain.alpha_l1,
            consistency: root.min(1.0) * consistency,
            compared,
            ..plain
        }
    })
}

/// The alpha that [`LossWeights::pixels`] looks at.
pub(crate) fn alpha(batch: &Batch) -> Result<Tensor> {
    let (count, size) = (batch.order.count, batch.order.size);
    let plane = size * size;
    let sample = |n: usize| {
        if batch.has_foreground[n] {
            &batch.foreground[(4 * n + 3) * plane..][..plane]
        } else {
            &batch.mask[n * plane..][..plane]
        }
    };
    let values: Vec<f32> = (0..count).flat_map(sample).copied().collect();
    Ok(Tensor::from_vec(values, (count, 1, size, size), &Device::Cpu)?)
}

/// The comparison of pictures: [`crate::loss::loss`], with slopes times `scale`.
pub(crate) fn of_pictures(
    weights: &LossWeights,
    batch: &Batch,
    truth: &Truth<'_>,
    pictures: Prediction,
    scale: f64,
) -> Result<Comparison> {
    Ok(Comparison {
        background: pictures.background,
        foreground: pictures.foreground,
        alpha: alpha(batch)?,
        terms: terms(weights, truth, scale).collect(),
    })
}

/// The comparison of latents, whose errors are squared only. They stand for pictures in -1..1, whose errors are twice those in 0..1.
pub(crate) fn of_latents(
    weights: &LossWeights,
    batch: &Batch,
    truth: &Truth<'_>,
    clean: &Pair,
    scale: f64,
) -> Result<Comparison> {
    let squares = LossWeights {
        mse: weights.mse / 4.0,
        l1: 0.0,
        alpha_l1: None,
        consistency: 0.0,
        ..*weights
    };
    Ok(Comparison {
        background: clean.background.clone(),
        foreground: clean.foreground.clone(),
        alpha: alpha(batch)?,
        terms: terms(&squares, truth, scale).collect(),
    })
}

/// The loss on the card of each comparison; the gradients stay there.
pub(crate) fn learn(
    card: &mut dyn CardTraining,
    (conditions, z): (&Conditions, &Noisy),
    against: &[Comparison],
) -> Result<Vec<LossParts>> {
    let sums = card.learn(conditions, z, against)?;
    let of = |(sums, against): (&LossSums, &Comparison)| {
        let mean = |sum: f32, of: &Tensor| sum / of.elem_count() as f32;
        let background = mean(sums.background, &against.background);
        let foreground = mean(sums.foreground, &against.foreground);
        let consistency = mean(sums.consistency, &against.background);
        LossParts {
            total: background + foreground + consistency,
            background,
            foreground,
            consistency,
            other: 0.0,
        }
    };
    Ok(sums.iter().zip(against).map(of).collect())
}

/// A loss on the processor of what the network on a card says: `of` takes clean layers to values and a differentiable scalar.
pub(crate) fn beside(
    card: &mut dyn CardTraining,
    (conditions, z): (&Conditions, &Noisy),
    clean: impl FnOnce(Pair) -> Result<Pair>,
    of: impl FnOnce(&Pair) -> Result<(LossParts, Tensor)>,
    scale: f64,
) -> Result<LossParts> {
    card.show(conditions, z)?;
    let said = card.said()?;
    let background = Var::from_tensor(&said.background)?;
    let foreground = Var::from_tensor(&said.foreground)?;
    let layers = clean(Pair {
        background: background.as_tensor().clone(),
        foreground: foreground.as_tensor().clone(),
    })?;
    let (parts, sum) = of(&layers)?;
    let slopes = (sum * scale)?.backward()?;
    let by = |layer: &Var| match slopes.get(layer) {
        Some(slopes) => Ok(slopes.clone()),
        None => layer.zeros_like(),
    };
    card.backward(&Pair {
        background: by(&background)?,
        foreground: by(&foreground)?,
    })?;
    Ok(parts)
}
