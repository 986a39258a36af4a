use std::{io, path::PathBuf};

use contract::ErrorKind;

/// Why something could not be stored, read or deleted.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{action} {path}: {source}", path = .path.display())]
    File { action: &'static str, path: PathBuf, source: io::Error },
    #[error("blob {digest} is damaged: its bytes have another digest")]
    Damaged { digest: String },
    #[error("an earlier sync of the blob folder failed; restart once the disk is in order")]
    SyncFailedBefore,
    #[error("the bucket of blobs: {0}")]
    Bucket(#[from] object_store::Error),
    #[error("`{url}` names no bucket: s3://bucket and s3://bucket/prefix do")]
    BucketUrl { url: String },
    #[error("an object can't be written to after an error")]
    WriterFailed,
    #[error("the range does not lie within the object")]
    RangeNotInObject,
    #[error("The blob store is shutting down.")]
    ShuttingDown,
}

impl From<Error> for contract::Error {
    fn from(error: Error) -> contract::Error {
        let message = error.to_string();
        match error {
            Error::RangeNotInObject => {
                contract::Error::new(ErrorKind::BadRequest, "RangeNotInObject", message)
            }
            Error::ShuttingDown => contract::Error::overloaded("ShuttingDown", message),
            _ => contract::Error::internal(message),
        }
    }
}
