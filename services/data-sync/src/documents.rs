//! Tables and documents, as they are read from the log.

use std::sync::Arc;

use bytes::Bytes;
use contract::{
    DeploymentRef, Error, IndexId, Interval, Order, Read, ReadAt, ReadResult, Result, TransactionLog, Version,
};
use futures::{StreamExt as _, TryStreamExt as _};
use transaction::{Table, Transaction};
use value::{ID_FIELD, JsonFormat, Object, Value};

/// Documents that are asked for by one read: what they take must go into one message between processes.
const READ_AT_ONCE: usize = 3;
/// Such reads that are under way.
const READS_IN_FLIGHT: usize = 8;

/// A table of the application.
#[derive(Clone, Debug)]
pub(crate) struct ExportedTable {
    /// Path of its component.
    pub component: String,
    pub table: Arc<Table>,
}

impl ExportedTable {
    pub fn name(&self) -> &str {
        self.table.name.as_str()
    }

    /// Names its data: another table of the same name has another one.
    pub fn tablet(&self) -> String {
        self.table.tablet.to_string()
    }
}

/// The application's tables as of a transaction's moment, by component and name.
pub(crate) fn tables_of(transaction: &Transaction) -> Vec<ExportedTable> {
    let catalog = transaction.deployment_catalog();
    let mut tables: Vec<ExportedTable> = Vec::new();
    for (path, component) in catalog.component_paths() {
        let of_component = catalog.of(component).tables();
        tables.extend(
            of_component
                .map(|table| ExportedTable { component: path.as_str().to_owned(), table: table.clone() }),
        );
    }
    tables.sort_by(|one, other| (&one.component, one.name()).cmp(&(&other.component, other.name())));
    tables
}

/// A document with the commit that wrote it.
#[derive(Clone, Debug)]
pub(crate) struct FoundDocument {
    pub key: Bytes,
    pub version: Version,
}

/// Some documents of a table.
#[derive(Debug)]
pub(crate) struct FoundDocuments {
    /// By id.
    pub documents: Vec<FoundDocument>,
    /// Whether there are more behind them.
    pub more: bool,
    /// As they are stored.
    pub bytes: usize,
}

/// The documents of a table behind `after`, as of `at`: at most so many, of about so many bytes, and at least one if there is any.
pub(crate) async fn documents_behind(
    log: &dyn TransactionLog,
    (deployment, at): (DeploymentRef, ReadAt),
    table: &Table,
    after: Option<&[u8]>,
    (documents_max, bytes_max): (usize, usize),
) -> Result<FoundDocuments> {
    let start = after.map_or_else(Bytes::new, |after| [after, &[0]].concat().into());
    let interval = Interval { start, end: None };
    let read = Read::Range {
        index: table.by_id.id,
        interval,
        order: Order::Ascending,
        rows_max: documents_max,
        bytes_max,
    };
    let Some(ReadResult::Range { rows, more }) = log.read(deployment, at, &[read]).await?.pop() else {
        return Err(unexpected());
    };
    let bytes = rows.iter().map(|row| row.version.document.len()).sum();
    let documents = rows.into_iter().map(|row| FoundDocument { key: row.key, version: row.version });
    Ok(FoundDocuments { documents: documents.collect(), more, bytes })
}

/// The documents at these keys, as of `at`, in their order.
pub(crate) async fn documents_at(
    log: &dyn TransactionLog,
    (deployment, at): (DeploymentRef, ReadAt),
    keys: Vec<(IndexId, Bytes)>,
) -> Result<Vec<Option<Version>>> {
    let reads: Vec<Vec<Read>> = keys
        .chunks(READ_AT_ONCE)
        .map(|keys| keys.iter().map(|(index, key)| Read::Point { index: *index, key: key.clone() }).collect())
        .collect();
    let answers = futures::stream::iter(reads)
        .map(|reads| async move { log.read(deployment, at, &reads).await })
        .buffered(READS_IN_FLIGHT);
    let answers: Vec<Vec<ReadResult>> = answers.try_collect().await?;
    let found = answers.into_iter().flatten().map(|answer| match answer {
        ReadResult::Point(version) => Ok(version),
        ReadResult::Range { .. } => Err(unexpected()),
    });
    found.collect()
}

/// The document of a version, complete: where it holds the commit's timestamp that stands in it.
pub(crate) fn object_of(version: &Version) -> Result<Object> {
    let stored = |error: String| Error::internal(format!("a stored document can't be read: {error}"));
    let (json, _) = contract::document::decode(&version.document)?;
    let value = Value::from_json_with_placeholder(json).map_err(|error| stored(error.to_string()))?;
    let mut object = value.into_object().map_err(|_| stored("it is no object".to_owned()))?;
    object.resolve_commit_timestamp(version.timestamp.as_nanoseconds() as i64);
    Ok(object)
}

/// The id of the document at a key of a primary index.
pub(crate) fn id_at(key: &[u8]) -> Result<String> {
    let damaged = || Error::internal("a key of a primary index is no id");
    // A tag, the text, a zero byte; an id has nothing to escape.
    let text = key.split_first().and_then(|(_, text)| text.split_last()).map(|(_, text)| text);
    let text = text.and_then(|text| std::str::from_utf8(text).ok()).ok_or_else(damaged)?;
    let id: value::DocumentId = text.parse().map_err(|_| damaged())?;
    Ok(id.to_string())
}

/// A document of which only the id is left.
pub(crate) fn only_id(key: &[u8]) -> Result<Object> {
    Ok(Object::from_iter([(ID_FIELD.to_owned(), Value::String(id_at(key)?))]))
}

/// The JSON of an object, with fields behind its own, which begin with an underscore as no other of its fields does.
pub(crate) fn json_with(object: Object, format: JsonFormat, fields: &[(&str, String)]) -> String {
    let mut json = Value::Object(object).to_json_in(format);
    assert_eq!(json.pop(), Some('}'), "the JSON of an object ends with a brace");
    for (name, value) in fields {
        if !json.ends_with('{') {
            json.push(',');
        }
        json.push_str(&format!("\"{name}\":{value}"));
    }
    json.push('}');
    json
}

fn unexpected() -> Error {
    Error::internal("the log answered a read with a result of another kind")
}

#[cfg(test)]
mod tests {
    use value::{DocumentId, InternalId, TableNumber, key, object};

    use super::*;

    #[test]
    fn the_id_is_in_the_key() {
        let number = TableNumber::new(10_001).expect("a number");
        let id = DocumentId::new(number, InternalId::from_bytes([7; 16]));
        let key = key::encode(&[Some(&Value::from(id))]);
        assert_eq!(id_at(&key).expect("it is one"), id.to_string());
        assert!(id_at(&key[1..]).is_err());
        assert!(id_at(&[]).is_err());
    }

    #[test]
    fn fields_come_behind_those_that_are_there() {
        let json = json_with(object! {"a" => 1.0}, JsonFormat::Clean, &[("_ts", "9007199254740993".into())]);
        assert_eq!(json, r#"{"a":1,"_ts":9007199254740993}"#);
        assert_eq!(json_with(Object::new(), JsonFormat::Clean, &[("_ts", "1".into())]), r#"{"_ts":1}"#);
    }
}
