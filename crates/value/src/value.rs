use crate::Object;

/// A value of an application: an argument, a result, a field.
///
/// Equality and order are those of the index (see [`Ord`]): floats compare by their bits, so that NaN equals itself
/// and -0 is not +0. Values that came from JSON keep the limits of the data format; values built by hand are checked
/// by [`Value::check`].
#[derive(Clone, Debug)]
pub enum Value {
    /// `null`
    Null,
    /// A JavaScript bigint.
    Int64(i64),
    /// A JavaScript number.
    Float64(f64),
    /// `true` or `false`
    Boolean(bool),
    /// Well-formed text.
    String(String),
    /// A JavaScript ArrayBuffer.
    Bytes(Vec<u8>),
    /// A list.
    Array(Vec<Value>),
    /// Fields by name.
    Object(Object),
    /// Stands for the timestamp of the commit that is still to come. It counts as the largest Int64 for order and size
    /// and becomes an Int64 when the transaction commits; it may stand only where the caller allows it.
    CommitTimestamp,
}

impl Value {
    /// The name of the value's type, as error messages show it.
    pub fn type_name(&self) -> &'static str {
        match self {
            Value::Null => "null",
            Value::Int64(_) => "int64",
            Value::Float64(_) => "float64",
            Value::Boolean(_) => "boolean",
            Value::String(_) => "string",
            Value::Bytes(_) => "bytes",
            Value::Array(_) => "array",
            Value::Object(_) => "object",
            Value::CommitTimestamp => "commit timestamp",
        }
    }

    /// The string, if it is one.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Value::String(text) => Some(text),
            _ => None,
        }
    }

    /// The number, if it is a Float64.
    pub fn as_f64(&self) -> Option<f64> {
        match self {
            Value::Float64(number) => Some(*number),
            _ => None,
        }
    }

    /// The integer, if it is an Int64.
    pub fn as_i64(&self) -> Option<i64> {
        match self {
            Value::Int64(integer) => Some(*integer),
            _ => None,
        }
    }

    /// The boolean, if it is one.
    pub fn as_bool(&self) -> Option<bool> {
        match self {
            Value::Boolean(boolean) => Some(*boolean),
            _ => None,
        }
    }

    /// The object, if it is one.
    pub fn as_object(&self) -> Option<&Object> {
        match self {
            Value::Object(object) => Some(object),
            _ => None,
        }
    }

    /// The object, if it is one; else the value comes back.
    pub fn into_object(self) -> Result<Object, Value> {
        match self {
            Value::Object(object) => Ok(object),
            other => Err(other),
        }
    }

    /// The array's members, if it is one.
    pub fn as_array(&self) -> Option<&[Value]> {
        match self {
            Value::Array(members) => Some(members),
            _ => None,
        }
    }

    /// Whether it is `null`.
    pub fn is_null(&self) -> bool {
        matches!(self, Value::Null)
    }

    /// Whether the placeholder of the commit timestamp occurs anywhere.
    pub fn contains_commit_timestamp(&self) -> bool {
        match self {
            Value::CommitTimestamp => true,
            Value::Array(members) => members.iter().any(Value::contains_commit_timestamp),
            Value::Object(object) => object.contains_commit_timestamp(),
            _ => false,
        }
    }

    /// Puts the timestamp of the commit, in nanoseconds, in place of every placeholder.
    pub fn resolve_commit_timestamp(&mut self, timestamp: i64) {
        match self {
            Value::CommitTimestamp => *self = Value::Int64(timestamp),
            Value::Array(members) => {
                members.iter_mut().for_each(|member| member.resolve_commit_timestamp(timestamp))
            }
            Value::Object(object) => object.resolve_commit_timestamp(timestamp),
            _ => {}
        }
    }
}

macro_rules! value_from {
    ($($type:ty => $variant:ident),*) => {$(
        impl From<$type> for Value {
            fn from(value: $type) -> Self {
                Value::$variant(value.into())
            }
        }
    )*};
}

value_from!(i64 => Int64, f64 => Float64, bool => Boolean, &str => String, String => String, Vec<u8> => Bytes,
    Vec<Value> => Array, Object => Object);

impl<T: Into<Value>> From<Option<T>> for Value {
    /// `None` is null.
    fn from(value: Option<T>) -> Self {
        value.map_or(Value::Null, Into::into)
    }
}
