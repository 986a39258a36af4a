//! The checker must accept the histories in `histories/accepted` and reject those in `histories/rejected`, each for
//! the reason it is named for.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use checker::{Summary, Violation, judge, read_history};

fn folder(name: &str) -> PathBuf {
    // Asked when the test runs: builds can be shared by several clones.
    let package = std::env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it");
    Path::new(&package).join("histories").join(name)
}

fn judge_file(path: &Path) -> Result<Summary, Violation> {
    judge(&read_history(path).unwrap_or_else(|error| panic!("{error:#}")))
}

fn names_in(name: &str) -> BTreeSet<String> {
    let files = std::fs::read_dir(folder(name)).expect("the folder is there");
    files.map(|file| file.expect("readable").file_name().into_string().expect("plain names")).collect()
}

/// Why each of `histories/rejected` is rejected, by the beginning of the reason.
const REJECTED: &[(&str, &str)] = &[
    ("aborted-read", "aborted read: transaction 2 saw 1's append"),
    ("changed-under-it", "inconsistent: transaction 2"),
    ("intermediate-read", "intermediate read: transaction 2"),
    ("long-fork", "cycle: 1 —read by→ 3 —read before→ 2 —read by→ 4 —read before→ 1"),
    ("lost-in-between", "lost update: 2 and 3"),
    ("lost-update", "lost update: 1 and 2"),
    ("lost-write", "cycle: 2 —answered before→ 3 —read before→ 2"),
    ("never-written", "never written: transaction 1"),
    ("own-append-unseen", "inconsistent: transaction 1"),
    ("phantom", "cycle: 1 —read before→ 2 —read before→ 1"),
    ("real-time-order", "cycle: 1 —answered before→ 2 —read by→ 3 —read before→ 1"),
    ("recorded-without-validation", "lost update: 1 and 15 saw key 4"),
    ("stale-read", "cycle: 1 —answered before→ 2 —read before→ 1"),
    ("torn-read", "cycle: 1 —read by→ 2 —read before→ 1"),
    ("torn-unanswered", "cycle: 1 —read by→ 2 —read before→ 1"),
    ("write-skew", "cycle: 1 —read before→ 2 —read before→ 1"),
    ("written-twice", "written twice: 1's append"),
];

#[test]
fn histories_that_no_order_explains_are_rejected_for_their_reason() {
    for (name, reason) in REJECTED {
        let violation =
            judge_file(&folder("rejected").join(format!("{name}.jsonl"))).expect_err(name).to_string();
        assert!(violation.starts_with(reason), "{name}: {violation}");
    }
}

#[test]
fn every_rejected_history_has_its_reason_written_down() {
    let named = REJECTED.iter().map(|(name, _)| format!("{name}.jsonl")).collect();
    assert_eq!(names_in("rejected"), named);
}

#[test]
fn histories_that_an_order_explains_are_accepted() {
    let names = names_in("accepted");
    assert!(!names.is_empty());
    for name in names {
        if let Err(violation) = judge_file(&folder("accepted").join(&name)) {
            panic!("{name}: {violation}");
        }
    }
}
