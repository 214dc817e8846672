//! What a configuration costs: parameters, memory, work. Nothing is allocated.

use std::fmt;

use crate::config::TokenizerConfig;
use crate::pixels::Hints;
use crate::vae::VaeConfig;
use crate::weights::{Precision, is_product, shapes};
use crate::{Config, Error, Head, RefineConfig, Result};

/// The cost of a configuration, see [`info`].
#[derive(Debug, Clone, PartialEq)]
pub struct ModelInfo {
    /// The configuration's name.
    pub name: String,
    /// Parameters of the network, without autoencoders.
    pub parameters: u64,
    /// Parameters of both autoencoders; 0 for a pixel model.
    pub autoencoders: u64,
    /// Named tensors.
    pub tensors: usize,
    /// Bytes of loaded weights for each precision: that of the linear layers, all else being f32.
    pub memory: Vec<(Precision, u64)>,
    /// Height and width of the picture that [`ModelInfo::work`] is about.
    pub size: (usize, usize),
    /// Tokens of it.
    pub tokens: Tokens,
    /// Floating point operations for it.
    pub work: Work,
}

impl ModelInfo {
    /// What the paper says of its model, without autoencoders.
    pub const PAPER_PARAMETERS: u64 = 5_000_000_000;
}

/// Tokens in the transformer for one picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tokens {
    /// Of one stream.
    pub stream: u64,
    /// Of the noisy streams: background and foreground.
    pub noisy: u64,
    /// Of the condition streams: plate and mask, or the one that both are folded into.
    pub condition: u64,
}

impl Tokens {
    /// Streams that stand beside each other.
    #[must_use]
    pub fn streams(&self) -> u64 {
        (self.noisy + self.condition) / self.stream.max(1)
    }
}

/// Floating point operations for one picture; a multiplication with its addition counts two. Matrix products, convolutions and
/// attention are counted; norms, activations and the time's own layers, together below a percent, are not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Work {
    /// Encoding of plate and mask, once a picture.
    pub encode: u64,
    /// The condition tokens' way through the blocks, seeing each other: once a picture with the condition cache, in each step
    /// without.
    pub condition: u64,
    /// What it costs more, in each step, that they see the noisy tokens too: without the condition cache.
    pub crossing: u64,
    /// The noisy tokens' way through the blocks, with patches and head: each step.
    pub noisy: u64,
    /// From latents to pictures, once a picture.
    pub decode: u64,
    /// The refiner, once a picture, at its own finer size.
    pub refine: u64,
}

impl Work {
    /// One denoising step with the condition cache.
    #[must_use]
    pub fn step_cached(&self) -> u64 {
        self.noisy
    }

    /// A picture in so many steps, from encoding to refining.
    #[must_use]
    pub fn total(&self, steps: u64, cached: bool) -> u64 {
        let (once, each) = if cached {
            (self.condition, self.step_cached())
        } else {
            (0, self.step_uncached())
        };
        self.encode + once + steps * each + self.decode + self.refine
    }

    /// One denoising step without the condition cache.
    #[must_use]
    pub fn step_uncached(&self) -> u64 {
        self.noisy + self.condition + self.crossing
    }
}

/// Parameters, memory and work of a configuration for pictures of (height, width).
///
/// # Errors
/// If the configuration contradicts itself or the size is not a multiple of its stride.
pub fn info(config: &Config, size: (usize, usize)) -> Result<ModelInfo> {
    let stride = config.stride();
    if size.0 == 0 || size.1 == 0 || !size.0.is_multiple_of(stride) || !size.1.is_multiple_of(stride) {
        return Err(Error::Config(format!(
            "{} x {}: sides must be multiples of {stride}",
            size.1, size.0
        )));
    }
    let (mut parameters, mut autoencoders, mut products, mut rows, mut rest) = (0, 0, 0, 0, 0);
    let shapes = shapes(config)?;
    for (name, dims) in &shapes {
        let count = dims.iter().product::<usize>() as u64;
        *if name.starts_with("vae.") {
            &mut autoencoders
        } else {
            &mut parameters
        } += count;
        if is_product(name, dims) {
            products += count;
            rows += dims[0] as u64;
        } else {
            rest += count;
        }
    }
    let memory = Precision::ALL.map(|p| {
        let bytes = match p {
            Precision::F32 => 4 * products,
            Precision::F16 | Precision::Bf16 => 2 * products,
            Precision::Int8 => products + 4 * rows,
        };
        (p, bytes + 4 * rest)
    });
    Ok(ModelInfo {
        name: config.name.clone(),
        parameters,
        autoencoders,
        tensors: shapes.len(),
        memory: memory.to_vec(),
        size,
        tokens: tokens(config, size),
        work: work(config, size),
    })
}

fn tokens(config: &Config, (h, w): (usize, usize)) -> Tokens {
    let stream = ((h / config.stride()) * (w / config.stride())) as u64;
    Tokens {
        stream,
        noisy: 2 * stream,
        condition: if config.fold_mask { stream } else { 2 * stream },
    }
}

fn work(config: &Config, (h, w): (usize, usize)) -> Work {
    let tokens = tokens(config, (h, w));
    let [stream, noisy, condition] =
        [tokens.stream, tokens.noisy, tokens.condition].map(|count| count as usize);
    let (d, depth) = (config.width, config.depth);
    // Queries, keys, values, the way out, and the two feed-forward layers.
    let linear = |tokens: usize| 2 * tokens * d * d * (4 + 2 * config.mlp_ratio);
    let attention = |queries: usize, keys: usize| 4 * queries * keys * d;
    let condition_block = linear(condition) + attention(condition, condition);
    // The last block asks the condition tokens for keys and values only.
    let condition_blocks = (depth - 1) * condition_block + 6 * condition * d * d;
    let noisy_blocks = depth * (linear(noisy) + attention(noisy, noisy + condition));
    let (encode, inside, decode) = match &config.tokenizer {
        TokenizerConfig::Pixels {
            patch,
            stem,
            fine,
            head,
            ..
        } => pixels(
            *patch,
            (stem, *fine),
            Hints::of(&config.tokenizer).channels(),
            *head,
            d,
            (h, w),
        ),
        TokenizerConfig::Latent { patch, vae } => {
            let features = vae.latent * patch * patch;
            let patches = 2 * 2 * stream * features * d;
            let (encode, decode) = autoencoder(vae, (h, w));
            (2 * encode + patches, 2 * patches, 2 * decode)
        }
    };
    Work {
        encode: encode as u64,
        condition: condition_blocks as u64,
        crossing: ((depth - 1) * attention(condition, noisy)) as u64,
        noisy: (noisy_blocks + inside) as u64,
        decode: decode as u64,
        refine: config.refine.as_ref().map_or(0, |r| refiner(r, (h, w))) as u64,
    }
}

/// The refiner beside a prediction of (height, width).
fn refiner(config: &RefineConfig, (h, w): (usize, usize)) -> usize {
    let area = |level: usize| ((h * config.scale) >> level) * ((w * config.scale) >> level);
    let (c, inputs) = (config.width, crate::refine::INPUTS);
    conv(inputs, c, area(1))
        + conv(c, 2 * c, area(2))
        + conv(2 * c, 2 * c, area(2))
        + conv(3 * c, c, area(1))
        + conv(c + inputs, c, area(0))
        + conv(c, 1, area(0))
}

/// A 3x3 convolution.
fn conv(inputs: usize, outputs: usize, pixels: usize) -> usize {
    2 * 9 * inputs * outputs * pixels
}

/// Stem with embeddings, patches with head, and no decoding.
fn pixels(
    patch: usize,
    (stem, fine): (&[usize; 4], usize),
    inputs: usize,
    head: Head,
    d: usize,
    (h, w): (usize, usize),
) -> (usize, usize, usize) {
    let area = |level: usize| (h >> level) * (w >> level);
    let tokens = area(4);
    let stages: usize = (0..4)
        .map(|i| conv(if i == 0 { inputs } else { stem[i - 1] }, stem[i], area(i + 1)))
        .sum();
    let embeddings = 2 * tokens * d * (stem[3] + patch * patch);
    let joined = |channels: usize| if head == Head::Skips { channels } else { 0 };
    let levels: usize = (0..3)
        .map(|i| {
            let (from, to) = (stem[3 - i], stem[2 - i]);
            conv(from + joined(to), to, area(3 - i)) + conv(to, to, area(3 - i))
        })
        .sum();
    let ends = conv(stem[0] + joined(inputs), fine, area(0)) + conv(fine, crate::pixels::OUTPUTS, area(0));
    let patches = 2 * tokens * d * 7 * patch * patch;
    let head = match head {
        Head::Linear => patches,
        Head::Skips | Head::NoSkips => 2 * tokens * 2 * d * stem[3] + levels + ends,
    };
    (stages + embeddings, patches + head, 0)
}

/// Encoder and decoder of one autoencoder, as if for three channels.
fn autoencoder(vae: &VaeConfig, (h, w): (usize, usize)) -> (usize, usize) {
    let VaeConfig {
        channels,
        blocks,
        latent,
        bypass,
        ..
    } = vae;
    let area = |level: usize| (h >> level) * (w >> level);
    let last = channels.len() - 1;
    let (deepest, coarse) = (channels[last], area(last));
    let residual = |from: usize, to: usize, pixels: usize| {
        let shortcut = if from == to { 0 } else { 2 * from * to * pixels };
        conv(from, to, pixels) + conv(to, to, pixels) + shortcut
    };
    let level = |from: usize, to: usize, blocks: usize, pixels: usize| {
        residual(from, to, pixels) + (blocks - 1) * residual(to, to, pixels)
    };
    let attention = 8 * coarse * deepest * deepest + 4 * coarse * coarse * deepest;
    let middle = 2 * residual(deepest, deepest, coarse) + attention;
    let mut encode = conv(3, channels[0], area(0)) + middle + conv(deepest, 2 * latent, coarse);
    let mut decode = conv(*latent, deepest, coarse) + middle + conv(channels[0], 3, area(0));
    for i in 0..=last {
        encode += level(channels[i.saturating_sub(1)], channels[i], *blocks, area(i));
        decode += level(channels[(i + 1).min(last)], channels[i], blocks + 1, area(i));
        if i < last {
            encode += conv(channels[i], channels[i], area(i + 1));
            decode += conv(channels[i + 1], channels[i + 1], area(i));
        }
    }
    if *bypass {
        let straight = 2 * 3 * latent * area(0);
        (encode, decode) = (encode + straight, decode + straight);
    }
    (encode, decode)
}

/// A number with three digits and a decimal prefix.
fn scaled(value: u64, unit: &str) -> String {
    let mut value = value as f64;
    let mut prefixes = ["", "k", "M", "G", "T", "P"].into_iter();
    let mut prefix = prefixes.next().unwrap_or_default();
    // Rounded to three digits, 999.6 is a thousand.
    while value >= 999.5 {
        let Some(next) = prefixes.next() else { break };
        (value, prefix) = (value / 1000.0, next);
    }
    let decimals = match value {
        v if v < 9.995 => 2,
        v if v < 99.95 => 1,
        _ => 0,
    };
    format!("{value:.decimals$} {prefix}{unit}")
        .trim_end()
        .to_string()
}

impl fmt::Display for ModelInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.name)?;
        write!(f, "  parameters   {}", scaled(self.parameters, ""))?;
        if self.autoencoders > 0 {
            write!(f, ", and {} in two autoencoders", scaled(self.autoencoders, ""))?;
        }
        writeln!(f, "; {} tensors", self.tensors)?;
        for (precision, bytes) in &self.memory {
            writeln!(f, "  {:<12} {}", precision.to_string(), scaled(*bytes, "B"))?;
        }
        let (h, w) = self.size;
        writeln!(f, "  for a picture of {w} x {h}:")?;
        for (what, work) in [
            ("encoding, once", self.work.encode),
            ("conditions, once with condition cache", self.work.condition),
            ("a step with condition cache", self.work.step_cached()),
            ("a step without", self.work.step_uncached()),
            ("decoding, once", self.work.decode),
            ("refining alpha, once", self.work.refine),
        ] {
            // A pixel model decodes nothing, and few models refine.
            if work > 0 {
                writeln!(f, "    {what:<38} {}", scaled(work, "FLOP"))?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{PUBLISHED, SMALL};

    #[test]
    fn the_published_preset_has_five_billion_parameters() {
        let info = info(&Config::from_ron(PUBLISHED).unwrap(), (512, 512)).unwrap();
        let off = info.parameters as f64 / 5.0e9 - 1.0;
        assert!(off.abs() < 0.02, "{} parameters, {off:+.4}", info.parameters);
        // Two of the usual size: 84 million each.
        assert!(
            (info.autoencoders as f64 / 167.6e6 - 1.0).abs() < 0.01,
            "{}",
            info.autoencoders
        );
        let all = info.parameters + info.autoencoders;
        assert_eq!(info.memory[0], (Precision::F32, 4 * all));
        // Tokens times parameters times two, and attention on top.
        let tokens = 4 * 32 * 32;
        assert!(info.work.step_uncached() > 2 * tokens * 4_900_000_000);
        assert!(info.work.step_cached() * 2 > info.work.step_uncached());
        assert_eq!((info.tokens.stream, info.tokens.streams()), (1024, 4));
        let without = info.work.encode + 50 * info.work.step_uncached() + info.work.decode;
        assert_eq!(info.work.total(50, false), without);
        assert!(info.work.total(50, true) < without);
        let text = info.to_string();
        assert!(
            text.contains("parameters   5.04 G, and 168 M in two autoencoders"),
            "{text}"
        );
        assert!(
            text.contains("layerdecomp-5b") && text.contains("int8") && text.contains("512 x 512"),
            "{text}"
        );
    }

    #[test]
    fn the_small_preset_is_small_and_sizes_are_checked() {
        let config = Config::from_ron(SMALL).unwrap();
        let small = info(&config, (128, 128)).unwrap();
        assert!(
            (3_900_000..4_200_000).contains(&small.parameters),
            "{}",
            small.parameters
        );
        assert_eq!((small.autoencoders, small.work.decode), (0, 0));
        assert!(info(&config, (128, 100)).is_err_and(|e| e.to_string().contains("16")));
    }
}
