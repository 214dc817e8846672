//! Places in a text: bytes to lines and columns; and the texts of several files as one.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use peel_node::Span;
use peel_node::params::Folders;

/// A place as editors count it: from 1; a column is a character, whatever its width, a tab too.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Location {
    /// The line.
    pub line: usize,
    /// The column.
    pub column: usize,
}

/// The texts that a graph is made of, one behind the other: its own, then those of the files that it includes. A
/// span counts through all of them, and so tells by itself which file it is in.
#[derive(Clone, Debug)]
pub(crate) struct Sources {
    list: Vec<Source>,
}

/// One file's text.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    /// The file, as it was named.
    pub file: PathBuf,
    /// Its text.
    pub text: Arc<str>,
    /// Where it begins among the others.
    pub base: usize,
    /// Its folder, seen from that of the graph.
    folder: PathBuf,
}

impl Sources {
    /// A graph's own text.
    pub fn new(file: &Path, text: Arc<str>) -> Sources {
        Sources {
            list: vec![Source {
                file: file.to_owned(),
                text,
                base: 0,
                folder: PathBuf::new(),
            }],
        }
    }

    /// Adds an included file; where its text begins.
    pub fn add(&mut self, file: PathBuf, folder: PathBuf, text: Arc<str>) -> usize {
        // A byte between two texts, so that the end of one is not the beginning of the next.
        let base = self.list.last().map_or(0, |last| last.base + last.text.len() + 1);
        self.list.push(Source {
            file,
            text,
            base,
            folder,
        });
        base
    }

    /// The file that a span is in.
    pub fn holding(&self, span: Span) -> &Source {
        &self.list[self.index(span)]
    }

    fn index(&self, span: Span) -> usize {
        // The first one begins at 0, so there is always one.
        self.list
            .partition_point(|source| source.base <= span.start)
            .saturating_sub(1)
    }

    /// All of them, the graph's own first.
    pub fn iter(&self) -> impl Iterator<Item = &Source> {
        self.list.iter()
    }

    /// Where relative paths start.
    pub fn folders(&self) -> Folders {
        self.list
            .iter()
            .map(|source| (source.base, source.folder.clone()))
            .collect()
    }
}

/// Lines of several files.
pub(crate) struct Places<'s> {
    sources: &'s Sources,
    lines: Vec<Lines<'s>>,
}

/// Where a span is.
pub(crate) struct Place<'p> {
    /// The file.
    pub source: &'p Source,
    /// The file's lines.
    pub lines: &'p Lines<'p>,
    /// The span within this file alone.
    pub span: Span,
}

impl<'s> Places<'s> {
    pub fn of(sources: &'s Sources) -> Places<'s> {
        Places {
            sources,
            lines: sources.iter().map(|source| Lines::new(&source.text)).collect(),
        }
    }

    /// Where a span is.
    pub fn find(&self, span: Span) -> Place<'_> {
        let index = self.sources.index(span);
        let source = &self.sources.list[index];
        Place {
            source,
            lines: &self.lines[index],
            span: Span::new(span.start - source.base, span.end.max(source.base) - source.base),
        }
    }

    /// The line and column where a span begins, in its file.
    pub fn locate(&self, span: Span) -> Location {
        let place = self.find(span);
        place.lines.locate(place.span.start)
    }
}

/// A text and where its lines begin.
pub(crate) struct Lines<'t> {
    text: &'t str,
    starts: Vec<usize>,
}

impl<'t> Lines<'t> {
    pub fn new(text: &'t str) -> Lines<'t> {
        let after_breaks = text
            .bytes()
            .enumerate()
            .filter(|&(_, byte)| byte == b'\n')
            .map(|(at, _)| at + 1);
        Lines {
            text,
            starts: std::iter::once(0).chain(after_breaks).collect(),
        }
    }

    /// The line and column of a byte.
    pub fn locate(&self, byte: usize) -> Location {
        let byte = self.at_character(byte);
        let line = self.starts.partition_point(|&start| start <= byte);
        let start = self.starts[line - 1];
        Location {
            line,
            column: self.text[start..byte].chars().count() + 1,
        }
    }

    /// A line's text without its end, `\n` or `\r\n`; lines count from 1.
    pub fn line(&self, line: usize) -> &'t str {
        let start = self.starts[line - 1];
        let end = self.starts.get(line).copied().unwrap_or(self.text.len());
        self.text[start..end].trim_end_matches(['\n', '\r'])
    }

    /// The characters of a span on its first line; at least 1, since a caret must stand somewhere.
    pub fn width_on_first_line(&self, span: Span) -> usize {
        let start = self.at_character(span.start);
        let end = self.at_character(span.end).max(start);
        let first = self.text[start..end].lines().next().unwrap_or_default();
        first.chars().count().max(1)
    }

    /// The beginning of the character around a byte, inside the text.
    fn at_character(&self, byte: usize) -> usize {
        let byte = byte.min(self.text.len());
        (0..=byte)
            .rev()
            .find(|&at| self.text.is_char_boundary(at))
            .unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(lines: &Lines<'_>, byte: usize) -> (usize, usize) {
        let Location { line, column } = lines.locate(byte);
        (line, column)
    }

    #[test]
    fn columns_count_characters() {
        let lines = Lines::new("é\t日b\r\nx");
        assert_eq!(at(&lines, 0), (1, 1));
        assert_eq!(at(&lines, "é".len()), (1, 2));
        assert_eq!(at(&lines, "é\t".len()), (1, 3));
        assert_eq!(at(&lines, "é\t日".len()), (1, 4));
        assert_eq!(at(&lines, "é\t日b\r\n".len()), (2, 1));
        assert_eq!(lines.line(1), "é\t日b");
        assert_eq!(lines.line(2), "x");
    }

    #[test]
    fn places_outside_and_inside_characters_are_survived() {
        let lines = Lines::new("日");
        assert_eq!(at(&lines, 1), (1, 1));
        assert_eq!(at(&lines, 99), (1, 2));
        assert_eq!(at(&Lines::new(""), 5), (1, 1));
        assert_eq!(Lines::new("").line(1), "");
    }

    #[test]
    fn a_span_over_lines_is_underlined_on_the_first() {
        let lines = Lines::new("ab(\ncd)");
        assert_eq!(lines.width_on_first_line(Span::new(0, 7)), 3);
        assert_eq!(lines.width_on_first_line(Span::new(2, 2)), 1);
    }
}
