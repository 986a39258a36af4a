//! Exchanges over a pair of streams: a head and a body each way, the bodies part by part.
//!
//! ```text
//!   client   head ──────►            ──► part ─────►            ──► part ──► end
//!   server         ◄── more (a part is wanted) ◄── more … ◄──            ◄── head ◄── part … ◄── end
//! ```
//!
//! A part is sent only after the other side has asked for it, and that asks only when somebody waits for it. So a reader that is slow
//! leaves nothing unread in the connection, which others share, and neither side keeps more than a part. Either side can go at any
//! time: the body that was to come ends with an error then, and is never taken for complete.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use contract::{Error, HttpBody, Result};
use futures::{
    FutureExt as _, Stream, StreamExt as _,
    future::{pending, ready},
    stream::{self, BoxStream},
};
use parking_lot::Mutex;
use proto::common::v1::{Nothing, Transfer, transfer::Kind};
use tokio::{
    runtime::Handle,
    sync::{mpsc, oneshot},
    task::JoinSet,
};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::{Response, Status, Streaming};

use crate::{calls::within, convert::Malformed, errors, limits::RpcLimits};

/// The bytes of a body, in their order. One that ends with an error is not complete.
pub type Body = HttpBody;

/// What goes one way.
pub struct Content {
    pub head: Bytes,
    pub body: Option<Body>,
}

/// What the other side has sent: its head, and the body behind it.
pub type Received = Result<(Bytes, Body)>;

/// What a future sends while it runs. Dropped, it ends.
pub fn sent_by<T, F>(run: impl FnOnce(mpsc::Sender<T>) -> F) -> impl Stream<Item = T> + Send + 'static
where
    T: Send + 'static,
    F: Future<Output = ()> + Send + 'static,
{
    let (sender, sent) = mpsc::channel(1);
    let running = run(sender).into_stream().filter_map(|()| ready(None));
    stream::select(ReceiverStream::new(sent), running)
}

/// A stream that is given to a generated client. (A type of its own: the compiler does not see that a boxed stream lives long
/// enough.)
pub struct Sent<T>(BoxStream<'static, T>);

impl<T> Stream for Sent<T> {
    type Item = T;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<T>> {
        self.0.poll_next_unpin(context)
    }
}

impl<T: Send + 'static> Sent<T> {
    /// The stream, which ends when the guard is dropped: the library goes on with it after the answers are dropped.
    pub fn until_dropped(stream: impl Stream<Item = T> + Send + 'static) -> (Sent<T>, DropGuard) {
        let ends = CancellationToken::new();
        let stream = stream.take_until(ends.clone().cancelled_owned());
        (Sent(stream.boxed()), ends.drop_guard())
    }
}

/// The tasks behind a client's streams. They end with it.
pub struct Pumps {
    tasks: Mutex<JoinSet<()>>,
    /// Not that of whoever opens a stream: it may be a thread that stops to run its tasks while the stream goes on.
    runtime: Handle,
}

impl Pumps {
    /// Must be called in the runtime that the tasks are to run on.
    pub fn new() -> Pumps {
        Pumps { tasks: Mutex::default(), runtime: Handle::current() }
    }

    pub fn spawn(&self, pump: impl Future<Output = ()> + Send + 'static) {
        let mut tasks = self.tasks.lock();
        while let Some(ended) = tasks.try_join_next() {
            if let Err(error) = ended
                && error.is_panic()
            {
                std::panic::resume_unwind(error.into_panic());
            }
        }
        tasks.spawn_on(pump, &self.runtime);
    }
}

/// A step of a body that arrives.
enum Arrived {
    Part(Bytes),
    End,
    Failed(Error),
}

/// The inner side of a body that arrives.
struct Inbox {
    /// A part is waited for.
    wanted: mpsc::Receiver<()>,
    arrived: mpsc::Sender<Arrived>,
}

/// The body did not come to its end.
fn cut_off() -> Error {
    errors::not_again(errors::lost())
}

fn arriving_body() -> (Body, Inbox) {
    let (want, wanted) = mpsc::channel(1);
    let (sender, arrived) = mpsc::channel(1);
    let body = stream::unfold(Some((want, arrived)), |ends| async {
        let (want, mut arrived) = ends?;
        // Whoever would ask for it may be gone; then something has arrived before, or nothing will.
        let _ = want.send(()).await;
        match arrived.recv().await {
            Some(Arrived::Part(part)) => Some((Ok(part), Some((want, arrived)))),
            Some(Arrived::End) => None,
            Some(Arrived::Failed(error)) => Some((Err(error), None)),
            None => Some((Err(cut_off()), None)),
        }
    });
    (Box::pin(body), Inbox { wanted, arrived: sender })
}

fn message(kind: Kind) -> Transfer {
    Transfer { kind: Some(kind) }
}

/// Asks the other side for a part whenever one is waited for. Ends when the body is not wanted any more, or the exchange is over.
async fn ask(mut wanted: mpsc::Receiver<()>, out: &mpsc::Sender<Transfer>) {
    while wanted.recv().await.is_some() {
        if out.send(message(Kind::More(Nothing {}))).await.is_err() {
            return;
        }
    }
}

/// Sends a body, a part each time that one is wanted.
async fn send_body(
    mut body: Body,
    mut wanted: mpsc::Receiver<()>,
    out: &mpsc::Sender<Transfer>,
    limits: &RpcLimits,
) {
    let mut rest = Bytes::new();
    while wanted.recv().await.is_some() {
        while rest.is_empty() {
            let end = match body.next().await {
                Some(Ok(bytes)) => {
                    rest = bytes;
                    continue;
                }
                Some(Err(error)) => Kind::Failed(errors::to_wire(error)),
                None => Kind::End(Nothing {}),
            };
            let _ = out.send(message(end)).await;
            return;
        }
        let part = rest.split_to(rest.len().min(limits.piece_bytes_max));
        if out.send(message(Kind::Part(part))).await.is_err() {
            return;
        }
    }
}

/// Gives what the other side sends to whoever waits for it, until there is no more. What it does not give is lost.
async fn take(
    mut incoming: impl Stream<Item = Result<Transfer, Status>> + Unpin,
    begun: oneshot::Sender<Received>,
    body: Body,
    arrived: mpsc::Sender<Arrived>,
    wanted: mpsc::Sender<()>,
) {
    let mut waits = Some((begun, body));
    loop {
        let failed = match incoming.next().await {
            None => return,
            Some(Err(status)) => errors::of_begun(status),
            Some(Ok(Transfer { kind })) => match kind {
                Some(Kind::Head(head)) if waits.is_some() => {
                    let (begun, body) = waits.take().expect("it is there");
                    // Who waited may have gone; then the body is dropped, too.
                    let _ = begun.send(Ok((head, body)));
                    continue;
                }
                Some(Kind::Part(part)) if waits.is_none() => {
                    let _ = arrived.send(Arrived::Part(part)).await;
                    continue;
                }
                Some(Kind::End(_)) if waits.is_none() => {
                    let _ = arrived.send(Arrived::End).await;
                    continue;
                }
                Some(Kind::More(_)) => {
                    // One is enough: nobody asks for the next part before the last has come.
                    let _ = wanted.try_send(());
                    continue;
                }
                Some(Kind::Failed(error)) => errors::from_wire(error),
                _ => Malformed::new("a step of an exchange is out of turn, or not known").answer(),
            },
        };
        match waits {
            Some((begun, _)) => drop(begun.send(Err(failed))),
            None => drop(arrived.send(Arrived::Failed(errors::not_again(failed))).await),
        }
        return;
    }
}

/// Serves an exchange: `handle` is given what the client has sent, and makes the answer of it. All of it ends when the client goes.
pub fn served<H, A>(
    incoming: Streaming<Transfer>,
    limits: RpcLimits,
    handle: H,
) -> impl Stream<Item = Result<Transfer, Status>> + Send + 'static
where
    H: FnOnce(Bytes, Body) -> A + Send + 'static,
    A: Future<Output = Result<Content>> + Send + 'static,
{
    sent_by(move |out: mpsc::Sender<Transfer>| async move {
        let (begun, begins) = oneshot::channel();
        let (body, Inbox { wanted, arrived }) = arriving_body();
        let (wanted_here, wants) = mpsc::channel(1);
        // The client may have said all that it has to say, and waits for the answer.
        let taking = take(incoming, begun, body, arrived, wanted_here).then(|()| pending::<()>());
        let answering = async {
            let received = match within(&limits, begins).await {
                Ok(Ok(received)) => received,
                Ok(Err(_)) => Err(errors::lost()),
                Err(late) => Err(late),
            };
            let answer = match received {
                Ok((head, body)) => handle(head, body).await,
                Err(error) => Err(error),
            };
            match answer {
                Ok(Content { head, body }) => {
                    if out.send(message(Kind::Head(head))).await.is_ok()
                        && let Some(body) = body
                    {
                        send_body(body, wants, &out, &limits).await;
                    }
                }
                Err(error) => drop(out.send(message(Kind::Failed(errors::to_wire(error)))).await),
            }
        };
        tokio::select! {
            () = answering => {}
            () = taking => {}
            () = ask(wanted, &out).then(|()| pending()) => {}
        }
    })
    .map(Ok)
}

/// Begins an exchange. What is given back resolves to what the other side answers; dropped, it ends the exchange, as the body of the
/// answer does.
pub async fn exchange<F>(
    pumps: &Pumps,
    limits: &RpcLimits,
    open: impl FnOnce(Sent<Transfer>) -> F,
    content: Content,
) -> Result<oneshot::Receiver<Received>>
where
    F: Future<Output = Result<Response<Streaming<Transfer>>, Status>>,
{
    let (out, outgoing) = mpsc::channel(1);
    out.try_send(message(Kind::Head(content.head))).expect("there is room for one");
    let (sent, guard) = Sent::until_dropped(ReceiverStream::new(outgoing));
    let incoming = within(limits, open(sent)).await?.map_err(errors::of_begun)?.into_inner();
    let (answer, answered) = oneshot::channel();
    pumps.spawn(pump(incoming, out, guard, content.body, answer, *limits));
    Ok(answered)
}

async fn pump(
    incoming: Streaming<Transfer>,
    out: mpsc::Sender<Transfer>,
    _ends_the_requests: DropGuard,
    body: Option<Body>,
    answer: oneshot::Sender<Received>,
    limits: RpcLimits,
) {
    let (begun, mut begins) = oneshot::channel();
    let (answer_body, Inbox { wanted, arrived }) = arriving_body();
    let (wanted_there, wants) = mpsc::channel(1);
    let mut answer = answer;
    let mut taking = std::pin::pin!(take(incoming, begun, answer_body, arrived, wanted_there));
    let mut sending = std::pin::pin!(async {
        if let Some(body) = body {
            send_body(body, wants, &out, &limits).await;
        }
        pending::<()>().await
    });
    // Until there is an answer, or nobody waits for it.
    let (received, is_over) = tokio::select! {
        biased;
        received = &mut begins => (received.unwrap_or_else(|_| Err(cut_off())), false),
        () = &mut taking => (begins.try_recv().unwrap_or_else(|_| Err(cut_off())), true),
        () = answer.closed() => return,
        () = &mut sending => return,
    };
    let has_body = received.is_ok();
    if answer.send(received).is_err() || is_over || !has_body {
        return;
    }
    // Until all of the answer is here, or is not wanted any more.
    tokio::select! {
        () = taking => {}
        () = ask(wanted, &out) => {}
        () = sending => {}
    }
}

/// The answer to an exchange, once it is there.
pub async fn answer_of(answered: oneshot::Receiver<Received>) -> Received {
    answered.await.unwrap_or_else(|_| Err(cut_off()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_a_future_sends_comes_in_order_and_ends_with_it() {
        let sent = sent_by(|out| async move {
            for number in 0..5 {
                out.send(number).await.expect("it is taken");
            }
        });
        assert_eq!(sent.collect::<Vec<_>>().await, [0, 1, 2, 3, 4]);
    }

    #[tokio::test]
    async fn a_body_that_has_no_end_is_not_complete() {
        for (last, is_complete) in [(Some(Arrived::End), true), (None, false)] {
            let (body, Inbox { mut wanted, arrived }) = arriving_body();
            let feeding = async move {
                wanted.recv().await.expect("it is wanted");
                let part = Arrived::Part(Bytes::from_static(b"part"));
                assert!(arrived.send(part).await.is_ok(), "it is taken");
                if let Some(last) = last {
                    wanted.recv().await.expect("it is wanted");
                    assert!(arrived.send(last).await.is_ok(), "it is taken");
                }
            };
            let (parts, ()) = tokio::join!(body.collect::<Vec<_>>(), feeding);
            assert_eq!(parts[0], Ok(Bytes::from_static(b"part")));
            assert_eq!(parts.len() == 1, is_complete, "{parts:?}");
        }
    }
}
