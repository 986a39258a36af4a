//! What the tides know of one session.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Instant,
};

use contract::{QueryChange, SessionRound, Timestamp};
use tracked::{EntryId, FlightId};

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
    /// The queries without a result that holds now. Every other one is attached to its result.
    pub loose: BTreeSet<u32>,
    /// Removed, and the client was not told yet.
    pub removed: BTreeSet<u32>,
    pub versions: Versions,
    pub sent_versions: Versions,
    /// No round may be of an earlier moment.
    pub floor: Timestamp,
    /// A round at or past this must follow.
    pub wrote: Option<Timestamp>,
    /// Some round must follow.
    pub touched: bool,
    /// Whether one more round may be sent.
    pub has_room: bool,
    /// Set as long as the session waits for a round.
    pub turn: Option<Turn>,
    pub round: Option<Round>,
}

/// A session's place among those that wait for a round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Turn {
    /// The moment from which on a round is of use.
    pub useful_at: Timestamp,
    pub due_since: Instant,
    /// When the session has waited too long.
    pub wait_end: Instant,
}

#[derive(Debug)]
pub(crate) struct Query {
    pub serial: u64,
    pub call: Arc<Call>,
    pub journal: Option<Arc<str>>,
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

impl Session {
    pub fn new(asker: Arc<Asker>, not_before: Timestamp) -> Session {
        Session {
            asker,
            queries: BTreeMap::new(),
            loose: BTreeSet::new(),
            removed: BTreeSet::new(),
            versions: Versions::default(),
            sent_versions: Versions::default(),
            floor: not_before,
            wrote: None,
            touched: false,
            has_room: true,
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

    fn has_changes(&self) -> bool {
        !self.loose.is_empty()
            || !self.removed.is_empty()
            || self.versions != self.sent_versions
            || self.touched
    }

    /// Begins a round for everything that is open. Answers the turn that this ends.
    pub fn begin_round(&mut self, at: Timestamp) -> Turn {
        assert!(self.round.is_none() && at >= self.floor, "rounds are one at a time and never go back");
        let turn = self.turn.take().expect("a round is for a session whose turn it is");
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

    /// Ends the round once every slot has its answer.
    pub fn complete_round(&mut self) -> Option<CompletedRound> {
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
            if let Some(query) = self.queries.get_mut(number).filter(|query| query.serial == slot.serial) {
                query.sent = Some(outcome.digest);
            }
        }
        // A number that was removed and added again is only updated.
        let removed = round.removed.iter().filter(|number| !round.slots.contains_key(number));
        changes.extend(removed.map(|number| QueryChange::Removed { query: *number }));
        self.sent_versions = round.versions;
        self.touched = false;
        self.wrote = self.wrote.filter(|wrote| *wrote > round.at);
        self.has_room = false;
        Some(CompletedRound {
            round: SessionRound {
                timestamp: round.at,
                query_set_version: round.versions.query_set,
                identity_version: round.versions.identity,
                changes,
            },
            suppressed,
            due_since: round.due_since,
        })
    }
}
