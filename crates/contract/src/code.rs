//! Codes that a caller acts upon, or that several services use: a contract by their spelling.
//!
//! Every other code stands where its error is made. All of them are listed in `docs/reference/errors.md`.

/// Another node did not answer in time. The call may have had its effect.
pub const CALL_TIMED_OUT: &str = "CallTimedOut";
/// The connection to another node broke before the answer came. The call may have had its effect.
pub const CONNECTION_LOST: &str = "ConnectionLost";
/// What is asked for is no deployment, is being deleted, or is not on this node.
pub const DEPLOYMENT_NOT_FOUND: &str = "DeploymentNotFound";
/// A read at the newest state of an epoch that is over. The transaction runs again at the new leader's position.
pub const EPOCH_ENDED: &str = "EpochEnded";
/// A group that is not known where it was asked for.
pub const GROUP_NOT_FOUND: &str = "GroupNotFound";
/// A defect of ours. The message is for the log, and users see a general sentence.
pub const INTERNAL: &str = "InternalServerError";
/// Another node was not reached. The call had no effect.
pub const NODE_UNREACHABLE: &str = "NodeUnreachable";
/// Another replica leads the group, or none. The call had no effect.
pub const NOT_LEADER: &str = "NotLeader";
/// A moment that the replica has not published.
pub const NOT_YET: &str = "NotYet";
/// Whoever was asked is about to end. The call had no effect.
pub const SHUTTING_DOWN: &str = "ShuttingDown";
