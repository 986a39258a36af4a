//! The store as a whole against a plain map: what apply writes, sweeps and compactions remove, and readers see.
//!
//! A seed chooses documents that come, change, move in an index and go, how far the horizon follows, when the store is
//! flushed, swept, compacted or opened again, and what is read at which moment.
//!
//! To repeat a seed: `STORE_SEED=<seed> cargo test -p txlog --lib store_tests`.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use crate::limits::StoreLimits;
use bytes::Bytes;
use contract::{CommitId, DeploymentId, Epoch, IndexId, IndexUpdate, Interval, Order, Timestamp, Write};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::{
    apply::{Applied, Applier, EntryId, Family, Payload, Store, Writable},
    entry::{Batch, CommitWrites, LogEntry, StampedCommit, encode_writes},
    keys::Incarnation,
    planted::{Bug, plant},
    reads::{RangeLimits, Reader},
    state_store::{Floors, StateStore},
    sweep::sweep,
};

const SEEDS: u64 = 12;
const STEPS: u32 = 400;
const INCARNATION: Incarnation = Incarnation(1);
const DEPLOYMENT: DeploymentId = DeploymentId(1);
const BY_ID: IndexId = IndexId([1; 16]);
const BY_NAME: IndexId = IndexId([2; 16]);

/// Commits are some of these apart.
const UNIT: u64 = 1_000_000;
/// Few deleted keys are worth a note, and notes are joined soon.
const LIMITS: StoreLimits =
    StoreLimits { gap_keys_min: 2, gap_young_ms: 4, gap_same_ms: 8, gap_old_ms: 24, ..StoreLimits::DEFAULT };

/// A document's key in the other index, and its text.
type Document = (Bytes, Bytes);

struct World {
    random: ChaCha8Rng,
    store: Arc<StateStore>,
    _folder: tempfile::TempDir,
    applier: Applier,
    index: u64,
    swept: Timestamp,
    /// The documents after each commit.
    history: BTreeMap<Timestamp, BTreeMap<Bytes, Document>>,
}

fn timestamp(nanoseconds: u64) -> Timestamp {
    Timestamp::new(nanoseconds).unwrap()
}

/// Keys of different lengths, many with the same beginning, with the bytes that are escaped.
fn key(random: &mut ChaCha8Rng) -> Bytes {
    let length = [0, 1, 2, 3, 20][random.random_range(0..5)];
    (0..length).map(|_| [0u8, 1, 0xff, b'k'][random.random_range(0..4)]).collect::<Vec<_>>().into()
}

/// The beginning of a key in the index of names: as an index key does, it begins with the kind of its value.
fn name(random: &mut ChaCha8Rng) -> Bytes {
    [b"\x10", &key(random)[..]].concat().into()
}

impl World {
    fn new(seed: u64) -> World {
        let folder = tempfile::tempdir().unwrap();
        let store = Arc::new(StateStore::open(folder.path(), &LIMITS).unwrap());
        let applier = Applier::open(INCARNATION, &*store).unwrap();
        World {
            random: ChaCha8Rng::seed_from_u64(seed),
            store,
            _folder: folder,
            applier,
            index: 0,
            swept: Timestamp::ZERO,
            history: BTreeMap::from([(Timestamp::ZERO, BTreeMap::new())]),
        }
    }

    fn run(mut self) {
        for _ in 0..STEPS {
            match self.random.random_range(0..100) {
                0..50 => self.commit(),
                50..85 => self.read(),
                85..97 => self.sweep(),
                97 => self.flush(),
                98 => self.store.compact(|| true).unwrap(),
                // Now and then a stretch in which everything goes, as in a queue.
                _ => self.go(),
            }
        }
        self.clear();
    }

    fn last(&self) -> Timestamp {
        *self.history.last_key_value().unwrap().0
    }

    fn documents(&self, at: Timestamp) -> &BTreeMap<Bytes, Document> {
        self.history.range(..=at).next_back().unwrap().1
    }

    fn commit(&mut self) {
        let mut documents = self.documents(self.last()).clone();
        let mut writes: BTreeMap<Bytes, Write> = BTreeMap::new();
        for _ in 0..self.random.random_range(1..4) {
            let id = key(&mut self.random);
            if writes.contains_key(&id) {
                continue;
            }
            let old = documents.get(&id).map(|(name, _)| name.clone());
            // Mostly what is there goes, moves or changes.
            let new = match (&old, self.random.random_range(0..4)) {
                (Some(_), 0 | 1) => None,
                (Some(old), 2) => Some(old.clone()),
                // As an index key does, it ends with the id, so that no two documents share one.
                _ => Some([&name(&mut self.random)[..], b"\x00\x05", &id].concat().into()),
            };
            let text = Bytes::from(self.random.random::<u32>().to_be_bytes().to_vec());
            match &new {
                Some(name) => documents.insert(id.clone(), (name.clone(), text.clone())),
                None => documents.remove(&id),
            };
            let write = Write {
                primary: BY_ID,
                key: id.clone(),
                document: new.is_some().then_some(text),
                index_updates: vec![IndexUpdate { index: BY_NAME, old, new }],
            };
            writes.insert(id, write);
        }
        let at = timestamp(self.last().as_nanoseconds() + self.random.random_range(1..5) * UNIT);
        let horizon = timestamp(at.as_nanoseconds().saturating_sub(self.random.random_range(0..60) * UNIT));
        self.apply(at, writes.into_values().collect(), horizon.min(self.last()));
        self.history.insert(at, documents);
    }

    fn apply(&mut self, at: Timestamp, writes: Vec<Write>, horizon: Timestamp) {
        let batch = Batch {
            epoch: Epoch { term: 1, reset: 0 },
            previous: self.last(),
            commits: vec![StampedCommit {
                timestamp: at,
                deployment: DEPLOYMENT,
                id: CommitId(self.random.random()),
                run: 1,
                writes: CommitWrites::Inlined(encode_writes(&writes)),
            }],
            horizon,
            records_floor: Timestamp::ZERO,
        };
        self.index += 1;
        let id = EntryId { term: 1, index: self.index };
        let payload = Payload::Entry(LogEntry::Batch(batch));
        let mut changes = self.store.changes();
        let applied = self.applier.apply(&*self.store, &mut changes, id, payload).unwrap();
        assert!(matches!(applied, Applied::Commits(..)));
        self.applier.save(&mut changes);
        self.store.write(changes).unwrap();
    }

    fn sweep(&mut self) {
        let horizon = self.applier.state().horizon;
        let Some(from) = self.swept.next().filter(|from| *from <= horizon) else { return };
        let mut changes = self.store.changes();
        let keys_max = self.random.random_range(1..20);
        let swept = sweep(&*self.store, &mut changes, INCARNATION, (from, horizon), keys_max).unwrap();
        self.store.write(changes).unwrap();
        self.swept = swept.next.map_or(horizon, |next| timestamp(next.as_nanoseconds() - 1));
    }

    fn flush(&mut self) {
        let floors = Floors { horizon: self.applier.state().horizon, records: Timestamp::ZERO };
        self.store.flush(&[(INCARNATION, floors)]).unwrap();
    }

    /// Deletes what is there, one after the other.
    fn go(&mut self) {
        let documents: Vec<_> = self.documents(self.last()).clone().into_iter().collect();
        let kept = self.random.random_range(0..4);
        for (id, (name, _)) in documents.into_iter().skip(kept) {
            let mut left = self.documents(self.last()).clone();
            left.remove(&id);
            let write = Write {
                primary: BY_ID,
                key: id,
                document: None,
                index_updates: vec![IndexUpdate { index: BY_NAME, old: Some(name), new: None }],
            };
            let at = timestamp(self.last().as_nanoseconds() + self.random.random_range(1..3) * UNIT);
            self.apply(at, vec![write], self.applier.state().horizon);
            self.history.insert(at, left);
            self.read();
        }
        for _ in 0..8 {
            self.read();
        }
    }

    fn read(&mut self) {
        let horizon = self.applier.state().horizon.as_nanoseconds();
        let at = match self.random.random() {
            true => self.last(),
            false => timestamp(self.random.random_range(horizon..=self.last().as_nanoseconds())),
        };
        let documents = self.documents(at).clone();
        let reader = Reader::new(&*self.store, INCARNATION, DEPLOYMENT, at);
        let id = key(&mut self.random);
        let found = reader.point(BY_ID, &id, None).unwrap().map(|version| version.document);
        assert_eq!(found, documents.get(&id).map(|(_, text)| text.clone()), "{id:?} at {at}");

        let by_name = self.random.random();
        let mut expected: Vec<(Bytes, Bytes)> = match by_name {
            true => documents.into_values().collect(),
            false => documents.into_iter().map(|(id, (_, text))| (id, text)).collect(),
        };
        expected.sort();
        let interval = match self.random.random_range(0..3) {
            0 => Interval::all(),
            _ if by_name => Interval { start: name(&mut self.random), end: Some(name(&mut self.random)) },
            _ => Interval { start: key(&mut self.random), end: Some(key(&mut self.random)) },
        };
        expected.retain(|(key, _)| interval.contains(key));
        let order = if self.random.random() { Order::Ascending } else { Order::Descending };
        if order == Order::Descending {
            expected.reverse();
        }
        let limits = RangeLimits { rows_max: self.random.random_range(1..6), bytes_max: usize::MAX };
        let index = if by_name { BY_NAME } else { BY_ID };
        let (rows, more) = reader.range(index, &interval, order, limits, BTreeMap::new()).unwrap();
        assert_eq!(more, expected.len() > limits.rows_max, "{interval:?} at {at}");
        expected.truncate(limits.rows_max);
        let rows: Vec<_> = rows.into_iter().map(|row| (row.key, row.version.document)).collect();
        assert_eq!(rows, expected, "{interval:?} {order:?} at {at}");
    }

    /// Once all is deleted and the horizon has followed, nothing is left.
    fn clear(&mut self) {
        let documents = self.documents(self.last()).clone();
        let writes: Vec<Write> = documents
            .into_iter()
            .map(|(key, (name, _))| Write {
                primary: BY_ID,
                key,
                document: None,
                index_updates: vec![IndexUpdate { index: BY_NAME, old: Some(name), new: None }],
            })
            .collect();
        for writes in [writes, Vec::new()] {
            let at = self.last().next().unwrap();
            self.apply(at, writes, self.last());
            self.history.insert(at, BTreeMap::new());
        }
        while self.swept < self.applier.state().horizon {
            self.sweep();
        }
        for family in [Family::Data, Family::Deletions] {
            let mut left = Vec::new();
            self.store
                .scan(family, &[], None, &mut |key, _| {
                    left.push(key.to_vec());
                    Ok(std::ops::ControlFlow::Continue(()))
                })
                .unwrap();
            assert_eq!(left, Vec::<Vec<u8>>::new(), "{family:?}");
        }
    }
}

fn run(seed: u64) -> Result<(), String> {
    std::panic::catch_unwind(|| World::new(seed).run())
        .map_err(|panic| panic.downcast_ref::<String>().cloned().unwrap_or_else(|| "it panicked".to_owned()))
}

#[test]
fn whoever_reads_at_or_above_the_horizon_sees_what_a_plain_map_has_and_what_was_deleted_goes() {
    let seeds = match std::env::var("STORE_SEED") {
        Ok(seed) => vec![seed.parse().expect("STORE_SEED is a number")],
        Err(_) => (0..SEEDS).collect::<Vec<_>>(),
    };
    for seed in seeds {
        run(seed).unwrap_or_else(|wrong| {
            panic!("STORE_SEED={seed} cargo test --workspace --lib -- store_tests::whoever_reads: {wrong}")
        });
    }
}

fn seeds_to_find(bug: Bug) {
    let found = plant(bug, || (0..SEEDS).find_map(|seed| Some((seed, run(seed).err()?))));
    let (seed, wrong) = found.unwrap_or_else(|| panic!("{bug:?} was not found in {SEEDS} seeds"));
    eprintln!("{bug:?} is found by seed {seed}: {wrong}");
}

#[test]
fn gaps_that_ignore_writes_are_found() {
    seeds_to_find(Bug::GapsIgnoreWrites);
}

#[test]
fn gaps_that_overlap_are_found() {
    seeds_to_find(Bug::GapsOverlap);
}

#[test]
fn a_sweep_that_passes_the_horizon_is_found() {
    seeds_to_find(Bug::SweepPassesHorizon);
}

#[test]
fn a_sweep_that_leaves_old_versions_is_found() {
    seeds_to_find(Bug::SweepLeavesOldVersions);
}

/// How many entries of the store readers step over, from here on.
fn steps(read: impl FnOnce()) -> u64 {
    rocksdb::perf::set_perf_stats(rocksdb::perf::PerfStatsLevel::EnableCount);
    let mut perf = rocksdb::perf::PerfContext::default();
    perf.reset();
    read();
    let metrics = [rocksdb::PerfMetric::NextOnMemtableCount, rocksdb::PerfMetric::InternalKeySkippedCount];
    let steps = metrics.into_iter().map(|metric| perf.metric(metric)).sum();
    rocksdb::perf::set_perf_stats(rocksdb::perf::PerfStatsLevel::Disable);
    steps
}

#[test]
fn the_first_and_the_last_row_of_a_queue_cost_the_same_after_many_deletions() {
    for order in [Order::Ascending, Order::Descending] {
        let mut world = World::new(1);
        let key = |number: u64| match order {
            Order::Ascending => Bytes::from(number.to_be_bytes().to_vec()),
            Order::Descending => Bytes::from((u64::MAX - number).to_be_bytes().to_vec()),
        };
        let write = |number: u64, document: Option<&'static [u8]>| Write {
            primary: BY_ID,
            key: key(number),
            document: document.map(Bytes::from_static),
            index_updates: Vec::new(),
        };
        let limits = RangeLimits { rows_max: 1, bytes_max: usize::MAX };
        let mut fresh = 0;
        world.apply(
            timestamp(1),
            (0..10).map(|number| write(number, Some(b"job"))).collect(),
            Timestamp::ZERO,
        );
        world.history.insert(timestamp(1), BTreeMap::new());
        for number in 0..5_000 {
            let at = timestamp(number + 2);
            let writes = vec![write(number, None), write(number + 10, Some(b"job"))];
            world.apply(at, writes, Timestamp::ZERO);
            world.history.insert(at, BTreeMap::new());
            let reader = Reader::new(&*world.store, INCARNATION, DEPLOYMENT, at);
            let steps = steps(|| {
                let (rows, _) =
                    reader.range(BY_ID, &Interval::all(), order, limits, BTreeMap::new()).unwrap();
                assert_eq!(rows[0].key, key(number + 1));
            });
            if number == 0 {
                fresh = steps;
            }
            // A run that is not yet worth a note, and now and then the note of it, which takes a second look.
            assert!(steps <= fresh + 200, "{steps} steps after {number} deletions, at first {fresh}");
        }
    }
}

/// A queue whose gaps are joined, some when they are of about the same time, some when they are old; then documents come
/// to places that were passed. Whether both directions show each of them.
fn come_back_into_joined_gaps() -> Result<(), String> {
    const ROWS: u64 = 60;
    let mut world = World::new(1);
    let key = |number: u64| Bytes::from(number.to_be_bytes().to_vec());
    let write = |number: u64, document: Option<&'static [u8]>| Write {
        primary: BY_ID,
        key: key(number),
        document: document.map(Bytes::from_static),
        index_updates: Vec::new(),
    };
    let keys = |world: &World, order: Order| -> Vec<Bytes> {
        let reader = Reader::new(&*world.store, INCARNATION, DEPLOYMENT, world.last());
        let limits = RangeLimits { rows_max: usize::MAX, bytes_max: usize::MAX };
        let (rows, _) = reader.range(BY_ID, &Interval::all(), order, limits, BTreeMap::new()).unwrap();
        rows.into_iter().map(|row| row.key).collect()
    };
    let apply = |world: &mut World, units: u64, writes: Vec<Write>| {
        let at = timestamp(world.last().as_nanoseconds() + units * UNIT);
        world.apply(at, writes, Timestamp::ZERO);
        world.history.insert(at, BTreeMap::new());
    };
    apply(&mut world, 1, (0..=ROWS).map(|number| write(number, Some(b"job"))).collect());
    for number in 0..ROWS {
        apply(&mut world, 1, vec![write(number, None)]);
        let left: Vec<Bytes> = (number + 1..=ROWS).map(key).collect();
        assert_eq!(keys(&world, Order::Ascending), left);
    }
    let mut expected = BTreeSet::from([key(ROWS)]);
    for number in (0..ROWS).step_by(7) {
        apply(&mut world, 1, vec![write(number, Some(b"back"))]);
        expected.insert(key(number));
        for order in [Order::Ascending, Order::Descending] {
            let mut found = keys(&world, order);
            found.sort();
            if !found.iter().eq(&expected) {
                return Err(format!("{order:?} does not show {number}: {found:?}"));
            }
        }
    }
    Ok(())
}

#[test]
fn what_comes_into_joined_gaps_is_seen_in_both_directions() {
    come_back_into_joined_gaps().unwrap();
    assert!(plant(Bug::GapsOverlap, come_back_into_joined_gaps).is_err(), "it could not be seen otherwise");
}
