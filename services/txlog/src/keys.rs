//! How keys and values lie in the store.
//!
//! ```text
//! data       incarnation u32 | deployment u32 | index 16 B | key, escaped | !timestamp u64
//! deletions  incarnation u32 | timestamp u64
//! records    incarnation u32 | deployment u32 | commit id 16 B
//! stages     incarnation u32 | term u64 | stage u64 | part u32
//! applied    'a' | incarnation u32        how far that data has come
//!            'g' | group u32              the incarnation of the group's data
//!            'i'                          the incarnation that was given last
//!            'u'                          what was written since all files were compacted
//! ```
//!
//! Numbers are big-endian. In the escaped key a zero byte is `00 ff` and the end is `00 01`, so that keys keep their order
//! as bytes, whatever follows, and the newest version of a key comes first. The incarnation changes when a group's data is
//! replaced as a whole; its old data then lies apart.
//!
//! A value is a version byte, then a tag.

use bytes::Bytes;
use contract::{CommitId, DeploymentId, GroupId, IndexId, Timestamp};

use crate::undecided::Committed;

/// The first byte of every value that this version writes, and the only one so far: its readers match on it.
pub const VALUE_VERSION: u8 = 1;

const ESCAPE: u8 = 0x00;
const ESCAPED_ZERO: u8 = 0xff;
const END: u8 = 0x01;

pub const TIMESTAMP_BYTES: usize = 8;
const INDEX_PREFIX_BYTES: usize = 4 + 4 + 16;

/// One version of a group's data: see the module.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Incarnation(pub u32);

#[derive(Debug, thiserror::Error)]
pub enum StoredError {
    #[error("stored value format {0} is not known to this version")]
    UnknownVersion(u8),
    #[error("the store is damaged: {0}")]
    Damaged(&'static str),
}

/// The keys of one index, all their versions.
pub fn index_prefix(incarnation: Incarnation, deployment: DeploymentId, index: IndexId) -> Vec<u8> {
    let mut prefix = Vec::with_capacity(INDEX_PREFIX_BYTES + 64);
    prefix.extend_from_slice(&incarnation.0.to_be_bytes());
    prefix.extend_from_slice(&deployment.0.to_be_bytes());
    prefix.extend_from_slice(&index.0);
    prefix
}

/// The first key of the store behind all those with `prefix`; `None` if there is none.
pub fn behind(prefix: &[u8]) -> Option<Vec<u8>> {
    let last = prefix.iter().rposition(|byte| *byte != 0xff)?;
    let mut behind = prefix[..=last].to_vec();
    behind[last] += 1;
    Some(behind)
}

fn escape_into(out: &mut Vec<u8>, key: &[u8]) {
    let mut rest = key;
    while let Some(zero) = rest.iter().position(|byte| *byte == 0) {
        out.extend_from_slice(&rest[..zero]);
        out.extend_from_slice(&[ESCAPE, ESCAPED_ZERO]);
        rest = &rest[zero + 1..];
    }
    out.extend_from_slice(rest);
}

/// A bound in the store: everything at or behind it belongs to a key that is not below `bound`.
pub fn bound(index_prefix: &[u8], bound: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(index_prefix.len() + bound.len() + 16);
    out.extend_from_slice(index_prefix);
    escape_into(&mut out, bound);
    out
}

/// All versions of one key.
pub fn key_prefix(index_prefix: &[u8], key: &[u8]) -> Vec<u8> {
    let mut out = bound(index_prefix, key);
    out.extend_from_slice(&[ESCAPE, END]);
    out
}

/// One version of a key. Seeking to it finds the newest one that is not newer.
pub fn version(index_prefix: &[u8], key: &[u8], timestamp: Timestamp) -> Vec<u8> {
    let mut out = key_prefix(index_prefix, key);
    push_timestamp(&mut out, timestamp);
    out
}

pub fn push_timestamp(key_prefix: &mut Vec<u8>, timestamp: Timestamp) {
    key_prefix.extend_from_slice(&(!timestamp.as_nanoseconds()).to_be_bytes());
}

/// Splits what is stored into the prefix that all versions of the key share, and the timestamp.
pub fn split_version(stored: &[u8]) -> Result<(&[u8], Timestamp), StoredError> {
    let (prefix, timestamp) =
        stored.split_last_chunk::<TIMESTAMP_BYTES>().ok_or(StoredError::Damaged("a key has no timestamp"))?;
    let timestamp = Timestamp::new(!u64::from_be_bytes(*timestamp))
        .ok_or(StoredError::Damaged("a timestamp is out of range"))?;
    Ok((prefix, timestamp))
}

/// The key within a [`key_prefix`].
pub fn unescape(key_prefix: &[u8]) -> Result<Bytes, StoredError> {
    let damaged = StoredError::Damaged("a key's escapes");
    let mut rest = match key_prefix.get(INDEX_PREFIX_BYTES..).and_then(|key| key.strip_suffix(&[ESCAPE, END]))
    {
        Some(escaped) => escaped,
        None => return Err(damaged),
    };
    let mut key = Vec::with_capacity(rest.len());
    while let Some(zero) = rest.iter().position(|byte| *byte == ESCAPE) {
        if rest.get(zero + 1) != Some(&ESCAPED_ZERO) {
            return Err(damaged);
        }
        key.extend_from_slice(&rest[..=zero]);
        rest = &rest[zero + 2..];
    }
    key.extend_from_slice(rest);
    Ok(key.into())
}

/// The part of a stored key that all versions of it share, for filters; the key as it is where it is too short.
pub fn without_timestamp(stored: &[u8]) -> &[u8] {
    if has_timestamp(stored) { &stored[..stored.len() - TIMESTAMP_BYTES] } else { stored }
}

pub fn has_timestamp(stored: &[u8]) -> bool {
    stored.len() >= INDEX_PREFIX_BYTES + 2 + TIMESTAMP_BYTES
}

/// The incarnation that a stored key belongs to.
pub fn incarnation(stored: &[u8]) -> Option<Incarnation> {
    stored.first_chunk::<4>().map(|bytes| Incarnation(u32::from_be_bytes(*bytes)))
}

/// A stored key behind its incarnation.
pub fn without_incarnation(stored: &[u8]) -> Result<&[u8], StoredError> {
    stored.get(4..).ok_or(StoredError::Damaged("a key has no incarnation"))
}

/// What a key is at a timestamp.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stored<'a> {
    /// Nothing: it was deleted, or moved to another key.
    Gone,
    /// The document itself, in its table's primary index.
    Document(&'a [u8]),
    /// The document lies in this index under this key, at the same timestamp.
    Reference { primary: IndexId, key: &'a [u8] },
}

const TAG_GONE: u8 = 0;
const TAG_DOCUMENT: u8 = 1;
const TAG_REFERENCE: u8 = 2;

impl<'a> Stored<'a> {
    pub fn encode(self) -> Vec<u8> {
        match self {
            Stored::Gone => vec![VALUE_VERSION, TAG_GONE],
            Stored::Document(document) => [&[VALUE_VERSION, TAG_DOCUMENT], document].concat(),
            Stored::Reference { primary, key } => {
                [&[VALUE_VERSION, TAG_REFERENCE][..], &primary.0, key].concat()
            }
        }
    }

    pub fn decode(value: &'a [u8]) -> Result<Stored<'a>, StoredError> {
        match value {
            [VALUE_VERSION, TAG_GONE] => Ok(Stored::Gone),
            [VALUE_VERSION, TAG_DOCUMENT, document @ ..] => Ok(Stored::Document(document)),
            [VALUE_VERSION, TAG_REFERENCE, reference @ ..] => {
                let (primary, key) = reference
                    .split_first_chunk::<16>()
                    .ok_or(StoredError::Damaged("a reference is short"))?;
                Ok(Stored::Reference { primary: IndexId(*primary), key })
            }
            [VALUE_VERSION, ..] | [] => Err(StoredError::Damaged("a value's tag")),
            [version, ..] => Err(StoredError::UnknownVersion(*version)),
        }
    }
}

/// Whether a stored value is [`Stored::Gone`].
pub fn is_gone(value: &[u8]) -> bool {
    value.get(1) == Some(&TAG_GONE)
}

/// Where it is kept which keys the commit at a timestamp deleted.
pub fn deletions(incarnation: Incarnation, timestamp: Timestamp) -> Vec<u8> {
    [&incarnation.0.to_be_bytes()[..], &timestamp.as_nanoseconds().to_be_bytes()].concat()
}

pub fn deletions_timestamp(stored: &[u8]) -> Result<Timestamp, StoredError> {
    let damaged = StoredError::Damaged("the place of a record of deletions");
    let timestamp: [u8; 8] = stored.get(4..).and_then(|rest| rest.try_into().ok()).ok_or(damaged)?;
    Timestamp::new(u64::from_be_bytes(timestamp)).ok_or(StoredError::Damaged("a timestamp is out of range"))
}

/// The keys that a commit deleted, each as all its versions begin: a version byte, then length and bytes of each.
#[derive(Debug, Default)]
pub struct Deletions(Vec<u8>);

impl Deletions {
    pub fn push(&mut self, key_prefix: &[u8]) {
        if self.0.is_empty() {
            self.0.push(VALUE_VERSION);
        }
        let length = u32::try_from(key_prefix.len()).expect("an index key has at most some megabytes");
        self.0.extend_from_slice(&length.to_be_bytes());
        self.0.extend_from_slice(key_prefix);
    }

    /// `None` if there are none.
    pub fn encoded(&self) -> Option<&[u8]> {
        (!self.0.is_empty()).then_some(&self.0)
    }

    pub fn decode(value: &[u8]) -> Result<Vec<&[u8]>, StoredError> {
        let damaged = StoredError::Damaged("a record of deletions");
        let mut rest = match value.split_first() {
            Some((&VALUE_VERSION, rest)) => rest,
            Some((&version, _)) => return Err(StoredError::UnknownVersion(version)),
            None => return Err(damaged),
        };
        let mut keys = Vec::new();
        while !rest.is_empty() {
            let key = rest.split_first_chunk::<4>().and_then(|(length, rest)| {
                rest.split_at_checked(usize::try_from(u32::from_be_bytes(*length)).ok()?)
            });
            let Some((key, behind)) = key else { return Err(damaged) };
            keys.push(key);
            rest = behind;
        }
        Ok(keys)
    }
}

/// Where it is kept how far an incarnation has come.
pub fn applied(incarnation: Incarnation) -> Vec<u8> {
    [&b"a"[..], &incarnation.0.to_be_bytes()].concat()
}

/// Where it is kept which incarnation of its data a group has.
pub fn group(group: GroupId) -> Vec<u8> {
    [GROUPS, &group.0.to_be_bytes()].concat()
}

/// All of [`group`] begin with it.
pub const GROUPS: &[u8] = b"g";
/// Where it is kept which incarnation was given last.
pub const LAST_INCARNATION: &[u8] = b"i";
/// Where it is kept how much was written since all files were compacted.
pub const UNCOMPACTED: &[u8] = b"u";

pub fn encode_incarnation(incarnation: Incarnation) -> [u8; 5] {
    let mut value = [VALUE_VERSION; 5];
    value[1..].copy_from_slice(&incarnation.0.to_be_bytes());
    value
}

pub fn decode_incarnation(value: &[u8]) -> Result<Incarnation, StoredError> {
    match value.split_first() {
        Some((&VALUE_VERSION, number)) => number
            .try_into()
            .map(|bytes| Incarnation(u32::from_be_bytes(bytes)))
            .map_err(|_| StoredError::Damaged("an incarnation")),
        Some((&version, _)) => Err(StoredError::UnknownVersion(version)),
        None => Err(StoredError::Damaged("an incarnation is empty")),
    }
}

/// Where a commit's record lies.
pub fn record(incarnation: Incarnation, deployment: DeploymentId, id: CommitId) -> Vec<u8> {
    let mut key = Vec::with_capacity(24);
    key.extend_from_slice(&incarnation.0.to_be_bytes());
    key.extend_from_slice(&deployment.0.to_be_bytes());
    key.extend_from_slice(&id.0);
    key
}

/// When a request committed, and by which run.
pub fn encode_record(committed: Committed) -> [u8; 13] {
    let mut value = [VALUE_VERSION; 13];
    value[1..9].copy_from_slice(&committed.timestamp.as_nanoseconds().to_be_bytes());
    value[9..].copy_from_slice(&committed.run.to_be_bytes());
    value
}

pub fn decode_record(value: &[u8]) -> Result<Committed, StoredError> {
    let damaged = StoredError::Damaged("a commit record");
    match value.split_first() {
        Some((&VALUE_VERSION, rest)) => {
            let (timestamp, run) = rest.split_first_chunk::<8>().ok_or(damaged)?;
            let run = run.try_into().map_err(|_| StoredError::Damaged("the run of a commit record"))?;
            let timestamp = Timestamp::new(u64::from_be_bytes(*timestamp))
                .ok_or(StoredError::Damaged("a timestamp is out of range"))?;
            Ok(Committed { timestamp, run: u32::from_be_bytes(run) })
        }
        Some((&version, _)) => Err(StoredError::UnknownVersion(version)),
        None => Err(StoredError::Damaged("a commit record is empty")),
    }
}

/// The stages of a term begin with it.
pub fn stage_term(incarnation: Incarnation, term: u64) -> Vec<u8> {
    [&incarnation.0.to_be_bytes()[..], &term.to_be_bytes()].concat()
}

pub fn stage(incarnation: Incarnation, term: u64, stage: u64) -> Vec<u8> {
    [&stage_term(incarnation, term)[..], &stage.to_be_bytes()].concat()
}

pub fn stage_part(incarnation: Incarnation, term: u64, stage_number: u64, part: u32) -> Vec<u8> {
    [&stage(incarnation, term, stage_number)[..], &part.to_be_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key() -> impl Strategy<Value = Vec<u8>> {
        prop::collection::vec(prop::sample::select(vec![0u8, 1, 2, 0xfe, 0xff]), 0..5)
    }

    proptest! {
        #[test]
        fn stored_keys_are_ordered_by_key_and_then_newest_first(
            one in key(), two in key(), early in 0u64..9, late in 0u64..9,
        ) {
            let prefix = index_prefix(Incarnation(1), DeploymentId(1), IndexId([7; 16]));
            let at = |key: &[u8], timestamp| version(&prefix, key, Timestamp::new(timestamp).unwrap());
            prop_assert_eq!(at(&one, early).cmp(&at(&two, late)), one.cmp(&two).then(late.cmp(&early)));
            prop_assert_eq!(bound(&prefix, &one) <= at(&two, late), one <= two);
            let stored = at(&one, early);
            let (key_prefix, timestamp) = split_version(&stored).unwrap();
            prop_assert_eq!(timestamp.as_nanoseconds(), early);
            prop_assert_eq!(&unescape(key_prefix).unwrap()[..], &one[..]);
            prop_assert_eq!(without_timestamp(&stored), key_prefix);
        }

        #[test]
        fn nothing_stored_makes_reading_panic(stored in prop::collection::vec(any::<u8>(), 0..60)) {
            let _ = split_version(&stored).map(|(prefix, _)| unescape(prefix));
            let _ = Stored::decode(&stored);
            let _ = decode_record(&stored);
            let _ = decode_incarnation(&stored);
            let _ = Deletions::decode(&stored);
            let _ = deletions_timestamp(&stored);
            without_timestamp(&stored);
        }
    }

    #[test]
    fn deletions_come_back_as_they_were() {
        let mut deletions = Deletions::default();
        assert_eq!(deletions.encoded(), None);
        deletions.push(b"one");
        deletions.push(b"");
        deletions.push(b"three");
        let encoded = deletions.encoded().unwrap();
        assert_eq!(Deletions::decode(encoded).unwrap(), [&b"one"[..], b"", b"three"]);
        assert!(Deletions::decode(&encoded[..encoded.len() - 1]).is_err());
        assert!(matches!(Deletions::decode(&[9]), Err(StoredError::UnknownVersion(9))));
        let stored = super::deletions(Incarnation(1), Timestamp::new(7).unwrap());
        assert_eq!(deletions_timestamp(&stored).unwrap().as_nanoseconds(), 7);
    }

    #[test]
    fn values_come_back_as_they_were() {
        for value in [
            Stored::Gone,
            Stored::Document(b"document"),
            Stored::Reference { primary: IndexId([3; 16]), key: b"key" },
        ] {
            assert_eq!(Stored::decode(&value.encode()).unwrap(), value);
        }
        assert!(matches!(Stored::decode(&[9, 0]), Err(StoredError::UnknownVersion(9))));
    }

    #[test]
    fn behind_a_prefix_comes_the_next_one() {
        assert_eq!(behind(&[1, 0xff]), Some(vec![2]));
        assert_eq!(behind(&[0xff]), None);
    }
}
