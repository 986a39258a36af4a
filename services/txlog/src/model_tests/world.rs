//! The world of the model: replicas, the log between them, clients, and what goes wrong.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    hash::{DefaultHasher, Hash, Hasher},
};

use bytes::Bytes;
use contract::{CommitId, CommitOutcome, Lookup, ReadAt, Timestamp};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::{
    client::{Attempt, Client, DEPLOYMENT, INDEX, KEYS, Plan, Stage, key},
    memory_store::{MemoryChanges, MemoryStore},
};
use crate::{
    apply::{Applied, Applier, EntryId, Family, Payload, Store},
    batcher::{BatchLimits, BatchNumber},
    commit_queue::{Answer, Checked, CommitQueue, CommitQueueOptions, Received},
    entry::{CommitWrites, LogEntry, StampedCommit, decode_writes},
    keys::{self, Incarnation},
};

const REPLICAS: usize = 3;
const CLIENTS: usize = 4;
const REQUESTS: u32 = 6;
/// Steps in which things go wrong; then they heal.
const STEPS: u32 = 500;
const STEPS_TO_HEAL_MAX: u32 = 20_000;
const CLOCK_TICK: u64 = 100;
const INCARNATION: Incarnation = Incarnation(1);

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
    /// What it will hear from Raft, in order.
    news: VecDeque<News>,
    /// How often it was started.
    boots: u64,
    clock_offset: u64,
}

enum News {
    Elected(u64),
    Follows(u64),
    Refused(BatchNumber),
}

/// A batch on its way to Raft.
struct Proposal {
    replica: usize,
    boots: u64,
    number: BatchNumber,
    term: u64,
    entry: LogEntry,
}

pub struct World {
    random: ChaCha8Rng,
    healing: bool,
    clock: u64,
    term: u64,
    raft_leader: Option<usize>,
    /// Entries with their terms; `None` is blank. What is behind `committed` may still be lost.
    log: Vec<(u64, Option<LogEntry>)>,
    committed: usize,
    proposals: VecDeque<Proposal>,
    replicas: Vec<Replica>,
    clients: Vec<Client>,
    attempts: Vec<Attempt>,
    /// Messages that arrive a second time.
    strays: Vec<usize>,
    acknowledged: HashMap<CommitId, Timestamp>,
    trace: DefaultHasher,
}

fn options() -> CommitQueueOptions {
    CommitQueueOptions {
        batches: BatchLimits { bytes_max: 80, commits_max: 3, in_flight_max: 3 },
        retention_ms: 1,
        records_age_ms: 1_000,
    }
}

impl Replica {
    fn start(store: MemoryStore, boots: u64) -> Result<Replica, String> {
        let applier = Applier::open(INCARNATION, &store).map_err(|error| error.to_string())?;
        let queue = CommitQueue::new(options(), applier.state().last_timestamp, applier.state().epoch);
        let flushed = store.clone();
        Ok(Replica { queue, applier, store, flushed, news: VecDeque::new(), boots, clock_offset: 0 })
    }

    fn applied(&self) -> usize {
        self.applier.state().last.map_or(0, |last| last.index as usize)
    }

    fn recorded(&self, id: CommitId) -> Result<Option<Timestamp>, String> {
        let record = keys::record(INCARNATION, DEPLOYMENT, id);
        let value = self.store.get(Family::Records, &record).map_err(|error| error.to_string())?;
        value.map(|value| keys::decode_record(&value).map_err(|error| error.to_string())).transpose()
    }

    /// The number of the attempt that wrote a key, as a reader at this moment sees it.
    fn read(&self, number: u8, at: ReadAt) -> Option<u64> {
        let above = at.epoch.and_then(|epoch| {
            self.queue.overlay(epoch)?.point(DEPLOYMENT, INDEX, &key(number), at.timestamp)
        });
        let below = self.store.read(INCARNATION, DEPLOYMENT, INDEX, &key(number), at.timestamp);
        let document = match (above, below) {
            (Some(above), Some((timestamp, document))) if timestamp > above.timestamp => document,
            (Some(above), _) => above.document,
            (None, below) => below?.1,
        };
        document.map(|document| attempt_number(&document))
    }
}

fn attempt_number(document: &Bytes) -> u64 {
    u64::from_be_bytes(document[..].try_into().expect("the model writes numbers"))
}

impl World {
    pub fn new(seed: u64) -> World {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let replicas = (0..REPLICAS)
            .map(|_| Replica::start(MemoryStore::default(), 0).expect("an empty store is read"))
            .collect();
        let clients = (0..CLIENTS)
            .map(|_| Client {
                id: CommitId(random.random()),
                attempt: 0,
                stage: Stage::Idle,
                run_again_at: None,
                connection: 0,
                requests_left: REQUESTS,
                seen: Timestamp::ZERO,
            })
            .collect();
        World {
            random,
            healing: false,
            clock: 1_000,
            term: 0,
            raft_leader: None,
            log: Vec::new(),
            committed: 0,
            proposals: VecDeque::new(),
            replicas,
            clients,
            attempts: Vec::new(),
            strays: Vec::new(),
            acknowledged: HashMap::new(),
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

    /// Nobody asks for anything any more, and everything arrives.
    fn settle(&mut self) -> Result<(), String> {
        if self.raft_leader.is_none() {
            self.elect(0);
        }
        let leader = self.raft_leader.expect("somebody was elected");
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
        match self.replicas.iter().position(|replica| replica.queue.epoch() != epoch) {
            Some(other) => {
                let shown = self.replicas[other].queue.epoch();
                Err(format!("replica {other} shows {shown:?}, where the leader's epoch is {epoch:?}"))
            }
            None => Ok(()),
        }
    }

    fn step(&mut self) -> Result<(), String> {
        self.clock += self.random.random_range(0..4);
        let choice = self.random.random_range(0..100);
        let replica = self.random.random_range(0..REPLICAS);
        (choice, replica, self.clock).hash(&mut self.trace);
        match choice {
            0..45 => self.client_step()?,
            45..55 => self.hand_over(replica),
            55..65 => self.append(),
            65..75 => self.committed = (self.committed + 1).min(self.log.len()),
            75..90 => self.apply(replica)?,
            90..94 => self.hear(replica)?,
            94 => self.deliver_again()?,
            95 => self.replicas[replica].clock_offset = self.random.random_range(0..100),
            96 => self.replicas[replica].flushed = self.replicas[replica].store.clone(),
            97 => {
                let published = self.replicas[replica].queue.published().as_nanoseconds();
                let keep_above = Timestamp::new(published.saturating_sub(60)).unwrap_or_default();
                let bytes_max = self.random.random_range(200..4_000);
                self.replicas[replica].queue.trim(keep_above, bytes_max);
            }
            98 if self.raft_leader.is_none() || !self.healing => self.elect(replica),
            99 if !self.healing => self.restart(replica)?,
            _ => {}
        }
        Ok(())
    }

    // What happens between the replicas.

    fn elect(&mut self, winner: usize) {
        self.term += 1;
        // Whoever wins has everything that was committed; what was only appended may be lost.
        let kept = self.random.random_range(self.committed..=self.log.len());
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
        self.replicas[number] = Replica::start(old.flushed.clone(), old.boots + 1)?;
        // Its vote is on its disk.
        self.replicas[number].news.push_back(News::Follows(self.term));
        if self.raft_leader == Some(number) {
            self.raft_leader = None;
        }
        for client in 0..CLIENTS {
            let sent_to = self.attempts.get(self.clients[client].attempt).map(|attempt| attempt.replica);
            if matches!(self.clients[client].stage, Stage::Wait) && sent_to == Some(number) {
                self.lose_connection(client);
            }
        }
        Ok(())
    }

    fn hand_over(&mut self, number: usize) {
        let replica = &mut self.replicas[number];
        if let Some((batch_number, batch)) = replica.queue.close_batch() {
            let term = batch.epoch.term;
            let entry = LogEntry::Batch(batch);
            let boots = replica.boots;
            self.proposals.push_back(Proposal { replica: number, boots, number: batch_number, term, entry });
        }
    }

    fn append(&mut self) {
        let Some(proposal) = self.proposals.pop_front() else { return };
        let leads = self.raft_leader == Some(proposal.replica)
            && proposal.term == self.term
            && self.replicas[proposal.replica].boots == proposal.boots;
        let lapsed = !self.healing && self.random.random_range(0..8) == 0;
        if leads && !lapsed {
            let decoded = LogEntry::decode(
                proposal.entry.encode(self.replicas[proposal.replica].applier.state().write_version),
            )
            .expect("an entry comes back");
            self.log.push((proposal.term, Some(decoded)));
        } else if self.replicas[proposal.replica].boots == proposal.boots {
            self.replicas[proposal.replica].news.push_back(News::Refused(proposal.number));
        }
    }

    fn hear(&mut self, number: usize) -> Result<(), String> {
        let replica = &mut self.replicas[number];
        let answers = match replica.news.pop_front() {
            Some(News::Elected(term)) => replica.queue.elected(term, None),
            Some(News::Follows(term)) => replica.queue.follow(term, None),
            Some(News::Refused(batch)) => replica.queue.refused(batch),
            None => return Ok(()),
        };
        self.tell(answers)
    }

    fn apply(&mut self, number: usize) -> Result<(), String> {
        let replica = &mut self.replicas[number];
        let next = replica.applied();
        if next >= self.committed {
            return Ok(());
        }
        let applied = apply_entry(&mut replica.applier, &mut replica.store, next, &self.log[next])?;
        let before = replica.queue.published();
        let answers = match applied {
            Applied::Commits(epoch, commits) => replica.queue.applied(epoch, &commits),
            Applied::Skipped(timestamps) => replica.queue.skipped(timestamps),
            Applied::TermBegan(term) => {
                replica.queue.applied_blank(term);
                Vec::new()
            }
            Applied::Nothing | Applied::Backfilled(_) => Vec::new(),
        };
        if replica.queue.published() < before {
            return Err("published went back".into());
        }
        self.tell(answers)
    }

    // What clients do.

    fn client_step(&mut self) -> Result<(), String> {
        let client = self.random.random_range(0..CLIENTS);
        if self.clients[client].requests_left == 0 {
            return Ok(());
        }
        match self.clients[client].stage {
            Stage::Idle => {
                self.begin(client);
                Ok(())
            }
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
        let epoch = self.replicas[replica].queue.epoch();
        let plan = Plan::choose(&mut self.random);
        let reads =
            plan.read.iter().map(|number| (*number, self.replicas[read_from].read(*number, begin))).collect();
        let request = plan.request(self.clients[client].id, epoch, begin, self.attempts.len() as u64);
        self.clients[client].attempt = self.attempts.len();
        self.clients[client].stage = Stage::Send;
        self.attempts.push(Attempt { request, reads, replica, never: false, held_at: None });
    }

    fn send(&mut self, client: usize) -> Result<(), String> {
        let attempt = self.clients[client].attempt;
        if !self.healing && self.random.random_range(0..10) == 0 {
            self.strays.push(attempt);
        }
        let request = &self.attempts[attempt].request;
        let replica = &self.replicas[self.attempts[attempt].replica];
        let no_record_at = replica.queue.published();
        let recorded = replica.recorded(request.id)?;
        let outcome = match recorded {
            Some(timestamp) => CommitOutcome::Committed { timestamp },
            None => match replica.queue.check(request, no_record_at) {
                Ok(checked) => {
                    self.clients[client].stage = Stage::Checked(checked);
                    return Ok(());
                }
                Err(outcome) => outcome,
            },
        };
        self.told(attempt, Some(client), outcome)
    }

    /// Delivers a message a second time, in one go.
    fn deliver_again(&mut self) -> Result<(), String> {
        let Some(attempt) = self.strays.pop() else { return Ok(()) };
        let request = &self.attempts[attempt].request;
        let replica = &self.replicas[self.attempts[attempt].replica];
        if let Some(timestamp) = replica.recorded(request.id)? {
            return self.told(attempt, None, CommitOutcome::Committed { timestamp });
        }
        match replica.queue.check(request, replica.queue.published()) {
            Ok(checked) => self.receive(attempt, checked, Waiter { attempt, connection: u64::MAX }, None),
            Err(outcome) => self.told(attempt, None, outcome),
        }
    }

    fn receive(
        &mut self,
        attempt: usize,
        checked: Checked,
        waiter: Waiter,
        client: Option<usize>,
    ) -> Result<(), String> {
        let mut request = self.attempts[attempt].request.clone();
        let replica = &mut self.replicas[self.attempts[attempt].replica];
        // Coarse, so that timestamps often follow the head and not the clock.
        let clock = (self.clock - replica.clock_offset) / CLOCK_TICK * CLOCK_TICK;
        let clock = Timestamp::new(clock).unwrap_or_default();
        let received = replica.queue.receive(&mut request, checked, waiter, clock);
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
        let epoch = self.attempts[attempt].request.epoch;
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
        let sent_in = self.attempts[attempt].request.epoch;
        match answer {
            Lookup::Committed { timestamp } => {
                self.told(attempt, Some(client), CommitOutcome::Committed { timestamp })
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
        let id = self.attempts[attempt].request.id;
        match &outcome {
            CommitOutcome::Committed { timestamp } => {
                self.check_durable(id, *timestamp)?;
                let before = *self.acknowledged.entry(id).or_insert(*timestamp);
                if before != *timestamp {
                    return Err(format!("{id:?} was acknowledged at {before} and at {timestamp}"));
                }
            }
            CommitOutcome::Conflict(_) | CommitOutcome::NotCommitted => self.attempts[attempt].never = true,
            CommitOutcome::NotLeader(_) | CommitOutcome::Unknown => {}
        }
        let Some(client) = client else { return Ok(()) };
        match outcome {
            CommitOutcome::Committed { timestamp } => self.finish(client, timestamp),
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
        self.committed = self.log.len();
        for number in 0..REPLICAS {
            while self.replicas[number].applied() < self.committed {
                self.apply(number)?;
            }
        }
        let mut store = MemoryStore::default();
        let mut applier = Applier::open(INCARNATION, &store).map_err(|error| error.to_string())?;
        let mut history: BTreeMap<Timestamp, CommitId> = BTreeMap::new();
        let mut seen_ids: HashMap<CommitId, Timestamp> = HashMap::new();
        let mut written: HashMap<Timestamp, Vec<(u8, u64)>> = HashMap::new();
        for (index, item) in self.log.iter().enumerate() {
            let Applied::Commits(_, commits) = apply_entry(&mut applier, &mut store, index, item)? else {
                continue;
            };
            let Some(LogEntry::Batch(batch)) = &item.1 else { continue };
            for ((_, id, notice), stamped) in commits.iter().zip(&batch.commits) {
                if history.last_key_value().is_some_and(|(last, _)| *last >= notice.timestamp) {
                    return Err(format!("{} does not grow", notice.timestamp));
                }
                history.insert(notice.timestamp, *id);
                if let Some(first) = seen_ids.insert(*id, notice.timestamp) {
                    return Err(format!("{id:?} is there twice: at {first} and {}", notice.timestamp));
                }
                written.insert(notice.timestamp, writes_of(stamped)?);
            }
        }
        if self.replicas.iter().any(|replica| replica.store != store) {
            return Err("the replicas' stores differ".into());
        }
        for (id, timestamp) in &self.acknowledged {
            if seen_ids.get(id) != Some(timestamp) {
                return Err(format!("{id:?} was acknowledged at {timestamp} and is lost"));
            }
        }
        self.replay(&history, &written)
    }

    /// Each transaction alone, at its timestamp, on a plain map.
    fn replay(
        &self,
        history: &BTreeMap<Timestamp, CommitId>,
        written: &HashMap<Timestamp, Vec<(u8, u64)>>,
    ) -> Result<(), String> {
        let mut held: Vec<(Timestamp, &Attempt)> =
            self.attempts.iter().filter_map(|attempt| Some((attempt.held_at?, attempt))).collect();
        held.sort_by_key(|(timestamp, _)| *timestamp);
        let mut held = held.into_iter().peekable();
        let mut state: [Option<u64>; KEYS as usize] = Default::default();
        for timestamp in history.keys().copied().chain([Timestamp::MAX]) {
            while let Some((at, attempt)) = held.next_if(|(at, _)| *at < timestamp) {
                check_reads(attempt, &state).map_err(|wrong| format!("a reader at {at}: {wrong}"))?;
            }
            let Some(writes) = written.get(&timestamp) else { continue };
            if let Some((_, number)) = writes.first() {
                let attempt = &self.attempts[*number as usize];
                if attempt.never {
                    return Err(format!("attempt {number} is at {timestamp} though it was said never to be"));
                }
                check_reads(attempt, &state)
                    .map_err(|wrong| format!("attempt {number} at {timestamp}: {wrong}"))?;
            }
            for (key, number) in writes {
                state[*key as usize] = Some(*number);
            }
        }
        Ok(())
    }
}

fn check_reads(attempt: &Attempt, state: &[Option<u64>]) -> Result<(), String> {
    match attempt.reads.iter().find(|(key, saw)| state[*key as usize] != *saw) {
        Some((key, saw)) => {
            Err(format!("it read {saw:?} at key {key}, where {:?} was", state[*key as usize]))
        }
        None => Ok(()),
    }
}

fn writes_of(commit: &StampedCommit) -> Result<Vec<(u8, u64)>, String> {
    let CommitWrites::Inlined(encoded) = &commit.writes else { return Err("it is staged".into()) };
    let writes = decode_writes(encoded.clone()).map_err(|error| error.to_string())?;
    Ok(writes
        .iter()
        .filter_map(|write| Some((write.key[0], attempt_number(write.document.as_ref()?))))
        .collect())
}

fn apply_entry(
    applier: &mut Applier,
    store: &mut MemoryStore,
    index: usize,
    (term, entry): &(u64, Option<LogEntry>),
) -> Result<Applied, String> {
    let payload = entry.clone().map_or(Payload::Blank, Payload::Entry);
    let mut changes = MemoryChanges::default();
    // Raft's first entry has the index 1 here, so that 0 is before everything.
    let id = EntryId { term: *term, index: index as u64 + 1 };
    let applied = applier.apply(store, &mut changes, id, payload).map_err(|error| error.to_string())?;
    applier.save(&mut changes);
    store.write(changes);
    Ok(applied)
}
