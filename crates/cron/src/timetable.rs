//! The runs of one job.

use crate::{
    Schedule, UnixMs,
    limits::{CHANGE_LEAVES_RUNS_MS, HOUR_SECONDS},
};

/// A schedule with a job's own place in the spread. It decides when the job runs; it keeps no state, so that the scheduler's
/// documents are the only one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timetable {
    schedule: Schedule,
    /// How long behind the schedule's times the job runs.
    splay_ms: u64,
}

/// The run that follows another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NextRun {
    /// When it is due.
    pub at: UnixMs,
    /// Of an interval, how many runs between the two are left out because their time has passed. Other schedules leave out
    /// without counting: their runs are named by the calendar.
    pub skipped: u64,
}

impl Timetable {
    /// The timetable of a job. `draw` is the job's own random number, the same for as long as the job is there. Jobs that name
    /// their minute run up to `splay_seconds` behind it, those that leave it open up to an hour; 0 lets both run at once, without
    /// seconds. Intervals are not spread: they begin with their deploy.
    pub fn new(schedule: Schedule, draw: u64, splay_seconds: u64) -> Timetable {
        let within_seconds = match schedule {
            Schedule::Interval { .. } => 0,
            Schedule::Calendar { minute_is_open: true, .. } if splay_seconds > 0 => HOUR_SECONDS,
            Schedule::Calendar { .. } => splay_seconds.min(HOUR_SECONDS),
        };
        let splay_seconds = draw.checked_rem(within_seconds).unwrap_or(0);
        Timetable { schedule, splay_ms: splay_seconds * 1_000 }
    }

    /// The first run of a job that is deployed `now`: an interval begins at once, all else waits for its time. `None` if that is
    /// behind the year 9999.
    pub fn first_run(&self, now: UnixMs) -> Option<UnixMs> {
        match self.schedule {
            Schedule::Interval { .. } => Some(now),
            Schedule::Calendar { .. } => self.after(now),
        }
    }

    /// The run after the one that was due at `run` and is over `now`. What should have begun in between does not run any more:
    /// an interval keeps its beat and goes on with the next one that is not past, all else with its next time after now.
    /// `None` if that is behind the year 9999.
    pub fn next_run(&self, run: UnixMs, now: UnixMs) -> Option<NextRun> {
        match self.schedule {
            Schedule::Interval { seconds } => {
                let interval_ms = seconds * 1_000;
                let late_ms = now.as_milliseconds().saturating_sub(run.as_milliseconds());
                let intervals = late_ms.div_ceil(interval_ms).max(1);
                Some(NextRun { at: run.later(interval_ms * intervals)?, skipped: intervals - 1 })
            }
            Schedule::Calendar { .. } => Some(NextRun { at: self.after(run.max(now))?, skipped: 0 }),
        }
    }

    /// The next run of a job that had the timetable `old` and its next run at `run`, when a push changes its schedule `now`. It
    /// is this timetable's first run; but a job that was about to run twice goes on as it was until its next run, so that pushes
    /// in quick succession do not hold it up.
    pub fn run_after_change(&self, old: &Timetable, run: UnixMs, now: UnixMs) -> Option<UnixMs> {
        let soon = now.later(CHANGE_LEAVES_RUNS_MS)?;
        let second = if run <= soon { old.after(run) } else { None };
        if second.is_some_and(|second| second <= soon) { Some(run) } else { self.first_run(now) }
    }

    /// The first run after a moment; of an interval, the one after a run at that moment.
    fn after(&self, moment: UnixMs) -> Option<UnixMs> {
        // A run is after the moment if its time of the schedule is after the moment less the delay.
        self.schedule.next_after(moment.earlier(self.splay_ms))?.later(self.splay_ms)
    }
}
