//! Text to words. What cannot be read is reported and becomes [`TokenKind::Broken`].

use peel_node::syntax::Number;
use peel_node::{Diagnostic, Span};

use super::number::read_number;
use super::token::{Bracket, Token, TokenKind};

/// Longer names and numbers are neither.
const LONGEST_WORD: usize = 256;

/// After so many mistakes of form the rest says nothing new.
const MOST_MISTAKES: usize = 50;

/// Hands out a text's words one by one, and collects mistakes, its own and the parser's.
pub(super) struct Lexer<'t> {
    text: &'t str,
    at: usize,
    mistakes: Vec<Diagnostic>,
}

impl<'t> Lexer<'t> {
    pub fn new(text: &'t str) -> Lexer<'t> {
        let mut lexer = Lexer {
            text,
            at: 0,
            mistakes: Vec::new(),
        };
        // Some editors put a byte order mark first.
        lexer.eat("\u{feff}");
        lexer
    }

    /// The next word; at the end of the text [`TokenKind::End`], again and again.
    pub fn token(&mut self) -> Token {
        loop {
            self.skip_blanks();
            let start = self.at;
            let Some(first) = self.peek() else {
                return Token {
                    kind: TokenKind::End,
                    span: Span::new(start, start),
                };
            };
            if let Some(kind) = self.word(first) {
                return Token {
                    kind,
                    span: Span::new(start, self.at),
                };
            }
        }
    }

    /// Takes note of a mistake.
    pub fn report(&mut self, mistake: Diagnostic) {
        if self.mistakes.len() < MOST_MISTAKES {
            self.mistakes.push(mistake);
        }
    }

    /// All mistakes.
    pub fn finish(self) -> Vec<Diagnostic> {
        self.mistakes
    }

    fn rest(&self) -> &'t str {
        &self.text[self.at..]
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn next(&mut self) -> Option<char> {
        let next = self.peek()?;
        self.at += next.len_utf8();
        Some(next)
    }

    fn eat(&mut self, wanted: &str) -> bool {
        let found = self.rest().starts_with(wanted);
        if found {
            self.at += wanted.len();
        }
        found
    }

    /// Goes on while a test holds, and returns what it held for.
    fn eat_while(&mut self, mut test: impl FnMut(char) -> bool) -> &'t str {
        let rest = self.rest();
        let length = rest.find(|c| !test(c)).unwrap_or(rest.len());
        self.at += length;
        &rest[..length]
    }

    fn error(&mut self, span: Span, message: impl Into<String>, expected: &str) {
        let mistake = Diagnostic::error(span, message);
        self.report(if expected.is_empty() {
            mistake
        } else {
            mistake.expected(expected)
        });
    }

    /// One word, which begins with `first`; none where it is only something to report.
    fn word(&mut self, first: char) -> Option<TokenKind> {
        let kind = match first {
            '(' => TokenKind::Open(Bracket::Round),
            ')' => TokenKind::Close(Bracket::Round),
            '[' => TokenKind::Open(Bracket::Square),
            ']' => TokenKind::Close(Bracket::Square),
            '{' => TokenKind::Open(Bracket::Curly),
            '}' => TokenKind::Close(Bracket::Curly),
            ',' => TokenKind::Comma,
            ':' => TokenKind::Colon,
            '"' => return Some(self.text_word()),
            'r' if self.rest()[1..].starts_with(['"', '#']) => return Some(self.raw_text()),
            '0'..='9' | '.' | '+' | '-' => return Some(self.number()),
            c if c.is_alphabetic() || c == '_' => return Some(self.name()),
            _ => return self.stray(first),
        };
        self.at += 1;
        Some(kind)
    }

    /// Blanks and comments.
    fn skip_blanks(&mut self) {
        loop {
            self.eat_while(is_blank);
            if self.rest().starts_with("//") {
                self.eat_while(|c| c != '\n');
            } else if self.rest().starts_with("/*") {
                self.block_comment();
            } else {
                return;
            }
        }
    }

    /// `/* .. */`, which may hold others.
    fn block_comment(&mut self) {
        let start = self.at;
        let mut depth = 0usize;
        loop {
            if self.eat("/*") {
                depth += 1;
            } else if self.eat("*/") {
                depth -= 1;
                if depth == 0 {
                    return;
                }
            } else if self.next().is_none() {
                let open = Span::new(start, start + 2);
                self.error(open, "this comment never ends", "expected a `*/` for it");
                return;
            }
        }
    }

    fn name(&mut self) -> TokenKind {
        let start = self.at;
        let name = self.eat_while(|c| c.is_alphanumeric() || c == '_');
        if name.len() > LONGEST_WORD {
            self.error(Span::new(start, self.at), "this name is too long", "");
            return TokenKind::Broken;
        }
        match name {
            "inf" => TokenKind::Number(Number {
                value: f64::INFINITY,
                whole: None,
            }),
            "NaN" => TokenKind::Number(Number {
                value: f64::NAN,
                whole: None,
            }),
            "b" if self.peek() == Some('"') => {
                self.text_word();
                self.error(
                    Span::new(start, self.at),
                    "graphs have no byte strings",
                    "expected `\"text\"`",
                );
                TokenKind::Broken
            }
            _ => TokenKind::Name(name.to_owned()),
        }
    }

    fn number(&mut self) -> TokenKind {
        let start = self.at;
        let mut before = ' ';
        let mut hexadecimal = false;
        let word = self.eat_while(|c| {
            let signed =
                matches!(c, '+' | '-') && (before == ' ' || matches!(before, 'e' | 'E') && !hexadecimal);
            hexadecimal |= matches!(c, 'x' | 'X');
            let part = c.is_alphanumeric() || matches!(c, '_' | '.') || signed;
            before = c;
            part
        });
        match read_number(word) {
            Some(number) => TokenKind::Number(number),
            None => {
                let expected = "expected a number; names begin with a letter, text stands in quotes";
                self.error(Span::new(start, self.at), "this is not a number", expected);
                TokenKind::Broken
            }
        }
    }

    /// `"text"`, on one line.
    fn text_word(&mut self) -> TokenKind {
        let start = self.at;
        self.at += 1;
        let mut text = String::new();
        let mut broken = false;
        loop {
            text.push_str(self.eat_while(|c| !matches!(c, '"' | '\\' | '\n')));
            let at = self.at;
            match self.next() {
                Some('"') => break,
                Some('\\') => match self.escape() {
                    Some(c) => text.push(c),
                    None => {
                        let end = self.at;
                        let known = r#"expected one of \" \\ \n \r \t \0 \x41 \u{1F600}"#;
                        self.error(Span::new(at, end), "this is not an escape", known);
                        broken = true;
                    }
                },
                _ => {
                    self.at = at;
                    self.missing_quote(start);
                    return TokenKind::Broken;
                }
            }
        }
        if broken {
            TokenKind::Broken
        } else {
            TokenKind::Text(text)
        }
    }

    /// Reports text that runs to the end of its line, and goes back to before the brackets and commas at the
    /// end of that line, which were hardly meant as text: so the rest of the file keeps its structure.
    fn missing_quote(&mut self, start: usize) {
        let line = &self.text[start + 1..self.at];
        let text = line.trim_end_matches(|c: char| c.is_whitespace() || matches!(c, ',' | ')' | ']' | '}'));
        self.at = start + 1 + text.len();
        let place = Span::new(start, self.at);
        self.error(
            place,
            "this text has no closing quote",
            "expected a `\"` on this line",
        );
    }

    /// What follows a backslash.
    fn escape(&mut self) -> Option<char> {
        let c = self.peek()?;
        if c == '\n' {
            return None;
        }
        self.at += c.len_utf8();
        Some(match c {
            '"' | '\\' | '\'' => c,
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            '0' => '\0',
            'x' => {
                let digits = self.rest().get(..2)?;
                let code = hexadecimal(digits)?;
                self.at += 2;
                char::from_u32(code).filter(char::is_ascii)?
            }
            'u' => {
                let digits = self.rest().strip_prefix('{')?;
                let digits = &digits[..digits.find('}').filter(|&length| length <= 6)?];
                let code = hexadecimal(digits)?;
                self.at += digits.len() + 2;
                char::from_u32(code)?
            }
            _ => return None,
        })
    }

    /// `r"text"` or `r#"text"#`: no escapes, any number of lines.
    fn raw_text(&mut self) -> TokenKind {
        let start = self.at;
        self.at += 1;
        let hashes = self.eat_while(|c| c == '#');
        if hashes.len() > LONGEST_WORD || !self.eat("\"") {
            let place = Span::new(start, self.at);
            self.error(place, "this is not text", "expected `r\"text\"` or `r#\"text\"#`");
            return TokenKind::Broken;
        }
        let end = format!("\"{hashes}");
        let opening = Span::new(start, self.at);
        match self.rest().find(&end) {
            Some(length) => {
                let text = self.rest()[..length].to_owned();
                self.at += length + end.len();
                TokenKind::Text(text)
            }
            None => {
                self.at = self.text.len();
                let expected = format!("expected `{end}` at its end");
                self.error(opening, "this text has no closing quote", &expected);
                TokenKind::Broken
            }
        }
    }

    /// A character that begins nothing.
    fn stray(&mut self, first: char) -> Option<TokenKind> {
        let start = self.at;
        self.at += first.len_utf8();
        match first {
            '#' => {
                self.eat_while(|c| c != '\n');
                let place = Span::new(start, self.at);
                self.error(
                    place,
                    "graphs have no `#` lines",
                    "expected nothing; comments begin with `//`",
                );
                None
            }
            '=' => {
                self.error(
                    Span::new(start, self.at),
                    "`=` means nothing here",
                    "expected `:`",
                );
                Some(TokenKind::Colon)
            }
            '\'' => {
                self.eat_while(|c| !matches!(c, '\'' | '"' | '\n' | ',' | ')' | ']' | '}'));
                self.eat("'");
                let place = Span::new(start, self.at);
                self.error(place, "text stands in double quotes", "expected `\"text\"`");
                Some(TokenKind::Broken)
            }
            '/' => {
                let place = Span::new(start, self.at);
                let expected = "expected nothing; comments begin with `//`, a path stands in quotes";
                self.error(place, "`/` means nothing here", expected);
                None
            }
            _ => {
                // One report for a whole run of them, however long.
                self.eat_while(|c| !c.is_ascii() && !c.is_alphanumeric() && !is_blank(c));
                let shown: String = first.escape_debug().collect();
                self.error(
                    Span::new(start, self.at),
                    format!("`{shown}` means nothing here"),
                    "",
                );
                None
            }
        }
    }
}

/// RON's blanks.
fn is_blank(c: char) -> bool {
    matches!(
        c,
        ' ' | '\t'..='\r' | '\u{85}' | '\u{200E}' | '\u{200F}' | '\u{2028}' | '\u{2029}'
    )
}

/// A number of hexadecimal digits alone; the library's reader would take a sign too.
fn hexadecimal(digits: &str) -> Option<u32> {
    digits
        .chars()
        .all(|c| c.is_ascii_hexdigit())
        .then(|| u32::from_str_radix(digits, 16).ok())
        .flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> (Vec<TokenKind>, Vec<Diagnostic>) {
        let mut lexer = Lexer::new(text);
        let mut kinds = vec![lexer.token().kind];
        while kinds[kinds.len() - 1] != TokenKind::End {
            kinds.push(lexer.token().kind);
        }
        (kinds, lexer.finish())
    }

    fn kinds(text: &str) -> Vec<TokenKind> {
        let (kinds, mistakes) = words(text);
        assert!(mistakes.is_empty(), "{mistakes:?}");
        kinds
    }

    fn mistakes(text: &str) -> Vec<(usize, usize, String)> {
        words(text)
            .1
            .into_iter()
            .map(|d| (d.span.start, d.span.end, d.message))
            .collect()
    }

    #[test]
    fn text_and_escapes() {
        assert_eq!(
            kinds(r#""a\n\"\x41\u{e9}""#)[0],
            TokenKind::Text("a\n\"Aé".to_owned())
        );
        assert_eq!(
            kinds("r#\"a\"\\b\nc\"#")[0],
            TokenKind::Text("a\"\\b\nc".to_owned())
        );
        assert_eq!(mistakes(r#""a\q" "b\u{110000}""#).len(), 2);
        assert_eq!(mistakes(r#""\x+1""#).len(), 1);
    }

    #[test]
    fn a_missing_quote_is_told_where_it_is_missing() {
        let text = "(path: \"a.exr),\n\"b\")";
        assert_eq!(
            mistakes(text),
            [(7, 13, "this text has no closing quote".to_owned())]
        );
        // The closing bracket and the comma are seen nevertheless.
        let (kinds, _) = words(text);
        assert_eq!(kinds[4..6], [TokenKind::Close(Bracket::Round), TokenKind::Comma]);
    }

    #[test]
    fn comments_nest() {
        assert_eq!(kinds("/* a /* b */ c */ 1 // end"), kinds("1"));
        assert_eq!(mistakes("1 /* /* */").len(), 1);
    }

    #[test]
    fn foreign_signs_are_one_report_a_run() {
        assert_eq!(mistakes("'a' %").len(), 2);
        assert_eq!(mistakes("€€€€").len(), 1);
        assert_eq!(mistakes("#![enable(implicit_some)]\n1").len(), 1);
        assert_eq!(mistakes(&"%(".repeat(1000)).len(), MOST_MISTAKES);
    }
}
