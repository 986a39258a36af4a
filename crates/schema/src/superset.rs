//! Comparing validators.

use std::{cell::Cell, collections::BTreeMap};

use crate::limits::VALIDATOR_COMPARISONS_MAX;
use value::{FieldName, Value};

use crate::{FieldValidator, Validator};

impl Validator {
    /// Whether every value that `other` accepts is accepted here too, so that data which fits `other` need not be
    /// walked. `true` is a proof; `false` only means that none was found. Ids are taken to be of the same tables.
    pub fn is_superset_of(&self, other: &Validator) -> bool {
        Proof { comparisons_left: Cell::new(VALIDATOR_COMPARISONS_MAX) }.is_superset(self, other)
    }
}

struct Proof {
    comparisons_left: Cell<usize>,
}

impl Proof {
    fn is_superset(&self, wider: &Validator, narrower: &Validator) -> bool {
        let Some(comparisons_left) = self.comparisons_left.get().checked_sub(1) else { return false };
        self.comparisons_left.set(comparisons_left);
        match (wider, narrower) {
            (Validator::Any, _) => true,
            // Everything in a union is in the other side when each member is.
            (_, Validator::Union(members)) => members.iter().all(|member| self.is_superset(wider, member)),
            (Validator::Union(members), _) => members.iter().any(|member| self.is_superset(member, narrower)),
            (Validator::Literal(left), Validator::Literal(right)) => left == right,
            (_, Validator::Literal(literal)) => accepts_type_of(wider, literal),
            (Validator::String, Validator::Id(_) | Validator::Function(_)) => true,
            // Which handles are accepted does not depend on what is said of the functions.
            (Validator::Function(_), Validator::Function(_)) => true,
            (
                Validator::Int64 | Validator::CommitTimestamp,
                Validator::Int64 | Validator::CommitTimestamp,
            ) => true,
            (Validator::Array(left), Validator::Array(right)) => self.is_superset(left, right),
            (
                Validator::Record { keys, values },
                Validator::Record { keys: narrower_keys, values: narrower_values },
            ) => self.is_superset(keys, narrower_keys) && self.is_superset(values, narrower_values),
            (Validator::Record { keys, values }, Validator::Object(fields)) => {
                fields.iter().all(|(name, field)| {
                    self.is_superset(keys, &Validator::Literal(Value::from(name.as_str())))
                        && self.is_superset(values, &field.validator)
                })
            }
            (Validator::Object(left), Validator::Object(right)) => self.is_object_superset(left, right),
            _ => wider == narrower,
        }
    }

    fn is_object_superset(
        &self,
        wider: &BTreeMap<FieldName, FieldValidator>,
        narrower: &BTreeMap<FieldName, FieldValidator>,
    ) -> bool {
        let fields_fit = narrower.iter().all(|(name, field)| {
            wider.get(name).is_some_and(|wide| {
                (wide.optional || !field.optional) && self.is_superset(&wide.validator, &field.validator)
            })
        });
        fields_fit && wider.iter().all(|(name, field)| field.optional || narrower.contains_key(name))
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
