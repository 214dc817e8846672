//! `#[derive(Choice)]`.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{Data, DeriveInput, Error, Fields, Result, Type, Variant};

use crate::field::{ParamField, doc_of, show_fields};

pub fn expand(input: &DeriveInput) -> Result<TokenStream> {
    let ident = &input.ident;
    let Data::Enum(data) = &input.data else {
        return Err(Error::new(
            ident.span(),
            "Choice is for enums; for a struct derive Params",
        ));
    };
    if !input.generics.params.is_empty() {
        return Err(Error::new(ident.span(), "choices are not generic"));
    }
    let mut errors: Option<Error> = None;
    let mut arms = Vec::new();
    for variant in &data.variants {
        match Arms::of(variant) {
            Ok(variant) => arms.push(variant),
            Err(error) => match &mut errors {
                Some(errors) => errors.combine(error),
                None => errors = Some(error),
            },
        }
    }
    if let Some(errors) = errors {
        return Err(errors);
    }

    let type_name = ident.to_string();
    let names: Vec<String> = data
        .variants
        .iter()
        .map(|variant| variant.ident.to_string())
        .collect();
    let indices = 0..names.len();
    let docs = arms.iter().map(|arms| &arms.doc);
    let reads = arms.iter().map(|arms| &arms.read);
    let hashes = arms.iter().map(|arms| &arms.hash);
    let shows = arms.iter().map(|arms| &arms.show);

    Ok(quote! {
        #[automatically_derived]
        impl ::peel_node::Param for #ident {
            fn shape() -> ::peel_node::params::Shape {
                ::peel_node::params::Shape {
                    type_name: #type_name.to_owned(),
                    choices: ::std::vec![#(#docs),*],
                    ..::core::default::Default::default()
                }
            }

            fn read(
                syntax: &::peel_node::syntax::Syntax,
                reader: &mut ::peel_node::Reader,
            ) -> ::core::option::Option<Self> {
                match reader.choice(syntax, &[#(#names),*])? {
                    #(#indices => { #reads })*
                    _ => ::core::option::Option::None,
                }
            }

            fn hash(&self, frame: i32, key: &mut ::peel_node::KeyBuilder) {
                match self {
                    #(#hashes)*
                }
            }

            fn show(&self) -> ::std::string::String {
                match self {
                    #(#shows)*
                }
            }
        }
    })
}

/// A variant's part of each function.
struct Arms {
    doc: TokenStream,
    read: TokenStream,
    hash: TokenStream,
    show: TokenStream,
}

impl Arms {
    fn of(variant: &Variant) -> Result<Arms> {
        let name = variant.ident.to_string();
        let doc = doc_of(
            &variant.attrs,
            variant.ident.span(),
            &format!("the choice `{name}`"),
        )?;
        match &variant.fields {
            Fields::Unit => Ok(Arms::unit(variant, &name, &doc)),
            Fields::Unnamed(fields) if fields.unnamed.len() == 1 => {
                Ok(Arms::single(variant, &name, &doc, &fields.unnamed[0].ty))
            }
            Fields::Unnamed(_) => Err(Error::new(
                variant.ident.span(),
                "a choice has one value, `Name(Type)`, or named ones, `Name { a: A, b: B }`",
            )),
            Fields::Named(fields) => Arms::named(variant, &name, &doc, &ParamField::all(&fields.named)?),
        }
    }

    fn unit(variant: &Variant, name: &str, doc: &str) -> Arms {
        let ident = &variant.ident;
        Arms {
            doc: doc_expression(name, doc, quote!(None), quote!(::std::vec::Vec::new())),
            read: quote! {
                reader.bare(syntax)?;
                ::core::option::Option::Some(Self::#ident)
            },
            hash: quote!(Self::#ident => { key.str(#name); }),
            show: quote!(Self::#ident => #name.to_owned(),),
        }
    }

    fn single(variant: &Variant, name: &str, doc: &str, ty: &Type) -> Arms {
        let ident = &variant.ident;
        let shape = quote!(<#ty as ::peel_node::Param>::shape());
        Arms {
            doc: doc_expression(name, doc, quote!(Some(#shape)), quote!(::std::vec::Vec::new())),
            read: quote! {
                let value = reader.payload(syntax, &#shape.type_name)?;
                <#ty as ::peel_node::Param>::read(value, reader).map(Self::#ident)
            },
            hash: quote! {
                Self::#ident(value) => {
                    key.str(#name);
                    <#ty as ::peel_node::Param>::hash(value, frame, key);
                }
            },
            show: quote! {
                Self::#ident(value) => format!("{}({})", #name, <#ty as ::peel_node::Param>::show(value)),
            },
        }
    }

    fn named(variant: &Variant, name: &str, doc: &str, fields: &[ParamField<'_>]) -> Result<Arms> {
        let ident = &variant.ident;
        let names: Vec<&str> = fields.iter().map(|field| field.name.as_str()).collect();
        let idents: Vec<_> = fields.iter().map(|field| field.ident).collect();
        let bound: Vec<_> = fields.iter().map(|field| &field.bound).collect();
        let values: Vec<_> = bound.iter().map(|ident| quote!(#ident)).collect();
        let reads = fields
            .iter()
            .map(ParamField::read_statement)
            .collect::<Result<Vec<_>>>()?;
        let docs = fields
            .iter()
            .map(ParamField::doc_expression)
            .collect::<Result<Vec<_>>>()?;
        let hashes = fields
            .iter()
            .zip(&values)
            .map(|(field, value)| field.hash_statement(value));
        let shown = show_fields(fields, &values);
        Ok(Arms {
            doc: doc_expression(name, doc, quote!(None), quote!(::std::vec![#(#docs),*])),
            read: quote! {
                let fields = reader.fields(syntax, #name, &[#(#names),*])?;
                #(#reads)*
                ::core::option::Option::Some(Self::#ident { #(#idents: #bound?),* })
            },
            hash: quote! {
                Self::#ident { #(#idents: #bound),* } => {
                    key.str(#name);
                    #(#hashes)*
                }
            },
            show: quote! {
                Self::#ident { #(#idents: #bound),* } => format!("{}({})", #name, #shown),
            },
        })
    }
}

fn doc_expression(name: &str, doc: &str, value: TokenStream, fields: TokenStream) -> TokenStream {
    quote! {
        ::peel_node::params::ChoiceDoc {
            name: #name.to_owned(),
            doc: #doc.to_owned(),
            value: #value,
            fields: #fields,
        }
    }
}
