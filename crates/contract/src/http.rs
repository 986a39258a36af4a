//! HTTP requests that an app answers itself, as the function runners see them.

use std::pin::Pin;

use bytes::Bytes;
use futures::Stream;

use crate::{DeploymentRef, FunctionError, Identity, Requester, Result};

/// A body, piece by piece. One that ends with an error was not complete.
pub type HttpBody = Pin<Box<dyn Stream<Item = Result<Bytes>> + Send>>;

/// A request to answer.
pub struct HttpCall {
    /// Whose router answers it.
    pub deployment: DeploymentRef,
    /// The component's path; empty for the app itself.
    pub component: String,
    /// Such as `GET`.
    pub method: String,
    /// The whole public address, as the client has asked for it.
    pub url: String,
    /// Names in lower case, and values, which need not be text; in their order.
    pub headers: Vec<(String, Vec<u8>)>,
    /// `None` where there can't be one.
    pub body: Option<HttpBody>,
    /// In whose name it runs.
    pub identity: Identity,
    /// Who has sent it.
    pub requester: Requester,
    /// Shown in error messages and in the log.
    pub request_id: String,
    /// The server itself asks, because a call waits for the answer: it MUST get one also when as many actions are under way as
    /// may be.
    pub is_own: bool,
}

/// What came of a request.
pub enum HttpAnswer {
    /// The answer's head is there, and its body begins.
    Response(HttpResponse),
    /// The function threw before it has answered.
    Failed(FunctionError),
    /// Nothing that is deployed answers requests.
    NoRouter,
}

/// An answer.
pub struct HttpResponse {
    /// From 200 to 599.
    pub status: u16,
    /// Names, and values, in their order.
    pub headers: Vec<(String, Vec<u8>)>,
    /// How long the body is, where that is known.
    pub body_bytes: Option<u64>,
    /// What the function writes, as it writes it.
    pub body: HttpBody,
}
