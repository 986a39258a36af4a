//! The canonical writer.

use base64::{Engine, engine::general_purpose::STANDARD};
use serde::{Serialize, Serializer, ser::SerializeMap};

use crate::{JsonFormat, Object, Value};

/// A value in a format.
pub(super) struct ValueJson<'v> {
    pub value: &'v Value,
    pub format: JsonFormat,
}

/// Whole numbers below this are exact in a Float64 and written without a fraction.
const WHOLE_MAX: f64 = 9_007_199_254_740_992.0;

fn is_negative_zero(number: f64) -> bool {
    number == 0.0 && number.is_sign_negative()
}

fn special<S: Serializer>(serializer: S, key: &'static str, bytes: &[u8]) -> Result<S::Ok, S::Error> {
    let mut map = serializer.serialize_map(Some(1))?;
    map.serialize_entry(key, &STANDARD.encode(bytes))?;
    map.end()
}

fn write<S: Serializer>(value: &Value, format: JsonFormat, serializer: S) -> Result<S::Ok, S::Error> {
    match value {
        Value::Null => serializer.serialize_unit(),
        Value::Boolean(boolean) => serializer.serialize_bool(*boolean),
        Value::String(text) => serializer.serialize_str(text),
        Value::Int64(integer) => match format {
            JsonFormat::ConvexEncoded => special(serializer, "$integer", &integer.to_le_bytes()),
            JsonFormat::Clean => serializer.collect_str(integer),
            JsonFormat::Export => serializer.serialize_i64(*integer),
        },
        Value::Float64(number) => write_float(*number, format, serializer),
        Value::Bytes(bytes) => match format {
            JsonFormat::Clean => serializer.serialize_str(&STANDARD.encode(bytes)),
            JsonFormat::ConvexEncoded | JsonFormat::Export => special(serializer, "$bytes", bytes),
        },
        Value::Array(members) => {
            serializer.collect_seq(members.iter().map(|member| borrowed(member, format)))
        }
        Value::Object(object) => write_object(object, format, serializer),
        Value::CommitTimestamp => {
            let mut map = serializer.serialize_map(Some(1))?;
            map.serialize_entry("$commitTs", &())?;
            map.end()
        }
    }
}

fn write_float<S: Serializer>(number: f64, format: JsonFormat, serializer: S) -> Result<S::Ok, S::Error> {
    if format == JsonFormat::Clean && !number.is_finite() {
        return serializer.serialize_str(match number {
            f64::INFINITY => "Infinity",
            f64::NEG_INFINITY => "-Infinity",
            _ => "NaN",
        });
    }
    if format != JsonFormat::Clean && (!number.is_finite() || is_negative_zero(number)) {
        return special(serializer, "$float", &number.to_le_bytes());
    }
    // Exports tell Int64 and Float64 apart by the fraction; everywhere else a number is a Float64, and without the
    // fraction it is shorter and is read faster.
    let whole = number.abs() < WHOLE_MAX && number.trunc() == number && !is_negative_zero(number);
    if whole && format != JsonFormat::Export {
        serializer.serialize_i64(number as i64)
    } else {
        serializer.serialize_f64(number)
    }
}

fn write_object<S: Serializer>(
    object: &Object,
    format: JsonFormat,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_map(object.iter().map(|(name, value)| (name, borrowed(value, format))))
}

fn borrowed(value: &Value, format: JsonFormat) -> ValueJson<'_> {
    ValueJson { value, format }
}

impl Serialize for ValueJson<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        write(self.value, self.format, serializer)
    }
}

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        write(self, JsonFormat::ConvexEncoded, serializer)
    }
}

impl Serialize for Object {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        write_object(self, JsonFormat::ConvexEncoded, serializer)
    }
}
