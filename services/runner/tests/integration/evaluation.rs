//! Code that is about to be pushed.

use std::{collections::BTreeMap, time::Duration};

use contract::{ErrorKind, EvaluationRequest, Identity, QueryCall, ReadMoment, Runner as _};
use serde_json::json;

use crate::harness::{DEPLOYMENT, Harness, function_call, module, modules, parsed};

#[tokio::test(flavor = "multi_thread")]
async fn modules_are_analysed() {
    let harness = Harness::empty(|_| ()).await;
    let evaluation = harness.evaluate(&modules(), BTreeMap::new()).await.expect("it can be evaluated");
    assert!(!evaluation.modules.contains_key("_deps/library.js"), "chunks are left out");
    let messages = parsed(&evaluation.modules["messages.js"]);
    let functions = messages["functions"].as_array().expect("a list");
    let named = |name: &str| functions.iter().find(|function| function["name"] == name).expect(name).clone();
    let send = named("send");
    assert_eq!((&send["udfType"], &send["visibility"]), (&json!("Mutation"), &json!({"kind": "public"})));
    let validator = parsed(send["args"].as_str().expect("a text"));
    assert_eq!(validator["value"]["body"], json!({"fieldType": {"type": "string"}, "optional": false}));
    assert_eq!(send["returns"], json!("null"));
    assert_eq!(named("secret")["visibility"], json!({"kind": "internal"}));
    assert_eq!(named("act")["udfType"], "Action");
    assert_eq!(named("default")["udfType"], "Query");
    assert_eq!(harness.runner.metrics().images_built, 1, "the image that will serve the code is kept");
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_image_of_an_evaluation_serves_its_push() {
    let harness = Harness::start().await;
    harness.value_of("messages:list", json!({})).await;
    assert_eq!(harness.runner.metrics().images_built, 1);
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn code_that_can_not_be_evaluated_is_refused_with_its_place() {
    let harness = Harness::empty(|_| ()).await;
    let refused = async |source: &str| {
        let error =
            harness.evaluate(&[module("broken.js", source)], BTreeMap::new()).await.expect_err(source);
        assert_eq!((error.kind, error.code.as_ref()), (ErrorKind::BadRequest, "InvalidModules"), "{error}");
        error.message
    };
    assert!(refused("export const = 1;").await.contains("broken.js"));
    let thrown = refused("throw new Error('at import');").await;
    assert!(thrown.contains("broken.js") && thrown.contains("at import"), "{thrown}");
    let missing = refused("import './nowhere.js';").await;
    assert!(missing.contains("nowhere"), "{missing}");
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn declarations_are_evaluated() {
    let harness = Harness::empty(|_| ()).await;
    let schema = "export default { tables: {}, export: () => JSON.stringify({ tables: [], schemaValidation: true }) };";
    let definition = "export default { _isRoot: true, export: () => ({ definitionType: { type: 'app' } }) };";
    let auth = "export default { providers: [{ domain: process.env.DOMAIN, applicationID: 'x' }] };";
    let request = |variables: &[(&str, &str)]| EvaluationRequest {
        deployment: DEPLOYMENT,
        modules: vec![module("auth.config.js", auth)],
        schema: Some(module("schema.js", schema)),
        definition: Some(module("convex.config.js", definition)),
        definitions: BTreeMap::new(),
        component: String::new(),
        site_path: String::new(),
        environment_variables: variables
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect(),
        import_phase: None,
    };
    let evaluation =
        harness.runner.evaluate(request(&[("DOMAIN", "https://x")])).await.expect("it can be evaluated");
    assert_eq!(evaluation.schema.map(parsed), Some(json!({"tables": [], "schemaValidation": true})));
    assert_eq!(evaluation.definition.map(parsed), Some(json!({"definitionType": {"type": "app"}})));
    let providers = evaluation.auth_providers.map(parsed);
    assert_eq!(providers, Some(json!([{"domain": "https://x", "applicationID": "x"}])));

    let error = harness.runner.evaluate(request(&[])).await.expect_err("the variable is not set");
    assert_eq!(error.code, "AuthConfigMissingEnvironmentVariable");
    assert!(error.message.contains("Environment variable DOMAIN"), "{}", error.message);
    harness.stop().await;
}

/// Waits until so many images are in memory.
async fn wait_for_images(harness: &Harness, count: u64) {
    let wait = async {
        while harness.runner.metrics().images != count {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    let waited = tokio::time::timeout(Duration::from_secs(60), wait).await;
    waited.unwrap_or_else(|_| panic!("{count} images: there are {}", harness.runner.metrics().images));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_goes_when_it_is_replaced_and_no_call_holds_it() {
    let harness = Harness::with(|options| options.limits.function.thread_slots_idle_ms_max = 1).await;
    let before = harness.run_query("messages:count", json!({})).await.timestamp;
    wait_for_images(&harness, 1).await;
    let mut modules = modules();
    for number in 1..=3 {
        modules.push(module(&format!("more{number}.js"), "export const one = 1;"));
        harness.push(&modules).await;
        // The old one is called until somebody asks for the new one.
        wait_for_images(&harness, 2).await;
        harness.value_of("messages:count", json!({})).await;
        wait_for_images(&harness, 1).await;
    }
    assert_eq!(harness.runner.metrics().images_built, 4, "each push has built what serves it");
    // Who asks for a moment before is served, and leaves nothing.
    for _ in 0..2 {
        let function = function_call(Identity::Anonymous, "messages:count", json!({}));
        let call = QueryCall { function, at: ReadMoment::At(before), journal: None };
        let outcome = harness.runner.query(call).await.expect("it is answered");
        assert!(outcome.result.is_ok(), "{outcome:?}");
        wait_for_images(&harness, 1).await;
    }
    assert_eq!(harness.runner.metrics().images_built, 6);
    harness.value_of("messages:count", json!({})).await;
    assert_eq!(harness.runner.metrics().images_built, 6, "the newest stayed");
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn code_that_is_evaluated_and_never_deployed_is_kept_once() {
    let harness = Harness::with(|options| options.limits.function.thread_slots_idle_ms_max = 1).await;
    harness.value_of("messages:count", json!({})).await;
    let mut modules = modules();
    for number in 1..=3 {
        modules.push(module(&format!("more{number}.js"), "export const one = 1;"));
        harness.evaluate(&modules, BTreeMap::new()).await.expect("it can be evaluated");
        wait_for_images(&harness, 2).await;
    }
    harness.stop().await;
}
