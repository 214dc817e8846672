//! What does not compile, and what the compiler says.

use syn::parse_quote;

fn params_error(input: &syn::DeriveInput) -> String {
    crate::params::expand(input)
        .map(|_| ())
        .unwrap_err()
        .into_iter()
        .map(|e| e.to_string())
        .collect::<Vec<_>>()
        .join("; ")
}

fn choice_error(input: &syn::DeriveInput) -> String {
    crate::choice::expand(input)
        .map(|_| ())
        .unwrap_err()
        .into_iter()
        .map(|e| e.to_string())
        .collect::<Vec<_>>()
        .join("; ")
}

#[test]
fn a_parameter_without_documentation_does_not_compile() {
    let error = params_error(&parse_quote! {
        /// Moves.
        struct Move {
            /// Documented.
            input: Input,
            translate: f32,
            #[doc = "  "]
            rotate: f32,
        }
    });
    assert_eq!(
        error,
        "document the parameter `translate`: its `///` comment is the manual; \
         document the parameter `rotate`: its `///` comment is the manual"
    );
}

#[test]
fn a_struct_without_documentation_does_not_compile() {
    let error = params_error(&parse_quote! { struct Move { x: f32 } });
    assert!(
        error.starts_with("document `Move`") && error.contains("document the parameter `x`"),
        "{error}"
    );
}

#[test]
fn a_choice_without_documentation_does_not_compile() {
    let error = choice_error(&parse_quote! { enum Way { Up, Down { by: f32 } } });
    assert_eq!(
        error,
        "document the choice `Up`: its `///` comment is the manual; \
         document the choice `Down`: its `///` comment is the manual"
    );
    let error = choice_error(&parse_quote! { enum Way { #[doc = "Down."] Down { by: f32 } } });
    assert!(error.starts_with("document the parameter `by`"), "{error}");
}

#[test]
fn unknown_attributes_and_half_open_ranges_do_not_compile() {
    let error = params_error(&parse_quote! {
        /// Moves.
        struct Move { #[doc = "x"] #[param(defalt = 1)] x: f32 }
    });
    assert_eq!(error, "expected `default`, `unit`, `soft`, `hard` or `rename`");
    let error = params_error(&parse_quote! {
        /// Moves.
        struct Move { #[doc = "x"] #[param(hard = 0.0..1.0)] x: f32 }
    });
    assert_eq!(error, "the end of the range belongs to it: write `..=`");
}

#[test]
fn other_shapes_do_not_compile() {
    assert!(params_error(&parse_quote! { #[doc = "x"] struct Move(f32); }).contains("parameters have names"));
    assert!(params_error(&parse_quote! { #[doc = "x"] enum Move {} }).contains("derive Choice"));
    assert!(params_error(&parse_quote! { #[doc = "x"] struct Move<T> { x: T } }).contains("not generic"));
    assert!(choice_error(&parse_quote! { struct Way; }).contains("derive Params"));
    assert!(choice_error(&parse_quote! { enum Way { #[doc = "x"] A(f32, f32) } }).contains("one value"));
}
