//! Takes in a state that another replica sends: file by file into the store, beneath a new incarnation.

use std::{fs, io, path::PathBuf, sync::Arc};

use bytes::Bytes;
use proto::txlog::v1::{self as wire, snapshot_piece::Piece};
use rocksdb::Options;
#[cfg(not(test))]
use rocksdb::SstFileWriter;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio_util::task::TaskTracker;
use tonic::{Status, Streaming};

use crate::{
    apply::{AppliedState, ApplyError, Family},
    keys::Incarnation,
    state_store::NodeStore,
};
#[cfg(test)]
use crate::{runtime, simulation::disk::SstFileWriter};

use super::{FAMILIES, PIECES_QUEUED, Received, discard};

/// Why it was not taken. Nothing is left of it.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    #[error("the snapshot is not whole: {0}")]
    Damaged(&'static str),
    #[error("the snapshot can't be stored: {0}")]
    Store(#[from] ApplyError),
    #[error("the snapshot can't be stored: {0}")]
    Folder(#[from] io::Error),
    #[error("the snapshot can't be stored: {0}")]
    File(#[from] rocksdb::Error),
}

/// Takes the pieces behind the beginning, which has told of `state`. What touches the disk is a task of `tasks`; it keeps
/// `permit` until it has ended.
pub async fn receive(
    store: Arc<NodeStore>,
    state: AppliedState,
    mut pieces: Streaming<wire::SnapshotPiece>,
    tasks: &TaskTracker,
    permit: OwnedSemaphorePermit,
) -> Result<Received, Status> {
    #[cfg(test)]
    if runtime::is_simulated() {
        // There is no thread beside this one that could wait for them.
        let mut whole = Vec::new();
        while let Some(message) = pieces.message().await? {
            whole.push(message);
        }
        let mut whole = whole.into_iter();
        let writing = runtime::spawn_blocking(move || {
            let _permit = permit;
            write(&store, state, || whole.next())
        });
        return writing.await.map_err(|error| Status::internal(error.to_string()))?.map_err(refused);
    }
    let (sender, mut queue) = mpsc::channel(PIECES_QUEUED);
    let writing = tasks.spawn_blocking(move || {
        let _permit = permit;
        write(&store, state, || queue.blocking_recv())
    });
    while let Some(message) = pieces.message().await? {
        // Otherwise it has been refused.
        if sender.send(message).await.is_err() {
            break;
        }
    }
    drop(sender);
    let written = writing.await.map_err(|error| Status::internal(error.to_string()))?;
    written.map_err(refused)
}

fn refused(refused: Refused) -> Status {
    match refused {
        Refused::Damaged(_) => Status::data_loss(refused.to_string()),
        _ => Status::unavailable(refused.to_string()),
    }
}

/// The same, on a thread that may wait for the disk.
pub fn write(
    store: &Arc<NodeStore>,
    state: AppliedState,
    mut next: impl FnMut() -> Option<wire::SnapshotPiece>,
) -> Result<Received, Refused> {
    let incoming = Incoming::new(store)?;
    let options: Vec<(Family, Options)> =
        FAMILIES.map(|(family, _)| (family, store.family_options(family))).into_iter().collect();
    let mut file: Option<File<'_>> = None;
    let mut files = 0;
    while let Some(message) = next() {
        match (message.piece, file.take()) {
            (Some(Piece::FileBegin(begin)), None) => {
                let number = FAMILIES.iter().position(|(_, family)| *family as i32 == begin.family);
                let (family, options) =
                    &options[number.ok_or(Refused::Damaged("a file is of no family that is known here"))?];
                file = Some(File::create(*family, options, incoming.file(files))?);
            }
            (Some(Piece::Rows(rows)), Some(mut open)) => {
                open.put(incoming.incarnation, rows)?;
                file = Some(open);
            }
            (Some(Piece::FileEnd(end)), Some(open)) => {
                let (family, path) = open.finish(&end)?;
                store.ingest(family, &path)?;
                files += 1;
            }
            (Some(Piece::End(end)), None) if end.files == files => return Ok(incoming.complete(state)),
            _ => return Err(Refused::Damaged("its pieces are not in their order")),
        }
    }
    Err(Refused::Damaged("it ends before its end"))
}

/// Where a snapshot comes in. Whatever becomes of it, its folder goes; and unless it is complete its rows as well.
struct Incoming {
    store: Arc<NodeStore>,
    incarnation: Incarnation,
    folder: PathBuf,
    complete: bool,
}

impl Incoming {
    fn new(store: &Arc<NodeStore>) -> Result<Incoming, Refused> {
        let incarnation = store.give_incarnation()?;
        let folder = store.incoming().join(incarnation.0.to_string());
        let incoming = Incoming { store: store.clone(), incarnation, folder, complete: false };
        fs::create_dir_all(&incoming.folder)?;
        Ok(incoming)
    }

    fn file(&self, number: u64) -> PathBuf {
        self.folder.join(format!("{number}.sst"))
    }

    fn complete(mut self, state: AppliedState) -> Received {
        self.complete = true;
        Received { store: self.store.clone(), incarnation: self.incarnation, state, taken: false }
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.folder)
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(%error, "the folder of a snapshot could not be removed");
        }
        if !self.complete {
            discard(&self.store, self.incarnation);
        }
    }
}

/// A file of rows that come in.
struct File<'o> {
    family: Family,
    path: PathBuf,
    writer: SstFileWriter<'o>,
    rows: u64,
    crc32c: u32,
}

impl<'o> File<'o> {
    fn create(family: Family, options: &'o Options, path: PathBuf) -> Result<File<'o>, Refused> {
        let writer = SstFileWriter::create(options);
        writer.open(&path)?;
        Ok(File { family, path, writer, rows: 0, crc32c: 0 })
    }

    fn put(&mut self, incarnation: Incarnation, rows: Bytes) -> Result<(), Refused> {
        self.crc32c = crc32c::crc32c_append(self.crc32c, &rows);
        let mut rest = &rows[..];
        let mut stored = incarnation.0.to_be_bytes().to_vec();
        while !rest.is_empty() {
            let (Some(key), Some(value)) = (part(&mut rest), part(&mut rest)) else {
                return Err(Refused::Damaged("a row is cut off"));
            };
            stored.truncate(4);
            stored.extend_from_slice(key);
            // It refuses a row that is not behind the one before.
            self.writer.put(&stored, value)?;
            self.rows += 1;
        }
        Ok(())
    }

    fn finish(mut self, end: &wire::FileEnd) -> Result<(Family, PathBuf), Refused> {
        if (self.rows, self.crc32c) != (end.rows, end.crc32c) || self.rows == 0 {
            return Err(Refused::Damaged("a file is not what was sent"));
        }
        self.writer.finish()?;
        Ok((self.family, self.path))
    }
}

/// The next length and so many bytes.
fn part<'r>(rest: &mut &'r [u8]) -> Option<&'r [u8]> {
    let (length, behind) = rest.split_first_chunk::<4>()?;
    let (part, behind) = behind.split_at_checked(usize::try_from(u32::from_be_bytes(*length)).ok()?)?;
    *rest = behind;
    Some(part)
}
