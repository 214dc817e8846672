//! What `peel weights` does: list, verify, convert, average.

use std::collections::BTreeMap;
use std::path::Path;

use super::load::{File, configured};
use super::precision::{self, Precision};
use super::write::{Slot, write};
use super::{
    CONFIG, DIGEST, NAMES, Tally, WEIGHTS, dims, is_product, replace, replace_text, save_config, shapes,
};
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
/// is recorded, if one is. Returns the digest. `progress` is told of bytes read and in all; the file is read twice.
///
/// # Errors
/// If a file cannot be read; every problem found is listed. [`Error::Cancelled`] if `progress` returned false.
pub fn verify(dir: &Path, progress: &dyn Fn(u64, u64) -> bool) -> Result<String> {
    let file = File::open(dir)?;
    let config = configured(dir, &file)?;
    let mut problems = file.misnamed(dir)?;
    let (entries, mut wanted) = (file.entries(), shapes(&config)?);
    let total: u64 = entries.values().map(|e| e.2).sum();
    let tally = Tally::new(2 * total, progress);
    for (name, (shape, dtype, bytes)) in &entries {
        tally.step(*bytes, total)?;
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
    let digest = file.digest(&|bytes| tally.step(bytes, 2 * total))?;
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
/// `progress` is told of bytes of the new file written and read again, and of what there will be in all.
///
/// # Errors
/// If a file cannot be read or written, or [`Error::Cancelled`] if `progress` returned false; the folder then has no new
/// weights file.
pub fn convert(
    from: &Path,
    to: &Path,
    precision: Precision,
    progress: &dyn Fn(u64, u64) -> bool,
) -> Result<String> {
    average(&[from], to, precision, progress)
}

/// Writes the mean of several networks' weights, otherwise as [`convert`]. Networks that learnt on from the same weights, each in its own
/// way, have a mean that is often nearer to the truth on what none of them has seen (Wortsman et al., "Model soups",
/// arXiv 2203.05482); those of different beginnings have none of any use. The configuration is the first one's.
///
/// # Errors
/// As [`convert`], and where two of `from` do not hold the same tensors, or `from` is empty.
pub fn average(
    from: &[&Path],
    to: &Path,
    precision: Precision,
    progress: &dyn Fn(u64, u64) -> bool,
) -> Result<String> {
    let Some(first) = from.first() else {
        return Err(Error::Config("there are no weights to average".into()));
    };
    let config = Config::load(&first.join(CONFIG))?;
    let files = from
        .iter()
        .map(|dir| File::open(dir))
        .collect::<Result<Vec<_>>>()?;
    let file = &files[0];
    for other in &files[1..] {
        let (wanted, found) = (tensors(file), tensors(other));
        let name = wanted.keys().chain(found.keys());
        if let Some(name) = name.into_iter().find(|&name| wanted.get(name) != found.get(name)) {
            let of = |shape: Option<&Vec<usize>>| shape.map_or("nothing".to_owned(), |s| dims(s));
            let (wanted, found) = (of(wanted.get(name)), of(found.get(name)));
            return Err(other.damaged(format!("{name}: {found} here, {wanted} in {}", first.display())));
        }
    }
    let outputs = outputs(file, precision);
    let total: u64 = outputs.values().map(|o| o.slot.bytes()).sum();
    let tally = Tally::new(2 * total, progress);
    save_config(to, &config)?;
    let target = to.join(WEIGHTS);
    let slots = outputs.iter().map(|(n, o)| (n.clone(), o.slot.clone())).collect();
    replace(&target, |part| {
        write(part, &slots, |name| {
            let output = &outputs[name];
            let values = mean(&files, &output.source)?;
            tally.step(output.slot.bytes(), total)?;
            Ok(output.part.bytes(&values, precision))
        })
    })?;
    let names: String = slots
        .iter()
        .map(|(name, slot)| format!("{name} {}\n", dims(&slot.shape)))
        .collect();
    replace_text(&to.join(NAMES), &names)?;
    let digest = File::open(to)?.digest(&|bytes| tally.step(bytes, 2 * total))?;
    replace_text(&to.join(DIGEST), &format!("{digest}  {WEIGHTS}\n"))?;
    Ok(digest)
}

/// The tensors of a file and their shapes; whole numbers without their scales.
fn tensors(file: &File) -> BTreeMap<String, Vec<usize>> {
    let entries = file.entries();
    let whole = |name: &str| entries.get(name).is_some_and(|e| e.1 == "U8");
    let rides = |name: &String| {
        let weight = name.strip_suffix(".scale").map(|layer| format!("{layer}.weight"));
        weight.is_some_and(|weight| whole(&weight))
    };
    let own = entries.iter().filter(|(name, _)| !rides(name));
    own.map(|(name, (shape, ..))| (name.clone(), shape.clone()))
        .collect()
}

/// The mean of a tensor over files, summed in f64; of one file its very numbers.
fn mean(files: &[File], name: &str) -> Result<Vec<f32>> {
    let values = |file: &File| {
        let values = file.values(name);
        values.map_err(|e| file.damaged(format!("{name}: {e}")))
    };
    if let [file] = files {
        return values(file);
    }
    let mut sum: Vec<f64> = Vec::new();
    for file in files {
        let values = values(file)?;
        sum.resize(values.len(), 0.0);
        for (sum, value) in sum.iter_mut().zip(values) {
            *sum += f64::from(value);
        }
    }
    let count = files.len() as f64;
    Ok(sum.into_iter().map(|v| (v / count) as f32).collect())
}

/// A tensor of the new file.
struct Output {
    /// The stored tensor that it is made of.
    source: String,
    part: Part,
    slot: Slot,
}

/// What a tensor becomes.
#[derive(Debug, Clone, Copy)]
enum Part {
    Float,
    /// Whole numbers, each row having as many as there are inputs.
    Whole(usize),
    /// The scales of whole numbers.
    Scale(usize),
}

impl Part {
    fn bytes(self, values: &[f32], precision: Precision) -> Vec<u8> {
        match self {
            Self::Float => precision::bytes(values, precision),
            Self::Whole(inputs) => precision::quantised(values, inputs).0,
            Self::Scale(inputs) => precision::bytes(&precision::quantised(values, inputs).1, Precision::F32),
        }
    }
}

/// The tensors of the new file.
fn outputs(file: &File, precision: Precision) -> BTreeMap<String, Output> {
    let mut outputs = BTreeMap::new();
    for (name, shape) in &tensors(file) {
        let mut add = |to: String, part, dtype, shape: &[usize]| {
            let (source, shape) = (name.clone(), shape.to_vec());
            let slot = Slot { dtype, shape };
            outputs.insert(to, Output { source, part, slot });
        };
        if precision == Precision::Int8 && is_product(name, shape) {
            add(name.clone(), Part::Whole(shape[1]), "U8", shape);
            add(
                precision::scale_name(name),
                Part::Scale(shape[1]),
                "F32",
                &shape[..1],
            );
        } else {
            // What is no linear layer's goes into halves beside whole numbers.
            let dtype = match precision {
                Precision::Int8 => "F16",
                other => precision::stored_as(other),
            };
            add(name.clone(), Part::Float, dtype, shape);
        }
    }
    outputs
}
