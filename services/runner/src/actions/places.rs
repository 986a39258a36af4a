//! How many actions there may be at the same time, and how much memory they may have.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use contract::{DeploymentRef, Error, ErrorKind, Result};
use fair_queue::{Place, Places, Shares, share_of};

use super::due::Claims;
use crate::{calls::Stop, limits::ActionLimits};

/// The places of all actions of the process.
pub(crate) struct Actions {
    pub(crate) limits: ActionLimits,
    outermost: Places,
    /// Of those that other actions have called. They never wait: who would make room for them waits for them.
    called: Places,
    memory: Memory,
    /// For files whose bytes pass between actions and the files service.
    pub(super) files: Places,
    /// What was due and is run here.
    pub(super) claims: Claims,
    /// Those that ended because the runner did.
    cancelled: AtomicU64,
    /// Those that were entered as failed because nobody runs them.
    orphans: AtomicU64,
}

impl Actions {
    pub(crate) fn new(limits: ActionLimits, shares: &Shares) -> Actions {
        let places =
            |count| Places::shared(count, share_of(count, limits.deployment_percent), shares.clone());
        Actions {
            outermost: places(limits.running_max),
            called: places(limits.called_max),
            memory: Memory { bytes: Arc::default(), bytes_max: limits.heap_bytes_max as u64 },
            files: places(limits.files_in_flight_max),
            claims: Claims::default(),
            cancelled: AtomicU64::new(0),
            orphans: AtomicU64::new(0),
            limits,
        }
    }

    /// How much of their limits is used.
    pub(crate) fn limits_used(&self) -> [limits::Use; 4] {
        let places = |limit, places: &Places| {
            let (used, max) = places.load();
            limits::Use::of(limit, used, max)
        };
        [
            places("action.running_max", &self.outermost),
            places("action.called_max", &self.called),
            places("action.files_in_flight_max", &self.files),
            limits::Use::of("action.heap_bytes_max", self.heap_bytes() as usize, self.limits.heap_bytes_max),
        ]
    }

    /// Waits for a place.
    pub(super) async fn admit(&self, deployment: DeploymentRef) -> Result<Place> {
        let wait = Duration::from_millis(self.limits.wait_ms_max);
        let place = tokio::time::timeout(wait, self.outermost.take(deployment, 1)).await;
        place.map_err(|_| too_many())
    }

    /// A place for an action that another one calls.
    pub(super) fn admit_called(&self, deployment: DeploymentRef) -> Result<Place> {
        self.called.try_take(deployment, 1).ok_or_else(too_many)
    }

    /// How much memory an action has, which is nothing yet.
    pub(super) fn share(&self) -> Share {
        Share { memory: self.memory.clone(), bytes: 0 }
    }

    pub(super) fn count_cancelled(&self) {
        self.cancelled.fetch_add(1, Ordering::Relaxed);
    }

    /// How many ended because the runner did.
    pub(crate) fn cancelled(&self) -> u64 {
        self.cancelled.load(Ordering::Relaxed)
    }

    pub(super) fn count_orphans(&self, count: usize) {
        self.orphans.fetch_add(count as u64, Ordering::Relaxed);
    }

    /// How many were entered as failed because their process had ended.
    pub(crate) fn orphans(&self) -> u64 {
        self.orphans.load(Ordering::Relaxed)
    }

    /// How many there are.
    pub(crate) fn running(&self) -> u64 {
        let taken = |places: &Places, max: usize| max.saturating_sub(places.free()) as u64;
        taken(&self.outermost, self.limits.running_max) + taken(&self.called, self.limits.called_max)
    }

    /// What they take of memory, their images not counted.
    pub(crate) fn heap_bytes(&self) -> u64 {
        self.memory.bytes.load(Ordering::Relaxed)
    }
}

fn too_many() -> Error {
    Error::new(
        ErrorKind::TooManyRequests,
        "TooManyConcurrentRequests",
        "Too many actions are under way. Try again later.",
    )
}

/// What the isolates of all actions take on top of their images.
#[derive(Clone)]
struct Memory {
    bytes: Arc<AtomicU64>,
    bytes_max: u64,
}

/// The part of one action.
pub(super) struct Share {
    memory: Memory,
    bytes: u64,
}

impl Share {
    /// Takes note of what the action has now. It has to end if that has grown and is too much for all together.
    pub(super) fn set(&mut self, bytes: u64) -> std::result::Result<(), Stop> {
        let has_grown = bytes > self.bytes;
        let all = &self.memory.bytes;
        let total = if has_grown {
            let more = bytes - self.bytes;
            all.fetch_add(more, Ordering::Relaxed) + more
        } else {
            let less = self.bytes - bytes;
            all.fetch_sub(less, Ordering::Relaxed) - less
        };
        self.bytes = bytes;
        match has_grown && total > self.memory.bytes_max {
            true => Err(Stop::ActionsOutOfMemory { limit_bytes: self.memory.bytes_max }),
            false => Ok(()),
        }
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.memory.bytes.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use contract::{DeploymentId, GroupId};

    use super::*;

    const DEPLOYMENT: DeploymentRef = DeploymentRef { group: GroupId(1), deployment: DeploymentId(1) };

    fn actions() -> Actions {
        let limits = ActionLimits {
            running_max: 2,
            called_max: 1,
            deployment_percent: 100,
            wait_ms_max: 20,
            heap_bytes_max: 1_000,
            ..ActionLimits::DEFAULT
        };
        Actions::new(limits, &Shares::default())
    }

    #[tokio::test]
    async fn an_action_waits_for_a_place_and_one_that_is_called_does_not() {
        let actions = actions();
        let first = actions.admit(DEPLOYMENT).await.expect("a place");
        let _second = actions.admit(DEPLOYMENT).await.expect("a place");
        let refused = actions.admit(DEPLOYMENT).await.map(drop).expect_err("all places are taken");
        assert_eq!(refused.code, "TooManyConcurrentRequests");
        let _called =
            actions.admit_called(DEPLOYMENT).expect("those that are called have places of their own");
        assert_eq!(actions.running(), 3);
        assert!(actions.admit_called(DEPLOYMENT).is_err());
        let (place, ()) = tokio::join!(actions.admit(DEPLOYMENT), async { drop(first) });
        place.expect("a place that became free");
    }

    #[test]
    fn who_grows_beyond_what_all_may_have_ends_and_the_others_do_not() {
        let actions = actions();
        let (mut one, mut other) = (actions.share(), actions.share());
        one.set(600).expect("there is room");
        assert!(matches!(other.set(500), Err(Stop::ActionsOutOfMemory { limit_bytes: 1_000 })));
        one.set(600).expect("it has not grown");
        drop(other);
        assert_eq!(actions.heap_bytes(), 600);
        one.set(1_000).expect("there is room again");
        one.set(10).expect("it has shrunk");
        assert_eq!(actions.heap_bytes(), 10);
    }
}
