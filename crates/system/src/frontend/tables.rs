//! What consoles show of tables as such.

use transaction::{Result, SchemaState, Transaction};
use value::{Object, TableName, Value, object};

use crate::{
    arguments::{Arguments, wrong},
    tables::readable,
};

/// Creates an empty table; nothing if it is there.
pub(super) async fn create(transaction: &mut Transaction, arguments: &Arguments<'_>) -> Result<String> {
    let name: TableName = arguments.text("table")?.parse()?;
    if name.is_system() {
        return Err(wrong("a table's name must not begin with `_`"));
    }
    if transaction.table(&name).is_none() {
        transaction.create_table(name).await?;
    }
    Ok(Value::Null.to_json())
}

/// How many documents a table has, counted up to `most`: `{count, isExact}`.
pub(super) async fn size_up_to(transaction: &mut Transaction, arguments: &Arguments<'_>) -> Result<String> {
    let table = readable(arguments.text("tableName")?)?;
    let most = arguments.number("most")?;
    if !(1.0..=10_000.0).contains(&most) {
        return Err(wrong("`most` must be from 1 to 10000"));
    }
    let count = transaction.count_up_to(table.as_str(), most as usize).await?;
    Ok(object! { "count" => count.documents as f64, "isExact" => count.is_exact }.to_json())
}

/// The schema that holds, as `active`, and one that is being checked, as `inProgress`: each is JSON in a string, as it was pushed.
pub(super) async fn schemas(transaction: &mut Transaction) -> Result<String> {
    let mut shown = Object::new();
    for schema in transaction.schemas().await? {
        let name = match schema.row.state {
            SchemaState::Active => "active",
            SchemaState::Pending | SchemaState::Validated => "inProgress",
            _ => continue,
        };
        shown.insert(name, schema.row.schema.to_string());
    }
    Ok(shown.to_json())
}

/// The declared indexes of a table: `[{name, fields, state, staged}]`.
pub(super) async fn indexes(transaction: &mut Transaction, arguments: &Arguments<'_>) -> Result<String> {
    let mut shown = Vec::new();
    for index in transaction.indexes_of(arguments.text("tableName")?).await? {
        let fields: Vec<Value> =
            index.row.fields.iter().map(|field| Value::from(field.to_string())).collect();
        shown.push(Value::Object(object! {
            "name" => index.row.name.as_str(),
            "fields" => fields,
            "state" => index.row.state.name(),
            "staged" => index.row.staged,
        }));
    }
    Ok(Value::Array(shown).to_json())
}
