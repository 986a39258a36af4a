//! The format of log entries: a version byte, then a protobuf message.
//!
//! A commit's writes are encoded once, when the commit arrives, and go into the entry as they are.

use bytes::{BufMut, Bytes, BytesMut};
use contract::{CommitId, DeploymentId, Epoch, IndexId, IndexUpdate, Timestamp, TouchedKey, Write};
use prost::Message;
use proto::txlog::v1 as wire;

use crate::planted;

/// A format of log entries: an entry's first byte.
///
/// A program reads every format up to its own. It writes the one that its group has come to, which an entry moves
/// ([`LogEntry::SetWriteVersion`]) once every replica can read the next: so programs of two versions can serve one group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct EntryVersion(u8);

impl EntryVersion {
    /// What a new group begins with.
    pub const FIRST: EntryVersion = EntryVersion(1);
    /// The newest that this program knows. Tests know one more, to show how a group passes from one to the next.
    pub const OWN: EntryVersion = EntryVersion(if cfg!(test) { 2 } else { 1 });

    /// The version with this number, if it is known.
    pub fn from_number(number: u32) -> Result<EntryVersion, EntryError> {
        let known = EntryVersion::FIRST.number()..=EntryVersion::OWN.number();
        if !known.contains(&number) {
            return Err(EntryError::UnknownVersion(number));
        }
        Ok(EntryVersion(u8::try_from(number).expect("own versions are small")))
    }

    pub fn number(self) -> u32 {
        self.0.into()
    }
}

impl Default for EntryVersion {
    fn default() -> EntryVersion {
        EntryVersion::FIRST
    }
}

#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum EntryError {
    #[error("format {0} of the log is not known to this version: it was written by a newer one")]
    UnknownVersion(u32),
    #[error("a log entry is damaged: {0}")]
    Damaged(String),
}

pub(crate) fn damaged(what: impl ToString) -> EntryError {
    EntryError::Damaged(what.to_string())
}

#[derive(Clone, Debug, PartialEq)]
pub enum LogEntry {
    Batch(Batch),
    StagePart {
        term: u64,
        stage: u64,
        part: u32,
        content: Bytes,
    },
    DropStage {
        term: u64,
        stage: u64,
    },
    Backfill(Backfill),
    /// From here on the group's entries are written in this version; it never goes back.
    SetWriteVersion(EntryVersion),
}

/// Commits that were validated one after the other by one epoch.
#[derive(Clone, Debug, PartialEq)]
pub struct Batch {
    pub epoch: Epoch,
    /// The last timestamp of the batch before; the entry is skipped where the store's last timestamp is another one.
    pub previous: Timestamp,
    pub commits: Vec<StampedCommit>,
    pub horizon: Timestamp,
    pub records_floor: Timestamp,
}

#[derive(Clone, Debug, PartialEq)]
pub struct StampedCommit {
    pub timestamp: Timestamp,
    pub deployment: DeploymentId,
    pub id: CommitId,
    /// Which run of the request it is.
    pub run: u32,
    pub writes: CommitWrites,
}

#[derive(Clone, Debug, PartialEq)]
pub enum CommitWrites {
    /// As [`encode_writes`] made it.
    Inlined(Bytes),
    Staged(Staged),
}

/// Where the writes of a large commit lie: in parts, in entries of the same term before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Staged {
    pub stage: u64,
    pub parts: u32,
    pub bytes: u64,
    pub crc32c: u32,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Backfill {
    pub deployment: DeploymentId,
    pub primary: IndexId,
    pub index: IndexId,
    pub fields: Vec<String>,
    pub from: Option<Bytes>,
    /// The first key that is left to the next step.
    pub to: Option<Bytes>,
}

impl Default for CommitWrites {
    fn default() -> Self {
        CommitWrites::Inlined(Bytes::new())
    }
}

impl CommitWrites {
    /// How many bytes of the entry they take.
    pub fn entry_bytes(&self) -> usize {
        match self {
            CommitWrites::Inlined(bytes) => bytes.len(),
            CommitWrites::Staged(_) => 32,
        }
    }
}

impl LogEntry {
    /// The entry in the version that its group writes.
    pub fn encode(self, version: EntryVersion) -> Bytes {
        use wire::log_entry::Kind;
        let kind = match self {
            LogEntry::Batch(batch) => Kind::Batch(wire::Batch {
                term: batch.epoch.term,
                reset: batch.epoch.reset,
                previous_timestamp: batch.previous.as_nanoseconds(),
                commits: batch.commits.into_iter().map(StampedCommit::into_wire).collect(),
                horizon: batch.horizon.as_nanoseconds(),
                records_floor: batch.records_floor.as_nanoseconds(),
            }),
            LogEntry::StagePart { term, stage, part, content } => {
                Kind::StagePart(wire::StagePart { term, stage, part, content })
            }
            LogEntry::DropStage { term, stage } => Kind::DropStage(wire::DropStage { term, stage }),
            LogEntry::Backfill(backfill) => Kind::Backfill(wire::Backfill {
                deployment: backfill.deployment.0,
                primary: Bytes::copy_from_slice(&backfill.primary.0),
                index: Bytes::copy_from_slice(&backfill.index.0),
                fields: backfill.fields,
                from: backfill.from,
                to: backfill.to,
            }),
            LogEntry::SetWriteVersion(version) => {
                Kind::SetWriteVersion(wire::SetWriteVersion { version: version.number() })
            }
        };
        let message = wire::LogEntry { kind: Some(kind) };
        match version.0 {
            #[cfg(test)]
            2 => tests::encode_version_two(&message),
            version => encode_versioned(version, &message),
        }
    }

    pub fn decode(bytes: Bytes) -> Result<LogEntry, EntryError> {
        use wire::log_entry::Kind;
        let message = match split_version(bytes)? {
            (1, content) => wire::LogEntry::decode(content).map_err(damaged)?,
            #[cfg(test)]
            (2, content) => tests::decode_version_two(content)?,
            (unknown, _) => return Err(EntryError::UnknownVersion(unknown.into())),
        };
        Ok(match message.kind.ok_or_else(|| damaged("it has no kind"))? {
            Kind::Batch(batch) => LogEntry::Batch(Batch {
                epoch: Epoch { term: batch.term, reset: batch.reset },
                previous: timestamp(batch.previous_timestamp)?,
                commits: batch
                    .commits
                    .into_iter()
                    .map(StampedCommit::from_wire)
                    .collect::<Result<_, EntryError>>()?,
                horizon: timestamp(batch.horizon)?,
                records_floor: timestamp(batch.records_floor)?,
            }),
            Kind::StagePart(part) => LogEntry::StagePart {
                term: part.term,
                stage: part.stage,
                part: part.part,
                content: part.content,
            },
            Kind::DropStage(drop) => LogEntry::DropStage { term: drop.term, stage: drop.stage },
            Kind::Backfill(backfill) => LogEntry::Backfill(Backfill {
                deployment: DeploymentId(backfill.deployment),
                primary: index_id(&backfill.primary)?,
                index: index_id(&backfill.index)?,
                fields: backfill.fields,
                from: backfill.from,
                to: backfill.to,
            }),
            Kind::SetWriteVersion(set) => LogEntry::SetWriteVersion(EntryVersion::from_number(set.version)?),
        })
    }
}

impl StampedCommit {
    fn into_wire(self) -> wire::StampedCommit {
        use wire::stamped_commit::Writes;
        wire::StampedCommit {
            timestamp: self.timestamp.as_nanoseconds(),
            deployment: self.deployment.0,
            commit_id: Bytes::copy_from_slice(&self.id.0),
            run: self.run,
            writes: Some(match self.writes {
                CommitWrites::Inlined(bytes) => Writes::Inlined(bytes),
                CommitWrites::Staged(staged) => Writes::Staged(wire::Staged {
                    stage: staged.stage,
                    parts: staged.parts,
                    bytes: staged.bytes,
                    crc32c: staged.crc32c,
                }),
            }),
        }
    }

    fn from_wire(commit: wire::StampedCommit) -> Result<StampedCommit, EntryError> {
        use wire::stamped_commit::Writes;
        Ok(StampedCommit {
            timestamp: timestamp(commit.timestamp)?,
            deployment: DeploymentId(commit.deployment),
            id: CommitId(sixteen(&commit.commit_id, "a commit id")?),
            run: commit.run,
            writes: match commit.writes.ok_or_else(|| damaged("a commit has no writes"))? {
                Writes::Inlined(bytes) => CommitWrites::Inlined(bytes),
                Writes::Staged(staged) => CommitWrites::Staged(Staged {
                    stage: staged.stage,
                    parts: staged.parts,
                    bytes: staged.bytes,
                    crc32c: staged.crc32c,
                }),
            },
        })
    }
}

/// The bytes of a commit's writes, for [`CommitWrites`].
pub fn encode_writes(writes: &[Write]) -> Bytes {
    let message = wire::CommitWrites {
        writes: writes
            .iter()
            .map(|write| wire::Write {
                primary: Bytes::copy_from_slice(&write.primary.0),
                key: write.key.clone(),
                document: write.document.clone(),
                index_updates: write
                    .index_updates
                    .iter()
                    .map(|update| wire::IndexUpdate {
                        index: Bytes::copy_from_slice(&update.index.0),
                        old: update.old.clone(),
                        new: update.new.clone(),
                    })
                    .collect(),
            })
            .collect(),
    };
    message.encode_to_vec().into()
}

pub fn decode_writes(bytes: Bytes) -> Result<Vec<Write>, EntryError> {
    let message = wire::CommitWrites::decode(bytes).map_err(damaged)?;
    message
        .writes
        .into_iter()
        .map(|write| {
            Ok(Write {
                primary: index_id(&write.primary)?,
                key: write.key,
                document: write.document,
                index_updates: write
                    .index_updates
                    .into_iter()
                    .map(|update| {
                        Ok(IndexUpdate { index: index_id(&update.index)?, old: update.old, new: update.new })
                    })
                    .collect::<Result<_, EntryError>>()?,
            })
        })
        .collect()
}

/// Each key that the writes touch, old and new ones, in every index.
///
/// The keys are copied into one buffer of their own: they are kept much longer than the documents that came with them.
pub fn touched_keys(writes: &[Write]) -> Vec<TouchedKey> {
    let mut spans: Vec<(IndexId, usize)> = Vec::with_capacity(writes.len() * 4);
    let mut buffer: Vec<u8> = Vec::new();
    let mut touch = |index: IndexId, key: &[u8]| {
        buffer.extend_from_slice(key);
        spans.push((index, key.len()));
    };
    for write in writes {
        touch(write.primary, &write.key);
        for update in &write.index_updates {
            if planted::is(planted::Bug::TouchedKeysOmitUnchangedOnes) && update.old == update.new {
                continue;
            }
            if let Some(old) = &update.old
                && !planted::is(planted::Bug::TouchedKeysOmitOldOnes)
            {
                touch(update.index, old);
            }
            if let Some(new) = update.new.as_ref().filter(|new| update.old.as_ref() != Some(new)) {
                touch(update.index, new);
            }
        }
    }
    let mut rest = Bytes::from(buffer);
    spans.into_iter().map(|(index, bytes)| TouchedKey { index, key: rest.split_to(bytes) }).collect()
}

/// A version byte, then the message.
pub(crate) fn encode_versioned(version: u8, message: &impl Message) -> Bytes {
    let mut bytes = BytesMut::with_capacity(1 + message.encoded_len());
    bytes.put_u8(version);
    message.encode(&mut bytes).expect("the buffer grows as it is written");
    bytes.freeze()
}

/// What [`encode_versioned`] made, of a format that has one version so far. With a second one its reader chooses by
/// [`split_version`].
pub(crate) fn decode_versioned<M: Message + Default>(version: u8, bytes: Bytes) -> Result<M, EntryError> {
    match split_version(bytes)? {
        (found, content) if found == version => M::decode(content).map_err(damaged),
        (unknown, _) => Err(EntryError::UnknownVersion(unknown.into())),
    }
}

fn split_version(mut bytes: Bytes) -> Result<(u8, Bytes), EntryError> {
    let version = *bytes.first().ok_or_else(|| damaged("it is empty"))?;
    Ok((version, bytes.split_off(1)))
}

pub(crate) fn timestamp(nanoseconds: u64) -> Result<Timestamp, EntryError> {
    Timestamp::new(nanoseconds).ok_or_else(|| damaged("a timestamp is out of range"))
}

fn index_id(bytes: &[u8]) -> Result<IndexId, EntryError> {
    Ok(IndexId(sixteen(bytes, "an index id")?))
}

fn sixteen(bytes: &[u8], what: &str) -> Result<[u8; 16], EntryError> {
    bytes.try_into().map_err(|_| damaged(format!("{what} has {} bytes", bytes.len())))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bytes() -> impl Strategy<Value = Bytes> {
        prop::collection::vec(any::<u8>(), 0..20).prop_map(Bytes::from)
    }

    fn write() -> impl Strategy<Value = Write> {
        let update = (any::<[u8; 16]>(), prop::option::of(bytes()), prop::option::of(bytes()))
            .prop_map(|(index, old, new)| IndexUpdate { index: IndexId(index), old, new });
        (any::<[u8; 16]>(), bytes(), prop::option::of(bytes()), prop::collection::vec(update, 0..3)).prop_map(
            |(primary, key, document, index_updates)| Write {
                primary: IndexId(primary),
                key,
                document,
                index_updates,
            },
        )
    }

    proptest! {
        #[test]
        fn writes_come_back_as_they_were(writes in prop::collection::vec(write(), 0..4)) {
            prop_assert_eq!(decode_writes(encode_writes(&writes)).unwrap(), writes);
        }

        #[test]
        fn no_bytes_make_decoding_panic(content in prop::collection::vec(any::<u8>(), 0..200)) {
            let mut versioned = vec![EntryVersion::FIRST.0];
            versioned.extend_from_slice(&content);
            if let Ok(entry) = LogEntry::decode(versioned.into()) {
                entry.encode(EntryVersion::FIRST);
            }
            let _ = decode_writes(content.into());
        }
    }

    #[test]
    fn entries_come_back_as_they_were() {
        let entries = [
            LogEntry::Batch(Batch {
                epoch: Epoch { term: 3, reset: 2 },
                previous: Timestamp::new(5).unwrap(),
                commits: vec![
                    StampedCommit {
                        timestamp: Timestamp::new(6).unwrap(),
                        deployment: DeploymentId(1),
                        id: CommitId([4; 16]),
                        run: 1,
                        writes: CommitWrites::Inlined(encode_writes(&[])),
                    },
                    StampedCommit {
                        timestamp: Timestamp::new(7).unwrap(),
                        deployment: DeploymentId(1),
                        id: CommitId([5; 16]),
                        run: 2,
                        writes: CommitWrites::Staged(Staged { stage: 1, parts: 2, bytes: 3, crc32c: 4 }),
                    },
                ],
                horizon: Timestamp::ZERO,
                records_floor: Timestamp::new(1).unwrap(),
            }),
            LogEntry::StagePart { term: 1, stage: 2, part: 3, content: Bytes::from_static(b"part") },
            LogEntry::DropStage { term: 1, stage: 2 },
            LogEntry::Backfill(Backfill {
                deployment: DeploymentId(1),
                primary: IndexId([1; 16]),
                index: IndexId([2; 16]),
                fields: vec!["a.b".into(), "_id".into()],
                from: Some(Bytes::from_static(b"from")),
                to: Some(Bytes::from_static(b"to")),
            }),
            LogEntry::SetWriteVersion(EntryVersion::OWN),
        ];
        for entry in entries {
            for version in [EntryVersion::FIRST, EntryVersion::OWN] {
                assert_eq!(LogEntry::decode(entry.clone().encode(version)).unwrap(), entry);
            }
        }
    }

    #[test]
    fn an_unknown_version_is_refused_by_name() {
        let mut bytes = LogEntry::DropStage { term: 1, stage: 2 }.encode(EntryVersion::FIRST).to_vec();
        bytes[0] = 9;
        assert_eq!(LogEntry::decode(bytes.into()), Err(EntryError::UnknownVersion(9)));
        assert!(LogEntry::decode(Bytes::new()).is_err());
        assert_eq!(EntryVersion::from_number(9), Err(EntryError::UnknownVersion(9)));
        assert_eq!(EntryVersion::from_number(0), Err(EntryError::UnknownVersion(0)));
    }

    /// The format of the second version, which is for tests only: the same message, backwards.
    pub fn encode_version_two(message: &wire::LogEntry) -> Bytes {
        let backwards: Vec<u8> = message.encode_to_vec().into_iter().rev().collect();
        [&[2], &backwards[..]].concat().into()
    }

    pub fn decode_version_two(content: Bytes) -> Result<wire::LogEntry, EntryError> {
        wire::LogEntry::decode(content.iter().copied().rev().collect::<Bytes>()).map_err(damaged)
    }

    #[test]
    fn a_newer_format_is_not_taken_for_an_older_one() {
        let entry = LogEntry::DropStage { term: 1, stage: 2 };
        let newer = entry.clone().encode(EntryVersion::OWN);
        let mut mislabelled = newer.to_vec();
        mislabelled[0] = EntryVersion::FIRST.0;
        assert_ne!(LogEntry::decode(mislabelled.into()), Ok(entry));
    }
}
