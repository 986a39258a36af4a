//! Subscriptions: each session's queries, run again when what they read has changed.
