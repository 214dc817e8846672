//! The model's configuration: `config.ron` in a weights folder.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::pixels::Hints;
use crate::{Diffusion, Error, Predicts, RefineConfig, Result, VaeConfig};

/// Version of the configuration format that this crate reads and writes.
pub const FORMAT: u32 = 1;

/// Everything that decides the shape of the network, and so the names and shapes of its weights.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Format version of this file.
    pub format: u32,
    /// Name for messages and metadata, for instance `layerdecomp-s`.
    pub name: String,
    /// Features of a token.
    pub width: usize,
    /// Transformer blocks.
    pub depth: usize,
    /// Attention heads; divides `width`.
    pub heads: usize,
    /// Hidden features of a block's feed-forward part, as a multiple of `width`.
    #[serde(default = "four")]
    pub mlp_ratio: usize,
    /// Condition streams see neither the noisy streams nor the timestep, so that their keys and values are
    /// computed once for a plate and reused over all steps and samples.
    #[serde(default = "yes")]
    pub condition_cache: bool,
    /// The mask's tokens are added to the plate's instead of standing beside them: a quarter fewer tokens.
    #[serde(default)]
    pub fold_mask: bool,
    /// Noisy tokens begin with the plate's and the mask's tokens of their place added to them, as where channels of noise and
    /// condition are concatenated. Otherwise a noisy token learns of the plate through attention alone.
    #[serde(default, skip_serializing_if = "is_default")]
    pub join: bool,
    /// Output tokens are taken less the mean token of their layer, before the last norm. What all places have in common is then no way
    /// to less loss, which would otherwise grow until it drowned what the transformer has found; convolutions have biases for it.
    #[serde(default, skip_serializing_if = "is_default")]
    pub centre: bool,
    /// How pictures become tokens and tokens become pictures.
    pub tokenizer: TokenizerConfig,
    /// What the network says, and the path from noise to layers; x over a straight line unless told otherwise.
    #[serde(default, skip_serializing_if = "is_default")]
    pub diffusion: Diffusion,
    /// A call that comes before the sampler's own finds the object in the mask, and the rest of the mask is dropped: what has less
    /// alpha than this is not of the object. Nothing of it shows in the weights.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tighten: Option<f32>,
    /// A convolutional refiner of alpha at a multiple of the model's resolution, see [`crate::Model::refine`]. Its weights are
    /// optional: over a file without them the model loads without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refine: Option<RefineConfig>,
}

/// The tokenizer's part of the configuration.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub enum TokenizerConfig {
    /// Pixel streams: linear patches for the noisy streams, a convolutional stem for the plate, a convolutional
    /// head with skips from the stem.
    Pixels {
        /// Side of a patch in pixels. The stem halves the picture four times, so 16.
        patch: usize,
        /// Channels after each of the stem's four stride-2 convolutions.
        stem: [usize; 4],
        /// Fill the plate's masked hole (push-pull) and give it to the stem; the background is predicted as a
        /// difference from it. The number is by how many pixels the mask is dilated first.
        #[serde(default)]
        prefill: Option<usize>,
        /// Give the stem two more fillings of the hole, which go on with the patches around it ([`crate::patch_fill`]): of the mask
        /// as it is, and dilated as for that one.
        #[serde(default, skip_serializing_if = "is_default")]
        patches: bool,
        /// Tell the stem where the object may throw its shadow ([`crate::cast_guesses`]).
        #[serde(default, skip_serializing_if = "is_default")]
        casts: bool,
        /// Features of the convolutional head's last hidden layer, at the picture's full size.
        #[serde(default = "sixteen", skip_serializing_if = "is_sixteen")]
        fine: usize,
        /// How output tokens become pictures.
        #[serde(default, skip_serializing_if = "is_default")]
        head: Head,
    },
    /// Latent streams, as published: the background through an RGB autoencoder, the foreground through an RGBA one, plate and
    /// mask (as a picture) through the RGB one; linear patches in and out.
    Latent {
        /// Side of a patch in latents.
        patch: usize,
        /// The shape of both autoencoders.
        vae: VaeConfig,
    },
}

/// What makes pictures of a pixel model's output tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Head {
    /// Convolutions that double the resolution four times, joined at each by the stem's features and at last by the plate itself.
    #[default]
    Skips,
    /// The same convolutions, with nothing but the tokens.
    NoSkips,
    /// Linear patches, as in a plain diffusion transformer.
    Linear,
}

fn four() -> usize {
    4
}

fn sixteen() -> usize {
    16
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_sixteen(value: &usize) -> bool {
    *value == sixteen()
}

fn yes() -> bool {
    true
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// `config.ron` of the small model: many hours of CPU training.
pub const SMALL: &str = include_str!("../presets/small.ron");
/// `config.ron` of the tiny model: hours of CPU training.
pub const TINY: &str = include_str!("../presets/tiny.ron");

/// `config.ron` of the published model's scale: 5 billion parameters between two autoencoders. No weights of it are public.
pub const PUBLISHED: &str = include_str!("../presets/5b.ron");

impl TokenizerConfig {
    /// Channels of what a pixel model's stem, and the last of its head, sees of the plate: plate, mask, three a filling of the hole, and what is told of shadows.
    /// None of a latent model.
    #[must_use]
    pub fn picture_channels(&self) -> Option<usize> {
        matches!(self, Self::Pixels { .. }).then(|| Hints::of(self).channels())
    }
}

impl Config {
    /// Reads and checks a configuration file.
    ///
    /// # Errors
    /// If the file cannot be read or parsed, or contradicts itself.
    pub fn load(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).map_err(Error::file(path))?;
        let config: Self = parser().from_str(&text).map_err(|e| Error::ConfigSyntax {
            path: path.to_path_buf(),
            line: e.span.start.line,
            column: e.span.start.col,
            reason: e.code.to_string(),
        })?;
        config.check()?;
        Ok(config)
    }

    /// Parses and checks the text of a configuration file, for instance [`SMALL`].
    ///
    /// # Errors
    /// If the text cannot be parsed or contradicts itself.
    pub fn from_ron(text: &str) -> Result<Self> {
        let config: Self = parser()
            .from_str(text)
            .map_err(|e| Error::Config(format!("{}: {}", e.span, e.code)))?;
        config.check()?;
        Ok(config)
    }

    /// The text of a configuration file that reads back as this configuration.
    ///
    /// # Errors
    /// If serialisation fails.
    pub fn to_ron(&self) -> Result<String> {
        parser()
            .to_string_pretty(self, ron::ser::PrettyConfig::new().struct_names(true))
            .map(|text| text + "\n")
            .map_err(|e| Error::Config(e.to_string()))
    }

    /// The configurations that come with this crate.
    ///
    /// # Errors
    /// Never, but for a preset that contradicts itself, which a test rules out.
    pub fn presets() -> Result<Vec<Self>> {
        [SMALL, TINY, PUBLISHED].into_iter().map(Self::from_ron).collect()
    }

    /// Whether the model diffuses latents, not pixels.
    #[must_use]
    pub fn is_latent(&self) -> bool {
        matches!(self.tokenizer, TokenizerConfig::Latent { .. })
    }

    /// By how much the network reduces a picture: inputs are multiples of this in both directions.
    #[must_use]
    pub fn stride(&self) -> usize {
        match &self.tokenizer {
            TokenizerConfig::Pixels { patch, .. } => *patch,
            TokenizerConfig::Latent { patch, vae } => patch * vae.stride(),
        }
    }

    /// Fails where fields contradict each other.
    ///
    /// # Errors
    /// With the field and the rule that it breaks.
    pub fn check(&self) -> Result<()> {
        let fail = |message: String| Err(Error::Config(message));
        if self.format != FORMAT {
            return fail(format!(
                "format {} is not known, this version reads {FORMAT}",
                self.format
            ));
        }
        if self.width == 0 || self.depth == 0 || self.heads == 0 || self.mlp_ratio == 0 {
            return fail("width, depth, heads and mlp_ratio must be at least 1".into());
        }
        if !self.width.is_multiple_of(self.heads) {
            return fail(format!(
                "width {} is not a multiple of heads {}",
                self.width, self.heads
            ));
        }
        if !self.width.is_multiple_of(4) {
            return fail(format!(
                "width {} is not a multiple of 4 (sine and cosine of x and y)",
                self.width
            ));
        }
        self.diffusion.check()?;
        if let Some(fault) = self.refine.as_ref().and_then(RefineConfig::fault) {
            return fail(fault);
        }
        if let Some(least) = self.tighten {
            if !(0.0..=1.0).contains(&least) {
                return fail(format!("tighten {least} is no alpha between 0 and 1"));
            }
            if self.diffusion.predicts == Predicts::Epsilon {
                return fail(
                    "tighten: one call on zero noise says nothing of a model that predicts the noise".into(),
                );
            }
        }
        match &self.tokenizer {
            TokenizerConfig::Pixels {
                patch,
                stem,
                prefill,
                patches,
                fine,
                ..
            } => {
                if *patch != 16 {
                    return fail(format!(
                        "patch {patch}: the stem halves four times, so patch is 16"
                    ));
                }
                if *patches && prefill.is_none() {
                    return fail("patches: there is no prefill that they would be beside".into());
                }
                if stem.contains(&0) {
                    return fail(format!("stem {stem:?}: a stage without channels"));
                }
                if *fine == 0 {
                    return fail("fine 0: the head's last layer has at least one feature".into());
                }
            }
            TokenizerConfig::Latent { patch, vae } => {
                if *patch == 0 {
                    return fail("patch 0: a patch has at least one latent".into());
                }
                vae.check()?;
            }
        }
        Ok(())
    }
}

fn parser() -> ron::Options {
    ron::Options::default().with_default_extension(ron::extensions::Extensions::IMPLICIT_SOME)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn presets_parse_and_round_trip() {
        for text in [SMALL, TINY, PUBLISHED] {
            let config = Config::from_ron(text).unwrap();
            assert_eq!(Config::from_ron(&config.to_ron().unwrap()).unwrap(), config);
        }
        assert_eq!(Config::from_ron(SMALL).unwrap().width, 192);
        assert_eq!(Config::from_ron(TINY).unwrap().width, 128);
    }

    #[test]
    fn kinds_and_schedules_are_switches() {
        let text = SMALL.replace("(weighed: true)", "(predicts: V, schedule: Cosine(steps: 1000))");
        let config = Config::from_ron(&text).unwrap();
        assert_eq!(config.diffusion.predicts, Predicts::V);
        assert_eq!(Config::from_ron(&config.to_ron().unwrap()).unwrap(), config);
        let plain = Config {
            diffusion: Diffusion::default(),
            ..config
        };
        assert!(!plain.to_ron().unwrap().contains("diffusion"));
        assert!(Config::from_ron(&text.replace("(predicts: V", "(weighed: true, predicts: V")).is_err());
        assert!(
            Config::from_ron(
                &text
                    .replace("Cosine(steps: 1000)", "Linear")
                    .replace("V,", "Epsilon,")
            )
            .is_err()
        );
    }

    #[test]
    fn heads_and_a_second_look_are_switches() {
        let text = SMALL
            .replace("prefill: 2", "prefill: 2, head: Linear")
            .replace("tokenizer:", "tighten: 0.6, tokenizer:");
        let config = Config::from_ron(&text).unwrap();
        let TokenizerConfig::Pixels { head, .. } = config.tokenizer else {
            panic!("not pixels");
        };
        assert_eq!((head, config.tighten), (Head::Linear, Some(0.6)));
        assert_eq!(config.tokenizer.picture_channels(), Some(7));
        let more = SMALL.replace("prefill: 2", "prefill: 2, patches: true");
        let more = Config::from_ron(&more).unwrap();
        assert_eq!(more.tokenizer.picture_channels(), Some(13));
        let wide = SMALL.replace("prefill: 2", "prefill: 2, fine: 48");
        let text_of = |text: &str| Config::from_ron(text).unwrap().to_ron().unwrap();
        assert!(text_of(&wide).contains("fine: 48") && !text_of(SMALL).contains("fine"));
        let none = Config::from_ron(&wide.replace("fine: 48", "fine: 0"));
        assert!(none.unwrap_err().to_string().contains("fine 0"));
        let alone = SMALL.replace("prefill: 2", "patches: true");
        assert!(
            Config::from_ron(&alone)
                .unwrap_err()
                .to_string()
                .contains("patches: ")
        );
        assert_eq!(Config::from_ron(&config.to_ron().unwrap()).unwrap(), config);
        let message = Config::from_ron(&text.replace("0.6", "1.5")).unwrap_err();
        assert!(message.to_string().contains("tighten 1.5"), "{message}");
    }

    #[test]
    fn a_refiner_is_a_switch() {
        let text = SMALL.replace("tokenizer:", "refine: (width: 16, scale: 4), tokenizer:");
        let config = Config::from_ron(&text).unwrap();
        assert_eq!(config.refine, Some(RefineConfig { width: 16, scale: 4 }));
        assert_eq!(Config::from_ron(&config.to_ron().unwrap()).unwrap(), config);
        let message = Config::from_ron(&text.replace("scale: 4", "scale: 5")).unwrap_err();
        assert!(message.to_string().contains("scale 5"), "{message}");
    }

    #[test]
    fn a_mistake_is_named_with_its_place() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config.ron");
        std::fs::write(&path, SMALL.replace("depth", "dept")).unwrap();
        let message = Config::load(&path).unwrap_err().to_string();
        assert!(
            message.contains("config.ron:") && message.contains("dept"),
            "{message}"
        );
        let message = Config::from_ron(&SMALL.replace("heads: 6", "heads: 5"))
            .unwrap_err()
            .to_string();
        assert!(message.contains("heads 5"), "{message}");
    }
}
