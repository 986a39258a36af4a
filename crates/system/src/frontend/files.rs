//! What consoles do with files.

use contract::{CLOUD_URL_VARIABLE, Order};
use transaction::{PageRequest, Query, Result, Transaction};
use value::{Object, Value, object};

use crate::{
    Environment,
    arguments::{Arguments, PaginationOptions},
};

/// One page of the files, the newest first: the documents of `_storage`, each with its address as `url`.
pub(super) async fn page(
    transaction: &mut Transaction,
    arguments: &Arguments<'_>,
    environment: &Environment,
) -> Result<String> {
    let PaginationOptions { cursor, end_cursor, items } = arguments.pagination()?;
    let request = PageRequest {
        query: Query::full_table_scan("_storage".parse()?, Order::Descending),
        cursor,
        end_cursor,
        page_size: items,
        maximum_rows_read: None,
        maximum_bytes_read: None,
    };
    let page = transaction.page(request).await?;
    let mut files = Vec::with_capacity(page.documents.len());
    for document in &page.documents {
        let mut shown = document.to_object()?;
        let id = shown.get("_id").and_then(Value::as_str).unwrap_or_default().to_owned();
        // A file of another component has no address here.
        let Some(file) = transaction.file(&id).await? else { continue };
        let component = file.file.row.component;
        let mut url = format!("{}/api/storage/{}", cloud_url(environment), file.uuid);
        if !component.is_root() {
            url.push_str(&format!("?component={component}"));
        }
        shown.insert("url", url);
        files.push(Value::Object(shown));
    }
    let result: Object = object! {
        "page" => files,
        "isDone" => page.is_done,
        "continueCursor" => page.continue_cursor,
        "splitCursor" => page.split_cursor,
        "pageStatus" => page.status.map(|status| status.name()),
    };
    Ok(result.to_json())
}

/// Deletes the files with the given ids, all of them or none (`StorageIdNotFound`).
pub(super) async fn delete(transaction: &mut Transaction, arguments: &Arguments<'_>) -> Result<String> {
    for id in arguments.texts("storageIds")? {
        transaction.delete_file(id).await?;
    }
    Ok(Value::Null.to_json())
}

/// An address to which one file can be posted.
pub(super) fn upload_url(transaction: &mut Transaction, environment: &Environment) -> Result<String> {
    let token = transaction.upload_token(transaction.now_ms());
    let url = format!("{}/api/storage/upload?token={token}", cloud_url(environment));
    Ok(Value::from(url).to_json())
}

fn cloud_url(environment: &Environment) -> &str {
    environment.variables.get(CLOUD_URL_VARIABLE).map_or("", String::as_str)
}
