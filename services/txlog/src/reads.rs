//! Reads of the store at a timestamp, with what is above it laid over.

use std::collections::BTreeMap;

use bytes::Bytes;
use contract::{DeploymentId, IndexId, Interval, Order, Read, ReadResult, Row, Timestamp, Version};

use crate::{
    apply::{ApplyError, Family},
    gaps::Watch,
    keys::{self, Incarnation, Stored, StoredError},
    overlay::{Overlay, OverlayVersion},
    planted,
    walk::{Bounds, Cursor, Walk},
};

/// How many versions of a key are passed one by one before its end is sought.
const VERSIONS_PASSED_MAX: usize = 4;

/// One deployment as of a timestamp.
pub struct Reader<'s, S> {
    store: &'s S,
    incarnation: Incarnation,
    deployment: DeploymentId,
    at: Timestamp,
}

/// What is above the store of one read.
#[derive(Debug, Default)]
pub struct Above {
    point: Option<OverlayVersion>,
    range: BTreeMap<Bytes, OverlayVersion>,
}

impl Above {
    pub fn of(overlay: &Overlay, deployment: DeploymentId, at: Timestamp, read: &Read) -> Above {
        match read {
            Read::Point { index, key } => {
                Above { point: overlay.point(deployment, *index, key, at), ..Above::default() }
            }
            Read::Range { index, interval, .. } => {
                Above { range: overlay.range(deployment, *index, interval, at), ..Above::default() }
            }
        }
    }
}

/// What a range read stops at.
#[derive(Clone, Copy, Debug)]
pub struct RangeLimits {
    pub rows_max: usize,
    pub bytes_max: usize,
}

impl<'s, S: Walk> Reader<'s, S> {
    pub fn new(store: &'s S, incarnation: Incarnation, deployment: DeploymentId, at: Timestamp) -> Self {
        Reader { store, incarnation, deployment, at }
    }

    /// Reads; a range stops at `limits` besides its own.
    pub fn read(&self, read: &Read, above: Above, limits: RangeLimits) -> Result<ReadResult, ApplyError> {
        match read {
            Read::Point { index, key } => Ok(ReadResult::Point(self.point(*index, key, above.point)?)),
            Read::Range { index, interval, order, rows_max, bytes_max } => {
                let limits = RangeLimits {
                    rows_max: limits.rows_max.min(*rows_max),
                    bytes_max: limits.bytes_max.min(*bytes_max),
                };
                let (rows, more) = self.range(*index, interval, *order, limits, above.range)?;
                Ok(ReadResult::Range { rows, more })
            }
        }
    }

    /// The document at a key; `above` is what the overlay has of it.
    pub fn point(
        &self,
        index: IndexId,
        key: &[u8],
        above: Option<OverlayVersion>,
    ) -> Result<Option<Version>, ApplyError> {
        let prefix = keys::index_prefix(self.incarnation, self.deployment, index);
        let mut iterator = self.store.cursor(Bounds::OneKey);
        iterator.seek(&keys::version(&prefix, key, self.at));
        let found = match iterator.item() {
            Some((stored, value)) => {
                let (key_prefix, timestamp) = keys::split_version(stored)?;
                (key_prefix == keys::key_prefix(&prefix, key)).then_some((timestamp, value))
            }
            None => {
                iterator.status()?;
                None
            }
        };
        match (above, found) {
            (Some(above), None) => Ok(version_above(above)),
            (Some(above), Some((timestamp, _)))
                if above.timestamp >= timestamp && !planted::is(planted::Bug::StoreHidesOverlay) =>
            {
                Ok(version_above(above))
            }
            (_, Some((timestamp, value))) => self.resolve(timestamp, value),
            (None, None) => Ok(None),
        }
    }

    /// The rows of an interval, in order, and whether there are more behind a limit.
    pub fn range(
        &self,
        index: IndexId,
        interval: &Interval,
        order: Order,
        limits: RangeLimits,
        mut above: BTreeMap<Bytes, OverlayVersion>,
    ) -> Result<(Vec<Row>, bool), ApplyError> {
        let mut rows: Vec<Row> = Vec::new();
        if interval.is_empty() {
            return Ok((rows, false));
        }
        let mut bytes = 0;
        let mut cursor = RangeCursor::new(self, index, interval, order);
        let mut below = cursor.next()?;
        loop {
            let next_above = match order {
                Order::Ascending => above.first_entry(),
                Order::Descending => above.last_entry(),
            };
            // Whichever comes first in the order; the newer one where both have the key.
            let version = match (&below, next_above) {
                (None, None) => return Ok((rows, false)),
                (Some(row), Some(over)) if comes_before(&row.key, over.key(), order) => below.take(),
                (Some(row), Some(over)) if row.key == *over.key() => {
                    let (key, over) = over.remove_entry();
                    let below = below.take().expect("it was just matched");
                    if over.timestamp >= below.timestamp {
                        Some(CursorRow::above(key, over))
                    } else {
                        Some(below)
                    }
                }
                (_, Some(over)) => {
                    let (key, over) = over.remove_entry();
                    Some(CursorRow::above(key, over))
                }
                (Some(_), None) => below.take(),
            };
            let Some(row) = version else { continue };
            let key = row.key.clone();
            // A limit is noticed at the first row behind it, so that `more` is never said in vain.
            if !rows.is_empty()
                && (rows.len() >= limits.rows_max || bytes >= limits.bytes_max)
                && row.is_there()
            {
                return Ok((rows, true));
            }
            let in_order = rows.last().is_none_or(|last| comes_before(&last.key, &key, order));
            assert!(in_order && interval.contains(&key), "rows are in order, and those that were asked for");
            if let Some(version) = row.resolve(self)? {
                bytes += version.document.len();
                rows.push(Row { key, version });
            }
            if below.is_none() {
                below = cursor.next()?;
            }
        }
    }

    /// The document behind a stored value of this timestamp.
    fn resolve(&self, timestamp: Timestamp, value: &[u8]) -> Result<Option<Version>, ApplyError> {
        let document = match Stored::decode(value)? {
            Stored::Gone => return Ok(None),
            Stored::Document(document) => Bytes::copy_from_slice(document),
            Stored::Reference { primary, key } => self.referenced(primary, key, timestamp)?,
        };
        Ok(Some(Version { timestamp, document }))
    }

    /// An index entry has the timestamp of the document that it refers to, so that the document can be got without a search.
    fn referenced(&self, primary: IndexId, key: &[u8], timestamp: Timestamp) -> Result<Bytes, ApplyError> {
        let prefix = keys::index_prefix(self.incarnation, self.deployment, primary);
        let missing = StoredError::Damaged("an index entry refers to nothing");
        let stored = self.store.get(Family::Data, &keys::version(&prefix, key, timestamp))?;
        let stored = stored.ok_or(missing)?;
        match Stored::decode(&stored)? {
            Stored::Document(document) => Ok(stored.slice_ref(document)),
            _ => Err(StoredError::Damaged("an index entry refers to no document").into()),
        }
    }
}

fn version_above(above: OverlayVersion) -> Option<Version> {
    Some(Version { timestamp: above.timestamp, document: above.document? })
}

fn comes_before(one: &[u8], two: &[u8], order: Order) -> bool {
    match order {
        Order::Ascending => one < two,
        Order::Descending => one > two,
    }
}

/// A key with its newest version as of the reader's timestamp; deletions only from the overlay.
struct CursorRow {
    key: Bytes,
    timestamp: Timestamp,
    value: CursorValue,
}

enum CursorValue {
    Stored(Vec<u8>),
    Above(OverlayVersion),
}

impl CursorRow {
    fn above(key: Bytes, version: OverlayVersion) -> CursorRow {
        CursorRow { key, timestamp: version.timestamp, value: CursorValue::Above(version) }
    }

    /// Whether there is a document.
    fn is_there(&self) -> bool {
        match &self.value {
            CursorValue::Stored(_) => true,
            CursorValue::Above(version) => version.document.is_some(),
        }
    }

    fn resolve<S: Walk>(self, reader: &Reader<'_, S>) -> Result<Option<Version>, ApplyError> {
        match self.value {
            CursorValue::Stored(value) => reader.resolve(self.timestamp, &value),
            CursorValue::Above(version) => Ok(version_above(version)),
        }
    }
}

/// Walks over the documents of an interval in the store.
struct RangeCursor<'s, S: Walk> {
    iterator: S::Cursor<'s>,
    store: &'s S,
    at: Timestamp,
    order: Order,
    /// The interval, as it lies in the store.
    lower: Vec<u8>,
    upper: Vec<u8>,
    /// The key that was passed last, as all its versions begin.
    passed: Vec<u8>,
    run: Run,
    /// Open while a run is long enough to be noted.
    watch: Option<Watch<'s>>,
}

/// Deleted keys in a row, of which nothing newer than the reader's moment is known.
#[derive(Debug, Default)]
struct Run {
    /// Where it begins; backwards the first place behind it.
    edge: Vec<u8>,
    keys: usize,
    /// When the last of them was deleted.
    since: Timestamp,
}

impl Run {
    fn from(edge: Vec<u8>) -> Run {
        Run { edge, ..Run::default() }
    }
}

fn behind(key: &[u8]) -> Vec<u8> {
    keys::behind(key).expect("a key's prefix ends with a byte that has a successor")
}

impl<'s, S: Walk> RangeCursor<'s, S> {
    fn new(reader: &Reader<'s, S>, index: IndexId, interval: &Interval, order: Order) -> RangeCursor<'s, S> {
        let prefix = keys::index_prefix(reader.incarnation, reader.deployment, index);
        let lower = keys::bound(&prefix, &interval.start);
        let upper = match &interval.end {
            Some(end) => keys::bound(&prefix, end),
            None => keys::behind(&prefix).expect("no incarnation has the last number"),
        };
        let store = reader.store;
        let iterator = store.cursor(Bounds::Range { lower: lower.clone(), upper: upper.clone() });
        let mut cursor = RangeCursor {
            iterator,
            store,
            at: reader.at,
            order,
            run: Run::default(),
            lower,
            upper,
            passed: Vec::new(),
            watch: None,
        };
        let begin = match order {
            Order::Ascending => {
                cursor.store.gaps().end(&cursor.lower, cursor.at).unwrap_or(cursor.lower.clone())
            }
            Order::Descending => {
                cursor.store.gaps().start(&cursor.upper, cursor.at).unwrap_or(cursor.upper.clone())
            }
        };
        cursor.go_to(begin);
        cursor
    }

    /// The next key at which a document was at the timestamp.
    fn next(&mut self) -> Result<Option<CursorRow>, ApplyError> {
        match self.order {
            Order::Ascending => self.next_ascending(),
            Order::Descending => self.next_descending(),
        }
    }

    /// Goes on at a place, where a run may begin.
    fn go_to(&mut self, place: Vec<u8>) {
        match self.order {
            Order::Ascending => self.iterator.seek(&place),
            Order::Descending => self.iterator.seek_for_prev(&place),
        }
        self.run = Run::from(place);
        self.passed.clear();
    }

    /// The run ends before what lies from `place` on (backwards: behind what lies before it), and another begins at `next`.
    fn end_run(&mut self, place: &[u8], next: Vec<u8>) {
        let run = std::mem::replace(&mut self.run, Run::from(next));
        let Some(watch) = self.watch.take() else { return };
        match self.order {
            Order::Ascending => watch.found(&run.edge, place, run.since, self.at),
            Order::Descending => watch.found(place, &run.edge, run.since, self.at),
        }
    }

    /// A deleted key belongs to the run. Where a gap is known the cursor goes on behind it; a run that is long enough is
    /// begun again, watched, in a new snapshot. Whether the cursor was moved.
    fn run_over(&mut self, key: &[u8], deleted: Timestamp) -> Result<bool, ApplyError> {
        self.run.keys += 1;
        self.run.since = self.run.since.max(deleted);
        let is_long = self.run.keys == self.store.gaps().keys_min() && self.watch.is_none();
        if self.run.keys > 1 && !is_long {
            return Ok(false);
        }
        let gap = match self.order {
            Order::Ascending => self.store.gaps().end(key, self.at),
            Order::Descending => self.store.gaps().start(&behind(key), self.at),
        };
        if let Some(place) = gap {
            self.go_to(place);
            return Ok(true);
        }
        if is_long {
            let edge = std::mem::take(&mut self.run.edge);
            self.watch = Some(match self.order {
                Order::Ascending => self.store.gaps().watch(&edge, &self.upper),
                Order::Descending => self.store.gaps().watch(&self.lower, &edge),
            });
            self.iterator.refresh()?;
            self.go_to(edge);
        }
        Ok(is_long)
    }

    fn next_ascending(&mut self) -> Result<Option<CursorRow>, ApplyError> {
        let mut passed = 0;
        loop {
            let Some((stored, value)) = self.iterator.item() else {
                self.iterator.status()?;
                let end = self.upper.clone();
                self.end_run(&end, end.clone());
                return Ok(None);
            };
            let (key, timestamp) = keys::split_version(stored)?;
            let old = key == self.passed;
            if !old && timestamp <= self.at {
                self.passed.clear();
                self.passed.extend_from_slice(key);
                if Stored::decode(value)? == Stored::Gone {
                    // Not if a newer version has ended the run before it.
                    let belongs = key >= &self.run.edge[..];
                    let key = self.passed.clone();
                    if !(belongs && self.run_over(&key, timestamp)?) {
                        self.iterator.next();
                    }
                    passed = 0;
                    continue;
                }
                let row = CursorRow {
                    key: keys::unescape(key)?,
                    timestamp,
                    value: CursorValue::Stored(value.to_vec()),
                };
                let key = self.passed.clone();
                self.end_run(&key, behind(&key));
                self.iterator.next();
                return Ok(Some(row));
            }
            if !old && key >= &self.run.edge[..] {
                // What it is now is not what the reader sees.
                let key = key.to_vec();
                self.end_run(&key, behind(&key));
            }
            passed += 1;
            if passed <= VERSIONS_PASSED_MAX {
                self.iterator.next();
                continue;
            }
            // Many versions: go to the one wanted, or behind the last.
            let Some(stored) = self.iterator.key() else { continue };
            let mut target = keys::without_timestamp(stored).to_vec();
            keys::push_timestamp(&mut target, if old { Timestamp::ZERO } else { self.at });
            if old {
                target.push(0);
            }
            self.iterator.seek(&target);
            passed = 0;
        }
    }

    fn next_descending(&mut self) -> Result<Option<CursorRow>, ApplyError> {
        loop {
            // The oldest version of a key comes first.
            let Some((stored, value)) = self.iterator.item() else {
                self.iterator.status()?;
                let end = self.lower.clone();
                self.end_run(&end, end.clone());
                return Ok(None);
            };
            let (key, oldest) = keys::split_version(stored)?;
            let key = key.to_vec();
            if oldest > self.at {
                self.end_run(&behind(&key), key.clone());
                self.leave_backwards(&key);
                continue;
            }
            let mut newest = (oldest, value.to_vec());
            let mut has_newer = false;
            let mut passed = 0;
            loop {
                self.iterator.prev();
                let Some((stored, value)) = self.iterator.item() else { break };
                let (other, timestamp) = keys::split_version(stored)?;
                if other != key || timestamp > self.at {
                    has_newer = other == key;
                    break;
                }
                newest = (timestamp, value.to_vec());
                passed += 1;
                if passed > VERSIONS_PASSED_MAX {
                    let mut target = key.clone();
                    keys::push_timestamp(&mut target, self.at);
                    self.iterator.seek(&target);
                    if let Some((stored, value)) = self.iterator.item() {
                        let (_, timestamp) = keys::split_version(stored)?;
                        newest = (timestamp, value.to_vec());
                    }
                    self.iterator.prev();
                    has_newer =
                        self.iterator.key().is_some_and(|stored| keys::without_timestamp(stored) == key);
                    break;
                }
            }
            self.iterator.status()?;
            let (timestamp, value) = newest;
            if Stored::decode(&value)? == Stored::Gone {
                if has_newer {
                    self.end_run(&behind(&key), key.clone());
                } else if self.run_over(&key, timestamp)? {
                    continue;
                }
                self.leave_backwards(&key);
                continue;
            }
            self.end_run(&behind(&key), key.clone());
            self.leave_backwards(&key);
            return Ok(Some(CursorRow {
                key: keys::unescape(&key)?,
                timestamp,
                value: CursorValue::Stored(value),
            }));
        }
    }

    /// Goes before all versions of a key.
    fn leave_backwards(&mut self, key: &[u8]) {
        let before = |stored: &[u8]| keys::without_timestamp(stored) < key;
        for _ in 0..VERSIONS_PASSED_MAX {
            match self.iterator.key() {
                Some(stored) if !before(stored) => self.iterator.prev(),
                _ => return,
            }
        }
        if self.iterator.key().is_some_and(|stored| !before(stored)) {
            self.iterator.seek_for_prev(key);
        }
    }
}
