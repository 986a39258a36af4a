//! A semaphore that deployments share.

use std::{collections::HashMap, sync::Arc};

use contract::DeploymentRef;
use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::{FairQueue, Shares};

/// So many places: of runs, of connections, of kibibytes. Cheap to clone.
///
/// Whoever waits is served in the order of its deployment, and the deployments one after another; one that holds its
/// share already is passed over. One whose turn it is and who needs more places than are free lets the others wait, so
/// that small wishes don't keep a large one waiting for ever.
///
/// Shares hold from the moment on at which a second deployment asks: as long as there is one only, it can have all places.
/// The second may then have to wait once until some come back.
#[derive(Clone)]
pub struct Places {
    shared: Arc<Shared>,
}

struct Shared {
    places: usize,
    share: usize,
    shares: Shares,
    state: Mutex<State>,
}

struct State {
    free: usize,
    /// Nothing is in it for a deployment that holds none.
    held: HashMap<DeploymentRef, usize>,
    waiting: FairQueue<Waiter>,
    /// How many of those in `waiting` have gone away.
    gone: usize,
    /// Who has asked so far.
    met: Met,
}

enum Met {
    Nobody,
    One(DeploymentRef),
    Several,
}

struct Waiter {
    count: usize,
    /// Sent how many it was given, and closed, with the state's lock held.
    served: oneshot::Sender<usize>,
}

/// Places that a deployment holds, given back when this is dropped.
pub struct Place {
    shared: Arc<Shared>,
    deployment: DeploymentRef,
    count: usize,
}

/// How many of `places` one deployment may hold: so many percent, and one at least.
pub const fn share_of(places: usize, percent: usize) -> usize {
    let share = places as u128 * percent as u128 / 100;
    if share == 0 {
        1
    } else if share > places as u128 {
        places
    } else {
        share as usize
    }
}

impl Places {
    /// One of several deployments may hold `share` of them.
    ///
    /// # Panics
    ///
    /// If there are no places, or no share of them.
    pub fn new(places: usize, share: usize) -> Places {
        Places::shared(places, share, Shares::default())
    }

    /// As [`Places::new`], but for those of whom `shares` says something else.
    ///
    /// # Panics
    ///
    /// If there are no places, or no share of them.
    pub fn shared(places: usize, share: usize, shares: Shares) -> Places {
        assert!(0 < share && share <= places, "a share is a part of the places, and not nothing");
        let state = State {
            free: places,
            held: HashMap::new(),
            waiting: FairQueue::new(shares.clone()),
            gone: 0,
            met: Met::Nobody,
        };
        Places { shared: Arc::new(Shared { places, share, shares, state: Mutex::new(state) }) }
    }

    /// The most that one of several deployments can hold.
    pub fn share(&self) -> usize {
        self.shared.share
    }

    /// How many places nobody holds.
    pub fn free(&self) -> usize {
        self.shared.state.lock().free
    }

    /// How many places are held, and how many there are.
    pub fn load(&self) -> (usize, usize) {
        let places = self.shared.places;
        (places - self.free(), places)
    }

    /// How many wait.
    pub fn waiting(&self) -> usize {
        let state = self.shared.state.lock();
        state.waiting.len() - state.gone
    }

    /// Takes places if they are free and within the deployment's share, without a look at who waits.
    pub fn try_take(&self, deployment: DeploymentRef, count: usize) -> Option<Place> {
        let mut state = self.shared.state.lock();
        state.meet(deployment);
        if count > state.free || state.held_by(deployment) + count > self.shared.most_of(&state, deployment) {
            return None;
        }
        state.give(deployment, count);
        Some(Place { shared: self.shared.clone(), deployment, count })
    }

    /// Waits for as many places as a deployment can hold at the most. Dropping the future takes the wish back.
    pub async fn take(&self, deployment: DeploymentRef, count: usize) -> Place {
        let (served, receiver) = oneshot::channel();
        {
            let mut state = self.shared.state.lock();
            state.meet(deployment);
            state.waiting.push(deployment, Waiter { count, served });
            self.shared.serve(&mut state);
        }
        let mut waiting = Waiting { shared: &self.shared, deployment, receiver: Some(receiver) };
        let receiver = waiting.receiver.as_mut().expect("it was just put there");
        let count = receiver.await.expect("who waits is kept until it is served");
        waiting.receiver = None;
        Place { shared: self.shared.clone(), deployment, count }
    }
}

impl State {
    fn meet(&mut self, deployment: DeploymentRef) {
        match self.met {
            Met::Nobody => self.met = Met::One(deployment),
            Met::One(known) if known != deployment => self.met = Met::Several,
            Met::One(_) | Met::Several => {}
        }
    }

    fn held_by(&self, deployment: DeploymentRef) -> usize {
        self.held.get(&deployment).copied().unwrap_or(0)
    }

    fn give(&mut self, deployment: DeploymentRef, count: usize) {
        self.free -= count;
        if count > 0 {
            *self.held.entry(deployment).or_default() += count;
        }
    }

    fn take_back(&mut self, deployment: DeploymentRef, count: usize) {
        self.free += count;
        let Some(held) = self.held.get_mut(&deployment) else {
            assert_eq!(count, 0, "who gives back holds something");
            return;
        };
        *held = held.checked_sub(count).expect("nobody gives back more than it holds");
        if *held == 0 {
            self.held.remove(&deployment);
        }
    }
}

impl Shared {
    fn most_of(&self, state: &State, deployment: DeploymentRef) -> usize {
        let usual = match state.met {
            Met::Nobody | Met::One(_) => self.places,
            Met::Several => self.share,
        };
        self.shares.most_of(deployment, self.places).unwrap_or(usual)
    }

    /// Serves those whose turn it is, as far as that goes.
    fn serve(&self, state: &mut State) {
        loop {
            let count_of = |deployment| match state.waiting.oldest_of(deployment) {
                Some(waiter) if !waiter.served.is_closed() => {
                    waiter.count.min(self.most_of(state, deployment))
                }
                // Nobody is there to be given anything.
                _ => 0,
            };
            let within_share = |deployment| {
                state.held_by(deployment) + count_of(deployment) <= self.most_of(state, deployment)
            };
            let Some(turn) = state.waiting.deployments().find(|deployment| within_share(*deployment)) else {
                break;
            };
            let count = count_of(turn);
            if count > state.free {
                break;
            }
            let Some((deployment, waiter)) = state.waiting.pop(|deployment| deployment == turn) else {
                break;
            };
            if waiter.served.send(count).is_ok() {
                state.give(deployment, count);
            } else {
                state.gone -= 1;
            }
        }
        assert!(state.free <= self.places, "there are no more places than there are");
    }
}

/// A wish for places that was not granted yet, taken back when dropped.
struct Waiting<'a> {
    shared: &'a Shared,
    deployment: DeploymentRef,
    /// `None` once the places have come.
    receiver: Option<oneshot::Receiver<usize>>,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let Some(mut receiver) = self.receiver.take() else { return };
        let mut state = self.shared.state.lock();
        receiver.close();
        if let Ok(count) = receiver.try_recv() {
            state.take_back(self.deployment, count);
        } else {
            state.gone += 1;
            // Now and then, so that those who have gone are never most of the queue.
            if state.gone > state.waiting.len() / 2 {
                state.waiting.retain(|waiter| !waiter.served.is_closed());
                state.gone = 0;
            }
        }
        self.shared.serve(&mut state);
    }
}

impl Place {
    /// How many places these are.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Adds places of the same deployment to these.
    pub fn merge(&mut self, mut other: Place) {
        assert!(
            Arc::ptr_eq(&self.shared, &other.shared) && self.deployment == other.deployment,
            "only places of one kind and one deployment are held together"
        );
        self.count += std::mem::take(&mut other.count);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut state = self.shared.state.lock();
        state.take_back(self.deployment, self.count);
        self.shared.serve(&mut state);
    }
}

#[cfg(test)]
mod tests {
    use contract::{Deployment, DeploymentId, Deployments, DirectoryEntry, GroupId, Share};
    use futures::{FutureExt as _, future::BoxFuture};
    use tokio::sync::watch;

    use super::*;

    const A: DeploymentRef = DeploymentRef { group: GroupId(1), deployment: DeploymentId(1) };
    const B: DeploymentRef = DeploymentRef { group: GroupId(1), deployment: DeploymentId(2) };

    /// A wish that waits.
    fn wish(places: &Places, deployment: DeploymentRef, count: usize) -> BoxFuture<'static, Place> {
        let places = places.clone();
        let mut wish = async move { places.take(deployment, count).await }.boxed();
        assert!((&mut wish).now_or_never().is_none(), "it has to wait");
        wish
    }

    fn taken(places: &Places, deployment: DeploymentRef, count: usize) -> Place {
        places.take(deployment, count).now_or_never().expect("there are places")
    }

    #[test]
    fn one_deployment_alone_can_have_all_until_there_is_another() {
        let places = Places::new(4, 3);
        let mut held: Vec<Place> = (0..4).map(|_| places.try_take(A, 1).expect("it is alone")).collect();
        let mut large = wish(&places, A, 4);
        // The neighbour waits until something comes back, and from now on there are shares.
        let neighbour = wish(&places, B, 1);
        held.pop();
        let neighbour = neighbour.now_or_never().expect("it is served, since A has its share");
        held.pop();
        assert!((&mut large).now_or_never().is_none());
        assert!(places.try_take(A, 2).is_none(), "no more than its share, though there is one place");
        drop((held, neighbour));
        assert_eq!(large.now_or_never().expect("a wish is cut to the share").count(), 3);
        assert_eq!((places.free(), places.waiting()), (4, 0));
        drop(taken(&places, A, 3));
        assert!(places.try_take(A, 4).is_none(), "the neighbour may come again");
    }

    #[test]
    fn one_deployment_never_holds_more_than_its_share() {
        let places = Places::new(4, 3);
        drop(taken(&places, B, 1));
        let held = taken(&places, A, 3);
        assert!(places.try_take(A, 1).is_none());
        let mut more = wish(&places, A, 1);
        let neighbour = taken(&places, B, 1);
        assert!((&mut more).now_or_never().is_none(), "the neighbour's place is not A's");
        drop(neighbour);
        assert_eq!((places.free(), places.waiting()), (1, 1));
        assert!((&mut more).now_or_never().is_none());
        drop(held);
        assert_eq!(more.now_or_never().expect("there is room").count(), 1);
        assert_eq!((places.free(), places.waiting()), (4, 0));
        // More than there ever will be is as much as there can be.
        assert_eq!(taken(&places, A, 9).count(), 3);
    }

    #[test]
    fn who_has_a_share_of_its_own_never_holds_more_and_may_hold_more_than_others() {
        let entries = [(A, 25), (B, 100)].map(|(reference, percent)| {
            let name = format!("d{}", reference.deployment.0);
            let known = Deployment { reference, name, cloud_url: String::new(), site_url: String::new() };
            let share = Share { weight: 1, percent_max: Some(percent) };
            Arc::new(DirectoryEntry { share, ..DirectoryEntry::of(known) })
        });
        let deployments = Arc::new(Deployments::new("d1", entries, Vec::new()));
        let (_directory, deployments) = watch::channel(deployments);
        let places = Places::shared(4, 3, Shares::of(deployments));
        let held = taken(&places, A, 4);
        assert_eq!(held.count(), 1, "also while it is alone");
        assert!(places.try_take(A, 1).is_none());
        let mut more = wish(&places, A, 1);
        let neighbour = taken(&places, B, 3);
        drop(held);
        let again = (&mut more).now_or_never().expect("it has room within its share");
        drop((again, neighbour));
        assert_eq!(taken(&places, B, 4).count(), 4);
    }

    #[test]
    fn deployments_take_turns_however_many_wait_of_one() {
        let places = Places::new(2, 2);
        let mut held = vec![taken(&places, A, 1), taken(&places, A, 1)];
        let mut wishes: Vec<_> = (0..100).map(|_| (A, wish(&places, A, 1))).collect();
        wishes.extend((0..3).map(|_| (B, wish(&places, B, 1))));
        let mut served = Vec::new();
        while served.len() < 6 {
            drop(held.remove(0));
            let next = wishes
                .iter_mut()
                .enumerate()
                .find_map(|(at, (_, wish))| wish.now_or_never().map(|place| (at, place)));
            let (at, place) = next.expect("somebody is served");
            served.push(wishes.remove(at).0);
            held.push(place);
        }
        assert_eq!(served, [A, B, A, B, A, B]);
    }

    #[test]
    fn a_large_wish_whose_turn_it_is_is_not_overtaken_for_ever() {
        let places = Places::new(4, 4);
        let first = taken(&places, B, 1);
        let mut large = wish(&places, A, 4);
        let small = wish(&places, B, 1);
        drop(first);
        let large = (&mut large).now_or_never().expect("its turn comes first");
        assert_eq!((large.count(), places.waiting()), (4, 1));
        drop(large);
        assert_eq!(small.now_or_never().expect("then the small one").count(), 1);
    }

    #[test]
    fn who_goes_away_keeps_nothing_and_holds_up_nobody() {
        let places = Places::new(2, 2);
        let held = taken(&places, A, 2);
        let large = wish(&places, A, 2);
        let mut behind = wish(&places, A, 1);
        let others: Vec<_> = (0..100).map(|_| wish(&places, B, 1)).collect();
        drop(others);
        assert_eq!(places.waiting(), 2);
        drop(held);
        // It was served, and goes before it has seen that.
        assert_eq!(places.free(), 0);
        drop(large);
        assert_eq!((&mut behind).now_or_never().expect("it is next").count(), 1);
        assert_eq!((places.free(), places.waiting()), (2, 0));
    }

    #[test]
    fn places_held_together_are_given_back_together() {
        let places = Places::new(5, 5);
        let mut one = taken(&places, A, 2);
        one.merge(taken(&places, A, 3));
        assert_eq!((one.count(), places.free()), (5, 0));
        drop(one);
        assert_eq!(places.free(), 5);
    }

    #[test]
    fn a_share_is_at_least_one_and_at_most_all() {
        assert_eq!(share_of(100, 75), 75);
        assert_eq!(share_of(1, 75), 1);
        assert_eq!(share_of(10, 400), 10);
        assert_eq!(share_of(usize::MAX, 100), usize::MAX);
    }
}
