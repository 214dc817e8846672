//! A group's parameters, put where its nodes name them: `Param("name")`.

use std::collections::{HashMap, HashSet};

use peel_node::syntax::{Field, Form, Name, Syntax};
use peel_node::{Diagnostic, Span, nearest};

/// The values of a group's parameters, and where they went.
pub(crate) struct Values<'v> {
    /// By name; `None` where the value is wrong or missing, which has been told.
    pub values: HashMap<&'v str, Option<&'v Syntax>>,
    /// Inputs that are not connected: what names them is left out.
    pub absent: HashSet<&'v str>,
    /// Where a value is used, and the place of the value.
    pub uses: Vec<Use>,
    /// Names that are no parameters.
    pub mistakes: Vec<Diagnostic>,
}

/// A value in its place.
pub(crate) struct Use {
    /// Where the value is written.
    pub value: Span,
    /// Where it is used.
    pub place: Span,
    /// The parameter's name.
    pub name: String,
}

impl Values<'_> {
    /// The same tree with all parameters in their places. Values keep the spans of where they are written.
    pub fn put_into(&mut self, syntax: &Syntax) -> Syntax {
        let form = match &syntax.form {
            Form::Tuple(Some(Name { text, .. }), items) if text == "Param" => {
                return self.value(syntax, items);
            }
            Form::Tuple(name, items) => Form::Tuple(
                name.clone(),
                items.iter().map(|item| self.put_into(item)).collect(),
            ),
            Form::List(items) => {
                let there = items
                    .iter()
                    .filter(|item| !self.is_absent(item))
                    .collect::<Vec<_>>();
                Form::List(there.into_iter().map(|item| self.put_into(item)).collect())
            }
            Form::Map(entries) => Form::Map(
                entries
                    .iter()
                    .map(|(key, value)| (key.clone(), self.put_into(value)))
                    .collect(),
            ),
            Form::Fields(name, fields) => {
                let there = fields.iter().filter(|field| !self.is_absent(&field.value));
                let there = there.collect::<Vec<_>>().into_iter().map(|field| Field {
                    name: field.name.clone(),
                    value: self.put_into(&field.value),
                });
                Form::Fields(name.clone(), there.collect())
            }
            plain => plain.clone(),
        };
        Syntax {
            form,
            span: syntax.span,
        }
    }

    /// Whether it names an input that is not connected.
    fn is_absent(&self, syntax: &Syntax) -> bool {
        matches!(&syntax.form, Form::Text(name) if self.absent.contains(name.as_str()))
    }

    fn value(&mut self, syntax: &Syntax, items: &[Syntax]) -> Syntax {
        let broken = Syntax {
            form: Form::Broken,
            span: syntax.span,
        };
        let [
            Syntax {
                form: Form::Text(name),
                span,
            },
        ] = items
        else {
            let mistake = Diagnostic::error(syntax.span, "`Param` names one parameter of this group");
            self.mistakes.push(mistake.expected("expected `Param(\"name\")`"));
            return broken;
        };
        match self.values.get(name.as_str()) {
            Some(Some(value)) => {
                self.uses.push(Use {
                    value: value.span,
                    place: syntax.span,
                    name: name.clone(),
                });
                (*value).clone()
            }
            Some(None) => broken,
            None => {
                let mistake = Diagnostic::error(*span, format!("this group has no parameter `{name}`"));
                let help = match nearest(name, self.values.keys().copied()) {
                    Some(meant) => format!("did you mean `{meant}`?"),
                    None => "declare it in `parameters`".to_owned(),
                };
                self.mistakes.push(mistake.help(help));
                broken
            }
        }
    }

    /// Says of a mistake in a value where the value is used.
    pub fn explain(uses: &[Use], mistake: Diagnostic) -> Diagnostic {
        let used = uses
            .iter()
            .find(|used| used.value.start <= mistake.span.start && mistake.span.end <= used.value.end);
        match used {
            Some(used) => mistake.related(used.place, format!("`{}` is used here", used.name)),
            None => mistake,
        }
    }
}

/// Moves a tree and what is wrong with it behind the texts before it.
pub(crate) fn shift(syntax: &mut Syntax, by: usize) {
    let moved = |span: &mut Span| *span = Span::new(span.start + by, span.end + by);
    moved(&mut syntax.span);
    match &mut syntax.form {
        Form::Tuple(name, items) => {
            name.iter_mut().for_each(|name| moved(&mut name.span));
            items.iter_mut().for_each(|item| shift(item, by));
        }
        Form::List(items) => items.iter_mut().for_each(|item| shift(item, by)),
        Form::Map(entries) => {
            for (key, value) in entries {
                shift(key, by);
                shift(value, by);
            }
        }
        Form::Fields(name, fields) => {
            name.iter_mut().for_each(|name| moved(&mut name.span));
            for field in fields {
                moved(&mut field.name.span);
                shift(&mut field.value, by);
            }
        }
        Form::Bool(_) | Form::Number(_) | Form::Text(_) | Form::Name(_) | Form::Broken => {}
    }
}

/// Moves the places of a diagnosis behind the texts before it.
pub(crate) fn shift_diagnostic(diagnostic: &mut Diagnostic, by: usize) {
    let spans = diagnostic.related.iter_mut().map(|(span, _)| span);
    for span in spans.chain([&mut diagnostic.span]) {
        *span = Span::new(span.start + by, span.end + by);
    }
}
