//! Clocks are read and randomness is drawn at the edge, in few places that are known: what decides anything gets both
//! passed in, so that a test can hold it. The list may only shrink.

use std::collections::BTreeMap;

use super::files::Files;
use super::source;

/// What reads a clock or draws randomness. Waiting (`sleep`, `timeout`, `interval`) is not looked at.
const SOURCES: [&str; 13] = [
    "SystemTime::now",
    "Instant::now",
    ".elapsed()",
    "clock_gettime(",
    "rand::random",
    "rand::rng(",
    "thread_rng(",
    "OsRng",
    "SysRng",
    "from_os_rng",
    "getrandom::",
    "Uuid::new_v4",
    "RandomState::new",
];

/// How often a file may do so, and for what.
const ALLOWED: &[(&str, usize, &str)] = &[
    ("crates/counters/src/histogram.rs", 2, "how long something took, for those who watch"),
    ("crates/isolate/src/clock.rs", 3, "how long a guest has run"),
    ("crates/log-router/src/group.rs", 1, "until when a replica that has failed is left alone"),
    (
        "crates/system-transaction/src/lib.rs",
        3,
        "commit ids; what a transaction of the system's own begins with",
    ),
    ("crates/system-transaction/src/held.rs", 1, "ids of what is held"),
    ("crates/result-cache/src/interval_index.rs", 1, "the shape of a tree, which nobody outside may choose"),
    ("crates/telemetry/src/state.rs", 1, "when a span began"),
    ("crates/transaction/src/commits.rs", 7, "how long a lost outcome has been looked for"),
    ("services/archive/src/import/ids.rs", 1, "an order of ids that nobody outside may choose"),
    ("services/archive/src/import/load.rs", 2, "how long an import has waited for search indexes"),
    ("services/archive/src/jobs.rs", 3, "how long a claim has been as it is"),
    ("services/archive/src/service.rs", 1, "which start of the process it is"),
    ("services/blob/src/folder.rs", 1, "the name of a process's folder for what comes in"),
    ("services/deploy/src/finish.rs", 1, "ids of indexes"),
    ("services/deploy/src/start.rs", 1, "ids of indexes"),
    ("services/deploy/src/wait.rs", 2, "how long a tool has waited"),
    ("services/directory/src/secrets.rs", 3, "secrets of deployments, and keys"),
    ("services/fanout/src/deployment.rs", 10, "the time that the tides are given"),
    ("services/fanout/src/run.rs", 4, "pauses between attempts; request ids"),
    ("services/gateway/src/request_id.rs", 1, "request ids"),
    ("services/gateway/src/clock.rs", 1, "the time that sessions and tokens are given"),
    (
        "services/gateway/src/sync/connection.rs",
        11,
        "when a connection is due for something; ids of transitions",
    ),
    ("services/log-streams/src/delivery.rs", 1, "until when an event waits for others"),
    ("services/log-streams/src/seal.rs", 1, "what makes two seals of one text different"),
    ("services/log-streams/src/service.rs", 1, "secrets of webhooks"),
    ("services/runner/src/actions/due.rs", 1, "how long a lease has not been renewed"),
    ("services/runner/src/actions/operations.rs", 2, "when an action's timers are due"),
    ("services/runner/src/calls/threads.rs", 3, "how long a call has run"),
    ("services/runner/src/evaluate.rs", 1, "the seed of the import phase"),
    ("services/runner/src/service.rs", 2, "seeds of ids; which start of the process it is"),
    ("services/runner/src/transaction/host.rs", 3, "how long a function has waited for the host"),
    ("services/runner/src/transaction/mutation.rs", 1, "commit ids"),
    ("services/runner/src/transaction/run.rs", 4, "seeds of runs; how long one took"),
    ("services/runner/src/turns.rs", 1, "how long calls wait for turns and hold them"),
    ("services/scheduler/src/deployment.rs", 1, "request ids"),
    (
        "services/search/src/deployment.rs",
        9,
        "how long a stream was silent; when the past is forgotten next; pauses before an index is made anew",
    ),
    ("services/search/src/service.rs", 1, "until when a search waits for its moment"),
    (
        "services/tidemark/src/embedded.rs",
        4,
        "the clock that functions see, and those of schedules and of the directory; when the process began",
    ),
    ("services/tidemark/src/metrics/machine.rs", 1, "what the machine's clock shows, for those who watch"),
    ("services/tidemark/src/data_folder.rs", 1, "the secret of a data folder"),
    ("services/tidemark/src/pools.rs", 1, "which of several processes is called"),
    (
        "services/txlog/src/clock.rs",
        2,
        "the clocks of the log: the time of day, and the time that has passed",
    ),
    ("services/txlog/src/folders.rs", 1, "the identity of a disk's data"),
    ("services/txlog/src/upkeep.rs", 2, "when a flush is due"),
];

pub fn problems(files: &Files) -> Vec<String> {
    compare(&count(files), ALLOWED)
}

fn count(files: &Files) -> BTreeMap<&str, usize> {
    let uses = |lines: Vec<(usize, &str)>| -> usize {
        lines.iter().flat_map(|(_, line)| SOURCES.map(|source| line.matches(source).count())).sum()
    };
    source::of_product(files)
        .into_iter()
        .map(|(path, lines)| (path, uses(lines)))
        .filter(|(_, count)| *count > 0)
        .collect()
}

fn compare(counts: &BTreeMap<&str, usize>, allowed: &[(&str, usize, &str)]) -> Vec<String> {
    let list = "xtask/src/checks/clocks.rs";
    let allowed_in: BTreeMap<&str, usize> = allowed.iter().map(|(path, count, _)| (*path, *count)).collect();
    let mut problems = Vec::new();
    if allowed_in.len() != allowed.len() {
        problems.push(format!("{list} lists a file twice"));
    }
    for (path, count) in counts {
        let allowed = allowed_in.get(path).copied().unwrap_or(0);
        if *count > allowed {
            problems.push(format!(
                "{path} reads a clock or draws randomness {count} times and may do so {allowed} times: \
                 pass the time, or the number, in"
            ));
        }
    }
    for (path, allowed) in allowed_in {
        let count = counts.get(path).copied().unwrap_or(0);
        if count < allowed {
            problems.push(format!(
                "{path} reads a clock or draws randomness {count} times only: lower the list ({list}) from {allowed}"
            ));
        }
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
fn one(now: SystemTime) {
    let both = (Instant::now(), rand::random::<u64>());
}
#[cfg(test)]
mod tests {
    fn two() { SystemTime::now(); }
}
";

    #[test]
    fn a_clock_that_nobody_allowed_is_found() {
        let files = Files::of(&[("crates/a/src/lib.rs", TEXT)]);
        let found = compare(&count(&files), &[("crates/a/src/lib.rs", 1, "once")]);
        assert_eq!(found.len(), 1);
        assert!(found[0].contains("2 times and may do so 1 times"), "{found:?}");
        assert_eq!(compare(&count(&files), &[("crates/a/src/lib.rs", 2, "twice")]), Vec::<String>::new());
    }

    #[test]
    fn a_list_that_allows_more_than_there_is_is_to_be_lowered() {
        let files = Files::of(&[("crates/a/src/lib.rs", TEXT)]);
        let allowed = [("crates/a/src/lib.rs", 3, "thrice"), ("crates/a/src/gone.rs", 1, "once")];
        let found = compare(&count(&files), &allowed);
        assert_eq!(found.len(), 2);
        assert!(found.iter().all(|problem| problem.contains("lower the list")), "{found:?}");
    }
}
