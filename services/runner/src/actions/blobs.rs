//! The bytes of files between an action and the files service (`crates/isolate/src/platform/storage.js`). They pass piece by piece, so
//! that none of them waits in the host.

use std::{collections::HashMap, sync::Arc};

use base64::{Engine as _, prelude::BASE64_STANDARD as BASE64};
use contract::{FileName, FileUpload, NewFile, ObjectBytes, Result, Uploader};
use fair_queue::Place;
use futures::StreamExt as _;
use isolate::{Answer, Reply, SyscallError};
use serde::Deserialize;
use tokio::sync::{Mutex, OwnedSemaphorePermit};

use super::calls::Calls;
use crate::transaction::{Attempt, Failure, caught, file};

/// Those that are under way, by the numbers that the platform gives them.
#[derive(Default)]
pub(super) struct Transfers(HashMap<u64, Arc<Transfer>>);

/// A file on its way in or out.
#[derive(Default)]
pub(super) struct Transfer(Mutex<Option<Open>>);

struct Open {
    way: Way,
    _permit: OwnedSemaphorePermit,
    _place: Place,
}

enum Way {
    In(Box<dyn FileUpload>),
    Out(ObjectBytes),
}

#[derive(Deserialize)]
pub(super) struct TransferArguments {
    transfer: u64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct StoreArguments {
    content_type: Option<String>,
    sha256: Option<String>,
}

impl Transfers {
    /// One that begins.
    pub(super) fn open(&mut self, TransferArguments { transfer }: TransferArguments) -> Arc<Transfer> {
        // Those that nobody but this map knows and that hold nothing are over.
        self.0.retain(|_, transfer| {
            Arc::strong_count(transfer) > 1 || transfer.0.try_lock().is_ok_and(|open| open.is_some())
        });
        Arc::clone(self.0.entry(transfer).or_default())
    }

    /// One that goes on.
    pub(super) fn get(&self, TransferArguments { transfer }: TransferArguments) -> Attempt<Arc<Transfer>> {
        self.0.get(&transfer).cloned().ok_or_else(|| Failure::Caught(unknown()))
    }
}

fn unknown() -> SyscallError {
    SyscallError::new("there is no such file under way")
}

fn failed(error: contract::Error) -> SyscallError {
    SyscallError::new(format!("{}: {}", error.code, error.message))
}

impl Transfer {
    /// Begins to store a file.
    pub(super) async fn begin(&self, calls: &Calls, arguments: StoreArguments) -> Answer {
        let StoreArguments { content_type, sha256 } = arguments;
        let sha256 = sha256.as_deref().map(digest).transpose()?;
        let file = NewFile {
            deployment: calls.call.deployment,
            by: Uploader::Function { component: calls.component.to_string() },
            content_type,
            sha256,
        };
        let begin = async { calls.handle.files.begin(file).await.map(Way::In) };
        self.hold(calls, begin).await?;
        Ok("null".into())
    }

    /// Takes the next bytes of a file that is stored.
    pub(super) async fn write(&self, bytes: Vec<u8>) -> Answer {
        let mut place = self.0.lock().await;
        let Some(Open { way: Way::In(upload), .. }) = place.as_mut() else { return Err(unknown()) };
        match upload.write(bytes.into()).await {
            Ok(()) => Ok("null".into()),
            Err(error) => {
                *place = None;
                Err(failed(error))
            }
        }
    }

    /// Makes the file. Answers with its id.
    pub(super) async fn finish(&self) -> Answer {
        let mut place = self.0.lock().await;
        let Some(Open { way: Way::In(upload), _permit, _place }) = place.take() else {
            return Err(unknown());
        };
        let id = upload.finish().await.map_err(failed)?;
        Ok(serde_json::Value::from(id).to_string().into())
    }

    /// Begins to read the file that an operation names, if it fits into `bytes_max` bytes of memory. Answers with its size and
    /// type, or with null.
    pub(super) async fn open(
        &self,
        calls: &Calls,
        operation: &str,
        arguments: &str,
        bytes_max: u64,
    ) -> Attempt<Answer> {
        let deployment = calls.call.deployment;
        let mut transaction = match calls.handle.shared.transactions.snapshot(deployment).await {
            Ok(transaction) => transaction,
            Err(error) => return Ok(Err(failed(error))),
        };
        transaction.enter(calls.component);
        let Some(file) = file(&mut transaction, operation, arguments).await? else {
            return Ok(Ok("null".into()));
        };
        drop(transaction);
        let name = FileName { deployment, component: calls.component.to_string(), uuid: file.uuid };
        let found = match calls.handle.files.find(name).await {
            Ok(Some(found)) => found,
            Ok(None) => return Ok(Ok("null".into())),
            Err(error) => return Ok(Err(failed(error))),
        };
        if found.size_bytes > bytes_max {
            let message = format_args!(
                "the file has {} bytes, and a function has {bytes_max} bytes of memory: read it by its URL",
                found.size_bytes
            );
            return Err(caught("FileTooLarge", message));
        }
        let read = async { calls.handle.files.read(&found, 0..found.size_bytes).await.map(Way::Out) };
        let opened = self.hold(calls, read).await;
        let shown = serde_json::json!({ "size": found.size_bytes, "contentType": found.content_type });
        Ok(opened.map(|()| shown.to_string().into()))
    }

    /// The next bytes of a file that is read; text at its end.
    pub(super) async fn read(&self) -> Answer {
        let mut place = self.0.lock().await;
        let Some(Open { way: Way::Out(bytes), .. }) = place.as_mut() else { return Err(unknown()) };
        let piece = match bytes.next().await {
            Some(Ok(piece)) => return Ok(Reply::Bytes(piece.into())),
            Some(Err(error)) => Err(failed(error)),
            None => Ok("null".into()),
        };
        *place = None;
        piece
    }

    /// Opens a way once there is a place for it.
    async fn hold(
        &self,
        calls: &Calls,
        way: impl Future<Output = Result<Way>>,
    ) -> std::result::Result<(), SyscallError> {
        let mut open = self.0.lock().await;
        if open.is_some() {
            return Err(SyscallError::new("there is such a file under way already"));
        }
        let permit = Arc::clone(&calls.permits).acquire_owned().await.expect("it is never closed");
        let place = calls.handle.actions.files.take(calls.call.deployment, 1).await;
        *open = Some(Open { way: way.await.map_err(failed)?, _permit: permit, _place: place });
        Ok(())
    }
}

/// The digest that an app expects: in base 64, or in hexadecimal as older versions had it.
fn digest(text: &str) -> std::result::Result<[u8; 32], SyscallError> {
    let bytes = match text.len() {
        64 => hex::decode(text).ok(),
        _ => BASE64.decode(text).ok(),
    };
    bytes.and_then(|bytes| bytes.try_into().ok()).ok_or_else(|| {
        SyscallError::new("InvalidDigest: `sha256` must be 32 bytes in base 64 or in hexadecimal")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_are_read_in_both_spellings() {
        assert_eq!(digest(&BASE64.encode([7; 32])), Ok([7; 32]));
        assert_eq!(digest(&hex::encode([7; 32])), Ok([7; 32]));
        for bad in ["", "x", &"0".repeat(63), &"g".repeat(64), &BASE64.encode([7; 31])] {
            assert!(digest(bad).is_err_and(|error| error.message.starts_with("InvalidDigest: ")), "{bad}");
        }
    }
}
