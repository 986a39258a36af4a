//! The total order of values: by type, then within the type. Index keys have the same order, byte by byte.

use std::cmp::Ordering;

use crate::Value;

impl Value {
    fn type_rank(&self) -> u8 {
        match self {
            Value::Null => 0,
            Value::Int64(_) | Value::CommitTimestamp => 1,
            Value::Float64(_) => 2,
            Value::Boolean(_) => 3,
            Value::String(_) => 4,
            Value::Bytes(_) => 5,
            Value::Array(_) => 6,
            Value::Object(_) => 7,
        }
    }
}

impl Ord for Value {
    /// null < Int64 < Float64 < Boolean < String < Bytes < Array < Object. There is no comparison of numbers across
    /// types: every Int64 sorts before every Float64. Floats have the total order of IEEE 754 (-NaN first, NaN last),
    /// strings that of their UTF-8 bytes, objects that of their sequences of (name, value).
    fn cmp(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Value::Int64(left), Value::Int64(right)) => left.cmp(right),
            (Value::Int64(left), Value::CommitTimestamp) => left.cmp(&i64::MAX),
            (Value::CommitTimestamp, Value::Int64(right)) => i64::MAX.cmp(right),
            (Value::Float64(left), Value::Float64(right)) => left.total_cmp(right),
            (Value::Boolean(left), Value::Boolean(right)) => left.cmp(right),
            (Value::String(left), Value::String(right)) => left.cmp(right),
            (Value::Bytes(left), Value::Bytes(right)) => left.cmp(right),
            (Value::Array(left), Value::Array(right)) => left.cmp(right),
            (Value::Object(left), Value::Object(right)) => left.cmp(right),
            _ => self.type_rank().cmp(&other.type_rank()),
        }
    }
}

impl PartialOrd for Value {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Value {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Value {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key;

    #[test]
    fn every_type_and_edge_in_order() {
        let ascending: Vec<Option<Value>> = vec![
            None,
            Some(Value::Null),
            Some(Value::Int64(i64::MIN)),
            Some(Value::Int64(-1)),
            Some(Value::Int64(0)),
            Some(Value::Int64(i64::MAX)),
            Some(Value::Float64(-f64::NAN)),
            Some(Value::Float64(f64::NEG_INFINITY)),
            Some(Value::Float64(-1.0)),
            Some(Value::Float64(-5e-324)),
            Some(Value::Float64(-0.0)),
            Some(Value::Float64(0.0)),
            Some(Value::Float64(5e-324)),
            Some(Value::Float64(f64::INFINITY)),
            Some(Value::Float64(f64::NAN)),
            Some(Value::Boolean(false)),
            Some(Value::Boolean(true)),
            Some(Value::from("")),
            Some(Value::from("\0")),
            Some(Value::from("a")),
            Some(Value::from("a\0")),
            Some(Value::from("aa")),
            Some(Value::from("\u{FFFF}")),
            Some(Value::from("\u{10000}")),
            Some(Value::Bytes(vec![])),
            Some(Value::Bytes(vec![0])),
            Some(Value::Bytes(vec![0, 0])),
            Some(Value::Bytes(vec![0xFF])),
            Some(Value::Array(vec![])),
            Some(Value::Array(vec![Value::Null])),
            Some(Value::Array(vec![Value::Null, Value::Null])),
            Some(Value::Array(vec![Value::Array(vec![])])),
            Some(object! {}.into()),
            Some(object! {"" => Value::Null}.into()),
            Some(object! {"a" => Value::Null}.into()),
            Some(object! {"a" => Value::Null, "b" => Value::Null}.into()),
            Some(object! {"a" => 1.0}.into()),
            Some(object! {"aa" => Value::Null}.into()),
            Some(object! {"b" => Value::Null}.into()),
        ];
        for (left_position, left) in ascending.iter().enumerate() {
            for (right_position, right) in ascending.iter().enumerate() {
                let expected = left_position.cmp(&right_position);
                assert_eq!(left.cmp(right), expected, "{left:?} and {right:?}");
                let (left, right) = (key::encode(&[left.as_ref()]), key::encode(&[right.as_ref()]));
                assert_eq!(left.cmp(&right), expected, "{left:?} and {right:?}");
            }
        }
    }
}
