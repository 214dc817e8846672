//! Tables of scores: for a terminal, and as Markdown for a model card.

use std::fmt::Write as _;

use super::Line;
use crate::metrics::{self, Scores};

/// A column: heading, decimal places, value.
type Column = (&'static str, usize, fn(&Line) -> Option<f64>);

/// Everything that is measured. Columns without a value are left out.
const COLUMNS: [Column; 24] = [
    ("whole", 2, |l| l.scores.whole),
    ("object", 2, |l| l.scores.object),
    ("effect", 2, |l| l.scores.effect),
    ("both", 2, |l| l.scores.both),
    ("outside", 2, |l| l.scores.outside),
    ("c.object", 2, |l| l.scores.object_by_case),
    ("c.effect", 2, |l| l.scores.effect_by_case),
    ("c.both", 2, |l| l.scores.both_by_case),
    ("recomp", 2, |l| l.scores.recomposition),
    ("exact", 0, |l| l.scores.exact),
    ("alpha", 4, |l| l.scores.alpha),
    ("a.effect", 4, |l| l.scores.alpha_effect),
    ("a.outside", 4, |l| l.scores.alpha_outside),
    ("moved", 2, |l| l.scores.moved),
    ("SSIM", 4, |l| l.scores.ssim_whole),
    ("S.object", 4, |l| l.scores.ssim_object),
    ("S.effect", 4, |l| l.scores.ssim_effect),
    ("S.both", 4, |l| l.scores.ssim_both),
    ("S.outside", 4, |l| l.scores.ssim_outside),
    ("ST-LPIPS", 4, |l| l.scores.st_lpips),
    ("Fréchet", 6, |l| l.scores.frechet),
    ("flicker", 3, |l| l.scores.flicker),
    ("moving", 3, |l| l.scores.moving),
    ("s/case", 3, |l| Some(l.seconds)),
];

/// The main table as text, one block a set: backgrounds in dB, recomposition, alpha errors.
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

/// The other scores as text: means of the cases' own PSNR, exactness, the move-and-resize test, structure, perception, flicker, time.
pub(crate) fn details(lines: &[Line]) -> String {
    let mut out = String::new();
    for block in lines.chunk_by(|a, b| a.set == b.set) {
        let columns = used(block, &COLUMNS)
            .filter(|(name, ..)| !metrics::HEADINGS.contains(name))
            .collect::<Vec<_>>();
        let _ = write!(
            out,
            "{}, {} cases\n{:<24}",
            block[0].set, block[0].cases, "method"
        );
        for (name, ..) in &columns {
            let _ = write!(out, " {name:>9}");
        }
        let _ = writeln!(out);
        for line in block {
            let _ = write!(out, "{:<24}", line.method);
            for (_, places, value) in &columns {
                let _ = write!(out, " {:>9}", number(value(line), *places));
            }
            let _ = writeln!(out);
        }
    }
    out
}

/// Everything as Markdown tables, one a set.
#[must_use]
pub fn markdown(lines: &[Line]) -> String {
    let mut out = String::new();
    for block in lines.chunk_by(|a, b| a.set == b.set) {
        let columns: Vec<&Column> = used(block, &COLUMNS).collect();
        let _ = writeln!(out, "{}, {} cases:\n", capital(&block[0].set), block[0].cases);
        let names: Vec<&str> = columns.iter().map(|(name, ..)| *name).collect();
        let _ = writeln!(
            out,
            "| method | {} |\n| --- |{}",
            names.join(" | "),
            " ---: |".repeat(columns.len())
        );
        for line in block {
            let values: Vec<String> = columns
                .iter()
                .map(|(_, places, value)| number(value(line), *places))
                .collect();
            let _ = writeln!(out, "| {} | {} |", line.method, values.join(" | "));
        }
        out.push('\n');
    }
    out
}

/// What looser masks cost: for each method and set that was measured with tight masks and others, the others' scores less the tight ones'.
/// Empty without such sets.
#[must_use]
pub(crate) fn mask_differences(lines: &[Line]) -> String {
    type Column = (&'static str, fn(&Scores) -> Option<f64>);
    let columns: [Column; 5] = [
        ("whole", |s| s.whole),
        ("object", |s| s.object),
        ("effect", |s| s.effect),
        ("both", |s| s.both),
        ("outside", |s| s.outside),
    ];
    let mut out = String::new();
    for line in lines {
        let Some((set, kind)) = line
            .set
            .rsplit_once(", ")
            .filter(|(_, kind)| *kind != "tight masks")
        else {
            continue;
        };
        let tight = lines
            .iter()
            .find(|l| l.method == line.method && l.set == format!("{set}, tight masks"));
        let Some(tight) = tight else {
            continue;
        };
        if out.is_empty() {
            out.push_str("| method | set | masks, against tight |");
            columns
                .iter()
                .for_each(|(name, _)| out.push_str(&format!(" {name} |")));
            let _ = writeln!(out, "\n| --- | --- | --- |{}", " ---: |".repeat(columns.len()));
        }
        let _ = write!(
            out,
            "| {} | {set} | {} |",
            line.method,
            kind.trim_end_matches(" masks")
        );
        for (_, value) in columns {
            let difference = value(&line.scores).zip(value(&tight.scores)).map(|(a, b)| a - b);
            let _ = write!(
                out,
                " {} |",
                difference.map_or_else(|| "-".into(), |d| format!("{d:+.2}"))
            );
        }
        let _ = writeln!(out);
    }
    out
}

fn used<'a>(block: &'a [Line], columns: &'a [Column]) -> impl Iterator<Item = &'a Column> {
    columns
        .iter()
        .filter(|(_, _, value)| block.iter().any(|line| value(line).is_some()))
}

fn number(value: Option<f64>, places: usize) -> String {
    value.map_or_else(|| "-".to_owned(), |v| format!("{v:.places$}"))
}

fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters
        .next()
        .map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(set: &str, method: &str, both: f64) -> Line {
        Line {
            set: set.into(),
            method: method.into(),
            cases: 2,
            seconds: 0.5,
            scores: Scores {
                both: Some(both),
                ..Scores::default()
            },
        }
    }

    #[test]
    fn markdown_has_the_columns_that_were_measured() {
        let text = markdown(&[
            line("synthetic", "identity", 11.138),
            line("synthetic", "peel", 19.0),
        ]);
        let want = "Synthetic, 2 cases:\n\n| method | both | s/case |\n| --- | ---: | ---: |\n| identity | 11.14 | 0.500 |\n\
                    | peel | 19.00 | 0.500 |\n\n";
        assert_eq!(text, want);
    }

    #[test]
    fn loose_masks_are_set_against_tight_ones() {
        let lines = [
            line("synthetic, tight masks", "peel", 20.0),
            line("synthetic, tight masks", "telea", 15.0),
            line("synthetic, loose masks", "peel", 19.75),
            line("rendered, loose masks", "peel", 10.0),
        ];
        let text = mask_differences(&lines);
        assert_eq!(text.lines().count(), 3, "{text}");
        assert!(
            text.ends_with("| peel | synthetic | loose | - | - | - | -0.25 | - |\n"),
            "{text}"
        );
        assert_eq!(mask_differences(&lines[..2]), "");
    }
}
