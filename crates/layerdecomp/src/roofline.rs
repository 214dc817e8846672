//! The least time that a model's arithmetic and memory traffic can take on a machine: on paper, for machines that are not at hand.
//!
//! A part of the work (encoding, the condition tokens, a step, decoding) takes at least as long as its operations at the
//! machine's peak, and at least as long as its *compulsory* bytes at the memory's bandwidth; the larger of the two is its floor.
//! Compulsory is what no cache and no fusion can avoid: every weight once a part, in bf16; cached keys and values of the
//! condition tokens; the part's pictures in and out, in f32. Activations that pass from one kernel to the next are told beside
//! it, since they may stay in the second-level cache and do so for small pictures; they are not in the floor.

use crate::config::TokenizerConfig;
use crate::weights::shapes;
use crate::{Config, Result, info};

/// What a machine can do at most.
#[derive(Debug, Clone, PartialEq)]
pub struct Machine {
    /// Its name.
    pub name: String,
    /// Floating point operations a second: dense products of bf16, summed in f32.
    pub flops: f64,
    /// Bytes a second from and to its memory.
    pub bandwidth: f64,
}

/// Peak figures of NVIDIA's data sheets: bf16 without sparsity, teraflops; memory, gigabytes a second; words of the device's name.
const CARDS: [(&str, f64, f64, &str); 3] = [
    ("H100 SXM", 989.4, 3352.0, "H100"),
    ("L40S", 362.1, 864.0, "L40S"),
    ("RTX 4090", 165.2, 1008.0, "4090"),
];

impl Machine {
    /// The cards that the table is about.
    #[must_use]
    pub fn cards() -> Vec<Machine> {
        CARDS.iter().map(Machine::sheet).collect()
    }

    /// The card of the table that a driver calls by this name.
    #[must_use]
    pub fn of_device(name: &str) -> Option<Machine> {
        CARDS
            .iter()
            .find(|card| name.contains(card.3))
            .map(Machine::sheet)
    }

    fn sheet(&(name, teraflops, gigabytes, _): &(&str, f64, f64, &str)) -> Machine {
        Machine {
            name: name.to_owned(),
            flops: teraflops * 1e12,
            bandwidth: gigabytes * 1e9,
        }
    }
}

/// What a part of the work asks of a machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Demand {
    /// Floating point operations.
    pub flop: u64,
    /// Compulsory bytes.
    pub bytes: u64,
    /// Bytes that kernels hand to each other besides, as they are written here.
    pub between: u64,
}

impl Demand {
    /// The least time in seconds.
    #[must_use]
    pub fn floor(&self, machine: &Machine) -> f64 {
        (self.flop as f64 / machine.flops).max(self.bytes as f64 / machine.bandwidth)
    }

    /// Whether arithmetic, not memory, decides the floor.
    #[must_use]
    pub fn is_bound_by_arithmetic(&self, machine: &Machine) -> bool {
        self.flop as f64 * machine.bandwidth >= self.bytes as f64 * machine.flops
    }
}

/// The parts of the work for a batch of pictures of one size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Demands {
    /// Encoding plate and mask, once a picture.
    pub encode: Demand,
    /// The condition tokens by themselves, once a picture: with the condition cache.
    pub condition: Demand,
    /// A step with the condition cache.
    pub step_cached: Demand,
    /// A step without.
    pub step_uncached: Demand,
    /// Latents to pictures, once a picture.
    pub decode: Demand,
}

impl Demands {
    /// A step, with or without the condition cache.
    #[must_use]
    pub fn step(&self, cached: bool) -> Demand {
        if cached {
            self.step_cached
        } else {
            self.step_uncached
        }
    }

    /// The least time in seconds of so many steps with all that is done once.
    #[must_use]
    pub fn floor(&self, machine: &Machine, steps: u64, cached: bool) -> f64 {
        let condition = if cached {
            self.condition.floor(machine)
        } else {
            0.0
        };
        let once = self.encode.floor(machine) + condition + self.decode.floor(machine);
        once + steps as f64 * self.step(cached).floor(machine)
    }
}

/// Bytes of a bf16 and of an f32.
const HALF: u64 = 2;
const FULL: u64 = 4;

/// What a batch of pictures of (height, width) asks for.
///
/// # Errors
/// As [`info`].
pub fn demands(config: &Config, size: (usize, usize), batch: u64) -> Result<Demands> {
    let info = info(config, size)?;
    let (work, tokens) = (&info.work, &info.tokens);
    let (mut encoder, mut decoder, mut rest) = (0, 0, 0);
    for (name, dims) in shapes(config)? {
        let count = dims.iter().product::<usize>() as u64;
        // The pixel model's decoder runs in each step, an autoencoder's once.
        let once = ["stem.", "embed.plate", "embed.mask"]
            .iter()
            .any(|p| name.starts_with(p));
        *if once || (name.starts_with("vae.") && name.contains("encoder")) {
            &mut encoder
        } else if name.starts_with("vae.") {
            &mut decoder
        } else {
            &mut rest
        } += HALF * count;
    }
    let (width, depth) = (config.width as u64, config.depth as u64);
    let pixels = (size.0 * size.1) as u64;
    // What the tokenizer hands over for a stream: features of its noisy tokens.
    let stream = match &config.tokenizer {
        TokenizerConfig::Pixels { .. } => 7 * pixels,
        TokenizerConfig::Latent { patch, vae } => 2 * tokens.stream * (vae.latent * patch * patch) as u64,
    };
    let keys = depth * 2 * tokens.condition * width * HALF;
    let block = |count: u64| depth * count * width * (56 + 4 * config.mlp_ratio as u64);
    let part = |flop: u64, weights: u64, own: u64, between: u64| Demand {
        flop: batch * flop,
        bytes: weights + batch * own,
        between: batch * between,
    };
    let condition_in = tokens.condition * width * FULL;
    Ok(Demands {
        encode: part(work.encode, encoder, 4 * pixels * FULL + condition_in, 0),
        condition: part(work.condition, rest, condition_in + keys, block(tokens.condition)),
        // Noisy streams come and go.
        step_cached: part(
            work.step_cached(),
            rest,
            keys + 2 * stream * FULL,
            block(tokens.noisy),
        ),
        step_uncached: part(
            work.step_uncached(),
            rest,
            condition_in + 2 * stream * FULL,
            block(tokens.noisy + tokens.condition),
        ),
        decode: part(
            work.decode,
            decoder,
            if work.decode > 0 {
                (stream + 7 * pixels) * FULL
            } else {
                0
            },
            0,
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{PUBLISHED, SMALL};

    #[test]
    fn a_step_of_the_published_model_is_arithmetic_and_of_the_small_one_memory() {
        let h100 = &Machine::cards()[0];
        let large = demands(&Config::from_ron(PUBLISHED).unwrap(), (512, 512), 1).unwrap();
        assert!(large.step_cached.is_bound_by_arithmetic(h100));
        // 4 streams of 1024 tokens through 5 G parameters, twice: 41 TFLOP, and attention.
        let floor = large.step_uncached.floor(h100);
        assert!((0.041..0.06).contains(&floor), "{floor}");
        assert!(large.step_cached.floor(h100) < floor);
        let pictures = [50, 10].map(|steps| large.floor(h100, steps, true));
        assert!(pictures[0] > 4.0 * pictures[1] && pictures[0] < large.floor(h100, 50, false));
        let small = demands(&Config::from_ron(SMALL).unwrap(), (128, 128), 1).unwrap();
        assert!(!small.step_cached.is_bound_by_arithmetic(h100));
        assert_eq!(small.decode, Demand::default());
    }

    #[test]
    fn a_batch_shares_its_weights() {
        let config = Config::from_ron(SMALL).unwrap();
        let [one, eight] = [1, 8].map(|batch| demands(&config, (256, 256), batch).unwrap().step_cached);
        assert_eq!(eight.flop, 8 * one.flop);
        assert!(eight.bytes < 8 * one.bytes && eight.bytes > one.bytes);
    }

    #[test]
    fn drivers_names_are_known() {
        let known = |name| Machine::of_device(name).map(|machine| machine.name);
        assert_eq!(known("NVIDIA H100 80GB HBM3").as_deref(), Some("H100 SXM"));
        assert_eq!(known("NVIDIA GeForce RTX 4090").as_deref(), Some("RTX 4090"));
        assert_eq!(known("NVIDIA T4"), None);
    }
}
