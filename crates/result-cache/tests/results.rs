//! Results against a model that keeps every commit and looks through all of them at each question.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use contract::{CommitNotice, IndexId, Interval, ReadSet, Timestamp, TouchedKey};
use proptest::prelude::*;
use result_cache::{CachedResult, EntryId, Results};

type Key = u8;
type Listener = u8;

#[derive(Clone, Debug)]
enum Step {
    Commit {
        keys: Vec<(u8, Bytes)>,
    },
    Advance,
    /// A run that began `behind` moments ago has finished.
    Insert {
        keys: BTreeSet<Key>,
        behind: u64,
        read_set: ReadSet,
        listeners: BTreeSet<Listener>,
        lifetime: Option<u64>,
    },
    Find {
        key: Key,
    },
    Attach {
        key: Key,
        listener: Listener,
    },
    Detach {
        entry: prop::sample::Index,
        listener: Listener,
    },
    Gap {
        behind: u64,
    },
    Wait,
}

fn index(number: u8) -> IndexId {
    IndexId([number; 16])
}

fn key_bytes() -> impl Strategy<Value = Bytes> {
    prop::collection::vec(0u8..3, 0..3).prop_map(Bytes::from)
}

fn read_set() -> impl Strategy<Value = ReadSet> {
    prop::collection::vec((0u8..2, key_bytes(), prop::option::weighted(0.8, key_bytes())), 0..4).prop_map(
        |intervals| {
            let mut set = ReadSet::new();
            for (number, start, end) in intervals {
                set.add(index(number), Interval { start, end });
            }
            set
        },
    )
}

fn step() -> impl Strategy<Value = Step> {
    let listeners = || prop::collection::btree_set(0u8..6, 0..3);
    prop_oneof![
        4 => prop::collection::vec((0u8..2, key_bytes()), 0..3).prop_map(|keys| Step::Commit { keys }),
        1 => Just(Step::Advance),
        6 => (prop::collection::btree_set(0u8..5, 0..3), 0u64..6, read_set(), listeners(), prop::option::of(1u64..4))
            .prop_map(|(keys, behind, read_set, listeners, lifetime)| {
                Step::Insert { keys, behind, read_set, listeners, lifetime }
            }),
        4 => (0u8..5).prop_map(|key| Step::Find { key }),
        3 => (0u8..5, 0u8..6).prop_map(|(key, listener)| Step::Attach { key, listener }),
        3 => (any::<prop::sample::Index>(), 0u8..6).prop_map(|(entry, listener)| Step::Detach { entry, listener }),
        1 => (0u64..3).prop_map(|behind| Step::Gap { behind }),
        1 => Just(Step::Wait),
    ]
}

struct Kept {
    keys: BTreeSet<Key>,
    read_set: ReadSet,
    listeners: BTreeSet<Listener>,
    findable_until: Option<Instant>,
}

struct Model {
    commits: Vec<Arc<CommitNotice>>,
    published: u64,
    floor: u64,
    kept: BTreeMap<EntryId, Kept>,
    now: Instant,
}

fn at(nanoseconds: u64) -> Timestamp {
    Timestamp::new(nanoseconds).unwrap()
}

impl Model {
    fn touches(commit: &CommitNotice, read_set: &ReadSet) -> bool {
        commit.keys.iter().any(|touched| {
            read_set.iter().any(|(index, interval)| index == touched.index && interval.contains(&touched.key))
        })
    }

    fn holds_since(&self, from: u64, read_set: &ReadSet) -> bool {
        from >= self.floor
            && !self
                .commits
                .iter()
                .any(|commit| commit.timestamp > at(from) && Self::touches(commit, read_set))
    }

    fn found(&mut self, key: Key) -> Option<EntryId> {
        let now = self.now;
        let (id, kept) = self.kept.iter_mut().find(|(_, kept)| kept.keys.contains(&key))?;
        let id = *id;
        if kept.findable_until.is_some_and(|end| end <= now) {
            kept.keys.remove(&key);
            self.drop_unreachable();
            return None;
        }
        Some(id)
    }

    fn drop_unreachable(&mut self) {
        self.kept.retain(|_, kept| !kept.keys.is_empty() || !kept.listeners.is_empty());
    }
}

/// With room for everything the results must be exactly the model's; without, each must still be true, and none with a
/// listener may go unannounced.
fn check(steps: Vec<Step>, roomy: bool) -> Result<(), TestCaseError> {
    let (idle, recent) = if roomy { (usize::MAX, usize::MAX) } else { (2_500, 300) };
    let mut results: Results<Key, u32, Listener> = Results::new(at(10), idle, recent);
    let mut model =
        Model { commits: Vec::new(), published: 10, floor: 10, kept: BTreeMap::new(), now: Instant::now() };
    let mut all_ids = Vec::new();
    for (number, step) in steps.into_iter().enumerate() {
        match step {
            Step::Commit { keys } => {
                model.published += 1;
                let keys =
                    keys.into_iter().map(|(number, key)| TouchedKey { index: index(number), key }).collect();
                let commit = Arc::new(CommitNotice { timestamp: at(model.published), keys });
                let told = results.apply(&commit);
                let mut expected = BTreeSet::new();
                model.kept.retain(|_, kept| {
                    let touched = Model::touches(&commit, &kept.read_set);
                    if touched {
                        expected.extend(kept.listeners.iter().copied());
                    }
                    !touched
                });
                model.commits.push(commit);
                prop_assert_eq!(told, expected);
            }
            Step::Advance => {
                model.published += 1;
                results.advance(at(model.published));
            }
            Step::Insert { keys, behind, read_set, listeners, lifetime } => {
                let from = model.published.saturating_sub(behind);
                let findable_until = lifetime.map(|seconds| model.now + Duration::from_secs(seconds));
                let result = CachedResult {
                    value: number as u32,
                    read_set: Arc::new(read_set.clone()),
                    from: at(from),
                    value_bytes: 10,
                    findable_until,
                };
                let id = results.insert(keys.iter().copied().collect(), result, listeners.clone());
                let holds = model.holds_since(from, &read_set) && !(keys.is_empty() && listeners.is_empty());
                prop_assert!(holds || id.is_none());
                if roomy {
                    prop_assert_eq!(id.is_some(), holds);
                }
                if let Some(id) = id {
                    for kept in model.kept.values_mut() {
                        kept.keys.retain(|key| !keys.contains(key));
                    }
                    model.kept.insert(id, Kept { keys, read_set, listeners, findable_until });
                    model.drop_unreachable();
                    all_ids.push(id);
                }
            }
            Step::Find { key } => {
                let found = results.find(&key, model.now);
                let expected = model.found(key);
                if roomy || found.is_some() {
                    prop_assert_eq!(found, expected);
                }
                if let Some(id) = found {
                    let result = results.get(id).expect("found");
                    prop_assert!(model.holds_since(result.from.as_nanoseconds(), &result.read_set));
                }
            }
            Step::Attach { key, listener } => {
                let found = results.find(&key, model.now);
                let expected = model.found(key);
                if let Some(id) = found {
                    prop_assert_eq!(Some(id), expected);
                    results.attach(id, listener);
                    model.kept.get_mut(&id).expect("kept").listeners.insert(listener);
                }
            }
            Step::Detach { entry, listener } => {
                if all_ids.is_empty() {
                    continue;
                }
                let id = *entry.get(&all_ids);
                results.detach(id, listener);
                if let Some(kept) = model.kept.get_mut(&id) {
                    kept.listeners.remove(&listener);
                }
                model.drop_unreachable();
            }
            Step::Gap { behind } => {
                let from = model.published - behind;
                let told = results.restart(at(from));
                let expected: BTreeSet<Listener> =
                    model.kept.values().flat_map(|kept| kept.listeners.iter().copied()).collect();
                prop_assert_eq!(told, expected);
                model.kept.clear();
                model.published = from;
                model.floor = from;
                // What followed is another history now.
                model.commits.retain(|commit| commit.timestamp <= at(from));
            }
            Step::Wait => model.now += Duration::from_secs(1),
        }
        prop_assert_eq!(results.published(), at(model.published));
        if roomy {
            prop_assert_eq!(results.len(), model.kept.len());
        }
        for (id, kept) in &model.kept {
            prop_assert!(
                kept.listeners.is_empty() || results.get(*id).is_some(),
                "lost a result that is listened to"
            );
        }
        if model.kept.values().all(|kept| kept.listeners.is_empty()) {
            prop_assert!(results.bytes() <= idle, "{} bytes without a listener", results.bytes());
        }
        if results.is_empty() {
            prop_assert_eq!(results.bytes(), 0);
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn results_with_room_are_exactly_those_that_hold(steps in prop::collection::vec(step(), 0..60)) {
        check(steps, true)?;
    }

    #[test]
    fn results_without_room_still_hold_and_keep_their_listeners(steps in prop::collection::vec(step(), 0..60)) {
        check(steps, false)?;
    }
}

#[test]
fn a_commit_out_of_order_empties_everything() {
    let mut results: Results<Key, u32, Listener> = Results::new(at(10), usize::MAX, usize::MAX);
    let result = CachedResult {
        value: 1,
        read_set: Arc::new(ReadSet::new()),
        from: at(10),
        value_bytes: 0,
        findable_until: None,
    };
    results.insert(vec![1], result, BTreeSet::from([7])).unwrap();
    let old = Arc::new(CommitNotice { timestamp: at(10), keys: Vec::new() });
    assert_eq!(results.apply(&old), BTreeSet::from([7]));
    assert!(results.is_empty());
}
