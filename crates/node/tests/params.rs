//! The derive macros: one struct is the reader, the checks, the manual and the content key.

use peel_graph::parse_syntax;
use peel_image::{Filter, MergeOp};
use peel_node::params::{Limits, ParamDoc};
use peel_node::{
    Animated, Choice, FilePath, Input, KeyBuilder, Params, Reader, Rgb, SocketType, Vec2, socket,
};

/// Everything that a parameter can be.
#[derive(Params, Debug, PartialEq)]
#[params(check = Self::check)]
struct Everything {
    /// What comes in.
    input: Input<socket::Layer>,
    /// Pixels; x to the right,
    /// y down.
    ///
    /// A second paragraph.
    #[param(default = Vec2::ZERO, unit = "pixels", soft = -100.0..=100.0)]
    translate: Animated<Vec2>,
    /// How much.
    #[param(default = 0.5, hard = 0.0..=1.0)]
    amount: Animated<f32>,
    /// How often.
    #[param(default = 3, hard = 1..)]
    count: u32,
    /// Which way.
    #[param(default = Filter::Cubic)]
    filter: Filter,
    /// How.
    #[param(default = MergeOp::Over)]
    operation: MergeOp,
    /// Where.
    #[param(default = Shape::Everywhere)]
    shape: Shape,
    /// Left out, nothing.
    mask: Option<Input<socket::LayerOrMatte>>,
    /// Bottom to top.
    #[param(default)]
    layers: Vec<Input<socket::LayerOrStack>>,
    /// Colours.
    #[param(default)]
    grade: Grade,
    /// Words.
    #[param(default = "none")]
    label: String,
    /// Whether to turn it round. A keyword must be possible as a name.
    #[param(default = false, rename = "in")]
    inward: bool,
}

impl Everything {
    fn check(&self, reader: &mut Reader) {
        if self.inward && self.count > 9 {
            reader.error_at("count", "too many for `in`");
        }
    }
}

/// A group.
#[derive(Params, Debug, PartialEq)]
struct Grade {
    /// Multiplies.
    #[param(default = Rgb::ONE, hard = 0.0..)]
    gain: Animated<Rgb>,
    /// Adds. Its name must not disturb the generated code.
    #[param(default = 0.0)]
    key: f64,
}

/// Where.
#[derive(Choice, Debug, PartialEq)]
enum Shape {
    /// All of it.
    Everywhere,
    /// A file.
    File(FilePath),
    /// A disk.
    Disk {
        /// Its middle.
        centre: Animated<Vec2>,
        /// Its size.
        #[param(default = 10.0, hard = 0.0..)]
        radius: f64,
    },
}

fn read_with(text: &str) -> (Option<Everything>, Reader) {
    let (syntax, mistakes) = parse_syntax(text);
    assert!(mistakes.is_empty(), "{mistakes:?}");
    let mut reader = Reader::new("Everything", syntax.head());
    (<Everything as Params>::read(&syntax, &mut reader), reader)
}

fn read(text: &str) -> Everything {
    let (value, reader) = read_with(text);
    let (mistakes, _) = reader.finish();
    assert!(mistakes.is_empty(), "{mistakes:?}");
    value.unwrap_or_else(|| panic!("no value, but no mistake either"))
}

/// What is pointed at, and the message.
fn mistakes(text: &str) -> Vec<(String, String)> {
    let (_, reader) = read_with(text);
    let (mistakes, _) = reader.finish();
    mistakes
        .into_iter()
        .map(|d| (text[d.span.start..d.span.end].to_owned(), d.message))
        .collect()
}

fn key_at(value: &Everything, frame: i32) -> peel_node::Key {
    let mut key = KeyBuilder::new("test");
    Params::hash(value, frame, &mut key);
    key.finish()
}

#[test]
fn defaults_stand_in_for_what_is_left_out() {
    let value = read("Everything(input: \"a\")");
    assert_eq!(value.translate, Animated::Constant(Vec2::ZERO));
    assert_eq!(
        (value.count, value.filter, value.operation),
        (3, Filter::Cubic, MergeOp::Over)
    );
    assert_eq!((value.mask.is_none(), value.layers.len()), (true, 0));
    assert_eq!(value.grade, Grade::default());
    assert_eq!(value.grade.gain.at(7), Rgb::ONE);
    assert_eq!((value.label.as_str(), value.inward), ("none", false));
}

#[test]
fn everything_is_read() {
    let value = read(
        "Everything(input: \"a\", mask: \"b.matte\", layers: [\"c\", \"d\"], in: true, label: \"x\", count: 4,
           translate: Keys([(1, (0, 0)), (5, (4, 8))]), amount: 1, filter: Lanczos3, operation: Plus,
           shape: Disk(centre: (1, 2)), grade: (gain: (1.5, 1, 0.5), key: -1))",
    );
    assert_eq!(value.translate.at(2), Vec2::new(1.0, 2.0));
    assert_eq!(
        value.shape,
        Shape::Disk {
            centre: Animated::Constant(Vec2::new(1.0, 2.0)),
            radius: 10.0
        }
    );
    assert_eq!(value.grade.gain.at(0), Rgb::new(1.5, 1.0, 0.5));
    assert_eq!(value.mask.unwrap().edge.to_string(), "b.matte");
    assert_eq!((value.operation, value.filter), (MergeOp::Plus, Filter::Lanczos3));
}

#[test]
fn optional_values_need_no_some() {
    for text in ["mask: None", "layers: []", "mask: Some(\"b\")", "mask: \"b\""] {
        read(&format!("Everything(input: \"a\", {text})"));
    }
    assert_eq!(
        read("Everything(input: \"a\", shape: File(\"a.exr\"))").shape,
        Shape::File("a.exr".into())
    );
}

#[test]
fn slots_are_numbered_over_the_whole_node() {
    let (value, reader) = read_with("Everything(layers: [\"c\", \"d\"], input: \"a\", mask: \"b\")");
    let slots: Vec<(usize, &str, &[SocketType])> = reader
        .edges()
        .iter()
        .map(|edge| (edge.slot, edge.param.as_str(), edge.accepts))
        .collect();
    assert_eq!(
        slots,
        [
            (0, "input", &[SocketType::Layer][..]),
            (1, "mask", &[SocketType::Layer, SocketType::Matte]),
            (2, "layers[0]", &[SocketType::Layer, SocketType::Stack]),
            (3, "layers[1]", &[SocketType::Layer, SocketType::Stack]),
        ]
    );
    assert_eq!(value.unwrap().layers[1].slot, 3);
}

#[test]
fn all_mistakes_are_told_each_at_its_place() {
    let found = mistakes(
        "Everything(translate: (0, NaN), amount: 2, count: 0, filter: Cubc, shape: Disk(radius: -1),
           grade: (gain: (1, -2, \"x\"), lift: 0), layers: [5, \"..\"], label: 1, in: 1)",
    );
    let places: Vec<&str> = found.iter().map(|(place, _)| place.as_str()).collect();
    assert_eq!(
        places,
        [
            "Everything",
            "NaN",
            "2",
            "0",
            "Cubc",
            "Disk",
            "-1",
            "5",
            "\"..\"",
            "lift",
            "-2",
            "\"x\"",
            "1",
            "1"
        ],
        "{found:#?}"
    );
    assert_eq!(found[0].1, "Everything lacks the parameter `input`");
    assert_eq!(found[5].1, "`shape` lacks the parameter `centre`");
    assert_eq!(found[10].1, "`grade.gain` is out of range");
    assert_eq!(found[7].1, "`layers[0]` has the wrong type");
}

#[test]
fn a_misspelt_parameter_is_one_mistake_and_is_still_looked_at() {
    let found = mistakes("Everything(inptu: \"a\", amont: 7)");
    let places: Vec<&str> = found.iter().map(|(place, _)| place.as_str()).collect();
    assert_eq!(places, ["inptu", "amont", "7"], "{found:#?}");
}

#[test]
fn whole_numbers_are_exact_and_bounded() {
    for wrong in ["-1", "4294967296", "1.0", "1e3", "\"1\""] {
        let found = mistakes(&format!("Everything(input: \"a\", count: {wrong})"));
        assert_eq!((found.len(), found[0].0.as_str()), (1, wrong));
    }
    assert_eq!(
        read("Everything(input: \"a\", count: 4294967295)").count,
        u32::MAX
    );
}

#[test]
fn a_check_sees_all_parameters() {
    let found = mistakes("Everything(input: \"a\", in: true, count: 10)");
    assert_eq!(found, [("10".to_owned(), "too many for `in`".to_owned())]);
}

#[test]
fn the_key_follows_the_values() {
    let base = read("Everything(input: \"a\")");
    for same in [
        "input: \"other\"",
        "input: \"a\", count: 3",
        "input: \"a\", grade: (key: 0)",
        "input: \"a\", mask: None",
    ] {
        assert_eq!(
            key_at(&base, 1),
            key_at(&read(&format!("Everything({same})")), 1),
            "{same}"
        );
    }
    for other in [
        "mask: \"b\"",
        "layers: [\"b\"]",
        "count: 4",
        "in: true",
        "shape: File(\"Everywhere\")",
        "grade: (key: 1)",
        "amount: Keys([(1, 0), (2, 0.5)])",
        "filter: Nearest",
        "label: \"\"",
    ] {
        assert_ne!(
            key_at(&base, 1),
            key_at(&read(&format!("Everything(input: \"a\", {other})")), 1),
            "{other}"
        );
    }
    let moving = read("Everything(input: \"a\", amount: Keys([(1, 0), (2, 0.5)]))");
    assert_eq!(key_at(&base, 2), key_at(&moving, 2));
}

#[test]
fn the_manual_says_what_the_source_says() {
    let docs = Everything::docs();
    let doc = |name: &str| docs.iter().find(|doc| doc.name == name).unwrap();
    assert_eq!(Everything::TITLE, "Everything that a parameter can be.");
    let ParamDoc {
        type_name,
        default,
        unit,
        soft,
        hard,
        doc: text,
        required,
        ..
    } = doc("translate");
    assert_eq!(
        (type_name.as_str(), default.as_deref()),
        ("(x, y), animated", Some("(0, 0)"))
    );
    assert_eq!(text, "Pixels; x to the right, y down.\n\nA second paragraph.");
    assert_eq!(
        (unit.as_deref(), hard.is_none(), *required),
        (Some("pixels"), true, false)
    );
    assert_eq!(
        soft.map(|limits| limits.to_string()).as_deref(),
        Some("-100 to 100")
    );
    assert_eq!(
        doc("count").hard,
        Some(Limits {
            min: Some(1.0),
            max: None
        })
    );
    assert!(doc("input").required && !doc("mask").required && !doc("layers").required);
    assert_eq!(
        (doc("mask").type_name.as_str(), doc("mask").default.is_none()),
        ("Layer or Matte", true)
    );
    assert_eq!(doc("layers").default.as_deref(), Some("[]"));
    assert_eq!(doc("in").name, "in");
    assert_eq!(doc("filter").choices.len(), Filter::ALL.len());
    let shape = &doc("shape").choices;
    assert_eq!(
        shape[1].value.as_ref().map(|shape| shape.type_name.as_str()),
        Some("path")
    );
    assert_eq!(shape[2].fields[1].default.as_deref(), Some("10"));
    assert_eq!(doc("grade").group.len(), 2);
    assert_eq!(doc("grade").default.as_deref(), Some("(gain: 1, key: 0)"));
}

#[test]
fn what_is_shown_can_be_read() {
    let text = "(input: \"a\", translate: Keys([(1, (0, 0)), (5, (4, 8.5))], Smooth), amount: 1, count: 4, \
                filter: Cubic, operation: In, shape: Disk(centre: (1, 2), radius: 0.1), mask: \"b.m\", \
                layers: [\"c\"], grade: (gain: (1, 2, 3), key: 1), label: \"q\\\"\\n\", in: false)";
    let shown = peel_node::Param::show(&read(text));
    assert_eq!(peel_node::Param::show(&read(&shown)), shown);
    assert_eq!(shown, text);
}
