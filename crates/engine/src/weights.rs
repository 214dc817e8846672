//! Where models are found by name.

use std::path::{Path, PathBuf};

use peel_node::{Error, Result};

/// The folder of a model: a path from the graph's folder, or a name in one of the weights folders. These
/// are, in order, `dirs`, then every `weights` folder beside or above the graph, the program, and the
/// current folder.
pub fn find_model(model: &str, dirs: &[PathBuf], graph: &Path) -> Result<PathBuf> {
    let is_model = |folder: &Path| folder.join("config.ron").is_file();
    let direct = graph.join(model);
    if is_model(&direct) {
        return Ok(direct);
    }
    let places = places(dirs, graph);
    if let Some(found) = places
        .iter()
        .map(|place| place.join(model))
        .find(|folder| is_model(folder))
    {
        return Ok(found);
    }
    let mut known: Vec<String> = places
        .iter()
        .flat_map(|place| models_in(place, is_model))
        .collect();
    known.sort();
    known.dedup();
    let mut text = format!("there is no model `{model}`");
    if places.is_empty() {
        text += ": no folder named `weights` stands beside or above the graph file";
    } else {
        let places: Vec<String> = places.iter().map(|place| place.display().to_string()).collect();
        text += &format!(" in {}", places.join(", "));
    }
    text += &match known.as_slice() {
        [] => "; name the folder that holds it with `--weights`".to_owned(),
        known => format!("; there are {}", known.join(", ")),
    };
    Err(Error::message(text))
}

/// The weights folders that exist, each once.
fn places(dirs: &[PathBuf], graph: &Path) -> Vec<PathBuf> {
    let program = std::env::current_exe().ok();
    let current = std::env::current_dir().ok();
    let absolute = std::path::absolute(graph).ok();
    let starts = [absolute.as_deref(), program.as_deref(), current.as_deref()];
    let above = starts
        .into_iter()
        .flatten()
        .flat_map(Path::ancestors)
        .map(|folder| folder.join("weights"));
    let mut places: Vec<PathBuf> = Vec::new();
    for place in dirs.iter().cloned().chain(above) {
        if place.is_dir() && !places.contains(&place) {
            places.push(place);
        }
    }
    places
}

fn models_in(place: &Path, is_model: impl Fn(&Path) -> bool) -> Vec<String> {
    let entries = std::fs::read_dir(place).into_iter().flatten().flatten();
    let models = entries.filter(|entry| is_model(&entry.path()));
    models
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn named_folders_go_before_those_above_the_graph() {
        let root = tempfile::tempdir().unwrap();
        let make = |path: &str| {
            let folder = root.path().join(path);
            std::fs::create_dir_all(&folder).unwrap();
            std::fs::write(folder.join("config.ron"), "").unwrap();
            folder
        };
        let (near, named) = (make("weights/small"), make("elsewhere/small"));
        let graph = root.path().join("graphs/deep");
        std::fs::create_dir_all(&graph).unwrap();
        assert_eq!(find_model("small", &[], &graph).unwrap(), near);
        assert_eq!(
            find_model("small", &[root.path().join("elsewhere")], &graph).unwrap(),
            named
        );
        assert_eq!(
            find_model("../../weights/small", &[], &graph).unwrap(),
            graph.join("../../weights/small")
        );
        let missing = find_model("smal", &[], &graph).unwrap_err().to_string();
        assert!(
            missing.contains("`smal`") && missing.contains("small"),
            "{missing}"
        );
    }
}
