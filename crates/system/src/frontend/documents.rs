//! What consoles do with documents. Schemas hold here as they do for functions.

use std::collections::BTreeMap;

use base64::{Engine as _, prelude::BASE64_STANDARD as BASE64};
use contract::Order;
use serde::{Deserialize, Deserializer};
use serde_json::json;
use transaction::{GetRequest, PageRequest, Query, Result, Transaction};
use value::{Object, Patch, TableName, Value, object};

use crate::{
    arguments::{Arguments, PaginationOptions, wrong},
    tables::readable,
};

/// How documents are chosen and ordered, as the client sends it: JSON in base 64.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Filters {
    /// All of them must hold.
    #[serde(default)]
    clauses: Vec<Clause>,
    /// By which index they are ordered; by their creation if none is named. Clauses at its first fields choose a range of it.
    #[serde(default)]
    index: Option<String>,
    #[serde(default)]
    order: FilterOrder,
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum FilterOrder {
    Asc,
    #[default]
    Desc,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Clause {
    field: String,
    op: Operator,
    /// Convex JSON, null among it; absent where the operator takes none.
    #[serde(default, deserialize_with = "given")]
    value: Option<serde_json::Value>,
}

/// What is there is a value, also if it is null.
fn given<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> std::result::Result<Option<serde_json::Value>, D::Error> {
    serde_json::Value::deserialize(deserializer).map(Some)
}

#[derive(Clone, Copy, PartialEq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Operator {
    Eq,
    Neq,
    Lt,
    Lte,
    Gt,
    Gte,
    Exists,
    Missing,
}

impl Filters {
    fn read(text: &str) -> Result<Filters> {
        let json =
            BASE64.decode(text).map_err(|error| wrong(&format!("`filters` is not base 64: {error}")))?;
        // A list of the fields' values would be taken too, if it were read at once.
        serde_json::from_slice(&json)
            .and_then(|fields: serde_json::Map<_, _>| serde_json::from_value(fields.into()))
            .map_err(|error| wrong(&format!("`filters` can't be read: {error}")))
    }

    /// The query in the form of the function library. `index_fields` are those of the index by which it is ordered.
    fn query(&self, table: &TableName, index_fields: &[String]) -> Result<serde_json::Value> {
        let order = match self.order {
            FilterOrder::Asc => "asc",
            FilterOrder::Desc => "desc",
        };
        let mut rest: Vec<&Clause> = self.clauses.iter().collect();
        let source = match &self.index {
            None => json!({ "type": "FullTableScan", "tableName": table, "order": order }),
            Some(index) => {
                let range = range_of(&mut rest, index_fields);
                let name = format!("{table}.{index}");
                json!({ "type": "IndexRange", "indexName": name, "range": range, "order": order })
            }
        };
        let conditions = rest.into_iter().map(Clause::condition).collect::<Result<Vec<_>>>()?;
        let operators = match conditions.is_empty() {
            true => json!([]),
            false => json!([{ "filter": { "$and": conditions } }]),
        };
        Ok(json!({ "source": source, "operators": operators }))
    }
}

/// Takes from `clauses` what an index with these fields can answer: equalities at its first fields, and behind them bounds at one.
fn range_of(clauses: &mut Vec<&Clause>, index_fields: &[String]) -> Vec<serde_json::Value> {
    let mut range = Vec::new();
    let mut take = |clauses: &mut Vec<&Clause>, field: &str, name: &str, operator: Operator| {
        let fits =
            |clause: &&Clause| clause.field == field && clause.op == operator && clause.value.is_some();
        let found = clauses.iter().position(fits);
        let Some(found) = found else { return false };
        let clause = clauses.remove(found);
        range.push(json!({ "type": name, "fieldPath": field, "value": clause.value }));
        true
    };
    for field in index_fields {
        if take(clauses, field, "Eq", Operator::Eq) {
            continue;
        }
        // One bound on each side; others stay conditions.
        for side in
            [[(Operator::Gt, "Gt"), (Operator::Gte, "Gte")], [(Operator::Lt, "Lt"), (Operator::Lte, "Lte")]]
        {
            side.into_iter().any(|(operator, name)| take(clauses, field, name, operator));
        }
        break;
    }
    range
}

impl Clause {
    fn condition(&self) -> Result<serde_json::Value> {
        let name = match self.op {
            Operator::Eq | Operator::Missing => "$eq",
            Operator::Neq | Operator::Exists => "$neq",
            Operator::Lt => "$lt",
            Operator::Lte => "$lte",
            Operator::Gt => "$gt",
            Operator::Gte => "$gte",
        };
        let value = match (self.op, &self.value) {
            (Operator::Exists | Operator::Missing, _) => json!({ "$undefined": null }),
            (_, Some(value)) => value.clone(),
            (_, None) => return Err(wrong(&format!("the filter of `{}` needs a value", self.field))),
        };
        Ok(json!({ name: [{ "$field": self.field }, { "$literal": value }] }))
    }
}

/// One page of the documents that fit the filters, the newest first unless they say otherwise.
pub(super) async fn page(transaction: &mut Transaction, arguments: &Arguments<'_>) -> Result<String> {
    let table = readable(arguments.text("table")?)?;
    let PaginationOptions { cursor, end_cursor, items } = arguments.pagination()?;
    let query = match arguments.optional_text("filters")? {
        None => Query::full_table_scan(table, Order::Descending),
        Some(text) => {
            let filters = Filters::read(&text)?;
            let mut fields = Vec::new();
            if let Some(name) = &filters.index {
                let known = transaction.indexes_of(table.as_str()).await?;
                let index = known.into_iter().find(|index| index.row.name.as_str() == name);
                fields =
                    index.map_or(fields, |index| index.row.fields.iter().map(ToString::to_string).collect());
            }
            let query = filters.query(&table, &fields)?;
            let limits = transaction.limits().transaction;
            Query::from_serde_json(query, &limits)?
        }
    };
    let request = PageRequest {
        query,
        cursor,
        end_cursor,
        page_size: items,
        maximum_rows_read: None,
        maximum_bytes_read: None,
    };
    Ok(transaction.page(request).await?.to_json())
}

/// The document with this id, or null.
pub(super) async fn get(transaction: &mut Transaction, arguments: &Arguments<'_>) -> Result<String> {
    let request = GetRequest { id: arguments.text("id")?, table: None, is_system: false };
    let document = transaction.get(request).await?;
    Ok(document.map_or_else(|| Value::Null.to_json(), |document| document.json().to_owned()))
}

/// Inserts all of the documents, or none; their ids come back.
pub(super) async fn add(transaction: &mut Transaction, arguments: &Arguments<'_>) -> Result<String> {
    let table = arguments.text("table")?;
    let mut ids = Vec::new();
    for document in arguments.list("documents")? {
        ids.push(Value::from(String::from(transaction.insert(table, document.clone()).await?)));
    }
    Ok(object! { "success" => true, "ids" => ids }.to_json())
}

/// Sets all fields of one document.
pub(super) async fn replace(transaction: &mut Transaction, arguments: &Arguments<'_>) -> Result<String> {
    let document = Value::Object(arguments.object("document")?.clone());
    transaction.replace(arguments.text("id")?, None, document).await?;
    Ok(success())
}

/// Sets the given fields of the documents with these ids, and takes away those that `removed` names.
pub(super) async fn patch(transaction: &mut Transaction, arguments: &Arguments<'_>) -> Result<String> {
    let table = arguments.text("table")?;
    let fields: &Object = arguments.object("fields")?;
    let set = fields.iter().map(|(name, value)| (name.clone(), Some(value.clone())));
    let removed = arguments.optional_texts("removed")?.into_iter().map(|name| (name.to_owned(), None));
    let changes: BTreeMap<String, Option<Value>> = set.chain(removed).collect();
    for id in arguments.texts("ids")? {
        transaction.patch(id, Some(table), Patch(changes.clone())).await?;
    }
    Ok(success())
}

/// Deletes all of the documents that are named by `{id, tableName}`, or none.
pub(super) async fn delete(transaction: &mut Transaction, arguments: &Arguments<'_>) -> Result<String> {
    for named in arguments.list("toDelete")? {
        let named = Arguments::new(named)?;
        transaction.delete(named.text("id")?, Some(named.text("tableName")?)).await?;
    }
    Ok(success())
}

/// Documents that one call of `clearTablePage` deletes: few enough for one transaction, whatever their indexes.
const CLEARED_DOCUMENTS: f64 = 1_000.0;

/// Deletes the oldest documents of a table: `{deleted, hasMore}`. To be called until there are no more.
pub(super) async fn clear_page(transaction: &mut Transaction, arguments: &Arguments<'_>) -> Result<String> {
    let table = readable(arguments.text("tableName")?)?;
    let request = PageRequest {
        query: Query::full_table_scan(table.clone(), Order::Ascending),
        cursor: None,
        end_cursor: None,
        page_size: CLEARED_DOCUMENTS,
        maximum_rows_read: None,
        // What is deleted is written, too.
        maximum_bytes_read: Some(transaction.limits().transaction.written_bytes_max as f64 / 2.0),
    };
    let page = transaction.page(request).await?;
    for document in &page.documents {
        let document = document.to_object()?;
        let id = document.get("_id").and_then(Value::as_str).unwrap_or_default();
        transaction.delete(id, Some(table.as_str())).await?;
    }
    let deleted = page.documents.len() as f64;
    Ok(object! { "deleted" => deleted, "hasMore" => !page.is_done }.to_json())
}

fn success() -> String {
    object! { "success" => true }.to_json()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(filters: serde_json::Value, index_fields: &[&str]) -> serde_json::Value {
        let filters = Filters::read(&BASE64.encode(filters.to_string())).expect("filters");
        let fields: Vec<String> = index_fields.iter().map(|field| field.to_string()).collect();
        filters.query(&"messages".parse().expect("a name"), &fields).expect("a query")
    }

    #[test]
    fn clauses_at_the_first_fields_of_the_index_become_its_range() {
        let clauses = json!([
            {"field": "body", "op": "neq", "value": "x"},
            {"field": "n", "op": "lt", "value": 9},
            {"field": "channel", "op": "eq", "value": "c"},
            {"field": "n", "op": "gte", "value": 3},
        ]);
        let by_index =
            query(json!({"clauses": clauses, "index": "by_channel_n", "order": "asc"}), &["channel", "n"]);
        assert_eq!(
            by_index["source"],
            json!({"type": "IndexRange", "indexName": "messages.by_channel_n", "order": "asc", "range": [
                {"type": "Eq", "fieldPath": "channel", "value": "c"},
                {"type": "Gte", "fieldPath": "n", "value": 3},
                {"type": "Lt", "fieldPath": "n", "value": 9},
            ]})
        );
        let rest = json!([{"filter": {"$and": [{"$neq": [{"$field": "body"}, {"$literal": "x"}]}]}}]);
        assert_eq!(by_index["operators"], rest);
        // Behind a field that no clause names, the index says nothing.
        let by_other = query(json!({"clauses": clauses, "index": "by_author_n"}), &["author", "n"]);
        assert_eq!(by_other["source"]["range"], json!([]));
        assert_eq!(by_other["operators"][0]["filter"]["$and"].as_array().map(Vec::len), Some(4));
    }

    #[test]
    fn what_is_there_and_what_is_missing_are_told_by_undefined() {
        let clauses = json!([{"field": "a", "op": "exists"}, {"field": "b", "op": "missing"}]);
        let query = query(json!({ "clauses": clauses }), &[]);
        assert_eq!(
            query["source"],
            json!({"type": "FullTableScan", "tableName": "messages", "order": "desc"})
        );
        let undefined = json!({"$literal": {"$undefined": null}});
        assert_eq!(
            query["operators"][0]["filter"]["$and"],
            json!([{"$neq": [{"$field": "a"}, undefined]}, {"$eq": [{"$field": "b"}, undefined]}])
        );
        let null = self::query(json!({"clauses": [{"field": "a", "op": "eq", "value": null}]}), &[]);
        let is_null = json!([{"$eq": [{"$field": "a"}, {"$literal": null}]}]);
        assert_eq!(null["operators"][0]["filter"]["$and"], is_null);
    }

    #[test]
    fn filters_that_can_not_be_read_are_refused() {
        let refused = |json: &str| Filters::read(&BASE64.encode(json)).is_err();
        assert!(Filters::read("§").is_err() && refused("[]") && refused(r#"{"where":1}"#));
        assert!(refused(r#"{"clauses":[{"field":"a","op":"like","value":"x"}]}"#));
        let without_value =
            Filters::read(&BASE64.encode(r#"{"clauses":[{"field":"a","op":"eq"}]}"#)).expect("filters");
        assert!(without_value.query(&"t".parse().expect("a name"), &[]).is_err());
    }
}
