//! Who appended which value to which key's list, and in which order.

use std::collections::{BTreeMap, HashMap, HashSet};

use crate::{Key, Operation, Outcome, Transaction, Value, Violation};

/// How many values a key's list has: 0 where the key is absent.
pub type Version = usize;

pub struct Versions {
    /// For each key the writers of its values, in the order of the list.
    writers: BTreeMap<Key, Vec<u64>>,
    committed: HashSet<u64>,
}

/// An append that some transaction of the history did or would have done.
struct Append {
    transaction: u64,
    outcome: Outcome,
    /// Whether the same transaction appended to the key again.
    continued: bool,
}

/// A list that a transaction saw or, by its own append, made.
struct Observation<'a> {
    transaction: &'a Transaction,
    key: Key,
    values: Vec<&'a str>,
}

impl Versions {
    pub fn of(transactions: &[Transaction]) -> Result<Self, Violation> {
        let appends = appends(transactions);
        let mut committed: HashSet<u64> = HashSet::new();
        let mut longest: BTreeMap<Key, Observation<'_>> = BTreeMap::new();
        for transaction in transactions {
            if transaction.outcome == Outcome::Committed {
                committed.insert(transaction.id);
            }
            for observation in observations(transaction)? {
                committed.extend(writers_of(&observation, &appends)?);
                let key = observation.key;
                let known =
                    longest.entry(key).or_insert(Observation { transaction, key, values: Vec::new() });
                let (short, long) = in_order(known, &observation);
                if !long.values.starts_with(&short.values) {
                    let transactions = [known.transaction.id, transaction.id];
                    return Err(Violation::Diverged { key, transactions });
                }
                if observation.values.len() > known.values.len() {
                    *known = observation;
                }
            }
        }
        let writer = |key, value| appends[&(key, value)].transaction;
        let writers = longest
            .into_iter()
            .map(|(key, order)| (key, order.values.iter().map(|value| writer(key, *value)).collect()))
            .collect();
        Ok(Self { writers, committed })
    }

    pub fn is_committed(&self, transaction: &Transaction) -> bool {
        self.committed.contains(&transaction.id)
    }

    /// Who appended the value that made this version; none for absence and for a version that never came to be.
    pub fn writer(&self, key: Key, version: Version) -> Option<u64> {
        self.writers.get(&key)?.get(version.checked_sub(1)?).copied()
    }

    /// Each key with the writers of its list, in order.
    pub fn lists(&self) -> impl Iterator<Item = &[u64]> {
        self.writers.values().map(Vec::as_slice)
    }
}

fn in_order<'a, 'b>(
    one: &'a Observation<'b>,
    other: &'a Observation<'b>,
) -> (&'a Observation<'b>, &'a Observation<'b>) {
    if one.values.len() <= other.values.len() { (one, other) } else { (other, one) }
}

/// Every list that the transaction saw or made. Within it, a key changes by its own appends only.
fn observations(transaction: &Transaction) -> Result<Vec<Observation<'_>>, Violation> {
    let mut current: HashMap<Key, Vec<&str>> = HashMap::new();
    let mut found = Vec::new();
    for operation in &transaction.operations {
        let (key, values) = match operation {
            Operation::Read { key, values } => {
                let values: Vec<&str> = values.iter().map(String::as_str).collect();
                let before = current.insert(*key, values.clone());
                if before.is_some_and(|before| before != values) {
                    return Err(Violation::Inconsistent { transaction: transaction.id, key: *key });
                }
                (*key, values)
            }
            Operation::Append { key, value } => match current.get_mut(key) {
                Some(values) => {
                    values.push(value);
                    (*key, values.clone())
                }
                // Not answered with success: where it appended is not known.
                None => continue,
            },
        };
        found.push(Observation { transaction, key, values });
    }
    Ok(found)
}

/// The transactions whose appends are in an observed list, all of which therefore committed.
fn writers_of(
    observation: &Observation<'_>,
    appends: &HashMap<(Key, &str), Append>,
) -> Result<Vec<u64>, Violation> {
    let Observation { transaction: Transaction { id: reader, .. }, key, ref values } = *observation;
    let mut seen = HashSet::new();
    let mut writers = Vec::new();
    for (position, value) in values.iter().enumerate() {
        let Some(append) = appends.get(&(key, *value)) else {
            return Err(Violation::NeverWritten { transaction: *reader, key, value: Value::from(*value) });
        };
        let writer = append.transaction;
        if !seen.insert(value) {
            return Err(Violation::WrittenTwice { writer, key, value: Value::from(*value) });
        }
        if append.outcome == Outcome::Failed {
            return Err(Violation::AbortedRead { reader: *reader, writer, key });
        }
        if append.continued && position + 1 == values.len() && writer != *reader {
            return Err(Violation::IntermediateRead { reader: *reader, writer, key });
        }
        writers.push(writer);
    }
    Ok(writers)
}

fn appends(transactions: &[Transaction]) -> HashMap<(Key, &str), Append> {
    let mut appends = HashMap::new();
    for Transaction { id, outcome, operations, .. } in transactions {
        let mut last_of_key: HashMap<Key, &str> = HashMap::new();
        for operation in operations {
            let Operation::Append { key, value } = operation else { continue };
            if let Some(before) = last_of_key.insert(*key, value) {
                appends.entry((*key, before)).and_modify(|append: &mut Append| append.continued = true);
            }
            let append = Append { transaction: *id, outcome: *outcome, continued: false };
            appends.insert((*key, value.as_str()), append);
        }
    }
    appends
}
