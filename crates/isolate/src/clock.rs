//! Measures and limits the processor time of guests.
//!
//! A guest's time is the processor time of its thread, so a loaded machine does not shorten it. A guest that is over
//! its time is stopped by taking the page from it that its polls write to ([`Reservation::stop`]).
//!
//! **Why no other run is ever stopped.** Each thread has one place, behind a lock, that holds the stay which is under
//! way on it. The ticker stops only what it finds in such a place, and holds the lock meanwhile. The end of a stay
//! takes it out of its place, under the lock; whatever the ticker has done to its memory by then is undone after that,
//! when the ticker can no longer see the memory. So after a stay its memory can run, and
//! nobody is left who could change that.
//!
//! The ticker also lowers the priority of a thread whose work has taken long, so that those who compute for seconds take
//! the processor from short calls only where nobody else wants it. Raising it again would need a right that a server does
//! not have, so who gives work to such a thread puts another one in its place ([`has_lower_priority`]).

use std::cell::Cell;
use std::io;
use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::memory::Reservation;

/// How often the ticker looks at what runs, and so how late a guest may be stopped.
const TICK: Duration = Duration::from_millis(5);

/// A stay that took less than this is charged what the wall's clock says.
///
/// Reading a thread's processor time is a system call, which costs as much as a tenth of a short stay; the wall's
/// clock needs none. A thread that lost its processor has lost it for longer than this, as a rule.
const LONG: Duration = Duration::from_millis(1);

/// All threads that have run guests.
static THREADS: Mutex<Vec<Arc<Thread>>> = Mutex::new(Vec::new());

thread_local! {
    static THIS_THREAD: ThisThread<Real> = ThisThread::register();
}

/// A thread as the ticker sees it.
struct Thread {
    /// By which the system knows it; valid while the thread lives.
    id: libc::pid_t,
    /// Of its processor time; valid while the thread lives.
    clock: libc::clockid_t,
    stay: Mutex<Option<Stay>>,
    /// The processor time, in nanoseconds, at which its work began; [`AT_REST`] while it has none.
    work_began_ns: AtomicU64,
    has_lower_priority: AtomicBool,
}

const AT_REST: u64 = u64::MAX;

/// What becomes of threads whose work takes long.
#[derive(Clone, Copy, Debug)]
pub struct LongWork {
    /// The processor time from which on work is long.
    pub begins_after: Duration,
    /// By how much the thread's niceness is raised then.
    pub niceness: u8,
}

/// A guest's run, from entering it to leaving it.
struct Stay {
    start: Start,
    /// What it may take.
    left: Duration,
    memory: Arc<Reservation>,
    is_stopped: bool,
}

/// When a stay began.
#[derive(Clone, Copy)]
struct Start {
    wall: Instant,
    /// The thread's processor time then, or up to [`LONG`] earlier.
    thread: Duration,
}

/// What tells a thread the time.
trait Clocks {
    fn wall(&self) -> Instant;
    /// The processor time that the thread has used.
    fn processor(&self) -> Duration;
}

/// The machine's.
struct Real(libc::clockid_t);

impl Clocks for Real {
    fn wall(&self) -> Instant {
        Instant::now()
    }

    fn processor(&self) -> Duration {
        processor_time(self.0)
    }
}

/// A thread as it sees itself.
struct ThisThread<C> {
    shared: Arc<Thread>,
    clocks: C,
    /// The last reading of both clocks.
    seen: Cell<Start>,
}

impl ThisThread<Real> {
    fn register() -> ThisThread<Real> {
        let mut clock = 0;
        // SAFETY: the call fills the number that it is given.
        let status = unsafe { libc::pthread_getcpuclockid(libc::pthread_self(), &mut clock) };
        assert_eq!(status, 0, "Linux has a clock for each thread");
        // SAFETY: the call reads a number of this thread.
        let id = unsafe { libc::gettid() };
        let this = ThisThread::new(id, clock, Real(clock));
        THREADS.lock().push(Arc::clone(&this.shared));
        this
    }
}

impl<C: Clocks> ThisThread<C> {
    fn new(id: libc::pid_t, clock: libc::clockid_t, clocks: C) -> ThisThread<C> {
        let seen = Cell::new(Start { wall: clocks.wall(), thread: clocks.processor() });
        let shared = Thread {
            id,
            clock,
            stay: Mutex::new(None),
            work_began_ns: AtomicU64::new(AT_REST),
            has_lower_priority: AtomicBool::new(false),
        };
        ThisThread { shared: Arc::new(shared), clocks, seen }
    }

    /// Reads the processor time.
    fn look(&self, wall: Instant) -> Start {
        let start = Start { wall, thread: self.clocks.processor() };
        self.seen.set(start);
        start
    }

    /// The begin of a stay: at `now`, with the last reading of the processor time if that is young enough.
    fn start(&self, now: Instant) -> Start {
        let seen = self.seen.get();
        if now.saturating_duration_since(seen.wall) < LONG {
            return Start { wall: now, thread: seen.thread };
        }
        self.look(now)
    }

    /// Begins a stay. Returns the one that waits for its end, if there is one.
    fn enter(&self, memory: &Arc<Reservation>, left: Duration) -> Option<Stay> {
        let now = self.clocks.wall();
        let mut place = self.shared.stay.lock();
        let start = if place.is_some() { self.look(now) } else { self.start(now) };
        place.replace(Stay { start, left, memory: Arc::clone(memory), is_stopped: false })
    }

    /// Ends the stay that is under way; `outer` goes on.
    fn leave(&self, outer: Option<Stay>) -> Left {
        let mut place = self.shared.stay.lock();
        let stay = place.take().expect("each stay takes out what it put in");
        let now = self.clocks.wall();
        let wall = now.saturating_duration_since(stay.start.wall);
        let used = if wall < LONG && outer.is_none() {
            wall
        } else {
            self.look(now).thread.saturating_sub(stay.start.thread).min(wall)
        };
        *place = outer.map(|mut outer| {
            outer.start.wall += wall;
            outer.start.thread += used;
            outer
        });
        drop(place);
        let can_run = if stay.is_stopped { stay.memory.let_run() } else { Ok(()) };
        Left { used, was_stopped: stay.is_stopped, can_run }
    }
}

impl<C> Drop for ThisThread<C> {
    fn drop(&mut self) {
        THREADS.lock().retain(|thread| !Arc::ptr_eq(thread, &self.shared));
    }
}

/// The stay of a guest on this thread. It may lie within the stay of another guest, which waits.
///
/// What a stay is charged is never less than the processor time it used, so the limit holds. It is more only if the
/// thread lost its processor: then by less than [`LONG`], and never more than passed on the wall's clock.
pub struct Entry {
    outer: Option<Stay>,
    has_ended: bool,
    _thread_bound: PhantomData<*mut ()>,
}

/// What a stay came to.
pub struct Left {
    pub used: Duration,
    /// Whether the guest was told to stop. It may have returned all the same, before its next poll.
    pub was_stopped: bool,
    /// Whether the memory can run again.
    pub can_run: io::Result<()>,
}

impl Entry {
    /// Notes that a guest begins to run on this thread, in `memory`, for as long as `left`.
    pub fn new(memory: &Arc<Reservation>, left: Duration) -> Entry {
        let outer = THIS_THREAD.with(|thread| thread.enter(memory, left));
        Entry { outer, has_ended: false, _thread_bound: PhantomData }
    }

    /// Notes that the guest is at rest.
    pub fn leave(mut self) -> Left {
        self.end()
    }

    fn end(&mut self) -> Left {
        self.has_ended = true;
        THIS_THREAD.with(|thread| thread.leave(self.outer.take()))
    }
}

impl Drop for Entry {
    /// The host's side panicked: the guest is not used again, but the thread may be.
    fn drop(&mut self) {
        if !self.has_ended {
            self.end();
        }
    }
}

/// Notes that this thread begins with a piece of work: the run of guests, and what the host does for them. It ends when the
/// returned value is dropped.
pub fn begin_work() -> Work {
    THIS_THREAD.with(|thread| {
        let began = thread.start(thread.clocks.wall()).thread;
        thread.shared.work_began_ns.store(began.as_nanos() as u64, Ordering::Relaxed);
    });
    Work { _thread_bound: PhantomData }
}

/// A piece of work on this thread.
pub struct Work {
    _thread_bound: PhantomData<*mut ()>,
}

impl Drop for Work {
    fn drop(&mut self) {
        THIS_THREAD.with(|thread| thread.shared.work_began_ns.store(AT_REST, Ordering::Relaxed));
    }
}

/// Whether this thread was given a lower priority, which it keeps, because a piece of work took long.
pub fn has_lower_priority() -> bool {
    THIS_THREAD.with(|thread| thread.shared.has_lower_priority.load(Ordering::Relaxed))
}

/// Whether the guest that runs on this thread is over its time. For what the host computes on a guest's behalf: no poll
/// ends that.
pub fn is_over() -> bool {
    THIS_THREAD.with(|thread| thread.shared.stay.lock().as_ref().is_some_and(|stay| stay.is_stopped))
}

impl Thread {
    /// Lowers the thread's priority if its work takes long. The thread must live.
    fn lower_priority_of_long_work(&self, long: LongWork) {
        let began = self.work_began_ns.load(Ordering::Relaxed);
        if began == AT_REST || self.has_lower_priority.load(Ordering::Relaxed) {
            return;
        }
        if processor_time(self.clock).saturating_sub(Duration::from_nanos(began)) < long.begins_after {
            return;
        }
        // SAFETY: the calls change nothing but the scheduling of the thread, which lives.
        let status = unsafe {
            let niceness = libc::getpriority(libc::PRIO_PROCESS, self.id as libc::id_t);
            libc::setpriority(libc::PRIO_PROCESS, self.id as libc::id_t, niceness + i32::from(long.niceness))
        };
        if status != 0 {
            let error = io::Error::last_os_error();
            tracing::warn!(%error, "the thread of a long function keeps its priority");
        }
        // Noted once it is so, and also where it failed: then it would fail again with the next tick.
        self.has_lower_priority.store(true, Ordering::Relaxed);
    }

    /// Stops what runs on the thread if it is over its time.
    fn check(&self) {
        let mut place = self.stay.lock();
        let Some(stay) = place.as_mut() else { return };
        // A thread's processor time passes no faster than the wall's clock, which costs nothing to read.
        if stay.is_stopped || stay.start.wall.elapsed() < stay.left {
            return;
        }
        // The thread is within the stay, and can't leave it while we hold the lock: so it lives, and has its clock.
        if processor_time(self.clock).saturating_sub(stay.start.thread) < stay.left {
            return;
        }
        match stay.memory.stop() {
            Ok(()) => stay.is_stopped = true,
            Err(error) => tracing::error!(%error, "a function is over its time and could not be stopped yet"),
        }
    }
}

fn processor_time(clock: libc::clockid_t) -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the call fills the structure that it is given; it can't fail for the clock of a thread that lives.
    let status = unsafe { libc::clock_gettime(clock, &mut time) };
    debug_assert_eq!(status, 0);
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec as u32)
}

/// The thread that looks at what runs, until it is dropped.
#[derive(Debug)]
pub struct Ticker {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Ticker {
    pub fn start(long: LongWork) -> io::Result<Ticker> {
        let stop = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&stop);
        let thread = std::thread::Builder::new().name("isolate-ticker".into()).spawn(move || {
            while !seen.load(Ordering::Relaxed) {
                std::thread::park_timeout(TICK);
                // A thread leaves this list before it ends, so all of them live.
                for thread in THREADS.lock().iter() {
                    thread.check();
                    thread.lower_priority_of_long_work(long);
                }
            }
        })?;
        Ok(Ticker { stop, thread: Some(thread) })
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            // It only sleeps and looks.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Clocks that stand still until the test lets time pass.
    struct Virtual {
        wall: Cell<Instant>,
        processor: Cell<Duration>,
        readings: Cell<u32>,
    }

    impl Clocks for Virtual {
        fn wall(&self) -> Instant {
            self.wall.get()
        }

        fn processor(&self) -> Duration {
            self.readings.set(self.readings.get() + 1);
            self.processor.get()
        }
    }

    const MS: Duration = Duration::from_millis(1);
    const US: Duration = Duration::from_micros(1);

    fn thread() -> (ThisThread<Virtual>, Arc<Reservation>) {
        let clocks =
            Virtual { wall: Cell::new(Instant::now()), processor: Cell::new(7 * MS), readings: Cell::new(0) };
        // Nobody but the test sees this thread: its number is never asked for.
        (ThisThread::new(0, 0, clocks), Arc::new(Reservation::new().expect("an address range")))
    }

    impl ThisThread<Virtual> {
        fn works(&self, time: Duration) {
            self.waits(time);
            self.clocks.processor.set(self.clocks.processor.get() + time);
        }

        /// For an event, or for a processor that others have.
        fn waits(&self, time: Duration) {
            self.clocks.wall.set(self.clocks.wall.get() + time);
        }
    }

    fn niceness_of_this_thread() -> i32 {
        // SAFETY: the call reads a number of this thread.
        unsafe { libc::getpriority(libc::PRIO_PROCESS, libc::gettid() as libc::id_t) }
    }

    /// Does something until it is so or the thread has computed for ten seconds.
    fn compute_until(is_so: impl Fn() -> bool) -> bool {
        let clock = THIS_THREAD.with(|thread| thread.shared.clock);
        let end = processor_time(clock) + Duration::from_secs(10);
        while processor_time(clock) < end {
            if is_so() {
                return true;
            }
        }
        is_so()
    }

    #[test]
    fn long_work_gets_a_lower_priority_and_its_thread_alone() {
        let _ticker = Ticker::start(LongWork { begins_after: 20 * MS, niceness: 3 }).expect("a thread");
        let before = niceness_of_this_thread();
        let is_over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let working = scope.spawn(|| {
                for _ in 0..100 {
                    // All together they are long, and none is.
                    let _work = begin_work();
                    let began = processor_time(THIS_THREAD.with(|thread| thread.shared.clock));
                    compute_until(|| {
                        processor_time(THIS_THREAD.with(|thread| thread.shared.clock)) - began > MS
                    });
                }
                let after_short_work = (has_lower_priority(), niceness_of_this_thread());
                let _work = begin_work();
                let has_lower_priority = compute_until(has_lower_priority);
                is_over.store(true, Ordering::Relaxed);
                assert!(has_lower_priority, "its work took long");
                (after_short_work, niceness_of_this_thread())
            });
            let resting = scope.spawn(|| {
                drop(begin_work());
                compute_until(|| is_over.load(Ordering::Relaxed));
                (has_lower_priority(), niceness_of_this_thread())
            });
            assert_eq!(resting.join().expect("no panic"), (false, before), "it has no work");
            let (after_short_work, after_long_work) = working.join().expect("no panic");
            assert_eq!(after_short_work, (false, before));
            assert!(after_long_work > before, "{after_long_work} after {before}");
        });
        assert_eq!(niceness_of_this_thread(), before);
    }

    #[test]
    fn a_long_stay_is_charged_its_processor_time_and_not_its_waiting() {
        let (thread, memory) = thread();
        thread.waits(5 * MS);
        assert!(thread.enter(&memory, 100 * MS).is_none());
        thread.works(3 * MS);
        thread.waits(300 * MS);
        thread.works(4 * MS);
        assert_eq!(thread.leave(None).used, 7 * MS);
    }

    #[test]
    fn short_stays_are_charged_the_walls_time_without_a_reading_each() {
        let (thread, memory) = thread();
        let readings = thread.clocks.readings.get();
        let mut charged = Duration::ZERO;
        for _ in 0..1_000 {
            thread.enter(&memory, 100 * MS);
            thread.works(20 * US);
            thread.waits(5 * US);
            charged += thread.leave(None).used;
            // The host's work in between is nobody's.
            thread.works(30 * US);
        }
        assert_eq!(charged, 25 * MS);
        // 55 ms have passed: a reading for each that is a millisecond old by then.
        let readings = thread.clocks.readings.get() - readings;
        assert!((1..=55).contains(&readings), "{readings} readings for 1,000 stays");
    }

    #[test]
    fn a_stay_is_never_charged_less_than_it_used() {
        let (thread, memory) = thread();
        for round in 0..2_000_u32 {
            let works = (round * 37) % 1_500 * US;
            thread.enter(&memory, 100 * MS);
            thread.works(works);
            thread.waits((round * 91) % 700 * US);
            let used = thread.leave(None).used;
            assert!(used >= works && used <= works + LONG, "round {round}: charged {used:?} for {works:?}");
            thread.works((round * 53) % 900 * US);
        }
    }

    #[test]
    fn a_stay_within_another_is_charged_to_itself_alone() {
        let (thread, memory) = thread();
        assert!(thread.enter(&memory, 100 * MS).is_none());
        thread.works(2 * MS);
        for _ in 0..10 {
            let outer = thread.enter(&memory, 100 * MS);
            assert!(outer.is_some(), "the outer one waits");
            // Also a short one: what it is charged is taken from the outer one's.
            thread.works(300 * US);
            thread.waits(100 * US);
            assert_eq!(thread.leave(outer).used, 300 * US);
        }
        thread.works(4 * MS);
        assert_eq!(thread.leave(None).used, 6 * MS);
    }
}
