//! Objects on their way to and from a folder. The disk works while the network does, a piece ahead of the reader and a piece
//! behind the writer; no thread waits for a client, and what the system has in memory is read without another thread.

use std::{ops::Range, pin::Pin, sync::Arc};

use async_trait::async_trait;
use bytes::Bytes;
use contract::{ObjectBytes, ObjectName, ObjectPart, ObjectParts, ObjectSummary, ObjectWriter};
use futures::{Stream, StreamExt as _};
use tokio::task::JoinHandle;

use crate::{
    Error,
    folder::{Folder, Incoming, Opened},
    service::Work,
};

/// What is gathered before it is written.
const WRITE_BYTES: usize = 512 << 10;

/// So many bytes are brought to the disk while those after them come. Each time costs the disk's journal an entry.
const EARLY_SYNC_BYTES: usize = 32 << 20;

/// An object that is being written into a folder.
pub struct FolderWriter {
    name: ObjectName,
    folder: Arc<Folder>,
    work: Work,
    /// What was handed over and not yet written.
    gathered: Vec<Bytes>,
    gathered_bytes: usize,
    incoming: Writing,
    /// What was handed over since the last early sync began.
    unsynced_bytes: usize,
    early_sync: Option<JoinHandle<Result<(), Error>>>,
}

enum Writing {
    Idle(Box<Incoming>),
    Busy(JoinHandle<Result<Box<Incoming>, Error>>),
    /// Finished, or failed.
    Over,
}

impl FolderWriter {
    pub async fn new(name: ObjectName, folder: Arc<Folder>, work: Work) -> Result<FolderWriter, Error> {
        let begin = folder.clone();
        let incoming = Writing::Idle(Box::new(work.run(move || begin.begin()).await?));
        let (gathered, gathered_bytes, unsynced_bytes) = (Vec::new(), 0, 0);
        Ok(FolderWriter {
            name,
            folder,
            work,
            gathered,
            gathered_bytes,
            incoming,
            unsynced_bytes,
            early_sync: None,
        })
    }

    /// Waits for what is being written.
    async fn incoming(&mut self) -> Result<Box<Incoming>, Error> {
        match std::mem::replace(&mut self.incoming, Writing::Over) {
            Writing::Idle(incoming) => Ok(incoming),
            Writing::Busy(writing) => writing.await.expect("a panic ends the process"),
            Writing::Over => Err(Error::WriterFailed),
        }
    }

    /// Waits for what is brought to the disk early.
    async fn synced_early(&mut self) -> Result<(), Error> {
        match self.early_sync.take() {
            Some(sync) => sync.await.expect("a panic ends the process"),
            None => Ok(()),
        }
    }

    async fn flush(&mut self) -> Result<(), Error> {
        if self.early_sync.as_ref().is_some_and(JoinHandle::is_finished) {
            self.synced_early().await?;
        }
        let mut incoming = self.incoming().await?;
        if self.unsynced_bytes >= EARLY_SYNC_BYTES && self.early_sync.is_none() {
            self.early_sync = Some(self.work.begin(self.folder.sync_early(&incoming)));
            self.unsynced_bytes = 0;
        }
        let pieces = std::mem::take(&mut self.gathered);
        self.unsynced_bytes += std::mem::take(&mut self.gathered_bytes);
        self.incoming = Writing::Busy(self.work.begin(move || {
            incoming.append(&pieces)?;
            Ok(incoming)
        }));
        Ok(())
    }
}

#[async_trait]
impl ObjectWriter for FolderWriter {
    async fn write(&mut self, bytes: Bytes) -> contract::Result<()> {
        self.work.check()?;
        self.gathered_bytes += bytes.len();
        self.gathered.push(bytes);
        if self.gathered_bytes >= WRITE_BYTES {
            self.flush().await?;
        }
        Ok(())
    }

    async fn finish(mut self: Box<Self>) -> contract::Result<ObjectSummary> {
        self.synced_early().await?;
        let mut incoming = self.incoming().await?;
        let pieces = std::mem::take(&mut self.gathered);
        let (folder, name) = (self.folder.clone(), self.name);
        let kept = self.work.run(move || {
            incoming.append(&pieces)?;
            folder.keep_object(*incoming, name)
        });
        Ok(kept.await?)
    }
}

impl Drop for FolderWriter {
    fn drop(&mut self) {
        // What is busy removes its file when it is done.
        if let Writing::Idle(incoming) = std::mem::replace(&mut self.incoming, Writing::Over) {
            drop(self.work.begin(move || {
                drop(incoming);
                Ok(())
            }));
        }
    }
}

/// An object of a folder, without another thread where that needs no waiting.
pub async fn open(folder: &Arc<Folder>, name: ObjectName, work: &Work) -> Result<Option<Opened>, Error> {
    work.check()?;
    if let Some(opened) = folder.open_object_at_once(name) {
        return Ok(Some(opened));
    }
    let folder = folder.clone();
    work.run(move || folder.open_object(name)).await
}

/// The bytes of a range.
pub fn read(opened: Opened, range: Range<u64>, work: Work) -> Result<ObjectBytes, Error> {
    in_pieces(opened, range, work, |opened, piece, work| async move {
        if opened.is_in_memory(&piece) {
            opened.read(&piece)
        } else {
            work.run(move || opened.read(&piece)).await
        }
    })
}

/// The parts of the file that are a range.
pub fn read_in_place(opened: Opened, range: Range<u64>, work: Work) -> Result<ObjectParts, Error> {
    in_pieces(opened, range, work, |opened, range, work| async move {
        let file = opened.file.clone();
        if !opened.is_in_memory(&range) {
            // Then the system has it.
            let piece = range.clone();
            work.run(move || opened.read(&piece)).await?;
        }
        Ok(ObjectPart { file, range })
    })
}

type Pieces<P> = Pin<Box<dyn Stream<Item = contract::Result<P>> + Send>>;

/// A range in pieces; while one is on its way, the next is read.
fn in_pieces<P, F>(
    opened: Opened,
    range: Range<u64>,
    work: Work,
    piece: impl Fn(Arc<Opened>, Range<u64>, Work) -> F + Send + 'static,
) -> Result<Pieces<P>, Error>
where
    P: Send + 'static,
    F: Future<Output = Result<P, Error>> + Send + 'static,
{
    if range.start > range.end || range.end > opened.size_bytes {
        return Err(Error::RangeNotInObject);
    }
    let opened = Arc::new(opened);
    let pieces = futures::stream::iter(range.clone().step_by(ObjectPart::BYTES_MAX)).map(move |offset| {
        let end = range.end.min(offset + ObjectPart::BYTES_MAX as u64);
        let read = piece(opened.clone(), offset..end, work.clone());
        let work = work.clone();
        async move {
            work.check()?;
            read.await
        }
    });
    // An error is the end: what follows would be read as if nothing were missing.
    let mut failed = false;
    let pieces = pieces.buffered(2).take_while(move |piece| {
        let goes_on = !failed;
        failed |= piece.is_err();
        std::future::ready(goes_on)
    });
    Ok(Box::pin(pieces.map(|piece| Ok(piece?))))
}
