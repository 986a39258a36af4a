//! Plain counters of what is stored and read.

use counters::{Operations, OperationsSnapshot, Stopwatch};

/// What is asked of the service. What a writer or a reader does afterwards, piece by piece, is not counted here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    /// A blob is stored.
    Put,
    /// A blob is read, or looked for.
    Get,
    /// An object is begun.
    Create,
    /// An object is read, or its size.
    Read,
    /// An object is deleted.
    Delete,
}

/// In the order of [`Operation`].
const NAMES: [&str; 5] = ["put", "get", "create", "read", "delete"];

#[derive(Debug)]
pub(crate) struct Metrics(Operations<{ NAMES.len() }>);

impl Metrics {
    pub(crate) fn new() -> Metrics {
        Metrics(Operations::new(NAMES))
    }

    /// Counts an operation, and how it ends.
    pub(crate) async fn count<T>(
        &self,
        operation: Operation,
        work: impl Future<Output = contract::Result<T>>,
    ) -> contract::Result<T> {
        let stopwatch = Stopwatch::start();
        let result = work.await;
        self.0.record(operation as usize, stopwatch.took(), &result);
        result
    }

    pub(crate) fn snapshot(&self) -> OperationsSnapshot {
        self.0.snapshot()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_operation_is_counted_by_its_name() {
        let metrics = Metrics::new();
        metrics.count(Operation::Put, async { Ok(()) }).await.expect("it is done");
        metrics.count(Operation::Delete, async { Ok(()) }).await.expect("it is done");
        let counted = metrics.snapshot().requests.into_iter().filter(|(_, count)| *count > 0);
        assert_eq!(counted.collect::<Vec<_>>(), [(["put", "done"], 1), (["delete", "done"], 1)]);
    }
}
