//! The consensus library's own suite for what stores its log and state.

use std::{fmt::Debug, io, ops::RangeBounds, sync::Arc};

use crate::limits::{LogLimits, StoreLimits};
use contract::{DeploymentId, GroupId};
use openraft::{
    OptionalSend, RaftLogReader, StorageError,
    storage::{IOFlushed, LogState, RaftLogStorage},
    testing::log::{StoreBuilder, Suite},
};

use crate::{
    apply::Applier,
    clock::Clock,
    fatal::FatalHandler,
    group::Group,
    keys::Incarnation,
    raft_log::{RaftLog, RaftLogs},
    raft_types::{Entry, LogId, RaftTypes, Vote},
    state_machine::StateMachine,
    state_store::NodeStore,
};

struct Stores;

/// Keeps what the stores stand on.
struct Kept {
    _logs: RaftLogs,
    _folder: tempfile::TempDir,
}

/// The log, as it is used: nothing is purged before the state is flushed that far. The suite purges what it never applied.
struct Guarded(RaftLog);

impl RaftLogReader<RaftTypes> for Guarded {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: RB,
    ) -> Result<Vec<Entry>, io::Error> {
        self.0.try_get_log_entries(range).await
    }

    async fn read_vote(&mut self) -> Result<Option<Vote>, io::Error> {
        self.0.read_vote().await
    }
}

impl RaftLogStorage<RaftTypes> for Guarded {
    type LogReader = RaftLog;

    async fn get_log_state(&mut self) -> Result<LogState<RaftTypes>, io::Error> {
        self.0.get_log_state().await
    }

    async fn get_log_reader(&mut self) -> RaftLog {
        self.0.get_log_reader().await
    }

    async fn save_vote(&mut self, vote: &Vote) -> Result<(), io::Error> {
        self.0.save_vote(vote).await
    }

    async fn save_committed(&mut self, committed: Option<LogId>) -> Result<(), io::Error> {
        self.0.save_committed(committed).await
    }

    async fn read_committed(&mut self) -> Result<Option<LogId>, io::Error> {
        self.0.read_committed().await
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<RaftTypes>) -> Result<(), io::Error>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        self.0.append(entries, callback).await
    }

    async fn truncate_after(&mut self, last_log_id: Option<LogId>) -> Result<(), io::Error> {
        self.0.truncate_after(last_log_id).await
    }

    async fn purge(&mut self, log_id: LogId) -> Result<(), io::Error> {
        let before = self.0.get_log_state().await?;
        if log_id.index > 0 {
            self.0.state_flushed(log_id.index - 1);
        }
        let refused = self.0.purge(log_id).await.expect_err("the state is not flushed that far");
        assert!(refused.to_string().contains("must not be purged"), "{refused}");
        assert_eq!(self.0.get_log_state().await?, before, "it has changed nothing");
        self.0.state_flushed(log_id.index);
        self.0.purge(log_id).await
    }
}

impl StoreBuilder<RaftTypes, Guarded, StateMachine, Kept> for Stores {
    async fn build(&self) -> Result<(Kept, Guarded, StateMachine), StorageError<RaftTypes>> {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let fatal = FatalHandler::new(|reason| panic!("{reason}"));
        let logs = RaftLogs::open(&folder.path().join("log"), &StoreLimits::DEFAULT, fatal.clone())
            .expect("the log opens");
        let store = NodeStore::open(&folder.path().join("state"), &StoreLimits::DEFAULT);
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
        // The suite applies what it never appended, so the state machine has a log of its own.
        let of_state_machine = logs.group(GroupId(2));
        let state_machine = StateMachine::new(
            Arc::new(group),
            applier,
            of_state_machine,
            StoreLimits::DEFAULT.apply_bytes_max,
            fatal,
        );
        Ok((Kept { _logs: logs, _folder: folder }, Guarded(log), state_machine))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_stores_pass_the_suite_of_the_consensus_library() {
    Suite::test_all(Stores).await.expect("the suite passes");
}
