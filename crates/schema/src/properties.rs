//! What holds for all validators. A failure prints the smallest case and keeps its seed under `proptest-regressions`,
//! from where each later run of `cargo test -p schema properties` repeats it first.

use std::collections::BTreeMap;

use crate::limits::SchemaLimits;
use proptest::{collection::vec, option, prelude::*, sample::select};
use value::{DocumentId, FieldName, InternalId, TableName, TableNumber, Value};

use crate::{FieldValidator, FunctionKind, FunctionSignature, Validator};

fn number_of(table: &TableName) -> Option<TableNumber> {
    match table.as_str() {
        "users" => TableNumber::new(10_001),
        "messages" => TableNumber::new(10_002),
        _ => None,
    }
}

fn table() -> impl Strategy<Value = TableName> {
    select(vec!["users", "messages"]).prop_map(|name| name.parse().expect("legal"))
}

fn literal() -> impl Strategy<Value = Value> {
    select(vec![Value::from("a"), "b".into(), true.into(), 1.0.into(), 1i64.into()])
}

fn field_name() -> impl Strategy<Value = FieldName> {
    select(vec!["a", "b", "c"]).prop_map(|name| name.parse().expect("legal"))
}

fn keys() -> impl Strategy<Value = Validator> {
    let key = prop_oneof![
        Just(Validator::String),
        select(vec!["a", "b"]).prop_map(|name| Validator::Literal(Value::from(name))),
        table().prop_map(Validator::Id),
    ];
    prop_oneof![key.clone(), vec(key, 0..3).prop_map(Validator::Union)]
}

/// Few kinds and names, so that two of them are often related.
fn validator() -> impl Strategy<Value = Validator> {
    let leaf = prop_oneof![
        select(vec![
            Validator::Any,
            Validator::Null,
            Validator::Float64,
            Validator::Int64,
            Validator::CommitTimestamp,
            Validator::Boolean,
            Validator::String,
            Validator::Bytes,
        ]),
        literal().prop_map(Validator::Literal),
        table().prop_map(Validator::Id),
    ];
    leaf.prop_recursive(3, 12, 3, |inner| {
        let field = (inner.clone(), any::<bool>())
            .prop_map(|(validator, optional)| FieldValidator { validator, optional });
        prop_oneof![
            inner.clone().prop_map(|members| Validator::Array(Box::new(members))),
            (keys(), inner.clone()).prop_map(|(keys, values)| Validator::Record {
                keys: Box::new(keys),
                values: Box::new(values),
            }),
            (
                select(vec![None, Some(FunctionKind::Query), Some(FunctionKind::Action)]),
                option::of(inner.clone())
            )
                .prop_map(|(kind, returns)| Validator::Function(Box::new(FunctionSignature {
                    kind,
                    arguments: None,
                    returns,
                }))),
            vec((field_name(), field), 0..3)
                .prop_map(|fields| Validator::Object(BTreeMap::from_iter(fields))),
            vec(inner, 0..3).prop_map(Validator::Union),
        ]
    })
}

/// Something that accepts at least what a validator does, made by loosening it here and there.
fn loosened(validator: Validator, choices: &[u8]) -> Validator {
    let Some((choice, rest)) = choices.split_first() else { return validator };
    match (choice % 4, validator) {
        (0, _) => Validator::Any,
        (1, other) => Validator::Union(vec![Validator::Null, loosened(other, rest)]),
        (_, Validator::Array(members)) => Validator::Array(Box::new(loosened(*members, rest))),
        (_, Validator::Object(fields)) => {
            let mut fields: BTreeMap<FieldName, FieldValidator> = fields
                .into_iter()
                .map(|(name, field)| {
                    let validator = loosened(field.validator, rest);
                    (name, FieldValidator { validator, optional: true })
                })
                .collect();
            let added = FieldValidator { validator: Validator::Null, optional: true };
            fields.entry("z".parse().expect("legal")).or_insert(added);
            Validator::Object(fields)
        }
        (_, Validator::Union(members)) => {
            Validator::Union(members.into_iter().map(|member| loosened(member, rest)).collect())
        }
        (_, other) => other,
    }
}

fn id_of(table: &TableName) -> String {
    let number = number_of(table).expect("one of the two tables");
    DocumentId::new(number, InternalId::from_bytes([7; 16])).to_string()
}

/// A value that a validator accepts, steered by numbers; `None` if it accepts none or the steering ends in an empty union.
fn member_of(validator: &Validator, choices: &mut impl Iterator<Item = u8>) -> Option<Value> {
    let choice = usize::from(choices.next().unwrap_or(0));
    Some(match validator {
        Validator::Any => {
            [Value::Null, 1.0.into(), "a".into(), Value::Array(vec![]), 1i64.into()][choice % 5].clone()
        }
        Validator::Null => Value::Null,
        Validator::Float64 => Value::Float64(1.0),
        Validator::Int64 => Value::Int64(1),
        Validator::CommitTimestamp => [Value::CommitTimestamp, Value::Int64(1)][choice % 2].clone(),
        Validator::Boolean => Value::Boolean(choice.is_multiple_of(2)),
        Validator::String => ["a", "b", "c"][choice % 3].into(),
        Validator::Bytes => Value::Bytes(vec![1]),
        Validator::Literal(literal) => literal.clone(),
        Validator::Id(table) => id_of(table).into(),
        Validator::Function(_) => ["function://;a:b", "function://;c:d"][choice % 2].into(),
        Validator::Array(members) => {
            Value::Array((0..choice % 3).map(|_| member_of(members, choices)).collect::<Option<_>>()?)
        }
        Validator::Record { keys, values } => {
            let fields = (0..choice % 3).map(|_| {
                let name = member_of(keys, choices)?.as_str()?.to_owned();
                Some((name, member_of(values, choices)?))
            });
            Value::Object(fields.collect::<Option<_>>()?)
        }
        Validator::Object(fields) => {
            let mut object = value::Object::new();
            for (name, field) in fields {
                if field.optional && choices.next().unwrap_or(0).is_multiple_of(2) {
                    continue;
                }
                object.insert(name.as_str(), member_of(&field.validator, choices)?);
            }
            Value::Object(object)
        }
        Validator::Union(members) if members.is_empty() => return None,
        Validator::Union(members) => member_of(&members[choice % members.len()], choices)?,
    })
}

fn accepts(validator: &Validator, value: &Value) -> bool {
    validator.check(value, &number_of).is_ok()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]

    #[test]
    fn json_gives_the_same_validator(validator in validator()) {
        let text = validator.to_json();
        let read = Validator::from_json(&text, &SchemaLimits::DEFAULT).expect("what we write is legal");
        prop_assert_eq!(read.to_json(), text);
        prop_assert_eq!(read, validator);
    }

    #[test]
    fn a_validator_accepts_its_members(validator in validator(), choices in vec(any::<u8>(), 20)) {
        if let Some(value) = member_of(&validator, &mut choices.into_iter()) {
            prop_assert!(accepts(&validator, &value), "{} {:?}", validator, value);
        }
    }

    #[test]
    fn a_superset_accepts_what_the_subset_does(
        wider in validator(), narrower in validator(), choices in vec(any::<u8>(), 20),
    ) {
        if wider.is_superset_of(&narrower)
            && let Some(value) = member_of(&narrower, &mut choices.into_iter())
        {
            prop_assert!(accepts(&wider, &value), "{} is no superset of {}: {:?}", wider, narrower, value);
        }
    }

    #[test]
    fn loosening_gives_a_superset(
        narrower in validator(), loosening in vec(any::<u8>(), 0..4), choices in vec(any::<u8>(), 20),
    ) {
        let wider = loosened(narrower.clone(), &loosening);
        prop_assert!(wider.is_superset_of(&narrower), "{} of {}", wider, narrower);
        if let Some(value) = member_of(&narrower, &mut choices.into_iter()) {
            prop_assert!(accepts(&wider, &value));
        }
    }

    #[test]
    fn a_refusal_has_an_explanation(validator in validator(), other in validator(), choices in vec(any::<u8>(), 20)) {
        if let Some(value) = member_of(&other, &mut choices.into_iter())
            && let Err(failure) = validator.check(&value, &number_of)
        {
            prop_assert!(!failure.reason().is_empty());
            prop_assert!(failure.to_string().contains("Validator: v."));
        }
    }
}
