//! The strict parser: one pass over the text, straight into values.
//!
//! Serde's errors hold only text, so the visitors leave the [`ValueError`] in a cell beside them and stop.

use std::{cell::Cell, collections::BTreeMap, fmt};

use crate::limits::{ARRAY_LENGTH_MAX, OBJECT_FIELDS_MAX, VALUE_NESTING_MAX};
use base64::{Engine, engine::general_purpose::STANDARD};
use serde::{
    Deserialize, Deserializer,
    de::{DeserializeSeed, Error, IgnoredAny, MapAccess, SeqAccess, Visitor},
};

use crate::{JsonFormat, Object, Patch, Value, ValueError, ValueOrUndefined, error::excerpt, name};

pub(super) fn from_json(
    text: &str,
    format: JsonFormat,
    placeholder_allowed: bool,
) -> Result<Value, ValueError> {
    let rules = Rules::new(format, placeholder_allowed);
    read(text, &rules, Node::top(&rules))
}

pub(super) fn from_serde_json(
    json: serde_json::Value,
    format: JsonFormat,
    placeholder_allowed: bool,
) -> Result<Value, ValueError> {
    let rules = Rules::new(format, placeholder_allowed);
    Node::top(&rules).deserialize(json).map_err(|error| rules.fault(error))
}

pub(super) fn value_or_undefined(text: &str) -> Result<ValueOrUndefined, ValueError> {
    let rules = Rules::new(JsonFormat::ConvexEncoded, true);
    read(text, &rules, OrUndefined(Node::top(&rules))).map(ValueOrUndefined)
}

pub(super) fn patch(text: &str) -> Result<Patch, ValueError> {
    if !text.trim_start().starts_with('{') {
        let type_name = from_json(text, JsonFormat::ConvexEncoded, true)?.type_name();
        return Err(ValueError::NotAPatch { type_name });
    }
    let rules = Rules::new(JsonFormat::ConvexEncoded, true);
    read(text, &rules, PatchFields { rules: &rules }).map(Patch)
}

fn read<'t, S: DeserializeSeed<'t>>(text: &'t str, rules: &Rules, seed: S) -> Result<S::Value, ValueError> {
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let value = seed.deserialize(&mut deserializer).map_err(|error| rules.fault(error))?;
    deserializer.end().map_err(|error| rules.fault(error))?;
    Ok(value)
}

/// What holds for the whole text, and what went wrong in it.
struct Rules {
    format: JsonFormat,
    placeholder_allowed: bool,
    fault: Cell<Option<ValueError>>,
}

impl Rules {
    fn new(format: JsonFormat, placeholder_allowed: bool) -> Self {
        Self { format, placeholder_allowed, fault: Cell::new(None) }
    }

    /// Stops the parser; `fault` or `carry` pick the error up.
    fn stop<E: Error>(&self, error: ValueError) -> E {
        self.fault.set(Some(error));
        E::custom("")
    }

    fn fault(&self, error: serde_json::Error) -> ValueError {
        self.fault.take().unwrap_or_else(|| ValueError::of_json(&error))
    }

    fn carry<E: Error>(&self, error: E) -> E {
        match self.fault.take() {
            Some(fault) => E::custom(format_args!("{}: {fault}", fault.code())),
            None => error,
        }
    }
}

/// One value of the text.
#[derive(Clone, Copy)]
struct Node<'r> {
    rules: &'r Rules,
    nesting_left: usize,
}

impl<'r> Node<'r> {
    fn top(rules: &'r Rules) -> Self {
        Self { rules, nesting_left: VALUE_NESTING_MAX }
    }

    fn member<E: Error>(self) -> Result<Self, E> {
        match self.nesting_left.checked_sub(1) {
            Some(nesting_left) => Ok(Self { nesting_left, ..self }),
            None => Err(self.rules.stop(ValueError::TooNested)),
        }
    }

    /// The rest of an object of which the first key is read.
    fn object<'t, A: MapAccess<'t>>(self, first: Option<Key>, mut map: A) -> Result<Value, A::Error> {
        let mut next = match first {
            Some(Key::Field(name)) => Some(name),
            Some(Key::Special(special)) => return self.special(special, map),
            Some(Key::Undefined) => return Err(self.rules.stop(UNDEFINED_NOT_ALLOWED)),
            None => None,
        };
        let member = self.member()?;
        let mut fields = BTreeMap::new();
        while let Some(name) = next {
            if fields.len() == OBJECT_FIELDS_MAX {
                return Err(self.rules.stop(ValueError::TooManyFields));
            }
            let value = map.next_value_seed(member)?;
            insert(&mut fields, name, value, self.rules)?;
            next = next_field(&mut map, self.rules)?;
        }
        Ok(Value::Object(Object::from_fields(fields)))
    }

    /// The only value of an object with a special key.
    fn special<'t, A: MapAccess<'t>>(self, special: Special, mut map: A) -> Result<Value, A::Error> {
        let value = map.next_value_seed(Payload { special, rules: self.rules })?;
        match map.next_key::<IgnoredAny>()? {
            None => Ok(value),
            Some(_) => Err(self.rules.stop(SECOND_KEY)),
        }
    }
}

const UNDEFINED_NOT_ALLOWED: ValueError =
    ValueError::InvalidEncoding { reason: "undefined may not stand here" };
const SECOND_KEY: ValueError =
    ValueError::InvalidEncoding { reason: "an object with a key that begins with `$` has one key only" };

fn insert<T, E: Error>(
    fields: &mut BTreeMap<String, T>,
    name: String,
    value: T,
    rules: &Rules,
) -> Result<(), E> {
    match fields.entry(name) {
        std::collections::btree_map::Entry::Vacant(entry) => {
            entry.insert(value);
            Ok(())
        }
        std::collections::btree_map::Entry::Occupied(entry) => {
            Err(rules.stop(ValueError::DuplicateField { name: excerpt(entry.key()) }))
        }
    }
}

/// The next key of an object that is known to be one of fields.
fn next_field<'t, A: MapAccess<'t>>(map: &mut A, rules: &Rules) -> Result<Option<String>, A::Error> {
    match map.next_key_seed(KeySeed { rules })? {
        Some(Key::Field(name)) => Ok(Some(name)),
        Some(_) => Err(rules.stop(SECOND_KEY)),
        None => Ok(None),
    }
}

impl<'t> DeserializeSeed<'t> for Node<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'t>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'t> Visitor<'t> for Node<'_> {
    type Value = Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a value")
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_some<D: Deserializer<'t>>(self, deserializer: D) -> Result<Value, D::Error> {
        self.deserialize(deserializer)
    }

    fn visit_bool<E: Error>(self, boolean: bool) -> Result<Value, E> {
        Ok(Value::Boolean(boolean))
    }

    fn visit_i64<E: Error>(self, integer: i64) -> Result<Value, E> {
        Ok(match self.rules.format {
            JsonFormat::Export => Value::Int64(integer),
            JsonFormat::ConvexEncoded | JsonFormat::Clean => Value::Float64(integer as f64),
        })
    }

    fn visit_u64<E: Error>(self, integer: u64) -> Result<Value, E> {
        match (self.rules.format, i64::try_from(integer)) {
            (JsonFormat::Export, Ok(integer)) => Ok(Value::Int64(integer)),
            (JsonFormat::Export, Err(_)) => Err(self
                .rules
                .stop(ValueError::InvalidEncoding { reason: "an integer does not fit into 64 bits" })),
            _ => Ok(Value::Float64(integer as f64)),
        }
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Value, E> {
        Ok(Value::Float64(number))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Value, E> {
        Ok(Value::String(text.to_owned()))
    }

    fn visit_string<E: Error>(self, text: String) -> Result<Value, E> {
        Ok(Value::String(text))
    }

    fn visit_seq<A: SeqAccess<'t>>(self, mut seq: A) -> Result<Value, A::Error> {
        let member = self.member()?;
        let mut members = Vec::new();
        while let Some(value) = seq.next_element_seed(member)? {
            if members.len() == ARRAY_LENGTH_MAX {
                return Err(self.rules.stop(ValueError::ArrayTooLong));
            }
            members.push(value);
        }
        Ok(Value::Array(members))
    }

    fn visit_map<A: MapAccess<'t>>(self, mut map: A) -> Result<Value, A::Error> {
        let first = map.next_key_seed(KeySeed { rules: self.rules })?;
        self.object(first, map)
    }
}

/// A value, or `{"$undefined": null}`.
#[derive(Clone, Copy)]
struct OrUndefined<'r>(Node<'r>);

impl<'t> DeserializeSeed<'t> for OrUndefined<'_> {
    type Value = Option<Value>;

    fn deserialize<D: Deserializer<'t>>(self, deserializer: D) -> Result<Option<Value>, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'t> Visitor<'t> for OrUndefined<'_> {
    type Value = Option<Value>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a value or undefined")
    }

    fn visit_unit<E: Error>(self) -> Result<Option<Value>, E> {
        self.0.visit_unit().map(Some)
    }

    fn visit_bool<E: Error>(self, boolean: bool) -> Result<Option<Value>, E> {
        self.0.visit_bool(boolean).map(Some)
    }

    fn visit_i64<E: Error>(self, integer: i64) -> Result<Option<Value>, E> {
        self.0.visit_i64(integer).map(Some)
    }

    fn visit_u64<E: Error>(self, integer: u64) -> Result<Option<Value>, E> {
        self.0.visit_u64(integer).map(Some)
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Option<Value>, E> {
        self.0.visit_f64(number).map(Some)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Option<Value>, E> {
        self.0.visit_str(text).map(Some)
    }

    fn visit_string<E: Error>(self, text: String) -> Result<Option<Value>, E> {
        self.0.visit_string(text).map(Some)
    }

    fn visit_seq<A: SeqAccess<'t>>(self, seq: A) -> Result<Option<Value>, A::Error> {
        self.0.visit_seq(seq).map(Some)
    }

    fn visit_map<A: MapAccess<'t>>(self, mut map: A) -> Result<Option<Value>, A::Error> {
        let rules = self.0.rules;
        match map.next_key_seed(KeySeed { rules })? {
            Some(Key::Undefined) => {
                map.next_value::<()>()?;
                match map.next_key::<IgnoredAny>()? {
                    None => Ok(None),
                    Some(_) => Err(rules.stop(SECOND_KEY)),
                }
            }
            first => self.0.object(first, map).map(Some),
        }
    }
}

/// An object of which each field is a value or undefined.
struct PatchFields<'r> {
    rules: &'r Rules,
}

impl<'t> DeserializeSeed<'t> for PatchFields<'_> {
    type Value = BTreeMap<String, Option<Value>>;

    fn deserialize<D: Deserializer<'t>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'t> Visitor<'t> for PatchFields<'_> {
    type Value = BTreeMap<String, Option<Value>>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: MapAccess<'t>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let member = Node::top(self.rules).member()?;
        let mut fields = BTreeMap::new();
        while let Some(name) = next_field(&mut map, self.rules)? {
            if fields.len() == OBJECT_FIELDS_MAX {
                return Err(self.rules.stop(ValueError::TooManyFields));
            }
            let value = map.next_value_seed(OrUndefined(member))?;
            insert(&mut fields, name, value, self.rules)?;
        }
        Ok(fields)
    }
}

enum Key {
    Field(String),
    Special(Special),
    Undefined,
}

#[derive(Clone, Copy)]
enum Special {
    Integer,
    Float,
    Bytes,
    CommitTimestamp,
}

#[derive(Clone, Copy)]
struct KeySeed<'r> {
    rules: &'r Rules,
}

impl<'t> DeserializeSeed<'t> for KeySeed<'_> {
    type Value = Key;

    fn deserialize<D: Deserializer<'t>>(self, deserializer: D) -> Result<Key, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl KeySeed<'_> {
    /// What a key that begins with `$` means.
    fn special<E: Error>(self, text: &str) -> Result<Key, E> {
        let fault = match (self.rules.format, text) {
            (JsonFormat::ConvexEncoded, "$integer") => return Ok(Key::Special(Special::Integer)),
            (JsonFormat::ConvexEncoded | JsonFormat::Export, "$float") => {
                return Ok(Key::Special(Special::Float));
            }
            (JsonFormat::ConvexEncoded | JsonFormat::Export, "$bytes") => {
                return Ok(Key::Special(Special::Bytes));
            }
            (JsonFormat::ConvexEncoded, "$commitTs") if self.rules.placeholder_allowed => {
                return Ok(Key::Special(Special::CommitTimestamp));
            }
            (JsonFormat::ConvexEncoded, "$commitTs") => ValueError::CommitTimestampNotAllowed,
            (JsonFormat::ConvexEncoded, "$undefined") => return Ok(Key::Undefined),
            (JsonFormat::ConvexEncoded, "$set" | "$map") => {
                ValueError::InvalidEncoding { reason: "sets and maps are no longer values" }
            }
            _ => match name::check_field_name(text) {
                Err(fault) => fault,
                Ok(()) => return Ok(Key::Field(text.to_owned())),
            },
        };
        Err(self.rules.stop(fault))
    }
}

impl Visitor<'_> for KeySeed<'_> {
    type Value = Key;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("the name of a field")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Key, E> {
        if text.starts_with('$') {
            return self.special(text);
        }
        name::check_field_name(text).map_err(|fault| self.rules.stop(fault))?;
        Ok(Key::Field(text.to_owned()))
    }

    fn visit_string<E: Error>(self, text: String) -> Result<Key, E> {
        if text.starts_with('$') {
            return self.special(&text);
        }
        name::check_field_name(&text).map_err(|fault| self.rules.stop(fault))?;
        Ok(Key::Field(text))
    }
}

/// What follows a special key.
struct Payload<'r> {
    special: Special,
    rules: &'r Rules,
}

impl Payload<'_> {
    fn decode<E: Error>(&self, text: &str) -> Result<Value, E> {
        let invalid = |reason| self.rules.stop(ValueError::InvalidEncoding { reason });
        let Ok(bytes) = STANDARD.decode(text) else {
            return Err(invalid("this is not base64 with padding"));
        };
        let eight =
            |bytes: Vec<u8>| bytes.try_into().map_err(|_| invalid("an encoded number has eight bytes"));
        match self.special {
            Special::Bytes => Ok(Value::Bytes(bytes)),
            Special::Integer => Ok(Value::Int64(i64::from_le_bytes(eight(bytes)?))),
            Special::Float => {
                let number = f64::from_le_bytes(eight(bytes)?);
                let plain = number.is_finite() && !(number == 0.0 && number.is_sign_negative());
                if plain {
                    return Err(invalid("`$float` is only for NaN, the infinities and -0"));
                }
                Ok(Value::Float64(number))
            }
            Special::CommitTimestamp => Err(invalid("`$commitTs` holds null")),
        }
    }
}

impl<'t> DeserializeSeed<'t> for Payload<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'t>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl Visitor<'_> for Payload<'_> {
    type Value = Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.special {
            Special::CommitTimestamp => formatter.write_str("null"),
            _ => formatter.write_str("a string of base64"),
        }
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Value, E> {
        self.decode(text)
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        match self.special {
            Special::CommitTimestamp => Ok(Value::CommitTimestamp),
            _ => {
                Err(self.rules.stop(ValueError::InvalidEncoding { reason: "a string of base64 is expected" }))
            }
        }
    }
}

impl<'t> Deserialize<'t> for Value {
    fn deserialize<D: Deserializer<'t>>(deserializer: D) -> Result<Self, D::Error> {
        let rules = Rules::new(JsonFormat::ConvexEncoded, false);
        Node::top(&rules).deserialize(deserializer).map_err(|error| rules.carry(error))
    }
}

impl<'t> Deserialize<'t> for Object {
    fn deserialize<D: Deserializer<'t>>(deserializer: D) -> Result<Self, D::Error> {
        Value::deserialize(deserializer)?.into_object().map_err(|other| {
            D::Error::custom(format_args!(
                "InvalidValueEncoding: an object is expected, not {}",
                other.type_name()
            ))
        })
    }
}

impl<'t> Deserialize<'t> for ValueOrUndefined {
    fn deserialize<D: Deserializer<'t>>(deserializer: D) -> Result<Self, D::Error> {
        let rules = Rules::new(JsonFormat::ConvexEncoded, true);
        let value =
            OrUndefined(Node::top(&rules)).deserialize(deserializer).map_err(|error| rules.carry(error))?;
        Ok(Self(value))
    }
}

impl<'t> Deserialize<'t> for Patch {
    fn deserialize<D: Deserializer<'t>>(deserializer: D) -> Result<Self, D::Error> {
        let rules = Rules::new(JsonFormat::ConvexEncoded, true);
        let fields =
            PatchFields { rules: &rules }.deserialize(deserializer).map_err(|error| rules.carry(error))?;
        Ok(Self(fields))
    }
}
