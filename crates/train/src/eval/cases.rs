//! Where held-out cases come from: the pool's held-out split, or a folder of triplets.

use std::path::Path;

use super::{Case, Set};
use crate::data::pool::Pool;
use crate::data::rng::Rng;
use crate::data::{Sample, rendered, synthetic};
use crate::{Error, Result, files};

/// Seed of held-out composites; training never uses it.
const HELD_OUT_SEED: u64 = 0x4845_4C44;
const HELD_OUT_STREAM: u64 = 3;

/// `count` synthetic composites of held-out sources, and every held-out rendered triplet, at `size` pixels.
#[must_use]
pub fn held_out(pool: &Pool, count: usize, size: usize) -> Vec<Set> {
    let composite = |i: u64| {
        let mut rng = Rng::new(HELD_OUT_SEED, HELD_OUT_STREAM, i);
        case(format!("synthetic_{i:04}"), synthetic::draw(&mut rng, pool, size))
    };
    let synthetic = (0..count as u64).map(composite).collect();
    let rendered: Vec<Case> = pool
        .triplets
        .iter()
        .map(|t| case(format!("rendered_{}", t.name), rendered::plain(t, size)))
        .collect();
    let mut sets = vec![Set {
        name: "synthetic".into(),
        cases: synthetic,
    }];
    if !rendered.is_empty() {
        sets.push(Set {
            name: "rendered".into(),
            cases: rendered,
        });
    }
    sets
}

/// The triplets of a folder: every `ID` with `ID_C`, `ID_B`, `ID_M` and maybe `ID_L`, by name.
///
/// # Errors
/// If the folder or a file cannot be read, or there is no triplet.
pub fn folder(dir: &Path) -> Result<Set> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(Error::file(dir))? {
        let path = entry.map_err(Error::file(dir))?.path();
        let name = path.file_name().and_then(|n| n.to_str()).unwrap_or_default();
        if let Some((id, extension)) = name.split_once("_C.") {
            found.push((id.to_owned(), extension.to_owned()));
        }
    }
    if found.is_empty() {
        return Err(Error::content(
            dir,
            "it holds no triplet: no file is called ID_C.*",
        ));
    }
    found.sort();
    let read =
        |(id, extension): &(String, String)| Ok(case(id.clone(), files::read_sample(dir, id, extension)?));
    let cases = found.iter().map(read).collect::<Result<_>>()?;
    let name = dir
        .file_name()
        .map_or_else(|| "folder".into(), |n| n.to_string_lossy().into_owned());
    Ok(Set { name, cases })
}

fn case(name: String, truth: Sample) -> Case {
    Case { name, truth }
}
