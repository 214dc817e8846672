//! What `peel weights` does: list, verify, convert.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::Path;

use safetensors::tensor::{Dtype, View};

use super::load::File;
use super::precision::{self, Precision};
use super::{CONFIG, DIGEST, NAMES, WEIGHTS, dims, is_product, replace, replace_text, save_config, shapes};
use crate::{Config, Error, Result};

/// One stored tensor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its field path.
    pub name: String,
    /// Its shape.
    pub shape: Vec<usize>,
    /// Its number format as the file names it, for instance `BF16`; `U8` for whole numbers.
    pub dtype: String,
    /// Its size.
    pub bytes: u64,
}

/// What a weights folder holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listing {
    /// The configuration's name.
    pub name: String,
    /// Every tensor, by name.
    pub entries: Vec<Entry>,
}

impl Listing {
    /// Stored numbers, scales of whole numbers included.
    #[must_use]
    pub fn numbers(&self) -> u64 {
        self.entries
            .iter()
            .map(|e| e.shape.iter().product::<usize>() as u64)
            .sum()
    }

    /// Bytes of all tensors.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.entries.iter().map(|e| e.bytes).sum()
    }
}

impl std::fmt::Display for Listing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for e in &self.entries {
            writeln!(f, "{} {} {}", e.name, dims(&e.shape), e.dtype)?;
        }
        writeln!(
            f,
            "{}: {} tensors, {} numbers, {} bytes",
            self.name,
            self.entries.len(),
            self.numbers(),
            self.bytes()
        )
    }
}

/// Lists a weights folder from its headers alone.
///
/// # Errors
/// If the configuration or the weights file cannot be read.
pub fn list(dir: &Path) -> Result<Listing> {
    let config = Config::load(&dir.join(CONFIG))?;
    let entry = |(name, (shape, dtype, bytes))| Entry {
        name,
        shape,
        dtype,
        bytes,
    };
    let entries = File::open(dir)?.entries().into_iter().map(entry).collect();
    Ok(Listing {
        name: config.name,
        entries,
    })
}

/// Reads a weights folder whole: names and shapes against the configuration and `names.txt`, all numbers finite, the digest that
/// is recorded, if one is. Returns the digest.
///
/// # Errors
/// If a file cannot be read; every problem found is listed.
pub fn verify(dir: &Path) -> Result<String> {
    let config = Config::load(&dir.join(CONFIG))?;
    let file = File::open(dir)?;
    let mut problems = file.misnamed(dir)?;
    let (entries, mut wanted) = (file.entries(), shapes(&config)?);
    for (name, (shape, dtype, _)) in &entries {
        let found = dims(shape);
        let scaled = name.strip_suffix(".scale").map(|layer| format!("{layer}.weight"));
        match (wanted.remove(name), scaled) {
            (Some(dims_wanted), _) if dims_wanted == *shape => {}
            (Some(other), _) => problems.push(format!("{name}: wanted {}, found {found}", dims(&other))),
            (None, Some(weight)) => {
                let rows = entries.get(&weight).filter(|e| e.1 == "U8").map(|e| &e.0[..1]);
                if rows != Some(shape.as_slice()) {
                    problems.push(format!(
                        "{name}: {found} scales without as many rows of whole numbers"
                    ));
                }
            }
            (None, None) => problems.push(format!("{name}: not a weight of this configuration")),
        }
        if dtype == "U8" {
            let scale = name.strip_suffix("weight").map(|layer| format!("{layer}scale"));
            if !scale.is_some_and(|s| entries.contains_key(&s)) {
                problems.push(format!("{name}: whole numbers without a scale"));
            }
        } else {
            let values = file.tensor(name).and_then(|t| precision::values(&t));
            match values.map(|v| v.iter().filter(|v| !v.is_finite()).count()) {
                Ok(0) => {}
                Ok(count) => problems.push(format!("{name}: {count} numbers are not finite")),
                Err(error) => problems.push(format!("{name}: {error}")),
            }
        }
    }
    problems.extend(
        wanted
            .iter()
            .map(|(name, shape)| format!("{name}: wanted {}, found nothing", dims(shape))),
    );
    let digest = file.digest(&|_| Ok(()))?;
    match std::fs::read_to_string(dir.join(DIGEST)) {
        Ok(text) if text.split_whitespace().next() != Some(digest.as_str()) => {
            problems.push(format!("the file's digest is {digest}, not the one in {DIGEST}"));
        }
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(Error::File {
                path: dir.join(DIGEST),
                source: error,
            });
        }
        _ => {}
    }
    if problems.is_empty() {
        Ok(digest)
    } else {
        Err(file.damaged(problems.join("\n")))
    }
}

/// Writes the weights of `from` in another number format into the folder `to`, with configuration, names and digest. One
/// tensor at a time is in memory. Returns the digest of the new file. Whole numbers widen back to what their scales say.
///
/// # Errors
/// If a file cannot be read or written, or [`Error::Cancelled`] if `progress(tensors, of)` returned false.
pub fn convert(
    from: &Path,
    to: &Path,
    precision: Precision,
    progress: &dyn Fn(usize, usize) -> bool,
) -> Result<String> {
    let config = Config::load(&from.join(CONFIG))?;
    let file = File::open(from)?;
    let entries = file.entries();
    let mut outputs: BTreeMap<String, Output<'_>> = BTreeMap::new();
    for (name, (shape, ..)) in &entries {
        let scales = name.strip_suffix(".scale").map(|layer| format!("{layer}.weight"));
        if scales.is_some_and(|weight| entries.get(&weight).is_some_and(|e| e.1 == "U8")) {
            continue;
        }
        let numbers = Source {
            file: &file,
            name: name.clone(),
        };
        let part = |shape: &[usize], kind| Output {
            source: numbers.clone(),
            shape: shape.to_vec(),
            kind,
        };
        if precision == Precision::Int8 && is_product(name, shape) {
            outputs.insert(name.clone(), part(shape, Kind::Whole));
            outputs.insert(precision::scale_name(name), part(&shape[..1], Kind::Scale));
        } else {
            outputs.insert(name.clone(), part(shape, Kind::Float(precision)));
        }
    }
    // The writer cannot fail over a tensor's values, so all are read once before.
    for (i, output) in outputs.values().enumerate() {
        output
            .source
            .values()
            .map_err(|e| file.damaged(format!("{}: {e}", output.source.name)))?;
        if !progress(i, outputs.len()) {
            return Err(Error::Cancelled);
        }
    }
    save_config(to, &config)?;
    let target = to.join(WEIGHTS);
    replace(&target, |part| {
        let written =
            safetensors::serialize_to_file(outputs.iter().map(|(n, o)| (n.as_str(), o)), None, part);
        written.map_err(|e| Error::Weights {
            path: target.clone(),
            reason: e.to_string(),
        })
    })?;
    let names: String = outputs
        .iter()
        .map(|(name, o)| format!("{name} {}\n", dims(&o.shape)))
        .collect();
    replace_text(&to.join(NAMES), &names)?;
    let digest = File::open(to)?.digest(&|_| Ok(()))?;
    replace_text(&to.join(DIGEST), &format!("{digest}  {WEIGHTS}\n"))?;
    progress(outputs.len(), outputs.len());
    Ok(digest)
}

/// A stored tensor that is read when it is asked for.
#[derive(Clone)]
struct Source<'a> {
    file: &'a File,
    name: String,
}

impl Source<'_> {
    fn values(&self) -> candle_core::Result<Vec<f32>> {
        self.file.values(&self.name)
    }
}

/// What becomes of a tensor.
#[derive(Clone, Copy)]
enum Kind {
    Float(Precision),
    Whole,
    Scale,
}

/// A tensor of the new file, computed when it is written.
struct Output<'a> {
    source: Source<'a>,
    shape: Vec<usize>,
    kind: Kind,
}

impl View for &Output<'_> {
    fn dtype(&self) -> Dtype {
        match self.kind {
            Kind::Float(Precision::F32) | Kind::Scale => Dtype::F32,
            Kind::Float(Precision::F16 | Precision::Int8) => Dtype::F16,
            Kind::Float(Precision::Bf16) => Dtype::BF16,
            Kind::Whole => Dtype::U8,
        }
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        let values = self.source.values().unwrap_or_default();
        Cow::Owned(match self.kind {
            Kind::Float(precision) => precision::bytes(&values, precision),
            Kind::Whole => precision::quantised(&values, self.shape[1]).0,
            Kind::Scale => {
                let inputs = values.len() / self.shape[0].max(1);
                precision::bytes(&precision::quantised(&values, inputs).1, Precision::F32)
            }
        })
    }

    fn data_len(&self) -> usize {
        let each = match self.kind {
            Kind::Float(Precision::F32) | Kind::Scale => 4,
            Kind::Float(_) => 2,
            Kind::Whole => 1,
        };
        each * self.shape.iter().product::<usize>()
    }
}
