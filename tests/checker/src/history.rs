//! The form of a history: one JSON object a line and transaction, in any order. Lines that begin with # are remarks.

use std::collections::HashSet;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};

pub type Key = u64;
/// What an append adds to a key's list, another one for each append of the history.
pub type Value = String;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Transaction {
    /// Unique in the history.
    pub id: u64,
    /// When it was sent, in any unit, by the one clock of the whole history.
    pub start: u64,
    /// When the answer came; none where there was no answer.
    pub end: Option<u64>,
    pub outcome: Outcome,
    /// What it did, in its own order. Of one that was not answered with success only the appends it would have done
    /// are known.
    pub operations: Vec<Operation>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    Committed,
    /// Answered with an error: none of its appends may ever be seen.
    Failed,
    /// Not answered: it committed if anybody saw an append of it.
    Unknown,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub enum Operation {
    /// Saw this list, empty where the key was absent.
    Read { key: Key, values: Vec<Value> },
    /// Appended this value to the list.
    Append { key: Key, value: Value },
}

/// Reads a file of JSON lines and checks its form.
pub fn read_history(path: &Path) -> Result<Vec<Transaction>> {
    let text = std::fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
    let lines =
        text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty() && !line.starts_with('#'));
    lines
        .map(|(number, line)| {
            let place = || format!("{}:{}", path.display(), number + 1);
            let transaction: Transaction = serde_json::from_str(line).with_context(place)?;
            check_form(&transaction).with_context(place)?;
            Ok(transaction)
        })
        .collect()
}

fn check_form(transaction: &Transaction) -> Result<()> {
    ensure!(
        transaction.end.is_none_or(|end| end >= transaction.start),
        "transaction {} was answered before it was sent",
        transaction.id
    );
    let committed = transaction.outcome == Outcome::Committed;
    ensure!(
        !committed || transaction.end.is_some(),
        "transaction {} committed without an answer",
        transaction.id
    );
    let mut read = HashSet::new();
    for operation in &transaction.operations {
        match operation {
            Operation::Read { key, .. } => {
                ensure!(committed, "only an answer of success says what was read");
                read.insert(key);
            }
            Operation::Append { key, .. } => {
                ensure!(
                    !committed || read.contains(key),
                    "a transaction reads a key before it appends to it"
                );
            }
        }
    }
    Ok(())
}
