//! Comparing validators.

use std::collections::BTreeMap;

use value::{FieldName, Value};

use crate::{FieldValidator, Validator};

impl Validator {
    /// Whether every value that `other` accepts is accepted here too, so that data which fits `other` need not be
    /// walked. `true` is a proof; `false` only means that none was found. Ids are taken to be of the same tables.
    pub fn is_superset_of(&self, other: &Validator) -> bool {
        match (self, other) {
            (Validator::Any, _) => true,
            // Everything in a union is in the other side when each member is.
            (_, Validator::Union(members)) => members.iter().all(|member| self.is_superset_of(member)),
            (Validator::Union(members), _) => members.iter().any(|member| member.is_superset_of(other)),
            (Validator::Literal(left), Validator::Literal(right)) => left == right,
            (_, Validator::Literal(literal)) => accepts_type_of(self, literal),
            (Validator::String, Validator::Id(_)) => true,
            (
                Validator::Int64 | Validator::CommitTimestamp,
                Validator::Int64 | Validator::CommitTimestamp,
            ) => true,
            (Validator::Array(left), Validator::Array(right)) => left.is_superset_of(right),
            (
                Validator::Record { keys, values },
                Validator::Record { keys: other_keys, values: other_values },
            ) => keys.is_superset_of(other_keys) && values.is_superset_of(other_values),
            (Validator::Record { keys, values }, Validator::Object(fields)) => {
                fields.iter().all(|(name, field)| {
                    keys.is_superset_of(&Validator::Literal(Value::from(name.as_str())))
                        && values.is_superset_of(&field.validator)
                })
            }
            (Validator::Object(left), Validator::Object(right)) => is_object_superset(left, right),
            _ => self == other,
        }
    }
}

fn accepts_type_of(validator: &Validator, literal: &Value) -> bool {
    matches!(
        (validator, literal),
        (Validator::String, Value::String(_))
            | (Validator::Boolean, Value::Boolean(_))
            | (Validator::Float64, Value::Float64(_))
            | (Validator::Int64 | Validator::CommitTimestamp, Value::Int64(_))
    )
}

fn is_object_superset(
    wider: &BTreeMap<FieldName, FieldValidator>,
    narrower: &BTreeMap<FieldName, FieldValidator>,
) -> bool {
    let fields_fit = narrower.iter().all(|(name, field)| {
        wider.get(name).is_some_and(|wide| {
            wide.validator.is_superset_of(&field.validator) && (wide.optional || !field.optional)
        })
    });
    fields_fit && wider.iter().all(|(name, field)| field.optional || narrower.contains_key(name))
}
