//! Index keys: bytes that sort, compared as plain bytes, as the values sort.
//!
//! A key is its parts one after the other, each a value or undefined (`None`), and each ends itself. Each part begins
//! with a tag; the tags are in the order of the types:
//!
//! | tag | part | then |
//! |---|---|---|
//! | `01` | undefined | |
//! | `03` | null | |
//! | `04`–`07` | negative Int64 of 8, 4, 2, 1 bytes | two's complement, big-endian, as short as possible |
//! | `08` | Int64 0 | |
//! | `09`–`0C` | positive Int64 of 1, 2, 4, 8 bytes | the same |
//! | `0D` | Float64 | 8 bytes: big-endian, all bits inverted if negative, else the sign bit set |
//! | `0E`, `0F` | false, true | |
//! | `10` | String | its bytes with `00` written as `00 FF`; then `00` |
//! | `11` | Bytes | the same |
//! | `12` | Array | its members; then `00` |
//! | `15` | Object | each field's name, `00`, its value; then `00`. The empty name is written `00 FF` |
//!
//! No tag and no character of a field's name is `FF`, so `00 FF` never means an end. The placeholder of the commit
//! timestamp is written as the largest Int64.

use crate::limits::{ARRAY_LENGTH_MAX, OBJECT_FIELDS_MAX, VALUE_NESTING_MAX};

use crate::{FieldPath, Object, Value, name};

mod tag {
    pub const UNDEFINED: u8 = 0x01;
    pub const NULL: u8 = 0x03;
    pub const NEGATIVE_8: u8 = 0x04;
    pub const NEGATIVE_4: u8 = 0x05;
    pub const NEGATIVE_2: u8 = 0x06;
    pub const NEGATIVE_1: u8 = 0x07;
    pub const ZERO: u8 = 0x08;
    pub const POSITIVE_1: u8 = 0x09;
    pub const POSITIVE_2: u8 = 0x0A;
    pub const POSITIVE_4: u8 = 0x0B;
    pub const POSITIVE_8: u8 = 0x0C;
    pub const FLOAT64: u8 = 0x0D;
    pub const FALSE: u8 = 0x0E;
    pub const TRUE: u8 = 0x0F;
    pub const STRING: u8 = 0x10;
    pub const BYTES: u8 = 0x11;
    pub const ARRAY: u8 = 0x12;
    pub const OBJECT: u8 = 0x15;
}

const END: u8 = 0x00;
/// After `00`: a zero byte, or an empty name, not an end.
const ESCAPED: u8 = 0xFF;
const SIGN_BIT: u64 = 1 << 63;

/// The key of these parts.
pub fn encode(parts: &[Option<&Value>]) -> Vec<u8> {
    let mut key = Vec::with_capacity(16 * parts.len());
    for part in parts {
        push(&mut key, *part);
    }
    key
}

/// The key of a document in an index over these fields. A field that is missing is undefined.
pub fn encode_fields<'f>(document: &Object, fields: impl IntoIterator<Item = &'f FieldPath>) -> Vec<u8> {
    let mut key = Vec::with_capacity(64);
    for field in fields {
        push(&mut key, field.lookup(document));
    }
    key
}

/// Where the placeholder of the commit timestamp stands in the key of a document in an index over these fields: for each, where
/// the 8 bytes of its integer begin.
pub fn commit_timestamps(document: &Object, fields: &[FieldPath]) -> Vec<usize> {
    let mut other = document.clone();
    other.resolve_commit_timestamp(i64::MAX - 1);
    let (key, other) = (encode_fields(document, fields), encode_fields(&other, fields));
    debug_assert_eq!(key.len(), other.len(), "both integers have 8 bytes");
    // They differ in the last bit of each integer.
    let differing = key.iter().zip(&other).enumerate().filter(|(_, (one, two))| one != two);
    differing.map(|(position, _)| position - 7).collect()
}

/// Appends one part to a key.
pub fn push(key: &mut Vec<u8>, part: Option<&Value>) {
    match part {
        Some(value) => push_value(key, value),
        None => key.push(tag::UNDEFINED),
    }
}

fn push_value(key: &mut Vec<u8>, value: &Value) {
    match value {
        Value::Null => key.push(tag::NULL),
        Value::Int64(integer) => push_int64(key, *integer),
        Value::CommitTimestamp => push_int64(key, i64::MAX),
        Value::Float64(number) => {
            let bits = number.to_bits();
            let ordered = if bits & SIGN_BIT == 0 { bits | SIGN_BIT } else { !bits };
            key.push(tag::FLOAT64);
            key.extend_from_slice(&ordered.to_be_bytes());
        }
        Value::Boolean(boolean) => key.push(if *boolean { tag::TRUE } else { tag::FALSE }),
        Value::String(text) => {
            key.push(tag::STRING);
            push_escaped(key, text.as_bytes());
        }
        Value::Bytes(bytes) => {
            key.push(tag::BYTES);
            push_escaped(key, bytes);
        }
        Value::Array(members) => {
            key.push(tag::ARRAY);
            members.iter().for_each(|member| push_value(key, member));
            key.push(END);
        }
        Value::Object(object) => {
            key.push(tag::OBJECT);
            for (name, value) in object {
                if name.is_empty() {
                    key.extend_from_slice(&[END, ESCAPED]);
                } else {
                    push_escaped(key, name.as_bytes());
                }
                push_value(key, value);
            }
            key.push(END);
        }
    }
}

fn push_int64(key: &mut Vec<u8>, integer: i64) {
    let negative = integer < 0;
    if integer == 0 {
        key.push(tag::ZERO);
    } else if let Ok(integer) = i8::try_from(integer) {
        key.push(if negative { tag::NEGATIVE_1 } else { tag::POSITIVE_1 });
        key.extend_from_slice(&integer.to_be_bytes());
    } else if let Ok(integer) = i16::try_from(integer) {
        key.push(if negative { tag::NEGATIVE_2 } else { tag::POSITIVE_2 });
        key.extend_from_slice(&integer.to_be_bytes());
    } else if let Ok(integer) = i32::try_from(integer) {
        key.push(if negative { tag::NEGATIVE_4 } else { tag::POSITIVE_4 });
        key.extend_from_slice(&integer.to_be_bytes());
    } else {
        key.push(if negative { tag::NEGATIVE_8 } else { tag::POSITIVE_8 });
        key.extend_from_slice(&integer.to_be_bytes());
    }
}

fn push_escaped(key: &mut Vec<u8>, bytes: &[u8]) {
    let mut rest = bytes;
    // `contains` looks at many bytes at once, and most strings hold no zero.
    while rest.contains(&END)
        && let Some(position) = rest.iter().position(|byte| *byte == END)
    {
        key.extend_from_slice(&rest[..=position]);
        key.push(ESCAPED);
        rest = &rest[position + 1..];
    }
    key.extend_from_slice(rest);
    key.push(END);
}

/// The end of the half-open interval of the keys whose first parts are those of `prefix`, which begins at `prefix`.
///
/// It is the prefix and `FF`: a further part begins with a tag, which is smaller, while `00 FF` goes on inside a
/// string or an object that only begins as the prefix does. The empty prefix gives the end of all keys.
pub fn prefix_end(prefix: &[u8]) -> Vec<u8> {
    let mut end = Vec::with_capacity(prefix.len() + 1);
    end.extend_from_slice(prefix);
    end.push(ESCAPED);
    end
}

/// The first bytes after all that begin with `prefix`, which may be a key that was cut anywhere. `None` if nothing can
/// follow: for the empty prefix, or one of only `FF`.
pub fn byte_prefix_end(prefix: &[u8]) -> Option<Vec<u8>> {
    let last = prefix.iter().rposition(|byte| *byte != 0xFF)?;
    let mut end = prefix[..=last].to_vec();
    end[last] += 1;
    Some(end)
}

/// The first sequence of bytes after `key`, to open an interval behind it or to close one that holds it.
pub fn successor(key: &[u8]) -> Vec<u8> {
    let mut successor = Vec::with_capacity(key.len() + 1);
    successor.extend_from_slice(key);
    successor.push(0);
    successor
}

/// Bytes that are not a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the bytes are not an index key: {reason}")]
pub struct KeyError {
    reason: &'static str,
}

/// The parts of a key. Only bytes that [`encode`] produces are a key.
pub fn decode(key: &[u8]) -> Result<Vec<Option<Value>>, KeyError> {
    let mut reader = Reader { rest: key };
    let mut parts = Vec::new();
    while !reader.rest.is_empty() {
        if reader.rest[0] == tag::UNDEFINED {
            reader.rest = &reader.rest[1..];
            parts.push(None);
        } else {
            parts.push(Some(reader.value(VALUE_NESTING_MAX)?));
        }
    }
    Ok(parts)
}

struct Reader<'k> {
    rest: &'k [u8],
}

fn error<T>(reason: &'static str) -> Result<T, KeyError> {
    Err(KeyError { reason })
}

impl<'k> Reader<'k> {
    fn byte(&mut self) -> Result<u8, KeyError> {
        let Some((byte, rest)) = self.rest.split_first() else { return error("it ends too early") };
        self.rest = rest;
        Ok(*byte)
    }

    fn array<const LENGTH: usize>(&mut self) -> Result<[u8; LENGTH], KeyError> {
        let Some((bytes, rest)) = self.rest.split_first_chunk() else { return error("it ends too early") };
        self.rest = rest;
        Ok(*bytes)
    }

    /// Whether the innermost array or object ends here; if so, its end is read.
    fn at_end(&mut self) -> bool {
        let end = self.rest.first() == Some(&END) && self.rest.get(1) != Some(&ESCAPED);
        if end {
            self.rest = &self.rest[1..];
        }
        end
    }

    fn value(&mut self, nesting_left: usize) -> Result<Value, KeyError> {
        let tag = self.byte()?;
        let value = match tag {
            tag::NULL => Value::Null,
            tag::ZERO => Value::Int64(0),
            tag::NEGATIVE_1 | tag::POSITIVE_1 => Value::Int64(i8::from_be_bytes(self.array()?).into()),
            tag::NEGATIVE_2 | tag::POSITIVE_2 => Value::Int64(i16::from_be_bytes(self.array()?).into()),
            tag::NEGATIVE_4 | tag::POSITIVE_4 => Value::Int64(i32::from_be_bytes(self.array()?).into()),
            tag::NEGATIVE_8 | tag::POSITIVE_8 => Value::Int64(i64::from_be_bytes(self.array()?)),
            tag::FLOAT64 => {
                let ordered = u64::from_be_bytes(self.array()?);
                let bits = if ordered & SIGN_BIT == 0 { !ordered } else { ordered & !SIGN_BIT };
                Value::Float64(f64::from_bits(bits))
            }
            tag::FALSE => Value::Boolean(false),
            tag::TRUE => Value::Boolean(true),
            tag::STRING => Value::String(self.text()?),
            tag::BYTES => Value::Bytes(self.escaped()?),
            tag::ARRAY => {
                let Some(nesting_left) = nesting_left.checked_sub(1) else {
                    return error("it nests too deep");
                };
                let mut members = Vec::new();
                while !self.at_end() {
                    if members.len() == ARRAY_LENGTH_MAX {
                        return error("an array is too long");
                    }
                    members.push(self.value(nesting_left)?);
                }
                Value::Array(members)
            }
            tag::OBJECT => {
                let Some(nesting_left) = nesting_left.checked_sub(1) else {
                    return error("it nests too deep");
                };
                let mut object = Object::new();
                let mut last: Option<String> = None;
                while !self.at_end() {
                    let name = self.field_name()?;
                    if last.as_ref().is_some_and(|last| *last >= name) {
                        return error("fields are not in order");
                    }
                    if object.len() == OBJECT_FIELDS_MAX {
                        return error("an object has too many fields");
                    }
                    object.insert(name.clone(), self.value(nesting_left)?);
                    last = Some(name);
                }
                Value::Object(object)
            }
            _ => return error("there is no such tag"),
        };
        if let Value::Int64(integer) = value {
            check_int64_tag(tag, integer)?;
        }
        Ok(value)
    }

    fn field_name(&mut self) -> Result<String, KeyError> {
        if self.rest.starts_with(&[END, ESCAPED]) {
            self.rest = &self.rest[2..];
            return Ok(String::new());
        }
        let name = self.text()?;
        if name::check_field_name(&name).is_err() {
            return error("a field has an illegal name");
        }
        Ok(name)
    }

    fn text(&mut self) -> Result<String, KeyError> {
        String::from_utf8(self.escaped()?).or_else(|_| error("a string is not UTF-8"))
    }

    fn escaped(&mut self) -> Result<Vec<u8>, KeyError> {
        let mut bytes = Vec::new();
        loop {
            let Some(position) = self.rest.iter().position(|byte| *byte == END) else {
                return error("it ends too early");
            };
            bytes.extend_from_slice(&self.rest[..position]);
            self.rest = &self.rest[position + 1..];
            if self.rest.first() != Some(&ESCAPED) {
                return Ok(bytes);
            }
            bytes.push(END);
            self.rest = &self.rest[1..];
        }
    }
}

/// An integer has one spelling: the shortest.
fn check_int64_tag(tag: u8, integer: i64) -> Result<(), KeyError> {
    let mut canonical = Vec::with_capacity(9);
    push_int64(&mut canonical, integer);
    if canonical[0] == tag { Ok(()) } else { error("an integer is not in its shortest form") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_places_of_the_commit_timestamp_in_a_key_are_known() {
        let document = crate::object! {
            "a" => "text",
            "b" => vec![Value::CommitTimestamp, Value::Int64(i64::MAX), Value::CommitTimestamp],
            "c" => Value::CommitTimestamp,
        };
        let fields = |names: &[&str]| -> Vec<FieldPath> {
            names.iter().map(|name| name.parse().expect("a legal path")).collect()
        };
        for (names, count) in
            [(&["a"][..], 0), (&["c"], 1), (&["a", "c"], 1), (&["a", "b", "c"], 3), (&["d"], 0)]
        {
            let fields = fields(names);
            let mut key = encode_fields(&document, &fields);
            let places = commit_timestamps(&document, &fields);
            assert_eq!(places.len(), count, "{names:?}");
            for place in places {
                key[place..place + 8].copy_from_slice(&(1i64 << 60).to_be_bytes());
            }
            let mut resolved = document.clone();
            resolved.resolve_commit_timestamp(1 << 60);
            assert_eq!(key, encode_fields(&resolved, &fields), "{names:?}");
        }
    }

    #[test]
    fn known_keys() {
        for (value, bytes) in [
            (None, &[0x01][..]),
            (Some(Value::Null), &[0x03]),
            (Some(Value::Int64(0)), &[0x08]),
            (Some(Value::Int64(1)), &[0x09, 0x01]),
            (Some(Value::Int64(-1)), &[0x07, 0xFF]),
            (Some(Value::Int64(-129)), &[0x06, 0xFF, 0x7F]),
            (Some(Value::Int64(128)), &[0x0A, 0x00, 0x80]),
            (Some(Value::Int64(65536)), &[0x0B, 0x00, 0x01, 0x00, 0x00]),
            (Some(Value::Int64(i64::MIN)), &[0x04, 0x80, 0, 0, 0, 0, 0, 0, 0]),
            (Some(Value::CommitTimestamp), &[0x0C, 0x7F, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF]),
            (Some(Value::Float64(1.0)), &[0x0D, 0xBF, 0xF0, 0, 0, 0, 0, 0, 0]),
            (Some(Value::Float64(-1.0)), &[0x0D, 0x40, 0x0F, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF]),
            (Some(Value::Boolean(false)), &[0x0E]),
            (Some(Value::Boolean(true)), &[0x0F]),
            (Some("a\0b".into()), &[0x10, 0x61, 0x00, 0xFF, 0x62, 0x00]),
            (Some(Value::Bytes(vec![0])), &[0x11, 0x00, 0xFF, 0x00]),
            (Some(Value::Array(vec![])), &[0x12, 0x00]),
            (Some(object! {}.into()), &[0x15, 0x00]),
            (Some(object! {"" => Value::Null}.into()), &[0x15, 0x00, 0xFF, 0x03, 0x00]),
            (Some(object! {"a" => Value::Null}.into()), &[0x15, 0x61, 0x00, 0x03, 0x00]),
        ] {
            assert_eq!(encode(&[value.as_ref()]), bytes, "{value:?}");
            assert_eq!(decode(bytes), Ok(vec![value.clone()]), "{value:?}");
        }
    }

    #[test]
    fn bytes_that_no_value_gives_are_refused() {
        for bytes in [
            &[0x00][..],
            &[0x02],
            &[0x13],
            &[0xFF],
            &[0x09],
            &[0x09, 0x00],
            &[0x09, 0xFF],
            &[0x0A, 0x00, 0x7F],
            &[0x0D, 0x00],
            &[0x10, 0x61],
            &[0x10, 0xFF, 0x00],
            &[0x12],
            &[0x12, 0x01, 0x00],
            &[0x15, 0x62, 0x00, 0x03, 0x61, 0x00, 0x03, 0x00],
            &[0x15, 0x61, 0x00, 0x03, 0x61, 0x00, 0x03, 0x00],
            &[0x15, 0x24, 0x00, 0x03, 0x00],
        ] {
            assert!(decode(bytes).is_err(), "{bytes:?}");
        }
        assert!(decode(&[0x12; 100_000]).is_err(), "hostile nesting ends with an error");
    }

    #[test]
    fn an_interval_over_a_prefix_holds_what_begins_with_it() {
        for (prefix, outside) in [
            (Value::from("a"), vec![Value::from("a\0"), Value::from("a\0\0"), Value::from("b")]),
            (Value::Int64(-1), vec![Value::Int64(0), Value::Null]),
            (Value::Array(vec!["a".into()]), vec![Value::Array(vec!["a".into(), Value::Null])]),
            (object! {}.into(), vec![object! {"" => 1.0}.into(), object! {"a" => 1.0}.into()]),
            (object! {"a" => "x"}.into(), vec![object! {"a" => "x", "b" => 1.0}.into()]),
        ] {
            let start = encode(&[Some(&prefix)]);
            let interval = start.clone()..prefix_end(&start);
            for second in
                [None, Some(&Value::Null), Some(&Value::Int64(i64::MAX)), Some(&object! {"~" => 1.0}.into())]
            {
                assert!(interval.contains(&encode(&[Some(&prefix), second])), "{prefix:?} {second:?}");
            }
            for value in outside {
                assert!(!interval.contains(&encode(&[Some(&value)])), "{prefix:?} {value:?}");
            }
        }
        assert_eq!(byte_prefix_end(&[]), None);
        assert_eq!(byte_prefix_end(&[0xFF, 0xFF]), None);
        assert_eq!(byte_prefix_end(&[0x07, 0xFF]), Some(vec![0x08]));
        assert_eq!(successor(&[1]), [1, 0]);
    }

    #[test]
    fn a_documents_key_marks_missing_fields() {
        let fields: Vec<FieldPath> = ["a", "b.c", "_id"].map(|field| field.parse().expect("legal")).into();
        let document = object! {"a" => true, "_id" => "x"};
        assert_eq!(encode_fields(&document, &fields), [0x0F, 0x01, 0x10, 0x78, 0x00]);
    }
}
