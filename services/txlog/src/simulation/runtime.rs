//! Tasks, time and chance of a simulation: one thread, and one seed that decides everything.
//!
//! Which of the tasks that can go on does so next is drawn. Every step takes a little time; when no task can go on, time
//! leaps to the next moment for which somebody waits. So runs of one seed are the same, and those of different seeds try
//! different orders.
//!
//! Because the next task is drawn from *all* that can go on, it does not matter in which order they were woken. That is as
//! it must be: tokio's watch channels wake their receivers in an order of their own, drawn from a seed that nobody can set
//! (`select!` draws from it as well, which is why what is simulated says `biased`).
//!
//! Each task has an owner, as a process has threads. An owner can be paused, and killed with all its tasks at any moment.
//!
//! Outside of a simulation all of this is tokio's: other tests of this crate run on it.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    fmt,
    hash::{DefaultHasher, Hash, Hasher},
    io,
    ops::{Add, AddAssign, Sub, SubAssign},
    panic::AssertUnwindSafe,
    pin::Pin,
    sync::{
        Arc, LazyLock,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
    time::Duration,
};

use futures::{FutureExt, future::BoxFuture};
use openraft::{AsyncRuntime, OptionalSend, impls::TokioRuntime};
use parking_lot::Mutex;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tokio::sync::oneshot;

/// What a step takes at most.
const STEP_NS_MAX: u64 = 4_000;
/// Nobody's tasks go on for so many steps.
const STEPS_MAX: u64 = 20_000_000;
/// What work that blocks takes at most.
const BLOCKED_US_MAX: u64 = 3_000;

/// As a process: what goes together when it is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Owner(u64);

impl Owner {
    /// The one that holds everything in its hand.
    pub const WORLD: Owner = Owner(0);
}

struct Simulation {
    state: Mutex<State>,
    /// Tasks that can go on, in the order of their numbers, each once.
    woken: Arc<Mutex<Vec<Arc<Task>>>>,
    /// Whether to print what is noted.
    tells: bool,
}

struct State {
    now: Duration,
    random: ChaCha8Rng,
    tasks: BTreeMap<u64, Arc<Task>>,
    timers: BTreeMap<Timer, Waker>,
    /// Of tasks, timers and owners.
    next_number: u64,
    /// Whose task is at it.
    running: Owner,
    /// Those that stand still, and their tasks that could go on otherwise.
    paused: BTreeMap<Owner, Vec<Arc<Task>>>,
    killed: BTreeSet<Owner>,
    trace: DefaultHasher,
}

/// A task, and what wakes it.
struct Task {
    number: u64,
    owner: Owner,
    /// It is among those that can go on, or would be if its owner did not stand still.
    is_woken: AtomicBool,
    /// Out while it is at it, and once it has ended.
    future: Mutex<Option<BoxFuture<'static, ()>>>,
    woken: Arc<Mutex<Vec<Arc<Task>>>>,
}

/// When it goes off, and a number, so that no two are the same.
type Timer = (Duration, u64);

impl Wake for Task {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.is_woken.swap(true, Ordering::Relaxed) {
            self.go_on();
        }
    }
}

impl Task {
    fn go_on(self: &Arc<Self>) {
        let mut woken = self.woken.lock();
        let at = woken.partition_point(|task| task.number < self.number);
        woken.insert(at, self.clone());
    }
}

/// The end of a process by its own hand; see [`end`].
struct Ended;

thread_local! {
    static CURRENT: RefCell<Option<Arc<Simulation>>> = const { RefCell::new(None) };
}

fn current() -> Option<Arc<Simulation>> {
    CURRENT.with_borrow(Clone::clone)
}

/// Whether this thread runs a simulation.
pub fn is_simulated() -> bool {
    CURRENT.with_borrow(Option::is_some)
}

fn here() -> Arc<Simulation> {
    current().expect("only in a simulation")
}

/// Changes the state, for which nothing else may be asked meanwhile.
fn with_state<T>(change: impl FnOnce(&mut State) -> T) -> T {
    CURRENT.with_borrow(|current| {
        let simulation = current.as_ref().expect("only in a simulation");
        change(&mut simulation.state.lock())
    })
}

/// Runs a world until it ends; what it returned, and a hash of everything that was done, and when.
pub fn run<T: Send + 'static>(seed: u64, world: impl Future<Output = T> + Send + 'static) -> (T, u64) {
    struct Leave;
    impl Drop for Leave {
        fn drop(&mut self) {
            CURRENT.with(|current| current.borrow_mut().take());
        }
    }
    let state = State {
        now: Duration::ZERO,
        random: ChaCha8Rng::seed_from_u64(seed),
        tasks: BTreeMap::new(),
        timers: BTreeMap::new(),
        next_number: 1,
        running: Owner::WORLD,
        paused: BTreeMap::new(),
        killed: BTreeSet::new(),
        trace: DefaultHasher::new(),
    };
    let tells = std::env::var_os("SIMULATION_LOG").is_some();
    let simulation = Arc::new(Simulation { state: Mutex::new(state), woken: Arc::default(), tells });
    CURRENT.with(|current| *current.borrow_mut() = Some(simulation.clone()));
    let leave = Leave;
    let result = Arc::new(Mutex::new(None));
    let to = result.clone();
    let task = async move {
        let ended = world.await;
        *to.lock() = Some(ended);
    };
    simulation.spawn(Owner::WORLD, Box::pin(task));
    let mut steps = 0;
    let ended = loop {
        if let Some(ended) = result.lock().take() {
            break ended;
        }
        simulation.step();
        steps += 1;
        assert!(steps < STEPS_MAX, "it takes more than {STEPS_MAX} steps");
    };
    simulation.drop_tasks(|_| true);
    drop(leave);
    let trace = simulation.state.lock().trace.finish();
    (ended, trace)
}

impl Simulation {
    fn spawn(&self, owner: Owner, future: BoxFuture<'static, ()>) {
        let task = {
            let mut state = self.state.lock();
            if state.killed.contains(&owner) {
                drop(state);
                drop(future);
                return;
            }
            let number = state.number();
            let (is_woken, future) = (AtomicBool::new(true), Mutex::new(Some(future)));
            let task = Arc::new(Task { number, owner, is_woken, future, woken: self.woken.clone() });
            state.tasks.insert(number, task.clone());
            task
        };
        task.go_on();
    }

    /// Lets one task go on, or time.
    fn step(&self) {
        self.ring();
        let Some((task, mut future)) = self.draw() else { return self.leap() };
        let waker = Waker::from(task.clone());
        let mut context = Context::from_waker(&waker);
        let polled =
            std::panic::catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(&mut context).is_ready()));
        let mut state = self.state.lock();
        state.running = Owner::WORLD;
        match polled {
            Ok(false) if state.tasks.contains_key(&task.number) => *task.future.lock() = Some(future),
            // It has ended, or was killed by what it did. What it held may do something when it is dropped.
            Ok(_) => {
                state.tasks.remove(&task.number);
                drop(state);
                drop(future);
            }
            Err(panic) if panic.is::<Ended>() => {
                drop(state);
                drop(future);
                kill(task.owner);
            }
            Err(panic) => {
                drop(state);
                std::panic::resume_unwind(panic)
            }
        }
    }

    /// A task that can go on, with what it does.
    fn draw(&self) -> Option<(Arc<Task>, BoxFuture<'static, ()>)> {
        let mut woken = self.woken.lock();
        let mut state = self.state.lock();
        let State { now, random, running, paused, trace, .. } = &mut *state;
        let (task, future) = loop {
            if woken.is_empty() {
                return None;
            }
            let at = random.random_range(0..woken.len());
            let task = woken.remove(at);
            if let Some(stopped) = paused.get_mut(&task.owner) {
                stopped.push(task);
                continue;
            }
            let future = task.future.lock().take();
            if let Some(future) = future {
                break (task, future);
            }
        };
        task.is_woken.store(false, Ordering::Relaxed);
        *now += Duration::from_nanos(random.random_range(1..=STEP_NS_MAX));
        *running = task.owner;
        (task.number, *now).hash(trace);
        Some((task, future))
    }

    /// Wakes whoever waited until now.
    fn ring(&self) {
        loop {
            let waker = {
                let mut state = self.state.lock();
                let now = state.now;
                match state.timers.first_entry() {
                    Some(timer) if timer.key().0 <= now => timer.remove(),
                    _ => return,
                }
            };
            waker.wake();
        }
    }

    fn leap(&self) {
        let mut state = self.state.lock();
        let next = state.timers.first_key_value().map(|((at, _), _)| *at);
        let next = next.expect("everybody waits for somebody, and nobody for the time");
        state.now = state.now.max(next);
    }

    /// What is dropped may wake others, and spawn.
    fn drop_tasks(&self, which: impl Fn(Owner) -> bool) {
        loop {
            let gone: Vec<Arc<Task>> = self
                .state
                .lock()
                .tasks
                .extract_if(.., |_, task| which(task.owner))
                .map(|(_, task)| task)
                .collect();
            if gone.is_empty() {
                return;
            }
            for task in gone {
                let future = task.future.lock().take();
                drop(future);
            }
        }
    }
}

/// Wakers hold tasks, and tasks wakers: one of both must go first, after a panic as well.
impl Drop for Simulation {
    fn drop(&mut self) {
        for (_, task) in std::mem::take(&mut self.state.get_mut().tasks) {
            let future = task.future.lock().take();
            drop(future);
        }
        self.woken.lock().clear();
    }
}

impl State {
    fn number(&mut self) -> u64 {
        self.next_number += 1;
        self.next_number
    }
}

/// An owner that has no tasks yet.
pub fn owner() -> Owner {
    Owner(with_state(State::number))
}

/// As `kill -9`: its tasks are gone, in the middle of what they did.
pub fn kill(owner: Owner) {
    let simulation = here();
    {
        let mut state = simulation.state.lock();
        state.killed.insert(owner);
        state.paused.remove(&owner);
    }
    simulation.drop_tasks(|of| of == owner);
}

/// As a process that ends itself: nothing of its owner goes on, this included.
pub fn end() -> ! {
    std::panic::resume_unwind(Box::new(Ended))
}

pub fn is_alive(owner: Owner) -> bool {
    with_state(|state| !state.killed.contains(&owner))
}

/// As SIGSTOP: its tasks stand still, and the world goes on.
pub fn pause(owner: Owner) {
    with_state(|state| {
        state.paused.entry(owner).or_default();
    });
}

pub fn go_on(owner: Owner) {
    for task in with_state(|state| state.paused.remove(&owner)).unwrap_or_default() {
        task.go_on();
    }
}

/// Draws something.
pub fn random<T>(draw: impl FnOnce(&mut ChaCha8Rng) -> T) -> T {
    with_state(|state| draw(&mut state.random))
}

/// Whether something happens that does so in so many of a thousand cases.
pub fn happens(permille: u32) -> bool {
    random(|random| random.random_range(0..1_000) < permille)
}

/// Up to this duration.
pub fn up_to(duration: Duration) -> Duration {
    let ns = u64::try_from(duration.as_nanos()).expect("a short while");
    Duration::from_nanos(random(|random| random.random_range(0..=ns)))
}

/// Puts something into the trace, and on stderr where SIMULATION_LOG is set.
pub fn note(what: fmt::Arguments<'_>) {
    let simulation = here();
    let text = what.to_string();
    let mut state = simulation.state.lock();
    text.hash(&mut state.trace);
    if simulation.tells {
        eprintln!("{:>10.6} {text}", state.now.as_secs_f64());
    }
}

/// Since the simulation began; outside of one, since the process did something here.
pub fn time() -> Duration {
    CURRENT.with_borrow(|current| match current {
        Some(simulation) => simulation.state.lock().now,
        None => STARTED.elapsed(),
    })
}

static STARTED: LazyLock<tokio::time::Instant> = LazyLock::new(tokio::time::Instant::now);

/// What [`Instant`]s begin with, so that one can go back from the first.
const BEFORE: Duration = Duration::from_secs(1_000_000);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Instant(Duration);

impl Instant {
    pub fn now() -> Instant {
        Instant(BEFORE + time())
    }

    pub fn elapsed(&self) -> Duration {
        Instant::now() - *self
    }
}

impl openraft::Instant for Instant {
    fn now() -> Instant {
        Instant::now()
    }
}

impl Add<Duration> for Instant {
    type Output = Instant;

    fn add(self, later: Duration) -> Instant {
        Instant(self.0 + later)
    }
}

impl AddAssign<Duration> for Instant {
    fn add_assign(&mut self, later: Duration) {
        self.0 += later;
    }
}

impl Sub<Duration> for Instant {
    type Output = Instant;

    fn sub(self, earlier: Duration) -> Instant {
        Instant(self.0.saturating_sub(earlier))
    }
}

impl Sub for Instant {
    type Output = Duration;

    fn sub(self, other: Instant) -> Duration {
        self.0.saturating_sub(other.0)
    }
}

impl SubAssign<Duration> for Instant {
    fn sub_assign(&mut self, earlier: Duration) {
        *self = *self - earlier;
    }
}

/// Waits.
pub struct Sleep(SleepOf);

enum SleepOf {
    Simulation {
        until: Duration,
        /// And whom it wakes, once somebody waits.
        timer: Option<(Timer, Waker)>,
    },
    Tokio(Pin<Box<tokio::time::Sleep>>),
}

pub fn sleep(duration: Duration) -> Sleep {
    sleep_until(Instant::now() + duration)
}

pub fn sleep_until(instant: Instant) -> Sleep {
    let until = instant.0.saturating_sub(BEFORE);
    Sleep(match is_simulated() {
        true => SleepOf::Simulation { until, timer: None },
        false => SleepOf::Tokio(Box::pin(tokio::time::sleep_until(*STARTED + until))),
    })
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        match &mut self.0 {
            SleepOf::Tokio(sleep) => sleep.as_mut().poll(context),
            SleepOf::Simulation { until, timer } => with_state(|state| {
                if state.now >= *until {
                    return Poll::Ready(());
                }
                let waker = context.waker();
                if timer.as_ref().is_none_or(|(_, before)| !before.will_wake(waker)) {
                    let of = timer.as_ref().map_or_else(|| (*until, state.number()), |(timer, _)| *timer);
                    *timer = Some((of, waker.clone()));
                    state.timers.insert(of, waker.clone());
                }
                Poll::Pending
            }),
        }
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let SleepOf::Simulation { timer: Some((timer, _)), .. } = &self.0 {
            // Once the simulation has ended there is nothing to take away.
            CURRENT.with_borrow(|current| {
                if let Some(simulation) = current {
                    simulation.state.lock().timers.remove(timer);
                }
            });
        }
    }
}

/// Waits for a future, and no longer than for a time.
pub struct Timeout<F> {
    future: Pin<Box<F>>,
    sleep: Sleep,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Elapsed;

impl std::error::Error for Elapsed {}

impl fmt::Display for Elapsed {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("the time is over")
    }
}

pub fn timeout<F: Future>(duration: Duration, future: F) -> Timeout<F> {
    Timeout { future: Box::pin(future), sleep: sleep(duration) }
}

impl<F: Future> Future for Timeout<F> {
    type Output = Result<F::Output, Elapsed>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if let Poll::Ready(done) = self.future.as_mut().poll(context) {
            return Poll::Ready(Ok(done));
        }
        Pin::new(&mut self.sleep).poll(context).map(|()| Err(Elapsed))
    }
}

/// Waits for a task's result.
pub enum JoinHandle<T> {
    Simulation(oneshot::Receiver<T>),
    Tokio(tokio::task::JoinHandle<T>),
}

#[derive(Debug)]
pub enum JoinError {
    /// It was killed.
    Killed,
    Tokio(tokio::task::JoinError),
}

impl fmt::Display for JoinError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            JoinError::Killed => formatter.write_str("it was killed"),
            JoinError::Tokio(error) => error.fmt(formatter),
        }
    }
}

impl<T> Future for JoinHandle<T> {
    type Output = Result<T, JoinError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut *self {
            JoinHandle::Simulation(result) => Pin::new(result).poll(context).map_err(|_| JoinError::Killed),
            JoinHandle::Tokio(handle) => Pin::new(handle).poll(context).map_err(JoinError::Tokio),
        }
    }
}

/// A task of whoever's task this is.
pub fn spawn<F>(future: F) -> JoinHandle<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    match current() {
        Some(simulation) => {
            let owner = simulation.state.lock().running;
            spawn_for(owner, future)
        }
        None => JoinHandle::Tokio(tokio::spawn(future)),
    }
}

/// A task of this owner. If that was killed it does nothing.
pub fn spawn_for<F>(owner: Owner, future: F) -> JoinHandle<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    let (result, done) = oneshot::channel();
    let task = future.map(|output| {
        // Whoever waited may have gone.
        let _ = result.send(output);
    });
    here().spawn(owner, Box::pin(task));
    JoinHandle::Simulation(done)
}

/// Work that blocks: it takes a while, and happens all at once.
pub fn spawn_blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
    match current() {
        Some(_) => spawn(async move {
            sleep(up_to(Duration::from_micros(BLOCKED_US_MAX))).await;
            work()
        }),
        None => JoinHandle::Tokio(tokio::task::spawn_blocking(work)),
    }
}

/// The runtime of the consensus library.
#[derive(Debug)]
pub struct SimulatedRuntime(TokioRuntime);

impl AsyncRuntime for SimulatedRuntime {
    type JoinError = JoinError;
    type JoinHandle<T: OptionalSend + 'static> = JoinHandle<T>;
    type Sleep = Sleep;
    type Instant = Instant;
    type TimeoutError = Elapsed;
    type Timeout<R, T: Future<Output = R> + OptionalSend> = Timeout<T>;
    type ThreadLocalRng = ChaCha8Rng;
    type Mpsc = <TokioRuntime as AsyncRuntime>::Mpsc;
    type Watch = <TokioRuntime as AsyncRuntime>::Watch;
    type Oneshot = <TokioRuntime as AsyncRuntime>::Oneshot;
    type Mutex<T: OptionalSend + 'static> = <TokioRuntime as AsyncRuntime>::Mutex<T>;

    fn spawn<T>(future: T) -> JoinHandle<T::Output>
    where
        T: Future + OptionalSend + 'static,
        T::Output: OptionalSend + 'static,
    {
        spawn(future)
    }

    fn sleep(duration: Duration) -> Sleep {
        sleep(duration)
    }

    fn sleep_until(deadline: Instant) -> Sleep {
        sleep_until(deadline)
    }

    fn timeout<R, F: Future<Output = R> + OptionalSend>(duration: Duration, future: F) -> Timeout<F> {
        timeout(duration, future)
    }

    fn timeout_at<R, F: Future<Output = R> + OptionalSend>(deadline: Instant, future: F) -> Timeout<F> {
        Timeout { future: Box::pin(future), sleep: sleep_until(deadline) }
    }

    fn is_panic(error: &JoinError) -> bool {
        matches!(error, JoinError::Tokio(error) if error.is_panic())
    }

    fn thread_rng() -> ChaCha8Rng {
        ChaCha8Rng::seed_from_u64(match current() {
            Some(simulation) => simulation.state.lock().random.random(),
            None => rand::random(),
        })
    }

    fn new(threads: usize) -> SimulatedRuntime {
        SimulatedRuntime(TokioRuntime::new(threads))
    }

    fn block_on<F: Future<Output = T>, T>(&mut self, future: F) -> T {
        self.0.block_on(future)
    }

    fn spawn_blocking<F, T>(work: F) -> impl Future<Output = Result<T, io::Error>> + Send
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        let done = spawn_blocking(work);
        async move { done.await.map_err(|error| io::Error::other(error.to_string())) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Three tasks that take turns as chance has it, and one that is killed; what they did.
    fn lived(seed: u64) -> (Vec<u32>, u64) {
        run(seed, async {
            let done = Arc::new(Mutex::new(Vec::new()));
            let mortal = owner();
            let tasks: Vec<_> = (0..3)
                .map(|number| {
                    let done = done.clone();
                    spawn(async move {
                        for _ in 0..5 {
                            sleep(up_to(Duration::from_millis(2))).await;
                            done.lock().push(number);
                        }
                    })
                })
                .collect();
            let endless = spawn_for(mortal, async {
                spawn(std::future::pending::<()>()).await.expect("it is killed before");
            });
            for task in tasks {
                task.await.expect("it lives");
            }
            kill(mortal);
            assert!(endless.await.is_err() && !is_alive(mortal));
            assert!(timeout(Duration::from_secs(3_600), std::future::pending::<()>()).await.is_err());
            assert!(time() > Duration::from_secs(3_600), "an hour takes no time");
            done.lock().clone()
        })
    }

    #[test]
    fn a_seed_is_lived_in_the_same_way_again_and_another_seed_in_another() {
        assert_eq!(lived(1), lived(1));
        assert_ne!(lived(1).0, lived(2).0);
    }

    #[test]
    #[should_panic(expected = "nobody for the time")]
    fn a_world_that_waits_for_nothing_ends() {
        run(1, std::future::pending::<()>());
    }

    #[test]
    fn a_process_that_ends_itself_takes_its_tasks_along_and_nobody_elses() {
        let (lived, _) = run(1, async {
            let mortal = owner();
            let beside = spawn_for(mortal, std::future::pending::<()>());
            let ended: JoinHandle<()> = spawn_for(mortal, async { end() });
            (ended.await.is_err(), beside.await.is_err())
        });
        assert_eq!(lived, (true, true));
    }
}
