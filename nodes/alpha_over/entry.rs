//! One entry of AlphaOver's list: a name, or a name with what is special about it.

use peel_image::MergeOp;
use peel_node::params::{ParamDoc, Shape};
use peel_node::syntax::{Form, Syntax};
use peel_node::{Animated, Input, KeyBuilder, Param, Params, Reader, socket};

/// A layer or a stack, and how it is laid.
#[derive(Params, Clone, Debug)]
pub struct Entry {
    /// The layer, or the stack.
    pub input: Input<socket::LayerOrStack>,
    /// How much of its effect is seen; 0 leaves what lies below as it is.
    #[param(default = 1.0, hard = 0.0..=1.0)]
    pub opacity: Animated<f32>,
    /// How it is put together with what lies below; the node's `operation` where it is left out.
    pub operation: Option<MergeOp>,
    /// Where its effect is seen; everywhere where it is left out.
    pub mask: Option<Input<socket::Matte>>,
}

/// An [`Entry`], which may be written as the bare name of its input.
#[derive(Clone, Debug)]
pub struct EntryOrName(pub Entry);

impl Param for EntryOrName {
    fn shape() -> Shape {
        let group: Vec<ParamDoc> = Entry::docs();
        Shape {
            type_name: "Layer or Stack, or (input: .., ..)".to_owned(),
            group,
            ..Shape::default()
        }
    }

    fn read(syntax: &Syntax, reader: &mut Reader) -> Option<EntryOrName> {
        if matches!(syntax.form, Form::Fields(..)) {
            return <Entry as Param>::read(syntax, reader).map(EntryOrName);
        }
        let input = <Input<_> as Param>::read(syntax, reader)?;
        Some(EntryOrName(Entry {
            input,
            opacity: Animated::Constant(1.0),
            operation: None,
            mask: None,
        }))
    }

    fn hash(&self, frame: i32, key: &mut KeyBuilder) {
        Param::hash(&self.0, frame, key);
    }

    fn show(&self) -> String {
        Param::show(&self.0)
    }
}
