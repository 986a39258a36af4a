//! The `tidemark` program.
//!
//! `tidemark dev` runs every service in one process on an embedded store, `tidemark serve` those of a node. [`embedded`] constructs the services and takes
//! them down in reverse; nothing else but tests starts one. Around it: [`configuration`] (flags, environment, file,
//! defaults), [`data_folder`] (one process at a time, secret, format), [`ports`], [`process`] (signals, panics, limits of
//! the system), [`monitoring`] (what operators ask: [`metrics`] and [`health`]) and [`screen`] (what is told to the person who
//! started it). [`traces`] says where spans are sent.
//!
//! `tidemark deployment …` asks a server that runs: [`deployment`].
//!
//! Exit codes: 0 after a graceful stop, 2 where something that was asked for can't be had (a folder or a port in use, a
//! configuration that can't be read), 70 where the storage failed, 134 (SIGABRT) for a defect, 1 for everything else.

mod admin;
mod configuration;
mod data_folder;
mod deployment;
mod embedded;
mod health;
mod limits;
mod metrics;
mod monitoring;
mod node;
mod operator;
mod others;
mod parts;
mod pools;
mod ports;
mod process;
mod refusal;
mod replicas;
mod screen;
mod stores;
mod table;
mod traces;

use std::time::Duration;

use clap::Parser;
use configuration::{Arguments, Command, Configuration};
use refusal::Refusal;

/// Of the store's C++ as well, so that both share what is free.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Read by the allocator when it starts: memory that is free goes back to the system after a second, also if nobody
/// allocates any more.
#[unsafe(export_name = "malloc_conf")]
static ALLOCATOR_OPTIONS: &[u8; 60] = b"background_thread:true,dirty_decay_ms:1000,muzzy_decay_ms:0\0";

/// How long what other nodes still ask for may take to end when everything has stopped.
const RUNTIME_STOP_MAX: Duration = Duration::from_millis(500);

const EXIT_SUCCESS: i32 = 0;
const EXIT_FAILURE: i32 = 1;
const EXIT_REFUSED: i32 = 2;

fn main() {
    let Arguments { command } = Arguments::parse();
    process::end_on_panic();
    let run = || -> anyhow::Result<()> {
        match command {
            Command::Dev(arguments) => serve(configuration::load(*arguments)?),
            Command::Serve(arguments) => serve(configuration::load_serve(*arguments)?),
            Command::Cluster(arguments) => {
                process::set_up_log(None)?;
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
                runtime.block_on(operator::run(arguments))
            }
            Command::Deployment(arguments) => deployment::run(arguments),
        }
    };
    process::end(match run() {
        Ok(()) => EXIT_SUCCESS,
        Err(error) => {
            screen::print_error(&format!("tidemark: {error:#}"));
            exit_code(&error)
        }
    })
}

fn exit_code(error: &anyhow::Error) -> i32 {
    use txlog::{OpenError, StartError};
    if error.downcast_ref::<Refusal>().is_some() {
        return EXIT_REFUSED;
    }
    match error.downcast_ref::<StartError>() {
        // Another version or another folder helps.
        Some(StartError::Open(OpenError::Format { .. } | OpenError::OtherNode { .. })) => EXIT_REFUSED,
        Some(_) => txlog::EXIT_CODE_STORAGE_FAILED,
        None => EXIT_FAILURE,
    }
}

/// Serves until it is told to stop.
fn serve(configuration: Configuration) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let traces = {
        // What sends spans lives on it.
        let _entered = runtime.enter();
        process::set_up_log(configuration.telemetry.clone())?
    };
    process::raise_open_files_limit(configuration.limits.gateway.open_files_min);
    // What other nodes still ask for must let go of the store before the process ends, and the store's own threads with it.
    let patience = configuration.cluster.as_ref().map_or(Duration::ZERO, |_| RUNTIME_STOP_MAX);
    let result = runtime.block_on(embedded::run(configuration));
    if let Some(traces) = traces {
        traces.end();
    }
    // Threads that still block (a second Ctrl-C does not come this far) hold nobody up.
    runtime.shutdown_timeout(patience);
    result
}
