//! The exchange between an HTTP action and its client: the request's body, which is read when the function reads it, and the
//! answer, which goes away as the function writes it.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

use bytes::Bytes;
use contract::{Error, HttpAnswer, HttpBody, HttpResponse, Result};
use futures::{FutureExt as _, StreamExt as _, future::BoxFuture, stream};
use isolate::{Answer, AsyncOperation, Reply, SyscallError};
use parking_lot::Mutex;
use serde::Deserialize;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::{
    limits::ActionLimits,
    metrics::Metrics,
    transaction::{Attempt, parse},
};

/// Headers of one message. A map of headers ends the process beyond some 24,000 (http 1.5), and those behind put in some of their own.
pub(super) const HEADERS_MAX: usize = 16_384;

/// One for each request.
pub(super) struct Exchange {
    request_bytes_max: usize,
    response_bytes_max: usize,
    metrics: Arc<Metrics>,
    request: tokio::sync::Mutex<Option<HttpBody>>,
    request_bytes: AtomicU64,
    /// `None` once the head is sent.
    unanswered: Mutex<Option<Unanswered>>,
    is_answered: AtomicBool,
    pieces: mpsc::Sender<Piece>,
    /// Nothing more is sent: the answer is complete, or ends where it is.
    over: CancellationToken,
    response_bytes: AtomicU64,
    /// What the head has said that the body has.
    announced_bytes: Mutex<Option<u64>>,
    /// How the log names the request.
    route: Mutex<String>,
    status: Mutex<Option<u16>>,
}

/// What a head is sent with.
struct Unanswered {
    answer: oneshot::Sender<Result<HttpAnswer>>,
    pieces: mpsc::Receiver<Piece>,
}

/// Of an answer's body. A body that ends without its end was cut.
enum Piece {
    Bytes(Bytes),
    End,
}

/// What the platform sends along (`crates/isolate/src/platform/http-action.js`).
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AnswerArguments {
    status: u16,
    /// Each character is a byte.
    headers: Vec<(String, String)>,
    /// `None` for a stream.
    body_bytes: Option<u64>,
    is_last: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WriteArguments {
    is_last: bool,
}

#[derive(Deserialize)]
struct RouteArguments {
    method: String,
    path: String,
}

impl Exchange {
    /// An exchange, and what comes of it. `route` names the request until the router does.
    pub(super) fn open(
        route: String,
        request: Option<HttpBody>,
        limits: &ActionLimits,
        metrics: Arc<Metrics>,
    ) -> (Arc<Exchange>, oneshot::Receiver<Result<HttpAnswer>>) {
        let (answer, answered) = oneshot::channel();
        // The function waits until the client has taken what was before.
        let (sender, pieces) = mpsc::channel(1);
        let exchange = Exchange {
            request_bytes_max: limits.http_request_bytes_max,
            response_bytes_max: limits.http_response_bytes_max,
            metrics,
            request: tokio::sync::Mutex::new(request),
            request_bytes: AtomicU64::new(0),
            unanswered: Mutex::new(Some(Unanswered { answer, pieces })),
            is_answered: AtomicBool::new(false),
            pieces: sender,
            over: CancellationToken::new(),
            response_bytes: AtomicU64::new(0),
            announced_bytes: Mutex::default(),
            route: Mutex::new(route),
            status: Mutex::default(),
        };
        (Arc::new(exchange), answered)
    }

    /// What the platform says without waiting for anything; `None` if it is nothing of an exchange.
    pub(super) fn syscall(&self, operation: &str, arguments: &str) -> Option<serde_json::Result<()>> {
        match operation {
            "tidemark/httpRoute" => {
                let route = serde_json::from_str::<RouteArguments>(arguments);
                Some(route.map(|RouteArguments { method, path }| {
                    *self.route.lock() = format!("{method} {path}");
                }))
            }
            "tidemark/httpCut" => {
                self.cut();
                Some(Ok(()))
            }
            _ => None,
        }
    }

    /// Begins what the platform waits for.
    pub(super) fn begin(self: Arc<Self>, operation: AsyncOperation) -> Attempt<BoxFuture<'static, Answer>> {
        let AsyncOperation { name, arguments, body, .. } = operation;
        Ok(match name.as_str() {
            "tidemark/httpRead" => async move { self.read().await }.boxed(),
            "tidemark/httpAnswer" => {
                let arguments = parse(&name, &arguments)?;
                async move { self.answer(arguments, body).await }.boxed()
            }
            "tidemark/httpWrite" => {
                let arguments = parse(&name, &arguments)?;
                async move { self.write(arguments, body).await }.boxed()
            }
            "tidemark/httpClientGone" => async move { self.client_gone().await }.boxed(),
            _ => return Err(SyscallError::new(format!("Unknown async operation: {name}")).into()),
        })
    }

    /// The next bytes of the request's body; text at its end.
    async fn read(&self) -> Answer {
        let mut place = self.request.lock().await;
        while let Some(body) = place.as_mut() {
            match body.next().await {
                Some(Ok(piece)) if piece.is_empty() => {}
                Some(Ok(piece)) => {
                    self.metrics.http_request_bytes.add(piece.len() as u64);
                    if add(&self.request_bytes, piece.len()) > self.request_bytes_max as u64 {
                        *place = None;
                        return Err(SyscallError::new(format!(
                            "RequestTooLarge: the body of a request has at most {} bytes",
                            self.request_bytes_max
                        )));
                    }
                    return Ok(Reply::Bytes(piece.into()));
                }
                Some(Err(error)) => {
                    *place = None;
                    return Err(SyscallError::new(error.to_string()));
                }
                None => *place = None,
            }
        }
        Ok(Reply::Text("null".to_owned()))
    }

    /// Sends the answer's head, and all of its body if that is there. Answers whether more is wanted.
    async fn answer(&self, arguments: AnswerArguments, bytes: Vec<u8>) -> Answer {
        let AnswerArguments { status, headers, body_bytes, is_last } = arguments;
        let invalid = || SyscallError::new("InvalidHttpResponse: the answer is none that HTTP knows");
        if !(200..=599).contains(&status) {
            return Err(invalid());
        }
        // Of what is known to be too large nothing is sent.
        if body_bytes.is_some_and(|bytes| bytes > self.response_bytes_max as u64) {
            return Err(self.too_large());
        }
        if headers.len() > HEADERS_MAX {
            return Err(SyscallError::new(format!(
                "InvalidHttpResponse: the answer has {} headers, and may have {HEADERS_MAX}",
                headers.len()
            )));
        }
        let headers: Option<Vec<_>> =
            headers.into_iter().map(|(name, value)| Some((name, from_latin1(&value)?))).collect();
        let headers = headers.ok_or_else(invalid)?;
        let Some(Unanswered { answer, pieces }) = self.unanswered.lock().take() else {
            return Err(SyscallError::new("InvalidHttpResponse: the request is answered already"));
        };
        *self.status.lock() = Some(status);
        *self.announced_bytes.lock() = body_bytes;
        self.is_answered.store(true, Ordering::Release);
        let response = HttpResponse { status, headers, body_bytes, body: self.body_of(pieces) };
        // Where nobody waits for it any more, nobody takes the body either.
        let _ = answer.send(Ok(HttpAnswer::Response(response)));
        self.write(WriteArguments { is_last }, bytes).await
    }

    /// Sends a piece of the body. Answers whether more is wanted.
    async fn write(&self, arguments: WriteArguments, bytes: Vec<u8>) -> Answer {
        let response_bytes = add(&self.response_bytes, bytes.len());
        if response_bytes > self.response_bytes_max as u64 {
            self.cut();
            return Err(self.too_large());
        }
        if self.over.is_cancelled() {
            return Ok(Reply::Text("false".to_owned()));
        }
        self.metrics.http_response_bytes.add(bytes.len() as u64);
        let is_sent = bytes.is_empty() || self.pieces.send(Piece::Bytes(bytes.into())).await.is_ok();
        let is_wanted = is_sent
            && match arguments.is_last {
                true => self.pieces.send(Piece::End).await.is_ok(),
                false => !self.pieces.is_closed(),
            };
        // Whoever has as many bytes as the head has announced does not wait for the end.
        let is_complete =
            is_sent && arguments.is_last && *self.announced_bytes.lock() == Some(response_bytes);
        if !is_wanted && !is_complete {
            self.metrics.http_clients_gone.increment();
        }
        if !is_wanted || arguments.is_last {
            self.cut();
        }
        Ok(Reply::Text((is_wanted && !arguments.is_last).to_string()))
    }

    /// Waits until the client takes nothing more of an answer that is not complete.
    async fn client_gone(&self) -> Answer {
        self.over.run_until_cancelled(self.pieces.closed()).await;
        Ok(Reply::Text("null".to_owned()))
    }

    /// Ends the answer where it is.
    fn cut(&self) {
        self.over.cancel();
    }

    /// Whether the answer has begun.
    pub(super) fn is_answered(&self) -> bool {
        self.is_answered.load(Ordering::Acquire)
    }

    /// The end of the function. Says what became of it to whoever waits for a head.
    pub(super) fn end(&self, answer: impl FnOnce() -> Result<HttpAnswer>) {
        let unanswered = self.unanswered.lock().take();
        if let Some(unanswered) = unanswered {
            let _ = unanswered.answer.send(answer());
        }
        self.cut();
    }

    /// Under which name the request was routed: `GET /posts/*`; the path itself if no route fits.
    pub(super) fn route(&self) -> String {
        self.route.lock().clone()
    }

    /// Of the answer.
    pub(super) fn status(&self) -> Option<u16> {
        *self.status.lock()
    }

    /// A body of the pieces that come. One that ends without its end ends with an error.
    fn body_of(&self, pieces: mpsc::Receiver<Piece>) -> HttpBody {
        stream::unfold(Some((pieces, self.over.clone())), |state| async move {
            let (mut pieces, over) = state?;
            let piece = tokio::select! {
                biased;
                // What was written before the end is sent.
                piece = pieces.recv() => piece,
                () = over.cancelled() => None,
            };
            match piece {
                Some(Piece::Bytes(bytes)) => Some((Ok(bytes), Some((pieces, over)))),
                Some(Piece::End) => None,
                None => Some((Err(cut_off()), None)),
            }
        })
        .boxed()
    }

    fn too_large(&self) -> SyscallError {
        SyscallError::new(format!(
            "HttpResponseTooLarge: the body of an HTTP action's response has at most {} bytes",
            self.response_bytes_max
        ))
    }
}

fn cut_off() -> Error {
    Error::new(
        contract::ErrorKind::Internal,
        "HttpResponseCutOff",
        "The function ended before its answer was complete.",
    )
}

/// What is in it after adding.
fn add(sum: &AtomicU64, bytes: usize) -> u64 {
    sum.fetch_add(bytes as u64, Ordering::Relaxed) + bytes as u64
}

fn from_latin1(text: &str) -> Option<Vec<u8>> {
    text.chars().map(|character| u8::try_from(character).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(
        request: Vec<Result<Bytes>>,
        bytes_max: usize,
    ) -> (Arc<Exchange>, oneshot::Receiver<Result<HttpAnswer>>) {
        let limits = ActionLimits {
            http_request_bytes_max: bytes_max,
            http_response_bytes_max: bytes_max,
            ..ActionLimits::DEFAULT
        };
        Exchange::open(
            "GET /".to_owned(),
            Some(stream::iter(request).boxed()),
            &limits,
            Arc::new(Metrics::default()),
        )
    }

    fn head(body_bytes: Option<u64>, is_last: bool) -> AnswerArguments {
        let headers = vec![("x-name".to_owned(), "gr\u{fc}n".to_owned())];
        AnswerArguments { status: 201, headers, body_bytes, is_last }
    }

    fn text(answer: &str) -> Answer {
        Ok(Reply::Text(answer.to_owned()))
    }

    async fn response(answered: oneshot::Receiver<Result<HttpAnswer>>) -> HttpResponse {
        match answered.await.expect("an answer").expect("no error") {
            HttpAnswer::Response(response) => response,
            HttpAnswer::Failed(_) | HttpAnswer::NoRouter => panic!("it is answered"),
        }
    }

    #[tokio::test]
    async fn a_request_is_read_piece_by_piece_up_to_its_limit() {
        let pieces = ["one", "", "two"].map(|piece| Ok(Bytes::from(piece)));
        let (exchange, _answered) = open(pieces.to_vec(), 6);
        assert_eq!(exchange.read().await, Ok(Reply::Bytes(b"one".to_vec())));
        assert_eq!(exchange.read().await, Ok(Reply::Bytes(b"two".to_vec())));
        assert_eq!(exchange.read().await, text("null"));
        assert_eq!(exchange.read().await, text("null"));

        let (exchange, _answered) = open(pieces.to_vec(), 5);
        exchange.read().await.expect("it is not too large yet");
        let error = exchange.read().await.expect_err("it is too large");
        assert!(error.message.starts_with("RequestTooLarge"), "{}", error.message);

        let (exchange, _answered) = open(vec![Err(Error::bad_request("RequestCutOff", "gone"))], 5);
        let error = exchange.read().await.expect_err("the client has gone");
        assert_eq!(error.message, "RequestCutOff: gone");
    }

    #[tokio::test]
    async fn an_answer_is_its_head_and_what_is_written_behind_it() {
        let (exchange, answered) = open(Vec::new(), 6);
        assert!(!exchange.is_answered());
        assert_eq!(exchange.answer(head(None, false), Vec::new()).await, text("true"));
        assert!(exchange.is_answered());
        let response = response(answered).await;
        assert_eq!((response.status, exchange.status()), (201, Some(201)));
        assert_eq!(response.headers, [("x-name".to_owned(), b"gr\xfcn".to_vec())]);
        let body = tokio::spawn(response.body.collect::<Vec<_>>());
        assert_eq!(exchange.write(WriteArguments { is_last: false }, b"one".to_vec()).await, text("true"));
        assert_eq!(exchange.write(WriteArguments { is_last: true }, b"two".to_vec()).await, text("false"));
        let body = body.await.expect("no panic");
        assert_eq!(body, [Ok(Bytes::from("one")), Ok(Bytes::from("two"))]);
        exchange.answer(head(None, false), Vec::new()).await.expect_err("it is answered");
    }

    #[tokio::test]
    async fn an_answer_has_so_many_headers_at_the_most() {
        let head_of = |count: usize| {
            let headers = vec![("set-cookie".to_owned(), "a=1".to_owned()); count];
            AnswerArguments { headers, ..head(Some(0), true) }
        };
        let (exchange, answered) = open(Vec::new(), 3);
        let error = exchange.answer(head_of(HEADERS_MAX + 1), Vec::new()).await.expect_err("too many");
        assert!(
            error.message.starts_with("InvalidHttpResponse: the answer has 16385 headers"),
            "{}",
            error.message
        );
        exchange.answer(head_of(HEADERS_MAX), Vec::new()).await.expect("it is sent");
        assert_eq!(response(answered).await.headers.len(), HEADERS_MAX);
    }

    #[tokio::test]
    async fn an_answer_that_is_not_complete_ends_with_an_error() {
        let (exchange, answered) = open(Vec::new(), 3);
        exchange.answer(head(None, false), b"one".to_vec()).await.expect("it is sent");
        let error = exchange.write(WriteArguments { is_last: false }, b"two".to_vec()).await;
        assert!(error.expect_err("it is too large").message.starts_with("HttpResponseTooLarge"));
        let body = response(answered).await.body.collect::<Vec<_>>().await;
        assert_eq!(body, [Ok(Bytes::from("one")), Err(cut_off())]);

        let (exchange, answered) = open(Vec::new(), 3);
        exchange.answer(head(None, false), Vec::new()).await.expect("it is sent");
        exchange.end(|| unreachable!("it is answered"));
        assert_eq!(response(answered).await.body.collect::<Vec<_>>().await, [Err(cut_off())]);
    }

    #[tokio::test]
    async fn of_an_answer_that_is_known_to_be_too_large_nothing_is_sent() {
        let (exchange, mut answered) = open(Vec::new(), 3);
        let refused = exchange.answer(head(Some(4), false), Vec::new()).await;
        assert!(refused.expect_err("it is too large").message.starts_with("HttpResponseTooLarge"));
        assert!(answered.try_recv().is_err() && !exchange.is_answered());
        exchange.end(|| Ok(HttpAnswer::NoRouter));
        assert!(matches!(answered.await, Ok(Ok(HttpAnswer::NoRouter))));
    }

    #[tokio::test]
    async fn a_client_that_goes_away_is_noticed_whether_something_is_sent_or_not() {
        let (exchange, answered) = open(Vec::new(), 10);
        exchange.answer(head(None, false), Vec::new()).await.expect("it is sent");
        let (gone, ()) = tokio::join!(exchange.client_gone(), async { drop(response(answered).await) });
        assert_eq!(gone, text("null"));
        assert_eq!(exchange.write(WriteArguments { is_last: false }, b"x".to_vec()).await, text("false"));

        let (exchange, answered) = open(Vec::new(), 10);
        drop(answered);
        assert_eq!(exchange.answer(head(Some(1), false), b"x".to_vec()).await, text("false"));
    }
}
