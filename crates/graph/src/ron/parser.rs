//! Words to a tree. After a mistake the parser goes on at the next comma or bracket.

use peel_node::syntax::{Field, Form, Name, Syntax};
use peel_node::{Diagnostic, Span};

use super::lexer::Lexer;
use super::token::{Bracket, Token, TokenKind};

/// Larger texts are no graphs; the limit keeps a wrong file from filling the memory.
pub(crate) const LARGEST: usize = 4 << 20;
/// Brackets in brackets: a graph needs about ten; hostile text must not use up the stack.
const DEEPEST: usize = 64;

/// Reads a text that holds one value; what is wrong with its form comes beside it.
pub(crate) fn parse(text: &str) -> (Syntax, Vec<Diagnostic>) {
    if text.len() > LARGEST {
        let message = format!(
            "this file has {} bytes; a graph has at most {LARGEST}",
            text.len()
        );
        let start = Span::new(0, 0);
        return (
            Syntax {
                form: Form::Broken,
                span: start,
            },
            vec![Diagnostic::error(start, message)],
        );
    }
    let mut lexer = Lexer::new(text);
    let (here, next) = (lexer.token(), lexer.token());
    let mut parser = Parser {
        lexer,
        here,
        next,
        last_end: 0,
        open: Vec::new(),
        ended: false,
    };
    let value = parser.value();
    if parser.here.kind != TokenKind::End && value.form != Form::Broken {
        let expected = format!("expected nothing, found {}", parser.here.kind.describe());
        parser.mistake(
            parser.here.span,
            "something follows the end of the graph",
            expected,
        );
    }
    (value, parser.lexer.finish())
}

struct Parser<'t> {
    lexer: Lexer<'t>,
    /// The word at hand, and the one after it.
    here: Token,
    next: Token,
    /// Where the word before the one at hand ends: where something missing is missing.
    last_end: usize,
    /// The brackets around the word at hand.
    open: Vec<Bracket>,
    /// Whether the text was found to end inside brackets.
    ended: bool,
}

impl Parser<'_> {
    /// Goes one word on.
    fn advance(&mut self) -> Token {
        let next = self.lexer.token();
        let here = std::mem::replace(&mut self.here, std::mem::replace(&mut self.next, next));
        self.last_end = here.span.end;
        here
    }

    fn mistake(&mut self, span: Span, message: &str, expected: impl Into<String>) {
        self.lexer
            .report(Diagnostic::error(span, message).expected(expected));
    }

    /// The place just after the last word.
    fn gap(&self) -> Span {
        Span::new(self.last_end, self.last_end)
    }

    /// Reads a value; goes no word on where there is none.
    fn value(&mut self) -> Syntax {
        match self.here.kind {
            TokenKind::Open(bracket) => return self.brackets(None, bracket),
            TokenKind::Close(_) | TokenKind::Comma | TokenKind::Colon | TokenKind::End => {
                let expected = format!("expected a value, found {}", self.here.kind.describe());
                self.mistake(self.here.span, "a value is missing", expected);
                return Syntax {
                    form: Form::Broken,
                    span: self.here.span,
                };
            }
            _ => {}
        }
        let Token { kind, span } = self.advance();
        let form = match kind {
            TokenKind::Number(number) => Form::Number(number),
            TokenKind::Text(text) => Form::Text(text),
            TokenKind::Name(name) if name == "true" => Form::Bool(true),
            TokenKind::Name(name) if name == "false" => Form::Bool(false),
            TokenKind::Name(text) => return self.named(Name { text, span }),
            _ => Form::Broken,
        };
        Syntax { form, span }
    }

    /// A name that has been read, and the brackets after it if there are any.
    fn named(&mut self, name: Name) -> Syntax {
        match self.here.kind {
            TokenKind::Open(Bracket::Round) => self.brackets(Some(name), Bracket::Round),
            TokenKind::Open(bracket) => {
                let expected = format!("expected `{}(`, found `{}`", name.text, bracket.open());
                self.mistake(self.here.span, "a name is followed by round brackets", expected);
                let inside = self.brackets(None, bracket);
                Syntax {
                    form: Form::Broken,
                    span: name.span.to(inside.span),
                }
            }
            _ => Syntax {
                span: name.span,
                form: Form::Name(name.text),
            },
        }
    }

    /// Brackets and what is in them; the opening one is at hand.
    fn brackets(&mut self, name: Option<Name>, bracket: Bracket) -> Syntax {
        let opening = self.here.span;
        let start = name.as_ref().map_or(opening, |name| name.span);
        if self.open.len() >= DEEPEST {
            let expected = format!("expected at most {DEEPEST} levels");
            self.mistake(opening, "brackets are nested too deep", expected);
            self.skip_brackets();
            return Syntax {
                form: Form::Broken,
                span: start.to(self.gap()),
            };
        }
        self.advance();
        self.open.push(bracket);
        let form = match bracket {
            Bracket::Square => {
                let mut items = Vec::new();
                self.sequence(opening, bracket, |parser| items.push(parser.value()));
                Form::List(items)
            }
            Bracket::Curly => {
                let mut entries = Vec::new();
                self.sequence(opening, bracket, |parser| entries.push(parser.entry()));
                Form::Map(entries)
            }
            Bracket::Round => self.round(name, opening),
        };
        self.open.pop();
        Syntax {
            form,
            span: start.to(self.gap()),
        }
    }

    /// The inside of `(a: b)` or `(a, b)`; where both are mixed, the first one decides.
    fn round(&mut self, name: Option<Name>, opening: Span) -> Form {
        let mut fields = Vec::new();
        let mut items = Vec::new();
        let mut first = None;
        self.sequence(opening, Bracket::Round, |parser| {
            let place = parser.here.span;
            let missing = matches!(
                parser.here.kind,
                TokenKind::Comma | TokenKind::Colon | TokenKind::Broken
            );
            let field = parser.field_name();
            let names = first.unwrap_or(field.is_some());
            if !missing {
                first = Some(names);
            }
            if names != field.is_some() && !missing {
                let expected = if names {
                    "expected `name: value`"
                } else {
                    "expected a value without a name"
                };
                parser.mistake(place, "either all values have names or none", expected);
            }
            let value = parser.value();
            match field {
                Some(name) => fields.push(Field { name, value }),
                None => items.push(value),
            }
        });
        match first {
            Some(true) => Form::Fields(name, fields),
            _ => Form::Tuple(name, items),
        }
    }

    /// `name:`, if it is at hand. A name in quotes is a mistake that leaves no doubt about what is meant.
    fn field_name(&mut self) -> Option<Name> {
        if self.next.kind != TokenKind::Colon {
            return None;
        }
        let quoted = match self.here.kind {
            TokenKind::Name(_) => false,
            TokenKind::Text(_) => true,
            _ => return None,
        };
        let Token {
            kind: TokenKind::Name(text) | TokenKind::Text(text),
            span,
        } = self.advance()
        else {
            return None;
        };
        if quoted {
            self.mistake(
                span,
                "the name of a parameter stands without quotes",
                "expected `name:`",
            );
        }
        self.advance();
        Some(Name { text, span })
    }

    /// `key: value`.
    fn entry(&mut self) -> (Syntax, Syntax) {
        let key = self.value();
        if self.here.kind == TokenKind::Colon {
            self.advance();
            return (key, self.value());
        }
        if key.form != Form::Broken {
            let expected = format!("expected `: value`, found {}", self.here.kind.describe());
            self.mistake(self.gap(), "this entry has no value", expected);
        }
        (
            key,
            Syntax {
                form: Form::Broken,
                span: self.gap(),
            },
        )
    }

    /// Elements and commas up to the closing bracket.
    fn sequence(&mut self, opening: Span, bracket: Bracket, mut element: impl FnMut(&mut Self)) {
        while !self.closed(opening, bracket) {
            let before = self.here.span;
            element(self);
            match self.here.kind {
                TokenKind::Comma => {
                    self.advance();
                }
                TokenKind::Close(_) | TokenKind::End => {}
                // A stray word, told already: step over it, so that the loop ends.
                TokenKind::Colon | TokenKind::Broken => {
                    self.advance();
                }
                _ if self.here.span == before => {
                    self.advance();
                }
                _ => {
                    let found = self.here.kind.describe();
                    let expected = format!("expected `,` or `{}`, found {found}", bracket.close());
                    self.mistake(self.gap(), "a comma is missing", expected);
                }
            }
        }
    }

    /// Whether the brackets end here. A wrong closing bracket is taken for the end of these where one further
    /// out waits for it, and is stepped over otherwise.
    fn closed(&mut self, opening: Span, bracket: Bracket) -> bool {
        loop {
            match self.here.kind {
                TokenKind::Close(found) if found == bracket => {
                    self.advance();
                    return true;
                }
                TokenKind::Close(found) => {
                    let message = format!("`{}` does not close `{}`", found.close(), bracket.open());
                    let expected = format!("expected `{}`", bracket.close());
                    self.lexer.report(
                        Diagnostic::error(self.here.span, message)
                            .expected(expected)
                            .related(opening, "opened here"),
                    );
                    if self.open.contains(&found) {
                        return true;
                    }
                    self.advance();
                }
                TokenKind::End => {
                    // Told for the innermost bracket; those around it are open for the same reason.
                    if !std::mem::replace(&mut self.ended, true) {
                        let message = format!("this `{}` is never closed", bracket.open());
                        self.mistake(
                            opening,
                            &message,
                            format!("expected a `{}` for it", bracket.close()),
                        );
                    }
                    return true;
                }
                _ => return false,
            }
        }
    }

    /// Steps over brackets of any depth without recursion; the opening one is at hand.
    fn skip_brackets(&mut self) {
        let mut depth = 0usize;
        loop {
            match self.here.kind {
                TokenKind::Open(_) => depth += 1,
                TokenKind::Close(_) => depth -= 1,
                TokenKind::End => return,
                _ => {}
            }
            self.advance();
            if depth == 0 {
                return;
            }
        }
    }
}
