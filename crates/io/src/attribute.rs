//! EXR attributes: what a file says about itself beside its pixels.

use std::fmt;

use peel_image::colour::Chromaticities;

/// One attribute of an EXR header, kept as the file has it, so that kinds that nobody here knows pass through
/// unharmed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Attribute {
    /// The attribute's name, such as `owner`; at most 255 bytes.
    pub name: String,
    /// The name of its type, such as `string`; at most 255 bytes.
    pub kind: String,
    /// The value as in the file, little-endian.
    pub bytes: Vec<u8>,
}

impl Attribute {
    /// A `string`.
    pub fn text(name: impl Into<String>, value: impl Into<String>) -> Attribute {
        Attribute {
            name: name.into(),
            kind: "string".into(),
            bytes: value.into().into_bytes(),
        }
    }

    /// A `float`.
    pub fn float(name: impl Into<String>, value: f32) -> Attribute {
        Attribute {
            name: name.into(),
            kind: "float".into(),
            bytes: value.to_le_bytes().into(),
        }
    }

    /// An `int`.
    pub fn int(name: impl Into<String>, value: i32) -> Attribute {
        Attribute {
            name: name.into(),
            kind: "int".into(),
            bytes: value.to_le_bytes().into(),
        }
    }

    /// A `rational`, the type of `framesPerSecond`.
    pub fn rational(name: impl Into<String>, dividend: i32, divisor: u32) -> Attribute {
        let bytes = [dividend.to_le_bytes(), divisor.to_le_bytes()].concat();
        Attribute {
            name: name.into(),
            kind: "rational".into(),
            bytes,
        }
    }

    /// The `chromaticities` attribute.
    pub fn chromaticities(value: &Chromaticities) -> Attribute {
        let pairs = [value.red, value.green, value.blue, value.white];
        let bytes = pairs
            .iter()
            .flatten()
            .flat_map(|&v| (v as f32).to_le_bytes())
            .collect();
        Attribute {
            name: "chromaticities".into(),
            kind: "chromaticities".into(),
            bytes,
        }
    }

    /// The text, where the attribute is a `string` (what is not UTF-8 in it is replaced).
    pub fn as_text(&self) -> Option<String> {
        (self.kind == "string").then(|| String::from_utf8_lossy(&self.bytes).into_owned())
    }

    /// The primaries, where the attribute is a `chromaticities`.
    pub fn as_chromaticities(&self) -> Option<Chromaticities> {
        let v = if self.kind == "chromaticities" {
            self.numbers(f32::from_le_bytes)?
        } else {
            return None;
        };
        let [rx, ry, gx, gy, bx, by, wx, wy] = <[f32; 8]>::try_from(v).ok()?.map(f64::from);
        Some(Chromaticities {
            red: [rx, ry],
            green: [gx, gy],
            blue: [bx, by],
            white: [wx, wy],
        })
    }

    /// The value as a sequence of 4-byte numbers; `None` where its length is no multiple of 4.
    fn numbers<T>(&self, from: fn([u8; 4]) -> T) -> Option<Vec<T>> {
        let (words, rest) = self.bytes.as_chunks::<4>();
        rest.is_empty()
            .then(|| words.iter().map(|&word| from(word)).collect())
    }
}

impl fmt::Display for Attribute {
    /// The value as `peel info` shows it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let joined = |words: Vec<String>| words.join(" ");
        let ints = || {
            self.numbers(i32::from_le_bytes)
                .map(|v| joined(v.iter().map(i32::to_string).collect()))
        };
        let floats = || {
            self.numbers(f32::from_le_bytes)
                .map(|v| joined(v.iter().map(f32::to_string).collect()))
        };
        let shown = match self.kind.as_str() {
            "string" => self.as_text().map(|text| format!("{text:?}")),
            "int" | "v2i" | "v3i" | "box2i" | "keycode" => ints(),
            "float" | "v2f" | "v3f" | "box2f" | "m33f" | "m44f" | "chromaticities" => floats(),
            "double" => <[u8; 8]>::try_from(&*self.bytes)
                .ok()
                .map(|b| f64::from_le_bytes(b).to_string()),
            "rational" => <[u8; 8]>::try_from(&*self.bytes).ok().map(|b| {
                let [n, d] = [[b[0], b[1], b[2], b[3]], [b[4], b[5], b[6], b[7]]];
                format!("{}/{}", i32::from_le_bytes(n), u32::from_le_bytes(d))
            }),
            "timecode" => <[u8; 8]>::try_from(&*self.bytes)
                .ok()
                .map(|b| time_code([b[0], b[1], b[2], b[3]])),
            _ => None,
        };
        match shown {
            Some(shown) => f.write_str(&shown),
            None => write!(f, "{} bytes of type {}", self.bytes.len(), self.kind),
        }
    }
}

/// A SMPTE 12M time code, packed as binary-coded decimals: `hh:mm:ss:ff`.
fn time_code(bytes: [u8; 4]) -> String {
    let bits = u32::from_le_bytes(bytes);
    let decimal = |shift: u32, tens: u32| ((bits >> (shift + 4)) & tens) * 10 + ((bits >> shift) & 0xf);
    format!(
        "{:02}:{:02}:{:02}:{:02}",
        decimal(24, 3),
        decimal(16, 7),
        decimal(8, 7),
        decimal(0, 3)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_read_well() {
        assert_eq!(Attribute::text("owner", "Ada").to_string(), "\"Ada\"");
        assert_eq!(
            Attribute::rational("framesPerSecond", 24000, 1001).to_string(),
            "24000/1001"
        );
        assert_eq!(Attribute::int("n", -3).to_string(), "-3");
        let code = Attribute {
            name: "timeCode".into(),
            kind: "timecode".into(),
            bytes: vec![0x12, 0x34, 0x56, 0x11, 0, 0, 0, 0],
        };
        assert_eq!(code.to_string(), "11:56:34:12");
        let odd = Attribute {
            name: "x".into(),
            kind: "int".into(),
            bytes: vec![1, 2, 3],
        };
        assert_eq!(odd.to_string(), "3 bytes of type int");
    }

    #[test]
    fn chromaticities_come_back() {
        let read = Attribute::chromaticities(&Chromaticities::AP1)
            .as_chromaticities()
            .unwrap();
        assert!(read.matches(&Chromaticities::AP1));
        let short = Attribute {
            bytes: vec![0; 28],
            ..Attribute::chromaticities(&Chromaticities::AP1)
        };
        assert_eq!(short.as_chromaticities(), None);
    }
}
