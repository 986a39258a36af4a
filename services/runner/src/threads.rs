//! The threads that JavaScript runs on, and the queue in front of them.
//!
//! A thread runs one call tree at a time, from its admission to its end, nested calls included, so that a nested call
//! never waits for the queue in which its caller's competitors stand. There are more threads than cores: a few
//! functions that compute for seconds leave threads, and the operating system shares the cores out.
//!
//! The thread that became idle last is taken first, because its slots are warm.

use std::{
    collections::VecDeque,
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
        mpsc,
    },
    thread::JoinHandle,
    time::Duration,
};

use contract::{Error, ErrorKind};
use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::slots::Slots;

/// A function of the thread's slots whose future stays on the thread.
type Work = Box<dyn for<'s> FnOnce(&'s mut Slots) -> Pin<Box<dyn Future<Output = ()> + 's>> + Send>;

/// Which calls go first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Priority {
    /// Calls that ran before and lost a race: they are what others wait for.
    Again,
    First,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct ThreadLimits {
    pub threads: usize,
    pub queue_max: usize,
    pub wait_max: Duration,
}

/// The threads. Dropping it ends them after their current calls.
pub(crate) struct Threads {
    shared: Arc<Shared>,
    limits: ThreadLimits,
    handles: Mutex<Vec<JoinHandle<()>>>,
}

struct Shared {
    queue: Mutex<Queue>,
}

#[derive(Default)]
struct Queue {
    again: VecDeque<Job>,
    first: VecDeque<Job>,
    /// The mailboxes of the idle threads; the last one became idle last.
    idle: Vec<mpsc::SyncSender<Message>>,
    running: usize,
    closed: bool,
}

enum Message {
    Run(Job),
    End,
}

struct Job {
    claim: Arc<Claim>,
    work: Work,
}

/// Whether a job still waits, was started by a thread, or was taken back by its caller.
struct Claim(AtomicU8);

const WAITING: u8 = 0;
const STARTED: u8 = 1;
const WITHDRAWN: u8 = 2;

impl Claim {
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
        slots: impl Fn() -> Slots + Clone + Send + 'static,
    ) -> std::io::Result<Threads> {
        let shared = Arc::new(Shared { queue: Mutex::default() });
        let mut handles = Vec::with_capacity(limits.threads);
        for number in 0..limits.threads {
            let (shared, slots) = (Arc::clone(&shared), slots.clone());
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
            let thread = isolate::thread_builder(format!("isolate-{number}"))
                .spawn(move || run_thread(&shared, &runtime, slots()))?;
            handles.push(thread);
        }
        Ok(Threads { shared, limits, handles: Mutex::new(handles) })
    }

    /// Runs `work` on a thread. Fails without having run it if all threads stay busy (`TooManyConcurrentRequests`), if
    /// too many calls wait already (`ExpiredInQueue`), or if the runner is shutting down.
    pub(crate) async fn run<T, F>(&self, priority: Priority, work: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: AsyncFnOnce(&mut Slots) -> T + Send + 'static,
    {
        let (sender, mut receiver) = oneshot::channel();
        let claim = Arc::new(Claim(AtomicU8::new(WAITING)));
        let _withdraw = WithdrawOnDrop(Arc::clone(&claim));
        let work: Work = Box::new(move |slots| {
            Box::pin(async move {
                let result = work(slots).await;
                // The caller may have gone away; then nobody wants the result.
                let _ = sender.send(result);
                slots.tidy();
            })
        });
        let job = Job { claim: Arc::clone(&claim), work };
        let is_waiting = self.shared.submit(job, priority, self.limits.queue_max)?;
        if is_waiting {
            match tokio::time::timeout(self.limits.wait_max, &mut receiver).await {
                Ok(result) => return result.map_err(|_| shutting_down()),
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
        receiver.await.map_err(|_| shutting_down())
    }

    /// How many calls run, and how many wait.
    pub(crate) fn load(&self) -> (u64, u64) {
        let queue = self.shared.queue.lock();
        (queue.running as u64, (queue.again.len() + queue.first.len()) as u64)
    }

    /// Refuses new calls, ends the threads after the calls that they run, and waits for them. Blocks.
    pub(crate) fn stop(&self) {
        self.shared.close();
        for handle in self.handles.lock().drain(..) {
            if handle.join().is_err() {
                tracing::error!("an isolate thread panicked");
            }
        }
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        self.shared.close();
    }
}

impl Shared {
    /// Whether the job has to wait.
    fn submit(&self, job: Job, priority: Priority, queue_max: usize) -> Result<bool, Error> {
        let mut queue = self.queue.lock();
        if queue.closed {
            return Err(shutting_down());
        }
        if let Some(idle) = queue.idle.pop() {
            job.claim.take(STARTED);
            queue.running += 1;
            // An idle thread waits for its mailbox, which is empty, so this neither fails nor blocks.
            return idle.send(Message::Run(job)).map(|()| false).map_err(|_| shutting_down());
        }
        if queue.again.len() + queue.first.len() >= queue_max {
            // Jobs whose callers went away must not keep others out.
            let is_wanted = |job: &Job| job.claim.0.load(Ordering::Acquire) == WAITING;
            queue.again.retain(is_wanted);
            queue.first.retain(is_wanted);
            if queue.again.len() + queue.first.len() >= queue_max {
                return Err(Error::overloaded(
                    "ExpiredInQueue",
                    "Too many requests wait for an isolate. Try again later.",
                ));
            }
        }
        match priority {
            Priority::Again => queue.again.push_back(job),
            Priority::First => queue.first.push_back(job),
        }
        Ok(true)
    }

    /// What waits for a thread, or `None` after the thread's mailbox was entered as idle.
    fn next(&self, mailbox: &mpsc::SyncSender<Message>) -> Option<Message> {
        let mut queue = self.queue.lock();
        loop {
            if queue.closed {
                return Some(Message::End);
            }
            let Some(job) = queue.again.pop_front().or_else(|| queue.first.pop_front()) else {
                queue.idle.push(mailbox.clone());
                return None;
            };
            if job.claim.take(STARTED) {
                queue.running += 1;
                return Some(Message::Run(job));
            }
        }
    }

    fn close(&self) {
        let mut queue = self.queue.lock();
        queue.closed = true;
        // Dropping the jobs tells their callers.
        queue.again.clear();
        queue.first.clear();
        for idle in queue.idle.drain(..) {
            // A thread that is gone need not end.
            let _ = idle.send(Message::End);
        }
    }
}

fn run_thread(shared: &Shared, runtime: &tokio::runtime::Runtime, mut slots: Slots) {
    let (sender, mailbox) = mpsc::sync_channel(1);
    loop {
        let message = match shared.next(&sender) {
            Some(message) => message,
            None => mailbox.recv().unwrap_or(Message::End),
        };
        let Message::Run(job) = message else { return };
        // A defect in one call must not cost a thread, or the pool would dry out; the caller gets an error, because
        // the sender of its answer is dropped.
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            runtime.block_on((job.work)(&mut slots));
        }));
        if outcome.is_err() {
            tracing::error!("a call panicked; its isolates are discarded");
            slots.clear();
        }
        shared.queue.lock().running -= 1;
    }
}

fn shutting_down() -> Error {
    Error::overloaded("ShuttingDown", "The function runner is shutting down. Try again.")
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;

    fn start(threads: usize, queue_max: usize, wait_max: Duration) -> Arc<Threads> {
        let limits = ThreadLimits { threads, queue_max, wait_max };
        Arc::new(Threads::start(limits, || Slots::new(1)).expect("threads start"))
    }

    const LONG: Duration = Duration::from_secs(60);

    #[tokio::test]
    async fn work_runs_and_answers() {
        let threads = start(2, 10, LONG);
        assert_eq!(threads.run(Priority::First, async |_: &mut Slots| 7).await, Ok(7));
        threads.stop();
        assert!(threads.run(Priority::First, async |_: &mut Slots| 7).await.is_err());
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
                threads.run(Priority::First, work).await
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
            tokio::spawn(async move { threads.run(Priority::First, async |_: &mut Slots| ()).await })
        };
        while threads.load().1 == 0 {
            tokio::task::yield_now().await;
        }
        let refused =
            threads.run(Priority::First, async |_: &mut Slots| ()).await.expect_err("the queue is full");
        assert_eq!(refused.code, "ExpiredInQueue");
        let expired = waiting.await.expect("no panic").expect_err("the thread stays busy");
        assert_eq!(expired.code, "TooManyConcurrentRequests");
        drop(releases);
        threads.stop();
    }

    #[tokio::test]
    async fn a_call_that_runs_again_overtakes_new_calls() {
        let threads = start(1, 10, LONG);
        let releases = occupy(&threads, 1).await;
        let order = Arc::new(Mutex::new(Vec::new()));
        let mut tasks = Vec::new();
        for (number, priority) in [(1, Priority::First), (2, Priority::Again)] {
            let (pool, order) = (Arc::clone(&threads), Arc::clone(&order));
            tasks.push(tokio::spawn(async move {
                pool.run(priority, async move |_: &mut Slots| order.lock().push(number)).await
            }));
            while threads.load().1 < tasks.len() as u64 {
                tokio::task::yield_now().await;
            }
        }
        drop(releases);
        for task in tasks {
            task.await.expect("no panic").expect("it ran");
        }
        assert_eq!(*order.lock(), [2, 1]);
        threads.stop();
    }

    #[tokio::test]
    async fn a_caller_that_goes_away_while_waiting_is_never_run() {
        let threads = start(1, 10, LONG);
        let releases = occupy(&threads, 1).await;
        let runs = Arc::new(AtomicUsize::new(0));
        let waiting = {
            let (threads, runs) = (Arc::clone(&threads), Arc::clone(&runs));
            tokio::spawn(async move {
                let work = async move |_: &mut Slots| runs.fetch_add(1, Ordering::Relaxed);
                threads.run(Priority::First, work).await
            })
        };
        while threads.load().1 == 0 {
            tokio::task::yield_now().await;
        }
        waiting.abort();
        assert!(waiting.await.is_err());
        drop(releases);
        threads.run(Priority::First, async |_: &mut Slots| ()).await.expect("the thread is free");
        assert_eq!(runs.load(Ordering::Relaxed), 0);
        threads.stop();
    }

    #[tokio::test]
    async fn a_panic_costs_one_call_and_no_thread() {
        let threads = start(1, 10, LONG);
        let work = async |_: &mut Slots| panic!("a defect, on purpose");
        assert!(threads.run::<(), _>(Priority::First, work).await.is_err());
        assert_eq!(threads.run(Priority::First, async |_: &mut Slots| 1).await, Ok(1));
        threads.stop();
    }

    #[tokio::test]
    async fn busy_threads_leave_the_others_free() {
        let threads = start(4, 10, LONG);
        let releases = occupy(&threads, 3).await;
        for number in 0..20 {
            assert_eq!(threads.run(Priority::First, async move |_: &mut Slots| number).await, Ok(number));
        }
        drop(releases);
        threads.stop();
    }
}
