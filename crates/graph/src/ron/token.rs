//! The words of RON.

use peel_node::Span;
use peel_node::syntax::Number;

/// A word and its place.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Token {
    pub kind: TokenKind,
    pub span: Span,
}

#[derive(Clone, PartialEq, Debug)]
pub(super) enum TokenKind {
    Open(Bracket),
    Close(Bracket),
    Comma,
    Colon,
    Name(String),
    Number(Number),
    Text(String),
    /// Something unreadable that stands where a value could; reported already.
    Broken,
    /// The end of the text.
    End,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Bracket {
    Round,
    Square,
    Curly,
}

impl Bracket {
    pub fn open(self) -> char {
        match self {
            Bracket::Round => '(',
            Bracket::Square => '[',
            Bracket::Curly => '{',
        }
    }

    pub fn close(self) -> char {
        match self {
            Bracket::Round => ')',
            Bracket::Square => ']',
            Bracket::Curly => '}',
        }
    }
}

impl TokenKind {
    /// What it is, for "found ..".
    pub fn describe(&self) -> String {
        match self {
            TokenKind::Open(bracket) => format!("`{}`", bracket.open()),
            TokenKind::Close(bracket) => format!("`{}`", bracket.close()),
            TokenKind::Comma => "`,`".to_owned(),
            TokenKind::Colon => "`:`".to_owned(),
            TokenKind::Name(name) => format!("`{name}`"),
            TokenKind::Number(_) => "a number".to_owned(),
            TokenKind::Text(_) => "text".to_owned(),
            TokenKind::Broken => "broken text".to_owned(),
            TokenKind::End => "the end of the file".to_owned(),
        }
    }
}
