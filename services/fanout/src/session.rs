//! What the tides know of one session.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Instant,
};

use contract::{QueryChange, SessionRound, Timestamp};
use result_cache::{EntryId, FlightId};

use crate::{
    call::{Asker, Call},
    outcome::{Outcome, OutcomeDigest},
};

/// The scenarios order session ids by a way that counts how often it is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(not(test), derive(PartialOrd, Ord))]
pub(crate) struct SessionId(pub u64);

/// One query of one session. The serial number tells it from another that has the same number later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Listener {
    pub session: SessionId,
    pub query: u32,
    pub serial: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Versions {
    pub query_set: u32,
    pub identity: u32,
}

#[derive(Debug)]
pub(crate) struct Session {
    pub asker: Arc<Asker>,
    pub queries: BTreeMap<u32, Query>,
    /// The dirty queries: those without a result that holds now. Every other one is attached to its result.
    pub loose: BTreeSet<u32>,
    /// Removed, and the client was not told yet.
    pub removed: BTreeSet<u32>,
    /// How many of the queries the client has had no answer to.
    pub unanswered: usize,
    pub versions: Versions,
    pub sent_versions: Versions,
    /// The moment of what the client shows; `None` before the first round.
    pub shown_at: Option<Timestamp>,
    /// No round may be of an earlier moment.
    pub floor: Timestamp,
    /// A round at or past this must follow.
    pub wrote: Option<Timestamp>,
    /// Some round must follow.
    pub touched: bool,
    /// Whether one more round may be sent.
    pub has_room: bool,
    /// Whether what it has asked for is left to the next tide, because that shares runs with others.
    pub left_to_tide: bool,
    /// Set as long as the session waits for a round.
    pub turn: Option<Turn>,
    pub round: Option<Round>,
}

/// A session's place among those that wait for a round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Turn {
    /// The moment from which on a round is of use.
    pub useful_at: Timestamp,
    /// Whether it does not wait for the pause between two tides.
    pub at_once: bool,
    pub due_since: Instant,
    /// When the session has waited too long.
    pub wait_end: Instant,
}

#[derive(Debug)]
pub(crate) struct Query {
    pub serial: u64,
    pub call: Arc<Call>,
    pub journal: Option<Arc<str>>,
    /// What the client gave with it: its call and the journal of before.
    pub given_bytes: usize,
    /// Whether its last run looked at the identity.
    pub reads_identity: bool,
    /// Its result, while that holds.
    pub entry: Option<EntryId>,
    /// What the client has.
    pub sent: Option<OutcomeDigest>,
}

/// A round under way: the session as it was when the round began, and the answers at its moment as they come in.
#[derive(Debug)]
pub(crate) struct Round {
    pub at: Timestamp,
    pub asker: Arc<Asker>,
    pub versions: Versions,
    pub removed: BTreeSet<u32>,
    pub slots: BTreeMap<u32, Slot>,
    pub slots_missing: usize,
    pub due_since: Instant,
}

#[derive(Debug)]
pub(crate) struct Slot {
    pub serial: u64,
    pub call: Arc<Call>,
    pub journal: Option<Arc<str>>,
    pub reads_identity: bool,
    pub sent: Option<OutcomeDigest>,
    pub run: Option<FlightId>,
    pub outcome: Option<Arc<Outcome>>,
}

/// A round that is complete, and how many results it left out because the client has equal ones.
pub(crate) struct CompletedRound {
    pub round: SessionRound,
    pub suppressed: u64,
    pub due_since: Instant,
}

/// A round that only removes queries, and the runs that the round under way waits for no longer.
pub(crate) struct Removals {
    pub round: SessionRound,
    pub waiting: Vec<(FlightId, u32)>,
}

impl Session {
    pub fn new(asker: Arc<Asker>, not_before: Timestamp) -> Session {
        Session {
            asker,
            queries: BTreeMap::new(),
            loose: BTreeSet::new(),
            removed: BTreeSet::new(),
            unanswered: 0,
            versions: Versions::default(),
            sent_versions: Versions::default(),
            shown_at: None,
            floor: not_before,
            wrote: None,
            touched: false,
            has_room: true,
            left_to_tide: false,
            turn: None,
            round: None,
        }
    }

    /// From which moment on a round is of use; `None` if none has to come, or none can now.
    pub fn round_useful_at(&self) -> Option<Timestamp> {
        if !self.has_room || self.round.is_some() {
            return None;
        }
        if self.has_changes() { Some(self.floor) } else { self.wrote.map(|wrote| wrote.max(self.floor)) }
    }

    /// Whether the client has asked for something that it would be shown at once if it were alone: other queries, or
    /// another identity.
    pub fn asks_at_once(&self) -> bool {
        self.versions != self.sent_versions && !self.left_to_tide
    }

    pub fn add_query(&mut self, number: u32, query: Query) {
        let known = self.queries.insert(number, query);
        assert!(known.is_none(), "a query's number is used once at a time");
        self.loose.insert(number);
        self.removed.remove(&number);
        self.unanswered += 1;
    }

    pub fn remove_query(&mut self, number: u32) -> Option<Query> {
        let query = self.queries.remove(&number)?;
        self.loose.remove(&number);
        self.removed.insert(number);
        if query.sent.is_none() {
            self.unanswered -= 1;
        }
        Some(query)
    }

    fn has_changes(&self) -> bool {
        !self.loose.is_empty()
            || !self.removed.is_empty()
            || self.versions != self.sent_versions
            || self.touched
    }

    /// Begins a round for everything that is open. Answers the turn that this ends.
    pub fn begin_round(&mut self, at: Timestamp) -> Turn {
        assert!(self.round.is_none() && at >= self.floor, "rounds are one at a time and never go back");
        self.check();
        let turn = self.turn.take().expect("a round is for a session whose turn it is");
        self.left_to_tide = false;
        let slots: BTreeMap<u32, Slot> = self
            .loose
            .iter()
            .map(|number| {
                let query = &self.queries[number];
                let slot = Slot {
                    serial: query.serial,
                    call: query.call.clone(),
                    journal: query.journal.clone(),
                    reads_identity: query.reads_identity,
                    sent: query.sent,
                    run: None,
                    outcome: None,
                };
                (*number, slot)
            })
            .collect();
        assert!(
            self.removed.iter().all(|number| !slots.contains_key(number)),
            "a query that was removed and added again is only updated"
        );
        self.round = Some(Round {
            at,
            asker: self.asker.clone(),
            versions: self.versions,
            removed: std::mem::take(&mut self.removed),
            slots_missing: slots.len(),
            slots,
            due_since: turn.due_since,
        });
        self.floor = at;
        turn
    }

    /// Whether a result that the round got can be listened to by the query as it is now.
    pub fn fits(&self, round: &Round, reads_identity: bool) -> bool {
        self.asker.visibility == round.asker.visibility
            && (!reads_identity || self.asker.key == round.asker.key)
    }

    /// Takes removed queries from the client without moving its view to another moment: so no run is needed for it, and
    /// neither results that hold no longer nor a round under way have to come first. A round under way goes on for the
    /// queries that are left; one that has nothing left to say is over.
    pub fn take_removals(&mut self) -> Option<Removals> {
        let timestamp = self.shown_at?;
        let new_version = self.versions.query_set != self.sent_versions.query_set;
        if !self.has_room || !new_version || self.unanswered > 0 {
            return None;
        }
        let mut removed = std::mem::take(&mut self.removed);
        let mut waiting = Vec::new();
        if let Some(round) = &mut self.round {
            removed.append(&mut round.removed);
            round.versions.query_set = self.versions.query_set;
            for number in &removed {
                let Some(slot) = round.slots.remove(number) else { continue };
                if slot.outcome.is_none() {
                    round.slots_missing -= 1;
                }
                waiting.extend(slot.run.map(|run| (run, *number)));
            }
        }
        let changes = removed.into_iter().map(|query| QueryChange::Removed { query }).collect();
        let versions = Versions { query_set: self.versions.query_set, ..self.sent_versions };
        let sent = self.send(timestamp, versions, changes);
        let (sent_versions, wrote) = (self.sent_versions, self.wrote);
        self.round.take_if(|round| {
            let shows_write = wrote.is_some_and(|wrote| wrote <= round.at);
            round.slots.is_empty() && round.versions == sent_versions && !shows_write
        });
        Some(Removals { round: sent, waiting })
    }

    /// Ends the round once every slot has its answer and the session can be sent it.
    pub fn complete_round(&mut self) -> Option<CompletedRound> {
        if !self.has_room {
            return None;
        }
        let round = self.round.take_if(|round| round.slots_missing == 0)?;
        let mut suppressed = 0;
        let mut changes = Vec::new();
        for (number, slot) in &round.slots {
            let outcome = slot.outcome.as_ref().expect("no slot is missing");
            if slot.sent == Some(outcome.digest) {
                suppressed += 1;
                continue;
            }
            changes.push(outcome.to_change(*number));
            if let Some(query) = self.queries.get_mut(number).filter(|query| query.serial == slot.serial)
                && query.sent.replace(outcome.digest).is_none()
            {
                self.unanswered -= 1;
            }
        }
        changes.extend(round.removed.iter().map(|number| QueryChange::Removed { query: *number }));
        let sent = self.send(round.at, round.versions, changes);
        Some(CompletedRound { round: sent, suppressed, due_since: round.due_since })
    }

    /// What must hold between two events.
    pub fn check(&self) {
        assert!(self.loose.len() <= self.queries.len(), "what is loose is a query");
        assert!(self.unanswered <= self.queries.len(), "what was not answered is a query");
        assert!(self.shown_at <= Some(self.floor), "no round is of an earlier moment than what is shown");
        let missing = self.round.as_ref().is_none_or(|round| round.slots_missing <= round.slots.len());
        assert!(missing, "what a round waits for is one of its queries");
    }

    fn send(&mut self, timestamp: Timestamp, versions: Versions, changes: Vec<QueryChange>) -> SessionRound {
        assert!(self.has_room, "a session is sent only what it has room for");
        assert!(self.shown_at.is_none_or(|shown| timestamp >= shown), "a view never goes back");
        assert!(
            versions.query_set >= self.sent_versions.query_set
                && versions.identity >= self.sent_versions.identity,
            "versions never go back"
        );
        self.shown_at = Some(timestamp);
        self.sent_versions = versions;
        self.touched = false;
        self.wrote = self.wrote.filter(|wrote| *wrote > timestamp);
        self.has_room = false;
        SessionRound {
            timestamp,
            query_set_version: versions.query_set,
            identity_version: versions.identity,
            changes,
        }
    }
}
