//! Messages in pieces: cut, in turns, and put together again.

use std::{
    collections::{HashMap, VecDeque},
    mem,
    sync::Arc,
    task::Poll,
};

use crate::limits::RpcLimits;
use bytes::{Bytes, BytesMut};
use contract::{Error, ErrorKind, Result};
use futures::{Stream, StreamExt, stream};
use proto::common::v1::Piece;
use tokio::sync::OwnedSemaphorePermit;
use tonic::Status;

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
        Some(Piece { call, content: piece, last: done, ..Piece::default() })
    })
}

/// A call or an answer that is to be sent.
pub struct Outgoing {
    call: u64,
    content: Bytes,
    cancels: bool,
    traceparent: String,
    _kept: Vec<Arc<OwnedSemaphorePermit>>,
}

impl Outgoing {
    /// `kept` is given back once all of it is sent.
    pub fn new(call: u64, content: Bytes, kept: Vec<Arc<OwnedSemaphorePermit>>) -> Outgoing {
        Outgoing { call, content, cancels: false, traceparent: String::new(), _kept: kept }
    }

    /// As a part of that trace, if there is one.
    pub fn traced(self, traceparent: Option<String>) -> Outgoing {
        Outgoing { traceparent: traceparent.unwrap_or_default(), ..self }
    }

    /// That nobody waits for the answer any more.
    pub fn cancel(call: u64, kept: Vec<Arc<OwnedSemaphorePermit>>) -> Outgoing {
        Outgoing { cancels: true, ..Outgoing::new(call, Bytes::new(), kept) }
    }
}

/// Cuts what is to be sent into pieces that take turns, so that nothing large holds up something small.
pub fn in_turns<S>(outgoing: S, limits: &RpcLimits) -> impl Stream<Item = Result<Piece, Status>> + use<S>
where
    S: Stream<Item = Result<Outgoing, Status>>,
{
    let piece_bytes_max = limits.piece_bytes_max;
    let mut outgoing = Box::pin(outgoing.fuse());
    let mut turns: VecDeque<Outgoing> = VecDeque::new();
    stream::poll_fn(move |context| {
        let ended = match outgoing.as_mut().poll_next(context) {
            Poll::Ready(Some(Ok(next))) if next.cancels => {
                // What is left of the call is not sent.
                turns.retain(|turn| turn.call != next.call);
                turns.push_front(next);
                false
            }
            Poll::Ready(Some(Ok(next))) => {
                turns.push_back(next);
                false
            }
            Poll::Ready(Some(Err(status))) => {
                turns.clear();
                return Poll::Ready(Some(Err(status)));
            }
            Poll::Ready(None) => true,
            Poll::Pending => false,
        };
        let Some(mut turn) = turns.pop_front() else {
            return if ended { Poll::Ready(None) } else { Poll::Pending };
        };
        let content = turn.content.split_to(turn.content.len().min(piece_bytes_max));
        let last = turn.content.is_empty();
        let traceparent = if last { mem::take(&mut turn.traceparent) } else { String::new() };
        let piece = Piece { call: turn.call, content, last, cancelled: turn.cancels, traceparent };
        if !piece.last {
            turns.push_back(turn);
        }
        Poll::Ready(Some(Ok(piece)))
    })
}

/// Puts pieces together again.
pub struct Arriving {
    calls: HashMap<u64, Incomplete>,
    bytes: usize,
    bytes_max: usize,
    calls_max: usize,
}

enum Incomplete {
    Content(BytesMut),
    /// It was refused; the rest of it is passed over.
    Refused,
}

/// The content of a call, or why there is none though the others can go on.
pub type Arrived = Result<Bytes, TooLarge>;

/// A call would have had more bytes than there is room for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLarge {
    /// There is no room for it even if it comes alone.
    pub by_itself: bool,
    pub bytes_max: usize,
}

impl From<TooLarge> for Error {
    fn from(TooLarge { by_itself, bytes_max }: TooLarge) -> Error {
        if by_itself {
            let message = format!("a call to another node has more than {bytes_max} bytes");
            return Error::bad_request("CallTooLarge", message);
        }
        let message = format!("more than {bytes_max} bytes of incomplete calls");
        Error::new(ErrorKind::TooManyRequests, "CallsTooLarge", message)
    }
}

impl Arriving {
    pub fn new(limits: &RpcLimits) -> Arriving {
        Arriving {
            calls: HashMap::new(),
            bytes: 0,
            bytes_max: limits.calls_bytes_max,
            calls_max: limits.calls_in_flight_max,
        }
    }

    /// The call's number and what came of it, once that is known. Fails if the other side begins more calls than it may
    /// without ending one: then the stream can't go on.
    pub fn add(&mut self, piece: Piece) -> Result<Option<(u64, Arrived)>> {
        let Piece { call, content, last, .. } = piece;
        let arrived = match self.calls.get_mut(&call) {
            Some(Incomplete::Refused) => {
                if last {
                    self.calls.remove(&call);
                }
                return Ok(None);
            }
            Some(Incomplete::Content(known)) => known.len(),
            None => 0,
        };
        let by_itself = arrived.saturating_add(content.len()) > self.bytes_max;
        if by_itself || self.bytes.saturating_add(content.len()) > self.bytes_max {
            self.bytes -= arrived;
            self.calls.remove(&call);
            if !last {
                self.begin(call, Incomplete::Refused)?;
            }
            return Ok(Some((call, Err(TooLarge { by_itself, bytes_max: self.bytes_max }))));
        }
        match self.calls.get_mut(&call) {
            Some(Incomplete::Content(known)) => known.extend_from_slice(&content),
            _ if last => return Ok(Some((call, Ok(content)))),
            _ => self.begin(call, Incomplete::Content(BytesMut::from(&content[..])))?,
        }
        self.bytes += content.len();
        if !last {
            return Ok(None);
        }
        let whole = match self.calls.remove(&call) {
            Some(Incomplete::Content(whole)) => whole,
            _ => BytesMut::new(),
        };
        self.bytes -= whole.len();
        Ok(Some((call, Ok(whole.freeze()))))
    }

    /// What has come of a call so far is not wanted, and no more of it comes.
    pub fn forget(&mut self, call: u64) {
        if let Some(Incomplete::Content(known)) = self.calls.remove(&call) {
            self.bytes -= known.len();
        }
    }

    fn begin(&mut self, call: u64, incomplete: Incomplete) -> Result<()> {
        if self.calls.len() >= self.calls_max {
            let message = format!("more than {} incomplete calls", self.calls_max);
            return Err(Error::new(ErrorKind::TooManyRequests, "CallsTooLarge", message));
        }
        self.calls.insert(call, incomplete);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: RpcLimits = RpcLimits { piece_bytes_max: 10, calls_bytes_max: 100, ..RpcLimits::DEFAULT };

    fn piece(call: u64, bytes: usize, last: bool) -> Piece {
        Piece { call, content: Bytes::from(vec![7; bytes]), last, ..Piece::default() }
    }

    #[test]
    fn messages_of_any_size_come_together_again_whatever_comes_in_between() {
        let mut arriving = Arriving::new(&LIMITS);
        let large = Bytes::from(vec![7; 3 * LIMITS.piece_bytes_max + 1]);
        let mut parts = pieces(1, large.clone(), &LIMITS);
        assert_eq!(arriving.add(parts.next().unwrap()), Ok(None));
        for piece in pieces(2, Bytes::new(), &LIMITS) {
            assert_eq!(arriving.add(piece), Ok(Some((2, Ok(Bytes::new())))));
        }
        let whole: Vec<_> = parts.filter_map(|piece| arriving.add(piece).unwrap()).collect();
        assert_eq!(whole, [(1, Ok(large))]);
        assert_eq!((arriving.bytes, arriving.calls.len()), (0, 0));
    }

    #[test]
    fn a_call_that_is_too_large_fails_alone() {
        let mut arriving = Arriving::new(&LIMITS);
        assert_eq!(arriving.add(piece(1, 60, false)), Ok(None));
        assert_eq!(arriving.add(piece(2, 30, false)), Ok(None));
        // There would be room for it without the other.
        let beside = TooLarge { by_itself: false, bytes_max: 100 };
        assert_eq!(arriving.add(piece(2, 30, false)), Ok(Some((2, Err(beside)))));
        assert_eq!(arriving.add(piece(1, 40, false)), Ok(None));
        let alone = TooLarge { by_itself: true, bytes_max: 100 };
        assert_eq!(arriving.add(piece(3, 101, true)), Ok(Some((3, Err(alone)))));
        assert_eq!(arriving.add(piece(1, 1, false)), Ok(Some((1, Err(alone)))));
        // The rest of them is passed over, however much it is, and nothing is left.
        for call in [1, 2] {
            assert_eq!(arriving.add(piece(call, 1_000, false)), Ok(None));
            assert_eq!(arriving.add(piece(call, 1_000, true)), Ok(None));
        }
        assert_eq!((arriving.bytes, arriving.calls.len()), (0, 0));
        assert_eq!(arriving.add(piece(4, 100, true)), Ok(Some((4, Ok(vec![7; 100].into())))));
    }

    #[test]
    fn calls_that_never_end_are_refused_though_they_have_no_bytes() {
        let mut arriving = Arriving::new(&RpcLimits { calls_in_flight_max: 3, ..LIMITS });
        for call in 0..3 {
            assert_eq!(arriving.add(piece(call, 0, false)), Ok(None));
        }
        assert_eq!(&*arriving.add(piece(3, 0, false)).unwrap_err().code, "CallsTooLarge");
        assert_eq!(arriving.add(piece(4, 5, true)), Ok(Some((4, Ok(vec![7; 5].into())))));
        assert!(arriving.add(piece(2, 0, true)).unwrap().is_some());
        assert_eq!(arriving.add(piece(5, 0, false)), Ok(None), "one has ended");
    }

    #[tokio::test]
    async fn the_trace_of_a_call_comes_with_its_last_piece() {
        let call = Outgoing::new(1, Bytes::from(vec![7; 25]), Vec::new()).traced(Some("trace".to_owned()));
        let sent: Vec<_> = in_turns(stream::iter([Ok(call)]), &LIMITS).collect().await;
        let sent = sent.into_iter().map(|piece| piece.unwrap());
        let sent: Vec<_> = sent.map(|piece| (piece.last, piece.traceparent)).collect();
        assert_eq!(sent, [(false, String::new()), (false, String::new()), (true, "trace".to_owned())]);
    }

    #[tokio::test]
    async fn what_is_large_lets_what_is_small_pass() {
        let outgoing = |call, bytes| Ok(Outgoing::new(call, Bytes::from(vec![7; bytes]), Vec::new()));
        let calls = stream::iter([outgoing(1, 35), outgoing(2, 25), outgoing(3, 0)]);
        let pieces: Vec<_> = in_turns(calls, &LIMITS).map(|piece| piece.unwrap()).collect().await;
        let sent: Vec<_> = pieces.iter().map(|piece| (piece.call, piece.content.len(), piece.last)).collect();
        let turns = [
            (1, 10, false),
            (1, 10, false),
            (2, 10, false),
            (1, 10, false),
            (3, 0, true),
            (2, 10, false),
            (1, 5, true),
            (2, 5, true),
        ];
        assert_eq!(sent, turns);
    }
}
