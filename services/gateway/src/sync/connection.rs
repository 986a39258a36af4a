//! One connection: reads, writes, and keeps the time.

use std::{
    collections::VecDeque,
    pin::{Pin, pin},
    time::Duration,
};

use crate::limits::SyncLimits;
use auth::Verified;
use axum::extract::ws::close_code;
use contract::{FanoutSession, Identity, SessionCommand, SessionRound, SessionStart};
use fair_queue::Place;
use sync_protocol::{
    ClientMessage, ClientVersion, Connect, MutationResult, ServerMessage, split_into_chunks,
};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_tungstenite::tungstenite::{self, Message};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{
    actions::Actions,
    close::Close,
    mutations::{Answer, Mutations},
    session::{Session, Step, to_wire},
    sessions::Registration,
    socket::Socket,
};
use crate::{
    bodies::Held,
    clock,
    edge::{Addressed, SharedEdge},
    tokens::TokenError,
};

/// Serves one socket until either side closes it.
pub(super) async fn run(
    edge: SharedEdge,
    addressed: Addressed,
    client: Option<ClientVersion>,
    socket: Socket,
) {
    let now = Instant::now();
    let mut connection = Connection {
        takes_chunks: client.is_some_and(|client| client.takes_transition_chunks()),
        limits: edge.limits.sync,
        edge,
        addressed,
        socket,
        next_ping: now,
        last_sent: now,
        last_received: now,
    };
    match connection.serve().await {
        Err(End::Close(close)) => connection.close(close).await,
        Err(End::Gone) | Ok(()) => connection.finish().await,
    }
}

/// Why a connection ends.
enum End {
    /// The peer closed it, or is gone.
    Gone,
    /// We close it.
    Close(Close),
}

impl From<Close> for End {
    fn from(close: Close) -> End {
        End::Close(close)
    }
}

impl From<contract::Error> for End {
    fn from(error: contract::Error) -> End {
        End::Close(Close::after(&error))
    }
}

struct Connection {
    edge: SharedEdge,
    addressed: Addressed,
    limits: SyncLimits,
    socket: Socket,
    takes_chunks: bool,
    next_ping: Instant,
    last_sent: Instant,
    /// A message counts when it is whole, and what comes between its parts does not.
    last_received: Instant,
}

/// What exists once the client has said `Connect`.
struct Connected {
    session: Session,
    fanout: FanoutSession,
    mutations: Mutations,
    actions: Actions,
    /// What large changes of the query set hold until a round shows that the fan-out has counted them, by their versions.
    adding: VecDeque<(u32, Held)>,
    registration: Registration,
    /// A token of the client's. What it has sent behind it waits until it is known who it is.
    verifying: Option<Verifying>,
}

type Verifying = Pin<Box<dyn Future<Output = Result<Verified, TokenError>> + Send>>;

impl Connection {
    async fn serve(&mut self) -> Result<(), End> {
        let connect = self.connect().await?;
        tracing::debug!(
            session = %connect.session_id,
            count = connect.connection_count,
            after = connect.last_close_reason.as_deref().unwrap_or(""),
            "a client connected"
        );
        let deployment = &self.addressed.deployment;
        let registration =
            self.edge.sessions.register(deployment.reference, connect.session_id, &deployment.gone);
        let now_ms = clock::now().as_millis() as i64;
        let queries_max = self.edge.limits.session_queries_max;
        let session = Session::new(&connect, now_ms, deployment.admin_keys.clone(), queries_max);
        let start = SessionStart {
            deployment: deployment.reference,
            not_before: session.observed(),
            identity: Identity::Anonymous,
        };
        // A client can say as much in it as a message may have.
        drop(connect);
        let fanout = self.edge.services.fanout.open(start).await?;
        let mutations = Mutations::new(self.edge.clone(), self.addressed.clone());
        let actions = Actions::new(self.edge.clone(), self.addressed.clone());
        let connected = Connected {
            session,
            fanout,
            mutations,
            actions,
            adding: VecDeque::new(),
            registration,
            verifying: None,
        };
        self.converse(connected).await
    }

    /// Why a session ends that its client has not ended.
    fn why_ended(&self) -> Close {
        if self.edge.shutdown.is_cancelled() {
            Close::shutting_down()
        } else if self.addressed.deployment.gone.is_cancelled() {
            Close::after(&contract::deployment_not_found())
        } else {
            Close::superseded()
        }
    }

    /// Waits for the first message, which must be `Connect`.
    async fn connect(&mut self) -> Result<Connect, End> {
        let shutdown = self.edge.shutdown.clone();
        let time = Duration::from_millis(self.limits.connect_ms_max);
        let first = async {
            loop {
                if let Some((message, _)) = self.receive().await? {
                    return Ok::<_, End>(message);
                }
            }
        };
        let first = tokio::select! {
            first = timeout(time, first) => first.map_err(|_| Close::silent())??,
            () = shutdown.cancelled() => return Err(Close::shutting_down().into()),
        };
        match first {
            ClientMessage::Connect(connect) => Ok(connect),
            _ => Err(Close::violation("the first message must be Connect").into()),
        }
    }

    /// What comes most often and holds nobody up is looked at first. What is waited for is registered once and not
    /// for each message: with thousands of clients that is what a message costs.
    async fn converse(&mut self, mut connected: Connected) -> Result<(), End> {
        let token = connected.registration.ended().clone();
        let mut ended = pin!(token.cancelled());
        let mut alarm = pin!(sleep_until(self.next_ping));
        let mut was_round = false;
        loop {
            // A client that takes rounds more slowly than they come is heard between two of them all the same.
            let is_others_turn = std::mem::take(&mut was_round);
            // A user whose token has expired is shown nothing before the next one is verified.
            let is_shown = connected.verifying.is_none() || !connected.session.is_expired(clock::now_ms());
            let is_heard = connected.verifying.is_none();
            tokio::select! {
                biased;
                round = connected.fanout.rounds.recv(), if is_shown && !is_others_turn => {
                    was_round = true;
                    let round = (*round.ok_or_else(fanout_ended)?)?;
                    // The response to a mutation comes before the Transition that covers it, where that is possible.
                    while let Some(answer) = connected.mutations.try_answer() {
                        self.answer(&mut connected, answer).await?;
                    }
                    self.round(&mut connected, round).await?;
                }
                Some(answer) = connected.mutations.answer() => self.answer(&mut connected, answer).await?,
                answer = connected.actions.answer() => self.deliver(&token, &answer).await?,
                () = &mut ended => {
                    return Err(self.why_ended().into());
                }
                verified = ready(&mut connected.verifying) => {
                    connected.verifying = None;
                    let step = connected.session.verified(verified);
                    self.step(&mut connected, step, Held::default()).await?;
                }
                message = self.receive(), if is_heard => if let Some((message, held)) = message? {
                    self.message(&mut connected, message, held).await?;
                },
                () = &mut alarm => alarm.as_mut().reset(self.keep_alive().await?),
                () = std::future::ready(()), if is_others_turn => {}
            }
        }
    }

    /// Sends what is due without anybody having asked for it. Answers when to look again: nothing is due before.
    async fn keep_alive(&mut self) -> Result<Instant, End> {
        let now = Instant::now();
        if now >= self.next_ping {
            self.ping(now).await?;
            self.next_ping = now + Duration::from_millis(self.limits.ping_interval_ms);
        }
        let heartbeat = Duration::from_millis(self.limits.heartbeat_ms);
        if now >= self.last_sent + heartbeat {
            self.send(&ServerMessage::Ping).await?;
        }
        Ok(self.next_ping.min(self.last_sent + heartbeat))
    }

    async fn message(
        &mut self,
        connected: &mut Connected,
        message: ClientMessage,
        held: Held,
    ) -> Result<(), End> {
        match connected.session.message(message, clock::now_ms()) {
            None => Ok(()),
            Some(step) => self.step(connected, step, held).await,
        }
    }

    /// `held` is what the message that led here holds of the room for messages.
    async fn step(&mut self, connected: &mut Connected, step: Step, held: Held) -> Result<(), End> {
        match step {
            Step::Command(command) => {
                if let SessionCommand::ModifyQueries { version, .. } = &command
                    && held.is_any()
                {
                    connected.adding.push_back((*version, held));
                }
                command_fanout(connected, command).await
            }
            Step::Mutation(mutation) => connected.mutations.push(mutation, held).map_err(|_| {
                let error = contract::Error::new(
                    contract::ErrorKind::TooManyRequests,
                    "TooManyConcurrentMutations",
                    "too many mutations of one client are waiting",
                );
                Close::after(&error).into()
            }),
            Step::Action(action) => {
                connected.actions.begin(action, held);
                Ok(())
            }
            Step::Verify(token) => {
                let (edge, deployment) = (self.edge.clone(), self.addressed.deployment.clone());
                let verified = async move {
                    let _held = held;
                    edge.tokens.verify(&edge.services, &deployment, &token.0).await
                };
                connected.verifying = Some(Box::pin(verified));
                Ok(())
            }
            Step::Refuse(message) => {
                self.send(&message).await?;
                self.linger().await
            }
            Step::Close(close) => Err(close.into()),
        }
    }

    /// After a refusal clients close by themselves and come back at once; if we closed first they would wait.
    async fn linger(&mut self) -> Result<(), End> {
        let shutdown = self.edge.shutdown.clone();
        let time = Duration::from_millis(self.limits.refused_linger_ms_max);
        let until_gone = async {
            loop {
                match self.receive().await {
                    Err(End::Gone) => return,
                    Err(End::Close(_)) | Ok(_) => {}
                }
            }
        };
        tokio::select! {
            gone = timeout(time, until_gone) => match gone {
                Ok(()) => Err(End::Gone),
                Err(_) => Err(Close::violation("the connection was refused").into()),
            },
            () = shutdown.cancelled() => Err(Close::shutting_down().into()),
        }
    }

    async fn answer(&mut self, connected: &mut Connected, answer: Answer) -> Result<(), End> {
        let outcome = answer.outcome?;
        let (result, command) = match (outcome.result, outcome.timestamp) {
            (Ok(value), Some(timestamp)) => {
                connected.session.answered(timestamp);
                let result = MutationResult::Success { value, timestamp: to_wire(timestamp) };
                (result, Some(SessionCommand::Wrote { timestamp }))
            }
            (Ok(_), None) => unreachable!("a success without a timestamp does not become an answer"),
            (Err(error), _) => {
                // Rust and Python report a ConvexError only when the next Transition has come.
                let command = error.data.is_some().then_some(SessionCommand::Touch);
                (MutationResult::Failure { message: error.message, data: error.data }, command)
            }
        };
        let response = ServerMessage::MutationResponse {
            request_id: answer.request_id,
            result,
            log_lines: outcome.log_lines,
        };
        self.deliver(connected.registration.ended(), &response).await?;
        match command {
            Some(command) => command_fanout(connected, command).await,
            None => Ok(()),
        }
    }

    async fn round(&mut self, connected: &mut Connected, round: SessionRound) -> Result<(), End> {
        let now = clock::now();
        if let Some(step) = connected.session.before_round(now.as_millis() as u64) {
            return self.step(connected, step, Held::default()).await;
        }
        while connected.adding.pop_front_if(|(version, _)| *version <= round.query_set_version).is_some() {}
        let now_ns = now.as_nanos() as i64;
        let transition = connected.session.round(round, now_ns)?;
        let transition = ServerMessage::Transition(transition);
        let _room = self.room_for(connected.registration.ended(), &transition).await?;
        let text = transition.to_json();
        // The text holds all of it.
        drop(transition);
        let chunk_bytes_max = self.limits.transition_chunk_bytes_max;
        if !self.takes_chunks || text.len() <= chunk_bytes_max {
            return self.send_text(text).await;
        }
        let chunks = split_into_chunks(&text, chunk_bytes_max);
        let transition_id = Uuid::new_v4().to_string();
        for (part_number, chunk) in chunks.iter().enumerate() {
            let part = ServerMessage::TransitionChunk {
                chunk: (*chunk).to_owned(),
                part_number,
                total_parts: chunks.len(),
                transition_id: transition_id.clone(),
            };
            self.send(&part).await?;
        }
        Ok(())
    }

    /// The next message, with what it holds of the room for messages, or `None` for a frame without one.
    async fn receive(&mut self) -> Result<Option<(ClientMessage, Held)>, End> {
        let received = self.socket.receive().await.ok_or(End::Gone)?;
        // Whoever answers pings and never ends a message would hold its room for ever.
        if !self.socket.is_amid_message() {
            self.last_received = Instant::now();
        }
        match received {
            Ok((Message::Text(text), held)) => {
                let message = ClientMessage::parse(&text).map_err(Close::violation)?;
                Ok(Some((message, held)))
            }
            Ok((Message::Ping(_) | Message::Pong(_) | Message::Frame(_), _)) => Ok(None),
            Ok((Message::Binary(_), _)) => Err(Close::violation("binary frames mean nothing here").into()),
            Ok((Message::Close(_), _)) => Err(End::Gone),
            Err(error) => Err(receive_error(&error)),
        }
    }

    async fn ping(&mut self, now: Instant) -> Result<(), End> {
        if now.saturating_duration_since(self.last_received)
            > Duration::from_millis(self.limits.client_silence_ms_max)
        {
            return Err(Close::silent().into());
        }
        self.write(None).await
    }

    /// Sends what a function gave.
    async fn deliver(&mut self, ended: &CancellationToken, message: &ServerMessage) -> Result<(), End> {
        let _room = self.room_for(ended, message).await?;
        self.send(message).await
    }

    /// Waits for room for the text of a message, among the answers that clients have not taken yet; `None` for a small one. Before there
    /// is room there is no text.
    async fn room_for(
        &mut self,
        ended: &CancellationToken,
        message: &ServerMessage,
    ) -> Result<Option<Place>, End> {
        let started = Instant::now();
        let deployment = self.addressed.deployment.reference;
        let time = Duration::from_millis(self.limits.client_silence_ms_max);
        let edge = self.edge.clone();
        let mut room = pin!(timeout(time, edge.answers.take(deployment, message.size_hint())));
        let room = loop {
            let heartbeat = self.last_sent + Duration::from_millis(self.limits.heartbeat_ms);
            tokio::select! {
                biased;
                room = &mut room => break room,
                () = ended.cancelled() => return Err(self.why_ended().into()),
                // A client that hears nothing for long takes the connection for lost.
                () = sleep_until(heartbeat) => self.send(&ServerMessage::Ping).await?,
            }
        };
        let room = room.map_err(|_| {
            let message =
                "What other clients have not taken yet takes all the memory that there is for answers.";
            contract::Error::overloaded("TooManyAnswerBytes", message)
        })?;
        // Nothing was read meanwhile.
        if started.elapsed() > Duration::from_millis(self.limits.ping_interval_ms) {
            self.last_received = Instant::now();
        }
        Ok(room)
    }

    async fn send(&mut self, message: &ServerMessage) -> Result<(), End> {
        self.send_text(message.to_json()).await
    }

    async fn send_text(&mut self, text: String) -> Result<(), End> {
        self.write(Some(text)).await?;
        self.last_sent = Instant::now();
        Ok(())
    }

    /// Sends a text, or a ping. Waits until the peer has taken all but what the kernel buffers, so that at most one message waits
    /// in memory.
    async fn write(&mut self, text: Option<String>) -> Result<(), End> {
        let started = Instant::now();
        let silence = Duration::from_millis(self.limits.client_silence_ms_max);
        let sending = async {
            match text {
                Some(text) => self.socket.send(text).await,
                None => self.socket.ping().await,
            }
        };
        match timeout(silence, sending).await {
            Ok(Ok(())) => {
                // A peer that slowly took a large message was alive, though nothing could be read from it meanwhile.
                if started.elapsed() > Duration::from_millis(self.limits.ping_interval_ms) {
                    self.last_received = Instant::now();
                }
                Ok(())
            }
            Ok(Err(_)) => Err(End::Gone),
            Err(_) => Err(Close::silent().into()),
        }
    }

    /// Says why, and gives the peer a moment to take it.
    async fn close(&mut self, close: Close) {
        tracing::debug!(code = close.code, reason = close.reason, "closing a connection");
        let mut time = Duration::from_millis(self.limits.refused_linger_ms_max);
        if close.code == close_code::SIZE {
            // A client that is only disconnected sends the same message again, and again.
            let error = close.reason.clone();
            if self.send(&ServerMessage::FatalError { error }).await.is_err() {
                return;
            }
            // It learns of all this when it has sent the rest.
            time = Duration::from_millis(self.limits.client_silence_ms_max);
        }
        let frame = close.into_frame(self.limits.close_reason_bytes_max);
        let discarded_bytes_max = self.discarded_bytes_max();
        if timeout(time, self.socket.close(frame, discarded_bytes_max)).await.is_err() {
            tracing::debug!("a peer did not answer the close frame");
        }
    }

    /// Answers the peer's close frame.
    async fn finish(&mut self) {
        let time = Duration::from_millis(self.limits.refused_linger_ms_max);
        let discarded_bytes_max = self.discarded_bytes_max();
        let _ = timeout(time, self.socket.finish(discarded_bytes_max)).await;
    }

    /// Of what still comes when a connection ends.
    fn discarded_bytes_max(&self) -> usize {
        self.limits.message_bytes_max.saturating_mul(4)
    }
}

async fn command_fanout(connected: &mut Connected, command: SessionCommand) -> Result<(), End> {
    if connected.fanout.commands.send(Box::new(command)).await.is_ok() {
        return Ok(());
    }
    // It ended the session: why is the last thing among its rounds.
    while let Some(round) = connected.fanout.rounds.recv().await {
        (*round)?;
    }
    Err(fanout_ended().into())
}

fn fanout_ended() -> contract::Error {
    contract::Error::overloaded(
        "SubscriptionsWorkerFullError",
        "the subscriptions of this session have ended",
    )
}

fn receive_error(error: &tungstenite::Error) -> End {
    use tungstenite::{Error, error::CapacityError};
    match error {
        Error::Capacity(CapacityError::MessageTooLong { size, max_size }) => {
            Close::too_large(*size, *max_size).into()
        }
        Error::Utf8(_) => End::Close(Close {
            code: close_code::INVALID,
            reason: "ProtocolViolation: a text frame was not UTF-8".to_owned(),
        }),
        Error::Protocol(violation) => Close::violation(violation).into(),
        _ => End::Gone,
    }
}

/// What comes of it, if there is anything.
async fn ready(verifying: &mut Option<Verifying>) -> Result<Verified, TokenError> {
    match verifying {
        Some(verifying) => verifying.await,
        None => std::future::pending().await,
    }
}
