//! What functions ask about files. Their bytes are not here: clients upload and read them by addresses that functions give them.
//! `storage.store` and `storage.get`, which need the bytes, belong to actions.

use isolate::FunctionKind;
use serde::Deserialize;
use transaction::File;

use super::{
    host::TransactionHost,
    syscalls::{Attempt, caught, parse, required},
};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct FileArguments {
    storage_id: Option<String>,
}

impl TransactionHost {
    pub(super) async fn file_operation(&mut self, name: &str, arguments: &str) -> Attempt {
        match name {
            "1.0/storageGetUrl" => self.file_url(name, arguments).await,
            "1.0/storageGetMetadata" => self.file_metadata(name, arguments).await,
            _ if self.tree.function().kind != FunctionKind::Mutation => {
                Err(caught("ReadOnly", "a query can't store files or delete them; only mutations can"))
            }
            "1.0/storageDelete" => self.delete_file(name, arguments).await,
            _ => {
                let token = self.transaction.upload_token(self.tree.now_ms);
                let url = format!("{}/api/storage/upload?token={token}", self.shared.options.cloud_url);
                Ok(serde_json::Value::from(url).to_string())
            }
        }
    }

    async fn file(&mut self, operation: &str, arguments: &str) -> Attempt<Option<File>> {
        let FileArguments { storage_id } = parse(operation, arguments)?;
        let id = required(operation, "storageId", storage_id)?;
        Ok(self.transaction.file(&id).await?)
    }

    async fn file_url(&mut self, operation: &str, arguments: &str) -> Attempt {
        let Some(File { file, uuid, .. }) = self.file(operation, arguments).await? else {
            return Ok("null".to_owned());
        };
        let mut url = format!("{}/api/storage/{uuid}", self.shared.options.cloud_url);
        if !file.row.component.is_root() {
            url.push_str(&format!("?component={}", file.row.component));
        }
        Ok(serde_json::Value::from(url).to_string())
    }

    /// As the deprecated `storage.getMetadata` shows it: the digest in hexadecimal, where documents have base 64.
    async fn file_metadata(&mut self, operation: &str, arguments: &str) -> Attempt {
        let Some(File { file, .. }) = self.file(operation, arguments).await? else {
            return Ok("null".to_owned());
        };
        let metadata = serde_json::json!({
            "storageId": String::from(file.id),
            "sha256": hex::encode(file.row.sha256),
            "size": file.row.size_bytes,
            "contentType": file.row.content_type,
        });
        Ok(metadata.to_string())
    }

    async fn delete_file(&mut self, operation: &str, arguments: &str) -> Attempt {
        let FileArguments { storage_id } = parse(operation, arguments)?;
        self.transaction.delete_file(&required(operation, "storageId", storage_id)?).await?;
        Ok("null".to_owned())
    }
}
