//! The values that fields of messages have.

use super::ParseError;

/// The type of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `guint`.
    U32,
    /// `guint64`.
    U64,
    /// `gdouble`.
    F64,
    /// `gboolean`.
    Flag,
    /// `gchararray`.
    Text,
    /// `GstValueArray` of `gchararray`.
    Texts,
}

impl Kind {
    /// The type as `gst-launch-1.0 -m` writes it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::U32 => "uint",
            Self::U64 => "uint64",
            Self::F64 => "double",
            Self::Flag => "boolean",
            Self::Text => "string",
            Self::Texts => "array of string",
        }
    }
}

/// The value of a field.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// See [`Kind::U32`].
    U32(u32),
    /// See [`Kind::U64`].
    U64(u64),
    /// See [`Kind::F64`].
    F64(f64),
    /// See [`Kind::Flag`].
    Flag(bool),
    /// See [`Kind::Text`].
    Text(String),
    /// See [`Kind::Texts`].
    Texts(Vec<String>),
}

impl Value {
    /// Its type.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        match self {
            Self::U32(_) => Kind::U32,
            Self::U64(_) => Kind::U64,
            Self::F64(_) => Kind::F64,
            Self::Flag(_) => Kind::Flag,
            Self::Text(_) => Kind::Text,
            Self::Texts(_) => Kind::Texts,
        }
    }
}

/// A Rust type that a field can have.
pub(super) trait Field: Sized {
    const KIND: Kind;
    fn into_value(self) -> Value;
    fn from_value(value: Value) -> Option<Self>;

    fn parse(name: &'static str, value: Option<Value>) -> Result<Self, ParseError> {
        let found = value.as_ref().map_or("nothing", |value| value.kind().as_str());
        let wrong = ParseError::Field { name, expected: Self::KIND.as_str(), found };
        value.and_then(Self::from_value).ok_or(wrong)
    }
}

macro_rules! fields {
    ($($type:ty => $kind:ident),* $(,)?) => {$(
        impl Field for $type {
            const KIND: Kind = Kind::$kind;

            fn into_value(self) -> Value {
                Value::$kind(self)
            }

            fn from_value(value: Value) -> Option<Self> {
                match value {
                    Value::$kind(value) => Some(value),
                    _ => None,
                }
            }
        }
    )*};
}

fields! { u32 => U32, u64 => U64, f64 => F64, bool => Flag, String => Text, Vec<String> => Texts }
