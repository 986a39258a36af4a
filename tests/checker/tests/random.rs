//! Random histories: those of a correct store are accepted, and one planted fault is enough to be rejected.
//! A failure prints the seed; `SEED=n cargo test --workspace --test random` repeats it.

use std::collections::HashMap;

use checker::{Key, Operation, Outcome, Transaction, Value, Violation, judge};
use rand::{RngExt, SeedableRng, seq::IndexedRandom};
use rand_chacha::ChaCha8Rng;

const KEYS: Key = 6;
const TRANSACTIONS: u64 = 120;
/// The distance in time between two transactions' moments of effect.
const STEP: u64 = 100;
/// How long before its moment a transaction is sent, and after it answered, at most.
const OVERLAP: u64 = 8 * STEP;

type Store = HashMap<Key, Vec<Value>>;

fn seeds() -> Vec<u64> {
    match std::env::var("SEED") {
        Ok(seed) => vec![seed.parse().expect("SEED is a number")],
        Err(_) => (0..300).collect(),
    }
}

/// A history of a store that runs one transaction after the other; each is sent some time before its moment and
/// answered some time after it, or not at all, or fails. The last one reads everything.
fn correct_history(random: &mut ChaCha8Rng) -> Vec<Transaction> {
    let mut store = Store::new();
    let mut transactions: Vec<Transaction> = (0..TRANSACTIONS)
        .map(|id| {
            let outcome = match random.random_range(0..10) {
                0 => Outcome::Failed,
                1 => Outcome::Unknown,
                _ => Outcome::Committed,
            };
            let happens =
                outcome == Outcome::Committed || (outcome == Outcome::Unknown && random.random_bool(0.5));
            let mut scratch = store.clone();
            let mut operations = run(random, &mut scratch, id);
            if happens {
                store = scratch;
            }
            if outcome != Outcome::Committed {
                operations.retain(|operation| matches!(operation, Operation::Append { .. }));
            }
            let moment = id * STEP;
            let start = moment.saturating_sub(random.random_range(0..OVERLAP));
            let end = (outcome != Outcome::Unknown).then(|| moment + random.random_range(0..OVERLAP));
            Transaction { id, start, end, outcome, operations }
        })
        .collect();
    let start = TRANSACTIONS * STEP + OVERLAP;
    let operations = (0..KEYS).map(|key| read(&store, key)).collect();
    let outcome = Outcome::Committed;
    transactions.push(Transaction { id: TRANSACTIONS, start, end: Some(start + 1), outcome, operations });
    transactions
}

fn run(random: &mut ChaCha8Rng, store: &mut Store, id: u64) -> Vec<Operation> {
    let mut operations = Vec::new();
    for number in 0..random.random_range(1..5) {
        let key = random.random_range(0..KEYS);
        operations.push(read(store, key));
        if random.random_bool(0.5) {
            let value = format!("{id}.{number}");
            store.entry(key).or_default().push(value.clone());
            operations.push(Operation::Append { key, value });
        }
    }
    operations
}

fn read(store: &Store, key: Key) -> Operation {
    Operation::Read { key, values: store.get(&key).cloned().unwrap_or_default() }
}

/// Plants a fault into a correct history of each seed and expects that the checker finds it.
fn assert_found(
    plant: impl Fn(&mut ChaCha8Rng, &mut [Transaction]) -> Option<Key>,
    is_it: impl Fn(&Violation, Key) -> bool,
) {
    let mut planted = 0;
    for seed in seeds() {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let mut history = correct_history(&mut random);
        if let Some(key) = plant(&mut random, &mut history) {
            planted += 1;
            let verdict = judge(&history);
            assert!(
                verdict.as_ref().is_err_and(|violation| is_it(violation, key)),
                "SEED={seed} cargo test --workspace --test random: {verdict:?}"
            );
        }
    }
    assert!(planted * 2 > seeds().len(), "only {planted} histories had a place for the fault");
}

#[test]
fn what_a_correct_store_answers_is_accepted() {
    for seed in seeds() {
        let history = correct_history(&mut ChaCha8Rng::seed_from_u64(seed));
        match judge(&history) {
            Ok(summary) => assert!(
                summary.dependencies > 100,
                "SEED={seed} cargo test --workspace --test random: the history shows little"
            ),
            Err(violation) => panic!("SEED={seed} cargo test --workspace --test random: {violation}"),
        }
    }
}

/// A read misses the last append, which was answered before the reader was sent.
#[test]
fn one_stale_read_is_found() {
    assert_found(
        |random, history| {
            let answered: HashMap<(Key, Value), u64> = history
                .iter()
                .flat_map(|transaction| {
                    transaction.operations.iter().map(move |operation| (transaction, operation))
                })
                .filter_map(|(transaction, operation)| match operation {
                    Operation::Append { key, value } => Some(((*key, value.clone()), transaction.end?)),
                    Operation::Read { .. } => None,
                })
                .collect();
            let mut places: Vec<&mut Transaction> = history
                .iter_mut()
                .filter(|transaction| match &transaction.operations[..] {
                    [Operation::Read { key, values }] => values
                        .last()
                        .and_then(|last| answered.get(&(*key, last.clone())))
                        .is_some_and(|end| *end < transaction.start),
                    _ => false,
                })
                .collect();
            let index = random.random_range(0..places.len().max(1));
            let [Operation::Read { key, values }] = &mut places.get_mut(index)?.operations[..] else {
                return None;
            };
            values.pop();
            Some(*key)
        },
        |violation, _| matches!(violation, Violation::Cycle(_) | Violation::IntermediateRead { .. }),
    );
}

/// A transaction appends to the list as it was one append earlier, so that this append is gone.
#[test]
fn one_lost_update_is_found() {
    assert_found(
        |random, history| {
            let mut places: Vec<&mut Vec<Value>> = history
                .iter_mut()
                .filter_map(|transaction| match &mut transaction.operations[..] {
                    [Operation::Read { values, .. }, Operation::Append { .. }] if !values.is_empty() => {
                        Some(values)
                    }
                    _ => None,
                })
                .collect();
            let index = random.random_range(0..places.len().max(1));
            places.get_mut(index)?.pop();
            Some(0)
        },
        |violation, _| matches!(violation, Violation::Diverged { .. } | Violation::IntermediateRead { .. }),
    );
}

/// Somebody sees what a failed transaction would have appended.
#[test]
fn one_aborted_read_is_found() {
    assert_found(
        |random, history| {
            let failed: Vec<(Key, Value)> = history
                .iter()
                .filter(|transaction| transaction.outcome == Outcome::Failed)
                .flat_map(|transaction| transaction.operations.iter())
                .filter_map(|operation| match operation {
                    Operation::Append { key, value } => Some((*key, value.clone())),
                    Operation::Read { .. } => None,
                })
                .collect();
            let (failed_key, value) = failed.choose(random)?.clone();
            let last = history.last_mut().expect("the one that reads everything");
            last.operations.iter_mut().for_each(|operation| match operation {
                Operation::Read { key, values } if *key == failed_key => values.push(value.clone()),
                _ => {}
            });
            Some(failed_key)
        },
        |violation, failed| matches!(violation, Violation::AbortedRead { key, .. } if *key == failed),
    );
}
