//! Blobs and objects as files below one folder.
//!
//! ```text
//!   incoming/17                                                what is being written; what a crash leaves goes at the next start
//!   incoming-8c…/17                                            the same of one of several processes that share the folder
//!   ab/abcd…                                                   a blob, by its digest
//!   objects/<group>-<deployment>/<component or app>/ab/abcd…   an object, by its id
//! ```
//!
//! Of several processes each has a folder of its own, of a name that is drawn at its start. Whether another one is still there can't be
//! asked: locks of files don't reach to other machines on every network file system. So what is left goes by its age.

use std::{
    collections::HashSet,
    fs::{self, File},
    io::{self, IoSlice, IoSliceMut, Write as _},
    ops::Range,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use contract::{BlobDigest, ObjectName, ObjectSummary};
use parking_lot::Mutex;
use rustix::{
    buffer::spare_capacity,
    fs::{CWD, Mode, OFlags, ResolveFlags, openat2},
    io::{ReadWriteFlags, pread, preadv2, retry_on_intr},
};
use sha2::{Digest as _, Sha256};

use crate::{Error, names};

/// Of so many bytes that lie beside each other one tells whether the system has them in memory: it reads ahead by as many or more.
const PROBED_BYTES: usize = 64 << 10;

/// Where half-written files live.
const INCOMING: &str = "incoming";
/// What was written to last so long ago is not being written any more: the longest upload takes far less, and a pause in one is shorter
/// still. If it is all the same, its writer is told that the file is gone, and nothing is stored.
const ABANDONED_AFTER: Duration = Duration::from_secs(24 * 3_600);

/// Blobs and objects below one folder.
pub struct Folder {
    folder: PathBuf,
    /// Below it, of this process alone.
    incoming: PathBuf,
    next_incoming: AtomicU64,
    /// Folders that are durable: they, and all above them, have been synced since this process made them or found them.
    durable: Mutex<HashSet<PathBuf>>,
    /// After a failed sync nobody knows what the disk holds, and a second try may report success for bytes that are
    /// lost. So nothing is promised any more until the process has started anew.
    sync_failed: AtomicBool,
}

/// A file that is being written. Dropped before it is kept, it is removed, for which the thread may have to wait.
pub struct Incoming {
    file: Arc<File>,
    path: PathBuf,
    digest: Sha256,
    size_bytes: u64,
    kept: bool,
}

/// An object that can be read.
pub struct Opened {
    pub file: Arc<File>,
    path: PathBuf,
    pub size_bytes: u64,
}

impl Folder {
    /// Opens the folder, and makes it if it is not there. What others have half-written stays only if it is shared.
    pub fn open(folder: PathBuf, is_shared: bool) -> Result<Folder, Error> {
        let incoming = match is_shared {
            true => folder.join(format!("{INCOMING}-{}", hex::encode(rand::random::<[u8; 16]>()))),
            false => folder.join(INCOMING),
        };
        if !is_shared {
            match fs::remove_dir_all(&incoming) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(file_error("clear", &incoming)(error));
                }
                _ => {}
            }
        }
        fs::create_dir_all(&incoming).map_err(file_error("make", &incoming))?;
        sync_folder(&folder)?;
        if is_shared && let Err(error) = remove_abandoned(&folder, &incoming) {
            tracing::warn!(%error, "what other processes have left half-written is removed at another start");
        }
        Ok(Folder {
            folder,
            incoming,
            next_incoming: AtomicU64::new(0),
            durable: Mutex::default(),
            sync_failed: AtomicBool::new(false),
        })
    }

    pub fn put(&self, bytes: &Bytes) -> Result<BlobDigest, Error> {
        // Written anew even where it exists: a killed process may have left it unsynced, or the disk may have damaged it.
        let mut incoming = self.begin()?;
        incoming.append(std::slice::from_ref(bytes))?;
        let digest = BlobDigest(incoming.digest.clone().finalize().into());
        self.keep(incoming, &self.folder.join(names::of_blob(digest)))?;
        Ok(digest)
    }

    pub fn get(&self, digest: BlobDigest) -> Result<Option<Bytes>, Error> {
        let path = self.folder.join(names::of_blob(digest));
        match fs::read(&path) {
            Ok(bytes) => checked(digest, bytes.into()).map(Some),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(file_error("read", &path)(error)),
        }
    }

    pub fn has(&self, digest: BlobDigest) -> Result<bool, Error> {
        Ok(self.size_of(&self.folder.join(names::of_blob(digest)))?.is_some())
    }

    /// Begins a file that will be [kept](Folder::keep_object).
    pub fn begin(&self) -> Result<Incoming, Error> {
        if self.sync_failed.load(Ordering::Acquire) {
            return Err(Error::SyncFailedBefore);
        }
        let number = self.next_incoming.fetch_add(1, Ordering::Relaxed);
        let path = self.incoming.join(number.to_string());
        let file = File::create_new(&path).or_else(|error| match error.kind() {
            // Another process has taken this one, which has written nothing for long, for gone.
            io::ErrorKind::NotFound => {
                fs::create_dir_all(&self.incoming)?;
                File::create_new(&path)
            }
            _ => Err(error),
        });
        let file = file.map_err(file_error("make", &path))?;
        Ok(Incoming { file: Arc::new(file), path, digest: Sha256::new(), size_bytes: 0, kept: false })
    }

    pub fn keep_object(&self, incoming: Incoming, name: ObjectName) -> Result<ObjectSummary, Error> {
        let sha256 = incoming.digest.clone().finalize().into();
        let summary = ObjectSummary { size_bytes: incoming.size_bytes, sha256 };
        self.keep(incoming, &self.folder.join(names::of_object(name)))?;
        Ok(summary)
    }

    /// What brings to the disk what was written so far, while more is written: in the end there is less to wait for. If it fails, the
    /// file must not be kept.
    pub fn sync_early(
        self: &Arc<Self>,
        incoming: &Incoming,
    ) -> impl FnOnce() -> Result<(), Error> + Send + use<> {
        let (folder, file, path) = (self.clone(), incoming.file.clone(), incoming.path.clone());
        move || folder.synced(file.sync_data().map_err(file_error("sync", &path)))
    }

    /// Makes what was written durable, then gives it its name, then makes that durable.
    fn keep(&self, mut incoming: Incoming, target: &Path) -> Result<(), Error> {
        self.synced(incoming.file.sync_all().map_err(file_error("sync", &incoming.path)))?;
        let folder = target.parent().expect("every name has a folder");
        self.make_durable(folder)?;
        fs::rename(&incoming.path, target).map_err(file_error("rename", &incoming.path))?;
        incoming.kept = true;
        self.synced(sync_folder(folder))
    }

    /// Makes a folder, and sees to it that a crash does not take it away.
    fn make_durable(&self, folder: &Path) -> Result<(), Error> {
        if self.durable.lock().contains(folder) {
            return Ok(());
        }
        fs::create_dir_all(folder).map_err(file_error("make", folder))?;
        // Also where it existed: somebody else may have made it just now and not synced it yet.
        for above in folder.ancestors().skip(1) {
            self.synced(sync_folder(above))?;
            if above == self.folder {
                break;
            }
        }
        self.durable.lock().insert(folder.to_owned());
        Ok(())
    }

    fn synced(&self, result: Result<(), Error>) -> Result<(), Error> {
        if result.is_err() {
            self.sync_failed.store(true, Ordering::Release);
        }
        result
    }

    pub fn size(&self, name: ObjectName) -> Result<Option<u64>, Error> {
        self.size_of(&self.folder.join(names::of_object(name)))
    }

    fn size_of(&self, path: &Path) -> Result<Option<u64>, Error> {
        match fs::metadata(path) {
            Ok(found) => Ok(found.is_file().then_some(found.len())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(file_error("look at", path)(error)),
        }
    }

    pub fn open_object(&self, name: ObjectName) -> Result<Option<Opened>, Error> {
        let path = self.folder.join(names::of_object(name));
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(file_error("open", &path)(error)),
        };
        let size_bytes = file.metadata().map_err(file_error("look at", &path))?.len();
        Ok(Some(Opened { file: Arc::new(file), path, size_bytes }))
    }

    /// The same without waiting. `None` if that can't be, or for any other reason: who may wait finds out.
    pub fn open_object_at_once(&self, name: ObjectName) -> Option<Opened> {
        let path = self.folder.join(names::of_object(name));
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        let file = fs::File::from(openat2(CWD, &path, flags, Mode::empty(), ResolveFlags::CACHED).ok()?);
        let size_bytes = file.metadata().ok()?.len();
        Some(Opened { file: Arc::new(file), path, size_bytes })
    }

    pub fn delete(&self, name: ObjectName) -> Result<(), Error> {
        let path = self.folder.join(names::of_object(name));
        let folder = path.parent().expect("every name has a folder");
        match fs::remove_file(&path) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(file_error("delete", &path)(error)),
        }
        // Also where it was not there: it may have been deleted just now and not synced yet.
        if folder.exists() { self.synced(sync_folder(folder)) } else { Ok(()) }
    }
}

impl Incoming {
    pub fn append(&mut self, pieces: &[Bytes]) -> Result<(), Error> {
        let mut slices: Vec<IoSlice<'_>> = pieces.iter().map(|piece| IoSlice::new(piece)).collect();
        let mut left = &mut slices[..];
        // Takes away leading pieces that are empty, which would look like the end of the disk.
        IoSlice::advance_slices(&mut left, 0);
        while !left.is_empty() {
            match self.file.write_vectored(left) {
                Ok(0) => return Err(file_error("write", &self.path)(io::ErrorKind::WriteZero.into())),
                Ok(written) => IoSlice::advance_slices(&mut left, written),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(file_error("write", &self.path)(error)),
            }
        }
        for piece in pieces {
            self.digest.update(piece);
            self.size_bytes += piece.len() as u64;
        }
        Ok(())
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        if !self.kept {
            // If this fails as well, the next start removes it.
            let _ = fs::remove_file(&self.path);
        }
    }
}

impl Opened {
    /// The bytes of a range, which must all be there. The thread may have to wait for them.
    pub fn read(&self, range: &Range<u64>) -> Result<Bytes, Error> {
        let bytes = (range.end - range.start) as usize;
        let mut buffer = Vec::with_capacity(bytes);
        while buffer.len() < bytes {
            let offset = range.start + buffer.len() as u64;
            let read = retry_on_intr(|| pread(&self.file, spare_capacity(&mut buffer), offset));
            match read.map_err(io::Error::from) {
                Ok(0) => return Err(file_error("read", &self.path)(io::ErrorKind::UnexpectedEof.into())),
                Ok(_) => {}
                Err(error) => return Err(file_error("read", &self.path)(error)),
            }
        }
        // There may have been more room than was asked for.
        buffer.truncate(bytes);
        Ok(buffer.into())
    }

    /// Whether the system has a range in memory, so that no thread waits for it. It is not certain: between the bytes that are asked
    /// for some may be missing, and what is there now may be gone in a moment.
    pub fn is_in_memory(&self, range: &Range<u64>) -> bool {
        let mut probes = range.clone().step_by(PROBED_BYTES).chain(range.end.checked_sub(1));
        probes.all(|offset| {
            let mut byte = [0];
            preadv2(&self.file, &mut [IoSliceMut::new(&mut byte)], offset, ReadWriteFlags::NOWAIT) == Ok(1)
        })
    }
}

/// The bytes of a blob, if they are those that its name says.
pub fn checked(digest: BlobDigest, bytes: Bytes) -> Result<Bytes, Error> {
    if Sha256::digest(&bytes)[..] != digest.0 {
        return Err(Error::Damaged { digest: hex::encode(digest.0) });
    }
    Ok(bytes)
}

/// Removes what processes that shared the folder have left half-written. The age of a file is how much older it is than `own`, which was
/// made just now: so the file system's clock is the only one.
fn remove_abandoned(folder: &Path, own: &Path) -> Result<(), Error> {
    let now = modified(own)?;
    for path in entries(folder)? {
        let is_incoming =
            path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(INCOMING.as_bytes()));
        if !is_incoming || path == own || !is_abandoned(&path, now)? {
            continue;
        }
        for file in entries(&path)? {
            if is_abandoned(&file, now)? {
                gone(fs::remove_file(&file)).map_err(file_error("remove", &file))?;
            }
        }
        match gone(fs::remove_dir(&path)) {
            Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => {}
            removed => removed.map_err(file_error("remove", &path))?,
        }
    }
    Ok(())
}

/// Also what is no longer there.
fn is_abandoned(path: &Path, now: SystemTime) -> Result<bool, Error> {
    match modified(path) {
        Ok(modified) => Ok(now.duration_since(modified).is_ok_and(|age| age >= ABANDONED_AFTER)),
        Err(Error::File { source, .. }) if source.kind() == io::ErrorKind::NotFound => Ok(true),
        Err(error) => Err(error),
    }
}

fn modified(path: &Path) -> Result<SystemTime, Error> {
    fs::symlink_metadata(path).and_then(|found| found.modified()).map_err(file_error("look at", path))
}

/// What lies in a folder; nothing if another process has removed it meanwhile.
fn entries(folder: &Path) -> Result<Vec<PathBuf>, Error> {
    let listed = fs::read_dir(folder)
        .and_then(|entries| entries.map(|entry| entry.map(|entry| entry.path())).collect::<io::Result<_>>());
    match listed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        listed => listed.map_err(file_error("list", folder)),
    }
}

/// Other processes may remove the same.
fn gone(removed: io::Result<()>) -> io::Result<()> {
    match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

fn sync_folder(folder: &Path) -> Result<(), Error> {
    File::open(folder).and_then(|file| file.sync_all()).map_err(file_error("sync", folder))
}

fn file_error(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error + use<> {
    let path = path.to_owned();
    move |source| Error::File { action, path, source }
}
