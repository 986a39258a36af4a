//! Many calls over one pair of streams, in pieces.
//!
//! A unary call costs some 30 times what a message on an open stream does. Each call has a number; answers come in any
//! order. What has many bytes goes in pieces, so that the message limit is about pieces and not about calls.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use crate::limits::RpcLimits;
use bytes::{Bytes, BytesMut};
use contract::{Error, ErrorKind, Result};
use futures::{Stream, StreamExt, future::BoxFuture, stream};
use parking_lot::Mutex;
use proto::common::v1::Piece;
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinSet,
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Response, Status, Streaming};

use crate::errors;

/// Cuts a message into pieces.
pub fn pieces(call: u64, mut content: Bytes, limits: &RpcLimits) -> impl Iterator<Item = Piece> + use<> {
    let piece_bytes_max = limits.piece_bytes_max;
    let mut done = false;
    std::iter::from_fn(move || {
        if done {
            return None;
        }
        let piece = content.split_to(content.len().min(piece_bytes_max));
        done = content.is_empty();
        Some(Piece { call, content: piece, last: done })
    })
}

/// Puts pieces together again.
pub struct Arriving {
    calls: HashMap<u64, BytesMut>,
    bytes: usize,
    bytes_max: usize,
}

impl Arriving {
    pub fn new(limits: &RpcLimits) -> Arriving {
        Arriving { calls: HashMap::new(), bytes: 0, bytes_max: limits.arriving_bytes_max }
    }

    /// The call's number and content, once its last piece is there.
    pub fn add(&mut self, piece: Piece) -> Result<Option<(u64, Bytes)>, Status> {
        if piece.last && !self.calls.contains_key(&piece.call) {
            return Ok(Some((piece.call, piece.content)));
        }
        self.bytes += piece.content.len();
        if self.bytes > self.bytes_max {
            let message = format!("more than {} bytes of incomplete calls", self.bytes_max);
            let refused = Error::new(ErrorKind::TooManyRequests, "CallsTooLarge", message);
            return Err(errors::to_status(refused));
        }
        self.calls.entry(piece.call).or_default().extend_from_slice(&piece.content);
        if !piece.last {
            return Ok(None);
        }
        let content = self.calls.remove(&piece.call).unwrap_or_default();
        self.bytes -= content.len();
        Ok(Some((piece.call, content.freeze())))
    }
}

/// Answers the calls of a stream, many at once.
pub fn serve<S, F, A>(
    calls: S,
    limits: RpcLimits,
    answer: F,
) -> impl Stream<Item = Result<Piece, Status>> + Send + 'static
where
    S: Stream<Item = Result<Piece, Status>> + Send + 'static,
    F: Fn(Bytes) -> A + Send + Sync + 'static,
    A: Future<Output = Bytes> + Send + 'static,
{
    let mut arriving = Arriving::new(&limits);
    calls
        .filter_map(move |piece| {
            futures::future::ready(piece.and_then(|piece| arriving.add(piece)).transpose())
        })
        .map(move |call| {
            let answering = call.map(|(call, content)| (call, answer(content)));
            async move {
                match answering {
                    Ok((call, answer)) => Ok((call, answer.await)),
                    Err(status) => Err(status),
                }
            }
        })
        .buffer_unordered(limits.calls_in_flight_max)
        .flat_map(move |answered| match answered {
            Ok((call, content)) => stream::iter(pieces(call, content, &limits).map(Ok)).left_stream(),
            Err(status) => stream::iter([Err(status)]).right_stream(),
        })
}

type Waiting = Arc<Mutex<HashMap<u64, oneshot::Sender<Bytes>>>>;

/// Opens a pair of streams: the calls go in, the answers come out.
pub type Open = Box<dyn Fn(ReceiverStream<Piece>) -> BoxFuture<'static, Opened> + Send + Sync>;
pub type Opened = Result<Response<Streaming<Piece>>, Status>;

/// The callers' side of a pair of streams. It opens them when they are first needed, and again when they broke.
pub struct Caller {
    open: Open,
    limits: RpcLimits,
    next: AtomicU64,
    line: tokio::sync::Mutex<Option<Line>>,
}

/// An open pair of streams; it ends when it is dropped.
struct Line {
    outgoing: mpsc::Sender<Piece>,
    waiting: Waiting,
    /// Gives the answers out.
    reader: JoinSet<()>,
}

impl Caller {
    pub fn new(open: Open, limits: RpcLimits) -> Caller {
        Caller { open, limits, next: AtomicU64::new(1), line: tokio::sync::Mutex::new(None) }
    }

    /// Sends a call and waits for its answer. [`CallFailed::Lost`] means that it may have arrived.
    pub async fn call(&self, content: Bytes) -> Result<Bytes, CallFailed> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let (answered, answer) = oneshot::channel();
        let (outgoing, waiting) = {
            let mut line = self.line.lock().await;
            let broken = |line: &Line| line.reader.is_empty() || line.outgoing.is_closed();
            if let Some(line) = &mut *line {
                // Takes note of a reader that has ended.
                while line.reader.try_join_next().is_some() {}
            }
            if line.as_ref().is_none_or(broken) {
                *line = Some(self.connect().await.map_err(CallFailed::NotSent)?);
            }
            let line = line.as_ref().expect("it was just opened");
            (line.outgoing.clone(), line.waiting.clone())
        };
        waiting.lock().insert(number, answered);
        let guard = Forget { waiting: &waiting, number };
        for piece in pieces(number, content, &self.limits) {
            if outgoing.send(piece).await.is_err() {
                return Err(CallFailed::Lost);
            }
        }
        let answer = answer.await.map_err(|_| CallFailed::Lost);
        drop(guard);
        answer
    }

    async fn connect(&self) -> Result<Line, Error> {
        let (outgoing, pieces) = mpsc::channel(self.limits.pieces_queued_max);
        let mut answers =
            (self.open)(ReceiverStream::new(pieces)).await.map_err(errors::from_status)?.into_inner();
        let waiting = Waiting::default();
        let mut reader = JoinSet::new();
        let given = waiting.clone();
        let mut arriving = Arriving::new(&self.limits);
        reader.spawn(async move {
            while let Some(Ok(piece)) = answers.next().await {
                match arriving.add(piece) {
                    Ok(Some((call, content))) => {
                        if let Some(waiting) = given.lock().remove(&call) {
                            // Whoever called may have gone.
                            let _ = waiting.send(content);
                        }
                    }
                    Ok(None) => {}
                    Err(_) => break,
                }
            }
            // Whoever still waits learns that the answer is lost.
            given.lock().clear();
        });
        Ok(Line { outgoing, waiting, reader })
    }
}

/// Takes a call off the list when its caller has gone.
struct Forget<'w> {
    waiting: &'w Waiting,
    number: u64,
}

impl Drop for Forget<'_> {
    fn drop(&mut self) {
        self.waiting.lock().remove(&self.number);
    }
}

/// Why a call has no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CallFailed {
    /// It had no effect.
    NotSent(Error),
    /// The connection broke: it may have arrived.
    Lost,
}

impl From<CallFailed> for Error {
    fn from(failed: CallFailed) -> Error {
        match failed {
            CallFailed::NotSent(error) => error,
            CallFailed::Lost => {
                Error::overloaded("ConnectionLost", "the connection broke before the answer came")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: RpcLimits = RpcLimits::DEFAULT;

    #[test]
    fn messages_of_any_size_come_together_again_whatever_comes_in_between() {
        let mut arriving = Arriving::new(&LIMITS);
        let large = Bytes::from(vec![7; 3 * LIMITS.piece_bytes_max + 1]);
        let mut parts = pieces(1, large.clone(), &LIMITS);
        assert_eq!(arriving.add(parts.next().unwrap()).unwrap(), None);
        for piece in pieces(2, Bytes::new(), &LIMITS) {
            assert_eq!(arriving.add(piece).unwrap(), Some((2, Bytes::new())));
        }
        let whole: Vec<_> = parts.filter_map(|piece| arriving.add(piece).unwrap()).collect();
        assert_eq!(whole, [(1, large)]);
        assert_eq!(arriving.bytes, 0);
    }

    #[test]
    fn calls_that_never_end_are_refused() {
        let mut arriving = Arriving::new(&LIMITS);
        let piece = |call| Piece { call, content: Bytes::from(vec![0; LIMITS.piece_bytes_max]), last: false };
        let refused = (0..).find_map(|call| arriving.add(piece(call)).err()).unwrap();
        assert_eq!(refused.code(), tonic::Code::ResourceExhausted);
    }
}
