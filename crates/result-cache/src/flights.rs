//! Runs under way, each for everybody who asks the same.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::RangeBounds,
};

/// Names a run; never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FlightId(u64);

/// A run under way: what it was asked, in whose name it is made, and who waits for it, each in the name of an asker.
#[derive(Debug)]
pub struct Flight<Q, A, O, W> {
    pub question: Q,
    pub asker: A,
    pub owner: O,
    pub waiters: BTreeMap<W, A>,
}

/// Single flight: a question that is being answered is not asked again.
///
/// Whether an answer depends on who asks is known only when it is there. So a waiter may join a run in another's name;
/// if that turns out to look at its asker, the waiter has to ask for itself.
///
/// A waiter waits for at most one run at a time. Every operation takes time in proportion to the logarithm of what is
/// under way, plus what it answers: a thousand askers of one question, each with a run of its own, never look through
/// each other's.
#[derive(Debug)]
pub struct Flights<Q, A, O, W> {
    flights: BTreeMap<FlightId, Flight<Q, A, O, W>>,
    asked: BTreeMap<Q, Asked<A, W>>,
    next: u64,
}

/// The runs of one question.
#[derive(Debug)]
struct Asked<A, W> {
    flights: BTreeSet<FlightId>,
    /// The run in each asker's name.
    by_asker: BTreeMap<A, FlightId>,
    /// Who waits, by the asker in whose name, for whichever run.
    waiters: BTreeMap<A, BTreeMap<W, FlightId>>,
}

/// Whose run will do, or for whom a run will do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AnsweredFor {
    /// Only that of an equal asker: the answer is known to depend on it.
    OneAsker,
    /// That of an equal asker rather than another's, but either.
    Anyone,
}

/// Those who waited for runs that need not go on for their sake.
#[derive(Debug, PartialEq, Eq)]
pub struct Relieved<W> {
    pub waiters: Vec<W>,
    /// The runs that nobody waits for any more; they are forgotten.
    pub deserted: Vec<FlightId>,
}

impl<Q, A, O, W> Default for Flights<Q, A, O, W> {
    fn default() -> Self {
        Flights { flights: BTreeMap::new(), asked: BTreeMap::new(), next: 0 }
    }
}

impl<Q: Ord + Clone, A: Ord + Copy, O, W: Ord + Copy> Flights<Q, A, O, W> {
    /// A run that will answer, or may.
    pub fn find(&self, question: &Q, answered_for: AnsweredFor, asker: &A) -> Option<FlightId> {
        let asked = self.asked.get(question)?;
        let equal = asked.by_asker.get(asker);
        match answered_for {
            AnsweredFor::OneAsker => equal.copied(),
            AnsweredFor::Anyone => equal.or(asked.flights.first()).copied(),
        }
    }

    /// Whether any question among these is being answered.
    pub fn has_any(&self, questions: impl RangeBounds<Q>) -> bool {
        self.asked.range(questions).next().is_some()
    }

    pub fn start(&mut self, question: Q, asker: A, owner: O) -> FlightId {
        let id = FlightId(self.next);
        self.next += 1;
        let asked = self.asked.entry(question.clone()).or_insert_with(|| Asked {
            flights: BTreeSet::new(),
            by_asker: BTreeMap::new(),
            waiters: BTreeMap::new(),
        });
        let other = asked.by_asker.insert(asker, id);
        assert!(other.is_none(), "a question that an equal asker has asked is not asked again");
        asked.flights.insert(id);
        self.flights.insert(id, Flight { question, asker, owner, waiters: BTreeMap::new() });
        id
    }

    /// Lets `waiter`, in the name of `asker`, wait for a run.
    pub fn join(&mut self, id: FlightId, waiter: W, asker: A) {
        let Some(flight) = self.flights.get_mut(&id) else { return };
        flight.waiters.insert(waiter, asker);
        let asked = self.asked.get_mut(&flight.question).expect("a run's question is being asked");
        let other = asked.waiters.entry(asker).or_default().insert(waiter, id);
        assert!(other.is_none(), "a waiter waits for one run at a time");
    }

    /// Answers whether nobody waits for the run any more; then it is forgotten.
    pub fn leave(&mut self, id: FlightId, waiter: W) -> bool {
        let Some(flight) = self.flights.get_mut(&id) else { return false };
        if let Some(asker) = flight.waiters.remove(&waiter) {
            let asked = self.asked.get_mut(&flight.question).expect("a run's question is being asked");
            asked.forget_waiter(asker, waiter);
        }
        let deserted = flight.waiters.is_empty();
        if deserted {
            self.land(id);
        }
        deserted
    }

    /// Ends a run, and the waiting of those who waited for it.
    pub fn land(&mut self, id: FlightId) -> Option<Flight<Q, A, O, W>> {
        let flight = self.flights.remove(&id)?;
        let asked = self.asked.get_mut(&flight.question).expect("a run's question is being asked");
        asked.flights.remove(&id);
        asked.by_asker.remove(&flight.asker);
        for (waiter, asker) in &flight.waiters {
            asked.forget_waiter(*asker, *waiter);
        }
        if asked.flights.is_empty() {
            assert!(asked.waiters.is_empty(), "who waits waits for a run");
            self.asked.remove(&flight.question);
        }
        Some(flight)
    }

    /// Ends the waiting of all who wait for another run of a question than the one whose answer is there: of those
    /// with an equal asker, or of all if the answer is good for anyone.
    pub fn relieve(&mut self, question: &Q, answered_for: AnsweredFor, asker: &A) -> Relieved<W> {
        let mut relieved = Relieved { waiters: Vec::new(), deserted: Vec::new() };
        let Some(asked) = self.asked.get(question) else { return relieved };
        let waiting: Vec<(W, FlightId)> = match answered_for {
            AnsweredFor::OneAsker => asked.waiters.get(asker).into_iter().flatten().map(copied).collect(),
            AnsweredFor::Anyone => asked.waiters.values().flatten().map(copied).collect(),
        };
        for (waiter, id) in waiting {
            relieved.waiters.push(waiter);
            if self.leave(id, waiter) {
                relieved.deserted.push(id);
            }
        }
        relieved
    }
}

fn copied<W: Copy>((waiter, id): (&W, &FlightId)) -> (W, FlightId) {
    (*waiter, *id)
}

impl<A: Ord, W: Ord> Asked<A, W> {
    fn forget_waiter(&mut self, asker: A, waiter: W) {
        let Some(waiters) = self.waiters.get_mut(&asker) else { return };
        waiters.remove(&waiter);
        if waiters.is_empty() {
            self.waiters.remove(&asker);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{cell::Cell, cmp::Ordering};

    use super::*;

    type Names = Flights<&'static str, &'static str, (), u32>;

    #[test]
    fn an_equal_askers_run_is_preferred_and_another_one_will_do() {
        let mut flights = Names::default();
        assert_eq!(flights.find(&"q", AnsweredFor::Anyone, &"ann"), None);
        let bob = flights.start("q", "bob", ());
        let ann = flights.start("q", "ann", ());
        assert_eq!(flights.find(&"q", AnsweredFor::Anyone, &"ann"), Some(ann));
        assert_eq!(flights.find(&"q", AnsweredFor::Anyone, &"cid"), Some(bob));
        assert_eq!(flights.find(&"q", AnsweredFor::OneAsker, &"cid"), None);
        assert_eq!(flights.find(&"other", AnsweredFor::Anyone, &"ann"), None);
        assert!(flights.has_any("p"..="q") && !flights.has_any("a"..="p"));
    }

    #[test]
    fn a_run_is_forgotten_when_it_lands_or_when_the_last_one_leaves() {
        let mut flights = Names::default();
        let (one, two) = (flights.start("q", "ann", ()), flights.start("q", "bob", ()));
        flights.join(one, 1, "ann");
        flights.join(one, 2, "cid");
        flights.join(two, 3, "bob");
        assert!(!flights.leave(one, 1));
        assert!(flights.leave(one, 2));
        assert!(flights.land(one).is_none());
        assert_eq!(flights.land(two).expect("under way").waiters, BTreeMap::from([(3, "bob")]));
        assert!(flights.asked.is_empty());
    }

    #[test]
    fn an_answer_relieves_its_askers_equals_or_everyone_and_ends_runs_that_nobody_waits_for() {
        let mut flights = Names::default();
        let [ann, bob, cid] = ["ann", "bob", "cid"].map(|asker| flights.start("q", asker, ()));
        flights.join(bob, 1, "ann");
        flights.join(ann, 2, "ann");
        flights.join(bob, 3, "bob");
        flights.join(cid, 4, "cid");
        flights.land(ann).expect("under way");
        let relieved = flights.relieve(&"q", AnsweredFor::OneAsker, &"ann");
        assert_eq!(relieved, Relieved { waiters: vec![1], deserted: vec![] });
        let relieved = flights.relieve(&"q", AnsweredFor::Anyone, &"ann");
        assert_eq!(relieved, Relieved { waiters: vec![3, 4], deserted: vec![bob, cid] });
        assert!(flights.asked.is_empty());
    }

    thread_local! {
        static COMPARISONS: Cell<u64> = const { Cell::new(0) };
    }

    /// A name that counts how often any of its kind is compared.
    #[derive(Clone, Copy, Debug, Eq)]
    struct Counted(u32);

    impl Ord for Counted {
        fn cmp(&self, other: &Self) -> Ordering {
            COMPARISONS.set(COMPARISONS.get() + 1);
            self.0.cmp(&other.0)
        }
    }

    impl PartialOrd for Counted {
        fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
            Some(self.cmp(other))
        }
    }

    impl PartialEq for Counted {
        fn eq(&self, other: &Self) -> bool {
            self.cmp(other) == Ordering::Equal
        }
    }

    /// Comparisons while so many askers of one question each get an answer of their own.
    fn comparisons_with(askers: u32) -> u64 {
        COMPARISONS.set(0);
        let mut flights: Flights<(), Counted, (), Counted> = Flights::default();
        let ids: Vec<FlightId> = (0..askers)
            .map(|number| {
                let asker = Counted(number);
                assert_eq!(flights.find(&(), AnsweredFor::OneAsker, &asker), None);
                let id = flights.start((), asker, ());
                flights.join(id, asker, asker);
                id
            })
            .collect();
        for (id, number) in ids.into_iter().zip(0..) {
            flights.land(id).expect("under way");
            let relieved = flights.relieve(&(), AnsweredFor::OneAsker, &Counted(number));
            assert!(relieved.waiters.is_empty());
        }
        COMPARISONS.get()
    }

    #[test]
    fn askers_of_one_question_who_run_it_each_for_itself_do_not_look_through_each_others_runs() {
        let (few, many) = (comparisons_with(500), comparisons_with(4_000));
        // Eight times as many: eight times the work, and a half for deeper trees. Squared, it would be 64 times.
        assert!(many < 12 * few, "{few} comparisons for 500 askers, {many} for 4,000");
    }
}
