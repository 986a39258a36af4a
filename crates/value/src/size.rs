//! Sizes as every limit counts them, nesting, and the check of values that were built by hand.

use crate::limits::{ARRAY_LENGTH_MAX, OBJECT_FIELDS_MAX, VALUE_NESTING_MAX};

use crate::{Object, Value, ValueError, name};

impl Value {
    /// The size that limits count: null and booleans 1, numbers 9, strings and bytes 2 more than their length in
    /// bytes, arrays and objects 2 more than their members, a field its name's length and 1 more than its value.
    pub fn size_bytes(&self) -> usize {
        match self {
            Value::Null | Value::Boolean(_) => 1,
            Value::Int64(_) | Value::Float64(_) | Value::CommitTimestamp => 9,
            Value::String(text) => text.len() + 2,
            Value::Bytes(bytes) => bytes.len() + 2,
            Value::Array(members) => 2 + members.iter().map(Value::size_bytes).sum::<usize>(),
            Value::Object(object) => object.size_bytes(),
        }
    }

    /// How deep the value nests: 0 for a scalar, else one more than its deepest member.
    pub fn nesting(&self) -> usize {
        match self {
            Value::Array(members) => 1 + members.iter().map(Value::nesting).max().unwrap_or(0),
            Value::Object(object) => object.nesting(),
            _ => 0,
        }
    }

    /// Checks what the data format demands of every value: nesting, lengths of arrays and objects, field names.
    /// Values parsed from JSON or from a key hold it already.
    pub fn check(&self) -> Result<(), ValueError> {
        self.check_below(VALUE_NESTING_MAX)
    }

    fn check_below(&self, nesting_left: usize) -> Result<(), ValueError> {
        match self {
            Value::Array(members) => {
                if members.len() > ARRAY_LENGTH_MAX {
                    return Err(ValueError::ArrayTooLong);
                }
                let nesting_left = nesting_left.checked_sub(1).ok_or(ValueError::TooNested)?;
                members.iter().try_for_each(|member| member.check_below(nesting_left))
            }
            Value::Object(object) => {
                if object.len() > OBJECT_FIELDS_MAX {
                    return Err(ValueError::TooManyFields);
                }
                let nesting_left = nesting_left.checked_sub(1).ok_or(ValueError::TooNested)?;
                object.iter().try_for_each(|(field, value)| {
                    name::check_field_name(field)?;
                    value.check_below(nesting_left)
                })
            }
            _ => Ok(()),
        }
    }
}

impl Object {
    /// The size of the object as a value; see [`Value::size_bytes`].
    pub fn size_bytes(&self) -> usize {
        2 + self.iter().map(|(name, value)| name.len() + 1 + value.size_bytes()).sum::<usize>()
    }

    /// How deep the object nests, itself included.
    pub fn nesting(&self) -> usize {
        1 + self.iter().map(|(_, value)| value.nesting()).max().unwrap_or(0)
    }
}
