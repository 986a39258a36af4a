//! Functions that call functions.

use contract::ModuleSource;
use serde_json::json;

use crate::harness::{Harness, module, parsed};

#[tokio::test(flavor = "multi_thread")]
async fn a_nested_mutation_that_fails_leaves_nothing_and_can_be_caught() {
    let harness = Harness::start().await;
    let result = harness.result_of("nested:catches", json!({})).await;
    let caught = result["caught"].as_str().expect("a text");
    let (title, frames) = caught.split_once('\n').expect("a title and frames");
    assert_eq!(title, "Uncaught Error: after the insert");
    assert!(frames.starts_with("    at ") && frames.contains("nested.js:"), "{frames}");
    assert_eq!(result["seen"], json!(["kept"]));
    assert_eq!(result["after"], json!(["kept", "by a nested mutation"]));
    assert_eq!(harness.value_of("messages:list", json!({})).await, json!(["kept", "by a nested mutation"]));
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_data_of_an_error_crosses_calls() {
    let harness = Harness::start().await;
    assert_eq!(harness.result_of("nested:catchesData", json!({})).await, json!({"reason": "no"}));
    let error = harness.mutation_error("nested:rethrows", json!({})).await;
    assert_eq!(error.data.map(parsed), Some(json!({"reason": "no"})));
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_that_crosses_calls_shows_the_frames_of_each() {
    let harness = Harness::start().await;
    let mut modules = crate::harness::modules();
    let source = |name: &str, body: &str, line: &str| ModuleSource {
        // The second line of code comes from one line of the source.
        source_map: Some(
            format!(r#"{{"version":3,"sources":["../convex/{name}.ts"],"names":[],"mappings":";{line}"}}"#)
                .into(),
        ),
        ..module(
            &format!("{name}.js"),
            &format!(
                "import {{ query }} from './_deps/library.js';\nexport const run = query(async (ctx) => {{ {body} }});"
            ),
        )
    };
    modules.push(source("inner", "throw new RangeError('too far');", "AAIE"));
    modules.push(source(
        "outer",
        "try { await ctx.runQuery('inner:run'); } catch (error) { throw new Error(error.message); }",
        "AAQE",
    ));
    modules.push(source(
        "logs",
        "try { await ctx.runQuery('inner:run'); } catch (error) { console.error(error.message); }",
        "AAQE",
    ));
    harness.push(&modules).await;
    let error = harness.query_error("outer:run", json!({})).await;
    let lines: Vec<&str> = error.message.lines().collect();
    assert_eq!(
        lines[..2],
        ["[Request ID: the-request] Server Error", "Uncaught Error: Uncaught RangeError: too far"]
    );
    let place = |line: &str| lines.iter().position(|known| known.ends_with(line));
    let (inner, outer) = (place("    at ../convex/inner.ts:5:3"), place("    at ../convex/outer.ts:9:3"));
    assert!(inner.is_some() && inner < outer, "{}", error.message);
    let logs = harness.run_query("logs:run", json!({})).await.log_lines;
    assert!(logs[0].starts_with("[ERROR] ") && logs[0].contains("Uncaught RangeError: too far"), "{logs:?}");
    assert!(logs[0].contains("../convex/inner.ts:5:3"), "{logs:?}");
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_at_the_same_time_run_one_after_another() {
    let harness = Harness::start().await;
    assert_eq!(harness.result_of("nested:together", json!({})).await, json!(["one", "two", "three"]));
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_query_does_not_see_what_its_caller_wrote() {
    let harness = Harness::start().await;
    harness.run_mutation("messages:send", json!({"body": "old"})).await;
    assert_eq!(
        harness.result_of("nested:snapshot", json!({})).await,
        json!({"before": 1, "inSnapshot": 1, "inTransaction": 2})
    );
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_nest_up_to_a_depth() {
    let harness = Harness::start().await;
    let depth_max = transaction::TransactionLimits::DEFAULT.call_depth_max;
    assert_eq!(harness.value_of("nested:deep", json!({"levels": depth_max})).await, json!(depth_max));
    let error = harness.query_error("nested:deep", json!({"levels": depth_max + 1})).await;
    assert!(error.message.contains("MaximumCallDepthExceeded"), "{}", error.message);
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_are_checked_at_their_boundary() {
    let harness = Harness::start().await;
    let text = async |path| harness.result_of(path, json!({})).await.as_str().expect("a text").to_owned();
    let caught = text("nested:wrongArgumentsOfMutation").await;
    assert!(caught.starts_with("ArgumentValidationError: "), "{caught}");
    let caught = text("nested:wrongKind").await;
    assert!(caught.contains("`messages:send` is a mutation and can't be called as a query"), "{caught}");
    let caught = harness.value_of("nested:wrongArguments", json!({})).await;
    assert!(caught.as_str().expect("a text").contains("a query can call queries only"), "{caught}");
    let caught = text("nested:limited").await;
    assert!(caught.starts_with("Uncaught Error: TooManyWrites"), "{caught}");
    assert_eq!(harness.value_of("messages:count", json!({})).await, json!(0));
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handle_names_a_function() {
    let harness = Harness::start().await;
    let result = harness.result_of("nested:viaHandle", json!({})).await;
    assert!(result["functionHandle"].as_str().expect("a text").starts_with("function://"), "{result}");
    assert_eq!(result["answer"], json!(0));
    harness.stop().await;
}
