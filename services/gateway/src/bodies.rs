//! Bodies: how many bytes of them are in memory at once, on their way in and out, and how long they may take to arrive.

use std::{convert::Infallible, error::Error as _, sync::Arc, time::Duration};

use crate::{edge::Addressed, error::ApiError};
use axum::{
    body::{Body, BodyDataStream, Bytes, HttpBody as _},
    extract::{Request, State},
    http::{StatusCode, header::CONTENT_LENGTH},
    middleware::Next,
    response::{IntoResponse, Response},
};
use bytes::BytesMut;
use contract::DeploymentRef;
use fair_queue::{Place, Places, Shares, share_of};
use futures::StreamExt as _;
use http_body_util::LengthLimitError;

/// Places for bytes count in these.
const ROOM_UNIT_BYTES: usize = 1 << 10;

/// What is handed over to a connection at once of an answer that holds room: the rest is ours until the client has taken it.
pub(crate) const PIECE_BYTES: usize = 64 << 10;

/// Memory that bodies share, those of one deployment a share of it. Small ones take none, so that slow large ones hold up
/// none that are small: there are at most as many as there are connections.
pub(crate) struct Room {
    units: Places,
    small_bytes_max: usize,
}

impl Room {
    pub(crate) fn new(
        bytes_max: usize,
        small_bytes_max: usize,
        share_percent: usize,
        shares: Shares,
    ) -> Room {
        let units = bytes_max.div_ceil(ROOM_UNIT_BYTES);
        Room { units: Places::shared(units, share_of(units, share_percent), shares), small_bytes_max }
    }

    /// Bytes that are taken, and that there are.
    pub(crate) fn load_bytes(&self) -> (usize, usize) {
        let (taken, units) = self.units.load();
        (taken * ROOM_UNIT_BYTES, units * ROOM_UNIT_BYTES)
    }

    fn units_of(&self, bytes: usize) -> usize {
        if bytes <= self.small_bytes_max {
            return 0;
        }
        // What is larger than a whole share takes all of it.
        bytes.div_ceil(ROOM_UNIT_BYTES).min(self.units.share())
    }

    /// Waits for room for so many bytes; `None` for few, which need none.
    pub(crate) async fn take(&self, deployment: DeploymentRef, bytes: usize) -> Option<Place> {
        match self.units_of(bytes) {
            0 => None,
            units => Some(self.units.take(deployment, units).await),
        }
    }
}

/// What the bodies of one kind of request may cost.
///
/// A body takes room as it arrives, so that a client that only says that it brings much takes none. Several that have
/// arrived in part could then wait for each other for ever; so one at a time goes on without room, of each deployment in
/// turn.
pub(crate) struct Budget {
    room: Room,
    without_room: Places,
    /// Of one body.
    bytes_max: usize,
    /// For one body to arrive, and to wait for room before.
    time: Duration,
}

/// Reads the body before the request goes on, in room that it keeps until it is answered.
pub(crate) async fn read_whole(
    State(budget): State<Arc<Budget>>,
    Addressed { deployment, .. }: Addressed,
    request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    let (parts, body) = request.into_parts();
    let (body, _room) = budget.read(deployment.reference, body).await?;
    Ok(next.run(Request::from_parts(parts, Body::from(body))).await)
}

impl Budget {
    pub(crate) fn new(room: Room, bytes_max: usize, time: Duration) -> Budget {
        Budget { room, without_room: Places::new(1, 1), bytes_max, time }
    }

    pub(crate) fn room(&self) -> &Room {
        &self.room
    }

    /// Whether so much is held that a body may have so many bytes.
    pub(crate) fn has_room(&self, held: &Held, bytes: usize) -> bool {
        held.without_room.is_some() || self.missing_units(held, bytes) == 0
    }

    fn missing_units(&self, held: &Held, bytes: usize) -> usize {
        self.room.units_of(bytes).saturating_sub(held.room.as_ref().map_or(0, Place::count))
    }

    /// Waits until there is room for a body of so many bytes, or until it is the one that needs none.
    pub(crate) async fn make_room(&self, deployment: DeploymentRef, held: &mut Held, bytes: usize) {
        if self.has_room(held, bytes) {
            return;
        }
        tokio::select! {
            biased;
            more = self.room.units.take(deployment, self.missing_units(held, bytes)) => match &mut held.room {
                Some(held) => held.merge(more),
                none => *none = Some(more),
            },
            place = self.without_room.take(deployment, 1) => held.without_room = Some(place),
        }
    }

    /// The whole body, and the room that it takes.
    pub(crate) async fn read(
        &self,
        deployment: DeploymentRef,
        body: Body,
    ) -> Result<(Bytes, Held), ApiError> {
        let is_too_large = body.size_hint().lower() > self.bytes_max as u64;
        let mut frames = body.into_data_stream();
        let mut reading = Reading { budget: self, deployment, held: Held::default(), waits_for_room: false };
        let read = match is_too_large {
            true => Err(too_large()),
            false => match tokio::time::timeout(self.time, reading.read(&mut frames)).await {
                Ok(read) => read,
                Err(_) if reading.waits_for_room => Err(no_room()),
                Err(_) => {
                    let message = "The body took longer to arrive than a body may.";
                    return Err(ApiError::new(StatusCode::REQUEST_TIMEOUT, "RequestTimeout", message));
                }
            },
        };
        match read {
            Ok(body) => Ok((body, reading.held)),
            Err(error) => {
                drop(reading);
                let _ =
                    tokio::time::timeout(self.time, discard(&mut frames, self.bytes_max.saturating_mul(2)))
                        .await;
                Err(error)
            }
        }
    }
}

/// What a body, or a message of a socket, holds on to until its request is answered.
#[derive(Default)]
pub(crate) struct Held {
    /// For what has arrived, unless that is little.
    room: Option<Place>,
    /// It is the one that needs no room any more.
    without_room: Option<Place>,
}

impl Held {
    /// Whether it is anything: small bodies hold nothing.
    pub(crate) fn is_any(&self) -> bool {
        self.room.is_some() || self.without_room.is_some()
    }
}

/// A body while it is read.
struct Reading<'b> {
    budget: &'b Budget,
    deployment: DeploymentRef,
    held: Held,
    waits_for_room: bool,
}

impl Reading<'_> {
    async fn read(&mut self, frames: &mut BodyDataStream) -> Result<Bytes, ApiError> {
        // Most bodies come in one piece, which is taken as it is.
        let Some(first) = frames.next().await.transpose().map_err(unreadable)? else {
            return Ok(Bytes::new());
        };
        self.make_room(first.len()).await?;
        let Some(second) = frames.next().await.transpose().map_err(unreadable)? else { return Ok(first) };
        let mut body = BytesMut::from(first);
        let mut next = Some(second);
        while let Some(frame) = next {
            self.make_room(body.len() + frame.len()).await?;
            body.extend_from_slice(&frame);
            next = frames.next().await.transpose().map_err(unreadable)?;
        }
        Ok(body.freeze())
    }

    /// Waits until there is room for a body of so many bytes.
    async fn make_room(&mut self, bytes: usize) -> Result<(), ApiError> {
        if bytes > self.budget.bytes_max {
            return Err(too_large());
        }
        self.waits_for_room = true;
        self.budget.make_room(self.deployment, &mut self.held, bytes).await;
        self.waits_for_room = false;
        Ok(())
    }
}

/// An answer in room that it keeps until the client has taken it; waits for that room first.
pub(crate) async fn deliver(room: &Room, deployment: DeploymentRef, body: impl Into<Bytes>) -> Response {
    let body = body.into();
    match room.take(deployment, body.len()).await {
        None => body.into_response(),
        Some(held) => in_pieces(body, held),
    }
}

/// An answer that holds on to something until the client has taken all of it, or is gone.
pub(crate) fn in_pieces(body: Bytes, held: Place) -> Response {
    let length = body.len();
    let pieces = futures::stream::unfold((body, held), |(mut rest, held)| async {
        if rest.is_empty() {
            return None;
        }
        let piece = rest.split_to(rest.len().min(PIECE_BYTES));
        Some((Ok::<_, Infallible>(piece), (rest, held)))
    });
    ([(CONTENT_LENGTH, length)], Body::from_stream(pieces)).into_response()
}

/// What went wrong with a body that ended before its end.
pub(crate) fn unreadable(error: axum::Error) -> ApiError {
    let mut cause = error.source();
    while let Some(error) = cause {
        if error.is::<LengthLimitError>() {
            return too_large();
        }
        cause = error.source();
    }
    ApiError::bad_request("BadRequest", "The request can't be read.")
}

/// Takes a body that nobody wants, up to `bytes_max`: a connection that ends with much unread may end so hard that the
/// client never sees the answer.
pub(crate) async fn discard(frames: &mut BodyDataStream, bytes_max: usize) {
    let mut bytes = 0;
    while let Some(Ok(frame)) = frames.next().await {
        bytes += frame.len();
        if bytes > bytes_max {
            return;
        }
    }
}

fn no_room() -> ApiError {
    ApiError::new(
        StatusCode::SERVICE_UNAVAILABLE,
        "TooManyRequestBytes",
        "The bodies of other requests take all the memory that there is for them. Try again later.",
    )
}

pub(crate) fn too_large() -> ApiError {
    let message = "The body is larger than what this endpoint takes.";
    ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, "RequestTooLarge", message)
}

#[cfg(test)]
mod tests {
    use contract::{DeploymentId, GroupId};
    use futures::{FutureExt as _, channel::mpsc, stream};

    use super::*;

    const A: DeploymentRef = DeploymentRef { group: GroupId(1), deployment: DeploymentId(1) };
    const B: DeploymentRef = DeploymentRef { group: GroupId(1), deployment: DeploymentId(2) };

    /// Longer than any test takes; or no time at all.
    const LONG: Duration = Duration::from_secs(600);
    const NONE: Duration = Duration::ZERO;

    /// Room for one body of 80 KiB; those up to 1 KiB need none.
    fn budget(time: Duration) -> Budget {
        Budget::new(Room::new(100 << 10, 1 << 10, 100, Shares::default()), 90 << 10, time)
    }

    fn bytes(kibibytes: usize) -> Bytes {
        vec![b'x'; kibibytes << 10].into()
    }

    /// A body whose end is still to come, and what sends it.
    fn unfinished(kibibytes: usize) -> (mpsc::UnboundedSender<Result<Bytes, Infallible>>, Body) {
        let (sender, rest) = mpsc::unbounded();
        let first = stream::iter([Ok(bytes(kibibytes))]);
        (sender, Body::from_stream(first.chain(rest)))
    }

    fn available_kibibytes(room: &Room) -> usize {
        (room.units.free() * ROOM_UNIT_BYTES) >> 10
    }

    fn code_of<T>(read: Result<T, ApiError>) -> String {
        read.map(drop).expect_err("it is refused").code().to_owned()
    }

    #[tokio::test]
    async fn bodies_wait_for_room_and_small_ones_need_none() {
        let budget = budget(LONG);
        let (end, body) = unfinished(80);
        let mut first = Box::pin(budget.read(A, body));
        assert!((&mut first).now_or_never().is_none(), "its end has not come");
        assert_eq!(available_kibibytes(&budget.room), 20);
        let (_, second) = budget.read(A, Body::from(bytes(80))).await.expect("one at a time needs no room");
        let mut third = Box::pin(budget.read(A, Body::from(bytes(80))));
        assert!((&mut third).now_or_never().is_none(), "there is room for one, and one without");
        assert!(budget.read(A, Body::from(bytes(1))).await.is_ok(), "a small one waits for nobody");
        drop(end);
        let (body, room) = first.await.expect("it has come");
        assert!((&mut third).now_or_never().is_none(), "the first is not answered yet");
        assert_eq!(body.len(), 80 << 10);
        drop(room);
        let (body, room) = third.await.expect("there is room");
        assert_eq!((body.len(), available_kibibytes(&budget.room)), (80 << 10, 20));
        drop((second, room));
        assert_eq!((available_kibibytes(&budget.room), budget.without_room.free()), (100, 1));
    }

    #[tokio::test]
    async fn bodies_that_wait_for_each_other_come_to_an_end() {
        let budget = budget(LONG);
        let bodies = [unfinished(50), unfinished(50), unfinished(0)];
        let mut reads = Vec::new();
        let mut senders = Vec::new();
        for (sender, body) in bodies {
            senders.push(sender);
            let mut read = Box::pin(budget.read(A, body));
            assert!((&mut read).now_or_never().is_none(), "its end has not come");
            reads.push(read);
        }
        assert_eq!(available_kibibytes(&budget.room), 0);
        for sender in senders {
            sender.unbounded_send(Ok(bytes(30))).expect("it is read");
        }
        // Each is answered as soon as it has come.
        let lengths = reads.into_iter().map(async |read| read.await.expect("it is read").0.len() >> 10);
        assert_eq!(futures::future::join_all(lengths).await, [80, 80, 30]);
    }

    #[tokio::test]
    async fn a_deployment_whose_bodies_fill_its_share_leaves_room_to_its_neighbour() {
        let budget = Budget::new(Room::new(100 << 10, 1 << 10, 75, Shares::default()), 75 << 10, LONG);
        // There are shares once there are two.
        drop(budget.read(B, Body::from(bytes(25))).await);
        let mut reads = Vec::new();
        let mut ends = Vec::new();
        for _ in 0..20 {
            let (end, body) = unfinished(30);
            let mut read = Box::pin(budget.read(A, body));
            assert!((&mut read).now_or_never().is_none(), "its end has not come");
            ends.push(end);
            reads.push(read);
        }
        // Two have room, one goes on without, and 17 wait.
        assert_eq!((available_kibibytes(&budget.room), budget.room.units.waiting()), (40, 17));
        for _ in 0..10 {
            let (body, _room) =
                budget.read(B, Body::from(bytes(25))).now_or_never().expect("room").expect("read");
            assert_eq!(body.len(), 25 << 10);
        }
        drop(ends);
        for read in reads {
            assert_eq!(read.await.expect("it has come").0.len(), 30 << 10);
        }
        assert_eq!(available_kibibytes(&budget.room), 100);
    }

    #[tokio::test]
    async fn a_body_for_which_there_is_no_room_is_refused() {
        let budget = budget(NONE);
        let taken = (budget.room.units.take(A, 100).await, budget.without_room.take(A, 1).await);
        assert_eq!(code_of(budget.read(A, Body::from(bytes(80))).await), "TooManyRequestBytes");
        drop(taken);
        assert_eq!(available_kibibytes(&budget.room), 100);
    }

    #[tokio::test]
    async fn a_body_that_does_not_come_is_refused_and_gives_its_room_back() {
        let budget = budget(NONE);
        let (_end, body) = unfinished(80);
        assert_eq!(code_of(budget.read(A, body).await), "RequestTimeout");
        assert_eq!(available_kibibytes(&budget.room), 100);
    }

    #[tokio::test]
    async fn a_body_that_turns_out_too_large_is_refused_whether_it_says_so_or_not() {
        let budget = budget(LONG);
        assert_eq!(code_of(budget.read(A, Body::from(bytes(91))).await), "RequestTooLarge");
        let (end, body) = unfinished(60);
        end.unbounded_send(Ok(bytes(31))).expect("it is read");
        drop(end);
        assert_eq!(code_of(budget.read(A, body).await), "RequestTooLarge");
        let limited = Body::new(http_body_util::Limited::new(Body::from(bytes(60)), 50 << 10));
        assert_eq!(code_of(budget.read(A, limited).await), "RequestTooLarge");
        assert_eq!(available_kibibytes(&budget.room), 100);
    }

    #[tokio::test]
    async fn an_answer_keeps_its_room_until_it_is_taken_and_small_ones_need_none() {
        let room = Room::new(100 << 10, 1 << 10, 100, Shares::default());
        let first = deliver(&room, A, bytes(80)).await;
        assert_eq!(first.headers()[CONTENT_LENGTH], (80 << 10).to_string());
        let mut second = Box::pin(deliver(&room, A, bytes(80)));
        assert!((&mut second).now_or_never().is_none(), "nobody has taken the first");
        assert_eq!(deliver(&room, A, bytes(1)).await.status(), StatusCode::OK);
        let taken = axum::body::to_bytes(first.into_body(), usize::MAX).await.expect("it is in memory");
        assert_eq!(taken.len(), 80 << 10);
        // A client that is gone has taken enough.
        drop(second.await);
        assert_eq!(available_kibibytes(&room), 100);
        let larger_than_the_room = deliver(&room, A, bytes(200)).await;
        assert_eq!(available_kibibytes(&room), 0);
        drop(larger_than_the_room);
    }
}
