//! What clients are told when a function fails.

use contract::{ErrorKind, Identity, ModuleSource, QueryCall, ReadMoment, Runner};
use serde_json::json;

use crate::harness::{Harness, admin, function_call, module, parsed};

#[tokio::test(flavor = "multi_thread")]
async fn a_mutation_that_throws_writes_nothing_and_says_what_was_thrown() {
    let harness = Harness::start().await;
    let error = harness.mutation_error("messages:fail", json!({})).await;
    let mut lines = error.message.lines();
    assert_eq!(lines.next(), Some("[Request ID: the-request] Server Error"));
    assert_eq!(lines.next(), Some("Uncaught TypeError: it failed"));
    let frame = lines.next().expect("a stack");
    assert!(frame.starts_with("    at ") && frame.contains("messages.js:"), "{frame}");
    assert_eq!(error.data, None);
    assert_eq!(harness.value_of("messages:count", json!({})).await, json!(0));
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_applications_own_error_carries_its_data() {
    let harness = Harness::start().await;
    let error = harness.mutation_error("messages:refuse", json!({})).await;
    assert_eq!(error.data.map(parsed), Some(json!({"code": 7})));
    assert!(error.message.contains("Uncaught ConvexError: {\"code\":7}"), "{}", error.message);
    assert_eq!(harness.value_of("messages:count", json!({})).await, json!(0));
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_of_a_redacting_server_see_the_data_and_nothing_else() {
    let harness = Harness::with(|options| options.redact_errors = true).await;
    let error = harness.mutation_error("messages:refuse", json!({})).await;
    assert_eq!(error.message, "[Request ID: the-request] Server Error");
    assert_eq!(error.data.map(parsed), Some(json!({"code": 7})));
    let for_admin = harness.query_as(admin(), "messages:wrongResult", json!({})).await;
    assert!(for_admin.result.expect_err("it fails").message.contains("ReturnsValidationError"));
    harness.stop().await;
}

/// A module of one query, the first line of whose code is line 5, column 3 of its source.
fn mapped(name: &str, body: &str) -> ModuleSource {
    let map = r#"{"version":3,"sources":["../convex/NAME.ts"],"names":[],"mappings":";AAIE"}"#;
    let text = format!(
        "import {{ query }} from './_deps/library.js';\nexport const run = query(async (ctx) => {{ {body} }});"
    );
    ModuleSource {
        source_map: Some(map.replace("NAME", name).into()),
        ..module(&format!("{name}.js"), &text)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stack_that_a_function_reads_names_the_files_that_people_wrote() {
    let harness = Harness::start().await;
    let mut modules = crate::harness::modules();
    modules.push(mapped("reads", "return new Error('seen').stack;"));
    modules.push(mapped("logs", "console.error(new Error('logged')); console.trace('traced'); return null;"));
    harness.push(&modules).await;
    let stack = harness.value_of("reads:run", json!({})).await;
    let stack = stack.as_str().expect("a text");
    assert!(stack.starts_with("Error: seen\n    at ../convex/reads.ts:5:3\n"), "{stack}");
    let lines = harness.run_query("logs:run", json!({})).await.log_lines;
    assert!(lines[0].contains("logged") && lines[0].contains("../convex/logs.ts:5:3"), "{lines:?}");
    assert!(lines[1].contains("traced") && lines[1].contains("../convex/logs.ts:5:3"), "{lines:?}");
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_function_never_sees_frames_that_could_not_be_mapped() {
    let harness = Harness::start().await;
    let mut modules = crate::harness::modules();
    modules.push(mapped("reads", "return new Error('seen').stack;"));
    modules.push(mapped("throws", "throw new Error('thrown');"));
    modules.push(module(
        "catches.js",
        "import { query } from './_deps/library.js';\nexport const run = query(async (ctx) => {
           try { return await ctx.runQuery('throws:run'); } catch (error) { return error.message; }
         });",
    ));
    harness.push(&modules).await;
    // The image is there from now on; the maps were never asked for.
    harness.value_of("messages:count", json!({})).await;
    harness.damage_blobs();
    for path in ["reads:run", "catches:run"] {
        let call = QueryCall {
            function: function_call(Identity::Anonymous, path, json!({})),
            at: ReadMoment::Latest,
            journal: None,
        };
        let error = harness.runner.query(call).await.expect_err("it can't see the same as before");
        assert_eq!(error.kind, ErrorKind::Internal, "{error}");
    }
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn constructors_of_errors_and_the_host_do_not_show_in_stacks() {
    let harness = Harness::start().await;
    let mut modules = crate::harness::modules();
    let class = "class Own extends Error { constructor(message) { super(message); } }";
    modules.push(mapped("constructs", &format!("{class} throw new Own('own');")));
    modules.push(mapped("awaits", "await ctx.runQuery('nowhere:none');"));
    harness.push(&modules).await;
    for name in ["constructs", "awaits"] {
        let error = harness.query_error(&format!("{name}:run"), json!({})).await;
        let frames: Vec<&str> = error.message.lines().filter(|line| line.starts_with("    at ")).collect();
        // An awaited call of the host names the line that made it, behind the library's own.
        let own = frames.iter().position(|frame| !frame.contains("_deps/library.js"));
        let expected = format!("    at ../convex/{name}.ts:5:3");
        assert_eq!(own.map(|own| frames[own]), Some(expected.as_str()), "{}", error.message);
        assert!(
            !error.message.contains("new Own") && !error.message.contains("tidemark:"),
            "{}",
            error.message
        );
    }
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn stacks_name_the_files_that_people_wrote() {
    let harness = Harness::start().await;
    let mut modules = crate::harness::modules();
    // One line of code, whose beginning is line 5, column 3 of the source.
    modules.push(ModuleSource {
        source_map: Some(
            r#"{"version":3,"sources":["../convex/mapped.ts"],"names":[],"mappings":";AAIE"}"#.into(),
        ),
        ..module(
            "mapped.js",
            "import { query } from './_deps/library.js';\nexport const fail = query(async () => { throw new Error('mapped'); });",
        )
    });
    harness.push(&modules).await;
    let error = harness.query_error("mapped:fail", json!({})).await;
    assert!(error.message.contains("    at ../convex/mapped.ts:5:3\n"), "{}", error.message);
    harness.stop().await;
}
