//! The newest published timestamp, confirmed by the leader.
