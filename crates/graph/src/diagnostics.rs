//! Everything that is wrong with a graph file, for people and for programs.

use std::collections::HashSet;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use peel_node::{Diagnostic, Severity, Span};

use crate::json;
use crate::source::{Location, Places, Sources};

/// More mistakes than these are counted, not shown.
const MOST: usize = 100;

/// Everything that is wrong with a graph file, from top to bottom. `Display` shows each with its line and a
/// caret; [`Diagnostics::to_json`] is for programs.
#[derive(Clone, Debug)]
pub struct Diagnostics {
    sources: Sources,
    /// The files that the graph includes, whether they could be read or not.
    included: Vec<PathBuf>,
    list: Vec<Diagnostic>,
    omitted: usize,
}

impl Diagnostics {
    /// What is wrong with a file of this text.
    pub fn new(file: &Path, text: impl Into<Arc<str>>, list: Vec<Diagnostic>) -> Diagnostics {
        Diagnostics::of(Sources::new(file, text.into()), Vec::new(), list)
    }

    /// What is wrong with a graph and the files that it includes.
    pub(crate) fn of(sources: Sources, included: Vec<PathBuf>, mut list: Vec<Diagnostic>) -> Diagnostics {
        list.sort_by_key(|diagnostic| diagnostic.span);
        // A file that is included twice has its mistakes once.
        let mut told = HashSet::new();
        list.retain(|diagnostic| told.insert((diagnostic.span, diagnostic.message.clone())));
        let omitted = list.len().saturating_sub(MOST);
        list.truncate(MOST);
        Diagnostics {
            sources,
            included,
            list,
            omitted,
        }
    }

    /// The diagnoses, from top to bottom; no more than a hundred.
    pub fn list(&self) -> &[Diagnostic] {
        &self.list
    }

    /// The file.
    pub fn file(&self) -> &Path {
        &self.sources.holding(Span::new(0, 0)).file
    }

    /// The files that it includes, whether they could be read or not: when one of them changes, so may the
    /// diagnoses.
    pub fn included(&self) -> &[PathBuf] {
        &self.included
    }

    /// Whether nothing is wrong.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// How many there are of this severity, among those shown.
    pub fn count(&self, severity: Severity) -> usize {
        self.list
            .iter()
            .filter(|diagnostic| diagnostic.severity == severity)
            .count()
    }

    /// Where each diagnosis stands, in the file of [`Diagnostics::files`].
    pub fn locations(&self) -> Vec<Location> {
        let places = Places::of(&self.sources);
        self.list
            .iter()
            .map(|diagnostic| places.locate(diagnostic.span))
            .collect()
    }

    /// The file that each diagnosis is about: the graph's, or one that it includes.
    pub fn files(&self) -> Vec<&Path> {
        self.list
            .iter()
            .map(|diagnostic| self.sources.holding(diagnostic.span).file.as_path())
            .collect()
    }

    /// The diagnoses as one JSON object: `file`, `errors`, `warnings`, `omitted`, and `diagnostics`, each with
    /// `severity`, `message`, `expected`, `help`, its place and `related` places. Lines and columns count from
    /// 1, columns in characters; `start` and `end` are bytes. A place in an included file names that `file`.
    pub fn to_json(&self) -> String {
        json::report(self, &Places::of(&self.sources), self.omitted)
    }
}

impl std::error::Error for Diagnostics {}

impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let places = Places::of(&self.sources);
        for (index, diagnostic) in self.list.iter().enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            Sketch {
                places: &places,
                diagnostic,
            }
            .fmt(f)?;
        }
        if self.omitted > 0 {
            writeln!(f, "\n.. and {} more", self.omitted)?;
        }
        Ok(())
    }
}

/// One diagnosis as people read it.
struct Sketch<'a> {
    places: &'a Places<'a>,
    diagnostic: &'a Diagnostic,
}

impl fmt::Display for Sketch<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Diagnostic {
            severity,
            span,
            message,
            expected,
            help,
            related,
        } = self.diagnostic;
        let spans = related.iter().map(|(span, _)| *span).chain([*span]);
        let widest = spans
            .map(|span| self.places.locate(span).line)
            .max()
            .unwrap_or(1)
            .to_string()
            .len();
        writeln!(f, "{severity}: {message}")?;
        self.place(
            f,
            widest,
            "-->",
            *span,
            '^',
            expected.as_deref().unwrap_or_default(),
        )?;
        for (span, caption) in related {
            self.place(f, widest, ":::", *span, '-', caption)?;
        }
        if let Some(help) = help {
            writeln!(f, "{:widest$} = help: {help}", "")?;
        }
        Ok(())
    }
}

impl Sketch<'_> {
    /// Arrow, file, line and column; the line; and a mark under the place with a caption beside it.
    fn place(
        &self,
        f: &mut fmt::Formatter<'_>,
        gutter: usize,
        arrow: &str,
        span: Span,
        mark: char,
        caption: &str,
    ) -> fmt::Result {
        let place = self.places.find(span);
        let Location { line, column } = place.lines.locate(place.span.start);
        let (shown, before, width) = excerpt(
            place.lines.line(line),
            column - 1,
            place.lines.width_on_first_line(place.span),
        );
        let file = place.source.file.display();
        writeln!(f, "{:gutter$}{arrow} {file}:{line}:{column}", "")?;
        writeln!(f, "{:gutter$} |", "")?;
        writeln!(f, "{line:>gutter$} | {shown}")?;
        let marks: String = std::iter::repeat_n(mark, width).collect();
        writeln!(
            f,
            "{:gutter$} | {}",
            "",
            format!("{:before$}{marks} {caption}", "").trim_end()
        )
    }
}

/// What is shown of a line around `column` (from 0), what stands before the mark in it, and how wide the mark
/// is. Tabs are shown as four blanks, control characters as a sign, long lines in part.
fn excerpt(line: &str, column: usize, width: usize) -> (String, usize, usize) {
    const WIDEST: usize = 120;
    const BEFORE: usize = 60;
    let skip = if line.chars().nth(WIDEST).is_some() {
        column.saturating_sub(BEFORE)
    } else {
        0
    };
    let mut shown = String::from(if skip > 0 { ".." } else { "" });
    let (mut at, mut before, mut end) = (shown.len(), shown.len(), shown.len());
    let mut index = skip;
    for c in line.chars().skip(skip).take(WIDEST) {
        if index == column {
            before = at;
        }
        match c {
            '\t' => {
                shown.push_str("    ");
                at += 3;
            }
            // A control sequence in a graph must not reach the terminal.
            c if c.is_control() => shown.push('\u{fffd}'),
            c => shown.push(c),
        }
        at += 1;
        index += 1;
        if index == column + width {
            end = at;
        }
    }
    if line.chars().nth(index).is_some() {
        shown.push_str("..");
    }
    if index <= column {
        before = at;
    }
    if index < column + width {
        end = at;
    }
    (shown, before, end.saturating_sub(before).max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str, diagnostic: Diagnostic) -> String {
        Diagnostics::new(Path::new("a.ron"), text, vec![diagnostic]).to_string()
    }

    #[test]
    fn a_diagnosis_reads_as_in_a_compiler() {
        let text = "Graph(\n\tnodes: {\"é\": Mov(rotat: 5)},\n)\n";
        let at = text.find("rotat").unwrap();
        let diagnostic = Diagnostic::error(Span::new(at, at + 5), "Mov has no parameter `rotat`")
            .help("did you mean `rotate`?")
            .related(Span::new(0, 5), "in this graph");
        assert_eq!(
            shown(text, diagnostic),
            "error: Mov has no parameter `rotat`\n \
             --> a.ron:2:19\n  \
             |\n\
             2 |     nodes: {\"é\": Mov(rotat: 5)},\n  \
             |                      ^^^^^\n \
             ::: a.ron:1:1\n  \
             |\n\
             1 | Graph(\n  \
             | ----- in this graph\n  \
             = help: did you mean `rotate`?\n"
        );
    }

    #[test]
    fn long_lines_are_shown_around_the_place() {
        let text = format!("{}wrong{}", "a".repeat(5000), "b".repeat(5000));
        let shown = shown(
            &text,
            Diagnostic::error(Span::new(5000, 5005), "no").expected("expected right"),
        );
        let lines: Vec<&str> = shown.lines().collect();
        assert!(lines[1].ends_with("a.ron:1:5001"), "{}", lines[1]);
        assert!(
            lines[3].len() < 140 && lines[3].contains("awrongb"),
            "{}",
            lines[3]
        );
        let (place, caret) = (lines[3].find("wrong"), lines[4].find('^'));
        assert_eq!(place, caret, "{shown}");
        assert!(lines[4].ends_with("^^^^^ expected right"));
    }

    #[test]
    fn no_control_character_reaches_the_terminal() {
        let shown = shown("\u{1b}[2Jx\r\n", Diagnostic::error(Span::new(4, 5), "a\u{1b}b"));
        assert!(!shown.contains(['\u{1b}', '\r']), "{shown:?}");
    }

    #[test]
    fn places_past_the_end_are_shown_too() {
        let shown = shown("ab", Diagnostic::error(Span::new(2, 2), "missing"));
        assert!(shown.contains("a.ron:1:3") && shown.contains("|   ^"), "{shown}");
    }

    #[test]
    fn json_carries_places_and_counts() {
        let list = vec![
            Diagnostic::warning(Span::new(3, 4), "later"),
            Diagnostic::error(Span::new(0, 1), "first").help("do"),
        ];
        let json = Diagnostics::new(Path::new("a.ron"), "é\nx", list).to_json();
        let value: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(
            (value["errors"].as_u64(), value["warnings"].as_u64()),
            (Some(1), Some(1))
        );
        assert_eq!(value["diagnostics"][0]["message"], "first");
        assert_eq!(value["diagnostics"][1]["line"], 2);
        assert_eq!(value["diagnostics"][1]["source"], "x");
        assert!(value["diagnostics"][1].get("help").is_none());
    }

    #[test]
    fn a_flood_is_cut() {
        let list = (0..250).map(|i| Diagnostic::error(Span::new(0, 0), i.to_string()));
        let list = list.collect();
        let diagnostics = Diagnostics::new(Path::new("a.ron"), "", list);
        assert_eq!(diagnostics.list().len(), MOST);
        assert!(diagnostics.to_string().ends_with(".. and 150 more\n"));
    }
}
