//! Defects that the model tests plant, to show that they would be found. Outside of tests there are none.

/// One defect in each of the log's state machines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bug {
    /// Commits are validated against what is published, not against what is on its way.
    ValidatorIgnoresInFlight,
    /// A batch hands its commits over in another order than they were validated in.
    BatcherReorders,
    /// An entry is applied though it does not follow the store's last timestamp.
    ApplyIgnoresPrevious,
    /// A commit on its way is answered as absent.
    LookupDeniesPending,
    /// After a reset timestamps are given a second time.
    RecoveryLowersHead,
    /// A run that is sent again is answered as if what committed had been its own.
    RecordForgetsRun,
    /// A follower does not learn of its leader's resets.
    FollowerIgnoresResets,
    /// An entry that reads the store is applied before the changes of those before it are written.
    RoundReadsBeforeItWrites,
    /// A reader of the newest state still sees a document where it was before it moved or went.
    OverlayKeepsOldKeys,
    /// A commit does not touch the places that its documents leave.
    TouchedKeysOmitOldOnes,
    /// A commit does not touch the index keys of a document that stay as they are.
    TouchedKeysOmitUnchangedOnes,
    /// What came between the two parts of validation is not looked at.
    ReceiveTrustsCheck,
    /// A message that was checked in time is taken though another copy of it was refused since, as too old to tell.
    ReceiveIgnoresFloor,
    /// A record that may have come between the two parts of validation is not asked for.
    RecordIsNotAskedAgain,
    /// A new term keeps the parts that were staged in older ones.
    BlankKeepsOldStages,
    /// What is newer above the store loses against what is in it.
    StoreHidesOverlay,
    /// What is remembered to be empty is not forgotten when something is written there.
    GapsIgnoreWrites,
    /// A gap that was joined with others stays where it was, too.
    GapsOverlap,
    /// Deletions are removed that can still be read below.
    SweepPassesHorizon,
    /// The newest version of a deleted key is removed, the older ones stay.
    SweepLeavesOldVersions,
    /// A batch that was appended and whose fate is unknown is taken for one that was refused.
    UnknownIsRefused,
    /// That a commit without writes changes nothing is told whatever has become of its epoch.
    UnchangedIgnoresEpoch,
    /// What is older than what is kept is read all the same.
    ReadIgnoresHorizon,
    /// A position is shown after others could change what it shows.
    PositionIsShownLate,
    /// A step of a backfill passes all versions of each key.
    BackfillPassesAllVersions,
    /// A batch is proposed in whatever term the replica leads, and applied in it, wherever it follows.
    FenceIsOpen,
    /// What is appended is told to be durable before it is.
    LogTellsBeforeItIsDurable,
    /// A commit leaves no record by which a repetition is known.
    RecordIsNotWritten,
    /// What the members of the group are is not kept with the state.
    MembershipIsForgotten,
    /// A node that is added after a removal which was left half done keeps who was removed as a learner.
    NewNodeKeepsThoseWhoWent,
    /// The log goes as far as the state is applied, not as far as it is flushed.
    PurgePassesFlushed,
    /// A state that is sent to another replica lacks the records by which repetitions are known.
    SnapshotLacksRecords,
    /// Another replica's state takes the place of this one's in memory, and not on the disk.
    InstallIsNotFlushed,
    /// A commit is acknowledged once it is validated.
    AnsweredBeforePublished,
    /// An entry is applied before this node's own log has it on the disk.
    ApplyPassesLog,
    /// How old a commit is goes by its timestamp, which follows a wall clock.
    AgesFollowTimestamps,
    /// A stream of commits begins at a replica that nobody knows to be current.
    StreamBeginsUnproved,
    /// Whoever comes to lead does not wait for what is held to be renewed.
    NewLeaderForgetsHolds,
    /// A moment is held that a batch on its way has passed.
    HoldIgnoresChosenHorizon,
    /// A replica holds moments that has been replaced as leader and has not heard of it.
    HoldIsNotConfirmed,
}

#[cfg(not(test))]
pub(crate) const fn is(_: Bug) -> bool {
    false
}

#[cfg(test)]
pub(crate) use in_tests::{is, plant};

#[cfg(test)]
mod in_tests {
    use std::cell::Cell;

    use super::Bug;

    // A bug of one test is none of the tests beside it.
    thread_local! {
        static PLANTED: Cell<Option<Bug>> = const { Cell::new(None) };
    }

    pub(crate) fn is(bug: Bug) -> bool {
        PLANTED.get() == Some(bug)
    }

    /// Plants a bug on this thread, for as long as `run` runs.
    pub(crate) fn plant<T>(bug: Bug, run: impl FnOnce() -> T) -> T {
        struct Unplant;
        impl Drop for Unplant {
            fn drop(&mut self) {
                PLANTED.set(None);
            }
        }
        PLANTED.set(Some(bug));
        let _unplant = Unplant;
        run()
    }
}
