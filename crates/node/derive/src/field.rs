//! One documented field, of a struct or of a choice's variant.

use proc_macro2::TokenStream;
use quote::{ToTokens, format_ident, quote};
use syn::spanned::Spanned;
use syn::{Attribute, Error, Expr, ExprRange, Field, Ident, LitStr, RangeLimits, Result, Type};

/// A field with what its attributes say.
pub struct ParamField<'a> {
    /// The field's name.
    pub ident: &'a Ident,
    /// The variable that holds it in generated code, where `ident` itself might hide another.
    pub bound: Ident,
    /// Its type.
    pub ty: &'a Type,
    /// Its name in graphs.
    pub name: String,
    doc: String,
    default: Default,
    unit: Option<LitStr>,
    soft: Option<ExprRange>,
    hard: Option<ExprRange>,
}

enum Default {
    /// Must be written, unless the type says otherwise.
    None,
    /// `Default::default()`.
    OfType,
    /// This.
    Expr(Box<Expr>),
}

impl<'a> ParamField<'a> {
    /// Reads the attributes of all named fields.
    pub fn all(fields: impl IntoIterator<Item = &'a Field>) -> Result<Vec<ParamField<'a>>> {
        let mut errors: Option<Error> = None;
        let mut read = Vec::new();
        for field in fields {
            match ParamField::read(field) {
                Ok(field) => read.push(field),
                Err(error) => match &mut errors {
                    Some(errors) => errors.combine(error),
                    None => errors = Some(error),
                },
            }
        }
        errors.map_or(Ok(read), Err)
    }

    fn read(field: &'a Field) -> Result<ParamField<'a>> {
        let Some(ident) = &field.ident else {
            return Err(Error::new(
                field.span(),
                "parameters have names: write `struct S { name: Type }`",
            ));
        };
        let doc = doc_of(&field.attrs, ident.span(), &format!("the parameter `{ident}`"))?;
        let name = ident.to_string().trim_start_matches("r#").to_owned();
        let mut read = ParamField {
            ident,
            bound: format_ident!("field_{name}"),
            ty: &field.ty,
            name,
            doc,
            default: Default::None,
            unit: None,
            soft: None,
            hard: None,
        };
        for attribute in field
            .attrs
            .iter()
            .filter(|attribute| attribute.path().is_ident("param"))
        {
            attribute.parse_nested_meta(|meta| {
                if meta.path.is_ident("default") {
                    read.default = if meta.input.peek(syn::Token![=]) {
                        Default::Expr(Box::new(meta.value()?.parse()?))
                    } else {
                        Default::OfType
                    };
                } else if meta.path.is_ident("unit") {
                    read.unit = Some(meta.value()?.parse()?);
                } else if meta.path.is_ident("soft") {
                    read.soft = Some(meta.value()?.parse()?);
                } else if meta.path.is_ident("hard") {
                    read.hard = Some(meta.value()?.parse()?);
                } else if meta.path.is_ident("rename") {
                    read.name = meta.value()?.parse::<LitStr>()?.value();
                } else {
                    return Err(meta.error("expected `default`, `unit`, `soft`, `hard` or `rename`"));
                }
                Ok(())
            })?;
        }
        Ok(read)
    }

    /// Whether the graph may leave it out.
    pub fn can_be_left_out(&self) -> bool {
        !matches!(self.default, Default::None) || self.is_option()
    }

    /// By the type's name alone: a macro sees no more.
    fn is_option(&self) -> bool {
        matches!(self.ty, Type::Path(path) if path.path.segments.last().is_some_and(|last| last.ident == "Option"))
    }

    /// The default's expression, of the field's type.
    pub fn default_value(&self) -> Option<TokenStream> {
        let ty = self.ty;
        match &self.default {
            Default::Expr(expr) => Some(quote!(::peel_node::params::IntoDefault::<#ty>::into_default(#expr))),
            Default::OfType => Some(quote!(<#ty as ::core::default::Default>::default())),
            Default::None if self.is_option() => Some(quote!(::core::option::Option::None)),
            Default::None => None,
        }
    }

    /// `let bound: Option<Type> = ..;`, read from `fields`.
    pub fn read_statement(&self) -> Result<TokenStream> {
        let ParamField { bound, ty, name, .. } = self;
        let hard = limits(self.hard.as_ref())?;
        Ok(match self.default_value() {
            Some(default) => quote! {
                let #bound: ::core::option::Option<#ty> =
                    fields.optional::<#ty>(#name, #hard, reader, || #default);
            },
            None => quote! {
                let #bound: ::core::option::Option<#ty> = fields.required::<#ty>(#name, #hard, reader);
            },
        })
    }

    /// An expression of type `ParamDoc`.
    pub fn doc_expression(&self) -> Result<TokenStream> {
        let ParamField { ty, name, doc, .. } = self;
        let soft = limits(self.soft.as_ref())?;
        let hard = limits(self.hard.as_ref())?;
        let unit = match &self.unit {
            Some(unit) => quote!(::core::option::Option::Some(#unit.to_owned())),
            None => quote!(::core::option::Option::None),
        };
        let (required, default) = match self.default_value() {
            Some(_) if self.is_option() && matches!(self.default, Default::None) => {
                (quote!(false), quote!(::core::option::Option::None))
            }
            Some(value) => (
                quote!(false),
                quote! {{
                    let value: #ty = #value;
                    ::core::option::Option::Some(::peel_node::Param::show(&value))
                }},
            ),
            None => (
                quote!(<#ty as ::peel_node::Param>::absent().is_none()),
                quote!(::core::option::Option::None),
            ),
        };
        Ok(quote! {{
            let shape = <#ty as ::peel_node::Param>::shape();
            ::peel_node::params::ParamDoc {
                name: #name.to_owned(),
                type_name: shape.type_name,
                required: #required,
                default: #default,
                unit: #unit,
                soft: #soft,
                hard: #hard,
                doc: #doc.to_owned(),
                choices: shape.choices,
                group: shape.group,
            }
        }})
    }

    /// Adds name and value to `key`; `value` is an expression of type `&Type`.
    pub fn hash_statement(&self, value: impl ToTokens) -> TokenStream {
        let ParamField { ty, name, .. } = self;
        quote! {
            key.str(#name);
            <#ty as ::peel_node::Param>::hash(#value, frame, key);
        }
    }
}

/// `name: value, name: value` as an expression of type `String`; `values` are expressions of type `&Type`.
pub fn show_fields(fields: &[ParamField<'_>], values: &[TokenStream]) -> TokenStream {
    let shown = fields.iter().zip(values).map(|(field, value)| {
        let (ty, name) = (field.ty, &field.name);
        quote!(format!("{}: {}", #name, <#ty as ::peel_node::Param>::show(#value)))
    });
    quote! {{
        let fields: ::std::vec::Vec<::std::string::String> = ::std::vec![#(#shown),*];
        fields.join(", ")
    }}
}

/// The doc comment, its lines joined; an error where there is none.
pub fn doc_of(attributes: &[Attribute], place: proc_macro2::Span, what: &str) -> Result<String> {
    let mut lines = Vec::new();
    for attribute in attributes
        .iter()
        .filter(|attribute| attribute.path().is_ident("doc"))
    {
        if let syn::Meta::NameValue(syn::MetaNameValue {
            value:
                Expr::Lit(syn::ExprLit {
                    lit: syn::Lit::Str(text),
                    ..
                }),
            ..
        }) = &attribute.meta
        {
            lines.push(text.value().trim().to_owned());
        }
    }
    // A blank line parts paragraphs; within one, lines are the source's, not the reader's.
    let paragraphs: Vec<String> = lines
        .split(|line| line.is_empty())
        .filter(|lines| !lines.is_empty())
        .map(|lines| lines.join(" "))
        .collect();
    if paragraphs.is_empty() {
        return Err(Error::new(
            place,
            format!("document {what}: its `///` comment is the manual"),
        ));
    }
    Ok(paragraphs.join("\n\n"))
}

/// `Option<Limits>` of a range.
fn limits(range: Option<&ExprRange>) -> Result<TokenStream> {
    let Some(range) = range else {
        return Ok(quote!(::core::option::Option::None));
    };
    if range.end.is_some() && matches!(range.limits, RangeLimits::HalfOpen(_)) {
        return Err(Error::new(
            range.span(),
            "the end of the range belongs to it: write `..=`",
        ));
    }
    let bound = |bound: Option<&Expr>| match bound {
        Some(value) => quote!(::core::option::Option::Some((#value) as f64)),
        None => quote!(::core::option::Option::None),
    };
    let (min, max) = (bound(range.start.as_deref()), bound(range.end.as_deref()));
    Ok(quote!(::core::option::Option::Some(::peel_node::params::Limits { min: #min, max: #max })))
}
