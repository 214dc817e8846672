//! Files that OpenEXR and OpenImageIO wrote (tests/oracle/make_fixtures.py), read here.

#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};

use peel_image::{ColourSpace, Layer, Rect};
use peel_io::{
    Attribute, Budget, Error, Picture, ReadOptions, Result, SampleType, Selection, Storage, probe, read,
    read_channel,
};

const FRAME: Rect = Rect {
    x0: 0,
    y0: 0,
    x1: 24,
    y1: 20,
};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures")
        .join(name)
}

fn all(name: &str) -> Result<Picture> {
    read(
        &fixture(name),
        &ReadOptions {
            selection: Selection::All,
            ..ReadOptions::default()
        },
        &Budget::default(),
    )
}

/// The formulas of make_fixtures.py; (x, y) from the data window's corner.
fn formula(x: i32, y: i32) -> [f32; 4] {
    [
        x as f32 / 8.0,
        y as f32 / 4.0,
        ((x * 5 + y * 3) % 16) as f32 / 16.0,
        ((x + y) % 3) as f32 / 2.0,
    ]
}

fn assert_formula(layer: &Layer, data: Rect, name: &str) {
    assert_eq!(layer.data(), data, "{name}");
    for y in data.y0..data.y1 {
        for x in data.x0..data.x1 {
            assert_eq!(
                layer.get(x, y),
                formula(x - data.x0, y - data.y0),
                "{name} at ({x}, {y})"
            );
        }
    }
}

#[test]
fn every_lossless_compression_and_tiles() {
    for name in ["none", "rle", "zips", "zip", "piz", "pxr24", "tiles", "mipmap"] {
        let picture = all(&format!("{name}.exr")).unwrap();
        assert_eq!(picture.layers.len(), 1);
        assert_formula(&picture.layers[0].layer, FRAME, name);
    }
    assert_eq!(
        probe(&fixture("tiles.exr")).unwrap().parts[0].storage,
        Storage::Tiles(16, 16)
    );
}

#[test]
fn lossy_compressions() {
    for name in ["b44", "b44a", "dwaa", "dwab"] {
        let layer = all(&format!("{name}.exr")).unwrap().into_first().unwrap();
        for y in 0..20 {
            for x in 0..24 {
                let expected = 0.25 + x as f32 / 64.0 + y as f32 / 128.0;
                assert!(
                    layer.get(x, y).iter().all(|c| (c - expected).abs() < 0.02),
                    "{name} {:?}",
                    layer.get(x, y)
                );
            }
        }
    }
}

#[test]
fn windows_aspect_and_attributes() {
    let options = ReadOptions {
        working: ColourSpace::AcesCg,
        ..ReadOptions::default()
    };
    let picture = read(&fixture("windows.exr"), &options, &Budget::default()).unwrap();
    assert_eq!(picture.display, Rect::of_size(16, 10));
    assert_eq!(picture.pixel_aspect, 2.0);
    // Its chromaticities are ACEScg's, so nothing is converted.
    assert_formula(&picture.layers[0].layer, Rect::new(-7, 3, 17, 23), "windows");
    let shown = |name: &str| picture.attribute(name).map(Attribute::to_string);
    assert_eq!(shown("owner").as_deref(), Some("\"Ada\""));
    assert_eq!(shown("comments").as_deref(), Some("\"a comment\""));
    assert_eq!(shown("framesPerSecond").as_deref(), Some("24000/1001"));
    assert_eq!(shown("timeCode").as_deref(), Some("01:02:03:04"));
    assert_eq!(shown("dataWindow"), None);
}

#[test]
fn layers_depth_and_ids() {
    let picture = all("layers.exr").unwrap();
    let names: Vec<_> = picture.layers.iter().map(|named| named.name.as_str()).collect();
    assert_eq!(names, ["", "mug"]);
    assert_formula(picture.layer("").unwrap(), FRAME, "base");
    let (_, _, blue, alpha) = (0, 0, 2, 3);
    for (x, y) in [(0, 0), (5, 9), (23, 19)] {
        let expected = formula(x, y);
        assert_eq!(
            picture.layer("mug").unwrap().get(x, y),
            [expected[blue], 0.0, 0.0, expected[alpha]]
        );
    }
    let plane = |name: &str| {
        picture
            .planes
            .iter()
            .find(|(plane, _)| plane == name)
            .map(|(_, matte)| matte)
    };
    assert_eq!(plane("Z").unwrap().get(8, 0), 1000.1);
    assert_eq!(plane("id.X").unwrap().get(0, 19), 4053562365u32 as f32);
    let matte = read_channel(&fixture("layers.exr"), Some("mug.A"), &Budget::default()).unwrap();
    assert_eq!(matte.get(1, 1), 1.0);
    let types: Vec<_> = probe(&fixture("layers.exr")).unwrap().parts[0]
        .channels
        .iter()
        .map(|c| c.sample)
        .collect();
    assert!(types.contains(&SampleType::Float) && types.contains(&SampleType::U32));
}

#[test]
fn grey_is_red_green_and_blue() {
    let layer = all("grey.exr").unwrap().into_first().unwrap();
    assert_eq!(layer.get(4, 3), [0.5, 0.5, 0.5, 1.0]);
    assert_eq!(
        read_channel(&fixture("grey.exr"), None, &Budget::default())
            .unwrap()
            .get(4, 3),
        0.5
    );
}

#[test]
fn parts() {
    let picture = all("multipart.exr").unwrap();
    let names: Vec<_> = picture.layers.iter().map(|named| named.name.as_str()).collect();
    // The third part has the base layer's channels again, so it goes by its own name.
    assert_eq!(names, ["", "mug", "shadow"]);
    assert_formula(picture.layer("").unwrap(), FRAME, "rgba");
    assert_formula(picture.layer("mug").unwrap(), Rect::new(4, 5, 12, 9), "mug");
    assert_formula(picture.layer("shadow").unwrap(), FRAME, "shadow");
    let only = ReadOptions {
        selection: Selection::Layer("mug".into()),
        ..ReadOptions::default()
    };
    assert_eq!(
        read(&fixture("multipart.exr"), &only, &Budget::default())
            .unwrap()
            .layers
            .len(),
        1
    );
    let missing = ReadOptions {
        selection: Selection::Layer("jug".into()),
        ..ReadOptions::default()
    };
    let error = read(&fixture("multipart.exr"), &missing, &Budget::default()).unwrap_err();
    assert!(
        matches!(&error, Error::NoLayer { have, .. } if have.len() == 3),
        "{error}"
    );
}

#[test]
fn what_is_not_supported_says_so() {
    let said = |name: &str| all(name).unwrap_err().to_string();
    assert!(
        said("deep.exr").contains("deep data is not supported; flatten it"),
        "{}",
        said("deep.exr")
    );
    assert!(
        said("htj2k.exr").contains("HTJ2K32 compression is not supported"),
        "{}",
        said("htj2k.exr")
    );
    assert_eq!(
        probe(&fixture("deep.exr")).unwrap().parts[0].storage,
        Storage::DeepScanLines
    );
    assert!(
        probe(&fixture("htj2k.exr"))
            .unwrap()
            .to_string()
            .contains("HTJ2K32")
    );
}

/// Channel c of make_fixtures.py's `plain`: (x + y + c) mod 8 of an eighth.
fn eighths(x: i32, y: i32, c: i32, scale: f32, most: f32) -> f32 {
    (((x + y + c) % 8) as f32 * scale / 8.0).floor() / most
}

#[test]
fn eight_and_sixteen_bits_and_floats() {
    let srgb = |v: f32| ColourSpace::Srgb.to(ColourSpace::LinearRec709).apply([v; 3])[0];
    for (name, scale, most, channels) in [
        ("rgba8.png", 248.0, 255.0, 4),
        ("rgba.webp", 248.0, 255.0, 4),
        ("rgb16.png", 65528.0, 65535.0, 3),
        ("rgb16.tif", 65528.0, 65535.0, 3),
        ("grey8.png", 248.0, 255.0, 1),
    ] {
        let layer = all(name).unwrap().into_first().unwrap();
        assert_eq!(layer.data(), FRAME, "{name}");
        for (x, y) in [(0, 0), (3, 7), (23, 19), (6, 1)] {
            let alpha = if channels == 4 {
                eighths(x, y, 3, scale, most)
            } else {
                1.0
            };
            let got = layer.get(x, y);
            for c in 0..3 {
                let stored = eighths(x, y, c.min(channels - 1), scale, most);
                let expected = srgb(stored) * alpha;
                assert!(
                    (got[c as usize] - expected).abs() < 1e-6,
                    "{name} ({x}, {y}) {c}: {got:?} {expected}"
                );
            }
            assert_eq!(got[3], alpha);
        }
    }
    let float = all("float.tif").unwrap().into_first().unwrap();
    assert_eq!(
        float.get(3, 2)[..3],
        [2.5, 3.0, 3.5],
        "float TIFF is linear, above 1 too"
    );
}

#[test]
fn jpeg_stands_upright() {
    let plain = all("rgb.jpg").unwrap().into_first().unwrap();
    let turned = all("turned.jpg").unwrap().into_first().unwrap();
    assert_eq!(turned.data(), Rect::of_size(20, 24));
    // Orientation 6: the stored picture is turned clockwise to be seen.
    assert_eq!(turned.get(19 - 5, 7), plain.get(7, 5));
}

#[test]
fn planes_without_colour_are_named_by_their_channel() {
    let error = read_channel(&fixture("rgb16.png"), Some("A"), &Budget::default()).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("no channel \"A\"; it has \"R\", \"G\" and \"B\""),
        "{error}"
    );
    assert_eq!(
        read_channel(&fixture("rgba8.png"), None, &Budget::default())
            .unwrap()
            .get(0, 0),
        93.0 / 255.0
    );
}
