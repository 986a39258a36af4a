//! The suites that every implementation of a contract must pass, directly and over gRPC. Each test is named for the
//! sentence that it checks. Only tests depend on this crate; `make lint` holds that.
//!
//! ```ignore
//! conformance::transaction_log!(start); // async fn start() -> conformance::LogSubject
//! ```

pub mod blob_store;
pub mod fanout;
pub mod files;
pub mod object_store;
pub mod runner;
pub mod schedules;
pub mod search;
pub mod sequencer;
pub mod transaction_log;

use std::{any::Any, pin::Pin, sync::Arc};

use contract::{
    BlobDigest, BlobStore, DeploymentRef, DueRunner, Fanout, FileName, Files, ObjectStore, Runner, Schedules,
    Search, Sequencer, Timestamp, TransactionLog,
};

type Answer<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// A log to be tested, with one empty deployment that nobody else writes to.
pub struct LogSubject {
    pub log: Arc<dyn TransactionLog>,
    pub deployment: DeploymentRef,
    /// What it stands on; dropped after it.
    pub kept: Box<dyn Any + Send>,
}

/// A sequencer to be tested, and the log that it answers for.
pub struct SequencerSubject {
    pub sequencer: Arc<dyn Sequencer>,
    pub log: LogSubject,
}

/// A store of blobs to be tested, empty.
pub struct BlobSubject {
    pub blobs: Arc<dyn BlobStore>,
    /// Changes a stored blob behind the store's back, as a disk does.
    pub damage: Box<dyn Fn(BlobDigest) + Send + Sync>,
    /// What it stands on; dropped after it.
    pub kept: Box<dyn Any + Send>,
}

/// A store of objects to be tested, empty.
pub struct ObjectSubject {
    pub objects: Arc<dyn ObjectStore>,
    /// How many things lie in it that belong to no object that is there.
    pub leftovers: Box<dyn Fn() -> Pin<Box<dyn Future<Output = usize> + Send>> + Send + Sync>,
    /// What it stands on; dropped after it.
    pub kept: Box<dyn Any + Send>,
}

/// A runner to be tested, whose deployment has no data and these functions: those of `messages` (`list`, `count`, `send`, `fail`,
/// `refuse`, `act`) and of `actions` (`calls`, `throws`) of the runner's own tests, and the router of its `http`.
pub struct RunnerSubject {
    pub runner: Arc<dyn Runner>,
    pub deployment: DeploymentRef,
    /// What it stands on; dropped after it.
    pub kept: Box<dyn Any + Send>,
}

/// Live queries to be tested, of a deployment without data. A query `m:prefix` answers the keys that begin with the prefix, with commas
/// between, whatever its arguments are.
pub struct FanoutSubject {
    pub fanout: Arc<dyn Fanout>,
    pub deployment: DeploymentRef,
    /// Writes a key; its commit comes back.
    pub write: Box<dyn Fn(String) -> Answer<Timestamp> + Send + Sync>,
    /// What it stands on; dropped after it.
    pub kept: Box<dyn Any + Send>,
}

/// The files of a deployment to be tested.
pub struct FilesSubject {
    pub files: Arc<dyn Files>,
    pub deployment: DeploymentRef,
    /// How a file's URL names it, by the id of its document.
    pub name_of: Box<dyn Fn(String) -> Answer<Option<FileName>> + Send + Sync>,
    /// What it stands on; dropped after it.
    pub kept: Box<dyn Any + Send>,
}

/// A scheduler to be tested, whose deployment has no jobs.
pub struct SchedulesSubject {
    pub schedules: Arc<dyn Schedules>,
    pub deployment: DeploymentRef,
    /// Schedules a function for much later; the id of its job comes back.
    pub schedule: Box<dyn Fn() -> Answer<String> + Send + Sync>,
    /// What it stands on; dropped after it.
    pub kept: Box<dyn Any + Send>,
}

/// A search service to be tested, whose deployment has one table with a text index over `text` and a vector index of two dimensions over
/// `vector`, both with the filter field `kind`, and no documents.
pub struct SearchSubject {
    pub search: Arc<dyn Search>,
    pub deployment: DeploymentRef,
    /// The indexes.
    pub text: contract::IndexId,
    pub vectors: contract::IndexId,
    /// Writes a document: its text, its vector and its kind, or deletes the one with this text. The moment of the commit comes back.
    pub write: Box<dyn Fn(SearchedDocument) -> Answer<Timestamp> + Send + Sync>,
    /// What it stands on; dropped after it.
    pub kept: Box<dyn Any + Send>,
}

/// A document of a [`SearchSubject`].
#[derive(Clone, Debug)]
pub struct SearchedDocument {
    pub text: &'static str,
    pub vector: [f64; 2],
    pub kind: &'static str,
    /// It goes.
    pub is_deleted: bool,
}

/// A runner of what is due to be tested.
pub struct DueRunnerSubject {
    pub runner: Arc<dyn DueRunner>,
    pub deployment: DeploymentRef,
    /// Schedules a mutation; the id of its entry in the queue comes back.
    pub schedule: Box<dyn Fn() -> Answer<String> + Send + Sync>,
    /// What it stands on; dropped after it.
    pub kept: Box<dyn Any + Send>,
}

/// One `#[tokio::test]` for each test of a suite.
#[doc(hidden)]
#[macro_export]
macro_rules! tests_of {
    ($suite:path, $start:expr, $($test:ident)*) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                use $suite as suite;
                suite::$test($start().await).await;
            }
        )*
    };
}

/// The tests of the transaction log's contract; `$start` is an `async fn() -> LogSubject`.
#[macro_export]
macro_rules! transaction_log {
    ($start:expr) => {
        $crate::tests_of! {
            $crate::transaction_log, $start,
            an_acknowledged_commit_is_published
            a_read_sees_the_commits_up_to_its_timestamp_and_no_others
            timestamps_grow_in_the_order_of_commits
            a_commit_is_refused_if_what_it_read_has_changed_since
            a_deletion_is_a_conflict_for_readers_of_each_index
            a_range_at_the_head_has_what_is_not_published
            a_run_at_the_head_sees_what_was_in_the_way
            a_range_reader_sees_a_change_of_any_field
            a_commit_is_not_refused_for_what_it_did_not_read
            the_same_commit_id_does_not_commit_twice
            a_commit_without_writes_is_validated_and_writes_nothing
            another_epoch_answers_not_leader
            a_begin_in_the_future_or_of_another_epoch_is_a_conflict
            lookup_tells_what_became_of_a_commit
            another_run_of_a_committed_request_is_told_so_and_writes_nothing
            results_are_in_the_order_of_the_reads
            a_range_is_in_the_order_of_its_keys_and_stops_at_its_limits
            a_deleted_document_is_gone_from_every_index
            a_changed_document_has_moved_in_every_index
            a_moment_that_is_not_published_is_not_yet
            a_speculative_read_of_another_epoch_fails
            confirmed_leadership_holds_every_acknowledged_commit
            the_stream_gives_every_commit_above_its_start_in_order
            the_stream_names_each_key_old_and_new_in_every_index
            a_quiet_stream_has_heartbeats
            a_large_commit_is_whole_or_not_there
            backfill_completes_an_index_while_writes_go_on
            deployments_and_groups_that_are_not_there_are_refused
            what_is_written_by_commit_lies_in_the_order_of_the_commits
            a_commit_tells_once_whatever_becomes_of_it
        }
    };
}

/// The tests of what is held; `$start` is an `async fn() -> LogSubject`, whose log keeps moments for about a second
/// (`retention_ms_min`), holds them for two (`hold_ms`), and at most three at a time (`holds_max`).
#[macro_export]
macro_rules! held_moments {
    ($start:expr) => {
        $crate::tests_of! {
            $crate::transaction_log, $start,
            a_held_moment_stays_readable_until_it_is_let_go
            a_hold_that_is_not_renewed_ends
            too_many_holds_are_refused_and_those_of_others_stay
            in_groups_that_are_not_there_nothing_is_held
        }
    };
}

/// The tests of what only a log tells that is asked in its leader's process; `$start` is an `async fn() -> LogSubject`.
#[macro_export]
macro_rules! leaders_transaction_log {
    ($start:expr) => {
        $crate::tests_of! {
            $crate::transaction_log, $start,
            the_head_has_a_commit_as_soon_as_it_is_told
            what_was_read_holds_until_something_touches_it
        }
    };
}

/// The test of a log that is asked from another process; `$start` is an `async fn() -> LogSubject`.
#[macro_export]
macro_rules! remote_transaction_log {
    ($start:expr) => {
        $crate::tests_of! {
            $crate::transaction_log, $start,
            nobody_tells_the_head_from_elsewhere
        }
    };
}

/// The tests of the sequencer's contract; `$start` is an `async fn() -> SequencerSubject`.
#[macro_export]
macro_rules! sequencer {
    ($start:expr) => {
        $crate::tests_of! {
            $crate::sequencer, $start,
            latest_holds_every_commit_that_was_acknowledged_before_the_call
            many_calls_at_once_are_all_answered
            groups_that_are_not_there_are_refused
        }
    };
}

/// The tests of the blob store's contract; `$start` is an `async fn() -> BlobSubject`.
#[macro_export]
macro_rules! blob_store {
    ($start:expr) => {
        $crate::tests_of! {
            $crate::blob_store, $start,
            a_blob_is_named_by_its_digest_and_returned_as_it_was_stored
            what_was_never_stored_is_not_there
            storing_the_same_bytes_again_is_harmless
            a_damaged_blob_is_an_error_until_it_is_stored_again
            many_writers_do_not_disturb_each_other
        }
    };
}

/// The tests of the object store's contract; `$start` is an `async fn() -> ObjectSubject`.
#[macro_export]
macro_rules! object_store {
    ($start:expr) => {
        $crate::tests_of! {
            $crate::object_store, $start,
            an_object_is_read_as_it_was_written_and_its_digest_and_size_are_told
            a_range_has_exactly_the_bytes_that_were_asked_for
            until_it_is_finished_an_object_is_not_there_and_one_that_is_dropped_never_is
            a_deleted_object_is_gone_and_what_is_not_there_can_be_deleted
            components_and_deployments_have_objects_of_their_own
            many_writers_and_readers_do_not_disturb_each_other
            a_reader_that_goes_away_is_missed_by_nobody
        }
    };
}

/// The test of what only a store of this machine tells; `$start` is an `async fn() -> ObjectSubject`.
#[macro_export]
macro_rules! local_object_store {
    ($start:expr) => {
        $crate::tests_of! {
            $crate::object_store, $start,
            what_lies_in_place_is_what_is_read_even_if_it_is_deleted_meanwhile
        }
    };
}

/// The test of a store that is elsewhere; `$start` is an `async fn() -> ObjectSubject`.
#[macro_export]
macro_rules! remote_object_store {
    ($start:expr) => {
        $crate::tests_of! {
            $crate::object_store, $start,
            nothing_that_is_elsewhere_lies_in_place
        }
    };
}

/// The tests of the runner's contract; `$start` is an `async fn() -> RunnerSubject`.
#[macro_export]
macro_rules! runner {
    ($start:expr) => {
        $crate::tests_of! {
            $crate::runner, $start,
            a_query_reads_at_its_moment_and_tells_what_it_has_read
            a_mutation_takes_effect_once_for_a_request_of_a_session
            what_a_function_throws_is_an_answer_and_changes_nothing
            a_query_that_is_not_deployed_runs_all_the_same
            an_action_calls_functions_and_is_answered
            a_path_tells_of_what_kind_its_function_is
            a_request_is_answered_by_the_apps_router
            bodies_go_both_ways_piece_by_piece
            a_body_that_is_cut_off_is_not_complete
            who_leaves_an_answer_is_gone_and_the_function_is_told
            code_is_evaluated_without_being_served
            the_function_log_has_each_execution_and_is_waited_for
            many_calls_at_once_are_all_answered
            a_caller_that_goes_away_holds_up_nobody
        }
    };
}

/// The tests of the contract of live queries; `$start` is an `async fn() -> FanoutSubject`.
#[macro_export]
macro_rules! fanout {
    ($start:expr) => {
        $crate::tests_of! {
            $crate::fanout, $start,
            a_round_shows_what_was_added_and_what_a_commit_has_changed
            no_round_is_of_a_moment_before_what_the_client_has_seen
            a_sessions_own_write_is_followed_by_a_round
            another_identity_is_shown_by_its_version
            a_query_that_is_added_twice_ends_the_session_and_says_why
            a_session_ends_when_its_commands_do
            who_takes_no_rounds_holds_up_nobody
            many_queries_are_one_command_and_one_round
        }
    };
}

/// The tests of the files service's contract; `$start` is an `async fn() -> FilesSubject`.
#[macro_export]
macro_rules! files {
    ($start:expr) => {
        $crate::tests_of! {
            $crate::files, $start,
            a_file_is_read_as_it_was_stored
            bytes_with_another_digest_are_no_file
            a_token_that_is_none_is_refused_before_anything_is_sent
            what_is_not_there_is_not_found
            who_goes_away_in_the_middle_is_missed_by_nobody
        }
    };
}

/// The tests of the scheduler's contract; `$start` is an `async fn() -> SchedulesSubject`.
#[macro_export]
macro_rules! schedules {
    ($start:expr) => {
        $crate::tests_of! {
            $crate::schedules, $start,
            a_job_is_cancelled_once_and_stays_so
            all_jobs_are_cancelled_or_those_of_one_function
        }
    };
}

/// The tests of the search service's contract; `$start` is an `async fn() -> SearchSubject`.
#[macro_export]
macro_rules! search {
    ($start:expr) => {
        $crate::tests_of! {
            $crate::search, $start,
            the_best_comes_first_and_of_equal_ones_the_newest
            a_search_sees_its_moment_and_no_other
            what_the_transaction_has_written_stands_in_the_place_of_what_is_there
            filters_leave_out_what_does_not_pass
            the_nearest_vectors_come_first_and_deleted_ones_never
            an_index_that_is_not_there_is_not_found
        }
    };
}

/// The test of the contract of those who run what is due; `$start` is an `async fn() -> DueRunnerSubject`.
#[macro_export]
macro_rules! due_runner {
    ($start:expr) => {
        $crate::tests_of! {
            $crate::schedules, $start,
            an_entry_that_is_due_runs_once
        }
    };
}
