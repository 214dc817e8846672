//! Reading a graph file, and telling what is wrong with it.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use peel_graph::{Diagnostics, Graph, GroupFile};

use crate::exit::{Exit, Result, Stop};
use crate::files::{Stamp, stamp};
use crate::output;

/// No graph is written by hand at this size; whatever is larger is another sort of file.
const LARGEST: u64 = 64 << 20;

/// The text of a graph file; `-` is standard input.
pub fn read_text(file: &Path) -> Result<String> {
    let failed = |error: std::io::Error| Stop::failed(format!("{}: {error}", file.display()));
    let mut bytes = Vec::new();
    let read = if file == Path::new("-") {
        std::io::stdin().take(LARGEST + 1).read_to_end(&mut bytes)
    } else {
        fs::File::open(file).and_then(|open| open.take(LARGEST + 1).read_to_end(&mut bytes))
    };
    read.map_err(failed)?;
    if bytes.len() as u64 > LARGEST {
        return Err(Stop::failed(format!(
            "{}: too large to be a graph",
            file.display()
        )));
    }
    String::from_utf8(bytes).map_err(|error| {
        let line = 1 + error.as_bytes()[..error.utf8_error().valid_up_to()]
            .iter()
            .filter(|b| **b == b'\n')
            .count();
        let text = format!(
            "{}:{line}: not a text file (UTF-8), so not a graph",
            file.display()
        );
        Stop::Error(Exit::Graph, text)
    })
}

/// The graph of a text, as if it stood in `file`.
pub fn parse(text: &str, file: &Path) -> std::result::Result<Graph, Diagnostics> {
    Graph::parse(text, file, &peel_nodes::registry())
}

/// The same, with the files that it includes as they were just before they were read: to watch them.
pub fn parse_watched(
    text: &str,
    file: &Path,
) -> (std::result::Result<Graph, Diagnostics>, BTreeMap<PathBuf, Stamp>) {
    let seen = RefCell::new(BTreeMap::new());
    let load = |path: &Path| {
        seen.borrow_mut().insert(path.to_owned(), stamp(path));
        let mut text = String::new();
        fs::File::open(path)?.take(LARGEST).read_to_string(&mut text)?;
        Ok(text)
    };
    let parsed = Graph::parse_with(text, file, &peel_nodes::registry(), &load);
    (parsed, seen.into_inner())
}

/// Whether a text is a group's, to be included by graphs.
pub fn is_group(text: &str) -> bool {
    peel_graph::parse_syntax(text).0.name() == Some("Group")
}

/// What a group file declares, or everything that is wrong with it.
pub fn parse_group(text: &str, file: &Path) -> std::result::Result<GroupFile, Diagnostics> {
    Graph::parse_group(text, file, &peel_nodes::registry())
}

/// The graph in a file, or every mistake in it, on standard error.
pub fn load(file: &Path) -> Result<Graph> {
    checked(parse(&read_text(file)?, file), file)
}

/// A graph, or every mistake in it, on standard error. Warnings are shown as well.
pub fn checked(parsed: std::result::Result<Graph, Diagnostics>, file: &Path) -> Result<Graph> {
    match parsed {
        Ok(graph) => {
            if !graph.warnings.is_empty() {
                output::message(graph.warnings.to_string().trim_end());
            }
            Ok(graph)
        }
        Err(mistakes) => {
            output::message(&mistakes);
            Err(Stop::Error(Exit::Graph, verdict(&mistakes, file)))
        }
    }
}

/// "graphs/mug.ron: 5 mistakes, 1 warning".
pub fn verdict(diagnostics: &Diagnostics, file: &Path) -> String {
    let errors = diagnostics.count(peel_node::Severity::Error);
    let warnings = diagnostics.count(peel_node::Severity::Warning);
    let mut parts = Vec::new();
    if errors > 0 {
        parts.push(output::count(errors, "mistake"));
    }
    if warnings > 0 {
        parts.push(output::count(warnings, "warning"));
    }
    format!("{}: {}", file.display(), parts.join(", "))
}
