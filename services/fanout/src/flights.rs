//! Runs under way, each for everybody who asks the same at the same moment.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
    time::Instant,
};

use contract::Timestamp;

use crate::{
    call::{Asker, CallKey, CopyKey, IdentityKey, Visibility},
    session::SessionId,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct RunId(pub u64);

/// What a run is asked, whoever asks.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Question {
    pub call: CallKey,
    pub visibility: Visibility,
    pub journal: Option<Arc<str>>,
    pub at: Timestamp,
}

#[derive(Debug)]
pub(crate) struct Flight {
    pub question: Question,
    pub asker: Arc<Asker>,
    /// Sessions and the numbers that they gave their queries.
    pub waiters: BTreeSet<(SessionId, u32)>,
    pub started: Instant,
}

#[derive(Debug, Default)]
pub(crate) struct Flights {
    runs: BTreeMap<RunId, Flight>,
    by_question: HashMap<Question, Vec<RunId>>,
    next: u64,
}

impl Question {
    /// Under which key a result can be found: with the identity only if the run looked at it.
    pub fn copy_key(&self, identity: Option<IdentityKey>) -> CopyKey {
        CopyKey { call: self.call, visibility: self.visibility, journal: self.journal.clone(), identity }
    }
}

impl Flights {
    /// A run that will answer, or may: one of another identity answers for all if it does not look at the identity.
    pub fn find(&self, question: &Question, identity: IdentityKey, reads_identity: bool) -> Option<RunId> {
        let runs = self.by_question.get(question)?;
        let same = runs.iter().find(|run| self.runs[run].asker.key == identity);
        if reads_identity { same.copied() } else { same.or(runs.first()).copied() }
    }

    pub fn start(&mut self, question: Question, asker: Arc<Asker>, now: Instant) -> RunId {
        let run = RunId(self.next);
        self.next += 1;
        self.by_question.entry(question.clone()).or_default().push(run);
        self.runs.insert(run, Flight { question, asker, waiters: BTreeSet::new(), started: now });
        run
    }

    pub fn join(&mut self, run: RunId, session: SessionId, query: u32) {
        if let Some(flight) = self.runs.get_mut(&run) {
            flight.waiters.insert((session, query));
        }
    }

    /// Answers whether nobody waits for the run any more; then it is forgotten.
    pub fn leave(&mut self, run: RunId, session: SessionId, query: u32) -> bool {
        let Some(flight) = self.runs.get_mut(&run) else { return false };
        flight.waiters.remove(&(session, query));
        let deserted = flight.waiters.is_empty();
        if deserted {
            self.land(run);
        }
        deserted
    }

    /// Who waits for any run of this question.
    pub fn waiters(&self, question: &Question) -> Vec<(RunId, SessionId, u32)> {
        let runs = self.by_question.get(question).into_iter().flatten();
        runs.flat_map(|run| self.runs[run].waiters.iter().map(|(session, query)| (*run, *session, *query)))
            .collect()
    }

    /// Ends a run.
    pub fn land(&mut self, run: RunId) -> Option<Flight> {
        let flight = self.runs.remove(&run)?;
        if let Some(runs) = self.by_question.get_mut(&flight.question) {
            runs.retain(|other| *other != run);
            if runs.is_empty() {
                self.by_question.remove(&flight.question);
            }
        }
        Some(flight)
    }
}
