//! The example graphs: every one renders, and every stack lays back together.

use std::fs;
use std::path::{Path, PathBuf};

use peel_io::{Budget, ReadOptions};

use crate::exact::{assert_recomposes, opaque, read};
use crate::support::{engine, files_under, load, render, root, tiny_weights};

/// A copy of `graphs/`, so that a test's renders are its own.
struct Place {
    folder: tempfile::TempDir,
    /// Stands in while the shipped weights are not there.
    tiny: tempfile::TempDir,
}

impl Place {
    fn new() -> Place {
        let folder = tempfile::tempdir().expect("a temporary folder");
        for part in ["", "plates", "mattes"] {
            let (from, to) = (root().join("graphs").join(part), folder.path().join(part));
            fs::create_dir_all(&to).expect("a folder");
            for entry in fs::read_dir(from)
                .expect("graphs")
                .flatten()
                .filter(|entry| entry.path().is_file())
            {
                fs::copy(entry.path(), to.join(entry.file_name())).expect("a copy");
            }
        }
        Place {
            folder,
            tiny: tiny_weights(),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Renders frames of a graph (all of its own where there are none) with the shipped weights; the files.
    fn render(&self, graph: &str, frames: &[i32]) -> Vec<PathBuf> {
        let shipped = root().join("weights");
        let weights = if shipped.join("layerdecomp-s").is_dir() {
            shipped.as_path()
        } else {
            self.tiny.path()
        };
        let graph = load(&self.path(graph));
        let frames = if frames.is_empty() {
            graph.frames.frames()
        } else {
            frames
        };
        render(&engine(2, &[weights]), &graph, frames).written
    }

    fn plate(&self, frame: i32) -> PathBuf {
        self.path(&format!("plates/floor.{frame}.exr"))
    }
}

/// Share of the pixels in which the base layers of two pictures of one size differ.
fn changed(a: &Path, b: &Path) -> f64 {
    let (a, b) = (read(a), read(b));
    let (width, height) = a.size;
    let pixels = (0..height).flat_map(|y| (0..width).map(move |x| (x, y)));
    let differ = pixels
        .filter(|&(x, y)| a.pixel("", x, y)[..3] != opaque(&b)(x, y)[..3])
        .count();
    differ as f64 / f64::from(width * height)
}

#[test]
fn the_quickstart_writes_eight_comps_and_eight_exact_stacks() {
    let place = Place::new();
    assert_eq!(place.render("quickstart.ron", &[]).len(), 16);
    for frame in 1001..=1008 {
        let stack = place.path(&format!("renders/quickstart_layers.{frame}.exr"));
        let plate = read(&place.plate(frame));
        assert_recomposes(&stack, &["background", "ball"], opaque(&plate));
        let stack = read(&stack);
        assert_eq!(
            stack.layers,
            ["", "background", "ball"],
            "flattened first, then bottom to top"
        );
        assert!(stack.channels.values().all(|channel| channel.half));
        let (ball, whole) = (
            stack.channels["ball.A"].area(),
            stack.channels["background.A"].area(),
        );
        assert!(
            ball < whole / 2,
            "the ball's data window is tight: {ball} of {whole} pixels"
        );
        for name in [
            "peel:graph",
            "peel:node",
            "peel:seed",
            "peel:steps",
            "peel:weights",
            "peel:device",
            "peel:dtype",
        ] {
            assert!(
                stack.texts.contains_key(name),
                "{name} is not in {:?}",
                stack.texts
            );
        }
        let comp = place.path(&format!("renders/quickstart.{frame}.exr"));
        let share = changed(&comp, &place.plate(frame));
        assert!(
            share > 0.01 && share < 0.9,
            "the edit changes the ball, not everything: {share}"
        );
    }
}

#[test]
fn two_objects_are_peeled_one_after_the_other() {
    let place = Place::new();
    // At 1008 the ball is in front of the bear.
    place.render("two_objects.ron", &[1001, 1008]);
    for frame in [1001, 1008] {
        let stack = place.path(&format!("renders/two_objects.{frame}.exr"));
        let plate = read(&place.plate(frame));
        assert_recomposes(&stack, &["background", "bear", "ball"], opaque(&plate));
        assert!(
            place
                .path(&format!("renders/two_objects_clean.{frame}.png"))
                .is_file()
        );
    }
}

#[test]
fn a_photograph_is_peeled_with_a_drawn_matte() {
    let place = Place::new();
    assert_eq!(place.render("photograph.ron", &[]).len(), 3);
    // Peel's own reader for the plate, since JPEG is not exact: what is tested is the stack.
    let picture = peel_io::read(
        &place.path("plates/coffee.jpg"),
        &ReadOptions::default(),
        &Budget::default(),
    );
    let photo = picture.expect("the photograph").into_first().expect("its layer");
    let stack = place.path("renders/photograph_layers.exr");
    assert_recomposes(&stack, &["background", "cup"], |x, y| photo.get(x, y));
}

#[test]
fn the_animated_edit_renders() {
    let place = Place::new();
    let written = place.render("animated_edit.ron", &[1001, 1004, 1008]);
    let shares: Vec<f64> = written
        .iter()
        .zip([1001, 1004, 1008])
        .map(|(file, frame)| changed(file, &place.plate(frame)))
        .collect();
    assert!(
        shares.iter().all(|&share| share > 0.001 && share < 0.95),
        "{shares:?}"
    );
}

#[test]
fn the_masked_recolour_changes_the_bear_and_renders_without_a_model() {
    let place = Place::new();
    let written = place.render("masked_recolour.ron", &[1001, 1005]);
    let (before, after) = (read(&place.plate(1001)), read(&written[0]));
    // The bear's belly: brownish before, bluish after.
    let (old, new) = (opaque(&before)(405, 165), after.pixel("", 405, 165));
    assert!(old[0] > old[2] && new[2] > new[0], "{old:?} to {new:?}");
}

#[test]
fn the_pictures_of_the_readme_render() {
    let place = Place::new();
    let written = place.render("pictures.ron", &[]);
    assert_eq!(written.len(), 5);
    let window = |file: &PathBuf| peel_io::probe(file).expect("a JPEG").display;
    assert!(
        written
            .iter()
            .all(|file| window(file) == peel_image::Rect::of_size(640, 360))
    );
}

#[test]
fn every_graph_has_a_test() {
    let graphs = files_under(&root().join("graphs"), "ron");
    let names: Vec<_> = graphs
        .iter()
        .filter_map(|graph| graph.file_stem()?.to_str())
        .collect();
    assert_eq!(
        names,
        [
            "animated_edit",
            "masked_recolour",
            "photograph",
            "pictures",
            "quickstart",
            "two_objects"
        ]
    );
}
