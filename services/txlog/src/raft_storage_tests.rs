//! The consensus library's own suite for what stores its log and state.

use std::sync::Arc;

use crate::limits::{LogLimits, StoreLimits};
use contract::{DeploymentId, GroupId};
use openraft::{
    StorageError,
    testing::log::{StoreBuilder, Suite},
};

use crate::{
    apply::Applier,
    clock::Clock,
    fatal::FatalHandler,
    group::Group,
    keys::Incarnation,
    raft_log::{RaftLog, RaftLogs},
    raft_types::RaftTypes,
    state_machine::StateMachine,
    state_store::StateStore,
};

struct Stores;

/// Keeps what the stores stand on.
struct Kept {
    _logs: RaftLogs,
    _folder: tempfile::TempDir,
}

impl StoreBuilder<RaftTypes, RaftLog, StateMachine, Kept> for Stores {
    async fn build(&self) -> Result<(Kept, RaftLog, StateMachine), StorageError<RaftTypes>> {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let fatal = FatalHandler::new(|reason| panic!("{reason}"));
        let logs = RaftLogs::open(&folder.path().join("log"), &StoreLimits::DEFAULT, fatal.clone())
            .expect("the log opens");
        let store = StateStore::open(&folder.path().join("state"), &StoreLimits::DEFAULT);
        let store = Arc::new(store.expect("the store opens"));
        let (id, incarnation) = (GroupId(1), Incarnation(1));
        let applier = Applier::open(incarnation, &*store).expect("an empty store is read");
        let group = Group::new(
            id,
            incarnation,
            vec![DeploymentId(1)],
            LogLimits::DEFAULT,
            Clock::system(),
            store,
            applier.state(),
        );
        let log = logs.group(id);
        // The suite purges what it never applied.
        log.state_flushed(u64::MAX - 1);
        let state_machine = StateMachine::new(
            Arc::new(group),
            applier,
            log.clone(),
            StoreLimits::DEFAULT.apply_bytes_max,
            fatal,
        );
        Ok((Kept { _logs: logs, _folder: folder }, log, state_machine))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_stores_pass_the_suite_of_the_consensus_library() {
    Suite::test_all(Stores).await.expect("the suite passes");
}
