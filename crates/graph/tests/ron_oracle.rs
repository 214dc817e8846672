//! What Peel reads as RON, the `ron` crate reads too, and to the same values.

use peel_graph::parse_syntax;
use peel_node::syntax::{Form, Syntax};
use proptest::prelude::*;

/// A value as text, with blanks and comments strewn in.
fn written() -> impl Strategy<Value = String> {
    let number = prop_oneof![
        any::<i64>().prop_map(|n| n.to_string()),
        (-1e9f64..1e9).prop_map(|n| format!("{n:?}")),
        any::<u16>().prop_map(|n| format!("{n:#x}")),
        any::<u16>().prop_map(|n| format!("{n:#b}")),
        (1u32..999, -9i32..9).prop_map(|(n, e)| format!("{n}e{e}")),
        (1u32..999).prop_map(|n| format!(".{n}")),
        (1u32..999).prop_map(|n| format!("1_{n}_0")),
        Just("inf".to_owned()),
        Just("-inf".to_owned()),
    ];
    let text = prop_oneof![
        any::<String>().prop_map(|s| format!("{s:?}")),
        "[a-z #\\\\\\n]{0,8}".prop_map(|s| format!("r##\"{s}\"##")),
        Just(r#""\x41\u{1F600}\0\'""#.to_owned()),
    ];
    let leaf = prop_oneof![number, text, Just("true".to_owned()), Just("false".to_owned())];
    leaf.prop_recursive(4, 48, 5, |inner| {
        let items = prop::collection::vec(inner.clone(), 0..5);
        prop_oneof![
            (items.clone(), blank())
                .prop_map(|(items, blank)| format!("[{blank}{}]", items.join(&format!(",{blank}")))),
            (items.clone(), blank()).prop_map(|(items, blank)| {
                let items: Vec<String> = items
                    .iter()
                    .enumerate()
                    .map(|(n, item)| format!("\"k{n}\"{blank}:{item}"))
                    .collect();
                format!("{{{}{blank}}}", items.join(","))
            }),
            (items, blank()).prop_map(|(items, blank)| {
                let items: Vec<String> = items
                    .iter()
                    .enumerate()
                    .map(|(n, item)| format!("f{n}:{blank}{item}"))
                    .collect();
                format!("({})", items.join(","))
            }),
        ]
    })
}

fn blank() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "",
        " ",
        "\t\r\n",
        "// a \" ( comment\n",
        "/* /* \" */ ] */",
        "\u{2028}",
    ])
}

/// Whether both say the same. RON's structs and maps are both its maps.
fn agree(ours: &Syntax, theirs: &ron::Value) -> bool {
    match (&ours.form, theirs) {
        (Form::Bool(a), ron::Value::Bool(b)) => a == b,
        (Form::Number(a), ron::Value::Number(b)) => a.value == b.into_f64(),
        (Form::Text(a), ron::Value::String(b)) => a == b,
        (Form::List(a), ron::Value::Seq(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| agree(a, b))
        }
        (Form::Map(a), ron::Value::Map(b)) => {
            a.len() == b.len()
                && a.iter()
                    .zip(b.iter())
                    .all(|((ka, a), (kb, b))| agree(ka, kb) && agree(a, b))
        }
        (Form::Fields(None, a), ron::Value::Map(b)) => {
            let names = a
                .iter()
                .zip(b.iter())
                .all(|(a, (name, b))| *name == ron::Value::String(a.name.text.clone()) && agree(&a.value, b));
            a.len() == b.len() && names
        }
        (Form::Tuple(None, a), ron::Value::Unit) => a.is_empty(),
        _ => false,
    }
}

proptest! {
    #[test]
    fn we_read_what_ron_reads(text in written()) {
        let theirs: ron::Value = ron::from_str(&text).map_err(|e| TestCaseError::fail(format!("{text}: {e}")))?;
        let (ours, mistakes) = parse_syntax(&text);
        prop_assert!(mistakes.is_empty(), "{}: {:?}", text, mistakes);
        prop_assert!(agree(&ours, &theirs), "{}: {:?} is not {:?}", text, ours, theirs);
        prop_assert_eq!(&text[ours.span.start..ours.span.end], text.trim());
    }

    #[test]
    fn what_we_accept_ron_accepts(text in "[()\\[\\]{},: 0-9a-c.\"'#/*+_x-]{0,24}") {
        let (_, mistakes) = parse_syntax(&text);
        if mistakes.is_empty() {
            let theirs = ron::from_str::<ron::Value>(&text);
            prop_assert!(theirs.is_ok(), "{text}: {theirs:?}");
        }
    }

    #[test]
    fn no_text_is_too_odd(text in any::<String>()) {
        let (syntax, mistakes) = parse_syntax(&text);
        prop_assert!(syntax.form != Form::Broken || !mistakes.is_empty());
        for mistake in mistakes {
            prop_assert!(mistake.span.start <= mistake.span.end && mistake.span.end <= text.len());
        }
    }
}
