//! What is wrong with a graph file, and where.

use std::fmt;

/// A stretch of the graph file's text, in bytes; half-open.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Span {
    /// The first byte.
    pub start: usize,
    /// One past the last byte.
    pub end: usize,
}

impl Span {
    /// The bytes from `start` up to `end`.
    pub fn new(start: usize, end: usize) -> Span {
        Span { start, end }
    }

    /// From the beginning of `self` to the end of `other`.
    pub fn to(self, other: Span) -> Span {
        Span {
            start: self.start,
            end: other.end.max(self.start),
        }
    }
}

/// How bad it is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Severity {
    /// The graph cannot be rendered.
    Error,
    /// The graph can be rendered, but probably not as meant.
    Warning,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Severity::Error => "error",
            Severity::Warning => "warning",
        })
    }
}

/// One thing that is wrong: what, where, what was expected there, and what to do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Diagnostic {
    /// How bad it is.
    pub severity: Severity,
    /// Where.
    pub span: Span,
    /// What is wrong, in one line.
    pub message: String,
    /// What belongs there, to stand beside the caret: "expected a number, found a list".
    pub expected: Option<String>,
    /// What to do: "did you mean `rotate`?".
    pub help: Option<String>,
    /// Other places that have to do with it, such as the other end of an edge, each with its own caption.
    pub related: Vec<(Span, String)>,
}

impl Diagnostic {
    /// An error at `span`.
    pub fn error(span: Span, message: impl Into<String>) -> Diagnostic {
        Diagnostic {
            severity: Severity::Error,
            span,
            message: clipped(message.into()),
            expected: None,
            help: None,
            related: Vec::new(),
        }
    }

    /// A warning at `span`.
    pub fn warning(span: Span, message: impl Into<String>) -> Diagnostic {
        Diagnostic {
            severity: Severity::Warning,
            ..Diagnostic::error(span, message)
        }
    }

    /// Adds what belongs there.
    pub fn expected(mut self, text: impl Into<String>) -> Diagnostic {
        self.expected = Some(clipped(text.into()));
        self
    }

    /// Adds what to do.
    pub fn help(mut self, text: impl Into<String>) -> Diagnostic {
        self.help = Some(text.into());
        self
    }

    /// Adds the name among `known` that `found` was probably meant to be, if any is near.
    pub fn nearest<'a>(self, found: &str, known: impl IntoIterator<Item = &'a str>) -> Diagnostic {
        match nearest(found, known) {
            Some(name) => self.help(format!("did you mean `{name}`?")),
            None => self,
        }
    }

    /// Adds another place that has to do with it.
    pub fn related(mut self, span: Span, caption: impl Into<String>) -> Diagnostic {
        self.related.push((span, clipped(caption.into())));
        self
    }
}

/// The name in `known` that a typist probably meant by `found`: at most a third of the letters differ (a
/// swap of neighbours counts as one; case does not count).
pub fn nearest<'a>(found: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    /// Names are short; longer ones are not compared, so that hostile text costs no time.
    const LONGEST: usize = 64;
    let length = found.chars().count();
    if length > LONGEST {
        return None;
    }
    let wanted = found.to_lowercase();
    known
        .into_iter()
        .filter(|name| name.len() <= 4 * LONGEST)
        .map(|name| (strsim::osa_distance(&wanted, &name.to_lowercase()), name))
        .filter(|&(distance, name)| distance <= (length.max(name.chars().count()) / 3).max(1))
        .min_by_key(|&(distance, _)| distance)
        .map(|(_, name)| name)
}

/// A line that a person reads: hostile names may be megabytes long and hold control characters.
fn clipped(text: String) -> String {
    const LONGEST: usize = 300;
    if text.len() <= LONGEST && !text.contains(char::is_control) {
        return text;
    }
    let mut clipped: String = text
        .chars()
        .take(LONGEST)
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .collect();
    if text.chars().nth(LONGEST).is_some() {
        clipped.push_str("..");
    }
    clipped
}

/// "`a`, `b` or `c`"; long lists are cut.
pub(crate) fn listed<'a>(names: impl IntoIterator<Item = &'a str>, last_word: &str) -> String {
    const MOST: usize = 16;
    let mut quoted: Vec<String> = names.into_iter().map(|name| format!("`{name}`")).collect();
    if quoted.len() > MOST {
        let more = quoted.len() - MOST;
        quoted.truncate(MOST);
        return format!("{} {last_word} {more} more", quoted.join(", "));
    }
    match quoted.pop() {
        None => "nothing".to_owned(),
        Some(last) if quoted.is_empty() => last,
        Some(last) => format!("{} {last_word} {last}", quoted.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nearest_forgives_typos_and_case_but_not_other_words() {
        let known = ["input", "translate", "rotate", "filter"];
        assert_eq!(nearest("rotat", known), Some("rotate"));
        assert_eq!(nearest("inptu", known), Some("input"));
        assert_eq!(nearest("Filter", known), Some("filter"));
        assert_eq!(nearest("opacity", known), None);
        assert_eq!(nearest("", known), None);
        assert_eq!(nearest(&"x".repeat(100_000), known), None);
    }

    #[test]
    fn lists_of_names_read_as_a_sentence() {
        assert_eq!(listed(["a"], "or"), "`a`");
        assert_eq!(listed(["a", "b", "c"], "or"), "`a`, `b` or `c`");
        assert_eq!(listed([], "or"), "nothing");
    }
}
