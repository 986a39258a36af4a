//! What functions can see of the world, and what their results depend on.

use contract::{
    AuthToken, CommitNotice, FunctionCall, MutationCall, QueryOutcome, Requester, Runner as _, StreamEvent,
    Timestamp,
};
use futures::StreamExt as _;
use serde_json::json;

use crate::harness::{DEPLOYMENT, Harness, function_call, module, parsed, user};

#[tokio::test(flavor = "multi_thread")]
async fn no_state_is_left_from_one_call_to_the_next() {
    let harness = Harness::start().await;
    for _ in 0..20 {
        assert_eq!(harness.value_of("about:state", json!({})).await, json!(1));
    }
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn code_is_imported_once_with_a_seed_and_a_time_of_its_own() {
    let harness = Harness::start().await;
    let first = harness.value_of("about:imported", json!({})).await;
    assert_eq!(first["url"], "http://127.0.0.1:3210");
    let evaluation = harness.push(&crate::harness::modules()).await;
    let second = harness.value_of("about:imported", json!({})).await;
    assert_ne!(second["random"], first["random"], "another push has another seed");
    assert_eq!(second["now"].as_f64(), Some(evaluation.import_phase.time_ms as f64));
    assert_eq!(harness.value_of("about:imported", json!({})).await, second);
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn randomness_differs_between_calls_and_the_clock_stands_still_within_one() {
    let harness = Harness::start().await;
    let first = harness.value_of("about:random", json!({})).await;
    let second = harness.value_of("about:random", json!({})).await;
    assert!(first != second && first[0] != first[1]);
    let clock = harness.run_query("about:clock", json!({})).await;
    let times = parsed(clock.result.expect("it succeeds"));
    assert_eq!(times[0], times[1]);
    assert!(clock.observed.time);
    assert!(harness.run_query("about:snapshotTime", json!({})).await.observed.time);
    let random = harness.run_query("about:random", json!({})).await;
    assert!(!random.observed.time && !random.observed.identity);
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn functions_see_who_calls() {
    let harness = Harness::start().await;
    let outcome = harness.query_as(user("bob"), "about:user", json!({})).await;
    assert!(outcome.observed.identity);
    assert_eq!(parsed(outcome.result.expect("it succeeds")), json!({"subject": "bob"}));
    assert_eq!(harness.value_of("about:user", json!({})).await, json!(null));
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn functions_see_what_they_are_and_use() {
    let harness = Harness::start().await;
    let seen = harness.result_of("about:metadata", json!({})).await;
    assert_eq!(seen["function"], json!({"name": "about:metadata", "componentPath": ""}));
    assert_eq!(seen["deployment"]["name"], "dev");
    assert_eq!(seen["request"]["requestId"], "the-request");
    assert_eq!(seen["metrics"]["documentsWritten"]["used"], 1);
    let metrics = seen["metrics"].as_object().expect("an object");
    assert_eq!(metrics.len(), 11);
    for (name, metric) in metrics {
        assert!(metric["remaining"].as_u64() > Some(0), "{name}: nothing is left");
    }
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn functions_see_the_request_that_they_are_called_for() {
    let harness = Harness::start().await;
    let requester = Requester {
        ip: Some("2001:db8::7".parse().expect("an address")),
        user_agent: Some("asker/1".into()),
        token: Some(AuthToken("a.b.c".into())),
    };
    let seen = json!({
        "ip": "2001:db8::7",
        "userAgent": "asker/1",
        "requestId": "the-request",
        "scheduledFunctionId": null,
        "authToken": "a.b.c",
    });
    let call =
        |path| FunctionCall { requester: requester.clone(), ..function_call(user("bob"), path, json!({})) };
    let mutation =
        MutationCall { function: call("about:request"), session: None, not_before: Timestamp::ZERO };
    let outcome = harness.runner.mutation(mutation).await.expect("it is answered");
    assert_eq!(parsed(outcome.result.expect("it succeeds")), seen);
    let outcome = harness.runner.action(call("about:requestOfAction")).await.expect("it is answered");
    assert_eq!(parsed(outcome.result.expect("it succeeds")), json!([seen, seen]));
    let nobody = harness.result_of("about:request", json!({})).await;
    assert_eq!([&nobody["ip"], &nobody["userAgent"], &nobody["authToken"]], [&json!(null); 3]);
    harness.stop().await;
}

/// The first commit after a query's moment.
async fn commit_after(harness: &Harness, moment: Timestamp) -> CommitNotice {
    let mut events = harness.log.subscribe(DEPLOYMENT, moment).await.expect("the stream opens");
    loop {
        match events.next().await.expect("the stream goes on") {
            StreamEvent::Commit(notice) => return (*notice).clone(),
            StreamEvent::Heartbeat { .. } => {}
            StreamEvent::Lagged { .. } => panic!("nothing is that fast"),
        }
    }
}

fn touches(outcome: &QueryOutcome, notice: &CommitNotice) -> bool {
    notice.keys.iter().any(|touched| outcome.read_set.contains(touched.index, &touched.key))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_result_holds_until_something_that_it_read_is_written() {
    let harness = Harness::start().await;
    harness.run_mutation("messages:send", json!({"body": "x"})).await;
    harness.run_mutation("counters:increment", json!({})).await;
    let count = harness.run_query("messages:count", json!({})).await;
    harness.run_mutation("counters:increment", json!({})).await;
    assert!(!touches(&count, &commit_after(&harness, count.timestamp).await), "another table was written");
    let count = harness.run_query("messages:count", json!({})).await;
    harness.run_mutation("messages:send", json!({"body": "y"})).await;
    assert!(touches(&count, &commit_after(&harness, count.timestamp).await), "its table was written");
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_result_depends_on_its_code_but_on_no_other_code() {
    let harness = Harness::start().await;
    let plain =
        module("plain.js", "import { query } from './_deps/library.js';\nexport const one = query(() => 1);");
    let mut modules = crate::harness::modules();
    modules.push(plain.clone());
    harness.push(&modules).await;
    let outcome = harness.run_query("plain:one", json!({})).await;
    assert_eq!(parsed(outcome.result.as_ref().expect("it succeeds")), json!(1));
    let missing = harness.run_query("plain:two", json!({})).await;

    // The same code, with one more module that nobody imports.
    modules.push(module("more.js", "export const nothing = 0;"));
    harness.push(&modules).await;
    let notice = commit_after(&harness, outcome.timestamp).await;
    assert!(!touches(&outcome, &notice), "its code did not change");

    // Its own code.
    modules.retain(|module| module.path != "plain.js");
    let source = "import { query } from './_deps/library.js';\nexport const one = query(() => 2);\nexport const two = one;";
    modules.push(module("plain.js", source));
    harness.push(&modules).await;
    let notice = commit_after(&harness, notice.timestamp).await;
    assert!(touches(&outcome, &notice), "its code changed");
    assert!(touches(&missing, &notice), "what was not there may be there now");
    assert_eq!(harness.value_of("plain:one", json!({})).await, json!(2));
    harness.stop().await;
}

const VARIABLES: &str = r#"
    import { query } from "./_deps/library.js";
    export const name = query(() => process.env.NAME ?? null);
    export const other = query(() => process.env.OTHER ?? null);
    export const none = query(() => 1);
    export const list = query(() => Object.keys(process.env).length);
    export const many = query(() => { for (let n = 0; n < 3000; n++) process.env["V" + n]; return null; });
    export const through = query((ctx) => ctx.runQuery("variables:name"));"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_result_depends_on_the_variables_that_were_read_for_it() {
    let harness = Harness::start().await;
    let mut modules = crate::harness::modules();
    modules.push(module("variables.js", VARIABLES));
    harness.push(&modules).await;
    let touched_by = async |name: &str, value: &str| {
        let mut outcomes = Vec::new();
        for function in ["name", "other", "none", "list", "many", "through"] {
            let outcome = harness.run_query(&format!("variables:{function}"), json!({})).await;
            assert!(outcome.result.is_ok(), "{function}: {:?}", outcome.result);
            outcomes.push((function, outcome));
        }
        harness.set_environment_variable(name, value).await;
        let notice = commit_after(&harness, outcomes[0].1.timestamp).await;
        let touched = outcomes.iter().filter(|(_, outcome)| touches(outcome, &notice));
        touched.map(|(function, _)| *function).collect::<Vec<_>>()
    };
    assert_eq!(touched_by("NAME", "value").await, ["name", "list", "many", "through"]);
    assert_eq!(touched_by("OTHER", "value").await, ["other", "list", "many"]);
    assert_eq!(touched_by("V1", "value").await, ["list", "many"]);
    assert_eq!(touched_by("V2999", "value").await, ["list", "many"], "what is not told apart depends on all");
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_modules_read_while_they_are_imported_counts_for_all_functions() {
    let harness = Harness::start().await;
    let mut modules = crate::harness::modules();
    let text = "import { query } from './_deps/library.js';\nconst name = process.env.NAME;\nexport const show = query(() => name ?? null);";
    modules.push(module("prefix.js", text));
    harness.push(&modules).await;
    let outcome = harness.run_query("prefix:show", json!({})).await;
    let beside = harness.run_query("messages:count", json!({})).await;
    harness.set_environment_variable("OTHER", "value").await;
    let notice = commit_after(&harness, outcome.timestamp).await;
    assert!(!touches(&outcome, &notice) && !touches(&beside, &notice), "nobody has read it");
    harness.set_environment_variable("NAME", "value").await;
    let notice = commit_after(&harness, notice.timestamp).await;
    assert!(touches(&outcome, &notice) && touches(&beside, &notice), "it may be in what modules share");
    assert_eq!(harness.value_of("prefix:show", json!({})).await, json!("value"));
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn environment_variables_are_in_the_environment() {
    let harness = Harness::start().await;
    let mut modules = crate::harness::modules();
    let source = "import { query } from './_deps/library.js';\nexport const name = query(() => process.env.NAME ?? null);";
    modules.push(module("variables.js", source));
    harness.push(&modules).await;
    assert_eq!(harness.value_of("variables:name", json!({})).await, json!(null));
    harness.set_environment_variable("NAME", "value").await;
    assert_eq!(harness.value_of("variables:name", json!({})).await, json!("value"));
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_code_nothing_is_found() {
    let harness = Harness::empty(|_| ()).await;
    let error = harness.query_error("messages:list", json!({})).await;
    assert!(error.message.contains("Could not find function"), "{}", error.message);
    harness.stop().await;
}
