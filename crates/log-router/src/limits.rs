//! What finding the right replica may take.

use limits::group;

group! {
    router:
    /// Calls to the replicas of a group.
    pub struct RouterLimits {
        /// How long a call that only the leader can answer waits for somebody to lead (`NotLeader`). More than an election takes.
        leader_wait_ms_max: u64 = 5_000,
        /// The pause before a replica that does not lead, or was not reached, is asked again if nobody says who does.
        leader_retry_ms: u64 = 50,
        /// A stream of commits in which nothing is heard for so long goes on at another replica: four heartbeats.
        stream_silence_ms_max: u64 = 2_000,
        /// The pause before a stream is asked for again if no replica gives it.
        stream_retry_ms: u64 = 250,
        /// How often a stream that comes from farther away looks whether the nearest replica can be trusted again.
        stream_return_ms: u64 = 15_000,
        /// How long a replica that has failed is asked only if no other answers; twice as long each time that it fails again.
        rest_ms_min: u64 = 500,
        /// The longest such time.
        rest_ms_max: u64 = 30_000,
        /// How long a "latest" read waits until the nearest replica has published what the leader confirmed; then it goes to another.
        publish_wait_ms_max: u64 = 1_000,
    }
}
