//! Runs the tests of the Helm chart and of what is in `deploy/`, by Python's own test runner with the packages of `tests/helm`.

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::demo::tidemark_binary;

const FOLDER: &str = "tests/helm";

/// Which tests.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Tests {
    /// Those that take seconds and run no Tidemark.
    Chart,
    /// These, and those that build the image and run it in containers.
    ClusterTools,
}

/// Becomes the test runner; `words` are options of it, such as `-k name`. Returns only if that failed.
pub fn run(root: &Path, tests: Tests, words: Vec<String>) -> Result<()> {
    let folder = root.join(FOLDER);
    let python = folder.join(".venv/bin/python");
    ensure!(python.exists(), "the packages of {FOLDER} are missing: `make setup` installs them");
    let mut runner = Command::new(python);
    let pattern = match tests {
        Tests::Chart => "test_*.py",
        Tests::ClusterTools => "*_*.py",
    };
    runner.args(["-m", "unittest", "discover", "--start-directory", ".", "--pattern", pattern]);
    if tests == Tests::ClusterTools {
        runner.arg("--verbose").env("TIDEMARK_BINARY", tidemark_binary()?);
    }
    runner.args(words).current_dir(folder);
    Err(runner.exec()).context("run python")
}
