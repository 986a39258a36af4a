//! Checks and chores of this repository that need more than a line of shell. `make help` lists the commands that
//! call them.

#![allow(clippy::print_stdout, reason = "it talks to the person who called it")]

mod chart;
mod checks;
mod cluster;
mod demo;
mod end_to_end;
mod processes;
mod setup;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};

const USAGE: &str = "usage: xtask check | setup [demo [chat | studio] | cluster-tools] | demo [chat | studio] | \
    cluster [prepare FOLDER] | end-to-end [test file or option of its runner …] | chart [option of its runner …] | \
    cluster-tools [option of its runner …]";

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    match arguments.next().as_deref() {
        Some("check") => checks::run(&repository_root()?),
        Some("setup") => {
            let purpose = match arguments.next().as_deref() {
                None => setup::Purpose::Everything,
                Some("demo") => setup::Purpose::Demo(example(arguments.next())?),
                Some("cluster-tools") => setup::Purpose::ClusterTools,
                Some(_) => bail!(USAGE),
            };
            setup::run(&repository_root()?, purpose)
        }
        Some("demo") => demo::run(&repository_root()?, example(arguments.next())?),
        Some("cluster") => {
            let prepared = match arguments.next().as_deref() {
                None => None,
                Some("prepare") => Some(PathBuf::from(arguments.next().context(USAGE)?)),
                Some(_) => bail!(USAGE),
            };
            cluster::run(&repository_root()?, prepared)
        }
        Some("end-to-end") => end_to_end::run(&repository_root()?, arguments.collect()),
        Some("chart") => chart::run(&repository_root()?, chart::Tests::Chart, arguments.collect()),
        Some("cluster-tools") => {
            chart::run(&repository_root()?, chart::Tests::ClusterTools, arguments.collect())
        }
        _ => bail!(USAGE),
    }
}

fn example(name: Option<String>) -> Result<demo::Example> {
    demo::Example::parse(name.as_deref()).context(USAGE)
}

/// The folder of the workspace. Cargo sets the variable for `cargo run`; the path is not compiled in, so that a
/// moved clone with an old build still finds itself.
fn repository_root() -> Result<PathBuf> {
    let manifest = std::env::var_os("CARGO_MANIFEST_DIR").context("run this as `cargo run -p xtask`")?;
    let root = PathBuf::from(manifest);
    Ok(root.parent().context("xtask stands in no folder")?.to_path_buf())
}
