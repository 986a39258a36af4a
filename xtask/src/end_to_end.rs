//! Runs the end-to-end tests by Node's own test runner against the binary that was built beside this program.

use std::num::NonZero;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::available_parallelism;

use anyhow::{Context, Result, ensure};

use crate::demo::tidemark_binary;

/// Programs in Rust that are no members of the workspace: their folders, their names, and the variables that tell the tests.
const PROGRAMS: [(&str, &str, &str); 3] = [
    ("tests/end-to-end/clients/rust", "rust-client", "RUST_CLIENT"),
    ("examples/grpc/rust", "grpc-caller", "GRPC_CALLER"),
    ("tests/chaos", "chaos", "CHAOS"),
];

/// Files of tests that run at the same time, where there are as many processors.
const FILES_AT_ONCE_MAX: usize = 4;

/// What the test runner prints where, unless it is told otherwise: everything, and at the end what failed.
const REPORTERS: [&str; 4] = [
    "--test-reporter=tap",
    "--test-reporter-destination=stdout",
    "--test-reporter=./harness/failures.mjs",
    "--test-reporter-destination=stderr",
];

/// Becomes the test runner; `words` are files and options of it, which narrow the run down. Returns only if that failed.
pub fn run(root: &Path, words: Vec<String>) -> Result<()> {
    let tidemark = tidemark_binary()?;
    // In a folder beside that of `tidemark`.
    let target = tidemark.ancestors().nth(2).context("the folder of everything built")?.join("rust-client");
    let mut node = Command::new("node");
    let (options, files): (Vec<_>, Vec<_>) = words.into_iter().partition(|word| word.starts_with("--"));
    // Each file has servers and folders of its own, and waits for most of its time.
    let at_once = available_parallelism().map_or(1, NonZero::get).min(FILES_AT_ONCE_MAX);
    node.args(["--test", &format!("--test-concurrency={at_once}")]);
    if !options.iter().any(|option| option.starts_with("--test-reporter")) {
        node.args(REPORTERS);
    }
    node.args(options).args(files);
    node.current_dir(root.join("tests/end-to-end"));
    // CI=1 keeps the official tools from asking questions and from reporting their crashes to their makers.
    node.env("CI", "1").env("TIDEMARK_BINARY", &tidemark);
    for (folder, name, variable) in PROGRAMS {
        node.env(variable, build(&root.join(folder), name, &target)?);
    }
    Err(node.exec()).context("run node")
}

fn build(folder: &Path, name: &str, target: &Path) -> Result<PathBuf> {
    let mut cargo = Command::new("cargo");
    cargo.args(["build", "--quiet", "--locked", "--manifest-path"]).arg(folder.join("Cargo.toml"));
    cargo.arg("--target-dir").arg(target);
    ensure!(cargo.status().context("run cargo")?.success(), "{name} can't be built");
    Ok(target.join("debug").join(name))
}
