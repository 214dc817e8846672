//! A whole evaluation: cases, methods, table, JSON, sheet.

use std::fmt::Write as _;
use std::path::PathBuf;

use candle_core::Device;
use peel_layerdecomp::{Model, Sampling};

use super::methods::{Files, Fill, Identity, Network};
use super::{Line, Method, cases, compare};
use crate::data::pool::{Pool, Split};
use crate::{Error, Result, files, metrics, sheet};

/// Rows of a sheet for each set.
const SHEET_ROWS: usize = 24;

/// Where the cases are.
#[derive(Debug, Clone)]
pub enum Source {
    /// A folder of triplets: `ID_C`, `ID_B`, `ID_M`, maybe `ID_L`.
    Folder(PathBuf),
    /// The held-out split of a pool: that many composites, and all held-out renderings.
    Pool {
        /// The pool's folder.
        dir: PathBuf,
        /// Composites.
        count: usize,
        /// Pixels on a side.
        size: usize,
    },
}

/// What to evaluate.
#[derive(Debug, Clone)]
pub struct Request {
    /// Cases.
    pub source: Source,
    /// A weights folder.
    pub model: Option<PathBuf>,
    /// How the model is sampled, one row each.
    pub samplings: Vec<Sampling>,
    /// Long side that the model works at; without one it works at the cases' own size.
    pub model_size: Option<usize>,
    /// Backgrounds that other programs made: name and folder.
    pub files: Vec<(String, PathBuf)>,
    /// Where the sheet of pictures goes: the first sampling of the model.
    pub sheet: Option<PathBuf>,
    /// Where the table goes as JSON.
    pub json: Option<PathBuf>,
}

/// Runs an evaluation. `progress` is told what comes next.
///
/// # Errors
/// If a file cannot be read or written, or the model does not fit.
pub fn eval(request: &Request, progress: &mut dyn FnMut(&str)) -> Result<Vec<Line>> {
    progress("reading cases");
    let sets = match &request.source {
        Source::Folder(dir) => vec![cases::folder(dir)?],
        Source::Pool { dir, count, size } => {
            cases::held_out(&Pool::load(dir, Split::HeldOut)?, *count, *size)
        }
    };
    let model = request
        .model
        .as_ref()
        .map(|dir| Model::load(dir, &Device::Cpu))
        .transpose()?;
    let fills = [Fill { dilate: 0.0 }, Fill { dilate: 4.0 }, Fill { dilate: 9.0 }];
    let networks: Vec<Network> = model
        .iter()
        .flat_map(|model| {
            let network = |&sampling| Network {
                model,
                sampling,
                size: request.model_size,
            };
            request.samplings.iter().map(network)
        })
        .collect();
    let others: Vec<Files> = request
        .files
        .iter()
        .map(|(name, dir)| Files {
            name: name.clone(),
            dir: dir.clone(),
        })
        .collect();
    let mut methods: Vec<&dyn Method> = networks.iter().map(|m| m as &dyn Method).collect();
    methods.push(&Identity);
    methods.extend(fills.iter().map(|m| m as &dyn Method));
    methods.extend(others.iter().map(|m| m as &dyn Method));

    let mut rows: Vec<Vec<_>> = Vec::new();
    let wants_sheet = request.sheet.is_some();
    let lines = compare(&sets, &methods, |s, m, answers| {
        if wants_sheet && m == 0 {
            rows.extend(sheet::decompositions(&sets[s], answers, SHEET_ROWS));
        }
    })?;
    if let Some(path) = &request.sheet {
        progress("writing the sheet");
        files::write(path, &sheet::grid(&rows))?;
    }
    if let Some(path) = &request.json {
        let text = serde_json::to_string_pretty(&lines).map_err(|e| Error::content(path, e))?;
        crate::checkpoint::write_whole(path, text.as_bytes())?;
    }
    Ok(lines)
}

/// The table as text, one block a set.
#[must_use]
pub fn table(lines: &[Line]) -> String {
    let mut out = String::new();
    for block in lines.chunk_by(|a, b| a.set == b.set) {
        // Writing to a string cannot fail.
        let _ = writeln!(
            out,
            "{}, {} cases\n{}",
            block[0].set,
            block[0].cases,
            metrics::heading()
        );
        for line in block {
            let _ = writeln!(out, "{}", metrics::row(&line.method, &line.scores));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Sample;
    use crate::data::raster::Raster;

    #[test]
    fn a_folder_is_measured_with_files_of_another_program() {
        let dir = tempfile::tempdir().unwrap();
        let (cases, other) = (dir.path().join("cases"), dir.path().join("other"));
        std::fs::create_dir_all(&cases).unwrap();
        std::fs::create_dir_all(&other).unwrap();
        let background = Raster::filled(32, 32, [0.5, 0.4, 0.3]);
        let mask = Raster::from_fn(32, 32, |x, y| {
            [f32::from((8..16).contains(&x) && (8..20).contains(&y))]
        });
        let foreground = mask.map(|m| [0.0, 0.0, 0.9 * m[0], m[0]]);
        let plate = foreground.over_picture(&background);
        let sample = Sample {
            plate,
            background: background.clone(),
            foreground,
            object: mask.clone(),
            mask,
            has_foreground: true,
        };
        files::write_sample(&cases, "one", &sample).unwrap();
        files::write(&other.join("one.png"), &background).unwrap();
        let request = Request {
            source: Source::Folder(cases),
            model: None,
            samplings: Vec::new(),
            model_size: None,
            files: vec![("perfect".into(), other)],
            sheet: Some(dir.path().join("sheet.png")),
            json: Some(dir.path().join("table.json")),
        };
        let lines = eval(&request, &mut |_| ()).unwrap();
        let of = |name: &str| lines.iter().find(|l| l.method == name).unwrap().scores;
        assert!(of("perfect").object.unwrap() > 100.0);
        assert!(of("identity").object.unwrap() < 20.0);
        assert!(of("push-pull, mask +4").object.unwrap() > 40.0);
        assert!(dir.path().join("sheet.png").exists() && dir.path().join("table.json").exists());
        assert!(table(&lines).contains("perfect"));
    }
}
