//! HTTP requests that leave the server, and a policy of where they may go.
//!
//! A [`Client`] sends a request, follows redirects, and gives the answer: the whole of it within bounds of time and size, or
//! chunk by chunk to whoever sets bounds themselves. Its
//! [`Policy`] is asked before a name is resolved, with each address that it stands for, and again at each redirect: what
//! connects is what was let through. Nothing goes through a proxy unless it is told, whatever the environment says.
//!
//! TLS is rustls, and trusts the certificates that the system trusts (`SSL_CERT_FILE` and `SSL_CERT_DIR` name others). They
//! are read when the first request is sent: a server that never calls out never looks at them.
//!
//! This crate knows nothing of tokens, functions or documents.

mod client;
mod error;
mod limits;
mod policy;
mod private;
mod request;

pub use client::{Answer, Bounds, Client};
pub use error::Error;
pub use limits::EgressLimits;
pub use policy::{Policy, PolicyError, Rule};
pub use private::is_private;
pub use request::{ChunkReceiver, ChunkSender, Redirects, Request, RequestBody, Response, chunks};
pub use reqwest::{
    Method,
    header::{HeaderMap, HeaderName, HeaderValue},
};
