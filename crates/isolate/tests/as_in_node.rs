//! Expressions that the isolate and Node.js must agree on (tests/as_in_node/*.txt), evaluated in both.

mod support;

use std::process::Command;

use isolate::{CallLimits, Invocation, Slot, Step};
use support::*;

/// A module whose `all` evaluates the expressions, which may use what `prelude` declares, and gives one text for each.
fn module(prelude: &str, lines: &[&str]) -> String {
    let cases: String = lines.iter().map(|line| format!("() => ({line}),\n")).collect();
    format!(
        r#"{prelude}
const cases = [{cases}];
const plain = (key, value) =>
  typeof value === "bigint" ? `${{value}}n` : Object.is(value, -0) ? "-0" : value === undefined ? "undefined"
    : typeof value === "number" && !Number.isFinite(value) ? String(value) : value;
const show = (value) =>
  value === undefined || typeof value === "string" || typeof value === "symbol" ? String(value) : JSON.stringify(value, plain);
const all = async () => {{
  const texts = [];
  for (const evaluate of cases) {{
    try {{
      texts.push(show(await evaluate()));
    }} catch (error) {{
      texts.push(error instanceof Error ? String(error) : `thrown: ${{show(error)}}`);
    }}
  }}
  return texts;
}};
"#
    )
}

fn in_node(module: &str) -> Vec<String> {
    let script = format!("{module}\nconsole.log(JSON.stringify(await all()));");
    let output = Command::new("node")
        .args(["--no-warnings", "--input-type=module", "--eval", &script])
        .env("TZ", "UTC")
        .env("LC_ALL", "en_US.UTF-8")
        .output()
        .expect("Node.js runs: the tests need it");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("it printed JSON")
}

fn in_an_isolate(module: &str) -> Vec<String> {
    let functions = format!("{module}\nexport const compared = query(all);");
    let image = image(&functions);
    let text = on_thread(move || {
        let mut slot = Slot::new(&image).expect("a slot");
        let limits = CallLimits { user_time_ms_max: 60_000, ..CallLimits::default() };
        match run(&mut slot, &Invocation { limits, ..query_of("compared", "[]") }) {
            Step::Done(Ok(text)) => text,
            other => panic!("{other:?}"),
        }
    });
    serde_json::from_str(&text).expect("it is JSON")
}

/// `table` holds one expression a line; what follows a `#` at the begin of a line is a comment.
fn check(prelude: &str, table: &str) {
    let lines: Vec<&str> = table.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).collect();
    let module = module(prelude, &lines);
    let (expected, got) = (in_node(&module), in_an_isolate(&module));
    assert_eq!((expected.len(), got.len()), (lines.len(), lines.len()));
    let differences: Vec<String> = lines
        .iter()
        .zip(expected.iter().zip(&got))
        .filter(|(_, (expected, got))| expected != got)
        .map(|(line, (expected, got))| format!("{line}\n  Node.js: {expected}\n  isolate: {got}"))
        .collect();
    assert!(differences.is_empty(), "{} differ:\n{}", differences.len(), differences.join("\n"));
}

#[test]
fn the_web_platform() {
    check("", include_str!("as_in_node/platform.txt"));
}

#[test]
fn the_texts_of_errors() {
    let prelude = r#"const x = { y: 1 }, u = undefined, nul = null, k = "key", n = 5, f = () => 1, o2 = {},
  o = { y: undefined, f: () => ({}), n: 1, list: [1, 2] }, x2 = { default: undefined };"#;
    check(prelude, include_str!("as_in_node/errors.txt"));
}

#[test]
fn dates_as_text_and_atomics() {
    check("", include_str!("as_in_node/dates.txt"));
}

#[test]
fn texts_of_the_locale() {
    check("", include_str!("as_in_node/locale.txt"));
}
