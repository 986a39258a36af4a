//! The scheduler on a real log, with a clock that the test holds and a runner that fails as it is told.

#[path = "../../../crates/rpc/tests/support/loopback.rs"]
mod loopback;

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use contract::{
    Deployment, DeploymentId, DeploymentRef, Deployments, DueCall, DueOutcome, DueRunner, Error, ErrorKind,
    GroupId, JobsOf, NodeId, Result, Schedules as _, Sequencer, TransactionLog,
};
use parking_lot::Mutex;
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha12Rng;
use scheduler::{Clock, Dependencies, MetricsSnapshot, Options, ScheduleLimits, Service};
use system_transaction::{SystemTransactions, Work};
use tempfile::TempDir;
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;
use transaction::{ClaimLease, DueRow, Holder, JobState, NewJob, RunEnd, ScheduledJobRow, Transaction};
use value::{ComponentId, DocumentId, Value, object};

const NEIGHBOUR: DeploymentRef = DeploymentRef { group: GroupId(1), deployment: DeploymentId(2) };
const DEPLOYMENT: DeploymentRef = DeploymentRef { group: GroupId(1), deployment: DeploymentId(1) };
/// The time at which tests begin.
const START_MS: f64 = 1_800_000_000_000.0;
/// So long nothing takes.
const PATIENCE: Duration = Duration::from_secs(120);

/// A deployment as the directory would tell it.
fn known(reference: DeploymentRef) -> Deployment {
    let name = format!("d{}", reference.deployment.0);
    Deployment { reference, name, cloud_url: String::new(), site_url: String::new() }
}

/// A clock that moves when it is told to.
struct HeldClock(watch::Sender<f64>);

#[async_trait]
impl Clock for HeldClock {
    fn now_ms(&self) -> f64 {
        *self.0.borrow()
    }

    async fn reaches(&self, moment_ms: f64) {
        let _ = self.0.subscribe().wait_for(|now_ms| *now_ms >= moment_ms).await;
    }
}

/// What becomes of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    None,
    /// It does not begin.
    Refused,
    /// It loses its races.
    Conflict,
    /// It has its effect, and nobody hears of it.
    AnswerLost,
}

/// Instead of a function, each run enters what it was given into the table `effects`.
struct Runner {
    transactions: SystemTransactions,
    faults: Mutex<Box<dyn FnMut() -> Fault + Send>>,
    /// What has run, in the order of the ends.
    ran: Mutex<Vec<(DeploymentRef, String)>>,
    /// A run takes one before it begins.
    permits: Semaphore,
    at_once: AtomicUsize,
    at_once_max: AtomicUsize,
}

struct Effect {
    entry: DocumentId,
    now_ms: f64,
}

#[async_trait]
impl Work for Effect {
    type Output = Option<String>;

    async fn run(&self, transaction: &mut Transaction) -> system_transaction::Result<Option<String>> {
        let Some(run) = transaction.due_run(self.entry).await? else { return Ok(None) };
        if !transaction.begin_run(&run).await? {
            return Ok(None);
        }
        let name = run.arguments.get("name").and_then(Value::as_str).expect("the test gives it").to_owned();
        transaction.insert("effects", Value::Object(object! { "name" => name.as_str() })).await?;
        let end = RunEnd {
            result: Ok("null".into()),
            log_lines: Vec::new(),
            execution_time: Duration::ZERO,
            at_ms: self.now_ms,
        };
        transaction.end_run(&run, &end).await?;
        Ok(Some(name))
    }
}

#[async_trait]
impl DueRunner for Runner {
    async fn run_due(&self, call: DueCall) -> Result<DueOutcome> {
        let fault = self.faults.lock()();
        let unknown = || Error::internal("nobody knows what became of it");
        match fault {
            Fault::Refused => return Err(Error::overloaded("TooManyConcurrentRequests", "all are busy")),
            Fault::Conflict => {
                let code = "OptimisticConcurrencyControlFailure";
                return Err(Error::new(ErrorKind::Overloaded, code, "others changed the same"));
            }
            Fault::None | Fault::AnswerLost => {}
        }
        let at_once = self.at_once.fetch_add(1, Ordering::SeqCst) + 1;
        self.at_once_max.fetch_max(at_once, Ordering::SeqCst);
        self.permits.acquire().await.expect("it is never closed").forget();
        let work = Effect { entry: call.entry.parse().expect("an id"), now_ms: START_MS };
        let ran = self.transactions.transact(call.deployment, &work).await;
        self.at_once.fetch_sub(1, Ordering::SeqCst);
        let Some(name) = ran.map_err(Error::from)? else { return Ok(DueOutcome::Gone) };
        self.ran.lock().push((call.deployment, name));
        if fault == Fault::AnswerLost { Err(unknown()) } else { Ok(DueOutcome::Ran) }
    }
}

/// A log, and what the tests do with it.
struct Harness {
    transactions: SystemTransactions,
    runner: Arc<Runner>,
    clock: Arc<HeldClock>,
    log_service: txlog::Service,
    shutdown: CancellationToken,
    _folder: TempDir,
}

impl Harness {
    async fn start() -> Harness {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let shutdown = CancellationToken::new();
        let mut options = txlog::Options::embedded(folder.path());
        options.deployments.push(txlog::Deployment { name: "neighbour".to_owned(), at: NEIGHBOUR });
        let log_service = txlog::Service::start(options, shutdown.clone()).await.expect("the log starts");
        let log: Arc<dyn TransactionLog> = Arc::new(log_service.handle());
        let dependencies = sequencer::Dependencies { log: log.clone() };
        let sequencer = sequencer::Service::start(dependencies, shutdown.clone());
        let sequencer: Arc<dyn Sequencer> = Arc::new(sequencer.handle());
        let mut limits = transaction::Limits::DEFAULT;
        limits.retry.conflict_attempts_max = 10_000;
        limits.retry.conflict_retry_ms_max = 100_000;
        let transactions = SystemTransactions::new(log, sequencer, 1 << 20, &[7; 32], limits);
        let runner = Arc::new(Runner {
            transactions: transactions.clone(),
            faults: Mutex::new(Box::new(|| Fault::None)),
            ran: Mutex::default(),
            permits: Semaphore::new(Semaphore::MAX_PERMITS),
            at_once: AtomicUsize::new(0),
            at_once_max: AtomicUsize::new(0),
        });
        let clock = Arc::new(HeldClock(watch::channel(START_MS).0));
        Harness { transactions, runner, clock, log_service, shutdown, _folder: folder }
    }

    fn scheduler(&self, change: impl FnOnce(&mut ScheduleLimits)) -> (Service, CancellationToken) {
        self.scheduler_of(Deployment::fixed([DEPLOYMENT, NEIGHBOUR].map(known)), change)
    }

    fn scheduler_of(
        &self,
        deployments: watch::Receiver<Arc<Deployments>>,
        change: impl FnOnce(&mut ScheduleLimits),
    ) -> (Service, CancellationToken) {
        let mut limits = ScheduleLimits { log_pause_ms: 1, ..ScheduleLimits::DEFAULT };
        change(&mut limits);
        let token = CancellationToken::new();
        let options = Options { limits, deployments };
        let dependencies = Dependencies {
            runner: self.runner.clone(),
            transactions: self.transactions.clone(),
            clock: self.clock.clone(),
        };
        (Service::start(options, dependencies, token.clone()), token)
    }

    fn set_faults(&self, faults: impl FnMut() -> Fault + Send + 'static) {
        *self.runner.faults.lock() = Box::new(faults);
    }

    async fn schedule(&self, deployment: DeploymentRef, jobs: Vec<(String, f64)>) -> Vec<DocumentId> {
        self.transactions.transact(deployment, &Schedule(jobs)).await.expect("it is scheduled")
    }

    async fn schedule_one(&self, name: &str, time_ms: f64) -> DocumentId {
        self.schedule(DEPLOYMENT, vec![(name.to_owned(), time_ms)]).await[0]
    }

    /// How often each name has had its effect.
    async fn effects(&self, deployment: DeploymentRef) -> BTreeMap<String, usize> {
        let mut transaction = self.transactions.snapshot(deployment).await.expect("it begins");
        let query = transaction::Query::full_table_scan(
            "effects".parse().expect("legal"),
            contract::Order::Ascending,
        );
        let query = transaction.open_query(query).expect("it opens");
        let mut effects = BTreeMap::new();
        while let Some(document) = transaction.next_document(query).await.expect("it is read") {
            let object = document.to_object().expect("it is one");
            let name = object.get("name").and_then(Value::as_str).expect("it has a name").to_owned();
            *effects.entry(name).or_default() += 1;
        }
        effects
    }

    async fn jobs(&self, deployment: DeploymentRef) -> Vec<ScheduledJobRow> {
        let mut transaction = self.transactions.snapshot(deployment).await.expect("it begins");
        let rows = transaction.rows::<ScheduledJobRow>("by_creation_time", &[]).await.expect("they are read");
        rows.into_iter().map(|stored| stored.row).collect()
    }

    /// Waits, commit by commit, until the queue of a deployment is as it shall be.
    async fn until_queue(&self, deployment: DeploymentRef, is: impl Fn(&[DueRow]) -> bool) {
        let mut position = self.transactions.log.position(deployment.group).expect("there is the group");
        let until = async {
            loop {
                position.borrow_and_update();
                let mut transaction = self.transactions.snapshot(deployment).await.expect("it begins");
                let rows = transaction.rows::<DueRow>("by_due", &[]).await.expect("they are read");
                let rows: Vec<DueRow> = rows.into_iter().map(|stored| stored.row).collect();
                if is(&rows) {
                    return;
                }
                position.changed().await.expect("the log lives");
            }
        };
        tokio::time::timeout(PATIENCE, until).await.expect("the queue comes to that");
    }

    async fn stop(self, scheduler: (Service, CancellationToken)) -> MetricsSnapshot {
        let (service, token) = scheduler;
        token.cancel();
        let handle = service.handle();
        tokio::time::timeout(PATIENCE, service.stopped()).await.expect("it ends");
        let metrics = handle.metrics();
        drop(handle);
        self.shutdown.cancel();
        drop((self.transactions, self.runner));
        tokio::time::timeout(PATIENCE, self.log_service.stopped()).await.expect("it ends");
        metrics
    }
}

struct Schedule(Vec<(String, f64)>);

#[async_trait]
impl Work for Schedule {
    type Output = Vec<DocumentId>;

    async fn run(&self, transaction: &mut Transaction) -> system_transaction::Result<Vec<DocumentId>> {
        let mut ids = Vec::new();
        for (name, time_ms) in &self.0 {
            let job = NewJob {
                component: ComponentId::ROOT,
                function: "effects:enter".parse().expect("legal"),
                arguments: object! { "name" => name.as_str() },
                time_ms: *time_ms,
                now_ms: START_MS,
                parent: None,
            };
            ids.push(transaction.schedule(job).await?);
        }
        Ok(ids)
    }
}

struct Cancel(DocumentId);

#[async_trait]
impl Work for Cancel {
    type Output = transaction::Cancellation;

    async fn run(
        &self,
        transaction: &mut Transaction,
    ) -> system_transaction::Result<transaction::Cancellation> {
        Ok(transaction.cancel(&String::from(self.0), START_MS).await?)
    }
}

fn names(harness: &Harness) -> Vec<String> {
    harness.runner.ran.lock().iter().map(|(_, name)| name.clone()).collect()
}

/// Waits until these have run: the log tells of a commit before its run is noted.
async fn until_ran(harness: &Harness, expected: &[&str]) {
    let until = async {
        while names(harness) != expected {
            tokio::task::yield_now().await;
        }
    };
    let ended = tokio::time::timeout(PATIENCE, until).await;
    assert!(ended.is_ok(), "{:?}, and not {expected:?}", names(harness));
}

/// Waits for what nobody tells of.
async fn until(is: impl Fn() -> bool) {
    let until = async {
        while !is() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(PATIENCE, until).await.expect("it comes to that");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_due_runs_at_once_and_all_else_when_its_time_comes() {
    let harness = Harness::start().await;
    harness.schedule_one("before the start", START_MS - 1.0).await;
    let scheduler = harness.scheduler(|_| ());
    harness.until_queue(DEPLOYMENT, |queue| queue.is_empty()).await;
    harness.schedule_one("now", START_MS).await;
    harness.until_queue(DEPLOYMENT, |queue| queue.is_empty()).await;
    harness.schedule_one("later", START_MS + 2_000.0).await;
    harness.schedule_one("soon", START_MS + 1_000.0).await;
    harness.schedule_one("now again", START_MS).await;
    harness.until_queue(DEPLOYMENT, |queue| queue.len() == 2).await;
    harness.clock.0.send_replace(START_MS + 1_000.0);
    harness.until_queue(DEPLOYMENT, |queue| queue.len() == 1).await;
    until_ran(&harness, &["before the start", "now", "now again", "soon"]).await;
    harness.clock.0.send_replace(START_MS + 5_000.0);
    harness.until_queue(DEPLOYMENT, |queue| queue.is_empty()).await;
    until_ran(&harness, &["before the start", "now", "now again", "soon", "later"]).await;
    assert!(harness.jobs(DEPLOYMENT).await.iter().all(|job| job.state == JobState::Success));
    let metrics = harness.stop(scheduler).await;
    assert_eq!((metrics.runs, metrics.gone, metrics.postponed), (5, 0, 0));
    assert_eq!(metrics.streams, 2, "one for each deployment");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_at_a_time_they_run_in_the_order_of_their_times() {
    let harness = Harness::start().await;
    let jobs = |times: &[u32]| {
        times.iter().map(|time| (time.to_string(), START_MS - f64::from(*time))).collect::<Vec<_>>()
    };
    let times: Vec<u32> = (0..400).map(|n| (n * 7919) % 1_000).collect();
    harness.schedule(DEPLOYMENT, jobs(&times[..200])).await;
    harness.schedule(DEPLOYMENT, jobs(&times[200..])).await;
    let scheduler = harness.scheduler(|limits| {
        limits.runs_max = 1;
        limits.deployment_share_percent = 100;
        limits.entries_known_max = 16;
    });
    harness.until_queue(DEPLOYMENT, |queue| queue.is_empty()).await;
    let mut expected = times.clone();
    expected.sort_unstable_by(|one, two| two.cmp(one));
    let expected: Vec<String> = expected.iter().map(u32::to_string).collect();
    until_ran(&harness, &expected.iter().map(String::as_str).collect::<Vec<_>>()).await;
    assert_eq!(harness.runner.at_once_max.load(Ordering::SeqCst), 1);
    harness.stop(scheduler).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_cancelled_does_not_run() {
    let harness = Harness::start().await;
    let scheduler = harness.scheduler(|_| ());
    let id = harness.schedule_one("cancelled", START_MS + 10.0).await;
    harness.schedule_one("kept", START_MS + 20.0).await;
    let cancelled = harness.transactions.transact(DEPLOYMENT, &Cancel(id)).await.expect("it commits");
    assert_eq!(cancelled, transaction::Cancellation::Canceled);
    harness.clock.0.send_replace(START_MS + 50.0);
    harness.until_queue(DEPLOYMENT, |queue| queue.is_empty()).await;
    until_ran(&harness, &["kept"]).await;
    harness.stop(scheduler).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_could_not_be_run_is_put_off_longer_each_time() {
    let harness = Harness::start().await;
    let mut faults =
        vec![Fault::Refused, Fault::Conflict, Fault::Conflict].into_iter().rev().collect::<Vec<_>>();
    harness.set_faults(move || faults.pop().unwrap_or(Fault::None));
    let scheduler = harness.scheduler(|_| ());
    harness.schedule_one("patient", START_MS).await;
    let mut now_ms = START_MS;
    for (failures, pause_ms) in [(1, 500.0), (2, 200.0), (3, 400.0)] {
        let due_ms = now_ms + pause_ms;
        harness
            .until_queue(DEPLOYMENT, |queue| {
                queue.iter().any(|row| row.failures == failures && row.due_ms == due_ms)
            })
            .await;
        assert_eq!(names(&harness), [""; 0]);
        now_ms = due_ms;
        harness.clock.0.send_replace(now_ms);
    }
    harness.until_queue(DEPLOYMENT, |queue| queue.is_empty()).await;
    until_ran(&harness, &["patient"]).await;
    let [job] = &harness.jobs(DEPLOYMENT).await[..] else { panic!("one job") };
    assert_eq!(job.scheduled_time_ms, START_MS, "what the application sees stays as it was");
    let metrics = harness.stop(scheduler).await;
    assert_eq!((metrics.runs, metrics.postponed), (1, 3));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_here_and_runs_elsewhere_is_not_put_off() {
    let harness = Harness::start().await;
    harness.runner.permits.forget_permits(Semaphore::MAX_PERMITS);
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = calls.clone();
    harness.set_faults(move || match counted.fetch_add(1, Ordering::SeqCst) {
        0 => Fault::None,
        _ => Fault::Refused,
    });
    // Longer than anybody waits: it ends with the scheduler.
    let patient = |limits: &mut ScheduleLimits| limits.failure_pause_ms_min = 600_000;
    let (scheduler, (other, token)) = (harness.scheduler(patient), harness.scheduler(patient));
    harness.schedule_one("once", START_MS).await;
    until(|| calls.load(Ordering::SeqCst) == 2).await;
    // A commit that came at once would be there by then.
    tokio::time::sleep(Duration::from_millis(200)).await;
    harness.until_queue(DEPLOYMENT, |queue| matches!(queue, [row] if row.failures == 0)).await;
    harness.runner.permits.add_permits(1);
    harness.until_queue(DEPLOYMENT, |queue| queue.is_empty()).await;
    until_ran(&harness, &["once"]).await;
    token.cancel();
    let handle = other.handle();
    tokio::time::timeout(PATIENCE, other.stopped()).await.expect("it ends");
    let metrics_of_other = handle.metrics();
    drop(handle);
    let metrics = harness.stop(scheduler).await;
    assert_eq!(metrics.runs + metrics_of_other.runs, 1);
    assert_eq!(metrics.postponed + metrics_of_other.postponed, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_late_any_more_in_a_deployment_that_has_gone() {
    let harness = Harness::start().await;
    harness.runner.permits.forget_permits(Semaphore::MAX_PERMITS);
    let all = Deployment::fixed([DEPLOYMENT, NEIGHBOUR].map(known)).borrow().clone();
    let directory = watch::Sender::new(all);
    let scheduler = harness.scheduler_of(directory.subscribe(), |limits| limits.runs_max = 1);
    harness.schedule(DEPLOYMENT, ["runs", "waits"].map(|name| (name.to_owned(), START_MS)).to_vec()).await;
    until(|| harness.runner.at_once.load(Ordering::SeqCst) == 1).await;
    harness.clock.0.send_replace(START_MS + 1_000.0);
    let handle = scheduler.0.handle();
    until(|| handle.metrics().late_ms == 1_000.0).await;
    let left = Deployment::fixed([NEIGHBOUR].map(known)).borrow().clone();
    directory.send_replace(left);
    until(|| handle.metrics().late_ms == 0.0).await;
    harness.runner.permits.add_permits(1);
    drop(handle);
    harness.stop(scheduler).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deployment_with_much_to_do_leaves_places_to_its_neighbours() {
    let harness = Harness::start().await;
    harness.runner.permits.forget_permits(Semaphore::MAX_PERMITS);
    // Both have asked before, so that shares hold.
    let scheduler = harness.scheduler(|limits| {
        limits.runs_max = 8;
        limits.deployment_share_percent = 75;
    });
    harness.runner.permits.add_permits(2);
    harness.schedule(NEIGHBOUR, vec![("first".to_owned(), START_MS)]).await;
    harness.schedule_one("first", START_MS).await;
    harness.until_queue(DEPLOYMENT, |queue| queue.is_empty()).await;
    harness.until_queue(NEIGHBOUR, |queue| queue.is_empty()).await;

    let many = (0..1_000).map(|n| (n.to_string(), START_MS)).collect();
    harness.schedule(DEPLOYMENT, many).await;
    let begun = async {
        while harness.runner.at_once.load(Ordering::SeqCst) < 6 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, begun).await.expect("its share is taken");
    harness.schedule(NEIGHBOUR, vec![("small".to_owned(), START_MS)]).await;
    let begun = async {
        while harness.runner.at_once.load(Ordering::SeqCst) < 7 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, begun).await.expect("the neighbour's has begun");
    harness.runner.permits.add_permits(1_000 + 1);
    harness.until_queue(DEPLOYMENT, |queue| queue.is_empty()).await;
    harness.until_queue(NEIGHBOUR, |queue| queue.is_empty()).await;
    assert_eq!(harness.runner.at_once_max.load(Ordering::SeqCst), 7, "six of eight, and the neighbour's one");
    harness.stop(scheduler).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn results_go_when_they_are_old_and_nothing_else_does() {
    let harness = Harness::start().await;
    let many = (0..50).map(|n| (n.to_string(), START_MS)).collect();
    harness.schedule(DEPLOYMENT, many).await;
    harness.schedule_one("pending", START_MS + 10_000_000.0).await;
    let change = |limits: &mut ScheduleLimits| {
        limits.result_age_ms = 1_000;
        limits.result_sweep_ms = 5;
        limits.results_removed_max = 20;
    };
    let scheduler = harness.scheduler(change);
    harness.until_queue(DEPLOYMENT, |queue| queue.len() == 1).await;
    assert_eq!(harness.jobs(DEPLOYMENT).await.len(), 51, "they are kept for a second, and the clock stands");
    harness.clock.0.send_replace(START_MS + 1_000.5);
    let swept = async {
        while harness.jobs(DEPLOYMENT).await.len() > 1 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, swept).await.expect("they go");
    let [job] = &harness.jobs(DEPLOYMENT).await[..] else { panic!("one is left") };
    assert_eq!(job.state, JobState::Pending);
    harness.stop(scheduler).await;
}

/// Schedulers come and go, two of them at times; runs are refused, lose races, and lose their answers; jobs are scheduled and
/// cancelled meanwhile. A scheduler that is dropped leaves everything as a process that dies does.
#[tokio::test(flavor = "multi_thread")]
async fn each_runs_exactly_once_whatever_happens_to_schedulers() {
    let seed: u64 = rand::random();
    eprintln!("seed {seed}");
    let mut random = ChaCha12Rng::seed_from_u64(seed);
    let harness = Harness::start().await;
    let mut of_faults = ChaCha12Rng::seed_from_u64(seed ^ 1);
    harness.set_faults(move || match of_faults.random_range(0..10) {
        0 => Fault::Refused,
        1 => Fault::Conflict,
        2 => Fault::AnswerLost,
        _ => Fault::None,
    });
    let mut expected = BTreeMap::new();
    let mut cancelled = Vec::new();
    let mut now_ms = START_MS;
    for round in 0..12 {
        // A runtime of its own, which is torn down in the middle of whatever its tasks do.
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        let runtime = runtime.expect("a runtime");
        let guard = runtime.enter();
        let small = |limits: &mut ScheduleLimits| {
            limits.entries_known_max = 16;
            limits.failure_pause_ms_min = 1;
        };
        let schedulers: Vec<_> = (0..random.random_range(1..3)).map(|_| harness.scheduler(small)).collect();
        drop(guard);
        for part in 0..random.random_range(1..6) {
            let jobs: Vec<(String, f64)> = (0..random.random_range(1..30))
                .map(|n| {
                    (format!("{round}/{part}/{n}"), now_ms + f64::from(random.random_range(-50..200_i32)))
                })
                .collect();
            let ids = harness.schedule(DEPLOYMENT, jobs.clone()).await;
            for ((name, _), id) in jobs.into_iter().zip(ids) {
                expected.insert(name.clone(), 1_usize);
                if random.random_bool(0.1) {
                    let outcome = harness.transactions.transact(DEPLOYMENT, &Cancel(id)).await;
                    if outcome.expect("it commits") == transaction::Cancellation::Canceled {
                        expected.remove(&name);
                        cancelled.push(name);
                    }
                }
            }
            now_ms += f64::from(random.random_range(0..150_u32));
            harness.clock.0.send_replace(now_ms);
        }
        if random.random_bool(0.5) {
            // Killed.
            runtime.shutdown_background();
            drop(schedulers);
        } else {
            for (_, token) in &schedulers {
                token.cancel();
            }
            for (service, _) in schedulers {
                tokio::time::timeout(PATIENCE, service.stopped()).await.expect("it ends");
            }
            runtime.shutdown_background();
        }
    }
    let scheduler = harness.scheduler(|_| ());
    let clock = harness.clock.clone();
    let advancing = tokio::spawn(async move {
        loop {
            // Whatever was put off comes.
            let now_ms = *clock.0.borrow() + 1_000.0;
            clock.0.send_replace(now_ms);
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    });
    harness.until_queue(DEPLOYMENT, |queue| queue.is_empty()).await;
    advancing.abort();
    assert_eq!(harness.effects(DEPLOYMENT).await, expected);
    let jobs = harness.jobs(DEPLOYMENT).await;
    let count = |state: &JobState| jobs.iter().filter(|job| job.state == *state).count();
    assert_eq!(count(&JobState::Success), expected.len());
    assert_eq!(count(&JobState::Canceled), cancelled.len());
    assert_eq!(jobs.len(), expected.len() + cancelled.len());
    harness.stop(scheduler).await;
}

/// Claims an entry, for a process that then says nothing.
struct Claim;

#[async_trait]
impl Work for Claim {
    type Output = ();

    async fn run(&self, transaction: &mut Transaction) -> system_transaction::Result<()> {
        let entry = transaction.rows::<DueRow>("by_due", &[]).await?[0].id;
        let run = transaction.due_run(entry).await?.expect("it is there");
        let holder = Holder { node: NodeId(9), boot: [9; 16] };
        transaction.claim_run(&run, holder, ClaimLease::Keep).await?.expect("nobody holds it");
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_somebody_holds_is_not_begun() {
    let harness = Harness::start().await;
    harness.schedule_one("held before the start", START_MS).await;
    harness.transactions.transact(DEPLOYMENT, &Claim).await.expect("it commits");
    let scheduler = harness.scheduler(|_| ());
    harness.schedule_one("held later", START_MS + 1_000.0).await;
    harness.transactions.transact(DEPLOYMENT, &Claim).await.expect("it commits");
    harness.clock.0.send_replace(START_MS + 2_000.0);
    harness.schedule_one("free", START_MS).await;
    harness.until_queue(DEPLOYMENT, |queue| queue.iter().all(|row| row.holder.is_some())).await;
    until_ran(&harness, &["free"]).await;
    let metrics = harness.stop(scheduler).await;
    assert_eq!((metrics.runs, metrics.gone, metrics.postponed), (1, 0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_that_wait_are_cancelled_one_by_one_or_together() {
    let harness = Harness::start().await;
    let scheduler = harness.scheduler(|limits| limits.jobs_cancelled_max = 2);
    let schedules = scheduler.0.handle();
    let of = || JobsOf { deployment: DEPLOYMENT, component: String::new() };
    let jobs = (0..7).map(|n| (n.to_string(), START_MS + 1_000.0 + f64::from(n))).collect();
    let ids = harness.schedule(DEPLOYMENT, jobs).await;
    harness.schedule(NEIGHBOUR, vec![("small".to_owned(), START_MS + 1_000.0)]).await;
    schedules.cancel(of(), &ids[3].to_string()).await.expect("it is a job");
    schedules.cancel(of(), &ids[3].to_string()).await.expect("it is over");
    assert_eq!(schedules.cancel(of(), "nonsense").await.unwrap_err().code, "InvalidArgument");
    assert_eq!(schedules.cancel_all(of(), Some("effects:other")).await, Ok(0));
    assert!(schedules.cancel_all(of(), Some("a b")).await.is_err());
    let nowhere = JobsOf { component: "nowhere".to_owned(), ..of() };
    assert_eq!(schedules.cancel_all(nowhere, None).await.unwrap_err().code, "InvalidArgument");
    assert_eq!(schedules.cancel_all(of(), Some("effects.js:enter")).await, Ok(6));
    assert_eq!(schedules.cancel_all(of(), None).await, Ok(0));
    assert!(harness.jobs(DEPLOYMENT).await.iter().all(|job| job.state == JobState::Canceled));
    harness.until_queue(DEPLOYMENT, |queue| queue.is_empty()).await;
    harness.clock.0.send_replace(START_MS + 5_000.0);
    harness.until_queue(NEIGHBOUR, |queue| queue.is_empty()).await;
    until_ran(&harness, &["small"]).await;
    drop(schedules);
    harness.stop(scheduler).await;
}

/// The contract's suite against the scheduler in this process, and against the same one over gRPC on loopback.
mod conformance_suite {
    use conformance::SchedulesSubject;
    use contract::Schedules;
    use rpc::{GrpcSchedules, RpcLimits, SchedulesServer};
    use tokio::task::JoinSet;

    use super::*;

    const LIMITS: RpcLimits = RpcLimits::DEFAULT;

    async fn subject(over_grpc: bool) -> SchedulesSubject {
        let harness = Arc::new(Harness::start().await);
        let (service, token) = harness.scheduler(|_| ());
        let mut servers = JoinSet::new();
        let mut schedules: Arc<dyn Schedules> = Arc::new(service.handle());
        if over_grpc {
            let server = rpc::server(&LIMITS).add_service(SchedulesServer::service(schedules, LIMITS));
            let channel = loopback::channel_to(server, &LIMITS, &mut servers).await;
            schedules = Arc::new(GrpcSchedules::new(channel, LIMITS));
        }
        let scheduling = harness.clone();
        let schedule = Box::new(move || {
            let harness = scheduling.clone();
            Box::pin(
                async move { String::from(harness.schedule_one("much later", START_MS + 1_000_000.0).await) },
            ) as _
        });
        let ends = [token, harness.shutdown.clone()].map(CancellationToken::drop_guard);
        let kept = Box::new((servers, ends, service, harness));
        SchedulesSubject { schedules, deployment: DEPLOYMENT, schedule, kept }
    }

    mod direct {
        use super::*;

        async fn schedules() -> SchedulesSubject {
            subject(false).await
        }

        conformance::schedules!(schedules);
    }

    mod over_grpc {
        use super::*;

        async fn schedules() -> SchedulesSubject {
            subject(true).await
        }

        conformance::schedules!(schedules);
    }
}
