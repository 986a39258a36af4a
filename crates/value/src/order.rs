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
