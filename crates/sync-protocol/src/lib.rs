//! The messages of the WebSocket sync protocol, by which clients keep queries live and run mutations.
//!
//! A client speaks first: [`ClientMessage::parse`] reads one text frame. The server answers with [`ServerMessage`]s, which
//! [`ServerMessage::to_json`] writes. Values of functions pass through as JSON text: they were encoded once, where the
//! function ran, and are never parsed here.
//!
//! ```text
//!   client                                   server
//!   Connect ───────────────────────────────▶
//!   ModifyQuerySet 0→1 ────────────────────▶
//!          ◀──────────── Transition {0,0,0}→{1,0,t}
//!   Mutation 0 ────────────────────────────▶
//!          ◀──────────────── MutationResponse 0, t'
//!          ◀────────── Transition {1,0,t}→{1,0,t'}   (the client takes its optimistic update back only now)
//! ```
//!
//! The JavaScript client tells "absent" from `null` in several places, and throws where version numbers do not match, so
//! what is optional here is left out of the JSON and never written as `null` unless said so.
//!
//! This crate knows nothing of sockets, sessions or functions.

mod arguments;
mod client_message;
mod client_version;
mod server_message;
mod timestamp;

pub use arguments::normalize_arguments;
pub use client_message::{
    Authenticate, ClientMessage, Connect, FunctionRequest, ModifyQuerySet, QuerySetModification, Token,
};
pub use client_version::{Client, ClientVersion};
pub use server_message::{
    MutationResult, ServerMessage, StateModification, StateVersion, Transition, split_into_chunks,
};
pub use timestamp::Timestamp;

/// Why a text is not a message of this protocol.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the message is not valid: {0}")]
    Malformed(#[from] serde_json::Error),
    #[error("the message type {0:?} is not known")]
    UnknownType(String),
    #[error("function arguments must be an array that holds one object")]
    Arguments,
    #[error("the client version {0:?} can't be read")]
    ClientVersion(String),
}
