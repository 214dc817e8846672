//! Numbers as RON writes them.

use peel_node::syntax::Number;

/// Longer ones are no numbers.
const LONGEST: usize = 256;

/// Sign, digits with `_` between them, point, exponent, or a base (`0x`, `0o`, `0b`), and RON's suffixes.
pub(super) fn read_number(word: &str) -> Option<Number> {
    const SUFFIXES: [&str; 12] = [
        "i128", "u128", "i16", "i32", "i64", "u16", "u32", "u64", "f32", "f64", "i8", "u8",
    ];
    if word.len() > LONGEST || !word.is_ascii() {
        return None;
    }
    let (negative, unsigned) = match word.strip_prefix(['+', '-']) {
        Some(rest) => (word.starts_with('-'), rest),
        None => (false, word),
    };
    match unsigned {
        "inf" => {
            return Some(Number {
                value: if negative { -f64::INFINITY } else { f64::INFINITY },
                whole: None,
            });
        }
        "NaN" => {
            return Some(Number {
                value: f64::NAN,
                whole: None,
            });
        }
        _ => {}
    }
    let based = [("0x", 16), ("0o", 8), ("0b", 2)]
        .into_iter()
        .find_map(|(prefix, base)| Some((unsigned.strip_prefix(prefix)?, base)));
    let suffix = SUFFIXES.into_iter().find(|suffix| {
        // In base 16, `f32` would be digits.
        unsigned.ends_with(suffix) && !(based.is_some_and(|(_, base)| base == 16) && suffix.starts_with('f'))
    });
    let bare = |digits: &str| {
        let digits = &digits[..digits.len() - suffix.map_or(0, str::len)];
        // An underscore parts digits; it does not begin them. The one sign has been taken off.
        (!digits.starts_with(['_', '+', '-'])).then(|| digits.replace('_', ""))
    };
    let sign = |digits: String| if negative { format!("-{digits}") } else { digits };
    if let Some((digits, base)) = based {
        let whole = i128::from_str_radix(&sign(bare(digits)?), base).ok()?;
        return Some(Number {
            value: whole as f64,
            whole: Some(whole),
        });
    }
    let digits = sign(bare(unsigned)?);
    let whole = digits
        .parse()
        .ok()
        .filter(|_| !suffix.is_some_and(|suffix| suffix.starts_with('f')));
    let plain = digits.contains(|c: char| c.is_ascii_digit())
        && digits
            .chars()
            .all(|c| c.is_ascii_digit() || matches!(c, '.' | 'e' | 'E' | '+' | '-'));
    let value = digits.parse().ok().filter(|_| plain)?;
    Some(Number { value, whole })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(text: &str) -> Option<(f64, Option<i128>)> {
        read_number(text).map(|number| (number.value, number.whole))
    }

    #[test]
    fn numbers() {
        assert_eq!(number("1_000"), Some((1000.0, Some(1000))));
        assert_eq!(number("-2.5e-1"), Some((-0.25, None)));
        assert_eq!(number("0xff"), Some((255.0, Some(255))));
        assert_eq!(number("0xff32"), Some((65330.0, Some(65330))));
        assert_eq!(number("7u8"), Some((7.0, Some(7))));
        assert_eq!(number("7f32"), Some((7.0, None)));
        assert_eq!(number(".5"), Some((0.5, None)));
        assert_eq!(
            number("18446744073709551615"),
            Some((18446744073709551615.0, Some(u64::MAX.into())))
        );
        assert_eq!(number("-inf"), Some((-f64::INFINITY, None)));
        for wrong in [
            "", "-", ".", "1.2.3", "12abc", "0x", "0xg", "e5", "+-1", "_1", "--1", "infinity", "-nan",
        ] {
            assert_eq!(number(wrong), None, "{wrong}");
        }
    }
}
