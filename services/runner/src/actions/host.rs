//! What an action gets at once.

use std::{
    sync::{Arc, mpsc},
    time::Duration,
};

use isolate::{ConsoleLine, SyncHost, SyscallError};
use serde::Deserialize;
use transaction::DeploymentCatalog;

use crate::{
    calls::{Ground, Tree},
    service::Shared,
};

/// It goes from thread to thread with the function.
pub(super) struct ActionHost {
    shared: Arc<Shared>,
    pub(super) tree: Tree,
    /// For stacks, in terms of the files that people wrote.
    catalog: Arc<DeploymentCatalog>,
    ended: Vec<EndOfWait>,
}

/// What the function waits for no longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum EndOfWait {
    Timer(u64),
    Fetch(u64),
}

impl ActionHost {
    pub(super) fn new(shared: Arc<Shared>, tree: Tree, catalog: Arc<DeploymentCatalog>) -> ActionHost {
        ActionHost { shared, tree, catalog, ended: Vec::new() }
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
        if !matches!(operation, "tidemark/wake" | "tidemark/fetchAbort") {
            return Err(SyscallError::new(format!("Unknown sync operation: {operation}")));
        }
        let ended = serde_json::from_str(arguments).map_err(|error| {
            SyscallError::new(format!(
                "InvalidOperationArguments: `{operation}` can't read its arguments: {error}"
            ))
        })?;
        self.ended.push(ended);
        Ok("null".to_owned())
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
