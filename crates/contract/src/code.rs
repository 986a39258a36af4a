//! Codes that a caller acts upon, or that several services use: a contract by their spelling.
//!
//! Every other code stands where its error is made. All of them are listed in `docs/reference/errors.md`.

/// A read at the newest state of an epoch that is over. The transaction runs again at the new leader's position.
pub const EPOCH_ENDED: &str = "EpochEnded";
/// A defect of ours. The message is for the log, and users see a general sentence.
pub const INTERNAL: &str = "InternalServerError";
