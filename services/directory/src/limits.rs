//! How many deployments there may be, and how those that are deleted go.

use limits::group;

group! {
    directory:
    /// The directory of deployments.
    pub struct DirectoryLimits {
        /// Deployments of a cluster (`TooManyDeployments`). Each costs every node some kilobytes and a few tasks that sleep.
        deployments_max: usize = 10_000,
        /// Keys of one deployment, or of one project (`TooManyKeys`): each is looked at when a request shows a key.
        keys_max: usize = 100,
        /// How long a preview deployment stays that nobody pushes to: 14 days.
        preview_age_ms: u64 = 14 * 24 * 3_600_000,
        /// The longest time after which a deployment may be deleted by itself: ten years (400 `InvalidExpiry`).
        expiry_ms_max: u64 = 3_660 * 24 * 3_600_000,
        /// How long after the clock has said that a deployment's time is over it is asked again: only if it says so twice is the
        /// deployment deleted, so that a clock which is ahead for a moment deletes nothing.
        expiry_check_ms: u64 = 60_000,
        /// How long a change waits until this node has heard of it, once it is durable.
        follow_wait_ms_max: u64 = 5_000,
        /// Without a sign of the commit stream for this long it is asked for again.
        stream_silence_ms_max: u64 = 5_000,
        /// The pause before the directory is read again that could not be read, or was not found.
        follow_retry_ms: u64 = 250,
        /// Between the moment at which nobody serves a deployment any more and the first document that is deleted: what was under
        /// way comes to its end. As long as a mutation may take.
        removal_grace_ms: u64 = 60_000,
        /// Documents that one transaction of a deletion deletes.
        removed_documents_max: usize = 500,
        /// Objects of files that are deleted at once.
        removed_objects_in_flight_max: usize = 8,
        /// The pause before a deletion goes on that was stopped by an error, or is another node's.
        removal_retry_ms: u64 = 10_000,
    }
}
