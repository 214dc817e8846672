//! ASC CDL files: `.cc` (one correction), `.ccc` (a collection), `.cdl` (a decision list). All three hold
//! `ColorCorrection` elements; the rest of their XML does not matter here.

use std::sync::Arc;

use peel_image::recolor::Cdl;
use peel_node::{At, Error, FilePath, KeyBuilder, Resource, Result};

/// A file on set is a few kilobytes; more than this is something else.
const LARGEST: u64 = 4 << 20;

/// The correction of this id in a file, or its first one. Read once, and again when the file changes.
pub fn load(at: &At<'_>, path: &FilePath, id: Option<&str>) -> Result<Cdl> {
    let file = at.world.resolve(path.as_str());
    let identity = at.world.identity(&file)?;
    let failed = |reason: &dyn std::fmt::Display| Error::message(format!("{}: {reason}", file.display()));
    if identity.size > LARGEST {
        return Err(failed(&"too large for an ASC CDL"));
    }
    let mut key = KeyBuilder::new("ASC CDL file");
    key.str(&identity.path.to_string_lossy())
        .int(identity.size.into())
        .int(identity.modified);
    let mut make = || {
        let text = std::fs::read_to_string(&file).map_err(|error| failed(&error))?;
        Ok(Arc::new(corrections(&text).map_err(|reason| failed(&reason))?) as Resource)
    };
    let all = at
        .world
        .resource(key.finish(), &mut make)?
        .downcast::<Vec<Correction>>();
    let all = all.map_err(|_| failed(&"another resource has its key"))?;
    let found = match id {
        Some(id) => all.iter().find(|correction| correction.id == id),
        None => all.first(),
    };
    found.map(|correction| correction.cdl).ok_or_else(|| {
        let known: Vec<&str> = all.iter().map(|correction| correction.id.as_str()).collect();
        failed(&match id {
            Some(id) => format!("no correction {id:?}; it has {}", known.join(", ")),
            None => "it holds no ColorCorrection".to_owned(),
        })
    })
}

/// Adds the file's identity to a key.
pub fn identity(at: &At<'_>, path: &FilePath, key: &mut KeyBuilder) -> Result<()> {
    let identity = at.world.identity(&at.world.resolve(path.as_str()))?;
    key.str(&identity.path.to_string_lossy())
        .int(identity.size.into())
        .int(identity.modified);
    Ok(())
}

/// A correction of a file.
#[derive(Clone, PartialEq, Debug)]
struct Correction {
    /// Empty where the file gives none.
    id: String,
    cdl: Cdl,
}

/// All corrections of a file, in its order.
fn corrections(text: &str) -> std::result::Result<Vec<Correction>, String> {
    let text = without_comments(text);
    let mut all = Vec::new();
    let mut rest = text.as_str();
    while let Some((head, body, after)) = element(rest, "ColorCorrection") {
        let id = attribute(head, "id").unwrap_or_default().to_owned();
        let triple = |name: &str, default: [f32; 3]| -> std::result::Result<[f32; 3], String> {
            let Some((_, text, _)) = element(body, name) else {
                return Ok(default);
            };
            let numbers =
                numbers(text).ok_or_else(|| format!("{name} of {id:?} is {text:?}, not three numbers"))?;
            numbers
                .try_into()
                .map_err(|_| format!("{name} of {id:?} is {text:?}, not three numbers"))
        };
        let saturation = match element(body, "Saturation") {
            None => 1.0,
            Some((_, text, _)) => match numbers(text).as_deref() {
                Some(&[number]) => number,
                _ => return Err(format!("Saturation of {id:?} is {text:?}, not a number")),
            },
        };
        let cdl = Cdl {
            slope: triple("Slope", [1.0; 3])?,
            offset: triple("Offset", [0.0; 3])?,
            power: triple("Power", [1.0; 3])?,
            saturation,
            clamp: false,
        };
        if cdl.power.iter().any(|&power| power <= 0.0) {
            return Err(format!("Power of {id:?} is {:?}; it must be above 0", cdl.power));
        }
        all.push(Correction { id, cdl });
        rest = after;
    }
    Ok(all)
}

fn without_comments(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("<!--") {
        out.push_str(before);
        rest = after.split_once("-->").map_or("", |(_, after)| after);
    }
    out + rest
}

/// The first element of this name (in any namespace): its opening tag, its content, and what follows it.
fn element<'t>(text: &'t str, name: &str) -> Option<(&'t str, &'t str, &'t str)> {
    let mut from = 0;
    loop {
        let open = from + text[from..].find('<')? + 1;
        let close = open + text[open..].find('>')?;
        let head = &text[open..close];
        let tag = head
            .split([' ', '\t', '\r', '\n', '/'])
            .next()
            .unwrap_or_default();
        if tag.rsplit(':').next() == Some(name) {
            let rest = &text[close + 1..];
            if head.ends_with('/') {
                return Some((head, "", rest));
            }
            let end = rest.find(&format!("</{tag}"))?;
            let after = rest[end..].split_once('>').map_or("", |(_, after)| after);
            return Some((head, &rest[..end], after));
        }
        from = close + 1;
    }
}

/// The value of an attribute in an opening tag.
fn attribute<'t>(head: &'t str, name: &str) -> Option<&'t str> {
    let mut rest = head;
    while let Some((before, after)) = rest.split_once('=') {
        let after = after.trim_start();
        let quote = after.chars().next().filter(|c| matches!(c, '"' | '\''))?;
        let (value, next) = after[1..].split_once(quote)?;
        if before.split_whitespace().last() == Some(name) {
            return Some(value);
        }
        rest = next;
    }
    None
}

/// The finite numbers of a text, apart by blanks; `None` where anything else stands there.
fn numbers(text: &str) -> Option<Vec<f32>> {
    text.split_whitespace()
        .map(|word| word.parse().ok().filter(|number: &f32| number.is_finite()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLLECTION: &str = r#"<?xml version="1.0"?>
        <ColorCorrectionCollection xmlns="urn:ASC:CDL:v1.2">
          <!-- <ColorCorrection id="old"><SOPNode><Slope>9 9 9</Slope></SOPNode></ColorCorrection> -->
          <ColorCorrection id="a1">
            <SOPNode><Slope>1.35 1.1 0.71</Slope><Offset>0.05 -0.23 0.11</Offset><Power>0.93 0.81 1.27</Power></SOPNode>
            <SatNode><Saturation>1.239</Saturation></SatNode>
          </ColorCorrection>
          <cdl:ColorCorrection note = "x" id='b2'><cdl:SatNode><cdl:Saturation> 0 </cdl:Saturation></cdl:SatNode></cdl:ColorCorrection>
        </ColorCorrectionCollection>"#;

    #[test]
    fn a_collection_is_read_in_order() {
        let all = corrections(COLLECTION).unwrap();
        assert_eq!(
            all.iter().map(|c| c.id.as_str()).collect::<Vec<_>>(),
            ["a1", "b2"]
        );
        let expected = Cdl {
            slope: [1.35, 1.1, 0.71],
            offset: [0.05, -0.23, 0.11],
            power: [0.93, 0.81, 1.27],
            saturation: 1.239,
            clamp: false,
        };
        assert_eq!(all[0].cdl, expected);
        assert_eq!(
            all[1].cdl,
            Cdl {
                saturation: 0.0,
                ..Cdl::default()
            }
        );
    }

    #[test]
    fn nonsense_is_told_and_never_panics() {
        for wrong in [
            "<Slope>1 2</Slope>",
            "<Slope>1 2 x</Slope>",
            "<Power>0 1 1</Power>",
            "<Saturation>inf</Saturation>",
        ] {
            assert!(
                corrections(&format!("<ColorCorrection>{wrong}</ColorCorrection>")).is_err(),
                "{wrong}"
            );
        }
        for odd in [
            "",
            "<",
            "<ColorCorrection",
            "<ColorCorrection>",
            "<ColorCorrection id=>",
            "<!--",
            "é<é>é</é>",
        ] {
            assert_eq!(corrections(odd).map(|all| all.len()), Ok(0), "{odd}");
        }
    }
}
