//! What goes into an action and what comes out of it.

use std::{collections::BTreeMap, sync::Arc};

use contract::ModuleSource;
use nodejs::{Call, CodeId, Failure, OperationError};
use serde_json::json;

use crate::harness::{Host, Running, call, modules};

#[tokio::test]
async fn arguments_the_request_and_results_pass_unchanged() {
    let running = Running::start(|_| {}).await;
    let values = json!({"text": "ä\u{2028}", "nested": [1, null, {"$integer": "AQAAAAAAAAA="}]});
    let echoed = running.value("echo", values.clone()).await;
    assert_eq!(echoed, json!({"values": values, "requestId": "request-1"}));
    assert_eq!(running.value("default", json!({})).await, "default");
    for name in ["nothing", "notAFunction"] {
        assert!(matches!(running.failure(name, json!({})).await, Failure::Missing { .. }), "{name}");
    }
    running.stop().await;
}

#[tokio::test]
async fn a_process_sees_what_functions_may_see_and_nothing_of_the_server() {
    let running = Running::start(|_| {}).await;
    let seen = running.value("surroundings", json!({})).await;
    let home = running.folder.path().join("homes/0");
    let home = home.to_str().expect("Unicode");
    let environment = json!({
        "GREETING": "a=b\nc",
        "HOME": home,
        "NODE_ENV": "production",
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "TIDEMARK_NODE_PROCESS": home,
        "TMPDIR": home,
    });
    assert_eq!(seen["environment"], environment);
    assert_eq!([&seen["folder"], &seen["home"], &seen["temporary"]], [home; 3]);
    assert_eq!((&seen["umask"], &seen["arguments"]), (&json!(0o077), &json!(1)));
    assert_eq!(seen["session"], seen["pid"].to_string(), "it leads a session of its own");
    for (number, file) in seen["files"].as_object().expect("an object") {
        let file = file.as_str().expect("a text");
        let is_own = ["pipe:", "anon_inode:", "socket:", "/dev/null", "/proc/"]
            .iter()
            .any(|own| file.starts_with(own));
        assert!(is_own, "{number} is {file}");
    }
    running.stop().await;
}

#[tokio::test]
async fn what_calls_ask_at_the_same_time_is_answered_to_each_by_its_own_host() {
    let running = Running::start(|_| {}).await;
    let asked = ["one", "two", "three"].map(|who| {
        let host = Host::answering(move |name, arguments| async move {
            assert_eq!(name, "who");
            Ok(json!([who, arguments["number"]]))
        });
        let running = &running;
        async move {
            let result = running.run("askMany", json!({"count": 50}), &host).await.expect("a result");
            let expected: Vec<_> = (0..50).map(|number| json!([who, number])).collect();
            assert_eq!(result, json!(expected).to_string());
        }
    });
    futures::future::join_all(asked).await;
    running.stop().await;
}

#[tokio::test]
async fn operations_fail_as_the_library_expects_it() {
    let running = Running::start(|_| {}).await;
    let host = Host::answering(|name, _| async move {
        let data = (name == "withData").then(|| r#"{"code":7}"#.to_owned());
        Err(OperationError { message: format!("no {name}"), data })
    });
    let mut caught = Vec::new();
    for operation in ["plain", "withData"] {
        let text =
            running.run("failedOperation", json!({"operation": operation}), &host).await.expect("caught");
        caught.push(serde_json::from_str::<serde_json::Value>(&text).expect("JSON"));
    }
    assert_eq!(
        caught,
        [
            json!({"message": "no plain", "data": "none"}),
            json!({"message": "no withData", "data": {"code": 7}}),
        ]
    );
    let Failure::Threw(error) = running.failure("syncOperation", json!({})).await else {
        panic!("it throws")
    };
    assert_eq!(error.message, "Unknown sync operation: 1.0/queryStream");
    running.stop().await;
}

#[tokio::test]
async fn what_is_thrown_comes_with_its_name_its_message_its_stack_and_its_data() {
    let running = Running::start(|_| {}).await;
    let host = Host::quiet();
    let Err(Failure::Threw(error)) = running.run("throwing", json!({}), &host).await else {
        panic!("it throws")
    };
    assert_eq!((error.name.as_str(), error.message.as_str(), &error.data), ("TypeError", "no", &None));
    let frames: Vec<&str> = error.stack.lines().collect();
    assert!(frames[0].starts_with("    at inner (actions.js:"), "{frames:?}");
    assert!(frames[1].contains("throwing") && frames[1].contains("(actions.js:"), "{frames:?}");
    assert!(frames.iter().all(|frame| !frame.contains("file:") && !frame.contains("node:")), "{frames:?}");
    let shown = host.texts();
    assert!(
        shown[0].starts_with("[ERROR] RangeError: shown\n    at ") && shown[0].contains("(actions.js:"),
        "{shown:?}"
    );

    let Failure::Threw(error) = running.failure("throwingConvexError", json!({})).await else {
        panic!("it throws")
    };
    assert_eq!((error.name.as_str(), error.data.as_deref()), ("ConvexError", Some(r#"{"code":7}"#)));
    let Failure::Threw(error) = running.failure("throwingText", json!({})).await else { panic!("it throws") };
    assert_eq!(
        (error.name.as_str(), error.message.as_str(), error.stack.as_str()),
        ("Error", "only text", "")
    );
    running.stop().await;
}

#[tokio::test]
async fn stacks_are_in_terms_of_the_files_that_people_wrote() {
    let running = Running::start(|_| {}).await;
    // One line of the bundle is line 3 of the file, from column 5 on.
    let source = "import { action } from \"../_deps/node/LIBRARY.js\";\n\
                  export const fail = action(async function fail() { throw new Error(\"mapped\"); });\n\
                  //# sourceMappingURL=mapped.js.map\n";
    let map =
        json!({"version": 3, "sources": ["../../convex/sub/mapped.ts"], "names": [], "mappings": ";AAEI"});
    let mut changed = modules();
    changed.push(ModuleSource {
        path: "sub/mapped.js".to_owned(),
        source: source.into(),
        source_map: Some(map.to_string().into()),
    });
    let call =
        Call { code: CodeId::of(&changed), module: "sub/mapped.js".to_owned(), ..call("fail", json!({})) };
    let host = Host::with_modules(changed);
    let Err(Failure::Threw(error)) = running.run_call(&call, &host).await else { panic!("it throws") };
    assert!(
        error.stack.lines().next().expect("a frame").contains("(../convex/sub/mapped.ts:3:5)"),
        "{}",
        error.stack
    );
    running.stop().await;
}

#[tokio::test]
async fn lines_come_with_their_levels_and_are_cut_by_the_limits() {
    let running = Running::start(|limits| limits.log_lines_max = 8).await;
    let host = Host::quiet();
    running.run("levels", json!({}), &host).await.expect("a result");
    assert_eq!(
        host.texts(),
        ["[DEBUG] 'debug'", "[INFO] 'info'", "[LOG] 'log'", "[WARN] 'warn'", "[ERROR] 'error'"]
    );

    let host = Host::quiet();
    running.run("lines", json!({"count": 100}), &host).await.expect("a result");
    let texts = host.texts();
    assert_eq!(texts[0], "[LOG] 'a' 1 { b: [ 2n ] }");
    let long = host.lines.lock().iter().position(|line| line.is_truncated).expect("one was cut");
    assert_eq!(texts[long].len(), "[WARN] ".len() + 32_768);
    for line in ["[LOG] to standard output", "[LOG] and more of it", "[ERROR] to standard error"] {
        assert!(texts.iter().any(|text| text == line), "{line}");
    }
    // By the one that is too many, its host sees that there were more.
    assert_eq!(texts.len() - 3, 8 + 1);
    running.stop().await;
}

#[tokio::test]
async fn files_pass_in_parts_both_ways() {
    let running = Running::start(|limits| limits.frame_bytes_max = 2 << 20).await;
    for bytes in [0, 1, 300_000, 5_000_000] {
        let result = running.value("storeAndGet", json!({"bytes": bytes})).await;
        assert_eq!(result, json!({"id": "stored", "type": "text/plain", "same": true, "missing": null}));
    }
    running.stop().await;
}

#[tokio::test]
async fn what_an_action_has_begun_is_ended_before_its_result_is_told() {
    let running = Running::start(|_| {}).await;
    let (sender, receiver) = tokio::sync::watch::channel(false);
    let sender = Arc::new(sender);
    let host = Host::answering(move |_, _| {
        let sender = Arc::clone(&sender);
        async move {
            tokio::time::sleep(std::time::Duration::from_millis(300)).await;
            sender.send_replace(true);
            Ok(json!(null))
        }
    });
    assert_eq!(running.run("goOn", json!({}), &host).await.expect("a result"), "\"returned\"");
    assert!(*receiver.borrow());
    running.stop().await;
}

#[tokio::test]
async fn another_environment_is_another_process() {
    let running = Running::start(|_| {}).await;
    assert_eq!(running.value("count", json!({})).await, 1);
    running.sleeping(1).await;
    assert_eq!(running.value("count", json!({})).await, 2, "modules are evaluated once per process");
    running.sleeping(1).await;
    let environment = Arc::new(BTreeMap::from([("GREETING".to_owned(), "other".to_owned())]));
    let changed = Call { environment, ..call("count", json!({})) };
    assert_eq!(running.run_call(&changed, &Host::quiet()).await.expect("a result"), "1");
    running.stop().await;
}
