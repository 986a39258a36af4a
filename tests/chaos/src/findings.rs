//! What is checked, how often it was, and where it did not hold.

use std::{collections::BTreeMap, fmt, sync::Mutex};

use crate::world::World;

/// So many failures of a check are kept; the rest is counted.
const KEPT_MAX: usize = 20;
const SHOWN_MAX: usize = 3;

/// What is promised, in the order in which it is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Promise {
    ListsSerializable,
    ListsByAdya,
    RegistersSerializable,
    RegistersByAdya,
    NothingLost,
    ExactlyOnce,
    Monotone,
    OneMoment,
    OwnWrites,
    Answered,
    JobsOnce,
    Files,
    ReplicasEqual,
    Resumed,
    Rejoined,
    Processes,
}

const ALL: [(Promise, &str); 16] = [
    (Promise::ListsSerializable, "lists are strictly serializable"),
    (Promise::ListsByAdya, "so they are by adya"),
    (Promise::RegistersSerializable, "registers are strictly serializable"),
    (Promise::RegistersByAdya, "so they are by adya"),
    (Promise::NothingLost, "no acknowledged write is lost"),
    (Promise::ExactlyOnce, "mutations take effect exactly once"),
    (Promise::Monotone, "no session's time goes back"),
    (Promise::OneMoment, "each view is of one moment"),
    (Promise::OwnWrites, "a client sees its own mutation"),
    (Promise::Answered, "what is sent again is answered"),
    (Promise::JobsOnce, "scheduled mutations run once, actions at most once"),
    (Promise::Files, "acknowledged files can be read"),
    (Promise::ReplicasEqual, "replicas have the same state"),
    (Promise::Resumed, "commits resume in six seconds"),
    (Promise::Rejoined, "nodes catch up"),
    (Promise::Processes, "processes end only of what ends them"),
];

#[derive(Debug, Default)]
struct Record {
    checked: u64,
    failed: u64,
    failures: Vec<String>,
    detail: Option<String>,
}

#[derive(Debug, Default)]
pub struct Findings {
    records: Mutex<BTreeMap<Promise, Record>>,
}

impl Findings {
    fn with(&self, promise: Promise, change: impl FnOnce(&mut Record)) {
        let mut records = self.records.lock().expect("nobody panics with it");
        change(records.entry(promise).or_default());
    }

    pub fn checked(&self, promise: Promise, times: u64) {
        self.with(promise, |record| record.checked += times);
    }

    /// What is shown beside the number.
    pub fn detail(&self, promise: Promise, text: String) {
        self.with(promise, |record| record.detail = Some(text));
    }

    fn fail(&self, promise: Promise, text: String) {
        self.with(promise, |record| {
            record.failed += 1;
            if record.failures.len() < KEPT_MAX {
                record.failures.push(text);
            }
        });
    }

    /// Whether all held. What was never checked did not.
    pub fn print(&self) -> bool {
        let records = self.records.lock().expect("nobody panics with it");
        let mut held = true;
        println!("\n{:<52} {:>9}", "check", "times");
        for (promise, name) in ALL {
            let nothing = Record::default();
            let record = records.get(&promise).unwrap_or(&nothing);
            let verdict = match (record.checked, record.failed) {
                (_, 1..) => format!("FAILED {}", record.failed),
                (0, 0) => "FAILED: never checked".to_owned(),
                (_, 0) => "held".to_owned(),
            };
            held &= verdict == "held";
            let detail = record.detail.as_ref().map_or_else(String::new, |detail| format!("  ({detail})"));
            println!("{name:<52} {:>9}  {verdict}{detail}", record.checked);
            for failure in record.failures.iter().take(SHOWN_MAX) {
                println!("    {failure}");
            }
        }
        println!("\n{}", if held { "All held." } else { "NOT ALL HELD." });
        held
    }
}

/// A line of progress, which is kept in the run's folder as well.
pub fn say(world: &World, line: fmt::Arguments<'_>) {
    let line = format!("[{:7.2}] {line}", world.seconds());
    println!("{line}");
    world.note(&line);
}

/// Something did not hold.
pub fn fail(world: &World, promise: Promise, text: String) {
    say(world, format_args!("FAILED: {promise:?}: {text}"));
    world.findings.fail(promise, text);
}
