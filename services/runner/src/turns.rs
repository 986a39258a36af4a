//! Turns: mutations that want the same document go one after another, instead of running at once and losing all but one.
//!
//! A call that lost a race takes the turn of the document that was in its way ([`Conflict::write`](contract::Conflict)).
//! From then on the document is *queued* until nobody wants it any more: whoever reads it, or has lost on it, waits for the
//! turn, first come, first served. A turn ends when its holder's commit is validated: the next run, which reads the
//! newest state, then sees what it wrote.
//!
//! Turns decide nothing: the log's validation does, and a call without a turn is as right as one with it. So whatever is in
//! the way of a turn is answered by going on without:
//!
//! * a call waits until [`TurnLimits::wait_max`] after it began, for all its turns together;
//! * a turn is held for [`TurnLimits::held_max`]; then it goes to the next that waits, whatever its holder does;
//! * who would wait for itself, by way of others that wait, does not wait;
//! * when a call ends, however it does, so do its turns and its place in a queue.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    ops::Bound,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use contract::{DeploymentRef, IndexId, Interval};
use parking_lot::Mutex;
use tokio::{sync::oneshot, time::Instant};

/// A document that several calls want, by the end of its keys, which is the same in all indexes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct TurnKey {
    deployment: DeploymentRef,
    document: Bytes,
}

impl TurnKey {
    /// The document at a key of any index.
    pub(crate) fn of(deployment: DeploymentRef, key: &Bytes) -> TurnKey {
        let document = transaction::primary_key_of(key).unwrap_or_else(|| key.clone());
        TurnKey { deployment, document }
    }
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct TurnLimits {
    pub wait_max: Duration,
    pub held_max: Duration,
}

/// The turns of all keys that calls of this process want.
pub(crate) struct Turns {
    limits: TurnLimits,
    /// How many keys are queued: most of the time none, which every read asks.
    queued: AtomicUsize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    next: u64,
    calls: HashMap<CallId, CallState>,
    keys: HashMap<TurnKey, KeyState>,
    /// Where calls have lost on documents that are queued: a read of an interval may not find what it would meet there.
    places: BTreeMap<(DeploymentRef, IndexId, Bytes), TurnKey>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct CallId(u64);

struct CallState {
    /// It waits for no turn after this.
    patience: Instant,
    held: Vec<TurnKey>,
    waits: Option<Waits>,
}

struct Waits {
    key: TurnKey,
    given: oneshot::Sender<()>,
}

struct KeyState {
    holder: CallId,
    since: Instant,
    waiting: VecDeque<CallId>,
    place: Option<(IndexId, Bytes)>,
}

/// What came of the wish for a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    Given,
    /// The call goes on without.
    Without,
}

/// A call that may take turns. Dropping it ends them.
pub(crate) struct Call(CallTurns);

/// The turns of a [`Call`], for whoever works for it. Cheap to clone.
#[derive(Clone)]
pub(crate) struct CallTurns {
    turns: Arc<Turns>,
    id: CallId,
    may_wait: bool,
}

impl Turns {
    pub(crate) fn new(limits: TurnLimits) -> Turns {
        Turns { limits, queued: AtomicUsize::new(0), state: Mutex::default() }
    }

    /// A call begins.
    pub(crate) fn call(self: &Arc<Self>) -> Call {
        let patience = now() + self.limits.wait_max;
        let mut state = self.state.lock();
        let id = CallId(state.next);
        state.next += 1;
        state.calls.insert(id, CallState { patience, held: Vec::new(), waits: None });
        Call(CallTurns { turns: Arc::clone(self), id, may_wait: true })
    }

    /// Whether any key is queued.
    pub(crate) fn any(&self) -> bool {
        self.queued.load(Ordering::Relaxed) > 0
    }

    fn note_queued(&self, state: &State) {
        self.queued.store(state.keys.len(), Ordering::Relaxed);
    }
}

impl State {
    /// Gives the key's turn, which is its holder's no longer, to the next that waits.
    fn pass_on(&mut self, key: &TurnKey) {
        let Some(of_key) = self.keys.get_mut(key) else { return };
        while let Some(next) = of_key.waiting.pop_front() {
            let call = self.calls.get_mut(&next).expect("a call leaves its queue before it ends");
            let waits = call.waits.take().expect("who is in a queue waits");
            assert!(waits.key == *key, "a call waits in one queue");
            if waits.given.send(()).is_ok() {
                call.held.push(key.clone());
                (of_key.holder, of_key.since) = (next, now());
                return;
            }
            // Nobody waits for it any more.
        }
        if let Some(KeyState { place: Some((index, at)), .. }) = self.keys.remove(key) {
            self.places.remove(&(key.deployment, index, at));
        }
    }

    /// Ends all turns of a call.
    fn release(&mut self, id: CallId) {
        let Some(call) = self.calls.get_mut(&id) else { return };
        for key in std::mem::take(&mut call.held) {
            assert!(self.keys.get(&key).is_some_and(|of_key| of_key.holder == id), "a turn is its holder's");
            self.pass_on(&key);
        }
    }

    fn is_queued_for(&self, id: CallId, key: &TurnKey) -> bool {
        self.keys.get(key).is_some_and(|of_key| of_key.holder != id)
    }

    /// Takes a call out of the queue that it waits in.
    fn stop_waiting(&mut self, id: CallId) {
        let Some(waits) = self.calls.get_mut(&id).and_then(|call| call.waits.take()) else { return };
        if let Some(of_key) = self.keys.get_mut(&waits.key) {
            of_key.waiting.retain(|waiting| *waiting != id);
        }
    }

    /// Whether `id`, if it waited for the key, would wait for itself.
    fn would_wait_for_itself(&self, id: CallId, key: &TurnKey) -> bool {
        let mut key = key;
        // Without cycles nobody comes by twice.
        for _ in 0..=self.calls.len() {
            let Some(of_key) = self.keys.get(key) else { return false };
            if of_key.holder == id {
                return true;
            }
            match self.calls.get(&of_key.holder).and_then(|holder| holder.waits.as_ref()) {
                Some(waits) => key = &waits.key,
                None => return false,
            }
        }
        true
    }
}

impl Call {
    /// For a run that waits for turns if it `may_wait`.
    pub(crate) fn turns(&self, may_wait: bool) -> CallTurns {
        CallTurns { may_wait, ..self.0.clone() }
    }

    /// See [`CallTurns::take`].
    pub(crate) async fn take(&self, key: &TurnKey) -> Turn {
        self.0.take(key).await
    }

    /// See [`CallTurns::take_after_loss`].
    pub(crate) async fn take_after_loss(&self, deployment: DeploymentRef, index: IndexId, at: &Bytes) {
        self.0.take_after_loss(deployment, index, at).await;
    }

    /// See [`CallTurns::release`].
    pub(crate) fn release(&self) {
        self.0.release();
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        let mut state = self.0.turns.state.lock();
        state.stop_waiting(self.0.id);
        state.release(self.0.id);
        state.calls.remove(&self.0.id);
        self.0.turns.note_queued(&state);
    }
}

impl CallTurns {
    /// Whether whoever works for the call may wait for turns.
    pub(crate) fn may_wait(&self) -> bool {
        self.may_wait
    }

    /// Whether any document is queued.
    pub(crate) fn any(&self) -> bool {
        self.turns.any()
    }

    /// A document that is queued, whose turn is not this call's, and that others have written in the interval.
    pub(crate) fn queued_in(
        &self,
        deployment: DeploymentRef,
        index: IndexId,
        interval: &Interval,
    ) -> Option<TurnKey> {
        let start = Bound::Included((deployment, index, interval.start.clone()));
        let state = self.turns.state.lock();
        let mut places = state
            .places
            .range((start, Bound::Unbounded))
            .take_while(|((of, at, key), _)| (*of, *at) == (deployment, index) && interval.contains(key));
        places.find(|(_, key)| state.is_queued_for(self.id, key)).map(|(_, key)| key.clone())
    }

    /// The first of these documents that is queued and whose turn is not this call's.
    pub(crate) fn first_queued(&self, mut documents: impl Iterator<Item = TurnKey>) -> Option<TurnKey> {
        let state = self.turns.state.lock();
        documents.find(|key| state.is_queued_for(self.id, key))
    }

    /// Takes the turn of the document that was written where this call has read.
    pub(crate) async fn take_after_loss(
        &self,
        deployment: DeploymentRef,
        index: IndexId,
        at: &Bytes,
    ) -> Turn {
        let key = TurnKey::of(deployment, at);
        let turn = self.take(&key).await;
        let mut state = self.turns.state.lock();
        if let Some(of_key) = state.keys.get_mut(&key)
            && of_key.place.is_none()
        {
            of_key.place = Some((index, at.clone()));
            state.places.insert((deployment, index, at.clone()), key);
        }
        turn
    }

    /// What comes of the wish for the key's turn, if that needs no waiting.
    pub(crate) fn try_take(&self, key: &TurnKey) -> Option<Turn> {
        self.take_at_once(&mut self.turns.state.lock(), key)
    }

    fn take_at_once(&self, state: &mut State, key: &TurnKey) -> Option<Turn> {
        // The call may be over, although somebody still works for it.
        let Some(patience) = state.calls.get(&self.id).map(|call| call.patience) else {
            return Some(Turn::Without);
        };
        match state.keys.get(key) {
            None => {
                let of_key =
                    KeyState { holder: self.id, since: now(), waiting: VecDeque::new(), place: None };
                state.keys.insert(key.clone(), of_key);
                state.calls.get_mut(&self.id).expect("it was just there").held.push(key.clone());
                self.turns.note_queued(state);
                Some(Turn::Given)
            }
            Some(of_key) if of_key.holder == self.id => Some(Turn::Given),
            Some(_) if now() >= patience || state.would_wait_for_itself(self.id, key) => Some(Turn::Without),
            Some(_) => None,
        }
    }

    /// Takes the key's turn, as soon as it comes.
    pub(crate) async fn take(&self, key: &TurnKey) -> Turn {
        let mut given = {
            let mut state = self.turns.state.lock();
            if let Some(turn) = self.take_at_once(&mut state, key) {
                return turn;
            }
            let (sender, given) = oneshot::channel();
            state.keys.get_mut(key).expect("it was just there").waiting.push_back(self.id);
            let call = state.calls.get_mut(&self.id).expect("it was just there");
            assert!(call.waits.is_none(), "a call waits for one turn at a time");
            call.waits = Some(Waits { key: key.clone(), given: sender });
            given
        };
        loop {
            let Some(until) = self.wait_until(key) else { return self.waited(&mut given) };
            tokio::select! {
                biased;
                given = &mut given => return if given.is_ok() { Turn::Given } else { Turn::Without },
                () = tokio::time::sleep_until(until) => {}
            }
        }
    }

    /// Until when the call waits before it looks again; `None` once it does not wait any more.
    fn wait_until(&self, key: &TurnKey) -> Option<Instant> {
        let mut state = self.turns.state.lock();
        let call = state.calls.get(&self.id)?;
        call.waits.as_ref()?;
        let (patience, held_max) = (call.patience, self.turns.limits.held_max);
        let now = now();
        if now >= patience {
            state.stop_waiting(self.id);
            return None;
        }
        let of_key = state.keys.get(key).expect("somebody waits for it");
        let holder = of_key.holder;
        if now < of_key.since + held_max {
            return Some(patience.min(of_key.since + held_max));
        }
        // The holder has had its time.
        state.calls.get_mut(&holder)?.held.retain(|held| held != key);
        state.pass_on(key);
        self.turns.note_queued(&state);
        drop(state);
        self.wait_until(key)
    }

    /// What came of a wait that is over.
    fn waited(&self, given: &mut oneshot::Receiver<()>) -> Turn {
        if given.try_recv().is_ok() { Turn::Given } else { Turn::Without }
    }

    /// Ends all turns of the call.
    pub(crate) fn release(&self) {
        if !self.turns.any() {
            return;
        }
        let mut state = self.turns.state.lock();
        state.release(self.id);
        self.turns.note_queued(&state);
    }
}

fn now() -> Instant {
    Instant::now()
}

#[cfg(test)]
mod tests {
    use std::future::Future;

    use contract::{DeploymentId, GroupId};
    use futures::{FutureExt as _, future::BoxFuture};

    use super::*;

    const DEPLOYMENT: DeploymentRef = DeploymentRef { group: GroupId(1), deployment: DeploymentId(1) };
    /// What needs one of them to pass does not end.
    const FOR_EVER: Duration = Duration::from_secs(3_600);
    const LIMITS: TurnLimits = TurnLimits { wait_max: FOR_EVER, held_max: FOR_EVER };
    const SHORT: Duration = Duration::from_millis(20);
    const PATIENCE: Duration = Duration::from_secs(120);

    fn turns(limits: TurnLimits) -> Arc<Turns> {
        Arc::new(Turns::new(limits))
    }

    fn key(name: &'static str) -> TurnKey {
        TurnKey::of(DEPLOYMENT, &Bytes::from_static(name.as_bytes()))
    }

    fn takes(call: &Call, name: &'static str) -> BoxFuture<'static, Turn> {
        let turns = call.turns(true);
        let take = async move { turns.take(&key(name)).await };
        async move { tokio::time::timeout(PATIENCE, take).await.expect("nobody waits for ever") }.boxed()
    }

    /// What came of it, if that is certain already.
    fn now_or_later(turn: &mut (impl Future<Output = Turn> + Unpin)) -> Option<Turn> {
        turn.now_or_never()
    }

    #[tokio::test]
    async fn turns_come_in_the_order_in_which_they_were_wanted() {
        let turns = turns(LIMITS);
        let calls: Vec<Call> = (0..4).map(|_| turns.call()).collect();
        let mut waits: Vec<_> = calls.iter().map(|call| takes(call, "a")).collect();
        for (at, wait) in waits.iter_mut().enumerate() {
            assert_eq!(now_or_later(wait), (at == 0).then_some(Turn::Given), "one holds it");
        }
        for (at, call) in calls.iter().enumerate() {
            call.release();
            if let Some(next) = waits.get_mut(at + 1) {
                assert_eq!(now_or_later(next), Some(Turn::Given));
            }
            for later in waits.iter_mut().skip(at + 2) {
                assert_eq!(now_or_later(later), None);
            }
        }
        assert!(!turns.any(), "a document that nobody wants is not queued");
    }

    #[tokio::test]
    async fn a_call_that_ends_leaves_its_turns_and_its_place_in_the_queue() {
        let turns = turns(LIMITS);
        let (holder, gone, next) = (turns.call(), turns.call(), turns.call());
        assert_eq!(takes(&holder, "a").await, Turn::Given);
        let mut of_gone = takes(&gone, "a");
        assert_eq!(now_or_later(&mut of_gone), None);
        let mut of_next = takes(&next, "a");
        assert_eq!(now_or_later(&mut of_next), None);
        // Its caller goes away; somebody may still work for it.
        drop(gone);
        assert_eq!(now_or_later(&mut of_gone), Some(Turn::Without));
        let of_holder = holder.turns(true);
        drop(holder);
        assert_eq!(now_or_later(&mut of_next), Some(Turn::Given), "no time has passed");
        assert_eq!(of_holder.take(&key("b")).await, Turn::Without, "a call that is over takes no turn");
        drop(next);
        assert!(!turns.any());
    }

    #[tokio::test]
    async fn a_turn_that_was_given_to_who_went_before_it_looked_goes_on() {
        let turns = turns(LIMITS);
        let (holder, gone, next) = (turns.call(), turns.call(), turns.call());
        assert_eq!(takes(&holder, "a").await, Turn::Given);
        let (mut of_gone, mut of_next) = (takes(&gone, "a"), takes(&next, "a"));
        assert_eq!((now_or_later(&mut of_gone), now_or_later(&mut of_next)), (None, None));
        holder.release();
        drop((of_gone, gone));
        assert_eq!(now_or_later(&mut of_next), Some(Turn::Given));
    }

    #[tokio::test]
    async fn a_holder_that_takes_long_loses_its_turn_to_the_next() {
        let turns = turns(TurnLimits { held_max: SHORT, ..LIMITS });
        // It computes for seconds.
        let (slow, first, second) = (turns.call(), turns.call(), turns.call());
        assert_eq!(takes(&slow, "a").await, Turn::Given);
        assert_eq!(takes(&first, "a").await, Turn::Given);
        // What the slow one has lost is not given away again when it ends.
        drop(slow);
        let mut of_second = takes(&second, "a");
        assert_eq!(now_or_later(&mut of_second), None, "the turn is the first one's");
        first.release();
        assert_eq!(now_or_later(&mut of_second), Some(Turn::Given));
    }

    #[tokio::test]
    async fn nobody_waits_longer_than_the_limit_for_all_its_turns_together() {
        let turns = turns(TurnLimits { wait_max: SHORT, ..LIMITS });
        let (holder, call) = (turns.call(), turns.call());
        assert_eq!(takes(&holder, "a").await, Turn::Given);
        assert_eq!(takes(&holder, "b").await, Turn::Given);
        assert_eq!(takes(&call, "a").await, Turn::Without);
        for name in ["a", "b"] {
            assert_eq!(takes(&call, name).now_or_never(), Some(Turn::Without), "it waits no more");
        }
        assert_eq!(takes(&call, "c").await, Turn::Given, "for what nobody holds it need not wait");
        holder.release();
        assert_eq!(takes(&call, "a").await, Turn::Given);
        drop((holder, call));
        assert!(!turns.any());
    }

    #[tokio::test]
    async fn calls_that_want_the_same_in_opposite_orders_do_not_wait_for_each_other() {
        let turns = turns(LIMITS);
        for names in [&["a", "b"][..], &["a", "b", "c"], &["a", "b", "c", "d", "e"]] {
            let calls: Vec<Call> = names.iter().map(|_| turns.call()).collect();
            for (call, name) in calls.iter().zip(names) {
                assert_eq!(takes(call, name).await, Turn::Given);
            }
            // Each wants what the one behind it holds; the last one would close the circle.
            let mut waits: Vec<_> = (1..names.len()).map(|at| takes(&calls[at - 1], names[at])).collect();
            for wait in &mut waits {
                assert_eq!(now_or_later(wait), None);
            }
            let last = &calls[names.len() - 1];
            assert_eq!(takes(last, names[0]).now_or_never(), Some(Turn::Without), "no time passes");
            last.release();
            assert_eq!(now_or_later(waits.last_mut().expect("one")), Some(Turn::Given));
        }
    }

    #[tokio::test]
    async fn a_document_is_found_by_its_keys_and_by_where_it_was_lost() {
        let turns = turns(LIMITS);
        let index = IndexId([1; 16]);
        // The value 5, then the tag of a string and an id.
        let at = Bytes::from_static(b"\x05\x10some-id");
        let (holder, reader) = (turns.call(), turns.call());
        holder.take_after_loss(DEPLOYMENT, index, &at).await;
        let of_reader = reader.turns(true);
        let around = |start: &'static [u8], end: &'static [u8]| Interval {
            start: Bytes::from_static(start),
            end: Some(Bytes::from_static(end)),
        };
        let id = TurnKey::of(DEPLOYMENT, &Bytes::from_static(b"\x10some-id"));
        assert_eq!(of_reader.queued_in(DEPLOYMENT, index, &around(b"\x05", b"\x06")), Some(id.clone()));
        assert_eq!(of_reader.queued_in(DEPLOYMENT, index, &around(b"\x06", b"\x07")), None);
        assert_eq!(of_reader.queued_in(DEPLOYMENT, IndexId([2; 16]), &around(b"\x05", b"\x06")), None);
        let elsewhere = TurnKey::of(DEPLOYMENT, &Bytes::from_static(b"\x07\x10some-id"));
        assert_eq!(of_reader.first_queued([elsewhere].into_iter()), Some(id.clone()));
        assert_eq!(
            holder.turns(true).first_queued([id.clone()].into_iter()),
            None,
            "it is the holder's turn"
        );
        holder.release();
        assert_eq!(of_reader.queued_in(DEPLOYMENT, index, &around(b"\x05", b"\x06")), None);
        assert!(turns.state.lock().places.is_empty());
    }
}
