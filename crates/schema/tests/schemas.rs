//! Schemas: their JSON, and each rule with its code.

use schema::SchemaLimits;
use schema::{DatabaseSchema, SchemaError, Validator};
use serde_json::{Value as Json, json};

fn parse(json: &Json) -> Result<DatabaseSchema, SchemaError> {
    DatabaseSchema::from_serde_json(json, &SchemaLimits::DEFAULT)
}

/// A schema of one table `messages` with fields `author`, `body`, `nested.x` and the given lists.
fn table_with(lists: Json) -> Json {
    let mut table = json!({
        "tableName": "messages",
        "indexes": [],
        "documentType": {"type": "object", "value": {
            "author": {"fieldType": {"type": "id", "tableName": "users"}, "optional": true},
            "body": {"fieldType": {"type": "string"}, "optional": false},
            "nested": {"fieldType": {"type": "union", "value": [
                {"type": "null"},
                {"type": "object", "value": {"x": {"fieldType": {"type": "any"}, "optional": false}}},
            ]}, "optional": false},
        }},
    });
    for (name, list) in lists.as_object().expect("an object") {
        table[name] = list.clone();
    }
    json!({"tables": [table], "schemaValidation": true})
}

fn code(lists: Json) -> &'static str {
    parse(&table_with(lists.clone())).expect_err(&lists.to_string()).code()
}

fn index(name: &str, fields: &[&str]) -> Json {
    json!({"indexDescriptor": name, "fields": fields})
}

#[test]
fn a_whole_schema_is_read_and_written_canonically() {
    let json = json!({
        "tables": [
            {
                "tableName": "users",
                "indexes": [index("by_name", &["profile.name", "age"])],
                "stagedDbIndexes": [index("by_age", &["age"])],
                "searchIndexes": [{"indexDescriptor": "search", "searchField": "bio", "filterFields": ["b", "a"]}],
                "stagedSearchIndexes": [],
                "vectorIndexes": [{"indexDescriptor": "near", "vectorField": "point", "dimensions": 3.0, "filterFields": []}],
                "stagedVectorIndexes": [],
                "documentType": {"type": "any"},
                "stagedDocumentType": {"type": "object", "value": {}},
            },
            {"tableName": "old", "indexes": [], "documentType": {"type": "any"}},
        ],
        "schemaValidation": true,
    });
    let schema = parse(&json).expect("legal");
    let users = &schema.tables["users"];
    assert_eq!(users.indexes["by_name"].fields.len(), 2);
    let key_fields: Vec<String> =
        users.indexes["by_name"].key_fields().iter().map(ToString::to_string).collect();
    assert_eq!(key_fields, ["profile.name", "age", "_creationTime", "_id"]);
    assert!(users.staged_indexes.contains_key("by_age"));
    assert_eq!(users.vector_indexes["near"].dimensions, 3);
    assert_eq!(users.staged_document_type, Some(Validator::Object(Default::default())));
    assert!(schema.tables["old"].search_indexes.is_empty(), "older libraries leave lists out");

    let text = schema.to_json();
    let read = DatabaseSchema::from_json(&text, &SchemaLimits::DEFAULT).expect("what we write is legal");
    assert_eq!((read.to_json(), &read), (text.clone(), &schema));
    let mut swapped = json;
    swapped["tables"].as_array_mut().expect("an array").reverse();
    assert_eq!(parse(&swapped).expect("legal").to_json(), text, "the order of tables does not matter");
    assert_eq!(serde_json::from_str::<DatabaseSchema>(&text).expect("legal"), schema);
}

#[test]
fn malformed_schemas_are_refused_with_their_place() {
    for (json, path) in [
        (json!([]), "."),
        (json!({}), "."),
        (json!({"tables": {}}), ".tables"),
        (json!({"tables": [{"indexes": [], "documentType": {"type": "any"}}]}), ".tables[0]"),
        (json!({"tables": [], "schemaValidation": "yes"}), ".schemaValidation"),
        (json!({"tables": [{"tableName": "a b", "indexes": []}]}), ".tables[0].tableName"),
        (table_with(json!({"indexes": [{"fields": []}]})), ".tables[0].indexes[0]"),
        (table_with(json!({"indexes": [index("i", &["a..b"])]})), ".tables[0].indexes[0].fields[0]"),
        (table_with(json!({"documentType": {"type": "thing"}})), ".tables[0].documentType.type"),
    ] {
        let error = parse(&json).expect_err(path);
        assert_eq!(error.code(), "InvalidSchema", "{error}");
        assert!(error.to_string().contains(&format!("`{path}`")), "{error}");
    }
}

#[test]
fn tables_are_named_once_and_not_as_the_systems() {
    let table = |name: &str| json!({"tableName": name, "indexes": [], "documentType": {"type": "any"}});
    let code = |tables: Vec<Json>| parse(&json!({"tables": tables})).expect_err("refused").code();
    assert_eq!(code(vec![table("a"), table("a")]), "TableNotUnique");
    assert_eq!(code(vec![table("_a")]), "ReservedTableName");
    let many = (0..10_001).map(|number| table(&format!("t{number}"))).collect();
    assert_eq!(code(many), "TooManyTables");
}

#[test]
fn documents_are_objects() {
    let with_type = |json: Json| table_with(json!({"documentType": json}));
    let empty = json!({"type": "object", "value": {}});
    for legal in [
        json!({"type": "any"}),
        json!({"type": "union", "value": [empty, {"type": "union", "value": [empty]}]}),
        json!({"type": "record", "keys": {"type": "string"}, "values": {"fieldType": {"type": "any"}}}),
    ] {
        assert!(parse(&with_type(legal)).is_ok());
    }
    for illegal in [json!({"type": "string"}), json!({"type": "union", "value": [empty, {"type": "null"}]})] {
        assert_eq!(code(json!({"documentType": illegal})), "InvalidTopLevelTypeInSchemaError");
        assert_eq!(code(json!({"stagedDocumentType": illegal})), "InvalidTopLevelTypeInSchemaError");
    }
    let reserved = json!({"type": "object", "value": {"_x": {"fieldType": {"type": "any"}}}});
    assert_eq!(code(json!({"documentType": reserved})), "ReservedFieldName");
}

#[test]
fn each_rule_for_indexes_has_its_code() {
    for legal in [
        json!({"indexes": [index("a", &["author"]), index("b", &["author", "body"])]}),
        json!({"indexes": [index("deep", &["nested.x", "nested.x.y.z"])]}),
    ] {
        assert!(parse(&table_with(legal.clone())).is_ok(), "{legal}");
    }
    let many_fields: Vec<String> = (0..17).map(|number| format!("nested.x.f{number}")).collect();
    let many_fields: Vec<&str> = many_fields.iter().map(String::as_str).collect();
    assert!(parse(&table_with(json!({"indexes": [index("i", &many_fields[..16])]}))).is_ok());
    for (lists, expected) in [
        (json!({"indexes": [index("i", &[])]}), "EmptyIndex"),
        (json!({"indexes": [index("i", &many_fields)]}), "IndexTooManyFields"),
        (json!({"indexes": [index("i", &["body", "body"])]}), "IndexFieldNotUnique"),
        (json!({"indexes": [index("i", &["_id"])]}), "IndexFieldsContainId"),
        (json!({"indexes": [index("i", &["body", "_creationTime"])]}), "IndexFieldsContainCreationTime"),
        (json!({"indexes": [index("i", &["_x"])]}), "IndexFieldReserved"),
        (json!({"indexes": [index("i", &["title"])]}), "SchemaDefinitionError"),
        (json!({"indexes": [index("i", &["body.length"])]}), "SchemaDefinitionError"),
        (json!({"indexes": [index("by_id", &["body"])]}), "ReservedIndexName"),
        (json!({"indexes": [index("by_creation_time", &["body"])]}), "ReservedIndexName"),
        (json!({"indexes": [index("_i", &["body"])]}), "ReservedIndexName"),
        (json!({"indexes": [index("i", &["body"]), index("i", &["author"])]}), "IndexNotUnique"),
        (json!({"indexes": [index("i", &["body"]), index("j", &["body"])]}), "IndexNotUnique"),
        (
            json!({"indexes": [index("i", &["body"])], "stagedDbIndexes": [index("i", &["author"])]}),
            "IndexNotUnique",
        ),
        (
            json!({"indexes": [index("i", &["body"])], "stagedDbIndexes": [index("j", &["body"])]}),
            "IndexNotUnique",
        ),
        (
            json!({"indexes": [index("i", &["body"])], "searchIndexes": [
                {"indexDescriptor": "i", "searchField": "body", "filterFields": []}]}),
            "IndexNotUnique",
        ),
        (
            json!({"searchIndexes": [{"indexDescriptor": "s", "searchField": "title", "filterFields": []}]}),
            "SchemaDefinitionError",
        ),
        (
            json!({"searchIndexes": [{"indexDescriptor": "s", "searchField": "body", "filterFields": many_fields}]}),
            "IndexTooManyFields",
        ),
        (
            json!({"vectorIndexes": [{"indexDescriptor": "v", "vectorField": "nested.x", "dimensions": 1}]}),
            "InvalidVectorDimensions",
        ),
        (
            json!({"vectorIndexes": [{"indexDescriptor": "v", "vectorField": "nested.x", "dimensions": 4097}]}),
            "InvalidVectorDimensions",
        ),
    ] {
        assert_eq!(code(lists.clone()), expected, "{lists}");
    }
}

#[test]
fn a_table_has_a_limited_number_of_indexes() {
    let indexes = |count: usize| -> Vec<Json> {
        (0..count).map(|number| index(&format!("i{number}"), &[&format!("nested.x.f{number}")])).collect()
    };
    assert!(parse(&table_with(json!({"indexes": indexes(64)}))).is_ok());
    assert_eq!(code(json!({"indexes": indexes(65)})), "TooManyIndexes");
    let staged = index("staged", &["body"]);
    assert_eq!(code(json!({"indexes": indexes(64), "stagedDbIndexes": [staged]})), "TooManyIndexes");
    let search: Vec<Json> = (0..5)
        .map(|number| json!({"indexDescriptor": format!("s{number}"), "searchField": "body", "filterFields": []}))
        .collect();
    assert_eq!(code(json!({"searchIndexes": search})), "TooManyIndexes");
}
