//! What modules export.

use std::{collections::BTreeMap, sync::Arc};

use contract::ModuleSource;
use nodejs::{AnalysisError, AnalysisRequest, NodeVersion};

use crate::harness::{DEPLOYMENT, Running, modules};

fn request(extra: Option<&str>) -> AnalysisRequest {
    let mut modules = modules();
    modules.extend(extra.map(|source| ModuleSource {
        path: "sub/extra.js".to_owned(),
        source: source.into(),
        source_map: None,
    }));
    let environment = Arc::new(BTreeMap::from([("NAME".to_owned(), "value".to_owned())]));
    AnalysisRequest {
        deployment: DEPLOYMENT,
        modules,
        packages: None,
        version: NodeVersion::V22,
        environment,
    }
}

#[tokio::test]
async fn actions_are_found_with_their_visibility_their_validators_and_their_place() {
    let running = Running::start(|_| {}).await;
    let analyzed = running.executor.analyze(request(None)).await.expect("it is analysed");
    assert_eq!(analyzed.len(), 1, "chunks are left out");
    let module = &analyzed[0];
    assert_eq!(module.path, "actions.js");
    let names: Vec<&str> = module.functions.iter().map(|function| function.name.as_str()).collect();
    assert!(names.is_sorted() && names.contains(&"default") && !names.contains(&"notAFunction"), "{names:?}");
    let find = |name| module.functions.iter().find(|function| function.name == name).expect("it is there");
    assert_eq!((find("echo").is_public, find("hidden").is_public), (true, false));
    let echo = find("echo");
    assert_eq!((echo.args.as_str(), echo.returns.as_str()), (r#"{"type":"object","value":{}}"#, "null"));
    let source = include_str!("modules/actions.js");
    let line =
        source.lines().position(|line| line.starts_with("export const echo")).expect("it is there") + 1;
    assert_eq!(echo.position.map(|(line, _)| line as usize), Some(line));
    running.stop().await;
}

#[tokio::test]
async fn modules_that_throw_that_hang_or_that_hold_other_functions_are_refused() {
    let running = Running::start(|limits| limits.analysis_ms_max = 10_000).await;
    let refusal = async |source: &'static str| {
        running.executor.analyze(request(Some(source))).await.expect_err("it is refused")
    };
    let AnalysisError::Threw { module, error } =
        refusal("function f() { throw new TypeError('no'); }\nf();").await
    else {
        panic!("it throws")
    };
    assert_eq!(
        (module.as_str(), error.name.as_str(), error.message.as_str()),
        ("sub/extra.js", "TypeError", "no")
    );
    assert!(error.stack.starts_with("    at f (sub/extra.js:1:"), "{}", error.stack);
    let query = "const q = () => {}; q.isQuery = true; q.isPublic = true; export { q };";
    assert_eq!(
        refusal(query).await,
        AnalysisError::NotAnAction {
            module: "sub/extra.js".to_owned(),
            name: "q".to_owned(),
            kind: "a Query function"
        }
    );
    let missing = refusal("import 'no-such-package';").await.to_string();
    assert!(missing.contains("no-such-package") && !missing.contains("/code/"), "{missing}");
    let syntax = refusal("export const = 1;").await.to_string();
    assert!(syntax.contains("SyntaxError"), "{syntax}");
    assert!(matches!(refusal("process.exit(4);").await, AnalysisError::Ended(_)));
    assert_eq!(
        refusal("await new Promise(() => setTimeout(() => {}, 60_000));").await,
        AnalysisError::TimedOut { limit_ms: 10_000 }
    );
    running.stop().await;
}
