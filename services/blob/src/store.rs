//! The files.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
};

use bytes::Bytes;
use contract::BlobDigest;
use sha2::{Digest as _, Sha256};

/// Where half-written blobs live. What a crash leaves there is removed at the next start.
const INCOMING: &str = "incoming";

/// Blobs below one folder.
pub struct Store {
    folder: PathBuf,
    next_incoming: AtomicU64,
    /// After a failed sync nobody knows what the disk holds, and a second try may report success for bytes that are
    /// lost. So nothing is promised any more until the process has started anew.
    sync_failed: AtomicBool,
}

/// Why a blob could not be stored or read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{action} {path}: {source}", path = .path.display())]
    File { action: &'static str, path: PathBuf, source: io::Error },
    #[error("blob {digest} is damaged: its bytes have another digest")]
    Damaged { digest: String },
    #[error("an earlier sync of the blob folder failed; restart once the disk is in order")]
    SyncFailedBefore,
}

impl From<Error> for contract::Error {
    fn from(error: Error) -> contract::Error {
        contract::Error::internal(error.to_string())
    }
}

impl Store {
    /// Opens the folder, and makes it if it is not there.
    pub fn open(folder: PathBuf) -> Result<Store, Error> {
        let incoming = folder.join(INCOMING);
        match fs::remove_dir_all(&incoming) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(file_error("clear", &incoming)(error));
            }
            _ => {}
        }
        fs::create_dir_all(&incoming).map_err(file_error("make", &incoming))?;
        sync_folder(&folder)?;
        Ok(Store { folder, next_incoming: AtomicU64::new(0), sync_failed: AtomicBool::new(false) })
    }

    pub fn put(&self, bytes: &[u8]) -> Result<BlobDigest, Error> {
        if self.sync_failed.load(Ordering::Acquire) {
            return Err(Error::SyncFailedBefore);
        }
        let digest = BlobDigest(Sha256::digest(bytes).into());
        let target = self.path(digest);
        // Written anew even where it exists: a killed process may have left it unsynced, or the disk may have damaged it.
        let number = self.next_incoming.fetch_add(1, Ordering::Relaxed);
        let incoming = self.folder.join(INCOMING).join(number.to_string());
        let stored = self.write_and_rename(bytes, &incoming, &target);
        if stored.is_err() {
            // If this fails as well, the next start removes it.
            let _ = fs::remove_file(&incoming);
        }
        stored.map(|()| digest)
    }

    fn write_and_rename(&self, bytes: &[u8], incoming: &Path, target: &Path) -> Result<(), Error> {
        let mut file = File::create_new(incoming).map_err(file_error("make", incoming))?;
        file.write_all(bytes).map_err(file_error("write", incoming))?;
        self.synced(file.sync_all().map_err(file_error("sync", incoming)))?;
        let folder = target.parent().expect("a blob's path has the folder of its first two digits");
        if let Err(error) = fs::create_dir(folder)
            && error.kind() != io::ErrorKind::AlreadyExists
        {
            return Err(file_error("make", folder)(error));
        }
        // Also where it existed: somebody else may have made it just now and not synced it yet.
        self.synced(sync_folder(&self.folder))?;
        fs::rename(incoming, target).map_err(file_error("rename", incoming))?;
        self.synced(sync_folder(folder))
    }

    fn synced(&self, result: Result<(), Error>) -> Result<(), Error> {
        if result.is_err() {
            self.sync_failed.store(true, Ordering::Release);
        }
        result
    }

    pub fn get(&self, digest: BlobDigest) -> Result<Option<Bytes>, Error> {
        let path = self.path(digest);
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(file_error("read", &path)(error)),
        };
        if Sha256::digest(&bytes)[..] != digest.0 {
            return Err(Error::Damaged { digest: hex::encode(digest.0) });
        }
        Ok(Some(bytes.into()))
    }

    pub fn has(&self, digest: BlobDigest) -> Result<bool, Error> {
        let path = self.path(digest);
        match fs::metadata(&path) {
            Ok(found) => Ok(found.is_file()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(file_error("look at", &path)(error)),
        }
    }

    fn path(&self, digest: BlobDigest) -> PathBuf {
        let name = hex::encode(digest.0);
        self.folder.join(&name[..2]).join(&name)
    }
}

fn sync_folder(folder: &Path) -> Result<(), Error> {
    File::open(folder).and_then(|file| file.sync_all()).map_err(file_error("sync", folder))
}

fn file_error(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error + use<> {
    let path = path.to_owned();
    move |source| Error::File { action, path, source }
}
