//! What is sent, and what comes back.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use hyper::body::{Body, Frame};
use reqwest::{
    Method,
    header::{
        AUTHORIZATION, CONNECTION, CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_LENGTH, CONTENT_LOCATION,
        CONTENT_TYPE, COOKIE, HOST, HeaderMap, HeaderName, PROXY_AUTHORIZATION, TE, TRAILER,
        TRANSFER_ENCODING, UPGRADE,
    },
};
use tokio::sync::mpsc;

use crate::Error;

/// A request.
#[derive(Debug)]
pub struct Request {
    /// Such as `GET`.
    pub method: Method,
    /// With `http://` or `https://`.
    pub url: String,
    /// What says how the bytes travel is left out: that is the client's.
    pub headers: HeaderMap,
    /// What follows the headers.
    pub body: RequestBody,
    /// What to do where the answer leads elsewhere.
    pub redirects: Redirects,
}

/// The body of a request.
#[derive(Debug)]
pub enum RequestBody {
    /// There is none.
    Empty,
    /// All of it.
    Whole(Bytes),
    /// What comes from the other half. It can't be sent again, so a redirect that would need it is an error.
    Stream(ChunkReceiver),
}

/// What to do where an answer leads elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Redirects {
    /// Ask there, too.
    Follow,
    /// The answer is the answer.
    Return,
    /// It is an error.
    Refuse,
}

/// The chunks of a body that is sent while it is made.
pub fn chunks() -> (ChunkSender, ChunkReceiver) {
    let (sender, receiver) = mpsc::channel(1);
    (ChunkSender(sender), ChunkReceiver { receiver, has_ended: false })
}

/// Where the chunks of a body go in. Dropped before [`ChunkSender::end`], it breaks the request off.
#[derive(Clone, Debug)]
pub struct ChunkSender(mpsc::Sender<Option<Bytes>>);

/// Where they come out.
#[derive(Debug)]
pub struct ChunkReceiver {
    receiver: mpsc::Receiver<Option<Bytes>>,
    has_ended: bool,
}

impl ChunkSender {
    /// Waits until there is room for it. False where nobody wants it any more.
    pub async fn send(&self, chunk: Bytes) -> bool {
        self.0.send(Some(chunk)).await.is_ok()
    }

    /// There are no more.
    pub async fn end(&self) {
        // Who has gone away waits for nothing.
        let _ = self.0.send(None).await;
    }
}

impl Body for ChunkReceiver {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        if self.has_ended {
            return Poll::Ready(None);
        }
        let chunk = std::task::ready!(self.receiver.poll_recv(context));
        Poll::Ready(match chunk {
            Some(Some(chunk)) => Some(Ok(Frame::data(chunk))),
            Some(None) => {
                self.has_ended = true;
                None
            }
            None => Some(Err(io::Error::other("the body was broken off"))),
        })
    }
}

/// An answer whose body is still to come.
#[derive(Debug)]
pub struct Response {
    /// The HTTP status.
    pub status: u16,
    /// What the status is called.
    pub status_text: &'static str,
    /// Where the answer came from, after redirects.
    pub url: String,
    /// Whether there were any.
    pub is_redirected: bool,
    /// Its headers.
    pub headers: HeaderMap,
    pub(crate) body: reqwest::Response,
}

impl Response {
    /// The next bytes of the body, decompressed; `None` at its end.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, Error> {
        Ok(self.body.chunk().await?)
    }
}

/// Leaves out what is the client's to say.
pub(crate) fn remove_hop_by_hop(headers: &mut HeaderMap) {
    let keep_alive = HeaderName::from_static("keep-alive");
    for name in [CONNECTION, CONTENT_LENGTH, TE, TRAILER, TRANSFER_ENCODING, UPGRADE, keep_alive] {
        headers.remove(name);
    }
}

/// What told about a body that is not sent on.
pub(crate) fn remove_body_headers(headers: &mut HeaderMap) {
    for name in [CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_LOCATION, CONTENT_TYPE] {
        headers.remove(name);
    }
}

/// What was meant for another server.
pub(crate) fn remove_secrets(headers: &mut HeaderMap) {
    for name in [AUTHORIZATION, COOKIE, HOST, PROXY_AUTHORIZATION] {
        headers.remove(name);
    }
}
