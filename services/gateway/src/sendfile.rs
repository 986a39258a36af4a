//! Bodies that the system sends from the files in which they lie (`sendfile`), so that their bytes pass through no memory of this
//! process.
//!
//! The HTTP library knows bytes alone. So it is given *placeholders*, as many as a part has bytes, and the part waits at the connection
//! until their turn has come to be written:
//!
//! ```text
//!   body ──── as many placeholders ────▶ HTTP library ──── bytes to write ────▶ connection ──── the bytes of the part ────▶ socket
//!     └─────────────────────────────── the part ──────────────────────────────────▲
//! ```
//!
//! The connection knows placeholders by their address, so nothing in between may change or copy the bytes of a body. If something
//! does, or a part and its placeholders don't come together for any other reason, the connection ends: no client ever gets a placeholder.

use std::{
    collections::VecDeque,
    io::{self, IoSlice},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use contract::ObjectPart;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use rustix::{
    fs::sendfile,
    io::Errno,
    net::{SendAncillaryBuffer, SendFlags, sendmsg},
};
use tokio::{io::Interest, net::TcpStream};

static PLACEHOLDERS: [u8; ObjectPart::BYTES_MAX] = [0; ObjectPart::BYTES_MAX];

/// The parts that wait at a connection, in the order in which they are sent.
#[derive(Clone, Default)]
pub(crate) struct WaitingParts(Arc<Mutex<VecDeque<ObjectPart>>>);

impl WaitingParts {
    /// Has a part wait. What comes back stands for it in the body of an answer on the same connection, and must come next there.
    pub(crate) fn add(&self, part: ObjectPart) -> Bytes {
        let placeholders = Bytes::from_static(&PLACEHOLDERS[..part.size_bytes()]);
        assert!(!placeholders.is_empty(), "a part has bytes");
        self.0.lock().push_back(part);
        placeholders
    }
}

/// A connection, as the HTTP library reads and writes it.
pub(crate) struct Connection {
    stream: TokioIo<TcpStream>,
    waiting: WaitingParts,
}

impl Connection {
    pub(crate) fn new(stream: TcpStream, waiting: WaitingParts) -> Connection {
        Connection { stream: TokioIo::new(stream), waiting }
    }
}

impl Read for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl Write for Connection {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(context, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let Connection { stream, waiting } = self.get_mut();
        let mut waiting = waiting.0.lock();
        let placeholders = slices.iter().position(|slice| are_placeholders(slice));
        match (waiting.front_mut(), placeholders) {
            (None, None) => Pin::new(stream).poll_write_vectored(context, slices),
            (Some(part), Some(0)) if part.size_bytes() == slices[0].len() => {
                let sent = ready!(send_part(stream.inner(), context, part))?;
                if part.range.is_empty() {
                    waiting.pop_front();
                }
                Poll::Ready(Ok(sent))
            }
            // What comes before, such as the head of the answer, goes into one packet with what follows.
            (Some(_), Some(before)) if before > 0 => poll_write(stream.inner(), context, || {
                sendmsg(stream.inner(), &slices[..before], &mut SendAncillaryBuffer::default(), SEND_MORE)
            }),
            _ => {
                Poll::Ready(Err(io::Error::other("the part of a file and its placeholders have come apart")))
            }
        }
    }

    fn is_write_vectored(&self) -> bool {
        // Else the library would copy small pieces together.
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

/// More follows at once. That a client is gone is an error and no signal.
const SEND_MORE: SendFlags = SendFlags::MORE.union(SendFlags::NOSIGNAL);

fn are_placeholders(slice: &[u8]) -> bool {
    !slice.is_empty() && PLACEHOLDERS.as_ptr_range().contains(&slice.as_ptr())
}

/// Sends as many bytes of a part as the socket takes, and takes them from it.
fn send_part(
    stream: &TcpStream,
    context: &mut Context<'_>,
    part: &mut ObjectPart,
) -> Poll<io::Result<usize>> {
    let (offset, bytes) = (part.range.start, part.size_bytes());
    let sent =
        ready!(poll_write(stream, context, || sendfile(stream, &part.file, Some(&mut { offset }), bytes)));
    let sent = match sent {
        Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
        sent => sent,
    };
    match &sent {
        Ok(sent) => part.range.start += *sent as u64,
        Err(error) if is_of_file(error) => tracing::error!("a file can't be read to its end: {error}"),
        // How a connection ends is its client's affair.
        Err(_) => {}
    }
    Poll::Ready(sent)
}

fn is_of_file(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::UnexpectedEof || Errno::from_io_error(error) == Some(Errno::IO)
}

/// Writes once the socket takes something.
fn poll_write(
    stream: &TcpStream,
    context: &mut Context<'_>,
    mut write: impl FnMut() -> rustix::io::Result<usize>,
) -> Poll<io::Result<usize>> {
    loop {
        ready!(stream.poll_write_ready(context))?;
        match stream.try_io(Interest::WRITABLE, || Ok(write()?)) {
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
            written => return Poll::Ready(written),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{fs::File, future::poll_fn, io::Write as _, ops::Range};

    use bytes::Buf as _;
    use tokio::{io::AsyncReadExt as _, net::TcpListener, task::JoinHandle};

    use super::*;

    /// Different at every place that could be mistaken for another.
    fn some_bytes(count: usize) -> Vec<u8> {
        (0..count.div_ceil(4)).flat_map(|number| (number as u32).to_le_bytes()).take(count).collect()
    }

    fn file_of(bytes: &[u8]) -> Arc<File> {
        let mut file = tempfile::tempfile().expect("a file");
        file.write_all(bytes).expect("it is written");
        Arc::new(file)
    }

    fn part(file: &Arc<File>, range: Range<u64>) -> ObjectPart {
        ObjectPart { file: file.clone(), range }
    }

    /// A connection, and what its client will have got when it ends.
    async fn connection() -> (Connection, WaitingParts, JoinHandle<Vec<u8>>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let client = tokio::spawn(async move {
            let mut received = Vec::new();
            let mut stream = TcpStream::connect(address).await.expect("it is accepted");
            // A connection that ends by an error may be reset.
            let _ = stream.read_to_end(&mut received).await;
            received
        });
        let (stream, _) = listener.accept().await.expect("there is a client");
        let waiting = WaitingParts::default();
        (Connection::new(stream, waiting.clone()), waiting, client)
    }

    /// Writes as the library does.
    async fn write(connection: &mut Connection, pieces: impl IntoIterator<Item = Bytes>) -> io::Result<()> {
        let mut left = VecDeque::from_iter(pieces);
        while !left.is_empty() {
            let slices: Vec<IoSlice<'_>> = left.iter().map(|piece| IoSlice::new(piece)).collect();
            let mut written =
                poll_fn(|context| Pin::new(&mut *connection).poll_write_vectored(context, &slices)).await?;
            while let Some(first) = left.front_mut() {
                let of_first = written.min(first.len());
                first.advance(of_first);
                written -= of_first;
                if first.has_remaining() {
                    break;
                }
                left.pop_front();
            }
            assert_eq!(written, 0, "no more is written than there was");
        }
        Ok(())
    }

    #[tokio::test]
    async fn parts_are_sent_in_their_order_among_other_bytes() {
        let bytes = some_bytes(ObjectPart::BYTES_MAX * 40);
        let file = file_of(&bytes);
        let (mut connection, waiting, client) = connection().await;
        let mut expected = Vec::new();
        let size = bytes.len() as u64;
        let largest = ObjectPart::BYTES_MAX as u64;
        let starts = (0..size).step_by(ObjectPart::BYTES_MAX);
        // The one whole file exceeds what any socket takes at once.
        let ranges = [5..6, size - 3..size, 0..largest].into_iter().chain(starts.map(|at| at..at + largest));
        for range in ranges {
            expected.extend_from_slice(b"head");
            expected.extend_from_slice(&bytes[range.start as usize..range.end as usize]);
            expected.extend_from_slice(b"tail");
            let placeholders = waiting.add(part(&file, range));
            let pieces = [Bytes::from_static(b"head"), placeholders, Bytes::from_static(b"tail")];
            write(&mut connection, pieces).await.expect("it is sent");
        }
        drop(connection);
        assert!(client.await.expect("it reads") == expected);
    }

    #[tokio::test]
    async fn a_connection_ends_before_it_sends_a_placeholder() {
        let file = file_of(&some_bytes(100));
        for what in ["no part", "a copy", "some of them", "none of them"] {
            let (mut connection, waiting, client) = connection().await;
            let part = part(&file, 0..100);
            let placeholders = match what {
                "no part" => WaitingParts::default().add(part),
                _ => waiting.add(part),
            };
            let piece = match what {
                "a copy" => Some(Bytes::copy_from_slice(&placeholders)),
                "some of them" => Some(placeholders.slice(..99)),
                "none of them" => None,
                _ => Some(placeholders),
            };
            let pieces = piece.into_iter().chain([Bytes::from_static(b"other")]);
            assert!(write(&mut connection, pieces).await.is_err(), "{what}");
            drop(connection);
            assert_eq!(client.await.expect("it reads"), b"", "{what}");
        }
    }

    #[tokio::test]
    async fn a_file_that_ends_early_ends_the_connection() {
        let bytes = some_bytes(100);
        let (mut connection, waiting, client) = connection().await;
        let placeholders = waiting.add(part(&file_of(&bytes), 50..101));
        let error = write(&mut connection, [placeholders]).await.expect_err("a byte is missing");
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
        drop(connection);
        assert_eq!(client.await.expect("it reads"), &bytes[50..]);
    }

    #[tokio::test]
    async fn a_client_that_is_gone_is_an_error() {
        let file = file_of(&some_bytes(ObjectPart::BYTES_MAX));
        let (mut connection, waiting, client) = connection().await;
        client.abort();
        let _ = client.await;
        let error = loop {
            let placeholders = waiting.add(part(&file, 0..ObjectPart::BYTES_MAX as u64));
            if let Err(error) = write(&mut connection, [placeholders]).await {
                break error;
            }
        };
        assert!(!is_of_file(&error), "{error}");
    }
}
