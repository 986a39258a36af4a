//! The world of the model: replicas, the log between them, clients, and what goes wrong.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use contract::{CommitId, CommitOutcome, LeaderHint, Lookup, NodeId, Read, ReadAt, ReadResult, Timestamp};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::{
    client::{Attempt, BY_ID, BY_NAME, Client, DEPLOYMENT, Documents, Given, Keys, PartFate, Stage, parts},
    history::{Observation, replay},
    memory_store::MemoryStore,
};
use crate::{
    apply::{Applied, Applier, EntryId, Family, Payload, Round, Store, Writable},
    batcher::{BatchLimits, BatchNumber, ProposalError},
    commit_queue::{Answer, Checked, CommitQueue, CommitQueueOptions, Received},
    entry::{CommitWrites, LogEntry, Staged},
    holds::HoldOptions,
    keys::{self, Incarnation},
    reads::{Above, RangeLimits, Reader},
    sweep::sweep,
    undecided::Committed,
};

const REPLICAS: usize = 3;
const CLIENTS: usize = 4;
const REQUESTS: u32 = 6;
/// Steps in which things go wrong; then they heal.
const STEPS: u32 = 700;
const STEPS_TO_HEAL_MAX: u32 = 40_000;
/// Nanoseconds that pass in a step, about: so that the horizon follows within a history.
pub const UNIT: u64 = 10_000;
/// More than a history takes.
const RECORDS_AGE: u64 = 100_000 * UNIT;
const CLOCK_TICK: u64 = 100 * UNIT;
const INCARNATION: Incarnation = Incarnation(1);
/// What a page of a range read has at most.
const PAGE: RangeLimits = RangeLimits { rows_max: 3, bytes_max: usize::MAX };

/// Who waits: an attempt, over a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Waiter {
    attempt: usize,
    connection: u64,
}

struct Replica {
    queue: CommitQueue<Waiter>,
    applier: Applier,
    store: MemoryStore,
    flushed: MemoryStore,
    /// Deletions up to here are swept.
    swept: Timestamp,
    /// What it will hear from Raft, in order.
    news: VecDeque<News>,
    /// How often it was started.
    boots: u64,
    /// How far its clock is ahead, in nanoseconds.
    clock_ahead: i64,
}

enum News {
    Elected(u64),
    Follows(u64),
    Failed(BatchNumber, ProposalError),
}

/// An entry on its way to Raft.
struct Proposal {
    replica: usize,
    boots: u64,
    of: Of,
    term: u64,
    entry: LogEntry,
}

/// A batch in the log, and who hears what becomes of it.
struct Appended {
    index: usize,
    replica: usize,
    boots: u64,
    number: BatchNumber,
}

/// Who hears what becomes of a proposal.
#[derive(Clone, Copy)]
enum Of {
    Batch(BatchNumber),
    /// A client that sends the parts of this attempt.
    Part(usize),
    Nobody,
}

/// A message that arrives a second time, and how far it has come.
struct Stray {
    attempt: usize,
    checked: Option<Checked>,
}

pub struct World {
    random: ChaCha8Rng,
    healing: bool,
    keys: Keys,
    clock: u64,
    term: u64,
    raft_leader: Option<usize>,
    /// Entries with their terms; `None` is blank. What is behind `committed` may still be lost.
    log: Vec<(u64, Option<LogEntry>)>,
    committed: usize,
    proposals: VecDeque<Proposal>,
    /// Of the term.
    appended: Vec<Appended>,
    replicas: Vec<Replica>,
    clients: Vec<Client>,
    attempts: Vec<Attempt>,
    strays: Vec<Stray>,
    observations: Vec<Observation>,
    acknowledged: HashMap<CommitId, Timestamp>,
    /// Which attempts were told that they, or another run of their request, committed when.
    answered: Vec<(usize, Timestamp, bool)>,
    /// Which attempt was given which timestamp, by which replica between two restarts.
    given: HashMap<(usize, u64, Timestamp), usize>,
    /// Numbers the large commits.
    stages: u64,
    trace: DefaultHasher,
}

fn options() -> CommitQueueOptions {
    CommitQueueOptions {
        batches: BatchLimits { bytes_max: 300, commits_max: 3, in_flight_max: 3 },
        window_age: Duration::from_millis(1),
        retention: Duration::from_millis(1),
        records_age: Duration::from_nanos(RECORDS_AGE),
        // Nobody holds anything here; a new leader's horizon stands still for a while all the same.
        holds: HoldOptions {
            lease: Duration::from_nanos(50 * UNIT),
            age_max: Duration::from_nanos(RECORDS_AGE),
            count_max: 1,
        },
    }
}

fn failed(error: impl ToString) -> String {
    error.to_string()
}

fn timestamp(nanoseconds: u64) -> Timestamp {
    Timestamp::new(nanoseconds).expect("the model's time is short")
}

impl Replica {
    fn start(store: MemoryStore, boots: u64, passed: Duration) -> Result<Replica, String> {
        let applier = Applier::open(INCARNATION, &store).map_err(failed)?;
        let state = applier.state();
        let queue = CommitQueue::new(options(), state.last_timestamp, state.epoch, passed);
        let flushed = store.clone();
        let (swept, news) = (Timestamp::ZERO, VecDeque::new());
        Ok(Replica { queue, applier, store, flushed, swept, news, boots, clock_ahead: 0 })
    }

    fn applied(&self) -> usize {
        self.applier.state().last.map_or(0, |last| last.index as usize)
    }

    fn horizon(&self) -> Timestamp {
        self.applier.state().horizon
    }

    fn recorded(&self, id: CommitId) -> Result<Option<Committed>, String> {
        let record = keys::record(INCARNATION, DEPLOYMENT, id);
        let value = self.store.get(Family::Records, &record).map_err(failed)?;
        let committed = value.map(|value| keys::decode_record(&value).map_err(failed)).transpose()?;
        Ok(committed.filter(|committed| committed.timestamp >= self.applier.state().records_floor))
    }

    /// `None` if it can't be read there any more, or not yet.
    fn read(&self, read: &Read, at: ReadAt) -> Result<Option<ReadResult>, String> {
        let above = match at.epoch {
            None if at.timestamp > self.queue.published() => return Ok(None),
            None => Above::default(),
            Some(epoch) => match self.queue.overlay(epoch) {
                Some(overlay) if at.timestamp <= self.queue.head() => {
                    Above::of(overlay, DEPLOYMENT, at.timestamp, read)
                }
                _ => return Ok(None),
            },
        };
        if at.timestamp < self.horizon() {
            return Ok(None);
        }
        let reader = Reader::new(&self.store, INCARNATION, DEPLOYMENT, at.timestamp);
        reader.read(read, above, PAGE).map(Some).map_err(failed)
    }

    fn sweep(&mut self, keys_max: usize) -> Result<(), String> {
        let horizon = self.horizon();
        let Some(from) = self.swept.next().filter(|from| *from <= horizon) else { return Ok(()) };
        let mut changes = self.store.changes();
        let swept =
            sweep(&self.store, &mut changes, INCARNATION, (from, horizon), keys_max).map_err(failed)?;
        self.store.write(changes).map_err(failed)?;
        self.swept = swept.next.map_or(horizon, |next| timestamp(next.as_nanoseconds() - 1));
        Ok(())
    }
}

impl World {
    pub fn new(seed: u64) -> World {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let keys = Keys::choose(&mut random);
        let replicas = (0..REPLICAS)
            .map(|_| {
                Replica::start(MemoryStore::default(), 0, Duration::ZERO).expect("an empty store is read")
            })
            .collect();
        let clients = (0..CLIENTS)
            .map(|_| Client {
                id: CommitId(random.random()),
                attempt: usize::MAX,
                stage: Stage::Idle,
                runs: 0,
                run_again_at: None,
                connection: 0,
                requests_left: REQUESTS,
                seen: Timestamp::ZERO,
            })
            .collect();
        World {
            random,
            healing: false,
            keys,
            clock: 1_000 * UNIT,
            term: 0,
            raft_leader: None,
            log: Vec::new(),
            committed: 0,
            proposals: VecDeque::new(),
            appended: Vec::new(),
            replicas,
            clients,
            attempts: Vec::new(),
            strays: Vec::new(),
            observations: Vec::new(),
            acknowledged: HashMap::new(),
            answered: Vec::new(),
            given: HashMap::new(),
            stages: 0,
            trace: DefaultHasher::new(),
        }
    }

    /// Lives through the seed's history and judges it; a hash of everything that was chosen and answered.
    pub fn run(mut self) -> Result<u64, String> {
        for _ in 0..STEPS {
            self.step()?;
        }
        self.healing = true;
        let mut steps = 0;
        while self.clients.iter().any(|client| client.requests_left > 0) {
            self.step()?;
            steps += 1;
            if steps > STEPS_TO_HEAL_MAX {
                return Err(format!("it is stuck: {:?}", self.clients));
            }
        }
        self.settle()?;
        self.judge()?;
        Ok(self.trace.finish())
    }

    fn step(&mut self) -> Result<(), String> {
        self.clock += self.random.random_range(0..4) * UNIT;
        let choice = self.random.random_range(0..110);
        let replica = self.random.random_range(0..REPLICAS);
        (choice, replica, self.clock).hash(&mut self.trace);
        match choice {
            0..45 => self.client_step()?,
            45..55 => self.hand_over(replica),
            55..65 => self.append(),
            65..75 => self.committed = (self.committed + 1).min(self.log.len()),
            75..89 => self.apply(replica)?,
            89..93 => self.hear(replica)?,
            93..95 => self.deliver_again()?,
            95 => {
                // Now and then so far ahead that every record would be old.
                self.replicas[replica].clock_ahead = match self.random.random_range(0..20) {
                    0 => self.random.random_range(0..3 * RECORDS_AGE as i64),
                    _ => -(self.random.random_range(0..100 * UNIT as i64)),
                };
            }
            96 => self.replicas[replica].flushed = self.replicas[replica].store.clone(),
            97 | 109 => {
                let published = self.replicas[replica].queue.published().as_nanoseconds();
                let keep_above = timestamp(published.saturating_sub(self.random.random_range(0..60) * UNIT));
                let bytes_max = self.random.random_range(400..8_000);
                self.replicas[replica].queue.trim(keep_above, bytes_max);
            }
            98 if self.raft_leader.is_none() || !self.healing => self.elect(replica),
            99 if !self.healing => self.restart(replica)?,
            100..102 => {
                let keys_max = self.random.random_range(1..10);
                self.replicas[replica].sweep(keys_max)?;
            }
            102..108 => self.observe(replica)?,
            108 => {
                self.clock += self.random.random_range(0..300) * UNIT;
                let passed = self.passed();
                let replica = &mut self.replicas[replica];
                let records_floor = replica.applier.state().records_floor;
                replica.queue.idle(passed, replica.horizon(), records_floor);
            }
            _ => {}
        }
        Ok(())
    }

    /// By a clock that nobody sets.
    fn passed(&self) -> Duration {
        Duration::from_nanos(self.clock)
    }

    /// Nobody asks for anything any more, and everything arrives; then a last leader is elected, and again everything
    /// arrives.
    fn settle(&mut self) -> Result<(), String> {
        if let Some(leader) = self.raft_leader {
            self.arrive(leader)?;
        }
        let leader = self.random.random_range(0..REPLICAS);
        self.elect(leader);
        self.arrive(leader)
    }

    fn arrive(&mut self, leader: usize) -> Result<(), String> {
        for _ in 0..2 {
            for number in 0..REPLICAS {
                while !self.replicas[number].news.is_empty() {
                    self.hear(number)?;
                }
                self.hand_over(number);
            }
            while !self.proposals.is_empty() {
                self.append();
            }
            self.committed = self.log.len();
            for number in 0..REPLICAS {
                while self.replicas[number].applied() < self.committed {
                    self.apply(number)?;
                }
            }
        }
        let epoch = self.replicas[leader].queue.epoch();
        if let Some(other) = self.replicas.iter().position(|replica| replica.queue.epoch() != epoch) {
            let shown = self.replicas[other].queue.epoch();
            return Err(format!("replica {other} shows {shown:?}, where the leader's epoch is {epoch:?}"));
        }
        let hint = Some(leader_hint(leader));
        if self.replicas.iter().any(|replica| replica.queue.leader() != hint) {
            return Err("a replica does not know who leads".into());
        }
        Ok(())
    }

    // What happens between the replicas.

    fn elect(&mut self, winner: usize) {
        self.term += 1;
        // Whoever wins has everything that was committed; what was only appended may be lost.
        let kept = match self.healing {
            true => self.log.len(),
            false => self.random.random_range(self.committed..=self.log.len()),
        };
        // What was appended may be discarded here and come back with a later leader that has it.
        for Appended { index, replica, boots, number } in std::mem::take(&mut self.appended) {
            let told = index >= self.committed && replica != winner && self.random.random();
            let replica = &mut self.replicas[replica];
            if told && replica.boots == boots {
                replica.news.push_back(News::Failed(number, ProposalError::Unknown));
            }
        }
        self.log.truncate(kept);
        self.log.push((self.term, None));
        self.raft_leader = Some(winner);
        for (number, replica) in self.replicas.iter_mut().enumerate() {
            let news = if number == winner { News::Elected(self.term) } else { News::Follows(self.term) };
            replica.news.push_back(news);
        }
    }

    fn restart(&mut self, number: usize) -> Result<(), String> {
        let old = &self.replicas[number];
        self.replicas[number] = Replica::start(old.flushed.clone(), old.boots + 1, self.passed())?;
        // Its vote is on its disk.
        self.replicas[number].news.push_back(News::Follows(self.term));
        if self.raft_leader == Some(number) {
            self.raft_leader = None;
        }
        for client in 0..CLIENTS {
            let sent_to = self.attempts.get(self.clients[client].attempt).map(|attempt| attempt.replica);
            let waits = matches!(self.clients[client].stage, Stage::Wait | Stage::Part { .. });
            if waits && sent_to == Some(number) {
                self.lose_connection(client);
            }
        }
        Ok(())
    }

    fn hand_over(&mut self, number: usize) {
        let passed = self.passed();
        if let Some((batch_number, batch)) = self.replicas[number].queue.close_batch(passed) {
            let term = batch.epoch.term;
            self.propose(number, Of::Batch(batch_number), term, LogEntry::Batch(batch));
        }
    }

    fn propose(&mut self, replica: usize, of: Of, term: u64, entry: LogEntry) {
        let boots = self.replicas[replica].boots;
        self.proposals.push_back(Proposal { replica, boots, of, term, entry });
    }

    fn append(&mut self) {
        let Some(proposal) = self.proposals.pop_front() else { return };
        let replica = &mut self.replicas[proposal.replica];
        let leads = self.raft_leader == Some(proposal.replica)
            && proposal.term == self.term
            && replica.boots == proposal.boots;
        let lapsed = !self.healing && self.random.random_range(0..8) == 0;
        let fate = if leads && !lapsed {
            let encoded = proposal.entry.encode(replica.applier.state().write_version);
            let decoded = LogEntry::decode(encoded).expect("an entry comes back");
            if let Of::Batch(number) = proposal.of {
                let (index, replica, boots) = (self.log.len(), proposal.replica, proposal.boots);
                self.appended.push(Appended { index, replica, boots, number });
            }
            self.log.push((proposal.term, Some(decoded)));
            PartFate::Appended(self.log.len() - 1, proposal.term)
        } else {
            if let Of::Batch(number) = proposal.of
                && replica.boots == proposal.boots
            {
                replica.news.push_back(News::Failed(number, ProposalError::Refused));
            }
            PartFate::Refused
        };
        if let Of::Part(attempt) = proposal.of
            && let Some(client) = self.clients.iter_mut().find(|client| client.attempt == attempt)
            && let Stage::Part { fate: known, .. } = &mut client.stage
        {
            *known = Some(fate);
        }
    }

    fn hear(&mut self, number: usize) -> Result<(), String> {
        let leader = self.raft_leader.map(leader_hint);
        let passed = self.passed();
        let replica = &mut self.replicas[number];
        let answers = match replica.news.pop_front() {
            Some(News::Elected(term)) => replica.queue.elected(term, leader, passed),
            Some(News::Follows(term)) => replica.queue.follow(term, leader),
            Some(News::Failed(batch, error)) => replica.queue.failed(batch, error),
            None => return Ok(()),
        };
        replica.queue.assert_overlay_is_exact();
        self.tell(answers)
    }

    /// Applies some of the next entries together.
    fn apply(&mut self, number: usize) -> Result<(), String> {
        let next = self.replicas[number].applied();
        let end = (next + self.random.random_range(1..4)).min(self.committed);
        if next >= end {
            return Ok(());
        }
        let bytes_max = self.random.random_range(0..600);
        let passed = self.passed();
        let Replica { queue, applier, store, .. } = &mut self.replicas[number];
        let before = queue.published();
        let answers = apply_entries(applier, store, bytes_max, next, &self.log[next..end], |applied| {
            queue.publish(&applied, passed)
        })?;
        queue.assert_overlay_is_exact();
        let state = applier.state();
        if queue.published() < before || queue.published() != state.last_timestamp {
            return Err("what is published is not what was applied".into());
        }
        if state.horizon > state.last_timestamp {
            return Err("the newest moment can't be read".into());
        }
        self.tell(answers)
    }

    /// Somebody reads what is published.
    fn observe(&mut self, number: usize) -> Result<(), String> {
        let read = self.keys.read(&mut self.random);
        let replica = &self.replicas[number];
        let (horizon, published) = (replica.horizon(), replica.queue.published());
        let newest = self.random.random_range(0..3) == 0;
        let at = match newest {
            true => published,
            false => {
                timestamp(self.random.random_range(horizon.as_nanoseconds()..=published.as_nanoseconds()))
            }
        };
        let result = replica.read(&read, ReadAt::published(at))?;
        let result =
            result.ok_or_else(|| format!("{at} can't be read, between {horizon} and {published}"))?;
        let given = Given::new(&read, &result);
        self.observations.push(Observation { at, read, given });
        Ok(())
    }

    // What clients do.

    fn client_step(&mut self) -> Result<(), String> {
        let client = self.random.random_range(0..CLIENTS);
        if self.clients[client].requests_left == 0 {
            return Ok(());
        }
        match self.clients[client].stage.clone() {
            Stage::Idle => {
                self.begin(client);
                Ok(())
            }
            Stage::Read => self.read(client),
            Stage::Part { stage, parts, sent, fate } => self.send_part(client, stage, parts, sent, fate),
            Stage::Send => self.send(client),
            Stage::Checked(checked) => {
                let attempt = self.clients[client].attempt;
                let waiter = Waiter { attempt, connection: self.clients[client].connection };
                self.clients[client].stage = Stage::Wait;
                self.receive(attempt, checked, waiter, Some(client))
            }
            Stage::Wait => {
                if !self.healing && self.random.random_range(0..40) == 0 {
                    self.lose_connection(client);
                }
                Ok(())
            }
            Stage::Unchanged { timestamp } => self.wait_unchanged(client, timestamp),
            Stage::AskLookup => self.ask_lookup(client),
        }
    }

    fn lose_connection(&mut self, client: usize) {
        self.clients[client].connection += 1;
        self.clients[client].stage = Stage::AskLookup;
    }

    fn begin(&mut self, client: usize) {
        let ready: Vec<usize> =
            (0..REPLICAS).filter(|number| self.replicas[*number].queue.is_ready()).collect();
        let Some(&replica) = ready.get(self.random.random_range(0..REPLICAS)) else { return };
        let queue = &self.replicas[replica].queue;
        let speculative = self.clients[client].run_again_at.take().filter(|at| {
            at.epoch.is_some_and(|epoch| queue.overlay(epoch).is_some()) && at.timestamp <= queue.head()
        });
        let (begin, read_from) = match speculative {
            Some(begin) => (begin, replica),
            None => {
                let read_from = self.random.random_range(0..REPLICAS);
                let published = self.replicas[read_from].queue.published();
                if published < self.clients[client].seen {
                    return;
                }
                (ReadAt::published(published), read_from)
            }
        };
        // What a follower shows is as good, if it knows of the leader's resets.
        let shown_by = if self.random.random() { replica } else { self.random.random_range(0..REPLICAS) };
        let epoch = self.replicas[shown_by].queue.epoch();
        self.clients[client].runs += 1;
        let Client { id, runs, .. } = self.clients[client];
        let mut attempt = Attempt { replica, read_from, ..Attempt::new(id, runs, epoch, begin) };
        attempt.plan(&self.keys, &mut self.random);
        self.clients[client].attempt = self.attempts.len();
        self.clients[client].stage = Stage::Read;
        self.attempts.push(attempt);
    }

    fn read(&mut self, client: usize) -> Result<(), String> {
        let number = self.clients[client].attempt;
        let attempt = &mut self.attempts[number];
        if let Some(read) = attempt.to_read.pop() {
            let replica = &self.replicas[attempt.read_from];
            match replica.read(&read, attempt.begin)? {
                Some(result) => attempt.has_read(read, &result),
                // Its epoch is over, or others have moved the horizon past it, or the replica came back without it.
                None => self.clients[client].stage = Stage::Idle,
            }
            return Ok(());
        }
        attempt.decide(number as u64, &self.keys, &mut self.random);
        self.clients[client].stage = Stage::Send;
        Ok(())
    }

    fn send(&mut self, client: usize) -> Result<(), String> {
        let attempt = self.clients[client].attempt;
        let request = self.request(attempt);
        if let CommitWrites::Inlined(encoded) = &request.encoded
            && self.attempts[attempt].large
        {
            let piece = encoded.len().div_ceil(3).max(1);
            let parts = encoded.chunks(piece).map(Bytes::copy_from_slice).collect();
            self.stages += 1;
            self.clients[client].stage = Stage::Part { stage: self.stages, parts, sent: 0, fate: None };
            return Ok(());
        }
        if !self.healing && !self.attempts[attempt].large && self.random.random_range(0..6) == 0 {
            self.strays.push(Stray { attempt, checked: None });
        }
        match self.check(attempt)? {
            Ok(checked) => {
                self.clients[client].stage = Stage::Checked(checked);
                Ok(())
            }
            Err(outcome) => self.told(attempt, Some(client), outcome),
        }
    }

    fn request(&self, attempt: usize) -> &crate::commit_queue::Request {
        self.attempts[attempt].request.as_ref().expect("it has read all")
    }

    /// What the record says, and the part of validation that needs no turn.
    fn check(&self, attempt: usize) -> Result<Result<Checked, CommitOutcome>, String> {
        let request = self.request(attempt);
        let replica = &self.replicas[self.attempts[attempt].replica];
        let no_record_at = replica.queue.published();
        Ok(match replica.recorded(request.id)? {
            Some(committed) => Err(committed.outcome_for(request.run)),
            None => replica.queue.check(request, no_record_at),
        })
    }

    /// Sends the parts of a large commit, then the commit that names them.
    fn send_part(
        &mut self,
        client: usize,
        stage: u64,
        parts: Vec<Bytes>,
        sent: usize,
        fate: Option<PartFate>,
    ) -> Result<(), String> {
        let attempt = self.clients[client].attempt;
        let replica = self.attempts[attempt].replica;
        let term = self.attempts[attempt].epoch.term;
        let arrived = match fate {
            None => {
                // Most of what would be refused is refused before anything is staged.
                if sent == 0
                    && let Err(outcome) = self.check(attempt)?
                {
                    return self.told(attempt, Some(client), outcome);
                }
                false
            }
            Some(PartFate::Proposed) => return Ok(()),
            Some(PartFate::Refused) => {
                self.drop_stage(replica, term, stage);
                return self.told(attempt, Some(client), CommitOutcome::NotCommitted);
            }
            Some(PartFate::Appended(index, in_term)) => {
                let stays = self.log.get(index).is_some_and(|(term, _)| *term == in_term);
                if !stays {
                    self.drop_stage(replica, term, stage);
                    return self.told(attempt, Some(client), CommitOutcome::NotCommitted);
                }
                if self.replicas[replica].applied() <= index {
                    return Ok(());
                }
                true
            }
        };
        let sent = sent + usize::from(arrived);
        if sent < parts.len() {
            let content = parts[sent].clone();
            let entry = LogEntry::StagePart { term, stage, part: sent as u32, content };
            self.propose(replica, Of::Part(attempt), term, entry);
            let fate = Some(PartFate::Proposed);
            self.clients[client].stage = Stage::Part { stage, parts, sent, fate };
            return Ok(());
        }
        let whole = parts.concat();
        let request = self.attempts[attempt].request.as_mut().expect("it has read all");
        request.encoded = CommitWrites::Staged(Staged {
            stage,
            parts: parts.len() as u32,
            bytes: whole.len() as u64,
            crc32c: crc32c::crc32c(&whole),
        });
        self.clients[client].stage = Stage::Send;
        Ok(())
    }

    fn drop_stage(&mut self, replica: usize, term: u64, stage: u64) {
        self.propose(replica, Of::Nobody, term, LogEntry::DropStage { term, stage });
    }

    /// Delivers a message a second time. Others may come between its two steps.
    fn deliver_again(&mut self) -> Result<(), String> {
        if self.strays.is_empty() {
            return Ok(());
        }
        let at = self.random.random_range(0..self.strays.len());
        let Stray { attempt, checked } = self.strays[at];
        match checked {
            None => match self.check(attempt)? {
                Ok(checked) => {
                    self.strays[at].checked = Some(checked);
                    Ok(())
                }
                Err(outcome) => {
                    self.strays.swap_remove(at);
                    self.told(attempt, None, outcome)
                }
            },
            Some(checked) => {
                self.strays.swap_remove(at);
                self.receive(attempt, checked, Waiter { attempt, connection: u64::MAX }, None)
            }
        }
    }

    fn receive(
        &mut self,
        attempt: usize,
        checked: Checked,
        waiter: Waiter,
        client: Option<usize>,
    ) -> Result<(), String> {
        let mut request = self.request(attempt).clone();
        let replica = &mut self.replicas[self.attempts[attempt].replica];
        // Coarse, so that timestamps often follow the head and not the clock.
        let clock = self.clock.saturating_add_signed(replica.clock_ahead) / CLOCK_TICK * CLOCK_TICK;
        let before = replica.queue.head();
        let received = replica.queue.receive(&mut request, checked, waiter, timestamp(clock));
        let head = replica.queue.head();
        if head < before {
            return Err(format!("the head went back from {before} to {head}"));
        }
        if head > before {
            let given = (self.attempts[attempt].replica, replica.boots, head);
            if let Some(other) = self.given.insert(given, attempt) {
                return Err(format!("{head} is given to attempts {other} and {attempt}"));
            }
        }
        match received {
            Received::OnItsWay => Ok(()),
            Received::Answered(_, outcome) => self.told(attempt, client, outcome),
            Received::Unchanged { checked, .. } => {
                let timestamp = replica.queue.published().max(request.begin.timestamp);
                if timestamp > checked {
                    return Err("it was not checked up to where it is said to hold".into());
                }
                if let Some(client) = client {
                    self.clients[client].stage = Stage::Unchanged { timestamp };
                }
                Ok(())
            }
            Received::AskStoreAgain(_) => {
                if let Some(client) = client {
                    self.clients[client].stage = Stage::Send;
                }
                Ok(())
            }
        }
    }

    fn wait_unchanged(&mut self, client: usize, timestamp: Timestamp) -> Result<(), String> {
        let attempt = self.clients[client].attempt;
        let epoch = self.attempts[attempt].epoch;
        let number = self.attempts[attempt].replica;
        let queue = &self.replicas[number].queue;
        if queue.epoch() != epoch {
            return self.told(attempt, Some(client), CommitOutcome::NotCommitted);
        }
        let confirmed = self.raft_leader == Some(number) && self.term == epoch.term && queue.is_ready();
        if queue.published() >= timestamp && confirmed {
            self.attempts[attempt].held_at = Some(timestamp);
            self.finish(client, timestamp);
        }
        Ok(())
    }

    fn ask_lookup(&mut self, client: usize) -> Result<(), String> {
        let number = self.random.random_range(0..REPLICAS);
        let replica = &self.replicas[number];
        let attempt = self.clients[client].attempt;
        let id = self.clients[client].id;
        let mut answer = replica.queue.lookup(DEPLOYMENT, id, None);
        if matches!(answer, Lookup::Absent { .. }) {
            answer = replica.queue.lookup(DEPLOYMENT, id, replica.recorded(id)?);
        }
        let sent_in = self.attempts[attempt].epoch;
        match answer {
            Lookup::Committed { timestamp, run } => {
                let outcome = Committed { timestamp, run }.outcome_for(self.attempts[attempt].run);
                self.told(attempt, Some(client), outcome)
            }
            Lookup::Pending | Lookup::NotLeader(_) => Ok(()),
            // It will never commit; or nobody got it, and the same message is sent again.
            Lookup::Absent { epoch } => {
                if epoch > sent_in {
                    self.attempts[attempt].never = true;
                    self.clients[client].stage = Stage::Idle;
                } else if epoch == sent_in {
                    self.attempts[attempt].replica = number;
                    self.clients[client].stage = Stage::Send;
                }
                Ok(())
            }
        }
    }

    // What clients are told.

    fn tell(&mut self, answers: Vec<Answer<Waiter>>) -> Result<(), String> {
        for Answer { waiter, outcome } in answers {
            let client = self.clients.iter().position(|client| {
                client.attempt == waiter.attempt
                    && client.connection == waiter.connection
                    && matches!(client.stage, Stage::Wait)
            });
            self.told(waiter.attempt, client, outcome)?;
        }
        Ok(())
    }

    /// An outcome arrives; `client` is `None` where nobody listens any more.
    fn told(&mut self, attempt: usize, client: Option<usize>, outcome: CommitOutcome) -> Result<(), String> {
        (attempt, client, format!("{outcome:?}")).hash(&mut self.trace);
        let Attempt { id, replica, epoch, .. } = self.attempts[attempt];
        match &outcome {
            CommitOutcome::Committed { timestamp } => {
                self.check_durable(id, *timestamp)?;
                let before = *self.acknowledged.entry(id).or_insert(*timestamp);
                if before != *timestamp {
                    return Err(format!("{id:?} was acknowledged at {before} and at {timestamp}"));
                }
                self.answered.push((attempt, *timestamp, true));
            }
            CommitOutcome::OtherRunCommitted { timestamp } => {
                self.check_durable(id, *timestamp)?;
                self.answered.push((attempt, *timestamp, false));
            }
            CommitOutcome::Conflict(_) | CommitOutcome::NotCommitted => self.attempts[attempt].never = true,
            CommitOutcome::NotLeader(_) | CommitOutcome::Unknown => {}
        }
        let Some(client) = client else { return Ok(()) };
        if let Some(CommitWrites::Staged(staged)) =
            self.attempts[attempt].request.as_ref().map(|it| &it.encoded)
            && outcome != CommitOutcome::Unknown
        {
            let stage = staged.stage;
            self.drop_stage(replica, epoch.term, stage);
        }
        match outcome {
            CommitOutcome::Committed { timestamp } | CommitOutcome::OtherRunCommitted { timestamp } => {
                self.finish(client, timestamp);
            }
            CommitOutcome::Conflict(conflict) => {
                self.clients[client].run_again_at = Some(conflict.run_again_at);
                self.clients[client].stage = Stage::Idle;
            }
            CommitOutcome::NotLeader(_) | CommitOutcome::NotCommitted => {
                self.clients[client].stage = Stage::Idle
            }
            CommitOutcome::Unknown => self.clients[client].stage = Stage::AskLookup,
        }
        Ok(())
    }

    fn finish(&mut self, client: usize, timestamp: Timestamp) {
        let id = CommitId(self.random.random());
        let client = &mut self.clients[client];
        client.seen = client.seen.max(timestamp);
        client.id = id;
        client.stage = Stage::Idle;
        client.runs = 0;
        client.run_again_at = None;
        client.connection += 1;
        client.requests_left -= 1;
    }

    fn check_durable(&self, id: CommitId, timestamp: Timestamp) -> Result<(), String> {
        let durable = self.log[..self.committed].iter().any(|(_, entry)| match entry {
            Some(LogEntry::Batch(batch)) => {
                batch.commits.iter().any(|commit| commit.id == id && commit.timestamp == timestamp)
            }
            _ => false,
        });
        if durable { Ok(()) } else { Err(format!("{id:?} was acknowledged and is not durable")) }
    }

    // The judgement.

    fn judge(&mut self) -> Result<(), String> {
        let store = MemoryStore::default();
        let mut applier = Applier::open(INCARNATION, &store).map_err(failed)?;
        // The attempt that committed at each moment.
        let mut history: BTreeMap<Timestamp, usize> = BTreeMap::new();
        let mut seen_ids: HashMap<CommitId, Timestamp> = HashMap::new();
        let by_run: HashMap<(CommitId, u32), usize> =
            self.attempts.iter().enumerate().map(|(number, it)| ((it.id, it.run), number)).collect();
        for (index, item) in self.log.iter().enumerate() {
            let mut commits = Vec::new();
            apply_entries::<()>(&mut applier, &store, 0, index, std::slice::from_ref(item), |applied| {
                for applied in applied {
                    if let Applied::Commits(_, applied) = applied {
                        commits.extend(applied.into_iter().map(|it| (it.notice.timestamp, it.id, it.run)));
                    }
                }
                Vec::new()
            })?;
            for (timestamp, id, run) in commits {
                if history.last_key_value().is_some_and(|(last, _)| *last >= timestamp) {
                    return Err(format!("{timestamp} does not grow"));
                }
                history.insert(timestamp, by_run[&(id, run)]);
                if let Some(first) = seen_ids.insert(id, timestamp) {
                    return Err(format!("{id:?} is there twice: at {first} and {timestamp}"));
                }
            }
        }
        for (id, timestamp) in &self.acknowledged {
            if seen_ids.get(id) != Some(timestamp) {
                return Err(format!("{id:?} was acknowledged at {timestamp} and is lost"));
            }
        }
        for (attempt, timestamp, its_own) in &self.answered {
            if (history.get(timestamp) == Some(attempt)) != *its_own {
                return Err(format!("attempt {attempt} was told wrongly which run committed at {timestamp}"));
            }
        }
        let documents = replay(&history, &self.attempts, &self.observations, PAGE)?;
        self.judge_stores(&applier, &store, &documents)
    }

    /// All replicas have the same, it is what the history made, and once all is swept nothing else is left.
    fn judge_stores(
        &mut self,
        applier: &Applier,
        fresh: &MemoryStore,
        documents: &Documents,
    ) -> Result<(), String> {
        let last = applier.state().last_timestamp;
        for (number, replica) in self.replicas.iter().enumerate() {
            if replica.applier.state() != applier.state() {
                return Err(format!("replica {number} has come to {:?}", replica.applier.state()));
            }
            for family in [Family::Records, Family::Stages, Family::Applied] {
                if replica.store.rows(family) != fresh.rows(family) {
                    return Err(format!("replica {number} differs in {family:?}"));
                }
            }
            if replica.store.count(Family::Stages) > 0 {
                return Err(format!("replica {number} has parts of large commits of older terms"));
            }
            for index in [BY_ID, BY_NAME] {
                let reader = Reader::new(&replica.store, INCARNATION, DEPLOYMENT, last);
                let all = contract::Interval::all();
                let limits = RangeLimits { rows_max: usize::MAX, bytes_max: usize::MAX };
                let (rows, _) = reader
                    .range(index, &all, contract::Order::Ascending, limits, BTreeMap::new())
                    .map_err(failed)?;
                let numbers: Vec<u64> = rows.iter().map(|row| parts(&row.version.document).0).collect();
                let read = Read::Range {
                    index,
                    interval: all,
                    order: contract::Order::Ascending,
                    rows_max: usize::MAX,
                    bytes_max: usize::MAX,
                };
                let result = ReadResult::Range { rows, more: false };
                if Given::new(&read, &result) != Given::expected(&read, documents) {
                    return Err(format!("replica {number} has {numbers:?} in {index:?}, not {documents:?}"));
                }
            }
        }
        for number in 0..REPLICAS {
            let replica = &mut self.replicas[number];
            while replica.swept < replica.horizon() {
                replica.sweep(3)?;
            }
            let below = |(key, _): &(Vec<u8>, Vec<u8>)| {
                keys::deletions_timestamp(key).is_ok_and(|at| at <= replica.horizon())
            };
            if replica.store.rows(Family::Deletions).iter().any(below) {
                return Err(format!("replica {number} has deletions that nobody sees"));
            }
        }
        Ok(())
    }
}

fn leader_hint(replica: usize) -> Arc<LeaderHint> {
    Arc::new(LeaderHint { node: NodeId(replica as u64), address: String::new(), zone: None })
}

/// Applies entries, of which the first has this index in the log; `publish` hears of them when they are written.
fn apply_entries<T>(
    applier: &mut Applier,
    store: &MemoryStore,
    bytes_max: usize,
    index: usize,
    entries: &[(u64, Option<LogEntry>)],
    mut publish: impl FnMut(Vec<Applied>) -> Vec<T>,
) -> Result<Vec<T>, String> {
    let mut told = Vec::new();
    let mut round = Round::new(applier, store, bytes_max);
    let mut publish = |applied: Vec<Applied>, _: &crate::apply::AppliedState| told.extend(publish(applied));
    for (number, (term, entry)) in entries.iter().enumerate() {
        let payload = entry.clone().map_or(Payload::Blank, Payload::Entry);
        // Raft's first entry has the index 1 here, so that 0 is before everything.
        let id = EntryId { term: *term, index: (index + number) as u64 + 1 };
        round.apply(id, payload, |_| (), &mut publish).map_err(failed)?;
    }
    round.write(&mut publish).map_err(failed)?;
    Ok(told)
}
