//! What comes out of Write: layouts, names, numbers, metadata, pictures to look at.

use std::path::Path;

use peel_image::Rect;
use peel_io::{Attribute, Budget, OutputLayer, ReadOptions, WriteOptions};

use crate::exact::{self, assert_recomposes};
use crate::support::{engine, parse, render, tiny_weights, write_plate_and_matte};

/// Peels `matte.exr` off `plate.exr` and writes the stack with these parameters of Write.
fn stack(folder: &Path, parameters: &str) -> exact::File {
    let text = format!(
        "Graph(format: 1, frames: \"1\", nodes: {{
            \"plate\": Read(path: \"plate.exr\"),
            \"mug-1\": Mask(from: File(\"matte.exr\")),
            \"peel\": Decompose(plate: \"plate\", masks: [\"mug-1\"], working_size: 32, seed: 9),
            \"out\": Write(input: \"peel.stack\", path: \"out.exr\", {parameters}),
        }})"
    );
    let weights = tiny_weights();
    render(
        &engine(2, &[weights.path()]),
        &parse(&text, &folder.join("graph.ron")),
        &[1],
    );
    exact::read(&folder.join("out.exr"))
}

fn names(file: &exact::File) -> Vec<&str> {
    file.channels.keys().map(String::as_str).collect()
}

#[test]
fn each_layout_names_the_layers_its_own_way_and_lays_back_together() {
    let folder = tempfile::tempdir().expect("a folder");
    write_plate_and_matte(folder.path());
    let plate = exact::read(&folder.path().join("plate.exr"));
    let flat = ["A", "B", "G", "R"];
    for (layout, layer, suffixes) in [
        ("Spec", "mug-1", ["A", "B", "G", "R"]),
        ("Multipart", "mug-1", ["A", "B", "G", "R"]),
        ("Nuke", "mug_1", ["alpha", "blue", "green", "red"]),
    ] {
        let file = stack(folder.path(), &format!("layout: {layout}"));
        let of = |layer: &str| suffixes.map(|suffix| format!("{layer}.{suffix}"));
        let mut expected: Vec<String> = flat.map(str::to_owned).to_vec();
        expected.extend(of("background"));
        expected.extend(of(layer));
        assert_eq!(names(&file), expected, "{layout}");
        assert_recomposes(
            &folder.path().join("out.exr"),
            &["background", layer],
            exact::opaque(&plate),
        );
        let tight = file.channels[&format!("{layer}.{}", suffixes[0])].area() < file.channels["A"].area();
        assert_eq!(
            tight,
            layout == "Multipart",
            "only parts have windows of their own"
        );
    }
}

#[test]
fn lossless_compressions_and_floats_keep_the_promise() {
    let folder = tempfile::tempdir().expect("a folder");
    write_plate_and_matte(folder.path());
    let plate = exact::read(&folder.path().join("plate.exr"));
    for compression in ["None", "Rle", "Zips", "Piz", "Pxr24"] {
        assert!(stack(folder.path(), &format!("compression: {compression}")).channels["R"].half);
        assert_recomposes(
            &folder.path().join("out.exr"),
            &["background", "mug-1"],
            exact::opaque(&plate),
        );
    }
    assert!(!stack(folder.path(), "pixels: Float").channels["R"].half);
    assert_recomposes(
        &folder.path().join("out.exr"),
        &["background", "mug-1"],
        exact::opaque(&plate),
    );
}

#[test]
fn metadata_comes_through_and_says_how_to_make_the_frame_again() {
    let folder = tempfile::tempdir().expect("a folder");
    write_plate_and_matte(folder.path());
    let window = Rect::of_size(64, 48);
    let layer = peel_image::Layer::from_fn(window, window, |x, _| [x as f32 / 64.0, 0.2, 0.1, 1.0]);
    let odd = Attribute {
        name: "studio:shot".into(),
        kind: "studioShot".into(),
        bytes: vec![1, 2, 3, 4, 5],
    };
    let code = Attribute {
        name: "timeCode".into(),
        kind: "timecode".into(),
        bytes: vec![0x12, 0x34, 0x56, 0x11, 0, 0, 0, 0],
    };
    let attributes = vec![
        Attribute::text("owner", "Ada"),
        Attribute::rational("framesPerSecond", 24000, 1001),
        odd,
        code,
    ];
    let options = WriteOptions {
        attributes: attributes.clone(),
        ..WriteOptions::default()
    };
    let path = folder.path().join("plate.exr");
    peel_io::write_exr(&path, &[OutputLayer::base(&layer)], &options).expect("a plate");

    let written = stack(folder.path(), "layout: Spec");
    let picture = peel_io::read(
        &folder.path().join("out.exr"),
        &ReadOptions::default(),
        &Budget::default(),
    );
    let picture = picture.expect("the stack");
    for attribute in &attributes {
        assert_eq!(picture.attribute(&attribute.name), Some(attribute));
    }
    let text = |name: &str| written.texts.get(name).map_or("", String::as_str);
    assert_eq!(
        (text("peel:seed"), text("peel:steps"), text("peel:frame")),
        ("9", "1", "1")
    );
    assert_eq!(
        (text("peel:device"), text("peel:dtype"), text("peel:model")),
        ("cpu", "f32", "layerdecomp-s")
    );
    let light = text("peel:light");
    assert!(
        light.contains("exposure ") && light.contains(", white "),
        "{light:?}"
    );
    assert!(
        text("peel:recomposition").ends_with(": 0"),
        "{}",
        text("peel:recomposition")
    );
    assert!(
        text("peel:raw_model").ends_with(" dB"),
        "{}",
        text("peel:raw_model")
    );
    for digest in ["peel:graph", "peel:node", "peel:weights"] {
        assert!(
            text(digest).len() == 64 && text(digest).bytes().all(|b| b.is_ascii_hexdigit()),
            "{digest}"
        );
    }
}

#[test]
fn png_and_jpeg_show_what_the_exr_holds() {
    let folder = tempfile::tempdir().expect("a folder");
    let text = r#"Graph(format: 1, frames: "1", working_space: AcesCg, nodes: {
        "grey": Constant(colour: 0.18, width: 16, height: 8),
        "glass": Constant(colour: (0.18, 0.18, 0.18), alpha: 0.5, width: 16, height: 8),
        "png": Write(input: "grey", path: "grey.png"),
        "deep": Write(input: "grey", path: "deep.png", bits: Sixteen),
        "jpg": Write(input: "grey", path: "grey.jpg", quality: 100),
        "alpha": Write(input: "glass", path: "glass.png", bits: Sixteen),
    })"#;
    render(
        &engine(1, &[]),
        &parse(text, &folder.path().join("graph.ron")),
        &[1],
    );
    let read = |name: &str| {
        let picture = peel_io::read(
            &folder.path().join(name),
            &ReadOptions::default(),
            &Budget::default(),
        );
        picture.expect(name).into_first().expect("a layer").get(3, 3)
    };
    // Grey is grey in every space: ACEScg 0.18 is linear 0.18, shown as sRGB 0.461355.
    for (name, slack) in [("grey.png", 2e-3), ("deep.png", 1e-5), ("grey.jpg", 4e-3)] {
        let [r, g, b, a] = read(name);
        assert!(
            [r, g, b].iter().all(|c| (c - 0.18).abs() < slack) && a == 1.0,
            "{name}: {r} {g} {b} {a}"
        );
    }
    let [r, _, _, a] = read("glass.png");
    assert!(
        (a - 0.5).abs() < 1e-4 && (r - 0.09).abs() < 1e-4,
        "straight alpha in the file: {r} {a}"
    );
}
