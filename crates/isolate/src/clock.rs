//! Measures and limits the processor time of guests.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// How often a running guest can be stopped.
const TICK: Duration = Duration::from_millis(10);

thread_local! {
    /// When the guest that runs on this thread began, by the thread's time, less what others ran within it.
    static BEGAN: Cell<Duration> = const { Cell::new(Duration::ZERO) };
}

/// Reads the processor time of the threads that run guests. A guest's time is that of its thread, so a loaded machine
/// does not shorten it.
#[derive(Debug)]
pub struct Clock;

/// Remembers the guest around the one that begins.
pub struct Entry {
    outer_began: Duration,
}

impl Clock {
    /// Notes that a guest begins to run on this thread. It may do so within the run of another, which waits.
    pub fn enter(&self) -> Entry {
        Entry { outer_began: BEGAN.replace(thread_time()) }
    }

    /// The time since `enter`.
    pub fn leave(&self, entry: Entry) -> Duration {
        let used = self.since_entry();
        BEGAN.set(entry.outer_began + used);
        used
    }

    /// The time that the guest on this thread has run since it began.
    pub fn since_entry(&self) -> Duration {
        thread_time().saturating_sub(BEGAN.get())
    }

    /// The ticks after which `left` may have passed.
    pub fn ticks(&self, left: Duration) -> u64 {
        let ticks = left.as_millis() / TICK.as_millis();
        u64::from(u32::try_from(ticks).unwrap_or(u32::MAX)) + 1
    }
}

fn thread_time() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the call fills the structure that it is given; it can't fail for this clock.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) };
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec as u32)
}

/// The thread that lets running guests look at the clock, until it is dropped.
#[derive(Debug)]
pub struct Ticker {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Ticker {
    pub fn start(wasmtime: wasmtime::Engine) -> std::io::Result<Ticker> {
        let stop = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&stop);
        let thread = std::thread::Builder::new().name("isolate-ticker".into()).spawn(move || {
            while !seen.load(Ordering::Relaxed) {
                std::thread::park_timeout(TICK);
                wasmtime.increment_epoch();
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
            // It only sleeps and counts.
            let _ = thread.join();
        }
    }
}
