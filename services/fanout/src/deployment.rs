//! The loop of one deployment: takes what the stream, the sessions and the runners bring to the tides, and does what
//! the tides say.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use contract::{Position, Result, SessionCommand, SessionRound, SessionStart, Timestamp};
use futures::{
    FutureExt, Stream, StreamExt,
    future::BoxFuture,
    stream::{BoxStream, FuturesUnordered, SelectAll},
};
use result_cache::FlightId;
use tokio::{
    sync::{mpsc, watch},
    task::{AbortHandle, JoinSet},
};
use tokio_util::sync::CancellationToken;

use crate::{
    call::Command,
    feed::FeedEvent,
    newest::Newest,
    outcome::FinishedRun,
    run::Runs,
    service::SessionPlace,
    session::SessionId,
    tides::{Effect, RunOrder, Tides},
};

/// Arguments longer than this are made canonical on a thread that may block.
const INLINE_ARGUMENT_BYTES_MAX: usize = 64 << 10;

/// A session that wants to begin.
pub(crate) struct Opening {
    pub start: SessionStart,
    pub commands: mpsc::Receiver<Box<SessionCommand>>,
    /// Has one place more than rounds may be unsent: it is for the error that ends the session.
    pub rounds: mpsc::Sender<Box<Result<SessionRound>>>,
    /// Counts the session as long as it lives.
    pub place: SessionPlace,
}

pub(crate) struct Deployment {
    pub tides: Tides,
    pub runs: Arc<Runs>,
    pub openings: mpsc::Receiver<Opening>,
    pub events: mpsc::Receiver<FeedEvent>,
    pub position: watch::Receiver<Position>,
    pub newest: Arc<Newest>,
    pub shutdown: CancellationToken,
    /// Events of each kind taken at once before the tides are asked; more commits in one look mean fewer rounds.
    pub events_taken_max: usize,
    /// Without sessions for so long, the deployment is given up until somebody asks for it again.
    pub idle_max: Duration,
}

struct Client {
    rounds: mpsc::Sender<Box<Result<SessionRound>>>,
    _place: SessionPlace,
}

/// A command that can be carried out, and the moment as of which at the earliest; or why the session is over.
type Incoming = Result<(Command, Timestamp)>;

/// What the loop holds besides the tides.
#[derive(Default)]
struct Connections {
    clients: HashMap<SessionId, Client>,
    /// `None` is a session's last.
    commands: SelectAll<BoxStream<'static, (SessionId, Option<Incoming>)>>,
    /// Sessions that wait until their client has taken a round.
    room: FuturesUnordered<BoxFuture<'static, SessionId>>,
    running: JoinSet<(FlightId, Result<FinishedRun>)>,
    tasks: HashMap<FlightId, AbortHandle>,
    next_session: u64,
}

impl Deployment {
    /// Ends on shutdown, or when `give_up` says so after a time without sessions.
    pub async fn run(mut self, give_up: impl Fn(&mpsc::Receiver<Opening>) -> bool) {
        let mut connections = Connections::default();
        let mut idle_since = Instant::now();
        let shutdown = self.shutdown.clone();
        loop {
            if !connections.clients.is_empty() {
                idle_since = Instant::now();
            }
            let idle_end = idle_since + self.idle_max;
            let wake = self.tides.wake_at(Instant::now()).unwrap_or(idle_end);
            tokio::select! {
                () = shutdown.cancelled() => break,
                Some(event) = self.events.recv() => self.take_event(event),
                Some(opening) = self.openings.recv() => self.take_opening(opening, &mut connections),
                Some((session, command)) = connections.commands.next(), if !connections.commands.is_empty() => {
                    self.take_command(session, command, &mut connections);
                }
                Some(session) = connections.room.next(), if !connections.room.is_empty() => {
                    self.tides.room(session, Instant::now());
                }
                Some(joined) = connections.running.join_next(), if !connections.running.is_empty() => {
                    self.take_run(joined, &mut connections);
                }
                () = tokio::time::sleep_until(wake.into()) => {
                    if connections.clients.is_empty() && idle_end <= Instant::now() && give_up(&self.openings) {
                        break;
                    }
                }
            }
            self.take_what_is_there(&mut connections);
            self.tides.tide(Instant::now());
            self.perform(&mut connections);
        }
        connections.running.shutdown().await;
    }

    /// Everything else that has come in by now, so that one tide serves it all.
    fn take_what_is_there(&mut self, connections: &mut Connections) {
        for _ in 0..self.events_taken_max {
            let Ok(event) = self.events.try_recv() else { break };
            self.take_event(event);
        }
        for _ in 0..self.events_taken_max {
            let Some(joined) = connections.running.try_join_next() else { break };
            self.take_run(joined, connections);
        }
        for _ in 0..self.events_taken_max {
            let Some(Some((session, command))) = connections.commands.next().now_or_never() else { break };
            self.take_command(session, command, connections);
        }
    }

    fn take_event(&mut self, event: FeedEvent) {
        let now = Instant::now();
        match event {
            FeedEvent::Follow(from) => self.tides.follow(from, now),
            FeedEvent::Commit(commit) => self.tides.commit(&commit, now),
            FeedEvent::Published(published) => self.tides.heartbeat(published, now),
        }
    }

    fn take_opening(&mut self, opening: Opening, connections: &mut Connections) {
        let session = SessionId(connections.next_session);
        connections.next_session += 1;
        self.tides.open(session, opening.start.identity, opening.start.not_before);
        let client = Client { rounds: opening.rounds, _place: opening.place };
        let other = connections.clients.insert(session, client);
        assert!(other.is_none(), "a session's id is used once");
        let commands = commands_of(session, opening.commands, self.newest.clone());
        connections.commands.push(commands.boxed());
    }

    fn take_command(&mut self, session: SessionId, command: Option<Incoming>, connections: &mut Connections) {
        match command {
            Some(Ok((command, not_before))) => {
                self.tides.command(session, command, not_before, Instant::now());
            }
            Some(Err(error)) => self.tides.fail(session, error),
            None => {
                self.tides.close(session);
                connections.clients.remove(&session);
            }
        }
    }

    fn take_run(&mut self, joined: Joined, connections: &mut Connections) {
        let (run, finished) = match joined {
            Ok(finished) => finished,
            // It was abandoned, and is known no longer.
            Err(error) if error.is_cancelled() => return,
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        };
        connections.tasks.remove(&run);
        self.tides.run_finished(run, finished, Instant::now());
    }

    /// Does what the tides want done; what follows from that at once is done as well.
    fn perform(&mut self, connections: &mut Connections) {
        loop {
            let effects = self.tides.take_effects();
            if effects.is_empty() {
                return;
            }
            for effect in effects {
                self.perform_one(effect, connections);
            }
        }
    }

    fn perform_one(&mut self, effect: Effect, connections: &mut Connections) {
        match effect {
            Effect::Run(order) => self.start_run(order, connections),
            Effect::Abandon(run) => {
                if let Some(task) = connections.tasks.remove(&run) {
                    task.abort();
                }
            }
            Effect::Send(session, round) => self.send(session, round, connections),
            Effect::End(session, error) => {
                if let Some(client) = connections.clients.remove(&session) {
                    // There is a place for it; if not, the client is gone.
                    let _ = client.rounds.try_send(Box::new(Err(error)));
                }
            }
        }
    }

    fn start_run(&mut self, order: RunOrder, connections: &mut Connections) {
        let (run, runs) = (order.run, self.runs.clone());
        let task = connections.running.spawn(async move { (order.run, runs.run(&order).await) });
        let other = connections.tasks.insert(run, task);
        assert!(other.is_none(), "a run is ordered once");
    }

    fn send(&mut self, session: SessionId, round: SessionRound, connections: &mut Connections) {
        let Some(client) = connections.clients.get(&session) else { return };
        let lag = self.position.borrow().published.as_nanoseconds();
        let lag = lag.saturating_sub(round.timestamp.as_nanoseconds());
        self.runs.metrics.lag_ns.store(lag, std::sync::atomic::Ordering::Relaxed);
        if client.rounds.try_send(Box::new(Ok(round))).is_err() {
            self.tides.close(session);
            connections.clients.remove(&session);
        } else if client.rounds.capacity() >= 2 {
            self.tides.room(session, Instant::now());
        } else {
            let rounds = client.rounds.clone();
            let room = async move {
                // An error means that the client is gone; the next round finds that out.
                let _ = rounds.reserve_many(2).await;
                session
            };
            connections.room.push(room.boxed());
        }
    }
}

type Joined = std::result::Result<(FlightId, Result<FinishedRun>), tokio::task::JoinError>;

fn commands_of(
    session: SessionId,
    commands: mpsc::Receiver<Box<SessionCommand>>,
    newest: Arc<Newest>,
) -> impl Stream<Item = (SessionId, Option<Incoming>)> {
    let commands = futures::stream::unfold((commands, newest), |(mut commands, newest)| async move {
        let command = *commands.recv().await?;
        let not_before = if asks_anew(&command) { newest.moment().await } else { Ok(Timestamp::ZERO) };
        let incoming = match not_before {
            Ok(not_before) => Ok((prepare(command).await, not_before)),
            Err(error) => Err(error),
        };
        Some((incoming, (commands, newest)))
    });
    commands.map(Some).chain(futures::stream::once(async { None })).map(move |command| (session, command))
}

/// Whether the client asks for what it has not been shown. It may have heard of commits that this process has not seen yet: by
/// an action, by a request to another address, from somebody else.
fn asks_anew(command: &SessionCommand) -> bool {
    match command {
        SessionCommand::ModifyQueries { modifications, .. } => modifications
            .iter()
            .any(|modification| matches!(modification, contract::QueryModification::Add { .. })),
        SessionCommand::SetIdentity { .. } => true,
        SessionCommand::Wrote { .. } | SessionCommand::Touch => false,
    }
}

async fn prepare(command: SessionCommand) -> Command {
    let bytes = match &command {
        SessionCommand::ModifyQueries { modifications, .. } => modifications
            .iter()
            .map(|modification| match modification {
                contract::QueryModification::Add { arguments, .. } => arguments.len(),
                contract::QueryModification::Remove { .. } => 0,
            })
            .sum(),
        _ => 0,
    };
    if bytes <= INLINE_ARGUMENT_BYTES_MAX {
        return command.into();
    }
    match tokio::task::spawn_blocking(|| Command::from(command)).await {
        Ok(command) => command,
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        // The runtime is being shut down, and this task with it.
        Err(_) => std::future::pending().await,
    }
}
