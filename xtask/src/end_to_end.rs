//! Runs the end-to-end tests by Node's own test runner against the binary that was built beside this program.

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use crate::demo::tidemark_binary;

/// Becomes the test runner; `files` narrows the run down. Returns only if that failed.
pub fn run(root: &Path, files: Vec<String>) -> Result<()> {
    let mut node = Command::new("node");
    node.args(["--test", "--test-concurrency=1"]).args(files).current_dir(root.join("tests/end-to-end"));
    // CI=1 keeps the official tools from asking questions and from reporting their crashes to their makers.
    node.env("CI", "1").env("TIDEMARK_BINARY", tidemark_binary()?);
    Err(node.exec()).context("run node")
}
