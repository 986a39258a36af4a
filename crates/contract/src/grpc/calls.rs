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

use bytes::{Bytes, BytesMut};
use futures::{Stream, StreamExt, future::BoxFuture, stream};
use parking_lot::Mutex;
use proto::common::v1::Piece;
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinSet,
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Response, Status, Streaming};

use crate::{Error, Result};

/// Content of one piece: well below the message limit, large enough that few calls need two.
const PIECE_BYTES_MAX: usize = 256 * limits::KIB;
/// Calls of one stream that are worked on at once.
const CALLS_AT_ONCE_MAX: usize = 1_024;
/// Pieces that wait to be sent; over it callers wait.
const PIECES_QUEUED_MAX: usize = 256;
/// Bytes of all calls of one stream that have begun to arrive and are not complete.
const ARRIVING_BYTES_MAX: usize = 64 * limits::MIB;

/// Cuts a message into pieces.
pub fn pieces(call: u64, mut content: Bytes) -> impl Iterator<Item = Piece> {
    let mut done = false;
    std::iter::from_fn(move || {
        if done {
            return None;
        }
        let piece = content.split_to(content.len().min(PIECE_BYTES_MAX));
        done = content.is_empty();
        Some(Piece { call, content: piece, last: done })
    })
}

/// Puts pieces together again.
#[derive(Default)]
pub struct Arriving {
    calls: HashMap<u64, BytesMut>,
    bytes: usize,
}

impl Arriving {
    /// The call's number and content, once its last piece is there.
    pub fn add(&mut self, piece: Piece) -> Result<Option<(u64, Bytes)>, Status> {
        if piece.last && !self.calls.contains_key(&piece.call) {
            return Ok(Some((piece.call, piece.content)));
        }
        self.bytes += piece.content.len();
        if self.bytes > ARRIVING_BYTES_MAX {
            let message = format!("more than {ARRIVING_BYTES_MAX} bytes of incomplete calls");
            return Err(Error::new(crate::ErrorKind::TooManyRequests, "CallsTooLarge", message).into());
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
pub fn serve<S, F, A>(calls: S, answer: F) -> impl Stream<Item = Result<Piece, Status>> + Send + 'static
where
    S: Stream<Item = Result<Piece, Status>> + Send + 'static,
    F: Fn(Bytes) -> A + Send + Sync + 'static,
    A: Future<Output = Bytes> + Send + 'static,
{
    let mut arriving = Arriving::default();
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
        .buffer_unordered(CALLS_AT_ONCE_MAX)
        .flat_map(|answered| match answered {
            Ok((call, content)) => stream::iter(pieces(call, content).map(Ok)).left_stream(),
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
    pub fn new(open: Open) -> Caller {
        Caller { open, next: AtomicU64::new(1), line: tokio::sync::Mutex::new(None) }
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
        for piece in pieces(number, content) {
            if outgoing.send(piece).await.is_err() {
                return Err(CallFailed::Lost);
            }
        }
        let answer = answer.await.map_err(|_| CallFailed::Lost);
        drop(guard);
        answer
    }

    async fn connect(&self) -> Result<Line, Error> {
        let (outgoing, pieces) = mpsc::channel(PIECES_QUEUED_MAX);
        let mut answers = (self.open)(ReceiverStream::new(pieces)).await?.into_inner();
        let waiting = Waiting::default();
        let mut reader = JoinSet::new();
        let given = waiting.clone();
        reader.spawn(async move {
            let mut arriving = Arriving::default();
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

    #[test]
    fn messages_of_any_size_come_together_again_whatever_comes_in_between() {
        let mut arriving = Arriving::default();
        let large = Bytes::from(vec![7; 3 * PIECE_BYTES_MAX + 1]);
        let mut parts = pieces(1, large.clone());
        assert_eq!(arriving.add(parts.next().unwrap()).unwrap(), None);
        for piece in pieces(2, Bytes::new()) {
            assert_eq!(arriving.add(piece).unwrap(), Some((2, Bytes::new())));
        }
        let whole: Vec<_> = parts.filter_map(|piece| arriving.add(piece).unwrap()).collect();
        assert_eq!(whole, [(1, large)]);
        assert_eq!(arriving.bytes, 0);
    }

    #[test]
    fn calls_that_never_end_are_refused() {
        let mut arriving = Arriving::default();
        let piece = |call| Piece { call, content: Bytes::from(vec![0; PIECE_BYTES_MAX]), last: false };
        let refused = (0..).find_map(|call| arriving.add(piece(call)).err()).unwrap();
        assert_eq!(refused.code(), tonic::Code::ResourceExhausted);
    }
}
