//! The suites that every implementation of a contract must pass, directly and over gRPC. Each test is named for the
//! sentence that it checks. Only tests depend on this crate; `make lint` holds that.
//!
//! ```ignore
//! conformance::transaction_log!(start); // async fn start() -> conformance::LogSubject
//! ```

pub mod blob_store;
pub mod object_store;
pub mod sequencer;
pub mod transaction_log;

use std::{any::Any, pin::Pin, sync::Arc};

use contract::{BlobDigest, BlobStore, DeploymentRef, ObjectStore, Sequencer, TransactionLog};

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
            a_commit_tells_once_whatever_becomes_of_it
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
