//! Scores as rows of a table for a terminal.

use super::Scores;

/// The names of the scores that [`row`] prints, in its order.
pub const HEADINGS: [&str; 9] = [
    "whole",
    "object",
    "effect",
    "both",
    "outside",
    "recomp",
    "alpha",
    "a.effect",
    "a.outside",
];

/// Heading of the rows of [`row`].
#[must_use]
pub fn heading() -> String {
    let [
        whole,
        object,
        effect,
        both,
        outside,
        recomp,
        alpha,
        in_effect,
        off,
    ] = HEADINGS;
    format!(
        "{:<24} {whole:>6} {object:>6} {effect:>6} {both:>6} {outside:>7} {recomp:>6} {alpha:>6} {in_effect:>8} {off:>9}",
        "method"
    )
}

/// One row of a table: dB with two places, alpha errors with four.
#[must_use]
pub fn row(name: &str, scores: &Scores) -> String {
    let db = |v: Option<f64>| v.map_or_else(|| "-".to_owned(), |v| format!("{v:.2}"));
    let share = |v: Option<f64>| v.map_or_else(|| "-".to_owned(), |v| format!("{v:.4}"));
    format!(
        "{name:<24} {:>6} {:>6} {:>6} {:>6} {:>7} {:>6} {:>6} {:>8} {:>9}",
        db(scores.whole),
        db(scores.object),
        db(scores.effect),
        db(scores.both),
        db(scores.outside),
        db(scores.recomposition),
        share(scores.alpha),
        share(scores.alpha_effect),
        share(scores.alpha_outside)
    )
}
