//! `checker HISTORY…`: judges each file; exits with 0 if all are strictly serializable, with 1 if one is not.

#![allow(clippy::print_stdout, reason = "it talks to the person who called it")]

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Result, ensure};
use checker::{judge, read_history};

fn main() -> Result<ExitCode> {
    let files: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    ensure!(!files.is_empty(), "usage: checker HISTORY…");
    let mut code = ExitCode::SUCCESS;
    for file in files {
        match judge(&read_history(&file)?) {
            Ok(summary) => println!(
                "{}: accepted: {} committed, {} failed, {} unknown, {} dependencies",
                file.display(),
                summary.committed,
                summary.failed,
                summary.unknown,
                summary.dependencies
            ),
            Err(violation) => {
                println!("{}: REJECTED: {violation}", file.display());
                code = ExitCode::FAILURE;
            }
        }
    }
    Ok(code)
}
