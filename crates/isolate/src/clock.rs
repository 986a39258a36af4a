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

use std::cell::Cell;
use std::io;
use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::memory::Reservation;

/// How often the ticker looks at what runs, and so how late a guest may be stopped.
const TICK: Duration = Duration::from_millis(10);

/// A stay that took less than this is charged what the wall's clock says.
///
/// Reading a thread's processor time is a system call, which costs as much as a tenth of a short stay; the wall's
/// clock needs none. A thread that lost its processor has lost it for longer than this, as a rule.
const LONG: Duration = Duration::from_millis(1);

/// All threads that have run guests.
static THREADS: Mutex<Vec<Arc<Thread>>> = Mutex::new(Vec::new());

thread_local! {
    static THIS_THREAD: ThisThread = ThisThread::register();
}

/// A thread as the ticker sees it.
struct Thread {
    /// Of its processor time; valid while the thread lives.
    clock: libc::clockid_t,
    stay: Mutex<Option<Stay>>,
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

/// A thread as it sees itself.
struct ThisThread {
    shared: Arc<Thread>,
    /// The last reading of both clocks.
    seen: Cell<Start>,
}

impl ThisThread {
    fn register() -> ThisThread {
        let mut clock = 0;
        // SAFETY: the call fills the number that it is given.
        let status = unsafe { libc::pthread_getcpuclockid(libc::pthread_self(), &mut clock) };
        assert_eq!(status, 0, "Linux has a clock for each thread");
        let shared = Arc::new(Thread { clock, stay: Mutex::new(None) });
        THREADS.lock().push(Arc::clone(&shared));
        let seen = Cell::new(Start { wall: Instant::now(), thread: processor_time(clock) });
        ThisThread { shared, seen }
    }

    /// Reads both clocks.
    fn look(&self, wall: Instant) -> Start {
        let start = Start { wall, thread: processor_time(self.shared.clock) };
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
}

impl Drop for ThisThread {
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
    is_nested: bool,
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
        THIS_THREAD.with(|thread| {
            let now = Instant::now();
            let mut place = thread.shared.stay.lock();
            let is_nested = place.is_some();
            let start = if is_nested { thread.look(now) } else { thread.start(now) };
            let stay = Stay { start, left, memory: Arc::clone(memory), is_stopped: false };
            Entry { outer: place.replace(stay), is_nested, has_ended: false, _thread_bound: PhantomData }
        })
    }

    /// Notes that the guest is at rest.
    pub fn leave(mut self) -> Left {
        self.end()
    }

    fn end(&mut self) -> Left {
        self.has_ended = true;
        THIS_THREAD.with(|thread| {
            let mut place = thread.shared.stay.lock();
            let stay = place.take().expect("each stay takes out what it put in");
            let now = Instant::now();
            let wall = now.saturating_duration_since(stay.start.wall);
            let used = if wall < LONG && !self.is_nested {
                wall
            } else {
                thread.look(now).thread.saturating_sub(stay.start.thread).min(wall)
            };
            if let Some(mut outer) = self.outer.take() {
                outer.start.wall += wall;
                outer.start.thread += used;
                *place = Some(outer);
            }
            drop(place);
            let can_run = if stay.is_stopped { stay.memory.let_run() } else { Ok(()) };
            Left { used, was_stopped: stay.is_stopped, can_run }
        })
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

impl Thread {
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
    pub fn start() -> io::Result<Ticker> {
        let stop = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&stop);
        let thread = std::thread::Builder::new().name("isolate-ticker".into()).spawn(move || {
            while !seen.load(Ordering::Relaxed) {
                std::thread::park_timeout(TICK);
                THREADS.lock().iter().for_each(|thread| thread.check());
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
