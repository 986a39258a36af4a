//! Functions about exports and imports.

use transaction::{Error, ExportRow, ImportRow, Result, SystemTable, Transaction};
use value::{DocumentId, Object, Value};

/// What of a row is nobody's business but of those who work on it.
const WITHIN: [&str; 5] = ["attempts", "beat", "holder", "is_cleared", "position"];

/// The export that was requested last; null if none ever was.
pub(crate) async fn latest_export(transaction: &mut Transaction) -> Result<String> {
    let exports = transaction.each_row_document::<ExportRow>("by_creation_time", &[]).await?;
    let latest = exports.into_iter().rev().find_map(Result::ok);
    Ok(Value::from(latest.map(shown)).to_json())
}

/// All imports whose bytes are there, the oldest first.
pub(crate) async fn imports(transaction: &mut Transaction) -> Result<String> {
    let imports = transaction.each_row_document::<ImportRow>("by_creation_time", &[]).await?;
    let imports = imports.into_iter().flatten().filter(|import| import.contains("format"));
    Ok(Value::Array(imports.map(|import| Value::Object(shown(import))).collect()).to_json())
}

/// One import.
pub(crate) async fn import(transaction: &mut Transaction, id: &str) -> Result<String> {
    let id = id.parse().ok().filter(|id: &DocumentId| id.table == SystemTable::SnapshotImports.number());
    let key = id.map(Value::from).ok_or_else(not_found)?;
    let found = transaction.row_documents::<ImportRow>("by_id", &[key]).await?.pop();
    Ok(Value::Object(shown(found.ok_or_else(not_found)?)).to_json())
}

fn not_found() -> Error {
    Error::user("ImportNotFound", "There is no such import.")
}

fn shown(mut row: Object) -> Object {
    for field in WITHIN {
        row.remove(field);
    }
    row
}
