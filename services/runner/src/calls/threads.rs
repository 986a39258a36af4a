//! The threads that JavaScript runs on, and the queue in front of them.
//!
//! A thread runs one call tree at a time, from its admission to its end, nested calls included, so that a nested call
//! never waits for the queue in which its caller's competitors stand.
//!
//! Few threads more than there are cores run short calls, because more would only take the cores from each other. A call
//! that has run for some milliseconds does not count any more, and another thread joins in: a few functions that compute for
//! seconds leave threads to the others, and the operating system shares the cores out.
//!
//! A call that has computed for longer still has its thread's priority lowered, by the engine's ticker. It is not to be raised
//! again, so that thread ends with the call, and a new one takes its place.
//!
//! The thread that became idle last is taken first, because its slots are warm.
//!
//! Deployments take turns in the queue, one alone can't occupy all threads, and when the queue is full it is the newest
//! call of the deployment with the most that is refused: none stalls its neighbours.

use std::{
    collections::BTreeMap,
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
        mpsc,
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use crate::limits::FunctionLimits;
use contract::{DeploymentRef, Error, ErrorKind};
use counters::{Histogram, HistogramSnapshot, Stopwatch};
use fair_queue::{FairQueue, Shares};
use parking_lot::{Condvar, Mutex, MutexGuard};
use tokio::sync::oneshot;

use super::Slots;

/// A function of the thread's slots whose future stays on the thread.
type Work = Box<dyn for<'s> FnOnce(&'s mut Slots) -> Pin<Box<dyn Future<Output = ()> + 's>> + Send>;

/// Which calls go first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Priority {
    /// Calls that ran before and lost a race: they are what others wait for.
    Again,
    First,
    /// Runs of live queries: while they wait, clients see something older, and nobody waits for an answer. They have a share
    /// all the same.
    Live,
}

/// So many others are taken before a run of a live query, or a step of an action, that has waited all the while.
const TAKEN_BEFORE_PATIENT: usize = 3;

/// How many calls run at the same time, those not counted that have run for longer than a short one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Admission {
    pub short_calls: usize,
    pub short_call_max: Duration,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct ThreadLimits {
    pub threads: usize,
    /// How many of them calls of one deployment may occupy.
    pub threads_share: usize,
    /// How many of them may be occupied by calls that wait for another call.
    pub parked_max: usize,
    pub admission: Admission,
    pub queue_max: usize,
    pub wait_max: Duration,
    /// How long a thread keeps its slots while it has nothing to run.
    pub slots_idle_max: Duration,
}

impl From<&FunctionLimits> for ThreadLimits {
    fn from(limits: &FunctionLimits) -> ThreadLimits {
        let cores = std::thread::available_parallelism().map_or(4, usize::from);
        let or = |number: usize, default: usize| if number > 0 { number } else { default };
        let threads = or(limits.threads, (4 * cores).max(8));
        let threads_share = fair_queue::share_of(threads, limits.deployment_threads_percent);
        let short_calls = or(limits.short_calls_max, cores + 1);
        ThreadLimits {
            threads,
            threads_share,
            // The calls that they wait for must find a thread.
            parked_max: threads_share.saturating_sub(short_calls),
            admission: Admission {
                short_calls,
                short_call_max: Duration::from_millis(limits.short_call_ms_max),
            },
            queue_max: limits.slot_queue_max,
            wait_max: Duration::from_millis(limits.slot_wait_ms_max),
            slots_idle_max: Duration::from_millis(limits.thread_slots_idle_ms_max),
        }
    }
}

/// The threads. Dropping it ends them after their current calls.
pub(crate) struct Threads {
    shared: Arc<Shared>,
    limits: ThreadLimits,
    /// Begins calls in the place of long ones, and threads in the place of those that ended. It has the process's own
    /// priority, which new threads take over. Its result are the threads.
    attendant: Mutex<Option<JoinHandle<Vec<JoinHandle<()>>>>>,
    waits: Arc<Histogram>,
}

/// Begins the thread of a number.
type Spawn = Box<dyn Fn(usize) -> std::io::Result<JoinHandle<()>> + Send>;

/// How long the attendant waits before it tries again to begin a thread.
const SPAWN_AGAIN: Duration = Duration::from_secs(1);

struct Shared {
    admission: Admission,
    threads_share: usize,
    parked_max: usize,
    queue: Mutex<Queue>,
    /// Told when calls wait although threads are idle, unless that is known, when a thread has ended, and when the queue is
    /// closed.
    held_back: Condvar,
}

#[derive(Default)]
struct Queue {
    again: FairQueue<Job>,
    first: FairQueue<Job>,
    live: Patient,
    /// Steps of actions that have begun: none of them is refused.
    steps: Patient,
    /// The mailboxes of the idle threads; the last one became idle last.
    idle: Vec<Mailbox>,
    /// The running calls, by their thread.
    running: BTreeMap<usize, Running>,
    /// Threads that have ended and that others are to take the place of.
    ended: Vec<usize>,
    /// Nobody looks from time to time whether more may begin.
    is_unwatched: bool,
    closed: bool,
    threads: usize,
    shares: Shares,
}

/// A queue of those that calls go before. They have a share all the same.
#[derive(Default)]
struct Patient {
    queue: FairQueue<Job>,
    /// How many others were taken while they waited.
    passed: usize,
}

impl Patient {
    fn is_due(&self) -> bool {
        self.passed >= TAKEN_BEFORE_PATIENT
    }

    /// Takes note that something else was taken.
    fn pass(&mut self) {
        self.passed = if self.queue.is_empty() { 0 } else { self.passed + 1 };
    }

    fn pop(&mut self, may: impl Fn(DeploymentRef) -> bool) -> Option<(DeploymentRef, Job)> {
        let next = self.queue.pop(may)?;
        self.passed = 0;
        Some(next)
    }
}

#[derive(Clone, Copy)]
struct Running {
    deployment: DeploymentRef,
    began: Instant,
    /// It waits for another call, in the middle of its run.
    is_parked: bool,
}

/// The thread that a call runs on.
#[derive(Clone)]
pub(crate) struct ThreadPlace {
    shared: Arc<Shared>,
    thread: usize,
}

/// A call that waits for another one. Until this is dropped, others run in its place.
pub(crate) struct Parked(ThreadPlace);

/// What a thread is known by while it is idle.
#[derive(Clone)]
struct Mailbox {
    thread: usize,
    sender: mpsc::SyncSender<Message>,
}

enum Message {
    Run(Job),
    End,
}

struct Job {
    deployment: DeploymentRef,
    claim: Arc<Claim>,
    work: Work,
}

/// Whether a job still waits, was started by a thread, or was taken back by its caller.
struct Claim(AtomicU8);

const WAITING: u8 = 0;
const STARTED: u8 = 1;
const WITHDRAWN: u8 = 2;
/// Taken out of a queue that was full.
const REFUSED: u8 = 3;

impl Claim {
    fn is(&self, state: u8) -> bool {
        self.0.load(Ordering::Acquire) == state
    }

    fn take(&self, as_state: u8) -> bool {
        self.0.compare_exchange(WAITING, as_state, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }
}

/// Takes the job back if its caller goes away while it waits.
struct WithdrawOnDrop(Arc<Claim>);

impl Drop for WithdrawOnDrop {
    fn drop(&mut self) {
        self.0.take(WITHDRAWN);
    }
}

impl Threads {
    pub(crate) fn start(
        limits: ThreadLimits,
        shares: Shares,
        slots: impl Fn() -> Slots + Clone + Send + 'static,
    ) -> std::io::Result<Threads> {
        let shared = Arc::new(Shared {
            admission: limits.admission,
            threads_share: limits.threads_share,
            parked_max: limits.parked_max,
            queue: Mutex::new(Queue::new(limits.threads, shares)),
            held_back: Condvar::new(),
        });
        let spawn: Spawn = {
            let shared = Arc::clone(&shared);
            Box::new(move |number| {
                let place = ThreadPlace { shared: Arc::clone(&shared), thread: number };
                let (shared, slots) = (Arc::clone(&shared), slots.clone());
                let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
                isolate::thread_builder(format!("isolate-{number}")).spawn(move || {
                    run_thread(number, &shared, &runtime, slots().on(place), limits.slots_idle_max)
                })
            })
        };
        let threads = (0..limits.threads).map(&spawn).collect::<std::io::Result<Vec<_>>>();
        let attending = Arc::clone(&shared);
        let attendant = threads.and_then(|threads| {
            let attend = move || attending.attend(threads, &spawn);
            std::thread::Builder::new().name("isolate-admission".into()).spawn(attend)
        });
        match attendant {
            Ok(attendant) => {
                let attendant = Mutex::new(Some(attendant));
                Ok(Threads { shared, limits, attendant, waits: Arc::default() })
            }
            Err(error) => {
                shared.close();
                Err(error)
            }
        }
    }

    /// Runs `work` on a thread. Fails without having run it if all threads stay busy (`TooManyConcurrentRequests`), if
    /// too many calls wait already (`ExpiredInQueue`), or if the runner is shutting down.
    pub(crate) async fn run<T, F>(
        &self,
        deployment: DeploymentRef,
        priority: Priority,
        work: F,
    ) -> Result<T, Error>
    where
        T: Send + 'static,
        F: AsyncFnOnce(&mut Slots) -> T + Send + 'static,
    {
        let (waits, stopwatch) = (Arc::clone(&self.waits), Stopwatch::start());
        let work = async move |slots: &mut Slots| {
            waits.record(stopwatch.took());
            work(slots).await
        };
        let (job, mut receiver) = Job::new(deployment, work);
        let claim = Arc::clone(&job.claim);
        let _withdraw = WithdrawOnDrop(Arc::clone(&claim));
        let lost = || if claim.is(REFUSED) { queue_is_full() } else { shutting_down() };
        let is_waiting = self.shared.submit(job, priority, self.limits.queue_max)?;
        if is_waiting {
            match tokio::time::timeout(self.limits.wait_max, &mut receiver).await {
                Ok(result) => return result.map_err(|_| lost()),
                Err(_) if claim.take(WITHDRAWN) => {
                    return Err(Error::new(
                        ErrorKind::TooManyRequests,
                        "TooManyConcurrentRequests",
                        "All isolates are busy. Try again later.",
                    ));
                }
                // It was started in the meantime.
                Err(_) => {}
            }
        }
        receiver.await.map_err(|_| lost())
    }

    /// Runs a step of an action that has begun. It waits for a thread as long as it takes, and fails only if the runner is
    /// shutting down.
    pub(crate) async fn step<T, F>(&self, deployment: DeploymentRef, work: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: AsyncFnOnce(&mut Slots) -> T + Send + 'static,
    {
        let (job, receiver) = Job::new(deployment, work);
        let _withdraw = WithdrawOnDrop(Arc::clone(&job.claim));
        self.shared.submit_step(job)?;
        receiver.await.map_err(|_| shutting_down())
    }

    /// How long calls have waited for a thread, those that found one free included.
    pub(crate) fn waits(&self) -> HistogramSnapshot {
        self.waits.snapshot()
    }

    /// How many calls run, and how many wait.
    pub(crate) fn load(&self) -> (u64, u64) {
        let queue = self.shared.queue.lock();
        (queue.running.len() as u64, queue.waiting() as u64)
    }

    /// Refuses new calls, ends the threads after the calls that they run, and waits for them. Blocks.
    pub(crate) fn stop(&self) {
        self.shared.close();
        let Some(attendant) = self.attendant.lock().take() else { return };
        let ended = attendant.join().and_then(|threads| threads.into_iter().try_for_each(JoinHandle::join));
        if let Err(panic) = ended {
            std::panic::resume_unwind(panic);
        }
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        self.shared.close();
    }
}

impl Job {
    /// A job, and what it gives.
    fn new<T, F>(deployment: DeploymentRef, work: F) -> (Job, oneshot::Receiver<T>)
    where
        T: Send + 'static,
        F: AsyncFnOnce(&mut Slots) -> T + Send + 'static,
    {
        let (sender, receiver) = oneshot::channel();
        let work: Work = Box::new(move |slots| {
            Box::pin(async move {
                let result = work(slots).await;
                // The caller may have gone away; then nobody wants the result.
                let _ = sender.send(result);
                slots.tidy();
            })
        });
        (Job { deployment, claim: Arc::new(Claim(AtomicU8::new(WAITING))), work }, receiver)
    }
}

impl Queue {
    fn new(threads: usize, shares: Shares) -> Queue {
        let patient = || Patient { queue: FairQueue::new(shares.clone()), passed: 0 };
        Queue {
            again: FairQueue::new(shares.clone()),
            first: FairQueue::new(shares.clone()),
            live: patient(),
            steps: patient(),
            threads,
            shares,
            ..Queue::default()
        }
    }

    fn waiting(&self) -> usize {
        self.calls_waiting() + self.steps.queue.len()
    }

    /// Those that may be refused.
    fn calls_waiting(&self) -> usize {
        self.again.len() + self.first.len() + self.live.queue.len()
    }

    /// Whether one more call may begin at `now`, as far as those go that run.
    fn has_room(&self, admission: Admission, now: Instant) -> bool {
        let Admission { short_calls, short_call_max } = admission;
        let is_short =
            |running: &&Running| !running.is_parked && now.duration_since(running.began) < short_call_max;
        self.running.len() < short_calls || self.running.values().filter(is_short).count() < short_calls
    }

    /// The next call that still waits, begun on a thread: of the deployment whose turn it is, among those that occupy
    /// less than their share.
    fn begin_next(&mut self, thread: usize, threads_share: usize) -> Option<Job> {
        loop {
            let (deployment, job) = self.pop(threads_share)?;
            if job.claim.take(STARTED) {
                let running = Running { deployment, began: Instant::now(), is_parked: false };
                let before = self.running.insert(thread, running);
                assert!(before.is_none(), "a thread runs one call at a time");
                return Some(job);
            }
        }
    }

    fn pop(&mut self, threads_share: usize) -> Option<(DeploymentRef, Job)> {
        let Queue { again, first, live, steps, running, shares, threads, .. } = self;
        let may = |deployment: DeploymentRef| {
            let most = shares.most_of(deployment, *threads).unwrap_or(threads_share);
            running.values().filter(|running| running.deployment == deployment).count() < most
        };
        if live.is_due()
            && let Some(next) = live.pop(may)
        {
            steps.pass();
            return Some(next);
        }
        if steps.is_due()
            && let Some(next) = steps.pop(may)
        {
            live.pass();
            return Some(next);
        }
        if let Some(next) = again.pop(may).or_else(|| first.pop(may)) {
            live.pass();
            steps.pass();
            return Some(next);
        }
        if let Some(next) = live.pop(may) {
            steps.pass();
            return Some(next);
        }
        let next = steps.pop(may)?;
        live.pass();
        Some(next)
    }

    /// Takes the newest call of the deployment with the most out of the queue; in doubt that of `newcomer`.
    fn refuse_one(&mut self, newcomer: DeploymentRef) {
        let len_of = |deployment| {
            self.again.len_of(deployment) + self.first.len_of(deployment) + self.live.queue.len_of(deployment)
        };
        let others =
            self.again.deployments().chain(self.first.deployments()).chain(self.live.queue.deployments());
        let longest = others.chain([newcomer]).max_by_key(|deployment| len_of(*deployment));
        let longest = longest.unwrap_or(newcomer);
        let newest = self.live.queue.pop_newest(longest).or_else(|| self.first.pop_newest(longest));
        if let Some(job) = newest.or_else(|| self.again.pop_newest(longest)) {
            job.claim.take(REFUSED);
        }
    }

    /// Begins on idle threads what may begin.
    fn begin_on_idle(&mut self, admission: Admission, threads_share: usize) {
        while self.waiting() > 0
            && !self.idle.is_empty()
            && self.has_room(admission, Instant::now())
            && let Some(mailbox) = self.idle.pop()
        {
            let Some(job) = self.begin_next(mailbox.thread, threads_share) else {
                self.idle.push(mailbox);
                return;
            };
            // An idle thread waits for its mailbox, which is empty, so this neither fails nor blocks.
            drop(mailbox.sender.send(Message::Run(job)));
        }
    }
}

impl Shared {
    /// Whether the job has to wait.
    fn submit(&self, job: Job, priority: Priority, queue_max: usize) -> Result<bool, Error> {
        let mut queue = self.queue.lock();
        if queue.closed {
            return Err(shutting_down());
        }
        let claim = Arc::clone(&job.claim);
        let deployment = job.deployment;
        match priority {
            Priority::Again => queue.again.push(deployment, job),
            Priority::First => queue.first.push(deployment, job),
            Priority::Live => queue.live.queue.push(deployment, job),
        }
        queue.begin_on_idle(self.admission, self.threads_share);
        if queue.calls_waiting() > queue_max {
            // Jobs whose callers went away must not keep others out.
            let is_wanted = |job: &Job| job.claim.is(WAITING);
            queue.again.retain(is_wanted);
            queue.first.retain(is_wanted);
            queue.live.queue.retain(is_wanted);
            if queue.calls_waiting() > queue_max {
                queue.refuse_one(deployment);
            }
            assert!(queue.calls_waiting() <= queue_max, "one call was too many");
            if claim.is(REFUSED) {
                return Err(queue_is_full());
            }
        }
        self.watch(&mut queue);
        Ok(claim.is(WAITING))
    }

    fn submit_step(&self, job: Job) -> Result<(), Error> {
        let mut queue = self.queue.lock();
        if queue.closed {
            return Err(shutting_down());
        }
        queue.steps.queue.push(job.deployment, job);
        queue.begin_on_idle(self.admission, self.threads_share);
        self.watch(&mut queue);
        Ok(())
    }

    /// Notes that the thread's call has ended. Gives what is to be run next, or `None` after the thread's mailbox was
    /// entered as idle.
    fn next(&self, mailbox: &Mailbox) -> Option<Message> {
        let mut queue = self.queue.lock();
        queue.running.remove(&mailbox.thread);
        if queue.closed {
            return Some(Message::End);
        }
        if queue.has_room(self.admission, Instant::now())
            && let Some(job) = queue.begin_next(mailbox.thread, self.threads_share)
        {
            return Some(Message::Run(job));
        }
        queue.idle.push(mailbox.clone());
        self.watch(&mut queue);
        None
    }

    /// Sees to it that somebody looks after calls that wait although threads are idle.
    fn watch(&self, queue: &mut Queue) {
        if queue.is_unwatched && queue.waiting() > 0 && !queue.idle.is_empty() {
            queue.is_unwatched = false;
            self.held_back.notify_one();
        }
    }

    /// While calls wait and threads are idle: begins calls in the place of those that turn out to be long. Puts others in the
    /// place of threads that end. Returns the threads when the queue is closed.
    fn attend(&self, mut threads: Vec<JoinHandle<()>>, spawn: &Spawn) -> Vec<JoinHandle<()>> {
        let mut queue = self.queue.lock();
        while !queue.closed {
            if let Some(number) = queue.ended.pop() {
                let spawned = MutexGuard::unlocked(&mut queue, || spawn(number));
                match spawned {
                    Ok(thread) => {
                        let mut finished = threads.extract_if(.., |thread| thread.is_finished());
                        if let Err(panic) = finished.try_for_each(JoinHandle::join) {
                            std::panic::resume_unwind(panic);
                        }
                        drop(finished);
                        threads.push(thread);
                    }
                    Err(error) => {
                        tracing::error!(%error, "a thread for functions can't be started");
                        queue.ended.push(number);
                        self.held_back.wait_for(&mut queue, SPAWN_AGAIN);
                    }
                }
                continue;
            }
            queue.begin_on_idle(self.admission, self.threads_share);
            if queue.waiting() > 0 && !queue.idle.is_empty() {
                self.held_back.wait_for(&mut queue, self.admission.short_call_max);
            } else {
                queue.is_unwatched = true;
                self.held_back.wait(&mut queue);
                queue.is_unwatched = false;
            }
        }
        threads
    }

    /// Notes that a thread ends after its call, and that another one is to take its place.
    fn replace(&self, thread: usize) {
        let mut queue = self.queue.lock();
        queue.running.remove(&thread);
        queue.ended.push(thread);
        self.held_back.notify_one();
    }

    fn close(&self) {
        let mut queue = self.queue.lock();
        queue.closed = true;
        // Dropping the jobs tells their callers.
        queue.again.clear();
        queue.first.clear();
        queue.live.queue.clear();
        queue.steps.queue.clear();
        for idle in queue.idle.drain(..) {
            // A thread that is gone need not end.
            let _ = idle.sender.send(Message::End);
        }
        self.held_back.notify_one();
    }
}

impl ThreadPlace {
    /// Lets others run in the place of this thread's call, which is about to wait for one of them. `None` if too many calls
    /// wait so already.
    pub(crate) fn park(&self) -> Option<Parked> {
        let mut queue = self.shared.queue.lock();
        if queue.running.values().filter(|running| running.is_parked).count() >= self.shared.parked_max {
            return None;
        }
        // Within a share of its own, too, the call that is waited for must find a thread.
        let deployment = queue.running.get(&self.thread)?.deployment;
        let parked = |running: &&Running| running.is_parked && running.deployment == deployment;
        let own = queue.running.values().filter(parked).count();
        if queue.shares.most_of(deployment, queue.threads).is_some_and(|most| own + 1 >= most) {
            return None;
        }
        queue.running.get_mut(&self.thread)?.is_parked = true;
        queue.begin_on_idle(self.shared.admission, self.shared.threads_share);
        self.shared.watch(&mut queue);
        Some(Parked(self.clone()))
    }
}

impl Drop for Parked {
    fn drop(&mut self) {
        if let Some(running) = self.0.shared.queue.lock().running.get_mut(&self.0.thread) {
            running.is_parked = false;
        }
    }
}

fn run_thread(
    thread: usize,
    shared: &Shared,
    runtime: &tokio::runtime::Runtime,
    mut slots: Slots,
    slots_idle_max: Duration,
) {
    let (sender, letters) = mpsc::sync_channel(1);
    let mailbox = Mailbox { thread, sender };
    loop {
        let message = match shared.next(&mailbox) {
            Some(message) => message,
            None => match letters.recv_timeout(slots_idle_max) {
                Err(mpsc::RecvTimeoutError::Timeout) => {
                    slots.clear();
                    letters.recv().unwrap_or(Message::End)
                }
                letter => letter.unwrap_or(Message::End),
            },
        };
        let Message::Run(job) = message else { return };
        let work = isolate::begin_work();
        runtime.block_on((job.work)(&mut slots));
        drop(work);
        if isolate::has_lower_priority() {
            shared.replace(thread);
            return;
        }
    }
}

fn queue_is_full() -> Error {
    Error::overloaded("ExpiredInQueue", "Too many requests wait for an isolate. Try again later.")
}

fn shutting_down() -> Error {
    Error::overloaded("ShuttingDown", "The function runner is shutting down. Try again.")
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use contract::{DeploymentId, GroupId};

    use super::*;

    const DEPLOYMENT: DeploymentRef = DeploymentRef { group: GroupId(1), deployment: DeploymentId(1) };
    const NEIGHBOUR: DeploymentRef = DeploymentRef { group: GroupId(1), deployment: DeploymentId(2) };

    fn start(threads: usize, queue_max: usize, wait_max: Duration) -> Arc<Threads> {
        let admission = Admission { short_calls: threads, short_call_max: SHORT };
        let limits = ThreadLimits {
            threads,
            threads_share: threads,
            parked_max: 1,
            admission,
            queue_max,
            wait_max,
            slots_idle_max: PATIENCE,
        };
        Arc::new(Threads::start(limits, Shares::default(), || Slots::new(1)).expect("threads start"))
    }

    #[test]
    fn the_share_of_a_deployment_is_what_the_limit_says() {
        let share = |threads, deployment_threads_percent| {
            let limits = FunctionLimits { threads, deployment_threads_percent, ..FunctionLimits::DEFAULT };
            ThreadLimits::from(&limits).threads_share
        };
        assert_eq!([share(8, 75), share(8, 50), share(4, 100), share(2, 10)], [6, 4, 4, 1]);
    }

    const SHORT: Duration = Duration::from_millis(5);
    const PATIENCE: Duration = Duration::from_secs(60);

    #[tokio::test]
    async fn work_runs_and_answers() {
        let threads = start(2, 10, PATIENCE);
        assert_eq!(threads.run(DEPLOYMENT, Priority::First, async |_: &mut Slots| 7).await, Ok(7));
        threads.stop();
        assert!(threads.run(DEPLOYMENT, Priority::First, async |_: &mut Slots| 7).await.is_err());
    }

    /// Waits until so many calls wait for a thread.
    async fn wait_for(threads: &Threads, waiting: u64) {
        let wait = async {
            while threads.load().1 < waiting {
                tokio::task::yield_now().await;
            }
        };
        let waited = tokio::time::timeout(PATIENCE, wait).await;
        waited.unwrap_or_else(|_| panic!("{waiting} calls wait: {} do", threads.load().1));
    }

    /// Occupies every thread until the returned senders are dropped.
    async fn occupy(threads: &Arc<Threads>, count: usize) -> Vec<mpsc::Sender<()>> {
        let mut releases = Vec::new();
        for _ in 0..count {
            let (release, released) = mpsc::channel::<()>();
            let (entered, has_entered) = oneshot::channel();
            let threads = Arc::clone(threads);
            tokio::spawn(async move {
                let work = async move |_: &mut Slots| {
                    let _ = entered.send(());
                    let _ = released.recv();
                };
                threads.run(DEPLOYMENT, Priority::First, work).await
            });
            has_entered.await.expect("the work starts");
            releases.push(release);
        }
        releases
    }

    #[tokio::test]
    async fn a_full_queue_and_a_long_wait_are_told_apart() {
        let threads = start(1, 1, Duration::from_millis(50));
        let releases = occupy(&threads, 1).await;
        let waiting = {
            let threads = Arc::clone(&threads);
            tokio::spawn(
                async move { threads.run(DEPLOYMENT, Priority::First, async |_: &mut Slots| ()).await },
            )
        };
        wait_for(&threads, 1).await;
        let refused = threads
            .run(DEPLOYMENT, Priority::First, async |_: &mut Slots| ())
            .await
            .expect_err("the queue is full");
        assert_eq!(refused.code, "ExpiredInQueue");
        let expired = waiting.await.expect("no panic").expect_err("the thread stays busy");
        assert_eq!(expired.code, "TooManyConcurrentRequests");
        drop(releases);
        threads.stop();
    }

    #[tokio::test]
    async fn steps_of_actions_wait_behind_calls_with_a_share_and_none_is_refused() {
        let threads = start(1, 8, PATIENCE);
        let releases = occupy(&threads, 1).await;
        let order = Arc::new(Mutex::new(Vec::new()));
        let mut tasks = Vec::new();
        for number in 100..120 {
            let (pool, order) = (Arc::clone(&threads), Arc::clone(&order));
            let work = async move |_: &mut Slots| order.lock().push(number);
            tasks.push(tokio::spawn(async move { pool.step(DEPLOYMENT, work).await }));
            wait_for(&threads, tasks.len() as u64).await;
        }
        for number in 10..18 {
            let (pool, order) = (Arc::clone(&threads), Arc::clone(&order));
            let work = async move |_: &mut Slots| order.lock().push(number);
            tasks.push(tokio::spawn(async move { pool.run(DEPLOYMENT, Priority::First, work).await }));
            wait_for(&threads, tasks.len() as u64).await;
        }
        drop(releases);
        for task in tasks {
            task.await.expect("no panic").expect("it ran");
        }
        let calls_with_steps = [10, 11, 12, 100, 13, 14, 15, 101, 16, 17];
        assert_eq!(*order.lock(), calls_with_steps.into_iter().chain(102..120).collect::<Vec<_>>());
        threads.stop();
        assert!(threads.step(DEPLOYMENT, async |_: &mut Slots| ()).await.is_err());
    }

    #[tokio::test]
    async fn a_call_that_runs_again_overtakes_new_calls() {
        let threads = start(1, 10, PATIENCE);
        let releases = occupy(&threads, 1).await;
        let order = Arc::new(Mutex::new(Vec::new()));
        let mut tasks = Vec::new();
        for (number, priority) in [(1, Priority::First), (2, Priority::Again)] {
            let (pool, order) = (Arc::clone(&threads), Arc::clone(&order));
            tasks.push(tokio::spawn(async move {
                pool.run(DEPLOYMENT, priority, async move |_: &mut Slots| order.lock().push(number)).await
            }));
            wait_for(&threads, tasks.len() as u64).await;
        }
        drop(releases);
        for task in tasks {
            task.await.expect("no panic").expect("it ran");
        }
        assert_eq!(*order.lock(), [2, 1]);
        threads.stop();
    }

    #[tokio::test]
    async fn calls_go_before_live_queries_and_do_not_keep_them_waiting_for_ever() {
        let threads = start(1, 100, PATIENCE);
        let releases = occupy(&threads, 1).await;
        let order = Arc::new(Mutex::new(Vec::new()));
        let mut tasks = Vec::new();
        let live = (1..=3).map(|number| (number, Priority::Live));
        for (number, priority) in live.chain((10..18).map(|number| (number, Priority::First))) {
            let (pool, order) = (Arc::clone(&threads), Arc::clone(&order));
            tasks.push(tokio::spawn(async move {
                pool.run(DEPLOYMENT, priority, async move |_: &mut Slots| order.lock().push(number)).await
            }));
            wait_for(&threads, tasks.len() as u64).await;
        }
        drop(releases);
        for task in tasks {
            task.await.expect("no panic").expect("it ran");
        }
        assert_eq!(*order.lock(), [10, 11, 12, 1, 13, 14, 15, 2, 16, 17, 3]);
        threads.stop();
    }

    #[tokio::test]
    async fn others_run_in_the_place_of_a_call_that_waits_for_them() {
        let admission = Admission { short_calls: 1, short_call_max: PATIENCE };
        let limits = ThreadLimits {
            threads: 3,
            threads_share: 3,
            parked_max: 1,
            admission,
            queue_max: 10,
            wait_max: PATIENCE,
            slots_idle_max: PATIENCE,
        };
        let threads =
            Arc::new(Threads::start(limits, Shares::default(), || Slots::new(1)).expect("threads start"));
        let (parked, is_parked) = oneshot::channel();
        let (go_on, may_go_on) = oneshot::channel::<()>();
        let waiting = {
            let threads = Arc::clone(&threads);
            tokio::spawn(async move {
                let work = async move |slots: &mut Slots| {
                    let place = slots.place().park().expect("one may wait");
                    let _ = parked.send(());
                    let _ = may_go_on.await;
                    drop(place);
                };
                threads.run(DEPLOYMENT, Priority::First, work).await
            })
        };
        is_parked.await.expect("it waits");
        let work = async |slots: &mut Slots| slots.place().park().is_none();
        assert_eq!(
            threads.run(DEPLOYMENT, Priority::First, work).await,
            Ok(true),
            "no more than one wait so, for whom threads must be left"
        );
        go_on.send(()).expect("it waits");
        waiting.await.expect("no panic").expect("it ran");
        threads.stop();
    }

    #[tokio::test]
    async fn a_caller_that_goes_away_while_waiting_is_never_run() {
        let threads = start(1, 10, PATIENCE);
        let releases = occupy(&threads, 1).await;
        let runs = Arc::new(AtomicUsize::new(0));
        let waiting = {
            let (threads, runs) = (Arc::clone(&threads), Arc::clone(&runs));
            tokio::spawn(async move {
                let work = async move |_: &mut Slots| runs.fetch_add(1, Ordering::Relaxed);
                threads.run(DEPLOYMENT, Priority::First, work).await
            })
        };
        wait_for(&threads, 1).await;
        waiting.abort();
        assert!(waiting.await.is_err());
        drop(releases);
        threads.run(DEPLOYMENT, Priority::First, async |_: &mut Slots| ()).await.expect("the thread is free");
        assert_eq!(runs.load(Ordering::Relaxed), 0);
        threads.stop();
    }

    #[tokio::test]
    async fn a_short_call_waits_for_short_ones_and_not_for_long_ones() {
        let admission = Admission { short_calls: 2, short_call_max: SHORT };
        let limits = ThreadLimits {
            threads: 4,
            threads_share: 4,
            parked_max: 1,
            admission,
            queue_max: 10,
            wait_max: PATIENCE,
            slots_idle_max: PATIENCE,
        };
        let threads =
            Arc::new(Threads::start(limits, Shares::default(), || Slots::new(1)).expect("threads start"));
        let releases = occupy(&threads, 2).await;
        // Both calls are long by the time at which this one is taken.
        threads
            .run(DEPLOYMENT, Priority::First, async |_: &mut Slots| ())
            .await
            .expect("a third thread runs it");
        drop(releases);
        threads.stop();
    }

    #[test]
    fn as_many_short_calls_run_as_may_and_long_ones_beside_them() {
        let three = Admission { short_calls: 3, short_call_max: SHORT };
        let now = Instant::now() + SHORT * 10;
        let running = |long: usize, short: usize| {
            let began = vec![now - SHORT; long].into_iter().chain(vec![now - SHORT / 2; short]);
            {
                let running = |began| Running { deployment: DEPLOYMENT, began, is_parked: false };
                let running = began.enumerate().map(|(thread, began)| (thread, running(began)));
                Queue { running: running.collect(), ..Queue::default() }
            }
        };
        for (long, short, has_room) in [
            (0, 0, true),
            (0, 2, true),
            (0, 3, false),
            (1, 2, true),
            (5, 2, true),
            (5, 3, false),
            (3, 0, true),
        ] {
            assert_eq!(running(long, short).has_room(three, now), has_room, "{long} long, {short} short");
        }
    }

    #[test]
    fn a_thread_that_becomes_idle_beside_short_calls_is_used_once_they_are_long() {
        let work: Work = Box::new(|_| Box::pin(async {}));
        let job = Job { deployment: DEPLOYMENT, claim: Arc::new(Claim(AtomicU8::new(WAITING))), work };
        let running =
            [(0, Running { deployment: DEPLOYMENT, began: Instant::now(), is_parked: false })].into();
        let mut queue = Queue { running, ..Queue::default() };
        queue.first.push(DEPLOYMENT, job);
        let shared = Shared {
            admission: Admission { short_calls: 1, short_call_max: SHORT },
            threads_share: 2,
            parked_max: 1,
            queue: Mutex::new(queue),
            held_back: Condvar::new(),
        };
        let (sender, letters) = mpsc::sync_channel(1);
        std::thread::scope(|scope| {
            let spawn: Spawn = Box::new(|_| unreachable!("no thread ends"));
            let attending = &shared;
            scope.spawn(move || attending.attend(Vec::new(), &spawn));
            while !shared.queue.lock().is_unwatched {
                std::thread::yield_now();
            }
            let message = shared
                .next(&Mailbox { thread: 1, sender })
                .map_or_else(|| letters.recv_timeout(PATIENCE), Ok);
            shared.close();
            assert!(matches!(message, Ok(Message::Run(_))), "the call is run");
        });
    }

    #[tokio::test]
    async fn a_deployment_that_fills_the_queue_makes_room_for_its_neighbour() {
        let threads = start(1, 3, PATIENCE);
        let releases = occupy(&threads, 1).await;
        let order = Arc::new(Mutex::new(Vec::new()));
        let mut tasks = Vec::new();
        let submit = |deployment: DeploymentRef, number: usize| {
            let (pool, order) = (Arc::clone(&threads), Arc::clone(&order));
            tokio::spawn(async move {
                let work = async move |_: &mut Slots| order.lock().push(number);
                pool.run(deployment, Priority::First, work).await
            })
        };
        for number in 1..=3 {
            tasks.push(submit(DEPLOYMENT, number));
            wait_for(&threads, number as u64).await;
        }
        // The queue is full. The newest call of the deployment that fills it goes.
        let neighbour = submit(NEIGHBOUR, 10);
        let refused = tasks.pop().expect("three").await.expect("no panic").expect_err("there is no room");
        assert_eq!(refused.code, "ExpiredInQueue");
        drop(releases);
        neighbour.await.expect("no panic").expect("it ran");
        for task in tasks {
            task.await.expect("no panic").expect("it ran");
        }
        assert_eq!(*order.lock(), [1, 10, 2], "they take turns");
        threads.stop();
    }

    #[tokio::test]
    async fn a_deployment_that_computes_leaves_a_thread_to_its_neighbour() {
        let admission = Admission { short_calls: 4, short_call_max: SHORT };
        let limits = ThreadLimits {
            threads: 4,
            threads_share: 3,
            parked_max: 1,
            admission,
            queue_max: 10,
            wait_max: PATIENCE,
            slots_idle_max: PATIENCE,
        };
        let threads =
            Arc::new(Threads::start(limits, Shares::default(), || Slots::new(1)).expect("threads start"));
        let releases = occupy(&threads, 3).await;
        let more = {
            let threads = Arc::clone(&threads);
            tokio::spawn(
                async move { threads.run(DEPLOYMENT, Priority::First, async |_: &mut Slots| ()).await },
            )
        };
        wait_for(&threads, 1).await;
        threads.run(NEIGHBOUR, Priority::First, async |_: &mut Slots| ()).await.expect("a thread is left");
        assert_eq!(threads.load().1, 1, "the deployment has its share");
        drop(releases);
        more.await.expect("no panic").expect("it ran");
        threads.stop();
    }

    #[tokio::test]
    async fn another_thread_takes_the_place_of_one_whose_call_was_long() {
        // Its ticker lowers priorities.
        let _engine = isolate::Engine::new().expect("the engine");
        let threads = start(1, 10, PATIENCE);
        let compute = async |_: &mut Slots| {
            let end = Instant::now() + Duration::from_secs(60);
            while !isolate::has_lower_priority() && Instant::now() < end {
                std::hint::spin_loop();
            }
            isolate::has_lower_priority()
        };
        for _ in 0..3 {
            assert_eq!(threads.run(DEPLOYMENT, Priority::First, compute).await, Ok(true));
            let is_lower = async |_: &mut Slots| isolate::has_lower_priority();
            assert_eq!(threads.run(DEPLOYMENT, Priority::First, is_lower).await, Ok(false));
        }
        threads.stop();
    }

    #[tokio::test]
    async fn busy_threads_leave_the_others_free() {
        let threads = start(4, 10, PATIENCE);
        let releases = occupy(&threads, 3).await;
        for number in 0..20 {
            assert_eq!(
                threads.run(DEPLOYMENT, Priority::First, async move |_: &mut Slots| number).await,
                Ok(number)
            );
        }
        drop(releases);
        threads.stop();
    }
}
