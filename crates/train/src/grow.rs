//! More blocks, and more to see, for a network that has learnt what it can.
//!
//! A stage of a run may ask for a deeper transformer than the one before, or than the weights that the run starts from. The new blocks stand before the last one. Each is a copy of
//! the block below it, but that what it adds to its tokens is nothing yet: the deeper network says what the shallow one said,
//! to the bit, and learns from there (progressive stacking, Gong et al. 2019, with the zero start of Chen et al., Net2Net, 2016). Where the model sees
//! more of the plate than the weights that a run starts from, what they did not see counts for nothing at first.

use std::collections::HashMap;
use std::ops::Range;

use candle_core::Tensor;
use peel_layerdecomp::TokenizerConfig;

use crate::{Error, Result};

/// Where a deeper network has its values from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Growth {
    /// Blocks of the network that is there.
    from: usize,
    /// Blocks of the one that is wanted.
    to: usize,
}

/// What a variable of the deeper network starts as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Source {
    /// All that is known of a variable: values, average, moments.
    Whole(String),
    /// The values and the average of a variable; nothing has moved them yet.
    Values(String),
    /// Zeros.
    Nothing,
}

impl Growth {
    /// From a network of `from` blocks to one of `to`.
    ///
    /// # Errors
    /// If blocks would be lost, or there is none to copy: the last block lacks parts that others have.
    pub fn new(from: usize, to: usize) -> Result<Self> {
        if from == to || (2..to).contains(&from) {
            return Ok(Self { from, to });
        }
        Err(Error::Config(format!(
            "stages: a network of {from} blocks cannot become one of {to}; it can only grow, from 2 blocks on"
        )))
    }

    fn added(self) -> Range<usize> {
        self.from.saturating_sub(1)..self.to.saturating_sub(1)
    }

    /// What the variable `name` of the deeper network starts as.
    pub fn source(self, name: &str) -> Source {
        let Some((block, rest)) = block_of(name) else {
            return Source::Whole(name.to_owned());
        };
        let called = |block: usize| format!("{BLOCKS}{block}.{rest}");
        if block < self.added().start {
            Source::Whole(name.to_owned())
        } else if !self.added().contains(&block) {
            Source::Whole(called(block - self.added().len()))
        } else if rest.starts_with("out.") || rest.starts_with("down.") {
            Source::Nothing
        } else {
            Source::Values(called(self.added().start - 1))
        }
    }
}

const BLOCKS: &str = "blocks.";

/// Number of the block that a variable belongs to, and its name within.
fn block_of(name: &str) -> Option<(usize, &str)> {
    let (block, rest) = name.strip_prefix(BLOCKS)?.split_once('.')?;
    Some((block.parse().ok()?, rest))
}

/// Blocks of the network that has variables of these names, if it has any.
pub(crate) fn depth<'a>(names: impl Iterator<Item = &'a str>) -> Option<usize> {
    names.filter_map(block_of).map(|(block, _)| block + 1).max()
}

/// The weights of a network of `to` blocks that says what the network of these weights says.
///
/// # Errors
/// If that has more blocks, or a single one.
pub(crate) fn grown(tensors: &HashMap<String, Tensor>, to: usize) -> Result<HashMap<String, Tensor>> {
    let growth = Growth::new(depth(tensors.keys().map(String::as_str)).unwrap_or(to), to)?;
    // A block has the names of the first one; the last may lack some, and the new ones have those that the others have.
    let names = tensors.keys().flat_map(|name| match block_of(name) {
        Some((0, rest)) => (0..to).map(|block| format!("{BLOCKS}{block}.{rest}")).collect(),
        Some(_) => Vec::new(),
        None => vec![name.clone()],
    });
    let mut grown = HashMap::new();
    for name in names {
        let tensor = match growth.source(&name) {
            Source::Whole(from) | Source::Values(from) => tensors.get(&from).cloned(),
            // Zeros have the shape of any block's.
            Source::Nothing => block_of(&name)
                .and_then(|(_, rest)| tensors.get(&format!("{BLOCKS}0.{rest}")))
                .map(Tensor::zeros_like)
                .transpose()?,
        };
        if let Some(tensor) = tensor {
            grown.insert(name, tensor);
        }
    }
    Ok(grown)
}

/// Weights of a pixel model of `tokenizer` that has seen fewer pictures of the plate: of new ones it sees nothing yet. They come last,
/// as where `casts` is added to `patches`.
///
/// # Errors
/// If a tensor operation fails.
pub(crate) fn see_more(tensors: &mut HashMap<String, Tensor>, tokenizer: &TokenizerConfig) -> Result<()> {
    let (TokenizerConfig::Pixels { stem, .. }, Some(pictures)) = (tokenizer, tokenizer.picture_channels())
    else {
        return Ok(());
    };
    for (name, inputs) in [
        ("stem.0.conv.weight", pictures),
        ("head.fine.weight", stem[0] + pictures),
    ] {
        if let Some(kernel) = tensors.get_mut(name)
            && kernel.rank() == 4
        {
            let more = inputs.saturating_sub(kernel.dim(2)?);
            *kernel = kernel.pad_with_zeros(2, 0, more)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use candle_core::{DType, Device};
    use candle_nn::{VarBuilder, VarMap};
    use peel_layerdecomp::{Conditions, Config, Model, Noise, Sampling, seeded_builder};

    use super::*;

    fn config(depth: usize) -> Config {
        let text = r#"Config(format: 1, name: "test", width: 16, depth: 2, heads: 2, fold_mask: true, condition_cache: true,
            tokenizer: Pixels(patch: 16, stem: (4, 4, 8, 8), prefill: 2))"#;
        Config {
            depth,
            ..Config::from_ron(text).unwrap()
        }
    }

    fn model(depth: usize, seed: u64) -> (Model, VarMap) {
        let map = VarMap::new();
        let model = Model::new(&config(depth), seeded_builder(&map, seed, &Device::Cpu)).unwrap();
        for (i, (_, var)) in map.data().lock().unwrap().iter().enumerate() {
            // Layers that start at zero would hide what they are given.
            let stirred = Noise::new(i as u64, seed)
                .normal_tensor(var.shape().clone(), &Device::Cpu)
                .unwrap();
            var.set(&(var.as_tensor() + (stirred * 0.1).unwrap()).unwrap())
                .unwrap();
        }
        (model, map)
    }

    fn seen() -> Conditions {
        let picture = |channels: usize, seed| {
            let values = Noise::new(seed, 0).uniform(channels * 32 * 32, 0.0, 1.0);
            Tensor::from_vec(values, (1, channels, 32, 32), &Device::Cpu).unwrap()
        };
        Conditions {
            plate: picture(3, 1),
            mask: picture(1, 2).round().unwrap(),
        }
    }

    fn said(model: &Model, c: &Conditions) -> Vec<f32> {
        let said = model.sample(c, &Sampling::default(), &|_, _| true).unwrap();
        said.foreground.flatten_all().unwrap().to_vec1::<f32>().unwrap()
    }

    #[test]
    fn a_grown_network_says_what_the_small_one_said() {
        let (small, values) = model(2, 1);
        let (large, grown) = model(5, 2);
        let growth = Growth::new(2, 5).unwrap();
        let values = values.data().lock().unwrap();
        let mut new = 0;
        for (name, var) in grown.data().lock().unwrap().iter() {
            match growth.source(name) {
                Source::Whole(from) | Source::Values(from) => var.set(values[&from].as_tensor()).unwrap(),
                Source::Nothing => {
                    var.set(&var.zeros_like().unwrap()).unwrap();
                    new += 1;
                }
            }
        }
        assert_eq!(new, 3 * 4);
        // From files it is the same.
        let small_values = values
            .iter()
            .map(|(name, var)| (name.clone(), var.as_tensor().clone()));
        let from_files = super::grown(&small_values.collect(), 5).unwrap();
        assert_eq!(from_files.len(), grown.data().lock().unwrap().len());
        for (name, var) in grown.data().lock().unwrap().iter() {
            let flat = |t: &Tensor| t.flatten_all().unwrap().to_vec1::<f32>().unwrap();
            assert_eq!(flat(var), flat(&from_files[name]), "{name}");
        }
        let c = seen();
        assert_eq!(said(&small, &c), said(&large, &c));
    }

    #[test]
    fn a_network_that_sees_more_says_what_it_said() {
        let (small, values) = model(2, 1);
        let mut wide = config(2);
        if let TokenizerConfig::Pixels { patches, casts, .. } = &mut wide.tokenizer {
            (*patches, *casts) = (true, true);
        }
        let mut values: HashMap<String, Tensor> = (values.data().lock().unwrap().iter())
            .map(|(name, var)| (name.clone(), var.as_tensor().clone()))
            .collect();
        see_more(&mut values, &wide.tokenizer).unwrap();
        let c = seen();
        let large = VarBuilder::from_tensors(values, DType::F32, &Device::Cpu);
        let large = Model::new(&wide, large).unwrap();
        assert_eq!(said(&small, &c), said(&large, &c));
    }

    #[test]
    fn names_go_to_the_blocks_that_they_came_from() {
        let growth = Growth::new(4, 6).unwrap();
        let whole = |name: &str| Source::Whole(name.to_owned());
        assert_eq!(growth.source("blocks.2.up.weight"), whole("blocks.2.up.weight"));
        assert_eq!(
            growth.source("blocks.3.up.weight"),
            Source::Values("blocks.2.up.weight".into())
        );
        assert_eq!(growth.source("blocks.4.down.bias"), Source::Nothing);
        assert_eq!(growth.source("blocks.5.out.weight"), whole("blocks.3.out.weight"));
        assert_eq!(growth.source("head.out.weight"), whole("head.out.weight"));
        assert_eq!(
            depth(["blocks.0.up.weight", "blocks.11.qkv.bias", "head.x"].into_iter()),
            Some(12)
        );
        assert!(Growth::new(4, 3).is_err() && Growth::new(1, 2).is_err() && Growth::new(1, 1).is_ok());
    }
}
