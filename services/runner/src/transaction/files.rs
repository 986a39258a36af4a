//! What functions ask about files. Their bytes are not here: clients upload and read them by addresses that functions give them,
//! and actions as [`crate::actions`] says.

use contract::Deployment;
use isolate::FunctionKind;
use serde::Deserialize;
use transaction::{File, Transaction};

use super::{
    host::TransactionHost,
    syscalls::{Attempt, caught, parse, required},
};
use crate::service::Shared;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct FileArguments {
    storage_id: Option<String>,
}

impl TransactionHost {
    pub(super) async fn file_operation(&mut self, name: &str, arguments: &str) -> Attempt {
        let is_read = matches!(name, "1.0/storageGetUrl" | "1.0/storageGetMetadata");
        if !is_read && self.tree.function().kind != FunctionKind::Mutation {
            return Err(caught("ReadOnly", "a query can't store files or delete them; only mutations can"));
        }
        file_operation(&self.shared, &mut self.transaction, self.tree.now_ms, name, arguments).await
    }
}

/// `now_ms` is what the function sees as the time.
pub(crate) async fn file_operation(
    shared: &Shared,
    transaction: &mut Transaction,
    now_ms: u64,
    name: &str,
    arguments: &str,
) -> Attempt {
    match name {
        "1.0/storageGetUrl" => Ok(match file(transaction, name, arguments).await? {
            Some(file) => {
                let deployment = shared.deployment(transaction.deployment())?;
                serde_json::Value::from(url_of(&deployment, &file)).to_string()
            }
            None => "null".to_owned(),
        }),
        "1.0/storageGetMetadata" => Ok(match file(transaction, name, arguments).await? {
            Some(file) => metadata_of(&file),
            None => "null".to_owned(),
        }),
        "1.0/storageDelete" => {
            let FileArguments { storage_id } = parse(name, arguments)?;
            transaction.delete_file(&required(name, "storageId", storage_id)?).await?;
            Ok("null".to_owned())
        }
        _ => {
            let token = transaction.upload_token(now_ms);
            let deployment = shared.deployment(transaction.deployment())?;
            let url = format!("{}/api/storage/upload?token={token}", deployment.cloud_url);
            Ok(serde_json::Value::from(url).to_string())
        }
    }
}

/// The file that an operation names; `None` if there is none.
pub(crate) async fn file(
    transaction: &mut Transaction,
    operation: &str,
    arguments: &str,
) -> Attempt<Option<File>> {
    let FileArguments { storage_id } = parse(operation, arguments)?;
    Ok(transaction.file(&required(operation, "storageId", storage_id)?).await?)
}

fn url_of(deployment: &Deployment, File { file, uuid, .. }: &File) -> String {
    let mut url = format!("{}/api/storage/{uuid}", deployment.cloud_url);
    if !file.row.component.is_root() {
        url.push_str(&format!("?component={}", file.row.component));
    }
    url
}

/// As the deprecated `storage.getMetadata` shows it: the digest in hexadecimal, where documents have base 64.
fn metadata_of(File { file, .. }: &File) -> String {
    let metadata = serde_json::json!({
        "storageId": String::from(file.id),
        "sha256": hex::encode(file.row.sha256),
        "size": file.row.size_bytes,
        "contentType": file.row.content_type,
    });
    metadata.to_string()
}
