//! Judges the history of a run.
//!
//! A history is what callers saw: for each transaction when it was sent and answered, what it read and what it wrote.
//! [`judge`] accepts it if some order of the committed transactions explains every read, keeps every acknowledged write
//! and never puts a transaction before one that was answered before it was sent: strict serializability.
//!
//! It needs no search, because the workload makes the order of writes visible: what is stored under a key is a list, a
//! write reads it and appends a value that nobody else appends. So a read names the writes it saw, in order, and absence
//! is the empty list. What is left is a graph: the transactions, with an edge wherever one must come before another. The
//! history is strictly serializable exactly if that graph has no cycle. (A. Adya, "Weak Consistency: A Generalized Theory
//! and Optimistic Implementations for Distributed Transactions", 1999, chapter 3; lists are from K. Kingsbury and P.
//! Alvaro, "Elle", 2020. A range read is a read of every key in the range, absent ones too, which turns phantoms into
//! ordinary edges.)

mod graph;
mod history;
mod versions;

use std::fmt;

pub use history::{Key, Operation, Outcome, Transaction, Value, read_history};

use graph::{Graph, Reason};
use versions::Versions;

/// Why no order explains a history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Violation {
    /// A transaction did not see what it had itself appended, or the same key changed under it.
    Inconsistent { transaction: u64, key: Key },
    /// Somebody saw a value that nobody appended.
    NeverWritten { transaction: u64, key: Key, value: Value },
    /// Somebody saw the append of a transaction that was answered with an error.
    AbortedRead { reader: u64, writer: u64, key: Key },
    /// Somebody saw a list that ends amid what one transaction appended to it.
    IntermediateRead { reader: u64, writer: u64, key: Key },
    /// Of two lists of a key neither is the beginning of the other: an update is lost.
    Diverged { key: Key, transactions: [u64; 2] },
    /// One append is in a list twice.
    WrittenTwice { writer: u64, key: Key, value: Value },
    /// Each of these transactions must come before the next, and the last before the first.
    Cycle(Vec<(u64, Reason)>),
}

impl fmt::Display for Violation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Inconsistent { transaction, key } => {
                write!(formatter, "inconsistent: transaction {transaction} saw key {key} change under it")
            }
            Self::NeverWritten { transaction, key, value } => {
                write!(formatter, "never written: transaction {transaction} read {value:?} of key {key}")
            }
            Self::AbortedRead { reader, writer, key } => {
                write!(
                    formatter,
                    "aborted read: transaction {reader} saw {writer}'s append to key {key}, which failed"
                )
            }
            Self::IntermediateRead { reader, writer, key } => {
                write!(
                    formatter,
                    "intermediate read: transaction {reader} saw only some of {writer}'s appends to key {key}"
                )
            }
            Self::Diverged { key, transactions: [one, other] } => {
                write!(formatter, "lost update: {one} and {other} saw key {key} grow in different ways")
            }
            Self::WrittenTwice { writer, key, value } => {
                write!(
                    formatter,
                    "written twice: {writer}'s append of {value:?} to key {key} is in its list twice"
                )
            }
            Self::Cycle(edges) => {
                write!(formatter, "cycle:")?;
                edges
                    .iter()
                    .try_for_each(|(transaction, reason)| write!(formatter, " {transaction} —{reason}→"))?;
                edges.first().map_or(Ok(()), |(first, _)| write!(formatter, " {first}"))
            }
        }
    }
}

/// What an accepted history consists of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Summary {
    /// Transactions known to have committed, whether or not they were answered.
    pub committed: usize,
    pub failed: usize,
    /// Transactions without an answer, whose appends nobody saw.
    pub unknown: usize,
    /// Edges between transactions that touched the same keys. A history without any shows nothing.
    pub dependencies: usize,
}

/// Accepts a strictly serializable history, or says why it is none.
pub fn judge(transactions: &[Transaction]) -> Result<Summary, Violation> {
    let versions = Versions::of(transactions)?;
    let committed: Vec<&Transaction> =
        transactions.iter().filter(|transaction| versions.is_committed(transaction)).collect();
    let graph = Graph::of(&committed, &versions);
    if let Some(cycle) = graph.shortest_cycle() {
        return Err(Violation::Cycle(cycle));
    }
    let count = |outcome| transactions.iter().filter(|transaction| transaction.outcome == outcome).count();
    Ok(Summary {
        committed: committed.len(),
        failed: count(Outcome::Failed),
        unknown: transactions.len() - committed.len() - count(Outcome::Failed),
        dependencies: graph.dependencies(),
    })
}
