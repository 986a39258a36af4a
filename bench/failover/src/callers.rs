//! Callers that write all the time, each to one node after the other.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use harness::Answer;
use http_body_util::{BodyExt, Full};
use hyper::{
    Request,
    body::Bytes,
    client::conn::http1::{self, SendRequest},
};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use tokio::{net::TcpStream, task::JoinSet, time::timeout};

/// After so many writes a caller goes to the next node by itself, so that one which was away is called again.
const WRITES_AT_ONE_NODE: u32 = 50;
/// Before a caller goes to the next node because it can't connect.
const PAUSE_OF_REFUSED: Duration = Duration::from_millis(2);

/// What the callers have seen since it was forgotten last.
#[derive(Clone)]
pub struct Seen {
    since: Instant,
    acknowledged: Vec<Duration>,
    failures: Vec<String>,
}

impl Seen {
    fn new() -> Seen {
        Seen { since: Instant::now(), acknowledged: Vec::new(), failures: Vec::new() }
    }

    /// When commits were acknowledged, in their order.
    pub fn acknowledged(&self) -> &[Duration] {
        &self.acknowledged
    }

    /// When the last one was.
    pub fn last(&self) -> Option<Duration> {
        self.acknowledged.last().copied()
    }

    /// Requests that were sent and had no answer, or one that is an error.
    pub fn failures(&self) -> &[String] {
        &self.failures
    }
}

struct Shared {
    addresses: Vec<SocketAddr>,
    deadline_ms: AtomicU64,
    pause: Duration,
    seen: Mutex<Seen>,
    written: AtomicU64,
}

impl Shared {
    /// Whether it was acknowledged.
    fn note(&self, address: SocketAddr, answer: Answer) -> bool {
        let mut seen = self.seen.lock();
        let at = seen.since.elapsed();
        match answer {
            Answer::Done => {
                self.written.fetch_add(1, Ordering::Relaxed);
                seen.acknowledged.push(at);
                true
            }
            Answer::Failed(text) => {
                seen.failures.push(format!("after {} ms at {address}: {text}", at.as_millis()));
                false
            }
        }
    }
}

pub struct Callers {
    shared: Arc<Shared>,
    tasks: JoinSet<()>,
}

impl Callers {
    /// They begin at once.
    pub fn start(addresses: Vec<SocketAddr>, callers: usize, pause: Duration) -> Callers {
        let shared = Arc::new(Shared {
            addresses,
            deadline_ms: AtomicU64::new(1_000),
            pause,
            seen: Mutex::new(Seen::new()),
            written: AtomicU64::new(0),
        });
        let mut tasks = JoinSet::new();
        for caller in 0..callers {
            tasks.spawn(call(shared.clone(), caller));
        }
        Callers { shared, tasks }
    }

    /// From now on whoever has no answer for so long asks elsewhere.
    pub fn set_deadline(&self, deadline: Duration) {
        self.shared.deadline_ms.store(deadline.as_millis() as u64, Ordering::Relaxed);
    }

    pub fn forget(&self) {
        *self.shared.seen.lock() = Seen::new();
    }

    pub fn seen(&self) -> Seen {
        self.shared.seen.lock().clone()
    }

    /// Ends them; how many rows were acknowledged in all.
    pub async fn end(mut self) -> u64 {
        self.tasks.shutdown().await;
        self.shared.written.load(Ordering::Relaxed)
    }
}

async fn call(shared: Arc<Shared>, caller: usize) {
    let mut at = caller;
    let mut number = 0;
    loop {
        let address = shared.addresses[at % shared.addresses.len()];
        at += 1;
        let Some(mut sender) = connect(address).await else {
            tokio::time::sleep(PAUSE_OF_REFUSED).await;
            continue;
        };
        for _ in 0..WRITES_AT_ONE_NODE {
            // Closed before anything was sent: nothing has failed.
            if sender.ready().await.is_err() {
                break;
            }
            number += 1;
            let deadline = Duration::from_millis(shared.deadline_ms.load(Ordering::Relaxed));
            let answer = timeout(deadline, write(&mut sender, address, caller, number)).await;
            let answer = answer.unwrap_or_else(|_| Answer::Failed(format!("no answer within {deadline:?}")));
            if !shared.note(address, answer) {
                break;
            }
            tokio::time::sleep(shared.pause).await;
        }
    }
}

async fn connect(address: SocketAddr) -> Option<SendRequest<Full<Bytes>>> {
    let stream = TcpStream::connect(address).await.ok()?;
    stream.set_nodelay(true).ok()?;
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.ok()?;
    // It ends with the sender, or when the other side closes it.
    tokio::spawn(connection);
    Some(sender)
}

async fn write(
    sender: &mut SendRequest<Full<Bytes>>,
    address: SocketAddr,
    caller: usize,
    number: u64,
) -> Answer {
    let body = format!(r#"{{"path":"writes:add","format":"json","args":{{"text":"{caller} {number}"}}}}"#);
    let request = Request::post("/api/mutation")
        .header("host", address.to_string())
        .header("content-type", "application/json")
        .body(Full::new(Bytes::from(body)))
        .expect("the parts are valid");
    let lost = |error: hyper::Error| Answer::Failed(format!("the answer was lost: {error}"));
    let answer = match sender.send_request(request).await {
        Ok(answer) => answer,
        Err(error) => return lost(error),
    };
    let status = answer.status().as_u16();
    match answer.into_body().collect().await {
        Ok(body) => Answer::of_function(status, &body.to_bytes()),
        Err(error) => lost(error),
    }
}
