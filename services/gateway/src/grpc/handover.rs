//! Answers that take long to be taken: large ones, and streams.
//!
//! The HTTP library looks at a body only while its client takes some of it. So a task of its own hands it over, piece by piece, and sees
//! also without the client that the time is over, that it takes nothing, or that it is gone. Then what the answer holds is given back.

use std::{io, time::Duration};

use axum::{
    body::{Body, Bytes, HttpBody as _},
    http::HeaderMap,
    response::Response,
};
use futures::stream;
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::Frame;
use tokio::{sync::mpsc, time::timeout};
use tonic::Status;
use tracing::Instrument as _;

use crate::{bodies::PIECE_BYTES, edge::Edge};

/// A part of a body; `None` is its end.
type Piece = Option<Frame<Bytes>>;

/// The same answer, handed over by a task. `end` ends it early, with a status.
pub(super) fn by_a_task(
    edge: &Edge,
    answer: Response,
    end: impl Future<Output = Status> + Send + 'static,
) -> Response {
    // A refusal is a head and nothing else, and clients look for its status nowhere else.
    if answer.body().is_end_stream() {
        return answer;
    }
    let stall = Duration::from_millis(edge.limits.gateway.write_stall_ms_max);
    answer.map(|body| {
        let (pieces, taken) = mpsc::channel(1);
        edge.tasks.spawn(hand_over(body, pieces, stall, end).in_current_span());
        taken_from(taken)
    })
}

async fn hand_over(
    body: Body,
    pieces: mpsc::Sender<Piece>,
    stall: Duration,
    end: impl Future<Output = Status>,
) {
    tokio::select! {
        () = all(body, &pieces, stall) => {}
        // The client is gone, or has cancelled the call.
        () = pieces.closed() => {}
        status = end => {
            let mut trailers = HeaderMap::new();
            if status.add_header(&mut trailers).is_ok() {
                // What the client has not taken until then it will not miss.
                let _ = hand(Some(Frame::trailers(trailers)), &pieces, stall).await
                    && hand(None, &pieces, stall).await;
            }
        }
    }
}

/// Ends with the body, or when the client has taken nothing for too long.
async fn all(mut body: Body, pieces: &mpsc::Sender<Piece>, stall: Duration) {
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else { return };
        match frame.into_data() {
            Ok(mut data) => {
                while !data.is_empty() {
                    let piece = data.split_to(data.len().min(PIECE_BYTES));
                    if !hand(Some(Frame::data(piece)), pieces, stall).await {
                        return;
                    }
                }
            }
            Err(trailers) => {
                if !hand(Some(trailers), pieces, stall).await {
                    return;
                }
            }
        }
    }
    hand(None, pieces, stall).await;
}

/// Whether it was taken in time.
async fn hand(piece: Piece, pieces: &mpsc::Sender<Piece>, stall: Duration) -> bool {
    matches!(timeout(stall, pieces.send(piece)).await, Ok(Ok(())))
}

/// A body of what is handed over. Without its end it breaks off.
fn taken_from(taken: mpsc::Receiver<Piece>) -> Body {
    let pieces = stream::unfold(Some(taken), |taken| async move {
        let mut taken = taken?;
        match taken.recv().await {
            Some(Some(frame)) => Some((Ok(frame), Some(taken))),
            Some(None) => None,
            None => Some((Err(io::Error::other("the answer is not taken")), None)),
        }
    });
    Body::new(StreamBody::new(pieces))
}

#[cfg(test)]
mod tests {
    use std::{convert::Infallible, future::pending};

    use axum::http::HeaderValue;
    use futures::FutureExt as _;

    use super::*;

    const LONG: Duration = Duration::from_secs(600);

    fn trailers() -> HeaderMap {
        HeaderMap::from_iter([(Status::GRPC_STATUS, HeaderValue::from_static("0"))])
    }

    fn answer(bytes: usize) -> Body {
        let data = Frame::data(Bytes::from(vec![b'x'; bytes]));
        let frames = [data, Frame::trailers(trailers())].map(Ok::<_, Infallible>);
        Body::new(StreamBody::new(stream::iter(frames)))
    }

    #[tokio::test]
    async fn an_answer_is_handed_over_in_pieces_and_ends_with_its_status() {
        let (pieces, taken) = mpsc::channel(1);
        let handing = hand_over(answer(3 * PIECE_BYTES + 1), pieces, LONG, pending());
        let mut body = taken_from(taken);
        let taking = async {
            let mut lengths = Vec::new();
            while let Some(frame) = body.frame().await {
                let frame = frame.expect("it does not break off");
                match frame.into_data() {
                    Ok(data) => lengths.push(data.len()),
                    Err(frame) => assert_eq!(frame.into_trailers().ok(), Some(trailers())),
                }
            }
            lengths
        };
        let ((), lengths) = tokio::join!(handing, taking);
        assert_eq!(lengths, [PIECE_BYTES, PIECE_BYTES, PIECE_BYTES, 1]);
    }

    #[tokio::test]
    async fn an_answer_that_nobody_takes_breaks_off() {
        let (pieces, taken) = mpsc::channel(1);
        hand_over(answer(3 * PIECE_BYTES), pieces, Duration::ZERO, pending()).await;
        let mut body = taken_from(taken);
        assert!(body.frame().await.is_some_and(|piece| piece.is_ok()), "this one was handed over");
        assert!(body.frame().await.is_some_and(|piece| piece.is_err()));
        assert!(body.frame().await.is_none());
    }

    #[tokio::test]
    async fn an_answer_without_anything_ends_as_well() {
        let (pieces, taken) = mpsc::channel(1);
        hand_over(Body::empty(), pieces, LONG, pending()).await;
        assert!(taken_from(taken).frame().await.is_none());
    }

    #[tokio::test]
    async fn what_an_answer_holds_is_given_back_when_its_client_is_gone() {
        let (pieces, taken) = mpsc::channel(1);
        let body = Body::new(StreamBody::new(stream::pending::<Result<Frame<Bytes>, Infallible>>()));
        let mut handing = Box::pin(hand_over(body, pieces, LONG, pending()));
        assert!((&mut handing).now_or_never().is_none());
        drop(taken_from(taken));
        assert!(handing.now_or_never().is_some());
    }

    #[tokio::test]
    async fn a_stream_that_is_ended_says_why() {
        let (pieces, taken) = mpsc::channel(1);
        let body = Body::new(StreamBody::new(stream::pending::<Result<Frame<Bytes>, Infallible>>()));
        let handing = hand_over(body, pieces, LONG, async { Status::unavailable("stops") });
        let mut body = taken_from(taken);
        let taking = async {
            let last = body.frame().await.expect("a frame").expect("it does not break off");
            assert!(body.frame().await.is_none());
            last.into_trailers().expect("trailers")
        };
        let ((), trailers) = tokio::join!(handing, taking);
        assert_eq!(trailers[Status::GRPC_STATUS], "14");
    }
}
