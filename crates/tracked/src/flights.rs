//! Runs under way, each for everybody who asks the same.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    hash::Hash,
};

/// Names a run; never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FlightId(u64);

/// A run under way: what it was asked, who asked first and gave it its name, and who waits for it.
#[derive(Debug)]
pub struct Flight<Q, L, W> {
    pub question: Q,
    pub leader: L,
    pub waiters: BTreeSet<W>,
}

/// Single flight: a question that is being answered is not asked again.
///
/// Whether an answer depends on who asks is known only when it is there. So a waiter may join a run in another's name;
/// if that turns out to look at its asker, the waiter has to ask for itself.
#[derive(Debug)]
pub struct Flights<Q, L, W> {
    flights: BTreeMap<FlightId, Flight<Q, L, W>>,
    by_question: HashMap<Q, Vec<FlightId>>,
    next: u64,
}

/// Whose run will do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AnsweredFor {
    /// Only that of an equal asker: the answer is known to depend on it.
    OneAsker,
    /// That of an equal asker rather than another's, but either.
    Anyone,
}

impl<Q, L, W> Default for Flights<Q, L, W> {
    fn default() -> Self {
        Flights { flights: BTreeMap::new(), by_question: HashMap::new(), next: 0 }
    }
}

impl<Q: Eq + Hash + Clone, L, W: Ord + Copy> Flights<Q, L, W> {
    /// A run that will answer, or may. `is_equal` tells whether a run's leader is an equal asker.
    pub fn find(
        &self,
        question: &Q,
        answered_for: AnsweredFor,
        is_equal: impl Fn(&L) -> bool,
    ) -> Option<FlightId> {
        let flights = self.by_question.get(question)?;
        let equal = flights.iter().find(|id| is_equal(&self.flights[id].leader));
        match answered_for {
            AnsweredFor::OneAsker => equal.copied(),
            AnsweredFor::Anyone => equal.or(flights.first()).copied(),
        }
    }

    pub fn start(&mut self, question: Q, leader: L) -> FlightId {
        let id = FlightId(self.next);
        self.next += 1;
        self.by_question.entry(question.clone()).or_default().push(id);
        self.flights.insert(id, Flight { question, leader, waiters: BTreeSet::new() });
        id
    }

    pub fn join(&mut self, id: FlightId, waiter: W) {
        if let Some(flight) = self.flights.get_mut(&id) {
            flight.waiters.insert(waiter);
        }
    }

    /// Answers whether nobody waits for the run any more; then it is forgotten.
    pub fn leave(&mut self, id: FlightId, waiter: W) -> bool {
        let Some(flight) = self.flights.get_mut(&id) else { return false };
        flight.waiters.remove(&waiter);
        let deserted = flight.waiters.is_empty();
        if deserted {
            self.land(id);
        }
        deserted
    }

    /// Who waits for any run of this question.
    pub fn waiters(&self, question: &Q) -> Vec<(FlightId, W)> {
        let flights = self.by_question.get(question).into_iter().flatten();
        flights.flat_map(|id| self.flights[id].waiters.iter().map(|waiter| (*id, *waiter))).collect()
    }

    /// Ends a run.
    pub fn land(&mut self, id: FlightId) -> Option<Flight<Q, L, W>> {
        let flight = self.flights.remove(&id)?;
        if let Some(flights) = self.by_question.get_mut(&flight.question) {
            flights.retain(|other| *other != id);
            if flights.is_empty() {
                self.by_question.remove(&flight.question);
            }
        }
        Some(flight)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Names = Flights<&'static str, &'static str, u32>;

    #[test]
    fn an_equal_askers_run_is_preferred_and_another_one_will_do() {
        let mut flights = Names::default();
        let of = |name: &'static str| move |asker: &&str| *asker == name;
        assert_eq!(flights.find(&"q", AnsweredFor::Anyone, of("ann")), None);
        let bob = flights.start("q", "bob");
        let ann = flights.start("q", "ann");
        assert_eq!(flights.find(&"q", AnsweredFor::Anyone, of("ann")), Some(ann));
        assert_eq!(flights.find(&"q", AnsweredFor::Anyone, of("cid")), Some(bob));
        assert_eq!(flights.find(&"q", AnsweredFor::OneAsker, of("cid")), None);
        assert_eq!(flights.find(&"other", AnsweredFor::Anyone, of("ann")), None);
    }

    #[test]
    fn a_run_is_forgotten_when_it_lands_or_when_the_last_one_leaves() {
        let mut flights = Names::default();
        let (one, two) = (flights.start("q", "ann"), flights.start("q", "bob"));
        flights.join(one, 1);
        flights.join(one, 2);
        flights.join(two, 3);
        assert_eq!(flights.waiters(&"q"), [(one, 1), (one, 2), (two, 3)]);
        assert!(!flights.leave(one, 1));
        assert!(flights.leave(one, 2));
        assert!(flights.land(one).is_none());
        assert_eq!(flights.land(two).expect("under way").waiters, BTreeSet::from([3]));
        assert!(flights.waiters(&"q").is_empty());
        assert!(flights.by_question.is_empty());
    }
}
