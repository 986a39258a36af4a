//! Many calls over one pair of streams, in pieces.
//!
//! A unary call costs some 30 times what a message on an open stream does. Each call has a number; answers come in any
//! order. What has many bytes goes in pieces, so that the message limit is about pieces and not about calls; the pieces
//! of several calls take turns.
//!
//! Every call ends: with its answer, by its deadline, or because the line broke. What is too large fails alone. A caller that goes
//! away leaves nothing behind, and the other side, which is told, stops its work.

use std::{
    collections::HashMap,
    mem,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use crate::limits::RpcLimits;
use bytes::Bytes;
use contract::{Error, Result};
use futures::{
    Stream, StreamExt,
    future::{AbortHandle, AbortRegistration, Abortable, BoxFuture, ready},
    stream::BoxStream,
};
use parking_lot::Mutex;
use proto::common::v1::Piece;
use tokio::{
    runtime::Handle,
    sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot},
    task::JoinSet,
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Response, Status, Streaming};
use tracing::Instrument as _;

use crate::{
    errors,
    pieces::{Arrived, Arriving, Outgoing, TooLarge, in_turns},
    traces,
};

/// What a server sends on a stream: pieces of answers, where nothing else is said.
pub type Answers<T = Piece> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// Waits until so many bytes fit beside what else has room of `rooms`, which has `bytes_max` in all.
async fn room(rooms: &Arc<Semaphore>, bytes: usize, bytes_max: usize) -> Arc<OwnedSemaphorePermit> {
    let units = u32::try_from(bytes.min(bytes_max)).unwrap_or(u32::MAX);
    Arc::new(rooms.clone().acquire_many_owned(units).await.expect("rooms are never closed"))
}

/// The calls that are worked on.
#[derive(Default)]
struct AtWork {
    calls: Mutex<HashMap<u64, AbortHandle>>,
}

/// Work on a call, while it lasts.
struct Work {
    at_work: Arc<AtWork>,
    call: u64,
    registration: Option<AbortRegistration>,
}

impl AtWork {
    fn begin(self: &Arc<Self>, call: u64) -> Work {
        let (handle, registration) = AbortHandle::new_pair();
        self.calls.lock().insert(call, handle);
        Work { at_work: self.clone(), call, registration: Some(registration) }
    }

    fn cancel(&self, call: u64) {
        if let Some(handle) = self.calls.lock().remove(&call) {
            handle.abort();
        }
    }
}

impl Work {
    /// `None` if the call was cancelled meanwhile.
    async fn done<T>(mut self, work: impl Future<Output = T>) -> Option<T> {
        let registration = self.registration.take().expect("it is done once");
        Abortable::new(work, registration).await.ok()
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        self.at_work.calls.lock().remove(&self.call);
    }
}

/// Answers the calls of a stream, many at once. `work` has until the deadline; `encode` makes an answer of its result,
/// and of why there is none.
pub fn serve<S, W, A, T, E>(
    calls: S,
    limits: RpcLimits,
    work: W,
    encode: E,
) -> impl Stream<Item = Result<Piece, Status>> + Send + 'static
where
    S: Stream<Item = Result<Piece, Status>> + Send + 'static,
    W: Fn(Bytes) -> A + Send + Sync + 'static,
    A: Future<Output = Result<T>> + Send + 'static,
    T: Send + 'static,
    E: Fn(Result<T>) -> Bytes + Send + Sync + 'static,
{
    let bytes_max = limits.calls_bytes_max;
    let mut arriving = Arriving::new(&limits);
    let (rooms, leaving) = (Arc::new(Semaphore::new(bytes_max)), Arc::new(Semaphore::new(bytes_max)));
    let (work, encode) = (Arc::new(work), Arc::new(encode));
    let at_work: Arc<AtWork> = Arc::default();
    let cancels = at_work.clone();
    let answers = calls
        .filter_map(move |piece| {
            let arrived = piece.and_then(|mut piece| {
                if piece.cancelled {
                    arriving.forget(piece.call);
                    cancels.cancel(piece.call);
                    return Ok(None);
                }
                let traceparent = mem::take(&mut piece.traceparent);
                let arrived = arriving.add(piece).map_err(errors::to_status)?;
                Ok(arrived.map(|(call, content)| (call, content, traceparent)))
            });
            ready(arrived.transpose())
        })
        // Until there is room for it the stream is not read.
        .then(move |arrived| {
            let rooms = rooms.clone();
            async move {
                let (call, content, traceparent) = arrived?;
                let bytes = content.as_ref().map_or(0, Bytes::len);
                Ok::<_, Status>((call, content, traceparent, room(&rooms, bytes, bytes_max).await))
            }
        })
        .map(move |begun| {
            let (work, encode, leaving) = (work.clone(), encode.clone(), leaving.clone());
            // From here on it can be cancelled, though nobody has looked at it yet.
            let begun = begun.map(|(call, content, traceparent, room)| {
                (at_work.begin(call), call, content, traceparent, room)
            });
            async move {
                let (of_call, call, content, traceparent, at_work) = begun?;
                let answer = async {
                    let result = match content {
                        Ok(content) => {
                            let span = traces::span(telemetry::from_traceparent(&traceparent));
                            within(&limits, work(content).instrument(span)).await.unwrap_or_else(Err)
                        }
                        Err(too_large) => Err(too_large.into()),
                    };
                    drop(at_work);
                    let content = encode(result);
                    let leaving = room(&leaving, content.len(), bytes_max).await;
                    Outgoing::new(call, content, vec![leaving])
                };
                Ok::<_, Status>(of_call.done(answer).await)
            }
        })
        .buffer_unordered(limits.calls_in_flight_max)
        .filter_map(|answer| ready(answer.transpose()));
    in_turns(answers, &limits)
}

/// The future's output, or the error of a call whose deadline has passed.
pub async fn within<T>(limits: &RpcLimits, call: impl Future<Output = T>) -> Result<T> {
    let deadline = Duration::from_millis(limits.call_ms_max);
    tokio::time::timeout(deadline, call).await.map_err(|_| errors::timed_out())
}

/// The pieces of calls, as they go out. (A type of its own: the compiler does not see that a boxed stream lives long
/// enough to be given to a generated client.)
pub struct Calls(BoxStream<'static, Piece>);

impl Stream for Calls {
    type Item = Piece;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Piece>> {
        self.0.poll_next_unpin(context)
    }
}

/// Opens a pair of streams: the calls go in, the answers come out.
pub type Open = Box<dyn Fn(Calls) -> BoxFuture<'static, Opened> + Send + Sync>;
pub type Opened = Result<BoxStream<'static, Result<Piece, Status>>, Status>;

/// What a generated client gives, as [`Opened`].
pub fn opened(response: Result<Response<Streaming<Piece>>, Status>) -> Opened {
    Ok(response?.into_inner().boxed())
}

/// The callers' side of a pair of streams. It opens them when they are first needed, again when they broke, and others when they are
/// old: a connection that is to end does so only when no call is left on it.
pub struct Caller {
    open: Open,
    limits: RpcLimits,
    next: AtomicU64,
    /// For calls that wait for their answer or are not sent yet, though their callers may have gone.
    places: Arc<Semaphore>,
    /// For the bytes of calls that are not sent yet.
    leaving: Arc<Semaphore>,
    line: tokio::sync::Mutex<Option<Arc<Line>>>,
    /// Where answers are given out. Not on the runtime of the call that opens a line: that may be a thread which stops to run its
    /// tasks as soon as the call is over.
    runtime: Handle,
}

/// An open pair of streams; it ends when it is dropped.
struct Line {
    outgoing: mpsc::Sender<Outgoing>,
    waiting: Arc<Mutex<Waiting>>,
    /// One gives the answers out, one sees to it that the line grows old.
    _tasks: JoinSet<()>,
}

/// Who waits for an answer.
#[derive(Default)]
struct Waiting {
    calls: HashMap<u64, oneshot::Sender<Arrived>>,
    /// No answer comes any more. It is here, with the calls, so that none is added to a line that has closed.
    closed: bool,
    /// New calls go over another line; those on this one are still answered.
    old: bool,
}

impl Caller {
    /// Must be called in the runtime that answers are to be given out on.
    pub fn new(open: Open, limits: RpcLimits) -> Caller {
        Caller {
            open,
            limits,
            next: AtomicU64::new(1),
            places: Arc::new(Semaphore::new(limits.calls_in_flight_max)),
            leaving: Arc::new(Semaphore::new(limits.calls_bytes_max)),
            line: tokio::sync::Mutex::new(None),
            runtime: Handle::current(),
        }
    }

    /// Sends a call and waits for its answer, until the deadline.
    pub async fn call(&self, content: Bytes) -> Result<Bytes, CallFailed> {
        within(&self.limits, self.call_in_time(content)).await.unwrap_or(Err(CallFailed::TimedOut))
    }

    async fn call_in_time(&self, content: Bytes) -> Result<Bytes, CallFailed> {
        let bytes_max = self.limits.calls_bytes_max;
        if content.len() > bytes_max {
            return Err(CallFailed::NotSent(TooLarge { by_itself: true, bytes_max }.into()));
        }
        let place = self.places.clone().acquire_owned().await.expect("places are never closed");
        let place = Arc::new(place);
        let room = room(&self.leaving, content.len(), bytes_max).await;
        // A line may close at any time. One that has closed before the call was entered is opened again, once.
        for _ in 0..2 {
            let line = self.line().await.map_err(CallFailed::NotSent)?;
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            let Some(entry) = line.enter(number, &place) else { continue };
            // From here on the line sends all of it, or that the caller has gone.
            let outgoing = Outgoing::new(number, content, vec![place.clone(), room]);
            let outgoing = outgoing.traced(telemetry::traceparent());
            if line.outgoing.send(outgoing).await.is_err() {
                return Err(CallFailed::Lost);
            }
            return match entry.answer().await {
                Some(answer) => answer.map_err(CallFailed::AnswerTooLarge),
                None => Err(CallFailed::Lost),
            };
        }
        Err(CallFailed::NotSent(errors::unreachable("the connection closes as soon as it is opened")))
    }

    /// The open line, or another if it has closed or is old.
    async fn line(&self) -> Result<Arc<Line>> {
        let mut line = self.line.lock().await;
        match &*line {
            Some(open) if open.takes_calls() => Ok(open.clone()),
            _ => Ok(line.insert(Arc::new(self.connect().await?)).clone()),
        }
    }

    async fn connect(&self) -> Result<Line> {
        // There is a place for as many calls, and for that each of them is cancelled, so that none waits here.
        let (outgoing, calls) = mpsc::channel(self.limits.calls_in_flight_max.saturating_mul(2));
        let pieces = in_turns(ReceiverStream::new(calls).map(Ok), &self.limits);
        let pieces = pieces.filter_map(|piece| ready(piece.ok())).boxed();
        let answers = (self.open)(Calls(pieces)).await.map_err(errors::from_status)?;
        let waiting = Arc::new(Mutex::new(Waiting::default()));
        let mut tasks = JoinSet::new();
        let giving_out = give_out(answers, Arriving::new(&self.limits), waiting.clone());
        tasks.spawn_on(giving_out, &self.runtime);
        let (growing_old, life) = (waiting.clone(), Duration::from_millis(self.limits.line_ms_max));
        let growing_old = async move {
            tokio::time::sleep(life).await;
            growing_old.lock().old = true;
        };
        tasks.spawn_on(growing_old, &self.runtime);
        Ok(Line { outgoing, waiting, _tasks: tasks })
    }
}

impl Line {
    fn takes_calls(&self) -> bool {
        let waiting = self.waiting.lock();
        !waiting.closed && !waiting.old && !self.outgoing.is_closed()
    }

    /// Lets a call wait for its answer, unless none comes any more.
    fn enter(&self, number: u64, place: &Arc<OwnedSemaphorePermit>) -> Option<Entry<'_>> {
        let (answered, answer) = oneshot::channel();
        let mut waiting = self.waiting.lock();
        if waiting.closed {
            return None;
        }
        waiting.calls.insert(number, answered);
        Some(Entry { line: self, number, answer, place: Some(place.clone()) })
    }
}

/// Gives the answers of a line out until it breaks. Whoever still waits then learns that the answer is lost.
async fn give_out(
    mut answers: BoxStream<'static, Result<Piece, Status>>,
    mut arriving: Arriving,
    waiting: Arc<Mutex<Waiting>>,
) {
    let why = loop {
        let piece = match answers.next().await {
            Some(Ok(piece)) => piece,
            Some(Err(status)) => break errors::from_status(status).to_string(),
            None => break "the other side has ended it".to_owned(),
        };
        match arriving.add(piece) {
            Ok(Some((call, answer))) => {
                let waiting = waiting.lock().calls.remove(&call);
                // Whoever called may have gone.
                let _ = waiting.map(|waiting| waiting.send(answer));
            }
            Ok(None) => {}
            Err(error) => break error.to_string(),
        }
    };
    let mut waiting = waiting.lock();
    waiting.closed = true;
    tracing::debug!(calls_lost = waiting.calls.len(), "a stream of calls is closed: {why}");
    waiting.calls.clear();
}

/// A call on the list of those that wait; dropped, it is taken off, and the other side is told if it has not answered.
struct Entry<'l> {
    line: &'l Line,
    number: u64,
    answer: oneshot::Receiver<Arrived>,
    /// Kept until the other side is told, so that no more can be on their way than there is room for.
    place: Option<Arc<OwnedSemaphorePermit>>,
}

impl Entry<'_> {
    /// `None` if the line broke.
    async fn answer(mut self) -> Option<Arrived> {
        let answer = (&mut self.answer).await.ok();
        self.place = None;
        answer
    }
}

impl Drop for Entry<'_> {
    fn drop(&mut self) {
        self.line.waiting.lock().calls.remove(&self.number);
        if let Some(place) = self.place.take() {
            // A line that has closed tells the other side by that.
            let _ = self.line.outgoing.try_send(Outgoing::cancel(self.number, vec![place]));
        }
    }
}

/// Why a call has no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CallFailed {
    /// It had no effect.
    NotSent(Error),
    /// The connection broke: it may have arrived.
    Lost,
    /// Its deadline has passed: it may have arrived.
    TimedOut,
    /// It was answered, and with more than may be taken.
    AnswerTooLarge(TooLarge),
}

impl From<CallFailed> for Error {
    fn from(failed: CallFailed) -> Error {
        match failed {
            CallFailed::NotSent(error) => error,
            CallFailed::Lost => errors::lost(),
            CallFailed::TimedOut => errors::timed_out(),
            CallFailed::AnswerTooLarge(TooLarge { bytes_max, .. }) => {
                errors::answer_not_understood(&format!("it has more than {bytes_max} bytes"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pieces;

    const LIMITS: RpcLimits = RpcLimits { piece_bytes_max: 10, calls_bytes_max: 100, ..RpcLimits::DEFAULT };
    /// No event of a test takes longer, unless it never comes.
    const PATIENCE: Duration = Duration::from_secs(120);

    /// The other side of one line: what was sent, and what it answers.
    struct Peer {
        sent: Calls,
        answers: mpsc::UnboundedSender<Result<Piece, Status>>,
    }

    impl Peer {
        async fn piece(&mut self) -> Piece {
            in_time(self.sent.next()).await.expect("the line is open")
        }

        fn answer(&self, call: u64, bytes: usize) {
            for piece in pieces::pieces(call, vec![7; bytes].into(), &LIMITS) {
                self.answers.send(Ok(piece)).expect("the line is open");
            }
        }
    }

    async fn in_time<T>(future: impl Future<Output = T>) -> T {
        tokio::time::timeout(PATIENCE, future).await.expect("it happens")
    }

    /// A caller, and the other sides of the lines that it opens.
    fn caller(limits: RpcLimits) -> (Arc<Caller>, mpsc::UnboundedReceiver<Peer>) {
        let (peers, opened) = mpsc::unbounded_channel();
        let open = move |sent| -> BoxFuture<'static, Opened> {
            let (answers, arriving) = mpsc::unbounded_channel();
            // Nobody may care for the other side.
            let _ = peers.send(Peer { sent, answers });
            Box::pin(ready(Ok(tokio_stream::wrappers::UnboundedReceiverStream::new(arriving).boxed())))
        };
        (Arc::new(Caller::new(Box::new(open), limits)), opened)
    }

    fn call(caller: &Arc<Caller>, bytes: usize) -> tokio::task::JoinHandle<Result<Bytes, CallFailed>> {
        let caller = caller.clone();
        tokio::spawn(async move { caller.call(vec![1; bytes].into()).await })
    }

    #[tokio::test]
    async fn each_call_gets_its_own_answer_in_whatever_order_they_come() {
        let (caller, mut peers) = caller(LIMITS);
        let (one, two) = (call(&caller, 1), call(&caller, 2));
        let mut peer = in_time(peers.recv()).await.unwrap();
        let sent = [peer.piece().await, peer.piece().await];
        for piece in sent.iter().rev() {
            peer.answer(piece.call, piece.content.len() + 30);
        }
        assert_eq!(in_time(one).await.unwrap().unwrap().len(), 31);
        assert_eq!(in_time(two).await.unwrap().unwrap().len(), 32);
    }

    #[tokio::test]
    async fn a_call_that_comes_to_a_line_which_has_just_closed_goes_over_another() {
        let (caller, mut peers) = caller(LIMITS);
        // The two steps of a call, and the line breaks in between.
        let line = caller.line().await.unwrap();
        drop(in_time(peers.recv()).await.unwrap());
        in_time(async {
            while !line.waiting.lock().closed {
                tokio::task::yield_now().await;
            }
        })
        .await;
        let place = Arc::new(caller.places.clone().acquire_owned().await.unwrap());
        assert!(line.enter(1, &place).is_none(), "nobody would ever answer it");
        drop(place);
        let call = call(&caller, 1);
        let mut peer = in_time(peers.recv()).await.unwrap();
        let number = peer.piece().await.call;
        peer.answer(number, 5);
        assert_eq!(in_time(call).await.unwrap().unwrap().len(), 5);
    }

    #[tokio::test]
    async fn a_line_answers_whoever_calls_also_when_the_thread_that_opened_it_runs_no_tasks() {
        let (caller, mut peers) = caller(LIMITS);
        let opening = caller.clone();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
            runtime.block_on(opening.line()).unwrap();
            runtime
        });
        let at_rest = thread.join().expect("no panic");
        let mut peer = in_time(peers.recv()).await.unwrap();
        let call = call(&caller, 1);
        let number = peer.piece().await.call;
        peer.answer(number, 5);
        assert_eq!(in_time(call).await.unwrap().unwrap().len(), 5);
        at_rest.shutdown_background();
    }

    #[tokio::test]
    async fn new_calls_leave_a_line_that_is_old_and_those_on_it_are_answered() {
        let (caller, mut peers) = caller(RpcLimits { line_ms_max: 5, ..LIMITS });
        let under_way = call(&caller, 1);
        let mut old = in_time(peers.recv()).await.unwrap();
        let number = old.piece().await.call;
        let (new, mut sent) = in_time(async {
            loop {
                let new = call(&caller, 2);
                tokio::select! {
                    sent = peers.recv() => return (new, sent.unwrap()),
                    piece = old.sent.next() => old.answer(piece.expect("it is open").call, 1),
                }
                assert!(new.await.unwrap().is_ok());
            }
        })
        .await;
        let later = sent.piece().await.call;
        old.answer(number, 10);
        assert_eq!(in_time(under_way).await.unwrap().unwrap().len(), 10);
        // It ends when nobody waits on it any more.
        assert!(in_time(old.sent.next()).await.is_none());
        sent.answer(later, 20);
        assert_eq!(in_time(new).await.unwrap().unwrap().len(), 20);
    }

    #[tokio::test]
    async fn a_line_that_always_closes_is_not_opened_for_ever() {
        let open =
            |_| -> BoxFuture<'static, Opened> { Box::pin(async { Ok(futures::stream::empty().boxed()) }) };
        let caller = Arc::new(Caller::new(Box::new(open), LIMITS));
        // Either the line was seen to close in time, or the call was on it.
        let failed = in_time(call(&caller, 1)).await.unwrap().unwrap_err();
        assert!(matches!(failed, CallFailed::NotSent(_) | CallFailed::Lost), "{failed:?}");
    }

    #[tokio::test]
    async fn whoever_waits_on_a_line_that_breaks_hears_of_it() {
        for breaks in [false, true] {
            let (caller, mut peers) = caller(LIMITS);
            let call = call(&caller, 1);
            let mut peer = in_time(peers.recv()).await.unwrap();
            peer.piece().await;
            if breaks {
                peer.answers.send(Err(Status::unavailable("broken pipe"))).unwrap();
            } else {
                drop(peer);
            }
            assert_eq!(in_time(call).await.unwrap(), Err(CallFailed::Lost));
        }
    }

    #[tokio::test]
    async fn a_call_that_is_never_answered_ends_by_its_deadline_and_leaves_nothing() {
        let (caller, mut peers) = caller(RpcLimits { call_ms_max: 5, ..LIMITS });
        let failed = in_time(call(&caller, 95)).await.unwrap();
        assert_eq!(failed, Err(CallFailed::TimedOut));
        let line = caller.line().await.unwrap();
        assert_eq!(line.waiting.lock().calls.len(), 0);
        // Its bytes and its place are free once the other side is told, which does not wait for the rest then.
        let mut peer = in_time(peers.recv()).await.unwrap();
        while !peer.piece().await.cancelled {}
        assert_eq!(caller.leaving.available_permits(), LIMITS.calls_bytes_max);
        assert_eq!(caller.places.available_permits(), LIMITS.calls_in_flight_max);
    }

    #[tokio::test]
    async fn a_line_that_is_never_opened_holds_nobody_for_ever() {
        let open = |_| -> BoxFuture<'static, Opened> { Box::pin(std::future::pending()) };
        let caller = Arc::new(Caller::new(Box::new(open), RpcLimits { call_ms_max: 5, ..LIMITS }));
        for call in [call(&caller, 1), call(&caller, 1)] {
            assert_eq!(in_time(call).await.unwrap(), Err(CallFailed::TimedOut));
        }
    }

    #[tokio::test]
    async fn a_caller_that_goes_away_leaves_nothing_and_the_other_side_is_told() {
        let (caller, mut peers) = caller(LIMITS);
        let (gone, stays) = (call(&caller, 50), call(&caller, 45));
        let mut peer = in_time(peers.recv()).await.unwrap();
        let mut sent = HashMap::from([(peer.piece().await.call, 10)]);
        gone.abort();
        assert!(in_time(gone).await.unwrap_err().is_cancelled());
        let mut cancelled = None;
        let mut is_whole = false;
        while cancelled.is_none() || !is_whole {
            let piece = peer.piece().await;
            assert_ne!(Some(piece.call), cancelled, "nothing of it comes behind");
            if piece.cancelled {
                assert!(piece.content.is_empty());
                cancelled = Some(piece.call);
                continue;
            }
            *sent.entry(piece.call).or_insert(0) += piece.content.len();
            is_whole |= piece.last && sent[&piece.call] == 45;
        }
        assert!(sent.remove(&cancelled.unwrap()).is_none_or(|bytes| bytes < 50));
        assert_eq!(sent.into_values().collect::<Vec<_>>(), [45]);
        let line = caller.line().await.unwrap();
        assert_eq!(line.waiting.lock().calls.len(), 1);
        assert_eq!(caller.places.available_permits(), LIMITS.calls_in_flight_max - 1);
        assert_eq!(caller.leaving.available_permits(), LIMITS.calls_bytes_max);
        drop(peer);
        assert_eq!(in_time(stays).await.unwrap(), Err(CallFailed::Lost));
    }

    #[tokio::test]
    async fn work_on_a_call_that_is_cancelled_ends_and_is_not_answered() {
        struct Ends(mpsc::UnboundedSender<()>);
        impl Drop for Ends {
            fn drop(&mut self) {
                let _ = self.0.send(());
            }
        }
        let (ended, mut ends) = mpsc::unbounded_channel();
        let (begun, mut begins) = mpsc::unbounded_channel();
        let work = move |content: Bytes| {
            let (ends, begun) = (Ends(ended.clone()), begun.clone());
            async move {
                let _ends = ends;
                begun.send(()).expect("the test waits");
                if content[0] == 1 {
                    std::future::pending::<()>().await;
                }
                Ok(content)
            }
        };
        let (calls, sent) = mpsc::unbounded_channel();
        let sent = tokio_stream::wrappers::UnboundedReceiverStream::new(sent);
        let answers = serve(sent, LIMITS, work, |result: Result<Bytes>| result.expect("it is echoed"));
        let mut answers = std::pin::pin!(answers);
        let call = |call, content| Piece {
            call,
            content: Bytes::from_static(content),
            last: true,
            ..Piece::default()
        };
        let cancel = |call| Piece { call, cancelled: true, last: true, ..Piece::default() };
        calls.send(Ok(call(1, b"\x01"))).unwrap();
        assert!(futures::poll!(answers.next()).is_pending());
        in_time(begins.recv()).await.unwrap();
        // One that is under way, one that is over or never was, and one of which only a part has come.
        for cancelled in [cancel(1), cancel(7), Piece { last: false, ..call(3, b"half") }, cancel(3)] {
            calls.send(Ok(cancelled)).unwrap();
        }
        assert!(futures::poll!(answers.next()).is_pending());
        in_time(ends.recv()).await.unwrap();
        calls.send(Ok(call(2, b"\x02"))).unwrap();
        let answer = in_time(answers.next()).await.unwrap().unwrap();
        assert_eq!((answer.call, &answer.content[..]), (2, &b"\x02"[..]));
        drop(calls);
        assert!(in_time(answers.next()).await.is_none());
    }

    #[tokio::test]
    async fn callers_wait_until_there_is_room_for_their_bytes() {
        let (caller, mut peers) = caller(LIMITS);
        let calls = [call(&caller, 60), call(&caller, 60), call(&caller, 100)];
        let mut peer = in_time(peers.recv()).await.unwrap();
        for bytes in [60, 60, 100] {
            let mut sent = 0;
            let number = loop {
                let piece = peer.piece().await;
                sent += piece.content.len();
                if piece.last {
                    break piece.call;
                }
            };
            // Had they been sent together, they would have taken turns.
            assert_eq!(sent, bytes);
            peer.answer(number, 1);
        }
        for call in calls {
            assert!(in_time(call).await.unwrap().is_ok());
        }
        let refused = in_time(call(&caller, 101)).await.unwrap().unwrap_err();
        assert!(matches!(refused, CallFailed::NotSent(error) if error.code == "CallTooLarge"));
    }

    #[tokio::test]
    async fn an_answer_that_is_too_large_fails_its_call_alone() {
        let (caller, mut peers) = caller(LIMITS);
        let (one, two) = (call(&caller, 1), call(&caller, 2));
        let mut peer = in_time(peers.recv()).await.unwrap();
        for piece in [peer.piece().await, peer.piece().await] {
            peer.answer(piece.call, if piece.content.len() == 1 { 300 } else { 100 });
        }
        let failed = in_time(one).await.unwrap().unwrap_err();
        assert!(matches!(failed, CallFailed::AnswerTooLarge(_)), "{failed:?}");
        assert_eq!(Error::from(failed).code, "AnswerNotUnderstood");
        assert_eq!(in_time(two).await.unwrap().unwrap().len(), 100);
    }

    /// The answers to some calls, by number: `work`'s bytes, or the code of why there is none.
    async fn answers<A>(limits: RpcLimits, calls: Vec<Piece>, work: fn(Bytes) -> A) -> HashMap<u64, Bytes>
    where
        A: Future<Output = Result<Bytes>> + Send + 'static,
    {
        let calls = futures::stream::iter(calls.into_iter().map(Ok));
        let encode = |result: Result<Bytes>| {
            result.unwrap_or_else(|error| Bytes::copy_from_slice(error.code.as_bytes()))
        };
        let answers = serve(calls, limits, work, encode);
        let mut arriving = Arriving::new(&LIMITS);
        let whole =
            answers.filter_map(|piece| ready(arriving.add(piece.expect("the stream goes on")).unwrap()));
        in_time(whole.map(|(call, answer)| (call, answer.expect("small"))).collect()).await
    }

    #[tokio::test]
    async fn a_call_that_is_too_large_is_refused_and_the_others_are_answered() {
        let mut calls: Vec<_> = pieces::pieces(1, vec![1; 150].into(), &LIMITS).collect();
        calls.extend(pieces::pieces(2, vec![2; 15].into(), &LIMITS));
        let answers = answers(LIMITS, calls, |content| async { Ok(content) }).await;
        assert_eq!(answers[&1], "CallTooLarge");
        assert_eq!(answers[&2], vec![2; 15]);
    }

    #[tokio::test]
    async fn work_that_never_ends_is_answered_at_its_deadline() {
        let calls = pieces::pieces(1, Bytes::new(), &LIMITS).collect();
        let limits = RpcLimits { call_ms_max: 5, ..LIMITS };
        let answers = answers(limits, calls, |_| std::future::pending()).await;
        assert_eq!(answers[&1], "CallTimedOut");
    }

    #[tokio::test]
    async fn no_more_bytes_are_worked_on_than_there_is_room_for() {
        static AT_WORK: AtomicU64 = AtomicU64::new(0);
        let calls = (0..20).flat_map(|call| pieces::pieces(call, vec![0; 40].into(), &LIMITS)).collect();
        let work = |content: Bytes| async move {
            let bytes = AT_WORK.fetch_add(content.len() as u64, Ordering::SeqCst) + content.len() as u64;
            assert!(bytes <= LIMITS.calls_bytes_max as u64, "{bytes} bytes at once");
            tokio::task::yield_now().await;
            AT_WORK.fetch_sub(content.len() as u64, Ordering::SeqCst);
            Ok(Bytes::new())
        };
        assert_eq!(answers(LIMITS, calls, work).await.len(), 20);
    }
}
