//! Choices that `peel-image` defines: it knows nothing of graphs, so their words are given here.

use peel_image::{ColourSpace, Filter, MergeOp};

use crate::KeyBuilder;
use crate::params::{ChoiceDoc, Param, Reader, Shape};
use crate::syntax::Syntax;

/// Makes a parameter of an enum with `ALL` and `name`, with a help text for each variant.
macro_rules! foreign_choice {
    ($type:ident, $title:literal, { $($variant:ident: $doc:literal,)* }) => {
        impl Param for $type {
            fn shape() -> Shape {
                let choices = $type::ALL.iter().map(|choice| {
                    // Matched without a catch-all, so that a new variant cannot go undocumented.
                    let doc = match choice {
                        $($type::$variant => $doc,)*
                    };
                    ChoiceDoc { name: choice.name().to_owned(), doc: doc.to_owned(), ..ChoiceDoc::default() }
                });
                Shape { type_name: $title.to_owned(), choices: choices.collect(), ..Shape::default() }
            }

            fn read(syntax: &Syntax, reader: &mut Reader) -> Option<$type> {
                let names = $type::ALL.map(|choice| choice.name());
                let index = reader.choice(syntax, &names)?;
                reader.bare(syntax)?;
                Some($type::ALL[index])
            }

            fn hash(&self, _frame: i32, key: &mut KeyBuilder) {
                key.str(self.name());
            }

            fn show(&self) -> String {
                self.name().to_owned()
            }
        }
    };
}

foreign_choice!(Filter, "filter", {
    Nearest: "The nearest pixel, never a mixture: for ids and hard data.",
    Bilinear: "Linear between neighbours; soft, never rings.",
    Cubic: "Catmull-Rom: sharp, passes through the pixels, rings a little.",
    Mitchell: "Mitchell-Netravali: between soft and ringing.",
    Lanczos3: "Three-lobed Lanczos: the sharpest, rings the most.",
});

foreign_choice!(MergeOp, "operation", {
    Over: "`A + B(1-a)`: A in front of B.",
    Under: "`A(1-b) + B`: A behind B.",
    In: "`Ab`: A where B is.",
    Out: "`A(1-b)`: A where B is not.",
    Mask: "`Ba`: B where A is.",
    Stencil: "`B(1-a)`: B where A is not.",
    Atop: "`Ab + B(1-a)`: A over B, within B's shape.",
    Xor: "`A(1-b) + B(1-a)`: either, but not both.",
    Plus: "`A + B`: light added to light.",
    Screen: "`A + B - AB` where A or B is at most 1, else the larger.",
    Multiply: "`AB`; 0 where both are negative.",
    DisjointOver: "Over for edges that never overlap, such as neighbours cut from one plate.",
    ConjointOver: "Over for edges that always overlap, such as two copies of one matte.",
});

foreign_choice!(ColourSpace, "colour space", {
    LinearRec709: "Scene-linear light, Rec.709 primaries, D65.",
    Srgb: "Rec.709 primaries with the sRGB curve: PNG and JPEG pictures.",
    AcesCg: "Scene-linear light, AP1 primaries, ACES white.",
    AcesCct: "AP1 primaries with ACES's log curve with a toe: for grading.",
    Aces2065_1: "Scene-linear light, AP0 primaries, ACES white: for interchange.",
});
