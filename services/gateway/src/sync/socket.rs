//! A client's socket: messages in, which take room as they arrive, and messages out.

use std::{
    future::poll_fn,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use axum::{
    body::Body,
    extract::{FromRequestParts, WebSocketUpgrade, ws::rejection::WebSocketUpgradeRejection},
    http::{
        HeaderValue, StatusCode,
        header::{CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, UPGRADE},
        request::Parts,
    },
    response::Response,
};
use bytes::Bytes;
use contract::DeploymentRef;
use futures::{FutureExt as _, SinkExt as _, StreamExt as _, future::BoxFuture};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, BufReader, ReadBuf};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        Error, Message,
        handshake::derive_accept_key,
        protocol::{
            CloseFrame, Role, WebSocketConfig,
            frame::{
                Frame,
                coding::{Data, OpCode},
            },
        },
    },
};

use crate::bodies::{Budget, Held, PIECE_BYTES};

/// What each socket holds at all times for what comes in. The library's 128 KiB would be most of what an idle client costs.
const READ_BUFFER_BYTES: usize = 4 << 10;

/// What the library reads at once of a message, and zeroes before.
const LIBRARY_BUFFER_BYTES: usize = 512;

/// The header of a frame: two bytes, eight of a length, four of a mask.
const HEADER_BYTES_MAX: usize = 14;

/// A request that wants to become a socket.
pub(crate) struct Upgrade {
    key: HeaderValue,
    connection: OnUpgrade,
}

impl<S: Send + Sync> FromRequestParts<S> for Upgrade {
    type Rejection = WebSocketUpgradeRejection;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Upgrade, Self::Rejection> {
        let connection = parts.extensions.get::<OnUpgrade>().cloned();
        // Looks whether the request is as it must be. What it makes of it is not used: nothing can come between it and its
        // connection.
        drop(<WebSocketUpgrade>::from_request_parts(parts, state).await?);
        let key = parts.headers.get(SEC_WEBSOCKET_KEY).cloned();
        let (Some(key), Some(connection)) = (key, connection) else {
            unreachable!("without them it was not as it must be");
        };
        Ok(Upgrade { key, connection })
    }
}

impl Upgrade {
    /// The answer to the request, and its connection once that is given.
    pub(crate) fn accept(self) -> (Response, OnUpgrade) {
        let accept = derive_accept_key(self.key.as_bytes());
        let answer = Response::builder()
            .status(StatusCode::SWITCHING_PROTOCOLS)
            .header(CONNECTION, "upgrade")
            .header(UPGRADE, "websocket")
            .header(SEC_WEBSOCKET_ACCEPT, accept)
            .body(Body::empty());
        (answer.expect("a status and three headers"), self.connection)
    }
}

/// A socket. Its messages are held to `budget` as they arrive: while there is no room, nothing is read.
pub(super) struct Socket<S = TokioIo<Upgraded>> {
    frames: WebSocketStream<Metered<S>>,
    /// The last message, if it was large, until the next one is looked for: then the library makes itself a new buffer, where
    /// otherwise it would keep that of the largest message for as long as the socket is open.
    last: Option<Bytes>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Socket<S> {
    pub(super) async fn new(
        io: S,
        budget: Arc<Budget>,
        deployment: DeploymentRef,
        message_bytes_max: usize,
    ) -> Socket<S> {
        let config = WebSocketConfig::default()
            .read_buffer_size(LIBRARY_BUFFER_BYTES)
            .max_message_size(Some(message_bytes_max))
            .max_frame_size(Some(message_bytes_max));
        let io = Metered::new(io, budget, deployment);
        Socket { frames: WebSocketStream::from_raw_socket(io, Role::Server, Some(config)).await, last: None }
    }

    /// What comes next, with what it holds of the room; `None` at the end. Whoever drops this loses nothing.
    pub(super) async fn receive(&mut self) -> Option<Result<(Message, Held), Box<Error>>> {
        let message = poll_fn(|context| {
            let polled = self.frames.poll_next_unpin(context);
            self.last = None;
            polled
        });
        let message = match message.await? {
            Ok(message) => message,
            Err(error) => return Some(Err(Box::new(error))),
        };
        let mut held = Held::default();
        let metered = self.frames.get_mut();
        if matches!(message, Message::Text(_) | Message::Binary(_)) {
            metered.is_amid_message = false;
        }
        if let Message::Text(text) = &message {
            held = std::mem::take(&mut metered.held);
            self.last = held.is_any().then(|| text.clone().into());
        }
        Some(Ok((message, held)))
    }

    /// Whether a message has begun to arrive of which the end has not come. Pings and pongs may come between its parts.
    pub(super) fn is_amid_message(&self) -> bool {
        self.frames.get_ref().is_amid_message
    }

    pub(super) async fn ping(&mut self) -> Result<(), Box<Error>> {
        Ok(self.frames.send(Message::Ping(Bytes::new())).await?)
    }

    /// Long texts go in several frames, so that the library keeps no buffer as long as the longest.
    pub(super) async fn send(&mut self, text: String) -> Result<(), Box<Error>> {
        if text.len() <= PIECE_BYTES {
            return Ok(self.frames.send(Message::text(text)).await?);
        }
        let mut rest = Bytes::from(text);
        let mut opcode = OpCode::Data(Data::Text);
        loop {
            let piece = rest.split_to(rest.len().min(PIECE_BYTES));
            let is_last = rest.is_empty();
            self.frames.send(Message::Frame(Frame::message(piece, opcode, is_last))).await?;
            if is_last {
                return Ok(());
            }
            opcode = OpCode::Data(Data::Continue);
        }
    }

    /// Says why, and takes what is under way until the peer has closed as well.
    pub(super) async fn close(&mut self, why: CloseFrame, bytes_max: usize) {
        if self.frames.send(Message::Close(Some(why))).await.is_err() {
            return;
        }
        // The peer answers with a close frame of its own; nothing comes behind it, nor behind what can't be read.
        while let Some(Ok(_)) = self.frames.next().await {}
        self.discard(bytes_max).await;
    }

    /// Answers the peer's close frame, if it has sent one.
    pub(super) async fn finish(&mut self, bytes_max: usize) {
        let _ = self.frames.flush().await;
        self.discard(bytes_max).await;
    }

    /// A connection that ends with much unread may end so hard that its peer never sees what was sent to it last.
    async fn discard(&mut self, bytes_max: usize) {
        let io = &mut self.frames.get_mut().io;
        let _ = io.shutdown().await;
        let _ = tokio::io::copy(&mut io.take(bytes_max as u64), &mut tokio::io::sink()).await;
    }
}

/// The bytes of a socket, of which those of a message are read only once there is room for them.
///
/// It is read frame by frame, so that nothing of the next one is in the buffer in which the library makes a message.
struct Metered<S> {
    io: BufReader<S>,
    budget: Arc<Budget>,
    deployment: DeploymentRef,
    header: Header,
    /// What is still to come of the frame.
    frame_bytes_left: u64,
    /// Whether the frame is one of a message; the others are small.
    is_of_message: bool,
    /// From the first header of a message until all of it was received.
    is_amid_message: bool,
    /// What has come of the message.
    message_bytes: usize,
    held: Held,
    /// As long as there is no room. It has what is held meanwhile.
    waiting: Option<BoxFuture<'static, Held>>,
}

/// What has come of the header of a frame (RFC 6455, 5.2).
#[derive(Default)]
struct Header {
    bytes: [u8; HEADER_BYTES_MAX],
    length: usize,
}

impl Header {
    fn length_max(&self) -> usize {
        if self.length < 2 {
            return 2;
        }
        let [_, second, ..] = self.bytes;
        let length = match second & 0x7f {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        2 + length + if second & 0x80 == 0 { 0 } else { 4 }
    }

    fn missing(&self) -> usize {
        self.length_max() - self.length
    }

    fn add(&mut self, bytes: &[u8]) {
        self.bytes[self.length..self.length + bytes.len()].copy_from_slice(bytes);
        self.length += bytes.len();
    }

    fn opcode(&self) -> u8 {
        self.bytes[0] & 0x0f
    }

    fn payload_bytes(&self) -> u64 {
        let [_, second, a, b, c, d, e, f, g, h, ..] = self.bytes;
        match second & 0x7f {
            126 => u16::from_be_bytes([a, b]).into(),
            127 => u64::from_be_bytes([a, b, c, d, e, f, g, h]),
            few => few.into(),
        }
    }
}

impl<S: AsyncRead + Unpin> Metered<S> {
    fn new(io: S, budget: Arc<Budget>, deployment: DeploymentRef) -> Metered<S> {
        Metered {
            io: BufReader::with_capacity(READ_BUFFER_BYTES, io),
            budget,
            deployment,
            header: Header::default(),
            frame_bytes_left: 0,
            is_of_message: false,
            is_amid_message: false,
            message_bytes: 0,
            held: Held::default(),
            waiting: None,
        }
    }

    fn poll_header(&mut self, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let mut bytes = [0; HEADER_BYTES_MAX];
        let mut part = ReadBuf::new(&mut bytes[..self.header.missing().min(buffer.remaining())]);
        ready!(Pin::new(&mut self.io).poll_read(context, &mut part))?;
        buffer.put_slice(part.filled());
        self.header.add(part.filled());
        if self.header.missing() == 0 {
            let header = std::mem::take(&mut self.header);
            self.frame_bytes_left = header.payload_bytes();
            self.is_of_message = header.opcode() < 8;
            // Not one that goes on.
            if matches!(header.opcode(), 1 | 2) {
                self.is_amid_message = true;
                self.message_bytes = 0;
                self.held = Held::default();
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Ready once what comes next of a message may be read. Room is taken in pieces.
    fn poll_room(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let waiting = match &mut self.waiting {
            Some(waiting) => waiting,
            none => {
                let left = usize::try_from(self.frame_bytes_left).unwrap_or(usize::MAX);
                let whole = self.message_bytes.saturating_add(left);
                let bytes = (self.message_bytes + 1).next_multiple_of(PIECE_BYTES).min(whole);
                if self.budget.has_room(&self.held, bytes) {
                    return Poll::Ready(());
                }
                let (budget, deployment) = (self.budget.clone(), self.deployment);
                let mut held = std::mem::take(&mut self.held);
                let wait = async move {
                    budget.make_room(deployment, &mut held, bytes).await;
                    held
                };
                none.insert(wait.boxed())
            }
        };
        self.held = ready!(waiting.poll_unpin(context));
        self.waiting = None;
        Poll::Ready(())
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Metered<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.frame_bytes_left == 0 {
            return this.poll_header(context, buffer);
        }
        if this.is_of_message {
            ready!(this.poll_room(context));
        }
        let left = usize::try_from(this.frame_bytes_left).unwrap_or(usize::MAX);
        let wanted = left.min(buffer.remaining()).min(PIECE_BYTES);
        let mut part = ReadBuf::new(buffer.initialize_unfilled_to(wanted));
        ready!(Pin::new(&mut this.io).poll_read(context, &mut part))?;
        let read = part.filled().len();
        buffer.advance(read);
        this.frame_bytes_left -= read as u64;
        if this.is_of_message {
            this.message_bytes += read;
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Metered<S> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().io).poll_write(context, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use contract::{DeploymentId, GroupId};
    use fair_queue::Shares;
    use tokio::io::{DuplexStream, duplex};
    use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

    use super::*;
    use crate::bodies::Room;

    const A: DeploymentRef = DeploymentRef { group: GroupId(1), deployment: DeploymentId(1) };

    /// Room for 200 KiB; messages up to 1 KiB need none.
    fn budget() -> Arc<Budget> {
        let room = Room::new(200 << 10, 1 << 10, 100, Shares::default());
        Arc::new(Budget::new(room, 1 << 20, Duration::from_secs(600)))
    }

    fn taken_kibibytes(budget: &Budget) -> usize {
        budget.room().load_bytes().0 >> 10
    }

    /// A client, and its socket, whose messages have at most 300 KiB.
    async fn connected(budget: &Arc<Budget>) -> (WebSocketStream<DuplexStream>, Socket<DuplexStream>) {
        let (here, there) = duplex(1 << 20);
        let client = WebSocketStream::from_raw_socket(there, Role::Client, None).await;
        (client, Socket::new(here, budget.clone(), A, 300 << 10).await)
    }

    fn text(kibibytes: usize) -> Message {
        Message::text("x".repeat(kibibytes << 10))
    }

    async fn received(socket: &mut Socket<DuplexStream>) -> (usize, Held) {
        match socket.receive().await.expect("is open").expect("is a frame") {
            (Message::Text(text), held) => (text.len() >> 10, held),
            (other, _) => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn messages_wait_for_room_and_small_ones_need_none() {
        let budget = budget();
        let mut clients = Vec::new();
        let mut held = Vec::new();
        for kibibytes in [150, 150] {
            let (mut client, mut socket) = connected(&budget).await;
            client.send(text(kibibytes)).await.expect("is open");
            let (received, holds) = received(&mut socket).await;
            assert_eq!(received, kibibytes);
            held.push(holds);
            clients.push((client, socket));
        }
        // The first has room, and one at a time goes on without: the third waits, a part of it in what room is left.
        assert!((150..=200).contains(&taken_kibibytes(&budget)), "{}", taken_kibibytes(&budget));
        let (mut client, mut socket) = connected(&budget).await;
        client.send(text(150)).await.expect("is open");
        assert!(socket.receive().now_or_never().is_none(), "there is no room");
        // It is not read in vain: nothing is lost if who waits looks elsewhere meanwhile.
        assert!(socket.receive().now_or_never().is_none(), "there is no room");
        let (mut small, mut small_socket) = connected(&budget).await;
        small.send(text(1)).await.expect("is open");
        let (one, holds) = received(&mut small_socket).await;
        assert!(one == 1 && !holds.is_any(), "a small one waits for nobody, and holds nothing");
        held.clear();
        let (third, holds) = received(&mut socket).await;
        assert!(third == 150 && holds.is_any());
        drop(holds);
        assert_eq!(taken_kibibytes(&budget), 0);
    }

    #[tokio::test]
    async fn a_message_that_is_only_begun_gives_its_room_back_with_its_socket() {
        let budget = budget();
        let (client, mut socket) = connected(&budget).await;
        let mut client = client.into_inner();
        // A frame of 200 KiB, of which half comes.
        client.write_all(&[0x81, 0xff]).await.expect("is open");
        client.write_all(&(200_u64 << 10).to_be_bytes()).await.expect("is open");
        client.write_all(&[0; 4]).await.expect("is open");
        client.write_all(&vec![b'x'; 100 << 10]).await.expect("is open");
        assert!(socket.receive().now_or_never().is_none(), "its end has not come");
        assert_eq!(taken_kibibytes(&budget), 128, "what has come, in pieces");
        drop(socket);
        assert_eq!(taken_kibibytes(&budget), 0);
    }

    #[tokio::test]
    async fn messages_in_parts_and_what_comes_between_them_are_counted_once() {
        let budget = budget();
        let (mut client, mut socket) = connected(&budget).await;
        let part = |opcode, is_last| Message::Frame(Frame::message(vec![b'x'; 60 << 10], opcode, is_last));
        for _ in 0..3 {
            client.send(part(OpCode::Data(Data::Text), false)).await.expect("is open");
            client.send(Message::Ping(Bytes::new())).await.expect("is open");
            client.send(part(OpCode::Data(Data::Continue), true)).await.expect("is open");
            assert!(matches!(socket.receive().await, Some(Ok((Message::Ping(_), _)))));
            let (kibibytes, held) = received(&mut socket).await;
            assert_eq!((kibibytes, taken_kibibytes(&budget)), (120, 120));
            drop(held);
            assert_eq!(taken_kibibytes(&budget), 0);
        }
    }

    #[tokio::test]
    async fn a_message_is_under_way_until_its_last_part_has_come_whatever_comes_between_them() {
        let (mut client, mut socket) = connected(&budget()).await;
        let part = |opcode, is_last| Message::Frame(Frame::message("x", opcode, is_last));
        client.send(Message::Ping(Bytes::new())).await.expect("is open");
        assert!(matches!(socket.receive().await, Some(Ok((Message::Ping(_), _)))));
        assert!(!socket.is_amid_message(), "none has begun");
        for opcode in [Data::Text, Data::Continue] {
            client.send(part(OpCode::Data(opcode), false)).await.expect("is open");
            client.send(Message::Pong(Bytes::new())).await.expect("is open");
            assert!(matches!(socket.receive().await, Some(Ok((Message::Pong(_), _)))));
            assert!(socket.is_amid_message(), "a pong does not end it");
        }
        client.send(part(OpCode::Data(Data::Continue), true)).await.expect("is open");
        received(&mut socket).await;
        assert!(!socket.is_amid_message());
        client.send(text(1)).await.expect("is open");
        received(&mut socket).await;
        assert!(!socket.is_amid_message(), "it came at once");
    }

    #[tokio::test]
    async fn the_memory_of_a_large_message_goes_with_it() {
        let (mut client, mut socket) = connected(&budget()).await;
        for kibibytes in [100, 1, 150] {
            client.send(text(kibibytes)).await.expect("is open");
            let Some(Ok((Message::Text(text), _held))) = socket.receive().await else { panic!("a message") };
            let bytes = Bytes::from(text);
            assert_eq!(bytes.len() >> 10, kibibytes);
            assert_eq!(socket.last.is_some(), kibibytes > 1, "until then it keeps the library from using it");
            assert!(socket.receive().now_or_never().is_none(), "there is no other");
            assert!(socket.last.is_none());
            assert!(kibibytes == 1 || bytes.is_unique(), "the socket holds on to the memory of a message");
        }
    }

    #[tokio::test]
    async fn long_texts_arrive_as_they_were_sent() {
        let (mut client, mut socket) = connected(&budget()).await;
        for long in ["é".repeat(200_001), "a".repeat(PIECE_BYTES), "b".repeat(2 * PIECE_BYTES)] {
            socket.send(long.clone()).await.expect("is open");
            assert_eq!(client.next().await.expect("comes").expect("is open"), Message::text(long));
        }
    }

    #[tokio::test]
    async fn who_sends_too_much_learns_why_it_is_closed() {
        let (mut client, mut socket) = connected(&budget()).await;
        client.send(text(400)).await.expect("is open");
        let refused = socket.receive().await.expect("something comes");
        assert!(matches!(refused, Err(error) if matches!(*error, Error::Capacity(_))));
        let why = CloseFrame { code: CloseCode::Size, reason: "too much".into() };
        let closing = socket.close(why.clone(), 1 << 20);
        let learning = async {
            let learned = client.next().await.expect("comes").expect("is open");
            drop(client);
            learned
        };
        let ((), learned) = tokio::join!(closing, learning);
        assert_eq!(learned, Message::Close(Some(why)));
    }

    #[tokio::test]
    async fn a_close_frame_is_answered() {
        let (mut client, mut socket) = connected(&budget()).await;
        let why = CloseFrame { code: CloseCode::Normal, reason: "enough".into() };
        client.send(Message::Close(Some(why))).await.expect("is open");
        assert!(matches!(socket.receive().await, Some(Ok((Message::Close(_), _)))));
        let finishing = socket.finish(1 << 20);
        let answered = async {
            let answer = client.next().await.expect("comes").expect("is a frame");
            drop(client);
            answer
        };
        let ((), answer) = tokio::join!(finishing, answered);
        assert!(matches!(answer, Message::Close(Some(frame)) if frame.code == CloseCode::Normal));
    }
}
