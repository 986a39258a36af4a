//! What actions start themselves, and what becomes of it.

use std::{
    io::{BufRead as _, BufReader},
    process::{Command, Stdio},
    sync::Arc,
};

use nodejs::Failure;
use parking_lot::Mutex;
use serde_json::json;

use crate::harness::{Host, Running, call, lives, until};

/// The processes on this machine that run `sleep` for so many seconds.
fn sleepers(seconds: u32) -> Vec<u64> {
    let wanted = format!("sleep\0{seconds}\0");
    let entries = std::fs::read_dir("/proc").expect("Linux").flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(|pid| {
        std::fs::read_to_string(format!("/proc/{pid}/cmdline")).is_ok_and(|line| line == wanted)
    })
    .collect()
}

#[tokio::test]
async fn what_an_action_has_started_ends_with_it() {
    let running = Running::start(|_| {}).await;
    let seen = Arc::new(Mutex::new(Vec::new()));
    let host = {
        let seen = Arc::clone(&seen);
        Host::answering(move |_, _| {
            let seen = Arc::clone(&seen);
            async move {
                *seen.lock() = [600, 601, 602].map(|seconds| sleepers(seconds).len()).to_vec();
                Ok(json!(null))
            }
        })
    };
    running.run("leaveChildren", json!({}), &host).await.expect("a result");
    assert_eq!(*seen.lock(), [1, 1, 1], "they were there");
    running.sleeping(1).await;
    for seconds in [600, 601, 602] {
        assert_eq!(sleepers(seconds), Vec::<u64>::new(), "{seconds}");
    }
    assert_eq!(running.value("count", json!({})).await, 1, "the process itself goes on");
    running.stop().await;
}

#[tokio::test]
async fn processes_without_end_are_ended_by_their_number() {
    let running = Running::start(|limits| {
        limits.children_max = 8;
        limits.watch_ms = 20;
    })
    .await;
    let failure = running.failure("startMany", json!({"count": 60})).await;
    assert_eq!(failure, Failure::TooManyProcesses { limit: 8 });
    assert_eq!(failure.to_string(), "NodeProcessesLimit: the action had more than 8 processes of its own.");
    assert_eq!(sleepers(603), Vec::<u64>::new());
    let failure = running.failure("exitWithChildren", json!({})).await;
    assert!(matches!(failure, Failure::ProcessEnded { .. }), "{failure}");
    assert_eq!(sleepers(604), Vec::<u64>::new());
    running.stop().await;
}

/// Not a test by itself: a server for the next one, which kills it.
#[tokio::test]
#[allow(clippy::print_stdout, reason = "the test that runs it reads what it prints")]
#[ignore = "run by the_end_of_the_server_is_the_end_of_its_processes"]
async fn server_that_is_killed() {
    let running = Running::start(|_| {}).await;
    let host = Host::answering(|_, arguments| async move {
        println!("\npid {}", arguments["pid"]);
        Ok(json!(null))
    });
    running.run_call(&call("sleep", json!({"ms": 60_000})), &host).await.expect("it is killed before");
}

#[tokio::test]
async fn the_end_of_the_server_is_the_end_of_its_processes() {
    let program = std::env::current_exe().expect("this program");
    // It leaves its files behind.
    let folder = tempfile::tempdir().expect("a folder");
    let mut server = Command::new(program)
        .args(["--ignored", "--exact", "--nocapture", "families::server_that_is_killed"])
        .env("TMPDIR", folder.path())
        .stdout(Stdio::piped())
        .spawn()
        .expect("it starts");
    let lines = BufReader::new(server.stdout.take().expect("piped")).lines();
    let pid = lines.map_while(Result::ok).find_map(|line| line.strip_prefix("pid ")?.parse().ok());
    let pid: u64 = pid.expect("an action runs");
    assert!(lives(pid));
    server.kill().expect("SIGKILL");
    server.wait().expect("it ends");
    until(|| !lives(pid), "the process ends with its server").await;
}
