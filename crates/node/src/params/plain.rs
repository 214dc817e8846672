//! Parameters without parts of their own: numbers, text, points, colours; and lists and options of them.

use crate::KeyBuilder;
use crate::params::{IntoDefault, Param, Reader, Shape};
use crate::syntax::{Form, Syntax};

/// A point or a pair of numbers, written `(x, y)`. In pixels: x to the right, y down.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Vec2 {
    /// To the right.
    pub x: f64,
    /// Down.
    pub y: f64,
}

impl Vec2 {
    /// (0, 0).
    pub const ZERO: Vec2 = Vec2::new(0.0, 0.0);
    /// (1, 1).
    pub const ONE: Vec2 = Vec2::new(1.0, 1.0);

    /// (x, y).
    pub const fn new(x: f64, y: f64) -> Vec2 {
        Vec2 { x, y }
    }
}

impl From<Vec2> for (f64, f64) {
    fn from(v: Vec2) -> (f64, f64) {
        (v.x, v.y)
    }
}

/// Three numbers, one a colour channel, written `(r, g, b)` or as one number for all three.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Rgb {
    /// Red.
    pub r: f32,
    /// Green.
    pub g: f32,
    /// Blue.
    pub b: f32,
}

impl Rgb {
    /// All 0.
    pub const ZERO: Rgb = Rgb::grey(0.0);
    /// All 1.
    pub const ONE: Rgb = Rgb::grey(1.0);

    /// (r, g, b).
    pub const fn new(r: f32, g: f32, b: f32) -> Rgb {
        Rgb { r, g, b }
    }

    /// The same number thrice.
    pub const fn grey(value: f32) -> Rgb {
        Rgb::new(value, value, value)
    }
}

impl From<Rgb> for [f32; 3] {
    fn from(c: Rgb) -> [f32; 3] {
        [c.r, c.g, c.b]
    }
}

impl From<[f32; 3]> for Rgb {
    fn from([r, g, b]: [f32; 3]) -> Rgb {
        Rgb { r, g, b }
    }
}

/// A path or frame pattern as the graph writes it; [`World::resolve`](crate::World::resolve) makes it
/// absolute. Only the text enters the content key: the identity of the file is the node's to add.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct FilePath(pub String);

impl FilePath {
    /// The text as written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&str> for FilePath {
    fn from(text: &str) -> FilePath {
        FilePath(text.to_owned())
    }
}

impl Param for f64 {
    fn shape() -> Shape {
        Shape::plain("number")
    }

    fn read(syntax: &Syntax, reader: &mut Reader) -> Option<f64> {
        reader.number(syntax)
    }

    fn hash(&self, _frame: i32, key: &mut KeyBuilder) {
        key.float(*self);
    }

    fn show(&self) -> String {
        self.to_string()
    }
}

impl Param for f32 {
    fn shape() -> Shape {
        Shape::plain("number")
    }

    fn read(syntax: &Syntax, reader: &mut Reader) -> Option<f32> {
        let value = reader.number(syntax)? as f32;
        if value.is_finite() {
            return Some(value);
        }
        reader.mismatch(syntax, "a number that fits single precision");
        None
    }

    fn hash(&self, _frame: i32, key: &mut KeyBuilder) {
        key.float(f64::from(*self));
    }

    fn show(&self) -> String {
        self.to_string()
    }
}

macro_rules! whole_numbers {
    ($($type:ty),*) => {$(
        impl Param for $type {
            fn shape() -> Shape {
                Shape::plain("whole number")
            }

            fn read(syntax: &Syntax, reader: &mut Reader) -> Option<$type> {
                let value = reader.whole(syntax, <$type>::MIN as i128, <$type>::MAX as i128)?;
                <$type>::try_from(value).ok()
            }

            fn hash(&self, _frame: i32, key: &mut KeyBuilder) {
                key.int(*self as i128);
            }

            fn show(&self) -> String {
                self.to_string()
            }
        }
    )*};
}

whole_numbers!(i32, i64, u32, u64, usize);

impl Param for bool {
    fn shape() -> Shape {
        Shape::plain("true or false")
    }

    fn read(syntax: &Syntax, reader: &mut Reader) -> Option<bool> {
        match syntax.form {
            Form::Bool(value) => Some(value),
            _ => {
                reader.mismatch(syntax, "`true` or `false`");
                None
            }
        }
    }

    fn hash(&self, _frame: i32, key: &mut KeyBuilder) {
        key.int((*self).into());
    }

    fn show(&self) -> String {
        self.to_string()
    }
}

impl Param for String {
    fn shape() -> Shape {
        Shape::plain("text")
    }

    fn read(syntax: &Syntax, reader: &mut Reader) -> Option<String> {
        reader.text(syntax, "text in quotes").map(str::to_owned)
    }

    fn hash(&self, _frame: i32, key: &mut KeyBuilder) {
        key.str(self);
    }

    fn show(&self) -> String {
        format!("{self:?}")
    }
}

impl IntoDefault<String> for &str {
    fn into_default(self) -> String {
        self.to_owned()
    }
}

impl Param for FilePath {
    fn shape() -> Shape {
        Shape::plain("path")
    }

    fn read(syntax: &Syntax, reader: &mut Reader) -> Option<FilePath> {
        let text = reader.text(syntax, "a path in quotes")?;
        if text.is_empty() || text.contains('\0') {
            reader.mismatch(syntax, "the path of a file");
            return None;
        }
        Some(FilePath(reader.path_from(syntax.span, text)))
    }

    fn hash(&self, _frame: i32, key: &mut KeyBuilder) {
        key.str(&self.0);
    }

    fn show(&self) -> String {
        format!("{:?}", self.0)
    }
}

impl IntoDefault<FilePath> for &str {
    fn into_default(self) -> FilePath {
        FilePath::from(self)
    }
}

impl Param for Vec2 {
    fn shape() -> Shape {
        Shape::plain("(x, y)")
    }

    fn read(syntax: &Syntax, reader: &mut Reader) -> Option<Vec2> {
        let [x, y] = numbers(syntax, reader, "(x, y)")?;
        Some(Vec2 { x, y })
    }

    fn hash(&self, _frame: i32, key: &mut KeyBuilder) {
        key.float(self.x).float(self.y);
    }

    fn show(&self) -> String {
        format!("({}, {})", self.x, self.y)
    }
}

impl Param for Rgb {
    fn shape() -> Shape {
        Shape::plain("(r, g, b) or number")
    }

    fn read(syntax: &Syntax, reader: &mut Reader) -> Option<Rgb> {
        if matches!(syntax.form, Form::Number(_)) {
            return f32::read(syntax, reader).map(Rgb::grey);
        }
        let [r, g, b] = numbers(syntax, reader, "(r, g, b) or a number")?;
        Some(Rgb { r, g, b })
    }

    fn hash(&self, frame: i32, key: &mut KeyBuilder) {
        for channel in [self.r, self.g, self.b] {
            channel.hash(frame, key);
        }
    }

    fn show(&self) -> String {
        if self.r == self.g && self.g == self.b {
            self.r.to_string()
        } else {
            format!("({}, {}, {})", self.r, self.g, self.b)
        }
    }
}

/// The numbers of a nameless tuple of `N`; all of them are looked at, so that all that is wrong is told.
fn numbers<T: Param + Copy, const N: usize>(
    syntax: &Syntax,
    reader: &mut Reader,
    expected: &str,
) -> Option<[T; N]> {
    match &syntax.form {
        Form::Tuple(None, items) if items.len() == N => {
            let numbers: Vec<Option<T>> = items.iter().map(|item| T::read(item, reader)).collect();
            numbers.into_iter().collect::<Option<Vec<T>>>()?.try_into().ok()
        }
        _ => {
            reader.mismatch(syntax, expected);
            None
        }
    }
}

impl<T: Param> Param for Option<T> {
    fn shape() -> Shape {
        T::shape()
    }

    /// Reads a plain value; `None` and `Some(value)` are understood too.
    fn read(syntax: &Syntax, reader: &mut Reader) -> Option<Option<T>> {
        match &syntax.form {
            Form::Name(name) if name == "None" => Some(None),
            Form::Tuple(Some(name), items) if name.text == "Some" && items.len() == 1 => {
                T::read(&items[0], reader).map(Some)
            }
            _ => T::read(syntax, reader).map(Some),
        }
    }

    fn hash(&self, frame: i32, key: &mut KeyBuilder) {
        key.int(self.is_some().into());
        if let Some(value) = self {
            value.hash(frame, key);
        }
    }

    fn show(&self) -> String {
        self.as_ref().map_or_else(|| "None".to_owned(), T::show)
    }

    fn absent() -> Option<Option<T>> {
        Some(None)
    }
}

impl<T: Param> Param for Vec<T> {
    fn shape() -> Shape {
        let item = T::shape();
        Shape {
            type_name: format!("list of {}", item.type_name),
            ..item
        }
    }

    fn read(syntax: &Syntax, reader: &mut Reader) -> Option<Vec<T>> {
        let Form::List(items) = &syntax.form else {
            reader.mismatch(syntax, &format!("a list `[{}, ..]`", T::shape().type_name));
            return None;
        };
        // Read on after a bad item, so that all bad items are told.
        let read: Vec<Option<T>> = items
            .iter()
            .enumerate()
            .map(|(index, item)| reader.item(index, item))
            .collect();
        read.into_iter().collect()
    }

    fn hash(&self, frame: i32, key: &mut KeyBuilder) {
        key.int(self.len() as i128);
        for item in self {
            item.hash(frame, key);
        }
    }

    fn show(&self) -> String {
        format!("[{}]", self.iter().map(T::show).collect::<Vec<_>>().join(", "))
    }
}
