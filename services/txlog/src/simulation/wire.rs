//! The connections between simulated nodes: the real messages, encoded and decoded by the real clients and services, over a
//! network in the test's hand instead of a socket.
//!
//! Each side of a call is read by a task of the node that sends it, as a transport does. What arrives does so in its order;
//! when the link is cut the other side gets an error, and when a node dies at once.

use std::{
    io,
    sync::Arc,
    task::{Context, Poll},
};

use futures::stream;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Body as _;
use tokio::sync::{mpsc, oneshot};
use tonic::{
    Status,
    body::Body,
    codegen::{Bytes, Service, StdError, http},
    transport::Channel,
};

use super::{
    network::{Link, Network},
    runtime::{self, Instant},
};

/// What Raft's messages go over.
#[derive(Clone)]
pub enum Wire {
    Tonic(Channel),
    Simulated { network: Arc<Network>, link: Link },
}

type Frame = hyper::body::Frame<Bytes>;

/// A part of a message on its way.
struct Part {
    /// `None` if there is only the end.
    frame: Option<Frame>,
    /// It is the last one.
    ends: bool,
}

type Parts = mpsc::UnboundedReceiver<(Instant, Part)>;

impl Service<http::Request<Body>> for Wire {
    type Response = http::Response<Body>;
    type Error = StdError;
    type Future = tonic::codegen::BoxFuture<http::Response<Body>, StdError>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), StdError>> {
        match self {
            Wire::Tonic(channel) => channel.poll_ready(context).map_err(Into::into),
            Wire::Simulated { .. } => Poll::Ready(Ok(())),
        }
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        match self {
            Wire::Tonic(channel) => {
                let response = channel.call(request);
                Box::pin(async move { response.await.map_err(Into::into) })
            }
            Wire::Simulated { network, link } => Box::pin(call(network.clone(), *link, request)),
        }
    }
}

async fn call(
    network: Arc<Network>,
    (from, to): Link,
    request: http::Request<Body>,
) -> Result<http::Response<Body>, StdError> {
    let (head, body) = request.into_parts();
    let (parts, arriving) = mpsc::unbounded_channel();
    runtime::spawn(send(body, parts, Arrivals::new(network.clone())));
    let body = receive(arriving, network.clone(), (from, to));
    if !network.travel((from, to)).await {
        // Whoever calls gives up after a while.
        return std::future::pending().await;
    }
    let refused = || io::Error::new(io::ErrorKind::ConnectionRefused, "nobody is there");
    let Some(server) = network.server(to) else { return Err(refused().into()) };
    let (answer, answered) = oneshot::channel();
    let (mut service, arrivals) = (server.service, Arrivals::new(network.clone()));
    runtime::spawn_for(server.owner, async move {
        let Ok(response) = service.call(http::Request::from_parts(head, body)).await;
        let (head, body) = response.into_parts();
        let (parts, arriving) = mpsc::unbounded_channel();
        // Whoever called may have gone: then nobody takes the parts either.
        let _ = answer.send((head, arriving));
        send(body, parts, arrivals).await;
    });
    let reset = |_| io::Error::new(io::ErrorKind::ConnectionReset, "the node has gone");
    let (head, arriving) = answered.await.map_err(reset)?;
    if !network.travel((to, from)).await {
        return std::future::pending().await;
    }
    Ok(http::Response::from_parts(head, receive(arriving, network, (to, from))))
}

/// When parts arrive: none before the one that was sent before it.
struct Arrivals {
    network: Arc<Network>,
    last: Instant,
}

impl Arrivals {
    fn new(network: Arc<Network>) -> Arrivals {
        Arrivals { network, last: Instant::now() }
    }

    fn next(&mut self) -> Instant {
        self.last = self.last.max(Instant::now() + self.network.delay());
        self.last
    }
}

/// Sends a body, until it ends or nobody takes it any more.
async fn send(mut body: Body, to: mpsc::UnboundedSender<(Instant, Part)>, mut arrivals: Arrivals) {
    loop {
        let frame = tokio::select! {
            biased;
            () = to.closed() => return,
            frame = body.frame() => frame,
        };
        // The other side sees a connection that breaks.
        let Ok(frame) = frame.transpose() else { return };
        let ends = frame.is_none() || body.is_end_stream();
        if to.send((arrivals.next(), Part { frame, ends })).is_err() || ends {
            return;
        }
    }
}

/// A body as it arrives.
fn receive(arriving: Parts, network: Arc<Network>, link: Link) -> Body {
    let parts = stream::unfold(Some((arriving, network)), move |state| async move {
        let (mut arriving, network) = state?;
        let broken = Some((Err(Status::unavailable("the connection broke")), None));
        let Some((at, part)) = arriving.recv().await else { return broken };
        runtime::sleep_until(at).await;
        if !network.is_open(link) {
            return broken;
        }
        let rest = (!part.ends).then_some((arriving, network));
        part.frame.map(|frame| (Ok(frame), rest))
    });
    Body::new(StreamBody::new(parts))
}
