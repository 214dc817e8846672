//! What is written comes back, in every layout and compression, with the same bytes each time.

#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::sync::Arc;

use peel_image::{ColourSpace, Layer, MergeOp, NamedLayer, Rect, Stack, quantise};
use peel_io::{
    Attribute, Budget, Compression, Depth, Error, JpegOptions, Layout, OutputLayer, PixelType, PngOptions,
    ReadOptions, Selection, WriteOptions, probe, read, read_channel, write_exr, write_jpeg, write_png,
    write_stack,
};

const FRAME: Rect = Rect {
    x0: 0,
    y0: 0,
    x1: 37,
    y1: 23,
};

/// Smooth and noisy parts, light above 1, transparent corners.
fn pattern(data: Rect, seed: i32) -> Layer {
    let mut layer = Layer::from_fn(FRAME, data, |x, y| {
        let noise = ((x * 7919 + y * 104_729 + seed * 31) % 97).unsigned_abs() as f32 / 97.0;
        let alpha = if (x + y) % 5 == 0 { 0.5 } else { 1.0 };
        [
            x as f32 / 9.0 * alpha,
            noise * alpha,
            (x * y) as f32 / 50.0 * alpha,
            alpha,
        ]
    });
    quantise::half_layer(&mut layer);
    layer
}

fn two_layers() -> Stack {
    let named = |name: &str, layer| NamedLayer {
        name: name.into(),
        layer: Arc::new(layer),
    };
    Stack {
        layers: vec![
            named("background", pattern(FRAME, 1)),
            named("mug", pattern(Rect::new(-4, 5, 11, 30), 2)),
        ],
        ..Stack::default()
    }
}

fn all(path: &Path) -> peel_io::Picture {
    let options = ReadOptions {
        selection: Selection::All,
        ..ReadOptions::default()
    };
    read(path, &options, &Budget::default()).unwrap()
}

#[test]
fn every_lossless_compression_and_layout() {
    let folder = tempfile::tempdir().unwrap();
    let stack = two_layers();
    for layout in Layout::ALL {
        for compression in Compression::ALL.into_iter().filter(|c| c.is_lossless_for_half()) {
            let path = folder.path().join(format!("{layout}.{compression}.exr"));
            let options = WriteOptions {
                layout,
                compression,
                ..WriteOptions::default()
            };
            write_stack(&path, &stack, &options).unwrap();
            let picture = all(&path);
            let names: Vec<_> = picture.layers.iter().map(|named| named.name.as_str()).collect();
            assert_eq!(names, ["", "background", "mug"], "{layout} {compression}");
            assert_eq!(picture.display, FRAME);
            for named in &stack.layers {
                let got = picture.layer(&named.name).unwrap();
                let window = got.data().union(named.layer.data());
                assert_eq!(
                    got.crop(window),
                    named.layer.crop(window),
                    "{layout} {compression} {}",
                    named.name
                );
            }
            // Over of the layers in the file is the flattened picture in the file.
            let (background, mug) = (
                picture.layer("background").unwrap(),
                picture.layer("mug").unwrap(),
            );
            for y in -1..30 {
                for x in -5..38 {
                    let over = MergeOp::Over.pixel(mug.get(x, y), background.get(x, y));
                    assert_eq!(
                        picture.layer("").unwrap().get(x, y),
                        quantise::half_pixel(over),
                        "{x} {y}"
                    );
                }
            }
        }
    }
}

#[test]
fn lossy_compressions_stay_close() {
    let folder = tempfile::tempdir().unwrap();
    let smooth = Layer::from_fn(FRAME, FRAME, |x, y| {
        let v = 0.2 + x as f32 / 80.0 + y as f32 / 60.0;
        [v, v * 0.8, v * 0.5, 1.0]
    });
    for compression in Compression::ALL.into_iter().filter(|c| !c.is_lossless_for_half()) {
        let path = folder.path().join("lossy.exr");
        let options = WriteOptions {
            compression,
            ..WriteOptions::default()
        };
        write_exr(&path, &[OutputLayer::base(&smooth)], &options).unwrap();
        let got = all(&path).into_first().unwrap();
        for (a, b) in smooth
            .pixels()
            .iter()
            .flatten()
            .zip(got.pixels().iter().flatten())
        {
            assert!((a - b).abs() < 0.02, "{compression}: {a} {b}");
        }
    }
}

#[test]
fn float_pixels_with_nan_and_infinity_come_back_bit_for_bit() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("float.exr");
    let odd = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 1e-42];
    let layer = Layer::from_fn(FRAME, FRAME, |x, y| {
        if (x, y) == (3, 4) {
            odd
        } else {
            [0.1, 1e30, -7.0, 0.3]
        }
    });
    let options = WriteOptions {
        pixel_type: PixelType::Float,
        ..WriteOptions::default()
    };
    write_exr(&path, &[OutputLayer::base(&layer)], &options).unwrap();
    let got = all(&path).into_first().unwrap();
    let bits = |layer: &Layer| {
        layer
            .pixels()
            .iter()
            .flatten()
            .map(|c| c.to_bits())
            .collect::<Vec<_>>()
    };
    assert_eq!(bits(&got), bits(&layer));
}

#[test]
fn the_same_bytes_whatever_the_threads_and_the_order_of_attributes() {
    let folder = tempfile::tempdir().unwrap();
    let stack = two_layers();
    let attributes: Vec<_> = (0..20)
        .map(|n| Attribute::text(format!("note{n}"), format!("{n}")))
        .collect();
    let write = |name: &str, threads: usize, attributes: Vec<Attribute>| {
        let path = folder.path().join(name);
        let options = WriteOptions {
            attributes,
            layout: Layout::Multipart,
            ..WriteOptions::default()
        };
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .unwrap();
        pool.install(|| write_stack(&path, &stack, &options)).unwrap();
        std::fs::read(path).unwrap()
    };
    let one = write("one.exr", 1, attributes.clone());
    assert!(one == write("four.exr", 4, attributes.clone()));
    assert!(one == write("turned.exr", 2, attributes.into_iter().rev().collect()));
}

#[test]
fn tight_windows_and_the_empty_layer() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tight.exr");
    let mut layer = Layer::new(FRAME, FRAME);
    layer.row_mut(7)[9] = [0.5, 0.0, 0.0, 1.0];
    let empty = Layer::new(FRAME, FRAME);
    let layers = [OutputLayer::base(&layer), OutputLayer::named("nothing", &empty)];
    let options = WriteOptions {
        layout: Layout::Multipart,
        ..WriteOptions::default()
    };
    write_exr(&path, &layers, &options).unwrap();
    let info = probe(&path).unwrap();
    assert_eq!(info.parts[0].data, Rect::new(9, 7, 10, 8));
    assert_eq!(info.parts[1].data, Rect::new(0, 0, 1, 1));
    assert_eq!(info.layers(), ["", "nothing"]);
    assert!(all(&path).layer("nothing").unwrap().tight_window().is_empty());
}

#[test]
fn attributes_pass_through_and_chromaticities_are_honoured() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("aces.exr");
    let layer = Layer::from_fn(FRAME, FRAME, |_, _| [1.0, 0.5, 0.125, 1.0]).with_pixel_aspect(2.0);
    let custom = Attribute {
        name: "odd".into(),
        kind: "mine".into(),
        bytes: vec![1, 2, 3, 4, 5],
    };
    let time = Attribute {
        name: "timeCode".into(),
        kind: "timecode".into(),
        bytes: vec![1, 0, 0, 0x10, 0, 0, 0, 0],
    };
    let options = WriteOptions {
        working: ColourSpace::AcesCg,
        attributes: vec![
            Attribute::text("owner", "Ada"),
            custom.clone(),
            time.clone(),
            // Must not overrule the writer.
            Attribute::int("dataWindow", 1),
        ],
        ..WriteOptions::default()
    };
    write_exr(&path, &[OutputLayer::base(&layer)], &options).unwrap();

    let same = ReadOptions {
        working: ColourSpace::AcesCg,
        ..ReadOptions::default()
    };
    let picture = read(&path, &same, &Budget::default()).unwrap();
    assert_eq!(picture.attribute("odd"), Some(&custom));
    assert_eq!(picture.attribute("timeCode"), Some(&time));
    assert_eq!(
        picture.attribute("owner").and_then(Attribute::as_text),
        Some("Ada".into())
    );
    assert_eq!(picture.pixel_aspect, 2.0);
    assert_eq!(
        *picture.into_first().unwrap(),
        layer,
        "in its own space nothing changes"
    );

    let converted = all(&path).into_first().unwrap();
    let expected = ColourSpace::AcesCg
        .to(ColourSpace::LinearRec709)
        .apply([1.0, 0.5, 0.125]);
    assert_eq!(converted.get(3, 3)[..3], expected);
    let forced = ReadOptions {
        source: Some(ColourSpace::LinearRec709),
        ..ReadOptions::default()
    };
    assert_eq!(
        *read(&path, &forced, &Budget::default())
            .unwrap()
            .into_first()
            .unwrap(),
        layer
    );
}

#[test]
fn single_channels_by_any_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("channels.exr");
    let stack = two_layers();
    let options = WriteOptions {
        layout: Layout::Nuke,
        ..WriteOptions::default()
    };
    write_stack(&path, &stack, &options).unwrap();
    let mug = &stack.layers[1].layer;
    for name in ["mug.alpha", "mug.A", "mug.a"] {
        let matte = read_channel(&path, Some(name), &Budget::default()).unwrap();
        assert_eq!(matte.get(-4, 7), mug.get(-4, 7)[3], "{name}");
        assert_eq!(matte.get(5, 9), mug.get(5, 9)[3], "{name}");
    }
    let error = read_channel(&path, Some("mgu.A"), &Budget::default()).unwrap_err();
    assert!(
        matches!(&error, Error::NoChannel { channel, .. } if channel == "mgu.A"),
        "{error}"
    );
    assert!(error.to_string().contains("\"mug.alpha\""), "{error}");
}

#[test]
fn an_opaque_picture_of_a_matte_is_a_matte() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("matte.exr");
    let opaque = Layer::from_fn(FRAME, FRAME, |x, _| [x as f32 / 64.0, 0.0, 0.0, 1.0]);
    write_exr(&path, &[OutputLayer::base(&opaque)], &WriteOptions::default()).unwrap();
    assert_eq!(
        read_channel(&path, None, &Budget::default()).unwrap().get(16, 2),
        0.25
    );
    assert_eq!(
        read_channel(&path, Some("A"), &Budget::default())
            .unwrap()
            .get(16, 2),
        1.0
    );
}

#[test]
fn names_must_differ_and_fit() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("names.exr");
    let layer = pattern(FRAME, 1);
    let write = |names: &[&str], layout| {
        let layers: Vec<_> = names
            .iter()
            .map(|name| OutputLayer::named(name, &layer))
            .collect();
        write_exr(
            &path,
            &layers,
            &WriteOptions {
                layout,
                ..WriteOptions::default()
            },
        )
    };
    assert!(
        write(&["a", "a"], Layout::Spec)
            .unwrap_err()
            .to_string()
            .contains("two layers")
    );
    assert!(write(&["a b", "a_b"], Layout::Nuke).is_err());
    assert!(write(&["", "rgba"], Layout::Multipart).is_err());
    assert!(write(&[&"x".repeat(300)], Layout::Spec).is_err());
    assert!(!path.exists());
    let long = "a layer with a name of more than thirty-one letters";
    write(&[long, "a.b"], Layout::Multipart).unwrap();
    assert_eq!(probe(&path).unwrap().layers(), [long, "a.b"]);
}

#[test]
fn png_and_jpeg() {
    let folder = tempfile::tempdir().unwrap();
    let layer = Layer::from_fn(FRAME, FRAME, |x, _| {
        let alpha = if x < 20 { 1.0 } else { 0.5 };
        let v = x as f32 / 40.0;
        [v * alpha, 0.25 * alpha, 4.0, alpha]
    });
    for (depth, slack) in [(Depth::Eight, 0.006), (Depth::Sixteen, 2e-5)] {
        let path = folder.path().join("out.png");
        write_png(
            &path,
            &layer,
            &PngOptions {
                depth,
                working: ColourSpace::LinearRec709,
            },
        )
        .unwrap();
        let got = all(&path).into_first().unwrap();
        for x in 0..37 {
            let (a, b) = (layer.get(x, 3), got.get(x, 3));
            assert!(
                (a[0] - b[0]).abs() < slack && (a[1] - b[1]).abs() < slack,
                "{a:?} {b:?}"
            );
            assert!(
                (a[3] - b[3]).abs() < 0.003 && (b[2] - b[3]).abs() < 1e-5,
                "cut at 1: {b:?}"
            );
        }
    }
    let path = folder.path().join("out.jpg");
    write_jpeg(&path, &layer, &JpegOptions::default()).unwrap();
    let got = all(&path).into_first().unwrap();
    assert_eq!(got.data(), FRAME);
    assert!(
        (got.get(30, 10)[1] - 0.125).abs() < 0.03,
        "half transparent over black: {:?}",
        got.get(30, 10)
    );
}

#[test]
fn mattes_from_png_have_no_curve() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("matte.png");
    let half = Layer::from_fn(FRAME, FRAME, |_, _| {
        let light = peel_image::colour::srgb_decode(128.0 / 255.0);
        [light, light, light, 1.0]
    });
    write_png(&path, &half, &PngOptions::default()).unwrap();
    assert_eq!(
        read_channel(&path, None, &Budget::default()).unwrap().get(1, 1),
        128.0 / 255.0
    );
}

/// Files for tests/oracle/check_layers.py to read with OpenEXR and OpenImageIO.
#[test]
#[ignore = "writes into the folder PEEL_ORACLE_DIR"]
fn files_for_other_readers() {
    let folder = std::path::PathBuf::from(std::env::var("PEEL_ORACLE_DIR").unwrap());
    for layout in Layout::ALL {
        for compression in Compression::ALL {
            let options = WriteOptions {
                layout,
                compression,
                attributes: vec![
                    Attribute::text("peel:seed", "7"),
                    Attribute::rational("framesPerSecond", 24, 1),
                ],
                ..WriteOptions::default()
            };
            write_stack(
                &folder.join(format!("{layout}.{compression}.exr")),
                &two_layers(),
                &options,
            )
            .unwrap();
        }
    }
}
