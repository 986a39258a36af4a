//! The scheduler of rounds: when which query runs at which moment, and what each session is sent. A *tide* is a moment to
//! which all sessions that are due move together.
//!
//! Plain data: events go in, effects come out, time is an argument.

mod answers;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};

use contract::{CommitNotice, Error, ErrorKind, Identity, SessionRound, Timestamp};
use result_cache::{FlightId, Flights, Results};

use crate::{
    call::{Asker, Call, Command, CopyKey, IdentityKey, Modification, Question},
    memory::Account,
    metrics::{Contribution, Metrics, add},
    outcome::Outcome,
    session::{Listener, Query, Session, SessionId, Turn},
};

#[derive(Clone, Copy, Debug)]
pub(crate) struct TideOptions {
    /// Shortest time between two tides.
    pub pause: Duration,
    /// How long a session may wait for a moment that the stream has not reached.
    pub timestamp_wait_max: Duration,
    /// Without a word from the stream for this long, no round starts.
    pub stream_silence_max: Duration,
    /// How long a result whose run looked at the clock is given to others.
    pub observed_time_max: Duration,
    pub session_queries_max: usize,
    pub recent_commit_bytes_max: usize,
}

/// What is to be done.
#[derive(Debug)]
pub(crate) enum Effect {
    /// Run this and report it by `Tides::run_finished`.
    Run(RunOrder),
    /// Nobody waits for the run any more.
    Abandon(FlightId),
    /// Followed by [`Tides::room`] once the session can be sent one more.
    Send(SessionId, SessionRound),
    /// The session is over.
    End(SessionId, Error),
}

#[derive(Clone, Debug)]
pub(crate) struct RunOrder {
    pub run: FlightId,
    pub call: Arc<Call>,
    pub journal: Option<Arc<str>>,
    pub identity: Identity,
    pub at: Timestamp,
}

/// In whose name a run is made.
#[derive(Debug)]
struct RunOwner {
    asker: Arc<Asker>,
    started: Instant,
}

/// The scheduler of the rounds of one deployment's sessions.
#[derive(Debug)]
pub(crate) struct Tides {
    options: TideOptions,
    results: Results<CopyKey, Arc<Outcome>, Listener>,
    sessions: BTreeMap<SessionId, Session>,
    flights: Flights<Question, IdentityKey, RunOwner, (SessionId, u32)>,
    /// Sessions that have a turn at the next tide, by the moment from which on a round is of use to them.
    ready: BTreeSet<(Timestamp, SessionId)>,
    /// Those that do not wait for the tide.
    ready_at_once: BTreeSet<(Timestamp, SessionId)>,
    /// All of them, by when each has waited too long.
    wait_ends: BTreeSet<(Instant, SessionId)>,
    last_tide: Option<Instant>,
    /// The last word from the stream; `None` before the first.
    heard: Option<Instant>,
    next_serial: u64,
    effects: Vec<Effect>,
    memory: Account,
    metrics: Arc<Metrics>,
    copies: Contribution,
    copy_bytes: Contribution,
    /// Of all sessions.
    queries: u64,
    /// What the clients have given with them.
    query_bytes: usize,
    subscriptions: Contribution,
}

impl Tides {
    /// Knows nothing of the stream yet: nothing starts before [`Tides::follow`].
    pub fn new(options: TideOptions, memory: Account, metrics: Arc<Metrics>) -> Tides {
        let idle_bytes_max = memory.idle_bytes_max();
        Tides {
            results: Results::new(Timestamp::ZERO, idle_bytes_max, options.recent_commit_bytes_max),
            memory,
            options,
            sessions: BTreeMap::new(),
            flights: Flights::default(),
            ready: BTreeSet::new(),
            ready_at_once: BTreeSet::new(),
            wait_ends: BTreeSet::new(),
            last_tide: None,
            heard: None,
            next_serial: 0,
            effects: Vec::new(),
            metrics,
            copies: Contribution::default(),
            copy_bytes: Contribution::default(),
            queries: 0,
            query_bytes: 0,
            subscriptions: Contribution::default(),
        }
    }

    pub fn published(&self) -> Timestamp {
        self.results.published()
    }

    pub fn take_effects(&mut self) -> Vec<Effect> {
        std::mem::take(&mut self.effects)
    }

    /// The stream begins anew above `from`. What was known before can't be shown to hold any more.
    pub fn follow(&mut self, from: Timestamp, now: Instant) {
        if self.heard.is_some() {
            add(&self.metrics.stream_gaps, 1);
        }
        let listeners = self.results.restart(from);
        self.hear(now);
        self.loosen(listeners, now);
    }

    pub fn commit(&mut self, commit: &Arc<CommitNotice>, now: Instant) {
        let before = self.published();
        let listeners = self.results.apply(commit);
        assert!(self.published() >= before, "what is published stays published");
        self.hear(now);
        self.loosen(listeners, now);
    }

    /// There is no other commit up to `published`.
    pub fn heartbeat(&mut self, published: Timestamp, now: Instant) {
        self.results.advance(published);
        self.hear(now);
    }

    pub fn open(&mut self, session: SessionId, identity: Identity, not_before: Timestamp) {
        let known = self.sessions.insert(session, Session::new(Arc::new(Asker::new(identity)), not_before));
        assert!(known.is_none(), "session ids are used once");
    }

    /// Of queries that are added, and of all after a change of the identity, the first answer is as of `not_before` or later, so
    /// that what was acknowledged to anybody before is in it.
    pub fn command(&mut self, id: SessionId, command: Command, not_before: Timestamp, now: Instant) {
        let Some(session) = self.sessions.get_mut(&id) else { return };
        session.left_to_tide = false;
        match command {
            Command::ModifyQueries { version, modifications } => {
                session.versions.query_set = version;
                for modification in modifications {
                    if let Err(error) = self.modify(id, modification, not_before) {
                        self.fail(id, error);
                        return;
                    }
                }
                self.send_removals(id, now);
            }
            Command::SetIdentity { version, asker } => {
                session.floor = session.floor.max(not_before);
                self.set_asker(id, version, asker);
            }
            Command::Wrote { timestamp } => session.wrote = session.wrote.max(Some(timestamp)),
            Command::Touch => session.touched = true,
        }
        self.refresh(id, now);
    }

    /// The session can be sent one more round.
    pub fn room(&mut self, id: SessionId, now: Instant) {
        if let Some(session) = self.sessions.get_mut(&id) {
            session.has_room = true;
            self.complete(id, now);
            self.send_removals(id, now);
            self.refresh(id, now);
        }
    }

    pub fn close(&mut self, id: SessionId) {
        let Some(session) = self.sessions.remove(&id) else { return };
        session.check();
        self.queries -= session.queries.len() as u64;
        self.query_bytes -= session.queries.values().map(|query| query.given_bytes).sum::<usize>();
        self.subscriptions.set(&self.metrics.subscriptions, self.queries);
        self.end_turn(id, session.turn);
        for (number, query) in session.queries {
            if let Some(entry) = query.entry {
                self.results.detach(entry, Listener { session: id, query: number, serial: query.serial });
            }
        }
        for (number, slot) in session.round.into_iter().flat_map(|round| round.slots) {
            if let Some(run) = slot.run
                && self.flights.leave(run, (id, number))
            {
                self.effects.push(Effect::Abandon(run));
            }
        }
    }

    /// Starts the rounds that can start. To be called after events, and at [`Tides::wake_at`].
    ///
    /// Looks at the sessions that start and at those that have waited too long, not at the others that wait.
    pub fn tide(&mut self, now: Instant) {
        self.results.set_idle_bytes_max(self.memory.idle_bytes_max());
        self.count_memory();
        self.copies.set(&self.metrics.copies, self.results.len() as u64);
        self.copy_bytes.set(&self.metrics.copy_bytes, self.results.bytes() as u64);
        let at = self.published();
        while let Some(id) = self.can_start(&self.ready_at_once, now) {
            if self.shares_runs_if_it_waits(id) {
                let session = self.sessions.get_mut(&id).expect("only sessions that are there have a turn");
                session.left_to_tide = true;
                self.refresh(id, now);
            } else {
                self.start_round(id, at, now);
            }
        }
        if self.pause_end().is_some_and(|end| now < end) {
            return;
        }
        let mut started = false;
        while let Some(id) = self.can_start(&self.ready, now) {
            started = true;
            self.start_round(id, at, now);
        }
        while let Some((end, id)) = self.wait_ends.first().copied()
            && end <= now
        {
            self.fail(id, moment_not_reached(at));
        }
        if started {
            self.last_tide = Some(now);
            add(&self.metrics.tides, 1);
        }
    }

    /// When [`Tides::tide`] has to be called if nothing happens before.
    pub fn wake_at(&self, now: Instant) -> Option<Instant> {
        if self.can_start(&self.ready_at_once, now).is_some() {
            return Some(now);
        }
        let wake = match self.can_start(&self.ready, now) {
            Some(_) => now,
            None => self.wait_ends.first()?.0,
        };
        Some(self.pause_end().map_or(wake, |end| wake.max(end)))
    }

    fn pause_end(&self) -> Option<Instant> {
        self.last_tide.map(|last| last + self.options.pause)
    }

    /// The first of those who can start a round now, but for the pause.
    fn can_start(&self, ready: &BTreeSet<(Timestamp, SessionId)>, now: Instant) -> Option<SessionId> {
        let current = self.heard.is_some_and(|heard| now < heard + self.options.stream_silence_max);
        let (useful_at, id) = ready.first()?;
        (current && *useful_at <= self.published()).then_some(*id)
    }

    /// Whether the session would ask what is being run for others at an earlier moment. At the next tide there is one
    /// more run for all who ask; without the wait, many who come one by one under writes would make a run each.
    fn shares_runs_if_it_waits(&self, id: SessionId) -> bool {
        let Some(session) = self.sessions.get(&id) else { return false };
        session.loose.iter().any(|number| {
            let Query { call, journal, .. } = &session.queries[number];
            let question = |at| Question {
                call: call.key,
                visibility: session.asker.visibility,
                journal: journal.clone(),
                at,
            };
            self.flights.has_any(question(Timestamp::ZERO)..question(self.published()))
        })
    }

    fn hear(&mut self, now: Instant) {
        self.heard = Some(now);
    }

    /// Marks queries dirty: these have lost their results.
    fn loosen(&mut self, listeners: BTreeSet<Listener>, now: Instant) {
        for listener in listeners {
            let Some(session) = self.sessions.get_mut(&listener.session) else { continue };
            let Some(query) = session.queries.get_mut(&listener.query) else { continue };
            if query.serial == listener.serial {
                query.entry = None;
                session.loose.insert(listener.query);
                self.refresh(listener.session, now);
            }
        }
    }

    fn modify(
        &mut self,
        id: SessionId,
        modification: Modification,
        not_before: Timestamp,
    ) -> Result<(), Error> {
        self.count_memory();
        let Some(session) = self.sessions.get_mut(&id) else { return Ok(()) };
        match modification {
            Modification::Add { query, call, journal } => {
                if session.queries.contains_key(&query) {
                    return Err(Error::bad_request(
                        "QueryAlreadyAdded",
                        format!("Query {query} was added while it is there already."),
                    ));
                }
                if session.queries.len() >= self.options.session_queries_max {
                    return Err(Error::new(
                        ErrorKind::TooManyRequests,
                        "TooManyQueries",
                        format!("A client can have {} queries.", self.options.session_queries_max),
                    ));
                }
                if self.memory.is_full() {
                    return Err(Error::overloaded(
                        "SubscriptionsWorkerFullError",
                        "Live queries and their results take all the memory they may.",
                    ));
                }
                let serial = self.next_serial;
                self.next_serial += 1;
                let given_bytes = call.bytes() + journal.as_ref().map_or(0, |journal| journal.len());
                session.add_query(
                    query,
                    Query {
                        serial,
                        call,
                        journal,
                        given_bytes,
                        reads_identity: false,
                        entry: None,
                        sent: None,
                    },
                );
                session.floor = session.floor.max(not_before);
                self.queries += 1;
                self.query_bytes += given_bytes;
            }
            Modification::Remove { query } => {
                let Some(known) = session.remove_query(query) else {
                    return Err(Error::bad_request(
                        "QueryNotAdded",
                        format!("Query {query} was removed, but it is not there."),
                    ));
                };
                self.queries -= 1;
                self.query_bytes -= known.given_bytes;
                if let Some(entry) = known.entry {
                    self.results.detach(entry, Listener { session: id, query, serial: known.serial });
                }
            }
        }
        self.subscriptions.set(&self.metrics.subscriptions, self.queries);
        Ok(())
    }

    fn count_memory(&mut self) {
        self.memory.set(self.results.bytes() + self.query_bytes);
    }

    fn set_asker(&mut self, id: SessionId, version: u32, asker: Arc<Asker>) {
        let Some(session) = self.sessions.get_mut(&id) else { return };
        let old = std::mem::replace(&mut session.asker, asker);
        session.versions.identity = version;
        let same_visibility = old.visibility == session.asker.visibility;
        let same_key = old.key == session.asker.key;
        for (number, query) in &mut session.queries {
            if same_visibility && (same_key || !query.reads_identity) {
                continue;
            }
            if let Some(entry) = query.entry.take() {
                session.loose.insert(*number);
                self.results.detach(entry, Listener { session: id, query: *number, serial: query.serial });
            }
        }
    }

    fn start_round(&mut self, id: SessionId, at: Timestamp, now: Instant) {
        assert!(at <= self.published(), "a round is of a moment that is published");
        let session = self.sessions.get_mut(&id).expect("only sessions that are there have a turn");
        let loose = session.loose.clone();
        let turn = session.begin_round(at);
        self.end_turn(id, Some(turn));
        for query in loose {
            self.resolve(id, query, now);
        }
        self.complete(id, now);
    }

    fn complete(&mut self, id: SessionId, now: Instant) {
        let Some(session) = self.sessions.get_mut(&id) else { return };
        let Some(completed) = session.complete_round() else { return };
        add(&self.metrics.rounds, 1);
        add(&self.metrics.changes, completed.round.changes.len() as u64);
        add(&self.metrics.changes_suppressed, completed.suppressed);
        let waited = now.saturating_duration_since(completed.due_since);
        self.metrics.waits.record(waited);
        self.effects.push(Effect::Send(id, completed.round));
        self.refresh(id, now);
    }

    /// Answers a change of the query set that only removes, where that needs nothing else.
    fn send_removals(&mut self, id: SessionId, now: Instant) {
        let Some(removals) = self.sessions.get_mut(&id).and_then(Session::take_removals) else { return };
        for (run, number) in removals.waiting {
            if self.flights.leave(run, (id, number)) {
                self.effects.push(Effect::Abandon(run));
            }
        }
        add(&self.metrics.rounds, 1);
        add(&self.metrics.changes, removals.round.changes.len() as u64);
        self.effects.push(Effect::Send(id, removals.round));
        self.refresh(id, now);
    }

    /// Gives the session its turn, or takes it back, after anything of it has changed.
    fn refresh(&mut self, id: SessionId, now: Instant) {
        let Some(session) = self.sessions.get_mut(&id) else { return };
        let useful_at = session.round_useful_at();
        let before = session.turn.take();
        let turn = useful_at.map(|useful_at| {
            let due_since = before.map_or(now, |turn| turn.due_since);
            Turn {
                useful_at,
                at_once: session.asks_at_once(),
                due_since,
                wait_end: due_since + self.options.timestamp_wait_max,
            }
        });
        session.turn = turn;
        if turn != before {
            self.end_turn(id, before);
            if let Some(turn) = turn {
                self.ready_queue(turn).insert((turn.useful_at, id));
                self.wait_ends.insert((turn.wait_end, id));
            }
        }
    }

    fn end_turn(&mut self, id: SessionId, turn: Option<Turn>) {
        let Some(turn) = turn else { return };
        let was_ready = self.ready_queue(turn).remove(&(turn.useful_at, id));
        let was_waiting = self.wait_ends.remove(&(turn.wait_end, id));
        assert!(was_ready && was_waiting, "a turn is known by its moment and by its end");
    }

    fn ready_queue(&mut self, turn: Turn) -> &mut BTreeSet<(Timestamp, SessionId)> {
        if turn.at_once { &mut self.ready_at_once } else { &mut self.ready }
    }

    /// Ends the session, whose client is told the error.
    pub fn fail(&mut self, id: SessionId, error: Error) {
        if self.sessions.contains_key(&id) {
            add(&self.metrics.sessions_failed, 1);
            self.close(id);
            self.effects.push(Effect::End(id, error));
        }
    }
}

impl Drop for Tides {
    fn drop(&mut self) {
        self.copies.set(&self.metrics.copies, 0);
        self.copy_bytes.set(&self.metrics.copy_bytes, 0);
        self.subscriptions.set(&self.metrics.subscriptions, 0);
    }
}

fn moment_not_reached(published: Timestamp) -> Error {
    Error::overloaded(
        "TimestampNotReached",
        format!("This server has not come to the moment that the client has seen; it is at {published}."),
    )
}
