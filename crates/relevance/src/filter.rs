//! Values that searches filter by.

use sha2::{Digest, Sha256};
use value::{Value, key};

/// Bytes of a value by which is filtered.
pub const FILTER_BYTES: usize = 16;

/// What a value is compared by in filters: equal for values that index keys hold for equal, and different for all others as far as
/// the first 128 bits of a SHA-256 tell. `None` is undefined: the document has no such field.
pub fn filter_value(value: Option<&Value>) -> [u8; FILTER_BYTES] {
    let mut bytes = Vec::with_capacity(40);
    key::push(&mut bytes, value);
    let hash: [u8; 32] = Sha256::digest(&bytes).into();
    *hash.first_chunk().expect("16 of 32 bytes")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_told_apart_as_index_keys_tell_them_apart() {
        let values = [
            None,
            Some(Value::Null),
            Some(Value::Boolean(false)),
            Some(Value::Float64(1.0)),
            Some(Value::Int64(1)),
            Some(Value::String("1".to_owned())),
            Some(Value::String("x".repeat(100))),
            Some(Value::String("x".repeat(101))),
        ];
        for (at, one) in values.iter().enumerate() {
            for (other_at, other) in values.iter().enumerate() {
                let is_equal = filter_value(one.as_ref()) == filter_value(other.as_ref());
                assert_eq!(is_equal, at == other_at, "{one:?} and {other:?}");
            }
        }
    }
}
