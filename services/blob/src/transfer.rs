//! Objects on their way to and from a folder. The disk works while the network does, a piece ahead of the reader and a piece
//! behind the writer; no thread waits for a client.

use std::{ops::Range, sync::Arc};

use async_trait::async_trait;
use bytes::Bytes;
use contract::{ObjectBytes, ObjectName, ObjectSummary, ObjectWriter};
use futures::StreamExt as _;
use tokio::task::JoinHandle;

use crate::{
    Error,
    folder::{Folder, Incoming, Opened},
    service::Work,
};

/// What is read at once, and what is gathered before it is written.
const READ_BYTES: usize = 256 << 10;
const WRITE_BYTES: usize = 512 << 10;

/// An object that is being written into a folder.
pub struct FolderWriter {
    name: ObjectName,
    folder: Arc<Folder>,
    work: Work,
    /// What was handed over and not yet written.
    gathered: Vec<Bytes>,
    gathered_bytes: usize,
    incoming: Writing,
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
        Ok(FolderWriter { name, folder, work, gathered: Vec::new(), gathered_bytes: 0, incoming })
    }

    /// Waits for what is being written.
    async fn incoming(&mut self) -> Result<Box<Incoming>, Error> {
        match std::mem::replace(&mut self.incoming, Writing::Over) {
            Writing::Idle(incoming) => Ok(incoming),
            Writing::Busy(writing) => writing.await.expect("a panic ends the process"),
            Writing::Over => Err(Error::WriterFailed),
        }
    }

    async fn flush(&mut self) -> Result<(), Error> {
        let mut incoming = self.incoming().await?;
        let pieces = std::mem::take(&mut self.gathered);
        self.gathered_bytes = 0;
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

/// The bytes of a range, read a piece ahead.
pub fn read_file(opened: Opened, range: Range<u64>, work: Work) -> Result<ObjectBytes, Error> {
    if range.start > range.end || range.end > opened.size_bytes {
        return Err(Error::RangeNotInObject);
    }
    let opened = Arc::new(opened);
    let pieces = futures::stream::iter(range.clone().step_by(READ_BYTES)).map(move |offset| {
        let (opened, work) = (opened.clone(), work.clone());
        let bytes = (range.end - offset).min(READ_BYTES as u64) as usize;
        async move { work.run(move || opened.read(offset, bytes)).await }
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
