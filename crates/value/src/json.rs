//! Values as JSON text.
//!
//! The internal form, *convex-encoded* JSON, is lossless. What plain JSON lacks is an object with one key that begins
//! with `$`: `{"$integer": …}` and `{"$float": …}` hold eight little-endian bytes in base64, `{"$bytes": …}` any
//! bytes, `{"$commitTs": null}` is the placeholder of the commit timestamp. `$float` stands for NaN, the infinities
//! and -0 only; every other Float64 is a JSON number, with or without a fraction. No field begins with `$`.
//!
//! Serde's `Serialize` and `Deserialize` of [`Value`] and [`Object`] are this form, without the placeholder on the way
//! in; so values may stand in messages. The functions of this module say what exactly was wrong, in a
//! [`ValueError`]; `Deserialize` puts its code and text into the message.

mod fractions;
mod parse;
mod write;

pub use fractions::push_with_fractions;

use std::{collections::BTreeMap, fmt, str::FromStr};

use serde::Serialize;

use crate::{Object, Value, ValueError, error::excerpt};

/// How values are written as JSON.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum JsonFormat {
    /// Lossless, what clients and storage use: `convex_encoded_json`, also `convex_json`.
    #[default]
    ConvexEncoded,
    /// Lossy, for people and other languages: `json`, also `convex_clean_json`. Int64 becomes a decimal string, bytes
    /// base64, NaN and the infinities strings. On the way in there are only JSON's own types, and numbers are Float64.
    Clean,
    /// What exports hold: `export_json`. A number without fraction and exponent is an Int64, any other a Float64; the
    /// special floats and bytes are as in the lossless form.
    Export,
}

impl JsonFormat {
    /// The name by which requests ask for it.
    pub fn name(self) -> &'static str {
        match self {
            JsonFormat::ConvexEncoded => "convex_encoded_json",
            JsonFormat::Clean => "json",
            JsonFormat::Export => "export_json",
        }
    }
}

impl FromStr for JsonFormat {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        match text {
            "convex_encoded_json" | "convex_json" => Ok(JsonFormat::ConvexEncoded),
            "json" | "convex_clean_json" => Ok(JsonFormat::Clean),
            "export_json" => Ok(JsonFormat::Export),
            _ => Err(ValueError::InvalidFormat { text: excerpt(text) }),
        }
    }
}

impl fmt::Display for JsonFormat {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

crate::name::serde_as_text!(JsonFormat);

/// What is placed where a value or undefined, `{"$undefined": null}`, may stand: literals of filters, index bounds. The
/// placeholder of the commit timestamp is allowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ValueOrUndefined(pub Option<Value>);

/// The argument of a patch: `None` removes the field. The placeholder of the commit timestamp is allowed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Patch(pub BTreeMap<String, Option<Value>>);

impl Value {
    /// Parses convex-encoded JSON that came from outside: the placeholder of the commit timestamp is refused.
    pub fn from_json(text: &str) -> Result<Self, ValueError> {
        parse::from_json(text, JsonFormat::ConvexEncoded, false)
    }

    /// Parses convex-encoded JSON that came from a mutation, where the placeholder may stand.
    pub fn from_json_with_placeholder(text: &str) -> Result<Self, ValueError> {
        parse::from_json(text, JsonFormat::ConvexEncoded, true)
    }

    /// Parses JSON in the format that a request names; the placeholder is refused.
    pub fn from_json_in(text: &str, format: JsonFormat) -> Result<Self, ValueError> {
        parse::from_json(text, format, false)
    }

    /// As [`Value::from_json_with_placeholder`], for JSON that was parsed already.
    pub fn from_serde_json_with_placeholder(json: serde_json::Value) -> Result<Self, ValueError> {
        parse::from_serde_json(json, JsonFormat::ConvexEncoded, true)
    }

    /// As [`Value::from_json_in`], for JSON that was parsed already.
    pub fn from_serde_json(json: serde_json::Value, format: JsonFormat) -> Result<Self, ValueError> {
        parse::from_serde_json(json, format, false)
    }

    /// The canonical convex-encoded text: fields in the order of their names, no white space, numbers in the shortest
    /// form that gives the same Float64, whole ones below 2^53 without a fraction.
    pub fn to_json(&self) -> String {
        self.to_json_in(JsonFormat::ConvexEncoded)
    }

    /// The canonical text in a format.
    pub fn to_json_in(&self, format: JsonFormat) -> String {
        serde_json::to_string(&self.as_json(format))
            .expect("values have string keys and the writer is memory")
    }

    /// The value as JSON in a format, for use inside messages.
    pub fn as_json(&self, format: JsonFormat) -> impl Serialize + '_ {
        write::ValueJson { value: self, format }
    }

    /// The convex-encoded value as a JSON tree.
    pub fn to_serde_json(&self) -> serde_json::Value {
        serde_json::to_value(self).expect("values have string keys and finite numbers")
    }
}

/// The canonical text of the placeholder of the commit timestamp. No other text of canonical JSON holds it: within a string its
/// quotation marks would be escaped.
pub const COMMIT_TIMESTAMP_JSON: &str = r#"{"$commitTs":null}"#;

/// Puts the timestamp of the commit, in nanoseconds, in place of every placeholder in canonical JSON.
pub fn resolve_commit_timestamp(json: &str, timestamp: i64) -> String {
    json.replace(COMMIT_TIMESTAMP_JSON, &Value::Int64(timestamp).to_json())
}

impl Object {
    /// Parses convex-encoded JSON that must be an object; the placeholder is refused.
    pub fn from_json(text: &str) -> Result<Self, ValueError> {
        Value::from_json(text)?
            .into_object()
            .map_err(|other| ValueError::NotADocument { type_name: other.type_name() })
    }

    /// The canonical convex-encoded text; see [`Value::to_json`].
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("values have string keys and the writer is memory")
    }
}

impl ValueOrUndefined {
    /// Parses JSON text. Fails as [`Value::from_json`] does.
    pub fn from_json(text: &str) -> Result<Self, ValueError> {
        parse::value_or_undefined(text)
    }
}

impl Patch {
    /// Parses JSON text of an object. Fails as [`Value::from_json`] does.
    pub fn from_json(text: &str) -> Result<Self, ValueError> {
        parse::patch(text)
    }

    /// Sets and removes fields of a document; what the patch doesn't name stays.
    pub fn apply(self, document: &mut Object) {
        for (name, value) in self.0 {
            match value {
                Some(value) => document.insert(name, value),
                None => document.remove(&name),
            };
        }
    }
}
