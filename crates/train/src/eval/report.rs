//! A whole evaluation: cases, methods, tables, JSON, sheet.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use candle_core::Device;
use peel_layerdecomp::{Model, Sampling};
use peel_plate::Options;

use super::methods::{Files, Fill, Filling, Identity, Network, Refined};
use super::peel::Peel;
use super::{Case, Layout, Line, Masks, Method, Series, Watch, cases, measure, tables};
use crate::data::pool::{Pool, Split};
use crate::data::raster::Raster;
use crate::metrics::Answer;
use crate::perceptual::StLpips;
use crate::{Error, Result, files, sheet};

/// Rows of a sheet for each set.
const SHEET_ROWS: usize = 24;
/// Time between two lines of progress.
const PATIENCE: Duration = Duration::from_secs(5);
/// Dilations of the masks of classical fillings, in pixels of a picture of 128.
const DILATIONS: [f32; 3] = [0.0, 4.0, 9.0];
/// Those of filling with patches, which takes its time.
const PATCH_DILATIONS: [f32; 2] = [0.0, 4.0];

/// Where the cases are.
#[derive(Debug, Clone)]
pub enum Source {
    /// A folder, and how it holds its cases.
    Folder(PathBuf, Layout),
    /// The held-out split of a pool: that many composites and traced scenes, and all held-out renderings.
    Pool {
        /// The pool's folder.
        dir: PathBuf,
        /// Composites.
        count: usize,
        /// Traced scenes.
        traced: usize,
        /// Pixels on a side.
        size: usize,
    },
}

/// What to evaluate.
#[derive(Debug, Clone)]
pub struct Request {
    /// Cases.
    pub source: Source,
    /// Masks that the methods get; one set of each kind.
    pub masks: Vec<Masks>,
    /// A weights folder.
    pub model: Option<PathBuf>,
    /// How the model is sampled without the solver, one row each.
    pub samplings: Vec<Sampling>,
    /// Long side that the model works at without the solver; if `None` the cases' own size.
    pub model_size: Option<usize>,
    /// How the model is sampled at a part of the cases' size, for its refiner; one row each.
    pub refined: Vec<Sampling>,
    /// Network and full-resolution solver, one row each.
    pub solver: Vec<Options>,
    /// The plate itself, and push-pull filling.
    pub classical: bool,
    /// Filling with patches too, which takes its time on large pictures.
    pub patchmatch: bool,
    /// Backgrounds that other programs made: name and folder.
    pub files: Vec<(String, PathBuf)>,
    /// Weights of the perceptual distance.
    pub perceptual: Option<PathBuf>,
    /// Where the sheet of pictures goes: what the solver made of the cases, or the network, or whatever comes first.
    pub sheet: Option<PathBuf>,
    /// Longest side of the sheet's pictures.
    pub sheet_size: usize,
    /// Where the table goes as JSON.
    pub json: Option<PathBuf>,
    /// Where it goes as Markdown.
    pub markdown: Option<PathBuf>,
}

impl Request {
    /// The classical methods on these cases, and nothing written.
    #[must_use]
    pub fn new(source: Source) -> Self {
        Self {
            source,
            masks: vec![Masks::Given],
            model: None,
            samplings: Vec::new(),
            refined: Vec::new(),
            model_size: None,
            solver: Vec::new(),
            classical: true,
            patchmatch: false,
            files: Vec::new(),
            perceptual: None,
            sheet: None,
            sheet_size: sheet::LONGEST,
            json: None,
            markdown: None,
        }
    }
}

/// What came out.
#[derive(Debug, Clone, PartialEq)]
pub struct Evaluation {
    /// One line for each set and method.
    pub lines: Vec<Line>,
}

impl Evaluation {
    /// Everything as text for a terminal.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = format!("{}\n{}", tables::table(&self.lines), tables::details(&self.lines));
        let masks = tables::mask_differences(&self.lines);
        if !masks.is_empty() {
            text = format!("{text}\n{masks}");
        }
        text
    }

    /// Everything as Markdown.
    #[must_use]
    pub fn markdown(&self) -> String {
        tables::markdown(&self.lines) + &tables::mask_differences(&self.lines)
    }
}

/// Runs an evaluation. `progress` is told what comes next.
///
/// # Errors
/// If a file cannot be read or written, or the model does not fit.
pub fn eval(request: &Request, progress: &mut dyn FnMut(&str)) -> Result<Evaluation> {
    progress("reading cases");
    let pool = match &request.source {
        Source::Pool { dir, .. } => Some(Pool::load(dir, Split::HeldOut)?),
        Source::Folder(..) => None,
    };
    let series = masked_series(request, pool.as_ref())?;
    let perceptual = request.perceptual.as_deref().map(StLpips::load).transpose()?;
    let model = request
        .model
        .as_ref()
        .map(|dir| Model::load(dir, &Device::Cpu))
        .transpose()?;
    let methods = methods(request, model.as_ref());
    if methods.is_empty() {
        return Err(Error::Evaluation("there is no method to measure".into()));
    }
    // The best that there is to look at: the solver's layers, else the network's.
    let shown = match &model {
        Some(_) if !request.solver.is_empty() => request.samplings.len() + request.refined.len(),
        _ => 0,
    };

    let mut watcher = Watcher {
        shown,
        sheet: request.sheet.is_some().then(Vec::new),
        taken: vec![0; series.len()],
        last: Instant::now(),
        progress,
    };
    let by_reference: Vec<&dyn Method> = methods.iter().map(Box::as_ref).collect();
    let lines = measure(&series, &by_reference, perceptual.as_ref(), &mut watcher)?;
    let evaluation = Evaluation { lines };
    if let (Some(path), Some(rows)) = (&request.sheet, &watcher.sheet) {
        files::write(path, &sheet::grid_of(rows, request.sheet_size))?;
    }
    if let Some(path) = &request.json {
        let text = serde_json::to_string_pretty(&evaluation.lines).map_err(|e| Error::content(path, e))?;
        crate::checkpoint::write_whole(path, text.as_bytes())?;
    }
    if let Some(path) = &request.markdown {
        crate::checkpoint::write_whole(path, evaluation.markdown().as_bytes())?;
    }
    Ok(evaluation)
}

/// The cases, once for each kind of mask.
fn masked_series<'a>(request: &Request, pool: Option<&'a Pool>) -> Result<Vec<Series<'a>>> {
    let mut all = Vec::new();
    for &masks in &request.masks {
        let series = match (&request.source, pool) {
            (Source::Folder(dir, layout), _) => vec![layout.series(dir)?],
            (
                Source::Pool {
                    count, traced, size, ..
                },
                Some(pool),
            ) => {
                let mut series = cases::held_out_series(pool, *count, *size);
                if *traced > 0 {
                    series.push(cases::traced_series(pool, *traced, *size));
                }
                series
            }
            (Source::Pool { dir, .. }, None) => return Err(Error::content(dir, "the pool was not read")),
        };
        all.extend(series.into_iter().map(|series| match masks {
            Masks::Given => series,
            _ => {
                let name = format!("{}, {} masks", series.name, masks.name());
                series.changed(name, move |case| masks.apply(case))
            }
        }));
    }
    Ok(all)
}

/// Network, solver, classical fillings, other programs: in the order of the table.
fn methods<'a>(request: &Request, model: Option<&'a Model>) -> Vec<Box<dyn Method + 'a>> {
    let mut methods: Vec<Box<dyn Method + 'a>> = Vec::new();
    if let Some(model) = model {
        for &sampling in &request.samplings {
            methods.push(Box::new(Network {
                model,
                sampling,
                size: request.model_size,
            }));
        }
        for &sampling in &request.refined {
            methods.push(Box::new(Refined { model, sampling }));
        }
        for options in &request.solver {
            methods.push(Box::new(Peel {
                network: peel_plate::Network::new(model.clone(), Device::Cpu),
                options: options.clone(),
            }));
        }
    }
    let fill = |filling, dilate| Box::new(Fill { filling, dilate }) as Box<dyn Method>;
    if request.classical {
        methods.push(Box::new(Identity));
        methods.extend(DILATIONS.map(|dilate| fill(Filling::PushPull, dilate)));
    }
    if request.patchmatch {
        methods.extend(PATCH_DILATIONS.map(|dilate| fill(Filling::PatchMatch, dilate)));
    }
    for (name, dir) in &request.files {
        methods.push(Box::new(Files {
            name: name.clone(),
            dir: dir.clone(),
        }));
    }
    methods
}

/// Keeps rows for the sheet, and tells how far it got.
struct Watcher<'a> {
    /// The method whose answers are shown.
    shown: usize,
    sheet: Option<Vec<Vec<Raster<3>>>>,
    /// Rows that each series has.
    taken: Vec<usize>,
    last: Instant,
    progress: &'a mut dyn FnMut(&str),
}

impl Watch for Watcher<'_> {
    fn look(&mut self, series: usize, method: usize, cases: &[Case], answers: &[Answer]) {
        let Some(rows) = &mut self.sheet else {
            return;
        };
        if method == self.shown {
            let room = SHEET_ROWS - self.taken[series];
            rows.extend(
                cases
                    .iter()
                    .zip(answers)
                    .take(room)
                    .map(|(case, answer)| sheet::row(case, answer)),
            );
            self.taken[series] += room.min(cases.len());
        }
    }

    fn progress(&mut self, series: &str, done: usize, all: usize) {
        if done == all || self.last.elapsed() >= PATIENCE {
            self.last = Instant::now();
            (self.progress)(&format!("{series}: {done} of {all} cases"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Sample;

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
            patchmatch: true,
            masks: vec![Masks::Tight, Masks::Hull],
            files: vec![("perfect".into(), other)],
            sheet: Some(dir.path().join("sheet.png")),
            json: Some(dir.path().join("table.json")),
            markdown: Some(dir.path().join("table.md")),
            ..Request::new(Source::Folder(cases, Layout::Triplets))
        };
        let mut told = Vec::new();
        let evaluation = eval(&request, &mut |what| told.push(what.to_owned())).unwrap();
        let of = |name: &str| evaluation.lines.iter().find(|l| l.method == name).unwrap().scores;
        assert!(of("perfect").object.unwrap() > 100.0);
        assert!(of("identity").object.unwrap() < 20.0);
        assert!(of("push-pull, mask +4").object.unwrap() > 40.0);
        assert!(of("PatchMatch, mask +0").object.unwrap() > 40.0);
        assert!(dir.path().join("sheet.png").exists() && dir.path().join("table.json").exists());
        let text = evaluation.text();
        assert!(text.contains("perfect") && text.contains("S.outside") && text.contains("against tight"));
        assert_eq!(
            std::fs::read_to_string(dir.path().join("table.md")).unwrap(),
            evaluation.markdown()
        );
        assert!(
            told.contains(&"cases, hull masks: 1 of 1 cases".to_owned()),
            "{told:?}"
        );
    }
}
