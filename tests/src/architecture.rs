//! The rules of the house, read off the manifests: which room may know which. ARCHITECTURE.md says why.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("tests/ lies in the workspace")
        .to_owned()
}

/// Names under `[dependencies]` (with `dev`: under `[dev-dependencies]` too), for any target.
fn dependencies(manifest: &str, dev: bool) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let mut inside = false;
    for line in manifest.lines().map(str::trim) {
        if let Some(section) = line.strip_prefix('[') {
            let section = section.trim_end_matches(']');
            let kind = section.rsplit('.').next().unwrap_or(section);
            inside =
                kind == "dependencies" || kind == "build-dependencies" || dev && kind == "dev-dependencies";
        } else if inside && !line.is_empty() && !line.starts_with('#') {
            let name = line.split(['.', '=', ' ']).next().unwrap_or(line);
            names.insert(name.to_owned());
        }
    }
    names
}

/// Every room's manifest, by package name.
fn manifests() -> BTreeMap<String, String> {
    let workspace = fs::read_to_string(root().join("Cargo.toml")).expect("the workspace's manifest");
    let members = workspace
        .split("members = [")
        .nth(1)
        .and_then(|rest| rest.split(']').next());
    let rooms = members.expect("a list of members").split('"').skip(1).step_by(2);
    rooms
        .map(|room| {
            let text = fs::read_to_string(root().join(room).join("Cargo.toml")).expect(room);
            let name = text
                .lines()
                .find_map(|line| line.strip_prefix("name = \""))
                .expect(room);
            (name.trim_end_matches('"').to_owned(), text.clone())
        })
        .collect()
}

/// Everything that a package reaches inside the workspace, itself left out.
fn reaches(package: &str, manifests: &BTreeMap<String, String>) -> BTreeSet<String> {
    let mut reached = BTreeSet::new();
    let mut open = vec![package.to_owned()];
    while let Some(next) = open.pop() {
        for name in dependencies(&manifests[&next], false) {
            if manifests.contains_key(&name) && reached.insert(name.clone()) {
                open.push(name);
            }
        }
    }
    reached
}

#[test]
fn pixels_files_nodes_and_graphs_know_no_model() {
    let manifests = manifests();
    for room in [
        "peel-image",
        "peel-io",
        "peel-node",
        "peel-node-derive",
        "peel-graph",
        "peel-engine",
    ] {
        let named = dependencies(&manifests[room], true);
        let candle: Vec<_> = named.iter().filter(|name| name.starts_with("candle")).collect();
        assert!(candle.is_empty(), "{room} names {candle:?}");
        let reached = reaches(room, &manifests);
        for model in ["peel-layerdecomp", "peel-plate", "peel-train"] {
            assert!(!reached.contains(model), "{room} reaches {model}");
        }
    }
}

#[test]
fn floors_know_only_the_floors_below() {
    let may: [(&str, &[&str]); 13] = [
        ("peel-image", &[]),
        ("peel-io", &["peel-image"]),
        ("peel-node-derive", &[]),
        ("peel-node", &["peel-image", "peel-io", "peel-node-derive"]),
        ("peel-graph", &["peel-image", "peel-io", "peel-node"]),
        (
            "peel-engine",
            &["peel-image", "peel-io", "peel-node", "peel-graph"],
        ),
        ("peel-kernels", &[]),
        ("peel-emulate", &["peel-kernels"]),
        ("peel-layerdecomp", &["peel-kernels"]),
        ("peel-plate", &["peel-image", "peel-kernels", "peel-layerdecomp"]),
        (
            "peel-train",
            &["peel-image", "peel-io", "peel-layerdecomp", "peel-plate"],
        ),
        (
            "peel-nodes",
            &[
                "peel-image",
                "peel-io",
                "peel-node",
                "peel-layerdecomp",
                "peel-plate",
            ],
        ),
        (
            "peel-cli",
            &[
                "peel-image",
                "peel-io",
                "peel-node",
                "peel-graph",
                "peel-engine",
                "peel-kernels",
                "peel-layerdecomp",
                "peel-plate",
                "peel-train",
                "peel-nodes",
            ],
        ),
    ];
    let manifests = manifests();
    for (room, below) in may {
        for name in dependencies(&manifests[room], false) {
            let ours = manifests.contains_key(&name);
            assert!(
                !ours || below.contains(&name.as_str()),
                "{room} may not name {name}"
            );
        }
    }
    let rooms: BTreeSet<&str> = may.iter().map(|(room, _)| *room).chain(["peel-tests"]).collect();
    let known: BTreeSet<&str> = manifests.keys().map(String::as_str).collect();
    assert_eq!(rooms, known, "a room is missing from this table, or is gone");
}

#[test]
fn only_io_names_the_picture_formats() {
    for (room, manifest) in manifests() {
        let named = dependencies(&manifest, false);
        for format in ["exr", "image"] {
            assert!(
                room == "peel-io" || !named.contains(format),
                "{room} names {format}"
            );
        }
    }
}

#[test]
fn nobody_but_the_command_and_the_tests_knows_training() {
    for (room, manifest) in manifests() {
        let knows = dependencies(&manifest, true).contains("peel-train");
        assert!(
            !knows || room == "peel-cli" || room == "peel-tests",
            "{room} names peel-train"
        );
    }
}

#[test]
fn every_room_keeps_the_lints_of_the_house() {
    for (room, manifest) in manifests() {
        let lints = manifest
            .split("[lints]")
            .nth(1)
            .is_some_and(|rest| rest.trim().starts_with("workspace = true"));
        assert!(lints, "{room} does not take the workspace's lints");
    }
}

#[test]
fn source_files_stay_short() {
    /// Past this a file has more than one subject.
    const LONGEST: usize = 600;
    let mut long = Vec::new();
    let mut open = vec![root().join("crates"), root().join("nodes"), root().join("tests")];
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(folder).expect("a folder of sources").flatten() {
            let path = entry.path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let lines = fs::read_to_string(&path).expect("source").lines().count();
                if lines > LONGEST {
                    long.push(format!("{}: {lines} lines", path.display()));
                }
            }
        }
    }
    assert!(long.is_empty(), "{long:#?}");
}
