//! The tides under random interleavings of everything that can happen to them, held against a model database: each
//! view must be the model's state at the view's moment, whatever came in whichever order.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet, VecDeque},
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use contract::{
    CommitNotice, Error, FunctionError, Identity, IndexId, Interval, Observed, QueryChange, QueryOutcome,
    ReadSet, SessionRound, Timestamp, TouchedKey, UserIdentity,
};
use rand::{Rng, RngExt, SeedableRng, seq::IndexedRandom};
use rand_chacha::ChaCha8Rng;
use result_cache::FlightId;

use crate::{
    call::{Asker, Call, CallKey, Command, IdentityKey, Modification, Visibility},
    memory::Memory,
    outcome::FinishedRun,
    session::SessionId,
    tides::{Effect, RunOrder, TideOptions, Tides},
};

const CELLS: u8 = 8;
const INDEX: IndexId = IndexId([7; 16]);

fn at(nanoseconds: u64) -> Timestamp {
    Timestamp::new(nanoseconds).expect("small")
}

fn options() -> TideOptions {
    TideOptions {
        pause: Duration::from_millis(5),
        timestamp_wait_max: Duration::from_secs(5),
        stream_silence_max: Duration::from_secs(5),
        observed_time_max: Duration::from_secs(17),
        session_queries_max: 100,
        recent_commit_bytes_max: 1 << 20,
    }
}

/// Numbers in cells, with every version that they ever had.
#[derive(Default)]
struct Database {
    versions: BTreeMap<u8, Vec<(Timestamp, u64)>>,
    commits: Vec<Arc<CommitNotice>>,
}

impl Database {
    fn published(&self) -> Timestamp {
        self.commits.last().map_or(at(100), |commit| commit.timestamp)
    }

    fn write(&mut self, cells: &BTreeSet<u8>, random: &mut ChaCha8Rng) -> Arc<CommitNotice> {
        let timestamp = at(self.published().as_nanoseconds() + random.random_range(1..4));
        for cell in cells {
            self.versions.entry(*cell).or_default().push((timestamp, random.random_range(0..4)));
        }
        let keys = cells
            .iter()
            .map(|cell| TouchedKey { index: INDEX, key: Bytes::copy_from_slice(&[*cell]) })
            .collect();
        let commit = Arc::new(CommitNotice { timestamp, keys });
        self.commits.push(commit.clone());
        commit
    }

    fn read(&self, cell: u8, moment: Timestamp) -> u64 {
        let versions = self.versions.get(&cell).map_or(&[][..], |versions| versions);
        versions.iter().rev().find(|(timestamp, _)| *timestamp <= moment).map_or(0, |(_, value)| *value)
    }
}

/// A run that reads the model and remembers what.
struct Run<'a> {
    database: &'a Database,
    moment: Timestamp,
    identity: &'a Identity,
    read_set: ReadSet,
    observed: Observed,
}

impl Run<'_> {
    fn read(&mut self, cell: u8) -> u64 {
        self.read_set.add(INDEX, Interval::point(&[cell]));
        self.database.read(cell, self.moment)
    }

    fn range(&mut self, start: u8, end: u8) -> Vec<u64> {
        let interval =
            Interval { start: Bytes::copy_from_slice(&[start]), end: Some(Bytes::copy_from_slice(&[end])) };
        self.read_set.add(INDEX, interval);
        (start..end).map(|cell| self.database.read(cell, self.moment)).collect()
    }

    fn user(&mut self) -> String {
        self.observed.identity = true;
        self.identity.user().map_or("nobody".into(), |user| user.attributes["subject"].clone())
    }
}

const FUNCTIONS: [&str; 8] =
    ["m:range", "m:chain", "m:me", "m:maybe", "m:clock", "m:fails", "m:pages", "m:internal"];

/// The model's answer to a call. `salt` stands for what differs between two runs: the clock, the request id.
fn evaluate(
    database: &Database,
    path: &str,
    arguments: &str,
    identity: &Identity,
    journal: Option<&str>,
    moment: Timestamp,
    salt: u64,
) -> QueryOutcome {
    let n = arguments.bytes().find(u8::is_ascii_digit).map_or(0, |digit| digit - b'0');
    let mut run = Run { database, moment, identity, read_set: ReadSet::new(), observed: Observed::default() };
    let mut journal_out = None;
    let result = match path {
        "m:range" => Ok(format!("{:?}", run.range(n, n + 3))),
        "m:chain" => {
            let mut cell = n;
            let mut seen = Vec::new();
            while seen.len() < 3 {
                let value = run.read(cell);
                seen.push(value);
                if value.is_multiple_of(2) {
                    break;
                }
                cell = (cell + value as u8) % CELLS;
            }
            Ok(format!("{seen:?}"))
        }
        "m:me" => Ok(format!("{} {}", run.user(), run.read(n))),
        "m:maybe" => {
            let value = run.read(n);
            Ok(if value % 2 == 1 { format!("{} {value}", run.user()) } else { format!("{value}") })
        }
        "m:clock" => {
            run.observed.time = true;
            Ok(format!("{}#{salt}", run.read(n)))
        }
        "m:fails" => match run.read(n) {
            value if value % 2 == 1 => {
                Err(format!("[Request ID: {salt:x}@{}] {value} is odd", moment.as_nanoseconds()))
            }
            value => Ok(format!("{value}")),
        },
        "m:pages" => {
            // A page of cells up to the second one that is not zero; the journal pins its end.
            let end = match journal {
                Some(end) => end.parse().expect("a journal of ours"),
                None => {
                    let mut rows = 0;
                    (n..CELLS)
                        .find(|cell| {
                            rows += u32::from(run.read(*cell) != 0);
                            rows == 2
                        })
                        .unwrap_or(CELLS - 1)
                }
            };
            journal_out = Some(Arc::from(end.to_string()));
            Ok(format!("{end} {:?}", run.range(n, end + 1)))
        }
        "m:internal" => match identity.is_admin() {
            true => Ok(format!("{}", run.read(n))),
            false => Err("Could not find function".into()),
        },
        _ => unreachable!("not a function of the model: {path}"),
    };
    QueryOutcome {
        timestamp: moment,
        result: result.map(Arc::from).map_err(|message| FunctionError { message, data: None }),
        log_lines: Vec::new(),
        journal: journal_out,
        read_set: Arc::new(run.read_set),
        observed: run.observed,
    }
}

/// What of an answer must be as in the model.
fn comparable(result: &Result<Arc<str>, FunctionError>) -> String {
    match result {
        Ok(value) => value.split('#').next().unwrap_or_default().to_owned(),
        Err(error) => format!("error {}", error.message.rsplit(']').next().unwrap_or_default()),
    }
}

/// The moment of the run that failed so.
fn failed_at(error: &FunctionError) -> Option<Timestamp> {
    let (_, moment) = error.message.split_once('@')?;
    Timestamp::new(moment.split(']').next()?.parse().ok()?)
}

fn identities(random: &mut ChaCha8Rng) -> Identity {
    let user = |subject: &str, issued: u32| UserIdentity {
        attributes: [("subject".into(), subject.into()), ("iat".into(), issued.to_string())].into(),
    };
    let issued = random.random_range(0..3);
    match random.random_range(0..6) {
        0 | 1 => Identity::Anonymous,
        2 => Identity::User(user("ann", issued)),
        3 => Identity::User(user("bob", issued)),
        4 => Identity::Admin { key_name: "k".into(), acting_as: None },
        _ => Identity::Admin { key_name: "k".into(), acting_as: Some(user("ann", issued)) },
    }
}

/// A query as a client has added it.
#[derive(Clone)]
struct Added {
    serial: u64,
    call: Arc<Call>,
    journal: Option<Arc<str>>,
    /// The moment from which on it can be shown.
    since: Timestamp,
}

struct Shown {
    serial: u64,
    result: Result<Arc<str>, FunctionError>,
    journal: Option<Arc<str>>,
}

/// A client that believes what it is sent, and checks it.
struct Client {
    not_before: Timestamp,
    timestamp: Timestamp,
    query_set_version: u32,
    identity_version: u32,
    /// By version: the whole query set.
    query_sets: Vec<BTreeMap<u32, Added>>,
    identities: Vec<Identity>,
    view: BTreeMap<u32, Shown>,
    /// Rounds that must still come: at or past these moments.
    owed: Option<Timestamp>,
    owed_any: bool,
    unsent: usize,
    has_room: bool,
    rounds: usize,
}

impl Client {
    fn new(identity: Identity, not_before: Timestamp) -> Client {
        Client {
            not_before,
            timestamp: Timestamp::ZERO,
            query_set_version: 0,
            identity_version: 0,
            query_sets: vec![BTreeMap::new()],
            identities: vec![identity],
            view: BTreeMap::new(),
            owed: None,
            owed_any: false,
            unsent: 0,
            has_room: true,
            rounds: 0,
        }
    }

    fn take(&mut self, round: &SessionRound, database: &Database) {
        assert!(self.has_room, "a round for a session without room");
        self.has_room = false;
        self.rounds += 1;
        assert!(
            round.timestamp >= self.timestamp && round.timestamp >= self.not_before,
            "time went back: {round:?}"
        );
        assert!(round.query_set_version >= self.query_set_version, "the query set went back");
        assert!(round.identity_version >= self.identity_version, "the identity went back");
        self.timestamp = round.timestamp;
        self.query_set_version = round.query_set_version;
        self.identity_version = round.identity_version;
        let queries = &self.query_sets[round.query_set_version as usize];
        assert!(
            queries.values().all(|added| round.timestamp >= added.since),
            "a query was added after this moment"
        );
        let mut changed = BTreeSet::new();
        for change in &round.changes {
            let (query, result, journal) = match change {
                QueryChange::Updated { query, value, journal, .. } => (*query, Ok(value.clone()), journal),
                QueryChange::Failed { query, error, journal, .. } => (*query, Err(error.clone()), journal),
                QueryChange::Removed { query } => {
                    assert!(changed.insert(*query), "two changes of query {query}");
                    self.view.remove(query);
                    continue;
                }
            };
            assert!(changed.insert(query), "two changes of query {query}");
            let Some(added) = queries.get(&query) else {
                panic!("an answer to query {query}, which is not there")
            };
            let shown = Shown { serial: added.serial, result, journal: journal.clone() };
            let old = self.view.insert(query, shown).filter(|old| old.serial == added.serial);
            let shown = &self.view[&query];
            match old {
                Some(old) => {
                    let equal = old.result.is_ok() && old.result == shown.result;
                    assert!(!equal, "an equal result was sent again");
                    assert!(old.journal.is_none() || old.journal == shown.journal, "a page lost its end");
                }
                None => {
                    if let Some(run_at) = shown.result.as_ref().err().and_then(failed_at) {
                        assert_eq!(run_at, round.timestamp, "an old error was given to a new query");
                    }
                }
            }
        }
        self.check_view(database);
        if self.owed.is_some_and(|owed| round.timestamp >= owed) {
            self.owed = None;
        }
        self.owed_any = false;
    }

    /// Every query of the set, and no other, shows the model's state at this moment.
    fn check_view(&self, database: &Database) {
        let queries = &self.query_sets[self.query_set_version as usize];
        let identity = &self.identities[self.identity_version as usize];
        assert!(queries.keys().eq(self.view.keys()), "the view is not that of the query set");
        for (number, added) in queries {
            let shown = &self.view[number];
            assert_eq!(shown.serial, added.serial, "query {number} shows what another one had");
            let journal = match &added.journal {
                // Whatever end the first page got, it must keep.
                None if added.call.path == "m:pages" => shown.journal.clone(),
                journal => journal.clone(),
            };
            let Call { path, arguments, .. } = &*added.call;
            let model = evaluate(database, path, arguments, identity, journal.as_deref(), self.timestamp, 0);
            assert_eq!(
                comparable(&shown.result),
                comparable(&model.result),
                "query {number} ({path} {arguments}) at {:?}",
                self.timestamp
            );
        }
    }
}

enum StreamItem {
    Commit(Arc<CommitNotice>),
    Published(Timestamp),
}

/// What makes a run: no two at one moment may be equal.
type FlightIdentity = (CallKey, Visibility, Option<Arc<str>>, Timestamp, IdentityKey);

struct World {
    random: ChaCha8Rng,
    now: Instant,
    database: Database,
    tides: Tides,
    stream: VecDeque<StreamItem>,
    heard: Option<Instant>,
    clients: BTreeMap<SessionId, Client>,
    running: BTreeMap<FlightId, RunOrder>,
    ran: HashSet<FlightIdentity>,
    /// Up to this moment everything had to be dropped, so that runs may come again.
    ran_anew: Timestamp,
    next_session: u64,
    next_serial: u64,
    next_salt: u64,
    /// Which functions are called, with how many different arguments: few make for many equal calls.
    functions: Vec<&'static str>,
    arguments: u8,
    /// Whether runs may fail and time may jump, so that sessions may end.
    rough: bool,
}

impl World {
    fn new(seed: u64) -> World {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let rough = random.random_bool(0.5);
        let functions =
            (0..random.random_range(1..6)).map(|_| *FUNCTIONS.choose(&mut random).expect("some")).collect();
        let arguments = random.random_range(1..4);
        World {
            random,
            now: Instant::now(),
            database: Database::default(),
            tides: Tides::new(options(), Memory::new(usize::MAX, 1 << 20, 100).open(), Arc::default()),
            stream: VecDeque::new(),
            heard: None,
            clients: BTreeMap::new(),
            running: BTreeMap::new(),
            ran: HashSet::new(),
            ran_anew: Timestamp::ZERO,
            next_session: 0,
            next_serial: 0,
            next_salt: 0,
            functions,
            arguments,
            rough,
        }
    }

    fn client(&mut self) -> Option<SessionId> {
        let sessions: Vec<SessionId> = self.clients.keys().copied().collect();
        sessions.choose(&mut self.random).copied()
    }

    fn step(&mut self) {
        match self.random.random_range(0..100) {
            0..15 => self.write(),
            15..35 => self.stream_moves(),
            35 => self.gap(),
            36..39 => self.open(),
            39 if self.rough => self.close(),
            40..58 => self.modify(),
            58..61 => self.change_identity(),
            61..64 => self.own_write(),
            64..85 => self.finish_one(),
            85..93 => self.take_round(),
            93..98 => self.now += Duration::from_millis(self.random.random_range(0..8)),
            98 if self.rough => self.now += Duration::from_secs(self.random.random_range(0..20)),
            _ => self.beat(),
        }
        if self.random.random_bool(0.7) {
            self.tide();
        }
    }

    fn write(&mut self) {
        let cells = (0..self.random.random_range(0..3)).map(|_| self.random.random_range(0..CELLS)).collect();
        let commit = self.database.write(&cells, &mut self.random);
        self.stream.push_back(StreamItem::Commit(commit));
    }

    fn beat(&mut self) {
        self.stream.push_back(StreamItem::Published(self.database.published()));
    }

    fn stream_moves(&mut self) {
        if self.heard.is_none() {
            self.gap();
        }
        for _ in 0..self.random.random_range(1..4) {
            let Some(item) = self.stream.pop_front() else { break };
            self.heard = Some(self.now);
            match item {
                StreamItem::Commit(commit) => self.tides.commit(&commit, self.now),
                StreamItem::Published(published) => self.tides.heartbeat(published, self.now),
            }
        }
    }

    /// The stream is lost and begins anew, perhaps at a replica that is behind.
    fn gap(&mut self) {
        let behind = self.random.random_range(0..8);
        let commits = &self.database.commits;
        let known = commits.len().saturating_sub(behind);
        let from = known.checked_sub(1).map_or(at(100), |last| commits[last].timestamp);
        self.stream = commits[known..].iter().cloned().map(StreamItem::Commit).collect();
        self.heard = Some(self.now);
        self.ran_anew = self.ran_anew.max(self.tides.published());
        self.tides.follow(from, self.now);
    }

    fn open(&mut self) {
        if self.clients.len() >= 5 {
            return;
        }
        let session = SessionId(self.next_session);
        self.next_session += 1;
        let not_before = if self.random.random_bool(0.5) { self.database.published() } else { at(0) };
        let identity = identities(&mut self.random);
        self.tides.open(session, identity.clone(), not_before);
        self.clients.insert(session, Client::new(identity, not_before));
    }

    fn close(&mut self) {
        self.perform();
        if let Some(session) = self.client() {
            self.clients.remove(&session);
            self.tides.close(session);
        }
    }

    fn modify(&mut self) {
        let Some(session) = self.client() else { return };
        let published = self.database.published();
        let client = self.clients.get_mut(&session).expect("known");
        let mut queries = client.query_sets.last().expect("never empty").clone();
        let mut modifications = Vec::new();
        for _ in 0..self.random.random_range(0..3) {
            let query = self.random.random_range(0..6);
            if queries.remove(&query).is_some() {
                modifications.push(Modification::Remove { query });
                continue;
            }
            let path = *self.functions.choose(&mut self.random).expect("some");
            let arguments = format!("[{{\"n\":{}}}]", self.random.random_range(0..self.arguments));
            let call = Arc::new(Call::new(String::new(), path, &arguments.into()));
            let journal = (path == "m:pages" && self.random.random_bool(0.3))
                .then(|| Arc::from(self.random.random_range(3..CELLS).to_string()));
            self.next_serial += 1;
            queries.insert(
                query,
                Added {
                    serial: self.next_serial,
                    call: call.clone(),
                    journal: journal.clone(),
                    since: published,
                },
            );
            modifications.push(Modification::Add { query, call, journal });
        }
        client.query_sets.push(queries);
        let version = client.query_sets.len() as u32 - 1;
        self.tides.command(session, Command::ModifyQueries { version, modifications }, published, self.now);
    }

    fn change_identity(&mut self) {
        let Some(session) = self.client() else { return };
        let identity = identities(&mut self.random);
        let client = self.clients.get_mut(&session).expect("known");
        client.identities.push(identity.clone());
        let version = client.identities.len() as u32 - 1;
        let asker = Arc::new(Asker::new(identity));
        let published = self.database.published();
        self.tides.command(session, Command::SetIdentity { version, asker }, published, self.now);
    }

    fn own_write(&mut self) {
        let Some(session) = self.client() else { return };
        let published = self.database.published();
        let client = self.clients.get_mut(&session).expect("known");
        let command = if self.random.random_bool(0.7) {
            client.owed = client.owed.max(Some(published));
            Command::Wrote { timestamp: published }
        } else {
            client.owed_any = true;
            Command::Touch
        };
        self.tides.command(session, command, published, self.now);
    }

    fn finish_one(&mut self) {
        self.perform();
        let runs: Vec<FlightId> = self.running.keys().copied().collect();
        let Some(run) = runs.choose(&mut self.random).copied() else { return };
        let order = self.running.remove(&run).expect("running");
        self.next_salt += 1;
        let finished = if self.rough && self.random.random_bool(0.01) {
            self.ran.remove(&identity_of(&order));
            Err(Error::internal("broken"))
        } else {
            let Call { path, arguments, .. } = &*order.call;
            let journal = order.journal.as_deref();
            let outcome =
                evaluate(&self.database, path, arguments, &order.identity, journal, order.at, self.next_salt);
            Ok(FinishedRun::new(outcome, order.journal.as_ref()))
        };
        self.tides.run_finished(run, finished, self.now);
        self.perform();
    }

    fn take_round(&mut self) {
        let Some(session) = self.client() else { return };
        let client = self.clients.get_mut(&session).expect("known");
        client.unsent = client.unsent.saturating_sub(1);
        if !client.has_room {
            client.has_room = true;
            self.tides.room(session, self.now);
        }
    }

    fn tide(&mut self) {
        self.perform();
        let heard = self.heard;
        let silent = heard.is_none_or(|heard| self.now >= heard + options().stream_silence_max);
        self.tides.tide(self.now);
        if silent {
            let effects = self.tides.take_effects();
            let ends = |effect: &&Effect| matches!(effect, Effect::End(..) | Effect::Abandon(_));
            assert!(
                effects.iter().all(|effect| ends(&effect)),
                "a round began on a silent stream: {effects:?}"
            );
            self.perform_all(effects);
        }
        self.perform();
    }

    fn perform(&mut self) {
        loop {
            let effects = self.tides.take_effects();
            if effects.is_empty() {
                return;
            }
            self.perform_all(effects);
        }
    }

    fn perform_all(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Run(order) => self.check_order(order),
                Effect::Abandon(run) => {
                    let order = self.running.remove(&run).expect("only runs under way are abandoned");
                    self.ran.remove(&identity_of(&order));
                }
                Effect::Send(session, round) => {
                    assert!(round.timestamp <= self.database.published());
                    let client = self.clients.get_mut(&session).expect("open");
                    client.take(&round, &self.database);
                    client.unsent += 1;
                    assert!(client.unsent <= 2, "more rounds unsent than may be");
                    if client.unsent < 2 {
                        client.has_room = true;
                        self.tides.room(session, self.now);
                    }
                }
                Effect::End(session, error) => {
                    assert!(self.rough, "a session ended: {error}");
                    self.clients.remove(&session).expect("open");
                }
            }
        }
    }

    fn check_order(&mut self, order: RunOrder) {
        assert!(self.heard.is_some(), "nothing runs before the stream");
        assert!(order.at <= self.database.published(), "a run ahead of what is published");
        // What fails, and what looked at the clock too long ago, is run for everyone who comes later.
        let kept = !["m:fails", "m:clock", "m:internal"].contains(&&*order.call.path);
        if kept && order.at > self.ran_anew {
            assert!(self.ran.insert(identity_of(&order)), "the same query ran twice: {order:?}");
        }
        self.running.insert(order.run, order);
    }

    /// Lets everything come to rest, and checks that nothing is owed.
    fn settle(&mut self) {
        self.stream_moves();
        for _ in 0..10_000 {
            self.beat();
            self.stream_moves();
            self.tide();
            self.finish_one();
            for session in self.clients.keys().copied().collect::<Vec<_>>() {
                let client = self.clients.get_mut(&session).expect("open");
                client.unsent = 0;
                if !client.has_room {
                    client.has_room = true;
                    self.tides.room(session, self.now);
                }
            }
            self.perform();
            self.now += Duration::from_millis(1);
            // What was sent for the room that was given may not have been all.
            let all_have_room = self.clients.values().all(|client| client.has_room);
            let at_rest = self.running.is_empty() && self.tides.wake_at(self.now).is_none();
            if self.stream.is_empty() && at_rest && all_have_room {
                break;
            }
        }
        assert!(
            self.running.is_empty() && self.tides.wake_at(self.now).is_none(),
            "it does not come to rest"
        );
        for client in self.clients.values_mut() {
            assert_eq!(client.owed, None, "a write of its own was never shown");
            assert!(!client.owed_any, "a round that was asked for never came");
            assert_eq!(client.query_set_version as usize, client.query_sets.len() - 1);
            assert_eq!(client.identity_version as usize, client.identities.len() - 1);
            // No round came since: so nothing in view may have changed up to now.
            client.timestamp = client.timestamp.max(self.database.published());
            client.check_view(&self.database);
        }
    }
}

fn identity_of(order: &RunOrder) -> FlightIdentity {
    let asker = Asker::new(order.identity.clone());
    (order.call.key, asker.visibility, order.journal.clone(), order.at, asker.key)
}

/// Says which seed it was when a test fails.
struct Seed(u64);

impl Drop for Seed {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("FANOUT_SEED={} cargo test --workspace --lib -- simulation", self.0);
        }
    }
}

fn seeds(count: u64) -> impl Iterator<Item = Seed> {
    let one = std::env::var("FANOUT_SEED").ok().map(|text| text.parse().expect("a number"));
    let first = one.unwrap_or_else(|| rand::rng().next_u64() >> 16);
    (0..if one.is_some() { 1 } else { count }).map(move |at| Seed(first + at))
}

#[test]
fn every_view_is_the_state_of_the_database_at_its_moment() {
    let mut rounds = 0;
    for seed in seeds(3_000) {
        let mut world = World::new(seed.0);
        for _ in 0..world.random.random_range(20..400) {
            world.step();
        }
        world.settle();
        rounds += world.clients.values().map(|client| client.rounds).sum::<usize>();
    }
    assert!(rounds > 0, "nothing was checked");
}
