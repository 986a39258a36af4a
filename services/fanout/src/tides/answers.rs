//! How the queries of rounds get their answers: from results that hold, or from runs.

use std::{collections::BTreeSet, sync::Arc, time::Instant};

use contract::Error;
use result_cache::{AnsweredFor, CachedResult, EntryId, FlightId};

use super::{Effect, RunOrder, RunOwner, Tides};
use crate::{
    call::{CopyKey, Question},
    metrics::add,
    outcome::{FinishedRun, Outcome},
    session::{Listener, Round, SessionId, Slot},
};

impl Tides {
    pub fn run_finished(&mut self, run: FlightId, finished: Result<FinishedRun, Error>, now: Instant) {
        let Some(flight) = self.flights.land(run) else { return };
        let finished = match finished {
            Ok(finished) => finished,
            Err(error) => {
                for (session, _) in flight.waiters.into_keys() {
                    self.fail(session, error.clone());
                }
                return;
            }
        };
        let reads_identity = finished.observed.identity;
        let asker = flight.owner.asker.key;
        let mut answered = Vec::new();
        let mut others = Vec::new();
        for (waiter, key) in &flight.waiters {
            let fits = !reads_identity || *key == asker;
            if fits { &mut answered } else { &mut others }.push(*waiter);
        }
        // Some may wait for a run of the same question in another's name, which is not needed for them any more.
        let answered_for = if reads_identity { AnsweredFor::OneAsker } else { AnsweredFor::Anyone };
        let relieved = self.flights.relieve(&flight.question, answered_for, &asker);
        answered.extend(relieved.waiters);
        self.effects.extend(relieved.deserted.into_iter().map(Effect::Abandon));
        let listeners: BTreeSet<Listener> = answered
            .iter()
            .filter_map(|(session, query)| self.listener_for(*session, *query, reads_identity))
            .collect();
        let mut keys = Vec::new();
        if finished.outcome.result.is_ok() {
            let identity = reads_identity.then_some(asker);
            let asked = flight.question.copy_key(identity);
            // The next who has this journal asks for the same pages.
            let next = CopyKey { journal: finished.outcome.journal.clone(), ..asked.clone() };
            if next.journal.is_some() && next != asked {
                keys.push(next);
            }
            keys.push(asked);
        }
        let result = CachedResult {
            value: finished.outcome.clone(),
            read_set: finished.read_set,
            from: flight.question.at,
            value_bytes: finished.outcome.bytes,
            findable_until: finished
                .observed
                .time
                .then(|| flight.owner.started + self.options.observed_time_max),
        };
        let entry = self.results.insert(keys, result, listeners.clone());
        for (session, query) in &answered {
            self.fill(*session, *query, &finished.outcome, reads_identity);
        }
        if let Some(entry) = entry {
            listeners.into_iter().for_each(|listener| self.listen(listener, entry));
        }
        for (session, query) in &others {
            self.mark_identity_reader(*session, *query);
            self.resolve(*session, *query, now);
        }
        for (session, _) in answered.into_iter().chain(others) {
            self.complete(session, now);
        }
    }

    /// Finds the answer to one query of a round: a result that holds at its moment, or a run at exactly that.
    pub(super) fn resolve(&mut self, id: SessionId, number: u32, now: Instant) {
        let Some(round) = self.round_of(id) else { return };
        let Some(slot) = round.slots.get(&number) else { return };
        let (at, asker, call) = (round.at, round.asker.clone(), slot.call.clone());
        let reads_identity = slot.reads_identity;
        let question =
            Question { call: call.key, visibility: asker.visibility, journal: slot.journal.clone(), at };
        for identity in [Some(asker.key), None] {
            let Some(entry) = self.results.find(&question.copy_key(identity), now) else { continue };
            let Some(result) = self.results.get(entry).filter(|result| result.from <= at) else {
                continue;
            };
            let outcome = result.value.clone();
            let listener = self.listener_for(id, number, identity.is_some());
            self.fill(id, number, &outcome, identity.is_some());
            if let Some(listener) = listener {
                self.results.attach(entry, listener);
                self.listen(listener, entry);
            }
            return;
        }
        let answered_for = if reads_identity { AnsweredFor::OneAsker } else { AnsweredFor::Anyone };
        let flying = self.flights.find(&question, answered_for, &asker.key);
        let run = flying.unwrap_or_else(|| {
            let (journal, identity) = (question.journal.clone(), asker.identity.clone());
            let owner = RunOwner { asker: asker.clone(), started: now };
            let run = self.flights.start(question, asker.key, owner);
            self.effects.push(Effect::Run(RunOrder { run, call, journal, identity, at }));
            add(&self.metrics.runs, 1);
            run
        });
        self.flights.join(run, (id, number), asker.key);
        if let Some(slot) = self.slot_mut(id, number) {
            slot.run = Some(run);
        }
    }

    /// One query of a round has its answer.
    fn fill(&mut self, id: SessionId, number: u32, outcome: &Arc<Outcome>, reads_identity: bool) {
        let Some(session) = self.sessions.get_mut(&id) else { return };
        let Some(round) = session.round.as_mut() else { return };
        let Some(slot) = round.slots.get_mut(&number) else { return };
        assert!(slot.outcome.is_none() && round.slots_missing > 0, "an answer comes once");
        slot.outcome = Some(outcome.clone());
        slot.run = None;
        round.slots_missing -= 1;
        let serial = slot.serial;
        if let Some(query) = session.queries.get_mut(&number).filter(|query| query.serial == serial) {
            query.journal = outcome.journal.clone();
            query.reads_identity = reads_identity;
        }
    }

    /// The query as a listener of the result that its round got, unless it has changed so that the result is not its
    /// own any more.
    fn listener_for(&self, id: SessionId, number: u32, reads_identity: bool) -> Option<Listener> {
        let session = self.sessions.get(&id)?;
        let round = session.round.as_ref()?;
        let slot = round.slots.get(&number)?;
        let query = session.queries.get(&number)?;
        (query.serial == slot.serial && session.fits(round, reads_identity)).then_some(Listener {
            session: id,
            query: number,
            serial: query.serial,
        })
    }

    /// The listener's result holds now.
    fn listen(&mut self, listener: Listener, entry: EntryId) {
        let Some(session) = self.sessions.get_mut(&listener.session) else { return };
        if let Some(query) = session.queries.get_mut(&listener.query) {
            let other = query.entry.replace(entry);
            assert!(other.is_none(), "a query listens to one result");
            let was_loose = session.loose.remove(&listener.query);
            assert!(was_loose, "a query without a result is loose");
        }
    }

    fn mark_identity_reader(&mut self, id: SessionId, number: u32) {
        if let Some(slot) = self.slot_mut(id, number) {
            slot.reads_identity = true;
            slot.run = None;
        }
    }

    fn round_of(&self, id: SessionId) -> Option<&Round> {
        self.sessions.get(&id)?.round.as_ref()
    }

    fn slot_mut(&mut self, id: SessionId, number: u32) -> Option<&mut Slot> {
        self.sessions.get_mut(&id)?.round.as_mut()?.slots.get_mut(&number)
    }
}
