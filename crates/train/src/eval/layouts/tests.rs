use super::*;
use crate::data::raster::Raster;
use crate::metrics::Regions;

fn flat(value: f32) -> Raster<3> {
    Raster::filled(32, 32, [value; 3])
}

/// A square that is 1 in columns and rows 8 to 15.
fn square(value: f32) -> Raster<3> {
    Raster::from_fn(32, 32, |x, y| {
        [value * f32::from((8..16).contains(&x) && (8..16).contains(&y)); 3]
    })
}

fn put(dir: &Path, name: &str, picture: &Raster<3>) {
    let path = dir.join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    files::write(&path, picture).unwrap();
}

fn error(layout: Layout, dir: &Path) -> String {
    layout
        .series(dir)
        .err()
        .map(|e| e.to_string())
        .unwrap_or_default()
}

#[test]
fn triplets_need_their_partners() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    assert!(error(Layout::Triplets, dir).contains("no picture is called ID_C"));
    for frame in ["9", "10"] {
        put(dir, &format!("s.{frame}_C.png"), &flat(0.2));
        put(dir, &format!("s.{frame}_M.png"), &square(1.0));
    }
    put(dir, "s.10_B.png", &flat(0.5));
    assert!(error(Layout::Triplets, dir).contains("s.9_B"));
    put(dir, "s.9_B.png", &flat(0.5));
    put(dir, "s.9_E.png", &square(1.0).map(|p| [1.0 - p[0]; 3]));
    let series = Layout::Triplets.series(dir).unwrap();
    assert_eq!(series.names, ["s.9", "s.10"]);
    let case = series.case(0).unwrap();
    let regions = Regions::of(&case);
    assert_eq!(regions.object.iter().filter(|o| **o).count(), 64);
    assert_eq!(regions.effect.iter().filter(|e| **e).count(), 32 * 32 - 100);
    put(dir, "s.9_B.png", &Raster::filled(31, 32, [0.5; 3]));
    let wrong = series.case(0).unwrap_err().to_string();
    assert!(
        wrong.contains("s.9_B.png") && wrong.contains("31 x 32") && wrong.contains("32 x 32"),
        "{wrong}"
    );
}

#[test]
fn photographs_have_no_truth() {
    let dir = tempfile::tempdir().unwrap();
    put(dir.path(), "cat_C.png", &flat(0.2));
    assert!(error(Layout::Photographs, dir.path()).contains("cat_M"));
    put(dir.path(), "cat_M.png", &square(1.0));
    let case = Layout::Photographs.series(dir.path()).unwrap().case(0).unwrap();
    assert!(!case.has_truth() && !case.truth.has_foreground);
}

#[test]
fn rord_pairs() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    assert!(error(Layout::Rord, dir).contains("no folder `img`"));
    put(dir, "img/a.png", &flat(0.2));
    put(dir, "gt/a.png", &flat(0.5));
    put(dir, "masks/b.png", &square(1.0));
    assert!(error(Layout::Rord, dir).contains("mask/a"));
    // Anything but 0 is masked.
    put(dir, "masks/a.png", &square(0.1));
    let case = Layout::Rord.series(dir).unwrap().case(0).unwrap();
    assert_eq!(case.truth.mask.pixels.iter().filter(|m| m[0] == 1.0).count(), 64);
    assert!(!case.truth.has_foreground && case.has_truth());
    assert!((case.truth.background.pixels[0][0] - 0.5).abs() < 0.003);
}

#[test]
fn mulan_instances_are_taken_off_one_by_one() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    assert!(error(Layout::Mulan, dir).contains("layer_0"));
    put(dir, "0001/layer_0.png", &flat(0.5));
    let instance = |value: f32| square(1.0).map(|p| [value * p[0], value * p[0], value * p[0], p[0]]);
    files::write_layer(&dir.join("0001/layer_2.png"), &instance(0.8)).unwrap();
    assert!(error(Layout::Mulan, dir).contains("layer_1 is missing"));
    files::write_layer(&dir.join("0001/layer_1.png"), &instance(0.2)).unwrap();
    let series = Layout::Mulan.series(dir).unwrap();
    assert_eq!(series.names, ["0001_1", "0001_2"]);
    let case = series.case(1).unwrap().truth;
    let inside = 10 * 32 + 10;
    let near = |p: &[f32; 3], v: f32| (p[0] - v).abs() < 0.003;
    assert!(near(&case.plate.pixels[inside], 0.8) && near(&case.background.pixels[inside], 0.2));
    assert!(near(
        &series.case(0).unwrap().truth.background.pixels[inside],
        0.5
    ));
    assert_eq!(case.mask.pixels[inside], [1.0]);
}

#[test]
fn desobav2_is_measured_in_the_shadow() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    for name in ["a", "b"] {
        put(dir, &format!("shadow_imgs/{name}.png"), &flat(0.2));
        put(dir, &format!("shadowfree_imgs/{name}.png"), &flat(0.5));
        put(dir, &format!("object_masks/{name}.png"), &square(1.0));
        put(
            dir,
            &format!("shadow_masks/{name}.png"),
            &Raster::from_fn(32, 32, |x, _| [f32::from(x > 20); 3]),
        );
    }
    std::fs::write(dir.join("test.txt"), "b\n").unwrap();
    let series = Layout::Desobav2.series(dir).unwrap();
    assert_eq!(series.names, ["b"]);
    let regions = Regions::of(&series.case(0).unwrap());
    assert!(!regions.object.contains(&true));
    assert_eq!(regions.effect.iter().filter(|e| **e).count(), 11 * 32);
    std::fs::write(dir.join("test.txt"), "b.jpg\nc.jpg\n").unwrap();
    assert!(error(Layout::Desobav2, dir).ends_with("no picture: c"));
}
