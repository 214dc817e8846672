//! Diagnoses for programs.

use peel_node::{Diagnostic, Severity, Span};
use serde::Serialize;

use crate::Diagnostics;
use crate::source::Places;

/// Diagnoses as one JSON object; see [`Diagnostics::to_json`].
pub(crate) fn report(diagnostics: &Diagnostics, places: &Places<'_>, omitted: usize) -> String {
    let report = Report {
        file: diagnostics.file().display().to_string(),
        errors: diagnostics.count(Severity::Error),
        warnings: diagnostics.count(Severity::Warning),
        omitted,
        diagnostics: diagnostics
            .list()
            .iter()
            .map(|diagnostic| Entry::of(diagnostic, places))
            .collect(),
    };
    // Strings and numbers alone: there is nothing that could fail to be written.
    serde_json::to_string_pretty(&report).unwrap_or_default()
}

#[derive(Serialize)]
struct Report<'a> {
    file: String,
    errors: usize,
    warnings: usize,
    omitted: usize,
    diagnostics: Vec<Entry<'a>>,
}

#[derive(Serialize)]
struct Entry<'a> {
    severity: String,
    message: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    expected: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    help: Option<&'a str>,
    #[serde(flatten)]
    place: Place,
    source: &'a str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    related: Vec<Related<'a>>,
}

#[derive(Serialize)]
struct Related<'a> {
    message: &'a str,
    #[serde(flatten)]
    place: Place,
}

#[derive(Serialize)]
struct Place {
    /// Where that is not the graph's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<String>,
    line: usize,
    column: usize,
    end_line: usize,
    end_column: usize,
    start: usize,
    end: usize,
}

impl<'a> Entry<'a> {
    fn of(diagnostic: &'a Diagnostic, places: &'a Places<'_>) -> Entry<'a> {
        let found = places.find(diagnostic.span);
        let place = Place::of(diagnostic.span, places);
        Entry {
            severity: diagnostic.severity.to_string(),
            message: &diagnostic.message,
            expected: diagnostic.expected.as_deref(),
            help: diagnostic.help.as_deref(),
            source: found.lines.line(place.line),
            place,
            related: diagnostic
                .related
                .iter()
                .map(|(span, message)| Related {
                    message,
                    place: Place::of(*span, places),
                })
                .collect(),
        }
    }
}

impl Place {
    fn of(span: Span, places: &Places<'_>) -> Place {
        let found = places.find(span);
        let span = found.span;
        let (first, last) = (found.lines.locate(span.start), found.lines.locate(span.end));
        Place {
            file: (found.source.base > 0).then(|| found.source.file.display().to_string()),
            line: first.line,
            column: first.column,
            end_line: last.line,
            end_column: last.column,
            start: span.start,
            end: span.end,
        }
    }
}
