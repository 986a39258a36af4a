//! What a connection takes no more goes over the next one.
//!
//! A server that has had enough of a connection says so and answers what is under way on it (HTTP/2's GOAWAY). The library looks
//! at that only when it would send the next request, which then fails although nothing of it was sent, and so would one call
//! each time that a connection grows old. It is sent again, as gRPC has clients do by themselves ("transparent retries").

use std::{
    future::poll_fn,
    io, mem,
    sync::Arc,
    task::{Context, Poll},
};

use futures::stream;
use http_body_util::{BodyExt as _, StreamBody};
use parking_lot::Mutex;
use tonic::{
    body::Body,
    codegen::{
        BoxFuture, Service,
        http::{Request, Response},
    },
};

/// Calls by a channel. A request that fails before anything of its body was read is sent again, once: nobody has seen what it
/// asks for.
#[derive(Clone)]
pub struct Resending<S>(S);

impl<S> Resending<S> {
    /// What goes over this channel.
    pub fn new(channel: S) -> Resending<S> {
        Resending(channel)
    }
}

impl<S> Service<Request<Body>> for Resending<S>
where
    S: Service<Request<Body>, Response = Response<Body>> + Clone + Send + 'static,
    S::Error: std::error::Error + Send + 'static,
    S::Future: Send + 'static,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = BoxFuture<Response<Body>, S::Error>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        // This one was seen to be ready, its clone was not.
        let next = self.0.clone();
        let mut channel = mem::replace(&mut self.0, next);
        let (head, body) = request.into_parts();
        let kept = Arc::new(Mutex::new(Some(body)));
        let sent = channel.call(Request::from_parts(head.clone(), lent(kept.clone())));
        Box::pin(async move {
            let error = match sent.await {
                Ok(response) => return Ok(response),
                Err(error) => error,
            };
            let unread = kept.lock().take();
            let Some(body) = unread.filter(|_| !is_of_connecting(&error)) else { return Err(error) };
            tracing::debug!(%error, "a call that its connection took no more is sent again");
            poll_fn(|context| channel.poll_ready(context)).await?;
            channel.call(Request::from_parts(head, body)).await
        })
    }
}

/// A body that stays where it is kept until its first bytes are asked for.
fn lent(kept: Arc<Mutex<Option<Body>>>) -> Body {
    Body::new(StreamBody::new(stream::unfold(None, move |taken: Option<Body>| {
        let kept = kept.clone();
        async move {
            let mut body = taken.or_else(|| kept.lock().take())?;
            let frame = body.frame().await?;
            Some((frame, Some(body)))
        }
    })))
}

/// Whether there was no connection that could have taken it; another attempt would hardly find one.
fn is_of_connecting(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        let io_error = error.downcast_ref::<io::Error>();
        let is_late = io_error.is_some_and(|error| error.kind() == io::ErrorKind::TimedOut);
        if is_late || error.is::<tonic::ConnectError>() {
            return true;
        }
        next = error.source();
    }
    false
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use bytes::Bytes;
    use http_body_util::Full;
    use tonic::{ConnectError, Status};

    use super::*;

    /// What becomes of the first request.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    enum First {
        NotRead,
        Read,
        NotConnected,
    }

    /// Fails the first request, and answers others with their bodies.
    #[derive(Clone)]
    struct Failing {
        first: First,
        requests: Arc<AtomicUsize>,
    }

    impl Service<Request<Body>> for Failing {
        type Response = Response<Body>;
        type Error = Status;
        type Future = BoxFuture<Response<Body>, Status>;

        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Status>> {
            Poll::Ready(Ok(()))
        }

        fn call(&mut self, request: Request<Body>) -> Self::Future {
            let is_first = self.requests.fetch_add(1, Ordering::SeqCst) == 0;
            let first = self.first;
            Box::pin(async move {
                let mut body = request.into_body();
                if !is_first {
                    return Ok(Response::new(body));
                }
                if first == First::Read {
                    let _ = body.frame().await;
                }
                let mut status = Status::unknown("connection closed");
                if first == First::NotConnected {
                    status.set_source(Arc::new(ConnectError("connection refused".into())));
                }
                Err(status)
            })
        }
    }

    #[tokio::test]
    async fn what_nobody_has_read_is_sent_again_and_nothing_else() {
        for (first, requests) in [(First::NotRead, 2), (First::Read, 1), (First::NotConnected, 1)] {
            let failing = Failing { first, requests: Arc::default() };
            let body = Body::new(Full::new(Bytes::from_static(b"content")));
            let answer = Resending::new(failing.clone()).call(Request::new(body)).await;
            assert_eq!(failing.requests.load(Ordering::SeqCst), requests, "{first:?}");
            assert_eq!(answer.is_ok(), first == First::NotRead, "{first:?}");
            if let Ok(response) = answer {
                let content = response.into_body().collect().await.expect("it is whole").to_bytes();
                assert_eq!(&content[..], b"content");
            }
        }
    }

    #[tokio::test]
    async fn a_body_that_is_lent_is_whole() {
        let content = Bytes::from_static(b"content");
        let kept = Arc::new(Mutex::new(Some(Body::new(Full::new(content.clone())))));
        let read = lent(kept.clone()).collect().await.expect("it is whole").to_bytes();
        assert_eq!(read, content);
        assert!(kept.lock().is_none());
    }
}
