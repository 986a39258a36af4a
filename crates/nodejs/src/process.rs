//! One process: its frames, its output, its end.

use std::{
    collections::{BTreeMap, HashMap},
    io,
    os::unix::process::ExitStatusExt as _,
    path::PathBuf,
    process::ExitStatus,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use contract::DeploymentRef;
use parking_lot::Mutex;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _},
    net::unix::pipe,
    process::Child,
    sync::{mpsc, oneshot},
    time::sleep,
};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::{
    Failure, NodeLimits, NodeVersion, family, frame,
    message::{CallNumber, FromNode, Level},
};

/// For whom a process is. It serves nobody else, ever.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Key {
    pub deployment: DeploymentRef,
    /// The path of the component.
    pub component: String,
    pub version: NodeVersion,
    /// Where its modules are.
    pub code: PathBuf,
    pub environment: Arc<BTreeMap<String, String>>,
}

/// A process, as whoever uses it sees it. It ends when this is dropped.
pub(crate) struct Process {
    pub key: Key,
    pub state: Arc<State>,
    sender: Sender,
    messages: mpsc::Receiver<Message>,
    ended: oneshot::Receiver<Option<ExitStatus>>,
    calls: CallNumber,
    _end: DropGuard,
}

/// What a process says.
pub(crate) enum Message {
    Frame(FromNode, Bytes),
    /// A line of its standard output or error.
    Output(Level, String, bool),
}

/// What is known of a process from outside.
pub(crate) struct State {
    pub pid: i32,
    pub code: PathBuf,
    /// Whether a call runs, or an analysis: then it is watched.
    is_busy: AtomicBool,
    /// The limit that has ended it, or the message that could not be read.
    failure: OnceLock<Failure>,
    /// Whether Node.js has said that its heap is full.
    heap_is_full: AtomicBool,
    end: CancellationToken,
}

/// Sends frames. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Sender(mpsc::Sender<Vec<u8>>);

/// The processes that there are, by their ids.
#[derive(Default)]
pub(crate) struct Processes(Mutex<HashMap<i32, Arc<State>>>);

/// What a process is made of.
pub(crate) struct Parts {
    pub child: Child,
    pub input: pipe::Sender,
    pub output: pipe::Receiver,
    /// Removed when it has ended.
    pub home: PathBuf,
}

/// Messages that wait on either side; then whoever sends waits.
const MESSAGES_MAX: usize = 4;

/// How long lines are waited for that a process has written before its end.
const LAST_LINES_MS: u64 = 50;

impl Sender {
    /// Without effect if the process has ended, which its user learns elsewhere.
    pub(crate) async fn send(&self, header: &impl serde::Serialize, body: &[u8]) {
        let _ = self.0.send(frame::encode(header, body)).await;
    }
}

impl State {
    pub(crate) fn set_busy(&self, is_busy: bool) {
        self.is_busy.store(is_busy, Ordering::Release);
    }

    pub(crate) fn is_busy(&self) -> bool {
        self.is_busy.load(Ordering::Acquire)
    }

    /// Ends the process because of what it does.
    pub(crate) fn fail(&self, failure: Failure) {
        let _ = self.failure.set(failure);
        self.end.cancel();
    }

    /// Ends the process.
    pub(crate) fn end(&self) {
        self.end.cancel();
    }

    fn failure(&self, status: Option<ExitStatus>, limits: &NodeLimits) -> Failure {
        if let Some(failure) = self.failure.get() {
            return failure.clone();
        }
        if self.heap_is_full.load(Ordering::Acquire) {
            return Failure::OutOfMemory { limit_bytes: limits.memory_bytes_max };
        }
        let how = match status.map(|status| (status.code(), status.signal())) {
            Some((Some(code), _)) => format!("ended itself with exit code {code}"),
            Some((_, Some(signal))) => format!("was ended by signal {signal}"),
            _ => "ended".to_owned(),
        };
        Failure::ProcessEnded { how }
    }
}

impl Processes {
    pub(crate) fn count(&self) -> usize {
        self.0.lock().len()
    }

    pub(crate) fn all(&self) -> Vec<Arc<State>> {
        self.0.lock().values().map(Arc::clone).collect()
    }
}

impl Process {
    /// The process, and what has to run until it has ended and nothing is left of it.
    pub(crate) fn new(
        key: Key,
        parts: Parts,
        processes: &Arc<Processes>,
        limits: NodeLimits,
        shutdown: &CancellationToken,
    ) -> (Process, impl Future<Output = ()> + Send + 'static) {
        let pid = parts.child.id().expect("nobody has waited for it") as i32;
        let end = shutdown.child_token();
        let state = Arc::new(State {
            pid,
            code: key.code.clone(),
            is_busy: AtomicBool::new(false),
            failure: OnceLock::new(),
            heap_is_full: AtomicBool::new(false),
            end: end.clone(),
        });
        processes.0.lock().insert(pid, Arc::clone(&state));
        let (sender, outgoing) = mpsc::channel(MESSAGES_MAX);
        let (incoming, messages) = mpsc::channel(MESSAGES_MAX);
        let (ended_sender, ended) = oneshot::channel();
        let kept = {
            let (state, processes) = (Arc::clone(&state), Arc::clone(processes));
            async move {
                let status = keep(parts, &state, incoming, outgoing, limits).await;
                processes.0.lock().remove(&pid);
                // Its user may be gone.
                let _ = ended_sender.send(status);
            }
        };
        let sender = Sender(sender);
        let process = Process { key, state, sender, messages, ended, calls: 0, _end: end.drop_guard() };
        (process, kept)
    }

    pub(crate) fn sender(&self) -> &Sender {
        &self.sender
    }

    pub(crate) fn next_call(&mut self) -> CallNumber {
        self.calls += 1;
        self.calls
    }

    /// `None` when it has ended, or is about to.
    pub(crate) async fn receive(&mut self) -> Option<Message> {
        self.messages.recv().await
    }

    /// Why it has ended. To be asked when there are no more messages.
    pub(crate) async fn failure(&mut self, limits: &NodeLimits) -> Failure {
        let status = (&mut self.ended).await.ok().flatten();
        self.state.failure(status, limits)
    }

    /// Keeps it from running, also what it has left to run.
    pub(crate) fn stop(&self) {
        family::signal(self.state.pid, libc::SIGSTOP);
    }

    pub(crate) fn wake(&self) {
        family::signal(self.state.pid, libc::SIGCONT);
    }
}

/// Passes on what comes and goes until the process has ended or is to end; then ends all of it.
async fn keep(
    mut parts: Parts,
    state: &State,
    incoming: mpsc::Sender<Message>,
    mut outgoing: mpsc::Receiver<Vec<u8>>,
    limits: NodeLimits,
) -> Option<ExitStatus> {
    let stdout = parts.child.stdout.take().expect("it is piped");
    let stderr = parts.child.stderr.take().expect("it is piped");
    let chars_max = limits.log_line_chars_max;
    let frames = async {
        let mut output = parts.output;
        loop {
            match frame::read(&mut output, limits.frame_bytes_max).await {
                Ok(Some((header, body))) => {
                    if incoming.send(Message::Frame(header, body)).await.is_err() {
                        break;
                    }
                }
                Ok(None) => break,
                // It has ended in the middle of a frame.
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => break,
                Err(error) => {
                    let _ = state.failure.set(Failure::Broken { reason: error.to_string() });
                    break;
                }
            }
        }
        sleep(Duration::from_millis(LAST_LINES_MS)).await;
    };
    let writes = async {
        while let Some(frame) = outgoing.recv().await {
            if parts.input.write_all(&frame).await.is_err() {
                break;
            }
        }
        std::future::pending::<()>().await;
    };
    let lines = async {
        let stdout = pass_lines(stdout, Level::Log, state, &incoming, chars_max);
        let stderr = pass_lines(stderr, Level::Error, state, &incoming, chars_max);
        futures::join!(stdout, stderr);
        std::future::pending::<()>().await;
    };
    tokio::select! {
        biased;
        () = state.end.cancelled() => {}
        // Before frames, so that lines come before the result that they were written before.
        () = lines => {}
        () = frames => {}
        () = writes => {}
    }
    let (pid, home) = (state.pid, parts.home);
    let ended = tokio::task::spawn_blocking(move || {
        // Before it is waited for: until then its id is its own.
        family::end_all(pid, &home);
        if let Err(error) = std::fs::remove_dir_all(&home) {
            tracing::warn!(%error, home = %home.display(), "what an action has written can't be removed");
        }
    });
    ended.await.expect("a panic ends the process");
    parts.child.wait().await.ok()
}

/// Passes lines on until there are no more.
async fn pass_lines(
    mut from: impl AsyncRead + Unpin,
    level: Level,
    state: &State,
    to: &mpsc::Sender<Message>,
    bytes_max: usize,
) {
    let mut line = Vec::new();
    let mut is_cut = false;
    let mut part = vec![0; 8 << 10];
    while let Ok(read @ 1..) = from.read(&mut part).await {
        for byte in &part[..read] {
            if *byte == b'\n' {
                pass_line(&line, is_cut, level, state, to).await;
                (line, is_cut) = (Vec::new(), false);
            } else if line.len() < bytes_max {
                line.push(*byte);
            } else {
                is_cut = true;
            }
        }
    }
    if !line.is_empty() {
        pass_line(&line, is_cut, level, state, to).await;
    }
}

async fn pass_line(line: &[u8], is_cut: bool, level: Level, state: &State, to: &mpsc::Sender<Message>) {
    let line = String::from_utf8_lossy(line).into_owned();
    if line.contains("JavaScript heap out of memory") {
        state.heap_is_full.store(true, Ordering::Release);
    }
    // What Node.js says of itself then is not for the developer's log: the failure says what happened.
    let is_of_the_end = line.starts_with("<--- ") || state.heap_is_full.load(Ordering::Acquire);
    if !is_of_the_end {
        // Nobody may be there for it any more.
        let _ = to.send(Message::Output(level, line, is_cut)).await;
    }
}
