//! Reads a group's state at one moment, and sends it.

use std::{
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use futures::StreamExt;
use openraft::errors::ReplicationClosed;
use proto::txlog::v1::{self as wire, raft_client::RaftClient, snapshot_piece::Piece};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;

use crate::{
    apply::{AppliedState, ApplyError},
    channels::Wire,
    keys::{self, Incarnation},
    network::until,
    planted,
    raft_codec::{vote_from_wire, vote_to_wire},
    raft_types::Vote,
    runtime::{self, JoinHandle},
    state_store::{NodeStore, Rows},
};

use super::{FAMILIES, Limits, PIECES_QUEUED, piece};

/// A snapshot on its way.
pub struct Sending {
    pub(super) reading: JoinHandle<Result<(), ApplyError>>,
    pub(super) pieces: mpsc::Receiver<wire::SnapshotPiece>,
}

/// What became of it.
pub enum Sent {
    /// The vote of the replica: with a later one than the sender's, it has taken nothing.
    Answered(Vote),
    Cancelled(ReplicationClosed),
    Failed(String),
}

impl Sending {
    pub fn start(
        store: Arc<NodeStore>,
        incarnation: Incarnation,
        route: wire::Route,
        vote: &Vote,
        limits: Limits,
    ) -> Sending {
        let (sender, pieces) = mpsc::channel(PIECES_QUEUED);
        let vote = vote_to_wire(vote);
        let reading = runtime::spawn_blocking(move || {
            store.at_one_moment(incarnation, |state, rows| {
                let begin = |state: &AppliedState| {
                    let state = state.encode();
                    Piece::Begin(wire::SnapshotBegin { route: Some(route), vote: Some(vote), state })
                };
                let mut reader = Reader { limits, pieces: sender, files: 0 };
                // Where nobody takes the pieces any more there is nothing to read.
                if reader.send(begin(&state)).is_some() {
                    reader.read(rows)?;
                }
                Ok(())
            })
        });
        Sending { reading, pieces }
    }

    /// Gives up when for `answer_max` no piece was taken, and, after the last one, when there is no answer.
    pub async fn send(
        self,
        client: &mut RaftClient<Wire>,
        answer_max: Duration,
        cancel: impl Future<Output = ReplicationClosed>,
    ) -> Sent {
        let sent = answered(client, self.pieces, answer_max, cancel).await;
        // With the pieces the reading has ended.
        match self.reading.await {
            Ok(Ok(())) => sent,
            Ok(Err(error)) => Sent::Failed(format!("the state can't be read: {error}")),
            Err(error) => Sent::Failed(error.to_string()),
        }
    }
}

async fn answered(
    client: &mut RaftClient<Wire>,
    pieces: mpsc::Receiver<wire::SnapshotPiece>,
    answer_max: Duration,
    cancel: impl Future<Output = ReplicationClosed>,
) -> Sent {
    let taken = Arc::new(AtomicU64::new(0));
    let counted = taken.clone();
    let ended = CancellationToken::new();
    // The transport would go on reading them.
    let _ends_pieces = ended.clone().drop_guard();
    let pieces = until(ReceiverStream::new(pieces), ended).inspect(move |_| {
        counted.fetch_add(1, Ordering::Relaxed);
    });
    let (mut answer, mut cancel) = (pin!(client.install_snapshot(pieces)), pin!(cancel));
    let mut seen = 0;
    loop {
        tokio::select! {
            biased;
            answer = &mut answer => return match answer.map(|answer| answer.into_inner().vote) {
                Ok(Some(vote)) => Sent::Answered(vote_from_wire(vote)),
                Ok(None) => Sent::Failed("an answer has no vote".into()),
                Err(status) => Sent::Failed(status.to_string()),
            },
            closed = &mut cancel => return Sent::Cancelled(closed),
            () = runtime::sleep(answer_max) => {
                let now = taken.load(Ordering::Relaxed);
                if now == seen {
                    return Sent::Failed(format!("no piece was taken for {answer_max:?}"));
                }
                seen = now;
            }
        }
    }
}

struct Reader {
    limits: Limits,
    pieces: mpsc::Sender<wire::SnapshotPiece>,
    files: u64,
}

impl Reader {
    /// `None` if nobody takes it.
    fn send(&self, content: Piece) -> Option<()> {
        self.pieces.blocking_send(piece(content)).ok()
    }

    fn read(&mut self, rows: Vec<Rows<'_>>) -> Result<Option<()>, ApplyError> {
        for ((_, family), mut rows) in FAMILIES.into_iter().zip(rows) {
            if planted::is(planted::Bug::SnapshotLacksRecords) && family == wire::SnapshotFamily::Records {
                continue;
            }
            rows.seek_to_first();
            while rows.valid() {
                if self.read_file(family, &mut rows)?.is_none() {
                    return Ok(None);
                }
            }
            rows.status().map_err(|error| ApplyError::Store(error.to_string()))?;
        }
        Ok(self.send(Piece::End(wire::SnapshotEnd { files: self.files })))
    }

    /// As many rows as go into one file.
    fn read_file(
        &mut self,
        family: wire::SnapshotFamily,
        rows: &mut Rows<'_>,
    ) -> Result<Option<()>, ApplyError> {
        if self.send(Piece::FileBegin(wire::FileBegin { family: family.into() })).is_none() {
            return Ok(None);
        }
        let (mut bytes, mut count, mut crc32c) = (0, 0, 0);
        let mut buffer = Vec::new();
        let mut goes_on = true;
        while goes_on {
            match rows.item() {
                Some((key, value)) => {
                    let key = keys::without_incarnation(key)?;
                    for part in [key, value] {
                        let length = u32::try_from(part.len());
                        let length = length.map_err(|_| ApplyError::Store("a row is too large".into()))?;
                        buffer.extend_from_slice(&length.to_be_bytes());
                        buffer.extend_from_slice(part);
                    }
                    count += 1;
                    rows.next();
                }
                None => goes_on = false,
            }
            goes_on = goes_on && bytes + buffer.len() < self.limits.file_bytes_max;
            if buffer.len() >= self.limits.piece_bytes_max || (!goes_on && !buffer.is_empty()) {
                bytes += buffer.len();
                crc32c = crc32c::crc32c_append(crc32c, &buffer);
                let piece = Bytes::from(std::mem::take(&mut buffer));
                if self.send(Piece::Rows(piece)).is_none() {
                    return Ok(None);
                }
            }
        }
        self.files += 1;
        Ok(self.send(Piece::FileEnd(wire::FileEnd { rows: count, crc32c })))
    }
}
