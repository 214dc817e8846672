//! A folder of two small pictures, with every sort of annotation.

use super::*;

const SIZE: usize = 64;

/// A red square in front of a green floor, a post before it in the second picture.
fn write_sources(dir: &Path) -> Options {
    let (images, depths) = (dir.join("images"), dir.join("depth"));
    std::fs::create_dir_all(images.join("sub")).unwrap();
    std::fs::create_dir_all(depths.join("sub")).unwrap();
    let square = |x: usize, y: usize| (16..48).contains(&x) && (16..48).contains(&y);
    let picture = Raster::from_fn(SIZE, SIZE, |x, y| {
        if square(x, y) {
            [0.8, 0.1, 0.1]
        } else {
            [0.1, 0.6, 0.1]
        }
    });
    for (name, post) in [("a", false), ("sub/b", true)] {
        files::write(&images.join(format!("{name}.png")), &picture).unwrap();
        let depth = Raster::from_fn(SIZE, SIZE, |x, y| {
            let d = if post && (40..56).contains(&x) {
                0.2
            } else if square(x, y) {
                0.5
            } else {
                0.9
            };
            [d; 3]
        });
        files::write(&depths.join(format!("{name}.png")), &depth).unwrap();
    }
    let annotations = dir.join("instances.json");
    let square = "[[16, 16, 48, 16, 48, 48, 16, 48]]";
    let left = "[[16, 16, 40, 16, 40, 48, 16, 48]]";
    std::fs::write(
        &annotations,
        format!(
            r#"{{"images": [
                {{"id": 1, "file_name": "a.png", "width": 64, "height": 64, "license": 4}},
                {{"id": 2, "file_name": "sub/b.png", "width": 64, "height": 64}},
                {{"id": 3, "file_name": "lost.png", "width": 64, "height": 64}},
                {{"id": 4, "file_name": "a.png", "width": 32, "height": 64}}],
              "annotations": [
                {{"id": 10, "image_id": 1, "category_id": 7, "segmentation": {square}}},
                {{"id": 11, "image_id": 1, "category_id": 7, "segmentation": {square}, "iscrowd": 1}},
                {{"id": 12, "image_id": 1, "category_id": 7, "segmentation": [[20, 20, 24, 20, 24, 24]]}},
                {{"id": 13, "image_id": 1, "category_id": 7, "segmentation": [[0, 16, 48, 16, 48, 48, 0, 48]]}},
                {{"id": 14, "image_id": 1, "category_id": 7, "segmentation": {{"size": [64, 64], "counts": "!"}}}},
                {{"id": 20, "image_id": 2, "category_id": 9, "segmentation": {left}}},
                {{"id": 30, "image_id": 3, "category_id": 9, "segmentation": {square}}},
                {{"id": 40, "image_id": 4, "category_id": 9, "segmentation": [[4, 4, 28, 4, 28, 60, 4, 60]]}}],
              "categories": [{{"id": 7, "name": "cup"}}],
              "licenses": [{{"id": 4, "name": "CC BY 2.0", "url": "https://creativecommons.org/licenses/by/2.0/"}}]}}"#
        ),
    )
    .unwrap();
    Options {
        images,
        annotations,
        depth: Some(depths),
        nearer: Nearer::Small,
        occluded: 0.1,
        area: 100,
        cut_off: false,
        feather: 2.0,
        most: None,
        out: dir.join("out"),
    }
}

#[test]
fn whole_objects_are_cut_out_and_all_others_are_accounted_for() {
    let dir = tempfile::tempdir().unwrap();
    let options = write_sources(dir.path());
    let mut told = Vec::new();
    let report = extract(&options, &mut |p| {
        told.push((p.pictures, p.of, p.objects));
        true
    })
    .unwrap();
    assert_eq!(told, [(1, 4, 1), (2, 4, 1), (3, 4, 1), (4, 4, 1)]);
    let [object] = report.objects.as_slice() else {
        panic!("{report:?}");
    };
    assert_eq!((object.annotation, object.category.as_str()), (10, "cup"));
    assert_eq!(
        (object.licence.as_str(), object.occluded),
        ("CC BY 2.0", Some(0.0))
    );
    for why in [Dropped::Crowd, Dropped::Small, Dropped::CutOff, Dropped::Occluded] {
        assert_eq!(report.dropped.get(&why), Some(&1), "{why:?}");
    }
    assert_eq!(report.dropped.get(&Dropped::Faulty), Some(&3));
    let says = |what: &str| {
        assert!(
            report.faults.iter().any(|f| f.contains(what)),
            "{:?}",
            report.faults
        )
    };
    says("annotation 14");
    says("lost.png");
    says("64 x 64 pixels, the annotations say 32 x 64");

    let cut = files::read(&options.out.join(&object.file)).unwrap();
    assert_eq!([cut.width, cut.height], [object.area[2], object.area[3]]);
    let middle = cut.at(cut.width / 2, cut.height / 2);
    assert!(
        (middle[0] - 0.8).abs() < 0.01 && (middle[3] - 1.0).abs() < 1e-3,
        "{middle:?}"
    );
    let edge = cut.at(0, cut.height / 2)[3];
    assert!(edge > 0.05 && edge < 0.9, "{edge}");
    // No green of the floor, premultiplied or not.
    assert!(
        cut.pixels.iter().all(|p| p[1] <= p[0] + 0.02),
        "background came along"
    );

    let index = std::fs::read_to_string(options.out.join("index.json")).unwrap();
    let index: serde_json::Value = serde_json::from_str(&index).unwrap();
    assert_eq!(index["objects"][0]["licence"], "CC BY 2.0");
    assert_eq!(index["dropped"]["cut_off"], 1);
}

#[test]
fn depth_edges_and_limits_are_options() {
    let dir = tempfile::tempdir().unwrap();
    let mut options = write_sources(dir.path());
    options.depth = None;
    options.cut_off = true;
    let all = extract(&options, &mut |_| true).unwrap();
    let ids: Vec<u64> = all.objects.iter().map(|o| o.annotation).collect();
    assert_eq!(ids, [10, 13, 20]);
    assert!(all.objects.iter().all(|o| o.occluded.is_none()));
    // An object that the edge cuts off has no soft edge there.
    let cut = files::read(&options.out.join(&all.objects[1].file)).unwrap();
    assert!(cut.at(0, cut.height / 2)[3] > 0.99);
    options.most = Some(1);
    assert_eq!(extract(&options, &mut |_| true).unwrap().objects.len(), 1);
}

#[test]
fn a_run_can_be_stopped_and_a_hopeless_one_says_why() {
    let dir = tempfile::tempdir().unwrap();
    let mut options = write_sources(dir.path());
    assert!(matches!(extract(&options, &mut |_| false), Err(Error::Cancelled)));
    assert!(
        options.out.join("index.json").exists(),
        "what was written is indexed"
    );
    options.depth = Some(dir.path().join("none"));
    let error = extract(&options, &mut |_| true).unwrap_err().to_string();
    assert!(error.contains("none"), "{error}");
    std::fs::create_dir(dir.path().join("empty")).unwrap();
    options.depth = None;
    options.images = dir.path().join("empty");
    options.cut_off = true;
    std::fs::write(
        &options.annotations,
        r#"{"images": [{"id": 1, "file_name": "a.png", "width": 8, "height": 8}], "annotations": [
            {"id": 1, "image_id": 1, "segmentation": {"size": [8, 8], "counts": [0, 64]}}]}"#,
    )
    .unwrap();
    options.area = 1;
    let error = extract(&options, &mut |_| true).unwrap_err().to_string();
    assert!(
        error.contains("all 1 annotations are faulty") && error.contains("a.png"),
        "{error}"
    );
}
