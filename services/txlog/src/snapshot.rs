//! A group's whole state, for a replica that is too far behind for the log: as it is read at one moment and sent, and as it
//! comes in beneath an incarnation of its own, until it takes the place of what the replica had.

mod receiving;
mod sending;

use std::sync::Arc;

use proto::txlog::v1 as wire;

use crate::{
    apply::{AppliedState, Family},
    keys::Incarnation,
    limits::StoreLimits,
    state_store::NodeStore,
};

pub use receiving::receive;
pub use sending::{Sending, Sent};

/// What Raft calls a snapshot.
#[derive(Debug)]
pub enum SnapshotData {
    /// This replica's state, flushed up to here. The data stay where they are.
    Here(AppliedState),
    /// Another replica's state. It is in the store, and nobody reads it yet.
    Received(Received),
}

/// A state that has come in whole. Unless it is taken it goes again.
#[derive(Debug)]
pub struct Received {
    store: Arc<NodeStore>,
    incarnation: Incarnation,
    state: AppliedState,
    taken: bool,
}

impl Received {
    pub fn state(&self) -> &AppliedState {
        &self.state
    }

    /// From here on its data are somebody's.
    pub fn take(mut self) -> (Incarnation, AppliedState) {
        self.taken = true;
        (self.incarnation, self.state.clone())
    }
}

impl Drop for Received {
    fn drop(&mut self) {
        if !self.taken {
            discard(&self.store, self.incarnation);
        }
    }
}

/// What is left of it goes at the next start if this fails.
fn discard(store: &NodeStore, incarnation: Incarnation) {
    if let Err(error) = store.delete_incarnation(incarnation) {
        tracing::warn!(%error, "what is left of a snapshot could not be deleted");
    }
}

/// In which pieces a snapshot is sent.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub file_bytes_max: usize,
    pub piece_bytes_max: usize,
}

impl Limits {
    pub fn of(limits: &StoreLimits) -> Limits {
        Limits {
            file_bytes_max: limits.snapshot_file_bytes_max,
            piece_bytes_max: limits.snapshot_piece_bytes_max,
        }
    }
}

/// Pieces between the disk and the network. In a simulation nobody waits for room: there is one thread.
const PIECES_QUEUED: usize = if cfg!(test) { 1 << 16 } else { 4 };

/// The families of a group's data, as snapshots have them.
pub const FAMILIES: [(Family, wire::SnapshotFamily); 4] = [
    (Family::Data, wire::SnapshotFamily::Data),
    (Family::Deletions, wire::SnapshotFamily::Deletions),
    (Family::Records, wire::SnapshotFamily::Records),
    (Family::Stages, wire::SnapshotFamily::Stages),
];

fn piece(piece: wire::snapshot_piece::Piece) -> wire::SnapshotPiece {
    wire::SnapshotPiece { piece: Some(piece) }
}

#[cfg(test)]
mod tests {
    use std::ops::ControlFlow;

    use bytes::Bytes;
    use contract::{CommitId, DeploymentId, IndexId, Timestamp};
    use proto::txlog::v1::snapshot_piece::Piece;

    use super::{receiving::Refused, *};
    use crate::{
        apply::{Changes, EntryId, Store, Writable},
        keys::{self, Stored},
        raft_types::Vote,
        state_store::Floors,
        undecided::Committed,
    };

    const OURS: Incarnation = Incarnation(1);
    const INDEX: IndexId = IndexId([1; 16]);
    const TINY: Limits = Limits { file_bytes_max: 400, piece_bytes_max: 100 };

    fn at(nanoseconds: u64) -> Timestamp {
        Timestamp::new(nanoseconds).unwrap()
    }

    fn open() -> (tempfile::TempDir, Arc<NodeStore>) {
        let folder = tempfile::tempdir().unwrap();
        let store = NodeStore::open(folder.path(), &StoreLimits::DEFAULT).unwrap();
        (folder, Arc::new(store))
    }

    fn document(incarnation: Incarnation, key: &[u8], timestamp: Timestamp) -> Vec<u8> {
        keys::version(&keys::index_prefix(incarnation, DeploymentId(1), INDEX), key, timestamp)
    }

    /// Rows in each family, those of a neighbour, and how far it has come.
    fn filled() -> (tempfile::TempDir, Arc<NodeStore>) {
        let (folder, store) = open();
        for incarnation in [OURS, Incarnation(2)] {
            assert_eq!(store.give_incarnation().unwrap(), incarnation);
            let mut changes = store.changes();
            for number in 0..40u8 {
                let key = document(incarnation, &[0, number, 0xff], at(10));
                changes.put(Family::Data, &key, &Stored::Document(&[number; 30]).encode());
                changes.put(Family::Deletions, &keys::deletions(incarnation, at(number.into())), b"some");
                let record = keys::record(incarnation, DeploymentId(1), CommitId([number; 16]));
                let committed = Committed { timestamp: at(10), run: 1 };
                changes.put(Family::Records, &record, &keys::encode_record(committed));
            }
            changes.put(Family::Stages, &keys::stage_part(incarnation, 3, 1, 1), b"part");
            let state = AppliedState {
                last: Some(EntryId { term: 3, index: 7 }),
                last_timestamp: at(20),
                ..AppliedState::default()
            };
            changes.put(Family::Applied, &keys::applied(incarnation), &state.encode());
            store.write(changes).unwrap();
        }
        (folder, store)
    }

    type Rows = Vec<(Family, Vec<u8>, Vec<u8>)>;

    /// An incarnation's rows, without its number.
    fn rows(store: &NodeStore, incarnation: Incarnation) -> Rows {
        let prefix = incarnation.0.to_be_bytes();
        let mut rows = Vec::new();
        for (family, _) in FAMILIES {
            let end = keys::behind(&prefix);
            store
                .scan(family, &prefix, end.as_deref(), &mut |key, value| {
                    rows.push((family, keys::without_incarnation(key)?.to_vec(), value.to_vec()));
                    Ok(ControlFlow::Continue(()))
                })
                .unwrap();
        }
        rows
    }

    async fn pieces(store: &Arc<NodeStore>) -> Vec<wire::SnapshotPiece> {
        let vote = Vote::new_committed(3, 1);
        let mut sending = Sending::start(store.clone(), OURS, wire::Route::default(), &vote, TINY);
        let mut pieces = Vec::new();
        while let Some(piece) = sending.pieces.recv().await {
            pieces.push(piece);
        }
        sending.reading.await.unwrap().unwrap();
        pieces
    }

    /// What comes of pieces behind the beginning.
    fn received(store: &Arc<NodeStore>, pieces: &[wire::SnapshotPiece]) -> Result<Received, Refused> {
        let mut pieces = pieces.iter().cloned();
        receiving::write(store, AppliedState::default(), || pieces.next())
    }

    fn assert_nothing_left(store: &NodeStore) {
        for incarnation in 1..200 {
            assert_eq!(rows(store, Incarnation(incarnation)), []);
        }
        assert_eq!(std::fs::read_dir(store.incoming()).unwrap().count(), 0);
    }

    #[tokio::test]
    async fn what_is_sent_comes_in_as_it_was_and_goes_again_if_nobody_takes_it() {
        let (_one, from) = filled();
        let pieces = pieces(&from).await;
        let files = pieces.iter().filter(|piece| matches!(piece.piece, Some(Piece::FileEnd(_)))).count();
        assert!(files > 10, "several of most families");
        assert!(pieces.len() > 3 * files, "several pieces of most files");
        let (_other, to) = open();
        let first = received(&to, &pieces[1..]).unwrap();
        let (incarnation, _) = first.take();
        assert_eq!(rows(&to, incarnation), rows(&from, OURS));
        let second = received(&to, &pieces[1..]).unwrap();
        assert_eq!(rows(&to, second.incarnation), rows(&from, OURS));
        assert_ne!(second.incarnation, incarnation);
        let gone = second.incarnation;
        drop(second);
        assert_eq!(rows(&to, gone), []);
        assert_eq!(rows(&to, incarnation), rows(&from, OURS), "its neighbour stays");
    }

    #[tokio::test]
    async fn of_what_is_not_whole_nothing_is_left() {
        let (_one, from) = filled();
        let pieces = pieces(&from).await;
        let pieces = &pieces[1..];
        let (_other, to) = open();
        for at in 0..pieces.len() {
            let mut lacks = pieces.to_vec();
            lacks.remove(at);
            assert!(received(&to, &lacks).is_err(), "without piece {at}: {:?}", pieces[at]);
            let mut twice = pieces.to_vec();
            twice.insert(at, pieces[at].clone());
            let end = matches!(pieces[at].piece, Some(Piece::End(_)));
            assert!(end || received(&to, &twice).is_err(), "with piece {at} twice: {:?}", pieces[at]);
            if let Some(Piece::Rows(rows)) = &pieces[at].piece {
                let mut damaged = rows.to_vec();
                let middle = damaged.len() / 2;
                damaged[middle] ^= 1;
                let mut other = pieces.to_vec();
                other[at] = piece(Piece::Rows(Bytes::from(damaged)));
                assert!(received(&to, &other).is_err(), "with another byte in piece {at}");
            }
        }
        assert!(received(&to, &[]).is_err());
        assert_nothing_left(&to);
    }

    #[test]
    fn a_state_stays_as_it_was_while_it_is_read_whatever_is_compacted() {
        let (_folder, store) = filled();
        let expected = rows(&store, OURS);
        let read = store.at_one_moment(OURS, |state, iterators| {
            assert_eq!(state.last, Some(EntryId { term: 3, index: 7 }));
            // Everything is overwritten, nobody can read what was there, and it is compacted away.
            let mut changes = store.changes();
            for number in 0..40u8 {
                let key = document(OURS, &[0, number, 0xff], at(30));
                changes.put(Family::Data, &key, &Stored::Document(b"newer").encode());
                let record = keys::record(OURS, DeploymentId(1), CommitId([number; 16]));
                changes.delete(Family::Records, &record);
            }
            store.write(changes)?;
            store.flush(&[(OURS, Floors { horizon: at(50), records: at(50) })])?;
            store.compact(|| true)?;
            let mut found = Vec::new();
            for ((family, _), mut rows) in FAMILIES.into_iter().zip(iterators) {
                rows.seek_to_first();
                while let Some((key, value)) = rows.item() {
                    found.push((family, keys::without_incarnation(key)?.to_vec(), value.to_vec()));
                    rows.next();
                }
            }
            Ok(found)
        });
        assert!(read.unwrap() == expected, "it has what was there when it began");
        let old = document(OURS, &[0, 7, 0xff], at(10));
        assert_eq!(store.get(Family::Data, &old).unwrap(), None, "compaction has dropped what was read");
    }
}
