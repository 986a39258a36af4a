//! The tides in single situations, step by step.

use std::{
    cell::Cell,
    cmp::Ordering,
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use contract::{
    CommitNotice, Error, Identity, IndexId, Interval, Observed, QueryChange, QueryOutcome, ReadSet,
    SessionRound, Timestamp, TouchedKey, UserIdentity,
};
use result_cache::FlightId;

use crate::{
    call::{Asker, Call, Command, Modification},
    memory::{Account, Memory},
    metrics::Metrics,
    outcome::FinishedRun,
    session::SessionId,
    tides::{Effect, RunOrder, TideOptions, Tides},
};

pub(crate) const INDEX: IndexId = IndexId([7; 16]);

pub(crate) fn at(nanoseconds: u64) -> Timestamp {
    Timestamp::new(nanoseconds).expect("small")
}

/// What the results of a test may take.
pub(crate) fn memory() -> Account {
    Memory::new(1 << 20, 1 << 20, 75).open()
}

pub(crate) const OPTIONS: TideOptions = TideOptions {
    pause: Duration::from_millis(5),
    timestamp_wait_max: Duration::from_secs(5),
    stream_silence_max: Duration::from_secs(5),
    observed_time_max: Duration::from_secs(17),
    session_queries_max: 3,
    recent_commit_bytes_max: 1 << 20,
};

/// Tides whose stream stands at 100, and what they want done.
struct Bench {
    tides: Tides,
    metrics: Arc<Metrics>,
    now: Instant,
    orders: Vec<RunOrder>,
    rounds: BTreeMap<SessionId, Vec<SessionRound>>,
    ends: Vec<(SessionId, Error)>,
    abandoned: Vec<FlightId>,
}

impl Bench {
    fn new() -> Bench {
        Bench::with(OPTIONS, memory())
    }

    fn with(options: TideOptions, memory: Account) -> Bench {
        let metrics = Arc::new(Metrics::default());
        let mut bench = Bench {
            tides: Tides::new(options, memory, metrics.clone()),
            metrics,
            now: Instant::now(),
            orders: Vec::new(),
            rounds: BTreeMap::new(),
            ends: Vec::new(),
            abandoned: Vec::new(),
        };
        bench.tides.follow(at(100), bench.now);
        bench
    }

    fn open(&mut self, number: u64) -> SessionId {
        self.open_as(number, Identity::Anonymous, at(0))
    }

    fn open_as(&mut self, number: u64, identity: Identity, not_before: Timestamp) -> SessionId {
        self.tides.open(SessionId(number), identity, not_before);
        SessionId(number)
    }

    fn command(&mut self, session: SessionId, command: Command) {
        let published = self.tides.published();
        self.tides.command(session, command, published, self.now);
    }

    fn add(&mut self, session: SessionId, version: u32, query: u32, path: &str) {
        let call = Arc::new(Call::new(String::new(), path, &"[{}]".into()));
        let modifications = vec![Modification::Add { query, call, journal: None }];
        self.command(session, Command::ModifyQueries { version, modifications });
    }

    fn commit(&mut self, timestamp: u64, key: &'static [u8]) {
        let keys = vec![TouchedKey { index: INDEX, key: key.into() }];
        self.tides.commit(&Arc::new(CommitNotice { timestamp: at(timestamp), keys }), self.now);
    }

    fn tide(&mut self) {
        self.tides.tide(self.now);
        self.look();
    }

    fn look(&mut self) {
        for effect in self.tides.take_effects() {
            match effect {
                Effect::Run(order) => self.orders.push(order),
                Effect::Abandon(run) => self.abandoned.push(run),
                Effect::Send(session, round) => self.rounds.entry(session).or_default().push(round),
                Effect::End(session, error) => self.ends.push((session, error)),
            }
        }
    }

    fn wait(&mut self, milliseconds: u64) {
        self.now += Duration::from_millis(milliseconds);
    }

    /// Finishes the oldest run: it has read the key that its path names.
    fn finish(&mut self, value: &str, observed: Observed) {
        let order = self.orders.remove(0);
        let mut read_set = ReadSet::new();
        read_set
            .add(INDEX, Interval::point(order.call.path.split(':').nth(1).expect("an export").as_bytes()));
        let outcome = QueryOutcome {
            timestamp: order.at,
            result: Ok(value.into()),
            log_lines: Vec::new(),
            journal: None,
            read_set: Arc::new(read_set),
            observed,
        };
        self.tides.run_finished(order.run, Ok(FinishedRun::new(outcome, None)), self.now);
        self.look();
    }

    fn answer(&mut self, value: &str) {
        self.finish(value, Observed::default());
    }

    fn last_round(&self, session: SessionId) -> &SessionRound {
        self.rounds[&session].last().expect("a round")
    }

    fn rounds_of(&self, session: SessionId) -> usize {
        self.rounds.get(&session).map_or(0, Vec::len)
    }

    /// A session that shows query 1, `m:a`.
    fn settled(&mut self, number: u64) -> SessionId {
        let session = self.open(number);
        self.add(session, 1, 1, "m:a");
        self.wait(5);
        self.tide();
        if !self.orders.is_empty() {
            self.answer("1");
        }
        assert_eq!(self.last_round(session).query_set_version, 1);
        self.tides.room(session, self.now);
        session
    }
}

pub(crate) fn user(subject: &str, issued: &str) -> Identity {
    let attributes = [("subject", subject), ("iat", issued)];
    Identity::User(UserIdentity {
        attributes: attributes.map(|(name, json)| (name.to_owned(), json.to_owned())).into(),
    })
}

const READS_IDENTITY: Observed = Observed { time: false, identity: true };
const READS_TIME: Observed = Observed { time: true, identity: false };

#[test]
fn a_quiet_instance_moves_at_once_and_a_busy_one_pauses() {
    let mut bench = Bench::new();
    let session = bench.settled(1);
    bench.wait(100);
    bench.commit(110, b"a");
    assert_eq!(bench.tides.wake_at(bench.now), Some(bench.now));
    bench.tide();
    assert_eq!(bench.orders.len(), 1, "no pause before the first");
    bench.answer("2");
    bench.tides.room(session, bench.now);
    bench.wait(1);
    bench.commit(120, b"a");
    bench.commit(121, b"a");
    bench.tide();
    assert!(bench.orders.is_empty(), "1 ms after the last tide");
    assert_eq!(bench.tides.wake_at(bench.now), Some(bench.now + Duration::from_millis(4)));
    bench.wait(4);
    bench.tide();
    assert_eq!(bench.orders.len(), 1);
    assert_eq!(bench.orders[0].at, at(121));
}

#[test]
fn a_commit_that_touches_nothing_starts_nothing() {
    let mut bench = Bench::new();
    let session = bench.settled(1);
    bench.wait(100);
    bench.commit(110, b"b");
    assert_eq!(bench.tides.wake_at(bench.now), None);
    bench.tide();
    assert_eq!((bench.orders.len(), bench.rounds_of(session)), (0, 1));
}

#[test]
fn a_hundred_sessions_share_one_run() {
    let mut bench = Bench::new();
    let sessions: Vec<SessionId> = (0..100).map(|number| bench.open(number)).collect();
    for session in &sessions {
        bench.add(*session, 1, 1, "m:a");
    }
    bench.tide();
    assert_eq!(bench.orders.len(), 1);
    bench.answer("1");
    assert!(sessions.iter().all(|session| bench.rounds_of(*session) == 1));
    assert_eq!(bench.metrics.snapshot().runs, 1);
}

#[test]
fn a_slow_session_skips_tides_and_holds_up_nobody() {
    let mut bench = Bench::new();
    let (slow, quick) = (bench.settled(1), bench.settled(2));
    bench.wait(100);
    bench.commit(110, b"a");
    bench.tide();
    bench.answer("2");
    // From now on the slow one takes nothing.
    for step in 0..10 {
        bench.tides.room(quick, bench.now);
        bench.wait(10);
        bench.commit(120 + step, b"a");
        bench.tide();
        bench.answer(&format!("{step}"));
    }
    assert_eq!((bench.rounds_of(quick), bench.rounds_of(slow)), (12, 2));
    bench.tides.room(slow, bench.now);
    bench.wait(10);
    bench.tide();
    assert!(bench.orders.is_empty(), "the result is there");
    let round = bench.last_round(slow);
    assert_eq!(round.timestamp, at(129));
    assert!(matches!(&round.changes[..], [QueryChange::Updated { value, .. }] if &**value == "9"));
}

#[test]
fn a_session_under_constant_writes_gets_a_round_per_run() {
    let mut bench = Bench::new();
    let session = bench.settled(1);
    for step in 0..100 {
        // The query never runs as fast as it is written to.
        bench.commit(200 + 3 * step, b"a");
        bench.wait(5);
        bench.tide();
        bench.commit(201 + 3 * step, b"a");
        bench.tide();
        let started_at = bench.orders[0].at;
        bench.answer(&format!("{step}"));
        assert_eq!(bench.last_round(session).timestamp, started_at);
        bench.tides.room(session, bench.now);
    }
    assert_eq!(bench.rounds_of(session), 101);
}

#[test]
fn a_moment_that_is_not_reached_in_time_ends_the_session() {
    let mut bench = Bench::new();
    let session = bench.open_as(1, Identity::Anonymous, at(500));
    bench.add(session, 1, 1, "m:a");
    bench.tide();
    let end = bench.now + Duration::from_secs(5);
    assert_eq!((bench.orders.len(), bench.tides.wake_at(bench.now)), (0, Some(end)));
    bench.wait(4_999);
    bench.tides.heartbeat(at(499), bench.now);
    bench.tide();
    assert!(bench.ends.is_empty());
    bench.wait(1);
    bench.tide();
    assert_eq!(bench.ends[0].1.code, "TimestampNotReached");

    let session = bench.open_as(2, Identity::Anonymous, at(500));
    bench.add(session, 1, 1, "m:a");
    bench.wait(4_000);
    bench.tides.heartbeat(at(500), bench.now);
    bench.tide();
    assert_eq!(bench.orders[0].at, at(500), "reached in time");
}

#[test]
fn a_write_of_its_own_gets_its_round_though_nothing_changed() {
    let mut bench = Bench::new();
    let session = bench.settled(1);
    bench.command(session, Command::Wrote { timestamp: at(110) });
    bench.wait(100);
    bench.tide();
    assert_eq!(bench.rounds_of(session), 1, "110 is not published");
    bench.commit(111, b"b");
    bench.tide();
    let round = bench.last_round(session).clone();
    assert_eq!((round.timestamp, round.changes.len()), (at(111), 0));
    bench.tides.room(session, bench.now);
    // Once more, where the session is past it already.
    bench.command(session, Command::Wrote { timestamp: at(110) });
    bench.wait(100);
    bench.tide();
    assert_eq!(bench.rounds_of(session), 3);
}

#[test]
fn a_silent_stream_serves_nothing_new() {
    let mut bench = Bench::new();
    let session = bench.settled(1);
    bench.wait(5_000);
    bench.add(session, 2, 2, "m:b");
    bench.tide();
    assert!(bench.orders.is_empty());
    bench.tides.heartbeat(at(100), bench.now);
    bench.tide();
    assert_eq!(bench.orders.len(), 1);
}

#[test]
fn after_a_gap_everything_runs_again_and_equal_results_are_not_sent() {
    let mut bench = Bench::new();
    let session = bench.settled(1);
    bench.wait(100);
    bench.tides.follow(at(200), bench.now);
    bench.tide();
    assert_eq!(bench.orders[0].at, at(200));
    bench.answer("1");
    let round = bench.last_round(session);
    assert_eq!((round.timestamp, round.changes.len()), (at(200), 0));
    let counted = bench.metrics.snapshot();
    assert_eq!((counted.changes_suppressed, counted.stream_gaps), (1, 1));
}

#[test]
fn a_result_that_looked_at_the_clock_is_given_to_others_for_17_seconds() {
    let mut bench = Bench::new();
    let first = bench.open(1);
    bench.add(first, 1, 1, "m:a");
    bench.tide();
    bench.finish("1", READS_TIME);
    for (milliseconds, runs) in [(16_990, 0), (10, 1)] {
        bench.wait(milliseconds);
        bench.tides.heartbeat(at(100), bench.now);
        let other = bench.open(milliseconds);
        bench.add(other, 1, 1, "m:a");
        // The tide before was long ago, or a moment ago.
        bench.tides.tide(bench.now + Duration::from_millis(5));
        bench.look();
        assert_eq!(bench.orders.len(), runs, "after {milliseconds} more milliseconds");
    }
    bench.finish("2", READS_TIME);
    assert_eq!(bench.rounds_of(first), 1, "who has it keeps it");
    bench.tides.room(first, bench.now);
    bench.commit(110, b"a");
    bench.wait(10);
    bench.tide();
    assert_eq!(bench.orders.len(), 1, "until it is touched");
}

#[test]
fn a_query_that_reads_the_identity_runs_for_each_and_another_for_all() {
    let mut bench = Bench::new();
    for (number, subject) in ["ann", "bob", "cid"].iter().enumerate() {
        let session = bench.open_as(number as u64, user(subject, "1"), at(0));
        bench.add(session, 1, 1, "m:a");
        bench.add(session, 2, 2, "m:b");
    }
    bench.tide();
    assert_eq!(bench.orders.len(), 2, "one leads for each query");
    bench.finish("ann's", READS_IDENTITY);
    bench.answer("everybody's");
    assert_eq!(bench.orders.len(), 2, "the others run for themselves");
    bench.finish("bob's", READS_IDENTITY);
    bench.finish("cid's", READS_IDENTITY);
    for (number, value) in ["ann's", "bob's", "cid's"].iter().enumerate() {
        let session = SessionId(number as u64);
        let changes = &bench.last_round(session).changes;
        assert!(matches!(&changes[0], QueryChange::Updated { value: shown, .. } if **shown == **value));
        bench.tides.room(session, bench.now);
    }
    // Next time it is known, and nobody waits for another's run.
    bench.wait(10);
    bench.commit(110, b"a");
    bench.tide();
    assert_eq!(bench.orders.len(), 3);
}

#[test]
fn a_new_token_of_the_same_user_runs_nothing_and_raises_the_version() {
    let mut bench = Bench::new();
    let session = bench.open_as(1, user("ann", "1"), at(0));
    bench.add(session, 1, 1, "m:a");
    bench.tide();
    bench.finish("ann's", READS_IDENTITY);
    // Functions see the same of the first token, and of the second when it was issued, as they do where tokens are custom ones.
    for (version, identity, runs) in [(1, user("ann", "1"), 0), (2, user("ann", "2"), 1)] {
        bench.tides.room(session, bench.now);
        bench.wait(10);
        bench.command(session, Command::SetIdentity { version, asker: Arc::new(Asker::new(identity)) });
        bench.tide();
        assert_eq!(bench.orders.len(), runs);
        if runs == 0 {
            let round = bench.last_round(session);
            assert_eq!((round.identity_version, round.changes.len()), (version, 0));
        }
    }
    assert_eq!(bench.rounds_of(session), 2, "the version is raised when everything was run again");
    bench.finish("ann's again", READS_IDENTITY);
    assert_eq!(bench.last_round(session).identity_version, 2);
}

#[test]
fn a_query_that_is_replaced_under_its_number_is_updated_once() {
    let mut bench = Bench::new();
    let session = bench.settled(1);
    bench.wait(10);
    let call = Arc::new(Call::new(String::new(), "m:b", &"[{}]".into()));
    let modifications =
        vec![Modification::Remove { query: 1 }, Modification::Add { query: 1, call, journal: None }];
    bench.command(session, Command::ModifyQueries { version: 2, modifications });
    bench.tide();
    // The same value as the one before, and yet it is sent.
    bench.answer("1");
    let round = bench.last_round(session).clone();
    assert!(matches!(&round.changes[..], [QueryChange::Updated { query: 1, .. }]));
    bench.tides.room(session, bench.now);
    bench.wait(10);
    bench.command(
        session,
        Command::ModifyQueries { version: 3, modifications: vec![Modification::Remove { query: 1 }] },
    );
    bench.tide();
    assert!(matches!(&bench.last_round(session).changes[..], [QueryChange::Removed { query: 1 }]));
}

#[test]
fn a_result_goes_when_nobody_listens_to_it_any_more() {
    let mut bench = Bench::with(OPTIONS, Memory::new(1 << 20, 0, 75).open());
    let session = bench.settled(1);
    bench.tide();
    assert_eq!(bench.metrics.snapshot().copies, 1);
    bench.command(session, removal(2, 1));
    bench.tide();
    assert_eq!(bench.metrics.snapshot().copies, 0, "its query was removed");

    let ann = bench.open_as(2, user("ann", "1"), at(0));
    bench.add(ann, 1, 1, "m:a");
    bench.tide();
    bench.finish("ann's", READS_IDENTITY);
    bench.tides.room(ann, bench.now);
    bench.tide();
    assert_eq!(bench.metrics.snapshot().copies, 1);
    let asker = Arc::new(Asker::new(user("bob", "1")));
    bench.command(ann, Command::SetIdentity { version: 1, asker });
    bench.tide();
    assert_eq!(bench.metrics.snapshot().copies, 0, "its asker is somebody else");
    bench.finish("bob's", READS_IDENTITY);
    bench.tides.room(ann, bench.now);
    bench.tide();
    assert_eq!(bench.metrics.snapshot().copies, 1);
    bench.tides.close(ann);
    bench.tide();
    assert_eq!(bench.metrics.snapshot().copies, 0, "its session is over");
}

#[test]
fn what_cannot_be_right_ends_the_session_by_name() {
    let mut bench = Bench::new();
    let removal = || vec![Modification::Remove { query: 9 }];
    let stranger = bench.open(1);
    bench.command(stranger, Command::ModifyQueries { version: 1, modifications: removal() });
    let twice = bench.open(2);
    bench.add(twice, 1, 1, "m:a");
    bench.add(twice, 2, 1, "m:a");
    let greedy = bench.open(3);
    (0..4).for_each(|query| bench.add(greedy, query + 1, query, "m:a"));
    bench.look();
    let codes: Vec<&str> = bench.ends.iter().map(|(_, error)| &*error.code).collect();
    assert_eq!(codes, ["QueryNotAdded", "QueryAlreadyAdded", "TooManyQueries"]);
    bench.tide();
    assert!(bench.orders.is_empty(), "nobody is left");
    assert_eq!(bench.metrics.snapshot().sessions_failed, 3);
}

#[test]
fn runs_that_nobody_waits_for_are_abandoned() {
    let mut bench = Bench::new();
    let (one, two) = (bench.open(1), bench.open(2));
    bench.add(one, 1, 1, "m:a");
    bench.add(two, 1, 1, "m:a");
    bench.tide();
    bench.tides.close(one);
    bench.look();
    assert!(bench.abandoned.is_empty());
    bench.tides.close(two);
    bench.look();
    assert_eq!(bench.abandoned, [bench.orders[0].run]);
}

#[test]
fn a_run_that_cannot_be_had_ends_the_sessions_that_wait_for_it() {
    let mut bench = Bench::new();
    let (waiting, other) = (bench.open(1), bench.settled(2));
    bench.add(waiting, 1, 1, "m:b");
    bench.wait(10);
    bench.tide();
    let run = bench.orders.remove(0).run;
    bench.tides.run_finished(run, Err(Error::overloaded("ExpiredInQueue", "no")), bench.now);
    bench.look();
    assert_eq!(bench.ends.len(), 1);
    assert_eq!((bench.ends[0].0, &*bench.ends[0].1.code), (waiting, "ExpiredInQueue"));
    bench.commit(110, b"a");
    bench.wait(10);
    bench.tide();
    bench.answer("2");
    assert_eq!(bench.last_round(other).timestamp, at(110));
}

fn removal(version: u32, query: u32) -> Command {
    Command::ModifyQueries { version, modifications: vec![Modification::Remove { query }] }
}

/// A session that shows query 1, `m:a`, and query 2, `m:b`, a moment after the last tide.
fn settled_with_two(bench: &mut Bench) -> SessionId {
    let session = bench.settled(1);
    bench.add(session, 2, 2, "m:b");
    bench.tide();
    bench.answer("2");
    bench.tides.room(session, bench.now);
    bench.wait(100);
    bench.commit(110, b"c");
    // A tide for somebody else's sake: from now on the next one has to wait.
    let other = bench.open(7);
    bench.command(other, Command::Touch);
    bench.tide();
    assert_eq!(bench.rounds_of(other), 1);
    session
}

#[test]
fn what_clients_give_with_their_queries_counts_as_long_as_these_are_there() {
    let memory = Memory::new(10_000, 0, 75);
    let mut bench = Bench::with(OPTIONS, memory.open());
    let long = format!(r#"[{{"a":"{}"}}]"#, "x".repeat(4_000));
    let journal = || Some("j".repeat(4_000).into());
    let add = |bench: &mut Bench, session, version, query, arguments: &str, journal| {
        let call = Arc::new(Call::new(String::new(), "m:a", &arguments.into()));
        let modifications = vec![Modification::Add { query, call, journal }];
        bench.command(session, Command::ModifyQueries { version, modifications });
        bench.look();
    };
    let first = bench.open(1);
    add(&mut bench, first, 1, 1, &long, None);
    add(&mut bench, first, 2, 2, "[{}]", journal());
    add(&mut bench, first, 3, 3, &long, None);
    assert!(bench.ends.is_empty(), "there was room: {:?}", bench.ends);
    let refused = |bench: &mut Bench, number| {
        let other = bench.open(number);
        add(bench, other, 1, 1, "[{}]", None);
        matches!(bench.ends.pop(), Some((of, error)) if of == other && error.code == "SubscriptionsWorkerFullError")
    };
    assert!(refused(&mut bench, 2), "the queries take all");
    bench.command(
        first,
        Command::ModifyQueries { version: 4, modifications: vec![Modification::Remove { query: 3 }] },
    );
    assert!(!refused(&mut bench, 3), "one of them is gone");
    bench.tides.close(first);
    bench.tides.close(SessionId(3));
    bench.tide();
    assert_eq!(memory.load_bytes().0, 0);
}

#[test]
fn no_query_is_added_where_results_take_what_a_deployment_may_have() {
    let text = "\"".to_owned() + &"x".repeat(800) + "\"";
    let memory = Memory::new(4_000, 4_000, 75);
    let mut bench = Bench::with(OPTIONS, memory.open());
    let session = bench.open(1);
    let fill = |bench: &mut Bench, query: u32| {
        bench.add(session, query, query, &format!("m:q{query}"));
        bench.tide();
        bench.answer(&text);
        bench.tides.room(session, bench.now);
        bench.wait(10);
    };
    fill(&mut bench, 1);
    fill(&mut bench, 2);
    fill(&mut bench, 3);
    assert!(bench.ends.is_empty(), "it is alone: {:?}", bench.ends);
    let neighbour = memory.open();
    let other = bench.open(2);
    bench.add(other, 1, 1, "m:other");
    bench.look();
    assert!(
        matches!(&bench.ends[..], [(of, error)] if *of == other && error.code == "SubscriptionsWorkerFullError")
    );
    // Without the neighbour there are no shares.
    drop(neighbour);
    let again = bench.open(3);
    bench.add(again, 1, 1, "m:other");
    bench.look();
    assert_eq!(bench.ends.len(), 1);
}

#[test]
fn a_query_is_removed_at_once_though_the_next_tide_is_not_due() {
    let mut bench = Bench::new();
    let session = settled_with_two(&mut bench);
    bench.command(session, removal(3, 2));
    bench.look();
    let round = bench.last_round(session);
    assert_eq!((round.timestamp, round.query_set_version), (at(100), 3), "in the view that is shown");
    assert!(matches!(&round.changes[..], [QueryChange::Removed { query: 2 }]));
}

#[test]
fn a_query_is_removed_at_once_though_another_ones_run_is_under_way() {
    let mut bench = Bench::new();
    let session = settled_with_two(&mut bench);
    bench.wait(5);
    bench.commit(120, b"a");
    bench.commit(121, b"b");
    bench.tide();
    assert_eq!(bench.orders.len(), 2);
    bench.command(session, removal(3, 2));
    bench.look();
    let round = bench.last_round(session);
    assert_eq!((round.timestamp, round.query_set_version), (at(100), 3));
    assert!(matches!(&round.changes[..], [QueryChange::Removed { query: 2 }]));
    assert_eq!(bench.abandoned, [bench.orders[1].run], "its own run is of no use any more");
    // The round goes on without it, and ends when there is room.
    bench.answer("1 again");
    let rounds = bench.rounds_of(session);
    bench.tides.room(session, bench.now);
    bench.look();
    assert_eq!(bench.rounds_of(session), rounds + 1);
    let round = bench.last_round(session);
    assert_eq!((round.timestamp, round.query_set_version), (at(121), 3));
    assert!(matches!(&round.changes[..], [QueryChange::Updated { query: 1, .. }]));
}

#[test]
fn a_removal_waits_for_room_and_for_queries_that_were_added_before_it() {
    let mut bench = Bench::new();
    let session = settled_with_two(&mut bench);
    bench.command(session, removal(3, 2));
    bench.command(session, removal(4, 1));
    bench.look();
    assert_eq!(bench.last_round(session).query_set_version, 3, "no room for another");
    bench.tides.room(session, bench.now);
    bench.look();
    assert_eq!(bench.last_round(session).query_set_version, 4);
    bench.tides.room(session, bench.now);
    bench.add(session, 5, 3, "m:c");
    bench.add(session, 6, 4, "m:d");
    bench.tide();
    bench.command(session, removal(7, 4));
    bench.tide();
    assert_eq!(bench.last_round(session).query_set_version, 4, "a version tells of everything before it");
    bench.answer("3");
    bench.answer("4");
    assert_eq!(bench.last_round(session).query_set_version, 6);
    bench.tides.room(session, bench.now);
    bench.look();
    assert_eq!(bench.last_round(session).query_set_version, 7);
}

#[test]
fn an_added_query_waits_neither_for_the_next_tide_nor_for_others_runs() {
    let mut bench = Bench::new();
    let session = settled_with_two(&mut bench);
    let slow = bench.open(2);
    bench.add(slow, 1, 1, "m:slow");
    bench.tide();
    let other = bench.orders.pop().expect("one run");
    bench.add(session, 3, 3, "m:c");
    bench.tide();
    assert_eq!(bench.orders.len(), 1, "before the pause is over");
    bench.answer("3");
    let round = bench.last_round(session);
    assert_eq!((round.timestamp, round.query_set_version), (at(110), 3));
    // The same for another identity, and for an answer that is there already.
    let (third, asker) = (bench.open(3), Arc::new(Asker::new(user("ann", "1"))));
    bench.command(third, Command::SetIdentity { version: 1, asker });
    bench.add(third, 1, 1, "m:a");
    bench.tide();
    assert_eq!((bench.rounds_of(third), bench.last_round(third).identity_version), (1, 1));
    bench.orders.push(other);
    bench.answer("slow");
    assert_eq!(bench.rounds_of(slow), 1);
}

#[test]
fn a_stream_of_added_queries_does_not_put_off_the_next_tide() {
    let mut bench = Bench::new();
    let session = settled_with_two(&mut bench);
    bench.commit(120, b"a");
    for step in 0..5 {
        bench.wait(1);
        let other = bench.open(10 + step);
        bench.add(other, 1, 1, "m:b");
        bench.tide();
        assert_eq!(bench.rounds_of(other), 1, "its result is there");
    }
    assert_eq!(bench.orders.len(), 1, "5 ms after the last tide");
    bench.answer("1 again");
    assert_eq!(bench.last_round(session).timestamp, at(120));
}

#[test]
fn those_who_come_one_by_one_under_writes_share_the_runs_of_the_tides() {
    let mut bench = Bench::new();
    settled_with_two(&mut bench);
    for step in 0..100 {
        // Each comes at another moment, at which the result of the run before holds no longer.
        bench.commit(120 + step, b"e");
        let session = bench.open(10 + step);
        bench.add(session, 1, 1, "m:e");
        bench.tide();
    }
    assert_eq!(bench.orders.len(), 1, "the first did not wait, the others share the next tide");
    bench.wait(5);
    bench.tide();
    assert_eq!(bench.orders.len(), 2);
    bench.answer("1");
    bench.answer("2");
    assert!((0..100).all(|step| bench.rounds_of(SessionId(10 + step)) == 1));
}

#[test]
fn nothing_is_added_at_once_on_a_silent_stream() {
    let mut bench = Bench::new();
    let session = settled_with_two(&mut bench);
    bench.wait(5_000);
    bench.add(session, 3, 3, "m:c");
    bench.tide();
    assert!(bench.orders.is_empty());
}

thread_local! {
    static COMPARISONS: Cell<u64> = const { Cell::new(0) };
}

/// Whatever the tides do about a session, they find it by its id: so the comparisons tell how much they do.
impl Ord for SessionId {
    fn cmp(&self, other: &Self) -> Ordering {
        COMPARISONS.set(COMPARISONS.get() + 1);
        self.0.cmp(&other.0)
    }
}

impl PartialOrd for SessionId {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

fn comparisons(work: impl FnOnce()) -> u64 {
    let before = COMPARISONS.get();
    work();
    COMPARISONS.get() - before
}

/// So many signed-in sessions subscribe to one query that reads the identity; then one commit touches all.
fn signed_in_sessions(bench: &mut Bench, count: u64) {
    let show = |bench: &mut Bench, value: &str| {
        bench.tide();
        while !bench.orders.is_empty() {
            bench.finish(value, READS_IDENTITY);
        }
    };
    for number in 0..count {
        let session = bench.open_as(number, user(&number.to_string(), "1"), at(0));
        bench.add(session, 1, 1, "m:a");
    }
    show(bench, "1");
    (0..count).for_each(|number| bench.tides.room(SessionId(number), bench.now));
    bench.wait(5);
    bench.commit(110, b"a");
    show(bench, "2");
    assert!((0..count).all(|number| bench.rounds_of(SessionId(number)) == 2));
    assert_eq!(bench.metrics.snapshot().runs, 2 * count);
}

#[test]
fn signed_in_sessions_with_a_query_that_reads_the_identity_cost_in_proportion_to_their_number() {
    let [few, many] = [250, 2_000].map(|count| comparisons(|| signed_in_sessions(&mut Bench::new(), count)));
    // Eight times as many: eight times the work, and a half for deeper trees. Squared, it would be 64 times.
    assert!(many < 12 * few, "{few} comparisons for 250 sessions, {many} for 2,000");
}

#[test]
fn sessions_that_wait_for_a_moment_are_not_looked_at_until_it_comes() {
    let mut bench = Bench::new();
    for number in 0..1_000 {
        let session = bench.open_as(number, Identity::Anonymous, at(500));
        bench.add(session, 1, 1, "m:a");
    }
    let looked = comparisons(|| {
        for step in 0..100 {
            bench.wait(6);
            bench.tides.heartbeat(at(101 + step), bench.now);
            assert!(bench.tides.wake_at(bench.now).is_some());
            bench.tide();
        }
    });
    assert_eq!((looked, bench.orders.len()), (0, 0));
    bench.tides.heartbeat(at(500), bench.now);
    bench.tide();
    bench.answer("1");
    assert!((0..1_000).all(|number| bench.rounds_of(SessionId(number)) == 1));
}

#[test]
fn abandoning_and_closing_many_sessions_costs_in_proportion_to_their_number() {
    let close_all = |count: u64| {
        let mut bench = Bench::new();
        for number in 0..count {
            let session = bench.open_as(number, user(&number.to_string(), "1"), at(0));
            bench.add(session, 1, 1, "m:a");
        }
        bench.tide();
        bench.finish("1", READS_IDENTITY);
        (0..count).for_each(|number| bench.tides.close(SessionId(number)));
        bench.look();
        assert_eq!(bench.abandoned.len() as u64, count - 1);
    };
    let [few, many] = [250, 2_000].map(|count| comparisons(|| close_all(count)));
    assert!(many < 12 * few, "{few} comparisons for 250 sessions, {many} for 2,000");
}
