//! Processes that sleep until they are needed again.

use parking_lot::Mutex;

use crate::process::{Key, Process};

/// Time is counted in ticks of the executor's watch.
#[derive(Default)]
pub(crate) struct Pool(Mutex<Sleeping>);

#[derive(Default)]
struct Sleeping {
    tick: u64,
    /// With the tick since which each sleeps; the ones that came last are last.
    processes: Vec<(u64, Process)>,
}

impl Pool {
    pub(crate) fn put(&self, process: Process) {
        let mut sleeping = self.0.lock();
        let tick = sleeping.tick;
        sleeping.processes.push((tick, process));
    }

    /// The one that came last, so that those nobody needs go.
    pub(crate) fn take(&self, key: &Key) -> Option<Process> {
        let processes = &mut self.0.lock().processes;
        let at = processes.iter().rposition(|(_, process)| process.key == *key)?;
        Some(processes.remove(at).1)
    }

    /// Makes room: ends the one that has slept the longest. `false` if none sleeps.
    pub(crate) fn end_oldest(&self) -> bool {
        let processes = &mut self.0.lock().processes;
        let has_one = !processes.is_empty();
        drop(has_one.then(|| processes.remove(0)));
        has_one
    }

    /// Counts a tick, and ends those that have slept for so many.
    pub(crate) fn tick(&self, ticks_max: u64) {
        let mut sleeping = self.0.lock();
        sleeping.tick += 1;
        let now = sleeping.tick;
        sleeping.processes.retain(|(since, _)| now - since < ticks_max);
    }

    pub(crate) fn count(&self) -> usize {
        self.0.lock().processes.len()
    }

    pub(crate) fn clear(&self) {
        self.0.lock().processes.clear();
    }
}
