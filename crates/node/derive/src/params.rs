//! `#[derive(Params)]`.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{Data, DeriveInput, Error, Fields, Path, Result};

use crate::field::{ParamField, doc_of, show_fields};

pub fn expand(input: &DeriveInput) -> Result<TokenStream> {
    let ident = &input.ident;
    let Data::Struct(data) = &input.data else {
        return Err(Error::new(
            ident.span(),
            "Params is for structs; for an enum derive Choice",
        ));
    };
    if !input.generics.params.is_empty() {
        return Err(Error::new(ident.span(), "parameters are not generic"));
    }
    let named = match &data.fields {
        Fields::Named(fields) => Some(&fields.named),
        Fields::Unit => None,
        Fields::Unnamed(_) => {
            return Err(Error::new(
                ident.span(),
                "parameters have names: write `struct S { name: Type }`",
            ));
        }
    };
    let title = doc_of(&input.attrs, ident.span(), &format!("`{ident}`"));
    let fields = ParamField::all(named.into_iter().flatten());
    let (title, fields) = match (title, fields) {
        (Ok(title), Ok(fields)) => (title, fields),
        (Err(mut title), Err(fields)) => {
            title.combine(fields);
            return Err(title);
        }
        (Err(error), _) | (_, Err(error)) => return Err(error),
    };
    let check = check_call(input)?;

    let name = ident.to_string();
    let names: Vec<&str> = fields.iter().map(|field| field.name.as_str()).collect();
    let idents: Vec<_> = fields.iter().map(|field| field.ident).collect();
    let bound: Vec<_> = fields.iter().map(|field| &field.bound).collect();
    let reads = fields
        .iter()
        .map(ParamField::read_statement)
        .collect::<Result<Vec<_>>>()?;
    let docs = fields
        .iter()
        .map(ParamField::doc_expression)
        .collect::<Result<Vec<_>>>()?;
    let values: Vec<_> = idents.iter().map(|ident| quote!(&self.#ident)).collect();
    let hashes = fields
        .iter()
        .zip(&values)
        .map(|(field, value)| field.hash_statement(value));
    let shown = show_fields(&fields, &values);
    let default = default_impl(input, &fields);

    Ok(quote! {
        #[automatically_derived]
        impl ::peel_node::Params for #ident {
            const TITLE: &'static str = #title;

            fn docs() -> ::std::vec::Vec<::peel_node::params::ParamDoc> {
                ::std::vec![#(#docs),*]
            }

            fn read(
                syntax: &::peel_node::syntax::Syntax,
                reader: &mut ::peel_node::Reader,
            ) -> ::core::option::Option<Self> {
                let owner = syntax.name().unwrap_or(#name);
                let fields = reader.fields(syntax, owner, &[#(#names),*])?;
                // Every field is read before any is missed, so that all mistakes are told.
                #(#reads)*
                let read = Self { #(#idents: #bound?),* };
                #check
                ::core::option::Option::Some(read)
            }

            fn hash(&self, frame: i32, key: &mut ::peel_node::KeyBuilder) {
                #(#hashes)*
            }
        }

        #[automatically_derived]
        impl ::peel_node::Param for #ident {
            fn shape() -> ::peel_node::params::Shape {
                ::peel_node::params::Shape {
                    type_name: "(..)".to_owned(),
                    group: <Self as ::peel_node::Params>::docs(),
                    ..::core::default::Default::default()
                }
            }

            fn read(
                syntax: &::peel_node::syntax::Syntax,
                reader: &mut ::peel_node::Reader,
            ) -> ::core::option::Option<Self> {
                reader.unnamed(syntax, #name);
                <Self as ::peel_node::Params>::read(syntax, reader)
            }

            fn hash(&self, frame: i32, key: &mut ::peel_node::KeyBuilder) {
                <Self as ::peel_node::Params>::hash(self, frame, key);
            }

            fn show(&self) -> ::std::string::String {
                format!("({})", #shown)
            }
        }

        #default
    })
}

/// `read.check(reader);`, as `#[params(check = ..)]` says. The path may stand in quotes.
fn check_call(input: &DeriveInput) -> Result<TokenStream> {
    let mut check: Option<Path> = None;
    for attribute in input
        .attrs
        .iter()
        .filter(|attribute| attribute.path().is_ident("params"))
    {
        attribute.parse_nested_meta(|meta| {
            if !meta.path.is_ident("check") {
                return Err(meta.error("expected `check = Self::check`"));
            }
            let value = meta.value()?;
            check = Some(match value.peek(syn::LitStr) {
                true => value.parse::<syn::LitStr>()?.parse()?,
                false => value.parse()?,
            });
            Ok(())
        })?;
    }
    Ok(check.map_or_else(TokenStream::new, |path| quote!(#path(&read, reader);)))
}

/// A `Default`, where every parameter can be left out.
fn default_impl(input: &DeriveInput, fields: &[ParamField<'_>]) -> TokenStream {
    if fields.is_empty() || !fields.iter().all(ParamField::can_be_left_out) {
        return TokenStream::new();
    }
    let ident = &input.ident;
    let values = fields.iter().map(|field| {
        let (ident, value) = (field.ident, field.default_value());
        quote!(#ident: #value)
    });
    quote! {
        #[automatically_derived]
        impl ::core::default::Default for #ident {
            fn default() -> Self {
                Self { #(#values),* }
            }
        }
    }
}
