//! JSON schemas of tables, of documents as `json` writes them.

use std::collections::{BTreeMap, BTreeSet};

use contract::{DeploymentRef, Error, Result, SchemasRequest};
use schema::Validator;
use serde_json::{Map, Value as Json, json};
use value::{CREATION_TIME_FIELD, ComponentId, ID_FIELD, JsonFormat};

use crate::service::{Shared, format_of};

pub(crate) async fn all(
    shared: &Shared,
    deployment: DeploymentRef,
    request: SchemasRequest,
) -> Result<String> {
    if format_of(request.format.as_deref())? != JsonFormat::Clean {
        return Err(Error::bad_request("BadFormat", "Schemas describe documents in the format json."));
    }
    let transaction = shared.transactions.snapshot(deployment).await?;
    let catalog = transaction.deployment_catalog().of(ComponentId::ROOT);
    let schema = match catalog.active_schema() {
        Some(schema) => Some(schema.schema().map_err(transaction::Error::of_the_system)?),
        None => None,
    };
    let schema = schema.filter(|schema| schema.schema_validation);
    let mut schemas = Map::new();
    for table in catalog.tables() {
        let declared = schema.as_ref().and_then(|schema| schema.tables.get(&table.name));
        let documents = declared.map_or(&Validator::Any, |declared| &declared.document_type);
        schemas.insert(table.name.as_str().to_owned(), of_table(documents, request.delta));
    }
    Ok(Json::Object(schemas).to_string())
}

/// The schema of a table's documents, which always has `properties`.
fn of_table(documents: &Validator, delta: bool) -> Json {
    let shapes = shapes_of(documents);
    let mut properties: BTreeMap<String, Vec<Json>> = BTreeMap::new();
    let mut required: Option<BTreeSet<String>> = None;
    for shape in &shapes {
        let mut of_shape = BTreeSet::new();
        for (name, field) in shape {
            let schemas = properties.entry(name.clone()).or_default();
            let schema = of_value(&field.validator);
            if !schemas.contains(&schema) {
                schemas.push(schema);
            }
            if !field.optional {
                of_shape.insert(name.clone());
            }
        }
        required = Some(match required {
            Some(required) => &required & &of_shape,
            None => of_shape,
        });
    }
    let mut properties: Map<String, Json> = properties
        .into_iter()
        .map(|(name, mut schemas)| {
            let only = if schemas.len() == 1 { schemas.pop() } else { None };
            (name, only.unwrap_or_else(|| json!({ "anyOf": schemas })))
        })
        .collect();
    properties.insert(ID_FIELD.to_owned(), json!({ "type": "string" }));
    properties.insert(CREATION_TIME_FIELD.to_owned(), json!({ "type": "number" }));
    let mut required = required.unwrap_or_default();
    required.insert(ID_FIELD.to_owned());
    if delta {
        properties.insert("_ts".to_owned(), json!({ "type": "integer" }));
        properties.insert("_deleted".to_owned(), json!({ "type": "boolean" }));
        properties.insert("_table".to_owned(), json!({ "type": "string" }));
        properties.insert("_component".to_owned(), json!({ "type": "string" }));
        // Of what is deleted nothing else is left.
        required = BTreeSet::from([ID_FIELD.to_owned(), "_ts".to_owned()]);
    } else {
        required.insert(CREATION_TIME_FIELD.to_owned());
    }
    json!({
        "$schema": "http://json-schema.org/draft-07/schema#",
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": true,
    })
}

/// The fields that documents may have, in each of the shapes that they may have.
fn shapes_of(documents: &Validator) -> Vec<BTreeMap<String, schema::FieldValidator>> {
    match documents {
        Validator::Object(fields) => {
            vec![fields.iter().map(|(name, field)| (name.to_string(), field.clone())).collect()]
        }
        Validator::Union(members) => {
            let shapes: Vec<Vec<_>> = members.iter().map(shapes_of).collect();
            // With one of any shape nothing is known of all.
            if shapes.iter().any(Vec::is_empty) { Vec::new() } else { shapes.concat() }
        }
        _ => Vec::new(),
    }
}

fn of_value(validator: &Validator) -> Json {
    match validator {
        Validator::Any => json!({}),
        Validator::Null => json!({ "type": "null" }),
        // What JSON has no number for is written as text.
        Validator::Float64 => {
            json!({ "anyOf": [{ "type": "number" }, { "enum": ["NaN", "Infinity", "-Infinity"] }] })
        }
        Validator::Boolean => json!({ "type": "boolean" }),
        Validator::Int64
        | Validator::CommitTimestamp
        | Validator::String
        | Validator::Bytes
        | Validator::Id(_)
        | Validator::Function(_) => json!({ "type": "string" }),
        Validator::Literal(value) => json!({ "enum": [literal(value)] }),
        Validator::Array(members) => json!({ "type": "array", "items": of_value(members) }),
        Validator::Record { values, .. } => {
            json!({ "type": "object", "additionalProperties": of_value(values) })
        }
        Validator::Object(fields) => {
            let properties: Map<String, Json> =
                fields.iter().map(|(name, field)| (name.to_string(), of_value(&field.validator))).collect();
            let required: Vec<String> = fields
                .iter()
                .filter(|(_, field)| !field.optional)
                .map(|(name, _)| name.to_string())
                .collect();
            json!({
                "type": "object",
                "properties": properties,
                "required": required,
                "additionalProperties": false,
            })
        }
        Validator::Union(members) => {
            json!({ "anyOf": members.iter().map(of_value).collect::<Vec<_>>() })
        }
    }
}

fn literal(value: &value::Value) -> Json {
    serde_json::to_value(value.as_json(JsonFormat::Clean))
        .expect("a literal is a string, a number or a boolean")
}

#[cfg(test)]
mod tests {
    use schema::SchemaLimits;

    use super::*;

    fn of(validator: &str, delta: bool) -> Json {
        of_table(&Validator::from_json(validator, &SchemaLimits::DEFAULT).expect(validator), delta)
    }

    #[test]
    fn a_table_has_the_properties_that_its_documents_may_have() {
        let messages = r#"{"type": "object", "value": {
            "body": {"fieldType": {"type": "string"}, "optional": false},
            "likes": {"fieldType": {"type": "bigint"}, "optional": true}}}"#;
        let schema = of(messages, false);
        assert_eq!(schema["properties"]["body"], json!({"type": "string"}));
        assert_eq!(schema["properties"]["likes"], json!({"type": "string"}));
        assert_eq!(schema["required"], json!(["_creationTime", "_id", "body"]));
        let schema = of(messages, true);
        assert_eq!(schema["properties"]["_ts"], json!({"type": "integer"}));
        assert_eq!(schema["required"], json!(["_id", "_ts"]), "of a deleted one there is no body");
    }

    #[test]
    fn shapes_of_a_union_are_put_together() {
        let field = |kind: &str| format!(r#"{{"fieldType": {{"type": "{kind}"}}, "optional": false}}"#);
        let (text, flag) = (field("string"), field("boolean"));
        let union = format!(
            r#"{{"type": "union", "value": [
                {{"type": "object", "value": {{"a": {text}, "b": {flag}}}}},
                {{"type": "object", "value": {{"a": {flag}}}}}]}}"#
        );
        let schema = of(&union, false);
        assert_eq!(schema["properties"]["a"], json!({"anyOf": [{"type": "string"}, {"type": "boolean"}]}));
        assert_eq!(schema["required"], json!(["_creationTime", "_id", "a"]));
        assert_eq!(of(r#"{"type": "any"}"#, false)["properties"]["_id"], json!({"type": "string"}));
    }
}
