//! Validators: their JSON, what they accept, what they say when they don't.

use schema::SchemaLimits;
use schema::{TableLookup, Validator};
use serde_json::json;
use value::{DocumentId, InternalId, TableName, TableNumber, Value, object};

/// Two tables, `users` (10001) and `messages` (10002).
struct Tables;

const TABLES: [&str; 2] = ["users", "messages"];

impl TableLookup for Tables {
    fn number_of(&self, table: &TableName) -> Option<TableNumber> {
        let position = TABLES.iter().position(|name| *name == table.as_str())?;
        TableNumber::new(TableNumber::FIRST_USER.get() + position as u32)
    }

    fn name_of(&self, number: TableNumber) -> Option<TableName> {
        let position = number.get().checked_sub(TableNumber::FIRST_USER.get())?;
        TABLES.get(position as usize)?.parse().ok()
    }
}

fn id_of(table: u32) -> String {
    DocumentId::new(TableNumber::new(table).expect("not 0"), InternalId::from_bytes([7; 16])).to_string()
}

fn validator(json: serde_json::Value) -> Validator {
    Validator::from_serde_json(&json, &SchemaLimits::DEFAULT)
        .unwrap_or_else(|error| panic!("{json}: {error}"))
}

fn object_validator(fields: serde_json::Value) -> Validator {
    validator(json!({"type": "object", "value": fields}))
}

fn accepts(validator: &Validator, value: impl Into<Value>) -> bool {
    validator.check(&value.into(), &Tables).is_ok()
}

fn failure(validator: &Validator, value: impl Into<Value>) -> String {
    validator.check(&value.into(), &Tables).expect_err("refused").to_string()
}

#[test]
fn each_type_accepts_its_values_only() {
    let values = [
        ("null", Value::Null),
        ("number", Value::Float64(1.0)),
        ("bigint", Value::Int64(1)),
        ("boolean", Value::Boolean(true)),
        ("string", Value::from("a")),
        ("bytes", Value::Bytes(vec![])),
        ("array", Value::Array(vec![])),
        ("object", Value::from(object! {})),
    ];
    for kind in ["null", "number", "bigint", "boolean", "string", "bytes"] {
        for (name, value) in &values {
            assert_eq!(
                accepts(&validator(json!({"type": kind})), value.clone()),
                kind == *name,
                "{kind} {name}"
            );
        }
    }
    for (_, value) in &values {
        assert!(accepts(&validator(json!({"type": "any"})), value.clone()));
        assert!(
            !accepts(&validator(json!({"type": "union", "value": []})), value.clone()),
            "an empty union is empty"
        );
    }
    for kind in ["bigint", "commitTs"] {
        assert!(accepts(&validator(json!({"type": kind})), Value::CommitTimestamp));
        assert!(accepts(&validator(json!({"type": kind})), Value::Int64(5)));
    }
    assert!(!accepts(&validator(json!({"type": "commitTs"})), Value::Float64(5.0)));
}

#[test]
fn literals_are_compared_by_type_and_value() {
    let literal = |value| validator(json!({"type": "literal", "value": value}));
    assert!(accepts(&literal(json!("a")), "a"));
    assert!(!accepts(&literal(json!("a")), "b"));
    assert!(accepts(&literal(json!(1)), 1.0));
    assert!(!accepts(&literal(json!(1)), 1i64));
    assert!(accepts(&literal(json!({"$integer": "AQAAAAAAAAA="})), 1i64));
    assert!(accepts(&literal(json!(0)), -0.0));
    assert!(!accepts(&literal(json!(true)), false));
}

#[test]
fn ids_are_of_their_table() {
    let users = validator(json!({"type": "id", "tableName": "users"}));
    assert!(accepts(&users, id_of(10_001)));
    assert!(
        failure(&users, id_of(10_002))
            .starts_with("Found an ID of the table `messages` where one of the table `users`")
    );
    assert!(failure(&users, id_of(10_003)).starts_with("Found an ID of another table"));
    assert!(failure(&users, "not an id").starts_with("Value is not an ID."));
    assert!(failure(&users, 1.0).starts_with("Value does not match validator."));
    let unknown = validator(json!({"type": "id", "tableName": "nothing"}));
    assert!(!accepts(&unknown, id_of(10_001)), "a table that isn't there has no ids");
}

#[test]
fn objects_are_closed_and_optional_fields_may_be_missing_but_not_null() {
    let person = object_validator(json!({
        "name": {"fieldType": {"type": "string"}, "optional": false},
        "age": {"fieldType": {"type": "number"}, "optional": true},
    }));
    assert!(accepts(&person, object! {"name" => "Ada"}));
    assert!(accepts(&person, object! {"name" => "Ada", "age" => 36.0}));
    assert!(!accepts(&person, object! {"name" => "Ada", "age" => Value::Null}));
    assert!(!accepts(&person, object! {"name" => "Ada", "extra" => 1.0}));
    assert!(!accepts(&person, object! {"name" => "Ada", "_id" => "x"}), "system fields are for documents");
    assert!(!accepts(&person, object! {}));
    assert!(!accepts(&person, object! {"age" => 36.0}));
}

#[test]
fn records_check_names_and_values() {
    let record = |keys| {
        validator(
            json!({"type": "record", "keys": keys, "values": {"fieldType": {"type": "number"}, "optional": false}}),
        )
    };
    let by_user = record(json!({"type": "id", "tableName": "users"}));
    assert!(accepts(&by_user, object! {id_of(10_001) => 1.0}));
    assert!(failure(&by_user, object! {"Ada" => 1.0}).contains("`Ada`"));
    assert!(failure(&by_user, object! {id_of(10_001) => "x"}).contains("Path: .j57"));
    let of_names = record(json!({"type": "union", "value": [
        {"type": "literal", "value": "a"}, {"type": "literal", "value": "b"},
    ]}));
    assert!(accepts(&of_names, object! {"a" => 1.0, "b" => 2.0}));
    assert!(accepts(&of_names, object! {}));
    assert!(!accepts(&of_names, object! {"c" => 1.0}));
}

#[test]
fn failures_tell_where_and_what() {
    let message = object_validator(json!({
        "body": {"fieldType": {"type": "string"}, "optional": false},
        "n": {"fieldType": {"type": "array", "value": {"type": "number"}}, "optional": true},
    }));
    assert_eq!(
        failure(&message, object! {}),
        "Object is missing the required field `body`. If objects without it are meant to be accepted, wrap the \
         field's validator in `v.optional(...)`.\n\nObject: {}\n\
         Validator: v.object({body: v.string(), n: v.optional(v.array(v.float64()))})"
    );
    let list = validator(json!({"type": "array", "value": message.to_serde_json()}));
    let value =
        Value::Array(vec![object! {"body" => "hi", "n" => vec![Value::from(1.0), "x".into()]}.into()]);
    assert_eq!(
        failure(&list, value),
        "Value does not match validator.\n\nPath: [0].n[1]\nValue: \"x\"\nValidator: v.float64()"
    );
    let odd = object_validator(json!({"a b": {"fieldType": {"type": "null"}, "optional": false}}));
    assert!(failure(&odd, object! {"a b" => 1.0}).contains("Path: [\"a b\"]\n"));
    let extra = failure(&odd, object! {"a b" => Value::Null, "c" => 1i64});
    assert!(extra.starts_with("Object contains the extra field `c`"), "{extra}");
    assert!(extra.contains("Object: {\"a b\": null, c: 1n}"), "{extra}");

    let large = failure(&odd, "x".repeat(1_000_000));
    assert!(large.len() < 10_000, "a message stays small whatever the value: {}", large.len());
}

#[test]
fn system_fields_of_documents_are_implicit() {
    let document = object! {"_id" => id_of(10_001), "_creationTime" => 1.5, "a" => 1.0};
    let field = json!({"a": {"fieldType": {"type": "number"}, "optional": false}});
    let closed = object_validator(field.clone());
    let other = object_validator(json!({"b": {"fieldType": {"type": "number"}, "optional": false}}));
    let either = Validator::Union(vec![other.clone(), closed.clone()]);
    let record = validator(
        json!({"type": "record", "keys": {"type": "string"}, "values": {"fieldType": {"type": "number"}}}),
    );
    for document_type in [&closed, &either, &record, &Validator::Any] {
        assert_eq!(document_type.check_document(&document, &Tables), Ok(()), "{document_type}");
    }
    let error = other.check_document(&document, &Tables).expect_err("another type").to_string();
    assert!(error.contains("extra field `a`"), "{error}");
    let nested = object_validator(json!({"a": {"fieldType": closed.to_serde_json(), "optional": false}}));
    let inner = object! {"a" => object! {"a" => 1.0, "_id" => "x"}};
    assert!(nested.check_document(&inner, &Tables).is_err(), "only the document itself has system fields");
}

#[test]
fn json_is_canonical_whatever_the_order_of_fields() {
    let one = r#"{"type":"object","value":{"b":{"fieldType":{"type":"null"},"optional":true},"a":{"optional":false,"fieldType":{"type":"any"}}}}"#;
    let other = r#"{"value":{"a":{"fieldType":{"type":"any"}},"b":{"fieldType":{"type":"null"},"optional":true}},"type":"object"}"#;
    let parse = |text| Validator::from_json(text, &SchemaLimits::DEFAULT).expect("legal");
    assert_eq!(parse(one), parse(other));
    assert_eq!(parse(one).to_json(), parse(other).to_json());
    assert_eq!(parse(&parse(one).to_json()), parse(one));
}

#[test]
fn mistakes_are_named_with_their_place() {
    for (text, path, reason) in [
        ("", ".", "not JSON"),
        ("1", ".", "object is expected"),
        (r#"{"type":"float"}"#, ".type", "no validator \"float\""),
        (r#"{"type":"array"}"#, ".", "`value` is missing"),
        (r#"{"type":"id","tableName":"9"}"#, ".tableName", "begins with a digit"),
        (r#"{"type":"literal","value":null}"#, ".value", "can't be of the type null"),
        (r#"{"type":"literal","value":{"$integer":"x"}}"#, ".value", "base64"),
        (r#"{"type":"union","value":[{"type":"any"},{"type":1}]}"#, ".value[1].type", "string is expected"),
        (r#"{"type":"object","value":{"$a":{"fieldType":{"type":"any"}}}}"#, ".value.$a", "reserved"),
        (
            r#"{"type":"object","value":{"a":{"fieldType":{"type":"any"},"optional":1}}}"#,
            ".value.a.optional",
            "true or false",
        ),
        (
            r#"{"type":"record","keys":{"type":"number"},"values":{"fieldType":{"type":"any"}}}"#,
            ".keys",
            "keys of a record",
        ),
        (
            r#"{"type":"record","keys":{"type":"string"},"values":{"fieldType":{"type":"any"},"optional":true}}"#,
            ".",
            "optional",
        ),
    ] {
        let error = Validator::from_json(text, &SchemaLimits::DEFAULT).expect_err(text);
        assert_eq!(error.code(), "InvalidValidator");
        let message = error.to_string();
        assert!(message.contains(&format!("`{path}`")) && message.contains(reason), "{message}");
    }
}

#[test]
fn hostile_validators_end_with_an_error() {
    let nested = |levels: usize| {
        format!(r#"{}{{"type":"any"}}{}"#, r#"{"type":"array","value":"#.repeat(levels), "}".repeat(levels))
    };
    assert!(Validator::from_json(&nested(59), &SchemaLimits::DEFAULT).is_ok());
    for levels in [60, 1_000_000] {
        let error = Validator::from_json(&nested(levels), &SchemaLimits::DEFAULT).expect_err("too deep");
        assert_eq!(error.code(), "InvalidValidator");
    }
    let any = || json!({"type": "any"});
    let union = |members: usize| json!({"type": "union", "value": vec![any(); members]});
    let wide = json!({"type": "union", "value": vec![union(8_191); 8]});
    for (hostile, reason) in [(wide, "too many validators"), (union(8_193), "more than 8192 members")] {
        let error =
            Validator::from_serde_json(&hostile, &SchemaLimits::DEFAULT).expect_err(reason).to_string();
        assert!(error.contains(reason), "{error}");
    }
}

#[test]
fn every_validator_that_is_accepted_is_a_part_of_a_value() {
    let any = || json!({"type": "any"});
    let kinds: [fn(serde_json::Value) -> serde_json::Value; 5] = [
        |inner| json!({"type": "array", "value": inner}),
        |inner| json!({"type": "union", "value": [inner]}),
        |inner| json!({"type": "object", "value": {"a": {"fieldType": inner, "optional": false}}}),
        |inner| {
            let values = json!({"fieldType": inner, "optional": false});
            json!({"type": "record", "keys": {"type": "string"}, "values": values})
        },
        |inner| json!({"type": "function", "returns": inner}),
    ];
    for wrap in kinds {
        let (mut deepest, mut next) = (any(), wrap(any()));
        while Validator::from_serde_json(&next, &SchemaLimits::DEFAULT).is_ok() {
            deepest = next;
            next = wrap(deepest.clone());
        }
        // As `function-spec` and the schemas of the dashboard show it.
        for shown in [json!([{"args": deepest}]), json!({"tables": [{"documentType": deepest}]})] {
            assert!(Value::from_json(&shown.to_string()).is_ok(), "{shown}");
        }
    }
}

#[test]
fn a_function_is_a_handle_whatever_is_said_of_it() {
    let plain = json!({"type": "function"});
    let signed = json!({
        "type": "function",
        "fnType": "mutation",
        "args": {"type": "object", "value": {
            "jobId": {"fieldType": {"type": "id", "tableName": "jobs"}, "optional": false},
        }},
        "returns": {"type": "null"},
    });
    for json in [&plain, &signed] {
        assert_eq!(validator(json.clone()).to_serde_json(), *json, "it comes back as it was");
        let mounted = format!("function://{};lib:default", InternalId::from_bytes([7; 16]));
        for handle in ["function://;messages:list", &mounted] {
            assert!(accepts(&validator(json.clone()), handle), "{handle}");
        }
        for text in ["", "messages:list", "function://messages:list", "function://;messages.js:list"] {
            assert!(!accepts(&validator(json.clone()), text), "{text}");
        }
        assert!(!accepts(&validator(json.clone()), 1.0));
    }
    let message = failure(&validator(signed.clone()), "messages:list");
    assert_eq!(
        message,
        "Value is not a function handle.\n\nValue: \"messages:list\"\nValidator: v.function({fnType: \"mutation\", args: \
         v.object({jobId: v.id(\"jobs\")}), returns: v.null()})"
    );
    assert!(validator(signed.clone()).referenced_tables().is_empty(), "another component may have the table");
    let (plain, signed, string) = (validator(plain), validator(signed), validator(json!({"type": "string"})));
    assert!(plain.is_superset_of(&signed) && signed.is_superset_of(&plain));
    assert!(string.is_superset_of(&signed) && !signed.is_superset_of(&string));
    for wrong in
        [json!({"type": "function", "fnType": "httpAction"}), json!({"type": "function", "args": null})]
    {
        assert!(Validator::from_serde_json(&wrong, &SchemaLimits::DEFAULT).is_err(), "{wrong}");
    }
}

#[test]
fn supersets_are_proved() {
    let parse = |text: &str| Validator::from_json(text, &SchemaLimits::DEFAULT).expect(text);
    let (string, number, any) = (r#"{"type":"string"}"#, r#"{"type":"number"}"#, r#"{"type":"any"}"#);
    let users = r#"{"type":"id","tableName":"users"}"#;
    let literal = r#"{"type":"literal","value":"a"}"#;
    let union = |members: &[&str]| format!(r#"{{"type":"union","value":[{}]}}"#, members.join(","));
    let array = |member: &str| format!(r#"{{"type":"array","value":{member}}}"#);
    let record = |keys: &str, values: &str| {
        format!(r#"{{"type":"record","keys":{keys},"values":{{"fieldType":{values},"optional":false}}}}"#)
    };
    let object = |fields: &[(&str, &str, bool)]| {
        let fields: Vec<String> = fields
            .iter()
            .map(|(name, kind, optional)| format!(r#""{name}":{{"fieldType":{kind},"optional":{optional}}}"#))
            .collect();
        format!(r#"{{"type":"object","value":{{{}}}}}"#, fields.join(","))
    };
    for (wider, narrower, expected) in [
        (any.into(), union(&[string, number]), true),
        (string.into(), any.into(), false),
        (string.into(), users.into(), true),
        (users.into(), string.into(), false),
        (string.into(), literal.into(), true),
        (number.into(), literal.into(), false),
        (r#"{"type":"commitTs"}"#.into(), r#"{"type":"bigint"}"#.into(), true),
        (union(&[string, number]), union(&[number, literal]), true),
        (union(&[string]), union(&[number, string]), false),
        (string.into(), union(&[]), true),
        (array(any), array(string), true),
        (array(string), array(any), false),
        (record(string, any), object(&[("a", number, true)]), true),
        (record(literal, number), object(&[("a", number, true)]), true),
        (record(literal, number), object(&[("b", number, true)]), false),
        (record(users, any), object(&[("a", number, true)]), false),
        (object(&[("a", any, false)]), object(&[("a", string, false)]), true),
        (object(&[("a", any, false)]), object(&[("a", string, true)]), false),
        (object(&[("a", any, true)]), object(&[("a", string, true)]), true),
        (object(&[("a", any, true), ("b", any, true)]), object(&[("a", string, false)]), true),
        (object(&[("a", any, true), ("b", any, false)]), object(&[("a", string, false)]), false),
        (object(&[]), object(&[("a", string, true)]), false),
        (object(&[("a", any, true)]), record(string, any), false),
    ] {
        assert_eq!(parse(&wider).is_superset_of(&parse(&narrower)), expected, "{wider} ⊇ {narrower}");
    }
}

#[test]
fn a_proof_that_takes_too_long_is_given_up() {
    let literal = |number: usize| json!({"type": "literal", "value": number});
    let union = |count: usize| -> Validator {
        validator(json!({"type": "union", "value": (0..count).map(literal).collect::<Vec<_>>()}))
    };
    assert!(union(1_000).is_superset_of(&union(1_000)));
    assert!(!union(8_000).is_superset_of(&union(8_000)), "32 million comparisons would prove it");
}
