//! Measuring a model, and what it is measured against.
//!
//! A [`Method`] takes [`Case`]s apart; [`measure`] hands it the cases of a [`Series`] a few at a time and scores its answers, so that
//! a thousand cases or a long 4K shot never lie in memory together. [`eval`] is all of it: what `peel eval` does.

pub mod cases;
pub mod layouts;
pub mod masks;
pub mod methods;
pub mod patchmatch;
pub mod peel;
mod report;
mod row;
mod tables;

pub use layouts::Layout;
pub use masks::Masks;
pub use report::{Evaluation, Request, Source, eval};
pub use tables::{markdown, table};

use serde::{Deserialize, Serialize};

use crate::Result;
use crate::data::Sample;
use crate::data::raster::Raster;
use crate::metrics::{Answer, Regions, Scores, frame_of};
use crate::perceptual::StLpips;
use row::Row;

/// Cases that are in memory together, but for shots, which stay whole.
const TOGETHER: usize = 16;

/// A named set of cases.
#[derive(Debug, Clone)]
pub struct Set {
    /// For instance `synthetic` or `rendered`.
    pub name: String,
    /// Truth.
    pub cases: Vec<Case>,
}

/// A case with its name.
#[derive(Debug, Clone)]
pub struct Case {
    /// Name of the file or of the sample. One that ends in a dot and a number is a frame of a shot.
    pub name: String,
    /// Truth, display-referred.
    pub truth: Sample,
    /// Where shadow and reflection are, if the case says so (`ID_E`).
    pub effect: Option<Raster<1>>,
    /// Where the true background is known; everywhere, if this is `None`.
    pub known: Option<Raster<1>>,
    /// The true layer as a scene-linear file has it, premultiplied; that of `truth` lies in display light.
    pub linear_layer: Option<Raster<4>>,
}

impl Case {
    /// A case of which everything is known.
    #[must_use]
    pub fn new(name: impl Into<String>, truth: Sample) -> Self {
        Self {
            name: name.into(),
            truth,
            effect: None,
            known: None,
            linear_layer: None,
        }
    }

    /// Whether the true background is known anywhere.
    #[must_use]
    pub fn has_truth(&self) -> bool {
        self.known
            .as_ref()
            .is_none_or(|known| known.pixels.iter().any(|k| k[0] > 0.5))
    }
}

type Load<'a> = Box<dyn Fn(usize) -> Result<Case> + 'a>;

/// A set whose cases are made or read when they are needed.
pub struct Series<'a> {
    /// Name of the set.
    pub name: String,
    /// Names of the cases; frames of a shot stand together, in order.
    pub names: Vec<String>,
    load: Load<'a>,
}

impl<'a> Series<'a> {
    /// A series whose case `i` is `load(i)`, called `names[i]`.
    pub fn new(
        name: impl Into<String>,
        names: Vec<String>,
        load: impl Fn(usize) -> Result<Case> + 'a,
    ) -> Self {
        Self {
            name: name.into(),
            names,
            load: Box::new(load),
        }
    }

    /// The cases of a set that is in memory.
    #[must_use]
    pub fn of_set(set: &'a Set) -> Self {
        let names = set.cases.iter().map(|c| c.name.clone()).collect();
        Self::new(set.name.clone(), names, |i| Ok(set.cases[i].clone()))
    }

    /// The same cases, each through `change`, under another name.
    #[must_use]
    pub fn changed(self, name: impl Into<String>, change: impl Fn(Case) -> Case + 'a) -> Self {
        let Self { names, load, .. } = self;
        Self::new(name, names, move |i| load(i).map(&change))
    }

    /// Case `i`.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn case(&self, i: usize) -> Result<Case> {
        (self.load)(i)
    }

    /// Ranges of cases that are measured together.
    fn chunks(&self) -> Vec<std::ops::Range<usize>> {
        let shot = |i: usize| frame_of(&self.names[i]).map(|(shot, _)| shot);
        let mut chunks = Vec::new();
        let mut start = 0;
        for end in 1..=self.names.len() {
            let same_shot = end < self.names.len() && shot(end).is_some() && shot(end) == shot(end - 1);
            let room = shot(end - 1).is_none() && end - start < TOGETHER;
            let next_is_frame = end < self.names.len() && shot(end).is_some();
            if end == self.names.len() || !(same_shot || room && !next_is_frame) {
                chunks.push(start..end);
                start = end;
            }
        }
        chunks
    }
}

/// Anything that takes a plate and a mask apart.
pub trait Method {
    /// Name in tables.
    fn name(&self) -> String;

    /// Answers for the cases, in their order.
    ///
    /// # Errors
    /// If the method fails on a case.
    fn answer(&self, cases: &[Case]) -> Result<Vec<Answer>>;

    /// How far its transformer's tokens tell the places of a case apart, where it has one ([`peel_layerdecomp::Model::spread`]).
    ///
    /// # Errors
    /// If the method fails on the case.
    fn spread(&self, _: &Case) -> Result<Option<f32>> {
        Ok(None)
    }
}

/// What a method scored on a set.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Line {
    /// Name of the set.
    pub set: String,
    /// Name of the method.
    pub method: String,
    /// Cases.
    pub cases: usize,
    /// Seconds a case.
    pub seconds: f64,
    /// Scores over all cases.
    pub scores: Scores,
}

/// Who watches a measurement.
pub trait Watch {
    /// Answers of a method to some cases of a series, both named by their positions: for sheets.
    fn look(&mut self, series: usize, method: usize, cases: &[Case], answers: &[Answer]);

    /// `done` of the `all` cases of a series were measured.
    fn progress(&mut self, series: &str, done: usize, all: usize);
}

/// Scores every method on every series, with the perceptual distance where there is one.
///
/// # Errors
/// If a case cannot be read or a method fails.
pub fn measure(
    series: &[Series<'_>],
    methods: &[&dyn Method],
    perceptual: Option<&StLpips>,
    watch: &mut dyn Watch,
) -> Result<Vec<Line>> {
    let mut lines = Vec::new();
    for (s, set) in series.iter().enumerate() {
        let mut rows = vec![Row::default(); methods.len()];
        for chunk in set.chunks() {
            let end = chunk.end;
            let cases = chunk.map(|i| set.case(i)).collect::<Result<Vec<_>>>()?;
            let regions: Vec<_> = cases.iter().map(Regions::of).collect();
            let truths = match perceptual {
                Some(net) => row::true_features(net, &cases)?,
                None => Vec::new(),
            };
            for (m, method) in methods.iter().enumerate() {
                let start = std::time::Instant::now();
                let answers = method.answer(&cases)?;
                let seconds = start.elapsed().as_secs_f64();
                rows[m].add(&cases, &regions, &answers, seconds);
                if let Some(net) = perceptual {
                    rows[m].add_perceptual(net, &cases, &truths, &answers)?;
                }
                watch.look(s, m, &cases, &answers);
            }
            watch.progress(&set.name, end, set.names.len());
        }
        lines.extend(
            rows.iter()
                .zip(methods)
                .map(|(row, method)| row.line(&set.name, method.name())),
        );
    }
    Ok(lines)
}

/// Scores every method on every set. Answers are handed to `look` (for sheets), set and method named by their positions.
///
/// # Errors
/// If a method fails.
pub fn compare(
    sets: &[Set],
    methods: &[&dyn Method],
    mut look: impl FnMut(usize, usize, &[Answer]),
) -> Result<Vec<Line>> {
    let mut lines = Vec::new();
    for (s, set) in sets.iter().enumerate() {
        let regions: Vec<_> = set.cases.iter().map(Regions::of).collect();
        for (m, method) in methods.iter().enumerate() {
            let start = std::time::Instant::now();
            let answers = method.answer(&set.cases)?;
            let mut row = Row::default();
            row.add(&set.cases, &regions, &answers, start.elapsed().as_secs_f64());
            look(s, m, &answers);
            lines.push(row.line(&set.name, method.name()));
        }
    }
    Ok(lines)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::test_case;

    #[test]
    fn shots_stay_whole() {
        let names = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>();
        let series = |names: Vec<String>| Series::new("s", names, |_| Ok(test_case())).chunks();
        assert_eq!(
            series(names(&["a.1", "a.2", "b.1", "c", "d"])),
            [0..2, 2..3, 3..5]
        );
        assert_eq!(series(names(&["a", "b.7", "b.8"])), [0..1, 1..3]);
        let many: Vec<String> = (0..40).map(|i| format!("w_{i}")).collect();
        assert_eq!(series(many), [0..16, 16..32, 32..40]);
        let shot: Vec<String> = (0..40).map(|i| format!("w.{i}")).collect();
        assert_eq!(series(shot), vec![0..40]);
        assert_eq!(series(Vec::new()).len(), 0);
    }
}
