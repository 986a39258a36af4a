//! Whether the process lives, and whether its roles take requests.
//!
//! *Live* is a process that gets around: its tasks are run, and its disk takes what is written. It says nothing of others, so
//! that no process is ended for the loss of a quorum, which that would not bring back. *Ready* is one that takes requests in all of its
//! roles.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use counters::Stopwatch;
use tokio_util::sync::CancellationToken;

use crate::limits::HealthLimits;

/// What is known of the process's health. Cheap to clone.
#[derive(Clone)]
pub struct Health(Arc<Shared>);

struct Shared {
    limits: HealthLimits,
    roles: Mutex<BTreeMap<&'static str, Role>>,
    stalls: Mutex<Vec<Stall>>,
    beat: Beat,
}

/// What should move on: what is said of it, and for how long it has not.
type Stall = (&'static str, Box<dyn Fn() -> Duration + Send + Sync>);

#[derive(Default)]
struct Role {
    /// `None` before it has started; cancelled when it stops.
    token: Option<CancellationToken>,
    /// Why it can't take requests now, if there is something.
    check: Option<Box<dyn Fn() -> Option<String> + Send + Sync>>,
}

/// How a role stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    Starting,
    Ready,
    /// It takes no requests now, because of that.
    Unready(String),
    Stopping,
}

/// That the process's tasks are run.
struct Beat {
    stopwatch: Stopwatch,
    last_ms: AtomicU64,
}

impl Beat {
    fn now_ms(&self) -> u64 {
        u64::try_from(self.stopwatch.took().as_millis()).unwrap_or(u64::MAX)
    }

    fn silence(&self) -> Duration {
        Duration::from_millis(self.now_ms().saturating_sub(self.last_ms.load(Ordering::Relaxed)))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Health {
    /// Of a process with these roles, none of which has started.
    pub fn new(roles: &[&'static str], limits: HealthLimits) -> Health {
        let roles = roles.iter().map(|role| (*role, Role::default())).collect();
        let beat = Beat { stopwatch: Stopwatch::start(), last_ms: AtomicU64::new(0) };
        Health(Arc::new(Shared { limits, roles: Mutex::new(roles), stalls: Mutex::default(), beat }))
    }

    /// A role has started, and takes requests until the token is cancelled.
    pub fn started(&self, role: &'static str, token: CancellationToken) {
        lock(&self.0.roles).entry(role).or_default().token = Some(token);
    }

    /// A role takes requests only while `why_not` has nothing to say.
    pub fn check(&self, role: &'static str, why_not: impl Fn() -> Option<String> + Send + Sync + 'static) {
        lock(&self.0.roles).entry(role).or_default().check = Some(Box::new(why_not));
    }

    /// The process is live only while `stalled` stays short. It must not wait for anything.
    pub fn watch(&self, what: &'static str, stalled: impl Fn() -> Duration + Send + Sync + 'static) {
        lock(&self.0.stalls).push((what, Box::new(stalled)));
    }

    /// Shows that the tasks of the runtime on which it is are run, until the token is cancelled.
    pub async fn beat(self, token: CancellationToken) {
        let pause = Duration::from_millis(self.0.limits.beat_ms);
        loop {
            self.0.beat.last_ms.store(self.0.beat.now_ms(), Ordering::Relaxed);
            if token.run_until_cancelled(tokio::time::sleep(pause)).await.is_none() {
                return;
            }
        }
    }

    /// Why the process is not live; nothing if it is.
    pub fn ills(&self) -> Vec<String> {
        let stall_max = Duration::from_millis(self.0.limits.stall_ms_max);
        let ill = |what: &str, stalled: Duration| {
            (stalled > stall_max).then(|| format!("{what} for {} s", stalled.as_secs()))
        };
        let mut ills = Vec::from_iter(ill("tasks: none has been run", self.0.beat.silence()));
        ills.extend(lock(&self.0.stalls).iter().filter_map(|(what, stalled)| ill(what, stalled())));
        ills
    }

    /// How each role stands.
    pub fn roles(&self) -> Vec<(&'static str, Standing)> {
        let standing = |role: &Role| match &role.token {
            None => Standing::Starting,
            Some(token) if token.is_cancelled() => Standing::Stopping,
            Some(_) => match role.check.as_ref().and_then(|why_not| why_not()) {
                Some(reason) => Standing::Unready(reason),
                None => Standing::Ready,
            },
        };
        lock(&self.0.roles).iter().map(|(name, role)| (*name, standing(role))).collect()
    }

    /// What `/livez` answers: whether the process is live, and a text that says so.
    pub fn live(&self) -> (bool, String) {
        let ills = self.ills();
        match ills.is_empty() {
            true => (true, "live\n".to_owned()),
            false => (false, format!("not live\n{}\n", ills.join("\n"))),
        }
    }

    /// Whether the process is live and all of its roles take requests.
    pub fn is_ready(&self) -> bool {
        are_ready(&self.ills(), &self.roles())
    }

    /// What `/readyz` answers: whether all roles take requests, and how each of them stands.
    pub fn ready(&self) -> (bool, String) {
        let (ills, roles) = (self.ills(), self.roles());
        let is_ready = are_ready(&ills, &roles);
        let mut text = String::from(if is_ready { "ready\n" } else { "not ready\n" });
        ills.iter().for_each(|ill| text.extend([ill.as_str(), "\n"]));
        for (role, standing) in &roles {
            let standing = match standing {
                Standing::Starting => "starting",
                Standing::Ready => "ready",
                Standing::Unready(reason) => reason.as_str(),
                Standing::Stopping => "stopping",
            };
            text.extend([*role, ": ", standing, "\n"]);
        }
        (is_ready, text)
    }
}

fn are_ready(ills: &[String], roles: &[(&'static str, Standing)]) -> bool {
    ills.is_empty() && roles.iter().all(|(_, standing)| *standing == Standing::Ready)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;

    use super::*;

    #[test]
    fn a_process_is_ready_when_all_of_its_roles_are() {
        let health = Health::new(&["gateway", "txlog"], HealthLimits::DEFAULT);
        assert_eq!(health.ready(), (false, "not ready\ngateway: starting\ntxlog: starting\n".to_owned()));
        let (gateway, log) = (CancellationToken::new(), CancellationToken::new());
        health.started("txlog", log.clone());
        let has_leader = Arc::new(AtomicBool::new(false));
        let seen = has_leader.clone();
        let why_not = move || (!seen.load(Ordering::Relaxed)).then(|| "group 1 has no leader".to_owned());
        health.check("txlog", why_not);
        health.started("gateway", gateway.clone());
        let expected = "not ready\ngateway: ready\ntxlog: group 1 has no leader\n";
        assert_eq!(health.ready(), (false, expected.to_owned()));
        has_leader.store(true, Ordering::Relaxed);
        assert_eq!(health.ready(), (true, "ready\ngateway: ready\ntxlog: ready\n".to_owned()));
        assert!(health.is_ready());
        gateway.cancel();
        assert_eq!(health.ready(), (false, "not ready\ngateway: stopping\ntxlog: ready\n".to_owned()));
        assert!(health.live().0 && !health.is_ready(), "that is no reason to end it");
    }

    #[test]
    fn a_process_whose_disk_hangs_is_not_live_and_one_without_a_leader_is() {
        let limits = HealthLimits { stall_ms_max: 30_000, ..HealthLimits::DEFAULT };
        let health = Health::new(&["txlog"], limits);
        health.check("txlog", || Some("group 1 has no leader".to_owned()));
        assert_eq!(health.live(), (true, "live\n".to_owned()));
        let stalled_s = Arc::new(AtomicU64::new(30));
        let seen = stalled_s.clone();
        let stalled = move || Duration::from_secs(seen.load(Ordering::Relaxed));
        health.watch("log: a write has been on its way to the disk", stalled);
        assert!(health.live().0);
        stalled_s.store(31, Ordering::Relaxed);
        let (is_live, text) = health.live();
        assert!(!is_live);
        assert_eq!(text, "not live\nlog: a write has been on its way to the disk for 31 s\n");
        assert!(!health.ready().0);
    }

    #[tokio::test]
    async fn a_runtime_that_runs_nothing_is_seen() {
        let health =
            Health::new(&[], HealthLimits { stall_ms_max: 200, beat_ms: 1, ..HealthLimits::default() });
        let token = CancellationToken::new();
        let beating = tokio::spawn(health.clone().beat(token.clone()));
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert!(health.live().0);
        // Nothing else is run meanwhile: this test's runtime has one thread.
        std::thread::sleep(Duration::from_millis(400));
        let (is_live, text) = health.live();
        assert!(!is_live && text.contains("tasks: none has been run"), "{text}");
        token.cancel();
        beating.await.expect("it ends");
    }
}
