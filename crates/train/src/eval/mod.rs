//! Measuring a model, and what it is measured against.

pub mod cases;
pub mod methods;
mod report;

pub use report::{Request, Source, eval, table};

use serde::{Deserialize, Serialize};

use crate::Result;
use crate::data::Sample;
use crate::metrics::{Answer, Scores, Tally};

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
    /// Name of the file or of the sample.
    pub name: String,
    /// Truth.
    pub truth: Sample,
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
        for (m, method) in methods.iter().enumerate() {
            let start = std::time::Instant::now();
            let answers = method.answer(&set.cases)?;
            let seconds = start.elapsed().as_secs_f64() / set.cases.len().max(1) as f64;
            let mut tally = Tally::default();
            for (case, answer) in set.cases.iter().zip(&answers) {
                tally.add(&case.truth, answer);
            }
            look(s, m, &answers);
            lines.push(Line {
                set: set.name.clone(),
                method: method.name(),
                cases: set.cases.len(),
                seconds,
                scores: tally.scores(),
            });
        }
    }
    Ok(lines)
}
