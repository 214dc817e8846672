//! Broken graphs under `errors/`, each with the diagnoses that it should get, as comments in the file itself:
//! `// error LINE:COLUMN part of the message`, and below it, where there should be advice, `// help part of it`.

use std::fs;
use std::path::Path;

use peel_graph::{Diagnostics, Graph};

use crate::support::{files_under, root};

/// A diagnosis that a file announces.
struct Expected<'a> {
    place: String,
    message: &'a str,
    help: Option<&'a str>,
}

fn announced(text: &str) -> Vec<Expected<'_>> {
    let mut all: Vec<Expected> = Vec::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("// error ") {
            let (place, message) = rest.split_once(' ').expect("a place and a message");
            all.push(Expected {
                place: place.to_owned(),
                message,
                help: None,
            });
        } else if let Some(help) = line.strip_prefix("// help ") {
            all.last_mut().expect("advice stands under its error").help = Some(help);
        }
    }
    all
}

fn compare(file: &Path, text: &str, found: &Diagnostics) -> Result<(), String> {
    let expected = announced(text);
    let list = found.list();
    if list.len() != expected.len() {
        return Err(format!(
            "{} diagnoses expected, {} found",
            expected.len(),
            list.len()
        ));
    }
    for ((wanted, got), place) in expected.iter().zip(list).zip(found.locations()) {
        let place = format!("{}:{}", place.line, place.column);
        if place != wanted.place || !got.message.contains(wanted.message) {
            return Err(format!(
                "{} {}: expected\n{place} {}: found",
                wanted.place, wanted.message, got.message
            ));
        }
        let help = got.help.as_deref().unwrap_or_default();
        if wanted.help.is_some_and(|wanted| !help.contains(wanted)) {
            return Err(format!(
                "{place}: advice {:?} expected, {help:?} found",
                wanted.help
            ));
        }
    }
    // What people see has every place, the line itself and a mark under it.
    let shown = found.to_string();
    for wanted in &expected {
        let arrow = format!("--> {}:{}", file.display(), wanted.place);
        if !shown.contains(&arrow) || !shown.contains('^') {
            return Err(format!("{arrow} is not shown"));
        }
    }
    Ok(())
}

#[test]
fn broken_graphs_get_the_diagnoses_that_they_announce() {
    let folder = root().join("tests/errors");
    let mut files = files_under(&folder, "ron");
    // Folders hold what the broken graphs include.
    files.retain(|file| file.parent() == Some(folder.as_path()));
    assert!(files.len() >= 10, "there are {} broken graphs", files.len());
    let registry = peel_nodes::registry();
    let mut failures = Vec::new();
    for file in files {
        let text = fs::read_to_string(&file).expect("a broken graph");
        match Graph::parse(&text, &file, &registry) {
            Ok(_) => failures.push(format!("{}: nothing is found wrong with it", file.display())),
            Err(found) => {
                if let Err(reason) = compare(&file, &text, &found) {
                    failures.push(format!("{}: {reason}\n{found}", file.display()));
                }
            }
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
}
