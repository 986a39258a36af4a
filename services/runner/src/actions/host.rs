//! What an action gets at once.

use std::{
    sync::{Arc, mpsc},
    time::Duration,
};

use isolate::{AsyncOperation, ConsoleLine, SyncHost, SyscallError};
use serde::Deserialize;
use transaction::Catalog;

use super::{exchange::Exchange, operations::Weight};
use crate::{
    calls::{Ground, Tree},
    service::Shared,
};

/// It goes from thread to thread with the function.
pub(super) struct ActionHost {
    shared: Arc<Shared>,
    pub(super) tree: Tree,
    /// For stacks, in terms of the files that people wrote.
    catalog: Arc<Catalog>,
    ended: Vec<EndOfWait>,
    /// Of an HTTP action.
    exchange: Option<Arc<Exchange>>,
}

/// What the function waits for no longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum EndOfWait {
    Timer(u64),
    Fetch(u64),
}

impl ActionHost {
    pub(super) fn new(
        shared: Arc<Shared>,
        tree: Tree,
        catalog: Arc<Catalog>,
        exchange: Option<Arc<Exchange>>,
    ) -> ActionHost {
        ActionHost { shared, tree, catalog, ended: Vec::new(), exchange }
    }

    /// Whether an action whose outcome is known goes on for an operation.
    pub(super) fn holds(&self) -> impl Fn(&AsyncOperation) -> bool + use<> {
        let is_answered = self.exchange.as_ref().is_some_and(|exchange| exchange.is_answered());
        move |operation| Weight::of(operation).holds(is_answered)
    }

    pub(super) fn take_ended(&mut self) -> Vec<EndOfWait> {
        std::mem::take(&mut self.ended)
    }
}

impl Ground for ActionHost {
    fn tree(&mut self) -> &mut Tree {
        &mut self.tree
    }
}

impl SyncHost for ActionHost {
    fn syscall(&mut self, operation: &str, arguments: &str) -> Result<String, SyscallError> {
        let understood = match operation {
            "tidemark/wake" | "tidemark/fetchAbort" => {
                Some(serde_json::from_str(arguments).map(|ended| self.ended.push(ended)))
            }
            _ => self.exchange.as_ref().and_then(|exchange| exchange.syscall(operation, arguments)),
        };
        let understood =
            understood.ok_or_else(|| SyscallError::new(format!("Unknown sync operation: {operation}")))?;
        understood.map(|()| "null".to_owned()).map_err(|error| {
            SyscallError::new(format!(
                "InvalidOperationArguments: `{operation}` can't read its arguments: {error}"
            ))
        })
    }

    /// Time passes in actions.
    fn now_ms(&mut self) -> Option<f64> {
        Some(self.shared.clock.now_ms())
    }

    fn log(&mut self, line: ConsoleLine) {
        self.tree.log.push_console(line);
    }

    /// The maps may have to be fetched, for which this thread waits: the function is in the middle of an expression. Without
    /// them it sees the frames of the bundle.
    fn map_frames(&mut self, frames: String) -> String {
        let (sender, receiver) = mpsc::sync_channel(1);
        let (shared, catalog) = (Arc::clone(&self.shared), Arc::clone(&self.catalog));
        let stack = frames.clone();
        let mapping = self.shared.runtime.spawn(async move {
            let maps = shared.source_maps.for_people([stack.as_str()], &catalog, &*shared.blobs).await;
            let _ = sender.send(maps.map_stack(&stack));
        });
        let wait = Duration::from_millis(self.tree.limits.function.system_time_ms_max);
        let mapped = receiver.recv_timeout(wait);
        mapping.abort();
        mapped.unwrap_or(frames)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_platform_names_what_it_waits_for_no_longer() {
        let read = |text| serde_json::from_str::<EndOfWait>(text).expect("as the platform writes it");
        assert_eq!(read(r#"{"timer":7}"#), EndOfWait::Timer(7));
        assert_eq!(read(r#"{"fetch":8}"#), EndOfWait::Fetch(8));
    }
}
