//! The requests of one action to other servers, as `fetch` wants them.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use bytes::Bytes;
use egress::{
    ChunkSender, Client, HeaderMap, HeaderName, HeaderValue, Method, Redirects, Request, RequestBody,
    Response, chunks,
};
use isolate::{Answer, Reply, SyscallError};
use parking_lot::Mutex;
use serde::Deserialize;
use tokio_util::sync::CancellationToken;

use super::exchange::HEADERS_MAX;

/// Those that are under way, by the numbers that the platform gives them.
pub(super) struct Fetches {
    exchanges: HashMap<u64, Arc<Exchange>>,
    /// Whether they say to which trace they belong, where the function says nothing about that.
    are_traced: bool,
}

/// A request and its answer.
#[derive(Default)]
pub(super) struct Exchange {
    aborted: CancellationToken,
    /// For a body that the function makes while it is sent.
    chunks: Mutex<Option<ChunkSender>>,
    /// From its headers to the end of its body.
    response: tokio::sync::Mutex<Option<Response>>,
    is_over: AtomicBool,
    is_traced: bool,
}

/// What the platform sends along (`crates/isolate/src/platform/fetch.js`).
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct FetchArguments {
    fetch: u64,
    method: String,
    url: String,
    /// Each character is a byte.
    headers: Vec<(String, String)>,
    redirect: String,
    is_stream: bool,
}

/// Names an exchange.
#[derive(Deserialize)]
pub(super) struct ExchangeArguments {
    fetch: u64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ChunkArguments {
    fetch: u64,
    is_last: bool,
}

impl Fetches {
    pub(super) fn new(are_traced: bool) -> Fetches {
        Fetches { exchanges: HashMap::new(), are_traced }
    }

    /// Begins what [`Exchange::send`] carries out.
    pub(super) fn open(&mut self, arguments: &FetchArguments) -> Arc<Exchange> {
        self.exchanges.retain(|_, exchange| !exchange.is_over.load(Ordering::Relaxed));
        let exchange = Arc::new(Exchange { is_traced: self.are_traced, ..Exchange::default() });
        self.exchanges.insert(arguments.fetch, Arc::clone(&exchange));
        exchange
    }

    /// Where [`Exchange::read`] goes on.
    pub(super) fn to_read(&self, arguments: &ExchangeArguments) -> Option<Arc<Exchange>> {
        self.exchanges.get(&arguments.fetch).cloned()
    }

    /// Where [`Exchange::write`] goes on, and whether it is the end.
    pub(super) fn to_write(&self, arguments: &ChunkArguments) -> Option<(Arc<Exchange>, bool)> {
        self.exchanges.get(&arguments.fetch).map(|exchange| (Arc::clone(exchange), arguments.is_last))
    }

    /// Ends an exchange wherever it is; its connection is closed.
    pub(super) fn abort(&mut self, fetch: u64) {
        if let Some(exchange) = self.exchanges.remove(&fetch) {
            exchange.aborted.cancel();
        }
    }
}

impl Exchange {
    /// Sends the request. Answers with what is known before the body.
    pub(super) async fn send(&self, client: &Client, arguments: FetchArguments, body: Vec<u8>) -> Answer {
        let FetchArguments { method, url, headers, redirect, is_stream, .. } = arguments;
        let body = if is_stream {
            let (sender, receiver) = chunks();
            *self.chunks.lock() = Some(sender);
            RequestBody::Stream(receiver)
        } else if body.is_empty() {
            RequestBody::Empty
        } else {
            RequestBody::Whole(Bytes::from(body))
        };
        let method = Method::from_bytes(method.as_bytes())
            .map_err(|_| failed(&url, "can't be asked by that method"))?;
        let is_head = method == Method::HEAD;
        let redirects = match redirect.as_str() {
            "error" => Redirects::Refuse,
            "manual" => Redirects::Return,
            _ => Redirects::Follow,
        };
        let mut headers = to_headers(&headers).ok_or_else(|| failed(&url, "can't be sent such headers"))?;
        if self.is_traced && !headers.contains_key("traceparent") {
            telemetry::inject(&mut headers);
        }
        let request = Request { method, url: url.clone(), headers, body, redirects };
        let response = self.unless_aborted(client.send(request)).await?;
        let response = response.map_err(|error| failed(&url, error))?;
        let has_body = !is_head && !matches!(response.status, 101 | 103 | 204 | 205 | 304);
        let headers: Vec<_> =
            response.headers.iter().map(|(name, value)| (name.as_str(), latin1(value.as_bytes()))).collect();
        let text = serde_json::json!({
            "status": response.status,
            "statusText": response.status_text,
            "url": response.url,
            "redirected": response.is_redirected,
            "headers": headers,
            "hasBody": has_body,
        })
        .to_string();
        if has_body {
            *self.response.lock().await = Some(response);
        } else {
            self.end();
        }
        Ok(Reply::Text(text))
    }

    /// The next bytes of the answer's body; text at its end.
    pub(super) async fn read(&self) -> Answer {
        let mut place = self.response.lock().await;
        let Some(response) = place.as_mut() else { return Ok(Reply::Text("null".to_owned())) };
        let chunk = self.unless_aborted(response.chunk()).await?;
        match chunk.map_err(|error| failed(&response.url, error))? {
            Some(chunk) => Ok(Reply::Bytes(chunk.into())),
            None => {
                *place = None;
                self.end();
                Ok(Reply::Text("null".to_owned()))
            }
        }
    }

    /// Takes a chunk of the request's body. Answers whether more is wanted.
    pub(super) async fn write(&self, chunk: Vec<u8>, is_last: bool) -> Answer {
        let sender = self.chunks.lock().clone();
        let is_wanted = match sender {
            None => false,
            Some(sender) => {
                self.unless_aborted(async {
                    // An empty chunk would be the end of a body in chunks.
                    let is_wanted = chunk.is_empty() || sender.send(chunk.into()).await;
                    if is_wanted && is_last {
                        sender.end().await;
                    }
                    is_wanted && !is_last
                })
                .await?
            }
        };
        if !is_wanted {
            *self.chunks.lock() = None;
        }
        Ok(Reply::Text(is_wanted.to_string()))
    }

    fn end(&self) {
        self.is_over.store(true, Ordering::Relaxed);
    }

    async fn unless_aborted<T>(&self, work: impl Future<Output = T>) -> Result<T, SyscallError> {
        let done = self.aborted.run_until_cancelled(work).await;
        done.ok_or_else(|| SyscallError::new("the request was aborted"))
    }
}

fn failed(url: &str, reason: impl std::fmt::Display) -> SyscallError {
    SyscallError::new(format!("{url} {reason}"))
}

fn to_headers(pairs: &[(String, String)]) -> Option<HeaderMap> {
    if pairs.len() > HEADERS_MAX {
        return None;
    }
    let mut headers = HeaderMap::new();
    for (name, value) in pairs {
        let bytes: Option<Vec<u8>> = value.chars().map(|character| u8::try_from(character).ok()).collect();
        headers.append(HeaderName::from_bytes(name.as_bytes()).ok()?, HeaderValue::from_bytes(&bytes?).ok()?);
    }
    Some(headers)
}

fn latin1(bytes: &[u8]) -> String {
    bytes.iter().copied().map(char::from).collect()
}
