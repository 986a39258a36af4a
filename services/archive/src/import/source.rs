//! The parts of an upload as one file that blocking code reads.

use std::{
    cell::Cell,
    io::{self, Read, Seek, SeekFrom},
    rc::Rc,
};

use bytes::{Buf as _, Bytes};
use contract::{Error, ObjectBytes, ObjectName};
use futures::{StreamExt as _, TryStreamExt as _};
use transaction::{FileObjectRow, FileState, Stored};
use value::ComponentId;

use crate::job::{Job, Result, Stop};

/// What is asked of the store at once, as to the sizes of parts.
const SIZES_IN_FLIGHT: usize = 16;

/// As many hidden bytes can be read, as zeros.
const HIDDEN_READ_MAX: u64 = 1 << 20;

/// An upload. It holds one piece of its bytes.
pub(crate) struct Upload {
    job: Job,
    /// Each with the place of its first byte. None is empty.
    parts: Vec<(ObjectName, u64, u64)>,
    size: u64,
    position: u64,
    /// The bytes before this one are not shown.
    hidden: Rc<Cell<u64>>,
    /// Bytes from `piece_start` on.
    piece: Bytes,
    piece_start: u64,
    /// What comes behind the piece.
    rest: Option<ObjectBytes>,
}

impl Upload {
    pub(crate) fn open(job: &Job) -> Result<Upload> {
        let (shared, deployment, owner) = (&job.shared, job.deployment, job.id.internal_id);
        let mut transaction = job.wait(shared.transactions.snapshot(deployment))??;
        let rows = job.wait(transaction.rows::<FileObjectRow>("by_file", &[owner.to_string().into()]))??;
        let mut numbered: Vec<(u32, ObjectName)> = rows
            .iter()
            .filter_map(|Stored { id, row }| match row.state {
                FileState::Part { number, .. } => {
                    Some((number, transaction::object_name(deployment, ComponentId::ROOT, *id)))
                }
                _ => None,
            })
            .collect();
        numbered.sort_by_key(|(number, _)| *number);
        let sizes = futures::stream::iter(numbered)
            .map(|(_, name)| async move { Ok::<_, Error>((name, shared.objects.size(name).await?)) })
            .buffered(SIZES_IN_FLIGHT)
            .try_collect::<Vec<_>>();
        let (mut parts, mut size) = (Vec::new(), 0);
        for (name, part_size) in job.wait(sizes)?? {
            let part_size = part_size.ok_or_else(|| Error::internal("a part of an upload is not stored"))?;
            if part_size > 0 {
                parts.push((name, size, part_size));
                size += part_size;
            }
        }
        Ok(Upload::of(job.clone(), parts, size))
    }

    /// The same bytes, to be read from the beginning.
    pub(crate) fn again(&self) -> Upload {
        Upload::of(self.job.clone(), self.parts.clone(), self.size)
    }

    fn of(job: Job, parts: Vec<(ObjectName, u64, u64)>, size: u64) -> Upload {
        let (hidden, piece) = (Rc::default(), Bytes::new());
        Upload { job, parts, size, position: 0, hidden, piece, piece_start: 0, rest: None }
    }

    /// Hides what stands before a place, until somebody sets that to 0: a few bytes before it are read as zeros, more are an error.
    pub(crate) fn hide_before(&self, place: u64) -> Rc<Cell<u64>> {
        self.hidden.set(place);
        self.hidden.clone()
    }

    pub(crate) fn size_bytes(&self) -> u64 {
        self.size
    }

    /// Bytes at the position; none at the end.
    fn bytes_here(&mut self) -> Result<&[u8]> {
        loop {
            let piece_end = self.piece_start + self.piece.len() as u64;
            if (self.piece_start..piece_end).contains(&self.position) {
                let skipped = (self.position - self.piece_start) as usize;
                return Ok(&self.piece[skipped..]);
            }
            if self.position >= self.size {
                return Ok(&[]);
            }
            if self.position == piece_end
                && let Some(rest) = &mut self.rest
            {
                match self.job.wait(rest.next())? {
                    Some(piece) => (self.piece, self.piece_start) = (piece?, piece_end),
                    None => self.rest = None,
                }
                continue;
            }
            let following = self.parts.partition_point(|(_, start, _)| *start <= self.position);
            let (name, start, size) = self.parts[following - 1];
            let read = self.job.wait(self.job.shared.objects.read(name, self.position - start..size))??;
            self.rest = Some(read.ok_or_else(|| Error::internal("a part of an upload is not stored"))?);
            (self.piece, self.piece_start) = (Bytes::new(), self.position);
        }
    }
}

impl Read for Upload {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if let Some(hidden) = self.hidden.get().checked_sub(self.position).filter(|hidden| *hidden > 0) {
            if hidden > HIDDEN_READ_MAX {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "it has no list of files"));
            }
            let count = buffer.len().min(hidden as usize);
            buffer[..count].fill(0);
            self.position += count as u64;
            return Ok(count);
        }
        let mut here = self.bytes_here().map_err(Stop::into_io)?;
        let count = here.len().min(buffer.len());
        here.copy_to_slice(&mut buffer[..count]);
        self.position += count as u64;
        Ok(count)
    }
}

impl Seek for Upload {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let place = match to {
            SeekFrom::Start(place) => Some(place),
            SeekFrom::End(offset) => self.size.checked_add_signed(offset),
            SeekFrom::Current(offset) => self.position.checked_add_signed(offset),
        };
        self.position = place.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
        Ok(self.position)
    }
}
