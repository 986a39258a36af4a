//! Values as messages: from the bytes of a `Value` to what functions take, and back.
//!
//! They are read here, and not by generated code, since that knows neither the limits of values nor their codes, gives up on what nests
//! deeply, and would build a second tree. The generated types hold a `Value` as its bytes, which are the same on the wire.

use bytes::Bytes;
use prost::encoding::{
    DecodeContext, WireType, decode_key, decode_varint, encode_key, encode_varint, encoded_len_varint,
    skip_field,
};
use value::{ARRAY_LENGTH_MAX, OBJECT_FIELDS_MAX, Object, VALUE_NESTING_MAX, Value, ValueError};

/// The fields of a `Value`, as deployment.proto numbers them.
const NULL: u32 = 1;
const INT64: u32 = 2;
const FLOAT64: u32 = 3;
const BOOLEAN: u32 = 4;
const STRING: u32 = 5;
const BYTES: u32 = 6;
const ARRAY: u32 = 7;
const OBJECT: u32 = 8;

/// Of an `Array` its members, of an `Object` its fields.
const MEMBERS: u32 = 1;
/// Of a field.
const NAME: u32 = 1;
const VALUE: u32 = 2;

/// All of these numbers are small, so that the key of a field is one byte.
const KEY_BYTES: usize = 1;

const MALFORMED: ValueError = ValueError::InvalidEncoding { reason: "a message `Value` can't be read" };
const NO_KIND: ValueError =
    ValueError::InvalidEncoding { reason: "a message `Value` has no kind, or one that is not known here" };

/// Reads a message `Value`. Names of fields are still to be checked ([`Value::check`]).
pub(super) fn decode(message: &[u8]) -> Result<Value, ValueError> {
    value(message, VALUE_NESTING_MAX)
}

/// As protobuf has it: of several kinds the last one counts, and unknown fields are passed over.
fn value(mut message: &[u8], nesting_left: usize) -> Result<Value, ValueError> {
    let mut value = None;
    while !message.is_empty() {
        let (tag, wire_type) = key(&mut message)?;
        value = Some(match (tag, wire_type) {
            (NULL, WireType::LengthDelimited) => {
                delimited(&mut message)?;
                Value::Null
            }
            // Negative numbers are those of two's complement.
            (INT64, WireType::Varint) => Value::Int64(varint(&mut message)? as i64),
            (FLOAT64, WireType::SixtyFourBit) => {
                let (bits, rest) = message.split_first_chunk().ok_or(MALFORMED)?;
                message = rest;
                Value::Float64(f64::from_bits(u64::from_le_bytes(*bits)))
            }
            (BOOLEAN, WireType::Varint) => Value::Boolean(varint(&mut message)? != 0),
            (STRING, WireType::LengthDelimited) => Value::String(text(delimited(&mut message)?)?),
            (BYTES, WireType::LengthDelimited) => Value::Bytes(delimited(&mut message)?.to_vec()),
            (ARRAY, WireType::LengthDelimited) => array(delimited(&mut message)?, below(nesting_left)?)?,
            (OBJECT, WireType::LengthDelimited) => object(delimited(&mut message)?, below(nesting_left)?)?,
            (NULL..=OBJECT, _) => return Err(MALFORMED),
            _ => {
                skip(tag, wire_type, &mut message)?;
                continue;
            }
        });
    }
    value.ok_or(NO_KIND)
}

fn array(mut message: &[u8], nesting_left: usize) -> Result<Value, ValueError> {
    let mut members = Vec::new();
    while !message.is_empty() {
        match key(&mut message)? {
            (MEMBERS, WireType::LengthDelimited) => {
                if members.len() == ARRAY_LENGTH_MAX {
                    return Err(ValueError::ArrayTooLong);
                }
                members.push(value(delimited(&mut message)?, nesting_left)?);
            }
            (tag, wire_type) => skip(tag, wire_type, &mut message)?,
        }
    }
    Ok(Value::Array(members))
}

fn object(mut message: &[u8], nesting_left: usize) -> Result<Value, ValueError> {
    let mut object = Object::new();
    while !message.is_empty() {
        match key(&mut message)? {
            (MEMBERS, WireType::LengthDelimited) => {
                let (name, value) = field(delimited(&mut message)?, nesting_left)?;
                object.insert(name, value);
                if object.len() > OBJECT_FIELDS_MAX {
                    return Err(ValueError::TooManyFields);
                }
            }
            (tag, wire_type) => skip(tag, wire_type, &mut message)?,
        }
    }
    Ok(Value::Object(object))
}

/// An entry of the map. A name that is absent is the empty one.
fn field(mut message: &[u8], nesting_left: usize) -> Result<(String, Value), ValueError> {
    let (mut name, mut held) = (String::new(), None);
    while !message.is_empty() {
        match key(&mut message)? {
            (NAME, WireType::LengthDelimited) => name = text(delimited(&mut message)?)?,
            (VALUE, WireType::LengthDelimited) => {
                held = Some(value(delimited(&mut message)?, nesting_left)?);
            }
            (tag, wire_type) => skip(tag, wire_type, &mut message)?,
        }
    }
    Ok((name, held.ok_or(NO_KIND)?))
}

fn below(nesting_left: usize) -> Result<usize, ValueError> {
    nesting_left.checked_sub(1).ok_or(ValueError::TooNested)
}

fn key(message: &mut &[u8]) -> Result<(u32, WireType), ValueError> {
    decode_key(message).map_err(|_| MALFORMED)
}

fn varint(message: &mut &[u8]) -> Result<u64, ValueError> {
    decode_varint(message).map_err(|_| MALFORMED)
}

fn delimited<'m>(message: &mut &'m [u8]) -> Result<&'m [u8], ValueError> {
    let length = usize::try_from(varint(message)?).map_err(|_| MALFORMED)?;
    let (content, rest) = message.split_at_checked(length).ok_or(MALFORMED)?;
    *message = rest;
    Ok(content)
}

fn text(content: &[u8]) -> Result<String, ValueError> {
    const REASON: &str = "a string of a message `Value` is not UTF-8";
    let text = std::str::from_utf8(content).map_err(|_| ValueError::InvalidEncoding { reason: REASON })?;
    Ok(text.to_owned())
}

fn skip(tag: u32, wire_type: WireType, message: &mut &[u8]) -> Result<(), ValueError> {
    skip_field(wire_type, tag, message, DecodeContext::default()).map_err(|_| MALFORMED)
}

/// The message `Value` that stands for a value.
pub(super) fn encode(value: &Value) -> Bytes {
    let mut lengths = Vec::new();
    let length = measure(value, &mut lengths);
    let mut message = Vec::with_capacity(length);
    write(value, &mut &lengths[..], &mut message);
    assert_eq!(message.len(), length, "a value is as long as it was measured");
    message.into()
}

/// The length of the message. Those of arrays and objects within it are noted in the order in which they begin, so that
/// none is measured twice.
fn measure(value: &Value, lengths: &mut Vec<usize>) -> usize {
    let scalar = |content: usize| KEY_BYTES + content;
    match value {
        Value::Null => scalar(encoded_len_varint(0)),
        Value::Boolean(boolean) => scalar(encoded_len_varint((*boolean).into())),
        Value::Int64(integer) => scalar(encoded_len_varint(*integer as u64)),
        Value::Float64(_) => scalar(size_of::<u64>()),
        Value::String(text) => delimited_length(text.len()),
        Value::Bytes(bytes) => delimited_length(bytes.len()),
        Value::Array(members) => {
            let at = begin(lengths);
            let length = members.iter().map(|member| delimited_length(measure(member, lengths))).sum();
            lengths[at] = length;
            delimited_length(length)
        }
        Value::Object(object) => {
            let at = begin(lengths);
            let fields = object.iter().map(|(name, value)| {
                let at = begin(lengths);
                let length = delimited_length(name.len()) + delimited_length(measure(value, lengths));
                lengths[at] = length;
                delimited_length(length)
            });
            let length = fields.sum();
            lengths[at] = length;
            delimited_length(length)
        }
        Value::CommitTimestamp => unreachable!("what a function returns was committed before"),
    }
}

/// A place for a length that is known later.
fn begin(lengths: &mut Vec<usize>) -> usize {
    lengths.push(0);
    lengths.len() - 1
}

fn delimited_length(content: usize) -> usize {
    KEY_BYTES + encoded_len_varint(content as u64) + content
}

fn write(value: &Value, lengths: &mut &[usize], message: &mut Vec<u8>) {
    match value {
        Value::Null => write_delimited(NULL, &[], message),
        Value::Int64(integer) => write_varint(INT64, *integer as u64, message),
        Value::Float64(number) => {
            encode_key(FLOAT64, WireType::SixtyFourBit, message);
            message.extend_from_slice(&number.to_bits().to_le_bytes());
        }
        Value::Boolean(boolean) => write_varint(BOOLEAN, (*boolean).into(), message),
        Value::String(text) => write_delimited(STRING, text.as_bytes(), message),
        Value::Bytes(bytes) => write_delimited(BYTES, bytes, message),
        Value::Array(members) => {
            write_head(ARRAY, next(lengths), message);
            for member in members {
                write_head(MEMBERS, length_of(member, lengths), message);
                write(member, lengths, message);
            }
        }
        Value::Object(object) => {
            write_head(OBJECT, next(lengths), message);
            for (name, value) in object {
                write_head(MEMBERS, next(lengths), message);
                write_delimited(NAME, name.as_bytes(), message);
                write_head(VALUE, length_of(value, lengths), message);
                write(value, lengths, message);
            }
        }
        Value::CommitTimestamp => unreachable!("it was measured"),
    }
}

/// The length of a value's message; of arrays and objects that follows from what was noted.
fn length_of(value: &Value, lengths: &[usize]) -> usize {
    match value {
        Value::Array(_) | Value::Object(_) => delimited_length(lengths[0]),
        scalar => measure(scalar, &mut Vec::new()),
    }
}

fn next(lengths: &mut &[usize]) -> usize {
    let (next, rest) = lengths.split_first().expect("each is written as it was measured");
    *lengths = rest;
    *next
}

fn write_varint(tag: u32, number: u64, message: &mut Vec<u8>) {
    encode_key(tag, WireType::Varint, message);
    encode_varint(number, message);
}

fn write_delimited(tag: u32, content: &[u8], message: &mut Vec<u8>) {
    write_head(tag, content.len(), message);
    message.extend_from_slice(content);
}

fn write_head(tag: u32, length: usize, message: &mut Vec<u8>) {
    encode_key(tag, WireType::LengthDelimited, message);
    encode_varint(length as u64, message);
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};
    use prost::Message as _;
    use proto::deployment::v1::{self as wire, value::Kind};

    use super::*;

    fn scalar() -> impl Strategy<Value = Value> {
        let edges = [0.0, -0.0, f64::NAN, -f64::NAN, f64::INFINITY, f64::NEG_INFINITY, f64::MIN_POSITIVE];
        prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::Boolean),
            any::<i64>().prop_map(Value::Int64),
            proptest::sample::select(vec![i64::MIN, -1, 0, 1, i64::MAX]).prop_map(Value::Int64),
            any::<u64>().prop_map(|bits| Value::Float64(f64::from_bits(bits))),
            proptest::sample::select(edges.to_vec()).prop_map(Value::Float64),
            any::<String>().prop_map(Value::String),
            vec(any::<u8>(), 0..300).prop_map(Value::Bytes),
        ]
    }

    fn any_value() -> impl Strategy<Value = Value> {
        let name = prop_oneof![Just(String::new()), "[ -#%-~][ -~]{0,150}"];
        scalar().prop_recursive(6, 60, 6, move |inner| {
            prop_oneof![
                vec(inner.clone(), 0..6).prop_map(Value::Array),
                vec((name.clone(), inner), 0..6)
                    .prop_map(|fields| Value::Object(fields.into_iter().collect())),
            ]
        })
    }

    /// What generated code makes of a value.
    fn generated(value: &Value) -> wire::Value {
        let kind = match value {
            Value::Null => Kind::NullValue(wire::Null {}),
            Value::Int64(integer) => Kind::Int64Value(*integer),
            Value::Float64(number) => Kind::Float64Value(*number),
            Value::Boolean(boolean) => Kind::BooleanValue(*boolean),
            Value::String(text) => Kind::StringValue(text.clone()),
            Value::Bytes(bytes) => Kind::BytesValue(bytes.clone().into()),
            Value::Array(members) => {
                Kind::ArrayValue(wire::Array { values: members.iter().map(generated).collect() })
            }
            Value::Object(object) => {
                let fields = object.iter().map(|(name, value)| (name.clone(), generated(value)));
                Kind::ObjectValue(wire::Object { fields: fields.collect() })
            }
            Value::CommitTimestamp => unreachable!("none is made"),
        };
        wire::Value { kind: Some(kind) }
    }

    fn nested(levels: usize, by: fn(Value) -> Value) -> Value {
        (0..levels).fold(Value::Null, |inner, _| by(inner))
    }

    fn in_array(inner: Value) -> Value {
        Value::Array(vec![inner])
    }

    fn in_object(inner: Value) -> Value {
        Value::Object(Object::from_iter([("a".to_owned(), inner)]))
    }

    fn code(result: Result<Value, ValueError>) -> &'static str {
        result.expect_err("it is refused").code()
    }

    proptest! {
        #[test]
        fn a_value_comes_back_as_it_was_bit_by_bit(value in any_value()) {
            let message = encode(&value);
            prop_assert_eq!(decode(&message).expect("legal"), value);
        }

        #[test]
        fn generated_code_writes_and_reads_the_same(value in any_value()) {
            let theirs = generated(&value).encode_to_vec();
            prop_assert_eq!(&decode(&theirs).expect("legal"), &value);
            let read = wire::Value::decode(encode(&value)).expect("legal");
            // Floats are compared by their bits.
            prop_assert_eq!(read.encode_to_vec(), theirs);
        }

        #[test]
        fn any_bytes_are_a_value_or_an_error(bytes in vec(any::<u8>(), 0..200)) {
            if let Ok(value) = decode(&bytes) {
                prop_assert_eq!(decode(&encode(&value)).expect("legal"), value);
            }
        }

        #[test]
        fn a_value_that_is_cut_off_or_changed_is_another_one_or_an_error(
            value in any_value(), at in any::<proptest::sample::Index>(), by in 1u8..,
        ) {
            let message = encode(&value);
            let at = at.index(message.len());
            let _ = decode(&message[..at]);
            let mut changed = message.to_vec();
            changed[at] ^= by;
            let _ = decode(&changed);
        }
    }

    #[test]
    fn values_nest_as_deeply_as_the_format_of_values_has_it() {
        for by in [in_array, in_object] {
            let deepest = nested(VALUE_NESTING_MAX, by);
            assert_eq!(decode(&encode(&deepest)).expect("legal"), deepest);
            assert_eq!(code(decode(&encode(&nested(VALUE_NESTING_MAX + 1, by)))), "TooNestedError");
            // Far more than there is stack for.
            assert_eq!(code(decode(&tower(100_000))), "TooNestedError");
        }
    }

    /// Arrays within each other, from the innermost outward.
    fn tower(levels: usize) -> Vec<u8> {
        let mut reversed = Vec::new();
        for _ in 0..levels {
            for tag in [MEMBERS, ARRAY] {
                let mut head = Vec::new();
                write_head(tag, reversed.len(), &mut head);
                reversed.extend(head.into_iter().rev());
            }
        }
        reversed.reverse();
        // The outermost is a value, not a member.
        reversed
    }

    #[test]
    fn arrays_and_objects_have_as_many_members_as_they_may() {
        let array = |length| Value::Array(vec![Value::Null; length]);
        assert!(decode(&encode(&array(ARRAY_LENGTH_MAX))).is_ok());
        assert_eq!(code(decode(&encode(&array(ARRAY_LENGTH_MAX + 1)))), "ArrayTooLong");
        let object = |length: usize| {
            Value::Object((0..length).map(|number| (format!("f{number}"), Value::Null)).collect())
        };
        assert!(decode(&encode(&object(OBJECT_FIELDS_MAX))).is_ok());
        assert_eq!(code(decode(&encode(&object(OBJECT_FIELDS_MAX + 1)))), "TooManyFieldsError");
    }

    #[test]
    fn what_is_no_value_is_refused_by_code() {
        for message in [
            // Nothing; an unknown kind; a member without a kind; a field without a value.
            &[][..],
            &[0x4A, 0],
            &[0x3A, 2, 0x0A, 0],
            &[0x42, 2, 0x0A, 0],
            // Another wire type than the kind has; a length beyond the end; half a number; no UTF-8.
            &[0x08, 1],
            &[0x2A, 5, b'a'],
            &[0x19, 0, 0],
            &[0x2A, 1, 0xFF],
            // No key; a group that does not end.
            &[0xFF],
            &[0x4B, 0x08, 1],
        ] {
            assert_eq!(code(decode(message)), "InvalidValueEncoding", "{message:?}");
        }
    }

    #[test]
    fn unknown_fields_are_passed_over_and_the_last_kind_counts() {
        let unknown = [0x20, 1, 0x4A, 1, b'x', 0x10, 7];
        assert_eq!(decode(&unknown).expect("legal"), Value::Int64(7));
    }
}
