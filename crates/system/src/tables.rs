//! Functions about tables and their documents.

use transaction::{Error, PageRequest, Query, Result, SystemTable, Transaction};
use value::{TableName, Value, object};

use crate::arguments::{Arguments, PaginationOptions, wrong};

/// One page of the names of all tables, in their order. The cursor is the last name of the page before.
pub(crate) fn tables(transaction: &mut Transaction, arguments: &Arguments<'_>) -> Result<String> {
    let PaginationOptions { cursor, items, .. } = arguments.pagination()?;
    if items.is_nan() || items < 1.0 {
        return Err(wrong("`numItems` must be at least 1"));
    }
    let cursor = cursor.unwrap_or_default();
    let mut names: Vec<TableName> = transaction.tables().iter().map(|table| table.name.clone()).collect();
    names.retain(|name| name.as_str() > cursor.as_str());
    names.sort();
    let is_done = names.len() as f64 <= items;
    names.truncate(items as usize);
    let continue_cursor = names.last().map_or(cursor, TableName::to_string);
    let page =
        names.iter().map(|name| Value::Object(object! { "name" => name.as_str() })).collect::<Vec<_>>();
    let result = object! { "page" => page, "isDone" => is_done, "continueCursor" => continue_cursor };
    Ok(result.to_json())
}

/// One page of a table's documents, in the order of their creation; an empty one if there is no such table.
pub(crate) async fn table_data(transaction: &mut Transaction, arguments: &Arguments<'_>) -> Result<String> {
    let PaginationOptions { cursor, end_cursor, items } = arguments.pagination()?;
    let request = PageRequest {
        query: Query::full_table_scan(readable(arguments.text("table")?)?, arguments.order("order")?),
        cursor,
        end_cursor,
        page_size: items,
        maximum_rows_read: None,
        maximum_bytes_read: None,
    };
    Ok(transaction.page(request).await?.to_json())
}

/// The number of a table's documents, a Float64; 0 if there is no such table.
pub(crate) async fn table_size(transaction: &mut Transaction, table: &str) -> Result<String> {
    let count = transaction.count(readable(table)?.as_str()).await?;
    Ok(Value::Float64(count as f64).to_json())
}

/// Functions see no rows of the system's own tables; people who name one are told so.
pub(crate) fn readable(table: &str) -> Result<TableName> {
    let name: TableName = table.parse()?;
    if SystemTable::may_be_read(&name) {
        return Ok(name);
    }
    Err(Error::user("SystemTableError", format!("there is no system table `{name}` that can be read")))
}

/// Where the table stood last; what matters is that the result holds until the table changes.
pub(crate) fn watch_table(transaction: &mut Transaction, table: &str) -> Result<String> {
    transaction.watch_table(&table.parse()?);
    // The moment itself: equal results are not sent again, and the watcher waits for the second one.
    Ok(Value::Int64(transaction.begin_at().timestamp.as_nanoseconds() as i64).to_json())
}
