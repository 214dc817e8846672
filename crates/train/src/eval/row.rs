//! The scores of one method on one series, gathered a few cases at a time.

use super::{Case, Line};
use crate::Result;
use crate::data::raster::Raster;
use crate::metrics::{Answer, Regions, Tally};
use crate::perceptual::{Cloud, Features, StLpips, frechet};

#[derive(Debug, Clone, Default)]
pub(super) struct Row {
    tally: Tally,
    cases: usize,
    seconds: f64,
    distance: f64,
    found: Cloud,
    truth: Cloud,
}

/// Features of the true backgrounds.
pub(super) fn true_features(net: &StLpips, cases: &[Case]) -> Result<Vec<Features>> {
    cases
        .iter()
        .map(|case| net.features(&case.truth.background))
        .collect()
}

impl Row {
    pub(super) fn add(&mut self, cases: &[Case], regions: &[Regions], answers: &[Answer], seconds: f64) {
        for ((case, regions), answer) in cases.iter().zip(regions).zip(answers) {
            self.tally.add(case, regions, answer);
        }
        self.cases += cases.len();
        self.seconds += seconds;
    }

    pub(super) fn add_perceptual(
        &mut self,
        net: &StLpips,
        cases: &[Case],
        truths: &[Features],
        answers: &[Answer],
    ) -> Result<()> {
        for ((case, truth), answer) in cases.iter().zip(truths).zip(answers) {
            let found = net.features(&where_known(case, &answer.background))?;
            self.distance += f64::from(net.distance(truth, &found)?);
            self.found.add(found.pooled());
            self.truth.add(truth.pooled());
        }
        Ok(())
    }

    pub(super) fn line(&self, set: &str, method: String) -> Line {
        let mut scores = self.tally.scores();
        if !self.found.is_empty() {
            scores.st_lpips = Some(self.distance / self.found.len() as f64);
            scores.frechet = frechet(&self.found, &self.truth);
        }
        Line {
            set: set.to_owned(),
            method,
            cases: self.cases,
            seconds: self.seconds / self.cases.max(1) as f64,
            scores,
        }
    }
}

/// A found background with the true one where that is not known to be right or wrong.
fn where_known(case: &Case, found: &Raster<3>) -> Raster<3> {
    let Some(known) = &case.known else {
        return found.clone();
    };
    let mut out = found.clone();
    for (i, pixel) in out.pixels.iter_mut().enumerate() {
        if known.pixels[i][0] <= 0.5 {
            *pixel = case.truth.background.pixels[i];
        }
    }
    out
}
